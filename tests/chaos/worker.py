"""worker.py - a process that works on one mount, through all that befalls it.

A call is made between two looks at the board.  If the mount stayed up the
answer stands.  If not, a success still stands (the mount answered it before
it died, so it must not be lost), while an error says nothing of what became
of the call.

An answer that a worker cannot explain puts it IN DOUBT: it stops and says
why.  The runner looks whether the client has lost its leases (and with them,
until the next mount, what it had not committed); then it mounts anew, and the
worker settles; if not, that is a violation.
"""
import errno
import mmap
import os
import random
import signal
import sys
import time
import traceback

from board import DONE, DOUBT, FAILED, PAUSE, PAUSED, RUN, SETTLING, STOP, WORKING

OK, ERROR, VOID = range(3)
POLL_S = 0.02
CROSSED_MAX = 2				# of a worker in a round


class Failure(Exception):
    """A violation, found by the worker itself."""


class Interrupted(Exception):
    """The mount went down in the midst of settling."""


class Answer:
    __slots__ = ("status", "value", "error", "began", "ended")

    def __init__(self, status, value, error, began, ended):
        self.status, self.value, self.error, self.began, self.ended = status, value, error, began, ended


class Worker:
    """Subclasses have step(), settle() and give_up_handles()."""

    def __init__(self, board, slot, client, top, seed, events, full):
        self.board, self.slot, self.client, self.top = board, slot, client, top
        self.rng = random.Random(seed)
        self.events = events
        self.full = full			# may the server be out of space?
        self.crossed = 0			# calls that were answered ESTALE
        self.seen = board.generation(client)

    def note(self, *what):
        print(*what, sep="\t", file=self.events)

    def call(self, text, function, *args):
        board, client = self.board, self.client
        generation = board.generation(client)
        board.begin(self.slot, text)
        began = time.monotonic()
        value, error = None, 0
        try:
            value = function(*args)
        except OSError as e:
            error = e.errno
        ended = time.monotonic()
        board.end(self.slot)
        if error == 0:
            return Answer(OK, value, 0, began, ended)
        if generation % 2 == 1 or generation != board.generation(client) or generation != self.seen:
            return Answer(VOID, None, error, began, ended)
        return Answer(ERROR, None, error, began, ended)

    def stayed_up(self):
        """Does a value that was read stand?"""
        return self.board.generation(self.client) == self.seen and self.seen % 2 == 0

    def came_to_nothing(self, answer):
        """A rename that another mount crossed twice (fs/caller.c): it did not happen, and that is rare."""
        if answer.status != ERROR or answer.error != errno.ESTALE:
            return False
        self.crossed += 1
        self.note("#", f"{answer.began:.6f}", f"{answer.ended:.6f}", "ESTALE")
        if self.crossed > CROSSED_MAX:
            self.doubt(f"{self.crossed} calls were answered ESTALE")
        return True

    def out_of_space(self, answer):
        return self.full and answer.error == errno.ENOSPC

    def doubt(self, text):
        """Until the runner has looked into it."""
        self.note("#", f"{time.monotonic():.6f}", "doubt", text)
        self.events.flush()
        self.give_up_handles()
        self.board.set_state(self.slot, DOUBT, text, self.seen)
        while self.board.generation(self.client) == self.seen or not self.board.up(self.client):
            time.sleep(POLL_S)
        self.board.set_state(self.slot, WORKING)

    def _wait_for_turn(self):
        """False: it is to end."""
        board, client = self.board, self.client
        if board.wanted(client) != RUN or not board.up(client):
            self.give_up_handles()
        while board.wanted(client) == PAUSE or not board.up(client):
            board.set_state(self.slot, PAUSED)
            time.sleep(POLL_S)
        return board.wanted(client) != STOP

    def _catch_up(self):
        """After the mount came back: is all there?"""
        self.give_up_handles()
        self.seen = self.board.generation(self.client)
        if self.seen % 2 == 1:
            return
        self.board.set_state(self.slot, SETTLING)
        try:
            self.settle()
        except Interrupted:
            self.seen = 1		# again, when it is back
        self.board.set_state(self.slot, WORKING)

    def work(self):
        going = True
        while going or self.seen != self.board.generation(self.client):
            going = self._wait_for_turn()
            if self.seen != self.board.generation(self.client):
                self._catch_up()
            elif going:
                self.board.set_state(self.slot, WORKING)
                self.step()

    def last(self):
        """A last look at all, while nothing breaks."""
        self.seen = 1
        while self.seen != self.board.generation(self.client):
            self._wait_for_turn()
            self._catch_up()

    def run(self):
        """Never returns; the status of the process is 0, 1 for a violation, 2 for a defect of the worker."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        status = 2
        try:
            self.work()
            self.last()
            self.board.set_state(self.slot, DONE)
            status = 0
        except Failure as e:
            self.note("#", f"{time.monotonic():.6f}", "failure", e)
            self.board.set_state(self.slot, FAILED, str(e))
            status = 1
        except BaseException:
            self.board.set_state(self.slot, FAILED, traceback.format_exc()[-1500:])
        finally:
            self.events.flush()
            sys.stdout.flush()
            os._exit(status)


def write_all(path, flags, data, offset=None, sync=False):
    """As programs do: what a short write left out is written too, or says why not."""
    fd = os.open(path, flags)
    try:
        done = 0
        while done < len(data):
            n = os.write(fd, data[done:]) if offset is None else os.pwrite(fd, data[done:], offset + done)
            if n == 0:
                raise OSError(errno.EIO, f"{done} of {len(data)} bytes were written")
            done += n
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def read_all(path):
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        parts = []
        while part := os.read(fd, 1 << 20):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(fd)


def sync_path(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _store(path, data, offset):
    fd = os.open(path, os.O_RDWR)
    first = offset // mmap.PAGESIZE * mmap.PAGESIZE
    try:
        with mmap.mmap(fd, offset - first + len(data), offset=first) as pages:
            pages[offset - first:] = data
            pages.flush()
    except OSError:
        # Linux goes on showing pages that could not be written, until it lets go of them.
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        raise
    os.close(fd)


def store(path, data, offset):
    """Through a shared map, and msync; in a process of its own, which a dead mount may kill by SIGBUS."""
    pid = os.fork()
    if pid == 0:
        status = 255
        try:
            _store(path, data, offset)
            status = 0
        except OSError as e:
            status = e.errno
        finally:
            os._exit(status)
    status = os.waitpid(pid, 0)[1]
    if status != 0:
        code = os.waitstatus_to_exitcode(status)
        raise OSError(code if 0 < code < 255 else errno.EIO, "mapped")

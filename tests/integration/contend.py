#!/usr/bin/env python3
"""contend.py RACE DIR_A DIR_B [--rounds N]

Two views of one directory, and a process on each that gets in the other's way.
Every race checks what no interleaving may break; a call that takes longer than
SLOW_S fails it, as does any error that is not part of the race.  Where one side
could do many rounds while it has what both want, the two begin each together.

  crossed   each moves a file into the directory the other moves one out of
  list      one lists and stats a directory, in which the other renames
  append    both append records to one file
  pages     both write to one file, each to a page of its own
  mmap      the same through shared maps
  unlink    one holds a file open whose name the other removes and takes again
"""
import argparse
import mmap
import os
import struct
import sys
import time
import traceback

SLOW_S = 10
PAGE = 4096


class Wrong(Exception):
    pass


def must(condition, text):
    if not condition:
        raise Wrong(text)


class Clock:
    """The longest that one call took."""

    def __init__(self):
        self.longest = 0

    def __call__(self, function, *args):
        began = time.monotonic()
        try:
            return function(*args)
        finally:
            self.longest = max(self.longest, time.monotonic() - began)
            must(self.longest < SLOW_S, f"{function.__name__}{args[:2]} took {self.longest:.1f} s")


def write_file(path, data):
    with open(path, "xb") as f:
        f.write(data)


class Pipe:
    """Lets one side wait for the other: pipes[me] is what I say."""

    def __init__(self):
        self.r, self.w = os.pipe()

    def say(self):
        os.write(self.w, b".")

    def hear(self):
        must(os.read(self.r, 1) == b".", "the other side has gone")


def meet(me, pipes):
    pipes[me].say()
    pipes[1 - me].hear()


def at_once(n):
    """How many operations in round n: one, or some in a row."""
    return 1 + n % 3


# Each race: prepare(dir_a) and side(me, dir, rounds, clock, pipes) -> None, done(dir_a, dir_b, rounds).

def crossed_prepare(top):
    for d in ("one", "two"):
        os.mkdir(f"{top}/{d}")
    write_file(f"{top}/one/a", b"a")
    write_file(f"{top}/two/b", b"b")


def crossed_side(me, top, rounds, clock, pipes):
    here, there = ("one", "two") if me == 0 else ("two", "one")
    name = "ab"[me]
    for n in range(rounds):
        meet(me, pipes)
        for _ in range(at_once(n)):
            clock(os.rename, f"{top}/{here}/{name}", f"{top}/{there}/{name}")
            here, there = there, here


def crossed_done(tops, rounds):
    found = sorted(n for d in ("one", "two") for n in os.listdir(f"{tops[0]}/{d}"))
    must(found == ["a", "b"], f"left are {found}")
    must([sorted(os.listdir(f"{t}/one")) for t in tops][0] == sorted(os.listdir(f"{tops[1]}/one")), "the sides differ")


FILES = 12


def list_prepare(top):
    for i in range(FILES):
        write_file(f"{top}/f{i}", b"%d" % i)


def list_side(me, top, rounds, clock, pipes):
    if me == 1:
        for n in range(rounds):
            i = n % FILES
            clock(os.rename, f"{top}/f{i}", f"{top}/moving")
            clock(os.rename, f"{top}/moving", f"{top}/f{i}")
        pipes[me].say()
        return
    os.set_blocking(pipes[1].r, False)
    rounds_seen = 0
    while True:
        names = clock(os.listdir, top)
        must(len(set(names)) == len(names), f"a name twice: {sorted(names)}")
        # A listing is read in parts: what moves meanwhile may be in none or in two of them.
        must(len(set(names) - {"moving"}) >= FILES - 1, f"names are missing: {sorted(names)}")
        must(set(names) <= {f"f{i}" for i in range(FILES)} | {"moving"}, f"a strange name: {sorted(names)}")
        for name in names:
            try:
                st = clock(os.lstat, f"{top}/{name}")
                must(st.st_size in (1, 2), f"{name} has {st.st_size} bytes")
            except FileNotFoundError:
                pass		# it moves
        rounds_seen += 1
        try:
            pipes[1].hear()
            break
        except BlockingIOError:
            pass
    must(rounds_seen > rounds // 1000, f"only {rounds_seen} listings")


def list_done(tops, rounds):
    must(sorted(os.listdir(tops[1])) == sorted(f"f{i}" for i in range(FILES)), "not all names are back")


def append_prepare(top):
    write_file(f"{top}/log", b"")


RECORD = struct.Struct("<cQ7x")


def append_side(me, top, rounds, clock, pipes):
    fd = os.open(f"{top}/log", os.O_WRONLY | os.O_APPEND)
    records = 0
    for n in range(rounds):
        meet(me, pipes)
        for _ in range(at_once(n)):
            must(clock(os.write, fd, RECORD.pack(b"ab"[me:me + 1], records)) == RECORD.size, "a short write")
            records += 1
    os.close(fd)


def append_done(tops, rounds):
    records = sum(at_once(n) for n in range(rounds))
    for top in tops:
        with open(f"{top}/log", "rb") as f:
            data = f.read()
        must(len(data) == 2 * records * RECORD.size, f"{len(data)} bytes for {2 * records} records of {RECORD.size}")
        last = {b"a": -1, b"b": -1}
        for who, n in RECORD.iter_unpack(data):
            must(last[who] == n - 1, f"{who}: {n} after {last[who]}")
            last[who] = n


STORES = 50


def mmap_prepare(top):
    write_file(f"{top}/map", bytes(2 * PAGE))


def mmap_side(me, top, rounds, clock, pipes):
    fd = os.open(f"{top}/map", os.O_RDWR)
    m = mmap.mmap(fd, 2 * PAGE)
    words = memoryview(m).cast("Q")		# stores eight bytes at once, as struct does not
    seen = 0
    for n in range(1, rounds * STORES + 1):
        words[me * PAGE // 8] = n
        if n % STORES == 0:
            m.flush()
            # What is written back is the other's to see; it never goes back.
            value = struct.unpack("<Q", clock(os.pread, fd, 8, (1 - me) * PAGE))[0]
            must(value >= seen, f"the other's count went from {seen} back to {value}")
            seen = value
            own = struct.unpack("<Q", clock(os.pread, fd, 8, me * PAGE))[0]
            must(own == n, f"stored {n}, read {own}")
    m.flush()
    words.release()
    m.close()
    os.fsync(fd)
    os.close(fd)


def mmap_done(tops, rounds):
    for top in tops:
        with open(f"{top}/map", "rb") as f:
            data = f.read()
        found = [struct.unpack_from("<Q", data, side * PAGE)[0] for side in range(2)]
        must(found == [rounds * STORES] * 2, f"stored {rounds * STORES} on each side, found {found}")


pages_prepare = mmap_prepare


def pages_side(me, top, rounds, clock, pipes):
    fd = os.open(f"{top}/map", os.O_RDWR)
    seen = 0
    for n in range(1, rounds + 1):
        must(clock(os.pwrite, fd, struct.pack("<Q", n * STORES) * (PAGE // 8), me * PAGE) == PAGE, "a short write")
        value = struct.unpack("<Q", clock(os.pread, fd, 8, (1 - me) * PAGE))[0]
        must(value >= seen, f"the other's count went from {seen} back to {value}")
        seen = value
        own = struct.unpack("<Q", clock(os.pread, fd, 8, me * PAGE))[0]
        must(own == n * STORES, f"wrote {n * STORES}, read {own}")
    os.fsync(fd)
    os.close(fd)


pages_done = mmap_done


def unlink_prepare(top):
    write_file(f"{top}/f", b"%8d" % 0)


def unlink_side(me, top, rounds, clock, pipes):
    for n in range(rounds):
        if me == 0:
            fd = clock(os.open, f"{top}/f", os.O_RDWR)
            pipes[0].say()
            pipes[1].hear()
            old = clock(os.pread, fd, 8, 0)
            must(old == b"%8d" % n, f"open file: {old} for {n}")
            must(clock(os.pwrite, fd, b"mine", 8) == 4, "a short write")
            must(clock(os.pread, fd, 12, 0) == old + b"mine", "what was written to an open file without a name")
            must(clock(os.fstat, fd).st_nlink == 0, "it still has a link")
            with open(f"{top}/f", "rb") as f:
                new = f.read()
            must(new == b"%8d" % (n + 1), f"the name leads to {new}, not to {n + 1}")
            clock(os.close, fd)
        else:
            pipes[0].hear()
            clock(os.unlink, f"{top}/f")
            clock(write_file, f"{top}/f", b"%8d" % (n + 1))
            pipes[1].say()


def unlink_done(tops, rounds):
    for top in tops:
        must(os.listdir(top) == ["f"], f"left are {os.listdir(top)}")


RACES = {name: (globals()[f"{name}_prepare"], globals()[f"{name}_side"], globals()[f"{name}_done"])
         for name in ("crossed", "list", "append", "pages", "mmap", "unlink")}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("race", choices=RACES)
    parser.add_argument("dirs", nargs=2)
    parser.add_argument("--rounds", type=int, default=1000)
    options = parser.parse_args()
    prepare, side, done = RACES[options.race]
    prepare(options.dirs[0])
    pipes = [Pipe(), Pipe()]
    began = time.monotonic()
    children = []
    for me in range(2):
        pid = os.fork()
        if pid == 0:
            status, clock = 1, Clock()
            os.close(pipes[me].r)		# so that each hears when the other ends
            os.close(pipes[1 - me].w)
            try:
                side(me, options.dirs[me], options.rounds, clock, pipes)
                print(f"side {me}: longest call {clock.longest * 1000:.1f} ms", flush=True)
                status = 0
            except Wrong as e:
                print(f"side {me}: {e}", flush=True)
            except BaseException:
                traceback.print_exc()
            os._exit(status)
        children.append(pid)
    for pipe in pipes:
        os.close(pipe.w)
    failed = any([os.waitpid(pid, 0)[1] != 0 for pid in children])
    spent = time.monotonic() - began
    print(f"{options.race}: {options.rounds} rounds in {spent:.1f} s")
    if failed:
        return 1
    try:
        done(options.dirs, options.rounds)
    except Wrong as e:
        print(e)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

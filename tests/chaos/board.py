"""board.py - the memory that runner and workers share.

Each client has a state, which the runner sets, and a generation that counts
its deaths and returns: odd while its mount is down.  A worker notes both
before a call and after it: what came back over a change is no answer.  Each
worker has a slot that says what it is doing, so that the runner sees what
hangs, and a text by which it says what it cannot explain.
"""
import mmap
import struct
import time

RUN, PAUSE, STOP = range(3)		# what the runner wants
STATES = ("working", "paused", "in doubt", "settling", "done", "failed")
WORKING, PAUSED, DOUBT, SETTLING, DONE, FAILED = range(len(STATES))

HEAD = 64
SLOT = 4096
SLOT_HEAD = struct.Struct("<QdQQ")	# calls, began (0: none under way), state, operations done


class Board:
    def __init__(self, workers):
        self.memory = mmap.mmap(-1, HEAD + workers * SLOT)
        self.words = memoryview(self.memory).cast("Q")
        self.workers = workers

    # What the runner wants of a client's workers.

    def want(self, client, state):
        self.words[client * 2] = state

    def wanted(self, client):
        return self.words[client * 2]

    def generation(self, client):
        return self.words[client * 2 + 1]

    def turn(self, client):
        """The mount went down, or is back."""
        self.words[client * 2 + 1] += 1

    def set_lost(self, client, since):
        """When it may have lost its leases, before it was mounted anew; 0: it was killed, or ended in order."""
        self.words[4 + client] = int(since * 1e6)

    def lost_since(self, client):
        return self.words[4 + client] / 1e6

    def up(self, client):
        return self.generation(client) % 2 == 0

    # What a worker does.

    def _at(self, worker):
        return HEAD + worker * SLOT

    def begin(self, worker, text):
        at = self._at(worker)
        text = text.encode(errors="replace")[:400]
        self.memory[at + 64:at + 64 + len(text) + 1] = text + b"\0"
        self.words[at // 8] += 1
        struct.pack_into("<d", self.memory, at + 8, time.monotonic())

    def end(self, worker):
        at = self._at(worker)
        struct.pack_into("<d", self.memory, at + 8, 0.0)
        self.words[at // 8 + 3] += 1

    def set_state(self, worker, state, text="", generation=0):
        at = self._at(worker)
        if text:
            self.words[at // 8 + 4] = generation
            text = text.encode(errors="replace")[:SLOT - 600]
            self.memory[at + 512:at + 512 + len(text) + 1] = text + b"\0"
        self.words[at // 8 + 2] = state

    def state(self, worker):
        return self.words[self._at(worker) // 8 + 2]

    def _text(self, at, size):
        return bytes(self.memory[at:at + size]).split(b"\0")[0].decode(errors="replace")

    def in_doubt(self, worker, client):
        """About the mount as it is, not about one before it."""
        return self.state(worker) == DOUBT and self.words[self._at(worker) // 8 + 4] == self.generation(client)

    def doubt(self, worker):
        return self._text(self._at(worker) + 512, SLOT - 512)

    def doing(self, worker):
        """(number of the call, when it began or 0, its text)"""
        at = self._at(worker)
        calls, began, _, _ = SLOT_HEAD.unpack_from(self.memory, at)
        return calls, began, self._text(at + 64, 448)

    def operations(self, worker):
        return self.words[self._at(worker) // 8 + 3]

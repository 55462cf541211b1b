"""judge.py - was what the workers saw right, given what they did and what befell them?

Cells and names are registers.  A write takes effect once between its begin
and its end.  It may float when its client was killed, or lost its leases: a
float (K, M) of a client says that from K on what it had not brought to the
server was out of sight, and that the journal had been run by M.  So until M
such a write need not be seen; and if another client wrote meanwhile it may
never be, being in a conflict copy then.  What a journal brought may float again
when its client is killed again, and M is noted a little late, so that a write
made just before it may float for the first time.  A write does not float once

    - its client synced it,
    - its client was unmounted in order, or
    - another client saw it.

A mount whose journal cannot be run, the server being full, can be used all the
same: who changes there what waits finds the old, and gets the other beside it.
Of such a client (on_old) there may be copies though nobody else changed anything.

A read is right if some write of its value began before the read's end, and no
other write that must have taken effect before the read began, began after
that one's end.  What others changed is not overwritten by what a journal
brings late, so a late write counts from when it was made.  But a name that
others removed is free for it until the journal has been run.

Logs: a record that must be there is, once, and whole.  One that may not be
there is in a conflict copy.  Tokens: what was made and not removed is
somewhere, and in one place.
"""
import math
from collections import defaultdict

ABSENT = "-"


class Write:
    __slots__ = ("client", "began", "ended", "value", "sure", "windows", "late")

    def __init__(self, client, began, ended, value, sure):
        self.client, self.began, self.ended, self.value, self.sure = client, began, ended, value, sure
        self.windows = []		# each (K, M) of its client in which it floats
        self.late = ended if sure else math.inf		# when it has taken effect at the latest

    @property
    def floats(self):
        """The last of them."""
        return self.windows[-1] if self.windows else None


class Read:
    __slots__ = ("client", "began", "ended", "value", "kind")

    def __init__(self, client, began, ended, value, kind):
        self.client, self.began, self.ended, self.value, self.kind = client, began, ended, value, kind


class Key:
    def __init__(self):
        self.writes, self.reads, self.syncs = [], [], []


class Case:
    """All that is known of a round."""

    def __init__(self):
        self.keys = defaultdict(Key)
        self.floats = defaultdict(list)		# client: [(K, M)], ascending
        self.unmounts = defaultdict(list)	# client: [time]
        self.made, self.synced, self.dropped = {}, set(), set()
        self.on_old = set()			# clients that were used while their journals waited
        self.violations = []

    # ---- what was written down ----

    def read_events(self, lines):
        for line in lines:
            kind, *rest = line.rstrip("\n").split("\t")
            if kind in ("w", "m", "a", "b"):
                key, client, began, ended, value = rest
                if key == "token":
                    if kind == "w":
                        self.made[value] = float(ended)
                    continue
                sure = kind in "wa"
                self.keys[key].writes.append(Write(int(client), float(began), float(ended) if sure else math.inf, value, sure))
            elif kind in ("r", "z", "p", "l"):
                key, client, began, ended, value = rest
                self.keys[key].reads.append(Read(int(client), float(began), float(ended), value, kind))
            elif kind == "s":
                self.keys[rest[0]].syncs.append((int(rest[1]), float(rest[2]), float(rest[3])))
            elif kind == "k":
                self.synced.add(rest[0])
            elif kind == "d":
                self.dropped.add(rest[0])

    def begin_with(self, key, value):
        self.keys[key].writes.append(Write(-1, 0.0, 0.0, value, True))

    # ---- what floats ----

    def settle(self, key, seen_by_others):
        """Which writes of it float?  seen_by_others: (client, value) to when another had seen it."""
        for w in key.writes:
            for k, m in self.floats[w.client]:
                if m <= w.began:
                    continue
                settled = any(c == w.client and began >= w.ended and ended <= k for c, began, ended in key.syncs) or \
                    any(w.ended <= t <= k for t in self.unmounts[w.client]) or \
                    seen_by_others.get((w.client, w.value), math.inf) <= k
                # Of what was not answered it is not known when it ended, so the first counts.
                if settled and (w.sure or w.windows):
                    break
                w.windows.append((k, m))
                w.late = m
            if not w.sure and w.windows:
                w.ended = w.late

    def may_be_dropped(self, key, w, in_copies):
        """Did another client change it before this one's journal was run?  Or is it beside what this one found?"""
        return w.floats is not None and (w.client in self.on_old and w.value in in_copies or any(
            o.client != w.client and o.began < w.floats[1] and o.late > w.began for o in key.writes))

    @staticmethod
    def due(w, read, dropped):
        """Must it have taken effect before the read began?"""
        if not w.sure or any(k <= read.ended and read.began <= m for k, m in w.windows):
            return False
        run = any(m < read.began for _, m in w.windows)
        return w.ended < read.began and not (run and dropped)

    # ---- registers ----

    def judge_register(self, name, key, in_copies):
        seen = {}
        owners = {w.value: w.client for w in key.writes}
        for r in key.reads:
            if r.kind == "r" and r.value != ABSENT and owners.get(r.value, r.client) != r.client:
                at = (owners[r.value], r.value)
                seen[at] = min(seen.get(at, math.inf), r.ended)
        self.settle(key, seen)
        key.writes.sort(key=lambda w: w.began)
        dropped = {id(w): self.may_be_dropped(key, w, in_copies) for w in key.writes}
        for r in key.reads:
            possible, last = self.possible(key, r, dropped)
            if not self.right(key, r, possible) and not (r.kind + r.value in ("r?0:", "z0") and self.may_be_empty(key, r, dropped)):
                self.tell(name, key, r, possible, last)

    def possible(self, key, read, dropped):
        """The writes whose value it may find, and the last one that is due."""
        last, possible = None, []
        for w in key.writes:
            if w.began >= read.ended:
                break
            if self.due(w, read, dropped[id(w)]) and (last is None or w.began > last.began):
                last = w
        for w in key.writes:
            if w.began >= read.ended:
                break
            if last is None or w is last or w.ended >= last.began or self.takes_free_name(key, w, last, read):
                possible.append(w)
        return possible, last

    @staticmethod
    def takes_free_name(key, w, last, read):
        """Another client removed the name, and then came w out of a journal: the last of that, once it is run."""
        if last.client == w.client or w.floats is None or not any(
                o.value == ABSENT and o.client != w.client and last.began <= o.began <= w.floats[1] for o in key.writes):
            return False
        return read.began <= w.floats[1] or not any(
            o.client == w.client and o.floats == w.floats and o.began >= w.ended for o in key.writes)

    def may_be_empty(self, key, read, dropped):
        """A new name may be there before its content is; not one that is put over another."""
        return any(w.floats is not None and w.value != ABSENT and w.began < read.ended and read.began < w.floats[1] and
                   any(p.value == ABSENT for p in self.possible(key, self.while_made(w), dropped)[0])
                   for w in key.writes)

    @staticmethod
    def while_made(w):
        """The name may have been made at any moment of it, but not after its client was killed."""
        return Read(w.client, w.began, min(w.ended, w.windows[0][0]), "", "r")

    def right(self, key, r, possible):
        if r.kind == "p" and r.value == "0":	# a name that is replaced during a listing may be missed
            return any(w.value == ABSENT for w in possible) or any(
                w.began < r.ended and w.late > r.began for w in key.writes)
        if r.kind == "p":
            return any(w.value != ABSENT for w in possible)
        if r.kind == "z":
            return any(r.value == (ABSENT if w.value == ABSENT else str(self.size_of(w.value))) for w in possible)
        return any(w.value == r.value for w in possible)

    def tell(self, name, key, r, possible, last):
        synced = last is not None and any(c == last.client and began >= last.ended and ended < r.began
                                          for c, began, ended in key.syncs)
        what = "FSYNCED BYTES LOST" if synced else "INCOHERENT READ"
        word = {"r": "read", "z": "stat (size)", "p": "listing (there?)"}[r.kind]
        self.violations.append(
            f"{what}: {name}: {word} by client {r.client} at {r.began:.6f}..{r.ended:.6f} found {r.value}; due was one of "
            f"{[w.value for w in possible[-4:]]}, as {last.value if last else 'nothing'} was written by client "
            f"{last.client if last else '-'} at {last.began if last else 0:.6f}..{last.ended if last else 0:.6f}"
            f"{' (late ' + format(last.late, '.6f') + ')' if last and last.floats else ''}")

    # ---- logs ----

    def judge_log(self, name, key, in_copies):
        records = {w.value: w for w in key.writes}
        seen = {}
        parsed = []
        for r in key.reads:
            found = r.value.split()
            strange = [f for f in found if f[0] == "?"]
            if strange:
                self.violations.append(f"DAMAGED: {name}, read by client {r.client} at {r.began:.6f}: {strange[:3]}")
            found = [f for f in found if f[0] != "?"]
            if len(set(found)) != len(found):
                twice = sorted(f for f in set(found) if found.count(f) > 1)
                self.violations.append(f"TWICE: {name}, read by client {r.client} at {r.began:.6f}: {twice[:5]}")
            for f in set(found):
                w = records.get(f)
                if w is None or w.began > r.ended:
                    self.violations.append(f"OUT OF NOTHING: {name}: {f}, read by client {r.client} at {r.began:.6f}")
                elif w.client != r.client:
                    seen[(w.client, f)] = min(seen.get((w.client, f), math.inf), r.ended)
            parsed.append((r, set(found)))
        self.settle(key, seen)
        dropped = {w.value: self.may_be_dropped(key, w, in_copies) for w in key.writes}
        told = set()
        for r, found in sorted(parsed, key=lambda p: p[0].began):
            for w in key.writes:
                if w.value in found or w.value in told or not self.due(w, r, False):
                    continue
                if w.floats is not None and dropped[w.value] and w.value in in_copies:
                    continue
                told.add(w.value)
                synced = any(c == w.client and began >= w.ended and ended < r.began for c, began, ended in key.syncs)
                late = w.floats is not None
                what = "FSYNCED BYTES LOST" if synced else "ACKNOWLEDGED BYTES LOST" if late else "INCOHERENT READ"
                self.violations.append(
                    f"{what}: {name}: {w.value} of client {w.client}, appended at {w.began:.6f}..{w.ended:.6f}, is not in "
                    f"what client {r.client} read at {r.began:.6f}..{r.ended:.6f}" +
                    (f" (its journal was run by {w.floats[1]:.6f}), nor in a conflict copy" if late else ""))

    # ---- tokens ----

    def judge_tokens(self, places, in_copies):
        """places: token to the paths where it is."""
        for token in self.made:
            if token in places:
                if len(places[token]) > 1:
                    self.violations.append(f"TWICE: token {token} is at {places[token]}")
            elif token not in self.dropped and token not in in_copies:
                what = "FSYNCED BYTES LOST" if token in self.synced else "ACKNOWLEDGED BYTES LOST"
                self.violations.append(f"{what}: token {token}, made by {self.made[token]:.6f}, is nowhere")

    # ---- conflict copies ----

    def judge_copy(self, path, key, values):
        """Had another client changed it, since the first of what the one with the journal did?"""
        ours = [w for w in key.writes if w.value in values and w.floats is not None]
        for client, floats in {(w.client, w.floats) for w in ours}:
            if client in self.on_old:
                return
            first = min(w.began for w in key.writes if w.client == client and w.floats == floats)
            if any(o.client != client and o.began < floats[1] and o.late > first for o in key.writes):
                return
        if ours:
            self.violations.append(f"SPURIOUS CONFLICT: {path} of client {ours[0].client}: nobody else changed it from "
                                   f"{first:.6f} to {floats[1]:.6f}")

    def judge(self, places, in_copies, size_of, copies=()):
        """copies: (path, key, values) of each conflict copy of a shared file."""
        self.size_of = size_of
        for name, key in sorted(self.keys.items()):
            if name[0] == "l":
                self.judge_log(name, key, in_copies)
            else:
                self.judge_register(name, key, in_copies)
        self.judge_tokens(places, in_copies)
        for path, key, values in copies:
            if key in self.keys:
                self.judge_copy(path, self.keys[key], values)
        return self.violations

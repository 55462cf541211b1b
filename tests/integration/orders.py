#!/usr/bin/env python3
"""orders.py DIR_A DIR_B [--ops N] [--workers N] [--seed N]  |  orders.py --selftest

Two views of one directory are worked on at once, and then an order of all
operations is looked for that explains every result: one in which each takes
effect at an instant between its call and its return (Herlihy and Wing 1990).

Only what is atomic on a local disk is asked for: one system call on the last
component of a path whose parents stay.  (A path walk is not atomic, nor are
the two look-ups of a link, or a stat's look-up and its attributes; so parents
are fixed, links are made of a fixed file, and a link count is asked of that
one.)

An object is linearizable by itself or not at all, so groups are checked alone:

  a group of names    two fixed directories of three names each, and a file
                      "s" to link.  A name is free, a file, a link of s, or a
                      directory; that is all of the state.
  a register          eight bytes in a file that both sides hold open.

The check goes through calls and returns in time's order and keeps every state
the group can be in, each with the set of unfinished operations that already
took effect (Lowe 2017); at a return those remain in which the operation did.
If none remains, no order exists.
"""
import argparse
import ctypes
import errno
import os
import pickle
import random
import signal
import struct
import sys
import time
from collections import namedtuple

GROUPS, DIRS, NAMES, REGISTERS = 3, 2, 3, 2
SLOTS = DIRS * NAMES
NOREPLACE, EXCHANGE = 1, 2
AT_FDCWD = -100
PR_SET_PDEATHSIG = 1

# group is ("names", g) or ("register", g, r); args are slots or a value; result is an
# errno's name, "ok", or what was seen.
Op = namedtuple("Op", "start end worker group kind args result")

libc = ctypes.CDLL(None, use_errno=True)


# ---- the model ----

def rename(state, a, b, flags):
    source, target = state[a], state[b]
    if source == "-":
        return state, "ENOENT"
    if flags == NOREPLACE and target != "-":
        return state, "EEXIST"
    if flags == EXCHANGE and target == "-":
        return state, "ENOENT"
    if a == b or source == target == "s":
        return state, "ok"
    new = list(state)
    if flags == EXCHANGE:
        new[a], new[b] = target, source
        return "".join(new), "ok"
    if target != "-" and source == "d" and target != "d":
        return state, "ENOTDIR"
    if target == "d" and source != "d":
        return state, "EISDIR"
    new[a], new[b] = "-", source
    return "".join(new), "ok"


def apply_names(state, kind, args):
    """State is a character a name: - free, f file, s link of s, d directory."""
    if kind == "stat_s":
        return state, 1 + state.count("s")
    if kind == "rename":
        return rename(state, *args)
    at = args[0]
    here = state[at]

    def put(c):
        return state[:at] + c + state[at + 1:], "ok"
    if kind == "stat":
        return state, here
    if kind in ("create", "mkdir", "link"):
        return put({"create": "f", "mkdir": "d", "link": "s"}[kind]) if here == "-" else (state, "EEXIST")
    if here == "-":
        return state, "ENOENT"
    if kind == "unlink":
        return (state, "EISDIR") if here == "d" else put("-")
    if kind == "rmdir":
        return put("-") if here == "d" else (state, "ENOTDIR")
    raise ValueError(kind)


def apply_register(state, kind, args):
    return (args[0], "ok") if kind == "write" else (state, state)


# Refusals without effect that the kernel makes unasked; they need no reason in
# the model, as long as they are rare.  ESTALE: a directory that was moved
# elsewhere has a place in the kernel's tree, from which it takes it only when
# nobody else renames just then (d_splice_alias); it tries twice.  ENOENT of
# link(2): when a name goes the kernel counts one link less by itself, even from
# a count that knew of that already, and may find a file without any.
REFUSALS_MAX = 0.005


def refused(op):
    return op.result == "ESTALE" or (op.kind == "link" and op.result == "ENOENT")


def explained(apply, state, op):
    """The state after op had this result, or None."""
    if refused(op):
        return state
    new, result = apply(state, op.kind, op.args)
    return new if result == op.result else None


# ---- the checker ----

class NotLinearizable(Exception):
    pass


def check_group(ops, initial, apply):
    """Raises NotLinearizable; returns the largest number of configurations held."""
    events = sorted([(op.start, 0, i) for i, op in enumerate(ops)] + [(op.end, 1, i) for i, op in enumerate(ops)])
    pending = set()
    configs = {(initial, frozenset())}
    largest = 1
    for _, is_return, i in events:
        if not is_return:
            pending.add(i)
            continue
        # Let unfinished operations take effect, in every order, until i has.
        seen, work, done = set(configs), list(configs), set()
        while work:
            state, effective = work.pop()
            if i in effective:
                done.add((state, effective - {i}))
                continue
            for j in pending - effective:
                new = explained(apply, state, ops[j])
                if new is not None:
                    config = (new, effective | {j})
                    if config not in seen:
                        seen.add(config)
                        work.append(config)
        if not done:
            states = sorted({str(state) for state, _ in configs})
            raise NotLinearizable(explain(ops, i, pending, states))
        pending.discard(i)
        configs = done
        largest = max(largest, len(seen))
    return largest


def explain(ops, i, pending, states):
    zero = min(ops[j].start for j in pending)
    recent = sorted((op for op in ops if op.end <= ops[i].end), key=lambda op: op.end)[-12:]
    lines = [f"no order explains {ops[i].kind}{ops[i].args} = {ops[i].result}; states before: {', '.join(states[:8])}"]
    for op in sorted(set(recent) | {ops[j] for j in pending}, key=lambda op: op.start):
        lines.append(f"  {(op.start - zero) / 1000:10.1f} to {(op.end - zero) / 1000:10.1f} us  worker {op.worker}: "
                     f"{op.kind}{op.args} = {op.result}")
    return "\n".join(lines)


def check(history):
    groups = {}
    for op in history:
        groups.setdefault(op.group, []).append(op)
    largest = 0
    for group, ops in sorted(groups.items()):
        try:
            if group[0] == "names":
                largest = max(largest, check_group(ops, "-" * SLOTS, apply_names))
            else:
                largest = max(largest, check_group(ops, 0, apply_register))
        except NotLinearizable as e:
            raise NotLinearizable(f"{group}: {e}") from None
    return groups, largest


# ---- the operations ----

def choose(rng, count):
    """What to do next: group, kind, arguments."""
    g = rng.randrange(GROUPS)
    if rng.random() < 0.3:
        group = ("register", g, rng.randrange(REGISTERS))
        return (group, "read", ()) if rng.random() < 0.5 else (group, "write", (count,))
    kind = rng.choices(["create", "mkdir", "link", "unlink", "rmdir", "rename", "stat", "stat_s"],
                       [3, 2, 2, 3, 2, 5, 4, 1])[0]
    if kind == "stat_s":
        args = ()
    elif kind == "rename":
        args = (rng.randrange(SLOTS), rng.randrange(SLOTS), rng.choice([0, 0, NOREPLACE, EXCHANGE]))
    else:
        args = (rng.randrange(SLOTS),)
    return ("names", g), kind, args


class View:
    """One of the two directories, as a worker sees it."""

    def __init__(self, top):
        self.top = top
        self.registers = {(g, r): os.open(f"{top}/g{g}/r{r}", os.O_RDWR)
                          for g in range(GROUPS) for r in range(REGISTERS)}
        self.ino = [os.stat(f"{top}/g{g}/s").st_ino for g in range(GROUPS)]
        self.made = None

    @staticmethod
    def lay_out(top):
        for g in range(GROUPS):
            for d in range(DIRS):
                os.makedirs(f"{top}/g{g}/d{d}")
            with open(f"{top}/g{g}/s", "x"):
                pass
            for r in range(REGISTERS):
                with open(f"{top}/g{g}/r{r}", "xb") as f:
                    f.write(bytes(8))

    def path(self, g, slot):
        return f"{self.top}/g{g}/d{slot // NAMES}/n{slot % NAMES}"

    def call(self, group, kind, args):
        g = group[1]
        if kind == "read":
            return struct.unpack("<q", os.pread(self.registers[group[1:]], 8, 0))[0]
        if kind == "write":
            assert os.pwrite(self.registers[group[1:]], struct.pack("<q", args[0]), 0) == 8
        elif kind == "stat_s":
            return os.stat(f"{self.top}/g{g}/s").st_nlink
        elif kind == "rename":
            a, b, flags = self.path(g, args[0]), self.path(g, args[1]), args[2]
            if libc.renameat2(AT_FDCWD, a.encode(), AT_FDCWD, b.encode(), flags) < 0:
                raise OSError(ctypes.get_errno(), "rename")
        elif kind == "link":
            os.link(f"{self.top}/g{g}/s", self.path(g, args[0]))
        elif kind == "create":
            self.made = os.open(self.path(g, args[0]), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        elif kind == "stat":
            try:
                st = os.lstat(self.path(g, args[0]))
            except FileNotFoundError:
                return "-"
            return "d" if st.st_mode & 0o170000 == 0o040000 else "s" if st.st_ino == self.ino[g] else "f"
        else:
            {"mkdir": os.mkdir, "unlink": os.unlink, "rmdir": os.rmdir}[kind](self.path(g, args[0]))
        return "ok"

    def finish(self):
        if self.made is not None:
            os.close(self.made)
            self.made = None


def work(view, worker, count, seed):
    rng = random.Random(f"{seed} {worker}")
    history = []
    for n in range(count):
        group, kind, args = choose(rng, (worker + 1) * 1_000_000 + n)
        start = time.monotonic_ns()
        try:
            result = view.call(group, kind, args)
        except OSError as e:
            result = errno.errorcode[e.errno]
        history.append(Op(start, time.monotonic_ns(), worker, group, kind, args, result))
        view.finish()
    return history


def run(tops, ops, workers, seed):
    """Workers are processes, so that nothing but the file system orders them."""
    View.lay_out(tops[0])
    pipes, history = [], []
    ready, ready_in = os.pipe()
    go, go_in = os.pipe()
    for w in range(workers):
        r, out = os.pipe()
        parent = os.getpid()
        if os.fork() == 0:
            status = 1
            # A worker does not outlive a run that is cut short.
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(status)
            try:
                with os.fdopen(out, "wb") as f:
                    os.close(go_in)
                    view = View(tops[w % 2])
                    os.write(ready_in, b"r")
                    os.read(go, 1)		# until the other end is closed
                    pickle.dump(work(view, w, ops // workers, seed), f)
                status = 0
            finally:
                os._exit(status)
        os.close(out)
        pipes.append(r)
    os.close(ready_in)
    seen = 0
    while seen < workers and (got := os.read(ready, workers)):
        seen += len(got)
    os.close(go_in)
    for r in pipes:
        with os.fdopen(r, "rb") as f:
            history += pickle.load(f)
    return history


# ---- the checker's own test ----

def simulate(rng, ops, workers, effect=None):
    """A history whose operations take effect at a known instant inside their interval.

    effect(op index, state) may lie about the state an operation sees.
    """
    clock = [0] * workers
    plans = []
    for n in range(ops):
        w = rng.randrange(workers)
        start = clock[w] + rng.randrange(1, 100)
        end = start + rng.randrange(2, 300)
        clock[w] = end
        plans.append((rng.uniform(start, end), start, end, w, choose(rng, n + 1)))
    states, old, history = {}, {}, []
    for n, (_, start, end, w, (group, kind, args)) in enumerate(sorted(plans)):
        names = group[0] == "names"
        state = states.get(group, "-" * SLOTS if names else 0)
        seen = effect(n, group, state, old) if effect else state
        new, result = (apply_names if names else apply_register)(seen, kind, args)
        if new != seen:
            old[group] = state
            states[group] = new
        history.append(Op(start, end, w, group, kind, args, result))
    return history


def selftest():
    failed = 0
    cases = []

    def case(good, name):
        nonlocal failed
        failed += not good
        cases.append(f"{'' if good else 'not '}ok {len(cases) + 1} - {name}")

    def linearizable(history):
        try:
            check(history)
            return True
        except NotLinearizable:
            return False
    case(all(linearizable(simulate(random.Random(s), 2000, 4)) for s in range(5)), "true histories are explained")

    def stale(n, group, state, old):	# one operation in a hundred sees what was before the last change
        return old.get(group, state) if n % 100 == 99 else state
    caught = sum(not linearizable(simulate(random.Random(s), 2000, 2, stale)) for s in range(10))
    case(caught == 10, "stale views are caught")
    caught = 0
    for s in range(20):
        rng = random.Random(s)
        history = simulate(rng, 500, 2)
        i = rng.choice([i for i, op in enumerate(history) if op.kind == "read" or op.kind == "stat"])
        wrong = -1 if history[i].kind == "read" else rng.choice([c for c in "-fsd" if c != history[i].result])
        history[i] = history[i]._replace(result=wrong)
        caught += not linearizable(history)
    case(caught >= 15, f"one wrong result of 500 is caught ({caught} times of 20)")
    g = ("register", 0, 0)
    case(linearizable([Op(0, 10, 0, g, "write", (1,), "ok"), Op(1, 9, 1, g, "read", (), 0), Op(2, 8, 2, g, "read", (), 1)]),
         "overlapping reads may see either")
    case(not linearizable([Op(0, 10, 0, g, "write", (1,), "ok"), Op(1, 3, 1, g, "read", (), 1),
                           Op(4, 6, 2, g, "read", (), 0)]), "but not the new value, then the old one")
    n = ("names", 0)
    case(not linearizable([Op(0, 9, 0, n, "create", (0,), "ok"), Op(1, 8, 1, n, "create", (0,), "ok")]),
         "O_EXCL has no two winners")
    print("\n".join(cases), f"\n1..{len(cases)}", sep="")
    return failed != 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dirs", nargs="*")
    parser.add_argument("--ops", type=int, default=10000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--selftest", action="store_true")
    options = parser.parse_args()
    if options.selftest:
        return selftest()
    if len(options.dirs) != 2:
        parser.error("two directories are needed")
    seed = options.seed if options.seed is not None else random.randrange(1 << 32)
    print(f"seed {seed}")
    history = run(options.dirs, options.ops, options.workers, seed)
    try:
        groups, largest = check(history)
    except NotLinearizable as e:
        print(e)
        return 1
    refusals = sum(map(refused, history))
    if refusals > len(history) * REFUSALS_MAX:
        print(f"{refusals} of {len(history)} operations were refused unasked")
        return 1
    span = (max(op.end for op in history) - min(op.start for op in history)) / 1e9
    ends = sorted(history, key=lambda op: op.start)
    overlaps = sum(a.end > b.start and a.worker % 2 != b.worker % 2 for a, b in zip(ends, ends[1:]))
    outcomes = len({(op.kind, op.result) for op in history if op.group[0] == "names"})
    print(f"{len(history)} operations in {span:.1f} s, {overlaps} overlapping one of the other side, "
          f"{outcomes} different outcomes, {refusals} refused unasked; {len(groups)} groups, at most {largest} configurations")
    # A run in which the two sides took turns would have shown nothing.
    return 0 if overlaps > len(history) // 100 else 2


if __name__ == "__main__":
    sys.exit(main())

"""watch.py - looks on while a round goes: what hangs, what died by itself, what grows.

A call may take as long as something is broken, and then the session's term,
skew and a slack: a server that was restarted grants nothing for a term, and
what a dead client had is free after term and skew.
"""
import os
import re
import shutil
import statistics
import subprocess
import threading
import time

from board import DONE, FAILED
from world import kernel_stacks, resident_mb, run

TICK_S = 0.25
SAMPLE_TICKS = 4
LONG_S = 300			# a process that lived so long must have ceased to grow
MESSAGE = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|[Aa]ssertion|invariant|DAMAGED|panic")


def stacks(pid, ours):
    """Where its threads are; in detail of a program of ours, which no kernel call holds."""
    text = [kernel_stacks(pid)]
    if ours and shutil.which("gdb"):
        try:
            text.append(run("gdb", "-p", str(pid), "-batch", "-ex", "thread apply all bt 12", timeout=60).stdout)
        except subprocess.TimeoutExpired:
            text.append("gdb does not end")
    return "\n".join(text)


def grown(samples):
    """What a process took in the second quarter of its life, and in the last; did it grow on?"""
    quarter = len(samples) // 4
    second, last = (statistics.median(samples[i * quarter:(i + 1) * quarter]) for i in (1, 3))
    return second, last, last > second * 1.25 + 8


class Watch(threading.Thread):
    def __init__(self, round):
        super().__init__(name="watch", daemon=True)
        self.round, self.world, self.board = round, round.world, round.board
        self.ended = threading.Event()
        self.most_mb = {}			# process: megabytes
        self.samples = {}			# (process, pid): [(when, megabytes)]
        o = self.world.options
        self.limit_s = (o.term_ms + o.skew_ms) / 1000 + o.slack_s
        self.missing = {}

    def run(self):
        ticks = 0
        while not self.ended.wait(TICK_S):
            self.see_hangs()
            self.see_deaths()
            if ticks % SAMPLE_TICKS == 0:
                self.see_memory()
            ticks += 1

    def processes(self):
        return [("server", self.world.server.process)] + [(c.name, c.process) for c in self.world.clients]

    def see_hangs(self):
        troubles, now = self.round.troubles, time.monotonic()
        if troubles.any() or self.round.broken.is_set():
            return
        for worker in range(self.board.workers):
            calls, began, text = self.board.doing(worker)
            if began == 0 or self.board.state(worker) in (DONE, FAILED):
                continue
            waited = now - max(began, troubles.calm_since)
            if waited > self.limit_s and self.board.doing(worker)[0] == calls and self.board.doing(worker)[1] != 0:
                self.write_stacks(worker)
                self.round.violation(f"HANG: worker {worker}: {text}: for {now - began:.1f} s, of which {waited:.1f} s "
                                     "without any fault")
                self.round.broken.set()
                return

    def write_stacks(self, worker):
        with open(f"{self.world.top}/hang.log", "a") as f:
            f.write(stacks(self.round.pids[worker], False))
            f.write("\n\n".join(stacks(p.pid, True) for _, p in self.processes() if p is not None))

    def see_deaths(self):
        for name, process in self.processes():
            gone = process is not None and process.poll() is not None and not self.round.troubles.of(name)
            if gone and self.missing.get(name) == process.pid:
                self.round.violation(f"CRASH: {name} ended with status {process.poll()}")
                self.round.broken.set()
            self.missing[name] = process.pid if gone else None
        for worker in range(self.board.workers):
            if self.board.state(worker) == FAILED:
                self.round.violation(f"worker {worker}: {self.board.doubt(worker)}")
                self.round.over.set()

    def see_memory(self):
        for name, process in self.processes():
            if process is not None:
                mb = resident_mb(process.pid)
                self.most_mb[name] = max(self.most_mb.get(name, 0), mb)
                self.samples.setdefault((name, process.pid), []).append((time.monotonic(), mb))

    def long_lives(self):
        """(process, seconds, megabytes early, and at the end, whether that is a violation)"""
        return [(name, s[-1][0] - s[0][0], *grown([mb for _, mb in s])) for (name, _), s in self.samples.items()
                if s[-1][0] - s[0][0] >= LONG_S]

    def messages(self, seen):
        """Lines of the logs that should never be there.  seen: file to where it was read to."""
        found = []
        for name in sorted(os.listdir(self.world.top)):
            if not name.endswith(".log") or name in ("hang.log", "faults.log"):
                continue
            with open(f"{self.world.top}/{name}", errors="replace") as f:
                f.seek(seen.get(name, 0))
                found += [f"{name}: {line.strip()}" for line in f if MESSAGE.search(line)]
                seen[name] = f.tell()
        return found

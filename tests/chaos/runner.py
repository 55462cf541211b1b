#!/usr/bin/env python3
"""runner.py - two mounts of one volume, and all that can befall them.

A real server, two real mounts, each over a link of its own.  Workers on both
do what programs do, on names of their own and on shared ones, while server,
clients, links, disk and power fail by a seed: killed at any moment, also
while a journal is run again; cut off, slowed, losing; stopped beyond the
term; out of space, the server or a client.  It is checked that

  - nothing that was fsynced is lost,
  - nothing that was answered is lost: it is in place, or in a conflict copy
    that `nuage status` lists,
  - no call takes longer than the term, the skew and a slack, once nothing is
    broken,
  - no read or stat misses what the other mount had done before,
  - memory stays flat: over the rounds, and in each process that lives for long
    (as with --round 1200 --faults cut,cut_long,delay,flap,lose,client_stop),
  - at the end of each round both mounts show the same, `nuaged check` finds
    nothing, and new mounts show the same again.

See judge.py for the exact rules.  It goes in rounds, of which every other has
a small disk in place of one that forgets at a power cut.  On a violation it
says what is wrong, keeps all logs and ends with status 1.

  runner.py --build DIR --top DIR [--seconds N] [--seed S] [--faults KIND,...]
"""
import argparse
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections import Counter

import watch
from round import Round
from world import World

LEAST_ROUNDS_FOR_GROWTH = 6


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True, help="where the programs were built")
    parser.add_argument("--top", required=True, help="an empty directory to work in")
    parser.add_argument("--keep", help="where the logs go on a violation; TOP.failed")
    parser.add_argument("--seconds", type=int, default=75, help="how long, all in all (75)")
    parser.add_argument("--round", type=int, default=0, help="seconds of faults in a round (a fifth of all, 15 to 90)")
    parser.add_argument("--rounds", type=int, default=0, help="how many rounds, whatever the time")
    parser.add_argument("--seed", default=str(random.SystemRandom().randrange(10**6)))
    parser.add_argument("--faults", type=lambda s: set(s.split(",")), default=set(), help="only these kinds")
    parser.add_argument("--gap", dest="gap_s", type=float, default=2, help="seconds between faults of one thing (2)")
    parser.add_argument("--term-ms", type=int, default=5000)
    parser.add_argument("--skew-ms", type=int, default=1000)
    parser.add_argument("--slack", dest="slack_s", type=float, default=15,
                        help="what a call may take above term and skew (15 s)")
    parser.add_argument("--store-mb", type=int, default=1024, help="size of the server's disk")
    parser.add_argument("--memory-mb", type=int, default=400, help="what a process may take")
    parser.add_argument("--disk-first", action="store_true", help="begin with the round of the small disk")
    options = parser.parse_args()
    options.round = options.round or max(15, min(90, options.seconds // 5))
    options.keep = options.keep or f"{options.top}.failed"
    options.build = os.path.abspath(options.build)
    options.top = os.path.abspath(options.top)
    return options


def judge_memory(rounds, limit_mb):
    """rounds: of each, process to the most it took."""
    found = [f"MEMORY: {name} took {mb:.0f} MB in round {n}" for n, most in enumerate(rounds) for name, mb in most.items()
             if mb > limit_mb]
    third = len(rounds) // 3
    for name in ("server", "ann", "bob") if len(rounds) >= LEAST_ROUNDS_FOR_GROWTH else ():
        first = sorted(r.get(name, 0) for r in rounds[:third])[third // 2]
        last = sorted(r.get(name, 0) for r in rounds[-third:])[third // 2]
        if last > first * 1.5 + 32:
            found.append(f"MEMORY: {name} grew from {first:.0f} MB to {last:.0f} MB")
    return found


class Chaos:
    def __init__(self, options):
        self.options, self.world = options, World(options)
        self.counts, self.operations, self.conflicts, self.rounds = Counter(), 0, 0, 0
        self.memory, self.violations, self.seen = [], [], {}

    def one_round(self, number):
        began = time.monotonic()
        round = Round(self.world, number)
        try:
            round.begin()
            round.go(self.options.round)
            round.finish()
        except Exception as e:
            traceback.print_exc()
            round.violation(f"{type(e).__name__}: {e}")
        finally:
            if hasattr(round, "watch"):
                round.watch.ended.set()
                self.memory.append(round.watch.most_mb)
        for message in round.watch.messages(self.seen) if hasattr(round, "watch") else ():
            round.violation(message)
        for client in self.world.clients:
            for text in client.stuck:
                round.violation(f"STUCK: {text}")
            client.stuck.clear()
        for name, seconds, early, late, grew in round.watch.long_lives() if hasattr(round, "watch") else ():
            print(f"round {number}: {name} lived for {seconds:.0f} s, with {early:.1f} MB early and {late:.1f} MB late")
            if grew:
                round.violation(f"MEMORY: {name} grew from {early:.1f} MB to {late:.1f} MB in {seconds:.0f} s")
        self.rounds += 1
        self.counts += round.troubles.counts
        self.operations += round.operations
        self.conflicts += round.conflicts
        self.violations += [f"round {number}: {v}" for v in round.violations]
        print(f"round {number}{'' if round.forgetful else ' (small disk)'}: {round.operations} operations, "
              f"{sum(round.troubles.counts.values())} faults, {len(round.floats)} journals, {round.conflicts} conflicts, "
              f"{' '.join(f'{n} {mb:.0f} MB' for n, mb in sorted(self.memory[-1].items())) if self.memory else ''}, "
              f"{time.monotonic() - began:.0f} s", flush=True)
        self.counts["journals run"] += len(round.floats)

    def go(self):
        deadline = time.monotonic() + self.options.seconds
        number = 0
        while not self.violations:
            began = time.monotonic()
            self.one_round(number)
            number += 1
            spent = time.monotonic() - began
            if number == self.options.rounds or (not self.options.rounds and time.monotonic() + spent > deadline):
                break
        if not self.violations:
            self.violations += judge_memory(self.memory, self.options.memory_mb)

    def report(self):
        print(f"seed {self.options.seed}: {self.rounds} rounds, {self.operations} operations, {self.conflicts} conflict copies")
        print("faults: " + ", ".join(f"{n} {kind}" for kind, n in sorted(self.counts.items())))
        for violation in self.violations[:20]:
            print(f"VIOLATION: {violation}")
        if len(self.violations) > 20:
            print(f"and {len(self.violations) - 20} more")


def main():
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.makedirs(options.top, exist_ok=True)
    chaos = Chaos(options)
    print(f"seed {options.seed}", flush=True)
    try:
        chaos.world.set_up()
        chaos.go()
    except Exception as e:
        traceback.print_exc()
        chaos.violations.append(f"{type(e).__name__}: {e}")
    finally:
        if chaos.violations:
            shutil.rmtree(options.keep, ignore_errors=True)
            chaos.world.keep_logs(options.keep)
        chaos.world.tear_down()
    chaos.report()
    if chaos.violations:
        print(f"the logs are in {options.keep}; --seed {options.seed} does the same again, as far as machines do")
    return 1 if chaos.violations else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""test_coverage.py - the report's own rules (TAP): which rooms are engines, what an excuse excuses."""
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import coverage

number = 0


def ok(good, name):
    global number
    number += 1
    print(f"{'' if good else 'not '}ok {number} - {name}")


def line(n, count, *branches):
    return {"line_number": n, "count": count, "branches": [{"count": b} for b in branches]}


SOURCE = """\
	if (a == NULL ||
	    b < 0)
		return b;	/* never: the caller looked it up */
	go(a);
	if (b > 0)
		return 1;	/* never: but it was */
	assert(a != NULL &&
	    b == 0);
	if (c)
		broken(a, "it is not so");
	if (d) return 1;	/* never: one line */
	return 0;""".splitlines()


def main():
    groups = coverage.rooms()
    ok("fs/lease" in groups["fs"] and "fs/shell" not in groups["fs"], "the client's engine, not what stands around it")
    ok("server/commit" in groups["server"] and "server/daemon" not in groups["server"], "the server's")
    ok("server/log" in groups["store"] and "server/nuaged" not in groups["store"], "the store")
    ok("proto/frame" in groups["proto"], "all of proto/")
    ok(all(any((coverage.TOP / f"{room}.{kind}").exists() for kind in "ch") for rooms in groups.values() for room in rooms),
       "and each is there")
    file = {"lines": [line(1, 5, 5, 0), line(2, 5, 5, 0), line(3, 0), line(4, 5), line(5, 5, 1, 4), line(6, 1),
                      line(7, 4, 4, 0), line(8, 4, 4, 0), line(9, 4, 4, 0), line(10, 0), line(11, 4, 0, 4), line(12, 4)]}
    excused, stale = coverage.excuse(file, SOURCE)
    tally, missing = coverage.tally(file, SOURCE)
    ok(excused == 2, "two lines say that they are never reached, and are not")
    ok([n for n, _ in stale] == [6], "one says so and is")
    ok(tally == {"lines": 10, "lines_covered": 10, "branches": 6, "branches_covered": 6},
       "what is excused, asserted or an invariant is not counted")
    ok(not missing, "so nothing is missing")
    file["lines"].append(line(12, 0))
    file["lines"][3]["branches"] = [{"count": 1}, {"count": 0}]
    _, missing = coverage.tally(file, SOURCE)
    ok([(n, what) for n, what, _ in missing] == [(4, "1 of 2 branches not taken"), (12, "not executed")],
       "what is neither is told")
    print(f"1..{number}")


main()

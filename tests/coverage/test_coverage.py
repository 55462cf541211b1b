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
work(struct a *a)
{
	if (a == NULL ||
	    b < 0)
		return b;
	go(a);
	if (b > 0)
		return 1;
	assert(a != NULL &&
	    b == 0);
	if (c)
		broken(a, "it is not so");
	if (d || e) return 1;
	return 0;
}""".splitlines()

LIST = """\
# a comment

why:  the caller looked
      it up
at:   a.c work: b < 0)
at:   a.c work: if (b > 0)

why:  there is one
at:   2 a.c work: if (d || e) return 1;
open: 3 b.c
"""


def main():
    groups = coverage.rooms()
    ok("fs/lease" in groups["fs"] and "fs/shell" not in groups["fs"], "the client's engine, not what stands around it")
    ok("server/commit" in groups["server"] and "server/daemon" not in groups["server"], "the server's")
    ok("server/log" in groups["store"] and "server/nuaged" not in groups["store"], "the store")
    ok("proto/frame" in groups["proto"], "all of proto/")
    ok(all(any((coverage.TOP / f"{room}.{kind}").exists() for kind in "ch") for rooms in groups.values() for room in rooms),
       "and each is there")
    places, may = coverage.read_list(LIST)
    ok(may == {"b.c": 3} and [p[:2] for p in places] == [("the caller looked it up", 1)] * 2 + [("there is one", 2)],
       "a list with its reasons, and what is open")
    file = {"lines": [line(3, 5, 5, 1), line(4, 5, 5, 0), line(5, 0), line(6, 5), line(7, 5, 1, 4), line(8, 1),
                      line(9, 4, 4, 0), line(10, 4, 4, 0), line(11, 4, 4, 0), line(12, 0), line(13, 4, 0, 4, 0), line(14, 4)]}
    stale = coverage.excuse(file, SOURCE, places)
    tally, missing = coverage.tally(file, SOURCE)
    ok([p[4] for p in stale] == ["if (b > 0)"], "a place whose branches were taken is told")
    ok(tally == {"lines": 10, "lines_covered": 10, "branches": 7, "branches_covered": 7},
       "what is excused, asserted or an invariant is not counted")
    ok(not missing, "so nothing is missing")
    file["lines"].append(line(14, 0))
    file["lines"][3]["branches"] = [{"count": 1}, {"count": 0}]
    _, missing = coverage.tally(file, SOURCE)
    ok([(n, what) for n, what, _ in missing] == [(6, "1 of 2 branches not taken"), (14, "not executed")],
       "what is neither is told")
    one = [("why", 1, "a.c", "work", "if (d || e) return 1;"), ("why", 1, "a.c", "play", "go(a);")]
    file = {"lines": [line(13, 4, 0, 4, 0)]}
    stale = coverage.excuse(file, SOURCE, one)
    ok(stale == one[1:], "a place that is not there is told")
    ok(coverage.tally(file, SOURCE)[1] == [(13, "1 of 2 branches not taken", "if (d || e) return 1;")],
       "what is excused once is excused once")
    print(f"1..{number}")


main()

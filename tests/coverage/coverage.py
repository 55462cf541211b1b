#!/usr/bin/python3
"""coverage.py - what unit tests and simulator execute of the engines, and what not.

  coverage.py run      builds with counters beside the current build, runs all
                       unit tests and the simulator, then reports
  coverage.py report   reports again what was counted last

Run in a build directory (make coverage does).  Under ./coverage come to lie

  index.html           every line, with its counts
  summary.json         the table, for programs
  uncovered.txt        each line of an engine that was not executed, each branch
                       that was not taken
  stated.txt           what is stated to be impossible, and why
  build/               the build

The engines are the passive rooms: those which README's map names under fs/ and
server/ before the rooms "around" them, the store, and proto/.

Of the engines of fs/ and server/ every line must be executed and every branch
taken; if one is not, the run fails.  Left out is what only a broken invariant
reaches: an assert that fails, and where engine_check() and server_check() say so.
Another that cannot be reached is stated in impossible.txt, beside this, in stanzas:

    why:  the caller looked it up
    at:   fs/need.c want: if (o == NULL)
    at:   2 fs/need.c want_all: if (o == NULL || o->dead)

A place is a file, a function, and one whole line of it but for the white space
around it; before it stands how many of its branches are never taken, if not
one.  It excuses these, and the statement under the condition that was not
executed.  A line that was not executed is a place as well.  A place that is not
there, or where more was taken than it says, fails the run too.

A file that is not done yet says how many of its lines are left, at most:

    open: 12 fs/walk.c
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
HERE = Path("coverage")
BUILD = HERE / "build"
LIST = Path(__file__).resolve().parent / "impossible.txt"
COMPLETE = ("fs", "server")     # of which nothing may be left
INVARIANT = re.compile(r"\s*(broken\(|return fail_check\()")


def fail(text):
    sys.exit(f"coverage: {text}")


# ---- the rooms ----

def rooms():
    """Engine rooms by group, as README's map has them."""
    groups = {"fs": [], "server": [], "store": [], "proto": []}
    group = None
    for line in (TOP / "README").read_text().splitlines():
        if line.startswith("proto/ is pure bytes"):
            group = "proto"
        elif line.startswith("fs/ is the client."):
            group = "fs"
        elif line.startswith("server/ is nuaged."):
            group = "server"
        elif line.startswith("What is durable enters by one door"):
            group = "store"
        elif line.startswith(("Around", "Tests")) or line.startswith("man/ has the manual"):
            group = None
        m = re.match(r"    ((?:fs|server|proto)/\w+)\s", line)
        if group and m:
            groups[group].append(m[1])
    if not all(groups.values()):
        fail("README's map names no rooms of " + ", ".join(g for g in groups if not groups[g]))
    return groups


# ---- building and running ----

def build(cc):
    BUILD.mkdir(parents=True, exist_ok=True)
    if not (BUILD / "Makefile").exists():
        # Without optimization: else a branch that cannot fail where it is entered from another counts as one.
        subprocess.run([TOP / "configure", "-q", "--enable-coverage", "--without-ssh", "CFLAGS=-g -O0 -DXXH_NO_INLINE_HINTS", f"CC={cc}"],
                       cwd=BUILD, check=True)
    make = ["make", "-s", "-C", BUILD, f"-j{os.cpu_count()}"]
    subprocess.run([*make, "Makefile"], check=True)
    units = subprocess.run([*make, "print-unit-tests"], check=True, capture_output=True, text=True).stdout.split()
    subprocess.run([*make, "tests/sim/nuage-sim", *units], check=True)
    for counts in BUILD.rglob("*.gcda"):
        counts.unlink()
    return units


def run(units, seeds, apart, tight):
    """Names of what failed."""
    # The seeds of random tests are the same each time, so that the counts are.
    env = {"NUAGE_SEED": "1", **os.environ, "top_srcdir": str(TOP), "top_builddir": str(BUILD.resolve())}
    jobs = ["--jobs", str(os.cpu_count()), "--seeds"]
    commands = [[unit] for unit in units]
    commands += [["tests/unit/test_server_hostile", str(seed)] for seed in range(1, 5)]
    commands += [["tests/sim/nuage-sim", *jobs, seeds], ["tests/sim/nuage-sim", "--apart", *jobs, apart],
                 ["tests/sim/nuage-sim", "--tight", *jobs, tight]]
    failed = []
    for command in commands:
        done = subprocess.run([f"./{command[0]}", *command[1:]], cwd=BUILD, env=env, capture_output=True, text=True,
                              errors="replace", stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            failed.append(f"{' '.join(command)} (status {done.returncode})")
            print("\n".join((done.stdout + done.stderr).splitlines()[-20:]), file=sys.stderr)
    return failed


# ---- reading the counts ----

def counts(gcovr):
    """gcovr's own JSON, of all three directories."""
    to = HERE / "counts.json"
    only = [f"--filter={re.escape(str(TOP))}/{room}/" for room in ("proto", "fs", "server")]
    subprocess.run([gcovr, "-j", str(os.cpu_count()), "-r", TOP, "--object-directory", BUILD, "--exclude-unreachable-branches",
                    "--exclude-throw-branches", *only, "--json", to, BUILD], check=True)
    return json.loads(to.read_text())


def assert_lines(text):
    """The numbers of lines that belong to an assert."""
    found, depth = set(), 0
    for number, line in enumerate(text, 1):
        if depth == 0 and not re.match(r"\s*(static_)?assert\(", line):
            continue
        depth += line.count("(") - line.count(")")
        found.add(number)
    return found


def condition_above(number, text):
    """The numbers of the lines of the condition that leads to the statement in line `number`."""
    found = set()
    while number > 1 and not re.search(r"[;{}:]\s*(/\*.*\*/)?$", text[number - 2]):
        number -= 1
        found.add(number)
    return found


def read_list(text):
    """The places as (why, branches, file, function, line), and how many lines of a file may be left."""
    places, open_, why = [], {}, None
    for number, line in enumerate(text.splitlines(), 1):
        key, _, value = line.partition(":")
        place = re.fullmatch(r"(?:(\d+) )?(\S+\.[ch]) (\w+): (.*)", value.strip())
        left = re.fullmatch(r"(\d+) (\S+\.[ch])", value.strip())
        if line.startswith("#") or not line.strip():
            why = None
        elif key == "why" and value.strip():
            why = value.strip()
        elif line.startswith("      ") and why is not None and not place:
            why += " " + line.strip()
        elif key == "at" and place and why is not None:
            places.append((why, int(place[1] or 1), *place.group(2, 3, 4)))
        elif key == "open" and left:
            open_[left[2]] = int(left[1])
        else:
            fail(f"{LIST.name}:{number}: neither why: nor at: a place with a reason above it")
    return places, open_


def find(function, line, text):
    """The number of the line of that text in a function; 0 if it does not stand there once."""
    begin = [i for i, source in enumerate(text) if source.startswith(function + "(")]
    if len(begin) != 1:
        return 0
    end = text.index("}", begin[0])
    at = [i + 1 for i in range(begin[0], end) if text[i].strip() == line]
    return at[0] if len(at) == 1 else 0


def indentation(source):
    return len(source.expandtabs(8)) - len(source.expandtabs(8).lstrip())


def statement_under(number, by_number, text):
    """The lines not executed that the condition in line `number` leads to."""
    depth, found = indentation(text[number - 1]), []
    for n in range(number + 1, len(text) + 1):
        line = by_number.get(n)
        if text[n - 1].strip() not in ("", "{") and indentation(text[n - 1]) <= depth or line is not None and line["count"] > 0:
            break
        if line is not None:
            found.append(line)
    return found


def excuse(file, text, places):
    """Takes out what is stated to be impossible; the places that excuse nothing."""
    by_number = {line["line_number"]: line for line in file["lines"]}
    stale = []
    for number in assert_lines(text) & by_number.keys():
        by_number[number]["branches"] = []
    for number, source in enumerate(text, 1):
        line = by_number.get(number)
        if INVARIANT.match(source) and line is not None and line["count"] == 0:
            line["gcovr/noncode"] = True
            for n in condition_above(number, text) & by_number.keys():
                by_number[n]["branches"] = [b for b in by_number[n]["branches"] if b["count"] > 0]
    for place in places:
        _, count, _, function, source = place
        number = find(function, source, text)
        line = by_number.get(number)
        if line is None or not leave_out(line, count):
            stale.append(place)
            continue
        for under in statement_under(number, by_number, text):
            under["gcovr/noncode"] = True
    return stale


def leave_out(line, count):
    """Leaves out a line, or that many of its branches; whether there were as many."""
    if line is None or line.get("gcovr/noncode"):
        return False
    if line["count"] == 0:
        line["gcovr/noncode"] = True
        return True
    never = [b for b in line["branches"] if b["count"] == 0]
    line["branches"] = [b for b in line["branches"] if b["count"] > 0] + never[count:]
    return len(never) >= count


def tally(file, text):
    lines = [line for line in file["lines"] if not line.get("gcovr/noncode")]
    branches = [b for line in lines for b in line["branches"]]
    missing = []
    for line in lines:
        source = text[line["line_number"] - 1].strip()
        untaken = sum(b["count"] == 0 for b in line["branches"])
        if line["count"] == 0:
            missing.append((line["line_number"], "not executed", source))
        elif untaken:
            missing.append((line["line_number"], f"{untaken} of {len(line['branches'])} branches not taken", source))
    return {"lines": len(lines), "lines_covered": sum(line["count"] > 0 for line in lines),
            "branches": len(branches), "branches_covered": sum(b["count"] > 0 for b in branches)}, missing


# ---- the report ----

def percent(part, whole):
    return f"{100 * part / whole:5.1f}%" if whole else "     -"


def row(name, t):
    return (f"{name:24}{t['lines_covered']:7}/{t['lines']:<6}{percent(t['lines_covered'], t['lines'])}"
            f"{t['branches_covered']:8}/{t['branches']:<6}{percent(t['branches_covered'], t['branches'])}"
            f"{t['stated']:8}")


def add(sum_, t):
    for key, value in t.items():
        sum_[key] = sum_.get(key, 0) + value


def of_file(places, name):
    return [place for place in places if place[2] == name]


def told(places):
    """The places by their reasons."""
    lines, last = [], None
    for why, count, file, function, source in places:
        if why != last:
            lines += ["", why]
        lines.append(f"    {file} {function}: {source}" + (f"  ({count} branches)" if count > 1 else ""))
        last = why
    return "\n".join(lines[1:]) + "\n"


def measure(data, places):
    """What was executed of each file, what was not, and the places that excuse nothing."""
    tables, missing = {}, {}
    stale = [place for place in places if place[2] not in [file["file"] for file in data["files"]]]
    for file in data["files"]:
        name = file["file"]
        text = (TOP / name).read_text().splitlines()
        useless = excuse(file, text, of_file(places, name))
        stale += useless
        tables[name], missing[name] = tally(file, text)
        tables[name]["stated"] = len(of_file(places, name)) - len(useless)
    return tables, missing, stale


def report(gcovr, failed):
    data = counts(gcovr)
    places, may = read_list(LIST.read_text())
    tables, missing, stale = measure(data, places)
    (HERE / "counts.json").write_text(json.dumps(data))
    subprocess.run([gcovr, "-r", TOP, "--add-tracefile", HERE / "counts.json", "--html-details", HERE / "index.html"],
                   check=True)

    summary, uncovered, more = {"groups": {}, "rooms": {}, "failed": failed}, [], []
    print("Lines executed and branches taken by unit tests and simulator; without asserts that fail, without what\n"
          "reports a broken invariant, and without the places stated to be impossible.\n")
    print(f"{'room':24}{'lines':>11}{'':9}{'branches':>12}{'':9}{'stated':>8}")
    for group, names in rooms().items():
        total = {"lines": 0, "lines_covered": 0, "branches": 0, "branches_covered": 0, "stated": 0}
        for name in names:
            files = [f for f in (f"{name}.c", f"{name}.h") if f in tables]
            own = dict.fromkeys(total, 0)
            for f in files:
                add(own, tables[f])
                uncovered += [f"{f}:{n}: {what}: {source}" for n, what, source in missing[f]]
                if group in COMPLETE and len(missing[f]) > may.get(f, 0):
                    more.append((f, len(missing[f]), may.get(f, 0)))
            if own["lines"] == 0:
                continue        # a contract alone
            add(total, own)
            summary["rooms"][name] = own
            print(row(name, own))
        summary["groups"][group] = total
        print(row(f"  all of {group}", total))
    (HERE / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    (HERE / "uncovered.txt").write_text("".join(line + "\n" for line in uncovered))
    (HERE / "stated.txt").write_text(told(places))
    print(f"\nStated to be impossible, and why:\n\n{told(places)}")
    print(f"{sum(may.values())} lines of engines may still be left, of {len(may)} files.")
    print(f"{len(uncovered)} lines left: {HERE}/uncovered.txt, {HERE}/index.html")
    for _, count, name, function, source in stale:
        print(f"coverage: {name} {function}: {count} are stated to be never taken, yet they are not there or were: {source}",
              file=sys.stderr)
    for name, left, most in more:
        print(f"coverage: {name}: {left} lines are neither executed in full nor excused; {most} may be", file=sys.stderr)
    for name in failed:
        print(f"coverage: failed: {name}", file=sys.stderr)
    return bool(stale or failed or more)


def main():
    parser = argparse.ArgumentParser(description="coverage of the engines by unit tests and simulator")
    parser.add_argument("what", choices=["run", "report"])
    parser.add_argument("--seeds", default="1-3000", help="of the simulator (default %(default)s)")
    parser.add_argument("--apart", default="1-1000", help="of the simulator with --apart (default %(default)s)")
    parser.add_argument("--tight", default="1-1000", help="of the simulator with --tight (default %(default)s)")
    parser.add_argument("--cc", default="gcc")
    args = parser.parse_args()
    gcovr = shutil.which("gcovr")
    if gcovr is None:
        fail("this needs gcovr, of the Debian package of that name")
    failed = run(build(args.cc), args.seeds, args.apart, args.tight) if args.what == "run" else []
    return report(gcovr, failed)


if __name__ == "__main__":
    sys.exit(main())

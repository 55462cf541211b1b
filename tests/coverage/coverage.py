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
  build/               the build

The engines are the passive rooms: those which README's map names under fs/ and
server/ before the rooms "around" them, the store, and proto/.

Left out is what only a broken invariant reaches: an assert that fails, and
where engine_check() and server_check() say so.  Another line that cannot be
reached says why, behind the statement:

        if (r < 0)
                return r;       /* never: the caller looked it up */

This excuses the statement and the branches to it: those not taken in the line,
or, where the line was not executed at all, in the condition above it.  What
excuses nothing (because it was executed) is an error.
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
NEVER = re.compile(r"/\* never: \S.*\*/")
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
        subprocess.run([TOP / "configure", "-q", "--enable-coverage", "--without-ssh", "CFLAGS=-g -Og -DXXH_NO_INLINE_HINTS", f"CC={cc}"],
                       cwd=BUILD, check=True)
    make = ["make", "-s", "-C", BUILD, f"-j{os.cpu_count()}"]
    subprocess.run([*make, "Makefile"], check=True)
    units = subprocess.run([*make, "print-unit-tests"], check=True, capture_output=True, text=True).stdout.split()
    subprocess.run([*make, "tests/sim/nuage-sim", *units], check=True)
    for counts in BUILD.rglob("*.gcda"):
        counts.unlink()
    return units


def run(units, seeds, apart):
    """Names of what failed."""
    env = {**os.environ, "top_srcdir": str(TOP), "top_builddir": str(BUILD.resolve())}
    jobs = ["--jobs", str(os.cpu_count()), "--seeds"]
    commands = [[unit] for unit in units]
    commands += [["tests/sim/nuage-sim", *jobs, seeds], ["tests/sim/nuage-sim", "--apart", *jobs, apart]]
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
    found = []
    while number > 1 and not re.search(r"[;{}:]\s*(/\*.*\*/)?$", text[number - 2]):
        number -= 1
        found.append(number)
    return found


def excuse(file, text):
    """Takes out what is stated to be impossible; (how often, markers that excuse nothing)."""
    by_number = {line["line_number"]: line for line in file["lines"]}
    excused, stale = 0, []
    for number in assert_lines(text) & by_number.keys():
        by_number[number]["branches"] = []
    for number, source in enumerate(text, 1):
        marked = NEVER.search(source)
        if not marked and not INVARIANT.match(source):
            continue
        line = by_number.get(number)
        to_excuse = [number]
        if line is not None and line["count"] == 0:
            to_excuse += condition_above(number, text)
            line["gcovr/noncode"] = True
        elif marked and (line is None or all(b["count"] > 0 for b in line["branches"])):
            stale.append((number, source))
            continue
        for n in to_excuse:
            if n in by_number:
                by_number[n]["branches"] = [b for b in by_number[n]["branches"] if b["count"] > 0]
        excused += bool(marked)
    return excused, stale


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


def report(gcovr, failed):
    data = counts(gcovr)
    tables, missing, stale = {}, {}, []
    for file in data["files"]:
        text = (TOP / file["file"]).read_text().splitlines()
        excused, useless = excuse(file, text)
        stale += [(file["file"], *where) for where in useless]
        tables[file["file"]], missing[file["file"]] = tally(file, text)
        tables[file["file"]]["stated"] = excused
    (HERE / "counts.json").write_text(json.dumps(data))
    subprocess.run([gcovr, "-r", TOP, "--add-tracefile", HERE / "counts.json", "--html-details", HERE / "index.html"],
                   check=True)

    summary, uncovered = {"groups": {}, "rooms": {}, "failed": failed}, []
    print(f"{'room':24}{'lines':>11}{'':9}{'branches':>12}{'':9}{'stated':>8}")
    for group, names in rooms().items():
        total = {"lines": 0, "lines_covered": 0, "branches": 0, "branches_covered": 0, "stated": 0}
        for name in names:
            files = [f for f in (f"{name}.c", f"{name}.h") if f in tables]
            own = dict.fromkeys(total, 0)
            for f in files:
                add(own, tables[f])
                uncovered += [f"{f}:{n}: {what}: {source}" for n, what, source in missing[f]]
            if own["lines"] == 0:
                continue        # a contract alone
            add(total, own)
            summary["rooms"][name] = own
            print(row(name, own))
        summary["groups"][group] = total
        print(row(f"  all of {group}", total))
    (HERE / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    (HERE / "uncovered.txt").write_text("".join(line + "\n" for line in uncovered))
    print(f"\n{len(uncovered)} lines left: {HERE}/uncovered.txt, {HERE}/index.html")
    for name, number, source in stale:
        print(f"coverage: {name}:{number} says never, yet it was executed: {source.strip()}", file=sys.stderr)
    for name in failed:
        print(f"coverage: failed: {name}", file=sys.stderr)
    return bool(stale or failed)


def main():
    parser = argparse.ArgumentParser(description="coverage of the engines by unit tests and simulator")
    parser.add_argument("what", choices=["run", "report"])
    parser.add_argument("--seeds", default="1-3000", help="of the simulator (default %(default)s)")
    parser.add_argument("--apart", default="1-1000", help="of the simulator with --apart (default %(default)s)")
    parser.add_argument("--cc", default="gcc")
    args = parser.parse_args()
    gcovr = shutil.which("gcovr")
    if gcovr is None:
        fail("this needs gcovr, of the Debian package of that name")
    failed = run(build(args.cc), args.seeds, args.apart) if args.what == "run" else []
    return report(gcovr, failed)


if __name__ == "__main__":
    sys.exit(main())

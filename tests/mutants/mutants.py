#!/usr/bin/env python3
"""mutants.py - changes one line at a time and sees whether a test notices.

A list of mutants is text, a mutant a stanza, blank lines between:

    name: commit-base-unchecked
    rule: R5
    why:  a commit on an old version would overwrite another's
    file: server/commit.c
    in:   check_bases
    old:  if (base->version != object->version)
    new:  if (false)
    test: tests/unit/test_server_commit

`rule` is one of DESIGN's, R1 to R10, or what else it is about.  `old` is one
whole line of the file, but for the white space around it, and stands there
once; or once in the function `in`, if that is given.  `new` takes its place.
`test` is a command in the build directory; its first word is built first, if
make can.  There may be several.

All happens in a copy.  Each test must first pass there as it is; of one that
does not, the mutants stay untried.  A mutant is killed when a test fails, says
"not ok", or does not end; it survived when none does, and a survivor is what a
test is missing for.  One whose line has changed is stale, one that does not
compile is none; both fail the run as well.  Scripts, which are slow, come last.
With --all a mutant's other tests are run too when one has killed it, and those
that do not notice are named: their seeds may have come to mean something else.

Arguments choose mutants: patterns of names, rules or files ('R4', 'server/*').
With --resume the verdicts are kept in a file, and a run that was stopped goes
on; a change of the sources, or of the stanza, makes them void.  Several runs may
share it, each with its --shard.  At the end a table says what was killed by what,
and by which seed of the simulator, counted from the first tried; --table prints
it of the verdicts that there are and tries nothing.  --stale only looks for the
lines that have changed.
"""
import argparse
import fcntl
import fnmatch
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time


class Trouble(Exception):
    pass


class Mutant:
    FIELDS = {"name", "rule", "why", "file", "in", "old", "new", "test"}

    def __init__(self, fields, tests, stanza):
        missing = self.FIELDS - {"test", "in"} - fields.keys()
        if missing or not tests:
            raise Trouble(f"{fields.get('name', 'a mutant')} lacks {', '.join(sorted(missing)) or 'a test'}")
        self.name, self.rule, self.file, self.old, self.new = (fields[k] for k in ("name", "rule", "file", "old", "new"))
        self.function = fields.get("in")
        self.tests = tests
        self.stanza = stanza

    def chosen(self, patterns):
        return not patterns or any(fnmatch.fnmatchcase(word, p) for p in patterns for word in (self.name, self.rule, self.file))

    def span(self, lines):
        """The lines to look in: all of them, or those of a function."""
        if self.function is None:
            return 0, len(lines)
        begin = [i for i, line in enumerate(lines) if line.startswith(self.function + "(")]
        if len(begin) != 1:
            raise Trouble(f"stale: {self.function}() stands {len(begin)} times in {self.file}")
        return begin[0], lines.index("}", begin[0])

    def apply(self, text):
        """The file's text with the line changed, its indentation kept."""
        lines = text.split("\n")
        first, end = self.span(lines)
        at = [i for i in range(first, end) if lines[i].strip() == self.old]
        if len(at) != 1:
            raise Trouble(f"stale: its line stands {len(at)} times in {self.function or self.file}")
        indentation = re.match(r"\s*", lines[at[0]]).group()
        lines[at[0]] = indentation + self.new
        return "\n".join(lines)


def read_list(path):
    mutants, names = [], set()
    with open(path, encoding="utf-8") as f:
        text = re.sub(r"^#.*\n", "", f.read(), flags=re.M)
    for stanza in re.split(r"\n\s*\n", text.strip()):
        fields, tests = {}, []
        for line in stanza.splitlines():
            key, _, value = line.partition(":")
            if key not in Mutant.FIELDS:
                raise Trouble(f"{path}: not a field: {line}")
            if key == "test":
                tests.append(value.strip())
            else:
                fields[key] = value.strip()
        if not fields:
            continue
        mutant = Mutant(fields, tests, stanza)
        if mutant.name in names:
            raise Trouble(f"{path}: {mutant.name} stands twice")
        names.add(mutant.name)
        mutants.append(mutant)
    return mutants


def left_out(source):
    """What a copy of the sources does without."""
    def ignore(d, names):
        return [n for n in names if n == ".git" or n.startswith("autom4te") or n == "__pycache__" or
                (n.startswith("build") and n != "build-aux" and d == source)]
    return ignore


def digest(source):
    """Of all that a verdict rests on."""
    h = hashlib.sha256()
    ignore = left_out(source)
    for d, dirs, files in sorted(os.walk(source)):
        skipped = set(ignore(d, dirs + files))
        dirs[:] = sorted(n for n in dirs if n not in skipped)
        for name in sorted(files):
            if name in skipped or not name.endswith((".c", ".h", ".mk", ".am", ".ac", ".sh", ".py")):
                continue
            with open(os.path.join(d, name), "rb") as f:
                h.update(f"{os.path.relpath(os.path.join(d, name), source)}\n".encode() + hashlib.sha256(f.read()).digest())
    return h.hexdigest()


class Verdicts:
    """What is known already: lines of JSON, the first one of them the digest of the sources."""

    def __init__(self, path, sources):
        self.path, self.known = path, {}
        if path is None:
            return
        with open(path, "a+", encoding="utf-8") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            f.seek(0)
            try:
                lines = [json.loads(line) for line in f]
            except ValueError:
                lines = []
            if lines and lines[0] == sources:
                self.known = {v["stanza"]: v for v in lines[1:]}
            else:
                f.truncate(0)
                f.write(json.dumps(sources) + "\n")

    def find(self, mutant):
        return self.known.get(mutant.stanza)

    def add(self, verdict):
        self.known[verdict["stanza"]] = verdict
        # What was not tried may be the next time.
        if self.path is not None and verdict["verdict"] != "untried":
            with open(self.path, "a", encoding="utf-8") as f:
                f.write(json.dumps(verdict) + "\n")


class Copy:
    """A copy of the sources with a build of its own."""

    def __init__(self, source, where, configure, timeout):
        self.top, self.build = os.path.join(where, "source"), os.path.join(where, "source", "build")
        self.timeout, self.sound = timeout, {}
        shutil.copytree(source, self.top, symlinks=True, ignore=left_out(source))
        os.makedirs(self.build, exist_ok=True)
        if not os.path.exists(os.path.join(self.top, "configure")):
            self.must(["./bootstrap", "prepare"], self.top)
        self.must(["../configure", "-q", *configure], self.build)
        self.environment = {**os.environ, "top_srcdir": self.top, "top_builddir": self.build}

    def must(self, command, where):
        done = subprocess.run(command, cwd=where, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            raise Trouble(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}")

    def compile(self, tests):
        """What the tests need, or Trouble.  A script needs all that there is."""
        goals = set()
        for test in tests:
            word = test.split()[0]
            goals.add("all" if word.endswith((".sh", ".py")) or word in ("bash", "sh", "python3") else word)
        self.must(["make", "-s", f"-j{os.cpu_count()}", *sorted(goals)], self.build)

    def passes(self, test):
        """Whether it does; if not, how it failed, and after how many seeds."""
        word = test.split()[0]
        if word.endswith((".sh", ".py")):
            test = f"{'bash' if word.endswith('.sh') else 'python3'} '{self.top}/{word}'{test[len(word):]}"
        # A session of its own, so that what hangs is ended with all its children.
        p = subprocess.Popen(["sh", "-c", test], cwd=self.build, env=self.environment, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                             start_new_session=True)
        try:
            output, _ = p.communicate(timeout=self.timeout)
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGTERM)        # so that its traps clean up
            try:
                p.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(p.pid, signal.SIGKILL)
                p.stdout.close()                    # a child in a session of its own may still hold it
                p.wait()
            return False, "did not end", None
        seed = re.search(r"^# seed (\d+) failed: (.*)", output, re.M)
        first = re.search(r"--seeds (\d+)", test)
        if seed and first:
            return False, f"seed {seed.group(1)}: {seed.group(2)}", int(seed.group(1)) - int(first.group(1)) + 1
        failed = re.search(r"^not ok.*|^Bail out.*", output, re.M)
        if failed:
            return False, failed.group(), None
        if re.search(r"^1\.\.0 # SKIP", output, re.M):
            return True, "skipped", None
        return p.returncode == 0, f"status {p.returncode}", None

    def unsound(self, tests):
        """What is wrong with the tests before anything is changed; None when nothing is."""
        for test in tests:
            if test not in self.sound:
                self.compile([test])
                fine, how, _ = self.passes(test)
                self.sound[test] = None if fine and how != "skipped" else f"{test} does not pass unchanged: {how}"
            if self.sound[test] is not None:
                return self.sound[test]
        return None

    def run_tests(self, tests, every):
        """The verdict of tests on what is there now."""
        verdict = {"verdict": "survived", "by": [], "missed": [], "why": ", ".join(tests), "seeds": None}
        for test in tests:
            try:
                self.compile([test])
            except Trouble as e:
                return {**verdict, "verdict": "broken", "why": "does not compile: " + str(e).strip().splitlines()[-1]}
            fine, how, seeds = self.passes(test)
            if fine:
                verdict["missed"].append(test)
                continue
            if not verdict["by"]:
                verdict["why"] = f"{test}: {how}"
            verdict["verdict"] = "killed"
            verdict["by"].append(test)
            verdict["seeds"] = verdict["seeds"] or seeds
            if not every:
                break
        return verdict

    def try_mutant(self, mutant, every):
        """A verdict: "killed", "survived", "stale", "broken" or "untried", and why."""
        path = os.path.join(self.top, mutant.file)
        nothing = {"by": [], "missed": [], "seeds": None}
        try:
            with open(path, encoding="utf-8") as f:
                original = f.read()
            changed = mutant.apply(original)
        except OSError as e:
            return {"verdict": "stale", "why": f"{mutant.file}: {e.strerror}", **nothing}
        except Trouble as e:
            return {"verdict": "stale", "why": str(e), **nothing}
        trouble = self.unsound(mutant.tests)
        if trouble:
            return {"verdict": "untried", "why": trouble, **nothing}
        times = os.stat(path)
        try:
            with open(path, "w", encoding="utf-8") as f:
                f.write(changed)
            return self.run_tests(mutant.tests, every)
        finally:
            with open(path, "w", encoding="utf-8") as f:
                f.write(original)
            # Newer than the objects of the mutant, so that they are built again.
            os.utime(path, ns=(times.st_atime_ns, max(times.st_mtime_ns, os.stat(path).st_mtime_ns)))


def rule_key(rule):
    number = re.fullmatch(r"R(\d+)", rule)
    return (0, int(number.group(1)), "") if number else (1, 0, rule)


def short(test):
    return re.sub(r" --(first|seeds).*", "", test).rpartition("/")[2]


def print_table(rows):
    """Rule, mutation, and the tests that killed it; then how many of each rule."""
    rows = sorted(rows, key=lambda row: rule_key(row[0].rule))
    print(f"\n{'rule':8}{'mutation':36}{'verdict':10}{'seeds':>6}  killed by")
    for m, v in rows:
        print(f"{m.rule:8}{m.name:36}{v['verdict']:10}{v['seeds'] or '':>6}  {', '.join(map(short, v['by']))}".rstrip())
    print(f"\n{'rule':8}{'mutations':>10}{'killed':>8}  by the simulator, of seeds: least, median, most")
    for rule in dict.fromkeys(m.rule for m, _ in rows):
        mine = [v for m, v in rows if m.rule == rule]
        seeds = sorted(v["seeds"] for v in mine if v["seeds"])
        found = f"{len(seeds):>4}{seeds[0]:>8}{seeds[len(seeds) // 2]:>6}{seeds[-1]:>6}" if seeds else ""
        print(f"{rule:8}{len(mine):>10}{sum(v['verdict'] == 'killed' for v in mine):>8}{found}".rstrip())


def summary(rows):
    """Prints it; whether all were killed."""
    tally = {}
    for _, v in rows:
        tally[v["verdict"]] = tally.get(v["verdict"], 0) + 1
    print_table(rows)
    print("\n" + (", ".join(f"{n} {verdict}" for verdict, n in sorted(tally.items())) or "no mutants"))
    return tally.keys() <= {"killed"}


def try_all(mutants, verdicts, options):
    left = [m for m in mutants if verdicts.find(m) is None]
    # Scripts are slow, and need all that there is to be built.
    left.sort(key=lambda m: any(t.split()[0].endswith((".sh", ".py")) for t in m.tests))
    if not left:
        return
    with tempfile.TemporaryDirectory(prefix="mutants.") as where:
        copy = Copy(options.source, where, options.configure or ["CFLAGS=-O1"], options.timeout)
        for m in left:
            begun = time.monotonic()
            v = copy.try_mutant(m, options.all)
            verdicts.add({"stanza": m.stanza, **v, "seconds": round(time.monotonic() - begun, 1)})
            missed = f"; not noticed by {', '.join(v['missed'])}" if v["by"] and v["missed"] else ""
            print(f"{v['verdict']:8}  {m.name}  ({v['why']}{missed})", flush=True)


def print_stale(mutants, source):
    """Whether there is none."""
    fine = True
    for m in mutants:
        try:
            with open(os.path.join(source, m.file), encoding="utf-8") as f:
                m.apply(f.read())
        except (Trouble, OSError) as e:
            print(f"{m.name}: {e}")
            fine = False
    return fine


def run(options):
    mutants = [m for m in read_list(options.list) if m.chosen(options.patterns)]
    if options.stale:
        return 0 if print_stale(mutants, options.source) else 1
    mutants = mutants[options.shard[0]::options.shard[1]]
    verdicts = Verdicts(options.resume, digest(options.source) if options.resume else None)
    if not options.table:
        try_all(mutants, verdicts, options)
    none = {"verdict": "not run", "by": [], "seeds": None}
    return 0 if summary([(m, verdicts.find(m) or none) for m in mutants]) else 1


def shard(text):
    number, _, count = text.partition("/")
    if not 1 <= int(number) <= int(count):
        raise ValueError
    return int(number) - 1, int(count)


def main():
    here = os.path.dirname(os.path.realpath(__file__))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", help="only these mutants")
    parser.add_argument("--source", type=os.path.realpath, default=os.path.join(here, "../.."))
    parser.add_argument("--list", default=os.path.join(here, "mutants.txt"))
    parser.add_argument("--resume", help="a file that keeps the verdicts")
    parser.add_argument("--shard", type=shard, default=(0, 1), metavar="I/N", help="the I-th of N parts of them")
    parser.add_argument("--all", action="store_true", help="all tests of each mutant, not only until it is killed")
    parser.add_argument("--table", action="store_true", help="only print what is known by now")
    parser.add_argument("--stale", action="store_true", help="only look for lines that have changed")
    parser.add_argument("--timeout", type=float, default=120, help="seconds for one test (120)")
    parser.add_argument("--configure", action="append", default=[], help="an argument for configure")
    options = parser.parse_args()
    options.source = os.path.realpath(options.source)
    try:
        return run(options)
    except (Trouble, OSError) as e:
        print(f"mutants: {e}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

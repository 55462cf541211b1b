#!/usr/bin/env python3
"""mutants.py - changes one line at a time and sees whether a test notices.

A list of mutants is text, a mutant a stanza, blank lines between:

    name: commit-base-unchecked
    why:  a commit on an old version would overwrite another's
    file: server/commit.c
    old:  if (base->version != object->version)
    new:  if (false)
    test: tests/unit/test_server_commit

`old` is one whole line of the file, but for the white space around it, and
stands there once; `new` takes its place.  `test` is a command in the build
directory; its first word is built first, if make can.  There may be several.

All happens in a copy.  First the tests must pass there as it is.  A mutant is
killed when a test fails, says "not ok", or does not end; it survived when none
does, and a survivor is what a test is missing for.  One whose line has changed
is stale, one that does not compile is none; both fail the run as well.
"""
import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile


class Trouble(Exception):
    pass


class Mutant:
    FIELDS = {"name", "why", "file", "old", "new", "test"}

    def __init__(self, fields, tests):
        missing = self.FIELDS - {"test"} - fields.keys()
        if missing or not tests:
            raise Trouble(f"{fields.get('name', 'a mutant')} lacks {', '.join(sorted(missing)) or 'a test'}")
        self.name, self.file, self.old, self.new = (fields[k] for k in ("name", "file", "old", "new"))
        self.tests = tests

    def apply(self, text):
        """The file's text with the line changed, its indentation kept."""
        lines = text.split("\n")
        at = [i for i, line in enumerate(lines) if line.strip() == self.old]
        if len(at) != 1:
            raise Trouble(f"stale: its line stands {len(at)} times in {self.file}")
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
        mutant = Mutant(fields, tests)
        if mutant.name in names:
            raise Trouble(f"{path}: {mutant.name} stands twice")
        names.add(mutant.name)
        mutants.append(mutant)
    return mutants


class Copy:
    """A copy of the sources with a build of its own."""

    def __init__(self, source, where, configure, timeout):
        self.top, self.build = os.path.join(where, "source"), os.path.join(where, "source", "build")
        self.timeout = timeout
        shutil.copytree(source, self.top, symlinks=True,
                        ignore=lambda d, names: [n for n in names if n == ".git" or n.startswith("build") and
                                                 n != "build-aux" and d == source or n.startswith("autom4te")])
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
        """Whether it does, and if not, how it failed."""
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
                p.communicate()
            return False, "did not end"
        failed = re.search(r"^not ok.*|^Bail out.*", output, re.M)
        if failed:
            return False, failed.group()
        if re.search(r"^1\.\.0 # SKIP", output, re.M):
            return True, "skipped"
        return p.returncode == 0, f"status {p.returncode}"

    def try_mutant(self, mutant):
        """"killed", "survived" or "stale" and so on, and the reason."""
        path = os.path.join(self.top, mutant.file)
        try:
            with open(path, encoding="utf-8") as f:
                original = f.read()
            changed = mutant.apply(original)
        except OSError as e:
            return "stale", f"{mutant.file}: {e.strerror}"
        except Trouble as e:
            return "stale", str(e)
        times = os.stat(path)
        try:
            with open(path, "w", encoding="utf-8") as f:
                f.write(changed)
            try:
                self.compile(mutant.tests)
            except Trouble as e:
                return "broken", "does not compile: " + str(e).strip().splitlines()[-1]
            for test in mutant.tests:
                fine, how = self.passes(test)
                if not fine:
                    return "killed", f"{test}: {how}"
            return "survived", ", ".join(mutant.tests)
        finally:
            with open(path, "w", encoding="utf-8") as f:
                f.write(original)
            # Newer than the objects of the mutant, so that they are built again.
            os.utime(path, ns=(times.st_atime_ns, max(times.st_mtime_ns, os.stat(path).st_mtime_ns)))


def main():
    here = os.path.dirname(os.path.realpath(__file__))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="only these mutants")
    parser.add_argument("--source", default=os.path.realpath(os.path.join(here, "../..")))
    parser.add_argument("--list", default=os.path.join(here, "mutants.txt"))
    parser.add_argument("--timeout", type=float, default=120, help="seconds for one test (120)")
    parser.add_argument("--configure", action="append", default=[], help="an argument for configure")
    options = parser.parse_args()
    tally = {}
    try:
        mutants = [m for m in read_list(options.list) if not options.names or m.name in options.names]
        with tempfile.TemporaryDirectory(prefix="mutants.") as where:
            copy = Copy(os.path.realpath(options.source), where, options.configure or ["CFLAGS=-O1"], options.timeout)
            tests = sorted({t for m in mutants for t in m.tests})
            copy.compile(tests)
            for test in tests:
                fine, how = copy.passes(test)
                if not fine or how == "skipped":
                    raise Trouble(f"{test} does not pass unchanged: {how}")
            for mutant in mutants:
                verdict, why = copy.try_mutant(mutant)
                tally[verdict] = tally.get(verdict, 0) + 1
                print(f"{verdict:8}  {mutant.name}  ({why})", flush=True)
    except (Trouble, OSError) as e:
        print(f"mutants: {e}", file=sys.stderr)
        return 2
    print(", ".join(f"{n} {verdict}" for verdict, n in sorted(tally.items())) or "no mutants")
    return 0 if tally.keys() <= {"killed"} else 1


if __name__ == "__main__":
    sys.exit(main())

"""work.py - what the benchmarks work on, how they time it, and how they show it."""
import os
import shutil
import statistics
import time

import systems

SOURCE = os.path.realpath(os.path.join(os.path.dirname(__file__), "../.."))


class Material:
    """What the workloads work on, made once; random bytes afresh for each use."""

    def __init__(self, memory, options):
        self.memory, self.options = memory, options
        self.tar = os.path.join(memory, "tree.tar")
        self.random = os.path.join(memory, "random")

    def make_tree(self):
        if os.path.exists(self.tar):
            return
        tree = os.path.join(self.memory, "made", "tree")
        # sshfs cannot set a symbolic link's owner or times, and tar fails on it.
        systems.run("python3", f"{SOURCE}/tests/tools/mktree.py", "--no-links", tree, str(self.options.tree))
        git = ["git", "-C", tree, "-c", "user.name=b", "-c", "user.email=b@b"]
        systems.run(*git, "init", "-q")
        systems.run(*git, "add", "-A")
        systems.run(*git, "commit", "-qm", "tree")
        systems.run("tar", "-cf", self.tar, "-C", os.path.dirname(tree), "tree")
        shutil.rmtree(os.path.dirname(tree))

    def make_random(self, compressible):
        """Half of each 8 KiB repeats when compressible, so that it shrinks to about a half."""
        with open(self.random, "wb") as f:
            for _ in range(self.options.size):
                data = os.urandom(1 << 20)
                if compressible:
                    data = b"".join(data[at:at + 4096] + data[at:at + 16] * 256 for at in range(0, 1 << 20, 8192))
                f.write(data)


class Work:
    def __init__(self, options, build):
        self.options, self.benchop = options, os.path.join(build, "tests/bench/benchop")

    def loop(self, *args):
        return float(systems.run(self.benchop, *map(str, args)))

    def timed(self, *command, **options):
        start = time.monotonic()
        systems.run(*command, **options)
        return time.monotonic() - start


def number(v):
    return f"{v:,.0f}" if v >= 100 else f"{v:.1f}" if v >= 10 else f"{v:.2f}"


def cell(values):
    if not values:
        return "absent"
    spread = f" ({number(min(values))}-{number(max(values))})" if len(values) > 1 else ""
    return number(statistics.median(values)) + spread


def ratio(a, b, more):
    """How many times faster a is than b."""
    if not a or not b:
        return "-"
    r = statistics.median(a) / statistics.median(b)
    return f"{r if more else 1 / r:.2f}"


def lay_out(lines, left):
    """Text in columns, the first `left` of them flush left."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(text.ljust(w) if i < left else text.rjust(w) for i, (text, w) in enumerate(zip(line, widths)))
                     for line in lines)

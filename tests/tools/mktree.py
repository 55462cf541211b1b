#!/usr/bin/env python3
"""mktree.py [--no-links] DIR [FILES] - a tree like a program's sources, out of text the system has.

About nine files a directory, sizes as they come up to 200 KB, some executable,
a few symbolic links.  The same machine always gives the same tree.
"""
import os
import shutil
import sys

ROOTS = ["/usr/include", "/usr/share/perl", "/usr/share/perl5", "/usr/lib/python3",
         "/usr/lib/python3.11", "/usr/share/doc", "/usr/share/aclocal", "/usr/share/automake-1.16"]
LARGEST = 200_000


def sources():
    for root in ROOTS:
        for where, dirs, files in os.walk(root):
            dirs.sort()
            for name in sorted(files):
                path = os.path.join(where, name)
                if os.path.isfile(path) and not os.path.islink(path) and not name.endswith((".pyc", ".gz")):
                    if 0 < os.path.getsize(path) <= LARGEST:
                        yield path


def main():
    links = "--no-links" not in sys.argv
    args = [a for a in sys.argv[1:] if not a.startswith("--")]
    top, count = args[0], int(args[1]) if len(args) > 1 else 3347
    found = list(sources())
    if not found:
        sys.exit("mktree.py: no text to build a tree of")
    for i in range(count):
        source = found[i * len(found) // count % len(found)]
        part, module = i // 90, i // 9
        where = os.path.join(top, f"part{part:02d}", f"module{module:03d}")
        os.makedirs(where, exist_ok=True)
        to = os.path.join(where, f"{i % 9}-{os.path.basename(source)}"[:200])
        shutil.copyfile(source, to)
        os.chmod(to, 0o755 if i % 50 == 0 else 0o644)
        if links and i % 300 == 0:
            os.symlink(os.path.basename(to), os.path.join(where, "link"))


main()

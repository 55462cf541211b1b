#!/usr/bin/env python3
"""journal.py DIR... - prints the entries of a client's journal, one a line.

For what runner.py keeps of the journals that were run before a violation; DIR
is any directory above the segments.  fs/journal.c and fs/journal_file.c have
the formats.  Checksums are not looked at: what is behind the last entry shows
as numbers that do not follow.
"""
import os
import struct
import sys

KINDS = ("-", "OP", "FREEZE", "ACK", "TRIM", "CLEAN", "AWAY", "LOSS", "CONFLICT", "RESUMED", "REDONE", "SESSION",
         "FOREIGN")
TYPES = ("lookup getattr setattr readlink mknod mkdir symlink create link unlink rmdir rename open read write flush fsync "
         "release opendir readdir fsyncdir releasedir statfs getxattr setxattr listxattr removexattr fallocate lseek sync "
         "meta").split()
SEGMENT_HEAD, ENTRY_HEAD = 64, 24
BODY = struct.Struct(">BBHHHI5I11QqI3I2Q" + "qI" * 3)
FIELDS = ("uid gid flags set nlink ino ino2 child victim version victim_version offset size parent sequence upto when "
          "when_ns mode a_uid a_gid rdev a_size").split()


def entries(path):
    with open(path, "rb") as f:
        data = f.read()
    if data[:8] != b"nuagejnl":
        return
    session, first = struct.unpack_from(">QQ", data, 32)
    yield first, f"segment {path} of session {session:016x}"
    at = SEGMENT_HEAD
    while at + ENTRY_HEAD <= len(data):
        length, _, number, _ = struct.unpack_from(">IIQQ", data, at)
        if length < BODY.size or number != first:
            return
        yield number, describe(data[at + ENTRY_HEAD:at + ENTRY_HEAD + length])
        at += (ENTRY_HEAD + length + 7) // 8 * 8
        first += 1


def describe(body):
    kind, kind_of_op, name, name2, hint, length, *rest = BODY.unpack_from(body)
    fields = dict(zip(FIELDS, rest))
    at = BODY.size
    texts = []
    for size in (name, name2, hint):
        texts.append(body[at:at + size].decode(errors="replace"))
        at += size
    shown = {k: v for k, v in fields.items() if v and k not in ("uid", "gid", "a_uid", "a_gid", "when_ns")}
    words = [KINDS[kind] if kind < len(KINDS) else str(kind)]
    if kind == 1:
        words.append(TYPES[kind_of_op] if kind_of_op < len(TYPES) else str(kind_of_op))
    words += [f"{k}={oct(v) if k == 'mode' else v}" for k, v in shown.items()]
    words += [f"{k}={v!r}" for k, v in zip(("name", "name2", "hint"), texts) if v]
    if length:
        words.append(f"data={length}:{body[at:at + 8].hex()}")
    return " ".join(words)


def main():
    found = []
    for top in sys.argv[1:]:
        for directory, _, names in os.walk(top):
            if os.path.basename(directory) == "journal":
                for name in names:
                    found += entries(f"{directory}/{name}")
    for number, text in sorted(found):
        print(number, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""test_judge.py - the judge and the model accept what is right and refuse what is not (TAP)."""
import errno
import os
import resource
import tempfile

from judge import Case
from model import Model, compare, partly
from shared import name_of, record_of, records_in, size_of, value_of
from watch import grown
from worker import write_all

HISTORIES = []


def history(text, due, events, floats=(), unmounts=(), places=None, copies=(), files=(), on_old=()):
    """due: the first words of the violations, in order."""
    HISTORIES.append((text, due, events, floats, unmounts, places or {}, copies, files, on_old))


def w(key, client, began, ended, value, kind="w"):
    return "\t".join((kind, key, str(client), str(began), str(ended), value))


def r(key, client, began, ended, value, kind="r"):
    return w(key, client, began, ended, value, kind)


INCOHERENT, SYNCED, ACKED = "INCOHERENT READ", "FSYNCED BYTES LOST", "ACKNOWLEDGED BYTES LOST"
history("a read after a write", [], [w("c0", 0, 1, 2, "a"), r("c0", 1, 3, 4, "a")])
history("a read that misses a write", [INCOHERENT], [w("c0", 0, 1, 2, "a"), r("c0", 1, 3, 4, "0.0")])
history("a read during a write", [], [w("c0", 0, 1, 5, "a"), r("c0", 1, 3, 4, "0.0"), r("c0", 1, 3, 4, "a")])
history("a value that was written over", [INCOHERENT],
        [w("c0", 0, 1, 2, "a"), w("c0", 1, 3, 4, "b"), r("c0", 0, 5, 6, "a")])
history("two writes at once", [], [w("c0", 0, 1, 4, "a"), w("c0", 1, 2, 3, "b"), r("c0", 0, 5, 6, "a"), r("c0", 0, 5, 6, "b")])
history("a value of nobody", [INCOHERENT], [r("c0", 0, 1, 2, "x")])
history("a value before it was written", [INCOHERENT], [r("c0", 0, 1, 2, "a"), w("c0", 0, 3, 4, "a")])
history("a stat of another size", [INCOHERENT], [w("n0", 0, 1, 2, "a"), r("n0", 1, 3, 4, str(size_of("b")), "z")])
history("a stat of the right size", [], [w("n0", 0, 1, 2, "a"), r("n0", 1, 3, 4, str(size_of("a")), "z")])
history("a listing that lacks a name", [INCOHERENT], [w("n0", 0, 1, 2, "a"), r("n0", 1, 3, 4, "0", "p")])
history("a listing during a replacement", [],
        [w("n0", 0, 1, 2, "a"), w("n0", 0, 3, 6, "b"), r("n0", 1, 4, 5, "0", "p"), r("n0", 1, 4, 5, "1", "p")])
history("a listing of what was removed", [INCOHERENT],
        [w("n0", 0, 1, 2, "a"), w("n0", 0, 3, 4, "-"), r("n0", 1, 5, 6, "1", "p")])

# Client 0 is killed at 10, its journal is run by 20.
FLOAT = [(0, 10.0, 20.0)]
history("a write out of sight until the journal is run", [],
        [w("c0", 0, 1, 2, "a"), r("c0", 1, 12, 13, "0.0"), r("c0", 1, 21, 22, "a")], FLOAT)
history("a write that ends after its journal was run", [],
        [w("c0", 0, 9, 30, "a"), r("c0", 1, 21, 22, "0.0"), r("c0", 1, 31, 32, "a")], FLOAT)
history("and that is not there then", [INCOHERENT], [w("c0", 0, 9, 30, "a"), r("c0", 1, 31, 32, "0.0")], FLOAT)
history("a copy of what nobody else changed", ["SPURIOUS CONFLICT"],
        [w("c0", 1, 0.1, 0.2, "b"), w("c0", 0, 1, 2, "a"), r("c0", 1, 21, 22, "a")], FLOAT, files=[("/c0 (conflict x)", "c0", {"a"})])
history("a copy of what somebody else did change", [],
        [w("c0", 0, 1, 2, "a"), w("c0", 1, 15, 16, "b"), r("c0", 1, 21, 22, "b")], FLOAT,
        files=[("/c0 (conflict x)", "c0", {"a"})])
history("a copy beside what who works on found", [],
        [w("c0", 0, 1, 2, "a"), w("c0", 0, 12, 13, "b"), r("c0", 1, 21, 22, "b")], FLOAT,
        copies={"a"}, files=[("/c0 (conflict x)", "c0", {"a"})], on_old={0})
history("beside what it would have written over", [],
        [w("c0", 0, 1, 2, "a"), r("c0", 1, 21, 22, "0.0")], FLOAT, copies={"a"}, on_old={0})
history("neither beside nor there", [INCOHERENT], [w("c0", 0, 1, 2, "a"), r("c0", 1, 21, 22, "0.0")], FLOAT, on_old={0})
history("a write that was not seen before the kill", [INCOHERENT], [w("c0", 0, 1, 2, "a"), r("c0", 1, 5, 6, "0.0")], FLOAT)
history("a write lost with its client", [INCOHERENT], [w("c0", 0, 1, 2, "a"), r("c0", 1, 21, 22, "0.0")], FLOAT)
history("a write in conflict", [],
        [w("c0", 0, 1, 2, "a"), w("c0", 1, 15, 16, "b"), r("c0", 0, 21, 22, "b")], FLOAT)
history("a journal that writes over another's change", [INCOHERENT],
        [w("c0", 0, 1, 2, "a"), w("c0", 1, 15, 16, "b"), r("c0", 0, 21, 22, "a")], FLOAT)
REMOVED = [w("n0", 0, 1, 2, "a"), w("n0", 1, 11, 12, "b"), w("n0", 1, 15, 16, "-")]
history("a journal that takes a name that is free again", [],
        REMOVED + [r("n0", 1, 17, 18, "a"), r("n0", 1, 21, 22, "a"), r("n0", 1, 21, 22, "-")], FLOAT)
history("a journal that takes a name whose removal is in another one", [],
        REMOVED + ["s\tn0\t1\t13\t14", r("n0", 1, 26, 27, "a"), r("n0", 1, 26, 27, "-")], FLOAT + [(1, 17.0, 25.0)])
history("a journal that takes a name which nobody removed", [SYNCED],
        REMOVED[:2] + ["s\tn0\t1\t13\t14", r("n0", 1, 26, 27, "a")], FLOAT + [(1, 17.0, 25.0)])
history("a removal undone without a journal", [INCOHERENT], REMOVED + [r("n0", 1, 17, 18, "b")], FLOAT)
history("a removal after the journal, undone", [INCOHERENT],
        [w("n0", 0, 1, 2, "a"), w("n0", 1, 25, 26, "-"), r("n0", 1, 27, 28, "a")], FLOAT)
history("an older write of the journal takes it", [INCOHERENT],
        [w("n0", 0, 0.1, 0.2, "c")] + REMOVED + [r("n0", 1, 17, 18, "c"), r("n0", 1, 21, 22, "c")], FLOAT)
history("a journal that takes a name that others made again", [INCOHERENT],
        REMOVED + [w("n0", 1, 17, 18, "d"), r("n0", 1, 21, 22, "a")], FLOAT)
history("a new name before its content", [], [w("n0", 0, 1, 2, "a"), r("n0", 1, 12, 13, "?0:")], FLOAT)
history("an empty file over another", [INCOHERENT],
        [w("n0", 1, 0.1, 0.2, "b"), w("n0", 0, 1, 2, "a"), r("n0", 1, 12, 13, "?0:")], FLOAT)
history("an empty file where one was removed meanwhile", [],
        [w("n0", 1, 1, 2, "b"), r("n0", 0, 3, 4, "b"), w("n0", 0, 5, 9, "a"), w("n0", 0, 6, 7, "-"), r("n0", 1, 12, 13, "?0:")], FLOAT)
history("an empty file where one was removed later", [INCOHERENT],
        [w("n0", 1, 1, 2, "b"), r("n0", 0, 3, 4, "b"), w("n0", 0, 5, 6, "a"), w("n0", 0, 7, 8, "-"), r("n0", 1, 12, 13, "?0:")], FLOAT)
history("an empty file that stays", [INCOHERENT], [w("n0", 0, 1, 2, "a"), r("n0", 1, 21, 22, "?0:")], FLOAT)
history("a synced write out of sight", [SYNCED],
        [w("c0", 0, 1, 2, "a"), "s\tc0\t0\t3\t4\t", r("c0", 1, 12, 13, "0.0")], FLOAT)
history("a synced write dropped for a conflict", [INCOHERENT],
        [w("c0", 0, 1, 2, "a"), "s\tc0\t0\t3\t4\t", w("c0", 1, 15, 16, "b"), r("c0", 1, 21, 22, "0.0")], FLOAT)
history("a write that another saw goes out of sight", [INCOHERENT],
        [w("c0", 0, 1, 2, "a"), r("c0", 1, 3, 4, "a"), r("c0", 1, 12, 13, "0.0")], FLOAT)
history("a write before an unmount goes out of sight", [INCOHERENT],
        [w("c0", 0, 1, 2, "a"), r("c0", 1, 12, 13, "0.0")], FLOAT, [(0, 5.0)])
history("a call that was broken off", [],
        [w("c0", 0, 9, 11, "a", "m"), r("c0", 1, 21, 22, "0.0"), r("c0", 1, 21, 22, "a")], FLOAT)
AGAIN = FLOAT + [(0, 30.0, 40.0)]
history("what a journal brought goes out of sight with the next kill", [],
        [w("c0", 0, 1, 2, "a"), r("c0", 1, 32, 33, "0.0"), r("c0", 1, 41, 42, "a")], AGAIN)
history("and what was written as the first one's end was noted", [],
        [w("c0", 0, 19, 19.5, "a"), r("c0", 1, 32, 33, "0.0"), r("c0", 1, 41, 42, "a")], AGAIN)
history("but not between the two", [INCOHERENT], [w("c0", 0, 19, 19.5, "a"), r("c0", 1, 25, 26, "0.0")], AGAIN)
history("nor after them", [INCOHERENT], [w("c0", 0, 19, 19.5, "a"), r("c0", 1, 41, 42, "0.0")], AGAIN)
history("nor once it was synced", [SYNCED],
        [w("c0", 0, 19, 19.5, "a"), "s\tc0\t0\t21\t22\t", r("c0", 1, 32, 33, "0.0")], AGAIN)
history("what the living did does not float", [INCOHERENT], [w("c0", 1, 1, 2, "a"), r("c0", 0, 21, 22, "0.0")], FLOAT)

history("a log with all its records", [], [w("l0", 0, 1, 2, "a", "a"), w("l0", 1, 3, 4, "b", "a"), r("l0", 1, 5, 6, "a b", "l")])
history("a log that lacks a record", [INCOHERENT], [w("l0", 0, 1, 2, "a", "a"), r("l0", 1, 5, 6, "", "l")])
history("a record twice", ["TWICE"], [w("l0", 0, 1, 2, "a", "a"), r("l0", 1, 5, 6, "a a", "l")])
history("a torn record", ["DAMAGED"], [w("l0", 0, 1, 2, "a", "a"), r("l0", 1, 5, 6, "a ?00", "l")])
history("a record of nobody", ["OUT OF NOTHING"], [r("l0", 1, 5, 6, "a", "l")])
history("a record lost with its client", [ACKED],
        [w("l0", 0, 1, 2, "a", "a"), r("l0", 1, 12, 13, "", "l"), r("l0", 1, 21, 22, "", "l")], FLOAT)
IN_CONFLICT = [w("l0", 0, 1, 2, "a", "a"), w("l0", 1, 15, 16, "b", "a"), r("l0", 1, 21, 22, "b", "l")]
history("a record in a conflict copy", [], IN_CONFLICT, FLOAT, copies={"a"})
history("a record in no copy", [ACKED], IN_CONFLICT, FLOAT)
history("a synced record that is gone", [SYNCED], IN_CONFLICT + ["s\tl0\t0\t3\t4\t"], FLOAT, copies={"a"})

MADE = w("token", 0, 1, 2, "t")
history("a token in a place", [], [MADE], places={"t": ["/x"]})
history("a token in a conflict copy", [], [MADE], copies={"t"})
history("a token that was removed", [], [MADE, "d\tt\t1\t3\t4"])
history("a token that is nowhere", [ACKED], [MADE])
history("a synced token that is nowhere", [SYNCED], [MADE, "k\tt"])
history("a token in two places", ["TWICE"], [MADE], places={"t": ["/x", "/y"]})


def judged(events, floats, unmounts, places, copies, files, on_old):
    case = Case()
    case.on_old = on_old
    for n in range(2):
        case.begin_with(f"c{n}", "0.0")
        case.begin_with(f"n{n}", "-")
    case.read_events(events)
    for client, k, m in floats:
        case.floats[client].append((k, m))
    for client, when in unmounts:
        case.unmounts[client].append(when)
    return case.judge(places, copies, size_of, files)


def model_cases():
    m = Model()
    for op in (("mkdir", "/d"), ("create", "/d/f"), ("write", "/d/f", 2, b"ab"), ("link", "/d/f", "/g"),
               ("setxattr", "/g", "user.x", b"1"), ("rename", "/d", "/e")):
        m, error = m.apply(op)
        yield f"{op[0]} succeeds", error == 0
    yield "what was done is there", m.node("/e/f") == ("f", b"\0\0ab", (("user.x", b"1"),)) and m.links(m.names["/g"]) == 2
    for op, due in ((("mkdir", "/e"), errno.EEXIST), (("rmdir", "/e"), errno.ENOTEMPTY), (("unlink", "/e"), errno.EISDIR),
                    (("rename", "/e", "/e/x"), errno.EINVAL), (("rename", "/g", "/e"), errno.EISDIR),
                    (("rename", "/e", "/g"), errno.ENOTDIR), (("removexattr", "/g", "user.y"), errno.ENODATA)):
        after, error = m.apply(op)
        yield f"{' '.join(op)} is {errno.errorcode[due]}", error == due and after is m
    found = {"": (1, 0, ("d",)), "/e": (2, 0, ("d",)), "/e/f": (3, 2, m.node("/g")), "/g": (3, 2, m.node("/g"))}
    yield "the same tree is the same", compare(m, found) == []
    for what, change in (("a missing name", {"/g": None}), ("a new one", {"/h": (4, 0, ("d",))}),
                         ("other content", {"/g": (3, 2, ("f", b"\0\0aB", m.node("/g")[2]))}),
                         ("another count of links", {"/g": (3, 3, m.node("/g"))}),
                         ("no attribute", {"/g": (3, 2, ("f", b"\0\0ab", ()))}), ("another file", {"/g": (5, 2, m.node("/g"))})):
        other = {p: v for p, v in (found | change).items() if v is not None}
        yield f"{what} differs", len(compare(m, other)) == 1
    yield "half a write", partly(b"aaaa", b"aabbcc", b"aabba"[:4]) and partly(b"aaaa", b"aabbcc", b"aaaac")
    yield "what is neither", not partly(b"aaaa", b"aabbcc", b"aaxa") and not partly(b"aaaa", b"aa", b"a")
    yield "a value", name_of(value_of("1.2")) == "1.2" and name_of(value_of("1.2")[:-2] + b"x\n") is None
    yield "records", records_in(record_of("a") + b"junk\n" + record_of("b")) == (["a", "b"], [b"junk\n"])


def short_write():
    """What there is room for is written, and then it says why not more."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with tempfile.NamedTemporaryFile() as f:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        try:
            write_all(f.name, os.O_WRONLY, bytes(1500))
            found = 0
        except OSError as e:
            found = e.errno
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        return found, os.path.getsize(f.name)


def main():
    results = []
    for text, due, *rest in HISTORIES:
        found = judged(*rest)
        right = len(found) == len(due) and all(f.startswith(d) for f, d in zip(found, due))
        results.append((text, right, f"due {due}, found {found}"))
    results += [(text, right, "") for text, right in model_cases()]
    leak = [30 + n / 20 for n in range(1000)]
    results += [("memory that is flat after a while", not grown([10] * 200 + [50, 52] * 400)[2], ""),
                ("memory that grows", grown(leak)[2], "")]
    results.append(("a short write ends with the error of what follows", short_write() == (errno.EFBIG, 1000), ""))
    for n, (text, right, why) in enumerate(results, 1):
        print(f"{'ok' if right else 'not ok'} {n} - {text}")
        if not right and why:
            print(f"# {why}")
    print(f"1..{len(results)}")
    return 0 if all(right for _, right, _ in results) else 1


if __name__ == "__main__":
    raise SystemExit(main())

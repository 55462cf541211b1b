"""tree.py - a worker with a directory of its own, which it knows exactly.

Whatever is killed, what was answered must be there when the mount is back; of
the one call that was under way each outcome is right that a file system may
show.  So every difference is a loss, a resurrection, or a conflict about
nothing.
"""
import errno
import os

from model import Model, compare, partly, scan
from worker import ERROR, OK, VOID, Failure, Interrupted, Worker, read_all, store, sync_path, write_all

FILES, DIRECTORIES = 40, 10
CHANGES = {"mkdir": 4, "create": 12, "symlink": 2, "write": 14, "synced": 4, "append": 8, "truncate": 5, "unlink": 6,
           "rmdir": 2, "link": 3, "rename": 10, "setxattr": 4, "removexattr": 1, "store": 3}
LOOKS = {"read": 10, "stat": 8, "list": 6, "sync": 3}
DAMAGING = ("write", "synced", "append", "store")	# may be done in part


class TreeWorker(Worker):
    def __init__(self, *args):
        super().__init__(*args)
        self.model = Model()
        self.pending = None		# its outcome is not known
        self.muddled = False		# what it did went on top of what was lost for the time being
        self.changed = 0.0		# when the last change was answered
        self.synced = {}		# path to content, when it was last synced under that name
        self.verified = self.adopted = 0

    def give_up_handles(self):
        pass				# none is kept

    # ---- what to do next ----

    def pick(self, kind):
        paths = self.model.of_kind(kind)
        return self.rng.choice(paths) if paths else None

    def fresh(self):
        """A name that may be taken."""
        directory = self.rng.choice([""] + self.model.of_kind("d"))
        return f"{directory}/{self.rng.choice('abcdefghij')}{self.rng.randrange(12)}"

    def some_path(self):
        return self.rng.choice(list(self.model.names)[1:] or ["/nothing"])

    def bytes(self):
        size = self.rng.choice((1, 20, 300, 3000, 4096, 9000, 70000) if self.rng.random() < 0.97 else (300000, 1200000))
        return self.rng.randbytes(self.rng.randint(1, size))

    def offset(self, path):
        size = len(self.model.node(path)[1])
        return self.rng.choice((0, size, self.rng.randint(0, size), size + self.rng.randint(0, 5000)))

    def choose(self, kind):
        """An operation, as the model has it; None: not now."""
        path = self.pick("f")
        files = len(self.model.of_kind("f"))
        if kind in ("create", "symlink", "link") and files > FILES:
            kind = "unlink"
        if kind == "mkdir" and len(self.model.of_kind("d")) > DIRECTORIES:
            kind = "rmdir"
        if kind in ("mkdir", "create"):
            return kind, self.fresh()
        if kind == "symlink":
            return kind, self.fresh(), "to/" + self.fresh()
        if kind in ("unlink", "rmdir"):
            return kind, self.some_path()
        if kind == "rename":
            return kind, self.some_path(), self.fresh() if self.rng.random() < 0.7 else self.some_path()
        if path is None:
            return None
        if kind == "link":
            return kind, path, self.fresh()
        if kind in ("write", "synced"):
            return kind, path, self.offset(path), self.bytes()
        if kind == "append":
            return kind, path, self.bytes()
        if kind == "truncate":
            return kind, path, self.offset(path)
        if kind == "store":
            size = len(self.model.node(path)[1])
            at = self.rng.randrange(size) if size > 0 else 0
            data = self.bytes()[:size - at]
            return (kind, path, at, data) if data else None
        name = f"user.{self.rng.choice('xyz')}"
        return (kind, path, name, self.rng.randbytes(self.rng.randint(0, 60))) if kind == "setxattr" else (kind, path, name)

    def real(self, op):
        kind, path, rest = op[0], self.top + op[1], op[2:]
        if kind == "create":
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        elif kind == "symlink":
            os.symlink(rest[0], path)
        elif kind in ("rename", "link"):
            getattr(os, kind)(path, self.top + rest[0])
        elif kind in ("write", "synced"):
            write_all(path, os.O_WRONLY, rest[1], rest[0], kind == "synced")
        elif kind == "append":
            write_all(path, os.O_WRONLY | os.O_APPEND, rest[0])
        elif kind == "store":
            store(path, rest[1], rest[0])
        else:
            getattr(os, kind)(path, *rest)

    # ---- a step ----

    def step(self):
        table = CHANGES if self.rng.random() < 0.7 else LOOKS
        kind = self.rng.choices(list(table), table.values())[0]
        if table is LOOKS:
            getattr(self, kind)()
        else:
            op = self.choose(kind)
            if op is not None:
                self.change(op)

    def change(self, op):
        after, due = self.model.apply(op)
        text = " ".join(str(a) if not isinstance(a, bytes) else f"<{len(a)}>" for a in op)
        answer = self.call(text, self.real, op)
        self.note("t", f"{answer.began:.6f}", f"{answer.ended:.6f}", ("ok", "error", "void")[answer.status],
                  answer.error, text)
        if answer.status == OK:
            self.changed = answer.ended
        if answer.status == OK and due == 0:
            self.model = after
            if op[0] in ("synced", "store"):
                self.synced[op[1]] = after.node(op[1])[1]
        elif answer.status == ERROR and answer.error == due:
            pass
        elif answer.status == OK:
            self.muddled = True
            self.doubt(f"{text} succeeded, where error {errno.errorcode.get(due, due)} was due")
        else:
            if due == 0:
                self.pending = op
            if answer.status == ERROR and not (due == 0 and self.out_of_space(answer)):
                self.doubt(f"{text}: {errno.errorcode.get(answer.error, answer.error)}, due was "
                           f"{errno.errorcode.get(due, due)}")
            elif answer.status == ERROR:
                self._settle_here()

    def _settle_here(self):
        try:
            self.settle()
        except Interrupted:
            self.seen = 1

    def look(self, text, due, function, *args):
        answer = self.call(text, function, *args)
        if answer.status == VOID or not self.stayed_up():
            return
        if answer.status != OK:
            if not (self.out_of_space(answer) and text.startswith("sync")):
                self.doubt(f"{text}: {errno.errorcode.get(answer.error, answer.error)}")
        elif due is not None and answer.value != due:
            self.doubt(f"{text}: found {str(answer.value)[:200]}, due was {str(due)[:200]}")

    def read(self):
        path = self.pick("f")
        if path is not None:
            self.look(f"read {path}", self.model.node(path)[1], read_all, self.top + path)

    def stat(self):
        path = self.pick("f")
        if path is not None:
            due = len(self.model.node(path)[1]), self.model.links(self.model.names[path])
            self.look(f"stat {path}", due, lambda: (lambda s: (s.st_size, s.st_nlink))(os.lstat(self.top + path)))

    def list(self):
        path = self.pick("d") or ""
        due = sorted(p[len(path) + 1:] for p in self.model.below(path) if "/" not in p[len(path) + 1:])
        self.look(f"list {path}", due, lambda: sorted(os.listdir(self.top + path)))

    def sync(self):
        path = self.pick(self.rng.choice("fd"))
        if path is not None:
            self.look(f"sync {path}", None, sync_path, self.top + path)

    # ---- is all there? ----

    def look_at_all(self):
        """The tree, or Interrupted."""
        while True:
            generation = self.board.generation(self.client)
            answer = self.call("look at all", scan, self.top, read_all)
            if self.board.generation(self.client) != generation or generation % 2 == 1:
                raise Interrupted
            if answer.status == OK:
                return answer.value
            self.doubt(f"looking at all of {self.top}: {errno.errorcode.get(answer.error, answer.error)}")
            raise Interrupted

    def settle(self):
        found = self.look_at_all()
        candidates = [self.model]
        if self.pending is not None:
            after, error = self.model.apply(self.pending)
            if error == 0:
                candidates.append(after)
                if self.pending[0] in DAMAGING:
                    candidates += self.in_part(after, found)
        if self.muddled or 0 < self.board.lost_since(self.client) < self.changed:
            self.adopt(found)
            return
        differences = [compare(c, found) for c in candidates]
        for candidate, lines in zip(candidates, differences):
            if not lines:
                self.model, self.pending = candidate, None
                self.verified += 1
                return
        self.explain(found, differences)

    def in_part(self, after, found):
        path = self.pending[1]
        if path not in found or found[path][2][0] != "f":
            return []
        content = found[path][2][1]
        if not partly(self.model.node(path)[1], after.node(path)[1], content):
            return []
        half = self.model.copy()
        half.truncate(path, 0)
        half.write(path, 0, content)
        return [half]

    def explain(self, found, differences):
        lines = min(differences, key=len)
        lost = [p for p, c in self.synced.items() if p in self.model.names and self.model.node(p)[0] == "f" and
                self.model.node(p)[1] == c and (p not in found or found[p][2][0] != "f" or found[p][2][1] != c)]
        spurious = [line for line in lines if "(conflict " in line]
        what = "FSYNCED BYTES LOST" if lost else "SPURIOUS CONFLICT" if spurious else "ACKNOWLEDGED WORK LOST"
        pending = "" if self.pending is None else f"; under way was {str(self.pending)[:120]}"
        text = f"{what} in {self.top}{pending}:\n  " + "\n  ".join(lines[:20])
        self.note("#", "settle", text)
        if self.board.generation(self.client) != self.seen:
            raise Interrupted
        self.doubt(text)		# if this mount has lost its leases it is not over yet
        raise Interrupted

    def adopt(self, found):
        """What was done on top of a loss may have become anything but a loss of what was synced."""
        for path, content in self.synced.items():
            if path in self.model.names and self.model.node(path)[0] == "f" and self.model.node(path)[1] == content and \
                    not any(node[0] == "f" and node[1] == content for _, _, node in found.values()):
                raise Failure(f"FSYNCED BYTES LOST: {self.top}{path} of {len(content)} bytes, after a loss of leases")
        numbers = {}
        self.model = Model({}, {}, 0)
        for path, (inode, _, node) in found.items():
            number = 0 if path == "" else numbers.setdefault(inode, len(numbers) + 1)
            self.model.names[path], self.model.nodes[number] = number, node
        self.model.last = len(numbers) + 1
        self.pending, self.muddled, self.synced = None, False, {}
        self.changed = 0.0
        self.adopted += 1

    def last(self):
        super().last()
        self.note("v", self.verified, self.adopted)

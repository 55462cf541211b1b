"""shared.py - a worker on names that workers of the other mount use too.

What it does and sees it writes down, for judge.py:

  c0..   cells: files that always exist; one value of 512 bytes, written over
         in place, or through a map
  n0..   names: a whole file, put there by a rename, or removed
  l0..   logs: records appended
  tokens in slots: files whose content is their own; moved from slot to slot
         without replacing, grabbed into a directory of one's own, removed there

A value tells who wrote it and that it is whole.
"""
import ctypes
import errno
import os
import zlib

from worker import ERROR, OK, VOID, Worker, read_all, store, sync_path

CELLS, NAMES, LOGS, SLOTS = 4, 4, 3, 6
VALUE = 512
LOG_FULL = 20000		# bytes; then another file is begun
AT_FDCWD, RENAME_NOREPLACE = -100, 1
ABSENT = "-"

libc = ctypes.CDLL(None, use_errno=True)


def rename_noreplace(old, new):
    if libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), RENAME_NOREPLACE) < 0:
        raise OSError(ctypes.get_errno(), "renameat2")


def value_of(name, size=VALUE):
    """`name`, a checksum, and filling that depends on it, as one line."""
    head = f"{name} {zlib.crc32(name.encode()):08x} ".encode()
    return (head + (name.encode() + b".") * (size // len(name) + 1))[:size - 1] + b"\n"


def name_of(value):
    """None: not whole."""
    name = value.split(b" ")[0].decode(errors="replace")
    return name if name and value == value_of(name, len(value)) and len(value) > len(name) + 11 else None


def size_of(name):
    """Of a file that is put under a name."""
    return 100 + zlib.crc32(name.encode()) % 3000


def record_of(name):
    return f"{name} {zlib.crc32(name.encode()):08x}\n".encode()


def records_in(content):
    """Names of the records, and what is none."""
    names, strange = [], []
    for line in content.splitlines(keepends=True):
        name = line.split(b" ")[0].decode(errors="replace")
        names.append(name) if line == record_of(name) else strange.append(line[:60])
    return names, strange


class SharedWorker(Worker):
    def __init__(self, me, *args):
        super().__init__(*args)
        self.me, self.count = me, 0
        self.own = f"{self.top}/of-{me}"
        self.log_part = 0
        self.steps = {self.write_cell: 10, self.store_cell: 2, self.sync_cell: 3, self.read_cell: 14,
                      self.replace_name: 6, self.remove_name: 3, self.read_name: 10, self.stat_name: 8, self.list: 6,
                      self.append_log: 12, self.read_log: 6, self.sync_log: 2,
                      self.make_token: 6, self.move_token: 6, self.grab_token: 5, self.drop_token: 4}

    def give_up_handles(self):
        pass

    def settle(self):
        pass

    def new(self):
        self.count += 1
        return f"{self.me}.{self.count}"

    def step(self):
        self.rng.choices(list(self.steps), self.steps.values())[0]()

    def event(self, kind, key, answer, value):
        self.note(kind, key, self.client, f"{answer.began:.6f}", f"{answer.ended:.6f}", value)

    def did(self, text, key, value, *expected, call):
        """A change; noted also when its outcome is not known.  True: it happened."""
        answer = self.call(text, *call)
        if answer.status == OK:
            self.event("w", key, answer, value)
            return True
        if answer.status == ERROR and answer.error in expected:
            self.came_to_nothing(answer)
            return False
        self.event("m", key, answer, value)	# maybe
        if answer.status == ERROR and not self.out_of_space(answer):
            self.doubt(f"{text}: {errno.errorcode.get(answer.error, answer.error)}")
        return False

    def saw(self, text, *expected, call):
        """An answer that stands, or None; with an expected error the value is None."""
        answer = self.call(text, *call)
        if answer.status == VOID or not self.stayed_up():
            return None
        if answer.status == ERROR and answer.error not in expected:
            if not self.out_of_space(answer):
                self.doubt(f"{text}: {errno.errorcode.get(answer.error, answer.error)}")
            return None
        return answer

    # ---- cells ----

    def cell(self):
        key = f"c{self.rng.randrange(CELLS)}"
        return key, f"{self.top}/{key}"

    def write_cell(self):
        (key, path), name = self.cell(), self.new()
        sync = self.rng.random() < 0.2

        def write():
            fd = os.open(path, os.O_WRONLY)
            try:
                if os.pwrite(fd, value_of(name), 0) != VALUE:
                    raise OSError(errno.EIO, "short")
            finally:
                os.close(fd)
        if self.did(f"write {key}", key, name, call=(write,)) and sync:
            self.sync(key, path)

    def store_cell(self):
        (key, path), name = self.cell(), self.new()
        if self.did(f"store {key}", key, name, call=(store, path, value_of(name), 0)):
            self.sync(key, path)

    def sync(self, key, path):
        answer = self.saw(f"sync {key}", errno.ENOENT, call=(sync_path, path))
        if answer is not None and answer.error == 0:
            self.event("s", key, answer, "")

    def sync_cell(self):
        self.sync(*self.cell())

    def read_cell(self):
        key, path = self.cell()
        answer = self.saw(f"read {key}", call=(read_all, path))
        if answer is not None:
            self.event("r", key, answer, name_of(answer.value) or f"?{len(answer.value)}:{answer.value[:60].hex()}")

    # ---- names ----

    def name(self):
        key = f"n{self.rng.randrange(NAMES)}"
        return key, f"{self.top}/{key}"

    def replace_name(self):
        (key, path), name = self.name(), self.new()
        temporary, sync = f"{self.own}/new", self.rng.random() < 0.3

        def put():
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            try:
                data = value_of(name, size_of(name))
                if os.write(fd, data) != len(data):
                    raise OSError(errno.EIO, "short")
                if sync:
                    os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(temporary, path)
        if self.did(f"replace {key}", key, name, errno.ESTALE, call=(put,)) and sync:
            self.sync(key, self.top)

    def remove_name(self):
        key, path = self.name()
        self.did(f"remove {key}", key, ABSENT, errno.ENOENT, call=(os.unlink, path))

    def read_name(self):
        key, path = self.name()
        answer = self.saw(f"read {key}", errno.ENOENT, call=(read_all, path))
        if answer is not None:
            self.event("r", key, answer, ABSENT if answer.error else
                       name_of(answer.value) or f"?{len(answer.value)}:{answer.value[:60].hex()}")

    def stat_name(self):
        key, path = self.name()
        answer = self.saw(f"stat {key}", errno.ENOENT, call=(os.lstat, path))
        if answer is not None:
            self.event("z", key, answer, ABSENT if answer.error else answer.value.st_size)

    def list(self):
        answer = self.saw("list", call=(os.listdir, self.top))
        if answer is not None:
            for n in range(NAMES):
                self.event("p", f"n{n}", answer, int(f"n{n}" in answer.value))

    # ---- logs ----

    def log(self):
        key = f"l{self.rng.randrange(LOGS)}-{self.log_part}"
        return key, f"{self.top}/{key}"

    def append_log(self):
        (key, path), name = self.log(), self.new()

        def append():
            fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                record = record_of(name)
                if os.write(fd, record) != len(record):
                    raise OSError(errno.EIO, "short")
                return os.fstat(fd).st_size
            finally:
                os.close(fd)
        answer = self.call(f"append {key}", append)
        self.event("a" if answer.status == OK else "b", key, answer, name)
        if answer.status == OK and answer.value > LOG_FULL:
            self.log_part += 1
        elif answer.status == ERROR and not self.out_of_space(answer):
            self.doubt(f"append {key}: {errno.errorcode.get(answer.error, answer.error)}")

    def read_log(self):
        key, path = self.log()
        answer = self.saw(f"read {key}", errno.ENOENT, call=(read_all, path))
        if answer is not None:
            names, strange = records_in(answer.value or b"")
            self.event("l", key, answer, " ".join(names) + "".join(f" ?{s.hex()}" for s in strange))

    def sync_log(self):
        self.sync(*self.log())

    # ---- tokens ----

    def any_slot(self):
        return f"{self.top}/slot{self.rng.randrange(SLOTS)}"

    def make_token(self):
        name, slot = self.new(), self.any_slot()
        temporary, wanted = f"{self.own}/{name}", self.rng.random() < 0.3

        def make():
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            try:
                data = value_of(name, size_of(name))
                if os.write(fd, data) != len(data):
                    raise OSError(errno.EIO, "short")
                if wanted:
                    os.fsync(fd)
            finally:
                os.close(fd)
        if self.did(f"make token {name}", "token", name, call=(make,)):
            if wanted:
                self.note("k", name)
            self.move("put", name, temporary, slot)

    def move(self, text, name, old, new):
        """Without replacing; it may be gone, or the place taken."""
        answer = self.call(f"{text} {name}", rename_noreplace, old, new)
        self.note("#", f"{answer.began:.6f}", f"{answer.ended:.6f}", text, name, answer.error, old, new)
        if answer.status == ERROR and answer.error not in (errno.EEXIST, errno.ENOENT) and \
                not self.out_of_space(answer) and not self.came_to_nothing(answer):
            self.doubt(f"{text} {name}: {errno.errorcode.get(answer.error, answer.error)}")

    def move_token(self):
        old, new = self.any_slot(), self.any_slot()
        if old != new:
            self.move("move", "a token", old, new)

    def grab_token(self):
        self.move("grab", "a token", self.any_slot(), f"{self.own}/{self.new()}g")

    def drop_token(self):
        """Out of what is in the own directory."""
        answer = self.saw("list own", call=(os.listdir, self.own))
        names = [n for n in answer.value if n != "new" and "(conflict " not in n] if answer is not None else []
        if not names:
            return
        path = f"{self.own}/{self.rng.choice(names)}"
        answer = self.saw("read token", errno.ENOENT, call=(read_all, path))
        name = name_of(answer.value) if answer is not None and answer.error == 0 else None
        if name is not None:
            answer = self.call(f"drop {name}", os.unlink, path)
            self.note("d", name, int(answer.status == OK), f"{answer.began:.6f}", f"{answer.ended:.6f}")
            if answer.status == ERROR and answer.error != errno.ENOENT and not self.out_of_space(answer):
                self.doubt(f"drop {name}: {errno.errorcode.get(answer.error, answer.error)}")


def prepare(top, workers):
    """What is there at the beginning."""
    for n in range(CELLS):
        with open(f"{top}/c{n}", "xb") as f:
            f.write(value_of("0.0"))
    for me in workers:
        os.mkdir(f"{top}/of-{me}")

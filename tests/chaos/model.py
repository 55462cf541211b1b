"""model.py - what a tree must look like that one process alone works on.

A model is two dictionaries: names, from path to node number, and nodes.  A
node is a tuple that is never changed: ("d",), ("l", target), or ("f", content,
attributes), the attributes sorted pairs.  apply() does an operation, or
raises the OSError that a file system owes; it leaves the model alone then.
"""
import errno
import os
import stat


def parent(path):
    return path.rpartition("/")[0]


def fail(number):
    raise OSError(number, os.strerror(number))


class Model:
    def __init__(self, names=None, nodes=None, last=0):
        self.names = names if names is not None else {"": 0}
        self.nodes = nodes if nodes is not None else {0: ("d",)}
        self.last = last

    def copy(self):
        return Model(dict(self.names), dict(self.nodes), self.last)

    def node(self, path):
        return self.nodes[self.names[path]]

    def of_kind(self, kind):
        return [p for p, n in self.names.items() if self.nodes[n][0] == kind and p != ""]

    def below(self, path):
        return [p for p in self.names if p.startswith(path + "/")]

    def links(self, number):
        return sum(n == number for n in self.names.values())

    # ---- what operations need ----

    def _found(self, path):
        if path not in self.names:
            self._directory(parent(path))
            fail(errno.ENOENT)
        return self.names[path]

    def _file(self, path):
        number = self._found(path)
        kind = self.nodes[number][0]
        if kind != "f":
            fail(errno.EISDIR if kind == "d" else errno.ELOOP)
        return number

    def _directory(self, path):
        if path not in self.names:
            self._directory(parent(path))
            fail(errno.ENOENT)
        if self.node(path)[0] != "d":
            fail(errno.ENOTDIR)

    def _free(self, path):
        self._directory(parent(path))
        if path in self.names:
            fail(errno.EEXIST)

    def _add(self, path, node):
        self._free(path)
        self.last += 1
        self.names[path], self.nodes[self.last] = self.last, node

    def _drop(self, path):
        number = self.names.pop(path)
        if self.links(number) == 0:
            del self.nodes[number]

    def _content(self, path, change):
        number = self._file(path)
        _, content, attributes = self.nodes[number]
        self.nodes[number] = ("f", change(content), attributes)

    # ---- operations ----

    def mkdir(self, path):
        self._add(path, ("d",))

    def create(self, path):
        self._add(path, ("f", b"", ()))

    def symlink(self, path, target):
        self._add(path, ("l", target))

    def write(self, path, offset, data):
        self._content(path, lambda old: old[:offset].ljust(offset, b"\0") + data + old[offset + len(data):])

    store = synced = write

    def append(self, path, data):
        self._content(path, lambda old: old + data)

    def truncate(self, path, size):
        self._content(path, lambda old: old[:size].ljust(size, b"\0"))

    def unlink(self, path):
        if self.nodes[self._found(path)][0] == "d":
            fail(errno.EISDIR)
        self._drop(path)

    def rmdir(self, path):
        if self.nodes[self._found(path)][0] != "d":
            fail(errno.ENOTDIR)
        if self.below(path):
            fail(errno.ENOTEMPTY)
        self._drop(path)

    def link(self, path, to):
        number = self._found(path)
        self._free(to)
        if self.nodes[number][0] == "d":
            fail(errno.EPERM)
        self.names[to] = number

    def rename(self, path, to):
        number = self._found(path)
        self._directory(parent(to))
        is_dir = self.nodes[number][0] == "d"
        if is_dir and (to + "/").startswith(path + "/") and to != path:
            fail(errno.EINVAL)
        if to in self.names:
            if path.startswith(to + "/"):
                fail(errno.ENOTEMPTY)
            if self.names[to] == number:
                return		# two names of one file: POSIX has it do nothing
            other = self.node(to)[0] == "d"
            if is_dir and not other:
                fail(errno.ENOTDIR)
            if other and not is_dir:
                fail(errno.EISDIR)
            if self.below(to):
                fail(errno.ENOTEMPTY)
            self._drop(to)
        moved = {to + p[len(path):]: self.names.pop(p) for p in self.below(path) + [path]}
        self.names.update(moved)

    def setxattr(self, path, name, value):
        number = self._file(path)
        _, content, attributes = self.nodes[number]
        self.nodes[number] = ("f", content, tuple(sorted((dict(attributes) | {name: value}).items())))

    def removexattr(self, path, name):
        number = self._file(path)
        _, content, attributes = self.nodes[number]
        left = dict(attributes)
        if left.pop(name, None) is None:
            fail(errno.ENODATA)
        self.nodes[number] = ("f", content, tuple(sorted(left.items())))

    def apply(self, operation):
        """The model afterwards, and 0 or the error."""
        changed = self.copy()
        try:
            getattr(changed, operation[0])(*operation[1:])
        except OSError as e:
            return self, e.errno
        return changed, 0


def partly(old, new, found):
    """Could a write that was broken off have left this?  Each byte old or new, the length in between."""
    if not min(len(old), len(new)) <= len(found) <= max(len(old), len(new)):
        return False
    size = len(found)
    old, new = old[:size].ljust(size, b"\0"), new[:size].ljust(size, b"\0")
    return all(f in (o, n) for f, o, n in zip(found, old, new))


def show(content, start):
    return f"{len(content)} bytes, there {content[start:start + 16].hex() or 'nothing'}"


def compare(model, found):
    """What differs between a model and scan()'s result, one line each."""
    lines = [f"{p} is missing" for p in sorted(set(model.names) - set(found))]
    lines += [f"{p} should not be there" for p in sorted(set(found) - set(model.names))]
    numbers = {}
    for path in sorted(set(found) & set(model.names)):
        node, (inode, links, actual) = model.node(path), found[path]
        if node[0] != actual[0]:
            lines.append(f"{path} is of kind {actual[0]}, not {node[0]}")
        elif node[0] == "f":
            if node[1] != actual[1]:
                at = next((i for i, (a, b) in enumerate(zip(node[1], actual[1])) if a != b),
                          min(len(node[1]), len(actual[1])))
                lines.append(f"{path} differs from byte {at}: due {show(node[1], at)}, found {show(actual[1], at)}")
            if node[2] != actual[2]:
                lines.append(f"{path} has attributes {actual[2]}, not {node[2]}")
            if links != model.links(model.names[path]):
                lines.append(f"{path} has {links} links, not {model.links(model.names[path])}")
        elif node != actual:
            lines.append(f"{path} is {actual}, not {node}")
        if numbers.setdefault(model.names[path], inode) != inode:
            lines.append(f"{path} is another file than its other name")
    return lines


def scan(top, read_all):
    """Path to (inode, links, node), of all below; OSError as it comes."""
    found, todo = {}, [""]
    st = os.lstat(top)
    found[""] = (st.st_ino, 0, ("d",))
    while todo:
        directory = todo.pop()
        for name in os.listdir(f"{top}{directory}"):
            path = f"{directory}/{name}"
            st = os.lstat(top + path)
            if stat.S_ISDIR(st.st_mode):
                found[path] = (st.st_ino, 0, ("d",))
                todo.append(path)
            elif stat.S_ISLNK(st.st_mode):
                found[path] = (st.st_ino, st.st_nlink, ("l", os.readlink(top + path)))
            else:
                content = read_all(top + path)
                if len(content) != st.st_size:
                    raise OSError(errno.EBADMSG, f"{path} has {len(content)} bytes, not st_size {st.st_size}")
                attributes = tuple(sorted((k, os.getxattr(top + path, k)) for k in os.listxattr(top + path)))
                found[path] = (st.st_ino, st.st_nlink, ("f", content, attributes))
    return found

#!/usr/bin/env python3
"""Reads a server's store at rest, knowing only nuage-protocol(5) and LMDB's format.

    store.py check DIRECTORY            every checksum; prints what there is
    store.py list DIRECTORY HOME VOL    names in the root directory, with the keys of a client

The records are taken as of the checkpoint, then the log is replayed in memory.
"""
import os
import re
import struct
import sys

import decoder as d
from xxh3 import M64, xxh3

HEADER, ENTRY = 64, 40


def fail(text):
    raise d.Malformed(text)


# ---- LMDB: one unnamed database, read page by page ----

class Lmdb:
    BRANCH, LEAF, OVERFLOW, META, BIG = 1, 2, 4, 8, 1

    def __init__(self, path):
        self.data = open(path, 'rb').read()
        self.size = 4096
        metas = [self.meta(i) for i in (0, 1)]
        self.size, self.root = max(metas, key=lambda m: m[0])[1:]

    def meta(self, number):
        at = number * self.size + 16
        magic, version = struct.unpack_from('<II', self.data, at)
        if magic != 0xBEEFC0DE or version != 1:
            fail('not an LMDB file')
        size, = struct.unpack_from('<I', self.data, at + 24)
        root, = struct.unpack_from('<Q', self.data, at + 24 + 48 + 40)
        transaction, = struct.unpack_from('<Q', self.data, at + 24 + 2 * 48 + 8)
        return transaction, size, root

    def walk(self, page=None):
        page = self.root if page is None else page
        if page == M64:
            return
        at = page * self.size
        number, _, flags, lower = struct.unpack_from('<QHHH', self.data, at)
        if number != page:
            fail('page %d says it is %d' % (page, number))
        for i in range((lower - 16) // 2):
            node = at + struct.unpack_from('<H', self.data, at + 16 + 2 * i)[0]
            low, high, node_flags, key_size = struct.unpack_from('<HHHH', self.data, node)
            key = self.data[node + 8:node + 8 + key_size]
            if flags & self.BRANCH:
                yield from self.walk(low | high << 16 | node_flags << 32)
                continue
            start, size = node + 8 + key_size, low | high << 16
            if node_flags & self.BIG:
                start = struct.unpack_from('<Q', self.data, start)[0] * self.size + 16
            yield key, self.data[start:start + size]


# ---- the store ----

class Store:
    def __init__(self, directory):
        self.directory = directory
        self.keys, self.blocks, self.live = {}, {}, {}
        for key, value in Lmdb(directory + '/records.mdb').walk():
            self.record(key, value)
        self.replay()

    def record(self, key, value):
        if int.from_bytes(value[:8], 'big') != xxh3(value[8:], xxh3(key)):
            fail('the checksum of record %s is wrong' % key.hex())
        r = d.Reader(value[8:])
        if key[:1] == b'k':
            self.keys[key[1:]] = value[8:]
        elif key[:1] == b'b' and len(key) == 33:
            self.blocks[key[1:]] = (r.uint(8), r.uint(4), r.uint(4), r.uint(8))
            r.end()
        elif key[:1] == b's' and len(key) == 9:
            self.live[int.from_bytes(key[1:], 'big')] = r.uint(8)
            r.end()
        elif key == b'c':
            if (r.uint(4), r.uint(4)) != (1, 0):
                fail('a store of another version')
            self.seed, self.position, self.segment, self.offset = r.uint(8), r.uint(8), r.uint(8), r.uint(4)
            r.end()
        else:
            fail('a record of no known kind: ' + key.hex())

    def load_segment(self, number):
        data = open('%s/log.%016x' % (self.directory, number), 'rb').read()
        r = d.Reader(data[:HEADER])
        if r.take(8) != b'nuagelog' or r.uint(4) != 1:
            fail('segment %x: not a segment' % number)
        size, there, seed = r.uint(4), r.uint(8), r.uint(8)
        if there != number or seed != self.seed or any(r.take(24)) or r.uint(8) != xxh3(data[:HEADER - 8]):
            fail('segment %x: its header is wrong' % number)
        if len(data) > size:
            fail('segment %x: longer than it says' % number)
        return data

    def entry(self, data, number, at):
        """(type, position, checked body, where it begins, where the next entry goes), or None."""
        head = data[at:at + ENTRY]
        if len(head) < ENTRY or head[8:12] != b'entr':
            return None
        kind, length = head[12], int.from_bytes(head[16:20], 'big')
        position, synced = struct.unpack('>QQ', head[24:40])
        checked = 32 if kind == 2 else length
        body = data[at + ENTRY:at + ENTRY + checked]
        if len(body) < checked or xxh3(head[8:] + body, self.seed ^ number * 0x9e3779b97f4a7c15 & M64) != \
                int.from_bytes(head[:8], 'big'):
            return None
        if any(head[13:16]) or any(head[20:24]) or synced >= position:
            fail('segment %x, offset %d: an entry that no store writes' % (number, at))
        return kind, position, body, at + ENTRY, at + (ENTRY + length + 7) // 8 * 8

    def replay(self):
        numbers = sorted(int(n[4:], 16) for n in os.listdir(self.directory) if re.fullmatch(r'log\.[0-9a-f]{16}', n))
        self.replayed = 0
        for number in numbers:
            if number < self.segment:
                continue
            data = self.load_segment(number)
            at = self.offset if number == self.segment else HEADER
            while (e := self.entry(data, number, at)) is not None and e[1] == self.position + 1:
                kind, self.position, body, start, at = e
                self.replayed += 1
                if kind == 1:
                    self.apply(body, number, start)

    def apply(self, batch, segment, start):
        r = d.Reader(batch)
        while r.at < len(r.data):
            kind = r.uint(1)
            if kind == 1:
                key_size, value_size = r.uint(1), r.uint(2)
                key = r.take(key_size)
                self.keys[key] = r.take(value_size)
            elif kind == 2:
                self.keys.pop(r.take(r.uint(1)), None)
            elif kind == 3:
                sizes = r.uint(1), r.uint(1)
                first, last = map(r.take, sizes)
                for key in [k for k in self.keys if first <= k <= last]:
                    del self.keys[key]
            elif kind == 4:
                name, size, at = r.take(32), r.uint(4), start + r.at
                self.blocks.setdefault(name, (segment, at, size, xxh3(r.take(size))))
            elif kind == 5:
                self.blocks.pop(r.take(32), None)
            elif kind in (6, 7):
                name, place = r.take(32), (r.uint(8), r.uint(4), r.uint(4), r.uint(8))
                if (kind == 7) == (name in self.blocks):
                    self.blocks[name] = place
            else:
                fail('an operation %d' % kind)

    def block(self, name):
        segment, offset, size, checksum = self.blocks[name]
        with open('%s/log.%016x' % (self.directory, segment), 'rb') as f:
            f.seek(offset)
            data = f.read(size)
        if xxh3(data) != checksum:
            fail('the bytes of block %s are wrong' % name.hex())
        return data

    # ---- the rows ----

    def table(self, number):
        """(rest of the key, value) of each row of a table, in order."""
        for key in sorted(self.keys):
            if key[0] == number:
                yield d.Reader(key[1:]), d.Reader(self.keys[key])

    def volumes(self):
        """Number of each volume by its id."""
        found = {}
        for key, value in self.table(2):
            volume, number = value.take(16), key.uint(4)
            value.take(32)
            value.take(value.uint(1))
            found[volume] = number
        return found

    def records(self, volume, oid):
        for key, value in self.table(12):
            if key.uint(4) != volume or key.uint(8) != oid or (kind := key.uint(1)) == 0:
                continue
            version, orefs, brefs = value.uint(8), value.uint(1), value.uint(1)
            yield {'kind': kind, 'subkey': key.rest(), 'version': version, 'orefs': [value.uint(8) for _ in range(orefs)],
                   'brefs': [value.take(32) for _ in range(brefs)], 'value': value.rest()}

    def check(self):
        """Counts what the rows say and compares; returns how many objects, records and blocks there are."""
        objects, references, records, entries, busy = {}, {}, 0, {}, {}
        for key, value in self.table(12):
            volume, oid, kind = key.uint(4), key.uint(8), key.uint(1)
            if kind == 0:
                objects[volume, oid] = tuple(value.uint(8) for _ in range(5))
                value.end()
                continue
            records += 1
            entries[volume, oid] = entries.get((volume, oid), 0) + (kind == 6)
            value.uint(8)
            orefs, brefs = value.uint(1), value.uint(1)
            for _ in range(orefs):
                child = volume, value.uint(8)
                references[child] = references.get(child, 0) + 1
            for _ in range(brefs):
                block = volume, value.take(32)
                busy[block] = busy.get(block, 0) + 1
        for o, (count, version, _, _, names) in objects.items():
            if count != references.get(o, 0) or names != entries.get(o, 0):
                fail('object %d of volume %d: its counts are wrong' % (o[1], o[0]))
        if set(references) - set(objects):
            fail('an object that does not exist is referred to')
        for key, value in self.table(13):
            block = key.uint(4), key.take(32)
            if value.uint(8) != busy.pop(block, 0) or block[1] not in self.blocks:
                fail('block %s: its count is wrong, or it is not there' % block[1].hex())
        if busy:
            fail('a block that does not exist is referred to')
        idle = {(key.uint(4), key.take(32)) for key, _ in self.table(14)}
        if idle != {(key.uint(4), key.take(32)) for key, value in self.table(13) if value.uint(8) == 0}:
            fail('the list of idle blocks is wrong')
        for name in self.blocks:
            self.block(name)
        return len(objects), records, len(self.blocks)


def main(arguments):
    if len(arguments) == 2 and arguments[0] == 'check':
        store = Store(arguments[1])
        print('%d objects, %d records, %d blocks' % store.check())
    elif len(arguments) == 4 and arguments[0] == 'list':
        store, home = Store(arguments[1]), d.Home(arguments[2], arguments[3])
        volume = store.volumes()[home.id]
        names = [d.get_entry(home.volume.open_record(2, r))[0] for r in store.records(volume, 2) if r['kind'] == 6]
        for name in sorted(names):
            sys.stdout.buffer.write(name + b'\n')
    else:
        sys.exit('usage: store.py check DIRECTORY | store.py list DIRECTORY HOME VOLUME')


if __name__ == '__main__':
    main(sys.argv[1:])

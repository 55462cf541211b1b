"""The other half of decoder.py: what a client seals and says, from nuage-protocol(5) alone."""
import os
import struct

import decoder as d
from decoder import u8, u16, u32, u64

NOTHING = {'subkey': b'', 'to': b'', 'orefs': [], 'brefs': [], 'value': b''}


def xaead_seal(key, nonce, plain, ad):
    mixed = d.chacha_rounds(d.chacha_state(key, nonce[:16]))
    return d.aead_seal(struct.pack('<8I', *mixed[:4], *mixed[12:]), bytes(4) + nonce[16:], plain, ad)


def seal_wrap(key, volume, volume_key):
    nonce = os.urandom(24)
    return b'\1' + nonce + xaead_seal(key, nonce, volume_key, b'nuage wrap\1' + volume)


class Volume(d.Volume):
    """What can be written with a volume key."""
    WRITER = 7

    def put(self, oid, kind, plain, subkey=b'', orefs=(), brefs=()):
        """A change that writes a record."""
        head, nonce = b'\1' + u32(0) + u64(self.WRITER), os.urandom(24)
        ad = (head + self.volume + u64(oid) + u8(kind) + u8(len(subkey)) + subkey + u32(len(orefs)) +
              b''.join(map(u64, orefs)) + u32(len(brefs)) + b''.join(brefs))
        return {'op': 1, 'oid': oid, 'kind': kind, 'subkey': subkey, 'to': b'', 'orefs': list(orefs),
                'brefs': list(brefs), 'value': head + nonce + xaead_seal(self.record_key, nonce, plain, ad)}

    def block(self, plain):
        """Id and sealed bytes of a block, all its cells raw."""
        cells = [plain[i:i + 65536] for i in range(0, len(plain), 65536)]
        name, salt = self.block_id(plain), os.urandom(32)
        key = d.blake2b(32, name + salt, self.content_key)
        head = b'\1' + u32(0) + u32(len(plain)) + u16(len(cells)) + salt
        head += b''.join(u32(len(c) + 16 | 1 << 31) for c in cells)
        return name, head + b''.join(
            d.aead_seal(key, d.counter_nonce(i), c, b'\1' + u32(0) + name + u32(len(plain)) + u16(i) +
                        u16(len(cells)) + u32(len(c)) + b'\1') for i, c in enumerate(cells))

    def attr(self, oid, mode, size=0, nlink=1, flags=0):
        times = b''.join(u64(t) + u32(5) for t in (1000, 2000, 3000, 4000))
        return self.put(oid, 1, b'\1' + u32(mode) + u32(0) + u32(0) + u32(nlink) + u64(size) + u64(0) + u32(flags) +
                        times + bytes(32) + u16(0))

    def parent(self, oid, parent):
        return self.put(oid, 2, b'\1' + u64(parent))

    def meta(self, incompat=0, ro_compat=0, format=1):
        return self.put(1, 3, u8(format) + u32(incompat) + u32(ro_compat) + u64(1000), orefs=[2])

    def content(self, oid, content):
        return self.put(oid, 4, b'\1' + content)

    def entry(self, directory, name, kind, child):
        plain = b'\1' + u8(kind) + u8(len(name)) + name
        return self.put(directory, 6, plain + bytes(-len(plain) % 64), self.token(directory, name), [child])

    def no_entry(self, directory, name):
        return dict(NOTHING, op=2, oid=directory, kind=6, subkey=self.token(directory, name))

    def region(self, oid, number, extents, blocks):
        plain = b'\1' + u8(len(extents)) + b''.join(u32(o) + u32(n) + u32(at) + u8(ref) for o, n, at, ref in extents)
        return self.put(oid, 7, plain, u64(number), brefs=blocks)


class Client:
    """A device with a session on a volume, or about to have one."""

    def __init__(self, address, server, secret=None):
        self.address, self.server, self.secret = address, server, secret or os.urandom(32)
        self.public = d.x25519(self.secret)
        self.session, self.session_secret, self.generation, self.sequence = 0, bytes(32), 0, 0
        self.control = self.connect()

    def connect(self):
        return d.Connection(self.address, self.server, self.secret)

    def attach(self, volume, connection=None, lane=0, **other):
        """The fields of the answer, or the status."""
        c = connection or self.control
        if lane == 0:
            self.generation += 1
        fields = {'volume': volume.volume, 'lane': lane, 'session': self.session, 'proof': c.proof(self.session_secret),
                  'generation': self.generation, 'replaces': 0, 'replaces_proof': bytes(32), **other}
        name, got, _ = c.answer(c.send('attach', **fields))
        if name == 'done':
            return c.page.status[got['status']]
        self.control = c if lane == 0 else self.control
        self.session, self.session_secret = got['session'], got['secret']
        return got

    def want(self, oid, mode=1, kind=1, last_kind=8, limit=100):
        return {'oid': oid, 'mode': mode, 'kind': kind, 'from': b'', 'last_kind': last_kind, 'to': b'\xff' * 16,
                'limit': limit}

    def send_read(self, *wants, ticket=0, depth=0, kinds=1 << 1 | 1 << 2, budget=0, size=0):
        return self.control.send('read', ticket=ticket, depth=depth, kinds=kinds, budget=budget, size=size,
                                 wants=list(wants))

    def read(self, *wants, **other):
        """The answers to wants, or the status."""
        return self.granted(self.send_read(*wants, **other))

    def granted(self, request):
        name, got, _ = self.control.answer(request)
        return self.control.page.status[got['status']] if name == 'done' else got['answers']

    def send_commit(self, *changes, bases=(), blocks=(), sequence=None):
        if sequence is None:
            sequence = self.sequence + 1
        return self.control.send('commit', sequence=sequence,
                                 bases=[{'oid': o, 'version': v} for o, v in bases], changes=list(changes),
                                 blocks=[{'id': i, 'data': b} for i, b in blocks])

    def commit(self, *changes, **other):
        """(status, fields)"""
        _, got, _ = self.control.answer(self.send_commit(*changes, **other))
        status = self.control.page.status[got['status']]
        if status in ('OK', 'REJECTED'):
            self.sequence = max(self.sequence, got['sequence'])
        return status, got

    def done(self, name, connection=None, /, **fields):
        """The status of a request that is answered by `done`."""
        c = connection or self.control
        return c.page.status[c.answer(c.send(name, **fields))[1]['status']]

    def release(self, oid, grant, mode=0):
        self.control.send('release', leases=[{'oid': oid, 'mode': mode, 'grant': grant, 'base': 0}])

    def hear(self, name):
        """The fields of what the server says unasked."""
        c = self.control
        while not any(n == name for n, _ in c.said):
            said, _, fields, _ = c.receive()
            c.said.append((said, fields))
        at = next(i for i, (n, _) in enumerate(c.said) if n == name)
        return c.said.pop(at)[1]

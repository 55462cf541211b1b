#!/usr/bin/env python3
"""A reader of nuage's formats, written from nuage-protocol(5) alone.

It shares no code with nuage: the messages come from the tables of the man
page itself, the cryptography is plain Python.  Nothing is needed but the
standard library, and for compressed cells libzstd.

    decoder.py list HOME VOLUME     names in the root directory, as a joined device
"""
import base64
import ctypes
import ctypes.util
import hashlib
import hmac
import os
import re
import socket
import struct
import sys

MAN = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'man', 'nuage-protocol.5')


class Malformed(Exception):
    pass


# ---- the tables of the man page ----

class Page:
    """Limits, shapes of parts and messages, as the man page lists them."""

    def __init__(self, path=MAN):
        self.limits, self.shapes, self.messages = {}, {}, {}
        self.status, self.kinds = {}, {}
        section = item = None
        literal = False
        for line in open(path, encoding='ascii'):
            line = line.rstrip('\n')
            if line.startswith('.Sh '):
                section, item = line[4:], None
            elif line.startswith('.Ss '):
                item = None
            elif line.startswith('.It Vt ') and section == 'MESSAGES':
                item = line[7:]
                self.shapes[item] = []
            elif line.startswith('.It Ic ') and section == 'MESSAGES':
                name, number, sender, lane, *payload = line[7:].replace(' No ', ' ').split()
                item = name
                self.shapes[item] = []
                self.messages[name] = (int(number), sender, lane, payload == ['payload'])
            elif section == 'STATUS' and (m := re.match(r'\.It (\d+) Dv (\w+)', line)):
                self.status[int(m[1])] = m[2]
            elif line.startswith('.Bd -literal'):
                literal = True
            elif line.startswith('.Ed'):
                literal = False
            elif literal:
                self.literal(section, item, line)
        self.names = {v[0]: k for k, v in self.messages.items()}

    def literal(self, section, item, line):
        words = line.split()
        if section == 'LIMITS':
            self.limits[words[0]] = int(words[1])
        elif section == 'COMMITS' and (m := re.match(r'(\d) ([A-Z]+) ', line)):
            self.kinds[m[2]] = int(m[1])
        elif item is not None:
            m = re.fullmatch(r'(u8|u16|u32|u64|fixed|bytes|list|nums|ids)(?:\(([\w,]+)\))?', words[1])
            self.shapes[item].append((words[0], m[1], *(m[2] or '').split(',')))


# ---- bytes ----

class Reader:
    """A cursor over bytes; too few of them, or bytes left over, are errors."""

    def __init__(self, data):
        self.data, self.at = bytes(data), 0

    def take(self, n):
        if n > len(self.data) - self.at:
            raise Malformed('too short')
        self.at += n
        return self.data[self.at - n:self.at]

    def uint(self, n):
        return int.from_bytes(self.take(n), 'big')

    def rest(self):
        return self.take(len(self.data) - self.at)

    def end(self):
        if self.at != len(self.data):
            raise Malformed('trailing bytes')


def u8(n):
    return n.to_bytes(1, 'big')


def u16(n):
    return n.to_bytes(2, 'big')


def u32(n):
    return n.to_bytes(4, 'big')


def u64(n):
    return n.to_bytes(8, 'big')


# ---- primitives ----

def rotate(v, n):
    return (v << n | v >> 32 - n) & 0xffffffff


def chacha_rounds(state):
    x = list(state)
    for _ in range(10):
        for a, b, c, d in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                           (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
            x[a] = x[a] + x[b] & 0xffffffff
            x[d] = rotate(x[d] ^ x[a], 16)
            x[c] = x[c] + x[d] & 0xffffffff
            x[b] = rotate(x[b] ^ x[c], 12)
            x[a] = x[a] + x[b] & 0xffffffff
            x[d] = rotate(x[d] ^ x[a], 8)
            x[c] = x[c] + x[d] & 0xffffffff
            x[b] = rotate(x[b] ^ x[c], 7)
    return x


def chacha_state(key, tail):
    return struct.unpack('<16I', b'expand 32-byte k' + key + tail)


def chacha_block(key, counter, nonce):
    state = chacha_state(key, struct.pack('<I', counter) + nonce)
    mixed = chacha_rounds(state)
    return struct.pack('<16I', *(a + b & 0xffffffff for a, b in zip(state, mixed)))


def chacha(key, nonce, data):
    out = bytearray()
    for i in range(0, len(data), 64):
        piece = data[i:i + 64]
        stream = chacha_block(key, 1 + i // 64, nonce)[:len(piece)]
        out += (int.from_bytes(piece, 'big') ^ int.from_bytes(stream, 'big')).to_bytes(len(piece), 'big')
    return bytes(out)


def poly1305(key, data):
    r = int.from_bytes(key[:16], 'little') & 0x0ffffffc0ffffffc0ffffffc0fffffff
    a = 0
    for i in range(0, len(data), 16):
        a = (a + int.from_bytes(data[i:i + 16] + b'\1', 'little')) * r % ((1 << 130) - 5)
    return (a + int.from_bytes(key[16:], 'little') & (1 << 128) - 1).to_bytes(16, 'little')


def aead_tag(key, nonce, sealed, ad):
    def padded(b):
        return b + bytes(-len(b) % 16)
    return poly1305(chacha_block(key, 0, nonce)[:32],
                    padded(ad) + padded(sealed) + struct.pack('<QQ', len(ad), len(sealed)))


def aead_seal(key, nonce, plain, ad=b''):
    sealed = chacha(key, nonce, plain)
    return sealed + aead_tag(key, nonce, sealed, ad)


def aead_open(key, nonce, sealed, ad=b''):
    if len(sealed) < 16 or not hmac.compare_digest(aead_tag(key, nonce, sealed[:-16], ad), sealed[-16:]):
        raise Malformed('it does not open')
    return chacha(key, nonce, sealed[:-16])


def xaead_open(key, nonce, sealed, ad):
    mixed = chacha_rounds(chacha_state(key, nonce[:16]))
    return aead_open(struct.pack('<8I', *mixed[:4], *mixed[12:]), bytes(4) + nonce[16:], sealed, ad)


def counter_nonce(n):
    return bytes(4) + struct.pack('<Q', n)


P25519 = 2 ** 255 - 19


def x25519(secret, point=(9).to_bytes(32, 'little')):
    k = int.from_bytes(secret, 'little') & ~7 & (1 << 254) - 1 | 1 << 254
    u = int.from_bytes(point, 'little') & (1 << 255) - 1
    x1, x2, z2, x3, z3, swap = u, 1, 0, u, 1, 0
    for t in range(254, -1, -1):
        bit = k >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % P25519, b * b % P25519, d * a, c * b
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % P25519, x1 * (da - cb) ** 2 % P25519
        x2, z2 = aa * bb % P25519, e * (aa + 121665 * e) % P25519
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P25519 - 2, P25519) % P25519).to_bytes(32, 'little')


def blake2b(size, data, key=b''):
    return hashlib.blake2b(data, digest_size=size, key=key).digest()


def kdf(key, purpose, n):
    return hashlib.blake2b(b'', digest_size=32, key=key, salt=struct.pack('<QQ', n, 0),
                           person=purpose.encode() + bytes(8)).digest()


def session_proof(secret, handshake_hash):
    return blake2b(32, b'nuage session proof' + handshake_hash, secret)


def derive(secret, text):
    return blake2b(32, text.encode(), secret)


def zstd_expand(packed, size):
    name = ctypes.util.find_library('zstd') or 'libzstd.so.1'
    lib = ctypes.CDLL(name)
    lib.ZSTD_decompress.restype = ctypes.c_size_t
    lib.ZSTD_decompress.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    to = ctypes.create_string_buffer(size)
    if lib.ZSTD_decompress(to, size, packed, len(packed)) != size:
        raise Malformed('a cell does not expand')
    return to.raw


# ---- transport ----

PREAMBLE = b'NUAGE\0\r\n' + u16(1) + u16(1) + bytes(4)


class Noise:
    """The initiator of Noise_IK_25519_ChaChaPoly_SHA256."""

    def __init__(self, secret, server, prologue=PREAMBLE, ephemeral=None):
        self.s, self.rs = secret, server
        self.e = ephemeral or os.urandom(32)
        self.h = self.ck = b'Noise_IK_25519_ChaChaPoly_SHA256'
        self.k, self.n = None, 0
        self.mix_hash(prologue)
        self.mix_hash(server)

    def mix_hash(self, data):
        self.h = hashlib.sha256(self.h + data).digest()

    def hkdf(self, data):
        key = hmac.digest(self.ck, data, 'sha256')
        first = hmac.digest(key, b'\1', 'sha256')
        return first, hmac.digest(key, first + b'\2', 'sha256')

    def mix_key(self, data):
        self.ck, self.k = self.hkdf(data)
        self.n = 0

    def seal(self, plain):
        sealed = aead_seal(self.k, counter_nonce(self.n), plain, self.h)
        self.n += 1
        self.mix_hash(sealed)
        return sealed

    def message_1(self):
        e = x25519(self.e)
        self.mix_hash(e)
        self.mix_key(x25519(self.e, self.rs))
        s = self.seal(x25519(self.s))
        self.mix_key(x25519(self.s, self.rs))
        return e + s + self.seal(b'')

    def message_2(self, message):
        """The payload, and the keys of both directions."""
        re = message[:32]
        self.mix_hash(re)
        self.mix_key(x25519(self.e, re))
        self.mix_key(x25519(self.s, re))
        payload = aead_open(self.k, counter_nonce(self.n), message[32:], self.h)
        self.mix_hash(message[32:])
        send, receive = self.hkdf(b'')
        return payload, FrameKey(send), FrameKey(receive)


class FrameKey:
    """One direction: the key and the number of the next frame."""
    REKEY = 65536

    def __init__(self, key, number=0):
        self.key, self.number = key, number

    def next(self):
        if self.number > 0 and self.number % self.REKEY == 0:
            self.key = aead_seal(self.key, counter_nonce(2 ** 64 - 1), bytes(32))[:32]
        self.number += 1
        return self.key, counter_nonce(self.number - 1)

    def seal(self, body, payload=b''):
        head = u32(len(body) + 16) + u32(len(payload))
        return head + aead_seal(*self.next(), body, head + payload) + payload

    def open(self, head, sealed, payload):
        return aead_open(*self.next(), sealed, head + payload)


# ---- messages ----

class Codec:
    def __init__(self, page):
        self.page = page

    def bound(self, name, value):
        if value > self.page.limits[name]:
            raise Malformed('over ' + name)
        return value

    def length_size(self, name):
        return 4 if self.page.limits[name] > 65535 else 2

    def get_shape(self, name, r):
        return {f: self.get_field(kind, args, r) for f, kind, *args in self.page.shapes[name]}

    def get_field(self, kind, args, r):
        if kind in ('u8', 'u16', 'u32', 'u64'):
            return r.uint(int(kind[1:]) // 8)
        if kind == 'fixed':
            return r.take(self.page.limits[args[0]])
        if kind == 'bytes':
            return r.take(self.bound(args[0], r.uint(self.length_size(args[0]))))
        count = self.bound(args[-1], r.uint(4))
        if kind == 'list':
            return [self.get_shape(args[0], r) for _ in range(count)]
        return [r.uint(8) if kind == 'nums' else r.take(32) for _ in range(count)]

    def put_shape(self, name, fields):
        return b''.join(self.put_field(kind, args, fields[f]) for f, kind, *args in self.page.shapes[name])

    def put_field(self, kind, args, value):
        if kind in ('u8', 'u16', 'u32', 'u64'):
            return value.to_bytes(int(kind[1:]) // 8, 'big')
        if kind == 'fixed':
            if len(value) != self.page.limits[args[0]]:
                raise Malformed('not ' + args[0])
            return value
        self.bound(args[-1], len(value))
        if kind == 'bytes':
            return len(value).to_bytes(self.length_size(args[0]), 'big') + value
        if kind == 'list':
            return u32(len(value)) + b''.join(self.put_shape(args[0], v) for v in value)
        return u32(len(value)) + b''.join(u64(v) if kind == 'nums' else v for v in value)

    def decode(self, body):
        r = Reader(body)
        number, request = r.uint(2), r.uint(8)
        if number not in self.page.names:
            raise Malformed('an unknown message')
        name = self.page.names[number]
        fields = self.get_shape(name, r)
        r.end()
        return name, request, fields

    def encode(self, name, request, fields):
        return u16(self.page.messages[name][0]) + u64(request) + self.put_shape(name, fields)


# ---- seals ----

class Volume:
    """What can be read with a volume key."""

    def __init__(self, key, volume):
        self.volume = volume
        self.token_key, self.id_key = kdf(key, 'nuagetok', 0), kdf(key, 'nuageid_', 0)
        self.content_key, self.record_key = kdf(key, 'nuagecel', 0), kdf(key, 'nuagerec', 0)

    def token(self, oid, name):
        return blake2b(16, u64(oid) + name, self.token_key)

    def open_record(self, oid, record):
        """The plaintext of a record as `granted` shows it."""
        r = Reader(record['value'])
        head, nonce = r.take(13), r.take(24)
        if head[:5] != b'\1' + u32(0):
            raise Malformed('a record of another format or epoch')
        ad = (head + self.volume + u64(oid) + u8(record['kind']) + u8(len(record['subkey'])) + record['subkey'] +
              u32(len(record['orefs'])) + b''.join(map(u64, record['orefs'])) +
              u32(len(record['brefs'])) + b''.join(record['brefs']))
        return xaead_open(self.record_key, nonce, r.rest(), ad)

    def block_id(self, plain):
        cells = [plain[i:i + 65536] for i in range(0, len(plain), 65536)]
        hashes = b''.join(hashlib.sha256(c).digest() for c in cells)
        return hmac.digest(self.id_key, u32(len(plain)) + hashes, 'sha256')

    def open_block(self, block_id, sealed):
        r = Reader(sealed)
        if r.uint(1) != 1 or r.uint(4) != 0:
            raise Malformed('a block of another format or epoch')
        length, cells, salt = r.uint(4), r.uint(2), r.take(32)
        if not 0 < length <= 1 << 20 or cells != -(-length // 65536):
            raise Malformed('a block of no sane length')
        table = [r.uint(4) for _ in range(cells)]
        key, plain = blake2b(32, block_id + salt, self.content_key), b''
        for i, entry in enumerate(table):
            raw, size = entry >> 31, min(65536, length - i * 65536)
            ad = b'\1' + u32(0) + block_id + u32(length) + u16(i) + u16(cells) + u32(size) + u8(raw)
            cell = aead_open(key, counter_nonce(i), r.take(entry & 0x7fffffff), ad)
            plain += cell if raw else zstd_expand(cell, size)
        r.end()
        return plain


def wrap_key_of_device(secret):
    return derive(secret, 'nuage device wrap key')


def open_wrap(key, volume, wrap):
    if len(wrap) != 73 or wrap[0] != 1:
        raise Malformed('a wrap of another format')
    return xaead_open(key, wrap[1:25], wrap[25:], b'nuage wrap\1' + volume)


# ---- values ----

def value(plain):
    r = Reader(plain)
    if r.uint(1) != 1:
        raise Malformed('a value of another format')
    return r


def i64(r):
    return int.from_bytes(r.take(8), 'big', signed=True)


def get_attr(plain):
    r = value(plain)
    a = {f: r.uint(n) for f, n in (('mode', 4), ('uid', 4), ('gid', 4), ('nlink', 4), ('size', 8), ('rdev', 8),
                                   ('flags', 4))}
    for t in ('atime', 'mtime', 'ctime', 'btime'):
        a[t] = (i64(r), r.uint(4))
    r.take(32)
    a['target'] = r.take(r.uint(2))
    r.end()
    return a


def get_entry(plain):
    r = value(plain)
    kind, name = r.uint(1), r.take(r.uint(1))
    pad = r.rest()
    if any(pad) or len(pad) >= 64 or len(plain) % 64:
        raise Malformed('an entry padded otherwise')
    return name, kind


def get_parent(plain):
    r = value(plain)
    oid = r.uint(8)
    r.end()
    return oid


def get_region(plain):
    r = value(plain)
    extents = [(r.uint(4), r.uint(4), r.uint(4), r.uint(1)) for _ in range(r.uint(1))]
    r.end()
    return extents


def get_xattr(plain):
    r = value(plain)
    name, content = r.take(r.uint(1)), r.take(r.uint(2))
    r.end()
    return name, content


def get_inline(plain):
    return value(plain).rest()


def get_meta(plain):
    r = value(plain)
    meta = r.uint(4), r.uint(4), r.uint(8)
    r.end()
    return meta


# ---- texts and notes ----

def get_address(r):
    address = r.take(r.uint(1)).decode('ascii')
    r.end()
    return address


def checked(data):
    if blake2b(16, data[:-4])[:4] != data[-4:]:
        raise Malformed('mistyped')
    r = Reader(data[:-4])
    if r.uint(1) != 1:
        raise Malformed('a text of another format')
    return r


def get_invitation(text):
    code = ''.join(text.split())[len('nuage-invite-'):]
    r = checked(base64.urlsafe_b64decode(code + '=' * (-len(code) % 4)))
    kind, server, secret = r.uint(1), r.take(32), r.take(32)
    return kind, server, secret, get_address(r)


def get_recovery_code(text):
    digits = [c for c in text[len('nuage-recover-'):].lower() if c != '-' and not c.isspace()]
    n = 0
    for c in digits:
        n = n << 5 | '0123456789abcdefghjkmnpqrstvwxyz'.index({'o': '0', 'i': '1', 'l': '1'}.get(c, c))
    bits = len(digits) * 5
    r = checked((n >> bits % 8).to_bytes(bits // 8, 'big'))
    server, secret = r.take(32), r.take(16)
    return server, secret, get_address(r)


def load_note(path, kind):
    text = open(path, 'rb').read()
    lines, end = text.splitlines(), text.rindex(b'checksum ')
    if lines[0] != b'nuage %s 1' % kind.encode() or lines[-1].split()[1] != blake2b(16, text[:end])[:8].hex().encode():
        raise Malformed(path + ' is damaged')
    return {k: v for k, _, v in (line.decode().partition(' ') for line in lines[1:-1])}


# ---- a client ----

class Connection:
    """A connection that has proved both sides."""

    def __init__(self, address, server, secret, page=None):
        self.page = page or Page()
        self.codec = Codec(self.page)
        self.socket = connect(address)
        self.requests, self.said = 0, []
        noise = Noise(secret, server)
        self.socket.sendall(PREAMBLE + noise.message_1())
        payload, self.out, self.into = noise.message_2(self.take(50))
        if payload != u16(1):
            raise Malformed('no version in common')
        self.hash = noise.h

    def proof(self, secret):
        return session_proof(secret, self.hash)

    def take(self, n):
        data = b''
        while len(data) < n:
            piece = self.socket.recv(n - len(data))
            if not piece:
                raise Malformed('the server hung up')
            data += piece
        return data

    def send(self, name, payload=b'', /, **fields):
        self.requests += 1
        self.socket.sendall(self.out.seal(self.codec.encode(name, self.requests, fields), payload))
        return self.requests

    def receive(self):
        head = self.take(8)
        sealed, payload = struct.unpack('>II', head)
        if sealed < 16 or sealed - 16 > self.page.limits['FRAME_BODY_MAX'] or \
                payload > self.page.limits['FRAME_PAYLOAD_MAX']:
            raise Malformed('a frame over the limits')
        sealed, payload = self.take(sealed), self.take(payload)
        name, request, fields = self.codec.decode(self.into.open(head, sealed, payload))
        if self.page.messages[name][1] == 'client' or (payload and not self.page.messages[name][3]):
            raise Malformed('the server may not say ' + name)
        return name, request, fields, payload

    def answer(self, request):
        """(name, fields, payload) of the answer to a request; what comes before it is kept in `said`."""
        while True:
            name, to, fields, payload = self.receive()
            if to == request:
                return name, fields, payload
            self.said.append((name, fields))

    def call(self, name, expect, payload=b'', /, **fields):
        """Sends a request and returns the fields and payload of its answer."""
        answer, got, payload = self.answer(self.send(name, payload, **fields))
        if answer != expect:
            status = self.page.status.get(got.get('status'), '?')
            raise Malformed('%s: %s %s' % (name, status, got.get('detail', b'').decode()))
        return got, payload


def connect(address):
    if address.startswith('unix:'):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(30)
        s.connect(address[5:])
        return s
    m = re.fullmatch(r'\[([^]]+)\](?::(\d+))?|([^:]+)(?::(\d+))?|([^:]+:[^:]+:.*)', address)
    return socket.create_connection((m[1] or m[3] or m[5], int(m[2] or m[4] or 7440)), timeout=30)


class Home:
    """What one person's nuage keeps: the device, and where a volume is."""

    def __init__(self, home, volume):
        server, _, name = volume.partition('/')
        if not name:
            found = [s for s in os.listdir(home + '/config/volumes')
                     if os.path.exists('%s/config/volumes/%s/%s' % (home, s, volume))]
            server, name = found[0], volume
        device = load_note(home + '/config/device', 'device')
        where = load_note('%s/config/servers/%s' % (home, server), 'server')
        what = load_note('%s/config/volumes/%s/%s' % (home, server, name), 'volume')
        self.secret = bytes.fromhex(device['secret'])
        if x25519(self.secret) != bytes.fromhex(device['public']):
            raise Malformed('the public key is not that of the secret')
        self.address, self.server = where['address'].split(',')[0].strip(), bytes.fromhex(where['key'])
        self.id = bytes.fromhex(what['id'])
        self.key = open_wrap(wrap_key_of_device(self.secret), self.id, bytes.fromhex(what['wrap']))
        self.volume = Volume(self.key, self.id)


class Session:
    """A new session on a volume, its control lane only."""

    def __init__(self, home):
        self.home, self.connection = home, Connection(home.address, home.server, home.secret)
        self.attached, _ = self.attach(self.connection, 0, 0, bytes(32))

    def attach(self, connection, lane, session, secret):
        return connection.call('attach', 'attached', volume=self.home.id, lane=lane, session=session,
                               proof=connection.proof(secret), generation=1, replaces=0, replaces_proof=bytes(32))

    def read(self, oid, kind, first=b'', last_kind=None, last=b'\xff' * 16, limit=1000, depth=0):
        """The answers to a SHARED want of a range of records."""
        kinds = self.connection.page.kinds
        want = {'oid': oid, 'mode': 1, 'kind': kinds[kind], 'from': first, 'last_kind': kinds[last_kind or kind],
                'to': last, 'limit': limit}
        got, _ = self.connection.call('read', 'granted', ticket=0, depth=depth, kinds=1 << kinds['ATTR'], budget=0, size=0,
                                      wants=[want])
        for answer in got['answers'][:1]:
            if self.connection.page.status[answer['status']] != 'OK':
                raise Malformed('object %d: %s' % (oid, self.connection.page.status[answer['status']]))
        return got['answers']

    def list(self, oid=None):
        """(name, DT_ number, object id) of each entry of a directory, by default the root."""
        oid = oid or self.connection.page.limits['OID_ROOT']
        first, entries = bytes(16), []
        while True:
            answer = self.read(oid, 'ENTRY', first)[0]
            for record in answer['records']:
                name, kind = get_entry(self.home.volume.open_record(oid, record))
                if record['subkey'] != self.home.volume.token(oid, name):
                    raise Malformed('an entry under the token of another name')
                entries.append((name, kind, record['orefs'][0]))
            if not answer['more']:
                return entries
            first = (int.from_bytes(answer['records'][-1]['subkey'], 'big') + 1).to_bytes(16, 'big')

    def attributes(self, oid):
        answer = self.read(oid, 'ATTR', last=b'')[0]
        return get_attr(self.home.volume.open_record(oid, answer['records'][0]))

    def content(self, oid, bulk):
        """The bytes of a file; bulk() gives a connection of the bulk lane."""
        kinds, attr = self.connection.page.kinds, self.attributes(oid)
        data = bytearray(attr['size'])
        for record in self.read(oid, 'INLINE', last_kind='REGION')[0]['records']:
            plain = self.home.volume.open_record(oid, record)
            if record['kind'] == kinds['INLINE']:
                data[:len(get_inline(plain))] = get_inline(plain)
            elif record['kind'] == kinds['REGION']:
                start = int.from_bytes(record['subkey'], 'big') << 20
                for offset, length, at, ref in get_region(plain):
                    block = self.block(record['brefs'][ref], bulk())
                    data[start + offset:start + offset + length] = block[at:at + length]
        return bytes(data[:attr['size']])

    def cells(self, block_id, first, count, connection):
        got, payload = connection.call('get', 'block', id=block_id, first=first, count=count)
        if connection.page.status[got['status']] != 'OK':
            raise Malformed('a block: ' + connection.page.status[got['status']])
        size = 43 + 4 * int.from_bytes(payload[9:11], 'big')
        return payload[:size], payload[size:]

    def block(self, block_id, connection):
        head, sealed = self.cells(block_id, 0, 1, connection)
        more = int.from_bytes(head[9:11], 'big') - 1
        if more > 0:
            sealed += self.cells(block_id, 1, more, connection)[1]
        plain = self.home.volume.open_block(block_id, head + sealed)
        if self.home.volume.block_id(plain) != block_id:
            raise Malformed('a block of another name')
        return plain

    def bulk(self):
        c = Connection(self.home.address, self.home.server, self.home.secret)
        self.attach(c, 1, self.attached['session'], self.attached['secret'])
        return c

    def end(self):
        self.connection.call('bye', 'done')


def main(arguments):
    if len(arguments) != 3 or arguments[0] != 'list':
        sys.exit('usage: decoder.py list HOME VOLUME')
    session = Session(Home(arguments[1], arguments[2]))
    for name, _, _ in sorted(session.list()):
        sys.stdout.buffer.write(name + b'\n')
    session.end()


if __name__ == '__main__':
    main(sys.argv[1:])

#!/usr/bin/env python3
"""Reads the committed golden files with the independent decoder (TAP).

The files were written by tests/unit/test_golden.c, whose inputs stand below;
that the decoder, which knows only nuage-protocol(5), finds the same in them
says that the page is right.
"""
import ctypes.util
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import decoder as d

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'golden')
PAGE = d.Page()
CODEC = d.Codec(PAGE)
count = failed = 0


def ok(passed, name, skip=None):
    global count, failed
    count += 1
    failed += not passed
    print('%sok %d - %s%s' % ('' if passed else 'not ', count, name, ' # SKIP ' + skip if skip else ''))


def refuses(name, call, *arguments):
    try:
        call(*arguments)
        ok(False, name)
    except d.Malformed:
        ok(True, name)


def load(file):
    entries, name = {}, None
    for line in open(os.path.join(GOLDEN, file + '.hex')):
        if line.startswith('#') or not line.strip():
            continue
        if line[0].isspace():
            entries[name] += bytes.fromhex(line.strip())
        else:
            name = line.strip().rstrip(':')
            entries[name] = b''
    return entries


def text(s, size):
    return s.encode() + bytes(size - len(s))


VOLUME, VOLUME_KEY = text('volume id 16 by', 16), text('volume key of thirty-two bytes.', 32)
NONCE, SALT = text('nonce of twenty-four by', 24), text('salt of thirty-two bytes, fixed', 32)
SECRET = text('a secret of thirty-two bytes...', 32)
PLAIN = bytes(i // 300 * 7 & 255 for i in range(65536 + 1000))
ADDRESS = 'host.example:7400'


class Filler:
    """The sample that test_golden.c makes of each message: a running count in all fields."""

    def __init__(self, start):
        self.counter = start

    def some(self, n):
        self.counter += n
        return bytes(c & 255 for c in range(self.counter - n, self.counter))

    def number(self, n):
        return int.from_bytes(self.some(n), 'big')

    def shape(self, name):
        return {f: self.field(kind, args) for f, kind, *args in PAGE.shapes[name]}

    def field(self, kind, args):
        if kind[0] == 'u':
            return self.number(int(kind[1:]) // 8)
        if kind == 'fixed':
            return self.some(PAGE.limits[args[0]])
        if kind == 'bytes':
            return self.some(min(5, PAGE.limits[args[0]]))
        if kind == 'list':
            return [self.shape(args[0]) for _ in range(2)]
        if kind == 'ids':
            return [self.some(32), self.some(32)]
        self.some(16)
        return [self.number(8), self.number(8)]


def test_messages():
    golden = load('messages')
    for name, (number, *_) in PAGE.messages.items():
        fill = Filler(number)
        request = fill.number(8)
        made = CODEC.encode(name, request, fill.shape(name))
        ok(golden.pop(name, None) == made, name + ' is as the page says')
        ok(CODEC.encode(*CODEC.decode(made)) == made, name + ' comes back')
        refuses(name + ' with a byte more is refused', CODEC.decode, made + b'\0')
    ok(not golden, 'the page has every message')


def test_values():
    g = load('values')
    at, before = (0x0102030405, 123456789), (-2, 1)
    a = d.get_attr(g['attr-file'])
    ok((a['mode'], a['uid'], a['gid'], a['nlink'], a['size'], a['rdev'], a['flags']) ==
       (0o100640, 1000, 100, 2, 0x0102030405, 0, 1), 'ATTR of a file')
    ok((a['atime'], a['mtime'], a['ctime'], a['btime']) == (at, before, at, before), 'its times')
    ok(d.get_attr(g['attr-device'])['rdev'] == 0x0501, 'ATTR of a device')
    ok(d.get_attr(g['attr-symlink'])['target'] == b'../target', 'ATTR of a symbolic link')
    ok(d.get_entry(g['entry']) == (b'a name', 8), 'ENTRY')
    ok(d.get_parent(g['parent']) == 0x0102030405060708, 'PARENT')
    ok(d.get_region(g['region']) == [(0, 4096, 8192, 0), (65536, 0xf0000, 0x1000, 47)], 'REGION')
    ok(d.get_xattr(g['xattr']) == (b'user.name', b'value'), 'XATTR')
    ok(d.get_inline(g['inline']) == b'content', 'INLINE')
    ok(d.get_meta(g['meta']) == (1, 2, 0x0102030405), 'META')
    ok(len(g) == 9, 'every value was read')


def test_seals():
    g = load('seals')
    v = d.Volume(VOLUME_KEY, VOLUME)
    record = {'kind': 6, 'subkey': b'subkey', 'orefs': [7, 0x0102030405060708],
              'brefs': [text('block id of thirty-two bytes...', 32)], 'value': g['record']}
    ok(v.token(6, b'name') == g['name-token'], 'name token')
    ok(v.open_record(6, record) == b'plaintext', 'a record opens')
    refuses('it does not in another place', v.open_record, 7, record)
    refuses('nor with other references', v.open_record, 6, dict(record, orefs=[7]))
    ok(v.block_id(PLAIN) == g['block-id'], 'block id')
    ok(v.open_block(v.block_id(PLAIN[:700]), g['block-raw']) == PLAIN[:700], 'a raw block opens')
    if ctypes.util.find_library('zstd'):
        ok(v.open_block(g['block-id'], g['block-compressed']) == PLAIN, 'a compressed block opens')
    else:
        ok(True, 'a compressed block opens', 'libzstd is not here')
    for name, made in (('device-wrap-key', d.wrap_key_of_device(SECRET)),
                       ('recovery-wrap-key', d.derive(SECRET[:16], 'nuage recovery wrap key')),
                       ('recovery-device', d.derive(SECRET[:16], 'nuage recovery device')),
                       ('token', d.derive(SECRET, 'nuage invitation token')),
                       ('token-hash', d.blake2b(32, g['token'])),
                       ('invitation-wrap-key', d.derive(SECRET, 'nuage invitation wrap key'))):
        ok(made == g[name], name)
    ok(d.open_wrap(g['invitation-wrap-key'], VOLUME, g['wrap']) == VOLUME_KEY, 'a wrap opens')
    refuses('it does not for another volume', d.open_wrap, g['invitation-wrap-key'], bytes(16), g['wrap'])
    ok(len(g) == 12, 'every seal was read')


def test_transport():
    g = load('transport')
    client, server, client_e = b'\1' + bytes(31), b'\2' + bytes(31), b'\3' + bytes(31)
    noise = d.Noise(client, d.x25519(server), g['preamble'], client_e)
    ok(g['preamble'] == d.PREAMBLE, 'preamble')
    ok(noise.message_1() == g['message-1'], 'message 1')
    payload, send, receive = noise.message_2(g['message-2'])
    ok(payload == b'\0\1', 'message 2')
    ok(noise.h == g['handshake-hash'], 'the hash of the handshake')
    ok(d.session_proof(SECRET, noise.h) == g['session-proof'], 'the proof of a session\'s secret')
    for name, key, number, payload in (('frame', send.key, 0, b''),
                                       ('frame-with-payload', receive.key, 1, b'a sealed block'),
                                       ('frame-after-rekey', send.key, 65536, b'')):
        f = g[name]
        ok(d.FrameKey(key, number).open(f[:8], f[8:], payload) == b'a message', name + ' opens')
        refuses(name + ' does not with another number', d.FrameKey(key, number + 1).open, f[:8], f[8:], payload)
        ok(d.FrameKey(key, number).seal(b'a message', payload) == f + payload, name + ' is made')
    ok(len(g) == 8, 'every frame was read')


def test_texts():
    g = {name: t.decode() for name, t in load('texts').items()}
    ok(d.get_invitation(g['invitation']) == (2, SALT, SECRET, ADDRESS), 'an invitation is read')
    code = g['recovery-code']
    ok(d.get_recovery_code(code) == (SALT, SECRET[:16], ADDRESS), 'a recovery code is read')
    typed = code[:14] + code[14:].upper().replace('-', ' ').replace('0', 'O').replace('1', 'l')
    ok(d.get_recovery_code(typed) == (SALT, SECRET[:16], ADDRESS), 'a recovery code as typed is read')
    wrong = code[:20] + ('2' if code[20] != '2' else '3') + code[21:]
    refuses('a mistyped one is not', d.get_recovery_code, wrong)
    ok(len(g) == 2, 'every text was read')


test_messages()
test_values()
test_seals()
test_transport()
test_texts()
print('1..%d' % count)
sys.exit(failed != 0)

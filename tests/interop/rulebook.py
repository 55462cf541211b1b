#!/usr/bin/env python3
"""The server's rules, one by one, as nuage-protocol(5) states them (TAP).

    rulebook.py NUAGED DIRECTORY       that program, on a directory that is not there yet
"""
import atexit
import os
import socket
import stat
import subprocess
import sys
import time

import decoder as d
from writer import NOTHING, Client, Volume, seal_wrap

DIR, FILE = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o644
DT_DIR, DT_REG = 4, 8
ROOT, META = 2, 1
count = failed = 0


def is_(found, expected, name):
    global count, failed
    count += 1
    failed += found != expected
    print('%sok %d - %s' % ('' if found == expected else 'not ', count, name))
    if found != expected:
        print('# expected %r\n# found    %r' % (expected, found))


def is_closed(client, name, connection=None):
    try:
        while True:
            (connection or client.control).receive()
    except (d.Malformed, ConnectionError) as e:
        is_('hung up' in str(e) or isinstance(e, ConnectionError), True, name)


def kinds(answer):
    return [r['kind'] for r in answer['records']]


# ---- the server ----

with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    PORT = probe.getsockname()[1]
running = None


def stop_server():
    if running is not None:
        running.kill()
        running.wait()


def start_server():
    """Starts it, after a kill when it runs, and waits until it takes orders and connections."""
    global running
    stop_server()
    running = subprocess.Popen([sys.argv[1], '--data', sys.argv[2], '--listen', '127.0.0.1:%d' % PORT],
                               stderr=open(sys.argv[2] + '.log', 'a'))
    for _ in range(400):
        for family, address in ((socket.AF_UNIX, sys.argv[2] + '/admin.sock'), (socket.AF_INET, ('127.0.0.1', PORT))):
            try:
                with socket.socket(family) as s:
                    s.connect(address)
            except OSError:
                break
        else:
            return
        time.sleep(0.05)
    sys.exit('Bail out! the server does not start')


atexit.register(stop_server)
start_server()
kind, SERVER, SECRET, _ = d.get_invitation(subprocess.run([sys.argv[1], 'invite', sys.argv[2]], check=True, text=True,
                                                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout)
ADDRESS = '127.0.0.1:%d' % PORT
TOKEN = d.derive(SECRET, 'nuage invitation token')
is_(kind, 1, 'nuaged invites to the server alone')

# ---- devices and volumes ----

ann = Client(ADDRESS, SERVER)
is_(ann.done('volume_list'), 'DENIED', 'a stranger is denied')
is_closed(ann, 'and hung up on')
ann.control = ann.connect()
is_(ann.done('redeem', token=bytes(32)), 'DENIED', 'an unknown token is denied')
got, _ = ann.control.call('redeem', 'redeemed', token=TOKEN)
is_((got['volume'], got['wrap']), (bytes(16), b''), 'an invitation to the server is redeemed')
is_(ann.done('redeem', token=TOKEN), 'USED', 'but once')

KEY, ID, CODE = os.urandom(32), os.urandom(16), os.urandom(16)
volume = Volume(KEY, ID)
recovery = d.derive(CODE, 'nuage recovery device')
create = {'volume': ID, 'name': b'rules', 'recovery': d.x25519(recovery),
          'wrap': seal_wrap(d.derive(CODE, 'nuage recovery wrap key'), ID, KEY)}
is_(ann.done('volume_create', **dict(create, name=b'a/b')), 'INVALID', 'a volume with a slash in its name is invalid')
is_(ann.done('volume_create', **create), 'OK', 'a volume is created')
is_(ann.done('volume_create', **create), 'EXIST', 'but once')
got, _ = ann.control.call('volume_list', 'volumes')
is_([(v['volume'], v['name'], v['version'], v['objects'], v['sessions']) for v in got['list']],
    [(ID, b'rules', 0, 0, 0)], 'and listed')

# ---- sessions ----

is_(ann.attach(Volume(KEY, bytes(16))), 'DENIED', 'attaching to another volume is denied')
is_(ann.attach(volume, session=99), 'NOENT', 'and to an unknown session not possible')
got = ann.attach(volume)
is_((got['sequence'], got['rejected'], got['version'], got['sessions']), (0, 0, 0, 1), 'a session begins')
is_(((got['first_oid'] - 16) % 65536, got['oid_count']), (0, 65536), 'with a range of object ids')
oids = iter(range(got['first_oid'], got['first_oid'] + got['oid_count']))
again, _ = ann.control.call('alloc', 'allocated')
is_((again['first_oid'] - got['first_oid'], again['oid_count']), (65536, 65536), 'and gets another')
is_(ann.control.call('keepalive', 'alive')[0], {'version': 0, 'sessions': 1}, 'keepalive is answered')
is_(ann.control.call('statfs', 'space', keep=0, want=0)[0]['objects'], 0, 'so is statfs')

bulk = ann.connect()
is_(ann.attach(volume, bulk, 1, generation=ann.generation + 1), 'STALE', 'a bulk lane of another generation is stale')
is_(ann.attach(volume, bulk, 1, proof=bytes(32)), 'DENIED', 'of another secret denied')
is_(ann.attach(volume, bulk, 1, proof=ann.control.proof(ann.session_secret)), 'DENIED', 'and with the proof of another connection')
is_(ann.attach(volume, bulk, 1)['oid_count'], 0, 'the right one is attached')

# ---- reading and committing ----

a, = ann.read(ann.want(ROOT))
is_((a['status'], a['version'], a['records']), (0, 0, []), 'a reserved object is leased unborn')
is_(a['mode'], 2, 'EXCLUSIVE, by who is alone')
a, = ann.read(ann.want(next(oids)))
is_((a['status'], a['mode']), (1, 0), 'another is not')
is_(ann.read(), 'INVALID', 'a read of nothing is invalid')
is_closed(ann, 'and hung up on')
ann.control = ann.connect()
is_(ann.attach(volume)['version'], 0, 'the session goes on')
request = ann.send_read(ann.want(ROOT, limit=0))
ann.control.send('keepalive')
is_(ann.control.receive()[0], 'alive', 'a read waits for the reclaim')
lost, _ = ann.control.call('reclaim', 'reclaimed', last=1, known=1, leases=[
    {'oid': ROOT, 'mode': 2, 'grant': a['grant'], 'base': 0}, {'oid': 500000000, 'mode': 1, 'grant': 9, 'base': 3}])
is_([v['oid'] for v in lost['lost']], [500000000], 'what the server never had is lost')
is_(ann.granted(request)[0]['mode'], 2, 'and then is granted')

status, got = ann.commit(volume.meta(), volume.attr(ROOT, DIR, nlink=2))
is_((status, got['version']), ('OK', 1), 'the first commit makes version 1')
status, got = ann.commit(volume.meta(), sequence=1)
is_((status, got['version']), ('OK', 1), 'sent again it has the same outcome')
is_(ann.commit(volume.meta(), sequence=3)[0], 'SEQUENCE', 'a gap is out of sequence')
status, got = ann.commit(volume.attr(ROOT, DIR, nlink=2))
is_((status, got['rejected']), ('REJECTED', [ROOT]), 'a stored object without a base is refused')
is_(ann.commit()[0], 'SEQUENCE', 'after a rejection nothing goes on')
is_(ann.commit(sequence=2)[0], 'REJECTED', 'the rejection is remembered')
is_(ann.done('reset'), 'OK', 'until reset')

for name, change in (
        ('a PATCH', volume.put(ROOT, 8, b'\1')), ('an ATTR with a subkey', volume.put(ROOT, 1, b'\1', b'x')),
        ('an ENTRY with a short subkey', volume.put(ROOT, 6, b'\1', b'x', [ROOT])),
        ('an ATTR with references', volume.put(ROOT, 1, b'\1', orefs=[ROOT])),
        ('META of another object', volume.put(next(oids), 3, b'\1')),
        ('a DELETE with a value', dict(NOTHING, op=2, oid=ROOT, kind=1, value=b'x')),
        ('a range that ends before it begins', dict(NOTHING, op=3, oid=ROOT, kind=7, subkey=b'b', to=b'a')),
        ('an unknown operation', dict(NOTHING, op=4, oid=ROOT, kind=1))):
    is_(ann.commit(change, bases=[(ROOT, 1)])[0], 'INVALID', name + ' is invalid')

docs, note = next(oids), next(oids)
status, got = ann.commit(
    volume.attr(ROOT, DIR, nlink=3), volume.entry(ROOT, b'docs', DT_DIR, docs), volume.attr(docs, DIR, nlink=2),
    volume.parent(docs, ROOT), volume.entry(docs, b'note', DT_REG, note), volume.attr(note, FILE, 5, flags=2),
    volume.content(note, b'hello'), bases=[(ROOT, 1)])
is_((status, got['version']), ('OK', 2), 'objects are born')
a, = ann.read(ann.want(ROOT, kind=6, last_kind=6), depth=1)
is_(kinds(a), [6], 'a child that is held is not told again')
def give_back(*leases):
    for oid, grant in leases:
        ann.release(oid, grant)


give_back((docs, 0), (note, 0))
a, child, leaf = ann.read(ann.want(ROOT, kind=6, last_kind=6), depth=9, kinds=1 << 1 | 1 << 4 | 1 << 6, size=9999)
is_((kinds(a), child['oid'], kinds(child), leaf['oid'], kinds(leaf)), ([6], docs, [1, 6], note, [1, 4]),
    'a read goes down as many levels')
give_back((docs, child['grant']), (note, leaf['grant']))
a, child = ann.read(ann.want(ROOT, kind=6, last_kind=6), depth=9, kinds=1 << 1 | 1 << 2 | 1 << 6)
is_((kinds(child), child['more']), ([1, 2], 1), 'without size only to the attributes of direct children')
give_back((docs, child['grant']))
a, child = ann.read(ann.want(ROOT, kind=6, last_kind=6), depth=1)
is_((kinds(a), child['oid'], kinds(child), child['mode']), ([6], docs, [1, 2], 2), 'children come with their parent')
a, = ann.read(ann.want(ROOT, limit=1))
is_((kinds(a), a['more']), ([1], 1), 'a range is cut at its limit')
a, = ann.read(ann.want(docs))
is_((kinds(a), a['version'], a['grant']), ([1, 2, 6], 2, child['grant']), 'a lease that suffices keeps its number')
is_(ann.commit(volume.attr(again['first_oid'] + (1 << 24), FILE))[0], 'REJECTED', 'an id that is not ours is not born')
is_(ann.done('reset'), 'OK', 'reset again')
is_(ann.commit(volume.entry(ROOT, b'ghost', DT_REG, next(oids)), bases=[(ROOT, 2)])[0], 'REJECTED',
    'what does not exist is not referred to')
ann.done('reset')
is_(ann.commit(volume.no_entry(ROOT, b'docs'), bases=[(ROOT, 2)])[0], 'REJECTED', 'a directory with entries is not left')
ann.done('reset')

# ---- blocks ----

plain = os.urandom(70000)
name, sealed = volume.block(plain)
size = len(plain)
big = next(oids)
change = [volume.entry(ROOT, b'big', DT_REG, big), volume.attr(big, FILE, size),
          volume.region(big, 0, [(0, size, 0, 0)], [name])]
status, got = ann.commit(*change, bases=[(ROOT, 2)])
is_((status, got['missing']), ('MISSING', [name]), 'a block that is not there is missing')
bulk = ann.connect()
ann.attach(volume, bulk, 1)
is_(bulk.call('put', 'stored', sealed, id=name)[0]['status'], 0, 'it is stored')
is_(bulk.call('put', 'stored', sealed, id=name)[0]['status'], 0, 'and again')
is_(bulk.call('have', 'having', ids=[name, bytes(32)])[0]['present'], b'\1\0', 'and found')
status, got = ann.commit(*change, bases=[(ROOT, 2)])
is_((status, got['version']), ('OK', 3), 'the same sequence is then committed')
answer, payload = bulk.call('get', 'block', id=name, first=1, count=9)
is_((answer['status'], len(payload)), (0, 43 + 2 * 4 + size - 65536 + 16), 'the last cell comes with the header')
is_(bulk.call('get', 'block', id=bytes(32), first=0, count=1)[0]['status'], 1, 'an unknown block is not there')
small, carried = volume.block(b'carried')
status, got = ann.commit(volume.attr(big, FILE, size), volume.region(big, 1, [(0, 7, 0, 0)], [small]),
                         bases=[(big, 3)], blocks=[(small, carried)])
is_(status, 'OK', 'a block travels in a commit')
got, payload = bulk.call('get', 'block', id=small, first=0, count=1)
is_(volume.open_block(small, payload), b'carried', 'and is stored')

# ---- a second device ----

secret, bob = os.urandom(32), Client(ADDRESS, SERVER)
token = d.derive(secret, 'nuage invitation token')
is_(ann.done('volume_invite', volume=ID, token_hash=d.blake2b(32, token), valid_s=100,
             wrap=seal_wrap(d.derive(secret, 'nuage invitation wrap key'), ID, KEY)), 'OK', 'a member invites')
got, _ = bob.control.call('redeem', 'redeemed', token=token)
is_(d.open_wrap(d.derive(secret, 'nuage invitation wrap key'), ID, got['wrap']), KEY, 'the invited gets the key')
is_(bob.done('volume_create', **dict(create, volume=os.urandom(16), name=b'other')), 'DENIED', 'but may not create volumes')
is_(bob.attach(volume)['sessions'], 2, 'and attaches')
request = bob.send_read(bob.want(ROOT))
recall = ann.hear('recall')
is_((recall['oid'], recall['mode']), (ROOT, 1), 'who reads has others asked to share')
ann.release(ROOT, recall['grant'] + 1)
ann.control.call('keepalive', 'alive')
ann.release(ROOT, recall['grant'], 1)
a, = bob.granted(request)
is_((a['mode'], kinds(a)), (1, [1, 6, 6]), 'and is granted when they do')
is_(ann.commit(volume.attr(ROOT, DIR, nlink=3), bases=[(ROOT, a['version'])])[0], 'REJECTED', 'who shares does not change')
ann.done('reset')
request = bob.send_read(bob.want(ROOT, 2), bob.want(docs, 2))
recalls = {r['oid']: r for r in (ann.hear('recall'), ann.hear('recall'))}
is_({o: r['mode'] for o, r in recalls.items()}, {ROOT: 0, docs: 0}, 'who wants to write has all of them recalled')
ann.release(ROOT, recalls[ROOT]['grant'])
bob.control.send('keepalive')
is_(bob.control.receive()[0], 'alive', 'a read is granted whole or not at all')
older = ann.send_read(ann.want(ROOT), ticket=1)
ann.release(docs, recalls[docs]['grant'])
is_(ann.granted(older)[0]['mode'], 1, 'an older operation goes first')
recall = ann.hear('recall')
ann.release(ROOT, recall['grant'])
a, b = bob.granted(request)
is_((a['mode'], b['mode']), (2, 2), 'then the younger one')
status, got = bob.commit(volume.attr(ROOT, DIR, nlink=3), bases=[(ROOT, a['version'])])
is_(status, 'OK', 'and changes')
version = got['version']
request = ann.send_read(ann.want(ROOT, 2))
bob.release(ROOT, bob.hear('recall')['grant'])
a, = ann.granted(request)
is_(a['version'], version, 'the next one sees it')
is_(ann.commit(volume.attr(ROOT, DIR, nlink=3), bases=[(ROOT, version - 1)])[1]['rejected'], [ROOT], 'and may not miss it')
ann.done('reset')

# ---- pins ----

bob.control.send('pin', pins=[{'oid': big, 'on': 1}])
bob.control.call('keepalive', 'alive')
a, b = ann.read(ann.want(ROOT, 2), ann.want(big, 2))
is_(b['pinned'], 1, 'a pin is seen elsewhere')
is_(ann.commit(volume.no_entry(ROOT, b'big'), bases=[(ROOT, a['version'])])[0], 'OK', 'a pinned object loses its name')
request = bob.send_read(bob.want(big))
ann.release(big, ann.hear('recall')['grant'])
is_(bob.granted(request)[0]['status'], 0, 'and lives')
bob.control.send('pin', pins=[{'oid': big, 'on': 0}])
is_(bob.read(bob.want(big))[0]['status'], 1, 'until it is let go')
status, got = ann.commit(volume.entry(ROOT, b'late', DT_REG, big), bases=[(ROOT, version)])
is_(status, 'REJECTED', 'and cannot be had back')
ann.done('reset')
is_(ann.commit(volume.attr(big, FILE))[0], 'REJECTED', 'nor born again')
ann.done('reset')

# ---- fencing ----

lanes = [bulk] + [ann.connect() for _ in range(16)]
is_([ann.attach(volume, lane, 1) == 'BUSY' for lane in lanes[1:]], [False] * 15 + [True], 'a session has 16 bulk lanes')
old, sequence = ann.control, ann.sequence
ann.control = ann.connect()
got = ann.attach(volume)
is_((got['sequence'], got['rejected']), (sequence, 0), 'a new connection learns the last sequence')
is_closed(ann, 'the old one is closed', old)
is_closed(ann, 'and so are bulk lanes', bulk)
late = ann.connect()
ann.generation -= 1
is_(ann.attach(volume, late), 'STALE', 'an old generation is stale')
other = ann.connect()
is_(ann.done('get', other, id=small, first=0, count=1), 'INVALID', 'blocks are for attached bulk lanes')
is_closed(ann, 'others are hung up on', other)
is_(ann.control.call('reclaim', 'reclaimed', last=1, known=1, leases=[])[0]['lost'], [], 'nothing is reclaimed')
is_(ann.read(ann.want(ROOT, 1))[0]['status'], 0, 'and all can be read')
is_(ann.done('reclaim', last=1, known=1, leases=[]), 'INVALID', 'reclaiming twice is invalid')

# ---- a restart ----

ann.control = ann.connect()
boot, sequence = ann.attach(volume)['boot'], ann.sequence
ann.control.call('reclaim', 'reclaimed', last=1, known=1, leases=[])
a, = ann.read(ann.want(ROOT, 1))
held = {'oid': ROOT, 'mode': a['mode'], 'grant': a['grant'], 'base': a['version']}
start_server()
bob.control, ann.control = bob.connect(), ann.connect()
got = bob.attach(volume)
is_((got['sequence'], got['boot'] != boot), (bob.sequence, True), 'a killed server knows its sessions')
bob.control.call('reclaim', 'reclaimed', last=1, known=1, leases=[])
request = bob.send_read(bob.want(ROOT, 2))
bob.control.send('keepalive')
is_(bob.control.receive()[0], 'alive', 'until all have reclaimed nothing is granted')
is_(ann.attach(volume)['sequence'], sequence, 'it knows what was committed')
is_(ann.control.call('reclaim', 'reclaimed', last=1, known=1, leases=[held])[0]['lost'], [], 'a lease is reclaimed')
recall = ann.hear('recall')
is_((recall['oid'], recall['grant']), (ROOT, held['grant']), 'and recalled')
ann.release(ROOT, recall['grant'])
is_(bob.granted(request)[0]['version'], held['base'], 'and then granted')

start_server()
bob.control, ann.control = bob.connect(), ann.connect()
known = ann.attach(volume)['first_oid']
is_([v['oid'] for v in ann.control.call('reclaim', 'reclaimed', last=1, known=0, leases=[held])[0]['lost']], [ROOT],
    'who claims what he never held waits until all are back')
bob.attach(volume)
bob.control.call('reclaim', 'reclaimed', last=1, known=1, leases=[])
ann.control = ann.connect()
ann.attach(volume)
is_(ann.control.call('reclaim', 'reclaimed', last=1, known=known, leases=[held])[0]['lost'], [], 'and has it if nobody else has')
ann.release(ROOT, held['grant'])

# ---- recovery, and the end ----

rec, carl = Client(ADDRESS, SERVER, recovery), Client(ADDRESS, SERVER)
got, _ = rec.control.call('wrap_get', 'wrap', volume=bytes(16))
is_((got['volume'], d.open_wrap(d.derive(CODE, 'nuage recovery wrap key'), ID, got['wrap'])), (ID, KEY),
    'a recovery device gets the key')
is_(rec.done('device_add', volume=ID, device=carl.public), 'OK', 'and adds a device')
is_(bob.control.call('keepalive', 'alive')[0]['sessions'], 2, 'two sessions are there')
got = carl.attach(volume, replaces=ann.session, replaces_proof=bytes(32))
is_(got, 'DENIED', 'nobody replaces the session of another device')
is_(carl.attach(volume)['sessions'], 3, 'the added device attaches')
is_(carl.done('bye'), 'OK', 'and says bye')
is_(bob.control.call('keepalive', 'alive')[0]['sessions'], 2, 'its session is gone')
names = [d.get_entry(volume.open_record(ROOT, r))[0] for r in bob.read(bob.want(ROOT, kind=6, last_kind=6))[0]['records']]
is_(names, [b'docs'], 'the volume holds what was committed')
is_(bob.done('bye'), 'OK', 'bye')
print('1..%d' % count)
sys.exit(failed != 0)

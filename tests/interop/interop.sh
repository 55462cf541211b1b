#!/bin/bash
# interop.sh - what nuage writes, the independent decoder reads: over the wire
# as a joined device, and from the server's store after it was killed.
. "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}/tests/lib.sh"
needs fuse python3

interop=$top_srcdir/tests/interop
mount=$(mnt ann)

# The names in the mount's root, sorted as bytes.
names() { (cd "$mount" && find . -mindepth 1 -maxdepth 1 -printf '%P\n' | LC_ALL=C sort); }

write_some() {
	mkdir "$mount/a directory" "$mount/ünïcode"
	for i in $(seq 40); do echo "$i" >"$mount/file-$i"; done
	ln -s file-1 "$mount/link"
	head -c 1200000 /dev/urandom >"$T/random"
	cp "$T/random" "$mount/large"
	yes "compress me" | head -c 200000 >"$mount/compressible"
	printf '%0255d' 0 | xargs -I{} touch "$mount/{}"
	mv "$mount/file-40" "$mount/renamed"
	rm "$mount/file-39"
	flush_client ann
}

lists_the_same() {
	"$interop/decoder.py" list "$T/ann.home" vol >"$T/decoded"
	diff "$T/names" "$T/decoded"
}

reads_the_same() {	# NAME
	python3 - "$interop" "$T/ann.home" "$1" >"$T/content" <<'END'
import sys
sys.path.insert(0, sys.argv[1])
import decoder
session = decoder.Session(decoder.Home(sys.argv[2], 'vol'))
lane = session.bulk()
oid = {name.decode(): oid for name, _, oid in session.list()}[sys.argv[3]]
sys.stdout.buffer.write(session.content(oid, lambda: lane))
session.end()
END
	cmp "$mount/$1" "$T/content"
}

# Type, mode, links, size, time of change and target of every name, as stat(1) has them.
stats_the_same() {
	(cd "$mount" && LC_ALL=C stat -c '%f %h %s %.9Y %n' -- *) | LC_ALL=C sort >"$T/stated"
	python3 - "$interop" "$T/ann.home" <<'END' | LC_ALL=C sort | diff "$T/stated" -
import sys
sys.path.insert(0, sys.argv[1])
import decoder
session = decoder.Session(decoder.Home(sys.argv[2], 'vol'))
for name, _, oid in session.list():
    a = session.attributes(oid)
    print('%x %d %d %d.%09d %s' % (a['mode'], a['nlink'], a['size'], *a['mtime'], name.decode()))
session.end()
END
}

# A device that nobody invited, and one that knows another server.
strangers_are_refused() {
	python3 - "$interop" "$T/ann.home" <<'END'
import sys
sys.path.insert(0, sys.argv[1])
import decoder
home = decoder.Home(sys.argv[2], 'vol')
for secret, server in ((bytes(range(32)), home.server), (home.secret, decoder.x25519(bytes(range(32))))):
    home.secret, home.server = secret, server
    try:
        decoder.Session(home)
        sys.exit('let in')
    except decoder.Malformed as e:
        print(e)
END
}

stored_the_same() {
	"$interop/store.py" check "$server_data/store"
	"$interop/store.py" list "$server_data/store" "$T/ann.home" vol >"$T/stored"
	diff "$T/names" "$T/stored"
}

start_server
first_client ann vol
mount_client ann vol
check "names are written" write_some
names >"$T/names"
check "the decoder lists exactly these" lists_the_same
check "the decoder finds their attributes" stats_the_same
for name in file-1 large compressible; do
	check "the decoder reads $name" reads_the_same "$name"
done
check "strangers are refused" strangers_are_refused
check "the mount works on" touch "$mount/afterwards"
flush_client ann && names >"$T/names"
kill_server
check "the store of a killed server holds the same" stored_the_same
start_server
check "the server goes on with it" flush_client ann
check_here "the volume is unmounted" umount_client ann
stop_server
check "the store of a stopped server holds the same" stored_the_same
tap_done

#!/bin/bash
# space.sh - a full server: the writer is told, what was there stays, freeing helps.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
needs fuse root python3 openssl
mkdir "$server_data"
# Small, but room for the store's own files.
size_mb=${SPACE_MB:-256}
mount -t tmpfs -o size=${size_mb}m,mode=700 tmpfs "$server_data" || skip_all "no tmpfs"
# So that little is left for records when no whole segment of the log is.
configure_server reserve_bytes $((size_mb * 46 / 256))M
start_server
first_client ann vol
mount_client ann vol
M=$(mnt ann)
random_file "$T/piece" 8000000

# fill PREFIX: pieces, each fsynced, until one fails; their number goes to $T/PREFIX.count.
fill() {
	local n=0 error
	while [ $n -lt $((size_mb / 4)) ]; do
		# Each piece differs, or deduplication would make room for all of them.
		error=$( { { echo "$1 $n"; openssl enc -chacha20 -pass "pass:$1$n" -nosalt -pbkdf2 -iter 1 -in "$T/piece"; } |
			cat >"$M/$1.$n" && sync "$M/$1.$n"; } 2>&1 ) || break
		sha256sum "$M/$1.$n" >>"$T/sums"
		n=$((n + 1))
	done
	echo $n >"$T/$1.count"
	echo "$n pieces, then: $error"
	grep -q 'No space left on device' <<<"$error"
}

# What write() took before it told of a full server is there: all of it can be synced.
acknowledged_is_kept() {
	python3 - "$M/one" <<-'PY' || return
	import errno, os, random, sys
	fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
	source, done = random.Random(7), 0
	try:
	    while done < 1 << 30:
	        burst = [source.randbytes(1 << 20) for _ in range(96)]
	        os.fsync(fd)		# and then faster than the server takes it
	        for piece in burst:
	            done += os.write(fd, piece)
	except OSError as e:
	    assert e.errno == errno.ENOSPC, e
	print(done, "bytes were taken")
	assert 32 << 20 < done < 1 << 30
	os.fsync(fd)
	PY
	flush_client ann && remount_client ann vol || return
	python3 - "$M/one" <<-'PY' || return
	import random, sys
	source = random.Random(7)
	with open(sys.argv[1], "rb") as f:
	    while piece := f.read(1 << 20):
	        assert piece == source.randbytes(1 << 20)[:len(piece)], f.tell()
	PY
	rm "$M/one"
}

full() {
	: >"$T/sums"
	fill first
	[ "$(cat "$T/first.count")" -ge 3 ]
}

nothing_lost() {
	(cd / && sha256sum --quiet -c "$T/sums")
}

still_usable() {	# reading, listing, removing, statfs
	ls -l "$M" >/dev/null
	df "$M" >/dev/null
	rm "$M/first.$(cat "$T/first.count")"
}

small_survives_restart() {
	# The piece that did not fit waits in the client until it does, or goes.
	rm -f "$M/second.$(cat "$T/second.count")"
	remount_client ann vol && nothing_lost
}

server_restarts_full() {
	stop_server
	start_server
	nothing_lost
}

room_comes_back() {
	local n
	n=$(cat "$T/first.count")
	grep -v "first\.[01]$" "$T/sums" >"$T/sums.kept"
	mv "$T/sums.kept" "$T/sums"
	rm "$M/first.0" "$M/first.1"
	# Space is freed after a delay, in the background; who wants it meanwhile waits for it.
	one_more
	nothing_lost
}

one_more() {
	cp "$T/piece" "$M/more" && sync "$M/more" && cmp "$T/piece" "$M/more"
}

# Files that could be made are there, and what cannot be made says so; a removal makes room for more.
small_ones() {
	local i n=0
	fill third
	rm "$M/third.$(cat "$T/third.count")"
	mkdir "$M/small"
	while [ $n -lt 100000 ] && head -c 3000 "$T/piece" 2>/dev/null >"$M/small/$n"; do
		n=$((n + 1))
	done
	echo "$n small files"
	[ $n -lt 100000 ]
	flush_client ann
	rm -f "$M/small/$n"
	rm "$M/first.2" "$M/first.3"
	grep -v "first\.[23]$" "$T/sums" >"$T/sums.kept"
	mv "$T/sums.kept" "$T/sums"
	cp "$T/piece" "$M/another" && sync "$M/another"
	for i in $(seq 0 $((n - 1))); do
		cmp -n 3000 "$T/piece" "$M/small/$i"
	done
	rm -r "$M/small" "$M/another"
	nothing_lost
}

# to_the_brim FILE SEED: writes until write() says ENOSPC, with no fsync before; then syncs all that was taken.
to_the_brim() {
	python3 - "$1" "$2" <<-'PY'
	import errno, os, random, sys
	source, done = random.Random(sys.argv[2]), 0
	fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
	try:
	    while done < 1 << 30:
	        piece = source.randbytes(100000)
	        while piece:
	            n = os.write(fd, piece)
	            done, piece = done + n, piece[n:]
	    raise SystemExit("never full")
	except OSError as e:
	    assert e.errno == errno.ENOSPC, e
	os.fsync(fd)
	os.close(fd)
	print(done, "bytes", flush=True)
	PY
}

# brim_is FILE SEED: all of it is what was written.
brim_is() {
	python3 - "$1" "$2" <<-'PY'
	import random, sys
	source = random.Random(sys.argv[2])
	with open(sys.argv[1], "rb") as f:
	    while piece := f.read(100000):
	        assert piece == source.randbytes(100000)[:len(piece)], f.tell()
	PY
}

# What two clients took together fits, each byte of it; each sees the other's.
two_fill_it() {
	local taken one other
	another_client bob vol ann
	mount_client bob vol
	rm -f "$M"/*.*
	to_the_brim "$M/a" 1 >"$T/brim.a" 2>&1 &
	to_the_brim "$(mnt bob)/b" 2 >"$T/brim.b" 2>&1 || { cat "$T/brim.b"; wait; return 1; }
	wait $! || { cat "$T/brim.a"; return 1; }
	one=$(sed -n 's/ bytes//p' "$T/brim.a")
	other=$(sed -n 's/ bytes//p' "$T/brim.b")
	taken=$((one + other))
	echo "$one + $other bytes"
	[ "$one" -eq "$(stat -c %s "$(mnt bob)/a")" ]
	[ "$other" -eq "$(stat -c %s "$M/b")" ]
	[ $taken -gt $((size_mb * 1048576 / 2)) ]
	flush_client ann
	flush_client bob
	remount_client ann vol
	remount_client bob vol
	brim_is "$(mnt bob)/a" 1
	brim_is "$M/b" 2
}

# On a full server removing needs no space, and gives it back.
removed_by_the_other() {
	local one
	rm "$(mnt bob)/a" "$M/b"
	flush_client ann
	flush_client bob
	to_the_brim "$M/a" 3 >"$T/brim.a" 2>&1 || { cat "$T/brim.a"; return 1; }
	one=$(sed -n 's/ bytes//p' "$T/brim.a")
	echo "$one bytes"
	[ "$one" -gt $((size_mb * 1048576 / 2)) ]
	rm "$M/a"
	umount_client bob
}

emptied() {
	rm -f "$M"/first.* "$M"/third.* "$M/more"
	: >"$T/sums"
	fill second
	rm "$M/second.$(cat "$T/second.count")"		# or it stays unsaved, and the mount with it
	[ "$(cat "$T/second.count")" -ge $(($(cat "$T/first.count") - 1)) ]
	nothing_lost
}

# A client whose disk has no room for a journal: what it answers is on the server.
client_disk_full() {
	local home="$T/ann.home" small="$T/small"
	umount_client ann
	mkdir "$small"
	mount -t tmpfs -o size=6m none "$small"
	rm -rf "$home/cache"		# it would fill that disk
	cp -a "$home/." "$small/"
	mount --bind "$small" "$home"
	mount_client ann vol -o commit=3600
	echo through >"$M/through"
	head -c 3000000 "$T/piece" >"$M/much"
	client ann status "$M" | tee "$T/status"
	grep -q "NO ROOM on this machine's disk" "$T/status"
	client ann status --json "$M" | grep -q '"journal": "full"'
	grep -c "the journal cannot grow" "$T/ann.log"
	kill_client ann
	mount_client ann vol -o commit=3600
	[ "$(cat "$M/through")" = through ]
	head -c 3000000 "$T/piece" | cmp - "$M/much"
	# With room it goes on as ever: what is answered is in the journal.
	mount -o remount,size=64m "$small"
	wait_for 10 journal_is on
	echo again >"$M/again"
	grep "the journal can grow again" "$T/ann.log"
	kill_client ann
	mount_client ann vol
	[ "$(cat "$M/again")" = again ]
	umount_client ann
	umount "$home"
	umount "$small"
	mount_client ann vol
	rm "$M/through" "$M/much" "$M/again"
	flush_client ann
}

journal_is() { client ann status --json "$M" | grep -q "\"journal\": \"$1\""; }

# Done while the server was away, and back it is full: the volume can be mounted, to remove what is in the way.
left_in_the_journal() {
	local i
	rm -rf "${M:?}"/*
	for i in 1 2 3 4; do piece_of "old $i" 8000000 >"$M/old.$i"; done
	flush_client ann
	stop_server
	mkdir "$M/dir"
	piece_of new 20000000 >"$M/dir/new"
	echo small >"$M/small"
	rm "$M/old.1"
	kill_client ann
	start_server
	wait_for 60 store_within $((size_mb / 4))	# it has yet to free what is dead
	# All but the store's reserve, and some.
	fallocate -l $(($(stat -f -c '%a * %S' "$server_data") - (size_mb * 46 / 256 + 4) * 1048576)) "$server_data/others"
	mount_client ann vol
	wait_for 20 removed "$M/old.1"		# goes ahead of what waits
	client ann status "$M" | tee "$T/status"
	grep -q "cannot be done again now: No space left on device" "$T/status"
	client ann status --json "$M" | grep -q '"journal": "stranded"'
	not client ann sync "$M"
	cmp <(piece_of "old 4" 8000000) "$M/old.4"
	# What is in the journal outlives this mount as well.
	kill_client ann
	mount_client ann vol
	rm "$M/old.2" "$M/old.3"
	wait_for 60 journal_is on
	cmp <(piece_of new 20000000) "$M/dir/new"
	[ "$(cat "$M/small")" = small ]
	[ "$(ls "$M")" = $'dir\nold.4\nsmall' ]
	flush_client ann
	rm "$server_data/others"
	remount_client ann vol
	cmp <(piece_of new 20000000) "$M/dir/new"
	rm -r "$M/dir" "$M/small" "$M/old.4"
}

# piece_of WORDS BYTES: always the same, and like no other.
piece_of() {
	head -c "$2" /dev/zero | openssl enc -chacha20 -pass "pass:$1" -nosalt -pbkdf2 -iter 1
}

removed() { [ ! -e "$1" ]; }
store_within() { [ "$(du -sm "$server_data" | cut -f1)" -le "$1" ]; }	# MIB

# First, as long as nothing dead takes part of what it counts with.
check_here "a journal that does not fit the server waits, and the volume is mounted" left_in_the_journal
check_here "what write() took fits" acknowledged_is_kept
check "a full server answers ENOSPC" full
check "what was synced before is there" nothing_lost
check "a full volume can be read, listed and removed from" still_usable
check_here "a full server restarts, with all it had" server_restarts_full
check "removing makes room" room_comes_back
check "small files fill it to the end, and no further" small_ones
check "an emptied volume takes as much again" emptied
check_here "a remount finds all" small_survives_restart
check_here "what two clients could write fits" two_fill_it
check_here "they remove it again, and its space comes back" removed_by_the_other
# Others fill the server's disk, to the last byte: it refuses what adds, lives, and goes on when they are gone.
filled_by_others() {
	local i n=0
	rm -f "$M"/*.*
	mkdir "$M/many"
	cp "$T/piece" "$M/before" && sync "$M/before"
	for i in $(seq 3000); do echo "$i" >"$M/many/$i"; done
	# While changes wait in the server's memory, too.
	head -c 1000M /dev/zero >"$server_data/others" 2>/dev/null
	for i in $(seq 200); do
		chmod 600 "$M/many/$i" 2>/dev/null
		echo "$i more" 2>/dev/null >"$M/many/more.$i" && n=$((n + 1))
	done
	echo "$n files more"
	sleep 5		# two commits of theirs
	kill -0 "$server_pid"
	rm "$server_data/others"
	wait_for 30 flush_client ann
	cmp "$T/piece" "$M/before"
	[ "$(cat "$M/many/3000")" = 3000 ]
	for i in $(seq 3000); do
		[ ! -s "$M/many/more.$i" ] || [ "$(cat "$M/many/more.$i")" = "$i more" ]
	done
	echo after >"$M/after" && sync "$M/after"
	stop_server
	start_server
	[ "$(cat "$M/after")" = after ]
}

check_here "a full disk on the client" client_disk_full
check_here "a disk that others fill" filled_by_others
tap_done

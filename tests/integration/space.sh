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

# What write() took before it told of a full server is there, fsync or not, but for the last few writes.
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
	os.ftruncate(fd, done - (4 << 20))	# the rest is given up
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

# Small files wait in the client for room; what is removed then leaves together with them.
unsaved_waits_for_removal() {
	local batch i n=0
	fill third
	rm "$M/third.$(cat "$T/third.count")"
	mkdir "$M/small"
	for batch in $(seq 40); do
		for i in $(seq 100); do
			head -c 3000 "$T/piece" 2>/dev/null >"$M/small/$n" || break 2
			n=$((n + 1))
		done
		flush_client ann || break
	done
	echo "$n small files"
	not flush_client ann
	rm "$M/first.2" "$M/first.3"
	grep -v "first\.[23]$" "$T/sums" >"$T/sums.kept"
	mv "$T/sums.kept" "$T/sums"
	flush_client ann
	for i in $(seq 0 $((n - 1))); do
		cmp -n 3000 "$T/piece" "$M/small/$i"
	done
	cp "$T/piece" "$M/another" && sync "$M/another"
	rm -r "$M/small" "$M/another"
	nothing_lost
}

emptied() {
	rm -f "$M"/first.* "$M"/third.* "$M/more"
	: >"$T/sums"
	fill second
	rm "$M/second.$(cat "$T/second.count")"		# or it stays unsaved, and the mount with it
	[ "$(cat "$T/second.count")" -ge $(($(cat "$T/first.count") - 1)) ]
	nothing_lost
}

check_here "what write() took fits, but for the last of it" acknowledged_is_kept
check "a full server answers ENOSPC" full
check "what was synced before is there" nothing_lost
check "a full volume can be read, listed and removed from" still_usable
check_here "a full server restarts, with all it had" server_restarts_full
check "removing makes room" room_comes_back
check "a removal makes room for what waits before it" unsaved_waits_for_removal
check "an emptied volume takes as much again" emptied
check_here "a remount finds all" small_survives_restart
tap_done

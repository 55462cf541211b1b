#!/bin/bash
# space.sh - a full server: the writer is told, what was there stays, freeing helps.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
needs fuse root python3 openssl
mkdir "$server_data"
# Small, but room for the store's own files.
size_mb=${SPACE_MB:-256}
mount -t tmpfs -o size=${size_mb}m,mode=700 tmpfs "$server_data" || skip_all "no tmpfs"
start_server
first_client ann vol
mount_client ann vol
M=$(mnt ann)
random_file "$T/piece" 8000000
free_at_first=$(df -m --output=avail "$M" | tail -1)

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
	flush_client ann
	# Space is freed after a delay, in the background.
	wait_for 30 one_more
	nothing_lost
}

one_more() {
	cp "$T/piece" "$M/more" && sync "$M/more" && cmp "$T/piece" "$M/more"
}

free_mb() { df -m --output=avail "$M" | tail -1; }
free_again() { [ "$(free_mb)" -ge $((free_at_first * 7 / 10)) ]; }

emptied() {
	rm -f "$M"/first.* "$M/more"
	flush_client ann
	: >"$T/sums"
	# The server frees in the background, after a delay.
	wait_for 40 free_again
	fill second
	rm "$M/second.$(cat "$T/second.count")"		# or it stays unsaved, and the mount with it
	[ "$(cat "$T/second.count")" -ge $(($(cat "$T/first.count") / 2)) ]
	nothing_lost
}

check "a full server answers ENOSPC" full
check "what was synced before is there" nothing_lost
check "a full volume can be read, listed and removed from" still_usable
check_here "a full server restarts, with all it had" server_restarts_full
check "removing makes room" room_comes_back
check "an emptied volume takes as much again" emptied
check_here "a remount finds all" small_survives_restart
tap_done

#!/bin/bash
# pin.sh - blocks on this machine's disk, and subtrees kept there: fast without a
# server near, and complete without one at all.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
needs fuse root netns python3
[ -x "$tools/wanlink" ] || skip_all "wanlink is not built"
configure_server term_ms 5000
configure_server skew_ms 1000
link_up -d 1 -r 1000
start_server
first_client ann vol
another_client bob vol ann
M=$(mnt ann) B=$(mnt bob)
near_ns=$server_ns	# bob lives at the server's end, which is not cut
cache=$T/ann.home/cache

ann_status() { client ann status >"$T/status" 2>"$T/status.err"; cat "$T/status"; }
ann_is() { ann_status | grep -q "$1"; }
ann_is_back() { ann_status | grep -q "everything is on the server" && not grep -q "OFFLINE\|to be done again" "$T/status"; }
go_offline() { link_cut && wait_for 40 ann_is OFFLINE; }
come_back() { link_restore && wait_for 60 ann_is_back; }
at_once() { timeout 3 "$@"; }
host_down() {	# COMMAND...: it fails so, at once
	not at_once "$@" >"$T/down" 2>&1 && grep -q "Host is down" "$T/down" && return
	cat "$T/down"
	return 1
}

fact() {	# NAME: a number of ann's status
	client ann status --json | python3 -c 'import json, sys
print(json.load(sys.stdin)[0][sys.argv[1]])' "$1"
}
cached_files() { find "$cache" -type f -name '*-*' 2>/dev/null; }
cached_bytes() { find "$cache" -type f -name '*-*' -printf '%s\n' 2>/dev/null | awk '{ n += int(($1 + 4095) / 4096) * 4096 } END { print n + 0 }'; }
# with OPTIONS: ann's mount, anew.
with() {
	[ -z "${client_pids[ann]-}" ] || umount_client ann || return
	drop_caches
	mount_client ann vol -o "$1"
}

# Until the cache has stopped changing: the thread that stores has the lowest priority, and others use the machine.
cache_settles() {
	local before=-1 now same=0
	while [ $same -lt 6 ]; do
		now=$(cached_bytes)
		same=$((now == before ? same + 1 : 0)) before=$now
		sleep 0.3
	done
}
# The kernel forgets every page.
forget_pages() { sync; echo 3 >/proc/sys/vm/drop_caches; }

# ---- the cache on disk ----

read_again() {	# from disk, after a remount, without a fetch from the server
	mount_client ann vol -o diskcache=64M
	random_file "$T/source" 20000000 && cp "$T/source" "$M/data" && random_file "$M/tiny" 100 && flush_client ann || return
	with diskcache=64M && cmp "$T/source" "$M/data" && cache_settles || return
	[ "$(cached_bytes)" -gt 20000000 ] && [ "$(cached_bytes)" = "$(fact disk_bytes)" ] || return
	with diskcache=64M && cmp "$T/source" "$M/data" || return
	ann_status && grep -q "cache on disk: [1-9][0-9.]* of 64 MiB" "$T/status" || return
	[ "$(fact disk_hits)" -ge 19 ] || return
	# In pieces, and from somewhere in the middle.
	forget_pages
	python3 -c 'import os, random, sys
a, b = (os.open(p, os.O_RDONLY) for p in sys.argv[1:])
for n in range(300):
    at, size = random.randrange(20000000), random.randrange(1, 300000)
    assert os.pread(a, size, at) == os.pread(b, size, at), (at, size)' "$T/source" "$M/data" || return
	is 700 "$(stat -c %a "$cache"/*/)" && not grep -rq nuage.sh "$cache"
}

sealed() {	# no plaintext on disk
	yes "a line that is easily found" | head -c 3000000 >"$M/plain" && flush_client ann &&
		with diskcache=64M && cat "$M/plain" >/dev/null && cache_settles || return
	[ "$(cached_files | wc -l)" -ge 22 ] && not grep -rqa "easily" "$cache"
}

stale() {	# what another client changes is not served from disk
	client_ns=$near_ns mount_client bob vol
	printf "%070000d" 1 >"$M/both" && flush_client ann && cat "$B/both" | cksum >/dev/null &&
		printf "%070000d" 2 >"$B/both" && client_ns=$near_ns client bob sync "$B" || return
	is 2 "$(tail -c 1 "$M/both")" && printf 3 | dd of="$B/both" bs=1 seek=69999 conv=notrunc 2>/dev/null &&
		is 3 "$(tail -c 1 "$M/both")" && client_ns=$near_ns client bob umount "$B"
}

damaged() {	# files of the cache are changed, cut, emptied, exchanged
	with diskcache=64M && cat "$M/data" >/dev/null && cache_settles && umount_client ann || return
	cached_files | python3 -c 'import os, random, shutil, sys
names = [n.rstrip("\n") for n in sys.stdin]
assert len(names) >= 19, names
for i, n in enumerate(names):
    size = os.path.getsize(n)
    if i % 5 == 0:
        os.truncate(n, random.randrange(size))
    elif i % 5 == 1:
        with open(n, "r+b") as f:
            f.seek(random.randrange(size)); b = f.read(1); f.seek(-1, 1); f.write(bytes([b[0] ^ 64]))
    elif i % 5 == 2:
        os.truncate(n, 0)
    elif i % 5 == 3:
        shutil.copyfile(names[(i + 1) % len(names)], n)' || return
	with diskcache=64M
	cmp "$T/source" "$M/data" && cmp "$T/source" "$M/data" && forget_pages && cmp "$T/source" "$M/data"
}

fits() { [ "$(cached_bytes)" -le 8388608 ]; }
bounded() {	# by a smaller size at the next mount, soon, and while it is written
	with diskcache=8M,cache=4M && wait_for 30 fits || return
	for n in 1 2 3; do
		cat "$M/data" >/dev/null & 
		local reader=$!
		while kill -0 $reader 2>/dev/null; do
			# A listing is not of one moment: a file that went may be in it beside the one it made room for.
			fits || fits || fits || fits || { echo "$(cached_bytes) bytes"; return 1; }
		done
		wait $reader
		forget_pages
	done
	cache_settles && echo "$(cached_bytes) bytes" && [ "$(cached_bytes)" -gt 4000000 ] && fits && [ "$(fact disk_bytes)" -le 8388608 ]
}

switched_off() {
	[ -z "${client_pids[ann]-}" ] || umount_client ann || return
	rm -rf "$cache" || return
	mount_client ann vol -o diskcache=0
	cmp "$T/source" "$M/data" && not test -e "$cache" && not ann_is "cache on disk" || return
	says "at least 4M" client ann mount vol /nowhere -o diskcache=1M
}

full_disk() {	# it does without, and says so once
	umount_client ann && mkdir -p "$cache" && mount -t tmpfs -o size=6m none "$cache" || return
	with diskcache=64M
	cmp "$T/source" "$M/data" && cache_settles && cmp "$T/source" "$M/data" || return
	is 1 "$(grep -c "takes nothing now: No space left" "$T/ann.log")" && wait_for 10 ann_is "takes nothing now" || return
	umount_client ann && wait_for 10 umount "$cache"
}

two_mounts() {	# of one volume, with one cache
	local home=$T/other.home
	mkdir -p "$home" && cp -a "$T/ann.home/config" "$home/" && ln -sfn "$cache" "$home/cache" || return
	mount_client ann vol -o diskcache=64M
	mkdir -p "$T/other" && ( export NUAGE_HOME=$home; in_ns "$client_ns" "$NUAGE" mount vol "$T/other" -o diskcache=64M --log "$T/other.log" ) || return
	cmp "$T/source" "$M/data" && cmp "$T/source" "$T/other/data" && cache_settles && grep -q "another mount of the volume uses" "$T/other.log" || return
	NUAGE_HOME=$home "$NUAGE" umount "$T/other"
}

without_server() {	# what is in no memory comes from disk, what is nowhere fails at once
	with diskcache=64M,cache=4M,offline || return
	random_file "$M/unread" 3000000 && umount_client ann || return
	mount_client ann vol -o diskcache=64M,cache=4M,offline
	find "$M" -type f -exec stat {} + >/dev/null && cmp "$T/source" "$M/data" && cache_settles && head -c 1 "$M/unread" >/dev/null || return
	go_offline && forget_pages && at_once cmp "$T/source" "$M/data" || return
	host_down tail -c 100000 "$M/unread" && host_down tail -c 100000 "$M/unread" || return
	come_back && cat "$M/unread" >/dev/null && go_offline && forget_pages && at_once cat "$M/unread" >/dev/null && come_back
}

# ---- pins ----

# pin_is STATE FILES: of ann's only pin.
pin_is() {
	client ann pin --json >"$T/pins" && python3 - "$1" "$2" "$T/pins" <<-'PY'
	import json, sys
	v, = json.load(open(sys.argv[3]))
	assert v["state"] == sys.argv[1] and v["files"] == int(sys.argv[2]), v
	assert v["state"] != "complete" or v["blocks"] == v["blocks_here"], v
	PY
}

sums() {	# DIRECTORY: names, kinds, sizes and contents of all below
	(cd "$1" && find . -printf '%P %y %s %m %l\n' | grep -v '^[^ ]* d ' | sort && find . -type d | sort &&
		find . -type f -print0 | sort -z | xargs -0 md5sum)
}

tree() {	# made by bob, who leaves: ann has seen nothing of it
	client_ns=$near_ns mount_client bob vol
	python3 - "$B/tree" <<-'PY' || return
	import os, random, sys
	random.seed(7)
	top = sys.argv[1]
	for d in range(20):
	    os.makedirs(f"{top}/dir{d}/sub dir")
	    for n in range(14):
	        with open(f"{top}/dir{d}/file{n}", "wb") as f:
	            f.write(random.randbytes(random.choice([0, 10, 3000, 4000, 9000, 70000])))
	    with open(f"{top}/dir{d}/sub dir/needle in it", "w") as f:
	        f.write("text\n" * 1000 + f"needle {d}\n")
	    os.symlink("../dir0/file0", f"{top}/dir{d}/link")
	    os.setxattr(f"{top}/dir{d}/file1", "user.kind", b"number %d" % d)
	with open(f"{top}/large", "wb") as f:
	    f.write(random.randbytes(5000000))
	with open(f"{top}/sparse", "wb") as f:
	    f.seek(3 << 20); f.write(b"end of it" * 10000)
	PY
	random_file "$B/unpinned" 3000000 && sums "$B/tree" >"$T/sums" && client_ns=$near_ns client bob umount "$B"
}
tree_files=302

complete_offline() {	# TREE SUMS: all of it is there, at once
	timeout 60 bash -c "$(declare -f sums); sums '$1'" >"$T/sums.now" && diff "$2" "$T/sums.now" >"$T/sums.diff" ||
		{ head "$T/sums.diff"; return 1; }
	is 20 "$(timeout 30 grep -r needle "$1" | wc -l)" && timeout 30 ls -lR "$1" >/dev/null || return
	is "number 7" "$(getfattr --only-values -n user.kind "$1/dir7/file1" 2>/dev/null || python3 -c 'import os, sys
print(os.getxattr(sys.argv[1], "user.kind").decode())' "$1/dir7/file1")"
}

pins() {	# a tree that was never read, and memory for little of it
	tree || return
	with diskcache=32M,cache=4M,offline || return
	client ann pin "$M/tree" || return
	client ann pin | tee "$T/list" && grep -q "^$M/tree: complete; $tree_files files" "$T/list" || return
	pin_is complete $tree_files && ann_status && grep -q "pinned: 1, complete: 1" "$T/status" || return
	stat "$M/unpinned" >/dev/null && go_offline && forget_pages || return
	complete_offline "$M/tree" "$T/sums" || return
	host_down cat "$M/unpinned" || return
	# It can be written, too.
	at_once sh -c "printf offline >'$M/tree/dir3/made offline'" && at_once mv "$M/tree/dir4/file4" "$M/tree/dir3/moved" &&
		at_once sh -c "printf more >>'$M/tree/dir5/file5'" || return
	come_back && wait_for 30 pin_is complete $((tree_files + 1))
}

follows() {	# what others change, and what is made here
	client_ns=$near_ns mount_client bob vol
	random_file "$B/tree/large" 5000000 && random_file "$B/tree/dir1/new of bob" 200000 && rm "$B/tree/dir2/file2" &&
		mkdir -p "$B/tree/dir1/deep/er" && printf deep >"$B/tree/dir1/deep/er/file" && mv "$B/tree/dir9" "$B/tree/dir0/" || return
	random_file "$M/tree/dir1/new of ann" 6000000 && flush_client ann || return
	wait_for 30 pin_is complete $((tree_files + 3)) && sums "$B/tree" >"$T/sums.followed" || return
	client_ns=$near_ns client bob umount "$B" || return
	sleep 5		# another round, for what came last
	pin_is complete $((tree_files + 3)) && go_offline && forget_pages && complete_offline "$M/tree" "$T/sums.followed" 2>"$T/grep" || return
	come_back
}

again() {	# the next mount pins again, with nothing read
	with diskcache=32M,cache=4M,offline && wait_for 30 pin_is complete $((tree_files + 3)) || return
	is "0 0" "$(fact disk_hits) $(fact pins_fetched)" || return	# nothing of it was read, nor fetched again
	go_offline && complete_offline "$M/tree" "$T/sums.followed" && come_back
}

not_crowded_out() {	# by other contents, more of them than the cache takes
	with diskcache=20M,cache=4M,offline && wait_for 30 pin_is complete $((tree_files + 3)) && cat "$M/data" "$M/unpinned" >/dev/null || return
	forget_pages
	cat "$M/data" >/dev/null && cache_settles && [ "$(cached_bytes)" -le 20971520 ] || return
	go_offline && forget_pages && complete_offline "$M/tree" "$T/sums.followed" && come_back
}

heals() {	# a damaged file of the cache is fetched again before it is needed
	umount_client ann && cached_files | while read -r f; do truncate -s 100 "$f"; done
	mount_client ann vol -o diskcache=32M,cache=4M,offline
	wait_for 30 pin_is complete $((tree_files + 3)) && cat "$M/tree/large" "$M/tree/dir1"/*ann >/dev/null || return
	# What was read was found out, and is kept again after the next round.
	[ "$(fact disk_damaged)" -ge 10 ] && touch "$M/tree/dir0" && sleep 5 && wait_for 30 pin_is complete $((tree_files + 3)) || return
	go_offline && forget_pages && at_once cat "$M/tree/large" "$M/tree/dir1"/*ann >/dev/null && come_back
}

refused() {
	with diskcache=4M && wait_for 30 eval 'client ann pin --json | grep -q too-large' && client ann pin | grep -q "does not fit" || return
	# It takes nothing from what does fit.
	client ann pin "$M/unpinned" && client ann unpin "$M/unpinned" || return
	says "diskcache=" client ann pin "$M/tree" && is '[]' "$(client ann pin --json)" || return
	says "No such file" client ann pin "$M/none" && says "not pinned" client ann unpin "$M/tree" || return
	mkdir -p "$T/elsewhere" && says "no nuage volume is mounted there" client ann pin "$T/elsewhere" || return
	fails client ann pin --list "$M" && fails client ann unpin || return
	with diskcache=16M && client ann pin "$M/tree" "$M/tree/large" && client ann unpin "$M/tree" "$M/tree/large" || return	# it counts once
	with diskcache=4M && client ann pin "$M/tree/dir0" "$M/tree/dir1/new of bob" && is 2 "$(client ann pin | grep -c complete)" || return
	with diskcache=0 && says "no cache on disk" client ann pin "$M/tree" && is 1 "$(NUAGE_HOME=$T/ann.home bash -c 'cat "$NUAGE_HOME"/state/*/pins/*' | grep -c "new of bob")"
}

unpins() {	# what was pinned is like everything else again
	with diskcache=16M && client ann pin && client ann unpin "$M/tree/dir0" && client ann unpin "$M/tree/dir1/new of bob" || return
	is "" "$(client ann pin 2>/dev/null)" && client ann pin 2>&1 | grep -q "Nothing is pinned" || return
	wait_for 10 eval '[ "$(fact disk_kept)" = 0 ]' && cat "$M/data" >/dev/null && cache_settles || return
	with diskcache=16M && is "" "$(client ann pin 2>/dev/null)"
}

full_of_pins() {	# the disk is full
	umount_client ann && rm -rf "$cache" && mkdir -p "$cache" && mount -t tmpfs -o size=3m none "$cache" || return
	mount_client ann vol -o diskcache=32M
	says "No space left" client ann pin "$M/tree" && client ann pin | grep -q "No space left" || return
	client ann unpin "$M/tree" && umount_client ann && umount "$cache"
}

check_here "what was read once comes from this machine's disk" read_again
check_here "as it came from the server" sealed
check_here "what another client changes is not stale" stale
check_here "damaged files are harmless" damaged
check_here "it takes no more than its size" bounded
check_here "a full disk does no harm" full_disk
check_here "nor do two mounts" two_mounts
check_here "without a server" without_server
check_here "a pinned tree is complete without a server" pins
check_here "it follows changes, here and elsewhere" follows
check_here "the next mount pins again" again
check_here "what else is read does not crowd it out" not_crowded_out
check_here "damage is mended" heals
check_here "what cannot be pinned" refused
check_here "unpinned it is like everything else" unpins
check_here "a full disk is said" full_of_pins
check_here "it can be switched off" switched_off
tap_done

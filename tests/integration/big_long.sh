#!/bin/bash
# big_long.sh - a 5 GiB file and a directory of 100,000 entries, with 512 MiB of memory for each side.
#
# The server and each client run in a memory cgroup of their own, which is also
# charged for the pages and inodes that the kernel keeps for them.  What the
# processes themselves hold must not grow with file or directory: a sampler
# takes it down, and every case says how high it was.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
needs long fuse root python3
limit=$((512 * 1024 * 1024))
held_max=$((256 * 1024))	# KiB of its own that a process may hold

# A memory cgroup of either version; a process joins by writing its id.
memory_group() {	# NAME
	local dir
	if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
		grep -qw memory /sys/fs/cgroup/cgroup.subtree_control ||
			echo +memory >/sys/fs/cgroup/cgroup.subtree_control || return
		dir=/sys/fs/cgroup/nuage-$1-$$
		mkdir "$dir" && echo $limit >"$dir/memory.max" || return
		echo 0 >"$dir/memory.swap.max"
	else
		dir=/sys/fs/cgroup/memory/nuage-$1-$$
		mkdir "$dir" && echo $limit >"$dir/memory.limit_in_bytes" || return
		echo 0 >"$dir/memory.swappiness"
	fi
	memory_groups+=("$dir")
}

# PROGRAM, that joins its group before it is the program.
grouped() {	# GROUP PROGRAM
	local dir=$T/in.${1##*/}
	mkdir "$dir"
	printf '#!/bin/sh\necho $$ >%s/cgroup.procs\nexec %s "$@"\n' "$1" "$2" >"$dir/${2##*/}"
	chmod +x "$dir/${2##*/}"
	echo "$dir/${2##*/}"
}

for name in server ann bob; do
	memory_group $name 2>/dev/null || skip_all "no memory cgroup"
done
free_mb=$(df -m --output=avail "$T" | tail -1)
[ "$free_mb" -gt 14000 ] || skip_all "less than 14 GB of disk"
NUAGED=$(grouped "${memory_groups[0]}" "$NUAGED")
as_ann=$(grouped "${memory_groups[1]}" "$NUAGE")
as_bob=$(grouped "${memory_groups[2]}" "$NUAGE")

# ---- what they hold ----

# Once a second, for as long as the script lives: "GROUP KiB" of anonymous memory.
sample() {
	local group pid
	while kill -0 $$; do
		for group in "${memory_groups[@]}"; do
			for pid in $(cat "$group/cgroup.procs"); do
				echo "${group##*/} $(sed -n 's/^RssAnon:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status")"
			done
		done >>"$T/held"
		sleep 1
	done 2>/dev/null
}
sample &
helper_pids+=($!)

# The highest of each since the last time.
say_held() {
	local name=$1
	mv "$T/held" "$T/held.$name"
	sort -k2n "$T/held.$name" | awk '{ at[$1] = $2 } END { for (g in at) print g, "held", at[g], "KiB" }' | note
}

case_and_held() {	# NAME FUNCTION
	local began=$SECONDS
	check_here "$@"
	echo "$2 took $((SECONDS - began)) s" | note
	say_held "$2"
}

# ---- cases ----

start_server
first_client ann vol
another_client bob vol ann
NUAGE=$as_ann mount_client ann vol
A=$(mnt ann) B=$(mnt bob)

# Every MiB of it differs, none can be compressed, and it is the same each time.
stream() { openssl enc -aes-128-ctr -pass pass:nuage -nosalt -md sha256 </dev/zero 2>/dev/null | head -c "$1"; }
big=$((5 * 1024 * 1024 * 1024))

large_file() {
	stream $big | tee "$A/big" | sha256sum >"$T/big.sum" && sync "$A/big" &&
		is $big "$(stat -c %s "$A/big")"
}

large_file_back() {
	drop_caches
	NUAGE=$as_bob mount_client bob vol
	is "$(cat "$T/big.sum")" "$(sha256sum <"$B/big")"
}

large_directory() {
	mkdir "$A/many" && python3 - "$A/many" <<-'PY' && sync "$A"
	import os, sys
	for n in range(100000):
	    os.close(os.open(f"{sys.argv[1]}/entry-{n:06d}", os.O_CREAT | os.O_EXCL))
	PY
}

listed() {	# DIR
	is 100000 "$(find "$1" -type f | wc -l)" &&
		is 100000 "$(ls -U "$1" | sort -u | wc -l)" &&
		is 100000 "$(ls -l "$1" | grep -c ^-)"
}

large_directory_there() { listed "$A/many"; }
large_directory_back() { listed "$B/many"; }

removed() {
	rm -r "$B/many" && rm "$B/big" && sync "$B" && is 0 "$(ls -A "$A" | wc -l)"
}

oom_kills() {	# GROUP
	sed -n 's/^oom_kill //p' "$1/memory.events" "$1/memory.oom_control" 2>/dev/null
}

no_oom() {
	local group
	for group in "${memory_groups[@]}"; do
		is 0 "$(oom_kills "$group")"
	done
	kill -0 "$server_pid" && kill -0 "${client_pids[ann]}" && kill -0 "${client_pids[bob]}"
}

# The sampler saw all three, and none of them held much.
flat() {
	local held
	held=$(sort -k1,1 -k2,2n "$T"/held.*)
	is 3 "$(cut -d' ' -f1 <<<"$held" | sort -u | wc -l)"
	is '' "$(awk -v max=$held_max '$2 > max' <<<"$held" | tail -n 3)"
}

case_and_held "5 GiB are written" large_file
case_and_held "and read cold by a second client" large_file_back
case_and_held "100,000 entries are made" large_directory
case_and_held "and listed there" large_directory_there
case_and_held "and by the second client" large_directory_back
case_and_held "which removes all" removed
check "neither side ran out of memory" no_oom
check "and none of them held more for it" flat
tap_done

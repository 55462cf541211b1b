#!/bin/bash
# big_long.sh - a 5 GiB file and a directory of 100,000 entries, with 512 MiB of memory for each side.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
needs long fuse root python3
limit=$((512 * 1024 * 1024))

# A memory cgroup of either version; a process joins by writing its id.
memory_group() {	# NAME
	local dir
	if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
		grep -qw memory /sys/fs/cgroup/cgroup.subtree_control ||
			echo +memory >/sys/fs/cgroup/cgroup.subtree_control || return
		dir=/sys/fs/cgroup/nuage-$1-$$
		mkdir "$dir" && echo $limit >"$dir/memory.max" || return
	else
		dir=/sys/fs/cgroup/memory/nuage-$1-$$
		mkdir "$dir" && echo $limit >"$dir/memory.limit_in_bytes" || return
	fi
	groups+=("$dir")
	group=$dir
}

groups=()
memory_group server 2>/dev/null || skip_all "no memory cgroup"
server_group=$group
memory_group client || skip_all "no memory cgroup"
client_group=$group
free_mb=$(df -m --output=avail "$T" | tail -1)
[ "$free_mb" -gt 14000 ] || skip_all "less than 14 GB of disk"

leave_groups() {
	cleanup_status=$?
	for pid in $server_pid "${client_pids[@]}"; do
		kill -KILL "$pid" 2>/dev/null
	done
	sleep 1
	rmdir "${groups[@]}" 2>/dev/null
	(exit $cleanup_status)
	cleanup
}
trap leave_groups EXIT

# The processes join their group by themselves, before they are the programs.
grouped() {	# GROUP PROGRAM: a wrapper
	cat >"$T/${2##*/}" <<-WRAP
	#!/bin/sh
	echo \$\$ >$1/cgroup.procs
	exec $2 "\$@"
	WRAP
	chmod +x "$T/${2##*/}"
	echo "$T/${2##*/}"
}
NUAGED=$(grouped "$server_group" "$NUAGED")
NUAGE=$(grouped "$client_group" "$NUAGE")

oom_kills() {	# GROUP
	sed -n 's/^oom_kill //p' "$1/memory.events" "$1/memory.oom_control" 2>/dev/null
}

start_server
first_client ann vol
mount_client ann vol
M=$(mnt ann)

# 5 GiB that can be checked at any place: each 8 bytes say where they are.
stream() {
	python3 - "$@" <<-'PY'
	import array, hashlib, sys
	chunk = 1 << 20
	with open(sys.argv[2], sys.argv[1] + "b", buffering=0) as f:
	    for at in range(0, int(sys.argv[3]), chunk):
	        words = array.array("Q", range(at // 8, (at + chunk) // 8))
	        # Not compressible: a keystream over it, cheap and the same again.
	        data = bytes(words)
	        key = hashlib.sha256(b"%d" % at).digest() * (chunk // 32)
	        data = (int.from_bytes(data, "little") ^ int.from_bytes(key, "little")).to_bytes(chunk, "little")
	        if sys.argv[1] == "w":
	            assert f.write(data) == chunk
	        else:
	            assert f.read(chunk) == data, at
	PY
}

big=$((5 * 1024 * 1024 * 1024))

large_file() {
	stream w "$M/big" $big
	sync "$M/big"
	is $big "$(stat -c %s "$M/big")"
}

large_file_back() {
	remount_client ann vol && stream r "$M/big" $big
}

large_directory() {
	mkdir "$M/many"
	python3 - "$M/many" <<-'PY'
	import os, sys
	for n in range(100000):
	    os.close(os.open(f"{sys.argv[1]}/entry-{n:06d}", os.O_CREAT | os.O_EXCL))
	PY
	sync "$M"
}

large_directory_back() {
	remount_client ann vol && list_it
}

list_it() {
	is 100000 "$(find "$M/many" -type f | wc -l)"
	is 100000 "$(ls -U "$M/many" | sort -u | wc -l)"
	ls -l "$M/many" >/dev/null
}

removed() {
	rm -r "$M/many"
	rm "$M/big"
	sync "$M"
	is 0 "$(ls -A "$M" | wc -l)"
}

no_oom() {
	is 0 "$(oom_kills "$server_group")"
	is 0 "$(oom_kills "$client_group")"
	kill -0 "$server_pid"
}

check "5 GiB are written" large_file
check_here "and read back after a remount" large_file_back
check "100,000 entries are made" large_directory
check_here "and listed after a remount" large_directory_back
check "neither side ran out of memory" no_oom
check "all is removed" removed
tap_done

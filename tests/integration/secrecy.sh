#!/bin/bash
# secrecy.sh - the server's disk shows nobody anything, and damage never becomes data.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
needs fuse python3
start_server
first_client ann vol
mount_client ann vol
M=$(mnt ann)

# Words that stand in names, contents, targets and attributes, and nowhere else.
words=(Zwetschgenknoedel Quittengelee Mirabellenmus Hagebuttentee)

material() {
	local dir=$1 i
	mkdir -p "$dir/${words[0]}-directory"
	echo "small file: ${words[1]}" >"$dir/${words[0]}-directory/${words[1]}.txt"
	for i in $(seq 20000); do echo "$i ${words[2]} compresses well"; done >"$dir/large-${words[2]}"
	head -c 3000000 "$T/random" >"$dir/random-${words[2]}"
	ln -s "target-${words[3]}" "$dir/link-${words[3]}"
	call setxattr "$dir/large-${words[2]}" "user.${words[3]}" "value ${words[3]}" >/dev/null
}

no_words() {	# DIR: neither in files nor in their names, in no common encoding
	local word
	for word in "${words[@]}"; do
		not grep -rqai -e "$word" "$1"
		not grep -rqa -e "$(printf %s "$word" | base64 | head -c 16)" "$1"
		not grep -rqai -e "$(printf %s "$word" | od -An -tx1 | tr -d ' \n')" "$1"
		not grep -qai "$word" "$server_log"
		is 0 "$(find "$1" -iname "*$word*" | wc -l)"
	done
}

no_content() {	# a run of the random file, at a few places
	python3 - "$T/random" "$server_data" <<-'PY'
	import os, sys
	random = open(sys.argv[1], "rb").read()
	for where, _, files in os.walk(sys.argv[2]):
	    for name in files:
	        path = os.path.join(where, name)
	        if not os.path.isfile(path):
	            continue
	        data = open(path, "rb").read()
	        for at in range(0, 3000000 - 16, 40009):
	            assert random[at:at + 16] not in data, (path, at)
	PY
}

search_can_find() {	# that the searches above would find what is there
	mkdir "$T/plain"
	material "$T/plain"
	grep -rqai -e "${words[1]}" "$T/plain"
	( server_data=$T/plain; fails no_content )
}

# Two servers, two volumes, the same tree.
share_nothing() {
	python3 - "$T/first" "$T/second" <<-'PY'
	import os, sys
	def blobs(top):
	    for where, _, files in os.walk(top):
	        for name in sorted(files):
	            path = os.path.join(where, name)
	            if os.path.isfile(path):
	                yield path, open(path, "rb").read()
	def is_header(path, data, at):
	    """In LMDB's pages, up to where nodes begin (14): the table of their offsets,
	    and what it was when there were more; an overflow page (4) has a header only."""
	    page = at - at % 4096
	    flags, nodes = (int.from_bytes(data[page + i:page + i + 2], "little") for i in (10, 14))
	    return path.endswith(".mdb") and at < page + (16 if flags & 4 else nodes)
	def random_looking(run):
	    return len(set(run)) >= 12		# padding and counters are not
	seen = set()
	for path, data in blobs(sys.argv[1]):
	    for at in range(0, len(data) - 15, 16):
	        run = data[at:at + 16]
	        if random_looking(run) and not is_header(path, data, at):
	            seen.add(run)
	assert len(seen) > 100000, len(seen)
	# Every offset of the second against the aligned runs of the first finds any
	# common run of 31 bytes; a sampled prefilter keeps it quick.
	starts = {run[:4] for run in seen}
	shared = []
	for path, data in blobs(sys.argv[2]):
	    for at in range(len(data) - 15):
	        if data[at:at + 4] in starts and data[at:at + 16] in seen and not is_header(path, data, at):
	            shared.append((path, at, data[at:at + 16].hex()))
	print(len(shared), shared[:5])
	assert not shared
	PY
}

# ---- damage ----

digest() { sha256sum <"$1" | cut -c 1-64; }

# For each of COUNT places: one flipped bit in the stored data, then every file
# reads right or not at all.
flip() {
	python3 - "$server_data" "$1" <<-'PY'
	import os, random, sys
	random.seed(int(sys.argv[2]))
	files = []
	for where, _, names in os.walk(sys.argv[1]):
	    for name in sorted(names):
	        path = os.path.join(where, name)
	        if os.path.isfile(path) and not name.startswith("lock") and os.path.getsize(path) > 0:
	            files.append(path)
	# By weight of what is allocated, in what is not zero.
	path = random.choices(files, [os.stat(f).st_blocks + 1 for f in files])[0]
	data = open(path, "rb").read()
	while True:
	    at = random.randrange(len(data))
	    if any(data[max(0, at - 32):at + 32]):
	        break
	with open(path, "r+b") as f:
	    f.seek(at)
	    f.write(bytes([data[at] ^ 1 << random.randrange(8)]))
	print(f"{os.path.relpath(path, sys.argv[1])} at {at}")
	PY
}

damaged_once() {	# SEED
	rm -rf "$server_data"
	cp -a "$T/kept" "$server_data" || return
	flip "$1" >"$T/flipped" || return
	cat "$T/flipped"
	local checked=0 wrong=0 refused=0 file
	"$NUAGED" check --data "$server_data" >"$T/check.out" 2>&1 || checked=1
	( in_ns "$server_ns" "$NUAGED" --data "$server_data" --listen "$server_host:$server_port" ) \
		>>"$server_log" 2>&1 &
	server_pid=$!
	wait_for 5 server_is_up_or_gone
	if kill -0 $server_pid 2>/dev/null; then
		( export NUAGE_HOME="$T/ann.home"
		  exec timeout 60 "$NUAGE" mount vol "$M" -f ) >>"$T/ann.log" 2>&1 &
		client_pids[ann]=$!
		if wait_for 5 mounted_or_gone "$M" "${client_pids[ann]}" && is_mounted "$M"; then
			while read -r sum file; do
				if timeout 10 cat "$M/$file" >"$T/read" 2>/dev/null; then
					[ "$(digest "$T/read")" = "$sum" ] || { echo "WRONG: $file"; wrong=1; }
				else
					refused=1
				fi
			done <"$T/digests"
		else
			refused=1
		fi
	else
		refused=1
	fi
	umount -l "$M" 2>/dev/null
	kill_and_wait "${client_pids[ann]}"
	unset "client_pids[ann]"
	kill_server
	[ $wrong = 0 ] || return 1
	if [ $refused = 1 ] && [ $checked = 0 ]; then
		echo "read as damaged, but nuaged check found nothing"
		return 1
	fi
	[ $refused = 0 ] || grep -q . "$T/check.out" || return 1
	noticed=$((noticed + checked))
}

damaged() {
	local seed
	noticed=0
	umount_client ann && stop_server || return
	cp -a "$server_data" "$T/kept" || return
	"$NUAGED" check --data "$server_data" || return
	for seed in $(seq 12); do
		damaged_once "$seed" || return
	done
	echo "$noticed of 12 flips were noticed by nuaged check"
	[ $noticed -ge 6 ]
}

random_file "$T/random" 3000000
check "the volume takes the material" material "$M"
check "flushed" flush_client ann
(cd "$M" && find . -type f | while read -r f; do echo "$(digest "$f") $f"; done) >"$T/digests"
check "no name or text on the server, nor in its log" no_words "$server_data"
check "no content on the server" no_content
check "the searches find what is not hidden" search_can_find

must umount_client ann
must stop_server
mv "$server_data" "$T/first"
rm -rf "$T/ann.home"
start_server
first_client ann vol
mount_client ann vol
must material "$M"
(cd "$M" && find . -type f | while read -r f; do echo "$(digest "$f") $f"; done) >"$T/digests"
must umount_client ann
must stop_server
mv "$server_data" "$T/second"
check "two stores of the same tree have nothing in common" share_nothing
mv "$T/second" "$server_data"
start_server
mount_client ann vol
check_here "a flipped bit is EIO or a stop, never wrong data, and check names it" damaged
tap_done

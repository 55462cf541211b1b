#!/bin/bash
# offline.sh - a mount goes on without its server, and all comes together afterwards.
# OFFLINE_SECONDS says for how long it is cut off in the case with edits on both sides.
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
far_ns=$client_ns near_ns=$server_ns	# bob lives at the server's end, which is not cut

ann_status() { client ann status >"$T/status" 2>"$T/status.err"; cat "$T/status"; }
ann_is() { ann_status | grep -q "$1"; }
ann_is_back() { ann_status | grep -q "everything is on the server" && not grep -q "OFFLINE\|to be done again" "$T/status"; }

go_offline() { link_cut && wait_for 40 ann_is OFFLINE; }

# Everything of ann's is on the server.
come_back() { link_restore && wait_for 60 ann_is_back; }

# at_once COMMAND...: it does not wait for the server.
at_once() { timeout 3 "$@"; }

# host_down COMMAND...: it fails so, at once.
host_down() {
	not at_once "$@" >"$T/down" 2>&1 && grep -q "Host is down" "$T/down" && return
	cat "$T/down"
	return 1
}

alone() {	# the default: nobody else has it mounted
	mount_client ann vol
	mkdir "$M/work" "$M/work/sub" && printf cached >"$M/work/file" && printf other >"$M/work/other" &&
		random_file "$M/large" 200000 && flush_client ann && cp "$M/large" "$T/large" || return
	client_ns=$near_ns mount_client bob vol
	random_file "$B/unseen" 3000000 && client_ns=$near_ns client bob umount "$B" || return
	# Having been there bob has taken what ann had cached.
	ls -R "$M/work" >/dev/null && cat "$M/large" "$M/work/"* >"$T/read" 2>/dev/null
	sleep 6				# so that it is heard that nobody else is there
	go_offline || return
	cat "$T/status"
	grep -q "OFFLINE since" "$T/status" || return
	client ann status --json | python3 -c 'import json, sys
v, = json.load(sys.stdin)
assert v["offline"] is True and v["offline_since"] > 1e9 and v["connected"] is False, v' || return
	is cached "$(at_once cat "$M/work/file")" && at_once cmp "$M/large" "$T/large" || return
	host_down cat "$M/unseen" || return
	at_once mkdir "$M/work/new" && at_once sh -c "printf 'written offline' >'$M/work/new/file'" &&
		at_once sh -c "printf ' and more' >>'$M/work/file'" && at_once mv "$M/work/other" "$M/work/sub/moved" || return
	at_once dd if=/dev/zero of="$M/work/synced" bs=1000 count=3 conv=fsync 2>"$T/dd" || { cat "$T/dd"; return 1; }
	at_once flock -n "$M/work/file" true || return
	not timeout 8 env NUAGE_HOME="$T/ann.home" "$NUAGE" sync "$M" || return
	ann_is "/work/new" && client ann status --json | python3 -c 'import json, sys
v, = json.load(sys.stdin)
assert "/work/new/file" in v["unsaved"] and "/work/sub" in v["unsaved"], v' || return
	come_back || return
	client_ns=$near_ns mount_client bob vol
	is "written offline" "$(cat "$B/work/new/file")" && is "cached and more" "$(cat "$B/work/file")" &&
		is other "$(cat "$B/work/sub/moved")" && is 3000 "$(stat -c %s "$B/work/synced")" &&
		cmp "$M/unseen" "$B/unseen" && is 0 "$(find "$B" -name '*conflict*' | wc -l)"
}

shared_waits() {	# the default when somebody else has it: a mount does not diverge unasked
	cat "$M/work/file" >/dev/null && sleep 6 && link_cut && sleep 8 || return
	fails timeout 2 ls "$M/work"
	local status=$?
	not ann_is OFFLINE || return
	link_restore && wait_for 40 ls "$M/work" && return $status
}

both_sides() {	# each edits what the other has, then the link is back
	client ann umount "$M" || return
	mount_client ann vol -o offline,commit=1
	local name copy="both (conflict $(hostname -s) $(date -u +%Y-%m-%d))"
	for name in both same mine his gone-here gone-there moved; do
		printf "old %s" $name >"$M/$name" || return
	done
	mkdir "$M/dir" && printf kept >"$M/dir/kept" && flush_client ann || return
	ls -lR "$M" >/dev/null && cat "$M"/[a-z]*[a-z] >/dev/null 2>&1
	cat "$B"/[a-z]*[a-z] >/dev/null 2>&1
	python3 - "$M/open" "$T/go" "$T/gone" <<-'PY' &
	import os, sys, time
	path, go, gone = sys.argv[1:]
	f = open(path, "w")
	n = 0
	while not os.path.exists(gone):
	    print(n, file=f, flush=True)
	    n += 1
	    if n % 10 == 0:
	        os.fsync(f.fileno())
	    time.sleep(0.2)
	f.close()
	PY
	local writer=$!
	wait_for 10 test -s "$M/open" && go_offline || return
	printf "ann's" >"$M/both" && printf "the same" >"$M/same" && printf "ann's" >"$M/mine" && rm "$M/gone-here" &&
		mv "$M/moved" "$M/dir/moved" && mkdir "$M/new" && printf new >"$M/new/file" && rm "$M/dir/kept" || return
	wait_for 60 sh -c "printf \"bob's\" >'$B/both'" && printf "the same" >"$B/same" && printf "bob's" >"$B/his" &&
		rm "$B/gone-there" && mkdir -p "$B/new" && printf "bob's" >"$B/new/bobs" && printf more >>"$B/dir/kept" || return
	sleep "${OFFLINE_SECONDS:-2}"
	at_once ls "$M/new" >/dev/null && ann_is OFFLINE && cat "$T/status" || return
	come_back || return
	touch "$T/gone" && wait $writer || return
	cat "$T/status"
	flush_client ann && ls -lR "$B" || return
	for name in "$M" "$B"; do
		is "bob's" "$(cat "$name/both")" && is "ann's" "$(cat "$name/$copy")" && is "the same" "$(cat "$name/same")" &&
			is "ann's" "$(cat "$name/mine")" && is "bob's" "$(cat "$name/his")" && is "old moved" "$(cat "$name/dir/moved")" &&
			is new "$(cat "$name/new/file")" && is "bob's" "$(cat "$name/new/bobs")" || return
		not test -e "$name/gone-here" && not test -e "$name/gone-there" && not test -e "$name/moved" || return
		is keptmore "$(cat "$name/dir/kept")" || return		# removed here, changed there: it stays
	done
	python3 -c 'import sys
lines = open(sys.argv[1]).read().split()
assert lines == [str(n) for n in range(len(lines))] and len(lines) > 20, lines' "$B/open" || return
	# Exactly as status lists it.
	(cd "$B" && find . -name '*(conflict*' | cut -c2- | sort) >"$T/there"
	client ann status --json | python3 -c 'import json, sys
v, = json.load(sys.stdin)
print(*sorted(v["conflicts"]), sep="\n")' | diff - "$T/there" && is "/$copy" "$(cat "$T/there")"
}

killed() {	# what was done offline, and synced, is in the journal
	rm -rf "$M/dir" "$B/both"* && printf seen >"$M/seen" && flush_client ann && ls "$M" >/dev/null && go_offline || return
	printf "changed offline" >"$M/seen" && sync "$M/seen" && printf offline >"$M/made" && mkdir "$M/madedir" || return
	kill_client ann && link_restore || return
	mount_client ann vol -o offline
	is "changed offline" "$(cat "$B/seen")" && is offline "$(cat "$B/made")" && test -d "$B/madedir"
}

unmounted() {	# offline: the rest is left to the journal; without the server there is no mount
	ls "$M" >/dev/null && go_offline && printf later >"$M/later" || return
	client ann umount -t 2 "$M" >"$T/umount.out" 2>&1 || return
	cat "$T/umount.out"
	grep -q "/later" "$T/umount.out" || return
	unset "client_pids[ann]"
	fails timeout 60 env NUAGE_HOME="$T/ann.home" "$NUAGE" mount vol "$M" || return
	link_restore || return
	wait_for 60 sh -c "NUAGE_HOME='$T/ann.home' nsenter --net=/run/netns/$far_ns '$NUAGE' mount vol '$M'" || return
	is later "$(cat "$B/later")" && client ann umount "$M"
}

full() {	# more than can be kept is refused at once, and what was taken comes through
	mount_client ann vol -o offline
	mkdir "$M/many" && flush_client ann && go_offline || return
	python3 - "$M/many" <<-'PY' || return
	import errno, os, sys
	made = 0
	try:
	    for n in range(100000):
	        with open(f"{sys.argv[1]}/{n:06}", "wb") as f:
	            f.write(b"%06d" % n * 500)
	        made += 1
	except OSError as e:
	    assert e.errno == errno.ENOSPC, e
	print(made, "files were taken")
	assert 500 < made < 100000
	open("/dev/stderr", "w").write(f"{made}\n")
	PY
	come_back || return
	python3 - "$B/many" <<-'PY'
	import os, sys
	names = sorted(os.listdir(sys.argv[1]))
	assert [int(n) for n in names] == list(range(len(names))) and len(names) > 500
	for n in names[:-1]:
	    assert open(f"{sys.argv[1]}/{n}", "rb").read() == n.encode() * 500, n
	PY
}

check_here "a mount that is alone goes on without the server" alone
check_here "one that is not waits" shared_waits
check_here "edits on both sides: all merged, or beside, as status lists it" both_sides
check_here "killed while offline" killed
check_here "unmounted while offline" unmounted
check_here "more than can be kept" full
tap_done

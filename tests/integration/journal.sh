#!/bin/bash
# journal.sh - a killed client loses nothing it answered; conflicts, locks, full disks, other versions' journals.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
needs fuse python3
configure_server term_ms 5000
configure_server skew_ms 1000
start_server
who=ann M=$(mnt ann)
first_client ann vol
another_client bob vol ann
B=$(mnt bob)

# What waits long before it goes to the server by itself.
mount_lazily() { mount_client "$1" vol -o commit=3600; }

# writer DIRECTORY: makes files, removes and renames some, and reports each call after it returned.
writer() {
	exec python3 - "$1" <<-'PY'
	import os, sys
	top = sys.argv[1]
	os.makedirs(top, exist_ok=True)
	def say(*what):
	    print(*what, flush=True)
	for n in range(100000):
	    dir = f"{top}/d{n // 50}"
	    try:
	        if n % 50 == 0:
	            os.mkdir(dir)
	            say("dir", dir)
	        data = (b"%08d" % n) * (n % 700 + 1)
	        with open(f"{dir}/f{n}", "wb", buffering=0) as f:
	            f.write(data)
	        say("file", f"{dir}/f{n}", n, len(data))
	        if n % 7 == 3:
	            os.rename(f"{dir}/f{n}", f"{dir}/r{n}")
	            say("moved", f"{dir}/f{n}", f"{dir}/r{n}")
	        if n % 11 == 5 and n % 50 > 0:
	            os.unlink(f"{dir}/f{n - 1}" if os.path.exists(f"{dir}/f{n - 1}") else f"{dir}/r{n - 1}")
	            say("gone", f"{dir}/f{n - 1}", f"{dir}/r{n - 1}")
	    except OSError:
	        break
	PY
}

# as_reported REPORT LEAST: the tree is as the calls that returned left it; one more may have taken effect.
as_reported() {
	python3 - "$@" <<-'PY'
	import os, sys
	lines = [l.split() for l in open(sys.argv[1]) if l.endswith("\n")]	# the last one may have been cut
	have, last = {}, None
	for what, *rest in lines:
	    if what == "file":
	        have[rest[0]] = (int(rest[1]), int(rest[2]))
	    elif what == "moved":
	        have[rest[1]] = have.pop(rest[0])
	    elif what == "gone":
	        have.pop(rest[0], None), have.pop(rest[1], None)
	    else:
	        assert os.path.isdir(rest[0]), rest[0]
	print(len(lines), "calls returned,", len(have), "files are due")
	assert len(lines) >= int(sys.argv[2])
	missing = []
	for path, (n, size) in have.items():
	    if not os.path.exists(path):
	        missing.append(path)	# the call after the last reported one may have renamed or removed it
	        continue
	    data = open(path, "rb").read()
	    assert data == ((b"%08d" % n) * (size // 8)), (path, len(data), size)
	assert len(missing) <= 1, missing
	PY
}

reports() { [ "$(wc -l <"$1")" -ge "$2" ]; }

killed_while_cut_off() {	# the server is away, the client goes on in its journal, and is killed
	mount_lazily ann
	: >"$T/report"
	writer "$M/cut" >"$T/report" 2>"$T/writer.log" &
	local pid=$!
	wait_for 20 reports "$T/report" 100 || return
	kill_server
	sleep 0.7
	kill_under $pid || return
	start_server
	mount_client ann vol
	as_reported "$T/report" 100
}

# kill_under PID: kills ann's client under that process, before it could write to what lies below the mount.
kill_under() {
	kill -KILL "${client_pids[ann]}"
	kill_and_wait "$1"
	kill_client ann
}

# untar FILE DIRECTORY: reports each member after it is all there.
untar() {
	exec python3 - "$@" <<-'PY'
	import sys, tarfile
	with tarfile.open(sys.argv[1]) as tar:
	    for member in tar:
	        try:
	            tar.extract(member, sys.argv[2])
	        except OSError:
	            break
	        print(member.name, flush=True)
	PY
}

killed_in_untar() {
	make_tree "$T/tree" 800
	tar -C "$T" -cf "$T/tree.tar" tree
	mkdir "$M/untar" || return
	untar "$T/tree.tar" "$M/untar" >"$T/untar.list" 2>"$T/writer.log" &
	local pid=$!
	wait_for 20 reports "$T/untar.list" 300 || return
	kill_under $pid || return
	mount_client ann vol
	while read -r f; do
		if [ -L "$T/$f" ]; then
			is "$(readlink "$T/$f")" "$(readlink "$M/untar/$f")" || return
		elif [ -d "$T/$f" ]; then
			[ -d "$M/untar/$f" ] || return
		else
			cmp "$T/$f" "$M/untar/$f" || return
		fi
	done <"$T/untar.list"
}

killed_again_and_again() {	# also while the journal is run again
	rm -rf "$M/again" && flush_client ann || return
	client ann umount "$M" && mount_lazily ann || return
	: >"$T/report"
	writer "$M/again" >"$T/report" 2>"$T/writer.log" &
	local pid=$! i
	wait_for 20 reports "$T/report" 2000 || return
	kill_under $pid || return
	for i in 1 2 3 4; do
		( export NUAGE_HOME="$T/ann.home"; exec "$NUAGE" mount vol "$M" -f ) >>"$T/ann.log" 2>&1 &
		pid=$!
		sleep "0.0$((i * 2))"
		kill_and_wait $pid
		fusermount3 -uz "$M" 2>/dev/null
	done
	mount_client ann vol
	as_reported "$T/report" 2000
}

waits_for_the_server() {	# no mount without what is in the journal; status tells of it
	client ann umount "$M" && mount_lazily ann || return
	echo precious >"$M/precious" || return
	kill_server
	kill_client ann || return
	says "connection refused\|unreachable\|cannot be reached" client ann mount vol "$M" || return
	# The mount that failed may hold the volume for a moment longer.
	wait_for 10 sh -c "NUAGE_HOME='$T/ann.home' '$NUAGE' status | grep -q 'not mounted'"
	client ann status >"$T/status" 2>&1
	client ann status --json >"$T/status.json"
	start_server
	cat "$T/status"
	grep -q "vol, not mounted" "$T/status" && grep -q "waits\? in the journal" "$T/status" || return
	python3 -c 'import json, sys
v, = json.load(open(sys.argv[1]))
assert v["journal"] == "waiting" and v["journal_operations"] > 0, v' "$T/status.json" || return
	says "without -o ro" client ann mount vol "$M" -o ro || return
	mount_client ann vol
	is precious "$(cat "$M/precious")"
}

forced_unmount() {
	client ann umount "$M" && mount_lazily ann || return
	echo kept >"$M/kept" || return
	kill_server
	timeout 60 env NUAGE_HOME="$T/ann.home" "$NUAGE" umount --force "$M" 2>"$T/umount.out" || return
	cat "$T/umount.out"
	grep -q "/kept" "$T/umount.out" || return
	wait "${client_pids[ann]}"
	start_server
	mount_client ann vol
	is kept "$(cat "$M/kept")"
}

# in_time SECONDS BEGAN: no more than that has passed, and what a busy machine adds.
in_time() { [ $((SECONDS - $2)) -le $(($1 + 15)) ] || { echo "it took $((SECONDS - $2)) s"; return 1; }; }

unmount_without_server() {	# ends in the time given, names what is kept, and the next mount brings it
	client ann umount "$M" && mount_lazily ann || return
	echo kept >"$M/kept-too" || return
	kill_server
	local began=$SECONDS
	timeout 90 env NUAGE_HOME="$T/ann.home" "$NUAGE" umount --timeout 2 "$M" >"$T/umount.out" 2>&1 || return
	cat "$T/umount.out"
	in_time 2 $began && grep -q "next mount" "$T/umount.out" && grep -q "/kept-too" "$T/umount.out" || return
	not is_mounted "$M" && wait "${client_pids[ann]}" || return
	start_server
	mount_client ann vol
	is kept "$(cat "$M/kept-too")"
}

unmount_in_use() {	# without the server, and in use: the mount stays, and works on
	client ann umount "$M" && mount_lazily ann || return
	echo one >"$M/in-use" || return
	kill_server
	exec 7<"$M/in-use"
	says "in use" timeout 90 env NUAGE_HOME="$T/ann.home" "$NUAGE" umount -t 1 "$M"
	local status=$?
	echo two >>"$M/in-use" || return
	exec 7<&-
	start_server
	client ann sync "$M" && client ann umount "$M" || return
	mount_client ann vol
	is "one two" "$(echo $(cat "$M/in-use"))" && return $status
}

terminated() {	# with requests that wait for the server, and files open
	client ann umount "$M" && mount_lazily ann || return
	echo kept >"$M/terminated" || return
	kill_server
	cat "$M/never-looked-up" 2>"$T/cat.out" &
	local reader=$! began=$SECONDS
	kill -TERM "${client_pids[ann]}"
	wait "${client_pids[ann]}" || return
	in_time 20 $began || return
	wait $reader && return 1
	unset "client_pids[ann]"
	start_server
	mount_client ann vol
	is kept "$(cat "$M/terminated")"
}

refused_without_journal() {	# there is nothing to keep it
	client ann umount "$M" && mount_client ann vol -o commit=3600,nojournal || return
	echo precious >"$M/unkept" || return
	kill_server
	says "/unkept" client ann umount -t 1 "$M" && is_mounted "$M" || return
	start_server
	client ann sync "$M" && is precious "$(cat "$M/unkept")"
}

live_lock() { says "mounted already" client ann mount vol "$(mnt bob)"; }

# bob may change what ann had only when her term is over.
bob_writes() { wait_for 30 sh -c "printf '%s' '$2' >'$B/$1'"; }

conflict() {
	printf original >"$M/shared" && printf same >"$M/equal" && flush_client ann || return
	client ann umount "$M" && mount_lazily ann || return
	cat "$M/shared" "$M/equal" >/dev/null
	printf "from ann" >"$M/shared" && printf "both wrote this" >"$M/equal" && printf "ann only" >"$M/ann-only" || return
	kill_client ann || return
	mount_client bob vol
	bob_writes shared "from bob" && bob_writes equal "both wrote this" && bob_writes bob-only "bob only" || return
	mount_client ann vol
	ls -la "$M"
	is "from bob" "$(cat "$M/shared")" && is "both wrote this" "$(cat "$M/equal")" &&
		is "ann only" "$(cat "$M/ann-only")" && is "bob only" "$(cat "$M/bob-only")" || return
	local copies
	copies=$(find "$M" -maxdepth 1 -name '*(conflict *)*')
	is "$M/shared (conflict $(hostname -s) $(date -u +%Y-%m-%d))" "$copies" || return
	is "from ann" "$(cat "$copies")" && is "from ann" "$(cat "$B/${copies##*/}")" || return
	client ann status >"$T/status" && grep -q "/shared (conflict" "$T/status" || return
	client ann status --json | python3 -c 'import json, sys
v, = json.load(sys.stdin)
assert len(v["conflicts"]) == 1 and v["conflicts"][0].startswith("/shared (conflict "), v' || return
	rm "$copies"
	not grep -q conflict <<<"$(client ann status)"
}

removed_elsewhere() {	# what was written to a file that somebody removed is beside where it was
	mkdir "$M/sub" && printf old >"$M/sub/file" && flush_client ann || return
	client ann umount "$M" && mount_lazily ann || return
	printf "more of it" >>"$M/sub/file" || return
	kill_client ann || return
	wait_for 30 rm "$B/sub/file" || return
	mount_client ann vol
	ls -la "$M/sub"
	not test -e "$M/sub/file" && grep -q "more of it" "$M/sub/file (conflict "*
}

evicted() {	# a client that slept past its term lost its leases; what it had then is done again, with the mount in use
	printf base >"$M/evicted" && mkdir "$M/slept" && flush_client ann || return
	client ann umount "$M" && mount_lazily ann || return
	rm -f "$T/go"
	python3 -c 'import os, sys, time
f = open(sys.argv[1], "w")
print("new one", end="", file=f, flush=True)
while not os.path.exists(sys.argv[2]):
    time.sleep(0.05)
print(", and on", end="", file=f, flush=True)' "$M/slept/open" "$T/go" &
	local writer=$!
	wait_for 10 test -s "$M/slept/open" && printf "before the sleep" >"$M/evicted" || return
	kill -STOP "${client_pids[ann]}"
	bob_writes evicted "while ann slept"
	local status=$? copy="evicted (conflict $(hostname -s) $(date -u +%Y-%m-%d))"
	kill -CONT "${client_pids[ann]}"
	[ $status = 0 ] || return
	wait_for 30 sh -c "NUAGE_HOME='$T/ann.home' '$NUAGE' status >'$T/status' &&
		grep -q '/evicted (conflict' '$T/status' && ! grep 'to be done again' '$T/status'" || return
	cat "$T/status"
	not grep -q "were lost" "$T/status" || return
	touch "$T/go" && wait "$writer" && printf "after it" >"$M/after" || return
	ls -la "$M" "$M/slept"
	is "while ann slept" "$(cat "$M/evicted")" && is "before the sleep" "$(cat "$M/$copy")" &&
		is "new one, and on" "$(cat "$M/slept/open")" || return
	if [ "$1" = killed ]; then
		kill_client ann || return
	else
		client ann umount "$M" || return
	fi
	mount_client ann vol
	ls -la "$M"
	is "while ann slept" "$(cat "$M/evicted")" && is "before the sleep" "$(cat "$B/$copy")" &&
		is "new one, and on" "$(cat "$B/slept/open")" && is "after it" "$(cat "$M/after")" &&
		is 1 "$(find "$M" "$M/slept" -maxdepth 1 -name '*conflict*' | wc -l)" && rm -r "$M/evicted"* "$M/slept" "$M/after"
}

without_journal() {
	client ann umount "$M" && mount_client ann vol -o commit=3600,nojournal || return
	echo lost >"$M/lost-one" && kill_client ann && mount_client ann vol || return
	not test -e "$M/lost-one"
}

full_disk() {	# without room for a journal changes are answered when the server has them
	local home="$T/ann.home" small="$T/small"
	client ann umount "$M" || return
	mkdir "$small" && mount -t tmpfs -o size=20m none "$small" && cp -a "$home/." "$small/" || return
	mount --bind "$small" "$home" && mount_lazily ann && head -c 30000000 /dev/urandom >"$T/much" || return
	cp "$T/much" "$M/much" && echo through >"$M/through" && client ann status | tee "$T/status" || return
	kill_client ann && mount_client ann vol && cmp "$T/much" "$M/much" && is through "$(cat "$M/through")"
	local status=$?
	client ann umount "$M"
	umount "$home" && umount "$small"
	grep -q "did not fit" "$T/status" && grep -q "the journal cannot grow" "$T/ann.log" && return $status
}

unlisted() {	# while a conflict cannot be listed, the journal that tells of it is kept
	local home="$T/ann.home" small="$T/small" status
	mount -t tmpfs -o size=64m none "$small" && cp -a "$home/." "$small/" && mount --bind "$small" "$home" || return
	mount_client ann vol && printf original >"$M/listed" && flush_client ann && client ann umount "$M" || return
	mount_lazily ann && printf "from ann" >"$M/listed" && kill_client ann || return
	bob_writes listed "from bob" || return
	find "$home" -name conflicts -delete
	head -c 100000000 /dev/zero >"$small/filler"
	says "this machine's disk is full" client ann mount vol "$M" && says "disk is full" client ann mount vol "$M" &&
		rm "$small/filler" && mount_client ann vol && is "from bob" "$(cat "$M/listed")" &&
		grep "/listed (conflict" <<<"$(client ann status)"
	status=$?
	rm -f "$small/filler" "$M/listed"*
	client ann umount "$M"
	[ $status != 0 ] || session_noted_late
	status=$?
	wait_for 10 umount "$home" && umount "$small" && return $status
}

unlisted_alone() {	# the same, where there is room for all but the list
	local list status
	mount_client ann vol && printf original >"$M/alone" && flush_client ann && client ann umount "$M" || return
	mount_lazily ann && printf "from ann" >"$M/alone" && kill_client ann || return
	bob_writes alone "from bob" || return
	list="$(state_of ann)/conflicts"
	mkdir "$T/tiny" && mount -t tmpfs -o size=4k none "$T/tiny" && touch "$T/tiny/list" "$list" &&
		mount --bind "$T/tiny/list" "$list" || return
	head -c 8192 /dev/zero >"$T/tiny/filler"
	says "waits in the journal: this machine's disk is full" client ann mount vol "$M" && rm "$T/tiny/filler" &&
		mount_client ann vol && is "from bob" "$(cat "$M/alone")" && grep "/alone (conflict" "$T/tiny/list"
	status=$?
	client ann umount "$M"
	umount "$list" && umount "$T/tiny" && return $status
}

# A session that begins on a full disk is noted when there is room.
session_noted_late() {
	head -c 100000000 /dev/zero >"$small/filler"
	mount_client ann vol && says "No such file" cat "$(state_of ann)/session" && rm "$small/filler" &&
		wait_for 10 test -s "$(state_of ann)/session" && echo late >"$M/late" || return
	kill_client ann && mount_client ann vol && is late "$(cat "$M/late")"
	local status=$?
	rm -f "$M/late"
	client ann umount "$M" && return $status
}
state_of() { dirname "$(find "$T/$1.home" -name journal -type d)"; }

ann_is_connected() { client ann status --json "$M" | grep -q '"connected": true'; }

note_behind() {	# by many connections, as after a time without room for it
	mount_client ann vol -o commit=3600 && echo before >"$M/behind" && flush_client ann || return
	cp "$(state_of ann)/session" "$T/behind" || return
	for _ in 1 2 3 4 5 6 7; do
		kill_server
		start_server
		wait_for 30 ann_is_connected || return
	done
	not cmp "$T/behind" "$(state_of ann)/session" && echo after >"$M/behind" && kill_client ann || return
	cp "$T/behind" "$(state_of ann)/session" && mount_client ann vol && is after "$(cat "$M/behind")"
	local status=$?
	rm -f "$M/behind"
	client ann umount "$M" && return $status
}

lost_volume() {	# a journal of a volume that is not known any more is kept, and told of
	mount_lazily ann && echo orphan >"$M/orphan" && kill_client ann || return
	rm -r "$T/ann.home/config/volumes" || return
	client ann status >"$T/status" && cat "$T/status" && grep -q "does not know any more" "$T/status" || return
	[ -n "$(find "$(sed -n 's/.*kept in //p' "$T/status")" -type f -size +0)" ]
}

check_here "a client killed while the server is away" killed_while_cut_off
check_here "a client killed in the midst of an untar" killed_in_untar
check_here "killed again while its journal is run" killed_again_and_again
check_here "a journal waits for the server" waits_for_the_server
check_here "a forced unmount keeps the journal" forced_unmount
check_here "an unmount without the server ends, and the journal keeps what is left" unmount_without_server
check_here "the same of a mount in use" unmount_in_use
check_here "a mount that is told to end without the server" terminated
check_here "without a journal such a mount stays" refused_without_journal
check "a live mount's journal is refused" live_lock
check_here "a file changed on both sides: two versions, unless they are equal" conflict
check_here "a file removed elsewhere: what was written to it is kept" removed_elsewhere
check_here "a client that lost its leases, and was killed" evicted killed
check_here "a client that lost its leases, and is unmounted" evicted unmounted
check_here "without a journal" without_journal
if [ "$(id -u)" = 0 ]; then
	check_here "no room for a journal" full_disk
	check_here "no room for the list of conflicts" unlisted
	check_here "no room for it alone" unlisted_alone
else
	skip "no room for a journal" "not root"
	skip "no room for the list of conflicts" "not root"
	skip "no room for it alone" "not root"
	client ann umount "$M"
fi
check_here "a note of the session that is behind" note_behind
check_here "the journal of a lost volume" lost_volume
tap_done

#!/bin/bash
# features.sh - a volume that needs what this program does not know is not mounted, and one that comes to need it not kept.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
needs fuse python3
start_server
first_client ann vol
another_client bob vol ann
A=$(mnt ann)

# set_features INCOMPAT RO_COMPAT FORMAT: as a newer program of bob's would.
set_features() {
	timeout -k 5 30 python3 - "$top_srcdir/tests/interop" "$T/bob.home" "$@" <<-'PY'
	import sys
	sys.path.insert(0, sys.argv[1])
	import decoder as d, writer as w
	home = d.Home(sys.argv[2], "vol")
	volume, bob = w.Volume(home.key, home.id), w.Client(home.address, home.server, home.secret)
	bob.attach(volume)
	answer, = bob.read(bob.want(1, mode=2))
	status, _ = bob.commit(volume.meta(*map(int, sys.argv[3:])), bases=[(1, answer["version"])])
	assert status == "OK", status
	assert bob.done("bye") == "OK"
	PY
}

refused() {	# TEXT OPTION...
	local text=$1 status=0
	shift
	client ann mount vol "$A" "$@" >"$T/out" 2>&1 || status=$?
	cat "$T/out"
	is 4 $status
	grep -q "$text" "$T/out"
	is 1 "$(wc -l <"$T/out")"
	not is_mounted "$A"
}

incompat() {
	set_features 4 0 1
	refused 'incompat 0x4.*update'
	refused 'incompat 0x4.*update' -o ro
}

ro_compat() {
	set_features 0 2 1
	refused 'ro_compat 0x2.*-o ro'
	client ann mount -o ro vol "$A"
	ls "$A"
	client ann umount "$A"
}

newer_format() {
	set_features 0 0 2
	refused 'newer.*update'
}

mounted() {
	set_features 0 0 1 && mount_client ann vol && echo kept >"$A/file"
}

# Who changes the format waits for nobody: META comes when it is asked for.
unmounted() {
	set_features 4 0 1 && wait_for 20 process_is_gone "${client_pids[ann]}" && ! is_mounted "$A" &&
		grep -q 'error.*incompat 0x4' "$T/ann.log" && ! grep -q lost "$T/ann.log" || return
	unset "client_pids[ann]"
	set_features 0 0 1 && mount_client ann vol && is kept "$(cat "$A/file")"
}

check "unknown incompat flags: not mounted" incompat
check "unknown ro_compat flags: mounted with -o ro only" ro_compat
check "a newer format: not mounted" newer_format
check_here "a volume that this program knows is mounted" mounted
check_here "until it comes to need more, and all is saved" unmounted
tap_done

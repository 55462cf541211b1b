#!/bin/bash
# cli.sh - what the commands say and return: help, exit statuses, and errors that name cause and remedy.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
needs fuse python3
start_server
first_client ann vol
M=$(mnt ann)

# exits STATUS TEXT COMMAND...: that status, and stderr (not stdout) holds TEXT.
exits() {
	local want=$1 text=$2 status=0
	shift 2
	"$@" >"$T/stdout" 2>"$T/stderr" </dev/null || status=$?
	cat "$T/stdout" "$T/stderr"
	is "$want" "$status"
	grep -qi -e "$text" "$T/stderr"
}

helps() {
	local command
	client ann --help >"$T/help"
	for command in join create invite mount login sync status volumes umount recover; do
		grep -qw "$command" "$T/help"
		client ann "$command" --help >"$T/help.one"
		grep -q "usage: nuage $command" "$T/help.one"
		client ann help "$command" | cmp - "$T/help.one"
	done
	( in_ns '' "$NUAGED" -h ) | grep -q 'usage: nuaged'
	( in_ns '' "$NUAGED" --help ) | grep -q 'usage: nuaged'
	client ann --version | grep -q '^nuage [0-9]'
}

usage_errors() {
	local command
	exits 2 "usage" client ann
	exits 2 "no address" client ann invite -a host:99999 vol
	exits 2 "no command 'frobnicate'" client ann frobnicate
	not grep -q "did you mean" "$T/stderr"
	exits 2 "did you mean 'nuage umount'" client ann unmount "$M"
	exits 2 "did you mean 'nuage status'" client ann stauts
	exits 2 "did you mean 'nuage mount'" client ann mout
	exits 2 "did you mean 'nuage join'" client ann joinn
	exits 2 "^nuage mount: " client ann mount --no-such-option
	exits 2 "no command 'frobnicate'" in_ns_sub "$NUAGED" frobnicate
	for command in join create invite mount login sync status volumes umount recover; do
		exits 2 "help" client ann "$command" --no-such-option
	done
	exits 2 "help" client ann mount vol
	exits 2 "ids=" client ann mount -o ids=yours vol "$M"
	exits 2 "no such option" client ann mount -o frobnicate vol "$M"
}

server_errors() {
	exits 2 "help\|usage" in_ns_sub "$NUAGED" --no-such-option
	exits 1 . in_ns_sub timeout 5 "$NUAGED" --data /proc/none --listen 127.0.0.1:0
	exits 1 "not ADDR:PORT" in_ns_sub timeout 5 "$NUAGED" --data "$T/other" --listen 127.0.0.1:65537
	exits 2 "nuaged --data" in_ns_sub "$NUAGED" "$T/other"
	# A second daemon on the same data; the first one goes on.
	exits 1 . in_ns_sub timeout 5 "$NUAGED" --data "$server_data" --listen "127.0.0.1:$(free_port)"
	echo "no_such_key = 1" >"$T/bad.conf"
	exits 1 "no_such_key" in_ns_sub timeout 5 "$NUAGED" --data "$T/other" --config "$T/bad.conf"
	client ann volumes | grep -q vol
}
in_ns_sub() { ( in_ns '' "$@" ); }

# logged EVENT FILE: when, in milliseconds.
logged() { date -d "$(sed -n "s/^time=\([^ ]*\) .* event=$1 .*/\1/p" "$2")" +%s%3N; }

# What is said on the command line goes over the file, also where that says more of it.
options_over_the_file() {
	printf 'listen = 127.0.0.1:1\nlisten = 127.0.0.1:2\nidle_s = 1000\n' >"$T/over.conf"
	in_ns_sub timeout 30 "$NUAGED" --config "$T/over.conf" --data "$T/over" --listen none --idle 1 2>"$T/over.log"
	grep event=stop "$T/over.log"
	[ $(($(logged stop "$T/over.log") - $(logged listen "$T/over.log"))) -ge 1000 ]
	not grep 127.0.0.1 "$T/over.log"
}

# Who holds the store has its admin socket soon, or is about to leave.
invited_meanwhile() {
	rm -f "$server_data/admin.sock"
	flock "$server_data/store/lock" sh -c "touch $T/held; sleep 1" &
	wait_for 5 test -e "$T/held"
	"$NUAGED" invite "$server_data" >"$T/invitation"
	wait
	grep -q '^nuage-invite-' "$T/invitation"
}

# And the other way round: a nuaged that starts waits for an invite that has the store just then.
started_meanwhile() {
	flock "$server_data/store/lock" sh -c "touch $T/held-again; sleep 1" &
	wait_for 5 test -e "$T/held-again" && start_server && ( client ann volumes ) | grep -q vol && invited_late &&
		not in_ns_sub timeout 20 "$NUAGED" --data "$server_data" --listen none 2>"$T/stderr" &&
		grep "another nuaged has it" "$T/stderr" && stop_server
}

# One that runs, and whose socket is there only a second later.
invited_late() {
	mv "$server_data/admin.sock" "$T/admin.sock" || return
	"$NUAGED" invite "$server_data" >"$T/invited-late" &
	local inviting=$!
	sleep 1
	mv "$T/admin.sock" "$server_data/admin.sock" && wait $inviting && grep -q '^nuage-invite-' "$T/invited-late"
}

never_invited() {
	new_client eve
	exits 1 "invitation" client eve create vol2
	exits 1 . client eve mount vol "$(mnt eve)"
	exits 1 "not an invitation" client eve join "hello"
}

invitation_used() {
	local invitation
	invitation=$( ( server_invitation ) )
	new_client one; new_client two
	client one join "$invitation"
	exits 4 "used before.*ask for a new one$" client two join "$invitation"
	exits 4 "used before.*nuage volumes" client one join "$invitation"
}

# Another with the same server and address: of a secret that nobody registered,
# or registered for a second that has passed.
forged_invitation() {	# unknown | expired
	PYTHONPATH=$top_srcdir/tests/interop python3 - "$1" "$( ( server_invitation ) )" "$server_data/admin.sock" <<-'PY'
	import base64, os, socket, sys, time
	import decoder as d
	kind, server, secret, address = d.get_invitation(sys.argv[2])
	secret = os.urandom(32)
	if sys.argv[1] == "expired":
	    token_hash = d.blake2b(32, d.derive(secret, "nuage invitation token")).hex()
	    with socket.socket(socket.AF_UNIX) as s:
	        s.connect(sys.argv[3])
	        s.sendall(b"invite %s 1\n" % token_hash.encode())
	        assert s.recv(100).startswith(b"ok "), "not registered"
	    time.sleep(2)
	body = bytes([1, kind]) + server + secret + bytes([len(address)]) + address.encode()
	body += d.blake2b(16, body)[:4]
	print("nuage-invite-" + base64.urlsafe_b64encode(body).decode().rstrip("="))
	PY
}

invitation_unknown() {
	exits 4 "does not know it.*ask for a new one" client two join "$(forged_invitation unknown)"
}

invitation_expired() {
	exits 4 "expired.*ask for a new one" client two join "$(forged_invitation expired)"
}

invitation_alone_on_stdout() {
	is 1 "$( ( server_invitation ) 2>/dev/null | wc -w)"
	is 1 "$(client ann invite vol 2>/dev/null | wc -w)"
	is 1 "$(wc -w <"$T/vol.code")"
}

recovery() {
	local code
	code=$(cat "$T/vol.code")
	new_client lost
	client lost recover <<<"$code"
	client lost volumes | grep -q vol
	new_client wrong
	recover_with() { client wrong recover <<<"$1"; }
	says "mistyped\|not a recovery code\|no volume" recover_with "${code%?}$([ "${code: -1}" = a ] && echo b || echo a)"
	says "not a recovery code" recover_with "hello"
}

volume_names() {
	exits 4 "already\|is there" client ann create vol
	exits 2 "name" client ann create "a b"
	exits 1 . client ann mount no-such-volume "$M"
}

mount_points() {
	mkdir -p "$T/full" && : >"$T/full/file"
	exits 1 "not empty" client ann mount vol "$T/full"
	exits 1 "no such directory" client ann mount vol "$T/none"
	exits 1 "not a directory" client ann mount vol "$T/full/file"
	exits 2 "the volume comes first" client ann mount "$T/full" vol
}

no_fuse() {	# in a mount namespace of its own where /dev/fuse is missing
	exits 1 "/dev/fuse" unshare -m bash -c 'mount --bind /dev/null "$0/full/file"
		mount -t tmpfs tmpfs /dev && shift 0 && NUAGE_HOME=$1 exec "$2" mount vol "$3"' \
		"$T" "$T/ann.home" "$NUAGE" "$M"
}

slow_server() {
	kill -STOP $server_pid
	exits 3 "waiting for the server" timeout 60 env NUAGE_HOME="$T/ann.home" "$NUAGE" mount vol "$M"
	kill -CONT $server_pid
}

read_only_home() {
	exits 1 "journal $T/.*Read-only" unshare -m bash -c 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" &&
		NUAGE_HOME=$0 exec "$1" mount vol "$2"' "$T/ann.home" "$NUAGE" "$M"
	exits 1 "kept in $T/.*Read-only" unshare -m bash -c 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" &&
		NUAGE_HOME=$0 exec "$1" create another' "$T/ann.home" "$NUAGE"
}

in_use() {
	local status=0
	( cd "$M" && exec sleep 60 ) &
	local pid=$!
	wait_for 10 eval "[ \"\$(readlink /proc/$pid/cwd)\" = '$M' ]"
	exits 1 "in use" client ann umount "$M"
	is_mounted "$M"
	kill $pid
	wait $pid || :
}

below_a_mount() {	# unmounting more than was asked for would surprise
	mkdir -p "$M/below"
	exits 1 "below a mount.*$M" client ann umount "$M/below"
	is_mounted "$M"
}

# Homes may know a volume by the same name; what one has mounted is not another's to clear away.
mounted_by_another_home() {
	another_client zoe vol ann
	exits 1 "NUAGE_HOME" client zoe umount "$M"
	exits 1 "NUAGE_HOME" client zoe umount vol
	exits 1 "NUAGE_HOME" client zoe sync "$M"
	exits 1 "NUAGE_HOME" client zoe status "$M"
	is "" "$(client zoe status 2>"$T/stderr")"
	is_mounted "$M"
	ls "$M"
	mkdir -p "$T/first" "$T/second"
	client zoe mount vol "$T/first"
	another_client yan vol ann
	client yan mount vol "$T/second"
	client zoe umount vol
	not is_mounted "$T/first"
	is_mounted "$T/second"
	# As if there had been no room to note which mount is its own.
	rm "$(find "$T/yan.home" -name mount -type f)"
	client yan umount vol
}

# Not even a signal ends what waits for a mount that does not answer.
stopped_elsewhere() {
	local pid status=0
	pid=$(client ann status --json | jq '.[0].pid')
	kill -STOP "$pid"
	timeout -k 1 20 env NUAGE_HOME="$T/zoe.home" "$NUAGE" status 2>&1 | timeout 20 cat >"$T/stdout" || status=$?
	kill -CONT "$pid"
	cat "$T/stdout"
	is 0 $status
	is "Nothing is mounted." "$(cat "$T/stdout")"
}

# Who asked it something cannot be ended before it is.
deaf_elsewhere() {
	local pid source status=0
	source=$(awk -v at="$(mnt ann)" '$2 == at { print $1 }' /proc/mounts)
	mkdir "$T/deaf"
	python3 "$top_srcdir/tests/tools/deaffs.py" "$T/deaf" "$source" >"$T/deaf.log" 2>&1 &
	pid=$!
	wait_for 5 grep -q ready "$T/deaf.log"
	timeout -k 1 20 env NUAGE_HOME="$T/zoe.home" "$NUAGE" sync "$T/deaf" 2>"$T/stderr" || status=$?
	kill "$pid"
	wait "$pid" || true
	umount -l "$T/deaf"
	is 1 $status
	grep "another home" "$T/stderr"
}

process_gone() {
	mkdir "$T/gone"
	client zoe mount vol "$T/gone"
	kill -KILL "$(client zoe status --json | jq '.[0].pid')"
	wait_for 10 eval '! ls "$T/gone"'
	local status=0
	client zoe status >"$T/stdout" || status=$?
	is 1 $status
	grep -q "GONE.*umount" "$T/stdout"
	client zoe status --json | jq -e '.[0].dead'
	exits 1 "nuage umount" client zoe sync "$T/gone"
	exits 1 "next mount brings" client zoe umount "$T/gone"
	not is_mounted "$T/gone"
	client zoe mount vol "$T/gone"
	kill -KILL "$(client zoe status --json | jq '.[0].pid')"
	wait_for 10 eval '! ls "$T/gone"'
	client zoe mount vol "$T/gone"		# clears it by itself
	ls "$T/gone"
	client zoe umount "$T/gone"
	is "Nothing is mounted." "$(client zoe status 2>&1)"
}

# A volume of another home may have the same name, and its dead mount is for that home to clear away.
process_gone_elsewhere() {
	client zoe mount vol "$T/gone"
	kill -KILL "$(client zoe status --json | jq '.[0].pid')"
	wait_for 10 eval '! ls "$T/gone"'
	is "Nothing is mounted." "$(client yan status 2>&1)"
	exits 1 "not mounted\|another home" client yan umount vol
	is_mounted "$T/gone"
	mkdir -p "$T/second"
	client yan mount vol "$T/second"
	client yan umount vol
	is_mounted "$T/gone"
	exits 1 "next mount brings" client zoe umount vol
	not is_mounted "$T/gone"
}

may_not_create() {	# nuage invite lets a device into a volume, not make others
	exits 4 "nuaged invite" client zoe create another
}

prompts() {	# without echo, which ^C brings back
	timeout -k 5 60 python3 - "$NUAGE" "$T/zoe.home" "$(cat "$T/vol.code")" <<-'PY'
	import os, pty, select, sys, termios, time
	def converse(typed):
	    pid, fd = pty.fork()
	    if pid == 0:
	        os.environ["NUAGE_HOME"] = sys.argv[2]
	        os.execv(sys.argv[1], [sys.argv[1], "recover"])
	    said = b""
	    while b"code: " not in said:
	        said += os.read(fd, 100)
	    while termios.tcgetattr(fd)[3] & termios.ECHO:
	        time.sleep(0.01)
	    os.write(fd, typed)
	    try:
	        while select.select([fd], [], [], 20)[0]:
	            said += os.read(fd, 4096)
	            echo = termios.tcgetattr(fd)[3] & termios.ECHO
	    except OSError:
	        pass
	    return said.decode(), os.waitpid(pid, 0)[1], bool(echo)
	said, status, echo = converse(sys.argv[3].encode() + b"\n")
	print(said)
	assert status == 0 and echo and sys.argv[3] not in said, (status, echo)
	said, status, echo = converse(b"\x03")
	assert status == 2 and echo, (status, echo)
	PY
}

no_server_known() {
	new_client blank
	exits 0 "no server yet.*join" client blank volumes
}

mounted_twice() {
	exits 1 "mounted" client ann mount vol "$M"
}

status_is_json() {
	client ann status
	client ann status --json | jq -e '.[0].volume' >/dev/null
	client ann volumes --json | jq -e '.[0].name == "vol"' >/dev/null
	echo x >"$M/x"
	client ann sync "$M"
	client ann status --json | jq -e '.[0].dirty_bytes == 0'
}

daemonizes() {	# without -f it returns when the mount is there
	client ann mount vol "$M"
	is_mounted "$M"
	echo x >"$M/daemon"
	client ann umount "$M"
	not is_mounted "$M"
}

options_heed() {
	client ann mount -o ro vol "$M"
	is EROFS "$(call create_excl "$M/new")"
	client ann umount "$M"
}

no_route() {
	exits 3 . client ann volumes
	exits 3 . timeout 60 env NUAGE_HOME="$T/ann.home" "$NUAGE" mount vol "$M"
	not is_mounted "$M"
}

umount_everywhere() {	# a mount namespace keeps a copy of every mount, and nothing tells it that one has gone
	client ann mount vol "$M"
	unshare -m --propagation private sleep 300 &
	local pid=$!
	wait_for 10 grep -qx sleep "/proc/$pid/comm"
	echo kept >"$M/kept"
	timeout 60 env NUAGE_HOME="$T/ann.home" "$NUAGE" umount "$M"
	not is_mounted "$M"
	client ann mount vol "$M"
	is kept "$(cat "$M/kept")"
	client ann umount "$M"
	kill $pid
	wait $pid || :
}

umount_watched() {	# somebody asks for its status all the while, as the next mount does
	local pids=()
	cat >"$T/watch.py" <<-'PY'
	import glob, socket, sys, time
	end = time.monotonic() + 60
	while time.monotonic() < end:
	    for path in glob.glob(sys.argv[1] + "/*"):
	        try:
	            with socket.socket(socket.AF_UNIX) as s:
	                s.settimeout(5)
	                s.connect(path)
	                s.sendall(b"status\n")
	                while s.recv(65536):
	                    pass
	        except OSError:
	            pass
	PY
	for _ in 1 2 3; do
		python3 "$T/watch.py" "$T/ann.home/run" &
		pids+=($!)
	done
	for _ in 1 2 3 4 5 6; do
		client ann mount vol "$M"
		client ann umount "$M"
	done
	kill "${pids[@]}"
	wait "${pids[@]}" || :
}

mount_beside_stopped() {	# one that does not answer: nobody waits for it for ever
	local pid
	client ann mount vol "$M"
	pid=$(client ann status --json "$M" | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')
	kill -STOP "$pid"
	exits 1 "mounted already" timeout -s KILL 60 env NUAGE_HOME="$T/ann.home" "$NUAGE" mount vol "$T/beside" || { kill -CONT "$pid"; false; }
	kill -CONT "$pid"
	client ann umount "$M"
}

# It names what is not saved, and leaves it to the journal; and it does not wait for a command that reads nothing.
umount_without_server() {
	local deep="$M/$(printf '%0250d' 1)"
	deep=$deep/$(printf '%0250d' 2)/$(printf '%0250d' 3)
	mkdir -p "$deep"
	for i in {1..180}; do : >"$deep/$(printf '%0250d' "$i")"; done
	cat >"$T/deaf.py" <<-'PY'
	import glob, socket, sys, time
	s = socket.socket(socket.AF_UNIX)
	s.connect(glob.glob(sys.argv[1] + "/*")[0])
	s.sendall(b"status\n")
	mute = socket.socket(socket.AF_UNIX)
	mute.connect(glob.glob(sys.argv[1] + "/*")[0])
	print("asked", flush=True)
	time.sleep(300)
	PY
	coproc DEAF { exec python3 "$T/deaf.py" "$T/ann.home/run"; }
	read -r <&"${DEAF[0]}"
	echo unsaved >"$M/unsaved-file"
	timeout 90 env NUAGE_HOME="$T/ann.home" "$NUAGE" umount -t 2 "$M" 2>"$T/stderr"
	cat "$T/stderr"
	grep -q "next mount" "$T/stderr"
	grep -q "unsaved-file" "$T/stderr"
	not is_mounted "$M"
	client ann status | grep -q "waits\? in the journal"
	wait_for 30 process_is_gone "${client_pids[ann]}"
	kill "$DEAF_PID"
}

check "help of every command" helps
check "wrong usage is status 2, and says where help is" usage_errors
check "nuaged's own errors" server_errors
check "its options go over its file" options_over_the_file
check "a device never invited" never_invited
check "an invitation already used" invitation_used
check "one the server does not know" invitation_unknown
check "and one that has expired" invitation_expired
check "invitations and codes stand alone on stdout" invitation_alone_on_stdout
check "recovery, and a wrong code" recovery
check "volume names" volume_names
check "mount points" mount_points
if [ "$(id -u)" = 0 ]; then
	check "no /dev/fuse" no_fuse
	check "a read-only home" read_only_home
else
	skip "no /dev/fuse" "not root"
	skip "a read-only home" "not root"
fi
check "mount and umount as a person does" daemonizes
check "-o ro" options_heed
check "umount while somebody asks how it is" umount_watched
mkdir "$T/beside"
check "a mount whose process is stopped" mount_beside_stopped
check "a mount says that it waits" slow_server
if [ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null; then
	check "umount while another mount namespace has it" umount_everywhere
else
	skip "umount while another mount namespace has it" "no mount namespaces"
fi
mount_client ann vol
if command -v jq >/dev/null; then
	check "status and volumes are JSON when asked" status_is_json
else
	skip "status and volumes are JSON when asked" "no jq"
fi
check "a mount point in use" in_use
check "a mount of another home" mounted_by_another_home
check "a stopped mount of another home holds nobody up" stopped_elsewhere
if [ "$(id -u)" = 0 ]; then
	check "nor does one that takes requests and answers none" deaf_elsewhere
else
	skip "nor does one that takes requests and answers none" "not root"
fi
check "a directory below a mount" below_a_mount
check "a mount whose process was killed" process_gone
check "one that another home has of it" process_gone_elsewhere
check "a member may not make volumes" may_not_create
check "a device that knows no server" no_server_known
check "secrets are typed without echo" prompts
check "a second mount at the same place" mounted_twice
: >"$M/leased"		# what is unsaved later needs leases that the server gave
kill_server
check "umount without the server" umount_without_server
kill_and_wait "${client_pids[ann]}" TERM
check "no route to the server" no_route
check "an invitation while nuaged is just starting" invited_meanwhile
check_here "nuaged starting while somebody just has the store" started_meanwhile
tap_done

#!/bin/bash
# stranger.sh - who has no key gets nothing, says nothing, and disturbs nobody.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
needs fuse python3
start_server
first_client ann vol
mount_client ann vol
M=$(mnt ann)
echo precious >"$M/file"
flush_client ann

# The member's work goes on, at once.
ann_is_well() {
	is precious "$(timeout 5 cat "$M/file")"
	echo more >"$M/more"
	timeout 5 "$NUAGE" volumes >/dev/null 2>&1 || :
	( export NUAGE_HOME="$T/ann.home"; timeout 10 "$NUAGE" sync "$M" )
	kill -0 "$server_pid"
}

not_invited() {
	new_client eve
	fails client eve create stolen
	fails client eve invite vol
	mkdir -p "$T/eve.mnt"
	fails timeout 20 env NUAGE_HOME="$T/eve.home" "$NUAGE" mount vol "$T/eve.mnt"
	not is_mounted "$T/eve.mnt"
	ann_is_well
}

invitation_used() {
	local invitation
	invitation=$( ( server_invitation ) )
	new_client first; new_client second
	client first join "$invitation"
	says . client second join "$invitation"
	fails client second create mine
	invitation=$(client ann invite vol)
	new_client third; new_client fourth
	client third join "$invitation"
	fails client fourth join "$invitation"
	ann_is_well
}

invitation_changed() {	# every changed character is noticed
	local invitation changed at n=0
	invitation=$( ( server_invitation ) )
	new_client typo
	for at in $(seq 14 7 $((${#invitation} - 1))); do
		case ${invitation:at:1} in a) c=b ;; *) c=a ;; esac
		changed=${invitation:0:at}$c${invitation:at+1}
		fails timeout 20 env NUAGE_HOME="$T/typo.home" "$NUAGE" join "$changed"
		n=$((n + 1))
	done
	[ $n -gt 3 ]
	client typo join "$invitation"
}

not_a_member() {	# known to the server, but never invited to the volume
	local invitation
	invitation=$( ( server_invitation ) )
	new_client guest
	client guest join "$invitation"
	mkdir -p "$T/guest.mnt"
	fails timeout 20 env NUAGE_HOME="$T/guest.home" "$NUAGE" mount vol "$T/guest.mnt"
	fails client guest invite vol
	not is_mounted "$T/guest.mnt"
}

# An impostor at the server's address: clients refuse it, and lose nothing.
wrong_server() {
	stop_server
	mv "$server_data" "$T/real"
	start_server
	mkdir -p "$T/ann2.mnt"
	! timeout 20 env NUAGE_HOME="$T/ann.home" "$NUAGE" volumes >"$T/volumes" 2>&1 || return
	echo still >"$M/written-meanwhile" &
	local pid=$!
	sleep 2
	stop_server
	rm -rf "$server_data"
	mv "$T/real" "$server_data"
	start_server
	wait $pid
	flush_client ann && remount_client ann vol && is still "$(cat "$M/written-meanwhile")"
}

attack() {	# KIND: see below
	python3 - "$server_port" "$1" <<-'PY'
	import os, random, socket, sys, threading, time
	port, kind = int(sys.argv[1]), sys.argv[2]
	def connect(to=port):
	    s = socket.create_connection(("127.0.0.1", to), timeout=5)
	    s.settimeout(15)
	    return s
	def drain(s):
	    got = b""
	    try:
	        while data := s.recv(65536):
	            got += data
	            if len(got) > 1 << 20:
	                sys.exit("the server told a stranger a megabyte")
	    except (ConnectionError, socket.timeout):
	        pass
	    return got
	def send(s, data):
	    try:
	        s.sendall(data)
	        s.shutdown(socket.SHUT_WR)
	    except OSError:
	        pass
	if kind == "noise":
	    for n in range(60):
	        s = connect()
	        send(s, random.Random(n).randbytes(random.Random(n).choice([1, 7, 60, 200, 5000, 100000])))
	        drain(s)
	elif kind == "half-open":
	    # Many that say nothing: they must not keep others out, nor stay for ever.
	    idle = []
	    for n in range(300):
	        try:
	            idle.append(connect())
	        except OSError:
	            break
	    time.sleep(1)
	    print(len(idle), "idle")
	    open(os.environ["T"] + "/idle", "w").close()
	    closed = 0
	    deadline = time.time() + 40
	    for s in idle:
	        s.settimeout(max(0.1, deadline - time.time()))
	        try:
	            closed += s.recv(1) == b""
	        except ConnectionError:
	            closed += 1
	        except socket.timeout:
	            pass
	    assert closed == len(idle), (closed, len(idle))
	elif kind in ("replay", "truncate", "flip"):
	    talk = open(os.environ["T"] + "/talk", "rb").read()
	    assert len(talk) > 100, len(talk)
	    for n in range(40):
	        r = random.Random(n)
	        data = bytearray(talk)
	        if kind == "truncate":
	            data = data[:r.randrange(len(data))]
	        elif kind == "flip":
	            data[r.randrange(min(len(data), 200))] ^= 1 << r.randrange(8)
	        s = connect()
	        send(s, bytes(data))
	        drain(s)
	PY
}
export T

# What a member says when it connects, as a listener on the line has it.
record_talk() {
	local port pid status=0
	port=$(free_port)
	timeout -k 1 60 python3 - "$port" "$server_port" "$T/talk" <<-'PY' &
	import socket, sys, threading
	a = socket.create_server(("127.0.0.1", int(sys.argv[1])))
	open(sys.argv[3], "wb").close()
	client, _ = a.accept()
	server = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
	said = open(sys.argv[3], "wb")
	def pump(x, y, log):
	    try:
	        while data := x.recv(65536):
	            if log:
	                said.write(data)
	                said.flush()
	            y.sendall(data)
	        y.shutdown(socket.SHUT_WR)
	    except OSError:
	        pass
	t = threading.Thread(target=pump, args=(server, client, False), daemon=True)
	t.start()
	pump(client, server, True)
	t.join(5)
	PY
	pid=$!
	wait_for 20 test -e "$T/talk"
	new_client traced
	# An invitation names the address; through the recorder it names the recorder's.
	client traced join "$(client ann invite --address "127.0.0.1:$port" vol)" || status=$?
	kill "$pid" 2>/dev/null || :
	wait "$pid" || :
	is 0 $status
	[ -s "$T/talk" ]
}

log_lines() { wc -l <"$server_log"; }

noise() {
	local before after
	before=$(log_lines)
	attack noise
	after=$(log_lines)
	echo "60 strangers, $((after - before)) lines"
	# Each refusal at most once, or fewer; but not silently all.
	[ $((after - before)) -ge 1 ]
	[ $((after - before)) -le 70 ]
	ann_is_well
}

half_open() {
	rm -f "$T/idle"
	attack half-open &
	local pid=$!
	wait_for 10 test -e "$T/idle"
	ann_is_well
	new_client late
	timeout 20 env NUAGE_HOME="$T/late.home" "$NUAGE" join "$( ( server_invitation ) )"
	wait $pid
}

replayed() {
	attack replay
	attack truncate
	attack flip
	ann_is_well
	# Whatever was replayed, nothing came of it: one volume, ann's.
	is 1 "$(client ann volumes | grep -c vol)"
}

log_is_discreet() {
	local secret
	secret=$(client ann invite vol)
	not grep -qF "$secret" "$server_log"
	not grep -qF "${secret:20:24}" "$server_log"
	not grep -qF "$(cat "$T/vol.code")" "$server_log"
}

check "without an invitation nothing is had" not_invited
check "an invitation serves once" invitation_used
check "a mistyped invitation is refused, the right one still serves" invitation_changed
check "a device known to the server is no member" not_a_member
check "random bytes are refused, each once in the log" noise
check "a member's handshake is recorded" record_talk
check "replayed, truncated and changed handshakes are refused" replayed
check "silent connections end, and keep nobody out" half_open
check_here "a server with another key is refused, and work goes on with the right one" wrong_server
check "the log has no secrets" log_is_discreet
tap_done

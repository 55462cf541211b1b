#!/bin/bash
# test_wanlink.sh - the test link itself: what goes over it arrives as it was, no faster than the rate, no
# sooner than the delay, with offloading and without; a cut one carries nothing.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
needs root netns python3

# One end sends BYTES that the other one counts and sums up; the seconds it took.
carry() {	# BYTES [SECONDS]
	in_ns "$server_ns" timeout "${2:-60}" python3 - "$1" >"$T/heard" <<-'END' &
	import hashlib, socket, sys
	s = socket.create_server(("10.99.0.2", 7001))
	print("listens", flush=True)
	c, _ = s.accept()
	want, have, sum = int(sys.argv[1]), 0, hashlib.sha256()
	while have < want and (data := c.recv(1 << 20)):
	    have += len(data)
	    sum.update(data)
	c.sendall(sum.digest())
	END
	wait_for 10 grep -q listens "$T/heard" || exit 127	# that would be no answer to anything
	( in_ns "$client_ns" timeout "${2:-60}" python3 - "$1" ) <<-'END'
	import hashlib, random, socket, sys, time
	data = random.Random(1).randbytes(int(sys.argv[1]))
	s = socket.create_connection(("10.99.0.2", 7001))
	began = time.monotonic()
	s.sendall(data)
	if s.recv(32, socket.MSG_WAITALL) != hashlib.sha256(data).digest():
	    sys.exit("what came is not what was sent")
	print("%.3f" % (time.monotonic() - began))
	END
}

within() {	# LEAST MOST COMMAND...: seconds that it says
	local least=$1 most=$2 took
	shift 2
	took=$("$@") || { echo "$took"; return 1; }
	echo "$took s"
	python3 -c 'import sys; a, b, c, d = map(float, sys.argv[1:]); sys.exit(not a <= b <= c * d)' "$least" "$took" "$most" "$(patience)"
}

link_down() {
	kill_and_wait "$link_pid" TERM
	ip netns del "$client_ns"
	ip netns del "$server_ns"
	link_pid='' client_ns='' server_ns=''
}

# 100 Mbit/s are 12.5 MB a second, less the headers.
for option in "" -o; do
	link_up -d 5 -r 100 $option
	check "10 MB at 100 Mbit/s ${option:-as they are}" within 0.8 1.5 carry 10000000
	check "and a few bytes take a round trip" within 0.010 1 carry 100
	link_cut
	check_not "a cut link carries nothing" carry 100 2
	link_restore
	check "and again once it is restored" carry 100
	link_down
done
tap_done

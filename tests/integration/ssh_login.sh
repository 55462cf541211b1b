#!/bin/bash
# ssh_login.sh - a mount over SSH that cannot log in again by itself: it says so, and
# `nuage login` answers for it.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
. "$top_srcdir/tests/sshd.sh" || exit 1
needs fuse python3 jq ssh ssh-keygen ssh-agent ssh-add
needs_sshd
start_sshd
new_client ann
M=$(mnt ann)

waits() { client ann status | grep -q "it waits for somebody to log in: nuage login $M"; }
connected() { client ann status >"$T/status" && grep -q "connected to ssh:.*over SSH" "$T/status"; }
works() { echo "$1" >"$M/file" && timeout 30 sync "$M/file" && is "$1" "$(cat "$M/file")"; }
# One line, and a status.
refused() {	# STATUS TEXT COMMAND...
	local expected=$1 text=$2 status=0
	shift 2
	"$@" >"$T/said" 2>&1 || status=$?
	cat "$T/said"
	is "$expected" $status && grep -q -e "$text" "$T/said" && is 1 "$(grep -c . "$T/said")"
}

# The key is the agent's alone to open, and the agent goes.
agent_goes() {
	new_key "$T/secret_key" "open sesame" && cat "$T/secret_key.pub" >>"$T/authorized_keys" || return
	write_ssh_config
	sed -i "s|$T/user_key|$T/secret_key|" "$T/ssh_config"
	eval "$(ssh-agent -a "$T/agent" -s)" >/dev/null
	printf '#!/bin/sh\necho "open sesame"\n' >"$T/askpass"
	chmod +x "$T/askpass"
	SSH_ASKPASS=$T/askpass SSH_ASKPASS_REQUIRE=force ssh-add -q "$T/secret_key" || return
	client_alone ann mount "$ssh_store" "$M" --create --log "$T/ann.log" && works one && connected || return
	client ann status --json | jq -e '.[0].login == false' || return
	kill_and_wait "$SSH_AGENT_PID" TERM
	kill_logins
	wait_for 20 waits || return
	client ann status >"$T/status"
	is 3 $? && cat "$T/status" && client ann status --json | jq -e '.[0].login and (.[0].connected | not)'
}
check_here "a mount whose agent is gone says what it waits for" agent_goes

no_answer() {
	refused 4 "has a passphrase" client_alone ann login "$M"
	waits
}
check "without a terminal it stays so" no_answer

wrong_answer() {
	local status=0
	client_asked ann "Enter passphrase=x" "Enter passphrase=y" "Enter passphrase=z" -- login "$M" >"$T/said" || status=$?
	cat "$T/said"
	is 4 $status
	grep -q "the passphrase of .* was wrong" "$T/said"
	wait_for 5 waits || { wait_for 20 says "the passphrase of" client ann status; }
	not connected
}
check "nor after three wrong answers" wrong_answer

given_up() {
	# Who asks goes away: somebody else may ask.
	python3 - "$T/ann.home" "$M" <<-'END'
	import glob, socket, sys
	s = socket.socket(socket.AF_UNIX)
	s.connect(glob.glob(sys.argv[1] + "/run/*")[0])
	s.sendall(b"login " + sys.argv[2].encode() + b"\n")
	line = s.makefile().readline()
	assert line.startswith("ask hidden Enter passphrase for key"), line
	END
}
check "a question that nobody waits for is given up" given_up

right_answer() {
	client_asked ann "Enter passphrase=wrong" "Enter passphrase=open sesame" -- login "$M"
	connected
	works two
	# It is kept from now on.
	kill_logins
	wait_for 30 connected
	works three
	client ann login "$M"
}
check "the right one connects it, and is kept" right_answer

strangers() {
	chmod 755 "$T" "$T/ann.home" "$T/ann.home/run"
	chmod 666 "$T/ann.home/run/"*
	setpriv --reuid 65534 --regid 65534 --clear-groups /usr/bin/python3 - "$T/ann.home" "$M" <<-'END'
	import os, socket, sys
	run = sys.argv[1] + "/run/"
	s = socket.socket(socket.AF_UNIX)
	s.connect(run + os.listdir(run)[0])
	s.sendall(b"login " + sys.argv[2].encode() + b"\n")
	line = s.makefile().readline()
	assert line.startswith("refused only the user"), line
	END
	local status=$?
	chmod 600 "$T/ann.home/run/"*
	chmod 700 "$T/ann.home" "$T/ann.home/run"
	return $status
}
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
	check_here "nobody else may answer" strangers
else
	skip "nobody else may answer" "it takes root and setpriv"
fi

unknown_host() {
	cp "$T/known_hosts" "$T/known_hosts.good"
	: >"$T/known_hosts"
	kill_logins
	wait_for 20 waits || return
	client_asked ann "Continue connecting=no" -- login "$M" && return 1
	[ ! -s "$T/known_hosts" ] || return
	client_asked ann "Continue connecting=yes" -- login "$M" || return
	cmp "$T/known_hosts" "$T/known_hosts.good" && connected && works four
}
check_here "a host whose key is forgotten is asked about" unknown_host

unreachable() {
	stop_sshd_and_logins
	wait_for 20 says "NOT CONNECTED" client ann status || return
	refused 3 "no SSH server listens there" client ann login "$M" || return
	start_sshd
	client ann login "$M" && connected || return
}
check_here "a server that is away is not waited for, one that is back is found" unreachable

umount_amid() {
	local status=0 pid
	umount_ann || return
	rm -f "$T/known_hosts.good"
	client_asked ann "Enter passphrase=open sesame" -- mount box/drive "$M" --log "$T/ann.log" || return
	: >"$T/known_hosts"
	kill_logins
	wait_for 20 waits || return
	client_asked ann "never=comes" -- login "$M" >"$T/said" 2>&1 &
	pid=$!
	wait_for 10 grep -q "Continue connecting" "$T/said" || return
	timeout 60 "$NUAGE" --version >/dev/null
	( export NUAGE_HOME="$T/ann.home"; timeout 40 "$NUAGE" umount --timeout 1 "$M" ) || return
	wait $pid || status=$?
	cat "$T/said"
	test $status != 0
	not is_mounted "$M"
	know_host
}
check_here "an unmount does not wait for an answer" umount_amid

# ---- passwords ----

# It was kept, and is not good any more.
changed_password() {	# SSHD-LINE...
	write_ssh_config "PubkeyAuthentication no"
	start_sshd_with_password "$@" || return
	client_asked ann "assword: =correct horse" -- mount box/drive "$M" --log "$T/ann.log" && works "$1" || return
	stop_sshd_and_logins
	sshd_password="battery staple"
	start_sshd_with_password "$@"
	sshd_password=
	wait_for 30 waits || return
	client_asked ann "assword: =correct horse" "assword: =battery staple" -- login "$M" || return
	connected && works "$1 again" || return
	kill_logins
	wait_for 30 connected && umount_ann
}
if can_have_password; then
	check_here "a password that was changed" changed_password \
		"UsePAM no" "PasswordAuthentication yes" "KbdInteractiveAuthentication no"
	if [ -e /etc/pam.d/sshd ]; then
		check_here "the same with keyboard-interactive" changed_password \
			"UsePAM yes" "PasswordAuthentication no" "KbdInteractiveAuthentication yes"
	else
		skip "the same with keyboard-interactive" "no /etc/pam.d/sshd"
	fi
else
	skip "a password that was changed" "it takes root and a mount namespace"
fi

tap_done

#!/bin/bash
# ssh_faults.sh - a mount over SSH in mid-copy: sshd's children killed, the far side's
# nuaged killed, the link cut.  The copy goes on, and nothing that was synced is lost.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
. "$top_srcdir/tests/sshd.sh" || exit 1
needs fuse root netns python3 ssh ssh-keygen
needs_sshd
link_up -d 2 -r 100
sshd_host=$server_host
start_sshd
new_key "$T/secret_key" "open sesame"
cat "$T/secret_key.pub" >>"$T/authorized_keys"
new_client ann
new_client bob
M=$(mnt ann)

# The agent's key is asked for once, at a terminal; afterwards nobody is there to ask.
set_up() {
	sed -i "s|$T/user_key|$T/secret_key|" "$T/ssh_config"
	in_client_ns client_asked ann "Enter passphrase=open sesame" -- mount "$ssh_store" "$M" --create --log "$T/ann.log"
}
in_client_ns() { ( client_asked() { local name=$1; shift; local w=(); while [ "$1" != -- ]; do w+=("$1"); shift; done; shift
	NUAGE_HOME="$T/$name.home" in_ns "$client_ns" python3 "$top_srcdir/tests/tools/ask.py" "${w[@]}" -- "$NUAGE" "$@"; }; "$@" ); }

connected() { client ann status >"$T/status" && cat "$T/status" && grep -q "over SSH" "$T/status"; }

kill_both_logins() {
	local killed
	killed=$(sshd_children | wc -l)
	[ "$killed" -ge 2 ] || { echo "$killed logins"; return 1; }
	kill_logins
}
kill_remote() {
	local pid
	pid=$(remote_nuaged)
	[ -n "$pid" ] || return
	kill -KILL $pid
}
cut_for_20_s() { link_cut && sleep 20 && link_restore; }

check_here "a mount whose key has a passphrase, and a second client" set_up
cp "$T/ssh_config" "$T/ssh_config.secret"
write_ssh_config
client ann invite drive >"$T/invitation" 2>/dev/null
must client bob join "$(cat "$T/invitation")"
cp "$T/ssh_config.secret" "$T/ssh_config"
# bob comes by the plain key.
bob_config() { sed "s|$T/secret_key|$T/user_key|" "$T/ssh_config.secret" >"$T/ssh_config.bob"; }
bob_config
client() {
	local name=$1 config=$T/ssh_config
	shift
	[ "$name" != bob ] || config=$T/ssh_config.bob
	( export NUAGE_HOME="$T/$name.home" NUAGE_SSH_CONFIG="$config"; in_ns "$client_ns" "$NUAGE" "$@" )
}

check_here "sshd's children are killed in mid-copy" amid_copy logins kill_both_logins
check_here "and no passphrase was asked for again" connected
check_here "the far side's nuaged is killed in mid-copy" amid_copy remote kill_remote
check_here "it runs again, one of it" is 1 "$(remote_nuaged | wc -l)"
check_here "the link is cut for 20 s in mid-copy" amid_copy link cut_for_20_s
check_here "all is connected" connected

changed_meanwhile() {
	cp "$T/known_hosts" "$T/known_hosts.good"
	new_key "$T/other_key"
	echo "[$sshd_host]:$sshd_port $(cut -d' ' -f1,2 "$T/other_key.pub")" >"$T/known_hosts"
	kill_both_logins || return
	wait_for 20 says "NOT CONNECTED: .*HAS CHANGED" client ann status || return
	cp "$T/known_hosts.good" "$T/known_hosts"
	wait_for 40 connected
}
check_here "a host key that changes under a mount, and back" changed_meanwhile

ends() {
	client ann umount "$M" && client bob umount "$(mnt bob)"
}
check_here "it ends" ends
tap_done

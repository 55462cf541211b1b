#!/bin/bash
# ssh_door.sh - the nuaged of a system, and users of its machine who have a login and nothing
# else: whom its administrator admits joins by SSH, and everybody else is told who decides.
#
# In a mount namespace of its own, with accounts, /run and /var/lib of its own.
if [ -z "${NUAGE_OWN_MOUNTS-}" ] && [ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null; then
	NUAGE_OWN_MOUNTS=1 exec unshare -m --propagation slave "$0" "$@"
fi
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
. "$top_srcdir/tests/sshd.sh" || exit 1
needs fuse root /usr/bin/python3 ssh ssh-keygen setpriv flock
[ -n "${NUAGE_OWN_MOUNTS-}" ] || skip_all "no mount namespaces"
# Where all may run it, wherever it was built.
install -D -m 755 "$NUAGED" "$T/bin/nuaged"
NUAGED=$T/bin/nuaged sshd_path=$T/bin
setpriv --reuid 65534 --regid 65534 --clear-groups "$NUAGED" --version >/dev/null 2>&1 ||
	skip_all "other users may not run what is in ${T%/*}"

# ---- the machine: alice is of the group, mallory is not ----

cp /etc/passwd /etc/group /etc/shadow "$T"
cat >>"$T/passwd" <<END
nuage:x:60000:60000::/nonexistent:/usr/sbin/nologin
alice:x:60001:60001::$T/alice:/bin/bash
mallory:x:60002:60002::$T/mallory:/bin/sh
END
printf '%s:x:%s:%s\n' nuage 60000 '' alice 60001 '' mallory 60002 '' drive 60010 alice >>"$T/group"
printf '%s:*:19000:0:99999:7:::\n' nuage alice mallory >>"$T/shadow"
for file in passwd group shadow; do
	must mount --bind "$T/$file" "/etc/$file"
done
must mount -t tmpfs -o mode=755 none /run
must mount -t tmpfs -o mode=755 none /var/lib
mkdir /run/sshd
install -d -m 700 -o nuage -g nuage /var/lib/nuage
install -d -m 755 -o nuage -g nuage /run/nuage
server_data=/var/lib/nuage
as_nuage() { setpriv --reuid nuage --regid nuage --clear-groups "$@"; }
start_system() {	# OPTION...
	setpriv --reuid nuage --regid nuage --clear-groups "$NUAGED" --data /var/lib/nuage "$@" >>"$server_log" 2>&1 &
	server_pid=$!
	wait_for 10 test -S /var/lib/nuage/nuaged.sock
}
server_port=$(free_port)
direct() { echo "--listen 127.0.0.1:$server_port"; }
start_sshd
printf 'Host 127.0.0.1\n    Port %s\n' "$sshd_port" >>"$T/ssh_config"
store() { echo "ssh://$1@127.0.0.1/var/lib/nuage"; }

# One line and status 1, in which is TEXT.
refused() {	# TEXT CLIENT ARG...
	local text=$1 status=0
	shift
	client_alone "$@" >"$T/said" 2>&1 || status=$?
	cat "$T/said"
	is 1 $status && is 1 "$(wc -l <"$T/said")" && grep -q -e "$text" "$T/said"
}

# ---- who may join ----

closed() {
	new_client alice && new_client mallory || return
	start_system $(direct) || return
	refused "/var/lib/nuage is not open to alice: .*admits nobody (admit in nuaged.conf)" alice join ssh://alice@127.0.0.1
	local status=$?
	stop_server
	refused "is not open to alice: .*does not run or admits nobody" alice join ssh://alice@127.0.0.1 && return $status
}
check_here "a system's nuaged admits nobody by itself" closed

joins() {
	start_system $(direct) --admit @drive || return
	refused "/var/lib/nuage is not open to mallory: its administrator admits @drive" mallory join ssh://mallory@127.0.0.1 ||
		return
	client_alone alice join ssh://alice@127.0.0.1 && client alice create hers >"$T/code" || return
	client alice mount hers "$(mnt alice)" && client alice status | grep "connected to 127.0.0.1:$server_port" || return
	echo hello >"$(mnt alice)/file" && client alice umount "$(mnt alice)" || return
	not setpriv --reuid alice --regid alice --groups drive ls /var/lib/nuage
}
check_here "an ordinary user of the group that it admits joins, another is told which" joins

in_one_command() {
	client_alone alice mount "$(store alice)#second" "$(mnt alice)" --create >"$T/code"
	touch "$(mnt alice)/x"
	client alice umount "$(mnt alice)"
}
check "or mounts in one command" in_one_command

by_ssh() {
	stop_server
	start_system --listen none --admit alice --admit "*" || return
	client alice mount hers "$(mnt alice)" && client alice status | grep "connected to ssh://.*over SSH" || return
	is hello "$(cat "$(mnt alice)/file")" && random_file "$T/large" 5M && cp "$T/large" "$(mnt alice)/large" || return
	client alice sync "$(mnt alice)" || return
	# Nor does a system's nuaged that starts again, with other guests, disturb who is admitted.
	stop_server
	start_system --listen none --admit alice || return
	echo more >"$(mnt alice)/file" && timeout 60 sync "$(mnt alice)/file" && client alice umount "$(mnt alice)" || return
	client alice mount hers "$(mnt alice)" && is more "$(cat "$(mnt alice)/file")" && cmp "$T/large" "$(mnt alice)/large" &&
		client alice umount "$(mnt alice)"
}
check_here "with no port open all goes by SSH" by_ssh

elsewhere() {
	install -d -m 700 /var/lib/other
	refused "/var/lib/other is not open to alice: the nuaged of this machine serves /var/lib/nuage" \
		alice mount ssh://alice@127.0.0.1/var/lib/other "$(mnt alice)"
	refused "there is no store yet" alice mount ssh://alice@127.0.0.1/var/lib/none "$(mnt alice)"
}
check "another directory than it serves" elsewhere

# ---- at the door ----

# As the user, in the directory of the door.
guest() { ( cd /run/nuage && exec setpriv --reuid "$1" --regid "$1" --init-groups /usr/bin/python3 - ); }

hung_up() {
	guest mallory <<-'END'
	import socket
	s = socket.socket(socket.AF_UNIX)
	s.settimeout(5)
	s.connect("nuaged.sock")
	assert s.recv(1) == b"", "served"
	s = socket.socket(socket.AF_UNIX)
	s.settimeout(5)
	s.connect("admin.sock")
	assert s.makefile().read() == "error its administrator admits alice\n"
	END
	guest alice <<-'END'
	import socket
	def ask(line):
	    s = socket.socket(socket.AF_UNIX)
	    s.settimeout(5)
	    s.connect("admin.sock")
	    s.sendall(line)
	    return s.makefile().read()
	assert ask(b"who\n").endswith(" /var/lib/nuage\n")
	for wrong in b"\n", b"invite\n", b"invite 00 60\n", b"invite " + 64 * b"g" + b" 60\n", b"stop\n":
	    assert ask(wrong) == "error no such request\n", wrong
	try:
	    assert ask(600 * b"x") == ""
	except ConnectionResetError:
	    pass
	s = socket.socket(socket.AF_UNIX)
	s.settimeout(1)
	s.connect("nuaged.sock")
	try:
	    assert s.recv(1) != b"", "hung up on"
	except TimeoutError:
	    pass
	END
	grep "event=refused peer=unix uid=60002" "$server_log"
}
check "the kernel says who is at the door" hung_up

dawdlers() {
	guest alice >"$T/there" <<-'END' &
	import socket, time
	there = []
	for i in range(40):
	    s = socket.socket(socket.AF_UNIX)
	    s.connect("admin.sock")
	    there.append(s)
	print("all", flush=True)
	time.sleep(5)
	END
	local pid=$! began
	wait_for 5 grep all "$T/there" || return
	began=${EPOCHREALTIME/./}
	as_nuage "$NUAGED" invite /var/lib/nuage && [ $((${EPOCHREALTIME/./} - began)) -lt 1500000 ] && kill -0 $pid || return
	wait $pid && new_client anew && client_alone anew join ssh://alice@127.0.0.1
}
check_here "guests who say nothing do not keep the owner waiting" dawdlers

held_up() {
	stop_server
	chmod 755 /var/lib/nuage
	setpriv --reuid mallory --regid mallory --clear-groups flock --no-fork /var/lib/nuage sh -c 'echo held; exec sleep 60' >"$T/held" &
	local pid=$! status
	wait_for 10 grep held "$T/held" && start_system --listen none --admit alice
	status=$?
	chmod 700 /var/lib/nuage
	kill_and_wait $pid TERM
	return $status
}
check_here "who may read the data directory cannot keep it from starting" held_up

# What nuaged says when it does not start.
not_with() {	# TEXT OPTION...
	local text=$1
	shift
	says "$text" timeout 10 setpriv --reuid nuage --regid nuage --clear-groups "$NUAGED" --data /var/lib/nuage --listen none "$@"
}
misled() {
	not_with "another nuaged has it" --admit alice || return
	stop_server
	install -d -m 755 /run/roots
	not_with "admit @dirve: there is no such group" --admit @dirve &&
		not_with "admit bob: there is no such user" --admit bob &&
		not_with "/run/other: Permission denied" --admit alice --door /run/other &&
		not_with "/run/roots: belongs to another user" --admit alice --door /run/roots || return
	chmod 777 /run/nuage
	not_with "others may write here" --admit alice && chmod 755 /run/nuage
}
check_here "a door that is none" misled

own_door() {
	install -d -m 755 -o nuage /run/second
	printf 'data = /var/lib/nuage/\nlisten = none\nadmit = alice\nadmit = @drive\ndoor = /run/second\n' >"$T/conf"
	chmod 644 "$T/conf"
	setpriv --reuid nuage --regid nuage --clear-groups "$NUAGED" --config "$T/conf" >>"$server_log" 2>&1 &
	server_pid=$!
	wait_for 10 test -S /run/second/nuaged.sock || return
	echo "restrict,command=\"nuaged bridge /var/lib/nuage --door /run/second\" $(cat "$T/user_key.pub")" >"$T/authorized_keys"
	client alice mount hers "$(mnt alice)" && is more "$(cat "$(mnt alice)/file")" && client alice umount "$(mnt alice)" || return
	stop_server
	not test -e /run/second/nuaged.sock && not test -e /run/second/admin.sock
}
check_here "a door of another name" own_door

tap_done

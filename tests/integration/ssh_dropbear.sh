#!/bin/bash
# ssh_dropbear.sh - a mount over SSH by way of dropbear, the other server that is met with:
# its host keys, its way of passwords and keys, no SFTP, and its end in mid-work.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
. "$top_srcdir/tests/sshd.sh" || exit 1
needs fuse root python3 ssh-keygen dropbear dropbearkey
"$NUAGE" mount ssh:// / 2>&1 | grep -q libssh2 && skip_all "built without libssh2"
unshare -m true 2>/dev/null || skip_all "no mount namespaces"
user_home=$(getent passwd "$ssh_user" | cut -d: -f6)
sshd_port=$(free_port)
sshd_program=$(command -v dropbear)
ssh_store=ssh://box/~/store
far=$T/login
mkdir -p "$far/.ssh" "$far/.local/sbin"
chmod 700 "$far" "$far/.ssh"
ln -s "$(realpath "$NUAGED")" "$far/.local/sbin/nuaged"
new_key "$T/user_key"
cp "$T/user_key.pub" "$far/.ssh/authorized_keys"
chmod 600 "$far/.ssh/authorized_keys"
for type in ed25519 ecdsa; do
	dropbearkey -t $type -f "$T/$type.host" 2>/dev/null | grep "^ecdsa\|^ssh" >"$T/$type.host.pub"
done
write_ssh_config

# In a mount namespace of its own, where the user's home is $far.
start_dropbear() {	# TYPE [OPTION...]
	local type=$1
	shift
	mounts_below "$T" >"$T/mounted"		# what the test unmounts must not live on there
	unshare -m --propagation slave setsid sh -c 'while read -r where; do umount -l "$where"; done <"$3"
		mount --bind "$1" "$2" && shift 3 && exec "$@"' sh "$far" "$user_home" "$T/mounted" \
		"$sshd_program" -F -E -m -P "$T/dropbear.pid" -p "127.0.0.1:$sshd_port" -r "$T/$type.host" "$@" \
		>>"$T/sshd.log" 2>&1 &
	sshd_pid=$!
	helper_pids+=($sshd_pid)
	wait_for 10 sshd_answers || bail "dropbear does not start" "$T/sshd.log"
	echo "[127.0.0.1]:$sshd_port $(cut -d' ' -f1,2 "$T/$type.host.pub")" >"$T/known_hosts"
}
stop_dropbear() {
	local children
	children=$(sshd_children)
	stop_sshd
	[ -z "$children" ] || kill -KILL $children || true
}
# Of the store below that home, not of one of the same name elsewhere.
remote_pid() {
	local pid
	for pid in $(pgrep -f "nuaged --data $user_home/store"); do
		grep -qs "${T##*/}/login $user_home " "/proc/$pid/mountinfo" && echo "$pid"
	done
}
end_remote() {
	local pid
	for pid in $(remote_pid); do
		kill -KILL "$pid"
	done
	ssh_cleanup
}
trap 'status=$?; end_remote; (exit $status); cleanup' EXIT
new_client ann
new_client bob
M=$(mnt ann)

host_keys() {
	local type
	for type in ed25519 ecdsa; do
		start_dropbear $type || return
		client_alone ann mount "$ssh_store" "$M" --create >"$T/code" && echo $type >"$M/$type" &&
			client ann status | grep "over SSH" && umount_ann || return
		[ $type = ecdsa ] || stop_dropbear
	done
	client_alone ann mount "$ssh_store" "$M" && is ed25519 "$(cat "$M/ed25519")" && is ecdsa "$(cat "$M/ecdsa")" && umount_ann
}
check_here "host keys of both types" host_keys

changed_key() {
	echo "[127.0.0.1]:$sshd_port $(cut -d' ' -f1,2 "$T/ed25519.host.pub")" >"$T/known_hosts"
	says "is unknown, and there is no terminal" client_alone ann mount "$ssh_store" "$M" || return
	dropbearkey -t ecdsa -f "$T/other.host" 2>/dev/null | grep "^ecdsa" >"$T/other.pub"
	echo "[127.0.0.1]:$sshd_port $(cut -d' ' -f1,2 "$T/other.pub")" >"$T/known_hosts"
	says "HAS CHANGED" client_alone ann mount "$ssh_store" "$M" || return
	echo "[127.0.0.1]:$sshd_port $(cut -d' ' -f1,2 "$T/ecdsa.host.pub")" >"$T/known_hosts"
}
check_here "one that is unknown, and one that has changed" changed_key

work() {
	client_alone ann mount "$ssh_store" "$M" --log "$T/ann.log" || return
	random_file "$T/source" 24M
	cp "$T/source" "$M/copy" && client ann sync "$M" && umount_ann || return
	client_alone ann mount "$ssh_store" "$M" --log "$T/ann.log" && drop_caches && cmp "$T/source" "$M/copy"
}
check_here "bulk, there and back" work

two_see() {
	client ann invite box/drive >"$T/invitation" 2>/dev/null || return
	client bob join "$(cat "$T/invitation")" && client bob mount box/drive "$(mnt bob)" || return
	echo "by ann" >"$M/both" && is "by ann" "$(cat "$(mnt bob)/both")" || return
	echo "by bob" >"$(mnt bob)/both" && is "by bob" "$(cat "$M/both")" && client bob umount "$(mnt bob)"
}
check_here "two clients see one truth" two_see

restarted() {
	dd if="$T/source" of="$M/amid" bs=1M conv=fsync 2>/dev/null &
	local copy=$!
	wait_for 10 test -s "$M/amid" || return
	stop_dropbear
	sleep 2
	start_dropbear ecdsa
	wait $copy && cmp "$T/source" "$M/amid" && client ann sync "$M" || return
	client ann status | grep "over SSH" && umount_ann && client_alone ann mount "$ssh_store" "$M" && drop_caches &&
		cmp "$T/source" "$M/amid" && umount_ann
}
check_here "dropbear ends in mid-copy, and comes back" restarted

installed() {
	local parcel
	parcel=$(echo "$top_builddir"/nuaged-*-"$(uname -m)")
	rm "$far/.local/sbin/nuaged"
	says "no nuaged on its PATH" client_alone ann mount "$ssh_store" "$M" || return
	NUAGE_SERVERS=$top_builddir client_alone ann mount "$ssh_store" "$M" --install-server || return
	cmp "$parcel" "$far/.cache/nuage/${parcel##*/}"-* && cmp "$T/source" "$M/amid" && umount_ann
}
if [ -x "$(echo "$top_builddir"/nuaged-*-"$(uname -m)")" ]; then
	check_here "a nuaged is copied there" installed
else
	skip "a nuaged is copied there" "built without the static nuaged"
fi

refused_key() {
	local status=0
	: >"$far/.ssh/authorized_keys"
	client_alone ann mount "$ssh_store" "$M" >"$T/said" 2>&1 || status=$?
	cat "$T/said"
	is 4 $status && is 1 "$(wc -l <"$T/said")" && grep -q "permission denied" "$T/said" &&
		cp "$T/user_key.pub" "$far/.ssh/authorized_keys"
}
check_here "a key that is not wanted there" refused_key

tap_done

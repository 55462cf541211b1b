#!/bin/bash
# ssh_install.sh - a mount by SSH from a host that has no nuaged: ours is copied there when
# that is wanted, by SFTP or without, once; and what keeps it from that.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
. "$top_srcdir/tests/sshd.sh" || exit 1
needs fuse python3 ssh ssh-keygen sha256sum
needs_sshd
for place in /usr/local/sbin /usr/sbin /sbin /usr/bin /bin; do
	[ ! -x $place/nuaged ] || skip_all "nuaged is installed here"
done
machine=$(uname -m)
version=$("$NUAGED" --version | cut -d' ' -f2)
parcel=$top_builddir/nuaged-$version-$machine
[ -x "$parcel" ] || skip_all "built without the static nuaged"
digest=$(sha256sum <"$parcel" | cut -c1-16)
mkdir "$T/servers" "$T/far"
cp "$parcel" "$parcel.sha256" "$T/servers"
export NUAGE_SERVERS=$T/servers
sshd_path=$T/far
cache=$T/login/.cache/nuage
copied=nuaged-$version-$machine-$digest
sftp="Subsystem sftp internal-sftp"
start_sshd "$sftp"
new_client ann
M=$(mnt ann)

forget() { rm -rf "$cache"; }
left_there() { ls -A "$cache"; }
# A program of the far side that says something else than it should.
pretend() { printf '#!/bin/sh\n%s\n' "$2" >"$T/far/$1"; chmod +x "$T/far/$1"; }	# PROGRAM SCRIPT

# One line that says TEXT, a status that is not 0, no mount, and nothing half done.
one_line() {	# TEXT COMMAND...
	local text=$1 status=0
	shift
	"$@" >"$T/said" 2>&1 || status=$?
	cat "$T/said"
	test $status != 0 && is 1 "$(wc -l <"$T/said")" && grep -q -e "$text" "$T/said" || return
	not is_mounted "$M"
}
nothing_left() { [ ! -e "$cache" ] || is "" "$(left_there)"; }
refused() { one_line "$1" client_alone ann mount "$ssh_store" "$M" --create --install-server && nothing_left; }

unasked() {
	one_line "no nuaged on its PATH.*--install-server" client_alone ann mount "$ssh_store" "$M" --create
	nothing_left
}
check "without a terminal nothing is copied" unasked

said_no() {
	client_asked ann "Copy it there=no" -- mount "$ssh_store" "$M" && return 1
	nothing_left
}
check "nor when the answer is no" said_no

said_yes() {
	client_asked ann "Copy it there=yes" "Make one=yes" "Make it=yes" -- mount "$ssh_store" "$M"
	is "$copied" "$(left_there)"
	cmp "$parcel" "$cache/$copied"
	is 700 "$(stat -c %a "$cache/$copied")"
	echo hello >"$M/file"
	pgrep -f "nuaged --data $T/remote/store" | while read -r pid; do
		is "$cache/$copied" "$(readlink "/proc/$pid/exe")"
	done
	client ann umount "$M"
}
check "when it is yes, three questions lead to a drive" said_yes

once() {
	local inode
	inode=$(stat -c %i "$cache/$copied")
	client_alone ann mount "$ssh_store" "$M"
	is hello "$(cat "$M/file")"
	client ann umount "$M"
	client_alone ann mount "$ssh_store" "$M" --install-server
	client ann umount "$M"
	is "$inode" "$(stat -c %i "$cache/$copied")"
}
check "it is copied once" once

versions() {
	mv "$cache/$copied" "$cache/nuaged-0.0.1-$machine-0123456789abcdef"
	touch "$cache/.nuaged-broken.00000001" "$cache/.nuaged-broken.00000002" "$cache/nuaged-0.0.1-other-0123456789abcdef"
	touch -d "2 hours ago" "$cache/.nuaged-broken.00000001"
	stop_remote
	# An old one is better than none; who may copy brings ours, and the others of this kind go.
	client_alone ann mount "$ssh_store" "$M"
	client ann umount "$M"
	client_alone ann mount "$ssh_store" "$M" --install-server
	is hello "$(cat "$M/file")"
	client ann umount "$M"
	is ".nuaged-broken.00000002 nuaged-0.0.1-other-0123456789abcdef $copied" "$(left_there | LC_ALL=C sort | paste -sd' ')"
}
check "an older one is used, and then replaced" versions

asked_again() {
	stop_remote
	forget
	one_line "no nuaged on its PATH" client_alone ann mount box/drive "$M"
	client_asked ann "Copy it there=yes" -- mount box/drive "$M"
	is hello "$(cat "$M/file")"
	client ann umount "$M"
}
check "a server that is known is asked about again" asked_again

damaged_there() {
	stop_remote
	echo >>"$cache/$copied"
	client_alone ann mount box/drive "$M" --install-server
	client ann umount "$M"
	cmp "$parcel" "$cache/$copied"
}
check "one that was damaged there is copied anew" damaged_there

without_sftp() {
	stop_remote
	forget
	restart_sshd "MaxSessions 1" || return
	client_alone ann mount box/drive "$M" --install-server && is "$copied" "$(left_there)" && client ann umount "$M" || return
	stop_remote
	forget
	restart_sshd "$sftp" "MaxSessions 1"
	client_alone ann mount box/drive "$M" --install-server && is "$copied" "$(left_there)" && client ann umount "$M"
}
check_here "without SFTP, and one session at a time" without_sftp

noisy() {
	stop_remote
	forget
	printf 'echo Welcome\nhead -c 20000 /dev/zero | tr "\\0" x\necho oops >&2\n' >"$T/login/.bashrc"
	client_alone ann mount box/drive "$M" --install-server
	is "$copied" "$(left_there)"
	client ann umount "$M"
}
check "start-up files that print" noisy
rm -f "$T/login/.bashrc"

# As dropbear does now and then between two commands.
connection_breaks() {
	stop_remote
	forget
	pretend sha256sum "if mkdir '$T/broken' 2>/dev/null; then
		read -r _ _ _ login _ </proc/\$PPID/stat; [ \$login = $sshd_pid ] || kill -KILL \$login
	fi
	exec $(command -v sha256sum)"
	client_alone ann mount box/drive "$M" --install-server
	test -d "$T/broken"
	cmp "$parcel" "$cache/$copied"		# beside what the broken one left, which the next but one clears away
	client ann umount "$M"
}
check "a connection that breaks meanwhile" connection_breaks
rm -f "$T/far/sha256sum"
stop_remote
forget

rm -rf "$T/ann.home" "$T/remote/store"
new_client ann

# ---- what keeps it from that ----

other_machine() {
	pretend uname 'echo Linux sparc64'
	refused "is a machine of the kind sparc64, and here is no nuaged to be copied to such"
	pretend uname 'echo FreeBSD amd64'
	refused "is a machine of the kind FreeBSD amd64, for which there is no nuaged"
	pretend uname 'echo "Linux ../../x"'
	refused "for which there is no nuaged"
	# It is called after that machine, but is for this one.
	pretend uname 'echo Linux aarch64'
	cp "$parcel" "$T/servers/nuaged-$version-aarch64"
	cp "$parcel.sha256" "$T/servers/nuaged-$version-aarch64.sha256"
	[ "$machine" = aarch64 ] || refused "is no program for a machine of the kind aarch64"
}
check "another kind of machine" other_machine
rm -f "$T/far/uname"

lies_about_machine() {
	# What is for another machine does not start: it is tried before it gets its name.
	cp "$parcel" "$T/servers/nuaged-$version-$machine"
	python3 - "$T/servers/nuaged-$version-$machine" <<-'END'
	import sys
	with open(sys.argv[1], "r+b") as f:
	    f.seek(0x18)
	    f.write(b"\xff" * 8)
	END
	(cd "$T/servers" && sha256sum "nuaged-$version-$machine" >"nuaged-$version-$machine.sha256")
	refused "the nuaged that was copied there does not run"
}
check "one that does not run there" lies_about_machine

damaged_here() {
	cp "$parcel.sha256" "$T/servers"
	refused "is not what its digest says"
	echo >"$T/servers/nuaged-$version-$machine.sha256"
	refused "nuaged-$version-$machine: damaged"
	rm "$T/servers/nuaged-$version-$machine.sha256"
	refused "here is no nuaged to be copied to such"
	cp "$parcel" "$parcel.sha256" "$T/servers"
}
check "one that was damaged here" damaged_here

damaged_on_the_way() {
	pretend sha256sum "echo \"$(echo x | sha256sum | cut -c1-64)  -\""
	refused "what arrived there is not the nuaged that was sent"
	pretend sha256sum "exit 3"
	refused "cannot be verified"
}
check "one that was damaged on the way" damaged_on_the_way
rm -f "$T/far/sha256sum"

full_disk() {
	mkdir -p "$T/login/.cache"
	mount -t tmpfs -o size=1m,mode=700 none "$T/login/.cache" || return
	refused "no space left on its disk for nuaged" || return
	restart_sshd
	refused "cannot be copied there: cat: .*No space left on device" || return
	umount "$T/login/.cache"
	mount -t tmpfs -o noexec,mode=700 none "$T/login/.cache" || return
	refused "does not run: .*Permission denied" || return
	umount "$T/login/.cache"
	mount -t tmpfs -o ro none "$T/login/.cache" || return
	refused "cannot be copied there: mkdir: .*Read-only file system" || return
	umount "$T/login/.cache"
}
if [ "$(id -u)" = 0 ]; then
	check_here "a full disk, by SFTP and without, and one that nothing may run from" full_disk
	umount "$T/login/.cache" 2>/dev/null
else
	skip "a full disk" "it takes root"
fi

forced() {
	echo "restrict,command=\"echo no nuage here\" $(cat "$T/user_key.pub")" >"$T/authorized_keys"
	refused "no command can be run there, so nothing can be copied"
}
check "a login that runs one command only" forced
cp "$T/user_key.pub" "$T/authorized_keys"

killed_amid() {
	restart_sshd "$sftp"
	# sshd goes while the far side verifies.
	pretend sha256sum "touch $T/verifying; sleep 5"
	client_alone ann mount "$ssh_store" "$M" --create --install-server >"$T/said" 2>&1 &
	local pid=$! status=0
	wait_for 10 test -e "$T/verifying" || return
	stop_sshd_and_logins
	wait $pid || status=$?
	rm "$T/far/sha256sum"
	cat "$T/said"
	is 3 $status && is 1 "$(wc -l <"$T/said")" && grep -q "connection refused: no SSH server listens there" "$T/said" || return
	# What is left of it is no nuaged, and the next one takes no notice.
	left_there | grep -v '^\.' && return 1
	start_sshd "$sftp" || return
	client_alone ann mount "$ssh_store" "$M" --create --install-server && is "$copied" "$(left_there | grep -v '^\.')" &&
		client ann umount "$M"
}
check_here "a connection that breaks amid it" killed_amid

tap_done

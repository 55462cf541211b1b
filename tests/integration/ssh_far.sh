#!/bin/bash
# ssh_far.sh - a mount over SSH, and what the far side can lack or be: no nuaged, a shell that
# talks or is restricted, a forced command, a full disk, one session only.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
. "$top_srcdir/tests/sshd.sh" || exit 1
needs fuse python3 ssh ssh-keygen
sshd_with_drive

# ---- the far side ----

sshd_starts() { grep -c "Server listening" "$T/sshd.log"; }
absent_nuaged() {
	local status=0 starts
	sed -i "s|PATH=[^:]*:|PATH=|" "$T/sshd_config"
	starts=$(sshd_starts)
	kill -HUP "$sshd_pid"
	wait_for 10 eval "[ \"\$(sshd_starts)\" -gt $starts ]" && wait_for 10 sshd_answers || return
	client_alone ann mount "$ssh_store" "$M" >"$T/said" 2>&1 || status=$?
	cat "$T/said"
	grep -q "there is no nuaged on its PATH" "$T/said" && is 1 "$(wc -l <"$T/said")" && is 1 $status || return
	new_client nina
	client_alone nina mount "ssh://box$T/remote/nina" "$(mnt nina)" --create --nuaged "$(realpath "$NUAGED")" || return
	client nina umount "$(mnt nina)" || return
	client_alone nina mount box/drive "$(mnt nina)" && client nina umount "$(mnt nina)"
}
if [ -x /usr/sbin/nuaged ] || [ -x /usr/local/sbin/nuaged ]; then
	skip "no nuaged on the far side, or one elsewhere" "nuaged is installed here"
else
	check_here "no nuaged on the far side, or one elsewhere" absent_nuaged
fi

# The only one on its PATH.
other_machine() {
	mkdir -p "$T/far" && cp "$(realpath "$NUAGED")" "$T/far/nuaged" || return
	printf '\377\377' | dd of="$T/far/nuaged" bs=1 seek=18 conv=notrunc 2>/dev/null	# e_machine
	local programs=$sshd_path
	sshd_path=$T/far
	restart_sshd
	sshd_path=$programs
	says "its nuaged cannot be run there: .*nuaged: .*Exec format error" client_alone ann mount "$ssh_store" "$M"
}
check_here "a nuaged for another machine" other_machine
rm -rf "$T/far"

noisy_shell() {
	restart_sshd
	printf 'echo "Welcome, you have mail"\nprintf "no newline nuage-bridge 1 ok"\nhead -c 200000 /dev/zero | tr "\\0" x\necho oops >&2\n' \
		>"$T/login/.bashrc"
	cp "$T/login/.bashrc" "$T/login/.profile"
	ssh -F "$T/ssh_config" box true | grep -q Welcome || { echo "the shell is not noisy"; rm "$T/login/.bashrc"; return 1; }
	client_alone ann mount "$ssh_store" "$M" && is hello "$(cat "$M/file")" && umount_ann
	local status=$?
	rm "$T/login/.bashrc" "$T/login/.profile"
	return $status
}
check_here "start-up files that print" noisy_shell

forced() {
	new_key "$T/forced_key"
	echo "restrict,command=\"nuaged bridge --create $T/remote/forced\" $(cat "$T/forced_key.pub")" >>"$T/authorized_keys"
	sed -i "s|$T/user_key|$T/forced_key|" "$T/ssh_config"
	new_client fred
	client_alone fred mount "ssh://box/whatever" "$(mnt fred)" --create || return
	[ -d "$T/remote/forced/store" ] && not test -e /whatever && client fred umount "$(mnt fred)" || return
	echo "restrict,command=\"echo no nuage here\" $(cat "$T/forced_key.pub")" >"$T/authorized_keys"
	says "did not start there" client_alone fred mount box/drive "$(mnt fred)" || return
	cat "$T"/user_key.pub >"$T/authorized_keys"
	write_ssh_config
}
check_here "a forced command, and one that is something else" forced
write_ssh_config

# Root's login shell is another.
other_shells() {
	sed "s|^\(root:.*\):[^:]*$|\1:/bin/rbash|" /etc/passwd >"$T/passwd"
	start_sshd_seeing "$T/passwd" /etc/passwd "UsePAM no" && ssh -F "$T/ssh_config" box "cd /" 2>&1 | grep restricted || return
	# It finds nuaged on its PATH, and may do nothing else.
	client_alone ann mount "$ssh_store" "$M" && is hello "$(cat "$M/file")" && umount_ann || return
	sed -i "s|:/bin/rbash|:/usr/sbin/nologin|" "$T/passwd"
	start_sshd_seeing "$T/passwd" /etc/passwd "UsePAM no" || return
	says "did not start there (status 1): This account is currently not available" \
		client_alone ann mount "$ssh_store" "$M"
}
full_disk() {
	local size
	new_client finn
	mkdir "$T/remote/full"
	for size in 3m 64k; do
		mount -t tmpfs -o size=$size,mode=700 none "$T/remote/full" || return
		[ $size = 3m ] || head -c 60k /dev/zero >"$T/remote/full/fill"
		client_alone finn mount "ssh://box$T/remote/full/store" "$(mnt finn)" --create >"$T/said" 2>&1 && return 1
		cat "$T/said"
		umount "$T/remote/full"
		is 1 "$(wc -l <"$T/said")" && grep -q "[Nn]o space left on" "$T/said" || return
	done
}
if can_have_password; then
	check_here "a restricted shell, and one that is none" other_shells
	restart_sshd
	check_here "a store on a full disk" full_disk
	umount "$T/remote/full" 2>/dev/null
else
	skip "a restricted shell" "it takes root and a mount namespace"
	skip "a store on a full disk" "it takes root"
fi

# Why, in the far side's words, and soon: not when all that might still come has been waited for.
soon() {	# TEXT
	local began=$EPOCHREALTIME status=0
	client_alone bert mount box/drive "$(mnt bert)" >"$T/said" 2>&1 || status=$?
	echo "$(cat "$T/said"): $(((${EPOCHREALTIME/./} - ${began/./}) / 1000)) ms"
	is 1 $status && is 1 "$(wc -l <"$T/said")" && grep -q "nuaged does not start for $T/remote/broken: $1" "$T/said" &&
		[ $(((${EPOCHREALTIME/./} - ${began/./}) / 1000000)) -lt 10 ]
}
does_not_start() {
	local store=$T/remote/broken/store status=0
	new_client bert
	client_alone bert mount "ssh://box$T/remote/broken" "$(mnt bert)" --create && client bert umount "$(mnt bert)" || return
	stop_remote
	mv "$store/records.mdb" "$T/records" && head -c 65536 /dev/zero >"$store/records.mdb" || return
	soon ".*store: damaged" || return
	mv "$T/records" "$store/records.mdb"
	if [ "$(id -u)" = 0 ]; then
		mount --bind "$T/remote/broken" "$T/remote/broken" && mount -o remount,bind,ro "$T/remote/broken" || return
		soon "its log cannot be written: Read-only file system"
		status=$?
		umount "$T/remote/broken"
		[ $status = 0 ] || return
	fi
	client_alone bert mount box/drive "$(mnt bert)" && client bert umount "$(mnt bert)"
}
check_here "a nuaged that does not start says why, at once" does_not_start

one_session() {
	restart_sshd "MaxSessions 1"
	client_alone ann mount "$ssh_store" "$M" || return
	random_file "$M/blocks" 8M && client ann sync "$M" && umount_ann || return
	client_alone ann mount "$ssh_store" "$M" && drop_caches && is 8388608 "$(wc -c <"$M/blocks")" && umount_ann
}
check_here "MaxSessions 1" one_session

# sshd gives a command pipes; some other may give it a socket.
on_a_socket() {
	restart_sshd
	cat >"$T/on_a_socket" <<-END
	#!/usr/bin/python3
	import os, socket, subprocess, sys, threading
	open("$T/was_on_a_socket", "w").close()
	ours, theirs = socket.socketpair()
	subprocess.Popen(["$(realpath "$NUAGED")", *sys.argv[1:]], stdin=theirs, stdout=theirs)
	theirs.close()
	def carry_in():
	    while data := os.read(0, 65536):
	        ours.sendall(data)
	    ours.shutdown(socket.SHUT_WR)
	threading.Thread(target=carry_in, daemon=True).start()
	while data := ours.recv(65536):
	    while data:
	        data = data[os.write(1, data):]
	END
	chmod +x "$T/on_a_socket"
	new_client sue
	client_alone sue mount "ssh://box$T/remote/sue" "$(mnt sue)" --create --nuaged "$T/on_a_socket" || return
	random_file "$T/sent" 8M && cp "$T/sent" "$(mnt sue)/sent" && client sue umount "$(mnt sue)" || return
	client_alone sue mount box/drive "$(mnt sue)" && cmp "$T/sent" "$(mnt sue)/sent" && client sue umount "$(mnt sue)" &&
		[ -e "$T/was_on_a_socket" ]
}
check_here "a bridge on sockets" on_a_socket

other_owner() {
	mkdir "$T/remote/foreign"
	chmod 777 "$T/remote/foreign"
	touch "$T/remote/foreign/x"
	new_client olga
	says "cannot be used by this user: .*others may write" \
		client_alone olga mount "ssh://box$T/remote/foreign" "$(mnt olga)" --create
}
check "a directory that others may write to" other_owner

nobody_listens() {
	local status=0
	stop_sshd
	client_alone ann volumes >"$T/said" 2>&1 || status=$?
	cat "$T/said"
	is 3 $status && grep -q "no SSH server listens there" "$T/said"
}
check_here "nobody listens" nobody_listens

leaves() {
	start_sshd
	new_client ida
	client_alone ida mount "ssh://box$T/remote/ida" "$(mnt ida)" --create || return
	client ida umount "$(mnt ida)" || return
	stop_remote
	"$NUAGED" bridge --data "$T/remote/ida" --idle 1 </dev/null >/dev/null
	wait_for 5 grep -q "event=stop idle" "$T/remote/ida/nuaged.log"
}
check_here "the far side's nuaged leaves when idle" leaves

tap_done

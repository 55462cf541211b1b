#!/bin/bash
# ssh_lanes.sh - a mount over SSH for which one connection is not enough: others are opened,
# for as long as they are of use, and where the server lets nobody else in it does without.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
. "$top_srcdir/tests/sshd.sh" || exit 1
needs fuse root netns python3 ssh ssh-keygen
needs_sshd
# So far away that few bytes a second are many on their way.
link_up -d 75 -r 1000
sshd_host=$server_host
start_sshd
new_client ann
M=$(mnt ann)

bridges() { pgrep -fc "nuaged bridge --data $T/remote/$1"; }
has_bridges() { [ "$(bridges "$1")" = "$2" ]; }
has_lanes() { [ "$(bridges store)" -gt "$1" ]; }	# and control

random_file "$T/sent" 48M

write_on() {	# DIRECTORY, until it is told to end
	while [ ! -e "$T/enough" ]; do
		cp "$T/sent" "$1/sent" || return
	done
}

opened() {
	must mount_ssh ann "$ssh_store" --create
	write_on "$M" &
	writer_pid=$!
	wait_for 120 has_lanes 2
}
check_here "a second connection for blocks" opened

# Of the youngest login: that of a lane which may go.
killed() {
	local child
	child=$(sshd_children | tail -1)
	pkill -KILL -P "$child"
	kill -KILL "$child"
	touch "$T/enough"
	wait $writer_pid && client ann sync "$M"
}
check_here "it dies in mid-copy, and the copy goes on" killed

idle() { wait_for 60 has_bridges store 2; }
check_here "what is of no more use is closed" idle
same() { remount_client ann "$ssh_store" && cmp "$T/sent" "$M/sent" && umount_client ann; }
check_here "and nothing was lost" same

# Once it is mounted no command is nuaged any more.
refused() {
	local where
	where=$(mnt ben)
	new_client ben
	printf '#!/bin/sh\n[ ! -e %s ] || { echo no >>%s; exit 1; }\nexec %s "$@"\n' "$T/no_more" "$T/tries" \
		"$(realpath "$NUAGED")" >"$T/nuaged_or_not"
	chmod +x "$T/nuaged_or_not"
	rm "$T/enough"
	must mount_ssh ben "ssh://box$T/remote/ben" --create --nuaged "$T/nuaged_or_not"
	wait_for 20 has_bridges ben 2 || return
	touch "$T/no_more"
	write_on "$where" &
	writer_pid=$!
	wait_for 120 test -s "$T/tries"
	# Time for several attempts; the first may have been said twice.
	sleep 15
	touch "$T/enough"
	wait $writer_pid && cmp "$T/sent" "$where/sent" && is 2 "$(bridges ben)" && [ "$(wc -l <"$T/tries")" -le 2 ]
}
check_here "a server that gives no more: it goes on with one" refused
tap_done

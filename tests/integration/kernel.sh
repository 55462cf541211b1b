#!/bin/bash
# kernel.sh - races with the kernel's caches, made to happen: kernel.sh [CASE...].
# ann's mount waits at named points (fs/delay.h); what bob did meanwhile she must see.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
delayed=$tools/nuage-delay
[ -x "$delayed" ] || skip_all "nuage-delay is not built"
needs fuse python3
export NUAGE_DELAY=$T/delays
start_server
first_client ann vol
another_client bob vol ann
A=$(mnt ann) B=$(mnt bob)
log=$T/ann.log
PAUSE=1000

# ---- delays ----

delays() { printf '%s\n' "$@" >"$T/delays.new" && mv "$T/delays.new" "$T/delays"; }

hits() { grep -c "delay at $1\$" "$log"; }

reached() {	# POINT HITS-BEFORE
	[ "$(hits "$1")" -gt "$2" ]
}

# during POINT FIRST SECOND: two functions; the second begins when the first, or what it causes, waits at POINT.
during() {
	local before first
	before=$(hits "$1")
	delays "$1=$PAUSE"
	"$2" &
	first=$!
	wait_for 10 reached "$1" "$before" || { echo "$1 was not reached"; delays; return 1; }
	"$3" || { echo "$3 failed"; delays; return 1; }
	delays
	wait $first || { echo "$2 failed"; return 1; }
}

# An open file of ann's, opened while she was alone, so that the kernel keeps its pages; commands on its stdin.
holder() {	# PATH [READ-ONLY]
	cat >"$T/holder.py" <<-'PY'
	import mmap, os, sys
	fd = os.open(sys.argv[1], os.O_RDONLY if len(sys.argv) > 2 else os.O_RDWR)
	m = None
	print("open", flush=True)
	for line in sys.stdin:
	    words = line.split()
	    if words[0] == "read":
	        out = os.pread(fd, int(words[2]), int(words[1])).decode()
	    elif words[0] == "write":
	        out = str(os.pwrite(fd, words[2].encode(), int(words[1])))
	    elif words[0] == "store":
	        m = m or mmap.mmap(fd, os.fstat(fd).st_size)
	        m[int(words[1]):int(words[1]) + len(words[2])] = words[2].encode()
	        out = "stored"
	    elif words[0] == "chmod":
	        os.fchmod(fd, int(words[1], 8))
	        out = "ok"
	    elif words[0] == "mode":
	        out = oct(os.fstat(fd).st_mode & 0o777)[2:]
	    print(out, flush=True)
	PY
	coproc HOLDER { exec python3 "$T/holder.py" "$@"; }
	helper_pids+=("$HOLDER_PID")
	local line
	read -r -t 30 line <&"${HOLDER[0]}" && is open "$line"
}
ask() {
	local answer
	echo "$*" >&"${HOLDER[1]}"
	read -r -t 30 answer <&"${HOLDER[0]}" && echo "$answer"
}
let_go() {
	exec {HOLDER[1]}>&-
	wait "$HOLDER_PID" 2>/dev/null
	return 0
}

# ---- mounts ----

ann_mounts() {	# [SETTING...]
	delays "$@"
	NUAGE=$delayed mount_client ann vol
	delays
}

both_mount() { ann_mounts "$@" && mount_client bob vol; }
nobody_mounts() { umount_client bob && umount_client ann; }

# both NAME FUNCTION: a case on fresh mounts; alone: bob mounts when the function says so.
wanted=" $* "
both() {
	[ "$wanted" = "  " ] || [ "${wanted/ $2 /}" != "$wanted" ] || return 0
	both_mount "${settings[@]}"
	check_here "$1" "$2"
	nobody_mounts >/dev/null 2>&1 || bail "the mounts do not end" "$log"
}
alone() {
	[ "$wanted" = "  " ] || [ "${wanted/ $2 /}" != "$wanted" ] || return 0
	ann_mounts
	check_here "$1" "$2"
	nobody_mounts >/dev/null 2>&1 || bail "the mounts do not end" "$log"
}
settings=()

# ---- the order of a recall: sweep, commit, release ----

recall_waits_for_sweep() {
	: >"$A/order" && is 644 "$(stat -c %a "$A/order")" || return
	theirs() { chmod 600 "$B/order"; }
	ours() { is 644 "$(stat -c %a "$A/order")"; }	# bob is not done yet
	during sweep theirs ours && is 600 "$(stat -c %a "$A/order")"
}

pages_wait_for_sweep() {
	printf 'old old old' >"$A/pages" && holder "$A/pages" || return
	is old "$(ask read 0 3)" && mount_client bob vol || return
	theirs() { printf new | dd of="$B/pages" conv=notrunc status=none; }
	nothing() { :; }
	during sweep theirs nothing && is new "$(ask read 0 3)" && let_go
}

# What is read during the sweep is kept again: then one sweep is not enough.  (Who only reads costs none
# when the lease is weakened first.)
pages_come_back() {
	printf 'old old old' >"$A/back" && holder "$A/back" read-only || return
	is old "$(ask read 0 3)" && mount_client bob vol || return
	theirs() { printf new | dd of="$B/back" conv=notrunc status=none; }
	again() { is old "$(ask read 0 3)"; }
	during swept theirs again && is new "$(ask read 0 3)" && let_go
}

# ---- replies that are on their way ----

# Of a new inode: those of one it knows the kernel judges by itself.
attributes_on_their_way() {
	ours() { : >"$A/way"; }
	theirs() { chmod 600 "$B/way"; }
	during reply-create ours theirs && is 600 "$(stat -c %a "$A/way")"
}

# ---- names ----

name_goes() {
	rm -rf "$A/names" && mkdir "$A/names" && : >"$A/names/one" && ls "$A/names" >/dev/null && [ -e "$A/names/one" ] && [ ! -e "$A/names/two" ] || return
	mv "$B/names/one" "$B/names/two" && [ ! -e "$A/names/one" ] && [ -e "$A/names/two" ]
}

name_on_its_way() {
	rm -rf "$A/late" && mkdir "$A/late" && ls "$A/late" >/dev/null || return
	ours() { [ ! -e new ]; }
	theirs() { : >"$B/late/new"; }
	cd "$A/late" || return		# one look-up, and none of the way there, nor of what a program wants to run
	during reply-lookup ours theirs && [ -e new ]
	local status=$?
	cd "$OLDPWD" && return $status
}

# ---- own requests that hold the kernel's locks ----

# Both write; ann's request has its page locked and is younger, when bob's recalls the file.
two_upgraders() {
	printf 'both both both' >"$A/up" && holder "$A/up" || return
	is both "$(ask read 0 4)" && mount_client bob vol && is both "$(head -c 4 "$B/up")" || return
	theirs() { printf bob | timeout 20 dd of="$B/up" conv=notrunc status=none; }
	ours() { is 3 "$(ask write 10 ann)"; }
	during recalled theirs ours && is 'bob' "$(head -c 3 "$A/up")" && is ann "$(tail -c +11 "$B/up" | head -c 3)" && let_go
}

# ---- appending ----

appenders() {
	: >"$A/log" || return
	ours() { echo ann >>"$A/log"; }
	theirs() { echo bob >>"$B/log"; }
	during submit-write ours theirs && is "bob ann" "$(tr '\n' ' ' <"$B/log" | sed 's/ $//')"
}

# ---- attributes that the kernel takes from LINK, CREATE and UNLINK ----

# Its count of names goes down by one when a removal is answered, even if it knew the new one already.
name_removed() {
	: >"$A/first" && ln "$A/first" "$A/second" || return
	ours() { rm "$A/second"; }
	counts() { is 1 "$(stat -c %h "$A/first")"; }
	during reply-unlink ours counts && is 1 "$(stat -c %h "$A/first")"
}

# CREATE finds a file that bob has moved there, and is answered late.
created_where_one_is() {
	mkdir "$A/made" && printf x >"$A/known" && holder "$A/known" || return
	creates() { python3 -c 'import os, sys; os.close(os.open(sys.argv[1], os.O_CREAT | os.O_RDWR))' "$A/made/new"; }
	local before creator
	before=$(hits submit-create)
	delays "submit-create=$PAUSE" "reply-create=$PAUSE"
	creates &
	creator=$!
	wait_for 10 reached submit-create "$before" && mv "$B/known" "$B/made/new" || return
	before=$(hits reply-create)
	wait_for 10 reached reply-create "$before" && is ok "$(ask chmod 600)" || return
	# By the descriptor: by name it would be looked up again.
	wait $creator && delays && is 600 "$(ask mode)" && is 600 "$(stat -c %a "$A/made/new")" && let_go
}

# ---- shared maps ----

# The sweep writes dirty pages back, whole ones, and they must be served then: later they would undo bob's write.
dirty_map() {
	printf '%5000s' old >"$A/map" && holder "$A/map" && is stored "$(ask store 100 ann)" && mount_client bob vol || return
	theirs() { printf bob | timeout 20 dd of="$B/map" conv=notrunc status=none; }
	nothing() { :; }
	during sweep theirs nothing && is "bob ann" "$(part "$B/map" 0) $(part "$B/map" 100)" || return
	is "bob ann" "$(ask read 0 3) $(ask read 100 3)" && let_go
}
# Whose file bob has open: his write takes all of the lease at once.
map_opened_elsewhere() {
	printf '%5000s' old >"$A/opened" && holder "$A/opened" && mount_client bob vol && exec 8<>"$B/opened" || return
	is 1 "$(ask write 4500 x)" && is stored "$(ask store 100 ann)" || return
	theirs() { printf bob >&8; }
	nothing() { :; }
	during sweep theirs nothing || return
	exec 8>&-
	is "bob ann" "$(part "$B/opened" 0) $(part "$B/opened" 100)" && let_go
}
part() { dd if="$1" bs=1 skip="$2" count=3 status=none; }	# FILE OFFSET

both "a change waits until the kernel has forgotten" recall_waits_for_sweep
alone "and for its pages" pages_wait_for_sweep
alone "pages read meanwhile are forgotten too" pages_come_back
both "attributes on their way to the kernel are waited for" attributes_on_their_way
both "a name that went is forgotten" name_goes
both "as is one that was told to be absent" name_on_its_way
settings=(kernel_minor=43)
both "the same on a kernel without epochs" name_goes
both "and for one on its way" name_on_its_way
settings=()
alone "two upgraders end, one with its page locked" two_upgraders
both "who appends does so where the end is, not where it was" appenders
both "a removed name is not counted twice" name_removed
both "an old answer to CREATE does not stay" created_where_one_is
alone "what a map holds is written back by a recall" dirty_map
alone "and by one that takes all of the lease" map_opened_elsewhere
tap_done

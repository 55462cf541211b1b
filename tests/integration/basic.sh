#!/bin/bash
# basic.sh - every file system call does on a mount what it does on a local disk.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
needs fuse python3
start_server
first_client ann vol
mount_client ann vol
M=$(mnt ann)

echo_cat() {
	echo hello >"$M/hello"
	is hello "$(cat "$M/hello")"
	echo more >>"$M/hello"
	is $'hello\nmore' "$(cat "$M/hello")"
	: >"$M/empty"
	is 0 "$(stat -c %s "$M/empty")"
}

sizes() {	# around every limit a format has: inline, page, cell, region
	local size
	for size in 1 3839 3840 3841 4095 4096 4097 65535 65536 65537 1048575 1048576 1048577 3000000; do
		random_file "$T/size.$size" $size
		cp "$T/size.$size" "$M/"
		cmp "$T/size.$size" "$M/size.$size"
	done
}

sizes_again() {
	local file
	for file in "$T"/size.*; do
		cmp "$file" "$M/${file##*/}"
	done
}

directories() {
	mkdir -p "$M/a/b/c"
	is EEXIST "$(call mkdir "$M/a")"
	is ENOTEMPTY "$(call rmdir "$M/a")"
	is ENOTDIR "$(call rmdir "$M/hello")"
	is EISDIR "$(call unlink "$M/a/b/c")"
	is "3 2" "$(stat -c %h "$M/a") $(stat -c %h "$M/a/b/c")"
	rmdir "$M/a/b/c"
	is ENOENT "$(call stat "$M/a/b/c")"
	is ENOENT "$(call mkdir "$M/none/x")"
	is ENOTDIR "$(call mkdir "$M/hello/x")"
}

exclusive() {
	is 0 "$(call create_excl "$M/once")"
	is EEXIST "$(call create_excl "$M/once")"
	ln -s nowhere "$M/dangling"
	is EEXIST "$(call create_excl "$M/dangling")"
}

rename_plain() {
	echo one >"$M/r1"; echo two >"$M/r2"
	mv -T "$M/r1" "$M/r2"
	is one "$(cat "$M/r2")"
	is ENOENT "$(call stat "$M/r1")"
	mkdir -p "$M/rd1/sub" "$M/rd2/full"
	is ENOTEMPTY "$(call rename "$M/rd1" "$M/rd2")"
	rmdir "$M/rd2/full"
	is 0 "$(call rename "$M/rd1" "$M/rd2")"
	[ -d "$M/rd2/sub" ]
	is EINVAL "$(call rename "$M/rd2" "$M/rd2/sub/x")"
	is EISDIR "$(call rename "$M/r2" "$M/rd2")"
	is ENOTDIR "$(call rename "$M/rd2" "$M/r2")"
	is ENOENT "$(call rename "$M/none" "$M/r3")"
	ln "$M/r2" "$M/r2.same"
	is 0 "$(call rename "$M/r2" "$M/r2.same")"
	[ -e "$M/r2" ]
}

rename_flags() {
	echo a >"$M/fa"; echo b >"$M/fb"; mkdir "$M/fd"; echo in >"$M/fd/in"
	is EEXIST "$(call rename_noreplace "$M/fa" "$M/fb")"
	is 0 "$(call rename_noreplace "$M/fa" "$M/fc")"
	is 0 "$(call rename_exchange "$M/fb" "$M/fc")"
	is a "$(cat "$M/fb")"
	is 0 "$(call rename_exchange "$M/fb" "$M/fd")"
	is in "$(cat "$M/fb/in")"
	is a "$(cat "$M/fd")"
	is ENOENT "$(call rename_exchange "$M/fb" "$M/none")"
	mkdir -p "$M/up/down"; echo x >"$M/outside"
	is 0 "$(call rename_exchange "$M/up/down" "$M/outside")"
	is 2 "$(stat -c %h "$M/up")"
}

links() {
	echo shared >"$M/l1"
	ln "$M/l1" "$M/l2"
	is "2 $(stat -c %i "$M/l1")" "$(stat -c '%h %i' "$M/l2")"
	echo changed >"$M/l2"
	is changed "$(cat "$M/l1")"
	is EEXIST "$(call link "$M/l1" "$M/l2")"
	is EPERM "$(call link "$M/a" "$M/a2")"
	rm "$M/l1"
	is "1 changed" "$(stat -c %h "$M/l2") $(cat "$M/l2")"
	ln -s l2 "$M/s"
	is "l2 changed" "$(readlink "$M/s") $(cat "$M/s")"
	is EEXIST "$(call symlink x "$M/s")"
	is ELOOP "$(call open_nofollow "$M/s")"
	is EINVAL "$(call readlink "$M/l2")"
	local long
	long=$(printf 'x%.0s' $(seq 1000))
	is 0 "$(call symlink "$long" "$M/long")"
	is "$long" "$(readlink "$M/long")"
}

unlink_open() {
	echo kept >"$M/u"
	exec 3<>"$M/u"
	rm "$M/u"
	is kept "$(cat <&3)"
	echo more >&3
	is "0 10" "$(stat -Lc '%h %s' /proc/self/fd/3)"
	exec 3<&-
	is ENOENT "$(call stat "$M/u")"
	is ENOENT "$(call unlink "$M/u")"
}

truncation() {
	local copy=$T/t size
	random_file "$copy" 200000
	cp "$copy" "$M/t"
	for size in 100000 4097 4096 4095 70000 1 0 5000000 3; do
		truncate -s $size "$copy" "$M/t"
		cmp "$copy" "$M/t"
	done
	is EINVAL "$(call truncate "$M/t" -1)"
	is EISDIR "$(call truncate "$M/a" 0)"
}

sparse() {
	local copy=$T/sparse at
	rm -f "$copy" "$M/sparse"
	: >"$copy"; : >"$M/sparse"
	for at in 5 70000 1048570 5000000 1100000000 3000; do
		is 6 "$(call pwrite "$copy" $at sparse)"
		is 6 "$(call pwrite "$M/sparse" $at sparse)"
	done
	is 1100000006 "$(stat -c %s "$M/sparse")"
	cmp "$copy" "$M/sparse"
	rm "$copy"
}

appended() {
	: >"$M/app"
	is 2 "$(call append "$M/app" ab)"
	is 2 "$(call append "$M/app" cd)"
	is abcd "$(cat "$M/app")"
}

attributes() {
	echo x >"$M/attr"
	chmod 4751 "$M/attr"; is 4751 "$(stat -c %a "$M/attr")"
	chmod 0 "$M/attr"; is 0 "$(stat -c %a "$M/attr")"
	chmod 644 "$M/attr"
	if [ "$(id -u)" = 0 ]; then
		chown 1234:4321 "$M/attr"
		is 1234:4321 "$(stat -c %u:%g "$M/attr")"
		chmod 6755 "$M/attr"
		echo y >>"$M/attr"		# root keeps the bits, a chown does not
		chown 1235 "$M/attr"
		is 755 "$(stat -c %a "$M/attr")"
	fi
	is 0 "$(call utime_ns "$M/attr" 1111111111123456789 1222222222987654321)"
	is 1222222222987654321 "$(call mtime_ns "$M/attr")"
	touch -d '1960-02-03 04:05:06 UTC' "$M/attr"
	is -312753294 "$(stat -c %Y "$M/attr")"
	before=$(call mtime_ns "$M"); sleep 0.02; : >"$M/newer"; [ "$(call mtime_ns "$M")" -gt "$before" ]
}

xattrs() {
	: >"$M/x"
	is 0 "$(call setxattr "$M/x" user.colour blue)"
	is blue "$(call getxattr "$M/x" user.colour)"
	is 0 "$(call setxattr "$M/x" user.size large)"
	is "user.colour user.size" "$(call listxattr "$M/x")"
	is EEXIST "$(call setxattr_create "$M/x" user.size small)"
	is ENODATA "$(call setxattr_replace "$M/x" user.none small)"
	is 0 "$(call removexattr "$M/x" user.size)"
	is ENODATA "$(call getxattr "$M/x" user.size)"
	is ENODATA "$(call removexattr "$M/x" user.size)"
}

special() {
	is 0 "$(call mkfifo "$M/fifo")"
	is fifo "$(stat -c %F "$M/fifo")"
	( echo through >"$M/fifo" & cat "$M/fifo" ) | grep -q through
}

many() {
	mkdir "$M/many"
	(cd "$M/many" && seq -f 'entry-%05g' 5000 | xargs touch)
	is 5000 "$(find "$M/many" -type f | wc -l)"
	is 5000 "$(ls -U "$M/many" | sort -u | wc -l)"
	(cd "$M/many" && seq -f 'entry-%05g' 1 2 5000 | xargs rm)
	is 2500 "$(find "$M/many" -type f | wc -l)"
}

removing_while_listing() {
	mkdir "$M/gone"
	(cd "$M/gone" && seq 3000 | xargs touch)
	rm -r "$M/gone"
	is ENOENT "$(call stat "$M/gone")"
}

names() {
	local n255 utf8='Ünïcødé – 雲'
	n255=$(printf 'n%.0s' $(seq 255))
	echo long >"$M/$n255"
	is long "$(cat "$M/$n255")"
	is ENAMETOOLONG "$(call create_excl "$M/${n255}n")"
	is ENAMETOOLONG "$(call stat "$M/${n255}n")"
	echo u >"$M/$utf8"
	ls "$M" | grep -qxF "$utf8"
	echo nl >"$M/with"$'\n'"newline"
	is nl "$(cat "$M/with"$'\n'"newline")"
	printf raw >"$M/"$'\xff\xfe'
	is raw "$(cat "$M/"$'\xff\xfe')"
}

file_system() {
	local blocks
	blocks=$(stat -f -c '%b %a %l' "$M")
	set -- $blocks
	[ "$1" -gt 0 ]
	[ "$2" -gt 0 ]
	is 255 "$3"
	df "$M" >/dev/null
}

mapped() {
	python3 - "$M/mapped" <<-'PY'
	import mmap, os, sys
	fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o644)
	os.ftruncate(fd, 300000)
	m = mmap.mmap(fd, 300000)
	m[100000:100005] = b"there"
	m.flush()
	assert os.pread(fd, 5, 100000) == b"there"
	os.pwrite(fd, b"again", 200000)
	assert m[200000:200005] == b"again"
	PY
}

synced() {
	random_file "$M/synced" 100000
	is 0 "$(call fsync "$M/synced")"
	is 0 "$(call fsync "$M")"
	flush_client ann
}

# What each does to the set-id bits of a file, one line a case.
fate_of_set_ids() {	# DIRECTORY
	local who mode how as
	chmod 777 "$1"
	for who in nobody root incapable; do
		case $who in
		nobody) as=(--reuid 65534 --regid 65534 --clear-groups) ;;
		root) as=() ;;
		incapable) as=(--bounding-set=-fsetid) ;;
		esac
		for mode in 6755 6745 2777 4644; do
			for how in 'echo x >>"$0"' 'echo x 1<>"$0"' 'truncate -s 3 "$0"' ': >"$0"' 'truncate -s 9 "$0"' \
			    'fallocate -l 99 "$0"' 'chown $(id -u) "$0"' 'chgrp $(id -g) "$0"' 'chmod 6711 "$0"' 'mv "$0" "$0.2"; mv "$0.2" "$0"'; do
				# FALLOCATE tells a server who calls, but not what that may do.
				[ "$who ${how%% *}" != "incapable fallocate" ] || continue
				echo content >"$1/file"
				chown "$([ $who != nobody ] || echo 65534:65534)" "$1/file"
				chmod $mode "$1/file"
				setpriv "${as[@]}" bash -c "$how" "$1/file" || echo failed
				echo "$who $mode $how $(stat -c %a "$1/file")"
				rm "$1/file"
			done
		done
	done
}

set_ids() {
	mkdir -p "$T/local" "$M/local"
	fate_of_set_ids "$T/local" >"$T/expected" 2>&1
	fate_of_set_ids "$M/local" >"$T/found" 2>&1
	diff "$T/expected" "$T/found"
	# There are those of either kind.
	grep -q '6755 echo.* 755$' "$T/found"
	grep -q '6755 echo.* 6755$' "$T/found"
	not grep failed "$T/found"
}

for_others() {
	remount_client ann vol -o allow_other
}

reads_ahead() {
	local bdi
	bdi=/sys/class/bdi/$(mountpoint -d "$M")/read_ahead_kb
	[ ! -w "$bdi" ] || [ "$(cat "$bdi")" -ge 256 ]
}

access_times() {
	grep " $M fuse.nuage [^ ]*noatime" /proc/self/mounts
	touch -a -d 2001-02-03 "$M/x"
	cat "$M/x" >"$T/x"
	ls "$M" >"$T/x"
	is "$(date -d 2001-02-03 +%s)" "$(stat -c %X "$M/x")"
}

state() {	# everything there is to see, times to the nanosecond
	(cd "$M" && find . -printf '%p|%y|%m|%U:%G|%n|%l|%T@|' \( -type f -printf '%s' -o -true \) -printf '\n' | sort
	 find . -type f ! -name sparse -print0 | sort -z | xargs -0 sha256sum)
}

remount() {
	state >"$T/before"
	remount_client ann vol || return
	state >"$T/after"
	diff "$T/before" "$T/after" && is blue "$(call getxattr "$M/x" user.colour)"
}

restart_server() {
	umount_client ann && stop_server || return
	start_server
	mount_client ann vol
	state >"$T/after"
	diff "$T/before" "$T/after"
}

check "echo and cat" echo_cat
check "files of every size come back" sizes
check "directories and their errors" directories
check "O_EXCL finds what is there" exclusive
check "rename and its errors" rename_plain
check "rename without replacing, and exchange" rename_flags
check "links, hard and symbolic" links
check "an unlinked open file lives on" unlink_open
check "truncate to every side of a boundary" truncation
check "a sparse file reads zeroes in its holes" sparse
check "appending" appended
check "mode, owner and times to the nanosecond" attributes
check "extended attributes" xattrs
check "a fifo" special
check "a directory of thousands" many
check "rm -r of thousands" removing_while_listing
check "names of 255 bytes and of any bytes" names
check "statfs" file_system
check "a shared map" mapped
check "fsync of file, of root, and nuage sync" synced
check "reading changes no access time" access_times
check "the kernel reads ahead" reads_ahead
check_here "a remount keeps all" remount
check "and contents of every size" sizes_again
check_here "a server restart keeps all" restart_server
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
	check_here "it is mounted for others" for_others
	check "set-id bits go when they go on a local disk" set_ids
else
	skip "set-id bits" "not root, or no setpriv"
fi
tap_done

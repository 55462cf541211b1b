#!/bin/bash
# apps.sh - programs people use find nothing amiss, and a second client sees their work.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
needs fuse python3 tar git sqlite3 rsync fio gcc make
start_server
first_client ann vol
another_client bob vol ann
mount_client ann vol
M=$(mnt ann)
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
make_tree "$T/tree" 3000
tar -cf "$T/tree.tar" -C "$T" tree

unpacked() {
	tar -xf "$T/tree.tar" -C "$M"
	diff -r --no-dereference "$T/tree" "$M/tree"
	tar --compare -f "$T/tree.tar" -C "$M"		# modes and times too
}

unpacked_elsewhere() {
	umount_client ann || return
	drop_caches
	mount_client bob vol
	diff -r --no-dereference "$T/tree" "$(mnt bob)/tree" && tar --compare -f "$T/tree.tar" -C "$(mnt bob)" ||
		return
	umount_client bob || return
	mount_client ann vol
}

git_works() {
	cp -a "$T/tree" "$T/origin"
	git -C "$T/origin" init -q
	git -C "$T/origin" add -A
	git -C "$T/origin" commit -qm first
	git clone -q "$T/origin" "$M/clone"
	git -C "$M/clone" fsck --strict
	is "" "$(git -C "$M/clone" status --porcelain)"
	echo change >>"$M/clone/part00/module000/$(ls "$M/clone/part00/module000" | head -1)"
	git -C "$M/clone" checkout -q -b side
	git -C "$M/clone" commit -qam second
	git -C "$M/clone" checkout -q -
	git -C "$M/clone" merge -q side
	git -C "$M/clone" gc -q --prune=now
	git -C "$M/clone" fsck --strict
	is 2 "$(git -C "$M/clone" rev-list --count HEAD)"
	rm -rf "$M/clone/part0"*
	is yes "$([ -n "$(git -C "$M/clone" status --porcelain)" ] && echo yes)"
	git -C "$M/clone" reset -q --hard
	is "" "$(git -C "$M/clone" status --porcelain)"
}

sqlite_works() {	# JOURNAL-MODE
	local i db=$M/$1.db
	echo "pragma journal_mode=$1; create table t(n integer primary key, x blob);" | sqlite3 "$db"
	for i in $(seq 40); do
		echo "begin; insert into t select value + $i * 100, randomblob(500) from
			(with recursive c(value) as (select 0 union all select value + 1 from c where value < 49)
			 select value from c); $([ $((i % 4)) = 0 ] && echo rollback || echo commit);"
	done | sqlite3 "$db"
	is $'ok\n1500' "$(echo 'pragma integrity_check; select count(*) from t;' | sqlite3 "$db")"
	echo 'delete from t where n % 3 = 0; vacuum; pragma integrity_check;' | sqlite3 "$db"
}

sqlite_contended() {	# two writers, one machine
	local i
	echo 'create table t(n);' | sqlite3 "$M/two.db"
	for i in 1 2; do
		for n in $(seq 60); do
			echo ".timeout 20000"
			echo "insert into t values($n);"
		done | sqlite3 "$M/two.db" &
	done
	wait
	is $'ok\n120' "$(echo 'pragma integrity_check; select count(*) from t;' | sqlite3 "$M/two.db")"
}

rsync_settles() {
	rsync -a "$T/tree/" "$M/synced/"
	is "" "$(rsync -ai "$T/tree/" "$M/synced/")"
	rsync -a "$M/synced/" "$T/back/"
	diff -r --no-dereference "$T/tree" "$T/back"
	is "" "$(rsync -ain --checksum "$M/synced/" "$T/back/")"
}

fio_verifies() {	# RW ENGINE [OPTION...]
	local rw=$1 engine=$2
	shift 2
	fio --name=f --filename="$M/fio.$rw.$engine" --size=32m --bs=4k-128k --rw="$rw" --ioengine="$engine" \
		--verify=crc32c --verify_fatal=1 --do_verify=1 --verify_state_save=0 --fsync=64 --output-format=terse "$@" >/dev/null
}

builds() {
	unset MAKEFLAGS MFLAGS MAKELEVEL	# of the make that runs the tests
	mkdir "$M/build"
	cat >"$M/build/Makefile" <<-'MK'
	objects = $(patsubst %.c,%.o,$(wildcard *.c))
	prog: $(objects); gcc -o $@ $(objects)
	MK
	local i
	for i in $(seq 20); do
		echo "int f$i(int x) { return x * $i; }" >"$M/build/f$i.c"
	done
	{
		seq -f 'int f%.0f(int);' 20
		echo 'int main(void) { return !(0'
		seq -f '+ f%.0f(1)' 20
		echo '== 210); }'
	} >"$M/build/main.c"
	make -s -j2 -C "$M/build"
	"$M/build/prog"
	is "" "$(make -s -C "$M/build" prog)"
	touch "$M/build/f3.c"
	make -C "$M/build" >"$T/made"
	grep -q f3 "$T/made"
}

editors() {	# write beside, fsync, rename over, as editors and office programs do
	python3 - "$M/doc" <<-'PY'
	import os, sys
	path = sys.argv[1]
	for n in range(200):
	    with open(path + ".tmp", "w") as f:
	        f.write(f"version {n}\n" * 50)
	        f.flush()
	        os.fsync(f.fileno())
	    os.rename(path + ".tmp", path)
	    assert open(path).read() == f"version {n}\n" * 50
	PY
}

mixed() {	# many processes at once
	local i
	for i in $(seq 8); do
		(
			mkdir "$M/p$i"
			cp -r "$T/tree/part0$i" "$M/p$i/a"
			mv "$M/p$i/a" "$M/p$i/b"
			diff -r --no-dereference "$T/tree/part0$i" "$M/p$i/b"
			rm -rf "$M/p$i"
		) || touch "$T/mixed.failed" &
	done
	wait
	[ ! -e "$T/mixed.failed" ]
}

check "tar unpacks a source tree" unpacked
check_here "another client finds it whole" unpacked_elsewhere
check "git: clone, fsck, commit, merge, gc, reset" git_works
check "sqlite with a rollback journal" sqlite_works delete
check "sqlite with a write-ahead log" sqlite_works wal
check "sqlite from two processes" sqlite_contended
check "rsync moves nothing the second time" rsync_settles
check "fio verifies random writes" fio_verifies randwrite psync
check "fio verifies shared maps" fio_verifies randwrite mmap
check "fio verifies mixed direct I/O" fio_verifies randrw psync --direct=1
check "make builds a program" builds
check "write, fsync, rename over" editors
check "eight processes at once" mixed
remount_client ann vol
check "git finds its clone whole after a remount" git -C "$M/clone" fsck --strict
tap_done

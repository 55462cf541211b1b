#!/bin/bash
# test_forgetfs.sh - forgetfs loses what was not synced, keeps what was, and
# sqlite, which is known to sync rightly, loses nothing on it at any cut ("extra"
# because only then does it sync the directory when it has removed its journal).
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
needs fuse
tool=$tools/forgetfs
dir=$T pid=
mkdir "$dir/b" "$dir/m"

ok() {	# STATUS NAME
	if [ "$1" = 0 ]; then pass "$2"; else fail "$2"; fi
}

disk_up() {	# disk_up [OPTION...]
	"$tool" -f "$@" "$dir/b" "$dir/m" >"$dir/out" &
	pid=$!
	helper_pids=($pid)
	while ! mountpoint -q "$dir/m"; do
		kill -0 "$pid" || { echo "Bail out! forgetfs does not mount"; exit 1; }
		sleep 0.01
	done
}

disk_down() {
	umount "$dir/m" 2>/dev/null || umount -l "$dir/m"
	wait "$pid"
	pid=
}

disk_cut() {
	kill -USR1 "$pid"
	until grep -q cut "$dir/out"; do sleep 0.01; done
	disk_down
}

cd "$dir" || exit 1
disk_up
echo old >m/file; mkdir m/sub; echo sub >m/sub/file; echo gone >m/gone; echo over >m/over
disk_down
grep -q old b/file && grep -q sub b/sub/file
ok $? "an orderly end loses nothing"

disk_up
echo new >m/file; echo tail >>m/sub/file; echo young >m/young; rm m/gone; mv m/file m/over
mkdir m/dir; truncate -s 1M m/big
grep -q new m/over && grep -q tail m/sub/file && [ -e m/young ] && [ ! -e m/gone ]
ok $? "before the cut all is seen"
kill -USR1 "$pid"; until grep -q cut out; do sleep 0.01; done
ls m 2>&1 | grep -q 'Input/output error' && ! stat m/dir >/dev/null 2>&1
ok $? "after the cut all is EIO"
disk_down
disk_up
grep -qx old m/file && [ "$(cat m/sub/file)" = sub ] && [ -e m/gone ] && grep -qx over m/over &&
	[ ! -e m/young ] && [ ! -e m/dir ] && [ ! -e m/big ]
ok $? "data, creation, removal and rename are forgotten"

echo new >m/file; sync m/file; echo young >m/young; sync m/young
echo tail >>m/sub/file; sync -d m/sub/file; rm m/gone; sync m
echo later >m/young; mv m/young m/over
disk_cut
disk_up
grep -qx new m/file && grep -qx young m/young && grep -q tail m/sub/file && [ ! -e m/gone ] &&
	grep -qx over m/over
ok $? "what was synced is kept, and no more"

head -c 100000 /dev/urandom >m/r; cp m/r r; sync m/r m
truncate -s 5000 m/r; truncate -s 100000 m/r; fallocate -p -o 4096 -l 100 m/r
truncate -s 5000 r; truncate -s 100000 r; fallocate -p -o 4096 -l 100 r
cmp m/r r
ok $? "a shrunk and regrown file reads zeroes"
sync m/r
disk_cut
disk_up
cmp m/r r
ok $? "and so it does after sync and cut"
mkdir m/d m/d/e; echo x >m/d/e/f; sync m/d/e/f m/d/e m/d m; mv m/d m/d2; sync m; rm -r m/d2/e
disk_cut
disk_up
[ -e m/d2/e/f ] && [ ! -e m/d ]
ok $? "directories are moved and removed as they are synced"
mv m/file m/t; mv m/over m/file; mv m/t m/over; ln m/over m/third; sync m
disk_cut
disk_up
grep -qx new m/over && grep -qx over m/file && grep -qx new m/third
ok $? "exchanged and linked names survive"
rm -rf m/*
disk_down
[ -z "$(ls b)" ]
ok $? "an emptied disk is empty"

if ! command -v sqlite3 >/dev/null; then
	skip "sqlite loses nothing" "no sqlite3"
	tap_done
fi

# One run of sqlite cut at sync $1 with the disk options after it; fails if
# the database is damaged or a row that was reported is missing.
sqlite_run() {
	local n=$1 reported have
	shift
	rm -rf b/*
	disk_up --cut-at "$n" "$@"
	{
		echo "pragma journal_mode=$mode; pragma synchronous=extra; create table t(n integer, x text);"
		for i in $(seq 12); do
			echo "insert into t values($i, hex(randomblob(3000))); select $i;"
		done
	} | sqlite3 m/db >sql.out 2>/dev/null
	[ -n "$(grep cut out)" ] || cut_short=yes
	reported=$(grep -cE '^[0-9]+$' sql.out)
	disk_down
	disk_up
	have=$(echo "pragma integrity_check; select count(*) from t;" | sqlite3 m/db 2>&1)
	disk_down
	if [ "$reported" = 0 ]; then
		[[ $have = *ok* || $have = *"no such table"* ]]
	else
		[ "${have%%$'\n'*}" = ok ] && [ "${have##*$'\n'}" -ge "$reported" ]
	fi || { echo "# $mode, cut at $n, $*: reported $reported, found $have"; return 1; }
}

for mode in delete wal; do
	bad=0 cut_short= n=1
	while [ -z "$cut_short" ] && [ $n -lt 100 ]; do
		sqlite_run $n || bad=$((bad + 1))
		sqlite_run $n --keep-some --seed $n || bad=$((bad + 1))
		n=$((n + 3))
	done
	[ $bad = 0 ]
	ok $? "sqlite in $mode mode loses nothing, cut anywhere"
done

# The same must be able to fail: without its syncs sqlite does lose.
lost=0
for seed in 1 2 3 4 5 6; do
	rm -rf b/*
	disk_up --keep-some --seed $seed
	{
		echo "pragma synchronous=off; create table t(n integer, x text);"
		for i in $(seq 12); do echo "insert into t values($i, hex(randomblob(3000)));"; done
	} | sqlite3 m/db
	disk_cut
	disk_up
	have=$(echo "pragma integrity_check; select count(*) from t;" | sqlite3 m/db 2>&1)
	[ "$have" = "ok"$'\n'12 ] || lost=$((lost + 1))
	disk_down
done
[ $lost -gt 0 ]
ok $? "sqlite that does not sync loses"
tap_done

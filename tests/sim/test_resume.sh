#!/bin/sh
# A long run that is killed goes on where it was, and tells of all of it; of another kind it begins anew.
sim=$top_builddir/tests/sim/nuage-sim
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
echo 1..4

said() {
	if [ "$1" -eq 0 ]; then echo "ok $2"; else echo "not ok $2"; fi
}

sums() {
	grep -v -e '^# goes on' -e ' seeds, ' "$1"
}

"$sim" --calm --seeds 1-250 >"$dir/whole"
"$sim" --calm --seeds 1-250 --resume "$dir/state" >/dev/null &
pid=$!
while [ ! -e "$dir/state" ] && kill -0 $pid 2>/dev/null; do
	sleep 0.02
done
kill -9 $pid 2>/dev/null
wait $pid 2>/dev/null
"$sim" --calm --seeds 1-250 --resume "$dir/state" >"$dir/rest"
grep -q -e '^# goes on at seed [12]01: [12]00 were run, 0 failed' -e '^# goes on at seed 251' "$dir/rest"
said $? "1 - a run that was killed goes on"
sums "$dir/whole" >"$dir/a"
sums "$dir/rest" >"$dir/b"
cmp -s "$dir/a" "$dir/b"
said $? "2 - and sums up all of it"
"$sim" --seeds 1-250 --ops 20 --resume "$dir/state" | grep -q '^# goes on'
said $((! $?)) "3 - one with other options begins anew"
printf '%s\nnext x\n' "$(head -n 1 "$dir/state")" >"$dir/bad"
"$sim" --seeds 1-250 --ops 20 --resume "$dir/bad" 2>&1 | grep -q "bad: Bad message"
said $? "4 - a damaged file is refused"

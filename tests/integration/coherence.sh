#!/bin/bash
# coherence.sh - what one client's call returned, the other's next call sees.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
needs fuse python3
configure_server term_ms 8000
two_clients
A=$(mnt ann) B=$(mnt bob)

written() {
	local i
	for i in $(seq 100); do
		echo "ann $i" >"$A/w"
		is "ann $i" "$(cat "$B/w")"
		echo "bob $i, longer" >"$B/w"
		is "bob $i, longer" "$(cat "$A/w")"
	done
}

written_open() {	# through descriptors that stay open, so that page caches are at stake
	python3 - "$A/open" "$B/open" <<-'PY'
	import os, sys
	a = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o644)
	b = os.open(sys.argv[2], os.O_RDWR)
	for n in range(300):
	    data = (b"%08d" % n) * 2000
	    os.pwrite(a, data, 0)
	    assert os.pread(b, len(data), 0) == data, n
	    data = (b"%08d" % -n) * 2000
	    os.pwrite(b, data, n * 8)
	    assert os.pread(a, len(data), n * 8) == data, n
	PY
}

large() {
	random_file "$T/large" 20000000
	cp "$T/large" "$A/large"
	cmp "$T/large" "$B/large"
	random_file "$T/part" 3000000
	dd if="$T/part" of="$B/large" bs=1000 seek=5000 conv=notrunc status=none
	dd if="$T/part" of="$T/large" bs=1000 seek=5000 conv=notrunc status=none
	cmp "$T/large" "$A/large"
}

sizes() {
	local size
	: >"$A/size"
	for size in 100 0 5000000 4096 1 70000; do
		truncate -s $size "$A/size"
		is $size "$(stat -c %s "$B/size")"
		is $size "$(wc -c <"$B/size")"
	done
}

named() {
	local i
	for i in $(seq 100); do
		is ENOENT "$(call stat "$B/n$i")"
		: >"$A/n$i"
		[ -e "$B/n$i" ]
		ls "$B" | grep -qx "n$i"
		mv "$B/n$i" "$B/m$i"
		[ -e "$A/m$i" ]
		[ ! -e "$A/n$i" ]
		rm "$A/m$i"
		[ ! -e "$B/m$i" ]
		is "" "$(ls "$B" | grep -x "m$i")"
	done
}

replaced() {
	local i
	for i in $(seq 100); do
		echo "version $i" >"$A/new"
		mv "$A/new" "$A/current"
		is "version $i" "$(cat "$B/current")"
	done
}

directories() {
	mkdir -p "$A/d1/d2"
	[ -d "$B/d1/d2" ]
	echo x >"$B/d1/d2/f"
	is ENOTEMPTY "$(call rmdir "$A/d1/d2")"
	mv "$A/d1/d2" "$A/d3"
	is x "$(cat "$B/d3/f")"
	rm "$B/d3/f"
	is 0 "$(call rmdir "$A/d3")"
	is ENOENT "$(call stat "$B/d3")"
}

attributes() {
	: >"$A/at"
	stat "$B/at" >/dev/null
	chmod 640 "$A/at"; is 640 "$(stat -c %a "$B/at")"
	call utime_ns "$B/at" 1000000000000000001 1000000000000000002
	is 1000000000000000002 "$(call mtime_ns "$A/at")"
	ln "$A/at" "$A/at2"; is 2 "$(stat -c %h "$B/at")"
	call setxattr "$A/at" user.k v; is v "$(call getxattr "$B/at" user.k)"
	call setxattr "$A/at" user.k w; is w "$(call getxattr "$B/at" user.k)"
}

exclusive() {	# exactly one of two wins, always
	python3 - "$A" "$B" <<-'PY'
	import os, sys, threading
	wins = [0, 0]
	barrier = threading.Barrier(2)
	def run(who):
	    for n in range(200):
	        barrier.wait()
	        try:
	            os.close(os.open(f"{sys.argv[who + 1]}/x{n}", os.O_CREAT | os.O_EXCL))
	            wins[who] += 1
	        except FileExistsError:
	            pass
	threads = [threading.Thread(target=run, args=(i,)) for i in (0, 1)]
	[t.start() for t in threads]
	[t.join() for t in threads]
	print(wins)
	assert sum(wins) == 200
	PY
}

appenders() {	# no line is lost or torn
	python3 - "$A/log" "$B/log" <<-'PY'
	import os, sys, threading
	def run(who):
	    fd = os.open(sys.argv[who + 1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
	    for n in range(300):
	        os.write(fd, b"%d %d\n" % (who, n))
	threads = [threading.Thread(target=run, args=(i,)) for i in (0, 1)]
	[t.start() for t in threads]
	[t.join() for t in threads]
	lines = open(sys.argv[1]).read().splitlines()
	assert lines == open(sys.argv[2]).read().splitlines()
	assert sorted(lines) == sorted(f"{w} {n}" for w in (0, 1) for n in range(300)), len(lines)
	for w in "01":
	    mine = [int(l.split()[1]) for l in lines if l[0] == w]
	    assert mine == sorted(mine)
	PY
}

unlinked_elsewhere() {
	random_file "$T/held" 3000000
	cp "$T/held" "$A/held"
	exec 3<"$A/held"
	rm "$B/held"
	is ENOENT "$(call stat "$A/held")"
	sync "$B"
	drop_caches
	cmp "$T/held" - <&3
	exec 3<&-
}

replaced_while_open() {
	echo first >"$A/r"
	exec 3<"$A/r"
	echo second >"$B/r.new"
	mv "$B/r.new" "$B/r"
	is "second" "$(cat "$A/r")"
	is first "$(cat <&3)"
	exec 3<&-
}

crossed_renames() {	# of the same two names, from both sides: no deadlock, nothing lost
	echo a >"$A/c1"; echo b >"$A/c2"; mkdir "$A/ca" "$A/cb"; echo t >"$A/ca/t"
	crosser() {	# DIR FROM TO
		local i
		for i in $(seq 150); do
			call rename_exchange "$1/c1" "$1/c2"
			mv "$1/$2/t" "$1/$3/t" 2>/dev/null || :
			ls -l "$1/$2" >/dev/null
		done
	}
	crosser "$A" ca cb >/dev/null &
	local one=$!
	crosser "$B" cb ca >/dev/null &
	wait $one $!
	is "a b" "$(cat "$A/c1" "$A/c2" | sort | tr '\n' ' ' | sed 's/ $//')"
	is "1 1" "$(find "$A/ca" "$A/cb" -name t | wc -l) $(find "$B/ca" "$B/cb" -name t | wc -l)"
}

listing_while_changing() {	# a stable name is listed exactly once, whatever goes on around it
	mkdir "$A/busy"
	(cd "$A/busy" && seq -f 'stable-%04g' 1500 | xargs touch)
	( for i in $(seq 1500); do : >"$B/busy/t$i"; rm "$B/busy/t$i"; done ) &
	local churn=$! i
	for i in $(seq 10); do
		is 1500 "$(ls -U "$A/busy" | grep -c ^stable)"
		is 1500 "$(ls -U "$A/busy" | grep ^stable | sort -u | wc -l)"
	done
	wait $churn
}

long_list() { (cd "$1" && find . -mindepth 1 -printf '%P %y %m %n %s %T@ %l\n' | sort); }

listed_with_attributes() {	# what listings bring along is as good as what is asked for
	local a b i
	a=$(mnt ann)/long b=$(mnt bob)/long
	mkdir "$a" "$a/sub"
	for i in $(seq 60); do echo "$i" >"$a/f$i"; done
	ln -s target "$a/link"
	for i in $(seq 60); do
		echo "more and more $i" >>"$a/f$i"
		ls -lU "$b" >/dev/null
		is "$(stat -c %s "$a/f$i")" "$(stat -c %s "$b/f$i")"
		[ $((i % 20)) != 0 ] || echo 2 >/proc/sys/vm/drop_caches 2>/dev/null || true
		is "$(long_list "$a")" "$(long_list "$b")"
	done
	rm -r "$b/sub" "$b/f1"
	is "$(long_list "$a")" "$(long_list "$b")"
}

# What ann made and holds, bob lists and removes without asking her for each.
held_by_the_other() {
	local n=3000 recalls misses
	mkdir "$A/many"
	python3 -c 'import sys
for i in range(int(sys.argv[2])): open(f"{sys.argv[1]}/f{i}", "w").close()' "$A/many" $n
	flush_client ann
	recalls=$(fact ann recalls) misses=$(fact bob misses)
	is $((n + 1)) "$(ls -lU "$B/many" | wc -l)"
	rm -r "$B/many"
	before=$recalls at_most 150 ann recalls
	before=$misses at_most $((n * 2 / 3)) bob misses
	is ENOENT "$(call stat "$A/many/f7")"
}

mapped() {	# coherent at write-back: after msync the other side's read sees it
	python3 - "$A/map" "$B/map" <<-'PY'
	import mmap, os, sys
	a = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o644)
	os.ftruncate(a, 100000)
	b = os.open(sys.argv[2], os.O_RDWR)
	m, n = mmap.mmap(a, 100000), mmap.mmap(b, 100000)
	for i in range(50):
	    m[i * 100:i * 100 + 8] = b"%08d" % i
	    m.flush()
	    assert os.pread(b, 8, i * 100) == b"%08d" % i
	    assert n[i * 100:i * 100 + 8] == b"%08d" % i
	    os.pwrite(b, b"%08d" % -i, 50000 + i * 100)
	    assert m[50000 + i * 100:50000 + i * 100 + 8] == b"%08d" % -i
	PY
}

one_leaves() {	# killed without a word, its lease is waited out, and what it synced is there
	echo synced >"$A/left"; sync "$A/left" "$A"
	kill_client ann
	is synced "$(timeout 40 cat "$B/left")" && echo next >"$B/left" && is next "$(cat "$B/left")"
}

# A mount whose process is stopped shows nothing old once its term is over.
stopped() {	# FILE, which ann has looked at
	kill -STOP "${client_pids[ann]}"
	local status=0 size
	# By the kernel alone, if what it keeps has not just come to its end.
	size=$(timeout 1 stat -c %s "$A/$1") || :
	[ -z "$size" ] || is 3 "$size" || status=1
	timeout 40 sh -c "printf changed >'$B/$1'" || status=1
	size=$(timeout 1 stat -c %s "$A/$1") || :
	grep -q '^State:.T' "/proc/${client_pids[ann]}/status" || { echo "the mount runs: somebody else woke it"; status=1; }
	kill -CONT "${client_pids[ann]}"
	is "" "$size" && is 7 "$(stat -c %s "$A/$1")" && return $status
}

stopped_in_company() {
	printf old >"$A/company" && flush_client ann && is 3 "$(stat -c %s "$B/company")" && is 3 "$(stat -c %s "$A/company")" &&
		is 3 "$(stat -c %s "$A/company")" && stopped company
}

stopped_after_solitude() {	# it had reason to let the kernel keep more
	client bob umount "$B" && sleep 6 && printf old >"$A/alone" && flush_client ann && is 3 "$(stat -c %s "$A/alone")" || return
	before=$(client ann status --json | sed -n 's/.*"sessions": \([0-9]*\).*/\1/p')
	mount_client bob vol
	is 1 "$before" && sleep 6 && is 3 "$(stat -c %s "$A/alone")" && stopped alone
}

check "small files, to and fro" written
check "descriptors that stay open" written_open
check "large files, then a part" large
check "sizes" sizes
check "created, renamed and removed names" named
check "a name replaced over and over" replaced
check "directories" directories
check "attributes" attributes
check "O_EXCL has one winner" exclusive
check "two appenders lose no line" appenders
check "a file unlinked elsewhere stays readable" unlinked_elsewhere
check "a file replaced elsewhere stays itself where it is open" replaced_while_open
check "crossed renames end, with nothing lost" crossed_renames
check "a listing under change" listing_while_changing
check "listings with attributes" listed_with_attributes
check "what the other one holds is listed and removed in bulk" held_by_the_other
check "shared maps" mapped
check_here "while a mount is stopped its kernel shows nothing old" stopped_in_company
check_here "nor what it was told while it was alone" stopped_after_solitude
check_here "a killed client's leases lapse" one_leaves
tap_done

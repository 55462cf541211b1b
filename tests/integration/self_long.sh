#!/bin/bash
# self_long.sh - nuage builds itself inside its own mount, and passes its unit tests there.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
needs long fuse git make gcc autoreconf
start_server
first_client ann vol
mount_client ann vol
M=$(mnt ann)
jobs=$(nproc)

taken() {
	if [ -e "$top_srcdir/.git" ]; then
		git clone -q "$top_srcdir" "$M/nuage"
	else
		cp -r "$top_srcdir" "$M/nuage"
	fi
}

configured() {
	cd "$M/nuage" || return
	./bootstrap prepare
	mkdir build
	cd build || return
	../configure -q
}

built() {
	make -s -C "$M/nuage/build" -j"$jobs"
	make -s -C "$M/nuage/build" -j"$jobs" check TESTS=
}

unit_tests() {
	local tests
	# Programs only: the scripts would mount in the mount.
	tests=$(make -s -C "$M/nuage/build" print-unit-tests)
	[ -n "$tests" ]
	make -s -C "$M/nuage/build" check TESTS="$tests" || { cat "$M/nuage/build/test-suite.log"; false; }
}

same_on_a_remount() {
	(cd "$M/nuage" && find . -type f -print0 | sort -z | xargs -0 sha256sum) >"$T/before"
	remount_client ann vol || return
	(cd "$M/nuage" && find . -type f -print0 | sort -z | xargs -0 sha256sum) >"$T/after"
	diff "$T/before" "$T/after" && make -s -C "$M/nuage/build" && git -C "$M/nuage" fsck
}

check "its sources are taken into the mount" taken
check "they are configured there" configured
check "they build there" built
check "the unit tests pass there" unit_tests
check_here "after a remount all is the same, and make has nothing to do" same_on_a_remount
tap_done

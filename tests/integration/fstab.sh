#!/bin/bash
# fstab.sh - mount(8), fstab(5) and the service manager's units.
#
# /sbin has mount.nuage, and fstab and root's home are what the script makes of
# them: in its own mount namespace.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
needs fuse root apart
home=$(getent passwd root | cut -d: -f6)
mkdir "$T/over" "$T/other" "$T/home"
mount -t tmpfs none "$T/over" && mkdir "$T/over/up" "$T/over/work" &&
	mount -t overlay none -o "lowerdir=$(realpath /sbin),upperdir=$T/over/up,workdir=$T/over/work" /sbin/ &&
	mount --bind "$T/home" "$home" || skip_all "nothing can be laid over /sbin"
ln -s "$NUAGE" /sbin/mount.nuage
: >"$T/fstab"
mount --bind "$T/fstab" /etc/fstab
start_server
first_client ann vol
M=$(mnt ann)
mkdir -p "$M" "$home/.config" "$home/.local/state"
cp -a "$T/ann.home/config" "$home/.config/nuage"
cp -a "$T/ann.home/state" "$home/.local/state/nuage" 2>/dev/null

bare() { env -i PATH="$PATH" timeout -k 5 60 "$@"; }	# as at boot: no HOME, nothing

by_type() {
	bare mount -t nuage vol "$M" -o "defaults,noatime,nofail,_netdev,x-systemd.automount,comment=here,commit=3"
	echo hello >"$M/file"
	is hello "$(cat "$M/file")"
	grep -q " $M fuse.nuage rw,nosuid,nodev," /proc/mounts
	bare umount "$M"
	not is_mounted "$M"
}

mount_again() {	# umount(8) leaves what is unsaved to the process, and the next mount waits for that
	bare mount -t nuage vol "$M" -o commit=3600
	random_file "$M/big" 30000000
	cp "$M/big" "$T/big"
	bare umount "$M"
	bare mount -t nuage vol "$M"
	cmp "$T/big" "$M/big"
	says "is mounted already, on $M" bare "$NUAGE" mount vol "$T/other"
	bare umount "$M"
}

by_fstab() {
	echo "vol $M nuage ro,nofail,noexec 0 0" >"$T/fstab"
	bare mount "$M"
	is hello "$(cat "$M/file")"
	is EROFS "$(call create_excl "$M/new")"
	grep -q " $M fuse.nuage ro,nosuid,nodev,noexec," /proc/mounts
	bare umount "$M"
}

program() { printf '#!/bin/sh\necho ran\n' >"$M/program" && chmod 755 "$M/program"; }

may_run() {
	bare mount -t nuage vol "$M"
	program
	is ran "$("$M/program")"
	bare umount "$M"
	bare mount -t nuage vol "$M" -o user
	not "$M/program"
	bare umount "$M"
	bare mount -t nuage vol "$M" -o user,exec
	is ran "$("$M/program")"
	bare umount "$M"
}

words_for_us_too() {	# what stands in fstab can be pasted behind -o
	client ann mount -o defaults,user,rw,x-gvfs-show vol "$M"
	grep -q " $M fuse.nuage rw,nosuid,nodev,noexec," /proc/mounts
	client ann umount "$M"
}

mistakes() {
	local status=0
	bare mount -t nuage nothing "$M" 2>"$T/said" || status=$?
	cat "$T/said"
	is 32 $status
	grep -q nothing "$T/said"
	status=0
	bare mount -t nuage vol "$M" -o nonsense 2>"$T/said" || status=$?
	cat "$T/said"
	is 1 $status
	grep -q "nonsense" "$T/said"
	not is_mounted "$M"
}

pretends() {
	bare mount -f -t nuage vol "$M"
	not is_mounted "$M"
}

# The units as installed, but for where the programs are.
units() {
	mkdir -p "$T/bin" "$T/units"
	ln -sf "$NUAGE" "$T/bin/nuage"
	ln -sf "$NUAGED" "$T/bin/nuaged"
	sed "s|@s\?bindir@|$T/bin|" "$top_srcdir/fs/nuage@.service.in" >"$T/units/nuage@.service"
	sed "s|@s\?bindir@|$T/bin|" "$top_srcdir/server/nuaged.service.in" >"$T/units/nuaged.service"
	systemd-analyze verify --man=no "$T/units/nuaged.service" 2>&1 | grep -F "$T/units" | tee "$T/said"
	systemd-analyze verify --man=no --user "$T/units/nuage@work.service" 2>&1 | grep -F "$T/units" | tee -a "$T/said"
	not test -s "$T/said"
}

check "mount -t nuage, with the words of fstab" by_type
check "umount and mount again, at once" mount_again
check "a line of fstab" by_fstab
check "user means noexec, and exec after it does not" may_run
check "nuage mount takes the same words" words_for_us_too
check "mount(8)'s exit statuses" mistakes
check "mount -f does not mount" pretends
if command -v systemd-analyze >/dev/null; then
	check "the units are good ones" units
else
	skip "the units are good ones" "no systemd-analyze"
fi
tap_done

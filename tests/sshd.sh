# sshd.sh - an OpenSSH server of the test's own, on loopback: its configuration, host
# keys and authorized keys are below $T, and nobody's ~/.ssh or /etc/ssh is touched.
# Sourced after lib.sh:
#
#	needs fuse sshd_program
#	start_sshd [LINE-OF-SSHD_CONFIG...]
#	ssh_client ann
#	client ann mount "$ssh_store" "$(mnt ann)" --create
#
# "box" is the host in the client's configuration.  The far side's HOME is $T/login,
# and its PATH holds the nuaged that is tested.
# shellcheck shell=bash disable=SC2154

sshd_program=$(PATH=$PATH:/usr/sbin:/sbin command -v sshd)
sshd_port='' sshd_pid=''
sshd_path=$(dirname "$(realpath "$NUAGED")")	# where the far side's login finds programs first
ssh_user=$(id -un)
ssh_store=ssh://box$T/remote/store
export NUAGE_SSH_CONFIG=$T/ssh_config
unset SSH_AUTH_SOCK SSH_ASKPASS SSH_ASKPASS_REQUIRE DISPLAY

needs_sshd() {
	[ -n "$sshd_program" ] || skip_all "no sshd"
	[ "$(id -u)" != 0 ] || mkdir -p /run/sshd
	"$NUAGE" mount ssh:// / 2>&1 | grep -q libssh2 && skip_all "built without libssh2"
	return 0
}

new_key() { ssh-keygen -q -t "${3:-ed25519}" -N "${2-}" -C test -f "$1"; }	# FILE [PASSPHRASE [TYPE]]

# What a build with sanitizers is told is told to the far side's nuaged too.
sanitizers() { env | grep '^[A-Z]*SAN_OPTIONS=' | paste -sd' '; }

write_sshd_config() {
	cat >"$T/sshd_config" <<-END
	Port $sshd_port
	ListenAddress ${sshd_host:-127.0.0.1}
	HostKey $T/host_key
	AuthorizedKeysFile $T/authorized_keys
	StrictModes no
	UsePAM no
	PasswordAuthentication no
	KbdInteractiveAuthentication no
	PermitRootLogin yes
	PidFile none
	SetEnv HOME=$T/login PATH=$sshd_path:/usr/bin:/bin $(sanitizers)
	END
	printf '%s\n' "$@" >>"$T/sshd_config"
}

# The lines of a restart replace those of the start.
start_sshd() {
	mkdir -p "$T/login" "$T/remote"
	[ -n "$sshd_port" ] || sshd_port=$(free_port)
	[ -e "$T/host_key" ] || new_key "$T/host_key"
	[ -e "$T/user_key" ] || { new_key "$T/user_key"; cp "$T/user_key.pub" "$T/authorized_keys"; }
	write_sshd_config "$@"
	[ -e "$T/ssh_config" ] || write_ssh_config
	[ -e "$T/known_hosts" ] || know_host
	# Of its own session: its children have to end with it.
	( in_ns "$server_ns" setsid "$sshd_program" -D -e -f "$T/sshd_config" ) >>"$T/sshd.log" 2>&1 &
	sshd_pid=$!
	helper_pids+=($sshd_pid)
	wait_for 10 sshd_answers || bail "sshd does not start" "$T/sshd.log"
}

sshd_answers() { in_ns "$client_ns" bash -c "exec 3<>/dev/tcp/${sshd_host:-127.0.0.1}/$sshd_port" & wait $!; }

stop_sshd() { kill_and_wait "$sshd_pid" TERM; }

write_ssh_config() {	# [LINE...]
	cat >"$T/ssh_config" <<-END
	Host box
	    HostName ${sshd_host:-127.0.0.1}
	    Port $sshd_port
	    User $ssh_user
	Host *
	    IdentityFile $T/user_key
	    IdentitiesOnly yes
	    UserKnownHostsFile $T/known_hosts
	    GlobalKnownHostsFile none
	END
	printf '    %s\n' "$@" >>"$T/ssh_config"
}

can_have_password() { [ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null && grep -q '^root:' /etc/shadow; }

# In a mount namespace of its own sshd finds one file of /etc as another.  What the test unmounts must not live on there.
start_sshd_seeing() {	# FILE PATH LINE...
	local file=$1 path=$2
	shift 2
	stop_sshd
	write_sshd_config
	sed -i '/^PasswordAuthentication\|^KbdInteractive\|^UsePAM/d' "$T/sshd_config"
	printf '%s\n' "$@" >>"$T/sshd_config"
	mounts_below "$T" >"$T/mounted"
	unshare -m --propagation slave setsid sh -c 'mount --bind "$1" "$2" && while read -r where; do umount -l "$where"; done <"$3"
		exec "$4" -D -e -f "$5"' sh "$file" "$path" "$T/mounted" "$sshd_program" "$T/sshd_config" >>"$T/sshd.log" 2>&1 &
	sshd_pid=$!
	helper_pids+=($sshd_pid)
	wait_for 10 sshd_answers
}

# Root has a password.
start_sshd_with_password() {	# LINE...
	local hash
	hash=$(openssl passwd -6 "${sshd_password:-correct horse}")
	sed "s|^root:[^:]*:|root:$hash:|" /etc/shadow >"$T/shadow"
	chmod 600 "$T/shadow"
	start_sshd_seeing "$T/shadow" /etc/shadow "$@"
}

know_host() {
	echo "[${sshd_host:-127.0.0.1}]:$sshd_port $(cut -d' ' -f1,2 "$T/host_key.pub")" >"$T/known_hosts"
}

# The pid of the nuaged that a bridge started.
remote_nuaged() { pgrep -f "nuaged --data ${1:-$T/remote/store} --listen none"; }
# The children of sshd that serve a login.
sshd_children() { pgrep -P "$sshd_pid"; }

# All of every login: a part of one that is under way would leave the rest waiting.
kill_logins() {
	local children
	children=$(sshd_children | paste -sd,)
	[ -z "$children" ] || pkill -KILL -P "$children" || true
	pkill -KILL -P "$sshd_pid" || true
}

# And nobody can come back.
stop_sshd_and_logins() {
	local children
	children=$(sshd_children)
	stop_sshd
	[ -z "$children" ] || pkill -KILL -P "$(paste -sd, <<<"$children")" || true
	[ -z "$children" ] || kill -KILL $children || true
}

stop_remote() {
	local pid
	for pid in $(pgrep -f "nuaged --data $T/remote"); do
		kill -TERM "$pid"
		wait_for 20 process_is_gone "$pid"
	done
}

ssh_cleanup() {
	local pid
	unmount_all
	for pid in $(pgrep -f "nuaged --data $T/remote") $(pgrep -f "nuage mount .*$T/"); do
		kill -KILL "$pid" 2>/dev/null
	done
	[ -z "$sshd_pid" ] || pkill -KILL -P "$sshd_pid"
}
trap 'status=$?; ssh_cleanup; (exit $status); cleanup' EXIT

# In a session of its own, so that there is no terminal to ask at, nor a signal to end it.
client_alone() {	# NAME ARG...
	local name=$1
	shift
	NUAGE_HOME="$T/$name.home" setsid -w timeout -k 5 100 "$NUAGE" "$@" </dev/null
}

# At a terminal, where QUESTION=ANSWER pairs before "--" are typed.
client_asked() {	# NAME QUESTION=ANSWER... -- ARG...
	local name=$1
	shift
	local words=()
	while [ "$1" != -- ]; do
		words+=("$1")
		shift
	done
	shift
	NUAGE_HOME="$T/$name.home" python3 "$top_srcdir/tests/tools/ask.py" "${words[@]}" -- "$NUAGE" "$@"
}

# In the foreground, at $(mnt NAME), of any address.
mount_ssh() {	# NAME ADDRESS [OPTION...]
	mount_client "$@"
}

# ---- a drive over it ----

umount_ann() { client ann umount "$M"; }
restart_sshd() { stop_sshd; start_sshd "$@"; }

# An sshd, and a store behind it with a drive of ann's, in which is a file; not mounted.
sshd_with_drive() {
	needs_sshd
	start_sshd
	new_client ann
	M=$(mnt ann)
	must client_alone ann mount "$ssh_store" "$M" --create
	echo hello >"$M/file"
	must umount_ann
}

# ---- a fault amid work of ann's, whose drive is at $M; bob looks at what came of it ----

# writer FILE STOP: each line is acknowledged on stdout after its fsync, until STOP is there.
writer() {
	exec python3 - "$@" <<-'END'
	import os, sys
	fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
	n = 0
	while not os.path.exists(sys.argv[2]):
	    os.write(fd, b"%d\n" % n)
	    os.fsync(fd)
	    print(n, flush=True)
	    n += 1
	END
}

# Runs a copy and a writer, whose pids are $copy and $writer, and the fault amid them.
amid_copy() {	# NAME FAULT
	local name=$1 acknowledged copy writer
	shift
	random_file "$T/$name.source" 48M
	rm -f "$T/stop"
	writer "$M/$name.lines" "$T/stop" >"$T/$name.acknowledged" &
	writer=$!
	dd if="$T/$name.source" of="$M/$name.copy" bs=1M conv=fsync 2>/dev/null &
	copy=$!
	wait_for 30 test -s "$M/$name.copy" || return
	wait_for 30 test -s "$T/$name.acknowledged" || return
	acknowledged=$(tail -n 1 "$T/$name.acknowledged")
	"$@" || return
	# Fsync works again, and the copy ends well.
	wait_for 60 grows "$T/$name.acknowledged" "$acknowledged" || return
	wait $copy || { echo "the copy failed"; return 1; }
	touch "$T/stop"
	wait $writer || { echo "the writer failed"; return 1; }
	wait_for 30 client ann sync "$M" || return
	bob_sees "$name"
}
grows() { [ "$(tail -n 1 "$1")" -gt "$2" ]; }

# By another client, with another connection.
bob_sees() {
	is_mounted "$(mnt bob)" || client bob mount drive "$(mnt bob)" || return
	cmp "$T/$1.source" "$(mnt bob)/$1.copy" && cmp "$T/$1.acknowledged" "$(mnt bob)/$1.lines"
}

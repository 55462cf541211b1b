#!/bin/bash
# ssh.sh - a mount over SSH, against OpenSSH's own server: from nothing in one command, by the
# port when that answers, hosts known, unknown and changed, and every way to log in.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
. "$top_srcdir/tests/sshd.sh" || exit 1
needs fuse python3 ssh ssh-keygen ssh-agent
needs_sshd
start_sshd
new_client ann
M=$(mnt ann)


# ---- from nothing ----

nothing_there() {
	says "there is no store yet; --create makes one" client_alone ann mount "$ssh_store" "$M"
	[ ! -e "$T/remote/store" ]
}
check "without a question nothing is made" nothing_there

asked() {
	client_asked ann "Make one=yes" "Make it=yes" -- mount "$ssh_store" "$M"
	is_mounted "$M"
	echo hello >"$M/file"
	client ann status >"$T/status"
	cat "$T/status"
	grep -q "connected to ssh://.*(over SSH)" "$T/status"
	client ann status --json | jq -e '.[0].transport == "ssh"'
	umount_ann
}
check "one command, two questions, a drive" asked

again() {
	client_alone ann mount "$ssh_store" "$M"
	is hello "$(cat "$M/file")"
	umount_ann
	client_alone ann mount box/drive "$M"
	is hello "$(cat "$M/file")"
	umount_ann
}
check "the second time it asks nothing, and the volume's name is enough" again

created() {
	new_client carl
	client_alone carl mount "ssh://box$T/remote/other#work" "$(mnt carl)" --create >"$T/code"
	grep -q '^nuage-recover-' "$T/code"
	touch "$(mnt carl)/x"
	client carl umount "$(mnt carl)"
	client carl volumes | grep -q "^box/work"
}
check "--create makes store and volume, and prints the recovery code alone" created

below_home() {
	new_client hera
	client_alone hera mount "ssh://box/~/a%20drive" "$(mnt hera)" --create
	[ -d "$T/login/a drive/store" ]
	client hera umount "$(mnt hera)"
	kill "$(pgrep -f "nuaged --data $T/login/a drive")"
}
check "a path below the far side's home, with a space" below_home

same_volume() {
	new_client eve
	says "has a volume named drive already" client_alone eve mount "$ssh_store" "$(mnt eve)" --create
}
check "a volume of that name is not made twice" same_volume

# ---- one truth ----

# The server that carries all this also listens on a port.
one_truth() {
	stop_remote
	server_data=$T/remote/store
	start_server || return
	another_client bob drive ann || return
	client ann invite drive --address "127.0.0.1:$server_port" >"$T/invitation" 2>/dev/null || return
	new_client dora
	client dora join "$(cat "$T/invitation")" || return
	mount_client ann box/drive && mount_client bob box/drive && mount_client dora 127.0.0.1/drive || return
	client dora status | grep "connected to 127.0.0.1" && client ann status | grep "over SSH" &&
		client bob status | grep "over SSH" || return
	echo by ann >"$M/a" && is "by ann" "$(cat "$(mnt bob)/a")" && is "by ann" "$(cat "$(mnt dora)/a")" || return
	echo by dora >"$(mnt dora)/a" && is "by dora" "$(cat "$M/a")" && is "by dora" "$(cat "$(mnt bob)/a")" || return
	mkdir "$(mnt bob)/d" && mv "$M/a" "$M/d/a" && is "by dora" "$(cat "$(mnt dora)/d/a")" || return
	umount_client ann && umount_client bob && umount_client dora
}
check_here "two by SSH and one directly see one truth" one_truth

# An alias of ~/.ssh/config is no host, but says which one it is.
by_alias() {
	new_client fay
	client_alone fay join "$ssh_store" && client fay create fays >/dev/null && client fay mount fays "$(mnt fay)" || return
	client fay status | tee /dev/stderr | grep "connected to 127.0.0.1:$server_port" &&
		client fay status | grep "^box/fays" && client fay umount "$(mnt fay)"
}
check_here "joined by an alias of SSH, the port of its host is tried first" by_alias

# What the link wants is told to one who lies down to sleep at that moment, as it is to one who sleeps.
syncs_at_once() {
	python3 - "$M/lines" <<-'END'
	import os, sys, time
	fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
	longest = 0
	for i in range(20):
	    began = time.monotonic()
	    os.write(fd, b"line\n")
	    os.fsync(fd)
	    longest = max(longest, time.monotonic() - began)
	print("the longest fsync took %.3f s" % longest)
	sys.exit(longest >= 3)
	END
}
about_to_sleep() {
	local -x NUAGE_DELAY=$T/delays NUAGE=$tools/nuage-delay
	local fine=true
	echo pump-rest=20 >"$NUAGE_DELAY"
	mount_client ann box/drive || return
	random_file "$T/large" 16M
	syncs_at_once && cp "$T/large" "$M/large" && remount_client ann box/drive && timeout 30 cmp "$T/large" "$M/large" &&
		grep -c "delay at pump-rest" "$T/ann.log" || fine=false
	umount_client ann && $fine
}
if [ -x "$tools/nuage-delay" ]; then
	check_here "what is to go as its thread is about to sleep goes at once" about_to_sleep
else
	skip "what is to go as its thread is about to sleep goes at once" "nuage-delay is not built"
fi
stop_server

# Under the name by which SSH reaches it the port is reached too.
over() { client gil status | tee /dev/stderr | grep -q "connected to $1"; }
writes() { echo "$1" >"$(mnt gil)/file" && timeout 60 sync "$(mnt gil)/file" && is "$1" "$(cat "$(mnt gil)/file")"; }
both_ways() {
	server_port=$(free_port)
	printf 'Host 127.0.0.1\n    User %s\n' "$ssh_user" >>"$T/ssh_config"
	start_server || return
	new_client gil
	client_alone gil join "ssh://127.0.0.1:$sshd_port$T/remote/store" && client gil create gils >/dev/null || return
	client gil mount gils "$(mnt gil)" && over "127.0.0.1:$server_port" && writes direct || return
	# The port closes under the mount: the bridge starts a nuaged that has none.
	stop_server
	wait_for 30 over "ssh://.*over SSH" && writes "by SSH" || return
	# It is back: not for what works, but for the next connection.  (Or a bridge would be first to take the store.)
	stop_sshd_and_logins
	stop_remote
	start_server
	start_sshd
	wait_for 30 over "127.0.0.1:$server_port" && writes "direct again" && client gil umount "$(mnt gil)" || return
	stop_server
	client_alone gil mount gils "$(mnt gil)" && over "ssh://" && is "direct again" "$(cat "$(mnt gil)/file")" &&
		client gil umount "$(mnt gil)" || return
	stop_remote
	start_server
	client gil mount gils "$(mnt gil)" && over "127.0.0.1:$server_port" && client gil umount "$(mnt gil)"
}
check_here "directly while the port answers, by SSH while it does not" both_ways
stop_server

another_host() {
	echo "address = 127.0.0.1:1,elsewhere.example" >"$server_conf" && start_server && new_client hal || return
	client_alone hal join "ssh://127.0.0.1:$sshd_port$T/remote/store"
	local status=$?
	rm "$server_conf"
	is 0 $status && grep -r "ssh://127.0.0.1" "$T/hal.home/config" && not grep -r elsewhere "$T/hal.home/config"
}
check_here "what listens elsewhere cannot name another host" another_host
write_ssh_config
stop_server

# A nuaged of another user's, as a system has one: who logs in as root enrols, and who may become that user.
system_nuaged() {
	local data=$T/system port pid status
	as="setpriv --reuid 65534 --regid 65534 --clear-groups"
	port=$(free_port)
	mkdir -m 700 "$data" && chown 65534:65534 "$data" || return
	$as "$NUAGED" --data "$data" --listen "127.0.0.1:$port" >"$T/system.log" 2>&1 &
	pid=$!
	helper_pids+=($pid)
	wait_for 10 test -S "$data/admin.sock" || return
	printf 'Host 127.0.0.1\n    User %s\n' "$ssh_user" >>"$T/ssh_config"
	new_client rob && new_client sue || return
	client_alone rob join "ssh://127.0.0.1:$sshd_port$data" || return
	echo "restrict,command=\"$as $NUAGED bridge $data\" $(cat "$T/user_key.pub")" >"$T/authorized_keys"
	client_alone sue join "ssh://127.0.0.1:$sshd_port/any"
	status=$?
	cp "$T/user_key.pub" "$T/authorized_keys"
	[ $status = 0 ] || return
	for who in rob sue; do
		client $who create "of-$who" >/dev/null && client $who mount "of-$who" "$(mnt $who)" &&
			client $who status | grep "connected to 127.0.0.1:$port" && touch "$(mnt $who)/x" &&
			client $who umount "$(mnt $who)" || return
	done
	kill_and_wait $pid TERM
}
if [ "$(id -u)" = 0 ] && setpriv --reuid 65534 --clear-groups "$NUAGED" --version >/dev/null 2>&1; then
	check_here "a system's nuaged is joined, and then reached directly" system_nuaged
	write_ssh_config
else
	skip "a system's nuaged is joined" "it takes root and setpriv"
fi

# ---- the host's key ----

unknown_host() {
	cp "$T/known_hosts" "$T/known_hosts.good"
	: >"$T/known_hosts"
	says "is unknown, and there is no terminal" client_alone ann mount "$ssh_store" "$M" || return
	client_asked ann "Continue connecting=no" -- mount "$ssh_store" "$M" && return 1
	[ ! -s "$T/known_hosts" ] || return
	client_asked ann "Continue connecting=yes" -- mount "$ssh_store" "$M" || return
	cmp "$T/known_hosts" "$T/known_hosts.good" || return
	umount_ann && client_alone ann mount "$ssh_store" "$M" && umount_ann
}
check_here "an unknown key is asked about at a terminal, and refused without one" unknown_host

hashed_host() {
	write_ssh_config "HashKnownHosts yes"
	: >"$T/known_hosts"
	client_asked ann "Continue connecting=yes" -- mount "$ssh_store" "$M" || return
	grep -q '^|1|' "$T/known_hosts" || return
	umount_ann
	# OpenSSH itself finds it.
	ssh-keygen -F "[127.0.0.1]:$sshd_port" -f "$T/known_hosts" | grep -q found || return
	client_alone ann mount "$ssh_store" "$M" && umount_ann || return
	# And we find what OpenSSH hashed.
	cp "$T/known_hosts.good" "$T/known_hosts"
	ssh-keygen -q -H -f "$T/known_hosts" || return
	client_alone ann mount "$ssh_store" "$M" && umount_ann || return
	write_ssh_config
}
check_here "hashed names, read and written as OpenSSH does" hashed_host

changed_host() {
	local status=0
	new_key "$T/other_key"
	echo "[127.0.0.1]:$sshd_port $(cut -d' ' -f1,2 "$T/other_key.pub")" >"$T/known_hosts"
	client_alone ann mount "$ssh_store" "$M" >"$T/said" 2>&1 || status=$?
	cat "$T/said"
	is 4 $status && grep -q "HAS CHANGED.*known_hosts:1" "$T/said" && is 1 "$(wc -l <"$T/said")" || return
	# Not even for who would accept anything new.
	write_ssh_config "StrictHostKeyChecking no"
	says "HAS CHANGED" client_alone ann mount "$ssh_store" "$M" || return
	write_ssh_config
}
check_here "a changed key stops, in one line" changed_host

marked_host() {
	{ cat "$T/known_hosts.good"; echo "@revoked * $(cut -d' ' -f1,2 "$T/host_key.pub")"; } >"$T/known_hosts"
	says "is REVOKED" client_alone ann mount "$ssh_store" "$M" || return
	echo "@cert-authority * $(cut -d' ' -f1,2 "$T/other_key.pub")" >"$T/known_hosts"
	says "cannot check certificates" client_alone ann mount "$ssh_store" "$M" || return
	cp "$T/known_hosts.good" "$T/known_hosts"
}
check_here "@revoked is heeded, @cert-authority refused by name" marked_host
cp "$T/known_hosts.good" "$T/known_hosts"

# ---- who logs in ----

wrong_key() {
	local status=0
	new_key "$T/wrong_key"
	sed -i "s|$T/user_key|$T/wrong_key|" "$T/ssh_config"
	client_alone ann mount "$ssh_store" "$M" >"$T/said" 2>&1 || status=$?
	cat "$T/said"
	write_ssh_config
	is 4 $status && grep -q "permission denied (the server takes publickey)" "$T/said"
}
check_here "a key that is not wanted there" wrong_key

passphrase() {
	new_key "$T/secret_key" "open sesame"
	cat "$T/secret_key.pub" >>"$T/authorized_keys"
	write_ssh_config
	sed -i "s|$T/user_key|$T/secret_key|" "$T/ssh_config"
	says "has a passphrase" client_alone ann mount "$ssh_store" "$M" || return
	client_asked ann "Enter passphrase=wrong" "Enter passphrase=open sesame" -- mount "$ssh_store" "$M" || return
	echo more >"$M/more" && umount_ann || return
	printf '#!/bin/sh\necho "open sesame"\n' >"$T/askpass"
	chmod +x "$T/askpass"
	SSH_ASKPASS=$T/askpass SSH_ASKPASS_REQUIRE=force client_alone ann mount "$ssh_store" "$M" || return
	umount_ann
}
check_here "a passphrase, at the terminal and by SSH_ASKPASS" passphrase

agent() {
	eval "$(ssh-agent -a "$T/agent" -s)" >/dev/null
	helper_pids+=("$SSH_AGENT_PID")
	SSH_ASKPASS=$T/askpass SSH_ASKPASS_REQUIRE=force ssh-add -q "$T/secret_key" || return
	client_alone ann mount "$ssh_store" "$M" && umount_ann || return
	ssh-add -qD
	says "has a passphrase" client_alone ann mount "$ssh_store" "$M" || return
	# One that hangs is passed over.
	python3 -c 'import socket, sys, time; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); time.sleep(600)' \
		"$T/dead_agent" &
	helper_pids+=($!)
	wait_for 5 test -S "$T/dead_agent" || return
	SSH_AUTH_SOCK=$T/dead_agent says "the agent does not answer" timeout 60 setsid -w env NUAGE_HOME="$T/ann.home" \
		"$NUAGE" mount "$ssh_store" "$M" </dev/null || return
	write_ssh_config
	unset SSH_AUTH_SOCK
}
check_here "an agent" agent
write_ssh_config

other_types() {
	new_key "$T/ecdsa_key" "" ecdsa
	new_key "$T/rsa_key" "" rsa
	cat "$T/ecdsa_key.pub" >>"$T/authorized_keys"
	sed -i "s|$T/user_key|$T/ecdsa_key|" "$T/ssh_config"
	# libssh2 loses a number of each such key that it reads.
	ASAN_OPTIONS=${ASAN_OPTIONS-}:detect_leaks=0 client_alone ann mount "$ssh_store" "$M" && umount_ann || return
	write_ssh_config
	sed -i "s|$T/user_key|$T/rsa_key|" "$T/ssh_config"
	if pkg-config --atleast-version=1.11 libssh2; then
		cat "$T/rsa_key.pub" >>"$T/authorized_keys"
		client_alone ann mount "$ssh_store" "$M" && umount_ann || return
	else
		says "RSA key $T/rsa_key is not used" client_alone ann mount "$ssh_store" "$M" || return
	fi
	write_ssh_config
}
check_here "ecdsa keys, and RSA as far as libssh2 goes" other_types
write_ssh_config

# ---- what a person knows ----

by_password() {
	write_ssh_config "PubkeyAuthentication no"
	start_sshd_with_password "$@" || return
	says "no terminal or SSH_ASKPASS" client_alone ann mount "$ssh_store" "$M" || return
	client_asked ann "assword: =wrong" "assword: =wrong" "assword: =wrong" -- mount "$ssh_store" "$M" >"$T/said"
	is 4 $? && cat "$T/said" && grep -q "permission denied" "$T/said" || return
	client_asked ann "assword: =wrong" "assword: =correct horse" -- mount "$ssh_store" "$M" --log "$T/ann.log" || return
	is hello "$(cat "$M/file")" || return
	# Nobody is there to ask when the connection breaks.
	kill_logins
	# A mount that is alone goes on without its server, if that takes longer than the term.
	wait_for 60 sh -c "echo again >'$M/again'" && timeout 60 sync "$M/again" || return
	umount_ann
}
if can_have_password; then
	check_here "a password, right at the second try, and kept" by_password \
		"UsePAM no" "PasswordAuthentication yes" "KbdInteractiveAuthentication no"
	if [ -e /etc/pam.d/sshd ]; then
		check_here "keyboard-interactive" by_password \
			"UsePAM yes" "PasswordAuthentication no" "KbdInteractiveAuthentication yes"
	else
		skip "keyboard-interactive" "no /etc/pam.d/sshd"
	fi
	write_ssh_config
	restart_sshd
else
	skip "a password" "it takes root and a mount namespace"
fi

tap_done

#!/bin/bash
# ssh_config.sh - a mount over SSH heeds the configuration of SSH: proxies and jumps, also
# those that hang, and algorithms.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
. "$top_srcdir/tests/sshd.sh" || exit 1
needs fuse python3 ssh ssh-keygen
sshd_with_drive

# ---- by way of others ----

proxies() {
	write_ssh_config "ProxyCommand python3 $T/carry.py %h %p"
	cat >"$T/carry.py" <<-'END'
	import os, select, socket, sys
	open(os.path.dirname(sys.argv[0]) + "/carried", "w").close()
	s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
	while True:
	    for f in select.select([0, s], [], [])[0]:
	        data = os.read(0, 65536) if f == 0 else s.recv(65536)
	        if not data:
	            sys.exit()
	        s.sendall(data) if f == 0 else os.write(1, data)
	END
	client_alone ann mount "$ssh_store" "$M" && is hello "$(cat "$M/file")" && umount_ann || return
	[ -e "$T/carried" ] || { echo "the proxy was not used"; return 1; }
	write_ssh_config "ProxyCommand false"
	says "no SSH connection" client_alone ann mount "$ssh_store" "$M" || return
	write_ssh_config
	# Who jumps does so by a key of its own, so that it can be seen.
	new_key "$T/jump_key"
	cat "$T/jump_key.pub" >>"$T/authorized_keys"
	cat - "$T/ssh_config" >"$T/ssh_config.jump" <<-END
	Host jump
	    HostName 127.0.0.1
	    Port $sshd_port
	    User $ssh_user
	    BatchMode yes
	    IdentityFile $T/jump_key
	Host inner
	    HostName 127.0.0.1
	    Port $sshd_port
	    User $ssh_user
	    ProxyJump jump
	END
	cp "$T/ssh_config.jump" "$T/ssh_config"
	new_client jill
	client_alone jill mount "ssh://inner$T/remote/jumped" "$(mnt jill)" --create || return
	touch "$(mnt jill)/x"
	client jill umount "$(mnt jill)" || return
	grep -q "Accepted publickey.*$(ssh-keygen -lf "$T/jump_key" | cut -d' ' -f2)" "$T/sshd.log" || return
	write_ssh_config
}
check_here "a ProxyCommand and a ProxyJump" proxies
write_ssh_config

# A proxy that says nothing, and takes no notice of its end, holds up nobody for ever.
silent_proxy() {
	local began=$SECONDS status=0
	write_ssh_config "ProxyCommand sh -c 'trap : TERM; while :; do sleep 1; done'" "ConnectTimeout 2"
	client_alone ann mount "$ssh_store" "$M" >"$T/said" 2>&1 || status=$?
	cat "$T/said"
	is 3 $status && grep -q "no SSH connection: no answer" "$T/said" && [ $((SECONDS - began)) -lt 15 ] || return
	write_ssh_config "ProxyUseFdpass yes" "ProxyCommand false"
	says "ProxyUseFdpass is nothing that nuage does" client_alone ann mount "$ssh_store" "$M" || return
	# Nor does a configuration that hangs.
	began=$SECONDS
	{ printf 'Match exec "sleep 100"\n'; cat "$T/ssh_config"; } >"$T/ssh_config.hang"
	says "is there a Match exec" env NUAGE_SSH_CONFIG="$T/ssh_config.hang" NUAGE_HOME="$T/ann.home" setsid -w \
		timeout -k 5 100 "$NUAGE" mount "$ssh_store" "$M" </dev/null || return
	[ $((SECONDS - began)) -lt 50 ]
}
check_here "a proxy, or a configuration, that hangs" silent_proxy
write_ssh_config

# ---- algorithms ----

# What the two sides agreed on, as sshd tells.
agreed() { grep -c "$1" "$T/sshd.log"; }
algorithms() {
	restart_sshd "LogLevel DEBUG1"
	write_ssh_config "Ciphers aes256-ctr" "MACs hmac-sha2-512" "KexAlgorithms ecdh-sha2-nistp384"
	client_alone ann mount "$ssh_store" "$M" && umount_ann || return
	[ "$(agreed "kex: algorithm: ecdh-sha2-nistp384")" -ge 2 ] &&
		[ "$(agreed "cipher: aes256-ctr MAC: hmac-sha2-512")" -ge 4 ] || return
	write_ssh_config "Ciphers aes256-gcm@openssh.com"
	says "of the Ciphers that the configuration of SSH allows libssh2 .* can do none: aes256-gcm" \
		client_alone ann mount "$ssh_store" "$M" || return
	write_ssh_config "MACs umac-64-etm@openssh.com"
	says "of the MACs that" client_alone ann mount "$ssh_store" "$M" || return
	write_ssh_config "KexAlgorithms sntrup761x25519-sha512@openssh.com"
	says "of the KexAlgorithms that" client_alone ann mount "$ssh_store" "$M" || return
	write_ssh_config "HostKeyAlgorithms sk-ssh-ed25519@openssh.com"
	says "of the HostKeyAlgorithms that" client_alone ann mount "$ssh_store" "$M" || return
	write_ssh_config "HostKeyAlgorithms ecdsa-sha2-nistp256"
	says "no algorithms in common" client_alone ann mount "$ssh_store" "$M" || return
	# Methods that are not preferred are not tried.
	write_ssh_config "PreferredAuthentications password"
	says "permission denied" client_alone ann mount "$ssh_store" "$M" || return
	write_ssh_config "PreferredAuthentications keyboard-interactive,publickey"
	client_alone ann mount "$ssh_store" "$M" && umount_ann
}
if pkg-config --atleast-version=1.11 libssh2; then
	skip "algorithms are those of the configuration, or refused by name" "this libssh2 can do those that must be refused"
else
	check_here "algorithms are those of the configuration, or refused by name" algorithms
fi
write_ssh_config

tap_done

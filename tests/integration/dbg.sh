#!/bin/bash
. "${top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh" || exit 1
start_server
first_client ann vol
another_client zoe vol ann
M=$(mnt ann)
mount_client ann vol
mkdir $T/gone
client zoe mount vol $T/gone; ls $T/gone >/dev/null; client zoe umount $T/gone
: >"$M/leased"
kill_server
echo unsaved >"$M/unsaved-file"
timeout 20 env NUAGE_HOME="$T/ann.home" "$NUAGE" umount -t 2 "$M" 2>"$T/stderr"
echo "status $?"
if mountpoint -q "$M"; then
  pid=${client_pids[ann]}
  cat $T/stderr
  timeout 20 env NUAGE_HOME="$T/ann.home" "$NUAGE" umount -t 2 "$M" & sleep 4
  for t in /proc/$pid/task/*; do echo $(cat $t/comm $t/wchan); done
  gdb -p $pid -batch -ex "thread apply all bt 12" 2>/dev/null | grep -E "^(Thread|#)" | head -150
  up=$(pgrep -P $! nuage); gdb -p $up -batch -ex bt 2>/dev/null | grep "^#"; cat /proc/$up/stack
  umount -l $M; kill -9 $pid
fi

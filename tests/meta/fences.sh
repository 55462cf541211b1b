#!/bin/sh
# fences.sh - what the sources promise each other and their readers (TAP):
# includes point down only, each library has its owners, the map and the
# manual say what the code says.
#
# Where a list below stands against you, ask first whether the code belongs in
# another room.

top=${top_srcdir:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${top_builddir:-$top/build}
cd "$top" || exit 1
protocol=man/nuage-protocol.5
tab=$(printf '\t')
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# check NAME: passes when nothing comes in on stdin; what does is shown.
check() {
	cat >"$work/out"
	if [ -s "$work/out" ]; then
		echo "not ok - $1"
		head -n 40 "$work/out" | sed 's/^/# /'
	else
		echo "ok - $1"
	fi >>"$work/tap"
}

skip() {	# NAME REASON
	echo "ok - $1 # SKIP $2" >>"$work/tap"
}

# The sources of some directories, generated ones left out.
sources() {
	for d in "$@"; do
		find "$d" -name '*.[ch]' | LC_ALL=C sort
	done
}

# ---- arrows ----

# Quoted includes of a room outside the directories it may use.
crossing() {	# ROOM ALLOWED...
	room=$1
	shift
	allowed=$(echo "$*" | tr ' ' '|')
	sources "$room" | xargs grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]+"' |
	    grep -vE "\"(config\.h|($allowed)/[a-z0-9_]+\.h)\""
}
crossing proto proto | check "proto includes nothing but proto"
crossing fs fs proto | check "fs includes fs and proto only"
crossing server server proto | check "server includes server and proto only"
# Scratch memory is a thread's own.
sources proto | grep -v '^proto/scratch\.c$' |
    xargs grep -nE '#[[:space:]]*include[[:space:]]+<(pthread|syslog|sys/socket|fcntl|unistd|poll)\.h>' |
    check "proto has no thread, log, socket or file"

# Each library's header, and the files that own it.
owned() {	# HEADER_REGEX FILE...
	header=$1
	shift
	sources proto fs server | xargs grep -lE "#[[:space:]]*include[[:space:]]+[<\"]${header}[>\"]" | while read -r f; do
		case " $* " in
		*" $f "*) ;;
		*) echo "$f includes $header" ;;
		esac
	done | check "$(printf %s "$header" | tr -d '\\') is included only where it belongs"
}
owned 'lmdb\.h' server/kv.c
owned 'xxhash\.h' fs/journal_file.c fs/replay.c server/kv.c server/segment.c
owned '(linux/)?fuse[a-z0-9_/]*\.h' fs/mount_room.h fs/mount_locks.c fs/mount_locks.h
owned 'zstd[a-z_]*\.h' proto/scratch.h
owned 'openssl/[a-z0-9_]*\.h' proto/scratch.h fs/ssh_cipher.c fs/ssh_known.c
owned 'systemd/[a-z-]*\.h' fs/logind.c
owned 'libssh2[a-z_]*\.h' fs/ssh_session.h
owned 'sodium\.h' proto/aead.c proto/block.c proto/frame.c proto/invite.c proto/noise.c proto/record.c \
    proto/seal.c proto/wrap.c \
    fs/cmd.c fs/cmd_create.c fs/cmd_invite.c fs/cmd_join.c fs/cmd_login.c fs/cmd_recover.c fs/cmd_ssh.c fs/cmd_volumes.c fs/main.c \
    fs/home.c fs/link.c fs/note.c fs/ssh.c fs/ssh_ask.c fs/ssh_auth.c fs/ssh_install.c fs/ssh_known.c fs/ssh_parcel.c \
    fs/serve.c fs/serve_config.c fs/serve_login.c fs/shell.c \
    server/account.c server/block.c server/commit.c server/engine.c server/session.c server/tally.c \
    server/admin.c server/bridge.c server/daemon.c server/home.c server/link.c server/nuaged.c

# ---- the map ----

# README names a room as "dir/noun" or, in its directory's list, as a line that begins with the noun.
rooms() {
	sources proto fs server | sed 's/\.[ch]$//; s/_internal$//; s/_room$//' | LC_ALL=C sort -u
}
rooms | while read -r room; do
	grep -qE "(^|[[:space:],(])$room([[:space:],.:)]|\$)" README || echo "$room is not in README"
done | check "README has every room"
grep -oE '\b(proto|fs|server)/[a-z0-9_]+' README | sort -u | while read -r room; do
	[ -e "$room.c" ] || [ -e "$room.h" ] || echo "$room is in README but not here"
done | check "README has no room that is not there"

# ---- the manual ----

# The fields of a shape in message.h, as "name type": the same form as the page's.
shapes() {
	awk '
	/^#define SHAPE_/ {
		name = $2; sub(/^SHAPE_/, "", name); sub(/\(.*/, "", name); print "shape " name
		inside = 1
	}
	inside && /_\(S, / {
		line = $0; sub(/.*_\(S, */, "", line); sub(/\).*/, "", line); gsub(/[ \t]/, "", line)
		n = split(line, f, ",")
		type = tolower(f[1])
		if (type ~ /^u[0-9]+$/) print f[2], type
		else if (type == "list") print f[2], "list(" f[4] "," f[3] ")"
		else print f[2], type "(" f[3] ")"
	}
	inside && !/\\$/ { inside = 0 }
	' proto/message.h
}
page_shapes() {
	awk '
	/^\.Sh/ { section = $2 }
	section != "MESSAGES" { next }
	/^\.It (Vt|Ic) / { print "shape " $3; item = 1 }
	/^\.Ss/ { item = 0 }
	/^\.Bd -literal/ { literal = 1; next }
	/^\.Ed/ { literal = 0 }
	literal && item { print $1, $2 }
	' $protocol
}
# Sorted by shape, so that the page may choose its order; the fields of one keep theirs.
by_shape() {
	awk '$1 == "shape" { name = $2; n = 0 } { printf "%s %03d %s\n", name, n++, $0 }' | LC_ALL=C sort
}
shapes | by_shape >"$work/code"
page_shapes | by_shape >"$work/page"
[ -s "$work/code" ] || echo "no shapes were found" >>"$work/page"
diff "$work/code" "$work/page" | check "nuage-protocol.5 has every message, field by field"

sed -n "s/^[[:space:]]*_(\([a-z_]*\),[[:space:]]*\([0-9]*\), \([A-Z]*\), \([A-Z]*\),[[:space:]]*\([01]\)).*/\1 \2 \3 \4 \5/p" \
    proto/message.h | tr '[:upper:]' '[:lower:]' | sed 's/ 0$//; s/ 1$/ payload/' | sort >"$work/code"
sed -n 's/^\.It Ic \([a-z_]*\) No \(.*\)/\1 \2/p' $protocol | sort >"$work/page"
[ -s "$work/code" ] || echo "no messages were found" >>"$work/page"
diff "$work/code" "$work/page" | check "and its number, sender, lane and payload"

awk '/^enum status/ { inside = 1; next } inside && /}/ { exit }
    inside { sub(/,.*/, ""); sub(/ = 0/, ""); gsub(/[ \t]/, ""); if ($0 != "STATUS_COUNT") print n++, substr($0, 8) }' \
    proto/message.h >"$work/code"
sed -n 's/^\.It \([0-9][0-9]*\) Dv \([A-Z]*\)$/\1 \2/p' $protocol >"$work/page"
diff "$work/code" "$work/page" | check "nuage-protocol.5 has every status"

sed -n 's/.*\(KIND_[A-Z]*\) = \([0-9]*\).*/&/p' proto/message.h | grep -oE 'KIND_[A-Z]+ = [0-9]+' |
    sed 's/KIND_\([A-Z]*\) = \(.*\)/\2 \1/' | sort -n >"$work/code"
grep -oE '^[1-8] [A-Z]+' $protocol | grep -E ' (ATTR|PARENT|META|INLINE|XATTR|ENTRY|REGION|PATCH)$' | sort -n >"$work/page"
diff "$work/code" "$work/page" | check "nuage-protocol.5 has every kind of record"

# The values are computed by the shell, in the order of the header.
sed 's|/\*.*||' proto/limits.h | sed -n "s/^[[:space:]]*\([A-Z_]*\)[[:space:]]*=[[:space:]]*\(.*[^ ,$tab]\)[ ,$tab]*\$/\1=\$((\2)); echo \1 \$\1/p" \
    >"$work/limits.sh"
sh "$work/limits.sh" >"$work/code"
awk '/^\.Sh/ { inside = $2 == "LIMITS" } /^\.Bd/ { literal = 1; next } /^\.Ed/ { literal = 0 }
    inside && literal { print $1, $2 }' $protocol >"$work/page"
[ -s "$work/code" ] || echo "no limits were found" >>"$work/page"
diff "$work/code" "$work/page" | check "nuage-protocol.5 has every limit and its value"

{
	grep -ohE '\b(LINK_PORT|SETTINGS_PORT)[[:space:]]*= [0-9]+' fs/link.h server/settings.h
	grep -ohE 'default to port [0-9]+' $protocol
} | grep -oE '[0-9]+$' | sort -u | awk '{ ports = ports " " $1 } END { if (NR != 1) print "they have" ports }' |
    check "client, server and page agree on the port"

# Purposes, magics and texts that keys and formats depend on.
grep -ohE '"nuage[^"\\]*"' proto/*.c server/segment.c 2>/dev/null | tr -d '"' | sort -u | while read -r text; do
	grep -qF -- "$text" $protocol || echo "\"$text\" is not in the page"
done | check "nuage-protocol.5 has every constant text"

# Options that a program prints and its page lacks.
options() {	# PAGE COMMAND...
	page=$1
	shift
	"$@" --help 2>&1 | grep -oE '(^|[[:space:],[|(])--?[a-zA-Z0-9][a-zA-Z0-9-]*' | tr -d ' \t,[|(' | sort -u |
	while read -r option; do
		dashless=${option#-}
		# mdoc writes -o as "Fl o" and --option as "Fl -option".
		grep -qE "(Fl|Cm) ([^ ]+ )*\\\\?$dashless( |\$)" "$page" || echo "${1##*/} ${2-}: $option is not in $page"
	done
}
if [ -x "$build/nuage" ] && [ -e man/nuage.1 ]; then
	commands=$("$build/nuage" --help 2>&1 | sed -n 's/^  *nuage  *\([a-z][a-z-]*\).*/\1/p; s/^   *\([a-z][a-z-]*\)   *.*/\1/p' | sort -u)
	[ -n "$commands" ] || echo "nuage --help names no command" | check "nuage --help"
	{
		options man/nuage.1 "$build/nuage"
		for command in $commands; do
			grep -qE "(Ic|Cm|Ss|Nm nuage) ($command|.* $command)( |\$)" man/nuage.1 || echo "nuage $command is not in man/nuage.1"
			options man/nuage.1 "$build/nuage" "$command"
		done
	} | check "nuage.1 has every command and option"
	"$build/nuage" mount --help | sed -n 's/^     *\([a-z_][a-z_]*\)\(=[^ ]*\)\{0,1\}  .*/\1/p' | while read -r option; do
		grep -qE "(Cm|Ic|Sy|Li|Ql|Fl|Ar) $option(=| |\$)" man/nuage.1 || echo "mount -o $option is not in man/nuage.1"
	done | check "nuage.1 has every option of a mount"
else
	skip "nuage.1 has every command and option" "nuage or its page is not here"
fi
if [ -x "$build/nuaged" ] && [ -e man/nuaged.8 ]; then
	options man/nuaged.8 "$build/nuaged" | check "nuaged.8 has every option"
else
	skip "nuaged.8 has every option" "nuaged or its page is not here"
fi

sed -n 's/^[[:space:]]*{ "\([a-z_]*\)", FIELD_.*/\1/p' server/settings.c | while read -r key; do
	grep -q "^\.It Cm $key\b" man/nuaged.conf.5 || echo "$key is not in man/nuaged.conf.5"
done | check "nuaged.conf.5 has every key"

if command -v mandoc >/dev/null; then
	mandoc -Tlint -W warning man/*.[1-8] 2>&1 | check "the pages pass mandoc's lint"
else
	skip "the pages pass mandoc's lint" "mandoc is not here"
fi

# ---- the code ----

# Fragments are merged line by line.
find . -path ./build -prune -o -name '*.mk' -print | xargs cat Makefile.am |
    sed -n 's/^\([a-zA-Z0-9_]*\) = .*/\1 is set/p; s/^include \(.*\)/\1 is included/p' | sort | uniq -d |
    sed 's/$/ twice/' | check "no makefile says a thing twice"

# A merge of fragments can drop lines without a word.  Every word of them that could name a file, and those
# that stand in a list of tests.
fragments() {
	find . -path ./build -prune -o -name '*.mk' -print | xargs cat Makefile.am | sed 's/#.*//' |
	    awk '{ while (sub(/\\$/, "")) { if ((getline more) <= 0) break; $0 = $0 " " more } print }'
}
fragments | awk '{ for (i = 1; i <= NF; i++) print $i }' |
    grep -xE '(proto|fs|server|tests|man)/[a-zA-Z0-9_/.-]+\.([ch]|sh|py|txt|hex|mk|[1-8])' | LC_ALL=C sort -u >"$work/named"
find proto fs server tests man -type f | grep -E '\.([ch]|sh|py|txt|hex|mk|[1-8])$' |
    grep -v '^tests/fuzz/corpus/' | LC_ALL=C sort >"$work/here"
LC_ALL=C comm -13 "$work/named" "$work/here" | sed 's/$/ is in no makefile/' | check "the makefiles name every file"
LC_ALL=C comm -23 "$work/named" "$work/here" | sed 's/$/ is in a makefile but not here/' |
    check "and no file that is not there"
fragments | awk '$1 ~ /TESTS$/ && $2 ~ /^[+]?=$/ { for (i = 3; i <= NF; i++) if ($i ~ /^tests\//) print $i }' |
    LC_ALL=C sort >"$work/run"
{
	find tests -name '*.sh' | grep -vE '^tests/(lib|sshd)\.sh$'
	find tests/unit -name 'test_*.c' | sed 's/\.c$//'
	find tests/fuzz -name 'fuzz_*.c' | sed 's|/fuzz_|/replay_|; s/\.c$//'
	find tests -name 'test_*.py'
	echo tests/interop/golden.py
} | LC_ALL=C sort >"$work/tests"
diff "$work/run" "$work/tests" | sed -n 's/^< \(.*\)/\1 is run as a test, and is none or is run twice/p; s/^> \(.*\)/\1 is never run/p' |
    check "every test is run, and only once"

mutations="every mutation of the list finds its line"
if command -v python3 >/dev/null; then
	python3 tests/mutants/mutants.py --stale 2>&1 | check "$mutations"
else
	skip "$mutations" "python3 is not here"
fi

marks='TO''DO|FIX''ME|XX''X'
find proto fs server tests man -type f \( -name '*.[ch]' -o -name '*.sh' -o -name '*.py' -o -name '*.[1-8]' \) |
    xargs grep -nE "\\b($marks)\\b|^[[:space:]]*#[[:space:]]*if[[:space:]]+0" | check "no $marks and no #if 0"
find proto fs server tests -type f \( -name '*.[ch]' -o -name '*.py' -o -name '*.sh' \) | LC_ALL=C sort |
    xargs wc -l | awk '$1 > 800 && $2 != "total" { print $2 ": " $1 " lines" }' | check "no room has more than 800 lines"
sources proto fs server tests | xargs grep -LE '^/\*' | check "every source begins with what it is for"

awk '/^(not )?ok - / { sub(/ok - /, "ok " ++n " - ") } { print } /^not ok/ { failed = 1 }
    END { print "1.." n; exit failed }' "$work/tap"

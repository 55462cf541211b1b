#!/bin/bash
# test_mutants.sh - the runner tells killed from survived, and works in a copy.
: "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}"
command -v python3 >/dev/null || { echo "1..0 # SKIP no python3"; exit 0; }
dir=$(mktemp -d "${TMPDIR:-/tmp}/mutants-test.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
count=0 failed=0
ok() {	# STATUS NAME
	count=$((count + 1))
	[ "$1" = 0 ] || { failed=$((failed + 1)); sed 's/^/# /' "$dir/out"; }
	echo "$([ "$1" = 0 ] || echo 'not ')ok $count - $2"
}

mkdir -p "$dir/p/tests" "$dir/p/build"
cat >"$dir/p/sum.c" <<'C'
int sum(int a, int b);
int
sum(int a, int b)
{
	int unused = 3;

	while (a > 100)
		a--;
	return a + b + 0 * unused;
}
C
cat >"$dir/p/tests/test_sum.c" <<'C'
#include <stdio.h>
int sum(int a, int b);
int main(void)
{
	printf("%sok 1 - sum\n", sum(101, 2) == 102 ? "" : "not ");
	return 0;
}
C
cat >"$dir/p/configure" <<'SH'
#!/bin/sh
mkdir -p tests
printf 'all:\n\ntests/test_sum: ../sum.c ../tests/test_sum.c\n\tcc -o $@ ../sum.c ../tests/test_sum.c\n' >Makefile
SH
chmod +x "$dir/p/configure"
cp -r "$dir/p" "$dir/before"

mutant() {	# NAME RULE OLD NEW
	printf 'name: %s\nrule: %s\nwhy: for the test\nfile: sum.c\nold: %s\nnew: %s\ntest: tests/test_sum\n\n' "$@"
}
{
	mutant wrong R1 'return a + b + 0 * unused;' 'return a - b;'
	mutant harmless R2 'int unused = 3;' 'int unused = 4;'
	mutant gone other 'return a * b;' 'return 0;'
	mutant no-c other 'int unused = 3;' 'int unused = ;'
	mutant endless R10 'a--;' 'continue;'
	mutant wrong-again other 'while (a > 100)' 'while (a > 101)'
	mutant again R2 'int unused = 3;' 'int unused = a;' | sed 's/^file/in: sum\nfile/'
} >"$dir/list"
run() { python3 "$top_srcdir/tests/mutants/mutants.py" --source "$dir/p" --list "$dir/list" --timeout 3 "$@" >"$dir/out" 2>&1; }

run
[ $? = 1 ]
ok $? "a survivor fails the run"
[ "$(sed -n 's/^\([a-z]*\)  *\([a-z-]*\)  (.*/\1 \2/p' "$dir/out" | tr '\n' ',')" = \
	"killed wrong,survived harmless,stale gone,broken no-c,killed endless,killed wrong-again,survived again," ]
ok $? "each verdict is right, and none is left over from the mutant before"
diff -r "$dir/p" "$dir/before" >/dev/null
ok $? "the sources are as they were"
[ "$(sed -n 's/^\(R[0-9]*\)  *\([a-z][a-z-]*\)  *\([a-z]*\)\( .*\)*$/\1 \2 \3/p' "$dir/out" | tr '\n' ',')" = \
	"R1 wrong killed,R2 harmless survived,R2 again survived,R10 endless killed," ]
ok $? "the table goes by rules"
run wrong R10
ok $? "mutants by name and rule, all killed"
run --resume "$dir/verdicts" wrong harmless
grep -q '^killed *wrong  (' "$dir/out" && run --resume "$dir/verdicts" wrong harmless 'wrong-*'
[ $? = 1 ] && ! grep -q '^killed *wrong  (' "$dir/out" && grep -q '^killed *wrong-again  (' "$dir/out" &&
	grep -q '^2 killed, 1 survived' "$dir/out"
ok $? "what was tried is not tried again"
echo >>"$dir/p/sum.c"
run --resume "$dir/verdicts" wrong
grep -q '^killed *wrong  (' "$dir/out"
ok $? "unless the sources changed"
sed -i 's/== 102/== 103/' "$dir/p/tests/test_sum.c"
run wrong
[ $? = 1 ] && grep -q '^untried *wrong  (.*does not pass unchanged' "$dir/out"
ok $? "a test that fails by itself kills nothing"
cp "$dir/before/tests/test_sum.c" "$dir/p/tests"

run --stale wrong gone
[ $? = 1 ] && [ "$(cat "$dir/out")" = "gone: stale: its line stands 0 times in sum.c" ] && run --stale wrong endless
ok $? "a line that has changed is found without a build"
run --shard 1/2 --resume "$dir/parts" wrong harmless again
[ $? = 1 ] && ! grep -q '^survived *harmless' "$dir/out" && run --shard 2/2 --resume "$dir/parts" wrong harmless again
[ $? = 1 ] && [ "$(grep -c '^survived *harmless\|^killed' "$dir/out")" = 1 ] &&
	run --table --resume "$dir/parts" wrong harmless again no-c
[ $? = 1 ] && grep -q '^1 killed, 1 not run, 2 survived' "$dir/out" && ! grep -q '  (' "$dir/out"
ok $? "parts of a run make one table"
printf 'name: %s\nrule: R3\nwhy: w\nfile: sum.c\nold: return a + b + 0 * unused;\nnew: return 0;\n%s\n%s\n' both \
	"test: tests/test_sum" "test: sh -c true" >"$dir/list"
run --all && grep -q '^killed *both  (tests/test_sum: not ok 1 - sum; not noticed by sh -c true)' "$dir/out"
ok $? "a test that does not notice what another one does"
echo "1..$count"
exit $((failed > 0))

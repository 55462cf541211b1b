# Two mounts, and everything breaks.
TESTS += tests/chaos/chaos.sh tests/chaos/test_judge.py
EXTRA_DIST += \
	tests/chaos/board.py \
	tests/chaos/chaos.sh \
	tests/chaos/faults.py \
	tests/chaos/journal.py \
	tests/chaos/judge.py \
	tests/chaos/model.py \
	tests/chaos/round.py \
	tests/chaos/runner.py \
	tests/chaos/shared.py \
	tests/chaos/test_judge.py \
	tests/chaos/tree.py \
	tests/chaos/watch.py \
	tests/chaos/worker.py \
	tests/chaos/world.py

# Fuzz targets.  `make check` replays the corpus; with --enable-fuzz and
# CC=clang the same targets are linked with libFuzzer, to be run by hand:
#	tests/fuzz/fuzz_message -max_len=4096 NEW tests/fuzz/corpus/message
EXTRA_DIST += tests/fuzz/corpus

check_LIBRARIES += tests/fuzz/libreplay.a
tests_fuzz_libreplay_a_SOURCES = tests/fuzz/replay.c tests/fuzz/fuzz.h

check_PROGRAMS += tests/fuzz/replay_message
TESTS += tests/fuzz/replay_message
tests_fuzz_replay_message_SOURCES = tests/fuzz/fuzz_message.c
tests_fuzz_replay_message_LDADD = tests/fuzz/libreplay.a proto/libproto.a $(PROTO_LIBS)

check_PROGRAMS += tests/fuzz/replay_value
TESTS += tests/fuzz/replay_value
tests_fuzz_replay_value_SOURCES = tests/fuzz/fuzz_value.c
tests_fuzz_replay_value_LDADD = tests/fuzz/libreplay.a proto/libproto.a $(PROTO_LIBS)

check_PROGRAMS += tests/fuzz/replay_block_header
TESTS += tests/fuzz/replay_block_header
tests_fuzz_replay_block_header_SOURCES = tests/fuzz/fuzz_block_header.c
tests_fuzz_replay_block_header_LDADD = tests/fuzz/libreplay.a proto/libproto.a $(PROTO_LIBS)

check_PROGRAMS += tests/fuzz/replay_frame
TESTS += tests/fuzz/replay_frame
tests_fuzz_replay_frame_SOURCES = tests/fuzz/fuzz_frame.c
tests_fuzz_replay_frame_LDADD = tests/fuzz/libreplay.a proto/libproto.a $(PROTO_LIBS)

check_PROGRAMS += tests/fuzz/replay_invite
TESTS += tests/fuzz/replay_invite
tests_fuzz_replay_invite_SOURCES = tests/fuzz/fuzz_invite.c
tests_fuzz_replay_invite_LDADD = tests/fuzz/libreplay.a proto/libproto.a $(PROTO_LIBS)

check_PROGRAMS += tests/fuzz/replay_noise
TESTS += tests/fuzz/replay_noise
tests_fuzz_replay_noise_SOURCES = tests/fuzz/fuzz_noise.c
tests_fuzz_replay_noise_LDADD = tests/fuzz/libreplay.a proto/libproto.a $(PROTO_LIBS)

check_PROGRAMS += tests/fuzz/replay_journal
TESTS += tests/fuzz/replay_journal
tests_fuzz_replay_journal_SOURCES = tests/fuzz/fuzz_journal.c
tests_fuzz_replay_journal_LDADD = tests/fuzz/libreplay.a fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)

check_PROGRAMS += tests/fuzz/replay_ssh
TESTS += tests/fuzz/replay_ssh
tests_fuzz_replay_ssh_SOURCES = tests/fuzz/fuzz_ssh.c
tests_fuzz_replay_ssh_LDADD = tests/fuzz/libreplay.a fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)

if FUZZ
FUZZ_LINK = $(AM_LDFLAGS) -fsanitize=fuzzer
noinst_PROGRAMS += tests/fuzz/fuzz_message
tests_fuzz_fuzz_message_SOURCES = tests/fuzz/fuzz_message.c
tests_fuzz_fuzz_message_LDADD = proto/libproto.a $(PROTO_LIBS)
tests_fuzz_fuzz_message_LDFLAGS = $(FUZZ_LINK)
noinst_PROGRAMS += tests/fuzz/fuzz_value
tests_fuzz_fuzz_value_SOURCES = tests/fuzz/fuzz_value.c
tests_fuzz_fuzz_value_LDADD = proto/libproto.a $(PROTO_LIBS)
tests_fuzz_fuzz_value_LDFLAGS = $(FUZZ_LINK)
noinst_PROGRAMS += tests/fuzz/fuzz_block_header
tests_fuzz_fuzz_block_header_SOURCES = tests/fuzz/fuzz_block_header.c
tests_fuzz_fuzz_block_header_LDADD = proto/libproto.a $(PROTO_LIBS)
tests_fuzz_fuzz_block_header_LDFLAGS = $(FUZZ_LINK)
noinst_PROGRAMS += tests/fuzz/fuzz_frame
tests_fuzz_fuzz_frame_SOURCES = tests/fuzz/fuzz_frame.c
tests_fuzz_fuzz_frame_LDADD = proto/libproto.a $(PROTO_LIBS)
tests_fuzz_fuzz_frame_LDFLAGS = $(FUZZ_LINK)
noinst_PROGRAMS += tests/fuzz/fuzz_invite
tests_fuzz_fuzz_invite_SOURCES = tests/fuzz/fuzz_invite.c
tests_fuzz_fuzz_invite_LDADD = proto/libproto.a $(PROTO_LIBS)
tests_fuzz_fuzz_invite_LDFLAGS = $(FUZZ_LINK)
noinst_PROGRAMS += tests/fuzz/fuzz_noise
tests_fuzz_fuzz_noise_SOURCES = tests/fuzz/fuzz_noise.c
tests_fuzz_fuzz_noise_LDADD = proto/libproto.a $(PROTO_LIBS)
tests_fuzz_fuzz_noise_LDFLAGS = $(FUZZ_LINK)
noinst_PROGRAMS += tests/fuzz/fuzz_journal
tests_fuzz_fuzz_journal_SOURCES = tests/fuzz/fuzz_journal.c
tests_fuzz_fuzz_journal_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)
tests_fuzz_fuzz_journal_LDFLAGS = $(FUZZ_LINK)
noinst_PROGRAMS += tests/fuzz/fuzz_ssh
tests_fuzz_fuzz_ssh_SOURCES = tests/fuzz/fuzz_ssh.c
tests_fuzz_fuzz_ssh_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)
tests_fuzz_fuzz_ssh_LDFLAGS = $(FUZZ_LINK)
endif

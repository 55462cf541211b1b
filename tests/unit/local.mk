# tests/unit/test_x.c for x.c; links the production objects.
check_PROGRAMS += tests/unit/test_message
TESTS += tests/unit/test_message
tests_unit_test_message_SOURCES = tests/unit/test_message.c
tests_unit_test_message_LDADD = proto/libproto.a $(PROTO_LIBS)

check_PROGRAMS += tests/unit/test_value
TESTS += tests/unit/test_value
tests_unit_test_value_SOURCES = tests/unit/test_value.c
tests_unit_test_value_LDADD = proto/libproto.a $(PROTO_LIBS)

check_PROGRAMS += tests/unit/test_seal
TESTS += tests/unit/test_seal
tests_unit_test_seal_SOURCES = tests/unit/test_seal.c
tests_unit_test_seal_LDADD = proto/libproto.a $(PROTO_LIBS)

check_PROGRAMS += tests/unit/test_noise
TESTS += tests/unit/test_noise
tests_unit_test_noise_SOURCES = tests/unit/test_noise.c tests/unit/hex.h
tests_unit_test_noise_LDADD = proto/libproto.a $(PROTO_LIBS)

check_PROGRAMS += tests/unit/test_frame
TESTS += tests/unit/test_frame
tests_unit_test_frame_SOURCES = tests/unit/test_frame.c
tests_unit_test_frame_LDADD = proto/libproto.a $(PROTO_LIBS)

check_PROGRAMS += tests/unit/test_invite
TESTS += tests/unit/test_invite
tests_unit_test_invite_SOURCES = tests/unit/test_invite.c
tests_unit_test_invite_LDADD = proto/libproto.a $(PROTO_LIBS)

check_PROGRAMS += tests/unit/test_golden
TESTS += tests/unit/test_golden
tests_unit_test_golden_SOURCES = tests/unit/test_golden.c tests/unit/hex.h
tests_unit_test_golden_LDADD = proto/libproto.a $(PROTO_LIBS)
EXTRA_DIST += tests/golden/messages.hex tests/golden/values.hex tests/golden/seals.hex \
	tests/golden/transport.hex tests/golden/texts.hex
check_PROGRAMS += tests/unit/test_batch
TESTS += tests/unit/test_batch
tests_unit_test_batch_SOURCES = tests/unit/test_batch.c
tests_unit_test_batch_LDADD = server/libserver.a proto/libproto.a

check_PROGRAMS += tests/unit/test_memstore
TESTS += tests/unit/test_memstore
tests_unit_test_memstore_SOURCES = tests/unit/test_memstore.c tests/unit/conform.h
tests_unit_test_memstore_LDADD = tests/sim/libsim.a server/libserver.a proto/libproto.a

check_PROGRAMS += tests/unit/test_client_engine
TESTS += tests/unit/test_client_engine
tests_unit_test_client_engine_SOURCES = tests/unit/test_client_engine.c
tests_unit_test_client_engine_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)

check_PROGRAMS += tests/unit/test_duct
TESTS += tests/unit/test_duct
tests_unit_test_duct_SOURCES = tests/unit/test_duct.c
tests_unit_test_duct_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)

check_PROGRAMS += tests/unit/test_locks
TESTS += tests/unit/test_locks
tests_unit_test_locks_SOURCES = tests/unit/test_locks.c
tests_unit_test_locks_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)

check_PROGRAMS += tests/unit/test_conflicts
TESTS += tests/unit/test_conflicts
tests_unit_test_conflicts_SOURCES = tests/unit/test_conflicts.c
tests_unit_test_conflicts_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)

check_PROGRAMS += tests/unit/test_control
TESTS += tests/unit/test_control
tests_unit_test_control_SOURCES = tests/unit/test_control.c
tests_unit_test_control_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)

check_PROGRAMS += tests/unit/test_notifier
TESTS += tests/unit/test_notifier
tests_unit_test_notifier_SOURCES = tests/unit/test_notifier.c
tests_unit_test_notifier_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)

SERVER_TEST_LIBS = tests/sim/libsim.a server/libserver.a proto/libproto.a $(PROTO_LIBS) $(LMDB_LIBS) $(XXHASH_LIBS)

check_PROGRAMS += tests/unit/test_server_engine
TESTS += tests/unit/test_server_engine
tests_unit_test_server_engine_SOURCES = tests/unit/test_server_engine.c \
	tests/unit/server_world.c tests/unit/server_world.h
tests_unit_test_server_engine_LDADD = $(SERVER_TEST_LIBS)

check_PROGRAMS += tests/unit/test_server_read
TESTS += tests/unit/test_server_read
tests_unit_test_server_read_SOURCES = tests/unit/test_server_read.c \
	tests/unit/server_world.c tests/unit/server_world.h
tests_unit_test_server_read_LDADD = $(SERVER_TEST_LIBS)

check_PROGRAMS += tests/unit/test_server_account
TESTS += tests/unit/test_server_account
tests_unit_test_server_account_SOURCES = tests/unit/test_server_account.c \
	tests/unit/server_world.c tests/unit/server_world.h
tests_unit_test_server_account_LDADD = $(SERVER_TEST_LIBS)

check_PROGRAMS += tests/unit/test_server_edges
TESTS += tests/unit/test_server_edges
tests_unit_test_server_edges_SOURCES = tests/unit/test_server_edges.c \
	tests/unit/server_world.c tests/unit/server_world.h
tests_unit_test_server_edges_LDADD = $(SERVER_TEST_LIBS)

check_PROGRAMS += tests/unit/test_server_hostile
TESTS += tests/unit/test_server_hostile
tests_unit_test_server_hostile_SOURCES = tests/unit/test_server_hostile.c \
	tests/unit/server_world.c tests/unit/server_world.h
tests_unit_test_server_hostile_LDADD = $(SERVER_TEST_LIBS)

STORE_TEST_LIBS = tests/sim/libsim.a server/libserver.a proto/libproto.a $(LMDB_LIBS) $(XXHASH_LIBS)
store_test_common = tests/unit/conform.h tests/unit/store_script.h

check_PROGRAMS += tests/unit/test_store tests/unit/test_recovery tests/unit/test_damage
TESTS += tests/unit/test_store tests/unit/test_recovery tests/unit/test_damage
tests_unit_test_store_SOURCES = tests/unit/test_store.c $(store_test_common)
tests_unit_test_store_LDADD = $(STORE_TEST_LIBS)
tests_unit_test_recovery_SOURCES = tests/unit/test_recovery.c $(store_test_common)
tests_unit_test_recovery_LDADD = $(STORE_TEST_LIBS)
tests_unit_test_damage_SOURCES = tests/unit/test_damage.c $(store_test_common)
tests_unit_test_damage_LDADD = $(STORE_TEST_LIBS)
check_PROGRAMS += tests/unit/test_server_commit
TESTS += tests/unit/test_server_commit
tests_unit_test_server_commit_SOURCES = tests/unit/test_server_commit.c \
	tests/unit/server_world.c tests/unit/server_world.h
tests_unit_test_server_commit_LDADD = $(SERVER_TEST_LIBS)

check_PROGRAMS += tests/unit/test_settings
TESTS += tests/unit/test_settings
tests_unit_test_settings_SOURCES = tests/unit/test_settings.c \
	server/settings.c server/settings.h server/event.c server/event.h

check_PROGRAMS += tests/unit/test_server_memory
TESTS += tests/unit/test_server_memory
tests_unit_test_server_memory_SOURCES = tests/unit/test_server_memory.c \
	tests/unit/server_world.c tests/unit/server_world.h
tests_unit_test_server_memory_LDADD = $(SERVER_TEST_LIBS)
tests_unit_test_server_memory_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=arena_alloc \
	-Wl,--wrap=server_received,--wrap=server_tick,--wrap=server_connected
# For a build inside a mount, which cannot run what mounts.
.PHONY: print-unit-tests
print-unit-tests:
	@echo $(filter tests/unit/test_%,$(check_PROGRAMS))

check_PROGRAMS += tests/unit/test_ssh
TESTS += tests/unit/test_ssh
tests_unit_test_ssh_SOURCES = tests/unit/test_ssh.c
tests_unit_test_ssh_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)

check_PROGRAMS += tests/unit/test_ssh_cipher
TESTS += tests/unit/test_ssh_cipher
tests_unit_test_ssh_cipher_SOURCES = tests/unit/test_ssh_cipher.c tests/unit/hex.h
tests_unit_test_ssh_cipher_LDADD = fs/libfs.a $(PROTO_LIBS)

check_PROGRAMS += tests/unit/test_home tests/unit/test_link
TESTS += tests/unit/test_home tests/unit/test_link
tests_unit_test_home_SOURCES = tests/unit/test_home.c
tests_unit_test_home_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS) $(FUSE_LIBS)
tests_unit_test_link_SOURCES = tests/unit/test_link.c
tests_unit_test_link_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS) $(FUSE_LIBS)

check_PROGRAMS += tests/unit/test_client_sleep
TESTS += tests/unit/test_client_sleep
tests_unit_test_client_sleep_SOURCES = tests/unit/test_client_sleep.c \
	tests/unit/client_world.c tests/unit/client_world.h
tests_unit_test_client_sleep_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS)

check_PROGRAMS += tests/unit/test_client_apart
TESTS += tests/unit/test_client_apart
tests_unit_test_client_apart_SOURCES = tests/unit/test_client_apart.c \
	tests/unit/client_world.c tests/unit/client_world.h
tests_unit_test_client_apart_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS)

check_PROGRAMS += tests/unit/test_client_credit
TESTS += tests/unit/test_client_credit
tests_unit_test_client_credit_SOURCES = tests/unit/test_client_credit.c \
	tests/unit/client_world.c tests/unit/client_world.h
tests_unit_test_client_credit_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)

check_PROGRAMS += tests/unit/test_client_recovery
TESTS += tests/unit/test_client_recovery
tests_unit_test_client_recovery_SOURCES = tests/unit/test_client_recovery.c \
	tests/unit/client_world.c tests/unit/client_world.h
tests_unit_test_client_recovery_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)

check_PROGRAMS += tests/unit/test_server_credit
TESTS += tests/unit/test_server_credit
tests_unit_test_server_credit_SOURCES = tests/unit/test_server_credit.c \
	tests/unit/server_world.c tests/unit/server_world.h
tests_unit_test_server_credit_LDADD = $(SERVER_TEST_LIBS)

check_PROGRAMS += tests/unit/test_server_evicted
TESTS += tests/unit/test_server_evicted
tests_unit_test_server_evicted_SOURCES = tests/unit/test_server_evicted.c \
	tests/unit/server_world.c tests/unit/server_world.h
tests_unit_test_server_evicted_LDADD = $(SERVER_TEST_LIBS)

check_PROGRAMS += tests/unit/test_server_failing
TESTS += tests/unit/test_server_failing
tests_unit_test_server_failing_SOURCES = tests/unit/test_server_failing.c \
	tests/unit/server_world.c tests/unit/server_world.h
tests_unit_test_server_failing_LDADD = $(SERVER_TEST_LIBS)

check_PROGRAMS += tests/unit/test_server_limits
TESTS += tests/unit/test_server_limits
tests_unit_test_server_limits_SOURCES = tests/unit/test_server_limits.c \
	tests/unit/server_world.c tests/unit/server_world.h
tests_unit_test_server_limits_LDADD = $(SERVER_TEST_LIBS)

check_PROGRAMS += tests/unit/test_server_trade
TESTS += tests/unit/test_server_trade
tests_unit_test_server_trade_SOURCES = tests/unit/test_server_trade.c \
	tests/unit/server_world.c tests/unit/server_world.h
tests_unit_test_server_trade_LDADD = $(SERVER_TEST_LIBS)

check_PROGRAMS += tests/unit/test_client_leases
TESTS += tests/unit/test_client_leases
tests_unit_test_client_leases_SOURCES = tests/unit/test_client_leases.c \
	tests/unit/client_world.c tests/unit/client_world.h
tests_unit_test_client_leases_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)

check_PROGRAMS += tests/unit/test_client_names
TESTS += tests/unit/test_client_names
tests_unit_test_client_names_SOURCES = tests/unit/test_client_names.c \
	tests/unit/client_world.c tests/unit/client_world.h
tests_unit_test_client_names_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)

check_PROGRAMS += tests/unit/test_segments
TESTS += tests/unit/test_segments
tests_unit_test_segments_SOURCES = tests/unit/test_segments.c $(store_test_common)
tests_unit_test_segments_LDADD = $(STORE_TEST_LIBS)

check_PROGRAMS += tests/unit/test_client_replay
TESTS += tests/unit/test_client_replay
tests_unit_test_client_replay_SOURCES = tests/unit/test_client_replay.c \
	tests/unit/client_world.c tests/unit/client_world.h \
	tests/unit/journal_world.c tests/unit/journal_world.h
tests_unit_test_client_replay_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)

check_PROGRAMS += tests/unit/test_client_room
TESTS += tests/unit/test_client_room
tests_unit_test_client_room_SOURCES = tests/unit/test_client_room.c \
	tests/unit/client_world.c tests/unit/client_world.h \
	tests/unit/journal_world.c tests/unit/journal_world.h
tests_unit_test_client_room_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)

check_PROGRAMS += tests/unit/test_client_caller
TESTS += tests/unit/test_client_caller
tests_unit_test_client_caller_SOURCES = tests/unit/test_client_caller.c
tests_unit_test_client_caller_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)

check_PROGRAMS += tests/unit/test_journal
TESTS += tests/unit/test_journal
tests_unit_test_journal_SOURCES = tests/unit/test_journal.c
tests_unit_test_journal_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS) $(FUSE_LIBS)
check_PROGRAMS += tests/unit/test_client_content
TESTS += tests/unit/test_client_content
tests_unit_test_client_content_SOURCES = tests/unit/test_client_content.c \
	tests/unit/client_world.c tests/unit/client_world.h
tests_unit_test_client_content_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)

# The engines' rooms share names: see tests/sim/local.mk.
WHOLE_TEST_LIBS = tests/sim/libsim.a tests/sim/server-engine.o fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)
whole_test_common = tests/unit/whole_world.c tests/unit/whole_world.h tests/unit/server_world.c tests/unit/server_world.h

check_PROGRAMS += tests/unit/test_client_memory
TESTS += tests/unit/test_client_memory
tests_unit_test_client_memory_SOURCES = tests/unit/test_client_memory.c tests/unit/wrap_alloc.h $(whole_test_common)
tests_unit_test_client_memory_LDADD = $(WHOLE_TEST_LIBS)
tests_unit_test_client_memory_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=arena_alloc,--wrap=strndup

check_PROGRAMS += tests/unit/test_server_damage
TESTS += tests/unit/test_server_damage
tests_unit_test_server_damage_SOURCES = tests/unit/test_server_damage.c \
	tests/unit/server_world.c tests/unit/server_world.h
tests_unit_test_server_damage_LDADD = $(SERVER_TEST_LIBS)

check_PROGRAMS += tests/unit/test_client_whole
TESTS += tests/unit/test_client_whole
tests_unit_test_client_whole_SOURCES = tests/unit/test_client_whole.c $(whole_test_common)
tests_unit_test_client_whole_LDADD = $(WHOLE_TEST_LIBS)

check_PROGRAMS += tests/unit/test_client_refusals
TESTS += tests/unit/test_client_refusals
tests_unit_test_client_refusals_SOURCES = tests/unit/test_client_refusals.c $(whole_test_common)
tests_unit_test_client_refusals_LDADD = $(WHOLE_TEST_LIBS)

check_PROGRAMS += tests/unit/test_client_plan
TESTS += tests/unit/test_client_plan
tests_unit_test_client_plan_SOURCES = tests/unit/test_client_plan.c \
	tests/unit/client_world.c tests/unit/client_world.h \
	tests/unit/journal_world.c tests/unit/journal_world.h
tests_unit_test_client_plan_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)

check_PROGRAMS += tests/unit/test_client_beside
TESTS += tests/unit/test_client_beside
tests_unit_test_client_beside_SOURCES = tests/unit/test_client_beside.c \
	tests/unit/client_world.c tests/unit/client_world.h \
	tests/unit/journal_world.c tests/unit/journal_world.h
tests_unit_test_client_beside_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)

check_PROGRAMS += tests/unit/test_client_again
TESTS += tests/unit/test_client_again
tests_unit_test_client_again_SOURCES = tests/unit/test_client_again.c $(whole_test_common)
tests_unit_test_client_again_LDADD = $(WHOLE_TEST_LIBS)

check_PROGRAMS += tests/unit/test_client_disk
TESTS += tests/unit/test_client_disk
tests_unit_test_client_disk_SOURCES = tests/unit/test_client_disk.c \
	tests/unit/client_world.c tests/unit/client_world.h
tests_unit_test_client_disk_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS)

check_PROGRAMS += tests/unit/test_replay_memory
TESTS += tests/unit/test_replay_memory
tests_unit_test_replay_memory_SOURCES = tests/unit/test_replay_memory.c tests/unit/wrap_alloc.h \
	tests/unit/client_world.c tests/unit/client_world.h \
	tests/unit/journal_world.c tests/unit/journal_world.h
tests_unit_test_replay_memory_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)
tests_unit_test_replay_memory_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=arena_alloc,--wrap=strndup

check_PROGRAMS += tests/unit/test_client_layers
TESTS += tests/unit/test_client_layers
tests_unit_test_client_layers_SOURCES = tests/unit/test_client_layers.c \
	tests/unit/client_world.c tests/unit/client_world.h
tests_unit_test_client_layers_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS)

check_PROGRAMS += tests/unit/test_client_limits
TESTS += tests/unit/test_client_limits
tests_unit_test_client_limits_SOURCES = tests/unit/test_client_limits.c \
	tests/unit/client_world.c tests/unit/client_world.h
tests_unit_test_client_limits_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)

check_PROGRAMS += tests/unit/test_store_memory
TESTS += tests/unit/test_store_memory
tests_unit_test_store_memory_SOURCES = tests/unit/test_store_memory.c $(store_test_common)
tests_unit_test_store_memory_LDADD = $(STORE_TEST_LIBS)
tests_unit_test_store_memory_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=arena_alloc,--wrap=diskstore_compact
check_PROGRAMS += tests/unit/test_blockcache
TESTS += tests/unit/test_blockcache
tests_unit_test_blockcache_SOURCES = tests/unit/test_blockcache.c
tests_unit_test_blockcache_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS)

check_PROGRAMS += tests/unit/test_client_keep
TESTS += tests/unit/test_client_keep
tests_unit_test_client_keep_SOURCES = tests/unit/test_client_keep.c \
	tests/unit/client_world.c tests/unit/client_world.h tests/unit/far_world.c tests/unit/far_world.h
tests_unit_test_client_keep_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS)

check_PROGRAMS += tests/unit/test_client_conflicts
TESTS += tests/unit/test_client_conflicts
tests_unit_test_client_conflicts_SOURCES = tests/unit/test_client_conflicts.c $(whole_test_common)
tests_unit_test_client_conflicts_LDADD = $(WHOLE_TEST_LIBS)

check_PROGRAMS += tests/unit/test_table
TESTS += tests/unit/test_table
tests_unit_test_table_SOURCES = tests/unit/test_table.c
tests_unit_test_table_LDADD = server/libserver.a proto/libproto.a

check_PROGRAMS += tests/unit/test_client_due tests/unit/test_server_due
TESTS += tests/unit/test_client_due tests/unit/test_server_due
tests_unit_test_client_due_SOURCES = tests/unit/test_client_due.c \
	tests/unit/client_world.c tests/unit/client_world.h
tests_unit_test_client_due_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS)
tests_unit_test_server_due_SOURCES = tests/unit/test_server_due.c \
	tests/unit/server_world.c tests/unit/server_world.h
tests_unit_test_server_due_LDADD = $(SERVER_TEST_LIBS)

check_PROGRAMS += tests/unit/test_client_spare
TESTS += tests/unit/test_client_spare
tests_unit_test_client_spare_SOURCES = tests/unit/test_client_spare.c tests/unit/wrap_alloc.h \
	tests/unit/client_world.c tests/unit/client_world.h tests/unit/far_world.c tests/unit/far_world.h
tests_unit_test_client_spare_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS)
tests_unit_test_client_spare_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=arena_alloc,--wrap=strndup

check_PROGRAMS += tests/unit/test_client_hostile
TESTS += tests/unit/test_client_hostile
tests_unit_test_client_hostile_SOURCES = tests/unit/test_client_hostile.c \
	tests/unit/client_world.c tests/unit/client_world.h tests/unit/far_world.c tests/unit/far_world.h
tests_unit_test_client_hostile_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS)

check_PROGRAMS += tests/unit/test_client_events
TESTS += tests/unit/test_client_events
tests_unit_test_client_events_SOURCES = tests/unit/test_client_events.c \
	tests/unit/client_world.c tests/unit/client_world.h tests/unit/far_world.c tests/unit/far_world.h
tests_unit_test_client_events_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS)

check_PROGRAMS += tests/unit/test_client_flush
TESTS += tests/unit/test_client_flush
tests_unit_test_client_flush_SOURCES = tests/unit/test_client_flush.c \
	tests/unit/client_world.c tests/unit/client_world.h
tests_unit_test_client_flush_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)

check_PROGRAMS += tests/unit/test_client_answers
TESTS += tests/unit/test_client_answers
tests_unit_test_client_answers_SOURCES = tests/unit/test_client_answers.c \
	tests/unit/client_world.c tests/unit/client_world.h
tests_unit_test_client_answers_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)

check_PROGRAMS += tests/unit/test_client_damaged
TESTS += tests/unit/test_client_damaged
tests_unit_test_client_damaged_SOURCES = tests/unit/test_client_damaged.c \
	tests/unit/client_world.c tests/unit/client_world.h
tests_unit_test_client_damaged_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)

check_PROGRAMS += tests/unit/test_client_commits
TESTS += tests/unit/test_client_commits
tests_unit_test_client_commits_SOURCES = tests/unit/test_client_commits.c \
	tests/unit/client_world.c tests/unit/client_world.h
tests_unit_test_client_commits_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)

check_PROGRAMS += tests/unit/test_client_walk
TESTS += tests/unit/test_client_walk
tests_unit_test_client_walk_SOURCES = tests/unit/test_client_walk.c \
	tests/unit/client_world.c tests/unit/client_world.h
tests_unit_test_client_walk_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)
check_PROGRAMS += tests/unit/test_object
TESTS += tests/unit/test_object
tests_unit_test_object_SOURCES = tests/unit/test_object.c
tests_unit_test_object_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS)

check_PROGRAMS += tests/unit/test_client_scout
TESTS += tests/unit/test_client_scout
tests_unit_test_client_scout_SOURCES = tests/unit/test_client_scout.c \
	tests/unit/client_world.c tests/unit/client_world.h tests/unit/far_world.c tests/unit/far_world.h
tests_unit_test_client_scout_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS)

check_PROGRAMS += tests/unit/test_client_recalls
TESTS += tests/unit/test_client_recalls
tests_unit_test_client_recalls_SOURCES = tests/unit/test_client_recalls.c \
	tests/unit/client_world.c tests/unit/client_world.h tests/unit/far_world.c tests/unit/far_world.h
tests_unit_test_client_recalls_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS)

check_PROGRAMS += tests/unit/test_client_files
TESTS += tests/unit/test_client_files
tests_unit_test_client_files_SOURCES = tests/unit/test_client_files.c \
	tests/unit/client_world.c tests/unit/client_world.h tests/unit/far_world.c tests/unit/far_world.h
tests_unit_test_client_files_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS)

check_PROGRAMS += tests/unit/test_client_starved
TESTS += tests/unit/test_client_starved
tests_unit_test_client_starved_SOURCES = tests/unit/test_client_starved.c tests/unit/wrap_alloc.h \
	tests/unit/client_world.c tests/unit/client_world.h
tests_unit_test_client_starved_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)
tests_unit_test_client_starved_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=arena_alloc

check_PROGRAMS += tests/unit/test_client_full
TESTS += tests/unit/test_client_full
tests_unit_test_client_full_SOURCES = tests/unit/test_client_full.c \
	tests/unit/client_world.c tests/unit/client_world.h
tests_unit_test_client_full_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)

check_PROGRAMS += tests/unit/test_client_cells
TESTS += tests/unit/test_client_cells
tests_unit_test_client_cells_SOURCES = tests/unit/test_client_cells.c tests/unit/wrap_alloc.h \
	tests/unit/client_world.c tests/unit/client_world.h
tests_unit_test_client_cells_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)
tests_unit_test_client_cells_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=arena_alloc

# The simulator and what it stands on.
noinst_LIBRARIES += tests/sim/libsim.a
tests_sim_libsim_a_SOURCES = \
	tests/sim/faultdisk.c \
	tests/sim/faultdisk.h \
	tests/sim/memstore.c \
	tests/sim/memstore.h

noinst_PROGRAMS += tests/sim/nuage-sim
tests_sim_nuage_sim_SOURCES = \
	tests/sim/absence.c \
	tests/sim/apart.c tests/sim/apart.h \
	tests/sim/attach.c \
	tests/sim/blocks.c tests/sim/blocks.h \
	tests/sim/cache.c \
	tests/sim/call.c tests/sim/call.h \
	tests/sim/check.c tests/sim/check.h \
	tests/sim/client.c tests/sim/client.h \
	tests/sim/daemon.c tests/sim/daemon.h \
	tests/sim/damage.c tests/sim/damage.h \
	tests/sim/diary.c tests/sim/diary.h \
	tests/sim/facts.c tests/sim/facts.h \
	tests/sim/fate.c tests/sim/fate.h tests/sim/fate_room.h \
	tests/sim/fault.c tests/sim/fault.h \
	tests/sim/image.c tests/sim/image.h \
	tests/sim/inspect.c \
	tests/sim/kernel.c tests/sim/kernel.h tests/sim/kernel_room.h \
	tests/sim/main.c \
	tests/sim/model.c tests/sim/model.h \
	tests/sim/mount.c \
	tests/sim/net.c tests/sim/net.h \
	tests/sim/orphan.c tests/sim/orphan.h \
	tests/sim/pair.c \
	tests/sim/posix.c \
	tests/sim/proc.h \
	tests/sim/progress.c tests/sim/progress.h \
	tests/sim/remains.c \
	tests/sim/rivals.c tests/sim/rivals.h \
	tests/sim/rng.h \
	tests/sim/sim.c tests/sim/sim.h \
	tests/sim/task.c \
	tests/sim/through.c tests/sim/through.h \
	tests/sim/transfer.c tests/sim/transfer.h \
	tests/sim/workload.c tests/sim/workload.h
tests_sim_nuage_sim_LDADD = tests/sim/libsim.a tests/sim/server-engine.o fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(SSH_LIBS)

# Nowhere else do both engines meet in one program, and their rooms share names:
# the server's is made one object of which only its contracts are visible.
SIM_ENTRIES = server_new server_check server_check_store server_invite
SIM_VISIBLE = 'server_*' 'batch_*' 'key_*' 'header_*' 'record_decode' 'record_oref' 'session_row_*' 'state_row_*'
tests/sim/server-engine.o: server/libserver.a
	$(AM_V_GEN)$(MKDIR_P) tests/sim && \
	$(CC) -r -nostdlib -o $@.tmp $(SIM_ENTRIES:%=-Wl,-u,%) server/libserver.a && \
	objcopy -w $(SIM_VISIBLE:%=--keep-global-symbol=%) $@.tmp $@ && rm -f $@.tmp
CLEANFILES += tests/sim/server-engine.o

TESTS += tests/sim/test_sim.sh tests/sim/test_apart.sh tests/sim/test_resume.sh tests/sim/test_tight.sh
EXTRA_DIST += tests/sim/test_sim.sh tests/sim/test_apart.sh tests/sim/test_resume.sh tests/sim/test_tight.sh

# make sim-long RANGE=1-1000000: goes on where it was stopped, and tells of all of it in the end;
# SIM_OPTIONS=--apart for the other kind of worlds.
RANGE = 1-100000
SIM_OPTIONS =
sim-long: tests/sim/nuage-sim
	$(builddir)/tests/sim/nuage-sim $(SIM_OPTIONS) --seeds $(RANGE) --jobs $${SIM_JOBS:-`nproc`} \
	    --resume "sim-long.$(RANGE)`echo '$(SIM_OPTIONS)' | tr -d ' '`"
.PHONY: sim-long

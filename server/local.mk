# The storage server: engine and store in a library, the daemon around them.
noinst_LIBRARIES += server/libserver.a
server_libserver_a_SOURCES = \
	server/account.c server/account.h \
	server/audit.c \
	server/batch.c server/batch.h \
	server/block.c server/block.h \
	server/check.c \
	server/commit.c server/commit.h \
	server/compaction.c \
	server/conn.c server/conn.h \
	server/credit.c server/credit.h \
	server/disk.c server/disk.h \
	server/diskstore.c server/diskstore.h \
	server/diskstore_room.h \
	server/engine.c server/engine.h \
	server/kv.c server/kv.h \
	server/kvcheck.c server/kvcheck.h \
	server/layout.c server/layout.h \
	server/lease.c server/lease.h \
	server/ledger.c server/ledger.h \
	server/log.c server/log.h \
	server/object.c server/object.h \
	server/outbox.c server/outbox.h \
	server/pin.c server/pin.h \
	server/read.c server/read.h \
	server/reap.c server/reap.h \
	server/recovery.c server/recovery.h \
	server/segment.c server/segment.h \
	server/session.c server/session.h \
	server/space.c \
	server/state.h \
	server/store.h \
	server/storecheck.c \
	server/table.c server/table.h \
	server/tally.c server/tally.h \
	server/wait.c server/wait.h

sbin_PROGRAMS += nuaged
nuaged_SOURCES = \
	server/admin.c server/admin.h \
	server/bridge.c server/bridge.h \
	server/daemon.c server/daemon.h \
	server/door.c server/door.h \
	server/event.c server/event.h \
	server/fetch.c server/fetch.h \
	server/home.c server/home.h \
	server/inspect.c server/inspect.h \
	server/link.c server/link.h \
	server/listen.c server/listen.h \
	server/nuaged.c \
	server/settings.c server/settings.h
nuaged_LDADD = server/libserver.a proto/libproto.a $(PROTO_LIBS) $(LMDB_LIBS) $(XXHASH_LIBS)

unitdir = $(prefix)/lib/systemd/system
nodist_unit_DATA = server/nuaged.service
EXTRA_DIST += server/nuaged.service.in
CLEANFILES += server/nuaged.service
server/nuaged.service: server/nuaged.service.in
	$(fill_in)
# The same for another machine: `nuage mount --install-server` copies it there.  It resolves no names, which
# is what a linker would warn of: a nuaged that a bridge starts listens on no port.
if STATIC_SERVER
noinst_PROGRAMS += nuaged-static
nuaged_static_SOURCES = $(nuaged_SOURCES)
nuaged_static_LDADD = server/libserver.a proto/libproto.a $(STATIC_LIBS)
nuaged_static_LDFLAGS = $(AM_LDFLAGS) -static -s $(STATIC_LDFLAGS)

lent = nuaged-$(PACKAGE_VERSION)-$(SERVER_CPU)
lentdir = $(pkglibexecdir)
lent_SCRIPTS = $(lent)
lent_DATA = $(lent).sha256
CLEANFILES += $(lent) $(lent).sha256

$(lent): nuaged-static$(EXEEXT)
	$(AM_V_GEN)ln -f nuaged-static$(EXEEXT) $@
$(lent).sha256: $(lent)
	$(AM_V_GEN)sha256sum $(lent) >$@.new && mv $@.new $@
endif

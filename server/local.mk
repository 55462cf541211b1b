# The storage server.
noinst_LIBRARIES += server/libserver.a
server_libserver_a_SOURCES = \
	server/batch.c \
	server/batch.h \
	server/compaction.c \
	server/disk.c \
	server/disk.h \
	server/diskstore.c \
	server/diskstore.h \
	server/diskstore_room.h \
	server/kv.c \
	server/kv.h \
	server/kvcheck.c \
	server/kvcheck.h \
	server/ledger.c \
	server/ledger.h \
	server/log.c \
	server/log.h \
	server/recovery.c \
	server/recovery.h \
	server/segment.c \
	server/segment.h \
	server/store.h \
	server/storecheck.c

# The client.
noinst_LIBRARIES += fs/libfs.a
fs_libfs_a_SOURCES = \
	fs/buffer.c fs/buffer.h \
	fs/channel.c fs/channel.h \
	fs/engine.h \
	fs/home.c fs/home.h \
	fs/link.c fs/link.h \
	fs/lock.h \
	fs/log.c fs/log.h \
	fs/mount.c fs/mount.h \
	fs/mover.c fs/mover.h \
	fs/note.c fs/note.h \
	fs/notifier.c fs/notifier.h \
	fs/shell.c fs/shell.h \
	fs/workers.c fs/workers.h

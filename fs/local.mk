# The client.
noinst_LIBRARIES += fs/libfs.a
fs_libfs_a_SOURCES = \
	fs/buffer.c fs/buffer.h \
	fs/engine.h

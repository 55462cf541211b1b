# The client.
noinst_LIBRARIES += fs/libfs.a
fs_libfs_a_SOURCES = \
	fs/buffer.c fs/buffer.h \
	fs/cell.c \
	fs/content.h \
	fs/core.h \
	fs/data.c \
	fs/engine.c fs/engine.h \
	fs/extent.c \
	fs/layer.c \
	fs/lease.c \
	fs/object.c fs/object.h \
	fs/op_dir.c \
	fs/op_file.c \
	fs/op_name.c \
	fs/span.c \
	fs/txn.c

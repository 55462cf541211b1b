# The storage server.
noinst_LIBRARIES += server/libserver.a
server_libserver_a_SOURCES = \
	server/batch.c \
	server/batch.h \
	server/store.h

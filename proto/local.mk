# Pure bytes: messages, frames, handshake, sealing, cells, limits.
noinst_LIBRARIES += proto/libproto.a
proto_libproto_a_SOURCES = \
	proto/limits.h \
	proto/cursor.c proto/cursor.h \
	proto/message.c proto/message.h \
	proto/value.c proto/value.h


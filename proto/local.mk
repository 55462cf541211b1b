# Pure bytes: messages, frames, handshake, sealing, cells, limits.
noinst_LIBRARIES += proto/libproto.a
proto_libproto_a_SOURCES = \
	proto/limits.h \
	proto/cursor.c proto/cursor.h \
	proto/message.c proto/message.h \
	proto/value.c proto/value.h \
	proto/seal.c proto/seal.h proto/seal_internal.h \
	proto/record.c proto/block.c \
	proto/aead.c proto/aead.h \
	proto/scratch.c proto/scratch.h \
	proto/preamble.c proto/preamble.h \
	proto/noise.c proto/noise.h proto/noise_internal.h \
	proto/frame.c proto/frame.h \
	proto/wrap.c proto/wrap.h proto/wrap_internal.h \
	proto/invite.c proto/invite.h

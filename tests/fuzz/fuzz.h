/*
 * fuzz.h - what a fuzz target gives, to libFuzzer or to replay.c.
 *
 * A target runs a production decoder over the input and aborts when what it
 * accepted breaks a promise of its header; that it neither crashes nor reads
 * out of bounds is for the sanitizers to see.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* The directory below tests/fuzz/corpus/ with this target's inputs. */
extern const char fuzz_target[];
int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Not assert(): a fuzzer built with NDEBUG must see it too. */
#define promise(cond) ((cond) ? (void)0 : abort())

#endif

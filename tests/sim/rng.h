/*
 * rng.h - the simulator's random numbers: xoshiro256**, seeded by splitmix64.
 *
 * Each source of chance has its own stream, so that drawing one number more
 * in one room leaves the others as they were.
 */
#ifndef TESTS_SIM_RNG_H
#define TESTS_SIM_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rng {
	uint64_t s[4];
};

static inline uint64_t
rng_mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static inline void
rng_seed(struct rng *r, uint64_t seed, uint64_t stream)
{
	uint64_t x = rng_mix(seed) ^ rng_mix(stream * 0x632be59bd9b4e019u + 1);

	for (int i = 0; i < 4; i++)
		r->s[i] = x = rng_mix(x);
}

static inline uint64_t
rng_next(struct rng *r)
{
	uint64_t *s = r->s, five = s[1] * 5, t = s[1] << 17;
	uint64_t result = ((five << 7) | (five >> 57)) * 9;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = (s[3] << 45) | (s[3] >> 19);
	return result;
}

/* 0 to n - 1; 0 when n is 0. */
static inline uint64_t
rng_below(struct rng *r, uint64_t n)
{
	return n == 0 ? 0 : rng_next(r) % n;
}

/* low to high, both included. */
static inline uint64_t
rng_between(struct rng *r, uint64_t low, uint64_t high)
{
	return low + rng_below(r, high - low + 1);
}

static inline bool
rng_chance(struct rng *r, unsigned per_mille)
{
	return rng_below(r, 1000) < per_mille;
}

static inline void
rng_fill(struct rng *r, void *to, size_t len)
{
	uint8_t *p = to;

	for (uint64_t x = 0; len > 0; len--, x >>= 8) {
		if (x == 0)
			x = rng_next(r);
		*p++ = (uint8_t)x;
	}
}

#endif

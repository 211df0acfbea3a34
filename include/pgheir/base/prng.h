/* A seeded generator whose state belongs to the caller, so that every run can be repeated.
 * Not for secrets. */
#ifndef PGHEIR_BASE_PRNG_H
#define PGHEIR_BASE_PRNG_H

#include <stdint.h>

struct prng {
    uint64_t state;
};

/* Any seed is a good one, 0 too. */
void prng_seed(struct prng *prng, uint64_t seed);
/* The next 64 bits (splitmix64). */
uint64_t prng_next(struct prng *prng);
/* Uniform in [0, limit); limit > 0. */
uint64_t prng_below(struct prng *prng, uint64_t limit);

#endif

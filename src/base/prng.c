#include "pgheir/base/prng.h"

#include "pgheir/base/base.h"

void
prng_seed(struct prng *prng, uint64_t seed)
{
    prng->state = seed;
}

/* splitmix64 by Sebastiano Vigna (public domain): every state is a good one, and one word is enough
 * for a simulator that draws a few million numbers per seed. */
uint64_t
prng_next(struct prng *prng)
{
    uint64_t mixed = prng->state += UINT64_C(0x9e3779b97f4a7c15);

    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

uint64_t
prng_below(struct prng *prng, uint64_t limit)
{
    uint64_t threshold;
    uint64_t drawn;

    pgh_assert(limit > 0);
    /* Numbers below 2^64 mod limit would make the small results more likely: draw again. */
    threshold = (0 - limit) % limit;
    do
        drawn = prng_next(prng);
    while (drawn < threshold);
    return drawn % limit;
}

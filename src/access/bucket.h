/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bucket -- how many requests a key may make: a bucket of tokens, kept as one instant.
 *
 * It holds `burst` tokens, and `rate` a second fall into it. What is kept is when it will be full
 * again: each token taken puts that off by the time in which one falls, and a token is there as
 * long as that is no further off than `burst` of these times.
 *
 * Threads: any.
 * Source:  GCRA, ITU-T Recommendation I.371, annex A.
 */
#ifndef DBK_ACCESS_BUCKET_H
#define DBK_ACCESS_BUCKET_H

#include <stdatomic.h>
#include <stdint.h>

/* Takes a token. 0: there was one; else how many nanoseconds until there is one. rate and burst:
   from 1 to 10^6; now_ns: of a clock that never goes back. */
int64_t dbk_bucket_take(_Atomic int64_t *full_ns, uint32_t rate, uint32_t burst, int64_t now_ns);

#endif

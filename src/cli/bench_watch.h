/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_watch -- how late a reader at the end of a place's way finds what its writer commits, and
 * how much gets through.
 *
 * Threads: the main thread writes, one of its own reads.
 */
#ifndef DBK_CLI_BENCH_WATCH_H
#define DBK_CLI_BENCH_WATCH_H

#include "cli/bench_place.h"

/* Commits so many orders one by one at a rate a second, and counts the time from each commit's
   return until a reader that looks every 0.1 ms finds the order; 0 where it is there before. */
int dbk_bench_watch(struct dbk_bench_place *place, uint64_t rate, uint64_t count,
                    struct dbk_histogram *stale_ns, struct dbk_error *err) DBK_MUST_CHECK;
/* Commits so many orders, a batch at once, until a reader finds the last. */
int dbk_bench_write_many(struct dbk_bench_place *place, uint64_t rows, uint64_t batch,
                         double *seconds_out, struct dbk_error *err) DBK_MUST_CHECK;

#endif

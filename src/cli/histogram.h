/* SPDX-License-Identifier: Apache-2.0 */
/*
 * histogram -- latencies counted in buckets that grow with the value.
 *
 * Values below 64 have a bucket each. Above, every power of two is cut into 32 equal buckets, so
 * that a bucket is at most 1/32 of its values wide: a percentile is at most 3.2 % above the value
 * it stands for, and never below it. One histogram takes 15 KiB, whatever it counts.
 *
 * Threads: a histogram belongs to one thread; merge them afterwards.
 */
#ifndef DBK_CLI_HISTOGRAM_H
#define DBK_CLI_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

/* 64 single ones, then 32 for each of the powers 2^6 to 2^63. */
#define DBK_HISTOGRAM_BUCKETS (64 + 58 * 32)

struct dbk_histogram {
    uint64_t buckets[DBK_HISTOGRAM_BUCKETS];
    uint64_t count;
    uint64_t max; /* exact */
};

void dbk_histogram_add(struct dbk_histogram *histogram, uint64_t value);
void dbk_histogram_merge(struct dbk_histogram *into, const struct dbk_histogram *other);
/* The largest value of the bucket that holds the given part (0 to 1) of all values, at most the
   maximum; 0 when nothing was counted. */
uint64_t dbk_histogram_percentile(const struct dbk_histogram *histogram, double part);

/* The bucket of a value, and the largest value of a bucket. */
size_t dbk_histogram_bucket(uint64_t value);
uint64_t dbk_histogram_bucket_max(size_t bucket);

#endif

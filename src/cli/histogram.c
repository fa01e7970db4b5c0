/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/histogram.h"

#include "base/assert.h"

size_t dbk_histogram_bucket(uint64_t value)
{
    if (value < 64)
        return (size_t)value;
    unsigned power = 63u - (unsigned)__builtin_clzll(value);
    size_t part = (size_t)(value >> (power - 5)) & 31;
    return 64 + (size_t)(power - 6) * 32 + part;
}

uint64_t dbk_histogram_bucket_max(size_t bucket)
{
    dbk_assert(bucket < DBK_HISTOGRAM_BUCKETS);
    if (bucket < 64)
        return bucket;
    unsigned power = (unsigned)((bucket - 64) / 32) + 6;
    uint64_t part = (bucket - 64) % 32;
    return ((32 + part) << (power - 5)) + ((UINT64_C(1) << (power - 5)) - 1);
}

void dbk_histogram_add(struct dbk_histogram *histogram, uint64_t value)
{
    histogram->buckets[dbk_histogram_bucket(value)]++;
    histogram->count++;
    if (value > histogram->max)
        histogram->max = value;
}

void dbk_histogram_merge(struct dbk_histogram *into, const struct dbk_histogram *other)
{
    for (size_t i = 0; i < DBK_HISTOGRAM_BUCKETS; i++)
        into->buckets[i] += other->buckets[i];
    into->count += other->count;
    if (other->max > into->max)
        into->max = other->max;
}

uint64_t dbk_histogram_percentile(const struct dbk_histogram *histogram, double part)
{
    uint64_t wanted = (uint64_t)(part * (double)histogram->count);
    uint64_t seen = 0;
    if (wanted >= histogram->count)
        return histogram->max;
    for (size_t i = 0; i < DBK_HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen > wanted) {
            uint64_t value = dbk_histogram_bucket_max(i);
            return value < histogram->max ? value : histogram->max;
        }
    }
    return histogram->max;
}

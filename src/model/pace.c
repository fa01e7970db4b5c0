/* SPDX-License-Identifier: Apache-2.0 */
#include "model/pace.h"

#include "base/assert.h"

#define SUB_BITS 4
#define SUBS (1 << SUB_BITS)

static size_t bucket_of(uint64_t time_us)
{
    if (time_us < SUBS)
        return (size_t)time_us;
    unsigned power = 63 - (unsigned)__builtin_clzll(time_us);
    size_t index = (size_t)(power - SUB_BITS + 1) * SUBS +
                   (size_t)((time_us >> (power - SUB_BITS)) & (SUBS - 1));
    return index < DBK_PACE_BUCKETS ? index : DBK_PACE_BUCKETS - 1;
}

/* The longest time that falls into it. */
static uint64_t bucket_end(size_t index)
{
    if (index < SUBS)
        return index;
    unsigned shift = (unsigned)(index / SUBS) - 1;
    return ((uint64_t)(SUBS + index % SUBS + 1) << shift) - 1;
}

/* "<service>.<table>" with "<table>.insert", ".update" or ".delete". */
static bool is_change(const struct dbk_event *event)
{
    static const char *const kinds[] = {"insert", "update", "delete"};
    struct dbk_slice type = event->type;
    struct dbk_slice category = dbk_stream_category(event->stream);
    const char *dot = memrchr(type.data, '.', type.size);
    if (dot == NULL || dot == type.data)
        return false;
    size_t table = (size_t)(dot - type.data);
    struct dbk_slice kind = dbk_slice(dot + 1, type.size - table - 1);
    if (category.size < table + 2 || category.data[category.size - table - 1] != '.' ||
        memcmp(category.data + category.size - table, type.data, table) != 0)
        return false;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (dbk_slice_equal_text(kind, kinds[i]))
            return true;
    }
    return false;
}

int64_t dbk_pace_became_us(const struct dbk_event *event)
{
    return event->occurred_us != DBK_TIME_NONE && is_change(event) ? event->occurred_us
                                                                   : event->time_us;
}

void dbk_pace_note(struct dbk_pace_batch *batch, const struct dbk_event *event)
{
    if (batch->count < DBK_PACE_BATCH && event->time_us >= batch->since_us)
        batch->became_us[batch->count++] = dbk_pace_became_us(event);
}

void dbk_pace_commit(struct dbk_pace *pace, struct dbk_pace_batch *batch, uint64_t events,
                     int64_t now_us)
{
    int64_t second = now_us / 1000000;
    size_t slot = (size_t)(second % (DBK_PACE_SECONDS + 1));
    dbk_assert(batch->count <= DBK_PACE_BATCH);
    for (size_t i = 0; i < batch->count; i++) {
        /* Another machine's clock may be ahead. */
        int64_t time_us = now_us > batch->became_us[i] ? now_us - batch->became_us[i] : 0;
        pace->buckets[bucket_of((uint64_t)time_us)]++;
        pace->sum_us += (uint64_t)time_us;
        pace->max_us = time_us > pace->max_us ? time_us : pace->max_us;
    }
    pace->count += batch->count;
    batch->count = 0;
    if (pace->rate[slot].second != second)
        pace->rate[slot].events = 0;
    pace->rate[slot].second = second;
    pace->rate[slot].events += events;
}

int64_t dbk_pace_quantile_us(const struct dbk_pace *pace, unsigned thousandths)
{
    dbk_assert(thousandths <= 1000);
    uint64_t wanted =
        pace->count / 1000 * thousandths + (pace->count % 1000 * thousandths + 999) / 1000;
    uint64_t seen = 0;
    for (size_t i = 0; i < DBK_PACE_BUCKETS && pace->count > 0; i++) {
        seen += pace->buckets[i];
        if (seen >= wanted && seen > 0) {
            int64_t end = (int64_t)bucket_end(i);
            return i == DBK_PACE_BUCKETS - 1 || end > pace->max_us ? pace->max_us : end;
        }
    }
    return 0;
}

double dbk_pace_rate(const struct dbk_pace *pace, int64_t now_us)
{
    int64_t second = now_us / 1000000;
    uint64_t events = 0;
    for (size_t i = 0; i < DBK_PACE_SECONDS + 1; i++) {
        if (pace->rate[i].second < second && pace->rate[i].second >= second - DBK_PACE_SECONDS)
            events += pace->rate[i].events;
    }
    return (double)events / DBK_PACE_SECONDS;
}

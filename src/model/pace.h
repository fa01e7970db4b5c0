/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pace -- how a model keeps up: how long events take until they can be read, and how many come.
 *
 * An event is visible when the transaction that posts it has been committed. It became when its
 * source committed it: a captured change (room `capture`) when the database did, which its
 * `occurred` tells; all others when the book recorded them.
 *
 * Times are counted in buckets: one a microsecond below 16, then 16 for each power of two, so that
 * what is told is at most 1/16 too much, from 5 KiB of memory, however many events come.
 *
 * Threads: pure functions; what they change is under the caller's lock.
 */
#ifndef DBK_MODEL_PACE_H
#define DBK_MODEL_PACE_H

#include "store/store.h"

#define DBK_PACE_BUCKETS 608
/* The rate is of so many whole seconds. */
#define DBK_PACE_SECONDS 10
/* Of one batch so many are measured, the first: a deferred key can keep one open for longer. */
#define DBK_PACE_BATCH 2000

struct dbk_pace {
    uint64_t buckets[DBK_PACE_BUCKETS];
    uint64_t count;
    uint64_t sum_us;
    int64_t max_us;
    /* Events posted in a second, at the second's remainder; one more than are asked for. */
    struct {
        int64_t second; /* since 1970 */
        uint64_t events;
    } rate[DBK_PACE_SECONDS + 1];
};

/* When the events of a batch became, while it is not committed. */
struct dbk_pace_batch {
    int64_t begun_us; /* when it was; 0: none is noted */
    int64_t since_us; /* events that were recorded before are not measured: they are made up for */
    int64_t became_us[DBK_PACE_BATCH];
    size_t count;
};

/* When an event was committed by its source. */
int64_t dbk_pace_became_us(const struct dbk_event *event);
void dbk_pace_note(struct dbk_pace_batch *batch, const struct dbk_event *event);
/* A batch has been committed: counts what it noted, which it then forgets, and `events` posted. */
void dbk_pace_commit(struct dbk_pace *pace, struct dbk_pace_batch *batch, uint64_t events,
                     int64_t now_us);
/* The time that so many of a thousand events took at most; 0 when there are none. */
int64_t dbk_pace_quantile_us(const struct dbk_pace *pace, unsigned thousandths);
/* Events a second, over the last whole seconds. */
double dbk_pace_rate(const struct dbk_pace *pace, int64_t now_us);

#endif

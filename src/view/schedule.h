/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schedule -- when something runs: every day at a time, every so often, on demand, whenever what it
 * stands on has changed, before it is so far behind that, or with what stands on it.
 *
 * Times of day are UTC.
 */
#ifndef DBK_VIEW_SCHEDULE_H
#define DBK_VIEW_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

/* Room for a schedule in words and its NUL. */
#define DBK_SCHEDULE_TEXT_SIZE 96

enum dbk_schedule_kind {
    DBK_SCHEDULE_ON_DEMAND,
    DBK_SCHEDULE_EVERY,
    DBK_SCHEDULE_DAILY,
    DBK_SCHEDULE_CONTINUOUS,
    DBK_SCHEDULE_LAG,
    DBK_SCHEDULE_DOWNSTREAM,
};

struct dbk_schedule {
    enum dbk_schedule_kind kind;
    int64_t period_us; /* EVERY: at least a second; LAG: at least a tenth */
    int minute_of_day; /* DAILY: 0 to 1439, in UTC */
};

/* Reads "every day at 02:00", "every 5 minutes", "on demand", "continuous", "lag 10 s",
   "downstream"; false: none of them. */
bool dbk_schedule_parse(struct dbk_slice text, struct dbk_schedule *schedule_out);
/* The schedule in the words it is parsed from; returns the size without the NUL. */
size_t dbk_schedule_format(const struct dbk_schedule *schedule, char *text, size_t size);
/* The first run after `last_us` (DBK_TIME_NONE: never ran, due now); DBK_TIME_NONE: never, and of
   CONTINUOUS, LAG and DOWNSTREAM: no clock says. */
int64_t dbk_schedule_next(const struct dbk_schedule *schedule, int64_t last_us);
/* Whether two run at the same times. */
bool dbk_schedule_equal(const struct dbk_schedule *first, const struct dbk_schedule *second);

#endif

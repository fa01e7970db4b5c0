/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schedule -- when something runs: every day at a time, every so often, on demand, whenever what it
 * stands on has changed, before it is so far behind that, or with what stands on it.
 *
 * Times of day are UTC, or those of a zone of the tz database. What a zone's clocks leave out is
 * run for when they are put forward, what they pass twice the first time.
 *
 * A jitter moves each run by up to so much, earlier or later: by how much is worked out from the
 * seed and the run, so that it is known beforehand and not the same for all.
 *
 * Runs that were missed are made up for by one: the next run is the first after the last one that
 * was, and is due at once where it has passed.
 */
#ifndef DBK_VIEW_SCHEDULE_H
#define DBK_VIEW_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/zone.h"
#include "os/os.h"

/* Room for a schedule in words and its NUL. */
#define DBK_SCHEDULE_TEXT_SIZE 128

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
    int64_t period_us;                  /* EVERY: at least a second; LAG: at least a tenth */
    int minute_of_day;                  /* DAILY: 0 to 1439 */
    char zone_name[DBK_ZONE_NAME_SIZE]; /* DAILY: empty: UTC */
    const struct dbk_zone *zone;        /* dbk_schedule_find_zone; NULL: UTC */
    int64_t jitter_us;                  /* EVERY and DAILY */
    uint64_t seed;                      /* of the jitter: dbk_schedule_seed */
};

/* Reads "every day at 02:00", "every day at 02:00 Europe/Berlin ± 5 minutes", "every 5 minutes",
   "every 1 hour ± 30 s", "on demand", "continuous", "lag 10 s", "downstream"; false: none of
   them. */
bool dbk_schedule_parse(struct dbk_slice text, struct dbk_schedule *schedule_out);
/* Reads a schedule's zone, into the arena. DBK_ENOTFOUND: no zone has its name, or none is there;
   DBK_ECORRUPT: its file is none */
int dbk_schedule_find_zone(struct dbk_schedule *schedule, struct dbk_os *os,
                           struct dbk_arena *arena, struct dbk_error *err) DBK_MUST_CHECK;
/* What a name makes of a jitter. */
uint64_t dbk_schedule_seed(const char *name);
/* The schedule in the words it is parsed from; returns the size without the NUL. */
size_t dbk_schedule_format(const struct dbk_schedule *schedule, char *text, size_t size);
/* The first run after `last_us` (DBK_TIME_NONE: never ran, due now); DBK_TIME_NONE: never, and of
   CONTINUOUS, LAG and DOWNSTREAM: no clock says. */
int64_t dbk_schedule_next(const struct dbk_schedule *schedule, int64_t last_us);
/* Whether two run at the same times. */
bool dbk_schedule_equal(const struct dbk_schedule *first, const struct dbk_schedule *second);

#endif

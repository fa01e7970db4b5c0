/* SPDX-License-Identifier: Apache-2.0 */
#include "view/schedule.h"

#include <stdio.h>

#include "base/time.h"

#define US_PER_SECOND INT64_C(1000000)
#define US_PER_MINUTE (60 * US_PER_SECOND)
#define US_PER_DAY (24 * 60 * US_PER_MINUTE)

/* Ten years: past that a period is a slip of the pen. */
#define PERIOD_US_MAX (3650 * US_PER_DAY)

static bool strip_prefix(struct dbk_slice *text, const char *prefix)
{
    struct dbk_slice wanted = dbk_slice_of(prefix);
    if (!dbk_slice_starts_with(*text, wanted))
        return false;
    *text = dbk_slice(text->data + wanted.size, text->size - wanted.size);
    return true;
}

static bool parse_time_of_day(struct dbk_slice text, int *minute_out)
{
    uint64_t hour;
    uint64_t minute;
    if (text.size != 5 || text.data[2] != ':' ||
        !dbk_slice_to_u64(dbk_slice(text.data, 2), &hour) ||
        !dbk_slice_to_u64(dbk_slice(text.data + 3, 2), &minute) || hour > 23 || minute > 59)
        return false;
    *minute_out = (int)(hour * 60 + minute);
    return true;
}

bool dbk_schedule_parse(struct dbk_slice text, struct dbk_schedule *schedule_out)
{
    struct dbk_schedule schedule = {.kind = DBK_SCHEDULE_ON_DEMAND};
    if (dbk_slice_equal_text(text, "on demand")) {
        *schedule_out = schedule;
        return true;
    }
    if (dbk_slice_equal_text(text, "continuous")) {
        schedule.kind = DBK_SCHEDULE_CONTINUOUS;
    } else if (strip_prefix(&text, "every day at ")) {
        schedule.kind = DBK_SCHEDULE_DAILY;
        if (!parse_time_of_day(text, &schedule.minute_of_day))
            return false;
    } else if (strip_prefix(&text, "every ")) {
        schedule.kind = DBK_SCHEDULE_EVERY;
        if (!dbk_duration_parse(text, &schedule.period_us) || schedule.period_us < US_PER_SECOND ||
            schedule.period_us > PERIOD_US_MAX)
            return false;
    } else {
        return false;
    }
    *schedule_out = schedule;
    return true;
}

size_t dbk_schedule_format(const struct dbk_schedule *schedule, char *text, size_t size)
{
    static const struct {
        int64_t us;
        const char *name;
    } units[] = {{US_PER_DAY, "day"},
                 {60 * US_PER_MINUTE, "hour"},
                 {US_PER_MINUTE, "minute"},
                 {US_PER_SECOND, "second"},
                 {1000, "ms"}};
    int written = 0;
    switch (schedule->kind) {
    case DBK_SCHEDULE_ON_DEMAND:
        written = snprintf(text, size, "on demand");
        break;
    case DBK_SCHEDULE_CONTINUOUS:
        written = snprintf(text, size, "continuous");
        break;
    case DBK_SCHEDULE_DAILY:
        written = snprintf(text, size, "every day at %02d:%02d", schedule->minute_of_day / 60,
                           schedule->minute_of_day % 60);
        break;
    case DBK_SCHEDULE_EVERY:
        for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
            if (schedule->period_us % units[i].us != 0)
                continue;
            int64_t count = schedule->period_us / units[i].us;
            bool plural = count != 1 && units[i].us >= US_PER_SECOND;
            written = snprintf(text, size, "every %lld %s%s", (long long)count, units[i].name,
                               plural ? "s" : "");
            break;
        }
        break;
    }
    return (size_t)written;
}

int64_t dbk_schedule_next(const struct dbk_schedule *schedule, int64_t last_us)
{
    if (schedule->kind == DBK_SCHEDULE_ON_DEMAND || schedule->kind == DBK_SCHEDULE_CONTINUOUS)
        return DBK_TIME_NONE;
    if (last_us == DBK_TIME_NONE)
        return DBK_TIME_MIN;
    if (schedule->kind == DBK_SCHEDULE_EVERY)
        return last_us + schedule->period_us;
    int64_t day = last_us / US_PER_DAY - (last_us % US_PER_DAY < 0);
    int64_t run_us = day * US_PER_DAY + schedule->minute_of_day * US_PER_MINUTE;
    return run_us > last_us ? run_us : run_us + US_PER_DAY;
}

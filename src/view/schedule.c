/* SPDX-License-Identifier: Apache-2.0 */
#include "view/schedule.h"

#include <stdio.h>

#include "base/time.h"

#define US_PER_SECOND INT64_C(1000000)
#define US_PER_MINUTE (60 * US_PER_SECOND)
#define US_PER_DAY (24 * 60 * US_PER_MINUTE)

/* Ten years: past that a period is a slip of the pen. */
#define PERIOD_US_MAX (3650 * US_PER_DAY)
#define LAG_US_MIN (US_PER_SECOND / 10)

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
    } else if (dbk_slice_equal_text(text, "downstream")) {
        schedule.kind = DBK_SCHEDULE_DOWNSTREAM;
    } else if (strip_prefix(&text, "lag ")) {
        schedule.kind = DBK_SCHEDULE_LAG;
        if (!dbk_duration_parse(text, &schedule.period_us) || schedule.period_us < LAG_US_MIN ||
            schedule.period_us > PERIOD_US_MAX)
            return false;
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

/* "5 minutes", or "10 s" where the words are short. */
static int format_duration(int64_t duration_us, bool is_short, char *text, size_t size)
{
    static const struct {
        int64_t us;
        const char *name;
        const char *short_name;
    } units[] = {{US_PER_DAY, "day", "d"},
                 {60 * US_PER_MINUTE, "hour", "h"},
                 {US_PER_MINUTE, "minute", "min"},
                 {US_PER_SECOND, "second", "s"},
                 {1000, "ms", "ms"}};
    size_t i = 0;
    while (duration_us % units[i].us != 0 && i + 1 < sizeof(units) / sizeof(units[0]))
        i++;
    long long count = duration_us / units[i].us;
    bool plural = !is_short && count != 1 && units[i].us >= US_PER_SECOND;
    return snprintf(text, size, "%lld %s%s", count, is_short ? units[i].short_name : units[i].name,
                    plural ? "s" : "");
}

size_t dbk_schedule_format(const struct dbk_schedule *schedule, char *text, size_t size)
{
    char duration[32];
    int written = 0;
    switch (schedule->kind) {
    case DBK_SCHEDULE_ON_DEMAND:
        written = snprintf(text, size, "on demand");
        break;
    case DBK_SCHEDULE_CONTINUOUS:
        written = snprintf(text, size, "continuous");
        break;
    case DBK_SCHEDULE_DOWNSTREAM:
        written = snprintf(text, size, "downstream");
        break;
    case DBK_SCHEDULE_LAG:
        (void)format_duration(schedule->period_us, true, duration, sizeof(duration));
        written = snprintf(text, size, "lag %s", duration);
        break;
    case DBK_SCHEDULE_DAILY:
        written = snprintf(text, size, "every day at %02d:%02d", schedule->minute_of_day / 60,
                           schedule->minute_of_day % 60);
        break;
    case DBK_SCHEDULE_EVERY:
        (void)format_duration(schedule->period_us, false, duration, sizeof(duration));
        written = snprintf(text, size, "every %s", duration);
        break;
    }
    return (size_t)written;
}

bool dbk_schedule_equal(const struct dbk_schedule *first, const struct dbk_schedule *second)
{
    return first->kind == second->kind && first->period_us == second->period_us &&
           first->minute_of_day == second->minute_of_day;
}

int64_t dbk_schedule_next(const struct dbk_schedule *schedule, int64_t last_us)
{
    if (schedule->kind != DBK_SCHEDULE_EVERY && schedule->kind != DBK_SCHEDULE_DAILY)
        return DBK_TIME_NONE;
    if (last_us == DBK_TIME_NONE)
        return DBK_TIME_MIN;
    if (schedule->kind == DBK_SCHEDULE_EVERY)
        return last_us + schedule->period_us;
    int64_t day = last_us / US_PER_DAY - (last_us % US_PER_DAY < 0);
    int64_t run_us = day * US_PER_DAY + schedule->minute_of_day * US_PER_MINUTE;
    return run_us > last_us ? run_us : run_us + US_PER_DAY;
}

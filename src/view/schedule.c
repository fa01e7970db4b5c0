/* SPDX-License-Identifier: Apache-2.0 */
#include "view/schedule.h"

#include <stdio.h>
#include <string.h>

#include "base/diagnostics.h"
#include "base/hash.h"
#include "base/time.h"

#define US_PER_SECOND INT64_C(1000000)
#define US_PER_MINUTE (60 * US_PER_SECOND)
#define US_PER_DAY (24 * 60 * US_PER_MINUTE)

/* Ten years: past that a period is a slip of the pen. */
#define PERIOD_US_MAX (3650 * US_PER_DAY)
#define LAG_US_MIN (US_PER_SECOND / 10)
#define JITTER " \xc2\xb1 " /* ± */
/* A run stays nearer to its own time than to the next one's. */
#define DAILY_JITTER_US_MAX (6 * 60 * US_PER_MINUTE)

#define ZONES "/usr/share/zoneinfo"
#define ZONE_SIZE_MAX ((size_t)1 << 20)

static bool strip_prefix(struct dbk_slice *text, const char *prefix)
{
    struct dbk_slice wanted = dbk_slice_of(prefix);
    if (!dbk_slice_starts_with(*text, wanted))
        return false;
    *text = dbk_slice(text->data + wanted.size, text->size - wanted.size);
    return true;
}

/* What stands before a word, and behind it; false: it is not there. */
static bool split(struct dbk_slice text, const char *word, struct dbk_slice *before_out,
                  struct dbk_slice *behind_out)
{
    size_t size = strlen(word);
    for (size_t i = 0; i + size <= text.size; i++) {
        if (memcmp(text.data + i, word, size) != 0)
            continue;
        *before_out = dbk_slice(text.data, i);
        *behind_out = dbk_slice(text.data + i + size, text.size - i - size);
        return true;
    }
    return false;
}

/* Takes "… ± 5 minutes" off the end. */
static bool take_jitter(struct dbk_slice *text, int64_t max_us, int64_t *jitter_out)
{
    struct dbk_slice behind;
    *jitter_out = 0;
    if (!split(*text, JITTER, text, &behind) && !split(*text, " +- ", text, &behind))
        return true;
    return dbk_duration_parse(behind, jitter_out) && *jitter_out >= US_PER_SECOND &&
           *jitter_out <= max_us;
}

/* "02:00", "02:00 Europe/Berlin" */
static bool parse_time_of_day(struct dbk_slice text, struct dbk_schedule *schedule)
{
    uint64_t hour;
    uint64_t minute;
    if (text.size < 5 || text.data[2] != ':' || !dbk_slice_to_u64(dbk_slice(text.data, 2), &hour) ||
        !dbk_slice_to_u64(dbk_slice(text.data + 3, 2), &minute) || hour > 23 || minute > 59)
        return false;
    schedule->minute_of_day = (int)(hour * 60 + minute);
    if (text.size == 5)
        return true;
    struct dbk_slice zone = dbk_slice(text.data + 6, text.size - 6);
    if (text.data[5] != ' ' || !dbk_zone_is_name(zone))
        return false;
    (void)snprintf(schedule->zone_name, sizeof(schedule->zone_name), "%.*s", DBK_SLICE_ARGS(zone));
    return true;
}

static bool parse_period(struct dbk_slice text, struct dbk_schedule *schedule)
{
    return take_jitter(&text, PERIOD_US_MAX, &schedule->jitter_us) &&
           dbk_duration_parse(text, &schedule->period_us) && schedule->period_us >= US_PER_SECOND &&
           schedule->period_us <= PERIOD_US_MAX && schedule->jitter_us <= schedule->period_us / 2;
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
        if (!take_jitter(&text, DAILY_JITTER_US_MAX, &schedule.jitter_us) ||
            !parse_time_of_day(text, &schedule))
            return false;
    } else if (strip_prefix(&text, "every ")) {
        schedule.kind = DBK_SCHEDULE_EVERY;
        if (!parse_period(text, &schedule))
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

static int format_kind(const struct dbk_schedule *schedule, char *text, size_t size)
{
    char duration[32];
    switch (schedule->kind) {
    case DBK_SCHEDULE_ON_DEMAND:
        return snprintf(text, size, "on demand");
    case DBK_SCHEDULE_CONTINUOUS:
        return snprintf(text, size, "continuous");
    case DBK_SCHEDULE_DOWNSTREAM:
        return snprintf(text, size, "downstream");
    case DBK_SCHEDULE_LAG:
        (void)format_duration(schedule->period_us, true, duration, sizeof(duration));
        return snprintf(text, size, "lag %s", duration);
    case DBK_SCHEDULE_DAILY:
        return snprintf(text, size, "every day at %02d:%02d%s%s", schedule->minute_of_day / 60,
                        schedule->minute_of_day % 60, schedule->zone_name[0] == '\0' ? "" : " ",
                        schedule->zone_name);
    case DBK_SCHEDULE_EVERY:
        (void)format_duration(schedule->period_us, false, duration, sizeof(duration));
        return snprintf(text, size, "every %s", duration);
    }
    return 0;
}

size_t dbk_schedule_format(const struct dbk_schedule *schedule, char *text, size_t size)
{
    char duration[32];
    size_t written = (size_t)format_kind(schedule, text, size);
    if (schedule->jitter_us == 0 || written >= size)
        return written;
    (void)format_duration(schedule->jitter_us, false, duration, sizeof(duration));
    return written + (size_t)snprintf(text + written, size - written, JITTER "%s", duration);
}

bool dbk_schedule_equal(const struct dbk_schedule *first, const struct dbk_schedule *second)
{
    return first->kind == second->kind && first->period_us == second->period_us &&
           first->minute_of_day == second->minute_of_day && first->jitter_us == second->jitter_us &&
           strcmp(first->zone_name, second->zone_name) == 0;
}

/* ---- Zones ---- */

/* The name that was meant, of those that the database lists; empty: none is near. */
static void suggest(const char *name, struct dbk_os *os, char *text, size_t size)
{
    struct dbk_buf table;
    const char *names[1024];
    size_t count = 0;
    text[0] = '\0';
    dbk_buf_init(&table, ZONE_SIZE_MAX);
    if (dbk_os_read_file(os, ZONES "/zone.tab", ZONE_SIZE_MAX, &table, NULL) == DBK_OK) {
        dbk_buf_append_char(&table, '\0');
        char *rest = NULL;
        for (char *line = table.rc < 0 ? NULL : strtok_r(table.data, "\n", &rest);
             line != NULL && count < sizeof(names) / sizeof(names[0]);
             line = strtok_r(NULL, "\n", &rest)) {
            char *column = NULL;
            char *zone = strtok_r(line, "\t", &column);
            for (int i = 0; zone != NULL && i < 2; i++)
                zone = strtok_r(NULL, "\t", &column);
            if (zone != NULL && line[0] != '#')
                names[count++] = zone;
        }
        const char *closest = dbk_closest_name(name, names, count);
        if (closest != NULL)
            (void)snprintf(text, size, "; did you mean %s?", closest);
    }
    dbk_buf_release(&table);
}

int dbk_schedule_find_zone(struct dbk_schedule *schedule, struct dbk_os *os,
                           struct dbk_arena *arena, struct dbk_error *err)
{
    char path[sizeof(ZONES) + 1 + DBK_ZONE_NAME_SIZE];
    char meant[DBK_ZONE_NAME_SIZE + 32];
    struct dbk_buf bytes;
    struct dbk_error failure = {0};
    if (schedule->zone_name[0] == '\0')
        return DBK_OK;
    (void)snprintf(path, sizeof(path), "%s/%s", ZONES, schedule->zone_name);
    dbk_buf_init(&bytes, ZONE_SIZE_MAX);
    int rc = dbk_os_read_file(os, path, ZONE_SIZE_MAX, &bytes, &failure);
    if (rc == DBK_OK) {
        rc = dbk_zone_parse(dbk_buf_slice(&bytes), arena, &schedule->zone);
        if (rc < 0)
            rc = dbk_error_set(err, rc, "%s is no file of a time zone", path);
    } else {
        suggest(schedule->zone_name, os, meant, sizeof(meant));
        rc = dbk_error_set(err, DBK_ENOTFOUND, "no time zone is named %s%s", schedule->zone_name,
                           meant);
    }
    dbk_buf_release(&bytes);
    return rc;
}

/* ---- Runs ---- */

uint64_t dbk_schedule_seed(const char *name)
{
    uint8_t digest[DBK_SHA256_SIZE];
    uint64_t seed = 0;
    dbk_sha256_of(dbk_slice_of(name), digest);
    for (size_t i = 0; i < sizeof(seed); i++)
        seed = seed << 8 | digest[i];
    return seed;
}

/* In whole seconds. Of a run the same each time it is asked. */
static int64_t jitter_of(const struct dbk_schedule *schedule, int64_t run_us)
{
    uint64_t width = (uint64_t)(schedule->jitter_us / US_PER_SECOND);
    uint64_t mixed = schedule->seed ^ (uint64_t)run_us;
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    mixed ^= mixed >> 31;
    return ((int64_t)(mixed % (2 * width + 1)) - (int64_t)width) * US_PER_SECOND;
}

static int64_t floor_divide(int64_t value, int64_t by)
{
    return value / by - (value % by < 0 ? 1 : 0);
}

/* A day's run, without jitter; the day from 1970-01-01, of the zone's clocks. */
static int64_t run_of_day(const struct dbk_schedule *schedule, int64_t day)
{
    int64_t local_s = day * (US_PER_DAY / US_PER_SECOND) + schedule->minute_of_day * 60;
    return (schedule->zone == NULL ? local_s : dbk_zone_first(schedule->zone, local_s)) *
           US_PER_SECOND;
}

/* A run counts as done from the earliest time on that a jitter may give it: so views that are
   refreshed together are once, whichever of them is first. */
static int64_t next_day(const struct dbk_schedule *schedule, int64_t last_us)
{
    int64_t run_us = 0;
    for (int64_t day = floor_divide(last_us, US_PER_DAY) - 2;; day++) {
        run_us = run_of_day(schedule, day);
        if (run_us - schedule->jitter_us > last_us)
            break;
    }
    return run_us + jitter_of(schedule, run_us);
}

int64_t dbk_schedule_next(const struct dbk_schedule *schedule, int64_t last_us)
{
    if (schedule->kind != DBK_SCHEDULE_EVERY && schedule->kind != DBK_SCHEDULE_DAILY)
        return DBK_TIME_NONE;
    if (last_us == DBK_TIME_NONE)
        return DBK_TIME_MIN;
    if (schedule->kind == DBK_SCHEDULE_DAILY)
        return next_day(schedule, last_us);
    return last_us + schedule->period_us + jitter_of(schedule, last_us);
}

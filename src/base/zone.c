/* SPDX-License-Identifier: Apache-2.0 */
#include "base/zone.h"

#include <string.h>

#include "base/assert.h"

#define DAY_S INT64_C(86400)
#define HEADER_SIZE 44
#define KINDS_MAX 256
#define TRANSITIONS_MAX 100000
/* Of a rule's time of day: a week. */
#define RULE_HOURS_MAX 167
/* Past this nobody plans, and numbers would not fit. */
#define TIME_S_MAX (INT64_C(1) << 55)

/* When clocks are set in a year. */
struct rule_day {
    enum { DAY_OF_YEAR, DAY_WITHOUT_LEAP, DAY_OF_WEEK } kind;
    int month; /* 1 to 12 */
    int week;  /* 1 to 5, which is the last */
    int day;   /* of the week from Sunday 0, or of the year */
    int64_t time_s;
};

struct rule {
    bool there;
    bool daylight; /* clocks are set at all */
    int64_t standard;
    int64_t summer;
    struct rule_day start;
    struct rule_day end;
};

struct dbk_zone {
    size_t count;
    int64_t *times;
    uint8_t *kinds;
    int64_t offsets[KINDS_MAX];
    size_t kind_count;
    struct rule rule;
};

bool dbk_zone_is_name(struct dbk_slice text)
{
    if (text.size == 0 || text.size >= DBK_ZONE_NAME_SIZE)
        return false;
    char before = '/';
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        bool other = (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '+';
        if (!letter && !(other && before != '/') && !(c == '/' && before != '/'))
            return false;
        before = c;
    }
    return before != '/';
}

/* ---- Days ---- */

static bool is_leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int64_t floor_divide(int64_t value, int64_t by)
{
    return value / by - (value % by < 0 ? 1 : 0);
}

/* From 1970-01-01 to the first of January. */
static int64_t days_of_year(int64_t year)
{
    int64_t before = year - 1;
    return 365 * (year - 1970) + floor_divide(before, 4) - floor_divide(before, 100) +
           floor_divide(before, 400) - 477;
}

static int64_t year_of(int64_t local_s)
{
    int64_t day = floor_divide(local_s, DAY_S);
    int64_t year = 1970 + floor_divide(day * 400, 146097);
    while (days_of_year(year) > day)
        year--;
    while (days_of_year(year + 1) <= day)
        year++;
    return year;
}

/* The local time of a rule's day, as if it were UTC. */
static int64_t day_in(const struct rule_day *rule, int64_t year)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t day = days_of_year(year);
    if (rule->kind == DAY_OF_YEAR)
        return (day + rule->day) * DAY_S + rule->time_s;
    if (rule->kind == DAY_WITHOUT_LEAP)
        return (day + rule->day - 1 + (is_leap(year) && rule->day >= 60 ? 1 : 0)) * DAY_S +
               rule->time_s;
    for (int month = 1; month < rule->month; month++)
        day += lengths[month - 1] + (month == 2 && is_leap(year) ? 1 : 0);
    int length = lengths[rule->month - 1] + (rule->month == 2 && is_leap(year) ? 1 : 0);
    int64_t weekday = ((day + 4) % 7 + 7) % 7; /* 1970-01-01 was a Thursday. */
    int64_t of_month = (rule->day - weekday + 7) % 7 + 7 * (rule->week - 1);
    while (of_month >= length)
        of_month -= 7;
    return (day + of_month) * DAY_S + rule->time_s;
}

/* ---- The rule ---- */

static bool take(struct dbk_slice *text, char c)
{
    if (text->size == 0 || text->data[0] != c)
        return false;
    *text = dbk_slice(text->data + 1, text->size - 1);
    return true;
}

static bool take_number(struct dbk_slice *text, int max, int *number_out)
{
    int number = 0;
    size_t digits = 0;
    while (digits < text->size && digits < 4 && text->data[digits] >= '0' &&
           text->data[digits] <= '9')
        number = number * 10 + (text->data[digits++] - '0');
    if (digits == 0 || number > max)
        return false;
    *text = dbk_slice(text->data + digits, text->size - digits);
    *number_out = number;
    return true;
}

/* "CEST", "<+0330>" */
static bool take_name(struct dbk_slice *text)
{
    size_t size = 0;
    bool quoted = take(text, '<');
    while (size < text->size) {
        char c = text->data[size];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!letter && !(quoted && ((c >= '0' && c <= '9') || c == '+' || c == '-')))
            break;
        size++;
    }
    *text = dbk_slice(text->data + size, text->size - size);
    return size >= 3 && (!quoted || take(text, '>'));
}

/* "2", "-2:30", "167:00:00" */
static bool take_time(struct dbk_slice *text, int hours_max, int64_t *time_out)
{
    int hours = 0;
    int minutes = 0;
    int seconds = 0;
    bool negative = take(text, '-');
    if (!negative)
        (void)take(text, '+');
    if (!take_number(text, hours_max, &hours) ||
        (take(text, ':') && !(take_number(text, 59, &minutes) &&
                              (!take(text, ':') || take_number(text, 59, &seconds)))))
        return false;
    int64_t time_s = hours * INT64_C(3600) + minutes * 60 + seconds;
    *time_out = negative ? -time_s : time_s;
    return true;
}

static bool take_day(struct dbk_slice *text, struct rule_day *day)
{
    day->time_s = 2 * 3600;
    if (!take(text, ','))
        return false;
    if (take(text, 'M')) {
        day->kind = DAY_OF_WEEK;
        if (!take_number(text, 12, &day->month) || !take(text, '.') ||
            !take_number(text, 5, &day->week) || !take(text, '.') ||
            !take_number(text, 6, &day->day) || day->month == 0 || day->week == 0)
            return false;
    } else {
        day->kind = take(text, 'J') ? DAY_WITHOUT_LEAP : DAY_OF_YEAR;
        if (!take_number(text, 365, &day->day) || (day->kind == DAY_WITHOUT_LEAP && day->day == 0))
            return false;
    }
    return !take(text, '/') || take_time(text, RULE_HOURS_MAX, &day->time_s);
}

/* "CET-1CEST,M3.5.0,M10.5.0/3": signs are those of what is added to get UTC. */
static bool parse_rule(struct dbk_slice text, struct rule *rule)
{
    int64_t behind = 0;
    *rule = (struct rule){0};
    if (text.size == 0)
        return true;
    if (!take_name(&text) || !take_time(&text, 24, &behind))
        return false;
    rule->there = true;
    rule->standard = -behind;
    rule->summer = rule->standard + 3600;
    if (text.size == 0)
        return true;
    rule->daylight = true;
    if (!take_name(&text))
        return false;
    if (text.size > 0 && text.data[0] != ',') {
        if (!take_time(&text, 24, &behind))
            return false;
        rule->summer = -behind;
    }
    return take_day(&text, &rule->start) && take_day(&text, &rule->end) && text.size == 0;
}

static int64_t rule_offset(const struct rule *rule, int64_t time_s)
{
    int64_t year = year_of(time_s + rule->standard);
    int64_t start = day_in(&rule->start, year) - rule->standard;
    int64_t end = day_in(&rule->end, year) - rule->summer;
    bool summer = rule->daylight &&
                  (start < end ? start <= time_s && time_s < end : start <= time_s || time_s < end);
    return summer ? rule->summer : rule->standard;
}

/* ---- The file ---- */

static uint32_t u32_at(struct dbk_slice bytes, size_t offset)
{
    const uint8_t *at = (const uint8_t *)bytes.data + offset;
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static int64_t i64_at(struct dbk_slice bytes, size_t offset)
{
    return (int64_t)((uint64_t)u32_at(bytes, offset) << 32 | u32_at(bytes, offset + 4));
}

struct counts {
    size_t utc;
    size_t standard;
    size_t leap;
    size_t times;
    size_t kinds;
    size_t letters;
};

static bool read_header(struct dbk_slice bytes, struct counts *counts)
{
    if (bytes.size < HEADER_SIZE || memcmp(bytes.data, "TZif", 4) != 0 || bytes.data[4] < '2')
        return false;
    *counts = (struct counts){.utc = u32_at(bytes, 20),
                              .standard = u32_at(bytes, 24),
                              .leap = u32_at(bytes, 28),
                              .times = u32_at(bytes, 32),
                              .kinds = u32_at(bytes, 36),
                              .letters = u32_at(bytes, 40)};
    return counts->times <= TRANSITIONS_MAX && counts->kinds <= KINDS_MAX && counts->leap == 0 &&
           counts->utc <= KINDS_MAX && counts->standard <= KINDS_MAX &&
           counts->letters <= TRANSITIONS_MAX;
}

static size_t size_of(const struct counts *counts, size_t time_size)
{
    return counts->times * (time_size + 1) + counts->kinds * 6 + counts->letters +
           counts->standard + counts->utc;
}

static bool read_times(struct dbk_slice bytes, struct dbk_zone *zone)
{
    for (size_t i = 0; i < zone->count; i++) {
        zone->times[i] = i64_at(bytes, i * 8);
        zone->kinds[i] = (uint8_t)bytes.data[zone->count * 8 + i];
        if (zone->kinds[i] >= zone->kind_count || zone->times[i] > TIME_S_MAX ||
            zone->times[i] < -(INT64_C(1) << 60) || (i > 0 && zone->times[i] <= zone->times[i - 1]))
            return false;
    }
    for (size_t i = 0; i < zone->kind_count; i++) {
        zone->offsets[i] = (int32_t)u32_at(bytes, zone->count * 9 + i * 6);
        if (zone->offsets[i] > DBK_ZONE_OFFSET_MAX || zone->offsets[i] < -DBK_ZONE_OFFSET_MAX)
            return false;
    }
    return true;
}

int dbk_zone_parse(struct dbk_slice bytes, struct dbk_arena *arena,
                   const struct dbk_zone **zone_out)
{
    struct counts counts;
    if (!read_header(bytes, &counts) || size_of(&counts, 4) > bytes.size - HEADER_SIZE)
        return DBK_ECORRUPT;
    /* What programs from before 2038 read comes first. */
    size_t at = HEADER_SIZE + size_of(&counts, 4);
    bytes = dbk_slice(bytes.data + at, bytes.size - at);
    if (!read_header(bytes, &counts) || counts.kinds == 0 ||
        size_of(&counts, 8) > bytes.size - HEADER_SIZE)
        return DBK_ECORRUPT;
    struct dbk_slice footer = dbk_slice(bytes.data + HEADER_SIZE + size_of(&counts, 8),
                                        bytes.size - HEADER_SIZE - size_of(&counts, 8));
    struct dbk_zone *zone = dbk_arena_alloc_zero(arena, 1, sizeof(*zone));
    if (zone == NULL)
        return DBK_ENOMEM;
    zone->count = counts.times;
    zone->kind_count = counts.kinds;
    zone->times = dbk_arena_alloc_zero(arena, counts.times + 1, sizeof(*zone->times));
    zone->kinds = dbk_arena_alloc_zero(arena, counts.times + 1, sizeof(*zone->kinds));
    if (zone->times == NULL || zone->kinds == NULL)
        return DBK_ENOMEM;
    if (!read_times(dbk_slice(bytes.data + HEADER_SIZE, bytes.size - HEADER_SIZE), zone) ||
        footer.size < 2 || !take(&footer, '\n') || footer.data[footer.size - 1] != '\n' ||
        !parse_rule(dbk_slice(footer.data, footer.size - 1), &zone->rule))
        return DBK_ECORRUPT;
    *zone_out = zone;
    return DBK_OK;
}

/* ---- Times ---- */

/* How many transitions are not later. */
static size_t count_until(const struct dbk_zone *zone, int64_t time_s)
{
    size_t low = 0;
    size_t high = zone->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (zone->times[middle] <= time_s)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int64_t dbk_zone_offset(const struct dbk_zone *zone, int64_t time_s)
{
    dbk_assert(time_s < TIME_S_MAX && time_s > -TIME_S_MAX);
    size_t count = count_until(zone, time_s);
    if (count == zone->count && zone->rule.there)
        return rule_offset(&zone->rule, time_s);
    return zone->offsets[count == 0 ? 0 : zone->kinds[count - 1]];
}

/* The next moment at which clocks may be set; `until` where there is none before it. */
static int64_t next_change(const struct dbk_zone *zone, int64_t time_s, int64_t until)
{
    size_t count = count_until(zone, time_s);
    int64_t next = until;
    if (count < zone->count)
        return zone->times[count] < until ? zone->times[count] : until;
    int64_t year = year_of(time_s);
    for (int64_t i = year - 1; zone->rule.daylight && i <= year + 2; i++) {
        int64_t start = day_in(&zone->rule.start, i) - zone->rule.standard;
        int64_t end = day_in(&zone->rule.end, i) - zone->rule.summer;
        int64_t turn = days_of_year(i) * DAY_S - zone->rule.standard;
        next = start > time_s && start < next ? start : next;
        next = end > time_s && end < next ? end : next;
        next = turn > time_s && turn < next ? turn : next;
    }
    return next;
}

int64_t dbk_zone_first(const struct dbk_zone *zone, int64_t local_s)
{
    int64_t time_s = local_s - 2 * DBK_ZONE_OFFSET_MAX;
    int64_t until = local_s + 2 * DBK_ZONE_OFFSET_MAX;
    while (time_s < until) {
        int64_t next = next_change(zone, time_s, until);
        int64_t wanted = local_s - dbk_zone_offset(zone, time_s);
        if (wanted < next)
            return wanted > time_s ? wanted : time_s;
        time_s = next;
    }
    return until;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/time.h"

#include <stdio.h>

#include "base/assert.h"

#define US_PER_SECOND INT64_C(1000000)
#define SECONDS_PER_DAY INT64_C(86400)

/* Days since 1970-01-01 of a civil date; March-based years make the leap day the last. */
static int64_t days_from_civil(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void civil_from_days(int64_t days, int64_t *year_out, int64_t *month_out, int64_t *day_out)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_index = (5 * day_of_year + 2) / 153;
    *day_out = day_of_year - (153 * month_index + 2) / 5 + 1;
    *month_out = month_index + (month_index < 10 ? 3 : -9);
    *year_out = year_of_era + era * 400 + (*month_out <= 2);
}

static char *put_digits(char *to, uint64_t value, size_t count)
{
    for (size_t i = count; i > 0; i--) {
        to[i - 1] = (char)('0' + value % 10);
        value /= 10;
    }
    return to + count;
}

size_t dbk_time_format(int64_t time_us, char text_out[DBK_TIME_TEXT_SIZE])
{
    dbk_assert(time_us >= DBK_TIME_MIN && time_us <= DBK_TIME_MAX);
    int64_t seconds = time_us / US_PER_SECOND;
    int64_t fraction = time_us % US_PER_SECOND;
    if (fraction < 0) {
        fraction += US_PER_SECOND;
        seconds--;
    }
    int64_t days = seconds / SECONDS_PER_DAY;
    int64_t second_of_day = seconds % SECONDS_PER_DAY;
    if (second_of_day < 0) {
        second_of_day += SECONDS_PER_DAY;
        days--;
    }
    int64_t year;
    int64_t month;
    int64_t day;
    civil_from_days(days, &year, &month, &day);
    char *at = put_digits(text_out, (uint64_t)year, 4);
    *at++ = '-';
    at = put_digits(at, (uint64_t)month, 2);
    *at++ = '-';
    at = put_digits(at, (uint64_t)day, 2);
    *at++ = 'T';
    at = put_digits(at, (uint64_t)second_of_day / 3600, 2);
    *at++ = ':';
    at = put_digits(at, (uint64_t)second_of_day / 60 % 60, 2);
    *at++ = ':';
    at = put_digits(at, (uint64_t)second_of_day % 60, 2);
    if (fraction != 0) {
        *at++ = '.';
        at = put_digits(at, (uint64_t)fraction, 6);
    }
    *at++ = 'Z';
    *at = '\0';
    return (size_t)(at - text_out);
}

/* Takes exactly `digits` digits off the front of the text. */
static bool take_digits(struct dbk_slice *text, size_t digits, int64_t *value_out)
{
    uint64_t value = 0;
    if (text->size < digits || !dbk_slice_to_u64(dbk_slice(text->data, digits), &value))
        return false;
    *text = dbk_slice(text->data + digits, text->size - digits);
    *value_out = (int64_t)value;
    return true;
}

static bool take_char(struct dbk_slice *text, char wanted)
{
    if (text->size == 0 || text->data[0] != wanted)
        return false;
    *text = dbk_slice(text->data + 1, text->size - 1);
    return true;
}

static bool take_date(struct dbk_slice *text, int64_t *days_out)
{
    int64_t year;
    int64_t month;
    int64_t day;
    if (!take_digits(text, 4, &year) || !take_char(text, '-') || !take_digits(text, 2, &month) ||
        !take_char(text, '-') || !take_digits(text, 2, &day))
        return false;
    if (year < 1 || month < 1 || month > 12 || day < 1)
        return false;
    int64_t next_month = days_from_civil(month == 12 ? year + 1 : year, month % 12 + 1, 1);
    if (day > next_month - days_from_civil(year, month, 1))
        return false;
    *days_out = days_from_civil(year, month, day);
    return true;
}

static bool take_fraction(struct dbk_slice *text, int64_t *fraction_us_out)
{
    int64_t fraction = 0;
    int64_t unit = US_PER_SECOND / 10;
    size_t digits = 0;
    while (text->size > 0 && text->data[0] >= '0' && text->data[0] <= '9') {
        fraction += unit * (text->data[0] - '0');
        unit /= 10;
        digits++;
        *text = dbk_slice(text->data + 1, text->size - 1);
    }
    *fraction_us_out = fraction;
    return digits > 0;
}

static bool take_time_of_day(struct dbk_slice *text, int64_t *time_us_out)
{
    int64_t hour;
    int64_t minute;
    int64_t second = 0;
    int64_t fraction = 0;
    if (!take_digits(text, 2, &hour) || !take_char(text, ':') || !take_digits(text, 2, &minute))
        return false;
    if (take_char(text, ':')) {
        if (!take_digits(text, 2, &second))
            return false;
        if (take_char(text, '.') && !take_fraction(text, &fraction))
            return false;
    }
    if (hour > 23 || minute > 59 || second > 59)
        return false;
    *time_us_out = ((hour * 60 + minute) * 60 + second) * US_PER_SECOND + fraction;
    return true;
}

static bool take_zone(struct dbk_slice *text, int64_t *offset_us_out)
{
    *offset_us_out = 0;
    if (take_char(text, 'Z') || take_char(text, 'z') || text->size == 0)
        return true;
    int64_t sign = take_char(text, '-') ? -1 : 1;
    int64_t hour;
    int64_t minute;
    if (sign == 1 && !take_char(text, '+'))
        return false;
    if (!take_digits(text, 2, &hour) || !take_char(text, ':') || !take_digits(text, 2, &minute))
        return false;
    if (hour > 23 || minute > 59)
        return false;
    *offset_us_out = sign * (hour * 60 + minute) * 60 * US_PER_SECOND;
    return true;
}

bool dbk_time_parse(struct dbk_slice text, int64_t *time_us_out)
{
    int64_t days;
    int64_t time_of_day = 0;
    int64_t offset = 0;
    if (!take_date(&text, &days))
        return false;
    if (text.size > 0) {
        if (!take_char(&text, 'T') && !take_char(&text, 't') && !take_char(&text, ' '))
            return false;
        if (!take_time_of_day(&text, &time_of_day) || !take_zone(&text, &offset))
            return false;
    }
    int64_t time_us = days * SECONDS_PER_DAY * US_PER_SECOND + time_of_day - offset;
    if (text.size > 0 || time_us < DBK_TIME_MIN || time_us > DBK_TIME_MAX)
        return false;
    *time_us_out = time_us;
    return true;
}

static const struct {
    const char *name;
    int64_t us;
} duration_units[] = {
    {"us", 1},
    {"ms", 1000},
    {"s", US_PER_SECOND},
    {"second", US_PER_SECOND},
    {"seconds", US_PER_SECOND},
    {"min", 60 * US_PER_SECOND},
    {"minute", 60 * US_PER_SECOND},
    {"minutes", 60 * US_PER_SECOND},
    {"h", 3600 * US_PER_SECOND},
    {"hour", 3600 * US_PER_SECOND},
    {"hours", 3600 * US_PER_SECOND},
    {"d", SECONDS_PER_DAY *US_PER_SECOND},
    {"day", SECONDS_PER_DAY *US_PER_SECOND},
    {"days", SECONDS_PER_DAY *US_PER_SECOND},
};

bool dbk_duration_parse(struct dbk_slice text, int64_t *duration_us_out)
{
    size_t digits = 0;
    while (digits < text.size && text.data[digits] >= '0' && text.data[digits] <= '9')
        digits++;
    int64_t count;
    if (!dbk_slice_to_i64(dbk_slice(text.data, digits), &count))
        return false;
    text = dbk_slice(text.data + digits, text.size - digits);
    while (take_char(&text, ' '))
        continue;
    for (size_t i = 0; i < sizeof(duration_units) / sizeof(duration_units[0]); i++) {
        int64_t duration;
        if (!dbk_slice_equal_text(text, duration_units[i].name))
            continue;
        if (__builtin_mul_overflow(count, duration_units[i].us, &duration))
            return false;
        *duration_us_out = duration;
        return true;
    }
    return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * time -- instants as microseconds since 1970-01-01T00:00:00Z, and as RFC 3339 text.
 *
 * Reading a clock is a system call and lives in os/. Leap seconds do not exist here, as in POSIX.
 *
 * Threads: pure functions.
 * Source:  RFC 3339; days from civil by the proleptic Gregorian calendar.
 */
#ifndef DBK_BASE_TIME_H
#define DBK_BASE_TIME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

/* "There is none", for optional instants. */
#define DBK_TIME_NONE INT64_MIN
/* The range that has a text form: years 0001 to 9999. */
#define DBK_TIME_MIN INT64_C(-62135596800000000)
#define DBK_TIME_MAX INT64_C(253402300799999999)

/* Room for "2026-11-23T22:00:00.000000Z" and its NUL. */
#define DBK_TIME_TEXT_SIZE 28

/*
 * Writes an instant of the range above as RFC 3339 in UTC; the fraction is left out when it is
 * zero and has six digits otherwise. Returns the size without the NUL.
 */
size_t dbk_time_format(int64_t time_us, char text_out[DBK_TIME_TEXT_SIZE]);

/*
 * Reads what people write: "2011-03-01", "2011-03-01 08:26", "2011-03-01T08:26:00.5+01:00"; no
 * zone means UTC, no time means the day's first instant. False when it is no such instant; the
 * output is then left alone. Fractions past microseconds are cut.
 */
bool dbk_time_parse(struct dbk_slice text, int64_t *time_us_out);

/*
 * Reads a duration: "250 ms", "10 s", "5 minutes", "1 h", "2 days"; a unit is required. False when
 * it is none or does not fit.
 */
bool dbk_duration_parse(struct dbk_slice text, int64_t *duration_us_out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zone -- a time zone: how far its clocks are ahead of UTC at any time.
 *
 * Read from the bytes of a file of the tz database (TZif, version 2 and later): the moments at
 * which clocks were or will be set, and a rule for all time behind the last of them. The C
 * library's own functions read one zone a process, from an environment variable.
 *
 * Threads: a zone does not change once it is there.
 * Source:  RFC 9636; POSIX, the environment variable TZ.
 */
#ifndef DBK_BASE_ZONE_H
#define DBK_BASE_ZONE_H

#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/slice.h"

/* The longest name with its NUL. */
#define DBK_ZONE_NAME_SIZE 48
/* No clock is further from UTC than this. */
#define DBK_ZONE_OFFSET_MAX (26 * 3600)

struct dbk_zone;

/* Whether a text may be the name of a zone, "Europe/Berlin": it is then no way out of the folder of
   all zones. */
bool dbk_zone_is_name(struct dbk_slice text);
/* The zone is in the arena. DBK_ECORRUPT: the bytes are no such file, or count leap seconds;
   DBK_ENOMEM */
int dbk_zone_parse(struct dbk_slice bytes, struct dbk_arena *arena,
                   const struct dbk_zone **zone_out) DBK_MUST_CHECK;
/* How many seconds clocks are ahead of UTC, at a time in seconds since 1970. */
int64_t dbk_zone_offset(const struct dbk_zone *zone, int64_t time_s);
/*
 * The first moment at which clocks show a local time, given in seconds as if it were UTC, or a
 * later one: of a time that clocks pass twice the first, of one that they leave out when they are
 * put forward.
 */
int64_t dbk_zone_first(const struct dbk_zone *zone, int64_t local_s);

#endif

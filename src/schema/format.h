/* SPDX-License-Identifier: Apache-2.0 */
/*
 * format -- the values of `format` that are checked.
 *
 * Threads: pure functions.
 * Source:  JSON Schema draft 2020-12, validation, section 7.3, and the RFCs it names.
 */
#ifndef DBK_SCHEMA_FORMAT_H
#define DBK_SCHEMA_FORMAT_H

#include "base/slice.h"

/* X(name, wire) */
#define DBK_FORMATS(X)                                                                             \
    X(DATE_TIME, "date-time")                                                                      \
    X(DATE, "date")                                                                                \
    X(TIME, "time")                                                                                \
    X(DURATION, "duration")                                                                        \
    X(UUID, "uuid")                                                                                \
    X(EMAIL, "email")                                                                              \
    X(HOSTNAME, "hostname")                                                                        \
    X(IPV4, "ipv4")                                                                                \
    X(IPV6, "ipv6")                                                                                \
    X(URI, "uri")                                                                                  \
    X(URI_REFERENCE, "uri-reference")                                                              \
    X(JSON_POINTER, "json-pointer")

enum dbk_format {
    DBK_FORMAT_NONE,
#define DBK_FORMAT_ENUM(name, wire) DBK_FORMAT_##name,
    DBK_FORMATS(DBK_FORMAT_ENUM)
#undef DBK_FORMAT_ENUM
        DBK_FORMAT_COUNT,
};

/* Its name; NULL for DBK_FORMAT_NONE. */
const char *dbk_format_name(enum dbk_format format);
bool dbk_format_fits(enum dbk_format format, struct dbk_slice text);

#endif

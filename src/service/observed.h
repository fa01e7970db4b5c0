/* SPDX-License-Identifier: Apache-2.0 */
/*
 * observed -- the statements that a PostgreSQL has seen, by role, and when each was last done.
 *
 * pg_stat_statements counts how often a statement was done, and has no time. So a database is
 * looked at again and again, and a count that differs from the last look's says that the statement
 * was done between the two. What is known is a file of the data directory, one for each database;
 * statements that the server has forgotten since stay in it.
 *
 * Threads: one at a time. Processes that write the same file at the same time leave one's.
 * Source:  docs/format/observed.md; PostgreSQL's manual, pg_stat_statements.
 */
#ifndef DBK_SERVICE_OBSERVED_H
#define DBK_SERVICE_OBSERVED_H

#include "base/memory.h"
#include "json/json.h"
#include "os/os.h"
#include "target/target.h"

/* Those done last are kept. */
#define DBK_OBSERVED_MAX 20000
#define DBK_OBSERVED_SIZE_MAX ((size_t)256 << 20)

struct dbk_observed_statement {
    const char *role;
    const char *id;       /* the server's own of the statement, a number */
    int64_t calls;        /* 0: the server had forgotten it at the last look */
    struct dbk_slice sql; /* constants are $1 and so on */
    int64_t after_us;     /* it was last done behind this; 0: it is not known how long before … */
    int64_t by_us;        /* … this, at the latest */
    bool here;            /* the server has it now */
};

struct dbk_observed {
    struct dbk_arena *arena;
    struct dbk_observed_statement *items;
    size_t count;
    size_t capacity;
    int64_t looked_us; /* 0: never */
    const char *reset; /* when the server began to count anew, in its words; "": not known */
};

/* Appends the file of a database, or its path: names are the book's. */
const char *dbk_observed_path(struct dbk_arena *arena, const char *data,
                              const char *database) DBK_MUST_CHECK;

/*
 * Looks at a database, and notes what was done since the last look.
 *
 * DBK_ENOTFOUND  pg_stat_statements is not there: the message says what turns it on
 * DBK_EDENIED    it does not show the statements of all roles
 * DBK_ELIMIT     it has more than DBK_OBSERVED_MAX
 */
int dbk_observed_look(struct dbk_observed *observed, struct dbk_connection *connection,
                      int64_t now_us, struct dbk_error *err) DBK_MUST_CHECK;

/* What reads or changes rows. The rest is not noted: a server keeps the password of ALTER ROLE. */
bool dbk_observed_is_use(struct dbk_slice sql);

/* DBK_ECORRUPT: the message names the line. */
int dbk_observed_parse(struct dbk_observed *observed, struct dbk_slice text, const char *file,
                       struct dbk_error *err) DBK_MUST_CHECK;
void dbk_observed_format(const struct dbk_observed *observed, struct dbk_buf *out);
/* A file that is not there is one of no looks. */
int dbk_observed_read(struct dbk_observed *observed, struct dbk_os *os, const char *path,
                      struct dbk_error *err) DBK_MUST_CHECK;
int dbk_observed_write(const struct dbk_observed *observed, struct dbk_os *os, const char *path,
                       struct dbk_error *err) DBK_MUST_CHECK;

/* What two texts of the same statement have in common, whatever their constants and parameters are;
   0: it cannot be parsed. */
uint64_t dbk_observed_fingerprint(struct dbk_slice sql);

#endif

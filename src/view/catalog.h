/* SPDX-License-Identifier: Apache-2.0 */
/*
 * catalog -- the row a view has in its database's `_daybook_views`.
 *
 *     name TEXT PRIMARY KEY   the view
 *     generation INTEGER      its rows lie in <name>__g<generation>
 *     fingerprint TEXT        SHA-256 of the file that made them, in hexadecimal
 *     position INTEGER        the log's position they hold
 *     as_of INTEGER           when the read snapshot was taken, us since 1970
 *     duration INTEGER        of that refresh, us
 *     rows INTEGER            how many there are
 *     tried INTEGER           when a refresh was last begun, us since 1970
 *     error TEXT              why the last one failed, NULL when it succeeded
 *     layout INTEGER          what is stored with the rows (view/layout.h); 0: nothing
 *     refreshed TEXT          how the last one was done: 'full' or 'incremental'
 *     changes INTEGER         rows of its sources that it applied
 *     reason TEXT             why it was a full one, NULL when it was not
 *     full_us INTEGER         what the last full one took
 *     incremental_us INTEGER  what the last incremental one of at least 100 changes took, halved
 *                             by each full one since,
 *     incremental_changes     and the rows it applied
 *     verified INTEGER        when it was last verified, us since 1970; NULL: never
 *     verified_position       INTEGER, the position of the rows that were,
 *     verified_rows           how many there were,
 *     verified_more           those of them that the SELECT did not give,
 *     verified_less           and those that were missing
 *
 * A table of an earlier version has the columns down to error, or to incremental_changes; the
 * others are added by whoever writes.
 *
 * Threads: a connection belongs to one thread at a time.
 * Source:  docs/format/view.md.
 */
#ifndef DBK_VIEW_CATALOG_H
#define DBK_VIEW_CATALOG_H

#include "view/view.h"

/* A stored table's name with its NUL. */
#define DBK_VIEW_TABLE_SIZE_MAX 256

struct dbk_view_row {
    uint64_t generation; /* 0: never refreshed */
    char fingerprint[DBK_VIEW_FINGERPRINT_SIZE];
    uint64_t position;
    int64_t as_of_us;
    int64_t duration_us;
    uint64_t rows;
    int64_t tried_us; /* DBK_TIME_NONE: never */
    char error[512];  /* empty: none */
    uint64_t layout;
    enum dbk_view_mode refreshed; /* AUTO: it is not known */
    uint64_t changes;
    char reason[512];
    int64_t full_us;
    int64_t incremental_us;
    uint64_t incremental_changes;
    struct dbk_view_check check; /* dbk_view_catalog_write leaves it as it is */
};

/* Makes the tables, that of view/kept.h too, where they are missing. */
int dbk_view_catalog_create(struct dbk_connection *connection,
                            struct dbk_error *err) DBK_MUST_CHECK;
/* Reads a view's row; a missing row or table gives a row of zeros. */
int dbk_view_catalog_read(struct dbk_connection *connection, const char *name,
                          struct dbk_view_row *row_out, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_view_catalog_write(struct dbk_connection *connection, const char *name,
                           const struct dbk_view_row *row, struct dbk_error *err) DBK_MUST_CHECK;

/* Writes what a verification has found into a view's row. */
int dbk_view_catalog_check(struct dbk_connection *connection, const char *name,
                           const struct dbk_view_check *check,
                           struct dbk_error *err) DBK_MUST_CHECK;

/* The single integer a query answers, 0 for NULL or no row; ?1 is text where it is not NULL. */
int dbk_view_integer(struct dbk_connection *connection, const char *sql, const char *text,
                     int64_t *value_out, struct dbk_error *err) DBK_MUST_CHECK;

#endif

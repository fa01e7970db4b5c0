/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report -- what a migration changed: counted by type and by category, and kept with each batch.
 *
 * A row is what events of one name became: those of type A that became type B, with how many of
 * them also changed otherwise, and where the first is. At most DBK_REPORT_ROWS_MAX rows a table;
 * what comes behind them is counted in a last row named "…".
 *
 * Threads: a report belongs to one thread.
 */
#ifndef DBK_MIGRATE_REPORT_H
#define DBK_MIGRATE_REPORT_H

#include "migrate/map.h"

#define DBK_REPORT_ROWS_MAX 500
#define DBK_REPORT_SLOTS 4096
#define DBK_REPORT_CHANGES 6

struct dbk_report_row {
    struct dbk_slice from;
    struct dbk_slice to;                  /* empty: dropped */
    uint64_t sources;                     /* events of the old book */
    uint64_t events;                      /* of the new one */
    uint64_t changes[DBK_REPORT_CHANGES]; /* of them: by enum dbk_made_change */
    uint64_t old_position;                /* of the first */
    uint64_t new_position;                /* 0: none was made */
};

struct dbk_report_table {
    struct dbk_report_row *rows; /* DBK_REPORT_ROWS_MAX + 1, in the order they came */
    size_t count;
    uint16_t slots[DBK_REPORT_SLOTS]; /* a row's index + 1; 0: free */
};

struct dbk_report {
    struct dbk_arena arena;
    uint64_t read;    /* events of the old book, but for its own */
    uint64_t made;    /* events of the new book */
    uint64_t kept;    /* became one event, in nothing changed */
    uint64_t changed; /* became one event, changed */
    uint64_t split;   /* became several */
    uint64_t dropped; /* became none */
    uint64_t removed; /* had no content any more, and are not copied */
    uint64_t own;     /* the old book's own, as its groups; not copied */
    struct dbk_report_table types;
    struct dbk_report_table categories;
};

int dbk_report_init(struct dbk_report *report, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_report_release(struct dbk_report *report);

/* Counts an event and what it became; new_position: of the first of that. DBK_ENOMEM */
int dbk_report_add(struct dbk_report *report, const struct dbk_event *event,
                   const struct dbk_made *made, size_t count, uint64_t new_position,
                   struct dbk_error *err) DBK_MUST_CHECK;

/* Counts an event of a type in `types`, as one that is there. DBK_ENOMEM */
int dbk_report_count(struct dbk_report *report, struct dbk_slice type,
                     struct dbk_error *err) DBK_MUST_CHECK;

/* As a JSON object, and back. DBK_ECORRUPT: it is none. */
void dbk_report_write(const struct dbk_report *report, struct dbk_buf *out);
int dbk_report_read(struct dbk_report *report, const struct dbk_json_node *node,
                    struct dbk_error *err) DBK_MUST_CHECK;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * make_postgres -- random tables, changes and SELECTs as PostgreSQL wants them, all of one seed.
 *
 * A SELECT nests three deep, and has at random each operator that a view may have. Where the rows
 * that it gives would be left open (what comes first in a window, what a LIMIT shows) all columns
 * decide; sums of floating-point numbers are of such as are exact in any order.
 *
 * Threads: one a maker.
 */
#ifndef DBK_TESTS_TORTURE_MAKE_POSTGRES_H
#define DBK_TESTS_TORTURE_MAKE_POSTGRES_H

#include "target/target.h"

#define TABLES_MAX 3
#define COLUMNS_MAX 5
#define INPUTS_MAX 3
#define WITHS_MAX 2
#define SQL_SIZE_MAX ((size_t)1 << 20)

enum type { WHOLE, NUMBER, WORD, REAL, FLAG, TYPE_COUNT };

struct table {
    unsigned columns;
    enum type types[COLUMNS_MAX];
    unsigned key; /* how many columns it has */
};

/* What a SELECT's names may mean. */
struct scope {
    char alias;
    unsigned count;
    unsigned columns[INPUTS_MAX];
    char letter[INPUTS_MAX]; /* of the columns: a0, a1 of a table, o0, o1 of a SELECT */
    enum type types[INPUTS_MAX][COLUMNS_MAX];
    const struct scope *around;
};

/* Columns of what may be read beside tables: a name of WITH, or a view. */
struct columns {
    enum type types[COLUMNS_MAX];
    unsigned count; /* 0: there is none */
};

struct maker {
    uint64_t random;
    struct table tables[TABLES_MAX];
    unsigned table_count;
    struct scope *scope;
    unsigned names; /* of aliases given so far */
    struct columns withs[WITHS_MAX];
    unsigned with_count;
    struct columns view; /* "v" */
    bool others;         /* another session has a transaction open */
    /* of the SELECT that was made: */
    struct columns outputs;
    bool ordered; /* by all of them */
};

void maker_tables(struct maker *maker, struct dbk_buf *sql);
/* One change. base: of the first column's values, so that two sessions never want one row. */
void maker_change(struct maker *maker, struct dbk_buf *sql, unsigned base);
/* A transaction of some changes. */
void maker_batch(struct maker *maker, struct dbk_buf *sql, unsigned changes);
void maker_select(struct maker *maker, struct dbk_buf *sql);
/* A number below the limit, one chance in so many. */
unsigned maker_below(struct maker *maker, unsigned limit);
bool maker_one_in(struct maker *maker, unsigned count);

#endif

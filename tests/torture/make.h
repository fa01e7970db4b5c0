/* SPDX-License-Identifier: Apache-2.0 */
/*
 * make -- random tables, changes and SELECTs, all of one seed.
 *
 * A world is either plain (values of all types, numbers of all sizes, SELECTs that are not nested)
 * or nested: SELECTs within SELECTs, three deep, over values that have one spelling each. In a
 * plain one 1 and 1.0 are one group, which shows either; what is made of that further up has two
 * right answers.
 *
 * Threads: one a world.
 */
#ifndef DBK_TESTS_TORTURE_MAKE_H
#define DBK_TESTS_TORTURE_MAKE_H

#include "view/plan.h"

#define TABLES_MAX 3
#define COLUMNS_MAX 5
#define INPUTS_MAX 3
#define SQL_SIZE_MAX ((size_t)1 << 20)

struct table {
    unsigned columns;
    bool key; /* the first column is INTEGER PRIMARY KEY */
    bool unique;
};

/* What a SELECT's names may mean. */
struct scope {
    char alias;
    unsigned count;
    unsigned columns[INPUTS_MAX];
    char letter[INPUTS_MAX]; /* of the columns: a0, a1 of a table, o0, o1 of a SELECT; 'e' of
                                `events`, whose columns are expressions */
    const struct scope *around;
};

struct world {
    uint64_t random;
    char path[64];
    struct table tables[TABLES_MAX];
    unsigned table_count;
    struct dbk_buf select;
    bool nested;
    bool ordered;   /* by all its columns */
    unsigned limit; /* 0: none */
    unsigned offset;
    bool rows_only; /* no groups: also the types of values must be the same */
    bool show;
    bool filled;       /* NULLs are rare, so that one more or less tells */
    unsigned outputs;  /* of a nested SELECT */
    bool events;       /* `events` may be read, too */
    unsigned over;     /* columns of a view "v" that may be read, too; 0: there is none */
    unsigned withs[2]; /* columns of w0, w1 */
    unsigned with_count;
    struct scope *scope; /* of the SELECT under way */
    unsigned depth;      /* how deep it may still be nested */
};

void make_tables(struct world *world, struct dbk_buf *sql);
/* A transaction of some changes. */
void make_batch(struct world *world, struct dbk_buf *sql, unsigned changes);
/* An event's data: a JSON object. */
void make_data(struct world *world, struct dbk_buf *json);
/* Into world->select. */
void make_select(struct world *world);
/* A number below the limit, one chance in so many, one of some words. */
unsigned make_below(struct world *world, unsigned limit);
bool make_one_in(struct world *world, unsigned count);
const char *make_pick(struct world *world, const char *const *items, size_t count);
#define PICK(world, items) make_pick(world, items, sizeof(items) / sizeof((items)[0]))

#endif

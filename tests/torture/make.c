/* SPDX-License-Identifier: Apache-2.0 */
#include "make.h"

#include <stdio.h>
#include <string.h>

static uint64_t next_random(struct world *world)
{
    uint64_t x = world->random += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static unsigned below(struct world *world, unsigned limit)
{
    return (unsigned)(next_random(world) % limit);
}

static bool one_in(struct world *world, unsigned count)
{
    return below(world, count) == 0;
}

static const char *pick(struct world *world, const char *const *items, size_t count)
{
    return items[below(world, (unsigned)count)];
}
#define PICK(world, items) pick(world, items, sizeof(items) / sizeof((items)[0]))

/* ---- Tables and changes ---- */

void make_tables(struct world *world, struct dbk_buf *sql)
{
    static const char *const types[] = {"INTEGER", "TEXT", "REAL", "", "NUMERIC", "INTEGER"};
    static const char *const whole[] = {"INTEGER", "TEXT", "", "NUMERIC", "INTEGER"};
    world->nested = one_in(world, 2);
    world->table_count = 1 + below(world, TABLES_MAX);
    for (unsigned i = 0; i < world->table_count; i++) {
        struct table *table = &world->tables[i];
        table->columns = 2 + below(world, COLUMNS_MAX - 1);
        table->key = one_in(world, 2);
        table->unique = one_in(world, 3);
        dbk_buf_append_format(sql, "CREATE TABLE t%u (", i);
        for (unsigned j = 0; j < table->columns; j++)
            dbk_buf_append_format(sql, "%sa%u %s%s", j > 0 ? ", " : "", j,
                                  j == 0 && table->key ? "INTEGER PRIMARY KEY"
                                  : world->nested      ? PICK(world, whole)
                                                       : PICK(world, types),
                                  j == 1 && table->unique ? " UNIQUE" : "");
        dbk_buf_append_text(sql, ");");
        if (one_in(world, 2))
            dbk_buf_append_format(sql, "CREATE INDEX i%u ON t%u (a1);", i, i);
    }
}

static void append_value(struct world *world, struct dbk_buf *sql)
{
    unsigned kind = below(world, 12);
    switch (world->nested && (kind == 4 || kind == 5) ? 6 : kind) {
    case 0:
    case 1:
        dbk_buf_append_text(sql, "NULL");
        break;
    case 2:
        dbk_buf_append_format(sql, "'%c'", 'a' + (int)below(world, 3));
        break;
    case 3:
        dbk_buf_append_format(sql, "'%u'", below(world, 4));
        break;
    case 4:
        dbk_buf_append_format(sql, "%u.5", below(world, 4));
        break;
    case 5:
        dbk_buf_append_format(sql, "%lld",
                              (long long)(next_random(world) >> (2 + below(world, 50))));
        break;
    default:
        dbk_buf_append_format(sql, "%d", (int)below(world, 7) - 1);
        break;
    }
}

static void append_key(struct world *world, struct dbk_buf *sql)
{
    dbk_buf_append_format(sql, "%u", below(world, 30));
}

static void append_insert(struct world *world, struct dbk_buf *sql, unsigned t)
{
    static const char *const verbs[] = {"INSERT OR IGNORE", "INSERT OR REPLACE", "INSERT OR IGNORE",
                                        "INSERT"};
    const struct table *table = &world->tables[t];
    const char *verb = PICK(world, verbs);
    bool upsert = strcmp(verb, "INSERT") == 0;
    dbk_buf_append_format(sql, "%s INTO t%u VALUES (", verb, t);
    for (unsigned j = 0; j < table->columns; j++) {
        dbk_buf_append_text(sql, j > 0 ? ", " : "");
        if (j == 0 && table->key)
            append_key(world, sql);
        else
            append_value(world, sql);
    }
    dbk_buf_append_text(sql, ")");
    if (upsert && (table->key || table->unique))
        dbk_buf_append_format(sql, " ON CONFLICT DO UPDATE SET a%u = 3", table->columns - 1);
    dbk_buf_append_text(sql, ";");
}

static void append_change(struct world *world, struct dbk_buf *sql)
{
    unsigned t = below(world, world->table_count);
    const struct table *table = &world->tables[t];
    static const char *const verbs[] = {"UPDATE OR IGNORE", "UPDATE OR REPLACE"};
    switch (below(world, 8)) {
    case 0:
        dbk_buf_append_format(sql, "DELETE FROM t%u WHERE a%u = ", t, below(world, table->columns));
        append_value(world, sql);
        dbk_buf_append_text(sql, ";");
        break;
    case 1:
        if (one_in(world, 6))
            dbk_buf_append_format(sql, "DELETE FROM t%u;", t);
        else
            dbk_buf_append_format(sql, "DELETE FROM t%u WHERE rowid %% 5 = %u;", t,
                                  below(world, 5));
        break;
    case 2:
    case 3:
        dbk_buf_append_format(sql, "%s t%u SET a%u = ", PICK(world, verbs), t,
                              below(world, table->columns - 1) + 1);
        append_value(world, sql);
        dbk_buf_append_format(sql, " WHERE rowid %% 4 = %u;", below(world, 4));
        break;
    case 4:
        if (table->key)
            dbk_buf_append_format(sql, "%s t%u SET a0 = a0 + %u WHERE a0 = %u;", PICK(world, verbs),
                                  t, below(world, 3) + 1, below(world, 30));
        break;
    default:
        append_insert(world, sql, t);
        break;
    }
}

void make_batch(struct world *world, struct dbk_buf *sql, unsigned changes)
{
    dbk_buf_append_text(sql, "BEGIN;");
    for (unsigned i = 0; i < changes; i++)
        append_change(world, sql);
    dbk_buf_append_text(sql, one_in(world, 12) ? "ROLLBACK;" : "COMMIT;");
}

unsigned make_below(struct world *world, unsigned limit)
{
    return below(world, limit);
}

/* ---- Expressions ---- */

static void append_column(struct world *world, struct dbk_buf *sql)
{
    const struct scope *scope = world->scope;
    if (scope->around != NULL && one_in(world, 3))
        scope = scope->around;
    unsigned input = below(world, scope->count);
    dbk_buf_append_format(sql, "%c%u.%c%u", scope->alias, input, scope->letter[input],
                          below(world, scope->columns[input]));
}

static void append_scalar(struct world *world, struct dbk_buf *sql, unsigned depth);
static void append_test(struct world *world, struct dbk_buf *sql, unsigned depth);
static void append_query(struct world *world, struct dbk_buf *sql, unsigned outputs);
static void append_from(struct world *world, struct dbk_buf *sql);

static void append_aggregate(struct world *world, struct dbk_buf *sql)
{
    static const char *const names[] = {"count", "sum", "avg", "min", "max", "total"};
    static const char *const whole[] = {"count", "min", "max"};
    if (one_in(world, 5)) {
        dbk_buf_append_text(sql, "count(*)");
        return;
    }
    if (world->nested && one_in(world, 3)) {
        dbk_buf_append_text(sql, "sum(CAST(");
        append_column(world, sql);
        dbk_buf_append_text(sql, " AS INTEGER))");
        return;
    }
    dbk_buf_append_format(sql, "%s(", world->nested ? PICK(world, whole) : PICK(world, names));
    if (one_in(world, 8))
        dbk_buf_append_text(sql, "DISTINCT ");
    append_scalar(world, sql, below(world, 2));
    dbk_buf_append_text(sql, ")");
}

/* (SELECT … FROM … WHERE …), with columns from around or without. */
static void append_subquery(struct world *world, struct dbk_buf *sql, bool aggregate, bool value)
{
    struct scope *before = world->scope;
    struct scope scope = {.alias = (char)(before->alias + 1),
                          .count = 1 + one_in(world, 4),
                          .around = one_in(world, 4) ? NULL : before};
    struct dbk_buf from;
    dbk_buf_init(&from, SQL_SIZE_MAX);
    world->scope = &scope;
    world->depth--;
    append_from(world, &from);
    const struct scope *around = scope.around;
    scope.around = NULL; /* An aggregate of columns from around would be that SELECT's. */
    dbk_buf_append_text(sql, "(SELECT ");
    if (aggregate)
        append_aggregate(world, sql);
    else if (value)
        append_column(world, sql);
    else
        dbk_buf_append_text(sql, "1");
    scope.around = around;
    dbk_buf_append(sql, dbk_buf_slice(&from));
    dbk_buf_append_text(sql, ")");
    dbk_buf_release(&from);
    world->scope = before;
    world->depth++;
}

static void append_asking(struct world *world, struct dbk_buf *sql)
{
    static const char *const verbs[] = {" IN ", " NOT IN "};
    static const char *const operators[] = {" = ", " > ", " <= "};
    switch (below(world, 4)) {
    case 0:
        dbk_buf_append_text(sql, one_in(world, 2) ? "EXISTS " : "NOT EXISTS ");
        append_subquery(world, sql, false, false);
        break;
    case 1:
        append_column(world, sql);
        dbk_buf_append_text(sql, PICK(world, operators));
        append_subquery(world, sql, true, true);
        break;
    default:
        append_column(world, sql);
        dbk_buf_append_text(sql, PICK(world, verbs));
        append_subquery(world, sql, one_in(world, 6), true);
        break;
    }
}

static void append_test(struct world *world, struct dbk_buf *sql, unsigned depth)
{
    static const char *const operators[] = {"=", "<", ">=", "<>", "IS DISTINCT FROM"};
    if (world->nested && world->depth > 0 && one_in(world, 3)) {
        append_asking(world, sql);
        return;
    }
    switch (depth == 0 ? 0 : below(world, 7)) {
    case 1:
        append_scalar(world, sql, depth - 1);
        dbk_buf_append_text(sql, one_in(world, 2) ? " IS NULL" : " IS NOT NULL");
        break;
    case 2:
        dbk_buf_append_text(sql, "(");
        append_test(world, sql, depth - 1);
        dbk_buf_append_text(sql, one_in(world, 2) ? " OR " : " AND ");
        append_test(world, sql, depth - 1);
        dbk_buf_append_text(sql, ")");
        break;
    case 3:
        append_scalar(world, sql, depth - 1);
        dbk_buf_append_text(sql, one_in(world, 2) ? " IN (1, 'a', 2)" : " NOT IN (0, 3)");
        break;
    case 4:
        append_scalar(world, sql, depth - 1);
        dbk_buf_append_text(sql, one_in(world, 2) ? " BETWEEN 0 AND 3" : " NOT BETWEEN 1 AND 2");
        break;
    default:
        append_scalar(world, sql, depth);
        dbk_buf_append_format(sql, " %s ", PICK(world, operators));
        append_scalar(world, sql, depth);
        break;
    }
}

static void append_scalar(struct world *world, struct dbk_buf *sql, unsigned depth)
{
    static const char *const constants[] = {"1", "-1", "'a'", "2.5", "NULL", "'2'", "0"};
    static const char *const whole[] = {"1", "-1", "'a'", "NULL", "'2'", "0"};
    static const char *const operators[] = {"+", "-", "*", "||"};
    if (world->nested && world->depth > 0 && one_in(world, 25)) {
        append_subquery(world, sql, true, true);
        return;
    }
    switch (depth == 0 ? below(world, 4) : below(world, 9)) {
    case 0:
        dbk_buf_append_text(sql, world->nested ? PICK(world, whole) : PICK(world, constants));
        break;
    case 4:
        dbk_buf_append_text(sql, "(");
        append_scalar(world, sql, depth - 1);
        dbk_buf_append_format(sql, " %s ", PICK(world, operators));
        append_scalar(world, sql, depth - 1);
        dbk_buf_append_text(sql, ")");
        break;
    case 5:
        dbk_buf_append_text(sql, "CASE WHEN ");
        append_test(world, sql, depth - 1);
        dbk_buf_append_text(sql, " THEN ");
        append_scalar(world, sql, depth - 1);
        dbk_buf_append_text(sql, one_in(world, 2) ? " ELSE 7 END" : " END");
        break;
    case 6:
        dbk_buf_append_text(sql, "coalesce(");
        append_scalar(world, sql, depth - 1);
        dbk_buf_append_text(sql, ", 'none')");
        break;
    case 7:
        dbk_buf_append_text(sql, "CAST(");
        append_column(world, sql);
        dbk_buf_append_text(sql, one_in(world, 2) ? " AS INTEGER)" : " AS TEXT)");
        break;
    default:
        append_column(world, sql);
        break;
    }
}

/* ---- FROM ---- */

/* A table, a name of WITH, or a SELECT. */
static void append_input(struct world *world, struct dbk_buf *sql, unsigned i)
{
    struct scope *scope = world->scope;
    unsigned t = below(world, world->table_count);
    scope->letter[i] = 'o';
    if (world->nested && world->with_count > 0 && one_in(world, 3)) {
        unsigned with = below(world, world->with_count);
        scope->columns[i] = world->withs[with];
        dbk_buf_append_format(sql, "w%u", with);
    } else if (world->nested && world->depth > 0 && one_in(world, 2)) {
        scope->columns[i] = 1 + below(world, 3);
        world->depth--;
        dbk_buf_append_text(sql, "(");
        append_query(world, sql, scope->columns[i]);
        dbk_buf_append_text(sql, ")");
        world->depth++;
        world->scope = scope;
    } else {
        scope->letter[i] = 'a';
        scope->columns[i] = world->tables[t].columns;
        dbk_buf_append_format(sql, "t%u", t);
    }
    dbk_buf_append_format(sql, " AS %c%u", scope->alias, i);
}

static unsigned least(unsigned one, unsigned other)
{
    return one < other ? one : other;
}

static void append_from(struct world *world, struct dbk_buf *sql)
{
    struct scope *scope = world->scope;
    const struct scope *around = scope->around;
    static const char *const outers[] = {" LEFT JOIN ", " RIGHT JOIN ", " FULL JOIN "};
    bool any = world->nested && one_in(world, 2); /* kinds of joins, in any order */
    bool outer = false;
    for (unsigned i = 0; i < scope->count; i++) {
        outer = outer || (i > 0 && one_in(world, 4));
        dbk_buf_append_text(sql, i == 0         ? " FROM "
                                 : outer && any ? PICK(world, outers)
                                 : outer        ? " LEFT JOIN "
                                                : " JOIN ");
        outer = outer && !any;
        append_input(world, sql, i);
        if (i == 0)
            continue;
        unsigned other = below(world, i);
        dbk_buf_append_format(sql, " ON %c%u.%c%u = %c%u.%c%u", scope->alias, other,
                              scope->letter[other], below(world, least(2, scope->columns[other])),
                              scope->alias, i, scope->letter[i],
                              below(world, least(2, scope->columns[i])));
    }
    if (around != NULL) {
        unsigned other = below(world, around->count);
        dbk_buf_append_format(sql, " WHERE %c0.%c0 = %c%u.%c%u AND ", scope->alias,
                              scope->letter[0], around->alias, other, around->letter[other],
                              below(world, around->columns[other]));
        append_test(world, sql, 1);
    } else if (one_in(world, 2)) {
        dbk_buf_append_text(sql, " WHERE ");
        append_test(world, sql, 2);
    }
}

/* ---- SELECTs ---- */

static void append_outputs(struct world *world, struct dbk_buf *sql, unsigned count, bool alike)
{
    for (unsigned i = 0; i < count; i++) {
        dbk_buf_append_text(sql, i > 0 ? ", " : " ");
        dbk_buf_append_text(sql, alike ? "coalesce(" : "");
        append_scalar(world, sql, below(world, 3));
        dbk_buf_append_format(sql, alike ? ", NULL) AS o%u" : " AS o%u", i);
    }
}

/* Columns first and FROM behind, but FROM says which columns there are. */
static void append_plain(struct world *world, struct dbk_buf *sql, unsigned outputs, bool alike,
                         const char *select)
{
    struct scope scope = {.alias = 'x', .count = 1 + below(world, INPUTS_MAX)};
    struct scope *before = world->scope;
    struct dbk_buf from;
    dbk_buf_init(&from, SQL_SIZE_MAX);
    world->scope = &scope;
    append_from(world, &from);
    dbk_buf_append_text(sql, select);
    append_outputs(world, sql, outputs, alike);
    dbk_buf_append(sql, dbk_buf_slice(&from));
    dbk_buf_release(&from);
    world->scope = before;
}

static void append_grouped(struct world *world, struct dbk_buf *sql, unsigned outputs, bool alike)
{
    unsigned keys = below(world, 3);
    struct scope scope = {.alias = 'x', .count = 1 + below(world, INPUTS_MAX)};
    struct scope *before = world->scope;
    struct dbk_buf from;
    struct dbk_buf key[2];
    keys = keys > outputs ? outputs : keys;
    dbk_buf_init(&from, SQL_SIZE_MAX);
    world->scope = &scope;
    append_from(world, &from);
    for (unsigned i = 0; i < 2; i++) {
        dbk_buf_init(&key[i], SQL_SIZE_MAX);
        if (one_in(world, 3))
            append_scalar(world, &key[i], 1);
        else
            append_column(world, &key[i]);
    }
    dbk_buf_append_text(sql, "SELECT ");
    for (unsigned i = 0; i < outputs; i++) {
        dbk_buf_append_text(sql, i > 0 ? ", " : "");
        dbk_buf_append_text(sql, alike ? "coalesce(" : "");
        if (i < keys)
            dbk_buf_append(sql, dbk_buf_slice(&key[i]));
        else
            append_aggregate(world, sql);
        if (i >= keys && one_in(world, 4))
            dbk_buf_append_text(sql, one_in(world, 2) ? " + 1" : " || 'x'");
        dbk_buf_append_format(sql, alike ? ", NULL) AS o%u" : " AS o%u", i);
    }
    dbk_buf_append(sql, dbk_buf_slice(&from));
    for (unsigned i = 0; i < keys; i++) {
        dbk_buf_append_text(sql, i > 0 ? ", " : " GROUP BY ");
        if (one_in(world, 4) && !alike)
            dbk_buf_append_format(sql, "%u", i + 1);
        else
            dbk_buf_append(sql, dbk_buf_slice(&key[i]));
    }
    if (keys > 0 && one_in(world, 3)) {
        dbk_buf_append_text(sql, " HAVING ");
        append_aggregate(world, sql);
        dbk_buf_append_text(sql, one_in(world, 2) ? " > 1" : " <> 2");
    }
    for (unsigned i = 0; i < 2; i++)
        dbk_buf_release(&key[i]);
    dbk_buf_release(&from);
    world->scope = before;
}

/* alike: columns without affinity, as those of the other SELECTs that it is put together with. */
static void append_one(struct world *world, struct dbk_buf *sql, unsigned outputs, bool alike)
{
    switch (below(world, 5)) {
    case 0:
    case 1:
        append_grouped(world, sql, outputs, alike);
        break;
    case 2:
        append_plain(world, sql, outputs, alike, "SELECT DISTINCT");
        break;
    default:
        append_plain(world, sql, outputs, alike, "SELECT");
        break;
    }
}

static void append_query(struct world *world, struct dbk_buf *sql, unsigned outputs)
{
    static const char *const words[] = {" UNION ALL ", " UNION ", " EXCEPT ", " INTERSECT "};
    unsigned branches = one_in(world, 3) ? 2 + one_in(world, 3) : 1;
    for (unsigned i = 0; i < branches; i++) {
        /* PostgreSQL's grammar binds INTERSECT tighter. */
        const char *word = PICK(world, words);
        if (i > 0)
            dbk_buf_append_text(sql, i > 1 && strcmp(word, " INTERSECT ") == 0 ? " UNION " : word);
        append_one(world, sql, outputs, branches > 1);
    }
}

/* By some columns, and with a LIMIT by all: which rows it shows must be certain. */
static void append_order(struct world *world, unsigned outputs)
{
    static const char *const ways[] = {"", " DESC", " NULLS LAST", " DESC NULLS FIRST", ""};
    struct dbk_buf *sql = &world->select;
    unsigned first = below(world, outputs);
    bool all = one_in(world, 2);
    world->ordered = all;
    dbk_buf_append_text(sql, " ORDER BY ");
    for (unsigned i = 0; i < (all ? outputs : 1); i++) {
        dbk_buf_append_text(sql, i > 0 ? ", " : "");
        unsigned output = (first + i) % outputs;
        bool number = one_in(world, 3);
        dbk_buf_append_format(sql, number ? "%u" : "o%u", number ? output + 1 : output);
        dbk_buf_append_text(sql, PICK(world, ways));
    }
    if (!all || one_in(world, 3))
        return;
    world->limit = 1 + below(world, 12);
    dbk_buf_append_format(sql, " LIMIT %u", world->limit);
    if (one_in(world, 3)) {
        world->offset = below(world, 4);
        dbk_buf_append_format(sql, " OFFSET %u", world->offset);
    }
}

static void make_nested(struct world *world)
{
    struct dbk_buf *sql = &world->select;
    unsigned withs = one_in(world, 3) ? 1 + below(world, 2) : 0;
    world->rows_only = false;
    for (unsigned i = 0; i < withs; i++) {
        world->depth = 1;
        world->withs[i] = 1 + below(world, 3);
        dbk_buf_append_format(sql, i > 0 ? ", w%u AS (" : "WITH w%u AS (", i);
        append_query(world, sql, world->withs[i]);
        dbk_buf_append_text(sql, i + 1 < withs ? ")" : ") ");
        world->with_count = i + 1;
    }
    world->depth = 1 + below(world, 3);
    unsigned outputs = 1 + below(world, 4);
    append_query(world, sql, outputs);
    if (one_in(world, 4))
        append_order(world, outputs);
}

void make_select(struct world *world)
{
    struct dbk_buf *sql = &world->select;
    unsigned branches = 1;
    unsigned outputs = 1 + below(world, 4);
    unsigned shape = below(world, 10);
    dbk_buf_reset(sql);
    world->with_count = 0;
    world->depth = 0;
    world->ordered = false;
    world->limit = 0;
    world->offset = 0;
    if (world->nested) {
        make_nested(world);
        return;
    }
    world->rows_only = shape < 4;
    if (shape >= 5) {
        append_grouped(world, sql, outputs, false);
        return;
    }
    if (shape < 2)
        branches = 2 + below(world, 2);
    for (unsigned i = 0; i < branches; i++) {
        dbk_buf_append_text(sql, i > 0 ? " UNION ALL " : "");
        append_plain(world, sql, outputs, false, shape == 4 ? "SELECT DISTINCT" : "SELECT");
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "make.h"

#include <stdio.h>
#include <string.h>

/* ---- Expressions ---- */

#define EVENT_COLUMNS 6

static void append_name(struct dbk_buf *sql, const struct scope *scope, unsigned input,
                        unsigned column)
{
    static const char *const events[EVENT_COLUMNS] = {"json_extract(%c%u.data, '$.a')",
                                                      "(%c%u.data ->> '$.b')",
                                                      "%c%u.type",
                                                      "%c%u.position",
                                                      "%c%u.stream",
                                                      "%c%u.version"};
    const char *name = events[column % EVENT_COLUMNS];
    if (scope->letter[input] != 'e') {
        dbk_buf_append_format(sql, "%c%u.%c%u", scope->alias, input, scope->letter[input], column);
        return;
    }
    for (; *name != '\0'; name++) {
        if (name[0] != '%') {
            dbk_buf_append_char(sql, *name);
            continue;
        }
        dbk_buf_append_format(sql, "%c%u", scope->alias, input);
        name += strlen("%c%u") - 1;
    }
}

static void append_column(struct world *world, struct dbk_buf *sql)
{
    const struct scope *scope = world->scope;
    if (scope->around != NULL && make_one_in(world, 3))
        scope = scope->around;
    unsigned input = make_below(world, scope->count);
    append_name(sql, scope, input, make_below(world, scope->columns[input]));
}

static void append_scalar(struct world *world, struct dbk_buf *sql, unsigned depth);
static void append_test(struct world *world, struct dbk_buf *sql, unsigned depth);
static void append_query(struct world *world, struct dbk_buf *sql, unsigned outputs);
static void append_from(struct world *world, struct dbk_buf *sql);

static void append_aggregate(struct world *world, struct dbk_buf *sql)
{
    static const char *const names[] = {"count", "sum", "avg", "min", "max", "total"};
    static const char *const whole[] = {"count", "min", "max"};
    if (make_one_in(world, 5)) {
        dbk_buf_append_text(sql, "count(*)");
        return;
    }
    if (world->nested && make_one_in(world, 3)) {
        dbk_buf_append_text(sql, "sum(CAST(");
        append_column(world, sql);
        dbk_buf_append_text(sql, " AS INTEGER))");
        return;
    }
    dbk_buf_append_format(sql, "%s(", world->nested ? PICK(world, whole) : PICK(world, names));
    if (make_one_in(world, 8))
        dbk_buf_append_text(sql, "DISTINCT ");
    append_scalar(world, sql, make_below(world, 2));
    dbk_buf_append_text(sql, ")");
}

/* (SELECT … FROM … WHERE …), with columns from around or without. */
static void append_subquery(struct world *world, struct dbk_buf *sql, bool aggregate, bool value)
{
    struct scope *before = world->scope;
    struct scope scope = {.alias = (char)(before->alias + 1),
                          .count = 1 + make_one_in(world, 4),
                          .around = make_one_in(world, 4) ? NULL : before};
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
    switch (make_below(world, 4)) {
    case 0:
        dbk_buf_append_text(sql, make_one_in(world, 2) ? "EXISTS " : "NOT EXISTS ");
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
        append_subquery(world, sql, make_one_in(world, 6), true);
        break;
    }
}

static void append_test(struct world *world, struct dbk_buf *sql, unsigned depth)
{
    static const char *const operators[] = {"=", "<", ">=", "<>", "IS DISTINCT FROM"};
    if (world->nested && world->depth > 0 && make_one_in(world, 3)) {
        append_asking(world, sql);
        return;
    }
    switch (depth == 0 ? 0 : make_below(world, 7)) {
    case 1:
        append_scalar(world, sql, depth - 1);
        dbk_buf_append_text(sql, make_one_in(world, 2) ? " IS NULL" : " IS NOT NULL");
        break;
    case 2:
        dbk_buf_append_text(sql, "(");
        append_test(world, sql, depth - 1);
        dbk_buf_append_text(sql, make_one_in(world, 2) ? " OR " : " AND ");
        append_test(world, sql, depth - 1);
        dbk_buf_append_text(sql, ")");
        break;
    case 3:
        append_scalar(world, sql, depth - 1);
        dbk_buf_append_text(sql, make_one_in(world, 2) ? " IN (1, 'a', 2)" : " NOT IN (0, 3)");
        break;
    case 4:
        append_scalar(world, sql, depth - 1);
        dbk_buf_append_text(sql,
                            make_one_in(world, 2) ? " BETWEEN 0 AND 3" : " NOT BETWEEN 1 AND 2");
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
    if (world->nested && world->depth > 0 && make_one_in(world, 25)) {
        append_subquery(world, sql, true, true);
        return;
    }
    switch (depth == 0 ? make_below(world, 4) : make_below(world, 9)) {
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
        dbk_buf_append_text(sql, make_one_in(world, 2) ? " ELSE 7 END" : " END");
        break;
    case 6:
        dbk_buf_append_text(sql, "coalesce(");
        append_scalar(world, sql, depth - 1);
        dbk_buf_append_text(sql, ", 'none')");
        break;
    case 7:
        dbk_buf_append_text(sql, "CAST(");
        append_column(world, sql);
        dbk_buf_append_text(sql, make_one_in(world, 2) ? " AS INTEGER)" : " AS TEXT)");
        break;
    default:
        append_column(world, sql);
        break;
    }
}

/* ---- FROM ---- */

/* A table, a name of WITH, or a SELECT. */
static void append_input(struct world *world, struct dbk_buf *sql, unsigned i, bool natural)
{
    struct scope *scope = world->scope;
    unsigned t = make_below(world, world->table_count);
    scope->letter[i] = 'o';
    if (world->events && !natural && make_one_in(world, 2)) {
        scope->letter[i] = 'e';
        scope->columns[i] = EVENT_COLUMNS;
        dbk_buf_append_text(sql, "events");
    } else if (world->over > 0 && make_one_in(world, 2)) {
        scope->columns[i] = world->over;
        dbk_buf_append_text(sql, "v");
    } else if (world->nested && world->with_count > 0 && make_one_in(world, 3)) {
        unsigned with = make_below(world, world->with_count);
        scope->columns[i] = world->withs[with];
        dbk_buf_append_format(sql, "w%u", with);
    } else if (world->nested && world->depth > 0 && make_one_in(world, 2)) {
        scope->columns[i] = 1 + make_below(world, 3);
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

/* Which events are meant: what the store looks up. */
static void append_types(struct world *world, struct dbk_buf *sql, const char *before)
{
    static const char *const ways[] = {"type = 'a'", "type IN ('a', '2')", "category = 's'",
                                       "stream = 's-1'"};
    const struct scope *scope = world->scope;
    for (unsigned i = 0; i < scope->count; i++) {
        if (scope->letter[i] != 'e' || make_one_in(world, 2))
            continue;
        unsigned way = make_below(world, 5);
        dbk_buf_append_format(sql, "%s%c%u.", before, scope->alias, i);
        if (way == 4)
            dbk_buf_append_format(sql, "type = 'b' AND %c%u.category = 's'", scope->alias, i);
        else
            dbk_buf_append_text(sql, ways[way]);
        before = " AND ";
    }
}

static void append_from(struct world *world, struct dbk_buf *sql)
{
    struct scope *scope = world->scope;
    const struct scope *around = scope->around;
    static const char *const outers[] = {" LEFT JOIN ", " RIGHT JOIN ", " FULL JOIN "};
    bool any = world->nested && make_one_in(world, 2); /* kinds of joins, in any order */
    bool outer = false;
    for (unsigned i = 0; i < scope->count; i++) {
        outer = outer || (i > 0 && make_one_in(world, 4));
        bool natural = i == 1 && make_one_in(world, 14);
        dbk_buf_append_text(sql, natural ? " NATURAL" : "");
        dbk_buf_append_text(sql, i == 0         ? " FROM "
                                 : outer && any ? PICK(world, outers)
                                 : outer        ? " LEFT JOIN "
                                                : " JOIN ");
        outer = outer && !any;
        append_input(world, sql, i, natural);
        if (i == 0 || natural)
            continue;
        unsigned other = make_below(world, i);
        if (i == 1 && scope->letter[0] == scope->letter[1] && scope->letter[0] != 'e' &&
            make_one_in(world, 5)) {
            dbk_buf_append_format(sql, " USING (%c0)", scope->letter[0]);
            continue;
        }
        dbk_buf_append_text(sql, " ON ");
        append_name(sql, scope, other, make_below(world, least(2, scope->columns[other])));
        dbk_buf_append_text(sql, " = ");
        append_name(sql, scope, i, make_below(world, least(2, scope->columns[i])));
    }
    if (around != NULL) {
        unsigned other = make_below(world, around->count);
        dbk_buf_append_text(sql, " WHERE ");
        append_name(sql, scope, 0, 0);
        dbk_buf_append_text(sql, " = ");
        append_name(sql, around, other, make_below(world, around->columns[other]));
        dbk_buf_append_text(sql, " AND ");
        append_test(world, sql, 1);
    } else if (make_one_in(world, 2)) {
        dbk_buf_append_text(sql, " WHERE ");
        append_test(world, sql, 2);
    } else {
        append_types(world, sql, " WHERE ");
        return;
    }
    append_types(world, sql, " AND ");
}

/* ---- SELECTs ---- */

static void append_outputs(struct world *world, struct dbk_buf *sql, unsigned count, bool alike)
{
    for (unsigned i = 0; i < count; i++) {
        dbk_buf_append_text(sql, i > 0 ? ", " : " ");
        dbk_buf_append_text(sql, alike ? "coalesce(" : "");
        append_scalar(world, sql, make_below(world, 3));
        dbk_buf_append_format(sql, alike ? ", NULL) AS o%u" : " AS o%u", i);
    }
}

/* Columns first and FROM behind, but FROM says which columns there are. */
static void append_plain(struct world *world, struct dbk_buf *sql, unsigned outputs, bool alike,
                         const char *select)
{
    struct scope scope = {.alias = 'x', .count = 1 + make_below(world, INPUTS_MAX)};
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

static void append_all_columns(struct world *world, struct dbk_buf *sql)
{
    const struct scope *scope = world->scope;
    for (unsigned i = 0; i < scope->count; i++) {
        for (unsigned j = 0; j < scope->columns[i]; j++) {
            dbk_buf_append_text(sql, i + j > 0 ? ", " : "");
            append_name(sql, scope, i, j);
        }
    }
}

/* A function over a partition; where it shows which row comes first, no two are alike. */
static void append_window(struct world *world, struct dbk_buf *sql, struct dbk_slice partition)
{
    static const char *const ranks[] = {"rank()", "dense_rank()", "count(*)"};
    static const char *const rows[] = {"row_number()", "ntile(2)"};
    static const char *const frames[] = {"", " ROWS BETWEEN 1 PRECEDING AND CURRENT ROW",
                                         " ROWS UNBOUNDED PRECEDING",
                                         " ROWS BETWEEN 1 FOLLOWING AND 2 FOLLOWING"};
    static const char *const values[] = {"max(", "min(", "count(", "lag(", "lead("};
    unsigned kind = make_below(world, 3);
    dbk_buf_append_text(sql, kind == 0 ? PICK(world, ranks) : kind == 1 ? PICK(world, rows) : "");
    if (kind == 2) {
        dbk_buf_append_text(sql, PICK(world, values));
        append_column(world, sql);
        dbk_buf_append_text(sql, ")");
    }
    dbk_buf_append_text(sql, " OVER (PARTITION BY ");
    dbk_buf_append(sql, partition);
    if (make_one_in(world, 3)) {
        dbk_buf_append_text(sql, ", ");
        append_column(world, sql);
    }
    dbk_buf_append_text(sql, " ORDER BY ");
    if (kind == 0)
        append_column(world, sql);
    else
        append_all_columns(world, sql);
    dbk_buf_append_text(sql, kind == 2 ? PICK(world, frames) : "");
    dbk_buf_append_text(sql, ")");
}

static void append_windowed(struct world *world, struct dbk_buf *sql, unsigned outputs, bool alike)
{
    struct scope scope = {.alias = 'x', .count = 1 + make_below(world, INPUTS_MAX)};
    struct scope *before = world->scope;
    struct dbk_buf from;
    struct dbk_buf partition;
    dbk_buf_init(&from, SQL_SIZE_MAX);
    dbk_buf_init(&partition, SQL_SIZE_MAX);
    world->scope = &scope;
    append_from(world, &from);
    append_column(world, &partition);
    dbk_buf_append_text(sql, make_one_in(world, 6) ? "SELECT DISTINCT" : "SELECT");
    for (unsigned i = 0; i < outputs; i++) {
        dbk_buf_append_text(sql, i > 0 ? ", " : " ");
        dbk_buf_append_text(sql, alike ? "coalesce(" : "");
        if (i + 1 == outputs || make_one_in(world, 4))
            append_window(world, sql, dbk_buf_slice(&partition));
        else
            append_column(world, sql);
        dbk_buf_append_format(sql, alike ? ", NULL) AS o%u" : " AS o%u", i);
    }
    dbk_buf_append(sql, dbk_buf_slice(&from));
    dbk_buf_release(&from);
    dbk_buf_release(&partition);
    world->scope = before;
}

static void append_grouped(struct world *world, struct dbk_buf *sql, unsigned outputs, bool alike)
{
    unsigned keys = make_below(world, 3);
    struct scope scope = {.alias = 'x', .count = 1 + make_below(world, INPUTS_MAX)};
    struct scope *before = world->scope;
    struct dbk_buf from;
    struct dbk_buf key[2];
    keys = keys > outputs ? outputs : keys;
    dbk_buf_init(&from, SQL_SIZE_MAX);
    world->scope = &scope;
    append_from(world, &from);
    for (unsigned i = 0; i < 2; i++) {
        dbk_buf_init(&key[i], SQL_SIZE_MAX);
        if (make_one_in(world, 3))
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
        if (i >= keys && make_one_in(world, 4))
            dbk_buf_append_text(sql, make_one_in(world, 2) ? " + 1" : " || 'x'");
        dbk_buf_append_format(sql, alike ? ", NULL) AS o%u" : " AS o%u", i);
    }
    dbk_buf_append(sql, dbk_buf_slice(&from));
    for (unsigned i = 0; i < keys; i++) {
        dbk_buf_append_text(sql, i > 0 ? ", " : " GROUP BY ");
        if (make_one_in(world, 4) && !alike)
            dbk_buf_append_format(sql, "%u", i + 1);
        else
            dbk_buf_append(sql, dbk_buf_slice(&key[i]));
    }
    if (keys > 0 && make_one_in(world, 3)) {
        dbk_buf_append_text(sql, " HAVING ");
        append_aggregate(world, sql);
        dbk_buf_append_text(sql, make_one_in(world, 2) ? " > 1" : " <> 2");
    }
    for (unsigned i = 0; i < 2; i++)
        dbk_buf_release(&key[i]);
    dbk_buf_release(&from);
    world->scope = before;
}

/* alike: columns without affinity, as those of the other SELECTs that it is put together with. */
static void append_one(struct world *world, struct dbk_buf *sql, unsigned outputs, bool alike)
{
    switch (make_below(world, 6)) {
    case 5:
        append_windowed(world, sql, outputs, alike);
        break;
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
    unsigned branches = make_one_in(world, 3) ? 2 + make_one_in(world, 3) : 1;
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
    unsigned first = make_below(world, outputs);
    bool all = make_one_in(world, 2);
    world->ordered = all;
    dbk_buf_append_text(sql, " ORDER BY ");
    for (unsigned i = 0; i < (all ? outputs : 1); i++) {
        dbk_buf_append_text(sql, i > 0 ? ", " : "");
        unsigned output = first + i < outputs ? first + i : first + i - outputs;
        bool number = make_one_in(world, 3);
        dbk_buf_append_format(sql, number ? "%u" : "o%u", number ? output + 1 : output);
        dbk_buf_append_text(sql, PICK(world, ways));
    }
    if (!all || make_one_in(world, 3))
        return;
    world->limit = 1 + make_below(world, 12);
    dbk_buf_append_format(sql, " LIMIT %u", world->limit);
    if (make_one_in(world, 3)) {
        world->offset = make_below(world, 4);
        dbk_buf_append_format(sql, " OFFSET %u", world->offset);
    }
}

static void make_nested(struct world *world)
{
    struct dbk_buf *sql = &world->select;
    unsigned withs = make_one_in(world, 3) ? 1 + make_below(world, 2) : 0;
    world->rows_only = false;
    for (unsigned i = 0; i < withs; i++) {
        world->depth = 1;
        world->withs[i] = 1 + make_below(world, 3);
        dbk_buf_append_format(sql, i > 0 ? ", w%u AS (" : "WITH w%u AS (", i);
        append_query(world, sql, world->withs[i]);
        dbk_buf_append_text(sql, i + 1 < withs ? ")" : ") ");
        world->with_count = i + 1;
    }
    world->depth = 1 + make_below(world, 3);
    unsigned outputs = 1 + make_below(world, 4);
    world->outputs = outputs;
    append_query(world, sql, outputs);
    if (make_one_in(world, 4))
        append_order(world, outputs);
}

void make_select(struct world *world)
{
    struct dbk_buf *sql = &world->select;
    unsigned branches = 1;
    unsigned outputs = 1 + make_below(world, 4);
    unsigned shape = make_below(world, 10);
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
        branches = 2 + make_below(world, 2);
    for (unsigned i = 0; i < branches; i++) {
        dbk_buf_append_text(sql, i > 0 ? " UNION ALL " : "");
        append_plain(world, sql, outputs, false, shape == 4 ? "SELECT DISTINCT" : "SELECT");
    }
}

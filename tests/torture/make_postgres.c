/* SPDX-License-Identifier: Apache-2.0 */
#include "make_postgres.h"

#include <string.h>

static const char *const type_names[] = {"bigint", "numeric", "text", "double precision",
                                         "boolean"};

static uint64_t next_random(struct maker *maker)
{
    uint64_t x = maker->random += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

unsigned maker_below(struct maker *maker, unsigned limit)
{
    return (unsigned)(next_random(maker) % limit);
}

bool maker_one_in(struct maker *maker, unsigned count)
{
    return maker_below(maker, count) == 0;
}

#define PICK(maker, items) ((items)[maker_below(maker, sizeof(items) / sizeof((items)[0]))])

/* ---- Tables and changes ---- */

static void append_constant(struct maker *maker, struct dbk_buf *sql, enum type type, bool null)
{
    static const char *const numbers[] = {"0.5", "1.25", "2", "3.00", "-1", "0", "2.125"};
    static const char *const reals[] = {"0.5", "0.25", "2", "-1.5", "0", "1"};
    static const char *const words[] = {"'a'", "'b'", "'ab'", "''", "'1'", "'it''s'"};
    if (null && maker_one_in(maker, 4)) {
        dbk_buf_append_format(sql, "NULL::%s", type_names[type]);
        return;
    }
    if (type == WHOLE)
        dbk_buf_append_format(sql, "%d::bigint", (int)maker_below(maker, 7) - 1);
    else if (type == NUMBER)
        dbk_buf_append_format(sql, "%s::numeric",
                              null && maker_one_in(maker, 60) ? "'NaN'" : PICK(maker, numbers));
    else if (type == REAL)
        dbk_buf_append_format(sql, "%s::double precision", PICK(maker, reals));
    else if (type == FLAG)
        dbk_buf_append_text(sql, maker_one_in(maker, 2) ? "true" : "false");
    else
        dbk_buf_append_format(sql, "%s::text", PICK(maker, words));
}

void maker_tables(struct maker *maker, struct dbk_buf *sql)
{
    maker->table_count = 1 + maker_below(maker, TABLES_MAX);
    for (unsigned i = 0; i < maker->table_count; i++) {
        struct table *table = &maker->tables[i];
        table->columns = 2 + maker_below(maker, COLUMNS_MAX - 1);
        table->key = maker_one_in(maker, 3) ? 2 : 1;
        dbk_buf_append_format(sql, "CREATE TABLE t%u (", i);
        for (unsigned j = 0; j < table->columns; j++) {
            table->types[j] = j == 0 ? WHOLE : (enum type)maker_below(maker, TYPE_COUNT);
            dbk_buf_append_format(sql, "a%u %s%s, ", j, type_names[table->types[j]],
                                  j < table->key ? " NOT NULL" : "");
        }
        dbk_buf_append_text(sql, table->key == 2 ? "PRIMARY KEY (a1, a0));" : "PRIMARY KEY (a0));");
        if (maker_one_in(maker, 2))
            dbk_buf_append_format(sql, "CREATE INDEX ON t%u (a1);", i);
    }
}

/* base: of the first column's values, so that two sessions never want one row. */
void maker_change(struct maker *maker, struct dbk_buf *sql, unsigned base)
{
    unsigned t = maker_below(maker, maker->table_count);
    const struct table *table = &maker->tables[t];
    unsigned j = maker_below(maker, table->columns);
    switch (maker_below(maker, 9)) {
    case 0:
        dbk_buf_append_format(sql, "DELETE FROM t%u WHERE a0 / 100 = %u AND a%u = ", t, base / 100,
                              j);
        append_constant(maker, sql, table->types[j], false);
        break;
    case 1:
        dbk_buf_append_format(sql, "DELETE FROM t%u WHERE a0 / 100 = %u AND a0 %% 5 = %u", t,
                              base / 100, maker_below(maker, 5));
        break;
    case 2:
    case 3:
        if (table->key == table->columns)
            return;
        j = table->key + maker_below(maker, table->columns - table->key);
        dbk_buf_append_format(sql, "UPDATE t%u SET a%u = ", t, j);
        append_constant(maker, sql, table->types[j], true);
        dbk_buf_append_format(sql, " WHERE a0 / 100 = %u AND a0 %% 4 = %u", base / 100,
                              maker_below(maker, 4));
        break;
    case 4: /* All at once: keys change places. */
        dbk_buf_append_format(
            sql,
            "UPDATE t%u SET a0 = -1 - a0 WHERE a0 / 100 = %u; UPDATE t%u SET a0 = "
            "%u + (-1 - a0 + %u) %% 40 WHERE a0 < 0",
            t, base / 100, t, base, maker_below(maker, 40));
        break;
    default:
        dbk_buf_append_format(sql, "INSERT INTO t%u VALUES (%u", t, base + maker_below(maker, 40));
        for (j = 1; j < table->columns; j++) {
            dbk_buf_append_text(sql, ", ");
            append_constant(maker, sql, table->types[j], j >= table->key);
        }
        dbk_buf_append_text(sql, ") ON CONFLICT");
        if (maker_one_in(maker, 2) || table->key == table->columns) {
            dbk_buf_append_text(sql, " DO NOTHING");
            break;
        }
        j = table->columns - 1;
        dbk_buf_append_format(sql, " (%s) DO UPDATE SET a%u = ", table->key == 2 ? "a1, a0" : "a0",
                              j);
        append_constant(maker, sql, table->types[j], true);
        break;
    }
    dbk_buf_append_text(sql, ";");
}

void maker_batch(struct maker *maker, struct dbk_buf *sql, unsigned changes)
{
    dbk_buf_append_text(sql, "BEGIN;");
    for (unsigned i = 0; i < changes; i++) {
        bool back = maker_one_in(maker, 8);
        dbk_buf_append_text(sql, back ? "SAVEPOINT s;" : "");
        maker_change(maker, sql, 0);
        dbk_buf_append_text(sql, back ? "ROLLBACK TO s;" : "");
    }
    if (!maker->others && maker_one_in(maker, 30))
        dbk_buf_append_format(sql, "TRUNCATE t%u;", maker_below(maker, maker->table_count));
    dbk_buf_append_text(sql, maker_one_in(maker, 12) ? "ROLLBACK;" : "COMMIT;");
}

/* ---- Expressions ---- */

static void append_query(struct maker *maker, struct dbk_buf *sql, const enum type *types,
                         unsigned count, unsigned depth);
static void append_test(struct maker *maker, struct dbk_buf *sql, unsigned depth);
static void append_scalar(struct maker *maker, struct dbk_buf *sql, enum type type, unsigned depth);

/* A column of a type, where there is one; else a constant. */
static void append_column(struct maker *maker, struct dbk_buf *sql, enum type type)
{
    const struct scope *scope = maker->scope;
    if (scope->around != NULL && maker_one_in(maker, 3))
        scope = scope->around;
    for (unsigned tries = 0; tries < 8; tries++) {
        unsigned input = maker_below(maker, scope->count);
        unsigned column = maker_below(maker, scope->columns[input]);
        if (scope->types[input][column] != type)
            continue;
        dbk_buf_append_format(sql, "%c%u.%c%u", scope->alias, input, scope->letter[input], column);
        return;
    }
    append_constant(maker, sql, type, false);
}

static void append_value(struct maker *maker, struct dbk_buf *sql, enum type type, unsigned depth)
{
    static const char *const signs[] = {"+", "-", "*"};
    unsigned kind = maker_below(maker, depth == 0 ? 4 : 10);
    if (depth > 0 && maker_one_in(maker, 25)) {
        append_scalar(maker, sql, type, depth - 1);
    } else if (kind < 3) {
        append_column(maker, sql, type);
    } else if (kind == 3) {
        append_constant(maker, sql, type, maker_one_in(maker, 5));
    } else if (kind == 4) {
        dbk_buf_append_text(sql, "CASE WHEN ");
        append_test(maker, sql, 0);
        dbk_buf_append_text(sql, " THEN ");
        append_value(maker, sql, type, depth - 1);
        dbk_buf_append_text(sql, " ELSE ");
        append_value(maker, sql, type, depth - 1);
        dbk_buf_append_text(sql, " END");
    } else if (kind == 5) {
        dbk_buf_append_text(sql, maker_one_in(maker, 2) ? "coalesce(" : "nullif(");
        append_value(maker, sql, type, depth - 1);
        dbk_buf_append_text(sql, ", ");
        append_value(maker, sql, type, depth - 1);
        dbk_buf_append_text(sql, ")");
    } else if (type == WORD) {
        dbk_buf_append_text(sql, kind == 6 ? "upper(" : "(");
        append_value(maker, sql, type, depth - 1);
        if (kind > 6) {
            dbk_buf_append_text(sql, " || ");
            append_value(maker, sql, type, depth - 1);
        }
        dbk_buf_append_text(sql, ")");
    } else if (type == FLAG) {
        dbk_buf_append_text(sql, "(");
        append_test(maker, sql, depth - 1);
        dbk_buf_append_text(sql, ")");
    } else if (kind == 6) {
        dbk_buf_append_text(sql, type == WHOLE ? "length(" : "(");
        append_value(maker, sql, type == WHOLE ? WORD : WHOLE, depth - 1);
        dbk_buf_append_text(sql, type == WHOLE  ? ")::bigint"
                                 : type == REAL ? ")::double precision"
                                                : ")::numeric(12, 3)");
    } else {
        dbk_buf_append_text(sql, "(");
        append_value(maker, sql, type, depth - 1);
        dbk_buf_append_format(sql, " %s ", PICK(maker, signs));
        append_value(maker, sql, type, 0);
        dbk_buf_append_text(sql, ")");
    }
}

static void append_test(struct maker *maker, struct dbk_buf *sql, unsigned depth)
{
    static const char *const signs[] = {
        "=", "<>", "<", "<=", ">", "=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"};
    enum type type = (enum type)maker_below(maker, TYPE_COUNT);
    unsigned kind = maker_below(maker, depth == 0 ? 6 : 10);
    switch (kind) {
    case 4:
        append_value(maker, sql, type, 0);
        dbk_buf_append_text(sql, maker_one_in(maker, 2) ? " IS NULL" : " IS NOT NULL");
        break;
    case 5:
        append_value(maker, sql, type, 0);
        dbk_buf_append_text(sql, maker_one_in(maker, 2) ? " IN (" : " NOT IN (");
        append_constant(maker, sql, type, true);
        dbk_buf_append_text(sql, ", ");
        append_constant(maker, sql, type, false);
        dbk_buf_append_text(sql, ")");
        break;
    case 6:
        dbk_buf_append_text(sql, maker_one_in(maker, 3) ? "NOT (" : "(");
        append_test(maker, sql, depth - 1);
        dbk_buf_append_text(sql, maker_one_in(maker, 2) ? " OR " : " AND ");
        append_test(maker, sql, depth - 1);
        dbk_buf_append_text(sql, ")");
        break;
    case 7:
        dbk_buf_append_text(sql, maker_one_in(maker, 2) ? "EXISTS (" : "NOT EXISTS (");
        append_query(maker, sql, &type, 1, depth - 1);
        dbk_buf_append_text(sql, ")");
        break;
    case 8:
        append_value(maker, sql, type, 0);
        dbk_buf_append_text(sql, maker_one_in(maker, 2) ? " IN (" : " NOT IN (");
        append_query(maker, sql, &type, 1, depth - 1);
        dbk_buf_append_text(sql, ")");
        break;
    default:
        append_value(maker, sql, type, depth > 0 ? 1 : 0);
        dbk_buf_append_format(sql, " %s ", PICK(maker, signs));
        append_value(maker, sql, type, 0);
        break;
    }
}

/* ---- FROM ---- */

static void append_input(struct maker *maker, struct dbk_buf *sql, struct scope *scope,
                         unsigned input, unsigned depth)
{
    enum type types[COLUMNS_MAX];
    const struct columns *named =
        maker->with_count > 0 ? &maker->withs[maker_below(maker, maker->with_count)] : NULL;
    bool view = maker->view.count > 0 && maker_one_in(maker, 2);
    if (view || (named != NULL && maker_one_in(maker, 3))) {
        const struct columns *read = view ? &maker->view : named;
        scope->columns[input] = read->count;
        scope->letter[input] = 'o';
        memcpy(scope->types[input], read->types, sizeof(read->types));
        if (view)
            dbk_buf_append_format(sql, "v AS %c%u", scope->alias, input);
        else
            dbk_buf_append_format(sql, "w%u AS %c%u", (unsigned)(named - maker->withs),
                                  scope->alias, input);
        return;
    }
    if (depth == 0 || maker_one_in(maker, 2)) {
        unsigned t = maker_below(maker, maker->table_count);
        const struct table *table = &maker->tables[t];
        scope->columns[input] = table->columns;
        scope->letter[input] = 'a';
        memcpy(scope->types[input], table->types, sizeof(table->types));
        dbk_buf_append_format(sql, "t%u AS %c%u", t, scope->alias, input);
        return;
    }
    unsigned count = 1 + maker_below(maker, 3);
    for (unsigned i = 0; i < count; i++)
        types[i] = (enum type)maker_below(maker, TYPE_COUNT);
    struct scope *before = maker->scope;
    maker->scope = NULL; /* A subquery in FROM sees nothing of what is around it. */
    dbk_buf_append_text(sql, "(");
    append_query(maker, sql, types, count, depth - 1);
    dbk_buf_append_format(sql, ") AS %c%u", scope->alias, input);
    maker->scope = before;
    scope->columns[input] = count;
    scope->letter[input] = 'o';
    memcpy(scope->types[input], types, sizeof(types));
}

static void append_from(struct maker *maker, struct dbk_buf *sql, struct scope *scope,
                        unsigned depth)
{
    static const char *const joins[] = {" JOIN ", " JOIN ", " LEFT JOIN ", " RIGHT JOIN ",
                                        " FULL JOIN "};
    unsigned count = 1 + (maker_one_in(maker, 2) ? maker_below(maker, INPUTS_MAX) : 0);
    const struct scope *around = scope->around;
    dbk_buf_append_text(sql, " FROM ");
    for (unsigned i = 0; i < count; i++) {
        if (i == 0 || maker_one_in(maker, 6)) {
            dbk_buf_append_text(sql, i > 0 ? " CROSS JOIN " : "");
            append_input(maker, sql, scope, i, depth);
            scope->count = i + 1;
            continue;
        }
        const char *join = PICK(maker, joins);
        bool full = strcmp(join, " FULL JOIN ") == 0;
        dbk_buf_append_text(sql, join);
        append_input(maker, sql, scope, i, depth);
        if (i == 1 && scope->letter[0] == scope->letter[1] &&
            scope->types[0][0] == scope->types[1][0] && maker_one_in(maker, 6)) {
            dbk_buf_append_format(sql, " USING (%c0)", scope->letter[0]);
            scope->count = 2;
            continue;
        }
        /* ON names what stands before it. FULL JOIN wants a comparison that can be merged. */
        unsigned j = maker_below(maker, i);
        unsigned left = 0;
        unsigned right = 0;
        bool found = false;
        for (left = 0; left < scope->columns[j] && !found; left++) {
            for (right = 0; right < scope->columns[i] && !found; right++)
                found = scope->types[j][left] == scope->types[i][right];
        }
        scope->count = i + 1;
        scope->around = NULL;
        if (found)
            dbk_buf_append_format(sql, " ON %c%u.%c%u = %c%u.%c%u", scope->alias, j,
                                  scope->letter[j], left - 1, scope->alias, i, scope->letter[i],
                                  right - 1);
        else
            dbk_buf_append_text(sql, full ? " ON TRUE" : " ON 1 = 1");
        if (!full && maker_one_in(maker, 3)) {
            dbk_buf_append_text(sql, " AND ");
            append_test(maker, sql, 0);
        }
        scope->around = around;
    }
}

static void append_filter(struct maker *maker, struct dbk_buf *sql)
{
    if (!maker_one_in(maker, 6))
        return;
    dbk_buf_append_text(sql, " FILTER (WHERE ");
    append_test(maker, sql, 0);
    dbk_buf_append_text(sql, ")");
}

static void append_aggregate(struct maker *maker, struct dbk_buf *sql, enum type type)
{
    static const char *const ends[] = {"min(", "max("};
    static const char *const flags[] = {"bool_and(", "bool_or("};
    if (type == WHOLE && maker_one_in(maker, 6)) {
        dbk_buf_append_text(sql, "count(*)");
    } else if (type == WHOLE && maker_one_in(maker, 5)) {
        dbk_buf_append_text(sql, maker_one_in(maker, 4) ? "count(DISTINCT " : "count(");
        append_value(maker, sql, (enum type)maker_below(maker, TYPE_COUNT), 1);
        dbk_buf_append_text(sql, ")");
    } else if (type == REAL && !maker_one_in(maker, 3)) {
        dbk_buf_append_text(sql, "sum(");
        append_value(maker, sql, REAL, 0);
        dbk_buf_append_text(sql, ")");
    } else if (type == NUMBER && !maker_one_in(maker, 3)) {
        dbk_buf_append_text(sql, maker_one_in(maker, 2) ? "sum(" : "avg(");
        dbk_buf_append_text(sql, maker_one_in(maker, 8) ? "DISTINCT " : "");
        append_value(maker, sql, maker_one_in(maker, 2) ? NUMBER : WHOLE, 1);
        dbk_buf_append_text(sql, ")");
    } else {
        dbk_buf_append_text(sql, type == FLAG ? PICK(maker, flags) : PICK(maker, ends));
        append_value(maker, sql, type, 1);
        dbk_buf_append_text(sql, ")");
    }
    append_filter(maker, sql);
}

/* (SELECT max(…) FROM … WHERE …), with columns from around or without. */
static void append_scalar(struct maker *maker, struct dbk_buf *sql, enum type type, unsigned depth)
{
    struct scope *before = maker->scope;
    struct scope scope = {.alias = (char)('b' + maker->names++ % 24)};
    struct dbk_buf from;
    dbk_buf_init(&from, SQL_SIZE_MAX);
    maker->scope = &scope;
    append_from(maker, &from, &scope, depth);
    /* An aggregate of columns from around would be that SELECT's. */
    dbk_buf_append_text(sql, "(SELECT ");
    append_aggregate(maker, sql, type);
    dbk_buf_append(sql, dbk_buf_slice(&from));
    scope.around = maker_one_in(maker, 3) ? NULL : before;
    if (scope.around != NULL || maker_one_in(maker, 2)) {
        dbk_buf_append_text(sql, " WHERE ");
        append_test(maker, sql, 0);
    }
    dbk_buf_append_text(sql, ")");
    dbk_buf_release(&from);
    maker->scope = before;
}

/* ---- Windows ---- */

static void append_all_columns(struct maker *maker, struct dbk_buf *sql)
{
    const struct scope *scope = maker->scope;
    for (unsigned i = 0; i < scope->count; i++) {
        for (unsigned j = 0; j < scope->columns[i]; j++)
            dbk_buf_append_format(sql, i + j > 0 ? ", %c%u.%c%u" : "%c%u.%c%u", scope->alias, i,
                                  scope->letter[i], j);
    }
}

/* Some column, of any type. */
static void append_any(struct maker *maker, struct dbk_buf *sql)
{
    const struct scope *scope = maker->scope;
    unsigned input = maker_below(maker, scope->count);
    dbk_buf_append_format(sql, "%c%u.%c%u", scope->alias, input, scope->letter[input],
                          maker_below(maker, scope->columns[input]));
}

/* A function over a partition; where it shows which row comes first, no two are alike. */
static void append_window(struct maker *maker, struct dbk_buf *sql, enum type type,
                          struct dbk_slice partition)
{
    static const char *const ranks[] = {"rank()", "dense_rank()", "count(*)"};
    static const char *const rows[] = {"row_number()", "ntile(2)"};
    static const char *const frames[] = {
        " ROWS BETWEEN 1 PRECEDING AND CURRENT ROW", " ROWS UNBOUNDED PRECEDING",
        " ROWS BETWEEN 1 FOLLOWING AND 2 FOLLOWING", " GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW"};
    static const char *const values[] = {"lag(", "lead(", "first_value(", "last_value(", "max("};
    unsigned kind = maker_below(maker, 3);
    bool whole = type == WHOLE && kind < 2;
    bool sum = type == NUMBER && kind < 2;
    const char *function = PICK(maker, values);
    bool framed = strchr("fl", function[0]) != NULL && strstr(function, "_value") != NULL;
    if (type == FLAG && strcmp(function, "max(") == 0)
        function = "lag(";
    dbk_buf_append_text(sql, type == WHOLE ? "(" : "");
    if (whole) {
        dbk_buf_append_text(sql, kind == 0 ? PICK(maker, ranks) : PICK(maker, rows));
    } else {
        dbk_buf_append_text(sql, sum ? (kind == 0 ? "sum(" : "avg(") : function);
        append_value(maker, sql, sum && kind == 0 ? WHOLE : type, 0);
        dbk_buf_append_text(sql, ")");
    }
    dbk_buf_append_text(sql, " OVER (PARTITION BY ");
    dbk_buf_append(sql, partition);
    if (maker_one_in(maker, 3)) {
        dbk_buf_append_text(sql, ", ");
        append_any(maker, sql);
    }
    dbk_buf_append_text(sql, " ORDER BY ");
    if (whole && kind == 0)
        append_any(maker, sql);
    else
        append_all_columns(maker, sql);
    if (!whole && (framed || maker_one_in(maker, 2)))
        dbk_buf_append_text(sql, frames[maker_below(maker, framed ? 3 : 4)]);
    dbk_buf_append_text(sql, type == WHOLE ? "))::bigint" : ")");
}

static void append_windowed(struct maker *maker, struct dbk_buf *sql, const enum type *types,
                            unsigned count)
{
    struct dbk_buf partition;
    unsigned windows = maker_below(maker, count);
    dbk_buf_init(&partition, SQL_SIZE_MAX);
    append_any(maker, &partition);
    for (unsigned i = 0; i < count; i++) {
        dbk_buf_append_text(sql, i > 0 ? ", " : "");
        if (i >= windows)
            append_window(maker, sql, types[i], dbk_buf_slice(&partition));
        else
            append_column(maker, sql, types[i]);
        dbk_buf_append_format(sql, " AS o%u", i);
    }
    dbk_buf_release(&partition);
}

/* ---- SELECTs ---- */

static void append_outputs(struct maker *maker, struct dbk_buf *sql, const enum type *types,
                           unsigned count, unsigned groups)
{
    for (unsigned i = 0; i < count; i++) {
        dbk_buf_append_text(sql, i > 0 ? ", " : "");
        if (i < groups)
            append_value(maker, sql, types[i], 1);
        else
            append_aggregate(maker, sql, types[i]);
        dbk_buf_append_format(sql, " AS o%u", i);
    }
}

static void append_select(struct maker *maker, struct dbk_buf *sql, const enum type *types,
                          unsigned count, unsigned depth)
{
    struct scope scope = {.alias = (char)('b' + maker->names++ % 24), .around = maker->scope};
    struct scope *before = maker->scope;
    struct dbk_buf from;
    unsigned kind = maker_below(maker, 5);
    unsigned groups = kind == 0 ? maker_below(maker, count + 1) : count;
    dbk_buf_init(&from, SQL_SIZE_MAX);
    maker->scope = &scope;
    append_from(maker, &from, &scope, depth);
    dbk_buf_append_text(sql, kind == 1 ? "SELECT DISTINCT " : "SELECT ");
    if (kind == 4)
        append_windowed(maker, sql, types, count);
    else
        append_outputs(maker, sql, types, count, groups);
    dbk_buf_append(sql, dbk_buf_slice(&from));
    if (maker_one_in(maker, 2)) {
        dbk_buf_append_text(sql, " WHERE ");
        append_test(maker, sql, depth);
    }
    for (unsigned i = 0; kind == 0 && i < groups; i++)
        dbk_buf_append_format(sql, i > 0 ? ", %u" : " GROUP BY %u", i + 1);
    if (kind == 0 && maker_one_in(maker, 4)) {
        dbk_buf_append_text(sql, " HAVING ");
        append_aggregate(maker, sql, WHOLE);
        dbk_buf_append_text(sql, " > 1");
    }
    if (from.rc < 0)
        sql->rc = from.rc;
    dbk_buf_release(&from);
    maker->scope = before;
}

static void append_query(struct maker *maker, struct dbk_buf *sql, const enum type *types,
                         unsigned count, unsigned depth)
{
    static const char *const words[] = {" UNION ALL ", " UNION ", " EXCEPT ", " INTERSECT ",
                                        " UNION ALL "};
    append_select(maker, sql, types, count, depth);
    if (!maker_one_in(maker, 5))
        return;
    dbk_buf_append_text(sql, PICK(maker, words));
    append_select(maker, sql, types, count, depth);
}

/* By some outputs, and with a LIMIT by all: which rows it shows must be certain. */
static void append_order(struct maker *maker, struct dbk_buf *sql)
{
    static const char *const ways[] = {"", " DESC", " NULLS FIRST", " DESC NULLS LAST", ""};
    unsigned count = maker->outputs.count;
    unsigned first = maker_below(maker, count);
    bool all = maker_one_in(maker, 2);
    maker->ordered = all;
    for (unsigned i = 0; i < (all ? count : 1); i++) {
        unsigned output = (first + i) % count;
        dbk_buf_append_text(sql, i > 0 ? ", " : " ORDER BY ");
        bool number = maker_one_in(maker, 3);
        dbk_buf_append_format(sql, number ? "%u" : "o%u", number ? output + 1 : output);
        dbk_buf_append_text(sql, PICK(maker, ways));
    }
    if (!all || maker_one_in(maker, 3))
        return;
    dbk_buf_append_format(sql, " LIMIT %u", 1 + maker_below(maker, 12));
    if (maker_one_in(maker, 3))
        dbk_buf_append_format(sql, " OFFSET %u", maker_below(maker, 4));
}

static void choose_outputs(struct maker *maker, struct columns *columns)
{
    columns->count = 1 + maker_below(maker, 4);
    for (unsigned i = 0; i < columns->count; i++)
        columns->types[i] = (enum type)maker_below(maker, TYPE_COUNT);
}

void maker_select(struct maker *maker, struct dbk_buf *sql)
{
    unsigned withs = maker_one_in(maker, 4) ? 1 + maker_below(maker, WITHS_MAX) : 0;
    maker->names = 0;
    maker->scope = NULL;
    maker->with_count = 0;
    maker->ordered = false;
    for (unsigned i = 0; i < withs; i++) {
        choose_outputs(maker, &maker->withs[i]);
        dbk_buf_append_format(sql, i > 0 ? ", w%u AS (" : "WITH w%u AS (", i);
        append_query(maker, sql, maker->withs[i].types, maker->withs[i].count, 1);
        dbk_buf_append_text(sql, i + 1 < withs ? ")" : ") ");
        maker->with_count = i + 1;
    }
    choose_outputs(maker, &maker->outputs);
    append_query(maker, sql, maker->outputs.types, maker->outputs.count, maker_below(maker, 4));
    if (maker_one_in(maker, 4))
        append_order(maker, sql);
}

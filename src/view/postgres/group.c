/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A group's difference in PostgreSQL: rows of the block with weights, summed up by key (g<n>), each
 * of which finds its stored row once, by an equality that indexes serve, or for keys with NULLs by
 * one that takes them for equal; all else goes by the stored row's number.
 */
#include <stdio.h>
#include <strings.h>

#include "view/postgres/state.h"

/* The number of decimals of a sum, from its count of values by theirs. */
#define DECIMALS "(length(%s::text) - 1) / 10"

static void append_same(struct dbk_buf *out, size_t key_count, const char *first,
                        const char *second, bool nulls)
{
    for (size_t i = 0; i < key_count; i++) {
        if (nulls)
            dbk_buf_append_format(out, " AND (%s%zu = %s%zu OR (%s%zu IS NULL AND %s%zu IS NULL))",
                                  first, i, second, i, first, i, second, i);
        else
            dbk_buf_append_format(out, " AND %s%zu = %s%zu", first, i, second, i);
    }
}

/* The first sum of the same argument, by whose number the difference's columns go. */
static size_t sum_of(const struct dbk_relation *group, size_t i)
{
    for (size_t j = 0; j < i; j++) {
        if (group->aggregates[j].kind == DBK_AGGREGATE_SUM &&
            group->aggregates[j].argument == group->aggregates[i].argument)
            return j;
    }
    return i;
}

/* ---- Summing up ---- */

static void append_terms(struct dbk_delta *delta, const struct dbk_relation *group)
{
    const struct dbk_relation *block = group->inputs[0];
    const struct dbk_emit emit = {.relation = block};
    struct dbk_buf *sql = &delta->sql;
    struct dbk_term term = {0};
    /* So that the columns have their types also where a term gives NULLs. */
    dbk_buf_append_text(sql, "SELECT 0 AS _daybook_w, * FROM (");
    dbk_layout_block(sql, block);
    dbk_buf_append_text(sql, ") AS b WHERE false");
    while (dbk_term_next(delta, block, &term)) {
        dbk_buf_append_text(sql, " UNION ALL SELECT ");
        dbk_term_weight(sql, &term);
        for (size_t i = 0; i < block->column_count; i++) {
            dbk_buf_append_text(sql, ", ");
            /* What is behind LEFT JOIN has no difference: the group is computed again. */
            if (block->outer != 0 && i >= group->key_count)
                dbk_buf_append_text(sql, "NULL");
            else
                dbk_emit_expression(sql, &emit, block->outputs[i]);
        }
        if (block->column_count == 0)
            dbk_buf_append_text(sql, ", 1");
        dbk_term_from(sql, &term);
    }
}

/* What one aggregate's slots change by. */
static void append_change(struct dbk_buf *out, const struct dbk_relation *group, size_t i)
{
    const struct dbk_aggregate *aggregate = &group->aggregates[i];
    size_t c = aggregate->argument;
    switch (aggregate->kind) {
    case DBK_AGGREGATE_COUNT:
        if (!aggregate->star)
            dbk_buf_append_format(
                out, ", sum(CASE WHEN c%zu IS NULL THEN 0 ELSE _daybook_w END)::bigint AS v%zu", c,
                i);
        break;
    case DBK_AGGREGATE_SUM:
        if (sum_of(group, i) != i)
            break;
        dbk_buf_append_format(
            out, ", sum(CASE WHEN c%zu IS NULL THEN 0 ELSE _daybook_w END)::bigint AS n%zu", c, i);
        if (aggregate->whole) {
            dbk_buf_append_format(out,
                                  ", coalesce(sum(_daybook_w * c%zu::numeric), 0) AS i%zu, false "
                                  "AS x%zu, 0::numeric AS a%zu",
                                  c, i, i, i);
            break;
        }
        dbk_buf_append_format(out,
                              ", coalesce(sum(_daybook_w * c%zu::numeric) FILTER (WHERE "
                              "scale(c%zu::numeric) <= " DBK_VIEW_SCALE_MAX "), 0) AS i%zu",
                              c, c, i);
        dbk_buf_append_format(
            out,
            ", coalesce(bool_or(c%zu IS NOT NULL AND (scale(c%zu::numeric) <= " DBK_VIEW_SCALE_MAX
            ") IS NOT TRUE), false) AS x%zu",
            c, c, i);
        dbk_buf_append_format(
            out,
            ", coalesce(sum(_daybook_w * ('1e' || 10 * scale(c%zu::numeric))::numeric) FILTER "
            "(WHERE scale(c%zu::numeric) <= " DBK_VIEW_SCALE_MAX "), 0) AS a%zu",
            c, c, i);
        break;
    case DBK_AGGREGATE_LEAST:
        dbk_buf_append_format(out,
                              ", %s(c%zu) FILTER (WHERE _daybook_w > 0) AS v%zu, %s(c%zu) FILTER "
                              "(WHERE _daybook_w < 0) AS x%zu",
                              aggregate->name, c, i, aggregate->name, c, i);
        break;
    case DBK_AGGREGATE_OTHER:
        break;
    }
}

static bool is_additive(const struct dbk_relation *group)
{
    for (size_t i = 0; i < group->aggregate_count; i++) {
        if (group->aggregates[i].kind == DBK_AGGREGATE_OTHER)
            return false;
    }
    return group->inputs[0]->outer == 0;
}

static void append_sums(struct dbk_delta *delta, const struct dbk_relation *group)
{
    struct dbk_buf *sql = &delta->sql;
    dbk_buf_append_text(sql, "SELECT ");
    for (size_t i = 0; i < group->key_count; i++)
        dbk_buf_append_format(sql, "c%zu AS k%zu, ", i, i);
    dbk_buf_append_format(sql, "sum(_daybook_w)::bigint AS n, %s AS again, ",
                          is_additive(group) ? "false" : "true");
    for (size_t i = 0; i < group->key_count; i++)
        dbk_buf_append_format(sql, "%sc%zu IS NULL", i > 0 ? " OR " : "", i);
    dbk_buf_append_text(sql, group->key_count > 0 ? " AS nulls" : "false AS nulls");
    for (size_t i = 0; i < group->aggregate_count; i++)
        append_change(sql, group, i);
    dbk_buf_append_text(sql, ", NULL::bigint AS place FROM (");
    append_terms(delta, group);
    dbk_buf_append_text(sql, ") AS t");
    for (size_t i = 0; i < group->key_count; i++)
        dbk_buf_append_format(sql, "%s c%zu", i > 0 ? "," : " GROUP BY", i);
    if (group->key_count == 0)
        dbk_buf_append_text(sql, " HAVING count(*) > 0");
}

static void sum_up(struct dbk_delta *delta, const struct dbk_relation *group)
{
    struct dbk_buf *sql = &delta->sql;
    const struct dbk_algebra *tree = delta->tree;
    bool *changed = delta->changed;
    bool *nothing = dbk_alloc_zero(tree->relation_count + 1, sizeof(*nothing));
    if (nothing == NULL) {
        sql->rc = DBK_ENOMEM;
        return;
    }
    dbk_buf_append_format(sql, "CREATE TEMP TABLE IF NOT EXISTS g%zu ON COMMIT DELETE ROWS AS ",
                          group->number);
    delta->changed = nothing;
    append_sums(delta, group);
    delta->changed = changed;
    dbk_buf_append_format(sql, " WITH NO DATA; INSERT INTO pg_temp.g%zu ", group->number);
    append_sums(delta, group);
    dbk_buf_append_format(sql, "; ANALYZE pg_temp.g%zu; ", group->number);
    dbk_free(nothing);
}

/* ---- The stored rows ---- */

/* Each key's stored row, of those that have none yet. */
static void match(struct dbk_delta *delta, const struct dbk_relation *group)
{
    struct dbk_buf *sql = &delta->sql;
    for (int nulls = 0; nulls < (group->key_count > 0 ? 2 : 1); nulls++) {
        dbk_buf_append_format(sql, "UPDATE pg_temp.g%zu AS g SET place = v._daybook_row FROM ",
                              group->number);
        dbk_emit_name(sql, delta->table);
        dbk_buf_append_format(sql, " AS v WHERE g.place IS NULL AND %sg.nulls",
                              nulls != 0 ? "" : "NOT ");
        append_same(sql, group->key_count, "v._daybook_k", "g.k", nulls != 0);
        dbk_buf_append_text(sql, "; ");
    }
}

static void append_joined(struct dbk_delta *delta, const struct dbk_relation *group)
{
    struct dbk_buf *sql = &delta->sql;
    dbk_buf_append_format(sql, " FROM pg_temp.g%zu AS g JOIN ", group->number);
    dbk_emit_name(sql, delta->table);
    dbk_buf_append_text(sql, " AS v ON v._daybook_row = g.place");
}

static void count_shown(struct dbk_delta *delta, const struct dbk_relation *group, int sign)
{
    struct dbk_buf *sql = &delta->sql;
    if (group->stored)
        return;
    dbk_buf_append_format(sql, "INSERT INTO pg_temp.shown SELECT %d * count(*)", sign);
    append_joined(delta, group);
    dbk_buf_append_text(sql, " WHERE v._daybook_shown = 1; ");
}

static void note_groups(struct dbk_delta *delta, const struct dbk_relation *group, int weight)
{
    struct dbk_buf *sql = &delta->sql;
    if (!group->stored)
        return;
    dbk_buf_append_format(sql, "INSERT INTO pg_temp.d%zu SELECT %d", group->number, weight);
    dbk_pgview_columns(sql, group, "v.");
    append_joined(delta, group);
    dbk_buf_append_text(sql, "; ");
}

/* What says against adding: in the difference, and in the stored slots. */
static void mark(struct dbk_delta *delta, const struct dbk_relation *group)
{
    struct dbk_buf *sql = &delta->sql;
    dbk_buf_append_format(sql,
                          "UPDATE pg_temp.g%zu AS g SET again = true WHERE NOT g.again AND "
                          "(false",
                          group->number);
    for (size_t i = 0; i < group->aggregate_count; i++) {
        if (group->aggregates[i].kind == DBK_AGGREGATE_SUM && sum_of(group, i) == i)
            dbk_buf_append_format(sql, " OR g.x%zu", i);
        if (group->aggregates[i].kind == DBK_AGGREGATE_LEAST)
            dbk_buf_append_format(sql, " OR (g.x%zu IS NOT NULL AND g.place IS NULL)", i);
    }
    dbk_buf_append_format(sql, "); UPDATE pg_temp.g%zu AS g SET again = true FROM ", group->number);
    dbk_emit_name(sql, delta->table);
    dbk_buf_append_text(sql, " AS v WHERE NOT g.again AND v._daybook_row = g.place AND (false");
    for (size_t i = 0; i < group->aggregate_count; i++) {
        const struct dbk_aggregate *aggregate = &group->aggregates[i];
        if (aggregate->kind == DBK_AGGREGATE_SUM)
            dbk_buf_append_format(sql, " OR v._daybook_x%zu <> 0", i);
        if (aggregate->kind == DBK_AGGREGATE_LEAST)
            dbk_buf_append_format(
                sql, " OR (g.x%zu IS NOT NULL AND (g.x%zu %s v._daybook_v%zu) IS NOT TRUE)", i, i,
                strcasecmp(aggregate->name, "min") == 0 ? ">" : "<", i);
    }
    dbk_buf_append_text(sql, "); ");
}

/* How many are to be computed again, and of them how many have NULLs; and what cannot be. */
static int look(struct dbk_delta *delta, const struct dbk_relation *group, int64_t *again_out,
                int64_t *nulls_out, struct dbk_error *err)
{
    struct dbk_buf sql;
    struct dbk_statement *statement = NULL;
    int64_t wrong = 0;
    dbk_buf_init(&sql, DBK_PGVIEW_SQL_SIZE_MAX);
    dbk_buf_append_format(&sql,
                          "SELECT count(*) FILTER (WHERE g.again), count(*) FILTER (WHERE g.again "
                          "AND g.nulls), count(*) FILTER (WHERE coalesce(v._daybook_n, 0) + g.n < "
                          "0 AND NOT g.again) FROM pg_temp.g%zu AS g LEFT JOIN ",
                          group->number);
    dbk_emit_name(&sql, delta->table);
    dbk_buf_append_text(&sql, " AS v ON v._daybook_row = g.place");
    int rc = sql.rc < 0 ? dbk_error_set(err, sql.rc, "a statement: %s", dbk_code_text(sql.rc))
                        : dbk_statement_open(delta->connection, dbk_buf_slice(&sql), &statement,
                                             NULL, err);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    if (rc == 1) {
        *again_out = dbk_statement_column(statement, 0).integer;
        *nulls_out = dbk_statement_column(statement, 1).integer;
        wrong = dbk_statement_column(statement, 2).integer;
    }
    dbk_statement_free(statement);
    dbk_buf_release(&sql);
    if (rc >= 0 && wrong != 0)
        return dbk_error_set(err, DBK_ECONFLICT,
                             "%lld of its groups would have fewer than no rows: its rows, or those "
                             "that changed, were written by somebody else",
                             (long long)wrong);
    return rc < 0 ? rc : DBK_OK;
}

/* ---- Adding ---- */

/* A sum's value from how many there are, what they add up to, and their decimals. */
static void append_sum_value(struct dbk_buf *out, const struct dbk_aggregate *aggregate,
                             const char *count, const char *sum, const char *decimals)
{
    dbk_buf_append_format(out, "CASE WHEN %s <> 0 THEN ", count);
    if (aggregate->whole)
        dbk_buf_append_text(out, sum);
    else
        dbk_buf_append_format(out, "round(%s, " DECIMALS ")", sum, decimals);
    dbk_buf_append_format(out, strcasecmp(aggregate->name, "avg") == 0 ? " / %s END" : " END",
                          count);
}

static void append_slot(struct dbk_buf *out, const struct dbk_relation *group, size_t i,
                        bool stored)
{
    const struct dbk_aggregate *aggregate = &group->aggregates[i];
    size_t d = sum_of(group, i);
    char count[80];
    char sum[80];
    char decimals[80];
    switch (aggregate->kind) {
    case DBK_AGGREGATE_COUNT:
        if (stored)
            dbk_buf_append_format(out, ", _daybook_v%zu = v._daybook_v%zu +", i, i);
        else
            dbk_buf_append_char(out, ',');
        if (aggregate->star)
            dbk_buf_append_text(out, " g.n");
        else
            dbk_buf_append_format(out, " g.v%zu", i);
        break;
    case DBK_AGGREGATE_LEAST:
        if (stored)
            dbk_buf_append_format(out, ", _daybook_v%zu = %s(v._daybook_v%zu, g.v%zu)", i,
                                  strcasecmp(aggregate->name, "min") == 0 ? "least" : "greatest", i,
                                  i);
        else
            dbk_buf_append_format(out, ", g.v%zu", i);
        break;
    case DBK_AGGREGATE_SUM:
        (void)snprintf(count, sizeof(count), stored ? "(v._daybook_c%zu + g.n%zu)" : "g.n%zu",
                       stored ? i : d, d);
        (void)snprintf(sum, sizeof(sum), stored ? "(v._daybook_i%zu + g.i%zu)" : "g.i%zu",
                       stored ? i : d, d);
        (void)snprintf(decimals, sizeof(decimals), stored ? "(v._daybook_a%zu + g.a%zu)" : "g.a%zu",
                       stored ? i : d, d);
        if (stored)
            dbk_buf_append_format(out, ", _daybook_v%zu = ", i);
        else
            dbk_buf_append_text(out, ", ");
        append_sum_value(out, aggregate, count, sum, decimals);
        if (stored)
            dbk_buf_append_format(out,
                                  ", _daybook_c%zu = %s, _daybook_i%zu = %s, _daybook_a%zu = %s", i,
                                  count, i, sum, i, decimals);
        else
            dbk_buf_append_format(out, ", %s, %s, 0, %s", count, sum, decimals);
        break;
    case DBK_AGGREGATE_OTHER:
        break;
    }
}

static void add(struct dbk_delta *delta, const struct dbk_relation *group)
{
    struct dbk_buf *sql = &delta->sql;
    dbk_buf_append_text(sql, "UPDATE ");
    dbk_emit_name(sql, delta->table);
    dbk_buf_append_text(sql, " AS v SET _daybook_n = v._daybook_n + g.n");
    for (size_t i = 0; i < group->aggregate_count; i++)
        append_slot(sql, group, i, true);
    dbk_buf_append_format(
        sql, " FROM pg_temp.g%zu AS g WHERE NOT g.again AND v._daybook_row = g.place; ",
        group->number);
}

/* The stored columns that are filled before the outputs are. */
static void append_filled(struct dbk_delta *delta, const struct dbk_relation *group)
{
    struct dbk_buf *sql = &delta->sql;
    dbk_buf_append_text(sql, "INSERT INTO ");
    dbk_emit_name(sql, delta->table);
    dbk_buf_append_text(sql, " (");
    for (size_t i = 0; i < group->key_count; i++)
        dbk_buf_append_format(sql, "_daybook_k%zu, ", i);
    dbk_buf_append_text(sql, "_daybook_n");
    for (size_t i = 0; i < group->aggregate_count; i++) {
        dbk_buf_append_format(sql, ", _daybook_v%zu", i);
        if (group->aggregates[i].kind == DBK_AGGREGATE_SUM)
            dbk_buf_append_format(
                sql, ", _daybook_c%zu, _daybook_i%zu, _daybook_x%zu, _daybook_a%zu", i, i, i, i);
    }
    dbk_buf_append_text(sql, ") SELECT ");
}

static void insert_new(struct dbk_delta *delta, const struct dbk_relation *group)
{
    struct dbk_buf *sql = &delta->sql;
    if (group->key_count == 0 || !is_additive(group))
        return;
    append_filled(delta, group);
    for (size_t i = 0; i < group->key_count; i++)
        dbk_buf_append_format(sql, "g.k%zu, ", i);
    dbk_buf_append_text(sql, "g.n");
    for (size_t i = 0; i < group->aggregate_count; i++)
        append_slot(sql, group, i, false);
    dbk_buf_append_format(
        sql, " FROM pg_temp.g%zu AS g WHERE NOT g.again AND g.place IS NULL AND g.n <> 0; ",
        group->number);
}

/* ---- Computing again ---- */

static void compute(struct dbk_delta *delta, const struct dbk_relation *group, bool nulls)
{
    struct dbk_buf *sql = &delta->sql;
    append_filled(delta, group);
    dbk_layout_slots(sql, group);
    dbk_buf_append_text(sql, " FROM (");
    dbk_layout_block(sql, group->inputs[0]);
    dbk_buf_append_text(sql, ") AS b");
    if (group->key_count > 0) {
        dbk_buf_append_format(sql, " JOIN pg_temp.g%zu AS g ON g.again AND %sg.nulls",
                              group->number, nulls ? "" : "NOT ");
        append_same(sql, group->key_count, "b.c", "g.k", nulls);
    }
    for (size_t i = 0; i < group->key_count; i++)
        dbk_buf_append_format(sql, "%s b.c%zu", i > 0 ? "," : " GROUP BY", i);
    dbk_buf_append_text(sql, "; ");
}

static void compute_again(struct dbk_delta *delta, const struct dbk_relation *group, int64_t again,
                          int64_t nulls)
{
    struct dbk_buf *sql = &delta->sql;
    if (again == 0)
        return;
    dbk_buf_append_text(sql, "DELETE FROM ");
    dbk_emit_name(sql, delta->table);
    dbk_buf_append_format(sql,
                          " AS v USING pg_temp.g%zu AS g WHERE g.again AND v._daybook_row = "
                          "g.place; UPDATE pg_temp.g%zu SET place = NULL WHERE again; ",
                          group->number, group->number);
    if (again > nulls)
        compute(delta, group, false);
    if (nulls > 0)
        compute(delta, group, true);
}

/* Outputs and HAVING of the touched groups, from their slots. */
static void work_out(struct dbk_delta *delta, const struct dbk_relation *group)
{
    const struct dbk_emit emit = {.relation = group, .slot_prefix = "v."};
    struct dbk_buf *sql = &delta->sql;
    if (group->key_count > 0) {
        dbk_buf_append_text(sql, "DELETE FROM ");
        dbk_emit_name(sql, delta->table);
        dbk_buf_append_format(sql,
                              " AS v USING pg_temp.g%zu AS g WHERE v._daybook_row = g.place AND "
                              "v._daybook_n = 0; ",
                              group->number);
    }
    dbk_buf_append_text(sql, "UPDATE ");
    dbk_emit_name(sql, delta->table);
    dbk_buf_append_text(sql, " AS v SET _daybook_shown = ");
    dbk_layout_shown(sql, group, "v.");
    for (size_t i = 0; i < group->column_count; i++) {
        dbk_buf_append_text(sql, ", ");
        dbk_emit_name(sql, delta->names[i]);
        dbk_buf_append_text(sql, " = ");
        dbk_emit_expression(sql, &emit, group->outputs[i]);
    }
    dbk_buf_append_format(sql, " FROM pg_temp.g%zu AS g WHERE v._daybook_row = g.place; ",
                          group->number);
}

int dbk_pgview_group(struct dbk_delta *delta, const struct dbk_relation *group,
                     struct dbk_error *err)
{
    int64_t again = 1;
    int64_t nulls = group->key_count > 0;
    sum_up(delta, group);
    match(delta, group);
    count_shown(delta, group, -1);
    mark(delta, group);
    int rc = dbk_pgview_step(delta, err);
    if (rc == DBK_OK && !delta->all)
        rc = look(delta, group, &again, &nulls, err);
    if (rc < 0)
        return rc;
    note_groups(delta, group, -1);
    add(delta, group);
    insert_new(delta, group);
    compute_again(delta, group, delta->all ? again + nulls : again, nulls);
    match(delta, group);
    work_out(delta, group);
    note_groups(delta, group, 1);
    count_shown(delta, group, 1);
    return dbk_pgview_step(delta, err);
}

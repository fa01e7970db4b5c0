/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A group's difference: rows of the block with weights, summed up by key (temp.g), added to the
 * stored slots; groups that cannot be added to are marked and computed again.
 */
#include <stdio.h>
#include <strings.h>

#include "view/catalog.h"
#include "view/delta.h"

/* Of integers it says that they can be added; of what else passes x tells. */
#define WITHIN "c%zu BETWEEN -" DBK_VIEW_ADDEND_MAX " AND " DBK_VIEW_ADDEND_MAX

/* Keys of two tables are the same, NULLs too. */
static void append_match(struct dbk_buf *out, size_t key_count, const char *first,
                         const char *second)
{
    for (size_t i = 0; i < key_count; i++)
        dbk_buf_append_format(out, " AND %s_daybook_k%zu IS %s_daybook_k%zu", first, i, second, i);
}

static void append_keys(struct dbk_buf *out, size_t key_count, const char *prefix)
{
    for (size_t i = 0; i < key_count; i++)
        dbk_buf_append_format(out, "%s_daybook_k%zu, ", prefix, i);
}

/* The first sum of the same argument, by whose number the difference's columns go. */
static size_t sum_of(const struct dbk_relation *group, size_t i)
{
    for (size_t j = 0; j < i; j++) {
        if (group->aggregates[j].kind == DBK_AGGREGATE_SUM &&
            group->aggregates[j].argument == group->aggregates[i].argument &&
            group->aggregates[j].distinct == group->aggregates[i].distinct)
            return j;
    }
    return i;
}

/* The block's difference: weights and its columns, a SELECT for each term. */
static void append_terms(struct dbk_delta *delta, const struct dbk_relation *group)
{
    const struct dbk_relation *block = group->inputs[0];
    const struct dbk_emit emit = {.relation = block};
    struct dbk_buf *sql = &delta->sql;
    const char *between = "";
    struct dbk_term term = {0};
    while (dbk_term_next(delta, block, &term)) {
        dbk_buf_append_format(sql, "%sSELECT ", between);
        dbk_term_weight(sql, &term);
        dbk_buf_append_text(sql, " AS _daybook_w");
        for (size_t i = 0; i < block->column_count; i++) {
            dbk_buf_append_text(sql, ", ");
            /* What is behind LEFT JOIN has no difference: the group is computed again. */
            if (block->outer != 0 && i >= group->key_count)
                dbk_buf_append_text(sql, "NULL");
            else
                dbk_emit_expression(sql, &emit, block->outputs[i]);
            dbk_buf_append_format(sql, " AS %s", block->columns[i]);
        }
        dbk_term_from(sql, &term);
        between = " UNION ALL ";
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
                out, ", sum(CASE WHEN c%zu IS NULL THEN 0 ELSE _daybook_w END) AS v%zu", c, i);
        break;
    case DBK_AGGREGATE_SUM:
        if (sum_of(group, i) != i)
            break;
        dbk_buf_append_format(
            out, ", sum(CASE WHEN c%zu IS NULL THEN 0 ELSE _daybook_w END) AS n%zu", c, i);
        dbk_buf_append_format(
            out, ", sum(CASE WHEN " WITHIN " THEN _daybook_w * c%zu ELSE 0 END) AS i%zu", c, c, i);
        dbk_buf_append_format(
            out, ", max(typeof(c%zu) NOT IN ('integer', 'null') OR NOT " WITHIN ") AS x%zu", c, c,
            i);
        dbk_buf_append_format(
            out, ", total(CASE WHEN " WITHIN " THEN _daybook_w * abs(c%zu) END) AS a%zu", c, c, i);
        break;
    case DBK_AGGREGATE_LEAST:
        dbk_buf_append_format(out,
                              ", %s(CASE WHEN _daybook_w > 0 THEN c%zu END) AS v%zu, "
                              "%s(CASE WHEN _daybook_w < 0 THEN c%zu END) AS x%zu",
                              aggregate->name, c, i, aggregate->name, c, i);
        break;
    case DBK_AGGREGATE_OTHER:
        break;
    }
}

/* untyped: keys of which 1 and 1.0 are told apart, by bits. */
static void append_sums(struct dbk_buf *sql, const struct dbk_relation *group, uint64_t untyped)
{
    bool again = group->inputs[0]->outer != 0;
    for (size_t i = 0; i < group->aggregate_count; i++)
        again = again || group->aggregates[i].kind == DBK_AGGREGATE_OTHER;
    dbk_buf_append_text(sql, "SELECT ");
    for (size_t i = 0; i < group->key_count; i++)
        dbk_buf_append_format(sql, "c%zu AS _daybook_k%zu, ", i, i);
    dbk_buf_append_format(sql, "sum(_daybook_w) AS n, %d AS again, 0", again);
    /* A whole number may be written in two ways. */
    for (size_t i = 0; i < group->key_count && i < 64; i++) {
        if ((untyped >> i & 1) != 0)
            dbk_buf_append_format(
                sql,
                " OR max(_daybook_w < 0 AND (typeof(c%zu) = 'integer' OR (typeof(c%zu) "
                "= 'real' AND c%zu = CAST(c%zu AS INTEGER))))",
                i, i, i, i);
    }
    dbk_buf_append_text(sql, " AS went");
    for (size_t i = 0; i < group->aggregate_count; i++)
        append_change(sql, group, i);
    dbk_buf_append_text(sql, " FROM (");
}

static void append_by_key(struct dbk_buf *sql, const struct dbk_relation *group)
{
    dbk_buf_append_char(sql, ')');
    for (size_t i = 0; i < group->key_count; i++)
        dbk_buf_append_format(sql, "%s c%zu", i > 0 ? "," : " GROUP BY", i);
    /* Without keys there is one row also when nothing came. */
    if (group->key_count == 0)
        dbk_buf_append_text(sql, " HAVING count(*) > 0");
}

static int make_sums(struct dbk_delta *delta, const struct dbk_relation *group, uint64_t untyped,
                     struct dbk_error *err)
{
    struct dbk_buf *sql = &delta->sql;
    bool there = false;
    int rc = dbk_delta_has(delta, "g", &there, err);
    if (rc < 0 || there)
        return rc;
    dbk_buf_append_text(sql, "CREATE TEMP TABLE g AS ");
    append_sums(sql, group, untyped);
    dbk_buf_append_text(sql, "SELECT 0 AS _daybook_w, * FROM (");
    dbk_layout_block(sql, group->inputs[0]);
    dbk_buf_append_text(sql, ") WHERE 0");
    append_by_key(sql, group);
    rc = dbk_delta_run(delta, err);
    if (rc < 0 || group->key_count == 0)
        return rc;
    dbk_buf_append_text(sql, "CREATE INDEX temp.g_key ON g (");
    append_keys(sql, group->key_count, "");
    sql->size -= sql->rc < 0 ? 0 : 2;
    dbk_buf_append_char(sql, ')');
    return dbk_delta_run(delta, err);
}

/* temp.g: a row a touched key. `again`: the group is to be computed again. */
static int sum_up(struct dbk_delta *delta, const struct dbk_relation *group, uint64_t untyped,
                  struct dbk_error *err)
{
    struct dbk_buf *sql = &delta->sql;
    int rc = make_sums(delta, group, untyped, err);
    if (rc < 0)
        return rc;
    dbk_buf_append_text(sql, "INSERT INTO temp.g ");
    append_sums(sql, group, untyped);
    append_terms(delta, group);
    append_by_key(sql, group);
    return dbk_delta_run(delta, err);
}

/* What the difference itself says against adding. */
static void append_doubts(struct dbk_buf *out, const struct dbk_delta *delta,
                          const struct dbk_relation *group)
{
    for (size_t i = 0; i < group->aggregate_count; i++) {
        enum dbk_aggregate_kind kind = group->aggregates[i].kind;
        if (kind == DBK_AGGREGATE_SUM && sum_of(group, i) == i)
            dbk_buf_append_format(out, " OR g.x%zu OR typeof(g.i%zu) <> 'integer'", i, i);
        if (kind != DBK_AGGREGATE_LEAST)
            continue;
        dbk_buf_append_format(out, " OR (g.x%zu IS NOT NULL AND NOT EXISTS (SELECT 1 FROM ", i);
        dbk_emit_name(out, delta->table);
        dbk_buf_append_text(out, " AS v WHERE 1");
        append_match(out, group->key_count, "v.", "g.");
        dbk_buf_append_text(out, "))");
    }
}

/* What the stored slots say against it. */
static void append_stored_doubts(struct dbk_buf *out, const struct dbk_relation *group)
{
    for (size_t i = 0; i < group->aggregate_count; i++) {
        const struct dbk_aggregate *aggregate = &group->aggregates[i];
        /* A value that left counts when it was the least, or as small as that. Without affinities,
           as min() compares. */
        if (aggregate->kind == DBK_AGGREGATE_LEAST)
            dbk_buf_append_format(out,
                                  " OR (g.x%zu IS NOT NULL AND NOT coalesce(+g.x%zu %s "
                                  "+v._daybook_v%zu, 0))",
                                  i, i, strcasecmp(aggregate->name, "min") == 0 ? ">" : "<", i);
        if (aggregate->kind != DBK_AGGREGATE_SUM)
            continue;
        dbk_buf_append_format(out, " OR v._daybook_x%zu <> 0 OR v._daybook_a%zu + g.a%zu > %s", i,
                              i, sum_of(group, i),
                              dbk_aggregate_is_real(aggregate) ? DBK_VIEW_REAL_SUM_MAX
                                                               : DBK_VIEW_SUM_MAX);
    }
}

/* Which of the group's keys have no type that makes one value of 1 and 1.0: a bit each. */
static int find_untyped(struct dbk_delta *delta, const struct dbk_relation *group,
                        uint64_t *untyped_out, struct dbk_error *err)
{
    int rc = DBK_OK;
    *untyped_out = 0;
    for (size_t i = 0; rc == DBK_OK && i < group->key_count && i < 64; i++) {
        char sql[128];
        int64_t untyped = 0;
        (void)snprintf(sql, sizeof(sql),
                       "SELECT type IN ('', 'BLOB') FROM pragma_table_info(?1) WHERE name = "
                       "'_daybook_k%zu'",
                       i);
        rc = dbk_view_integer(delta->connection, sql, delta->table, &untyped, err);
        if (untyped != 0)
            *untyped_out |= UINT64_C(1) << i;
    }
    return rc;
}

/*
 * 1 and 1.0 are one group, which shows one of them: where a row left with such a key, and none has
 * the key as it is stored, the group is computed again.
 */
static int mark_spellings(struct dbk_delta *delta, const struct dbk_relation *group,
                          uint64_t untyped, struct dbk_error *err)
{
    struct dbk_buf *sql = &delta->sql;
    if (untyped == 0)
        return DBK_OK;
    dbk_buf_append_text(sql, "UPDATE temp.g AS g SET again = 1 FROM ");
    dbk_emit_name(sql, delta->table);
    dbk_buf_append_text(sql, " AS v WHERE NOT g.again AND g.went AND v._daybook_n + g.n <> 0");
    append_match(sql, group->key_count, "v.", "g.");
    dbk_buf_append_text(sql, " AND NOT EXISTS (SELECT 1 FROM (");
    dbk_layout_block(sql, group->inputs[0]);
    dbk_buf_append_text(sql, ") AS b WHERE 1");
    for (size_t i = 0; i < group->key_count; i++) {
        dbk_buf_append_format(sql, " AND b.c%zu IS v._daybook_k%zu", i, i);
        if (i < 64 && (untyped >> i & 1) != 0)
            dbk_buf_append_format(sql, " AND typeof(b.c%zu) = typeof(v._daybook_k%zu)", i, i);
    }
    dbk_buf_append_char(sql, ')');
    return dbk_delta_run(delta, err);
}

static int mark(struct dbk_delta *delta, const struct dbk_relation *group, uint64_t untyped,
                struct dbk_error *err)
{
    struct dbk_buf *sql = &delta->sql;
    dbk_buf_append_text(sql, "UPDATE temp.g AS g SET again = 1 WHERE 0");
    append_doubts(sql, delta, group);
    for (size_t i = 0; i < group->aggregate_count; i++) {
        if (group->aggregates[i].kind == DBK_AGGREGATE_SUM && sum_of(group, i) == i)
            dbk_buf_append_format(sql, " OR g.a%zu > " DBK_VIEW_REAL_SUM_MAX, i);
    }
    int rc = dbk_delta_run(delta, err);
    if (rc < 0)
        return rc;
    dbk_buf_append_text(sql, "UPDATE temp.g AS g SET again = 1 FROM ");
    dbk_emit_name(sql, delta->table);
    dbk_buf_append_text(sql, " AS v WHERE NOT g.again");
    append_match(sql, group->key_count, "v.", "g.");
    dbk_buf_append_text(sql, " AND (0");
    append_stored_doubts(sql, group);
    dbk_buf_append_char(sql, ')');
    rc = dbk_delta_run(delta, err);
    return rc < 0 ? rc : mark_spellings(delta, group, untyped, err);
}

/* The names of the slots behind the keys, with their new values for a stored row and a new one. */
static void append_slot(struct dbk_buf *out, const struct dbk_aggregate *aggregate, size_t i,
                        bool stored)
{
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
            dbk_buf_append_format(out,
                                  ", _daybook_v%zu = coalesce(%s(v._daybook_v%zu, g.v%zu), "
                                  "v._daybook_v%zu, g.v%zu)",
                                  i, aggregate->name, i, i, i, i);
        else
            dbk_buf_append_format(out, ", g.v%zu", i);
        break;
    case DBK_AGGREGATE_SUM:
    case DBK_AGGREGATE_OTHER:
        break;
    }
}

/* An exact sum's value from how many there are and what they add up to. */
static void append_sum_value(struct dbk_buf *out, const struct dbk_aggregate *aggregate,
                             const char *count, const char *sum)
{
    if (strcmp(aggregate->name, "sum") == 0)
        dbk_buf_append_format(out, "CASE WHEN %s = 0 THEN NULL ELSE %s END", count, sum);
    else if (strcmp(aggregate->name, "total") == 0)
        dbk_buf_append_format(out, "CAST(%s AS REAL)", sum);
    else
        dbk_buf_append_format(out, "CASE WHEN %s = 0 THEN NULL ELSE CAST(%s AS REAL) / %s END",
                              count, sum, count);
}

/* d: the number of the sum whose difference it is. */
static void append_sum(struct dbk_buf *out, const struct dbk_aggregate *aggregate, size_t i,
                       size_t d, bool stored)
{
    char count[80];
    char sum[80];
    if (stored) {
        (void)snprintf(count, sizeof(count), "(v._daybook_c%zu + g.n%zu)", i, d);
        (void)snprintf(sum, sizeof(sum), "(v._daybook_i%zu + g.i%zu)", i, d);
    } else {
        (void)snprintf(count, sizeof(count), "g.n%zu", d);
        (void)snprintf(sum, sizeof(sum), "g.i%zu", d);
    }
    if (stored)
        dbk_buf_append_format(out, ", _daybook_v%zu = ", i);
    else
        dbk_buf_append_text(out, ", ");
    append_sum_value(out, aggregate, count, sum);
    if (stored)
        dbk_buf_append_format(out,
                              ", _daybook_c%zu = v._daybook_c%zu + g.n%zu"
                              ", _daybook_i%zu = v._daybook_i%zu + g.i%zu"
                              ", _daybook_a%zu = v._daybook_a%zu + g.a%zu",
                              i, i, d, i, i, d, i, i, d);
    else
        dbk_buf_append_format(out, ", g.n%zu, g.i%zu, 0, g.a%zu", d, d, d);
}

static void append_slots(struct dbk_buf *out, const struct dbk_relation *group, bool stored)
{
    for (size_t i = 0; i < group->aggregate_count; i++) {
        if (group->aggregates[i].kind == DBK_AGGREGATE_SUM)
            append_sum(out, &group->aggregates[i], i, sum_of(group, i), stored);
        else
            append_slot(out, &group->aggregates[i], i, stored);
    }
}

static int add(struct dbk_delta *delta, const struct dbk_relation *group, struct dbk_error *err)
{
    struct dbk_buf *sql = &delta->sql;
    dbk_buf_append_text(sql, "UPDATE ");
    dbk_emit_name(sql, delta->table);
    dbk_buf_append_text(sql, " AS v SET _daybook_n = v._daybook_n + g.n");
    append_slots(sql, group, true);
    dbk_buf_append_text(sql, " FROM temp.g AS g WHERE NOT g.again");
    append_match(sql, group->key_count, "v.", "g.");
    return dbk_delta_run(delta, err);
}

/* The stored columns that are filled before the outputs are. */
static void append_filled(struct dbk_buf *out, const struct dbk_relation *group)
{
    append_keys(out, group->key_count, "");
    dbk_buf_append_text(out, "_daybook_n");
    for (size_t i = 0; i < group->aggregate_count; i++) {
        dbk_buf_append_format(out, ", _daybook_v%zu", i);
        if (group->aggregates[i].kind == DBK_AGGREGATE_SUM)
            dbk_buf_append_format(
                out, ", _daybook_c%zu, _daybook_i%zu, _daybook_x%zu, _daybook_a%zu", i, i, i, i);
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

static int insert_new(struct dbk_delta *delta, const struct dbk_relation *group,
                      struct dbk_error *err)
{
    struct dbk_buf *sql = &delta->sql;
    if (group->key_count == 0 || !is_additive(group))
        return DBK_OK;
    dbk_buf_append_text(sql, "INSERT INTO ");
    dbk_emit_name(sql, delta->table);
    dbk_buf_append_text(sql, " (");
    append_filled(sql, group);
    dbk_buf_append_text(sql, ") SELECT ");
    append_keys(sql, group->key_count, "g.");
    dbk_buf_append_text(sql, "g.n");
    append_slots(sql, group, false);
    dbk_buf_append_text(sql, " FROM temp.g AS g WHERE NOT g.again AND g.n <> 0 AND NOT EXISTS "
                             "(SELECT 1 FROM ");
    dbk_emit_name(sql, delta->table);
    dbk_buf_append_text(sql, " AS v WHERE 1");
    append_match(sql, group->key_count, "v.", "g.");
    dbk_buf_append_char(sql, ')');
    return dbk_delta_run(delta, err);
}

static int delete_groups(struct dbk_delta *delta, const struct dbk_relation *group,
                         const char *which, struct dbk_error *err)
{
    struct dbk_buf *sql = &delta->sql;
    dbk_buf_append_text(sql, "DELETE FROM ");
    dbk_emit_name(sql, delta->table);
    dbk_buf_append_text(sql, " WHERE rowid IN (SELECT v.rowid FROM temp.g AS g CROSS JOIN ");
    dbk_emit_name(sql, delta->table);
    dbk_buf_append_format(sql, " AS v ON %s", which);
    append_match(sql, group->key_count, "v.", "g.");
    dbk_buf_append_char(sql, ')');
    return dbk_delta_run(delta, err);
}

static int count_of(struct dbk_delta *delta, const char *sql, int64_t *count_out,
                    struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int rc = dbk_statement_open(delta->connection, dbk_slice_of(sql), &statement, NULL, err);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    if (rc == 1)
        *count_out = dbk_statement_column(statement, 0).integer;
    dbk_statement_free(statement);
    return rc < 0 ? rc : DBK_OK;
}

/* Marked groups are computed from the tables as they are. */
static int compute_again(struct dbk_delta *delta, const struct dbk_relation *group,
                         struct dbk_error *err)
{
    struct dbk_buf *sql = &delta->sql;
    int64_t marked = 0;
    int rc = count_of(delta, "SELECT count(*) FROM temp.g WHERE again", &marked, err);
    if (rc < 0 || marked == 0)
        return rc;
    rc = delete_groups(delta, group, "g.again", err);
    if (rc < 0)
        return rc;
    dbk_buf_append_text(sql, "INSERT INTO ");
    dbk_emit_name(sql, delta->table);
    dbk_buf_append_text(sql, " (");
    append_filled(sql, group);
    dbk_buf_append_text(sql, ") SELECT ");
    dbk_layout_slots(sql, group);
    /* What is stored beside the view has an index on what it is grouped by. */
    bool stored = group->inputs[0]->input_count == 1 && group->inputs[0]->inputs[0]->stored;
    bool keyed = group->key_count > 0;
    dbk_buf_append_text(sql, stored && keyed ? " FROM temp.g AS g CROSS JOIN (" : " FROM (");
    dbk_layout_block(sql, group->inputs[0]);
    dbk_buf_append_text(sql, ") AS b");
    if (keyed)
        dbk_buf_append_text(sql, stored ? " WHERE g.again" : " JOIN temp.g AS g ON g.again");
    for (size_t i = 0; i < group->key_count; i++)
        dbk_buf_append_format(sql, " AND b.c%zu IS g._daybook_k%zu", i, i);
    for (size_t i = 0; i < group->key_count; i++)
        dbk_buf_append_format(sql, "%s b.c%zu", i > 0 ? "," : " GROUP BY", i);
    return dbk_delta_run(delta, err);
}

/* Outputs and HAVING of the touched groups, from their slots. */
static int work_out(struct dbk_delta *delta, const struct dbk_relation *group,
                    struct dbk_error *err)
{
    const struct dbk_emit emit = {.relation = group, .slot_prefix = "v."};
    struct dbk_buf *sql = &delta->sql;
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
    dbk_buf_append_text(sql, " FROM temp.g AS g WHERE 1");
    append_match(sql, group->key_count, "v.", "g.");
    return dbk_delta_run(delta, err);
}

/* No group can have fewer than no rows. */
static int check_counts(struct dbk_delta *delta, const struct dbk_relation *group,
                        struct dbk_error *err)
{
    struct dbk_buf sql;
    int64_t wrong = 0;
    dbk_buf_init(&sql, DBK_ALGEBRA_SIZE_MAX);
    dbk_buf_append_text(&sql, "SELECT count(*) FROM temp.g AS g LEFT JOIN ");
    dbk_emit_name(&sql, delta->table);
    dbk_buf_append_text(&sql, " AS v ON 1");
    append_match(&sql, group->key_count, "v.", "g.");
    dbk_buf_append_text(&sql, " WHERE coalesce(v._daybook_n, 0) + g.n < 0");
    dbk_buf_append_char(&sql, '\0');
    int rc = sql.rc < 0 ? dbk_error_set(err, sql.rc, "a statement: %s", dbk_code_text(sql.rc))
                        : count_of(delta, sql.data, &wrong, err);
    dbk_buf_release(&sql);
    if (rc == DBK_OK && wrong != 0)
        return dbk_error_set(err, DBK_ECONFLICT,
                             "%lld of its groups would have fewer than no rows: its rows, or those "
                             "that changed, were written by somebody else",
                             (long long)wrong);
    return rc;
}

/* Counts the shown rows of the touched groups into the difference. */
static int count_shown(struct dbk_delta *delta, const struct dbk_relation *group, int sign,
                       struct dbk_error *err)
{
    struct dbk_buf sql;
    int64_t shown = 0;
    dbk_buf_init(&sql, DBK_ALGEBRA_SIZE_MAX);
    dbk_buf_append_text(&sql, "SELECT count(*) FROM temp.g AS g CROSS JOIN ");
    dbk_emit_name(&sql, delta->table);
    dbk_buf_append_text(&sql, " AS v ON v._daybook_shown");
    append_match(&sql, group->key_count, "v.", "g.");
    dbk_buf_append_char(&sql, '\0');
    int rc = sql.rc < 0 ? dbk_error_set(err, sql.rc, "a statement: %s", dbk_code_text(sql.rc))
                        : count_of(delta, sql.data, &shown, err);
    dbk_buf_release(&sql);
    delta->rows += sign * shown;
    return rc;
}

int dbk_delta_group(struct dbk_delta *delta, const struct dbk_relation *group,
                    struct dbk_error *err)
{
    uint64_t untyped = 0;
    int rc = find_untyped(delta, group, &untyped, err);
    if (rc == DBK_OK)
        rc = sum_up(delta, group, untyped, err);
    if (rc == DBK_OK)
        rc = count_shown(delta, group, -1, err);
    if (rc == DBK_OK)
        rc = mark(delta, group, untyped, err);
    if (rc == DBK_OK)
        rc = check_counts(delta, group, err);
    if (rc == DBK_OK)
        rc = dbk_delta_note(delta, group, "g", -1, err);
    if (rc == DBK_OK)
        rc = add(delta, group, err);
    if (rc == DBK_OK)
        rc = insert_new(delta, group, err);
    if (rc == DBK_OK)
        rc = compute_again(delta, group, err);
    if (rc == DBK_OK && group->key_count > 0)
        rc = delete_groups(delta, group, "v._daybook_n = 0", err);
    if (rc == DBK_OK)
        rc = work_out(delta, group, err);
    if (rc == DBK_OK)
        rc = dbk_delta_note(delta, group, "g", 1, err);
    if (rc == DBK_OK)
        rc = count_shown(delta, group, 1, err);
    return rc;
}

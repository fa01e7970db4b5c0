/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A view's plan in PostgreSQL. Types are the server's to say: what is to be stored is made in a
 * transaction that is rolled back, as temporary tables without rows, and looked at.
 */
#include <stdio.h>

#include "view/postgres/state.h"
#include "view/shown.h"

static int read_names(struct dbk_view_plan *plan, struct dbk_statement *statement)
{
    plan->name_count = (size_t)dbk_statement_column_count(statement);
    plan->names = dbk_arena_alloc_zero(&plan->arena, plan->name_count + 1, sizeof(*plan->names));
    for (size_t i = 0; plan->names != NULL && i < plan->name_count; i++) {
        plan->names[i] =
            dbk_arena_format(&plan->arena, "%s", dbk_statement_column_name(statement, (int)i));
        if (plan->names[i] == NULL)
            return DBK_ENOMEM;
    }
    return plan->names == NULL ? DBK_ENOMEM : DBK_OK;
}

/* ---- Types ---- */

static int find_kind(struct dbk_connection *connection, struct dbk_aggregate *aggregate,
                     struct dbk_error *err)
{
    char sql[300];
    int64_t kind = 0;
    (void)snprintf(sql, sizeof(sql),
                   "SELECT CASE WHEN t.typname IN ('int2', 'int4', 'int8') THEN 1 WHEN t.typname = "
                   "'numeric' THEN 2 END FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = "
                   "a.atttypid WHERE a.attrelid = to_regclass('pg_temp.b') AND a.attname = 'c%zu'",
                   aggregate->argument);
    int rc = dbk_view_integer(connection, sql, NULL, &kind, err);
    aggregate->whole = kind == 1;
    if (kind == 0) /* Others' sums depend on the order of adding, or have no parts. */
        aggregate->kind = DBK_AGGREGATE_OTHER;
    return rc;
}

static int find_kinds(struct dbk_connection *connection, const struct dbk_relation *group,
                      struct dbk_buf *sql, struct dbk_error *err)
{
    dbk_buf_append_text(sql, "CREATE TEMP TABLE b AS ");
    dbk_layout_block(sql, group->inputs[0]);
    dbk_buf_append_text(sql, " WITH NO DATA");
    int rc = dbk_pgview_run(connection, sql, err);
    for (size_t i = 0; rc == DBK_OK && i < group->aggregate_count; i++) {
        if (group->aggregates[i].kind == DBK_AGGREGATE_SUM)
            rc = find_kind(connection, &group->aggregates[i], err);
    }
    return rc == DBK_OK ? dbk_connection_run(connection, "DROP TABLE pg_temp.b", err) : rc;
}

static int try_stored(struct dbk_connection *connection, const struct dbk_relation *relation,
                      struct dbk_buf *sql, struct dbk_error *err)
{
    dbk_buf_append_text(sql, "CREATE TEMP TABLE ");
    dbk_emit_name(sql, relation->table);
    dbk_buf_append_text(sql, " AS SELECT q.*, 0::bigint AS _daybook_row FROM (");
    dbk_layout_fill(sql, relation, relation->columns);
    dbk_buf_append_text(sql, ") AS q WITH NO DATA");
    return dbk_pgview_run(connection, sql, err);
}

/* The result must have the types that the SELECT has. */
static int try_root(struct dbk_view_plan *plan, struct dbk_connection *connection,
                    struct dbk_buf *sql, struct dbk_error *err)
{
    int64_t others = 0;
    dbk_buf_append_text(sql, "CREATE TEMP TABLE b AS SELECT * FROM (");
    dbk_layout_fill(sql, plan->tree.root, plan->names);
    dbk_buf_append_text(sql, ") AS q WITH NO DATA; CREATE TEMP TABLE q AS ");
    dbk_buf_append(sql, plan->tree.select);
    dbk_buf_append_text(sql, "\n WITH NO DATA");
    int rc = dbk_pgview_run(connection, sql, err);
    if (rc == DBK_OK)
        rc = dbk_view_integer(
            connection,
            "SELECT count(*) FROM pg_attribute AS q LEFT JOIN pg_attribute AS b ON b.attrelid = "
            "to_regclass('pg_temp.b') AND b.attname = q.attname WHERE q.attrelid = "
            "to_regclass('pg_temp.q') AND q.attnum > 0 AND b.atttypid IS DISTINCT FROM q.atttypid",
            NULL, &others, err);
    if (rc == DBK_OK && others != 0)
        rc = dbk_error_set(err, DBK_EINVAL, "it is read with columns of other types");
    if (rc == DBK_OK && plan->tree.limit != NULL) {
        /* All columns decide which rows are shown: each must have an order. */
        dbk_buf_append_text(sql, "SELECT FROM pg_temp.b");
        dbk_shown_order(sql, plan);
        rc = dbk_pgview_run(connection, sql, err);
    }
    return rc;
}

static int resolve(struct dbk_view_plan *plan, struct dbk_connection *connection, const char *name,
                   struct dbk_error *err)
{
    const struct dbk_algebra *tree = &plan->tree;
    struct dbk_buf sql;
    int rc = dbk_layout_place(tree, name, 0);
    if (rc < 0)
        return dbk_error_set(err, rc, "%s", dbk_code_text(rc));
    dbk_buf_init(&sql, DBK_PGVIEW_SQL_SIZE_MAX);
    for (size_t i = 0; rc == DBK_OK && i < tree->relation_count; i++) {
        const struct dbk_relation *relation = tree->relations[i];
        if (relation->kind == DBK_RELATION_GROUP)
            rc = find_kinds(connection, relation, &sql, err);
        if (rc == DBK_OK && relation->stored)
            rc = try_stored(connection, relation, &sql, err);
    }
    if (rc == DBK_OK)
        rc = try_root(plan, connection, &sql, err);
    dbk_buf_release(&sql);
    return rc;
}

/* Whether the role may note what changes. 1: it may; 0: there is an obstacle. */
static int look_at_rights(struct dbk_view_plan *plan, struct dbk_connection *connection,
                          struct dbk_error *err)
{
    const struct dbk_algebra *tree = &plan->tree;
    for (size_t i = 0; i < tree->relation_count; i++) {
        bool may = true;
        int rc = tree->relations[i]->kind == DBK_RELATION_TABLE
                     ? dbk_pgview_may_follow(connection, tree->relations[i], &may, err)
                     : DBK_OK;
        if (rc < 0)
            return rc;
        if (!may)
            return dbk_obstacle_set(
                &plan->tree.obstacle, SIZE_MAX,
                "GRANT TRIGGER on it to the connection's role, or capture the table and let the "
                "view read a read model of it",
                "the role may not note the changes of %s by triggers", tree->relations[i]->name);
    }
    return 1;
}

/* Keys of a UNION's branches share columns as texts: each must have one text. */
static bool has_one_text(const char *type)
{
    static const char *const types[] = {"smallint",  "integer", "bigint", "numeric", "text",
                                        "character", "uuid",    "date",   "time ",   "time(",
                                        "bytea",     "oid",     "name",   "boolean", "timestamp"};
    bool found = false;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]) && !found; i++)
        found = strncmp(type, types[i], strlen(types[i])) == 0;
    return found && strstr(type, "[]") == NULL && strncmp(type, "time with time", 14) != 0;
}

static int look_at_branch(struct dbk_view_plan *plan, const struct dbk_relation *block)
{
    for (size_t i = 0; i < block->input_count; i++) {
        const struct dbk_relation *input = block->inputs[i];
        for (size_t j = 0; (block->outer & 1U << i) == 0 && j < input->row_count; j++) {
            if (!has_one_text(input->row_types[j]))
                return dbk_obstacle_set(&plan->tree.obstacle, SIZE_MAX,
                                        "give it a key of numbers, texts or times",
                                        "a key of the type %s in UNION ALL", input->row_types[j]);
        }
    }
    return 1;
}

static int look_at_unions(struct dbk_view_plan *plan)
{
    int rc = 1;
    for (size_t i = 0; rc == 1 && i < plan->tree.relation_count; i++) {
        const struct dbk_relation *relation = plan->tree.relations[i];
        for (size_t j = 0;
             rc == 1 && relation->kind == DBK_RELATION_UNION && j < relation->input_count; j++)
            rc = look_at_branch(plan, relation->inputs[j]);
    }
    return rc;
}

/* ---- The plan ---- */

static int make(struct dbk_view_plan *plan, struct dbk_connection *connection,
                const struct dbk_view_definition *definition, struct dbk_error *err)
{
    const struct dbk_algebra_source source = {.table = dbk_pgview_read_table,
                                              .call = dbk_pgview_read_call};
    struct dbk_slice select = dbk_view_select(definition);
    struct dbk_statement *statement = NULL;
    int rc = dbk_pgview_prepare(definition, connection, &statement, err);
    if (rc == DBK_OK)
        rc = read_names(plan, statement);
    dbk_statement_free(statement);
    if (rc == DBK_OK)
        rc = dbk_algebra_read(&plan->tree, connection, select, &source, &plan->arena, err);
    if (rc == 1 && plan->tree.root->column_count != plan->name_count + plan->tree.hidden_count)
        rc = dbk_error_set(err, DBK_EINVAL, "its columns are counted otherwise");
    if (rc == 1)
        rc = dbk_view_plan_name_hidden(plan, err);
    if (rc == 1)
        rc = look_at_unions(plan);
    if (rc == 1)
        rc = look_at_rights(plan, connection, err);
    plan->incremental = rc == 1;
    if (rc == 1)
        rc = resolve(plan, connection, definition->name, err);
    return rc;
}

int dbk_pgview_plan(struct dbk_view_plan *plan, struct dbk_connection *connection,
                    const struct dbk_view_definition *definition, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    dbk_view_plan_release(plan);
    dbk_view_plan_init(plan);
    plan->tree.select = dbk_view_select(definition);
    if (definition->mode == DBK_VIEW_FULL) {
        (void)dbk_obstacle_set(&plan->tree.obstacle, SIZE_MAX, "leave `-- mode: full` out",
                               "its head says `mode: full`");
        return DBK_OK;
    }
    bool inside = dbk_connection_in_transaction(connection);
    int rc = inside ? dbk_connection_run(connection, "SAVEPOINT plan", err)
                    : dbk_connection_begin(connection, DBK_BEGIN_WRITE, err);
    if (rc < 0)
        return rc;
    rc = make(plan, connection, definition, &failure);
    if (inside && dbk_connection_run(connection, "ROLLBACK TO plan", err) < 0)
        return DBK_ECONNECT;
    if (!inside)
        dbk_ignore(dbk_connection_run(connection, "ROLLBACK", NULL));
    plan->tree.select = dbk_view_select(definition);
    if (rc == DBK_ENOMEM || rc == DBK_ECONNECT)
        return dbk_error_set(err, rc, "%s", failure.message);
    if (rc < 0) { /* What is wrong with the SELECT is the full refresh's to report. */
        plan->incremental = false;
        (void)dbk_obstacle_set(&plan->tree.obstacle, SIZE_MAX, "", "%s", failure.message);
    }
    return DBK_OK;
}

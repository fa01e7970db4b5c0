/* SPDX-License-Identifier: Apache-2.0 */
/*
 * algebra_fuzz -- any text that SQLite takes for a SELECT is refused as a view's by an obstacle, or
 * read into algebra from which SQL follows that SQLite takes, too.
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>

#include "view/plan.h"
#include "view/reads.h"
#include "view/stored.h"

static struct dbk_connection *connection;

static void open_tables(void)
{
    struct dbk_error err = {0};
    if (dbk_connection_open(NULL, DBK_CONNECT_MEMORY, &connection, &err) < 0 ||
        dbk_connection_run(connection,
                           "CREATE TABLE t (a INTEGER, b, c TEXT); CREATE TABLE s (a REAL, d)",
                           &err) < 0)
        abort();
}

static void drop_stored(const struct dbk_algebra *tree)
{
    for (size_t i = 0; i < tree->relation_count; i++) {
        char sql[120];
        if (!tree->relations[i]->stored)
            continue;
        (void)snprintf(sql, sizeof(sql), "DROP TABLE IF EXISTS temp.\"%s\"",
                       tree->relations[i]->table);
        if (dbk_connection_run(connection, sql, NULL) < 0)
            abort();
    }
}

/* The SELECTs of what is stored beside it, and of the stored columns, must prepare. */
static void check_fill(const struct dbk_view_plan *plan)
{
    struct dbk_buf sql;
    struct dbk_statement *statement = NULL;
    if (dbk_layout_place(&plan->tree, "v", 1) < 0)
        return;
    if (dbk_stored_read(&plan->tree, connection, NULL) == DBK_EINVAL)
        abort();
    dbk_buf_init(&sql, 4 << 20);
    dbk_layout_fill(&sql, plan->tree.root, plan->names);
    if (sql.rc == DBK_OK &&
        dbk_statement_open(connection, dbk_buf_slice(&sql), &statement, NULL, NULL) == DBK_EINVAL)
        abort();
    dbk_statement_free(statement);
    dbk_buf_release(&sql);
    drop_stored(&plan->tree);
}

/* The names that are found without a database: each once. */
static void check_reads(struct dbk_slice select)
{
    struct dbk_arena arena;
    const char **names = NULL;
    size_t count = 0;
    dbk_arena_init(&arena, 4 << 20);
    if (dbk_view_reads(select, &arena, &names, &count) < 0)
        count = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(names[i], names[j]) == 0)
                abort();
        }
    }
    dbk_arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dbk_statement *statement = NULL;
    struct dbk_view_plan plan;
    const struct dbk_view_definition view = {
        .name = "v", .file = "views/v.sql", .sql = dbk_slice(data, size)};
    if (connection == NULL)
        open_tables();
    check_reads(dbk_view_select(&view));
    dbk_connection_guard(connection, DBK_GUARD_QUERY);
    int rc = dbk_statement_open(connection, dbk_view_select(&view), &statement, NULL, NULL);
    bool reads = rc == DBK_OK && dbk_statement_is_read_only(statement);
    dbk_statement_free(statement);
    dbk_connection_guard(connection, DBK_GUARD_NONE);
    if (!reads)
        return 0;
    dbk_view_plan_init(&plan);
    rc = dbk_view_plan_make(&plan, connection, &view, NULL);
    if (rc == DBK_OK && !plan.incremental && plan.tree.obstacle.what[0] == '\0')
        abort();
    if (rc == DBK_OK && plan.incremental)
        check_fill(&plan);
    dbk_view_plan_release(&plan);
    return 0;
}

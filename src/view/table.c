/* SPDX-License-Identifier: Apache-2.0 */
/* Tables that a SELECT reads: their columns, their row ids, and what is in the way. */
#include <strings.h>

#include "view/select.h"

#define ROWS_OF "SELECT name, hidden, type FROM pragma_table_xinfo(?1)"

static int add_column(struct dbk_reading *reading, struct dbk_relation *table,
                      struct dbk_slice name, struct dbk_slice type)
{
    struct dbk_arena *arena = reading->tree->arena;
    const char *declared = dbk_arena_copy(arena, type).data;
    const char **grown = dbk_arena_alloc(arena, (table->column_count + 1) * sizeof(*grown));
    const char *copy = dbk_arena_copy(arena, name).data;
    if (grown == NULL || copy == NULL || declared == NULL)
        return dbk_read_no_memory(reading);
    for (size_t i = 0; i < table->column_count; i++)
        grown[i] = table->columns[i];
    table->affinity = dbk_arena_format(
        arena, "%s%c", table->affinity == NULL ? "" : table->affinity, dbk_type_affinity(declared));
    if (table->affinity == NULL)
        return dbk_read_no_memory(reading);
    grown[table->column_count++] = copy;
    table->columns = grown;
    table->labels = grown;
    return DBK_OK;
}

static int read_columns(struct dbk_reading *reading, struct dbk_relation *table, size_t place)
{
    struct dbk_statement *statement = NULL;
    int rc = dbk_statement_open(reading->tree->connection, DBK_SLICE_LITERAL(ROWS_OF), &statement,
                                NULL, reading->err);
    if (rc < 0)
        return rc;
    struct dbk_value name = {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(table->table)};
    dbk_statement_bind(statement, 1, &name);
    while ((rc = dbk_statement_step(statement, reading->err)) == 1) {
        struct dbk_slice column = dbk_statement_column(statement, 0).bytes;
        if (dbk_slice_starts_with(column, DBK_SLICE_LITERAL("_daybook_")))
            continue;
        if (dbk_statement_column(statement, 1).integer != 0)
            rc = dbk_read_obstacle(reading, place, "", "\"%s\" has a generated column, \"%.*s\"",
                                   table->name, DBK_SLICE_ARGS(column));
        else
            rc = add_column(reading, table, column, dbk_statement_column(statement, 2).bytes);
        if (rc < 0)
            break;
    }
    dbk_statement_free(statement);
    return rc;
}

/* The name by which its row id is asked for: a column may have taken one. */
static int find_row(struct dbk_reading *reading, struct dbk_relation *table, size_t place)
{
    static const char *const names[] = {"rowid", "_rowid_", "oid"};
    static const char *const noted[] = {"_daybook_row"};
    table->noted = noted;
    table->row_count = 1;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && table->rows == NULL; i++) {
        bool taken = false;
        for (size_t j = 0; j < table->column_count; j++)
            taken = taken || strcasecmp(table->columns[j], names[i]) == 0;
        if (!taken)
            table->rows = &names[i];
    }
    if (table->rows == NULL)
        return dbk_read_obstacle(reading, place, "", "\"%s\" has columns of all names of a row id",
                                 table->name);
    struct dbk_statement *statement = NULL;
    struct dbk_buf sql;
    dbk_buf_init(&sql, DBK_ALGEBRA_SIZE_MAX);
    dbk_buf_append_format(&sql, "SELECT %s FROM ", table->rows[0]);
    dbk_emit_name(&sql, table->table);
    int rc = sql.rc < 0 ? dbk_read_no_memory(reading)
                        : dbk_statement_open(reading->tree->connection, dbk_buf_slice(&sql),
                                             &statement, NULL, NULL);
    dbk_statement_free(statement);
    dbk_buf_release(&sql);
    return rc == DBK_EINVAL ? dbk_read_obstacle(reading, place, "leave WITHOUT ROWID out",
                                                "\"%s\" has no row ids", table->name)
                            : rc;
}

/* Text compared without case or otherwise: what equals what, SQL written anew must not change. */
static int check_collations(struct dbk_reading *reading, const struct dbk_relation *table,
                            size_t place)
{
    struct dbk_statement *statement = NULL;
    int rc = dbk_statement_open(
        reading->tree->connection,
        DBK_SLICE_LITERAL("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?1"),
        &statement, NULL, reading->err);
    if (rc < 0)
        return rc;
    struct dbk_value name = {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(table->table)};
    dbk_statement_bind(statement, 1, &name);
    rc = dbk_statement_step(statement, reading->err);
    if (rc == 1) {
        struct dbk_value sql = dbk_statement_column(statement, 0);
        bool named = sql.kind == DBK_VALUE_TEXT && dbk_sql_names(sql.bytes, "collate");
        rc = named ? dbk_read_obstacle(reading, place, "",
                                       "\"%s\" has a column that is compared by a collation",
                                       table->name)
                   : DBK_OK;
    } else if (rc == 0) {
        rc = dbk_read_obstacle(reading, place, "", "\"%s\" is no table", table->name);
    }
    dbk_statement_free(statement);
    return rc;
}

/* Which rows a REPLACE deletes is told beforehand by plain comparisons with its index's columns. */
static int check_indexes(struct dbk_reading *reading, const struct dbk_relation *table,
                         size_t place)
{
    struct dbk_statement *statement = NULL;
    int rc = dbk_statement_open(
        reading->tree->connection,
        DBK_SLICE_LITERAL("SELECT i.name, x.name FROM pragma_index_list(?1) AS i, "
                          "pragma_index_xinfo(i.name) AS x WHERE i.\"unique\" AND x.key AND "
                          "(x.name IS NULL OR upper(x.coll) <> 'BINARY') ORDER BY i.name LIMIT 1"),
        &statement, NULL, reading->err);
    if (rc < 0)
        return rc;
    struct dbk_value name = {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(table->table)};
    dbk_statement_bind(statement, 1, &name);
    rc = dbk_statement_step(statement, reading->err);
    if (rc == 1) {
        struct dbk_slice index = dbk_statement_column(statement, 0).bytes;
        bool expression = dbk_statement_column(statement, 1).kind == DBK_VALUE_NULL;
        rc = dbk_read_obstacle(reading, place, "make that index on plain columns, or not unique",
                               "\"%s\" has a unique index %s, \"%.*s\": which rows REPLACE "
                               "deletes by it cannot be told beforehand",
                               table->name, expression ? "on an expression" : "with a collation",
                               DBK_SLICE_ARGS(index));
    }
    dbk_statement_free(statement);
    return rc;
}

/* A row of the log is known by its position, and nothing is in the way: it only grows. */
static void make_log(struct dbk_relation *table)
{
    static const char *const rows[] = {"position"};
    static const char *const noted[] = {"_daybook_row"};
    table->log = true;
    table->rows = rows;
    table->noted = noted;
    table->row_count = 1;
}

/* What is known of a table in the way of following it. */
static int check_table(struct dbk_reading *reading, struct dbk_relation *table, size_t place)
{
    int rc = check_collations(reading, table, place);
    if (rc == DBK_OK)
        rc = check_indexes(reading, table, place);
    return rc < 0 ? rc : find_row(reading, table, place);
}

/* Each place that reads the log is a relation of its own: it may ask for other events. */
static struct dbk_relation *known_table(const struct dbk_algebra *tree, const char *table)
{
    for (size_t i = 0; i < tree->relation_count; i++) {
        if (tree->relations[i]->kind == DBK_RELATION_TABLE && !tree->relations[i]->log &&
            strcmp(tree->relations[i]->table, table) == 0)
            return tree->relations[i];
    }
    return NULL;
}

int dbk_read_table(struct dbk_reading *reading, const struct dbk_json_node *node,
                   struct dbk_relation **relation_out)
{
    struct dbk_slice name = dbk_read_text(node, "relname");
    size_t place = dbk_read_place(node);
    const char *where = NULL;
    if (reading->source->table != NULL)
        return reading->source->table(reading, node, relation_out);
    if (dbk_json_member(node, "schemaname") != NULL)
        return dbk_read_obstacle(reading, place, "leave it out", "a table with a schema's name");
    reading->tree->obstacle.place = place;
    int rc = reading->source->find(reading->source->context, name, &where, &reading->tree->obstacle,
                                   reading->err);
    if (rc == 0)
        return DBK_EREFUSED;
    if (rc < 0)
        return rc;
    struct dbk_relation *table = known_table(reading->tree, where);
    if (table == NULL) {
        rc = dbk_read_make_relation(reading, DBK_RELATION_TABLE, 0, 0, &table);
        if (rc < 0)
            return rc;
        table->table = where;
        table->key_count = 1;
        table->name = dbk_arena_copy(reading->tree->arena, name).data;
        rc =
            table->name == NULL ? dbk_read_no_memory(reading) : read_columns(reading, table, place);
        if (strcmp(where, DBK_EVENTS_TABLE) == 0)
            make_log(table);
        else if (rc == DBK_OK)
            rc = check_table(reading, table, place);
        if (rc == DBK_OK)
            rc = dbk_read_enter(reading, table);
    }
    *relation_out = table;
    return rc;
}

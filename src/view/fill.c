/* SPDX-License-Identifier: Apache-2.0 */
#include "view/fill.h"

#include "view/shown.h"
#include "view/stored.h"

/* A write transaction takes at most so much; some 2 ms of work. */
#define CHUNK_ROWS 500
#define CHUNK_SIZE ((size_t)128 << 10)

void dbk_fill_init(struct dbk_fill *work, const struct dbk_view_refresh *refresh,
                   struct dbk_view_plan *plan)
{
    *work = (struct dbk_fill){.refresh = refresh, .plan = plan};
    dbk_arena_init(&work->chunk, DBK_FILL_MEMORY_MAX);
    dbk_buf_init(&work->fill, DBK_FILL_SQL_MAX);
}

void dbk_fill_end_read(struct dbk_fill *work)
{
    dbk_statement_free(work->select);
    work->select = NULL;
    dbk_connection_free(work->read);
    work->read = NULL;
}

void dbk_fill_release(struct dbk_fill *work)
{
    dbk_fill_end_read(work);
    dbk_statement_free(work->insert);
    dbk_recording_release(&work->recording);
    dbk_connection_free(work->write);
    dbk_free(work->values);
    dbk_free(work->cursors);
    dbk_buf_release(&work->fill);
    dbk_arena_release(&work->chunk);
    *work = (struct dbk_fill){0};
}

/* The SELECT's columns without types: values keep the types they have. */
static void append_plain(struct dbk_fill *work, struct dbk_buf *sql)
{
    dbk_buf_append_text(sql, " (");
    for (int i = 0; i < work->column_count; i++) {
        if (i > 0)
            dbk_buf_append_text(sql, ", ");
        dbk_emit_name(sql, dbk_statement_column_name(work->select, i));
    }
    dbk_buf_append_text(sql, ");");
}

/* Hidden columns have the affinity that their expressions have; and an index on the keys. */
static void append_layout(struct dbk_fill *work, struct dbk_buf *sql)
{
    const struct dbk_relation *root = work->plan->tree.root;
    const char *name = work->refresh->definition->name;
    unsigned long long generation = work->row.generation;
    dbk_buf_append_text(sql, " AS SELECT * FROM (");
    dbk_buf_append(sql, dbk_buf_slice(&work->fill));
    dbk_buf_append_text(sql, ") WHERE 0;");
    dbk_shown_index(sql, work->plan, name, generation);
    if (root->key_count == 0)
        return;
    /* Behind a LEFT JOIN several rows may have the key of the tables before it. */
    dbk_buf_append_format(sql, "CREATE INDEX \"%s__g%llu_key\" ON \"%s__g%llu\" (", name,
                          generation, name, generation);
    for (size_t i = 0; i < root->key_count; i++)
        dbk_buf_append_format(sql, "%s_daybook_k%zu", i > 0 ? ", " : "", i);
    dbk_buf_append_text(sql, ");");
}

int dbk_fill_create(struct dbk_fill *work, struct dbk_error *err)
{
    const struct dbk_view_definition *definition = work->refresh->definition;
    unsigned long long generation = work->row.generation;
    struct dbk_buf sql;
    dbk_buf_init(&sql, DBK_FILL_SQL_MAX);
    dbk_buf_append_format(&sql, "CREATE TABLE \"%s__g%llu\"", definition->name, generation);
    if (work->plan->incremental)
        append_layout(work, &sql);
    else
        append_plain(work, &sql);
    for (size_t i = 0; i < definition->index_count; i++)
        dbk_buf_append_format(&sql, "CREATE INDEX \"%s__g%llu_%zu\" ON \"%s__g%llu\" (%s);",
                              definition->name, generation, i + 1, definition->name, generation,
                              definition->indexes[i]);
    dbk_buf_append_char(&sql, '\0');
    int rc = sql.rc < 0 ? dbk_error_set(err, sql.rc, "%s", dbk_code_text(sql.rc))
                        : dbk_view_run_transaction(work->write, sql.data, err);
    dbk_buf_reset(&sql);
    dbk_buf_append_format(&sql, "INSERT INTO \"%s__g%llu\" VALUES (", definition->name, generation);
    for (int i = 0; i < work->column_count; i++)
        dbk_buf_append_format(&sql, "%s?%d", i > 0 ? ", " : "", i + 1);
    dbk_buf_append_char(&sql, ')');
    if (rc == DBK_OK && sql.rc < 0)
        rc = dbk_error_set(err, sql.rc, "%s", dbk_code_text(sql.rc));
    if (rc == DBK_OK)
        rc = dbk_statement_open(work->write, dbk_buf_slice(&sql), &work->insert, NULL, err);
    dbk_buf_release(&sql);
    return rc;
}

/* Reads up to a chunk of rows. 1: there may be more; 0: that was the end. */
static int read_chunk(struct dbk_fill *work, struct dbk_error *err)
{
    work->row_count = 0;
    dbk_arena_reset(&work->chunk);
    while (work->row_count < CHUNK_ROWS && work->chunk.used < CHUNK_SIZE) {
        int rc = dbk_statement_step(work->select, err);
        if (rc <= 0)
            return rc;
        struct dbk_value *values = work->values + work->row_count * (size_t)work->column_count;
        for (int i = 0; i < work->column_count; i++) {
            values[i] = dbk_statement_column(work->select, i);
            if (values[i].kind != DBK_VALUE_TEXT && values[i].kind != DBK_VALUE_BLOB)
                continue;
            values[i].bytes = dbk_arena_copy(&work->chunk, values[i].bytes);
            if (values[i].bytes.data == NULL)
                return dbk_error_set(err, DBK_ELIMIT, "a row is larger than %zu bytes",
                                     DBK_FILL_MEMORY_MAX);
        }
        work->row_count++;
    }
    return 1;
}

/* The column that says whether a row is shown; -1: all are. */
static int find_shown(const struct dbk_fill *work)
{
    if (!work->plan->incremental || work->plan->tree.root->kind != DBK_RELATION_GROUP)
        return -1;
    int column = 0;
    while (column < work->column_count &&
           strcmp(dbk_statement_column_name(work->select, column), "_daybook_shown") != 0)
        column++;
    return column == work->column_count ? -1 : column;
}

static int write_chunk(struct dbk_fill *work, struct dbk_error *err)
{
    int shown = find_shown(work);
    if (work->row_count == 0)
        return DBK_OK;
    int rc = dbk_connection_begin(work->write, DBK_BEGIN_WRITE, err);
    for (size_t i = 0; i < work->row_count && rc == DBK_OK; i++) {
        const struct dbk_value *values = work->values + i * (size_t)work->column_count;
        for (int column = 0; column < work->column_count; column++)
            dbk_statement_bind(work->insert, column + 1, &values[column]);
        rc = dbk_statement_step(work->insert, err);
        dbk_statement_reset(work->insert);
        work->row.rows += shown < 0 || values[shown].integer != 0 ? 1 : 0;
    }
    return dbk_view_end_transaction(work->write, rc, err);
}

int dbk_fill_rows(struct dbk_fill *work, struct dbk_error *err)
{
    const struct dbk_view_refresh *refresh = work->refresh;
    dbk_free(work->values);
    work->values = dbk_alloc_zero(CHUNK_ROWS * (size_t)work->column_count, sizeof(*work->values));
    if (work->values == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    int more = 1;
    while (more == 1) {
        more = read_chunk(work, err);
        int rc = more < 0 ? more : write_chunk(work, err);
        if (rc < 0)
            return rc;
        if (refresh->progress != NULL && !refresh->progress(refresh->context, work->row.rows, 0))
            return dbk_error_set(err, DBK_ESTOPPED, "the refresh was ended");
    }
    return more;
}

int dbk_fill_stored(struct dbk_fill *work, struct dbk_error *err)
{
    const struct dbk_algebra *tree = &work->plan->tree;
    struct dbk_statement *select = work->select;
    int columns = work->column_count;
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < tree->relation_count; i++) {
        const struct dbk_relation *relation = tree->relations[i];
        if (!relation->stored)
            continue;
        work->select = NULL;
        rc = dbk_connection_begin(work->write, DBK_BEGIN_WRITE, err);
        if (rc == DBK_OK)
            rc = dbk_stored_create(tree, relation, work->write, err);
        rc = dbk_view_end_transaction(work->write, rc, err);
        if (rc == DBK_OK)
            rc = dbk_stored_open(relation, work->read, work->write, &work->select, &work->insert,
                                 err);
        if (rc == DBK_OK) {
            work->column_count = dbk_statement_column_count(work->select);
            rc = dbk_fill_rows(work, err);
        }
        dbk_statement_free(work->select);
        dbk_statement_free(work->insert);
        work->insert = NULL;
    }
    work->select = select;
    work->column_count = columns;
    work->row.rows = 0;
    return rc;
}

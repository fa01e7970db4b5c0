/* SPDX-License-Identifier: Apache-2.0 */
/* A followed table's notes: the difference they tell of, and their end. */
#include <stdio.h>

#include "view/catalog.h"
#include "view/follow.h"

#define SQL_SIZE_MAX ((size_t)1 << 20)
/* Notes removed in one transaction, which takes some ms. */
#define CLEAN_ROWS 4000

/* ---- The difference ---- */

/* The table's oldest or newest note, by `min` or `max`; 0: there is none. */
static int find_note(struct dbk_connection *connection, const char *which, const char *table,
                     int64_t *seq_out, struct dbk_error *err)
{
    struct dbk_buf sql;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_format(&sql, "SELECT %s(_daybook_seq) FROM ", which);
    dbk_follow_name(&sql, DBK_FOLLOW_LOG, table);
    dbk_buf_append_char(&sql, '\0');
    int rc = sql.rc < 0 ? dbk_error_set(err, sql.rc, "%s", dbk_code_text(sql.rc))
                        : dbk_view_integer(connection, sql.data, NULL, seq_out, err);
    dbk_buf_release(&sql);
    return rc;
}

int dbk_follow_newest(struct dbk_connection *connection, const char *table, int64_t *seq_out,
                      struct dbk_error *err)
{
    return find_note(connection, "max", table, seq_out, err);
}

static int make_gathered(struct dbk_delta *delta, const struct dbk_relation *table,
                         struct dbk_error *err)
{
    struct dbk_buf *sql = &delta->sql;
    bool there = false;
    char name[24];
    (void)snprintf(name, sizeof(name), "l%zu", table->number);
    int rc = dbk_delta_has(delta, name, &there, err);
    if (rc < 0 || there)
        return rc;
    dbk_buf_append_format(sql,
                          "CREATE TEMP TABLE %s (_daybook_row INTEGER PRIMARY KEY, _daybook_seq, "
                          "_daybook_had",
                          name);
    dbk_follow_columns(sql, table, "");
    dbk_buf_append_char(sql, ')');
    return dbk_delta_run(delta, err);
}

/* A row's first note: notes are read in their order, and those of a row behind it are ignored. No
   sorting by row, which costs more than the lookups. */
static int gather(struct dbk_delta *delta, const struct dbk_relation *table, int64_t after,
                  uint64_t *rows, struct dbk_error *err)
{
    struct dbk_buf *sql = &delta->sql;
    int64_t more = 0;
    dbk_buf_append_format(
        sql, "INSERT OR IGNORE INTO temp.l%zu SELECT _daybook_row, _daybook_seq, _daybook_had",
        table->number);
    dbk_follow_columns(sql, table, "");
    dbk_buf_append_text(sql, " FROM ");
    dbk_follow_name(sql, DBK_FOLLOW_LOG, table->table);
    dbk_buf_append_text(sql, " WHERE _daybook_seq > ?1 ORDER BY _daybook_seq");
    int rc = dbk_delta_run_with(delta, after, err);
    if (rc == DBK_OK)
        rc = dbk_delta_count(delta, &more, err);
    *rows += (uint64_t)more;
    return rc;
}

int dbk_notes_gather(struct dbk_delta *delta, const char *view, const struct dbk_relation *table,
                     struct dbk_notes *notes, struct dbk_error *err)
{
    int64_t cursor = -1;
    int64_t oldest = 0;
    int64_t newest = 0;
    int rc = dbk_follow_cursor(delta->connection, view, table->table, &cursor, err);
    if (rc < 0 || cursor < 0) {
        notes->cursor = -1;
        return rc;
    }
    rc = make_gathered(delta, table, err);
    if (rc == DBK_OK && (notes->rows == 0 || notes->cursor != cursor)) {
        /* Another process has taken them meanwhile, or it is the first time. */
        if (notes->rows != 0) {
            dbk_buf_append_format(&delta->sql, "DELETE FROM temp.l%zu", table->number);
            rc = dbk_delta_run(delta, err);
        }
        *notes = (struct dbk_notes){.cursor = cursor, .upto = cursor};
    }
    if (rc == DBK_OK)
        rc = find_note(delta->connection, "min", table->table, &oldest, err);
    if (rc == DBK_OK)
        rc = find_note(delta->connection, "max", table->table, &newest, err);
    if (rc < 0)
        return rc;
    notes->lost = oldest > notes->upto + 1;
    if (notes->lost || newest <= notes->upto)
        return rc;
    rc = gather(delta, table, notes->upto, &notes->rows, err);
    notes->upto = newest;
    return rc;
}

int dbk_notes_none(struct dbk_delta *delta, const struct dbk_relation *table, struct dbk_error *err)
{
    uint64_t rows = 0;
    int rc = make_gathered(delta, table, err);
    return rc < 0 ? rc : gather(delta, table, INT64_MAX, &rows, err);
}

int dbk_notes_difference(struct dbk_delta *delta, const struct dbk_relation *table,
                         uint64_t *count_out, struct dbk_error *err)
{
    struct dbk_buf *sql = &delta->sql;
    int64_t went = 0;
    int64_t came = 0;
    dbk_buf_append_format(sql, "INSERT INTO temp.d%zu SELECT -1, _daybook_row", table->number);
    dbk_follow_columns(sql, table, "");
    dbk_buf_append_format(sql, " FROM temp.l%zu WHERE _daybook_had", table->number);
    int rc = dbk_delta_run(delta, err);
    if (rc == DBK_OK)
        rc = dbk_delta_count(delta, &went, err);
    if (rc < 0)
        return rc;
    dbk_buf_append_format(sql, "INSERT INTO temp.d%zu SELECT 1, t.%s", table->number,
                          table->rows[0]);
    dbk_follow_columns(sql, table, "t.");
    dbk_buf_append_format(sql, " FROM temp.l%zu AS l CROSS JOIN ", table->number);
    dbk_emit_name(sql, table->table);
    dbk_buf_append_format(sql, " AS t ON t.%s = l._daybook_row", table->rows[0]);
    rc = dbk_delta_run(delta, err);
    if (rc == DBK_OK)
        rc = dbk_delta_count(delta, &came, err);
    *count_out = (uint64_t)(went + came);
    return rc;
}

/* ---- Cleaning ---- */

/* The tables that have a log, one after the other. */
static int next_log(struct dbk_connection *connection, struct dbk_buf *table, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    struct dbk_slice last = dbk_slice(table->data, table->size == 0 ? 0 : table->size - 1);
    int rc = dbk_statement_open(
        connection,
        DBK_SLICE_LITERAL(
            "SELECT substr(name, length('" DBK_FOLLOW_LOG "') + 1) AS t FROM "
            "sqlite_schema WHERE type = 'table' AND substr(name, 1, length('" DBK_FOLLOW_LOG
            "')) = '" DBK_FOLLOW_LOG "' AND t > ?1 ORDER BY t LIMIT 1"),
        &statement, NULL, err);
    if (rc < 0)
        return rc;
    struct dbk_value value = {.kind = DBK_VALUE_TEXT, .bytes = last};
    dbk_statement_bind(statement, 1, &value);
    rc = dbk_statement_step(statement, err);
    if (rc == 1) {
        struct dbk_slice name = dbk_statement_column(statement, 0).bytes;
        struct dbk_buf next;
        dbk_buf_init(&next, SQL_SIZE_MAX);
        dbk_buf_append(&next, name);
        dbk_buf_append_char(&next, '\0');
        dbk_buf_release(table);
        *table = next;
        if (next.rc < 0)
            rc = dbk_error_set(err, next.rc, "%s", dbk_code_text(next.rc));
    }
    dbk_statement_free(statement);
    return rc;
}

/* Runs what the buffer holds, with ?1. */
static int run_up_to(struct dbk_connection *connection, struct dbk_buf *sql, int64_t least,
                     struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    struct dbk_value value = {.kind = DBK_VALUE_INTEGER, .integer = least};
    int rc = sql->rc < 0
                 ? dbk_error_set(err, sql->rc, "a statement: %s", dbk_code_text(sql->rc))
                 : dbk_statement_open(connection, dbk_buf_slice(sql), &statement, NULL, err);
    if (rc == DBK_OK) {
        dbk_statement_bind(statement, 1, &value);
        rc = dbk_statement_step(statement, err);
    }
    dbk_statement_free(statement);
    dbk_buf_reset(sql);
    return rc < 0 ? rc : DBK_OK;
}

static void append_end_of(struct dbk_buf *sql, const char *which, const char *table)
{
    dbk_buf_append_format(sql, "(SELECT %s(_daybook_seq) FROM ", which);
    dbk_follow_name(sql, DBK_FOLLOW_LOG, table);
    dbk_buf_append_char(sql, ')');
}

static void append_delete(struct dbk_buf *sql, const char *table)
{
    dbk_buf_append_text(sql, "DELETE FROM ");
    dbk_follow_name(sql, DBK_FOLLOW_LOG, table);
    dbk_buf_append_text(sql, " WHERE _daybook_seq < min(?1 + 1, ");
    append_end_of(sql, "max", table);
    dbk_buf_append_text(sql, ", ");
    append_end_of(sql, "min", table);
    dbk_buf_append_format(sql, " + %d)", CLEAN_ROWS);
}

/* The newest note stays for its number; what it says of the row goes. */
static void append_empty(struct dbk_buf *sql, const char *table)
{
    dbk_buf_append_text(sql, "INSERT OR REPLACE INTO ");
    dbk_follow_name(sql, DBK_FOLLOW_LOG, table);
    dbk_buf_append_text(sql, " (_daybook_seq, _daybook_row, _daybook_had) SELECT _daybook_seq, "
                             "_daybook_row, 0 FROM ");
    dbk_follow_name(sql, DBK_FOLLOW_LOG, table);
    dbk_buf_append_text(sql, " WHERE _daybook_had AND _daybook_seq <= ?1 AND _daybook_seq = ");
    append_end_of(sql, "max", table);
}

int dbk_notes_clean(struct dbk_connection *connection, const char *table, bool *left_out,
                    struct dbk_error *err)
{
    struct dbk_buf sql;
    int64_t least = 0;
    int64_t removed = 0;
    int rc = dbk_view_integer(connection, "SELECT min(seq) FROM _daybook_cursors WHERE source = ?1",
                              table, &least, err);
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    append_delete(&sql, table);
    if (rc == DBK_OK)
        rc = run_up_to(connection, &sql, least, err);
    if (rc == DBK_OK)
        rc = dbk_view_integer(connection, "SELECT changes()", NULL, &removed, err);
    *left_out = removed == CLEAN_ROWS;
    if (rc == DBK_OK && !*left_out) {
        append_empty(&sql, table);
        rc = run_up_to(connection, &sql, least, err);
    }
    dbk_buf_release(&sql);
    return rc;
}

/* One transaction's share. */
static int clean_some(struct dbk_connection *connection, const char *table, bool *left_out,
                      struct dbk_error *err)
{
    struct dbk_buf sql;
    int64_t cursors = 0;
    int rc = dbk_view_integer(connection, "SELECT count(*) FROM _daybook_cursors WHERE source = ?1",
                              table, &cursors, err);
    if (rc < 0 || cursors != 0)
        return rc < 0 ? rc : dbk_notes_clean(connection, table, left_out, err);
    *left_out = false;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_follow_end(&sql, table);
    dbk_buf_append_char(&sql, '\0');
    rc = sql.rc < 0 ? dbk_error_set(err, sql.rc, "a statement: %s", dbk_code_text(sql.rc))
                    : dbk_connection_run(connection, sql.data, err);
    dbk_buf_release(&sql);
    return rc;
}

static int clean_log(struct dbk_connection *connection, const char *table, struct dbk_error *err)
{
    bool left = true;
    int rc = DBK_OK;
    while (rc == DBK_OK && left) {
        rc = dbk_connection_begin(connection, DBK_BEGIN_WRITE, err);
        if (rc == DBK_OK)
            rc = clean_some(connection, table, &left, err);
        if (rc == DBK_OK)
            rc = dbk_connection_run(connection, "COMMIT", err);
        if (rc < 0 && dbk_connection_in_transaction(connection))
            dbk_ignore(dbk_connection_run(connection, "ROLLBACK", NULL));
    }
    return rc;
}

int dbk_follow_clean(struct dbk_connection *connection, struct dbk_error *err)
{
    struct dbk_buf table;
    int rc = DBK_OK;
    dbk_buf_init(&table, SQL_SIZE_MAX);
    while (rc == DBK_OK && (rc = next_log(connection, &table, err)) == 1)
        rc = clean_log(connection, table.data, err);
    dbk_buf_release(&table);
    return rc;
}

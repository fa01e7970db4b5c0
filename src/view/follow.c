/* SPDX-License-Identifier: Apache-2.0 */
#include "view/follow.h"

#include <stdio.h>

#include "view/catalog.h"

#define SQL_SIZE_MAX ((size_t)1 << 20)
#define LOG_PREFIX DBK_FOLLOW_LOG
/* How many notes come between two looks at how many there are. */
#define TRIM_EVERY "1000"

const char *const dbk_follow_triggers[6] = {"_daybook_insert_",  "_daybook_delete_",
                                            "_daybook_update_",  "_daybook_before_",
                                            "_daybook_replace_", "_daybook_trim_"};

static int run_buffer(struct dbk_connection *connection, struct dbk_buf *sql, struct dbk_error *err)
{
    dbk_buf_append_char(sql, '\0');
    int rc = sql->rc < 0 ? dbk_error_set(err, sql->rc, "a statement: %s", dbk_code_text(sql->rc))
                         : dbk_connection_run(connection, sql->data, err);
    dbk_buf_reset(sql);
    return rc;
}

void dbk_follow_name(struct dbk_buf *out, const char *prefix, const char *table)
{
    struct dbk_buf name;
    dbk_buf_init(&name, SQL_SIZE_MAX);
    dbk_buf_append_text(&name, prefix);
    dbk_buf_append_text(&name, table);
    dbk_buf_append_char(&name, '\0');
    if (name.rc < 0)
        out->rc = name.rc;
    else
        dbk_emit_name(out, name.data);
    dbk_buf_release(&name);
}

int dbk_follow_catalog(struct dbk_connection *connection, struct dbk_error *err)
{
    return dbk_connection_run(connection,
                              "CREATE TABLE IF NOT EXISTS _daybook_cursors (view TEXT NOT NULL, "
                              "source TEXT NOT NULL, seq INTEGER NOT NULL, "
                              "PRIMARY KEY (view, source)) WITHOUT ROWID",
                              err);
}

/* ---- Triggers ---- */

void dbk_follow_end(struct dbk_buf *sql, const char *table)
{
    for (size_t i = 0; i < sizeof(dbk_follow_triggers) / sizeof(dbk_follow_triggers[0]); i++) {
        dbk_buf_append_text(sql, "DROP TRIGGER IF EXISTS ");
        dbk_follow_name(sql, dbk_follow_triggers[i], table);
        dbk_buf_append_text(sql, "; ");
    }
    dbk_buf_append_text(sql, "DROP TABLE ");
    dbk_follow_name(sql, LOG_PREFIX, table);
}

void dbk_follow_columns(struct dbk_buf *out, const struct dbk_relation *table, const char *prefix)
{
    for (size_t i = 0; i < table->column_count; i++) {
        dbk_buf_append_text(out, ", ");
        dbk_buf_append_text(out, prefix);
        dbk_emit_name(out, table->columns[i]);
    }
}

static void append_log(struct dbk_buf *out, const struct dbk_relation *table, bool columns)
{
    dbk_buf_append_text(out, "INSERT INTO ");
    dbk_follow_name(out, LOG_PREFIX, table->table);
    dbk_buf_append_text(out, " (_daybook_row, _daybook_had");
    if (columns)
        dbk_follow_columns(out, table, "");
    dbk_buf_append_text(out, ") ");
}

static void append_trigger(struct dbk_buf *out, const struct dbk_relation *table,
                           const char *prefix, const char *when)
{
    dbk_buf_append_text(out, "CREATE TRIGGER ");
    dbk_follow_name(out, prefix, table->table);
    dbk_buf_append_char(out, ' ');
    dbk_buf_append_text(out, when);
    dbk_buf_append_text(out, " ON ");
    dbk_emit_name(out, table->table);
    dbk_buf_append_text(out, " BEGIN ");
}

static void append_old(struct dbk_buf *out, const struct dbk_relation *table)
{
    append_log(out, table, true);
    dbk_buf_append_format(out, "VALUES (OLD.%s, 1", table->rows[0]);
    dbk_follow_columns(out, table, "OLD.");
    dbk_buf_append_text(out, "); ");
}

static void append_after(struct dbk_buf *out, const struct dbk_relation *table)
{
    append_trigger(out, table, "_daybook_insert_", "AFTER INSERT");
    append_log(out, table, false);
    dbk_buf_append_format(out, "VALUES (NEW.%s, 0); END; ", table->rows[0]);
    append_trigger(out, table, "_daybook_delete_", "AFTER DELETE");
    append_old(out, table);
    dbk_buf_append_text(out, "END; ");
    append_trigger(out, table, "_daybook_update_", "AFTER UPDATE");
    append_old(out, table);
    append_log(out, table, false);
    dbk_buf_append_format(out, "SELECT NEW.%s, 0 WHERE NEW.%s <> OLD.%s; END; ", table->rows[0],
                          table->rows[0], table->rows[0]);
}

/* Notes the rows that have the new row's values in an index's columns. */
static int append_replaced(struct dbk_connection *connection, struct dbk_buf *out,
                           const struct dbk_relation *table, struct dbk_slice index, bool update,
                           struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int rc = dbk_statement_open(
        connection,
        DBK_SLICE_LITERAL("SELECT name FROM pragma_index_xinfo(?1) WHERE key ORDER BY seqno"),
        &statement, NULL, err);
    if (rc < 0)
        return rc;
    struct dbk_value name = {.kind = DBK_VALUE_TEXT, .bytes = index};
    dbk_statement_bind(statement, 1, &name);
    append_log(out, table, true);
    dbk_buf_append_format(out, "SELECT %s, 1", table->rows[0]);
    dbk_follow_columns(out, table, "");
    dbk_buf_append_text(out, " FROM ");
    dbk_emit_name(out, table->table);
    dbk_buf_append_text(out, " WHERE 1");
    while ((rc = dbk_statement_step(statement, err)) == 1) {
        struct dbk_value column = dbk_statement_column(statement, 0);
        if (column.kind != DBK_VALUE_TEXT) {
            rc = dbk_error_set(err, DBK_EREFUSED,
                               "the unique index %.*s of %s is on an expression, so that rows that "
                               "REPLACE deletes cannot be told",
                               DBK_SLICE_ARGS(index), table->table);
            break;
        }
        char *text = dbk_copy_text(column.bytes);
        if (text == NULL) {
            rc = dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
            break;
        }
        dbk_buf_append_text(out, " AND ");
        dbk_emit_name(out, text);
        dbk_buf_append_text(out, " = NEW.");
        dbk_emit_name(out, text);
        dbk_free(text);
    }
    if (update)
        dbk_buf_append_format(out, " AND %s <> OLD.%s", table->rows[0], table->rows[0]);
    dbk_buf_append_text(out, "; ");
    dbk_statement_free(statement);
    return rc;
}

/* What an INSERT or UPDATE may replace: by row id and by each unique index. */
static int append_before(struct dbk_connection *connection, struct dbk_buf *out,
                         const struct dbk_relation *table, bool update, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int rc = dbk_statement_open(
        connection, DBK_SLICE_LITERAL("SELECT name FROM pragma_index_list(?1) WHERE \"unique\""),
        &statement, NULL, err);
    if (rc < 0)
        return rc;
    struct dbk_value name = {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(table->table)};
    dbk_statement_bind(statement, 1, &name);
    append_trigger(out, table, update ? "_daybook_replace_" : "_daybook_before_",
                   update ? "BEFORE UPDATE" : "BEFORE INSERT");
    append_log(out, table, true);
    dbk_buf_append_format(out, "SELECT %s, 1", table->rows[0]);
    dbk_follow_columns(out, table, "");
    dbk_buf_append_text(out, " FROM ");
    dbk_emit_name(out, table->table);
    dbk_buf_append_format(out, " WHERE %s = NEW.%s", table->rows[0], table->rows[0]);
    if (update)
        dbk_buf_append_format(out, " AND %s <> OLD.%s", table->rows[0], table->rows[0]);
    dbk_buf_append_text(out, "; ");
    while ((rc = dbk_statement_step(statement, err)) == 1) {
        rc = append_replaced(connection, out, table, dbk_statement_column(statement, 0).bytes,
                             update, err);
        if (rc < 0)
            break;
    }
    dbk_buf_append_text(out, "END; ");
    dbk_statement_free(statement);
    return rc;
}

/* Of more notes the oldest go, for all who write: a view that stands still costs a bounded room. */
static void append_trim(struct dbk_buf *out, const struct dbk_relation *table)
{
    dbk_buf_append_text(out, "CREATE TRIGGER ");
    dbk_follow_name(out, "_daybook_trim_", table->table);
    dbk_buf_append_text(out, " AFTER INSERT ON ");
    dbk_follow_name(out, LOG_PREFIX, table->table);
    dbk_buf_append_text(out, " WHEN NEW._daybook_seq % " TRIM_EVERY " = 0 BEGIN DELETE FROM ");
    dbk_follow_name(out, LOG_PREFIX, table->table);
    dbk_buf_append_text(out, " WHERE _daybook_seq <= NEW._daybook_seq - " DBK_FOLLOW_NOTES_MAX
                             "; END; ");
}

static int append_triggers(struct dbk_connection *connection, struct dbk_buf *out,
                           const struct dbk_relation *table, struct dbk_error *err)
{
    append_after(out, table);
    append_trim(out, table);
    int rc = append_before(connection, out, table, false, err);
    return rc < 0 ? rc : append_before(connection, out, table, true, err);
}

int dbk_follow_is_current(struct dbk_connection *connection, const struct dbk_relation *table,
                          bool *current_out, struct dbk_error *err)
{
    struct dbk_buf sql;
    int64_t same = 0;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    int rc = append_triggers(connection, &sql, table, err);
    dbk_buf_append_char(&sql, '\0');
    if (rc == DBK_OK)
        rc = sql.rc < 0
                 ? dbk_error_set(err, sql.rc, "%s", dbk_code_text(sql.rc))
                 : dbk_view_integer(connection,
                                    "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' "
                                    "AND instr(?1, sql || '; ') > 0",
                                    sql.data, &same, err);
    dbk_buf_release(&sql);
    *current_out = same == sizeof(dbk_follow_triggers) / sizeof(dbk_follow_triggers[0]);
    return rc;
}

static int has_log(struct dbk_connection *connection, const struct dbk_relation *table,
                   int64_t *there_out, struct dbk_error *err)
{
    struct dbk_buf log;
    dbk_buf_init(&log, SQL_SIZE_MAX);
    dbk_buf_append_format(&log, LOG_PREFIX "%s", table->table);
    dbk_buf_append_char(&log, '\0');
    int rc = log.rc < 0 ? dbk_error_set(err, log.rc, "%s", dbk_code_text(log.rc))
                        : dbk_view_integer(connection,
                                           "SELECT count(*) FROM sqlite_schema WHERE name = ?1",
                                           log.data, there_out, err);
    dbk_buf_release(&log);
    return rc;
}

/* newest: the last note's number of a log that was here before; 0: there was none. */
static int make_log(struct dbk_connection *connection, const struct dbk_relation *table,
                    int64_t newest, struct dbk_error *err)
{
    struct dbk_buf sql;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "CREATE TABLE ");
    dbk_follow_name(&sql, LOG_PREFIX, table->table);
    dbk_buf_append_text(&sql, " (_daybook_seq INTEGER PRIMARY KEY, _daybook_row INTEGER NOT NULL, "
                              "_daybook_had INTEGER NOT NULL");
    dbk_follow_columns(&sql, table, "");
    dbk_buf_append_text(&sql, "); ");
    if (newest > 0) {
        dbk_buf_append_text(&sql, "INSERT INTO ");
        dbk_follow_name(&sql, LOG_PREFIX, table->table);
        dbk_buf_append_format(&sql,
                              " (_daybook_seq, _daybook_row, _daybook_had) VALUES (%lld, 0, 0); ",
                              (long long)newest);
    }
    int rc = append_triggers(connection, &sql, table, err);
    if (rc == DBK_OK)
        rc = run_buffer(connection, &sql, err);
    dbk_buf_release(&sql);
    return rc;
}

/* Ends a following that missed changes: no view can be brought up to date by its notes. */
static int end_log(struct dbk_connection *connection, const char *table, struct dbk_error *err)
{
    struct dbk_buf sql;
    int64_t ignored = 0;
    int rc = dbk_view_integer(connection, "UPDATE _daybook_cursors SET seq = -1 WHERE source = ?1",
                              table, &ignored, err);
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_follow_end(&sql, table);
    if (rc == DBK_OK)
        rc = run_buffer(connection, &sql, err);
    dbk_buf_release(&sql);
    return rc;
}

static int follow_table(struct dbk_connection *connection, const struct dbk_relation *table,
                        struct dbk_error *err)
{
    int64_t there = 0;
    int64_t newest = 0;
    bool current = false;
    int rc = has_log(connection, table, &there, err);
    if (rc == DBK_OK && there != 0)
        rc = dbk_follow_is_current(connection, table, &current, err);
    if (rc < 0 || current)
        return rc;
    if (there != 0) {
        rc = dbk_follow_newest(connection, table->table, &newest, err);
        if (rc == DBK_OK)
            rc = end_log(connection, table->table, err);
    }
    return rc < 0 ? rc : make_log(connection, table, newest, err);
}

/* ---- Cursors ---- */

static int run_cursor(struct dbk_connection *connection, const char *sql, const char *view,
                      const char *table, const int64_t *seq, int64_t *seq_out,
                      struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int rc = dbk_statement_open(connection, dbk_slice_of(sql), &statement, NULL, err);
    if (rc < 0)
        return rc;
    const struct dbk_value values[] = {
        {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(view)},
        {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(table)},
        {.kind = DBK_VALUE_INTEGER, .integer = seq == NULL ? 0 : *seq},
    };
    dbk_statement_bind(statement, 1, &values[0]);
    if (table != NULL)
        dbk_statement_bind(statement, 2, &values[1]);
    if (seq != NULL)
        dbk_statement_bind(statement, 3, &values[2]);
    rc = dbk_statement_step(statement, err);
    if (rc >= 0 && seq_out != NULL)
        *seq_out = rc == 1 ? dbk_statement_column(statement, 0).integer : -1;
    dbk_statement_free(statement);
    return rc < 0 ? rc : DBK_OK;
}

int dbk_follow_cursor(struct dbk_connection *connection, const char *view, const char *table,
                      int64_t *seq_out, struct dbk_error *err)
{
    return run_cursor(connection,
                      "SELECT seq FROM _daybook_cursors WHERE view = ?1 AND source = ?2", view,
                      table, NULL, seq_out, err);
}

int dbk_follow_set_cursor(struct dbk_connection *connection, const char *view, const char *table,
                          int64_t seq, struct dbk_error *err)
{
    return run_cursor(connection, "INSERT OR REPLACE INTO _daybook_cursors VALUES (?1, ?2, ?3)",
                      view, table, &seq, NULL, err);
}

int dbk_follow_forget(struct dbk_connection *connection, const char *view, struct dbk_error *err)
{
    return run_cursor(connection, "DELETE FROM _daybook_cursors WHERE view = ?1", view, NULL, NULL,
                      NULL, err);
}

int dbk_follow_take_over(struct dbk_connection *connection, const char *owner, const char *view,
                         struct dbk_error *err)
{
    int rc = dbk_follow_forget(connection, view, err);
    return rc < 0 ? rc
                  : run_cursor(connection, "UPDATE _daybook_cursors SET view = ?1 WHERE view = ?2",
                               view, owner, NULL, NULL, err);
}

int dbk_follow_release(struct dbk_connection *connection, const char *view, struct dbk_error *err)
{
    int64_t there = 0;
    int rc = dbk_view_integer(connection,
                              "SELECT count(*) FROM sqlite_schema WHERE name = '_daybook_cursors'",
                              NULL, &there, err);
    return rc < 0 || there == 0
               ? rc
               : run_cursor(connection,
                            "DELETE FROM _daybook_cursors WHERE (view = ?1 AND seq < 0) OR "
                            "substr(view, 1, length(?1) + 3) = ?1 || '__g'",
                            view, NULL, NULL, NULL, err);
}

static int hold(struct dbk_connection *connection, const char *view, const char *table,
                struct dbk_error *err)
{
    return run_cursor(connection, "INSERT OR IGNORE INTO _daybook_cursors VALUES (?1, ?2, -1)",
                      view, table, NULL, NULL, err);
}

int dbk_follow_tables(struct dbk_connection *connection, const char *view,
                      const struct dbk_algebra *tree, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < tree->relation_count; i++) {
        const struct dbk_relation *table = tree->relations[i];
        if (table->kind != DBK_RELATION_TABLE || table->log)
            continue;
        rc = follow_table(connection, table, err);
        if (rc == DBK_OK)
            rc = hold(connection, view, table->table, err);
    }
    return rc;
}

int dbk_follow_keep(struct dbk_connection *connection, const char *const *views, size_t count,
                    struct dbk_error *err)
{
    struct dbk_buf sql;
    int64_t there = 0;
    int rc = dbk_view_integer(connection,
                              "SELECT count(*) FROM sqlite_schema WHERE name = '_daybook_cursors'",
                              NULL, &there, err);
    if (rc < 0 || there == 0)
        return rc;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "DELETE FROM _daybook_cursors WHERE view NOT IN (''");
    for (size_t i = 0; i < count; i++)
        dbk_buf_append_format(&sql, ", '%s'", views[i]);
    dbk_buf_append_char(&sql, ')');
    rc = run_buffer(connection, &sql, err);
    dbk_buf_release(&sql);
    return rc < 0 ? rc : dbk_follow_clean(connection, err);
}

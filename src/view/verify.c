/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stored rows against the SELECT: both in one snapshot, the SELECT's stored in
 * temp._daybook_expected first, without affinities, as a full refresh stores them.
 */
#include <stdio.h>

#include "view/explain.h"
#include "view/logged.h"
#include "view/shown.h"

#define SQL_SIZE_MAX ((size_t)4 << 20)

struct verifying {
    const struct dbk_view_refresh *refresh;
    struct dbk_connection *connection;
    struct dbk_statement *select;
    struct dbk_buf expected; /* the SELECT that the rows are compared with */
    struct dbk_buf stored;   /* and that of the rows */
    struct dbk_buf sql;
    struct dbk_view_check check;
};

static int fail(struct verifying *verifying, struct dbk_error *err)
{
    int rc = verifying->sql.rc;
    return rc < 0 ? dbk_error_set(err, rc, "%s", dbk_code_text(rc)) : DBK_OK;
}

/* Events that the view has read may be read otherwise since. */
static int look_at_log(struct verifying *verifying, const struct dbk_view_row *row,
                       struct dbk_error *err)
{
    const struct dbk_view_refresh *refresh = verifying->refresh;
    struct dbk_logged stored;
    struct dbk_logged now;
    char reason[512] = "";
    int rc = dbk_logged_read(verifying->connection, refresh->definition->name, &stored, err);
    if (rc < 0 || !stored.found)
        return rc;
    dbk_logged_take(refresh->store, &now);
    now.position = row->position;
    rc = dbk_logged_differs(refresh->store, &stored, &now, reason, sizeof(reason), err);
    return rc == DBK_OK && reason[0] != '\0' ? dbk_error_set(err, DBK_EBUSY, "%s", reason) : rc;
}

/* Pins the log where the view stands, and sees that no change is missing in it. */
static int begin(struct verifying *verifying, struct dbk_view_row *row, struct dbk_error *err)
{
    const struct dbk_view_refresh *refresh = verifying->refresh;
    uint64_t position = 0;
    bool found = false;
    int rc = dbk_connection_begin(verifying->connection, DBK_BEGIN_READ, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_read(verifying->connection, refresh->definition->name, row, err);
    if (rc == DBK_OK && row->generation == 0)
        rc = dbk_error_set(err, DBK_ENOTFOUND, "it has not been refreshed yet");
    if (rc == DBK_OK)
        rc = dbk_view_position(verifying->connection, refresh->source, &position, &found, err);
    if (rc == DBK_OK && found && position != row->position)
        rc = dbk_error_set(err, DBK_EBUSY, "it stands at position %ju, what it reads at %ju",
                           (uintmax_t)row->position, (uintmax_t)position);
    if (rc == DBK_OK && strcmp(row->fingerprint, refresh->fingerprint) != 0)
        rc = dbk_error_set(err, DBK_EBUSY, "its file has changed since it was refreshed");
    dbk_target_end_events(verifying->connection, row->position, NULL);
    return rc == DBK_OK ? look_at_log(verifying, row, err) : rc;
}

/* A floating-point number as a text that noise does not reach. */
static void append_column(struct dbk_buf *out, const char *name)
{
    dbk_buf_append_text(out, "CASE typeof(");
    dbk_emit_name(out, name);
    dbk_buf_append_text(out, ") WHEN 'real' THEN printf('%.12g', ");
    dbk_emit_name(out, name);
    dbk_buf_append_text(out, ") ELSE ");
    dbk_emit_name(out, name);
    dbk_buf_append_text(out, " END");
}

static int store_expected(struct verifying *verifying, struct dbk_error *err)
{
    struct dbk_slice text = dbk_buf_slice(&verifying->expected);
    dbk_connection_guard(verifying->connection, DBK_GUARD_QUERY);
    int rc = dbk_statement_open(verifying->connection, text, &verifying->select, NULL, err);
    dbk_connection_guard(verifying->connection, DBK_GUARD_NONE);
    if (rc < 0)
        return rc;
    dbk_buf_append_text(&verifying->sql, "CREATE TEMP TABLE _daybook_expected (");
    for (int i = 0; i < dbk_statement_column_count(verifying->select); i++) {
        const char *name = dbk_statement_column_name(verifying->select, i);
        dbk_buf_append_text(&verifying->sql, i > 0 ? ", " : "");
        dbk_emit_name(&verifying->sql, name);
    }
    dbk_buf_append_text(&verifying->sql, "); INSERT INTO temp._daybook_expected ");
    dbk_buf_append(&verifying->sql, text);
    dbk_buf_append_char(&verifying->sql, '\0');
    rc = fail(verifying, err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(verifying->connection, verifying->sql.data, err);
    dbk_buf_reset(&verifying->sql);
    return rc;
}

/* A row a difference: how often it is stored too often, and the row in words. */
static int compare(struct verifying *verifying, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int count = dbk_statement_column_count(verifying->select);
    struct dbk_buf *sql = &verifying->sql;
    dbk_buf_append_text(sql, "SELECT total(max(w, 0)), total(max(-w, 0)), min(t) FROM (SELECT "
                             "sum(w) AS w, ");
    for (int i = 0; i < count; i++)
        dbk_buf_append_format(sql, "%squote(c%d)", i > 0 ? " || ', ' || " : "", i + 1);
    dbk_buf_append_text(sql, " AS t FROM (SELECT 1 AS w");
    for (int side = 0; side < 2; side++) {
        dbk_buf_append_text(sql, side == 0 ? "" : " UNION ALL SELECT -1");
        for (int i = 0; i < count; i++) {
            dbk_buf_append_text(sql, ", ");
            append_column(sql, dbk_statement_column_name(verifying->select, i));
            dbk_buf_append_format(sql, " AS c%d", i + 1);
        }
        dbk_buf_append_text(sql, " FROM ");
        if (side == 0)
            dbk_buf_append(sql, dbk_buf_slice(&verifying->stored));
        else
            dbk_buf_append_text(sql, "temp._daybook_expected");
    }
    dbk_buf_append_text(sql, ") GROUP BY ");
    for (int i = 0; i < count; i++)
        dbk_buf_append_format(sql, "%sc%d", i > 0 ? ", " : "", i + 1);
    dbk_buf_append_text(sql, " HAVING sum(w) <> 0)");
    int rc = fail(verifying, err);
    if (rc == DBK_OK)
        rc = dbk_statement_open(verifying->connection, dbk_buf_slice(sql), &statement, NULL, err);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    if (rc == 1) {
        double more = dbk_statement_column(statement, 0).real;
        double less = dbk_statement_column(statement, 1).real;
        struct dbk_value row = dbk_statement_column(statement, 2);
        rc = DBK_OK;
        verifying->check.more = (uint64_t)more;
        verifying->check.less = (uint64_t)less;
        if (more > 0 || less > 0)
            rc = dbk_error_set(err, DBK_ECORRUPT,
                               "%.0f rows are stored that its SELECT does not give, and %.0f are "
                               "missing, such as (%.*s)",
                               more, less, DBK_SLICE_ARGS(row.bytes));
    }
    dbk_statement_free(statement);
    return rc;
}

/* Which rows are compared: the result's, or where LIMIT shows a part of them, all that are stored
   with what the SELECT gives without it. */
static int choose(struct verifying *verifying, const struct dbk_view_row *row,
                  struct dbk_error *err)
{
    const struct dbk_view_definition *definition = verifying->refresh->definition;
    struct dbk_view_plan plan;
    dbk_view_plan_init(&plan);
    int rc = dbk_view_plan_make(&plan, verifying->connection, definition, err);
    if (rc == DBK_OK && plan.incremental && row->layout != 0 && plan.tree.whole != NULL) {
        dbk_buf_append_text(&verifying->expected, plan.tree.whole);
        dbk_buf_append_char(&verifying->stored, '(');
        dbk_shown_whole(&verifying->stored, &plan, definition->name, row->generation, true);
        dbk_buf_append_char(&verifying->stored, ')');
    } else {
        dbk_buf_append(&verifying->expected, dbk_view_select(definition));
        dbk_emit_name(&verifying->stored, definition->name);
    }
    dbk_view_plan_release(&plan);
    return rc;
}

int dbk_view_verify(const struct dbk_view_refresh *refresh, struct dbk_view_check *check_out,
                    struct dbk_error *err)
{
    struct verifying verifying = {.refresh = refresh};
    struct dbk_view_row row = {0};
    dbk_buf_init(&verifying.sql, SQL_SIZE_MAX);
    dbk_buf_init(&verifying.expected, SQL_SIZE_MAX);
    dbk_buf_init(&verifying.stored, SQL_SIZE_MAX);
    int rc = dbk_connection_open(refresh->definition->database_path, DBK_CONNECT_READ,
                                 &verifying.connection, err);
    if (rc == DBK_OK)
        dbk_view_tell_connection(refresh, verifying.connection);
    if (rc == DBK_OK)
        rc = dbk_logged_attach(verifying.connection, refresh->store, err);
    if (rc == DBK_OK)
        rc = begin(&verifying, &row, err);
    if (rc == DBK_OK)
        rc = choose(&verifying, &row, err);
    if (rc == DBK_OK)
        rc = store_expected(&verifying, err);
    if (rc == DBK_OK)
        rc = compare(&verifying, err);
    verifying.check.rows = row.rows;
    verifying.check.position = row.position;
    *check_out = verifying.check;
    dbk_statement_free(verifying.select);
    dbk_view_tell_connection(refresh, NULL);
    dbk_connection_free(verifying.connection);
    dbk_buf_release(&verifying.expected);
    dbk_buf_release(&verifying.stored);
    dbk_buf_release(&verifying.sql);
    return rc;
}

int dbk_view_distrust(const struct dbk_view_definition *definition, const struct dbk_error *why,
                      struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    struct dbk_view_row row = {0};
    int rc = dbk_connection_open(definition->database_path, 0, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_connection_begin(connection, DBK_BEGIN_WRITE, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_read(connection, definition->name, &row, err);
    row.layout = 0;
    (void)snprintf(row.error, sizeof(row.error), "%.*s", (int)sizeof(row.error) - 1, why->message);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_write(connection, definition->name, &row, err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(connection, "COMMIT", err);
    if (connection != NULL && dbk_connection_in_transaction(connection))
        dbk_ignore(dbk_connection_run(connection, "ROLLBACK", NULL));
    dbk_connection_free(connection);
    return rc;
}

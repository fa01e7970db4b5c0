/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of alerts, and what is told of them. */
#include <stdio.h>

#include "view/alert.h"
#include "view/record.h"
#include "view/refresh.h"
#include "view/state.h"

#define SQL_SIZE_MAX ((size_t)1 << 20)

static struct dbk_value text_of(const char *text)
{
    return (struct dbk_value){.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(text)};
}

int dbk_alert_run(struct dbk_connection *connection, const char *sql,
                  const struct dbk_value *values, size_t count, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int rc = dbk_statement_open(connection, dbk_slice_of(sql), &statement, NULL, err);
    for (size_t i = 0; rc == DBK_OK && i < count; i++)
        dbk_statement_bind(statement, (int)i + 1, &values[i]);
    while (rc >= 0 && (rc = dbk_statement_step(statement, err)) == 1)
        continue;
    dbk_statement_free(statement);
    return rc;
}

int dbk_alert_open(const struct dbk_alert *alert, const char *sql,
                   struct dbk_statement **statement_out, struct dbk_error *err)
{
    const struct dbk_value view = text_of(alert->view->definition.name);
    const struct dbk_value name = text_of(alert->definition->name);
    int rc = dbk_statement_open(alert->connection, dbk_slice_of(sql), statement_out, NULL, err);
    if (rc < 0)
        return rc;
    dbk_statement_bind(*statement_out, 1, &view);
    dbk_statement_bind(*statement_out, 2, &name);
    return DBK_OK;
}

int dbk_alert_trim(const struct dbk_alert *alert, struct dbk_error *err)
{
#define OLDEST                                                                                     \
    "view = ?1 AND alert = ?2 AND aside = 1 AND number <= (SELECT number FROM "                    \
    "_daybook_alerts_due WHERE view = ?1 AND alert = ?2 AND aside = 1 ORDER BY number DESC "       \
    "LIMIT 1 OFFSET ?3)"
    const struct dbk_value values[] = {
        text_of(alert->view->definition.name),
        text_of(alert->definition->name),
        {.kind = DBK_VALUE_INTEGER, .integer = DBK_ALERT_ASIDE_MAX},
    };
    int rc = dbk_alert_run(alert->connection,
                           "UPDATE _daybook_alerts SET dropped = dropped + (SELECT count(*) FROM "
                           "_daybook_alerts_due WHERE " OLDEST ") WHERE view = ?1 AND alert = ?2",
                           values, 3, err);
    return rc < 0 ? rc
                  : dbk_alert_run(alert->connection,
                                  "DELETE FROM _daybook_alerts_due WHERE " OLDEST, values, 3, err);
#undef OLDEST
}

static int has_tables(struct dbk_connection *connection, bool *there_out, struct dbk_error *err)
{
    static const char *const sql[] = {
        [DBK_DIALECT_SQLITE] = "SELECT count(*) FROM sqlite_schema WHERE name = '_daybook_alerts'",
        [DBK_DIALECT_POSTGRES] = "SELECT count(to_regclass('_daybook_alerts'))",
    };
    int64_t count = 0;
    int rc =
        dbk_view_integer(connection, sql[dbk_connection_dialect(connection)], NULL, &count, err);
    *there_out = count != 0;
    return rc;
}

static int create(struct dbk_connection *connection, struct dbk_error *err)
{
    return dbk_connection_run(
        connection,
        "CREATE TABLE IF NOT EXISTS _daybook_alerts (view TEXT NOT NULL, alert TEXT NOT NULL, "
        "epoch TEXT NOT NULL, seq BIGINT NOT NULL, made BIGINT NOT NULL, delivered BIGINT NOT "
        "NULL, last TEXT, last_us BIGINT NOT NULL, failures BIGINT NOT NULL, missed BIGINT NOT "
        "NULL, dropped BIGINT NOT NULL, paused INTEGER NOT NULL, error TEXT, PRIMARY KEY (view, "
        "alert));"
        "CREATE TABLE IF NOT EXISTS _daybook_alerts_due (view TEXT NOT NULL, alert TEXT NOT NULL, "
        "number BIGINT NOT NULL, id TEXT NOT NULL, position BIGINT NOT NULL, old TEXT, new TEXT, "
        "attempts BIGINT NOT NULL, tried BIGINT NOT NULL, next BIGINT NOT NULL, aside INTEGER NOT "
        "NULL, reason TEXT, PRIMARY KEY (view, alert, number))",
        err);
}

static const char *const tables[] = {"_daybook_alerts", "_daybook_alerts_due"};

/* Ends what is of others; names of views and alerts need no quoting. */
static int delete_others(struct dbk_connection *connection, struct dbk_buf *sql,
                         struct dbk_error *err)
{
    dbk_buf_append_char(sql, '\0');
    int rc = sql->rc < 0 ? dbk_error_set(err, sql->rc, "a statement: %s", dbk_code_text(sql->rc))
                         : dbk_view_run_transaction(connection, sql->data, err);
    dbk_buf_release(sql);
    return rc;
}

int dbk_alerts_clean(struct dbk_connection *connection,
                     const struct dbk_view_definition *definition, struct dbk_error *err)
{
    struct dbk_buf sql;
    bool there = false;
    int rc =
        definition->alert_count > 0 ? create(connection, err) : has_tables(connection, &there, err);
    if (rc < 0 || (definition->alert_count == 0 && !there))
        return rc;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        dbk_buf_append_format(&sql, "DELETE FROM %s WHERE view = '%s' AND alert NOT IN (''",
                              tables[i], definition->name);
        for (size_t j = 0; j < definition->alert_count; j++)
            dbk_buf_append_format(&sql, ", '%s'", definition->alerts[j].name);
        dbk_buf_append_text(&sql, ");");
    }
    return delete_others(connection, &sql, err);
}

int dbk_alerts_keep(struct dbk_connection *connection, const char *const *views, size_t count,
                    struct dbk_error *err)
{
    struct dbk_buf sql;
    bool there = false;
    int rc = has_tables(connection, &there, err);
    if (rc < 0 || !there)
        return rc;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        dbk_buf_append_format(&sql, "DELETE FROM %s WHERE view NOT IN (''", tables[i]);
        for (size_t j = 0; j < count; j++)
            dbk_buf_append_format(&sql, ", '%s'", views[j]);
        dbk_buf_append_text(&sql, ");");
    }
    return delete_others(connection, &sql, err);
}

int dbk_alerts_forget(struct dbk_connection *connection, const char *view, struct dbk_error *err)
{
    const struct dbk_value name = text_of(view);
    struct dbk_record record;
    bool there = false;
    int rc = has_tables(connection, &there, err);
    if (rc == DBK_OK && there)
        rc = dbk_record_read(connection, view, &record, err);
    if (rc < 0 || !there)
        return rc;
    /* Who has judged all there was misses nothing. */
    const struct dbk_value values[] = {
        name, text_of(record.epoch), {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)record.head}};
    rc = dbk_alert_run(
        connection,
        "UPDATE _daybook_alerts SET seq = seq + 1, epoch = ?2 WHERE view = ?1 AND seq "
        "= ?3 AND epoch IN (SELECT e.epoch FROM _daybook_record_epochs AS e WHERE "
        "e.view = ?1 AND (e.upto IS NULL OR e.upto >= ?3))",
        values, 3, err);
    if (rc == DBK_OK)
        rc = dbk_alert_run(
            connection,
            "UPDATE _daybook_alerts SET missed = missed + (SELECT count(*) FROM "
            "_daybook_alerts_due AS d WHERE d.view = _daybook_alerts.view AND d.alert = "
            "_daybook_alerts.alert) WHERE view = ?1",
            &name, 1, err);
    return rc < 0 ? rc
                  : dbk_alert_run(connection, "DELETE FROM _daybook_alerts_due WHERE view = ?1",
                                  &name, 1, err);
}

/* ---- Status ---- */

static void take_text(struct dbk_statement *statement, int column, char *text, size_t size)
{
    struct dbk_value value = dbk_statement_column(statement, column);
    (void)snprintf(text, size, "%.*s", value.kind == DBK_VALUE_TEXT ? (int)value.bytes.size : 0,
                   value.kind == DBK_VALUE_TEXT ? value.bytes.data : "");
}

static uint64_t take_number(struct dbk_statement *statement, int column)
{
    return (uint64_t)dbk_statement_column(statement, column).integer;
}

static int read_alert(const struct dbk_alert *alert, struct dbk_alert_status *status,
                      struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int rc = dbk_alert_open(alert,
                            "SELECT delivered, last, last_us, failures, missed, dropped, paused, "
                            "error FROM _daybook_alerts WHERE view = ?1 AND alert = ?2",
                            &statement, err);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    if (rc == 1) {
        status->delivered = take_number(statement, 0);
        take_text(statement, 1, status->last, sizeof(status->last));
        status->last_us = dbk_statement_column(statement, 2).integer;
        status->failures = take_number(statement, 3);
        status->missed = take_number(statement, 4);
        status->dropped = take_number(statement, 5);
        status->paused = take_number(statement, 6) != 0;
        take_text(statement, 7, status->error, sizeof(status->error));
    }
    dbk_statement_free(statement);
    return rc < 0 ? rc : DBK_OK;
}

static int read_due(const struct dbk_alert *alert, struct dbk_alert_status *status,
                    struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int rc = dbk_alert_open(alert,
                            "SELECT aside, count(*) FROM _daybook_alerts_due WHERE view = ?1 AND "
                            "alert = ?2 GROUP BY aside",
                            &statement, err);
    while (rc >= 0 && (rc = dbk_statement_step(statement, err)) == 1)
        *(take_number(statement, 0) != 0 ? &status->aside : &status->waiting) =
            take_number(statement, 1);
    dbk_statement_free(statement);
    statement = NULL;
    if (rc == DBK_OK)
        rc = dbk_alert_open(alert,
                            "SELECT attempts, next FROM _daybook_alerts_due WHERE view = ?1 AND "
                            "alert = ?2 AND aside = 0 ORDER BY number LIMIT 1",
                            &statement, err);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    if (rc == 1) {
        status->attempts = take_number(statement, 0);
        status->next_us = dbk_statement_column(statement, 1).integer;
    }
    dbk_statement_free(statement);
    if (status->next_us == 0)
        status->next_us = DBK_TIME_NONE;
    return rc < 0 ? rc : DBK_OK;
}

size_t dbk_views_alert_count(const struct dbk_views *views, size_t view)
{
    return views->views[view].definition.alert_count;
}

/* What its thread fails of comes before what a delivery did. */
static void take_failure(struct dbk_views *views, const struct dbk_view *view,
                         struct dbk_alert_status *status)
{
    (void)pthread_mutex_lock(&views->mutex);
    for (size_t i = 0; i < views->alert_count; i++) {
        const struct dbk_alert *alert = &views->alerts[i];
        if (alert->view != view || alert->definition != status->definition ||
            alert->failure.code == DBK_OK)
            continue;
        (void)snprintf(status->error, sizeof(status->error), "%s", alert->failure.message);
        status->stuck = true;
    }
    (void)pthread_mutex_unlock(&views->mutex);
}

int dbk_views_alert_status(struct dbk_views *views, size_t view, size_t alert,
                           struct dbk_alert_status *status_out, struct dbk_error *err)
{
    struct dbk_view *of = &views->views[view];
    struct dbk_alert reading = {
        .views = views, .view = of, .definition = &of->definition.alerts[alert]};
    struct dbk_alert_status status = {.definition = reading.definition, .next_us = DBK_TIME_NONE};
    bool there = false;
    int rc = dbk_connection_open(of->definition.database_path, DBK_CONNECT_READ,
                                 &reading.connection, err);
    bool none = rc == DBK_ENOTFOUND;
    if (rc == DBK_OK)
        rc = has_tables(reading.connection, &there, err);
    if (rc == DBK_OK && there)
        rc = read_alert(&reading, &status, err);
    if (rc == DBK_OK && there)
        rc = read_due(&reading, &status, err);
    dbk_connection_free(reading.connection);
    if (rc < 0 && !none)
        return rc;
    status.stuck = status.attempts >= DBK_ALERT_STUCK && !status.paused;
    take_failure(views, of, &status);
    *status_out = status;
    return DBK_OK;
}

/* ---- What waits ---- */

static struct dbk_slice bytes_of(struct dbk_statement *statement, int column)
{
    struct dbk_value value = dbk_statement_column(statement, column);
    return value.kind == DBK_VALUE_TEXT ? value.bytes : dbk_slice("", 0);
}

static int list(const struct dbk_alert *alert, uint64_t limit, dbk_alert_due_fn each, void *context,
                struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    const struct dbk_value most = {.kind = DBK_VALUE_INTEGER,
                                   .integer = limit > INT32_MAX ? INT32_MAX : (int64_t)limit};
    int rc = dbk_alert_open(alert,
                            "SELECT id, position, attempts, next, aside, old, new, reason FROM "
                            "_daybook_alerts_due WHERE view = ?1 AND alert = ?2 ORDER BY aside "
                            "DESC, number LIMIT ?3",
                            &statement, err);
    if (rc == DBK_OK)
        dbk_statement_bind(statement, 3, &most);
    while (rc >= 0 && (rc = dbk_statement_step(statement, err)) == 1) {
        char id[2 * DBK_VIEW_TABLE_SIZE_MAX];
        struct dbk_alert_due due = {
            .id = id,
            .position = take_number(statement, 1),
            .attempts = take_number(statement, 2),
            .next_us = dbk_statement_column(statement, 3).integer,
            .aside = take_number(statement, 4) != 0,
            .old_row = bytes_of(statement, 5),
            .new_row = bytes_of(statement, 6),
            .reason = bytes_of(statement, 7),
        };
        (void)snprintf(id, sizeof(id), "%s/%s/%.*s", alert->view->definition.name,
                       alert->definition->name, DBK_SLICE_ARGS(bytes_of(statement, 0)));
        if (due.next_us == 0 || due.aside)
            due.next_us = DBK_TIME_NONE;
        rc = each(&due, context);
    }
    dbk_statement_free(statement);
    return rc < 0 ? rc : DBK_OK;
}

static int find(const struct dbk_view *view, const char *name, size_t *index_out,
                struct dbk_error *err)
{
    const struct dbk_view_definition *definition = &view->definition;
    for (size_t i = 0; i < definition->alert_count; i++) {
        if (strcmp(definition->alerts[i].name, name) == 0) {
            *index_out = i;
            return DBK_OK;
        }
    }
    return dbk_error_set(err, DBK_ENOTFOUND, "view %s has no alert %.80s; its head names %zu",
                         definition->name, name, definition->alert_count);
}

int dbk_views_alert_list(struct dbk_views *views, size_t view, const char *name, uint64_t limit,
                         dbk_alert_due_fn each, void *context, struct dbk_error *err)
{
    struct dbk_view *of = &views->views[view];
    struct dbk_alert reading = {.views = views, .view = of};
    bool there = false;
    size_t index = 0;
    int rc = find(of, name, &index, err);
    if (rc < 0)
        return rc;
    reading.definition = &of->definition.alerts[index];
    rc = dbk_connection_open(of->definition.database_path, DBK_CONNECT_READ, &reading.connection,
                             err);
    if (rc == DBK_ENOTFOUND)
        return DBK_OK;
    if (rc == DBK_OK)
        rc = has_tables(reading.connection, &there, err);
    if (rc == DBK_OK && there)
        rc = list(&reading, limit, each, context, err);
    dbk_connection_free(reading.connection);
    return rc;
}

/* ---- What is done to one ---- */

const char *dbk_alert_action_text(enum dbk_alert_action action)
{
    static const char *const texts[] = {"pause", "resume", "retry", "drop"};
    return texts[action];
}

int dbk_views_alert_do(struct dbk_views *views, size_t view, const char *name,
                       enum dbk_alert_action action, struct dbk_error *err)
{
    static const char *const sql[][2] = {
        [DBK_ALERT_PAUSE] =
            {"UPDATE _daybook_alerts SET paused = 1 WHERE view = ?1 AND alert = ?2"},
        [DBK_ALERT_RESUME] = {"UPDATE _daybook_alerts SET paused = 0 WHERE view = ?1 AND alert = "
                              "?2",
                              "UPDATE _daybook_alerts_due SET next = 0 WHERE view = ?1 AND alert = "
                              "?2"},
        [DBK_ALERT_RETRY] = {"UPDATE _daybook_alerts_due SET aside = 0, attempts = 0, tried = 0, "
                             "next = 0 WHERE view = ?1 AND alert = ?2 AND aside = 1",
                             "UPDATE _daybook_alerts_due SET next = 0 WHERE view = ?1 AND alert = "
                             "?2"},
        [DBK_ALERT_DROP] = {"DELETE FROM _daybook_alerts_due WHERE view = ?1 AND alert = ?2 AND "
                            "aside = 1"},
    };
    const struct dbk_view *of = &views->views[view];
    const struct dbk_value values[] = {text_of(of->definition.name), text_of(name)};
    struct dbk_connection *connection = NULL;
    size_t index = 0;
    int rc = find(of, name, &index, err);
    if (rc == DBK_OK)
        rc = dbk_connection_open(of->definition.database_path, 0, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_alerts_clean(connection, &of->definition, err);
    if (rc == DBK_OK)
        rc = dbk_connection_begin(connection, DBK_BEGIN_WRITE, err);
    if (rc == DBK_OK) {
        /* It may be done before the alert has begun. */
        rc = dbk_alert_run(connection,
                           "INSERT INTO _daybook_alerts VALUES (?1, ?2, '', 0, 0, 0, NULL, 0, 0, "
                           "0, 0, 0, NULL) ON CONFLICT DO NOTHING",
                           values, 2, err);
        for (size_t i = 0; rc == DBK_OK && i < 2 && sql[action][i] != NULL; i++)
            rc = dbk_alert_run(connection, sql[action][i], values, 2, err);
        rc = dbk_view_end_transaction(connection, rc, err);
    }
    dbk_connection_free(connection);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which changes an alert tells of.
 *
 * A change's rows are put into a table in temp with the view's columns, so that they compare as the
 * view's own do, and `when` is asked of it. What is read and judged in a read transaction is
 * written, with the cursor, in a short one behind it.
 */
#include <stdio.h>

#include "json/json.h"
#include "view/alert.h"
#include "view/record.h"
#include "view/refresh.h"
#include "view/state.h"

#define BATCH_ROWS 500
#define BATCH_SIZE ((size_t)1 << 20)
#define BATCH_MEMORY_MAX ((size_t)256 << 20)
#define SQL_SIZE_MAX ((size_t)1 << 20)

/* ---- `when` ---- */

/* What stands before it; a line of its own, so that no comment of it takes the end. */
static void put_question(struct dbk_buf *sql, const struct dbk_alert_definition *alert,
                         const char *table, const char *view)
{
    dbk_buf_append_format(sql, "SELECT 1 FROM %s AS \"%s\" WHERE (", table, view);
    dbk_buf_append(sql, alert->when);
    dbk_buf_append_text(sql, "\n)");
}

/* What no SELECT would be told of: that it is no expression by itself, or none of one row. NULL:
   it is. */
static const char *find_fault(struct dbk_slice when, size_t *offset_out)
{
    int depth = 0;
    for (size_t offset = 0;;) {
        struct dbk_sql_token token = dbk_sql_next(when, offset);
        bool other = token.kind == DBK_SQL_OTHER && token.text.size > 0;
        *offset_out = offset;
        if (token.kind == DBK_SQL_END)
            return depth == 0 ? NULL : "a parenthesis has no end";
        if (token.kind == DBK_SQL_BROKEN)
            return "a string, comment or name has no end";
        if (token.kind == DBK_SQL_SEMICOLON)
            return "a statement ends in it";
        if (token.kind == DBK_SQL_PARAMETER || (other && strchr("?@$", token.text.data[0]) != NULL))
            return "it has a parameter";
        if (token.kind == DBK_SQL_NAME && token.text.data[0] != '"' &&
            dbk_sql_name_is(token.text, DBK_SLICE_LITERAL("select")))
            return "it has a SELECT, and it is one row that is judged";
        depth += other && token.text.data[0] == '(' ? 1 : 0;
        depth -= other && token.text.data[0] == ')' ? 1 : 0;
        if (depth < 0)
            return "a parenthesis has no beginning";
        offset += token.text.size;
    }
}

int dbk_alert_check(struct dbk_connection *connection, const struct dbk_view_definition *definition,
                    size_t alert, struct dbk_arena *arena, struct dbk_diagnostic *fault_out,
                    size_t *offset_out)
{
    const struct dbk_alert_definition *of = &definition->alerts[alert];
    struct dbk_statement *statement = NULL;
    struct dbk_error failure = {0};
    struct dbk_buf sql;
    char table[DBK_VIEW_TABLE_SIZE_MAX];
    int at = -1;
    size_t place = (size_t)(of->when.data - definition->sql.data);
    const char *wrong = find_fault(of->when, offset_out);
    *offset_out += place;
    *fault_out = (struct dbk_diagnostic){
        .what = wrong,
        .why = "the alert could not be judged",
        .fix = "write an SQL expression of the view's columns, as `qty < 5`"};
    if (wrong != NULL)
        return 1;
    (void)snprintf(table, sizeof(table), "\"%s\"", definition->name);
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    put_question(&sql, of, table, definition->name);
    size_t before = sql.size - of->when.size - strlen("\n)");
    dbk_connection_guard(connection, DBK_GUARD_QUERY);
    int rc = sql.rc < 0
                 ? sql.rc
                 : dbk_statement_open(connection, dbk_buf_slice(&sql), &statement, &at, &failure);
    dbk_connection_guard(connection, DBK_GUARD_NONE);
    dbk_buf_release(&sql);
    dbk_statement_free(statement);
    if (rc == DBK_OK || rc == DBK_ENOMEM)
        return rc;
    bool inside = at >= 0 && (size_t)at >= before && (size_t)at - before < of->when.size;
    *offset_out = place + (inside ? (size_t)at - before : 0);
    fault_out->what = dbk_arena_format(arena, "%s", failure.message);
    return fault_out->what == NULL ? DBK_ENOMEM : 1;
}

/* ---- Judging ---- */

/* A change that is told of. */
struct hit {
    char id[DBK_ALERT_ID_SIZE];
    uint64_t position;
    struct dbk_slice old_row; /* empty: there was none */
    struct dbk_slice new_row;
    const char *reason; /* why it cannot be judged; NULL: it can */
    struct hit *next;
};

struct cursor {
    bool there;
    char epoch[DBK_RECORD_EPOCH_SIZE];
    uint64_t seq;
    uint64_t made;
};

struct judging {
    struct dbk_alert *alert;
    struct dbk_arena arena;
    struct dbk_record record;
    struct cursor cursor;              /* as it was */
    bool known;                        /* it is of the record's history */
    uint64_t upto;                     /* judged to here */
    char epoch[DBK_RECORD_EPOCH_SIZE]; /* of that */
    uint64_t epoch_upto;
    bool missed;
    bool full; /* no more may wait */
    struct hit *first;
    struct hit **end;
    struct dbk_statement *clear;
    struct dbk_statement *insert;
    struct dbk_statement *ask;
    const char **columns;
    size_t column_count;
};

static int read_cursor(struct judging *judging, struct cursor *cursor, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    *cursor = (struct cursor){.there = false};
    int rc = dbk_alert_open(judging->alert,
                            "SELECT epoch, seq, made, (SELECT count(*) FROM _daybook_alerts_due "
                            "WHERE view = ?1 AND alert = ?2 AND aside = 0) FROM _daybook_alerts "
                            "WHERE view = ?1 AND alert = ?2",
                            &statement, err);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    if (rc == 1) {
        cursor->there = true;
        (void)snprintf(cursor->epoch, sizeof(cursor->epoch), "%.*s",
                       DBK_SLICE_ARGS(dbk_statement_column(statement, 0).bytes));
        cursor->seq = (uint64_t)dbk_statement_column(statement, 1).integer;
        cursor->made = (uint64_t)dbk_statement_column(statement, 2).integer;
        judging->full = dbk_statement_column(statement, 3).integer >= DBK_ALERT_DUE_MAX;
    }
    dbk_statement_free(statement);
    return rc < 0 ? rc : DBK_OK;
}

/* An alert that is new begins with what comes next; one that was here before its view was recorded
   with the record's beginning. */
static void settle(struct judging *judging)
{
    const struct dbk_record *record = &judging->record;
    const struct cursor *cursor = &judging->cursor;
    bool same = judging->known;
    judging->upto = cursor->seq;
    if (record->epoch[0] == '\0')
        return;
    if (!cursor->there) {
        judging->upto = record->head;
        return;
    }
    bool begins = cursor->epoch[0] == '\0';
    judging->missed = (!same && !begins) || (same && cursor->seq + 1 < record->first) ||
                      (begins && record->first > 1);
    if (!same || judging->missed)
        judging->upto = record->first - 1;
}

static int take_columns(struct judging *judging, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int rc =
        dbk_statement_open(judging->alert->connection,
                           DBK_SLICE_LITERAL("SELECT * FROM temp.judged"), &statement, NULL, err);
    if (rc < 0)
        return rc;
    judging->column_count = (size_t)dbk_statement_column_count(statement);
    judging->columns =
        dbk_arena_alloc_zero(&judging->arena, judging->column_count + 1, sizeof(*judging->columns));
    for (size_t i = 0; judging->columns != NULL && i < judging->column_count; i++) {
        judging->columns[i] =
            dbk_arena_format(&judging->arena, "%s", dbk_statement_column_name(statement, (int)i));
        if (judging->columns[i] == NULL)
            judging->columns = NULL;
    }
    dbk_statement_free(statement);
    return judging->columns == NULL
               ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
               : DBK_OK;
}

/* The table that holds the row which is judged, as the view's columns are now. */
static int open_judge(struct judging *judging, struct dbk_error *err)
{
    struct dbk_connection *connection = judging->alert->connection;
    const char *view = judging->alert->view->definition.name;
    struct dbk_buf sql;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_format(&sql,
                          "DROP TABLE IF EXISTS temp.judged; CREATE TEMP TABLE judged AS SELECT * "
                          "FROM main.\"%s\" WHERE 0",
                          view);
    dbk_buf_append_char(&sql, '\0');
    int rc = sql.rc < 0 ? dbk_error_set(err, sql.rc, "%s", dbk_code_text(sql.rc))
                        : dbk_connection_run(connection, sql.data, err);
    if (rc == DBK_OK)
        rc = take_columns(judging, err);
    if (rc == DBK_OK)
        rc = dbk_statement_open(connection, DBK_SLICE_LITERAL("DELETE FROM temp.judged"),
                                &judging->clear, NULL, err);
    dbk_buf_reset(&sql);
    dbk_buf_append_text(&sql, "INSERT INTO temp.judged VALUES (");
    for (size_t i = 0; i < judging->column_count; i++)
        dbk_buf_append_format(&sql, "%s?%zu", i > 0 ? ", " : "", i + 1);
    dbk_buf_append_char(&sql, ')');
    if (rc == DBK_OK && sql.rc == DBK_OK)
        rc = dbk_statement_open(connection, dbk_buf_slice(&sql), &judging->insert, NULL, err);
    dbk_buf_reset(&sql);
    put_question(&sql, judging->alert->definition, "temp.judged", view);
    dbk_connection_guard(connection, DBK_GUARD_QUERY);
    if (rc == DBK_OK && sql.rc == DBK_OK)
        rc = dbk_statement_open(connection, dbk_buf_slice(&sql), &judging->ask, NULL, err);
    dbk_connection_guard(connection, DBK_GUARD_NONE);
    if (rc == DBK_OK && sql.rc < 0)
        rc = dbk_error_set(err, sql.rc, "%s", dbk_code_text(sql.rc));
    dbk_buf_release(&sql);
    return rc;
}

static void close_judge(struct judging *judging)
{
    dbk_statement_free(judging->clear);
    dbk_statement_free(judging->insert);
    dbk_statement_free(judging->ask);
}

static struct dbk_value value_of(const struct dbk_json_node *node)
{
    struct dbk_value value = {.kind = DBK_VALUE_NULL};
    if (node == NULL || node->kind == DBK_JSON_NULL)
        return value;
    if (node->kind == DBK_JSON_INTEGER)
        return (struct dbk_value){.kind = DBK_VALUE_INTEGER, .integer = node->integer};
    if (node->kind == DBK_JSON_DECIMAL)
        return (struct dbk_value){.kind = DBK_VALUE_DECIMAL, .decimal = node->decimal};
    return (struct dbk_value){
        .kind = DBK_VALUE_TEXT,
        .bytes = node->kind == DBK_JSON_STRING ? node->text : node->raw,
    };
}

/* 1: it fulfils `when`; 0: it does not. */
static int ask(struct judging *judging, struct dbk_slice row, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    int rc = dbk_json_parse(judging->alert->json, row, &root, err);
    if (rc == DBK_OK)
        rc = dbk_statement_step(judging->clear, err);
    dbk_statement_reset(judging->clear);
    for (size_t i = 0; rc == DBK_OK && i < judging->column_count; i++) {
        struct dbk_value value = value_of(dbk_json_member(root, judging->columns[i]));
        dbk_statement_bind(judging->insert, (int)i + 1, &value);
    }
    if (rc == DBK_OK)
        rc = dbk_statement_step(judging->insert, err);
    dbk_statement_reset(judging->insert);
    if (rc == DBK_OK)
        rc = dbk_statement_step(judging->ask, err);
    dbk_statement_reset(judging->ask);
    return rc;
}

/* The epoch of a number that ascends. */
static int name_epoch(struct judging *judging, uint64_t seq, struct dbk_error *err)
{
    if (seq <= judging->epoch_upto)
        return DBK_OK;
    return dbk_record_epoch_of(judging->alert->connection, judging->alert->view->definition.name,
                               &judging->record, seq, judging->epoch, &judging->epoch_upto, err);
}

static int keep_hit(struct judging *judging, uint64_t seq, const struct hit *hit,
                    struct dbk_error *err)
{
    struct hit *kept = dbk_arena_alloc_zero(&judging->arena, 1, sizeof(*kept));
    if (kept == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    int rc = name_epoch(judging, seq, err);
    if (rc < 0)
        return rc;
    *kept = *hit;
    (void)snprintf(kept->id, sizeof(kept->id), "%s.%llu", judging->epoch, (unsigned long long)seq);
    kept->new_row = dbk_arena_copy(&judging->arena, hit->new_row);
    kept->old_row = dbk_arena_copy(&judging->arena, hit->old_row);
    kept->reason =
        hit->reason == NULL ? NULL : dbk_arena_format(&judging->arena, "%s", hit->reason);
    if (kept->new_row.data == NULL || kept->old_row.data == NULL ||
        (hit->reason != NULL && kept->reason == NULL))
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    *judging->end = kept;
    judging->end = &kept->next;
    return DBK_OK;
}

/* The row that it is, but not the row that it was. What cannot be judged is told of as that. */
static int judge_change(struct judging *judging, struct dbk_statement *change,
                        struct dbk_error *err)
{
    uint64_t seq = (uint64_t)dbk_statement_column(change, 0).integer;
    struct dbk_value old_row = dbk_statement_column(change, 2);
    struct dbk_value new_row = dbk_statement_column(change, 3);
    struct dbk_error failure = {0};
    struct hit hit = {.position = (uint64_t)dbk_statement_column(change, 1).integer};
    judging->upto = seq;
    if (new_row.kind == DBK_VALUE_NULL)
        return DBK_OK;
    hit.new_row = new_row.bytes;
    hit.old_row = old_row.kind == DBK_VALUE_NULL ? dbk_slice("", 0) : old_row.bytes;
    int rc = ask(judging, hit.new_row, &failure);
    if (rc == 1 && hit.old_row.size > 0) {
        int before = ask(judging, hit.old_row, &failure);
        rc = before < 0 ? before : before == 1 ? 0 : 1;
    }
    if (rc == DBK_ENOMEM || rc == DBK_EBUSY)
        return dbk_error_set(err, rc, "%s", failure.message);
    hit.reason = rc < 0 ? failure.message : NULL;
    return rc == 0 ? DBK_OK : keep_hit(judging, seq, &hit, err);
}

static int judge_changes(struct judging *judging, struct dbk_error *err)
{
    struct dbk_statement *changes = NULL;
    const struct dbk_value values[] = {
        {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(judging->alert->view->definition.name)},
        {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)judging->upto},
        {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)judging->record.head},
    };
    int rc = dbk_statement_open(
        judging->alert->connection,
        DBK_SLICE_LITERAL("SELECT seq, position, old, new FROM _daybook_differences WHERE view = "
                          "?1 AND seq > ?2 AND seq <= ?3 ORDER BY seq LIMIT 500"),
        &changes, NULL, err);
    for (int i = 0; rc == DBK_OK && i < 3; i++)
        dbk_statement_bind(changes, i + 1, &values[i]);
    while (rc >= 0 && judging->arena.used < BATCH_SIZE) {
        rc = dbk_statement_step(changes, err);
        if (rc != 1)
            break;
        rc = judge_change(judging, changes, err);
    }
    dbk_statement_free(changes);
    return rc < 0 ? rc : DBK_OK;
}

/* In a read transaction: what is to be written. */
static int look(struct judging *judging, struct dbk_error *err)
{
    const char *view = judging->alert->view->definition.name;
    int rc = dbk_connection_begin(judging->alert->connection, DBK_BEGIN_READ, err);
    if (rc < 0)
        return rc;
    rc = dbk_record_read(judging->alert->connection, view, &judging->record, err);
    if (rc == DBK_OK)
        rc = read_cursor(judging, &judging->cursor, err);
    if (rc == DBK_OK)
        rc = dbk_record_has(judging->alert->connection, view, &judging->record,
                            judging->cursor.epoch, judging->cursor.seq, &judging->known, err);
    if (rc == DBK_OK)
        settle(judging);
    if (rc == DBK_OK && judging->upto < judging->record.head && !judging->full) {
        rc = open_judge(judging, err);
        if (rc == DBK_OK)
            rc = judge_changes(judging, err);
        close_judge(judging);
    }
    if (rc == DBK_OK && judging->record.epoch[0] != '\0')
        rc = name_epoch(judging, judging->upto, err);
    return dbk_view_end_transaction(judging->alert->connection, rc, err);
}

static int write_hits(struct judging *judging, struct dbk_error *err)
{
    struct dbk_statement *insert = NULL;
    uint64_t number = judging->cursor.made;
    int rc = dbk_alert_open(judging->alert,
                            "INSERT INTO _daybook_alerts_due VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, "
                            "0, 0, 0, ?8, ?9)",
                            &insert, err);
    for (const struct hit *hit = judging->first; rc == DBK_OK && hit != NULL; hit = hit->next) {
        const struct dbk_value none = {.kind = DBK_VALUE_NULL};
        const struct dbk_value values[] = {
            {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)++number},
            {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(hit->id)},
            {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)hit->position},
            hit->old_row.size == 0
                ? none
                : (struct dbk_value){.kind = DBK_VALUE_TEXT, .bytes = hit->old_row},
            {.kind = DBK_VALUE_TEXT, .bytes = hit->new_row},
            {.kind = DBK_VALUE_INTEGER, .integer = hit->reason != NULL},
            hit->reason == NULL
                ? none
                : (struct dbk_value){.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(hit->reason)},
        };
        for (int i = 0; i < 7; i++)
            dbk_statement_bind(insert, i + 3, &values[i]);
        rc = dbk_statement_step(insert, err);
        dbk_statement_reset(insert);
    }
    dbk_statement_free(insert);
    judging->cursor.made = number;
    return rc;
}

static int write_cursor(struct judging *judging, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    const struct dbk_value values[] = {
        {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(judging->epoch)},
        {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)judging->upto},
        {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)judging->cursor.made},
        {.kind = DBK_VALUE_INTEGER, .integer = judging->missed},
    };
    int rc = dbk_alert_open(
        judging->alert,
        judging->cursor.there
            ? "UPDATE _daybook_alerts SET epoch = ?3, seq = ?4, made = ?5, missed = missed + ?6 "
              "WHERE view = ?1 AND alert = ?2"
            : "INSERT INTO _daybook_alerts VALUES (?1, ?2, ?3, ?4, ?5, 0, NULL, 0, 0, ?6, 0, 0, "
              "NULL)",
        &statement, err);
    for (int i = 0; rc == DBK_OK && i < 4; i++)
        dbk_statement_bind(statement, i + 3, &values[i]);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    dbk_statement_free(statement);
    return rc < 0 ? rc : DBK_OK;
}

/* What was forgotten meanwhile is not written: the changes are no longer those that were judged,
   and what is kept begins behind all of them. A refresh that took old ones off the record's
   beginning is no reason: of a full record each does. */
static int write_down(struct judging *judging, struct dbk_error *err)
{
    struct dbk_record record;
    struct cursor cursor;
    struct dbk_connection *connection = judging->alert->connection;
    int rc = dbk_connection_begin(connection, DBK_BEGIN_WRITE, err);
    if (rc < 0)
        return rc;
    rc = dbk_record_read(connection, judging->alert->view->definition.name, &record, err);
    if (rc == DBK_OK)
        rc = read_cursor(judging, &cursor, err);
    bool same = strcmp(record.epoch, judging->record.epoch) == 0 &&
                record.first <= judging->upto + 1 && cursor.there == judging->cursor.there &&
                cursor.seq == judging->cursor.seq;
    if (rc == DBK_OK && same)
        rc = write_hits(judging, err);
    if (rc == DBK_OK && same)
        rc = write_cursor(judging, err);
    if (rc == DBK_OK && same && judging->first != NULL)
        rc = dbk_alert_trim(judging->alert, err);
    return dbk_view_end_transaction(connection, rc, err);
}

int dbk_alert_judge(struct dbk_alert *alert, struct dbk_error *err)
{
    struct judging judging = {.alert = alert};
    judging.end = &judging.first;
    dbk_arena_init(&judging.arena, BATCH_MEMORY_MAX);
    int rc = look(&judging, err);
    const struct cursor *cursor = &judging.cursor;
    bool moved = !cursor->there || judging.missed || judging.upto != cursor->seq ||
                 strcmp(cursor->epoch, judging.epoch) != 0;
    if (rc == DBK_OK && moved)
        rc = write_down(&judging, err);
    dbk_arena_release(&judging.arena);
    return rc < 0 ? rc : moved && judging.upto < judging.record.head && !judging.full ? 1 : 0;
}

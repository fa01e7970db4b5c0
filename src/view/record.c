/* SPDX-License-Identifier: Apache-2.0 */
#include "view/record.h"

#include <pthread.h>
#include <stdio.h>

#include "json/json.h"
#include "view/catalog.h"
#include "view/refresh.h"

/* How long a view is recorded when nobody follows it any more. */
#define FOLLOWED_US (INT64_C(24) * 3600 * 1000000)
/* So many rows are removed in one transaction. */
#define CLEAN_ROWS 2000
#define ROW_SIZE_MAX ((size_t)64 << 20)
#define SQL_SIZE_MAX ((size_t)1 << 20)

int dbk_record_create(struct dbk_connection *connection, struct dbk_error *err)
{
    return dbk_connection_run(
        connection,
        "CREATE TABLE IF NOT EXISTS _daybook_recorded (view TEXT PRIMARY KEY, epoch TEXT NOT NULL, "
        "first BIGINT NOT NULL, head BIGINT NOT NULL, bytes BIGINT NOT NULL, "
        "followed BIGINT NOT NULL);"
        "CREATE TABLE IF NOT EXISTS _daybook_differences (view TEXT NOT NULL, seq BIGINT NOT NULL, "
        "position BIGINT NOT NULL, ends INTEGER NOT NULL, bytes BIGINT NOT NULL, old TEXT, "
        "new TEXT, PRIMARY KEY (view, seq));"
        "CREATE TABLE IF NOT EXISTS _daybook_record_epochs (view TEXT NOT NULL, epoch TEXT NOT "
        "NULL, process TEXT NOT NULL, upto BIGINT, PRIMARY KEY (view, epoch))",
        err);
}

static struct dbk_value text_of(const char *text)
{
    return (struct dbk_value){.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(text)};
}

static struct dbk_value integer_of(uint64_t number)
{
    return (struct dbk_value){.kind = DBK_VALUE_INTEGER, .integer = (int64_t)number};
}

/* Runs a statement with parameters to its end. */
static int run(struct dbk_connection *connection, const char *sql, const struct dbk_value *values,
               size_t count, struct dbk_error *err)
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

static int has_tables(struct dbk_connection *connection, bool *there_out, struct dbk_error *err)
{
    static const char *const sql[] = {
        [DBK_DIALECT_SQLITE] =
            "SELECT count(*) FROM sqlite_schema WHERE name = '_daybook_record_epochs'",
        [DBK_DIALECT_POSTGRES] = "SELECT count(to_regclass('_daybook_record_epochs'))",
    };
    int64_t count = 0;
    int rc =
        dbk_view_integer(connection, sql[dbk_connection_dialect(connection)], NULL, &count, err);
    *there_out = count != 0;
    return rc;
}

int dbk_record_read(struct dbk_connection *connection, const char *view,
                    struct dbk_record *record_out, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    struct dbk_record record = {0};
    bool there = false;
    int rc = has_tables(connection, &there, err);
    if (rc == DBK_OK && !there)
        *record_out = record;
    if (rc < 0 || !there)
        return rc;
    rc = dbk_statement_open(connection,
                            DBK_SLICE_LITERAL("SELECT epoch, first, head, bytes, followed FROM "
                                              "_daybook_recorded WHERE view = ?1"),
                            &statement, NULL, err);
    if (rc < 0)
        return rc;
    struct dbk_value name = text_of(view);
    dbk_statement_bind(statement, 1, &name);
    rc = dbk_statement_step(statement, err);
    if (rc == 1) {
        (void)snprintf(record.epoch, sizeof(record.epoch), "%.*s",
                       DBK_SLICE_ARGS(dbk_statement_column(statement, 0).bytes));
        record.first = (uint64_t)dbk_statement_column(statement, 1).integer;
        record.head = (uint64_t)dbk_statement_column(statement, 2).integer;
        record.bytes = (uint64_t)dbk_statement_column(statement, 3).integer;
        record.followed_us = dbk_statement_column(statement, 4).integer;
    }
    dbk_statement_free(statement);
    if (rc < 0)
        return rc;
    *record_out = record;
    return DBK_OK;
}

/* ---- Epochs ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char process[DBK_RECORD_EPOCH_SIZE]; /* this one, by chance */

static int make_epoch(struct dbk_os *os, char epoch_out[DBK_RECORD_EPOCH_SIZE],
                      struct dbk_error *err)
{
    uint64_t chance = 0;
    int rc = os->random(os, &chance, sizeof(chance), err);
    (void)snprintf(epoch_out, DBK_RECORD_EPOCH_SIZE, "%016llx", (unsigned long long)chance);
    return rc;
}

static int name_process(struct dbk_os *os, struct dbk_error *err)
{
    int rc = DBK_OK;
    (void)pthread_mutex_lock(&lock);
    if (process[0] == '\0')
        rc = make_epoch(os, process, err);
    if (rc < 0)
        process[0] = '\0';
    (void)pthread_mutex_unlock(&lock);
    return rc;
}

static int end_epochs(struct dbk_connection *connection, const char *view, struct dbk_error *err)
{
    const struct dbk_value name = text_of(view);
    return run(connection, "DELETE FROM _daybook_record_epochs WHERE view = ?1", &name, 1, err);
}

static int begin_epoch(struct dbk_connection *connection, const char *view, struct dbk_os *os,
                       char epoch_out[DBK_RECORD_EPOCH_SIZE], struct dbk_error *err)
{
    int rc = name_process(os, err);
    if (rc == DBK_OK)
        rc = make_epoch(os, epoch_out, err);
    const struct dbk_value values[] = {text_of(view), text_of(epoch_out), text_of(process)};
    return rc < 0 ? rc
                  : run(connection, "INSERT INTO _daybook_record_epochs VALUES (?1, ?2, ?3, NULL)",
                        values, 3, err);
}

/* Whether the record's epoch is this process's. */
static int is_ours(struct dbk_recording *recording, bool *ours_out, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    const struct dbk_value values[] = {text_of(recording->definition->name),
                                       text_of(recording->record.epoch), text_of(process)};
    int rc = dbk_statement_open(recording->connection,
                                DBK_SLICE_LITERAL("SELECT 1 FROM _daybook_record_epochs WHERE view "
                                                  "= ?1 AND epoch = ?2 AND process = ?3"),
                                &statement, NULL, err);
    for (int i = 0; rc == DBK_OK && i < 3; i++)
        dbk_statement_bind(statement, i + 1, &values[i]);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    *ours_out = rc == 1;
    dbk_statement_free(statement);
    return rc < 0 ? rc : DBK_OK;
}

/* What another process wrote ends with the record's head: rows behind it are of a new epoch. */
static int renew_epoch(struct dbk_recording *recording, struct dbk_error *err)
{
    struct dbk_connection *connection = recording->connection;
    struct dbk_record *record = &recording->record;
    const char *view = recording->definition->name;
    bool ours = false;
    int rc = name_process(recording->os, err);
    if (rc == DBK_OK)
        rc = is_ours(recording, &ours, err);
    recording->renewed = rc == DBK_OK;
    if (rc < 0 || ours)
        return rc;
    const struct dbk_value ended[] = {text_of(view), text_of(record->epoch),
                                      integer_of(record->head)};
    rc = run(connection,
             "INSERT INTO _daybook_record_epochs VALUES (?1, ?2, '', ?3) ON CONFLICT (view, epoch) "
             "DO UPDATE SET upto = ?3",
             ended, 3, err);
    /* One without rows, of a refresh that failed, ends where another did, whose the number is. */
    if (rc == DBK_OK)
        rc = run(connection,
                 "DELETE FROM _daybook_record_epochs WHERE view = ?1 AND epoch = ?2 AND EXISTS "
                 "(SELECT 1 FROM _daybook_record_epochs AS e WHERE e.view = ?1 AND e.epoch <> ?2 "
                 "AND e.upto = ?3)",
                 ended, 3, err);
    const struct dbk_value kept[] = {text_of(view), integer_of(record->first)};
    if (rc == DBK_OK)
        rc = run(connection, "DELETE FROM _daybook_record_epochs WHERE view = ?1 AND upto + 1 < ?2",
                 kept, 2, err);
    if (rc == DBK_OK)
        rc = begin_epoch(connection, view, recording->os, record->epoch, err);
    const struct dbk_value now[] = {text_of(view), text_of(record->epoch)};
    return rc < 0 ? rc
                  : run(connection, "UPDATE _daybook_recorded SET epoch = ?2 WHERE view = ?1", now,
                        2, err);
}

int dbk_record_epoch_of(struct dbk_connection *connection, const char *view,
                        const struct dbk_record *record, uint64_t seq,
                        char epoch_out[DBK_RECORD_EPOCH_SIZE], uint64_t *upto_out,
                        struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    const struct dbk_value values[] = {text_of(view), integer_of(seq)};
    int rc = dbk_statement_open(connection,
                                DBK_SLICE_LITERAL("SELECT epoch, upto FROM _daybook_record_epochs "
                                                  "WHERE view = ?1 AND upto >= ?2 ORDER BY upto, "
                                                  "epoch LIMIT 1"),
                                &statement, NULL, err);
    for (int i = 0; rc == DBK_OK && i < 2; i++)
        dbk_statement_bind(statement, i + 1, &values[i]);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    if (rc == 1)
        (void)snprintf(epoch_out, DBK_RECORD_EPOCH_SIZE, "%.*s",
                       DBK_SLICE_ARGS(dbk_statement_column(statement, 0).bytes));
    else
        (void)snprintf(epoch_out, DBK_RECORD_EPOCH_SIZE, "%s", record->epoch);
    *upto_out = rc == 1 ? (uint64_t)dbk_statement_column(statement, 1).integer : UINT64_MAX;
    dbk_statement_free(statement);
    return rc < 0 ? rc : DBK_OK;
}

int dbk_record_has(struct dbk_connection *connection, const char *view,
                   const struct dbk_record *record, const char *epoch, uint64_t seq, bool *has_out,
                   struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    const struct dbk_value values[] = {text_of(view), text_of(epoch), integer_of(seq)};
    *has_out = strcmp(record->epoch, epoch) == 0 && seq <= record->head;
    if (*has_out || record->epoch[0] == '\0' || strcmp(record->epoch, epoch) == 0)
        return DBK_OK;
    int rc = dbk_statement_open(connection,
                                DBK_SLICE_LITERAL("SELECT 1 FROM _daybook_record_epochs WHERE view "
                                                  "= ?1 AND epoch = ?2 AND upto >= ?3"),
                                &statement, NULL, err);
    for (int i = 0; rc == DBK_OK && i < 3; i++)
        dbk_statement_bind(statement, i + 1, &values[i]);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    *has_out = rc == 1;
    dbk_statement_free(statement);
    return rc < 0 ? rc : DBK_OK;
}

/* A record without rows: the first number is 1. */
static int begin_record(struct dbk_connection *connection, const char *view, struct dbk_os *os,
                        int64_t followed_us, struct dbk_error *err)
{
    char epoch[DBK_RECORD_EPOCH_SIZE];
    int rc = end_epochs(connection, view, err);
    if (rc == DBK_OK)
        rc = begin_epoch(connection, view, os, epoch, err);
    if (rc < 0)
        return rc;
    const struct dbk_value values[] = {text_of(view), text_of(epoch),
                                       integer_of((uint64_t)followed_us)};
    return run(connection, "INSERT INTO _daybook_recorded VALUES (?1, ?2, 1, 0, 0, ?3)", values, 3,
               err);
}

int dbk_record_follow(struct dbk_connection *connection, const char *view, struct dbk_os *os,
                      struct dbk_error *err)
{
    struct dbk_record record;
    int64_t now_us = os->now_us(os);
    int rc = dbk_record_read(connection, view, &record, err);
    if (rc < 0)
        return rc;
    if (record.epoch[0] == '\0')
        return begin_record(connection, view, os, now_us, err);
    const struct dbk_value values[] = {text_of(view), integer_of((uint64_t)now_us)};
    return run(connection, "UPDATE _daybook_recorded SET followed = ?2 WHERE view = ?1", values, 2,
               err);
}

int dbk_record_forget(struct dbk_connection *connection, const char *view, struct dbk_error *err)
{
    const struct dbk_value name = text_of(view);
    bool there = false;
    int rc = has_tables(connection, &there, err);
    if (rc < 0 || !there)
        return rc;
    return run(connection,
               "UPDATE _daybook_recorded SET head = head + 1, first = head + 2, bytes = 0 WHERE "
               "view = ?1",
               &name, 1, err);
}

int dbk_record_keep(struct dbk_connection *connection, const char *const *views, size_t count,
                    struct dbk_error *err)
{
    static const char *const tables[] = {"_daybook_recorded", "_daybook_differences",
                                         "_daybook_record_epochs"};
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
    dbk_buf_append_char(&sql, '\0');
    rc = sql.rc < 0 ? dbk_error_set(err, sql.rc, "a statement: %s", dbk_code_text(sql.rc))
                    : dbk_view_run_transaction(connection, sql.data, err);
    dbk_buf_release(&sql);
    return rc;
}

/* Of a view that is not recorded none counts. 1: there may be more. */
static int clean_some(struct dbk_connection *connection, const char *view, struct dbk_error *err)
{
    struct dbk_record record;
    int64_t oldest = 0;
    int rc = dbk_connection_begin(connection, DBK_BEGIN_WRITE, err);
    if (rc == DBK_OK)
        rc = dbk_record_read(connection, view, &record, err);
    if (rc == DBK_OK)
        rc = dbk_view_integer(connection,
                              "SELECT min(seq) FROM _daybook_differences WHERE view = ?1", view,
                              &oldest, err);
    bool there = oldest != 0;
    uint64_t upto = (uint64_t)oldest + CLEAN_ROWS;
    bool whole = rc == DBK_OK && record.epoch[0] != '\0';
    if (whole && upto > record.first)
        upto = record.first;
    if (rc == DBK_OK && there) {
        const struct dbk_value values[] = {text_of(view), integer_of(upto)};
        rc = run(connection, "DELETE FROM _daybook_differences WHERE view = ?1 AND seq < ?2",
                 values, 2, err);
    }
    if (rc == DBK_OK && whole) {
        const struct dbk_value values[] = {text_of(view), integer_of(record.head)};
        rc = run(connection, "DELETE FROM _daybook_differences WHERE view = ?1 AND seq > ?2",
                 values, 2, err);
    }
    bool more = there && (!whole || upto < record.first);
    if (rc == DBK_OK)
        rc = dbk_connection_run(connection, "COMMIT", err);
    if (rc < 0 && dbk_connection_in_transaction(connection))
        dbk_ignore(dbk_connection_run(connection, "ROLLBACK", NULL));
    return rc < 0 ? rc : more ? 1 : 0;
}

int dbk_record_clean(struct dbk_connection *connection, const char *view, struct dbk_error *err)
{
    bool there = false;
    int rc = has_tables(connection, &there, err);
    if (rc < 0 || !there)
        return rc;
    rc = 1;
    while (rc == 1)
        rc = clean_some(connection, view, err);
    return rc;
}

/* ---- What one refresh writes ---- */

static uint64_t rows_max(const struct dbk_recording *recording)
{
    uint64_t max = recording->definition->changes_max;
    return max != 0 ? max : DBK_VIEW_CHANGES_MAX;
}

static uint64_t bytes_max(const struct dbk_recording *recording)
{
    uint64_t max = recording->definition->change_bytes_max;
    return max != 0 ? max : DBK_VIEW_CHANGE_BYTES_MAX;
}

/* What a view that nobody follows was recorded for is over. */
static int settle(struct dbk_recording *recording, struct dbk_os *os, struct dbk_error *err)
{
    struct dbk_record *record = &recording->record;
    const struct dbk_view_definition *definition = recording->definition;
    int64_t now_us = os->now_us(os);
    int rc = dbk_record_read(recording->connection, definition->name, record, err);
    bool there = record->epoch[0] != '\0';
    if (rc < 0 || (!there && !definition->keeps_changes))
        return rc;
    if (!there) {
        rc = begin_record(recording->connection, definition->name, os, 0, err);
        return rc < 0 ? rc : dbk_record_read(recording->connection, definition->name, record, err);
    }
    if (definition->keeps_changes || now_us - record->followed_us < FOLLOWED_US)
        return DBK_OK;
    const struct dbk_value name = text_of(definition->name);
    *record = (struct dbk_record){0};
    recording->left = true;
    rc = end_epochs(recording->connection, definition->name, err);
    if (rc < 0)
        return rc;
    return run(recording->connection, "DELETE FROM _daybook_recorded WHERE view = ?1", &name, 1,
               err);
}

int dbk_recording_begin(struct dbk_recording *recording, struct dbk_connection *connection,
                        const struct dbk_view_definition *definition, struct dbk_os *os,
                        struct dbk_error *err)
{
    *recording =
        (struct dbk_recording){.connection = connection, .definition = definition, .os = os};
    dbk_buf_init(&recording->old_row, ROW_SIZE_MAX);
    dbk_buf_init(&recording->new_row, ROW_SIZE_MAX);
    int rc = settle(recording, os, err);
    const struct dbk_value values[] = {text_of(definition->name),
                                       integer_of(recording->record.head)};
    recording->next = recording->record.head + 1;
    if (rc < 0 || recording->record.epoch[0] == '\0')
        return rc;
    /* Of one that failed. */
    return run(connection, "DELETE FROM _daybook_differences WHERE view = ?1 AND seq > ?2", values,
               2, err);
}

static void put_row(struct dbk_buf *out, struct dbk_statement *select)
{
    int count = dbk_statement_column_count(select);
    bool first = true;
    dbk_buf_reset(out);
    dbk_buf_append_char(out, '{');
    for (int i = 2; i < count; i++) {
        struct dbk_value value = dbk_statement_column(select, i);
        dbk_json_write_key(out, &first, dbk_statement_column_name(select, i));
        dbk_value_write_json(out, &value);
    }
    dbk_buf_append_char(out, '}');
}

static int open_insert(struct dbk_recording *recording, struct dbk_error *err)
{
    const struct dbk_value name = text_of(recording->definition->name);
    if (recording->insert != NULL)
        return DBK_OK;
    int rc = dbk_statement_open(
        recording->connection,
        DBK_SLICE_LITERAL("INSERT INTO _daybook_differences VALUES (?1, ?2, ?3, 0, ?4, ?5, ?6)"),
        &recording->insert, NULL, err);
    if (rc == DBK_OK)
        dbk_statement_bind(recording->insert, 1, &name);
    return rc;
}

static struct dbk_value row_value(const struct dbk_buf *row)
{
    return row == NULL ? (struct dbk_value){.kind = DBK_VALUE_NULL}
                       : (struct dbk_value){.kind = DBK_VALUE_TEXT, .bytes = dbk_buf_slice(row)};
}

/* One difference, as often as it is there. */
static int add(struct dbk_recording *recording, const struct dbk_buf *old_row,
               const struct dbk_buf *new_row, int64_t copies, struct dbk_error *err)
{
    uint64_t size = (old_row == NULL ? 0 : old_row->size) + (new_row == NULL ? 0 : new_row->size);
    int rc = copies > 0 && !recording->renewed ? renew_epoch(recording, err) : DBK_OK;
    if (rc == DBK_OK && copies > 0)
        rc = open_insert(recording, err);
    if ((old_row != NULL && old_row->rc < 0) || (new_row != NULL && new_row->rc < 0))
        return dbk_error_set(err, DBK_ELIMIT, "a row is larger than %zu bytes", ROW_SIZE_MAX);
    for (; rc == DBK_OK && copies > 0 && !recording->lost; copies--) {
        struct dbk_statement *insert = recording->insert;
        const struct dbk_value values[] = {integer_of(recording->next),
                                           integer_of(recording->position), integer_of(size),
                                           row_value(old_row), row_value(new_row)};
        recording->lost = recording->next - recording->record.head > rows_max(recording) ||
                          recording->bytes + size > bytes_max(recording);
        if (recording->lost)
            break;
        for (int i = 0; i < 5; i++)
            dbk_statement_bind(insert, i + 2, &values[i]);
        rc = dbk_statement_step(insert, err);
        dbk_statement_reset(insert);
        recording->bytes += size;
        recording->next++;
    }
    return rc;
}

/* The row that waited for its pair went without one. */
static int flush(struct dbk_recording *recording, struct dbk_error *err)
{
    int64_t copies = recording->copies;
    recording->copies = 0;
    return add(recording, &recording->old_row, NULL, copies, err);
}

static int take_row(struct dbk_recording *recording, struct dbk_statement *select,
                    struct dbk_error *err)
{
    int64_t pair = dbk_statement_column(select, 0).integer;
    int64_t weight = dbk_statement_column(select, 1).integer;
    int rc = DBK_OK;
    if (weight < 0 || pair != recording->pair)
        rc = flush(recording, err);
    if (rc == DBK_OK && weight < 0) {
        put_row(&recording->old_row, select);
        recording->pair = pair;
        recording->copies = -weight;
    }
    if (rc < 0 || weight <= 0)
        return rc;
    int64_t changed = recording->copies < weight ? recording->copies : weight;
    put_row(&recording->new_row, select);
    recording->copies -= changed;
    /* 1 became 1.0: nobody sees it. */
    if (dbk_slice_equal(dbk_buf_slice(&recording->old_row), dbk_buf_slice(&recording->new_row)))
        return add(recording, NULL, &recording->new_row, weight - changed, err);
    rc = add(recording, &recording->old_row, &recording->new_row, changed, err);
    return rc < 0 ? rc : add(recording, NULL, &recording->new_row, weight - changed, err);
}

int dbk_recording_take(struct dbk_recording *recording, struct dbk_statement *select, size_t limit,
                       struct dbk_error *err)
{
    for (size_t i = 0; i < limit && !recording->lost; i++) {
        int rc = dbk_statement_step(select, err);
        if (rc == 0)
            return flush(recording, err);
        if (rc == 1)
            rc = take_row(recording, select, err);
        if (rc < 0)
            return rc;
    }
    return recording->lost ? 0 : 1;
}

/* The oldest go until what is kept is within its bounds. */
static int trim(struct dbk_recording *recording, struct dbk_record *record, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    const struct dbk_value values[] = {text_of(recording->definition->name),
                                       integer_of(record->first)};
    int rc = dbk_statement_open(recording->connection,
                                DBK_SLICE_LITERAL("SELECT bytes FROM _daybook_differences WHERE "
                                                  "view = ?1 AND seq >= ?2 ORDER BY seq"),
                                &statement, NULL, err);
    for (int i = 0; rc == DBK_OK && i < 2; i++)
        dbk_statement_bind(statement, i + 1, &values[i]);
    while (rc >= 0 && record->first <= record->head &&
           (record->head - record->first >= rows_max(recording) ||
            record->bytes > bytes_max(recording))) {
        rc = dbk_statement_step(statement, err);
        if (rc != 1)
            break;
        record->bytes -= (uint64_t)dbk_statement_column(statement, 0).integer;
        record->first++;
        recording->left = true;
    }
    dbk_statement_free(statement);
    return rc < 0 ? rc : DBK_OK;
}

static int write_record(struct dbk_recording *recording, const struct dbk_record *record,
                        struct dbk_error *err)
{
    const char *view = recording->definition->name;
    const struct dbk_value ends[] = {text_of(view), integer_of(record->head)};
    const struct dbk_value values[] = {text_of(view), integer_of(record->first),
                                       integer_of(record->head), integer_of(record->bytes)};
    int rc =
        run(recording->connection,
            "UPDATE _daybook_differences SET ends = 1 WHERE view = ?1 AND seq = ?2", ends, 2, err);
    return rc < 0 ? rc
                  : run(recording->connection,
                        "UPDATE _daybook_recorded SET first = ?2, head = ?3, bytes = ?4 WHERE view "
                        "= ?1",
                        values, 4, err);
}

void dbk_recording_undo(struct dbk_recording *recording, const struct dbk_recording *before)
{
    recording->next = before->next;
    recording->bytes = before->bytes;
    recording->lost = before->lost;
    recording->record = before->record;
    recording->renewed = before->renewed;
    recording->copies = 0;
}

int dbk_recording_pause(struct dbk_recording *recording, struct dbk_error *err)
{
    const struct dbk_value values[] = {text_of(recording->definition->name),
                                       integer_of(recording->next - 1)};
    if (recording->record.epoch[0] == '\0' || recording->next == recording->record.head + 1)
        return DBK_OK;
    return run(recording->connection,
               "UPDATE _daybook_differences SET ends = 1 WHERE view = ?1 AND seq = ?2", values, 2,
               err);
}

int dbk_recording_end(struct dbk_recording *recording, struct dbk_error *err)
{
    struct dbk_record record;
    const struct dbk_record *begun = &recording->record;
    int rc = dbk_record_read(recording->connection, recording->definition->name, &record, err);
    if (rc < 0)
        return rc;
    if (strcmp(record.epoch, begun->epoch) != 0 || record.head != begun->head)
        return dbk_error_set(err, DBK_EBUSY, "somebody began to follow it meanwhile");
    if (record.epoch[0] == '\0')
        return DBK_OK;
    recording->left = recording->left || recording->lost;
    if (recording->lost)
        return dbk_record_forget(recording->connection, recording->definition->name, err);
    if (recording->next == record.head + 1)
        return DBK_OK;
    record.head = recording->next - 1;
    record.bytes += recording->bytes;
    rc = trim(recording, &record, err);
    return rc < 0 ? rc : write_record(recording, &record, err);
}

void dbk_recording_release(struct dbk_recording *recording)
{
    dbk_statement_free(recording->insert);
    recording->insert = NULL;
    dbk_buf_release(&recording->old_row);
    dbk_buf_release(&recording->new_row);
}

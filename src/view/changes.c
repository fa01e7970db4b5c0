/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A follower reads some changes at a time into memory, in one read transaction that it ends before
 * it hands them out: however slow who it gives them to, it holds up nothing. The snapshot is
 * copied into temp first.
 */
#include "view/changes.h"

#include <stdio.h>
#include <time.h>

#include "json/json.h"
#include "view/record.h"
#include "view/state.h"

#define BATCH_ROWS 500
#define BATCH_SIZE ((size_t)1 << 20)
#define BATCH_MEMORY_MAX ((size_t)256 << 20)
#define ROW_SIZE_MAX ((size_t)64 << 20)
/* How often it is noted that somebody follows. */
#define MARK_US (INT64_C(3600) * 1000000)
/* How often a follower hears of a position without changes. */
#define FRESH_US INT64_C(1000000)

struct item {
    uint64_t seq;
    char epoch[DBK_RECORD_EPOCH_SIZE];
    uint64_t position;
    bool ends;
    struct dbk_slice old_row;
    struct dbk_slice new_row;
};

struct dbk_follower {
    struct dbk_views *views;
    struct dbk_view *view;
    struct dbk_connection *connection;
    bool writer;
    struct dbk_statement *snapshot; /* NULL: it has been given, or was not asked for */
    struct dbk_buf row;             /* of the snapshot */
    uint64_t after;                 /* everything up to this number has been read */
    char epoch[DBK_RECORD_EPOCH_SIZE];
    uint64_t upto;  /* the last number of its epoch, as far as is known */
    uint64_t given; /* everything up to this one has been given */
    char given_epoch[DBK_RECORD_EPOCH_SIZE];
    char token[DBK_CHANGES_TOKEN_SIZE];
    struct dbk_arena batch;
    struct item items[BATCH_ROWS];
    size_t count;
    size_t at;
    bool ended;              /* the last change given was the last of its refresh */
    uint64_t fresh_position; /* as it was told */
    uint64_t seen_position;  /* of the view, when the batch was read */
    int64_t seen_us;
    int64_t fresh_us;  /* when it was told, by the monotonic clock */
    int64_t marked_us; /* when it was noted that somebody follows, likewise */
    uint64_t runs;     /* refreshes of the view that had ended before the batch */
};

const char *dbk_view_change_text(enum dbk_view_change_kind kind)
{
    static const char *const texts[] = {"snapshot", "insert", "delete", "update", "fresh"};
    return texts[kind];
}

static uint64_t runs_of(const struct dbk_follower *follower)
{
    (void)pthread_mutex_lock(&follower->views->mutex);
    uint64_t runs = follower->view->runs;
    (void)pthread_mutex_unlock(&follower->views->mutex);
    return runs;
}

static int end(struct dbk_connection *connection, int rc, struct dbk_error *err)
{
    return dbk_view_end_transaction(connection, rc, err);
}

bool dbk_changes_parse_token(struct dbk_slice text, char epoch_out[DBK_CHANGES_EPOCH_SIZE],
                             uint64_t *number_out)
{
    size_t size = DBK_CHANGES_EPOCH_SIZE - 1;
    if (text.size < size + 2 || text.data[size] != '.')
        return false;
    struct dbk_slice number = dbk_slice(text.data + size + 1, text.size - size - 1);
    bool good = dbk_slice_to_u64(number, number_out) && *number_out <= INT64_MAX &&
                (number.size == 1 || number.data[0] != '0');
    for (size_t i = 0; good && i < size; i++)
        good = strchr("0123456789abcdef", text.data[i]) != NULL && text.data[i] != '\0';
    (void)snprintf(epoch_out, DBK_CHANGES_EPOCH_SIZE, "%.*s", good ? (int)size : 0, text.data);
    return good;
}

static int take_token(struct dbk_follower *follower, struct dbk_slice text, struct dbk_error *err)
{
    if (!dbk_changes_parse_token(text, follower->epoch, &follower->after))
        return dbk_error_set(err, DBK_EINVAL,
                             "after: \"%.*s\" is no token: it is the `id` of a change of this view",
                             (int)(text.size < 80 ? text.size : 80), text.data);
    return DBK_OK;
}

/* Whether what comes behind the token is there; after the record was read in the transaction. */
static int look(const struct dbk_follower *follower, const struct dbk_record *record,
                struct dbk_error *err)
{
    bool same = false;
    int rc = dbk_record_has(follower->connection, follower->view->definition.name, record,
                            follower->epoch, follower->after, &same, err);
    if (rc < 0 || (same && follower->after + 1 >= record->first))
        return rc;
    return dbk_error_set(err, DBK_EGONE,
                         "view %s: the changes behind %s.%llu are no longer kept (%s); begin with "
                         "the rows, without `after`",
                         follower->view->definition.name, follower->epoch,
                         (unsigned long long)follower->after,
                         same ? "there were more since than are"
                              : "they were begun anew since, or are those of an earlier state of "
                                "its database");
}

/* ---- Beginning ---- */

/* Who begins while the view is about to be swapped with its model has its new rows. */
static void wait_swap(const struct dbk_follower *follower)
{
    struct dbk_views *views = follower->views;
    (void)pthread_mutex_lock(&views->mutex);
    while (follower->view->swapped_next && !views->stopping)
        (void)pthread_cond_wait(&views->changed, &views->mutex);
    (void)pthread_mutex_unlock(&views->mutex);
}

static int mark(struct dbk_follower *follower, struct dbk_error *err)
{
    struct dbk_os *os = follower->views->os;
    struct dbk_connection *connection = NULL;
    const struct dbk_view_definition *definition = &follower->view->definition;
    wait_swap(follower);
    int rc = dbk_connection_open(definition->database_path, 0, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_record_create(connection, err);
    if (rc == DBK_OK)
        rc = dbk_connection_begin(connection, DBK_BEGIN_WRITE, err);
    if (rc == DBK_OK)
        rc = end(connection, dbk_record_follow(connection, definition->name, os, err), err);
    dbk_connection_free(connection);
    follower->marked_us = os->monotonic_us(os);
    return rc;
}

/* A plain view's rows, in the transaction in which the record was read. */
static int copy_snapshot(struct dbk_follower *follower, struct dbk_error *err)
{
    struct dbk_buf sql;
    dbk_buf_init(&sql, DBK_VIEW_TABLE_SIZE_MAX * 2);
    dbk_buf_append_format(&sql, "CREATE TEMP TABLE snapshot AS SELECT * FROM main.\"%s\"",
                          follower->view->definition.name);
    dbk_buf_append_char(&sql, '\0');
    int rc = sql.rc < 0 ? dbk_error_set(err, sql.rc, "%s", dbk_code_text(sql.rc))
                        : dbk_connection_run(follower->connection, sql.data, err);
    dbk_buf_release(&sql);
    return rc;
}

static int read_state(struct dbk_follower *follower, struct dbk_record *record,
                      struct dbk_error *err)
{
    struct dbk_view_row row;
    const struct dbk_view_definition *definition = &follower->view->definition;
    int rc = dbk_view_catalog_read(follower->connection, definition->name, &row, err);
    if (rc == DBK_OK)
        rc = dbk_record_read(follower->connection, definition->name, record, err);
    if (rc < 0)
        return rc;
    follower->seen_position = row.position;
    follower->seen_us = row.as_of_us;
    if (row.generation == 0)
        return dbk_error_set(err, DBK_ENOTFOUND, "view %s has not been refreshed yet",
                             definition->name);
    if (record->epoch[0] != '\0' || follower->writer)
        return DBK_OK;
    return dbk_error_set(err, DBK_EREFUSED,
                         "what view %s changes is not recorded: write `-- changes: keep` in its "
                         "head, or follow it while `daybook serve` runs",
                         definition->name);
}

static int begin(struct dbk_follower *follower, struct dbk_slice after, struct dbk_error *err)
{
    struct dbk_record record = {0};
    bool now = dbk_slice_equal_text(after, "now");
    int rc = dbk_connection_begin(follower->connection, DBK_BEGIN_READ, err);
    if (rc < 0)
        return rc;
    rc = read_state(follower, &record, err);
    if (rc == DBK_OK && after.size > 0 && !now) {
        rc = take_token(follower, after, err);
        if (rc == DBK_OK)
            rc = look(follower, &record, err);
    } else if (rc == DBK_OK && record.epoch[0] != '\0') {
        follower->after = record.head;
        rc = dbk_record_epoch_of(follower->connection, follower->view->definition.name, &record,
                                 record.head, follower->epoch, &follower->upto, err);
    }
    follower->given = follower->after;
    (void)snprintf(follower->given_epoch, sizeof(follower->given_epoch), "%s", follower->epoch);
    if (rc == DBK_OK && after.size == 0)
        rc = copy_snapshot(follower, err);
    rc = end(follower->connection, rc, err);
    return rc < 0 || after.size > 0
               ? rc
               : dbk_statement_open(follower->connection,
                                    DBK_SLICE_LITERAL("SELECT * FROM temp.snapshot ORDER BY rowid"),
                                    &follower->snapshot, NULL, err);
}

int dbk_views_follow(struct dbk_views *views, const char *name, struct dbk_slice after, bool writer,
                     struct dbk_follower **follower_out, struct dbk_error *err)
{
    size_t index = 0;
    int rc = dbk_views_find(views, name, &index, err);
    if (rc < 0)
        return rc;
    if (!views->views[index].home->records)
        return dbk_error_set(err, DBK_EREFUSED, "view %s lies where views cannot be followed",
                             name);
    struct dbk_follower *follower = dbk_alloc_zero(1, sizeof(*follower));
    if (follower == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    follower->views = views;
    follower->view = &views->views[index];
    follower->writer = writer;
    follower->runs = runs_of(follower);
    dbk_buf_init(&follower->row, ROW_SIZE_MAX);
    dbk_arena_init(&follower->batch, BATCH_MEMORY_MAX);
    rc = writer ? mark(follower, err) : DBK_OK;
    if (rc == DBK_OK)
        rc = dbk_connection_open(follower->view->definition.database_path, DBK_CONNECT_READ,
                                 &follower->connection, err);
    if (rc == DBK_OK)
        rc = begin(follower, after, err);
    if (rc < 0) {
        dbk_follower_free(follower);
        return rc;
    }
    *follower_out = follower;
    return DBK_OK;
}

void dbk_follower_free(struct dbk_follower *follower)
{
    if (follower == NULL)
        return;
    dbk_statement_free(follower->snapshot);
    dbk_connection_free(follower->connection);
    dbk_buf_release(&follower->row);
    dbk_arena_release(&follower->batch);
    dbk_free(follower);
}

/* ---- Going on ---- */

static const char *token_of(struct dbk_follower *follower, uint64_t seq)
{
    follower->given = seq;
    (void)snprintf(follower->token, sizeof(follower->token), "%s.%llu", follower->given_epoch,
                   (unsigned long long)seq);
    return follower->token;
}

static int say_fresh(struct dbk_follower *follower, uint64_t position, int64_t as_of_us,
                     struct dbk_view_change *change)
{
    struct dbk_os *os = follower->views->os;
    follower->fresh_position = position;
    follower->fresh_us = os->monotonic_us(os);
    follower->ended = false;
    *change = (struct dbk_view_change){.kind = DBK_VIEW_CHANGE_FRESH,
                                       .position = position,
                                       .as_of_us = as_of_us,
                                       .token = token_of(follower, follower->given)};
    return 1;
}

static int next_row(struct dbk_follower *follower, struct dbk_view_change *change,
                    struct dbk_error *err)
{
    struct dbk_statement *snapshot = follower->snapshot;
    struct dbk_buf *out = &follower->row;
    bool first = true;
    int rc = dbk_statement_step(snapshot, err);
    if (rc <= 0) {
        dbk_statement_free(snapshot);
        follower->snapshot = NULL;
        if (rc == DBK_OK)
            rc = dbk_connection_run(follower->connection, "DROP TABLE temp.snapshot", err);
        return rc < 0 ? rc
                      : say_fresh(follower, follower->seen_position, follower->seen_us, change);
    }
    dbk_buf_reset(out);
    dbk_buf_append_char(out, '{');
    for (int i = 0; i < dbk_statement_column_count(snapshot); i++) {
        struct dbk_value value = dbk_statement_column(snapshot, i);
        dbk_json_write_key(out, &first, dbk_statement_column_name(snapshot, i));
        dbk_value_write_json(out, &value);
    }
    dbk_buf_append_char(out, '}');
    if (out->rc < 0)
        return dbk_error_set(err, DBK_ELIMIT, "a row is larger than %zu bytes", ROW_SIZE_MAX);
    *change = (struct dbk_view_change){.kind = DBK_VIEW_CHANGE_SNAPSHOT,
                                       .position = follower->seen_position,
                                       .as_of_us = DBK_TIME_NONE,
                                       .new_row = dbk_buf_slice(out)};
    return 1;
}

static int keep(struct dbk_follower *follower, struct dbk_statement *statement, int column,
                struct dbk_slice *row_out, struct dbk_error *err)
{
    struct dbk_value value = dbk_statement_column(statement, column);
    if (value.kind == DBK_VALUE_NULL)
        return DBK_OK;
    *row_out = dbk_arena_copy(&follower->batch, value.bytes);
    return row_out->data != NULL ? DBK_OK
                                 : dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
}

/* An item keeps its epoch, also when those behind it are of another. */
static int name_epoch(struct dbk_follower *follower, const struct dbk_record *record,
                      struct item *item, struct dbk_error *err)
{
    int rc = DBK_OK;
    if (item->seq > follower->upto)
        rc = dbk_record_epoch_of(follower->connection, follower->view->definition.name, record,
                                 item->seq, follower->epoch, &follower->upto, err);
    (void)snprintf(item->epoch, sizeof(item->epoch), "%s", follower->epoch);
    return rc;
}

static int read_items(struct dbk_follower *follower, const struct dbk_record *record,
                      struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    const struct dbk_value values[] = {
        {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(follower->view->definition.name)},
        {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)follower->after},
        {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)record->head},
    };
    follower->upto = 0; /* what was the record's epoch may have ended since */
    int rc = dbk_statement_open(
        follower->connection,
        DBK_SLICE_LITERAL("SELECT seq, position, ends, old, new FROM _daybook_differences WHERE "
                          "view = ?1 AND seq > ?2 AND seq <= ?3 ORDER BY seq LIMIT 500"),
        &statement, NULL, err);
    for (int i = 0; rc == DBK_OK && i < 3; i++)
        dbk_statement_bind(statement, i + 1, &values[i]);
    while (rc >= 0 && follower->count < BATCH_ROWS && follower->batch.used < BATCH_SIZE) {
        struct item *item = &follower->items[follower->count];
        rc = dbk_statement_step(statement, err);
        if (rc != 1)
            break;
        *item = (struct item){.seq = (uint64_t)dbk_statement_column(statement, 0).integer,
                              .position = (uint64_t)dbk_statement_column(statement, 1).integer,
                              .ends = dbk_statement_column(statement, 2).integer != 0};
        rc = keep(follower, statement, 3, &item->old_row, err);
        if (rc == DBK_OK)
            rc = keep(follower, statement, 4, &item->new_row, err);
        if (rc == DBK_OK)
            rc = name_epoch(follower, record, item, err);
        follower->after = item->seq;
        follower->count += rc == DBK_OK;
    }
    dbk_statement_free(statement);
    return rc < 0 ? rc : DBK_OK;
}

static int read_batch(struct dbk_follower *follower, struct dbk_error *err)
{
    struct dbk_record record;
    struct dbk_os *os = follower->views->os;
    uint64_t runs = runs_of(follower);
    if (follower->writer && os->monotonic_us(os) - follower->marked_us >= MARK_US) {
        int rc = mark(follower, err);
        if (rc < 0)
            return rc;
    }
    follower->at = 0;
    follower->count = 0;
    dbk_arena_reset(&follower->batch);
    int rc = dbk_connection_begin(follower->connection, DBK_BEGIN_READ, err);
    if (rc < 0)
        return rc;
    rc = read_state(follower, &record, err);
    if (rc == DBK_OK)
        rc = look(follower, &record, err);
    if (rc == DBK_OK && record.head > follower->after)
        rc = read_items(follower, &record, err);
    if (rc == DBK_OK && follower->after == record.head)
        follower->runs = runs;
    else
        follower->seen_position = follower->fresh_position; /* there is more before it */
    return end(follower->connection, rc, err);
}

static int give(struct dbk_follower *follower, struct dbk_view_change *change)
{
    const struct item *item = &follower->items[follower->at++];
    follower->ended = item->ends;
    (void)snprintf(follower->given_epoch, sizeof(follower->given_epoch), "%s", item->epoch);
    *change = (struct dbk_view_change){
        .kind = item->old_row.data == NULL   ? DBK_VIEW_CHANGE_INSERT
                : item->new_row.data == NULL ? DBK_VIEW_CHANGE_DELETE
                                             : DBK_VIEW_CHANGE_UPDATE,
        .position = item->position,
        .as_of_us = DBK_TIME_NONE,
        .token = token_of(follower, item->seq),
        .old_row = item->old_row,
        .new_row = item->new_row,
    };
    return 1;
}

int dbk_follower_next(struct dbk_follower *follower, struct dbk_view_change *change_out,
                      struct dbk_error *err)
{
    struct dbk_os *os = follower->views->os;
    if (follower->snapshot != NULL)
        return next_row(follower, change_out, err);
    if (follower->ended)
        return say_fresh(follower, follower->items[follower->at - 1].position, DBK_TIME_NONE,
                         change_out);
    if (follower->at == follower->count) {
        int rc = read_batch(follower, err);
        if (rc < 0)
            return rc;
    }
    if (follower->at < follower->count)
        return give(follower, change_out);
    if (follower->seen_position > follower->fresh_position &&
        os->monotonic_us(os) - follower->fresh_us >= FRESH_US)
        return say_fresh(follower, follower->seen_position, follower->seen_us, change_out);
    return 0;
}

void dbk_follower_wait(struct dbk_follower *follower, int64_t timeout_us)
{
    struct dbk_views *views = follower->views;
    struct timespec until;
    int waited = 0;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t nanoseconds = until.tv_nsec + timeout_us % 1000000 * 1000;
    until.tv_sec += timeout_us / 1000000 + nanoseconds / 1000000000;
    until.tv_nsec = nanoseconds % 1000000000;
    (void)pthread_mutex_lock(&views->mutex);
    while (waited == 0 && follower->view->runs == follower->runs && !views->stopping)
        waited = pthread_cond_timedwait(&views->changed, &views->mutex, &until);
    (void)pthread_mutex_unlock(&views->mutex);
}

int dbk_views_forget_changes(struct dbk_views *views, const char *name, struct dbk_error *err)
{
    size_t index = 0;
    struct dbk_connection *connection = NULL;
    int rc = dbk_views_find(views, name, &index, err);
    if (rc < 0 || !views->views[index].home->records)
        return rc;
    rc = dbk_connection_open(views->views[index].definition.database_path, 0, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_connection_begin(connection, DBK_BEGIN_WRITE, err);
    if (rc == DBK_OK) {
        rc = dbk_alerts_forget(connection, name, err);
        if (rc == DBK_OK)
            rc = dbk_record_forget(connection, name, err);
        rc = end(connection, rc, err);
    }
    if (rc == DBK_OK)
        rc = dbk_record_clean(connection, name, err);
    dbk_connection_free(connection);
    return rc;
}

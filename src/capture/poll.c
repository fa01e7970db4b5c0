/* SPDX-License-Identifier: Apache-2.0 */
/* Polling behind capture/source.h. */
#include "capture/poll.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>

#include "base/time.h"

#define JSON_SIZE_MAX ((size_t)32 << 20)
#define ROW_ARENA_MAX ((size_t)1 << 30)
#define SWEEP_KEYS 1000
#define PROGRESS_US (INT64_C(1) * 1000000)

static struct dbk_poll *of(struct dbk_source *source)
{
    return (struct dbk_poll *)source;
}

static const struct dbk_poll *of_const(const struct dbk_source *source)
{
    return (const struct dbk_poll *)source;
}

static int64_t now_us(const struct dbk_poll *poll)
{
    return poll->options.os->monotonic_us(poll->options.os);
}

static int no_memory(const struct dbk_poll *poll, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory polling %s", poll->options.service->name);
}

/* ---- Rows ---- */

/* A row that says it is deleted is one that is gone. */
static bool is_deleted(const struct dbk_poll_table *table, const struct dbk_change *change)
{
    const char *name = table->reader.table->polling.deleted;
    for (size_t i = 0; name != NULL && i < change->shape->count; i++) {
        const struct dbk_change_value *value = &change->values[i];
        if (dbk_slice_equal_text(change->shape->names[i], name))
            return value->kind != DBK_CHANGE_NULL && value->text.size > 0 &&
                   !dbk_slice_equal_text(value->text, "false") &&
                   !dbk_slice_equal_text(value->text, "0");
    }
    return false;
}

/* When a row was stamped is the nearest to its commit that is known. */
static int64_t time_of(const struct dbk_poll *poll, const struct dbk_change *change)
{
    const struct dbk_poll_table *table = poll->table;
    int64_t time_us = DBK_TIME_NONE;
    for (size_t i = 0; poll->postgres && table->mode == DBK_POLL_STAMP && i < change->shape->count;
         i++) {
        if (dbk_slice_equal_text(change->shape->names[i], table->reader.table->polling.cursor) &&
            change->values[i].kind == DBK_CHANGE_TEXT &&
            !dbk_time_parse(change->values[i].text, &time_us))
            time_us = DBK_TIME_NONE;
    }
    return time_us;
}

/* The change at hand is told as a transaction of its own. */
static int begin_change(struct dbk_poll *poll, int64_t time_us, struct dbk_change *change_out)
{
    (void)snprintf(poll->position, sizeof(poll->position), "%" PRIu64, poll->told + 1);
    *change_out = (struct dbk_change){.kind = DBK_CHANGE_BEGIN,
                                      .position = dbk_slice_of(poll->position),
                                      .transaction = dbk_slice_of(poll->transaction),
                                      .time_us = time_us};
    poll->state = DBK_POLL_BEGUN;
    return 1;
}

static int end_change(struct dbk_poll *poll, struct dbk_change *change_out, struct dbk_error *err)
{
    int rc = poll->page != NULL ? dbk_poll_move(poll, err) : DBK_OK;
    poll->told++;
    poll->state = DBK_POLL_NOTHING;
    *change_out = (struct dbk_change){.kind = DBK_CHANGE_END};
    return rc < 0 ? rc : 1;
}

static int take_row(struct dbk_poll *poll, struct dbk_change *change_out, struct dbk_error *err)
{
    struct dbk_poll_table *table = poll->table;
    dbk_arena_reset(&poll->row);
    int rc = dbk_reader_take(&table->reader, poll->page, 0, &poll->row, &poll->change, err);
    if (rc < 0)
        return rc;
    int64_t time_us = time_of(poll, &poll->change);
    if (is_deleted(table, &poll->change))
        poll->change.kind = DBK_CHANGE_DELETE;
    poll->transaction[0] = 0;
    if (table->mode == DBK_POLL_XID) {
        size_t index =
            (size_t)(dbk_reader_column(&table->reader,
                                       dbk_slice_of(table->reader.table->polling.cursor)) -
                     table->reader.columns);
        (void)snprintf(poll->transaction, sizeof(poll->transaction), "%.*s",
                       DBK_SLICE_ARGS(poll->change.values[index].text));
    }
    table->rows += table->first;
    return begin_change(poll, time_us, change_out);
}

/* ---- Rounds ---- */

static void end_round(struct dbk_poll *poll)
{
    struct dbk_poll_table *table = poll->table;
    table->at = DBK_POLL_IDLE;
    table->first = false;
    table->due_us = now_us(poll) + table->reader.table->polling.every_us;
    poll->table = NULL;
}

static void begin_sweep(struct dbk_poll *poll)
{
    struct dbk_poll_table *table = poll->table;
    const struct dbk_capture_polling *polling = &table->reader.table->polling;
    if (polling->deletes != DBK_DELETES_COMPARE || now_us(poll) < table->sweep_us) {
        end_round(poll);
        return;
    }
    table->at = DBK_POLL_SWEEP;
    table->swept = 0;
    table->until = poll->options.last_position(poll->options.context);
}

/* Behind a page: the next one, or the end of the rows. */
static void end_page(struct dbk_poll *poll)
{
    dbk_statement_free(poll->page);
    poll->page = NULL;
    poll->progress = poll->progress || poll->page_rows == poll->page_limit;
    if (poll->page_rows < poll->page_limit)
        begin_sweep(poll);
}

static int open_keys(struct dbk_poll *poll, struct dbk_error *err)
{
    struct dbk_poll_table *table = poll->table;
    poll->keys = (struct dbk_live_keys){.parts = table->reader.key_count};
    int rc = poll->options.live(poll->options.context, table->reader.index, table->swept,
                                table->until, SWEEP_KEYS, &poll->keys, err);
    if (rc < 0)
        return rc;
    dbk_arena_reset(&poll->sweep);
    poll->gone = dbk_arena_alloc_zero(&poll->sweep, poll->keys.count + 1, sizeof(bool));
    poll->key = 0;
    if (poll->gone == NULL)
        return no_memory(poll, err);
    table->swept = poll->keys.looked;
    return dbk_reader_find_gone(&table->reader, &poll->keys, poll->gone, err);
}

/* The next row of the book that the table has not. 0: none is left. */
static int tell_gone(struct dbk_poll *poll, struct dbk_change *change_out, struct dbk_error *err)
{
    struct dbk_poll_table *table = poll->table;
    for (;;) {
        while (poll->key < poll->keys.count && !poll->gone[poll->key])
            poll->key++;
        if (poll->key < poll->keys.count)
            break;
        if (table->swept >= table->until) {
            table->sweep_us = now_us(poll) + table->reader.table->polling.compare_every_us;
            end_round(poll);
            return 0;
        }
        int rc = open_keys(poll, err);
        if (rc < 0)
            return rc;
    }
    poll->change = (struct dbk_change){.kind = DBK_CHANGE_DELETE,
                                       .table = table->reader.index,
                                       .key = poll->keys.keys + poll->key++ * poll->keys.parts,
                                       .key_count = poll->keys.parts};
    poll->transaction[0] = 0;
    return begin_change(poll, DBK_TIME_NONE, change_out);
}

/* Goes on with the table at hand. 0: nothing came of it yet. */
static int tell_table(struct dbk_poll *poll, struct dbk_change *change_out, struct dbk_error *err)
{
    if (poll->table->at == DBK_POLL_SWEEP)
        return tell_gone(poll, change_out, err);
    int rc = poll->page == NULL ? dbk_poll_open_page(poll, err) : DBK_OK;
    if (rc == DBK_OK)
        rc = dbk_statement_step(poll->page, err);
    if (rc == 1) {
        poll->page_rows++;
        return take_row(poll, change_out, err);
    }
    if (rc == 0)
        end_page(poll);
    return rc;
}

static int begin_due(struct dbk_poll *poll, struct dbk_error *err)
{
    int64_t now = now_us(poll);
    for (size_t i = 0; i < poll->table_count; i++) {
        struct dbk_poll_table *table = &poll->tables[i];
        if (!table->captured || table->due_us > now)
            continue;
        int rc = dbk_poll_begin_round(poll, table, err);
        if (rc < 0)
            return rc;
        table->at = DBK_POLL_PAGE;
        poll->table = table;
        poll->keys.count = 0;
        poll->key = 0;
        return 1;
    }
    return 0;
}

static int next(struct dbk_source *base, struct dbk_change *change_out, struct dbk_error *err)
{
    struct dbk_poll *poll = of(base);
    if (poll->state == DBK_POLL_BEGUN) {
        *change_out = poll->change;
        poll->state = DBK_POLL_CHANGED;
        return 1;
    }
    if (poll->state == DBK_POLL_CHANGED)
        return end_change(poll, change_out, err);
    for (;;) {
        int rc = poll->table == NULL ? begin_due(poll, err) : 1;
        if (rc != 1)
            return rc;
        rc = tell_table(poll, change_out, err);
        if (rc != 0)
            return rc;
    }
}

/* ---- The driver ---- */

static void close_poll(struct dbk_source *base)
{
    struct dbk_poll *poll = of(base);
    dbk_statement_free(poll->page);
    for (size_t i = 0; i < poll->table_count; i++) {
        struct dbk_poll_table *table = &poll->tables[i];
        dbk_reader_release(&table->reader);
        dbk_reader_place_release(&table->cursor);
        dbk_reader_place_release(&table->from);
        dbk_reader_place_release(&table->next);
        dbk_reader_place_release(&table->newest);
    }
    dbk_connection_free(poll->connection);
    dbk_json_free(poll->json);
    dbk_arena_release(&poll->row);
    dbk_arena_release(&poll->sweep);
    dbk_arena_release(&poll->arena);
    dbk_free(poll);
}

static int open_tables(struct dbk_poll *poll, struct dbk_error *err)
{
    const struct dbk_capture_service *service = poll->options.service;
    poll->json = dbk_json_create(JSON_SIZE_MAX);
    poll->tables =
        dbk_arena_alloc_zero(&poll->arena, service->table_count + 1, sizeof(*poll->tables));
    if (poll->json == NULL || poll->tables == NULL)
        return no_memory(poll, err);
    int rc = DBK_OK;
    for (size_t i = 0; i < service->table_count && rc == DBK_OK; i++) {
        struct dbk_poll_table *table = &poll->tables[i];
        dbk_reader_init(&table->reader, poll->connection, service, i, poll->json);
        dbk_reader_place_init(&table->cursor);
        dbk_reader_place_init(&table->from);
        dbk_reader_place_init(&table->next);
        dbk_reader_place_init(&table->newest);
        table->captured = service->tables[i].kind == DBK_CAPTURE_POLLING;
        table->first = true;
        poll->table_count++;
        if (table->captured)
            rc = dbk_poll_look(poll, table, err);
    }
    return rc;
}

static int open_poll(const struct dbk_source_options *options, struct dbk_source **source_out,
                     struct dbk_error *err)
{
    struct dbk_poll *poll = dbk_alloc_zero(1, sizeof(*poll));
    if (poll == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory polling %s", options->service->name);
    poll->base.driver = &dbk_source_poll;
    poll->options = *options;
    poll->moved_us = now_us(poll);
    dbk_arena_init(&poll->arena, (size_t)16 << 20);
    dbk_arena_init(&poll->row, ROW_ARENA_MAX);
    dbk_arena_init(&poll->sweep, (size_t)16 << 20);
    int rc =
        dbk_connection_open(options->service->address, DBK_CONNECT_READ, &poll->connection, err);
    if (rc == DBK_OK) {
        poll->postgres = dbk_connection_dialect(poll->connection) == DBK_DIALECT_POSTGRES;
        rc = open_tables(poll, err);
    }
    if (rc == DBK_OK)
        rc = dbk_poll_read_state(poll, err);
    if (rc < 0) {
        close_poll(&poll->base);
        return rc;
    }
    (void)snprintf(poll->identity, sizeof(poll->identity), "polling/%s", poll->incarnation);
    *source_out = &poll->base;
    return DBK_OK;
}

static struct dbk_slice identity(const struct dbk_source *base)
{
    return dbk_slice_of(of_const(base)->identity);
}

static int wait_poll(struct dbk_source *base, int64_t timeout_us, struct dbk_error *err)
{
    const struct dbk_poll *source = of(base);
    int64_t now = now_us(source);
    int64_t left_us = timeout_us;
    for (size_t i = 0; i < source->table_count; i++) {
        const struct dbk_poll_table *table = &source->tables[i];
        if (table->captured && table->due_us - now < left_us)
            left_us = table->due_us - now;
    }
    struct pollfd look = {.fd = source->options.wake, .events = POLLIN};
    if (left_us > 0 && poll(&look, 1, (int)((left_us + 999) / 1000)) < 0 && errno != EINTR)
        return dbk_error_set_errno(err, errno, "waiting for the next round");
    return DBK_OK;
}

static void put_state(const struct dbk_source *base, struct dbk_buf *out)
{
    dbk_poll_put_state(of_const(base), out);
}

static bool moved(const struct dbk_source *base)
{
    const struct dbk_poll *poll = of_const(base);
    return poll->progress && now_us(poll) - poll->moved_us > PROGRESS_US;
}

static int stored(struct dbk_source *base, struct dbk_error *err)
{
    struct dbk_poll *poll = of(base);
    (void)err;
    poll->progress = false;
    poll->moved_us = now_us(poll);
    return DBK_OK;
}

static void status(const struct dbk_source *base, struct dbk_source_status *status_out)
{
    const struct dbk_poll *poll = of_const(base);
    (void)snprintf(status_out->position, sizeof(status_out->position), "%" PRIu64, poll->told);
    status_out->caught_up = poll->table == NULL;
    for (size_t i = 0; i < poll->table_count; i++) {
        const struct dbk_poll_table *table = &poll->tables[i];
        if (!table->captured || !table->first)
            continue;
        status_out->snapshot = true;
        status_out->snapshot_rows = table->rows;
        (void)snprintf(status_out->snapshot_table, sizeof(status_out->snapshot_table), "%s",
                       table->reader.table->name);
        break;
    }
}

const struct dbk_source_driver dbk_source_poll = {
    .version = DBK_SOURCE_VERSION,
    .open = open_poll,
    .close = close_poll,
    .identity = identity,
    .next = next,
    .wait = wait_poll,
    .state = put_state,
    .moved = moved,
    .stored = stored,
    .status = status,
};

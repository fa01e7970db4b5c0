/* SPDX-License-Identifier: Apache-2.0 */
/* Polling behind capture/source.h. */
#include "capture/poll.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>

#include "capture/poll_sql.h"

#define JSON_SIZE_MAX ((size_t)32 << 20)
#define ROW_ARENA_MAX ((size_t)1 << 30)
#define SWEEP_KEYS 1000
#define PAGE_ROWS_MAX 1000
#define PROGRESS_US (INT64_C(1) * 1000000)

static struct dbk_poll *of(struct dbk_source *source)
{
    return (struct dbk_poll *)source;
}

static const struct dbk_poll *of_const(const struct dbk_source *source)
{
    return (const struct dbk_poll *)source;
}

int64_t dbk_poll_now_us(const struct dbk_poll *poll)
{
    return poll->options.os->monotonic_us(poll->options.os);
}

int dbk_poll_no_memory(const struct dbk_poll *poll, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory polling %s", poll->options.service->name);
}

/* ---- Rows ---- */

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
    int rc = poll->table->at == DBK_POLL_PAGE ? poll->kind->move(poll, err) : DBK_OK;
    poll->told++;
    poll->state = DBK_POLL_NOTHING;
    *change_out = (struct dbk_change){.kind = DBK_CHANGE_END};
    return rc < 0 ? rc : 1;
}

/* ---- Rounds ---- */

static void end_round(struct dbk_poll *poll)
{
    struct dbk_poll_table *table = poll->table;
    table->at = DBK_POLL_IDLE;
    table->first = false;
    table->due_us = dbk_poll_now_us(poll) + table->definition->polling.every_us;
    poll->table = NULL;
}

static void begin_sweep(struct dbk_poll *poll)
{
    struct dbk_poll_table *table = poll->table;
    const struct dbk_capture_polling *polling = &table->definition->polling;
    if (polling->deletes != DBK_DELETES_COMPARE || dbk_poll_now_us(poll) < table->sweep_us) {
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
    poll->kind->close_page(poll);
    poll->paging = false;
    poll->progress = poll->progress || poll->page_rows == poll->page_limit;
    if (poll->page_rows < poll->page_limit)
        begin_sweep(poll);
}

static int open_keys(struct dbk_poll *poll, struct dbk_error *err)
{
    struct dbk_poll_table *table = poll->table;
    poll->keys = (struct dbk_live_keys){.parts = table->key_count};
    int rc = poll->options.live(poll->options.context, table->index, table->swept, table->until,
                                SWEEP_KEYS, &poll->keys, err);
    if (rc < 0)
        return rc;
    dbk_arena_reset(&poll->sweep);
    poll->gone = dbk_arena_alloc_zero(&poll->sweep, poll->keys.count + 1, sizeof(bool));
    poll->key = 0;
    if (poll->gone == NULL)
        return dbk_poll_no_memory(poll, err);
    table->swept = poll->keys.looked;
    return poll->kind->find_gone(poll, table, &poll->keys, poll->gone, err);
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
            table->sweep_us = dbk_poll_now_us(poll) + table->definition->polling.compare_every_us;
            end_round(poll);
            return 0;
        }
        int rc = open_keys(poll, err);
        if (rc < 0)
            return rc;
    }
    poll->change = (struct dbk_change){.kind = DBK_CHANGE_DELETE,
                                       .table = table->index,
                                       .key = poll->keys.keys + poll->key++ * poll->keys.parts,
                                       .key_count = poll->keys.parts};
    poll->transaction[0] = 0;
    return begin_change(poll, DBK_TIME_NONE, change_out);
}

static int open_page(struct dbk_poll *poll, struct dbk_error *err)
{
    poll->page_limit =
        poll->options.chunk_rows < PAGE_ROWS_MAX ? poll->options.chunk_rows : PAGE_ROWS_MAX;
    poll->page_rows = 0;
    int rc = poll->kind->open_page(poll, err);
    poll->paging = rc == DBK_OK;
    return rc;
}

/* Goes on with the table at hand. 0: nothing came of it yet. */
static int tell_table(struct dbk_poll *poll, struct dbk_change *change_out, struct dbk_error *err)
{
    struct dbk_poll_table *table = poll->table;
    if (table->at == DBK_POLL_SWEEP)
        return tell_gone(poll, change_out, err);
    int rc = poll->paging ? DBK_OK : open_page(poll, err);
    dbk_arena_reset(&poll->row);
    poll->transaction[0] = 0;
    if (rc == DBK_OK)
        rc = poll->kind->next_row(poll, err);
    if (rc == 1) {
        poll->page_rows++;
        table->rows += table->first;
        return begin_change(poll, poll->time_us, change_out);
    }
    if (rc == 0)
        end_page(poll);
    return rc;
}

static int begin_due(struct dbk_poll *poll, struct dbk_error *err)
{
    int64_t now = dbk_poll_now_us(poll);
    for (size_t i = 0; i < poll->table_count; i++) {
        struct dbk_poll_table *table = &poll->tables[i];
        if (!table->captured || table->due_us > now)
            continue;
        int rc = poll->kind->begin_round(poll, table, err);
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
    if (poll->kind != NULL)
        poll->kind->close(poll);
    dbk_json_free(poll->json);
    dbk_arena_release(&poll->row);
    dbk_arena_release(&poll->sweep);
    dbk_arena_release(&poll->arena);
    dbk_free(poll);
}

static int choose_kind(struct dbk_poll *poll, struct dbk_error *err)
{
    const struct dbk_capture_service *service = poll->options.service;
    const void *symbol = &dbk_poll_sql_kind;
    int rc = DBK_OK;
    if (!dbk_dialect_is_sql(dbk_target_dialect(service->address)))
        rc = dbk_target_symbol(service->address, DBK_POLL_SYMBOL, &symbol, err);
    if (rc < 0)
        return rc;
    const struct dbk_poll_kind *kind = symbol;
    if (kind == NULL || kind->version != DBK_POLL_VERSION)
        return dbk_error_set(err, DBK_EFORMAT,
                             "the module of `%s` is not of this version of Daybook: install both "
                             "together",
                             service->database);
    poll->kind = kind;
    return DBK_OK;
}

static int open_tables(struct dbk_poll *poll, struct dbk_error *err)
{
    const struct dbk_capture_service *service = poll->options.service;
    poll->json = dbk_json_create(JSON_SIZE_MAX);
    poll->tables =
        dbk_arena_alloc_zero(&poll->arena, service->table_count + 1, sizeof(*poll->tables));
    if (poll->json == NULL || poll->tables == NULL)
        return dbk_poll_no_memory(poll, err);
    for (size_t i = 0; i < service->table_count; i++)
        poll->tables[i] = (struct dbk_poll_table){
            .definition = &service->tables[i],
            .index = i,
            .captured = service->tables[i].kind == DBK_CAPTURE_POLLING,
            .first = true,
        };
    poll->table_count = service->table_count;
    int rc = choose_kind(poll, err);
    if (rc == DBK_OK)
        rc = poll->kind->open(poll, err);
    for (size_t i = 0; i < poll->table_count && rc == DBK_OK; i++) {
        if (poll->tables[i].captured)
            rc = poll->kind->look(poll, &poll->tables[i], err);
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
    poll->moved_us = dbk_poll_now_us(poll);
    dbk_arena_init(&poll->arena, (size_t)16 << 20);
    dbk_arena_init(&poll->row, ROW_ARENA_MAX);
    dbk_arena_init(&poll->sweep, (size_t)16 << 20);
    int rc = open_tables(poll, err);
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
    int64_t now = dbk_poll_now_us(source);
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
    return poll->progress && dbk_poll_now_us(poll) - poll->moved_us > PROGRESS_US;
}

static int stored(struct dbk_source *base, struct dbk_error *err)
{
    struct dbk_poll *poll = of(base);
    (void)err;
    poll->progress = false;
    poll->moved_us = dbk_poll_now_us(poll);
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
                       table->definition->name);
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

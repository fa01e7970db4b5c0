/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQLite behind capture/source.h.
 *
 * `PRAGMA data_version` tells at the cost of a look into shared memory whether somebody committed:
 * it is asked every 2 ms, and every 10 ms where nothing has come for a while.
 */
#include "capture/sqlite.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>

#include "base/uuid.h"

#define JSON_SIZE_MAX ((size_t)32 << 20)
#define ROW_ARENA_MAX ((size_t)1 << 30)
#define LOOK_MS 2
#define LOOK_IDLE_MS 10
#define IDLE_US (INT64_C(5) * 1000000)
/* The book's rows are removed from the journal so often, or when there are so many. */
#define REMOVE_US (INT64_C(500) * 1000)
#define REMOVE_ROWS 10000
#define PROGRESS_US (INT64_C(1) * 1000000)
/* How often the file that is open is compared with the one that has its name. */
#define CHECK_US (INT64_C(2) * 1000000)

static struct dbk_journal *of(struct dbk_source *source)
{
    return (struct dbk_journal *)source;
}

static const struct dbk_journal *of_const(const struct dbk_source *source)
{
    return (const struct dbk_journal *)source;
}

static int64_t now_us(const struct dbk_journal *journal)
{
    return journal->options.os->monotonic_us(journal->options.os);
}

static int no_memory(const struct dbk_journal *journal, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory capturing %s",
                         journal->options.service->name);
}

/* ---- The driver ---- */

static void close_journal(struct dbk_source *base)
{
    struct dbk_journal *journal = of(base);
    dbk_statement_free(journal->version);
    dbk_statement_free(journal->rows);
    dbk_statement_free(journal->piece_rows);
    for (size_t i = 0; i < journal->table_count; i++) {
        dbk_reader_release(&journal->tables[i].reader);
        dbk_reader_place_release(&journal->tables[i].cursor);
    }
    for (size_t i = 0; i < journal->shape_count; i++)
        dbk_arena_release(&journal->shapes[i].arena);
    dbk_free(journal->shapes);
    dbk_reader_place_release(&journal->piece_cursor);
    dbk_connection_free(journal->connection);
    dbk_json_free(journal->json);
    dbk_arena_release(&journal->row);
    dbk_arena_release(&journal->arena);
    dbk_free(journal);
}

static int open_tables(struct dbk_journal *journal, struct dbk_error *err)
{
    const struct dbk_capture_service *service = journal->options.service;
    char book[DBK_UUID_TEXT_SIZE];
    dbk_uuid_format(journal->options.book, book);
    journal->owner = dbk_arena_format(&journal->arena, "%.36s/%s", book, service->name);
    journal->json = dbk_json_create(JSON_SIZE_MAX);
    journal->tables =
        dbk_arena_alloc_zero(&journal->arena, service->table_count + 1, sizeof(*journal->tables));
    if (journal->json == NULL || journal->tables == NULL || journal->owner == NULL)
        return no_memory(journal, err);
    for (size_t i = 0; i < service->table_count; i++) {
        struct dbk_journal_table *table = &journal->tables[i];
        dbk_reader_init(&table->reader, journal->connection, service, i, journal->json);
        dbk_reader_place_init(&table->cursor);
        table->captured = service->tables[i].kind == DBK_CAPTURE_CDC;
        journal->table_count++;
    }
    return DBK_OK;
}

static int connect_file(struct dbk_journal *journal, struct dbk_error *err)
{
    int rc = dbk_connection_open(journal->options.service->address, DBK_CONNECT_FOREIGN,
                                 &journal->connection, err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(journal->connection, "PRAGMA busy_timeout = 2000", err);
    return rc == DBK_OK ? dbk_statement_open(journal->connection,
                                             DBK_SLICE_LITERAL("PRAGMA main.data_version"),
                                             &journal->version, NULL, err)
                        : rc;
}

static int open_journal(const struct dbk_source_options *options, struct dbk_source **source_out,
                        struct dbk_error *err)
{
    struct dbk_journal *journal = dbk_alloc_zero(1, sizeof(*journal));
    bool begin = false;
    if (journal == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory capturing %s", options->service->name);
    journal->base.driver = &dbk_source_sqlite;
    journal->options = *options;
    dbk_arena_init(&journal->arena, (size_t)16 << 20);
    dbk_arena_init(&journal->row, ROW_ARENA_MAX);
    dbk_reader_place_init(&journal->piece_cursor);
    int rc = connect_file(journal, err);
    if (rc == DBK_OK)
        rc = open_tables(journal, err);
    if (rc == DBK_OK)
        rc = dbk_journal_read_state(journal, &begin, err);
    if (rc == DBK_OK)
        rc = dbk_journal_make(journal, begin ? DBK_JOURNAL_ANEW : DBK_JOURNAL_OPENING, err);
    if (rc < 0) {
        close_journal(&journal->base);
        return rc;
    }
    (void)snprintf(journal->identity, sizeof(journal->identity), "sqlite/%s", journal->incarnation);
    journal->stored = begin ? journal->removed : journal->position;
    journal->look = true;
    journal->moved_us = journal->removed_us = journal->checked_us = journal->changed_us =
        now_us(journal);
    *source_out = &journal->base;
    return DBK_OK;
}

static struct dbk_slice identity(const struct dbk_source *base)
{
    return dbk_slice_of(of_const(base)->identity);
}

static int next(struct dbk_source *base, struct dbk_change *change_out, struct dbk_error *err)
{
    return dbk_journal_next(of(base), change_out, err);
}

/* Somebody may have put another file where the open one was. */
static int check_file(struct dbk_journal *journal, struct dbk_error *err)
{
    struct dbk_connection *other = NULL;
    struct dbk_slice incarnation = {0};
    struct dbk_arena arena;
    int64_t captured = 0;
    int64_t last = 0;
    int64_t ours = 0;
    dbk_arena_init(&arena, (size_t)64 << 10);
    int rc = dbk_connection_open(journal->options.service->address, DBK_CONNECT_READ, &other, NULL);
    if (rc == DBK_OK)
        rc = dbk_journal_text(other, DBK_JOURNAL_INCARNATION, &arena, &incarnation, NULL);
    if (rc == DBK_OK)
        rc = dbk_journal_number(other, DBK_JOURNAL_CAPTURED, &captured, NULL);
    if (rc == DBK_OK)
        rc = dbk_journal_number(other, DBK_JOURNAL_LAST, &last, NULL);
    bool same = rc == DBK_OK && captured == journal->removed &&
                dbk_slice_equal_text(incarnation, journal->incarnation);
    dbk_connection_free(other);
    dbk_arena_release(&arena);
    rc = dbk_journal_number(journal->connection, DBK_JOURNAL_LAST, &ours, err);
    if (rc < 0 || (same && last <= ours))
        return rc;
    return dbk_error_set(err, DBK_EBUSY, "the file of %s is another one than before",
                         journal->options.service->database);
}

/* What can be done later: somebody else writes just now. */
static int tidy(struct dbk_journal *journal, struct dbk_error *err)
{
    int64_t now = now_us(journal);
    int rc = DBK_OK;
    if (journal->at != DBK_JOURNAL_IDLE)
        return DBK_OK;
    if (now - journal->checked_us > CHECK_US) {
        journal->checked_us = now;
        rc = check_file(journal, err);
    }
    if (rc < 0 || journal->stored <= journal->removed ||
        (now - journal->removed_us < REMOVE_US && journal->stored - journal->removed < REMOVE_ROWS))
        return rc;
    journal->removed_us = now;
    rc = dbk_journal_remove(journal, err);
    return rc == DBK_EBUSY ? DBK_OK : rc;
}

static int wait_journal(struct dbk_source *base, int64_t timeout_us, struct dbk_error *err)
{
    struct dbk_journal *journal = of(base);
    int64_t end_us = now_us(journal) + timeout_us;
    int rc = tidy(journal, err);
    while (rc == DBK_OK && now_us(journal) < end_us) {
        int64_t version = 0;
        struct pollfd look = {.fd = journal->options.wake, .events = POLLIN};
        bool idle = now_us(journal) - journal->changed_us > IDLE_US;
        int ready = poll(&look, 1, idle ? LOOK_IDLE_MS : LOOK_MS);
        if (ready < 0 && errno != EINTR)
            return dbk_error_set_errno(err, errno, "waiting for SQLite");
        rc = dbk_journal_read_version(journal, &version, err);
        if (ready > 0 || version != journal->data_version)
            break;
    }
    return rc;
}

static void put_state(const struct dbk_source *base, struct dbk_buf *out)
{
    dbk_journal_put_state(of_const(base), out);
}

static bool moved(const struct dbk_source *base)
{
    const struct dbk_journal *journal = of_const(base);
    if (journal->at != DBK_JOURNAL_IDLE)
        return false;
    return (journal->progress || journal->position > journal->stored) &&
           now_us(journal) - journal->moved_us > PROGRESS_US;
}

static int stored(struct dbk_source *base, struct dbk_error *err)
{
    struct dbk_journal *journal = of(base);
    journal->stored = journal->position;
    journal->moved_us = now_us(journal);
    journal->progress = false;
    return tidy(journal, err);
}

static void status(const struct dbk_source *base, struct dbk_source_status *status_out)
{
    const struct dbk_journal *journal = of_const(base);
    (void)snprintf(status_out->position, sizeof(status_out->position), "%" PRId64,
                   journal->position);
    status_out->caught_up = journal->at == DBK_JOURNAL_IDLE && !journal->look;
    for (size_t i = 0; i < journal->table_count; i++) {
        const struct dbk_journal_table *table = &journal->tables[i];
        if (!table->captured || table->phase == DBK_JOURNAL_DONE)
            continue;
        status_out->snapshot = true;
        status_out->snapshot_rows = table->rows;
        (void)snprintf(status_out->snapshot_table, sizeof(status_out->snapshot_table), "%s",
                       table->reader.table->name);
        break;
    }
}

const struct dbk_source_driver dbk_source_sqlite = {
    .version = DBK_SOURCE_VERSION,
    .open = open_journal,
    .close = close_journal,
    .identity = identity,
    .next = next,
    .wait = wait_journal,
    .state = put_state,
    .moved = moved,
    .stored = stored,
    .status = status,
};

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PostgreSQL behind capture/source.h: logical replication by pgoutput.
 *
 * `lsn` is where the run of changes is: all that was committed before it was told. A keepalive
 * moves it, too, between transactions: so an idle database's slot is acknowledged. Nothing is ever
 * acknowledged that the book does not say: a slot that is past it was moved by somebody else.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "capture/postgres/state.h"

#define ROW_ARENA_MAX ((size_t)1 << 30)
#define JSON_SIZE_MAX ((size_t)32 << 20)
/* The server ends a session that says nothing for wal_sender_timeout, a minute by default. */
#define STATUS_US (INT64_C(10) * 1000000)
/* An idle database's position is stored so often, or when it got so far. */
#define MOVED_SIZE ((uint64_t)16 << 20)
/* A snapshot's, when its rows make no events. */
#define PROGRESS_US (INT64_C(1) * 1000000)
/* How soon the server is asked again where it is. */
#define HURRY_US (INT64_C(5) * 1000)

extern const struct dbk_source_driver dbk_source_driver;

static struct source *of(struct dbk_source *source)
{
    return (struct source *)source;
}

static const struct source *of_const(const struct dbk_source *source)
{
    return (const struct source *)source;
}

static int64_t now_us(const struct source *source)
{
    return source->options.os->monotonic_us(source->options.os);
}

static int no_memory(const struct source *source, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory capturing %s",
                         source->options.service->name);
}

/* ---- The stream ---- */

static int send_status(struct source *source, bool reply, struct dbk_error *err)
{
    char bytes[DBK_WALSENDER_STATUS_SIZE];
    struct dbk_os *os = source->options.os;
    dbk_walsender_status(source->stored_lsn, os->now_us(os), reply, bytes);
    if (PQputCopyData(source->stream, bytes, sizeof(bytes)) != 1 || PQflush(source->stream) != 0)
        return dbk_pg_failed(source->stream, NULL, err);
    source->status_us = now_us(source);
    return DBK_OK;
}

/* The stream has ended: why? */
static int end_of_stream(struct source *source, struct dbk_error *err)
{
    PGresult *result = PQgetResult(source->stream);
    int rc = PQresultStatus(result) == PGRES_COMMAND_OK
                 ? dbk_error_set(err, DBK_ECONNECT, "PostgreSQL ended the stream")
                 : dbk_pg_failed(source->stream, result, err);
    PQclear(result);
    /* Whatever it says: with the next open its slot is looked at, and that tells what to do. */
    return rc == DBK_ENOMEM ? rc : DBK_ECONNECT;
}

/* 1: a copy is at hand; 0: none is. */
static int read_copy(struct source *source, struct dbk_slice *bytes_out, struct dbk_error *err)
{
    PQfreemem(source->data);
    source->data = NULL;
    for (int attempt = 0; attempt < 2; attempt++) {
        int size = PQgetCopyData(source->stream, &source->data, 1);
        if (size > 0) {
            *bytes_out = dbk_slice(source->data, (size_t)size);
            return 1;
        }
        if (size < 0)
            return end_of_stream(source, err);
        if (attempt == 0 && PQconsumeInput(source->stream) != 1)
            return dbk_pg_failed(source->stream, NULL, err);
    }
    return 0;
}

/* ---- Rows ---- */

static struct dbk_pgoutput_value *list_values(struct source *source,
                                              struct dbk_pgoutput_tuple tuple)
{
    struct dbk_pgoutput_value *values =
        dbk_arena_alloc_zero(&source->row, (size_t)tuple.count + 1, sizeof(*values));
    for (size_t i = 0; values != NULL && dbk_pgoutput_next_value(&tuple, &values[i]); i++)
        continue;
    return values;
}

static int malformed(const struct source *source, const struct relation *relation,
                     struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ECORRUPT,
                         "PostgreSQL sent a row of %s that does not have its columns",
                         source->tables[relation->index].definition->name);
}

/* The texts of the key's columns in a tuple; where they were not sent, in another. */
static int take_key(const struct source *source, const struct relation *relation,
                    const struct dbk_pgoutput_value *values,
                    const struct dbk_pgoutput_value *others, struct dbk_slice *key,
                    struct dbk_error *err)
{
    for (size_t i = 0; i < relation->key_count; i++) {
        const struct dbk_pgoutput_value *value = &values[relation->keys[i]];
        if (value->kind == 'u' && others != NULL)
            value = &others[relation->keys[i]];
        if (value->kind != 't')
            return malformed(source, relation, err);
        key[i] = value->text;
    }
    return DBK_OK;
}

static int take_values(struct source *source, const struct relation *relation,
                       const struct dbk_pgoutput_value *values,
                       const struct dbk_pgoutput_value *old, struct dbk_change *change,
                       struct dbk_error *err)
{
    size_t count = relation->shape.count;
    struct dbk_change_value *out = dbk_arena_alloc_zero(&source->row, count + 1, sizeof(*out));
    int rc = out == NULL ? no_memory(source, err) : DBK_OK;
    for (size_t i = 0; i < count && rc == DBK_OK; i++) {
        const struct dbk_pgoutput_value *value = &values[i];
        if (value->kind == 'u' && old != NULL && old[i].kind == 't')
            value = &old[i];
        if (value->kind == 'n')
            out[i].kind = DBK_CHANGE_NULL;
        else if (value->kind == 'u')
            out[i].kind = DBK_CHANGE_UNCHANGED;
        else if (value->kind == 't')
            rc = dbk_change_value_of(relation->types[i], value->text, &source->row, source->json,
                                     &out[i], err);
        else
            rc = malformed(source, relation, err);
    }
    change->values = out;
    change->shape = &relation->shape;
    return rc;
}

static bool same_key(const struct source *source, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!dbk_slice_equal(source->key[i], source->old_key[i]))
            return false;
    }
    return true;
}

/* A row message as a change, with its keys in source->key and old_key. */
static int take_row(struct source *source, const struct relation *relation,
                    struct dbk_change *change, struct dbk_error *err)
{
    const struct dbk_pgoutput *message = &source->message;
    bool is_delete = message->kind == DBK_PGOUTPUT_DELETE;
    size_t count = relation->shape.count;
    if ((!is_delete && message->row.count != count) ||
        (message->old_kind != 0 && message->old.count != count))
        return malformed(source, relation, err);
    struct dbk_pgoutput_value *values = list_values(source, message->row);
    struct dbk_pgoutput_value *old =
        message->old_kind == 0 ? NULL : list_values(source, message->old);
    if (values == NULL || (message->old_kind != 0 && old == NULL))
        return no_memory(source, err);
    *change = (struct dbk_change){
        .kind = is_delete ? DBK_CHANGE_DELETE : DBK_CHANGE_ROW,
        .table = relation->index,
        .unread = relation->table->phase == PHASE_READ,
        .key = source->key,
        .key_count = relation->key_count,
    };
    int rc = take_key(source, relation, is_delete ? old : values, old, source->key, err);
    if (rc == DBK_OK && !is_delete && old != NULL) {
        rc = take_key(source, relation, old, NULL, source->old_key, err);
        if (rc == DBK_OK && !same_key(source, relation->key_count))
            change->old_key = source->old_key;
    }
    if (rc == DBK_OK && !is_delete)
        rc = take_values(source, relation, values, message->old_kind == 'O' ? old : NULL, change,
                         err);
    return rc;
}

/* The piece at hand has not seen the transaction. */
static bool comes_later(const struct source *source)
{
    return source->piece.state == PIECE_HELD &&
           !dbk_pg_has_seen(&source->piece.seen, source->transaction_id);
}

/* The row of the piece that stands before the change; SIZE_MAX: none. */
static size_t find_before(struct source *source, const struct relation *relation,
                          const struct dbk_change *change)
{
    struct piece *piece = &source->piece;
    if (!comes_later(source) || piece->table != relation->table)
        return SIZE_MAX;
    size_t row = dbk_pg_find_row(source, relation->table, change->key);
    if (row == SIZE_MAX && change->old_key != NULL)
        row = dbk_pg_find_row(source, relation->table, change->old_key);
    /* A row that was gone is there again, or is told to be gone. */
    if (row != SIZE_MAX && piece->sweep) {
        piece->told[row] = true;
        return find_before(source, relation, change);
    }
    return row;
}

static int tell_change(struct source *source, struct dbk_change *change_out, struct dbk_error *err)
{
    const struct relation *relation = dbk_pg_relation(source, source->message.relation);
    source->held = false;
    if (relation == NULL)
        return dbk_error_set(err, DBK_ECORRUPT, "PostgreSQL sent a row of an unknown relation");
    if (source->skip || relation->table == NULL)
        return 0;
    int rc = take_row(source, relation, change_out, err);
    if (rc < 0)
        return rc;
    size_t row = find_before(source, relation, change_out);
    if (row == SIZE_MAX)
        return 1;
    source->held = true;
    rc = dbk_pg_tell_row(source, row, change_out, err);
    return rc < 0 ? rc : 1;
}

/* One message may empty several tables: each is taken off the message in turn. */
static int tell_truncate(struct source *source, struct dbk_change *change_out)
{
    struct piece *piece = &source->piece;
    uint32_t id = 0;
    source->held = false;
    while (!source->skip && dbk_pgoutput_next_relation(&source->message.relations, &id)) {
        const struct relation *relation = dbk_pg_relation(source, id);
        if (relation == NULL || relation->table == NULL)
            continue;
        if (comes_later(source) && piece->table == relation->table)
            memset(piece->told, 1, piece->count);
        source->held = source->message.relations.size > 0;
        *change_out = (struct dbk_change){.kind = DBK_CHANGE_TRUNCATE, .table = relation->index};
        return 1;
    }
    return 0;
}

/* ---- Transactions ---- */

/* A piece that is asked for may have been read before this transaction, and is told behind it: its
   answer is waited for, which says so. */
static int tell_begin(struct source *source, struct dbk_change *change_out, struct dbk_error *err)
{
    const struct dbk_pgoutput *message = &source->message;
    source->in_transaction = true;
    source->skip = message->lsn < source->lsn;
    source->transaction_id = message->transaction;
    if (source->skip)
        return 0;
    int rc = dbk_pg_take_piece(source, true, err);
    if (rc < 0)
        return rc;
    dbk_lsn_format(message->lsn, source->position);
    (void)snprintf(source->transaction, sizeof(source->transaction), "%u", message->transaction);
    *change_out = (struct dbk_change){
        .kind = DBK_CHANGE_BEGIN,
        .position = dbk_slice_of(source->position),
        .transaction = dbk_slice_of(source->transaction),
        .time_us = message->time_us,
    };
    return 1;
}

static int tell_end(struct source *source, struct dbk_change *change_out)
{
    source->in_transaction = false;
    if (source->message.end_lsn > source->lsn)
        source->lsn = source->message.end_lsn;
    *change_out = (struct dbk_change){.kind = DBK_CHANGE_END};
    return source->skip ? 0 : 1;
}

/* A transaction that was streamed has committed: it is told as others are. */
static int tell_streamed(struct source *source, struct dbk_change *change_out,
                         struct dbk_error *err)
{
    int rc = dbk_pg_spill_open(source, source->message.transaction, err);
    if (rc < 0)
        return rc;
    source->replay.end_lsn = source->message.end_lsn;
    return tell_begin(source, change_out, err);
}

/* What the message at hand has to tell: 1: a change; 0: nothing more. */
static int tell_message(struct source *source, struct dbk_change *change_out, struct dbk_error *err)
{
    int rc = DBK_OK;
    dbk_arena_reset(&source->row);
    switch (source->message.kind) {
    case DBK_PGOUTPUT_BEGIN:
        return tell_begin(source, change_out, err);
    case DBK_PGOUTPUT_COMMIT:
        return tell_end(source, change_out);
    case DBK_PGOUTPUT_INSERT:
    case DBK_PGOUTPUT_UPDATE:
    case DBK_PGOUTPUT_DELETE:
        return tell_change(source, change_out, err);
    case DBK_PGOUTPUT_TRUNCATE:
        return tell_truncate(source, change_out);
    case DBK_PGOUTPUT_RELATION:
        rc = dbk_pg_take_relation(source, &source->message, err);
        return rc < 0 ? rc : 0;
    case DBK_PGOUTPUT_ORIGIN:
    case DBK_PGOUTPUT_TYPE:
    case DBK_PGOUTPUT_MESSAGE:
        return 0;
    case DBK_PGOUTPUT_STREAM_START:
        return dbk_pg_spill_begin(source, source->message.transaction, err);
    case DBK_PGOUTPUT_STREAM_STOP:
        return dbk_error_set(err, DBK_ECORRUPT, "PostgreSQL ends a block that has not begun");
    case DBK_PGOUTPUT_STREAM_COMMIT:
        return tell_streamed(source, change_out, err);
    case DBK_PGOUTPUT_STREAM_ABORT:
        return dbk_pg_spill_abort(source, source->message.transaction,
                                  source->message.subtransaction, err);
    }
    return 0;
}

/* The next message of a transaction that was streamed, or its end. */
static int tell_replay(struct source *source, struct dbk_change *change_out, struct dbk_error *err)
{
    struct dbk_slice bytes;
    int rc = dbk_pg_spill_next(source, &bytes, err);
    if (rc < 0)
        return rc;
    if (rc == 0) {
        dbk_pg_spill_end(source);
        source->message.end_lsn = source->replay.end_lsn;
        return tell_end(source, change_out);
    }
    rc = dbk_pgoutput_decode(bytes, true, &source->message, err);
    if (rc < 0)
        return rc;
    /* A relation is told once, whatever becomes of the subtransaction that it was first told in. */
    bool told = source->message.kind == DBK_PGOUTPUT_RELATION ||
                !dbk_pg_spill_is_aborted(source, source->message.transaction);
    return told ? tell_message(source, change_out, err) : 0;
}

/* Takes the copy at hand; 1: it is a message; 0: it was a keepalive. */
static int take_copy(struct source *source, struct dbk_slice bytes, struct dbk_error *err)
{
    struct dbk_walsender data;
    int rc = dbk_walsender_decode(bytes, &data, err);
    if (rc < 0)
        return rc;
    if (data.end_lsn > source->server_lsn)
        source->server_lsn = data.end_lsn;
    if (data.kind == 'w') {
        rc = dbk_pgoutput_decode(data.content, source->block != NULL, &source->message, err);
        if (rc < 0 || source->block == NULL)
            return rc < 0 ? rc : 1;
        if (source->message.kind != DBK_PGOUTPUT_STREAM_STOP)
            return dbk_pg_spill_add(source, data.content, err);
        source->block = NULL;
        return 0;
    }
    if (!source->in_transaction && data.end_lsn > source->lsn)
        source->lsn = data.end_lsn;
    return data.reply ? send_status(source, false, err) : DBK_OK;
}

/* ---- Pieces ---- */

/* The piece stands where the run of changes is now: its rows are told as a transaction is. */
static int tell_piece(struct source *source, struct dbk_change *change_out, struct dbk_error *err)
{
    struct piece *piece = &source->piece;
    dbk_arena_reset(&source->row);
    if (piece->state == PIECE_HELD) {
        piece->state = PIECE_TOLD;
        (void)snprintf(source->position, sizeof(source->position), "%s", piece->position);
        *change_out = (struct dbk_change){.kind = DBK_CHANGE_BEGIN,
                                          .snapshot = true,
                                          .position = dbk_slice_of(source->position),
                                          .time_us = DBK_TIME_NONE};
        return 1;
    }
    while (piece->at < piece->count && piece->told[piece->at])
        piece->at++;
    if (piece->at < piece->count) {
        int rc = dbk_pg_tell_row(source, piece->at++, change_out, err);
        return rc < 0 ? rc : 1;
    }
    int rc = dbk_pg_end_piece(source, err);
    *change_out = (struct dbk_change){.kind = DBK_CHANGE_END};
    return rc < 0 ? rc : 1;
}

static bool is_piece_due(const struct source *source)
{
    const struct piece *piece = &source->piece;
    return !source->in_transaction && (piece->state == PIECE_TOLD ||
                                       (piece->state == PIECE_HELD && source->lsn >= piece->lsn));
}

/* ---- The driver ---- */

static void close_source(struct dbk_source *base)
{
    struct source *source = of(base);
    dbk_pg_drop_piece(source);
    dbk_pg_spill_release(source);
    PQfreemem(source->data);
    PQfinish(source->stream);
    PQfinish(source->sql);
    for (size_t i = 0; i < source->table_count; i++) {
        dbk_arena_release(&source->tables[i].arena);
        dbk_arena_release(&source->tables[i].cursor_arena);
    }
    for (size_t i = 0; i < source->relation_count; i++)
        dbk_arena_release(&source->relations[i].arena);
    dbk_free(source->relations);
    dbk_json_free(source->json);
    dbk_arena_release(&source->row);
    dbk_arena_release(&source->arena);
    dbk_free(source);
}

static int make_tables(struct source *source, struct dbk_error *err)
{
    const struct dbk_capture_service *service = source->options.service;
    const uint8_t *book = source->options.book->bytes;
    int size = snprintf(source->slot, sizeof(source->slot), "daybook_%.40s_%02x%02x%02x%02x%02x",
                        service->name, book[11], book[12], book[13], book[14], book[15]);
    dbk_assert(size > 0 && (size_t)size < sizeof(source->slot));
    for (char *at = source->slot; *at != 0; at++) {
        if (*at >= 'A' && *at <= 'Z') /* A slot's name has none. */
            *at = (char)(*at - 'A' + 'a');
    }
    source->json = dbk_json_create(JSON_SIZE_MAX);
    source->tables =
        dbk_arena_alloc_zero(&source->arena, service->table_count + 1, sizeof(*source->tables));
    if (source->json == NULL || source->tables == NULL)
        return no_memory(source, err);
    source->table_count = service->table_count;
    for (size_t i = 0; i < source->table_count; i++) {
        source->tables[i].definition = &service->tables[i];
        dbk_arena_init(&source->tables[i].arena, (size_t)16 << 20);
        dbk_arena_init(&source->tables[i].cursor_arena, (size_t)16 << 20);
    }
    return DBK_OK;
}

static int open_source(const struct dbk_source_options *options, struct dbk_source **source_out,
                       struct dbk_error *err)
{
    struct source *source = dbk_alloc_zero(1, sizeof(*source));
    if (source == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory capturing %s", options->service->name);
    source->base.driver = &dbk_source_driver;
    source->options = *options;
    dbk_arena_init(&source->arena, (size_t)64 << 20);
    dbk_arena_init(&source->row, ROW_ARENA_MAX);
    int rc = make_tables(source, err);
    if (rc == DBK_OK)
        rc = dbk_pg_spill_prepare(source, err);
    if (rc == DBK_OK)
        rc = dbk_pg_connect(source, err);
    if (rc == DBK_OK)
        rc = dbk_pg_read_state(source, err);
    if (rc == DBK_OK)
        rc = dbk_pg_read_tables(source, err);
    if (rc == DBK_OK)
        rc = dbk_pg_prepare(source, err);
    if (rc == DBK_OK)
        rc = dbk_pg_start(source, err);
    source->stored_lsn = source->lsn;
    source->moved_us = now_us(source);
    if (rc == DBK_OK)
        rc = send_status(source, true, err);
    if (rc < 0) {
        close_source(&source->base);
        return rc;
    }
    *source_out = &source->base;
    return DBK_OK;
}

static struct dbk_slice identity(const struct dbk_source *base)
{
    return of_const(base)->identity;
}

static int next(struct dbk_source *base, struct dbk_change *change_out, struct dbk_error *err)
{
    struct source *source = of(base);
    struct dbk_slice bytes;
    int rc = DBK_OK;
    for (;;) {
        if (source->held)
            rc = tell_message(source, change_out, err);
        else if (source->replay.spill != NULL)
            rc = tell_replay(source, change_out, err);
        else if (is_piece_due(source))
            return tell_piece(source, change_out, err);
        else {
            if (!source->in_transaction) {
                rc = dbk_pg_take_piece(source, false, err);
                if (rc == DBK_OK)
                    rc = dbk_pg_read_more(source, err);
            }
            if (rc == DBK_OK)
                rc = read_copy(source, &bytes, err);
            if (rc <= 0)
                return rc;
            rc = take_copy(source, bytes, err);
            if (rc == 1)
                rc = tell_message(source, change_out, err);
        }
        if (rc != 0)
            return rc;
    }
}

static int wait_source(struct dbk_source *base, int64_t timeout_us, struct dbk_error *err)
{
    struct source *source = of(base);
    int64_t now = now_us(source);
    bool hurries = source->piece.state == PIECE_HELD;
    int64_t left_us = hurries ? HURRY_US : timeout_us;
    int rc = dbk_pg_look(source, err);
    if (rc == DBK_OK &&
        (now - source->status_us > STATUS_US || (hurries && now - source->status_us > HURRY_US)))
        rc = send_status(source, true, err);
    if (rc < 0)
        return rc;
    if (source->piece.not_before_us > now && source->piece.not_before_us - now < left_us)
        left_us = source->piece.not_before_us - now;
    struct pollfd look[] = {
        {.fd = PQsocket(source->stream), .events = POLLIN},
        {.fd = source->options.wake, .events = POLLIN},
        {.fd = source->piece.state == PIECE_ASKED ? PQsocket(source->sql) : -1, .events = POLLIN},
    };
    if (poll(look, 3, (int)((left_us + 999) / 1000)) < 0 && errno != EINTR)
        return dbk_error_set_errno(err, errno, "waiting for PostgreSQL");
    if (look[0].revents != 0 && PQconsumeInput(source->stream) != 1)
        return dbk_pg_failed(source->stream, NULL, err);
    return DBK_OK;
}

static void put_state(const struct dbk_source *base, struct dbk_buf *out)
{
    dbk_pg_put_state(of_const(base), false, out);
}

static bool moved(const struct dbk_source *base)
{
    const struct source *source = of_const(base);
    int64_t since_us = now_us(source) - source->moved_us;
    if (source->in_transaction || source->piece.state == PIECE_TOLD)
        return false;
    if (source->progress && (since_us > PROGRESS_US || !dbk_pg_is_reading(source)))
        return true;
    return source->lsn > source->stored_lsn && (since_us > source->options.service->slot.every_us ||
                                                source->lsn - source->stored_lsn > MOVED_SIZE);
}

static int stored(struct dbk_source *base, struct dbk_error *err)
{
    struct source *source = of(base);
    source->stored_lsn = source->lsn;
    source->moved_us = now_us(source);
    source->progress = false;
    int rc = send_status(source, false, err);
    return rc == DBK_OK ? dbk_pg_look(source, err) : rc;
}

static void status(const struct dbk_source *base, struct dbk_source_status *status_out)
{
    const struct source *source = of_const(base);
    *status_out = source->health;
    dbk_lsn_format(source->lsn, status_out->position);
    status_out->caught_up = source->lsn >= source->server_lsn;
    status_out->lag_bytes = status_out->caught_up ? 0 : source->server_lsn - source->lsn;
    for (size_t i = 0; i < source->table_count; i++) {
        const struct table *table = &source->tables[i];
        if (table->definition->kind != DBK_CAPTURE_CDC || table->phase == PHASE_DONE)
            continue;
        status_out->snapshot = true;
        status_out->snapshot_rows = table->rows;
        (void)snprintf(status_out->snapshot_table, sizeof(status_out->snapshot_table), "%s",
                       table->definition->name);
        break;
    }
}

static int hurry(struct dbk_source *base, struct dbk_error *err)
{
    return send_status(of(base), true, err);
}

static bool is_reached(struct dbk_slice wanted, struct dbk_slice position, bool *reached_out)
{
    uint64_t left = 0;
    uint64_t right = 0;
    if (!dbk_lsn_parse(wanted, &left) || (position.size > 0 && !dbk_lsn_parse(position, &right)))
        return false;
    *reached_out = dbk_lsn_written(left) <= right;
    return true;
}

__attribute__((visibility("default"))) const struct dbk_source_driver dbk_source_driver = {
    .version = DBK_SOURCE_VERSION,
    .open = open_source,
    .close = close_source,
    .identity = identity,
    .next = next,
    .wait = wait_source,
    .state = put_state,
    .moved = moved,
    .stored = stored,
    .status = status,
    .hurry = hurry,
    .is_reached = is_reached,
};

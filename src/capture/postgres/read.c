/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces of a snapshot: see state.h for how they are joined to the stream. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"
#include "capture/postgres/state.h"

#define SQL_SIZE_MAX ((size_t)16 << 20)
#define PIECE_ARENA_MAX ((size_t)256 << 20)
/* How soon open transactions are looked at again. */
#define AGAIN_US (INT64_C(50) * 1000)
/* So long the stream waits for a piece; then it is asked for again, as much later. */
#define PATIENCE_US (INT64_C(2) * 1000000)
/* So long a server may take to end a statement that was cancelled. */
#define CANCEL_US (INT64_C(10) * 1000000)

static int no_memory(const struct source *source, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory reading tables of %s",
                         source->options.service->name);
}

static int64_t now_us(const struct source *source)
{
    return source->options.os->monotonic_us(source->options.os);
}

static bool is_unfinished(const struct table *table)
{
    return table->definition->kind == DBK_CAPTURE_CDC &&
           (table->phase == PHASE_READ || table->phase == PHASE_SWEEP);
}

bool dbk_pg_is_reading(const struct source *source)
{
    for (size_t i = 0; i < source->table_count; i++) {
        if (is_unfinished(&source->tables[i]))
            return true;
    }
    return false;
}

void dbk_pg_drop_piece(struct source *source)
{
    struct piece *piece = &source->piece;
    PQclear(piece->rows);
    dbk_arena_release(&piece->arena);
    *piece = (struct piece){.not_before_us = piece->not_before_us};
}

/* ---- Asking ---- */

static void put_key_names(const struct table *table, struct dbk_buf *out)
{
    for (size_t i = 0; i < table->key_count; i++) {
        if (i > 0)
            dbk_buf_append_char(out, ',');
        dbk_pg_put_name(out, table->names[table->keys[i]]);
    }
}

static void put_key(const struct table *table, const struct dbk_slice *key, struct dbk_buf *out)
{
    dbk_buf_append_char(out, '(');
    for (size_t i = 0; i < table->key_count; i++) {
        if (i > 0)
            dbk_buf_append_char(out, ',');
        dbk_pg_put_literal(out, key[i]);
        dbk_buf_append_format(out, "::%s", table->columns[table->keys[i]].type_name);
    }
    dbk_buf_append_char(out, ')');
}

static void put_table(const struct table *table, struct dbk_buf *out)
{
    dbk_pg_put_name(out, dbk_slice_of(table->space));
    dbk_buf_append_char(out, '.');
    dbk_pg_put_name(out, dbk_slice_of(table->definition->name));
}

static void put_rows(const struct table *table, size_t count, struct dbk_buf *out)
{
    dbk_buf_append_text(out, "SELECT ");
    for (size_t i = 0; i < table->shape.count; i++) {
        if (i > 0)
            dbk_buf_append_char(out, ',');
        dbk_pg_put_name(out, table->names[i]);
    }
    dbk_buf_append_text(out, " FROM ");
    put_table(table, out);
    if (table->cursor_count > 0) {
        dbk_buf_append_text(out, " WHERE (");
        put_key_names(table, out);
        dbk_buf_append_text(out, ") > ");
        put_key(table, table->cursor, out);
    }
    dbk_buf_append_text(out, " ORDER BY ");
    put_key_names(table, out);
    dbk_buf_append_format(out, " LIMIT %zu", count);
}

/* Those of the keys that no row has. */
static void put_gone(const struct table *table, const struct dbk_live_keys *keys,
                     struct dbk_buf *out)
{
    dbk_buf_append_text(out, "SELECT * FROM (VALUES ");
    for (size_t i = 0; i < keys->count; i++) {
        if (i > 0)
            dbk_buf_append_char(out, ',');
        put_key(table, keys->keys + i * keys->parts, out);
    }
    dbk_buf_append_text(out, ") AS k (");
    for (size_t i = 0; i < table->key_count; i++)
        dbk_buf_append_format(out, i == 0 ? "k%zu" : ",k%zu", i);
    dbk_buf_append_text(out, ") WHERE NOT EXISTS (SELECT 1 FROM ");
    put_table(table, out);
    dbk_buf_append_text(out, " AS t WHERE ");
    for (size_t i = 0; i < table->key_count; i++) {
        dbk_buf_append_text(out, i == 0 ? "t." : " AND t.");
        dbk_pg_put_name(out, table->names[table->keys[i]]);
        dbk_buf_append_format(out, " = k.k%zu", i);
    }
    dbk_buf_append_char(out, ')');
}

/* The table may change while the piece is on its way. */
static int keep_shape(struct source *source, const struct table *table, struct dbk_error *err)
{
    struct piece *piece = &source->piece;
    size_t count = table->shape.count;
    struct dbk_slice *names = dbk_arena_alloc_zero(&piece->arena, count + 1, sizeof(*names));
    piece->types = dbk_arena_alloc_zero(&piece->arena, count + 1, sizeof(*piece->types));
    if (names == NULL || piece->types == NULL)
        return no_memory(source, err);
    for (size_t i = 0; i < count; i++) {
        names[i] = dbk_arena_copy(&piece->arena, table->names[i]);
        piece->types[i] = table->columns[i].type;
        if (names[i].data == NULL)
            return no_memory(source, err);
    }
    piece->shape = (struct dbk_change_shape){++source->shape_count, names, count};
    piece->key_count = table->key_count;
    for (size_t i = 0; i < table->key_count; i++)
        piece->keys[i] = piece->sweep ? i : table->keys[i];
    return DBK_OK;
}

static int ask(struct source *source, struct table *table, const struct dbk_live_keys *keys,
               struct dbk_error *err)
{
    struct piece *piece = &source->piece;
    struct dbk_buf sql;
    dbk_arena_init(&piece->arena, PIECE_ARENA_MAX);
    piece->table = table;
    piece->sweep = keys != NULL;
    if (keys != NULL)
        piece->looked = keys->looked;
    if (table->piece_rows == 0)
        table->piece_rows = PIECE_ROWS_MIN;
    piece->asked = table->piece_rows;
    int rc = keep_shape(source, table, err);
    if (rc < 0)
        return rc;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT "
                              "pg_current_snapshot(), pg_current_wal_insert_lsn(); ");
    if (keys == NULL)
        put_rows(table, piece->asked, &sql);
    else
        put_gone(table, keys, &sql);
    dbk_buf_append_text(&sql, "; COMMIT");
    dbk_buf_append_char(&sql, '\0');
    rc = sql.rc < 0 ? no_memory(source, err) : DBK_OK;
    if (rc == DBK_OK && PQsendQuery(source->sql, sql.data) != 1)
        rc = dbk_pg_failed(source->sql, NULL, err);
    dbk_buf_release(&sql);
    if (rc == DBK_OK)
        piece->state = PIECE_ASKED;
    return rc;
}

/* Looks for rows of the book that the table does not have; there may be none to look for. */
static int ask_gone(struct source *source, struct table *table, struct dbk_error *err)
{
    struct dbk_live_keys keys = {.parts = table->key_count};
    int rc = source->options.live(source->options.context, (size_t)(table - source->tables),
                                  table->swept, table->until, SWEEP_KEYS, &keys, err);
    if (rc < 0)
        return rc;
    if (keys.count > 0)
        return ask(source, table, &keys, err);
    table->swept = keys.looked;
    if (table->swept >= table->until)
        table->phase = PHASE_DONE;
    source->progress = true;
    return DBK_OK;
}

int dbk_pg_read_more(struct source *source, struct dbk_error *err)
{
    int rc = DBK_OK;
    if (source->piece.state != PIECE_NONE || now_us(source) < source->piece.not_before_us)
        return DBK_OK;
    for (size_t i = 0; i < source->table_count; i++) {
        struct table *table = &source->tables[i];
        while (rc == DBK_OK && source->piece.state == PIECE_NONE && is_unfinished(table))
            rc = table->phase == PHASE_READ ? ask(source, table, NULL, err)
                                            : ask_gone(source, table, err);
    }
    return rc;
}

/* ---- Answers ---- */

/* "10:20:10,14,15" */
static bool take_seen(struct piece *piece, struct dbk_slice text)
{
    struct seen *seen = &piece->seen;
    const char *at = text.data;
    char *end = NULL;
    size_t count = 1;
    for (size_t i = 0; i < text.size; i++)
        count += text.data[i] == ',';
    seen->open = dbk_arena_alloc_zero(&piece->arena, count, sizeof(*seen->open));
    seen->min = strtoull(at, &end, 10);
    if (seen->open == NULL || end == at || *end != ':')
        return false;
    seen->max = strtoull(end + 1, &end, 10);
    while (*end != 0 && end[1] != 0 && seen->open_count < count) {
        at = end + 1;
        seen->open[seen->open_count++] = strtoull(at, &end, 10);
        if (end == at)
            return false;
    }
    return true;
}

bool dbk_pg_has_seen(const struct seen *seen, uint32_t transaction)
{
    /* The stream's ids have 32 bits: the nearest to the snapshot's is meant. */
    uint64_t id = seen->max + (uint64_t)(int64_t)(int32_t)(transaction - (uint32_t)seen->max);
    if (id < seen->min)
        return true;
    if (id >= seen->max)
        return false;
    for (size_t i = 0; i < seen->open_count; i++) {
        if (seen->open[i] == id)
            return false;
    }
    return true;
}

static void take_answer(struct source *source, PGresult *result)
{
    struct piece *piece = &source->piece;
    ExecStatusType status = PQresultStatus(result);
    int number = piece->answers++;
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
        const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        piece->stale =
            state != NULL && (strcmp(state, "42703") == 0 || strcmp(state, "42P01") == 0);
        if (piece->failure.code == DBK_OK)
            dbk_ignore(dbk_pg_failed(source->sql, result, &piece->failure));
    } else if (number == 1) {
        if (!take_seen(piece, dbk_pg_value(result, 0, 0)) ||
            !dbk_lsn_parse(dbk_pg_value(result, 0, 1), &piece->lsn))
            dbk_ignore(dbk_error_set(&piece->failure, DBK_ESCRIPT,
                                     "PostgreSQL's snapshot cannot be read: %s",
                                     PQgetvalue(result, 0, 0)));
        piece->lsn = dbk_lsn_written(piece->lsn);
    } else if (number == 2) {
        piece->rows = result;
        return;
    }
    PQclear(result);
}

static struct dbk_slice key_part(const struct piece *piece, size_t row, size_t part)
{
    return dbk_pg_value(piece->rows, (int)row, (int)piece->keys[part]);
}

static uint32_t hash_part(uint32_t hash, struct dbk_slice text)
{
    return dbk_crc32c(dbk_crc32c(hash, text), dbk_slice("", 1));
}

/* Rows by key, in a table at most half full; and how large the next piece may be. */
static int take_rows(struct source *source, struct dbk_error *err)
{
    struct piece *piece = &source->piece;
    size_t size = 0;
    piece->count = (size_t)PQntuples(piece->rows);
    piece->slot_count = 16;
    while (piece->slot_count < 2 * piece->count)
        piece->slot_count *= 2;
    piece->told = dbk_arena_alloc_zero(&piece->arena, piece->count + 1, sizeof(bool));
    piece->slots = dbk_arena_alloc_zero(&piece->arena, piece->slot_count, sizeof(uint32_t));
    if (piece->told == NULL || piece->slots == NULL)
        return no_memory(source, err);
    for (size_t i = 0; i < piece->count; i++) {
        uint32_t hash = 0;
        for (size_t j = 0; j < piece->key_count; j++)
            hash = hash_part(hash, key_part(piece, i, j));
        size_t at = hash & (piece->slot_count - 1);
        while (piece->slots[at] != 0)
            at = (at + 1) & (piece->slot_count - 1);
        piece->slots[at] = (uint32_t)i + 1;
        for (int j = 0; j < PQnfields(piece->rows); j++)
            size += (size_t)PQgetlength(piece->rows, (int)i, j) + 16;
    }
    if (!piece->sweep && piece->count > 0) {
        size_t fit = PIECE_SIZE / (size / piece->count + 1);
        size_t more = piece->asked * 4 < fit ? piece->asked * 4 : fit;
        size_t most = source->options.chunk_rows;
        piece->table->piece_rows = more < 1 ? 1 : more > most ? most : more;
    }
    dbk_lsn_format(piece->lsn, piece->position);
    piece->state = PIECE_HELD;
    return DBK_OK;
}

/* What is asked for again, later. */
static void ask_again(struct source *source, int64_t later_us)
{
    source->piece.not_before_us = now_us(source) + later_us;
    dbk_pg_drop_piece(source);
}

static int end_answers(struct source *source, struct dbk_error *err)
{
    struct piece *piece = &source->piece;
    struct table *table = piece->table;
    if (piece->failure.code != DBK_OK) {
        struct dbk_error failure = piece->failure;
        bool stale = piece->stale;
        bool given_up = piece->given_up && failure.code == DBK_EBUSY;
        ask_again(source, given_up ? PATIENCE_US : 0);
        int rc = dbk_pg_run(source, source->sql, "ROLLBACK", err);
        if (rc < 0)
            return rc;
        if (given_up)
            return DBK_OK;
        if (stale)
            return dbk_pg_read_table(source, table, err);
        if (err != NULL)
            *err = failure;
        return failure.code;
    }
    if (table->behind > 0 && piece->seen.min < table->behind) {
        ask_again(source, AGAIN_US);
        return DBK_OK;
    }
    table->behind = 0;
    return take_rows(source, err);
}

static int give_up(struct source *source, struct dbk_error *err)
{
    char why[256] = "";
    PGcancel *cancel = PQgetCancel(source->sql);
    bool sent = cancel != NULL && PQcancel(cancel, why, sizeof(why)) == 1;
    PQfreeCancel(cancel);
    source->piece.given_up = true;
    return sent ? DBK_OK : dbk_error_set(err, DBK_ECONNECT, "cancelling a statement: %s", why);
}

/* Waits for more of the piece's answer, not for ever: it may wait for a lock on its table, and the
   stream is not read meanwhile. */
static int await_piece(struct source *source, int64_t begun_us, struct dbk_error *err)
{
    struct pollfd look[] = {{.fd = PQsocket(source->sql), .events = POLLIN},
                            {.fd = source->options.over, .events = POLLIN}};
    bool given_up = source->piece.given_up;
    int64_t left_us = begun_us + PATIENCE_US + (given_up ? CANCEL_US : 0) - now_us(source);
    int ready = left_us <= 0 ? 0 : poll(look, 2, (int)(left_us / 1000) + 1);
    if (ready < 0 && errno != EINTR)
        return dbk_error_set_errno(err, errno, "waiting for PostgreSQL");
    if (ready > 0 && look[1].revents != 0)
        return dbk_error_set(err, DBK_EBUSY, "ended while waiting for PostgreSQL");
    if (ready != 0)
        return DBK_OK;
    return given_up ? dbk_error_set(err, DBK_ETIMEOUT,
                                    "PostgreSQL does not end a statement that was cancelled")
                    : give_up(source, err);
}

int dbk_pg_take_piece(struct source *source, bool all, struct dbk_error *err)
{
    int64_t begun_us = now_us(source);
    int rc = DBK_OK;
    while (rc == DBK_OK && source->piece.state == PIECE_ASKED) {
        if (PQconsumeInput(source->sql) != 1)
            return dbk_pg_failed(source->sql, NULL, err);
        if (PQisBusy(source->sql) == 1) {
            if (!all)
                return DBK_OK;
            rc = await_piece(source, begun_us, err);
            continue;
        }
        PGresult *result = PQgetResult(source->sql);
        if (result != NULL) {
            take_answer(source, result);
            continue;
        }
        rc = PQstatus(source->sql) == CONNECTION_BAD ? dbk_pg_failed(source->sql, NULL, err)
                                                     : end_answers(source, err);
    }
    return rc;
}

/* ---- Telling ---- */

size_t dbk_pg_find_row(const struct source *source, const struct table *table,
                       const struct dbk_slice *key)
{
    const struct piece *piece = &source->piece;
    uint32_t hash = 0;
    if (piece->table != table || piece->count == 0)
        return SIZE_MAX;
    for (size_t i = 0; i < piece->key_count; i++)
        hash = hash_part(hash, key[i]);
    for (size_t at = hash & (piece->slot_count - 1); piece->slots[at] != 0;
         at = (at + 1) & (piece->slot_count - 1)) {
        size_t row = piece->slots[at] - 1;
        bool same = !piece->told[row];
        for (size_t i = 0; same && i < piece->key_count; i++)
            same = dbk_slice_equal(key_part(piece, row, i), key[i]);
        if (same)
            return row;
    }
    return SIZE_MAX;
}

int dbk_pg_tell_row(struct source *source, size_t row, struct dbk_change *change_out,
                    struct dbk_error *err)
{
    struct piece *piece = &source->piece;
    struct dbk_slice *key = dbk_arena_alloc_zero(&source->row, piece->key_count + 1, sizeof(*key));
    struct dbk_change_value *values =
        dbk_arena_alloc_zero(&source->row, piece->shape.count + 1, sizeof(*values));
    int rc = key == NULL || values == NULL ? no_memory(source, err) : DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < piece->key_count; i++)
        key[i] = key_part(piece, row, i);
    for (size_t i = 0; rc == DBK_OK && !piece->sweep && i < piece->shape.count; i++) {
        if (PQgetisnull(piece->rows, (int)row, (int)i))
            values[i].kind = DBK_CHANGE_NULL;
        else
            rc = dbk_change_value_of(piece->types[i], dbk_pg_value(piece->rows, (int)row, (int)i),
                                     &source->row, source->json, &values[i], err);
    }
    if (rc < 0)
        return rc;
    piece->told[row] = true;
    *change_out = (struct dbk_change){
        .kind = piece->sweep ? DBK_CHANGE_DELETE : DBK_CHANGE_ROW,
        .table = (size_t)(piece->table - source->tables),
        .snapshot = true,
        .shape = &piece->shape,
        .values = values,
        .key = key,
        .key_count = piece->key_count,
        .position = dbk_slice_of(piece->position),
        .time_us = DBK_TIME_NONE,
    };
    return DBK_OK;
}

static int move_cursor(struct source *source, struct dbk_error *err)
{
    struct piece *piece = &source->piece;
    struct table *table = piece->table;
    dbk_arena_reset(&table->cursor_arena);
    for (size_t i = 0; i < piece->key_count; i++) {
        table->cursor[i] =
            dbk_arena_copy(&table->cursor_arena, key_part(piece, piece->count - 1, i));
        if (table->cursor[i].data == NULL)
            return no_memory(source, err);
    }
    table->cursor_count = piece->key_count;
    return DBK_OK;
}

int dbk_pg_end_piece(struct source *source, struct dbk_error *err)
{
    struct piece *piece = &source->piece;
    struct table *table = piece->table;
    int rc = DBK_OK;
    if (piece->sweep) {
        table->swept = piece->looked;
        if (table->swept >= table->until)
            table->phase = PHASE_DONE;
    } else {
        table->rows += piece->count;
        if (piece->count < piece->asked)
            table->phase = table->until > 0 ? PHASE_SWEEP : PHASE_DONE;
        else
            rc = move_cursor(source, err);
    }
    source->progress = true;
    source->piece.not_before_us = 0;
    dbk_pg_drop_piece(source);
    return rc;
}

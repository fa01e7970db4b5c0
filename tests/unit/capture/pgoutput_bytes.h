/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pgoutput_bytes -- a decoded message as bytes again, as PostgreSQL's manual lays them out: what is
 * decoded must encode to what it was decoded from.
 */
#ifndef DBK_TESTS_CAPTURE_PGOUTPUT_BYTES_H
#define DBK_TESTS_CAPTURE_PGOUTPUT_BYTES_H

#include "base/memory.h"
#include "capture/pgoutput.h"

static inline void put_be(struct dbk_buf *out, uint64_t number, size_t size)
{
    for (size_t i = size; i-- > 0;)
        dbk_buf_append_char(out, (char)(number >> (8 * i)));
}

static inline void put_time(struct dbk_buf *out, int64_t time_us)
{
    put_be(out, (uint64_t)time_us - UINT64_C(946684800000000), 8);
}

static inline void put_text(struct dbk_buf *out, struct dbk_slice text)
{
    dbk_buf_append(out, text);
    dbk_buf_append_char(out, '\0');
}

static inline void put_values(struct dbk_buf *out, struct dbk_pgoutput_tuple tuple)
{
    struct dbk_pgoutput_value value;
    put_be(out, tuple.count, 2);
    while (dbk_pgoutput_next_value(&tuple, &value)) {
        dbk_buf_append_char(out, value.kind);
        if (value.kind != 't' && value.kind != 'b')
            continue;
        put_be(out, value.text.size, 4);
        dbk_buf_append(out, value.text);
    }
}

static inline void put_columns(struct dbk_buf *out, struct dbk_pgoutput_tuple columns)
{
    struct dbk_pgoutput_column column;
    put_be(out, columns.count, 2);
    while (dbk_pgoutput_next_column(&columns, &column)) {
        put_be(out, column.key, 1);
        put_text(out, column.name);
        put_be(out, column.type, 4);
        put_be(out, (uint32_t)column.modifier, 4);
    }
}

static inline void put_rows(struct dbk_buf *out, const struct dbk_pgoutput *message)
{
    put_be(out, message->relation, 4);
    if (message->old_kind != 0) {
        dbk_buf_append_char(out, message->old_kind);
        put_values(out, message->old);
    }
    if (message->kind == DBK_PGOUTPUT_DELETE)
        return;
    dbk_buf_append_char(out, 'N');
    put_values(out, message->row);
}

static inline void put_truncated(struct dbk_buf *out, const struct dbk_pgoutput *message)
{
    struct dbk_slice relations = message->relations;
    uint32_t relation = 0;
    put_be(out, relations.size / 4, 4);
    put_be(out, message->options, 1);
    while (dbk_pgoutput_next_relation(&relations, &relation))
        put_be(out, relation, 4);
}

static inline void put_commit(struct dbk_buf *out, const struct dbk_pgoutput *message)
{
    put_be(out, 0, 1);
    put_be(out, message->lsn, 8);
    put_be(out, message->end_lsn, 8);
    put_time(out, message->time_us);
}

static inline void put_rest(struct dbk_buf *out, const struct dbk_pgoutput *message)
{
    switch (message->kind) {
    case DBK_PGOUTPUT_BEGIN:
        put_be(out, message->lsn, 8);
        put_time(out, message->time_us);
        put_be(out, message->transaction, 4);
        return;
    case DBK_PGOUTPUT_COMMIT:
        put_commit(out, message);
        return;
    case DBK_PGOUTPUT_ORIGIN:
        put_be(out, message->lsn, 8);
        put_text(out, message->name);
        return;
    case DBK_PGOUTPUT_TYPE:
    case DBK_PGOUTPUT_RELATION:
        put_be(out, message->relation, 4);
        put_text(out, message->space);
        put_text(out, message->name);
        if (message->kind == DBK_PGOUTPUT_TYPE)
            return;
        dbk_buf_append_char(out, message->identity);
        put_columns(out, message->columns);
        return;
    case DBK_PGOUTPUT_INSERT:
    case DBK_PGOUTPUT_UPDATE:
    case DBK_PGOUTPUT_DELETE:
        put_rows(out, message);
        return;
    case DBK_PGOUTPUT_TRUNCATE:
        put_truncated(out, message);
        return;
    case DBK_PGOUTPUT_MESSAGE:
        put_be(out, message->transactional, 1);
        put_be(out, message->lsn, 8);
        put_text(out, message->name);
        put_be(out, message->content.size, 4);
        dbk_buf_append(out, message->content);
        return;
    case DBK_PGOUTPUT_STREAM_START:
        put_be(out, message->transaction, 4);
        put_be(out, message->first, 1);
        return;
    case DBK_PGOUTPUT_STREAM_STOP:
        return;
    case DBK_PGOUTPUT_STREAM_COMMIT:
        put_be(out, message->transaction, 4);
        put_commit(out, message);
        return;
    case DBK_PGOUTPUT_STREAM_ABORT:
        put_be(out, message->transaction, 4);
        put_be(out, message->subtransaction, 4);
        return;
    }
}

static inline void put_message(struct dbk_buf *out, const struct dbk_pgoutput *message,
                               bool streamed)
{
    dbk_buf_append_char(out, (char)message->kind);
    if (streamed && strchr("RYIUDTM", (char)message->kind) != NULL)
        put_be(out, message->transaction, 4);
    put_rest(out, message);
}

#endif

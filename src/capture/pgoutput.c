/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/pgoutput.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"

/* Microseconds from 1970 to 2000, where PostgreSQL's time begins. */
#define EPOCH_US INT64_C(946684800000000)

/* Of the write-ahead log, as PostgreSQL is built unless told otherwise. */
#define PAGE_SIZE UINT64_C(8192)
#define SEGMENT_SIZE (UINT64_C(16) << 20)
#define SHORT_HEADER_SIZE 24
#define LONG_HEADER_SIZE 40

/* Reads on behind a fault give zeros, so that one check at the end will do. */
struct reader {
    const char *at;
    const char *end;
    bool broken;
};

/* Of no bytes there may be no pointer, to which nothing can be added. */
static struct reader reader_of(struct dbk_slice bytes)
{
    const char *at = bytes.size == 0 ? "" : bytes.data;
    return (struct reader){at, at + bytes.size, false};
}

static uint64_t read_number(struct reader *reader, size_t size)
{
    uint64_t number = 0;
    if ((size_t)(reader->end - reader->at) < size) {
        reader->broken = true;
        return 0;
    }
    for (size_t i = 0; i < size; i++)
        number = number << 8 | (uint8_t)*reader->at++;
    return number;
}

static uint8_t read_u8(struct reader *reader)
{
    return (uint8_t)read_number(reader, 1);
}

static uint16_t read_u16(struct reader *reader)
{
    return (uint16_t)read_number(reader, 2);
}

static uint32_t read_u32(struct reader *reader)
{
    return (uint32_t)read_number(reader, 4);
}

/* Times are in a range that has room for the other epoch; one that has not is broken. */
static int64_t read_time(struct reader *reader)
{
    int64_t time_us = (int64_t)read_number(reader, 8);
    if (time_us > INT64_MAX - EPOCH_US)
        reader->broken = true;
    return reader->broken ? 0 : time_us + EPOCH_US;
}

static struct dbk_slice read_bytes(struct reader *reader, size_t size)
{
    if ((size_t)(reader->end - reader->at) < size) {
        reader->broken = true;
        return (struct dbk_slice){0};
    }
    reader->at += size;
    return dbk_slice(reader->at - size, size);
}

static struct dbk_slice read_text(struct reader *reader)
{
    size_t left = (size_t)(reader->end - reader->at);
    const char *end = left == 0 ? NULL : memchr(reader->at, '\0', left);
    if (end == NULL) {
        reader->broken = true;
        return (struct dbk_slice){0};
    }
    struct dbk_slice text = dbk_slice(reader->at, (size_t)(end - reader->at));
    reader->at = end + 1;
    return text;
}

/* ---- Items ---- */

static struct dbk_pgoutput_value read_value(struct reader *reader)
{
    struct dbk_pgoutput_value value = {.kind = (char)read_u8(reader)};
    if (value.kind == 't' || value.kind == 'b')
        value.text = read_bytes(reader, read_u32(reader));
    else if (value.kind != 'n' && value.kind != 'u')
        reader->broken = true;
    return value;
}

static struct dbk_pgoutput_column read_column(struct reader *reader)
{
    struct dbk_pgoutput_column column = {0};
    uint8_t flags = read_u8(reader);
    if (flags > 1)
        reader->broken = true;
    column.key = flags == 1;
    column.name = read_text(reader);
    column.type = read_u32(reader);
    column.modifier = (int32_t)read_u32(reader);
    return column;
}

static struct dbk_pgoutput_tuple read_tuple(struct reader *reader, bool columns)
{
    struct dbk_pgoutput_tuple tuple = {.count = read_u16(reader)};
    const char *start = reader->at;
    for (unsigned i = 0; i < tuple.count && !reader->broken; i++) {
        if (columns)
            (void)read_column(reader);
        else
            (void)read_value(reader);
    }
    tuple.bytes = dbk_slice(start, (size_t)(reader->at - start));
    return tuple;
}

bool dbk_pgoutput_next_value(struct dbk_pgoutput_tuple *tuple, struct dbk_pgoutput_value *value_out)
{
    if (tuple->count == 0)
        return false;
    struct reader reader = reader_of(tuple->bytes);
    *value_out = read_value(&reader);
    dbk_assert(!reader.broken);
    tuple->count--;
    tuple->bytes = dbk_slice(reader.at, (size_t)(reader.end - reader.at));
    return true;
}

bool dbk_pgoutput_next_column(struct dbk_pgoutput_tuple *columns,
                              struct dbk_pgoutput_column *column_out)
{
    if (columns->count == 0)
        return false;
    struct reader reader = reader_of(columns->bytes);
    *column_out = read_column(&reader);
    dbk_assert(!reader.broken);
    columns->count--;
    columns->bytes = dbk_slice(reader.at, (size_t)(reader.end - reader.at));
    return true;
}

bool dbk_pgoutput_next_relation(struct dbk_slice *relations, uint32_t *relation_out)
{
    if (relations->size == 0)
        return false;
    struct reader reader = reader_of(*relations);
    *relation_out = read_u32(&reader);
    dbk_assert(!reader.broken);
    *relations = dbk_slice(reader.at, (size_t)(reader.end - reader.at));
    return true;
}

/* ---- Messages ---- */

static void read_commit(struct reader *reader, struct dbk_pgoutput *message)
{
    if (read_u8(reader) != 0) /* No flags are known. */
        reader->broken = true;
    message->lsn = read_number(reader, 8);
    message->end_lsn = read_number(reader, 8);
    message->time_us = read_time(reader);
}

static void read_relation(struct reader *reader, struct dbk_pgoutput *message)
{
    message->relation = read_u32(reader);
    message->space = read_text(reader);
    message->name = read_text(reader);
    message->identity = (char)read_u8(reader);
    if (message->identity == 0 || strchr("dnfi", message->identity) == NULL)
        reader->broken = true;
    message->columns = read_tuple(reader, true);
}

static void read_row(struct reader *reader, struct dbk_pgoutput *message)
{
    message->relation = read_u32(reader);
    char part = (char)read_u8(reader);
    if (message->kind != DBK_PGOUTPUT_INSERT && (part == 'K' || part == 'O')) {
        message->old_kind = part;
        message->old = read_tuple(reader, false);
        if (message->kind == DBK_PGOUTPUT_DELETE)
            return;
        part = (char)read_u8(reader);
    }
    if (part != 'N' || message->kind == DBK_PGOUTPUT_DELETE)
        reader->broken = true;
    message->row = read_tuple(reader, false);
}

static void read_truncate(struct reader *reader, struct dbk_pgoutput *message)
{
    uint32_t count = read_u32(reader);
    message->options = read_u8(reader);
    if (message->options > 3)
        reader->broken = true;
    message->relations = read_bytes(reader, (size_t)count * 4);
}

static void read_message(struct reader *reader, struct dbk_pgoutput *message)
{
    uint8_t flags = read_u8(reader);
    if (flags > 1)
        reader->broken = true;
    message->transactional = flags == 1;
    message->lsn = read_number(reader, 8);
    message->name = read_text(reader);
    message->content = read_bytes(reader, read_u32(reader));
}

static void read_stream(struct reader *reader, struct dbk_pgoutput *message)
{
    if (message->kind == DBK_PGOUTPUT_STREAM_STOP)
        return;
    message->transaction = read_u32(reader);
    if (message->kind == DBK_PGOUTPUT_STREAM_COMMIT)
        read_commit(reader, message);
    else if (message->kind == DBK_PGOUTPUT_STREAM_ABORT)
        message->subtransaction = read_u32(reader);
    else {
        uint8_t first = read_u8(reader);
        if (first > 1)
            reader->broken = true;
        message->first = first == 1;
    }
}

/* What stands outside of transactions has no id in front, and is never within a block. */
static bool is_row_message(char kind)
{
    return kind != 0 && strchr("RYIUDTM", kind) != NULL;
}

static void read_body(struct reader *reader, struct dbk_pgoutput *message)
{
    switch (message->kind) {
    case DBK_PGOUTPUT_BEGIN:
        message->lsn = read_number(reader, 8);
        message->time_us = read_time(reader);
        message->transaction = read_u32(reader);
        return;
    case DBK_PGOUTPUT_COMMIT:
        read_commit(reader, message);
        return;
    case DBK_PGOUTPUT_ORIGIN:
        message->lsn = read_number(reader, 8);
        message->name = read_text(reader);
        return;
    case DBK_PGOUTPUT_TYPE:
        message->relation = read_u32(reader);
        message->space = read_text(reader);
        message->name = read_text(reader);
        return;
    case DBK_PGOUTPUT_RELATION:
        read_relation(reader, message);
        return;
    case DBK_PGOUTPUT_INSERT:
    case DBK_PGOUTPUT_UPDATE:
    case DBK_PGOUTPUT_DELETE:
        read_row(reader, message);
        return;
    case DBK_PGOUTPUT_TRUNCATE:
        read_truncate(reader, message);
        return;
    case DBK_PGOUTPUT_MESSAGE:
        read_message(reader, message);
        return;
    case DBK_PGOUTPUT_STREAM_START:
    case DBK_PGOUTPUT_STREAM_STOP:
    case DBK_PGOUTPUT_STREAM_COMMIT:
    case DBK_PGOUTPUT_STREAM_ABORT:
        read_stream(reader, message);
        return;
    }
    reader->broken = true;
}

int dbk_pgoutput_decode(struct dbk_slice bytes, bool streamed, struct dbk_pgoutput *message_out,
                        struct dbk_error *err)
{
    struct reader reader = reader_of(bytes);
    struct dbk_pgoutput message = {0};
    char kind = (char)read_u8(&reader);
    message.kind = (enum dbk_pgoutput_kind)kind;
    if (streamed && is_row_message(kind))
        message.transaction = read_u32(&reader);
    read_body(&reader, &message);
    if (reader.broken || reader.at != reader.end)
        return dbk_error_set(err, DBK_ECORRUPT,
                             "PostgreSQL sent a message of %zu bytes that begins with byte 0x%02x, "
                             "and is none of pgoutput's",
                             bytes.size, (unsigned)(uint8_t)kind);
    *message_out = message;
    return DBK_OK;
}

/* ---- The walsender ---- */

int dbk_walsender_decode(struct dbk_slice bytes, struct dbk_walsender *data_out,
                         struct dbk_error *err)
{
    struct reader reader = reader_of(bytes);
    struct dbk_walsender data = {.kind = (char)read_u8(&reader)};
    if (data.kind == 'w') {
        data.start_lsn = read_number(&reader, 8);
        data.end_lsn = read_number(&reader, 8);
        data.time_us = read_time(&reader);
        data.content = dbk_slice(reader.at, (size_t)(reader.end - reader.at));
    } else if (data.kind == 'k') {
        data.end_lsn = read_number(&reader, 8);
        data.time_us = read_time(&reader);
        uint8_t reply = read_u8(&reader);
        data.reply = reply == 1;
        if (reply > 1 || reader.at != reader.end)
            reader.broken = true;
    } else {
        reader.broken = true;
    }
    if (reader.broken)
        return dbk_error_set(err, DBK_ECORRUPT,
                             "PostgreSQL's walsender sent %zu bytes that are no message of its own",
                             bytes.size);
    *data_out = data;
    return DBK_OK;
}

static void put_number(char *bytes, uint64_t number)
{
    for (size_t i = 0; i < 8; i++)
        bytes[i] = (char)(number >> (56 - 8 * i));
}

void dbk_walsender_status(uint64_t lsn, int64_t time_us, bool reply,
                          char bytes_out[DBK_WALSENDER_STATUS_SIZE])
{
    bytes_out[0] = 'r';
    put_number(bytes_out + 1, lsn);
    put_number(bytes_out + 9, lsn);
    put_number(bytes_out + 17, lsn);
    put_number(bytes_out + 25, (uint64_t)(time_us - EPOCH_US));
    bytes_out[33] = reply ? 1 : 0;
}

void dbk_lsn_format(uint64_t lsn, char text_out[DBK_LSN_TEXT_SIZE])
{
    (void)snprintf(text_out, DBK_LSN_TEXT_SIZE, "%" PRIX32 "/%" PRIX32, (uint32_t)(lsn >> 32),
                   (uint32_t)lsn);
}

uint64_t dbk_lsn_written(uint64_t lsn)
{
    if (lsn % PAGE_SIZE == SHORT_HEADER_SIZE || lsn % SEGMENT_SIZE == LONG_HEADER_SIZE)
        return lsn - lsn % PAGE_SIZE;
    return lsn;
}

static bool parse_hex(struct dbk_slice text, uint64_t *number_out)
{
    uint64_t number = 0;
    for (size_t i = 0; i < text.size; i++) {
        char digit = text.data[i];
        if (digit >= '0' && digit <= '9')
            number = number << 4 | (uint64_t)(digit - '0');
        else if (digit >= 'A' && digit <= 'F')
            number = number << 4 | (uint64_t)(digit - 'A' + 10);
        else
            return false;
    }
    *number_out = number;
    return text.size >= 1 && text.size <= 8;
}

bool dbk_lsn_parse(struct dbk_slice text, uint64_t *lsn_out)
{
    const char *slash = text.size == 0 ? NULL : memchr(text.data, '/', text.size);
    uint64_t high = 0;
    uint64_t low = 0;
    if (slash == NULL)
        return false;
    size_t size = (size_t)(slash - text.data);
    if (!parse_hex(dbk_slice(text.data, size), &high) ||
        !parse_hex(dbk_slice(slash + 1, text.size - size - 1), &low))
        return false;
    *lsn_out = high << 32 | low;
    return true;
}

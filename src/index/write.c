/* SPDX-License-Identifier: Apache-2.0 */
#include "base/assert.h"
#include "index/format.h"

#define BUFFER_SIZE ((size_t)256 << 10)
#define BITS_PER_KEY 12

struct dbk_run_writer {
    struct dbk_os *os;
    char *path;
    char *path_new;
    struct dbk_file file;
    uint64_t first;
    struct dbk_buf buffer; /* not yet written */
    struct dbk_buf marks;
    char *filter;
    struct dbk_run_counts counts;
    struct dbk_run_entry last;
    uint64_t written; /* bytes, header included */
    uint64_t block_begin;
    uint32_t checksum;
    bool filled; /* the blocks are done, marks and filter written */
    int rc;
    struct dbk_error err;
};

static void flush(struct dbk_run_writer *writer)
{
    struct dbk_slice bytes = dbk_buf_slice(&writer->buffer);
    if (writer->rc == DBK_OK && writer->buffer.rc < 0)
        writer->rc = dbk_error_set(&writer->err, writer->buffer.rc, "%s", "out of memory");
    if (writer->rc == DBK_OK)
        writer->rc =
            writer->os->pwrite(writer->os, &writer->file, bytes, writer->written, &writer->err);
    writer->checksum = dbk_crc32c(writer->checksum, bytes);
    writer->written += bytes.size;
    dbk_buf_reset(&writer->buffer);
}

static void put(struct dbk_run_writer *writer, const void *data, size_t size)
{
    if (writer->buffer.size + size > BUFFER_SIZE)
        flush(writer);
    dbk_buf_append(&writer->buffer, dbk_slice(data, size));
}

static int write_header(struct dbk_run_writer *writer, const struct dbk_uuid *book, uint64_t last,
                        struct dbk_error *err)
{
    char header[DBK_RUN_HEADER_SIZE] = {0};
    memcpy(header, DBK_RUN_MAGIC, 8);
    dbk_put_u32(header + 8, DBK_INDEX_FORMAT);
    dbk_put_u64(header + 16, writer->first);
    dbk_put_u64(header + 24, last);
    memcpy(header + 32, book->bytes, DBK_UUID_SIZE);
    dbk_put_u32(header + 12,
                dbk_crc32c(DBK_INDEX_FORMAT, dbk_slice(header + 16, DBK_RUN_HEADER_SIZE - 16)));
    writer->written = DBK_RUN_HEADER_SIZE;
    return writer->os->pwrite(writer->os, &writer->file, dbk_slice(header, sizeof(header)), 0, err);
}

int dbk_run_writer_open(struct dbk_os *os, const char *path, const struct dbk_uuid *book,
                        uint64_t first, uint64_t last, uint64_t keys,
                        struct dbk_run_writer **writer_out, struct dbk_error *err)
{
    struct dbk_run_writer *writer = dbk_alloc_zero(1, sizeof(*writer));
    if (writer == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory writing %s", path);
    writer->os = os;
    writer->file = DBK_FILE_CLOSED;
    writer->first = first;
    dbk_buf_init(&writer->buffer, BUFFER_SIZE + 4096);
    dbk_buf_init(&writer->marks, SIZE_MAX);
    writer->counts.lines = keys * BITS_PER_KEY / (DBK_RUN_LINE_SIZE * 8) + 1;
    writer->path = dbk_copy_text(dbk_slice_of(path));
    size_t size = strlen(path);
    writer->path_new = dbk_alloc(size + 5);
    writer->filter = dbk_alloc_zero(writer->counts.lines, DBK_RUN_LINE_SIZE);
    int rc = DBK_OK;
    if (writer->path == NULL || writer->path_new == NULL || writer->filter == NULL ||
        dbk_buf_reserve(&writer->buffer, BUFFER_SIZE) < 0) {
        rc = dbk_error_set(err, DBK_ENOMEM, "out of memory writing %s", path);
        goto out;
    }
    memcpy(writer->path_new, path, size);
    memcpy(writer->path_new + size, ".new", 5);
    rc = os->open(os, writer->path_new, DBK_OS_WRITE | DBK_OS_CREATE, &writer->file, err);
    if (rc == DBK_OK)
        rc = os->truncate(os, &writer->file, 0, err);
    if (rc == DBK_OK)
        rc = write_header(writer, book, last, err);
out:
    if (rc < 0) {
        dbk_run_writer_free(writer);
        return rc;
    }
    *writer_out = writer;
    return DBK_OK;
}

void dbk_run_writer_free(struct dbk_run_writer *writer)
{
    if (writer == NULL)
        return;
    if (writer->file.fd >= 0) {
        writer->os->close(writer->os, &writer->file);
        dbk_ignore(writer->os->remove(writer->os, writer->path_new, NULL));
    }
    dbk_buf_release(&writer->buffer);
    dbk_buf_release(&writer->marks);
    dbk_free(writer->filter);
    dbk_free(writer->path);
    dbk_free(writer->path_new);
    dbk_free(writer);
}

static void begin_block(struct dbk_run_writer *writer, const struct dbk_run_entry *entry)
{
    char mark[DBK_RUN_MARK_SIZE];
    writer->block_begin = writer->written + writer->buffer.size - DBK_RUN_HEADER_SIZE;
    dbk_put_u64(mark, entry->key.high);
    dbk_put_u64(mark + 8, entry->key.low);
    dbk_put_u64(mark + 16, entry->rank);
    dbk_put_u64(mark + 24, writer->block_begin);
    dbk_buf_append(&writer->marks, dbk_slice(mark, sizeof(mark)));
    writer->counts.marks++;
}

void dbk_run_writer_entry(struct dbk_run_writer *writer, const struct dbk_run_entry *entry)
{
    char bytes[3 * DBK_VARINT_SIZE_MAX + 16];
    size_t size = 0;
    const struct dbk_run_entry *last = &writer->last;
    uint64_t offset = writer->written + writer->buffer.size - DBK_RUN_HEADER_SIZE;
    bool first_of_key =
        writer->counts.marks == 0 || dbk_hash128_compare(last->key, entry->key) != 0;
    bool new_block =
        writer->counts.marks == 0 || offset - writer->block_begin >= DBK_RUN_BLOCK_SIZE;
    dbk_assert(!writer->filled);
    dbk_assert(writer->counts.marks == 0 || dbk_hash128_compare(last->key, entry->key) < 0 ||
               (!first_of_key && last->rank < entry->rank && last->position < entry->position));
    if (new_block)
        begin_block(writer, entry);
    if (first_of_key) {
        writer->counts.keys++;
        dbk_run_line_add(writer->filter + dbk_run_line_of(entry->key, writer->counts.lines),
                         entry->key);
    }
    bool whole = first_of_key || new_block;
    uint64_t rank = entry->rank - (whole ? 0 : last->rank);
    dbk_assert(rank < UINT64_C(1) << 63);
    size += dbk_varint_encode(rank << 1 | whole, bytes);
    if (whole) {
        dbk_put_u64(bytes + size, entry->key.high);
        dbk_put_u64(bytes + size + 8, entry->key.low);
        size += 16;
    }
    size +=
        dbk_varint_encode(entry->position - (whole ? writer->first : last->position), bytes + size);
    put(writer, bytes, size);
    writer->last = *entry;
}

/* Marks and filter follow the blocks. */
static void fill(struct dbk_run_writer *writer)
{
    if (writer->filled)
        return;
    writer->filled = true;
    writer->counts.blocks_size = writer->written + writer->buffer.size - DBK_RUN_HEADER_SIZE;
    if (writer->rc == DBK_OK && writer->marks.rc < 0)
        writer->rc = dbk_error_set(&writer->err, writer->marks.rc, "%s", "out of memory");
    for (size_t at = 0; at < writer->marks.size; at += DBK_RUN_MARK_SIZE)
        put(writer, writer->marks.data + at, DBK_RUN_MARK_SIZE);
    for (uint64_t line = 0; line < writer->counts.lines; line++)
        put(writer, writer->filter + line * DBK_RUN_LINE_SIZE, DBK_RUN_LINE_SIZE);
}

void dbk_run_writer_place(struct dbk_run_writer *writer, struct dbk_log_place place)
{
    char bytes[DBK_RUN_PLACE_SIZE];
    fill(writer);
    dbk_put_u32(bytes, place.segment);
    dbk_put_u32(bytes + 4, place.offset);
    put(writer, bytes, sizeof(bytes));
}

void dbk_run_writer_zone(struct dbk_run_writer *writer, const struct dbk_run_zone *zone)
{
    char bytes[DBK_RUN_ZONE_SIZE];
    dbk_put_u64(bytes, zone->first);
    dbk_put_i64(bytes + 8, zone->time_min_us);
    dbk_put_i64(bytes + 16, zone->time_max_us);
    dbk_put_i64(bytes + 24, zone->occurred_min_us);
    dbk_put_i64(bytes + 32, zone->occurred_max_us);
    put(writer, bytes, sizeof(bytes));
    writer->counts.zones++;
}

int dbk_run_writer_finish(struct dbk_run_writer *writer, uint64_t streams, struct dbk_error *err)
{
    char footer[DBK_RUN_FOOTER_SIZE] = {0};
    dbk_assert(writer->filled);
    flush(writer);
    dbk_put_u64(footer, writer->counts.keys);
    dbk_put_u64(footer + 8, streams);
    dbk_put_u64(footer + 16, writer->counts.blocks_size);
    dbk_put_u64(footer + 24, writer->counts.marks);
    dbk_put_u64(footer + 32, writer->counts.lines);
    dbk_put_u64(footer + 40, writer->counts.zones);
    dbk_put_u32(footer + 56, writer->checksum);
    dbk_put_u32(footer + 60, dbk_crc32c(0, dbk_slice(footer, 60)));
    put(writer, footer, sizeof(footer));
    flush(writer);
    struct dbk_os *os = writer->os;
    if (writer->rc == DBK_OK)
        writer->rc = os->sync(os, &writer->file, &writer->err);
    if (writer->rc == DBK_OK)
        writer->rc = os->rename(os, writer->path_new, writer->path, &writer->err);
    if (writer->rc < 0) {
        if (err != NULL)
            *err = writer->err;
        return writer->rc;
    }
    os->close(os, &writer->file);
    return DBK_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rows_fuzz -- an imported file (CSV or JSONL; plain, gzip or zstd) gives the same rows, faults and
 * lines whether it is read at once or in small pieces, or fails alike; rows are numbered from 1 and
 * lines only grow.
 *
 * The first byte says which format ('j': JSONL), the rest is the file.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "cli/import_rows.h"

/* A file that is not on a disk, and gives a few bytes at a time. */
struct memory_file {
    struct dbk_os os;
    struct dbk_slice bytes;
    size_t piece;
};

struct outcome {
    int rc;
    uint64_t rows;
    uint64_t line;
    uint32_t content;
};

static int open_file(struct dbk_os *os, const char *path, unsigned flags, struct dbk_file *file_out,
                     struct dbk_error *err)
{
    (void)os, (void)path, (void)flags, (void)err;
    *file_out = (struct dbk_file){.fd = 0};
    return DBK_OK;
}

static void close_file(struct dbk_os *os, struct dbk_file *file)
{
    (void)os;
    *file = DBK_FILE_CLOSED;
}

static int read_file(struct dbk_os *os, const struct dbk_file *file, void *buffer, size_t size,
                     uint64_t offset, size_t *size_out, struct dbk_error *err)
{
    const struct memory_file *memory = (struct memory_file *)os;
    (void)file, (void)err;
    size_t left = offset < memory->bytes.size ? memory->bytes.size - offset : 0;
    size_t count = left < size ? left : size;
    *size_out = count < memory->piece ? count : memory->piece;
    if (*size_out > 0)
        memcpy(buffer, memory->bytes.data + offset, *size_out);
    return DBK_OK;
}

static int size_of_file(struct dbk_os *os, const struct dbk_file *file, uint64_t *size_out,
                        struct dbk_error *err)
{
    (void)file, (void)err;
    *size_out = ((struct memory_file *)os)->bytes.size;
    return DBK_OK;
}

static void take(struct outcome *outcome, const struct dbk_row *row, size_t columns)
{
    if (row->number != outcome->rows + 1 || row->line <= outcome->line)
        abort();
    outcome->rows = row->number;
    outcome->line = row->line;
    outcome->content =
        dbk_crc32c(outcome->content, dbk_slice_of(row->fault != NULL ? row->fault : "row"));
    outcome->content = dbk_crc32c(outcome->content, row->text);
    for (size_t i = 0; row->fault == NULL && i < columns; i++) {
        if (!dbk_slice_is_utf8(row->fields[i]))
            abort();
        outcome->content = dbk_crc32c(outcome->content, row->fields[i]);
    }
}

static struct outcome read_rows(struct dbk_slice bytes, enum dbk_row_format format, size_t piece)
{
    struct memory_file memory = {
        {.open = open_file, .close = close_file, .pread = read_file, .size = size_of_file},
        bytes,
        piece};
    struct outcome outcome = {0};
    struct dbk_input *input = NULL;
    struct dbk_rows_reader *reader = NULL;
    struct dbk_error err = {0};
    struct dbk_row row;
    size_t columns = 0;
    outcome.rc = dbk_input_open(&memory.os, "rows", &input, &err);
    if (outcome.rc == DBK_OK)
        outcome.rc = dbk_rows_reader_open(input, format, &reader, &err);
    if (outcome.rc == DBK_OK)
        (void)dbk_rows_reader_columns(reader, &columns);
    while (outcome.rc == DBK_OK) {
        outcome.rc = dbk_rows_reader_next(reader, &row, &err);
        if (outcome.rc != 1)
            break;
        take(&outcome, &row, columns);
        outcome.rc = DBK_OK;
    }
    dbk_rows_reader_free(reader);
    dbk_input_free(input);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    enum dbk_row_format format = data[0] == 'j' ? DBK_ROW_JSONL : DBK_ROW_CSV;
    struct dbk_slice bytes = dbk_slice(data + 1, size - 1);
    struct outcome whole = read_rows(bytes, format, SIZE_MAX);
    struct outcome pieces = read_rows(bytes, format, size > 1 && size < 512 ? 1 : 7);
    /* How much comes before damage in compressed bytes depends on how they are read. */
    if ((whole.rc < 0) != (pieces.rc < 0))
        abort();
    if (whole.rc == DBK_OK &&
        (whole.rows != pieces.rows || whole.line != pieces.line || whole.content != pieces.content))
        abort();
    return 0;
}

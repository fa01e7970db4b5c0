/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/import_input.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define CHUNK_SIZE ((size_t)256 << 10)

enum coding { CODING_UNKNOWN, CODING_PLAIN, CODING_GZIP, CODING_ZSTD };

struct dbk_input {
    struct dbk_os *os;
    const char *path;
    struct dbk_file file; /* closed for standard input */
    uint64_t total;
    _Atomic uint64_t done;
    enum coding coding;
    char *chunk; /* compressed bytes: at .. size are still to be decoded */
    size_t at;
    size_t size;
    bool ended;  /* the file has no more */
    bool within; /* a gzip member or zstd frame has begun and not ended */
    z_stream gzip;
    ZSTD_DCtx *zstd;
};

int dbk_input_open(struct dbk_os *os, const char *path, struct dbk_input **input_out,
                   struct dbk_error *err)
{
    struct dbk_input *input = dbk_alloc_zero(1, sizeof(*input));
    int rc = DBK_ENOMEM;
    if (input == NULL)
        goto out;
    input->os = os;
    input->path = path;
    input->file = DBK_FILE_CLOSED;
    input->chunk = dbk_alloc(CHUNK_SIZE);
    if (input->chunk == NULL)
        goto out;
    rc = DBK_OK;
    if (strcmp(path, "-") == 0) {
        input->path = "standard input";
    } else {
        rc = os->open(os, path, DBK_OS_READ, &input->file, err);
        if (rc == DBK_OK)
            rc = os->size(os, &input->file, &input->total, err);
    }
    if (rc < 0)
        goto out;
    *input_out = input;
    input = NULL;
out:
    if (rc == DBK_ENOMEM)
        (void)dbk_error_set(err, rc, "%s: %s", path, dbk_code_text(rc));
    dbk_input_free(input);
    return rc;
}

void dbk_input_free(struct dbk_input *input)
{
    if (input == NULL)
        return;
    if (input->coding == CODING_GZIP)
        (void)inflateEnd(&input->gzip);
    if (input->zstd != NULL)
        (void)ZSTD_freeDCtx(input->zstd);
    input->os->close(input->os, &input->file);
    dbk_free(input->chunk);
    dbk_free(input);
}

const char *dbk_input_path(const struct dbk_input *input)
{
    return input->path;
}

void dbk_input_progress(const struct dbk_input *input, uint64_t *done_out, uint64_t *total_out)
{
    *done_out = atomic_load_explicit(&input->done, memory_order_relaxed);
    *total_out = input->total;
}

/* Reads more of the file behind what is still to be decoded. */
static int fill(struct dbk_input *input, struct dbk_error *err)
{
    size_t got = 0;
    uint64_t done = atomic_load_explicit(&input->done, memory_order_relaxed);
    memmove(input->chunk, input->chunk + input->at, input->size - input->at);
    input->size -= input->at;
    input->at = 0;
    size_t room = CHUNK_SIZE - input->size;
    if (input->ended || room == 0)
        return DBK_OK;
    if (input->file.fd >= 0) {
        int rc = input->os->pread(input->os, &input->file, input->chunk + input->size, room, done,
                                  &got, err);
        if (rc < 0)
            return rc;
    } else {
        got = fread(input->chunk + input->size, 1, room, stdin);
        if (got == 0 && ferror(stdin))
            return dbk_error_set_errno(err, errno, "%s", input->path);
    }
    input->ended = got == 0;
    input->size += got;
    atomic_store_explicit(&input->done, done + got, memory_order_relaxed);
    return DBK_OK;
}

static int detect(struct dbk_input *input, struct dbk_error *err)
{
    const unsigned char *bytes = (const unsigned char *)input->chunk;
    while (input->size < 4 && !input->ended) {
        int rc = fill(input, err);
        if (rc < 0)
            return rc;
    }
    if (input->size >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b) {
        if (inflateInit2(&input->gzip, 15 + 16) != Z_OK)
            return dbk_error_set(err, DBK_ENOMEM, "%s: %s", input->path, dbk_code_text(DBK_ENOMEM));
        input->coding = CODING_GZIP;
    } else if (input->size >= 4 && bytes[0] == 0x28 && bytes[1] == 0xb5 && bytes[2] == 0x2f &&
               bytes[3] == 0xfd) {
        input->zstd = ZSTD_createDCtx();
        if (input->zstd == NULL)
            return dbk_error_set(err, DBK_ENOMEM, "%s: %s", input->path, dbk_code_text(DBK_ENOMEM));
        input->coding = CODING_ZSTD;
    } else {
        input->coding = CODING_PLAIN;
    }
    return DBK_OK;
}

static int damaged(const struct dbk_input *input, const char *why, struct dbk_error *err)
{
    uint64_t place =
        atomic_load_explicit(&input->done, memory_order_relaxed) - (input->size - input->at);
    return dbk_error_set(err, DBK_ECORRUPT, "%s: %s data is damaged near byte %ju: %s", input->path,
                         input->coding == CODING_GZIP ? "gzip" : "zstd", (uintmax_t)place, why);
}

static int read_plain(struct dbk_input *input, char *buffer, size_t size, size_t *size_out)
{
    size_t left = input->size - input->at;
    size_t count = left < size ? left : size;
    memcpy(buffer, input->chunk + input->at, count);
    input->at += count;
    *size_out = count;
    return DBK_OK;
}

static int read_gzip(struct dbk_input *input, char *buffer, size_t size, size_t *size_out,
                     struct dbk_error *err)
{
    z_stream *gzip = &input->gzip;
    gzip->next_in = (Bytef *)input->chunk + input->at;
    gzip->avail_in = (uInt)(input->size - input->at);
    gzip->next_out = (Bytef *)buffer;
    gzip->avail_out = (uInt)size;
    int result = inflate(gzip, Z_NO_FLUSH);
    input->at = input->size - gzip->avail_in;
    *size_out = size - gzip->avail_out;
    input->within = true;
    if (result == Z_STREAM_END) {
        /* Another member may follow. */
        input->within = false;
        result = inflateReset(gzip);
    }
    if (result != Z_OK && result != Z_BUF_ERROR)
        return damaged(input, gzip->msg != NULL ? gzip->msg : "it cannot be decoded", err);
    return DBK_OK;
}

static int read_zstd(struct dbk_input *input, char *buffer, size_t size, size_t *size_out,
                     struct dbk_error *err)
{
    ZSTD_inBuffer in = {.src = input->chunk, .size = input->size, .pos = input->at};
    ZSTD_outBuffer out = {.dst = buffer, .size = size};
    size_t result = ZSTD_decompressStream(input->zstd, &out, &in);
    if (ZSTD_isError(result))
        return damaged(input, ZSTD_getErrorName(result), err);
    input->at = in.pos;
    *size_out = out.pos;
    input->within = result != 0;
    return DBK_OK;
}

static int decode(struct dbk_input *input, char *buffer, size_t size, size_t *size_out,
                  struct dbk_error *err)
{
    if (input->coding == CODING_GZIP)
        return read_gzip(input, buffer, size, size_out, err);
    if (input->coding == CODING_ZSTD)
        return read_zstd(input, buffer, size, size_out, err);
    return read_plain(input, buffer, size, size_out);
}

int dbk_input_read(struct dbk_input *input, char *buffer, size_t size, size_t *size_out,
                   struct dbk_error *err)
{
    int rc = input->coding == CODING_UNKNOWN ? detect(input, err) : DBK_OK;
    *size_out = 0;
    while (rc == DBK_OK && *size_out == 0) {
        size_t left = input->size - input->at;
        /* A frame that has begun may still hold output for which no more input is needed. */
        if (left > 0 || input->within) {
            rc = decode(input, buffer, size, size_out, err);
            if (rc < 0 || *size_out > 0)
                break;
            if (input->size - input->at != left)
                continue;
        }
        if (input->ended) {
            if (input->within || input->at < input->size)
                rc = damaged(input, "the file ends too early", err);
            break;
        }
        rc = fill(input, err);
    }
    return rc;
}

struct dbk_slice dbk_input_source_name(const char *path)
{
    static const char *const suffixes[] = {".gz", ".gzip", ".zst", ".zstd"};
    const char *slash = strrchr(path, '/');
    struct dbk_slice name = dbk_slice_of(slash != NULL ? slash + 1 : path);
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        size_t size = strlen(suffixes[i]);
        if (name.size > size && memcmp(name.data + name.size - size, suffixes[i], size) == 0)
            return dbk_slice(name.data, name.size - size);
    }
    return name;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "fold/snapshot.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"

#define MAGIC "DBKSNAPS"
#define SUFFIX ".snapshot"
/* 32 hexadecimal digits of the stream's hash, '-', 20 digits, the suffix, room for ".new-…". */
#define NAME_SIZE 100
#define HEX_SIZE 32
#define PATH_SIZE_MAX 4200

void dbk_snapshot_encode(const struct dbk_snapshot *snapshot, struct dbk_buf *out)
{
    char header[DBK_SNAPSHOT_HEADER_SIZE] = {0};
    size_t begin = out->size;
    memcpy(header, MAGIC, 8);
    dbk_put_u32(header + 8, DBK_SNAPSHOT_FORMAT);
    memcpy(header + 16, snapshot->book.bytes, DBK_UUID_SIZE);
    memcpy(header + 32, snapshot->fingerprint, DBK_SHA256_SIZE);
    dbk_put_u64(header + 64, snapshot->version);
    dbk_put_u64(header + 72, snapshot->position);
    dbk_put_i64(header + 80, snapshot->time_us);
    dbk_put_i64(header + 88, snapshot->occurred_max_us);
    dbk_put_u32(header + 96, (uint32_t)snapshot->stream.size);
    dbk_put_u32(header + 100, (uint32_t)snapshot->state.size);
    dbk_buf_append(out, dbk_slice(header, sizeof(header)));
    dbk_buf_append(out, snapshot->stream);
    dbk_buf_append(out, snapshot->state);
    if (out->rc < 0)
        return;
    struct dbk_slice rest = dbk_slice(out->data + begin + 16, out->size - begin - 16);
    dbk_put_u32(out->data + begin + 12, dbk_crc32c(DBK_SNAPSHOT_FORMAT, rest));
}

int dbk_snapshot_decode(struct dbk_slice bytes, struct dbk_snapshot *snapshot_out)
{
    const char *at = bytes.data;
    if (bytes.size < DBK_SNAPSHOT_HEADER_SIZE || memcmp(at, MAGIC, 8) != 0)
        return DBK_ECORRUPT;
    uint32_t format = dbk_get_u32(at + 8);
    if (dbk_get_u32(at + 12) != dbk_crc32c(format, dbk_slice(at + 16, bytes.size - 16)))
        return DBK_ECORRUPT;
    if (format != DBK_SNAPSHOT_FORMAT)
        return format > DBK_SNAPSHOT_FORMAT ? DBK_EFORMAT : DBK_ECORRUPT;
    uint64_t stream_size = dbk_get_u32(at + 96);
    uint64_t state_size = dbk_get_u32(at + 100);
    if (DBK_SNAPSHOT_HEADER_SIZE + stream_size + state_size != bytes.size)
        return DBK_ECORRUPT;
    struct dbk_snapshot snapshot = {
        .version = dbk_get_u64(at + 64),
        .position = dbk_get_u64(at + 72),
        .time_us = dbk_get_i64(at + 80),
        .occurred_max_us = dbk_get_i64(at + 88),
        .stream = dbk_slice(at + DBK_SNAPSHOT_HEADER_SIZE, stream_size),
        .state = dbk_slice(at + DBK_SNAPSHOT_HEADER_SIZE + stream_size, state_size),
    };
    memcpy(snapshot.book.bytes, at + 16, DBK_UUID_SIZE);
    memcpy(snapshot.fingerprint, at + 32, DBK_SHA256_SIZE);
    *snapshot_out = snapshot;
    return DBK_OK;
}

/* What a stream's files are named by. */
struct name {
    char hex[HEX_SIZE + 1];
};

static struct name name_of(struct dbk_slice stream)
{
    uint8_t digest[DBK_SHA256_SIZE];
    struct name name;
    dbk_sha256_of(stream, digest);
    for (size_t i = 0; i < HEX_SIZE / 2; i++)
        (void)snprintf(name.hex + 2 * i, 3, "%02x", digest[i]);
    return name;
}

static bool make_path(const char *folder, struct dbk_slice stream, uint64_t version,
                      char path[PATH_SIZE_MAX])
{
    struct name name = name_of(stream);
    int size = snprintf(path, PATH_SIZE_MAX, "%s/%s-%020" PRIu64 SUFFIX, folder, name.hex, version);
    return size > 0 && size < PATH_SIZE_MAX - NAME_SIZE;
}

int dbk_snapshot_read(struct dbk_os *os, const char *folder, struct dbk_slice stream,
                      uint64_t version, struct dbk_buf *bytes, struct dbk_snapshot *snapshot_out)
{
    char path[PATH_SIZE_MAX];
    dbk_buf_reset(bytes);
    return make_path(folder, stream, version, path) &&
           dbk_os_read_file(os, path, DBK_SNAPSHOT_SIZE_MAX, bytes, NULL) == DBK_OK &&
           dbk_snapshot_decode(dbk_buf_slice(bytes), snapshot_out) == DBK_OK &&
           snapshot_out->version == version && dbk_slice_equal(snapshot_out->stream, stream);
}

int dbk_snapshot_write(struct dbk_os *os, const char *folder, const struct dbk_snapshot *snapshot,
                       struct dbk_error *err)
{
    char path[PATH_SIZE_MAX];
    char beside[PATH_SIZE_MAX + 32];
    uint64_t chance = 0;
    struct dbk_buf bytes;
    struct dbk_file file = DBK_FILE_CLOSED;
    if (!make_path(folder, snapshot->stream, snapshot->version, path))
        return dbk_error_set(err, DBK_ELIMIT, "%s: the path is too long", folder);
    dbk_buf_init(&bytes, DBK_SNAPSHOT_SIZE_MAX);
    dbk_snapshot_encode(snapshot, &bytes);
    int rc = bytes.rc < 0 ? dbk_error_set(err, bytes.rc, "a snapshot: %s", dbk_code_text(bytes.rc))
                          : os->random(os, &chance, sizeof(chance), err);
    (void)snprintf(beside, sizeof(beside), "%s.new-%016" PRIx64, path, chance);
    if (rc == DBK_OK)
        rc = os->make_folder(os, folder, err);
    if (rc == DBK_OK)
        rc = os->open(os, beside, DBK_OS_WRITE | DBK_OS_CREATE, &file, err);
    if (rc == DBK_OK)
        rc = os->pwrite(os, &file, dbk_buf_slice(&bytes), 0, err);
    bool begun = file.fd >= 0;
    os->close(os, &file);
    if (rc == DBK_OK)
        rc = os->rename(os, beside, path, err);
    if (rc < 0 && begun)
        dbk_ignore(os->remove(os, beside, NULL));
    dbk_buf_release(&bytes);
    return rc;
}

struct dropping {
    struct dbk_os *os;
    const char *folder;
    struct name *names; /* in order; NULL: all */
    size_t count;
    uint64_t dropped;
    struct dbk_error *err;
};

static int compare_names(const void *a, const void *b)
{
    return memcmp(a, b, HEX_SIZE);
}

static bool is_meant(const struct dropping *dropping, const char *file)
{
    return strstr(file, SUFFIX) != NULL &&
           (dropping->names == NULL ||
            (strlen(file) > HEX_SIZE && bsearch(file, dropping->names, dropping->count,
                                                sizeof(struct name), compare_names) != NULL));
}

static int drop_one(const char *name, void *context)
{
    struct dropping *dropping = context;
    char path[PATH_SIZE_MAX];
    int size = snprintf(path, sizeof(path), "%s/%s", dropping->folder, name);
    if (!is_meant(dropping, name) || size <= 0 || size >= PATH_SIZE_MAX)
        return DBK_OK;
    struct dbk_error failure = {0};
    int rc = dropping->os->remove(dropping->os, path, &failure);
    /* One that was being written has got its name meanwhile. */
    if (rc == DBK_ENOTFOUND)
        return DBK_OK;
    dropping->dropped += rc == DBK_OK;
    if (rc < 0 && dropping->err != NULL)
        *dropping->err = failure;
    return rc;
}

int dbk_snapshot_drop(struct dbk_os *os, const char *folder, const struct dbk_slice *streams,
                      size_t count, uint64_t *count_out, struct dbk_error *err)
{
    struct dropping dropping = {.os = os, .folder = folder, .count = count, .err = err};
    *count_out = 0;
    if (streams != NULL) {
        dropping.names = dbk_alloc_zero(count + 1, sizeof(*dropping.names));
        if (dropping.names == NULL)
            return dbk_error_set(err, DBK_ENOMEM, "out of memory dropping snapshots");
        for (size_t i = 0; i < count; i++)
            dropping.names[i] = name_of(streams[i]);
        qsort(dropping.names, count, sizeof(*dropping.names), compare_names);
    }
    int rc = os->list(os, folder, drop_one, &dropping, err);
    dbk_free(dropping.names);
    *count_out = dropping.dropped;
    return rc == DBK_ENOTFOUND ? DBK_OK : rc;
}

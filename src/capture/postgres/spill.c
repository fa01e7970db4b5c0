/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Large transactions are streamed before they end (protocol version 2), several at once, in blocks.
 * Their messages go to a file each, every one behind its size, and are told from there at the
 * commit: all but those of subtransactions that were rolled back. Nothing of it outlives the
 * session: the server streams it again.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "capture/postgres/state.h"

#define WRITE_SIZE ((size_t)256 << 10)
#define READ_SIZE ((size_t)256 << 10)
/* PostgreSQL sends no message of 1 GiB. */
#define MESSAGE_SIZE_MAX ((size_t)1 << 30)
#define PATH_SIZE 4096
#define ENDING ".spill"

struct dbk_pg_spill {
    struct dbk_pg_spill *next;
    uint32_t transaction;
    struct dbk_file file;
    uint64_t size;         /* in the file */
    struct dbk_buf behind; /* not written yet */
    uint32_t *aborted;     /* subtransactions */
    size_t aborted_count;
    size_t aborted_capacity;
};

static int no_memory(const struct source *source, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory for an open transaction of %s",
                         source->options.service->name);
}

static void path_of(const struct source *source, uint32_t transaction, char path[PATH_SIZE])
{
    (void)snprintf(path, PATH_SIZE, "%s/%s-%u" ENDING, source->options.folder,
                   source->options.service->name, transaction);
}

/* ---- Files that a killed process left ---- */

static int remove_left(const char *name, void *context)
{
    const struct source *source = context;
    const char *service = source->options.service->name;
    size_t size = strlen(service);
    size_t name_size = strlen(name);
    char path[PATH_SIZE];
    bool ours = strncmp(name, service, size) == 0 && name[size] == '-' &&
                name_size > sizeof(ENDING) &&
                strcmp(name + name_size - (sizeof(ENDING) - 1), ENDING) == 0;
    if (!ours)
        return DBK_OK;
    (void)snprintf(path, PATH_SIZE, "%s/%s", source->options.folder, name);
    return source->options.os->remove(source->options.os, path, NULL);
}

int dbk_pg_spill_prepare(struct source *source, struct dbk_error *err)
{
    struct dbk_os *os = source->options.os;
    dbk_buf_init(&source->replay.window, MESSAGE_SIZE_MAX + READ_SIZE);
    int rc = dbk_os_make_folder(os, source->options.folder, err);
    return rc < 0 ? rc : os->list(os, source->options.folder, remove_left, source, err);
}

/* ---- Writing ---- */

static struct dbk_pg_spill *find(const struct source *source, uint32_t transaction)
{
    struct dbk_pg_spill *spill = source->spills;
    while (spill != NULL && spill->transaction != transaction)
        spill = spill->next;
    return spill;
}

static void free_spill(struct source *source, struct dbk_pg_spill *spill)
{
    char path[PATH_SIZE];
    struct dbk_os *os = source->options.os;
    path_of(source, spill->transaction, path);
    os->close(os, &spill->file);
    dbk_ignore(os->remove(os, path, NULL));
    dbk_buf_release(&spill->behind);
    dbk_free(spill->aborted);
    dbk_free(spill);
}

static void drop(struct source *source, struct dbk_pg_spill *spill)
{
    struct dbk_pg_spill **at = &source->spills;
    while (*at != spill)
        at = &(*at)->next;
    *at = spill->next;
    free_spill(source, spill);
}

void dbk_pg_spill_release(struct source *source)
{
    while (source->spills != NULL)
        drop(source, source->spills);
    dbk_buf_release(&source->replay.window);
}

int dbk_pg_spill_begin(struct source *source, uint32_t transaction, struct dbk_error *err)
{
    char path[PATH_SIZE];
    struct dbk_os *os = source->options.os;
    source->block = find(source, transaction);
    if (source->block != NULL)
        return DBK_OK;
    struct dbk_pg_spill *spill = dbk_alloc_zero(1, sizeof(*spill));
    if (spill == NULL)
        return no_memory(source, err);
    spill->transaction = transaction;
    spill->file = DBK_FILE_CLOSED;
    dbk_buf_init(&spill->behind, MESSAGE_SIZE_MAX + WRITE_SIZE);
    path_of(source, transaction, path);
    int rc = os->open(os, path, DBK_OS_WRITE | DBK_OS_CREATE, &spill->file, err);
    if (rc == DBK_OK)
        rc = os->truncate(os, &spill->file, 0, err);
    if (rc < 0) {
        free_spill(source, spill);
        return rc;
    }
    spill->next = source->spills;
    source->spills = spill;
    source->block = spill;
    return DBK_OK;
}

static int write_behind(struct source *source, struct dbk_pg_spill *spill, struct dbk_error *err)
{
    struct dbk_os *os = source->options.os;
    int rc = os->pwrite(os, &spill->file, dbk_buf_slice(&spill->behind), spill->size, err);
    if (rc < 0)
        return rc;
    spill->size += spill->behind.size;
    dbk_buf_reset(&spill->behind);
    return DBK_OK;
}

int dbk_pg_spill_add(struct source *source, struct dbk_slice bytes, struct dbk_error *err)
{
    char size[4];
    struct dbk_pg_spill *spill = source->block;
    dbk_put_u32(size, (uint32_t)bytes.size);
    dbk_buf_append(&spill->behind, dbk_slice(size, sizeof(size)));
    dbk_buf_append(&spill->behind, bytes);
    if (spill->behind.rc < 0)
        return no_memory(source, err);
    return spill->behind.size < WRITE_SIZE ? DBK_OK : write_behind(source, spill, err);
}

int dbk_pg_spill_abort(struct source *source, uint32_t transaction, uint32_t subtransaction,
                       struct dbk_error *err)
{
    struct dbk_pg_spill *spill = find(source, transaction);
    if (spill == NULL)
        return DBK_OK; /* It had told nothing. */
    if (transaction == subtransaction) {
        drop(source, spill);
        return DBK_OK;
    }
    if (spill->aborted_count == spill->aborted_capacity) {
        size_t capacity = spill->aborted_capacity == 0 ? 16 : spill->aborted_capacity * 2;
        uint32_t *aborted = dbk_realloc(spill->aborted, capacity * sizeof(*aborted));
        if (aborted == NULL)
            return no_memory(source, err);
        spill->aborted = aborted;
        spill->aborted_capacity = capacity;
    }
    spill->aborted[spill->aborted_count++] = subtransaction;
    return DBK_OK;
}

/* ---- Telling ---- */

static int compare(const void *a, const void *b)
{
    const uint32_t *left = a;
    const uint32_t *right = b;
    return (*left > *right) - (*left < *right);
}

int dbk_pg_spill_open(struct source *source, uint32_t transaction, struct dbk_error *err)
{
    struct dbk_pg_spill *spill = find(source, transaction);
    if (spill == NULL)
        return dbk_error_set(err, DBK_ECORRUPT,
                             "PostgreSQL commits the transaction %u, of which it streamed nothing",
                             transaction);
    if (spill->aborted_count > 1)
        qsort(spill->aborted, spill->aborted_count, sizeof(*spill->aborted), compare);
    int rc = spill->behind.size == 0 ? DBK_OK : write_behind(source, spill, err);
    if (rc < 0)
        return rc;
    source->replay.spill = spill;
    source->replay.offset = 0;
    source->replay.at = 0;
    dbk_buf_reset(&source->replay.window);
    return DBK_OK;
}

/* So many bytes from the window's place on are there; false in *there_out: the file ends. */
static int fill(struct source *source, size_t wanted, bool *there_out, struct dbk_error *err)
{
    struct dbk_os *os = source->options.os;
    struct dbk_buf *window = &source->replay.window;
    const struct dbk_pg_spill *spill = source->replay.spill;
    size_t left = window->size - source->replay.at;
    *there_out = left >= wanted;
    if (*there_out)
        return DBK_OK;
    if (left > 0)
        memmove(window->data, window->data + source->replay.at, left);
    window->size = left;
    source->replay.at = 0;
    size_t more = wanted - left > READ_SIZE ? wanted - left : READ_SIZE;
    size_t got = 0;
    if (dbk_buf_reserve(window, more) < 0)
        return no_memory(source, err);
    int rc =
        os->pread(os, &spill->file, window->data + left, more, source->replay.offset, &got, err);
    if (rc < 0)
        return rc;
    source->replay.offset += got;
    window->size += got;
    *there_out = window->size >= wanted;
    return DBK_OK;
}

bool dbk_pg_spill_is_aborted(const struct source *source, uint32_t subtransaction)
{
    const struct dbk_pg_spill *spill = source->replay.spill;
    return spill->aborted_count > 0 &&
           bsearch(&subtransaction, spill->aborted, spill->aborted_count, sizeof(uint32_t),
                   compare) != NULL;
}

int dbk_pg_spill_next(struct source *source, struct dbk_slice *bytes_out, struct dbk_error *err)
{
    bool there = false;
    int rc = fill(source, 4, &there, err);
    if (rc < 0 || (!there && source->replay.window.size == source->replay.at))
        return rc;
    size_t size = there ? dbk_get_u32(source->replay.window.data + source->replay.at) : 0;
    if (there)
        rc = fill(source, 4 + size, &there, err);
    if (rc < 0)
        return rc;
    if (!there)
        return dbk_error_set(err, DBK_ECORRUPT, "the file of an open transaction ends early");
    *bytes_out = dbk_slice(source->replay.window.data + source->replay.at + 4, size);
    source->replay.at += 4 + size;
    return 1;
}

void dbk_pg_spill_end(struct source *source)
{
    drop(source, source->replay.spill);
    source->replay.spill = NULL;
    if (source->replay.window.capacity > 4 * READ_SIZE) {
        dbk_buf_release(&source->replay.window);
        dbk_buf_init(&source->replay.window, MESSAGE_SIZE_MAX + READ_SIZE);
    }
}

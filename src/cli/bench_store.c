/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "cli/bench.h"

#define BATCH 1000
#define STEP 65536

void dbk_bench_event(struct dbk_buf *out, uint64_t id, uint64_t amount, size_t size)
{
    size_t start = out->size;
    dbk_buf_append_format(out, "{\"id\":\"%ju\",\"amount\":%ju,\"text\":\"", (uintmax_t)id,
                          (uintmax_t)amount);
    while (out->rc == DBK_OK && out->size - start + 2 < size)
        dbk_buf_append_char(out, (char)('a' + (out->size - start) % 26));
    dbk_buf_append_text(out, "\"}");
}

size_t dbk_bench_stream_name(uint64_t number, uint64_t streams, char name_out[32])
{
    uint64_t stream = number * UINT64_C(2654435761) % streams;
    return (size_t)snprintf(name_out, 32, "bench-%ju", (uintmax_t)stream);
}

bool dbk_bench_take_fill(const struct dbk_arguments *arguments, struct dbk_bench_fill *fill)
{
    return dbk_bench_take(arguments,
                          &(struct dbk_bench_bounds){"events", fill->events, 1, 1000000000},
                          &fill->events) &&
           dbk_bench_take(arguments,
                          &(struct dbk_bench_bounds){"streams", fill->streams, 1, 1000000000},
                          &fill->streams) &&
           dbk_bench_take(arguments, &(struct dbk_bench_bounds){"size", fill->size, 50, 100000},
                          &fill->size);
}

int dbk_bench_open_store(struct dbk_bench *bench, struct dbk_store **store_out,
                         struct dbk_error *err)
{
    char folder[DBK_BENCH_PATH_SIZE];
    dbk_bench_path(bench, "data", folder);
    return dbk_store_open(
        &(struct dbk_store_options){
            .os = bench->os, .folder = folder, .writer = true, .holder = "daybook bench"},
        store_out, err);
}

/* ---- Filling ---- */

/* A batch that is made again and again in the same memory. */
struct batch {
    struct dbk_new_event events[BATCH];
    char streams[BATCH][32];
    struct dbk_buf data;
};

static void make_batch(struct batch *batch, const struct dbk_bench_fill *fill, uint64_t first,
                       size_t count)
{
    dbk_buf_reset(&batch->data);
    for (size_t i = 0; i < count; i++) {
        size_t start = batch->data.size;
        size_t size = dbk_bench_stream_name(first + i, fill->streams, batch->streams[i]);
        uint64_t id = (first + i) * UINT64_C(2654435761) % fill->streams;
        dbk_bench_event(&batch->data, id, i % 100, (size_t)fill->size);
        batch->events[i] = (struct dbk_new_event){
            .stream = dbk_slice(batch->streams[i], size),
            .type = DBK_SLICE_LITERAL("Measured"),
            .data = dbk_slice(batch->data.data + start, batch->data.size - start),
            .occurred_us = DBK_TIME_NONE,
            .flags = DBK_RECORD_JSON};
    }
}

int dbk_bench_fill_store(struct dbk_bench *bench, struct dbk_store *store,
                         const struct dbk_bench_fill *fill, struct dbk_error *err)
{
    struct batch *batch = dbk_alloc_zero(1, sizeof(*batch));
    int rc = DBK_OK;
    if (batch == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    dbk_buf_init(&batch->data, (size_t)1 << 30);
    /* Room for all at once, so that slices of it stay valid. */
    rc = dbk_buf_reserve(&batch->data, BATCH * ((size_t)fill->size + 80));
    if (rc < 0)
        (void)dbk_error_set(err, rc, "%s", dbk_code_text(rc));
    dbk_bench_begin_part(bench, "fill", "events");
    for (uint64_t first = 0; rc == DBK_OK && first < fill->events; first += BATCH) {
        struct dbk_append_result result = {0};
        uint64_t left = fill->events - first;
        size_t count = left < BATCH ? (size_t)left : BATCH;
        make_batch(batch, fill, fill->first + first, count);
        rc = dbk_store_append(store,
                              &(struct dbk_batch){.events = batch->events,
                                                  .count = count,
                                                  .flags = count < left ? DBK_APPEND_NO_SYNC : 0},
                              &result, err);
        if (rc == DBK_OK)
            rc = dbk_bench_step(bench, first + count, fill->events, err);
    }
    dbk_progress_clear(&bench->progress);
    dbk_buf_release(&batch->data);
    dbk_free(batch);
    return rc == DBK_OK ? dbk_store_settle(store, err) : rc;
}

/* ---- A kept store and its note ---- */

static void format_note(const struct dbk_bench_fill *fill, char text[128])
{
    (void)snprintf(text, 128, "%ju events in %ju streams, %ju bytes each", (uintmax_t)fill->events,
                   (uintmax_t)fill->streams, (uintmax_t)fill->size);
}

/* 1: filled so; 0: not yet; negative: filled otherwise, or unreadable. */
static int check_note(struct dbk_bench *bench, const char *path, const char *wanted,
                      struct dbk_error *err)
{
    struct dbk_error why = {0};
    struct dbk_buf text;
    dbk_buf_init(&text, 256);
    int rc = dbk_os_read_file(bench->os, path, 256, &text, &why);
    if (rc < 0 && rc != DBK_ENOTFOUND && err != NULL)
        *err = why;
    if (rc == DBK_ENOTFOUND)
        rc = 0;
    else if (rc == DBK_OK && dbk_slice_equal(dbk_buf_slice(&text), dbk_slice_of(wanted)))
        rc = 1;
    else if (rc == DBK_OK)
        rc = dbk_error_set(err, DBK_EINVAL, "--store %s holds %.*s, not %s", bench->folder,
                           DBK_SLICE_ARGS(dbk_buf_slice(&text)), wanted);
    dbk_buf_release(&text);
    return rc;
}

int dbk_bench_open_filled(struct dbk_bench *bench, const struct dbk_bench_fill *fill,
                          struct dbk_store **store_out, struct dbk_error *err)
{
    struct dbk_store *store = NULL;
    char note[DBK_BENCH_PATH_SIZE];
    char wanted[128];
    dbk_bench_path(bench, "filled", note);
    format_note(fill, wanted);
    int filled = check_note(bench, note, wanted, err);
    if (filled < 0)
        return filled;
    int rc = dbk_bench_open_store(bench, &store, err);
    if (rc == DBK_OK && filled == 0 && dbk_store_last_position(store) > 0)
        rc = dbk_error_set(err, DBK_EINVAL,
                           "--store %s holds events that no benchmark has finished writing",
                           bench->folder);
    if (rc == DBK_OK && filled == 0)
        rc = dbk_bench_fill_store(bench, store, fill, err);
    if (rc == DBK_OK && filled == 0)
        rc = dbk_os_replace_file(bench->os, note, dbk_slice_of(wanted), err);
    if (rc == DBK_OK) {
        *store_out = store;
        store = NULL;
    }
    dbk_store_free(store);
    return rc;
}

/* ---- Reading ---- */

int dbk_bench_count(struct dbk_store *store, const struct dbk_filter *filter, uint64_t *count_out,
                    struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    uint64_t count = 0;
    int rc = dbk_cursor_open(store, filter, &cursor, err);
    while (rc >= 0 && (rc = dbk_cursor_next(cursor, &event, err)) == 1)
        count++;
    dbk_cursor_free(cursor);
    *count_out = count;
    return rc;
}

int dbk_bench_read_all(struct dbk_bench *bench, struct dbk_store *store, uint64_t *count_out,
                       struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    uint64_t count = 0;
    uint64_t total = dbk_store_last_position(store);
    dbk_bench_begin_part(bench, "read", "events");
    int rc = dbk_cursor_open(store, &(struct dbk_filter){0}, &cursor, err);
    while (rc >= 0 && (rc = dbk_cursor_next(cursor, &event, err)) == 1)
        if (++count % STEP == 0 && (rc = dbk_bench_step(bench, count, total, err)) < 0)
            break;
    dbk_cursor_free(cursor);
    dbk_progress_clear(&bench->progress);
    *count_out = count;
    return rc;
}

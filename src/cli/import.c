/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <time.h>

#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"
#include "cli/import_mapping.h"
#include "cli/import_names.h"
#include "cli/import_sink.h"
#include "cli/progress.h"

#define BATCH_COUNT 5000
#define SHOWN_MAX 20
#define WAIT_US 50000

struct import {
    const struct dbk_arguments *arguments;
    const char *path;
    struct dbk_slice source;
    bool strict;
    size_t batch_count;
    struct dbk_book *book;
    struct dbk_link *link;
    struct dbk_input *input;
    struct dbk_rows_reader *reader;
    struct dbk_mapping *mapping;
    struct dbk_sink *sink;
    struct dbk_import_batch *batch; /* being filled; NULL: none is taken */
    struct dbk_import_names streams;
    struct dbk_progress progress;
    uint64_t rows;
    uint64_t rejected;
    struct dbk_sink_counts counts;
};

/* ---- Opening ---- */

static const struct dbk_book_file *find_import(const struct dbk_book *book, const char *name,
                                               struct dbk_error *err)
{
    const char *names[256];
    size_t count = 0;
    for (size_t i = 0; i < book->import_count; i++) {
        if (strcmp(book->imports[i].name, name) == 0)
            return &book->imports[i];
        if (count < sizeof(names) / sizeof(names[0]))
            names[count++] = book->imports[i].name;
    }
    const char *closest = dbk_closest_name(name, names, count);
    if (closest != NULL)
        (void)dbk_error_set(err, DBK_ENOTFOUND,
                            "the book has no imports/%s.lua, did you mean --as %s?", name, closest);
    else
        (void)dbk_error_set(err, DBK_ENOTFOUND, "the book has no imports/%s.lua", name);
    return NULL;
}

static bool ends_with(struct dbk_slice text, const char *end)
{
    size_t size = strlen(end);
    return text.size >= size && memcmp(text.data + text.size - size, end, size) == 0;
}

static enum dbk_row_format format_of(const struct import *import)
{
    const char *format = dbk_arguments_text(import->arguments, "format");
    if (format != NULL)
        return strcmp(format, "jsonl") == 0 ? DBK_ROW_JSONL : DBK_ROW_CSV;
    struct dbk_slice name =
        strcmp(import->path, "-") == 0 ? import->source : dbk_input_source_name(import->path);
    return ends_with(name, ".jsonl") || ends_with(name, ".ndjson") ? DBK_ROW_JSONL : DBK_ROW_CSV;
}

static int open_mapping(struct import *import, struct dbk_error *err)
{
    const char *name = dbk_arguments_text(import->arguments, "as");
    const struct dbk_book_file *file = find_import(import->book, name, err);
    if (file == NULL)
        return DBK_ENOTFOUND;
    struct dbk_mapping_options options = {.import = name,
                                          .file = file->file,
                                          .script = file->source,
                                          .source = import->source,
                                          .event_size_max = import->book->event_size_max,
                                          .event_count_max = import->book->batch_count_max};
    options.columns = dbk_rows_reader_columns(import->reader, &options.column_count);
    return dbk_mapping_open(&options, &import->mapping, err);
}

static int open_import(struct import *import, struct dbk_error *err)
{
    struct dbk_place place;
    int rc = dbk_place_find(import->arguments, &place, err);
    if (rc == DBK_OK)
        rc = dbk_place_load(&place, &import->book, err);
    if (rc < 0)
        return rc;
    if (import->book->batch_count_max < import->batch_count)
        import->batch_count = import->book->batch_count_max;
    rc = dbk_input_open(dbk_os_real(), import->path, &import->input, err);
    if (rc == DBK_OK)
        rc = dbk_rows_reader_open(import->input, format_of(import), &import->reader, err);
    if (rc == DBK_OK)
        rc = open_mapping(import, err);
    if (rc == DBK_OK)
        rc = dbk_link_open(import->arguments, DBK_ENGINE_WRITE, &import->link, err);
    if (rc == DBK_OK)
        rc = dbk_sink_open(import->link, &import->sink, err);
    return rc;
}

static void release_import(struct import *import)
{
    dbk_progress_clear(&import->progress);
    dbk_sink_free(import->sink);
    dbk_link_free(import->link);
    dbk_mapping_free(import->mapping);
    dbk_rows_reader_free(import->reader);
    dbk_input_free(import->input);
    dbk_import_names_release(&import->streams);
    dbk_book_free(import->book);
}

/* ---- Rows ---- */

/* Says why a row is rejected; with --strict that ends the import. */
static int reject(struct import *import, const struct dbk_row *row, const char *why,
                  struct dbk_error *err)
{
    import->rejected++;
    if (import->strict)
        return dbk_error_set(err, DBK_EINVAL, "%s:%ju: row %ju: %s", import->path,
                             (uintmax_t)row->line, (uintmax_t)row->number, why);
    if (import->rejected > SHOWN_MAX)
        return DBK_OK;
    dbk_progress_clear(&import->progress);
    (void)fprintf(stderr, "%s:%ju: row %ju is rejected: %s\n", import->path, (uintmax_t)row->line,
                  (uintmax_t)row->number, why);
    return DBK_OK;
}

static int hand_over(struct import *import, struct dbk_error *err)
{
    struct dbk_import_batch *batch = import->batch;
    if (batch == NULL)
        return DBK_OK;
    if (dbk_import_batch_seal(batch) < 0)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    import->batch = NULL;
    dbk_sink_put(import->sink, batch);
    return DBK_OK;
}

static int count_streams(struct import *import, size_t first, struct dbk_error *err)
{
    const struct dbk_import_batch *batch = import->batch;
    for (size_t i = first; i < batch->count; i++)
        if (dbk_import_names_add(&import->streams, dbk_import_part(batch, batch->items[i].stream)) <
            0)
            return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    return DBK_OK;
}

/* Moves the row's events, which lie behind `from`, into a batch of their own: a row stays whole. */
static int move_over(struct import *import, const struct dbk_row *row,
                     const struct dbk_import_place *from, struct dbk_error *err)
{
    struct dbk_import_batch *before = import->batch;
    struct dbk_import_batch *batch = NULL;
    int rc = dbk_sink_take(import->sink, &batch, err);
    if (rc < 0)
        return rc;
    import->batch = batch;
    if (dbk_import_batch_move(before, from, batch) < 0 || dbk_import_batch_seal(before) < 0)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    batch->row_first = row->number;
    dbk_sink_put(import->sink, before);
    return DBK_OK;
}

/* Maps a row into the batch. DBK_ENOMEM and failures of the store end the import. */
static int map_row(struct import *import, const struct dbk_row *row, struct dbk_error *err)
{
    struct dbk_error why = {0};
    struct dbk_import_place from = dbk_import_batch_place(import->batch);
    size_t max = import->book->batch_count_max;
    int rc = dbk_mapping_row(import->mapping, row, import->batch, &why);
    size_t count = import->batch->count - from.count;
    if (rc == DBK_ENOMEM)
        return dbk_error_set(err, rc, "row %ju: %s", (uintmax_t)row->number, dbk_code_text(rc));
    if (rc < 0)
        return reject(import, row, why.message, err);
    rc = import->batch->count > max ? move_over(import, row, &from, err) : DBK_OK;
    if (rc < 0)
        return rc;
    import->batch->row_last = row->number;
    return count_streams(import, import->batch->count - count, err);
}

static int take_row(struct import *import, const struct dbk_row *row, struct dbk_error *err)
{
    int rc = DBK_OK;
    import->rows++;
    if (row->fault != NULL)
        return reject(import, row, row->fault, err);
    if (import->batch == NULL) {
        rc = dbk_sink_take(import->sink, &import->batch, err);
        if (rc < 0)
            return rc;
        import->batch->row_first = row->number;
    }
    rc = map_row(import, row, err);
    if (rc == DBK_OK && (import->batch->count >= import->batch_count ||
                         import->batch->bytes.size >= DBK_IMPORT_BATCH_SIZE))
        rc = hand_over(import, err);
    return rc;
}

static int take_rows(struct import *import, struct dbk_error *err)
{
    struct dbk_row row = {0};
    int rc = 0;
    while ((rc = dbk_rows_reader_next(import->reader, &row, err)) == 1) {
        rc = take_row(import, &row, err);
        if (rc < 0)
            return rc;
        if (dbk_link_stopped())
            return dbk_error_set(err, DBK_ESTOPPED,
                                 "interrupted at row %ju; the same import again goes on",
                                 (uintmax_t)row.number);
        if (row.number % 1024 == 0) {
            uint64_t done = 0;
            uint64_t total = 0;
            dbk_input_progress(import->input, &done, &total);
            dbk_progress_update(&import->progress, row.number, done, total);
        }
    }
    return rc;
}

/* Reads the file to its end, and waits for the last append. Batches that are full stay stored when
   a later row ends the import. */
static int read_file(struct import *import, struct dbk_error *err)
{
    struct dbk_error sink_err = {0};
    int rc = take_rows(import, err);
    if (rc == DBK_OK)
        rc = hand_over(import, err);
    int finished = dbk_sink_finish(import->sink, &import->counts, &sink_err);
    if (finished < 0 && (rc == DBK_OK || rc == finished)) {
        *err = sink_err;
        rc = finished;
    }
    return rc;
}

/* ---- Read models ---- */

/* How many events the models still have to post, all together; DBK_ESCRIPT: one has stopped. */
static int models_lag(const struct dbk_json_node *root, uint64_t *lag_out, struct dbk_error *err)
{
    const struct dbk_json_node *models = dbk_json_member(root, "models");
    const struct dbk_json_node *model = models != NULL ? dbk_json_first(models) : NULL;
    *lag_out = 0;
    for (uint32_t i = 0; model != NULL && i < models->count; i++) {
        struct dbk_slice name = {0};
        const struct dbk_json_node *why = NULL;
        const struct dbk_json_node *member = model + 1;
        for (uint32_t m = 0; m < model->count; m++) {
            if (dbk_slice_equal_text(member->key, "lag_events") &&
                member->kind == DBK_JSON_INTEGER && member->integer > 0)
                *lag_out += (uint64_t)member->integer;
            if (dbk_slice_equal_text(member->key, "name") && member->kind == DBK_JSON_STRING)
                name = member->text;
            if (dbk_slice_equal_text(member->key, "error") && member->kind == DBK_JSON_STRING &&
                member->text.size > 0)
                why = member;
            member = dbk_json_sibling(member);
        }
        if (why != NULL)
            return dbk_error_set(err, DBK_ESCRIPT,
                                 "the events are stored, but model %.*s has stopped: %.*s",
                                 DBK_SLICE_ARGS(name), DBK_SLICE_ARGS(why->text));
        model = dbk_json_sibling(model);
    }
    return DBK_OK;
}

static int ask_lag(struct import *import, struct dbk_json *json, uint64_t *lag_out,
                   struct dbk_error *err)
{
    struct dbk_call call;
    struct dbk_answer answer;
    const struct dbk_json_node *root = NULL;
    dbk_answer_init(&answer);
    dbk_call_init(&call, "GET", "/models");
    int rc = dbk_link_send(import->link, &call, NULL, NULL, &answer, err);
    if (rc == DBK_OK)
        rc = dbk_json_parse(json, dbk_buf_slice(&answer.body), &root, err);
    if (rc == DBK_OK)
        rc = models_lag(root, lag_out, err);
    dbk_answer_release(&answer);
    dbk_call_release(&call);
    return rc;
}

static int wait_for_models(struct import *import, struct dbk_error *err)
{
    const struct timespec pause = {.tv_nsec = WAIT_US * 1000L};
    struct dbk_progress progress;
    uint64_t first = 0;
    uint64_t lag = 1;
    int rc = DBK_OK;
    struct dbk_json *json = dbk_json_create(16 << 20);
    if (json == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    dbk_progress_begin(&progress, "read models", "events");
    while (rc == DBK_OK && lag > 0) {
        rc = ask_lag(import, json, &lag, err);
        first = lag > first ? lag : first;
        if (rc == DBK_OK && dbk_link_stopped())
            rc = dbk_error_set(err, DBK_ESTOPPED,
                               "interrupted; the events are stored, the read models follow");
        if (rc == DBK_OK && lag > 0)
            (void)nanosleep(&pause, NULL);
        dbk_progress_update(&progress, first - lag, first - lag, first);
    }
    dbk_progress_clear(&progress);
    dbk_json_free(json);
    return rc;
}

/* ---- The command ---- */

static int show(const struct import *import, int64_t elapsed_us, struct dbk_error *err)
{
    double seconds = (double)elapsed_us / 1e6;
    struct dbk_buf line;
    const struct dbk_json_node *root = NULL;
    struct dbk_table_options options =
        dbk_data_options(import->arguments, &(struct dbk_data_show){0});
    struct dbk_json *json = dbk_json_create(1 << 20);
    dbk_buf_init(&line, 1 << 20);
    dbk_buf_append_format(&line,
                          "{\"rows\":%ju,\"events\":%ju,\"known\":%ju,\"streams\":%zu,"
                          "\"rejected\":%ju,\"seconds\":%.3f,\"rate\":%.0f}",
                          (uintmax_t)import->rows, (uintmax_t)import->counts.added,
                          (uintmax_t)import->counts.known, import->streams.count,
                          (uintmax_t)import->rejected, seconds,
                          seconds > 0 ? (double)import->rows / seconds : 0);
    int rc = json == NULL || line.rc < 0
                 ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                 : dbk_json_parse(json, dbk_buf_slice(&line), &root, err);
    if (rc == DBK_OK)
        rc = dbk_table_object(&options, root, NULL, err);
    dbk_json_free(json);
    dbk_buf_release(&line);
    return rc;
}

static int check_arguments(const struct import *import)
{
    if (!dbk_arguments_has(import->arguments, "as"))
        return dbk_fail_usage(import->arguments, "--as NAME is missing: which imports/NAME.lua?");
    if (import->batch_count == 0)
        return dbk_fail_usage(import->arguments, "--batch is at least 1");
    if (import->source.size == 0)
        return dbk_fail_usage(import->arguments,
                              "a source needs a name, from which the events' ids derive: "
                              "--source NAME");
    return DBK_EXIT_OK;
}

int dbk_run_import(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_os *os = dbk_os_real();
    int64_t started_us = os->monotonic_us(os);
    const char *source = dbk_arguments_text(arguments, "source");
    struct import import = {.arguments = arguments,
                            .path = arguments->positional[0],
                            .strict = dbk_arguments_has(arguments, "strict"),
                            .batch_count =
                                (size_t)dbk_arguments_number(arguments, "batch", BATCH_COUNT)};
    if (source != NULL)
        import.source = dbk_slice_of(source);
    else if (strcmp(import.path, "-") != 0)
        import.source = dbk_input_source_name(import.path);
    int status = check_arguments(&import);
    if (status != DBK_EXIT_OK)
        return status;
    dbk_link_stop_on_signals();
    dbk_progress_begin(&import.progress, "import", "rows");
    int rc = open_import(&import, &err);
    if (rc == DBK_OK)
        rc = read_file(&import, &err);
    dbk_progress_clear(&import.progress);
    if (import.rejected > SHOWN_MAX && !import.strict)
        (void)fprintf(stderr, "%s: %ju more rows are rejected\n", import.path,
                      (uintmax_t)(import.rejected - SHOWN_MAX));
    if (import.counts.misfits > 0)
        (void)fprintf(stderr,
                      "%s: %ju events do not fit their schema and are stored; the first: %s\n",
                      import.path, (uintmax_t)import.counts.misfits, import.counts.misfit);
    if (rc == DBK_OK && !dbk_arguments_has(arguments, "no-wait"))
        rc = wait_for_models(&import, &err);
    if (rc == DBK_OK)
        rc = show(&import, os->monotonic_us(os) - started_us, &err);
    release_import(&import);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}

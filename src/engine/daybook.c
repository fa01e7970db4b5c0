/* SPDX-License-Identifier: Apache-2.0 */
/* The public C API (include/daybook.h) over the engine. */
#include "engine/library.h"

#include <stdio.h>
#include <string.h>

#include "json/json.h"

#define ANSWER_SIZE_MAX ((size_t)512 << 20)

struct daybook_cursor {
    struct daybook *book;
    struct dbk_cursor *cursor;
    struct dbk_lazy lazy; /* the last event handed out */
    bool may_wait;
};

/* The two lists of codes are one: values are stable. */
_Static_assert(sizeof(((struct daybook_appended *)NULL)->warning) ==
                   sizeof(((struct dbk_append_warnings *)NULL)->first),
               "a warning fits");
_Static_assert((int)DAYBOOK_EINVAL == (int)DBK_EINVAL && (int)DAYBOOK_ESTALE == (int)DBK_ESTALE,
               "the codes of daybook.h are those of base/error.h");

const char *daybook_code_text(int code)
{
    return dbk_code_text(code);
}

const char *daybook_version(void)
{
    return DAYBOOK_VERSION;
}

int dbk_library_fail(struct daybook_error *error, int rc, const struct dbk_error *err)
{
    if (error == NULL)
        return rc;
    error->code = rc;
    (void)snprintf(error->message, sizeof(error->message), "%s",
                   err->code == DBK_OK || err->message[0] == 0 ? dbk_code_text(rc) : err->message);
    return rc;
}

int dbk_library_wrong(struct daybook_error *error, const char *what)
{
    struct dbk_error err = {0};
    return dbk_library_fail(error, dbk_error_set(&err, DBK_EINVAL, "%s", what), &err);
}

struct daybook_event dbk_library_event(struct dbk_lazy *lazy)
{
    const struct dbk_event *event = &lazy->event;
    return (struct daybook_event){
        .position = event->position,
        .version = event->version,
        .time_us = event->time_us,
        .occurred_us = event->occurred_us,
        .id = event->id.bytes,
        .stream = event->stream.data,
        .stream_size = event->stream.size,
        .type = event->type.data,
        .type_size = event->type.size,
        .meta = event->meta.data,
        .meta_size = event->meta.size,
        .tags = event->tags.data,
        .tags_size = event->tags.size,
        .binary = (event->flags & DBK_RECORD_JSON) == 0,
        .schema_version = event->schema_version,
        .data = lazy,
    };
}

const char *daybook_data(const struct daybook_event *event, size_t *size_out,
                         struct daybook_error *error)
{
    struct dbk_slice data = {0};
    if (event == NULL || event->data == NULL || size_out == NULL) {
        dbk_ignore(dbk_library_wrong(error, "daybook_data: an event and size_out are needed"));
        return NULL;
    }
    struct dbk_lazy *lazy = event->data;
    int rc = dbk_lazy_data(lazy, &data);
    *size_out = data.size;
    if (rc < 0)
        dbk_ignore(dbk_library_fail(error, rc, &lazy->failure));
    else if (data.size == 0)
        return "";
    return rc < 0 ? NULL : data.data;
}

int daybook_member(const struct daybook_event *event, const char *name, const char **text_out,
                   size_t *size_out, struct daybook_error *error)
{
    struct dbk_slice value = {0};
    if (event == NULL || event->data == NULL || name == NULL || text_out == NULL ||
        size_out == NULL)
        return dbk_library_wrong(
            error, "daybook_member: an event, a name, text_out and size_out are needed");
    struct dbk_lazy *lazy = event->data;
    int rc = dbk_lazy_member(lazy, dbk_slice_of(name), &value);
    *text_out = value.data;
    *size_out = value.size;
    return rc < 0 ? dbk_library_fail(error, rc, &lazy->failure) : rc;
}

/* Of all faults the first is told, and how many there are. */
static int faults(const struct dbk_diagnostics *list, const char *folder, struct dbk_error *err)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct dbk_diagnostic *item = &list->items[i];
        if (!item->warning)
            return dbk_error_set(err, DBK_EBOOK, "%s: %zu %s, the first: %s:%u:%u: %s", folder,
                                 list->error_count, list->error_count == 1 ? "fault" : "faults",
                                 item->file, item->line, item->column, item->what);
    }
    return dbk_error_set(err, DBK_EBOOK, "%s: %zu faults", folder, list->error_count);
}

static bool are_whole(const struct daybook_options *options)
{
    for (size_t i = 0; i < options->upcaster_count; i++) {
        const struct daybook_upcaster *upcaster = &options->upcasters[i];
        if (upcaster->type == NULL || upcaster->definition == NULL || upcaster->upcast == NULL)
            return false;
    }
    return true;
}

static void free_book(struct daybook *book)
{
    dbk_engine_free(book->engine);
    dbk_library_free_folds(book);
    dbk_library_free_sagas(book);
    dbk_library_free_upcasters(book);
    dbk_free(book);
}

static int open_engine(struct daybook *book, const struct daybook_options *options,
                       struct dbk_error *err)
{
    struct dbk_diagnostics list;
    struct dbk_upcast_function *functions = NULL;
    dbk_diagnostics_init(&list);
    int rc =
        dbk_library_take_upcasters(book, options->upcasters, options->upcaster_count, &functions);
    if (rc == DBK_OK)
        rc = dbk_engine_open(&(struct dbk_engine_options){.os = dbk_os_real(),
                                                          .folder = options->folder,
                                                          .data = options->data,
                                                          .holder = "a program with libdaybook",
                                                          .mode = options->mode == DAYBOOK_READ
                                                                      ? DBK_ENGINE_READ
                                                                      : DBK_ENGINE_WRITE,
                                                          .upcasts = functions,
                                                          .upcast_count = options->upcaster_count},
                             &list, &book->engine, err);
    if (rc == DBK_EBOOK)
        rc = faults(&list, options->folder, err);
    dbk_diagnostics_release(&list);
    dbk_free(functions);
    return rc;
}

int daybook_open(const struct daybook_options *options, struct daybook **book_out,
                 struct daybook_error *error)
{
    struct dbk_error err = {0};
    if (options == NULL || options->folder == NULL || book_out == NULL)
        return dbk_library_wrong(error,
                                 "daybook_open: options with a folder, and book_out, are needed");
    if (!are_whole(options))
        return dbk_library_wrong(error, "daybook_open: an upcaster has a type, a definition and a "
                                        "function");
    struct daybook *book = dbk_alloc_zero(1, sizeof(*book));
    if (book == NULL)
        return dbk_library_fail(error, DBK_ENOMEM, &err);
    int rc = open_engine(book, options, &err);
    if (rc < 0) {
        free_book(book);
        return dbk_library_fail(error, rc, &err);
    }
    *book_out = book;
    return DBK_OK;
}

void daybook_close(struct daybook *book)
{
    if (book != NULL)
        free_book(book);
}

uint64_t daybook_last_position(struct daybook *book)
{
    return book == NULL ? 0 : dbk_store_last_position(dbk_engine_store(book->engine));
}

/* ---- Appending ---- */

static int copy_event(const struct daybook_new_event *event, struct dbk_arena *arena,
                      struct dbk_new_event *copy)
{
    struct dbk_slice *tags = dbk_arena_alloc_zero(arena, event->tag_count + 1, sizeof(*tags));
    if (tags == NULL)
        return DBK_ENOMEM;
    for (size_t i = 0; i < event->tag_count; i++)
        tags[i] = dbk_slice_of(event->tags[i]);
    *copy = (struct dbk_new_event){
        .stream = dbk_slice_of(event->stream),
        .type = dbk_slice_of(event->type),
        .data = dbk_slice(event->data, event->data_size),
        .meta = dbk_slice_of(event->meta),
        .tags = tags,
        .tag_count = event->tag_count,
        .occurred_us = event->occurred_us == 0 ? DBK_TIME_NONE : event->occurred_us,
        .flags = event->binary != 0 ? 0 : DBK_RECORD_JSON,
        .schema_version = event->schema_version,
    };
    if (event->id != NULL)
        memcpy(copy->id.bytes, event->id, DBK_UUID_SIZE);
    return DBK_OK;
}

static int copy_names(const char *const *names, size_t count, struct dbk_arena *arena,
                      const struct dbk_slice **copy_out)
{
    struct dbk_slice *copy = dbk_arena_alloc_zero(arena, count + 1, sizeof(*copy));
    if (copy == NULL)
        return DBK_ENOMEM;
    for (size_t i = 0; i < count; i++)
        copy[i] = dbk_slice_of(names[i]);
    *copy_out = copy;
    return DBK_OK;
}

static int copy_query(const struct daybook_query_item *items, size_t count, struct dbk_arena *arena,
                      struct dbk_query *copy_out)
{
    struct dbk_query_item *copy = dbk_arena_alloc_zero(arena, count + 1, sizeof(*copy));
    int rc = copy == NULL ? DBK_ENOMEM : DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        copy[i].type_count = items[i].type_count;
        copy[i].tag_count = items[i].tag_count;
        rc = copy_names(items[i].types, items[i].type_count, arena, &copy[i].types);
        if (rc == DBK_OK)
            rc = copy_names(items[i].tags, items[i].tag_count, arena, &copy[i].tags);
    }
    *copy_out = (struct dbk_query){copy, count};
    return rc;
}

static int copy_batch(const struct daybook_batch *batch, struct dbk_arena *arena,
                      struct dbk_batch *copy)
{
    struct dbk_new_event *events = dbk_arena_alloc_zero(arena, batch->count + 1, sizeof(*events));
    struct dbk_expectation *expectations =
        dbk_arena_alloc_zero(arena, batch->expectation_count + 1, sizeof(*expectations));
    int rc = events == NULL || expectations == NULL ? DBK_ENOMEM : DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < batch->count; i++)
        rc = copy_event(&batch->events[i], arena, &events[i]);
    for (size_t i = 0; rc == DBK_OK && i < batch->expectation_count; i++)
        expectations[i] = (struct dbk_expectation){dbk_slice_of(batch->expectations[i].stream),
                                                   batch->expectations[i].version};
    *copy = (struct dbk_batch){.events = events,
                               .count = batch->count,
                               .expectations = expectations,
                               .expectation_count = batch->expectation_count,
                               .condition = {.after = batch->after},
                               .flags = batch->skip_known != 0 ? DBK_APPEND_SKIP_KNOWN : 0};
    if (rc == DBK_OK)
        rc = copy_query(batch->fail_if, batch->fail_if_count, arena, &copy->condition.none);
    return rc;
}

int daybook_append(struct daybook *book, const struct daybook_batch *batch,
                   struct daybook_appended *appended_out, struct daybook_error *error)
{
    struct dbk_error err = {0};
    struct dbk_batch copy;
    struct dbk_append_result result = {0};
    if (book == NULL || batch == NULL || (batch->count > 0 && batch->events == NULL))
        return dbk_library_wrong(error,
                                 "daybook_append: a book and a batch with events are needed");
    struct dbk_scratch *scratch = dbk_engine_scratch_take(book->engine);
    if (scratch == NULL)
        return dbk_library_fail(error, DBK_ENOMEM, &err);
    int rc = copy_batch(batch, &scratch->arena, &copy);
    if (rc == DBK_OK)
        rc = dbk_engine_append(book->engine, &copy, &result, &err);
    dbk_engine_scratch_give(book->engine, scratch);
    if (appended_out != NULL && (rc == DBK_OK || rc == DBK_ECONFLICT)) {
        *appended_out = (struct daybook_appended){
            .first_position = result.first_position,
            .last_position = result.last_position,
            .last_version = rc == DBK_OK ? result.last_version : result.actual_version,
            .appended = result.appended,
            .skipped = result.skipped,
            .known = result.known,
            .matched_position = result.matched_position,
            .warning_count = result.warnings.count,
        };
        memcpy(appended_out->warning, result.warnings.first, sizeof(appended_out->warning));
    }
    return rc < 0 ? dbk_library_fail(error, rc, &err) : rc;
}

/* ---- Reading ---- */

int daybook_read(struct daybook *book, const struct daybook_filter *filter,
                 struct daybook_cursor **cursor_out, struct daybook_error *error)
{
    static const struct daybook_filter everything;
    struct dbk_error err = {0};
    if (book == NULL || cursor_out == NULL)
        return dbk_library_wrong(error, "daybook_read: a book and cursor_out are needed");
    const struct daybook_filter *from = filter == NULL ? &everything : filter;
    struct dbk_slice category = dbk_slice_of(from->category);
    struct dbk_slice type = dbk_slice_of(from->type);
    struct daybook_cursor *cursor = dbk_alloc_zero(1, sizeof(*cursor));
    if (cursor == NULL)
        return dbk_library_fail(error, DBK_ENOMEM, &err);
    struct dbk_scratch *scratch = dbk_engine_scratch_take(book->engine);
    struct dbk_query query = {0};
    cursor->book = book;
    cursor->lazy.store = from->raw != 0 ? NULL : dbk_engine_store(book->engine);
    cursor->may_wait = from->backwards == 0 && from->position_max == 0;
    int rc = scratch == NULL ? DBK_ENOMEM
                             : copy_query(from->query, from->query_count, &scratch->arena, &query);
    if (rc == DBK_OK)
        rc =
            dbk_cursor_open(dbk_engine_store(book->engine),
                            &(struct dbk_filter){.stream = dbk_slice_of(from->stream),
                                                 .stream_prefix = dbk_slice_of(from->stream_prefix),
                                                 .categories = &category,
                                                 .category_count = category.size > 0,
                                                 .types = &type,
                                                 .type_count = type.size > 0,
                                                 .query = query,
                                                 .position_min = from->position_min,
                                                 .position_max = from->position_max,
                                                 .version_min = from->version_min,
                                                 .version_max = from->version_max,
                                                 .backwards = from->backwards != 0,
                                                 .raw = from->raw != 0,
                                                 .as_written = true},
                            &cursor->cursor, &err);
    dbk_engine_scratch_give(book->engine, scratch);
    if (rc < 0) {
        dbk_free(cursor);
        return dbk_library_fail(error, rc, &err);
    }
    *cursor_out = cursor;
    return DBK_OK;
}

int daybook_next(struct daybook_cursor *cursor, struct daybook_event *event_out,
                 struct daybook_error *error)
{
    struct dbk_error err = {0};
    if (cursor == NULL || event_out == NULL)
        return dbk_library_wrong(error, "daybook_next: a cursor and event_out are needed");
    cursor->lazy.failure.code = DBK_OK;
    int rc = dbk_cursor_next(cursor->cursor, &cursor->lazy.event, &err);
    if (rc < 0)
        return dbk_library_fail(error, rc, &err);
    if (rc == 0)
        return 0;
    *event_out = dbk_library_event(&cursor->lazy);
    return 1;
}

int daybook_wait(struct daybook_cursor *cursor, int timeout_ms, struct daybook_error *error)
{
    struct dbk_error err = {0};
    if (cursor == NULL || !cursor->may_wait)
        return dbk_library_wrong(error,
                                 "daybook_wait: only a forward read without position_max goes on");
    struct dbk_store *store = dbk_engine_store(cursor->book->engine);
    int rc = dbk_store_wait(store, dbk_store_wakes(store), dbk_cursor_position(cursor->cursor),
                            (int64_t)(timeout_ms < 0 ? 0 : timeout_ms) * 1000, &err);
    if (rc > 0) {
        rc = dbk_cursor_extend(cursor->cursor, &err);
        rc = rc < 0 ? rc : 1;
    }
    return rc < 0 ? dbk_library_fail(error, rc, &err) : rc;
}

void daybook_cursor_close(struct daybook_cursor *cursor)
{
    if (cursor == NULL)
        return;
    dbk_cursor_free(cursor->cursor);
    dbk_lazy_end(&cursor->lazy);
    dbk_free(cursor);
}

/* ---- States, commands, queries ---- */

void daybook_free(char *text)
{
    dbk_free(text);
}

/* A text of its own for the caller, out of a buffer. */
static int hand_over(struct dbk_buf *buf, char **text_out, struct dbk_error *err)
{
    if (text_out == NULL)
        return DBK_OK;
    char *text = buf->rc < 0 ? NULL : dbk_copy_text(dbk_buf_slice(buf));
    if (text == NULL)
        return dbk_error_set(err, buf->rc < 0 ? buf->rc : DBK_ENOMEM, "the answer: %s",
                             dbk_code_text(buf->rc < 0 ? buf->rc : DBK_ENOMEM));
    *text_out = text;
    return DBK_OK;
}

int daybook_state(struct daybook *book, const char *stream, const struct daybook_at *at,
                  char **state_out, uint64_t *version_out, struct daybook_error *error)
{
    struct dbk_error err = {0};
    struct dbk_fold_at when = {0};
    struct dbk_fold_result result = {0};
    struct dbk_buf state;
    if (book == NULL || stream == NULL || state_out == NULL)
        return dbk_library_wrong(error, "daybook_state: a book, a stream and state_out are needed");
    if (at != NULL)
        when = (struct dbk_fold_at){at->version, at->time_us, at->occurred_us};
    dbk_buf_init(&state, ANSWER_SIZE_MAX);
    int rc = dbk_fold_state(dbk_engine_folds(book->engine), dbk_slice_of(stream), &when, &state,
                            &result, &err);
    if (rc == DBK_OK)
        rc = hand_over(&state, state_out, &err);
    dbk_buf_release(&state);
    if (rc == DBK_OK && version_out != NULL)
        *version_out = result.version;
    return rc < 0 ? dbk_library_fail(error, rc, &err) : rc;
}

static void write_answer(const struct dbk_command_result *result, struct dbk_slice events,
                         struct dbk_buf *answer)
{
    bool first = true;
    dbk_buf_append_char(answer, '{');
    if (result->service != NULL) {
        dbk_json_write_key(answer, &first, "service");
        dbk_json_write_string(answer, dbk_slice_of(result->service));
    } else {
        dbk_json_write_key(answer, &first, "stream");
        dbk_json_write_string(answer, dbk_slice_of(result->stream));
        dbk_json_write_key(answer, &first, "version");
        dbk_json_write_u64(answer, result->version);
        dbk_json_write_key(answer, &first, "position");
        dbk_json_write_u64(answer, result->last_position);
    }
    dbk_json_write_key(answer, &first, result->service != NULL ? "rows" : "events");
    dbk_buf_append(answer, events);
    dbk_buf_append_char(answer, '}');
}

int daybook_do(struct daybook *book, const char *command, const char *body,
               const char *idempotency_key, char **answer_out, struct daybook_error *error)
{
    struct dbk_error err = {0};
    struct dbk_command_result result = {0};
    struct dbk_buf events;
    struct dbk_buf answer;
    if (book == NULL || command == NULL || body == NULL)
        return dbk_library_wrong(error, "daybook_do: a book, a command and its body are needed");
    dbk_buf_init(&events, ANSWER_SIZE_MAX);
    dbk_buf_init(&answer, ANSWER_SIZE_MAX);
    int rc = dbk_engine_check_writer(book->engine, &err);
    if (rc == DBK_OK)
        rc = dbk_command_do(dbk_engine_commands(book->engine),
                            &(struct dbk_command){.name = dbk_slice_of(command),
                                                  .body = dbk_slice_of(body),
                                                  .idempotency_key = dbk_slice_of(idempotency_key)},
                            &events, &result, &err);
    if (rc == DBK_OK) {
        write_answer(&result, dbk_buf_slice(&events), &answer);
        rc = hand_over(&answer, answer_out, &err);
    }
    dbk_buf_release(&events);
    dbk_buf_release(&answer);
    return rc < 0 ? dbk_library_fail(error, rc, &err) : rc;
}

static int write_rows(struct dbk_rows *rows, struct dbk_buf *out, struct dbk_error *err)
{
    int rc = 0;
    bool none = true;
    dbk_buf_append_char(out, '[');
    for (; (rc = dbk_rows_next(rows, err)) == 1 && out->rc == DBK_OK; none = false) {
        if (!none)
            dbk_buf_append_char(out, ',');
        dbk_rows_put(rows, out);
    }
    dbk_buf_append_char(out, ']');
    return rc < 0 ? rc : DBK_OK;
}

int daybook_get(struct daybook *book, const char *query, const char *parameters, uint64_t after,
                int timeout_ms, char **rows_out, struct daybook_error *error)
{
    struct dbk_error err = {0};
    struct dbk_rows *rows = NULL;
    const struct dbk_json_node *root = NULL;
    if (book == NULL || query == NULL || rows_out == NULL)
        return dbk_library_wrong(error, "daybook_get: a book, a query and rows_out are needed");
    struct dbk_scratch *scratch = dbk_engine_scratch_take(book->engine);
    if (scratch == NULL)
        return dbk_library_fail(error, DBK_ENOMEM, &err);
    int rc = parameters == NULL
                 ? DBK_OK
                 : dbk_json_parse(scratch->json, dbk_slice_of(parameters), &root, &err);
    if (rc == DBK_OK && root != NULL && root->kind != DBK_JSON_OBJECT)
        rc = dbk_error_set(&err, DBK_EINVAL, "the parameters are no JSON object");
    if (rc == DBK_OK)
        rc = dbk_engine_query(book->engine, query, root, after, (int64_t)timeout_ms * 1000, &rows,
                              &err);
    if (rc == DBK_OK)
        rc = write_rows(rows, &scratch->out, &err);
    if (rc == DBK_OK)
        rc = hand_over(&scratch->out, rows_out, &err);
    dbk_rows_free(rows);
    dbk_engine_scratch_give(book->engine, scratch);
    return rc < 0 ? dbk_library_fail(error, rc, &err) : rc;
}

int daybook_model_wait(struct daybook *book, const char *model, uint64_t position, int timeout_ms,
                       struct daybook_error *error)
{
    struct dbk_error err = {0};
    if (book == NULL || model == NULL)
        return dbk_library_wrong(error, "daybook_model_wait: a book and a model are needed");
    int rc = dbk_models_wait(dbk_engine_models(book->engine), model, position,
                             (int64_t)timeout_ms * 1000, &err);
    return rc < 0 ? dbk_library_fail(error, rc, &err) : rc;
}

int daybook_view_refresh(struct daybook *book, const char *view, struct daybook_error *error)
{
    struct dbk_error err = {0};
    if (book == NULL || view == NULL)
        return dbk_library_wrong(error, "daybook_view_refresh: a book and a view are needed");
    int rc = dbk_engine_check_writer(book->engine, &err);
    if (rc == DBK_OK)
        rc = dbk_views_refresh(dbk_engine_views(book->engine), view, 0, NULL, NULL, &err);
    return rc < 0 ? dbk_library_fail(error, rc, &err) : rc;
}

int daybook_proof_checkpoint(struct daybook *book, char **checkpoint_out,
                             struct daybook_error *error)
{
    struct dbk_error err = {0};
    struct dbk_buf note;
    uint64_t size = 0;
    if (book == NULL || checkpoint_out == NULL)
        return dbk_library_wrong(error, "daybook_proof_checkpoint: a book and checkpoint_out are "
                                        "needed");
    dbk_buf_init(&note, DBK_ENGINE_TEXT_SIZE_MAX);
    int rc = dbk_proof_checkpoint(dbk_engine_proof(book->engine), &note, &size, &err);
    if (rc == DBK_OK)
        rc = hand_over(&note, checkpoint_out, &err);
    dbk_buf_release(&note);
    return rc < 0 ? dbk_library_fail(error, rc, &err) : rc;
}

int daybook_proof_inclusion(struct daybook *book, uint64_t position, char **proof_out,
                            struct daybook_error *error)
{
    struct dbk_error err = {0};
    struct dbk_buf text;
    struct dbk_proof_inclusion inclusion;
    if (book == NULL || proof_out == NULL)
        return dbk_library_wrong(error, "daybook_proof_inclusion: a book and proof_out are needed");
    dbk_buf_init(&text, SIZE_MAX / 2);
    dbk_proof_inclusion_init(&inclusion);
    int rc = dbk_proof_inclusion(dbk_engine_proof(book->engine), position, 0, &inclusion, &err);
    if (rc == DBK_OK) {
        dbk_proof_put_inclusion(&text, &inclusion);
        rc = hand_over(&text, proof_out, &err);
    }
    dbk_proof_inclusion_release(&inclusion);
    dbk_buf_release(&text);
    return rc < 0 ? dbk_library_fail(error, rc, &err) : rc;
}

int daybook_proof_key(struct daybook *book, char **key_out, struct daybook_error *error)
{
    struct dbk_error err = {0};
    struct dbk_buf text;
    if (book == NULL || key_out == NULL)
        return dbk_library_wrong(error, "daybook_proof_key: a book and key_out are needed");
    dbk_buf_init(&text, DBK_ENGINE_TEXT_SIZE_MAX);
    int rc = dbk_proof_key(dbk_engine_proof(book->engine), &text, &err);
    if (rc == DBK_OK)
        rc = hand_over(&text, key_out, &err);
    dbk_buf_release(&text);
    return rc < 0 ? dbk_library_fail(error, rc, &err) : rc;
}

int daybook_forget(struct daybook *book, const char *subject, int tombstone, char *key_out,
                   struct daybook_error *error)
{
    struct dbk_error err = {0};
    struct dbk_uuid key;
    if (book == NULL || subject == NULL)
        return dbk_library_wrong(error, "daybook_forget: a book and a subject are needed");
    int rc = dbk_engine_check_writer(book->engine, &err);
    if (rc == DBK_OK)
        rc = dbk_forget_subject(dbk_engine_forget(book->engine),
                                &(struct dbk_forget_request){.subject = dbk_slice_of(subject),
                                                             .mode = tombstone != 0
                                                                         ? DBK_FORGET_TOMBSTONE
                                                                         : DBK_FORGET_ERASE},
                                &key, &err);
    for (size_t i = 0; rc == DBK_OK && key_out != NULL && i < DBK_UUID_SIZE; i++)
        (void)snprintf(key_out + 2 * i, 3, "%02x", key.bytes[i]);
    return rc < 0 ? dbk_library_fail(error, rc, &err) : rc;
}

int daybook_forget_certificate(struct daybook *book, const char *key, char **note_out,
                               struct daybook_error *error)
{
    struct dbk_error err = {0};
    struct dbk_uuid id;
    struct dbk_buf note;
    if (book == NULL || key == NULL || note_out == NULL)
        return dbk_library_wrong(error, "daybook_forget_certificate: a book, a key and a place for "
                                        "the certificate are needed");
    if (!dbk_key_id_parse(dbk_slice_of(key), &id))
        return dbk_library_wrong(error, "daybook_forget_certificate: a key's id has 32 hexadecimal "
                                        "digits");
    dbk_buf_init(&note, DBK_ENGINE_TEXT_SIZE_MAX);
    int rc = dbk_forget_certificate(dbk_engine_forget(book->engine), &id, &note, &err);
    dbk_buf_append_char(&note, '\0');
    if (rc == DBK_OK && note.rc < 0)
        rc = dbk_error_set(&err, note.rc, "out of memory");
    *note_out = rc < 0 ? NULL : note.data; /* the caller's now */
    if (rc < 0)
        dbk_buf_release(&note);
    return rc < 0 ? dbk_library_fail(error, rc, &err) : rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/entry_state.h"

#include <inttypes.h>

#include "base/assert.h"

#define IMAGES_SIZE_MAX ((size_t)24 << 20)
/* A key that changes, and the event Captured. */
#define BATCH_COUNT_MIN 3
#define BATCH_ARENA_MAX ((size_t)256 << 20)

int dbk_entry_no_memory(const struct dbk_entry *entry, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory capturing %s",
                         entry->options.service->name);
}

/* ---- Progress ---- */

struct dbk_slice dbk_capture_progress_stream(const char *service, enum dbk_capture_kind kind,
                                             struct dbk_arena *arena)
{
    const char *ending = kind == DBK_CAPTURE_POLLING  ? ".polling"
                         : kind == DBK_CAPTURE_OUTBOX ? ".outbox"
                                                      : "";
    const char *name = dbk_arena_format(arena, "$capture-%s%s", service, ending);
    return dbk_slice_of(name);
}

static int take_progress(struct dbk_entry *entry, const struct dbk_event *event,
                         struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    const struct dbk_json_node *part = NULL;
    const struct dbk_json_node *position = NULL;
    const struct dbk_json_node *changes = NULL;
    const struct dbk_json_node *from = NULL;
    if (dbk_json_parse(entry->json, event->data, &root, NULL) < 0 || root->kind != DBK_JSON_OBJECT)
        return dbk_error_set(err, DBK_ECORRUPT, "the last event of %.*s says nothing",
                             DBK_SLICE_ARGS(event->stream));
    const struct dbk_json_node *source = dbk_json_member(root, "source");
    const struct dbk_json_node *again = dbk_json_member(root, "resnapshot");
    entry->resnapshot = again != NULL && again->kind == DBK_JSON_TRUE;
    if (source != NULL && source->kind == DBK_JSON_OBJECT)
        dbk_buf_append(&entry->state, source->raw);
    part = dbk_json_member(root, "part");
    if (part != NULL) {
        position = dbk_json_member(part, "position");
        changes = dbk_json_member(part, "changes");
        from = dbk_json_member(part, "from");
        if (position == NULL || position->kind != DBK_JSON_STRING || changes == NULL ||
            changes->kind != DBK_JSON_INTEGER || changes->integer < 0 || from == NULL ||
            from->kind != DBK_JSON_INTEGER)
            return dbk_error_set(err, DBK_ECORRUPT,
                                 "the last event of %.*s does not say which part is stored",
                                 DBK_SLICE_ARGS(event->stream));
        dbk_buf_append(&entry->part_position, position->text);
        entry->part_changes = (uint64_t)changes->integer;
        entry->part_from = from->integer > 0 ? (uint64_t)from->integer : 1;
    }
    return entry->state.rc < 0 || entry->part_position.rc < 0 ? dbk_entry_no_memory(entry, err)
                                                              : DBK_OK;
}

static int read_progress(struct dbk_entry *entry, struct dbk_error *err)
{
    struct dbk_stream_info info = {0};
    const struct dbk_filter filter = {
        .stream = entry->progress, .hidden = true, .backwards = true, .raw = true};
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    int rc = dbk_cursor_open(entry->options.store, &filter, &cursor, err);
    if (rc < 0)
        return rc;
    rc = dbk_cursor_next(cursor, &event, err);
    if (rc == 1) {
        entry->version = event.version;
        rc = take_progress(entry, &event, err);
    }
    dbk_cursor_free(cursor);
    if (rc >= 0)
        rc = dbk_store_stream_info(entry->options.store, entry->progress, &info, err);
    entry->ruled = info.rules.max_count == 1;
    if (rc >= 0 && entry->part_from > 0)
        rc = dbk_store_hold(entry->options.store, entry->prefix, entry->part_from,
                            &entry->part_from, err);
    return rc < 0 ? rc : DBK_OK;
}

/* Only the last Captured is kept. */
static int set_rules(struct dbk_entry *entry, struct dbk_error *err)
{
    struct dbk_append_result result;
    const struct dbk_stream_rules rules = {.max_count = 1};
    int rc = dbk_store_set_rules(entry->options.store, entry->progress, &rules, &result, err);
    entry->ruled = rc == DBK_OK;
    return rc;
}

static int open_parts(struct dbk_entry *entry, struct dbk_error *err)
{
    const struct dbk_capture_service *service = entry->options.service;
    entry->capacity = entry->options.batch_count_max - 1;
    entry->events =
        dbk_arena_alloc_zero(&entry->arena, entry->capacity + 1, sizeof(*entry->events));
    entry->progress =
        dbk_capture_progress_stream(service->name, entry->options.kind, &entry->arena);
    entry->prefix = dbk_slice_of(dbk_arena_format(&entry->arena, "%s.", service->name));
    entry->images = dbk_images_create(entry->options.store, IMAGES_SIZE_MAX);
    entry->rows = dbk_rows_writer_create(service);
    entry->json = dbk_json_create(DBK_ENTRY_STATE_SIZE_MAX);
    if (entry->events == NULL || entry->progress.data == NULL || entry->prefix.data == NULL ||
        entry->images == NULL || entry->rows == NULL || entry->json == NULL)
        return dbk_entry_no_memory(entry, err);
    return DBK_OK;
}

int dbk_entry_open(const struct dbk_entry_options *options, struct dbk_entry **entry_out,
                   struct dbk_error *err)
{
    if (options->batch_count_max < BATCH_COUNT_MIN)
        return dbk_error_set(err, DBK_ELIMIT,
                             "%s cannot be captured in batches of %zu events: set batch_events in "
                             "book.yaml to %d or more",
                             options->service->name, options->batch_count_max, BATCH_COUNT_MIN);
    struct dbk_entry *entry = dbk_alloc_zero(1, sizeof(*entry));
    if (entry == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory capturing %s", options->service->name);
    entry->options = *options;
    entry->counts.time_us = DBK_TIME_NONE;
    dbk_arena_init(&entry->arena, (size_t)1 << 30);
    dbk_arena_init(&entry->batch, BATCH_ARENA_MAX);
    dbk_arena_init(&entry->own, DBK_ENTRY_STATE_SIZE_MAX);
    dbk_arena_init(&entry->keys, BATCH_ARENA_MAX);
    dbk_buf_init(&entry->state, DBK_ENTRY_STATE_SIZE_MAX);
    dbk_buf_init(&entry->data, DBK_ENTRY_STATE_SIZE_MAX);
    dbk_buf_init(&entry->part_position, DBK_ENTRY_STATE_SIZE_MAX);
    dbk_buf_init(&entry->name, DBK_ENTRY_STATE_SIZE_MAX);
    dbk_buf_init(&entry->old_name, DBK_ENTRY_STATE_SIZE_MAX);
    int rc = open_parts(entry, err);
    if (rc == DBK_OK)
        rc = read_progress(entry, err);
    if (rc < 0) {
        dbk_entry_free(entry);
        return rc;
    }
    *entry_out = entry;
    return DBK_OK;
}

void dbk_entry_free(struct dbk_entry *entry)
{
    if (entry == NULL)
        return;
    dbk_images_free(entry->images);
    dbk_rows_writer_free(entry->rows);
    dbk_json_free(entry->json);
    dbk_buf_release(&entry->state);
    dbk_buf_release(&entry->data);
    dbk_buf_release(&entry->part_position);
    dbk_buf_release(&entry->name);
    dbk_buf_release(&entry->old_name);
    dbk_arena_release(&entry->arena);
    dbk_arena_release(&entry->batch);
    dbk_arena_release(&entry->own);
    dbk_arena_release(&entry->keys);
    dbk_free(entry);
}

struct dbk_slice dbk_entry_state(const struct dbk_entry *entry)
{
    return dbk_buf_slice(&entry->state);
}

bool dbk_entry_resnapshot(const struct dbk_entry *entry)
{
    return entry->resnapshot;
}

void dbk_entry_follow(struct dbk_entry *entry, const struct dbk_source *source)
{
    entry->source = source;
}

void dbk_entry_counts(const struct dbk_entry *entry, struct dbk_entry_counts *counts_out)
{
    *counts_out = entry->counts;
}

/* Appends what was gathered, and the event Captured, whose data is made. */
static int append(struct dbk_entry *entry, struct dbk_error *err)
{
    struct dbk_append_result result;
    const struct dbk_expectation expectation = {entry->progress, (int64_t)entry->version};
    entry->events[entry->count] = (struct dbk_new_event){
        .stream = entry->progress,
        .type = DBK_SLICE_LITERAL("Captured"),
        .data = dbk_buf_slice(&entry->data),
        .flags = DBK_RECORD_JSON,
        .occurred_us = DBK_TIME_NONE,
    };
    const struct dbk_batch batch = {
        .events = entry->events,
        .count = entry->count + 1,
        .expectations = &expectation,
        .expectation_count = 1,
        .flags = DBK_APPEND_OWN,
    };
    int rc = entry->data.rc < 0
                 ? dbk_entry_no_memory(entry, err)
                 : entry->options.append(entry->options.context, &batch, &result, err);
    if (rc < 0)
        return rc;
    entry->version = result.last_version;
    entry->counts.events += entry->count;
    entry->counts.batches++;
    entry->count = 0;
    dbk_images_settle(entry->images);
    dbk_arena_reset(&entry->batch);
    entry->meta = (struct dbk_slice){0};
    return entry->ruled ? DBK_OK : set_rules(entry, err);
}

/* A transaction is whole, or will never be. */
static void show(struct dbk_entry *entry)
{
    if (entry->part_from > 0)
        dbk_store_release(entry->options.store, entry->prefix);
    entry->part_from = 0;
}

static void put_source(struct dbk_entry *entry, struct dbk_slice state)
{
    dbk_buf_append_text(&entry->data, "{\"source\":");
    if (state.size == 0)
        dbk_buf_append_text(&entry->data, "null");
    dbk_buf_append(&entry->data, state);
}

int dbk_entry_note(struct dbk_entry *entry, struct dbk_slice state, bool resnapshot,
                   struct dbk_error *err)
{
    dbk_assert(entry->count == 0);
    dbk_buf_reset(&entry->data);
    put_source(entry, state);
    if (resnapshot)
        dbk_buf_append_text(&entry->data, ",\"resnapshot\":true");
    dbk_buf_append_char(&entry->data, '}');
    int rc = append(entry, err);
    if (rc < 0)
        return rc;
    entry->resnapshot = resnapshot;
    entry->part_changes = 0;
    show(entry);
    if (state.data != entry->state.data) {
        dbk_buf_reset(&entry->state);
        dbk_buf_append(&entry->state, state);
    }
    return entry->state.rc < 0 ? dbk_entry_no_memory(entry, err) : DBK_OK;
}

/* Nobody sees a part before the transaction is whole. */
static int put_part(struct dbk_entry *entry, struct dbk_error *err)
{
    int rc = dbk_store_hold(entry->options.store, entry->prefix, 0, &entry->part_from, err);
    if (rc < 0)
        return rc;
    dbk_buf_append_text(&entry->data, ",\"part\":{\"position\":");
    dbk_json_write_string(&entry->data, entry->position);
    dbk_buf_append_format(&entry->data, ",\"changes\":%" PRIu64 ",\"from\":%" PRIu64 "}",
                          entry->ordinal, entry->part_from);
    return DBK_OK;
}

/* Stores what was gathered. The state is that of the last whole transaction. */
int dbk_entry_store_gathered(struct dbk_entry *entry, struct dbk_error *err)
{
    if (entry->ended) {
        dbk_buf_reset(&entry->state);
        entry->source->driver->state(entry->source, &entry->state);
        if (entry->state.rc < 0)
            return dbk_entry_no_memory(entry, err);
    }
    dbk_buf_reset(&entry->data);
    put_source(entry, dbk_entry_state(entry));
    bool part = entry->begun && entry->ordinal > 0;
    int rc = part ? put_part(entry, err) : DBK_OK;
    dbk_buf_append_char(&entry->data, '}');
    if (rc == DBK_OK)
        rc = append(entry, err);
    if (rc < 0)
        return rc;
    if (!part)
        show(entry);
    entry->ended = false;
    entry->resnapshot = false;
    return DBK_OK;
}

bool dbk_entry_is_open(const struct dbk_entry *entry)
{
    return entry->begun;
}

size_t dbk_entry_gathered(const struct dbk_entry *entry)
{
    return entry->count;
}

bool dbk_entry_is_full(const struct dbk_entry *entry)
{
    return entry->count >= entry->capacity || entry->batch.used >= DBK_ENTRY_BATCH_SIZE_FULL;
}

int dbk_entry_store(struct dbk_entry *entry, bool always, struct dbk_error *err)
{
    dbk_assert(!entry->begun);
    if (entry->count == 0 && !always)
        return DBK_OK;
    entry->ended = entry->ended || always;
    int rc = dbk_entry_store_gathered(entry, err);
    if (rc == DBK_OK && entry->time_us != DBK_TIME_NONE)
        entry->counts.time_us = entry->time_us;
    return rc;
}

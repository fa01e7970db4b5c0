/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/assert.h"
#include "migrate/forgotten.h"
#include "migrate/record.h"
#include "migrate/state.h"

/* A batch is full with so many bytes of events. */
#define BATCH_SIZE ((size_t)4 << 20)
#define ARENA_SIZE_MAX ((size_t)512 << 20)
/* Positions with nothing to store are noted when they are so many. */
#define IDLE_MAX 100000
#define STEP_EVENTS 1024
/* MigrationScript and MigrationCopied. */
#define OWN_EVENTS 2
#define RUNS_MAX 20000

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory copying a book");
}

/* ---- Opening ---- */

/* What the new book says of a migration into it. */
static int check_target(const struct dbk_migration *migration,
                        const struct dbk_migrate_record *record, bool found, struct dbk_error *err)
{
    struct dbk_store *target = migration->options.target;
    const struct dbk_uuid *book = dbk_store_book_id(migration->options.source);
    struct dbk_standing standing;
    int rc = dbk_store_standing(target, &standing, err);
    if (rc < 0)
        return rc;
    if (found && standing.state != DBK_STANDING_FILLED && migration->options.append != NULL)
        return dbk_error_set(err, DBK_EDENIED,
                             "the new book has been switched to, and takes no more of the old one");
    if (!found && dbk_store_last_position(target) > 0)
        return dbk_error_set(err, DBK_EDENIED,
                             "the new book holds events of its own: a migration fills an empty "
                             "book");
    if (found && !dbk_uuid_equal(&record->book, book))
        return dbk_error_set(err, DBK_EDENIED, "the new book is filled from another book, %.*s",
                             DBK_SLICE_ARGS(record->folder));
    if (dbk_uuid_equal(dbk_store_book_id(target), book))
        return dbk_error_set(err, DBK_EINVAL, "the new book is the old one");
    return DBK_OK;
}

static int check_script(struct dbk_migration *migration, const struct dbk_migrate_record *record,
                        struct dbk_error *err)
{
    struct dbk_migration_options *options = &migration->options;
    struct dbk_sha256 hash;
    if (options->script.data == NULL) {
        int rc = dbk_migrate_script_newest(options->target, &migration->arena,
                                           &options->script_name, &options->script, err);
        if (rc < 0)
            return rc;
    }
    if (options->script.size > DBK_MIGRATE_SCRIPT_SIZE_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "%s has %zu bytes, at most %zu fit",
                             options->script_name, options->script.size,
                             DBK_MIGRATE_SCRIPT_SIZE_MAX);
    dbk_sha256_init(&hash);
    dbk_sha256_update(&hash, options->script);
    dbk_sha256_final(&hash, migration->script);
    migration->script_stored =
        record != NULL && memcmp(record->script, migration->script, DBK_SHA256_SIZE) == 0;
    if (record == NULL || migration->script_stored || options->changed_script)
        return DBK_OK;
    return dbk_error_set(err, DBK_ECONFLICT,
                         "%s has changed since the migration began: begin again with an empty new "
                         "book, or, where what is copied is as the new script would have it, go "
                         "on with --changed-script",
                         options->script_name);
}

static int read_record(struct dbk_migration *migration, struct dbk_error *err)
{
    struct dbk_migrate_record record;
    struct dbk_json *json = dbk_json_create(DBK_MIGRATE_RECORD_SIZE_MAX);
    if (json == NULL)
        return no_memory(err);
    int rc = dbk_migrate_record_newest(migration->options.target, json, &record, err);
    bool found = rc == 1;
    if (rc >= 0)
        rc = check_target(migration, &record, found, err);
    if (rc == DBK_OK)
        rc = check_script(migration, found ? &record : NULL, err);
    if (rc == DBK_OK && found) {
        migration->position = record.position;
        migration->time_us = record.time_us;
        rc = dbk_report_read(&migration->report, record.report, err);
    }
    dbk_json_free(json);
    return rc;
}

/* Shows the script what stands in its block before the position: it may remember some of it. */
static int replay(struct dbk_migration *migration, struct dbk_error *err)
{
    uint64_t first = dbk_migrate_map_begin(migration->map, migration->position);
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    if (first > migration->position)
        return DBK_OK;
    int rc =
        dbk_cursor_open(migration->options.source,
                        &(struct dbk_filter){.position_min = first,
                                             .position_max = migration->position,
                                             .as_written = dbk_migrate_map_is_raw(migration->map)},
                        &cursor, err);
    while (rc == DBK_OK && (rc = dbk_cursor_next(cursor, &event, err)) == 1) {
        const struct dbk_made *made = NULL;
        size_t count = 0;
        dbk_arena_reset(&migration->bytes);
        rc = dbk_migrate_map_event(migration->map, &event, &migration->bytes, &made, &count, err);
    }
    dbk_cursor_free(cursor);
    return rc;
}

int dbk_migration_open_map(const struct dbk_migration *migration, struct dbk_migrate_map **map_out,
                           struct dbk_error *err)
{
    const struct dbk_migration_options *options = &migration->options;
    return dbk_migrate_map_open(
        &(struct dbk_migrate_map_options){.name = options->script_name,
                                          .source = options->script,
                                          .made_max = options->batch_count_max - OWN_EVENTS,
                                          .source_schemas = options->source_schemas,
                                          .target_schemas = options->target_schemas},
        map_out, err);
}

static int open_all(struct dbk_migration *migration, struct dbk_error *err)
{
    const struct dbk_migration_options *options = &migration->options;
    int rc = dbk_report_init(&migration->report, err);
    if (rc == DBK_OK && (options->batch_count_max <= OWN_EVENTS || migration->runs == NULL))
        rc = migration->runs == NULL ? no_memory(err)
                                     : dbk_error_set(err, DBK_ELIMIT,
                                                     "the new book takes batches of %zu events, a "
                                                     "migration needs %d",
                                                     options->batch_count_max, OWN_EVENTS + 1);
    if (rc == DBK_OK)
        rc = read_record(migration, err);
    if (rc == DBK_OK)
        rc = dbk_migration_open_map(migration, &migration->map, err);
    if (rc == DBK_OK && options->append != NULL)
        rc = replay(migration, err);
    migration->read = migration->position;
    return rc;
}

int dbk_migration_open(const struct dbk_migration_options *options,
                       struct dbk_migration **migration_out, struct dbk_error *err)
{
    struct dbk_migration *migration = dbk_alloc_zero(1, sizeof(*migration));
    if (migration == NULL)
        return no_memory(err);
    migration->options = *options;
    dbk_arena_init(&migration->arena, DBK_MIGRATE_SCRIPT_SIZE_MAX * 2);
    dbk_arena_init(&migration->bytes, ARENA_SIZE_MAX);
    dbk_arena_init(&migration->bytes_before, ARENA_SIZE_MAX);
    dbk_buf_init(&migration->record, DBK_MIGRATE_RECORD_SIZE_MAX);
    dbk_buf_init(&migration->script_record, DBK_MIGRATE_RECORD_SIZE_MAX);
    migration->runs = dbk_alloc_zero(RUNS_MAX, sizeof(*migration->runs));
    int rc = open_all(migration, err);
    if (rc < 0) {
        dbk_migration_free(migration);
        return rc;
    }
    *migration_out = migration;
    return DBK_OK;
}

void dbk_migration_free(struct dbk_migration *migration)
{
    if (migration == NULL)
        return;
    dbk_cursor_free(migration->cursor);
    dbk_migrate_map_free(migration->map);
    dbk_report_release(&migration->report);
    dbk_arena_release(&migration->bytes);
    dbk_arena_release(&migration->bytes_before);
    dbk_arena_release(&migration->arena);
    dbk_buf_release(&migration->record);
    dbk_buf_release(&migration->script_record);
    dbk_free(migration->events);
    dbk_free(migration->runs);
    dbk_free(migration);
}

uint64_t dbk_migration_position(const struct dbk_migration *migration)
{
    return migration->position;
}

const struct dbk_report *dbk_migration_report(const struct dbk_migration *migration)
{
    return &migration->report;
}

/* ---- Batches ---- */

static struct dbk_new_event own_event(const struct dbk_migration *migration, const char *type,
                                      const struct dbk_buf *data)
{
    struct dbk_os *os = migration->options.os;
    return (struct dbk_new_event){.stream = DBK_SLICE_LITERAL(DBK_MIGRATION_STREAM),
                                  .type = dbk_slice_of(type),
                                  .data = dbk_buf_slice(data),
                                  .occurred_us = os->now_us(os),
                                  .time_us = migration->time_us,
                                  .flags = DBK_RECORD_JSON};
}

/* Room for one more event, and the book's own behind it. */
static int reserve(struct dbk_migration *migration, struct dbk_error *err)
{
    if (migration->count + OWN_EVENTS < migration->capacity)
        return DBK_OK;
    size_t capacity = migration->capacity == 0 ? 64 : migration->capacity * 2;
    struct dbk_new_event *events =
        dbk_realloc(migration->events, capacity * sizeof(*migration->events));
    if (events == NULL)
        return no_memory(err);
    migration->events = events;
    migration->capacity = capacity;
    return DBK_OK;
}

static void add_run(struct dbk_migration *migration, uint64_t events, uint64_t made)
{
    struct dbk_migrate_run *last =
        migration->run_count == 0 ? NULL : &migration->runs[migration->run_count - 1];
    if (events == 0)
        return;
    if (last != NULL && last->made == made)
        last->events += events;
    else
        migration->runs[migration->run_count++] = (struct dbk_migrate_run){events, made};
}

/* Stores the batch with how far it has got. */
static int store_batch(struct dbk_migration *migration, struct dbk_error *err)
{
    const struct dbk_migration_options *options = &migration->options;
    struct dbk_append_result result;
    struct dbk_error failure = {0};
    struct dbk_migrate_record record = {.book = *dbk_store_book_id(options->source),
                                        .folder = dbk_slice_of(options->source_folder),
                                        .after = migration->position,
                                        .position = migration->read,
                                        .runs = migration->runs,
                                        .run_count = migration->run_count};
    size_t count = migration->count;
    int rc = reserve(migration, err);
    if (rc < 0)
        return rc;
    memcpy(record.script, migration->script, DBK_SHA256_SIZE);
    dbk_buf_reset(&migration->record);
    dbk_buf_reset(&migration->script_record);
    if (!migration->script_stored) {
        dbk_migrate_script_write(options->script_name, options->script, &migration->script_record);
        memmove(migration->events + 1, migration->events, count * sizeof(*migration->events));
        migration->events[0] = own_event(migration, DBK_MIGRATE_SCRIPT, &migration->script_record);
        if (count > 0)
            migration->events[0].time_us = migration->events[1].time_us;
        count++;
    }
    dbk_migrate_record_write(&record, &migration->report, &migration->record);
    migration->events[count++] = own_event(migration, DBK_MIGRATE_COPIED, &migration->record);
    if (migration->record.rc < 0 || migration->script_record.rc < 0)
        return dbk_error_set(err, DBK_ELIMIT, "what the migration keeps of a batch is too large");
    rc = options->append(options->context,
                         &(struct dbk_batch){.events = migration->events,
                                             .count = count,
                                             .flags = DBK_APPEND_MIGRATED},
                         &result, &failure);
    if (rc < 0)
        return dbk_error_set(err, rc, "the new book, with positions %ju to %ju: %s",
                             (uintmax_t)migration->position + 1, (uintmax_t)migration->read,
                             failure.message);
    migration->script_stored = true;
    migration->position = migration->read;
    migration->count = 0;
    migration->run_count = 0;
    struct dbk_arena bytes = migration->bytes_before;
    migration->bytes_before = migration->bytes;
    migration->bytes = bytes;
    dbk_arena_reset(&migration->bytes);
    return DBK_OK;
}

static bool is_full(const struct dbk_migration *migration)
{
    return migration->bytes.used >= BATCH_SIZE || migration->run_count + 4 > RUNS_MAX ||
           migration->read - migration->position >= IDLE_MAX;
}

/* The event with all of its bytes in the batch's arena. */
static int keep_event(struct dbk_migration *migration, const struct dbk_event *event,
                      struct dbk_event *kept_out)
{
    struct dbk_slice *const parts[] = {&kept_out->stream, &kept_out->type, &kept_out->tags,
                                       &kept_out->data, &kept_out->meta};
    size_t size = 0;
    *kept_out = *event;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        size += parts[i]->size;
    char *at = dbk_arena_alloc(&migration->bytes, size + 1);
    if (at == NULL)
        return DBK_ENOMEM;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (parts[i]->size == 0)
            continue;
        memcpy(at, parts[i]->data, parts[i]->size);
        parts[i]->data = at;
        at += parts[i]->size;
    }
    return DBK_OK;
}

static int add_event(struct dbk_migration *migration, const struct dbk_event *event,
                     const struct dbk_made *made, size_t count, struct dbk_error *err)
{
    uint64_t new_position =
        dbk_store_last_position(migration->options.target) + (migration->script_stored ? 1 : 2);
    int rc = dbk_report_add(&migration->report, event, made, count, new_position + migration->count,
                            err);
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        rc = reserve(migration, err);
        if (rc == DBK_OK)
            migration->events[migration->count++] = made[i].event;
    }
    add_run(migration, 1, count);
    return rc;
}

/* An event of the old book: what it becomes goes into the batch. */
static int take_event(struct dbk_migration *migration, const struct dbk_event *event,
                      struct dbk_error *err)
{
    const struct dbk_made *made = NULL;
    struct dbk_event kept;
    size_t count = 0;
    if (keep_event(migration, event, &kept) < 0)
        return no_memory(err);
    int rc = dbk_migrate_map_event(migration->map, &kept, &migration->bytes, &made, &count, err);
    if (rc == DBK_OK && migration->count + count + OWN_EVENTS > migration->options.batch_count_max)
        rc = store_batch(migration, err);
    return rc < 0 ? rc : add_event(migration, &kept, made, count, err);
}

/* Somebody is forgotten in the old book: what was copied before is not forgotten in the new one. */
static int take_forgotten(struct dbk_migration *migration, const struct dbk_event *event,
                          struct dbk_error *err)
{
    int rc = migration->count > 0 ? store_batch(migration, err) : DBK_OK;
    return rc < 0
               ? rc
               : dbk_migrate_check_forgotten(migration->options.source, migration->options.target,
                                             event, migration->position, err);
}

static int take(struct dbk_migration *migration, const struct dbk_event *event,
                struct dbk_error *err)
{
    int rc = DBK_OK;
    /* What the lens leaves out. */
    add_run(migration, event->position - migration->read - 1, 0);
    migration->read = event->position - 1;
    if (event->stream.data[0] == '$' || (event->flags & DBK_RECORD_REMOVED) != 0) {
        if (dbk_migrate_is_forgetting(event))
            rc = take_forgotten(migration, event, err);
        migration->report.own += event->stream.data[0] == '$';
        migration->report.removed += event->stream.data[0] != '$';
        add_run(migration, 1, 0);
    } else {
        rc = take_event(migration, event, err);
    }
    migration->read = event->position;
    migration->time_us = event->time_us;
    return rc;
}

int dbk_migration_tell(const struct dbk_migration *migration, uint64_t done, uint64_t total)
{
    const struct dbk_migration_options *options = &migration->options;
    return options->step == NULL
               ? DBK_OK
               : options->step(options->step_context, done, done > total ? done : total);
}

static int open_cursor(struct dbk_migration *migration, struct dbk_error *err)
{
    if (migration->cursor != NULL)
        return dbk_cursor_extend(migration->cursor, err);
    return dbk_cursor_open(
        migration->options.source,
        &(struct dbk_filter){.position_min = migration->read + 1,
                             .as_written = dbk_migrate_map_is_raw(migration->map),
                             .hidden = true,
                             .removed = true},
        &migration->cursor, err);
}

int dbk_migration_flush(struct dbk_migration *migration, struct dbk_error *err)
{
    return migration->read > migration->position ? store_batch(migration, err) : DBK_OK;
}

int dbk_migration_copy(struct dbk_migration *migration, struct dbk_error *err)
{
    struct dbk_store *source = migration->options.source;
    struct dbk_event event;
    uint64_t total = dbk_store_last_position(source);
    dbk_assert(migration->options.append != NULL);
    int rc = open_cursor(migration, err);
    while (rc >= 0 && (rc = dbk_cursor_next(migration->cursor, &event, err)) == 1) {
        rc = take(migration, &event, err);
        if (rc == DBK_OK && is_full(migration))
            rc = store_batch(migration, err);
        if (rc == DBK_OK && migration->read % STEP_EVENTS == 0)
            rc = dbk_migration_tell(migration, migration->read, total);
    }
    if (rc < 0)
        return rc;
    add_run(migration, dbk_cursor_position(migration->cursor) - migration->read, 0);
    migration->read = dbk_cursor_position(migration->cursor);
    if (migration->count > 0)
        rc = store_batch(migration, err);
    return rc < 0 ? rc : dbk_migration_tell(migration, migration->read, total);
}

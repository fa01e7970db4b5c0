/* SPDX-License-Identifier: Apache-2.0 */
#include "command/command.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "base/diagnostics.h"
#include "base/time.h"
#include "command/decide.h"
#include "command/meta.h"
#include "command/recent.h"
#include "command/service.h"

#define ARENA_SIZE_MAX ((size_t)256 << 20)
#define STATE_SIZE_MAX ((size_t)64 << 20)
/* Lua states of one command that are kept. */
#define DECIDERS_MAX 8
#define HASH_TEXT_SIZE 33

struct pooled {
    struct pooled *next;
    struct dbk_decider *decider;
};

struct entry {
    char *name;
    char *file;
    struct dbk_slice source;
    struct pooled *free;
    size_t free_count;
    struct dbk_service_runner *runner; /* of one in a service's database; else NULL */
};

struct dbk_commands {
    struct dbk_store *store;
    struct dbk_folds *folds;
    dbk_append_fn append;
    void *context;
    pthread_mutex_t lock;
    struct entry *items;
    size_t count;
    int64_t since_us;
    struct dbk_recent recent; /* under the lock */
};

static int64_t now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int dbk_commands_open(struct dbk_store *store, struct dbk_folds *folds, dbk_append_fn append,
                      void *context, struct dbk_commands **commands_out, struct dbk_error *err)
{
    struct dbk_commands *commands = dbk_alloc_zero(1, sizeof(*commands));
    if (commands == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening commands");
    commands->store = store;
    commands->folds = folds;
    commands->append = append;
    commands->context = context;
    commands->since_us = now_us();
    (void)pthread_mutex_init(&commands->lock, NULL);
    *commands_out = commands;
    return DBK_OK;
}

static void release_entry(struct entry *entry)
{
    for (struct pooled *pooled = entry->free, *next; pooled != NULL; pooled = next) {
        next = pooled->next;
        dbk_decider_free(pooled->decider);
        dbk_free(pooled);
    }
    dbk_service_runner_free(entry->runner);
    dbk_free(entry->name);
    dbk_free(entry->file);
    dbk_free((void *)(uintptr_t)entry->source.data);
}

void dbk_commands_free(struct dbk_commands *commands)
{
    if (commands == NULL)
        return;
    for (size_t i = 0; i < commands->count; i++)
        release_entry(&commands->items[i]);
    dbk_free(commands->items);
    dbk_recent_release(&commands->recent);
    (void)pthread_mutex_destroy(&commands->lock);
    dbk_free(commands);
}

static int take(struct dbk_commands *commands, struct entry *entry, struct pooled **pooled_out,
                struct dbk_error *err)
{
    (void)pthread_mutex_lock(&commands->lock);
    struct pooled *pooled = entry->free;
    if (pooled != NULL) {
        entry->free = pooled->next;
        entry->free_count--;
    }
    (void)pthread_mutex_unlock(&commands->lock);
    if (pooled == NULL) {
        pooled = dbk_alloc_zero(1, sizeof(*pooled));
        if (pooled == NULL)
            return dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", entry->file);
        int rc = dbk_decider_open(entry->file, entry->source, &pooled->decider, err);
        if (rc < 0) {
            dbk_free(pooled);
            return rc;
        }
    }
    *pooled_out = pooled;
    return DBK_OK;
}

/* One that failed is not used again: its script may have left anything behind. */
static void give(struct dbk_commands *commands, struct entry *entry, struct pooled *pooled,
                 bool sound)
{
    (void)pthread_mutex_lock(&commands->lock);
    bool kept = sound && entry->free_count < DECIDERS_MAX;
    if (kept) {
        pooled->next = entry->free;
        entry->free = pooled;
        entry->free_count++;
    }
    (void)pthread_mutex_unlock(&commands->lock);
    if (kept)
        return;
    dbk_decider_free(pooled->decider);
    dbk_free(pooled);
}

int dbk_commands_add(struct dbk_commands *commands, const char *command_name, const char *file_name,
                     struct dbk_slice source, struct dbk_error *err)
{
    struct pooled *pooled = NULL;
    struct entry *items = dbk_realloc(commands->items, (commands->count + 1) * sizeof(*items));
    if (items == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", file_name);
    commands->items = items;
    struct entry *entry = &items[commands->count];
    *entry = (struct entry){.name = dbk_copy_text(dbk_slice_of(command_name)),
                            .file = dbk_copy_text(dbk_slice_of(file_name)),
                            .source = dbk_slice(dbk_copy_text(source), source.size)};
    int rc = entry->name == NULL || entry->file == NULL || entry->source.data == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", file_name)
                 : take(commands, entry, &pooled, err);
    if (rc < 0) {
        release_entry(entry);
        return rc;
    }
    give(commands, entry, pooled, true);
    commands->count++;
    return DBK_OK;
}

int dbk_commands_add_service(struct dbk_commands *commands,
                             const struct dbk_service_command *definition, struct dbk_os *os,
                             struct dbk_error *err)
{
    struct entry *items = dbk_realloc(commands->items, (commands->count + 1) * sizeof(*items));
    if (items == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", definition->file);
    commands->items = items;
    struct entry *entry = &items[commands->count];
    *entry = (struct entry){.name = dbk_copy_text(dbk_slice_of(definition->name)),
                            .runner = dbk_service_runner_create(definition, os)};
    if (entry->name == NULL || entry->runner == NULL) {
        release_entry(entry);
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", definition->file);
    }
    commands->count++;
    return DBK_OK;
}

static int find(struct dbk_commands *commands, struct dbk_slice name, struct entry **entry_out,
                struct dbk_error *err)
{
    char text[256];
    for (size_t i = 0; i < commands->count; i++) {
        if (dbk_slice_equal_text(name, commands->items[i].name)) {
            *entry_out = &commands->items[i];
            return DBK_OK;
        }
    }
    (void)snprintf(text, sizeof(text), "%.*s", (int)(name.size < 255 ? name.size : 255), name.data);
    const char **names = dbk_alloc_zero(commands->count + 1, sizeof(*names));
    for (size_t i = 0; names != NULL && i < commands->count; i++)
        names[i] = commands->items[i].name;
    const char *closest = names == NULL ? NULL : dbk_closest_name(text, names, commands->count);
    dbk_free((void *)names);
    return dbk_error_set(err, DBK_ENOTFOUND, "there is no command %s%s%s%s", text,
                         closest == NULL ? "" : "; did you mean ", closest == NULL ? "" : closest,
                         closest == NULL ? "" : "?");
}

/* One run of a command. */
struct doing {
    struct dbk_commands *commands;
    const struct dbk_command *command;
    struct dbk_decider *decider;
    struct dbk_arena arena;
    struct dbk_buf stream;
    struct dbk_buf state;
    struct dbk_buf meta;
    char hash[HASH_TEXT_SIZE]; /* of the body, with a key */
};

static struct dbk_uuid derive_id(const struct doing *doing, size_t ordinal)
{
    char number[24];
    int size = snprintf(number, sizeof(number), "%zu", ordinal);
    const struct dbk_slice parts[] = {
        DBK_SLICE_LITERAL("command"),
        dbk_slice(dbk_store_book_id(doing->commands->store)->bytes, DBK_UUID_SIZE),
        doing->command->name, doing->command->idempotency_key, dbk_slice(number, (size_t)size)};
    return dbk_uuid_derive(parts, 5);
}

static void hash_body(struct doing *doing)
{
    uint8_t digest[DBK_SHA256_SIZE];
    struct dbk_sha256 hash;
    dbk_sha256_init(&hash);
    dbk_sha256_update(&hash, doing->command->body);
    dbk_sha256_final(&hash, digest);
    for (size_t i = 0; i < (HASH_TEXT_SIZE - 1) / 2; i++)
        (void)snprintf(doing->hash + 2 * i, 3, "%02x", digest[i]);
}

static int make_meta(struct doing *doing, const struct dbk_decided *event, bool first,
                     struct dbk_slice *meta_out, struct dbk_error *err)
{
    bool tells = first && doing->command->idempotency_key.size > 0;
    struct dbk_command_meta meta = {.command = tells ? doing->command->name : (struct dbk_slice){0},
                                    .hash = dbk_slice_of(doing->hash),
                                    .request = doing->command->meta,
                                    .event = event->meta};
    int rc = dbk_command_meta_write(&meta, &doing->meta, err);
    if (rc < 0 || doing->meta.size == 0)
        return rc;
    *meta_out = dbk_arena_copy(&doing->arena, dbk_buf_slice(&doing->meta));
    return meta_out->data == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory deciding")
                                  : DBK_OK;
}

static void write_event(struct dbk_buf *events, bool first, struct dbk_slice type,
                        struct dbk_slice data)
{
    bool first_key = true;
    dbk_buf_append_text(events, first ? "{" : ",{");
    dbk_json_write_key(events, &first_key, "type");
    dbk_json_write_string(events, type);
    dbk_json_write_key(events, &first_key, "data");
    dbk_buf_append(events, data);
    dbk_buf_append_char(events, '}');
}

static void write_events(const struct dbk_decision *decision, struct dbk_buf *events)
{
    dbk_buf_append_char(events, '[');
    for (size_t i = 0; i < decision->count; i++)
        write_event(events, i == 0, decision->events[i].type, decision->events[i].data);
    dbk_buf_append_char(events, ']');
}

static int read_event(struct dbk_store *store, uint64_t position, struct dbk_cursor **cursor_out,
                      struct dbk_event *event_out, struct dbk_error *err)
{
    int rc = dbk_cursor_open(
        store,
        &(struct dbk_filter){
            .position_min = position, .position_max = position, .as_written = true, .hidden = true},
        cursor_out, err);
    return rc < 0 ? rc : dbk_cursor_next(*cursor_out, event_out, err);
}

/* The command's stream as it was behind the run that ended at a position. */
static int version_behind(struct doing *doing, uint64_t position, uint64_t *version_out,
                          struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    int rc = dbk_cursor_open(doing->commands->store,
                             &(struct dbk_filter){.stream = dbk_buf_slice(&doing->stream),
                                                  .position_max = position,
                                                  .raw = true,
                                                  .hidden = true,
                                                  .backwards = true},
                             &cursor, err);
    if (rc == DBK_OK)
        rc = dbk_cursor_next(cursor, &event, err);
    if (rc >= 0)
        *version_out = rc == 1 ? event.version : 0;
    dbk_cursor_free(cursor);
    return rc < 0 ? rc : DBK_OK;
}

static int allow(const struct doing *doing, struct dbk_slice stream, struct dbk_error *err)
{
    const struct dbk_command *command = doing->command;
    return command->allow == NULL ? DBK_OK : command->allow(command->context, stream, err);
}

/* The event of an ordinal of an earlier run. 1: there is one; 0: there was none. */
static int read_known(struct doing *doing, uint64_t position, size_t ordinal,
                      struct dbk_buf *events, struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    struct dbk_uuid id = derive_id(doing, ordinal);
    int rc = read_event(doing->commands->store, position, &cursor, &event, err);
    if (rc == 1 && !dbk_uuid_equal(&event.id, &id))
        rc = 0;
    if (rc == 1 && ordinal == 1 &&
        !dbk_command_meta_has_hash(event.meta, dbk_slice_of(doing->hash)))
        rc = dbk_error_set(err, DBK_ECONFLICT,
                           "the idempotency key was used for another %.*s before, at position "
                           "%" PRIu64,
                           DBK_SLICE_ARGS(doing->command->name), position);
    if (rc == 1) {
        int allowed = allow(doing, event.stream, err);
        rc = allowed < 0 ? allowed : rc;
    }
    if (rc == 1)
        write_event(events, ordinal == 1, event.type, event.data);
    dbk_cursor_free(cursor);
    return rc;
}

/* The events of an earlier run follow each other in the log: each has the id of its ordinal. */
static int answer_known(struct doing *doing, uint64_t position, struct dbk_buf *events,
                        struct dbk_command_result *result, struct dbk_error *err)
{
    size_t count = 0;
    int rc = DBK_OK;
    dbk_buf_append_char(events, '[');
    while ((rc = read_known(doing, position + count, count + 1, events, err)) == 1)
        count++;
    dbk_buf_append_char(events, ']');
    if (rc == DBK_OK)
        rc = version_behind(doing, position + count - 1, &result->version, err);
    if (rc < 0)
        return rc;
    result->first_position = position;
    result->last_position = position + count - 1;
    result->event_count = count;
    result->known = true;
    return DBK_OK;
}

/* 1: the key was used before, and answered; 0: it is new. */
static int look_known(struct doing *doing, struct dbk_buf *events,
                      struct dbk_command_result *result, struct dbk_error *err)
{
    uint64_t position = 0;
    struct dbk_uuid id = derive_id(doing, 1);
    if (doing->command->idempotency_key.size == 0)
        return 0;
    int rc = dbk_store_find_id(doing->commands->store, &id, &position, err);
    if (rc < 0 || position == 0)
        return rc;
    rc = answer_known(doing, position, events, result, err);
    return rc < 0 ? rc : 1;
}

static int decide(struct doing *doing, uint64_t *version_out, struct dbk_decision *decision_out,
                  struct dbk_error *err)
{
    struct dbk_slice stream = dbk_buf_slice(&doing->stream);
    struct dbk_fold_result folded = {0};
    int rc = DBK_OK;
    dbk_buf_reset(&doing->state);
    if (dbk_folds_has(doing->commands->folds, dbk_stream_category(stream))) {
        rc = dbk_fold_state(doing->commands->folds, stream, NULL, &doing->state, &folded, err);
        *version_out = folded.version;
    } else {
        dbk_buf_append_text(&doing->state, "{}");
        rc = dbk_store_stream_version(doing->commands->store, stream, version_out, err);
    }
    return rc < 0 ? rc
                  : dbk_decider_decide(doing->decider, dbk_buf_slice(&doing->state), stream,
                                       *version_out, &doing->arena, decision_out, err);
}

static int append(struct doing *doing, const struct dbk_decision *decision, uint64_t version,
                  struct dbk_append_result *appended, struct dbk_error *err)
{
    struct dbk_slice own = dbk_buf_slice(&doing->stream);
    struct dbk_expectation expected = {own, (int64_t)version};
    int rc = DBK_OK;
    struct dbk_new_event *events =
        dbk_arena_alloc_zero(&doing->arena, decision->count + 1, sizeof(*events));
    if (events == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory deciding");
    for (size_t i = 0; rc == DBK_OK && i < decision->count; i++) {
        const struct dbk_decided *decided = &decision->events[i];
        events[i] = (struct dbk_new_event){
            .stream = decided->stream.size == 0 ? own : decided->stream,
            .type = decided->type,
            .data = decided->data,
            .tags = decided->tags,
            .tag_count = decided->tag_count,
            .occurred_us = decided->occurred_us,
            .flags = DBK_RECORD_JSON,
        };
        if (doing->command->idempotency_key.size > 0)
            events[i].id = derive_id(doing, i + 1);
        rc = make_meta(doing, decided, i == 0, &events[i].meta, err);
    }
    return rc < 0 ? rc
                  : doing->commands->append(doing->commands->context,
                                            &(struct dbk_batch){.events = events,
                                                                .count = decision->count,
                                                                .expectations = &expected,
                                                                .expectation_count = 1},
                                            appended, err);
}

static int refuse(const struct dbk_decision *decision, struct dbk_command_result *result,
                  struct dbk_error *err)
{
    (void)snprintf(result->refusal, sizeof(result->refusal), "%.*s",
                   DBK_SLICE_ARGS(decision->refusal));
    return dbk_error_set(err, DBK_EREFUSED, "%.*s", DBK_SLICE_ARGS(decision->text));
}

/* How many of the decided events go into the command's own stream. */
static uint64_t count_own(const struct doing *doing, const struct dbk_decision *decision)
{
    uint64_t count = 0;
    for (size_t i = 0; i < decision->count; i++)
        count += decision->events[i].stream.size == 0 ||
                 dbk_slice_equal(decision->events[i].stream, dbk_buf_slice(&doing->stream));
    return count;
}

/* One try. DBK_ECONFLICT: to be decided again. */
static int try_once(struct doing *doing, struct dbk_buf *events, struct dbk_command_result *result,
                    struct dbk_error *err)
{
    struct dbk_decision decision = {0};
    struct dbk_append_result appended = {0};
    uint64_t version = 0;
    dbk_arena_reset(&doing->arena);
    int rc = decide(doing, &version, &decision, err);
    result->version = version;
    if (rc == DBK_OK && decision.refusal.size > 0)
        rc = refuse(&decision, result, err);
    for (size_t i = 0; rc == DBK_OK && i < decision.count; i++)
        if (decision.events[i].stream.size > 0)
            rc = allow(doing, decision.events[i].stream, err);
    if (rc < 0)
        return rc;
    write_events(&decision, events);
    if (events->rc < 0)
        return dbk_error_set(err, events->rc, "the command's events: %s",
                             dbk_code_text(events->rc));
    result->event_count = decision.count;
    if (doing->command->dry_run || decision.count == 0)
        return DBK_OK;
    rc = append(doing, &decision, version, &appended, err);
    if (rc < 0)
        return rc;
    result->first_position = appended.first_position;
    result->last_position = appended.last_position;
    result->version = version + count_own(doing, &decision);
    result->known = appended.known;
    result->warnings = appended.warnings;
    return DBK_OK;
}

/*
 * The key is looked up before deciding, and again whenever nothing was appended: the same request,
 * sent twice, may have been stored in between, and what was decided then rests on its outcome.
 */
static int decide_until(struct doing *doing, struct dbk_buf *events,
                        struct dbk_command_result *result, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    size_t begun = events->size;
    int known = look_known(doing, events, result, err);
    if (known != 0)
        return known < 0 ? known : DBK_OK;
    int rc = DBK_ECONFLICT;
    while (rc == DBK_ECONFLICT && result->tries < DBK_COMMAND_TRIES) {
        result->tries++;
        events->size = begun;
        rc = try_once(doing, events, result, &failure);
        if (rc == DBK_OK && result->first_position != 0 && !result->known)
            return DBK_OK;
        size_t end = events->size;
        events->size = begun;
        known = look_known(doing, events, result, err);
        if (known != 0) {
            result->refusal[0] = 0;
            return known < 0 ? known : DBK_OK;
        }
        events->size = end;
    }
    if (rc < 0 && err != NULL)
        *err = failure;
    return rc;
}

static int run(struct doing *doing, struct dbk_buf *events, struct dbk_command_result *result,
               struct dbk_error *err)
{
    size_t begun = events->size;
    int rc = dbk_decider_begin(doing->decider, doing->command->body, err);
    if (rc == DBK_OK)
        rc = dbk_decider_stream(doing->decider, &doing->stream, err);
    if (rc == DBK_OK)
        rc = allow(doing, dbk_buf_slice(&doing->stream), err);
    if (rc < 0)
        return rc;
    (void)snprintf(result->stream, sizeof(result->stream), "%.*s",
                   DBK_SLICE_ARGS(dbk_buf_slice(&doing->stream)));
    hash_body(doing);
    rc = decide_until(doing, events, result, err);
    if (rc < 0)
        events->size = begun;
    return rc;
}

/* Its ids are of no event: the ordinal 0 is the transaction's own. */
static int do_in_service(struct doing *doing, struct entry *entry, struct dbk_buf *rows,
                         struct dbk_command_result *result, struct dbk_error *err)
{
    const struct dbk_uuid id = derive_id(doing, 0);
    hash_body(doing);
    return dbk_service_run(entry->runner, doing->command, &id, doing->hash, rows, result, err);
}

/* What changed nothing, or was answered from an earlier run, is not noted. */
static void remember(struct dbk_commands *commands, const struct entry *entry, int64_t sent_us,
                     const struct dbk_command_result *result)
{
    bool service = entry->runner != NULL;
    if (result->known || (service ? result->committed_us == 0 : result->first_position == 0))
        return;
    (void)pthread_mutex_lock(&commands->lock);
    dbk_recent_note(&commands->recent, &(struct dbk_recent_command){
                                           .id = result->id,
                                           .position_min = result->first_position,
                                           .position_max = result->last_position,
                                           .name = entry->name,
                                           .service = result->service,
                                           .sent_us = sent_us,
                                           .done_us = service ? result->committed_us : now_us()});
    (void)pthread_mutex_unlock(&commands->lock);
}

int dbk_command_do(struct dbk_commands *commands, const struct dbk_command *command,
                   struct dbk_buf *events, struct dbk_command_result *result_out,
                   struct dbk_error *err)
{
    struct entry *entry = NULL;
    struct pooled *pooled = NULL;
    struct doing doing = {.commands = commands, .command = command};
    int64_t sent_us = now_us();
    *result_out = (struct dbk_command_result){0};
    int rc = find(commands, command->name, &entry, err);
    if (entry != NULL && entry->runner != NULL) {
        rc = do_in_service(&doing, entry, events, result_out, err);
        if (rc == DBK_OK)
            remember(commands, entry, sent_us, result_out);
        return rc;
    }
    if (rc == DBK_OK)
        rc = take(commands, entry, &pooled, err);
    if (rc < 0)
        return rc;
    doing.decider = pooled->decider;
    dbk_arena_init(&doing.arena, ARENA_SIZE_MAX);
    dbk_buf_init(&doing.stream, DBK_STREAM_SIZE_MAX);
    dbk_buf_init(&doing.state, STATE_SIZE_MAX);
    dbk_buf_init(&doing.meta, STATE_SIZE_MAX);
    rc = run(&doing, events, result_out, err);
    if (rc == DBK_OK)
        remember(commands, entry, sent_us, result_out);
    dbk_buf_release(&doing.meta);
    dbk_buf_release(&doing.state);
    dbk_buf_release(&doing.stream);
    dbk_arena_release(&doing.arena);
    give(commands, entry, pooled, rc != DBK_ESCRIPT);
    return rc;
}

bool dbk_commands_moments(struct dbk_commands *commands, const struct dbk_event *event,
                          struct dbk_command_moments *moments_out)
{
    char since[DBK_TIME_TEXT_SIZE];
    *moments_out = (struct dbk_command_moments){0};
    (void)pthread_mutex_lock(&commands->lock);
    const struct dbk_recent_command *found = dbk_recent_of(&commands->recent, event);
    bool forgets = commands->recent.count > DBK_RECENT_COMMANDS;
    if (found != NULL)
        *moments_out = (struct dbk_command_moments){.name = found->name,
                                                    .service = found->service,
                                                    .sent_us = found->sent_us,
                                                    .done_us = found->done_us};
    (void)pthread_mutex_unlock(&commands->lock);
    (void)dbk_time_format(commands->since_us, since);
    if (found == NULL && event->time_us < commands->since_us)
        (void)snprintf(moments_out->why, sizeof(moments_out->why),
                       "before this process began, at %s", since);
    else if (found == NULL && forgets)
        (void)snprintf(moments_out->why, sizeof(moments_out->why),
                       "not among the last %d commands, which are remembered", DBK_RECENT_COMMANDS);
    return found != NULL;
}

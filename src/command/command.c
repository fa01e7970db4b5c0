/* SPDX-License-Identifier: Apache-2.0 */
#include "command/command.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#include "base/diagnostics.h"
#include "command/decide.h"

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
};

struct dbk_commands {
    struct dbk_store *store;
    struct dbk_folds *folds;
    dbk_append_fn append;
    void *context;
    pthread_mutex_t lock;
    struct entry *items;
    size_t count;
};

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

static void give(struct dbk_commands *commands, struct entry *entry, struct pooled *pooled)
{
    if (pooled == NULL)
        return;
    (void)pthread_mutex_lock(&commands->lock);
    bool kept = entry->free_count < DECIDERS_MAX;
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
    give(commands, entry, pooled);
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

/* The members of an object's text, without its braces; empty when it has none. */
static struct dbk_slice members(struct dbk_slice object)
{
    size_t begin = 1;
    size_t end = object.size == 0 ? 0 : object.size - 1;
    while (begin < end && strchr(" \t\r\n", object.data[begin]) != NULL)
        begin++;
    return begin < end ? dbk_slice(object.data + begin, end - begin) : (struct dbk_slice){0};
}

/* Meta of an event: the request's, what tells a repeated key, and the event's own. */
static int make_meta(struct doing *doing, const struct dbk_decided *event, bool first,
                     struct dbk_slice *meta_out, struct dbk_error *err)
{
    struct dbk_buf *out = &doing->meta;
    struct dbk_slice parts[2] = {members(doing->command->meta), members(event->meta)};
    bool none = true;
    dbk_buf_reset(out);
    dbk_buf_append_char(out, '{');
    if (doing->command->idempotency_key.size > 0 && first) {
        dbk_json_write_key(out, &none, "command");
        dbk_json_write_string(out, doing->command->name);
        dbk_json_write_key(out, &none, "commandhash");
        dbk_json_write_string(out, dbk_slice_of(doing->hash));
    }
    for (size_t i = 0; i < 2; i++) {
        if (parts[i].size == 0)
            continue;
        if (!none)
            dbk_buf_append_char(out, ',');
        dbk_buf_append(out, parts[i]);
        none = false;
    }
    dbk_buf_append_char(out, '}');
    *meta_out = none ? (struct dbk_slice){0} : dbk_arena_copy(&doing->arena, dbk_buf_slice(out));
    return out->rc < 0 || (!none && meta_out->data == NULL)
               ? dbk_error_set(err, DBK_ENOMEM, "out of memory deciding")
               : DBK_OK;
}

static void write_events(const struct dbk_decision *decision, struct dbk_buf *events)
{
    dbk_buf_append_char(events, '[');
    for (size_t i = 0; i < decision->count; i++) {
        bool first = true;
        dbk_buf_append_text(events, i == 0 ? "{" : ",{");
        dbk_json_write_key(events, &first, "type");
        dbk_json_write_string(events, decision->events[i].type);
        dbk_json_write_key(events, &first, "data");
        dbk_buf_append(events, decision->events[i].data);
        dbk_buf_append_char(events, '}');
    }
    dbk_buf_append_char(events, ']');
}

static int read_event(struct dbk_store *store, uint64_t position, struct dbk_cursor **cursor_out,
                      struct dbk_event *event_out, struct dbk_error *err)
{
    int rc = dbk_cursor_open(
        store,
        &(struct dbk_filter){.position_min = position, .position_max = position, .hidden = true},
        cursor_out, err);
    return rc < 0 ? rc : dbk_cursor_next(*cursor_out, event_out, err);
}

static bool same_body(const struct doing *doing, const struct dbk_event *event)
{
    struct dbk_json *json = dbk_json_create(STATE_SIZE_MAX);
    const struct dbk_json_node *root = NULL;
    bool same = false;
    if (json != NULL && event->meta.size > 0 &&
        dbk_json_parse(json, event->meta, &root, NULL) == DBK_OK) {
        const struct dbk_json_node *hash = dbk_json_member(root, "commandhash");
        same = hash != NULL && hash->kind == DBK_JSON_STRING &&
               dbk_slice_equal_text(hash->text, doing->hash);
    }
    dbk_json_free(json);
    return same;
}

/* The events of an earlier run follow each other in the log: each has the id of its ordinal. */
static int answer_known(struct doing *doing, uint64_t position, struct dbk_buf *events,
                        struct dbk_command_result *result, struct dbk_error *err)
{
    int rc = DBK_OK;
    dbk_buf_append_char(events, '[');
    result->first_position = position;
    for (size_t ordinal = 1; rc == DBK_OK; ordinal++, position++) {
        struct dbk_cursor *cursor = NULL;
        struct dbk_event event;
        struct dbk_uuid id = derive_id(doing, ordinal);
        bool first = true;
        rc = read_event(doing->commands->store, position, &cursor, &event, err);
        bool ours = rc == 1 && dbk_uuid_equal(&event.id, &id);
        if (ours && ordinal == 1 && !same_body(doing, &event))
            rc = dbk_error_set(err, DBK_ECONFLICT,
                               "the idempotency key was used for another %.*s before, at position "
                               "%" PRIu64,
                               DBK_SLICE_ARGS(doing->command->name), position);
        else if (ours) {
            dbk_buf_append_text(events, ordinal == 1 ? "{" : ",{");
            dbk_json_write_key(events, &first, "type");
            dbk_json_write_string(events, event.type);
            dbk_json_write_key(events, &first, "data");
            dbk_buf_append(events, event.data);
            dbk_buf_append_char(events, '}');
            (void)snprintf(result->stream, sizeof(result->stream), "%.*s",
                           DBK_SLICE_ARGS(event.stream));
            result->version = event.version;
            result->last_position = position;
            result->event_count = ordinal;
        }
        dbk_cursor_free(cursor);
        if (rc >= 0 && !ours)
            break;
        rc = rc < 0 ? rc : DBK_OK;
    }
    dbk_buf_append_char(events, ']');
    result->known = rc >= 0;
    return rc < 0 ? rc : DBK_OK;
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

/* One try. 1: a conflict, to be decided again. */
static int try_once(struct doing *doing, struct dbk_buf *events, struct dbk_command_result *result,
                    struct dbk_error *err)
{
    struct dbk_decision decision;
    struct dbk_append_result appended = {0};
    uint64_t version = 0;
    size_t begun = events->size;
    dbk_arena_reset(&doing->arena);
    int rc = look_known(doing, events, result, err);
    if (rc != 0)
        return rc < 0 ? rc : DBK_OK;
    rc = decide(doing, &version, &decision, err);
    if (rc < 0)
        return rc;
    result->version = version;
    if (decision.refusal.size > 0)
        return refuse(&decision, result, err);
    write_events(&decision, events);
    result->event_count = decision.count;
    if (doing->command->dry_run || decision.count == 0)
        return DBK_OK;
    rc = append(doing, &decision, version, &appended, err);
    if (rc == DBK_ECONFLICT) {
        events->size = begun;
        return 1;
    }
    if (rc < 0)
        return rc;
    result->first_position = appended.first_position;
    result->last_position = appended.last_position;
    result->known = appended.known;
    return dbk_store_stream_version(doing->commands->store, dbk_buf_slice(&doing->stream),
                                    &result->version, err);
}

static int run(struct doing *doing, struct dbk_buf *events, struct dbk_command_result *result,
               struct dbk_error *err)
{
    int rc = dbk_decider_begin(doing->decider, doing->command->body, err);
    if (rc == DBK_OK)
        rc = dbk_decider_stream(doing->decider, &doing->stream, err);
    if (rc < 0)
        return rc;
    (void)snprintf(result->stream, sizeof(result->stream), "%.*s",
                   DBK_SLICE_ARGS(dbk_buf_slice(&doing->stream)));
    hash_body(doing);
    rc = 1;
    while (rc == 1 && result->tries < DBK_COMMAND_TRIES) {
        result->tries++;
        rc = try_once(doing, events, result, err);
    }
    return rc == 1 ? DBK_ECONFLICT : rc;
}

int dbk_command_do(struct dbk_commands *commands, const struct dbk_command *command,
                   struct dbk_buf *events, struct dbk_command_result *result_out,
                   struct dbk_error *err)
{
    struct entry *entry = NULL;
    struct pooled *pooled = NULL;
    struct doing doing = {.commands = commands, .command = command};
    *result_out = (struct dbk_command_result){0};
    int rc = find(commands, command->name, &entry, err);
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
    dbk_buf_release(&doing.meta);
    dbk_buf_release(&doing.state);
    dbk_buf_release(&doing.stream);
    dbk_arena_release(&doing.arena);
    give(commands, entry, pooled);
    return rc;
}

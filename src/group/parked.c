/* SPDX-License-Identifier: Apache-2.0 */
/* What is put aside, and its history in `$parked-<name>`. */
#include <string.h>

#include "group/state.h"

size_t dbk_group_parked_place(const struct dbk_group *group, uint64_t position)
{
    size_t low = 0;
    size_t high = group->parked_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (group->parked[middle].position < position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool dbk_group_is_parked(const struct dbk_group *group, uint64_t position)
{
    size_t at = dbk_group_parked_place(group, position);
    return at < group->parked_count && group->parked[at].position == position;
}

static int reserve(struct dbk_group *group, size_t count, struct dbk_error *err)
{
    size_t capacity = group->parked_capacity == 0 ? 16 : group->parked_capacity;
    while (capacity < group->parked_count + count)
        capacity *= 2;
    if (capacity == group->parked_capacity)
        return DBK_OK;
    struct dbk_group_put_aside *parked =
        dbk_realloc(group->parked, capacity * sizeof(*group->parked));
    if (parked == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory parking events");
    group->parked = parked;
    group->parked_capacity = capacity;
    return DBK_OK;
}

/* There is room for it. */
static void put_aside(struct dbk_group *group, uint64_t position, uint64_t stream)
{
    size_t at = dbk_group_parked_place(group, position);
    if (at < group->parked_count && group->parked[at].position == position)
        return;
    memmove(group->parked + at + 1, group->parked + at,
            (group->parked_count - at) * sizeof(*group->parked));
    group->parked[at] = (struct dbk_group_put_aside){position, stream};
    group->parked_count++;
}

static void take_back(struct dbk_group *group, uint64_t position)
{
    size_t at = dbk_group_parked_place(group, position);
    if (at == group->parked_count || group->parked[at].position != position)
        return;
    group->parked_count--;
    memmove(group->parked + at, group->parked + at + 1,
            (group->parked_count - at) * sizeof(*group->parked));
}

/* ---- The history ---- */

/* Calls each with every event of the history that still counts. */
typedef int (*history_fn)(struct dbk_group *group, const struct dbk_event *event,
                          const struct dbk_json_node *root, void *context, struct dbk_error *err);

static int walk(struct dbk_group *group, history_fn each, void *context, struct dbk_error *err)
{
    char name[DBK_GROUP_NAME_MAX + 16];
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    struct dbk_filter filter = {.stream = dbk_group_stream(group, DBK_GROUP_PARKED_PREFIX, name),
                                .version_min = group->parked_after + 1,
                                .hidden = true};
    struct dbk_json *json = dbk_json_create(DBK_GROUP_TEXT_MAX);
    int rc = json == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory reading a group")
                          : dbk_cursor_open(group->groups->store, &filter, &cursor, err);
    while (rc == DBK_OK) {
        const struct dbk_json_node *root = NULL;
        rc = dbk_cursor_next(cursor, &event, err);
        if (rc != 1)
            break;
        rc = dbk_json_parse(json, event.data, &root, NULL);
        rc = rc < 0 ? dbk_error_set(err, DBK_ECORRUPT, "group %s: position %ju makes no sense",
                                    group->name, (uintmax_t)event.position)
                    : each(group, &event, root, context, err);
    }
    dbk_cursor_free(cursor);
    dbk_json_free(json);
    return rc;
}

static uint64_t number_of(const struct dbk_json_node *root, const char *key)
{
    const struct dbk_json_node *node = dbk_json_member(root, key);
    return node == NULL || node->kind != DBK_JSON_INTEGER || node->integer < 0
               ? 0
               : (uint64_t)node->integer;
}

static int load_one(struct dbk_group *group, const struct dbk_event *event,
                    const struct dbk_json_node *root, void *context, struct dbk_error *err)
{
    (void)context;
    group->parked_version = event->version;
    if (dbk_slice_equal_text(event->type, "EventParked")) {
        const struct dbk_json_node *stream = dbk_json_member(root, "stream");
        uint64_t position = number_of(root, "position");
        int rc = reserve(group, 1, err);
        if (rc < 0 || stream == NULL || stream->kind != DBK_JSON_STRING || position == 0)
            return rc;
        put_aside(group, position, dbk_group_stream_key(stream->text));
        return DBK_OK;
    }
    const struct dbk_json_node *list = dbk_json_member(root, "positions");
    const struct dbk_json_node *node = dbk_json_first(list);
    for (uint32_t i = 0; list != NULL && i < list->count; i++, node = dbk_json_sibling(node)) {
        if (node->kind == DBK_JSON_INTEGER)
            take_back(group, (uint64_t)node->integer);
    }
    return DBK_OK;
}

int dbk_group_load_parked(struct dbk_group *group, struct dbk_error *err)
{
    group->parked_version = group->parked_after;
    return walk(group, load_one, NULL, err);
}

/* ---- Parking ---- */

void dbk_group_write_parked(struct dbk_buf *out, uint64_t position, uint32_t attempts,
                            const struct dbk_event *event, const char *reason)
{
    dbk_buf_append_format(out, "{\"position\":%ju,\"stream\":", (uintmax_t)position);
    dbk_json_write_string(out, event->stream);
    dbk_buf_append_format(out, ",\"version\":%ju,\"type\":", (uintmax_t)event->version);
    dbk_json_write_string(out, event->type);
    dbk_buf_append_format(out, ",\"attempts\":%u,\"reason\":", attempts);
    dbk_json_write_string(out, dbk_slice_of(reason));
    dbk_buf_append_char(out, '}');
}

struct parking {
    struct dbk_group *group;
    struct dbk_slice stream;
    struct dbk_arena arena;
    struct dbk_new_event *events;
    uint64_t *streams; /* hashes, of each event */
    uint64_t *positions;
    size_t count;
};

/* What becomes of one entry: an event of the history, or nothing when it was removed. */
static int prepare(struct parking *parking, struct dbk_group_entry *entry, const char *reason,
                   struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    struct dbk_buf text;
    dbk_buf_init(&text, DBK_GROUP_TEXT_MAX);
    int rc = dbk_group_event_at(parking->group, entry->position, &cursor, &event, err);
    if (rc == 1) {
        if (reason == NULL)
            reason = entry->reason == NULL ? "" : entry->reason;
        dbk_group_write_parked(&text, entry->position, entry->attempts, &event, reason);
        struct dbk_slice data = dbk_arena_copy(&parking->arena, dbk_buf_slice(&text));
        parking->events[parking->count] = dbk_group_event(parking->stream, "EventParked", data);
        parking->streams[parking->count] = entry->stream;
        parking->positions[parking->count] = entry->position;
        parking->count++;
        if (text.rc < 0 || data.data == NULL)
            rc = dbk_error_set(err, DBK_ENOMEM, "out of memory parking events");
    }
    dbk_cursor_free(cursor);
    dbk_buf_release(&text);
    return rc < 0 ? rc : DBK_OK;
}

static int park(struct parking *parking, const size_t *indexes, size_t count, const char *reason,
                struct dbk_error *err)
{
    struct dbk_group *group = parking->group;
    enum dbk_group_entry_state *before =
        dbk_arena_alloc_zero(&parking->arena, count, sizeof(*before));
    parking->events = dbk_arena_alloc_zero(&parking->arena, count, sizeof(*parking->events));
    parking->streams = dbk_arena_alloc_zero(&parking->arena, count, sizeof(uint64_t));
    parking->positions = dbk_arena_alloc_zero(&parking->arena, count, sizeof(uint64_t));
    if (before == NULL || parking->events == NULL || parking->streams == NULL ||
        parking->positions == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory parking events");
    int rc = reserve(group, count, err);
    for (size_t i = 0; rc == DBK_OK && i < count; i++)
        rc = prepare(parking, &group->entries[indexes[i]], reason, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < count; i++) {
        before[i] = group->entries[indexes[i]].state;
        group->entries[indexes[i]].state = DBK_ENTRY_DONE;
    }
    rc = dbk_group_save(group, parking->events, parking->count, err);
    for (size_t i = 0; rc < 0 && i < count; i++)
        group->entries[indexes[i]].state = before[i];
    for (size_t i = 0; rc == DBK_OK && i < parking->count; i++)
        put_aside(group, parking->positions[i], parking->streams[i]);
    if (rc == DBK_OK)
        group->parked_version += parking->count;
    return rc;
}

int dbk_group_park(struct dbk_group *group, const size_t *indexes, size_t count, const char *reason,
                   struct dbk_error *err)
{
    char name[DBK_GROUP_NAME_MAX + 16];
    struct parking parking = {.group = group,
                              .stream = dbk_group_stream(group, DBK_GROUP_PARKED_PREFIX, name)};
    if (group->parked_count + count > DBK_GROUP_PARKED_MAX)
        return dbk_error_set(err, DBK_ELIMIT,
                             "group %s has %zu parked events, at most %d are kept: replay or drop "
                             "some",
                             group->name, group->parked_count, DBK_GROUP_PARKED_MAX);
    dbk_arena_init(&parking.arena, DBK_GROUP_TEXT_MAX);
    int rc = park(&parking, indexes, count, reason, err);
    dbk_arena_release(&parking.arena);
    return rc;
}

/* ---- Replaying and dropping ---- */

struct unparking {
    struct dbk_group *group;
    struct dbk_group_put_aside *taken;
    size_t count;
    bool replay;
};

static int take_all(struct unparking *unparking, const uint64_t *positions, size_t count,
                    struct dbk_error *err)
{
    struct dbk_group *group = unparking->group;
    size_t wanted = count == 0 ? group->parked_count : count;
    unparking->taken = dbk_alloc_zero(wanted + 1, sizeof(*unparking->taken));
    if (unparking->taken == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory taking parked events");
    for (size_t i = 0; i < wanted; i++) {
        uint64_t position = count == 0 ? group->parked[0].position : positions[i];
        size_t at = dbk_group_parked_place(group, position);
        if (!dbk_group_is_parked(group, position))
            return dbk_error_set(err, DBK_ENOTFOUND, "position %ju is not parked in group %s",
                                 (uintmax_t)position, group->name);
        unparking->taken[unparking->count++] = group->parked[at];
        take_back(group, position);
    }
    return DBK_OK;
}

/* What stays parked of a stream must not come before what is replayed. */
static int check_order(const struct unparking *unparking, struct dbk_error *err)
{
    const struct dbk_group *group = unparking->group;
    for (size_t i = 0; i < unparking->count; i++) {
        const struct dbk_group_put_aside *taken = &unparking->taken[i];
        for (size_t j = 0; j < group->parked_count; j++) {
            const struct dbk_group_put_aside *left = &group->parked[j];
            if (left->position > taken->position)
                break;
            if (left->stream == taken->stream)
                return dbk_error_set(err, DBK_ECONFLICT,
                                     "group %s keeps the order of streams: position %ju comes "
                                     "before %ju",
                                     group->name, (uintmax_t)left->position,
                                     (uintmax_t)taken->position);
        }
    }
    return DBK_OK;
}

static int save_unparked(struct unparking *unparking, struct dbk_error *err)
{
    char name[DBK_GROUP_NAME_MAX + 16];
    struct dbk_group *group = unparking->group;
    struct dbk_buf text;
    int rc = DBK_OK;
    dbk_buf_init(&text, DBK_GROUP_TEXT_MAX);
    dbk_buf_append_text(&text, "{\"positions\":[");
    for (size_t i = 0; i < unparking->count && rc == DBK_OK; i++) {
        dbk_buf_append_format(&text, "%s%ju", i == 0 ? "" : ",",
                              (uintmax_t)unparking->taken[i].position);
        if (unparking->replay)
            rc = dbk_group_add(group, unparking->taken[i].position, unparking->taken[i].stream, 0,
                               err);
    }
    dbk_buf_append_text(&text, "]}");
    struct dbk_new_event event = dbk_group_event(
        dbk_group_stream(group, DBK_GROUP_PARKED_PREFIX, name),
        unparking->replay ? "ParkedReplayed" : "ParkedDropped", dbk_buf_slice(&text));
    uint64_t after = group->parked_after;
    if (group->parked_count == 0)
        group->parked_after = group->parked_version + 1;
    if (rc == DBK_OK)
        rc = text.rc < 0
                 ? dbk_error_set(err, text.rc, "group %s: %s", group->name, dbk_code_text(text.rc))
                 : dbk_group_save(group, &event, 1, err);
    dbk_buf_release(&text);
    if (rc == DBK_OK)
        group->parked_version++;
    else
        group->parked_after = after;
    return rc;
}

static void give_back(struct unparking *unparking)
{
    struct dbk_group *group = unparking->group;
    for (size_t i = 0; i < unparking->count; i++) {
        const struct dbk_group_put_aside *taken = &unparking->taken[i];
        size_t at = dbk_group_place(group, taken->position);
        if (at < group->count && group->entries[at].position == taken->position)
            group->entries[at].state = DBK_ENTRY_DONE;
        put_aside(group, taken->position, taken->stream);
    }
    dbk_group_sweep(group);
}

int dbk_group_unpark(struct dbk_groups *groups, struct dbk_slice name, bool replay,
                     const uint64_t *positions, size_t count, size_t *count_out,
                     struct dbk_error *err)
{
    struct unparking unparking = {.replay = replay};
    *count_out = 0;
    int rc = dbk_group_find(groups, name, &unparking.group, err);
    if (rc < 0)
        return rc;
    rc = take_all(&unparking, positions, count, err);
    if (rc == DBK_OK && replay && unparking.group->settings.ordered)
        rc = check_order(&unparking, err);
    if (rc == DBK_OK && unparking.count > 0)
        rc = save_unparked(&unparking, err);
    if (rc < 0)
        give_back(&unparking);
    else
        *count_out = unparking.count;
    dbk_group_wake(unparking.group);
    (void)pthread_mutex_unlock(&unparking.group->lock);
    dbk_free(unparking.taken);
    return rc;
}

/* ---- Listing ---- */

struct recipient {
    dbk_group_parked_fn each;
    void *context;
};

/* The newest time that each was parked, by its place. */
static int note_version(struct dbk_group *group, const struct dbk_event *event,
                        const struct dbk_json_node *root, void *context, struct dbk_error *err)
{
    uint64_t *versions = context;
    uint64_t position = number_of(root, "position");
    (void)err;
    if (dbk_slice_equal_text(event->type, "EventParked") && dbk_group_is_parked(group, position))
        versions[dbk_group_parked_place(group, position)] = event->version;
    return DBK_OK;
}

static int show(const struct dbk_event *event, const struct dbk_json_node *root,
                dbk_group_parked_fn each, void *context)
{
    const struct dbk_json_node *stream = dbk_json_member(root, "stream");
    const struct dbk_json_node *type = dbk_json_member(root, "type");
    const struct dbk_json_node *reason = dbk_json_member(root, "reason");
    struct dbk_group_parked parked = {.position = number_of(root, "position"),
                                      .version = number_of(root, "version"),
                                      .attempts = number_of(root, "attempts"),
                                      .time_us = event->time_us};
    if (stream != NULL && stream->kind == DBK_JSON_STRING)
        parked.stream = stream->text;
    if (type != NULL && type->kind == DBK_JSON_STRING)
        parked.type = type->text;
    if (reason != NULL && reason->kind == DBK_JSON_STRING)
        parked.reason = reason->text;
    return each(&parked, context);
}

static int show_all(struct dbk_group *group, const uint64_t *versions, struct dbk_json *json,
                    const struct recipient *to, struct dbk_error *err)
{
    char name[DBK_GROUP_NAME_MAX + 16];
    struct dbk_slice stream = dbk_group_stream(group, DBK_GROUP_PARKED_PREFIX, name);
    int rc = DBK_OK;
    for (size_t i = 0; rc >= 0 && i < group->parked_count; i++) {
        struct dbk_cursor *cursor = NULL;
        const struct dbk_json_node *root = NULL;
        struct dbk_event event;
        struct dbk_filter filter = {.stream = stream,
                                    .version_min = versions[i],
                                    .version_max = versions[i],
                                    .hidden = true};
        rc = dbk_cursor_open(group->groups->store, &filter, &cursor, err);
        if (rc == DBK_OK)
            rc = dbk_cursor_next(cursor, &event, err);
        if (rc == 1)
            rc = dbk_json_parse(json, event.data, &root, err);
        if (rc == DBK_OK && root != NULL)
            rc = show(&event, root, to->each, to->context);
        dbk_cursor_free(cursor);
    }
    return rc < 0 ? rc : DBK_OK;
}

int dbk_group_list_parked(struct dbk_groups *groups, struct dbk_slice name,
                          dbk_group_parked_fn each, void *context, struct dbk_error *err)
{
    struct dbk_group *group = NULL;
    int rc = dbk_group_find(groups, name, &group, err);
    if (rc < 0)
        return rc;
    uint64_t *versions = dbk_alloc_zero(group->parked_count + 1, sizeof(*versions));
    struct dbk_json *json = dbk_json_create(DBK_GROUP_TEXT_MAX);
    if (versions == NULL || json == NULL)
        rc = dbk_error_set(err, DBK_ENOMEM, "out of memory listing parked events");
    if (rc == DBK_OK)
        rc = walk(group, note_version, versions, err);
    if (rc == DBK_OK)
        rc = show_all(group, versions, json, &(struct recipient){each, context}, err);
    (void)pthread_mutex_unlock(&group->lock);
    dbk_json_free(json);
    dbk_free(versions);
    return rc;
}

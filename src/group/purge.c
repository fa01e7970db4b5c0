/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What histories of parked events say of events that are forgotten: a reason may quote what the
 * event said. Such a history is written anew behind itself without them, and what it was before is
 * left out of the stream, so that the next compaction takes it.
 */
#include <stdio.h>
#include <string.h>

#include "group/state.h"

/* Events of the history that are written anew in one batch. */
#define COPIES_MAX 200

struct purging {
    struct dbk_groups *groups;
    const struct dbk_group_purge *purge;
    struct dbk_group_purged *purged;
    struct dbk_json *json;
};

/* The position that an event of a history is about; 0: it is none that was parked. */
static uint64_t parked_position(struct dbk_json *json, const struct dbk_event *event)
{
    const struct dbk_json_node *root = NULL;
    if (!dbk_slice_equal_text(event->type, "EventParked") ||
        dbk_json_parse(json, event->data, &root, NULL) < 0)
        return 0;
    const struct dbk_json_node *node = dbk_json_member(root, "position");
    return node == NULL || node->kind != DBK_JSON_INTEGER || node->integer <= 0
               ? 0
               : (uint64_t)node->integer;
}

static int is_meant(const struct purging *purging, uint64_t position, struct dbk_error *err)
{
    return position == 0 ? 0 : purging->purge->is_meant(purging->purge->context, position, err);
}

/* What is still shown of a history from a version on. */
static int open_history(struct purging *purging, struct dbk_slice stream, uint64_t version_min,
                        struct dbk_cursor **cursor_out, struct dbk_error *err)
{
    return dbk_cursor_open(
        purging->groups->store,
        &(struct dbk_filter){.stream = stream, .version_min = version_min, .hidden = true},
        cursor_out, err);
}

/* Appends copies of what stays parked: the newest of each position. */
struct copying {
    struct dbk_arena arena;
    struct dbk_new_event events[COPIES_MAX];
    size_t count;
};

static int flush(struct dbk_group *group, struct copying *copying, struct dbk_error *err)
{
    int rc =
        copying->count == 0 ? DBK_OK : dbk_group_save(group, copying->events, copying->count, err);
    if (rc == DBK_OK)
        group->parked_version += copying->count;
    copying->count = 0;
    dbk_arena_reset(&copying->arena);
    return rc;
}

static int copy_one(struct dbk_group *group, struct copying *copying, struct dbk_slice stream,
                    const struct dbk_event *event, struct dbk_error *err)
{
    struct dbk_slice data = dbk_arena_copy(&copying->arena, event->data);
    if (data.data == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory purging group %s", group->name);
    copying->events[copying->count++] = dbk_group_event(stream, "EventParked", data);
    return copying->count < COPIES_MAX ? DBK_OK : flush(group, copying, err);
}

/* One walk over the history up to a version: without `copying` it notes the newest version of each
   position that is parked, with it these are copied. */
static int walk(struct purging *purging, struct dbk_group *group, struct dbk_slice stream,
                uint64_t version_max, uint64_t *versions, struct copying *copying,
                struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    int rc = open_history(purging, stream, group->parked_after + 1, &cursor, err);
    while (rc == DBK_OK && (rc = dbk_cursor_next(cursor, &event, err)) == 1) {
        rc = DBK_OK;
        if (event.version > version_max)
            break;
        uint64_t position = parked_position(purging->json, &event);
        size_t place = dbk_group_parked_place(group, position);
        if (!dbk_group_is_parked(group, position))
            continue;
        if (copying == NULL)
            versions[place] = event.version;
        else if (versions[place] == event.version)
            rc = copy_one(group, copying, stream, &event, err);
    }
    dbk_cursor_free(cursor);
    return rc;
}

static int copy_rest(struct purging *purging, struct dbk_group *group, struct dbk_slice stream,
                     uint64_t version_max, struct dbk_error *err)
{
    struct copying copying = {0};
    uint64_t *versions = dbk_alloc_zero(group->parked_count + 1, sizeof(*versions));
    if (versions == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory purging group %s", group->name);
    dbk_arena_init(&copying.arena, DBK_GROUP_TEXT_MAX * COPIES_MAX);
    int rc = walk(purging, group, stream, version_max, versions, NULL, err);
    if (rc == DBK_OK)
        rc = walk(purging, group, stream, version_max, versions, &copying, err);
    if (rc == DBK_OK)
        rc = flush(group, &copying, err);
    dbk_arena_release(&copying.arena);
    dbk_free(versions);
    return rc;
}

/* Those that are parked now are dropped; open ones lose the reason that they failed for. */
static int drop_meant(struct purging *purging, struct dbk_group *group, struct dbk_error *err)
{
    for (size_t i = group->parked_count; i-- > 0;) {
        int meant = is_meant(purging, group->parked[i].position, err);
        if (meant < 0)
            return meant;
        if (meant == 0)
            continue;
        group->parked_count--;
        memmove(group->parked + i, group->parked + i + 1,
                (group->parked_count - i) * sizeof(*group->parked));
        purging->purged->parked++;
    }
    for (size_t i = 0; i < group->count; i++) {
        struct dbk_group_entry *entry = &group->entries[i];
        int meant = entry->reason == NULL ? 0 : is_meant(purging, entry->position, err);
        if (meant < 0)
            return meant;
        if (meant == 1) {
            dbk_free(entry->reason);
            entry->reason = NULL;
        }
    }
    return DBK_OK;
}

/* Locked. What fails half-way is found again in the history. */
static int purge_group(struct purging *purging, struct dbk_group *group, struct dbk_slice stream,
                       struct dbk_error *err)
{
    uint64_t before = group->parked_version;
    uint64_t after = group->parked_after;
    int rc = drop_meant(purging, group, err);
    if (rc == DBK_OK)
        rc = copy_rest(purging, group, stream, before, err);
    if (rc == DBK_OK) {
        group->parked_after = before;
        rc = dbk_group_save(group, NULL, 0, err);
    }
    if (rc < 0) {
        group->parked_after = after;
        struct dbk_error failure = {0};
        int loaded = dbk_group_load(group, &failure);
        if (loaded < 0)
            dbk_group_forget(group);
    }
    return rc;
}

static int truncate(struct purging *purging, struct dbk_slice stream, uint64_t version,
                    struct dbk_error *err)
{
    struct dbk_append_result result;
    return dbk_store_set_rules(purging->groups->store, stream,
                               &(struct dbk_stream_rules){.truncate_before = version}, &result,
                               err);
}

static int purge_stream(struct purging *purging, struct dbk_slice stream, struct dbk_error *err)
{
    struct dbk_group *group = NULL;
    struct dbk_error failure = {0};
    uint64_t first = 0;
    struct dbk_slice name = dbk_slice(stream.data + strlen(DBK_GROUP_PARKED_PREFIX),
                                      stream.size - strlen(DBK_GROUP_PARKED_PREFIX));
    int rc = dbk_group_find(purging->groups, name, &group, &failure);
    if (rc == DBK_OK) {
        rc = purge_group(purging, group, stream, err);
        first = group->parked_after + 1;
        (void)pthread_mutex_unlock(&group->lock);
    } else if (rc == DBK_ENOTFOUND) {
        /* The group is gone, and nobody reads its history. */
        rc = dbk_store_stream_version(purging->groups->store, stream, &first, err);
        first++;
    } else if (err != NULL) {
        *err = failure;
    }
    if (rc == DBK_OK)
        rc = truncate(purging, stream, first, err);
    purging->purged->groups += rc == DBK_OK;
    return rc;
}

/* A history that still shows one of the events is remembered, once. */
struct streams {
    struct dbk_arena arena;
    struct dbk_slice names[256];
    size_t count;
};

static bool is_listed(const struct streams *streams, struct dbk_slice name)
{
    for (size_t i = 0; i < streams->count; i++) {
        if (dbk_slice_equal(streams->names[i], name))
            return true;
    }
    return false;
}

static int look_at(struct purging *purging, struct streams *streams, const struct dbk_event *event,
                   struct dbk_error *err)
{
    struct dbk_stream_info info;
    if (is_listed(streams, event->stream))
        return DBK_OK;
    int rc = is_meant(purging, parked_position(purging->json, event), err);
    if (rc <= 0)
        return rc;
    rc = dbk_store_stream_info(purging->groups->store, event->stream, &info, err);
    if (rc < 0 || event->version < info.first)
        return rc;
    struct dbk_slice name = dbk_arena_copy(&streams->arena, event->stream);
    if (name.data == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory purging groups");
    streams->names[streams->count++] = name;
    return DBK_OK;
}

/* As many as there is room for; 1: there may be more. */
static int find_streams(struct purging *purging, struct streams *streams, struct dbk_error *err)
{
    static const struct dbk_slice category = {.data = "$parked", .size = 7};
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    size_t room = sizeof(streams->names) / sizeof(streams->names[0]);
    int rc = dbk_cursor_open(
        purging->groups->store,
        &(struct dbk_filter){.categories = &category, .category_count = 1, .hidden = true}, &cursor,
        err);
    while (rc == DBK_OK && streams->count < room &&
           (rc = dbk_cursor_next(cursor, &event, err)) == 1)
        rc = look_at(purging, streams, &event, err);
    dbk_cursor_free(cursor);
    return rc < 0 ? rc : streams->count == room;
}

int dbk_groups_purge(struct dbk_groups *groups, const struct dbk_group_purge *purge,
                     struct dbk_group_purged *purged_out, struct dbk_error *err)
{
    struct purging purging = {.groups = groups, .purge = purge, .purged = purged_out};
    int rc = DBK_OK;
    bool more = true;
    *purged_out = (struct dbk_group_purged){0};
    purging.json = dbk_json_create(DBK_GROUP_TEXT_MAX);
    if (purging.json == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory purging groups");
    while (rc == DBK_OK && more) {
        struct streams streams = {0};
        dbk_arena_init(&streams.arena, DBK_GROUP_TEXT_MAX);
        rc = find_streams(&purging, &streams, err);
        more = rc == 1;
        for (size_t i = 0; rc >= 0 && i < streams.count; i++)
            rc = purge_stream(&purging, streams.names[i], err);
        dbk_arena_release(&streams.arena);
        rc = rc < 0 ? rc : DBK_OK;
    }
    dbk_json_free(purging.json);
    return rc;
}

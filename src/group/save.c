/* SPDX-License-Identifier: Apache-2.0 */
/* What of a group is kept in the book, and read again. */
#include <string.h>

#include "group/state.h"

struct dbk_slice dbk_group_stream(const struct dbk_group *group, const char *prefix, char *text)
{
    size_t size = strlen(prefix);
    size_t name_size = strlen(group->name);
    memcpy(text, prefix, size);
    memcpy(text + size, group->name, name_size);
    return dbk_slice(text, size + name_size);
}

struct dbk_new_event dbk_group_event(struct dbk_slice stream, const char *type,
                                     struct dbk_slice data)
{
    return (struct dbk_new_event){.stream = stream,
                                  .type = dbk_slice_of(type),
                                  .data = data,
                                  .occurred_us = DBK_TIME_NONE,
                                  .flags = DBK_RECORD_JSON};
}

static void encode(const struct dbk_group *group, struct dbk_buf *out)
{
    const char *comma = "";
    dbk_buf_append_text(out, "{\"settings\":");
    dbk_buf_append(out, group->settings.text);
    dbk_buf_append_format(out, ",\"position\":%ju,\"parked_after\":%ju,\"open\":[",
                          (uintmax_t)group->position, (uintmax_t)group->parked_after);
    for (size_t i = 0; i < group->count; i++) {
        const struct dbk_group_entry *entry = &group->entries[i];
        if (entry->state == DBK_ENTRY_DONE)
            continue;
        dbk_buf_append_format(out, "%s[%ju,%u]", comma, (uintmax_t)entry->position,
                              entry->attempts);
        comma = ",";
    }
    dbk_buf_append_text(out, "]}");
}

int dbk_group_save(struct dbk_group *group, const struct dbk_new_event *more, size_t more_count,
                   struct dbk_error *err)
{
    char name[DBK_GROUP_NAME_MAX + 16];
    struct dbk_append_result result;
    struct dbk_buf data;
    struct dbk_groups *groups = group->groups;
    struct dbk_new_event *events = dbk_alloc_zero(more_count + 1, sizeof(*events));
    if (events == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory saving group %s", group->name);
    for (size_t i = 0; i < more_count; i++)
        events[i] = more[i];
    dbk_buf_init(&data, DBK_GROUP_TEXT_MAX);
    encode(group, &data);
    events[more_count] = dbk_group_event(dbk_group_stream(group, DBK_GROUP_PREFIX, name),
                                         "GroupSaved", dbk_buf_slice(&data));
    int rc = data.rc < 0 ? dbk_error_set(err, data.rc, "group %s: its state: %s", group->name,
                                         dbk_code_text(data.rc))
                         : groups->append(groups->context,
                                          &(struct dbk_batch){.events = events,
                                                              .count = more_count + 1,
                                                              .flags = DBK_APPEND_OWN},
                                          &result, err);
    dbk_buf_release(&data);
    dbk_free(events);
    if (rc < 0)
        return rc;
    group->unsaved = 0;
    group->dirty = false;
    return DBK_OK;
}

void dbk_group_forget(struct dbk_group *group)
{
    for (size_t i = 0; i < group->count; i++)
        dbk_free(group->entries[i].reason);
    group->count = 0;
    group->parked_count = 0;
    dbk_cursor_free(group->cursor);
    group->cursor = NULL;
    dbk_group_settings_release(&group->settings);
    group->exists = false;
    group->dirty = false;
}

static int damaged(const struct dbk_group *group, const struct dbk_event *event,
                   struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ECORRUPT,
                         "group %s: what position %ju keeps of it makes no sense", group->name,
                         (uintmax_t)event->position);
}

static bool read_u64(const struct dbk_json_node *node, uint64_t *number_out)
{
    if (node == NULL || node->kind != DBK_JSON_INTEGER || node->integer < 0)
        return false;
    *number_out = (uint64_t)node->integer;
    return true;
}

/* An open event, unless it has been removed since. */
static int read_open(struct dbk_group *group, const struct dbk_json_node *pair,
                     const struct dbk_event *event, struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event open;
    uint64_t position = 0;
    uint64_t attempts = 0;
    if (pair->kind != DBK_JSON_ARRAY || pair->count != 2 ||
        !read_u64(dbk_json_first(pair), &position) ||
        !read_u64(dbk_json_sibling(dbk_json_first(pair)), &attempts) || attempts > UINT32_MAX)
        return damaged(group, event, err);
    int rc = dbk_group_event_at(group, position, &cursor, &open, err);
    bool is_there = rc == 1;
    if (is_there)
        rc = dbk_group_add(group, position, dbk_group_stream_key(open.stream), (uint32_t)attempts,
                           err);
    /* Who had it is gone: it is tried again, or parked, when it was tried too often. */
    if (is_there && rc == DBK_OK && attempts > 0)
        group->entries[dbk_group_place(group, position)].state = DBK_ENTRY_WAITING;
    dbk_cursor_free(cursor);
    return rc < 0 ? rc : DBK_OK;
}

static int decode(struct dbk_group *group, const struct dbk_event *event, struct dbk_json *json,
                  struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    if (dbk_json_parse(json, event->data, &root, NULL) < 0)
        return damaged(group, event, err);
    const struct dbk_json_node *settings = dbk_json_member(root, "settings");
    const struct dbk_json_node *open = dbk_json_member(root, "open");
    if (settings == NULL || open == NULL || open->kind != DBK_JSON_ARRAY ||
        !read_u64(dbk_json_member(root, "position"), &group->position) ||
        !read_u64(dbk_json_member(root, "parked_after"), &group->parked_after))
        return damaged(group, event, err);
    int rc = dbk_group_settings_read(&group->settings, settings, 0, err);
    const struct dbk_json_node *pair = dbk_json_first(open);
    for (uint32_t i = 0; rc == DBK_OK && i < open->count; i++, pair = dbk_json_sibling(pair))
        rc = read_open(group, pair, event, err);
    return rc;
}

/* The newest event of the group's own stream. */
static int load_saved(struct dbk_group *group, struct dbk_error *err)
{
    char name[DBK_GROUP_NAME_MAX + 16];
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    struct dbk_filter filter = {.stream = dbk_group_stream(group, DBK_GROUP_PREFIX, name),
                                .hidden = true,
                                .backwards = true};
    int rc = dbk_cursor_open(group->groups->store, &filter, &cursor, err);
    if (rc == DBK_OK)
        rc = dbk_cursor_next(cursor, &event, err);
    group->exists = rc == 1 && dbk_slice_equal_text(event.type, "GroupSaved");
    if (group->exists) {
        struct dbk_json *json = dbk_json_create(DBK_GROUP_TEXT_MAX);
        rc = json == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory reading a group")
                          : decode(group, &event, json, err);
        dbk_json_free(json);
    }
    dbk_cursor_free(cursor);
    return rc < 0 ? rc : DBK_OK;
}

int dbk_group_load(struct dbk_group *group, struct dbk_error *err)
{
    dbk_group_forget(group);
    dbk_group_settings_init(&group->settings);
    int rc = load_saved(group, err);
    if (rc == DBK_OK && group->exists)
        rc = dbk_group_load_parked(group, err);
    if (rc < 0 || !group->exists)
        dbk_group_forget(group);
    return rc;
}

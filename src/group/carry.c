/* SPDX-License-Identifier: Apache-2.0 */
/* What a group is, for another book that the events were copied into. */
#include <string.h>

#include "group/state.h"

#define NAMES_SIZE_MAX ((size_t)16 << 20)

struct carrying {
    struct dbk_groups *groups;
    const struct dbk_group_carrying *to;
    struct dbk_arena arena;
    struct dbk_slice *names;
    size_t count;
    size_t capacity;
    struct dbk_group *group; /* the one at hand */
    struct dbk_buf data;
    struct dbk_error *err;
};

static int note_name(struct dbk_slice name, const struct dbk_group_status *status, void *context)
{
    struct carrying *carrying = context;
    (void)status;
    if (carrying->count == carrying->capacity) {
        size_t capacity = carrying->capacity == 0 ? 16 : carrying->capacity * 2;
        struct dbk_slice *names = dbk_realloc(carrying->names, capacity * sizeof(*names));
        if (names == NULL)
            return DBK_ENOMEM;
        carrying->names = names;
        carrying->capacity = capacity;
    }
    carrying->names[carrying->count] = dbk_arena_copy(&carrying->arena, name);
    return carrying->names[carrying->count++].data == NULL ? DBK_ENOMEM : DBK_OK;
}

static int add(struct carrying *carrying, struct dbk_slice stream, const char *type,
               struct dbk_error *err)
{
    struct dbk_new_event event = dbk_group_event(stream, type, dbk_buf_slice(&carrying->data));
    if (carrying->data.rc < 0)
        return dbk_error_set(err, carrying->data.rc, "out of memory carrying a group over");
    return carrying->to->add(carrying->to->context, &event, err);
}

/* A parked event: each event that it became is parked. */
static int carry_parked(const struct dbk_group_parked *parked, void *context)
{
    struct carrying *carrying = context;
    const struct dbk_group_carrying *to = carrying->to;
    struct dbk_error *err = carrying->err;
    char name[DBK_GROUP_NAME_MAX + 16];
    struct dbk_group_place place;
    char reason[DBK_GROUP_REASON_MAX + 1];
    size_t size = parked->reason.size < sizeof(reason) ? parked->reason.size : sizeof(reason) - 1;
    if (size > 0)
        memcpy(reason, parked->reason.data, size);
    reason[size] = '\0';
    int rc = to->place(to->context, parked->position, &place, err);
    for (uint64_t i = 0; rc == DBK_OK && i < place.count; i++) {
        const struct dbk_event *event = NULL;
        rc = to->event(to->context, place.first + i, &event, err);
        if (rc < 0)
            break;
        dbk_buf_reset(&carrying->data);
        dbk_group_write_parked(&carrying->data, place.first + i, (uint32_t)parked->attempts, event,
                               reason);
        rc = add(carrying, dbk_group_stream(carrying->group, DBK_GROUP_PARKED_PREFIX, name),
                 "EventParked", err);
    }
    return rc;
}

/* Everything before it is in the new book before `position`, but for what is open. */
static int write_saved(struct carrying *carrying, struct dbk_error *err)
{
    const struct dbk_group_carrying *to = carrying->to;
    const struct dbk_group *group = carrying->group;
    struct dbk_buf *out = &carrying->data;
    struct dbk_group_place place;
    const char *comma = "";
    dbk_buf_reset(out);
    dbk_buf_append_text(out, "{\"settings\":");
    int rc = to->settings(to->context, group->settings.text, out, err);
    if (rc == DBK_OK)
        rc = to->place(to->context, group->position, &place, err);
    if (rc < 0)
        return rc;
    dbk_buf_append_format(out, ",\"position\":%ju,\"parked_after\":0,\"open\":[",
                          (uintmax_t)place.up_to);
    for (size_t i = 0; rc == DBK_OK && i < group->count; i++) {
        const struct dbk_group_entry *entry = &group->entries[i];
        rc = to->place(to->context, entry->position, &place, err);
        for (uint64_t j = 0; rc == DBK_OK && j < place.count; j++) {
            dbk_buf_append_format(out, "%s[%ju,%u]", comma, (uintmax_t)(place.first + j),
                                  entry->attempts);
            comma = ",";
        }
    }
    dbk_buf_append_text(out, "]}");
    return rc;
}

/* The group is locked. */
static int carry_group(struct carrying *carrying, struct dbk_error *err)
{
    char name[DBK_GROUP_NAME_MAX + 16];
    struct dbk_slice own = dbk_group_stream(carrying->group, DBK_GROUP_PREFIX, name);
    const struct dbk_stream_rules rules = {.max_count = 1};
    struct dbk_new_event event;
    int rc = write_saved(carrying, err);
    if (rc == DBK_OK)
        rc = add(carrying, own, "GroupSaved", err);
    if (rc == DBK_OK)
        rc = dbk_store_rules_event(own, &rules, &carrying->arena, &event, err);
    if (rc == DBK_OK)
        rc = carrying->to->add(carrying->to->context, &event, err);
    dbk_buf_reset(&carrying->data);
    dbk_buf_append_format(&carrying->data, "{\"name\":\"%s\"}", carrying->group->name);
    return rc < 0 ? rc : add(carrying, DBK_SLICE_LITERAL(DBK_GROUPS_STREAM), "GroupCreated", err);
}

static int carry_named(struct carrying *carrying, struct dbk_slice name, struct dbk_error *err)
{
    int rc = dbk_group_find(carrying->groups, name, &carrying->group, err);
    if (rc < 0)
        return rc;
    (void)pthread_mutex_unlock(&carrying->group->lock);
    rc = dbk_group_list_parked(carrying->groups, name, carry_parked, carrying, err);
    if (rc < 0)
        return rc;
    rc = dbk_group_find(carrying->groups, name, &carrying->group, err);
    if (rc < 0)
        return rc;
    rc = carry_group(carrying, err);
    (void)pthread_mutex_unlock(&carrying->group->lock);
    return rc;
}

int dbk_groups_carry(struct dbk_groups *groups, const struct dbk_group_carrying *to,
                     uint64_t *count_out, struct dbk_error *err)
{
    struct carrying carrying = {.groups = groups, .to = to, .err = err};
    dbk_arena_init(&carrying.arena, NAMES_SIZE_MAX);
    dbk_buf_init(&carrying.data, DBK_GROUP_TEXT_MAX);
    int rc = dbk_group_list(groups, note_name, &carrying, err);
    for (size_t i = 0; rc == DBK_OK && i < carrying.count; i++)
        rc = carry_named(&carrying, carrying.names[i], err);
    *count_out = carrying.count;
    dbk_buf_release(&carrying.data);
    dbk_arena_release(&carrying.arena);
    dbk_free(carrying.names);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "group/group.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "group/state.h"

#define SAVE_SECONDS 1

/* ---- Saving behind the answers ---- */

/* The group behind one, or the first; they are only ever added. */
static struct dbk_group *next_of(struct dbk_groups *groups, const struct dbk_group *group)
{
    (void)pthread_mutex_lock(&groups->lock);
    struct dbk_group *next = group == NULL ? groups->first : group->next;
    (void)pthread_mutex_unlock(&groups->lock);
    return next;
}

void dbk_groups_save(struct dbk_groups *groups)
{
    for (struct dbk_group *group = next_of(groups, NULL); group != NULL;
         group = next_of(groups, group)) {
        (void)pthread_mutex_lock(&group->lock);
        struct dbk_error err = {0};
        if (group->exists && group->dirty && dbk_group_save(group, NULL, 0, &err) < 0)
            group->trouble = err;
        (void)pthread_mutex_unlock(&group->lock);
    }
}

static void *run_saver(void *context)
{
    struct dbk_groups *groups = context;
    (void)pthread_mutex_lock(&groups->ends_lock);
    while (!groups->saver_ends) {
        struct timespec end;
        (void)clock_gettime(CLOCK_MONOTONIC, &end);
        end.tv_sec += SAVE_SECONDS;
        (void)pthread_cond_timedwait(&groups->ends, &groups->ends_lock, &end);
        (void)pthread_mutex_unlock(&groups->ends_lock);
        dbk_groups_save(groups);
        (void)pthread_mutex_lock(&groups->ends_lock);
    }
    (void)pthread_mutex_unlock(&groups->ends_lock);
    return NULL;
}

/* With the first group; groups->lock is held. */
static int start_saver(struct dbk_groups *groups, struct dbk_error *err)
{
    if (!groups->writer || groups->saver_runs)
        return DBK_OK;
    int failure = pthread_create(&groups->saver, NULL, run_saver, groups);
    if (failure != 0)
        return dbk_error_set_errno(err, failure, "cannot start the thread that saves groups");
    groups->saver_runs = true;
    return DBK_OK;
}

int dbk_groups_open(struct dbk_store *store, struct dbk_os *os, bool writer, dbk_append_fn append,
                    void *context, struct dbk_groups **groups_out, struct dbk_error *err)
{
    struct dbk_groups *groups = dbk_alloc_zero(1, sizeof(*groups));
    pthread_condattr_t clock;
    if (groups == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening the groups");
    *groups = (struct dbk_groups){
        .store = store, .os = os, .writer = writer, .append = append, .context = context};
    (void)pthread_condattr_init(&clock);
    (void)pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&groups->ends, &clock);
    (void)pthread_condattr_destroy(&clock);
    (void)pthread_mutex_init(&groups->lock, NULL);
    (void)pthread_mutex_init(&groups->ends_lock, NULL);
    *groups_out = groups;
    return DBK_OK;
}

void dbk_groups_free(struct dbk_groups *groups)
{
    if (groups == NULL)
        return;
    if (groups->saver_runs) {
        (void)pthread_mutex_lock(&groups->ends_lock);
        groups->saver_ends = true;
        (void)pthread_cond_signal(&groups->ends);
        (void)pthread_mutex_unlock(&groups->ends_lock);
        (void)pthread_join(groups->saver, NULL);
        dbk_groups_save(groups);
    }
    for (struct dbk_group *group = groups->first, *next; group != NULL; group = next) {
        next = group->next;
        dbk_group_forget(group);
        dbk_free(group->entries);
        dbk_free(group->parked);
        dbk_free(group->busy.slots);
        dbk_free(group->blocked.slots);
        (void)pthread_mutex_destroy(&group->lock);
        dbk_free(group);
    }
    (void)pthread_cond_destroy(&groups->ends);
    (void)pthread_mutex_destroy(&groups->ends_lock);
    (void)pthread_mutex_destroy(&groups->lock);
    dbk_free(groups);
}

/* ---- Finding ---- */

static bool is_name(struct dbk_slice name)
{
    if (name.size == 0 || name.size > DBK_GROUP_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.size; i++) {
        char byte = name.data[i];
        if (!((byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
              (byte >= '0' && byte <= '9') || byte == '-' || byte == '_' || byte == '.'))
            return false;
    }
    return true;
}

/* A group's place in memory; groups->lock is held. */
static int add(struct dbk_groups *groups, struct dbk_slice name, struct dbk_group **link,
               struct dbk_error *err)
{
    int rc = start_saver(groups, err);
    struct dbk_group *group = rc < 0 ? NULL : dbk_alloc_zero(1, sizeof(*group));
    if (group == NULL)
        return rc < 0 ? rc : dbk_error_set(err, DBK_ENOMEM, "out of memory opening a group");
    group->groups = groups;
    memcpy(group->name, name.data, name.size);
    (void)pthread_mutex_init(&group->lock, NULL);
    *link = group;
    return DBK_OK;
}

/* True when the book has ever had a group of this name, so that asking for others costs nothing. */
static bool was_made(struct dbk_groups *groups, struct dbk_slice name)
{
    char text[DBK_GROUP_NAME_MAX + 16];
    uint64_t version = 0;
    int size = snprintf(text, sizeof(text), DBK_GROUP_PREFIX "%.*s", DBK_SLICE_ARGS(name));
    return dbk_store_stream_version(groups->store, dbk_slice(text, (size_t)size), &version, NULL) <
               0 ||
           version > 0;
}

/* The group, locked, as the book has it; it may not exist, and is NULL when it never did. */
static int take(struct dbk_groups *groups, struct dbk_slice name, bool make,
                struct dbk_group **group_out, struct dbk_error *err)
{
    int rc = DBK_OK;
    *group_out = NULL;
    (void)pthread_mutex_lock(&groups->lock);
    struct dbk_group **link = &groups->first;
    while (*link != NULL && !dbk_slice_equal_text(name, (*link)->name))
        link = &(*link)->next;
    if (*link == NULL && (make || was_made(groups, name)))
        rc = add(groups, name, link, err);
    struct dbk_group *group = *link;
    (void)pthread_mutex_unlock(&groups->lock);
    if (rc < 0 || group == NULL)
        return rc;
    (void)pthread_mutex_lock(&group->lock);
    /* A process that only reads looks again each time. */
    if (!group->exists || !groups->writer)
        rc = dbk_group_load(group, err);
    if (rc < 0)
        (void)pthread_mutex_unlock(&group->lock);
    else
        *group_out = group;
    return rc;
}

int dbk_group_find(struct dbk_groups *groups, struct dbk_slice name, struct dbk_group **group_out,
                   struct dbk_error *err)
{
    *group_out = NULL;
    int rc = is_name(name) ? take(groups, name, false, group_out, err) : DBK_OK;
    if (rc < 0)
        return rc;
    if (*group_out != NULL && (*group_out)->exists)
        return DBK_OK;
    if (*group_out != NULL)
        (void)pthread_mutex_unlock(&(*group_out)->lock);
    return dbk_error_set(err, DBK_ENOTFOUND, "there is no group %.*s",
                         (int)(name.size < 80 ? name.size : 80), name.data);
}

/* ---- Making and removing ---- */

/* The list's own event, `GroupCreated` or `GroupRemoved`. */
static struct dbk_new_event list_event(const struct dbk_group *group, const char *type, char *text,
                                       size_t size)
{
    int written = snprintf(text, size, "{\"name\":\"%s\"}", group->name);
    return dbk_group_event(DBK_SLICE_LITERAL(DBK_GROUPS_STREAM), type,
                           dbk_slice(text, (size_t)written));
}

/* Only the newest of what a group keeps is of use. */
static int keep_newest(struct dbk_group *group, struct dbk_error *err)
{
    char name[DBK_GROUP_NAME_MAX + 16];
    struct dbk_append_result result;
    struct dbk_slice stream = dbk_group_stream(group, DBK_GROUP_PREFIX, name);
    struct dbk_stream_info info;
    int rc = dbk_store_stream_info(group->groups->store, stream, &info, err);
    if (rc < 0 || info.rules.max_count == 1)
        return rc;
    return dbk_store_set_rules(group->groups->store, stream,
                               &(struct dbk_stream_rules){.max_count = 1}, &result, err);
}

static uint64_t parked_version(struct dbk_group *group)
{
    char name[DBK_GROUP_NAME_MAX + 16];
    uint64_t version = 0;
    dbk_ignore(dbk_store_stream_version(group->groups->store,
                                        dbk_group_stream(group, DBK_GROUP_PARKED_PREFIX, name),
                                        &version, NULL));
    return version;
}

/* Takes new settings over; the group is as before when it cannot be saved. */
static int change(struct dbk_group *group, struct dbk_group_settings *settings, bool *created_out,
                  struct dbk_error *err)
{
    char text[DBK_GROUP_NAME_MAX + 32];
    struct dbk_group_settings before = group->settings;
    uint64_t position = group->position;
    bool created = !group->exists;
    struct dbk_new_event event = list_event(group, "GroupCreated", text, sizeof(text));
    if (created) {
        group->parked_after = parked_version(group);
        group->parked_version = group->parked_after;
    }
    for (size_t i = 0; settings->has_after && i < group->count; i++)
        group->entries[i].state = DBK_ENTRY_DONE;
    if (created || settings->has_after)
        group->position = settings->after;
    group->settings = *settings;
    int rc = dbk_group_save(group, &event, created ? 1 : 0, err);
    if (rc < 0) {
        group->settings = before;
        group->position = position;
        for (size_t i = 0; i < group->count; i++) {
            if (group->entries[i].state == DBK_ENTRY_DONE)
                group->entries[i].state = DBK_ENTRY_READY;
        }
        return rc;
    }
    *settings = before; /* for the caller to release */
    dbk_group_sweep(group);
    dbk_cursor_free(group->cursor);
    group->cursor = NULL;
    group->exists = true;
    *created_out = created;
    return keep_newest(group, err);
}

int dbk_group_set(struct dbk_groups *groups, struct dbk_slice name,
                  const struct dbk_json_node *settings, bool *created_out, struct dbk_error *err)
{
    struct dbk_group *group = NULL;
    struct dbk_group_settings wanted;
    if (!is_name(name))
        return dbk_error_set(err, DBK_EINVAL,
                             "a group's name is 1 to %d letters, digits, dots, '-' and '_'",
                             DBK_GROUP_NAME_MAX);
    dbk_group_settings_init(&wanted);
    int rc =
        dbk_group_settings_read(&wanted, settings, dbk_store_last_position(groups->store), err);
    if (rc == DBK_OK)
        rc = take(groups, name, true, &group, err);
    if (rc == DBK_OK) {
        rc = change(group, &wanted, created_out, err);
        dbk_group_wake(group);
        (void)pthread_mutex_unlock(&group->lock);
    }
    dbk_group_settings_release(&wanted);
    return rc;
}

int dbk_group_remove(struct dbk_groups *groups, struct dbk_slice name, struct dbk_error *err)
{
    char text[DBK_GROUP_NAME_MAX + 32];
    char stream[DBK_GROUP_NAME_MAX + 16];
    struct dbk_group *group = NULL;
    struct dbk_append_result result;
    int rc = dbk_group_find(groups, name, &group, err);
    if (rc < 0)
        return rc;
    struct dbk_new_event events[] = {
        list_event(group, "GroupRemoved", text, sizeof(text)),
        dbk_group_event(dbk_group_stream(group, DBK_GROUP_PREFIX, stream), "GroupRemoved",
                        DBK_SLICE_LITERAL("{}"))};
    rc = groups->append(groups->context,
                        &(struct dbk_batch){.events = events, .count = 2, .flags = DBK_APPEND_OWN},
                        &result, err);
    if (rc == DBK_OK)
        dbk_group_forget(group);
    dbk_group_wake(group);
    (void)pthread_mutex_unlock(&group->lock);
    return rc;
}

/* ---- Showing ---- */

/* Looks as far as a read would, so that a group without work is not behind its own saved states. */
static int show(struct dbk_group *group, dbk_group_status_fn each, void *context,
                struct dbk_error *err)
{
    int rc = dbk_group_fill(group, err);
    if (rc < 0)
        return rc;
    struct dbk_group_status status = {
        .settings = group->settings.text,
        .position = group->position,
        .parked = group->parked_count,
        .oldest = group->count == 0 ? 0 : group->entries[0].position,
        .consumers = group->consumers,
        .delivered = group->delivered,
        .acked = group->acked,
        .retried = group->retried,
        .trouble = group->trouble.code == DBK_OK ? "" : group->trouble.message};
    for (size_t i = 0; i < group->count; i++) {
        status.ready += group->entries[i].state == DBK_ENTRY_READY;
        status.leased += group->entries[i].state == DBK_ENTRY_LEASED;
        status.waiting += group->entries[i].state == DBK_ENTRY_WAITING;
    }
    return each(dbk_slice_of(group->name), &status, context);
}

int dbk_group_show(struct dbk_groups *groups, struct dbk_slice name, dbk_group_status_fn each,
                   void *context, struct dbk_error *err)
{
    struct dbk_group *group = NULL;
    int rc = dbk_group_find(groups, name, &group, err);
    if (rc < 0)
        return rc;
    rc = show(group, each, context, err);
    (void)pthread_mutex_unlock(&group->lock);
    return rc;
}

struct names {
    char (*names)[DBK_GROUP_NAME_MAX + 1];
    size_t count;
};

static int take_name(struct names *names, const struct dbk_event *event, struct dbk_json *json,
                     struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    int rc = dbk_json_parse(json, event->data, &root, err);
    const struct dbk_json_node *name = rc < 0 ? NULL : dbk_json_member(root, "name");
    if (name == NULL || name->kind != DBK_JSON_STRING || name->text.size > DBK_GROUP_NAME_MAX)
        return dbk_error_set(err, DBK_ECORRUPT, "position %ju names no group",
                             (uintmax_t)event->position);
    size_t at = 0;
    while (at < names->count && !dbk_slice_equal_text(name->text, names->names[at]))
        at++;
    if (at < names->count) {
        memmove(names->names[at], names->names[at + 1],
                (names->count - at - 1) * sizeof(names->names[0]));
        names->count--;
    }
    if (dbk_slice_equal_text(event->type, "GroupRemoved"))
        return DBK_OK;
    char(*grown)[DBK_GROUP_NAME_MAX + 1] =
        dbk_realloc(names->names, (names->count + 1) * sizeof(names->names[0]));
    if (grown == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory listing groups");
    names->names = grown;
    memset(grown[names->count], 0, sizeof(grown[0]));
    memcpy(grown[names->count++], name->text.data, name->text.size);
    return DBK_OK;
}

static int read_names(struct dbk_groups *groups, struct names *names, struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    struct dbk_json *json = dbk_json_create(DBK_GROUP_TEXT_MAX);
    struct dbk_filter filter = {.stream = DBK_SLICE_LITERAL(DBK_GROUPS_STREAM), .hidden = true};
    int rc = json == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory listing groups")
                          : dbk_cursor_open(groups->store, &filter, &cursor, err);
    while (rc >= 0) {
        rc = dbk_cursor_next(cursor, &event, err);
        if (rc != 1)
            break;
        rc = take_name(names, &event, json, err);
    }
    dbk_cursor_free(cursor);
    dbk_json_free(json);
    return rc;
}

int dbk_group_list(struct dbk_groups *groups, dbk_group_status_fn each, void *context,
                   struct dbk_error *err)
{
    struct names names = {0};
    int rc = read_names(groups, &names, err);
    for (size_t i = 0; rc == DBK_OK && i < names.count; i++) {
        rc = dbk_group_show(groups, dbk_slice_of(names.names[i]), each, context, err);
        if (rc == DBK_ENOTFOUND)
            rc = DBK_OK; /* removed meanwhile */
    }
    dbk_free(names.names);
    return rc;
}

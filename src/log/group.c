/* SPDX-License-Identifier: Apache-2.0 */
#include "base/assert.h"
#include "log/state.h"
#include "log/unchecked.h"

/* Memory a group keeps between uses, and what it may keep of a larger one. */
#define CAPACITY_MIN ((size_t)64 << 10)
#define CAPACITY_KEPT ((size_t)4 << 20)

static bool is_empty(const struct dbk_log_group *group)
{
    return group->size == DBK_GROUP_HEADER_SIZE;
}

int dbk_log_groups_init(struct dbk_log *log, struct dbk_error *err)
{
    for (size_t i = 0; i < 2; i++) {
        struct dbk_log_group *group = &log->groups[i];
        group->log = log;
        group->size = DBK_GROUP_HEADER_SIZE;
        group->capacity = CAPACITY_MIN;
        group->bytes = dbk_alloc(CAPACITY_MIN);
        if (group->bytes == NULL)
            return dbk_error_set(err, DBK_ENOMEM, "%s: %s", log->folder, dbk_code_text(DBK_ENOMEM));
    }
    return DBK_OK;
}

void dbk_log_groups_release(struct dbk_log *log)
{
    for (size_t i = 0; i < 2; i++) {
        dbk_free(log->groups[i].bytes);
        log->groups[i].bytes = NULL;
    }
}

/* Places an empty group at an end of the log or of another group. */
static void place_behind(struct dbk_log_group *group, struct dbk_log_place end, uint32_t salt)
{
    const struct dbk_log *log = group->log;
    group->place = end;
    group->salt = salt;
    bool ends = end.segment + 1 == atomic_load(&log->seal) && end.offset > DBK_SEGMENT_HEADER_SIZE;
    if (end.offset < log->segment_size && !ends)
        return;
    group->place.segment++;
    group->place.offset = DBK_SEGMENT_HEADER_SIZE;
    group->salt = dbk_log_salt(log, group->place.segment);
}

void dbk_log_seal(struct dbk_log *log)
{
    dbk_assert(log->writer);
    atomic_store(&log->seal, dbk_log_end(log).segment + 1);
}

struct dbk_log_group *dbk_log_group_begin(struct dbk_log *log)
{
    (void)pthread_mutex_lock(&log->group_lock);
    struct dbk_log_group *group = &log->groups[is_empty(&log->groups[0]) ? 0 : 1];
    const struct dbk_log_group *other = &log->groups[group == &log->groups[0] ? 1 : 0];
    dbk_assert(is_empty(group));
    if (is_empty(other)) {
        const struct dbk_tail *tail = &log->tail;
        struct dbk_log_place end = {.segment = tail->segment, .offset = tail->size};
        group->next_position = tail->last_position + 1;
        group->last_time_us = tail->last_time_us;
        place_behind(group, end, dbk_log_segment(log, tail->segment)->header.salt);
    } else {
        struct dbk_log_place end = other->place;
        end.offset += (uint32_t)other->size;
        group->next_position = other->next_position;
        group->last_time_us = other->last_time_us;
        place_behind(group, end, other->salt);
    }
    group->first_position = group->next_position;
    (void)pthread_mutex_unlock(&log->group_lock);
    return group;
}

size_t dbk_log_group_size(const struct dbk_log_group *group)
{
    return group->size - DBK_GROUP_HEADER_SIZE;
}

static int make_room(struct dbk_log_group *group, size_t size)
{
    if (size > DBK_LOG_GROUP_SIZE_MAX - dbk_log_group_size(group))
        return DBK_ELIMIT;
    if (group->size + size <= group->capacity)
        return DBK_OK;
    size_t capacity = group->capacity;
    while (capacity < group->size + size)
        capacity *= 2;
    char *bytes = dbk_realloc(group->bytes, capacity);
    if (bytes == NULL)
        return DBK_ENOMEM;
    group->bytes = bytes;
    group->capacity = capacity;
    return DBK_OK;
}

int dbk_log_group_add(struct dbk_log_group *group, const struct dbk_event *event,
                      struct dbk_log_place *place_out)
{
    dbk_assert(event->position == group->next_position);
    size_t size = dbk_record_size(event);
    int rc = make_room(group, size);
    if (rc < 0)
        return rc;
    dbk_record_encode(event, group->salt, group->bytes + group->size);
    *place_out = group->place;
    place_out->offset += (uint32_t)group->size;
    group->size += size;
    group->next_position++;
    group->last_time_us = event->time_us;
    return DBK_OK;
}

void dbk_log_group_cut(struct dbk_log_group *group, uint64_t position)
{
    dbk_assert(position >= group->first_position);
    size_t at = DBK_GROUP_HEADER_SIZE;
    if (position >= group->next_position)
        return;
    for (uint64_t kept = group->first_position; kept < position; kept++) {
        struct dbk_event event;
        struct dbk_slice left = dbk_slice(group->bytes + at, group->size - at);
        int rc = dbk_record_decode_unchecked(left, &event);
        dbk_assert(rc == DBK_OK);
        group->last_time_us = event.time_us;
        at += dbk_record_size(&event);
    }
    group->size = at;
    group->next_position = position;
}

void dbk_log_group_end(struct dbk_log_group *group)
{
    (void)pthread_mutex_lock(&group->log->group_lock);
    group->size = DBK_GROUP_HEADER_SIZE;
    group->next_position = group->first_position;
    if (group->capacity > CAPACITY_KEPT) {
        char *bytes = dbk_alloc(CAPACITY_MIN);
        if (bytes != NULL) {
            dbk_free(group->bytes);
            group->bytes = bytes;
            group->capacity = CAPACITY_MIN;
        }
    }
    (void)pthread_mutex_unlock(&group->log->group_lock);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Leases, and what becomes of them. */
#include <string.h>

#include "base/hash.h"
#include "group/state.h"

#define SAVE_ANSWERS 1000
/* Parked in one batch. */
#define PARK_BATCH 100
/* How long a failed parking waits before it is tried again. */
#define TROUBLE_US (INT64_C(1) * 1000000)

uint64_t dbk_group_stream_key(struct dbk_slice stream)
{
    static const uint8_t key[16] = "daybook-group-01";
    uint64_t low = dbk_siphash128(key, stream).low;
    return low == 0 ? 1 : low; /* 0 is a free slot */
}

/* ---- Sets of streams ---- */

int dbk_group_keys_reset(struct dbk_group_keys *keys, size_t count, struct dbk_error *err)
{
    size_t size = 64;
    while (size < count * 2 + 2)
        size *= 2;
    if (keys->slots == NULL || size > keys->mask + 1) {
        dbk_free(keys->slots);
        keys->slots = dbk_alloc_zero(size, sizeof(*keys->slots));
        keys->mask = size - 1;
        if (keys->slots == NULL)
            return dbk_error_set(err, DBK_ENOMEM, "out of memory reading a group");
        return DBK_OK;
    }
    memset(keys->slots, 0, (keys->mask + 1) * sizeof(*keys->slots));
    return DBK_OK;
}

bool dbk_group_keys_add(struct dbk_group_keys *keys, uint64_t key)
{
    size_t at = (size_t)key & keys->mask;
    while (keys->slots[at] != 0 && keys->slots[at] != key)
        at = (at + 1) & keys->mask;
    bool is_new = keys->slots[at] == 0;
    keys->slots[at] = key;
    return is_new;
}

bool dbk_group_keys_has(const struct dbk_group_keys *keys, uint64_t key)
{
    size_t at = (size_t)key & keys->mask;
    while (keys->slots[at] != 0 && keys->slots[at] != key)
        at = (at + 1) & keys->mask;
    return keys->slots[at] == key;
}

/* ---- Open events ---- */

size_t dbk_group_place(const struct dbk_group *group, uint64_t position)
{
    size_t low = 0;
    size_t high = group->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (group->entries[middle].position < position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int dbk_group_add(struct dbk_group *group, uint64_t position, uint64_t stream, uint32_t attempts,
                  struct dbk_error *err)
{
    size_t at = dbk_group_place(group, position);
    if (at < group->count && group->entries[at].position == position)
        return DBK_OK;
    if (group->count == group->capacity) {
        size_t capacity = group->capacity == 0 ? 64 : group->capacity * 2;
        struct dbk_group_entry *entries =
            dbk_realloc(group->entries, capacity * sizeof(*group->entries));
        if (entries == NULL)
            return dbk_error_set(err, DBK_ENOMEM, "out of memory reading a group");
        group->entries = entries;
        group->capacity = capacity;
    }
    memmove(group->entries + at + 1, group->entries + at,
            (group->count - at) * sizeof(*group->entries));
    group->entries[at] = (struct dbk_group_entry){
        .position = position, .stream = stream, .attempts = attempts, .state = DBK_ENTRY_READY};
    group->count++;
    return DBK_OK;
}

void dbk_group_sweep(struct dbk_group *group)
{
    size_t kept = 0;
    for (size_t i = 0; i < group->count; i++) {
        if (group->entries[i].state == DBK_ENTRY_DONE) {
            dbk_free(group->entries[i].reason);
            continue;
        }
        if (kept != i)
            group->entries[kept] = group->entries[i];
        kept++;
    }
    group->count = kept;
}

void dbk_group_wake(struct dbk_group *group)
{
    if (group->readers > 0)
        dbk_store_wake(group->groups->store);
}

int dbk_group_event_at(struct dbk_group *group, uint64_t position, struct dbk_cursor **cursor_out,
                       struct dbk_event *event_out, struct dbk_error *err)
{
    struct dbk_filter filter = {.position_min = position, .position_max = position, .hidden = true};
    int rc = dbk_cursor_open(group->groups->store, &filter, cursor_out, err);
    return rc < 0 ? rc : dbk_cursor_next(*cursor_out, event_out, err);
}

static int64_t now_us(const struct dbk_group *group)
{
    struct dbk_os *os = group->groups->os;
    return os->monotonic_us(os);
}

int dbk_group_fill(struct dbk_group *group, struct dbk_error *err)
{
    struct dbk_event event;
    bool extended = false;
    int rc = DBK_OK;
    if (group->cursor == NULL) {
        struct dbk_filter filter = group->settings.filter;
        filter.position_min = group->position + 1;
        filter.as_written = true;
        rc = dbk_cursor_open(group->groups->store, &filter, &group->cursor, err);
    }
    while (rc >= 0 && group->count < group->settings.window) {
        rc = dbk_cursor_next(group->cursor, &event, err);
        if (rc == 0 && extended)
            break;
        if (rc == 0) {
            extended = true;
            rc = dbk_cursor_extend(group->cursor, err);
        } else if (rc == 1) {
            if (!dbk_group_is_parked(group, event.position))
                rc = dbk_group_add(group, event.position, dbk_group_stream_key(event.stream), 0,
                                   err);
            if (rc >= 0)
                group->position = event.position;
        }
    }
    if (rc < 0) {
        dbk_cursor_free(group->cursor); /* it may be past what was not taken */
        group->cursor = NULL;
    }
    /* Where the window is full, the cursor may have looked past its last event: not yet here. */
    if (rc == 0 && group->count < group->settings.window &&
        dbk_cursor_position(group->cursor) > group->position)
        group->position = dbk_cursor_position(group->cursor);
    return rc < 0 ? rc : DBK_OK;
}

/* A try has failed: it waits for the next. */
static void fail(struct dbk_group *group, struct dbk_group_entry *entry, struct dbk_slice reason,
                 int64_t delay_us)
{
    if (reason.size > DBK_GROUP_REASON_MAX) {
        reason.size = DBK_GROUP_REASON_MAX;
        while (reason.size > 0 && !dbk_slice_is_utf8(reason))
            reason.size--;
    }
    dbk_free(entry->reason);
    entry->reason = reason.size == 0 ? NULL : dbk_copy_text(reason);
    entry->state = DBK_ENTRY_WAITING;
    entry->due_us = now_us(group) + delay_us;
    group->retried++;
    group->dirty = true;
}

static bool is_exhausted(const struct dbk_group *group, const struct dbk_group_entry *entry)
{
    return entry->state == DBK_ENTRY_WAITING && entry->attempts > group->settings.max_retries;
}

/*
 * Parks what was tried too often. Where that fails it is tried again a while later, and meanwhile
 * group->trouble says why: others can go on.
 */
static void park_exhausted(struct dbk_group *group)
{
    size_t indexes[PARK_BATCH];
    size_t count = 0;
    int64_t now = now_us(group);
    for (size_t i = 0; i < group->count && count < PARK_BATCH; i++) {
        if (is_exhausted(group, &group->entries[i]) &&
            (group->trouble.code == DBK_OK || group->entries[i].due_us <= now))
            indexes[count++] = i;
    }
    if (count == 0)
        return;
    int rc = dbk_group_park(group, indexes, count, NULL, &group->trouble);
    if (rc == DBK_OK) {
        group->trouble = (struct dbk_error){0};
        dbk_group_sweep(group);
        return;
    }
    for (size_t i = 0; i < count; i++)
        group->entries[indexes[i]].due_us = now + TROUBLE_US;
}

/* Leases whose time is over. */
static void expire(struct dbk_group *group)
{
    int64_t now = now_us(group);
    for (size_t i = 0; i < group->count; i++) {
        struct dbk_group_entry *entry = &group->entries[i];
        if (entry->state == DBK_ENTRY_LEASED && entry->due_us <= now)
            fail(group, entry, DBK_SLICE_LITERAL("not acknowledged in time"),
                 group->settings.retry_delay_us);
    }
    park_exhausted(group);
}

/* ---- Reading ---- */

static uint64_t leased_by(const struct dbk_group *group, uint32_t consumer)
{
    uint64_t count = 0;
    for (size_t i = 0; i < group->count; i++)
        count +=
            group->entries[i].state == DBK_ENTRY_LEASED && group->entries[i].consumer == consumer;
    return count;
}

/* Hands one event out; 0: it is gone, and done with. */
static int lease(struct dbk_group *group, struct dbk_group_entry *entry,
                 const struct dbk_group_read *read, struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    int rc = dbk_group_event_at(group, entry->position, &cursor, &event, err);
    if (rc == 1) {
        rc = read->each(&event, entry->attempts + 1, read->context);
        rc = rc < 0 ? rc : 1;
    }
    dbk_cursor_free(cursor);
    if (rc < 0)
        return rc;
    group->dirty = true;
    entry->state = rc == 0 ? DBK_ENTRY_DONE : DBK_ENTRY_LEASED;
    if (rc == 0)
        return 0;
    entry->attempts++;
    entry->consumer = read->consumer;
    entry->due_us = now_us(group) + group->settings.timeout_us;
    group->delivered++;
    return 1;
}

static bool is_behind_parked(const struct dbk_group *group, const struct dbk_group_entry *entry)
{
    for (size_t i = 0; i < group->parked_count; i++) {
        if (group->parked[i].position > entry->position)
            return false;
        if (group->parked[i].stream == entry->stream)
            return true;
    }
    return false;
}

/* Events whose stream has parked ones before them go behind those. */
static int park_behind(struct dbk_group *group, struct dbk_error *err)
{
    size_t indexes[PARK_BATCH];
    size_t count = 0;
    int rc = dbk_group_keys_reset(&group->blocked, group->parked_count, err);
    for (size_t i = 0; rc == DBK_OK && i < group->parked_count; i++)
        (void)dbk_group_keys_add(&group->blocked, group->parked[i].stream);
    for (size_t i = 0; rc == DBK_OK && i < group->count && count < PARK_BATCH; i++) {
        struct dbk_group_entry *entry = &group->entries[i];
        if (entry->state != DBK_ENTRY_LEASED &&
            dbk_group_keys_has(&group->blocked, entry->stream) && is_behind_parked(group, entry))
            indexes[count++] = i;
    }
    if (rc == DBK_OK && count > 0)
        rc = dbk_group_park(group, indexes, count, "behind a parked event of its stream", err);
    if (rc == DBK_OK)
        dbk_group_sweep(group);
    return rc;
}

static int lease_due(struct dbk_group *group, const struct dbk_group_read *read, size_t limit,
                     size_t *count_out, struct dbk_error *err)
{
    int64_t now = now_us(group);
    int rc = dbk_group_keys_reset(&group->busy, group->count, err);
    for (size_t i = 0; rc >= 0 && i < group->count && *count_out < limit; i++) {
        struct dbk_group_entry *entry = &group->entries[i];
        bool first = !group->settings.ordered || dbk_group_keys_add(&group->busy, entry->stream);
        if (!first || entry->state == DBK_ENTRY_LEASED || is_exhausted(group, entry) ||
            (entry->state == DBK_ENTRY_WAITING && entry->due_us > now))
            continue;
        rc = lease(group, entry, read, err);
        *count_out += rc == 1;
    }
    dbk_group_sweep(group);
    return rc < 0 ? rc : DBK_OK;
}

static int deliver(struct dbk_group *group, const struct dbk_group_read *read, size_t *count_out,
                   struct dbk_error *err)
{
    size_t limit = read->limit < DBK_GROUP_BATCH_MAX ? read->limit : DBK_GROUP_BATCH_MAX;
    expire(group);
    int rc = dbk_group_fill(group, err);
    if (rc == DBK_OK && group->settings.ordered && group->parked_count > 0)
        rc = park_behind(group, err);
    if (rc == DBK_OK && read->unacked_max > 0) {
        uint64_t has = leased_by(group, read->consumer);
        size_t room = has < read->unacked_max ? read->unacked_max - (size_t)has : 0;
        limit = room < limit ? room : limit;
    }
    return rc < 0 ? rc : lease_due(group, read, limit, count_out, err);
}

/* When something may be due that is not now. */
static int64_t next_due_us(const struct dbk_group *group, int64_t at_most_us)
{
    int64_t due_us = at_most_us;
    for (size_t i = 0; i < group->count; i++) {
        const struct dbk_group_entry *entry = &group->entries[i];
        if (entry->state != DBK_ENTRY_READY && entry->due_us < due_us)
            due_us = entry->due_us;
    }
    return due_us;
}

int dbk_group_read(struct dbk_groups *groups, const struct dbk_group_read *read, size_t *count_out,
                   struct dbk_error *err)
{
    struct dbk_group *group = NULL;
    int64_t end_us = groups->os->monotonic_us(groups->os) + read->timeout_us;
    *count_out = 0;
    for (;;) {
        uint64_t wakes = dbk_store_wakes(groups->store);
        int rc = dbk_group_find(groups, read->name, &group, err);
        if (rc < 0)
            return rc;
        rc = deliver(group, read, count_out, err);
        int64_t now = now_us(group);
        int64_t due_us = next_due_us(group, end_us);
        /* With a full window only an answer can bring more, and that wakes. */
        bool full = group->count >= group->settings.window;
        uint64_t position = full ? UINT64_MAX : group->position;
        bool waits = rc == DBK_OK && *count_out == 0 && now < end_us;
        group->readers += waits;
        (void)pthread_mutex_unlock(&group->lock);
        if (!waits)
            return rc;
        /* What is due already, and was not taken, is bound to wait a little. */
        int64_t left_us = due_us > now + 1000 ? due_us - now : 1000;
        rc = dbk_store_wait(groups->store, wakes, position, left_us, err);
        (void)pthread_mutex_lock(&group->lock);
        group->readers--;
        (void)pthread_mutex_unlock(&group->lock);
        if (rc < 0)
            return rc;
    }
}

/* ---- Answers ---- */

static int park_one(struct dbk_group *group, size_t at, struct dbk_slice reason,
                    struct dbk_error *err)
{
    struct dbk_group_entry *entry = &group->entries[at];
    struct dbk_group_entry before = *entry;
    entry->reason = NULL;
    fail(group, entry, reason, 0);
    int rc = dbk_group_park(group, &at, 1, NULL, err);
    if (rc < 0) {
        dbk_free(entry->reason);
        *entry = before;
        return rc;
    }
    dbk_free(before.reason);
    return DBK_OK;
}

static int answer_one(struct dbk_group *group, const struct dbk_group_answer *answer, size_t at,
                      struct dbk_error *err)
{
    struct dbk_group_entry *entry = &group->entries[at];
    group->dirty = true;
    switch (answer->action) {
    case DBK_GROUP_ACK:
        group->acked++;
        entry->state = DBK_ENTRY_DONE;
        return DBK_OK;
    case DBK_GROUP_SKIP:
        entry->state = DBK_ENTRY_DONE;
        return DBK_OK;
    case DBK_GROUP_RETRY:
        fail(group, entry, answer->reason,
             answer->delay_us >= 0 ? answer->delay_us : group->settings.retry_delay_us);
        return DBK_OK;
    case DBK_GROUP_PARK:
    default:
        return park_one(group, at, answer->reason, err);
    }
}

static int answer_all(struct dbk_group *group, const struct dbk_group_answer *answer,
                      size_t *count_out, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < answer->count; i++) {
        uint64_t position = answer->positions[i];
        /* A process that came later has not looked so far yet. */
        if (position > group->position)
            rc = dbk_group_fill(group, err);
        size_t at = dbk_group_place(group, position);
        if (rc < 0 || at == group->count || group->entries[at].position != position ||
            group->entries[at].state == DBK_ENTRY_DONE)
            continue;
        rc = answer_one(group, answer, at, err);
        if (rc == DBK_OK)
            (*count_out)++;
    }
    dbk_group_sweep(group);
    group->unsaved += *count_out;
    park_exhausted(group);
    if (rc == DBK_OK && group->unsaved >= SAVE_ANSWERS)
        rc = dbk_group_save(group, NULL, 0, err);
    dbk_group_wake(group);
    return rc;
}

int dbk_group_answer(struct dbk_groups *groups, const struct dbk_group_answer *answer,
                     size_t *count_out, struct dbk_error *err)
{
    struct dbk_group *group = NULL;
    *count_out = 0;
    if (answer->count > DBK_GROUP_BATCH_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "%zu positions at once, at most %d are taken",
                             answer->count, DBK_GROUP_BATCH_MAX);
    int rc = dbk_group_find(groups, answer->name, &group, err);
    if (rc < 0)
        return rc;
    rc = answer_all(group, answer, count_out, err);
    (void)pthread_mutex_unlock(&group->lock);
    return rc;
}

int dbk_group_join(struct dbk_groups *groups, struct dbk_slice name, uint32_t *consumer_out,
                   struct dbk_error *err)
{
    struct dbk_group *group = NULL;
    int rc = dbk_group_find(groups, name, &group, err);
    if (rc < 0)
        return rc;
    *consumer_out = ++group->last_consumer;
    group->consumers++;
    (void)pthread_mutex_unlock(&group->lock);
    return DBK_OK;
}

void dbk_group_leave(struct dbk_groups *groups, struct dbk_slice name, uint32_t consumer)
{
    struct dbk_group *group = NULL;
    if (dbk_group_find(groups, name, &group, NULL) < 0)
        return;
    for (size_t i = 0; i < group->count; i++) {
        struct dbk_group_entry *entry = &group->entries[i];
        if (entry->state == DBK_ENTRY_LEASED && entry->consumer == consumer)
            fail(group, entry, DBK_SLICE_LITERAL("its consumer went away"), 0);
    }
    group->consumers -= group->consumers > 0;
    park_exhausted(group);
    dbk_group_wake(group);
    (void)pthread_mutex_unlock(&group->lock);
}

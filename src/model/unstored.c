/* SPDX-License-Identifier: Apache-2.0 */
/* Events of a group that is not stored yet. */
#include <string.h>

#include "model/states.h"

#define AHEAD_SIZE_MAX ((size_t)1 << 30)

uint64_t dbk_unstored_hash(struct dbk_slice stream)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < stream.size; i++)
        hash = (hash ^ (unsigned char)stream.data[i]) * UINT64_C(1099511628211);
    return hash ^ hash >> 32;
}

void dbk_unstored_init(struct dbk_unstored *ahead)
{
    *ahead = (struct dbk_unstored){0};
    dbk_arena_init(&ahead->arena, AHEAD_SIZE_MAX);
}

void dbk_unstored_release(struct dbk_unstored *ahead)
{
    dbk_arena_release(&ahead->arena);
    dbk_free(ahead->events);
    dbk_free(ahead->hashes);
    *ahead = (struct dbk_unstored){0};
}

void dbk_unstored_reset(struct dbk_unstored *ahead)
{
    dbk_arena_reset(&ahead->arena);
    ahead->count = 0;
}

void dbk_unstored_cut(struct dbk_unstored *ahead, uint64_t position)
{
    while (ahead->count > 0 && ahead->events[ahead->count - 1].position >= position)
        ahead->count--;
}

static bool reserve(struct dbk_unstored *ahead, size_t count)
{
    size_t capacity = ahead->capacity == 0 ? 64 : ahead->capacity;
    while (capacity < ahead->count + count)
        capacity *= 2;
    if (capacity == ahead->capacity)
        return true;
    void *events = dbk_realloc(ahead->events, capacity * sizeof(*ahead->events));
    if (events != NULL)
        ahead->events = events;
    void *hashes = dbk_realloc(ahead->hashes, capacity * sizeof(*ahead->hashes));
    if (hashes != NULL)
        ahead->hashes = hashes;
    if (events == NULL || hashes == NULL)
        return false;
    ahead->capacity = capacity;
    return true;
}

static bool copy(struct dbk_arena *arena, struct dbk_slice *slice)
{
    if (slice->size > 0)
        *slice = dbk_arena_copy(arena, *slice);
    return slice->size == 0 || slice->data != NULL;
}

int dbk_unstored_add(struct dbk_unstored *ahead, const struct dbk_event *events, size_t count)
{
    if (!reserve(ahead, count))
        return DBK_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        struct dbk_event event = events[i];
        struct dbk_slice *parts[] = {&event.stream, &event.type, &event.tags,
                                     &event.data,   &event.meta, &event.sealed};
        for (size_t j = 0; j < sizeof(parts) / sizeof(parts[0]); j++) {
            if (copy(&ahead->arena, parts[j]))
                continue;
            ahead->count -= i;
            return DBK_ENOMEM;
        }
        struct dbk_slice rules = dbk_store_rules_subject(event.stream);
        ahead->hashes[ahead->count] = dbk_unstored_hash(rules.size > 0 ? rules : event.stream);
        ahead->events[ahead->count++] = event;
    }
    return DBK_OK;
}

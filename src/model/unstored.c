/* SPDX-License-Identifier: Apache-2.0 */
/* Events of a group that is not stored yet. */
#include <string.h>

#include "model/states.h"

#define AHEAD_SIZE_MAX ((size_t)1 << 30)
#define SLOTS_MIN 64

struct list {
    struct dbk_event *items;
    size_t count;
    size_t capacity;
};

struct dbk_unstored_stream {
    struct dbk_slice name;
    uint64_t hash;
    struct list events;
    struct list rules;
    struct dbk_store_ahead ahead; /* both, as they are read */
};

struct dbk_unstored_place {
    uint32_t stream;
    bool rules;
};

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

void dbk_unstored_reset(struct dbk_unstored *ahead)
{
    for (size_t i = 0; i < ahead->stream_count; i++) {
        dbk_free(ahead->streams[i].events.items);
        dbk_free(ahead->streams[i].rules.items);
    }
    if (ahead->stream_count > 0)
        memset(ahead->slots, 0, ahead->slot_count * sizeof(*ahead->slots));
    dbk_arena_reset(&ahead->arena);
    ahead->stream_count = 0;
    ahead->count = 0;
}

void dbk_unstored_release(struct dbk_unstored *ahead)
{
    dbk_unstored_reset(ahead);
    dbk_arena_release(&ahead->arena);
    dbk_free(ahead->streams);
    dbk_free(ahead->slots);
    dbk_free(ahead->order);
    *ahead = (struct dbk_unstored){0};
}

/* ---- Streams ---- */

/* The slot of a stream, or the free one where it would be. There are slots. */
static uint32_t *slot_of(const struct dbk_unstored *ahead, struct dbk_slice stream, uint64_t hash)
{
    size_t at = hash & (ahead->slot_count - 1);
    for (; ahead->slots[at] != 0; at = (at + 1) & (ahead->slot_count - 1)) {
        const struct dbk_unstored_stream *other = &ahead->streams[ahead->slots[at] - 1];
        if (other->hash == hash && dbk_slice_equal(other->name, stream))
            break;
    }
    return &ahead->slots[at];
}

const struct dbk_store_ahead *dbk_unstored_find(const struct dbk_unstored *ahead,
                                                struct dbk_slice stream)
{
    if (ahead->count == 0)
        return NULL;
    uint32_t slot = *slot_of(ahead, stream, dbk_unstored_hash(stream));
    return slot == 0 ? NULL : &ahead->streams[slot - 1].ahead;
}

static bool grow(void **items, size_t count, size_t *capacity, size_t size)
{
    size_t grown = *capacity == 0 ? 16 : *capacity * 2;
    if (count < *capacity)
        return true;
    void *bigger = dbk_realloc(*items, grown * size);
    if (bigger == NULL)
        return false;
    *items = bigger;
    *capacity = grown;
    return true;
}

static bool spread(struct dbk_unstored *ahead)
{
    size_t count = ahead->slot_count == 0 ? SLOTS_MIN : ahead->slot_count * 2;
    if (ahead->stream_count * 2 < ahead->slot_count)
        return true;
    uint32_t *slots = dbk_alloc_zero(count, sizeof(*slots));
    if (slots == NULL)
        return false;
    dbk_free(ahead->slots);
    ahead->slots = slots;
    ahead->slot_count = count;
    for (size_t i = 0; i < ahead->stream_count; i++)
        *slot_of(ahead, ahead->streams[i].name, ahead->streams[i].hash) = (uint32_t)i + 1;
    return true;
}

/* NULL: out of memory. */
static struct dbk_unstored_stream *stream_of(struct dbk_unstored *ahead, struct dbk_slice name)
{
    uint64_t hash = dbk_unstored_hash(name);
    if (!spread(ahead))
        return NULL;
    uint32_t *slot = slot_of(ahead, name, hash);
    if (*slot != 0)
        return &ahead->streams[*slot - 1];
    void *streams = ahead->streams;
    if (!grow(&streams, ahead->stream_count, &ahead->stream_capacity, sizeof(*ahead->streams)))
        return NULL;
    ahead->streams = streams;
    ahead->streams[ahead->stream_count++] =
        (struct dbk_unstored_stream){.name = name, .hash = hash};
    *slot = (uint32_t)ahead->stream_count;
    return &ahead->streams[ahead->stream_count - 1];
}

static void show(struct dbk_unstored_stream *stream)
{
    stream->ahead = (struct dbk_store_ahead){.events = stream->events.items,
                                             .count = stream->events.count,
                                             .rules = stream->rules.items,
                                             .rule_count = stream->rules.count};
}

/* ---- Events ---- */

static void take_last(struct dbk_unstored *ahead)
{
    const struct dbk_unstored_place *place = &ahead->order[--ahead->count];
    struct dbk_unstored_stream *stream = &ahead->streams[place->stream];
    struct list *list = place->rules ? &stream->rules : &stream->events;
    list->count--;
    show(stream);
}

static uint64_t last_position(const struct dbk_unstored *ahead)
{
    const struct dbk_unstored_place *place = &ahead->order[ahead->count - 1];
    const struct dbk_unstored_stream *stream = &ahead->streams[place->stream];
    const struct list *list = place->rules ? &stream->rules : &stream->events;
    return list->items[list->count - 1].position;
}

void dbk_unstored_cut(struct dbk_unstored *ahead, uint64_t position)
{
    while (ahead->count > 0 && last_position(ahead) >= position)
        take_last(ahead);
}

static bool copy(struct dbk_arena *arena, struct dbk_slice *slice)
{
    if (slice->size > 0)
        *slice = dbk_arena_copy(arena, *slice);
    return slice->size == 0 || slice->data != NULL;
}

static bool add(struct dbk_unstored *ahead, const struct dbk_event *given)
{
    struct dbk_event event = *given;
    struct dbk_slice *parts[] = {&event.stream, &event.type, &event.tags,
                                 &event.data,   &event.meta, &event.sealed};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (!copy(&ahead->arena, parts[i]))
            return false;
    }
    struct dbk_slice subject = dbk_store_rules_subject(event.stream);
    struct dbk_unstored_stream *stream =
        stream_of(ahead, subject.size > 0 ? subject : event.stream);
    if (stream == NULL)
        return false;
    struct list *list = subject.size > 0 ? &stream->rules : &stream->events;
    void *items = list->items;
    void *order = ahead->order;
    bool grown = grow(&items, list->count, &list->capacity, sizeof(*list->items));
    list->items = items;
    show(stream);
    grown = grow(&order, ahead->count, &ahead->capacity, sizeof(*ahead->order)) && grown;
    ahead->order = order;
    if (!grown)
        return false;
    if (ahead->count == 0)
        ahead->first = event.position;
    list->items[list->count++] = event;
    ahead->order[ahead->count++] = (struct dbk_unstored_place){
        .stream = (uint32_t)(stream - ahead->streams), .rules = subject.size > 0};
    show(stream);
    return true;
}

int dbk_unstored_add(struct dbk_unstored *ahead, const struct dbk_event *events, size_t count)
{
    size_t before = ahead->count;
    for (size_t i = 0; i < count; i++) {
        if (add(ahead, &events[i]))
            continue;
        while (ahead->count > before)
            take_last(ahead);
        return DBK_ENOMEM;
    }
    return DBK_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "index/chunk.h"

#include <stdlib.h>

#include "base/assert.h"

struct dbk_chunk *dbk_chunk_create(uint32_t capacity)
{
    struct dbk_chunk *chunk = dbk_alloc_zero(1, sizeof(*chunk));
    if (chunk == NULL)
        return NULL;
    chunk->capacity = capacity;
    chunk->posting_room = capacity * 2 * DBK_CHUNK_KEYS + DBK_CHUNK_FURTHER_MAX;
    for (chunk->table_size = 64; chunk->table_size < chunk->posting_room + chunk->posting_room / 2;)
        chunk->table_size *= 2;
    chunk->places = dbk_alloc(capacity * sizeof(*chunk->places));
    chunk->times = dbk_alloc(capacity * sizeof(*chunk->times));
    chunk->occurred = dbk_alloc(capacity * sizeof(*chunk->occurred));
    chunk->begins = dbk_alloc(capacity * sizeof(*chunk->begins));
    chunk->table = dbk_alloc_zero(chunk->table_size, sizeof(*chunk->table));
    chunk->slots = dbk_alloc(chunk->posting_room * sizeof(*chunk->slots));
    chunk->postings = dbk_alloc(chunk->posting_room * sizeof(*chunk->postings));
    if (chunk->places == NULL || chunk->times == NULL || chunk->occurred == NULL ||
        chunk->begins == NULL || chunk->table == NULL || chunk->slots == NULL ||
        chunk->postings == NULL) {
        dbk_chunk_free(chunk);
        return NULL;
    }
    return chunk;
}

void dbk_chunk_free(struct dbk_chunk *chunk)
{
    if (chunk == NULL)
        return;
    dbk_free(chunk->places);
    dbk_free(chunk->times);
    dbk_free(chunk->occurred);
    dbk_free(chunk->begins);
    dbk_free(chunk->table);
    dbk_free(chunk->slots);
    dbk_free(chunk->postings);
    dbk_free(chunk);
}

/* The table entry that has the key, or the free one where it belongs. */
static uint32_t *entry_of(const struct dbk_chunk *chunk, struct dbk_hash128 key)
{
    uint32_t mask = chunk->table_size - 1;
    for (uint32_t at = (uint32_t)key.high & mask;; at = (at + 1) & mask) {
        uint32_t *entry = &chunk->table[at];
        if (*entry == 0 || dbk_hash128_compare(chunk->slots[*entry - 1].key, key) == 0)
            return entry;
    }
}

static void add_posting(struct dbk_chunk *chunk, uint32_t event, struct dbk_hash128 key,
                        uint64_t rank)
{
    uint32_t *entry = entry_of(chunk, key);
    uint32_t index = chunk->posting_count;
    if (*entry == 0) {
        chunk->slots[chunk->slot_count] =
            (struct dbk_chunk_slot){key, DBK_CHUNK_NONE, DBK_CHUNK_NONE};
        *entry = ++chunk->slot_count;
    }
    struct dbk_chunk_slot *slot = &chunk->slots[*entry - 1];
    chunk->postings[index] = (struct dbk_chunk_posting){.rank = rank,
                                                        .event = event,
                                                        .slot = *entry - 1,
                                                        .before = slot->last,
                                                        .behind = DBK_CHUNK_NONE};
    if (slot->last == DBK_CHUNK_NONE)
        slot->first = index;
    else
        chunk->postings[slot->last].behind = index;
    slot->last = index;
    chunk->posting_count++;
}

bool dbk_chunk_has_room(const struct dbk_chunk *chunk, size_t further)
{
    return !chunk->full && chunk->count < chunk->capacity &&
           chunk->posting_room - chunk->posting_count >= DBK_CHUNK_KEYS + further;
}

void dbk_chunk_add(struct dbk_chunk *chunk, const struct dbk_event *event,
                   struct dbk_log_place place, const struct dbk_hash128 keys[DBK_CHUNK_KEYS])
{
    dbk_assert(dbk_chunk_has_room(chunk, 0));
    dbk_assert(event->position == chunk->first + chunk->count);
    uint32_t at = chunk->count;
    chunk->places[at] = place;
    chunk->times[at] = event->time_us;
    chunk->occurred[at] = event->occurred_us == DBK_TIME_NONE ? event->time_us : event->occurred_us;
    chunk->begins[at] = chunk->posting_count;
    for (uint32_t key = 0; key < DBK_CHUNK_KEYS; key++)
        add_posting(chunk, at, keys[key], key == 0 ? event->version : event->position);
    chunk->streams += event->version == 1;
    chunk->count++;
}

void dbk_chunk_add_key(struct dbk_chunk *chunk, struct dbk_hash128 key)
{
    uint32_t event = chunk->count - 1;
    uint32_t slot = *entry_of(chunk, key);
    bool twice = slot != 0 && chunk->slots[slot - 1].last != DBK_CHUNK_NONE &&
                 chunk->postings[chunk->slots[slot - 1].last].event == event;
    dbk_assert(chunk->posting_count < chunk->posting_room);
    if (!twice)
        add_posting(chunk, event, key, dbk_chunk_last(chunk));
}

static void take_posting(struct dbk_chunk *chunk, uint32_t index)
{
    const struct dbk_chunk_posting *posting = &chunk->postings[index];
    struct dbk_chunk_slot *slot = &chunk->slots[posting->slot];
    dbk_assert(slot->last == index);
    slot->last = posting->before;
    if (posting->before == DBK_CHUNK_NONE)
        slot->first = DBK_CHUNK_NONE;
    else
        chunk->postings[posting->before].behind = DBK_CHUNK_NONE;
}

void dbk_chunk_cut(struct dbk_chunk *chunk, uint64_t position)
{
    while (chunk->count > 0 && dbk_chunk_last(chunk) >= position) {
        uint32_t first = chunk->begins[chunk->count - 1];
        chunk->streams -= chunk->postings[first].rank == 1;
        while (chunk->posting_count > first)
            take_posting(chunk, --chunk->posting_count);
        chunk->count--;
    }
}

/* The first posting from a rank on, looked for from both ends: near either it is found soon. */
static uint32_t first_of(const struct dbk_chunk *chunk, uint32_t slot, uint64_t rank)
{
    uint32_t front = chunk->slots[slot].first;
    uint32_t back = chunk->slots[slot].last;
    if (back == DBK_CHUNK_NONE || chunk->postings[back].rank < rank)
        return DBK_CHUNK_NONE;
    while (chunk->postings[front].rank < rank) {
        uint32_t before = chunk->postings[back].before;
        if (chunk->postings[before].rank < rank)
            return back;
        back = before;
        front = chunk->postings[front].behind;
    }
    return front;
}

void dbk_chunk_find(const struct dbk_chunk *chunk, uint64_t covered, struct dbk_hash128 key,
                    const struct dbk_index_range *range, struct dbk_posting *postings, size_t max,
                    size_t *count)
{
    uint32_t slot = *entry_of(chunk, key);
    if (slot == 0)
        return;
    bool back = range->backwards;
    uint32_t at = back ? chunk->slots[slot - 1].last : first_of(chunk, slot - 1, range->rank_min);
    while (at != DBK_CHUNK_NONE && *count < max) {
        const struct dbk_chunk_posting *posting = &chunk->postings[at];
        uint64_t position = chunk->first + posting->event;
        if (back ? posting->rank < range->rank_min : posting->rank > range->rank_max)
            return;
        if (posting->rank >= range->rank_min && posting->rank <= range->rank_max &&
            position <= range->position_max && position > covered)
            postings[(*count)++] = (struct dbk_posting){posting->rank, position};
        at = back ? posting->before : posting->behind;
    }
}

uint64_t dbk_chunk_streams_behind(const struct dbk_chunk *chunk, uint64_t covered)
{
    uint64_t streams = 0;
    if (covered < chunk->first)
        return chunk->streams;
    for (uint64_t at = covered + 1 - chunk->first; at < chunk->count; at++)
        streams += chunk->postings[chunk->begins[at]].rank == 1;
    return streams;
}

static int compare_slots(const void *a, const void *b)
{
    const struct dbk_chunk_slot *const *left = a;
    const struct dbk_chunk_slot *const *right = b;
    return dbk_hash128_compare((*left)->key, (*right)->key);
}

static void write_events(const struct dbk_chunk *chunk, struct dbk_run_writer *writer)
{
    for (uint32_t i = 0; i < chunk->count; i++)
        dbk_run_writer_place(writer, chunk->places[i]);
    for (uint32_t begin = 0; begin < chunk->count; begin += DBK_RUN_ZONE_EVENTS) {
        struct dbk_run_zone zone = {chunk->first + begin, INT64_MAX, INT64_MIN, INT64_MAX,
                                    INT64_MIN};
        for (uint32_t i = begin; i < chunk->count && i < begin + DBK_RUN_ZONE_EVENTS; i++) {
            int64_t time = chunk->times[i];
            int64_t occurred = chunk->occurred[i];
            zone.time_min_us = time < zone.time_min_us ? time : zone.time_min_us;
            zone.time_max_us = time > zone.time_max_us ? time : zone.time_max_us;
            zone.occurred_min_us =
                occurred < zone.occurred_min_us ? occurred : zone.occurred_min_us;
            zone.occurred_max_us =
                occurred > zone.occurred_max_us ? occurred : zone.occurred_max_us;
        }
        dbk_run_writer_zone(writer, &zone);
    }
}

int dbk_chunk_write(const struct dbk_chunk *chunk, struct dbk_run_writer *writer,
                    struct dbk_error *err)
{
    const struct dbk_chunk_slot **order =
        dbk_alloc(chunk->slot_count * sizeof(struct dbk_chunk_slot *));
    if (order == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory sorting a run's keys");
    for (uint32_t i = 0; i < chunk->slot_count; i++)
        order[i] = &chunk->slots[i];
    qsort(order, chunk->slot_count, sizeof(struct dbk_chunk_slot *), compare_slots);
    for (uint32_t i = 0; i < chunk->slot_count; i++) {
        for (uint32_t at = order[i]->first; at != DBK_CHUNK_NONE; at = chunk->postings[at].behind)
            dbk_run_writer_entry(writer,
                                 &(struct dbk_run_entry){order[i]->key, chunk->postings[at].rank,
                                                         chunk->first + chunk->postings[at].event});
    }
    dbk_free((void *)order);
    write_events(chunk, writer);
    return dbk_run_writer_finish(writer, chunk->streams, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index.h"

#include "base/assert.h"
#include "index/state.h"
#include "json/json.h"

struct dbk_hash128 dbk_index_key(const struct dbk_index *index, enum dbk_index_kind kind,
                                 struct dbk_slice name)
{
    char bytes[DBK_STREAM_SIZE_MAX + 1];
    dbk_assert(name.size <= DBK_STREAM_SIZE_MAX);
    bytes[0] = (char)kind;
    if (name.size > 0)
        memcpy(bytes + 1, name.data, name.size);
    return dbk_siphash128(dbk_log_hash_key(index->log), dbk_slice(bytes, name.size + 1));
}

static struct dbk_chunk *newest(struct dbk_index *index)
{
    return index->chunk_count == 0 ? NULL : index->chunks[index->chunk_count - 1];
}

static int add_chunk(struct dbk_index *index, uint64_t first)
{
    if (index->chunk_count == index->chunk_capacity) {
        size_t capacity = index->chunk_capacity * 2 + 8;
        struct dbk_chunk **chunks =
            dbk_realloc((void *)index->chunks, capacity * sizeof(struct dbk_chunk *));
        if (chunks == NULL)
            return DBK_ENOMEM;
        index->chunks = chunks;
        index->chunk_capacity = capacity;
    }
    struct dbk_chunk *chunk = index->spare;
    index->spare = NULL;
    if (chunk == NULL)
        chunk = dbk_chunk_create(index->chunk_events);
    if (chunk == NULL)
        return DBK_ENOMEM;
    chunk->first = first;
    if (index->chunk_count > 0)
        newest(index)->full = true;
    index->chunks[index->chunk_count++] = chunk;
    return DBK_OK;
}

uint64_t dbk_index_covered(const struct dbk_index *index)
{
    return index->runs.count == 0 ? 0 : index->runs.items[index->runs.count - 1]->run.last;
}

static uint64_t last_position(struct dbk_index *index)
{
    const struct dbk_chunk *chunk = newest(index);
    return chunk == NULL || chunk->count == 0
               ? (chunk == NULL ? dbk_index_covered(index) : chunk->first - 1)
               : dbk_chunk_last(chunk);
}

bool dbk_event_correlation(const struct dbk_event *event, char room[DBK_CORRELATION_SIZE_MAX],
                           struct dbk_slice *correlation_out)
{
    return dbk_json_find_text(event->meta, "correlationid", room, DBK_CORRELATION_SIZE_MAX,
                              correlation_out) &&
           correlation_out->size > 0 && correlation_out->size <= DBK_CORRELATION_SIZE_MAX;
}

/* tags: each behind its size. */
static void add_tags(struct dbk_index *index, struct dbk_slice tags)
{
    struct dbk_slice tag;
    while (dbk_event_next_tag(&tags, &tag))
        dbk_chunk_add_key(newest(index), dbk_index_key(index, DBK_INDEX_TAG, tag));
}

int dbk_index_add(struct dbk_index *index, const struct dbk_event *event,
                  struct dbk_log_place place)
{
    struct dbk_hash128 keys[DBK_CHUNK_KEYS] = {
        dbk_index_key(index, DBK_INDEX_STREAM, event->stream),
        dbk_index_key(index, DBK_INDEX_CATEGORY, dbk_stream_category(event->stream)),
        dbk_index_key(index, DBK_INDEX_TYPE, event->type),
        dbk_index_key(index, DBK_INDEX_ID, dbk_slice(event->id.bytes, DBK_UUID_SIZE))};
    char room[DBK_CORRELATION_SIZE_MAX];
    struct dbk_slice correlation;
    struct dbk_hash128 correlation_key = {0};
    bool correlated = dbk_event_correlation(event, room, &correlation);
    int rc = DBK_OK;
    if (correlated)
        correlation_key = dbk_index_key(index, DBK_INDEX_CORRELATION, correlation);
    (void)pthread_rwlock_wrlock(&index->lock);
    dbk_assert(event->position == last_position(index) + 1);
    struct dbk_chunk *chunk = newest(index);
    if (chunk == NULL || !dbk_chunk_has_room(chunk, event->tags.size / 2 + correlated))
        rc = add_chunk(index, event->position);
    if (rc == DBK_OK) {
        dbk_chunk_add(newest(index), event, place, keys);
        add_tags(index, event->tags);
        if (correlated)
            dbk_chunk_add_key(newest(index), correlation_key);
    }
    (void)pthread_rwlock_unlock(&index->lock);
    return rc;
}

void dbk_index_cut(struct dbk_index *index, uint64_t position)
{
    (void)pthread_rwlock_wrlock(&index->lock);
    dbk_assert(position > index->synced);
    while (index->chunk_count > 0 && last_position(index) >= position) {
        struct dbk_chunk *chunk = index->chunks[index->chunk_count - 1];
        dbk_chunk_cut(chunk, position);
        chunk->full = false;
        if (chunk->count > 0)
            break;
        dbk_chunk_free(chunk);
        index->chunk_count--;
    }
    (void)pthread_rwlock_unlock(&index->lock);
}

static int find(struct dbk_index *index, struct dbk_hash128 key,
                const struct dbk_index_range *range, bool by_position, struct dbk_posting *postings,
                size_t max, size_t *count)
{
    uint64_t covered = dbk_index_covered(index);
    size_t sources = index->runs.count + index->chunk_count;
    for (size_t i = 0; i < sources && *count < max; i++) {
        size_t at = range->backwards ? sources - 1 - i : i;
        if (at >= index->runs.count) {
            dbk_chunk_find(index->chunks[at - index->runs.count], covered, key, range, postings,
                           max, count);
            continue;
        }
        const struct dbk_run *run = &index->runs.items[at]->run;
        if (run->first > range->position_max ||
            (by_position && (run->last < range->rank_min || run->first > range->rank_max)))
            continue;
        int rc = dbk_run_find(run, key, range, postings, max, count);
        if (rc < 0)
            return rc;
    }
    return DBK_OK;
}

int dbk_index_find_key(struct dbk_index *index, enum dbk_index_kind kind, struct dbk_hash128 key,
                       const struct dbk_index_range *range, struct dbk_posting *postings,
                       size_t max, size_t *count_out, struct dbk_error *err)
{
    size_t count = 0;
    (void)pthread_rwlock_rdlock(&index->lock);
    int rc = find(index, key, range, kind != DBK_INDEX_STREAM, postings, max, &count);
    (void)pthread_rwlock_unlock(&index->lock);
    if (rc < 0)
        return dbk_error_set(err, rc,
                             "a run of the index cannot be read; remove the folder %s "
                             "and it is made again",
                             index->folder);
    *count_out = count;
    return DBK_OK;
}

int dbk_index_find(struct dbk_index *index, enum dbk_index_kind kind, struct dbk_slice name,
                   const struct dbk_index_range *range, struct dbk_posting *postings, size_t max,
                   size_t *count_out, struct dbk_error *err)
{
    return dbk_index_find_key(index, kind, dbk_index_key(index, kind, name), range, postings, max,
                              count_out, err);
}

/* The run or chunk that has a position; one of the two is NULL. */
static void locate(struct dbk_index *index, uint64_t position, const struct dbk_run **run_out,
                   const struct dbk_chunk **chunk_out)
{
    *run_out = NULL;
    *chunk_out = NULL;
    if (position > 0 && position <= dbk_index_covered(index)) {
        size_t low = 0;
        size_t high = index->runs.count;
        while (high - low > 1) {
            size_t middle = (low + high) / 2;
            if (index->runs.items[middle]->run.first <= position)
                low = middle;
            else
                high = middle;
        }
        *run_out = &index->runs.items[low]->run;
        return;
    }
    for (size_t i = index->chunk_count; i-- > 0;) {
        const struct dbk_chunk *chunk = index->chunks[i];
        if (chunk->count > 0 && position >= chunk->first && position <= dbk_chunk_last(chunk)) {
            *chunk_out = chunk;
            return;
        }
    }
}

int dbk_index_places(struct dbk_index *index, const uint64_t *positions, size_t count,
                     struct dbk_log_place *places_out, struct dbk_error *err)
{
    const struct dbk_run *run = NULL;
    const struct dbk_chunk *chunk = NULL;
    size_t at = 0;
    (void)pthread_rwlock_rdlock(&index->lock);
    for (; at < count; at++) {
        uint64_t position = positions[at];
        if (run == NULL || position < run->first || position > run->last)
            locate(index, position, &run, &chunk);
        if (run != NULL)
            places_out[at] = dbk_run_place(run, position);
        else if (chunk != NULL)
            places_out[at] = chunk->places[position - chunk->first];
        else
            break;
    }
    (void)pthread_rwlock_unlock(&index->lock);
    if (at < count)
        return dbk_error_set(err, DBK_ENOTFOUND, "there is no position %ju in the index",
                             (uintmax_t)positions[at]);
    return DBK_OK;
}

int dbk_index_place(struct dbk_index *index, uint64_t position, struct dbk_log_place *place_out,
                    struct dbk_error *err)
{
    return dbk_index_places(index, &position, 1, place_out, err);
}

uint64_t dbk_index_last(struct dbk_index *index)
{
    (void)pthread_rwlock_rdlock(&index->lock);
    uint64_t last = last_position(index);
    (void)pthread_rwlock_unlock(&index->lock);
    return last;
}

/* In a run: the last zone that begins not after the instant. */
static void run_time_range(const struct dbk_run *run, int64_t time_us, uint64_t *low_out,
                           uint64_t *high_out)
{
    uint64_t low = 0;
    uint64_t high = run->counts.zones;
    while (high - low > 1) {
        uint64_t middle = (low + high) / 2;
        if (dbk_run_zone_at(run, middle).time_min_us <= time_us)
            low = middle;
        else
            high = middle;
    }
    *low_out = dbk_run_zone_at(run, low).first;
    *high_out = low + 1 < run->counts.zones ? dbk_run_zone_at(run, low + 1).first - 1 : run->last;
}

static uint64_t chunk_time_position(const struct dbk_chunk *chunk, int64_t time_us)
{
    uint32_t low = 0;
    uint32_t high = chunk->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (chunk->times[middle] <= time_us)
            low = middle + 1;
        else
            high = middle;
    }
    return chunk->first + low - 1;
}

void dbk_index_time_range(struct dbk_index *index, int64_t time_us, uint64_t *low_out,
                          uint64_t *high_out)
{
    *low_out = *high_out = 0;
    (void)pthread_rwlock_rdlock(&index->lock);
    for (size_t i = index->chunk_count; i-- > 0 && *high_out == 0;) {
        const struct dbk_chunk *chunk = index->chunks[i];
        if (chunk->count > 0 && chunk->times[0] <= time_us)
            *low_out = *high_out = chunk_time_position(chunk, time_us);
    }
    for (size_t i = index->runs.count; i-- > 0 && *high_out == 0;) {
        const struct dbk_run *run = &index->runs.items[i]->run;
        if (dbk_run_zone_at(run, 0).time_min_us <= time_us)
            run_time_range(run, time_us, low_out, high_out);
    }
    (void)pthread_rwlock_unlock(&index->lock);
}

static bool overlaps(int64_t low, int64_t high, int64_t min_us, int64_t max_us)
{
    return low <= max_us && high >= min_us;
}

/* The zone of a run that has a position. */
static uint64_t zone_of(const struct dbk_run *run, uint64_t position)
{
    uint64_t low = 0;
    uint64_t high = run->counts.zones;
    while (high - low > 1) {
        uint64_t middle = (low + high) / 2;
        if (dbk_run_zone_at(run, middle).first <= position)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* From a position within the run on: the first one whose zone fits, or 0. */
static uint64_t run_skip(const struct dbk_run *run, uint64_t position, int64_t min_us,
                         int64_t max_us, bool backwards)
{
    uint64_t zone = zone_of(run, position);
    for (;;) {
        struct dbk_run_zone bounds = dbk_run_zone_at(run, zone);
        uint64_t end =
            zone + 1 < run->counts.zones ? dbk_run_zone_at(run, zone + 1).first - 1 : run->last;
        if (overlaps(bounds.occurred_min_us, bounds.occurred_max_us, min_us, max_us)) {
            if (backwards)
                return position < end ? position : end;
            return position > bounds.first ? position : bounds.first;
        }
        if (backwards ? zone == 0 : zone + 1 == run->counts.zones)
            return 0;
        zone = backwards ? zone - 1 : zone + 1;
    }
}

static uint64_t chunk_skip(const struct dbk_chunk *chunk, uint64_t position, int64_t min_us,
                           int64_t max_us, bool backwards)
{
    for (uint64_t at = position - chunk->first; at < chunk->count;
         at += backwards ? UINT64_MAX : 1) {
        if (chunk->occurred[at] >= min_us && chunk->occurred[at] <= max_us)
            return chunk->first + at;
    }
    return 0;
}

uint64_t dbk_index_occurred_skip(struct dbk_index *index, uint64_t position, int64_t min_us,
                                 int64_t max_us, bool backwards)
{
    uint64_t found = 0;
    (void)pthread_rwlock_rdlock(&index->lock);
    while (found == 0) {
        const struct dbk_run *run = NULL;
        const struct dbk_chunk *chunk = NULL;
        locate(index, position, &run, &chunk);
        if (run != NULL) {
            found = run_skip(run, position, min_us, max_us, backwards);
            position = backwards ? run->first - 1 : run->last + 1;
        } else if (chunk != NULL) {
            found = chunk_skip(chunk, position, min_us, max_us, backwards);
            position = backwards ? chunk->first - 1 : dbk_chunk_last(chunk) + 1;
        } else {
            break;
        }
    }
    (void)pthread_rwlock_unlock(&index->lock);
    return found;
}

uint64_t dbk_index_stream_count(struct dbk_index *index)
{
    uint64_t streams = 0;
    (void)pthread_rwlock_rdlock(&index->lock);
    for (size_t i = 0; i < index->runs.count; i++)
        streams += index->runs.items[i]->run.counts.streams;
    for (size_t i = 0; i < index->chunk_count; i++)
        streams += dbk_chunk_streams_behind(index->chunks[i], dbk_index_covered(index));
    (void)pthread_rwlock_unlock(&index->lock);
    return streams;
}

void dbk_index_stats(struct dbk_index *index, struct dbk_index_stats *stats_out)
{
    (void)pthread_rwlock_rdlock(&index->lock);
    *stats_out = (struct dbk_index_stats){
        .runs = index->runs.count, .made = index->made, .removed = index->removed};
    for (size_t i = 0; i < index->chunk_count; i++)
        stats_out->tail_events += index->chunks[i]->count;
    (void)pthread_rwlock_unlock(&index->lock);
}

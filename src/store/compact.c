/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What no stream's rules keep any more loses its content, and fields of erased keys their
 * ciphertext, segment by segment.
 */
#include "base/assert.h"
#include "store/rules.h"

/* Positions that are looked at at once: 8 MiB of bits. */
#define WINDOW ((uint64_t)1 << 26)
#define POSTINGS 512

struct compacting {
    struct dbk_store *store;
    const struct dbk_store_compaction *options;
    struct dbk_store_compacted *result;
    uint64_t first; /* of the window */
    uint64_t last;
    uint8_t *bits; /* of the window's positions: may go. NULL: none */
    uint8_t
        *sealed; /* of the window's positions: may have ciphertexts of erased keys. NULL: none */
    uint32_t segment;
    uint64_t size_done; /* of sealed segments looked at */
    uint64_t size_total;
    uint64_t size_read;
};

static bool has_mark(const struct compacting *compacting, const uint8_t *bits, uint64_t position)
{
    if (bits == NULL || position < compacting->first || position > compacting->last)
        return false;
    uint64_t bit = position - compacting->first;
    return (bits[bit / 8] >> bit % 8 & 1) != 0;
}

static bool is_marked(const struct compacting *compacting, uint64_t position)
{
    return has_mark(compacting, compacting->bits, position);
}

static void mark_in(const struct compacting *compacting, uint8_t *bits, uint64_t position)
{
    uint64_t bit = position - compacting->first;
    bits[bit / 8] = (uint8_t)(bits[bit / 8] | 1u << bit % 8);
}

static void mark(struct compacting *compacting, uint64_t position)
{
    mark_in(compacting, compacting->bits, position);
}

/* Marks a stream's versions below `first`, and those up to a position. */
static int mark_stream(struct compacting *compacting, struct dbk_slice stream, uint64_t first,
                       uint64_t position_max, struct dbk_error *err)
{
    struct dbk_store *store = compacting->store;
    struct dbk_posting postings[POSTINGS];
    struct dbk_index_range range = {
        .rank_min = 1, .rank_max = UINT64_MAX, .position_max = compacting->last};
    struct dbk_hash128 key = dbk_index_key(store->index, DBK_INDEX_STREAM, stream);
    size_t count = POSTINGS;
    while (count == POSTINGS) {
        int rc = dbk_index_find_key(store->index, DBK_INDEX_STREAM, key, &range, postings, POSTINGS,
                                    &count, err);
        if (rc < 0)
            return rc;
        for (size_t i = 0; i < count; i++) {
            if (postings[i].rank >= first && postings[i].position > position_max)
                return DBK_OK;
            if (postings[i].position >= compacting->first)
                mark(compacting, postings[i].position);
        }
        range.rank_min = count == 0 ? 1 : postings[count - 1].rank + 1;
    }
    return DBK_OK;
}

/* The rules of one stream, and the older rules of it. */
static int mark_by_rules(struct compacting *compacting, const struct dbk_event *rules,
                         struct dbk_error *err)
{
    struct dbk_store *store = compacting->store;
    struct dbk_slice subject = dbk_store_rules_subject(rules->stream);
    struct dbk_stream_info info;
    uint64_t position = 0;
    if (subject.size == 0)
        return DBK_OK;
    int rc = dbk_store_stream_info(store, subject, &info, err);
    if (rc < 0)
        return rc;
    if (rules->version < info.rules.version) {
        if (rules->position >= compacting->first && rules->position <= compacting->last)
            mark(compacting, rules->position);
        return DBK_OK;
    }
    if (info.time_min_us > 0)
        rc = dbk_store_position_at(store, info.time_min_us - 1, &position, err);
    return rc < 0 ? rc : mark_stream(compacting, subject, info.first, position, err);
}

/* The events of the window that have fields under a key. */
static int mark_key(struct compacting *compacting, const struct dbk_uuid *key_id,
                    struct dbk_error *err)
{
    struct dbk_store *store = compacting->store;
    struct dbk_posting postings[POSTINGS];
    struct dbk_index_range range = {.rank_min = compacting->first,
                                    .rank_max = compacting->last,
                                    .position_max = compacting->last};
    char tag[DBK_KEY_TAG_SIZE + 1];
    dbk_key_tag(key_id, tag);
    struct dbk_hash128 key =
        dbk_index_key(store->index, DBK_INDEX_TAG, dbk_slice(tag, DBK_KEY_TAG_SIZE));
    size_t count = POSTINGS;
    while (count == POSTINGS) {
        int rc = dbk_index_find_key(store->index, DBK_INDEX_TAG, key, &range, postings, POSTINGS,
                                    &count, err);
        if (rc < 0)
            return rc;
        for (size_t i = 0; i < count; i++)
            mark_in(compacting, compacting->sealed, postings[i].position);
        range.rank_min = count == 0 ? 1 : postings[count - 1].rank + 1;
    }
    return DBK_OK;
}

static int mark_rules(struct compacting *compacting, struct dbk_error *err)
{
    static const struct dbk_slice category = {.data = "$stream", .size = 7};
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    int rc = dbk_cursor_open(
        compacting->store,
        &(struct dbk_filter){.categories = &category, .category_count = 1, .hidden = true}, &cursor,
        err);
    while (rc >= 0 && (rc = dbk_cursor_next(cursor, &event, err)) > 0)
        rc = mark_by_rules(compacting, &event, err);
    dbk_cursor_free(cursor);
    return rc < 0 ? rc : DBK_OK;
}

static int mark_window(struct compacting *compacting, struct dbk_error *err)
{
    const struct dbk_store_compaction *options = compacting->options;
    int rc = DBK_OK;
    if (compacting->bits != NULL) {
        memset(compacting->bits, 0, WINDOW / 8);
        rc = mark_rules(compacting, err);
    }
    if (compacting->sealed != NULL)
        memset(compacting->sealed, 0, WINDOW / 8);
    for (size_t i = 0; rc == DBK_OK && i < options->erased_count; i++)
        rc = mark_key(compacting, &options->erased[i], err);
    return rc;
}

static int compare_keys(const void *a, const void *b)
{
    return memcmp(a, b, DBK_UUID_SIZE);
}

static bool erased(void *context, const struct dbk_uuid *key_id)
{
    const struct dbk_store_compaction *options = ((const struct compacting *)context)->options;
    return options->erased_count > 0 && bsearch(key_id, options->erased, options->erased_count,
                                                sizeof(*key_id), compare_keys) != NULL;
}

static bool removes(void *context, const struct dbk_event *event)
{
    return is_marked(context, event->position);
}

static int tell(struct compacting *compacting)
{
    const struct dbk_store_compaction *options = compacting->options;
    return options->step == NULL ? DBK_OK
                                 : options->step(options->context, compacting->size_done,
                                                 compacting->size_total, compacting->size_read);
}

static int step(void *context, size_t size)
{
    struct compacting *compacting = context;
    compacting->size_done += size;
    compacting->size_read += size;
    return tell(compacting);
}

struct measure {
    uint64_t events;   /* that are to lose their content */
    uint64_t size;     /* of that */
    bool has_dropping; /* ciphertexts of erased keys are there */
};

static int measure_event(struct compacting *compacting, const struct dbk_event *event,
                         struct measure *measure, struct dbk_error *err)
{
    int64_t size = 0;
    if (is_marked(compacting, event->position)) {
        measure->events++;
        measure->size +=
            event->data.size + event->meta.size + event->tags.size + event->sealed.size;
    }
    if (measure->has_dropping || !has_mark(compacting, compacting->sealed, event->position))
        return DBK_OK;
    int rc = dbk_sealed_droppable(event->sealed, erased, compacting, &size);
    measure->has_dropping = rc > 0;
    return rc < 0 ? dbk_error_set(err, rc, "position %ju has a damaged sealed section",
                                  (uintmax_t)event->position)
                  : DBK_OK;
}

/* What the segment's events still have that is to go. */
static int measure(struct compacting *compacting, uint64_t first, uint64_t end,
                   struct measure *measure_out, struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    *measure_out = (struct measure){0};
    int rc = dbk_cursor_open(
        compacting->store,
        &(struct dbk_filter){
            .position_min = first, .position_max = end, .hidden = true, .raw = true},
        &cursor, err);
    while (rc >= 0 && (rc = dbk_cursor_next(cursor, &event, err)) > 0)
        rc = measure_event(compacting, &event, measure_out, err);
    dbk_cursor_free(cursor);
    return rc < 0 ? rc : DBK_OK;
}

static int compact_segment(struct compacting *compacting, uint64_t first, uint64_t end,
                           struct dbk_error *err)
{
    struct dbk_log *log = compacting->store->log;
    struct dbk_log_compacted compacted = {0};
    struct measure found;
    uint64_t begun = compacting->size_done;
    uint64_t size = dbk_log_segment_size(log, compacting->segment);
    int rc = measure(compacting, first, end, &found, err);
    compacting->size_read += size;
    bool worth = found.has_dropping ||
                 (found.events > 0 && found.size * 100 >= size * compacting->options->percent);
    if (rc == DBK_OK && worth)
        rc = dbk_log_compact(
            log, compacting->segment,
            &(struct dbk_log_compaction){
                .removes = removes, .erased = erased, .step = step, .context = compacting},
            &compacted, err);
    compacting->size_done = begun + size;
    if (rc < 0 || !worth)
        return rc;
    compacting->result->segments++;
    compacting->result->removed += compacted.removed;
    compacting->result->dropped += compacted.dropped;
    compacting->result->size_before += compacted.size_before;
    compacting->result->size += compacted.size;
    return DBK_OK;
}

/* What was removed once stays marked: as many marks as that mean that there is nothing to do. Of
   ciphertexts only reading the events tells. */
static bool has_work(const struct compacting *compacting, uint64_t first, uint64_t end)
{
    uint64_t marks = 0;
    for (uint64_t position = first; position <= end; position++) {
        if (has_mark(compacting, compacting->sealed, position))
            return true;
        marks += is_marked(compacting, position);
    }
    return marks > dbk_log_segment_removed(compacting->store->log, compacting->segment);
}

static int compact_all(struct compacting *compacting, struct dbk_error *err)
{
    struct dbk_log *log = compacting->store->log;
    uint32_t sealed = dbk_log_segment_count(log) - 1;
    int rc = DBK_OK;
    for (uint32_t i = 0; i < sealed; i++)
        compacting->size_total += dbk_log_segment_size(log, i);
    for (uint32_t i = 0; rc == DBK_OK && i < sealed; i++) {
        uint64_t first = dbk_log_segment_first_position(log, i);
        uint64_t end = dbk_log_segment_first_position(log, i + 1) - 1;
        compacting->segment = i;
        /* A segment never has as many events as a window. */
        if (end > compacting->last) {
            compacting->first = first;
            compacting->last = first + WINDOW - 1;
            rc = mark_window(compacting, err);
        }
        if (rc == DBK_OK && has_work(compacting, first, end))
            rc = compact_segment(compacting, first, end, err);
        else
            compacting->size_done += dbk_log_segment_size(log, i);
        if (rc == DBK_OK)
            rc = tell(compacting);
    }
    return rc;
}

/* Segments of an older format as they are. */
static int upgrade_all(struct compacting *compacting, struct dbk_error *err)
{
    struct dbk_log *log = compacting->store->log;
    uint32_t sealed = dbk_log_segment_count(log) - 1;
    int rc = DBK_OK;
    for (uint32_t i = 0; i < sealed; i++)
        compacting->size_total += dbk_log_segment_size(log, i);
    for (uint32_t i = 0; rc == DBK_OK && i < sealed; i++) {
        struct dbk_log_compacted compacted = {0};
        uint64_t end = compacting->size_done + dbk_log_segment_size(log, i);
        if (dbk_log_segment_version(log, i) < DBK_LOG_FORMAT) {
            rc = dbk_log_compact(log, i,
                                 &(struct dbk_log_compaction){.step = step, .context = compacting},
                                 &compacted, err);
            compacting->result->segments += rc == DBK_OK;
            compacting->result->size_before += compacted.size_before;
            compacting->result->size += compacted.size;
        }
        compacting->size_done = end;
        if (rc == DBK_OK)
            rc = tell(compacting);
    }
    return rc;
}

/* One at a time. */
static int begin(struct dbk_store *store, struct dbk_error *err)
{
    if (!store->writer)
        return dbk_error_set(err, DBK_EDENIED, "%s was opened for reading", store->folder);
    if (atomic_exchange(&store->compacting, true))
        return dbk_error_set(err, DBK_EBUSY, "%s is being compacted already", store->folder);
    return DBK_OK;
}

int dbk_store_upgrade(struct dbk_store *store, const struct dbk_store_compaction *options,
                      struct dbk_store_compacted *result_out, struct dbk_error *err)
{
    struct compacting compacting = {.store = store, .options = options, .result = result_out};
    *result_out = (struct dbk_store_compacted){0};
    int rc = begin(store, err);
    if (rc < 0)
        return rc;
    rc = upgrade_all(&compacting, err);
    atomic_store(&store->compacting, false);
    return rc;
}

int dbk_store_compact(struct dbk_store *store, const struct dbk_store_compaction *options,
                      struct dbk_store_compacted *result_out, struct dbk_error *err)
{
    struct compacting compacting = {.store = store, .options = options, .result = result_out};
    *result_out = (struct dbk_store_compacted){0};
    int rc = begin(store, err);
    if (rc < 0)
        return rc;
    bool has_rules = atomic_load(&store->has_rules);
    bool has_erased = options->erased_count > 0;
    if (!has_rules && !has_erased)
        goto out;
    if (has_rules)
        compacting.bits = dbk_alloc(WINDOW / 8);
    if (has_erased)
        compacting.sealed = dbk_alloc(WINDOW / 8);
    rc = (has_rules && compacting.bits == NULL) || (has_erased && compacting.sealed == NULL)
             ? dbk_error_set(err, DBK_ENOMEM, "out of memory compacting %s", store->folder)
             : compact_all(&compacting, err);
    dbk_free(compacting.bits);
    dbk_free(compacting.sealed);
out:
    atomic_store(&store->compacting, false);
    return rc;
}

void dbk_store_seal(struct dbk_store *store)
{
    dbk_log_seal(store->log);
}

uint64_t dbk_store_sealed_position(struct dbk_store *store)
{
    uint32_t last = dbk_log_segment_count(store->log) - 1;
    return dbk_log_segment_first_position(store->log, last) - 1;
}

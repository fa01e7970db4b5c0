/* SPDX-License-Identifier: Apache-2.0 */
/* A batch is checked against all accepted before it, and framed into the filling group. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "store/match.h"
#include "store/state.h"

/* Postings that a condition's check fetches at once: most find none, or the first will do. */
#define MATCH_ROOM 8

/* How a batch's ids stand to what is stored. */
struct known {
    size_t count;
    uint64_t first_position;
    uint64_t last_position;
    uint64_t last_version;
    uint64_t newest; /* the highest of their positions */
    bool *each;      /* per event; only with skip-known */
};

/* A stream whose rules keep none of its versions is as good as none. */
static bool exists(const struct dbk_head *head)
{
    return head->version > 0 && head->version >= head->first;
}

static bool holds(int64_t expected, const struct dbk_head *head)
{
    if (expected == DBK_EXPECT_EXISTS)
        return exists(head);
    if (expected == DBK_EXPECT_NONE)
        return !exists(head);
    return (uint64_t)expected == head->version;
}

static int expectation_failed(const struct dbk_batch *batch, size_t index,
                              const struct dbk_head *head, struct dbk_append_result *result,
                              struct dbk_error *err)
{
    const struct dbk_expectation *expected = &batch->expectations[index];
    result->failed_expectation = index;
    result->actual_version = exists(head) ? head->version : 0;
    if (expected->version == DBK_EXPECT_EXISTS)
        return dbk_error_set(err, DBK_ECONFLICT, "stream %.*s was expected to exist, and does not",
                             DBK_SLICE_ARGS(expected->stream));
    if (expected->version == DBK_EXPECT_NONE)
        return dbk_error_set(err, DBK_ECONFLICT,
                             "stream %.*s was expected not to exist, and is at version %" PRIu64,
                             DBK_SLICE_ARGS(expected->stream), head->version);
    return dbk_error_set(err, DBK_ECONFLICT,
                         "stream %.*s was expected at version %" PRId64 ", and is at %" PRIu64,
                         DBK_SLICE_ARGS(expected->stream), expected->version, head->version);
}

static int check_expectations(struct dbk_store *store, const struct dbk_batch *batch,
                              struct dbk_append_result *result, uint64_t *rests_on,
                              struct dbk_error *err)
{
    for (size_t i = 0; i < batch->expectation_count; i++) {
        const struct dbk_expectation *expected = &batch->expectations[i];
        struct dbk_head head;
        if (expected->version == DBK_EXPECT_ANY)
            continue;
        int rc = dbk_store_head(store, expected->stream, &head, err);
        if (rc == DBK_EBUSY)
            *rests_on = head.position;
        if (rc < 0)
            return rc;
        if (!holds(expected->version, &head)) {
            *rests_on = head.position;
            return expectation_failed(batch, i, &head, result, err);
        }
    }
    return DBK_OK;
}

static bool is_match_all(const struct dbk_query *query)
{
    for (size_t i = 0; i < query->count; i++) {
        if (query->items[i].type_count == 0 && query->items[i].tag_count == 0)
            return true;
    }
    return false;
}

/* Whether the candidate really matches; it is readable. */
static int check_candidate(struct dbk_store *store, const struct dbk_query *query,
                           uint64_t position, bool *matches_out, struct dbk_error *err)
{
    struct dbk_log_reader reader;
    struct dbk_event event;
    dbk_log_reader_init(&reader);
    int rc = dbk_store_read_position(store, position, &reader, &event, err);
    if (rc == DBK_OK)
        *matches_out = event.stream.data[0] != '$' && dbk_query_matches(query, &event);
    dbk_log_reader_release(&reader);
    return rc;
}

/* The newest position behind `after` that matches; 0: none. again_out: it is not yet readable. */
static int find_match(struct dbk_store *store, const struct dbk_condition *condition,
                      struct dbk_match *match, uint64_t *position_out, bool *again_out,
                      struct dbk_error *err)
{
    bool all = is_match_all(&condition->none);
    bool matches = false;
    uint64_t position = match->position_max + 1;
    int rc = DBK_OK;
    while (rc == DBK_OK && !matches && !*again_out && position > 0) {
        if (all)
            position = position - 1 > condition->after ? position - 1 : 0;
        else
            rc = dbk_match_next(match, position - 1, &position, err);
        if (rc < 0 || position == 0)
            break;
        if (position > dbk_log_last_position(store->log))
            *again_out = true;
        else
            rc = check_candidate(store, &condition->none, position, &matches, err);
    }
    *position_out = position;
    return rc;
}

static int check_condition(struct dbk_store *store, const struct dbk_condition *condition,
                           struct dbk_append_result *result, uint64_t *rests_on, bool *again_out,
                           struct dbk_error *err)
{
    _Alignas(16) char memory[DBK_MATCH_MEMORY];
    struct dbk_match match = {.index = store->index,
                              .backwards = true,
                              .position_min = condition->after + 1,
                              .position_max = store->accepted_position,
                              .room = MATCH_ROOM};
    size_t groups = 0;
    size_t lists = 0;
    uint64_t position = 0;
    if (condition->none.count == 0 || condition->after >= store->accepted_position)
        return DBK_OK;
    dbk_match_count(&condition->none, &groups, &lists);
    int rc = dbk_match_init(&match, condition->none.count, groups, lists, memory, err);
    if (rc < 0)
        return rc;
    dbk_match_add_query(&match, &condition->none);
    rc = find_match(store, condition, &match, &position, again_out, err);
    dbk_match_release(&match);
    if (rc < 0 || position == 0)
        return rc;
    *rests_on = position;
    if (*again_out)
        return DBK_OK;
    result->matched_position = position;
    return dbk_error_set(err, DBK_ECONFLICT,
                         "the event at position %" PRIu64
                         " matches the condition, which looked after position %" PRIu64,
                         position, condition->after);
}

/* Room for count items, zeroed, in a buffer's memory. */
static int room_for(struct dbk_buf *buf, size_t count, size_t size, void **items_out)
{
    dbk_buf_reset(buf);
    int rc = dbk_buf_reserve(buf, count * size);
    if (rc < 0)
        return rc;
    memset(buf->data, 0, count * size);
    *items_out = buf->data;
    return DBK_OK;
}

/* Tags as they are stored: sorted, each once, behind its size. */
static int compare_tags(const void *a, const void *b)
{
    return dbk_slice_compare(*(const struct dbk_slice *)a, *(const struct dbk_slice *)b);
}

/* Into store->tags. */
static int encode_tags(struct dbk_store *store, const struct dbk_new_event *event,
                       struct dbk_error *err)
{
    struct dbk_buf *out = &store->tags;
    struct dbk_slice *tags = NULL;
    dbk_buf_reset(out);
    if (event->tag_count == 0)
        return DBK_OK;
    if (room_for(&store->order, event->tag_count, sizeof(*tags), (void **)&tags) < 0)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory sorting tags");
    memcpy(tags, event->tags, event->tag_count * sizeof(*tags));
    qsort(tags, event->tag_count, sizeof(*tags), compare_tags);
    for (size_t i = 0; i < event->tag_count; i++) {
        if (i > 0 && dbk_slice_equal(tags[i], tags[i - 1]))
            continue;
        dbk_buf_append_char(out, (char)tags[i].size);
        dbk_buf_append(out, tags[i]);
    }
    return out->rc < 0 ? dbk_error_set(err, out->rc, "out of memory sorting tags") : DBK_OK;
}

/* Of a removed event a digest of its content is left. */
static bool same_content(const struct dbk_new_event *event, struct dbk_slice tags,
                         const struct dbk_event *stored)
{
    struct dbk_event whole = *stored;
    if ((stored->flags & DBK_RECORD_REMOVED) == 0)
        return dbk_slice_equal(event->data, stored->data) &&
               dbk_slice_equal(event->meta, stored->meta) && dbk_slice_equal(tags, stored->tags) &&
               dbk_slice_equal(event->sealed, stored->sealed);
    whole.flags &= ~(uint32_t)DBK_RECORD_REMOVED;
    whole.tags = tags;
    whole.data = event->data;
    whole.meta = event->meta;
    whole.sealed = event->sealed;
    return dbk_record_had(stored, &whole);
}

static bool same(const struct dbk_new_event *event, struct dbk_slice tags,
                 const struct dbk_event *stored)
{
    if (event->same_by_id)
        return true;
    return dbk_slice_equal(event->stream, stored->stream) &&
           dbk_slice_equal(event->type, stored->type) &&
           event->occurred_us == stored->occurred_us &&
           (event->flags & DBK_RECORD_JSON) == (stored->flags & DBK_RECORD_JSON) &&
           same_content(event, tags, stored);
}

/* Compares an event with the one that is stored under its id. again_out: that one is not yet
   readable, ask again when it is. */
static int compare_known(struct dbk_store *store, const struct dbk_new_event *event, size_t index,
                         uint64_t position, uint64_t *version_out, bool *again_out,
                         struct dbk_error *err)
{
    struct dbk_log_reader reader;
    struct dbk_event stored;
    if (position > dbk_log_last_position(store->log)) {
        *again_out = true;
        return DBK_OK;
    }
    dbk_log_reader_init(&reader);
    int rc = dbk_store_read_position(store, position, &reader, &stored, err);
    if (rc == DBK_OK)
        rc = encode_tags(store, event, err);
    if (rc == DBK_OK && !same(event, dbk_buf_slice(&store->tags), &stored)) {
        char id[DBK_UUID_TEXT_SIZE];
        dbk_uuid_format(&event->id, id);
        rc = dbk_error_set(err, DBK_ECONFLICT,
                           "event %zu: id %s is stored at position %" PRIu64 " with other content",
                           index, id, position);
    }
    if (rc == DBK_OK)
        *version_out = stored.version;
    dbk_log_reader_release(&reader);
    return rc;
}

static int find_known(struct dbk_store *store, const struct dbk_batch *batch, struct known *known,
                      bool *again_out, struct dbk_error *err)
{
    struct dbk_index_range range = {.rank_max = UINT64_MAX, .position_max = UINT64_MAX};
    for (size_t i = 0; i < batch->count; i++) {
        const struct dbk_new_event *event = &batch->events[i];
        struct dbk_posting posting = {0};
        size_t count = 0;
        uint64_t version = 0;
        if (dbk_uuid_is_none(&event->id))
            continue;
        int rc =
            dbk_index_find(store->index, DBK_INDEX_ID, dbk_slice(event->id.bytes, DBK_UUID_SIZE),
                           &range, &posting, 1, &count, err);
        if (rc < 0)
            return rc;
        if (count == 0)
            continue;
        known->newest = posting.position > known->newest ? posting.position : known->newest;
        rc = compare_known(store, event, i, posting.position, &version, again_out, err);
        if (rc < 0 || *again_out)
            return rc;
        if (known->first_position == 0)
            known->first_position = posting.position;
        known->last_position = posting.position;
        known->last_version = version;
        known->count++;
        if (known->each != NULL)
            known->each[i] = true;
    }
    return DBK_OK;
}

/* A batch being framed. */
struct framing {
    struct dbk_event framed;
    uint64_t last_version;
    uint64_t rests_on; /* what a refusal rests on; 0: nothing */
};

static int new_id(struct dbk_store *store, int64_t time_us, struct dbk_uuid *id_out,
                  struct dbk_error *err)
{
    if (store->random_left < 10) {
        int rc = store->os->random(store->os, store->random, sizeof(store->random), err);
        if (rc < 0)
            return rc;
        store->random_left = sizeof(store->random);
    }
    store->random_left -= 10;
    *id_out = dbk_uuid_v7(time_us > 0 ? time_us : 0, store->random + store->random_left);
    return DBK_OK;
}

/* When an event is recorded: now, or when a migration says it was. */
static int time_of(const struct dbk_batch *batch, size_t index, int64_t *time_us,
                   struct dbk_error *err)
{
    const struct dbk_new_event *event = &batch->events[index];
    if ((batch->flags & DBK_APPEND_MIGRATED) == 0)
        return DBK_OK;
    if (event->time_us < *time_us)
        return dbk_error_set(err, DBK_EINVAL,
                             "event %zu: it was recorded before the event in front of it", index);
    *time_us = event->time_us;
    return DBK_OK;
}

/* The head of a stream that is open for appends. */
static int open_head(struct dbk_store *store, struct dbk_slice stream, struct dbk_head *head_out,
                     uint64_t *rests_on, struct dbk_error *err)
{
    int rc = dbk_store_head(store, stream, head_out, err);
    if (rc == DBK_EBUSY)
        *rests_on = head_out->position;
    if (rc == DBK_OK && head_out->closed)
        rc = dbk_error_set(err, DBK_EDENIED, "stream %.*s was closed for good",
                           DBK_SLICE_ARGS(stream));
    return rc;
}

static int frame_event(struct dbk_store *store, const struct dbk_new_event *event, bool last,
                       int64_t time_us, struct framing *framing, struct dbk_error *err)
{
    struct dbk_head head;
    struct dbk_log_place place;
    int rc = encode_tags(store, event, err);
    if (rc == DBK_OK)
        rc = open_head(store, event->stream, &head, &framing->rests_on, err);
    if (rc < 0)
        return rc;
    struct dbk_event framed = {
        .position = store->accepted_position + 1,
        .version = head.version + 1,
        .time_us = time_us,
        .occurred_us = event->occurred_us,
        .id = event->id,
        .flags = (event->flags & DBK_RECORD_JSON) | (last ? DBK_RECORD_BATCH_END : 0u),
        .schema_version = event->schema_version,
        .stream = event->stream,
        .type = event->type,
        .tags = dbk_buf_slice(&store->tags),
        .data = event->data,
        .meta = event->meta,
        .sealed = event->sealed,
    };
    if (dbk_uuid_is_none(&framed.id))
        rc = new_id(store, time_us, &framed.id, err);
    if (rc == DBK_OK)
        rc = dbk_log_group_add(store->filling.group, &framed, &place);
    if (rc < 0)
        return rc == DBK_ENOMEM ? dbk_error_set(err, rc, "out of memory framing a batch") : rc;
    rc = dbk_index_add(store->index, &framed, place);
    if (rc < 0) {
        dbk_log_group_cut(store->filling.group, framed.position);
        return dbk_error_set(err, rc, "out of memory indexing a batch");
    }
    store->accepted_position++;
    head.version = framed.version;
    head.position = framed.position;
    dbk_store_put_head(store, event->stream, &head);
    if (event->stream.data[0] == '$')
        dbk_standing_note(store, &framed);
    framing->last_version = framed.version;
    framing->framed = framed;
    return DBK_OK;
}

/* Takes a half-accepted batch out again. */
static void undo(struct dbk_store *store, uint64_t first_position)
{
    if (store->accepted_position < first_position)
        return;
    dbk_index_cut(store->index, first_position);
    dbk_log_group_cut(store->filling.group, first_position);
    store->accepted_position = first_position - 1;
    dbk_store_forget_heads(store);
}

static int apply(struct dbk_store *store, const struct dbk_event *events, size_t count,
                 struct dbk_error *err)
{
    const struct dbk_participant *participant = store->participant;
    return participant == NULL ? DBK_OK
                               : participant->apply(participant->context, events, count, err);
}

/* Each event's tags, which lie one behind the other: what one is framed with is used again. */
static void give_tags(const struct dbk_store *store, struct dbk_event *events, size_t count)
{
    const char *at = store->framed_tags.data;
    for (size_t i = 0; i < count; i++) {
        size_t size = events[i].tags.size;
        events[i].tags = size == 0 ? (struct dbk_slice){0} : dbk_slice(at, size);
        at = size == 0 ? at : at + size;
    }
}

static int frame(struct dbk_store *store, const struct dbk_batch *batch, const struct known *known,
                 struct dbk_append_result *result, uint64_t *rests_on, struct dbk_error *err)
{
    uint64_t first = store->accepted_position + 1;
    int64_t now_us = store->os->now_us(store->os);
    bool given = (batch->flags & DBK_APPEND_MIGRATED) != 0;
    int64_t time_us = now_us > store->accepted_time_us && !given ? now_us : store->accepted_time_us;
    size_t last = batch->count;
    size_t count = 0;
    struct framing framing = {0};
    struct dbk_event *events = &framing.framed;
    int rc = DBK_OK;
    dbk_buf_reset(&store->framed_tags);
    while (known->each != NULL && last > 0 && known->each[last - 1])
        last--;
    if (store->participant != NULL && batch->count > 1 &&
        room_for(&store->framed, batch->count, sizeof(*events), (void **)&events) < 0)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory framing a batch");
    for (size_t i = 0; rc == DBK_OK && i < last; i++) {
        if (known->each != NULL && known->each[i])
            continue;
        rc = time_of(batch, i, &time_us, err);
        if (rc == DBK_OK)
            rc = frame_event(store, &batch->events[i], i + 1 == last, time_us, &framing, err);
        if (rc == DBK_OK && events != &framing.framed) {
            events[count] = framing.framed;
            dbk_buf_append(&store->framed_tags, framing.framed.tags);
        }
        count += rc == DBK_OK;
    }
    if (rc == DBK_OK && store->framed_tags.rc < 0)
        rc = dbk_error_set(err, DBK_ENOMEM, "out of memory framing a batch");
    if (rc == DBK_OK && events != &framing.framed)
        give_tags(store, events, count);
    if (rc == DBK_OK)
        rc = apply(store, events, count, err);
    if (rc == DBK_OK) {
        store->accepted_time_us = time_us;
        result->first_position = first;
        result->last_position = store->accepted_position;
        result->last_version = framing.last_version;
        result->appended = count;
        result->skipped = batch->count - count;
    } else {
        *rests_on = framing.rests_on;
        undo(store, first);
    }
    return rc;
}

int dbk_store_accept(struct dbk_store *store, const struct dbk_batch *batch,
                     struct dbk_append_result *result, uint64_t *rests_on_out, bool *again_out,
                     struct dbk_error *err)
{
    struct known known = {0};
    bool skip = (batch->flags & DBK_APPEND_SKIP_KNOWN) != 0;
    int rc = DBK_OK;
    *again_out = false;
    *rests_on_out = 0;
    result->failed_expectation = batch->expectation_count;
    if (skip && room_for(&store->known, batch->count, sizeof(bool), (void **)&known.each) < 0)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory checking a batch");
    rc = find_known(store, batch, &known, again_out, err);
    *rests_on_out = known.newest;
    if (rc < 0 || *again_out)
        return rc;
    if (known.count == batch->count) {
        result->first_position = known.first_position;
        result->last_position = known.last_position;
        result->last_version = known.last_version;
        result->skipped = batch->count;
        result->known = true;
        return DBK_OK;
    }
    if (known.count > 0 && !skip)
        return dbk_error_set(err, DBK_ECONFLICT,
                             "%zu of the batch's %zu events are stored already, and the others are "
                             "not",
                             known.count, batch->count);
    rc = dbk_standing_check(store, batch, rests_on_out, again_out, err);
    if (rc < 0 || *again_out)
        return rc;
    rc = check_expectations(store, batch, result, rests_on_out, err);
    if (rc == DBK_OK)
        rc = check_condition(store, &batch->condition, result, rests_on_out, again_out, err);
    if (rc == DBK_OK && *again_out)
        return DBK_OK;
    if (rc == DBK_OK)
        rc = frame(store, batch, &known, result, rests_on_out, err);
    if (rc == DBK_OK)
        *rests_on_out = 0;
    else if (rc == DBK_EREFUSED)
        *rests_on_out = store->accepted_position; /* the participant saw all before it */
    if (rc == DBK_EBUSY) {
        *again_out = true;
        rc = DBK_OK;
    }
    return rc;
}

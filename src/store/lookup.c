/* SPDX-License-Identifier: Apache-2.0 */
/* Heads, ids and times. */
#include "base/assert.h"
#include "store/rules.h"

static struct dbk_head *cached(struct dbk_store *store, struct dbk_slice stream,
                               struct dbk_hash128 *key_out)
{
    *key_out = dbk_siphash128(dbk_log_hash_key(store->log), stream);
    return &store->heads[key_out->low % DBK_HEADS];
}

static bool is_key(const struct dbk_head *head, struct dbk_hash128 key)
{
    return head->version > 0 && head->key.high == key.high && head->key.low == key.low;
}

static int last_of(struct dbk_store *store, struct dbk_slice stream, struct dbk_posting *last_out,
                   struct dbk_error *err)
{
    size_t count = 0;
    struct dbk_index_range range = {
        .rank_max = UINT64_MAX, .position_max = UINT64_MAX, .backwards = true};
    *last_out = (struct dbk_posting){0};
    return dbk_index_find(store->index, DBK_INDEX_STREAM, stream, &range, last_out, 1, &count, err);
}

int dbk_store_head(struct dbk_store *store, struct dbk_slice stream, struct dbk_head *head_out,
                   struct dbk_error *err)
{
    struct dbk_hash128 key;
    struct dbk_posting last;
    struct dbk_head *head = cached(store, stream, &key);
    if (is_key(head, key)) {
        *head_out = *head;
        return DBK_OK;
    }
    int rc = last_of(store, stream, &last, err);
    if (rc < 0)
        return rc;
    *head_out = (struct dbk_head){.key = key, .version = last.rank, .position = last.position};
    struct dbk_stream_rules rules;
    uint64_t position = 0;
    rc = dbk_rules_find(store, stream, UINT64_MAX, &rules, &position, err);
    if (rc == DBK_EBUSY)
        head_out->position = position;
    if (rc < 0)
        return rc;
    head_out->first = rules.truncate_before > 1 ? rules.truncate_before : 1;
    head_out->closed = rules.closed;
    if (last.rank > 0)
        *head = *head_out;
    return DBK_OK;
}

/* Rules take effect on the stream that they are for. */
static void forget_subject(struct dbk_store *store, struct dbk_slice stream)
{
    struct dbk_hash128 key;
    struct dbk_slice subject = dbk_store_rules_subject(stream);
    if (subject.size == 0)
        return;
    struct dbk_head *head = cached(store, subject, &key);
    if (is_key(head, key))
        *head = (struct dbk_head){0};
    atomic_store(&store->has_rules, true);
}

void dbk_store_put_head(struct dbk_store *store, struct dbk_slice stream,
                        const struct dbk_head *put)
{
    struct dbk_hash128 key;
    struct dbk_head *head = cached(store, stream, &key);
    *head = *put;
    head->key = key;
    if (stream.data[0] == '$')
        forget_subject(store, stream);
}

void dbk_store_forget_heads(struct dbk_store *store)
{
    memset(store->heads, 0, DBK_HEADS * sizeof(*store->heads));
}

int dbk_store_stream_version_at(struct dbk_store *store, struct dbk_slice stream, uint64_t position,
                                uint64_t *version_out, struct dbk_error *err)
{
    struct dbk_posting last = {0};
    size_t count = 0;
    struct dbk_index_range range = {
        .rank_max = UINT64_MAX, .position_max = position, .backwards = true};
    int rc = DBK_OK;
    *version_out = 0;
    if (stream.size <= DBK_STREAM_SIZE_MAX && position > 0)
        rc = dbk_index_find(store->index, DBK_INDEX_STREAM, stream, &range, &last, 1, &count, err);
    if (rc == DBK_OK)
        *version_out = last.rank;
    return rc;
}

int dbk_store_stream_version(struct dbk_store *store, struct dbk_slice stream,
                             uint64_t *version_out, struct dbk_error *err)
{
    int rc = dbk_store_refresh(store, err);
    return rc < 0 ? rc
                  : dbk_store_stream_version_at(store, stream, dbk_log_last_position(store->log),
                                                version_out, err);
}

int dbk_store_find_id(struct dbk_store *store, const struct dbk_uuid *id, uint64_t *position_out,
                      struct dbk_error *err)
{
    struct dbk_posting found = {0};
    size_t count = 0;
    int rc = dbk_store_refresh(store, err);
    if (rc < 0)
        return rc;
    struct dbk_index_range range = {.rank_max = UINT64_MAX,
                                    .position_max = dbk_log_last_position(store->log)};
    rc = dbk_index_find(store->index, DBK_INDEX_ID, dbk_slice(id->bytes, DBK_UUID_SIZE), &range,
                        &found, 1, &count, err);
    if (rc == DBK_OK)
        *position_out = found.position;
    return rc;
}

int dbk_store_read_position(struct dbk_store *store, uint64_t position,
                            struct dbk_log_reader *reader, struct dbk_event *event_out,
                            struct dbk_error *err)
{
    struct dbk_log_place place;
    int rc = dbk_index_place(store->index, position, &place, err);
    if (rc == DBK_OK)
        rc = dbk_log_read(store->log, place, position, reader, event_out, err);
    return rc;
}

static int time_of(struct dbk_store *store, uint64_t position, struct dbk_log_reader *reader,
                   int64_t *time_us_out, struct dbk_error *err)
{
    struct dbk_event event;
    int rc = dbk_store_read_position(store, position, reader, &event, err);
    if (rc == DBK_OK)
        *time_us_out = event.time_us;
    return rc;
}

int dbk_store_position_at(struct dbk_store *store, int64_t time_us, uint64_t *position_out,
                          struct dbk_error *err)
{
    uint64_t low = 0;
    uint64_t high = 0;
    struct dbk_log_reader reader;
    dbk_log_reader_init(&reader);
    int rc = dbk_store_refresh(store, err);
    if (rc == DBK_OK)
        dbk_index_time_range(store->index, time_us, &low, &high);
    uint64_t last = dbk_log_last_position(store->log);
    low = low < last ? low : last;
    high = high < last ? high : last;
    /* low is known to be early enough: the last such one is looked for. */
    while (rc == DBK_OK && low < high) {
        uint64_t middle = high - (high - low) / 2;
        int64_t time = 0;
        rc = time_of(store, middle, &reader, &time, err);
        if (time <= time_us)
            low = middle;
        else
            high = middle - 1;
    }
    dbk_log_reader_release(&reader);
    if (rc == DBK_OK)
        *position_out = low;
    return rc;
}

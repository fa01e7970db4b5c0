/* SPDX-License-Identifier: Apache-2.0 */
/* What belongs together is shown together: readers end before parts of it. */
#include "store/state.h"

uint64_t dbk_store_visible(const struct dbk_store *store)
{
    uint64_t last = dbk_log_last_position(store->log);
    uint64_t held = store->held;
    return last < held ? last : held - 1;
}

/* Under the lock. */
static void set_held(struct dbk_store *store)
{
    uint64_t held = UINT64_MAX;
    for (size_t i = 0; i < store->hold_count; i++)
        held = store->holds[i].position < held ? store->holds[i].position : held;
    store->held = held;
}

static struct dbk_hold *find(struct dbk_store *store, struct dbk_slice prefix)
{
    for (size_t i = 0; i < store->hold_count; i++) {
        if (dbk_slice_equal(dbk_slice(store->holds[i].prefix, store->holds[i].size), prefix))
            return &store->holds[i];
    }
    return NULL;
}

int dbk_store_hold(struct dbk_store *store, struct dbk_slice prefix, uint64_t position,
                   uint64_t *position_out, struct dbk_error *err)
{
    int rc = DBK_OK;
    (void)pthread_mutex_lock(&store->lock);
    if (position == 0)
        position = dbk_log_last_position(store->log) + 1;
    struct dbk_hold *hold = find(store, prefix);
    if (hold != NULL) {
        position = hold->position;
    } else if (store->hold_count == DBK_HOLDS_MAX || prefix.size > sizeof(hold->prefix)) {
        rc = dbk_error_set(err, DBK_ELIMIT, "more than %d runs of events are held back",
                           DBK_HOLDS_MAX);
    } else {
        hold = &store->holds[store->hold_count++];
        *hold = (struct dbk_hold){.size = prefix.size, .position = position};
        memcpy(hold->prefix, prefix.data, prefix.size);
        set_held(store);
    }
    (void)pthread_mutex_unlock(&store->lock);
    if (rc == DBK_OK)
        *position_out = position;
    return rc;
}

void dbk_store_release(struct dbk_store *store, struct dbk_slice prefix)
{
    (void)pthread_mutex_lock(&store->lock);
    struct dbk_hold *hold = find(store, prefix);
    if (hold != NULL) {
        *hold = store->holds[--store->hold_count];
        set_held(store);
        (void)pthread_cond_broadcast(&store->moved);
    }
    (void)pthread_mutex_unlock(&store->lock);
}

static bool is_held(const struct dbk_hold *hold, struct dbk_slice stream)
{
    return dbk_slice_starts_with(stream, dbk_slice(hold->prefix, hold->size));
}

/* A read of streams of which none is held need not end early. */
static bool may_see(const struct dbk_hold *hold, const struct dbk_filter *filter)
{
    if (filter->stream.size > 0)
        return is_held(hold, filter->stream);
    if (filter->category_count == 0)
        return true;
    for (size_t i = 0; i < filter->category_count; i++) {
        if (is_held(hold, filter->categories[i]))
            return true;
    }
    return false;
}

uint64_t dbk_store_end_of(struct dbk_store *store, const struct dbk_filter *filter)
{
    uint64_t last = dbk_log_last_position(store->log);
    if (filter->held || last < store->held)
        return last;
    (void)pthread_mutex_lock(&store->lock);
    for (size_t i = 0; i < store->hold_count; i++) {
        const struct dbk_hold *hold = &store->holds[i];
        if (hold->position <= last && may_see(hold, filter))
            last = hold->position - 1;
    }
    (void)pthread_mutex_unlock(&store->lock);
    return last;
}

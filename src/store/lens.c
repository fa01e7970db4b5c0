/* SPDX-License-Identifier: Apache-2.0 */
/* The lens between the log and its readers. */
#include "store/state.h"

void dbk_store_set_lens(struct dbk_store *store, const struct dbk_lens *lens)
{
    store->lens = lens;
}

/* A removed event has no content to look at. */
static bool is_plain(const struct dbk_store *store, const struct dbk_event *event)
{
    return store->lens == NULL || (event->flags & DBK_RECORD_REMOVED) != 0;
}

int dbk_store_open_event(struct dbk_store *store, void **state, struct dbk_event *event,
                         struct dbk_error *err)
{
    if (is_plain(store, event))
        return 1;
    return store->lens->open(store->lens->context, state, event, err);
}

int dbk_store_upcast_event(struct dbk_store *store, void **state, struct dbk_event *event,
                           struct dbk_error *err)
{
    if (is_plain(store, event))
        return 1;
    return store->lens->upcast(store->lens->context, state, event, err);
}

void dbk_store_end_lens(struct dbk_store *store, void **state)
{
    if (*state != NULL)
        store->lens->end(store->lens->context, *state);
    *state = NULL;
}

void dbk_store_history(struct dbk_store *store, struct dbk_history *history_out)
{
    uint32_t count = dbk_log_segment_count(store->log);
    *history_out = (struct dbk_history){0};
    if (store->lens != NULL && store->lens->history != NULL)
        store->lens->history(store->lens->context, history_out);
    /* Only sealed segments are compacted. */
    for (uint32_t i = 0; i < count; i++)
        history_out->removed += dbk_log_segment_removed(store->log, i);
}

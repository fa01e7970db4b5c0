/* SPDX-License-Identifier: Apache-2.0 */
/* The lens between the log and its readers. */
#include "json/json.h"
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

/* ---- Later ---- */

int dbk_lazy_data(struct dbk_lazy *lazy, struct dbk_slice *data_out)
{
    int rc = lazy->store == NULL
                 ? 1
                 : dbk_store_upcast_event(lazy->store, &lazy->lens, &lazy->event, &lazy->failure);
    *data_out = rc > 0 ? lazy->event.data : (struct dbk_slice){0};
    return rc < 0 ? rc : DBK_OK;
}

int dbk_lazy_member(struct dbk_lazy *lazy, struct dbk_slice name, struct dbk_slice *value_out)
{
    struct dbk_event *event = &lazy->event;
    if (name.size > DBK_JSON_FIND_KEY_MAX)
        return dbk_error_set(&lazy->failure, DBK_EINVAL,
                             "a member's name has at most %d bytes, not %zu", DBK_JSON_FIND_KEY_MAX,
                             name.size);
    if ((event->flags & DBK_RECORD_JSON) == 0)
        return 0;
    if (lazy->store == NULL || is_plain(lazy->store, event))
        return dbk_json_find(event->data, name, value_out);
    return lazy->store->lens->member(lazy->store->lens->context, &lazy->lens, event, name,
                                     value_out, &lazy->failure);
}

void dbk_lazy_end(struct dbk_lazy *lazy)
{
    if (lazy->store != NULL)
        dbk_store_end_lens(lazy->store, &lazy->lens);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Group commit on demand: who waits, who writes, and what everyone is told. */
#include "base/assert.h"
#include "store/state.h"

static void join(struct dbk_group_state *group, struct dbk_member *member)
{
    member->next = group->members;
    group->members = member;
}

/* Waits until woken; the lock is let go, and not taken again. True: it was told the end. */
static bool wait_woken(struct dbk_store *store, struct dbk_member *member)
{
    member->waits = true;
    (void)pthread_mutex_unlock(&store->lock);
    while (sem_wait(&member->woken) != 0) {
    }
    bool told = !member->promoted;
    member->promoted = false;
    return told;
}

/* Has a member look again under the lock. Nobody else wakes it then. */
static void promote(struct dbk_member *member)
{
    if (!member->waits)
        return;
    member->waits = false;
    member->promoted = true;
    (void)sem_post(&member->woken);
}

/* Tells a group's members its end. Those that wait are put before a list of those to wake. */
static void tell(struct dbk_group_state *group, int rc, bool synced, const struct dbk_error *err,
                 struct dbk_member **wake)
{
    for (struct dbk_member *member = group->members, *next; member != NULL; member = next) {
        next = member->next;
        member->rc = rc;
        member->synced = synced;
        if (rc < 0)
            member->failure = *err;
        member->done = true;
        if (!member->waits)
            continue;
        member->waits = false;
        member->next = *wake;
        *wake = member;
    }
    *group = (struct dbk_group_state){0};
}

/* Without the lock: those who wake do not need it, and others may be appending meanwhile. */
static void wake_all(struct dbk_member *wake)
{
    for (struct dbk_member *member = wake, *next; member != NULL; member = next) {
        next = member->next; /* once it is woken it may be gone */
        (void)sem_post(&member->woken);
    }
}

/* Everything accepted and not written is taken back: those batches, and what rests on them. */
static void give_up(struct dbk_store *store, int rc, const struct dbk_error *err,
                    struct dbk_member **wake)
{
    uint64_t written = dbk_log_last_position(store->log);
    if (store->filling.group != NULL && store->filling.first_position > 0)
        dbk_log_group_cut(store->filling.group, store->filling.first_position);
    if (store->accepted_position > written)
        dbk_index_cut(store->index, written + 1);
    store->accepted_position = written;
    store->accepted_time_us = dbk_log_last_time_us(store->log);
    dbk_store_forget_heads(store);
    tell(&store->written, rc, false, err, wake);
    tell(&store->filling, rc, false, err, wake);
}

/* Writes the filling group. Under the lock, which is let go meanwhile. */
static void write_group(struct dbk_store *store)
{
    struct dbk_error err = {0};
    struct dbk_member *wake = NULL;
    dbk_assert(!store->writing);
    dbk_assert(store->filling.group != NULL && store->filling.first_position > 0);
    store->writing = true;
    store->written = store->filling;
    store->filling = (struct dbk_group_state){0};
    uint64_t last = store->accepted_position;
    bool sync = store->written.sync;
    (void)pthread_mutex_unlock(&store->lock);
    int rc = dbk_log_write_group(store->log, store->written.group, sync, &err);
    (void)pthread_mutex_lock(&store->lock);
    store->writing = false;
    if (rc == DBK_OK) {
        if (sync)
            dbk_index_synced(store->index, last);
        tell(&store->written, DBK_OK, sync, NULL, &wake);
    } else {
        give_up(store, rc, &err, &wake);
    }
    /* The next group's sync begins while the members of this one are woken. */
    if (store->filling.members != NULL)
        promote(store->filling.members);
    (void)pthread_cond_broadcast(&store->moved);
    (void)pthread_mutex_unlock(&store->lock);
    wake_all(wake);
    (void)pthread_mutex_lock(&store->lock);
}

/* Waits for the group that the member is in; writes it when nobody else does. The lock is held, and
   let go for good. */
static void wait_told(struct dbk_store *store, struct dbk_member *member)
{
    while (!member->done) {
        if (!store->writing && store->filling.first_position > 0) {
            write_group(store);
            continue;
        }
        if (wait_woken(store, member))
            return;
        (void)pthread_mutex_lock(&store->lock);
    }
    (void)pthread_mutex_unlock(&store->lock);
}

static void begin_group(struct dbk_store *store)
{
    if (store->filling.group == NULL)
        store->filling.group = dbk_log_group_begin(store->log);
}

/* Enters a batch that was accepted, or a verdict that rests on one, where its end is told. False:
   it rests on nothing that is still under way. */
static bool enter(struct dbk_store *store, struct dbk_member *member, uint64_t rests_on,
                  const struct dbk_append_result *result, unsigned flags)
{
    if (member->accepted) {
        if (store->filling.first_position == 0)
            store->filling.first_position = result->first_position;
        store->filling.sync = store->filling.sync || (flags & DBK_APPEND_NO_SYNC) == 0;
        join(&store->filling, member);
        return true;
    }
    if (rests_on <= dbk_log_last_position(store->log))
        return false;
    bool next = store->filling.first_position > 0 && rests_on >= store->filling.first_position;
    join(next ? &store->filling : &store->written, member);
    return true;
}

/* What the group's end means for the caller. True: the batch must be tried again, because what its
   verdict rested on did not come about. */
static bool conclude(const struct dbk_member *member, bool again, int *rc,
                     struct dbk_append_result *result, struct dbk_error *err)
{
    if (!member->accepted)
        return again || member->rc < 0;
    *rc = member->rc;
    result->synced = member->rc == DBK_OK && member->synced;
    if (member->rc < 0 && err != NULL)
        *err = member->failure;
    return false;
}

/* Under the lock, which it lets go for good. True: it is to be tried again. */
static bool append_once(struct dbk_store *store, const struct dbk_batch *batch,
                        struct dbk_append_result *result, int *rc_out, struct dbk_error *err)
{
    struct dbk_member member = {0};
    uint64_t rests_on = 0;
    bool again = false;
    *result = (struct dbk_append_result){0};
    (void)sem_init(&member.woken, 0, 0);
    begin_group(store);
    *rc_out = dbk_store_accept(store, batch, result, &rests_on, &again, err);
    bool full = *rc_out == DBK_ELIMIT;
    member.accepted = *rc_out == DBK_OK && !again && !result->known;
    if (full)
        rests_on = store->accepted_position;
    result->synced = result->known;
    bool entered = enter(store, &member, rests_on, result, batch->flags);
    if (entered)
        wait_told(store, &member);
    else
        (void)pthread_mutex_unlock(&store->lock);
    (void)sem_destroy(&member.woken);
    return entered ? conclude(&member, again || full, rc_out, result, err) : full || again;
}

/* With a participant groups do not overlap: whoever finds nothing being written accepts all that
   wait, in order, and writes them as one group. */
static void lead(struct dbk_store *store)
{
    struct dbk_member *queue = store->queue;
    struct dbk_member *later = NULL;
    struct dbk_member **later_end = &later;
    store->queue = NULL;
    store->queue_end = &store->queue;
    begin_group(store);
    for (struct dbk_member *member = queue, *next; member != NULL; member = next) {
        uint64_t rests_on = 0;
        bool again = false;
        next = member->next;
        *member->result = (struct dbk_append_result){0};
        member->verdict =
            dbk_store_accept(store, member->batch, member->result, &rests_on, &again, member->err);
        member->accepted = member->verdict == DBK_OK && !again && !member->result->known;
        member->result->synced = member->result->known;
        if (member->verdict == DBK_ELIMIT || again) {
            member->next = NULL;
            *later_end = member;
            later_end = &member->next;
        } else if (!enter(store, member, rests_on, member->result, member->batch->flags)) {
            member->done = true;
            promote(member);
        }
    }
    if (later != NULL) {
        *later_end = store->queue;
        if (store->queue == NULL)
            store->queue_end = later_end;
        store->queue = later;
    }
}

/* Leads a group to its end. One whose batches were all refused has nothing to write, but the
   participant is told all the same: it holds a transaction open for them. */
static void lead_and_write(struct dbk_store *store)
{
    struct dbk_participant participant = *store->participant;
    struct dbk_error err = {0};
    struct dbk_member *wake = NULL;
    int rc = DBK_OK;
    store->writing = true;
    lead(store);
    bool any = store->filling.first_position > 0;
    bool sync = store->filling.sync;
    uint64_t last = store->accepted_position;
    if (any) {
        store->written = store->filling;
        store->filling = (struct dbk_group_state){0};
    }
    (void)pthread_mutex_unlock(&store->lock);
    if (any)
        rc = dbk_log_write_group(store->log, store->written.group, sync, &err);
    participant.commit(participant.context, any && rc == DBK_OK, dbk_log_last_position(store->log));
    (void)pthread_mutex_lock(&store->lock);
    store->writing = false;
    if (any && rc == DBK_OK && sync)
        dbk_index_synced(store->index, last);
    if (any && rc == DBK_OK)
        tell(&store->written, DBK_OK, sync, NULL, &wake);
    else if (any)
        give_up(store, rc, &err, &wake);
    (void)pthread_cond_broadcast(&store->moved);
    if (store->queue != NULL)
        promote(store->queue);
    (void)pthread_mutex_unlock(&store->lock);
    wake_all(wake);
    (void)pthread_mutex_lock(&store->lock);
}

/* The member is in the queue, or a group. The lock is held, and let go for good. */
static void wait_queued(struct dbk_store *store, struct dbk_member *member)
{
    while (!member->done) {
        if (!store->writing && store->participant != NULL) {
            lead_and_write(store);
            continue;
        }
        if (wait_woken(store, member))
            return;
        (void)pthread_mutex_lock(&store->lock);
    }
    (void)pthread_mutex_unlock(&store->lock);
}

/* As append_once, with a participant. */
static bool append_queued(struct dbk_store *store, const struct dbk_batch *batch,
                          struct dbk_append_result *result, int *rc_out, struct dbk_error *err)
{
    struct dbk_member member = {.batch = batch, .result = result, .err = err};
    (void)sem_init(&member.woken, 0, 0);
    *store->queue_end = &member;
    store->queue_end = &member.next;
    wait_queued(store, &member);
    (void)sem_destroy(&member.woken);
    *rc_out = member.verdict;
    return conclude(&member, false, rc_out, result, err);
}

int dbk_store_append(struct dbk_store *store, const struct dbk_batch *batch,
                     struct dbk_append_result *result_out, struct dbk_error *err)
{
    *result_out = (struct dbk_append_result){0};
    if (!store->writer)
        return dbk_error_set(err, DBK_EDENIED, "%s was opened for reading", store->folder);
    int rc = dbk_batch_validate(store, batch, err);
    if (rc == DBK_OK)
        rc = dbk_index_wait_room(store->index, err);
    if (rc < 0)
        return rc;
    for (bool again = true; again;) {
        (void)pthread_mutex_lock(&store->lock);
        again = store->participant != NULL ? append_queued(store, batch, result_out, &rc, err)
                                           : append_once(store, batch, result_out, &rc, err);
    }
    return rc;
}

void dbk_store_set_participant(struct dbk_store *store, const struct dbk_participant *participant)
{
    (void)pthread_mutex_lock(&store->lock);
    while (store->writing || store->filling.first_position > 0 || store->queue != NULL)
        (void)pthread_cond_wait(&store->moved, &store->lock);
    if (participant != NULL)
        store->participant_copy = *participant;
    store->participant = participant == NULL ? NULL : &store->participant_copy;
    (void)pthread_mutex_unlock(&store->lock);
}

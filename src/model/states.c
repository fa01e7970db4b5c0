/* SPDX-License-Identifier: Apache-2.0 */
#include "model/states.h"

#include <string.h>

#include "base/assert.h"

/* What is kept: all goes when there would be more. */
#define STREAMS_MAX 8192
#define BYTES_MAX ((size_t)32 << 20)
/* Of them, those that are kept folded. */
#define WALKS_MAX 256
/* A greater state is folded anew each time: so many of them would be the memory of all others. */
#define WALK_STATE_SIZE_MAX ((size_t)256 << 10)
#define BUCKETS 4096
#define STATE_SIZE_MAX ((size_t)64 << 20)

struct entry {
    struct entry *next; /* of the bucket */
    char *stream;
    size_t stream_size;
    uint64_t hash;
    struct dbk_fold_moment moment;
    uint64_t head; /* the stream's version when that was found */
    char *text;
    size_t text_size;
    size_t walk_index; /* of its walk, from 1; 0: it has none */
};

struct walk {
    struct dbk_fold_walk *walk;
    struct entry *entry;
};

struct dbk_states {
    struct dbk_store *store;
    struct dbk_folds *folds;
    int64_t occurred_us;
    struct entry *buckets[BUCKETS];
    size_t count;
    size_t bytes;
    struct walk walks[WALKS_MAX];
    size_t walk_count;
    size_t hand;        /* the walk that goes next */
    uint64_t forgotten; /* version of the stream that tells of forgettings */
    uint64_t forgets;   /* of the folds */
    struct dbk_buf state;
    const struct dbk_unstored *ahead;
    const struct dbk_store_ahead *own; /* what of it concerns the stream at hand; NULL: nothing */
};

int dbk_states_open(struct dbk_store *store, struct dbk_folds *folds, int64_t occurred_us,
                    struct dbk_states **states_out, struct dbk_error *err)
{
    struct dbk_states *states = dbk_alloc_zero(1, sizeof(*states));
    if (states == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory preparing handlers");
    states->store = store;
    states->folds = folds;
    states->occurred_us = occurred_us;
    dbk_buf_init(&states->state, STATE_SIZE_MAX);
    *states_out = states;
    return DBK_OK;
}

static size_t size_of(const struct entry *entry)
{
    return entry->stream_size + sizeof(*entry) + entry->text_size;
}

/* kept: the one that stays, or NULL. */
static void forget_others(struct dbk_states *states, struct entry *kept)
{
    struct walk walk = {0};
    for (size_t i = 0; i < states->walk_count; i++) {
        if (states->walks[i].entry == kept)
            walk = states->walks[i];
        else
            dbk_fold_walk_free(states->walks[i].walk);
    }
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct entry *entry = states->buckets[i], *next; entry != NULL; entry = next) {
            next = entry->next;
            if (entry == kept)
                continue;
            dbk_free(entry->stream);
            dbk_free(entry->text);
            dbk_free(entry);
        }
        states->buckets[i] = NULL;
    }
    states->walk_count = 0;
    states->hand = 0;
    states->count = kept == NULL ? 0 : 1;
    states->bytes = kept == NULL ? 0 : size_of(kept);
    if (kept == NULL)
        return;
    kept->next = NULL;
    states->buckets[kept->hash % BUCKETS] = kept;
    if (walk.walk != NULL)
        states->walks[states->walk_count++] = walk;
    kept->walk_index = states->walk_count;
}

static void forget_all(struct dbk_states *states)
{
    forget_others(states, NULL);
}

void dbk_states_free(struct dbk_states *states)
{
    if (states == NULL)
        return;
    forget_all(states);
    dbk_buf_release(&states->state);
    dbk_free(states);
}

static int subjects_version(const struct dbk_states *states, uint64_t *version_out,
                            struct dbk_error *err)
{
    static const struct dbk_slice subjects = {.data = "$subjects", .size = 9};
    return dbk_store_stream_version(states->store, subjects, version_out, err);
}

int dbk_states_refresh(struct dbk_states *states, struct dbk_error *err)
{
    uint64_t forgotten = 0;
    uint64_t forgets = dbk_folds_forgets(states->folds);
    int rc = subjects_version(states, &forgotten, err);
    if (rc < 0)
        return rc;
    if (forgotten != states->forgotten || forgets != states->forgets)
        forget_all(states);
    states->forgotten = forgotten;
    states->forgets = forgets;
    return DBK_OK;
}

int dbk_states_stale(const struct dbk_states *states, struct dbk_error *err)
{
    uint64_t forgotten = 0;
    int rc = subjects_version(states, &forgotten, err);
    return rc < 0 ? rc
                  : forgotten != states->forgotten ||
                        dbk_folds_forgets(states->folds) != states->forgets;
}

static struct entry *find(const struct dbk_states *states, struct dbk_slice stream, uint64_t hash)
{
    struct entry *entry = states->buckets[hash % BUCKETS];
    while (entry != NULL &&
           (entry->hash != hash ||
            !dbk_slice_equal(dbk_slice(entry->stream, entry->stream_size), stream)))
        entry = entry->next;
    return entry;
}

/* NULL: out of memory. */
static struct entry *make(struct dbk_states *states, struct dbk_slice stream, uint64_t hash)
{
    if (states->count >= STREAMS_MAX)
        forget_all(states);
    struct entry *entry = dbk_alloc_zero(1, sizeof(*entry));
    char *name = dbk_copy_text(stream);
    if (entry == NULL || name == NULL) {
        dbk_free(entry);
        dbk_free(name);
        return NULL;
    }
    entry->stream = name;
    entry->stream_size = stream.size;
    entry->hash = hash;
    entry->moment.position = UINT64_MAX; /* of no position yet */
    entry->next = states->buckets[hash % BUCKETS];
    states->buckets[hash % BUCKETS] = entry;
    states->count++;
    states->bytes += size_of(entry);
    return entry;
}

/* The stream's last version, with what is ahead. */
static int head_of(const struct dbk_states *states, struct dbk_slice stream, uint64_t *head_out,
                   struct dbk_error *err)
{
    if (states->own != NULL && states->own->count > 0) {
        *head_out = states->own->events[states->own->count - 1].version;
        return DBK_OK;
    }
    return dbk_store_stream_version(states->store, stream, head_out, err);
}

/* What is kept is of a position as long as the stream has no other event up to there. Rules leave
   out more with time, and are looked at each time. */
static int holds(const struct dbk_states *states, const struct entry *entry, uint64_t position,
                 int64_t time_us, struct dbk_error *err)
{
    struct dbk_slice stream = dbk_slice(entry->stream, entry->stream_size);
    struct dbk_stream_info info;
    uint64_t head = 0;
    if (entry->moment.ruled || position < entry->moment.position || position >= entry->moment.next)
        return 0;
    const struct dbk_store_moment moment = {position, time_us, states->own};
    int rc = dbk_store_stream_info_ahead(states->store, stream, &moment, &info, err);
    if (rc < 0 || info.rules.version > 0)
        return rc;
    if (entry->moment.next != UINT64_MAX)
        return 1;
    rc = head_of(states, stream, &head, err);
    return rc < 0 ? rc : head == entry->head;
}

static void drop_walk(struct dbk_states *states, struct entry *entry)
{
    struct walk *walk = &states->walks[entry->walk_index - 1];
    dbk_fold_walk_free(walk->walk);
    states->walk_count--;
    *walk = states->walks[states->walk_count];
    if (walk->entry != entry)
        walk->entry->walk_index = entry->walk_index;
    entry->walk_index = 0;
}

static int find_walk(struct dbk_states *states, struct entry *entry,
                     struct dbk_fold_walk **walk_out, struct dbk_error *err)
{
    struct dbk_fold_walk *walk = NULL;
    if (entry->walk_index != 0) {
        *walk_out = states->walks[entry->walk_index - 1].walk;
        return DBK_OK;
    }
    if (states->walk_count == WALKS_MAX) {
        drop_walk(states, states->walks[states->hand].entry);
        states->hand = (states->hand + 1) % WALKS_MAX;
    }
    int rc = dbk_fold_walk_open(states->folds, dbk_slice(entry->stream, entry->stream_size),
                                states->occurred_us, &walk, err);
    if (rc < 0)
        return rc;
    states->walks[states->walk_count++] = (struct walk){walk, entry};
    entry->walk_index = states->walk_count;
    *walk_out = walk;
    return DBK_OK;
}

static int keep_text(struct dbk_states *states, struct entry *entry, struct dbk_error *err)
{
    struct dbk_slice state = dbk_buf_slice(&states->state);
    char *text = dbk_realloc(entry->text, state.size + 1);
    if (text == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory keeping a state");
    if (state.size > 0)
        memcpy(text, state.data, state.size);
    states->bytes += state.size - entry->text_size;
    entry->text = text;
    entry->text_size = state.size;
    return DBK_OK;
}

/* A walk that failed is not gone on with. */
static int advance(struct dbk_states *states, struct entry *entry, uint64_t position,
                   int64_t time_us, struct dbk_error *err)
{
    struct dbk_fold_walk *walk = NULL;
    struct dbk_slice stream = dbk_slice(entry->stream, entry->stream_size);
    dbk_buf_reset(&states->state);
    int rc = head_of(states, stream, &entry->head, err);
    if (rc == DBK_OK)
        rc = find_walk(states, entry, &walk, err);
    if (rc == DBK_OK) {
        dbk_fold_walk_ahead(walk, states->own);
        rc = dbk_fold_walk_to(walk, position, time_us, &states->state, &entry->moment, err);
        dbk_fold_walk_ahead(walk, NULL);
    }
    if (rc == DBK_OK && states->state.rc < 0)
        rc = dbk_error_set(err, states->state.rc, "the state of %.*s: %s", DBK_SLICE_ARGS(stream),
                           dbk_code_text(states->state.rc));
    if (rc == DBK_OK)
        rc = keep_text(states, entry, err);
    if (rc < 0)
        entry->moment = (struct dbk_fold_moment){.position = UINT64_MAX};
    if ((rc < 0 || entry->text_size > WALK_STATE_SIZE_MAX) && entry->walk_index != 0)
        drop_walk(states, entry);
    return rc;
}

void dbk_states_set_ahead(struct dbk_states *states, const struct dbk_unstored *ahead)
{
    states->ahead = ahead;
}

void dbk_states_cut(struct dbk_states *states, uint64_t position)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct entry *entry = states->buckets[i]; entry != NULL; entry = entry->next) {
            uint64_t next = entry->moment.next;
            if (entry->moment.position < position && (next < position || next == UINT64_MAX))
                continue;
            entry->moment = (struct dbk_fold_moment){.position = UINT64_MAX};
            if (entry->walk_index != 0)
                drop_walk(states, entry);
        }
    }
}

int dbk_states_at(struct dbk_states *states, struct dbk_slice stream, uint64_t position,
                  int64_t time_us, struct dbk_slice *state_out, struct dbk_error *err)
{
    uint64_t hash = dbk_unstored_hash(stream);
    struct entry *entry = find(states, stream, hash);
    states->own = states->ahead == NULL ? NULL : dbk_unstored_find(states->ahead, stream);
    if (states->bytes >= BYTES_MAX)
        forget_others(states, entry); /* texts that have grown since they were kept */
    if (entry == NULL)
        entry = make(states, stream, hash);
    if (entry == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory keeping a state");
    int rc = holds(states, entry, position, time_us, err);
    if (rc == 0)
        rc = advance(states, entry, position, time_us, err);
    if (rc < 0)
        return rc;
    *state_out = dbk_slice(entry->text, entry->text_size);
    return entry->moment.version != 0;
}

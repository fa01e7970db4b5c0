/* SPDX-License-Identifier: Apache-2.0 */
#include "access/refusals.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "base/assert.h"
#include "json/json.h"

#define LOOK_US INT64_C(1000000)
#define AGAIN_US INT64_C(60000000)
#define DATA_SIZE_MAX ((size_t)1 << 20)

struct entry {
    enum dbk_refusal_reason reason;
    char key[DBK_KEY_ID_SIZE + 1]; /* empty: none */
    const char *method;
    const char *path;
    enum dbk_scope_kind kind;
    char name[DBK_SCOPE_SIZE_MAX + 1];
    uint64_t count; /* since it was last written */
    int64_t first_us;
    int64_t last_us;
    int64_t written_us; /* monotonic; 0: never */
    bool others;        /* all that there was no room for */
};

#define SLOT_COUNT (DBK_REFUSALS_MAX + DBK_REFUSAL_REASON_COUNT)

struct chosen {
    size_t slot;
    struct entry entry; /* as it is written */
};

struct dbk_refusals {
    struct dbk_engine *engine;
    pthread_t thread;
    pthread_mutex_t lock; /* over what follows */
    pthread_cond_t wakes;
    bool ends;
    struct entry entries[DBK_REFUSALS_MAX];
    size_t count;
    struct entry others[DBK_REFUSAL_REASON_COUNT]; /* that there was no room for */
    _Atomic uint64_t totals[DBK_REFUSAL_REASON_COUNT];
};

const char *dbk_refusal_reason_name(enum dbk_refusal_reason reason)
{
    static const char *const names[DBK_REFUSAL_REASON_COUNT] = {
        [DBK_REFUSAL_UNAUTHORIZED] = "unauthorized",
        [DBK_REFUSAL_DENIED] = "denied",
        [DBK_REFUSAL_THROTTLED] = "throttled",
    };
    return names[reason];
}

/* ---- Counting ---- */

static bool is_same(const struct entry *entry, const struct dbk_refusal *refusal)
{
    return entry->reason == refusal->reason && entry->method == refusal->method &&
           entry->path == refusal->path && entry->kind == refusal->kind &&
           strcmp(entry->key, refusal->key == NULL ? "" : refusal->key) == 0 &&
           dbk_slice_equal_text(refusal->name, entry->name);
}

static struct entry *find(struct dbk_refusals *refusals, const struct dbk_refusal *refusal)
{
    for (size_t i = 0; i < refusals->count; i++)
        if (is_same(&refusals->entries[i], refusal))
            return &refusals->entries[i];
    if (refusals->count == DBK_REFUSALS_MAX || refusal->name.size > DBK_SCOPE_SIZE_MAX)
        return &refusals->others[refusal->reason];
    struct entry *entry = &refusals->entries[refusals->count++];
    *entry = (struct entry){.reason = refusal->reason,
                            .method = refusal->method,
                            .path = refusal->path,
                            .kind = refusal->kind};
    (void)snprintf(entry->key, sizeof(entry->key), "%s", refusal->key == NULL ? "" : refusal->key);
    (void)snprintf(entry->name, sizeof(entry->name), "%.*s", DBK_SLICE_ARGS(refusal->name));
    return entry;
}

void dbk_refusals_note(struct dbk_refusals *refusals, const struct dbk_refusal *refusal)
{
    struct dbk_os *os = dbk_engine_os(refusals->engine);
    int64_t now_us = os->now_us(os);
    refusals->totals[refusal->reason]++;
    (void)pthread_mutex_lock(&refusals->lock);
    struct entry *entry = find(refusals, refusal);
    if (entry->count++ == 0)
        entry->first_us = now_us;
    entry->last_us = now_us;
    (void)pthread_mutex_unlock(&refusals->lock);
}

uint64_t dbk_refusals_count(const struct dbk_refusals *refusals, enum dbk_refusal_reason reason)
{
    return refusals->totals[reason];
}

/* ---- Writing ---- */

static void put(struct dbk_buf *out, bool *first, const char *key, const char *text)
{
    dbk_json_write_key(out, first, key);
    if (text == NULL || text[0] == '\0')
        dbk_buf_append_text(out, "null");
    else
        dbk_json_write_string(out, dbk_slice_of(text));
}

static void put_time(struct dbk_buf *out, bool *first, const char *key, int64_t time_us)
{
    char text[DBK_TIME_TEXT_SIZE];
    (void)dbk_time_format(time_us, text);
    put(out, first, key, text);
}

static void put_entry(struct dbk_buf *out, const struct entry *entry)
{
    char text[64];
    bool first = true;
    dbk_buf_append_char(out, '{');
    put(out, &first, "key", entry->key);
    put(out, &first, "reason", dbk_refusal_reason_name(entry->reason));
    if (entry->method != NULL) {
        (void)snprintf(text, sizeof(text), "%s %s", entry->method, entry->path);
        put(out, &first, "operation", text);
    }
    if (entry->kind != DBK_SCOPE_COUNT) {
        char scope[DBK_SCOPE_SIZE_MAX + 32];
        (void)snprintf(scope, sizeof(scope), "%s%s%s", dbk_scope_word(entry->kind),
                       entry->name[0] == '\0' ? "" : ":", entry->name);
        put(out, &first, "needs", scope);
    }
    dbk_json_write_key(out, &first, "count");
    dbk_json_write_u64(out, entry->count);
    put_time(out, &first, "from", entry->first_us);
    put_time(out, &first, "to", entry->last_us);
    if (entry->others)
        dbk_buf_append_text(out, ",\"others\":true");
    dbk_buf_append_char(out, '}');
}

/* NULL: nothing is there. Only the writing thread moves what stands in a slot. */
static struct entry *at_slot(struct dbk_refusals *refusals, size_t slot)
{
    if (slot < refusals->count)
        return &refusals->entries[slot];
    return slot < DBK_REFUSALS_MAX ? NULL : &refusals->others[slot - DBK_REFUSALS_MAX];
}

/* What is to be written now, and not within the minute. */
static size_t choose(struct dbk_refusals *refusals, int64_t now_us, struct chosen *chosen_out)
{
    size_t count = 0;
    for (size_t slot = 0; slot < SLOT_COUNT; slot++) {
        const struct entry *entry = at_slot(refusals, slot);
        if (entry == NULL || entry->count == 0)
            continue;
        if (entry->written_us == 0 || now_us - entry->written_us >= AGAIN_US || refusals->ends)
            chosen_out[count++] = (struct chosen){slot, *entry};
    }
    return count;
}

/* What came while it was written stays counted. */
static void settle(struct dbk_refusals *refusals, const struct chosen *written, int64_t now_us)
{
    struct entry *entry = at_slot(refusals, written->slot);
    dbk_assert(entry != NULL);
    entry->count -= written->entry.count;
    entry->first_us = entry->last_us;
    entry->written_us = now_us;
}

/* Those that were not refused again for a minute make room. */
static void forget(struct dbk_refusals *refusals, int64_t now_us)
{
    size_t kept = 0;
    for (size_t i = 0; i < refusals->count; i++) {
        const struct entry *entry = &refusals->entries[i];
        if (entry->count > 0 || now_us - entry->written_us < AGAIN_US)
            refusals->entries[kept++] = *entry;
    }
    refusals->count = kept;
}

static int append(struct dbk_refusals *refusals, const struct chosen *chosen, size_t count)
{
    struct dbk_append_result result;
    struct dbk_new_event *events = dbk_alloc_zero(count, sizeof(*events));
    struct dbk_buf data;
    size_t *ends = dbk_alloc_zero(count, sizeof(*ends));
    int rc = events == NULL || ends == NULL ? DBK_ENOMEM : DBK_OK;
    dbk_buf_init(&data, DATA_SIZE_MAX);
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        put_entry(&data, &chosen[i].entry);
        ends[i] = data.size;
        rc = data.rc;
    }
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        size_t begin = i == 0 ? 0 : ends[i - 1];
        events[i] = (struct dbk_new_event){.stream = DBK_SLICE_LITERAL(DBK_ACCESS_STREAM),
                                           .type = DBK_SLICE_LITERAL("Refused"),
                                           .data = dbk_slice(data.data + begin, ends[i] - begin),
                                           .occurred_us = DBK_TIME_NONE,
                                           .flags = DBK_RECORD_JSON};
    }
    if (rc == DBK_OK)
        rc = dbk_engine_append_own_json(
            refusals->engine,
            &(struct dbk_batch){.events = events, .count = count, .flags = DBK_APPEND_OWN}, &result,
            NULL);
    dbk_buf_release(&data);
    dbk_free(events);
    dbk_free(ends);
    return rc;
}

/* Under the lock, which is given back while the log takes them. */
static void write(struct dbk_refusals *refusals, struct chosen *chosen)
{
    struct dbk_os *os = dbk_engine_os(refusals->engine);
    int64_t now_us = os->monotonic_us(os);
    size_t count = choose(refusals, now_us, chosen);
    if (count > 0) {
        (void)pthread_mutex_unlock(&refusals->lock);
        int rc = append(refusals, chosen, count);
        (void)pthread_mutex_lock(&refusals->lock);
        for (size_t i = 0; rc == DBK_OK && i < count; i++)
            settle(refusals, &chosen[i], now_us);
    }
    forget(refusals, now_us);
}

static void *run(void *context)
{
    struct dbk_refusals *refusals = context;
    struct chosen *chosen = dbk_alloc_zero(SLOT_COUNT, sizeof(*chosen));
    (void)pthread_mutex_lock(&refusals->lock);
    for (bool ends = false; chosen != NULL && !ends;) {
        struct timespec end;
        (void)clock_gettime(CLOCK_MONOTONIC, &end);
        end.tv_sec += LOOK_US / 1000000;
        if (!refusals->ends)
            (void)pthread_cond_timedwait(&refusals->wakes, &refusals->lock, &end);
        ends = refusals->ends;
        write(refusals, chosen);
    }
    (void)pthread_mutex_unlock(&refusals->lock);
    dbk_free(chosen);
    return NULL;
}

int dbk_refusals_open(struct dbk_engine *engine, struct dbk_refusals **refusals_out,
                      struct dbk_error *err)
{
    struct dbk_refusals *refusals = dbk_alloc_zero(1, sizeof(*refusals));
    pthread_condattr_t clock;
    if (refusals == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory counting refusals");
    refusals->engine = engine;
    for (int i = 0; i < DBK_REFUSAL_REASON_COUNT; i++)
        refusals->others[i] = (struct entry){
            .reason = (enum dbk_refusal_reason)i, .kind = DBK_SCOPE_COUNT, .others = true};
    (void)pthread_mutex_init(&refusals->lock, NULL);
    (void)pthread_condattr_init(&clock);
    (void)pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&refusals->wakes, &clock);
    (void)pthread_condattr_destroy(&clock);
    int failure = pthread_create(&refusals->thread, NULL, run, refusals);
    if (failure != 0) {
        dbk_free(refusals);
        return dbk_error_set_errno(err, failure, "cannot start the thread that writes refusals");
    }
    *refusals_out = refusals;
    return DBK_OK;
}

void dbk_refusals_free(struct dbk_refusals *refusals)
{
    if (refusals == NULL)
        return;
    (void)pthread_mutex_lock(&refusals->lock);
    refusals->ends = true;
    (void)pthread_cond_signal(&refusals->wakes);
    (void)pthread_mutex_unlock(&refusals->lock);
    (void)pthread_join(refusals->thread, NULL);
    (void)pthread_mutex_destroy(&refusals->lock);
    (void)pthread_cond_destroy(&refusals->wakes);
    dbk_free(refusals);
}

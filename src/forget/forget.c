/* SPDX-License-Identifier: Apache-2.0 */
#include "forget/forget.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/assert.h"
#include "forget/state.h"

/* The job looks again so often: a rotation by the vault lets it go on, and what failed may pass. */
#define LOOK_SECONDS 5
#define NO_MEMORY(err) dbk_error_set(err, DBK_ENOMEM, "out of memory forgetting")

int dbk_forget_open(const struct dbk_forget_options *options, struct dbk_forget **forget_out,
                    struct dbk_error *err)
{
    struct dbk_forget *forget = dbk_alloc_zero(1, sizeof(*forget));
    if (forget == NULL)
        return NO_MEMORY(err);
    pthread_condattr_t clock;
    forget->options = *options;
    (void)pthread_mutex_init(&forget->lock, NULL);
    (void)pthread_mutex_init(&forget->job, NULL);
    (void)pthread_mutex_init(&forget->wakes_lock, NULL);
    (void)pthread_condattr_init(&clock);
    (void)pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&forget->wakes, &clock);
    (void)pthread_condattr_destroy(&clock);
    int rc = dbk_forget_follow(forget, err);
    if (rc < 0) {
        dbk_forget_free(forget);
        return rc;
    }
    if (options->writer && forget->count > 0)
        dbk_models_set_forgotten(options->models, forget->subjects[forget->count - 1].forgotten);
    *forget_out = forget;
    return DBK_OK;
}

void dbk_forget_free(struct dbk_forget *forget)
{
    if (forget == NULL)
        return;
    (void)pthread_mutex_lock(&forget->wakes_lock);
    atomic_store(&forget->ends, true);
    (void)pthread_cond_broadcast(&forget->wakes);
    (void)pthread_mutex_unlock(&forget->wakes_lock);
    if (forget->thread_runs)
        (void)pthread_join(forget->thread, NULL);
    (void)pthread_mutex_destroy(&forget->lock);
    (void)pthread_mutex_destroy(&forget->job);
    (void)pthread_mutex_destroy(&forget->wakes_lock);
    (void)pthread_cond_destroy(&forget->wakes);
    dbk_free(forget->subjects);
    dbk_free(forget->places);
    dbk_free(forget);
}

/* ---- The job ---- */

typedef bool (*wanted_fn)(const struct dbk_forget *forget, const struct dbk_subject *subject);

static bool is_unpurged(const struct dbk_forget *forget, const struct dbk_subject *subject)
{
    (void)forget;
    return subject->purged == 0 && subject->erased == 0;
}

static bool needs_epoch(const struct dbk_forget *forget, const struct dbk_subject *subject)
{
    return subject->purged != 0 && subject->erased == 0 && subject->mode == DBK_FORGET_ERASE &&
           forget->rotated < subject->purged;
}

static bool is_ready(const struct dbk_forget *forget, const struct dbk_subject *subject)
{
    return subject->purged != 0 && subject->erased == 0 && !needs_epoch(forget, subject);
}

static bool has_ciphertext(const struct dbk_forget *forget, const struct dbk_subject *subject)
{
    return subject->mode == DBK_FORGET_ERASE && subject->forgotten > forget->removed;
}

/* Copies of those that are wanted now; ended with dbk_free. */
static int choose(struct dbk_forget *forget, wanted_fn wanted, struct dbk_subject **chosen_out,
                  size_t *count_out, struct dbk_error *err)
{
    (void)pthread_mutex_lock(&forget->lock);
    int rc = dbk_forget_follow(forget, err);
    *count_out = 0;
    *chosen_out = rc < 0 ? NULL : dbk_alloc_zero(forget->count + 1, sizeof(**chosen_out));
    if (rc == DBK_OK && *chosen_out == NULL)
        rc = NO_MEMORY(err);
    for (size_t i = 0; rc == DBK_OK && i < forget->count; i++) {
        if (wanted(forget, &forget->subjects[i]))
            (*chosen_out)[(*count_out)++] = forget->subjects[i];
    }
    (void)pthread_mutex_unlock(&forget->lock);
    return rc;
}

static int purge(struct dbk_forget *forget, const struct dbk_forget_run *run, struct dbk_error *err)
{
    struct dbk_subject *subjects = NULL;
    size_t count = 0;
    int rc = choose(forget, is_unpurged, &subjects, &count, err);
    if (rc == DBK_OK && count > 0)
        rc = dbk_forget_purge(forget, subjects, count, run, err);
    dbk_free(subjects);
    return rc;
}

static int rotate(struct dbk_forget *forget, const struct dbk_forget_run *run,
                  struct dbk_error *err)
{
    struct dbk_subject *subjects = NULL;
    size_t count = 0;
    uint64_t epoch = 0;
    int rc = choose(forget, needs_epoch, &subjects, &count, err);
    dbk_free(subjects);
    if (rc < 0 || count == 0)
        return rc;
    rc = dbk_forget_tell(forget, run, count, err, "epoch");
    /* The segment with these subjects ends here, so that its ciphertexts can go. */
    dbk_store_seal(forget->options.store);
    return rc < 0 ? rc : dbk_vault_rotate(forget->options.vault, &epoch, err);
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, DBK_UUID_SIZE);
}

int dbk_forget_ciphertexts(struct dbk_forget *forget, struct dbk_uuid **keys_out, size_t *count_out,
                           struct dbk_error *err)
{
    struct dbk_subject *subjects = NULL;
    *keys_out = NULL;
    int rc = choose(forget, has_ciphertext, &subjects, count_out, err);
    if (rc == DBK_OK && *count_out > 0) {
        *keys_out = dbk_alloc_zero(*count_out, sizeof(**keys_out));
        if (*keys_out == NULL)
            rc = NO_MEMORY(err);
    }
    for (size_t i = 0; rc == DBK_OK && i < *count_out; i++)
        (*keys_out)[i] = subjects[i].key;
    if (rc == DBK_OK && *count_out > 0)
        qsort(*keys_out, *count_out, sizeof(**keys_out), compare_ids);
    dbk_free(subjects);
    return rc;
}

int dbk_forget_ciphertexts_removed(struct dbk_forget *forget, uint64_t position,
                                   struct dbk_error *err)
{
    struct dbk_append_result result;
    char text[64];
    (void)pthread_mutex_lock(&forget->lock);
    bool any = false;
    for (size_t i = 0; i < forget->count; i++)
        any = any || (has_ciphertext(forget, &forget->subjects[i]) &&
                      forget->subjects[i].forgotten <= position);
    (void)pthread_mutex_unlock(&forget->lock);
    if (!any)
        return DBK_OK;
    int size = snprintf(text, sizeof(text), "{\"position\":%ju}", (uintmax_t)position);
    return dbk_subject_append(
        forget,
        &(struct dbk_subject_event){"CiphertextRemoved", NULL, dbk_slice(text, (size_t)size)}, 1,
        &result, err);
}

static int step(void *context, uint64_t done, uint64_t total, uint64_t read)
{
    (void)done;
    (void)total;
    (void)read;
    return atomic_load(&((struct dbk_forget *)context)->ends) ? DBK_ESTOPPED : DBK_OK;
}

/* Has the segment that holds the newest of them end, if it has not. */
static int seal_all(struct dbk_forget *forget, struct dbk_error *err)
{
    struct dbk_append_result result;
    uint64_t newest = 0;
    (void)pthread_mutex_lock(&forget->lock);
    for (size_t i = 0; i < forget->count; i++) {
        if (has_ciphertext(forget, &forget->subjects[i]))
            newest = forget->subjects[i].forgotten;
    }
    (void)pthread_mutex_unlock(&forget->lock);
    if (dbk_store_sealed_position(forget->options.store) >= newest)
        return DBK_OK;
    dbk_store_seal(forget->options.store);
    return dbk_subject_append(
        forget, &(struct dbk_subject_event){"CompactionBegun", NULL, DBK_SLICE_LITERAL("{}")}, 1,
        &result, err);
}

static int compact(struct dbk_forget *forget, const struct dbk_forget_run *run,
                   struct dbk_error *err)
{
    struct dbk_store_compacted compacted;
    struct dbk_uuid *keys = NULL;
    size_t count = 0;
    int rc = dbk_forget_ciphertexts(forget, &keys, &count, err);
    if (rc == DBK_OK && count > 0)
        rc = dbk_forget_tell(forget, run, count, err, "ciphertexts");
    if (rc == DBK_OK && count > 0)
        rc = seal_all(forget, err);
    uint64_t position = rc < 0 ? 0 : dbk_store_sealed_position(forget->options.store);
    if (rc == DBK_OK && count > 0)
        rc = dbk_store_compact(
            forget->options.store,
            &(struct dbk_store_compaction){
                .step = step, .context = forget, .erased = keys, .erased_count = count},
            &compacted, err);
    if (rc == DBK_OK && count > 0)
        rc = dbk_forget_ciphertexts_removed(forget, position, err);
    dbk_free(keys);
    return rc;
}

static int certify(struct dbk_forget *forget, const struct dbk_forget_run *run,
                   struct dbk_error *err)
{
    struct dbk_subject *subjects = NULL;
    size_t count = 0;
    int rc = choose(forget, is_ready, &subjects, &count, err);
    if (rc == DBK_OK && count > 0)
        rc = dbk_forget_tell(forget, run, count, err, "certificates");
    if (rc == DBK_OK && count > 0)
        rc = dbk_forget_certify(forget, subjects, count, err);
    dbk_free(subjects);
    return rc;
}

int dbk_forget_run(struct dbk_forget *forget, const struct dbk_forget_run *run,
                   struct dbk_error *err)
{
    struct dbk_error failure = {0};
    dbk_assert(forget->options.writer);
    (void)pthread_mutex_lock(&forget->job);
    int rc = purge(forget, run, &failure);
    if (rc == DBK_OK && run->now)
        rc = rotate(forget, run, &failure);
    if (rc == DBK_OK && run->now)
        rc = compact(forget, run, &failure);
    if (rc == DBK_OK)
        rc = certify(forget, run, &failure);
    (void)pthread_mutex_lock(&forget->lock);
    forget->step[0] = '\0';
    forget->failure = rc < 0 && rc != DBK_ESTOPPED ? failure : (struct dbk_error){0};
    (void)pthread_mutex_unlock(&forget->lock);
    (void)pthread_mutex_unlock(&forget->job);
    if (rc < 0 && err != NULL)
        *err = failure;
    return rc;
}

/* ---- The thread ---- */

static void wait_woken(struct dbk_forget *forget, uint64_t *seen)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += LOOK_SECONDS;
    (void)pthread_mutex_lock(&forget->wakes_lock);
    int waited = 0;
    while (*seen == forget->asked && !atomic_load(&forget->ends) && waited == 0)
        waited = pthread_cond_timedwait(&forget->wakes, &forget->wakes_lock, &until);
    *seen = forget->asked;
    (void)pthread_mutex_unlock(&forget->wakes_lock);
}

static bool has_work(struct dbk_forget *forget)
{
    bool any = false;
    (void)pthread_mutex_lock(&forget->lock);
    dbk_ignore(dbk_forget_follow(forget, NULL));
    for (size_t i = 0; i < forget->count && !any; i++)
        any = is_unpurged(forget, &forget->subjects[i]) || is_ready(forget, &forget->subjects[i]);
    (void)pthread_mutex_unlock(&forget->lock);
    return any;
}

static void *run_thread(void *context)
{
    struct dbk_forget *forget = context;
    uint64_t seen = 0;
    while (!atomic_load(&forget->ends)) {
        if (has_work(forget))
            dbk_ignore(dbk_forget_run(forget, &(struct dbk_forget_run){0}, NULL));
        wait_woken(forget, &seen);
    }
    return NULL;
}

int dbk_forget_start(struct dbk_forget *forget, struct dbk_error *err)
{
    int failure = pthread_create(&forget->thread, NULL, run_thread, forget);
    if (failure != 0)
        return dbk_error_set_errno(err, failure, "cannot start the thread that forgets");
    forget->thread_runs = true;
    return DBK_OK;
}

/* ---- Forgetting ---- */

/* What the event says holds when this returns. Nobody seals under the key meanwhile, and no read
   model is begun. It waits for appends under way and for the disk, not for the job; but with models
   in the same transaction, also for their databases, as each append does. */
static int forget_key(struct dbk_forget *forget, const struct dbk_uuid *key,
                      enum dbk_forget_mode mode, struct dbk_error *err)
{
    const struct dbk_forget_options *options = &forget->options;
    struct dbk_append_result result;
    char hex[33];
    char at[DBK_TIME_TEXT_SIZE];
    char text[160];
    dbk_subject_hex(key, hex);
    size_t at_size = dbk_time_format(options->os->now_us(options->os), at);
    int size = snprintf(text, sizeof(text), "{\"key\":\"%s\",\"mode\":\"%s\",\"at\":\"%.*s\"}", hex,
                        dbk_forget_mode_text(mode), (int)at_size, at);
    (void)pthread_rwlock_wrlock(options->appending);
    dbk_models_hold(options->models);
    int rc = dbk_subject_append(
        forget, &(struct dbk_subject_event){"SubjectForgotten", key, dbk_slice(text, (size_t)size)},
        1, &result, err);
    if (rc == DBK_OK)
        rc = dbk_vault_forget(options->vault, key, 1, mode, err);
    dbk_models_let_go(options->models);
    (void)pthread_rwlock_unlock(options->appending);
    return rc;
}

int dbk_forget_subject(struct dbk_forget *forget, const struct dbk_forget_request *request,
                       struct dbk_uuid *key_out, struct dbk_error *err)
{
    struct dbk_uuid key;
    if (forget->options.vault == NULL)
        return dbk_error_set(err, DBK_ENOTFOUND,
                             "no schema of this book says whose its events are");
    int rc = dbk_vault_find_subject(forget->options.vault, request->subject, &key, err);
    if (rc == DBK_ENOTFOUND)
        return dbk_error_set(
            err, rc,
            "this subject has no key: nothing personal of it was stored, or it was "
            "forgotten before (`daybook forgotten ls`)");
    if (rc < 0)
        return rc;
    if (request->mode == DBK_FORGET_TOMBSTONE &&
        dbk_vault_key_state(forget->options.vault, &key) == DBK_KEY_TOMBSTONED)
        return dbk_error_set(err, DBK_ENOTFOUND, "the subject was forgotten before, by tombstone");
    rc = forget_key(forget, &key, request->mode, err);
    if (rc < 0)
        return rc;
    (void)pthread_mutex_lock(&forget->wakes_lock);
    forget->asked++;
    (void)pthread_cond_broadcast(&forget->wakes);
    (void)pthread_mutex_unlock(&forget->wakes_lock);
    *key_out = key;
    return DBK_OK;
}

void dbk_forget_counts(struct dbk_forget *forget, struct dbk_forget_counts *counts_out)
{
    *counts_out = (struct dbk_forget_counts){0};
    (void)pthread_mutex_lock(&forget->lock);
    dbk_ignore(dbk_forget_follow(forget, NULL));
    for (size_t i = 0; i < forget->count; i++) {
        counts_out->waiting += forget->subjects[i].erased == 0;
        counts_out->purged += needs_epoch(forget, &forget->subjects[i]);
    }
    (void)snprintf(counts_out->step, sizeof(counts_out->step), "%s", forget->step);
    counts_out->running = forget->step[0] != '\0';
    counts_out->failure = forget->failure;
    (void)pthread_mutex_unlock(&forget->lock);
}

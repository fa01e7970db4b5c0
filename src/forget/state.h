/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state -- the subjects of which something is left to do, as `$subjects` tells it.
 *
 * Threads: under the forget's lock, but where it is said otherwise.
 */
#ifndef DBK_FORGET_STATE_H
#define DBK_FORGET_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "forget/forget.h"

#define DBK_FORGET_TEXT_MAX ((size_t)1 << 20)

/* A subject that was forgotten, and is not final or has ciphertexts. */
struct dbk_subject {
    struct dbk_uuid key;
    enum dbk_forget_mode mode;
    uint64_t forgotten; /* positions of its events */
    uint64_t purged;    /* 0: not yet */
    uint64_t erased;
};

struct dbk_forget {
    struct dbk_forget_options options;
    pthread_mutex_t lock;
    struct dbk_subject *subjects; /* in order of `forgotten` */
    size_t count;
    size_t capacity;
    uint32_t *places; /* by key: indexes in them from 1; 0: free */
    size_t place_count;
    uint64_t position; /* of `$subjects`, up to which this is */
    uint64_t rotated;  /* position of the newest EpochRotated */
    uint64_t removed;  /* ciphertexts of keys forgotten before it are gone */
    char step[80];
    struct dbk_error failure;
    /* The job. */
    pthread_mutex_t job; /* one at a time */
    pthread_t thread;
    bool thread_runs;
    _Atomic bool ends;
    pthread_cond_t wakes;
    pthread_mutex_t wakes_lock;
    uint64_t asked; /* how often the thread was woken */
};

/* Reads what `$subjects` got since. */
int dbk_forget_follow(struct dbk_forget *forget, struct dbk_error *err) DBK_MUST_CHECK;

/* "$subject:<key id>", the tag of a subject's events in `$subjects`. */
#define DBK_SUBJECT_TAG_SIZE 41
void dbk_subject_tag(const struct dbk_uuid *key, char tag_out[DBK_SUBJECT_TAG_SIZE + 1]);
/* 32 digits and a NUL. */
void dbk_subject_hex(const struct dbk_uuid *key, char hex_out[33]);

/* An event for `$subjects` about a key; data is JSON. Slices are borrowed. */
struct dbk_subject_event {
    const char *type;
    const struct dbk_uuid *key; /* NULL: about none */
    struct dbk_slice data;
};
int dbk_subject_append(struct dbk_forget *forget, const struct dbk_subject_event *events,
                       size_t count, struct dbk_append_result *result_out,
                       struct dbk_error *err) DBK_MUST_CHECK;

/* ---- traces.c: what a subject left behind ---- */

/* All in the arena. */
struct dbk_traces {
    struct dbk_arena arena;
    struct dbk_forgotten *subjects; /* for the models, in order of their positions */
    const struct dbk_subject *keys; /* those of them */
    size_t count;
    struct dbk_slice *streams; /* of all of them */
    size_t stream_count;
    uint64_t *positions; /* of their events, ascending */
    size_t position_count;
};
/* keys are borrowed as long as the traces. Ended with dbk_traces_release also after a failure. */
int dbk_traces_find(struct dbk_forget *forget, const struct dbk_subject *keys, size_t count,
                    struct dbk_traces *traces, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_traces_release(struct dbk_traces *traces);
bool dbk_traces_has(const struct dbk_traces *traces, uint64_t position);

/* ---- purge.c: the steps that take it away ---- */

/* Runs them all and says so in the log. */
int dbk_forget_purge(struct dbk_forget *forget, const struct dbk_subject *keys, size_t count,
                     const struct dbk_forget_run *run, struct dbk_error *err) DBK_MUST_CHECK;
/* Tells the step, by name; DBK_ESTOPPED: it is to end. */
int dbk_forget_tell(struct dbk_forget *forget, const struct dbk_forget_run *run, uint64_t subjects,
                    struct dbk_error *err, const char *format, ...) DBK_MUST_CHECK DBK_PRINTF(5, 6);

/* ---- certificate.c ---- */

/* Appends SubjectErased, with the certificate. */
int dbk_forget_certify(struct dbk_forget *forget, const struct dbk_subject *keys, size_t count,
                       struct dbk_error *err) DBK_MUST_CHECK;

#endif

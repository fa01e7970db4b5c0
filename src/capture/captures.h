/* SPDX-License-Identifier: Apache-2.0 */
/*
 * captures -- a thread a service, shared by what runs them and what asks them.
 *
 * Threads: what a thread tells of itself is under the captures' one lock.
 */
#ifndef DBK_CAPTURE_CAPTURES_H
#define DBK_CAPTURE_CAPTURES_H

#include <pthread.h>

#include "base/trail.h"
#include "capture/entry.h"

struct dbk_capture {
    struct dbk_captures *captures;
    const struct dbk_capture_service *service;
    enum dbk_capture_kind kind;
    pthread_t thread;
    bool runs;
    int wake;                         /* an eventfd: look at once */
    int over;                         /* an eventfd: end what is going on */
    _Atomic bool hurry;               /* somebody waits for a position */
    _Atomic bool resnapshot;          /* asked for */
    struct dbk_capture_status status; /* under the lock */
    struct dbk_entry_counts before;   /* of entries that have ended */
    int64_t backoff_us;
    struct dbk_source_doubt doubt;
    int64_t taken_us;       /* when the first of what is gathered came; 0: nothing did yet */
    struct dbk_trail trail; /* batches: came, are in the book; under the lock */
};

struct dbk_captures {
    struct dbk_captures_options options;
    struct dbk_arena arena;
    pthread_mutex_t lock;
    pthread_cond_t moved; /* some capture's position */
    struct dbk_capture *items;
    size_t count;
    size_t capacity;
    _Atomic bool stop;
    int64_t since_us;        /* when they were opened */
    uint64_t position_begun; /* where the book was then */
};

/* Reads how far its service is captured. As dbk_entry_open. */
int dbk_capture_open_entry(struct dbk_capture *capture, struct dbk_entry **entry_out,
                           struct dbk_error *err) DBK_MUST_CHECK;
/* How its database is read. */
int dbk_capture_driver(const struct dbk_capture_service *service, enum dbk_capture_kind kind,
                       const struct dbk_source_driver **driver_out,
                       struct dbk_error *err) DBK_MUST_CHECK;
/* Wakes the thread, or ends what it does, which is to look for why. */
void dbk_capture_wake(const struct dbk_capture *capture);
void dbk_capture_end(const struct dbk_capture *capture);
int64_t dbk_capture_now_us(const struct dbk_capture *capture);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state -- an open index, shared by its sources.
 *
 * lock guards runs and chunks: changed under it by the writer and the thread behind, read under it
 * by look-ups. A chunk that is full and synced no longer changes, so that the thread behind reads
 * it without the lock. work_lock guards what the two threads tell each other.
 */
#ifndef DBK_INDEX_STATE_H
#define DBK_INDEX_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "index/chunk.h"
#include "index/files.h"

/* So many full chunks (64 MiB of memory) may wait for the thread behind; then appends wait. */
#define DBK_INDEX_CHUNKS_MAX 4
/* A shorter tail is read from the log again by the next open. */
#define DBK_INDEX_TAIL_KEPT 4096

struct dbk_index {
    struct dbk_os *os;
    char *folder;
    struct dbk_log *log;
    bool writer;
    uint32_t chunk_events;
    pthread_rwlock_t lock;
    struct dbk_run_files runs;
    struct dbk_chunk **chunks; /* oldest first */
    size_t chunk_count;
    size_t chunk_capacity;
    struct dbk_chunk *spare; /* the next one, made by the thread behind; NULL: none yet */
    uint64_t made;
    uint64_t removed;
    _Atomic uint64_t synced;
    pthread_mutex_t work_lock;
    pthread_cond_t work; /* there may be something to do, or it stops */
    pthread_cond_t done; /* a piece of work ended */
    pthread_t thread;
    bool thread_runs;
    bool stop;
    bool idle;            /* the thread found nothing to do since it was last told */
    uint64_t asked;       /* counts wake-ups */
    int rc;               /* of the last piece of work */
    struct dbk_error err; /* why it failed */
};

/* The last position that runs answer for. */
uint64_t dbk_index_covered(const struct dbk_index *index);

#endif

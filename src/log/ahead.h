/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ahead -- the next segment's file, filled with zeros and synced before it is needed, so that the
 * syncs of groups in it need not make it longer or give it blocks.
 *
 * A thread makes "next.tmp" step by step, at twice the pace at which the growing segment fills, and
 * the writer takes it when it begins a segment. Nobody reads the file before it has a segment's
 * header and name; recovery and closing remove it. When it cannot be made, or its space is wanted
 * back, the next segment is begun without it.
 *
 * Threads: dbk_ahead_step by one thread at a time, which is this room's own where there is one; the
 *          rest by the writer.
 * Source:  docs/design/group-commit.md.
 */
#ifndef DBK_LOG_AHEAD_H
#define DBK_LOG_AHEAD_H

#include <pthread.h>
#include <stdatomic.h>

#include "os/os.h"

#define DBK_AHEAD_NAME "next.tmp"

struct dbk_ahead {
    struct dbk_os *os;
    char *path;
    uint64_t size; /* that the file shall have */
    uint64_t step; /* zeros between two syncs */
    _Atomic uint64_t wanted;
    pthread_mutex_t lock; /* for all below */
    pthread_cond_t due;
    pthread_t thread;
    bool thread_runs;
    bool ends;
    bool busy;     /* a step is under way, and has the file */
    bool given_up; /* no more of it before the next segment */
    struct dbk_file file;
    uint64_t filled;
};

/*
 * size      of the files it makes
 * DBK_ENOMEM
 */
int dbk_ahead_init(struct dbk_ahead *ahead, struct dbk_os *os, const char *folder, uint64_t size,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* Ends the thread, and removes the file. One that was never begun (all zeros) is fine. */
void dbk_ahead_release(struct dbk_ahead *ahead);

/* So much of it should be there by now. threaded: a thread is started where there is none. */
void dbk_ahead_want(struct dbk_ahead *ahead, uint64_t size, bool threaded);
/* Does the next bit of what is wanted. False: nothing is due. */
bool dbk_ahead_step(struct dbk_ahead *ahead);
/* A segment begins: the file, which is the caller's then, if it is ready. */
bool dbk_ahead_take(struct dbk_ahead *ahead, struct dbk_file *file_out);
/* The disk is full: removes the file. */
void dbk_ahead_give_back(struct dbk_ahead *ahead);

#endif

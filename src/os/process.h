/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process -- a program that is run, given something to read, and waited for.
 *
 * No shell is between: the words are the program's arguments as they stand. It is the leader of a
 * process group of its own; past its time, or when it is to end, SIGKILL ends all of that group. It
 * does not outlive the thread that runs it, and so not this process, however that ends. Of this
 * process's files it has none; what it writes to its standard output is dropped.
 *
 * Threads: any thread.
 * Source:  execvp(3), prctl(2) PR_SET_PDEATHSIG, close_range(2).
 */
#ifndef DBK_OS_PROCESS_H
#define DBK_OS_PROCESS_H

#include "os/os.h"

#define DBK_PROCESS_SAID_SIZE 200

struct dbk_process {
    const char *const *words; /* the program, by PATH where it has no '/', its arguments, NULL */
    const char *folder;       /* where it runs; NULL: here */
    struct dbk_slice input;   /* its standard input; it may leave some of it unread */
    int64_t timeout_us;
    const _Atomic bool *ends; /* ends it; NULL: nothing does */
};

/* How it ended. */
struct dbk_process_end {
    bool exited;
    int status;                       /* where it exited, else the signal */
    char said[DBK_PROCESS_SAID_SIZE]; /* the beginning of its standard error, one line */
};

/* DBK_ENOTFOUND: there is no such program, or folder; DBK_EDENIED: it may not be run; DBK_ETIMEOUT;
   DBK_ESTOPPED; DBK_EIO */
int dbk_process_run(const struct dbk_process *process, struct dbk_process_end *end_out,
                    struct dbk_error *err) DBK_MUST_CHECK;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * turn -- whose turn it is to write to a database file, of this process's sessions.
 *
 * SQLite's write lock has no queue: who waits looks again and again, and a writer that begins its
 * next transaction right behind the last is nearly always there first. So whoever is about to ask
 * for the lock takes its turn before, and gives it up once it has the lock; the writer before
 * queues behind it. A turn that does not come in time is done without: the lock alone is what
 * keeps writers apart.
 *
 * Threads: all functions from any.
 */
#ifndef DBK_TARGET_TURN_H
#define DBK_TARGET_TURN_H

#include <stdbool.h>
#include <stdint.h>

/* Of a file; those of one file share it, as long as one of them has it. */
struct dbk_turn_queue;
/* NULL: there is no memory for one, and nobody queues. */
struct dbk_turn_queue *dbk_turn_queue_ref(const char *path);
void dbk_turn_queue_unref(struct dbk_turn_queue *queue);

/* Waits for the turn; false: it did not come in time. */
bool dbk_turn_take(struct dbk_turn_queue *queue, int64_t timeout_ms);
void dbk_turn_give(struct dbk_turn_queue *queue);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay -- a view's recorded differences, applied to its rows of before, against its rows.
 *
 * Threads: a connection belongs to one thread at a time.
 */
#ifndef DBK_TESTS_TORTURE_REPLAY_H
#define DBK_TESTS_TORTURE_REPLAY_H

#include "target/target.h"

/* Keeps the view's rows, as JSON, in temp.before_<view>. Negative: a statement failed. */
int replay_keep(struct dbk_connection *connection, const char *view, struct dbk_error *err);
/*
 * Applies the differences behind `after` to them, one by one, and moves it. NULL: they are then the
 * view's rows; else what is wrong.
 */
const char *replay(struct dbk_connection *connection, const char *view, uint64_t *after,
                   struct dbk_error *err);

#endif

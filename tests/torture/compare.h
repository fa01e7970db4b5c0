/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compare -- a view's rows against its SELECT run by SQLite alone, as bags.
 *
 * Threads: a connection belongs to one thread at a time.
 */
#ifndef DBK_TESTS_TORTURE_COMPARE_H
#define DBK_TESTS_TORTURE_COMPARE_H

#include "target/target.h"

/*
 * How many different rows the view and the SELECT have not equally often, each side's counted; of
 * `types` 1 and 1.0 are two. In temp.q the SELECT's rows stay. -1: a statement failed.
 */
int64_t compare_view(struct dbk_connection *connection, const char *view, struct dbk_slice select,
                     bool types, struct dbk_error *err);
/* Whether the view's rows come in the order of temp.q. 1, 0, or -1: a statement failed. */
int compare_order(struct dbk_connection *connection, const char *view, struct dbk_error *err);
/* True when SQLite itself cannot run the SELECT (a sum that overflows). */
bool compare_fails(struct dbk_connection *connection, struct dbk_slice select);

#endif

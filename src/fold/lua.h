/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lua -- a fold that is a script: the functions of it, and what it must look like.
 *
 * A state is a Lua state, with the script's table at stack index 1 and the folded state at 2.
 *
 * Threads: as dbk_fold_functions.
 */
#ifndef DBK_FOLD_LUA_H
#define DBK_FOLD_LUA_H

#include "fold/fold.h"

#define DBK_FOLD_STATE_SIZE_MAX ((size_t)64 << 20)

/* name: the file's path for messages. Both are copied; ends with dbk_fold_lua_free. */
int dbk_fold_lua_open(const char *name, struct dbk_slice source,
                      struct dbk_fold_functions *functions_out,
                      struct dbk_error *err) DBK_MUST_CHECK;
void dbk_fold_lua_free(struct dbk_fold_functions *functions);
/*
 * Checks `initial`, `on` and `snapshot`; every_out is 0 where there are none. names_out are those
 * of `on`, in byte order, each with a NUL behind it, in the arena. DBK_EINVAL, DBK_ESCRIPT
 */
int dbk_fold_lua_check(const struct dbk_fold_functions *functions, struct dbk_arena *arena,
                       struct dbk_slice **names_out, size_t *count_out, uint64_t *every_out,
                       struct dbk_error *err) DBK_MUST_CHECK;

#endif

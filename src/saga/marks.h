/* SPDX-License-Identifier: Apache-2.0 */
/*
 * marks -- what a saga's file calls to say what it wishes: step, complete, fail, timer, stop,
 * event, command, http and none.
 *
 * Each makes a table under one metatable, with its kind under "kind"; none is a function that is
 * only ever compared.
 *
 * Threads: as the Lua state.
 */
#ifndef DBK_SAGA_MARKS_H
#define DBK_SAGA_MARKS_H

#include "script/script.h"

extern const struct dbk_script_function dbk_saga_marks[];
extern const size_t dbk_saga_marks_count;
/* The kind of the value at an index ("step", "event", …), NULL when it is none of them. Within a
   call. */
const char *dbk_saga_mark(struct lua_State *lua, int index);
bool dbk_saga_is_none(struct lua_State *lua, int index);

#endif

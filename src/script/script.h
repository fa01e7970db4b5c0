/* SPDX-License-Identifier: Apache-2.0 */
/*
 * script -- the Lua sandbox: pure functions of their arguments, within bounds.
 *
 * A script is one chunk that returns a table, or a function. It sees an allow-list: assert error
 * ipairs next pairs (in key order) pcall select tonumber tostring type xpcall, math without
 * randomness, string without dump, table, utf8, and `null`, `array{...}`, `decimal(x)`; plus what
 * the room above registers. No clock, randomness, files, bytecode, coroutines, debug or require.
 * Every call has a budget of instructions and the state a budget of memory; what goes past either
 * is an error that the script itself cannot catch. Work within one call of the library (moving,
 * sorting, copying large texts) counts as instructions, too. A limit: what a pattern's repeats cost
 * when they try again and again ("a*a*a*b" on a long text) is not known beforehand and not counted.
 * Library tables are fresh in each state and the string metatable is protected.
 *
 * JSON goes in and comes out exactly: integers are 64-bit, other numbers arrive as `decimal`
 * values, null is `null`, an array is marked so that an empty one stays one; a table without the
 * mark is an array when it is a non-empty sequence and else an object, whose keys are written in
 * byte order. {"$forgotten":"<32 digits>"} arrives as a value that absorbs what is done with it:
 * concatenated, calculated with, indexed or called it stays itself; it is neither less nor more
 * than anything, has no length, is "[forgotten]" as text, and is written as it came.
 *
 * Threads: a script belongs to one thread at a time.
 * Source:  Lua 5.4 reference manual, sections 4 and 6.
 */
#ifndef DBK_SCRIPT_SCRIPT_H
#define DBK_SCRIPT_SCRIPT_H

#include <stdint.h>

#include "base/memory.h"
#include "json/json.h"

struct lua_State;
struct dbk_script;

/* A C function under a name. */
struct dbk_script_function {
    const char *name;
    int (*function)(struct lua_State *lua);
};

struct dbk_script_limits {
    size_t memory_size;         /* bytes of the whole state; 0: 64 MiB */
    uint64_t instruction_count; /* of one call; 0: 10 million */
    bool is_function;           /* the chunk returns a function, not a table */
    /* What the script sees while the chunk runs already; borrowed for the call. */
    const struct dbk_script_function *functions;
    size_t function_count;
};

/*
 * Compiles and runs a chunk, which must return a table, or a function where the limits say so.
 *
 * name   for messages: the file's path as the user knows it; borrowed
 * limits borrowed, may be NULL
 *
 * DBK_EINVAL  it does not compile (message: file:line: why), or returns something else
 * DBK_ESCRIPT it failed while running, or went past a limit
 * DBK_ENOMEM
 */
int dbk_script_open(const char *name, struct dbk_slice source,
                    const struct dbk_script_limits *limits, struct dbk_script **script_out,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* NULL is fine. */
void dbk_script_free(struct dbk_script *script);

/*
 * For rooms that drive Lua themselves (schema, fold, command, import): the state, with what the
 * chunk returned at index 1 of an otherwise empty stack; leave it so.
 */
struct lua_State *dbk_script_lua(struct dbk_script *script);
const char *dbk_script_name(const struct dbk_script *script);

/*
 * Calls the function below `argument_count` arguments on the stack, as lua_call does, within the
 * budgets. On failure the results are not pushed and the message names file and line.
 *
 * DBK_ESCRIPT it raised an error, or went past a limit
 */
int dbk_script_call(struct dbk_script *script, int argument_count, int result_count,
                    struct dbk_error *err) DBK_MUST_CHECK;

/* Puts a C function under a name into what the script sees. DBK_ESCRIPT, DBK_ENOMEM. */
int dbk_script_register(struct dbk_script *script, const char *name,
                        int (*function)(struct lua_State *lua),
                        struct dbk_error *err) DBK_MUST_CHECK;

/* Pushes a JSON value. DBK_ESCRIPT when the state's memory is used up. */
int dbk_script_push_json(struct dbk_script *script, const struct dbk_json_node *node,
                         struct dbk_error *err) DBK_MUST_CHECK;
/*
 * Writes the value at a stack index as JSON. DBK_ESCRIPT for what JSON cannot say: functions,
 * infinities, tables with mixed or non-text keys, cycles, invalid UTF-8; the message names the
 * path to it (state.items[3].price).
 */
int dbk_script_write_json(struct dbk_script *script, int index, struct dbk_buf *out,
                          struct dbk_error *err) DBK_MUST_CHECK;

#endif

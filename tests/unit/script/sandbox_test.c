/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sandbox_test -- what a script may see, and that no way past its limits can be caught or waited
 * out. Each hostile script is run with small limits; one that got away would hang the test.
 */
#include "test.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>

#include "script/script.h"

#define OUT_SIZE_MAX ((size_t)1 << 20)

static const struct dbk_script_limits small = {.memory_size = 2 << 20, .instruction_count = 300000};

/* What a chunk's table is as JSON, or the code it failed with. */
static int run(const char *source, struct dbk_buf *out, struct dbk_error *err)
{
    struct dbk_script *script = NULL;
    dbk_buf_reset(out);
    int rc = dbk_script_open("t.lua", dbk_slice_of(source), &small, &script, err);
    if (rc == DBK_OK)
        rc = dbk_script_write_json(script, 1, out, err);
    dbk_script_free(script);
    return rc;
}

static void expect(const char *source, const char *json)
{
    struct dbk_buf out;
    struct dbk_error err = {0};
    dbk_buf_init(&out, OUT_SIZE_MAX);
    assert_ok(run(source, &out, &err), &err);
    assert_slice_equal(dbk_buf_slice(&out), json);
    dbk_buf_release(&out);
}

static void expect_failure(const char *source, int code, const char *message)
{
    struct dbk_buf out;
    struct dbk_error err = {0};
    dbk_buf_init(&out, OUT_SIZE_MAX);
    int rc = run(source, &out, &err);
    if (rc != code || strstr(err.message, message) == NULL)
        fail_msg("%s\n gave %d \"%s\", expected %d \"%s\"", source, rc, err.message, code, message);
    dbk_buf_release(&out);
}

static void test_script_sandbox__shows_the_allow_list_and_nothing_else(void **state)
{
    static const char *const hidden[] = {"_G",
                                         "load",
                                         "loadstring",
                                         "loadfile",
                                         "dofile",
                                         "require",
                                         "package",
                                         "io",
                                         "os",
                                         "debug",
                                         "coroutine",
                                         "print",
                                         "collectgarbage",
                                         "setmetatable",
                                         "getmetatable",
                                         "rawget",
                                         "rawset",
                                         "rawequal",
                                         "rawlen",
                                         "math.random",
                                         "math.randomseed",
                                         "string.dump",
                                         "warn"};
    static const char *const shown[] = {
        "assert",      "error",        "ipairs",    "next", "pairs",  "pcall",
        "select",      "tonumber",     "tostring",  "type", "xpcall", "math.floor",
        "string.find", "table.concat", "utf8.char", "null", "array",  "decimal"};
    char source[100];
    (void)state;
    for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
        (void)snprintf(source, sizeof(source), "return { %s == nil }", hidden[i]);
        expect(source, "[true]");
    }
    for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
        (void)snprintf(source, sizeof(source), "return { %s ~= nil }", shown[i]);
        expect(source, "[true]");
    }
}

static void test_script_sandbox__tells_no_two_runs_apart(void **state)
{
    (void)state;
    expect("local t, r = {}, {} for i = 9, 1, -1 do t['k' .. i] = i t[i] = i end "
           "for k in pairs(t) do r[#r + 1] = k end return r",
           "[1,2,3,4,5,6,7,8,9,\"k1\",\"k2\",\"k3\",\"k4\",\"k5\",\"k6\",\"k7\",\"k8\",\"k9\"]");
    expect("return { next({ b = 1, a = 2 }), next({}) == nil }", "[\"a\",true]");
    expect("return { tostring({}), tostring(next), string.format('%s', {}) }",
           "[\"table\",\"function\",\"table\"]");
    expect_failure("string.format('%p', {})", DBK_ESCRIPT, "t.lua:1: string.format has no %p");
    expect_failure("for k in pairs({ [{}] = 1 }) do end", DBK_ESCRIPT, "t.lua:1: a table with a");
    expect("local r = {} local t = { a = 1, b = 2, c = 3 } "
           "for k in pairs(t) do t.b = nil r[#r + 1] = k end return r",
           "[\"a\",\"c\"]");
}

static void test_script_sandbox__ends_what_never_ends(void **state)
{
    static const char *const endless[] = {
        "while true do end",
        "pcall(function() while true do end end) return {}",
        "while true do pcall(function() while true do end end) end",
        "xpcall(function() while true do end end, function() return 1 end) return {}",
        "xpcall(function() while true do end end, function() while true do end end) return {}",
        "xpcall(error, function() while true do end end) return {}",
        "table.sort({ 3, 1, 2 }, function() while true do end end) return {}",
        "string.gsub('x', 'x', function() while true do end end) return {}",
        "table.move({}, 1, 1000000000000000, 2) return {}",
        "table.move({}, math.mininteger, math.maxinteger, 2) return {}",
        "string.rep('', 1000000000000000) return {}",
        "(''):rep(math.maxinteger) return {}",
        "local t = {} for i = 1, 9000 do t[i] = i end while true do next(t) end",
        "local t = {} for i = 1, 9000 do t[i] = i end while true do pairs(t) end",
        "local t = {} for i = 1, 9000 do t[i] = i end while true do table.insert(t, 1, 1) end",
        "local t = {} for i = 1, 9000 do t[i] = i end while true do table.sort(t) end",
        "local t = {} for i = 1, 9000 do t[i] = '' end while true do table.concat(t) end",
        "local s = string.rep('x', 500000) while true do local a = s .. 'y' end",
        "local s = string.rep('x', 500000) while true do s:find('y', 1, true) end",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(endless) / sizeof(endless[0]); i++)
        expect_failure(endless[i], DBK_ESCRIPT, "t.lua:1: it used up its instructions");
}

static void test_script_sandbox__bounds_memory_and_nothing_catches_that(void **state)
{
    static const char *const greedy[] = {
        "local s = 'x' while true do s = s .. s end",
        "local t = {} for i = 1, 1e9 do t[i] = i end",
        "pcall(string.rep, string.rep('x', 4000), 1000) return {}",
        "xpcall(string.rep, function() return 1 end, string.rep('x', 4000), 1000) return {}",
        "while true do pcall(string.rep, string.rep('x', 4000), 1000) end",
        "return { string.rep(string.rep('x', 4000), 1000) }",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(greedy) / sizeof(greedy[0]); i++)
        expect_failure(greedy[i], DBK_ESCRIPT, "t.lua: it used up its memory of 2097152 bytes");
}

/* The collector finds room when the limit is met: that is no limit passed. */
static void test_script_sandbox__garbage_leaves_errors_catchable(void **state)
{
    (void)state;
    expect("for i = 1, 5 do local s = string.rep(string.rep('x', 12000), 65 + i) end "
           "return { pcall(error, 'mine', 0) }",
           "[false,\"mine\"]");
}

static void test_script_sandbox__ordinary_errors_can_be_caught(void **state)
{
    (void)state;
    expect("return { pcall(error, 'x') }", "[false,\"x\"]");
    expect("return { pcall(function(...) return select('#', ...), ... end, 1, 2) }",
           "[true,2,1,2]");
    expect("return { xpcall(function(a, b) error(a .. b, 0) end, "
           "function(m) return m .. '!' end, 'x', 'y') }",
           "[false,\"xy!\"]");
    expect("return { xpcall(function(...) return ... end, error, 1, 2) }", "[true,1,2]");
    expect("return { xpcall(error, function() error('in', 0) end) }", "[false,\"in\"]");
}

static void test_script_sandbox__says_where_it_failed_in_one_line(void **state)
{
    (void)state;
    expect_failure("\n\nerror('no')", DBK_ESCRIPT, "t.lua:3: no");
    expect_failure("\nreturn { string.format('%d', 'x') }", DBK_ESCRIPT, "t.lua:2: bad argument");
    expect_failure("\nreturn { ('x'):rep({}) }", DBK_ESCRIPT, "t.lua:2: bad argument #1 to 'rep'");
    expect_failure("error('two\\nlines\\xff')", DBK_ESCRIPT, "two lines?");
    expect_failure("error({})", DBK_ESCRIPT, "t.lua: it raised an error that is no text");
    expect_failure("\nlocal x =", DBK_EINVAL, "t.lua:2:");
    expect_failure("return 5", DBK_EINVAL, "it must return a table, not number");
    expect_failure("", DBK_EINVAL, "it must return a table, not nil");
}

static int take_bytes(lua_State *lua, const void *bytes, size_t size, void *context)
{
    (void)lua;
    luaL_addlstring(context, bytes, size);
    return 0;
}

static void test_script_sandbox__refuses_bytecode(void **state)
{
    struct dbk_script *script = NULL;
    struct dbk_error err = {0};
    luaL_Buffer buffer;
    size_t size = 0;
    (void)state;
    lua_State *lua = luaL_newstate();
    assert_non_null(lua);
    assert_int_equal(luaL_loadstring(lua, "return {}"), LUA_OK);
    luaL_buffinit(lua, &buffer);
    lua_pushvalue(lua, 1);
    assert_int_equal(lua_dump(lua, take_bytes, &buffer, 0), 0);
    lua_pop(lua, 1);
    luaL_pushresult(&buffer);
    const char *bytes = lua_tolstring(lua, -1, &size);
    assert_int_equal(bytes[0], LUA_SIGNATURE[0]);
    assert_int_equal(dbk_script_open("t.lua", dbk_slice(bytes, size), NULL, &script, &err),
                     DBK_EINVAL);
    lua_close(lua);
}

static void test_script_sandbox__keeps_states_apart(void **state)
{
    (void)state;
    expect("string.find = nil table.insert = nil math.floor = nil pcall = nil return { 1 }", "[1]");
    expect("return { string.find('ab', 'b'), pcall ~= nil }", "[2,true]");
    expect_failure("('x').find = 1", DBK_ESCRIPT, "");
}

static int answer(lua_State *lua)
{
    lua_pushinteger(lua, 42);
    return 1;
}

static void test_script_sandbox__a_call_has_a_budget_of_its_own(void **state)
{
    struct dbk_script *script = NULL;
    struct dbk_error err = {0};
    (void)state;
    assert_ok(dbk_script_open("t.lua",
                              DBK_SLICE_LITERAL("return { work = function(n) for i = 1, n do end "
                                                "return registered() end }"),
                              &small, &script, &err),
              &err);
    assert_ok(dbk_script_register(script, "registered", answer, &err), &err);
    lua_State *lua = dbk_script_lua(script);
    for (int i = 0; i < 20; i++) {
        (void)lua_getfield(lua, 1, "work");
        lua_pushinteger(lua, i % 5 == 4 ? 10000000 : 100000);
        int rc = dbk_script_call(script, 1, 1, &err);
        assert_int_equal(rc, i % 5 == 4 ? DBK_ESCRIPT : DBK_OK);
        if (rc == DBK_OK)
            assert_int_equal(lua_tointeger(lua, -1), 42);
        lua_settop(lua, 1);
    }
    dbk_script_free(script);
}

/* ---- Every n-th allocation fails ---- */

static uint64_t allocations_left;

static void *failing_allocate(size_t size)
{
    if (allocations_left == 0)
        return NULL;
    allocations_left--;
    return malloc(size);
}

static void *failing_reallocate(void *memory, size_t size)
{
    if (allocations_left == 0)
        return NULL;
    allocations_left--;
    return realloc(memory, size);
}

static void test_script_sandbox__survives_every_failing_allocation(void **state)
{
    static const struct dbk_allocator failing = {failing_allocate, failing_reallocate, free};
    static const struct dbk_allocator plain = {malloc, realloc, free};
    const char *source = "local t = {} for i = 1, 20 do t[i] = 'text ' .. i end "
                         "return { t = t, d = decimal('1.5') + 1 }";
    int rc = DBK_ENOMEM;
    (void)state;
    dbk_set_allocator(&failing);
    for (uint64_t n = 0; rc != DBK_OK; n++) {
        struct dbk_buf out;
        struct dbk_error err = {0};
        dbk_buf_init(&out, OUT_SIZE_MAX);
        allocations_left = n;
        rc = run(source, &out, &err);
        if (rc != DBK_OK && rc != DBK_ENOMEM)
            fail_msg("allocation %llu: %d %s", (unsigned long long)n, rc, err.message);
        dbk_buf_release(&out);
    }
    dbk_set_allocator(&plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_script_sandbox__shows_the_allow_list_and_nothing_else),
        cmocka_unit_test(test_script_sandbox__tells_no_two_runs_apart),
        cmocka_unit_test(test_script_sandbox__ends_what_never_ends),
        cmocka_unit_test(test_script_sandbox__bounds_memory_and_nothing_catches_that),
        cmocka_unit_test(test_script_sandbox__garbage_leaves_errors_catchable),
        cmocka_unit_test(test_script_sandbox__ordinary_errors_can_be_caught),
        cmocka_unit_test(test_script_sandbox__says_where_it_failed_in_one_line),
        cmocka_unit_test(test_script_sandbox__refuses_bytecode),
        cmocka_unit_test(test_script_sandbox__keeps_states_apart),
        cmocka_unit_test(test_script_sandbox__a_call_has_a_budget_of_its_own),
        cmocka_unit_test(test_script_sandbox__survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

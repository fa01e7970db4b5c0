/* SPDX-License-Identifier: Apache-2.0 */
/*
 * upcaster_test -- events of every version become those of the newest, whatever the steps between
 * are made of; what cannot be done is named, and the next event is no worse for it.
 *
 * One type goes from version 1 to 5: steps, a script, two versions of steps, a program's function.
 */
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>

#include "schema/upcaster.h"

static const char schema[] =
    "{\"versions\": [{\"version\": 1, \"schema\": {\"type\": \"object\"}},\n"
    " {\"version\": 2, \"schema\": {}, \"upcast\": [{\"add\": \"currency\", \"value\": "
    "\"USD\"}]},\n"
    " {\"version\": 3, \"schema\": {\"title\": \"by a script\"}},\n"
    " {\"version\": 4, \"schema\": {}, \"upcast\": [{\"rename\": \"amount\", \"to\": "
    "\"cents\"}]},\n"
    " {\"version\": 5, \"schema\": {}, \"upcast\": [{\"convert\": \"cents\", \"to\": "
    "\"string\"}]},\n"
    " {\"version\": 6, \"schema\": {}, \"upcast\": \"program\"}]}";

static const char script[] = "return function(data, event)\n"
                             "    data.amount = data.amount * 100\n"
                             "    data.stream = event.stream .. \"@\" .. event.version\n"
                             "    return data\n"
                             "end\n";

struct fixture {
    struct dbk_diagnostics faults;
    struct dbk_schemas *schemas;
    struct dbk_upcasts *upcasts;
    struct dbk_upcaster *upcaster;
    atomic_int calls;
    const char *answer; /* what the function writes; NULL: it fails */
};

static int function(void *context, const struct dbk_event *event, struct dbk_buf *out,
                    struct dbk_error *err)
{
    struct fixture *fixture = context;
    fixture->calls++;
    if (fixture->answer == NULL)
        return dbk_error_set(err, DBK_ESCRIPT, "it has no mind to");
    assert_int_equal(event->schema_version, 5);
    dbk_buf_append(out, dbk_slice(event->data.data, event->data.size - 1));
    dbk_buf_append_text(out, fixture->answer);
    return DBK_OK;
}

static void open_type(struct fixture *fixture, const char *source)
{
    struct dbk_error err = {0};
    *fixture = (struct fixture){.answer = ",\"six\":true}"};
    dbk_diagnostics_init(&fixture->faults);
    fixture->schemas = dbk_schemas_create();
    assert_non_null(fixture->schemas);
    assert_ok(dbk_schemas_add(fixture->schemas, "Deposited", "events/Deposited.schema.json",
                              DBK_SLICE_LITERAL(schema), &fixture->faults, &err),
              &err);
    assert_int_equal(dbk_schemas_add_script(fixture->schemas, "Deposited", 3,
                                            "events/Deposited.2-3.lua", dbk_slice_of(source)),
                     DBK_OK);
    assert_ok(dbk_schemas_finish(fixture->schemas, &fixture->faults, &err), &err);
    for (size_t i = 0; i < fixture->faults.count; i++)
        fail_msg("%s", fixture->faults.items[i].what);
    const struct dbk_upcast_function functions[] = {
        {DBK_SLICE_LITERAL("Deposited"), 6, DBK_SLICE_LITERAL("1"), fixture, function}};
    assert_ok(dbk_upcasts_open(fixture->schemas, functions, 1, &fixture->upcasts, &err), &err);
}

static void close_type(struct fixture *fixture)
{
    dbk_upcaster_give(fixture->upcasts, fixture->upcaster);
    dbk_upcasts_free(fixture->upcasts);
    dbk_schemas_free(fixture->schemas);
    dbk_diagnostics_release(&fixture->faults);
}

static struct dbk_event event_of(uint16_t version, const char *data)
{
    return (struct dbk_event){.position = 12,
                              .version = 7,
                              .flags = DBK_RECORD_JSON,
                              .schema_version = version,
                              .stream = DBK_SLICE_LITERAL("account-1"),
                              .type = DBK_SLICE_LITERAL("Deposited"),
                              .data = dbk_slice_of(data)};
}

static void expect(struct fixture *fixture, uint16_t version, const char *data, const char *want)
{
    struct dbk_error err = {0};
    struct dbk_event event = event_of(version, data);
    assert_int_equal(dbk_upcast_event(fixture->upcasts, &fixture->upcaster, &event, &err), 1);
    assert_slice_equal(event.data, want);
    assert_int_equal(event.schema_version, 6);
}

static void expect_failure(struct fixture *fixture, uint16_t version, const char *data, int rc,
                           const char *want)
{
    struct dbk_error err = {0};
    struct dbk_event event = event_of(version, data);
    assert_int_equal(dbk_upcast_event(fixture->upcasts, &fixture->upcaster, &event, &err), rc);
    if (strstr(err.message, want) == NULL)
        fail_msg("got: %s", err.message);
    assert_slice_equal(event.data, data);
}

#define FROM_3 "{\"cents\":\"500\",\"currency\":\"USD\",\"stream\":\"account-1@7\",\"six\":true}"

static void test_schema_upcaster__takes_every_version_to_the_newest(void **state)
{
    struct fixture fixture;
    (void)state;
    open_type(&fixture, script);
    for (int round = 0; round < 3; round++) {
        expect(&fixture, 0, "{\"amount\":5}", FROM_3);
        expect(&fixture, 1, "{\"amount\":5}", FROM_3);
        expect(&fixture, 2, "{\"amount\":5,\"currency\":\"USD\"}", FROM_3);
        expect(&fixture, 3, "{\"amount\":5}", "{\"cents\":\"5\",\"six\":true}");
        expect(&fixture, 4, "{\"cents\":5}", "{\"cents\":\"5\",\"six\":true}");
        expect(&fixture, 5, "{\"cents\":\"5\"}", "{\"cents\":\"5\",\"six\":true}");
        expect(&fixture, 6, "{\"cents\":5}", "{\"cents\":5}");
    }
    assert_int_equal(fixture.calls, 18);
    close_type(&fixture);
}

static void test_schema_upcaster__leaves_alone_what_is_not_declared(void **state)
{
    struct fixture fixture;
    struct dbk_error err = {0};
    (void)state;
    open_type(&fixture, script);
    struct dbk_event other = event_of(0, "{\"amount\":5}");
    other.type = DBK_SLICE_LITERAL("Withdrawn");
    assert_int_equal(dbk_upcast_event(fixture.upcasts, &fixture.upcaster, &other, &err), 1);
    assert_slice_equal(other.data, "{\"amount\":5}");
    assert_int_equal(other.schema_version, 0);
    struct dbk_event bytes = event_of(1, "\1\2\3");
    bytes.flags = 0;
    assert_int_equal(dbk_upcast_event(fixture.upcasts, &fixture.upcaster, &bytes, &err), 1);
    assert_slice_equal(bytes.data, "\1\2\3");
    assert_null(fixture.upcaster);
    close_type(&fixture);
}

static void test_schema_upcaster__names_what_fails_and_goes_on(void **state)
{
    struct fixture fixture;
    (void)state;
    open_type(&fixture, script);
    expect_failure(
        &fixture, 7, "{}", DBK_EBOOK,
        "events/Deposited.schema.json: version 7 is stored, and 6 is the newest declared "
        "(Deposited of account-1, version 7, position 12)");
    expect_failure(&fixture, 2, "{\"amount\":\"x\"}", DBK_ESCRIPT, "events/Deposited.2-3.lua:2: ");
    expect_failure(&fixture, 4, "{\"cents\":[]}", DBK_ESCRIPT,
                   "events/Deposited.schema.json: version 5: cents: an object or array cannot "
                   "become a string (Deposited of account-1, version 7, position 12)");
    expect_failure(&fixture, 3, "{\"amount\":5,", DBK_ECORRUPT, "the event's data is no JSON");
    fixture.answer = ",\"six\"}";
    expect_failure(&fixture, 5, "{\"cents\":\"5\"}", DBK_ESCRIPT,
                   "events/Deposited.schema.json: version 6: what it made is no JSON: line 1");
    fixture.answer = NULL;
    expect_failure(&fixture, 5, "{\"cents\":\"5\"}", DBK_ESCRIPT,
                   "version 6: it has no mind to (Deposited of account-1, version 7, position 12)");
    fixture.answer = ",\"six\":true}";
    expect(&fixture, 1, "{\"amount\":5}", FROM_3);
    close_type(&fixture);
}

/* A script that misbehaves for one event, and works for the next. */
static void check_script(const char *body, const char *want)
{
    struct fixture fixture;
    char source[1024];
    (void)snprintf(source, sizeof(source),
                   "return function(data, event)\n    if data.bad then\n        %s\n    end\n"
                   "    return data\nend",
                   body);
    open_type(&fixture, source);
    expect_failure(&fixture, 2, "{\"bad\":1}", DBK_ESCRIPT, want);
    expect_failure(&fixture, 2, "{\"bad\":1}", DBK_ESCRIPT,
                   "(Deposited of account-1, version 7, position 12)");
    expect(&fixture, 2, "{\"amount\":5}", "{\"cents\":\"5\",\"six\":true}");
    close_type(&fixture);
}

static void test_schema_upcaster__survives_a_script_that_misbehaves(void **state)
{
    (void)state;
    check_script("error(\"no\")", "events/Deposited.2-3.lua:3: no");
    check_script("local x = nil; x.y = 1", "events/Deposited.2-3.lua:3: attempt to index");
    check_script("while true do end", "events/Deposited.2-3.lua:3: it used up its instructions");
    check_script("pcall(function() while true do end end)", "it used up its instructions");
    check_script("local s = \"x\"; while true do s = s .. s end",
                 "events/Deposited.2-3.lua: it used up its memory");
    check_script("do return 5 end",
                 "events/Deposited.2-3.lua: it must return the data as a table, not number");
    check_script("do return end",
                 "events/Deposited.2-3.lua: it must return the data as a table, not nil");
    check_script("do return { f = print or function() end } end",
                 "events/Deposited.2-3.lua: f: a function cannot be JSON");
    check_script("data.self = data; do return data end",
                 "a table in itself, or nested too deeply, cannot be JSON");
    check_script("do return event.nonsense end", "event has no nonsense");
    check_script("os.exit()", "events/Deposited.2-3.lua:3: attempt to index a nil value");
}

static void test_schema_upcaster__says_that_a_program_is_needed(void **state)
{
    struct fixture fixture;
    struct dbk_error err = {0};
    (void)state;
    open_type(&fixture, script);
    struct dbk_upcasts *without = NULL;
    struct dbk_upcaster *upcaster = NULL;
    struct dbk_event event = event_of(5, "{}");
    assert_ok(dbk_upcasts_open(fixture.schemas, NULL, 0, &without, &err), &err);
    assert_int_equal(dbk_upcast_event(without, &upcaster, &event, &err), DBK_ESCRIPT);
    assert_string_equal(err.message,
                        "events/Deposited.schema.json: version 6: it takes the program that has "
                        "the upcaster (Deposited of account-1, version 7, position 12)");
    dbk_upcaster_give(without, upcaster);
    dbk_upcasts_free(without);
    const struct dbk_upcast_function wrong[] = {
        {DBK_SLICE_LITERAL("Deposited"), 5, DBK_SLICE_LITERAL("1"), NULL, function}};
    assert_int_equal(dbk_upcasts_open(fixture.schemas, wrong, 1, &without, &err), DBK_EINVAL);
    const struct dbk_upcast_function other[] = {
        {DBK_SLICE_LITERAL("Unknown"), 2, DBK_SLICE_LITERAL("1"), NULL, function}};
    assert_int_equal(dbk_upcasts_open(fixture.schemas, other, 1, &without, &err), DBK_EINVAL);
    const struct dbk_upcast_function twice[] = {
        {DBK_SLICE_LITERAL("Deposited"), 6, DBK_SLICE_LITERAL("1"), NULL, function},
        {DBK_SLICE_LITERAL("Deposited"), 6, DBK_SLICE_LITERAL("2"), NULL, function}};
    assert_int_equal(dbk_upcasts_open(fixture.schemas, twice, 2, &without, &err), DBK_EINVAL);
    close_type(&fixture);
}

static void fingerprint_of(const char *source, const char *definition,
                           uint8_t fingerprint_out[DBK_SHA256_SIZE])
{
    struct fixture fixture;
    struct dbk_upcasts *upcasts = NULL;
    struct dbk_error err = {0};
    open_type(&fixture, source);
    const struct dbk_upcast_function functions[] = {
        {DBK_SLICE_LITERAL("Deposited"), 6, dbk_slice_of(definition), NULL, function}};
    assert_ok(dbk_upcasts_open(fixture.schemas, functions, 1, &upcasts, &err), &err);
    assert_true(dbk_upcasts_fingerprint(upcasts, DBK_SLICE_LITERAL("Deposited"), fingerprint_out));
    assert_false(dbk_upcasts_fingerprint(upcasts, DBK_SLICE_LITERAL("Withdrawn"),
                                         (uint8_t[DBK_SHA256_SIZE]){0}));
    dbk_upcasts_free(upcasts);
    close_type(&fixture);
}

static void test_schema_upcaster__has_a_fingerprint_that_changes_with_it(void **state)
{
    uint8_t one[DBK_SHA256_SIZE];
    uint8_t same[DBK_SHA256_SIZE];
    uint8_t script_changed[DBK_SHA256_SIZE];
    uint8_t function_changed[DBK_SHA256_SIZE];
    (void)state;
    fingerprint_of(script, "1", one);
    fingerprint_of(script, "1", same);
    fingerprint_of("return function(data) return data end", "1", script_changed);
    fingerprint_of(script, "2", function_changed);
    assert_memory_equal(one, same, sizeof(one));
    assert_memory_not_equal(one, script_changed, sizeof(one));
    assert_memory_not_equal(one, function_changed, sizeof(one));
}

static struct fixture shared;

static void *read_in_thread(void *context)
{
    (void)context;
    for (int round = 0; round < 50; round++) {
        struct dbk_upcaster *upcaster = NULL;
        for (uint16_t version = 1; version <= 4; version++) {
            struct dbk_error err = {0};
            struct dbk_event event =
                event_of(version, version == 4 ? "{\"cents\":5}" : "{\"amount\":5}");
            if (dbk_upcast_event(shared.upcasts, &upcaster, &event, &err) != DBK_ESCRIPT)
                return &shared;
        }
        dbk_upcaster_give(shared.upcasts, upcaster);
    }
    return NULL;
}

/* All threads meet the chains for the first time together, and share the pool. */
static void test_schema_upcaster__serves_many_readers(void **state)
{
    pthread_t threads[4];
    (void)state;
    open_type(&shared, script);
    shared.answer = NULL;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_in_thread, NULL), 0);
    for (size_t i = 0; i < 4; i++) {
        void *failure = NULL;
        assert_int_equal(pthread_join(threads[i], &failure), 0);
        assert_null(failure);
    }
    close_type(&shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test(test_schema_upcaster__##name)
        TEST(takes_every_version_to_the_newest),
        TEST(leaves_alone_what_is_not_declared),
        TEST(names_what_fails_and_goes_on),
        TEST(survives_a_script_that_misbehaves),
        TEST(says_that_a_program_is_needed),
        TEST(has_a_fingerprint_that_changes_with_it),
        TEST(serves_many_readers),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

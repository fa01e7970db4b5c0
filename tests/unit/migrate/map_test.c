/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map_test -- what a script makes of an event, and how each kind of nonsense is named.
 */
#include "test.h"

#include <stdio.h>

#include "log/sealed.h"
#include "migrate/map.h"

static struct dbk_arena arena;
static struct dbk_event event;

static int set_up(void **state)
{
    (void)state;
    dbk_arena_init(&arena, (size_t)16 << 20);
    event =
        (struct dbk_event){.position = 17,
                           .version = 3,
                           .time_us = 1000000,
                           .occurred_us = DBK_TIME_NONE,
                           .flags = DBK_RECORD_JSON,
                           .schema_version = 2,
                           .stream = DBK_SLICE_LITERAL("order-7"),
                           .type = DBK_SLICE_LITERAL("Placed"),
                           .tags = DBK_SLICE_LITERAL("\x04$key\x01x"),
                           .data = DBK_SLICE_LITERAL("{\"b\": 1.50, \"a\": [1, {\"c\": null}]}"),
                           .meta = DBK_SLICE_LITERAL("{\"z\": 1, \"y\": 2}")};
    event.id.bytes[3] = 9;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dbk_arena_release(&arena);
    return 0;
}

static int map_with(const char *source, struct dbk_migrate_map **map_out,
                    const struct dbk_made **made, size_t *count, struct dbk_error *err)
{
    int rc = dbk_migrate_map_open(&(struct dbk_migrate_map_options){.name = "m.lua",
                                                                    .source = dbk_slice_of(source),
                                                                    .made_max = 4},
                                  map_out, err);
    return rc < 0 ? rc : dbk_migrate_map_event(*map_out, &event, &arena, made, count, err);
}

#define ANY(body) "return { version = 1, any = function(event) " body " end }"

/* These leave it as it was, byte for byte, whatever way they go. */
static void test_migrate_map__what_is_not_changed_is_kept_byte_for_byte(void **state)
{
    static const char *const sources[] = {
        "return { version = 1 }",
        ANY(""),
        ANY("return true"),
        ANY("return event"),
        ANY("return { event }"),
        ANY("return { data = event.data, meta = { y = 2, z = 1 } }"),
        ANY("return { tags = { 'x', 'x' }, stream = 'order-7', json = true }"),
        ANY("return { id = event.id, schema_version = 2 }"),
        ANY("event.data.b = event.data.b + 0"),
        "return { version = 1, events = { Other = function() return false end } }",
        "return { version = 1, drop_types = { 'Other' }, rename_streams = { order = 'x' } }",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
        struct dbk_error err = {0};
        struct dbk_migrate_map *map = NULL;
        const struct dbk_made *made = NULL;
        size_t count = 0;
        assert_ok(map_with(sources[i], &map, &made, &count, &err), &err);
        assert_int_equal(count, 1);
        assert_int_equal(made[0].changes, 0);
        assert_true(dbk_slice_equal(made[0].event.data, event.data));
        assert_true(dbk_slice_equal(made[0].event.meta, event.meta));
        assert_true(dbk_uuid_equal(&made[0].event.id, &event.id));
        assert_int_equal(made[0].event.time_us, event.time_us);
        assert_int_equal(made[0].event.schema_version, 0); /* the newest of the new book */
        assert_slice_equal(made[0].event.tags[0], "x");    /* and none of the book's own */
        dbk_migrate_map_free(map);
    }
}

static void test_migrate_map__each_change_is_seen(void **state)
{
    static const struct {
        const char *source;
        size_t count;
        unsigned changes;
    } cases[] = {
        {ANY("return false"), 0, 0},
        {ANY("return { data = {} }"), 1, DBK_MADE_DATA},
        {ANY("event.data.a[2].c = 0"), 1, DBK_MADE_DATA},
        {ANY("event.data.b = decimal('1.51')"), 1, DBK_MADE_DATA},
        {ANY("return { json = false, data = 'x' }"), 1, DBK_MADE_DATA},
        {ANY("return { type = 'X', stream = 'y' }"), 1, DBK_MADE_TYPE | DBK_MADE_STREAM},
        {ANY("return { tags = {} }"), 1, DBK_MADE_TAGS},
        {ANY("return { tags = { 'x', 'y' } }"), 1, DBK_MADE_TAGS},
        {ANY("return { meta = {} }"), 1, DBK_MADE_META},
        {ANY("return { occurred = '2020-01-01' }"), 1, DBK_MADE_OCCURRED},
        {ANY("return { event, event, event, event }"), 4, 0},
        {"return { version = 1, drop_types = { 'Placed' } }", 0, 0},
        {"return { version = 1, drop_streams = { 'order-7' } }", 0, 0},
        {"return { version = 1, drop_categories = { 'order' } }", 0, 0},
        {"return { version = 1, rename_types = { Placed = 'P' } }", 1, DBK_MADE_TYPE},
        {"return { version = 1, rename_categories = { order = 'o' } }", 1, DBK_MADE_STREAM},
        {"return { version = 1, rename_streams = { ['order-7'] = 'o' } }", 1, DBK_MADE_STREAM},
        {"return { version = 1, retag = { Placed = { 'b:{b}', 'a:{a}' } } }", 1, DBK_MADE_TAGS},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dbk_error err = {0};
        struct dbk_migrate_map *map = NULL;
        const struct dbk_made *made = NULL;
        size_t count = 0;
        assert_ok(map_with(cases[i].source, &map, &made, &count, &err), &err);
        assert_int_equal(count, cases[i].count);
        for (size_t j = 0; j < count; j++) {
            assert_int_equal(made[j].changes, cases[i].changes);
            /* The first keeps its id, the others have their own. */
            for (size_t k = 0; k < j; k++)
                assert_false(dbk_uuid_equal(&made[j].event.id, &made[k].event.id));
        }
        dbk_migrate_map_free(map);
    }
}

/* Renames hold for what functions made; drops for what they get. */
static void test_migrate_map__order_of_the_rules(void **state)
{
    struct dbk_error err = {0};
    struct dbk_migrate_map *map = NULL;
    const struct dbk_made *made = NULL;
    size_t count = 0;
    (void)state;
    assert_ok(
        map_with("return { version = 1, drop_types = { 'New' },\n"
                 "  rename_types = { Placed = 'New', Second = 'Third' },\n"
                 "  rename_categories = { order = 'o' }, rename_streams = { ['x-1'] = 'y' },\n"
                 "  retag = { New = { '{deep.er}' } },\n"
                 "  events = { Placed = function(event)\n"
                 "    return { { data = { deep = { er = true } } },\n"
                 "             { type = 'Second', stream = 'x-1' } } end } }",
                 &map, &made, &count, &err),
        &err);
    assert_int_equal(count, 2);
    assert_slice_equal(made[0].event.type, "New");
    assert_slice_equal(made[0].event.stream, "o-7");
    assert_int_equal(made[0].event.tag_count, 1);
    assert_slice_equal(made[0].event.tags[0], "true");
    assert_slice_equal(made[1].event.type, "Third");
    assert_slice_equal(made[1].event.stream, "y");
    assert_int_equal(made[1].event.tag_count, 1);
    assert_slice_equal(made[1].event.tags[0], "x");
    dbk_migrate_map_free(map);
}

static void test_migrate_map__nonsense_is_named(void **state)
{
    static const struct {
        const char *source;
        int rc;
        const char *message;
    } cases[] = {
        {"return {", DBK_EINVAL, "m.lua:1: "},
        {"return 5", DBK_EINVAL, "it must return a table, not number"},
        {"return {}", DBK_ESCRIPT, "`version` must be 1"},
        {"return { version = 1, evnets = {} }", DBK_ESCRIPT, "did you mean `events`?"},
        {"return { version = 1, events = 5 }", DBK_ESCRIPT, "`events` must be a table"},
        {"return { version = 1, events = { A = 5 } }", DBK_ESCRIPT,
         "`events.A` must be a function, not number"},
        {"return { version = 1, any = {} }", DBK_ESCRIPT, "`any` must be a function"},
        {"return { version = 1, raw = 1 }", DBK_ESCRIPT, "`raw` must be true or false"},
        {"return { version = 1, drop_types = { A = 'B' } }", DBK_ESCRIPT, "a list of names"},
        {"return { version = 1, rename_types = { 'A' } }", DBK_ESCRIPT, "where a name is a text"},
        {"return { version = 1, rename_types = { A = '' } }", DBK_ESCRIPT, "an empty name"},
        {"return { version = 1, retag = { A = 'x' } }", DBK_ESCRIPT, "a list of tags"},
        {"return { version = 1, retag = { A = { '{' } } }", DBK_ESCRIPT, "`retag` has \"{\""},
        {"return { version = 1, retag = { A = { '{}' } } }", DBK_ESCRIPT, "`retag` has \"{}\""},
        {"return { version = 1, retag = { A = { '}{' } } }", DBK_ESCRIPT, "`retag` has"},
        {ANY("error('why')"), DBK_ESCRIPT,
         "position 17, Placed, version 3 of order-7: m.lua:1: why"},
        {ANY("error({})"), DBK_ESCRIPT, "position 17, "},
        {ANY("local x = nil; return x.y"), DBK_ESCRIPT, "attempt to index a nil value"},
        {ANY("while true do end"), DBK_ESCRIPT, "it used up its instructions"},
        {ANY("local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end"), DBK_ESCRIPT,
         "position 17, "},
        {ANY("return 5"), DBK_ESCRIPT, "it answered a number"},
        {ANY("return {}"), DBK_ESCRIPT, "to drop an event answer false"},
        {ANY("return { 5 }"), DBK_ESCRIPT, "a list with a number"},
        {ANY("return { event, 5 }"), DBK_ESCRIPT, "a list with a number"},
        {ANY("return { event, event, event, event, event }"), DBK_ESCRIPT, "more than 4 events"},
        {ANY("return { tpye = 'x' }"), DBK_ESCRIPT, "did you mean `type`?"},
        {ANY("return { type = 5 }"), DBK_ESCRIPT, "the event's type is a number"},
        {ANY("return { stream = '' }"), DBK_ESCRIPT, "stream is not empty"},
        {ANY("return { stream = '$x' }"), DBK_ESCRIPT, "does not begin with $"},
        {ANY("return { data = print == nil and math.huge }"), DBK_ESCRIPT, "infinity"},
        {ANY("local t = {} t.t = t return { data = t }"), DBK_ESCRIPT, "nested too deeply"},
        {ANY("return { data = function() end }"), DBK_ESCRIPT, "a function cannot be JSON"},
        {ANY("return { data = '\\xff' }"), DBK_ESCRIPT, "not UTF-8"},
        {ANY("return { json = false }"), DBK_OK, NULL},
        {ANY("return { json = false, data = {} }"), DBK_ESCRIPT, "json = true makes it JSON"},
        {ANY("return { json = 1 }"), DBK_ESCRIPT, "neither true nor false"},
        {ANY("return { meta = { 1 } }"), DBK_ESCRIPT, "meta is no object"},
        {ANY("return { tags = 'x' }"), DBK_ESCRIPT, "tags are a string, not a list"},
        {ANY("return { tags = { 1 } }"), DBK_ESCRIPT, "tag 1 is a number"},
        {ANY("return { tags = { '$key:1' } }"), DBK_ESCRIPT, "tag 1 begins with $"},
        {ANY("return { occurred = 'yesterday' }"), DBK_ESCRIPT, "no instant: \"yesterday\""},
        {ANY("return { id = 'x' }"), DBK_ESCRIPT, "no UUID: \"x\""},
        {ANY("return { schema_version = 1.5 }"), DBK_ESCRIPT, "no whole number"},
        {ANY("return { schema_version = 70000 }"), DBK_ESCRIPT, "no whole number"},
        {ANY("event.time = '2020-01-01'"), DBK_ESCRIPT, "the event's time is the book's"},
        {ANY("return { position = 18 }"), DBK_ESCRIPT, "the event's position is the book's"},
        {ANY("return { version = 4 }"), DBK_ESCRIPT, "the event's version is the book's"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dbk_error err = {0};
        struct dbk_migrate_map *map = NULL;
        const struct dbk_made *made = NULL;
        size_t count = 0;
        int rc = map_with(cases[i].source, &map, &made, &count, &err);
        if (rc != cases[i].rc)
            fail_msg("%s: %d: %s", cases[i].source, rc, err.message);
        if (rc < 0 && strstr(err.message, cases[i].message) == NULL)
            fail_msg("%s: %s", cases[i].source, err.message);
        dbk_migrate_map_free(map);
    }
}

/* Bytes stay bytes; a script may make JSON of them. */
static void test_migrate_map__events_of_bytes(void **state)
{
    struct dbk_error err = {0};
    struct dbk_migrate_map *map = NULL;
    const struct dbk_made *made = NULL;
    size_t count = 0;
    (void)state;
    event.flags = 0;
    event.data = dbk_slice("\xff\0x", 3);
    assert_ok(map_with(ANY("return { event, { json = true, data = { size = #event.data } } }"),
                       &map, &made, &count, &err),
              &err);
    assert_int_equal(count, 2);
    assert_int_equal(made[0].changes, 0);
    assert_true(dbk_slice_equal(made[0].event.data, event.data));
    assert_int_equal(made[1].event.flags, DBK_RECORD_JSON);
    assert_slice_equal(made[1].event.data, "{\"size\":3}");
    dbk_migrate_map_free(map);
}

/* What was sealed does not become plain unasked: it has to be sealed again, changed or dropped. */
static void test_migrate_map__personal_fields_do_not_become_plain(void **state)
{
    static const struct {
        const char *path; /* of what is sealed */
        const char *source;
        const char *field; /* that is refused, and has to be named to be plain; NULL: it is not */
        const char *name;
    } cases[] = {
        {"b", "return { version = 1 }", "b", "Placed.b"},
        {"b", ANY("return event"), "b", "Placed.b"},
        {"b", ANY("return { event, { type = 'Other' } }"), "b", "Placed.b"},
        {"b", "return { version = 1, rename_types = { Placed = 'X' } }", "b", "Placed.b"},
        {"b", "return { version = 1, plain = { 'Placed.a' } }", "b", "Placed.b"},
        {"b", "return { version = 1, plain = { 'Placed.b' } }", NULL, NULL},
        {"b", ANY("return false"), NULL, NULL},
        {"b", ANY("event.data.b = nil"), NULL, NULL},
        {"b", ANY("event.data.b = 2"), NULL, NULL},
        {"b", ANY("return { json = false, data = 'x' }"), NULL, NULL},
        {"c", "return { version = 1 }", NULL, NULL},
        {"a", "return { version = 1 }", "a", "Placed.a"},
        {"a[0]", "return { version = 1 }", "a[0]", "Placed.a[]"},
        {"a[0]", "return { version = 1, plain = { 'Placed.a[]' } }", NULL, NULL},
        {"a[1].c", "return { version = 1 }", NULL, NULL}, /* it is null */
        {"a[2]", "return { version = 1 }", NULL, NULL},
        {"a.b", "return { version = 1 }", NULL, NULL},
    };
    (void)state;
    struct dbk_buf section;
    dbk_buf_init(&section, 1000);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dbk_error err = {0};
        struct dbk_migrate_map *map = NULL;
        const struct dbk_made *made = NULL;
        size_t count = 0;
        char texts[2][64];
        dbk_buf_reset(&section);
        dbk_sealed_begin(&section, 1);
        dbk_sealed_append(&section, &(struct dbk_sealed_field){.path = dbk_slice_of(cases[i].path),
                                                               .value = DBK_SLICE_LITERAL("?")});
        event.sealed = dbk_buf_slice(&section);
        int rc = map_with(cases[i].source, &map, &made, &count, &err);
        if (cases[i].field == NULL) {
            assert_ok(rc, &err);
        } else {
            assert_int_equal(rc, DBK_EDENIED);
            (void)snprintf(texts[0], sizeof(texts[0]), "its personal field %s would be plain",
                           cases[i].field);
            (void)snprintf(texts[1], sizeof(texts[1]), "plain = { \"%s\" }", cases[i].name);
            assert_non_null(strstr(err.message, texts[0]));
            assert_non_null(strstr(err.message, texts[1]));
        }
        dbk_migrate_map_free(map);
    }
    dbk_buf_release(&section);
}

static void test_migrate_map__states(void **state)
{
    struct dbk_error err = {0};
    struct dbk_migrate_map *map = NULL;
    const struct dbk_made *made = NULL;
    struct dbk_buf out;
    size_t count = 0;
    (void)state;
    dbk_buf_init(&out, 1000);
    assert_ok(map_with("return { version = 1, states = function(old, stream)\n"
                       "  if stream == 'skip' then return nil end\n"
                       "  if old.n == 0 then error('no n') end\n"
                       "  return { m = old.n * 2 } end }",
                       &map, &made, &count, &err),
              &err);
    assert_true(dbk_migrate_map_has_states(map));
    assert_int_equal(dbk_migrate_map_state(map, DBK_SLICE_LITERAL("{\"n\":4}"),
                                           DBK_SLICE_LITERAL("a"), &out, &err),
                     1);
    assert_slice_equal(dbk_buf_slice(&out), "{\"m\":8}");
    assert_int_equal(dbk_migrate_map_state(map, DBK_SLICE_LITERAL("{\"n\":4}"),
                                           DBK_SLICE_LITERAL("skip"), &out, &err),
                     0);
    assert_int_equal(dbk_migrate_map_state(map, DBK_SLICE_LITERAL("{\"n\":0}"),
                                           DBK_SLICE_LITERAL("a"), &out, &err),
                     DBK_ESCRIPT);
    assert_non_null(strstr(err.message, "no n"));
    dbk_buf_release(&out);
    dbk_migrate_map_free(map);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_migrate_map__what_is_not_changed_is_kept_byte_for_byte),
        TEST(test_migrate_map__each_change_is_seen),
        TEST(test_migrate_map__order_of_the_rules),
        TEST(test_migrate_map__nonsense_is_named),
        TEST(test_migrate_map__events_of_bytes),
        TEST(test_migrate_map__personal_fields_do_not_become_plain),
        TEST(test_migrate_map__states),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

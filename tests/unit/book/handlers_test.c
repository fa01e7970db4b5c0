/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handlers_test -- handlers.sql is cut where SQL itself sees a comment line `-- on:`, and nowhere
 * else; every statement belongs to the types above it.
 */
#include "test.h"

#include <string.h>

#include "book/handlers.h"
#include "folder.h"

struct fixture {
    struct dbk_arena arena;
    struct dbk_diagnostics faults;
    struct dbk_handler_list list;
};

static void parse_bytes(struct fixture *fixture, struct dbk_slice text)
{
    dbk_arena_init(&fixture->arena, 1 << 20);
    dbk_diagnostics_init(&fixture->faults);
    fixture->list = (struct dbk_handler_list){.arena = &fixture->arena};
    assert_int_equal(dbk_handlers_parse("f", text, &fixture->list, &fixture->faults), DBK_OK);
}

static void parse(struct fixture *fixture, const char *text)
{
    parse_bytes(fixture, dbk_slice_of(text));
}

static void release(struct fixture *fixture)
{
    dbk_diagnostics_release(&fixture->faults);
    dbk_arena_release(&fixture->arena);
}

static void assert_handler(const struct fixture *fixture, size_t index, const char *type,
                           unsigned line, const char *sql)
{
    assert_true(index < fixture->list.count);
    const struct dbk_handler *handler = &fixture->list.items[index];
    assert_slice_equal(handler->type, type);
    assert_int_equal(handler->line, line);
    assert_slice_equal(handler->sql, sql);
}

static void test_book_handlers__sections_become_handlers(void **state)
{
    (void)state;
    struct fixture fixture;
    parse(&fixture, "-- The accounts.\n"
                    "-- on: Opened\n"
                    "INSERT INTO a VALUES (:id);\n"
                    "\n"
                    "  --on:Deposited,\tWithdrawn \r\n"
                    "-- by a: comment\n"
                    "UPDATE a SET b = 1; UPDATE a SET c = 2;\n"
                    "-- on: com.example.closed\n"
                    "DELETE FROM a -- on: Nothing\n"
                    "WHERE x = 1");
    assert_faults(&fixture.faults, "");
    assert_int_equal(fixture.list.count, 4);
    assert_handler(&fixture, 0, "Opened", 3, "INSERT INTO a VALUES (:id);\n\n  ");
    const char *both = "-- by a: comment\nUPDATE a SET b = 1; UPDATE a SET c = 2;\n";
    assert_handler(&fixture, 1, "Deposited", 6, both);
    assert_handler(&fixture, 2, "Withdrawn", 6, both);
    assert_handler(&fixture, 3, "com.example.closed", 9,
                   "DELETE FROM a -- on: Nothing\nWHERE x = 1");
    release(&fixture);
}

static void test_book_handlers__what_only_looks_like_a_section_is_none(void **state)
{
    (void)state;
    static const char *const sqls[] = {
        "UPDATE a SET b = '\n-- on: B\n';\n", "UPDATE a SET \"\n-- on: B\n\" = 1;\n",
        "/*\n-- on: B\n*/ DELETE FROM a;\n",  "-- one: two\nDELETE FROM a;\n",
        "-- on B\nDELETE FROM a;\n",          "--- on: B\nDELETE FROM a;\n",
    };
    for (size_t i = 0; i < sizeof(sqls) / sizeof(sqls[0]); i++) {
        struct fixture fixture;
        char text[128];
        (void)snprintf(text, sizeof(text), "-- on: A\n%s", sqls[i]);
        parse(&fixture, text);
        assert_faults(&fixture.faults, "");
        assert_int_equal(fixture.list.count, 1);
        assert_handler(&fixture, 0, "A", 2, sqls[i]);
        release(&fixture);
    }
}

static void test_book_handlers__each_fault_is_named_by_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *faults;
    } cases[] = {
        {"", "f:1:1: the file holds no handlers\n"},
        {"-- nothing\n", "f:1:1: the file holds no handlers\n"},
        {"DELETE FROM a;\n", "f:1:1: a statement stands before the first `-- on:`\n"},
        {"\n DELETE FROM a;\n-- on: A\nDELETE FROM a;\n",
         "f:2:2: a statement stands before the first `-- on:`\n"},
        {"-- on:\nDELETE FROM a;\n", "f:1:7: an event type is missing\n"},
        {"-- on: A,\nDELETE FROM a;\n", "f:1:10: an event type is missing\n"},
        {"-- on: A, , B\nDELETE FROM a;\n", "f:1:11: an event type is missing\n"},
        {"-- on: A B\nDELETE FROM a;\n", "f:1:8: this is no event type\n"},
        {"-- ON: A\nDELETE FROM a;\n", "f:1:1: this begins no section\n"
                                       "f:2:1: a statement stands before the first `-- on:`\n"},
        {"-- on: A\nDELETE FROM a;\n-- on : B\nDELETE FROM b;\n",
         "f:3:1: this begins no section\n"},
        {"-- on: A\n", "f:2:1: the handler has no statement\n"},
        {"-- on: A", "f:1:1: the handler has no statement\n"},
        {"-- on: A\n-- on: B\nDELETE FROM a;\n", "f:2:1: the handler has no statement\n"},
        {"-- on: A\nDELETE FROM a;\n-- on: B\n;-- only this\n",
         "f:4:1: the handler has no statement\n"},
        {"-- on: A\nUPDATE a SET b = 'x;\n",
         "f:2:18: a string, comment or quoted name does not end\n"},
        {"-- on: A\nDELETE FROM a; /* x\n",
         "f:2:16: a string, comment or quoted name does not end\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture fixture;
        parse(&fixture, cases[i].text);
        assert_faults(&fixture.faults, cases[i].faults);
        release(&fixture);
    }
}

/* Cut at every byte, and with every byte turned into others: handlers or a fault, and every
   handler's text lies in the file, at the line it names. */
static void test_book_handlers__damaged_text_is_handlers_or_a_fault(void **state)
{
    (void)state;
    static const char good[] = "-- on: A\nUPDATE a SET b = '-- on: x', \"c\" = 1;\n"
                               "/* B */ DELETE FROM a;\n-- on: B, C\nDELETE FROM b;\n";
    static const char bytes[] = "\n\r '\"-/*:;,a[`\0\xFF";
    char text[sizeof(good)];
    for (size_t at = 0; at < sizeof(good); at++) {
        for (size_t i = 0; i < sizeof(bytes); i++) {
            struct fixture fixture;
            bool cut = i + 1 == sizeof(bytes);
            memcpy(text, good, sizeof(good));
            if (!cut)
                text[at] = bytes[i];
            parse_bytes(&fixture, dbk_slice(text, cut ? at : sizeof(good) - 1));
            assert_true(fixture.list.count > 0 || fixture.faults.error_count > 0);
            for (size_t j = 0; j < fixture.list.count; j++) {
                const struct dbk_handler *handler = &fixture.list.items[j];
                assert_true(handler->sql.data >= text &&
                            handler->sql.data + handler->sql.size <= text + sizeof(text));
                unsigned line = 1;
                for (const char *byte = text; byte < handler->sql.data; byte++)
                    line += *byte == '\n';
                assert_int_equal(handler->line, line);
            }
            release(&fixture);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_book_handlers__sections_become_handlers),
        cmocka_unit_test(test_book_handlers__what_only_looks_like_a_section_is_none),
        cmocka_unit_test(test_book_handlers__each_fault_is_named_by_its_place),
        cmocka_unit_test(test_book_handlers__damaged_text_is_handlers_or_a_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scope_test -- what each scope allows, against a model that goes by texts alone.
 */
#include "test.h"

#include <string.h>

#include "service/scope.h"

static const char *const patterns[] = {"order", "order-17", "order-eu-*", "ord*",   "*",
                                       "$*",    "$groups",  "order*",     "order-*"};
static const char *const streams[] = {"order",      "order-1",      "order-17",  "order-170",
                                      "order-eu-1", "order-eu",     "orders-1",  "note-1",
                                      "$groups",    "$access-keys", "order-eu-", "o"};

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

/* A category is what comes before the first dash; a star is whatever follows, but `$`. */
static bool model_allows(const char *pattern, const char *stream)
{
    size_t size = strlen(pattern);
    if (pattern[size - 1] == '*')
        return strncmp(pattern, stream, size - 1) == 0 && (size > 1 || stream[0] != '$');
    if (strchr(pattern, '-') != NULL)
        return strcmp(pattern, stream) == 0;
    size_t category = strcspn(stream, "-");
    return category == size && strncmp(pattern, stream, size) == 0;
}

static struct dbk_scope scope_of(const char *word, const char *pattern, char text[64])
{
    struct dbk_scope scope;
    struct dbk_error err = {0};
    (void)snprintf(text, 64, "%s:%s", word, pattern);
    assert_int_equal(dbk_scope_parse(dbk_slice_of(text), &scope, &err), DBK_OK);
    return scope;
}

static void test_service_scope__streams_are_allowed_as_the_pattern_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(patterns); i++) {
        char text[64];
        char other_text[64];
        struct dbk_scope scope = scope_of("read", patterns[i], text);
        struct dbk_scope other = scope_of("append", patterns[i], other_text);
        for (size_t j = 0; j < COUNT(streams); j++) {
            struct dbk_slice stream = dbk_slice_of(streams[j]);
            assert_int_equal(dbk_scope_allows(&scope, DBK_SCOPE_READ, stream),
                             model_allows(patterns[i], streams[j]));
            assert_false(dbk_scope_allows(&other, DBK_SCOPE_READ, stream));
            assert_false(dbk_scope_allows(&scope, DBK_SCOPE_MODEL, stream));
        }
    }
}

/* Covered is what allows every stream of it: each that begins so, however it goes on. */
static void test_service_scope__covering_is_allowing_all(void **state)
{
    static const char *const tails[] = {"", "1", "17", "eu-1", "eu-", "x", "-"};
    (void)state;
    for (size_t i = 0; i < COUNT(patterns); i++) {
        char text[64];
        struct dbk_scope scope = scope_of("read", patterns[i], text);
        static const char *const prefixes[] = {"order-", "order-eu-", "order-17", "order-170",
                                               "ord",    "order",     "$",        "order-eu-1"};
        for (size_t j = 0; j < COUNT(prefixes); j++) {
            bool all = true;
            for (size_t k = 0; k < COUNT(tails); k++) {
                char stream[64];
                (void)snprintf(stream, sizeof(stream), "%s%s", prefixes[j], tails[k]);
                all = all && dbk_scope_allows(&scope, DBK_SCOPE_READ, dbk_slice_of(stream));
            }
            if (dbk_scope_covers_prefix(&scope, DBK_SCOPE_READ, dbk_slice_of(prefixes[j])))
                assert_true(all);
        }
        for (size_t j = 0; j < COUNT(tails); j++) {
            char stream[64];
            (void)snprintf(stream, sizeof(stream), "order-%s", tails[j]);
            if (dbk_scope_covers_category(&scope, DBK_SCOPE_READ, DBK_SLICE_LITERAL("order")))
                assert_true(dbk_scope_allows(&scope, DBK_SCOPE_READ, dbk_slice_of(stream)));
        }
    }
    char text[64];
    struct dbk_scope scope = scope_of("read", "order", text);
    assert_true(dbk_scope_covers_category(&scope, DBK_SCOPE_READ, DBK_SLICE_LITERAL("order")));
    assert_true(dbk_scope_covers_prefix(&scope, DBK_SCOPE_READ, DBK_SLICE_LITERAL("order-eu-")));
    assert_false(dbk_scope_covers_prefix(&scope, DBK_SCOPE_READ, DBK_SLICE_LITERAL("order")));
}

/* All names of up to so many of three letters, the shorter first. */
#define NAME_SIZE 6

struct names {
    char texts[1200][NAME_SIZE + 1];
    size_t count;
};

static void add_names(struct names *names, size_t size_min, size_t size_max)
{
    for (size_t size = size_min; size <= size_max; size++) {
        size_t count = 1;
        for (size_t i = 0; i < size; i++)
            count *= 3;
        for (size_t number = 0; number < count; number++) {
            char *text = names->texts[names->count++];
            for (size_t i = 0, rest = number; i < size; i++, rest /= 3)
                text[i] = "ab-"[rest % 3];
            text[size] = '\0';
        }
    }
}

/* Against every stream there can be: some are met, all are covered. Longer streams than the longest
   pattern and prefix tell nothing that these do not. */
static void test_service_scope__meeting_is_allowing_one(void **state)
{
    static struct names streams_made;
    static struct names made;
    (void)state;
    add_names(&streams_made, 1, NAME_SIZE);
    add_names(&made, 1, 3);
    for (size_t i = 0; i < 2 * made.count; i++) {
        char text[64];
        char pattern[NAME_SIZE + 2];
        (void)snprintf(pattern, sizeof(pattern), "%s%s", made.texts[i / 2], i % 2 == 0 ? "" : "*");
        struct dbk_scope scope = scope_of("read", pattern, text);
        for (size_t j = 0; j < made.count; j++) {
            struct dbk_slice name = dbk_slice_of(made.texts[j]);
            bool begun[2] = {false, true}; /* one, all that begin so */
            bool of[2] = {false, true};    /* of that category */
            for (size_t k = 0; k < streams_made.count; k++) {
                struct dbk_slice stream = dbk_slice_of(streams_made.texts[k]);
                bool allowed = model_allows(pattern, streams_made.texts[k]);
                bool is_of =
                    strcspn(stream.data, "-") == name.size && dbk_slice_starts_with(stream, name);
                if (dbk_slice_starts_with(stream, name)) {
                    begun[0] = begun[0] || allowed;
                    begun[1] = begun[1] && allowed;
                }
                of[0] = of[0] || (is_of && allowed);
                of[1] = of[1] && (!is_of || allowed);
            }
            assert_int_equal(dbk_scope_meets_prefix(&scope, DBK_SCOPE_READ, name), begun[0]);
            if (dbk_scope_covers_prefix(&scope, DBK_SCOPE_READ, name))
                assert_true(begun[1]);
            if (memchr(name.data, '-', name.size) != NULL)
                continue; /* no category */
            assert_int_equal(dbk_scope_meets_category(&scope, DBK_SCOPE_READ, name), of[0]);
            if (dbk_scope_covers_category(&scope, DBK_SCOPE_READ, name))
                assert_true(of[1]);
        }
    }
}

static void test_service_scope__commands_are_about_streams(void **state)
{
    static const struct {
        const char *scope;
        const char *name;
        const char *stream;
        bool allowed;
    } cases[] = {{"command:Place", "Place", "order-1", true},
                 {"command:Place", "Place", "", true},
                 {"command:Place", "Places", "order-1", false},
                 {"command:Place/order-eu-*", "Place", "order-eu-1", true},
                 {"command:Place/order-eu-*", "Place", "order-us-1", false},
                 {"command:Place/order-eu-*", "Place", "", false},
                 {"command:*/order", "Place", "order-1", true},
                 {"command:*/order", "Place", "orders-1", false},
                 {"command:*/*", "Place", "note-1", true},
                 {"command:*/*", "Place", "$note-1", false},
                 {"command:P*/order-1", "Place", "order-1", true},
                 {"append:order", "Place", "order-1", false},
                 {"admin", "Place", "order-1", true},
                 {"read-only", "Place", "order-1", false}};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct dbk_scope scope;
        struct dbk_error err = {0};
        assert_int_equal(dbk_scope_parse(dbk_slice_of(cases[i].scope), &scope, &err), DBK_OK);
        assert_int_equal(dbk_scope_allows_command(&scope, dbk_slice_of(cases[i].name),
                                                  dbk_slice_of(cases[i].stream)),
                         cases[i].allowed);
    }
}

static void test_service_scope__what_is_none_is_refused(void **state)
{
    static const char *const wrong[] = {"",
                                        "read",
                                        "read:",
                                        "admin:x",
                                        "reed:order",
                                        "read:a*b",
                                        "read:a b",
                                        "read:a,b",
                                        "read:**",
                                        "READ:order",
                                        "forget:",
                                        "read:\x7f",
                                        "read:\xff",
                                        " admin",
                                        "admin ",
                                        "command:/order",
                                        "command:A/",
                                        "command:A*b/order",
                                        "command:A/o*r"};
    (void)state;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct dbk_scope scope;
        struct dbk_error err = {0};
        assert_int_equal(dbk_scope_parse(dbk_slice_of(wrong[i]), &scope, &err), DBK_EINVAL);
        assert_non_null(strstr(err.message, "is no scope"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_service_scope__streams_are_allowed_as_the_pattern_says),
        cmocka_unit_test(test_service_scope__covering_is_allowing_all),
        cmocka_unit_test(test_service_scope__meeting_is_allowing_one),
        cmocka_unit_test(test_service_scope__commands_are_about_streams),
        cmocka_unit_test(test_service_scope__what_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

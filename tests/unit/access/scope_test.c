/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scope_test -- what each scope allows, against a model that goes by texts alone.
 */
#include "test.h"

#include <string.h>

#include "access/access.h"

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

static void test_access_scope__streams_are_allowed_as_the_pattern_says(void **state)
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
static void test_access_scope__covering_is_allowing_all(void **state)
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

static void test_access_scope__what_is_none_is_refused(void **state)
{
    static const char *const wrong[] = {"",           "read",       "read:",    "admin:x",
                                        "reed:order", "read:a*b",   "read:a b", "read:a,b",
                                        "read:**",    "READ:order", "forget:",  "read:\x7f",
                                        "read:\xff",  " admin",     "admin "};
    (void)state;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct dbk_scope scope;
        struct dbk_error err = {0};
        assert_int_equal(dbk_scope_parse(dbk_slice_of(wrong[i]), &scope, &err), DBK_EINVAL);
        assert_non_null(strstr(err.message, "is no scope"));
    }
}

static void test_access_scope__a_key_is_read_whole_or_not(void **state)
{
    char text[] = "dbk_abcdefghij27_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmno-_";
    struct dbk_slice id;
    struct dbk_slice secret;
    (void)state;
    assert_int_equal(sizeof(text), DBK_KEY_TEXT_SIZE);
    assert_true(dbk_key_text_parse(dbk_slice_of(text), &id, &secret));
    assert_true(dbk_slice_equal_text(id, "abcdefghij27"));
    for (size_t size = 0; size < sizeof(text) - 1; size++)
        assert_false(dbk_key_text_parse(dbk_slice(text, size), &id, &secret));
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        char kept = text[i];
        text[i] = i < 17 ? '0' : ' ';
        assert_false(dbk_key_text_parse(dbk_slice_of(text), &id, &secret));
        text[i] = kept;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_access_scope__streams_are_allowed_as_the_pattern_says),
        cmocka_unit_test(test_access_scope__covering_is_allowing_all),
        cmocka_unit_test(test_access_scope__what_is_none_is_refused),
        cmocka_unit_test(test_access_scope__a_key_is_read_whole_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

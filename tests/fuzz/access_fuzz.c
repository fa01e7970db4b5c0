/* SPDX-License-Identifier: Apache-2.0 */
/*
 * access_fuzz -- a line is a key as it is shown, a scope, or an event of `$access-keys`: the first
 * byte says which. A key that is taken apart is the text again; a scope allows no more than its
 * pattern says; events are taken or refused, and what they made is found.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "access/state.h"
#include "json/json.h"

#define TEXT_SIZE_MAX ((size_t)1 << 20)

static void take_key(struct dbk_slice text)
{
    struct dbk_slice id;
    struct dbk_slice secret;
    if (!dbk_key_text_parse(text, &id, &secret))
        return;
    if (id.size != DBK_KEY_ID_SIZE || secret.size != DBK_KEY_SECRET_SIZE ||
        id.data != text.data + 4 || secret.data + secret.size != text.data + text.size)
        abort();
}

static void take_scope(struct dbk_slice text)
{
    struct dbk_scope scope;
    struct dbk_error err = {0};
    int rc = dbk_scope_parse(text, &scope, &err);
    if (rc < 0) {
        if (err.code != rc || err.message[0] == '\0')
            abort();
        return;
    }
    if (!dbk_slice_equal(scope.text, text))
        abort();
    /* Only these two give what is not named; a star alone is not the book's own streams. */
    bool whole = scope.kind == DBK_SCOPE_ADMIN || scope.kind == DBK_SCOPE_READ_ONLY;
    bool own = scope.pattern.size > 0 && scope.pattern.data[0] == '$';
    if (dbk_scope_allows(&scope, DBK_SCOPE_READ, DBK_SLICE_LITERAL("$access-keys")) &&
        !(whole || own))
        abort();
    if (dbk_scope_allows(&scope, DBK_SCOPE_ADMIN, (struct dbk_slice){0}) !=
        (scope.kind == DBK_SCOPE_ADMIN))
        abort();
    /* What is allowed is met; a command with `streams` is never about none. */
    if (scope.kind == DBK_SCOPE_READ) {
        struct dbk_slice category = DBK_SLICE_LITERAL("order");
        struct dbk_slice prefix = DBK_SLICE_LITERAL("order-1");
        if (dbk_scope_allows(&scope, DBK_SCOPE_READ, DBK_SLICE_LITERAL("order-17")) &&
            (!dbk_scope_meets_category(&scope, DBK_SCOPE_READ, category) ||
             !dbk_scope_meets_prefix(&scope, DBK_SCOPE_READ, prefix)))
            abort();
    }
    if ((scope.streams.size > 0) &&
        (scope.kind != DBK_SCOPE_COMMAND ||
         dbk_scope_allows_command(&scope, DBK_SLICE_LITERAL("A"), (struct dbk_slice){0})))
        abort();
    if (scope.kind == DBK_SCOPE_READ &&
        dbk_scope_covers_category(&scope, DBK_SCOPE_READ, DBK_SLICE_LITERAL("order")) &&
        !dbk_scope_allows(&scope, DBK_SCOPE_READ, DBK_SLICE_LITERAL("order-17")))
        abort();
}

/* Type and data of events, each on a line of its own. */
static void take_events(struct dbk_slice text)
{
    struct dbk_book book = {0};
    struct dbk_access access = {.book = &book};
    struct dbk_json *json = dbk_json_create(TEXT_SIZE_MAX);
    struct dbk_error err = {0};
    if (json == NULL)
        abort();
    while (text.size > 0) {
        const char *end = memchr(text.data, '\n', text.size);
        size_t size = end == NULL ? text.size : (size_t)(end - text.data);
        const char *space = memchr(text.data, ' ', size);
        size_t word = space == NULL ? size : (size_t)(space - text.data);
        struct dbk_event event = {.type = dbk_slice(text.data, word),
                                  .data = space == NULL ? (struct dbk_slice){0}
                                                        : dbk_slice(space + 1, size - word - 1)};
        int rc = dbk_access_take(&access, &event, json, &err);
        if (rc < 0 && rc != DBK_ECORRUPT && rc != DBK_ELIMIT)
            abort();
        size_t taken = end == NULL ? size : size + 1;
        text = dbk_slice(text.data + taken, text.size - taken);
    }
    for (size_t i = 0; i < access.count; i++) {
        if (dbk_access_find(&access, dbk_slice(access.keys[i]->id, DBK_KEY_ID_SIZE)) !=
            access.keys[i])
            abort();
    }
    for (size_t i = 0; i < access.count; i++)
        dbk_access_key_free(access.keys[i]);
    dbk_free(access.keys);
    dbk_json_free(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct dbk_slice text = dbk_slice((const char *)data + 1, size - 1);
    if (data[0] == 'k')
        take_key(text);
    else if (data[0] == 's')
        take_scope(text);
    else
        take_events(text);
    return 0;
}

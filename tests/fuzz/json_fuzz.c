/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_fuzz -- text that parses is written back, the result parses again, and writing that gives
 * the same text: nothing is lost and nothing drifts. Text that does not parse gets a message. Each
 * member of an object that is parsed alone is what it is in the whole, and one looked for without
 * the parser is the one that it finds.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "json/json.h"

#define TEXT_SIZE_MAX ((size_t)1 << 16)
/* A control character of one byte may be written as six: \u0001. */
#define WRITTEN_SIZE_MAX (8 * TEXT_SIZE_MAX)

static void find(const struct dbk_json_node *object, struct dbk_slice text, const char *key)
{
    char room[64];
    struct dbk_slice found;
    const struct dbk_json_node *member = dbk_json_member(object, key);
    bool is_text = member != NULL && member->kind == DBK_JSON_STRING;
    bool is_found = dbk_json_find_text(text, key, room, sizeof(room), &found);
    if (is_found && (!is_text || !dbk_slice_equal(found, member->text)))
        abort();
    if (!is_found && is_text && member->text.size <= sizeof(room))
        abort();
    bool is_there = dbk_json_find(text, dbk_slice_of(key), &found);
    if (is_there != (member != NULL) || (is_there && !dbk_slice_equal(found, member->raw)))
        abort();
}

/* Every member by its key, and one that may not be there. */
static void find_all(const struct dbk_json_node *object, struct dbk_slice text)
{
    const struct dbk_json_node *member = dbk_json_first(object);
    find(object, text, "correlationid");
    for (uint32_t i = 0; i < object->count; i++) {
        char key[DBK_JSON_FIND_KEY_MAX + 1] = {0};
        if (member->key.size <= DBK_JSON_FIND_KEY_MAX) {
            memcpy(key, member->key.data, member->key.size);
            if (strlen(key) == member->key.size && member->key.size > 0)
                find(object, text, key);
        }
        if (i + 1 < object->count)
            member = dbk_json_sibling(member);
    }
}

/* Parses and writes; false where the text is refused. */
static bool round_trip(struct dbk_json *json, struct dbk_slice text, struct dbk_buf *out)
{
    const struct dbk_json_node *nodes = NULL;
    struct dbk_error err = {0};
    int rc = dbk_json_parse(json, text, &nodes, &err);
    if (rc < 0) {
        if (err.code != rc || err.message[0] == '\0' || strchr(err.message, '\n') != NULL)
            abort();
        char room[4];
        struct dbk_slice found;
        (void)dbk_json_find_text(text, "a", room, sizeof(room), &found);
        (void)dbk_json_find(text, DBK_SLICE_LITERAL("a"), &found);
        return false;
    }
    if (nodes->kind == DBK_JSON_OBJECT)
        find_all(nodes, text);
    dbk_json_write_node(out, nodes);
    if (out->rc < 0)
        abort();
    return true;
}

/* Some members of an object, alone, beside all of them. */
static void compare_members(struct dbk_json *json, struct dbk_slice text)
{
    const struct dbk_json_node *nodes = NULL;
    const struct dbk_json_node *alone = NULL;
    struct dbk_json *other = dbk_json_create(WRITTEN_SIZE_MAX);
    if (other == NULL || dbk_json_parse(json, text, &nodes, NULL) < 0)
        abort();
    const struct dbk_json_node *member = dbk_json_first(nodes);
    for (uint32_t i = 0; nodes->kind == DBK_JSON_OBJECT && i < nodes->count && i < 8; i++) {
        if (dbk_json_parse_members(other, text, &member->key, 1, &alone, NULL) < 0 ||
            alone->count != 1 || !dbk_slice_equal(dbk_json_first(alone)->key, member->key) ||
            !dbk_slice_equal(dbk_json_first(alone)->raw, member->raw))
            abort();
        if (i + 1 < nodes->count)
            member = dbk_json_sibling(member);
    }
    dbk_json_free(other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dbk_buf once;
    struct dbk_buf twice;
    struct dbk_json *json = size > TEXT_SIZE_MAX ? NULL : dbk_json_create(WRITTEN_SIZE_MAX);
    if (json == NULL)
        return 0;
    dbk_buf_init(&once, WRITTEN_SIZE_MAX);
    dbk_buf_init(&twice, WRITTEN_SIZE_MAX);
    if (round_trip(json, dbk_slice(data, size), &once)) {
        if (!dbk_slice_is_utf8(dbk_buf_slice(&once)))
            abort();
        if (!round_trip(json, dbk_buf_slice(&once), &twice))
            abort();
        if (!dbk_slice_equal(dbk_buf_slice(&once), dbk_buf_slice(&twice)))
            abort();
        compare_members(json, dbk_slice(data, size));
    }
    dbk_buf_release(&once);
    dbk_buf_release(&twice);
    dbk_json_free(json);
    return 0;
}

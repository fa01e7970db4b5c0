/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mongodb_command_fuzz -- tokens of any text cover it without a gap, commands follow each other to
 * its end, a fault has its place in it, and a command that is allowed is written as JSON, with a
 * number below their count for each parameter and no name of a generation left.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "target/mongodb/command.h"

static void check_tokens(struct dbk_slice text)
{
    size_t at = 0;
    for (;;) {
        struct dbk_mongodb_token token = dbk_mongodb_next(text, at);
        if (token.kind == DBK_MONGODB_END)
            break;
        if (token.text.size == 0 || token.text.data != text.data + at ||
            token.text.size > text.size - at)
            abort();
        at += token.text.size;
    }
    if (at != text.size)
        abort();
}

static void check_numbers(const struct dbk_json_node *node, size_t count)
{
    if (node->kind != DBK_JSON_OBJECT && node->kind != DBK_JSON_ARRAY)
        return;
    const struct dbk_json_node *number = dbk_json_member(node, "$_");
    if (number != NULL && number->kind == DBK_JSON_INTEGER &&
        (number->integer < 0 || (uint64_t)number->integer >= count))
        abort();
    const struct dbk_json_node *item = dbk_json_first(node);
    for (uint32_t i = 0; i < node->count; i++, item = dbk_json_sibling(item))
        check_numbers(item, count);
}

static void check_write(struct dbk_slice command, bool changes)
{
    struct dbk_buf out;
    struct dbk_arena arena;
    struct dbk_error err = {0};
    struct dbk_mongodb_names names = {0};
    const struct dbk_json_node *root = NULL;
    struct dbk_json *json = dbk_json_create((size_t)16 << 20);
    dbk_buf_init(&out, 64 * (command.size + 1));
    dbk_arena_init(&arena, (size_t)1 << 20);
    int rc = dbk_mongodb_write(command, dbk_slice_of("m__g1"), &out, &arena, &names, &err);
    if (rc < 0 && err.message[0] == '\0')
        abort();
    if (rc == DBK_OK && json != NULL) {
        if (dbk_json_parse(json, dbk_buf_slice(&out), &root, &err) < 0)
            abort();
        check_numbers(root, names.count);
        bool has = dbk_json_member(root, "$position") != NULL;
        if (changes != has)
            abort();
    }
    dbk_json_free(json);
    dbk_buf_release(&out);
    dbk_arena_release(&arena);
}

static void check_command(struct dbk_slice command)
{
    static const enum dbk_guard guards[] = {DBK_GUARD_HANDLER, DBK_GUARD_SCHEMA, DBK_GUARD_QUERY,
                                            DBK_GUARD_PURGE, DBK_GUARD_COMMAND};
    for (size_t i = 0; i < sizeof(guards) / sizeof(guards[0]); i++) {
        struct dbk_error err = {0};
        int offset = -1;
        int rc = dbk_mongodb_check(command, guards[i], &offset, &err);
        if (rc < 0 && err.message[0] == '\0')
            abort();
        if (offset >= 0 && (size_t)offset >= command.size)
            abort();
        /* A query may have the numbers that are written for the driver. */
        if (rc == DBK_OK && guards[i] != DBK_GUARD_QUERY)
            check_write(command, guards[i] != DBK_GUARD_SCHEMA);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dbk_slice text = dbk_slice(data, size);
    check_tokens(text);
    for (size_t at = 0;;) {
        size_t next = at;
        struct dbk_slice command = dbk_mongodb_statement(text, at, &next);
        if (next < at || next > size)
            abort();
        if (command.size == 0)
            break;
        if (command.data < text.data + at || command.data + command.size > text.data + next)
            abort();
        check_command(command);
        at = next;
    }
    return 0;
}

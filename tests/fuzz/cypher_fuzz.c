/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cypher_fuzz -- tokens of any text cover it without a gap, statements follow each other to its
 * end, and what is written for the server reads as as many tokens of the same kinds, but for names
 * of the generation and parameters.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "target/neo4j/cypher.h"

static bool check_tokens(struct dbk_slice text)
{
    bool whole = true;
    size_t at = 0;
    for (;;) {
        struct dbk_cypher_token token = dbk_cypher_next(text, at);
        if (token.kind == DBK_CYPHER_END)
            break;
        if (token.text.size == 0 || token.text.data != text.data + at ||
            token.text.size > text.size - at)
            abort();
        whole = whole && token.kind != DBK_CYPHER_BROKEN;
        at += token.text.size;
    }
    if (at != text.size)
        abort();
    return whole;
}

static void check_statements(struct dbk_slice text)
{
    size_t at = 0;
    for (;;) {
        size_t next = at;
        struct dbk_slice statement = dbk_cypher_statement(text, at, &next);
        if (next < at || next > text.size)
            abort();
        if (statement.size == 0)
            break;
        if (statement.data < text.data + at || statement.data + statement.size > text.data + next)
            abort();
        at = next;
    }
}

static struct dbk_cypher_token next(struct dbk_slice text, size_t *at)
{
    struct dbk_cypher_token token = dbk_cypher_next(text, *at);
    while (token.kind == DBK_CYPHER_SPACE) {
        *at += token.text.size;
        token = dbk_cypher_next(text, *at);
    }
    return token;
}

/* A generation's name becomes a quoted one, a parameter `$[7]`: four tokens. */
static void check_written(struct dbk_slice text, struct dbk_slice written, size_t count)
{
    size_t at = 0;
    size_t there = 0;
    size_t numbers = 0;
    for (;;) {
        struct dbk_cypher_token token = next(text, &at);
        struct dbk_cypher_token other = next(written, &there);
        if (token.kind == DBK_CYPHER_END && other.kind == DBK_CYPHER_END)
            break;
        if (token.kind == DBK_CYPHER_GENERATION ? other.kind != DBK_CYPHER_QUOTED
            : token.kind == DBK_CYPHER_PARAMETER
                ? other.kind != DBK_CYPHER_OTHER || other.text.data[0] != '$'
                : other.kind != token.kind || !dbk_slice_equal(token.text, other.text))
            abort();
        at += token.text.size;
        there += other.text.size;
        if (token.kind != DBK_CYPHER_PARAMETER)
            continue;
        const char *end = memchr(written.data + there, ']', written.size - there);
        if (end == NULL)
            abort();
        there = (size_t)(end - written.data) + 1;
        numbers++;
    }
    if (numbers < count)
        abort();
}

static void check_write(struct dbk_slice text)
{
    struct dbk_buf out;
    struct dbk_arena arena;
    struct dbk_error err = {0};
    struct dbk_cypher_names names = {0};
    dbk_buf_init(&out, 64 * (text.size + 1));
    dbk_arena_init(&arena, (size_t)1 << 20);
    int rc = dbk_cypher_write(text, dbk_slice_of("m_1_"), "$", &out, &arena, &names, &err);
    if (rc < 0 && err.message[0] == '\0')
        abort();
    if (rc == DBK_OK)
        check_written(text, dbk_buf_slice(&out), names.count);
    dbk_buf_release(&out);
    dbk_arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dbk_slice text = dbk_slice(data, size);
    bool whole = check_tokens(text);
    check_statements(text);
    for (int guard = DBK_GUARD_NONE; guard <= (int)DBK_GUARD_QUERY; guard++) {
        struct dbk_error err = {0};
        int offset = -1;
        int rc = dbk_cypher_check(text, (enum dbk_guard)guard, &offset, &err);
        if (rc < 0 && err.message[0] == '\0')
            abort();
        if (offset >= 0 && (size_t)offset >= size)
            abort();
        if (rc == DBK_OK && !whole)
            abort();
    }
    if (whole)
        check_write(text);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "target/neo4j/cypher.h"

#include <string.h>

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool begins_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (uint8_t)c >= 0x80;
}

static bool in_name(char c)
{
    return begins_name(c) || is_digit(c);
}

static size_t name_size(struct dbk_slice text, size_t at)
{
    size_t begin = at;
    while (at < text.size && in_name(text.data[at]))
        at++;
    return at - begin;
}

static bool is_comment(struct dbk_slice text, size_t at)
{
    return at + 1 < text.size && text.data[at] == '/' &&
           (text.data[at + 1] == '/' || text.data[at + 1] == '*');
}

/* 0: it does not end. A line's comment may end with the text. */
static size_t comment_size(struct dbk_slice text)
{
    if (text.data[1] == '/') {
        const char *end = memchr(text.data, '\n', text.size);
        return end == NULL ? text.size : (size_t)(end - text.data) + 1;
    }
    for (size_t at = 2; at + 1 < text.size; at++) {
        if (text.data[at] == '*' && text.data[at + 1] == '/')
            return at + 2;
    }
    return 0;
}

/* A string's or a quoted name's size, 0: it does not end. Only strings have escapes. */
static size_t quoted_size(struct dbk_slice text)
{
    char close = text.data[0];
    for (size_t at = 1; at < text.size; at++) {
        bool doubled = close == '`' && text.data[at] == close && at + 1 < text.size &&
                       text.data[at + 1] == close;
        if (text.data[at] == close && !doubled)
            return at + 1;
        at += doubled || (close != '`' && text.data[at] == '\\');
    }
    return 0;
}

/* "1..3" is a range: a dot belongs to a number when a digit follows it. */
static size_t number_size(struct dbk_slice text)
{
    size_t at = 0;
    while (at < text.size) {
        bool fraction = text.data[at] == '.' && at + 1 < text.size && is_digit(text.data[at + 1]);
        bool sign = (text.data[at] == '-' || text.data[at] == '+') && at > 0 &&
                    (text.data[at - 1] == 'e' || text.data[at - 1] == 'E') && text.size > 1 &&
                    text.data[1] != 'x' && text.data[1] != 'X';
        if (!in_name(text.data[at]) && !fraction && !sign)
            break;
        at++;
    }
    return at;
}

static size_t parameter_size(struct dbk_slice text)
{
    size_t at = 1;
    while (at < text.size && begins_name(text.data[at])) {
        at += name_size(text, at);
        if (at + 1 < text.size && text.data[at] == '.' && begins_name(text.data[at + 1]))
            at++;
        else
            break;
    }
    return at;
}

static bool has_escape(struct dbk_slice text)
{
    for (size_t at = 0; at + 1 < text.size; at++) {
        if (text.data[at] == '\\' && (text.data[at + 1] == 'u' || text.data[at + 1] == 'U'))
            return true;
    }
    return false;
}

static struct dbk_cypher_token make(enum dbk_cypher_kind kind, struct dbk_slice rest, size_t size)
{
    struct dbk_cypher_token token = {kind, dbk_slice(rest.data, size)};
    if (size == 0)
        token = (struct dbk_cypher_token){DBK_CYPHER_BROKEN, rest};
    else if (has_escape(token.text) || token.text.data[0] == '\\')
        token.kind = DBK_CYPHER_BROKEN;
    return token;
}

/* "{gen}" or "{a-model}" before a name; 0: it is none. */
static size_t braces_size(struct dbk_slice text)
{
    size_t at = 1;
    if (text.data[0] != '{' || text.size < 4 || !begins_name(text.data[1]))
        return 0;
    while (at < text.size && (in_name(text.data[at]) || text.data[at] == '-'))
        at++;
    bool named = at + 1 < text.size && text.data[at] == '}' && begins_name(text.data[at + 1]);
    return named ? at + 1 : 0;
}

static size_t blank_size(struct dbk_slice text)
{
    size_t at = 0;
    while (at < text.size && is_space(text.data[at]))
        at++;
    return at;
}

struct dbk_cypher_token dbk_cypher_next(struct dbk_slice text, size_t offset)
{
    if (text.size == 0)
        return (struct dbk_cypher_token){DBK_CYPHER_END, text};
    if (offset >= text.size)
        return (struct dbk_cypher_token){DBK_CYPHER_END, dbk_slice(text.data + text.size, 0)};
    struct dbk_slice rest = dbk_slice(text.data + offset, text.size - offset);
    size_t generation_size = braces_size(rest);
    char c = rest.data[0];
    if (is_space(c))
        return make(DBK_CYPHER_SPACE, rest, blank_size(rest));
    if (is_comment(rest, 0))
        return make(DBK_CYPHER_SPACE, rest, comment_size(rest));
    if (c == '\'' || c == '"')
        return make(DBK_CYPHER_STRING, rest, quoted_size(rest));
    if (c == '`')
        return make(DBK_CYPHER_QUOTED, rest, quoted_size(rest));
    if (generation_size > 0)
        return make(DBK_CYPHER_GENERATION, rest,
                    generation_size + name_size(rest, generation_size));
    if (begins_name(c))
        return make(DBK_CYPHER_NAME, rest, name_size(rest, 0));
    if (is_digit(c))
        return make(DBK_CYPHER_NUMBER, rest, number_size(rest));
    if (c == '$' && rest.size > 1 && begins_name(rest.data[1]))
        return make(DBK_CYPHER_PARAMETER, rest, parameter_size(rest));
    return make(c == ';' ? DBK_CYPHER_SEMICOLON : DBK_CYPHER_OTHER, rest, 1);
}

struct dbk_slice dbk_cypher_statement(struct dbk_slice text, size_t offset, size_t *offset_out)
{
    size_t begin = offset;
    size_t end = offset;
    for (;;) {
        struct dbk_cypher_token token = dbk_cypher_next(text, offset);
        bool ends = token.kind == DBK_CYPHER_END || token.kind == DBK_CYPHER_SEMICOLON;
        bool begun = end > begin;
        offset += token.text.size;
        *offset_out = offset;
        if (token.kind == DBK_CYPHER_END || (ends && begun))
            return dbk_slice(text.data + begin, end - begin);
        if (token.kind == DBK_CYPHER_SPACE || ends)
            begin = begun ? begin : offset;
        if (token.kind != DBK_CYPHER_SPACE && !ends)
            end = offset;
        else if (!begun)
            end = begin;
    }
}

/* ---- Writing ---- */

static int number_of(struct dbk_cypher_names *names, struct dbk_slice name, size_t *number_out,
                     struct dbk_error *err)
{
    for (size_t i = 0; i < names->count; i++) {
        if (dbk_slice_equal(names->items[i], name)) {
            *number_out = i;
            return DBK_OK;
        }
    }
    if (names->count == DBK_CYPHER_PARAMETERS_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "a statement has more than %d parameters",
                             DBK_CYPHER_PARAMETERS_MAX);
    *number_out = names->count;
    names->items[names->count++] = name;
    return DBK_OK;
}

/* What was beside a token must not become part of what it is written as. */
static void part(struct dbk_buf *out)
{
    char last = out->size == 0 ? ' ' : out->data[out->size - 1];
    if (in_name(last) || last == '`')
        dbk_buf_append_char(out, ' ');
}

int dbk_cypher_write(struct dbk_slice text, struct dbk_slice prefix, const char *read,
                     struct dbk_buf *out, struct dbk_arena *arena,
                     struct dbk_cypher_names *names_out, struct dbk_error *err)
{
    struct dbk_cypher_names names = {
        .items = dbk_arena_alloc_zero(arena, DBK_CYPHER_PARAMETERS_MAX, sizeof(*names.items))};
    int rc = names.items == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory") : DBK_OK;
    for (size_t at = 0, number = 0; rc == DBK_OK && at < text.size;) {
        struct dbk_cypher_token token = dbk_cypher_next(text, at);
        struct dbk_slice rest = token.text;
        at += token.text.size;
        if (token.kind == DBK_CYPHER_GENERATION || token.kind == DBK_CYPHER_PARAMETER ||
            token.kind == DBK_CYPHER_QUOTED)
            part(out);
        if (token.kind == DBK_CYPHER_GENERATION && prefix.size > 0) {
            size_t size = braces_size(rest);
            rest = dbk_slice(rest.data + size, rest.size - size);
            dbk_buf_append_format(out, "`%.*s_%.*s`", DBK_SLICE_ARGS(prefix), DBK_SLICE_ARGS(rest));
        } else if (token.kind == DBK_CYPHER_PARAMETER) {
            rc = number_of(&names, dbk_slice(rest.data + 1, rest.size - 1), &number, err);
            dbk_buf_append_format(out, "%s[%zu]", read, number);
        } else {
            dbk_buf_append(out, rest);
        }
    }
    if (rc == DBK_OK && out->rc < 0)
        rc = dbk_error_set(err, out->rc, "a statement: %s", dbk_code_text(out->rc));
    if (rc == DBK_OK)
        *names_out = names;
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "target/mongodb/command.h"

#include <string.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (uint8_t)c >= 0x80;
}

static bool in_name(char c)
{
    return is_letter(c) || (c >= '0' && c <= '9');
}

static bool is_sign(char c)
{
    return c != '\0' && strchr("{}[]:,", c) != NULL;
}

static bool is_comment(struct dbk_slice rest)
{
    return rest.size >= 2 && rest.data[0] == '/' && rest.data[1] == '/';
}

static size_t space_size(struct dbk_slice rest)
{
    size_t size = 0;
    if (is_comment(rest)) {
        const char *end = memchr(rest.data, '\n', rest.size);
        return end == NULL ? rest.size : (size_t)(end - rest.data);
    }
    while (size < rest.size && is_space(rest.data[size]))
        size++;
    return size;
}

/* 0: it does not end. */
static size_t string_size(struct dbk_slice rest)
{
    for (size_t at = 1; at < rest.size; at++) {
        if (rest.data[at] == '\\')
            at++;
        else if (rest.data[at] == '"')
            return at + 1;
    }
    return 0;
}

static size_t word_size(struct dbk_slice rest)
{
    size_t size = 1;
    while (size < rest.size && !is_space(rest.data[size]) && !is_sign(rest.data[size]) &&
           rest.data[size] != '"' && rest.data[size] != '/')
        size++;
    return size;
}

struct dbk_mongodb_token dbk_mongodb_next(struct dbk_slice text, size_t offset)
{
    if (offset >= text.size)
        return (struct dbk_mongodb_token){DBK_MONGODB_END, {0}};
    struct dbk_slice rest = dbk_slice(text.data + offset, text.size - offset);
    enum dbk_mongodb_kind kind = DBK_MONGODB_WORD;
    size_t size = 0;
    if (is_space(rest.data[0]) || is_comment(rest)) {
        kind = DBK_MONGODB_SPACE;
        size = space_size(rest);
    } else if (rest.data[0] == '"') {
        size = string_size(rest);
        kind = size == 0 ? DBK_MONGODB_BROKEN : DBK_MONGODB_STRING;
        size = size == 0 ? rest.size : size;
    } else if (is_sign(rest.data[0])) {
        kind = DBK_MONGODB_SIGN;
        size = 1;
    } else {
        size = word_size(rest);
    }
    return (struct dbk_mongodb_token){kind, dbk_slice(rest.data, size)};
}

static int depth_of(struct dbk_mongodb_token token)
{
    if (token.kind != DBK_MONGODB_SIGN)
        return 0;
    char sign = token.text.data[0];
    return sign == '{' || sign == '[' ? 1 : sign == '}' || sign == ']' ? -1 : 0;
}

struct dbk_slice dbk_mongodb_statement(struct dbk_slice text, size_t offset, size_t *offset_out)
{
    struct dbk_mongodb_token token = dbk_mongodb_next(text, offset);
    int depth = 0;
    while (token.kind == DBK_MONGODB_SPACE) {
        offset += token.text.size;
        token = dbk_mongodb_next(text, offset);
    }
    size_t begin = offset;
    while (token.kind != DBK_MONGODB_END) {
        depth += depth_of(token);
        offset += token.text.size;
        if (depth <= 0)
            break;
        token = dbk_mongodb_next(text, offset);
    }
    *offset_out = offset;
    return dbk_slice(text.data + begin, offset - begin);
}

/* ---- Names in texts ---- */

/* The bytes of a name at an offset, 0: there is none. */
static size_t name_size(struct dbk_slice text, size_t at)
{
    size_t size = 0;
    if (at >= text.size || !is_letter(text.data[at]))
        return 0;
    while (at + size < text.size && in_name(text.data[at + size]))
        size++;
    return size;
}

bool dbk_mongodb_parameter(struct dbk_mongodb_token token, struct dbk_slice *name_out)
{
    if (token.kind != DBK_MONGODB_STRING || token.text.size < 4 || token.text.data[1] != ':')
        return false;
    struct dbk_slice name = dbk_slice(token.text.data + 2, token.text.size - 3);
    for (size_t at = 0;;) {
        size_t size = name_size(name, at);
        at += size;
        if (size == 0)
            return false;
        if (at == name.size)
            break;
        if (name.data[at++] != '.')
            return false;
    }
    *name_out = name;
    return true;
}

bool dbk_mongodb_collection(struct dbk_slice text, struct dbk_slice *model_out,
                            struct dbk_slice *name_out)
{
    if (text.size < 4 || text.data[0] != '{')
        return false;
    size_t model = name_size(text, 1);
    if (model == 0 || 1 + model >= text.size || text.data[1 + model] != '}')
        return false;
    size_t name = name_size(text, model + 2);
    if (name == 0 || model + 2 + name != text.size)
        return false;
    *model_out = dbk_slice(text.data + 1, model);
    *name_out = dbk_slice(text.data + model + 2, name);
    return true;
}

/* ---- Writing ---- */

static int number_of(struct dbk_mongodb_names *names, struct dbk_slice name, size_t *number_out,
                     struct dbk_error *err)
{
    for (size_t i = 0; i < names->count; i++) {
        if (dbk_slice_equal(names->items[i], name)) {
            *number_out = i;
            return DBK_OK;
        }
    }
    if (names->count == DBK_MONGODB_PARAMETERS_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "a command has more than %d parameters",
                             DBK_MONGODB_PARAMETERS_MAX);
    *number_out = names->count;
    names->items[names->count++] = name;
    return DBK_OK;
}

/* What follows a key is a colon; spaces may stand between them. */
static bool is_key(struct dbk_slice text, size_t behind)
{
    struct dbk_mongodb_token token = dbk_mongodb_next(text, behind);
    while (token.kind == DBK_MONGODB_SPACE) {
        behind += token.text.size;
        token = dbk_mongodb_next(text, behind);
    }
    return token.kind == DBK_MONGODB_SIGN && token.text.data[0] == ':';
}

static int write_string(struct dbk_mongodb_token token, struct dbk_slice prefix,
                        struct dbk_buf *out, struct dbk_mongodb_names *names, struct dbk_error *err)
{
    struct dbk_slice inside = dbk_slice(token.text.data + 1, token.text.size - 2);
    struct dbk_slice name = {0};
    struct dbk_slice model = {0};
    size_t number = 0;
    if (dbk_mongodb_parameter(token, &name)) {
        int rc = number_of(names, name, &number, err);
        dbk_buf_append_format(out, "{\"$_\":%zu}", number);
        return rc;
    }
    if (inside.size >= 2 && inside.data[0] == ':' && inside.data[1] == ':') {
        dbk_buf_append_char(out, '"');
        dbk_buf_append(out, dbk_slice(inside.data + 1, inside.size));
    } else if (prefix.size > 0 && dbk_mongodb_collection(inside, &model, &name)) {
        dbk_buf_append_format(out, "\"%.*s_%.*s\"", DBK_SLICE_ARGS(prefix), DBK_SLICE_ARGS(name));
    } else {
        dbk_buf_append(out, token.text);
    }
    return DBK_OK;
}

/* The first key of a command says what it is. */
static bool changes(struct dbk_slice text)
{
    static const char *const words[] = {"\"insert\"", "\"update\"", "\"delete\""};
    for (size_t at = 0; at < text.size;) {
        struct dbk_mongodb_token token = dbk_mongodb_next(text, at);
        at += token.text.size;
        if (token.kind != DBK_MONGODB_STRING)
            continue;
        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
            if (dbk_slice_equal_text(token.text, words[i]))
                return true;
        }
        break;
    }
    return false;
}

int dbk_mongodb_write(struct dbk_slice text, struct dbk_slice prefix, struct dbk_buf *out,
                      struct dbk_arena *arena, struct dbk_mongodb_names *names_out,
                      struct dbk_error *err)
{
    size_t number = 0;
    struct dbk_mongodb_names names = {
        .items = dbk_arena_alloc_zero(arena, DBK_MONGODB_PARAMETERS_MAX, sizeof(*names.items))};
    int rc = names.items == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory") : DBK_OK;
    for (size_t at = 0; rc == DBK_OK && at < text.size;) {
        struct dbk_mongodb_token token = dbk_mongodb_next(text, at);
        at += token.text.size;
        if (token.kind == DBK_MONGODB_STRING && !is_key(text, at))
            rc = write_string(token, prefix, out, &names, err);
        else
            dbk_buf_append(out, token.text);
    }
    if (rc == DBK_OK && changes(text) && out->size > 0) {
        rc = number_of(&names, DBK_SLICE_LITERAL("_position"), &number, err);
        out->size--; /* the last brace */
        dbk_buf_append_format(out, ",\"$position\":{\"$_\":%zu}}", number);
    }
    if (rc == DBK_OK && out->rc < 0)
        rc = dbk_error_set(err, out->rc, "a command: %s", dbk_code_text(out->rc));
    if (rc == DBK_OK)
        *names_out = names;
    return rc;
}

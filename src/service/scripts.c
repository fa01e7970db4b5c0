/* SPDX-License-Identifier: Apache-2.0 */
#include "service/scripts.h"

#include <ctype.h>
#include <string.h>

enum kind { WORD, TEXT, SIGN, END };

struct token {
    enum kind kind;
    struct dbk_slice text; /* of a TEXT without its quotes, as it is written */
};

static bool is_word(char byte)
{
    return isalnum((unsigned char)byte) != 0 || byte == '_';
}

static bool is_at(struct dbk_slice source, size_t at, const char *text)
{
    size_t size = strlen(text);
    return at + size <= source.size && memcmp(source.data + at, text, size) == 0;
}

/* The level of a long bracket that begins at a place, [[ or [=[; -1: there is none. */
static int long_level(struct dbk_slice source, size_t at)
{
    int level = 0;
    if (!is_at(source, at, "["))
        return -1;
    for (at++; is_at(source, at, "="); at++)
        level++;
    return is_at(source, at, "[") ? level : -1;
}

/* Where what a long bracket holds ends; *at becomes behind the bracket. */
static size_t skip_long(struct dbk_slice source, size_t *at, int level)
{
    size_t end = *at + (size_t)level + 2;
    for (; end < source.size; end++) {
        int found = 0;
        if (source.data[end] != ']')
            continue;
        while (is_at(source, end + 1 + (size_t)found, "="))
            found++;
        if (found == level && is_at(source, end + 1 + (size_t)found, "]"))
            break;
    }
    *at = end + (size_t)level + 2 < source.size ? end + (size_t)level + 2 : source.size;
    return end < source.size ? end : source.size;
}

static size_t skip_space(struct dbk_slice source, size_t at)
{
    while (at < source.size) {
        if (isspace((unsigned char)source.data[at]) != 0) {
            at++;
        } else if (is_at(source, at, "--")) {
            int level = long_level(source, at + 2);
            at += 2;
            if (level >= 0)
                (void)skip_long(source, &at, level);
            while (level < 0 && at < source.size && source.data[at] != '\n')
                at++;
        } else {
            break;
        }
    }
    return at;
}

static struct token next(struct dbk_slice source, size_t *offset)
{
    size_t at = skip_space(source, *offset);
    size_t begin = at;
    if (at >= source.size) {
        *offset = at;
        return (struct token){.kind = END};
    }
    char byte = source.data[at];
    int level = long_level(source, at);
    struct token token = {.kind = SIGN};
    if (is_word(byte)) {
        while (at < source.size && is_word(source.data[at]))
            at++;
        token = (struct token){WORD, dbk_slice(source.data + begin, at - begin)};
    } else if (byte == '"' || byte == '\'') {
        for (at++; at < source.size && source.data[at] != byte; at++)
            at += source.data[at] == '\\' ? 1 : 0;
        size_t end = at < source.size ? at : source.size;
        token = (struct token){TEXT, dbk_slice(source.data + begin + 1, end - begin - 1)};
        at = end < source.size ? end + 1 : end;
    } else if (level >= 0) {
        size_t end = skip_long(source, &at, level);
        begin += (size_t)level + 2;
        token = (struct token){TEXT, begin < end ? dbk_slice(source.data + begin, end - begin)
                                                 : dbk_slice("", 0)};
    } else {
        at++;
        token.text = dbk_slice(source.data + begin, 1);
    }
    *offset = at;
    return token;
}

bool dbk_script_has_text(struct dbk_slice source, struct dbk_slice text)
{
    for (size_t offset = 0;;) {
        struct token token = next(source, &offset);
        if (token.kind == END)
            return false;
        if (token.kind == TEXT && dbk_slice_equal(token.text, text))
            return true;
    }
}

static bool is_of_event(struct dbk_slice name)
{
    static const char *const names[] = {"stream",   "type", "version", "position", "time",
                                        "occurred", "id",   "meta",    "data",     "source"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (dbk_slice_equal_text(name, names[i]))
            return true;
    }
    return false;
}

static bool is_among(struct dbk_slice name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (dbk_service_is_name(name, names[i]))
            return true;
    }
    return false;
}

/* Other columns are in no event. */
static bool is_captured(const struct dbk_capture_table *table, struct dbk_slice column)
{
    return table->column_count == 0 || is_among(column, table->columns, table->column_count) ||
           is_among(column, table->masked, table->masked_count) ||
           is_among(column, table->personal, table->personal_count);
}

int dbk_script_uses(struct dbk_uses *uses, const struct dbk_capture_table *table,
                    struct dbk_slice source)
{
    unsigned possible = DBK_USE_READ | DBK_USE_POSSIBLE;
    struct dbk_slice name = dbk_slice_of(table->name);
    bool dotted = false;
    int rc = dbk_uses_add(uses, name, dbk_slice("", 0), DBK_USE_READ);
    if (rc == DBK_OK && table->column_count == 0)
        rc = dbk_uses_add(uses, name, DBK_SLICE_LITERAL("*"), possible);
    for (size_t i = 0; rc == DBK_OK && i < table->column_count; i++)
        rc = dbk_uses_add(uses, name, dbk_slice_of(table->columns[i]), possible);
    for (size_t offset = 0; rc == DBK_OK;) {
        struct token token = next(source, &offset);
        if (token.kind == END)
            break;
        bool member = token.kind == TEXT || (token.kind == WORD && dotted);
        if (member && token.text.size > 0 && is_captured(table, token.text))
            rc = dbk_uses_add(uses, name, token.text,
                              is_of_event(token.text) ? possible : DBK_USE_READ);
        dotted = token.kind == SIGN && dbk_slice_equal_text(token.text, ".");
    }
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <strings.h>

#include "target/target.h"

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Letters, '_' and everything past ASCII, as SQLite has it. */
static bool begins_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (uint8_t)c >= 0x80;
}

static bool in_name(char c)
{
    return begins_name(c) || is_digit(c) || c == '$';
}

static size_t space_size(struct dbk_slice text)
{
    size_t at = 0;
    while (at < text.size && is_space(text.data[at]))
        at++;
    return at;
}

/* A comment's size, 0 when it does not end. A line's comment may end with the text. */
static size_t comment_size(struct dbk_slice text)
{
    if (text.data[0] == '-') {
        const char *end = memchr(text.data, '\n', text.size);
        return end == NULL ? text.size : (size_t)(end - text.data) + 1;
    }
    for (size_t at = 2; at + 1 < text.size; at++) {
        if (text.data[at] == '*' && text.data[at + 1] == '/')
            return at + 2;
    }
    return 0;
}

/* The size up to the closing quote, which is doubled where it is meant; 0 when it does not end. */
static size_t quoted_size(struct dbk_slice text, char close)
{
    for (size_t at = 1; at < text.size; at++) {
        if (text.data[at] != close)
            continue;
        if (close != ']' && at + 1 < text.size && text.data[at + 1] == close)
            at++;
        else
            return at + 1;
    }
    return 0;
}

/* PostgreSQL's E'it\'s': a backslash takes the next character with it. */
static size_t escaped_size(struct dbk_slice text)
{
    for (size_t at = 1; at < text.size; at++) {
        bool doubled = text.data[at] == '\'' && at + 1 < text.size && text.data[at + 1] == '\'';
        if (text.data[at] == '\'' && !doubled)
            return at + 1;
        at += doubled || text.data[at] == '\\';
    }
    return 0;
}

/* PostgreSQL's $tag$ … $tag$; 1 when it is none, or does not end. */
static size_t dollar_size(struct dbk_slice text)
{
    size_t tag = 1;
    while (tag < text.size && in_name(text.data[tag]) && text.data[tag] != '$')
        tag++;
    if (tag == text.size || text.data[tag++] != '$')
        return 1;
    for (size_t at = tag; at + tag <= text.size; at++) {
        if (memcmp(text.data + at, text.data, tag) == 0)
            return at + tag;
    }
    return 1;
}

/* Behind a value '[' begins a subscript, not a name: "a[1]", "ARRAY[:x]". */
static bool ends_value(char c)
{
    return in_name(c) || c == ']' || c == ')' || c == '"';
}

static size_t number_size(struct dbk_slice text)
{
    size_t at = 0;
    while (at < text.size && (in_name(text.data[at]) || text.data[at] == '.' ||
                              ((text.data[at] == '+' || text.data[at] == '-') && at > 0 &&
                               (text.data[at - 1] == 'e' || text.data[at - 1] == 'E') &&
                               text.size > 1 && text.data[1] != 'x' && text.data[1] != 'X')))
        at++;
    return at;
}

/* ":a.b.c": names between dots. */
static size_t parameter_size(struct dbk_slice text)
{
    size_t at = 1;
    while (at < text.size && begins_name(text.data[at])) {
        while (at < text.size && in_name(text.data[at]))
            at++;
        if (at + 1 < text.size && text.data[at] == '.' && begins_name(text.data[at + 1]))
            at++;
        else
            break;
    }
    return at;
}

static struct dbk_sql_token token_of(enum dbk_sql_kind kind, struct dbk_slice rest, size_t size)
{
    if (size == 0)
        return (struct dbk_sql_token){DBK_SQL_BROKEN, rest};
    return (struct dbk_sql_token){kind, dbk_slice(rest.data, size)};
}

struct dbk_sql_token dbk_sql_next(struct dbk_slice sql, size_t offset)
{
    if (offset >= sql.size)
        return (struct dbk_sql_token){.kind = DBK_SQL_END};
    struct dbk_slice rest = dbk_slice(sql.data + offset, sql.size - offset);
    char first = rest.data[0];
    char second = rest.size > 1 ? rest.data[1] : 0;
    size_t size = 1;
    if (is_space(first))
        return token_of(DBK_SQL_SPACE, rest, space_size(rest));
    if ((first == '-' && second == '-') || (first == '/' && second == '*'))
        return token_of(DBK_SQL_SPACE, rest, comment_size(rest));
    if (first == '\'')
        return token_of(DBK_SQL_STRING, rest, quoted_size(rest, '\''));
    if (first == '"' || first == '`')
        return token_of(DBK_SQL_NAME, rest, quoted_size(rest, first));
    if (first == '[' && (offset == 0 || !ends_value(sql.data[offset - 1])))
        return token_of(DBK_SQL_NAME, rest, quoted_size(rest, ']'));
    if ((first == 'x' || first == 'X') && second == '\'') {
        size = quoted_size(dbk_slice(rest.data + 1, rest.size - 1), '\'');
        return token_of(DBK_SQL_STRING, rest, size == 0 ? 0 : size + 1);
    }
    if ((first == 'e' || first == 'E') && second == '\'') {
        size = escaped_size(dbk_slice(rest.data + 1, rest.size - 1));
        return token_of(DBK_SQL_STRING, rest, size == 0 ? 0 : size + 1);
    }
    if (first == '$' && !is_digit(second)) {
        size = dollar_size(rest);
        if (size > 1)
            return token_of(DBK_SQL_STRING, rest, size);
    }
    if (first == ':' && second == ':')
        return token_of(DBK_SQL_OTHER, rest, 2);
    if (is_digit(first) || (first == '.' && is_digit(second)))
        return token_of(DBK_SQL_NUMBER, rest, number_size(rest));
    if (first == ':' && begins_name(second))
        return token_of(DBK_SQL_PARAMETER, rest, parameter_size(rest));
    if (begins_name(first)) {
        while (size < rest.size && in_name(rest.data[size]))
            size++;
        return token_of(DBK_SQL_NAME, rest, size);
    }
    return token_of(first == ';' ? DBK_SQL_SEMICOLON : DBK_SQL_OTHER, rest, 1);
}

static bool is_quote(char c)
{
    return c == '"' || c == '`' || c == '[';
}

bool dbk_sql_name_is(struct dbk_slice token, struct dbk_slice name)
{
    size_t at = 0;
    if (token.size == 0)
        return false;
    if (!is_quote(token.data[0]))
        return token.size == name.size && strncasecmp(token.data, name.data, name.size) == 0;
    char close = token.data[token.size - 1];
    for (size_t i = 1; i + 1 < token.size; i++, at++) {
        if (token.data[i] == close && close != ']')
            i++;
        if (at == name.size || strncasecmp(token.data + i, name.data + at, 1) != 0)
            return false;
    }
    return at == name.size;
}

bool dbk_sql_names(struct dbk_slice sql, const char *name)
{
    for (size_t offset = 0;;) {
        struct dbk_sql_token token = dbk_sql_next(sql, offset);
        if (token.kind == DBK_SQL_END || token.kind == DBK_SQL_BROKEN)
            return false;
        if (token.kind == DBK_SQL_NAME && dbk_sql_name_is(token.text, dbk_slice_of(name)))
            return true;
        offset += token.text.size;
    }
}

static bool is_word(struct dbk_slice token, const char *word)
{
    return token.size > 0 && !is_quote(token.data[0]) && dbk_sql_name_is(token, dbk_slice_of(word));
}

/* CREATE [TEMP] TRIGGER … BEGIN … END: semicolons inside do not end it. */
struct trigger {
    unsigned names;  /* seen so far */
    bool create;     /* the first name is CREATE */
    bool is_trigger; /* TRIGGER came second or third */
    unsigned depth;  /* BEGIN and CASE that have not ended */
};

static void follow(struct trigger *trigger, struct dbk_slice name)
{
    trigger->names++;
    if (trigger->names == 1)
        trigger->create = is_word(name, "create");
    else if (trigger->names <= 3 && trigger->create && is_word(name, "trigger"))
        trigger->is_trigger = true;
    else if (trigger->is_trigger && (is_word(name, "begin") || is_word(name, "case")))
        trigger->depth++;
    else if (trigger->is_trigger && is_word(name, "end") && trigger->depth > 0)
        trigger->depth--;
}

struct dbk_slice dbk_sql_statement(struct dbk_slice sql, size_t offset, size_t *offset_out)
{
    struct trigger trigger = {0};
    size_t begin = offset;
    size_t end = offset;
    bool begun = false;
    for (;;) {
        struct dbk_sql_token token = dbk_sql_next(sql, offset);
        if (token.kind == DBK_SQL_END)
            break;
        offset += token.text.size;
        if (token.kind == DBK_SQL_SPACE)
            continue;
        if (token.kind == DBK_SQL_SEMICOLON && trigger.depth == 0) {
            if (begun)
                break;
            continue;
        }
        if (!begun)
            begin = offset - token.text.size;
        begun = true;
        end = offset;
        if (token.kind == DBK_SQL_NAME)
            follow(&trigger, token.text);
    }
    *offset_out = offset;
    return begun ? dbk_slice(sql.data + begin, end - begin) : (struct dbk_slice){0};
}

/* The parameter's number, from 1; a new one where it has none yet. 0 when out of memory. */
static size_t number_of(struct dbk_slice name, struct dbk_arena *arena, struct dbk_slice **names,
                        size_t *count)
{
    for (size_t i = 0; i < *count; i++) {
        if (dbk_slice_equal((*names)[i], name))
            return i + 1;
    }
    if ((*count & (*count - 1)) == 0) {
        size_t capacity = *count == 0 ? 1 : *count * 2;
        struct dbk_slice *grown = dbk_arena_alloc_zero(arena, capacity, sizeof(*grown));
        if (grown == NULL)
            return 0;
        if (*count > 0)
            memcpy(grown, *names, *count * sizeof(*grown));
        *names = grown;
    }
    struct dbk_slice copy = dbk_arena_copy(arena, name);
    if (copy.data == NULL)
        return 0;
    (*names)[(*count)++] = copy;
    return *count;
}

static void append_name(struct dbk_slice token, const struct dbk_sql_rename *renames,
                        size_t rename_count, struct dbk_buf *out)
{
    for (size_t i = 0; i < rename_count; i++) {
        if (dbk_sql_name_is(token, renames[i].from)) {
            dbk_buf_append_char(out, '"');
            dbk_buf_append(out, renames[i].to);
            dbk_buf_append_char(out, '"');
            return;
        }
    }
    dbk_buf_append(out, token);
}

int dbk_sql_rewrite(struct dbk_slice sql, const struct dbk_sql_rename *renames, size_t rename_count,
                    struct dbk_buf *out, struct dbk_arena *arena, struct dbk_slice **names_out,
                    size_t *name_count_out, struct dbk_error *err)
{
    struct dbk_slice *names = NULL;
    size_t count = 0;
    size_t offset = 0;
    for (;;) {
        struct dbk_sql_token token = dbk_sql_next(sql, offset);
        if (token.kind == DBK_SQL_END)
            break;
        if (token.kind == DBK_SQL_BROKEN)
            return dbk_error_set(err, DBK_EINVAL,
                                 "a string, a quoted name or a comment does not end");
        offset += token.text.size;
        if (token.kind == DBK_SQL_NAME) {
            append_name(token.text, renames, rename_count, out);
        } else if (token.kind == DBK_SQL_PARAMETER) {
            struct dbk_slice name = dbk_slice(token.text.data + 1, token.text.size - 1);
            size_t number = number_of(name, arena, &names, &count);
            if (number == 0)
                return dbk_error_set(err, DBK_ENOMEM, "out of memory reading SQL");
            dbk_buf_append_format(out, "?%zu", number);
        } else {
            dbk_buf_append(out, token.text);
        }
    }
    if (out->rc < 0)
        return dbk_error_set(err, out->rc, "%s reading SQL", dbk_code_text(out->rc));
    *names_out = names;
    *name_count_out = count;
    return DBK_OK;
}

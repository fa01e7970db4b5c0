/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Putting fields back. The text is walked without a parse: it is known to be JSON, so strings,
 * brackets and commas are all there is to see.
 */
#include <string.h>

#include "vault/fields.h"

struct splicing {
    const char *at; /* in the text */
    const char *end;
    const char *copied; /* up to here it is in `out` */
    struct dbk_buf *out;
    struct dbk_buf path; /* where `at` is */
    const struct dbk_field *fields;
    unsigned depth;
};

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static void skip_space(struct splicing *splicing)
{
    while (splicing->at < splicing->end && is_space(*splicing->at))
        splicing->at++;
}

/* Behind the text that begins here. */
static int skip_string(struct splicing *splicing)
{
    for (splicing->at++; splicing->at < splicing->end; splicing->at++) {
        if (*splicing->at == '\\')
            splicing->at++;
        else if (*splicing->at == '"') {
            splicing->at++;
            return DBK_OK;
        }
    }
    return DBK_ECORRUPT;
}

static int skip_value(struct splicing *splicing)
{
    const char *begin = splicing->at;
    unsigned open = 0;
    while (splicing->at < splicing->end) {
        char c = *splicing->at;
        if (c == '"') {
            int rc = skip_string(splicing);
            if (rc < 0 || open == 0)
                return rc;
            continue;
        }
        if (open == 0 && (c == ',' || c == '}' || c == ']'))
            return splicing->at > begin ? DBK_OK : DBK_ECORRUPT;
        splicing->at++;
        if (c == '{' || c == '[')
            open++;
        if ((c == '}' || c == ']') && --open == 0)
            return DBK_OK;
    }
    return open == 0 ? DBK_OK : DBK_ECORRUPT;
}

/* ---- Names ---- */

static unsigned hex4(const char *at)
{
    unsigned value = 0;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        unsigned digit = c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
        value = value << 4 | (digit & 15);
    }
    return value;
}

static void append_utf8(struct dbk_buf *out, unsigned code)
{
    if (code >= 0x10000) {
        dbk_buf_append_char(out, (char)(0xF0 | code >> 18));
        dbk_buf_append_char(out, (char)(0x80 | (code >> 12 & 0x3F)));
    } else if (code >= 0x800) {
        dbk_buf_append_char(out, (char)(0xE0 | code >> 12));
    }
    if (code >= 0x800)
        dbk_buf_append_char(out, (char)(0x80 | (code >> 6 & 0x3F)));
    else
        dbk_buf_append_char(out, (char)(0xC0 | code >> 6));
    dbk_buf_append_char(out, (char)(0x80 | (code & 0x3F)));
}

static void append_name_char(struct dbk_buf *path, char c)
{
    if (c == '.' || c == '[' || c == '\\')
        dbk_buf_append_char(path, '\\');
    dbk_buf_append_char(path, c);
}

/* One escape; returns what is behind it. */
static const char *append_escape(struct dbk_buf *path, const char *at, const char *end)
{
    static const char letters[] = "bfnrt";
    static const char meant[] = "\b\f\n\r\t";
    if (*at != 'u' || end - at < 5) {
        const char *letter = strchr(letters, *at);
        append_name_char(path, letter == NULL || *at == '\0' ? *at : meant[letter - letters]);
        return at + 1;
    }
    unsigned code = hex4(at + 1);
    at += 5;
    if (code >= 0xD800 && code < 0xDC00 && end - at >= 6) {
        code = 0x10000 + ((code - 0xD800) << 10) + (hex4(at + 2) - 0xDC00);
        at += 6;
    }
    if (code < 0x80)
        append_name_char(path, (char)code);
    else
        append_utf8(path, code & 0x1FFFFF);
    return at;
}

/* A member's name, as text in quotes, onto the path. */
static void append_name(struct dbk_buf *path, struct dbk_slice name)
{
    const char *at = name.data;
    const char *end = name.data + name.size;
    while (at < end) {
        if (*at == '\\' && end - at > 1)
            at = append_escape(path, at + 1, end);
        else
            append_name_char(path, *at++);
    }
}

/* ---- Fields under a path ---- */

struct range {
    size_t begin;
    size_t end;
};

static int compare_prefix(struct dbk_slice path, struct dbk_slice prefix)
{
    size_t size = path.size < prefix.size ? path.size : prefix.size;
    int order = size == 0 ? 0 : memcmp(path.data, prefix.data, size);
    return order != 0 ? order : path.size < prefix.size ? -1 : 0;
}

/* The fields of a range whose paths go on behind the current one: they stand together. */
static struct range under(const struct splicing *splicing, struct range range)
{
    struct dbk_slice prefix = dbk_buf_slice(&splicing->path);
    size_t low = range.begin;
    size_t high = range.end;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_prefix(splicing->fields[middle].path, prefix) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    struct range found = {low, low};
    while (found.end < range.end && compare_prefix(splicing->fields[found.end].path, prefix) == 0)
        found.end++;
    return found;
}

/* The name a path ends with, behind the current one; empty data: it goes further. */
static struct dbk_slice last_name(struct dbk_slice path, size_t from)
{
    for (size_t i = from; i < path.size; i++) {
        if (path.data[i] == '\\')
            i++;
        else if (path.data[i] == '.' || path.data[i] == '[')
            return (struct dbk_slice){0};
    }
    return dbk_slice(path.data + from, path.size - from);
}

static void append_member(struct dbk_buf *out, struct dbk_slice name, struct dbk_slice value)
{
    struct dbk_buf unescaped;
    if (memchr(name.data, '\\', name.size) == NULL) {
        dbk_json_write_string(out, name);
    } else {
        dbk_buf_init(&unescaped, name.size + 1);
        for (size_t i = 0; i < name.size; i++) {
            i += name.data[i] == '\\' && i + 1 < name.size;
            dbk_buf_append_char(&unescaped, name.data[i]);
        }
        if (unescaped.rc < 0)
            out->rc = unescaped.rc;
        dbk_json_write_string(out, dbk_buf_slice(&unescaped));
        dbk_buf_release(&unescaped);
    }
    dbk_buf_append_char(out, ':');
    dbk_buf_append(out, value);
}

/* ---- Walking ---- */

static void copy_up_to_here(struct splicing *splicing)
{
    dbk_buf_append(splicing->out,
                   dbk_slice(splicing->copied, (size_t)(splicing->at - splicing->copied)));
    splicing->copied = splicing->at;
}

static int walk(struct splicing *splicing, struct range range, size_t *used);

/* The members whose paths end here, before the closing brace. */
static void add_members(struct splicing *splicing, struct range range, bool empty, size_t *used)
{
    size_t from = splicing->path.size;
    copy_up_to_here(splicing);
    for (size_t i = range.begin; i < range.end; i++) {
        struct dbk_slice name = last_name(splicing->fields[i].path, from);
        if (name.data == NULL)
            continue;
        if (!empty)
            dbk_buf_append_char(splicing->out, ',');
        append_member(splicing->out, name, splicing->fields[i].value);
        empty = false;
        (*used)++;
    }
}

/* The value here, when fields go on in it: an object behind a '.', an array behind a '['. */
static int walk_member(struct splicing *splicing, struct range range, bool joined, size_t *used)
{
    char c = splicing->at < splicing->end ? *splicing->at : '\0';
    if (c != '{' && c != '[')
        return skip_value(splicing);
    if (c == '{' && joined)
        dbk_buf_append_char(&splicing->path, '.');
    if (c == '[')
        dbk_buf_append_char(&splicing->path, '[');
    struct range inner = under(splicing, range);
    return inner.begin == inner.end ? skip_value(splicing) : walk(splicing, inner, used);
}

static int walk_object(struct splicing *splicing, struct range range, size_t *used)
{
    size_t size = splicing->path.size;
    bool empty = true;
    int rc = DBK_OK;
    for (splicing->at++;; empty = false) {
        skip_space(splicing);
        if (splicing->at < splicing->end && *splicing->at == ',')
            splicing->at++;
        skip_space(splicing);
        if (splicing->at >= splicing->end)
            return DBK_ECORRUPT;
        if (*splicing->at == '}')
            break;
        const char *name = splicing->at + 1;
        rc = *splicing->at == '"' ? skip_string(splicing) : DBK_ECORRUPT;
        if (rc < 0)
            return rc;
        append_name(&splicing->path, dbk_slice(name, (size_t)(splicing->at - 1 - name)));
        skip_space(splicing);
        if (splicing->at < splicing->end && *splicing->at == ':')
            splicing->at++;
        skip_space(splicing);
        rc = walk_member(splicing, range, true, used);
        splicing->path.size = size;
        if (rc < 0)
            return rc;
    }
    add_members(splicing, range, empty, used);
    splicing->at++;
    return DBK_OK;
}

/* The path ends with the array's '['. */
static int walk_array(struct splicing *splicing, struct range range, size_t *used)
{
    size_t size = splicing->path.size;
    int rc = DBK_OK;
    splicing->at++;
    for (unsigned i = 0;; i++) {
        skip_space(splicing);
        if (splicing->at < splicing->end && *splicing->at == ',')
            splicing->at++;
        skip_space(splicing);
        if (splicing->at >= splicing->end)
            return DBK_ECORRUPT;
        if (*splicing->at == ']')
            break;
        dbk_buf_append_format(&splicing->path, "%u]", i);
        rc = walk_member(splicing, range, true, used);
        splicing->path.size = size;
        if (rc < 0)
            return rc;
    }
    splicing->at++;
    return DBK_OK;
}

static int walk(struct splicing *splicing, struct range range, size_t *used)
{
    if (++splicing->depth > DBK_JSON_DEPTH_MAX)
        return DBK_ECORRUPT;
    int rc = *splicing->at == '{' ? walk_object(splicing, range, used)
                                  : walk_array(splicing, range, used);
    splicing->depth--;
    return rc;
}

/* Most fields are members of the data itself: then its last brace is all that matters. */
static bool splice_flat(struct dbk_slice data, const struct dbk_field *fields, size_t count,
                        struct dbk_buf *out)
{
    size_t begin = 0;
    size_t close = data.size;
    while (begin < data.size && is_space(data.data[begin]))
        begin++;
    while (close > 0 && is_space(data.data[close - 1]))
        close--;
    if (close < begin + 2 || data.data[begin] != '{' || data.data[close - 1] != '}')
        return false;
    for (size_t i = 0; i < count; i++)
        if (last_name(fields[i].path, 0).data == NULL)
            return false;
    size_t before = --close;
    while (before > 0 && is_space(data.data[before - 1]))
        before--;
    bool empty = before == begin + 1;
    dbk_buf_append(out, dbk_slice(data.data, close));
    for (size_t i = 0; i < count; i++) {
        if (!empty)
            dbk_buf_append_char(out, ',');
        append_member(out, fields[i].path, fields[i].value);
        empty = false;
    }
    dbk_buf_append(out, dbk_slice(data.data + close, data.size - close));
    return true;
}

int dbk_fields_splice(struct dbk_slice data, const struct dbk_field *fields, size_t count,
                      struct dbk_buf *out)
{
    struct splicing splicing = {.at = data.data,
                                .end = data.data + data.size,
                                .copied = data.data,
                                .out = out,
                                .fields = fields};
    size_t used = 0;
    if (splice_flat(data, fields, count, out))
        return out->rc;
    dbk_buf_init(&splicing.path, (size_t)1 << 20);
    skip_space(&splicing);
    int rc = walk_member(&splicing, (struct range){0, count}, false, &used);
    splicing.at = splicing.end;
    if (rc == DBK_OK)
        copy_up_to_here(&splicing);
    if (rc == DBK_OK && used != count)
        rc = DBK_ECORRUPT;
    if (rc == DBK_OK && splicing.path.rc < 0)
        rc = splicing.path.rc;
    dbk_buf_release(&splicing.path);
    return rc < 0 ? rc : out->rc;
}

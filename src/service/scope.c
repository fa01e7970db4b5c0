/* SPDX-License-Identifier: Apache-2.0 */
#include "service/scope.h"

#include <string.h>

#include "store/store.h"

static const char *const words[DBK_SCOPE_COUNT] = {
    [DBK_SCOPE_APPEND] = "append",   [DBK_SCOPE_READ] = "read",
    [DBK_SCOPE_MODEL] = "model",     [DBK_SCOPE_OPERATE] = "operate",
    [DBK_SCOPE_VIEW] = "view",       [DBK_SCOPE_QUERY] = "query",
    [DBK_SCOPE_COMMAND] = "command", [DBK_SCOPE_GROUP] = "group",
    [DBK_SCOPE_CAPTURE] = "capture", [DBK_SCOPE_FORGET] = "forget",
    [DBK_SCOPE_METRICS] = "metrics", [DBK_SCOPE_READ_ONLY] = "read-only",
    [DBK_SCOPE_ADMIN] = "admin",
};

const char *dbk_scope_word(enum dbk_scope_kind kind)
{
    return words[kind];
}

bool dbk_scope_has_name(enum dbk_scope_kind kind)
{
    return kind < DBK_SCOPE_FORGET;
}

static bool is_of_streams(enum dbk_scope_kind kind)
{
    return kind == DBK_SCOPE_APPEND || kind == DBK_SCOPE_READ;
}

/* A star may end a pattern, and stands nowhere else; control characters stand nowhere. */
static bool is_pattern(struct dbk_slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if (byte <= ' ' || byte == ',' || byte == 0x7f || (byte == '*' && i + 1 < text.size))
            return false;
    }
    return text.size > 0 && dbk_slice_is_utf8(text);
}

static int malformed(struct dbk_slice text, struct dbk_error *err)
{
    bool plain = dbk_slice_is_utf8(text);
    return dbk_error_set(err, DBK_EINVAL,
                         "\"%.*s\" is no scope: write read:NAME, append:NAME, model:NAME, "
                         "operate:NAME, view:NAME, query:NAME, command:NAME, "
                         "command:NAME/STREAMS, group:NAME, capture:SERVICE, forget, metrics, "
                         "read-only or admin; a name may end with *",
                         plain ? (int)(text.size < 80 ? text.size : 80) : 0, text.data);
}

int dbk_scope_parse(struct dbk_slice text, struct dbk_scope *scope_out, struct dbk_error *err)
{
    const char *colon = text.size == 0 ? NULL : memchr(text.data, ':', text.size);
    struct dbk_slice word = text;
    if (text.size > DBK_SCOPE_SIZE_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "a scope has at most %d bytes", DBK_SCOPE_SIZE_MAX);
    if (colon != NULL)
        word.size = (size_t)(colon - text.data);
    for (int kind = 0; kind < DBK_SCOPE_COUNT; kind++) {
        bool named = dbk_scope_has_name((enum dbk_scope_kind)kind);
        if (!dbk_slice_equal_text(word, words[kind]) || named != (colon != NULL))
            continue;
        struct dbk_slice pattern = {0};
        if (colon != NULL)
            pattern = dbk_slice(colon + 1, text.size - word.size - 1);
        struct dbk_slice streams = {0};
        const char *slash = kind != DBK_SCOPE_COMMAND || pattern.size == 0
                                ? NULL
                                : memchr(pattern.data, '/', pattern.size);
        if (slash != NULL) {
            size_t size = (size_t)(slash - pattern.data);
            streams = dbk_slice(slash + 1, pattern.size - size - 1);
            pattern.size = size;
        }
        if ((named && !is_pattern(pattern)) || (slash != NULL && !is_pattern(streams)))
            break;
        *scope_out = (struct dbk_scope){(enum dbk_scope_kind)kind, pattern, streams, text};
        return DBK_OK;
    }
    return malformed(text, err);
}

static bool is_open(struct dbk_slice pattern)
{
    return pattern.size > 0 && pattern.data[pattern.size - 1] == '*';
}

static bool is_own(struct dbk_slice stream)
{
    return stream.size > 0 && stream.data[0] == '$';
}

/* What names must begin with, where the pattern ends with a star. Those of the book's own streams
   are meant only when it says so. */
static bool begins(struct dbk_slice pattern, struct dbk_slice name)
{
    struct dbk_slice prefix = dbk_slice(pattern.data, pattern.size - 1);
    return dbk_slice_starts_with(name, prefix) && (prefix.size > 0 || !is_own(name));
}

static bool is_category(struct dbk_slice pattern)
{
    return !is_open(pattern) && memchr(pattern.data, '-', pattern.size) == NULL;
}

static bool fits_stream(struct dbk_slice pattern, struct dbk_slice stream)
{
    if (is_open(pattern))
        return begins(pattern, stream);
    return is_category(pattern) ? dbk_slice_equal(dbk_stream_category(stream), pattern)
                                : dbk_slice_equal(stream, pattern);
}

/* What scopes of another kind, or without a name, are enough for. */
static bool is_enough(const struct dbk_scope *scope, enum dbk_scope_kind kind)
{
    if (scope->kind == DBK_SCOPE_ADMIN)
        return true;
    if (scope->kind == DBK_SCOPE_READ_ONLY)
        return kind == DBK_SCOPE_READ || kind == DBK_SCOPE_MODEL || kind == DBK_SCOPE_VIEW ||
               kind == DBK_SCOPE_QUERY || kind == DBK_SCOPE_CAPTURE || kind == DBK_SCOPE_METRICS ||
               kind == DBK_SCOPE_READ_ONLY;
    return scope->kind == kind && !dbk_scope_has_name(kind);
}

bool dbk_scope_allows(const struct dbk_scope *scope, enum dbk_scope_kind kind,
                      struct dbk_slice name)
{
    if (is_enough(scope, kind))
        return true;
    if (scope->kind != kind || !dbk_scope_has_name(kind) || name.size == 0)
        return false;
    if (is_of_streams(kind))
        return fits_stream(scope->pattern, name);
    return is_open(scope->pattern) ? begins(scope->pattern, name)
                                   : dbk_slice_equal(scope->pattern, name);
}

bool dbk_scope_covers_category(const struct dbk_scope *scope, enum dbk_scope_kind kind,
                               struct dbk_slice category)
{
    if (is_enough(scope, kind))
        return true;
    if (scope->kind != kind)
        return false;
    return is_open(scope->pattern) ? begins(scope->pattern, category)
                                   : dbk_slice_equal(scope->pattern, category);
}

bool dbk_scope_covers_prefix(const struct dbk_scope *scope, enum dbk_scope_kind kind,
                             struct dbk_slice prefix)
{
    if (is_enough(scope, kind))
        return true;
    if (scope->kind != kind || prefix.size == 0)
        return false;
    if (is_open(scope->pattern))
        return begins(scope->pattern, prefix);
    return is_category(scope->pattern) && prefix.size > scope->pattern.size &&
           dbk_slice_starts_with(prefix, scope->pattern) && prefix.data[scope->pattern.size] == '-';
}

/* ---- Whether there may be something in common ---- */

static bool starts_either(struct dbk_slice one, struct dbk_slice other)
{
    return dbk_slice_starts_with(one, other) || dbk_slice_starts_with(other, one);
}

bool dbk_scope_meets_category(const struct dbk_scope *scope, enum dbk_scope_kind kind,
                              struct dbk_slice category)
{
    if (dbk_scope_covers_category(scope, kind, category))
        return true;
    if (scope->kind != kind || category.size == 0)
        return false;
    /* A stream of the category, or all whose names begin so and go on behind its dash. */
    struct dbk_slice pattern = scope->pattern;
    return pattern.size > category.size && dbk_slice_starts_with(pattern, category) &&
           pattern.data[category.size] == '-';
}

bool dbk_scope_meets_prefix(const struct dbk_scope *scope, enum dbk_scope_kind kind,
                            struct dbk_slice prefix)
{
    if (dbk_scope_covers_prefix(scope, kind, prefix))
        return true;
    if (scope->kind != kind || prefix.size == 0)
        return false;
    struct dbk_slice pattern = scope->pattern;
    if (is_open(pattern)) {
        pattern.size--;
        return pattern.size > 0 && starts_either(pattern, prefix);
    }
    /* Of a category the names are its own, and those with a dash behind it. */
    if (is_category(pattern) && prefix.size > pattern.size)
        return dbk_slice_starts_with(prefix, pattern) && prefix.data[pattern.size] == '-';
    return dbk_slice_starts_with(pattern, prefix);
}

bool dbk_scope_allows_command(const struct dbk_scope *scope, struct dbk_slice name,
                              struct dbk_slice stream)
{
    return dbk_scope_allows(scope, DBK_SCOPE_COMMAND, name) &&
           (scope->streams.size == 0 || (stream.size > 0 && fits_stream(scope->streams, stream)));
}

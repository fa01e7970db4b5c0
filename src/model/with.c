/* SPDX-License-Identifier: Apache-2.0 */
#include "model/with.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#include "base/assert.h"

#define STATE_SIZE_MAX ((size_t)64 << 20)
#define EXAMPLE "write `with: product = product-{product_id}`"

struct reader {
    struct dbk_slice text; /* the handler's */
    struct dbk_withs *withs;
    struct dbk_arena *arena;
    size_t offset; /* of what is being read */
    const char *fix;
    struct dbk_error *err;
};

static size_t offset_of(const struct reader *reader, struct dbk_slice part)
{
    return (size_t)(part.data - reader->text.data);
}

static int refuse(struct reader *reader, struct dbk_slice at, const char *fix, const char *what)
{
    reader->offset = offset_of(reader, at);
    reader->fix = fix;
    return dbk_error_set(reader->err, DBK_EINVAL, "%s", what);
}

static struct dbk_slice trim(struct dbk_slice text)
{
    while (text.size > 0 && isspace((unsigned char)text.data[0]))
        text = dbk_slice(text.data + 1, text.size - 1);
    while (text.size > 0 && isspace((unsigned char)text.data[text.size - 1]))
        text.size--;
    return text;
}

static struct dbk_slice behind(struct dbk_slice text, size_t size)
{
    return dbk_slice(text.data + size, text.size - size);
}

static bool is_name(struct dbk_slice name)
{
    for (size_t i = 0; i < name.size; i++) {
        if (!isalnum((unsigned char)name.data[i]) && name.data[i] != '_')
            return false;
    }
    return name.size > 0 && isalpha((unsigned char)name.data[0]);
}

/* {a.b}: a member of the event's data. */
static int read_member(struct reader *reader, struct dbk_slice member, struct dbk_with_part *part)
{
    for (struct dbk_slice rest = member;;) {
        const char *dot = rest.size == 0 ? NULL : memchr(rest.data, '.', rest.size);
        size_t size = dot == NULL ? rest.size : (size_t)(dot - rest.data);
        if (size == 0 || part->path_count == DBK_WITH_PATH_MAX || rest.data[0] == '_')
            return refuse(reader, member, EXAMPLE,
                          "between { and } stands a member of the event's data");
        part->path[part->path_count++] = dbk_slice(rest.data, size);
        if (dot == NULL)
            return DBK_OK;
        rest = behind(rest, size + 1);
    }
}

static int read_parts(struct reader *reader, struct dbk_slice stream, struct dbk_with *with)
{
    with->parts = dbk_arena_alloc_zero(reader->arena, stream.size + 1, sizeof(*with->parts));
    if (with->parts == NULL)
        return dbk_error_set(reader->err, DBK_ENOMEM, "out of memory reading a handler");
    while (stream.size > 0) {
        struct dbk_with_part *part = &with->parts[with->part_count++];
        bool member = stream.data[0] == '{';
        const char *end = memchr(stream.data, member ? '}' : '{', stream.size);
        size_t size = end == NULL ? stream.size : (size_t)(end - stream.data);
        if (member && end == NULL)
            return refuse(reader, stream, EXAMPLE, "a { is not closed");
        int rc = DBK_OK;
        if (member)
            rc = read_member(reader, dbk_slice(stream.data + 1, size - 1), part);
        else
            part->text = dbk_slice(stream.data, size);
        if (rc < 0)
            return rc;
        stream = behind(stream, size + member);
    }
    return DBK_OK;
}

/* What stands before the first dash, which must be written out. */
static int read_category(struct reader *reader, struct dbk_slice stream, struct dbk_with *with)
{
    const struct dbk_with_part *first = &with->parts[0];
    const char *dash =
        first->path_count > 0 ? NULL : memchr(first->text.data, '-', first->text.size);
    if (first->path_count > 0 || (dash == NULL && with->part_count > 1))
        return refuse(reader, stream, EXAMPLE,
                      "the category, up to the stream's first dash, has to be written out");
    with->category =
        dash == NULL ? first->text : dbk_slice(first->text.data, (size_t)(dash - first->text.data));
    return with->category.size > 0
               ? DBK_OK
               : refuse(reader, stream, EXAMPLE, "the stream has no category before its dash");
}

static int read_stream(struct reader *reader, struct dbk_slice stream, struct dbk_with *with)
{
    for (size_t i = 0; i < stream.size; i++) {
        if (isspace((unsigned char)stream.data[i]))
            return refuse(reader, stream, "one stream stands in a line", "a stream has no blanks");
    }
    if (stream.size == 0)
        return refuse(reader, stream, EXAMPLE, "the stream is missing");
    with->stream = stream;
    if (dbk_slice_equal_text(stream, "{_stream}"))
        return DBK_OK;
    int rc = read_parts(reader, stream, with);
    return rc < 0 ? rc : read_category(reader, stream, with);
}

/* product = product-{product_id} */
static int read_line(struct reader *reader, struct dbk_slice line)
{
    struct dbk_withs *withs = reader->withs;
    const char *equals = line.size == 0 ? NULL : memchr(line.data, '=', line.size);
    size_t size = equals == NULL ? 0 : (size_t)(equals - line.data);
    struct dbk_slice name = trim(dbk_slice(line.data, size));
    if (equals == NULL)
        return refuse(reader, line, EXAMPLE, "`with:` has a name, = and a stream");
    if (!is_name(name))
        return refuse(reader, line, EXAMPLE,
                      "the name has letters, digits and _, and begins with a letter");
    if (dbk_withs_find(withs, name) < withs->count)
        return refuse(reader, name, "give one of them another name", "the name stands twice");
    if (withs->count == DBK_WITHS_MAX)
        return refuse(reader, name, "take fewer", "a handler has at most 8 streams with it");
    struct dbk_with *with = &withs->items[withs->count];
    *with = (struct dbk_with){.name = name};
    int rc = read_stream(reader, trim(behind(line, size + 1)), with);
    withs->count += rc == DBK_OK;
    return rc;
}

/* `with:`, or what is nearly that. */
static int read_comment(struct reader *reader, struct dbk_slice comment, bool head)
{
    struct dbk_slice text = trim(behind(comment, 2));
    if (text.size < 5 || strncasecmp(text.data, "with", 4) != 0)
        return DBK_OK;
    struct dbk_slice rest = trim(behind(text, 4));
    if (rest.size == 0 || rest.data[0] != ':')
        return DBK_OK;
    if (!dbk_slice_starts_with(text, DBK_SLICE_LITERAL("with:")))
        return refuse(reader, text, "did you mean `with:`?", "this names no stream");
    if (!head)
        return refuse(reader, text, "put it before the first statement",
                      "`with:` stands behind a statement");
    return read_line(reader, trim(behind(text, 5)));
}

static int read_all(struct reader *reader, const char *sign)
{
    bool head = true;
    int rc = DBK_OK;
    for (size_t at = 0; rc == DBK_OK && at < reader->text.size;) {
        struct dbk_slice rest = behind(reader->text, at);
        const char *end = memchr(rest.data, '\n', rest.size);
        size_t size = end == NULL ? rest.size : (size_t)(end - rest.data);
        struct dbk_slice line = trim(dbk_slice(rest.data, size));
        bool comment = line.size >= 2 && memcmp(line.data, sign, 2) == 0;
        head = head && (comment || line.size == 0);
        if (comment)
            rc = read_comment(reader, line, head);
        at += size + 1;
    }
    return rc;
}

int dbk_withs_read(struct dbk_withs *withs, struct dbk_slice text, enum dbk_dialect dialect,
                   struct dbk_arena *arena, size_t *offset_out, const char **fix_out,
                   struct dbk_error *err)
{
    struct reader reader = {.text = text, .withs = withs, .arena = arena, .err = err};
    *withs = (struct dbk_withs){0};
    int rc = read_all(&reader, dbk_dialect_is_sql(dialect) ? "--" : "//");
    *offset_out = reader.offset;
    *fix_out = reader.fix;
    return rc;
}

void dbk_withs_release(struct dbk_withs *withs)
{
    for (size_t i = 0; i < withs->count; i++)
        dbk_json_free(withs->json[i]);
    *withs = (struct dbk_withs){0};
}

size_t dbk_withs_find(const struct dbk_withs *withs, struct dbk_slice parameter)
{
    const char *dot = parameter.size == 0 ? NULL : memchr(parameter.data, '.', parameter.size);
    struct dbk_slice first =
        dbk_slice(parameter.data, dot == NULL ? parameter.size : (size_t)(dot - parameter.data));
    size_t at = 0;
    while (at < withs->count && !dbk_slice_equal(withs->items[at].name, first))
        at++;
    return at;
}

struct categories {
    struct dbk_slice *items;
    size_t count;
};

static void add_category(struct categories *categories, struct dbk_slice category)
{
    for (size_t i = 0; i < categories->count; i++) {
        if (dbk_slice_equal(categories->items[i], category))
            return;
    }
    categories->items[categories->count++] = category;
}

int dbk_withs_categories(const struct dbk_model_definition *definition, struct dbk_arena *arena,
                         struct dbk_slice **categories_out, size_t *count_out)
{
    struct categories all = {0};
    size_t room = definition->handler_count * DBK_WITHS_MAX + definition->category_count;
    all.items = dbk_arena_alloc_zero(arena, room + 1, sizeof(*all.items));
    if (all.items == NULL)
        return DBK_ENOMEM;
    for (size_t i = 0; i < definition->handler_count; i++) {
        struct dbk_withs withs;
        size_t offset = 0;
        const char *fix = NULL;
        int rc = dbk_withs_read(&withs, definition->handlers[i].sql,
                                dbk_target_dialect(definition->database_path), arena, &offset, &fix,
                                NULL);
        if (rc == DBK_ENOMEM)
            return rc;
        for (size_t j = 0; j < withs.count; j++) {
            if (withs.items[j].category.size > 0)
                add_category(&all, withs.items[j].category);
            for (size_t k = 0; withs.items[j].category.size == 0 && k < definition->category_count;
                 k++)
                add_category(&all, definition->categories[k]);
        }
        dbk_withs_release(&withs);
    }
    *categories_out = all.items;
    *count_out = all.count;
    return DBK_OK;
}

/* ---- For an event ---- */

/* A member that is no text and no whole number names no stream. */
static bool put_member(const struct dbk_with_part *part, const struct dbk_json_node *root,
                       char *name, size_t *size)
{
    const struct dbk_json_node *node = root;
    size_t room = DBK_STREAM_SIZE_MAX - *size;
    for (size_t i = 0; i < part->path_count && node != NULL; i++)
        node = dbk_json_member_slice(node, part->path[i]);
    if (node != NULL && node->kind == DBK_JSON_STRING && node->text.size <= room) {
        if (node->text.size > 0)
            memcpy(name + *size, node->text.data, node->text.size);
        *size += node->text.size;
        return true;
    }
    if (node == NULL || node->kind != DBK_JSON_INTEGER)
        return false;
    int digits = snprintf(name + *size, room + 1, "%lld", (long long)node->integer);
    *size += (size_t)digits;
    return (size_t)digits <= room;
}

static bool name_stream(const struct dbk_with *with, const struct dbk_event *event,
                        const struct dbk_json_node *root, char name[DBK_STREAM_SIZE_MAX + 1],
                        struct dbk_slice *stream_out)
{
    size_t size = 0;
    if (with->category.size == 0) {
        *stream_out = event->stream;
        return true;
    }
    for (size_t i = 0; i < with->part_count; i++) {
        const struct dbk_with_part *part = &with->parts[i];
        if (part->path_count > 0) {
            if (!put_member(part, root, name, &size))
                return false;
            continue;
        }
        if (part->text.size > DBK_STREAM_SIZE_MAX - size)
            return false;
        memcpy(name + size, part->text.data, part->text.size);
        size += part->text.size;
    }
    *stream_out = dbk_slice(name, size);
    return true;
}

static int look_at(struct dbk_withs *withs, size_t index, struct dbk_states *states,
                   const struct dbk_event *event, const struct dbk_json_node *root,
                   struct dbk_error *err)
{
    char name[DBK_STREAM_SIZE_MAX + 1];
    struct dbk_slice stream;
    struct dbk_slice state;
    withs->states[index] = NULL;
    if (!name_stream(&withs->items[index], event, root, name, &stream))
        return DBK_OK;
    int rc = dbk_states_at(states, stream, event->position, event->time_us, &state, err);
    if (rc <= 0)
        return rc;
    if (withs->json[index] == NULL)
        withs->json[index] = dbk_json_create(STATE_SIZE_MAX);
    if (withs->json[index] == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reading a state");
    return dbk_json_parse(withs->json[index], state, &withs->states[index], err);
}

int dbk_withs_look(struct dbk_withs *withs, struct dbk_states *states,
                   const struct dbk_event *event, const struct dbk_json_node *root,
                   struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < withs->count; i++)
        rc = look_at(withs, i, states, event, root, err);
    return rc;
}

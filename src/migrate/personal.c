/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/personal.h"

#include "log/sealed.h"
#include "migrate/map.h"
#include "vault/fields.h"

#define TEXT_SIZE_MAX ((size_t)64 << 20)

struct dbk_migrate_personal {
    struct dbk_migrate_personal_options options;
    struct dbk_json *old;
    struct dbk_json *made;
    struct dbk_json *clear;
    struct dbk_buf text;
};

/* An event and one that it becomes. */
struct looking {
    struct dbk_migrate_personal *personal;
    const struct dbk_event *event;
    const struct dbk_new_event *made;
    const struct dbk_json_node *old;
    const struct dbk_json_node *new;
    const struct dbk_json_node *clear; /* what stays of it unsealed */
};

struct dbk_migrate_personal *
dbk_migrate_personal_create(const struct dbk_migrate_personal_options *options)
{
    struct dbk_migrate_personal *personal = dbk_alloc_zero(1, sizeof(*personal));
    if (personal == NULL)
        return NULL;
    personal->options = *options;
    dbk_buf_init(&personal->text, TEXT_SIZE_MAX);
    personal->old = dbk_json_create(TEXT_SIZE_MAX);
    personal->made = dbk_json_create(TEXT_SIZE_MAX);
    personal->clear = dbk_json_create(TEXT_SIZE_MAX);
    if (personal->old != NULL && personal->made != NULL && personal->clear != NULL)
        return personal;
    dbk_migrate_personal_free(personal);
    return NULL;
}

void dbk_migrate_personal_free(struct dbk_migrate_personal *personal)
{
    if (personal == NULL)
        return;
    dbk_json_free(personal->old);
    dbk_json_free(personal->made);
    dbk_json_free(personal->clear);
    dbk_buf_release(&personal->text);
    dbk_free(personal);
}

/* ---- Values at a path (vault/fields.h) ---- */

static const struct dbk_json_node *element_at(const struct dbk_json_node *array, uint64_t index)
{
    if (array->kind != DBK_JSON_ARRAY || index >= array->count)
        return NULL;
    const struct dbk_json_node *element = dbk_json_first(array);
    for (; index > 0; index--)
        element = dbk_json_sibling(element);
    return element;
}

/* The element that "[n]" names; *at_out is behind it. */
static const struct dbk_json_node *follow_element(const struct dbk_json_node *node,
                                                  struct dbk_slice path, size_t *at_out)
{
    uint64_t index = 0;
    size_t begin = *at_out + 1;
    size_t end = begin;
    while (end < path.size && path.data[end] != ']')
        end++;
    *at_out = end + 1;
    return dbk_slice_to_u64(dbk_slice(path.data + begin, end - begin), &index)
               ? element_at(node, index)
               : NULL;
}

/* The member that a name, whose special characters stand behind a '\\', names. */
static const struct dbk_json_node *follow_member(struct dbk_buf *text,
                                                 const struct dbk_json_node *node,
                                                 struct dbk_slice path, size_t *at_out)
{
    size_t at = *at_out;
    dbk_buf_reset(text);
    for (; at < path.size && path.data[at] != '.' && path.data[at] != '['; at++) {
        at += path.data[at] == '\\' && at + 1 < path.size;
        dbk_buf_append_char(text, path.data[at]);
    }
    *at_out = at;
    return text->rc < 0 || node->kind != DBK_JSON_OBJECT
               ? NULL
               : dbk_json_member_slice(node, dbk_buf_slice(text));
}

static const struct dbk_json_node *value_at(struct dbk_buf *text, const struct dbk_json_node *node,
                                            struct dbk_slice path)
{
    for (size_t at = 0; node != NULL && at < path.size;) {
        if (path.data[at] == '[') {
            node = follow_element(node, path, &at);
        } else {
            at += path.data[at] == '.';
            node = follow_member(text, node, path, &at);
        }
    }
    return node;
}

/* Whether anything is in it but empty objects and arrays, and nulls. */
static bool has_value(const struct dbk_json_node *node)
{
    if (node->kind == DBK_JSON_NULL)
        return false;
    if (node->kind != DBK_JSON_OBJECT && node->kind != DBK_JSON_ARRAY)
        return true;
    const struct dbk_json_node *child = dbk_json_first(node);
    for (uint32_t i = 0; i < node->count; i++, child = dbk_json_sibling(child))
        if (has_value(child))
            return true;
    return false;
}

static bool is_forgotten(const struct dbk_json_node *node)
{
    return node->kind == DBK_JSON_OBJECT && node->count == 1 &&
           dbk_slice_equal_text(dbk_json_first(node)->key, "$forgotten");
}

/* ---- Fields ---- */

/* "Type.lines[].note" of lines[3].note. */
static struct dbk_slice name_of(struct looking *looking, struct dbk_slice path)
{
    struct dbk_buf *text = &looking->personal->text;
    dbk_buf_reset(text);
    dbk_buf_append(text, looking->event->type);
    dbk_buf_append_char(text, '.');
    bool skip = false;
    for (size_t i = 0; i < path.size; i++) {
        bool escaped = i > 0 && path.data[i - 1] == '\\';
        skip = skip && path.data[i] != ']';
        if (!skip)
            dbk_buf_append_char(text, path.data[i]);
        skip = skip || (path.data[i] == '[' && !escaped);
    }
    return dbk_buf_slice(text);
}

static int check_field(struct looking *looking, struct dbk_slice path, struct dbk_error *err)
{
    struct dbk_buf *text = &looking->personal->text;
    const struct dbk_json_node *old = value_at(text, looking->old, path);
    const struct dbk_json_node *new = value_at(text, looking->new, path);
    const struct dbk_json_node *clear = value_at(text, looking->clear, path);
    if (old == NULL || new == NULL || clear == NULL || !has_value(clear) || is_forgotten(clear) ||
        !dbk_json_same(old, new))
        return DBK_OK;
    struct dbk_slice name = name_of(looking, path);
    if (dbk_migrate_names_find(looking->personal->options.plain, name) != NULL)
        return DBK_OK;
    return dbk_error_set(err, DBK_EDENIED,
                         "its personal field %.*s would be plain in the new book, where %.*s does "
                         "not declare it x-personal: declare it there, let the script change or "
                         "drop it, or say plain = { \"%.*s\" } in the script",
                         DBK_SLICE_ARGS(path), DBK_SLICE_ARGS(looking->made->type),
                         DBK_SLICE_ARGS(name));
}

/* The fields that the old book has sealed; its data may have been upcast since. */
static int check_sealed(struct looking *looking, struct dbk_error *err)
{
    struct dbk_sealed_field field;
    struct dbk_slice left;
    uint16_t count = 0;
    int rc = dbk_sealed_open(looking->event->sealed, &count, &left);
    for (uint16_t i = 0; rc == DBK_OK && i < count; i++) {
        rc = dbk_sealed_next(&left, &field);
        rc = rc == 0 ? DBK_ECORRUPT : rc;
        if (rc == 1)
            rc = check_field(looking, field.path, err);
    }
    if (rc == DBK_ECORRUPT)
        return dbk_error_set(err, rc, "its sealed fields make no sense");
    return rc;
}

static int cut(const struct dbk_schema *schema, const struct dbk_json_node *data,
               struct dbk_arena *arena, struct dbk_cut *cut_out, struct dbk_error *err)
{
    size_t count = 0;
    const struct dbk_schema_path *paths =
        schema == NULL ? NULL : dbk_schema_personal(schema, &count);
    *cut_out = (struct dbk_cut){0};
    return count == 0 ? DBK_OK : dbk_fields_cut(data, paths, count, arena, cut_out, err);
}

/* The fields that the old book's schema declares, in what the script was shown. */
static int check_declared(struct looking *looking, struct dbk_arena *arena, struct dbk_error *err)
{
    const struct dbk_migrate_personal_options *options = &looking->personal->options;
    const struct dbk_event *event = looking->event;
    const struct dbk_schema *schema = NULL;
    struct dbk_cut fields;
    if (options->source != NULL)
        schema = options->as_written
                     ? dbk_schemas_find(options->source, event->type, event->schema_version)
                     : dbk_schemas_newest(options->source, event->type);
    int rc = cut(schema, looking->old, arena, &fields, err);
    for (size_t i = 0; rc == DBK_OK && i < fields.count; i++)
        rc = check_field(looking, fields.fields[i].path, err);
    return rc;
}

int dbk_migrate_personal_check(struct dbk_migrate_personal *personal, const struct dbk_event *event,
                               const struct dbk_new_event *made, struct dbk_arena *arena,
                               struct dbk_error *err)
{
    const struct dbk_schemas *target = personal->options.target;
    struct looking looking = {.personal = personal, .event = event, .made = made};
    const struct dbk_schema *schema = NULL;
    struct dbk_cut kept;
    if (event->sealed.size == 0 || (made->flags & DBK_RECORD_JSON) == 0)
        return DBK_OK;
    if (target != NULL)
        schema = made->schema_version == 0
                     ? dbk_schemas_newest(target, made->type)
                     : dbk_schemas_find(target, made->type, made->schema_version);
    int rc = dbk_json_parse(personal->old, event->data, &looking.old, err);
    if (rc == DBK_OK)
        rc = dbk_json_parse(personal->made, made->data, &looking.new, err);
    if (rc == DBK_OK)
        rc = cut(schema, looking.new, arena, &kept, err);
    looking.clear = looking.new;
    if (rc == DBK_OK && kept.count > 0)
        rc = dbk_json_parse(personal->clear, kept.data, &looking.clear, err);
    if (rc == DBK_OK)
        rc = check_sealed(&looking, err);
    return rc < 0 ? rc : check_declared(&looking, arena, err);
}

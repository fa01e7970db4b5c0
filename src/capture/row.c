/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/row.h"

#include "base/assert.h"
#include "json/json.h"

/* PostgreSQL's own limit of a value is 1 GiB; an event's is far less. */
#define IMAGE_SIZE_MAX ((size_t)64 << 20)
#define NAMES_SIZE_MAX ((size_t)16 << 20)

/* A captured column of a shape. */
struct column {
    size_t index;          /* in the shape */
    struct dbk_slice name; /* as the source has it */
    struct dbk_slice key;  /* `"name":` */
    bool masked;
};

/* What is known of a table. */
struct table {
    const struct dbk_capture_table *definition;
    struct dbk_slice category;
    struct dbk_slice types[3];
    uint64_t shape; /* the number of the one that `columns` are of; with `columns` NULL: none */
    struct dbk_arena arena;
    struct column *columns;
    size_t count;
};

struct dbk_rows_writer {
    const struct dbk_capture_service *service;
    struct dbk_arena arena;
    struct table *tables;
    struct dbk_buf image;
    struct dbk_buf data;
    struct dbk_json *json;
    struct dbk_json *other;
};

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory writing a row");
}

static struct dbk_slice format(struct dbk_arena *arena, const char *first, const char *second)
{
    return dbk_slice_of(dbk_arena_format(arena, "%s.%s", first, second));
}

static bool name_table(struct dbk_rows_writer *writer, size_t index)
{
    static const char *const changes[] = {"insert", "update", "delete"};
    struct table *table = &writer->tables[index];
    const char *name = writer->service->tables[index].name;
    table->definition = &writer->service->tables[index];
    dbk_arena_init(&table->arena, NAMES_SIZE_MAX);
    table->category = format(&writer->arena, writer->service->name, name);
    for (size_t i = 0; i < 3; i++) {
        table->types[i] = format(&writer->arena, name, changes[i]);
        if (table->types[i].data == NULL)
            return false;
    }
    return table->category.data != NULL;
}

struct dbk_rows_writer *dbk_rows_writer_create(const struct dbk_capture_service *service)
{
    struct dbk_rows_writer *writer = dbk_alloc_zero(1, sizeof(*writer));
    if (writer == NULL)
        return NULL;
    writer->service = service;
    dbk_arena_init(&writer->arena, NAMES_SIZE_MAX);
    dbk_buf_init(&writer->image, IMAGE_SIZE_MAX);
    dbk_buf_init(&writer->data, 2 * IMAGE_SIZE_MAX + 64);
    writer->json = dbk_json_create(IMAGE_SIZE_MAX);
    writer->other = dbk_json_create(IMAGE_SIZE_MAX);
    writer->tables =
        dbk_arena_alloc_zero(&writer->arena, service->table_count + 1, sizeof(*writer->tables));
    bool good = writer->json != NULL && writer->other != NULL && writer->tables != NULL;
    for (size_t i = 0; good && i < service->table_count; i++)
        good = name_table(writer, i);
    if (!good) {
        dbk_rows_writer_free(writer);
        return NULL;
    }
    return writer;
}

void dbk_rows_writer_free(struct dbk_rows_writer *writer)
{
    if (writer == NULL)
        return;
    for (size_t i = 0; writer->tables != NULL && i < writer->service->table_count; i++)
        dbk_arena_release(&writer->tables[i].arena);
    dbk_arena_release(&writer->arena);
    dbk_buf_release(&writer->image);
    dbk_buf_release(&writer->data);
    dbk_json_free(writer->json);
    dbk_json_free(writer->other);
    dbk_free(writer);
}

struct dbk_slice dbk_rows_writer_category(const struct dbk_rows_writer *writer, size_t table)
{
    return writer->tables[table].category;
}

struct dbk_slice dbk_rows_writer_type(const struct dbk_rows_writer *writer, size_t table,
                                      enum dbk_row_change change)
{
    return writer->tables[table].types[change];
}

/* ---- Columns ---- */

static bool is_listed(const char *const *names, size_t count, struct dbk_slice name)
{
    for (size_t i = 0; i < count; i++) {
        if (dbk_slice_equal_text(name, names[i]))
            return true;
    }
    return false;
}

/* A column that is named in the settings, and not there, would be missed in silence. */
static int check_named(const struct dbk_rows_writer *writer, const struct table *table,
                       const struct dbk_change_shape *shape, const char *const *names, size_t count,
                       struct dbk_error *err)
{
    for (size_t i = 0; i < count; i++) {
        bool found = false;
        for (size_t j = 0; j < shape->count && !found; j++)
            found = dbk_slice_equal_text(shape->names[j], names[i]);
        if (!found)
            return dbk_error_set(
                err, DBK_ENOTFOUND,
                "%s:%u:%u: the table `%s` has no column `%s`, which is named there",
                writer->service->file, table->definition->line, table->definition->column,
                table->definition->name, names[i]);
    }
    return DBK_OK;
}

static int take_shape(struct dbk_rows_writer *writer, struct table *table,
                      const struct dbk_change_shape *shape, struct dbk_error *err)
{
    const struct dbk_capture_table *definition = table->definition;
    struct dbk_buf key;
    int rc = check_named(writer, table, shape, definition->columns, definition->column_count, err);
    if (rc == DBK_OK)
        rc = check_named(writer, table, shape, definition->masked, definition->masked_count, err);
    if (rc == DBK_OK)
        rc = check_named(writer, table, shape, definition->personal, definition->personal_count,
                         err);
    if (rc < 0)
        return rc;
    dbk_arena_reset(&table->arena);
    table->count = 0;
    table->columns = dbk_arena_alloc_zero(&table->arena, shape->count + 1, sizeof(struct column));
    if (table->columns == NULL)
        return no_memory(err);
    dbk_buf_init(&key, NAMES_SIZE_MAX);
    for (size_t i = 0; i < shape->count; i++) {
        if (definition->column_count > 0 &&
            !is_listed(definition->columns, definition->column_count, shape->names[i]))
            continue;
        dbk_buf_reset(&key);
        dbk_json_write_string(&key, shape->names[i]);
        dbk_buf_append_char(&key, ':');
        struct column *column = &table->columns[table->count++];
        column->index = i;
        column->name = dbk_arena_copy(&table->arena, shape->names[i]);
        column->key = dbk_arena_copy(&table->arena, dbk_buf_slice(&key));
        column->masked = is_listed(definition->masked, definition->masked_count, shape->names[i]);
        if (key.rc < 0 || column->key.data == NULL || column->name.data == NULL)
            rc = no_memory(err);
    }
    dbk_buf_release(&key);
    table->shape = shape->number;
    if (rc < 0)
        table->columns = NULL;
    return rc;
}

/* ---- Images ---- */

struct writing {
    struct dbk_rows_writer *writer;
    const struct dbk_change *change;
    struct dbk_slice stream;
    struct dbk_slice base;
    const struct dbk_json_node *root; /* of the base; NULL: not parsed */
};

static int put_unchanged(struct writing *writing, const struct column *column,
                         struct dbk_error *err)
{
    struct dbk_rows_writer *writer = writing->writer;
    const struct dbk_json_node *value = NULL;
    if (writing->base.size > 0 && writing->root == NULL &&
        dbk_json_parse(writer->json, writing->base, &writing->root, err) < 0)
        return DBK_ECORRUPT;
    if (writing->root != NULL)
        value = dbk_json_member_slice(writing->root, column->name);
    if (value == NULL)
        return dbk_error_set(err, DBK_EINVAL,
                             "the column %.*s of %.*s did not change, so the database did not send "
                             "it, and the book does not have it: `daybook capture resnapshot %s` "
                             "reads the tables again",
                             DBK_SLICE_ARGS(column->name), DBK_SLICE_ARGS(writing->stream),
                             writer->service->name);
    dbk_buf_append(&writer->image, value->raw);
    return DBK_OK;
}

static int put_value(struct writing *writing, const struct column *column, struct dbk_error *err)
{
    struct dbk_buf *out = &writing->writer->image;
    const struct dbk_change_value *value = &writing->change->values[column->index];
    if (column->masked && value->kind != DBK_CHANGE_NULL) {
        dbk_buf_append_text(out, "\"" DBK_CAPTURE_MASK "\"");
        return DBK_OK;
    }
    switch (value->kind) {
    case DBK_CHANGE_NULL:
        dbk_buf_append_text(out, "null");
        return DBK_OK;
    case DBK_CHANGE_UNCHANGED:
        return put_unchanged(writing, column, err);
    case DBK_CHANGE_JSON:
        dbk_buf_append(out, value->text);
        return DBK_OK;
    case DBK_CHANGE_TEXT:
        break;
    }
    if (!dbk_slice_is_utf8(value->text))
        return dbk_error_set(err, DBK_EINVAL,
                             "the column %.*s of %.*s is no UTF-8: leave it out of `columns` in "
                             "%s, or store it as bytes",
                             DBK_SLICE_ARGS(column->name), DBK_SLICE_ARGS(writing->stream),
                             writing->writer->service->file);
    dbk_json_write_string(out, value->text);
    return DBK_OK;
}

int dbk_rows_writer_image(struct dbk_rows_writer *writer, const struct dbk_change *change,
                          struct dbk_slice stream, struct dbk_slice base,
                          struct dbk_slice *image_out, struct dbk_error *err)
{
    struct table *table = &writer->tables[change->table];
    struct writing writing = {writer, change, stream, base, NULL};
    int rc = DBK_OK;
    if (table->columns == NULL || table->shape != change->shape->number)
        rc = take_shape(writer, table, change->shape, err);
    dbk_buf_reset(&writer->image);
    dbk_buf_append_char(&writer->image, '{');
    for (size_t i = 0; rc == DBK_OK && i < table->count; i++) {
        if (i > 0)
            dbk_buf_append_char(&writer->image, ',');
        dbk_buf_append(&writer->image, table->columns[i].key);
        rc = put_value(&writing, &table->columns[i], err);
    }
    dbk_buf_append_char(&writer->image, '}');
    if (rc == DBK_OK && writer->image.rc < 0)
        rc = dbk_error_set(err, writer->image.rc, "the row %.*s is too large to be an event",
                           DBK_SLICE_ARGS(stream));
    if (rc == DBK_OK)
        *image_out = dbk_buf_slice(&writer->image);
    return rc;
}

/* Sealed fields that were opened may stand in another order. */
bool dbk_rows_writer_same(struct dbk_rows_writer *writer, struct dbk_slice a, struct dbk_slice b)
{
    const struct dbk_json_node *left = NULL;
    const struct dbk_json_node *right = NULL;
    if (a.size != b.size || a.size == 0)
        return false;
    if (dbk_slice_equal(a, b))
        return true;
    if (dbk_json_parse(writer->json, a, &left, NULL) < 0 ||
        dbk_json_parse(writer->other, b, &right, NULL) < 0 || left->count != right->count)
        return false;
    const struct dbk_json_node *member = dbk_json_first(left);
    for (uint32_t i = 0; i < left->count; i++, member = dbk_json_sibling(member)) {
        const struct dbk_json_node *other = dbk_json_member_slice(right, member->key);
        if (other == NULL || !dbk_slice_equal(member->raw, other->raw))
            return false;
    }
    return true;
}

int dbk_rows_writer_data(struct dbk_rows_writer *writer, struct dbk_slice image,
                         struct dbk_slice old, struct dbk_slice *data_out, struct dbk_error *err)
{
    struct dbk_buf *out = &writer->data;
    dbk_buf_reset(out);
    dbk_buf_append_char(out, '{');
    if (image.size > 0) {
        dbk_buf_append_text(out, "\"new\":");
        dbk_buf_append(out, image);
    }
    if (old.size > 0) {
        dbk_buf_append_text(out, image.size > 0 ? ",\"old\":" : "\"old\":");
        dbk_buf_append(out, old);
    }
    dbk_buf_append_char(out, '}');
    if (out->rc < 0)
        return no_memory(err);
    *data_out = dbk_buf_slice(out);
    return DBK_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/mongodb/document.h"

#include "capture/mongodb/value.h"

#define FIELDS_MAX 2000
#define NAMES_SIZE_MAX ((size_t)16 << 20)
#define VALUE_SIZE_MAX ((size_t)64 << 20)

void dbk_documents_init(struct dbk_documents *documents, const struct dbk_capture_service *service,
                        size_t index)
{
    *documents = (struct dbk_documents){
        .service = service, .table = &service->tables[index], .index = index};
    dbk_arena_init(&documents->arena, NAMES_SIZE_MAX);
}

void dbk_documents_release(struct dbk_documents *documents)
{
    dbk_arena_release(&documents->arena);
}

int dbk_documents_fault(const struct dbk_documents *documents, int code, const char *what,
                        const char *fix, struct dbk_error *err)
{
    return dbk_error_set(err, code, "%s:%u:%u: the collection `%s` %s: %s",
                         documents->service->file, documents->table->line, documents->table->column,
                         documents->table->name, what, fix);
}

static int no_memory(const struct dbk_documents *documents, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory reading %s.%s", documents->service->name,
                         documents->table->name);
}

/* What a document's value is wrong with. key: NULL where it is the _id itself. */
static int refuse(const struct dbk_documents *documents, int code, const char *field,
                  const struct dbk_slice *key, struct dbk_error *err)
{
    struct dbk_slice who = key == NULL ? DBK_SLICE_LITERAL("?") : *key;
    const char *what = code == DBK_EINVAL   ? "has text that is no UTF-8: store it as binary, or "
                                              "leave it out of `columns`"
                       : code == DBK_ELIMIT ? "is nested too deep: leave it out of `columns`"
                                            : "cannot be read";
    if (code == DBK_ENOMEM)
        return no_memory(documents, err);
    return dbk_error_set(err, code, "the field `%.200s` of %s.%s-%.*s %s (%s)", field,
                         documents->service->name, documents->table->name,
                         (int)(who.size < 200 ? who.size : 200), who.data, what,
                         documents->service->file);
}

/* ---- Keys ---- */

static int take_key(const struct dbk_documents *documents, const bson_t *document,
                    struct dbk_arena *arena, struct dbk_slice *key_out, struct dbk_error *err)
{
    struct dbk_buf text;
    bson_iter_t at;
    if (!bson_iter_init_find(&at, document, "_id"))
        return dbk_error_set(err, DBK_ECORRUPT, "MongoDB: a document of %s.%s has no _id",
                             documents->service->name, documents->table->name);
    dbk_buf_init(&text, VALUE_SIZE_MAX);
    int rc = dbk_bson_write_key(&at, &text);
    if (rc == DBK_OK) {
        *key_out = dbk_arena_copy(arena, dbk_buf_slice(&text));
        rc = key_out->data == NULL ? DBK_ENOMEM : DBK_OK;
    }
    dbk_buf_release(&text);
    return rc < 0 ? refuse(documents, rc, "_id", NULL, err) : DBK_OK;
}

int dbk_documents_take_key(const struct dbk_documents *documents, const bson_t *key,
                           struct dbk_arena *arena, struct dbk_change *change_out,
                           struct dbk_error *err)
{
    struct dbk_slice *text = dbk_arena_alloc_zero(arena, 1, sizeof(*text));
    int rc = text == NULL ? no_memory(documents, err) : take_key(documents, key, arena, text, err);
    if (rc == DBK_OK)
        *change_out = (struct dbk_change){
            .kind = DBK_CHANGE_DELETE, .table = documents->index, .key = text, .key_count = 1};
    return rc;
}

/* ---- Shapes ---- */

struct fields {
    struct dbk_slice *names;
    size_t count;
};

static bool has(const struct fields *fields, struct dbk_slice name)
{
    for (size_t i = 0; i < fields->count; i++) {
        if (dbk_slice_equal(fields->names[i], name))
            return true;
    }
    return false;
}

static void add_named(struct fields *fields, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (fields->count < FIELDS_MAX && !has(fields, dbk_slice_of(names[i])))
            fields->names[fields->count++] = dbk_slice_of(names[i]);
    }
}

static bool is_same(const struct dbk_change_shape *shape, const struct fields *fields)
{
    for (size_t i = 0; i < fields->count && shape->count == fields->count; i++) {
        if (!dbk_slice_equal(shape->names[i], fields->names[i]))
            return false;
    }
    return shape->number != 0 && shape->count == fields->count;
}

/* Names that came twice would be one member of the image. */
static int check_once(const struct dbk_documents *documents, const struct fields *fields,
                      struct dbk_slice key, struct dbk_error *err)
{
    for (size_t i = 0; i < fields->count; i++) {
        const struct fields before = {fields->names, i};
        if (!dbk_slice_is_utf8(fields->names[i]))
            return refuse(documents, DBK_EINVAL, "?", &key, err);
        if (has(&before, fields->names[i]))
            return dbk_error_set(err, DBK_EINVAL,
                                 "%s.%s-%.*s has the field `%.*s` twice: write the document again",
                                 documents->service->name, documents->table->name,
                                 DBK_SLICE_ARGS(key), DBK_SLICE_ARGS(fields->names[i]));
    }
    return DBK_OK;
}

static int keep_shape(struct dbk_documents *documents, const struct fields *fields,
                      struct dbk_error *err)
{
    uint64_t number = documents->shape.number + 1;
    dbk_arena_reset(&documents->arena);
    documents->shape = (struct dbk_change_shape){.number = 0};
    struct dbk_slice *names =
        dbk_arena_alloc_zero(&documents->arena, fields->count + 1, sizeof(*names));
    for (size_t i = 0; names != NULL && i < fields->count; i++) {
        names[i] = dbk_arena_copy(&documents->arena, fields->names[i]);
        if (names[i].data == NULL)
            names = NULL;
    }
    documents->shape = (struct dbk_change_shape){number, names, names == NULL ? 0 : fields->count};
    return names == NULL ? no_memory(documents, err) : DBK_OK;
}

static int take_shape(struct dbk_documents *documents, const bson_t *document, struct dbk_slice key,
                      struct dbk_arena *arena, struct dbk_error *err)
{
    const struct dbk_capture_table *table = documents->table;
    struct fields fields = {.names =
                                dbk_arena_alloc_zero(arena, FIELDS_MAX, sizeof(*fields.names))};
    bson_iter_t at;
    if (fields.names == NULL)
        return no_memory(documents, err);
    if (!bson_iter_init(&at, document))
        return refuse(documents, DBK_ECORRUPT, "?", &key, err);
    while (bson_iter_next(&at) && fields.count < FIELDS_MAX)
        fields.names[fields.count++] = dbk_slice_of(bson_iter_key(&at));
    if (at.err_off != 0)
        return refuse(documents, DBK_ECORRUPT, "?", &key, err);
    size_t own = fields.count;
    add_named(&fields, table->columns, table->column_count);
    add_named(&fields, table->masked, table->masked_count);
    add_named(&fields, table->personal, table->personal_count);
    if (table->subject != NULL)
        add_named(&fields, &table->subject, 1);
    if (fields.count == FIELDS_MAX)
        return dbk_documents_fault(documents, DBK_ELIMIT, "has a document of too many fields",
                                   "put them into an object", err);
    if (is_same(&documents->shape, &fields))
        return DBK_OK;
    int rc = check_once(documents, &(struct fields){fields.names, own}, key, err);
    return rc < 0 ? rc : keep_shape(documents, &fields, err);
}

/* ---- Rows ---- */

/* Whether services/<name>.yaml wants the field. */
static bool is_wanted(const struct dbk_capture_table *table, const char *name)
{
    for (size_t i = 0; i < table->column_count; i++) {
        if (strcmp(table->columns[i], name) == 0)
            return true;
    }
    return table->column_count == 0;
}

static int take_value(const struct dbk_documents *documents, const bson_iter_t *at,
                      struct dbk_buf *text, struct dbk_arena *arena,
                      struct dbk_change_value *value_out)
{
    value_out->kind = DBK_CHANGE_NULL;
    if (BSON_ITER_HOLDS_NULL(at) || BSON_ITER_HOLDS_UNDEFINED(at) ||
        !is_wanted(documents->table, bson_iter_key(at)))
        return DBK_OK;
    dbk_buf_reset(text);
    int rc = dbk_bson_write(at, text);
    if (rc < 0)
        return rc;
    value_out->kind = DBK_CHANGE_JSON;
    value_out->text = dbk_arena_copy(arena, dbk_buf_slice(text));
    return value_out->text.data == NULL ? DBK_ENOMEM : DBK_OK;
}

int dbk_documents_take(struct dbk_documents *documents, const bson_t *document,
                       struct dbk_arena *arena, struct dbk_change *change_out,
                       struct dbk_error *err)
{
    struct dbk_change change = {0};
    struct dbk_buf text;
    bson_iter_t at;
    int rc = dbk_documents_take_key(documents, document, arena, &change, err);
    if (rc == DBK_OK)
        rc = take_shape(documents, document, change.key[0], arena, err);
    if (rc < 0)
        return rc;
    struct dbk_change_value *values =
        dbk_arena_alloc_zero(arena, documents->shape.count + 1, sizeof(*values));
    if (values == NULL)
        return no_memory(documents, err);
    dbk_buf_init(&text, VALUE_SIZE_MAX);
    (void)bson_iter_init(&at, document);
    for (size_t i = 0; rc == DBK_OK && bson_iter_next(&at); i++) {
        rc = take_value(documents, &at, &text, arena, &values[i]);
        if (rc < 0)
            rc = refuse(documents, rc, bson_iter_key(&at), change.key, err);
    }
    dbk_buf_release(&text);
    change.kind = DBK_CHANGE_ROW;
    change.shape = &documents->shape;
    change.values = values;
    if (rc == DBK_OK)
        *change_out = change;
    return rc;
}

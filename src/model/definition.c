/* SPDX-License-Identifier: Apache-2.0 */
#include "model/definition.h"

#include <stdio.h>

static void write_text(struct dbk_buf *out, bool *first, const char *key, struct dbk_slice text)
{
    dbk_json_write_key(out, first, key);
    dbk_json_write_string(out, text);
}

static void write_handler(struct dbk_buf *out, const struct dbk_handler *handler)
{
    bool first = true;
    dbk_buf_append_char(out, '{');
    write_text(out, &first, "file", dbk_slice_of(handler->file));
    dbk_json_write_key(out, &first, "line");
    dbk_json_write_u64(out, handler->line);
    write_text(out, &first, "type", handler->type);
    if (handler->version != 0) {
        dbk_json_write_key(out, &first, "version");
        dbk_json_write_u64(out, handler->version);
    }
    write_text(out, &first, "sql", handler->sql);
    dbk_buf_append_char(out, '}');
}

static const char *const personal_words[] = {
    [DBK_PERSONAL_NONE] = "none",
    [DBK_PERSONAL_REBUILD] = "rebuild",
    [DBK_PERSONAL_PURGE] = "purge",
    [DBK_PERSONAL_SEALED] = "sealed",
};

static void write_personal(struct dbk_buf *out, bool *first,
                           const struct dbk_model_definition *definition)
{
    if (definition->personal == DBK_PERSONAL_NONE)
        return;
    write_text(out, first, "personal", dbk_slice_of(personal_words[definition->personal]));
    if (definition->personal == DBK_PERSONAL_PURGE) {
        write_text(out, first, "purge_file", dbk_slice_of(definition->purge_file));
        write_text(out, first, "purge", definition->purge);
    }
    if (definition->personal != DBK_PERSONAL_SEALED)
        return;
    dbk_json_write_key(out, first, "personal_fields");
    dbk_buf_append_char(out, '[');
    for (size_t i = 0; i < definition->personal_field_count; i++) {
        bool of_field = true;
        dbk_buf_append_text(out, i == 0 ? "{" : ",{");
        write_text(out, &of_field, "type", definition->personal_fields[i].type);
        write_text(out, &of_field, "path", definition->personal_fields[i].path);
        dbk_buf_append_char(out, '}');
    }
    dbk_buf_append_char(out, ']');
}

const char *dbk_model_sync_text(enum dbk_model_sync sync)
{
    static const char *const texts[] = {[DBK_SYNC_EVENTS] = "events",
                                        [DBK_SYNC_TRANSACTION] = "transaction",
                                        [DBK_SYNC_CDC] = "cdc",
                                        [DBK_SYNC_POLLING] = "polling"};
    return texts[sync];
}

int dbk_definition_encode(const struct dbk_model_definition *definition, struct dbk_buf *out,
                          struct dbk_error *err)
{
    bool first = true;
    dbk_buf_append_char(out, '{');
    write_text(out, &first, "sync",
               dbk_slice_of(definition->sync == DBK_SYNC_TRANSACTION ? "transaction" : "events"));
    dbk_json_write_key(out, &first, "categories");
    for (size_t i = 0; i < definition->category_count; i++) {
        dbk_buf_append_char(out, i == 0 ? '[' : ',');
        dbk_json_write_string(out, definition->categories[i]);
    }
    dbk_buf_append_text(out, definition->category_count == 0 ? "[]" : "]");
    write_text(out, &first, "schema_file", dbk_slice_of(definition->schema_file));
    write_text(out, &first, "schema", definition->schema);
    dbk_json_write_key(out, &first, "handlers");
    dbk_buf_append_char(out, '[');
    for (size_t i = 0; i < definition->handler_count; i++) {
        if (i > 0)
            dbk_buf_append_char(out, ',');
        write_handler(out, &definition->handlers[i]);
    }
    dbk_buf_append_char(out, ']');
    write_personal(out, &first, definition);
    if (definition->upcasts.size > 0)
        write_text(out, &first, "upcasts", definition->upcasts);
    dbk_buf_append_char(out, '}');
    return out->rc < 0 ? dbk_error_set(err, out->rc, "model %s: its definition: %s",
                                       definition->name, dbk_code_text(out->rc))
                       : DBK_OK;
}

static struct dbk_slice text_at(const struct dbk_json_node *node, const char *key,
                                struct dbk_arena *arena, bool *good)
{
    const struct dbk_json_node *member = dbk_json_member(node, key);
    if (member == NULL || member->kind != DBK_JSON_STRING) {
        *good = false;
        return (struct dbk_slice){0};
    }
    struct dbk_slice copy = dbk_arena_copy(arena, member->text);
    *good = *good && copy.data != NULL;
    return copy;
}

static void decode_categories(const struct dbk_json_node *list, struct dbk_arena *arena,
                              struct dbk_model_definition *definition, bool *good)
{
    *good = *good && list != NULL && list->kind == DBK_JSON_ARRAY;
    if (!*good)
        return;
    struct dbk_slice *names = dbk_arena_alloc_zero(arena, list->count + 1, sizeof(*names));
    *good = names != NULL;
    const struct dbk_json_node *item = dbk_json_first(list);
    for (uint32_t i = 0; *good && i < list->count; i++, item = dbk_json_sibling(item)) {
        *good = item->kind == DBK_JSON_STRING;
        names[i] = dbk_arena_copy(arena, item->text);
        *good = *good && names[i].data != NULL;
    }
    definition->categories = names;
    definition->category_count = list->count;
}

static void decode_handlers(const struct dbk_json_node *list, struct dbk_arena *arena,
                            struct dbk_model_definition *definition, bool *good)
{
    *good = *good && list != NULL && list->kind == DBK_JSON_ARRAY;
    if (!*good)
        return;
    struct dbk_handler *handlers = dbk_arena_alloc_zero(arena, list->count + 1, sizeof(*handlers));
    *good = handlers != NULL;
    const struct dbk_json_node *item = dbk_json_first(list);
    for (uint32_t i = 0; *good && i < list->count; i++, item = dbk_json_sibling(item)) {
        const struct dbk_json_node *line = dbk_json_member(item, "line");
        const struct dbk_json_node *version = dbk_json_member(item, "version");
        handlers[i].file = text_at(item, "file", arena, good).data;
        handlers[i].type = text_at(item, "type", arena, good);
        handlers[i].sql = text_at(item, "sql", arena, good);
        *good = *good && line != NULL && line->kind == DBK_JSON_INTEGER;
        if (*good)
            handlers[i].line = (unsigned)line->integer;
        if (version != NULL && version->kind == DBK_JSON_INTEGER)
            handlers[i].version = (uint16_t)version->integer;
    }
    definition->handlers = handlers;
    definition->handler_count = list->count;
}

static void decode_fields(const struct dbk_json_node *list, struct dbk_arena *arena,
                          struct dbk_model_definition *definition, bool *good)
{
    *good = *good && list != NULL && list->kind == DBK_JSON_ARRAY;
    if (!*good)
        return;
    struct dbk_personal_field *fields =
        dbk_arena_alloc_zero(arena, list->count + 1, sizeof(*fields));
    *good = fields != NULL;
    const struct dbk_json_node *item = dbk_json_first(list);
    for (uint32_t i = 0; *good && i < list->count; i++, item = dbk_json_sibling(item)) {
        fields[i].type = text_at(item, "type", arena, good);
        fields[i].path = text_at(item, "path", arena, good);
    }
    definition->personal_fields = fields;
    definition->personal_field_count = list->count;
}

static void decode_personal(const struct dbk_json_node *root, struct dbk_arena *arena,
                            struct dbk_model_definition *definition, bool *good)
{
    const size_t count = sizeof(personal_words) / sizeof(personal_words[0]);
    definition->personal = DBK_PERSONAL_NONE;
    definition->personal_field_count = 0;
    if (dbk_json_member(root, "personal") == NULL)
        return;
    struct dbk_slice word = text_at(root, "personal", arena, good);
    size_t at = 0;
    while (at < count && !dbk_slice_equal_text(word, personal_words[at]))
        at++;
    *good = *good && at < count;
    definition->personal = *good ? (enum dbk_model_personal)at : DBK_PERSONAL_NONE;
    if (definition->personal == DBK_PERSONAL_PURGE) {
        definition->purge_file = text_at(root, "purge_file", arena, good).data;
        definition->purge = text_at(root, "purge", arena, good);
    }
    if (definition->personal == DBK_PERSONAL_SEALED)
        decode_fields(dbk_json_member(root, "personal_fields"), arena, definition, good);
}

int dbk_definition_decode(struct dbk_slice text, struct dbk_arena *arena,
                          struct dbk_model_definition *definition, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_json *json = dbk_json_create(DBK_DEFINITION_SIZE_MAX);
    bool good = json != NULL && dbk_json_parse(json, text, &root, NULL) == DBK_OK &&
                root->kind == DBK_JSON_OBJECT;
    if (good) {
        struct dbk_slice sync = text_at(root, "sync", arena, &good);
        definition->sync =
            dbk_slice_equal_text(sync, "events") ? DBK_SYNC_EVENTS : DBK_SYNC_TRANSACTION;
        definition->schema_file = text_at(root, "schema_file", arena, &good).data;
        definition->schema = text_at(root, "schema", arena, &good);
        decode_categories(dbk_json_member(root, "categories"), arena, definition, &good);
        decode_handlers(dbk_json_member(root, "handlers"), arena, definition, &good);
        decode_personal(root, arena, definition, &good);
        if (dbk_json_member(root, "upcasts") != NULL)
            definition->upcasts = text_at(root, "upcasts", arena, &good);
    }
    dbk_json_free(json);
    if (!good)
        return dbk_error_set(err, DBK_ECORRUPT,
                             "model %s: the definition stored in its database cannot be read",
                             definition->name);
    return DBK_OK;
}

void dbk_definition_fingerprint(struct dbk_slice text, char fingerprint_out[DBK_FINGERPRINT_SIZE])
{
    uint8_t digest[DBK_SHA256_SIZE];
    struct dbk_sha256 hash;
    dbk_sha256_init(&hash);
    dbk_sha256_update(&hash, DBK_SLICE_LITERAL("daybook model 1\n"));
    dbk_sha256_update(&hash, text);
    dbk_sha256_final(&hash, digest);
    for (size_t i = 0; i < DBK_SHA256_SIZE; i++)
        (void)snprintf(fingerprint_out + 2 * i, 3, "%02x", digest[i]);
}

static enum dbk_object_kind kind_of(struct dbk_slice type)
{
    if (dbk_slice_equal_text(type, "table"))
        return DBK_OBJECT_TABLE;
    if (dbk_slice_equal_text(type, "view"))
        return DBK_OBJECT_VIEW;
    return dbk_slice_equal_text(type, "index") ? DBK_OBJECT_INDEX : DBK_OBJECT_TRIGGER;
}

struct listing {
    struct dbk_arena *arena;
    struct dbk_object *objects;
    size_t count;
    size_t capacity;
};

/* DBK_ENOMEM only. */
static int list_object(void *context, enum dbk_object_kind kind, struct dbk_slice name)
{
    struct listing *listing = context;
    if (listing->count == listing->capacity) {
        size_t capacity = listing->capacity == 0 ? 16 : listing->capacity * 2;
        struct dbk_object *grown = dbk_arena_alloc_zero(listing->arena, capacity, sizeof(*grown));
        if (grown == NULL)
            return DBK_ENOMEM;
        if (listing->count > 0)
            memcpy(grown, listing->objects, listing->count * sizeof(*grown));
        listing->objects = grown;
        listing->capacity = capacity;
    }
    struct dbk_object *object = &listing->objects[listing->count++];
    object->kind = kind;
    object->name = dbk_arena_copy(listing->arena, name);
    return object->name.data == NULL ? DBK_ENOMEM : DBK_OK;
}

static int list_objects(struct dbk_connection *connection, struct listing *listing,
                        struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int rc =
        dbk_statement_open(connection,
                           DBK_SLICE_LITERAL("SELECT type, name FROM sqlite_schema WHERE name NOT "
                                             "LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid"),
                           &statement, NULL, err);
    while (rc >= 0 && (rc = dbk_statement_step(statement, err)) == 1) {
        enum dbk_object_kind kind = kind_of(dbk_statement_column(statement, 0).bytes);
        if (list_object(listing, kind, dbk_statement_column(statement, 1).bytes) < 0)
            rc = dbk_error_set(err, DBK_ENOMEM, "out of memory reading a schema");
    }
    dbk_statement_free(statement);
    return rc < 0 ? rc : DBK_OK;
}

static int run_in_memory(const struct dbk_model_definition *definition, struct listing *listing,
                         struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    struct dbk_slice text = dbk_arena_copy(listing->arena, definition->schema);
    int rc =
        text.data == NULL && definition->schema.size > 0
            ? dbk_error_set(err, DBK_ENOMEM, "out of memory reading a schema")
            : dbk_connection_open("", DBK_CONNECT_MEMORY | DBK_CONNECT_HANDLERS, &connection, err);
    if (rc == DBK_OK && text.data != NULL)
        rc = dbk_connection_run(connection, text.data, err);
    if (rc == DBK_OK)
        rc = list_objects(connection, listing, err);
    dbk_connection_free(connection);
    return rc;
}

int dbk_definition_objects(const struct dbk_model_definition *definition, struct dbk_arena *arena,
                           struct dbk_object **objects_out, size_t *count_out,
                           struct dbk_error *err)
{
    struct listing listing = {.arena = arena};
    if (!dbk_dialect_is_sql(dbk_target_dialect(definition->database_path))) {
        /* The model's name stands before those of its labels or collections. */
        int added = list_object(&listing, DBK_OBJECT_TABLE, dbk_slice_of(definition->name));
        *objects_out = listing.objects;
        *count_out = listing.count;
        return added < 0 ? dbk_error_set(err, added, "out of memory reading a schema") : DBK_OK;
    }
    int rc = dbk_target_dialect(definition->database_path) == DBK_DIALECT_SQLITE
                 ? run_in_memory(definition, &listing, err)
                 : dbk_target_objects(definition->database_path, definition->schema, list_object,
                                      &listing, err);
    *objects_out = listing.objects;
    *count_out = listing.count;
    return rc;
}

int dbk_definition_renames(const struct dbk_object *objects, size_t count, uint64_t generation,
                           struct dbk_arena *arena, struct dbk_sql_rename **renames_out,
                           struct dbk_error *err)
{
    struct dbk_sql_rename *renames = dbk_arena_alloc_zero(arena, count + 1, sizeof(*renames));
    if (renames == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory naming tables");
    for (size_t i = 0; i < count; i++) {
        const char *to = dbk_arena_format(arena, "%.*s__g%ju", DBK_SLICE_ARGS(objects[i].name),
                                          (uintmax_t)generation);
        if (to == NULL)
            return dbk_error_set(err, DBK_ENOMEM, "out of memory naming tables");
        renames[i] = (struct dbk_sql_rename){objects[i].name, dbk_slice_of(to)};
    }
    *renames_out = renames;
    return DBK_OK;
}

/* The tables that a schema creates; MongoDB's are its collections. */
static int list_tables(const struct dbk_model_definition *definition, struct dbk_arena *arena,
                       struct dbk_object **objects_out, size_t *count_out, struct dbk_error *err)
{
    struct listing listing = {.arena = arena};
    if (dbk_target_dialect(definition->database_path) != DBK_DIALECT_MONGODB)
        return dbk_definition_objects(definition, arena, objects_out, count_out, err);
    int rc = dbk_target_objects(definition->database_path, definition->schema, list_object,
                                &listing, err);
    *objects_out = listing.objects;
    *count_out = listing.count;
    return rc;
}

int dbk_model_tables(const struct dbk_model_definition *definition, struct dbk_arena *arena,
                     const char ***names_out, size_t *count_out, struct dbk_error *err)
{
    struct dbk_object *objects = NULL;
    size_t object_count = 0;
    size_t count = 0;
    int rc = list_tables(definition, arena, &objects, &object_count, err);
    if (rc < 0)
        return rc;
    const char **names = dbk_arena_alloc(arena, (object_count + 1) * sizeof(*names));
    if (names == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reading a schema");
    for (size_t i = 0; i < object_count; i++) {
        if (objects[i].kind == DBK_OBJECT_TABLE || objects[i].kind == DBK_OBJECT_VIEW)
            names[count++] = objects[i].name.data;
    }
    *names_out = names;
    *count_out = count;
    return DBK_OK;
}

void dbk_definition_plain(struct dbk_error *err)
{
    char *to = err->message;
    for (const char *from = err->message; *from != 0;) {
        size_t digits = strncmp(from, "__g", 3) == 0 ? strspn(from + 3, "0123456789") : 0;
        if (digits > 0)
            from += 3 + digits;
        else
            *to++ = *from++;
    }
    *to = 0;
}

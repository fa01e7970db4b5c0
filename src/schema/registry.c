/* SPDX-License-Identifier: Apache-2.0 */
/* The registry: types' files are read into it, then it is finished and looked up. */
#include <stdlib.h>

#include "base/hash.h"
#include "schema/rule.h"

/* A file is at most 1 MiB; what is made of all of them is bounded by this. */
#define MEMORY_MAX ((size_t)1 << 30)
#define FILE_SIZE_MAX ((size_t)1 << 20)

struct dbk_schemas *dbk_schemas_create(void)
{
    struct dbk_schemas *schemas = dbk_alloc_zero(1, sizeof(*schemas));
    if (schemas == NULL)
        return NULL;
    dbk_arena_init(&schemas->arena, MEMORY_MAX);
    schemas->json = dbk_json_create(FILE_SIZE_MAX);
    schemas->patterns = dbk_patterns_create();
    if (schemas->json == NULL || schemas->patterns == NULL) {
        dbk_schemas_free(schemas);
        return NULL;
    }
    return schemas;
}

void dbk_schemas_free(struct dbk_schemas *schemas)
{
    if (schemas == NULL)
        return;
    dbk_json_free(schemas->json);
    dbk_patterns_free(schemas->patterns);
    dbk_arena_release(&schemas->arena);
    dbk_free(schemas->types);
    dbk_free(schemas->scripts);
    dbk_free(schemas);
}

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory reading schemas");
}

/* ---- A type's file ---- */

static const char *const version_keys[] = {"version", "schema", "upcast"};
static const char *const file_keys[] = {"versions"};

static int check_members(struct dbk_schema_reading *reading, const struct dbk_json_node *object,
                         const char *const *keys, size_t count, const char *fallback)
{
    const struct dbk_json_node *member = dbk_json_first(object);
    for (uint32_t i = 0; i < object->count; i++, member = dbk_json_sibling(member)) {
        size_t which = 0;
        while (which < count && !dbk_slice_equal_text(member->key, keys[which]))
            which++;
        if (which < count)
            continue;
        struct dbk_fault fault = dbk_schema_fault_at_key(reading, member);
        const char *name = dbk_arena_copy(&reading->faults->arena, member->key).data;
        if (name == NULL ||
            dbk_fault_suggest(reading->faults, name, keys, count, fallback, &fault.fix) < 0 ||
            dbk_fault_add(reading->faults, &fault, "unknown key `%s`", name) < 0)
            return DBK_ENOMEM;
    }
    return DBK_OK;
}

static int refuse(struct dbk_schema_reading *reading, const struct dbk_json_node *node,
                  const char *what, const char *fix)
{
    struct dbk_fault fault = dbk_schema_fault_at(reading, node);
    fault.fix = fix;
    return dbk_fault_add(reading->faults, &fault, "%s", what);
}

static int check_number(struct dbk_schema_reading *reading, const struct dbk_json_node *node)
{
    uint16_t expected = reading->schema->version;
    const struct dbk_json_node *number = dbk_json_member(node, "version");
    struct dbk_fault fault = dbk_schema_fault_at(reading, number == NULL ? node : number);
    if (number != NULL && number->kind == DBK_JSON_INTEGER && number->integer == expected)
        return DBK_OK;
    fault.why = "versions are 1, 2, 3 … in this order";
    return dbk_fault_add(reading->faults, &fault, "\"version\": %u is expected here",
                         (unsigned)expected);
}

static int read_version(struct dbk_schema_reading *reading, const struct dbk_json_node *node)
{
    struct dbk_schema *schema = reading->schema;
    size_t before = reading->faults->error_count;
    schema->node = node;
    if (node->kind != DBK_JSON_OBJECT)
        return refuse(reading, node, "a version is no object",
                      "write {\"version\": 1, \"schema\": {…}}");
    int rc = check_members(reading, node, version_keys, 3, "a version has version, schema, upcast");
    if (rc == DBK_OK)
        rc = check_number(reading, node);
    schema->source = dbk_json_member(node, "schema");
    schema->upcast_node = dbk_json_member(node, "upcast");
    if (rc == DBK_OK)
        rc = dbk_schema_read_upcast(reading);
    if (rc == DBK_OK && schema->source == NULL)
        return refuse(reading, node, "the version has no `schema`",
                      "write {\"version\": 1, \"schema\": {…}}");
    if (rc == DBK_OK)
        rc = dbk_schema_compile(reading);
    /* What is faulty cannot be joined, and its fields are not known. */
    if (rc == DBK_OK && reading->faults->error_count == before)
        rc = dbk_schema_join(reading);
    if (rc == DBK_OK && reading->faults->error_count == before)
        rc = dbk_schema_find_paths(reading);
    return rc;
}

static int read_versions(struct dbk_schema_reading *reading, const struct dbk_json_node *root)
{
    static const char shape[] = "write {\"versions\": [{\"version\": 1, \"schema\": {…}}]}";
    struct dbk_type *type = reading->type;
    if (root->kind != DBK_JSON_OBJECT)
        return refuse(reading, root, "the file is no object", shape);
    int rc = check_members(reading, root, file_keys, 1, shape);
    const struct dbk_json_node *list = dbk_json_member(root, "versions");
    if (rc < 0)
        return rc;
    if (list == NULL)
        return refuse(reading, root, "`versions` is missing", shape);
    if (list->kind != DBK_JSON_ARRAY || list->count == 0)
        return refuse(reading, list, "`versions` is no list of at least one version", shape);
    if (list->count > DBK_SCHEMA_VERSIONS_MAX)
        return refuse(reading, list, "a type has more than 1000 versions",
                      "begin a new type for what is so different");
    type->versions =
        dbk_arena_alloc_zero(&reading->schemas->arena, list->count, sizeof(*type->versions));
    if (type->versions == NULL)
        return DBK_ENOMEM;
    const struct dbk_json_node *item = dbk_json_first(list);
    for (uint32_t i = 0; i < list->count && rc == DBK_OK; i++) {
        reading->schema = &type->versions[i];
        reading->schema->type = type;
        reading->schema->version = (uint16_t)(i + 1);
        rc = read_version(reading, item);
        item = dbk_json_sibling(item);
    }
    type->count = list->count;
    return rc;
}

static int read_source(struct dbk_schema_reading *reading)
{
    struct dbk_schemas *schemas = reading->schemas;
    struct dbk_slice source = reading->type->source;
    const struct dbk_json_node *root = NULL;
    struct dbk_error failure = {0};
    int rc = dbk_json_parse(schemas->json, source, &root, &failure);
    if (rc == DBK_EINVAL || rc == DBK_ELIMIT) {
        struct dbk_fault fault = {.file = reading->type->file};
        const char *reason = failure.message;
        if (rc == DBK_EINVAL)
            dbk_fault_place(&fault, source, dbk_json_fault(schemas->json, &reason));
        return dbk_fault_add(reading->faults, &fault, "%s", reason);
    }
    if (rc == DBK_OK)
        rc = dbk_json_keep(root, source, &schemas->arena, &root);
    return rc < 0 ? rc : read_versions(reading, root);
}

static int add_type(struct dbk_schemas *schemas, struct dbk_type *type)
{
    if (schemas->type_count == schemas->type_capacity) {
        size_t capacity = schemas->type_capacity == 0 ? 16 : schemas->type_capacity * 2;
        struct dbk_type **types = dbk_realloc(schemas->types, capacity * sizeof(struct dbk_type *));
        if (types == NULL)
            return DBK_ENOMEM;
        schemas->types = types;
        schemas->type_capacity = capacity;
    }
    schemas->types[schemas->type_count++] = type;
    return DBK_OK;
}

int dbk_schemas_add(struct dbk_schemas *schemas, const char *type, const char *file,
                    struct dbk_slice source, struct dbk_diagnostics *faults, struct dbk_error *err)
{
    size_t before = faults->error_count;
    struct dbk_type *entry = dbk_arena_alloc_zero(&schemas->arena, 1, sizeof(*entry));
    if (entry == NULL || add_type(schemas, entry) < 0)
        return no_memory(err);
    entry->name = type;
    entry->file = file;
    entry->source = source;
    struct dbk_schema_reading reading = {.schemas = schemas, .type = entry, .faults = faults};
    int rc = read_source(&reading);
    entry->faulty = faults->error_count > before;
    return rc < 0 ? no_memory(err) : DBK_OK;
}

int dbk_schemas_add_script(struct dbk_schemas *schemas, const char *type, uint16_t version,
                           const char *file, struct dbk_slice source)
{
    if (schemas->script_count == schemas->script_capacity) {
        size_t capacity = schemas->script_capacity == 0 ? 16 : schemas->script_capacity * 2;
        struct dbk_type_script *scripts =
            dbk_realloc(schemas->scripts, capacity * sizeof(*scripts));
        if (scripts == NULL)
            return DBK_ENOMEM;
        schemas->scripts = scripts;
        schemas->script_capacity = capacity;
    }
    schemas->scripts[schemas->script_count++] = (struct dbk_type_script){
        .type = type, .version = version, .script = {.file = file, .source = source}};
    return DBK_OK;
}

/* ---- Finishing ---- */

static struct dbk_type *find_type(const struct dbk_schemas *schemas, const char *name)
{
    for (size_t i = 0; i < schemas->type_count; i++) {
        if (strcmp(schemas->types[i]->name, name) == 0)
            return schemas->types[i];
    }
    return NULL;
}

static int join_script(struct dbk_schemas *schemas, const struct dbk_type_script *script,
                       struct dbk_diagnostics *faults)
{
    struct dbk_fault fault = {.file = script->script.file};
    struct dbk_type *type = find_type(schemas, script->type);
    if (type == NULL) {
        fault.why = "it would never be called";
        fault.fix = dbk_arena_format(&faults->arena, "declare the type in events/%s.schema.json",
                                     script->type);
        return dbk_fault_add(faults, &fault, "the type `%s` is not declared", script->type);
    }
    if (type->faulty)
        return DBK_OK;
    if (script->version < 2 || script->version > type->count) {
        fault.why = "it would never be called";
        return dbk_fault_add(faults, &fault, "`%s` has no version %u", script->type,
                             (unsigned)script->version);
    }
    struct dbk_schema *schema = &type->versions[script->version - 1];
    schema->script = &script->script;
    if (schema->upcast_node == NULL)
        return DBK_OK;
    fault.fix = dbk_arena_format(&faults->arena, "remove this file, or version %u's `upcast` in %s",
                                 (unsigned)script->version, type->file);
    return dbk_fault_add(faults, &fault, "version %u of `%s` has an `upcast`, too",
                         (unsigned)script->version, script->type);
}

static int check_upcasters(struct dbk_type *type, struct dbk_diagnostics *faults)
{
    for (size_t i = 1; i < type->count; i++) {
        const struct dbk_schema *schema = &type->versions[i];
        if (schema->upcast_node != NULL || schema->script != NULL ||
            dbk_json_equal(schema->source, type->versions[i - 1].source))
            continue;
        struct dbk_schema_reading reading = {.type = type};
        struct dbk_fault fault = dbk_schema_fault_at(&reading, schema->node);
        fault.why = "stored events of the older version could not be read as the newer";
        fault.fix = dbk_arena_format(&faults->arena, "add `upcast`, or events/%s.%zu-%zu.lua",
                                     type->name, i, i + 1);
        if (dbk_fault_add(faults, &fault, "nothing says how version %zu becomes version %zu", i,
                          i + 1) < 0)
            return DBK_ENOMEM;
    }
    return DBK_OK;
}

static int compare_types(const void *a, const void *b)
{
    const struct dbk_type *const *left = a;
    const struct dbk_type *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

/* Versions and upcasters, each behind its size. White space in the file makes no difference. */
static int take_fingerprint(struct dbk_type *type)
{
    struct dbk_sha256 hash;
    struct dbk_buf text;
    dbk_buf_init(&text, FILE_SIZE_MAX * 8);
    dbk_sha256_init(&hash);
    for (size_t i = 0; i < type->count && text.rc == DBK_OK; i++) {
        const struct dbk_schema *schema = &type->versions[i];
        dbk_buf_reset(&text);
        if (schema->upcast_node != NULL)
            dbk_json_write_node(&text, schema->upcast_node);
        if (schema->script != NULL)
            dbk_buf_append(&text, schema->script->source);
        uint64_t size = text.size;
        dbk_sha256_update(&hash, dbk_slice(&size, sizeof(size)));
        dbk_sha256_update(&hash, dbk_buf_slice(&text));
    }
    dbk_sha256_final(&hash, type->fingerprint);
    int rc = text.rc;
    dbk_buf_release(&text);
    return rc;
}

static int make_slots(struct dbk_schemas *schemas)
{
    uint32_t count = 16;
    while (count < schemas->type_count * 2)
        count *= 2;
    schemas->slots = dbk_arena_alloc_zero(&schemas->arena, count, sizeof(*schemas->slots));
    if (schemas->slots == NULL)
        return DBK_ENOMEM;
    schemas->slot_mask = count - 1;
    for (size_t i = 0; i < schemas->type_count; i++) {
        uint32_t at = dbk_crc32c(0, dbk_slice_of(schemas->types[i]->name));
        while (schemas->slots[at & schemas->slot_mask] != 0)
            at++;
        schemas->slots[at & schemas->slot_mask] = (uint32_t)i + 1;
    }
    return DBK_OK;
}

int dbk_schemas_finish(struct dbk_schemas *schemas, struct dbk_diagnostics *faults,
                       struct dbk_error *err)
{
    size_t kept = 0;
    int rc = DBK_OK;
    for (size_t i = 0; i < schemas->script_count && rc == DBK_OK; i++)
        rc = join_script(schemas, &schemas->scripts[i], faults);
    for (size_t i = 0; i < schemas->type_count && rc == DBK_OK; i++) {
        struct dbk_type *type = schemas->types[i];
        if (type->faulty)
            continue;
        rc = check_upcasters(type, faults);
        if (rc == DBK_OK)
            rc = dbk_schema_check_steps(type, faults);
        if (rc == DBK_OK)
            rc = take_fingerprint(type);
        schemas->types[kept++] = type;
    }
    if (rc < 0)
        return no_memory(err);
    schemas->type_count = kept;
    if (kept > 1)
        qsort(schemas->types, kept, sizeof(struct dbk_type *), compare_types);
    dbk_json_free(schemas->json);
    schemas->json = NULL;
    return make_slots(schemas) < 0 ? no_memory(err) : DBK_OK;
}

/* ---- Finding ---- */

static const struct dbk_type *look_up(const struct dbk_schemas *schemas, struct dbk_slice name)
{
    if (schemas->type_count == 0)
        return NULL;
    uint32_t at = dbk_crc32c(0, name);
    for (;; at++) {
        uint32_t slot = schemas->slots[at & schemas->slot_mask];
        if (slot == 0)
            return NULL;
        const struct dbk_type *type = schemas->types[slot - 1];
        if (dbk_slice_equal_text(name, type->name))
            return type;
    }
}

size_t dbk_schemas_count(const struct dbk_schemas *schemas)
{
    return schemas->type_count;
}

const struct dbk_schema *dbk_schemas_at(const struct dbk_schemas *schemas, size_t index)
{
    const struct dbk_type *type = schemas->types[index];
    return &type->versions[type->count - 1];
}

const struct dbk_schema *dbk_schemas_newest(const struct dbk_schemas *schemas,
                                            struct dbk_slice type)
{
    const struct dbk_type *found = look_up(schemas, type);
    return found == NULL ? NULL : &found->versions[found->count - 1];
}

const struct dbk_schema *dbk_schemas_find(const struct dbk_schemas *schemas, struct dbk_slice type,
                                          uint16_t version)
{
    const struct dbk_type *found = look_up(schemas, type);
    return found == NULL || version == 0 || version > found->count ? NULL
                                                                   : &found->versions[version - 1];
}

bool dbk_schemas_split(const struct dbk_schemas *schemas, struct dbk_slice name,
                       struct dbk_slice *type_out, uint16_t *version_out)
{
    const char *dot = name.size == 0 ? NULL : memrchr(name.data, '.', name.size);
    uint64_t version = 0;
    if (dot == NULL || name.size < (size_t)(dot - name.data) + 3 || dot[1] != 'v')
        return false;
    struct dbk_slice type = dbk_slice(name.data, (size_t)(dot - name.data));
    struct dbk_slice number = dbk_slice(dot + 2, name.size - type.size - 2);
    if (dbk_schemas_newest(schemas, type) == NULL || !dbk_slice_to_u64(number, &version))
        return false;
    *type_out = type;
    *version_out = version > UINT16_MAX ? UINT16_MAX : (uint16_t)version;
    return true;
}

void dbk_schemas_fingerprint(const struct dbk_schemas *schemas, struct dbk_slice type,
                             uint8_t fingerprint_out[DBK_SCHEMA_FINGERPRINT_SIZE])
{
    const struct dbk_type *found = look_up(schemas, type);
    if (found == NULL)
        memset(fingerprint_out, 0, DBK_SCHEMA_FINGERPRINT_SIZE);
    else
        memcpy(fingerprint_out, found->fingerprint, DBK_SCHEMA_FINGERPRINT_SIZE);
}

/* ---- A version ---- */

uint16_t dbk_schema_version(const struct dbk_schema *schema)
{
    return schema->version;
}

struct dbk_slice dbk_schema_type(const struct dbk_schema *schema)
{
    return dbk_slice_of(schema->type->name);
}

const char *dbk_schema_file(const struct dbk_schema *schema)
{
    return schema->type->file;
}

const struct dbk_json_node *dbk_schema_source(const struct dbk_schema *schema)
{
    return schema->source;
}

void dbk_schema_place(const struct dbk_schema *schema, const char *at, unsigned *line_out,
                      unsigned *column_out)
{
    dbk_text_place(schema->type->source, (size_t)(at - schema->type->source.data), line_out,
                   column_out);
}

const struct dbk_schema_path *dbk_schema_personal(const struct dbk_schema *schema,
                                                  size_t *count_out)
{
    *count_out = schema->personal_count;
    return schema->personal;
}

const struct dbk_schema_path *dbk_schema_subject(const struct dbk_schema *schema)
{
    return schema->subject;
}

const struct dbk_upcast_step *dbk_schema_upcast(const struct dbk_schema *schema, size_t *count_out)
{
    *count_out = schema->upcast_count;
    return schema->upcast;
}

const struct dbk_schema_script *dbk_schema_script(const struct dbk_schema *schema)
{
    return schema->script;
}

bool dbk_schema_is_program(const struct dbk_schema *schema)
{
    return schema->is_program;
}

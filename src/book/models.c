/* SPDX-License-Identifier: Apache-2.0 */
/* models/<name>/: model.yaml, schema.sql, and handlers in one file or one a type. */
#include "book/handlers.h"
#include "book/sources.h"

enum key {
    KEY_DATABASE,
    KEY_SYNC,
    KEY_SOURCE,
    KEY_ON_ERROR,
    KEY_PERSONAL,
    KEY_MAX_LAG,
    KEY_STALE,
    KEY_COUNT
};
static const struct dbk_setting keys[KEY_COUNT] = {
    [KEY_DATABASE] = {"database", DBK_YAML_SCALAR, false, NULL, "write a name of book.yaml"},
    [KEY_SYNC] = {"sync", DBK_YAML_SCALAR, true, "it decides when an event is in the tables",
                  DBK_SYNC_FIX},
    [KEY_SOURCE] = {"source", DBK_YAML_SEQUENCE, true, "no event would reach the model",
                    "write the streams' categories in a list: `source: [order]`"},
    [KEY_ON_ERROR] = {"on_error", DBK_YAML_SCALAR, false, NULL,
                      "write `on_error: stop` or `on_error: set-aside`"},
    [KEY_PERSONAL] = {"personal", DBK_YAML_SCALAR, false, NULL,
                      "write `personal: rebuild`, `personal: sealed`, or a file with statements"},
    [KEY_MAX_LAG] = {"max_lag", DBK_YAML_SCALAR, false, NULL, "write such as `max_lag: 60 ms`"},
    [KEY_STALE] = {"stale", DBK_YAML_SCALAR, false, NULL,
                   "write `stale: serve` or `stale: refuse`"},
};

struct reading {
    struct dbk_book_loader *loader;
    const char *folder; /* "models/orders" */
    struct dbk_model_definition definition;
    struct dbk_handler_list handlers;
    bool has_settings;
    const char *purge;       /* the file's name in the folder; NULL: none */
    struct dbk_fault naming; /* where it is named */
};

/* ---- model.yaml ---- */

/* A category is what stands before a stream's first dash. */
static const char *category_fault(struct dbk_slice category)
{
    if (category.size == 0)
        return "a category is empty";
    if (category.size > DBK_STREAM_SIZE_MAX)
        return "a category is longer than a stream's name may be";
    if (memchr(category.data, '-', category.size) != NULL)
        return "a category ends before a stream's first dash";
    return NULL;
}

static int take_category(struct reading *reading, const char *file,
                         const struct dbk_yaml_node *node, struct dbk_slice *categories,
                         size_t *count)
{
    struct dbk_fault fault = dbk_settings_fault(file, node);
    struct dbk_diagnostics *faults = reading->loader->faults;
    if (node->kind == DBK_YAML_REFUSED)
        return DBK_OK;
    fault.fix = keys[KEY_SOURCE].fix;
    if (node->kind != DBK_YAML_SCALAR || dbk_yaml_is_null(node))
        return dbk_fault_add(faults, &fault, "a category is %s, where a text is expected",
                             dbk_yaml_kind_text(node));
    const char *what = category_fault(node->text);
    if (what != NULL)
        return dbk_fault_add(faults, &fault, "\"%s\": %s", node->text.data, what);
    for (size_t i = 0; i < *count; i++) {
        if (dbk_slice_equal(categories[i], node->text)) {
            fault.fix = "keep one of them";
            return dbk_fault_add(faults, &fault, "`%s` stands twice", node->text.data);
        }
    }
    categories[(*count)++] = node->text;
    return DBK_OK;
}

static int take_source(struct reading *reading, const char *file, const struct dbk_yaml_node *list)
{
    size_t capacity = 0;
    size_t count = 0;
    int rc = DBK_OK;
    for (const struct dbk_yaml_node *node = list->first; node != NULL; node = node->next)
        capacity++;
    struct dbk_slice *categories =
        dbk_arena_alloc_zero(&reading->loader->book->arena, capacity + 1, sizeof(*categories));
    if (categories == NULL)
        return DBK_ENOMEM;
    for (const struct dbk_yaml_node *node = list->first; node != NULL && rc == DBK_OK;
         node = node->next)
        rc = take_category(reading, file, node, categories, &count);
    reading->definition.categories = categories;
    reading->definition.category_count = count;
    if (rc < 0 || capacity > 0)
        return rc;
    struct dbk_fault fault = dbk_settings_fault(file, list);
    fault.why = keys[KEY_SOURCE].why;
    fault.fix = keys[KEY_SOURCE].fix;
    return dbk_fault_add(reading->loader->faults, &fault, "`source` names no category");
}

static int take_on_error(struct reading *reading, const char *file,
                         const struct dbk_yaml_node *node)
{
    struct dbk_fault fault = dbk_settings_fault(file, node);
    static const char *const words[] = {"stop", "set-aside"};
    reading->definition.set_aside = strcmp(node->text.data, words[1]) == 0;
    if (reading->definition.set_aside || strcmp(node->text.data, words[0]) == 0)
        return DBK_OK;
    int rc = dbk_fault_suggest(reading->loader->faults, node->text.data, words, 2,
                               keys[KEY_ON_ERROR].fix, &fault.fix);
    if (rc < 0)
        return rc;
    fault.why = "it says what is done at an event that a handler cannot post";
    return dbk_fault_add(reading->loader->faults, &fault, "`on_error: %s` does not exist",
                         node->text.data);
}

static int take_max_lag(struct reading *reading, const char *file, const struct dbk_yaml_node *node)
{
    struct dbk_fault fault = dbk_settings_fault(file, node);
    int64_t lag_us = 0;
    if (dbk_duration_parse(node->text, &lag_us) && lag_us >= 1000) {
        reading->definition.max_lag_us = lag_us;
        return DBK_OK;
    }
    fault.why = "it is how far the model may be behind, 1 ms at least";
    fault.fix = keys[KEY_MAX_LAG].fix;
    return dbk_fault_add(reading->loader->faults, &fault, "`max_lag: %s` is no such duration",
                         node->text.data);
}

/* max_lag: its node, NULL when the file has none. */
static int take_stale(struct reading *reading, const char *file, const struct dbk_yaml_node *node,
                      const struct dbk_yaml_node *max_lag)
{
    static const char *const words[] = {"serve", "refuse"};
    struct dbk_fault fault = dbk_settings_fault(file, node);
    bool refuse = strcmp(node->text.data, words[1]) == 0;
    if (!refuse && strcmp(node->text.data, words[0]) != 0) {
        int rc = dbk_fault_suggest(reading->loader->faults, node->text.data, words, 2,
                                   keys[KEY_STALE].fix, &fault.fix);
        return rc < 0 ? rc
                      : dbk_fault_add(reading->loader->faults, &fault, "`stale: %s` does not exist",
                                      node->text.data);
    }
    reading->definition.refuse_stale = refuse;
    if (max_lag != NULL)
        return DBK_OK;
    fault.why = "nothing says from when on the model is stale";
    fault.fix = keys[KEY_MAX_LAG].fix;
    return dbk_fault_add(reading->loader->faults, &fault, "`stale` needs `max_lag`");
}

/* A file in one of the languages, with a name in front of the ending. */
static bool is_definition(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot != NULL && dot != name && strcmp(dot, dbk_book_ending(dbk_book_language(name))) == 0;
}

/* `rebuild`, `sealed`, or the file with the statements. */
static int take_personal(struct reading *reading, const char *file,
                         const struct dbk_yaml_node *node)
{
    const char *word = node->text.data;
    static const char *const words[] = {"rebuild", "sealed"};
    struct dbk_fault fault = dbk_settings_fault(file, node);
    if (strcmp(word, words[0]) == 0) {
        reading->definition.personal = DBK_PERSONAL_REBUILD;
        return DBK_OK;
    }
    if (strcmp(word, words[1]) == 0) {
        reading->definition.personal = DBK_PERSONAL_SEALED;
        return DBK_OK;
    }
    bool is_file =
        strchr(word, '/') == NULL && is_definition(word) && strncmp(word, "schema.", 7) != 0;
    if (is_file && strcmp(word, "handlers.sql") != 0) {
        reading->definition.personal = DBK_PERSONAL_PURGE;
        reading->purge = word;
        reading->naming = fault;
        return DBK_OK;
    }
    int rc = dbk_fault_suggest(reading->loader->faults, word, words, 2, keys[KEY_PERSONAL].fix,
                               &fault.fix);
    if (rc < 0)
        return rc;
    fault.why = "it says how personal fields are forgotten with their subject";
    return dbk_fault_add(reading->loader->faults, &fault, "`personal: %s` does not exist", word);
}

/* A server's transaction cannot be held open while the log commits, and it cannot look into the
   log. */
static int check_pair(struct reading *reading, const char *file, const struct dbk_yaml_node *sync,
                      const struct dbk_yaml_node *personal)
{
    const char *path = reading->definition.database_path;
    if (path == NULL || dbk_target_dialect(path) == DBK_DIALECT_SQLITE)
        return DBK_OK;
    if (personal != NULL && reading->definition.personal == DBK_PERSONAL_SEALED) {
        struct dbk_fault place = dbk_settings_fault(file, personal);
        place.fix = "write `personal: rebuild`, or a file with statements";
        return dbk_fault_add(reading->loader->faults, &place,
                             "`personal: sealed` needs a SQLite database, and `%s` is a server's",
                             reading->definition.database);
    }
    if (sync == NULL || reading->definition.sync != DBK_SYNC_TRANSACTION)
        return DBK_OK;
    struct dbk_fault fault = dbk_settings_fault(file, sync);
    fault.why = "the log and a server cannot commit as one";
    fault.fix = "write `sync: events`, and ask with `after=` where a read must not be behind";
    return dbk_fault_add(reading->loader->faults, &fault,
                         "`sync: transaction` needs a SQLite database, and `%s` is a server's",
                         reading->definition.database);
}

/* node is the `database:` of the file, NULL when it has none. */
static int take_database(struct reading *reading, const char *file,
                         const struct dbk_yaml_node *root, const struct dbk_yaml_node *node)
{
    const struct dbk_book_database *database = NULL;
    struct dbk_fault place = dbk_settings_fault(file, node == NULL ? root : node);
    int rc =
        dbk_book_choose(reading->loader, node == NULL ? NULL : node->text.data, &place, &database);
    if (rc == DBK_OK && database != NULL) {
        reading->definition.database = database->name;
        reading->definition.database_path = database->path;
    }
    return rc;
}

static int take_settings(struct reading *reading, const char *file, struct dbk_slice text)
{
    const struct dbk_yaml_node *root = NULL;
    const struct dbk_yaml_node *nodes[KEY_COUNT] = {NULL};
    int rc = dbk_settings_open(reading->loader, file, text, &root);
    if (rc < 0 || root == NULL)
        return rc;
    rc = dbk_settings_read(reading->loader, file, root, keys, KEY_COUNT, nodes);
    bool faulty = nodes[KEY_DATABASE] == NULL && dbk_yaml_find(root, "database") != NULL;
    if (rc == DBK_OK && !faulty)
        rc = take_database(reading, file, root, nodes[KEY_DATABASE]);
    if (rc == DBK_OK && nodes[KEY_SYNC] != NULL)
        rc = dbk_book_take_sync(reading->loader, file, nodes[KEY_SYNC], &reading->definition.sync);
    if (rc == DBK_OK && nodes[KEY_SOURCE] != NULL)
        rc = take_source(reading, file, nodes[KEY_SOURCE]);
    if (rc == DBK_OK && nodes[KEY_SOURCE] != NULL && nodes[KEY_SYNC] != NULL)
        rc = dbk_book_check_sources(reading->loader, file, nodes[KEY_SYNC], nodes[KEY_SOURCE]);
    if (rc == DBK_OK && nodes[KEY_ON_ERROR] != NULL)
        rc = take_on_error(reading, file, nodes[KEY_ON_ERROR]);
    if (rc == DBK_OK && nodes[KEY_PERSONAL] != NULL)
        rc = take_personal(reading, file, nodes[KEY_PERSONAL]);
    if (rc == DBK_OK && nodes[KEY_MAX_LAG] != NULL)
        rc = take_max_lag(reading, file, nodes[KEY_MAX_LAG]);
    if (rc == DBK_OK && nodes[KEY_STALE] != NULL)
        rc = take_stale(reading, file, nodes[KEY_STALE], nodes[KEY_MAX_LAG]);
    return rc == DBK_OK ? check_pair(reading, file, nodes[KEY_SYNC], nodes[KEY_PERSONAL]) : rc;
}

/* ---- The folder ---- */

static int take_type_file(struct reading *reading, const char *file, struct dbk_slice type,
                          struct dbk_slice text)
{
    struct dbk_handler handler = {.file = file, .line = 1, .type = type, .sql = text};
    struct dbk_slice name = type;
    uint16_t version = 0;
    (void)dbk_schemas_split(reading->loader->book->schemas, type, &name, &version);
    if (!dbk_fault_is_name(name) && !dbk_book_is_change(name)) {
        struct dbk_fault fault = {.file = file};
        fault.why = "a handler's file has the name of the event type, and `.v1` behind it where it "
                    "is for a version that is declared";
        fault.fix = "put it into handlers.sql, under `-- on: <event type>`";
        return dbk_fault_add(reading->loader->faults, &fault, "`%s` is no name", type.data);
    }
    int rc = dbk_handlers_check_sql(file, 1, text, reading->loader->faults);
    return rc < 0 ? rc : dbk_handler_list_add(&reading->handlers, &handler);
}

static int take_file(struct reading *reading, const char *name, struct dbk_error *err)
{
    struct dbk_book_loader *loader = reading->loader;
    struct dbk_slice type = {0};
    struct dbk_slice text = {0};
    const char *path = dbk_arena_format(&loader->book->arena, "%s/%s", reading->folder, name);
    if (path == NULL)
        return dbk_book_no_memory(err);
    bool settings = strcmp(name, "model.yaml") == 0;
    int rc = dbk_book_stem(loader, name, ".sql", &type, err);
    if (rc == DBK_OK && type.data == NULL)
        rc = dbk_book_stem(loader, name, ".cypher", &type, err);
    if (rc == DBK_OK && type.data == NULL)
        rc = dbk_book_stem(loader, name, ".json", &type, err);
    if (rc < 0)
        return rc;
    if (!settings && type.data == NULL) {
        struct dbk_fault fault = {.file = path, .warning = true};
        fault.fix = "a model has model.yaml, schema.sql, handlers.sql and <event type>.sql";
        rc = dbk_fault_add(loader->faults, &fault, "this file is not read");
        return rc < 0 ? dbk_book_no_memory(err) : DBK_OK;
    }
    reading->has_settings = reading->has_settings || settings;
    bool schema = strncmp(name, "schema.", 7) == 0 && is_definition(name);
    if (schema)
        reading->definition.schema_file = path;
    bool purge = reading->purge != NULL && strcmp(name, reading->purge) == 0;
    if (purge)
        reading->definition.purge_file = path;
    rc = dbk_book_read(loader, path, &text, err);
    if (rc < 0 || text.data == NULL)
        return rc;
    if (settings)
        rc = take_settings(reading, path, text);
    else if (schema)
        reading->definition.schema = text;
    else if (purge)
        reading->definition.purge = text;
    else if (strcmp(name, "handlers.sql") == 0)
        rc = dbk_handlers_parse(path, text, &reading->handlers, loader->faults);
    else
        rc = take_type_file(reading, path, type, text);
    return rc == DBK_ENOMEM ? dbk_book_no_memory(err) : rc;
}

static int report_missing(struct reading *reading, bool missing, const char *file, const char *why,
                          const char *fix)
{
    if (!missing)
        return DBK_OK;
    const struct dbk_fault fault = {.file = reading->folder, .why = why, .fix = fix};
    return dbk_fault_add(reading->loader->faults, &fault, "the model has no %s", file);
}

/* Handlers and schema are in the language of their database. */
static int check_languages(struct reading *reading)
{
    const char *address = reading->definition.database_path;
    const char *wrong = NULL;
    const char *schema = reading->definition.schema_file;
    if (address == NULL)
        return DBK_OK;
    if (schema != NULL && !dbk_book_speaks(schema, address))
        wrong = schema;
    for (size_t i = 0; i < reading->handlers.count && wrong == NULL; i++) {
        const char *file = reading->handlers.items[i].file;
        if (!dbk_book_speaks(file, address))
            wrong = file;
    }
    if (wrong == NULL && reading->definition.purge_file != NULL &&
        !dbk_book_speaks(reading->definition.purge_file, address))
        wrong = reading->definition.purge_file;
    if (wrong == NULL)
        return DBK_OK;
    enum dbk_dialect dialect = dbk_target_dialect(address);
    const char *ending = dbk_book_ending(dialect);
    struct dbk_fault fault = {.file = wrong, .line = 1, .column = 1};
    fault.fix =
        dbk_arena_format(&reading->loader->book->arena,
                         "write schema%s, and <event type>%s for each event type", ending, ending);
    if (fault.fix == NULL)
        return DBK_ENOMEM;
    return dbk_fault_add(reading->loader->faults, &fault, "the database `%s` speaks %s",
                         reading->definition.database, dbk_book_language_name(dialect));
}

static int check_whole(struct reading *reading, const struct dbk_book_names *names)
{
    bool has_handlers = false;
    for (size_t i = 0; i < names->count; i++) {
        bool purge = reading->purge != NULL && strcmp(names->items[i], reading->purge) == 0;
        has_handlers = has_handlers || (!purge && is_definition(names->items[i]) &&
                                        strncmp(names->items[i], "schema.", 7) != 0);
    }
    int rc = report_missing(reading, !reading->has_settings, "model.yaml",
                            "it says which events the model is made of",
                            "write one with `sync` and `source`");
    if (rc == DBK_OK)
        rc = report_missing(reading, reading->definition.schema_file == NULL, "schema.sql",
                            "it makes the model's tables", "write its CREATE TABLE");
    if (rc == DBK_OK)
        rc = report_missing(reading, !has_handlers, "handlers", "its tables would stay empty",
                            "write handlers.sql, or <event type>.sql for each event type");
    if (rc == DBK_OK && reading->purge != NULL && reading->definition.purge_file == NULL) {
        reading->naming.why = "nothing says how personal fields are forgotten";
        reading->naming.fix = "write the file, or `personal: rebuild`";
        rc = dbk_fault_add(reading->loader->faults, &reading->naming, "there is no %s/%s",
                           reading->folder, reading->purge);
    }
    return rc == DBK_OK ? check_languages(reading) : rc;
}

/* Reads one model; *good_out tells whether it is whole, and so to be checked further. */
static int read_model(struct dbk_book_loader *loader, const char *name,
                      struct dbk_model_definition *definition_out, bool *good_out,
                      struct dbk_error *err)
{
    struct dbk_arena *arena = &loader->book->arena;
    struct reading reading = {
        .loader = loader, .definition = {.name = name}, .handlers = {.arena = arena}};
    struct dbk_book_names names;
    size_t before = loader->faults->error_count;
    *good_out = false;
    reading.folder = dbk_arena_format(arena, "models/%s", name);
    if (reading.folder == NULL)
        return dbk_book_no_memory(err);
    int rc = dbk_book_list(loader, reading.folder, &names, err);
    /* What is no folder at all is reported so, and needs nothing more. */
    if (rc < 0 || loader->faults->error_count > before)
        return rc;
    /* The settings first: they say what another file is. */
    for (size_t i = 0; i < names.count && rc == DBK_OK; i++) {
        if (strcmp(names.items[i], "model.yaml") == 0)
            rc = take_file(&reading, names.items[i], err);
    }
    for (size_t i = 0; i < names.count && rc == DBK_OK; i++) {
        if (strcmp(names.items[i], "model.yaml") != 0)
            rc = take_file(&reading, names.items[i], err);
    }
    if (rc == DBK_OK && check_whole(&reading, &names) < 0)
        rc = dbk_book_no_memory(err);
    if (rc == DBK_OK)
        rc = dbk_book_check_handlers(loader, &reading.handlers, err);
    reading.definition.handlers = reading.handlers.items;
    reading.definition.handler_count = reading.handlers.count;
    if (rc == DBK_OK)
        rc = dbk_book_check_withs(loader, &reading.definition, err);
    if (rc == DBK_OK && dbk_book_check_changes(loader, &reading.definition) < 0)
        rc = dbk_book_no_memory(err);
    *definition_out = reading.definition;
    *good_out = loader->faults->error_count == before && reading.definition.database != NULL;
    return rc;
}

/* ---- All models ---- */

/* A category that no fold has is fine; one that is nearly a fold's is likely a slip. */
static int check_categories(struct dbk_book_loader *loader,
                            const struct dbk_model_definition *model, struct dbk_error *err)
{
    const struct dbk_book *book = loader->book;
    const char **names =
        dbk_arena_alloc_zero(&loader->book->arena, book->fold_count + 1, sizeof(*names));
    if (names == NULL)
        return dbk_book_no_memory(err);
    for (size_t i = 0; i < book->fold_count; i++)
        names[i] = book->folds[i].name;
    for (size_t i = 0; i < model->category_count; i++) {
        const char *category = model->categories[i].data;
        const char *closest = dbk_closest_name(category, names, book->fold_count);
        if (closest == NULL || strcmp(closest, category) == 0)
            continue;
        struct dbk_fault fault = {.warning = true};
        fault.file = dbk_arena_format(&loader->book->arena, "models/%s/model.yaml", model->name);
        if (fault.file == NULL ||
            dbk_fault_suggest(loader->faults, category, names, book->fold_count, NULL, &fault.fix) <
                0 ||
            dbk_fault_add(loader->faults, &fault, "no fold has the category `%s`", category) < 0)
            return dbk_book_no_memory(err);
    }
    return DBK_OK;
}

static bool handles(const struct dbk_model_definition *model, struct dbk_slice type)
{
    for (size_t i = 0; i < model->handler_count; i++) {
        if (dbk_slice_equal(model->handlers[i].type, type))
            return true;
    }
    return false;
}

/* The personal fields of all versions of a type: without an array only counted. */
static size_t list_type(const struct dbk_schemas *schemas, const struct dbk_schema *newest,
                        struct dbk_personal_field *fields)
{
    struct dbk_slice type = dbk_schema_type(newest);
    size_t found = 0;
    for (uint16_t version = 1; version <= dbk_schema_version(newest); version++) {
        const struct dbk_schema *schema = dbk_schemas_find(schemas, type, version);
        size_t count = 0;
        const struct dbk_schema_path *paths =
            schema == NULL ? NULL : dbk_schema_personal(schema, &count);
        for (size_t i = 0; i < count; i++) {
            if (fields != NULL)
                fields[found] = (struct dbk_personal_field){type, paths[i].text};
            found++;
        }
    }
    return found;
}

static size_t list_personal(const struct dbk_book *book, const struct dbk_model_definition *model,
                            struct dbk_personal_field *fields)
{
    size_t found = 0;
    for (size_t i = 0; book->schemas != NULL && i < dbk_schemas_count(book->schemas); i++) {
        const struct dbk_schema *newest = dbk_schemas_at(book->schemas, i);
        if (handles(model, dbk_schema_type(newest)))
            found += list_type(book->schemas, newest, fields == NULL ? NULL : fields + found);
    }
    return found;
}

/* What the schemas of the events that a model handles call personal. */
static int take_personal_fields(struct dbk_book_loader *loader, struct dbk_model_definition *model,
                                struct dbk_error *err)
{
    size_t count = list_personal(loader->book, model, NULL);
    struct dbk_personal_field *fields =
        dbk_arena_alloc_zero(&loader->book->arena, count + 1, sizeof(*fields));
    if (fields == NULL)
        return dbk_book_no_memory(err);
    model->personal_field_count = list_personal(loader->book, model, fields);
    model->personal_fields = fields;
    model->personal_states = loader->personal_folds;
    model->personal_state_count = loader->personal_fold_count;
    return DBK_OK;
}

static int take_model(struct dbk_book_loader *loader, const char *name,
                      struct dbk_model_definition *models, size_t *count, struct dbk_error *err)
{
    bool good = false;
    struct dbk_model_definition *model = &models[*count];
    int rc = read_model(loader, name, model, &good, err);
    if (rc == DBK_OK && good)
        rc = take_personal_fields(loader, model, err);
    if (rc == DBK_OK && good)
        rc = dbk_model_check(model, loader->faults, err);
    if (rc == DBK_OK && good)
        rc = check_categories(loader, model, err);
    if (rc < 0)
        return rc;
    /* Tables of a faulty model are in scope all the same, where they can be known. */
    if (model->database != NULL && model->schema.data != NULL)
        (*count)++;
    else
        loader->scope_unknown = true;
    return DBK_OK;
}

int dbk_book_read_models(struct dbk_book_loader *loader, struct dbk_error *err)
{
    struct dbk_book *book = loader->book;
    struct dbk_book_names names;
    size_t count = 0;
    int rc = dbk_book_list(loader, "models", &names, err);
    if (rc < 0)
        return rc;
    struct dbk_model_definition *models =
        dbk_arena_alloc_zero(&book->arena, names.count + 1, sizeof(*models));
    if (models == NULL)
        return dbk_book_no_memory(err);
    for (size_t i = 0; i < names.count && rc == DBK_OK; i++) {
        if (dbk_fault_is_name(dbk_slice_of(names.items[i]))) {
            rc = take_model(loader, names.items[i], models, &count, err);
            continue;
        }
        struct dbk_fault fault = {.warning = true,
                                  .fix = "a model is a folder; its name has "
                                         "letters, digits and `_`"};
        fault.file = dbk_arena_format(&book->arena, "models/%s", names.items[i]);
        if (fault.file == NULL || dbk_fault_add(loader->faults, &fault, "this is not read") < 0)
            rc = dbk_book_no_memory(err);
    }
    book->models = models;
    book->model_count = count;
    return rc;
}

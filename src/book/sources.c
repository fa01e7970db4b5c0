/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Models whose sources are tables of services: `source: [users.people]` goes with `sync: cdc`, and
 * their handlers are `people.insert`, `people.update` and `people.delete`.
 */
#include "book/sources.h"

/* The ways to sync, and what of a table each asks for. */
static const struct {
    const char *word;
    enum dbk_model_sync sync;
    enum dbk_capture_kind kind;
} ways[] = {
    {"events", DBK_SYNC_EVENTS, DBK_CAPTURE_NONE},
    {"transaction", DBK_SYNC_TRANSACTION, DBK_CAPTURE_NONE},
    {"cdc", DBK_SYNC_CDC, DBK_CAPTURE_CDC},
    {"polling", DBK_SYNC_POLLING, DBK_CAPTURE_POLLING},
};
#define WAY_COUNT (sizeof(ways) / sizeof(ways[0]))
#define EVENTS_FIX "write `sync: events` or `sync: transaction`"
#define TABLES_FIX "write `sync: cdc` or `sync: polling`"

int dbk_book_take_sync(struct dbk_book_loader *loader, const char *file,
                       const struct dbk_yaml_node *node, enum dbk_model_sync *sync_out)
{
    const char *words[WAY_COUNT];
    struct dbk_fault fault = dbk_settings_fault(file, node);
    for (size_t i = 0; i < WAY_COUNT; i++) {
        words[i] = ways[i].word;
        if (strcmp(node->text.data, words[i]) == 0) {
            *sync_out = ways[i].sync;
            return DBK_OK;
        }
    }
    int rc = dbk_fault_suggest(loader->faults, node->text.data, words, WAY_COUNT, DBK_SYNC_FIX,
                               &fault.fix);
    return rc < 0
               ? rc
               : dbk_fault_add(loader->faults, &fault, "`%s` is no way to sync", node->text.data);
}

/* Databases that are not asked by SQL, and what of them there is not. */
static const struct {
    enum dbk_dialect dialect;
    enum dbk_capture_kind kind;
    const char *what;
    const char *fix;
} lacking[] = {
    {DBK_DIALECT_MONGODB, DBK_CAPTURE_OUTBOX, "an outbox in MongoDB is not taken",
     "capture the collection: name it under `tables`"},
    {DBK_DIALECT_CYPHER, DBK_CAPTURE_CDC, "Neo4j does not tell its changes",
     "have it asked for them: `capture: polling`, or `sync: polling` of a model"},
    {DBK_DIALECT_CYPHER, DBK_CAPTURE_OUTBOX, "an outbox in Neo4j is not taken",
     "capture its nodes: name their label under `tables`"},
};

int dbk_book_check_way(struct dbk_book_loader *loader, struct dbk_fault place,
                       const struct dbk_capture_service *service, enum dbk_capture_kind kind)
{
    for (size_t i = 0; service->address != NULL && i < sizeof(lacking) / sizeof(lacking[0]); i++) {
        if (lacking[i].kind != kind || lacking[i].dialect != dbk_target_dialect(service->address))
            continue;
        place.fix = lacking[i].fix;
        return dbk_fault_add(loader->faults, &place, "the database `%s` of %s: %s",
                             service->database, service->name, lacking[i].what);
    }
    return DBK_OK;
}

int dbk_book_check_key(struct dbk_book_loader *loader, struct dbk_fault place,
                       const struct dbk_capture_service *service,
                       const struct dbk_capture_table *table)
{
    if (service->address == NULL)
        return DBK_OK;
    bool graph = dbk_target_dialect(service->address) == DBK_DIALECT_CYPHER;
    if (graph && table->kind == DBK_CAPTURE_POLLING && table->polling.key == NULL) {
        place.why = "of Neo4j's nodes nobody says which property is each one's own";
        place.fix = "name it in the service's file, under its label: `key: id`";
        return dbk_fault_add(loader->faults, &place, "the label `%s` of %s has no `key`",
                             table->name, service->name);
    }
    if (graph || table->polling.key == NULL)
        return DBK_OK;
    place.why = "its database says itself what names a row";
    place.fix = "leave it out";
    return dbk_fault_add(loader->faults, &place, "`key` of `%s.%s` belongs to Neo4j's labels",
                         service->name, table->name);
}

/* ---- Sources ---- */

struct sources {
    struct dbk_book_loader *loader;
    const char *file; /* "models/people/model.yaml" */
    const struct dbk_yaml_node *sync;
    enum dbk_capture_kind kind; /* that the model asks for; NONE: its sources are events */
    const char *word;
};

/* `users.people`: the service and the table; table_out may be NULL where there is no such one. */
static const struct dbk_capture_service *find_service(const struct dbk_book *book,
                                                      struct dbk_slice category,
                                                      struct dbk_capture_table **table_out)
{
    const char *dot = memchr(category.data, '.', category.size);
    *table_out = NULL;
    if (dot == NULL)
        return NULL;
    struct dbk_slice name = dbk_slice(category.data, (size_t)(dot - category.data));
    struct dbk_slice table = dbk_slice(dot + 1, category.size - name.size - 1);
    for (size_t i = 0; i < book->service_count; i++) {
        if (!dbk_slice_equal_text(name, book->services[i].name))
            continue;
        for (size_t j = 0; j < book->services[i].table_count; j++) {
            if (dbk_slice_equal_text(table, book->services[i].tables[j].name))
                *table_out = &book->services[i].tables[j];
        }
        return &book->services[i];
    }
    return NULL;
}

/* What `service.table` there is, for a did-you-mean. */
static int suggest_table(struct dbk_book_loader *loader, const char *category, const char *fallback,
                         const char **fix_out)
{
    const struct dbk_book *book = loader->book;
    size_t capacity = 0;
    size_t count = 0;
    for (size_t i = 0; i < book->service_count; i++)
        capacity += book->services[i].table_count;
    const char **names = dbk_arena_alloc_zero(&loader->faults->arena, capacity + 1, sizeof(*names));
    if (names == NULL)
        return DBK_ENOMEM;
    for (size_t i = 0; i < book->service_count; i++) {
        const struct dbk_capture_service *service = &book->services[i];
        for (size_t j = 0; j < service->table_count; j++) {
            names[count] = dbk_arena_format(&loader->faults->arena, "%s.%s", service->name,
                                            service->tables[j].name);
            if (names[count++] == NULL)
                return DBK_ENOMEM;
        }
    }
    return dbk_fault_suggest(loader->faults, category, names, count, fallback, fix_out);
}

static int report_no_table(const struct sources *sources, const struct dbk_yaml_node *node,
                           const struct dbk_capture_service *service)
{
    struct dbk_fault fault = dbk_settings_fault(sources->file, node);
    struct dbk_diagnostics *faults = sources->loader->faults;
    bool dotted = memchr(node->text.data, '.', node->text.size) != NULL;
    fault.why = "changes are captured of tables that services/<service>.yaml names";
    int rc =
        suggest_table(sources->loader, node->text.data,
                      dotted ? "name it there" : EVENTS_FIX ", which follow events", &fault.fix);
    if (rc < 0)
        return rc;
    if (service != NULL)
        return dbk_fault_add(faults, &fault, "`%s`: %s names no such table", node->text.data,
                             service->file);
    return dbk_fault_add(faults, &fault, "`%s` is no table of a service, as `sync: %s` follows",
                         node->text.data, sources->word);
}

/* Tables of one name cannot be told apart by the types of their events. */
static int check_namesake(const struct sources *sources, const struct dbk_yaml_node *list,
                          const struct dbk_yaml_node *node, const struct dbk_capture_table *table)
{
    const struct dbk_book *book = sources->loader->book;
    for (const struct dbk_yaml_node *before = list->first; before != node; before = before->next) {
        struct dbk_capture_table *other = NULL;
        (void)find_service(book, before->text, &other);
        if (other == NULL || other == table || strcmp(other->name, table->name) != 0)
            continue;
        struct dbk_fault fault = dbk_settings_fault(sources->file, node);
        fault.why = "a handler is for the type of its events, which has the table's name alone";
        fault.fix = "make a model for each";
        return dbk_fault_add(sources->loader->faults, &fault, "`%s` and `%s` have the same name",
                             before->text.data, node->text.data);
    }
    return DBK_OK;
}

static const char *word_of(enum dbk_capture_kind kind)
{
    for (size_t i = 0; i < WAY_COUNT; i++) {
        if (ways[i].kind == kind && kind != DBK_CAPTURE_NONE)
            return ways[i].word;
    }
    return "events";
}

/* A table is captured in one way. */
static int ask_for(const struct sources *sources, const struct dbk_capture_service *service,
                   struct dbk_capture_table *table)
{
    if (table->kind == DBK_CAPTURE_NONE) {
        table->kind = sources->kind;
        table->asked_by = sources->file;
        struct dbk_fault place = dbk_settings_fault(sources->file, sources->sync);
        int rc = dbk_book_check_way(sources->loader, place, service, sources->kind);
        return rc < 0 ? rc : dbk_book_check_key(sources->loader, place, service, table);
    }
    if (table->kind == sources->kind)
        return DBK_OK;
    struct dbk_fault fault = dbk_settings_fault(sources->file, sources->sync);
    fault.why = "a table is captured in one way";
    fault.fix = "write the same word in both";
    return dbk_fault_add(sources->loader->faults, &fault, "%s asks for `%s` of `%s.%s`",
                         table->asked_by, word_of(table->kind), service->name, table->name);
}

static int check_source(const struct sources *sources, const struct dbk_yaml_node *list,
                        const struct dbk_yaml_node *node)
{
    struct dbk_capture_table *table = NULL;
    const struct dbk_capture_service *service =
        find_service(sources->loader->book, node->text, &table);
    if (sources->kind == DBK_CAPTURE_NONE && service == NULL)
        return DBK_OK;
    if (table == NULL)
        return report_no_table(sources, node, service);
    if (sources->kind == DBK_CAPTURE_NONE) {
        struct dbk_fault fault = dbk_settings_fault(sources->file, sources->sync);
        fault.why = "changes of a table are captured from its database";
        fault.fix = TABLES_FIX;
        return dbk_fault_add(sources->loader->faults, &fault,
                             "`sync: %s` follows events, and `%s` is a service's table",
                             sources->word, node->text.data);
    }
    int rc = check_namesake(sources, list, node, table);
    return rc < 0 ? rc : ask_for(sources, service, table);
}

int dbk_book_check_sources(struct dbk_book_loader *loader, const char *file,
                           const struct dbk_yaml_node *sync, const struct dbk_yaml_node *list)
{
    struct sources sources = {.loader = loader, .file = file, .sync = sync};
    int rc = DBK_OK;
    for (size_t i = 0; i < WAY_COUNT; i++) {
        if (strcmp(sync->text.data, ways[i].word) == 0) {
            sources.kind = ways[i].kind;
            sources.word = ways[i].word;
        }
    }
    if (sources.word == NULL)
        return DBK_OK;
    for (const struct dbk_yaml_node *node = list->first; node != NULL && rc == DBK_OK;
         node = node->next) {
        if (node->kind == DBK_YAML_SCALAR && !dbk_yaml_is_null(node))
            rc = check_source(&sources, list, node);
    }
    return rc;
}

/* ---- Handlers ---- */

enum change { CHANGE_INSERT, CHANGE_UPDATE, CHANGE_DELETE, CHANGE_COUNT };
static const char *const changes[CHANGE_COUNT] = {"insert", "update", "delete"};

/* `people.insert`: what stands before the last dot, and which change it is; CHANGE_COUNT: none. */
static enum change split_type(struct dbk_slice type, struct dbk_slice *table_out)
{
    for (size_t i = 0; i < CHANGE_COUNT; i++) {
        size_t size = strlen(changes[i]);
        if (type.size > size + 1 && type.data[type.size - size - 1] == '.' &&
            memcmp(type.data + type.size - size, changes[i], size) == 0) {
            *table_out = dbk_slice(type.data, type.size - size - 1);
            return (enum change)i;
        }
    }
    return CHANGE_COUNT;
}

bool dbk_book_is_change(struct dbk_slice type)
{
    struct dbk_slice table = {0};
    return split_type(type, &table) != CHANGE_COUNT && dbk_fault_is_name(table);
}

/* The table of a model's sources that has the name. */
static const struct dbk_capture_table *table_of(const struct dbk_book *book,
                                                const struct dbk_model_definition *model,
                                                struct dbk_slice name)
{
    for (size_t i = 0; i < model->category_count; i++) {
        struct dbk_capture_table *table = NULL;
        (void)find_service(book, model->categories[i], &table);
        if (table != NULL && dbk_slice_equal_text(name, table->name))
            return table;
    }
    return NULL;
}

static int report_no_change(struct dbk_book_loader *loader,
                            const struct dbk_model_definition *model,
                            const struct dbk_handler *handler)
{
    struct dbk_fault fault = {.file = handler->file, .line = handler->line, .column = 1};
    struct dbk_arena *arena = &loader->faults->arena;
    size_t count = 0;
    const char **names =
        dbk_arena_alloc_zero(arena, model->category_count * CHANGE_COUNT + 1, sizeof(*names));
    const char *type = dbk_arena_copy(arena, handler->type).data;
    if (names == NULL || type == NULL)
        return DBK_ENOMEM;
    for (size_t i = 0; i < model->category_count; i++) {
        struct dbk_capture_table *table = NULL;
        (void)find_service(loader->book, model->categories[i], &table);
        for (size_t j = 0; table != NULL && j < CHANGE_COUNT; j++) {
            names[count] = dbk_arena_format(arena, "%s.%s", table->name, changes[j]);
            if (names[count++] == NULL)
                return DBK_ENOMEM;
        }
    }
    fault.why = "no event would ever be handled by it";
    int rc = dbk_fault_suggest(loader->faults, type, names, count,
                               "a table's changes are `<table>.insert`, `<table>.update` and "
                               "`<table>.delete`",
                               &fault.fix);
    return rc < 0 ? rc
                  : dbk_fault_add(loader->faults, &fault, "`%s` is no change of a source's table",
                                  type);
}

static bool has_column(const struct dbk_capture_table *table, struct dbk_slice name)
{
    for (size_t i = 0; i < table->column_count; i++) {
        if (dbk_slice_equal_text(name, table->columns[i]))
            return true;
    }
    return table->column_count == 0;
}

struct parameter {
    const struct dbk_handler *handler;
    const struct dbk_capture_table *table;
    enum change change;
    size_t offset;         /* in the handler's SQL */
    struct dbk_slice name; /* `new.name` */
};

static struct dbk_fault place_of(const struct parameter *parameter)
{
    struct dbk_fault fault = {.file = parameter->handler->file};
    dbk_fault_place(&fault, parameter->handler->sql, parameter->offset);
    fault.line += parameter->handler->line - 1;
    return fault;
}

static int check_parameter(struct dbk_book_loader *loader, const struct parameter *parameter)
{
    struct dbk_fault fault = place_of(parameter);
    struct dbk_slice name = parameter->name;
    const char *dot = memchr(name.data, '.', name.size);
    struct dbk_slice image =
        dbk_slice(name.data, dot == NULL ? name.size : (size_t)(dot - name.data));
    bool is_new = dbk_slice_equal_text(image, "new");
    if (!is_new && !dbk_slice_equal_text(image, "old")) {
        fault.why = "it would always be NULL";
        fault.fix = "write `:new.<column>` or `:old.<column>`";
        return dbk_fault_add(loader->faults, &fault, "a change of a row has no `:%.*s`",
                             DBK_SLICE_ARGS(name));
    }
    if (parameter->change == (is_new ? CHANGE_DELETE : CHANGE_INSERT)) {
        fault.why = "it would always be NULL";
        fault.fix = is_new ? "write `:old.<column>`" : "write `:new.<column>`";
        return dbk_fault_add(loader->faults, &fault, "%s has no `:%.*s`",
                             is_new ? "a row that is deleted" : "a row that is inserted",
                             DBK_SLICE_ARGS(name));
    }
    if (dot == NULL)
        return DBK_OK;
    struct dbk_slice column = dbk_slice(dot + 1, name.size - image.size - 1);
    dot = memchr(column.data, '.', column.size);
    if (dot != NULL)
        column.size = (size_t)(dot - column.data);
    if (has_column(parameter->table, column))
        return DBK_OK;
    const char *wanted = dbk_arena_copy(&loader->faults->arena, column).data;
    fault.why = "what is not captured is in no event";
    int rc = wanted == NULL ? DBK_ENOMEM
                            : dbk_fault_suggest(loader->faults, wanted, parameter->table->columns,
                                                parameter->table->column_count,
                                                "add it to the table's `columns`", &fault.fix);
    return rc < 0 ? rc
                  : dbk_fault_add(loader->faults, &fault, "the column `%s` of `%s` is not captured",
                                  wanted, parameter->table->name);
}

static int check_handler(struct dbk_book_loader *loader, const struct dbk_model_definition *model,
                         const struct dbk_handler *handler)
{
    struct dbk_slice name = {0};
    struct parameter parameter = {.handler = handler, .change = split_type(handler->type, &name)};
    parameter.table = table_of(loader->book, model, name);
    if (parameter.change == CHANGE_COUNT || parameter.table == NULL)
        return report_no_change(loader, model, handler);
    int rc = DBK_OK;
    while (rc == DBK_OK && parameter.offset < handler->sql.size) {
        struct dbk_sql_token token = dbk_sql_next(handler->sql, parameter.offset);
        if (token.kind == DBK_SQL_END || token.text.size == 0)
            break;
        parameter.name = dbk_slice(token.text.data + 1, token.text.size - 1);
        if (token.kind == DBK_SQL_PARAMETER && parameter.name.data[0] != '_')
            rc = check_parameter(loader, &parameter);
        parameter.offset += token.text.size;
    }
    return rc;
}

int dbk_book_check_changes(struct dbk_book_loader *loader, const struct dbk_model_definition *model)
{
    int rc = DBK_OK;
    if (model->sync == DBK_SYNC_EVENTS || model->sync == DBK_SYNC_TRANSACTION)
        return DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < model->handler_count; i++)
        rc = check_handler(loader, model, &model->handlers[i]);
    return rc;
}

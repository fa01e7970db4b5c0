/* SPDX-License-Identifier: Apache-2.0 */
/* services/<name>.yaml: the databases of services, and what they own, capture and share of them. */
#include "book/loader.h"
#include "book/polling.h"
#include "book/sources.h"

enum key {
    KEY_DATABASE,
    KEY_TABLES,
    KEY_OUTBOX,
    KEY_SLOT,
    KEY_EVENTS,
    KEY_READS,
    KEY_MODELS,
    KEY_ROLE,
    KEY_LOGIN,
    KEY_USER,
    KEY_KEY,
    KEY_SCOPES,
    KEY_COUNT
};
static const struct dbk_setting keys[KEY_COUNT] = {
    [KEY_DATABASE] = {"database", DBK_YAML_SCALAR, false, "it says where the service's tables are",
                      "write a name of book.yaml's databases: `database: users`"},
    [KEY_TABLES] = {"tables", DBK_YAML_MAPPING, false, "it names those that the service owns",
                    "write the tables' names under it, each with a colon: `tables: {users: }`"},
    [KEY_OUTBOX] = {"outbox", DBK_YAML_MAPPING, false, NULL,
                    "write its settings under it: `outbox: {table: outbox}`"},
    [KEY_SLOT] = {"slot", DBK_YAML_MAPPING, false, NULL,
                  "write its settings under it: `slot: {warn: 4 GiB}`"},
    [KEY_EVENTS] = {"events", DBK_YAML_MAPPING, false, NULL,
                    "write the categories under it: `events: {append: [order], read: [user]}`"},
    [KEY_READS] = {"reads", DBK_YAML_MAPPING, false, NULL,
                   "write tables of other services under it: "
                   "`reads: {users.people: {columns: [id], version: 1}}`"},
    [KEY_MODELS] = {"models", DBK_YAML_SEQUENCE, false, NULL,
                    "write the models in a list: `models: [user_orders]`"},
    [KEY_ROLE] = {"role", DBK_YAML_SCALAR, false, NULL,
                  "write the name that the service has in its database: `role: shop_users`"},
    [KEY_LOGIN] = {"login", DBK_YAML_SCALAR, false, NULL,
                   "name a file with the service's connection string: `login: "
                   "file:secrets/users`"},
    [KEY_USER] = {"user", DBK_YAML_SCALAR, false, NULL,
                  "write as whom the service's program runs on this machine: `user: users`, or "
                  "`user: users:<group>`"},
    [KEY_KEY] = {"key", DBK_YAML_SCALAR, false, NULL,
                 "name a file for the service's API key: `key: file:secrets/users.key`"},
    [KEY_SCOPES] = {"scopes", DBK_YAML_SEQUENCE, false, NULL,
                    "write what its API keys may beside what follows from the rest: "
                    "`scopes: [query:totals]`"},
};

enum table_key {
    TABLE_COLUMNS,
    TABLE_MASK,
    TABLE_SUBJECT,
    TABLE_PERSONAL,
    TABLE_CAPTURE,
    TABLE_PUBLIC,
    TABLE_VERSION,
    TABLE_POLLING, /* the first of enum dbk_polling_key */
    TABLE_KEY_COUNT = TABLE_POLLING + DBK_POLLING_KEY_COUNT
};
static const struct dbk_setting table_keys[TABLE_KEY_COUNT] = {
    [TABLE_COLUMNS] = {"columns", DBK_YAML_SEQUENCE, false, NULL,
                       "write the columns in a list: `columns: [id, name]`"},
    [TABLE_MASK] = {"mask", DBK_YAML_SEQUENCE, false, NULL,
                    "write the columns in a list: `mask: [email]`"},
    [TABLE_SUBJECT] = {"subject", DBK_YAML_SCALAR, false, NULL, "write a column: `subject: id`"},
    [TABLE_PERSONAL] = {"personal", DBK_YAML_SEQUENCE, false, NULL,
                        "write the columns in a list: `personal: [name]`"},
    [TABLE_CAPTURE] = {"capture", DBK_YAML_SCALAR, false, NULL,
                       "write `capture: cdc` or `capture: polling`"},
    [TABLE_PUBLIC] = {"public", DBK_YAML_SEQUENCE, false, NULL,
                      "write the columns that others may read in a list: `public: [id, name]`"},
    [TABLE_VERSION] = {"version", DBK_YAML_SCALAR, false, NULL,
                       "write a whole number from 1: `version: 1`"},
    [TABLE_POLLING + DBK_POLLING_EVERY] = {"every", DBK_YAML_SCALAR, false, NULL,
                                           "write a duration: `every: 1 s`"},
    [TABLE_POLLING +
        DBK_POLLING_KEY] = {"key", DBK_YAML_SCALAR, false, NULL, "write a property: `key: id`"},
    [TABLE_POLLING + DBK_POLLING_CURSOR] = {"cursor", DBK_YAML_SCALAR, false, NULL,
                                            "write a column: `cursor: updated_at`"},
    [TABLE_POLLING + DBK_POLLING_OVERLAP] = {"overlap", DBK_YAML_SCALAR, false, NULL,
                                             "write a duration: `overlap: 5 s`"},
    [TABLE_POLLING + DBK_POLLING_DELETED] = {"deleted", DBK_YAML_SCALAR, false, NULL,
                                             "write a column: `deleted: deleted_at`"},
    [TABLE_POLLING + DBK_POLLING_DELETES] = {"deletes", DBK_YAML_SCALAR, false, NULL,
                                             "write `deletes: compare` or `deletes: none`"},
    [TABLE_POLLING + DBK_POLLING_COMPARE_EVERY] = {"compare_every", DBK_YAML_SCALAR, false, NULL,
                                                   "write a duration: `compare_every: 1 minute`"},
};

struct reading {
    struct dbk_book_loader *loader;
    const char *file;
    struct dbk_capture_service *service;
    struct dbk_service_definition *definition;
};

/* ---- Columns ---- */

static bool is_listed(const char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}

/* A column's name may be any text that a database takes for one. */
static int take_column(struct reading *reading, const struct dbk_yaml_node *node,
                       const struct dbk_setting *setting, const char **names, size_t *count)
{
    struct dbk_diagnostics *faults = reading->loader->faults;
    struct dbk_fault fault = dbk_settings_fault(reading->file, node);
    if (node->kind == DBK_YAML_REFUSED)
        return DBK_OK;
    fault.fix = setting->fix;
    if (node->kind != DBK_YAML_SCALAR || dbk_yaml_is_null(node) || node->text.size == 0)
        return dbk_fault_add(faults, &fault, "a column is %s, where a name is expected",
                             dbk_yaml_kind_text(node));
    fault.fix = "keep one of them";
    if (is_listed(names, *count, node->text.data))
        return dbk_fault_add(faults, &fault, "the column `%s` stands twice", node->text.data);
    names[(*count)++] = node->text.data;
    return DBK_OK;
}

static int take_columns(struct reading *reading, const struct dbk_yaml_node *list,
                        const struct dbk_setting *setting, const char *const **names_out,
                        size_t *count_out)
{
    size_t capacity = 0;
    int rc = DBK_OK;
    for (const struct dbk_yaml_node *node = list->first; node != NULL; node = node->next)
        capacity++;
    const char **names =
        dbk_arena_alloc_zero(&reading->loader->book->arena, capacity + 1, sizeof(*names));
    if (names == NULL)
        return DBK_ENOMEM;
    for (const struct dbk_yaml_node *node = list->first; node != NULL && rc == DBK_OK;
         node = node->next)
        rc = take_column(reading, node, setting, names, count_out);
    *names_out = names;
    if (rc < 0 || capacity > 0)
        return rc;
    struct dbk_fault fault = dbk_settings_fault(reading->file, list);
    fault.fix = setting->fix;
    return dbk_fault_add(reading->loader->faults, &fault, "`%s` names no column", setting->key);
}

/* A column that a setting names must be one that is captured. */
static int check_captured(struct reading *reading, const struct dbk_capture_table *table,
                          const struct dbk_yaml_node *node, const char *key)
{
    struct dbk_diagnostics *faults = reading->loader->faults;
    struct dbk_fault fault = dbk_settings_fault(reading->file, node);
    if (table->column_count == 0 || node->kind != DBK_YAML_SCALAR ||
        is_listed(table->columns, table->column_count, node->text.data))
        return DBK_OK;
    fault.why = "what is not captured is in no event";
    int rc = dbk_fault_suggest(faults, node->text.data, table->columns, table->column_count,
                               "add it to `columns`, or leave it out here", &fault.fix);
    if (rc < 0)
        return rc;
    return dbk_fault_add(faults, &fault, "`%s` names the column `%s`, which `columns` leaves out",
                         key, node->text.data);
}

static int check_all_captured(struct reading *reading, const struct dbk_capture_table *table,
                              const struct dbk_yaml_node *list, const char *key)
{
    int rc = DBK_OK;
    if (list == NULL)
        return DBK_OK;
    for (const struct dbk_yaml_node *node = list->first; node != NULL && rc == DBK_OK;
         node = node->next)
        rc = check_captured(reading, table, node, key);
    return rc;
}

/* ---- Personal columns ---- */

static int check_not_masked(struct reading *reading, const struct dbk_capture_table *table,
                            const struct dbk_yaml_node *node)
{
    struct dbk_fault fault = dbk_settings_fault(reading->file, node);
    if (node->kind != DBK_YAML_SCALAR ||
        !is_listed(table->masked, table->masked_count, node->text.data))
        return DBK_OK;
    fault.why = "of a masked column only whether it was there is captured";
    fault.fix = "leave it out of `mask`, or here";
    return dbk_fault_add(reading->loader->faults, &fault, "the column `%s` is masked",
                         node->text.data);
}

/* Each of them needs the other. */
static int check_pair(struct reading *reading, const struct dbk_yaml_node *personal,
                      const struct dbk_yaml_node *subject)
{
    struct dbk_fault fault =
        dbk_settings_fault(reading->file, personal == NULL ? subject : personal);
    fault.why = personal == NULL ? "nothing is sealed under the person's key"
                                 : "personal columns are sealed under the person's key";
    fault.fix = personal == NULL ? "name the personal columns: `personal: [name]`"
                                 : "name the column that says who it is: `subject: id`";
    return dbk_fault_add(reading->loader->faults, &fault,
                         personal == NULL ? "`subject` stands without `personal`"
                                          : "`personal` stands without `subject`");
}

/* The subject stays readable. */
static int check_subject(struct reading *reading, const struct dbk_capture_table *table,
                         const struct dbk_yaml_node *subject)
{
    struct dbk_fault fault = dbk_settings_fault(reading->file, subject);
    if (is_listed(table->personal, table->personal_count, table->subject)) {
        fault.why = "who a row is about must be known before it can be opened";
        fault.fix = "name the person by a number of their own";
        return dbk_fault_add(reading->loader->faults, &fault,
                             "the column `%s` is personal, and names the person", table->subject);
    }
    if (dbk_fault_is_name(subject->text))
        return DBK_OK;
    fault.fix = "choose a column whose name has letters, digits and `_`";
    return dbk_fault_add(reading->loader->faults, &fault, "the subject `%s` is no plain name",
                         table->subject);
}

static int check_personal(struct reading *reading, struct dbk_capture_table *table,
                          const struct dbk_yaml_node *const nodes[TABLE_KEY_COUNT])
{
    const struct dbk_yaml_node *personal = nodes[TABLE_PERSONAL];
    const struct dbk_yaml_node *subject = nodes[TABLE_SUBJECT];
    size_t before = reading->loader->faults->error_count;
    int rc = DBK_OK;
    if (personal == NULL && subject == NULL)
        return DBK_OK;
    if (personal == NULL || subject == NULL) {
        rc = check_pair(reading, personal, subject);
    } else {
        rc = check_captured(reading, table, subject, "subject");
        if (rc == DBK_OK)
            rc = check_not_masked(reading, table, subject);
        for (const struct dbk_yaml_node *node = personal->first; node != NULL && rc == DBK_OK;
             node = node->next)
            rc = check_not_masked(reading, table, node);
        if (rc == DBK_OK)
            rc = check_subject(reading, table, subject);
    }
    /* Faulty ones make no schema, whose faults would only come on top. */
    if (reading->loader->faults->error_count > before)
        table->personal_count = 0;
    return rc;
}

/* ---- Tables ---- */

static int take_capture(struct reading *reading, struct dbk_capture_table *table,
                        const struct dbk_yaml_node *node)
{
    static const char *const words[] = {"cdc", "polling"};
    struct dbk_fault fault = dbk_settings_fault(reading->file, node);
    for (size_t i = 0; i < 2; i++) {
        if (strcmp(node->text.data, words[i]) == 0) {
            table->kind = i == 0 ? DBK_CAPTURE_CDC : DBK_CAPTURE_POLLING;
            table->asked_by = reading->file;
            return dbk_book_check_way(reading->loader, fault, reading->service, table->kind);
        }
    }
    int rc = dbk_fault_suggest(reading->loader->faults, node->text.data, words, 2,
                               table_keys[TABLE_CAPTURE].fix, &fault.fix);
    return rc < 0 ? rc
                  : dbk_fault_add(reading->loader->faults, &fault, "`%s` is no way to capture",
                                  node->text.data);
}

static int take_lists(struct reading *reading, struct dbk_capture_table *table,
                      const struct dbk_yaml_node *const nodes[TABLE_KEY_COUNT])
{
    int rc = DBK_OK;
    if (nodes[TABLE_COLUMNS] != NULL)
        rc = take_columns(reading, nodes[TABLE_COLUMNS], &table_keys[TABLE_COLUMNS],
                          &table->columns, &table->column_count);
    if (rc == DBK_OK && nodes[TABLE_MASK] != NULL)
        rc = take_columns(reading, nodes[TABLE_MASK], &table_keys[TABLE_MASK], &table->masked,
                          &table->masked_count);
    if (rc == DBK_OK && nodes[TABLE_PERSONAL] != NULL)
        rc = take_columns(reading, nodes[TABLE_PERSONAL], &table_keys[TABLE_PERSONAL],
                          &table->personal, &table->personal_count);
    if (rc == DBK_OK)
        rc = check_all_captured(reading, table, nodes[TABLE_MASK], "mask");
    return rc == DBK_OK ? check_all_captured(reading, table, nodes[TABLE_PERSONAL], "personal")
                        : rc;
}

/* A name that can stand in a category and a type. */
static int check_table_name(struct reading *reading, const struct dbk_yaml_node *key)
{
    struct dbk_fault fault = dbk_settings_fault(reading->file, key);
    if (dbk_fault_is_name(key->text))
        return DBK_OK;
    fault.why = "it becomes a part of the events' category and types";
    fault.fix = "use letters, digits and `_`: a view of the table can have such a name, or its "
                "schema can be in the connection's search_path";
    return dbk_fault_add(reading->loader->faults, &fault, "`%s` is no name", key->text.data);
}

static int take_table(struct reading *reading, const struct dbk_yaml_node *node,
                      struct dbk_capture_table *table, struct dbk_service_table *rules)
{
    const struct dbk_yaml_node *nodes[TABLE_KEY_COUNT] = {NULL};
    struct dbk_diagnostics *faults = reading->loader->faults;
    table->name = node->key->text.data;
    table->line = node->key->line;
    table->column = node->key->column;
    rules->version = 1;
    int rc = check_table_name(reading, node->key);
    if (rc == DBK_OK)
        rc = dbk_book_take_polling(reading->loader, reading->file, nodes + TABLE_POLLING, false,
                                   &table->polling);
    if (rc < 0 || node->kind == DBK_YAML_REFUSED || dbk_yaml_is_null(node))
        return rc;
    if (node->kind != DBK_YAML_MAPPING) {
        struct dbk_fault fault = dbk_settings_fault(reading->file, node);
        fault.fix = "write nothing behind its colon, or `columns`, `mask` and so on under it";
        return dbk_fault_add(faults, &fault, "the table `%s` is %s, where settings are expected",
                             table->name, dbk_yaml_kind_text(node));
    }
    rc =
        dbk_settings_read(reading->loader, reading->file, node, table_keys, TABLE_KEY_COUNT, nodes);
    if (rc == DBK_OK && nodes[TABLE_SUBJECT] != NULL)
        table->subject = nodes[TABLE_SUBJECT]->text.data;
    if (rc == DBK_OK)
        rc = take_lists(reading, table, nodes);
    if (rc == DBK_OK)
        rc = check_personal(reading, table, nodes);
    if (rc == DBK_OK && nodes[TABLE_CAPTURE] != NULL)
        rc = take_capture(reading, table, nodes[TABLE_CAPTURE]);
    if (rc == DBK_OK)
        rc = dbk_book_take_polling(reading->loader, reading->file, nodes + TABLE_POLLING,
                                   table->kind == DBK_CAPTURE_CDC, &table->polling);
    if (rc == DBK_OK)
        rc = dbk_book_check_key(reading->loader, dbk_settings_fault(reading->file, node),
                                reading->service, table);
    if (rc == DBK_OK)
        rc = dbk_book_take_public(reading->loader, reading->file, nodes[TABLE_PUBLIC],
                                  nodes[TABLE_VERSION], rules);
    return rc;
}

static int take_tables(struct reading *reading, const struct dbk_yaml_node *mapping)
{
    size_t capacity = 0;
    size_t count = 0;
    int rc = DBK_OK;
    for (const struct dbk_yaml_node *node = mapping->first; node != NULL; node = node->next)
        capacity++;
    struct dbk_capture_table *tables =
        dbk_arena_alloc_zero(&reading->loader->book->arena, capacity + 1, sizeof(*tables));
    struct dbk_service_table *rules =
        dbk_arena_alloc_zero(&reading->loader->book->arena, capacity + 1, sizeof(*rules));
    if (tables == NULL || rules == NULL)
        return DBK_ENOMEM;
    for (const struct dbk_yaml_node *node = mapping->first; node != NULL && rc == DBK_OK;
         node = node->next, count++)
        rc = take_table(reading, node, &tables[count], &rules[count]);
    reading->definition->tables = rules;
    reading->service->tables = tables;
    reading->service->table_count = count;
    if (rc < 0 || capacity > 0)
        return rc;
    struct dbk_fault fault = dbk_settings_fault(reading->file, mapping);
    fault.why = keys[KEY_TABLES].why;
    fault.fix = keys[KEY_TABLES].fix;
    return dbk_fault_add(reading->loader->faults, &fault, "`tables` names no table");
}

/* ---- Services ---- */

static int take_database(struct reading *reading, const struct dbk_yaml_node *node)
{
    const struct dbk_book_database *database = NULL;
    struct dbk_fault place = dbk_settings_fault(reading->file, node);
    int rc = dbk_book_choose(reading->loader, node->text.data, &place, &database);
    if (rc == DBK_OK && database != NULL) {
        reading->service->database = database->name;
        reading->service->address = database->path;
    }
    return rc;
}

/* What lies in a database needs its name. */
static int check_database(struct dbk_book_loader *loader, const char *file,
                          const struct dbk_yaml_node *root)
{
    static const char *const needs[] = {"tables", "outbox", "reads"};
    struct dbk_fault fault = dbk_settings_fault(file, root);
    if (dbk_yaml_find(root, "database") != NULL)
        return DBK_OK;
    fault.why = keys[KEY_DATABASE].why;
    fault.fix = keys[KEY_DATABASE].fix;
    for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
        if (dbk_yaml_find(root, needs[i]) != NULL)
            return dbk_fault_add(loader->faults, &fault, "`database` is missing");
    }
    if (dbk_yaml_find(root, "events") != NULL || dbk_yaml_find(root, "models") != NULL)
        return DBK_OK;
    fault.why = "a service owns something";
    return dbk_fault_add(loader->faults, &fault,
                         "there is neither `database` nor `events` nor `models`");
}

static int take_service(struct dbk_book_loader *loader, const struct dbk_book_file *file,
                        struct dbk_capture_service *service,
                        struct dbk_service_definition *definition,
                        const struct dbk_yaml_node **root_out)
{
    const struct dbk_yaml_node *root = NULL;
    const struct dbk_yaml_node *nodes[KEY_COUNT] = {NULL};
    struct reading reading = {loader, file->file, service, definition};
    service->name = file->name;
    service->file = file->file;
    definition->own = service;
    int rc = dbk_settings_open(loader, file->file, file->source, &root);
    *root_out = root;
    if (rc < 0 || root == NULL)
        return rc;
    rc = dbk_settings_read(loader, file->file, root, keys, KEY_COUNT, nodes);
    if (rc == DBK_OK && nodes[KEY_DATABASE] != NULL)
        rc = take_database(&reading, nodes[KEY_DATABASE]);
    if (rc == DBK_OK && nodes[KEY_TABLES] != NULL)
        rc = take_tables(&reading, nodes[KEY_TABLES]);
    if (rc == DBK_OK)
        rc = dbk_book_take_slot(loader, file->file, nodes[KEY_SLOT], service);
    if (rc == DBK_OK && nodes[KEY_OUTBOX] != NULL) {
        rc = dbk_book_take_outbox(loader, file->file, nodes[KEY_OUTBOX], &service->outbox);
        if (rc == DBK_OK)
            rc = dbk_book_check_way(loader, dbk_settings_fault(file->file, nodes[KEY_OUTBOX]),
                                    service, DBK_CAPTURE_OUTBOX);
    }
    if (rc == DBK_OK)
        rc = dbk_book_take_rules(loader, file->file, nodes[KEY_EVENTS], nodes[KEY_READS],
                                 nodes[KEY_MODELS], definition);
    if (rc == DBK_OK)
        rc = dbk_book_take_login(loader, file->file, nodes[KEY_ROLE], nodes[KEY_LOGIN], definition);
    if (rc == DBK_OK && nodes[KEY_USER] != NULL)
        rc = dbk_book_take_user(loader, file->file, nodes[KEY_USER], definition);
    if (rc == DBK_OK)
        rc = dbk_book_take_key(loader, file->file, nodes[KEY_KEY], nodes[KEY_SCOPES], definition);
    return rc < 0 ? rc : check_database(loader, file->file, root);
}

int dbk_book_read_services(struct dbk_book_loader *loader, struct dbk_error *err)
{
    struct dbk_book *book = loader->book;
    const struct dbk_book_file *files = NULL;
    size_t count = 0;
    int rc = dbk_book_read_folder(loader, "services", ".yaml", &files, &count, err);
    if (rc < 0)
        return rc;
    struct dbk_capture_service *services =
        dbk_arena_alloc_zero(&book->arena, count + 1, sizeof(*services));
    struct dbk_service_definition *definitions =
        dbk_arena_alloc_zero(&book->arena, count + 1, sizeof(*definitions));
    loader->service_roots =
        dbk_arena_alloc_zero(&book->arena, count + 1, sizeof(*loader->service_roots));
    if (services == NULL || definitions == NULL || loader->service_roots == NULL)
        return dbk_book_no_memory(err);
    for (size_t i = 0; i < count; i++) {
        rc = take_service(loader, &files[i], &services[i], &definitions[i],
                          &loader->service_roots[i]);
        if (rc < 0)
            return rc == DBK_ENOMEM ? dbk_book_no_memory(err) : rc;
    }
    book->services = services;
    book->service_definitions = definitions;
    book->service_count = count;
    return DBK_OK;
}

const struct dbk_capture_service *dbk_book_service(const struct dbk_book *book,
                                                   struct dbk_slice name)
{
    for (size_t i = 0; i < book->service_count; i++) {
        if (dbk_slice_equal_text(name, book->services[i].name))
            return &book->services[i];
    }
    return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Services against each other: owners, what contracts name, categories, models. */
#include <strings.h>

#include "book/loader.h"
#include "target/target.h"

/* ---- Who owns what ---- */

static bool is_same_table(const struct dbk_capture_service *service, const char *one,
                          const char *other)
{
    return dbk_target_dialect(service->address) == DBK_DIALECT_SQLITE ? strcasecmp(one, other) == 0
                                                                      : strcmp(one, other) == 0;
}

static bool owns(const struct dbk_capture_service *service, const char *table)
{
    if (service->outbox.table != NULL && is_same_table(service, service->outbox.table, table))
        return true;
    for (size_t i = 0; i < service->table_count; i++) {
        if (is_same_table(service, service->tables[i].name, table))
            return true;
    }
    return false;
}

static bool is_beside(const struct dbk_capture_service *one,
                      const struct dbk_capture_service *other)
{
    return one->database != NULL && other->database != NULL &&
           strcmp(one->database, other->database) == 0;
}

static int check_owner(struct dbk_book_loader *loader, size_t index, const char *table,
                       unsigned line, unsigned column)
{
    const struct dbk_service_definition *services = loader->book->service_definitions;
    const struct dbk_capture_service *own = services[index].own;
    for (size_t i = 0; i < index; i++) {
        const struct dbk_capture_service *other = services[i].own;
        if (!is_beside(own, other) || !owns(other, table))
            continue;
        struct dbk_fault fault = {.file = own->file,
                                  .line = line,
                                  .column = column,
                                  .why = "a table has one owner, who alone writes and changes it",
                                  .fix = "leave it to one of them: the other names it in `reads`"};
        return dbk_fault_add(loader->faults, &fault,
                             "the table `%s` of the database `%s` is owned by %s, too", table,
                             own->database, other->file);
    }
    return DBK_OK;
}

static int check_owners(struct dbk_book_loader *loader, size_t index)
{
    const struct dbk_service_definition *services = loader->book->service_definitions;
    const struct dbk_capture_service *own = services[index].own;
    int rc = DBK_OK;
    for (size_t i = 0; i < own->table_count && rc == DBK_OK; i++)
        rc = check_owner(loader, index, own->tables[i].name, own->tables[i].line,
                         own->tables[i].column);
    if (rc == DBK_OK && own->outbox.table != NULL)
        rc = check_owner(loader, index, own->outbox.table, own->outbox.line, own->outbox.column);
    if (rc < 0 || own->table_count > 0 || own->outbox.table != NULL ||
        dbk_service_share(services, loader->book->service_count, own->database) < 2)
        return rc;
    struct dbk_fault fault = {.file = own->file, .line = 1, .column = 1};
    fault.why = "in a shared database a service owns the tables that it names";
    fault.fix = "name them: `tables: {orders: }`";
    return dbk_fault_add(loader->faults, &fault,
                         "the database `%s` is shared, and this service owns no table of it",
                         own->database);
}

/* ---- What contracts name ---- */

static size_t find_service(const struct dbk_book *book, const char *name)
{
    size_t i = 0;
    while (i < book->service_count && strcmp(book->service_definitions[i].own->name, name) != 0)
        i++;
    return i;
}

static int report_no_service(struct dbk_book_loader *loader, struct dbk_fault *fault,
                             const char *name)
{
    const struct dbk_book *book = loader->book;
    const char **names =
        dbk_arena_alloc_zero(&loader->faults->arena, book->service_count + 1, sizeof(*names));
    if (names == NULL)
        return DBK_ENOMEM;
    for (size_t i = 0; i < book->service_count; i++)
        names[i] = book->services[i].name;
    int rc = dbk_fault_suggest(loader->faults, name, names, book->service_count,
                               "name a service of services/<service>.yaml", &fault->fix);
    return rc < 0 ? rc : dbk_fault_add(loader->faults, fault, "there is no service `%s`", name);
}

static int report_no_table(struct dbk_book_loader *loader, struct dbk_fault *fault,
                           const struct dbk_capture_service *owner, const char *name)
{
    const char **names =
        dbk_arena_alloc_zero(&loader->faults->arena, owner->table_count + 1, sizeof(*names));
    if (names == NULL)
        return DBK_ENOMEM;
    for (size_t i = 0; i < owner->table_count; i++)
        names[i] = owner->tables[i].name;
    fault->why = "an owner names the tables that others read";
    int rc = dbk_fault_suggest(loader->faults, name, names, owner->table_count,
                               "name it there, with the columns that are `public`", &fault->fix);
    return rc < 0
               ? rc
               : dbk_fault_add(loader->faults, fault, "%s names no table `%s`", owner->file, name);
}

static int check_columns(struct dbk_book_loader *loader, const char *file,
                         const struct dbk_yaml_node *list, const struct dbk_service_table *table,
                         const char *name)
{
    int rc = DBK_OK;
    for (const struct dbk_yaml_node *node = list == NULL ? NULL : list->first;
         node != NULL && rc == DBK_OK; node = node->next) {
        struct dbk_fault fault = dbk_settings_fault(file, node);
        if (node->kind != DBK_YAML_SCALAR ||
            dbk_service_has(table->public, table->public_count, node->text.data))
            continue;
        fault.why = "the table's owner says what others may read";
        rc = dbk_fault_suggest(loader->faults, node->text.data, table->public, table->public_count,
                               "add it to the table's `public`, or leave it out here", &fault.fix);
        if (rc == DBK_OK)
            rc = dbk_fault_add(loader->faults, &fault, "`%s` has no public column `%s`", name,
                               node->text.data);
    }
    return rc;
}

static int check_contract_version(struct dbk_book_loader *loader, const char *file,
                                  const struct dbk_yaml_node *node,
                                  const struct dbk_service_contract *contract,
                                  const struct dbk_service_table *table)
{
    const struct dbk_yaml_node *place = dbk_yaml_find(node, "version");
    struct dbk_fault fault = dbk_settings_fault(file, place == NULL ? node->key : place);
    if (contract->version == table->version)
        return DBK_OK;
    if (contract->version > table->version) {
        fault.fix = "write the version that the owner gives";
        return dbk_fault_add(loader->faults, &fault, "`%s.%s` has the version %ju, and not %ju yet",
                             contract->service, contract->table, (uintmax_t)table->version,
                             (uintmax_t)contract->version);
    }
    fault.warning = true;
    fault.why = "what others may read was changed since";
    fault.fix = "look at what was changed, and raise the version here";
    return dbk_fault_add(loader->faults, &fault,
                         "the contract is written for version %ju of `%s.%s`, which has %ju",
                         (uintmax_t)contract->version, contract->service, contract->table,
                         (uintmax_t)table->version);
}

static int check_contract(struct dbk_book_loader *loader, size_t index, size_t which,
                          const struct dbk_yaml_node *node)
{
    const struct dbk_book *book = loader->book;
    const struct dbk_service_definition *reader = &book->service_definitions[index];
    const struct dbk_service_contract *contract = &reader->contracts[which];
    struct dbk_fault fault = dbk_settings_fault(reader->own->file, node->key);
    size_t found = find_service(book, contract->service);
    if (*contract->table == '\0')
        return DBK_OK;
    if (found == book->service_count)
        return report_no_service(loader, &fault, contract->service);
    const struct dbk_service_definition *owner = &book->service_definitions[found];
    const struct dbk_capture_table *table =
        dbk_capture_table(owner->own, dbk_slice_of(contract->table));
    fault.fix = "leave it out";
    if (found == index)
        return dbk_fault_add(loader->faults, &fault, "`%s` is the service's own table",
                             node->key->text.data);
    if (table == NULL)
        return report_no_table(loader, &fault, owner->own, contract->table);
    if (!is_beside(reader->own, owner->own)) {
        fault.why = "nobody reaches into the database of another service";
        fault.fix = dbk_arena_format(&loader->faults->arena,
                                     "follow its changes: `events: {read: [%s.%s]}`",
                                     contract->service, contract->table);
        return fault.fix == NULL
                   ? DBK_ENOMEM
                   : dbk_fault_add(loader->faults, &fault,
                                   "the table `%s` lies in another database than this service's",
                                   node->key->text.data);
    }
    const struct dbk_service_table *rules = &owner->tables[table - owner->own->tables];
    int rc = check_columns(loader, reader->own->file, dbk_yaml_find(node, "columns"), rules,
                           node->key->text.data);
    return rc < 0 ? rc : check_contract_version(loader, reader->own->file, node, contract, rules);
}

static int check_contracts(struct dbk_book_loader *loader, size_t index)
{
    const struct dbk_yaml_node *mapping = dbk_yaml_find(loader->service_roots[index], "reads");
    const struct dbk_service_definition *reader = &loader->book->service_definitions[index];
    const struct dbk_yaml_node *node = mapping == NULL ? NULL : mapping->first;
    int rc = DBK_OK;
    for (size_t i = 0; i < reader->contract_count && node != NULL && rc == DBK_OK;
         i++, node = node->next)
        rc = check_contract(loader, index, i, node);
    return rc;
}

/* ---- Categories ---- */

/* A captured table as `service.table`: its service's place, or the count where there is none. */
static const struct dbk_capture_table *find_table(const struct dbk_book *book, const char *category,
                                                  size_t *service_out)
{
    const char *dot = strchr(category, '.');
    struct dbk_slice name = dbk_slice(category, dot == NULL ? 0 : (size_t)(dot - category));
    for (size_t i = 0; dot != NULL && i < book->service_count; i++) {
        if (!dbk_slice_equal_text(name, book->services[i].name))
            continue;
        *service_out = i;
        return dbk_capture_table(&book->services[i], dbk_slice_of(dot + 1));
    }
    *service_out = book->service_count;
    return NULL;
}

static int check_append(struct dbk_book_loader *loader, const char *file,
                        const struct dbk_yaml_node *node)
{
    struct dbk_fault fault = dbk_settings_fault(file, node);
    size_t service = 0;
    if (node->kind != DBK_YAML_SCALAR || node->text.size == 0)
        return DBK_OK;
    if (node->text.data[0] == '$') {
        fault.fix = "leave it out";
        return dbk_fault_add(loader->faults, &fault, "the category `%s` is Daybook's own",
                             node->text.data);
    }
    if (memchr(node->text.data, '-', node->text.size) != NULL) {
        fault.fix = "write what stands before the first `-` of its streams' names";
        return dbk_fault_add(loader->faults, &fault, "`%s` is no category", node->text.data);
    }
    (void)find_table(loader->book, node->text.data, &service);
    if (service == loader->book->service_count)
        return DBK_OK;
    fault.why = "its events are captured, and nobody else appends any";
    fault.fix = "leave it out: who changes the table's rows makes its events";
    return dbk_fault_add(loader->faults, &fault, "`%s` is a table of a service", node->text.data);
}

static bool is_appended(const struct dbk_book *book, const char *category)
{
    size_t service = 0;
    for (size_t i = 0; i < book->service_count; i++) {
        const struct dbk_service_definition *other = &book->service_definitions[i];
        if (dbk_service_has(other->appends, other->append_count, category))
            return true;
    }
    for (size_t i = 0; i < book->fold_count; i++) {
        if (strcmp(book->folds[i].name, category) == 0)
            return true;
    }
    return find_table(book, category, &service) != NULL;
}

/* Names that a category may have been meant for. */
static int suggest_category(struct dbk_book_loader *loader, const char *wanted,
                            const char **fix_out)
{
    const struct dbk_book *book = loader->book;
    struct dbk_arena *arena = &loader->faults->arena;
    size_t count = 0;
    size_t capacity = book->fold_count;
    for (size_t i = 0; i < book->service_count; i++)
        capacity += book->service_definitions[i].append_count + book->services[i].table_count;
    const char **names = dbk_arena_alloc_zero(arena, capacity + 1, sizeof(*names));
    if (names == NULL)
        return DBK_ENOMEM;
    for (size_t i = 0; i < book->fold_count; i++)
        names[count++] = book->folds[i].name;
    for (size_t i = 0; i < book->service_count; i++) {
        const struct dbk_service_definition *other = &book->service_definitions[i];
        for (size_t j = 0; j < other->append_count; j++)
            names[count++] = other->appends[j];
        for (size_t j = 0; j < other->own->table_count; j++) {
            names[count] =
                dbk_arena_format(arena, "%s.%s", other->own->name, other->own->tables[j].name);
            if (names[count++] == NULL)
                return DBK_ENOMEM;
        }
    }
    return dbk_fault_suggest(loader->faults, wanted, names, count,
                             "add it to the `append` of the service that appends it", fix_out);
}

static int check_read(struct dbk_book_loader *loader, const char *file,
                      const struct dbk_yaml_node *node)
{
    struct dbk_fault fault = dbk_settings_fault(file, node);
    if (node->kind != DBK_YAML_SCALAR)
        return DBK_OK;
    fault.why = "there would never be anything to read";
    size_t owner = 0;
    const struct dbk_capture_table *table = find_table(loader->book, node->text.data, &owner);
    if (table != NULL && table->kind == DBK_CAPTURE_NONE) {
        fault.fix = dbk_arena_format(&loader->faults->arena, "write `capture: cdc` under it in %s",
                                     loader->book->services[owner].file);
        return fault.fix == NULL ? DBK_ENOMEM
                                 : dbk_fault_add(loader->faults, &fault,
                                                 "the table `%s` is not captured", node->text.data);
    }
    if (is_appended(loader->book, node->text.data))
        return DBK_OK;
    int rc = suggest_category(loader, node->text.data, &fault.fix);
    return rc < 0 ? rc
                  : dbk_fault_add(loader->faults, &fault,
                                  "no service appends the category `%s`, and no table has it",
                                  node->text.data);
}

static int check_categories(struct dbk_book_loader *loader, size_t index)
{
    const char *file = loader->book->services[index].file;
    const struct dbk_yaml_node *events = dbk_yaml_find(loader->service_roots[index], "events");
    const struct dbk_yaml_node *append = events == NULL ? NULL : dbk_yaml_find(events, "append");
    const struct dbk_yaml_node *read = events == NULL ? NULL : dbk_yaml_find(events, "read");
    int rc = DBK_OK;
    for (const struct dbk_yaml_node *node = append == NULL ? NULL : append->first;
         node != NULL && rc == DBK_OK; node = node->next)
        rc = check_append(loader, file, node);
    for (const struct dbk_yaml_node *node = read == NULL ? NULL : read->first;
         node != NULL && rc == DBK_OK; node = node->next)
        rc = check_read(loader, file, node);
    return rc;
}

/* ---- Models ---- */

static int report_no_model(struct dbk_book_loader *loader, struct dbk_fault *fault,
                           const char *name)
{
    const struct dbk_book *book = loader->book;
    const char **names =
        dbk_arena_alloc_zero(&loader->faults->arena, book->model_count + 1, sizeof(*names));
    if (names == NULL)
        return DBK_ENOMEM;
    for (size_t i = 0; i < book->model_count; i++)
        names[i] = book->models[i].name;
    int rc = dbk_fault_suggest(loader->faults, name, names, book->model_count,
                               "name a folder of models/", &fault->fix);
    return rc < 0 ? rc : dbk_fault_add(loader->faults, fault, "there is no model `%s`", name);
}

static bool may_follow(const struct dbk_book *book, size_t index, const char *category)
{
    const struct dbk_service_definition *service = &book->service_definitions[index];
    size_t owner = 0;
    const struct dbk_capture_table *table = find_table(book, category, &owner);
    return (table != NULL && owner == index) ||
           dbk_service_has(service->appends, service->append_count, category) ||
           dbk_service_has(service->reads, service->read_count, category);
}

static int check_sources(struct dbk_book_loader *loader, size_t index, struct dbk_fault *fault,
                         const struct dbk_model_definition *model)
{
    int rc = DBK_OK;
    for (size_t i = 0; i < model->category_count && rc == DBK_OK; i++) {
        const char *category = dbk_arena_copy(&loader->faults->arena, model->categories[i]).data;
        if (category == NULL)
            return DBK_ENOMEM;
        if (may_follow(loader->book, index, category))
            continue;
        fault->why = "a service reads the categories that it says it reads";
        fault->fix = "add it to `events: {read: […]}`, or give the model to another service";
        rc = dbk_fault_add(loader->faults, fault,
                           "the model `%s` follows `%s`, which this service does not read",
                           model->name, category);
    }
    return rc;
}

static int check_model(struct dbk_book_loader *loader, size_t index,
                       const struct dbk_yaml_node *node)
{
    const struct dbk_book *book = loader->book;
    struct dbk_fault fault = dbk_settings_fault(book->services[index].file, node);
    size_t found = 0;
    if (node->kind != DBK_YAML_SCALAR)
        return DBK_OK;
    while (found < book->model_count && strcmp(book->models[found].name, node->text.data) != 0)
        found++;
    if (found == book->model_count)
        return loader->scope_unknown ? DBK_OK : report_no_model(loader, &fault, node->text.data);
    for (size_t i = 0; i < index; i++) {
        const struct dbk_service_definition *other = &book->service_definitions[i];
        if (!dbk_service_has(other->models, other->model_count, node->text.data))
            continue;
        fault.fix = "leave it to one of them";
        return dbk_fault_add(loader->faults, &fault, "the model `%s` is owned by %s, too",
                             node->text.data, other->own->file);
    }
    return check_sources(loader, index, &fault, &book->models[found]);
}

static int check_models(struct dbk_book_loader *loader, size_t index)
{
    const struct dbk_yaml_node *list = dbk_yaml_find(loader->service_roots[index], "models");
    int rc = DBK_OK;
    for (const struct dbk_yaml_node *node = list == NULL ? NULL : list->first;
         node != NULL && rc == DBK_OK; node = node->next)
        rc = check_model(loader, index, node);
    return rc;
}

int dbk_book_check_services(struct dbk_book_loader *loader, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; i < loader->book->service_count && rc == DBK_OK; i++) {
        if (loader->service_roots[i] == NULL)
            continue;
        rc = check_owners(loader, i);
        if (rc == DBK_OK)
            rc = check_contracts(loader, i);
        if (rc == DBK_OK)
            rc = check_categories(loader, i);
        if (rc == DBK_OK)
            rc = check_models(loader, i);
    }
    return rc < 0 ? dbk_book_no_memory(err) : DBK_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What services may: their contracts, categories and models. */
#include "book/loader.h"
#include "target/target.h"

enum events_key { EVENTS_APPEND, EVENTS_READ, EVENTS_KEY_COUNT };
static const struct dbk_setting events_keys[EVENTS_KEY_COUNT] = {
    [EVENTS_APPEND] = {"append", DBK_YAML_SEQUENCE, false, NULL,
                       "write the categories in a list: `append: [order]`"},
    [EVENTS_READ] = {"read", DBK_YAML_SEQUENCE, false, NULL,
                     "write the categories in a list: `read: [user]`"},
};

enum contract_key { CONTRACT_COLUMNS, CONTRACT_VERSION, CONTRACT_KEY_COUNT };
static const struct dbk_setting contract_keys[CONTRACT_KEY_COUNT] = {
    [CONTRACT_COLUMNS] = {"columns", DBK_YAML_SEQUENCE, true, "a contract names what it reads",
                          "write the columns in a list: `columns: [id, name]`"},
    [CONTRACT_VERSION] = {"version", DBK_YAML_SCALAR, true,
                          "it says which version of the table it was written for",
                          "write the version that the table's owner gives: `version: 1`"},
};

struct reading {
    struct dbk_book_loader *loader;
    const char *file;
};

/* ---- Lists and numbers ---- */

static int take_name(struct reading *reading, const struct dbk_yaml_node *node, const char *what,
                     const char **names, size_t *count)
{
    struct dbk_fault fault = dbk_settings_fault(reading->file, node);
    if (node->kind == DBK_YAML_REFUSED)
        return DBK_OK;
    if (node->kind != DBK_YAML_SCALAR || dbk_yaml_is_null(node) || node->text.size == 0)
        return dbk_fault_add(reading->loader->faults, &fault,
                             "a %s is %s, where a name is expected", what,
                             dbk_yaml_kind_text(node));
    fault.fix = "keep one of them";
    if (dbk_service_has(names, *count, node->text.data))
        return dbk_fault_add(reading->loader->faults, &fault, "the %s `%s` stands twice", what,
                             node->text.data);
    names[(*count)++] = node->text.data;
    return DBK_OK;
}

static int take_names(struct reading *reading, const struct dbk_yaml_node *list, const char *what,
                      const char *const **names_out, size_t *count_out)
{
    size_t capacity = 0;
    int rc = DBK_OK;
    if (list == NULL)
        return DBK_OK;
    for (const struct dbk_yaml_node *node = list->first; node != NULL; node = node->next)
        capacity++;
    const char **names =
        dbk_arena_alloc_zero(&reading->loader->book->arena, capacity + 1, sizeof(*names));
    if (names == NULL)
        return DBK_ENOMEM;
    for (const struct dbk_yaml_node *node = list->first; node != NULL && rc == DBK_OK;
         node = node->next)
        rc = take_name(reading, node, what, names, count_out);
    *names_out = names;
    return rc;
}

static int take_version(struct reading *reading, const struct dbk_yaml_node *node,
                        uint64_t *version_out)
{
    struct dbk_fault fault = dbk_settings_fault(reading->file, node);
    fault.fix = "write a whole number from 1: `version: 1`";
    if (dbk_slice_to_u64(node->text, version_out) && *version_out >= 1 &&
        *version_out <= DBK_SERVICE_VERSION_MAX)
        return DBK_OK;
    *version_out = 1;
    return dbk_fault_add(reading->loader->faults, &fault, "\"%s\" is no version", node->text.data);
}

int dbk_book_take_public(struct dbk_book_loader *loader, const char *file,
                         const struct dbk_yaml_node *public, const struct dbk_yaml_node *version,
                         struct dbk_service_table *table)
{
    struct reading reading = {loader, file};
    int rc = take_names(&reading, public, "column", &table->public, &table->public_count);
    return rc < 0 || version == NULL ? rc : take_version(&reading, version, &table->version);
}

/* ---- Contracts ---- */

static int take_contract(struct reading *reading, const struct dbk_yaml_node *node,
                         struct dbk_service_contract *contract)
{
    const struct dbk_yaml_node *nodes[CONTRACT_KEY_COUNT] = {NULL};
    struct dbk_slice name = node->key->text;
    struct dbk_arena *arena = &reading->loader->book->arena;
    const char *dot = memchr(name.data, '.', name.size);
    size_t size = dot == NULL ? 0 : (size_t)(dot - name.data);
    *contract = (struct dbk_service_contract){.service = "",
                                              .table = "",
                                              .line = node->key->line,
                                              .column = node->key->column,
                                              .version = 1};
    if (dot == NULL || size == 0 || size + 1 == name.size) {
        struct dbk_fault fault = dbk_settings_fault(reading->file, node->key);
        fault.fix = "write `<service>.<table>`: `users.people`";
        return dbk_fault_add(reading->loader->faults, &fault, "`%s` is no table of a service",
                             name.data);
    }
    contract->service = dbk_arena_copy(arena, dbk_slice(name.data, size)).data;
    contract->table = dot + 1;
    if (contract->service == NULL)
        return DBK_ENOMEM;
    if (node->kind == DBK_YAML_REFUSED)
        return DBK_OK;
    if (node->kind != DBK_YAML_MAPPING) {
        struct dbk_fault fault = dbk_settings_fault(reading->file, node);
        fault.fix = "write `{columns: [id, name], version: 1}`";
        return dbk_fault_add(reading->loader->faults, &fault,
                             "the contract on `%s` is %s, where settings are expected", name.data,
                             dbk_yaml_kind_text(node));
    }
    int rc = dbk_settings_read(reading->loader, reading->file, node, contract_keys,
                               CONTRACT_KEY_COUNT, nodes);
    if (rc == DBK_OK)
        rc = take_names(reading, nodes[CONTRACT_COLUMNS], "column", &contract->columns,
                        &contract->column_count);
    if (rc == DBK_OK && nodes[CONTRACT_COLUMNS] != NULL && contract->column_count == 0) {
        struct dbk_fault fault = dbk_settings_fault(reading->file, nodes[CONTRACT_COLUMNS]);
        fault.fix = contract_keys[CONTRACT_COLUMNS].fix;
        rc = dbk_fault_add(reading->loader->faults, &fault, "the contract names no column");
    }
    return rc < 0 || nodes[CONTRACT_VERSION] == NULL
               ? rc
               : take_version(reading, nodes[CONTRACT_VERSION], &contract->version);
}

static int take_contracts(struct reading *reading, const struct dbk_yaml_node *mapping,
                          struct dbk_service_definition *service)
{
    size_t count = 0;
    int rc = DBK_OK;
    if (mapping == NULL)
        return DBK_OK;
    for (const struct dbk_yaml_node *node = mapping->first; node != NULL; node = node->next)
        count++;
    struct dbk_service_contract *contracts =
        dbk_arena_alloc_zero(&reading->loader->book->arena, count + 1, sizeof(*contracts));
    if (contracts == NULL)
        return DBK_ENOMEM;
    for (const struct dbk_yaml_node *node = mapping->first; node != NULL && rc == DBK_OK;
         node = node->next) {
        size_t before = reading->loader->faults->error_count;
        struct dbk_service_contract *contract = &contracts[service->contract_count++];
        rc = take_contract(reading, node, contract);
        if (reading->loader->faults->error_count > before)
            contract->table = ""; /* What it names is not looked for. */
    }
    service->contracts = contracts;
    return rc;
}

int dbk_book_take_rules(struct dbk_book_loader *loader, const char *file,
                        const struct dbk_yaml_node *events, const struct dbk_yaml_node *reads,
                        const struct dbk_yaml_node *models, struct dbk_service_definition *service)
{
    struct reading reading = {loader, file};
    const struct dbk_yaml_node *nodes[EVENTS_KEY_COUNT] = {NULL};
    int rc = DBK_OK;
    if (events != NULL)
        rc = dbk_settings_read(loader, file, events, events_keys, EVENTS_KEY_COUNT, nodes);
    if (rc == DBK_OK)
        rc = take_names(&reading, nodes[EVENTS_APPEND], "category", &service->appends,
                        &service->append_count);
    if (rc == DBK_OK)
        rc = take_names(&reading, nodes[EVENTS_READ], "category", &service->reads,
                        &service->read_count);
    if (rc == DBK_OK)
        rc = take_contracts(&reading, reads, service);
    return rc < 0 ? rc
                  : take_names(&reading, models, "model", &service->models, &service->model_count);
}

/* ---- Logging in ---- */

static int check_role(struct dbk_book_loader *loader, const char *file,
                      const struct dbk_yaml_node *role)
{
    struct dbk_fault fault = dbk_settings_fault(file, role);
    if (dbk_fault_is_name(role->text) && role->text.size < DBK_SERVICE_ROLE_SIZE_MAX &&
        strncmp(role->text.data, "pg_", 3) != 0)
        return DBK_OK;
    fault.fix = "use at most 62 letters, digits and `_`, and do not begin with a digit or `pg_`";
    return dbk_fault_add(loader->faults, &fault, "`%s` is no name for a role", role->text.data);
}

/* `file:secrets/users` or `env:USERS`, as an address of the database's kind. */
static int take_address(struct dbk_book_loader *loader, const char *file,
                        const struct dbk_yaml_node *login, struct dbk_service_definition *service)
{
    struct dbk_fault fault = dbk_settings_fault(file, login);
    struct dbk_book *book = loader->book;
    const char *text = login->text.data;
    bool in_file = strncmp(text, "file:", 5) == 0;
    const char *name = strchr(text, ':') == NULL ? "" : strchr(text, ':') + 1;
    const char *kind = service->own->address;
    const char *colon = kind == NULL ? NULL : strchr(kind, ':');
    fault.why = "whoever can read the book could read a password in it";
    fault.fix = "name a file: `login: file:secrets/<service>`, or a variable: `login: env:<NAME>`";
    if ((!in_file && strncmp(text, "env:", 4) != 0) || *name == '\0')
        return dbk_fault_add(loader->faults, &fault,
                             "a service's connection string is named, not written here");
    if (kind == NULL || *kind == '\0')
        return DBK_OK;
    /* Nobody logs in to a file: another environment of the book may have a server. */
    if (dbk_target_dialect(kind) == DBK_DIALECT_SQLITE || colon == NULL)
        return DBK_OK;
    service->login =
        in_file && *name != '/'
            ? dbk_arena_format(&book->arena, "%.*s:file:%s/%s", (int)(colon - kind), kind,
                               book->folder, name)
            : dbk_arena_format(&book->arena, "%.*s:%s", (int)(colon - kind), kind, text);
    return service->login == NULL ? DBK_ENOMEM : DBK_OK;
}

int dbk_book_take_login(struct dbk_book_loader *loader, const char *file,
                        const struct dbk_yaml_node *role, const struct dbk_yaml_node *login,
                        struct dbk_service_definition *service)
{
    int rc = role == NULL ? DBK_OK : check_role(loader, file, role);
    service->role = role == NULL ? service->own->name : role->text.data;
    return rc < 0 || login == NULL ? rc : take_address(loader, file, login, service);
}

/* ---- Users of the machine ---- */

/* As useradd takes it. */
static bool is_user_name(struct dbk_slice name)
{
    bool good = name.size > 0 && name.size < 33 && (name.data[0] < '0' || name.data[0] > '9') &&
                name.data[0] != '-';
    for (size_t i = 0; good && i < name.size; i++) {
        char c = name.data[i];
        good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_' || c == '-' || c == '.';
    }
    return good;
}

int dbk_book_take_user(struct dbk_book_loader *loader, const char *file,
                       const struct dbk_yaml_node *user, struct dbk_service_definition *service)
{
    struct dbk_fault fault = dbk_settings_fault(file, user);
    struct dbk_slice name = user->text;
    const char *colon = memchr(name.data, ':', name.size);
    struct dbk_slice group = {0};
    if (colon != NULL) {
        name.size = (size_t)(colon - name.data);
        group = dbk_slice(colon + 1, user->text.size - name.size - 1);
    }
    fault.fix = "write a user of this machine, or a user and a group: `user: orders:shop`";
    if (!is_user_name(name) || (colon != NULL && !is_user_name(group)))
        return dbk_fault_add(loader->faults, &fault, "`%s` is no user", user->text.data);
    service->user = dbk_arena_copy(&loader->book->arena, name).data;
    service->group = colon == NULL ? NULL : dbk_arena_copy(&loader->book->arena, group).data;
    return service->user == NULL || (colon != NULL && service->group == NULL) ? DBK_ENOMEM : DBK_OK;
}

/* ---- API keys ---- */

/* `file:secrets/users.key`, from the book's folder. */
static int take_key_file(struct dbk_book_loader *loader, const char *file,
                         const struct dbk_yaml_node *key, struct dbk_service_definition *service)
{
    struct dbk_fault fault = dbk_settings_fault(file, key);
    const char *path = key->text.data + 5;
    fault.why = "whoever can read the book could read a key in it";
    fault.fix = "name a file: `key: file:secrets/<service>.key`";
    if (strncmp(key->text.data, "file:", 5) != 0 || *path == '\0')
        return dbk_fault_add(loader->faults, &fault,
                             "a service's API key is named, not written here");
    service->key =
        *path == '/' ? path
                     : dbk_arena_format(&loader->book->arena, "%s/%s", loader->book->folder, path);
    return service->key == NULL ? DBK_ENOMEM : DBK_OK;
}

static int take_scope(struct dbk_book_loader *loader, const char *file,
                      const struct dbk_yaml_node *node, struct dbk_scope *scopes, size_t *count)
{
    struct dbk_fault fault = dbk_settings_fault(file, node);
    struct dbk_error wrong = {0};
    if (node->kind == DBK_YAML_REFUSED)
        return DBK_OK;
    fault.fix = "write scopes as docs/access.md has them: `scopes: [query:totals]`";
    if (node->kind != DBK_YAML_SCALAR || dbk_yaml_is_null(node))
        return dbk_fault_add(loader->faults, &fault, "a scope is %s, where a text is expected",
                             dbk_yaml_kind_text(node));
    if (dbk_scope_parse(node->text, &scopes[*count], &wrong) < 0)
        return dbk_fault_add(loader->faults, &fault, "%s", wrong.message);
    (*count)++;
    return DBK_OK;
}

int dbk_book_take_key(struct dbk_book_loader *loader, const char *file,
                      const struct dbk_yaml_node *key, const struct dbk_yaml_node *list,
                      struct dbk_service_definition *service)
{
    size_t capacity = 0;
    int rc = key == NULL ? DBK_OK : take_key_file(loader, file, key, service);
    if (rc < 0 || list == NULL)
        return rc;
    for (const struct dbk_yaml_node *node = list->first; node != NULL; node = node->next)
        capacity++;
    struct dbk_scope *scopes =
        dbk_arena_alloc_zero(&loader->book->arena, capacity + 1, sizeof(*scopes));
    if (scopes == NULL)
        return DBK_ENOMEM;
    for (const struct dbk_yaml_node *node = list->first; node != NULL && rc == DBK_OK;
         node = node->next)
        rc = take_scope(loader, file, node, scopes, &service->scope_count);
    service->scopes = scopes;
    return rc;
}

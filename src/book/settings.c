/* SPDX-License-Identifier: Apache-2.0 */
/* book.yaml, and book.<environment>.yaml on top of its databases and limits. */
#include "book/loader.h"

#define EVENT_SIZE_DEFAULT ((uint64_t)1 << 20)
#define EVENT_SIZE_MIN ((uint64_t)1 << 10)
#define EVENT_SIZE_MAX ((uint64_t)32 << 20)
#define BATCH_COUNT_DEFAULT 10000
#define BATCH_COUNT_MAX 100000
#define DATABASES_MAX 64
/* Shorter than the month in which such a wish is to be answered. */
#define HORIZON_DEFAULT_US (INT64_C(28) * 24 * 3600 * 1000000)

enum key {
    KEY_DATABASES,
    KEY_LIMITS,
    KEY_CALLS,
    KEY_BOOK,
    KEY_DATA,
    KEY_SCHEMA,
    KEY_KEYS,
    KEY_HORIZON,
    KEY_COUNT
};
static const struct dbk_setting keys[KEY_COUNT] = {
    [KEY_DATABASES] = {"databases", DBK_YAML_MAPPING, false, NULL,
                       "write `reading: sqlite:reading.db` under it"},
    [KEY_LIMITS] = {"limits", DBK_YAML_MAPPING, false, NULL, "write `event_bytes: 1 MiB` under it"},
    [KEY_CALLS] = {"calls", DBK_YAML_MAPPING, false, NULL,
                   "write `payment: https://payments.example` under it"},
    [KEY_BOOK] = {"book", DBK_YAML_SCALAR, true, "a book is known by its name",
                  "begin with `book: <name>`"},
    [KEY_DATA] = {"data", DBK_YAML_SCALAR, false, NULL, "write a folder's path"},
    [KEY_SCHEMA] = {"schema", DBK_YAML_SCALAR, false, NULL, "write strict, warn or off"},
    [KEY_KEYS] = {"keys", DBK_YAML_MAPPING, false, NULL, "write `root: file:<path>` under it"},
    [KEY_HORIZON] = {"horizon", DBK_YAML_SCALAR, false, NULL, "write `horizon: 28 days`"},
};
/* An environment has the first three. */
#define ENVIRONMENT_KEY_COUNT KEY_BOOK

static const struct dbk_setting keys_settings[] = {
    {"root", DBK_YAML_SCALAR, true, "nothing else can be said of keys",
     "write `root: file:<path>`"},
};

enum limit { LIMIT_EVENT_BYTES, LIMIT_BATCH_EVENTS, LIMIT_COUNT };
static const struct dbk_setting limits[LIMIT_COUNT] = {
    [LIMIT_EVENT_BYTES] = {"event_bytes", DBK_YAML_SCALAR, false, NULL, "write `1 MiB`"},
    [LIMIT_BATCH_EVENTS] = {"batch_events", DBK_YAML_SCALAR, false, NULL, "write `10000`"},
};

struct reading {
    struct dbk_book_loader *loader;
    const char *file;
    bool environment;
    struct dbk_book_database *databases; /* DATABASES_MAX */
    size_t database_count;
};

/* ---- Limits ---- */

bool dbk_book_parse_size(struct dbk_slice text, uint64_t *size_out)
{
    static const struct {
        const char *name;
        unsigned shift;
    } units[] = {{"", 0}, {"B", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}};
    size_t digits = 0;
    uint64_t number = 0;
    while (digits < text.size && text.data[digits] >= '0' && text.data[digits] <= '9')
        digits++;
    if (!dbk_slice_to_u64(dbk_slice(text.data, digits), &number))
        return false;
    size_t begin = digits;
    while (begin < text.size && text.data[begin] == ' ')
        begin++;
    struct dbk_slice unit = dbk_slice(text.data + begin, text.size - begin);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (!dbk_slice_equal_text(unit, units[i].name))
            continue;
        *size_out = number << units[i].shift;
        return *size_out >> units[i].shift == number;
    }
    return false;
}

static int take_event_bytes(struct reading *reading, const struct dbk_yaml_node *node)
{
    uint64_t size = 0;
    struct dbk_fault fault = dbk_settings_fault(reading->file, node);
    fault.fix = "write a size such as `512 KiB` or `1 MiB`";
    if (!dbk_book_parse_size(node->text, &size))
        return dbk_fault_add(reading->loader->faults, &fault, "\"%s\" is no size", node->text.data);
    fault.fix = "choose one from 1 KiB to 32 MiB";
    if (size < EVENT_SIZE_MIN || size > EVENT_SIZE_MAX)
        return dbk_fault_add(reading->loader->faults, &fault, "no event can be limited to \"%s\"",
                             node->text.data);
    reading->loader->book->event_size_max = (size_t)size;
    return DBK_OK;
}

static int take_batch_events(struct reading *reading, const struct dbk_yaml_node *node)
{
    uint64_t count = 0;
    struct dbk_fault fault = dbk_settings_fault(reading->file, node);
    fault.fix = "write a whole number from 1 to 100000";
    if (!dbk_slice_to_u64(node->text, &count) || count == 0 || count > BATCH_COUNT_MAX)
        return dbk_fault_add(reading->loader->faults, &fault,
                             "a batch cannot be limited to \"%s\" events", node->text.data);
    reading->loader->book->batch_count_max = (size_t)count;
    return DBK_OK;
}

static int take_limits(struct reading *reading, const struct dbk_yaml_node *mapping)
{
    const struct dbk_yaml_node *nodes[LIMIT_COUNT];
    int rc = dbk_settings_read(reading->loader, reading->file, mapping, limits, LIMIT_COUNT, nodes);
    if (rc == DBK_OK && nodes[LIMIT_EVENT_BYTES] != NULL)
        rc = take_event_bytes(reading, nodes[LIMIT_EVENT_BYTES]);
    if (rc == DBK_OK && nodes[LIMIT_BATCH_EVENTS] != NULL)
        rc = take_batch_events(reading, nodes[LIMIT_BATCH_EVENTS]);
    return rc;
}

/* ---- Databases ---- */

/* The data directory's own names: a database there would be taken for, or overwrite, them. */
static bool is_taken(struct dbk_slice path)
{
    static const char *const taken[] = {"LOCK", "log",     "index",        "snapshots",
                                        "keys", "backups", "daybook.sock", "access.key"};
    while (dbk_slice_starts_with(path, DBK_SLICE_LITERAL("./")))
        path = dbk_slice(path.data + 2, path.size - 2);
    const char *slash = memchr(path.data, '/', path.size);
    struct dbk_slice first =
        slash == NULL ? path : dbk_slice(path.data, (size_t)(slash - path.data));
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
        if (dbk_slice_equal_text(first, taken[i]))
            return true;
    }
    return false;
}

/* True when a part of the path is "..". */
static bool climbs(const char *path)
{
    for (;;) {
        size_t size = strcspn(path, "/");
        if (size == 2 && path[0] == '.' && path[1] == '.')
            return true;
        if (path[size] == '\0')
            return false;
        path += size + 1;
    }
}

/* What is wrong with a SQLite database's path; NULL when nothing is. */
static const char *path_fault(const char *path, const char **fix_out)
{
    size_t size = strlen(path);
    *fix_out = "name a file in the data directory, or an absolute path: `sqlite:reading.db`";
    if (size == 0 || path[size - 1] == '/')
        return "no file is named";
    if (path[0] == ':')
        return "the database must be a file";
    if (strncmp(path, "file:", 5) == 0)
        return "a path is expected, not a URI";
    if (path[0] != '/' && climbs(path))
        return "the path leads out of the data directory";
    if (path[0] != '/' && is_taken(dbk_slice_of(path)))
        return "this name in the data directory is Daybook's own";
    return NULL;
}

static int check_secret(struct reading *reading, const struct dbk_yaml_node *node)
{
    struct dbk_fault fault = dbk_settings_fault(reading->file, node);
    const char *value = node->text.data;
    if (strchr(value, '@') == NULL && strstr(value, "password") == NULL)
        return DBK_OK;
    fault.why = "whoever can read the book could read it";
    fault.fix = "change that secret, and keep it out of the book";
    return dbk_fault_add(reading->loader->faults, &fault, "a secret seems to stand in this file");
}

/* Never says what stands behind the colon: it may be a secret. */
static int refuse_kind(struct reading *reading, const struct dbk_yaml_node *node,
                       struct dbk_slice kind)
{
    static const char *const available[] = {"sqlite", "postgres", "neo4j", "mongodb"};
    struct dbk_diagnostics *faults = reading->loader->faults;
    struct dbk_fault fault = dbk_settings_fault(reading->file, node);
    int rc = check_secret(reading, node);
    if (rc < 0)
        return rc;
    fault.fix = "write `sqlite:<file>`, or `postgres:file:<file with a connection string>`";
    if (kind.data == NULL)
        return dbk_fault_add(faults, &fault, "the database `%s` does not say of what kind it is",
                             node->key->text.data);
    const char *name = dbk_arena_copy(&faults->arena, kind).data;
    if (name == NULL)
        return DBK_ENOMEM;
    rc = dbk_fault_suggest(faults, name, available, 4, fault.fix, &fault.fix);
    if (rc < 0)
        return rc;
    return dbk_fault_add(faults, &fault,
                         "`%s` databases cannot be used: sqlite, postgres, neo4j and mongodb can",
                         name);
}

/*
 * `postgres:file:secrets/users` or `postgres:env:USERS`: where the connection string stands, never
 * the string. A file is looked for from the book's folder, and read with each connect.
 */
static int read_server(struct reading *reading, const struct dbk_yaml_node *node,
                       struct dbk_slice kind, const char **path_out)
{
    struct dbk_book *book = reading->loader->book;
    struct dbk_fault fault = dbk_settings_fault(reading->file, node);
    const char *rest = node->text.data + kind.size + 1;
    bool file = strncmp(rest, "file:", 5) == 0;
    const char *name = strchr(rest, ':') == NULL ? "" : strchr(rest, ':') + 1;
    fault.why = "whoever can read the book could read a password in it";
    fault.fix = dbk_arena_format(&book->arena,
                                 "write the connection string into a file of its own and name "
                                 "that: `%.*s:file:secrets/<name>`, or a variable: "
                                 "`%.*s:env:<NAME>`",
                                 DBK_SLICE_ARGS(kind), DBK_SLICE_ARGS(kind));
    if (fault.fix == NULL)
        return DBK_ENOMEM;
    if ((!file && strncmp(rest, "env:", 4) != 0) || *name == '\0')
        return check_secret(reading, node) < 0
                   ? DBK_ENOMEM
                   : dbk_fault_add(reading->loader->faults, &fault,
                                   "a server's connection string is named, not written here");
    *path_out = file && *name != '/' ? dbk_arena_format(&book->arena, "%.*s:file:%s/%s",
                                                        DBK_SLICE_ARGS(kind), book->folder, name)
                                     : node->text.data;
    return *path_out == NULL ? DBK_ENOMEM : DBK_OK;
}

/* *path_out stays NULL when the value is faulty. */
static int read_path(struct reading *reading, const struct dbk_yaml_node *node,
                     const char **path_out)
{
    struct dbk_book *book = reading->loader->book;
    struct dbk_fault fault = dbk_settings_fault(reading->file, node);
    *path_out = NULL;
    if (node->kind == DBK_YAML_REFUSED)
        return DBK_OK;
    fault.fix = "write `sqlite:<file>`, or `postgres:file:<file with a connection string>`";
    if (node->kind != DBK_YAML_SCALAR || dbk_yaml_is_null(node))
        return dbk_fault_add(reading->loader->faults, &fault,
                             "the database `%s` is %s, where a text is expected",
                             node->key->text.data, dbk_yaml_kind_text(node));
    const char *colon = strchr(node->text.data, ':');
    struct dbk_slice kind = {0};
    if (colon != NULL)
        kind = dbk_slice(node->text.data, (size_t)(colon - node->text.data));
    if (dbk_slice_equal_text(kind, "postgres") || dbk_slice_equal_text(kind, "neo4j") ||
        dbk_slice_equal_text(kind, "mongodb"))
        return read_server(reading, node, kind, path_out);
    if (!dbk_slice_equal_text(kind, "sqlite"))
        return refuse_kind(reading, node, kind);
    const char *path = colon + 1;
    const char *what = path_fault(path, &fault.fix);
    if (what != NULL)
        return dbk_fault_add(reading->loader->faults, &fault, "\"%s\": %s", node->text.data, what);
    *path_out = path[0] == '/' ? path : dbk_arena_format(&book->arena, "%s/%s", book->data, path);
    return *path_out == NULL ? DBK_ENOMEM : DBK_OK;
}

/* The database's entry; NULL when the name is faulty. */
static int find_entry(struct reading *reading, const struct dbk_yaml_node *key,
                      struct dbk_book_database **entry_out)
{
    struct dbk_diagnostics *faults = reading->loader->faults;
    struct dbk_fault fault = dbk_settings_fault(reading->file, key);
    const char *names[DATABASES_MAX];
    *entry_out = NULL;
    for (size_t i = 0; i < reading->database_count; i++) {
        names[i] = reading->databases[i].name;
        if (strcmp(names[i], key->text.data) == 0) {
            *entry_out = &reading->databases[i];
            return DBK_OK;
        }
    }
    if (reading->environment) {
        fault.why = "an environment says where the book's databases are, and brings none";
        int rc = dbk_fault_suggest(faults, key->text.data, names, reading->database_count,
                                   "add it to book.yaml", &fault.fix);
        if (rc < 0)
            return rc;
        return dbk_fault_add(faults, &fault, "book.yaml has no database `%s`", key->text.data);
    }
    if (!dbk_fault_is_name(key->text)) {
        fault.fix = "use letters, digits and `_`, and begin with no digit";
        return dbk_fault_add(faults, &fault, "`%s` is no name", key->text.data);
    }
    if (reading->database_count == DATABASES_MAX)
        return dbk_fault_add(faults, &fault, "a book has more than %d databases", DATABASES_MAX);
    *entry_out = &reading->databases[reading->database_count++];
    /* A faulty one is known all the same, so that models that name it are not faulty, too. */
    **entry_out = (struct dbk_book_database){.name = key->text.data, .path = ""};
    return DBK_OK;
}

static int check_path_is_new(struct reading *reading, const struct dbk_yaml_node *node,
                             const struct dbk_book_database *entry)
{
    for (size_t i = 0; i < reading->database_count; i++) {
        const struct dbk_book_database *other = &reading->databases[i];
        if (other == entry || *entry->path == '\0' || strcmp(other->path, entry->path) != 0)
            continue;
        struct dbk_fault fault = dbk_settings_fault(reading->file, node);
        fault.why = "tables of the one would be taken for the other's";
        fault.fix = "give each a file of its own";
        return dbk_fault_add(reading->loader->faults, &fault,
                             "the databases `%s` and `%s` are the same", other->name, entry->name);
    }
    return DBK_OK;
}

static int take_databases(struct reading *reading, const struct dbk_yaml_node *mapping)
{
    int rc = DBK_OK;
    for (const struct dbk_yaml_node *node = mapping->first; node != NULL && rc == DBK_OK;
         node = node->next) {
        struct dbk_book_database *entry = NULL;
        const char *path = NULL;
        rc = find_entry(reading, node->key, &entry);
        if (rc == DBK_OK)
            rc = read_path(reading, node, &path);
        if (rc < 0 || entry == NULL || path == NULL)
            continue;
        entry->path = path;
        rc = check_path_is_new(reading, node, entry);
    }
    return rc;
}

/* ---- The files ---- */

static int take_name(struct reading *reading, const struct dbk_yaml_node *node)
{
    struct dbk_book *book = reading->loader->book;
    struct dbk_fault fault = dbk_settings_fault(reading->file, node);
    bool good = node->text.size > 0 && dbk_fault_is_name(dbk_slice(node->text.data, 1));
    for (size_t i = 1; i < node->text.size && good; i++)
        good = node->text.data[i] == '-' ||
               dbk_fault_is_name(dbk_slice((char[2]){'_', node->text.data[i]}, 2));
    book->name = node->text.data;
    if (good)
        return DBK_OK;
    fault.fix = "use letters, digits, `_` and `-`, and begin with a letter";
    return dbk_fault_add(reading->loader->faults, &fault, "\"%s\" is no name for a book",
                         node->text.data);
}

static int take_data(struct dbk_book_loader *loader, const struct dbk_yaml_node *node)
{
    struct dbk_book *book = loader->book;
    const char *data = node == NULL ? "data" : node->text.data;
    if (loader->options->data != NULL)
        book->data = dbk_arena_copy(&book->arena, dbk_slice_of(loader->options->data)).data;
    else if (data[0] == '/')
        book->data = data;
    else
        book->data = dbk_arena_format(&book->arena, "%s/%s", book->folder, data);
    if (book->data == NULL)
        return DBK_ENOMEM;
    if (*data != '\0')
        return DBK_OK;
    struct dbk_fault fault = dbk_settings_fault("book.yaml", node);
    fault.fix = "write a folder's path";
    return dbk_fault_add(loader->faults, &fault, "`data` names no folder");
}

static int take_schema(struct reading *reading, const struct dbk_yaml_node *node)
{
    static const char *const names[] = {
        [DBK_SCHEMA_STRICT] = "strict", [DBK_SCHEMA_WARN] = "warn", [DBK_SCHEMA_OFF] = "off"};
    const size_t count = sizeof(names) / sizeof(names[0]);
    struct dbk_fault fault = dbk_settings_fault(reading->file, node);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(node->text.data, names[i]) == 0) {
            reading->loader->book->schema_mode = (enum dbk_schema_mode)i;
            return DBK_OK;
        }
    }
    int rc = dbk_fault_suggest(reading->loader->faults, node->text.data, names, count,
                               "write strict, warn or off", &fault.fix);
    return rc < 0 ? rc
                  : dbk_fault_add(reading->loader->faults, &fault, "`%s` is no way to check events",
                                  node->text.data);
}

/* The file is looked at when keys are needed: a book can be checked where its secrets are not. */
static int take_keys(struct reading *reading, const struct dbk_yaml_node *mapping)
{
    static const char prefix[] = "file:";
    struct dbk_book *book = reading->loader->book;
    const struct dbk_yaml_node *root = NULL;
    int rc = dbk_settings_read(reading->loader, reading->file, mapping, keys_settings, 1, &root);
    if (rc < 0 || root == NULL)
        return rc;
    const char *path = root->text.data + sizeof(prefix) - 1;
    if (strncmp(root->text.data, prefix, sizeof(prefix) - 1) != 0 || *path == '\0') {
        struct dbk_fault fault = dbk_settings_fault(reading->file, root);
        fault.why = "a secret does not belong into the book";
        fault.fix = "write the passphrase into a file, and `root: file:<path>` here";
        return dbk_fault_add(reading->loader->faults, &fault, "`root` names no file");
    }
    book->keys_root =
        path[0] == '/' ? path : dbk_arena_format(&book->arena, "%s/%s", book->folder, path);
    return book->keys_root == NULL ? DBK_ENOMEM : DBK_OK;
}

static int take_horizon(struct reading *reading, const struct dbk_yaml_node *node)
{
    struct dbk_fault fault = dbk_settings_fault(reading->file, node);
    int64_t horizon_us = 0;
    fault.why = "it is how long backups of keys are kept at most";
    fault.fix = keys[KEY_HORIZON].fix;
    if (!dbk_duration_parse(node->text, &horizon_us) || horizon_us < 0)
        return dbk_fault_add(reading->loader->faults, &fault, "\"%s\" is no duration",
                             node->text.data);
    reading->loader->book->horizon_us = horizon_us;
    return DBK_OK;
}

static int take_file(struct reading *reading, struct dbk_slice text)
{
    const struct dbk_yaml_node *root = NULL;
    const struct dbk_yaml_node *nodes[KEY_COUNT] = {NULL};
    size_t count = reading->environment ? ENVIRONMENT_KEY_COUNT : KEY_COUNT;
    int rc = dbk_settings_open(reading->loader, reading->file, text, &root);
    if (rc == DBK_OK && root != NULL)
        rc = dbk_settings_read(reading->loader, reading->file, root, keys, count, nodes);
    if (rc == DBK_OK && nodes[KEY_BOOK] != NULL)
        rc = take_name(reading, nodes[KEY_BOOK]);
    if (rc == DBK_OK && !reading->environment)
        rc = take_data(reading->loader, nodes[KEY_DATA]);
    if (rc == DBK_OK && nodes[KEY_SCHEMA] != NULL)
        rc = take_schema(reading, nodes[KEY_SCHEMA]);
    if (rc == DBK_OK && nodes[KEY_KEYS] != NULL)
        rc = take_keys(reading, nodes[KEY_KEYS]);
    if (rc == DBK_OK && nodes[KEY_HORIZON] != NULL)
        rc = take_horizon(reading, nodes[KEY_HORIZON]);
    if (rc == DBK_OK && nodes[KEY_DATABASES] != NULL)
        rc = take_databases(reading, nodes[KEY_DATABASES]);
    if (rc == DBK_OK && nodes[KEY_LIMITS] != NULL)
        rc = take_limits(reading, nodes[KEY_LIMITS]);
    if (rc == DBK_OK && nodes[KEY_CALLS] != NULL)
        rc = dbk_book_take_calls(reading->loader, reading->file, reading->environment,
                                 nodes[KEY_CALLS]);
    return rc;
}

static bool has(const struct dbk_book_names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->items[i], name) == 0)
            return true;
    }
    return false;
}

static int read_file(struct reading *reading, const char *file, struct dbk_error *err)
{
    struct dbk_slice text;
    reading->file = file;
    int rc = dbk_book_read(reading->loader, file, &text, err);
    if (rc == DBK_OK && text.data == NULL && !reading->environment)
        rc = take_data(reading->loader, NULL);
    else if (rc == DBK_OK && text.data != NULL)
        rc = take_file(reading, text);
    return rc == DBK_ENOMEM ? dbk_book_no_memory(err) : rc;
}

static int read_environment(struct reading *reading, const struct dbk_book_names *names,
                            struct dbk_error *err)
{
    const char *environment = reading->loader->options->environment;
    const char *file = dbk_arena_format(&reading->loader->book->arena, "book.%s.yaml", environment);
    if (file == NULL)
        return dbk_book_no_memory(err);
    if (!has(names, file)) /* A name with a slash is in no folder. */
        return dbk_error_set(err, DBK_ENOTFOUND,
                             "%s has no %s: --env names one of its book.<environment>.yaml",
                             reading->loader->options->folder, file);
    reading->environment = true;
    return read_file(reading, file, err);
}

int dbk_book_read_settings(struct dbk_book_loader *loader, struct dbk_error *err)
{
    struct dbk_book *book = loader->book;
    struct dbk_book_names names;
    struct reading reading = {.loader = loader};
    book->name = "";
    book->event_size_max = EVENT_SIZE_DEFAULT;
    book->batch_count_max = BATCH_COUNT_DEFAULT;
    book->horizon_us = HORIZON_DEFAULT_US;
    reading.databases =
        dbk_arena_alloc_zero(&book->arena, DATABASES_MAX, sizeof(*reading.databases));
    if (reading.databases == NULL)
        return dbk_book_no_memory(err);
    int rc = dbk_book_list(loader, "", &names, err);
    if (rc < 0)
        return rc;
    if (!has(&names, "book.yaml"))
        return dbk_error_set(err, DBK_ENOTFOUND,
                             "%s has no book.yaml: name a book's folder with --book, or make one "
                             "with `daybook new`",
                             loader->options->folder);
    rc = read_file(&reading, "book.yaml", err);
    if (rc == DBK_OK && loader->options->environment != NULL)
        rc = read_environment(&reading, &names, err);
    book->databases = reading.databases;
    book->database_count = reading.database_count;
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* queries/<Name>.sql and views/<name>.sql, checked against the models' tables. */
#include <ctype.h>
#include <strings.h>

#include "book/handlers.h"
#include "book/loader.h"

#define PARAMETERS_MAX 256

int dbk_book_choose(struct dbk_book_loader *loader, const char *name, const struct dbk_fault *place,
                    const struct dbk_book_database **database_out)
{
    const struct dbk_book *book = loader->book;
    struct dbk_diagnostics *faults = loader->faults;
    struct dbk_fault fault = *place;
    *database_out = NULL;
    if (name == NULL && book->database_count == 1) {
        *database_out = &book->databases[0];
        return DBK_OK;
    }
    if (name == NULL) {
        fault.fix = book->database_count == 0
                        ? "name one in book.yaml: `databases: {reading: sqlite:reading.db}`"
                        : "write `database: <name>`: book.yaml has several";
        return dbk_fault_add(faults, &fault, "no database is named");
    }
    const char **names =
        dbk_arena_alloc_zero(&loader->book->arena, book->database_count + 1, sizeof(*names));
    if (names == NULL)
        return DBK_ENOMEM;
    for (size_t i = 0; i < book->database_count; i++)
        names[i] = book->databases[i].name;
    *database_out = dbk_book_database(book, name);
    if (*database_out != NULL)
        return DBK_OK;
    int rc = dbk_fault_suggest(faults, name, names, book->database_count,
                               "add it to the `databases` of book.yaml", &fault.fix);
    return rc < 0 ? rc : dbk_fault_add(faults, &fault, "book.yaml has no database `%s`", name);
}

/* ---- Heads ---- */

/* What stands behind `-- key:` (where it is no SQL `// key:`) in one of the comment lines at the
   start; data is NULL when there is no such line. */
static struct dbk_slice find_head(struct dbk_slice text, const char *key)
{
    size_t offset = 0;
    size_t key_size = strlen(key);
    while (offset < text.size) {
        const char *end = memchr(text.data + offset, '\n', text.size - offset);
        size_t size = end == NULL ? text.size - offset : (size_t)(end - text.data) - offset;
        struct dbk_slice line = dbk_slice(text.data + offset, size);
        size_t at = 0;
        offset += size + 1;
        while (at < size && isspace((unsigned char)line.data[at]))
            at++;
        if (at == size)
            continue;
        if (size - at < 2 ||
            (memcmp(line.data + at, "--", 2) != 0 && memcmp(line.data + at, "//", 2) != 0))
            break;
        at += 2;
        while (at < size && isspace((unsigned char)line.data[at]))
            at++;
        if (size - at <= key_size || strncmp(line.data + at, key, key_size) != 0 ||
            line.data[at + key_size] != ':')
            continue;
        at += key_size + 1;
        while (at < size && isspace((unsigned char)line.data[at]))
            at++;
        while (size > at && isspace((unsigned char)line.data[size - 1]))
            size--;
        return dbk_slice(line.data + at, size - at);
    }
    return (struct dbk_slice){0};
}

/* Chooses the database that a file's head names. */
static int choose(struct dbk_book_loader *loader, const char *file, struct dbk_slice text,
                  const struct dbk_book_database **database_out)
{
    struct dbk_slice head = find_head(text, "database");
    struct dbk_fault place = {.file = file, .line = 1, .column = 1};
    const char *name = NULL;
    if (head.data != NULL) {
        dbk_fault_place(&place, text, (size_t)(head.data - text.data));
        name = dbk_arena_copy(&loader->book->arena, head).data;
        if (name == NULL)
            return DBK_ENOMEM;
    }
    return dbk_book_choose(loader, name, &place, database_out);
}

/* ---- Views ---- */

/* With a generation behind it, a name that PostgreSQL does not cut. */
#define SERVER_NAME_MAX 46

/* Names that a view's tables would share with others. */
static const char *name_fault(const char *name)
{
    if (strcasecmp(name, "events") == 0)
        return "`events` is the log's own table";
    if (strncasecmp(name, "sqlite_", 7) == 0)
        return "names that begin with `sqlite_` are the database's own";
    if (strncasecmp(name, "_daybook", 8) == 0)
        return "names that begin with `_daybook` are Daybook's own";
    for (const char *at = strstr(name, "__g"); at != NULL; at = strstr(at + 1, "__g")) {
        size_t digits = strspn(at + 3, "0123456789");
        const char *rest = at + 3 + digits;
        if (*rest == 'n') /* what is stored beside it */
            rest += 1 + strspn(rest + 1, "0123456789");
        if (digits > 0 && *rest == '\0')
            return "names that end with `__g` and a number are of generations";
    }
    return NULL;
}

/* A server's view: in a database that keeps views, one SELECT to PostgreSQL's parser, and of a name
   that PostgreSQL keeps as it is. *good is false where it is not. */
static int check_server_view(struct dbk_book_loader *loader, const struct dbk_book_file *file,
                             const struct dbk_book_database *database, bool *good)
{
    struct dbk_fault fault = {.file = file->file, .line = 1, .column = 1};
    struct dbk_error failure = {0};
    int at = -1;
    *good = false;
    if (dbk_target_dialect(database->path) != DBK_DIALECT_POSTGRES) {
        fault.why = "views are kept in SQLite and PostgreSQL databases";
        fault.fix = "name one of those in its head: `-- database: <name>`";
        return dbk_fault_add(loader->faults, &fault, "the view's database `%s` keeps no views",
                             database->name);
    }
    if (strlen(file->name) > SERVER_NAME_MAX ||
        strspn(file->name, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(file->name)) {
        fault.why = "PostgreSQL reads a name without quotes in small letters, and cuts a long one";
        fault.fix = "name the file otherwise";
        return dbk_fault_add(loader->faults, &fault,
                             "a view in PostgreSQL has a name of small letters, digits and `_`, of "
                             "at most %d bytes",
                             SERVER_NAME_MAX);
    }
    int rc = dbk_target_check(database->path, file->source, DBK_GUARD_QUERY, &at, &failure);
    if (rc == DBK_ENOMEM)
        return rc;
    *good = rc == DBK_OK;
    dbk_fault_place(&fault, file->source, (size_t)(at < 0 ? 0 : at));
    fault.why = "the view could not be refreshed";
    fault.fix = "a view is one SELECT, in the language of its database";
    return *good ? DBK_OK : dbk_fault_add(loader->faults, &fault, "%s", failure.message);
}

/* What refreshes change is recorded in SQLite alone. */
static int report_alerts(struct dbk_book_loader *loader, const struct dbk_book_file *file,
                         const struct dbk_view_definition *view)
{
    struct dbk_fault fault = {.file = file->file,
                              .why = "nobody would be told: what its refreshes change is not kept",
                              .fix = "keep the view in SQLite"};
    struct dbk_slice when = view->alerts[0].when;
    dbk_fault_place(&fault, file->source,
                    when.data == NULL ? 0 : (size_t)(when.data - file->source.data));
    return dbk_fault_add(loader->faults, &fault, "a view in PostgreSQL has no alerts");
}

/* The time zone that a schedule names is looked for where the machine has them. */
static int find_zone(struct dbk_book_loader *loader, const struct dbk_view_definition *view,
                     struct dbk_schedule *schedule, size_t place)
{
    struct dbk_error failure = {0};
    struct dbk_fault fault = {.file = view->file,
                              .why = "when it is time could not be told",
                              .fix = "write a name of the tz database, such as Europe/Berlin, or "
                                     "none for UTC; where none is known, install tzdata"};
    int rc = dbk_schedule_find_zone(schedule, loader->options->os, &loader->book->arena, &failure);
    if (rc >= 0 || rc == DBK_ENOMEM)
        return rc;
    dbk_text_place(view->sql, place, &fault.line, &fault.column);
    return dbk_fault_add(loader->faults, &fault, "%s", failure.message);
}

static int take_view(struct dbk_book_loader *loader, const struct dbk_book_file *file,
                     struct dbk_view_definition *views, size_t *count, struct dbk_error *err)
{
    const struct dbk_book_database *database = NULL;
    struct dbk_fault fault = {.file = file->file, .fix = "name the file otherwise"};
    const char *what = name_fault(file->name);
    int rc = what == NULL ? DBK_OK : dbk_fault_add(loader->faults, &fault, "%s", what);
    if (rc == DBK_OK)
        rc = choose(loader, file->file, file->source, &database);
    if (rc < 0)
        return dbk_book_no_memory(err);
    rc =
        dbk_view_parse(file->name, file->file, file->source, database == NULL ? "" : database->name,
                       &loader->book->arena, &views[*count], loader->faults, err);
    if (rc == DBK_OK)
        rc =
            find_zone(loader, &views[*count], &views[*count].schedule, views[*count].refresh_place);
    if (rc == DBK_OK)
        rc = find_zone(loader, &views[*count], &views[*count].verify, views[*count].verify_place);
    if (rc < 0)
        return rc;
    bool good = true;
    if (database != NULL && dbk_target_dialect(database->path) != DBK_DIALECT_SQLITE &&
        views[*count].alert_count > 0 && report_alerts(loader, file, &views[*count]) < 0)
        return dbk_book_no_memory(err);
    if (database != NULL && dbk_target_dialect(database->path) != DBK_DIALECT_SQLITE &&
        check_server_view(loader, file, database, &good) < 0)
        return dbk_book_no_memory(err);
    if (!good)
        database = NULL;
    if (what != NULL || database == NULL) {
        loader->scope_unknown = true;
        return DBK_OK;
    }
    views[*count].database = database->name;
    views[*count].database_path = database->path;
    views[*count].folder = loader->book->folder;
    (*count)++;
    return DBK_OK;
}

static int read_views(struct dbk_book_loader *loader, struct dbk_error *err)
{
    struct dbk_book *book = loader->book;
    const struct dbk_book_file *files = NULL;
    size_t file_count = 0;
    size_t count = 0;
    int rc = dbk_book_read_folder(loader, "views", ".sql", &files, &file_count, err);
    if (rc < 0)
        return rc;
    struct dbk_view_definition *views =
        dbk_arena_alloc_zero(&book->arena, file_count + 1, sizeof(*views));
    if (views == NULL)
        return dbk_book_no_memory(err);
    for (size_t i = 0; i < file_count && rc == DBK_OK; i++)
        rc = take_view(loader, &files[i], views, &count, err);
    book->views = views;
    book->view_count = count;
    return rc;
}

/* ---- Names that several things make ---- */

struct made {
    const char *name;
    const char *database;
    const char *file;
};

static int report_made_twice(struct dbk_book_loader *loader, const struct made *first,
                             const struct made *second)
{
    const struct dbk_fault fault = {.file = second->file,
                                    .why = "one database has a name once",
                                    .fix = "name one of them otherwise"};
    return dbk_fault_add(loader->faults, &fault, "`%s` is made by %s, too", second->name,
                         first->file);
}

static int take_made(struct dbk_book_loader *loader, struct made *list, size_t *count,
                     const struct made *item)
{
    for (size_t i = 0; i < *count; i++) {
        if (strcasecmp(list[i].name, item->name) == 0 &&
            strcmp(list[i].database, item->database) == 0)
            return report_made_twice(loader, &list[i], item);
    }
    list[(*count)++] = *item;
    return DBK_OK;
}

#define MADE_MAX 4096

/* Tables of two models, or of a model and a view, may not have one name. */
static int check_made(struct dbk_book_loader *loader, struct dbk_error *err)
{
    struct dbk_book *book = loader->book;
    size_t count = 0;
    struct made *list = dbk_arena_alloc(&book->arena, MADE_MAX * sizeof(*list));
    if (list == NULL)
        return dbk_book_no_memory(err);
    for (size_t i = 0; i < book->model_count; i++) {
        const struct dbk_model_definition *model = &book->models[i];
        const char **tables = NULL;
        size_t table_count = 0;
        /* Others have the model's name in front of theirs. */
        if (!dbk_dialect_is_sql(dbk_target_dialect(model->database_path)))
            continue;
        int rc = dbk_model_tables(model, &book->arena, &tables, &table_count, err);
        if (rc == DBK_ENOMEM)
            return rc;
        if (rc < 0) /* A schema that does not run is reported already. */
            continue;
        for (size_t j = 0; j < table_count && count < MADE_MAX; j++) {
            const struct made item = {tables[j], model->database, model->schema_file};
            if (take_made(loader, list, &count, &item) < 0)
                return dbk_book_no_memory(err);
        }
    }
    for (size_t i = 0; i < book->view_count && count < MADE_MAX; i++) {
        const struct dbk_view_definition *view = &book->views[i];
        const struct made item = {view->name, view->database, view->file};
        if (take_made(loader, list, &count, &item) < 0)
            return dbk_book_no_memory(err);
    }
    return DBK_OK;
}

/* ---- Queries ---- */

/* Of a language that is no SQL: what stands before a parameter's name is one byte. */
static int check_own_parameters(struct dbk_book_loader *loader, const struct dbk_book_file *file,
                                bool *good_out)
{
    struct dbk_fault fault = {.file = file->file, .fix = "name it without a dot"};
    int rc = DBK_OK;
    for (size_t offset = 0; offset < file->source.size && rc == DBK_OK;) {
        struct dbk_slice name =
            dbk_text_parameter(dbk_book_language(file->file), file->source, offset, &offset);
        if (name.size == 0 || memchr(name.data, '.', name.size) == NULL)
            continue;
        *good_out = false;
        dbk_fault_place(&fault, file->source, (size_t)(name.data - file->source.data) - 1);
        rc = dbk_fault_add(loader->faults, &fault, "a query's parameter is a plain `%cname`",
                           name.data[-1]);
    }
    return rc;
}

/* Only `:name` can be given with a request; *good_out is false when there are others. */
static int check_parameters(struct dbk_book_loader *loader, const struct dbk_book_file *file,
                            bool *good_out)
{
    struct dbk_slice sql = file->source;
    struct dbk_fault fault = {.file = file->file, .fix = "write `:name`"};
    size_t offset = 0;
    int rc = DBK_OK;
    *good_out = true;
    if (!dbk_dialect_is_sql(dbk_book_language(file->file)))
        return check_own_parameters(loader, file, good_out);
    while (offset < sql.size && rc == DBK_OK) {
        struct dbk_sql_token token = dbk_sql_next(sql, offset);
        if (token.kind == DBK_SQL_END || token.kind == DBK_SQL_BROKEN)
            break;
        bool other = token.kind == DBK_SQL_OTHER && strchr("?@$", token.text.data[0]) != NULL;
        bool nested = token.kind == DBK_SQL_PARAMETER &&
                      memchr(token.text.data, '.', token.text.size) != NULL;
        if (other || nested) {
            *good_out = false;
            dbk_fault_place(&fault, sql, offset);
            rc = dbk_fault_add(loader->faults, &fault, "a query's parameter is a plain `:name`");
        }
        offset += token.text.size;
    }
    return rc;
}

static int read_parameters(struct dbk_book_loader *loader, struct dbk_book_query *query,
                           struct dbk_error *err)
{
    struct dbk_arena *arena = &loader->book->arena;
    struct dbk_slice *names = NULL;
    struct dbk_buf sql;
    size_t count = 0;
    dbk_buf_init(&sql, DBK_BOOK_FILE_SIZE_MAX * 8);
    int rc = dbk_text_rewrite(dbk_book_language(query->file), query->sql, NULL, 0, &sql, arena,
                              &names, &count, err);
    dbk_buf_release(&sql);
    if (rc < 0)
        return rc == DBK_ENOMEM ? rc : DBK_OK; /* What does not scan does not prepare. */
    if (count > PARAMETERS_MAX) {
        const struct dbk_fault fault = {.file = query->file, .line = 1, .column = 1};
        rc = dbk_fault_add(loader->faults, &fault, "the query has more than %d parameters",
                           PARAMETERS_MAX);
        return rc < 0 ? dbk_book_no_memory(err) : DBK_OK;
    }
    const char **parameters = dbk_arena_alloc_zero(arena, count + 1, sizeof(*parameters));
    if (parameters == NULL)
        return dbk_book_no_memory(err);
    for (size_t i = 0; i < count; i++) {
        parameters[i] = dbk_arena_copy(arena, names[i]).data;
        if (parameters[i] == NULL)
            return dbk_book_no_memory(err);
    }
    query->parameters = parameters;
    query->parameter_count = count;
    return DBK_OK;
}

/* A query to a server is parsed: which tables there are only the server knows. */
static int check_at_server(struct dbk_book_loader *loader, const struct dbk_book_query *query,
                           struct dbk_slice text)
{
    struct dbk_fault fault = {.file = query->file};
    struct dbk_error failure = {0};
    struct dbk_slice *names = NULL;
    struct dbk_buf sql;
    size_t count = 0;
    int at = -1;
    bool own = !dbk_dialect_is_sql(dbk_book_language(query->file)); /* checked as written */
    dbk_buf_init(&sql, DBK_BOOK_FILE_SIZE_MAX * 8);
    int rc = dbk_text_rewrite(dbk_book_language(query->file), query->sql, NULL, 0, &sql,
                              &loader->book->arena, &names, &count, &failure);
    if (rc == DBK_OK)
        rc = dbk_target_check(query->database->path, own ? query->sql : dbk_buf_slice(&sql),
                              DBK_GUARD_QUERY, &at, &failure);
    dbk_fault_place(&fault, text,
                    (size_t)(query->sql.data - text.data) + (size_t)(at < 0 ? 0 : at));
    dbk_buf_release(&sql);
    return rc == DBK_OK || rc == DBK_ENOMEM
               ? rc
               : dbk_fault_add(loader->faults, &fault, "%s", failure.message);
}

/* A file is in its database's language; *good is false where it is not. */
static bool speaks(struct dbk_book_loader *loader, const char *file,
                   const struct dbk_book_database *database, bool *good)
{
    struct dbk_fault fault = {.file = file, .line = 1, .column = 1};
    if (database == NULL || dbk_book_speaks(file, database->path))
        return true;
    *good = false;
    enum dbk_dialect dialect = dbk_target_dialect(database->path);
    fault.fix = dbk_arena_format(&loader->book->arena,
                                 "end its name with `%s`, or name another database in its head: "
                                 "`%s database: <name>`",
                                 dbk_book_ending(dialect),
                                 dbk_dialect_is_sql(dbk_book_language(file)) ? "--" : "//");
    return fault.fix != NULL &&
           dbk_fault_add(loader->faults, &fault, "the database `%s` speaks %s", database->name,
                         dbk_book_language_name(dialect)) == DBK_OK;
}

/* check: the query as it is checked; its database is NULL when it cannot be. */
static int take_query(struct dbk_book_loader *loader, const struct dbk_book_file *file,
                      struct dbk_book_query *query, struct dbk_view_definition *check,
                      struct dbk_error *err)
{
    bool good = false;
    size_t behind = 0;
    const struct dbk_book_database *database = NULL;
    *query = (struct dbk_book_query){.name = file->name, .file = file->file, .whole = file->source};
    query->sql = dbk_text_statement(dbk_book_language(file->file), file->source, 0, &behind);
    if (choose(loader, file->file, file->source, &database) < 0 ||
        check_parameters(loader, file, &good) < 0)
        return dbk_book_no_memory(err);
    query->database = database;
    if (good && !speaks(loader, file->file, database, &good))
        return dbk_book_no_memory(err);
    *check = (struct dbk_view_definition){.file = file->file, .sql = file->source};
    bool server = database != NULL && dbk_target_dialect(database->path) != DBK_DIALECT_SQLITE;
    if (good && server && check_at_server(loader, query, file->source) < 0)
        return dbk_book_no_memory(err);
    if (good && database != NULL && !server)
        check->database = database->name;
    return read_parameters(loader, query, err);
}

/* Those in SQL, and behind them those in Cypher, and MongoDB's. */
static int read_query_files(struct dbk_book_loader *loader, const struct dbk_book_file **files_out,
                            size_t *count_out, struct dbk_error *err)
{
    static const char *const endings[] = {".sql", ".cypher", ".json", ".sql", ".cypher"};
    const struct dbk_book_file *files[3] = {NULL};
    size_t counts[3] = {0};
    size_t count = 0;
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < 3; i++) {
        const char *const others[] = {endings[i + 1], endings[i + 2], NULL};
        rc = dbk_book_read_folder_beside(loader, "queries", endings[i], others, &files[i],
                                         &counts[i], err);
        count += counts[i];
    }
    if (rc < 0)
        return rc;
    struct dbk_book_file *all = dbk_arena_alloc_zero(&loader->book->arena, count + 1, sizeof(*all));
    if (all == NULL)
        return dbk_book_no_memory(err);
    *files_out = all;
    *count_out = count;
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < counts[i]; j++)
            *all++ = files[i][j];
    }
    return DBK_OK;
}

static int read_queries(struct dbk_book_loader *loader, struct dbk_error *err)
{
    struct dbk_book *book = loader->book;
    const struct dbk_view_scope scope = {book->views, book->view_count, book->models,
                                         book->model_count};
    const struct dbk_book_file *files = NULL;
    size_t count = 0;
    size_t check_count = 0;
    int rc = read_query_files(loader, &files, &count, err);
    if (rc < 0)
        return rc;
    struct dbk_book_query *queries =
        dbk_arena_alloc_zero(&book->arena, count + 1, sizeof(*queries));
    struct dbk_view_definition *checks =
        dbk_arena_alloc_zero(&book->arena, count + 1, sizeof(*checks));
    if (queries == NULL || checks == NULL)
        return dbk_book_no_memory(err);
    for (size_t i = 0; i < count && rc == DBK_OK; i++) {
        rc = take_query(loader, &files[i], &queries[i], &checks[check_count], err);
        if (checks[check_count].database != NULL)
            check_count++;
    }
    book->queries = queries;
    book->query_count = count;
    if (rc == DBK_OK && !loader->scope_unknown)
        rc = dbk_views_check_queries(checks, check_count, &scope, loader->faults, err);
    return rc;
}

int dbk_book_read_queries(struct dbk_book_loader *loader, struct dbk_error *err)
{
    struct dbk_book *book = loader->book;
    int rc = read_views(loader, err);
    if (rc == DBK_OK)
        rc = check_made(loader, err);
    if (rc == DBK_OK && !loader->scope_unknown)
        rc = dbk_views_check(book->views, book->view_count, book->models, book->model_count,
                             loader->faults, err);
    return rc == DBK_OK ? read_queries(loader, err) : rc;
}

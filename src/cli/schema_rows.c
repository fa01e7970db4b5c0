/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/schema_rows.h"

#include "base/fault.h"

#define ROW_SIZE_MAX ((size_t)16 << 20)
#define NAMES_MAX 1000

int dbk_schema_rows_open(const struct dbk_arguments *arguments, const char *const *columns,
                         struct dbk_schema_rows *rows_out, struct dbk_error *err)
{
    struct dbk_table_options options =
        dbk_data_options(arguments, &(struct dbk_data_show){.table_columns = columns});
    *rows_out = (struct dbk_schema_rows){.table = dbk_table_create(&options),
                                         .json = dbk_json_create(ROW_SIZE_MAX)};
    dbk_buf_init(&rows_out->row, ROW_SIZE_MAX);
    return rows_out->table == NULL || rows_out->json == NULL
               ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
               : DBK_OK;
}

int dbk_schema_rows_put(struct dbk_schema_rows *rows, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    int rc = rows->row.rc < 0
                 ? dbk_error_set(err, rows->row.rc, "a row: %s", dbk_code_text(rows->row.rc))
                 : dbk_json_parse(rows->json, dbk_buf_slice(&rows->row), &root, err);
    if (rc == DBK_OK)
        rc = dbk_table_row(rows->table, root, err);
    dbk_buf_reset(&rows->row);
    return rc;
}

int dbk_schema_rows_end(struct dbk_schema_rows *rows, struct dbk_error *err)
{
    return dbk_table_end(rows->table, err);
}

void dbk_schema_rows_close(struct dbk_schema_rows *rows)
{
    dbk_table_free(rows->table);
    dbk_json_free(rows->json);
    dbk_buf_release(&rows->row);
}

int dbk_schema_rows_find(const struct dbk_book *book, const char *type,
                         const struct dbk_schema **schema_out, struct dbk_error *err)
{
    const char *names[NAMES_MAX];
    size_t count = 0;
    *schema_out = dbk_schemas_newest(book->schemas, dbk_slice_of(type));
    if (*schema_out != NULL)
        return DBK_OK;
    for (; count < dbk_schemas_count(book->schemas) && count < NAMES_MAX; count++)
        names[count] = dbk_schema_type(dbk_schemas_at(book->schemas, count)).data;
    const char *closest = dbk_closest_name(type, names, count);
    return dbk_error_set(err, DBK_ENOTFOUND, "the type %s is not declared in events/%s%s%s", type,
                         closest == NULL ? "" : "; did you mean ", closest == NULL ? "" : closest,
                         closest == NULL ? "" : "?");
}

/* ---- Who names a field ---- */

struct users {
    struct dbk_slice type;
    struct dbk_slice field;
    dbk_schema_user_fn each;
    void *context;
};

static bool is_word(char byte)
{
    return dbk_fault_is_name(dbk_slice((char[2]){'_', byte}, 2));
}

/* Where a word stands in a text; NULL: nowhere. */
static const char *find_word(struct dbk_slice text, struct dbk_slice word)
{
    const char *end = text.data + text.size;
    for (const char *at = text.data; word.size > 0 && at < end; at++) {
        at = memmem(at, (size_t)(end - at), word.data, word.size);
        if (at == NULL)
            return NULL;
        bool before = at > text.data && is_word(at[-1]);
        bool after = at + word.size < end && is_word(at[word.size]);
        if (!before && !after)
            return at;
    }
    return NULL;
}

/* Each line that names the field outside of its comment. */
static int search_lines(const struct users *users, const char *kind, const char *file,
                        unsigned line, struct dbk_slice text)
{
    int rc = DBK_OK;
    for (; text.size > 0 && rc >= 0; line++) {
        const char *end = memchr(text.data, '\n', text.size);
        size_t size = end == NULL ? text.size : (size_t)(end - text.data);
        const char *comment = memmem(text.data, size, "--", 2);
        size_t code = comment == NULL ? size : (size_t)(comment - text.data);
        if (find_word(dbk_slice(text.data, code), users->field) != NULL)
            rc = users->each(users->context, kind, file, line);
        size += end != NULL;
        text = dbk_slice(text.data + size, text.size - size);
    }
    return rc;
}

static int search_files(const struct users *users, const char *kind,
                        const struct dbk_book_file *files, size_t count)
{
    int rc = DBK_OK;
    for (size_t i = 0; i < count && rc >= 0; i++) {
        if (find_word(files[i].source, users->type) != NULL)
            rc = search_lines(users, kind, files[i].file, 1, files[i].source);
    }
    return rc;
}

static bool names_field(const struct dbk_schema_path *path, struct dbk_slice field)
{
    for (size_t i = 0; i < path->count; i++) {
        if (dbk_slice_equal(path->steps[i].key, field))
            return true;
    }
    return false;
}

static int search_upcasters(const struct dbk_book *book, const struct dbk_schema *newest,
                            const struct users *users)
{
    int rc = DBK_OK;
    for (uint16_t version = 2; version <= dbk_schema_version(newest) && rc >= 0; version++) {
        const struct dbk_schema *schema = dbk_schemas_find(book->schemas, users->type, version);
        const struct dbk_schema_script *script = dbk_schema_script(schema);
        size_t count = 0;
        const struct dbk_upcast_step *steps = dbk_schema_upcast(schema, &count);
        if (script != NULL)
            rc = search_lines(users, "upcaster", script->file, 1, script->source);
        for (size_t i = 0; i < count && rc >= 0; i++) {
            if (names_field(&steps[i].path, users->field) ||
                names_field(&steps[i].to, users->field))
                rc =
                    users->each(users->context, "upcaster", dbk_schema_file(schema), steps[i].line);
        }
    }
    return rc;
}

static int search_models(const struct dbk_book *book, const struct users *users)
{
    int rc = DBK_OK;
    for (size_t i = 0; i < book->model_count; i++) {
        const struct dbk_model_definition *model = &book->models[i];
        for (size_t j = 0; j < model->handler_count && rc >= 0; j++) {
            const struct dbk_handler *handler = &model->handlers[j];
            if (dbk_slice_equal(handler->type, users->type))
                rc = search_lines(users, "handler", handler->file, handler->line, handler->sql);
        }
    }
    return rc;
}

static int search_sql(const struct users *users, const char *kind, const char *file,
                      struct dbk_slice sql)
{
    return find_word(sql, users->type) == NULL ? DBK_OK : search_lines(users, kind, file, 1, sql);
}

int dbk_schema_users(const struct dbk_book *book, const struct dbk_schema *schema,
                     struct dbk_slice field, dbk_schema_user_fn each, void *context)
{
    const struct users users = {
        .type = dbk_schema_type(schema), .field = field, .each = each, .context = context};
    int rc = search_files(&users, "fold", book->folds, book->fold_count);
    if (rc >= 0)
        rc = search_files(&users, "command", book->commands, book->command_count);
    if (rc >= 0)
        rc = search_files(&users, "import", book->imports, book->import_count);
    if (rc >= 0)
        rc = search_upcasters(book, schema, &users);
    if (rc >= 0)
        rc = search_models(book, &users);
    for (size_t i = 0; i < book->query_count && rc >= 0; i++)
        rc = search_sql(&users, "query", book->queries[i].file, book->queries[i].sql);
    for (size_t i = 0; i < book->view_count && rc >= 0; i++)
        rc = search_sql(&users, "view", book->views[i].file, book->views[i].sql);
    return rc;
}

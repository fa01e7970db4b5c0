/* SPDX-License-Identifier: Apache-2.0 */
#include "service/users.h"

#include "model/with.h"
#include "service/scripts.h"

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory looking for users");
}

static const struct dbk_slice whole = {"", 0};

static struct dbk_user *add(struct dbk_users *users, const struct dbk_user *user)
{
    if (users->count == users->capacity) {
        size_t capacity = users->capacity == 0 ? 32 : users->capacity * 2;
        struct dbk_user *items = dbk_arena_alloc_zero(users->arena, capacity, sizeof(*items));
        if (items == NULL)
            return NULL;
        for (size_t i = 0; i < users->count; i++)
            items[i] = users->items[i];
        users->items = items;
        users->capacity = capacity;
    }
    users->items[users->count] = *user;
    users->items[users->count].uses.arena = users->arena;
    return &users->items[users->count++];
}

static bool is_here(const struct dbk_impact_scope *scope, const char *database)
{
    return database != NULL && strcmp(database, scope->database) == 0;
}

static int use(struct dbk_user *user, const char *table, const char *column, unsigned flags)
{
    return user == NULL || column == NULL
               ? (user == NULL ? DBK_ENOMEM : DBK_OK)
               : dbk_uses_add(&user->uses, dbk_slice_of(table), dbk_slice_of(column), flags);
}

/* ---- Services ---- */

static int add_contracts(const struct dbk_service_definition *reader, struct dbk_users *users)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < reader->contract_count; i++) {
        const struct dbk_service_contract *contract = &reader->contracts[i];
        struct dbk_user *user = add(users, &(struct dbk_user){.way = DBK_USER_SQL,
                                                              .kind = "service",
                                                              .name = reader->own->name,
                                                              .file = reader->own->file,
                                                              .line = contract->line,
                                                              .role = reader->role,
                                                              .version = contract->version});
        rc = use(user, contract->table, "", DBK_USE_READ);
        for (size_t j = 0; rc == DBK_OK && j < contract->column_count; j++)
            rc = use(user, contract->table, contract->columns[j], DBK_USE_READ);
    }
    return rc;
}

/* What capture reads of a row. */
static int use_captured(struct dbk_user *user, const struct dbk_capture_table *table)
{
    int rc = use(user, table->name, "", DBK_USE_READ);
    if (rc == DBK_OK && table->column_count == 0)
        rc = use(user, table->name, "*", DBK_USE_READ);
    for (size_t i = 0; rc == DBK_OK && i < table->column_count; i++)
        rc = use(user, table->name, table->columns[i], DBK_USE_READ);
    for (size_t i = 0; rc == DBK_OK && i < table->masked_count; i++)
        rc = use(user, table->name, table->masked[i], DBK_USE_READ);
    for (size_t i = 0; rc == DBK_OK && i < table->personal_count; i++)
        rc = use(user, table->name, table->personal[i], DBK_USE_READ);
    if (rc == DBK_OK)
        rc = use(user, table->name, table->subject, DBK_USE_READ);
    if (rc == DBK_OK)
        rc = use(user, table->name, table->polling.cursor, DBK_USE_READ);
    return rc < 0 ? rc : use(user, table->name, table->polling.deleted, DBK_USE_READ);
}

static int add_outbox(const struct dbk_capture_service *service, struct dbk_users *users)
{
    const struct dbk_capture_outbox *outbox = &service->outbox;
    const char *const columns[] = {outbox->id,   outbox->stream,  outbox->category,
                                   outbox->key,  outbox->type,    outbox->data,
                                   outbox->meta, outbox->occurred};
    if (outbox->table == NULL)
        return DBK_OK;
    struct dbk_user *user = add(users, &(struct dbk_user){.way = DBK_USER_SQL,
                                                          .kind = "capture",
                                                          .name = service->name,
                                                          .file = service->file,
                                                          .line = outbox->line});
    int rc = use(user, outbox->table, "",
                 DBK_USE_READ | (outbox->mark == NULL ? DBK_USE_DELETE : DBK_USE_UPDATE));
    for (size_t i = 0; rc == DBK_OK && i < sizeof(columns) / sizeof(columns[0]); i++)
        rc = use(user, outbox->table, columns[i], DBK_USE_READ);
    return rc < 0 ? rc : use(user, outbox->table, outbox->mark, DBK_USE_READ | DBK_USE_WRITE);
}

/* Who reads the events of a captured table, and does not say which columns. */
static int add_readers(const struct dbk_impact_scope *scope, const char *category,
                       const struct dbk_capture_table *table, struct dbk_users *users)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < scope->service_count; i++) {
        const struct dbk_service_definition *reader = &scope->services[i];
        if (!dbk_service_has(reader->reads, reader->read_count, category))
            continue;
        rc = use_captured(add(users, &(struct dbk_user){.way = DBK_USER_EVENTS,
                                                        .kind = "events",
                                                        .name = reader->own->name,
                                                        .file = reader->own->file}),
                          table);
    }
    return rc;
}

static bool contains(struct dbk_slice text, struct dbk_slice part)
{
    for (size_t i = 0; part.size > 0 && i + part.size <= text.size; i++) {
        if (memcmp(text.data + i, part.data, part.size) == 0)
            return true;
    }
    return false;
}

/* A text that names the category, or a type of the events, in a string. */
static int add_mention(const struct dbk_impact_scope *scope, const struct dbk_impact_text *text,
                       const char *category, const struct dbk_capture_table *table,
                       struct dbk_users *users)
{
    static const char *const changes[] = {"insert", "update", "delete"};
    (void)scope;
    bool named = contains(text->sql, dbk_slice_of(category));
    for (size_t i = 0; i < 3 && !named; i++) {
        const char *type = dbk_arena_format(users->arena, "%s.%s", table->name, changes[i]);
        if (type == NULL)
            return DBK_ENOMEM;
        named = contains(text->sql, dbk_slice_of(type));
    }
    return !named ? DBK_OK
                  : use_captured(add(users, &(struct dbk_user){.way = DBK_USER_EVENTS,
                                                               .kind = text->kind,
                                                               .name = text->name,
                                                               .file = text->file,
                                                               .line = text->line}),
                                 table);
}

static int add_mentions(const struct dbk_impact_scope *scope, const char *category,
                        const struct dbk_capture_table *table, struct dbk_users *users)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < scope->text_count; i++)
        rc = add_mention(scope, &scope->texts[i], category, table, users);
    for (size_t i = 0; rc == DBK_OK && i < scope->view_count; i++) {
        const struct dbk_view_definition *view = &scope->views[i];
        rc = add_mention(
            scope,
            &(struct dbk_impact_text){
                .kind = "view", .name = view->name, .file = view->file, .sql = view->sql},
            category, table, users);
    }
    return rc;
}

/* ---- Handlers of captured rows ---- */

static int use_image(struct dbk_user *user, const struct dbk_capture_table *table,
                     enum dbk_dialect dialect, struct dbk_slice sql)
{
    int rc = use(user, table->name, "", DBK_USE_READ);
    for (size_t offset = 0; rc == DBK_OK;) {
        struct dbk_slice name = dbk_text_parameter(dialect, sql, offset, &offset);
        if (name.size == 0)
            break;
        if (name.data[0] == '_')
            continue;
        const char *dot = memchr(name.data, '.', name.size);
        struct dbk_slice column = DBK_SLICE_LITERAL("*");
        if (dot != NULL) {
            column = dbk_slice(dot + 1, (size_t)(name.data + name.size - dot - 1));
            const char *end = memchr(column.data, '.', column.size);
            column.size = end == NULL ? column.size : (size_t)(end - column.data);
        }
        rc = dbk_uses_add(&user->uses, dbk_slice_of(table->name), column, DBK_USE_READ);
    }
    return rc;
}

static bool is_of(struct dbk_slice type, const char *table)
{
    size_t size = strlen(table);
    return type.size > size + 1 && memcmp(type.data, table, size) == 0 && type.data[size] == '.' &&
           memchr(type.data + size + 1, '.', type.size - size - 1) == NULL;
}

static int add_images(const struct dbk_impact_scope *scope, const char *category,
                      const struct dbk_capture_table *table, struct dbk_users *users)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < scope->model_count; i++) {
        const struct dbk_model_definition *model = &scope->models[i];
        bool follows = false;
        for (size_t j = 0; j < model->category_count; j++)
            follows = follows || dbk_slice_equal_text(model->categories[j], category);
        for (size_t j = 0; follows && rc == DBK_OK && j < model->handler_count; j++) {
            const struct dbk_handler *handler = &model->handlers[j];
            if (!is_of(handler->type, table->name))
                continue;
            struct dbk_user *user = add(users, &(struct dbk_user){.way = DBK_USER_IMAGE,
                                                                  .kind = "handler",
                                                                  .name = model->name,
                                                                  .file = handler->file,
                                                                  .line = handler->line,
                                                                  .version = handler->version});
            rc = user == NULL ? DBK_ENOMEM
                              : use_image(user, table, dbk_target_dialect(model->database_path),
                                          handler->sql);
        }
    }
    return rc;
}

/* ---- Lua of captured rows ---- */

/* A fold is of the table's category; a saga names one of its types, and the rest is of one. */
static bool gets_rows(const struct dbk_impact_script *script, const char *category,
                      const struct dbk_capture_table *table, struct dbk_arena *arena)
{
    static const char *const changes[] = {"insert", "update", "delete"};
    bool named = strcmp(script->name, category) == 0 ||
                 dbk_script_has_text(script->source, dbk_slice_of(category));
    for (size_t i = 0; i < 3 && !named; i++) {
        const char *type = dbk_arena_format(arena, "%s.%s", table->name, changes[i]);
        named = type == NULL || strcmp(script->name, type) == 0 ||
                (strcmp(script->kind, "saga") == 0 &&
                 dbk_script_has_text(script->source, dbk_slice_of(type)));
    }
    return named;
}

/* Handlers that take the state of a fold use what the fold does. */
static int add_state_takers(const struct dbk_impact_scope *scope,
                            const struct dbk_impact_script *fold,
                            const struct dbk_capture_table *table, struct dbk_users *users)
{
    struct dbk_slice category = dbk_slice_of(fold->name);
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < scope->model_count; i++) {
        const struct dbk_model_definition *model = &scope->models[i];
        struct dbk_slice *categories = NULL;
        size_t count = 0;
        bool takes = false;
        rc = dbk_withs_categories(model, users->arena, &categories, &count);
        for (size_t j = 0; rc == DBK_OK && j < count; j++)
            takes = takes || dbk_slice_equal(categories[j], category);
        if (rc < 0 || !takes)
            continue;
        struct dbk_user *user =
            add(users, &(struct dbk_user){
                           .way = DBK_USER_IMAGE,
                           .kind = "model",
                           .name = model->name,
                           .file = model->schema_file,
                           .via = dbk_arena_format(users->arena, "the state of %s", fold->file)});
        rc = user == NULL || user->via == NULL ? DBK_ENOMEM
                                               : dbk_script_uses(&user->uses, table, fold->source);
    }
    return rc;
}

static int add_scripts(const struct dbk_impact_scope *scope, const char *category,
                       const struct dbk_capture_table *table, struct dbk_users *users)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < scope->script_count; i++) {
        const struct dbk_impact_script *script = &scope->scripts[i];
        if (!gets_rows(script, category, table, users->arena))
            continue;
        struct dbk_user *user = add(users, &(struct dbk_user){.way = DBK_USER_IMAGE,
                                                              .kind = script->kind,
                                                              .name = script->name,
                                                              .file = script->file});
        rc = user == NULL ? DBK_ENOMEM : dbk_script_uses(&user->uses, table, script->source);
        if (rc == DBK_OK && strcmp(script->kind, "fold") == 0)
            rc = add_state_takers(scope, script, table, users);
    }
    return rc;
}

/* A saga that does a command in a service's database uses what the command does. */
static int add_sagas(const struct dbk_impact_scope *scope,
                     const struct dbk_service_command *command, const struct dbk_user *statement,
                     struct dbk_users *users)
{
    struct dbk_user done = *statement;
    for (size_t i = 0; i < scope->script_count; i++) {
        const struct dbk_impact_script *script = &scope->scripts[i];
        if (strcmp(script->kind, "saga") != 0 ||
            !dbk_script_has_text(script->source, dbk_slice_of(command->name)))
            continue;
        done.kind = script->kind;
        done.name = script->name;
        done.file = script->file;
        done.line = 0;
        done.via = dbk_arena_format(users->arena, "the command %s", command->name);
        if (done.via == NULL || add(users, &done) == NULL)
            return DBK_ENOMEM;
    }
    return DBK_OK;
}

static int add_captured(const struct dbk_impact_scope *scope,
                        const struct dbk_service_definition *service,
                        const struct dbk_capture_table *table, struct dbk_users *users)
{
    const char *category = dbk_arena_format(users->arena, "%s.%s", service->own->name, table->name);
    if (category == NULL)
        return DBK_ENOMEM;
    int rc = use_captured(add(users, &(struct dbk_user){.way = DBK_USER_CAPTURE,
                                                        .kind = "capture",
                                                        .name = category,
                                                        .file = service->own->file,
                                                        .line = table->line}),
                          table);
    if (rc == DBK_OK)
        rc = add_readers(scope, category, table, users);
    if (rc == DBK_OK)
        rc = add_mentions(scope, category, table, users);
    if (rc == DBK_OK)
        rc = add_scripts(scope, category, table, users);
    return rc < 0 ? rc : add_images(scope, category, table, users);
}

static int add_services(const struct dbk_impact_scope *scope, struct dbk_users *users)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < scope->service_count; i++) {
        const struct dbk_service_definition *service = &scope->services[i];
        if (!is_here(scope, service->own->database))
            continue;
        rc = add_contracts(service, users);
        for (size_t j = 0; rc == DBK_OK && j < service->own->table_count; j++) {
            if (service->own->tables[j].kind != DBK_CAPTURE_NONE)
                rc = add_captured(scope, service, &service->own->tables[j], users);
        }
        if (rc == DBK_OK)
            rc = add_outbox(service->own, users);
    }
    return rc;
}

/* ---- Texts ---- */

struct seen {
    struct dbk_uses *uses;
    int rc;
};

static void see(void *context, const char *table, const char *column, enum dbk_watched what)
{
    static const unsigned flags[] = {[DBK_WATCHED_READ] = DBK_USE_READ,
                                     [DBK_WATCHED_INSERT] = DBK_USE_INSERT,
                                     [DBK_WATCHED_UPDATE] = DBK_USE_UPDATE,
                                     [DBK_WATCHED_DELETE] = DBK_USE_DELETE};
    struct seen *seen = context;
    if (seen->rc < 0)
        return;
    seen->rc = dbk_uses_add(seen->uses, dbk_slice_of(table), whole, flags[what]);
    if (seen->rc == DBK_OK && *column != '\0')
        seen->rc = dbk_uses_add(seen->uses, dbk_slice_of(table), dbk_slice_of(column),
                                what == DBK_WATCHED_UPDATE ? DBK_USE_WRITE : DBK_USE_READ);
}

static const struct dbk_use *find(const struct dbk_uses *uses, const char *table,
                                  const char *column)
{
    for (size_t i = 0; i < uses->count; i++) {
        const struct dbk_use *use = &uses->items[i];
        if (dbk_service_is_name(dbk_slice_of(table), use->table) &&
            dbk_service_is_name(dbk_slice_of(column), use->column))
            return use;
    }
    return NULL;
}

/* SQLite reads each column of a `*`; the text does not need one that it does not name. */
static void leave_stars_out(struct dbk_uses *found, const struct dbk_uses *words)
{
    size_t count = 0;
    for (size_t i = 0; i < found->count; i++) {
        const struct dbk_use *use = &found->items[i];
        const struct dbk_use *star = find(words, use->table, "*");
        bool expanded = *use->column != '\0' && star != NULL &&
                        (star->flags & DBK_USE_POSSIBLE) == 0 &&
                        find(words, use->table, use->column) == NULL;
        if (!expanded)
            found->items[count++] = *use;
    }
    found->count = count;
}

/* What is only possible by the words is left to what SQLite has seen. */
static void keep_certain(struct dbk_uses *uses)
{
    size_t count = 0;
    for (size_t i = 0; i < uses->count; i++) {
        if ((uses->items[i].flags & DBK_USE_POSSIBLE) == 0 || *uses->items[i].column == '?')
            uses->items[count++] = uses->items[i];
    }
    uses->count = count;
    uses->unread = false;
}

static int look(const struct dbk_impact_scope *scope, struct dbk_user *user, struct dbk_slice sql,
                struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    struct dbk_uses found = {.arena = user->uses.arena};
    struct seen seen = {.uses = &found};
    struct dbk_error failure = {0};
    struct dbk_slice *names = NULL;
    size_t count = 0;
    struct dbk_buf text;
    dbk_buf_init(&text, DBK_SERVICE_SQL_SIZE_MAX * 2);
    int rc = dbk_sql_rewrite(sql, NULL, 0, &text, user->uses.arena, &names, &count, &failure);
    if (rc == DBK_OK) {
        dbk_connection_watch(scope->connection, see, &seen);
        rc =
            dbk_statement_open(scope->connection, dbk_buf_slice(&text), &statement, NULL, &failure);
        dbk_connection_watch(scope->connection, NULL, NULL);
        dbk_statement_free(statement);
    }
    dbk_buf_release(&text);
    if (seen.rc < 0)
        return no_memory(err);
    if (rc < 0) /* It is not to be done in this database: its words tell. */
        return rc == DBK_ENOMEM ? no_memory(err) : DBK_OK;
    bool unread = user->uses.unread;
    leave_stars_out(&found, &user->uses);
    keep_certain(&user->uses);
    for (size_t i = 0; i < found.count; i++) {
        struct dbk_slice table = dbk_slice_of(found.items[i].table);
        unsigned blind = found.items[i].flags & DBK_USE_INSERT ? DBK_USE_POSITIONAL : 0;
        /* Whether it says `*`, or no columns, is not told. */
        if (unread && (dbk_uses_add(&user->uses, table, DBK_SLICE_LITERAL("*"),
                                    DBK_USE_READ | DBK_USE_POSSIBLE) < 0 ||
                       dbk_uses_add(&user->uses, table, whole, blind | DBK_USE_POSSIBLE) < 0))
            return no_memory(err);
        if (dbk_uses_add(&user->uses, dbk_slice_of(found.items[i].table),
                         dbk_slice_of(found.items[i].column), found.items[i].flags) < 0)
            return no_memory(err);
    }
    return DBK_OK;
}

static void doubt_names(const struct dbk_impact_scope *scope, struct dbk_uses *uses)
{
    for (size_t i = 0; i < uses->count; i++) {
        for (size_t j = 0; j < scope->ambiguous_count; j++) {
            if (dbk_service_is_name(dbk_slice_of(uses->items[i].table), scope->ambiguous[j]))
                uses->items[i].flags |= DBK_USE_POSSIBLE;
        }
    }
}

static int add_text(const struct dbk_impact_scope *scope, const struct dbk_impact_text *text,
                    struct dbk_users *users, struct dbk_error *err)
{
    struct dbk_user *user = add(users, &(struct dbk_user){.way = DBK_USER_SQL,
                                                          .kind = text->kind,
                                                          .name = text->name,
                                                          .file = text->file,
                                                          .line = text->line});
    if (user == NULL)
        return no_memory(err);
    if (text->file == NULL) { /* Its name is the role that did it. */
        user->seen = text->sql;
        user->role = text->name;
    }
    user->after_us = text->after_us;
    user->by_us = text->by_us;
    user->fingerprint = scope->observed == NULL ? 0 : dbk_observed_fingerprint(text->sql);
    int rc = dbk_uses_read(&user->uses, users->json, text->sql, err);
    if (rc == DBK_OK && text->file == NULL)
        doubt_names(scope, &user->uses);
    return rc < 0 || scope->connection == NULL ? rc : look(scope, user, text->sql, err);
}

static int add_handlers(const struct dbk_impact_scope *scope,
                        const struct dbk_model_definition *model, struct dbk_users *users,
                        struct dbk_error *err)
{
    int rc = DBK_OK;
    const char **names = NULL;
    size_t count = 0;
    if (!dbk_dialect_is_sql(dbk_target_dialect(model->database_path)))
        return DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < model->handler_count; i++) {
        const struct dbk_handler *handler = &model->handlers[i];
        rc = add_text(scope,
                      &(struct dbk_impact_text){.kind = "handler",
                                                .name = model->name,
                                                .file = handler->file,
                                                .line = handler->line,
                                                .sql = handler->sql},
                      users, err);
    }
    if (rc == DBK_OK)
        rc = dbk_model_tables(model, users->arena, &names, &count, err);
    struct dbk_user *user = rc < 0 ? NULL
                                   : add(users, &(struct dbk_user){.way = DBK_USER_MODEL,
                                                                   .kind = "model",
                                                                   .name = model->name,
                                                                   .file = model->schema_file});
    if (rc == DBK_OK && user == NULL)
        rc = no_memory(err);
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        if (use(user, names[i], "", DBK_USE_READ) < 0)
            rc = no_memory(err);
    }
    return rc;
}

/* A command over one service alone is done as that, where it has a login. */
static void set_role(const struct dbk_impact_scope *scope,
                     const struct dbk_service_command *command, struct dbk_user *user)
{
    for (size_t i = 0; i < scope->service_count; i++) {
        const struct dbk_service_definition *service = &scope->services[i];
        if (service->own == command->service && service->login != NULL && command->other_count == 0)
            user->role = service->role;
    }
}

/* ---- Columns that the book knows ---- */

static bool is_among(const char *column, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (dbk_service_is_name(dbk_slice_of(column), names[i]))
            return true;
    }
    return false;
}

/* True when some service says that a table has a column. */
static bool is_known(const struct dbk_impact_scope *scope, const struct dbk_use *use)
{
    for (size_t i = 0; i < scope->service_count; i++) {
        const struct dbk_service_definition *service = &scope->services[i];
        for (size_t j = 0; is_here(scope, service->own->database) && j < service->own->table_count;
             j++) {
            if (dbk_service_is_name(dbk_slice_of(use->table), service->own->tables[j].name) &&
                is_among(use->column, service->tables[j].public, service->tables[j].public_count))
                return true;
        }
    }
    return false;
}

/* A name without its table, of tables of one level, is the column that is known to be there: where
   a second one had it, it would be an error. */
static void settle_names(const struct dbk_impact_scope *scope, struct dbk_uses *uses)
{
    for (size_t i = 0; i < uses->count; i++) {
        struct dbk_use *use = &uses->items[i];
        if ((use->flags & DBK_USE_POSSIBLE) == 0 || !is_known(scope, use))
            continue;
        for (size_t j = 0; j < uses->count; j++) {
            const struct dbk_use *would = &uses->items[j];
            if (*would->column == '?' && (would->flags & DBK_USE_POSSIBLE) == 0 &&
                dbk_service_is_name(dbk_slice_of(would->table), use->table) &&
                dbk_service_is_name(dbk_slice_of(would->column + 1), use->column))
                use->flags &= ~(unsigned)DBK_USE_POSSIBLE;
        }
    }
}

static int collect(const struct dbk_impact_scope *scope, struct dbk_users *users,
                   struct dbk_error *err)
{
    int rc = add_services(scope, users);
    if (rc < 0)
        return no_memory(err);
    for (size_t i = 0; rc == DBK_OK && i < scope->command_count; i++) {
        const struct dbk_service_command *command = &scope->commands[i];
        for (size_t j = 0; rc == DBK_OK && j < command->statement_count; j++) {
            const struct dbk_command_statement *statement = &command->statements[j];
            if (statement->table == NULL && is_here(scope, command->service->database))
                rc = add_text(scope,
                              &(struct dbk_impact_text){.kind = "command",
                                                        .name = command->name,
                                                        .file = command->file,
                                                        .line = statement->line,
                                                        .sql = statement->sql},
                              users, err);
            if (rc == DBK_OK && is_here(scope, command->service->database))
                set_role(scope, command, &users->items[users->count - 1]);
            if (rc == DBK_OK && is_here(scope, command->service->database) &&
                add_sagas(scope, command, &users->items[users->count - 1], users) < 0)
                rc = no_memory(err);
        }
    }
    for (size_t i = 0; rc == DBK_OK && i < scope->text_count; i++) {
        if (is_here(scope, scope->texts[i].database))
            rc = add_text(scope, &scope->texts[i], users, err);
    }
    for (size_t i = 0; rc == DBK_OK && i < scope->view_count; i++) {
        const struct dbk_view_definition *view = &scope->views[i];
        if (is_here(scope, view->database))
            rc = add_text(
                scope,
                &(struct dbk_impact_text){
                    .kind = "view", .name = view->name, .file = view->file, .sql = view->sql},
                users, err);
    }
    for (size_t i = 0; rc == DBK_OK && i < scope->model_count; i++) {
        if (is_here(scope, scope->models[i].database))
            rc = add_handlers(scope, &scope->models[i], users, err);
    }
    return rc;
}

int dbk_users_collect(const struct dbk_impact_scope *scope, struct dbk_users *users,
                      struct dbk_error *err)
{
    int rc = collect(scope, users, err);
    for (size_t i = 0; rc == DBK_OK && i < users->count; i++) {
        if (users->items[i].way == DBK_USER_SQL && users->items[i].file != NULL)
            settle_names(scope, &users->items[i].uses);
    }
    return rc < 0 || dbk_users_date(scope, users) == DBK_OK ? rc : no_memory(err);
}

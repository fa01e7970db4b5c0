/* SPDX-License-Identifier: Apache-2.0 */
#include "model/poster.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "model/lineage.h"
#include "model/with.h"

#define PATH_PARTS_MAX 16
#define EVENT_SIZE_MAX ((size_t)64 << 20)

struct parameter {
    enum dbk_parameter_kind kind;
    struct dbk_slice path[PATH_PARTS_MAX];
    size_t path_count;
    size_t with; /* of a STATE, whose path begins behind its name */
    struct dbk_slice name;
    char *reference; /* of one that is bound sealed, its text; NULL: it is not */
};

struct statement {
    const struct dbk_handler *handler;
    struct dbk_withs *withs; /* of the handler */
    unsigned line;           /* in the handler's file */
    struct dbk_statement *prepared;
    struct parameter *parameters;
    size_t parameter_count;
    bool reads_data;
    struct dbk_slice *keys; /* of the data's members that statements of this type read */
    size_t key_count;
};

struct dbk_poster {
    struct dbk_connection *connection;
    struct dbk_store *store; /* whose lens upcasts; NULL: none */
    void *lens;
    const char *model;
    const struct dbk_model_definition *sealed; /* while preparing, of a `personal: sealed` model */
    struct dbk_arena arena;
    struct dbk_slice *categories;
    size_t category_count;
    struct statement *statements; /* in the handlers' order */
    size_t statement_count;
    struct dbk_withs *withs; /* by handler */
    size_t handler_count;
    struct dbk_states *states; /* NULL: no handler takes one */
    struct dbk_json *json;
    struct dbk_value *values;
    size_t value_capacity;
    bool careful;
    const struct statement *failed; /* the last one that did */
};

enum dbk_parameter_kind dbk_parameter_kind(struct dbk_slice name)
{
    static const struct {
        const char *name;
        enum dbk_parameter_kind kind;
    } envelope[] = {
        {"_stream", DBK_PARAMETER_STREAM},   {"_category", DBK_PARAMETER_CATEGORY},
        {"_version", DBK_PARAMETER_VERSION}, {"_position", DBK_PARAMETER_POSITION},
        {"_time", DBK_PARAMETER_TIME},       {"_occurred", DBK_PARAMETER_OCCURRED},
        {"_id", DBK_PARAMETER_ID},           {"_type", DBK_PARAMETER_TYPE},
        {"_data", DBK_PARAMETER_WHOLE_DATA}, {"_meta", DBK_PARAMETER_META},
    };
    if (name.size == 0 || name.data[0] != '_')
        return DBK_PARAMETER_DATA;
    for (size_t i = 0; i < sizeof(envelope) / sizeof(envelope[0]); i++) {
        if (dbk_slice_equal_text(name, envelope[i].name))
            return envelope[i].kind;
    }
    return DBK_PARAMETER_UNKNOWN;
}

/* Tokens of both texts pair up, but for "?7", which is two where ":name" was one. */
size_t dbk_poster_offset(struct dbk_slice written, struct dbk_slice rewritten, size_t offset)
{
    size_t at = 0;
    size_t there = 0;
    while (there < rewritten.size && at < written.size) {
        struct dbk_sql_token token = dbk_sql_next(written, at);
        struct dbk_sql_token other = dbk_sql_next(rewritten, there);
        size_t size = other.text.size;
        if (token.kind == DBK_SQL_PARAMETER)
            size += dbk_sql_next(rewritten, there + size).text.size;
        if (offset < there + size || size == 0 || token.text.size == 0)
            break;
        there += size;
        at += token.text.size;
    }
    return at < written.size ? at : written.size;
}

static int split_path(struct dbk_slice name, struct parameter *parameter, struct dbk_error *err)
{
    for (size_t begin = 0; begin <= name.size;) {
        const char *dot = memchr(name.data + begin, '.', name.size - begin);
        size_t end = dot == NULL ? name.size : (size_t)(dot - name.data);
        if (parameter->path_count == PATH_PARTS_MAX)
            return dbk_error_set(err, DBK_EINVAL, ":%.*s has more than %d parts",
                                 DBK_SLICE_ARGS(name), PATH_PARTS_MAX);
        parameter->path[parameter->path_count++] = dbk_slice(name.data + begin, end - begin);
        begin = end + 1;
    }
    return DBK_OK;
}

/* What is personal is bound by a text that tells where it is. */
static int refer(struct dbk_poster *poster, struct parameter *parameter, struct dbk_slice type,
                 struct dbk_error *err)
{
    if (poster->sealed == NULL || dbk_lineage_of(poster->sealed, type, parameter->name) == NULL)
        return DBK_OK;
    parameter->reference =
        dbk_arena_alloc(&poster->arena, parameter->name.size + DBK_LINEAGE_SEALED_SIZE);
    return parameter->reference == NULL
               ? dbk_error_set(err, DBK_ENOMEM, "out of memory preparing handlers")
               : DBK_OK;
}

static int make_parameters(struct dbk_poster *poster, const struct dbk_slice *names, size_t count,
                           struct statement *statement, struct dbk_error *err)
{
    statement->parameters =
        dbk_arena_alloc_zero(&poster->arena, count + 1, sizeof(*statement->parameters));
    if (statement->parameters == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory preparing handlers");
    statement->parameter_count = count;
    for (size_t i = 0; i < count; i++) {
        struct parameter *parameter = &statement->parameters[i];
        parameter->kind = dbk_parameter_kind(names[i]);
        parameter->with = dbk_withs_find(statement->withs, names[i]);
        if (parameter->with < statement->withs->count)
            parameter->kind = DBK_PARAMETER_STATE;
        if (parameter->kind == DBK_PARAMETER_UNKNOWN)
            return dbk_error_set(err, DBK_EINVAL, "there is no :%.*s in an event's envelope",
                                 DBK_SLICE_ARGS(names[i]));
        parameter->name = names[i];
        bool state = parameter->kind == DBK_PARAMETER_STATE;
        int rc = state ? DBK_OK : refer(poster, parameter, statement->handler->type, err);
        statement->reads_data = statement->reads_data || parameter->kind == DBK_PARAMETER_DATA;
        if (rc == DBK_OK && (state || parameter->kind == DBK_PARAMETER_DATA))
            rc = split_path(names[i], parameter, err);
        if (rc < 0)
            return rc;
    }
    statement->reads_data = statement->reads_data || statement->withs->count > 0;
    return DBK_OK;
}

static int add_statement(struct dbk_poster *poster, const struct dbk_handler *handler,
                         struct dbk_withs *withs, struct dbk_slice sql,
                         const struct dbk_sql_rename *renames, size_t rename_count,
                         size_t *offset_out, struct dbk_error *err)
{
    struct dbk_buf text;
    struct dbk_slice *names = NULL;
    size_t count = 0;
    int offset = -1;
    unsigned line = 0;
    unsigned column = 0;
    struct statement *statement = &poster->statements[poster->statement_count];
    dbk_buf_init(&text, EVENT_SIZE_MAX);
    *offset_out = 0;
    dbk_text_place(handler->sql, (size_t)(sql.data - handler->sql.data), &line, &column);
    statement->handler = handler;
    statement->withs = withs;
    statement->line = handler->line + line - 1;
    int rc = dbk_text_rewrite(dbk_connection_dialect(poster->connection), sql, renames,
                              rename_count, &text, &poster->arena, &names, &count, err);
    if (rc == DBK_OK)
        rc = make_parameters(poster, names, count, statement, err);
    if (rc == DBK_OK)
        rc = dbk_statement_open(poster->connection, dbk_buf_slice(&text), &statement->prepared,
                                &offset, err);
    if (offset >= 0)
        *offset_out = dbk_poster_offset(sql, dbk_buf_slice(&text), (size_t)offset);
    dbk_buf_release(&text);
    if (rc < 0)
        return rc;
    poster->statement_count++;
    if (count > poster->value_capacity) {
        poster->values = dbk_arena_alloc_zero(&poster->arena, count, sizeof(*poster->values));
        poster->value_capacity = count;
        if (poster->values == NULL)
            return dbk_error_set(err, DBK_ENOMEM, "out of memory preparing handlers");
    }
    return DBK_OK;
}

static size_t count_statements(enum dbk_dialect dialect,
                               const struct dbk_model_definition *definition)
{
    size_t count = 0;
    for (size_t i = 0; i < definition->handler_count; i++) {
        size_t offset = 0;
        while (dbk_text_statement(dialect, definition->handlers[i].sql, offset, &offset).size > 0)
            count++;
    }
    return count;
}

static int prepare(struct dbk_poster *poster, const struct dbk_model_definition *definition,
                   const struct dbk_sql_rename *renames, size_t rename_count,
                   struct dbk_poster_fault *fault_out, struct dbk_error *err)
{
    for (size_t i = 0; i < definition->handler_count; i++) {
        const struct dbk_handler *handler = &definition->handlers[i];
        struct dbk_withs *withs = &poster->withs[i];
        size_t offset = 0;
        size_t fault = 0;
        const char *fix = NULL;
        int read = dbk_withs_read(withs, handler->sql, dbk_connection_dialect(poster->connection),
                                  &poster->arena, &fault, &fix, err);
        if (read < 0 && fault_out != NULL)
            *fault_out = (struct dbk_poster_fault){handler, fault};
        if (read < 0)
            return read;
        for (;;) {
            struct dbk_slice sql = dbk_text_statement(dbk_connection_dialect(poster->connection),
                                                      handler->sql, offset, &offset);
            if (sql.size == 0)
                break;
            int rc = add_statement(poster, handler, withs, sql, renames, rename_count, &fault, err);
            if (rc < 0 && fault_out != NULL)
                *fault_out = (struct dbk_poster_fault){
                    handler, (size_t)(sql.data - handler->sql.data) + fault};
            if (rc < 0)
                return rc;
        }
    }
    return DBK_OK;
}

static void add_key(struct statement *statement, struct dbk_slice key)
{
    for (size_t i = 0; i < statement->key_count; i++) {
        if (dbk_slice_equal(statement->keys[i], key))
            return;
    }
    statement->keys[statement->key_count++] = key;
}

/* The members that streams are named by. */
static void add_streams_keys(struct statement *statement, const struct dbk_withs *withs)
{
    for (size_t i = 0; i < withs->count; i++) {
        for (size_t j = 0; j < withs->items[i].part_count; j++) {
            if (withs->items[i].parts[j].path_count > 0)
                add_key(statement, withs->items[i].parts[j].path[0]);
        }
    }
}

/* An event's data is parsed once for all statements of its type, and only what they read of it. */
static int collect_keys(struct dbk_poster *poster, struct statement *statement,
                        struct dbk_error *err)
{
    size_t count = 0;
    for (size_t i = 0; i < poster->statement_count; i++) {
        count += poster->statements[i].parameter_count;
        for (size_t j = 0; j < poster->statements[i].withs->count; j++)
            count += poster->statements[i].withs->items[j].part_count;
    }
    statement->keys = dbk_arena_alloc_zero(&poster->arena, count + 1, sizeof(*statement->keys));
    if (statement->keys == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory preparing handlers");
    for (size_t i = 0; i < poster->statement_count; i++) {
        const struct statement *other = &poster->statements[i];
        if (!dbk_slice_equal(other->handler->type, statement->handler->type))
            continue;
        for (size_t j = 0; j < other->parameter_count; j++)
            if (other->parameters[j].kind == DBK_PARAMETER_DATA)
                add_key(statement, other->parameters[j].path[0]);
        add_streams_keys(statement, other->withs);
    }
    return DBK_OK;
}

int dbk_poster_open(struct dbk_connection *connection,
                    const struct dbk_model_definition *definition,
                    const struct dbk_sql_rename *renames, size_t rename_count,
                    struct dbk_poster **poster_out, struct dbk_poster_fault *fault_out,
                    struct dbk_error *err)
{
    struct dbk_poster *poster = dbk_alloc_zero(1, sizeof(*poster));
    if (poster == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory preparing handlers");
    size_t count = count_statements(dbk_connection_dialect(connection), definition);
    dbk_arena_init(&poster->arena, DBK_DEFINITION_SIZE_MAX);
    poster->connection = connection;
    poster->model = definition->name;
    poster->sealed = definition->personal == DBK_PERSONAL_SEALED ? definition : NULL;
    poster->json = dbk_json_create(EVENT_SIZE_MAX);
    poster->statements = dbk_alloc_zero(count + 1, sizeof(*poster->statements));
    poster->withs = dbk_alloc_zero(definition->handler_count + 1, sizeof(*poster->withs));
    poster->handler_count = definition->handler_count;
    poster->categories = dbk_arena_alloc_zero(&poster->arena, definition->category_count + 1,
                                              sizeof(*poster->categories));
    int rc = DBK_OK;
    if (poster->json == NULL || poster->statements == NULL || poster->withs == NULL ||
        poster->categories == NULL)
        rc = dbk_error_set(err, DBK_ENOMEM, "out of memory preparing handlers");
    if (rc == DBK_OK && definition->category_count > 0)
        memcpy(poster->categories, definition->categories,
               definition->category_count * sizeof(*poster->categories));
    poster->category_count = definition->category_count;
    dbk_connection_guard(connection, DBK_GUARD_HANDLER);
    if (rc == DBK_OK)
        rc = prepare(poster, definition, renames, rename_count, fault_out, err);
    poster->sealed = NULL;
    for (size_t i = 0; rc == DBK_OK && i < poster->statement_count; i++)
        rc = collect_keys(poster, &poster->statements[i], err);
    dbk_connection_guard(connection, DBK_GUARD_NONE);
    if (rc < 0) {
        dbk_poster_free(poster);
        return rc;
    }
    *poster_out = poster;
    return DBK_OK;
}

void dbk_poster_free(struct dbk_poster *poster)
{
    if (poster == NULL)
        return;
    if (poster->store != NULL)
        dbk_store_end_lens(poster->store, &poster->lens);
    for (size_t i = 0; poster->statements != NULL && i < poster->statement_count; i++)
        dbk_statement_free(poster->statements[i].prepared);
    for (size_t i = 0; poster->withs != NULL && i < poster->handler_count; i++)
        dbk_withs_release(&poster->withs[i]);
    dbk_states_free(poster->states);
    dbk_free(poster->withs);
    dbk_free(poster->statements);
    dbk_json_free(poster->json);
    dbk_arena_release(&poster->arena);
    dbk_free(poster);
}

int dbk_poster_read_by(struct dbk_poster *poster, struct dbk_store *store, struct dbk_folds *folds,
                       int64_t occurred_us, struct dbk_error *err)
{
    bool any = false;
    poster->store = store;
    for (size_t i = 0; i < poster->handler_count; i++)
        any = any || poster->withs[i].count > 0;
    if (!any)
        return DBK_OK;
    if (folds == NULL)
        return dbk_error_set(err, DBK_EINVAL, "model %s: there are no folds for its `with:`",
                             poster->model);
    return dbk_states_open(store, folds, occurred_us, &poster->states, err);
}

struct dbk_states *dbk_poster_states(const struct dbk_poster *poster)
{
    return poster->states;
}

static bool is_source(const struct dbk_poster *poster, const struct dbk_event *event)
{
    struct dbk_slice category = dbk_stream_category(event->stream);
    for (size_t i = 0; i < poster->category_count; i++) {
        if (dbk_slice_equal(poster->categories[i], category))
            return true;
    }
    return false;
}

/* What was stored before its type was declared is of the first version. */
static uint16_t written_version(const struct dbk_event *event)
{
    return event->schema_version == 0 ? 1 : event->schema_version;
}

/* 1: there is a handler, of *version_out (0: the plain one); 0: there is none. */
static int choose(const struct dbk_poster *poster, const struct dbk_event *event,
                  uint16_t *version_out)
{
    bool plain = false;
    for (size_t i = 0; i < poster->statement_count; i++) {
        const struct dbk_handler *handler = poster->statements[i].handler;
        if (!dbk_slice_equal(handler->type, event->type))
            continue;
        if (handler->version == written_version(event)) {
            *version_out = handler->version;
            return 1;
        }
        plain = plain || handler->version == 0;
    }
    *version_out = 0;
    return plain;
}

static int upcast(struct dbk_poster *poster, struct dbk_event *event, struct dbk_error *err)
{
    struct dbk_error failure; /* only set where it fails */
    int rc = poster->store == NULL
                 ? 1
                 : dbk_store_upcast_event(poster->store, &poster->lens, event, &failure);
    return rc < 0 ? dbk_error_set(err, rc, "model %s: %s", poster->model, failure.message) : rc;
}

static struct dbk_value text_value(struct dbk_slice text)
{
    return (struct dbk_value){.kind = DBK_VALUE_TEXT, .bytes = text};
}

static struct dbk_value integer_value(uint64_t number)
{
    return (struct dbk_value){.kind = DBK_VALUE_INTEGER, .integer = (int64_t)number};
}

static struct dbk_value json_value(const struct dbk_json_node *node)
{
    if (node == NULL)
        return (struct dbk_value){.kind = DBK_VALUE_NULL};
    switch (node->kind) {
    case DBK_JSON_NULL:
        break;
    case DBK_JSON_FALSE:
    case DBK_JSON_TRUE:
        return (struct dbk_value){
            .kind = DBK_VALUE_INTEGER, .integer = node->kind == DBK_JSON_TRUE, .json = true};
    case DBK_JSON_INTEGER:
        return (struct dbk_value){.kind = DBK_VALUE_INTEGER, .integer = node->integer};
    case DBK_JSON_DECIMAL:
        return (struct dbk_value){.kind = DBK_VALUE_DECIMAL, .decimal = node->decimal};
    case DBK_JSON_STRING:
        return text_value(node->text);
    case DBK_JSON_ARRAY:
    case DBK_JSON_OBJECT:
        return (struct dbk_value){.kind = DBK_VALUE_TEXT, .bytes = node->raw, .json = true};
    }
    return (struct dbk_value){.kind = DBK_VALUE_NULL};
}

/* first: the part of the path that root has as a member. */
static struct dbk_value data_value(const struct parameter *parameter, size_t first,
                                   const struct dbk_json_node *root)
{
    const struct dbk_json_node *node = root;
    for (size_t i = first; i < parameter->path_count && node != NULL; i++)
        node = dbk_json_member_slice(node, parameter->path[i]);
    return json_value(node);
}

/* The texts that an event's envelope is bound as; made once an event. */
struct envelope {
    char time[DBK_TIME_TEXT_SIZE];
    char occurred[DBK_TIME_TEXT_SIZE];
    char id[DBK_UUID_TEXT_SIZE];
};

static struct dbk_value whole_data(const struct dbk_event *event)
{
    struct dbk_value value = text_value(event->data);
    if ((event->flags & DBK_RECORD_JSON) == 0)
        value.kind = DBK_VALUE_BLOB;
    return value;
}

static struct dbk_value reference(const struct parameter *parameter, const struct dbk_event *event)
{
    size_t room = parameter->name.size + DBK_LINEAGE_SEALED_SIZE;
    int size = snprintf(parameter->reference, room, "sealed:%" PRIu64 ":%.*s", event->position,
                        DBK_SLICE_ARGS(parameter->name));
    return text_value(dbk_slice(parameter->reference, (size_t)size));
}

static struct dbk_value value_of(const struct statement *statement,
                                 const struct parameter *parameter, const struct dbk_event *event,
                                 const struct dbk_json_node *root, struct envelope *texts)
{
    if (parameter->reference != NULL && event->sealed.size > 0)
        return reference(parameter, event);
    switch (parameter->kind) {
    case DBK_PARAMETER_DATA:
        return data_value(parameter, 0, root);
    case DBK_PARAMETER_STATE:
        return data_value(parameter, 1, statement->withs->states[parameter->with]);
    case DBK_PARAMETER_STREAM:
        return text_value(event->stream);
    case DBK_PARAMETER_CATEGORY:
        return text_value(dbk_stream_category(event->stream));
    case DBK_PARAMETER_VERSION:
        return integer_value(event->version);
    case DBK_PARAMETER_POSITION:
        return integer_value(event->position);
    case DBK_PARAMETER_TIME:
        return text_value(dbk_slice(texts->time, dbk_time_format(event->time_us, texts->time)));
    case DBK_PARAMETER_OCCURRED:
        return text_value(
            dbk_slice(texts->occurred,
                      dbk_time_format(event->occurred_us == DBK_TIME_NONE ? event->time_us
                                                                          : event->occurred_us,
                                      texts->occurred)));
    case DBK_PARAMETER_ID:
        dbk_uuid_format(&event->id, texts->id);
        return text_value(dbk_slice(texts->id, DBK_UUID_TEXT_SIZE - 1));
    case DBK_PARAMETER_TYPE:
        return text_value(event->type);
    case DBK_PARAMETER_WHOLE_DATA:
        return whole_data(event);
    case DBK_PARAMETER_META:
        if (event->meta.size > 0)
            return text_value(event->meta);
        break;
    case DBK_PARAMETER_UNKNOWN:
        break;
    }
    return (struct dbk_value){.kind = DBK_VALUE_NULL};
}

void dbk_poster_place(const struct dbk_poster *poster, char *text_out, size_t size)
{
    text_out[0] = 0;
    if (poster->failed != NULL)
        (void)snprintf(text_out, size, "%s:%u", poster->failed->handler->file,
                       poster->failed->line);
}

static int explain(struct dbk_poster *poster, const struct statement *statement,
                   const struct dbk_event *event, int rc, struct dbk_error *failure,
                   struct dbk_error *err)
{
    dbk_definition_plain(failure);
    poster->failed = statement;
    return dbk_error_set(
        err, rc, "model %s: %s:%u: %s (event %" PRIu64 ", %.*s of %.*s version %" PRIu64 ")",
        poster->model, statement->handler->file, statement->line, failure->message, event->position,
        DBK_SLICE_ARGS(event->type), DBK_SLICE_ARGS(event->stream), event->version);
}

static int run(struct dbk_poster *poster, struct statement *statement,
               const struct dbk_event *event, const struct dbk_json_node *root,
               struct dbk_error *err)
{
    struct envelope texts;
    struct dbk_error failure; /* only set where something failed: this runs for each event */
    for (size_t i = 0; i < statement->parameter_count; i++) {
        poster->values[i] = value_of(statement, &statement->parameters[i], event, root, &texts);
        dbk_statement_bind(statement->prepared, (int)i + 1, &poster->values[i]);
    }
    int rc = 1;
    while (rc == 1)
        rc = dbk_statement_step(statement->prepared, &failure);
    dbk_statement_reset(statement->prepared);
    if (rc == DBK_OK && poster->careful)
        rc = dbk_connection_settle(poster->connection, false, &failure);
    return rc < 0 ? explain(poster, statement, event, rc, &failure, err) : DBK_OK;
}

void dbk_poster_set_careful(struct dbk_poster *poster, bool careful)
{
    poster->careful = careful;
}

int dbk_poster_post(struct dbk_poster *poster, const struct dbk_event *event, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_event seen = *event;
    uint16_t version = 0;
    bool looked = false; /* for the states of the handler's streams */
    poster->failed = NULL;
    if ((event->flags & DBK_RECORD_REMOVED) != 0 || !is_source(poster, event) ||
        choose(poster, event, &version) == 0)
        return 0;
    int rc = version == 0 ? upcast(poster, &seen, err) : 1;
    for (size_t i = 0; rc > 0 && i < poster->statement_count; i++) {
        struct statement *statement = &poster->statements[i];
        if (statement->handler->version != version ||
            !dbk_slice_equal(statement->handler->type, seen.type))
            continue;
        if (statement->reads_data && root == NULL && (seen.flags & DBK_RECORD_JSON) != 0) {
            struct dbk_error failure;
            rc = dbk_json_parse_members(poster->json, seen.data, statement->keys,
                                        statement->key_count, &root, &failure);
            if (rc < 0)
                return explain(poster, statement, &seen, rc, &failure, err);
        }
        if (statement->withs->count > 0 && !looked) {
            struct dbk_error failure;
            rc = dbk_withs_look(statement->withs, poster->states, &seen, root, &failure);
            if (rc < 0)
                return explain(poster, statement, &seen, rc, &failure, err);
            looked = true;
        }
        rc = run(poster, statement, &seen, root, err);
        if (rc == DBK_OK)
            rc = 1;
    }
    return rc;
}

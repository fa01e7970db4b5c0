/* SPDX-License-Identifier: Apache-2.0 */
/* What a key may: its own scopes, and what services/<name>.yaml gives. */
#include <stdio.h>

#include "access/state.h"

/* What to hold one scope against. */
struct wish {
    bool (*fits)(const struct dbk_scope *scope, enum dbk_scope_kind kind, struct dbk_slice name);
    enum dbk_scope_kind kind;
    struct dbk_slice name;
    bool whole; /* it is the name of one */
};

static bool fits_names(const struct wish *wish, enum dbk_scope_kind kind, const char *const *names,
                       size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct dbk_scope scope = {.kind = kind, .pattern = dbk_slice_of(names[i])};
        if (wish->fits(&scope, wish->kind, wish->name))
            return true;
    }
    return false;
}

/* `orders`, and what begins with `orders-`. */
static bool fits_group(const struct wish *wish, const char *service)
{
    char text[DBK_SCOPE_SIZE_MAX];
    int size = snprintf(text, sizeof(text), "%s-*", service);
    struct dbk_scope whole = {.kind = DBK_SCOPE_GROUP, .pattern = dbk_slice_of(service)};
    struct dbk_scope begun = {.kind = DBK_SCOPE_GROUP, .pattern = dbk_slice(text, (size_t)size)};
    return wish->fits(&whole, wish->kind, wish->name) ||
           (size < (int)sizeof(text) && wish->fits(&begun, wish->kind, wish->name));
}

/* The events of its own captured tables. */
static bool fits_tables(const struct wish *wish, const struct dbk_service_definition *service)
{
    for (size_t i = 0; i < service->own->table_count; i++) {
        char text[DBK_SCOPE_SIZE_MAX];
        int size =
            snprintf(text, sizeof(text), "%s.%s", service->own->name, service->own->tables[i].name);
        struct dbk_scope scope = {.kind = DBK_SCOPE_READ, .pattern = dbk_slice(text, (size_t)size)};
        if (size < (int)sizeof(text) && wish->fits(&scope, wish->kind, wish->name))
            return true;
    }
    return false;
}

/* What services/<name>.yaml gives. */
static bool fits_service(const struct dbk_engine *engine, const struct wish *wish,
                         const struct dbk_service_definition *service)
{
    const char *name = service->own->name;
    switch (wish->kind) {
    case DBK_SCOPE_APPEND:
        return fits_names(wish, DBK_SCOPE_APPEND, service->appends, service->append_count);
    case DBK_SCOPE_READ:
        return fits_names(wish, DBK_SCOPE_READ, service->appends, service->append_count) ||
               fits_names(wish, DBK_SCOPE_READ, service->reads, service->read_count) ||
               fits_tables(wish, service);
    case DBK_SCOPE_MODEL:
    case DBK_SCOPE_OPERATE:
        return fits_names(wish, wish->kind, service->models, service->model_count);
    case DBK_SCOPE_GROUP:
        return fits_group(wish, name);
    case DBK_SCOPE_CAPTURE:
        return fits_names(wish, DBK_SCOPE_CAPTURE, &name, 1);
    case DBK_SCOPE_VIEW:
        return wish->whole && dbk_engine_view_reads_only(engine, wish->name, service->models,
                                                         service->model_count);
    case DBK_SCOPE_QUERY:
        return wish->whole && dbk_engine_query_reads_only(engine, wish->name, service->models,
                                                          service->model_count);
    case DBK_SCOPE_COMMAND:
    case DBK_SCOPE_FORGET:
    case DBK_SCOPE_METRICS:
    case DBK_SCOPE_READ_ONLY:
    case DBK_SCOPE_ADMIN:
    case DBK_SCOPE_COUNT:
        break;
    }
    return false;
}

/* The n-th of its own, and behind them of those that its service's file names; NULL: there are no
   more. */
static const struct dbk_scope *scope_at(const struct dbk_access_key *key, size_t n)
{
    const struct dbk_key_scopes *own = key->scopes;
    const struct dbk_service_definition *service = key->service;
    if (n < own->count)
        return &own->items[n];
    n -= own->count;
    return service != NULL && n < service->scope_count ? &service->scopes[n] : NULL;
}

static bool has(const struct dbk_caller *caller, const struct wish *wish)
{
    const struct dbk_access_key *key = caller->key;
    const struct dbk_scope *scope = NULL;
    for (size_t i = 0; (scope = scope_at(key, i)) != NULL; i++)
        if (wish->fits(scope, wish->kind, wish->name))
            return true;
    return key->service != NULL && fits_service(caller->access->engine, wish, key->service);
}

bool dbk_caller_may(const struct dbk_caller *caller, enum dbk_scope_kind kind,
                    struct dbk_slice name)
{
    return has(caller, &(struct wish){dbk_scope_allows, kind, name, true});
}

bool dbk_caller_covers_category(const struct dbk_caller *caller, enum dbk_scope_kind kind,
                                struct dbk_slice category)
{
    return has(caller, &(struct wish){dbk_scope_covers_category, kind, category, false});
}

bool dbk_caller_covers_prefix(const struct dbk_caller *caller, enum dbk_scope_kind kind,
                              struct dbk_slice prefix)
{
    return has(caller, &(struct wish){dbk_scope_covers_prefix, kind, prefix, false});
}

static bool is_every(const struct dbk_scope *scope, enum dbk_scope_kind kind, struct dbk_slice name)
{
    return scope->kind == DBK_SCOPE_ADMIN || scope->kind == DBK_SCOPE_READ_ONLY ||
           (scope->kind == kind && dbk_slice_equal(scope->pattern, name));
}

bool dbk_caller_reads_all(const struct dbk_caller *caller)
{
    return has(caller, &(struct wish){is_every, DBK_SCOPE_READ, DBK_SLICE_LITERAL("*"), false});
}

bool dbk_caller_reads_own(const struct dbk_caller *caller)
{
    return has(caller, &(struct wish){is_every, DBK_SCOPE_READ, DBK_SLICE_LITERAL("$*"), false});
}

bool dbk_caller_meets_category(const struct dbk_caller *caller, enum dbk_scope_kind kind,
                               struct dbk_slice category)
{
    return has(caller, &(struct wish){dbk_scope_meets_category, kind, category, false});
}

bool dbk_caller_meets_prefix(const struct dbk_caller *caller, enum dbk_scope_kind kind,
                             struct dbk_slice prefix)
{
    return has(caller, &(struct wish){dbk_scope_meets_prefix, kind, prefix, false});
}

/* ---- What it reads, for a look-up instead of a scan ---- */

/* A category that is one of them already adds nothing. */
static bool add(struct dbk_slice name, struct dbk_slice names[DBK_CALLER_NAMES_MAX], size_t *count)
{
    for (size_t i = 0; i < *count; i++)
        if (dbk_slice_equal(names[i], name))
            return true;
    if (*count == DBK_CALLER_NAMES_MAX)
        return false;
    names[(*count)++] = name;
    return true;
}

bool dbk_caller_read_categories(const struct dbk_caller *caller,
                                struct dbk_slice names[DBK_CALLER_NAMES_MAX], size_t *count_out)
{
    const struct dbk_access_key *key = caller->key;
    const struct dbk_service_definition *service = key->service;
    bool all = service == NULL || service->own->table_count == 0;
    size_t count = 0;
    const struct dbk_scope *scope = NULL;
    for (size_t i = 0; all && (scope = scope_at(key, i)) != NULL; i++) {
        struct dbk_slice pattern = scope->pattern;
        if (scope->kind != DBK_SCOPE_READ)
            continue;
        all = memchr(pattern.data, '-', pattern.size) == NULL &&
              pattern.data[pattern.size - 1] != '*' && add(pattern, names, &count);
    }
    for (size_t i = 0; all && service != NULL && i < service->append_count; i++)
        all = add(dbk_slice_of(service->appends[i]), names, &count);
    for (size_t i = 0; all && service != NULL && i < service->read_count; i++)
        all = add(dbk_slice_of(service->reads[i]), names, &count);
    *count_out = count;
    return all && count > 0;
}

bool dbk_caller_reads_some(const struct dbk_caller *caller)
{
    const struct dbk_service_definition *service = caller->key->service;
    const struct dbk_scope *scope = NULL;
    for (size_t i = 0; (scope = scope_at(caller->key, i)) != NULL; i++)
        if (scope->kind == DBK_SCOPE_READ)
            return true;
    return dbk_caller_reads_all(caller) ||
           (service != NULL && (service->append_count > 0 || service->read_count > 0 ||
                                service->own->table_count > 0));
}

/* ---- Commands ---- */

static const struct dbk_service_command *find_in_service(const struct dbk_access *access,
                                                         struct dbk_slice name)
{
    for (size_t i = 0; i < access->book->service_command_count; i++)
        if (dbk_slice_equal_text(name, access->book->service_commands[i].name))
            return &access->book->service_commands[i];
    return NULL;
}

/* A service's own: those in its database, and such as are about streams that it may append to. */
static bool is_own_command(const struct dbk_service_definition *service,
                           const struct dbk_service_command *command, struct dbk_slice stream)
{
    if (command != NULL)
        return strcmp(command->service->name, service->own->name) == 0;
    for (size_t i = 0; i < service->append_count; i++)
        if (stream.size == 0 ||
            dbk_slice_equal_text(dbk_stream_category(stream), service->appends[i]))
            return true;
    return false;
}

bool dbk_caller_may_command(const struct dbk_caller *caller, struct dbk_slice name,
                            struct dbk_slice stream)
{
    const struct dbk_access_key *key = caller->key;
    const struct dbk_service_command *command = find_in_service(caller->access, name);
    const struct dbk_scope *scope = NULL;
    for (size_t i = 0; (scope = scope_at(key, i)) != NULL; i++) {
        bool open = command == NULL && stream.size == 0; /* which stream is not known yet */
        if (open ? dbk_scope_allows(scope, DBK_SCOPE_COMMAND, name)
                 : dbk_scope_allows_command(scope, name, stream))
            return true;
    }
    return key->service != NULL && is_own_command(key->service, command, stream);
}

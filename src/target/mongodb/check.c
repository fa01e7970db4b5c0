/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a command may do. Each change of a handler is of one document that its _id names: only so
 * can the document's own guard tell, when a batch is posted again, that the change was done.
 */
#include "target/mongodb/check.h"

#include <string.h>

typedef int (*item_fn)(struct dbk_mongodb_walk *walk, const struct dbk_json_node *item);

int dbk_mongodb_fault_at(struct dbk_mongodb_walk *walk, const struct dbk_json_node *node, int rc,
                         const char *why)
{
    size_t size = node->raw.size < 40 ? node->raw.size : 40;
    walk->offset = (int)dbk_json_offset(node, walk->text);
    return dbk_error_set(walk->err, rc, "%.*s: %s", (int)size, node->raw.data, why);
}

int dbk_mongodb_fault_key(struct dbk_mongodb_walk *walk, const struct dbk_json_node *member, int rc,
                          const char *why)
{
    walk->offset = (int)dbk_json_key_offset(member, walk->text);
    return dbk_error_set(walk->err, rc, "\"%.*s\": %s", DBK_SLICE_ARGS(member->key), why);
}

bool dbk_mongodb_is_key(const struct dbk_json_node *member, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (dbk_slice_equal_text(member->key, *words))
            return true;
    }
    return false;
}

bool dbk_mongodb_is_parameter(const struct dbk_json_node *node)
{
    struct dbk_slice name = {0};
    if (node->kind == DBK_JSON_OBJECT)
        return dbk_json_member(node, "$_") != NULL; /* of one that is written for the driver */
    return node->kind == DBK_JSON_STRING &&
           dbk_mongodb_parameter((struct dbk_mongodb_token){DBK_MONGODB_STRING, node->raw}, &name);
}

static bool begins(struct dbk_slice text, const char *with)
{
    return dbk_slice_starts_with(text, dbk_slice_of(with));
}

/* What extended JSON writes a value's type with. */
static bool is_typed(const struct dbk_json_node *node)
{
    static const char *const types[] = {"$oid",
                                        "$date",
                                        "$numberInt",
                                        "$numberLong",
                                        "$numberDouble",
                                        "$numberDecimal",
                                        "$regularExpression",
                                        "$minKey",
                                        "$maxKey",
                                        NULL};
    return node->kind == DBK_JSON_OBJECT && node->count == 1 &&
           dbk_mongodb_is_key(dbk_json_first(node), types);
}

/* ---- Values ---- */

static int check_text(struct dbk_mongodb_walk *walk, const struct dbk_json_node *node)
{
    struct dbk_slice model = {0};
    struct dbk_slice name = {0};
    if (begins(node->text, "$$NOW") || begins(node->text, "$$CLUSTER_TIME"))
        return dbk_mongodb_fault_at(walk, node, DBK_EDENIED,
                                    "what reads the clock gives other documents each time; use "
                                    ":_time");
    if (!dbk_mongodb_collection(node->text, &model, &name))
        return DBK_OK;
    bool own = dbk_slice_equal_text(model, "gen");
    if (own == (walk->guard != DBK_GUARD_QUERY))
        return DBK_OK;
    return dbk_mongodb_fault_at(walk, node, DBK_EDENIED,
                                own ? "a query names the model in front of a collection: "
                                      "{model}Name"
                                    : "a model's own collections are written {gen}Name");
}

static int check_key(struct dbk_mongodb_walk *walk, const struct dbk_json_node *member)
{
    static const char *const chance[] = {"$rand",    "$sampleRate",  "$sample",
                                         "$samples", "$currentDate", NULL};
    static const char *const programs[] = {"$where", "$function", "$accumulator", NULL};
    bool query = walk->guard == DBK_GUARD_QUERY;
    if (dbk_mongodb_is_key(member, programs))
        return dbk_mongodb_fault_key(walk, member, DBK_EDENIED, "the server runs no programs here");
    if (!query && dbk_mongodb_is_key(member, chance))
        return dbk_mongodb_fault_key(walk, member, DBK_EDENIED,
                                     "chance and the clock give other documents each time; use "
                                     "what the event has (:_id, :_time)");
    if (!query && dbk_slice_equal_text(member->key, "$expr"))
        return dbk_mongodb_fault_key(walk, member, DBK_EDENIED,
                                     "expressions are for queries: compare with values");
    if (begins(member->key, "_daybook") || (!query && begins(member->key, "$_")) ||
        dbk_slice_equal_text(member->key, "$position"))
        return dbk_mongodb_fault_key(walk, member, DBK_EDENIED, "this name is Daybook's own");
    return DBK_OK;
}

int dbk_mongodb_check_values(struct dbk_mongodb_walk *walk, const struct dbk_json_node *node,
                             size_t depth)
{
    int rc = DBK_OK;
    if (node->kind == DBK_JSON_STRING)
        return check_text(walk, node);
    if (node->kind != DBK_JSON_OBJECT && node->kind != DBK_JSON_ARRAY)
        return DBK_OK;
    const struct dbk_json_node *item = dbk_json_first(node);
    for (uint32_t i = 0; rc == DBK_OK && i < node->count; i++, item = dbk_json_sibling(item)) {
        if (node->kind == DBK_JSON_OBJECT)
            rc = check_key(walk, item);
        if (rc == DBK_OK)
            rc = dbk_mongodb_check_values(walk, item, depth + 1);
    }
    return rc;
}

/* ---- Members ---- */

static int check_known(struct dbk_mongodb_walk *walk, const struct dbk_json_node *object,
                       const char *const *words, const char *why)
{
    const struct dbk_json_node *item = dbk_json_first(object);
    for (uint32_t i = 0; i < object->count; i++, item = dbk_json_sibling(item)) {
        if (!dbk_mongodb_is_key(item, words))
            return dbk_mongodb_fault_key(walk, item, DBK_EDENIED, why);
    }
    return DBK_OK;
}

static int check_items(struct dbk_mongodb_walk *walk, const struct dbk_json_node *root,
                       const char *key, item_fn check)
{
    const struct dbk_json_node *list = dbk_json_member(root, key);
    int rc = DBK_OK;
    if (list == NULL || list->kind != DBK_JSON_ARRAY || list->count == 0)
        return dbk_error_set(walk->err, DBK_EINVAL, "the command needs \"%s\", a list with items",
                             key);
    const struct dbk_json_node *item = dbk_json_first(list);
    for (uint32_t i = 0; rc == DBK_OK && i < list->count; i++, item = dbk_json_sibling(item))
        rc = item->kind == DBK_JSON_OBJECT
                 ? check(walk, item)
                 : dbk_mongodb_fault_at(walk, item, DBK_EINVAL, "an object is expected");
    return rc;
}

static int need_object(struct dbk_mongodb_walk *walk, const struct dbk_json_node *item,
                       const char *key, const struct dbk_json_node **found_out)
{
    *found_out = dbk_json_member(item, key);
    if (*found_out != NULL && (*found_out)->kind == DBK_JSON_OBJECT)
        return DBK_OK;
    walk->offset = (int)dbk_json_offset(*found_out == NULL ? item : *found_out, walk->text);
    return dbk_error_set(walk->err, *found_out == NULL ? DBK_EINVAL : DBK_EDENIED,
                         *found_out == NULL ? "\"%s\" is missing"
                                            : "\"%s\" is an object here (update pipelines are not "
                                              "for handlers)",
                         key);
}

/* A value, and no condition. */
static bool is_identity(const struct dbk_json_node *id)
{
    if (id->kind == DBK_JSON_NULL || id->kind == DBK_JSON_ARRAY)
        return false;
    return id->kind != DBK_JSON_OBJECT || is_typed(id) ||
           (id->count > 0 && !begins(dbk_json_first(id)->key, "$"));
}

static int check_identity(struct dbk_mongodb_walk *walk, const struct dbk_json_node *query)
{
    const struct dbk_json_node *id = dbk_json_member(query, "_id");
    if (id != NULL && is_identity(id))
        return DBK_OK;
    return dbk_mongodb_fault_at(
        walk, id == NULL ? query : id, DBK_EDENIED,
        "the document is named by its _id: of others it could not be told what was done");
}

/* ---- Changes ---- */

static int check_document(struct dbk_mongodb_walk *walk, const struct dbk_json_node *document)
{
    const struct dbk_json_node *id = dbk_json_member(document, "_id");
    if (id == NULL || !is_identity(id))
        return dbk_mongodb_fault_at(walk, document, DBK_EDENIED,
                                    "a document needs an _id of its own: the server's would be "
                                    "another in each rebuild");
    const struct dbk_json_node *item = dbk_json_first(document);
    for (uint32_t i = 0; i < document->count; i++, item = dbk_json_sibling(item)) {
        if (begins(item->key, "$"))
            return dbk_mongodb_fault_key(walk, item, DBK_EINVAL, "no name of a document's member");
    }
    return DBK_OK;
}

/* {"$inc": {"n": 1}}: one operator and its fields. */
static int check_operator(struct dbk_mongodb_walk *walk, const struct dbk_json_node *operator)
{
    static const char *const all[] = {"$set",      "$unset", "$inc",    "$mul",         "$min",
                                      "$max",      "$push",  "$rename", "$setOnInsert", "$pull",
                                      "$addToSet", "$pop",   "$bit",    "$pullAll",     NULL};
    static const char *const again[] = {"$set", "$unset", "$pull", "$pullAll", NULL};
    bool purge = walk->guard == DBK_GUARD_PURGE;
    if (!dbk_mongodb_is_key(operator, purge ? again : all))
        return dbk_mongodb_fault_key(walk, operator, DBK_EDENIED,
                                     purge ? "a purge may run twice: it takes $set, $unset, $pull "
                                             "and $pullAll"
                                           : "no operator of an update");
    if (operator->kind != DBK_JSON_OBJECT || operator->count == 0)
        return dbk_mongodb_fault_at(walk, operator, DBK_EINVAL,
                                    "an object with fields is expected");
    const struct dbk_json_node *field = dbk_json_first(operator);
    for (uint32_t i = 0; i < operator->count; i++, field = dbk_json_sibling(field)) {
        if (dbk_slice_equal_text(field->key, "_id"))
            return dbk_mongodb_fault_key(walk, field, DBK_EDENIED, "a document keeps its _id");
    }
    return DBK_OK;
}

static int check_new(struct dbk_mongodb_walk *walk, const struct dbk_json_node *update)
{
    const struct dbk_json_node *item = dbk_json_first(update);
    bool operators = update->count > 0 && begins(item->key, "$");
    if (walk->guard == DBK_GUARD_PURGE && !operators)
        return dbk_mongodb_fault_at(walk, update, DBK_EDENIED,
                                    "a purge changes fields: use $unset");
    for (uint32_t i = 0; i < update->count; i++, item = dbk_json_sibling(item)) {
        int rc = operators ? check_operator(walk, item)
                 : begins(item->key, "$")
                     ? dbk_mongodb_fault_key(walk, item, DBK_EINVAL, "no name of a member")
                     : DBK_OK;
        if (rc < 0)
            return rc;
    }
    return DBK_OK;
}

static int check_multi(struct dbk_mongodb_walk *walk, const struct dbk_json_node *item)
{
    const struct dbk_json_node *multi = dbk_json_member(item, "multi");
    const struct dbk_json_node *upsert = dbk_json_member(item, "upsert");
    bool right =
        (multi == NULL || multi->kind == DBK_JSON_TRUE || multi->kind == DBK_JSON_FALSE) &&
        (upsert == NULL || upsert->kind == DBK_JSON_TRUE || upsert->kind == DBK_JSON_FALSE);
    if (!right)
        return dbk_mongodb_fault_at(walk, item, DBK_EINVAL,
                                    "\"multi\" and \"upsert\" are true or false");
    if (walk->guard == DBK_GUARD_PURGE)
        return upsert == NULL || upsert->kind == DBK_JSON_FALSE
                   ? DBK_OK
                   : dbk_mongodb_fault_at(walk, upsert, DBK_EDENIED, "a purge makes no documents");
    if (multi == NULL || multi->kind == DBK_JSON_FALSE)
        return DBK_OK;
    return dbk_mongodb_fault_at(walk, multi, DBK_EDENIED,
                                "an update is of one document: of many it could not be told "
                                "which of them it was done to");
}

static int check_update(struct dbk_mongodb_walk *walk, const struct dbk_json_node *item)
{
    static const char *const known[] = {"q", "u", "upsert", "multi", "arrayFilters", NULL};
    const struct dbk_json_node *query = NULL;
    const struct dbk_json_node *update = NULL;
    int rc = check_known(walk, item, known, "an update has q, u, upsert and arrayFilters");
    if (rc == DBK_OK)
        rc = need_object(walk, item, "q", &query);
    if (rc == DBK_OK)
        rc = need_object(walk, item, "u", &update);
    if (rc == DBK_OK)
        rc = check_multi(walk, item);
    if (rc == DBK_OK && walk->guard != DBK_GUARD_PURGE)
        rc = check_identity(walk, query);
    return rc == DBK_OK ? check_new(walk, update) : rc;
}

/* A delete that had conditions could miss, the second time, the document it deleted the first. */
static int check_delete(struct dbk_mongodb_walk *walk, const struct dbk_json_node *item)
{
    static const char *const known[] = {"q", "limit", NULL};
    const struct dbk_json_node *query = NULL;
    const struct dbk_json_node *limit = dbk_json_member(item, "limit");
    int rc = check_known(walk, item, known, "a delete has q and limit");
    if (rc == DBK_OK)
        rc = need_object(walk, item, "q", &query);
    if (rc < 0)
        return rc;
    bool one = limit != NULL && limit->kind == DBK_JSON_INTEGER && limit->integer == 1;
    bool all = limit != NULL && limit->kind == DBK_JSON_INTEGER && limit->integer == 0;
    if (walk->guard == DBK_GUARD_PURGE)
        return one || all ? DBK_OK
                          : dbk_mongodb_fault_at(walk, item, DBK_EINVAL, "\"limit\" is 0 or 1");
    if (!one)
        return dbk_mongodb_fault_at(walk, limit == NULL ? item : limit, DBK_EDENIED,
                                    "a handler deletes one document: write \"limit\": 1");
    if (query->count == 1)
        return check_identity(walk, query);
    return dbk_mongodb_fault_at(walk, query, DBK_EDENIED,
                                "a handler deletes by _id alone: with other conditions it could "
                                "not be done again");
}

static int check_change(struct dbk_mongodb_walk *walk, const struct dbk_json_node *root)
{
    static const char *const inserts[] = {"insert", "documents", NULL};
    static const char *const updates[] = {"update", "updates", NULL};
    static const char *const deletes[] = {"delete", "deletes", NULL};
    static const char *const modify[] = {"findAndModify", "findandmodify", NULL};
    const struct dbk_json_node *first = dbk_json_first(root);
    bool purge = walk->guard == DBK_GUARD_PURGE;
    const char *const *known = !purge && dbk_mongodb_is_key(first, inserts) ? inserts
                               : dbk_mongodb_is_key(first, updates)         ? updates
                                                                            : deletes;
    if (dbk_mongodb_is_key(first, modify))
        return dbk_mongodb_fault_key(walk, first, DBK_EDENIED,
                                     "a handler is answered nothing: write update");
    if (!dbk_slice_equal_text(first->key, known[0]))
        return dbk_mongodb_fault_key(walk, first, DBK_EDENIED,
                                     purge ? "a purge is of update and delete commands"
                                           : "a handler is of insert, update and delete commands");
    int rc = check_known(walk, root, known,
                         "a command has its collection and its list here, nothing else");
    if (rc < 0)
        return rc;
    return check_items(walk, root, known[1],
                       known == inserts   ? check_document
                       : known == updates ? check_update
                                          : check_delete);
}

/* ---- A service's own commands ---- */

/* One update of one document, changed by operators: its other members stay, ours among them. */
static int check_command(struct dbk_mongodb_walk *walk, const struct dbk_json_node *root)
{
    static const char *const known[] = {"update", "updates", NULL};
    const struct dbk_json_node *first = dbk_json_first(root);
    const struct dbk_json_node *list = dbk_json_member(root, "updates");
    if (!dbk_slice_equal_text(first->key, known[0]))
        return dbk_mongodb_fault_key(walk, first, DBK_EDENIED,
                                     "a command is one update; with \"upsert\": true it makes the "
                                     "document");
    int rc = check_known(walk, root, known,
                         "a command has its collection and its list here, nothing else");
    if (rc == DBK_OK)
        rc = check_items(walk, root, known[1], check_update);
    if (rc < 0)
        return rc;
    if (list->count > 1)
        return dbk_mongodb_fault_at(walk, list, DBK_EDENIED,
                                    "a command is one update: together with others it could be "
                                    "half done");
    const struct dbk_json_node *update = dbk_json_member(dbk_json_first(list), "u");
    if (update->count == 0 || !begins(dbk_json_first(update)->key, "$"))
        return dbk_mongodb_fault_at(walk, update, DBK_EDENIED,
                                    "a command changes members: use $set, $inc, $push and so on");
    return DBK_OK;
}

static int check_own_collection(struct dbk_mongodb_walk *walk, const struct dbk_json_node *name)
{
    if (name->kind != DBK_JSON_STRING || name->text.size == 0 ||
        memchr(name->text.data, '$', name->text.size) != NULL || begins(name->text, ":"))
        return dbk_mongodb_fault_at(walk, name, DBK_EINVAL, "a collection's name is expected");
    if (begins(name->text, "_daybook") || begins(name->text, "system.") || begins(name->text, "{"))
        return dbk_mongodb_fault_at(walk, name, DBK_EDENIED,
                                    "this is none of the service's own collections");
    return DBK_OK;
}

/* ---- Schemas ---- */

static int check_index(struct dbk_mongodb_walk *walk, const struct dbk_json_node *index)
{
    static const char *const known[] = {
        "key", "name", "unique", "sparse", "collation", "partialFilterExpression", NULL};
    const struct dbk_json_node *key = NULL;
    const struct dbk_json_node *name = dbk_json_member(index, "name");
    int rc = check_known(walk, index, known,
                         "an index has key, name, unique, sparse, collation and "
                         "partialFilterExpression; documents end by events alone");
    if (rc == DBK_OK)
        rc = need_object(walk, index, "key", &key);
    if (rc == DBK_OK && (name == NULL || name->kind != DBK_JSON_STRING))
        rc = dbk_mongodb_fault_at(walk, index, DBK_EINVAL, "an index needs a name");
    return rc;
}

static int check_schema(struct dbk_mongodb_walk *walk, const struct dbk_json_node *root)
{
    static const char *const create[] = {"create", "validator", "validationLevel",
                                         "validationAction", NULL};
    static const char *const indexes[] = {"createIndexes", "indexes", NULL};
    const struct dbk_json_node *first = dbk_json_first(root);
    if (dbk_slice_equal_text(first->key, "create"))
        return check_known(walk, root, create, "a collection may have a validator, nothing else");
    if (!dbk_slice_equal_text(first->key, "createIndexes"))
        return dbk_mongodb_fault_key(walk, first, DBK_EDENIED,
                                     "schema.json holds create and createIndexes commands only");
    int rc = check_known(walk, root, indexes, "the command has its collection and indexes");
    return rc == DBK_OK ? check_items(walk, root, "indexes", check_index) : rc;
}

/* ---- Parameters ---- */

static int check_parameters(struct dbk_mongodb_walk *walk, const struct dbk_json_node *node)
{
    int rc = DBK_OK;
    if (dbk_mongodb_is_parameter(node)) {
        bool known = dbk_slice_equal_text(node->text, ":_subject") ||
                     dbk_slice_equal_text(node->text, ":_stream");
        if (walk->guard == DBK_GUARD_SCHEMA)
            return dbk_mongodb_fault_at(walk, node, DBK_EDENIED, "a schema has no parameters");
        if (walk->guard == DBK_GUARD_PURGE && !known)
            return dbk_mongodb_fault_at(walk, node, DBK_EDENIED,
                                        "there are `:_subject` and `:_stream` here");
    }
    if (node->kind != DBK_JSON_OBJECT && node->kind != DBK_JSON_ARRAY)
        return DBK_OK;
    const struct dbk_json_node *item = dbk_json_first(node);
    for (uint32_t i = 0; rc == DBK_OK && i < node->count; i++, item = dbk_json_sibling(item))
        rc = check_parameters(walk, item);
    return rc;
}

/* ---- A command ---- */

static int check_root(struct dbk_mongodb_walk *walk, const struct dbk_json_node *root)
{
    struct dbk_slice model = {0};
    struct dbk_slice name = {0};
    if (root->kind != DBK_JSON_OBJECT || root->count == 0)
        return dbk_mongodb_fault_at(walk, root, DBK_EINVAL,
                                    "a command is an object: {\"update\": …}");
    const struct dbk_json_node *first = dbk_json_first(root);
    bool query = walk->guard == DBK_GUARD_QUERY;
    bool command = walk->guard == DBK_GUARD_COMMAND;
    int rc = query                             ? dbk_mongodb_check_query(walk, root)
             : walk->guard == DBK_GUARD_SCHEMA ? check_schema(walk, root)
             : command                         ? check_command(walk, root)
                                               : check_change(walk, root);
    if (rc == DBK_OK && command)
        rc = check_own_collection(walk, first);
    if (rc < 0)
        return rc;
    if (!command &&
        (first->kind != DBK_JSON_STRING || !dbk_mongodb_collection(first->text, &model, &name)))
        return dbk_mongodb_fault_at(walk, first, DBK_EDENIED,
                                    query ? "a query's collection is written {model}Name"
                                          : "a model's collection is written {gen}Name");
    rc = check_parameters(walk, root);
    return rc == DBK_OK ? dbk_mongodb_check_values(walk, root, 0) : rc;
}

/* Calls back with the kept nodes of a text. */
static int with_nodes(struct dbk_mongodb_walk *walk, int *offset_out)
{
    struct dbk_arena arena;
    struct dbk_error failure = {0};
    const struct dbk_json_node *root = NULL;
    struct dbk_json *json = dbk_json_create(DBK_MONGODB_SIZE_MAX);
    const char *reason = NULL;
    dbk_arena_init(&arena, 64 * DBK_MONGODB_SIZE_MAX);
    int rc = json == NULL ? DBK_ENOMEM : dbk_json_parse(json, walk->text, &root, &failure);
    if (rc == DBK_EINVAL) {
        size_t offset = dbk_json_fault(json, &reason);
        walk->offset = offset < walk->text.size ? (int)offset : -1;
        (void)dbk_error_set(&failure, rc, "%s", reason);
    }
    if (rc == DBK_OK)
        rc = dbk_json_keep(root, walk->text, &arena, &root);
    if (rc < 0)
        rc = dbk_error_set(walk->err, rc, "%s",
                           failure.message[0] != '\0' ? failure.message : dbk_code_text(rc));
    else
        rc = check_root(walk, root);
    *offset_out = walk->offset;
    dbk_json_free(json);
    dbk_arena_release(&arena);
    return rc;
}

int dbk_mongodb_check(struct dbk_slice text, enum dbk_guard guard, int *offset_out,
                      struct dbk_error *err)
{
    struct dbk_mongodb_walk walk = {.text = text, .guard = guard, .err = err};
    *offset_out = -1;
    if (text.size > DBK_MONGODB_SIZE_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "a command is longer than %zu KiB",
                             DBK_MONGODB_SIZE_MAX >> 10);
    if (text.size == 0)
        return dbk_error_set(err, DBK_EINVAL, "there is no command");
    return with_nodes(&walk, offset_out);
}

int dbk_mongodb_objects(struct dbk_slice schema, dbk_object_fn each, void *context,
                        struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t offset = 0; rc == DBK_OK;) {
        struct dbk_slice command = dbk_mongodb_statement(schema, offset, &offset);
        struct dbk_slice model = {0};
        struct dbk_slice name = {0};
        bool creates = false;
        if (command.size == 0)
            break;
        for (size_t at = 0; at < command.size;) {
            struct dbk_mongodb_token token = dbk_mongodb_next(command, at);
            at += token.text.size;
            if (token.kind != DBK_MONGODB_STRING)
                continue;
            struct dbk_slice inside = dbk_slice(token.text.data + 1, token.text.size - 2);
            if (creates && dbk_mongodb_collection(inside, &model, &name))
                rc = each(context, DBK_OBJECT_TABLE, name);
            if (creates || !dbk_slice_equal_text(inside, "create"))
                break;
            creates = true;
        }
    }
    return rc < 0 ? dbk_error_set(err, rc, "out of memory reading a schema") : DBK_OK;
}

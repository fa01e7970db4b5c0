/* SPDX-License-Identifier: Apache-2.0 */
/* A handler's changes with their guards, and commands that are run at once. */
#include "target/mongodb/statement.h"

#define NAMESPACE_EXISTS 48

static bool is_key(const struct dbk_json_node *member, const char *key)
{
    return dbk_slice_equal_text(member->key, key);
}

/*
 * FerretDB 1 finds a document by an index only where a filter is {_id: a text or an ObjectId}
 * alone; with a guard in it, it reads the collection from its beginning. Nor would the guard there
 * be worth what it is to MongoDB: a document is read, and then written by its _id, whatever has
 * become of it in between. What a connection sent that is gone is waited for there (undo.c).
 *
 * Source: FerretDB 1.24, internal/backends/sqlite/collection.go, internal/handler/msg_update.go.
 */
static bool is_found(const struct dbk_mongodb_session *session, const bson_t *query)
{
    bson_iter_t at;
    return session->is_ferretdb && bson_count_keys(query) == 1 &&
           bson_iter_init_find(&at, query, "_id") &&
           (BSON_ITER_HOLDS_UTF8(&at) || BSON_ITER_HOLDS_OID(&at));
}

/* {"q": {…, "_daybook": {"$gte": 0, "$lt": guard}}}: what was done is not found again. The least
   guard is set when it is known what is there (undo.c). */
static int append_query(const struct dbk_mongodb_session *session,
                        const struct dbk_mongodb_build *build, const struct dbk_json_node *query,
                        int64_t guard, bson_t *out)
{
    bson_t inner;
    bson_t condition;
    BSON_APPEND_DOCUMENT_BEGIN(out, "q", &inner);
    int rc = dbk_mongodb_build_members(build, query, &inner);
    if (!is_found(session, &inner)) {
        BSON_APPEND_DOCUMENT_BEGIN(&inner, "_daybook", &condition);
        BSON_APPEND_INT64(&condition, "$gte", 0);
        BSON_APPEND_INT64(&condition, "$lt", guard);
        bson_append_document_end(&inner, &condition);
    }
    bson_append_document_end(out, &inner);
    return rc;
}

static int append_set(const struct dbk_mongodb_build *build, const struct dbk_json_node *fields,
                      int64_t guard, bson_t *out)
{
    bson_t inner;
    BSON_APPEND_DOCUMENT_BEGIN(out, "$set", &inner);
    int rc = fields == NULL ? DBK_OK : dbk_mongodb_build_members(build, fields, &inner);
    BSON_APPEND_INT64(&inner, "_daybook", guard);
    bson_append_document_end(out, &inner);
    return rc;
}

/* The new guard is set with the fields, or is a member of the document that is put in place. */
static int append_update(const struct dbk_mongodb_build *build, const struct dbk_json_node *update,
                         int64_t guard, bson_t *out)
{
    bson_t inner;
    const struct dbk_json_node *item = dbk_json_first(update);
    bool operators = update->count > 0 && item->key.size > 0 && item->key.data[0] == '$';
    bool set = false;
    int rc = DBK_OK;
    BSON_APPEND_DOCUMENT_BEGIN(out, "u", &inner);
    for (uint32_t i = 0; rc == DBK_OK && i < update->count; i++, item = dbk_json_sibling(item)) {
        bool own = operators && is_key(item, "$set");
        rc = own ? append_set(build, item, guard, &inner)
                 : dbk_mongodb_build_value(build, item->key, item, &inner);
        set = set || own;
    }
    if (rc == DBK_OK && operators && !set)
        rc = append_set(build, NULL, guard, &inner);
    else if (rc == DBK_OK && !operators)
        BSON_APPEND_INT64(&inner, "_daybook", guard);
    bson_append_document_end(out, &inner);
    return rc;
}

static int write_update(const struct dbk_mongodb_session *session,
                        const struct dbk_mongodb_build *build, const struct dbk_json_node *item,
                        int64_t guard, bson_t *out)
{
    const struct dbk_json_node *upsert = dbk_json_member(item, "upsert");
    const struct dbk_json_node *filters = dbk_json_member(item, "arrayFilters");
    int rc = append_query(session, build, dbk_json_member(item, "q"), guard, out);
    if (rc == DBK_OK)
        rc = append_update(build, dbk_json_member(item, "u"), guard, out);
    BSON_APPEND_BOOL(out, "upsert", upsert != NULL && upsert->kind == DBK_JSON_TRUE);
    if (rc == DBK_OK && filters != NULL)
        rc = dbk_mongodb_build_value(build, DBK_SLICE_LITERAL("arrayFilters"), filters, out);
    return rc;
}

static int write_change(const struct dbk_mongodb_session *session,
                        const struct dbk_mongodb_build *build, enum dbk_mongodb_what what,
                        const struct dbk_json_node *item, int64_t guard, bson_t *out)
{
    int rc = DBK_OK;
    switch (what) {
    case DBK_MONGODB_INSERT:
        rc = dbk_mongodb_build_members(build, item, out);
        BSON_APPEND_INT64(out, "_daybook", guard);
        break;
    case DBK_MONGODB_UPDATE:
        rc = write_update(session, build, item, guard, out);
        break;
    case DBK_MONGODB_DELETE:
        rc = append_query(session, build, dbk_json_member(item, "q"), guard, out);
        BSON_APPEND_INT32(out, "limit", 1);
        break;
    }
    return rc;
}

static const struct dbk_json_node *list_of(const struct dbk_json_node *root,
                                           enum dbk_mongodb_what *what_out)
{
    const struct dbk_json_node *first = dbk_json_first(root);
    *what_out = is_key(first, "insert")   ? DBK_MONGODB_INSERT
                : is_key(first, "update") ? DBK_MONGODB_UPDATE
                                          : DBK_MONGODB_DELETE;
    return dbk_json_member(root, *what_out == DBK_MONGODB_INSERT   ? "documents"
                                 : *what_out == DBK_MONGODB_UPDATE ? "updates"
                                                                   : "deletes");
}

/* The event's next guard. */
static int next_guard(struct dbk_mongodb_statement *statement, int64_t *guard_out,
                      struct dbk_error *err)
{
    struct dbk_mongodb_session *session = statement->session;
    const struct dbk_json_node *number =
        dbk_json_member(dbk_json_member(statement->root, "$position"), "$_");
    int64_t event = 0;
    if (number != NULL && number->kind == DBK_JSON_INTEGER && number->integer >= 0 &&
        (uint64_t)number->integer < statement->value_count)
        event = statement->values[number->integer].integer;
    if (event == 0 || session->key == NULL)
        return dbk_error_set(err, DBK_EINVAL, "a handler's command has no event");
    if (event != session->event) {
        session->event = event;
        session->number = 0;
    }
    if (session->number == DBK_MONGODB_CHANGES_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "an event makes more than %d changes",
                             DBK_MONGODB_CHANGES_MAX);
    session->number++;
    /* A letter's changes are the last ones, as if it came now. */
    int64_t place = session->letter ? session->position + 1 : event;
    *guard_out = (place + session->shift) * (DBK_MONGODB_CHANGES_MAX + 1) + session->number;
    return DBK_OK;
}

int dbk_mongodb_change(struct dbk_mongodb_statement *statement, struct dbk_error *err)
{
    struct dbk_mongodb_build build = dbk_mongodb_building(statement, err);
    enum dbk_mongodb_what what = DBK_MONGODB_INSERT;
    const struct dbk_json_node *list = list_of(statement->root, &what);
    bson_t body = BSON_INITIALIZER;
    int rc = DBK_OK;
    const struct dbk_json_node *item = dbk_json_first(list);
    for (uint32_t i = 0; rc == DBK_OK && i < list->count; i++, item = dbk_json_sibling(item)) {
        int64_t guard = 0;
        bson_reinit(&body);
        rc = next_guard(statement, &guard, err);
        if (rc == DBK_OK)
            rc = write_change(statement->session, &build, what, item, guard, &body);
        if (rc == DBK_OK)
            rc =
                dbk_mongodb_add(statement->session, what, statement->collection, guard, &body, err);
    }
    bson_destroy(&body);
    return rc;
}

/* ---- At once ---- */

static int check_reply(const bson_t *reply, struct dbk_error *err)
{
    bson_iter_t at;
    bson_iter_t errors;
    bson_iter_t text;
    if (!bson_iter_init_find(&at, reply, "writeErrors") || !bson_iter_recurse(&at, &errors) ||
        !bson_iter_next(&errors) || !bson_iter_recurse(&errors, &text))
        return DBK_OK;
    const char *what = bson_iter_find(&text, "errmsg") && BSON_ITER_HOLDS_UTF8(&text)
                           ? bson_iter_utf8(&text, NULL)
                           : "a write failed";
    return dbk_mongodb_write_fault(0, what, err);
}

int dbk_mongodb_run_now(struct dbk_mongodb_statement *statement, struct dbk_error *err)
{
    struct dbk_mongodb_build build = dbk_mongodb_building(statement, err);
    bson_t command = BSON_INITIALIZER;
    bson_t reply = BSON_INITIALIZER;
    const struct dbk_json_node *item = dbk_json_first(statement->root);
    int rc = DBK_OK;
    for (uint32_t i = 0; rc == DBK_OK && i < statement->root->count;
         i++, item = dbk_json_sibling(item)) {
        if (!is_key(item, "$position"))
            rc = dbk_mongodb_build_value(&build, item->key, item, &command);
    }
    if (rc == DBK_OK) {
        bson_destroy(&reply);
        rc = dbk_mongodb_change_command(statement->session, &command, &reply, err);
        if (rc == DBK_OK)
            rc = check_reply(&reply, err);
        if (rc < 0 && dbk_mongodb_integer(&reply, "code") == NAMESPACE_EXISTS)
            rc = DBK_OK; /* what was cut short is done again */
    }
    bson_destroy(&reply);
    bson_destroy(&command);
    return rc;
}

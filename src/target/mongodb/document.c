/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One document's change, once for an id (target/target.h, dbk_statement_change).
 *
 * FerretDB 1 reads and writes a document in two steps, between which another's change is lost. So
 * this process changes a document by one thread at a time; MongoDB needs no such thing, but it
 * saves rounds.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "target/mongodb/statement.h"

#define KEPT "_daybook_commands"
#define MEMBER "_daybook_command"
#define ROUNDS_MAX 50
#define TURNS 64
#define HASH_SIZE_MAX 128

/* What commands left in a document. */
struct last {
    bool found; /* there is a document */
    bool any;   /* that one was changed by a command */
    int64_t n;
    char id[DBK_UUID_TEXT_SIZE]; /* empty: the last had none, or was refused */
    char hash[HASH_SIZE_MAX];
};

struct change {
    struct dbk_mongodb_statement *statement;
    struct dbk_mongodb_session *session;
    struct dbk_mongodb_build build;
    const struct dbk_document_wish *wish;
    const char *collection;
    const struct dbk_json_node *query;
    const struct dbk_json_node *update;
    const struct dbk_json_node *filters;
    bool upsert;
    bson_t identity; /* {_id: …} */
};

static pthread_mutex_t turns[TURNS];

static void make_turns(void)
{
    for (size_t i = 0; i < TURNS; i++)
        (void)pthread_mutex_init(&turns[i], NULL);
}

/* ---- Reading ---- */

static void take_text(const bson_iter_t *at, char *out, size_t size)
{
    if (BSON_ITER_HOLDS_UTF8(at))
        (void)snprintf(out, size, "%s", bson_iter_utf8(at, NULL));
}

/* What a majority of the members has: what is behind that may be undone. */
static int find_one(const struct change *change, const char *collection, const bson_t *filter,
                    const char *member, bson_t *reply, bson_iter_t *document_out,
                    struct dbk_error *err)
{
    bson_t command = BSON_INITIALIZER;
    bson_t projection;
    bson_t concern;
    bson_iter_t at;
    bson_iter_t batch;
    BSON_APPEND_UTF8(&command, "find", collection);
    BSON_APPEND_DOCUMENT(&command, "filter", filter);
    BSON_APPEND_DOCUMENT_BEGIN(&command, "projection", &projection);
    BSON_APPEND_INT32(&projection, member, 1);
    bson_append_document_end(&command, &projection);
    BSON_APPEND_INT32(&command, "limit", 1);
    BSON_APPEND_BOOL(&command, "singleBatch", true);
    if (change->session->majority) {
        BSON_APPEND_DOCUMENT_BEGIN(&command, "readConcern", &concern);
        BSON_APPEND_UTF8(&concern, "level", "majority");
        bson_append_document_end(&command, &concern);
    }
    int rc = dbk_mongodb_ask(change->session, &command, reply, err);
    bson_destroy(&command);
    if (rc < 0)
        return rc;
    return bson_iter_init(&at, reply) &&
           bson_iter_find_descendant(&at, "cursor.firstBatch", &batch) &&
           BSON_ITER_HOLDS_ARRAY(&batch) && bson_iter_recurse(&batch, document_out) &&
           bson_iter_next(document_out) && BSON_ITER_HOLDS_DOCUMENT(document_out);
}

static int read_last(const struct change *change, struct last *last, struct dbk_error *err)
{
    bson_t reply;
    bson_iter_t document;
    bson_iter_t member;
    bson_iter_t part;
    *last = (struct last){0};
    int rc =
        find_one(change, change->collection, &change->identity, MEMBER, &reply, &document, err);
    last->found = rc == 1;
    if (rc == 1 && bson_iter_recurse(&document, &member) && bson_iter_find(&member, MEMBER) &&
        BSON_ITER_HOLDS_DOCUMENT(&member) && bson_iter_recurse(&member, &part)) {
        last->any = true;
        while (bson_iter_next(&part)) {
            if (strcmp(bson_iter_key(&part), "n") == 0)
                last->n = bson_iter_as_int64(&part);
            else if (strcmp(bson_iter_key(&part), "id") == 0)
                take_text(&part, last->id, sizeof(last->id));
            else if (strcmp(bson_iter_key(&part), "hash") == 0)
                take_text(&part, last->hash, sizeof(last->hash));
        }
    }
    bson_destroy(&reply);
    return rc < 0 ? rc : DBK_OK;
}

static enum dbk_document_outcome same(const struct change *change, const char *hash)
{
    return dbk_slice_equal_text(change->wish->hash, hash) ? DBK_DOCUMENT_KNOWN : DBK_DOCUMENT_OTHER;
}

/* 1: the id was used, and moved on. */
static int read_kept(const struct change *change, enum dbk_document_outcome *outcome,
                     struct dbk_error *err)
{
    bson_t filter = BSON_INITIALIZER;
    bson_t reply;
    bson_iter_t document;
    bson_iter_t member;
    char hash[HASH_SIZE_MAX] = "";
    (void)bson_append_utf8(&filter, "_id", 3, change->wish->id.data, (int)change->wish->id.size);
    int rc = find_one(change, KEPT, &filter, "hash", &reply, &document, err);
    if (rc == 1 && bson_iter_recurse(&document, &member) && bson_iter_find(&member, "hash"))
        take_text(&member, hash, sizeof(hash));
    if (rc == 1)
        *outcome = same(change, hash);
    bson_destroy(&reply);
    bson_destroy(&filter);
    return rc;
}

/* ---- Writing ---- */

/* Runs a write of one thing. DBK_EREFUSED: its writeErrors; *duplicate_out: a key is there. */
static int write_one(const struct change *change, const bson_t *command, int64_t *matched_out,
                     bool *duplicate_out, struct dbk_error *err)
{
    bson_t reply;
    bson_iter_t at;
    bson_iter_t item;
    bson_iter_t member;
    const char *text = "a write failed";
    int32_t number = 0;
    *duplicate_out = false;
    int rc = dbk_mongodb_change_command(change->session, command, &reply, err);
    if (rc == DBK_OK) {
        *matched_out = dbk_mongodb_integer(&reply, "n");
        if (bson_iter_init_find(&at, &reply, "writeErrors") && BSON_ITER_HOLDS_ARRAY(&at) &&
            bson_iter_recurse(&at, &item) && bson_iter_next(&item) &&
            BSON_ITER_HOLDS_DOCUMENT(&item) && bson_iter_recurse(&item, &member)) {
            while (bson_iter_next(&member)) {
                if (strcmp(bson_iter_key(&member), "code") == 0)
                    number = (int32_t)bson_iter_as_int64(&member);
                else if (strcmp(bson_iter_key(&member), "errmsg") == 0 &&
                         BSON_ITER_HOLDS_UTF8(&member))
                    text = bson_iter_utf8(&member, NULL);
            }
            *matched_out = 0;
            *duplicate_out = number == DBK_MONGODB_DUPLICATE;
            rc = dbk_mongodb_write_fault(number, text, err);
        }
    }
    bson_destroy(&reply);
    return rc;
}

/* Keeps an id for good. What is there stays. 1: it was there. */
static int keep(const struct change *change, struct dbk_slice id, struct dbk_slice hash,
                struct dbk_error *err)
{
    bson_t command = BSON_INITIALIZER;
    bson_t list;
    bson_t item;
    int64_t matched = 0;
    bool duplicate = false;
    struct dbk_error failure = {0};
    BSON_APPEND_UTF8(&command, "insert", KEPT);
    BSON_APPEND_ARRAY_BEGIN(&command, "documents", &list);
    BSON_APPEND_DOCUMENT_BEGIN(&list, "0", &item);
    (void)bson_append_utf8(&item, "_id", 3, id.data, (int)id.size);
    (void)bson_append_utf8(&item, "hash", 4, hash.data, (int)hash.size);
    (void)bson_append_date_time(&item, "time", 4, change->wish->now_us / 1000);
    bson_append_document_end(&list, &item);
    bson_append_array_end(&command, &list);
    int rc = write_one(change, &command, &matched, &duplicate, &failure);
    bson_destroy(&command);
    if (duplicate)
        return 1;
    return rc < 0 ? dbk_error_set(err, rc, "%s", failure.message) : DBK_OK;
}

/* The document is as it was when `last` was read. */
static void append_guard(const struct last *last, bson_t *query)
{
    bson_t condition;
    if (last->any) {
        BSON_APPEND_INT64(query, MEMBER ".n", last->n);
        if (last->id[0] != '\0') {
            BSON_APPEND_UTF8(query, MEMBER ".id", last->id);
            return;
        }
    }
    BSON_APPEND_DOCUMENT_BEGIN(query, last->any ? MEMBER ".id" : MEMBER, &condition);
    BSON_APPEND_BOOL(&condition, "$exists", false);
    bson_append_document_end(query, &condition);
}

/* What this run leaves. id: its own is in it. */
static void append_mark(const struct change *change, const struct last *last, bool id, bson_t *set)
{
    bson_t mark;
    BSON_APPEND_DOCUMENT_BEGIN(set, MEMBER, &mark);
    BSON_APPEND_INT64(&mark, "n", last->n + 1);
    if (id) {
        (void)bson_append_utf8(&mark, "id", 2, change->wish->id.data, (int)change->wish->id.size);
        (void)bson_append_utf8(&mark, "hash", 4, change->wish->hash.data,
                               (int)change->wish->hash.size);
    }
    bson_append_document_end(set, &mark);
}

static int append_query(const struct change *change, const struct last *last, bson_t *out)
{
    bson_t query;
    BSON_APPEND_DOCUMENT_BEGIN(out, "q", &query);
    int rc = dbk_mongodb_build_members(&change->build, change->query, &query);
    append_guard(last, &query);
    bson_append_document_end(out, &query);
    return rc;
}

static int append_update(const struct change *change, const struct last *last, bson_t *out)
{
    bson_t update;
    bson_t set;
    bool marked = false;
    bool id = change->wish->id.size > 0;
    int rc = DBK_OK;
    const struct dbk_json_node *item = dbk_json_first(change->update);
    BSON_APPEND_DOCUMENT_BEGIN(out, "u", &update);
    for (uint32_t i = 0; rc == DBK_OK && i < change->update->count;
         i++, item = dbk_json_sibling(item)) {
        if (!dbk_slice_equal_text(item->key, "$set")) {
            rc = dbk_mongodb_build_value(&change->build, item->key, item, &update);
            continue;
        }
        BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
        rc = dbk_mongodb_build_members(&change->build, item, &set);
        append_mark(change, last, id, &set);
        bson_append_document_end(&update, &set);
        marked = true;
    }
    if (!marked) {
        BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
        append_mark(change, last, id, &set);
        bson_append_document_end(&update, &set);
    }
    bson_append_document_end(out, &update);
    return rc;
}

/* plain: nothing but the mark is changed, whatever the document holds. */
static int send_update(const struct change *change, const struct last *last, bool plain, bool id,
                       int64_t *matched_out, bool *duplicate_out, struct dbk_error *err)
{
    bson_t command = BSON_INITIALIZER;
    bson_t list;
    bson_t item;
    bson_t part;
    bson_t set;
    int rc = DBK_OK;
    BSON_APPEND_UTF8(&command, "update", change->collection);
    BSON_APPEND_ARRAY_BEGIN(&command, "updates", &list);
    BSON_APPEND_DOCUMENT_BEGIN(&list, "0", &item);
    if (plain) {
        BSON_APPEND_DOCUMENT_BEGIN(&item, "q", &part);
        (void)bson_concat(&part, &change->identity);
        append_guard(last, &part);
        bson_append_document_end(&item, &part);
        BSON_APPEND_DOCUMENT_BEGIN(&item, "u", &part);
        BSON_APPEND_DOCUMENT_BEGIN(&part, "$set", &set);
        append_mark(change, last, id, &set);
        bson_append_document_end(&part, &set);
        bson_append_document_end(&item, &part);
    } else {
        rc = append_query(change, last, &item);
        if (rc == DBK_OK)
            rc = append_update(change, last, &item);
        BSON_APPEND_BOOL(&item, "upsert", change->upsert && !last->found);
        if (rc == DBK_OK && change->filters != NULL)
            rc = dbk_mongodb_build_value(&change->build, DBK_SLICE_LITERAL("arrayFilters"),
                                         change->filters, &item);
    }
    bson_append_document_end(&list, &item);
    bson_append_array_end(&command, &list);
    if (rc == DBK_OK)
        rc = write_one(change, &command, matched_out, duplicate_out, err);
    bson_destroy(&command);
    /* It may have been done. */
    if (rc == DBK_ECONNECT && err != NULL)
        err->code = DBK_EUNKNOWN;
    return rc == DBK_ECONNECT ? DBK_EUNKNOWN : rc;
}

/* ---- A run ---- */

/* Nothing matched, or the server refused it. What was sent before for this id is not to match
   later: the document's mark moves on; done: with the id, as that nothing matched is the outcome.
   1: that stands; 0: the document is another now. */
static int miss(const struct change *change, const struct last *last, bool done,
                enum dbk_document_outcome *outcome, struct dbk_error *err)
{
    const struct dbk_document_wish *wish = change->wish;
    int64_t matched = 0;
    bool duplicate = false;
    *outcome = done ? DBK_DOCUMENT_DONE : DBK_DOCUMENT_MISSED;
    if (wish->id.size == 0)
        return 1;
    if (!last->found) {
        int rc = done ? keep(change, wish->id, wish->hash, err) : DBK_OK;
        return rc == DBK_OK ? 1 : rc < 0 ? rc : 0;
    }
    int rc = send_update(change, last, true, done, &matched, &duplicate, err);
    return rc < 0 ? rc : matched > 0;
}

/* 1: it has an outcome; 0: the document was changed meanwhile. */
static int round_of(const struct change *change, struct dbk_error *err,
                    enum dbk_document_outcome *outcome)
{
    const struct dbk_document_wish *wish = change->wish;
    struct dbk_error failure = {0};
    struct last last;
    int64_t matched = 0;
    bool duplicate = false;
    int rc = read_last(change, &last, err);
    if (rc == DBK_OK && wish->id.size > 0 && dbk_slice_equal_text(wish->id, last.id)) {
        *outcome = same(change, last.hash);
        return 1;
    }
    if (rc == DBK_OK && wish->id.size > 0)
        rc = read_kept(change, outcome, err);
    if (rc != DBK_OK)
        return rc;
    if (last.id[0] != '\0') {
        rc = keep(change, dbk_slice_of(last.id), dbk_slice_of(last.hash), err);
        if (rc < 0)
            return rc;
    }
    rc = send_update(change, &last, false, true, &matched, &duplicate, &failure);
    if (rc == DBK_OK && matched > 0) {
        *outcome = DBK_DOCUMENT_DONE;
        return 1;
    }
    /* Where the document was made meanwhile, its key is there. */
    if (duplicate && !last.found) {
        struct last now;
        int found = read_last(change, &now, err);
        if (found < 0)
            return found;
        if (now.found)
            return 0;
    }
    if (rc < 0 && rc != DBK_EREFUSED)
        return dbk_error_set(err, rc, "%s", failure.message);
    bool refused = rc == DBK_EREFUSED;
    int stands = miss(change, &last, !wish->must && !refused, outcome, err);
    return stands == 1 && refused ? dbk_error_set(err, rc, "%s", failure.message) : stands;
}

static int try_dry(const struct change *change, enum dbk_document_outcome *outcome,
                   struct dbk_error *err)
{
    bson_t query = BSON_INITIALIZER;
    bson_t reply = BSON_INITIALIZER;
    bson_iter_t document;
    int rc = dbk_mongodb_build_members(&change->build, change->query, &query);
    if (rc == DBK_OK) {
        bson_destroy(&reply);
        rc = find_one(change, change->collection, &query, "_id", &reply, &document, err);
    }
    if (rc >= 0)
        *outcome = rc == 1 || change->upsert || !change->wish->must ? DBK_DOCUMENT_DONE
                                                                    : DBK_DOCUMENT_MISSED;
    bson_destroy(&reply);
    bson_destroy(&query);
    return rc < 0 ? rc : DBK_OK;
}

static pthread_mutex_t *turn_of(const struct change *change)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, make_turns);
    const uint8_t *bytes = bson_get_data(&change->identity);
    uint32_t hash = 2166136261U;
    for (uint32_t i = 0; i < change->identity.len; i++)
        hash = (hash ^ bytes[i]) * 16777619U;
    return &turns[hash % TURNS];
}

static int run(const struct change *change, enum dbk_document_outcome *outcome,
               struct dbk_error *err)
{
    pthread_mutex_t *turn = turn_of(change);
    int rc = 0;
    (void)pthread_mutex_lock(turn);
    for (int i = 0; rc == 0 && i < ROUNDS_MAX; i++)
        rc = round_of(change, err, outcome);
    (void)pthread_mutex_unlock(turn);
    if (rc == 0)
        return dbk_error_set(err, DBK_EBUSY,
                             "MongoDB: others changed the document %d times while "
                             "this was tried",
                             ROUNDS_MAX);
    return rc < 0 ? rc : DBK_OK;
}

int dbk_mongodb_change_document(struct dbk_mongodb_statement *statement,
                                const struct dbk_document_wish *wish,
                                enum dbk_document_outcome *outcome_out, struct dbk_error *err)
{
    struct change change = {.statement = statement,
                            .session = statement->session,
                            .build = dbk_mongodb_building(statement, err),
                            .wish = wish,
                            .identity = BSON_INITIALIZER};
    const struct dbk_json_node *first = dbk_json_first(statement->root);
    const struct dbk_json_node *item = dbk_json_first(dbk_json_member(statement->root, "updates"));
    const struct dbk_json_node *upsert = dbk_json_member(item, "upsert");
    change.query = dbk_json_member(item, "q");
    change.update = dbk_json_member(item, "u");
    change.filters = dbk_json_member(item, "arrayFilters");
    change.upsert = upsert != NULL && upsert->kind == DBK_JSON_TRUE;
    char *collection = dbk_copy_text(first->text);
    change.collection = collection;
    int rc = collection == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "out of memory doing a command")
                 : dbk_mongodb_build_value(&change.build, DBK_SLICE_LITERAL("_id"),
                                           dbk_json_member(change.query, "_id"), &change.identity);
    if (rc == DBK_OK)
        rc = wish->dry_run ? try_dry(&change, outcome_out, err) : run(&change, outcome_out, err);
    bson_destroy(&change.identity);
    dbk_free(collection);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes on their way to the server: as few commands as their order allows. What a collection's
 * changes are to be done in one command is a run: inserts alone, deletes alone, or inserts and
 * updates together, an insert then being an update that finds nothing and makes the document.
 *
 * A change that was done before finds no document with a lesser guard, tries to make one, and is
 * told that the key is there (11000). Then the guards of all that is left are asked for at once,
 * and what is done is left out.
 */
#include "target/mongodb/session.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define RUN_CHANGES_MAX 1000
/* FerretDB 1 searches the whole collection for an insert that is an update: there it is a command
   of its own. And it keeps a connection to its own database for each update until the command ends,
   and waits for ever when it has none left of its hundred. */
#define RUN_UPDATES_MAX_FERRETDB 50
/* A command may have 16 MiB; one document alone is what the server says of it. */
#define RUN_SIZE_MAX ((size_t)8 << 20)

struct run {
    size_t begin; /* in the session's list */
    size_t count;
    enum dbk_mongodb_what what;
    bool failed;
    size_t failed_at; /* from begin */
    int32_t number;   /* the server's code */
    char text[512];
};

static const struct dbk_mongodb_change *change_at(const struct dbk_mongodb_session *session,
                                                  size_t at)
{
    return &session->changes[session->list[at]];
}

void dbk_mongodb_body(const struct dbk_mongodb_session *session,
                      const struct dbk_mongodb_change *change, bson_t *out)
{
    uint32_t size = 0;
    const char *data = session->bodies.data + change->offset;
    memcpy(&size, data, sizeof(size));
    size = BSON_UINT32_FROM_LE(size);
    (void)bson_init_static(out, (const uint8_t *)data, size);
}

static size_t size_of(const struct dbk_mongodb_session *session, size_t at)
{
    bson_t body;
    dbk_mongodb_body(session, change_at(session, at), &body);
    return body.len;
}

/* ---- Runs ---- */

static struct run next_run(const struct dbk_mongodb_session *session, size_t begin, size_t end)
{
    struct run run = {.begin = begin, .what = change_at(session, begin)->what};
    size_t size = 0;
    for (size_t at = begin; at < end; at++) {
        enum dbk_mongodb_what what = change_at(session, at)->what;
        enum dbk_mongodb_what all = run.count == 0 || what == run.what ? what : DBK_MONGODB_UPDATE;
        size_t most = session->is_ferretdb && all == DBK_MONGODB_UPDATE ? RUN_UPDATES_MAX_FERRETDB
                                                                        : RUN_CHANGES_MAX;
        bool apart =
            session->is_ferretdb || what == DBK_MONGODB_DELETE || run.what == DBK_MONGODB_DELETE;
        size += size_of(session, at);
        if (run.count >= most || (run.count > 0 && size > RUN_SIZE_MAX) ||
            (apart && what != run.what))
            break;
        run.what = all;
        run.count++;
    }
    return run;
}

/* An insert among updates: no guard is less than none, so it makes its document or fails. */
static void append_as_update(const bson_t *document, const char *key, int key_size, bson_t *list)
{
    bson_t update;
    bson_t query;
    bson_t guard;
    bson_iter_t id;
    bson_append_document_begin(list, key, key_size, &update);
    bson_append_document_begin(&update, "q", 1, &query);
    if (bson_iter_init_find(&id, document, "_id"))
        bson_append_iter(&query, "_id", 3, &id);
    bson_append_document_begin(&query, "_daybook", 8, &guard);
    BSON_APPEND_INT64(&guard, "$lt", 0);
    bson_append_document_end(&query, &guard);
    bson_append_document_end(&update, &query);
    BSON_APPEND_DOCUMENT(&update, "u", document);
    BSON_APPEND_BOOL(&update, "upsert", true);
    bson_append_document_end(list, &update);
}

static void write_run(const struct dbk_mongodb_session *session, const struct run *run,
                      bson_t *command)
{
    static const char *const words[][2] = {[DBK_MONGODB_INSERT] = {"insert", "documents"},
                                           [DBK_MONGODB_UPDATE] = {"update", "updates"},
                                           [DBK_MONGODB_DELETE] = {"delete", "deletes"}};
    bson_t list;
    const char *collection = session->collections[change_at(session, run->begin)->collection];
    BSON_APPEND_UTF8(command, words[run->what][0], collection);
    BSON_APPEND_BOOL(command, "ordered", true);
    BSON_APPEND_ARRAY_BEGIN(command, words[run->what][1], &list);
    for (size_t i = 0; i < run->count; i++) {
        const struct dbk_mongodb_change *change = change_at(session, run->begin + i);
        bson_t body;
        char number[16];
        int size = snprintf(number, sizeof(number), "%zu", i);
        dbk_mongodb_body(session, change, &body);
        if (change->what == DBK_MONGODB_INSERT && run->what == DBK_MONGODB_UPDATE)
            append_as_update(&body, number, size, &list);
        else
            bson_append_document(&list, number, size, &body);
    }
    bson_append_array_end(command, &list);
}

/* The first of writeErrors; they end a run that is done in order. */
static int read_errors(const bson_t *reply, struct run *run, struct dbk_error *err)
{
    bson_iter_t at;
    bson_iter_t item;
    bson_iter_t member;
    if (!bson_iter_init_find(&at, reply, "writeErrors") || !BSON_ITER_HOLDS_ARRAY(&at) ||
        !bson_iter_recurse(&at, &item) || !bson_iter_next(&item) ||
        !BSON_ITER_HOLDS_DOCUMENT(&item) || !bson_iter_recurse(&item, &member))
        return DBK_OK;
    run->failed = true;
    while (bson_iter_next(&member)) {
        const char *key = bson_iter_key(&member);
        if (strcmp(key, "index") == 0)
            run->failed_at = (size_t)bson_iter_as_int64(&member);
        else if (strcmp(key, "code") == 0)
            run->number = (int32_t)bson_iter_as_int64(&member);
        else if (strcmp(key, "errmsg") == 0 && BSON_ITER_HOLDS_UTF8(&member))
            (void)snprintf(run->text, sizeof(run->text), "%s", bson_iter_utf8(&member, NULL));
    }
    if (run->failed_at >= run->count)
        return dbk_error_set(err, DBK_ECONNECT,
                             "MongoDB: the answer names the change %zu of %zu that were sent",
                             run->failed_at, run->count);
    return DBK_OK;
}

static int send_run(struct dbk_mongodb_session *session, struct run *run, struct dbk_error *err)
{
    bson_t command = BSON_INITIALIZER;
    bson_t reply;
    write_run(session, run, &command);
    int rc = dbk_mongodb_change_command(session, &command, &reply, err);
    if (rc == DBK_OK)
        rc = read_errors(&reply, run, err);
    bson_destroy(&reply);
    bson_destroy(&command);
    return rc;
}

/* ---- What is done already ---- */

bool dbk_mongodb_id(const struct dbk_mongodb_session *session,
                    const struct dbk_mongodb_change *change, bson_t *body, bson_iter_t *id_out)
{
    bson_iter_t at;
    dbk_mongodb_body(session, change, body);
    if (change->what == DBK_MONGODB_INSERT)
        return bson_iter_init_find(id_out, body, "_id");
    return bson_iter_init_find(&at, body, "q") && bson_iter_recurse(&at, id_out) &&
           bson_iter_find(id_out, "_id");
}

static bool is_number(const bson_iter_t *at)
{
    return BSON_ITER_HOLDS_INT32(at) || BSON_ITER_HOLDS_INT64(at) || BSON_ITER_HOLDS_DOUBLE(at);
}

/* The server finds numbers whatever their type. */
bool dbk_mongodb_is_same_id(const bson_iter_t *a, const bson_iter_t *b)
{
    bson_t left = BSON_INITIALIZER;
    bson_t right = BSON_INITIALIZER;
    if (is_number(a) && is_number(b)) {
        bool whole = !BSON_ITER_HOLDS_DOUBLE(a) && !BSON_ITER_HOLDS_DOUBLE(b);
        double difference = bson_iter_as_double(a) - bson_iter_as_double(b);
        return whole ? bson_iter_as_int64(a) == bson_iter_as_int64(b)
                     : !(difference < 0) && !(difference > 0);
    }
    bson_append_iter(&left, "", 0, a);
    bson_append_iter(&right, "", 0, b);
    bool same = bson_equal(&left, &right);
    bson_destroy(&left);
    bson_destroy(&right);
    return same;
}

/* Leaves out of the list, from begin to *end, what this document's guard says is done. Whether the
   document is that of the change `failed`. */
static bool leave_out(struct dbk_mongodb_session *session, const bson_t *document, size_t begin,
                      size_t *end, size_t failed)
{
    int64_t guard = dbk_mongodb_integer(document, "_daybook");
    size_t kept = begin;
    bool found = false;
    bson_iter_t id;
    if (!bson_iter_init_find(&id, document, "_id"))
        return false;
    for (size_t at = begin; at < *end; at++) {
        const struct dbk_mongodb_change *change = change_at(session, at);
        bson_iter_t own;
        bson_t body;
        bool same =
            dbk_mongodb_id(session, change, &body, &own) && dbk_mongodb_is_same_id(&id, &own);
        found = found || (same && session->list[at] == failed);
        if (!same || change->guard > guard)
            session->list[kept++] = session->list[at];
    }
    *end = kept;
    return found;
}

static void write_guards(const struct dbk_mongodb_session *session, size_t begin, size_t end,
                         bson_t *filter)
{
    bson_t condition;
    bson_t list;
    BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &condition);
    BSON_APPEND_ARRAY_BEGIN(&condition, "$in", &list);
    for (size_t at = begin; at < end; at++) {
        bson_t body;
        bson_iter_t id;
        char number[16];
        int size = snprintf(number, sizeof(number), "%zu", at - begin);
        if (dbk_mongodb_id(session, change_at(session, at), &body, &id))
            bson_append_iter(&list, number, size, &id);
    }
    bson_append_array_end(&condition, &list);
    bson_append_document_end(filter, &condition);
}

/* Reads the guards of a piece of the list, and leaves out what is done. *found_out: the document of
   the change `failed` is there. */
static int look(struct dbk_mongodb_session *session, size_t begin, size_t *end, size_t failed,
                bool *found_out, struct dbk_error *err)
{
    bson_t filter = BSON_INITIALIZER;
    bson_t *options = BCON_NEW("projection", "{", "_daybook", BCON_INT32(1), "}");
    const bson_t *document = NULL;
    const bson_t *reply = NULL;
    bson_error_t error = {0};
    int rc = DBK_OK;
    mongoc_collection_t *collection =
        mongoc_client_get_collection(session->client, session->database,
                                     session->collections[change_at(session, begin)->collection]);
    write_guards(session, begin, *end, &filter);
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(collection, &filter, options, NULL);
    *found_out = false;
    while (mongoc_cursor_next(cursor, &document))
        *found_out = leave_out(session, document, begin, end, failed) || *found_out;
    if (mongoc_cursor_error_document(cursor, &error, &reply))
        rc = dbk_mongodb_fault(&error, reply, err);
    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(collection);
    bson_destroy(options);
    bson_destroy(&filter);
    return rc;
}

/* The change at `at` was told that its key is there. 1: it was done before, or another behind
   `begin` was, and the list has shrunk by all that were. */
static int skip_done(struct dbk_mongodb_session *session, size_t begin, size_t at, size_t *count,
                     bool within, struct dbk_error *err)
{
    size_t failed = session->list[at];
    size_t all = *count;
    size_t end = all - begin < RUN_CHANGES_MAX ? all : begin + RUN_CHANGES_MAX;
    size_t looked = end;
    bool found = false;
    int rc = look(session, begin, &end, failed, &found, err);
    if (rc < 0)
        return rc;
    memmove(&session->list[end], &session->list[looked], (all - looked) * sizeof(*session->list));
    *count = all - (looked - end);
    if (looked > end)
        return 1;
    /* It was there a moment ago: a server still does what a connection sent that is gone. */
    return found || within
               ? 0
               : dbk_error_set(err, DBK_EBUSY, "MongoDB: a document was changed by somebody else");
}

/* ---- Sending ---- */

/* The key of a change of the run that begins at `at` is there. DBK_OK: because it was done, and the
   list goes on without it. Not every server says which of the run it is: all guards are read. In
   a transaction, which is lost, only whether it was is found out. */
static int take_duplicate(struct dbk_mongodb_session *session, const struct run *run, size_t at,
                          size_t *count, bool *done_out, struct dbk_error *err)
{
    bool within = session->transaction != NULL;
    struct dbk_error failure = {0};
    size_t failed_at = at + run->failed_at;
    dbk_mongodb_abort(session);
    int done = skip_done(session, within ? failed_at : at, failed_at, count, within, &failure);
    if (done < 0)
        return dbk_error_set(err, done, "%s", failure.message);
    *done_out = done != 0;
    return done != 0 && !within ? DBK_OK : dbk_mongodb_write_fault(run->number, run->text, err);
}

static int send_list(struct dbk_mongodb_session *session, size_t count, bool *done_out,
                     struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t at = 0; rc == DBK_OK && at < count;) {
        struct run run = next_run(session, at, count);
        rc = send_run(session, &run, err);
        if (rc < 0)
            return rc;
        if (!run.failed)
            at += run.count;
        else if (run.number == DBK_MONGODB_DUPLICATE)
            rc = take_duplicate(session, &run, at, &count, done_out, err);
        else
            rc = dbk_mongodb_write_fault(run.number, run.text, err);
    }
    return rc;
}

int dbk_mongodb_send(struct dbk_mongodb_session *session, bool *done_out, struct dbk_error *err)
{
    int rc = DBK_OK;
    *done_out = false;
    for (uint32_t i = 0; rc == DBK_OK && i < session->collection_count; i++) {
        size_t count = 0;
        for (size_t at = session->sent; at < session->change_count; at++) {
            if (session->changes[at].collection == i)
                session->list[count++] = at;
        }
        rc = dbk_mongodb_leave_out_done(session, &count, err);
        if (rc == DBK_OK)
            rc = send_list(session, count, done_out, err);
    }
    if (rc == DBK_OK)
        session->sent = session->change_count;
    return rc;
}

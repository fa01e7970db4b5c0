/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes on their way to the server: as few commands as their order allows. What a collection's
 * changes are to be done in one command is a run: inserts alone, deletes alone, or inserts and
 * updates together, an insert then being an update that finds nothing and makes the document.
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

void dbk_mongodb_body(const struct dbk_mongodb_session *session, size_t change, bson_t *out)
{
    uint32_t size = 0;
    const char *data = session->bodies.data + session->changes[change].offset;
    memcpy(&size, data, sizeof(size));
    size = BSON_UINT32_FROM_LE(size);
    (void)bson_init_static(out, (const uint8_t *)data, size);
}

static size_t size_of(const struct dbk_mongodb_session *session, size_t at)
{
    bson_t body;
    dbk_mongodb_body(session, session->list[at], &body);
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
        dbk_mongodb_body(session, session->list[run->begin + i], &body);
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

/* ---- Sending ---- */

/* A key is there: it may be what a server has done of a batch that was cut and taken back. */
static int take_duplicate(struct dbk_mongodb_session *session, const struct run *run,
                          struct dbk_error *err)
{
    int64_t removed = 0;
    int rc = session->transaction != NULL || session->stray_count == 0
                 ? DBK_OK
                 : dbk_mongodb_sweep(session, &removed, err);
    if (rc < 0)
        return rc;
    return removed > 0 ? dbk_error_set(err, DBK_EBUSY,
                                       "MongoDB: a server still does what a connection sent that "
                                       "is gone")
                       : dbk_mongodb_write_fault(run->number, run->text, err);
}

/* The event of what failed is one of those of a run, or the one that the server names. */
static void suspect(struct dbk_mongodb_session *session, const struct run *run)
{
    size_t first = run->begin + (run->failed ? run->failed_at : 0);
    size_t last = run->failed ? first : run->begin + run->count - 1;
    int64_t unit = DBK_MONGODB_CHANGES_MAX + 1;
    session->suspect = change_at(session, first)->guard / unit - session->shift;
    session->suspects = 1;
    for (size_t at = first + 1; at <= last; at++)
        session->suspects +=
            change_at(session, at)->guard / unit != change_at(session, at - 1)->guard / unit;
}

static int send_list(struct dbk_mongodb_session *session, size_t count, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t at = 0; rc == DBK_OK && at < count;) {
        struct run run = next_run(session, at, count);
        rc = send_run(session, &run, err);
        if (rc == DBK_OK && run.failed)
            rc = run.number == DBK_MONGODB_DUPLICATE
                     ? take_duplicate(session, &run, err)
                     : dbk_mongodb_write_fault(run.number, run.text, err);
        if (rc < 0)
            suspect(session, &run);
        at += run.count;
    }
    return rc;
}

int dbk_mongodb_send(struct dbk_mongodb_session *session, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (uint32_t i = 0; rc == DBK_OK && i < session->collection_count; i++) {
        size_t count = 0;
        for (size_t at = session->sent; at < session->change_count; at++) {
            if (session->changes[at].collection == i)
                session->list[count++] = at;
        }
        rc = send_list(session, count, err);
    }
    if (rc == DBK_OK)
        session->sent = session->change_count;
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What takes a batch back where the server has no transactions: before its changes are sent, the
 * documents that they are for are written down as they are.
 *
 *     _daybook_undo  {_id: "orders:3:0", of: "orders:3", live: 5120, to: 9216, parts:
 *                     [{c: "orders__g3_Order", ids: […], images: […]}]}
 *
 * `live` is the least guard of the batch, and the record is of the batch that is under way as long
 * as the model's document has the position and shift that this guard follows from. So the update
 * that moves the position also ends the record. A batch that failed, or was cut, is taken back so:
 *
 *     mark     the model's document gets a greater shift, and `undo`, the record's `live`
 *     fence    what the batch has not changed yet gets a guard that it does not get past
 *     delete   what it has changed is removed
 *     insert   and put in place as it was, with that guard
 *     unmark   `undo` goes, and then the record
 *
 * FerretDB 1 does not ask for a guard by an _id (handler.c), and carries out what it was sent
 * although its client is gone: there a record of a batch that was cut is first looked at until none
 * of its documents has changed for QUIET_MS.
 *
 * Each of these may be done twice, and by another session: one whose document has `undo` goes on
 * with it. What a server still does for a connection that is gone finds a greater guard or shift.
 * Only a document that was not there has none: the ids of a batch that was cut are kept for a
 * minute, and what comes of it is removed before the next batches.
 *
 * Guards are (position + shift) * 1024 + number (session.h), and documents that were put back have
 * the greatest that is left for them below the next batch's.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "target/mongodb/session.h"

#define UNIT ((int64_t)DBK_MONGODB_CHANGES_MAX + 1)
#define QUIET_MS 1000
/* In the place of `live`: the ids of a batch that was cut. */
#define STRAY INT64_C(-1)
#define STRAY_MS (INT64_C(60) * 1000)

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int dbk_mongodb_run_own(struct dbk_mongodb_session *session, const bson_t *command,
                        int64_t *matched_out, struct dbk_error *err)
{
    bson_t reply;
    bson_iter_t at;
    int rc = dbk_mongodb_change_command(session, command, &reply, err);
    if (rc == DBK_OK && bson_iter_init_find(&at, &reply, "writeErrors"))
        rc = dbk_error_set(err, DBK_ECONNECT,
                           "MongoDB: what a batch is taken back by cannot be written");
    if (matched_out != NULL)
        *matched_out = dbk_mongodb_integer(&reply, "n");
    bson_destroy(&reply);
    return rc;
}

/* ---- Reading records ---- */

struct undoing {
    struct dbk_mongodb_session *session;
    int64_t live;
    int64_t also; /* the same, or STRAY */
    int64_t from;
    int64_t to;
    bool found;
    bool cut;
    int64_t removed;
    uint64_t guards; /* a sum of them */
};
typedef int (*record_fn)(struct undoing *undoing, const bson_t *record, struct dbk_error *err);
typedef int (*part_fn)(struct undoing *undoing, const char *collection, const bson_t *list,
                       struct dbk_error *err);

static int each_record(struct undoing *undoing, bool images, record_fn each, struct dbk_error *err)
{
    struct dbk_mongodb_session *session = undoing->session;
    bson_t *filter = BCON_NEW("of", BCON_UTF8(session->key), "live", "{", "$in", "[",
                              BCON_INT64(undoing->live), BCON_INT64(undoing->also), "]", "}");
    bson_t *options = bson_new();
    const bson_t *document = NULL;
    const bson_t *reply = NULL;
    bson_error_t error = {0};
    int rc = DBK_OK;
    if (session->majority)
        BCON_APPEND(options, "readConcern", "{", "level", BCON_UTF8("majority"), "}");
    if (!images)
        BCON_APPEND(options, "projection", "{", "parts.images", BCON_INT32(0), "}");
    mongoc_collection_t *collection =
        mongoc_client_get_collection(session->client, session->database, DBK_MONGODB_UNDO);
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(collection, filter, options, NULL);
    while (rc == DBK_OK && mongoc_cursor_next(cursor, &document))
        rc = each(undoing, document, err);
    if (rc == DBK_OK && mongoc_cursor_error_document(cursor, &error, &reply))
        rc = dbk_mongodb_fault(&error, reply, err);
    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(collection);
    bson_destroy(options);
    bson_destroy(filter);
    return rc;
}

/* `each` gets the list of every part that has one. */
static int each_part(struct undoing *undoing, const bson_t *record, const char *list, part_fn each,
                     struct dbk_error *err)
{
    bson_iter_t at;
    bson_iter_t part;
    int rc = DBK_OK;
    if (!bson_iter_init_find(&at, record, "parts") || !bson_iter_recurse(&at, &part))
        return DBK_OK;
    while (rc == DBK_OK && bson_iter_next(&part)) {
        bson_iter_t name;
        bson_iter_t items;
        const uint8_t *data = NULL;
        uint32_t size = 0;
        bson_t array;
        if (!bson_iter_recurse(&part, &name) || !bson_iter_find(&name, "c") ||
            !BSON_ITER_HOLDS_UTF8(&name) || !bson_iter_recurse(&part, &items) ||
            !bson_iter_find(&items, list) || !BSON_ITER_HOLDS_ARRAY(&items))
            continue;
        bson_iter_array(&items, &size, &data);
        if (bson_init_static(&array, data, size) && bson_count_keys(&array) > 0)
            rc = each(undoing, bson_iter_utf8(&name, NULL), &array, err);
    }
    return rc;
}

/* ---- Taking back ---- */

static int see_record(struct undoing *undoing, const bson_t *record, struct dbk_error *err)
{
    int64_t to = dbk_mongodb_integer(record, "to");
    (void)err;
    undoing->found = true;
    undoing->to = to > undoing->to ? to : undoing->to;
    return DBK_OK;
}

static int fence_part(struct undoing *undoing, const char *collection, const bson_t *ids,
                      struct dbk_error *err)
{
    bson_t *command =
        BCON_NEW("update", BCON_UTF8(collection), "updates", "[", "{", "q", "{", "_id", "{", "$in",
                 BCON_ARRAY(ids), "}", "_daybook", "{", "$lt", BCON_INT64(undoing->from), "}", "}",
                 "u", "{", "$set", "{", "_daybook", BCON_INT64(undoing->to), "}", "}", "multi",
                 BCON_BOOL(true), "}", "]");
    int rc = dbk_mongodb_run_own(undoing->session, command, NULL, err);
    bson_destroy(command);
    return rc;
}

/* What the batch has made of these documents. */
static int remove_part(struct undoing *undoing, const char *collection, const bson_t *ids,
                       struct dbk_error *err)
{
    int64_t removed = 0;
    bson_t *command =
        BCON_NEW("delete", BCON_UTF8(collection), "deletes", "[", "{", "q", "{", "_id", "{", "$in",
                 BCON_ARRAY(ids), "}", "_daybook", "{", "$gte", BCON_INT64(undoing->from), "$lt",
                 BCON_INT64(undoing->to), "}", "}", "limit", BCON_INT32(0), "}", "]");
    int rc = dbk_mongodb_run_own(undoing->session, command, &removed, err);
    undoing->removed += removed;
    bson_destroy(command);
    return rc;
}

static int keep_stray(struct undoing *undoing, const bson_t *record, struct dbk_error *err)
{
    bson_t update = BSON_INITIALIZER;
    bson_iter_t id;
    char name[DBK_MONGODB_KEY_SIZE + 64] = "";
    if (bson_iter_init_find(&id, record, "_id") && BSON_ITER_HOLDS_UTF8(&id))
        (void)snprintf(name, sizeof(name), "%s:%" PRId64, bson_iter_utf8(&id, NULL), undoing->from);
    bson_copy_to_excluding_noinit(record, &update, "_id", "live", "to", NULL);
    BCON_APPEND(&update, "live", BCON_INT64(STRAY), "from", BCON_INT64(undoing->from), "to",
                BCON_INT64(undoing->to), "at", BCON_INT64(now_ms()));
    bson_t *command = BCON_NEW("update", BCON_UTF8(DBK_MONGODB_UNDO), "updates", "[", "{", "q", "{",
                               "_id", BCON_UTF8(name), "}", "u", BCON_DOCUMENT(&update), "upsert",
                               BCON_BOOL(true), "}", "]");
    int rc = dbk_mongodb_run_own(undoing->session, command, NULL, err);
    bson_destroy(command);
    bson_destroy(&update);
    return rc;
}

static int clear_record(struct undoing *undoing, const bson_t *record, struct dbk_error *err)
{
    int rc = undoing->cut ? keep_stray(undoing, record, err) : DBK_OK;
    if (rc == DBK_OK)
        rc = each_part(undoing, record, "ids", fence_part, err);
    return rc == DBK_OK ? each_part(undoing, record, "ids", remove_part, err) : rc;
}

/* Gives the images the guard that all have that were put back, and their ids. */
static void set_guards(bson_t *images, int64_t guard, bson_t *ids)
{
    bson_iter_t at;
    char number[16];
    bson_iter_init(&at, images);
    for (uint32_t i = 0; bson_iter_next(&at); i++) {
        bson_iter_t member;
        int size = snprintf(number, sizeof(number), "%" PRIu32, i);
        if (bson_iter_recurse(&at, &member) && bson_iter_find(&member, "_daybook") &&
            BSON_ITER_HOLDS_INT64(&member))
            bson_iter_overwrite_int64(&member, guard);
        if (bson_iter_recurse(&at, &member) && bson_iter_find(&member, "_id"))
            bson_append_iter(ids, number, size, &member);
    }
}

/* A document that is there already is refused, and is as it was. */
static int insert_images(struct undoing *undoing, const char *collection, const bson_t *images,
                         struct dbk_error *err)
{
    bson_t reply;
    bson_iter_t at;
    bson_iter_t item;
    bson_iter_t code;
    bson_t *command = BCON_NEW("insert", BCON_UTF8(collection), "ordered", BCON_BOOL(false),
                               "documents", BCON_ARRAY(images));
    int rc = dbk_mongodb_change_command(undoing->session, command, &reply, err);
    if (rc == DBK_OK && bson_iter_init_find(&at, &reply, "writeErrors") &&
        bson_iter_recurse(&at, &item)) {
        while (rc == DBK_OK && bson_iter_next(&item)) {
            bool duplicate = bson_iter_recurse(&item, &code) && bson_iter_find(&code, "code") &&
                             bson_iter_as_int64(&code) == DBK_MONGODB_DUPLICATE;
            if (!duplicate)
                rc = dbk_error_set(err, DBK_EBUSY, "MongoDB: a document cannot be put back");
        }
    }
    bson_destroy(&reply);
    bson_destroy(command);
    return rc;
}

/* All are there now: also such that another one's unique key was in the way of. */
static int check_images(struct undoing *undoing, const char *collection, const bson_t *ids,
                        struct dbk_error *err)
{
    struct dbk_mongodb_session *session = undoing->session;
    bson_t *filter =
        BCON_NEW("_id", "{", "$in", BCON_ARRAY(ids), "}", "_daybook", BCON_INT64(undoing->to));
    bson_t *options = BCON_NEW("projection", "{", "_id", BCON_INT32(1), "}");
    const bson_t *document = NULL;
    const bson_t *reply = NULL;
    bson_error_t error = {0};
    uint32_t count = 0;
    mongoc_collection_t *from =
        mongoc_client_get_collection(session->client, session->database, collection);
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(from, filter, options, NULL);
    while (mongoc_cursor_next(cursor, &document))
        count++;
    int rc = mongoc_cursor_error_document(cursor, &error, &reply)
                 ? dbk_mongodb_fault(&error, reply, err)
                 : DBK_OK;
    if (rc == DBK_OK && count != bson_count_keys(ids))
        rc = dbk_error_set(err, DBK_EBUSY,
                           "MongoDB: of %u documents of %s that a batch changed %u could be put "
                           "back",
                           bson_count_keys(ids), collection, count);
    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(from);
    bson_destroy(options);
    bson_destroy(filter);
    return rc;
}

static int put_part(struct undoing *undoing, const char *collection, const bson_t *images,
                    struct dbk_error *err)
{
    bson_t *own = bson_copy(images);
    bson_t ids = BSON_INITIALIZER;
    set_guards(own, undoing->to, &ids);
    int rc = insert_images(undoing, collection, own, err);
    if (rc == DBK_OK)
        rc = check_images(undoing, collection, &ids, err);
    bson_destroy(&ids);
    bson_destroy(own);
    return rc;
}

static int put_back(struct undoing *undoing, const bson_t *record, struct dbk_error *err)
{
    return each_part(undoing, record, "images", put_part, err);
}

/* From here on no update of the batch's own moves the position. */
static int mark(struct undoing *undoing, struct dbk_error *err)
{
    struct dbk_mongodb_session *session = undoing->session;
    int64_t shift = undoing->to / UNIT - session->position_before;
    int64_t matched = 0;
    bson_t *command =
        BCON_NEW("update", BCON_UTF8(DBK_MONGODB_MODELS), "updates", "[", "{", "q", "{", "_id",
                 BCON_UTF8(session->key), "position", BCON_INT64(session->position_before), "shift",
                 BCON_INT64(session->shift), "undo", "{", "$exists", BCON_BOOL(false), "}", "}",
                 "u", "{", "$set", "{", "shift", BCON_INT64(shift), "undo",
                 BCON_INT64(undoing->live), "}", "}", "}", "]");
    int rc = dbk_mongodb_run_own(session, command, &matched, err);
    bson_destroy(command);
    if (rc == DBK_OK && matched != 1)
        rc = dbk_mongodb_fenced(err);
    if (rc == DBK_OK)
        session->shift = shift;
    return rc;
}

static int unmark(struct undoing *undoing, struct dbk_error *err)
{
    struct dbk_mongodb_session *session = undoing->session;
    bson_t *command =
        BCON_NEW("update", BCON_UTF8(DBK_MONGODB_MODELS), "updates", "[", "{", "q", "{", "_id",
                 BCON_UTF8(session->key), "undo", BCON_INT64(undoing->live), "}", "u", "{",
                 "$unset", "{", "undo", BCON_UTF8(""), "}", "}", "}", "]");
    int rc = dbk_mongodb_run_own(session, command, NULL, err);
    bson_destroy(command);
    return rc == DBK_OK ? dbk_mongodb_forget_records(session, undoing->live, err) : rc;
}

int dbk_mongodb_forget_records(struct dbk_mongodb_session *session, int64_t live,
                               struct dbk_error *err)
{
    bson_t *query = BCON_NEW("of", BCON_UTF8(session->key));
    if (live != 0)
        BCON_APPEND(query, "live", BCON_INT64(live));
    bson_t *command = BCON_NEW("delete", BCON_UTF8(DBK_MONGODB_UNDO), "deletes", "[", "{", "q",
                               BCON_DOCUMENT(query), "limit", BCON_INT32(0), "}", "]");
    int rc = dbk_mongodb_run_own(session, command, NULL, err);
    bson_destroy(command);
    bson_destroy(query);
    return rc;
}

/* Goes on with what is marked. */
static int undo(struct undoing *undoing, struct dbk_error *err)
{
    int rc = each_record(undoing, false, clear_record, err);
    if (rc == DBK_OK)
        rc = each_record(undoing, true, put_back, err);
    return rc == DBK_OK ? unmark(undoing, err) : rc;
}

void dbk_mongodb_take_back(struct dbk_mongodb_session *session)
{
    struct undoing undoing = {
        .session = session, .live = session->from, .also = session->from, .from = session->from};
    dbk_mongodb_abort(session);
    if (session->record_count == 0 || session->lost)
        return;
    /* What cannot be done now is done before the next batch. */
    int rc = each_record(&undoing, false, see_record, NULL);
    if (rc == DBK_OK && undoing.found)
        rc = mark(&undoing, NULL);
    if (rc == DBK_OK && undoing.found)
        dbk_ignore(undo(&undoing, NULL));
}

/* ---- Before a batch ---- */

static int remove_record(struct dbk_mongodb_session *session, const bson_t *record,
                         struct dbk_error *err)
{
    bson_t query = BSON_INITIALIZER;
    bson_iter_t id;
    if (bson_iter_init_find(&id, record, "_id"))
        bson_append_iter(&query, "_id", 3, &id);
    bson_t *command = BCON_NEW("delete", BCON_UTF8(DBK_MONGODB_UNDO), "deletes", "[", "{", "q",
                               BCON_DOCUMENT(&query), "limit", BCON_INT32(1), "}", "]");
    int rc = dbk_mongodb_run_own(session, command, NULL, err);
    bson_destroy(command);
    bson_destroy(&query);
    return rc;
}

/* Removes what a server has done for a batch that was cut, after it was taken back. */
static int sweep_record(struct undoing *undoing, const bson_t *record, struct dbk_error *err)
{
    struct dbk_mongodb_session *session = undoing->session;
    struct undoing stray = {.session = session,
                            .from = dbk_mongodb_integer(record, "from"),
                            .to = dbk_mongodb_integer(record, "to")};
    int rc = each_part(&stray, record, "ids", remove_part, err);
    undoing->removed += stray.removed;
    if (rc < 0)
        return rc;
    int64_t age_ms = now_ms() - dbk_mongodb_integer(record, "at");
    if (age_ms < 0 || age_ms > STRAY_MS || session->stray_count == DBK_MONGODB_STRAYS_MAX)
        return remove_record(session, record, err);
    session->strays[session->stray_count++] = (struct dbk_mongodb_stray){stray.from, stray.to};
    return DBK_OK;
}

int dbk_mongodb_sweep(struct dbk_mongodb_session *session, int64_t *removed_out,
                      struct dbk_error *err)
{
    struct undoing undoing = {.session = session, .live = STRAY, .also = STRAY};
    session->stray_count = 0;
    int rc = each_record(&undoing, false, sweep_record, err);
    *removed_out = undoing.removed;
    return rc;
}

static int look_at(struct undoing *undoing, const bson_t *record, struct dbk_error *err)
{
    return dbk_mongodb_integer(record, "live") == STRAY ? sweep_record(undoing, record, err)
                                                        : see_record(undoing, record, err);
}

/* Adds up the guards of the documents of a record; those that are not there have none. */
static int add_guards(struct undoing *undoing, const char *collection, const bson_t *ids,
                      struct dbk_error *err)
{
    static const uint8_t key[16] = {0};
    struct dbk_mongodb_session *session = undoing->session;
    bson_t *filter = BCON_NEW("_id", "{", "$in", BCON_ARRAY(ids), "}");
    bson_t *options = BCON_NEW("projection", "{", "_daybook", BCON_INT32(1), "}", "sort", "{",
                               "_id", BCON_INT32(1), "}");
    const bson_t *document = NULL;
    const bson_t *reply = NULL;
    bson_error_t error = {0};
    mongoc_collection_t *from =
        mongoc_client_get_collection(session->client, session->database, collection);
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(from, filter, options, NULL);
    while (mongoc_cursor_next(cursor, &document))
        undoing->guards +=
            dbk_siphash128(key, dbk_slice((const char *)bson_get_data(document), document->len))
                .low;
    int rc = mongoc_cursor_error_document(cursor, &error, &reply)
                 ? dbk_mongodb_fault(&error, reply, err)
                 : DBK_OK;
    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(from);
    bson_destroy(options);
    bson_destroy(filter);
    return rc;
}

static int look_at_guards(struct undoing *undoing, const bson_t *record, struct dbk_error *err)
{
    return each_part(undoing, record, "ids", add_guards, err);
}

/* Until what a connection sent that is gone is done. */
static int await_quiet(struct undoing *undoing, struct dbk_error *err)
{
    uint64_t before = 0;
    int rc = DBK_OK;
    undoing->also = undoing->live;
    for (bool first = true; rc == DBK_OK; first = false) {
        before = undoing->guards;
        undoing->guards = 0;
        rc = atomic_load(&undoing->session->interrupted)
                 ? dbk_error_set(err, DBK_ECONNECT, "MongoDB: the session was ended")
                 : each_record(undoing, false, look_at_guards, err);
        if (rc < 0 || (!first && undoing->guards == before))
            break;
        (void)nanosleep(
            &(struct timespec){.tv_sec = QUIET_MS / 1000, .tv_nsec = QUIET_MS % 1000 * 1000000L},
            NULL);
    }
    return rc;
}

/* Takes back what is found of a batch that was cut; marked: somebody has begun with it. */
static int mend(struct undoing *undoing, bool marked, struct dbk_error *err)
{
    struct dbk_mongodb_session *session = undoing->session;
    int64_t removed = 0;
    int rc = session->is_ferretdb ? await_quiet(undoing, err) : DBK_OK;
    if (rc == DBK_OK && !marked)
        rc = mark(undoing, err);
    undoing->also = undoing->live;
    undoing->cut = true;
    if (rc == DBK_OK)
        rc = undo(undoing, err);
    session->from = (session->position_before + session->shift + 1) * UNIT;
    return rc == DBK_OK ? dbk_mongodb_sweep(session, &removed, err) : rc;
}

/* In a transaction nothing is left: what is there is of a time when the server had none. */
int dbk_mongodb_mend(struct dbk_mongodb_session *session, int64_t marked, struct dbk_error *err)
{
    struct undoing undoing = {.session = session, .also = STRAY};
    int rc = DBK_OK;
    session->from = (session->position_before + session->shift + 1) * UNIT;
    if (session->mode == DBK_MONGODB_TRANSACTION && session->looked && marked == 0)
        return DBK_OK;
    session->looked = false;
    session->stray_count = 0;
    undoing.live = undoing.from = marked != 0 ? marked : session->from;
    if (marked != 0)
        undoing.to = (session->position_before + session->shift) * UNIT;
    else
        rc = each_record(&undoing, false, look_at, err);
    if (rc == DBK_OK && (undoing.found || marked != 0))
        rc = mend(&undoing, marked != 0, err);
    session->looked = rc == DBK_OK;
    return rc;
}

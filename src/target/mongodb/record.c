/* SPDX-License-Identifier: Apache-2.0 */
/* What a batch is taken back by (undo.c) is written down. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "target/mongodb/session.h"

#define UNIT ((int64_t)DBK_MONGODB_CHANGES_MAX + 1)
#define PART_SIZE_MAX ((size_t)4 << 20)
#define RECORD_SIZE_MAX ((size_t)8 << 20)
#define ASKED_MAX 1000

/* ---- Ids ---- */

static bool find_id(const struct dbk_mongodb_session *session, size_t change, bson_t *body,
                    bson_iter_t *id_out)
{
    bson_iter_t at;
    dbk_mongodb_body(session, change, body);
    if (session->changes[change].what == DBK_MONGODB_INSERT)
        return bson_iter_init_find(id_out, body, "_id");
    return bson_iter_init_find(&at, body, "q") && bson_iter_recurse(&at, id_out) &&
           bson_iter_find(id_out, "_id");
}

/* The server finds numbers whatever their type. */
static void write_id(const bson_iter_t *id, bson_t *out)
{
    double number = BSON_ITER_HOLDS_DOUBLE(id) ? bson_iter_double(id) : 0.5;
    bool whole = number >= -9007199254740992.0 && number <= 9007199254740992.0 &&
                 (double)(int64_t)number >= number && (double)(int64_t)number <= number;
    if (BSON_ITER_HOLDS_INT32(id) || BSON_ITER_HOLDS_INT64(id))
        bson_append_int64(out, "", 0, bson_iter_as_int64(id));
    else if (whole)
        bson_append_int64(out, "", 0, (int64_t)number);
    else
        bson_append_iter(out, "", 0, id);
}

static struct dbk_mongodb_mark mark_of(const bson_iter_t *id)
{
    static const uint8_t key[16] = {0};
    bson_t one = BSON_INITIALIZER;
    write_id(id, &one);
    struct dbk_hash128 hash =
        dbk_siphash128(key, dbk_slice((const char *)bson_get_data(&one), one.len));
    bson_destroy(&one);
    return (struct dbk_mongodb_mark){.high = hash.high, .low = hash.low};
}

static int compare_ids(const struct dbk_mongodb_mark *one, const struct dbk_mongodb_mark *other)
{
    if (one->high != other->high)
        return one->high < other->high ? -1 : 1;
    return one->low < other->low ? -1 : one->low > other->low;
}

static int compare(const void *a, const void *b)
{
    const struct dbk_mongodb_mark *one = a;
    const struct dbk_mongodb_mark *other = b;
    int order = compare_ids(one, other);
    return order != 0 ? order : one->change < other->change ? -1 : one->change > other->change;
}

/* The changes of a collection that are not sent, by id. */
static size_t collect(struct dbk_mongodb_session *session, uint32_t collection)
{
    size_t count = 0;
    for (size_t at = session->sent; at < session->change_count; at++) {
        bson_t body;
        bson_iter_t id;
        if (session->changes[at].collection != collection || !find_id(session, at, &body, &id))
            continue;
        session->marks[count] = mark_of(&id);
        session->marks[count++].change = at;
    }
    qsort(session->marks, count, sizeof(*session->marks), compare);
    return count;
}

/* ---- Writing a record ---- */

struct record {
    bson_t parts;
    bson_t ids; /* of the part that is being made */
    bson_t images;
    struct dbk_mongodb_session *session;
    const char *collection;
    uint32_t part_count;
    uint32_t id_count;
    uint32_t image_count;
};

/* One whose `live` is greater is another session's, of a later batch: this is refused then. */
static int write_record(struct record *record, struct dbk_error *err)
{
    struct dbk_mongodb_session *session = record->session;
    char id[DBK_MONGODB_KEY_SIZE + 16];
    int64_t to = (session->changes[session->change_count - 1].guard / UNIT + 1) * UNIT;
    if (record->part_count == 0)
        return DBK_OK;
    (void)snprintf(id, sizeof(id), "%s:%u", session->key, session->record_count);
    bson_t *command = BCON_NEW(
        "update", BCON_UTF8(DBK_MONGODB_UNDO), "updates", "[", "{", "q", "{", "_id", BCON_UTF8(id),
        "live", "{", "$lt", BCON_INT64(session->from), "}", "}", "u", "{", "of",
        BCON_UTF8(session->key), "live", BCON_INT64(session->from), "to", BCON_INT64(to), "parts",
        BCON_ARRAY(&record->parts), "}", "upsert", BCON_BOOL(true), "}", "]");
    session->record_count++;
    int rc = dbk_mongodb_run_own(session, command, NULL, err);
    bson_destroy(command);
    bson_reinit(&record->parts);
    record->part_count = 0;
    return rc;
}

static int end_part(struct record *record, struct dbk_error *err)
{
    bson_t part;
    char number[16];
    int rc = DBK_OK;
    if (record->id_count == 0 && record->image_count == 0)
        return DBK_OK;
    if ((size_t)record->parts.len + record->ids.len + record->images.len > RECORD_SIZE_MAX)
        rc = write_record(record, err);
    int size = snprintf(number, sizeof(number), "%" PRIu32, record->part_count++);
    bson_append_document_begin(&record->parts, number, size, &part);
    BSON_APPEND_UTF8(&part, "c", record->collection);
    BSON_APPEND_ARRAY(&part, "ids", &record->ids);
    BSON_APPEND_ARRAY(&part, "images", &record->images);
    bson_append_document_end(&record->parts, &part);
    bson_reinit(&record->ids);
    bson_reinit(&record->images);
    record->id_count = 0;
    record->image_count = 0;
    return rc;
}

static int make_room(struct record *record, size_t size, struct dbk_error *err)
{
    return (size_t)record->ids.len + record->images.len + size > PART_SIZE_MAX
               ? end_part(record, err)
               : DBK_OK;
}

static int add_id(struct record *record, const bson_iter_t *id, size_t size, struct dbk_error *err)
{
    char number[16];
    int rc = make_room(record, size, err);
    int length = snprintf(number, sizeof(number), "%" PRIu32, record->id_count++);
    bson_append_iter(&record->ids, number, length, id);
    return rc;
}

static int add_image(struct record *record, const bson_t *document, struct dbk_error *err)
{
    char number[16];
    int rc = make_room(record, document->len, err);
    int length = snprintf(number, sizeof(number), "%" PRIu32, record->image_count++);
    bson_append_document(&record->images, number, length, document);
    return rc;
}

static int add_ids(struct record *record, size_t count, struct dbk_error *err)
{
    struct dbk_mongodb_session *session = record->session;
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        bson_t body;
        bson_iter_t id;
        if (i > 0 && compare_ids(&session->marks[i - 1], &session->marks[i]) == 0)
            continue;
        if (find_id(session, session->marks[i].change, &body, &id))
            rc = add_id(record, &id, body.len, err);
    }
    return rc;
}

/* ---- Reading what is there ---- */

static bool is_stray(const struct dbk_mongodb_session *session, int64_t guard)
{
    for (size_t i = 0; i < session->stray_count; i++) {
        if (guard >= session->strays[i].from && guard < session->strays[i].to)
            return true;
    }
    return false;
}

static void set_there(struct dbk_mongodb_session *session, size_t count,
                      const struct dbk_mongodb_mark *wanted)
{
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_ids(&session->marks[middle], wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < count && compare_ids(&session->marks[low], wanted) == 0; low++)
        session->marks[low].there = true;
}

/* A document that some change is for, and that may have been changed by this batch before. */
static int take_found(struct record *record, const bson_t *document, size_t count,
                      struct dbk_error *err)
{
    struct dbk_mongodb_session *session = record->session;
    bson_iter_t id;
    bson_iter_t guard;
    if (!bson_iter_init_find(&id, document, "_id") ||
        !bson_iter_init_find(&guard, document, "_daybook") || !BSON_ITER_HOLDS_INT64(&guard))
        return DBK_OK; /* nobody's that asks for a guard */
    if (is_stray(session, bson_iter_int64(&guard)))
        return dbk_error_set(err, DBK_EBUSY,
                             "MongoDB: a server still does what a connection sent that is gone");
    struct dbk_mongodb_mark mark = mark_of(&id);
    set_there(session, count, &mark);
    return bson_iter_int64(&guard) < session->from ? add_image(record, document, err) : DBK_OK;
}

/* The filter is taken. */
static int ask(struct record *record, bson_t *filter, size_t count, struct dbk_error *err)
{
    struct dbk_mongodb_session *session = record->session;
    const bson_t *document = NULL;
    const bson_t *reply = NULL;
    bson_error_t error = {0};
    int rc = DBK_OK;
    mongoc_collection_t *collection =
        mongoc_client_get_collection(session->client, session->database, record->collection);
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(collection, filter, NULL, NULL);
    while (rc == DBK_OK && mongoc_cursor_next(cursor, &document))
        rc = take_found(record, document, count, err);
    if (rc == DBK_OK && mongoc_cursor_error_document(cursor, &error, &reply))
        rc = dbk_mongodb_fault(&error, reply, err);
    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(collection);
    bson_destroy(filter);
    return rc;
}

static bson_t *by_id(const bson_iter_t *id)
{
    bson_t *filter = bson_new();
    bson_append_iter(filter, "_id", 3, id);
    return filter;
}

static bson_t *by_ids(const bson_t *ids)
{
    return BCON_NEW("_id", "{", "$in", BCON_ARRAY(ids), "}");
}

/* An insert needs no image: it is refused where there is a document. */
static int add_images(struct record *record, size_t count, struct dbk_error *err)
{
    struct dbk_mongodb_session *session = record->session;
    const struct dbk_mongodb_mark *asked = NULL;
    bson_t ids = BSON_INITIALIZER;
    uint32_t id_count = 0;
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        const struct dbk_mongodb_mark *mark = &session->marks[i];
        bson_t body;
        bson_iter_t id;
        char number[16];
        if (session->changes[mark->change].what == DBK_MONGODB_INSERT ||
            (asked != NULL && compare_ids(asked, mark) == 0) ||
            !find_id(session, mark->change, &body, &id))
            continue;
        asked = mark;
        if (session->is_ferretdb) {
            rc = ask(record, by_id(&id), count, err);
            continue;
        }
        int size = snprintf(number, sizeof(number), "%" PRIu32, id_count++);
        bson_append_iter(&ids, number, size, &id);
        if (id_count < ASKED_MAX && ids.len < PART_SIZE_MAX)
            continue;
        rc = ask(record, by_ids(&ids), count, err);
        bson_reinit(&ids);
        id_count = 0;
    }
    if (rc == DBK_OK && id_count > 0)
        rc = ask(record, by_ids(&ids), count, err);
    bson_destroy(&ids);
    return rc;
}

/* A change of a document that is not there is none of what may come there from elsewhere. */
static void narrow(struct dbk_mongodb_session *session, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct dbk_mongodb_mark *mark = &session->marks[i];
        bson_t body;
        bson_iter_t at;
        bson_iter_t least;
        if (mark->there || session->changes[mark->change].what == DBK_MONGODB_INSERT)
            continue;
        dbk_mongodb_body(session, mark->change, &body);
        if (bson_iter_init(&at, &body) && bson_iter_find_descendant(&at, "q._daybook.$gte", &least))
            bson_iter_overwrite_int64(&least, session->from);
    }
}

int dbk_mongodb_record(struct dbk_mongodb_session *session, struct dbk_error *err)
{
    struct record record = {.session = session};
    int rc = DBK_OK;
    bson_init(&record.parts);
    bson_init(&record.ids);
    bson_init(&record.images);
    for (uint32_t i = 0; rc == DBK_OK && i < session->collection_count; i++) {
        size_t count = collect(session, i);
        record.collection = session->collections[i];
        rc = add_ids(&record, count, err);
        if (rc == DBK_OK)
            rc = add_images(&record, count, err);
        if (rc == DBK_OK)
            rc = end_part(&record, err);
        narrow(session, count);
    }
    if (rc == DBK_OK)
        rc = write_record(&record, err);
    bson_destroy(&record.parts);
    bson_destroy(&record.ids);
    bson_destroy(&record.images);
    return rc;
}

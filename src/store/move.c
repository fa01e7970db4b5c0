/* SPDX-License-Identifier: Apache-2.0 */
/* Where a book stands when it moves: the newest event of `$migration` says so. */
#include <stdio.h>

#include "base/assert.h"
#include "json/json.h"
#include "store/state.h"

#define DATA_SIZE_MAX ((size_t)1 << 20)
/* Who moves a book and loses the race against another tries again so often. */
#define APPEND_ATTEMPTS 16

static const struct dbk_slice stream = {.data = DBK_MIGRATION_STREAM,
                                        .size = sizeof(DBK_MIGRATION_STREAM) - 1};

int dbk_standing_look(struct dbk_store *store, struct dbk_error *err)
{
    struct dbk_posting posting;
    size_t count = 0;
    struct dbk_index_range range = {.rank_max = UINT64_MAX, .position_max = UINT64_MAX};
    if (atomic_load(&store->has_migration))
        return DBK_OK;
    int rc =
        dbk_index_find(store->index, DBK_INDEX_STREAM, stream, &range, &posting, 1, &count, err);
    if (rc == DBK_OK && count > 0)
        atomic_store(&store->has_migration, true);
    return rc;
}

/* What BookMoved says; empty when that cannot be read. */
static void read_place(const struct dbk_event *event, struct dbk_standing *standing)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_json *json = dbk_json_create(DATA_SIZE_MAX);
    if (json != NULL && dbk_json_parse(json, event->data, &root, NULL) == DBK_OK) {
        const struct dbk_json_node *to = dbk_json_member(root, "to");
        const struct dbk_json_node *book = dbk_json_member(root, "book");
        if (to != NULL && to->kind == DBK_JSON_STRING)
            (void)snprintf(standing->place, sizeof(standing->place), "%.*s",
                           DBK_SLICE_ARGS(to->text));
        if (book != NULL && book->kind == DBK_JSON_STRING)
            (void)dbk_uuid_parse(book->text, &standing->book);
    }
    dbk_json_free(json);
}

static void read_standing(const struct dbk_event *event, struct dbk_standing *standing)
{
    *standing = (struct dbk_standing){
        .version = event->version, .position = event->position, .time_us = event->time_us};
    if (dbk_slice_equal_text(event->type, "MigrationCopied"))
        standing->state = DBK_STANDING_FILLED;
    if (dbk_slice_equal_text(event->type, "BookMoved")) {
        standing->state = DBK_STANDING_MOVED;
        read_place(event, standing);
    }
}

void dbk_standing_note(struct dbk_store *store, const struct dbk_event *event)
{
    if (!dbk_slice_equal(event->stream, stream))
        return;
    atomic_store(&store->has_migration, true);
    read_standing(event, &store->standing);
}

static int refuse(const struct dbk_store *store, struct dbk_error *err)
{
    const struct dbk_standing *standing = &store->standing;
    char time[DBK_TIME_TEXT_SIZE];
    if (standing->state == DBK_STANDING_FILLED)
        return dbk_error_set(err, DBK_EDENIED,
                             "the book is being filled by a migration: it takes appends after "
                             "`daybook migrate switch`");
    (void)dbk_time_format(standing->time_us, time);
    return dbk_error_set(err, DBK_EDENIED,
                         "the book has moved to %s at %s and takes no more events: append there, "
                         "or take it back with `daybook migrate undo`",
                         standing->place, time);
}

/* The standing by the newest event, also of batches that are not written. */
static int know_standing(struct dbk_store *store, uint64_t *rests_on, bool *again_out,
                         struct dbk_error *err)
{
    struct dbk_head head;
    struct dbk_log_reader reader;
    struct dbk_event event;
    int rc = dbk_store_head(store, stream, &head, err);
    if (rc < 0 || head.position == store->standing.position)
        return rc;
    if (head.position == 0) {
        store->standing = (struct dbk_standing){0};
        return DBK_OK;
    }
    if (head.position > dbk_log_last_position(store->log)) {
        *rests_on = head.position;
        *again_out = true;
        return DBK_OK;
    }
    dbk_log_reader_init(&reader);
    rc = dbk_store_read_position(store, head.position, &reader, &event, err);
    if (rc == DBK_OK)
        read_standing(&event, &store->standing);
    dbk_log_reader_release(&reader);
    return rc;
}

/* A batch of nothing but `$migration` ends a book, or opens it again. */
static bool moves(const struct dbk_batch *batch)
{
    bool own = (batch->flags & DBK_APPEND_OWN) != 0;
    for (size_t i = 0; own && i < batch->count; i++)
        own = dbk_slice_equal(batch->events[i].stream, stream);
    return own;
}

int dbk_standing_check(struct dbk_store *store, const struct dbk_batch *batch, uint64_t *rests_on,
                       bool *again_out, struct dbk_error *err)
{
    bool migrated = (batch->flags & DBK_APPEND_MIGRATED) != 0;
    bool known = atomic_load(&store->has_migration);
    int rc = known ? know_standing(store, rests_on, again_out, err) : DBK_OK;
    if (rc < 0 || *again_out)
        return rc;
    enum dbk_standing_state state = known ? store->standing.state : DBK_STANDING_OPEN;
    if (migrated && state == DBK_STANDING_OPEN && store->accepted_position > 0)
        return dbk_error_set(err, DBK_EDENIED,
                             "%s holds events of its own: a migration fills an empty book",
                             store->folder);
    bool takes = state == DBK_STANDING_OPEN || (state == DBK_STANDING_FILLED && migrated) ||
                 (state == DBK_STANDING_MOVED && moves(batch));
    if (takes)
        return DBK_OK;
    *rests_on = store->standing.position;
    return refuse(store, err);
}

int dbk_store_standing(struct dbk_store *store, struct dbk_standing *standing_out,
                       struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    *standing_out = (struct dbk_standing){0};
    int rc = dbk_cursor_open(
        store,
        &(struct dbk_filter){.stream = stream, .hidden = true, .raw = true, .backwards = true},
        &cursor, err);
    if (rc == DBK_OK)
        rc = dbk_cursor_next(cursor, &event, err);
    if (rc == 1)
        read_standing(&event, standing_out);
    dbk_cursor_free(cursor);
    return rc < 0 ? rc : DBK_OK;
}

static int append_own(struct dbk_store *store, const char *type, struct dbk_slice data,
                      uint64_t version, struct dbk_append_result *result, struct dbk_error *err)
{
    struct dbk_expectation expectation = {stream, (int64_t)version};
    struct dbk_new_event event = {.stream = stream,
                                  .type = dbk_slice_of(type),
                                  .data = data,
                                  .occurred_us = DBK_TIME_NONE,
                                  .flags = DBK_RECORD_JSON};
    return dbk_store_append(store,
                            &(struct dbk_batch){.events = &event,
                                                .count = 1,
                                                .expectations = &expectation,
                                                .expectation_count = 1,
                                                .flags = DBK_APPEND_OWN},
                            result, err);
}

static int move_once(struct dbk_store *store, struct dbk_slice data,
                     struct dbk_append_result *result, struct dbk_error *err)
{
    struct dbk_standing standing;
    int rc = dbk_store_standing(store, &standing, err);
    if (rc == DBK_OK && standing.state == DBK_STANDING_MOVED)
        rc = dbk_error_set(err, DBK_EEXISTS, "the book has moved to %s already", standing.place);
    return rc < 0 ? rc : append_own(store, "BookMoved", data, standing.version, result, err);
}

int dbk_store_move(struct dbk_store *store, struct dbk_slice place, const struct dbk_uuid *book,
                   struct dbk_append_result *result_out, struct dbk_error *err)
{
    char id[DBK_UUID_TEXT_SIZE];
    struct dbk_buf data;
    bool first = true;
    dbk_uuid_format(book, id);
    dbk_buf_init(&data, DATA_SIZE_MAX);
    dbk_buf_append_char(&data, '{');
    dbk_json_write_key(&data, &first, "to");
    dbk_json_write_string(&data, place);
    dbk_json_write_key(&data, &first, "book");
    dbk_json_write_string(&data, dbk_slice_of(id));
    dbk_buf_append_char(&data, '}');
    int rc =
        data.rc < 0 ? dbk_error_set(err, data.rc, "out of memory moving a book") : DBK_ECONFLICT;
    for (int attempt = 0; rc == DBK_ECONFLICT && attempt < APPEND_ATTEMPTS; attempt++)
        rc = move_once(store, dbk_buf_slice(&data), result_out, err);
    dbk_buf_release(&data);
    return rc;
}

int dbk_store_reopen(struct dbk_store *store, struct dbk_append_result *result_out,
                     struct dbk_error *err)
{
    struct dbk_standing standing;
    int rc = dbk_store_standing(store, &standing, err);
    if (rc == DBK_OK && standing.state != DBK_STANDING_MOVED)
        rc = dbk_error_set(err, DBK_ENOTFOUND, "the book has not moved");
    return rc < 0 ? rc
                  : append_own(store, "BookReopened", DBK_SLICE_LITERAL("{}"), standing.version,
                               result_out, err);
}

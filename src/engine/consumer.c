/* SPDX-License-Identifier: Apache-2.0 */
/* The consumer groups of include/daybook.h. */
#include <string.h>

#include "engine/library.h"

#define SETTINGS_SIZE_MAX ((size_t)1 << 20)
#define EVENT_SIZE_MAX ((size_t)1 << 30)

_Static_assert((int)DAYBOOK_ACK == (int)DBK_GROUP_ACK && (int)DAYBOOK_SKIP == (int)DBK_GROUP_SKIP,
               "the actions of daybook.h are those of group/group.h");

struct daybook_consumer {
    struct daybook *book;
    char group[DBK_GROUP_NAME_MAX + 1];
    uint32_t consumer;
    size_t unacked_max;
    /* The last event handed out: */
    struct dbk_buf bytes;
    struct dbk_lazy lazy;
    uint32_t attempt;
};

int daybook_group_set(struct daybook *book, const char *group, const char *settings,
                      struct daybook_error *error)
{
    struct dbk_error err = {0};
    const struct dbk_json_node *root = NULL;
    bool created = false;
    if (book == NULL || group == NULL || settings == NULL)
        return dbk_library_wrong(error,
                                 "daybook_group_set: a book, a group and settings are needed");
    struct dbk_json *json = dbk_json_create(SETTINGS_SIZE_MAX);
    int rc = json == NULL ? DBK_ENOMEM : dbk_engine_check_writer(book->engine, &err);
    if (rc == DBK_OK)
        rc = dbk_json_parse(json, dbk_slice_of(settings), &root, &err);
    if (rc == DBK_OK)
        rc = dbk_group_set(dbk_engine_groups(book->engine), dbk_slice_of(group), root, &created,
                           &err);
    dbk_json_free(json);
    return rc < 0 ? dbk_library_fail(error, rc, &err) : DBK_OK;
}

int daybook_group_remove(struct daybook *book, const char *group, struct daybook_error *error)
{
    struct dbk_error err = {0};
    if (book == NULL || group == NULL)
        return dbk_library_wrong(error, "daybook_group_remove: a book and a group are needed");
    int rc = dbk_engine_check_writer(book->engine, &err);
    if (rc == DBK_OK)
        rc = dbk_group_remove(dbk_engine_groups(book->engine), dbk_slice_of(group), &err);
    return rc < 0 ? dbk_library_fail(error, rc, &err) : DBK_OK;
}

static int keep_status(struct dbk_slice name, const struct dbk_group_status *status, void *context)
{
    struct daybook_group_status *out = context;
    (void)name;
    *out = (struct daybook_group_status){.position = status->position,
                                         .ready = status->ready,
                                         .leased = status->leased,
                                         .waiting = status->waiting,
                                         .parked = status->parked,
                                         .oldest = status->oldest,
                                         .consumers = status->consumers};
    return DBK_OK;
}

int daybook_group_status(struct daybook *book, const char *group,
                         struct daybook_group_status *status_out, struct daybook_error *error)
{
    struct dbk_error err = {0};
    if (book == NULL || group == NULL || status_out == NULL)
        return dbk_library_wrong(error,
                                 "daybook_group_status: a book, a group and status_out are needed");
    int rc = dbk_group_show(dbk_engine_groups(book->engine), dbk_slice_of(group), keep_status,
                            status_out, &err);
    return rc < 0 ? dbk_library_fail(error, rc, &err) : DBK_OK;
}

int64_t daybook_group_unpark(struct daybook *book, const char *group, int replay,
                             const uint64_t *positions, size_t count, struct daybook_error *error)
{
    struct dbk_error err = {0};
    size_t done = 0;
    if (book == NULL || group == NULL || (positions == NULL && count > 0))
        return dbk_library_wrong(error,
                                 "daybook_group_unpark: a book, a group and positions are needed");
    int rc = dbk_engine_check_writer(book->engine, &err);
    if (rc == DBK_OK)
        rc = dbk_group_unpark(dbk_engine_groups(book->engine), dbk_slice_of(group), replay != 0,
                              positions, count, &done, &err);
    return rc < 0 ? dbk_library_fail(error, rc, &err) : (int64_t)done;
}

/* ---- Consumers ---- */

int daybook_consumer_open(struct daybook *book, const char *group, size_t unacked_max,
                          struct daybook_consumer **consumer_out, struct daybook_error *error)
{
    struct dbk_error err = {0};
    if (book == NULL || group == NULL || consumer_out == NULL || unacked_max == 0 ||
        unacked_max > DBK_GROUP_BATCH_MAX)
        return dbk_library_wrong(error,
                                 "daybook_consumer_open: a book, a group, a number of events "
                                 "from 1 to 1000 and consumer_out are needed");
    struct daybook_consumer *consumer = dbk_alloc_zero(1, sizeof(*consumer));
    int rc = consumer == NULL ? DBK_ENOMEM : dbk_engine_check_writer(book->engine, &err);
    if (rc == DBK_OK)
        rc = dbk_group_join(dbk_engine_groups(book->engine), dbk_slice_of(group),
                            &consumer->consumer, &err);
    if (rc < 0) {
        dbk_free(consumer);
        return dbk_library_fail(error, rc, &err);
    }
    consumer->book = book;
    memcpy(consumer->group, group, strlen(group)); /* a group of this name was found */
    consumer->unacked_max = unacked_max;
    dbk_buf_init(&consumer->bytes, EVENT_SIZE_MAX);
    *consumer_out = consumer;
    return DBK_OK;
}

void daybook_consumer_close(struct daybook_consumer *consumer)
{
    if (consumer == NULL)
        return;
    dbk_group_leave(dbk_engine_groups(consumer->book->engine), dbk_slice_of(consumer->group),
                    consumer->consumer);
    dbk_buf_release(&consumer->bytes);
    dbk_free(consumer);
}

static struct dbk_slice moved(struct dbk_slice slice, const struct dbk_buf *bytes, size_t *at)
{
    struct dbk_slice copy = dbk_slice(bytes->data + *at, slice.size);
    *at += slice.size;
    return copy;
}

/* The event is only lent: its parts are copied one behind the other. */
static int keep(const struct dbk_event *event, uint32_t attempt, void *context)
{
    struct daybook_consumer *consumer = context;
    struct dbk_buf *bytes = &consumer->bytes;
    size_t at = 0;
    dbk_buf_reset(bytes);
    dbk_buf_append(bytes, event->stream);
    dbk_buf_append(bytes, event->type);
    dbk_buf_append(bytes, event->data);
    dbk_buf_append(bytes, event->meta);
    dbk_buf_append(bytes, event->tags);
    if (bytes->rc < 0)
        return bytes->rc;
    consumer->lazy.event = *event;
    consumer->lazy.event.stream = moved(event->stream, bytes, &at);
    consumer->lazy.event.type = moved(event->type, bytes, &at);
    consumer->lazy.event.data = moved(event->data, bytes, &at);
    consumer->lazy.event.meta = moved(event->meta, bytes, &at);
    consumer->lazy.event.tags = moved(event->tags, bytes, &at);
    consumer->attempt = attempt;
    return DBK_OK;
}

int daybook_consumer_next(struct daybook_consumer *consumer, int timeout_ms,
                          struct daybook_event *event_out, unsigned *attempt_out,
                          struct daybook_error *error)
{
    struct dbk_error err = {0};
    size_t count = 0;
    if (consumer == NULL || event_out == NULL)
        return dbk_library_wrong(error,
                                 "daybook_consumer_next: a consumer and event_out are needed");
    struct dbk_group_read read = {.name = dbk_slice_of(consumer->group),
                                  .consumer = consumer->consumer,
                                  .limit = 1,
                                  .unacked_max = consumer->unacked_max,
                                  .timeout_us = (int64_t)timeout_ms * 1000,
                                  .each = keep,
                                  .context = consumer};
    int rc = dbk_group_read(dbk_engine_groups(consumer->book->engine), &read, &count, &err);
    if (rc < 0 || count == 0)
        return rc < 0 ? dbk_library_fail(error, rc, &err) : 0;
    *event_out = dbk_library_event(&consumer->lazy);
    if (attempt_out != NULL)
        *attempt_out = consumer->attempt;
    return 1;
}

int daybook_consumer_answer(struct daybook_consumer *consumer, enum daybook_action action,
                            const uint64_t *positions, size_t count, const char *reason,
                            struct daybook_error *error)
{
    struct dbk_error err = {0};
    size_t done = 0;
    if (consumer == NULL || positions == NULL || action < DAYBOOK_ACK || action > DAYBOOK_SKIP)
        return dbk_library_wrong(
            error, "daybook_consumer_answer: a consumer, an action and positions are needed");
    struct dbk_group_answer answer = {.name = dbk_slice_of(consumer->group),
                                      .action = (enum dbk_group_action)action,
                                      .positions = positions,
                                      .count = count,
                                      .reason = dbk_slice_of(reason),
                                      .delay_us = -1};
    int rc = dbk_group_answer(dbk_engine_groups(consumer->book->engine), &answer, &done, &err);
    return rc < 0 ? dbk_library_fail(error, rc, &err) : DBK_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What captures are asked: how far they are, to wait for a position, to read again, and when an
   event came. */
#include <stdio.h>

#include "base/diagnostics.h"
#include "base/time.h"
#include "capture/captures.h"
#include "target/target.h"

/* ---- Status ---- */

size_t dbk_captures_count(const struct dbk_captures *captures)
{
    return captures->count;
}

/* What the book says, where nobody captures. */
static int read_status(struct dbk_capture *capture, struct dbk_capture_status *status_out,
                       struct dbk_error *err)
{
    struct dbk_entry *entry = NULL;
    char room[64];
    struct dbk_slice position = {0};
    int rc = dbk_capture_open_entry(capture, &entry, err);
    if (rc < 0)
        return rc;
    if (dbk_json_find_text(dbk_entry_state(entry), "lsn", room, sizeof(room), &position) ||
        dbk_json_find_text(dbk_entry_state(entry), "position", room, sizeof(room), &position))
        (void)snprintf(status_out->position, sizeof(status_out->position), "%.*s",
                       DBK_SLICE_ARGS(position));
    dbk_entry_free(entry);
    return DBK_OK;
}

int dbk_captures_status(struct dbk_captures *captures, size_t index,
                        struct dbk_capture_status *status_out, struct dbk_error *err)
{
    struct dbk_capture *capture = &captures->items[index];
    (void)pthread_mutex_lock(&captures->lock);
    *status_out = capture->status;
    (void)pthread_mutex_unlock(&captures->lock);
    return capture->runs ? DBK_OK : read_status(capture, status_out, err);
}

static int find(struct dbk_captures *captures, struct dbk_slice service,
                struct dbk_capture **capture_out, struct dbk_error *err)
{
    const char *closest = NULL;
    for (size_t i = 0; i < captures->count; i++) {
        const char *name = captures->items[i].service->name;
        if (dbk_slice_equal_text(service, name)) {
            *capture_out = &captures->items[i];
            return DBK_OK;
        }
    }
    char *copy = dbk_copy_text(service);
    for (size_t i = 0; copy != NULL && closest == NULL && i < captures->count; i++)
        closest = dbk_closest_name(copy, &captures->items[i].service->name, 1);
    dbk_free(copy);
    return dbk_error_set(err, DBK_ENOTFOUND, "no service %.*s is captured%s%s%s",
                         DBK_SLICE_ARGS(service), closest == NULL ? "" : ": did you mean `",
                         closest == NULL ? "" : closest, closest == NULL ? "" : "`?");
}

static int read_again(struct dbk_capture *capture, struct dbk_error *err)
{
    struct dbk_entry *entry = NULL;
    if (capture->runs) {
        capture->resnapshot = true;
        dbk_capture_end(capture);
        return DBK_OK;
    }
    int rc = dbk_capture_open_entry(capture, &entry, err);
    if (rc == DBK_OK)
        rc = dbk_entry_note(entry, dbk_entry_state(entry), true, err);
    dbk_entry_free(entry);
    return rc;
}

int dbk_captures_resnapshot(struct dbk_captures *captures, struct dbk_slice service,
                            struct dbk_error *err)
{
    struct dbk_capture *first = NULL;
    int rc = find(captures, service, &first, err);
    for (size_t i = 0; rc == DBK_OK && i < captures->count; i++) {
        if (captures->items[i].service == first->service &&
            captures->items[i].kind != DBK_CAPTURE_OUTBOX)
            rc = read_again(&captures->items[i], err);
    }
    return rc;
}

/* How often the source is asked where it is while somebody waits. */
#define HURRY_US (INT64_C(5) * 1000)

static struct timespec after_us(int64_t duration_us)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t nanoseconds = now.tv_nsec + duration_us % 1000000 * 1000;
    now.tv_sec += duration_us / 1000000 + nanoseconds / 1000000000;
    now.tv_nsec = nanoseconds % 1000000000;
    return now;
}

/* 1: the book has it. Under the lock. */
static int look(const struct dbk_capture *capture, const struct dbk_source_driver *driver,
                struct dbk_slice wanted, struct dbk_error *err)
{
    bool reached = false;
    struct dbk_slice position = dbk_slice_of(capture->status.position);
    if (driver->is_reached == NULL || !driver->is_reached(wanted, position, &reached))
        return dbk_error_set(err, DBK_EINVAL, "\"%.*s\" is no position of the database `%s`",
                             (int)(wanted.size < 80 ? wanted.size : 80), wanted.data,
                             capture->service->database);
    /* Rows that a snapshot has not read yet are from before its position. */
    return reached && capture->status.state != DBK_CAPTURE_SNAPSHOT;
}

static int await_position(struct dbk_capture *capture, const struct dbk_source_driver *driver,
                          struct dbk_slice wanted, int64_t timeout_us, struct dbk_error *err)
{
    struct dbk_captures *captures = capture->captures;
    int64_t end_us = dbk_capture_now_us(capture) + timeout_us;
    int rc = DBK_OK;
    (void)pthread_mutex_lock(&captures->lock);
    while ((rc = look(capture, driver, wanted, err)) == 0) {
        struct timespec soon = after_us(HURRY_US);
        if (dbk_capture_now_us(capture) >= end_us || captures->stop) {
            rc = dbk_error_set(
                err, DBK_ETIMEOUT, "%s is captured up to %s (%s%s%s)", capture->service->name,
                capture->status.position[0] == 0 ? "nothing" : capture->status.position,
                dbk_capture_state_text(capture->status.state),
                capture->status.error[0] == 0 ? "" : ": ", capture->status.error);
            break;
        }
        capture->hurry = true;
        dbk_capture_wake(capture);
        (void)pthread_cond_timedwait(&captures->moved, &captures->lock, &soon);
    }
    (void)pthread_mutex_unlock(&captures->lock);
    return rc < 0 ? rc : DBK_OK;
}

int dbk_captures_wait(struct dbk_captures *captures, struct dbk_slice service,
                      struct dbk_slice position, int64_t timeout_us, uint64_t *position_out,
                      struct dbk_error *err)
{
    struct dbk_capture *capture = NULL;
    const struct dbk_source_driver *driver = NULL;
    int rc = find(captures, service, &capture, err);
    if (rc < 0 || capture == NULL)
        return rc;
    /* What is polled has no position that its users know. */
    for (size_t i = 0; i < captures->count; i++) {
        if (captures->items[i].service == capture->service &&
            captures->items[i].kind == DBK_CAPTURE_CDC)
            capture = &captures->items[i];
    }
    if (!capture->runs)
        return dbk_error_set(err, DBK_EBUSY,
                             "%s is captured by `daybook serve`, which does not run",
                             capture->service->name);
    rc = dbk_capture_driver(capture->service, capture->kind, &driver, err);
    if (rc == DBK_OK)
        rc = await_position(capture, driver, position, timeout_us, err);
    if (rc == DBK_OK)
        *position_out = dbk_store_last_position(captures->options.store);
    return rc;
}

/* ---- When an event came ---- */

/* Its stream's category is "<service>.<table>", of a table that is captured. */
static bool is_change_of(const struct dbk_capture *capture, const struct dbk_event *event)
{
    struct dbk_slice category = dbk_stream_category(event->stream);
    size_t size = strlen(capture->service->name);
    if (category.size < size + 2 || category.data[size] != '.' ||
        memcmp(category.data, capture->service->name, size) != 0)
        return false;
    const struct dbk_capture_table *table = dbk_capture_table(
        capture->service, dbk_slice(category.data + size + 1, category.size - size - 1));
    return table != NULL && table->kind == capture->kind;
}

static void say_why(const struct dbk_captures *captures, bool runs, bool before, char why[256])
{
    char since[DBK_TIME_TEXT_SIZE];
    (void)dbk_time_format(captures->since_us, since);
    if (!runs)
        (void)snprintf(why, 256, "the process that captures knows it: ask `daybook serve`");
    else if (before)
        (void)snprintf(why, 256, "before this process began, at %s", since);
    else
        (void)snprintf(why, 256, "forgotten: the last %d batches are remembered", DBK_TRAIL_STEPS);
}

/* 1: it is this capture's; 0: it is not, or that is not known (`doubt`). Under the lock. */
static int look_at(const struct dbk_capture *capture, const struct dbk_event *event,
                   struct dbk_capture_moments *moments, bool *doubt)
{
    const struct dbk_captures *captures = capture->captures;
    struct dbk_trail_step step;
    bool change = is_change_of(capture, event);
    bool before = event->position <= captures->position_begun;
    enum dbk_trail_answer answer = dbk_trail_find(&capture->trail, event->position, &step);
    if (change)
        moments->committed_us = event->occurred_us;
    if (answer == DBK_TRAIL_FOUND) {
        moments->taken_us = step.begun_us;
        return 1;
    }
    bool unknown = !capture->runs || before || answer == DBK_TRAIL_FORGOTTEN;
    if (change || (unknown && capture->kind == DBK_CAPTURE_OUTBOX))
        say_why(captures, capture->runs, before, moments->why);
    *doubt = *doubt || (unknown && capture->kind == DBK_CAPTURE_OUTBOX);
    return change;
}

int dbk_captures_moments(struct dbk_captures *captures, const struct dbk_event *event,
                         struct dbk_capture_moments *moments_out)
{
    struct dbk_capture_moments moments = {.committed_us = DBK_TIME_NONE, .taken_us = DBK_TIME_NONE};
    bool doubt = false;
    int rc = 0;
    (void)pthread_mutex_lock(&captures->lock);
    for (size_t i = 0; rc == 0 && i < captures->count; i++) {
        const struct dbk_capture *capture = &captures->items[i];
        rc = look_at(capture, event, &moments, &doubt);
        if (rc == 1) {
            moments.service = capture->service->name;
            moments.kind = capture->status.kind;
        }
    }
    (void)pthread_mutex_unlock(&captures->lock);
    if (rc == 1 && moments.taken_us != DBK_TIME_NONE)
        moments.why[0] = 0;
    *moments_out = moments;
    return rc == 1 || doubt ? 1 : 0;
}

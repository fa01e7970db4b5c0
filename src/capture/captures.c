/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread a service:
 *
 *     connect -> follow until something fails or somebody asks for a snapshot -> again
 *
 * What can work again is tried again, ever later; what cannot waits for somebody. What somebody
 * may put right in the database, of which nobody tells (a table that is not there, a row that an
 * outbox cannot give), has failed, and is tried again all the same.
 */
#include "capture/captures.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/diagnostics.h"
#include "capture/outbox.h"
#include "capture/poll.h"
#include "capture/sqlite.h"
#include "target/target.h"

/* What was gathered is stored when nothing more is at hand, or so long behind the first of it. */
#define GATHER_US (INT64_C(2) * 1000)
#define WAIT_US (INT64_C(1) * 1000000)
#define BACKOFF_US_MIN (INT64_C(100) * 1000)
#define BACKOFF_US_MAX (INT64_C(10) * 1000000)
#define CHUNK_ROWS 5000
/* How many changes are taken before the clock is looked at. */
#define LOOK_COUNT 64

const char *dbk_capture_state_text(enum dbk_capture_state state)
{
    static const char *const texts[] = {
        [DBK_CAPTURE_STOPPED] = "stopped",   [DBK_CAPTURE_CONNECTING] = "connecting",
        [DBK_CAPTURE_SNAPSHOT] = "snapshot", [DBK_CAPTURE_STREAMING] = "streaming",
        [DBK_CAPTURE_WAITING] = "waiting",   [DBK_CAPTURE_FAILED] = "failed",
    };
    return texts[state];
}

/* ---- Life ---- */

int dbk_captures_open(const struct dbk_captures_options *options,
                      struct dbk_captures **captures_out, struct dbk_error *err)
{
    struct dbk_captures *captures = dbk_alloc_zero(1, sizeof(*captures));
    if (captures == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening captures");
    captures->options = *options;
    captures->since_us = options->os->now_us(options->os);
    captures->position_begun = dbk_store_last_position(options->store);
    dbk_arena_init(&captures->arena, (size_t)1 << 20);
    pthread_condattr_t clock;
    (void)pthread_condattr_init(&clock);
    (void)pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&captures->lock, NULL);
    (void)pthread_cond_init(&captures->moved, &clock);
    (void)pthread_condattr_destroy(&clock);
    *captures_out = captures;
    return DBK_OK;
}

static void notify(int event)
{
    const uint64_t one = 1;
    while (write(event, &one, sizeof(one)) < 0 && errno == EINTR)
        continue;
}

static void take_note(int event)
{
    uint64_t count = 0;
    while (read(event, &count, sizeof(count)) < 0 && errno == EINTR)
        continue;
}

void dbk_capture_wake(const struct dbk_capture *capture)
{
    notify(capture->wake);
}

/* What was asked for is set before. */
void dbk_capture_end(const struct dbk_capture *capture)
{
    notify(capture->over);
    notify(capture->wake);
}

void dbk_captures_free(struct dbk_captures *captures)
{
    if (captures == NULL)
        return;
    captures->stop = true;
    for (size_t i = 0; i < captures->count; i++) {
        if (captures->items[i].runs)
            dbk_capture_end(&captures->items[i]);
    }
    for (size_t i = 0; i < captures->count; i++) {
        if (captures->items[i].runs)
            (void)pthread_join(captures->items[i].thread, NULL);
        if (captures->items[i].wake >= 0)
            (void)close(captures->items[i].wake);
        if (captures->items[i].over >= 0)
            (void)close(captures->items[i].over);
        dbk_trail_release(&captures->items[i].trail);
    }
    dbk_free(captures->items);
    (void)pthread_mutex_destroy(&captures->lock);
    (void)pthread_cond_destroy(&captures->moved);
    dbk_arena_release(&captures->arena);
    dbk_free(captures);
}

/* Appends for the book, and remembers when what is stored came. */
static int append(void *context, const struct dbk_batch *batch,
                  struct dbk_append_result *result_out, struct dbk_error *err)
{
    struct dbk_capture *capture = context;
    const struct dbk_captures_options *options = &capture->captures->options;
    /* An outbox's rows have just been read. */
    int64_t taken_us = capture->kind == DBK_CAPTURE_OUTBOX || capture->taken_us == 0
                           ? options->os->now_us(options->os)
                           : capture->taken_us;
    int rc = options->append(options->context, batch, result_out, err);
    if (rc < 0 || result_out->appended == 0)
        return rc;
    int64_t now_us = options->os->now_us(options->os);
    (void)pthread_mutex_lock(&capture->captures->lock);
    dbk_trail_note(&capture->trail,
                   &(struct dbk_trail_step){.position_min = result_out->last_position -
                                                            result_out->appended + 1,
                                            .position_max = result_out->last_position,
                                            .begun_us = taken_us,
                                            .done_us = now_us});
    (void)pthread_mutex_unlock(&capture->captures->lock);
    return rc;
}

int dbk_capture_open_entry(struct dbk_capture *capture, struct dbk_entry **entry_out,
                           struct dbk_error *err)
{
    const struct dbk_captures_options *options = &capture->captures->options;
    return dbk_entry_open(&(struct dbk_entry_options){.store = options->store,
                                                      .service = capture->service,
                                                      .kind = capture->kind,
                                                      .append = append,
                                                      .context = capture,
                                                      .batch_count_max = options->batch_count_max,
                                                      .event_size_max = options->event_size_max},
                          entry_out, err);
}

/* A failure is shown until it is over, also while it is tried again. */
static void set_connecting(struct dbk_capture *capture)
{
    (void)pthread_mutex_lock(&capture->captures->lock);
    if (capture->status.error[0] == 0)
        capture->status.state = DBK_CAPTURE_CONNECTING;
    (void)pthread_mutex_unlock(&capture->captures->lock);
}

/* A transaction that is stored in part is not shown, from before the first reader on. */
static int hold_back(struct dbk_capture *capture, struct dbk_error *err)
{
    struct dbk_entry *entry = NULL;
    int rc = dbk_capture_open_entry(capture, &entry, err);
    dbk_entry_free(entry);
    return rc == DBK_ECORRUPT || rc == DBK_ELIMIT ? DBK_OK : rc; /* the capture itself says so */
}

int dbk_captures_add(struct dbk_captures *captures, const struct dbk_capture_service *service,
                     enum dbk_capture_kind kind, struct dbk_error *err)
{
    if (captures->count == captures->capacity) {
        size_t capacity = captures->capacity == 0 ? 8 : captures->capacity * 2;
        struct dbk_capture *items = dbk_realloc(captures->items, capacity * sizeof(*items));
        if (items == NULL)
            return dbk_error_set(err, DBK_ENOMEM, "out of memory adding a capture");
        captures->items = items;
        captures->capacity = capacity;
    }
    struct dbk_capture *capture = &captures->items[captures->count++];
    *capture = (struct dbk_capture){
        .captures = captures, .service = service, .kind = kind, .wake = -1, .over = -1};
    capture->status.service = service->name;
    capture->status.database = service->database;
    capture->status.kind = kind == DBK_CAPTURE_POLLING  ? "polling"
                           : kind == DBK_CAPTURE_OUTBOX ? "outbox"
                                                        : "cdc";
    return captures->options.writer ? hold_back(capture, err) : DBK_OK;
}

/* ---- A session with the source ---- */

int dbk_capture_driver(const struct dbk_capture_service *service, enum dbk_capture_kind kind,
                       const struct dbk_source_driver **driver_out, struct dbk_error *err)
{
    const void *symbol = NULL;
    if (kind == DBK_CAPTURE_POLLING || dbk_target_dialect(service->address) == DBK_DIALECT_SQLITE) {
        *driver_out = kind == DBK_CAPTURE_POLLING ? &dbk_source_poll : &dbk_source_sqlite;
        return DBK_OK;
    }
    int rc = dbk_target_symbol(service->address, DBK_SOURCE_SYMBOL, &symbol, err);
    if (rc < 0)
        return rc;
    *driver_out = symbol;
    if (symbol == NULL)
        return dbk_error_set(err, DBK_EINVAL, "%s: the database `%s` does not tell its changes",
                             service->file, service->database);
    return (*driver_out)->version == DBK_SOURCE_VERSION
               ? DBK_OK
               : dbk_error_set(err, DBK_EFORMAT,
                               "the module of `%s` is not of this version of Daybook: install both "
                               "together",
                               service->database);
}

struct session {
    struct dbk_capture *capture;
    struct dbk_entry *entry;
    struct dbk_source *source;
    int64_t first_us; /* when the first of what is gathered came; 0: nothing is */
    unsigned taken;
};

int64_t dbk_capture_now_us(const struct dbk_capture *capture)
{
    struct dbk_os *os = capture->captures->options.os;
    return os->monotonic_us(os);
}

static void set_failed(struct dbk_capture *capture, bool again, const struct dbk_error *failure)
{
    (void)pthread_mutex_lock(&capture->captures->lock);
    capture->status.state = again ? DBK_CAPTURE_WAITING : DBK_CAPTURE_FAILED;
    capture->status.failures++;
    (void)snprintf(capture->status.error, sizeof(capture->status.error), "%s", failure->message);
    (void)pthread_mutex_unlock(&capture->captures->lock);
}

static void show(struct session *session)
{
    struct dbk_capture *capture = session->capture;
    struct dbk_os *os = capture->captures->options.os;
    struct dbk_capture_status *status = &capture->status;
    struct dbk_source_status source = {0};
    struct dbk_entry_counts counts;
    session->source->driver->status(session->source, &source);
    dbk_entry_counts(session->entry, &counts);
    bool behind = !source.caught_up || dbk_entry_gathered(session->entry) > 0;
    int64_t lag_us =
        behind && counts.time_us != DBK_TIME_NONE ? os->now_us(os) - counts.time_us : 0;
    (void)pthread_mutex_lock(&capture->captures->lock);
    status->state = source.snapshot ? DBK_CAPTURE_SNAPSHOT : DBK_CAPTURE_STREAMING;
    status->error[0] = 0;
    status->lag_us = lag_us > 0 ? lag_us : 0;
    status->lag_bytes = source.lag_bytes;
    status->table_rows = source.snapshot_rows;
    status->retained_bytes = source.retained_bytes;
    status->changes = capture->before.changes + counts.changes;
    status->events = capture->before.events + counts.events;
    /* What is gathered and not stored is not in the book. */
    if (dbk_entry_gathered(session->entry) == 0)
        (void)snprintf(status->position, sizeof(status->position), "%s", source.position);
    (void)snprintf(status->table, sizeof(status->table), "%s", source.snapshot_table);
    (void)snprintf(status->health, sizeof(status->health), "%s", source.health);
    (void)snprintf(status->warning, sizeof(status->warning), "%s", source.warning);
    (void)pthread_cond_broadcast(&capture->captures->moved);
    (void)pthread_mutex_unlock(&capture->captures->lock);
}

static int store(struct session *session, bool always, struct dbk_error *err)
{
    int rc = dbk_entry_store(session->entry, always, err);
    if (rc == DBK_OK)
        rc = session->source->driver->stored(session->source, err);
    session->first_us = 0;
    session->capture->backoff_us = 0;
    show(session);
    return rc;
}

/* Behind a transaction: time to store? The clock is not looked at each time. */
static bool is_due(struct session *session)
{
    if (dbk_entry_gathered(session->entry) == 0)
        return false;
    if (dbk_entry_is_full(session->entry))
        return true;
    if (session->first_us == 0) {
        session->first_us = dbk_capture_now_us(session->capture);
        return false;
    }
    if (++session->taken % LOOK_COUNT != 0)
        return false;
    return dbk_capture_now_us(session->capture) - session->first_us > GATHER_US;
}

static bool is_over(const struct dbk_capture *capture)
{
    return capture->captures->stop || capture->resnapshot;
}

/* Nothing is at hand. */
static int rest(struct session *session, struct dbk_error *err)
{
    const struct dbk_source_driver *driver = session->source->driver;
    int rc = DBK_OK;
    if (!dbk_entry_is_open(session->entry)) {
        if (dbk_entry_gathered(session->entry) > 0)
            rc = store(session, false, err);
        else if (driver->moved(session->source))
            rc = store(session, true, err);
    }
    if (rc < 0)
        return rc;
    show(session);
    /* Flags are set before it is noted: what this note was of is seen behind it, and one that
       stayed from before the session wakes nobody again and again. */
    take_note(session->capture->wake);
    if (session->capture->hurry) {
        session->capture->hurry = false;
        if (driver->hurry != NULL)
            rc = driver->hurry(session->source, err);
    }
    if (rc < 0 || is_over(session->capture))
        return rc;
    return driver->wait(session->source, WAIT_US, err);
}

static int follow(struct session *session, struct dbk_error *err)
{
    const struct dbk_source_driver *driver = session->source->driver;
    struct dbk_os *os = session->capture->captures->options.os;
    int rc = DBK_OK;
    while (rc == DBK_OK && !is_over(session->capture)) {
        struct dbk_change change = {0};
        rc = driver->next(session->source, &change, err);
        if (rc == 0) {
            rc = rest(session, err);
            continue;
        }
        if (rc == 1 && dbk_entry_gathered(session->entry) == 0)
            session->capture->taken_us = os->now_us(os);
        if (rc == 1)
            rc = dbk_entry_take(session->entry, &change, err);
        if (rc == DBK_OK && change.kind == DBK_CHANGE_END && is_due(session))
            rc = store(session, false, err);
    }
    return rc;
}

static int note(void *context, struct dbk_slice state, struct dbk_error *err)
{
    struct session *session = context;
    return dbk_entry_note(session->entry, state, false, err);
}

static uint64_t last_position(void *context)
{
    struct session *session = context;
    return dbk_entry_last_position(session->entry);
}

static int live(void *context, size_t table, uint64_t after, uint64_t until, size_t max,
                struct dbk_live_keys *keys_out, struct dbk_error *err)
{
    struct session *session = context;
    return dbk_entry_live(session->entry, table, after, until, max, keys_out, err);
}

static int connect_source(struct session *session, const struct dbk_source_driver *driver,
                          struct dbk_error *err)
{
    struct dbk_capture *capture = session->capture;
    const struct dbk_captures_options *options = &capture->captures->options;
    if (capture->resnapshot && !dbk_entry_resnapshot(session->entry)) {
        int rc = dbk_entry_note(session->entry, dbk_entry_state(session->entry), true, err);
        if (rc < 0)
            return rc;
    }
    capture->resnapshot = false;
    /* What a note says replaces what is read here. */
    struct dbk_slice state = dbk_entry_state(session->entry);
    char *copy = dbk_copy_text(state);
    if (copy == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory capturing %s", capture->service->name);
    int rc = driver->open(
        &(struct dbk_source_options){.os = options->os,
                                     .service = capture->service,
                                     .book = dbk_store_book_id(options->store),
                                     .folder = options->folder,
                                     .wake = capture->wake,
                                     .over = capture->over,
                                     .chunk_rows = CHUNK_ROWS < options->batch_count_max / 2
                                                       ? CHUNK_ROWS
                                                       : options->batch_count_max / 2,
                                     .state = dbk_slice(copy, state.size),
                                     .resnapshot = dbk_entry_resnapshot(session->entry),
                                     .last_position = last_position,
                                     .live = live,
                                     .note = note,
                                     .context = session,
                                     .doubt = &capture->doubt},
        &session->source, err);
    dbk_free(copy);
    return rc;
}

/* ---- An outbox ---- */

static void sleep_until_over(const struct dbk_capture *capture, int64_t timeout_us)
{
    struct pollfd look = {.fd = capture->over, .events = POLLIN};
    (void)poll(&look, 1, timeout_us < 0 ? -1 : (int)(timeout_us / 1000));
}

static void show_outbox(struct dbk_capture *capture, const struct dbk_outbox *outbox)
{
    struct dbk_capture_status *status = &capture->status;
    (void)pthread_mutex_lock(&capture->captures->lock);
    status->state = DBK_CAPTURE_STREAMING;
    status->error[0] = 0;
    status->changes = status->events = capture->before.events + dbk_outbox_count(outbox);
    if (dbk_outbox_position(outbox)[0] != 0)
        (void)snprintf(status->position, sizeof(status->position), "%s",
                       dbk_outbox_position(outbox));
    (void)pthread_mutex_unlock(&capture->captures->lock);
}

static int run_outbox(struct dbk_capture *capture, struct dbk_error *err)
{
    const struct dbk_captures_options *options = &capture->captures->options;
    struct dbk_outbox *outbox = NULL;
    set_connecting(capture);
    int rc =
        dbk_outbox_open(&(struct dbk_outbox_options){.os = options->os,
                                                     .store = options->store,
                                                     .service = capture->service,
                                                     .append = append,
                                                     .context = capture,
                                                     .batch_count_max = options->batch_count_max},
                        &outbox, err);
    while (rc >= 0 && !capture->captures->stop) {
        rc = dbk_outbox_take(outbox, err);
        if (rc < 0)
            break;
        capture->backoff_us = 0;
        show_outbox(capture, outbox);
        if (rc == 0)
            sleep_until_over(capture, capture->service->outbox.every_us);
    }
    if (outbox != NULL)
        capture->before.events += dbk_outbox_count(outbox);
    dbk_outbox_free(outbox);
    return rc;
}

static int run_session(struct dbk_capture *capture, struct dbk_error *err)
{
    const struct dbk_source_driver *driver = NULL;
    struct session session = {.capture = capture};
    struct dbk_entry_counts counts;
    set_connecting(capture);
    int rc = dbk_capture_driver(capture->service, capture->kind, &driver, err);
    if (rc == DBK_OK)
        rc = dbk_capture_open_entry(capture, &session.entry, err);
    if (rc == DBK_OK)
        rc = connect_source(&session, driver, err);
    if (rc == DBK_OK) {
        dbk_entry_follow(session.entry, session.source);
        show(&session);
        rc = follow(&session, err);
    }
    if (session.entry != NULL) {
        dbk_entry_counts(session.entry, &counts);
        capture->before.changes += counts.changes;
        capture->before.events += counts.events;
    }
    if (session.source != NULL)
        driver->close(session.source);
    dbk_entry_free(session.entry);
    return rc;
}

/* ---- The thread ---- */

static bool can_work_again(int rc)
{
    return rc == DBK_ECONNECT || rc == DBK_EBUSY || rc == DBK_ETIMEOUT || rc == DBK_EFULL ||
           rc == DBK_ECONFLICT || rc == DBK_ENOMEM;
}

static void *run(void *context)
{
    struct dbk_capture *capture = context;
    for (;;) {
        struct dbk_error err = {0};
        /* In this order: what is asked for later is not missed. */
        take_note(capture->over);
        take_note(capture->wake);
        if (capture->captures->stop)
            return NULL;
        bool outbox = capture->kind == DBK_CAPTURE_OUTBOX;
        int rc = outbox ? run_outbox(capture, &err) : run_session(capture, &err);
        if (rc >= 0 || capture->captures->stop || capture->resnapshot)
            continue;
        bool again = can_work_again(rc);
        set_failed(capture, again, &err);
        capture->backoff_us = capture->backoff_us == 0 ? BACKOFF_US_MIN : capture->backoff_us * 2;
        if (capture->backoff_us > BACKOFF_US_MAX)
            capture->backoff_us = BACKOFF_US_MAX;
        bool may_come = outbox || rc == DBK_ENOTFOUND;
        sleep_until_over(capture, again || may_come ? capture->backoff_us : -1);
    }
}

int dbk_captures_start(struct dbk_captures *captures, struct dbk_error *err)
{
    for (size_t i = 0; i < captures->count; i++) {
        struct dbk_capture *capture = &captures->items[i];
        capture->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        capture->over = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (capture->wake < 0 || capture->over < 0)
            return dbk_error_set_errno(err, errno, "making an eventfd");
        int code = pthread_create(&capture->thread, NULL, run, capture);
        if (code != 0)
            return dbk_error_set_errno(err, code, "starting a thread to capture %s",
                                       capture->service->name);
        capture->runs = true;
    }
    return DBK_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Telling somebody of what an alert found.
 *
 * Nothing is open in the database while a webhook or a command has it. What became of it is noted
 * behind that, so that a crash in between tells once more, with the same id.
 */
#include <stdio.h>
#include <sysexits.h>

#include "json/json.h"
#include "os/process.h"
#include "target/http.h"
#include "target/secret.h"
#include "view/alert.h"
#include "view/refresh.h"
#include "view/state.h"

#define TIMEOUT_US (INT64_C(30) * 1000000)
/* The first pause behind a failure; each is twice as long, up to the last. */
#define PAUSE_US INT64_C(500000)
#define PAUSE_US_MAX (INT64_C(300) * 1000000)
/* What has failed for so long is set aside. */
#define GIVE_UP_US (INT64_C(24) * 3600 * 1000000)
#define BODY_SIZE_MAX ((size_t)256 << 20)
#define MEMORY_MAX ((size_t)512 << 20)

struct sending {
    struct dbk_alert *alert;
    struct dbk_arena arena;
    uint64_t number;
    const char *id;
    uint64_t attempts;
    int64_t tried_us; /* when it was first; 0: it was not */
    struct dbk_buf body;
};

enum outcome { DELIVERED, AGAIN, REFUSED };

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
}

/* ---- What is told ---- */

static void put_text(struct dbk_buf *out, bool *first, const char *key, const char *text)
{
    dbk_json_write_key(out, first, key);
    dbk_json_write_string(out, dbk_slice_of(text));
}

static void put_body(struct sending *sending, uint64_t position, struct dbk_value old_row,
                     struct dbk_value new_row)
{
    struct dbk_buf *out = &sending->body;
    bool first = true;
    dbk_buf_append_char(out, '{');
    put_text(out, &first, "id", sending->id);
    put_text(out, &first, "view", sending->alert->view->definition.name);
    put_text(out, &first, "alert", sending->alert->definition->name);
    dbk_json_write_key(out, &first, "position");
    dbk_json_write_u64(out, position);
    put_text(out, &first, "change", old_row.kind == DBK_VALUE_NULL ? "insert" : "update");
    dbk_json_write_key(out, &first, "row");
    dbk_buf_append(out, new_row.bytes);
    if (old_row.kind != DBK_VALUE_NULL) {
        dbk_json_write_key(out, &first, "old");
        dbk_buf_append(out, old_row.bytes);
    }
    dbk_buf_append_text(out, "}\n");
}

/* The first that waits. 1: it is there, and it is time; 0: it is not. */
static int take_first(struct sending *sending, int64_t *next_us_out, struct dbk_error *err)
{
    struct dbk_alert *alert = sending->alert;
    struct dbk_statement *statement = NULL;
    int64_t now_us = alert->views->os->now_us(alert->views->os);
    *next_us_out = DBK_TIME_NONE;
    int rc = dbk_alert_open(alert,
                            "SELECT d.number, d.id, d.position, d.old, d.new, d.attempts, d.tried, "
                            "d.next FROM _daybook_alerts AS a JOIN _daybook_alerts_due AS d ON "
                            "d.view = a.view AND d.alert = a.alert WHERE a.view = ?1 AND a.alert = "
                            "?2 AND a.paused = 0 AND d.aside = 0 ORDER BY d.number LIMIT 1",
                            &statement, err);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    if (rc == 1) {
        int64_t next_us = dbk_statement_column(statement, 7).integer;
        /* Past the longest pause the clock was set. */
        bool waits = next_us > now_us && next_us - now_us <= PAUSE_US_MAX;
        *next_us_out = waits ? next_us : DBK_TIME_NONE;
        rc = waits ? 0 : 1;
    }
    if (rc == 1) {
        sending->number = (uint64_t)dbk_statement_column(statement, 0).integer;
        sending->id = dbk_arena_format(&sending->arena, "%s/%s/%.*s", alert->view->definition.name,
                                       alert->definition->name,
                                       DBK_SLICE_ARGS(dbk_statement_column(statement, 1).bytes));
        sending->attempts = (uint64_t)dbk_statement_column(statement, 5).integer;
        sending->tried_us = dbk_statement_column(statement, 6).integer;
        if (sending->id == NULL)
            rc = no_memory(err);
        else
            put_body(sending, (uint64_t)dbk_statement_column(statement, 2).integer,
                     dbk_statement_column(statement, 3), dbk_statement_column(statement, 4));
        if (rc == 1 && sending->body.rc < 0)
            rc = dbk_error_set(err, sending->body.rc, "what is told is larger than %zu bytes",
                               BODY_SIZE_MAX);
    }
    dbk_statement_free(statement);
    return rc;
}

/* ---- Whom ---- */

/* What stands in a file, from the book's folder, or in the environment. NULL: it does not. */
static const char *read_secret(struct sending *sending, const char *reference, const char *what,
                               struct dbk_error *err)
{
    const char *folder = sending->alert->view->definition.folder;
    bool inside = strncmp(reference, "file:", 5) == 0 && reference[5] != '/';
    const char *secret = NULL;
    struct dbk_buf text;
    if (inside)
        reference = dbk_arena_format(&sending->arena, "file:%s/%s", folder, reference + 5);
    dbk_buf_init(&text, DBK_SECRET_TEXT_SIZE_MAX);
    int rc = reference == NULL ? no_memory(err) : dbk_secret_read(reference, what, &text, err);
    if (rc == DBK_OK)
        secret = dbk_arena_format(&sending->arena, "%s", text.data);
    if (rc == DBK_OK && secret == NULL)
        (void)no_memory(err);
    dbk_buf_release(&text);
    return secret;
}

/* Names and values, as lines. */
static const char *const *read_headers(struct sending *sending, struct dbk_error *err)
{
    const struct dbk_alert_definition *definition = sending->alert->definition;
    const char **headers =
        dbk_arena_alloc_zero(&sending->arena, definition->header_count + 1, sizeof(*headers));
    for (size_t i = 0; headers != NULL && i < definition->header_count; i++) {
        const char *secret =
            read_secret(sending, definition->headers[2 * i + 1], definition->headers[2 * i], err);
        if (secret == NULL)
            return NULL;
        if (strpbrk(secret, "\r\n") != NULL) {
            (void)dbk_error_set(err, DBK_EINVAL, "%.80s has more than one line",
                                definition->headers[2 * i + 1]);
            return NULL;
        }
        headers[i] =
            dbk_arena_format(&sending->arena, "%s: %s", definition->headers[2 * i], secret);
        if (headers[i] == NULL)
            headers = NULL;
    }
    if (headers == NULL)
        (void)no_memory(err);
    return headers;
}

/* What says "later", or that the server broke, is tried again; the rest is refused for good. */
static enum outcome outcome_of_status(unsigned status)
{
    if (status >= 200 && status < 300)
        return DELIVERED;
    bool later = status == 408 || status == 425 || status == 429 || status >= 500;
    return later ? AGAIN : REFUSED;
}

static int post(struct sending *sending, enum outcome *outcome, struct dbk_error *why)
{
    struct dbk_alert *alert = sending->alert;
    const char *url = alert->definition->url;
    bool secret = strncmp(url, "http", 4) != 0;
    struct dbk_buf reply;
    unsigned status = 0;
    *outcome = AGAIN;
    url = secret ? read_secret(sending, url, "the address", why) : url;
    const char *const *headers = url == NULL ? NULL : read_headers(sending, why);
    if (headers == NULL)
        return DBK_OK;
    if (alert->http == NULL)
        alert->http = dbk_http_session_create();
    if (alert->http == NULL)
        return no_memory(why);
    dbk_buf_init(&reply, 1024);
    const struct dbk_http_request request = {.url = url,
                                             .url_is_secret = secret,
                                             .method = DBK_SLICE_LITERAL("POST"),
                                             .body = dbk_buf_slice(&sending->body),
                                             .key = sending->id,
                                             .headers = headers,
                                             .header_count = alert->definition->header_count,
                                             .timeout_us = TIMEOUT_US,
                                             .ends = &alert->views->ends};
    int rc = dbk_http_session_do(alert->http, &request, &status, &reply, why);
    dbk_buf_release(&reply);
    if (rc == DBK_OK) {
        *outcome = outcome_of_status(status);
        (void)dbk_error_set(why, DBK_EREFUSED, "%s answered %u", secret ? "the address" : url,
                            status);
    }
    return rc == DBK_ESTOPPED ? rc : DBK_OK;
}

static int run(struct sending *sending, enum outcome *outcome, struct dbk_error *why)
{
    const struct dbk_alert *alert = sending->alert;
    const struct dbk_process process = {.words = alert->definition->words,
                                        .folder = alert->view->definition.folder,
                                        .input = dbk_buf_slice(&sending->body),
                                        .timeout_us = TIMEOUT_US,
                                        .ends = &alert->views->ends};
    struct dbk_process_end end;
    *outcome = AGAIN;
    int rc = dbk_process_run(&process, &end, why);
    if (rc < 0)
        return rc == DBK_ESTOPPED ? rc : DBK_OK;
    if (end.exited && end.status == 0)
        *outcome = DELIVERED;
    else if (end.exited && end.status == EX_DATAERR)
        *outcome = REFUSED;
    (void)dbk_error_set(why, DBK_EREFUSED, "%s %s %d%s%s", process.words[0],
                        end.exited ? "ended with status" : "was ended by signal", end.status,
                        end.said[0] != '\0' ? ": " : "", end.said);
    return DBK_OK;
}

/* ---- What became of it ---- */

static int set(struct sending *sending, const char *sql, const struct dbk_value *values,
               size_t count, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int rc = dbk_alert_open(sending->alert, sql, &statement, err);
    for (size_t i = 0; rc == DBK_OK && i < count; i++)
        dbk_statement_bind(statement, (int)i + 3, &values[i]);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    dbk_statement_free(statement);
    return rc < 0 ? rc : DBK_OK;
}

static struct dbk_value integer_of(int64_t number)
{
    return (struct dbk_value){.kind = DBK_VALUE_INTEGER, .integer = number};
}

static struct dbk_value text_of(const char *text)
{
    return (struct dbk_value){.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(text)};
}

static int note_delivered(struct sending *sending, int64_t now_us, struct dbk_error *err)
{
    const struct dbk_value number = integer_of((int64_t)sending->number);
    /* Of the whole id what the view and the alert do not say. */
    const char *id = strrchr(sending->id, '/') + 1;
    const struct dbk_value values[] = {text_of(id), integer_of(now_us)};
    int rc = set(sending,
                 "DELETE FROM _daybook_alerts_due WHERE view = ?1 AND alert = ?2 AND number = ?3",
                 &number, 1, err);
    return rc < 0 ? rc
                  : set(sending,
                        "UPDATE _daybook_alerts SET delivered = delivered + 1, last = ?3, last_us "
                        "= ?4, error = NULL WHERE view = ?1 AND alert = ?2",
                        values, 2, err);
}

static int note_failure(struct sending *sending, enum outcome outcome, int64_t now_us,
                        const struct dbk_error *why, struct dbk_error *err)
{
    int64_t tried_us = sending->tried_us != 0 ? sending->tried_us : now_us;
    bool aside = outcome == REFUSED || now_us - tried_us >= GIVE_UP_US;
    int64_t pause_us = PAUSE_US;
    for (uint64_t i = 0; i < sending->attempts && pause_us < PAUSE_US_MAX; i++)
        pause_us *= 2;
    pause_us = pause_us < PAUSE_US_MAX ? pause_us : PAUSE_US_MAX;
    const struct dbk_value due[] = {integer_of((int64_t)sending->number),
                                    integer_of((int64_t)sending->attempts + 1),
                                    integer_of(tried_us),
                                    integer_of(now_us + pause_us),
                                    integer_of(aside),
                                    text_of(why->message)};
    const struct dbk_value error = text_of(why->message);
    int rc = set(sending,
                 "UPDATE _daybook_alerts_due SET attempts = ?4, tried = ?5, next = ?6, aside = ?7, "
                 "reason = ?8 WHERE view = ?1 AND alert = ?2 AND number = ?3",
                 due, 6, err);
    if (rc == DBK_OK)
        rc = set(sending,
                 "UPDATE _daybook_alerts SET failures = failures + 1, error = ?3 WHERE view = ?1 "
                 "AND alert = ?2",
                 &error, 1, err);
    return rc == DBK_OK && aside ? dbk_alert_trim(sending->alert, err) : rc;
}

static int note(struct sending *sending, enum outcome outcome, const struct dbk_error *why,
                struct dbk_error *err)
{
    struct dbk_connection *connection = sending->alert->connection;
    struct dbk_os *os = sending->alert->views->os;
    int rc = dbk_connection_begin(connection, DBK_BEGIN_WRITE, err);
    if (rc < 0)
        return rc;
    rc = outcome == DELIVERED ? note_delivered(sending, os->now_us(os), err)
                              : note_failure(sending, outcome, os->now_us(os), why, err);
    return dbk_view_end_transaction(connection, rc, err);
}

int dbk_alert_send(struct dbk_alert *alert, int64_t *next_us_out, struct dbk_error *err)
{
    struct sending sending = {.alert = alert};
    struct dbk_error why = {0};
    enum outcome outcome = AGAIN;
    dbk_arena_init(&sending.arena, MEMORY_MAX);
    dbk_buf_init(&sending.body, BODY_SIZE_MAX);
    int rc = take_first(&sending, next_us_out, err);
    if (rc == 1) {
        rc = alert->definition->words != NULL ? run(&sending, &outcome, &why)
                                              : post(&sending, &outcome, &why);
        if (rc < 0)
            (void)dbk_error_set(err, rc, "%s", why.message);
        else
            rc = note(&sending, outcome, &why, err);
        rc = rc < 0 ? rc : 1;
    }
    dbk_buf_release(&sending.body);
    dbk_arena_release(&sending.arena);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls: commands of the book, and HTTP requests, each with its key. They are made by a few threads
 * of their own, begun once the record that says so is stored, and made again when a crash leaves no
 * outcome.
 */
#include <stdio.h>
#include <string.h>

#include "saga/state.h"
#include "target/http.h"

#define CALLERS 16
#define REPLY_SIZE_MAX ((size_t)64 << 10)
#define META_SIZE 200

void dbk_saga_job_free(struct dbk_saga_job *job)
{
    if (job == NULL)
        return;
    dbk_saga_done_free(job->done);
    dbk_free(job->key);
    dbk_free(job->call);
    dbk_free(job);
}

void dbk_saga_done_free(struct dbk_saga_done *done)
{
    if (done == NULL)
        return;
    dbk_free(done->id);
    dbk_free(done->reply);
    dbk_free(done->why);
    dbk_free(done);
}

/* Whole, whatever the names' length: cut, two calls could have one key. */
static char *key_of(const struct dbk_saga *saga, const struct dbk_saga_step *step, bool undo)
{
    struct dbk_buf key;
    dbk_buf_init(&key, DBK_SAGA_JSON_SIZE_MAX);
    dbk_buf_append_format(&key, "%s/%.*s/%.*s%s", saga->name, DBK_SLICE_ARGS(step->name),
                          DBK_SLICE_ARGS(step->key), undo ? "/undo" : "");
    char *text = key.rc < 0 ? NULL : dbk_copy_text(dbk_buf_slice(&key));
    dbk_buf_release(&key);
    return text;
}

struct dbk_saga_job *dbk_saga_job_create(struct dbk_saga *saga,
                                         const struct dbk_saga_instance *instance,
                                         const struct dbk_saga_record *record, size_t step,
                                         const struct dbk_uuid *cause)
{
    struct dbk_saga_job *job = dbk_alloc_zero(1, sizeof(*job));
    const struct dbk_saga_step *at = &record->steps[step];
    size_t definition = 0;
    if (job == NULL)
        return NULL;
    job->saga = saga;
    job->undo = at->phase == DBK_SAGA_UNDOING;
    job->cause = *cause;
    job->timeout_us = DBK_SAGA_DELAY_MAX_DEFAULT_US;
    if (dbk_saga_script_step(saga->script, at->name, &definition))
        job->timeout_us = dbk_saga_script_definition(saga->script)->steps[definition].timeout_us;
    job->key = key_of(saga, at, job->undo);
    job->call = dbk_copy_text(at->call);
    job->done = dbk_alloc_zero(1, sizeof(*job->done));
    if (job->done != NULL) {
        job->done->id = dbk_copy_text(dbk_slice(instance->id, instance->id_size));
        job->done->step = step;
        job->done->attempt = at->attempt;
        job->done->undo = job->undo;
    }
    if (job->done != NULL && job->done->id != NULL && job->key != NULL && job->call != NULL)
        return job;
    dbk_saga_job_free(job);
    return NULL;
}

void dbk_saga_queue(struct dbk_sagas *sagas, struct dbk_saga_job *jobs)
{
    struct dbk_saga_job *ordered = NULL;
    if (jobs == NULL)
        return;
    (void)pthread_mutex_lock(&sagas->job_lock);
    struct dbk_saga_job *last = jobs;
    for (struct dbk_saga_job *job = jobs, *next; job != NULL; job = next) {
        next = job->next;
        job->next = ordered;
        ordered = job;
        job->saga->calls++;
    }
    *sagas->jobs_end = ordered;
    sagas->jobs_end = &last->next;
    (void)pthread_cond_broadcast(&sagas->job_there);
    (void)pthread_mutex_unlock(&sagas->job_lock);
}

/* ---- Making a call ---- */

struct calling {
    struct dbk_saga_job *job;
    struct dbk_json *json;
    struct dbk_http_session *http;
    struct dbk_saga_done *done;
    bool stopped; /* there is no outcome: the next start makes the call, with the same key */
};

static void end(struct calling *calling, enum dbk_saga_outcome outcome, const char *why)
{
    calling->done->outcome = outcome;
    calling->done->why = why == NULL ? NULL : dbk_copy_text(dbk_slice_of(why));
}

/* An answer that there is no room for is no answer: the call is made again, with the same key. */
static void no_room(struct calling *calling)
{
    dbk_free(calling->done->why);
    end(calling, DBK_SAGA_AGAIN, "out of memory for its answer");
}

static void end_with(struct calling *calling, struct dbk_slice reply)
{
    calling->done->reply = dbk_copy_text(reply);
    if (calling->done->reply == NULL)
        no_room(calling);
}

/* What a code says of what the command did. */
static enum dbk_saga_outcome outcome_of(int rc)
{
    switch (rc) {
    case DBK_OK:
        return DBK_SAGA_SUCCEEDED;
    case DBK_EREFUSED:
        return DBK_SAGA_REFUSED;
    case DBK_EINVAL:
    case DBK_ENOTFOUND:
    case DBK_ESCRIPT:
    case DBK_EDENIED:
        return DBK_SAGA_BROKEN;
    default:
        return DBK_SAGA_AGAIN;
    }
}

static void do_command(struct calling *calling, struct dbk_slice name, struct dbk_slice body)
{
    struct dbk_saga_job *job = calling->job;
    char meta[META_SIZE];
    char cause[DBK_UUID_TEXT_SIZE];
    struct dbk_buf events;
    struct dbk_command_result result = {0};
    struct dbk_error err = {0};
    dbk_buf_init(&events, DBK_SAGA_JSON_SIZE_MAX);
    dbk_uuid_format(&job->cause, cause);
    (void)snprintf(meta, sizeof(meta), "{\"causationid\":\"%s\"}", cause);
    int rc = dbk_command_do(job->saga->sagas->options.commands,
                            &(struct dbk_command){.name = name,
                                                  .body = body,
                                                  .idempotency_key = dbk_slice_of(job->key),
                                                  .meta = dbk_slice_of(meta)},
                            &events, &result, &err);
    end(calling, outcome_of(rc), rc == DBK_OK ? NULL : err.message);
    if (rc == DBK_OK && events.size > 0 && events.size <= REPLY_SIZE_MAX)
        end_with(calling, dbk_buf_slice(&events));
    dbk_buf_release(&events);
}

/* 2xx is done; what says "later", or that the server broke, is tried again; the rest is refused. */
static enum dbk_saga_outcome outcome_of_status(unsigned status)
{
    if (status >= 200 && status < 300)
        return DBK_SAGA_SUCCEEDED;
    bool later = status == 408 || status == 425 || status == 429 || status >= 500;
    return later ? DBK_SAGA_AGAIN : DBK_SAGA_REFUSED;
}

/* JSON stays as it is, another text becomes a JSON string, and no body null. */
static void keep_reply(struct calling *calling, struct dbk_slice body)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_buf out;
    dbk_buf_init(&out, 8 * REPLY_SIZE_MAX);
    if (body.size > 0 && dbk_json_parse(calling->json, body, &root, NULL) == DBK_OK)
        dbk_json_write_node(&out, root);
    else if (body.size > 0 && dbk_slice_is_utf8(body))
        dbk_json_write_string(&out, body);
    else
        dbk_buf_append_text(&out, "null");
    if (out.rc == DBK_OK)
        end_with(calling, dbk_buf_slice(&out));
    else if (out.rc == DBK_ENOMEM)
        no_room(calling);
    dbk_buf_release(&out);
}

static const struct dbk_saga_target *target_of(const struct dbk_sagas *sagas, struct dbk_slice name)
{
    for (size_t i = 0; i < sagas->options.target_count; i++) {
        if (dbk_slice_equal_text(name, sagas->options.targets[i].name))
            return &sagas->options.targets[i];
    }
    return NULL;
}

static void do_http(struct calling *calling, const struct dbk_json_node *call,
                    struct dbk_slice name)
{
    char why[DBK_ERROR_MESSAGE_SIZE];
    struct dbk_error err = {0};
    struct dbk_buf reply;
    unsigned status = 0;
    const struct dbk_json_node *body = dbk_json_member(call, "body");
    const struct dbk_saga_target *target = target_of(calling->job->saga->sagas, name);
    if (target == NULL) {
        (void)snprintf(why, sizeof(why), "book.yaml has no `%.*s` under `calls:`",
                       DBK_SLICE_ARGS(name));
        end(calling, DBK_SAGA_BROKEN, why);
        return;
    }
    dbk_buf_init(&reply, REPLY_SIZE_MAX);
    const struct dbk_http_request request = {.url = target->url,
                                             .path = dbk_json_member(call, "path")->text,
                                             .method = dbk_json_member(call, "method")->text,
                                             .body =
                                                 body == NULL ? (struct dbk_slice){0} : body->raw,
                                             .key = calling->job->key,
                                             .timeout_us = calling->job->timeout_us,
                                             .ends = &calling->job->saga->sagas->callers_end};
    int rc = dbk_http_session_do(calling->http, &request, &status, &reply, &err);
    if (rc == DBK_ESTOPPED) {
        calling->stopped = true;
    } else if (rc < 0) {
        end(calling, rc == DBK_ENOTFOUND || rc == DBK_EFORMAT ? DBK_SAGA_BROKEN : DBK_SAGA_AGAIN,
            err.message);
    } else {
        enum dbk_saga_outcome outcome = outcome_of_status(status);
        (void)snprintf(why, sizeof(why), "%s answered %u", target->url, status);
        end(calling, outcome, outcome == DBK_SAGA_SUCCEEDED ? NULL : why);
        keep_reply(calling, dbk_buf_slice(&reply));
    }
    dbk_buf_release(&reply);
}

static void make_call(struct calling *calling)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_arena arena;
    dbk_arena_init(&arena, DBK_SAGA_JSON_SIZE_MAX);
    struct dbk_slice text = dbk_slice_of(calling->job->call);
    int rc = dbk_json_parse(calling->json, text, &root, NULL);
    if (rc == DBK_OK)
        rc = dbk_json_keep(root, text, &arena, &root); /* the reply is parsed yet */
    bool room = rc != DBK_ENOMEM;
    const struct dbk_json_node *command = rc < 0 ? NULL : dbk_json_member(root, "command");
    const struct dbk_json_node *http = rc < 0 ? NULL : dbk_json_member(root, "http");
    const struct dbk_json_node *body = rc < 0 ? NULL : dbk_json_member(root, "body");
    if (command != NULL && command->kind == DBK_JSON_STRING)
        do_command(calling, command->text, body == NULL ? DBK_SLICE_LITERAL("{}") : body->raw);
    else if (http != NULL && http->kind == DBK_JSON_STRING &&
             dbk_json_member(root, "path") != NULL && dbk_json_member(root, "method") != NULL)
        do_http(calling, root, http->text);
    else if (room)
        end(calling, DBK_SAGA_BROKEN, "its call is no command and no request");
    else
        no_room(calling);
    dbk_arena_release(&arena);
}

/* ---- The callers ---- */

static struct dbk_saga_job *next_job(struct dbk_sagas *sagas)
{
    (void)pthread_mutex_lock(&sagas->job_lock);
    while (sagas->jobs == NULL && !sagas->callers_end)
        (void)pthread_cond_wait(&sagas->job_there, &sagas->job_lock);
    struct dbk_saga_job *job = sagas->callers_end ? NULL : sagas->jobs;
    if (job != NULL) {
        sagas->jobs = job->next;
        if (sagas->jobs == NULL)
            sagas->jobs_end = &sagas->jobs;
    }
    (void)pthread_mutex_unlock(&sagas->job_lock);
    return job;
}

static void hand_over(struct dbk_saga *saga, struct dbk_saga_done *done)
{
    (void)pthread_mutex_lock(&saga->done_lock);
    *saga->done_end = done;
    saga->done_end = &done->next;
    (void)pthread_mutex_unlock(&saga->done_lock);
    saga->calls--;
    dbk_store_wake(saga->sagas->options.store);
}

static void do_job(struct calling *calling)
{
    struct dbk_saga_job *job = calling->job;
    calling->done = job->done;
    calling->stopped = false;
    make_call(calling);
    if (calling->stopped) {
        job->saga->calls--;
        return;
    }
    job->done = NULL;
    hand_over(job->saga, calling->done);
}

static void *call_all(void *context)
{
    struct dbk_saga_caller *caller = context;
    struct calling calling = {.json = caller->json, .http = caller->http};
    while ((calling.job = next_job(caller->sagas)) != NULL) {
        do_job(&calling);
        dbk_saga_job_free(calling.job);
    }
    return NULL;
}

static void release_caller(struct dbk_saga_caller *caller)
{
    dbk_http_session_free(caller->http);
    dbk_json_free(caller->json);
}

static int start_caller(struct dbk_sagas *sagas, struct dbk_error *err)
{
    struct dbk_saga_caller *caller = &sagas->callers[sagas->caller_count];
    *caller = (struct dbk_saga_caller){.sagas = sagas,
                                       .json = dbk_json_create(DBK_SAGA_JSON_SIZE_MAX),
                                       .http = dbk_http_session_create()};
    int rc = caller->json == NULL || caller->http == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "out of memory starting sagas")
                 : DBK_OK;
    int failure = rc < 0 ? 0 : pthread_create(&caller->thread, NULL, call_all, caller);
    if (failure != 0)
        rc = dbk_error_set_errno(err, failure, "cannot start a thread for sagas' calls");
    if (rc < 0)
        release_caller(caller);
    else
        sagas->caller_count++;
    return rc;
}

int dbk_saga_callers_start(struct dbk_sagas *sagas, struct dbk_error *err)
{
    int rc = DBK_OK;
    sagas->callers = dbk_alloc_zero(CALLERS, sizeof(*sagas->callers));
    if (sagas->callers == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory starting sagas");
    while (rc == DBK_OK && sagas->caller_count < CALLERS)
        rc = start_caller(sagas, err);
    return rc;
}

void dbk_saga_callers_stop(struct dbk_sagas *sagas)
{
    (void)pthread_mutex_lock(&sagas->job_lock);
    sagas->callers_end = true;
    (void)pthread_cond_broadcast(&sagas->job_there);
    (void)pthread_mutex_unlock(&sagas->job_lock);
    for (size_t i = 0; i < sagas->caller_count; i++) {
        (void)pthread_join(sagas->callers[i].thread, NULL);
        release_caller(&sagas->callers[i]);
    }
    sagas->caller_count = 0;
    dbk_free(sagas->callers);
    sagas->callers = NULL;
    for (struct dbk_saga_job *job = sagas->jobs, *next; job != NULL; job = next) {
        next = job->next;
        dbk_saga_job_free(job);
    }
    sagas->jobs = NULL;
    sagas->jobs_end = &sagas->jobs;
}

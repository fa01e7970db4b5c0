/* SPDX-License-Identifier: Apache-2.0 */
/* Forgetting: POST /subjects/{subject}/forget, and /forgotten with what became of it. */
#include "server/handlers.h"

#include "forget/forget.h"

static struct dbk_forget *forget_of(const struct dbk_api_call *call)
{
    return dbk_engine_forget(call->engine);
}

/* ---- What was forgotten ---- */

static const char *state_of(const struct dbk_forget_status *status)
{
    if (status->erased != 0)
        return "final";
    return status->purged == 0 ? "purging" : "waiting for an epoch";
}

struct listing {
    struct dbk_api_call *call;
    const char *comma;
};

static void put_key(struct dbk_buf *out, bool *first, const struct dbk_uuid *key)
{
    dbk_json_write_key(out, first, "key");
    dbk_buf_append_char(out, '"');
    for (size_t i = 0; i < DBK_UUID_SIZE; i++)
        dbk_buf_append_format(out, "%02x", key->bytes[i]);
    dbk_buf_append_char(out, '"');
}

static int put_status(const struct dbk_forget_status *status, void *context)
{
    struct listing *listing = context;
    struct dbk_buf *out = &listing->call->scratch->out;
    bool first = true;
    dbk_buf_append_text(out, listing->comma);
    listing->comma = ",";
    dbk_buf_append_char(out, '{');
    put_key(out, &first, &status->key);
    dbk_put_text(out, &first, "mode", dbk_slice_of(dbk_forget_mode_text(status->mode)));
    dbk_put_time(out, &first, "at", status->at_us);
    dbk_put_text(out, &first, "state", dbk_slice_of(state_of(status)));
    dbk_put_u64(out, &first, "forgotten", status->position);
    if (status->purged != 0)
        dbk_put_u64(out, &first, "purged", status->purged);
    if (status->erased != 0)
        dbk_put_u64(out, &first, "erased", status->erased);
    if (status->mode == DBK_FORGET_ERASE) {
        dbk_put_bool(out, &first, "rotated", status->rotated);
        dbk_put_bool(out, &first, "ciphertext_removed", status->ciphertext_removed);
    }
    if (status->what.size > 0) {
        dbk_json_write_key(out, &first, "what");
        dbk_buf_append(out, status->what);
    }
    dbk_buf_append_char(out, '}');
    return out->rc;
}

int dbk_api_forgotten(struct dbk_api_call *call, struct dbk_error *err)
{
    struct listing listing = {call, ""};
    struct dbk_forget_counts counts;
    struct dbk_buf *out = &call->scratch->out;
    bool first = false;
    dbk_forget_counts(forget_of(call), &counts);
    dbk_buf_append_text(out, "{\"forgotten\":[");
    int rc = dbk_forget_list(forget_of(call), put_status, &listing, err);
    dbk_buf_append_char(out, ']');
    dbk_put_u64(out, &first, "waiting", counts.waiting);
    dbk_put_u64(out, &first, "waiting_for_epoch", counts.purged);
    if (counts.step[0] != '\0')
        dbk_put_text(out, &first, "step", dbk_slice_of(counts.step));
    if (counts.failure.code != DBK_OK)
        dbk_put_text(out, &first, "failure", dbk_slice_of(counts.failure.message));
    dbk_buf_append_char(out, '}');
    return rc < 0 ? rc : dbk_call_send_json(call, 200);
}

static int read_key(const struct dbk_api_call *call, struct dbk_uuid *key_out,
                    struct dbk_error *err)
{
    struct dbk_slice text = call->parts[1];
    return dbk_key_id_parse(text, key_out)
               ? DBK_OK
               : dbk_error_set(err, DBK_EINVAL,
                               "\"%.*s\" is no key's id, which has 32 hexadecimal digits",
                               (int)(text.size < 80 ? text.size : 80), text.data);
}

int dbk_api_forgotten_one(struct dbk_api_call *call, struct dbk_error *err)
{
    struct listing listing = {call, ""};
    struct dbk_uuid key;
    int rc = read_key(call, &key, err);
    if (rc == DBK_OK)
        rc = dbk_forget_show(forget_of(call), &key, put_status, &listing, err);
    return rc < 0 ? rc : dbk_call_send_json(call, 200);
}

int dbk_api_certificate(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_uuid key;
    int rc = read_key(call, &key, err);
    if (rc == DBK_OK)
        rc = dbk_forget_certificate(forget_of(call), &key, &call->scratch->out, err);
    return rc < 0 ? rc : dbk_call_send(call, 200, "text/plain; charset=utf-8");
}

/* ---- Forgetting ---- */

struct running {
    struct dbk_api_call *call;
    bool lines;
};

static bool tell(void *context, const struct dbk_forget_progress *progress)
{
    struct running *running = context;
    struct dbk_buf *out = &running->call->scratch->out;
    if (!running->lines)
        return dbk_call_wait(running->call) >= 0;
    bool first = true;
    dbk_buf_append_char(out, '{');
    dbk_put_text(out, &first, "step", dbk_slice_of(progress->step));
    dbk_put_u64(out, &first, "subjects", progress->subjects);
    dbk_buf_append_text(out, "}\n");
    return dbk_call_flush(running->call) >= 0;
}

static int run_job(struct dbk_api_call *call, bool now, bool lines, struct dbk_error *err)
{
    struct running running = {.call = call, .lines = lines};
    return dbk_forget_run(
        forget_of(call),
        &(struct dbk_forget_run){.now = now, .progress = tell, .context = &running}, err);
}

/* The job alone: what waits is done, as far as it can be. */
int dbk_api_forgotten_run(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_forget_counts counts;
    struct dbk_buf *out = &call->scratch->out;
    bool now = false;
    bool first = true;
    bool lines = dbk_call_accepts(call, "application/x-ndjson");
    int rc = dbk_engine_check_writer(call->engine, err);
    if (rc == DBK_OK)
        rc = dbk_call_flag(call, "now", &now, err);
    if (rc == DBK_OK && lines)
        rc = dbk_call_begin(call, 200, "application/x-ndjson") < 0 ? DBK_EIO : DBK_OK;
    if (rc == DBK_OK)
        rc = run_job(call, now, lines, err);
    if (rc < 0)
        return rc;
    dbk_forget_counts(forget_of(call), &counts);
    dbk_buf_append_char(out, '{');
    dbk_put_u64(out, &first, "waiting", counts.waiting);
    dbk_put_u64(out, &first, "waiting_for_epoch", counts.purged);
    dbk_buf_append_char(out, '}');
    return dbk_api_finish(call, lines, rc);
}

int dbk_api_forget(struct dbk_api_call *call, struct dbk_error *err)
{
    struct listing listing = {call, ""};
    struct dbk_uuid key;
    bool tombstone = false;
    bool now = false;
    bool wait = false;
    int rc = dbk_engine_check_writer(call->engine, err);
    if (rc == DBK_OK)
        rc = dbk_call_flag(call, "tombstone", &tombstone, err);
    if (rc == DBK_OK)
        rc = dbk_call_flag(call, "now", &now, err);
    if (rc == DBK_OK)
        rc = dbk_call_flag(call, "wait", &wait, err);
    if (rc == DBK_OK)
        rc = dbk_forget_subject(forget_of(call),
                                &(struct dbk_forget_request){
                                    .subject = call->parts[1],
                                    .mode = tombstone ? DBK_FORGET_TOMBSTONE : DBK_FORGET_ERASE},
                                &key, err);
    if (rc < 0)
        return rc;
    /* The person is forgotten, whatever becomes of the job: /forgotten says why it stands. */
    bool done = (now || wait) && run_job(call, now, false, NULL) == DBK_OK;
    rc = dbk_forget_show(forget_of(call), &key, put_status, &listing, err);
    return rc < 0 ? rc : dbk_call_send_json(call, done ? 200 : 202);
}

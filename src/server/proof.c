/* SPDX-License-Identifier: Apache-2.0 */
/* That the book was not rewritten: GET /proof/checkpoint, /proof/inclusion, /proof/consistency and
   /proof/key. Each as text for others' tools where text/plain is asked for. */
#include "base/base64.h"
#include "server/guard.h"

static bool wants_text(const struct dbk_api_call *call)
{
    return dbk_call_accepts(call, "text/plain");
}

static int send_text(struct dbk_api_call *call, struct dbk_error *err)
{
    if (call->scratch->out.rc < 0)
        return dbk_error_set(err, call->scratch->out.rc, "out of memory writing a proof");
    return dbk_call_send(call, 200, "text/plain; charset=utf-8");
}

static void put_base64(struct dbk_buf *out, const struct dbk_hash *hash)
{
    dbk_buf_append_char(out, '"');
    dbk_base64_encode(dbk_slice(hash->bytes, sizeof(hash->bytes)), out);
    dbk_buf_append_char(out, '"');
}

static void put_hash(struct dbk_buf *out, bool *first, const char *key, const struct dbk_hash *hash)
{
    dbk_json_write_key(out, first, key);
    put_base64(out, hash);
}

static void put_path(struct dbk_buf *out, bool *first, const struct dbk_merkle_path *path)
{
    dbk_json_write_key(out, first, "path");
    dbk_buf_append_char(out, '[');
    for (size_t i = 0; i < path->count; i++) {
        if (i > 0)
            dbk_buf_append_char(out, ',');
        put_base64(out, &path->hashes[i]);
    }
    dbk_buf_append_char(out, ']');
}

int dbk_api_proof_checkpoint(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_buf *out = &call->scratch->out;
    struct dbk_buf note;
    uint64_t size = 0;
    bool first = true;
    dbk_buf_init(&note, DBK_ENGINE_TEXT_SIZE_MAX);
    int rc = dbk_proof_checkpoint(dbk_engine_proof(call->engine), &note, &size, err);
    if (rc == DBK_OK && wants_text(call)) {
        dbk_buf_append(out, dbk_buf_slice(&note));
        rc = send_text(call, err);
    } else if (rc == DBK_OK) {
        dbk_buf_append_char(out, '{');
        dbk_put_u64(out, &first, "size", size);
        dbk_put_text(out, &first, "checkpoint", dbk_buf_slice(&note));
        dbk_buf_append_char(out, '}');
        rc = dbk_call_send_json(call, 200);
    }
    dbk_buf_release(&note);
    return rc;
}

int dbk_api_proof_key(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_buf *out = &call->scratch->out;
    struct dbk_buf key;
    bool first = true;
    dbk_buf_init(&key, DBK_ENGINE_TEXT_SIZE_MAX);
    int rc = dbk_proof_key(dbk_engine_proof(call->engine), &key, err);
    if (rc == DBK_OK && wants_text(call)) {
        dbk_buf_append(out, dbk_buf_slice(&key));
        dbk_buf_append_char(out, '\n');
        rc = send_text(call, err);
    } else if (rc == DBK_OK) {
        dbk_buf_append_char(out, '{');
        dbk_put_text(out, &first, "key", dbk_buf_slice(&key));
        dbk_buf_append_char(out, '}');
        rc = dbk_call_send_json(call, 200);
    }
    dbk_buf_release(&key);
    return rc;
}

/* A proof has all of its event, which a key must be allowed to read. */
static int judge(const struct dbk_api_call *call, uint64_t position, struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    if (!dbk_guard_asks(call))
        return DBK_OK;
    int rc = dbk_cursor_open(dbk_engine_store(call->engine),
                             &(struct dbk_filter){.position_min = position,
                                                  .position_max = position,
                                                  .held = true,
                                                  .hidden = true,
                                                  .removed = true,
                                                  .raw = true},
                             &cursor, err);
    if (rc == DBK_OK)
        rc = dbk_cursor_next(cursor, &event, err);
    if (rc >= 0)
        rc = dbk_guard_event(call, rc == 1 ? event.stream : (struct dbk_slice){0}, err);
    dbk_cursor_free(cursor);
    return rc;
}

/* The event as it is stored: what is sealed is not opened. */
static int put_stored(struct dbk_api_call *call, bool *first, uint64_t position,
                      struct dbk_error *err)
{
    struct dbk_buf *out = &call->scratch->out;
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    int rc = dbk_cursor_open(dbk_engine_store(call->engine),
                             &(struct dbk_filter){.position_min = position,
                                                  .position_max = position,
                                                  .hidden = true,
                                                  .removed = true,
                                                  .raw = true},
                             &cursor, err);
    if (rc == DBK_OK)
        rc = dbk_cursor_next(cursor, &event, err);
    if (rc > 0) {
        dbk_json_write_key(out, first, "event");
        dbk_put_event(out, &event, (struct dbk_slice){0});
    }
    dbk_cursor_free(cursor);
    return rc < 0 ? rc : DBK_OK;
}

static int put_inclusion(struct dbk_api_call *call, const struct dbk_proof_inclusion *inclusion,
                         struct dbk_error *err)
{
    struct dbk_buf *out = &call->scratch->out;
    struct dbk_buf text;
    bool first = true;
    dbk_buf_init(&text, SIZE_MAX / 2);
    dbk_buf_append_char(out, '{');
    dbk_put_u64(out, &first, "position", inclusion->position);
    dbk_put_u64(out, &first, "size", inclusion->size);
    dbk_put_u64(out, &first, "index", inclusion->position - 1);
    put_hash(out, &first, "leaf", &inclusion->leaf);
    put_hash(out, &first, "root", &inclusion->root);
    put_path(out, &first, &inclusion->path);
    if (inclusion->checkpoint.size > 0) {
        dbk_put_text(out, &first, "checkpoint", dbk_buf_slice(&inclusion->checkpoint));
        dbk_proof_put_inclusion(&text, inclusion);
        dbk_put_text(out, &first, "proof", dbk_buf_slice(&text));
    }
    int rc = put_stored(call, &first, inclusion->position, err);
    dbk_buf_append_char(out, '}');
    if (rc == DBK_OK && text.rc < 0)
        rc = dbk_error_set(err, text.rc, "out of memory writing a proof");
    dbk_buf_release(&text);
    return rc < 0 ? rc : dbk_call_send_json(call, 200);
}

/* A parameter that must be there. */
static int need_number(const struct dbk_api_call *call, const char *name, uint64_t *value_out,
                       struct dbk_error *err)
{
    struct dbk_slice text;
    return dbk_call_text(call, name, &text)
               ? dbk_call_number(call, name, value_out, err)
               : dbk_error_set(err, DBK_EINVAL, "the query parameter %s is missing", name);
}

int dbk_api_proof_inclusion(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_proof_inclusion inclusion;
    uint64_t position = 0;
    uint64_t size = 0;
    dbk_proof_inclusion_init(&inclusion);
    int rc = need_number(call, "position", &position, err);
    if (rc == DBK_OK)
        rc = dbk_call_number(call, "size", &size, err);
    if (rc == DBK_OK)
        rc = judge(call, position, err);
    if (rc == DBK_OK)
        rc = dbk_proof_inclusion(dbk_engine_proof(call->engine), position, size, &inclusion, err);
    if (rc == DBK_OK && !wants_text(call)) {
        rc = put_inclusion(call, &inclusion, err);
    } else if (rc == DBK_OK && inclusion.checkpoint.size == 0) {
        rc = dbk_error_set(err, DBK_ENOTFOUND,
                           "no checkpoint of size %ju is kept; without a size the newest is taken",
                           (uintmax_t)inclusion.size);
    } else if (rc == DBK_OK) {
        dbk_proof_put_inclusion(&call->scratch->out, &inclusion);
        rc = send_text(call, err);
    }
    dbk_proof_inclusion_release(&inclusion);
    return rc;
}

int dbk_api_proof_consistency(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_buf *out = &call->scratch->out;
    struct dbk_proof_consistency consistency;
    uint64_t from = 0;
    uint64_t to = 0;
    bool first = true;
    int rc = need_number(call, "from", &from, err);
    if (rc == DBK_OK)
        rc = dbk_call_number(call, "to", &to, err);
    if (rc == DBK_OK)
        rc = dbk_proof_consistency(dbk_engine_proof(call->engine), from, to, &consistency, err);
    if (rc < 0)
        return rc;
    dbk_buf_append_char(out, '{');
    dbk_put_u64(out, &first, "from", consistency.from);
    dbk_put_u64(out, &first, "to", consistency.to);
    put_hash(out, &first, "from_root", &consistency.from_root);
    put_hash(out, &first, "to_root", &consistency.to_root);
    put_path(out, &first, &consistency.path);
    dbk_buf_append_char(out, '}');
    return dbk_call_send_json(call, 200);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What streams keep: GET, POST /streams/{stream}/rules; DELETE /streams/{stream}; POST /compact
   and /upgrade. */
#include <time.h>

#include "server/handlers.h"

/* Segments of which less can be removed are left alone, unless asked. */
#define PERCENT_DEFAULT 10
/* Bytes a second, so that others have most of the disk. */
#define RATE_DEFAULT ((uint64_t)64 << 20)
#define FULL_WAIT_US (INT64_C(1) * 1000000)
/* How often one that sleeps looks whether its client is still there. */
#define LOOK_US (INT64_C(100) * 1000)

static int put_rules(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_stream_info info;
    struct dbk_buf *out = &call->scratch->out;
    struct dbk_slice stream = call->parts[1];
    bool first = true;
    int rc = dbk_store_stream_info(dbk_engine_store(call->engine), stream, &info, err);
    if (rc == DBK_OK && info.version == 0)
        rc = dbk_error_set(err, DBK_ENOTFOUND, "there is no stream %.*s", DBK_SLICE_ARGS(stream));
    if (rc < 0)
        return rc;
    dbk_buf_append_char(out, '{');
    dbk_put_text(out, &first, "stream", stream);
    dbk_put_u64(out, &first, "version", info.version);
    dbk_put_u64(out, &first, "first_version", info.first);
    dbk_put_bool(out, &first, "exists", info.exists);
    dbk_put_bool(out, &first, "closed", info.rules.closed);
    if (info.rules.max_age_us > 0)
        dbk_put_u64(out, &first, "max_age_s", (uint64_t)(info.rules.max_age_us / 1000000));
    if (info.rules.max_count > 0)
        dbk_put_u64(out, &first, "max_count", info.rules.max_count);
    if (info.rules.truncate_before > 0)
        dbk_put_u64(out, &first, "truncate_before", info.rules.truncate_before);
    dbk_buf_append_char(out, '}');
    return dbk_call_send_json(call, 200);
}

int dbk_api_stream_rules(struct dbk_api_call *call, struct dbk_error *err)
{
    return put_rules(call, err);
}

static int read_count(const struct dbk_json_node *member, uint64_t *count_out,
                      struct dbk_error *err)
{
    if (member->kind != DBK_JSON_INTEGER || member->integer < 1)
        return dbk_error_set(err, DBK_EINVAL, "%.*s is a number from 1 on",
                             DBK_SLICE_ARGS(member->key));
    *count_out = (uint64_t)member->integer;
    return DBK_OK;
}

static int read_rules(const struct dbk_json_node *root, struct dbk_stream_rules *rules,
                      struct dbk_error *err)
{
    int rc = root->kind == DBK_JSON_OBJECT
                 ? DBK_OK
                 : dbk_error_set(err, DBK_EINVAL, "the body is no object of rules");
    const struct dbk_json_node *member = dbk_json_first(root);
    for (uint32_t i = 0; rc == DBK_OK && i < root->count; i++, member = dbk_json_sibling(member)) {
        if (dbk_slice_equal_text(member->key, "max_count"))
            rc = read_count(member, &rules->max_count, err);
        else if (dbk_slice_equal_text(member->key, "truncate_before"))
            rc = read_count(member, &rules->truncate_before, err);
        else if (!dbk_slice_equal_text(member->key, "max_age"))
            rc = dbk_error_set(err, DBK_EINVAL,
                               "rules are max_age, max_count and truncate_before, not \"%.*s\"",
                               DBK_SLICE_ARGS(member->key));
        else if (member->kind != DBK_JSON_STRING ||
                 !dbk_duration_parse(member->text, &rules->max_age_us) || rules->max_age_us <= 0)
            rc = dbk_error_set(err, DBK_EINVAL, "max_age is a duration, as \"30 d\" or \"12 h\"");
    }
    return rc;
}

int dbk_api_stream_set_rules(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_stream_rules rules = {0};
    struct dbk_append_result result;
    const struct dbk_json_node *root = NULL;
    struct dbk_error why = {0};
    int rc = dbk_engine_check_writer(call->engine, err);
    if (rc < 0)
        return rc;
    rc = dbk_json_parse(call->scratch->json, call->request->body, &root, &why);
    if (rc < 0)
        return dbk_error_set(err, rc, "the body: %s", why.message);
    rc = read_rules(root, &rules, err);
    if (rc == DBK_OK)
        rc = dbk_store_set_rules(dbk_engine_store(call->engine), call->parts[1], &rules, &result,
                                 err);
    if (rc < 0)
        return rc;
    call->position = result.last_position;
    return put_rules(call, err);
}

int dbk_api_stream_delete(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_append_result result;
    int64_t expected = DBK_EXPECT_ANY;
    bool close = false;
    int rc = dbk_engine_check_writer(call->engine, err);
    if (rc == DBK_OK)
        rc = dbk_api_expected(call, &expected, err);
    if (rc == DBK_OK)
        rc = dbk_call_flag(call, "close", &close, err);
    /* That it exists is looked at anyhow. */
    if (rc == DBK_OK)
        rc = dbk_store_delete_stream(dbk_engine_store(call->engine), call->parts[1], expected,
                                     close, &result, err);
    if (rc == DBK_ECONFLICT)
        return dbk_call_problem(call, 412, err, NULL);
    if (rc < 0)
        return rc;
    call->position = result.last_position;
    return put_rules(call, err);
}

/* ---- Compaction ---- */

struct compacting {
    struct dbk_api_progress progress;
    struct dbk_os *os;
    uint64_t rate; /* bytes a second */
    int64_t begun_us;
    bool lines;
};

static void sleep_us(int64_t duration_us)
{
    struct timespec time = {duration_us / 1000000, duration_us % 1000000 * 1000};
    if (duration_us > 0)
        (void)nanosleep(&time, NULL);
}

static bool is_gone(struct compacting *compacting, uint64_t done, uint64_t total)
{
    struct dbk_api_call *call = compacting->progress.call;
    return compacting->lines ? !dbk_api_tell(&compacting->progress, done, total)
                             : dbk_call_wait(call) < 0;
}

static int step(void *context, uint64_t done, uint64_t total, uint64_t read)
{
    struct compacting *compacting = context;
    int64_t due_us = (int64_t)((double)read / (double)compacting->rate * 1e6);
    for (;;) {
        int64_t passed_us = compacting->os->monotonic_us(compacting->os) - compacting->begun_us;
        if (is_gone(compacting, done, total))
            return DBK_ESTOPPED;
        if (passed_us >= due_us)
            return DBK_OK;
        sleep_us(due_us - passed_us < LOOK_US ? due_us - passed_us : LOOK_US);
    }
}

/* Waits until there may be space again; false: the client is gone. */
static bool wait_for_space(struct compacting *compacting, const struct dbk_error *why)
{
    struct dbk_api_call *call = compacting->progress.call;
    dbk_buf_append_text(&call->scratch->out, "{\"waiting\":");
    dbk_json_write_string(&call->scratch->out, dbk_slice_of(why->message));
    dbk_buf_append_text(&call->scratch->out, "}\n");
    if (dbk_call_flush(call) < 0)
        return false;
    sleep_us(FULL_WAIT_US);
    return dbk_call_wait(call) >= 0;
}

typedef int (*rewrite_fn)(struct dbk_engine *engine, const struct dbk_store_compaction *options,
                          struct dbk_store_compacted *result_out, struct dbk_error *err);

static int rewrite(struct compacting *compacting, rewrite_fn how, unsigned percent,
                   struct dbk_store_compacted *sum, struct dbk_error *err)
{
    struct dbk_engine *engine = compacting->progress.call->engine;
    for (;;) {
        struct dbk_store_compacted compacted;
        compacting->begun_us = compacting->os->monotonic_us(compacting->os);
        int rc =
            how(engine, &(struct dbk_store_compaction){percent, step, compacting}, &compacted, err);
        sum->segments += compacted.segments;
        sum->removed += compacted.removed;
        sum->dropped += compacted.dropped;
        sum->size_before += compacted.size_before;
        sum->size += compacted.size;
        if (rc != DBK_EFULL || !compacting->lines)
            return rc;
        if (!wait_for_space(compacting, err))
            return DBK_ESTOPPED;
    }
}

/* Compacts or upgrades, and says what came of it. */
static int answer(struct dbk_api_call *call, rewrite_fn how, uint64_t percent,
                  struct dbk_error *err)
{
    struct dbk_store_compacted sum = {0};
    struct dbk_buf *out = &call->scratch->out;
    struct compacting compacting = {.progress = {.call = call},
                                    .os = dbk_engine_os(call->engine),
                                    .rate = RATE_DEFAULT,
                                    .lines = dbk_call_accepts(call, "application/x-ndjson")};
    bool first = true;
    int rc = dbk_engine_check_writer(call->engine, err);
    if (rc == DBK_OK)
        rc = dbk_call_number(call, "rate", &compacting.rate, err);
    if (rc == DBK_OK && compacting.rate == 0)
        rc = dbk_error_set(err, DBK_EINVAL, "rate: bytes a second, from 1 on");
    if (rc == DBK_OK && compacting.lines)
        rc = dbk_call_begin(call, 200, "application/x-ndjson") < 0 ? DBK_EIO : DBK_OK;
    if (rc == DBK_OK)
        rc = rewrite(&compacting, how, (unsigned)percent, &sum, err);
    if (rc == DBK_ESTOPPED && err != NULL && err->code == DBK_OK)
        (void)dbk_error_set(err, rc, "it was interrupted");
    if (rc < 0)
        return rc;
    dbk_buf_append_char(out, '{');
    dbk_put_u64(out, &first, "segments", sum.segments);
    dbk_put_u64(out, &first, "removed", sum.removed);
    dbk_put_u64(out, &first, "erased", sum.dropped);
    dbk_put_u64(out, &first, "bytes_before", sum.size_before);
    dbk_put_u64(out, &first, "bytes", sum.size);
    dbk_buf_append_char(out, '}');
    return dbk_api_finish(call, compacting.lines, rc);
}

int dbk_api_compact(struct dbk_api_call *call, struct dbk_error *err)
{
    uint64_t percent = PERCENT_DEFAULT;
    int rc = dbk_call_number(call, "percent", &percent, err);
    if (rc == DBK_OK && percent > 100)
        rc = dbk_error_set(err, DBK_EINVAL, "percent: %ju is more than all", (uintmax_t)percent);
    return rc < 0 ? rc : answer(call, dbk_engine_compact, percent, err);
}

static int upgrade(struct dbk_engine *engine, const struct dbk_store_compaction *options,
                   struct dbk_store_compacted *result_out, struct dbk_error *err)
{
    return dbk_store_upgrade(dbk_engine_store(engine), options, result_out, err);
}

int dbk_api_upgrade(struct dbk_api_call *call, struct dbk_error *err)
{
    return answer(call, upgrade, 0, err);
}

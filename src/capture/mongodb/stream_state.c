/* SPDX-License-Identifier: Apache-2.0 */
/* Where a change stream is, as the event Captured keeps it: docs/format/capture.md. */
#include <inttypes.h>
#include <stdio.h>

#include "base/uuid.h"
#include "capture/mongodb/stream.h"

/* ---- Times ---- */

/* The digits of a token are of bytes that sort as what they stand for: 0x82 and a timestamp. */
#define TOKEN_KIND "82"
#define TOKEN_DIGITS 16

void dbk_cluster_time_format(dbk_cluster_time time, char out[DBK_CLUSTER_TIME_TEXT_SIZE])
{
    (void)snprintf(out, DBK_CLUSTER_TIME_TEXT_SIZE, "%" PRIu32 ".%" PRIu32, (uint32_t)(time >> 32),
                   (uint32_t)time);
}

static int digit_of(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

static bool parse_token(struct dbk_slice text, dbk_cluster_time *time_out)
{
    size_t kind = strlen(TOKEN_KIND);
    *time_out = 0;
    if (text.size < kind + TOKEN_DIGITS || memcmp(text.data, TOKEN_KIND, kind) != 0)
        return false;
    for (size_t i = kind; i < text.size; i++) {
        int digit = digit_of(text.data[i]);
        if (digit < 0)
            return false;
        if (i < kind + TOKEN_DIGITS)
            *time_out = *time_out << 4 | (dbk_cluster_time)digit;
    }
    return true;
}

bool dbk_cluster_time_parse(struct dbk_slice text, dbk_cluster_time *time_out)
{
    uint64_t seconds = 0;
    uint64_t count = 0;
    const char *dot = text.size == 0 ? NULL : memchr(text.data, '.', text.size);
    if (dot == NULL)
        return parse_token(text, time_out);
    size_t size = (size_t)(dot - text.data);
    if (!dbk_slice_to_u64(dbk_slice(text.data, size), &seconds) ||
        !dbk_slice_to_u64(dbk_slice(dot + 1, text.size - size - 1), &count) ||
        seconds > UINT32_MAX || count > UINT32_MAX)
        return false;
    *time_out = seconds << 32 | count;
    return true;
}

bool dbk_cluster_time_of_token(const bson_t *token, dbk_cluster_time *time_out)
{
    bson_iter_t data;
    uint32_t size = 0;
    if (!bson_iter_init_find(&data, token, "_data") || !BSON_ITER_HOLDS_UTF8(&data))
        return false;
    const char *text = bson_iter_utf8(&data, &size);
    return parse_token(dbk_slice(text, size), time_out);
}

dbk_cluster_time dbk_cluster_time_of(const bson_t *document, const char *name)
{
    bson_iter_t at;
    uint32_t seconds = 0;
    uint32_t count = 0;
    if (!bson_iter_init_find(&at, document, name) || !BSON_ITER_HOLDS_TIMESTAMP(&at))
        return 0;
    bson_iter_timestamp(&at, &seconds, &count);
    return (dbk_cluster_time)seconds << 32 | count;
}

/* ---- Writing ---- */

static const char *const phases[] = {[DBK_STREAM_NEW] = "new",
                                     [DBK_STREAM_READ] = "read",
                                     [DBK_STREAM_SWEEP] = "sweep",
                                     [DBK_STREAM_DONE] = "done"};

static void put_document(const char *name, const bson_t *document, struct dbk_buf *out)
{
    dbk_buf_append_format(out, ",\"%s\":", name);
    char *text = document == NULL ? NULL : bson_as_canonical_extended_json(document, NULL);
    dbk_buf_append_text(out, text == NULL ? "null" : text);
    bson_free(text);
}

static void put_table(const struct dbk_stream_table *table, struct dbk_buf *out)
{
    dbk_json_write_string(out, dbk_slice_of(table->documents.table->name));
    dbk_buf_append_format(out, ":{\"phase\":\"%s\"", phases[table->phase]);
    if (table->phase != DBK_STREAM_DONE) {
        dbk_buf_append_format(out, ",\"until\":%" PRIu64 ",\"swept\":%" PRIu64 ",\"rows\":%" PRIu64,
                              table->until, table->swept, table->rows);
        put_document("cursor", table->cursor, out);
    }
    dbk_buf_append_char(out, '}');
}

void dbk_stream_put_state(const struct dbk_stream *stream, struct dbk_buf *out)
{
    char time[DBK_CLUSTER_TIME_TEXT_SIZE];
    char passed[DBK_CLUSTER_TIME_TEXT_SIZE];
    bool first = true;
    dbk_cluster_time_format(stream->time, time);
    dbk_cluster_time_format(stream->passed, passed);
    dbk_buf_append_format(
        out, "{\"kind\":\"mongodb\",\"incarnation\":\"%s\",\"set\":", stream->incarnation);
    dbk_json_write_string(out, dbk_slice_of(stream->set));
    dbk_buf_append_format(out,
                          ",\"position\":\"%s\",\"time\":\"%s\",\"same\":%" PRIu64 ",\"ended\":%s",
                          passed, time, stream->same, stream->ended ? "true" : "false");
    put_document("token", stream->token, out);
    put_document("event", stream->at_event ? stream->token : stream->event_token, out);
    dbk_buf_append_format(out, ",\"term\":%" PRIu64, stream->term);
    dbk_buf_append_text(out, ",\"tables\":{");
    for (size_t i = 0; i < stream->table_count; i++) {
        if (!stream->tables[i].captured)
            continue;
        if (!first)
            dbk_buf_append_char(out, ',');
        first = false;
        put_table(&stream->tables[i], out);
    }
    dbk_buf_append_text(out, "}}");
}

/* ---- Reading ---- */

static struct dbk_slice text_of(const struct dbk_json_node *object, const char *key)
{
    const struct dbk_json_node *node = dbk_json_member(object, key);
    return node != NULL && node->kind == DBK_JSON_STRING ? node->text : (struct dbk_slice){0};
}

static uint64_t count_of(const struct dbk_json_node *object, const char *key)
{
    const struct dbk_json_node *node = dbk_json_member(object, key);
    return node != NULL && node->kind == DBK_JSON_INTEGER && node->integer > 0
               ? (uint64_t)node->integer
               : 0;
}

/* NULL where it is null or is not there. DBK_ECORRUPT: it is no document, or has not the member. */
static int read_document(const struct dbk_json_node *node, const char *member,
                         bson_t **document_out)
{
    if (node == NULL || node->kind == DBK_JSON_NULL)
        return DBK_OK;
    *document_out =
        bson_new_from_json((const uint8_t *)node->raw.data, (ssize_t)node->raw.size, NULL);
    return *document_out == NULL || !bson_has_field(*document_out, member) ? DBK_ECORRUPT : DBK_OK;
}

static int read_table(struct dbk_stream_table *table, const struct dbk_json_node *node)
{
    struct dbk_slice phase = text_of(node, "phase");
    bool known = false;
    for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
        if (!dbk_slice_equal_text(phase, phases[i]))
            continue;
        table->phase = (enum dbk_stream_phase)i;
        known = true;
    }
    table->until = count_of(node, "until");
    table->swept = count_of(node, "swept");
    table->rows = count_of(node, "rows");
    return known ? read_document(dbk_json_member(node, "cursor"), "id", &table->cursor)
                 : DBK_ECORRUPT;
}

static bool take_text(struct dbk_slice text, char *out, size_t size)
{
    if (text.size >= size)
        return false;
    (void)snprintf(out, size, "%.*s", DBK_SLICE_ARGS(text));
    return true;
}

static int parse(struct dbk_stream *stream, const struct dbk_json_node *root)
{
    const struct dbk_json_node *tables = dbk_json_member(root, "tables");
    const struct dbk_json_node *ended = dbk_json_member(root, "ended");
    dbk_cluster_time unused = 0;
    if (!dbk_slice_equal_text(text_of(root, "kind"), "mongodb") || tables == NULL ||
        text_of(root, "incarnation").size == 0 ||
        !take_text(text_of(root, "incarnation"), stream->incarnation,
                   sizeof(stream->incarnation)) ||
        !take_text(text_of(root, "set"), stream->set, sizeof(stream->set)) ||
        !dbk_cluster_time_parse(text_of(root, "position"), &stream->passed) ||
        !dbk_cluster_time_parse(text_of(root, "time"), &stream->time))
        return DBK_ECORRUPT;
    stream->same = count_of(root, "same");
    stream->ended = ended != NULL && ended->kind == DBK_JSON_TRUE;
    int rc = read_document(dbk_json_member(root, "token"), "_data", &stream->token);
    if (rc < 0 || stream->token == NULL || !dbk_cluster_time_of_token(stream->token, &unused))
        return DBK_ECORRUPT;
    /* One of a book that was made before there was `event` has none, and no `term`. */
    rc = read_document(dbk_json_member(root, "event"), "_data", &stream->event_token);
    if (rc < 0 ||
        (stream->event_token != NULL && !dbk_cluster_time_of_token(stream->event_token, &unused)))
        return DBK_ECORRUPT;
    stream->at_event =
        stream->event_token != NULL && bson_equal(stream->event_token, stream->token);
    stream->term = count_of(root, "term");
    for (size_t i = 0; i < stream->table_count && rc == DBK_OK; i++) {
        struct dbk_stream_table *table = &stream->tables[i];
        const struct dbk_json_node *node = dbk_json_member(tables, table->documents.table->name);
        if (node != NULL && table->captured)
            rc = read_table(table, node);
    }
    return rc;
}

int dbk_stream_read_state(struct dbk_stream *stream, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_os *os = stream->options.os;
    struct dbk_uuid uuid;
    struct dbk_slice state = stream->options.state;
    const char *name = stream->options.service->name;
    if (state.size > 0 && !stream->options.resnapshot) {
        if (dbk_json_parse(stream->json, state, &root, NULL) == DBK_OK &&
            parse(stream, root) == DBK_OK)
            return DBK_OK;
        return dbk_error_set(err, DBK_ECORRUPT,
                             "what the book keeps of capturing %s cannot be read: `daybook capture "
                             "resnapshot %s` begins anew",
                             name, name);
    }
    int rc = os->random(os, uuid.bytes, sizeof(uuid.bytes), err);
    if (rc == DBK_OK)
        dbk_uuid_format(&uuid, stream->incarnation);
    return rc;
}

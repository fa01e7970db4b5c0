/* SPDX-License-Identifier: Apache-2.0 */
/*
 * States, and what moves between them:
 *
 *     STATUS_LINE --take_status--> HEADERS --take_header--> HEADERS
 *     HEADERS --end_headers--> BODY_SIZED | BODY_OPEN | CHUNK_SIZE | DONE | STATUS_LINE (1xx)
 *     BODY_SIZED --take_body--> DONE;  BODY_OPEN --dbk_http_reply_end--> DONE
 *     CHUNK_SIZE --take_chunk_size--> CHUNK | TRAILERS
 *     CHUNK --take_body--> CHUNK_END --take_line--> CHUNK_SIZE;  TRAILERS --take_line--> DONE
 */
#include "cli/http_reply.h"

#include <strings.h>

void dbk_http_reply_init(struct dbk_http_reply *reply, dbk_http_body_fn body, void *context)
{
    *reply = (struct dbk_http_reply){.body = body, .context = context};
}

static int broken(struct dbk_error *err, const char *what)
{
    return dbk_error_set(err, DBK_EINVAL, "the server's answer is no HTTP/1.1: %s", what);
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static int take_status(struct dbk_http_reply *reply, struct dbk_slice line, struct dbk_error *err)
{
    if (line.size < 12 || !dbk_slice_starts_with(line, DBK_SLICE_LITERAL("HTTP/1.")) ||
        !is_digit(line.data[7]) || line.data[8] != ' ' || !is_digit(line.data[9]) ||
        !is_digit(line.data[10]) || !is_digit(line.data[11]) ||
        (line.size > 12 && line.data[12] != ' '))
        return broken(err, "a broken status line");
    reply->status = (line.data[9] - '0') * 100 + (line.data[10] - '0') * 10 + (line.data[11] - '0');
    if (reply->status < 100)
        return broken(err, "a status below 100");
    reply->state = DBK_HTTP_HEADERS;
    return DBK_OK;
}

static bool same_text(struct dbk_slice text, const char *lower)
{
    return text.size == strlen(lower) && strncasecmp(text.data, lower, text.size) == 0;
}

static struct dbk_slice trim(struct dbk_slice text)
{
    while (text.size > 0 && (text.data[0] == ' ' || text.data[0] == '\t'))
        text = dbk_slice(text.data + 1, text.size - 1);
    while (text.size > 0 && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t'))
        text.size--;
    return text;
}

static bool is_json(struct dbk_slice type)
{
    const char *end = type.size > 0 ? memchr(type.data, ';', type.size) : NULL;
    struct dbk_slice name = trim(dbk_slice(type.data, end ? (size_t)(end - type.data) : type.size));
    return same_text(name, "application/json") ||
           (name.size > 5 && strncasecmp(name.data + name.size - 5, "+json", 5) == 0);
}

static int take_header(struct dbk_http_reply *reply, struct dbk_slice line, struct dbk_error *err)
{
    const char *colon = memchr(line.data, ':', line.size);
    if (colon == NULL || colon == line.data)
        return broken(err, "a header without a name");
    if (++reply->header_count > DBK_HTTP_HEADER_COUNT_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "the server's answer has more than %d headers",
                             DBK_HTTP_HEADER_COUNT_MAX);
    struct dbk_slice name = dbk_slice(line.data, (size_t)(colon - line.data));
    struct dbk_slice value = trim(dbk_slice(colon + 1, line.size - name.size - 1));
    if (same_text(name, "content-length")) {
        uint64_t size = 0;
        if (!dbk_slice_to_u64(value, &size) || (reply->sized && size != reply->left))
            return broken(err, "a broken content-length");
        reply->sized = true;
        reply->left = size;
    } else if (same_text(name, "transfer-encoding")) {
        if (!same_text(value, "chunked"))
            return broken(err, "an unknown transfer-encoding");
        reply->chunked = true;
    } else if (same_text(name, "content-type")) {
        reply->json = is_json(value);
    } else if (same_text(name, "daybook-position")) {
        if (!dbk_slice_to_u64(value, &reply->position))
            return broken(err, "a broken daybook-position");
    }
    return DBK_OK;
}

static int end_headers(struct dbk_http_reply *reply)
{
    if (reply->status < 200) {
        dbk_http_reply_init(reply, reply->body, reply->context);
        return DBK_OK;
    }
    if (reply->status == 204 || reply->status == 304)
        reply->state = DBK_HTTP_DONE;
    else if (reply->chunked)
        reply->state = DBK_HTTP_CHUNK_SIZE;
    else if (reply->sized)
        reply->state = reply->left > 0 ? DBK_HTTP_BODY_SIZED : DBK_HTTP_DONE;
    else
        reply->state = DBK_HTTP_BODY_OPEN;
    return DBK_OK;
}

static int take_chunk_size(struct dbk_http_reply *reply, struct dbk_slice line,
                           struct dbk_error *err)
{
    uint64_t size = 0;
    size_t at = 0;
    for (; at < line.size; at++) {
        char byte = line.data[at];
        unsigned digit = 0;
        if (is_digit(byte))
            digit = (unsigned)(byte - '0');
        else if ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'f')
            digit = (unsigned)((byte | 0x20) - 'a') + 10;
        else
            break;
        if (size >> 58 != 0)
            return broken(err, "a chunk's size past 60 bits");
        size = size << 4 | digit;
    }
    if (at == 0 || (at < line.size && line.data[at] != ';' && line.data[at] != ' '))
        return broken(err, "a broken chunk size");
    reply->left = size;
    reply->state = size > 0 ? DBK_HTTP_CHUNK : DBK_HTTP_TRAILERS;
    return DBK_OK;
}

static int take_line(struct dbk_http_reply *reply, struct dbk_slice line, struct dbk_error *err)
{
    if (line.size > 0 && line.data[line.size - 1] == '\r')
        line.size--;
    if (reply->state == DBK_HTTP_STATUS_LINE)
        return take_status(reply, line, err);
    if (reply->state == DBK_HTTP_HEADERS)
        return line.size == 0 ? end_headers(reply) : take_header(reply, line, err);
    if (reply->state == DBK_HTTP_CHUNK_SIZE)
        return take_chunk_size(reply, line, err);
    if (reply->state == DBK_HTTP_CHUNK_END) {
        if (line.size > 0)
            return broken(err, "a chunk longer than its size");
        reply->state = DBK_HTTP_CHUNK_SIZE;
        return DBK_OK;
    }
    if (line.size == 0)
        reply->state = DBK_HTTP_DONE;
    else if (++reply->header_count > DBK_HTTP_HEADER_COUNT_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "the server's answer has more than %d headers",
                             DBK_HTTP_HEADER_COUNT_MAX);
    return DBK_OK;
}

/* Collects a line that may come in pieces; used_out: bytes taken. */
static int push_line(struct dbk_http_reply *reply, struct dbk_slice bytes, size_t *used_out,
                     struct dbk_error *err)
{
    const char *end = memchr(bytes.data, '\n', bytes.size);
    size_t size = end != NULL ? (size_t)(end - bytes.data) : bytes.size;
    if (reply->line_size + size > sizeof(reply->line))
        return dbk_error_set(err, DBK_ELIMIT, "a line of the server's answer is past %d bytes",
                             DBK_HTTP_LINE_SIZE_MAX);
    memcpy(reply->line + reply->line_size, bytes.data, size);
    reply->line_size += size;
    *used_out = end != NULL ? size + 1 : size;
    if (end == NULL)
        return DBK_OK;
    struct dbk_slice line = dbk_slice(reply->line, reply->line_size);
    reply->line_size = 0;
    return take_line(reply, line, err);
}

static int take_body(struct dbk_http_reply *reply, struct dbk_slice bytes, size_t *used_out)
{
    size_t size = bytes.size;
    if (reply->state != DBK_HTTP_BODY_OPEN && size > reply->left)
        size = (size_t)reply->left;
    int rc = reply->body(reply->context, dbk_slice(bytes.data, size));
    if (rc < 0)
        return rc;
    *used_out = size;
    if (reply->state == DBK_HTTP_BODY_OPEN)
        return DBK_OK;
    reply->left -= size;
    if (reply->left == 0)
        reply->state = reply->state == DBK_HTTP_CHUNK ? DBK_HTTP_CHUNK_END : DBK_HTTP_DONE;
    return DBK_OK;
}

static bool in_body(const struct dbk_http_reply *reply)
{
    return reply->state == DBK_HTTP_BODY_SIZED || reply->state == DBK_HTTP_BODY_OPEN ||
           reply->state == DBK_HTTP_CHUNK;
}

int dbk_http_reply_push(struct dbk_http_reply *reply, struct dbk_slice bytes, size_t *used_out,
                        struct dbk_error *err)
{
    size_t at = 0;
    while (at < bytes.size && reply->state != DBK_HTTP_DONE) {
        struct dbk_slice rest = dbk_slice(bytes.data + at, bytes.size - at);
        size_t used = 0;
        int rc =
            in_body(reply) ? take_body(reply, rest, &used) : push_line(reply, rest, &used, err);
        if (rc < 0)
            return rc;
        at += used;
    }
    if (used_out != NULL)
        *used_out = at;
    return DBK_OK;
}

int dbk_http_reply_end(struct dbk_http_reply *reply, struct dbk_error *err)
{
    if (reply->state == DBK_HTTP_BODY_OPEN)
        reply->state = DBK_HTTP_DONE;
    if (reply->state != DBK_HTTP_DONE)
        return dbk_error_set(err, DBK_EIO, "the server ended the connection in its answer");
    return DBK_OK;
}

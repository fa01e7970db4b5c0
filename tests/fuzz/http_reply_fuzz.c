/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_reply_fuzz -- a response is decoded alike whether its bytes come at once or one by one.
 */
#include "fuzz.h"

#include <stdlib.h>

#include "base/hash.h"
#include "cli/http_reply.h"

struct outcome {
    struct dbk_http_reply reply;
    int rc;
    size_t used;
    uint32_t body;
    uint64_t body_size;
};

static int take(void *context, struct dbk_slice bytes)
{
    struct outcome *outcome = context;
    outcome->body = dbk_crc32c(outcome->body, bytes);
    outcome->body_size += bytes.size;
    return DBK_OK;
}

static void decode(struct outcome *outcome, const uint8_t *data, size_t size, size_t piece)
{
    struct dbk_error err = {0};
    *outcome = (struct outcome){0};
    dbk_http_reply_init(&outcome->reply, take, outcome);
    while (outcome->rc == DBK_OK && outcome->used < size && outcome->reply.state != DBK_HTTP_DONE) {
        size_t used = 0;
        size_t left = size - outcome->used;
        outcome->rc = dbk_http_reply_push(
            &outcome->reply, dbk_slice(data + outcome->used, left < piece ? left : piece), &used,
            &err);
        outcome->used += used;
        if (outcome->rc == DBK_OK && used == 0)
            abort();
    }
    if (outcome->rc == DBK_OK)
        outcome->rc = dbk_http_reply_end(&outcome->reply, &err);
    if (outcome->rc < 0 && err.message[0] == '\0')
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome *whole = malloc(sizeof(*whole));
    struct outcome *parts = malloc(sizeof(*parts));
    if (whole == NULL || parts == NULL)
        abort();
    decode(whole, data, size, size);
    decode(parts, data, size, 1);
    if (whole->rc != parts->rc)
        abort();
    if (whole->rc == DBK_OK &&
        (whole->used != parts->used || whole->body != parts->body ||
         whole->body_size != parts->body_size || whole->reply.status != parts->reply.status ||
         whole->reply.json != parts->reply.json || whole->reply.position != parts->reply.position))
        abort();
    free(whole);
    free(parts);
    return 0;
}

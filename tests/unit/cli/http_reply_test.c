/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_reply_test -- an answer is decoded the same however its bytes are cut, and a broken one is
 * refused.
 */
#include "test.h"

#include "base/memory.h"
#include "cli/http_reply.h"

static int collect(void *context, struct dbk_slice bytes)
{
    dbk_buf_append(context, bytes);
    return DBK_OK;
}

static const char sized[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"
                            "Daybook-Position: 42\r\nContent-Length: 11\r\n\r\nhello world";
static const char chunked[] =
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 412 Precondition Failed\r\n"
    "content-type:application/problem+json\r\nTRANSFER-ENCODING: chunked\r\n\r\n"
    "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: x\r\n\r\n";
static const char open_ended[] = "HTTP/1.0 200\nX: y\n\nhello world";

static void decode(const char *text, size_t cut_a, size_t cut_b, int status, bool json)
{
    struct dbk_error err = {0};
    struct dbk_buf body;
    static struct dbk_http_reply reply;
    size_t size = strlen(text);
    dbk_buf_init(&body, 1 << 10);
    dbk_http_reply_init(&reply, collect, &body);
    assert_ok(dbk_http_reply_push(&reply, dbk_slice(text, cut_a), NULL, &err), &err);
    assert_ok(dbk_http_reply_push(&reply, dbk_slice(text + cut_a, cut_b - cut_a), NULL, &err),
              &err);
    assert_ok(dbk_http_reply_push(&reply, dbk_slice(text + cut_b, size - cut_b), NULL, &err), &err);
    assert_ok(dbk_http_reply_end(&reply, &err), &err);
    assert_int_equal(reply.status, status);
    assert_int_equal(reply.json, json);
    assert_slice_equal(dbk_buf_slice(&body), "hello world");
    dbk_buf_release(&body);
}

static void test_cli_http_reply__cuts_do_not_matter(void **state)
{
    (void)state;
    for (size_t a = 0; a < sizeof(sized); a++)
        for (size_t b = a; b < sizeof(sized); b++)
            decode(sized, a, b, 200, true);
    for (size_t a = 0; a < sizeof(chunked); a++)
        for (size_t b = a; b < sizeof(chunked); b++)
            decode(chunked, a, b, 412, true);
    for (size_t a = 0; a < sizeof(open_ended); a++)
        for (size_t b = a; b < sizeof(open_ended); b++)
            decode(open_ended, a, b, 200, false);
}

static void test_cli_http_reply__an_early_end_is_seen(void **state)
{
    (void)state;
    static struct dbk_http_reply reply;
    struct dbk_error err = {0};
    for (size_t size = 0; size < sizeof(chunked) - 1; size++) {
        struct dbk_buf body;
        dbk_buf_init(&body, 1 << 10);
        dbk_http_reply_init(&reply, collect, &body);
        assert_ok(dbk_http_reply_push(&reply, dbk_slice(chunked, size), NULL, &err), &err);
        assert_int_equal(dbk_http_reply_end(&reply, &err), DBK_EIO);
        dbk_buf_release(&body);
    }
}

static void test_cli_http_reply__bytes_behind_the_answer_are_left(void **state)
{
    (void)state;
    static struct dbk_http_reply reply;
    struct dbk_error err = {0};
    struct dbk_buf body;
    size_t used = 0;
    static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP";
    dbk_buf_init(&body, 1 << 10);
    dbk_http_reply_init(&reply, collect, &body);
    assert_ok(dbk_http_reply_push(&reply, DBK_SLICE_LITERAL(text), &used, &err), &err);
    assert_int_equal(used, sizeof(text) - 1 - 4);
    assert_int_equal(reply.state, DBK_HTTP_DONE);
    dbk_buf_release(&body);
}

static void test_cli_http_reply__what_is_broken_is_refused(void **state)
{
    (void)state;
    static struct dbk_http_reply reply;
    static const char *const cases[] = {
        "HTTP/2 200 OK\r\n",
        "HTTP/1.1 2x0 OK\r\n",
        "HTTP/1.1 099 OK\r\n",
        "HTTP/1.1 2000\r\n",
        "\r\n",
        "HTTP/1.1 200 OK\r\n: x\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n",
        "HTTP/1.1 200 OK\r\nDaybook-Position: x\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dbk_error err = {0};
        struct dbk_buf body;
        dbk_buf_init(&body, 1 << 10);
        dbk_http_reply_init(&reply, collect, &body);
        assert_int_equal(dbk_http_reply_push(&reply, dbk_slice_of(cases[i]), NULL, &err),
                         DBK_EINVAL);
        dbk_buf_release(&body);
    }
}

static void test_cli_http_reply__sizes_are_bounded(void **state)
{
    (void)state;
    static struct dbk_http_reply reply;
    struct dbk_error err = {0};
    struct dbk_buf body;
    int rc = DBK_OK;
    dbk_buf_init(&body, 1 << 10);
    dbk_http_reply_init(&reply, collect, &body);
    for (int i = 0; rc == DBK_OK && i < DBK_HTTP_LINE_SIZE_MAX; i++)
        rc = dbk_http_reply_push(&reply, dbk_slice_of("xx"), NULL, &err);
    assert_int_equal(rc, DBK_ELIMIT);
    dbk_http_reply_init(&reply, collect, &body);
    assert_ok(dbk_http_reply_push(&reply, dbk_slice_of("HTTP/1.1 200 OK\r\n"), NULL, &err), &err);
    rc = DBK_OK;
    for (int i = 0; rc == DBK_OK && i <= DBK_HTTP_HEADER_COUNT_MAX; i++)
        rc = dbk_http_reply_push(&reply, dbk_slice_of("A: b\r\n"), NULL, &err);
    assert_int_equal(rc, DBK_ELIMIT);
    dbk_buf_release(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_http_reply__cuts_do_not_matter),
        cmocka_unit_test(test_cli_http_reply__an_early_end_is_seen),
        cmocka_unit_test(test_cli_http_reply__bytes_behind_the_answer_are_left),
        cmocka_unit_test(test_cli_http_reply__what_is_broken_is_refused),
        cmocka_unit_test(test_cli_http_reply__sizes_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

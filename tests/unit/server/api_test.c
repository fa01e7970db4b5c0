/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_test -- requests handled in this process: the table of routes, problems, and what the
 * contract says of itself.
 */
#include "test.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "json/json.h"
#include "server/handlers.h"
#include "server/http.h"

struct fixture {
    char folder[64];
    struct dbk_engine *engine;
    int status;
    char type[64];
    char allow[64];
    struct dbk_buf body;
    struct dbk_json *json;
};

static int begin(void *context, int status, const struct dbk_api_field *headers,
                 size_t header_count)
{
    struct fixture *fixture = context;
    fixture->status = status;
    for (size_t i = 0; i < header_count; i++) {
        bool type = dbk_slice_equal_text(headers[i].name, "Content-Type");
        if (type || dbk_slice_equal_text(headers[i].name, "Allow"))
            (void)snprintf(type ? fixture->type : fixture->allow, 64, "%.*s",
                           DBK_SLICE_ARGS(headers[i].value));
    }
    return DBK_OK;
}

static int write_body(void *context, struct dbk_slice bytes)
{
    struct fixture *fixture = context;
    dbk_buf_append(&fixture->body, bytes);
    return fixture->body.rc;
}

static int end_tail(void *context)
{
    (void)context;
    return DBK_ECONNECT;
}

static void send_with(struct fixture *fixture, const char *method, const char *path,
                      const char *query, const char *header, const char *value, const char *body)
{
    const struct dbk_api_field headers[] = {{dbk_slice_of(header), dbk_slice_of(value)}};
    const struct dbk_api_request request = {.method = dbk_slice_of(method),
                                            .path = dbk_slice_of(path),
                                            .query = dbk_slice_of(query),
                                            .headers = headers,
                                            .header_count = header == NULL ? 0 : 1,
                                            .body = dbk_slice_of(body)};
    const struct dbk_api_response response = {fixture, begin, write_body, end_tail};
    fixture->status = 0;
    fixture->type[0] = fixture->allow[0] = 0;
    dbk_buf_reset(&fixture->body);
    dbk_ignore(dbk_api_handle(fixture->engine, &request, &response));
}

static void send(struct fixture *fixture, const char *method, const char *path, const char *query,
                 const char *body)
{
    send_with(fixture, method, path, query, NULL, NULL, body);
}

static const struct dbk_json_node *answer(struct fixture *fixture)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_error err = {0};
    assert_ok(dbk_json_parse(fixture->json, dbk_buf_slice(&fixture->body), &root, &err), &err);
    return root;
}

static struct dbk_slice member(struct fixture *fixture, const char *key)
{
    const struct dbk_json_node *node = dbk_json_member(answer(fixture), key);
    return node == NULL ? (struct dbk_slice){0} : node->raw;
}

static int set_up(void **state)
{
    static struct fixture fixture;
    struct dbk_error err = {0};
    struct dbk_diagnostics faults;
    char path[96];
    fixture = (struct fixture){.folder = "/tmp/daybook-api-XXXXXX"};
    assert_non_null(mkdtemp(fixture.folder));
    (void)snprintf(path, sizeof(path), "%s/book.yaml", fixture.folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    (void)fputs("book: test\ndata: data\n", file);
    (void)fclose(file);
    dbk_diagnostics_init(&faults);
    assert_ok(dbk_engine_open(&(struct dbk_engine_options){.os = dbk_os_real(),
                                                           .folder = fixture.folder,
                                                           .holder = "a test"},
                              &faults, &fixture.engine, &err),
              &err);
    dbk_diagnostics_release(&faults);
    dbk_buf_init(&fixture.body, (size_t)16 << 20);
    fixture.json = dbk_json_create((size_t)16 << 20);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    char command[128];
    dbk_engine_free(fixture->engine);
    dbk_buf_release(&fixture->body);
    dbk_json_free(fixture->json);
    (void)snprintf(command, sizeof(command), "rm -r %s", fixture->folder);
    return system(command);
}

static void test_server_api__gives_every_code_a_status_and_a_problem(void **state)
{
    (void)state;
#define CHECK(name, value, wire, text) assert_in_range(dbk_api_status(DBK_##name), 400, 599);
    DBK_CODES(CHECK)
#undef CHECK
    assert_int_equal(dbk_api_status(DBK_OK), 200);
}

static void test_server_api__says_what_a_path_takes(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *method;
        const char *path;
        const char *query;
        int status;
        const char *allow;
        const char *word;
    } cases[] = {
        {"GET", "/nope", "", 404, "", "nothing at /nope"},
        {"GET", "/streams", "", 404, "", "nothing at"},
        {"GET", "/streams/", "", 400, "", "a name in the path is empty"},
        {"DELETE", "/events", "", 405, "GET, POST", "GET, POST"},
        {"PUT", "/streams/a/state", "", 405, "GET", "GET"},
        {"GET", "/events", "nope=1", 400, "", "no query parameter"},
        {"GET", "/events", "limit=x", 400, "", "limit: \\\"x\\\" is no whole number"},
        {"GET", "/events", "from_time=yesterday", 400, "", "from_time"},
        {"GET", "/events", "backwards=maybe", 400, "", "true and no false"},
        {"GET", "/streams/%ff", "", 400, "", "percent-encoded"},
        {"GET", "/streams/a", "", 404, "", "there is no stream a"},
        {"GET", "/streams/a/state", "version=1&at=2020-01-01", 400, "", "exclude each other"},
        {"GET", "/queries/Nope", "", 404, "", "there is no query Nope"},
        {"POST", "/commands/Nope", "", 404, "", "there is no command Nope"},
        {"GET", "/models/nope", "", 404, "", "there is no model nope"},
        {"POST", "/views/nope/refresh", "", 404, "", "no view is named nope"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        send(fixture, cases[i].method, cases[i].path, cases[i].query, NULL);
        assert_int_equal(fixture->status, cases[i].status);
        assert_string_equal(fixture->type, "application/problem+json");
        assert_string_equal(fixture->allow, cases[i].allow);
        assert_int_equal(dbk_json_member(answer(fixture), "status")->integer, cases[i].status);
        struct dbk_slice detail = member(fixture, "detail");
        if (memmem(detail.data, detail.size, cases[i].word, strlen(cases[i].word)) == NULL)
            fail_msg("case %zu: %.*s", i, DBK_SLICE_ARGS(detail));
    }
}

static void test_server_api__names_what_is_wrong_with_a_body(void **state)
{
    struct fixture *fixture = *state;
    static const char *const cases[][2] = {
        {"", "nothing is there"},
        {"{", "the body: line 1"},
        {"[1]", "event 0: it is no object"},
        {"{\"type\":\"T\",\"tpye\":1}", "has no \\\"tpye\\\""},
        {"{\"type\":1}", "stream and type are texts"},
        {"{\"type\":\"T\",\"id\":\"x\"}", "id is no UUID"},
        {"{\"type\":\"T\",\"occurred\":\"x\"}", "occurred is no instant"},
        {"{\"type\":\"T\",\"meta\":[]}", "meta is no object"},
        {"{\"type\":\"T\",\"tags\":[1]}", "tags is no list of texts"},
        {"{\"type\":\"T\",\"data\":1,\"data_base64\":\"AA==\"}", "data and data_base64"},
        {"{\"type\":\"T\",\"data_base64\":\"A\"}", "no base64"},
        {"{\"type\":\"T\",\"stream\":\"b\"}", "another than the path's"},
        {"{\"data\":{}}", "type is empty"},
        {"{\"type\":\"T\",\"data\":99999999999999999999}", "cannot be read exactly"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        send(fixture, "POST", "/streams/a", "", cases[i][0]);
        assert_int_equal(fixture->status, 400);
        struct dbk_slice detail = member(fixture, "detail");
        if (memmem(detail.data, detail.size, cases[i][1], strlen(cases[i][1])) == NULL)
            fail_msg("case %zu: %.*s", i, DBK_SLICE_ARGS(detail));
    }
    assert_int_equal(dbk_store_last_position(dbk_engine_store(fixture->engine)), 0);
}

static void test_server_api__takes_expected_versions_from_headers(void **state)
{
    struct fixture *fixture = *state;
    static const char event[] = "{\"type\":\"T\"}";
    send_with(fixture, "POST", "/streams/a", "", "If-Match", "*", event);
    assert_int_equal(fixture->status, 412);
    send_with(fixture, "POST", "/streams/a", "", "if-none-match", "*", event);
    assert_int_equal(fixture->status, 201);
    send_with(fixture, "POST", "/streams/a", "", "If-None-Match", "*", event);
    assert_int_equal(fixture->status, 412);
    send_with(fixture, "POST", "/streams/a", "", "If-Match", "\"7\"", event);
    assert_int_equal(fixture->status, 412);
    assert_slice_equal(member(fixture, "expected"), "7");
    assert_slice_equal(member(fixture, "actual"), "1");
    send_with(fixture, "POST", "/streams/a", "", "If-Match", "\"1\"", event);
    assert_int_equal(fixture->status, 201);
    send_with(fixture, "POST", "/streams/a", "", "If-Match", "W/1", event);
    assert_int_equal(fixture->status, 400);
}

/* Base64 of every length's remainder comes back as it went in. */
static void test_server_api__keeps_bytes_by_base64(void **state)
{
    struct fixture *fixture = *state;
    static const char *const texts[] = {"", "AA==", "AP8=", "AP+A", "AP+A/w==", "aGVsbG8="};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        char body[64];
        char path[16];
        char expected[32];
        (void)snprintf(body, sizeof(body), "{\"type\":\"T\",\"data_base64\":\"%s\"}", texts[i]);
        (void)snprintf(path, sizeof(path), "/streams/b-%zu", i);
        (void)snprintf(expected, sizeof(expected), "\"data_base64\":\"%s\"", texts[i]);
        send(fixture, "POST", path, "", body);
        assert_int_equal(fixture->status, 201);
        send(fixture, "GET", path, "", NULL);
        assert_int_equal(fixture->status, 200);
        assert_non_null(memmem(fixture->body.data, fixture->body.size, expected, strlen(expected)));
    }
}

/* JSON may have line ends between its tokens; a field of an event stream is one line. */
static void test_server_api__frames_a_tail_line_by_line(void **state)
{
    struct fixture *fixture = *state;
    static const char expected[] = "id: 1\nevent: T\ndata: {\"position\":1,";
    send(fixture, "POST", "/streams/a", "", "{\"type\":\"T\",\"data\":{\n\"a\":\r\n[1,\n2]}}");
    assert_int_equal(fixture->status, 201);
    send_with(fixture, "GET", "/events", "after=0", "Accept", "text/event-stream", NULL);
    assert_int_equal(fixture->status, 200);
    assert_string_equal(fixture->type, "text/event-stream");
    dbk_buf_append_char(&fixture->body, 0);
    const char *at = strstr(fixture->body.data, expected);
    assert_non_null(at);
    const char *end = strchr(at + sizeof(expected) - 1, '\n');
    assert_non_null(end);
    assert_true(end[-1] == '}' && end[1] == '\n');
    assert_null(strchr(fixture->body.data, '\r'));
}

static void test_server_api__lists_every_route_in_its_contract(void **state)
{
    struct fixture *fixture = *state;
    size_t operations = 0;
    send(fixture, "GET", "/openapi.json", "", NULL);
    assert_int_equal(fixture->status, 200);
    const struct dbk_json_node *paths = dbk_json_member(answer(fixture), "paths");
    assert_non_null(paths);
    const struct dbk_json_node *path = dbk_json_first(paths);
    for (uint32_t i = 0; i < paths->count; i++, path = dbk_json_sibling(path))
        operations += path->count;
    assert_int_equal(operations, dbk_route_count);
}

static void test_server_api__answers_only_this_machine(void **state)
{
    static const char *const near[] = {
        "localhost",  "LOCALHOST:80",         "127.0.0.1", "127.8.9.1:4150", "[::1]",
        "[::1]:4150", "http://localhost:3000"};
    static const char *const far[] = {"example.com",
                                      "127.0.0.1.example.com",
                                      "localhost.example",
                                      "[::2]",
                                      "10.0.0.1",
                                      "",
                                      "http://127.evil.example",
                                      "null"};
    (void)state;
    for (size_t i = 0; i < sizeof(near) / sizeof(near[0]); i++)
        assert_true(dbk_http_is_loopback(dbk_slice_of(near[i])));
    for (size_t i = 0; i < sizeof(far) / sizeof(far[0]); i++)
        assert_false(dbk_http_is_loopback(dbk_slice_of(far[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(test_server_api__##name, set_up, tear_down)
        TEST(gives_every_code_a_status_and_a_problem),
        TEST(says_what_a_path_takes),
        TEST(names_what_is_wrong_with_a_body),
        TEST(takes_expected_versions_from_headers),
        TEST(keeps_bytes_by_base64),
        TEST(frames_a_tail_line_by_line),
        TEST(lists_every_route_in_its_contract),
        TEST(answers_only_this_machine),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

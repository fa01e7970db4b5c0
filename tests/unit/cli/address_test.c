/* SPDX-License-Identifier: Apache-2.0 */
/*
 * address_test -- what people type as an address is read, and nothing else.
 */
#include "test.h"

#include "cli/address.h"

static void test_cli_address__what_people_type_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *host;
        uint16_t port;
    } cases[] = {{"127.0.0.1:4170", "127.0.0.1", 4170},
                 {"localhost:0", "localhost", 0},
                 {"[::1]:65535", "::1", 65535},
                 {":8080", "127.0.0.1", 8080},
                 {"8080", "127.0.0.1", 8080}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char host[16];
        uint16_t port = 1;
        assert_true(dbk_address_parse(cases[i].text, host, sizeof(host), &port));
        assert_string_equal(host, cases[i].host);
        assert_int_equal(port, cases[i].port);
    }
}

static void test_cli_address__nothing_else_is_read(void **state)
{
    (void)state;
    static const char *const cases[] = {"",
                                        "host",
                                        "127.0.0.1:",
                                        "127.0.0.1:65536",
                                        "::1:80",
                                        "127.0.0.1:-1",
                                        "a-name-that-is-too-long-for-it:80"};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char host[16] = "before";
        uint16_t port = 1;
        assert_false(dbk_address_parse(cases[i], host, sizeof(host), &port));
        assert_string_equal(host, "before");
        assert_int_equal(port, 1);
    }
}

static void test_cli_address__urls_are_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool tls;
        const char *host;
        uint16_t port;
        const char *authority;
        bool loopback;
    } cases[] = {
        {"https://books.example.com", true, "books.example.com", 443, "books.example.com", false},
        {"https://books.example.com:4150/", true, "books.example.com", 4150,
         "books.example.com:4150", false},
        {"http://localhost", false, "localhost", 80, "localhost", true},
        {"http://127.0.0.2:1", false, "127.0.0.2", 1, "127.0.0.2:1", true},
        {"https://[::1]:65535", true, "::1", 65535, "[::1]:65535", true},
        {"https://[2001:db8::1]", true, "2001:db8::1", 443, "[2001:db8::1]", false},
        {"http://127.0.0.1.example.com", false, "127.0.0.1.example.com", 80,
         "127.0.0.1.example.com", false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dbk_url url;
        struct dbk_error err = {0};
        assert_ok(dbk_url_parse(cases[i].text, &url, &err), &err);
        assert_int_equal(url.tls, cases[i].tls);
        assert_string_equal(url.host, cases[i].host);
        assert_int_equal(url.port, cases[i].port);
        assert_string_equal(url.authority, cases[i].authority);
        assert_int_equal(dbk_url_is_loopback(&url), cases[i].loopback);
    }
}

static void test_cli_address__no_other_urls_are_taken(void **state)
{
    (void)state;
    static const char *const cases[] = {"",
                                        "books.example.com",
                                        "ftp://books.example.com",
                                        "https://",
                                        "https:///",
                                        "https://host/path",
                                        "https://host?query",
                                        "https://user@host",
                                        "https://user:word@host",
                                        "https://host:",
                                        "https://host:0",
                                        "https://host:65536",
                                        "https://host:80x",
                                        "https://[::1",
                                        "https://[::1]80",
                                        "https://[]",
                                        "https://::1",
                                        "https://ho st",
                                        "https://host\r\nX: y",
                                        "https://h\xc3\xb6st"};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dbk_url url;
        struct dbk_error err = {0};
        assert_int_equal(dbk_url_parse(cases[i], &url, &err), DBK_EINVAL);
        assert_true(err.message[0] != '\0');
    }
    char text[400] = "https://";
    memset(text + 8, 'a', 300);
    struct dbk_url url;
    assert_int_equal(dbk_url_parse(text, &url, NULL), DBK_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_address__what_people_type_is_read),
        cmocka_unit_test(test_cli_address__nothing_else_is_read),
        cmocka_unit_test(test_cli_address__urls_are_taken_apart),
        cmocka_unit_test(test_cli_address__no_other_urls_are_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

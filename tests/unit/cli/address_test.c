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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_address__what_people_type_is_read),
        cmocka_unit_test(test_cli_address__nothing_else_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test -- cmocka with its includes in the order it needs, and the two assertions every test uses.
 */
#ifndef DBK_TESTS_TEST_H
#define DBK_TESTS_TEST_H

/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>
/* clang-format on */

#include "base/error.h"
#include "base/slice.h"

/* Fails with the error's own message. */
#define assert_ok(rc, err)                                                                         \
    do {                                                                                           \
        int assert_ok_rc = (rc);                                                                   \
        if (assert_ok_rc < 0)                                                                      \
            fail_msg("%s: %s", dbk_code_name(assert_ok_rc), (err)->message);                       \
    } while (0)

#define assert_slice_equal(slice, text)                                                            \
    do {                                                                                           \
        struct dbk_slice assert_slice = (slice);                                                   \
        if (!dbk_slice_equal_text(assert_slice, (text)))                                           \
            fail_msg("got \"%.*s\", expected \"%s\"", DBK_SLICE_ARGS(assert_slice), (text));       \
    } while (0)

#endif

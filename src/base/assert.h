/* SPDX-License-Identifier: Apache-2.0 */
/*
 * assert -- our own mistakes, caught before they are written down.
 *
 * dbk_assert stays on in release builds: an engine that has lost an invariant stops before it
 * writes. dbk_debug_assert is for checks that cost more than O(1) and is off under NDEBUG. Bytes
 * from a disk or a network are never asserted on; they are DBK_ECORRUPT or DBK_EINVAL.
 */
#ifndef DBK_BASE_ASSERT_H
#define DBK_BASE_ASSERT_H

#include <stdio.h>
#include <stdlib.h>

#define dbk_assert(condition)                                                                      \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0)) {                                                   \
            (void)fprintf(stderr, "%s:%d: assertion failed: %s\n", __FILE__, __LINE__,             \
                          #condition);                                                             \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#ifdef NDEBUG
#define dbk_debug_assert(condition) ((void)0)
#else
#define dbk_debug_assert(condition) dbk_assert(condition)
#endif

#endif

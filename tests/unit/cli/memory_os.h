/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory_os -- a system that knows one file, whose bytes are given, and hands them out in pieces.
 */
#ifndef DBK_TESTS_CLI_MEMORY_OS_H
#define DBK_TESTS_CLI_MEMORY_OS_H

#include "os/os.h"

struct memory_os {
    struct dbk_os os; /* first, so that one is the other */
    struct dbk_slice bytes;
    size_t piece; /* the most that one read gives; 0: all */
};

/* Fills open, close, size and pread; nothing else may be called. */
void memory_os_init(struct memory_os *memory, struct dbk_slice bytes, size_t piece);

#endif

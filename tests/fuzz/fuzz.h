/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz -- what a fuzz target is.
 *
 * tests/fuzz/<name>_fuzz.c defines the one function below. It is built twice: with replay.c as an
 * ordinary test over tests/fuzz/corpus/<name>/, and with -Dfuzz=true (clang) as the libFuzzer
 * binary fuzz-<name>. A target takes any bytes, and aborts where a promise is broken.
 */
#ifndef DBK_TESTS_FUZZ_FUZZ_H
#define DBK_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* libFuzzer's name for it. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif

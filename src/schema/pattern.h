/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pattern -- regular expressions of schemas, with a bound on what matching may cost.
 *
 * Perl's syntax by PCRE2, set to what JSON Schema means where it can be: Unicode, unanchored, `$`
 * only at the very end, \d \w \s of ASCII, \uXXXX, empty classes; docs/schemas.md has the rest of
 * the differences.
 *
 * Threads: patterns are read-only once made; a matcher belongs to one thread at a time.
 * Source:  PCRE2 10.42, pcre2api(3) and pcre2compat(3).
 */
#ifndef DBK_SCHEMA_PATTERN_H
#define DBK_SCHEMA_PATTERN_H

#include "base/memory.h"

#define DBK_PATTERN_SIZE_MAX 4096
#define DBK_PATTERN_STEPS_MAX 100000

struct dbk_patterns; /* all of a registry's */
struct dbk_pattern;

/* NULL when out of memory. */
struct dbk_patterns *dbk_patterns_create(void) DBK_MUST_CHECK;
void dbk_patterns_free(struct dbk_patterns *patterns);

/*
 * Makes a pattern, kept with the others.
 *
 * offset_out  set on DBK_EINVAL: where in the text it is wrong
 *
 * DBK_EINVAL  it is none, or too large; the message says why
 * DBK_ENOMEM
 */
int dbk_patterns_add(struct dbk_patterns *patterns, struct dbk_slice text,
                     const struct dbk_pattern **pattern_out, size_t *offset_out,
                     struct dbk_error *err) DBK_MUST_CHECK;
struct dbk_slice dbk_pattern_text(const struct dbk_pattern *pattern);

struct dbk_matcher {
    void *data; /* NULL until needed */
};
void dbk_matcher_release(struct dbk_matcher *matcher);

/* 1: found in the text; 0: not; DBK_ELIMIT: it takes too many steps to say; DBK_ENOMEM. */
int dbk_pattern_match(const struct dbk_pattern *pattern, struct dbk_matcher *matcher,
                      struct dbk_slice text) DBK_MUST_CHECK;

#endif

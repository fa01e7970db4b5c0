/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define NESTING_MAX 100
#define HEAP_KIB_MAX 1024

struct dbk_pattern {
    struct dbk_pattern *next;
    struct dbk_patterns *patterns;
    struct dbk_slice text;
    pcre2_code *code;
};

struct dbk_patterns {
    pcre2_general_context *memory;
    pcre2_compile_context *compiling;
    pcre2_match_context *matching;
    struct dbk_pattern *first;
};

static void *allocate(size_t size, void *context)
{
    (void)context;
    return dbk_alloc(size);
}

static void release(void *memory, void *context)
{
    (void)context;
    dbk_free(memory);
}

struct dbk_patterns *dbk_patterns_create(void)
{
    struct dbk_patterns *patterns = dbk_alloc_zero(1, sizeof(*patterns));
    if (patterns == NULL)
        return NULL;
    patterns->memory = pcre2_general_context_create(allocate, release, NULL);
    if (patterns->memory != NULL) {
        patterns->compiling = pcre2_compile_context_create(patterns->memory);
        patterns->matching = pcre2_match_context_create(patterns->memory);
    }
    if (patterns->compiling == NULL || patterns->matching == NULL) {
        dbk_patterns_free(patterns);
        return NULL;
    }
    (void)pcre2_set_max_pattern_length(patterns->compiling, DBK_PATTERN_SIZE_MAX);
    (void)pcre2_set_parens_nest_limit(patterns->compiling, NESTING_MAX);
    (void)pcre2_set_newline(patterns->compiling, PCRE2_NEWLINE_ANYCRLF);
    (void)pcre2_set_compile_extra_options(patterns->compiling, PCRE2_EXTRA_ALT_BSUX);
    (void)pcre2_set_match_limit(patterns->matching, DBK_PATTERN_STEPS_MAX);
    (void)pcre2_set_heap_limit(patterns->matching, HEAP_KIB_MAX);
    return patterns;
}

void dbk_patterns_free(struct dbk_patterns *patterns)
{
    if (patterns == NULL)
        return;
    for (struct dbk_pattern *pattern = patterns->first, *next; pattern != NULL; pattern = next) {
        next = pattern->next;
        pcre2_code_free(pattern->code);
        dbk_free(pattern);
    }
    pcre2_match_context_free(patterns->matching);
    pcre2_compile_context_free(patterns->compiling);
    pcre2_general_context_free(patterns->memory);
    dbk_free(patterns);
}

int dbk_patterns_add(struct dbk_patterns *patterns, struct dbk_slice text,
                     const struct dbk_pattern **pattern_out, size_t *offset_out,
                     struct dbk_error *err)
{
    static const uint32_t options = PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_ALLOW_EMPTY_CLASS |
                                    PCRE2_MATCH_UNSET_BACKREF | PCRE2_NEVER_BACKSLASH_C;
    int number = 0;
    PCRE2_SIZE offset = 0;
    struct dbk_pattern *pattern = dbk_alloc_zero(1, sizeof(*pattern));
    if (pattern == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reading a pattern");
    pattern->code = pcre2_compile((PCRE2_SPTR)text.data, text.size, options, &number, &offset,
                                  patterns->compiling);
    if (pattern->code == NULL) {
        PCRE2_UCHAR why[160];
        dbk_free(pattern);
        if (number == PCRE2_ERROR_NOMEMORY || number == 121)
            return dbk_error_set(err, DBK_ENOMEM, "out of memory reading a pattern");
        (void)pcre2_get_error_message(number, why, sizeof(why));
        *offset_out = offset;
        return dbk_error_set(err, DBK_EINVAL, "%s", (const char *)why);
    }
    pattern->patterns = patterns;
    pattern->text = text;
    pattern->next = patterns->first;
    patterns->first = pattern;
    *pattern_out = pattern;
    return DBK_OK;
}

struct dbk_slice dbk_pattern_text(const struct dbk_pattern *pattern)
{
    return pattern->text;
}

void dbk_matcher_release(struct dbk_matcher *matcher)
{
    pcre2_match_data_free(matcher->data);
    matcher->data = NULL;
}

int dbk_pattern_match(const struct dbk_pattern *pattern, struct dbk_matcher *matcher,
                      struct dbk_slice text)
{
    if (matcher->data == NULL)
        matcher->data = pcre2_match_data_create(1, pattern->patterns->memory);
    if (matcher->data == NULL)
        return DBK_ENOMEM;
    /* The text is JSON's, which is UTF-8 already. */
    int rc = pcre2_match(pattern->code, (PCRE2_SPTR)(text.size == 0 ? "" : text.data), text.size, 0,
                         PCRE2_NO_UTF_CHECK, matcher->data, pattern->patterns->matching);
    if (rc >= 0)
        return 1;
    if (rc == PCRE2_ERROR_NOMATCH)
        return 0;
    return rc == PCRE2_ERROR_NOMEMORY ? DBK_ENOMEM : DBK_ELIMIT;
}

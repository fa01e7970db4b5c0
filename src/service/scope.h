/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scope -- what an API key may do, as a word: `read:order`, `append:order-eu-*`, `admin`.
 *
 *     append:PATTERN  read:PATTERN                streams
 *     model:NAME  view:NAME  query:NAME           rows of it, and how far it is
 *     operate:NAME                                rebuilds and dead letters of a model, a view's
 *                                                 refresh
 *     command:NAME  command:NAME/PATTERN          about any stream; about these alone
 *     group:NAME  capture:SERVICE
 *     forget  metrics
 *     read-only                                   all that reads
 *     admin                                       everything
 *
 * A pattern of streams is a category (`order`), one stream (`order-17`), or what names begin with
 * (`order-eu-*`); `*` is every stream but the book's own. Other names are whole, or end with `*`.
 *
 * Threads: pure functions.
 * Source:  docs/access.md.
 */
#ifndef DBK_SERVICE_SCOPE_H
#define DBK_SERVICE_SCOPE_H

#include <stdbool.h>

#include "base/error.h"
#include "base/slice.h"

#define DBK_SCOPE_SIZE_MAX 256

enum dbk_scope_kind {
    DBK_SCOPE_APPEND,
    DBK_SCOPE_READ,
    DBK_SCOPE_MODEL,
    DBK_SCOPE_OPERATE,
    DBK_SCOPE_VIEW,
    DBK_SCOPE_QUERY,
    DBK_SCOPE_COMMAND,
    DBK_SCOPE_GROUP,
    DBK_SCOPE_CAPTURE,
    DBK_SCOPE_FORGET, /* from here on without a name */
    DBK_SCOPE_METRICS,
    DBK_SCOPE_READ_ONLY,
    DBK_SCOPE_ADMIN,
    DBK_SCOPE_COUNT,
};

struct dbk_scope {
    enum dbk_scope_kind kind;
    struct dbk_slice pattern; /* empty: the kind has none */
    struct dbk_slice streams; /* of a command: those it is about; empty: any */
    struct dbk_slice text;    /* all of it */
};

/* "append", … */
const char *dbk_scope_word(enum dbk_scope_kind kind);
bool dbk_scope_has_name(enum dbk_scope_kind kind);

/* Reads a word; pattern and text point into it. DBK_EINVAL says what was expected, DBK_ELIMIT. */
int dbk_scope_parse(struct dbk_slice text, struct dbk_scope *scope_out,
                    struct dbk_error *err) DBK_MUST_CHECK;

/* True when it is enough to do this with that (a stream's, a model's … name; empty: none). */
bool dbk_scope_allows(const struct dbk_scope *scope, enum dbk_scope_kind kind,
                      struct dbk_slice name);
/* Of streams: true when it is enough for all of a category; for all
   whose name begins so. */
bool dbk_scope_covers_category(const struct dbk_scope *scope, enum dbk_scope_kind kind,
                               struct dbk_slice category);
bool dbk_scope_covers_prefix(const struct dbk_scope *scope, enum dbk_scope_kind kind,
                             struct dbk_slice prefix);
/* The same for some of them: false when none there could be is allowed. */
bool dbk_scope_meets_category(const struct dbk_scope *scope, enum dbk_scope_kind kind,
                              struct dbk_slice category);
bool dbk_scope_meets_prefix(const struct dbk_scope *scope, enum dbk_scope_kind kind,
                            struct dbk_slice prefix);
/* Whether a command may be about a stream, or have it in an event; empty: it is about none. */
bool dbk_scope_allows_command(const struct dbk_scope *scope, struct dbk_slice name,
                              struct dbk_slice stream);

#endif

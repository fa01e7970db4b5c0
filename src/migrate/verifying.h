/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verifying -- a migration being verified, and what differs (migrate/verify.c).
 */
#ifndef DBK_MIGRATE_VERIFYING_H
#define DBK_MIGRATE_VERIFYING_H

#include "migrate/relate.h"
#include "migrate/state.h"
#include "migrate/verify.h"

struct dbk_verifying {
    struct dbk_migration *migration;
    const struct dbk_migrate_verification *options;
    struct dbk_migrate_verified *verified;
    struct dbk_buf *differences;
    struct dbk_store *source;
    struct dbk_store *target;
    struct dbk_migrate_map *map;
    uint64_t position;     /* compared up to it */
    uint64_t new_position; /* which is at it in the new book */
    uint64_t every;        /* one stream in so many is folded */
    uint64_t versions;     /* of the new streams, added up */
    struct dbk_cursor *old;
    struct dbk_cursor *new;
    struct dbk_report said; /* with the last batch */
    struct dbk_report counted;
    struct dbk_report found; /* types of the new book, as they are there */
    struct dbk_arena arena;
    struct dbk_json *json;
    struct dbk_json *other;
    struct dbk_buf state;
    struct dbk_buf new_state;
    struct dbk_buf expected;
    struct dbk_event next; /* of the new book, when it has been looked at */
    bool has_next;
    bool apart; /* from some event on they are not side by side any more */
};

/* Begins the description of a difference; false: there are too many already. */
bool dbk_verify_begin(struct dbk_verifying *verifying, const char *what);
void dbk_verify_put_text(struct dbk_buf *out, const char *name, struct dbk_slice text);
void dbk_verify_put_number(struct dbk_buf *out, const char *name, uint64_t number);
void dbk_verify_differ_event(struct dbk_verifying *verifying, const char *field, uint64_t old,
                             uint64_t new, struct dbk_slice expected, struct dbk_slice found);
/* Looks at the next event of the new book. */
int dbk_verify_look(struct dbk_verifying *verifying, struct dbk_error *err);
/* What an event became, against the new book. */
int dbk_verify_compare_event(struct dbk_verifying *verifying, const struct dbk_event *event,
                             struct dbk_error *err);
/* An event whose content was removed, in both. */
int dbk_verify_pass_removed(struct dbk_verifying *verifying, const struct dbk_event *event,
                            struct dbk_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relate -- which stream of the new book an old stream became.
 *
 * Found by ids: the first of what an event became has the event's id, and those behind it derive
 * theirs from it. It needs no memory for other streams.
 *
 * Threads: pure functions of what is stored.
 */
#ifndef DBK_MIGRATE_RELATE_H
#define DBK_MIGRATE_RELATE_H

#include "migrate/migrate.h"

enum dbk_relation_kind {
    DBK_RELATION_NONE,   /* nothing of it was copied */
    DBK_RELATION_ONE,    /* it became one stream, which holds nothing else */
    DBK_RELATION_SPLIT,  /* it became several */
    DBK_RELATION_MERGED, /* it became one, which holds events of others, too */
};

struct dbk_relation {
    enum dbk_relation_kind kind;
    char name[DBK_STREAM_SIZE_MAX]; /* of the new stream, of ONE and MERGED */
    size_t name_size;
    uint64_t old_version; /* of the old stream's last event up to there */
    uint64_t new_version; /* of the new one's */
    uint64_t below;       /* how many of those came from old versions before `version` */
};

/*
 * stream        of the old book, up to the migration's position
 * new_position  what is behind it in the new book is not looked at
 * version       for `below`; 0: it is not asked for
 */
int dbk_migrate_relate(struct dbk_store *source, uint64_t position, struct dbk_store *target,
                       uint64_t new_position, struct dbk_slice stream, uint64_t version,
                       struct dbk_relation *relation_out, struct dbk_error *err) DBK_MUST_CHECK;

/* The version of a stream's last event at or before a position; 0: it has none. */
int dbk_migrate_version_at(struct dbk_store *store, struct dbk_slice stream, uint64_t position,
                           uint64_t *version_out, struct dbk_error *err) DBK_MUST_CHECK;

#endif

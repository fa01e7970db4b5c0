/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state -- an open migration, shared by this room's sources.
 */
#ifndef DBK_MIGRATE_STATE_H
#define DBK_MIGRATE_STATE_H

#include "migrate/map.h"
#include "migrate/migrate.h"
#include "migrate/record.h"

struct dbk_migration {
    struct dbk_migration_options options;
    struct dbk_arena arena; /* of the script */
    struct dbk_migrate_map *map;
    uint8_t script[DBK_SHA256_SIZE];
    bool script_stored;
    struct dbk_report report;
    uint64_t position; /* everything up to it is stored */
    uint64_t read;     /* and looked at, in the batch */
    int64_t time_us;   /* of the last event that was looked at */
    struct dbk_cursor *cursor;
    /* The batch. */
    struct dbk_arena bytes;        /* of the events in it */
    struct dbk_arena bytes_before; /* of the batch before: an event made behind it may lie there */
    struct dbk_new_event *events;
    size_t count;
    size_t capacity;
    struct dbk_migrate_run *runs;
    size_t run_count;
    struct dbk_buf record;
    struct dbk_buf script_record;
};

/* Its script, opened anew. */
int dbk_migration_open_map(const struct dbk_migration *migration, struct dbk_migrate_map **map_out,
                           struct dbk_error *err) DBK_MUST_CHECK;
/* Stores how far it has got, also where there was nothing to copy. */
int dbk_migration_flush(struct dbk_migration *migration, struct dbk_error *err) DBK_MUST_CHECK;
/* What the step function answers. */
int dbk_migration_tell(const struct dbk_migration *migration, uint64_t done, uint64_t total);

#endif

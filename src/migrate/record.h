/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record -- what a migration keeps in the new book, in its stream `$migration`.
 *
 *     MigrationScript  the script, when it is new: {"name","sha256","source"}
 *     MigrationCopied  the last event of each batch: up to where the old book has been looked at,
 *                      what became how many events, and the report so far
 *
 * Threads: a record belongs to one thread.
 * Source:  docs/format/migration.md.
 */
#ifndef DBK_MIGRATE_RECORD_H
#define DBK_MIGRATE_RECORD_H

#include "base/hash.h"
#include "migrate/migrate.h"

#define DBK_MIGRATE_COPIED "MigrationCopied"
#define DBK_MIGRATE_SCRIPT "MigrationScript"
#define DBK_MIGRATE_SWITCHED "MigrationSwitched"
/* Past it a script is refused. */
#define DBK_MIGRATE_SCRIPT_SIZE_MAX ((size_t)256 << 10)
#define DBK_MIGRATE_RECORD_SIZE_MAX ((size_t)1 << 20)

/* So many events after each other became so many each. */
struct dbk_migrate_run {
    uint64_t events;
    uint64_t made;
};

/* MigrationCopied. Slices and nodes are valid until the reader's next read or its release. */
struct dbk_migrate_record {
    struct dbk_uuid book; /* the old one */
    struct dbk_slice folder;
    uint64_t after;    /* of the old book: the batch is of what lies behind */
    uint64_t position; /* and up to this */
    uint8_t script[DBK_SHA256_SIZE];
    const struct dbk_migrate_run *runs; /* in writing */
    size_t run_count;
    const struct dbk_json_node *run_list; /* in reading */
    const struct dbk_json_node *report;
    uint64_t version; /* in `$migration` */
    uint64_t first;   /* position of the batch's first event in the new book */
    int64_t time_us;
};

void dbk_migrate_record_write(const struct dbk_migrate_record *record,
                              const struct dbk_report *report, struct dbk_buf *out);
/* Of the event's data. DBK_ECORRUPT */
int dbk_migrate_record_read(const struct dbk_event *event, struct dbk_json *json,
                            struct dbk_migrate_record *record_out,
                            struct dbk_error *err) DBK_MUST_CHECK;
/* A run in the list that was read; false when it is none. */
bool dbk_migrate_run_read(const struct dbk_json_node *node, struct dbk_migrate_run *run_out);

/* Where a position that the batch looked at is in the new book; false: the runs make no sense. */
bool dbk_migrate_place_in(const struct dbk_migrate_record *record, uint64_t position,
                          struct dbk_migrate_place *place_out);

void dbk_migrate_script_write(const char *name, struct dbk_slice source, struct dbk_buf *out);

/*
 * The first MigrationCopied from a version on, or the newest. 1: it is there; 0: there is none.
 */
int dbk_migrate_record_from(struct dbk_store *store, uint64_t version, struct dbk_json *json,
                            struct dbk_migrate_record *record_out,
                            struct dbk_error *err) DBK_MUST_CHECK;
int dbk_migrate_record_newest(struct dbk_store *store, struct dbk_json *json,
                              struct dbk_migrate_record *record_out,
                              struct dbk_error *err) DBK_MUST_CHECK;
/* The newest script that is kept: its name and source, in the arena. DBK_ENOTFOUND */
int dbk_migrate_script_newest(struct dbk_store *store, struct dbk_arena *arena,
                              const char **name_out, struct dbk_slice *source_out,
                              struct dbk_error *err) DBK_MUST_CHECK;

#endif

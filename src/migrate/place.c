/* SPDX-License-Identifier: Apache-2.0 */
/* Positions of the old book in the new one: by the runs that each batch keeps. */
#include "migrate/migrate.h"
#include "migrate/record.h"

/* The batch that looked at a position: the first whose end is not before it. */
static int find_batch(struct dbk_store *target, uint64_t position, struct dbk_json *json,
                      struct dbk_migrate_record *record_out, struct dbk_error *err)
{
    uint64_t low = 1;
    uint64_t high = 0;
    int rc = dbk_store_stream_version(target, DBK_SLICE_LITERAL(DBK_MIGRATION_STREAM), &high, err);
    high++;
    while (rc >= 0 && low < high) {
        uint64_t middle = low + (high - low) / 2;
        rc = dbk_migrate_record_from(target, middle, json, record_out, err);
        if (rc == 1 && record_out->position < position)
            low = record_out->version + 1;
        else
            high = middle;
    }
    return rc < 0 ? rc : dbk_migrate_record_from(target, low, json, record_out, err);
}

bool dbk_migrate_place_in(const struct dbk_migrate_record *record, uint64_t position,
                          struct dbk_migrate_place *place_out)
{
    const struct dbk_json_node *node = dbk_json_first(record->run_list);
    uint64_t old = record->after;
    uint64_t new = record->first;
    for (uint32_t i = 0; i < record->run_list->count; i++, node = dbk_json_sibling(node)) {
        struct dbk_migrate_run run;
        if (!dbk_migrate_run_read(node, &run))
            return false;
        if (position > old + run.events) {
            old += run.events;
            new += run.events *run.made;
            continue;
        }
        new += (position - old - 1) * run.made;
        *place_out = (struct dbk_migrate_place){
            .up_to = new + run.made - 1, .first = run.made > 0 ? new : 0, .count = run.made};
        return true;
    }
    return false;
}

int dbk_migrate_place(struct dbk_store *target, uint64_t position,
                      struct dbk_migrate_place *place_out, struct dbk_error *err)
{
    struct dbk_migrate_record record;
    struct dbk_json *json = dbk_json_create(DBK_MIGRATE_RECORD_SIZE_MAX);
    if (json == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reading a migration");
    if (position == 0) {
        *place_out = (struct dbk_migrate_place){0};
        dbk_json_free(json);
        return DBK_OK;
    }
    int rc = find_batch(target, position, json, &record, err);
    if (rc == 0)
        rc = dbk_error_set(err, DBK_ENOTFOUND, "position %ju of the old book is not in the new one",
                           (uintmax_t)position);
    else if (rc == 1)
        rc = dbk_migrate_place_in(&record, position, place_out)
                 ? DBK_OK
                 : dbk_error_set(err, DBK_ECORRUPT,
                                 "what the migration keeps of position %ju makes no sense",
                                 (uintmax_t)position);
    dbk_json_free(json);
    return rc;
}

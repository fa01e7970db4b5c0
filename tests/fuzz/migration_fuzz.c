/* SPDX-License-Identifier: Apache-2.0 */
/*
 * migration_fuzz -- what a migration keeps of a batch: bytes that read as a record and a report
 * give, written again, the same record and report; and each position of it has its place.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "migrate/record.h"

#define POSITION (UINT64_C(1) << 62)

static void check_places(const struct dbk_migrate_record *record)
{
    uint64_t count = record->position - record->after;
    uint64_t before = record->first - 1;
    for (uint64_t i = 1; i <= (count < 50 ? count : 50); i++) {
        struct dbk_migrate_place place;
        if (!dbk_migrate_place_in(record, record->after + i, &place))
            abort();
        if (place.up_to != before + place.count || (place.count > 0) != (place.first > 0))
            abort();
        before = place.up_to;
    }
}

static void check_report(const struct dbk_json_node *node)
{
    struct dbk_error err = {0};
    struct dbk_report reports[2];
    struct dbk_buf texts[2];
    const struct dbk_json_node *root = NULL;
    struct dbk_json *json = dbk_json_create(DBK_MIGRATE_RECORD_SIZE_MAX);
    if (json == NULL)
        abort();
    bool sound = true;
    for (int i = 0; i < 2; i++) {
        dbk_buf_init(&texts[i], SIZE_MAX);
        if (dbk_report_init(&reports[i], &err) < 0)
            abort();
        sound = sound && dbk_report_read(&reports[i], i == 0 ? node : root, &err) == DBK_OK;
        if (sound)
            dbk_report_write(&reports[i], &texts[i]);
        if (i == 0 && sound && dbk_json_parse(json, dbk_buf_slice(&texts[0]), &root, &err) < 0)
            abort();
        if (i == 1 && sound && !dbk_slice_equal(dbk_buf_slice(&texts[0]), dbk_buf_slice(&texts[1])))
            abort();
    }
    for (int i = 0; i < 2; i++) {
        dbk_buf_release(&texts[i]);
        dbk_report_release(&reports[i]);
    }
    dbk_json_free(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dbk_error err = {0};
    struct dbk_migrate_record record;
    struct dbk_event event = {
        .position = POSITION, .version = 1, .data = {(const char *)data, size}};
    struct dbk_json *json = dbk_json_create(DBK_MIGRATE_RECORD_SIZE_MAX);
    if (json == NULL)
        abort();
    if (dbk_migrate_record_read(&event, json, &record, &err) == DBK_OK) {
        check_places(&record);
        check_report(record.report);
    }
    dbk_json_free(json);
    return 0;
}

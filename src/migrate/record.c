/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/record.h"

static void write_hash(struct dbk_buf *out, const uint8_t hash[DBK_SHA256_SIZE])
{
    dbk_buf_append_char(out, '"');
    for (size_t i = 0; i < DBK_SHA256_SIZE; i++)
        dbk_buf_append_format(out, "%02x", hash[i]);
    dbk_buf_append_char(out, '"');
}

static bool read_hash(const struct dbk_json_node *node, uint8_t hash_out[DBK_SHA256_SIZE])
{
    if (node == NULL || node->kind != DBK_JSON_STRING || node->text.size != DBK_SHA256_SIZE * 2)
        return false;
    for (size_t i = 0; i < DBK_SHA256_SIZE * 2; i++) {
        char digit = node->text.data[i];
        bool decimal = digit >= '0' && digit <= '9';
        if (!decimal && !(digit >= 'a' && digit <= 'f'))
            return false;
        unsigned value = (unsigned)(decimal ? digit - '0' : digit - 'a' + 10);
        hash_out[i / 2] = (uint8_t)(i % 2 == 0 ? value << 4 : hash_out[i / 2] | value);
    }
    return true;
}

void dbk_migrate_record_write(const struct dbk_migrate_record *record,
                              const struct dbk_report *report, struct dbk_buf *out)
{
    char id[DBK_UUID_TEXT_SIZE];
    dbk_uuid_format(&record->book, id);
    dbk_buf_append_format(out, "{\"from\":{\"book\":\"%s\",\"folder\":", id);
    dbk_json_write_string(out, record->folder);
    dbk_buf_append_format(out,
                          "},\"after\":%ju,\"position\":%ju,\"script\":", (uintmax_t)record->after,
                          (uintmax_t)record->position);
    write_hash(out, record->script);
    dbk_buf_append_text(out, ",\"runs\":[");
    for (size_t i = 0; i < record->run_count; i++)
        dbk_buf_append_format(out, "%s[%ju,%ju]", i == 0 ? "" : ",",
                              (uintmax_t)record->runs[i].events, (uintmax_t)record->runs[i].made);
    dbk_buf_append_text(out, "],\"report\":");
    dbk_report_write(report, out);
    dbk_buf_append_char(out, '}');
}

static bool read_number(const struct dbk_json_node *node, uint64_t *value_out)
{
    if (node == NULL || node->kind != DBK_JSON_INTEGER || node->integer < 0)
        return false;
    *value_out = (uint64_t)node->integer;
    return true;
}

bool dbk_migrate_run_read(const struct dbk_json_node *node, struct dbk_migrate_run *run_out)
{
    return node->kind == DBK_JSON_ARRAY && node->count == 2 &&
           read_number(dbk_json_first(node), &run_out->events) &&
           read_number(dbk_json_sibling(dbk_json_first(node)), &run_out->made) &&
           run_out->events <= UINT32_MAX && run_out->made <= UINT32_MAX;
}

/* What the runs add up to. */
static bool read_runs(const struct dbk_json_node *list, uint64_t *events_out, uint64_t *made_out)
{
    *events_out = *made_out = 0;
    if (list == NULL || list->kind != DBK_JSON_ARRAY)
        return false;
    const struct dbk_json_node *node = dbk_json_first(list);
    for (uint32_t i = 0; i < list->count; i++, node = dbk_json_sibling(node)) {
        struct dbk_migrate_run run;
        if (!dbk_migrate_run_read(node, &run))
            return false;
        *events_out += run.events;
        *made_out += run.events * run.made;
    }
    return true;
}

int dbk_migrate_record_read(const struct dbk_event *event, struct dbk_json *json,
                            struct dbk_migrate_record *record_out, struct dbk_error *err)
{
    struct dbk_migrate_record record = {.version = event->version, .time_us = event->time_us};
    const struct dbk_json_node *root = NULL;
    uint64_t events = 0;
    uint64_t made = 0;
    bool sound = dbk_json_parse(json, event->data, &root, NULL) == DBK_OK;
    const struct dbk_json_node *from = sound ? dbk_json_member(root, "from") : NULL;
    const struct dbk_json_node *book = from == NULL ? NULL : dbk_json_member(from, "book");
    const struct dbk_json_node *folder = from == NULL ? NULL : dbk_json_member(from, "folder");
    sound = book != NULL && book->kind == DBK_JSON_STRING &&
            dbk_uuid_parse(book->text, &record.book) && folder != NULL &&
            folder->kind == DBK_JSON_STRING &&
            read_number(dbk_json_member(root, "after"), &record.after) &&
            read_number(dbk_json_member(root, "position"), &record.position) &&
            read_hash(dbk_json_member(root, "script"), record.script);
    if (sound) {
        record.folder = folder->text;
        record.run_list = dbk_json_member(root, "runs");
        record.report = dbk_json_member(root, "report");
        sound = read_runs(record.run_list, &events, &made) && record.report != NULL &&
                record.after <= record.position && events == record.position - record.after &&
                made < event->position;
    }
    if (!sound)
        return dbk_error_set(err, DBK_ECORRUPT,
                             "what the migration keeps at position %ju makes no sense",
                             (uintmax_t)event->position);
    record.first = event->position - made;
    *record_out = record;
    return DBK_OK;
}

void dbk_migrate_script_write(const char *name, struct dbk_slice source, struct dbk_buf *out)
{
    struct dbk_sha256 hash;
    uint8_t digest[DBK_SHA256_SIZE];
    bool first = true;
    dbk_sha256_init(&hash);
    dbk_sha256_update(&hash, source);
    dbk_sha256_final(&hash, digest);
    dbk_buf_append_char(out, '{');
    dbk_json_write_key(out, &first, "name");
    dbk_json_write_string(out, dbk_slice_of(name));
    dbk_json_write_key(out, &first, "sha256");
    write_hash(out, digest);
    dbk_json_write_key(out, &first, "source");
    dbk_json_write_string(out, source);
    dbk_buf_append_char(out, '}');
}

static int open_own(struct dbk_store *store, uint64_t version, bool backwards,
                    struct dbk_cursor **cursor_out, struct dbk_error *err)
{
    return dbk_cursor_open(store,
                           &(struct dbk_filter){.stream = DBK_SLICE_LITERAL(DBK_MIGRATION_STREAM),
                                                .version_min = version,
                                                .hidden = true,
                                                .raw = true,
                                                .backwards = backwards},
                           cursor_out, err);
}

/* The first of a type that the cursor has. */
static int next_of(struct dbk_cursor *cursor, const char *type, struct dbk_event *event_out,
                   struct dbk_error *err)
{
    int rc = 0;
    do
        rc = dbk_cursor_next(cursor, event_out, err);
    while (rc == 1 && !dbk_slice_equal_text(event_out->type, type));
    return rc;
}

static int find(struct dbk_store *store, uint64_t version, bool backwards, struct dbk_json *json,
                struct dbk_migrate_record *record_out, struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    int rc = open_own(store, version, backwards, &cursor, err);
    if (rc == DBK_OK)
        rc = next_of(cursor, DBK_MIGRATE_COPIED, &event, err);
    if (rc == 1)
        rc = dbk_migrate_record_read(&event, json, record_out, err) < 0 ? DBK_ECORRUPT : 1;
    dbk_cursor_free(cursor);
    return rc;
}

int dbk_migrate_record_from(struct dbk_store *store, uint64_t version, struct dbk_json *json,
                            struct dbk_migrate_record *record_out, struct dbk_error *err)
{
    return find(store, version, false, json, record_out, err);
}

int dbk_migrate_record_newest(struct dbk_store *store, struct dbk_json *json,
                              struct dbk_migrate_record *record_out, struct dbk_error *err)
{
    return find(store, 0, true, json, record_out, err);
}

int dbk_migrate_script_newest(struct dbk_store *store, struct dbk_arena *arena,
                              const char **name_out, struct dbk_slice *source_out,
                              struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    const struct dbk_json_node *root = NULL;
    struct dbk_json *json = dbk_json_create(DBK_MIGRATE_RECORD_SIZE_MAX);
    int rc = json == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory reading a migration")
                          : open_own(store, 0, true, &cursor, err);
    if (rc == DBK_OK)
        rc = next_of(cursor, DBK_MIGRATE_SCRIPT, &event, err);
    if (rc == 0)
        rc = dbk_error_set(err, DBK_ENOTFOUND, "the new book keeps no migration's script");
    if (rc == 1) {
        rc = dbk_json_parse(json, event.data, &root, err);
        const struct dbk_json_node *name = rc < 0 ? NULL : dbk_json_member(root, "name");
        const struct dbk_json_node *source = rc < 0 ? NULL : dbk_json_member(root, "source");
        if (name == NULL || name->kind != DBK_JSON_STRING || source == NULL ||
            source->kind != DBK_JSON_STRING) {
            rc = dbk_error_set(err, DBK_ECORRUPT,
                               "the migration's script at position %ju makes no sense",
                               (uintmax_t)event.position);
        } else {
            *name_out = dbk_arena_copy(arena, name->text).data;
            *source_out = dbk_arena_copy(arena, source->text);
            if (*name_out == NULL || source_out->data == NULL)
                rc = dbk_error_set(err, DBK_ENOMEM, "out of memory reading a migration");
        }
    }
    dbk_cursor_free(cursor);
    dbk_json_free(json);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The new book takes over: streams' rules and groups, in terms of what is there. */
#include "migrate/finish.h"

#include "migrate/relate.h"
#include "migrate/state.h"

#define OWN_SIZE_MAX ((size_t)64 << 20)
#define BATCH_MAX 1000
#define SETTINGS_SIZE_MAX ((size_t)1 << 20)

struct finishing {
    struct dbk_migration *migration;
    struct dbk_migration_switched *switched;
    struct dbk_arena arena; /* of what is to be stored */
    struct dbk_new_event *events;
    size_t count;
    struct dbk_cursor *cursor; /* of an event of the new book */
    struct dbk_event event;
    struct dbk_json *json;
};

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory switching to the new book");
}

/* ---- Storing what is the book's own ---- */

static int flush(struct finishing *finishing, struct dbk_error *err)
{
    const struct dbk_migration_options *options = &finishing->migration->options;
    struct dbk_append_result result;
    if (finishing->count == 0)
        return DBK_OK;
    int rc = options->append(options->context,
                             &(struct dbk_batch){.events = finishing->events,
                                                 .count = finishing->count,
                                                 .flags = DBK_APPEND_MIGRATED},
                             &result, err);
    finishing->count = 0;
    dbk_arena_reset(&finishing->arena);
    return rc;
}

static int add(void *context, const struct dbk_new_event *event, struct dbk_error *err)
{
    struct finishing *finishing = context;
    size_t max = finishing->migration->options.batch_count_max;
    if (finishing->count == (max < BATCH_MAX ? max : BATCH_MAX)) {
        int rc = flush(finishing, err);
        if (rc < 0)
            return rc;
    }
    struct dbk_new_event *own = &finishing->events[finishing->count];
    *own = *event;
    own->stream = dbk_arena_copy(&finishing->arena, event->stream);
    own->type = dbk_arena_copy(&finishing->arena, event->type);
    own->data = dbk_arena_copy(&finishing->arena, event->data);
    own->time_us = finishing->migration->time_us;
    if (own->stream.data == NULL || own->type.data == NULL || own->data.data == NULL)
        return no_memory(err);
    finishing->count++;
    return DBK_OK;
}

/* ---- What streams keep ---- */

static void note_left(struct finishing *finishing, struct dbk_slice stream)
{
    struct dbk_migration_switched *switched = finishing->switched;
    if (switched->rules_left++ > 0)
        return;
    memcpy(switched->rules_left_first, stream.data, stream.size);
    switched->rules_left_first[stream.size] = '\0';
}

static int store_rules(struct finishing *finishing, struct dbk_slice stream,
                       const struct dbk_stream_rules *rules, struct dbk_error *err)
{
    struct dbk_new_event event;
    int rc = dbk_store_rules_event(stream, rules, &finishing->arena, &event, err);
    if (rc == DBK_OK)
        rc = add(finishing, &event, err);
    finishing->switched->rules += rc == DBK_OK;
    return rc;
}

/* Rules hold for versions: only a stream that became one of its own can keep them. */
static int carry_rules(struct finishing *finishing, struct dbk_slice stream,
                       const struct dbk_stream_info *info, struct dbk_error *err)
{
    struct dbk_migration *migration = finishing->migration;
    struct dbk_stream_rules rules = info->rules;
    struct dbk_relation relation;
    int rc = dbk_migrate_relate(migration->options.source, migration->position,
                                migration->options.target,
                                dbk_store_last_position(migration->options.target), stream,
                                rules.truncate_before, &relation, err);
    if (rc < 0)
        return rc;
    if (relation.kind == DBK_RELATION_SPLIT || relation.kind == DBK_RELATION_MERGED) {
        note_left(finishing, stream);
        return DBK_OK;
    }
    if (relation.kind == DBK_RELATION_NONE) {
        /* There is nothing to keep of it; but what was closed stays so. */
        struct dbk_slice name = stream;
        if (dbk_migrate_map_stream(migration->map, &finishing->arena, &name) < 0)
            return no_memory(err);
        rules = (struct dbk_stream_rules){.closed = true};
        return info->rules.closed ? store_rules(finishing, name, &rules, err) : DBK_OK;
    }
    rules.truncate_before = rules.truncate_before > 1 ? relation.below + 1 : 0;
    if (rules.closed)
        rules.truncate_before = relation.new_version + 1;
    return store_rules(finishing, dbk_slice(relation.name, relation.name_size), &rules, err);
}

static int carry_all_rules(struct finishing *finishing, struct dbk_error *err)
{
    static const struct dbk_slice category = {.data = "$stream", .size = 7};
    struct dbk_store *source = finishing->migration->options.source;
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    int rc = dbk_cursor_open(source,
                             &(struct dbk_filter){.categories = &category,
                                                  .category_count = 1,
                                                  .position_max = finishing->migration->position,
                                                  .raw = true,
                                                  .hidden = true},
                             &cursor, err);
    while (rc == DBK_OK && (rc = dbk_cursor_next(cursor, &event, err)) == 1) {
        struct dbk_slice subject = dbk_store_rules_subject(event.stream);
        struct dbk_stream_info info;
        rc = DBK_OK;
        if (subject.size == 0 || subject.data[0] == '$')
            continue;
        rc = dbk_store_stream_info(source, subject, &info, err);
        if (rc == DBK_OK && event.version == info.rules.version)
            rc = carry_rules(finishing, subject, &info, err);
    }
    dbk_cursor_free(cursor);
    return rc;
}

/* ---- Groups ---- */

static int place(void *context, uint64_t position, struct dbk_group_place *place_out,
                 struct dbk_error *err)
{
    struct finishing *finishing = context;
    struct dbk_migrate_place found;
    uint64_t last = finishing->migration->position;
    int rc = dbk_migrate_place(finishing->migration->options.target,
                               position < last ? position : last, &found, err);
    if (rc == DBK_OK)
        *place_out = (struct dbk_group_place){found.up_to, found.first, found.count};
    return rc;
}

static int event_at(void *context, uint64_t position, const struct dbk_event **event_out,
                    struct dbk_error *err)
{
    struct finishing *finishing = context;
    dbk_cursor_free(finishing->cursor);
    finishing->cursor = NULL;
    int rc = dbk_cursor_open(
        finishing->migration->options.target,
        &(struct dbk_filter){
            .position_min = position, .position_max = position, .raw = true, .removed = true},
        &finishing->cursor, err);
    if (rc == DBK_OK)
        rc = dbk_cursor_next(finishing->cursor, &finishing->event, err);
    if (rc == 0)
        return dbk_error_set(err, DBK_ECORRUPT, "there is no event at position %ju of the new book",
                             (uintmax_t)position);
    *event_out = &finishing->event;
    return rc < 0 ? rc : DBK_OK;
}

typedef struct dbk_slice (*rename_fn)(const struct dbk_migrate_map *map, struct dbk_slice name);

static void write_names(const struct dbk_migrate_map *map, const struct dbk_json_node *list,
                        rename_fn become, struct dbk_buf *out)
{
    const struct dbk_json_node *name = dbk_json_first(list);
    dbk_buf_append_char(out, '[');
    for (uint32_t i = 0; i < list->count; i++, name = dbk_json_sibling(name)) {
        if (i > 0)
            dbk_buf_append_char(out, ',');
        if (name->kind == DBK_JSON_STRING)
            dbk_json_write_string(out, become(map, name->text));
        else
            dbk_json_write_node(out, name);
    }
    dbk_buf_append_char(out, ']');
}

/* Members of a filter, or of an item of its query, with the names of the new book. */
static void write_filter(const struct dbk_migrate_map *map, const struct dbk_json_node *object,
                         struct dbk_buf *out);

static void write_member(const struct dbk_migrate_map *map, const struct dbk_json_node *member,
                         struct dbk_buf *out)
{
    if (member->kind == DBK_JSON_ARRAY && dbk_slice_equal_text(member->key, "categories")) {
        write_names(map, member, dbk_migrate_map_category, out);
    } else if (member->kind == DBK_JSON_ARRAY && dbk_slice_equal_text(member->key, "types")) {
        write_names(map, member, dbk_migrate_map_type, out);
    } else if (member->kind == DBK_JSON_ARRAY && dbk_slice_equal_text(member->key, "query")) {
        const struct dbk_json_node *item = dbk_json_first(member);
        dbk_buf_append_char(out, '[');
        for (uint32_t i = 0; i < member->count; i++, item = dbk_json_sibling(item)) {
            if (i > 0)
                dbk_buf_append_char(out, ',');
            write_filter(map, item, out);
        }
        dbk_buf_append_char(out, ']');
    } else {
        dbk_json_write_node(out, member);
    }
}

static void write_filter(const struct dbk_migrate_map *map, const struct dbk_json_node *object,
                         struct dbk_buf *out)
{
    const struct dbk_json_node *member = dbk_json_first(object);
    if (object->kind != DBK_JSON_OBJECT) {
        dbk_json_write_node(out, object);
        return;
    }
    dbk_buf_append_char(out, '{');
    for (uint32_t i = 0; i < object->count; i++, member = dbk_json_sibling(member)) {
        if (i > 0)
            dbk_buf_append_char(out, ',');
        dbk_json_write_string(out, member->key);
        dbk_buf_append_char(out, ':');
        write_member(map, member, out);
    }
    dbk_buf_append_char(out, '}');
}

static int settings(void *context, struct dbk_slice text, struct dbk_buf *out,
                    struct dbk_error *err)
{
    struct finishing *finishing = context;
    const struct dbk_json_node *root = NULL;
    int rc = dbk_json_parse(finishing->json, text, &root, err);
    if (rc == DBK_OK)
        write_filter(finishing->migration->map, root, out);
    return rc;
}

/* ---- All of it ---- */

static int add_switched(struct finishing *finishing, struct dbk_error *err)
{
    struct dbk_migration *migration = finishing->migration;
    const struct dbk_migration_switched *switched = finishing->switched;
    struct dbk_os *os = migration->options.os;
    struct dbk_buf data;
    dbk_buf_init(&data, SETTINGS_SIZE_MAX);
    dbk_buf_append_format(&data,
                          "{\"position\":%ju,\"groups\":%ju,\"rules\":%ju,\"rules_left\":%ju}",
                          (uintmax_t)migration->position, (uintmax_t)switched->groups,
                          (uintmax_t)switched->rules, (uintmax_t)switched->rules_left);
    struct dbk_new_event event = {.stream = DBK_SLICE_LITERAL(DBK_MIGRATION_STREAM),
                                  .type = DBK_SLICE_LITERAL(DBK_MIGRATE_SWITCHED),
                                  .data = dbk_buf_slice(&data),
                                  .occurred_us = os->now_us(os),
                                  .flags = DBK_RECORD_JSON};
    int rc = data.rc < 0 ? no_memory(err) : add(finishing, &event, err);
    dbk_buf_release(&data);
    return rc;
}

int dbk_migration_switch(struct dbk_migration *migration, struct dbk_groups *groups,
                         struct dbk_migration_switched *switched_out, struct dbk_error *err)
{
    struct finishing finishing = {.migration = migration, .switched = switched_out};
    const struct dbk_group_carrying to = {
        .context = &finishing, .place = place, .settings = settings, .event = event_at, .add = add};
    *switched_out = (struct dbk_migration_switched){0};
    dbk_arena_init(&finishing.arena, OWN_SIZE_MAX);
    finishing.events = dbk_alloc_zero(BATCH_MAX, sizeof(*finishing.events));
    finishing.json = dbk_json_create(SETTINGS_SIZE_MAX);
    int rc = finishing.events == NULL || finishing.json == NULL
                 ? no_memory(err)
                 : dbk_migration_flush(migration, err);
    if (rc == DBK_OK)
        rc = carry_all_rules(&finishing, err);
    if (rc == DBK_OK)
        rc = dbk_groups_carry(groups, &to, &switched_out->groups, err);
    if (rc == DBK_OK)
        rc = add_switched(&finishing, err);
    if (rc == DBK_OK)
        rc = flush(&finishing, err);
    dbk_cursor_free(finishing.cursor);
    dbk_json_free(finishing.json);
    dbk_arena_release(&finishing.arena);
    dbk_free(finishing.events);
    return rc;
}

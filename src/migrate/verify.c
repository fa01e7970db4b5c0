/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/verify.h"

#include <stdio.h>

#include "migrate/verifying.h"

#define ARENA_SIZE_MAX ((size_t)256 << 20)
#define STATE_SIZE_MAX ((size_t)64 << 20)
#define STEP_EVENTS 1024

/* ---- States ---- */

/* The place of the first difference, as a.b[3]; nodes_out: what stands there. */
static void find_difference(const struct dbk_json_node *a, const struct dbk_json_node *b,
                            struct dbk_buf *path, const struct dbk_json_node **a_out,
                            const struct dbk_json_node **b_out)
{
    *a_out = a;
    *b_out = b;
    if (a == NULL || b == NULL || a->kind != b->kind)
        return;
    if (a->kind != DBK_JSON_OBJECT && a->kind != DBK_JSON_ARRAY)
        return;
    const struct dbk_json_node *child = dbk_json_first(a);
    const struct dbk_json_node *other = dbk_json_first(b);
    for (uint32_t i = 0; i < a->count; i++, child = dbk_json_sibling(child)) {
        if (a->kind == DBK_JSON_OBJECT)
            other = dbk_json_member_slice(b, child->key);
        else if (i >= b->count)
            other = NULL;
        if (other == NULL || !dbk_json_same(child, other)) {
            if (a->kind == DBK_JSON_ARRAY)
                dbk_buf_append_format(path, "[%u]", i);
            else
                dbk_buf_append_format(path, "%s%.*s", path->size == 0 ? "" : ".",
                                      DBK_SLICE_ARGS(child->key));
            find_difference(child, other, path, a_out, b_out);
            return;
        }
        other = a->kind == DBK_JSON_ARRAY ? dbk_json_sibling(other) : NULL;
    }
}

static void differ_state(struct dbk_verifying *verifying, struct dbk_slice stream,
                         struct dbk_slice new_stream, const struct dbk_json_node *wanted,
                         const struct dbk_json_node *found)
{
    struct dbk_buf *out = verifying->differences;
    struct dbk_buf path;
    if (!dbk_verify_begin(verifying, "state"))
        return;
    dbk_buf_init(&path, STATE_SIZE_MAX);
    find_difference(wanted, found, &path, &wanted, &found);
    dbk_verify_put_text(out, "old_stream", stream);
    dbk_verify_put_text(out, "new_stream", new_stream);
    dbk_verify_put_text(out, "at", dbk_buf_slice(&path));
    dbk_verify_put_text(out, "expected",
                        wanted == NULL ? DBK_SLICE_LITERAL("nothing") : wanted->raw);
    dbk_verify_put_text(out, "found", found == NULL ? DBK_SLICE_LITERAL("nothing") : found->raw);
    dbk_buf_append_char(out, '}');
    dbk_buf_release(&path);
}

static void differ_failed(struct dbk_verifying *verifying, struct dbk_slice stream,
                          struct dbk_slice new_stream, const struct dbk_error *failure)
{
    struct dbk_buf *out = verifying->differences;
    if (!dbk_verify_begin(verifying, "state"))
        return;
    dbk_verify_put_text(out, "old_stream", stream);
    dbk_verify_put_text(out, "new_stream", new_stream);
    dbk_verify_put_text(out, "error", dbk_slice_of(failure->message));
    dbk_buf_append_char(out, '}');
}

static int fold(struct dbk_folds *folds, struct dbk_slice stream, uint64_t version,
                struct dbk_buf *out, struct dbk_error *failure)
{
    struct dbk_fold_result result;
    dbk_buf_reset(out);
    return dbk_fold_state(folds, stream, &(struct dbk_fold_at){.version = version}, out, &result,
                          failure);
}

/* What the state of the new stream has to be. 1: it is in `expected`; 0: it is not compared. */
static int expect(struct dbk_verifying *verifying, struct dbk_slice new_stream,
                  struct dbk_error *failure)
{
    dbk_buf_reset(&verifying->expected);
    if (dbk_migrate_map_has_states(verifying->map))
        return dbk_migrate_map_state(verifying->map, dbk_buf_slice(&verifying->state), new_stream,
                                     &verifying->expected, failure);
    dbk_buf_append(&verifying->expected, dbk_buf_slice(&verifying->state));
    return verifying->expected.rc < 0 ? verifying->expected.rc : 1;
}

static int compare_states(struct dbk_verifying *verifying, struct dbk_slice stream,
                          const struct dbk_relation *relation, struct dbk_error *err)
{
    const struct dbk_migrate_verification *options = verifying->options;
    struct dbk_migrate_verified *verified = verifying->verified;
    struct dbk_slice new_stream = dbk_slice(relation->name, relation->name_size);
    const struct dbk_json_node *wanted = NULL;
    const struct dbk_json_node *found = NULL;
    struct dbk_error failure = {0};
    int rc =
        fold(options->source_folds, stream, relation->old_version, &verifying->state, &failure);
    if (rc == DBK_OK)
        rc = expect(verifying, new_stream, &failure);
    if (rc == 0) {
        verified->states_skipped++;
        return DBK_OK;
    }
    if (rc == 1)
        rc = fold(options->target_folds, new_stream, relation->new_version, &verifying->new_state,
                  &failure);
    if (rc == DBK_OK)
        rc =
            dbk_json_parse(verifying->json, dbk_buf_slice(&verifying->expected), &wanted, &failure);
    if (rc == DBK_OK)
        rc = dbk_json_parse(verifying->other, dbk_buf_slice(&verifying->new_state), &found,
                            &failure);
    verified->states_compared++;
    if (rc == DBK_ENOMEM)
        return dbk_error_set(err, rc, "%s", failure.message);
    if (rc < 0)
        differ_failed(verifying, stream, new_stream, &failure);
    else if (!dbk_json_same(wanted, found))
        differ_state(verifying, stream, new_stream, wanted, found);
    else
        verified->states_equal++;
    return DBK_OK;
}

static int verify_stream(struct dbk_verifying *verifying, struct dbk_slice stream,
                         struct dbk_error *err)
{
    struct dbk_migrate_verified *verified = verifying->verified;
    struct dbk_relation relation;
    struct dbk_stream_info info;
    struct dbk_folds *target = verifying->options->target_folds;
    int rc = dbk_store_stream_info(verifying->source, stream, &info, err);
    if (rc < 0)
        return rc;
    if (!dbk_folds_has(verifying->options->source_folds, dbk_stream_category(stream))) {
        verified->states_without_fold++;
        return DBK_OK;
    }
    if (info.first > 1 || info.time_min_us > 0) {
        verified->states_kept_less++;
        return DBK_OK;
    }
    rc = dbk_migrate_relate(verifying->source, verifying->position, verifying->target,
                            verifying->new_position, stream, 0, &relation, err);
    if (rc < 0)
        return rc;
    verified->states_split += relation.kind == DBK_RELATION_SPLIT;
    verified->states_merged += relation.kind == DBK_RELATION_MERGED;
    verified->states_dropped += relation.kind == DBK_RELATION_NONE;
    if (relation.kind != DBK_RELATION_ONE)
        return DBK_OK;
    if (!dbk_folds_has(target, dbk_stream_category(dbk_slice(relation.name, relation.name_size)))) {
        verified->states_without_fold++;
        return DBK_OK;
    }
    return compare_states(verifying, stream, &relation, err);
}

/* ---- All of it ---- */

static int tell(const struct dbk_verifying *verifying, uint64_t position)
{
    return position % STEP_EVENTS == 0
               ? dbk_migration_tell(verifying->migration, position, verifying->position)
               : DBK_OK;
}

/* What stands in the script's block before what is compared. */
static int remember(struct dbk_verifying *verifying, const struct dbk_event *event,
                    struct dbk_error *err)
{
    const struct dbk_made *made = NULL;
    size_t count = 0;
    dbk_arena_reset(&verifying->arena);
    return dbk_migrate_map_event(verifying->map, event, &verifying->arena, &made, &count, err);
}

static int take(struct dbk_verifying *verifying, const struct dbk_event *event,
                struct dbk_error *err)
{
    struct dbk_migrate_verified *verified = verifying->verified;
    bool own = event->stream.data[0] == '$';
    bool removed = (event->flags & DBK_RECORD_REMOVED) != 0;
    int rc = tell(verifying, event->position);
    if (rc < 0)
        return rc;
    verifying->counted.own += own;
    verifying->counted.removed += !own && removed;
    if (own)
        return DBK_OK;
    if (event->position <= verifying->options->after)
        return removed ? DBK_OK : remember(verifying, event, err);
    verified->old_events += !removed;
    if (!verifying->apart)
        rc = removed ? dbk_verify_pass_removed(verifying, event, err)
                     : dbk_verify_compare_event(verifying, event, err);
    if (rc < 0 || event->version != 1)
        return rc;
    bool folds = verifying->options->source_folds != NULL && verifying->options->after == 0 &&
                 verified->old_streams % verifying->every == 0;
    verified->old_streams++;
    return folds ? verify_stream(verifying, event->stream, err) : DBK_OK;
}

/* What the report has of a type that is in the new book. */
static uint64_t reported(const struct dbk_report *report, struct dbk_slice type)
{
    uint64_t events = 0;
    for (size_t i = 0; i < report->types.count; i++)
        if (dbk_slice_equal(report->types.rows[i].to, type))
            events += report->types.rows[i].events;
    return events;
}

static void differ_count(struct dbk_verifying *verifying, const char *what, struct dbk_slice name,
                         uint64_t expected, uint64_t found)
{
    struct dbk_buf *out = verifying->differences;
    if (!dbk_verify_begin(verifying, what))
        return;
    dbk_verify_put_text(out, "name", name);
    dbk_verify_put_number(out, "expected", expected);
    dbk_verify_put_number(out, "found", found);
    dbk_buf_append_char(out, '}');
}

static void compare_counts(struct dbk_verifying *verifying)
{
    const struct dbk_report *report = &verifying->said;
    struct dbk_buf said;
    struct dbk_buf counted;
    dbk_buf_init(&said, DBK_MIGRATE_RECORD_SIZE_MAX);
    dbk_buf_init(&counted, DBK_MIGRATE_RECORD_SIZE_MAX);
    dbk_report_write(report, &said);
    dbk_report_write(&verifying->counted, &counted);
    if (verifying->verified->removed_since == 0 &&
        !dbk_slice_equal(dbk_buf_slice(&said), dbk_buf_slice(&counted)) &&
        dbk_verify_begin(verifying, "report")) {
        struct dbk_buf *out = verifying->differences;
        bool first = false;
        dbk_json_write_key(out, &first, "said");
        dbk_buf_append(out, dbk_buf_slice(&said));
        dbk_json_write_key(out, &first, "counted");
        dbk_buf_append(out, dbk_buf_slice(&counted));
        dbk_buf_append_char(out, '}');
    }
    for (size_t i = 0; i < verifying->found.types.count; i++) {
        const struct dbk_report_row *row = &verifying->found.types.rows[i];
        uint64_t events = reported(report, row->from);
        if (events != row->events && !dbk_slice_equal_text(row->from, "…"))
            differ_count(verifying, "type", row->from, events, row->events);
    }
    if (verifying->versions != verifying->verified->new_events)
        differ_count(verifying, "versions", DBK_SLICE_LITERAL("of all streams"),
                     verifying->verified->new_events, verifying->versions);
    dbk_buf_release(&said);
    dbk_buf_release(&counted);
}

/* Nothing may stand in the new book behind what was expected. */
static int check_end(struct dbk_verifying *verifying, struct dbk_error *err)
{
    char id[DBK_UUID_TEXT_SIZE];
    if (verifying->apart)
        return DBK_OK;
    int rc = dbk_verify_look(verifying, err);
    if (rc == 1) {
        dbk_uuid_format(&verifying->next.id, id);
        dbk_verify_differ_event(verifying, "id", 0, verifying->next.position,
                                DBK_SLICE_LITERAL("none"), dbk_slice_of(id));
        verifying->apart = true;
    }
    return rc < 0 ? rc : DBK_OK;
}

static int open_cursors(struct dbk_verifying *verifying, struct dbk_error *err)
{
    uint64_t after = verifying->options->after;
    struct dbk_migrate_place place = {0};
    int rc = after == 0 ? DBK_OK : dbk_migrate_place(verifying->target, after, &place, err);
    if (rc == DBK_OK)
        rc = dbk_cursor_open(
            verifying->source,
            &(struct dbk_filter){.position_min = dbk_migrate_map_begin(verifying->map, after),
                                 .position_max = verifying->position,
                                 .as_written = dbk_migrate_map_is_raw(verifying->map),
                                 .hidden = true,
                                 .removed = true},
            &verifying->old, err);
    if (rc == DBK_OK)
        rc = dbk_cursor_open(verifying->target,
                             &(struct dbk_filter){.position_min = place.up_to + 1,
                                                  .position_max = verifying->new_position,
                                                  .as_written = true},
                             &verifying->new, err);
    return rc;
}

static int open_all(struct dbk_verifying *verifying, struct dbk_error *err)
{
    struct dbk_store_stats stats;
    struct dbk_migrate_record record;
    int rc = dbk_report_init(&verifying->counted, err);
    if (rc == DBK_OK)
        rc = dbk_report_init(&verifying->found, err);
    if (rc == DBK_OK)
        rc = dbk_report_init(&verifying->said, err);
    verifying->json = dbk_json_create(STATE_SIZE_MAX);
    verifying->other = dbk_json_create(STATE_SIZE_MAX);
    if (rc == DBK_OK && (verifying->json == NULL || verifying->other == NULL))
        rc = dbk_error_set(err, DBK_ENOMEM, "out of memory verifying a migration");
    if (rc == DBK_OK)
        rc = dbk_migrate_record_newest(verifying->target, verifying->json, &record, err);
    if (rc == 0)
        return dbk_error_set(err, DBK_ENOTFOUND, "the new book holds nothing of a migration");
    if (rc < 0)
        return rc;
    verifying->position = record.position;
    struct dbk_migrate_place place;
    if (!dbk_migrate_place_in(&record, record.position, &place))
        return dbk_error_set(err, DBK_ECORRUPT, "the migration's last batch makes no sense");
    verifying->new_position = place.up_to;
    rc = dbk_report_read(&verifying->said, record.report, err);
    if (rc == DBK_OK)
        rc = dbk_store_stats(verifying->source, &stats, err);
    if (rc < 0)
        return rc;
    uint64_t sample = verifying->options->sample;
    verifying->every = sample == 0 || sample >= stats.streams ? 1 : stats.streams / sample;
    return verifying->options->after >= verifying->position ? DBK_OK : open_cursors(verifying, err);
}

int dbk_migration_verify(struct dbk_migration *migration,
                         const struct dbk_migrate_verification *options,
                         struct dbk_migrate_verified *verified_out, struct dbk_buf *differences,
                         struct dbk_error *err)
{
    struct dbk_event event;
    struct dbk_verifying verifying = {.migration = migration,
                                      .options = options,
                                      .verified = verified_out,
                                      .differences = differences,
                                      .source = migration->options.source,
                                      .target = migration->options.target};
    *verified_out = (struct dbk_migrate_verified){0};
    dbk_arena_init(&verifying.arena, ARENA_SIZE_MAX);
    dbk_buf_init(&verifying.state, STATE_SIZE_MAX);
    dbk_buf_init(&verifying.new_state, STATE_SIZE_MAX);
    dbk_buf_init(&verifying.expected, STATE_SIZE_MAX);
    int rc = dbk_migration_open_map(migration, &verifying.map, err);
    if (rc == DBK_OK)
        rc = open_all(&verifying, err);
    while (rc == DBK_OK && verifying.old != NULL &&
           (rc = dbk_cursor_next(verifying.old, &event, err)) == 1)
        rc = take(&verifying, &event, err);
    if (rc == DBK_OK && verifying.old != NULL)
        rc = check_end(&verifying, err);
    if (rc == DBK_OK && !verifying.apart && options->after == 0)
        compare_counts(&verifying);
    if (rc == DBK_OK && differences->rc < 0)
        rc = dbk_error_set(err, differences->rc, "the differences: %s",
                           dbk_code_text(differences->rc));
    verified_out->position = verifying.position;
    dbk_cursor_free(verifying.old);
    dbk_cursor_free(verifying.new);
    dbk_migrate_map_free(verifying.map);
    dbk_report_release(&verifying.counted);
    dbk_report_release(&verifying.found);
    dbk_report_release(&verifying.said);
    dbk_json_free(verifying.json);
    dbk_json_free(verifying.other);
    dbk_arena_release(&verifying.arena);
    dbk_buf_release(&verifying.state);
    dbk_buf_release(&verifying.new_state);
    dbk_buf_release(&verifying.expected);
    return rc;
}

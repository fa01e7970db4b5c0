/* SPDX-License-Identifier: Apache-2.0 */
/* The state file: what a split is about, and how far it is. docs/format/split.md */
#include <stdio.h>

#include "base/assert.h"
#include "json/json.h"
#include "split/inside.h"

#define FORMAT 1
#define STATE_SIZE_MAX ((size_t)4 << 20)

static const char *const steps[] = {
    [DBK_SPLIT_NONE] = "none",
    [DBK_SPLIT_STARTING] = "starting",
    [DBK_SPLIT_READY] = "ready",
    [DBK_SPLIT_SWITCHING] = "switching",
    [DBK_SPLIT_TURNING] = "turning",
    [DBK_SPLIT_MOVED] = "moved",
    [DBK_SPLIT_CONFIRMING] = "confirming",
    [DBK_SPLIT_ABORTING] = "aborting",
};
#define STEP_COUNT (sizeof(steps) / sizeof(steps[0]))

const char *dbk_split_step_text(enum dbk_split_step step)
{
    return steps[step];
}

const char *dbk_split_side_text(enum dbk_split_side side)
{
    return side == DBK_SPLIT_OLD ? "old" : "new";
}

/* ---- Writing ---- */

static void put(struct dbk_buf *out, bool *first, const char *key, const char *text)
{
    dbk_json_write_key(out, first, key);
    dbk_json_write_string(out, dbk_slice_of(text));
}

static void put_number(struct dbk_buf *out, bool *first, const char *key, int64_t number)
{
    dbk_json_write_key(out, first, key);
    dbk_json_write_integer(out, number);
}

static void put_place(struct dbk_buf *out, bool *first, const char *key,
                      const struct dbk_split_place *place)
{
    bool none = true;
    dbk_json_write_key(out, first, key);
    dbk_buf_append_char(out, '{');
    put(out, &none, "database", place->database);
    put(out, &none, "address", place->address);
    put(out, &none, "reach", place->reach);
    dbk_buf_append_char(out, '}');
}

static void put_keys(struct dbk_buf *out, bool *first, const struct dbk_split_state *state)
{
    dbk_json_write_key(out, first, "keys");
    dbk_buf_append_char(out, '[');
    for (size_t i = 0; i < state->key_count; i++) {
        bool none = true;
        dbk_buf_append_text(out, i > 0 ? ",{" : "{");
        put(out, &none, "table", state->keys[i].table);
        put(out, &none, "name", state->keys[i].name);
        put(out, &none, "text", state->keys[i].text);
        dbk_buf_append_char(out, '}');
    }
    dbk_buf_append_char(out, ']');
}

void dbk_split_state_encode(const struct dbk_split_state *state, struct dbk_buf *out)
{
    bool first = true;
    dbk_buf_append_char(out, '{');
    put_number(out, &first, "format", FORMAT);
    put(out, &first, "service", state->service);
    put(out, &first, "name", state->name);
    put(out, &first, "home", state->home);
    put(out, &first, "step", steps[state->step]);
    put(out, &first, "target", dbk_split_side_text(state->target));
    put_place(out, &first, "old", &state->places[DBK_SPLIT_OLD]);
    put_place(out, &first, "new", &state->places[DBK_SPLIT_NEW]);
    dbk_json_write_key(out, &first, "tables");
    dbk_buf_append_char(out, '[');
    for (size_t i = 0; i < state->table_count; i++) {
        dbk_buf_append_text(out, i > 0 ? "," : "");
        dbk_json_write_string(out, dbk_slice_of(state->tables[i]));
    }
    dbk_buf_append_char(out, ']');
    put_keys(out, &first, state);
    put_number(out, &first, "rows", state->rows);
    put_number(out, &first, "verified_us", state->verified_us);
    put_number(out, &first, "verify_pause_us", state->verify_pause_us);
    put_number(out, &first, "pause_us", state->pause_us);
    dbk_buf_append_char(out, '}');
}

/* ---- Reading ---- */

struct reading {
    struct dbk_arena *arena;
    struct dbk_error *err;
    int rc;
};

static void fail(struct reading *reading, const char *key)
{
    if (reading->rc == DBK_OK)
        reading->rc = dbk_error_set(reading->err, DBK_ECORRUPT,
                                    "the state of the split has no good `%s`", key);
}

static const char *text_of(struct reading *reading, const struct dbk_json_node *node,
                           const char *key)
{
    if (node == NULL || node->kind != DBK_JSON_STRING ||
        (node->text.size > 0 && memchr(node->text.data, 0, node->text.size) != NULL)) {
        fail(reading, key);
        return "";
    }
    const char *text = dbk_arena_copy(reading->arena, node->text).data;
    if (text == NULL && reading->rc == DBK_OK)
        reading->rc = dbk_error_set(reading->err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    return text == NULL ? "" : text;
}

static const char *take(struct reading *reading, const struct dbk_json_node *object,
                        const char *key)
{
    return text_of(reading, dbk_json_member(object, key), key);
}

static int64_t take_number(struct reading *reading, const struct dbk_json_node *object,
                           const char *key)
{
    const struct dbk_json_node *node = dbk_json_member(object, key);
    if (node != NULL && node->kind == DBK_JSON_INTEGER && node->integer >= 0)
        return node->integer;
    fail(reading, key);
    return 0;
}

static struct dbk_split_place take_place(struct reading *reading,
                                         const struct dbk_json_node *object, const char *key)
{
    const struct dbk_json_node *node = dbk_json_member(object, key);
    return (struct dbk_split_place){.database = take(reading, node, "database"),
                                    .address = take(reading, node, "address"),
                                    .reach = take(reading, node, "reach")};
}

static void take_step(struct reading *reading, const struct dbk_json_node *root,
                      struct dbk_split_state *state)
{
    const char *step = take(reading, root, "step");
    const char *target = take(reading, root, "target");
    size_t i = DBK_SPLIT_STARTING;
    while (i < STEP_COUNT && strcmp(steps[i], step) != 0)
        i++;
    if (i == STEP_COUNT)
        fail(reading, "step");
    else
        state->step = (enum dbk_split_step)i;
    if (strcmp(target, "old") != 0 && strcmp(target, "new") != 0)
        fail(reading, "target");
    state->target = strcmp(target, "new") == 0 ? DBK_SPLIT_NEW : DBK_SPLIT_OLD;
}

static const struct dbk_json_node *take_list(struct reading *reading,
                                             const struct dbk_json_node *root, const char *key,
                                             size_t size, void **items_out, size_t *count_out)
{
    const struct dbk_json_node *list = dbk_json_member(root, key);
    if (list == NULL || list->kind != DBK_JSON_ARRAY) {
        fail(reading, key);
        return NULL;
    }
    *items_out = dbk_arena_alloc_zero(reading->arena, (size_t)list->count + 1, size);
    if (*items_out == NULL) {
        reading->rc = dbk_error_set(reading->err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
        return NULL;
    }
    *count_out = list->count;
    return dbk_json_first(list);
}

static void take_lists(struct reading *reading, const struct dbk_json_node *root,
                       struct dbk_split_state *state)
{
    void *items = NULL;
    const struct dbk_json_node *node =
        take_list(reading, root, "tables", sizeof(*state->tables), &items, &state->table_count);
    state->tables = items;
    for (size_t i = 0; node != NULL && i < state->table_count; i++, node = dbk_json_sibling(node))
        state->tables[i] = text_of(reading, node, "tables");
    if (reading->rc == DBK_OK && state->table_count == 0)
        fail(reading, "tables");
    items = NULL;
    node = take_list(reading, root, "keys", sizeof(*state->keys), &items, &state->key_count);
    state->keys = items;
    for (size_t i = 0; node != NULL && i < state->key_count; i++, node = dbk_json_sibling(node))
        state->keys[i] = (struct dbk_split_key){.table = take(reading, node, "table"),
                                                .name = take(reading, node, "name"),
                                                .text = take(reading, node, "text")};
}

static int take_state(struct reading *reading, const struct dbk_json_node *root,
                      struct dbk_split_state *state)
{
    int64_t format = take_number(reading, root, "format");
    if (reading->rc == DBK_OK && format != FORMAT)
        return dbk_error_set(reading->err, DBK_EFORMAT,
                             "the state of the split has format %lld, and this program knows %d",
                             (long long)format, FORMAT);
    state->service = take(reading, root, "service");
    state->name = take(reading, root, "name");
    state->home = take(reading, root, "home");
    take_step(reading, root, state);
    state->places[DBK_SPLIT_OLD] = take_place(reading, root, "old");
    state->places[DBK_SPLIT_NEW] = take_place(reading, root, "new");
    take_lists(reading, root, state);
    state->rows = take_number(reading, root, "rows");
    state->verified_us = take_number(reading, root, "verified_us");
    state->verify_pause_us = take_number(reading, root, "verify_pause_us");
    state->pause_us = take_number(reading, root, "pause_us");
    return reading->rc;
}

int dbk_split_state_decode(struct dbk_slice text, struct dbk_arena *arena,
                           struct dbk_split_state *state_out, struct dbk_error *err)
{
    struct reading reading = {.arena = arena, .err = err};
    struct dbk_split_state state = {0};
    const struct dbk_json_node *root = NULL;
    struct dbk_error failure = {0};
    struct dbk_json *json = dbk_json_create(STATE_SIZE_MAX);
    if (json == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    int rc = dbk_json_parse(json, text, &root, &failure);
    if (rc < 0)
        rc = dbk_error_set(err, rc == DBK_ENOMEM ? rc : DBK_ECORRUPT, "the state of the split: %s",
                           failure.message);
    else
        rc = take_state(&reading, root, &state);
    dbk_json_free(json);
    if (rc == DBK_OK)
        *state_out = state;
    return rc;
}

/* ---- The file ---- */

static int read_file(struct dbk_split *split, struct dbk_buf *text, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    int rc = dbk_os_read_file(split->options.os, split->path, STATE_SIZE_MAX, text, &failure);
    return rc < 0 && rc != DBK_ENOTFOUND ? dbk_error_set(err, rc, "%s", failure.message) : rc;
}

static int know(struct dbk_split *split, struct dbk_slice text, struct dbk_error *err)
{
    char *known = dbk_copy_text(text);
    if (known == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    dbk_free(split->known);
    split->known = known;
    return DBK_OK;
}

int dbk_split_load(struct dbk_split *split, struct dbk_error *err)
{
    struct dbk_buf text;
    dbk_buf_init(&text, STATE_SIZE_MAX);
    int rc = read_file(split, &text, err);
    if (rc == DBK_OK)
        rc = dbk_split_state_decode(dbk_buf_slice(&text), &split->arena, &split->state, err);
    if (rc == DBK_OK || rc == DBK_ENOTFOUND)
        rc = know(split, dbk_buf_slice(&text), err);
    dbk_buf_release(&text);
    return rc;
}

int dbk_split_check_known(struct dbk_split *split, struct dbk_error *err)
{
    struct dbk_buf text;
    dbk_buf_init(&text, STATE_SIZE_MAX);
    int rc = read_file(split, &text, err);
    if (rc == DBK_OK || rc == DBK_ENOTFOUND)
        rc = dbk_slice_equal_text(dbk_buf_slice(&text), split->known)
                 ? DBK_OK
                 : dbk_error_set(err, DBK_EBUSY,
                                 "another command has gone on with the split of %s meanwhile: "
                                 "--status; nothing was changed",
                                 split->state.service);
    dbk_buf_release(&text);
    return rc;
}

int dbk_split_save(struct dbk_split *split, struct dbk_error *err)
{
    struct dbk_buf text;
    dbk_assert(split->state.step != DBK_SPLIT_NONE);
    dbk_buf_init(&text, STATE_SIZE_MAX);
    dbk_split_state_encode(&split->state, &text);
    dbk_buf_append_char(&text, '\n');
    int rc = text.rc < 0
                 ? dbk_error_set(err, text.rc, "the state of the split: %s", dbk_code_text(text.rc))
                 : dbk_os_make_folder(split->options.os, split->options.folder, err);
    if (rc == DBK_OK)
        rc = dbk_os_replace_file(split->options.os, split->path, dbk_buf_slice(&text), err);
    if (rc == DBK_OK)
        rc = know(split, dbk_buf_slice(&text), err);
    dbk_buf_release(&text);
    return rc;
}

int dbk_split_step_to(struct dbk_split *split, enum dbk_split_step step, struct dbk_error *err)
{
    split->state.step = step;
    return dbk_split_save(split, err);
}

int dbk_split_forget(struct dbk_split *split, struct dbk_error *err)
{
    struct dbk_os *os = split->options.os;
    int rc = os->remove(os, split->path, err);
    if (rc == DBK_OK)
        rc = os->sync_folder(os, split->options.folder, err);
    if (rc == DBK_OK)
        rc = know(split, (struct dbk_slice){0}, err);
    if (rc == DBK_OK)
        split->state = (struct dbk_split_state){.service = split->options.service};
    return rc;
}

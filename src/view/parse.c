/* SPDX-License-Identifier: Apache-2.0 */
/* The comment head of a view's file: `-- key: value` lines before the SELECT. */
#include "base/time.h"
#include "view/alert.h"
#include "view/head.h"

static const char *const head_keys[DBK_HEAD_COUNT] = {
    [DBK_HEAD_REFRESH] = "refresh", [DBK_HEAD_DATABASE] = "database",
    [DBK_HEAD_INDEX] = "index",     [DBK_HEAD_MODE] = "mode",
    [DBK_HEAD_KEY] = "key",         [DBK_HEAD_CHANGES] = "changes",
    [DBK_HEAD_ALERT] = "alert",     [DBK_HEAD_WHEN] = "when",
    [DBK_HEAD_TO] = "to",           [DBK_HEAD_HEADER] = "header",
    [DBK_HEAD_KEEP] = "keep",       [DBK_HEAD_VERIFY] = "verify",
};
#define INDEXES_MAX 16
#define KEY_COLUMNS_MAX 16
#define CHANGES_MAX UINT64_C(100000000)
#define CHANGE_MEBIBYTES_MAX UINT64_C(1048576)
#define KEEP_US_MIN INT64_C(60000000)
#define KEEP_US_MAX (INT64_C(3650) * 86400 * 1000000)

int dbk_head_fault(struct dbk_head *head, const char *at, const char *what, const char *why,
                   const char *fix)
{
    struct dbk_diagnostic item = {.file = head->file, .what = what, .why = why, .fix = fix};
    dbk_text_place(head->text, (size_t)(at - head->text.data), &item.line, &item.column);
    return dbk_diagnostics_add(head->diagnostics, &item);
}

struct dbk_slice dbk_head_trim(struct dbk_slice text)
{
    while (text.size > 0 && (text.data[0] == ' ' || text.data[0] == '\t'))
        text = dbk_slice(text.data + 1, text.size - 1);
    while (text.size > 0 && strchr(" \t\r", text.data[text.size - 1]) != NULL)
        text.size--;
    return text;
}

static int take_refresh(struct dbk_head *head, struct dbk_slice value)
{
    bool lag = dbk_slice_starts_with(value, DBK_SLICE_LITERAL("lag"));
    head->definition->refresh_place = (size_t)(value.data - head->text.data);
    if (dbk_schedule_parse(value, &head->definition->schedule)) {
        head->definition->schedule.seed = dbk_schedule_seed(head->definition->name);
        return DBK_OK;
    }
    const char *what = dbk_arena_format(
        head->arena, lag ? "\"%.*s\" is no lag" : "\"%.*s\" is no schedule", DBK_SLICE_ARGS(value));
    if (what == NULL)
        return DBK_ENOMEM;
    if (lag)
        return dbk_head_fault(
            head, value.data, what, "how far behind the view may be is not said",
            "write `lag 10 s`, from 100 ms to 10 years; `continuous` follows at once");
    return dbk_head_fault(
        head, value.data, what, "the view would never be refreshed",
        "write `on demand`, `continuous`, `lag 10 s`, `downstream`, `every 5 minutes` or "
        "`every day at 02:00` (UTC), `every day at 02:00 Europe/Berlin`, with up to half "
        "of its period of jitter: `every 1 hour ± 5 minutes`, of a day 6 hours");
}

static int take_index(struct dbk_head *head, struct dbk_slice value)
{
    struct dbk_view_definition *definition = head->definition;
    if (definition->index_count == INDEXES_MAX)
        return dbk_head_fault(head, value.data, "more than 16 indexes", "each slows every refresh",
                              "keep the ones that queries use");
    const char **indexes =
        dbk_arena_alloc(head->arena, (definition->index_count + 1) * sizeof(*indexes));
    const char *index = dbk_arena_copy(head->arena, value).data;
    if (indexes == NULL || index == NULL)
        return DBK_ENOMEM;
    for (size_t i = 0; i < definition->index_count; i++)
        indexes[i] = definition->indexes[i];
    indexes[definition->index_count++] = index;
    definition->indexes = indexes;
    return DBK_OK;
}

const char *dbk_view_mode_text(enum dbk_view_mode mode)
{
    static const char *const texts[] = {"auto", "full", "incremental"};
    return texts[mode];
}

static int take_mode(struct dbk_head *head, struct dbk_slice value)
{
    for (enum dbk_view_mode mode = DBK_VIEW_AUTO; mode <= DBK_VIEW_INCREMENTAL; mode++) {
        if (!dbk_slice_equal_text(value, dbk_view_mode_text(mode)))
            continue;
        head->definition->mode = mode;
        head->definition->mode_place = (size_t)(value.data - head->text.data);
        return DBK_OK;
    }
    const char *what = dbk_arena_format(head->arena, "\"%.*s\" is no mode", DBK_SLICE_ARGS(value));
    if (what == NULL)
        return DBK_ENOMEM;
    return dbk_head_fault(head, value.data, what, "how to refresh the view is not said",
                          "write `auto`, `full` or `incremental`");
}

/* `-- key: date, region` */
static int take_key(struct dbk_head *head, struct dbk_slice value)
{
    struct dbk_view_definition *definition = head->definition;
    const char **columns = dbk_arena_alloc(head->arena, KEY_COLUMNS_MAX * sizeof(*columns));
    if (columns == NULL)
        return DBK_ENOMEM;
    definition->key_place = (size_t)(value.data - head->text.data);
    for (size_t at = 0; at <= value.size;) {
        const char *comma = at == value.size ? NULL : memchr(value.data + at, ',', value.size - at);
        size_t end = comma == NULL ? value.size : (size_t)(comma - value.data);
        struct dbk_slice name = dbk_head_trim(dbk_slice(value.data + at, end - at));
        if (name.size == 0 || definition->key_count == KEY_COLUMNS_MAX)
            return dbk_head_fault(
                head, value.data + at, "a key is columns with commas between, at most 16",
                "by what a row is known would not be said", "write `-- key: date, region`");
        columns[definition->key_count] = dbk_arena_copy(head->arena, name).data;
        if (columns[definition->key_count++] == NULL)
            return DBK_ENOMEM;
        at = end + 1;
    }
    definition->key = columns;
    return DBK_OK;
}

static bool strip(struct dbk_slice *text, const char *word)
{
    struct dbk_slice wanted = dbk_slice_of(word);
    if (!dbk_slice_starts_with(*text, wanted))
        return false;
    *text = dbk_head_trim(dbk_slice(text->data + wanted.size, text->size - wanted.size));
    return true;
}

static bool take_number(struct dbk_slice *text, uint64_t *number)
{
    size_t digits = 0;
    while (digits < text->size && text->data[digits] >= '0' && text->data[digits] <= '9')
        digits++;
    if (!dbk_slice_to_u64(dbk_slice(text->data, digits), number) || *number == 0)
        return false;
    *text = dbk_head_trim(dbk_slice(text->data + digits, text->size - digits));
    return true;
}

/* "keep", "keep 500000 rows", "keep 500000 rows, 256 MiB" */
static bool parse_changes(struct dbk_slice text, struct dbk_view_definition *definition)
{
    uint64_t mebibytes = 0;
    if (!strip(&text, "keep"))
        return false;
    definition->keeps_changes = true;
    if (text.size == 0)
        return true;
    if (!take_number(&text, &definition->changes_max) || !strip(&text, "rows") ||
        definition->changes_max > CHANGES_MAX)
        return false;
    if (text.size == 0)
        return true;
    if (!strip(&text, ",") || !take_number(&text, &mebibytes) || !strip(&text, "MiB") ||
        mebibytes > CHANGE_MEBIBYTES_MAX)
        return false;
    definition->change_bytes_max = mebibytes << 20;
    return text.size == 0;
}

static int take_changes(struct dbk_head *head, struct dbk_slice value)
{
    if (parse_changes(value, head->definition))
        return DBK_OK;
    const char *what = dbk_arena_format(head->arena, "\"%.*s\" does not say what changes to keep",
                                        DBK_SLICE_ARGS(value));
    if (what == NULL)
        return DBK_ENOMEM;
    return dbk_head_fault(
        head, value.data, what, "who follows the view could not go on where it was",
        "write `keep`, `keep 500000 rows` or `keep 500000 rows, 256 MiB`, at most "
        "100000000 rows and 1048576 MiB");
}

/* `-- keep: 7 days`, `-- keep: nothing` */
static int take_keep(struct dbk_head *head, struct dbk_slice value)
{
    int64_t keep_us = 0;
    if (!dbk_slice_equal_text(value, "nothing") &&
        (!dbk_duration_parse(value, &keep_us) || keep_us < KEEP_US_MIN || keep_us > KEEP_US_MAX)) {
        const char *what = dbk_arena_format(
            head->arena, "\"%.*s\" does not say how long what a change replaces is kept",
            DBK_SLICE_ARGS(value));
        if (what == NULL)
            return DBK_ENOMEM;
        return dbk_head_fault(head, value.data, what, "a changed view could not be rolled back",
                              "write `7 days`, from 1 minute to 10 years, or `nothing`");
    }
    head->definition->keep_us = keep_us;
    return DBK_OK;
}

/* `-- verify: every day at 04:00 Europe/Berlin`, `-- verify: every 7 days and refresh` */
static int take_verify(struct dbk_head *head, struct dbk_slice value)
{
    const struct dbk_slice mends = DBK_SLICE_LITERAL(" and refresh");
    struct dbk_view_definition *definition = head->definition;
    struct dbk_slice schedule = value;
    definition->verify_place = (size_t)(value.data - head->text.data);
    definition->verify_mends =
        value.size > mends.size &&
        dbk_slice_equal(dbk_slice(value.data + value.size - mends.size, mends.size), mends);
    if (definition->verify_mends)
        schedule = dbk_head_trim(dbk_slice(value.data, value.size - mends.size));
    if (dbk_schedule_parse(schedule, &definition->verify) &&
        dbk_schedule_next(&definition->verify, 0) != DBK_TIME_NONE) {
        definition->verify.seed = dbk_schedule_seed(definition->name);
        return DBK_OK;
    }
    const char *what = dbk_arena_format(
        head->arena, "\"%.*s\" does not say when the view is verified", DBK_SLICE_ARGS(value));
    if (what == NULL)
        return DBK_ENOMEM;
    return dbk_head_fault(head, value.data, what, "it would never be",
                          "write `every day at 04:00 Europe/Berlin` or `every 7 days ± 1 hour`, "
                          "and ` and refresh` behind it where what is wrong is to be refreshed; "
                          "without the line only `view verify` does it");
}

static int take_database(struct dbk_head *head, struct dbk_slice value)
{
    head->definition->database = dbk_arena_copy(head->arena, value).data;
    return head->definition->database == NULL ? DBK_ENOMEM : DBK_OK;
}

static int take_pair(struct dbk_head *head, struct dbk_slice key, struct dbk_slice value)
{
    static int (*const take[])(struct dbk_head * head, struct dbk_slice value) = {
        [DBK_HEAD_REFRESH] = take_refresh,
        [DBK_HEAD_DATABASE] = take_database,
        [DBK_HEAD_INDEX] = take_index,
        [DBK_HEAD_MODE] = take_mode,
        [DBK_HEAD_KEY] = take_key,
        [DBK_HEAD_CHANGES] = take_changes,
        [DBK_HEAD_ALERT] = dbk_head_take_alert,
        [DBK_HEAD_WHEN] = dbk_head_take_when,
        [DBK_HEAD_TO] = dbk_head_take_to,
        [DBK_HEAD_HEADER] = dbk_head_take_header,
        [DBK_HEAD_KEEP] = take_keep,
        [DBK_HEAD_VERIFY] = take_verify,
    };
    size_t which = 0;
    while (which < DBK_HEAD_COUNT && !dbk_slice_equal_text(key, head_keys[which]))
        which++;
    if (which == DBK_HEAD_COUNT) {
        const char *name = dbk_arena_copy(head->arena, key).data;
        const char *closest =
            name == NULL ? NULL : dbk_closest_name(name, head_keys, DBK_HEAD_COUNT);
        if (closest == NULL) /* An ordinary comment that happens to hold a colon. */
            return name == NULL ? DBK_ENOMEM : DBK_OK;
        const char *what = dbk_arena_format(head->arena, "unknown key `%s`", name);
        const char *fix = dbk_arena_format(head->arena, "did you mean `%s`?", closest);
        if (what == NULL || fix == NULL)
            return DBK_ENOMEM;
        return dbk_head_fault(head, key.data, what, "it would be taken for a comment", fix);
    }
    if (head->seen[which] && which != DBK_HEAD_INDEX && which != DBK_HEAD_HEADER &&
        which != DBK_HEAD_ALERT)
        return dbk_head_fault(head, key.data, "this key stands twice in the head",
                              "one of them is lost", "keep one");
    head->seen[which] = true;
    if (value.size == 0)
        return dbk_head_fault(head, key.data, "this key has no value",
                              "nothing can be done with it", "write its value behind the colon");
    return take[which](head, value);
}

/* A head line is `-- key: value`, the key one word of small letters. */
static int take_line(struct dbk_head *head, struct dbk_slice line)
{
    struct dbk_slice text = dbk_head_trim(dbk_slice(line.data + 2, line.size - 2));
    const char *colon = text.size == 0 ? NULL : memchr(text.data, ':', text.size);
    if (colon == NULL)
        return DBK_OK;
    struct dbk_slice key = dbk_slice(text.data, (size_t)(colon - text.data));
    for (size_t i = 0; i < key.size; i++) {
        if (key.data[i] < 'a' || key.data[i] > 'z')
            return DBK_OK;
    }
    size_t behind = key.size + 1;
    return take_pair(head, key, dbk_head_trim(dbk_slice(text.data + behind, text.size - behind)));
}

int dbk_view_parse(const char *name, const char *file, struct dbk_slice text,
                   const char *database_default, struct dbk_arena *arena,
                   struct dbk_view_definition *definition_out, struct dbk_diagnostics *diagnostics,
                   struct dbk_error *err)
{
    struct dbk_view_definition definition = {
        .name = name,
        .file = file,
        .database = database_default,
        .sql = text,
        .keep_us = DBK_VIEW_KEEP_US,
    };
    struct dbk_head head = {.file = file,
                            .text = text,
                            .arena = arena,
                            .diagnostics = diagnostics,
                            .definition = &definition};
    size_t offset = 0;
    int rc = DBK_OK;
    while (offset < text.size && rc == DBK_OK) {
        const char *end = memchr(text.data + offset, '\n', text.size - offset);
        size_t size = end == NULL ? text.size - offset : (size_t)(end - text.data) - offset;
        struct dbk_slice line = dbk_head_trim(dbk_slice(text.data + offset, size));
        if (line.size > 0 && !dbk_slice_starts_with(line, DBK_SLICE_LITERAL("--")))
            break;
        if (line.size > 0)
            rc = take_line(&head, line);
        offset += size + 1;
    }
    if (rc == DBK_OK)
        rc = dbk_head_end_alert(&head);
    if (rc == DBK_OK && !head.seen[DBK_HEAD_REFRESH])
        rc = dbk_head_fault(&head, text.data, "the view does not say when it is refreshed",
                            "its result would stay empty",
                            "begin the file with `-- refresh: on demand` or another schedule");
    if (rc < 0)
        return dbk_error_set(err, rc, "%s: %s", file, dbk_code_text(rc));
    *definition_out = definition;
    return DBK_OK;
}

static int copy_names(struct dbk_arena *arena, const char *const *from, size_t count,
                      const char *const **to)
{
    const char **names = dbk_arena_alloc(arena, (count + 1) * sizeof(*names));
    for (size_t i = 0; names != NULL && i < count; i++) {
        names[i] = dbk_arena_format(arena, "%s", from[i]);
        if (names[i] == NULL)
            return DBK_ENOMEM;
    }
    *to = names;
    return names == NULL ? DBK_ENOMEM : DBK_OK;
}

int dbk_view_definition_copy(struct dbk_arena *arena, const struct dbk_view_definition *from,
                             struct dbk_view_definition *to)
{
    *to = *from;
    to->name = dbk_arena_format(arena, "%s", from->name);
    to->file = dbk_arena_format(arena, "%s", from->file);
    to->database = dbk_arena_format(arena, "%s", from->database);
    to->database_path = dbk_arena_format(arena, "%s", from->database_path);
    to->sql = dbk_arena_copy(arena, from->sql);
    if (to->name == NULL || to->file == NULL || to->database == NULL || to->database_path == NULL ||
        to->sql.data == NULL)
        return DBK_ENOMEM;
    to->folder = from->folder == NULL ? NULL : dbk_arena_format(arena, "%s", from->folder);
    if (from->folder != NULL && to->folder == NULL)
        return DBK_ENOMEM;
    int rc = copy_names(arena, from->indexes, from->index_count, &to->indexes);
    if (rc == DBK_OK)
        rc = copy_names(arena, from->key, from->key_count, &to->key);
    return rc < 0 ? rc : dbk_alerts_copy(arena, from, to);
}

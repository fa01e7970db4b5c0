/* SPDX-License-Identifier: Apache-2.0 */
#include "service/impact.h"

#include <stdio.h>

#include "service/judge.h"

#define UNKNOWN DBK_IMPACT_UNKNOWN
#define BREAKS DBK_IMPACT_BREAKS
#define SAFE DBK_IMPACT_SAFE

const char *dbk_impact_verdict_text(enum dbk_impact_verdict verdict)
{
    static const char *const texts[] = {
        [SAFE] = "goes on", [UNKNOWN] = "unknown", [BREAKS] = "breaks"};
    return texts[verdict];
}

/* What to do before a change, while somebody uses what it changes. */
static const char *first_of(enum dbk_change_kind kind)
{
    static const char *const texts[DBK_CHANGE_COUNT] = {
        [DBK_CHANGE_DROP_TABLE] = "have them stop using it, and drop it in a later migration",
        [DBK_CHANGE_RENAME_TABLE] =
            "leave a view of the old name behind until they use the new one",
        [DBK_CHANGE_REMADE] = "alter it step by step, so that each step can be judged",
        [DBK_CHANGE_DROP_COLUMN] =
            "take it out of `public` and the contracts, have them stop using it, and drop it later",
        [DBK_CHANGE_RENAME_COLUMN] =
            "add the new column, fill both, have them use the new one, and drop the old one later",
        [DBK_CHANGE_TYPE] = "add a column of the new type, have them use it, and drop the old one",
        [DBK_CHANGE_SET_NOT_NULL] = "have its writers give it a value, or give it a default",
        [DBK_CHANGE_DROP_NOT_NULL] = "have its readers take NULL",
        [DBK_CHANGE_DROP_DEFAULT] = "have its writers give it a value",
        [DBK_CHANGE_ADD_COLUMN] = "have them name columns, each with its table",
        [DBK_CHANGE_ADD_REQUIRED] = "add it with a default, or without NOT NULL at first",
        [DBK_CHANGE_ADD_CONSTRAINT] = "look whether they keep to it, and add it NOT VALID at first",
        [DBK_CHANGE_DROP_CONSTRAINT] = "look whether one of them says ON CONFLICT on it",
        [DBK_CHANGE_ADD_UNIQUE] = "look whether they keep to it",
        [DBK_CHANGE_DROP_INDEX] = "look whether it is a unique one that ON CONFLICT stands on",
        [DBK_CHANGE_REPLACE_VIEW] = "compare the columns of both, and their types",
        [DBK_CHANGE_UPDATE_ROWS] = "look whether they take the new values",
        [DBK_CHANGE_DELETE_ROWS] = "look whether they do without the rows",
        [DBK_CHANGE_REVOKE] = "take what needs it out of the contract, and `daybook service apply`",
        [DBK_CHANGE_SEQUENCE] = "look which numbers rows get, and have",
        [DBK_CHANGE_RIGHTS] = "compare with `daybook service ls` who reads and writes it",
        [DBK_CHANGE_TRIGGER] = "look what it does to the rows that they write",
        [DBK_CHANGE_DROP_FUNCTION] = "have them stop calling it",
        [DBK_CHANGE_REPLACE_FUNCTION] = "compare what both do",
        [DBK_CHANGE_REPLICA] = "leave the replica identity as DEFAULT or FULL",
        [DBK_CHANGE_CASCADE] = "look in the database what stands on it",
        [DBK_CHANGE_UNKNOWN] = "look at the statement yourself",
    };
    return texts[kind];
}

/* ---- Rows ---- */

struct answer {
    struct dbk_arena *arena;
    struct dbk_impact *impact;
    size_t capacity;
    size_t begin; /* of the change's rows */
};

static int put(struct answer *answer, const struct dbk_impact_row *row)
{
    struct dbk_impact *impact = answer->impact;
    for (size_t i = answer->begin; row->user != NULL && i < impact->count; i++) {
        struct dbk_impact_row *other = &impact->rows[i];
        bool one_file =
            (other->file == NULL && row->file == NULL) ||
            (other->file != NULL && row->file != NULL && strcmp(other->file, row->file) == 0);
        bool contract = strcmp(row->kind, "service") == 0; /* Each is a user by itself. */
        if (!one_file || strcmp(other->kind, row->kind) != 0 ||
            strcmp(other->user, row->user) != 0 || (contract && other->line != row->line))
            continue;
        if (row->verdict > other->verdict)
            *other = *row;
        return DBK_OK;
    }
    if (impact->count == answer->capacity) {
        size_t capacity = answer->capacity == 0 ? 32 : answer->capacity * 2;
        struct dbk_impact_row *rows = dbk_arena_alloc_zero(answer->arena, capacity, sizeof(*rows));
        if (rows == NULL)
            return DBK_ENOMEM;
        for (size_t i = 0; i < impact->count; i++)
            rows[i] = impact->rows[i];
        impact->rows = rows;
        answer->capacity = capacity;
    }
    impact->rows[impact->count++] = *row;
    return DBK_OK;
}

/* The worst first; users of one verdict stay in their order. */
static void sort(struct dbk_impact_row *rows, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct dbk_impact_row row = rows[i];
        size_t j = i;
        for (; j > 0 && rows[j - 1].verdict < row.verdict; j--)
            rows[j] = rows[j - 1];
        rows[j] = row;
    }
}

static int judge_change(const struct dbk_impact_scope *scope, const struct dbk_change *change,
                        const struct dbk_users *users, struct answer *answer)
{
    int rc = DBK_OK;
    answer->begin = answer->impact->count;
    for (size_t i = 0; rc == DBK_OK && i < users->count; i++) {
        const struct dbk_user *user = &users->items[i];
        struct dbk_judgement one = dbk_judge(scope, change, user);
        if (one.uses && user->via != NULL)
            one.why = dbk_arena_format(answer->arena, "by %s: %s", user->via, one.why);
        if (one.uses && one.why == NULL)
            rc = DBK_ENOMEM;
        else if (one.uses)
            rc = put(answer, &(struct dbk_impact_row){
                                 .change = change,
                                 .verdict = one.verdict,
                                 .kind = user->kind,
                                 .user = user->name,
                                 .version = user->version,
                                 .file = user->file,
                                 .line = user->line,
                                 .seen = user->seen,
                                 .after_us = user->after_us,
                                 .by_us = user->by_us,
                                 .why = one.why,
                                 .first = one.verdict == SAFE ? NULL : first_of(change->kind)});
    }
    size_t count = answer->impact->count - answer->begin;
    bool blind = change->kind == DBK_CHANGE_UNKNOWN && *change->table == '\0';
    if (rc == DBK_OK && count == 0 && change->kind != DBK_CHANGE_CASCADE)
        rc = put(answer,
                 &(struct dbk_impact_row){.change = change,
                                          .verdict = blind ? UNKNOWN : SAFE,
                                          .why = blind ? "what the statement changes cannot be told"
                                                       : "nobody in the book uses it",
                                          .first = blind ? first_of(change->kind) : NULL});
    if (rc == DBK_OK && count > 1)
        sort(answer->impact->rows + answer->begin, count);
    return rc;
}

int dbk_impact_judge(const struct dbk_impact_scope *scope, const struct dbk_migration *migration,
                     struct dbk_impact *impact_out, struct dbk_error *err)
{
    struct dbk_users users = {.arena = migration->arena, .json = dbk_service_json()};
    struct answer answer = {.arena = migration->arena, .impact = impact_out};
    *impact_out = (struct dbk_impact){0};
    int rc = users.json == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory looking for users")
                                : dbk_users_collect(scope, &users, err);
    for (size_t i = 0; rc == DBK_OK && i < migration->count; i++) {
        if (judge_change(scope, &migration->changes[i], &users, &answer) < 0)
            rc = dbk_error_set(err, DBK_ENOMEM, "out of memory judging %s", migration->file);
    }
    for (size_t i = 0; rc == DBK_OK && i < impact_out->count; i++) {
        impact_out->breaks += impact_out->rows[i].verdict == BREAKS ? 1 : 0;
        impact_out->unknown += impact_out->rows[i].verdict == UNKNOWN ? 1 : 0;
    }
    dbk_json_free(users.json);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "service/impact.h"

#include <stdio.h>
#include <strings.h>

#include "service/users.h"

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

/* ---- What a user uses of a change's table ---- */

struct facts {
    unsigned table;  /* flags of the table as such; 0: it is not used */
    unsigned column; /* of the change's column */
    unsigned star;   /* of all columns */
    unsigned fresh;  /* of the column's new name */
    bool certain;    /* the table is named, and no other can be meant */
};

#define USED(flags) ((flags) != 0)
#define CERTAIN(flags) ((flags) != 0 && ((flags)&DBK_USE_POSSIBLE) == 0)

static bool same(const char *one, const char *other)
{
    return strcasecmp(one, other) == 0;
}

/* Certain uses win over possible ones. */
static unsigned merge(unsigned before, unsigned flags)
{
    if (before == 0)
        return flags;
    unsigned possible = before & flags & DBK_USE_POSSIBLE;
    return ((before | flags) & ~(unsigned)DBK_USE_POSSIBLE) | possible;
}

static struct facts facts_of(const struct dbk_user *user, const struct dbk_change *change,
                             const char *table)
{
    struct facts facts = {0};
    for (size_t i = 0; i < user->uses.count; i++) {
        const struct dbk_use *use = &user->uses.items[i];
        if (!same(use->table, table))
            continue;
        facts.certain = facts.certain || (use->flags & DBK_USE_POSSIBLE) == 0;
        if (*use->column == '\0')
            facts.table = merge(facts.table, use->flags);
        else if (same(use->column, "*"))
            facts.star = merge(facts.star, use->flags);
        if (*change->column != '\0' && same(use->column, change->column))
            facts.column = merge(facts.column, use->flags);
        if (*change->new_name != '\0' && same(use->column, change->new_name))
            facts.fresh = merge(facts.fresh, use->flags);
    }
    if (facts.table == 0 && (facts.star | facts.column) != 0)
        facts.table = DBK_USE_READ | DBK_USE_POSSIBLE;
    if (!user->uses.unread || facts.table == 0)
        return facts;
    /* Of words that could not be parsed each may be a column, and all may be meant. */
    facts.star = DBK_USE_READ | DBK_USE_POSSIBLE;
    facts.table |= DBK_USE_INSERT | DBK_USE_POSITIONAL | DBK_USE_UPDATE | DBK_USE_DELETE |
                   DBK_USE_CONFLICT | DBK_USE_POSSIBLE;
    return facts;
}

/* ---- Judging ---- */

struct judgement {
    bool uses;
    enum dbk_impact_verdict verdict;
    const char *why;
};

static struct judgement is(enum dbk_impact_verdict verdict, const char *why)
{
    return (struct judgement){true, verdict, why};
}

static const struct judgement not_a_user = {false, SAFE, NULL};

static struct judgement of_table(const struct facts *facts, const char *why)
{
    return facts->certain ? is(BREAKS, why) : is(UNKNOWN, "a name in it may be this table's");
}

/* A column that goes away under its name. */
static struct judgement of_column(const struct dbk_change *change, const struct facts *facts)
{
    bool dropped = change->kind == DBK_CHANGE_DROP_COLUMN;
    if (CERTAIN(facts->column))
        return is(BREAKS,
                  facts->column & DBK_USE_WRITE ? "it writes the column" : "it reads the column");
    if (USED(facts->column))
        return is(UNKNOWN, "it names such a column, and does not say of which table");
    if (facts->table & DBK_USE_POSITIONAL && dropped)
        return is(CERTAIN(facts->table) ? BREAKS : UNKNOWN,
                  "it inserts rows without naming their columns");
    if (USED(facts->star))
        return is(UNKNOWN, "it reads all columns, and whether it needs this one is not said");
    if (USED(facts->fresh))
        return is(UNKNOWN, "it names a column as the new one is called");
    return not_a_user;
}

static struct judgement of_new_column(const struct dbk_change *change, const struct facts *facts,
                                      bool sqlite)
{
    bool required = change->kind == DBK_CHANGE_ADD_REQUIRED;
    if (facts->table & DBK_USE_POSITIONAL && (required || sqlite))
        return is(CERTAIN(facts->table) ? BREAKS : UNKNOWN,
                  "it inserts rows without naming their columns");
    if (facts->table & DBK_USE_INSERT && required)
        return is(CERTAIN(facts->table) ? BREAKS : UNKNOWN,
                  "it inserts rows without a value for the column");
    if (USED(facts->column))
        return is(UNKNOWN, "it names a column as this one is called");
    if (USED(facts->star))
        return is(UNKNOWN, "it reads all columns, and gets one more");
    if (facts->table & DBK_USE_POSITIONAL)
        return is(SAFE, "the column stands behind those that it gives");
    return not_a_user;
}

static struct judgement of_not_null(const struct facts *facts)
{
    bool inserts = (facts->table & (DBK_USE_INSERT | DBK_USE_POSITIONAL)) != 0;
    if (facts->column & DBK_USE_WRITE)
        return is(UNKNOWN, "it writes the column, and may write NULL");
    if (inserts)
        return is(UNKNOWN, "it inserts rows, and the column may stay NULL");
    return USED(facts->column) || USED(facts->star) ? is(SAFE, "it only reads the column")
                                                    : not_a_user;
}

static struct judgement of_nulls(const struct facts *facts)
{
    if (facts->column & DBK_USE_READ || USED(facts->star))
        return is(UNKNOWN, "it reads the column, and may meet NULL");
    return USED(facts->column) ? is(SAFE, "it only writes the column") : not_a_user;
}

static struct judgement of_default(const struct dbk_change *change, const struct facts *facts)
{
    bool inserts = (facts->table & (DBK_USE_INSERT | DBK_USE_POSITIONAL)) != 0;
    if (inserts && (facts->column & DBK_USE_WRITE) == 0)
        return change->kind == DBK_CHANGE_SET_DEFAULT
                   ? is(SAFE, "rows that it inserts get the default")
                   : is(UNKNOWN, "it inserts rows without a value for the column");
    return USED(facts->column) ? is(SAFE, "it does not depend on the default") : not_a_user;
}

static bool is_kept(const struct dbk_change *change, const char *column)
{
    for (size_t i = 0; i < change->column_count; i++) {
        if (same(change->columns[i], column))
            return true;
    }
    return false;
}

/* A table or view that is there again, with columns that may be known. */
static struct judgement of_remade(const struct dbk_change *change, const struct dbk_user *user,
                                  const struct facts *facts)
{
    for (size_t i = 0; change->columns != NULL && i < user->uses.count; i++) {
        const struct dbk_use *use = &user->uses.items[i];
        if (same(use->table, change->table) && *use->column != '\0' && !same(use->column, "*") &&
            !is_kept(change, use->column))
            return use->flags & DBK_USE_POSSIBLE
                       ? is(UNKNOWN, "a column that it names is not among the new ones")
                       : is(BREAKS, "a column that it uses is not among the new ones");
    }
    return USED(facts->table) ? is(UNKNOWN, "types and constraints of both are not compared")
                              : not_a_user;
}

static bool writes(const struct facts *facts)
{
    return (facts->table &
            (DBK_USE_INSERT | DBK_USE_POSITIONAL | DBK_USE_UPDATE | DBK_USE_DELETE)) != 0;
}

static struct judgement of_rows(const struct dbk_change *change, const struct facts *facts)
{
    bool reads = (facts->table & DBK_USE_READ) != 0 || (facts->column & DBK_USE_READ) != 0;
    if (change->kind == DBK_CHANGE_DELETE_ROWS)
        return reads || writes(facts) ? is(UNKNOWN, "rows that it uses may be gone") : not_a_user;
    if (facts->column & DBK_USE_READ || USED(facts->star))
        return is(UNKNOWN, "it reads the column, whose values change");
    return USED(facts->column) ? is(SAFE, "it only writes the column") : not_a_user;
}

static struct judgement of_sql(const struct dbk_change *change, const struct dbk_user *user,
                               const struct facts *facts, bool sqlite)
{
    switch (change->kind) {
    case DBK_CHANGE_DROP_TABLE:
        return of_table(facts, "it uses what is dropped or moved");
    case DBK_CHANGE_RENAME_TABLE:
        return of_table(facts, "it uses it under the old name");
    case DBK_CHANGE_REMADE:
    case DBK_CHANGE_REPLACE_VIEW:
        return of_remade(change, user, facts);
    case DBK_CHANGE_DROP_COLUMN:
    case DBK_CHANGE_RENAME_COLUMN:
        return of_column(change, facts);
    case DBK_CHANGE_TYPE:
        return USED(facts->column) || USED(facts->star) || facts->table & DBK_USE_POSITIONAL
                   ? is(UNKNOWN, "whether it takes the new type is not known")
                   : not_a_user;
    case DBK_CHANGE_SET_NOT_NULL:
        return of_not_null(facts);
    case DBK_CHANGE_DROP_NOT_NULL:
        return of_nulls(facts);
    case DBK_CHANGE_SET_DEFAULT:
    case DBK_CHANGE_DROP_DEFAULT:
        return of_default(change, facts);
    case DBK_CHANGE_ADD_COLUMN:
    case DBK_CHANGE_ADD_REQUIRED:
        return of_new_column(change, facts, sqlite);
    case DBK_CHANGE_ADD_CONSTRAINT:
    case DBK_CHANGE_ADD_UNIQUE:
        return writes(facts) ? is(UNKNOWN, "rows that it writes may be refused") : not_a_user;
    case DBK_CHANGE_DROP_CONSTRAINT:
    case DBK_CHANGE_DROP_INDEX:
        return facts->table & DBK_USE_CONFLICT ? is(UNKNOWN, "its ON CONFLICT needs a unique index")
                                               : not_a_user;
    case DBK_CHANGE_UPDATE_ROWS:
    case DBK_CHANGE_DELETE_ROWS:
        return of_rows(change, facts);
    case DBK_CHANGE_RIGHTS:
        return is(UNKNOWN, "whether it still may is not known");
    case DBK_CHANGE_TRIGGER:
        return writes(facts) ? is(UNKNOWN, "what the trigger does to its rows is not known")
                             : not_a_user;
    case DBK_CHANGE_UNKNOWN:
        return is(UNKNOWN, "what the statement changes cannot be told");
    case DBK_CHANGE_NONE:
    case DBK_CHANGE_ADD_INDEX:
    case DBK_CHANGE_DROP_FUNCTION:
    case DBK_CHANGE_REPLACE_FUNCTION:
    case DBK_CHANGE_REPLICA:
    case DBK_CHANGE_CASCADE:
    case DBK_CHANGE_COUNT:
        break;
    }
    return not_a_user;
}

static struct judgement of_capture(const struct dbk_change *change, const struct facts *facts)
{
    switch (change->kind) {
    case DBK_CHANGE_DROP_TABLE:
    case DBK_CHANGE_RENAME_TABLE:
    case DBK_CHANGE_REMADE:
        return is(BREAKS, "the table is captured");
    case DBK_CHANGE_DROP_COLUMN:
    case DBK_CHANGE_RENAME_COLUMN:
        return USED(facts->column) ? is(BREAKS, "the column is one that is captured") : not_a_user;
    case DBK_CHANGE_TYPE:
        return USED(facts->column) || USED(facts->star)
                   ? is(UNKNOWN,
                        "its values are captured in their new form: what folds and handlers make "
                        "of them cannot be told")
                   : not_a_user;
    case DBK_CHANGE_ADD_CONSTRAINT:
        return *change->new_name != '\0' ? is(BREAKS, "a primary key that changes stops capture")
                                         : not_a_user;
    case DBK_CHANGE_DROP_CONSTRAINT:
        return is(UNKNOWN, "it may be the primary key, which capture needs");
    case DBK_CHANGE_DROP_INDEX:
    case DBK_CHANGE_REPLICA:
        return is(UNKNOWN, "capture may not be told of rows any more");
    case DBK_CHANGE_TRIGGER:
        return is(UNKNOWN, "it may be one of capture's own");
    case DBK_CHANGE_RIGHTS:
        return is(UNKNOWN, "whether capture still may read it is not known");
    case DBK_CHANGE_REPLACE_VIEW:
    case DBK_CHANGE_UNKNOWN:
        return is(UNKNOWN, "what the statement changes cannot be told");
    case DBK_CHANGE_NONE:
    case DBK_CHANGE_SET_NOT_NULL:
    case DBK_CHANGE_DROP_NOT_NULL:
    case DBK_CHANGE_SET_DEFAULT:
    case DBK_CHANGE_DROP_DEFAULT:
    case DBK_CHANGE_ADD_COLUMN:
    case DBK_CHANGE_ADD_REQUIRED:
    case DBK_CHANGE_ADD_INDEX:
    case DBK_CHANGE_ADD_UNIQUE:
    case DBK_CHANGE_UPDATE_ROWS:
    case DBK_CHANGE_DELETE_ROWS:
    case DBK_CHANGE_DROP_FUNCTION:
    case DBK_CHANGE_REPLACE_FUNCTION:
    case DBK_CHANGE_CASCADE:
    case DBK_CHANGE_COUNT:
        break;
    }
    return not_a_user;
}

/* Who sees a captured row: `images` by its columns, others as a whole. */
static struct judgement of_events(const struct dbk_change *change, const struct facts *facts,
                                  bool image)
{
    bool touched = USED(facts->column) || USED(facts->star);
    switch (change->kind) {
    case DBK_CHANGE_DROP_TABLE:
    case DBK_CHANGE_RENAME_TABLE:
    case DBK_CHANGE_REMADE:
        return is(BREAKS, "there are no changes of it any more");
    case DBK_CHANGE_DROP_COLUMN:
    case DBK_CHANGE_RENAME_COLUMN:
        if (!touched)
            return not_a_user;
        return image && USED(facts->column) ? is(BREAKS, "it takes the column of captured rows")
                                            : is(UNKNOWN, "it gets rows without the column");
    case DBK_CHANGE_TYPE:
        return touched ? is(UNKNOWN, "it gets values in another form") : not_a_user;
    case DBK_CHANGE_DROP_NOT_NULL:
        return touched ? is(UNKNOWN, "it may get NULL") : not_a_user;
    case DBK_CHANGE_REPLICA:
    case DBK_CHANGE_UNKNOWN:
    case DBK_CHANGE_REPLACE_VIEW:
        return is(UNKNOWN, "what becomes of captured rows cannot be told");
    case DBK_CHANGE_NONE:
    case DBK_CHANGE_SET_NOT_NULL:
    case DBK_CHANGE_SET_DEFAULT:
    case DBK_CHANGE_DROP_DEFAULT:
    case DBK_CHANGE_ADD_COLUMN:
    case DBK_CHANGE_ADD_REQUIRED:
    case DBK_CHANGE_ADD_CONSTRAINT:
    case DBK_CHANGE_DROP_CONSTRAINT:
    case DBK_CHANGE_ADD_INDEX:
    case DBK_CHANGE_ADD_UNIQUE:
    case DBK_CHANGE_DROP_INDEX:
    case DBK_CHANGE_UPDATE_ROWS:
    case DBK_CHANGE_DELETE_ROWS:
    case DBK_CHANGE_RIGHTS:
    case DBK_CHANGE_TRIGGER:
    case DBK_CHANGE_DROP_FUNCTION:
    case DBK_CHANGE_REPLACE_FUNCTION:
    case DBK_CHANGE_CASCADE:
    case DBK_CHANGE_COUNT:
        break;
    }
    return not_a_user;
}

static struct judgement of_model(const struct dbk_change *change)
{
    if (*change->table == '\0')
        return is(UNKNOWN, "it may be the model's own");
    return change->kind == DBK_CHANGE_ADD_INDEX
               ? is(SAFE, "an index changes no row")
               : is(BREAKS, "the table is the model's own: change its schema.sql and rebuild it");
}

static struct judgement of_function(const struct dbk_change *change, const struct dbk_user *user)
{
    for (size_t i = 0; i < user->uses.count; i++) {
        const struct dbk_use *use = &user->uses.items[i];
        bool called = same(use->table, "()") && same(use->column, change->table);
        bool worded = user->uses.unread && same(use->table, change->table);
        if (called && change->kind == DBK_CHANGE_DROP_FUNCTION)
            return is(BREAKS, "it calls the function");
        if (called || worded)
            return is(UNKNOWN, "it calls the function, and what it does now is not known");
    }
    return not_a_user;
}

static struct judgement judge_table(const struct dbk_impact_scope *scope,
                                    const struct dbk_change *change, const struct dbk_user *user,
                                    const char *table)
{
    struct facts facts = facts_of(user, change, table);
    if (!USED(facts.table) && !USED(facts.column) && !USED(facts.star) && !USED(facts.fresh))
        return not_a_user;
    switch (user->way) {
    case DBK_USER_CAPTURE:
        return of_capture(change, &facts);
    case DBK_USER_IMAGE:
    case DBK_USER_EVENTS:
        return of_events(change, &facts, user->way == DBK_USER_IMAGE);
    case DBK_USER_MODEL:
        return of_model(change);
    case DBK_USER_SQL:
        return of_sql(change, user, &facts,
                      dbk_target_dialect(scope->address) == DBK_DIALECT_SQLITE);
    }
    return not_a_user;
}

static bool owns(const struct dbk_impact_scope *scope, const char *table)
{
    for (size_t i = 0; i < scope->service_count; i++) {
        const struct dbk_capture_service *own = scope->services[i].own;
        if (own->database == NULL || strcmp(own->database, scope->database) != 0)
            continue;
        if (own->outbox.table != NULL && same(own->outbox.table, table))
            return true;
        for (size_t j = 0; j < own->table_count; j++) {
            if (same(own->tables[j].name, table))
                return true;
        }
    }
    return false;
}

/* Things in the database that no service names: a view may stand on what is dropped. */
static struct judgement of_cascade(const struct dbk_impact_scope *scope,
                                   const struct dbk_user *user)
{
    /* SQLite has been asked, and has looked through its views. */
    if (scope->connection != NULL && !user->uses.unread)
        return not_a_user;
    for (size_t i = 0; user->way == DBK_USER_SQL && i < user->uses.count; i++) {
        const struct dbk_use *use = &user->uses.items[i];
        if (*use->column == '\0' && (use->flags & DBK_USE_POSSIBLE) == 0 &&
            !owns(scope, use->table))
            return is(UNKNOWN, "it uses what no service names, and that may stand on it");
    }
    return not_a_user;
}

static struct judgement judge(const struct dbk_impact_scope *scope, const struct dbk_change *change,
                              const struct dbk_user *user)
{
    struct judgement worst = not_a_user;
    if (change->kind == DBK_CHANGE_NONE)
        return worst;
    if (change->kind == DBK_CHANGE_CASCADE)
        return of_cascade(scope, user);
    if (change->kind == DBK_CHANGE_DROP_FUNCTION || change->kind == DBK_CHANGE_REPLACE_FUNCTION)
        return of_function(change, user);
    if (*change->table != '\0')
        return judge_table(scope, change, user, change->table);
    for (size_t i = 0; i < user->uses.count; i++) {
        if (same(user->uses.items[i].table, "()"))
            continue;
        struct judgement one = judge_table(scope, change, user, user->uses.items[i].table);
        if (one.uses && (!worst.uses || one.verdict > worst.verdict))
            worst = one;
    }
    return worst;
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
        if (!one_file || strcmp(other->kind, row->kind) != 0 || strcmp(other->user, row->user) != 0)
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
        struct judgement one = judge(scope, change, user);
        if (one.uses)
            rc = put(answer, &(struct dbk_impact_row){
                                 .change = change,
                                 .verdict = one.verdict,
                                 .kind = user->kind,
                                 .user = user->name,
                                 .file = user->file,
                                 .line = user->line,
                                 .seen = user->seen,
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

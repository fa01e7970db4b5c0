/* SPDX-License-Identifier: Apache-2.0 */
#include "service/judge.h"

#include <strings.h>

#define UNKNOWN DBK_IMPACT_UNKNOWN
#define BREAKS DBK_IMPACT_BREAKS
#define SAFE DBK_IMPACT_SAFE

/* ---- What a user uses of a change's table ---- */

struct facts {
    unsigned table;  /* flags of the table as such; 0: it is not used */
    unsigned column; /* of the change's column */
    unsigned star;   /* of all columns */
    unsigned fresh;  /* of the column's new name */
    unsigned would;  /* of names that would mean the new column, too */
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
        const char *fresh = *change->new_name != '\0' ? change->new_name : change->column;
        if (*change->new_name != '\0' && same(use->column, fresh))
            facts.fresh = merge(facts.fresh, use->flags);
        if (*use->column == '?' && same(use->column + 1, fresh))
            facts.would = merge(facts.would, use->flags);
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

static struct dbk_judgement is(enum dbk_impact_verdict verdict, const char *why)
{
    return (struct dbk_judgement){true, verdict, why};
}

static const struct dbk_judgement not_a_user = {false, SAFE, NULL};

static struct dbk_judgement of_table(const struct facts *facts, const char *why)
{
    return facts->certain ? is(BREAKS, why) : is(UNKNOWN, "a name in it may be this table's");
}

/* True when one column more or less is an error. PostgreSQL lets an INSERT have fewer. */
static bool counts_all(const struct facts *facts, bool sqlite)
{
    unsigned flags = sqlite ? DBK_USE_COUNTED | DBK_USE_GIVEN : DBK_USE_COUNTED;
    return CERTAIN(facts->star) && (facts->star & flags) != 0;
}

/* A column that goes away under its name. */
static struct dbk_judgement of_column(const struct dbk_change *change, const struct facts *facts,
                                      bool sqlite)
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
    if (dropped && counts_all(facts, sqlite))
        return is(BREAKS, "it takes all columns where there must be as many as before");
    if (!dropped && CERTAIN(facts->would))
        return is(BREAKS, "a name in it would mean two columns");
    if (USED(facts->star))
        return is(UNKNOWN, facts->star & DBK_USE_GIVEN
                               ? "it inserts all columns by their place"
                               : "it reads all columns, and whether it needs this one is not said");
    if (USED(facts->fresh) || (!dropped && USED(facts->would)))
        return is(UNKNOWN, "it names a column as the new one is called");
    return not_a_user;
}

static struct dbk_judgement of_new_column(const struct dbk_change *change,
                                          const struct facts *facts, bool sqlite)
{
    bool required = change->kind == DBK_CHANGE_ADD_REQUIRED;
    if (facts->table & DBK_USE_POSITIONAL && (required || sqlite))
        return is(CERTAIN(facts->table) ? BREAKS : UNKNOWN,
                  "it inserts rows without naming their columns");
    if (facts->table & DBK_USE_INSERT && required)
        return is(CERTAIN(facts->table) ? BREAKS : UNKNOWN,
                  "it inserts rows without a value for the column");
    if (counts_all(facts, sqlite))
        return is(BREAKS, "it takes all columns where there must be as many as before");
    if (CERTAIN(facts->would))
        return is(BREAKS, "a name in it would mean two columns");
    if (USED(facts->column) || USED(facts->would))
        return is(UNKNOWN, "it names a column as this one is called");
    if (USED(facts->star))
        return is(UNKNOWN, facts->star & DBK_USE_GIVEN ? "it inserts all columns by their place"
                                                       : "it reads all columns, and gets one more");
    if (facts->table & DBK_USE_POSITIONAL)
        return is(SAFE, "the column stands behind those that it gives");
    return not_a_user;
}

static struct dbk_judgement of_not_null(const struct facts *facts)
{
    bool inserts = (facts->table & (DBK_USE_INSERT | DBK_USE_POSITIONAL)) != 0;
    if (facts->column & DBK_USE_WRITE)
        return is(UNKNOWN, "it writes the column, and may write NULL");
    if (inserts)
        return is(UNKNOWN, "it inserts rows, and the column may stay NULL");
    return USED(facts->column) || USED(facts->star) ? is(SAFE, "it only reads the column")
                                                    : not_a_user;
}

static struct dbk_judgement of_nulls(const struct facts *facts)
{
    if (facts->column & DBK_USE_READ || USED(facts->star))
        return is(UNKNOWN, "it reads the column, and may meet NULL");
    return USED(facts->column) ? is(SAFE, "it only writes the column") : not_a_user;
}

static struct dbk_judgement of_default(const struct dbk_change *change, const struct facts *facts)
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
static struct dbk_judgement of_remade(const struct dbk_change *change, const struct dbk_user *user,
                                      const struct facts *facts)
{
    bool doubtful = false;
    for (size_t i = 0; change->columns != NULL && i < user->uses.count; i++) {
        const struct dbk_use *use = &user->uses.items[i];
        if (!same(use->table, change->table) || *use->column == '\0' || *use->column == '?' ||
            same(use->column, "*") || is_kept(change, use->column))
            continue;
        if ((use->flags & DBK_USE_POSSIBLE) == 0)
            return is(BREAKS, "a column that it uses is not among the new ones");
        doubtful = true;
    }
    if (doubtful)
        return is(UNKNOWN, "a column that it names is not among the new ones");
    return USED(facts->table) ? is(UNKNOWN, "types and constraints of both are not compared")
                              : not_a_user;
}

static bool writes(const struct facts *facts)
{
    return (facts->table &
            (DBK_USE_INSERT | DBK_USE_POSITIONAL | DBK_USE_UPDATE | DBK_USE_DELETE)) != 0;
}

static struct dbk_judgement of_rows(const struct dbk_change *change, const struct facts *facts)
{
    bool reads = (facts->table & DBK_USE_READ) != 0 || (facts->column & DBK_USE_READ) != 0;
    if (change->kind == DBK_CHANGE_DELETE_ROWS)
        return reads || writes(facts) ? is(UNKNOWN, "rows that it uses may be gone") : not_a_user;
    if (facts->column & DBK_USE_READ || USED(facts->star))
        return is(UNKNOWN, "it reads the column, whose values change");
    return USED(facts->column) ? is(SAFE, "it only writes the column") : not_a_user;
}

/* True when a table is its service's. */
static bool owns(const struct dbk_impact_scope *scope, const struct dbk_user *user,
                 const char *table)
{
    for (size_t i = 0; i < scope->service_count; i++) {
        const struct dbk_service_definition *service = &scope->services[i];
        if (strcmp(service->role, user->role) == 0 &&
            dbk_capture_table(service->own, dbk_slice_of(table)) != NULL)
            return true;
    }
    return false;
}

/* What its role may do no more. The book's own user has no role of a service. */
static struct dbk_judgement of_revoke(const struct dbk_impact_scope *scope,
                                      const struct dbk_change *change, const struct dbk_user *user,
                                      const struct facts *facts)
{
    unsigned flags = facts->table | facts->star;
    bool named = change->column_count == 0;
    if (user->role == NULL || strcmp(user->role, change->new_name) != 0)
        return not_a_user;
    for (size_t i = 0; i < user->uses.count; i++) {
        const struct dbk_use *use = &user->uses.items[i];
        if (!same(use->table, change->table) || *use->column == '?')
            continue;
        flags |= use->flags & DBK_USE_READ;
        named = named || is_kept(change, use->column) || same(use->column, "*");
    }
    flags |= flags & DBK_USE_POSITIONAL ? DBK_USE_INSERT : 0;
    if ((flags & change->rights) == 0 || !named)
        return not_a_user;
    return change->column_count > 0 && owns(scope, user, change->table)
               ? is(UNKNOWN, "it may have the right on the whole table")
               : of_table(facts, "its role may not do it any more");
}

static struct dbk_judgement of_sql(const struct dbk_impact_scope *scope,
                                   const struct dbk_change *change, const struct dbk_user *user,
                                   const struct facts *facts)
{
    bool sqlite = dbk_target_dialect(scope->address) == DBK_DIALECT_SQLITE;
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
        return of_column(change, facts, sqlite);
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
    case DBK_CHANGE_REVOKE:
        return of_revoke(scope, change, user, facts);
    case DBK_CHANGE_SEQUENCE:
        return facts->table & (DBK_USE_INSERT | DBK_USE_POSITIONAL)
                   ? is(UNKNOWN, "its rows may get their numbers from it")
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

static struct dbk_judgement of_capture(const struct dbk_change *change, const struct facts *facts)
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
    case DBK_CHANGE_REVOKE:
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
    case DBK_CHANGE_SEQUENCE:
    case DBK_CHANGE_DROP_FUNCTION:
    case DBK_CHANGE_REPLACE_FUNCTION:
    case DBK_CHANGE_CASCADE:
    case DBK_CHANGE_COUNT:
        break;
    }
    return not_a_user;
}

/* Who sees a captured row: `images` by its columns, others as a whole. */
static struct dbk_judgement of_events(const struct dbk_change *change, const struct facts *facts,
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
        return image && CERTAIN(facts->column) ? is(BREAKS, "it takes the column of captured rows")
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
    case DBK_CHANGE_REVOKE:
    case DBK_CHANGE_SEQUENCE:
    case DBK_CHANGE_TRIGGER:
    case DBK_CHANGE_DROP_FUNCTION:
    case DBK_CHANGE_REPLACE_FUNCTION:
    case DBK_CHANGE_CASCADE:
    case DBK_CHANGE_COUNT:
        break;
    }
    return not_a_user;
}

static struct dbk_judgement of_model(const struct dbk_change *change)
{
    if (*change->table == '\0')
        return is(UNKNOWN, "it may be the model's own");
    return change->kind == DBK_CHANGE_ADD_INDEX
               ? is(SAFE, "an index changes no row")
               : is(BREAKS, "the table is the model's own: change its schema.sql and rebuild it");
}

static struct dbk_judgement of_function(const struct dbk_change *change,
                                        const struct dbk_user *user)
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

static struct dbk_judgement judge_table(const struct dbk_impact_scope *scope,
                                        const struct dbk_change *change,
                                        const struct dbk_user *user, const char *table)
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
        return of_sql(scope, change, user, &facts);
    }
    return not_a_user;
}

/* A view or function of the database may stand on what is dropped; its text is not the book's. */
static struct dbk_judgement of_cascade(const struct dbk_impact_scope *scope,
                                       const struct dbk_user *user)
{
    /* SQLite has been asked, and has looked through its views. */
    if (scope->connection != NULL && !user->uses.unread)
        return not_a_user;
    for (size_t i = 0; user->way == DBK_USER_SQL && i < user->uses.count; i++) {
        const struct dbk_use *use = &user->uses.items[i];
        if ((use->flags & DBK_USE_POSSIBLE) == 0)
            return is(UNKNOWN, "what it uses may be a view or function, and stand on it");
    }
    return not_a_user;
}

/* A function of the database may use whatever there is: its text is not the book's. */
static bool calls_blindly(const struct dbk_impact_scope *scope, const struct dbk_user *user)
{
    if (user->way != DBK_USER_SQL || dbk_target_dialect(scope->address) != DBK_DIALECT_POSTGRES)
        return false;
    for (size_t i = 0; i < user->uses.count; i++) {
        const struct dbk_use *use = &user->uses.items[i];
        if (same(use->table, "()") && !dbk_sql_is_plain_function(dbk_slice_of(use->column)))
            return true;
    }
    return false;
}

static struct dbk_judgement judge_uses(const struct dbk_impact_scope *scope,
                                       const struct dbk_change *change, const struct dbk_user *user)
{
    struct dbk_judgement worst = not_a_user;
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
        struct dbk_judgement one = judge_table(scope, change, user, user->uses.items[i].table);
        if (one.uses && (!worst.uses || one.verdict > worst.verdict))
            worst = one;
    }
    return worst;
}

struct dbk_judgement dbk_judge(const struct dbk_impact_scope *scope,
                               const struct dbk_change *change, const struct dbk_user *user)
{
    struct dbk_judgement one = judge_uses(scope, change, user);
    bool changes = change->kind != DBK_CHANGE_NONE && change->kind != DBK_CHANGE_ADD_INDEX;
    bool functions =
        change->kind == DBK_CHANGE_DROP_FUNCTION || change->kind == DBK_CHANGE_REPLACE_FUNCTION;
    bool good = !one.uses || one.verdict == DBK_IMPACT_SAFE;
    return good && changes && !functions && calls_blindly(scope, user)
               ? is(UNKNOWN, "it calls a function of the database, which may use it")
               : one;
}

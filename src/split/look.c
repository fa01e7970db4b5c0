/* SPDX-License-Identifier: Apache-2.0 */
/* What a start would do, and why it cannot. Nothing is changed. */
#include <stdio.h>

#include "base/hash.h"
#include "json/json.h"
#include "split/inside.h"

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
}

int dbk_split_finding_add(struct dbk_split_plan *plan, const char *kind, const char *thing,
                          const char *becomes, struct dbk_error *err)
{
    if (plan->count == plan->capacity) {
        size_t capacity = plan->capacity == 0 ? 32 : 2 * plan->capacity;
        struct dbk_split_finding *items =
            dbk_arena_alloc_zero(plan->arena, capacity, sizeof(*items));
        if (items == NULL)
            return no_memory(err);
        if (plan->count > 0)
            memcpy(items, plan->items, plan->count * sizeof(*items));
        plan->items = items;
        plan->capacity = capacity;
    }
    struct dbk_split_finding finding = {
        .kind = dbk_arena_copy(plan->arena, dbk_slice_of(kind)).data,
        .thing = dbk_arena_copy(plan->arena, dbk_slice_of(thing)).data,
        .becomes = dbk_arena_copy(plan->arena, dbk_slice_of(becomes)).data};
    if (finding.kind == NULL || finding.thing == NULL || finding.becomes == NULL)
        return no_memory(err);
    plan->items[plan->count++] = finding;
    plan->refused += strcmp(kind, "refused") == 0 ? 1 : 0;
    return DBK_OK;
}

static int take_finding(void *context, const char *const *columns, struct dbk_error *err)
{
    return dbk_split_finding_add(context, columns[0], columns[1], columns[2], err);
}

/* ---- What the old database says ---- */

#define MOVED_SQL                                                                                  \
    "WITH moved AS (SELECT x.name, to_regclass(x.name)::oid AS oid FROM jsonb_array_elements_text" \
    "(?1::jsonb) x(name))\n"

static const char *const findings_sql = MOVED_SQL
    ", t AS (SELECT m.name, c.* FROM moved m JOIN pg_class c ON c.oid = m.oid),\n"
    "named AS (SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c JOIN\n"
    " pg_namespace n ON n.oid = c.relnamespace)\n"
    "SELECT 1, 'moves', name, format('about %s rows, %s', greatest(reltuples, 0)::bigint,\n"
    " pg_size_pretty(pg_total_relation_size(oid))) FROM t\n"
    "UNION ALL\n"
    "SELECT 2, 'cut', format('%s (%s)', t.name, k.conname), format('refers to %s, which stays: it "
    "'\n"
    " 'is not made in the new database, and ends here with the switch (--back makes it again)',\n"
    " o.name) FROM t JOIN pg_constraint k ON k.conrelid = t.oid AND k.contype = 'f' JOIN named o\n"
    " ON o.oid = k.confrelid WHERE k.confrelid NOT IN (SELECT oid FROM t)\n"
    "UNION ALL\n"
    "SELECT 2, 'cut', format('%s (%s)', o.name, k.conname), format('refers to %s, which leaves: it "
    "'\n"
    " 'ends with the switch (--back makes it again)', t.name) FROM t JOIN pg_constraint k ON\n"
    " k.confrelid = t.oid AND k.contype = 'f' JOIN named o ON o.oid = k.conrelid WHERE k.conrelid\n"
    " NOT IN (SELECT oid FROM t)\n"
    "UNION ALL\n"
    "SELECT 3, 'stays', format('%s (trigger %s)', t.name, g.tgname), 'triggers are not made in the "
    "'\n"
    " 'new database: make it there before the switch, where it is wanted'\n"
    "FROM t JOIN pg_trigger g ON g.tgrelid = t.oid AND NOT g.tgisinternal AND g.tgname !~\n"
    " '^daybook_split_'\n"
    "UNION ALL\n"
    "SELECT DISTINCT 3, 'stays', o.name, format('reads %s: it goes on with the copy until '\n"
    " '--confirm, which wants it gone', t.name)\n"
    "FROM t JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid AND\n"
    " d.classid = 'pg_rewrite'::regclass JOIN pg_rewrite r ON r.oid = d.objid JOIN named o ON\n"
    " o.oid = r.ev_class WHERE r.ev_class <> t.oid\n"
    "UNION ALL\n"
    "SELECT 9, 'refused', t.name, CASE t.relkind WHEN 'p' THEN 'a partitioned table is not moved' "
    "\n"
    " WHEN 'v' THEN 'a view is not moved' WHEN 'm' THEN 'a materialized view is not moved'\n"
    " ELSE 'a foreign table is not moved' END FROM t WHERE relkind <> 'r'\n"
    "UNION ALL\n"
    "SELECT DISTINCT 9, 'refused', t.name, 'a table that inherits, or is inherited from, is not '\n"
    " 'moved' FROM t JOIN pg_inherits i ON t.oid IN (i.inhrelid, i.inhparent)\n"
    "UNION ALL\n"
    "SELECT 9, 'refused', t.name, 'an unlogged table is not replicated: ALTER TABLE ' || t.name "
    "||\n"
    " ' SET LOGGED' FROM t WHERE relpersistence <> 'p'\n"
    "UNION ALL\n"
    "SELECT 9, 'refused', t.name, 'a table with row security is not moved' FROM t WHERE\n"
    " relrowsecurity\n"
    "UNION ALL\n"
    "SELECT 9, 'refused', t.name, 'it has no primary key, by which its rows are found again: '\n"
    " 'ALTER TABLE ' || t.name || ' ADD PRIMARY KEY (…)' FROM t WHERE relkind = 'r' AND NOT "
    "EXISTS\n"
    " (SELECT FROM pg_index i WHERE i.indrelid = t.oid AND i.indisprimary)\n"
    "UNION ALL\n"
    "SELECT 9, 'refused', t.name, 'its replica identity is NOTHING: ALTER TABLE ' || t.name ||\n"
    " ' REPLICA IDENTITY DEFAULT' FROM t WHERE relreplident = 'n'\n";

/* Without its first column, which is their order. */
static int find_in_old(struct dbk_split *split, const char *tables, struct dbk_split_plan *plan,
                       struct dbk_error *err)
{
    const char *const parameters[] = {tables, NULL};
    const char *sql = dbk_arena_format(&split->work,
                                       "SELECT kind, thing, becomes FROM (%s) f(nr, kind, thing, "
                                       "becomes) ORDER BY nr, thing, becomes",
                                       findings_sql);
    return sql == NULL
               ? no_memory(err)
               : dbk_ask(split->first[DBK_SPLIT_OLD], sql, parameters, take_finding, plan, err);
}

/* ---- What both servers must be ---- */

static const char *const server_sql =
    "WITH me AS (SELECT * FROM pg_roles WHERE rolname = current_user), v AS (SELECT "
    "current_setting('server_version_num')::int AS n)\n"
    "SELECT 'refused', 'wal_level is ' || current_setting('wal_level') || ': set wal_level = "
    "logical "
    "and restart the server' WHERE current_setting('wal_level') <> 'logical'\n"
    "UNION ALL SELECT 'refused', 'PostgreSQL ' || n / 10000 || ' is too old: 14 or later is "
    "needed' "
    "FROM v WHERE n < 140000\n"
    "UNION ALL SELECT 'refused', format('its user %s may not make subscriptions: ' || CASE WHEN n "
    "< "
    "160000 THEN 'before PostgreSQL 16 only a superuser may' ELSE 'GRANT pg_create_subscription TO "
    "%s' END, rolname, rolname) FROM me, v WHERE NOT rolsuper AND (n < 160000 OR NOT EXISTS "
    "(SELECT "
    "FROM pg_roles r WHERE r.rolname = 'pg_create_subscription' AND pg_has_role(me.oid, r.oid, "
    "'USAGE')))\n"
    "UNION ALL SELECT 'refused', format('its user %s may not replicate: ALTER ROLE %I "
    "REPLICATION', "
    "rolname, rolname) FROM me WHERE NOT rolsuper AND NOT rolreplication\n"
    "UNION ALL SELECT 'refused', format('its user %s may make nothing there: GRANT CREATE ON "
    "DATABASE %I TO %I', rolname, current_database(), rolname) FROM me WHERE NOT "
    "has_database_privilege(current_database(), 'CREATE')\n"
    "UNION ALL SELECT 'refused', 'max_sync_workers_per_subscription is 0, so that no table is "
    "copied: set it to 2' WHERE "
    "current_setting('max_sync_workers_per_subscription')::int = 0\n";

/*
 * What is free of what a server has so many of, against ?1 slots and senders of what it sends, ?2
 * origins and ?3 workers of what it takes. Before PostgreSQL 18 slots bound origins, too.
 */
static const char *const limits_sql =
    "SELECT 'refused', format('it has %s free %s where %s are needed: set %s = %s at least, and '\n"
    " 'restart the server', greatest(most - used, 0), what, need, setting, used + need)\n"
    "FROM (SELECT what, setting, need::int, used::int, current_setting(setting)::int AS most\n"
    " FROM (VALUES\n"
    "  ('replication slots', 'max_replication_slots', ?1, (SELECT count(*) FROM\n"
    "   pg_replication_slots)),\n"
    "  ('WAL senders', 'max_wal_senders', ?1, (SELECT count(*) FROM pg_stat_replication)),\n"
    "  ('replication origins', CASE WHEN current_setting('max_active_replication_origins', true)\n"
    "   IS NULL THEN 'max_replication_slots' ELSE 'max_active_replication_origins' END, ?2,\n"
    "   (SELECT count(*) FROM pg_replication_origin)),\n"
    "  ('workers of subscriptions', 'max_logical_replication_workers', ?3, (SELECT count(*) FROM\n"
    "   pg_stat_subscription WHERE pid IS NOT NULL))) v(what, setting, need, used)) w\n"
    "WHERE most - used < need";

struct server_context {
    struct dbk_split_plan *plan;
    const char *thing;
};

static int take_server(void *context, const char *const *columns, struct dbk_error *err)
{
    const struct server_context *server = context;
    return dbk_split_finding_add(server->plan, columns[0], server->thing, columns[1], err);
}

/* A copy has a slot of its own while its table is copied, of which the mark is one. */
static int find_limits(struct dbk_split *split, enum dbk_split_side side, int64_t copies,
                       struct server_context *context, struct dbk_error *err)
{
    char sent[24];
    char taken[24];
    bool is_old = side == DBK_SPLIT_OLD;
    (void)snprintf(sent, sizeof(sent), "%lld", (long long)(is_old ? 1 + copies : 1));
    (void)snprintf(taken, sizeof(taken), "%lld", (long long)(is_old ? 1 : 1 + copies));
    /* Copies wait for a worker, but one of them has to have one. */
    const char *const parameters[] = {sent, taken, is_old ? "1" : "2", NULL};
    return dbk_ask(split->first[side], limits_sql, parameters, take_server, context, err);
}

static int count_copies(struct dbk_split *split, int64_t *copies_out, struct dbk_error *err)
{
    int64_t most = 0;
    int rc = dbk_ask_number(split->first[DBK_SPLIT_NEW],
                            "SELECT current_setting('max_sync_workers_per_subscription')::int",
                            NULL, &most, err);
    int64_t tables = (int64_t)split->state.table_count + 1;
    *copies_out = most < 1 ? 1 : most < tables ? most : tables;
    return rc;
}

static int find_in_servers(struct dbk_split *split, struct dbk_split_plan *plan,
                           struct dbk_error *err)
{
    static const char *const things[] = {"the old database", "the new database"};
    const char *versions[2] = {NULL, NULL};
    const char *encodings[2] = {NULL, NULL};
    int64_t copies = 0;
    int rc = count_copies(split, &copies, err);
    for (int side = 0; rc == DBK_OK && side < 2; side++) {
        struct server_context context = {.plan = plan, .thing = things[side]};
        rc = dbk_ask(split->first[side], server_sql, NULL, take_server, &context, err);
        if (rc == DBK_OK)
            rc = find_limits(split, (enum dbk_split_side)side, copies, &context, err);
        if (rc == DBK_OK)
            rc = dbk_ask_text(split->first[side],
                              "SELECT (current_setting('server_version_num')::int / 10000)::text",
                              NULL, &split->work, &versions[side], err);
        if (rc == DBK_OK)
            rc = dbk_ask_text(split->first[side], "SELECT current_setting('server_encoding')", NULL,
                              &split->work, &encodings[side], err);
    }
    if (rc < 0)
        return rc;
    for (int side = 0; side < 2; side++) {
        if (versions[side] == NULL || encodings[side] == NULL)
            return dbk_error_set(err, DBK_ECORRUPT, "the database answered nothing");
    }
    if (strcmp(encodings[0], encodings[1]) != 0)
        rc = dbk_split_finding_add(plan, "refused", things[1],
                                   "its encoding is another than the old one's", err);
    if (rc == DBK_OK && strcmp(versions[0], versions[1]) != 0) {
        char text[120];
        (void)snprintf(text, sizeof(text),
                       "PostgreSQL %s there and %s here: replication goes both "
                       "ways",
                       versions[1], versions[0]);
        rc = dbk_split_finding_add(plan, "server", things[1], text, err);
    }
    return rc;
}

/* ---- What the new database says ---- */

struct new_context {
    struct dbk_split *split;
    struct dbk_split_plan *plan;
};

static int take_name(void *context, const char *const *columns, struct dbk_error *err)
{
    struct new_context *look = context;
    int64_t there = 0;
    const char *const name[] = {columns[0], NULL};
    int rc = dbk_ask_number(look->split->first[DBK_SPLIT_NEW],
                            "SELECT (to_regclass(?1) IS NOT NULL)::int", name, &there, err);
    if (rc < 0 || there == 0)
        return rc;
    return dbk_split_finding_add(look->plan, "refused", columns[0],
                                 "it exists in the new database: move it away, or name another "
                                 "database",
                                 err);
}

/* A type of the old database's own that a column has. */
static int take_type(void *context, const char *const *columns, struct dbk_error *err)
{
    struct new_context *look = context;
    int64_t there = 0;
    const char *const name[] = {columns[0], NULL};
    int rc = dbk_ask_number(look->split->first[DBK_SPLIT_NEW],
                            "SELECT (to_regtype(?1) IS NOT NULL)::int", name, &there, err);
    if (rc < 0 || there > 0)
        return rc;
    return dbk_split_finding_add(look->plan, "refused", columns[0], columns[1], err);
}

static int find_in_new(struct dbk_split *split, const char *tables, struct dbk_split_plan *plan,
                       struct dbk_error *err)
{
    static const char *const types_sql = MOVED_SQL
        "SELECT DISTINCT format_type(y.oid, NULL), 'the new database has no such type: make it "
        "there first' || CASE y.typtype WHEN 'e' THEN format(': CREATE TYPE %s AS ENUM (%s)', "
        "format_type(y.oid, NULL), (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY "
        "e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = y.oid)) ELSE '' END FROM moved m JOIN "
        "pg_attribute a ON a.attrelid = m.oid AND a.attnum > 0 AND NOT a.attisdropped JOIN pg_type "
        "b ON b.oid = a.atttypid JOIN pg_type y ON y.oid = CASE WHEN b.typelem <> 0 AND b.typlen = "
        "-1 THEN b.typelem ELSE b.oid END JOIN pg_namespace s ON s.oid = y.typnamespace WHERE "
        "s.nspname <> 'pg_catalog'";
    static const char *const sequences_sql = MOVED_SQL
        "SELECT DISTINCT format('%I.%I', s.nspname, c.relname) FROM moved m JOIN pg_depend d ON "
        "d.refclassid = 'pg_class'::regclass AND d.refobjid = m.oid AND d.classid = "
        "'pg_class'::regclass AND d.deptype IN ('a', 'i') JOIN pg_class c ON c.oid = d.objid AND "
        "c.relkind = 'S' JOIN pg_namespace s ON s.oid = c.relnamespace UNION SELECT name FROM "
        "moved";
    struct new_context look = {.split = split, .plan = plan};
    const char *const parameters[] = {tables, NULL};
    int rc = dbk_ask(split->first[DBK_SPLIT_OLD], sequences_sql, parameters, take_name, &look, err);
    return rc < 0
               ? rc
               : dbk_ask(split->first[DBK_SPLIT_OLD], types_sql, parameters, take_type, &look, err);
}

/* ---- The state that a start begins with ---- */

static const char *keep(struct dbk_split *split, const char *text)
{
    return dbk_arena_copy(&split->arena, dbk_slice_of(text)).data;
}

static int name_it(struct dbk_split *split, struct dbk_error *err)
{
    static const uint8_t key[16] = "daybook split";
    const char *database = NULL;
    int rc = dbk_ask_text(split->first[DBK_SPLIT_OLD],
                          "SELECT current_database()::text || ' ' || oid FROM pg_database WHERE "
                          "datname = current_database()",
                          NULL, &split->work, &database, err);
    if (rc < 0)
        return rc;
    const char *what = dbk_arena_format(&split->work, "%s/%s/%s", split->options.book,
                                        split->options.service, database);
    if (what == NULL)
        return no_memory(err);
    uint64_t hash = dbk_siphash128(key, dbk_slice_of(what)).high;
    split->state.name =
        dbk_arena_format(&split->arena, "daybook_split_%08x", (unsigned)(hash >> 32));
    return split->state.name == NULL ? no_memory(err) : DBK_OK;
}

/* Tables as placement finds them: by the search_path, else in the service's own schema. */
static int find_tables(struct dbk_split *split, const char *const *tables, size_t count,
                       struct dbk_split_plan *plan, struct dbk_error *err)
{
    struct dbk_connection *connection = split->first[DBK_SPLIT_OLD];
    struct dbk_split_state *state = &split->state;
    state->tables = dbk_arena_alloc_zero(&split->arena, count + 1, sizeof(*state->tables));
    state->table_count = 0;
    if (state->tables == NULL)
        return no_memory(err);
    int rc = dbk_tell(connection, err, "RESET search_path");
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        const char *const parameters[] = {tables[i], split->options.role, NULL};
        const char *name = NULL;
        rc =
            dbk_ask_text(connection,
                         "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN "
                         "pg_namespace n ON n.oid = c.relnamespace LEFT JOIN "
                         "unnest(current_schemas(false)) WITH ORDINALITY p(schema, nr) ON p.schema "
                         "= n.nspname WHERE c.relname = ?1 AND c.relkind IN ('r', 'p', 'v', 'm', "
                         "'f') AND (p.nr IS NOT NULL OR n.nspname = ?2) ORDER BY p.nr NULLS LAST "
                         "LIMIT 1",
                         parameters, &split->arena, &name, err);
        if (rc == DBK_OK && name == NULL)
            rc = dbk_split_finding_add(plan, "refused", tables[i],
                                       "the table is not in the old database", err);
        else if (rc == DBK_OK)
            state->tables[state->table_count++] = name;
    }
    return rc < 0 ? rc : dbk_tell(connection, err, "SET search_path = pg_catalog");
}

struct keys {
    struct dbk_split *split;
    size_t capacity;
};

static int take_cut(void *context, const char *const *columns, struct dbk_error *err)
{
    struct keys *keys = context;
    struct dbk_split_state *state = &keys->split->state;
    struct dbk_split_key key = {.table = keep(keys->split, columns[0]),
                                .name = keep(keys->split, columns[1]),
                                .text = keep(keys->split, columns[2])};
    if (key.table == NULL || key.name == NULL || key.text == NULL)
        return no_memory(err);
    if (state->key_count == keys->capacity) {
        size_t capacity = keys->capacity == 0 ? 16 : 2 * keys->capacity;
        struct dbk_split_key *items =
            dbk_arena_alloc_zero(&keys->split->arena, capacity, sizeof(*items));
        if (items == NULL)
            return no_memory(err);
        if (state->key_count > 0)
            memcpy(items, state->keys, state->key_count * sizeof(*items));
        state->keys = items;
        keys->capacity = capacity;
    }
    state->keys[state->key_count++] = key;
    return DBK_OK;
}

static int find_keys(struct dbk_split *split, const char *tables, struct dbk_error *err)
{
    static const char *const keys_sql = MOVED_SQL
        "SELECT format('%I.%I', n.nspname, c.relname), quote_ident(k.conname), "
        "pg_get_constraintdef(k.oid) FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid "
        "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE k.contype = 'f' AND (k.conrelid IN "
        "(SELECT oid FROM moved)) <> (k.confrelid IN (SELECT oid FROM moved)) AND k.conparentid = "
        "0 "
        "ORDER BY 1, 2";
    struct keys keys = {.split = split};
    const char *const parameters[] = {tables, NULL};
    split->state.keys = NULL;
    split->state.key_count = 0;
    return dbk_ask(split->first[DBK_SPLIT_OLD], keys_sql, parameters, take_cut, &keys, err);
}

static int take_places(struct dbk_split *split, const struct dbk_split_place places[2],
                       struct dbk_error *err)
{
    for (int side = 0; side < 2; side++) {
        struct dbk_split_place *place = &split->state.places[side];
        *place = (struct dbk_split_place){.database = keep(split, places[side].database),
                                          .address = keep(split, places[side].address),
                                          .reach = keep(split, places[side].reach)};
        if (place->database == NULL || place->address == NULL || place->reach == NULL)
            return no_memory(err);
    }
    split->state.target = DBK_SPLIT_OLD;
    split->state.home = "public";
    return DBK_OK;
}

static int check_unlike(struct dbk_split *split, struct dbk_error *err)
{
    const char *names[2] = {NULL, NULL};
    int rc = DBK_OK;
    for (int side = 0; rc == DBK_OK && side < 2; side++)
        rc = dbk_ask_text(split->first[side],
                          "SELECT (SELECT system_identifier FROM pg_control_system())::text || '/' "
                          "|| current_database()",
                          NULL, &split->work, &names[side], err);
    if (rc == DBK_OK && strcmp(names[0], names[1]) == 0)
        rc = dbk_error_set(err, DBK_EREFUSED, "--to names the database that %s is in",
                           split->state.service);
    return rc;
}

int dbk_split_look(struct dbk_split *split, const struct dbk_split_place places[2],
                   const char *const *tables, size_t table_count, struct dbk_split_plan *plan,
                   struct dbk_error *err)
{
    struct dbk_split_state *state = &split->state;
    int rc = take_places(split, places, err);
    if (rc == DBK_OK)
        rc = dbk_split_open_sides(split, err);
    if (rc == DBK_OK)
        rc = check_unlike(split, err);
    if (rc == DBK_OK)
        rc = name_it(split, err);
    /* By its name, which keeps out who is at the same one. */
    if (rc == DBK_OK)
        rc = dbk_split_connect(split, err);
    if (rc == DBK_OK)
        rc = find_tables(split, tables, table_count, plan, err);
    if (rc < 0 || state->table_count == 0)
        return rc;
    const char *list = dbk_split_tables_json(split);
    if (list == NULL)
        return no_memory(err);
    const char *const first[] = {state->tables[0], NULL};
    rc =
        dbk_ask_text(split->first[DBK_SPLIT_OLD],
                     "SELECT quote_ident(n.nspname) FROM pg_class c JOIN pg_namespace n ON n.oid = "
                     "c.relnamespace WHERE c.oid = to_regclass(?1)",
                     first, &split->arena, &state->home, err);
    if (rc == DBK_OK)
        rc = find_keys(split, list, err);
    if (rc == DBK_OK)
        rc = find_in_old(split, list, plan, err);
    if (rc == DBK_OK)
        rc = find_in_new(split, list, plan, err);
    if (rc == DBK_OK)
        rc = find_in_servers(split, plan, err);
    if (rc == DBK_OK)
        state->step = DBK_SPLIT_STARTING;
    return rc;
}

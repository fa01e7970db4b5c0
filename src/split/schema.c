/* SPDX-License-Identifier: Apache-2.0 */
/* What is made in the databases: the tables as they are in the old one, the mark, the gates. */
#include <stdio.h>

#include "split/inside.h"

/*
 * moved     the tables, in their order
 * numbered  sequences that their columns number by; how: i an identity's, a owned, n neither
 */
#define MOVED_SQL                                                                                  \
    "WITH moved AS (SELECT x.nr, x.name, to_regclass(x.name)::oid AS oid\n"                        \
    " FROM jsonb_array_elements_text(?1::jsonb) WITH ORDINALITY x(name, nr)),\n"                   \
    "bound AS (\n"                                                                                 \
    " SELECT d.objid AS oid, d.deptype::text AS how, m.name AS owner, a.attname\n"                 \
    " FROM moved m JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid\n"       \
    "  = m.oid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')\n"                 \
    " JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S'\n"                                    \
    " JOIN pg_attribute a ON a.attrelid = m.oid AND a.attnum = d.refobjsubid),\n"                  \
    "numbered AS (SELECT n.*, format('%I.%I', s.nspname, c.relname) AS name FROM (\n"              \
    " SELECT * FROM bound UNION SELECT d.refobjid, 'n', NULL, NULL\n"                              \
    " FROM moved m JOIN pg_attrdef f ON f.adrelid = m.oid\n"                                       \
    " JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid\n"                \
    "  AND d.refclassid = 'pg_class'::regclass\n"                                                  \
    " JOIN pg_class c ON c.oid = d.refobjid AND c.relkind = 'S'\n"                                 \
    " WHERE d.refobjid NOT IN (SELECT oid FROM bound)) n\n"                                        \
    "JOIN pg_class c ON c.oid = n.oid JOIN pg_namespace s ON s.oid = c.relnamespace)\n"

#define SEQUENCE_FORMAT                                                                            \
    "'INCREMENT BY %s MINVALUE %s MAXVALUE %s START WITH %s CACHE %s%s', q.seqincrement,\n"        \
    " q.seqmin, q.seqmax, q.seqstart, q.seqcache, CASE WHEN q.seqcycle THEN ' CYCLE' ELSE ''\n"    \
    " END"

/* One statement a row, in their order. Names come with their schemas (search_path is empty). */
#define BEGIN_SQL MOVED_SQL ", made(step, nr, name, sql) AS (\n"
#define END_SQL ")\nSELECT sql FROM made ORDER BY step, nr, name"
static const char *const tables_sql = BEGIN_SQL
    "SELECT 1, 0::bigint, n.name, format('CREATE SEQUENCE %s AS %s ', n.name,\n"
    " format_type(q.seqtypid, NULL)) || format(" SEQUENCE_FORMAT ")\n"
    "FROM numbered n JOIN pg_sequence q ON q.seqrelid = n.oid WHERE n.how <> 'i'\n"
    "UNION ALL\n"
    "SELECT 2, m.nr, m.name, format('CREATE TABLE %s (%s)%s', m.name, (SELECT string_agg(\n"
    " format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)) ||\n"
    " CASE WHEN a.attcollation <> 0 AND a.attcollation <> y.typcollation THEN (SELECT\n"
    "  format(' COLLATE %I.%I', s.nspname, l.collname) FROM pg_collation l JOIN pg_namespace s\n"
    "  ON s.oid = l.collnamespace WHERE l.oid = a.attcollation) ELSE '' END ||\n"
    " CASE WHEN a.attgenerated = 's' THEN format(' GENERATED ALWAYS AS (%s) STORED',\n"
    "   pg_get_expr(f.adbin, f.adrelid))\n"
    "  WHEN f.adbin IS NOT NULL THEN ' DEFAULT ' || pg_get_expr(f.adbin, f.adrelid)\n"
    "  WHEN a.attidentity <> '' THEN (SELECT format(' GENERATED %s AS IDENTITY (SEQUENCE NAME '\n"
    "   '%s ', CASE a.attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END, n.name) ||\n"
    "   format(" SEQUENCE_FORMAT ") || ')'\n"
    "   FROM numbered n JOIN pg_sequence q ON q.seqrelid = n.oid WHERE n.owner = m.name AND\n"
    "   n.attname = a.attname AND n.how = 'i')\n"
    "  ELSE '' END ||\n"
    " CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END, ', ' ORDER BY a.attnum)\n"
    " FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid LEFT JOIN pg_attrdef f ON\n"
    "  f.adrelid = a.attrelid AND f.adnum = a.attnum\n"
    " WHERE a.attrelid = m.oid AND a.attnum > 0 AND NOT a.attisdropped),\n"
    " coalesce(' WITH (' || array_to_string(c.reloptions, ', ') || ')', ''))\n"
    "FROM moved m JOIN pg_class c ON c.oid = m.oid\n"
    "UNION ALL\n"
    "SELECT 3, 0, n.name, format('ALTER SEQUENCE %s OWNED BY %s.%I', n.name, n.owner, n.attname)\n"
    "FROM numbered n WHERE n.how = 'a'\n" END_SQL;
static const char *const parts_sql = BEGIN_SQL
    "SELECT CASE k.contype WHEN 'f' THEN 6 WHEN 'c' THEN 5 ELSE 4 END, m.nr, k.conname,\n"
    " format('ALTER TABLE %s ADD CONSTRAINT %I %s', m.name, k.conname,\n"
    " pg_get_constraintdef(k.oid))\n"
    "FROM moved m JOIN pg_constraint k ON k.conrelid = m.oid WHERE k.contype IN ('p', 'u', 'x')\n"
    " OR k.contype = 'c' AND k.convalidated OR k.contype = 'f' AND k.confrelid IN (SELECT oid FROM "
    "moved)\n"
    "UNION ALL\n"
    "SELECT 7, m.nr, c.relname, pg_get_indexdef(i.indexrelid)\n"
    "FROM moved m JOIN pg_index i ON i.indrelid = m.oid JOIN pg_class c ON c.oid = i.indexrelid\n"
    "WHERE i.indisvalid AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid =\n"
    " i.indexrelid AND k.contype IN ('p', 'u', 'x'))\n"
    "UNION ALL\n"
    "SELECT 8, m.nr, m.name, format('ALTER TABLE %s REPLICA IDENTITY %s', m.name,\n"
    " CASE c.relreplident WHEN 'f' THEN 'FULL' ELSE (SELECT format('USING INDEX %I', x.relname)\n"
    "  FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = m.oid AND\n"
    "  i.indisreplident) END)\n"
    "FROM moved m JOIN pg_class c ON c.oid = m.oid WHERE c.relreplident IN ('f', 'i')\n"
    "UNION ALL\n"
    "SELECT 9, m.nr, x.stxname, pg_get_statisticsobjdef(x.oid) FROM moved m JOIN pg_statistic_ext\n"
    " x ON x.stxrelid = m.oid\n"
    "UNION ALL\n"
    "SELECT 10, m.nr, coalesce(a.attname, ''), CASE WHEN d.objsubid = 0 THEN format('COMMENT ON '\n"
    " 'TABLE %s IS %L', m.name, d.description) ELSE format('COMMENT ON COLUMN %s.%I IS %L',\n"
    " m.name, a.attname, d.description) END\n"
    "FROM moved m JOIN pg_description d ON d.classoid = 'pg_class'::regclass AND d.objoid = m.oid\n"
    "LEFT JOIN pg_attribute a ON a.attrelid = m.oid AND a.attnum = d.objsubid AND d.objsubid > "
    "0\n" END_SQL;

/* Checks that rows are not known to fit; names that the new database may have already. */
static const char *const late_sql = MOVED_SQL
    "SELECT m.name, k.conname, format('ALTER TABLE %s ADD CONSTRAINT %I %s', m.name, k.conname,\n"
    " pg_get_constraintdef(k.oid)) FROM moved m JOIN pg_constraint k ON k.conrelid = m.oid WHERE\n"
    " k.contype = 'c' AND NOT k.convalidated ORDER BY m.nr, k.conname";

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
}

/* ---- The mark ---- */

/* What somebody else made under our names would be done with our rights. */
static int check_owner(struct dbk_split *split, enum dbk_split_side side, const char *sql,
                       const char *name, struct dbk_error *err)
{
    int64_t others = 0;
    const char *const parameters[] = {name, NULL};
    if (name == NULL)
        return no_memory(err);
    int rc = dbk_ask_number(split->first[side], sql, parameters, &others, err);
    return rc < 0 || others == 0
               ? rc
               : dbk_error_set(err, DBK_EREFUSED,
                               "%s of the %s database is another user's: drop it first", name,
                               dbk_split_side_text(side));
}

int dbk_split_make_mark(struct dbk_split *split, enum dbk_split_side side, struct dbk_error *err)
{
    int rc = dbk_tell(split->first[side], err,
                      "CREATE TABLE IF NOT EXISTS %s._%s (id integer PRIMARY KEY, token text NOT "
                      "NULL)",
                      split->state.home, split->state.name);
    return rc < 0 ? rc
                  : check_owner(split, side,
                                "SELECT count(*) FROM pg_class WHERE oid = to_regclass(?1) AND "
                                "pg_get_userbyid(relowner) <> current_user",
                                dbk_arena_format(&split->work, "%s._%s", split->state.home,
                                                 split->state.name),
                                err);
}

int dbk_split_drop_mark(struct dbk_split *split, enum dbk_split_side side, struct dbk_error *err)
{
    return dbk_tell(split->first[side], err, "DROP TABLE IF EXISTS %s._%s", split->state.home,
                    split->state.name);
}

static int has_mark(struct dbk_split *split, enum dbk_split_side side, bool *has_out,
                    struct dbk_error *err)
{
    int64_t count = 0;
    const char *const name[] = {
        dbk_arena_format(&split->work, "%s._%s", split->state.home, split->state.name), NULL};
    if (name[0] == NULL)
        return no_memory(err);
    int rc = dbk_ask_number(split->first[side], "SELECT (to_regclass(?1) IS NOT NULL)::int", name,
                            &count, err);
    *has_out = count > 0;
    return rc;
}

/* ---- Gates ---- */

/*
 * A trigger that replication does not fire. It is looked up anew by every statement, whatever a
 * transaction sees of rows, so that a gate that was closed under a lock is closed for all.
 */
int dbk_split_make_gates(struct dbk_split *split, enum dbk_split_side side, struct dbk_error *err)
{
    const struct dbk_split_state *state = &split->state;
    int rc = dbk_tell(
        split->first[side], err,
        "CREATE OR REPLACE FUNCTION %s._%s_gate() RETURNS trigger LANGUAGE plpgsql AS $gate$\n"
        "BEGIN\n"
        " RAISE EXCEPTION 'the table %%.%% is not written here now: it is in another database',\n"
        "  TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'read_only_sql_transaction',\n"
        "  HINT = 'Connect to the database that the service %s has now.';\n"
        "END $gate$; REVOKE ALL ON FUNCTION %s._%s_gate() FROM PUBLIC",
        state->home, state->name, state->service, state->home, state->name);
    if (rc == DBK_OK)
        rc = check_owner(split, side,
                         "SELECT count(*) FROM pg_proc WHERE oid = to_regprocedure(?1) AND "
                         "pg_get_userbyid(proowner) <> current_user",
                         dbk_arena_format(&split->work, "%s._%s_gate()", state->home, state->name),
                         err);
    for (size_t i = 0; rc == DBK_OK && i < state->table_count; i++)
        rc = dbk_tell(split->first[side], err,
                      "CREATE OR REPLACE TRIGGER %s_gate BEFORE INSERT OR UPDATE OR DELETE OR "
                      "TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION %s._%s_gate(); "
                      "ALTER TABLE %s ENABLE TRIGGER %s_gate",
                      state->name, state->tables[i], state->home, state->name, state->tables[i],
                      state->name);
    return rc;
}

int dbk_split_drop_gates(struct dbk_split *split, enum dbk_split_side side, struct dbk_error *err)
{
    const struct dbk_split_state *state = &split->state;
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < state->table_count; i++)
        rc = dbk_split_change(split, side,
                              dbk_arena_format(&split->work, "DROP TRIGGER IF EXISTS %s_gate ON %s",
                                               state->name, state->tables[i]),
                              err);
    return rc < 0 ? rc
                  : dbk_tell(split->first[side], err, "DROP FUNCTION IF EXISTS %s._%s_gate()",
                             state->home, state->name);
}

int dbk_split_gates_are_closed(struct dbk_split *split, enum dbk_split_side side, bool *closed_out,
                               struct dbk_error *err)
{
    int64_t count = 0;
    const char *const parameters[] = {dbk_arena_format(&split->work, "%s_gate", split->state.name),
                                      dbk_split_tables_json(split), NULL};
    if (parameters[0] == NULL || parameters[1] == NULL)
        return no_memory(err);
    int rc = dbk_ask_number(split->first[side],
                            "SELECT count(*) FROM pg_trigger WHERE tgname = ?1 AND tgenabled = 'O' "
                            "AND tgrelid IN (SELECT to_regclass(x)::oid FROM "
                            "jsonb_array_elements_text(?2::jsonb) x)",
                            parameters, &count, err);
    *closed_out = rc == DBK_OK && (size_t)count == split->state.table_count;
    return rc;
}

/* ---- Tables ---- */

struct making {
    struct dbk_split *split;
    struct dbk_connection *connection;
};

static int make_one(void *context, const char *const *columns, struct dbk_error *err)
{
    struct making *making = context;
    return dbk_tell(making->connection, err, "%s", columns[0]);
}

static int make_schema(void *context, const char *const *columns, struct dbk_error *err)
{
    struct making *making = context;
    int64_t there = 0;
    const char *const name[] = {columns[0], NULL};
    int rc = dbk_ask_number(making->connection,
                            "SELECT count(*) FROM pg_namespace WHERE quote_ident(nspname) = ?1",
                            name, &there, err);
    if (rc < 0 || there > 0)
        return rc;
    /* By its comment it is known again. */
    return dbk_tell(making->connection, err, "CREATE SCHEMA %s; COMMENT ON SCHEMA %s IS '%s'",
                    columns[0], columns[0], making->split->state.name);
}

static int make_tables(struct dbk_split *split, const char *const *tables, struct dbk_error *err)
{
    struct making making = {.split = split, .connection = split->first[DBK_SPLIT_NEW]};
    struct dbk_connection *old = split->first[DBK_SPLIT_OLD];
    int rc = dbk_ask(old,
                     MOVED_SQL "SELECT DISTINCT quote_ident(s.nspname) FROM (SELECT oid FROM moved "
                               "UNION ALL SELECT oid FROM numbered) o JOIN pg_class c ON c.oid = "
                               "o.oid JOIN pg_namespace s ON s.oid = c.relnamespace",
                     tables, make_schema, &making, err);
    if (rc == DBK_OK)
        rc = dbk_ask(old, tables_sql, tables, make_one, &making, err);
    if (rc == DBK_OK)
        rc = dbk_ask(old, parts_sql, tables, make_one, &making, err);
    if (rc == DBK_OK)
        rc = dbk_split_make_mark(split, DBK_SPLIT_NEW, err);
    return rc < 0 ? rc : dbk_split_make_gates(split, DBK_SPLIT_NEW, err);
}

static int make_check(void *context, const char *const *columns, struct dbk_error *err)
{
    struct making *making = context;
    int64_t there = 0;
    const char *const name[] = {columns[0], columns[1], NULL};
    int rc = dbk_ask_number(making->connection,
                            "SELECT count(*) FROM pg_constraint WHERE conrelid = to_regclass(?1) "
                            "AND conname = ?2",
                            name, &there, err);
    return rc < 0 || there > 0
               ? rc
               : dbk_split_change(
                     making->split, DBK_SPLIT_NEW,
                     dbk_arena_copy(&making->split->work, dbk_slice_of(columns[2])).data, err);
}

int dbk_split_make_late(struct dbk_split *split, struct dbk_error *err)
{
    struct making making = {.split = split, .connection = split->first[DBK_SPLIT_NEW]};
    const char *const tables[] = {dbk_split_tables_json(split), NULL};
    return tables[0] == NULL
               ? no_memory(err)
               : dbk_ask(split->first[DBK_SPLIT_OLD], late_sql, tables, make_check, &making, err);
}

int dbk_split_make(struct dbk_split *split, struct dbk_error *err)
{
    bool made = false;
    struct dbk_connection *connection = split->first[DBK_SPLIT_NEW];
    const char *const tables[] = {dbk_split_tables_json(split), NULL};
    if (tables[0] == NULL)
        return no_memory(err);
    int rc = has_mark(split, DBK_SPLIT_NEW, &made, err);
    if (rc < 0 || made)
        return rc;
    rc = dbk_connection_begin(connection, DBK_BEGIN_WRITE, err);
    if (rc == DBK_OK)
        rc = make_tables(split, tables, err);
    if (rc == DBK_OK)
        return dbk_connection_run(connection, "COMMIT", err);
    dbk_ignore(dbk_connection_run(connection, "ROLLBACK", NULL));
    return rc;
}

static int drop_sequence(void *context, const char *const *columns, struct dbk_error *err)
{
    struct making *making = context;
    return dbk_tell(making->connection, err, "DROP SEQUENCE IF EXISTS %s", columns[0]);
}

static int unmake_tables(struct dbk_split *split, struct dbk_error *err)
{
    struct making making = {.split = split, .connection = split->first[DBK_SPLIT_NEW]};
    const char *const tables[] = {dbk_split_tables_json(split), NULL};
    const char *list = dbk_split_tables_list(split);
    if (tables[0] == NULL || list == NULL)
        return no_memory(err);
    int rc = dbk_tell(making.connection, err, "DROP TABLE IF EXISTS %s", list);
    if (rc == DBK_OK)
        rc = dbk_ask(split->first[DBK_SPLIT_OLD], MOVED_SQL "SELECT name FROM numbered", tables,
                     drop_sequence, &making, err);
    if (rc == DBK_OK)
        rc = dbk_tell(making.connection, err, "DROP FUNCTION IF EXISTS %s._%s_gate()",
                      split->state.home, split->state.name);
    if (rc == DBK_OK)
        rc = dbk_split_drop_mark(split, DBK_SPLIT_NEW, err);
    if (rc < 0)
        return rc;
    return dbk_tell(making.connection, err,
                    "DO $do$ DECLARE s text; BEGIN FOR s IN SELECT nspname FROM pg_namespace WHERE "
                    "obj_description(oid, 'pg_namespace') = '%s' LOOP BEGIN EXECUTE format('DROP "
                    "SCHEMA %%I', s); EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END; "
                    "END LOOP; END $do$",
                    split->state.name);
}

/* Only where the mark is, is what is there our own. */
int dbk_split_unmake(struct dbk_split *split, struct dbk_error *err)
{
    bool made = false;
    struct dbk_connection *connection = split->first[DBK_SPLIT_NEW];
    int rc = has_mark(split, DBK_SPLIT_NEW, &made, err);
    if (rc < 0 || !made)
        return rc;
    rc = dbk_connection_begin(connection, DBK_BEGIN_WRITE, err);
    if (rc == DBK_OK)
        rc = unmake_tables(split, err);
    if (rc == DBK_OK)
        return dbk_connection_run(connection, "COMMIT", err);
    dbk_ignore(dbk_connection_run(connection, "ROLLBACK", NULL));
    return rc;
}

/* ---- Sequences ---- */

struct carrying {
    struct dbk_connection *from;
    struct dbk_connection *to;
};

static int set_sequence(void *context, const char *const *columns, struct dbk_error *err)
{
    const char *const parameters[] = {columns[0], columns[1], columns[2], NULL};
    return dbk_ask(context, "SELECT setval(?1::regclass, ?2::bigint, ?3::boolean)", parameters,
                   NULL, NULL, err);
}

static int carry_one(void *context, const char *const *columns, struct dbk_error *err)
{
    struct carrying *carrying = context;
    char sql[512];
    int size = snprintf(sql, sizeof(sql), "SELECT '%s', last_value::text, is_called::text FROM %s",
                        columns[1], columns[0]);
    if (size < 0 || (size_t)size >= sizeof(sql))
        return dbk_error_set(err, DBK_ELIMIT, "the sequence %.60s has a name that is too long",
                             columns[0]);
    return dbk_ask(carrying->from, sql, NULL, set_sequence, carrying->to, err);
}

int dbk_split_carry_sequences(struct dbk_split *split, enum dbk_split_side from,
                              struct dbk_error *err)
{
    struct carrying carrying = {.from = split->second[from], .to = split->first[!from]};
    const char *const tables[] = {dbk_split_tables_json(split), NULL};
    return tables[0] == NULL
               ? no_memory(err)
               : dbk_ask(split->second[from],
                         MOVED_SQL "SELECT name, replace(name, '''', '''''') FROM numbered", tables,
                         carry_one, &carrying, err);
}

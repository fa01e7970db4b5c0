/* SPDX-License-Identifier: Apache-2.0 */
/* Random tables, and changes of their rows. */
#include "make.h"

#include <string.h>

static uint64_t next_random(struct world *world)
{
    uint64_t x = world->random += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

unsigned make_below(struct world *world, unsigned limit)
{
    return (unsigned)(next_random(world) % limit);
}

bool make_one_in(struct world *world, unsigned count)
{
    return make_below(world, count) == 0;
}

const char *make_pick(struct world *world, const char *const *items, size_t count)
{
    return items[make_below(world, (unsigned)count)];
}

void make_tables(struct world *world, struct dbk_buf *sql)
{
    static const char *const types[] = {"INTEGER", "TEXT", "REAL", "", "NUMERIC", "INTEGER"};
    static const char *const whole[] = {"INTEGER", "TEXT", "", "NUMERIC", "INTEGER"};
    world->nested = make_one_in(world, 2);
    world->filled = make_one_in(world, 3);
    world->over = 0;
    world->table_count = 1 + make_below(world, TABLES_MAX);
    for (unsigned i = 0; i < world->table_count; i++) {
        struct table *table = &world->tables[i];
        table->columns = 2 + make_below(world, COLUMNS_MAX - 1);
        table->key = make_one_in(world, 2);
        table->unique = make_one_in(world, 3);
        dbk_buf_append_format(sql, "CREATE TABLE t%u (", i);
        for (unsigned j = 0; j < table->columns; j++)
            dbk_buf_append_format(sql, "%sa%u %s%s", j > 0 ? ", " : "", j,
                                  j == 0 && table->key ? "INTEGER PRIMARY KEY"
                                  : world->nested      ? PICK(world, whole)
                                                       : PICK(world, types),
                                  j == 1 && table->unique ? " UNIQUE" : "");
        dbk_buf_append_text(sql, ");");
        if (make_one_in(world, 2))
            dbk_buf_append_format(sql, "CREATE INDEX i%u ON t%u (a1);", i, i);
    }
}

static void append_value(struct world *world, struct dbk_buf *sql)
{
    unsigned kind = make_below(world, 12);
    if (kind < 2 && world->filled && !make_one_in(world, 10))
        kind = 11;
    switch (world->nested && (kind == 4 || kind == 5) ? 6 : kind) {
    case 0:
    case 1:
        dbk_buf_append_text(sql, "NULL");
        break;
    case 2:
        dbk_buf_append_format(sql, "'%c'", 'a' + (int)make_below(world, 3));
        break;
    case 3:
        dbk_buf_append_format(sql, "'%u'", make_below(world, 4));
        break;
    case 4:
        dbk_buf_append_format(sql, "%u.5", make_below(world, 4));
        break;
    case 5:
        dbk_buf_append_format(sql, "%lld",
                              (long long)(next_random(world) >> (2 + make_below(world, 50))));
        break;
    default:
        dbk_buf_append_format(sql, "%d", (int)make_below(world, 7) - 1);
        break;
    }
}

void make_data(struct world *world, struct dbk_buf *json)
{
    static const char *const values[] = {"null", "\"a\"", "\"2\"", "\"b\"", "0",
                                         "1",    "2",     "3",     "4",     "-1"};
    static const char *const more[] = {"2.5", "0.5", "4611686018427387904", "true"};
    dbk_buf_append_char(json, '{');
    for (char name = 'a'; name <= 'b'; name++) {
        if (name == 'b' && make_one_in(world, 8))
            continue;
        bool other = !world->nested && make_one_in(world, 6);
        dbk_buf_append_format(json, name == 'a' ? "\"%c\":%s" : ",\"%c\":%s", name,
                              other ? PICK(world, more) : PICK(world, values));
    }
    dbk_buf_append_char(json, '}');
}

static void append_key(struct world *world, struct dbk_buf *sql)
{
    dbk_buf_append_format(sql, "%u", make_below(world, 30));
}

static void append_insert(struct world *world, struct dbk_buf *sql, unsigned t)
{
    static const char *const verbs[] = {"INSERT OR IGNORE", "INSERT OR REPLACE", "INSERT OR IGNORE",
                                        "INSERT"};
    const struct table *table = &world->tables[t];
    const char *verb = PICK(world, verbs);
    bool upsert = strcmp(verb, "INSERT") == 0;
    dbk_buf_append_format(sql, "%s INTO t%u VALUES (", verb, t);
    for (unsigned j = 0; j < table->columns; j++) {
        dbk_buf_append_text(sql, j > 0 ? ", " : "");
        if (j == 0 && table->key)
            append_key(world, sql);
        else
            append_value(world, sql);
    }
    dbk_buf_append_text(sql, ")");
    if (upsert && (table->key || table->unique))
        dbk_buf_append_format(sql, " ON CONFLICT DO UPDATE SET a%u = 3", table->columns - 1);
    dbk_buf_append_text(sql, ";");
}

static void append_change(struct world *world, struct dbk_buf *sql)
{
    unsigned t = make_below(world, world->table_count);
    const struct table *table = &world->tables[t];
    static const char *const verbs[] = {"UPDATE OR IGNORE", "UPDATE OR REPLACE"};
    switch (make_below(world, 8)) {
    case 0:
        dbk_buf_append_format(sql, "DELETE FROM t%u WHERE a%u = ", t,
                              make_below(world, table->columns));
        append_value(world, sql);
        dbk_buf_append_text(sql, ";");
        break;
    case 1:
        if (make_one_in(world, 6))
            dbk_buf_append_format(sql, "DELETE FROM t%u;", t);
        else
            dbk_buf_append_format(sql, "DELETE FROM t%u WHERE rowid %% 5 = %u;", t,
                                  make_below(world, 5));
        break;
    case 2:
    case 3:
        dbk_buf_append_format(sql, "%s t%u SET a%u = ", PICK(world, verbs), t,
                              make_below(world, table->columns - 1) + 1);
        append_value(world, sql);
        dbk_buf_append_format(sql, " WHERE rowid %% 4 = %u;", make_below(world, 4));
        break;
    case 4:
        if (table->key)
            dbk_buf_append_format(sql, "%s t%u SET a0 = a0 + %u WHERE a0 = %u;", PICK(world, verbs),
                                  t, make_below(world, 3) + 1, make_below(world, 30));
        break;
    default:
        append_insert(world, sql, t);
        break;
    }
}

void make_batch(struct world *world, struct dbk_buf *sql, unsigned changes)
{
    dbk_buf_append_text(sql, "BEGIN;");
    for (unsigned i = 0; i < changes; i++)
        append_change(world, sql);
    dbk_buf_append_text(sql, make_one_in(world, 12) ? "ROLLBACK;" : "COMMIT;");
}

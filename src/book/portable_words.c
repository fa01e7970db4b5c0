/* SPDX-License-Identifier: Apache-2.0 */
/* Words that one of SQLite and PostgreSQL does not know, or takes otherwise. */
#include <string.h>

#include "base/fault.h"
#include "book/portable.h"

#define COLUMNS_MAX 64

enum where {
    ANYWHERE,
    CALL,     /* with a parenthesis behind it */
    CALL_TWO, /* the same, and a comma in it */
    TYPE,     /* in a schema, not before a dot or a comma */
    PAIR,     /* with `next` behind it */
};

struct word {
    const char *word;
    enum where where;
    bool warning;
    const char *next; /* of PAIR */
    const char *instead;
};

static const char either[] = "no name is both's: keep a file for each target";

static const struct word of_sqlite[] = {
    {"ifnull", CALL, false, NULL, "write coalesce(a, b)"},
    {"iif", CALL, false, NULL, "write CASE WHEN … THEN … ELSE … END"},
    {"total", CALL, false, NULL, "write coalesce(sum(…), 0)"},
    {"instr", CALL, false, NULL, either},
    {"printf", CALL, false, NULL, "join texts by ||"},
    {"json_extract", CALL, false, NULL, "take the member as a parameter: `:a.b`"},
    {"json_each", CALL, false, NULL, either},
    {"json_tree", CALL, false, NULL, either},
    {"json_array_length", CALL, true, NULL, "PostgreSQL's takes json: a text needs a cast"},
    {"json_group_array", CALL, false, NULL, either},
    {"json_group_object", CALL, false, NULL, either},
    {"json_set", CALL, false, NULL, either},
    {"group_concat", CALL, false, NULL, either},
    {"strftime", CALL, false, NULL, "times are text from RFC 3339: write substr(…, 1, 10)"},
    {"date", CALL, false, NULL, "times are text from RFC 3339: write substr(…, 1, 10)"},
    {"time", CALL, false, NULL, "times are text from RFC 3339: write substr(…, 12, 8)"},
    {"datetime", CALL, false, NULL, "times are text from RFC 3339: write substr(…, 1, 19)"},
    {"julianday", CALL, false, NULL, either},
    {"unixepoch", CALL, false, NULL, either},
    {"hex", CALL, false, NULL, either},
    {"quote", CALL, false, NULL, either},
    {"typeof", CALL, false, NULL, either},
    {"unicode", CALL, false, NULL, either},
    {"char", CALL, true, NULL, "PostgreSQL takes it for a type"},
    {"round", CALL_TWO, true, NULL,
     "with a number of places PostgreSQL's is of NUMERIC alone: write "
     "round(CAST(x AS NUMERIC), n)"},
    {"like", ANYWHERE, true, NULL,
     "SQLite's takes no notice of case: write lower(a) LIKE lower(b)"},
    {"max", CALL_TWO, false, NULL, "write CASE WHEN a > b THEN a ELSE b END"},
    {"min", CALL_TWO, false, NULL, "write CASE WHEN a < b THEN a ELSE b END"},
    {"virtual", ANYWHERE, false, NULL, "write STORED"},
    {"glob", ANYWHERE, false, NULL, "write LIKE"},
    {"regexp", ANYWHERE, false, NULL, "write LIKE"},
    {"match", ANYWHERE, false, NULL, either},
    {"rowid", ANYWHERE, false, NULL, "name a column of your own, such as PRIMARY KEY"},
    {"autoincrement", ANYWHERE, false, NULL, "give the key from the event: `:_position`"},
    {"collate", ANYWHERE, true, NULL, "collations have other names at a server"},
    {"insert", PAIR, false, "or", "write ON CONFLICT (key) DO UPDATE SET …, or DO NOTHING"},
    {"update", PAIR, false, "or", "write a condition that keeps the constraint"},
    {"replace", PAIR, false, "into", "write INSERT … ON CONFLICT (key) DO UPDATE SET …"},
    {"without", PAIR, false, "rowid", "leave it out"},
    {"indexed", PAIR, false, "by", "leave it out"},
    {"integer", TYPE, true, NULL, "PostgreSQL's has 32 bits: write BIGINT"},
    {"int", TYPE, true, NULL, "PostgreSQL's has 32 bits: write BIGINT"},
    {"real", TYPE, true, NULL, "PostgreSQL's has 32 bits: write DOUBLE PRECISION"},
    {"blob", TYPE, false, NULL, "write BYTEA, which SQLite takes too"},
    {"datetime", TYPE, false, NULL, "write TEXT"},
    {"any", TYPE, false, NULL, "write TEXT"},
};

static const struct word of_postgres[] = {
    {"string_agg", CALL, false, NULL, either},
    {"array_agg", CALL, false, NULL, either},
    {"json_agg", CALL, false, NULL, either},
    {"jsonb_agg", CALL, false, NULL, either},
    {"jsonb_build_object", CALL, false, NULL, either},
    {"greatest", CALL, false, NULL, "write CASE WHEN a > b THEN a ELSE b END"},
    {"least", CALL, false, NULL, "write CASE WHEN a < b THEN a ELSE b END"},
    {"strpos", CALL, false, NULL, either},
    {"to_char", CALL, false, NULL, "times are text from RFC 3339: write substr(…, 1, 10)"},
    {"to_timestamp", CALL, false, NULL, "keep times as text"},
    {"date_trunc", CALL, false, NULL, "times are text from RFC 3339: write substr(…, 1, 10)"},
    {"date_part", CALL, false, NULL, "times are text from RFC 3339: write substr(…, 1, 4)"},
    {"extract", CALL, false, NULL, "times are text from RFC 3339: write substr(…, 1, 4)"},
    {"left", CALL, false, NULL, "write substr(x, 1, n)"},
    {"right", CALL, false, NULL, "write substr(x, -n)"},
    {"lpad", CALL, false, NULL, either},
    {"rpad", CALL, false, NULL, either},
    {"split_part", CALL, false, NULL, either},
    {"generate_series", CALL, false, NULL, either},
    {"unnest", CALL, false, NULL, either},
    {"any", CALL, false, NULL, "write IN (…)"},
    {"array", ANYWHERE, false, NULL, "keep lists as JSON text"},
    {"interval", ANYWHERE, false, NULL, either},
    {"ilike", ANYWHERE, false, NULL, "write lower(a) LIKE lower(b)"},
    {"similar", ANYWHERE, false, NULL, "write LIKE"},
    {"lateral", ANYWHERE, false, NULL, either},
    {"merge", PAIR, false, "into", "write INSERT … ON CONFLICT (key) DO UPDATE SET …"},
    {"like", ANYWHERE, true, NULL,
     "SQLite's takes no notice of case: write lower(a) LIKE lower(b)"},
    {"numeric", TYPE, true, NULL,
     "SQLite's is a floating number: count in the smallest unit, as "
     "BIGINT"},
    {"decimal", TYPE, true, NULL,
     "SQLite's is a floating number: count in the smallest unit, as "
     "BIGINT"},
    {"timestamptz", TYPE, true, NULL, "SQLite keeps the text as it comes: write TEXT"},
    {"timestamp", TYPE, true, NULL, "SQLite keeps the text as it comes: write TEXT"},
    {"date", TYPE, true, NULL, "SQLite keeps the text as it comes: write TEXT"},
    {"jsonb", TYPE, true, NULL, "SQLite keeps the text as it comes: write TEXT"},
};

struct scan {
    const struct dbk_portable_text *text;
    struct dbk_diagnostics *faults;
    struct dbk_slice columns[COLUMNS_MAX]; /* that the statement inserts */
    size_t column_count;
    size_t depth; /* of parentheses */
    bool listing; /* in that list */
    bool listed;  /* it has been seen */
    bool inserts;
    bool setting;               /* behind DO UPDATE SET */
    struct dbk_slice before[2]; /* the tokens before, the nearest first */
};

static bool is(struct dbk_slice token, const char *word)
{
    return token.size == strlen(word) && strncasecmp(token.data, word, token.size) == 0;
}

static bool is_sign(struct dbk_slice token, char sign)
{
    return token.size == 1 && token.data[0] == sign;
}

static const char *name_of(enum dbk_dialect dialect)
{
    return dialect == DBK_DIALECT_SQLITE ? "SQLite" : "PostgreSQL";
}

static enum dbk_dialect other(enum dbk_dialect dialect)
{
    return dialect == DBK_DIALECT_SQLITE ? DBK_DIALECT_POSTGRES : DBK_DIALECT_SQLITE;
}

static int found(struct scan *scan, struct dbk_slice token, bool warning, const char *fix)
{
    const struct dbk_portable_text *text = scan->text;
    struct dbk_fault fault = {.file = text->file, .warning = warning, .fix = fix};
    dbk_fault_place(&fault, text->text, (size_t)(token.data - text->text.data));
    fault.line += text->line - 1;
    return dbk_fault_add(scan->faults, &fault,
                         warning ? "`%.*s` means something else in %s" : "`%.*s` is not in %s",
                         DBK_SLICE_ARGS(token), name_of(other(text->dialect)));
}

/* From a call's parenthesis on. */
static bool has_comma(struct dbk_slice text, size_t at)
{
    size_t depth = 0;
    while (at < text.size) {
        struct dbk_sql_token token = dbk_sql_next(text, at);
        if (token.kind == DBK_SQL_END || token.kind == DBK_SQL_BROKEN)
            break;
        at += token.text.size;
        if (is_sign(token.text, '('))
            depth++;
        else if (is_sign(token.text, ')') && --depth == 0)
            break;
        else if (is_sign(token.text, ',') && depth == 1)
            return true;
    }
    return false;
}

static bool fits(const struct scan *scan, const struct word *word, struct dbk_slice token,
                 struct dbk_slice next)
{
    if (!is(token, word->word) || is_sign(scan->before[0], '.'))
        return false;
    const struct dbk_slice text = scan->text->text;
    switch (word->where) {
    case CALL_TWO:
        return is_sign(next, '(') && has_comma(text, (size_t)(next.data - text.data));
    case CALL:
        return is_sign(next, '(') && !is(scan->before[0], "into") && !is(scan->before[0], "table");
    case TYPE:
        /* A column's type stands behind its name. */
        return scan->text->schema && scan->before[0].size > 0 && !is_sign(scan->before[0], '(') &&
               !is_sign(scan->before[0], ',');
    case PAIR:
        return is(next, word->next) && !is(scan->before[0], "or");
    case ANYWHERE:
        return !is_sign(next, '.') && !is_sign(next, '(');
    }
    return false;
}

/* From the beginning of one to the end of the other. */
static struct dbk_slice span(struct dbk_slice first, struct dbk_slice last)
{
    return dbk_slice(first.data, (size_t)(last.data - first.data) + last.size);
}

static int look_up(struct scan *scan, struct dbk_slice token, struct dbk_slice next)
{
    bool sqlite = scan->text->dialect == DBK_DIALECT_SQLITE;
    const struct word *words = sqlite ? of_sqlite : of_postgres;
    size_t count = sqlite ? sizeof(of_sqlite) / sizeof(of_sqlite[0])
                          : sizeof(of_postgres) / sizeof(of_postgres[0]);
    for (size_t i = 0; i < count; i++) {
        if (fits(scan, &words[i], token, next))
            return found(scan, words[i].where == PAIR ? span(token, next) : token, words[i].warning,
                         words[i].instead);
    }
    return DBK_OK;
}

/* In DO UPDATE a column's name alone is that of two rows to PostgreSQL, and of one to SQLite. */
static int look_at_column(struct scan *scan, struct dbk_slice token, struct dbk_slice next)
{
    bool target =
        is_sign(next, '=') && (is(scan->before[0], "set") || is_sign(scan->before[0], ','));
    if (!scan->setting || target || scan->text->dialect != DBK_DIALECT_SQLITE ||
        is_sign(scan->before[0], '.') || is_sign(next, '.') || is_sign(next, '('))
        return DBK_OK;
    for (size_t i = 0; i < scan->column_count; i++) {
        struct dbk_slice column = scan->columns[i];
        if (column.size != token.size || strncasecmp(column.data, token.data, token.size) != 0)
            continue;
        struct dbk_fault fault = {
            .file = scan->text->file,
            .why = "the row that is there and the one that would be inserted both have it",
            .fix = "name the row: `INSERT INTO t AS old …`, and `old.column` here"};
        dbk_fault_place(&fault, scan->text->text, (size_t)(token.data - scan->text->text.data));
        fault.line += scan->text->line - 1;
        return dbk_fault_add(scan->faults, &fault, "`%.*s` is ambiguous to PostgreSQL",
                             DBK_SLICE_ARGS(token));
    }
    return DBK_OK;
}

/* What is inserted, and where it is set. */
static void follow(struct scan *scan, struct dbk_sql_token token)
{
    if (token.kind == DBK_SQL_SEMICOLON) {
        scan->column_count = 0;
        scan->depth = 0;
        scan->inserts = scan->listing = scan->listed = scan->setting = false;
    } else if (is_sign(token.text, '(')) {
        scan->listing = scan->inserts && !scan->listed && scan->depth == 0;
        scan->listed = scan->listed || scan->listing;
        scan->depth++;
    } else if (is_sign(token.text, ')')) {
        scan->listing = false;
        scan->depth -= scan->depth > 0;
    } else if (token.kind == DBK_SQL_NAME) {
        if (scan->listing && scan->column_count < COLUMNS_MAX)
            scan->columns[scan->column_count++] = token.text;
        scan->inserts = scan->inserts || is(token.text, "insert");
        if (is(token.text, "set") && is(scan->before[0], "update") && is(scan->before[1], "do"))
            scan->setting = true;
        if (is(token.text, "returning"))
            scan->setting = false;
    }
}

static int look_at_sign(struct scan *scan, struct dbk_slice text, struct dbk_slice token)
{
    size_t left = text.size - (size_t)(token.data - text.data);
    struct dbk_slice two = dbk_slice(token.data, left < 2 ? left : 2);
    if (scan->text->dialect == DBK_DIALECT_SQLITE && dbk_slice_equal_text(two, "==") &&
        !is_sign(scan->before[0], '='))
        return found(scan, two, false, "write =");
    if (scan->text->dialect == DBK_DIALECT_POSTGRES && dbk_slice_equal_text(two, "::") &&
        !is_sign(scan->before[0], ':'))
        return found(scan, two, false, "write CAST(x AS type)");
    return DBK_OK;
}

static struct dbk_slice behind(struct dbk_slice text, size_t offset)
{
    for (;;) {
        struct dbk_sql_token token = dbk_sql_next(text, offset);
        if (token.kind != DBK_SQL_SPACE)
            return token.text;
        offset += token.text.size;
    }
}

int dbk_portable_words(const struct dbk_portable_text *portable, struct dbk_diagnostics *faults,
                       struct dbk_error *err)
{
    struct scan scan = {.text = portable, .faults = faults};
    struct dbk_slice text = portable->text;
    int rc = DBK_OK;
    for (size_t at = 0; rc == DBK_OK && at < text.size;) {
        struct dbk_sql_token token = dbk_sql_next(text, at);
        if (token.kind == DBK_SQL_END || token.kind == DBK_SQL_BROKEN)
            break;
        at += token.text.size;
        if (token.kind == DBK_SQL_SPACE)
            continue;
        struct dbk_slice next = behind(text, at);
        if (token.kind == DBK_SQL_NAME) {
            rc = look_up(&scan, token.text, next);
            if (rc == DBK_OK)
                rc = look_at_column(&scan, token.text, next);
            if (rc == DBK_OK && portable->query && portable->dialect == DBK_DIALECT_SQLITE &&
                is(token.text, "events") &&
                (is(scan.before[0], "from") || is(scan.before[0], "join")))
                rc = found(&scan, token.text, false,
                           "the log is a table in SQLite alone: read a model's tables");
        } else if (token.kind == DBK_SQL_OTHER) {
            rc = look_at_sign(&scan, text, token.text);
        }
        follow(&scan, token);
        scan.before[1] = scan.before[0];
        scan.before[0] = token.text;
    }
    return rc < 0 ? dbk_error_set(err, DBK_ENOMEM, "out of memory checking %s", portable->file)
                  : DBK_OK;
}

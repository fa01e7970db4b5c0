/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a statement may do, as its tokens tell.
 *
 * A colon is followed by labels or types, but in a map, where it follows a key. So each open
 * bracket is known by what it is: of braces, `{` behind CALL, EXISTS, COUNT, COLLECT or a `)` of
 * CALL's begins a subquery, and any other one a map (or how often a path repeats).
 */
#include <strings.h>

#include "target/neo4j/cypher.h"

enum bracket { ROUND, SQUARE, MAP, SUBQUERY };

/* What stands before a subquery's brace: EXISTS, COUNT and COLLECT, or CALL with its variables. */
enum leads { NOTHING, WORD, CALL, VARIABLES, VARIABLES_END };

struct walk {
    struct dbk_slice text;
    enum dbk_guard guard;
    struct dbk_cypher_token token;    /* the current one */
    struct dbk_cypher_token previous; /* before it, without spaces */
    struct dbk_cypher_token next;     /* behind it, without spaces */
    size_t next_at;
    enum bracket brackets[DBK_CYPHER_DEPTH_MAX];
    bool keys[DBK_CYPHER_DEPTH_MAX]; /* a map's next colon follows a key */
    size_t depth;
    size_t count;      /* of tokens seen */
    size_t names;      /* of the generation */
    enum leads leads;  /* to a subquery */
    bool labels;       /* a label or type is expected */
    bool index_name;   /* behind CONSTRAINT or INDEX */
    bool if_not_exist; /* IF NOT EXISTS was seen */
};

static struct dbk_cypher_token skip_space(struct dbk_slice text, size_t *at)
{
    struct dbk_cypher_token token;
    do {
        token = dbk_cypher_next(text, *at);
        *at += token.text.size;
    } while (token.kind == DBK_CYPHER_SPACE);
    return token;
}

static bool is_word(struct dbk_cypher_token token, const char *word)
{
    return token.kind == DBK_CYPHER_NAME && token.text.size == strlen(word) &&
           strncasecmp(token.text.data, word, token.text.size) == 0;
}

static bool is_one_of(struct dbk_cypher_token token, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (is_word(token, *words))
            return true;
    }
    return false;
}

static bool is_sign(struct dbk_cypher_token token, char sign)
{
    return token.kind == DBK_CYPHER_OTHER && token.text.data[0] == sign;
}

static bool begins(struct dbk_cypher_token token)
{
    static const char *const clauses[] = {"MATCH", "OPTIONAL", "MERGE", "CREATE", "UNWIND",
                                          "WITH",  "FOREACH",  "CALL",  NULL};
    return is_one_of(token, clauses);
}

static int denied(struct dbk_error *err, struct walk *walk, const char *why)
{
    return dbk_error_set(err, DBK_EDENIED, "%.*s: %s", DBK_SLICE_ARGS(walk->token.text), why);
}

/* ---- Names ---- */

/* A handler's names are its own model's; a query says whose. */
static int check_whose(struct walk *walk, struct dbk_error *err)
{
    bool own = dbk_slice_starts_with(walk->token.text, DBK_SLICE_LITERAL("{gen}"));
    if (own == (walk->guard != DBK_GUARD_QUERY))
        return DBK_OK;
    return denied(err, walk,
                  own ? "a query names the model in front of a label: {model}Name"
                      : "a model's own names are written {gen}Name");
}

static int take_label(struct walk *walk, struct dbk_error *err)
{
    enum dbk_cypher_kind kind = walk->token.kind;
    if (kind == DBK_CYPHER_GENERATION) {
        walk->labels = false;
        return check_whose(walk, err);
    }
    if (is_sign(walk->token, '!') || is_sign(walk->token, '('))
        return DBK_OK;
    if (kind == DBK_CYPHER_NAME || kind == DBK_CYPHER_QUOTED)
        return denied(err, walk,
                      "labels and relationship types are written with {gen} before their name, as "
                      "in (o:{gen}Order)");
    return denied(err, walk, "a label or relationship type is expected, written as {gen}Name");
}

/* `x IS :: INTEGER` asks for a type of value. */
static bool is_label_colon(const struct walk *walk)
{
    bool behind_key = walk->depth > 0 && walk->keys[walk->depth - 1];
    return is_sign(walk->token, ':') && !behind_key && !is_sign(walk->next, ':') &&
           !is_sign(walk->previous, ':');
}

static void take_key(struct walk *walk)
{
    if (walk->depth == 0 || walk->brackets[walk->depth - 1] != MAP)
        return;
    if (is_sign(walk->token, ':'))
        walk->keys[walk->depth - 1] = false;
    if (is_sign(walk->token, ','))
        walk->keys[walk->depth - 1] = true;
}

/* `|` and `&` go on with a label only in round and square brackets: [x IN xs | x.y] is none. */
static bool goes_on(const struct walk *walk)
{
    return (is_sign(walk->token, '|') || is_sign(walk->token, '&')) &&
           walk->previous.kind == DBK_CYPHER_GENERATION;
}

/* ---- Functions ---- */

static int check_time(struct walk *walk, struct dbk_cypher_token inside, struct dbk_error *err)
{
    static const char *const times[] = {"date",          "datetime",  "time",
                                        "localdatetime", "localtime", NULL};
    if (!is_one_of(walk->token, times))
        return DBK_OK;
    if (is_sign(inside, ')') || is_sign(inside, '{'))
        return denied(err, walk,
                      "what reads the clock gives other rows each time; use $_time or $_occurred, "
                      "as in datetime($_time)");
    return DBK_OK;
}

static int check_function(struct walk *walk, struct dbk_error *err)
{
    static const char *const chance[] = {"rand", "randomUUID", "timestamp", NULL};
    static const char *const inner[] = {"id", "elementId", NULL};
    size_t at = walk->next_at;
    if (is_one_of(walk->token, chance))
        return denied(err, walk,
                      "chance and the clock give other rows each time; use what the event has "
                      "($_id, $_time)");
    if (is_one_of(walk->token, inner))
        return denied(err, walk, "the server's own ids are others in each rebuild");
    return check_time(walk, skip_space(walk->text, &at), err);
}

/* a.b( is a function of somebody's: procedures and functions of plug-ins, and clocks. */
static int check_dotted(struct walk *walk, struct dbk_error *err)
{
    static const char *const clocks[] = {"transaction", "statement", "realtime", NULL};
    if (is_one_of(walk->token, clocks))
        return denied(err, walk, "what reads the clock gives other rows each time; use $_time");
    static const char *const own[] = {"truncate",   "fromEpoch", "fromEpochMillis", "between",
                                      "inMonths",   "inDays",    "inSeconds",       "distance",
                                      "withinBBox", NULL};
    if (is_one_of(walk->token, own))
        return DBK_OK;
    return denied(err, walk, "only Neo4j's own functions may be called");
}

static int check_call(struct walk *walk, struct dbk_error *err)
{
    if (is_word(walk->token, "CALL") && !is_sign(walk->next, '(') && !is_sign(walk->next, '{'))
        return denied(err, walk, "procedures may not be called");
    if (walk->depth > 0 && is_sign(walk->next, '.') && is_sign(walk->previous, ':'))
        return DBK_OK;
    if (!is_sign(walk->next, '('))
        return DBK_OK;
    return is_sign(walk->previous, '.') ? check_dotted(walk, err) : check_function(walk, err);
}

/* ---- Words ---- */

static int check_create(struct walk *walk, struct dbk_error *err)
{
    size_t at = walk->next_at;
    if (!is_word(walk->token, "CREATE") || walk->next.kind != DBK_CYPHER_NAME ||
        is_word(walk->previous, "ON")) /* MERGE … ON CREATE SET */
        return DBK_OK;
    if (is_sign(skip_space(walk->text, &at), '='))
        return DBK_OK; /* CREATE path = … */
    return denied(err, walk, "constraints and indexes belong into schema.cypher");
}

/* (n IS Order) is (n:Order). */
static int check_is(struct walk *walk, struct dbk_error *err)
{
    static const char *const others[] = {"NOT", "NULL",         "TYPED", "NORMALIZED", "NFC",
                                         "NFD", "NFKC",         "NFKD",  "UNIQUE",     "NODE",
                                         "KEY", "RELATIONSHIP", NULL};
    if (!is_word(walk->previous, "IS") || is_one_of(walk->token, others))
        return DBK_OK;
    return denied(err, walk, "a label is written with {gen} before its name");
}

static int check_handler_word(struct walk *walk, struct dbk_error *err)
{
    static const char *const bounds[] = {"LIMIT", "SKIP", "OFFSET", NULL};
    static const char *const others[] = {"DROP", "SHOW",    "ALTER",   "GRANT",     "REVOKE", "USE",
                                         "LOAD", "EXPLAIN", "PROFILE", "TERMINATE", NULL};
    bool key = is_sign(walk->next, ':') || is_sign(walk->previous, '.') ||
               is_sign(walk->next, '.') || is_sign(walk->next, ',');
    if (!key && is_word(walk->token, "TRANSACTIONS"))
        return denied(err, walk,
                      "a handler's changes and the model's position are one transaction");
    if (!key && walk->depth == 0 &&
        (is_word(walk->token, "RETURN") || is_word(walk->token, "FINISH")))
        return denied(err, walk, "a handler returns nothing: leave it out");
    if (!key && is_one_of(walk->token, others) && walk->next.kind == DBK_CYPHER_NAME)
        return denied(err, walk, "handlers match and change nodes and relationships only");
    if (is_one_of(walk->token, bounds) && walk->next.kind == DBK_CYPHER_PARAMETER)
        return denied(err, walk, "a parameter cannot stand here: write a number");
    int rc = check_create(walk, err);
    return rc < 0 ? rc : check_call(walk, err);
}

static int check_schema_word(struct walk *walk, struct dbk_error *err)
{
    if (walk->count == 0 && !is_word(walk->token, "CREATE"))
        return denied(err, walk,
                      "schema.cypher holds CREATE CONSTRAINT and CREATE INDEX statements only");
    if (walk->index_name)
        return denied(err, walk, "the name of a constraint or index is written {gen}name");
    if (is_word(walk->token, "CONSTRAINT") || is_word(walk->token, "INDEX"))
        walk->index_name = walk->names == 0;
    if (is_word(walk->token, "EXISTS"))
        walk->if_not_exist = true;
    return DBK_OK;
}

static int check_word(struct walk *walk, struct dbk_error *err)
{
    bool own = walk->token.text.size >= 8 && strncasecmp(walk->token.text.data, "_daybook", 8) == 0;
    if (own)
        return denied(err, walk, "names that begin with _daybook are Daybook's own");
    for (size_t i = 0; i < walk->token.text.size; i++) {
        if ((uint8_t)walk->token.text.data[i] >= 0x80)
            return denied(err, walk, "a name with letters past ASCII is written in backticks");
    }
    if (walk->guard == DBK_GUARD_SCHEMA)
        return check_schema_word(walk, err);
    int rc = check_is(walk, err);
    if (rc < 0)
        return rc;
    if (walk->guard != DBK_GUARD_HANDLER)
        return DBK_OK;
    if (walk->count == 0 && !begins(walk->token))
        return denied(err, walk,
                      "a handler begins with MATCH, MERGE, CREATE, UNWIND, WITH, FOREACH or CALL");
    return check_handler_word(walk, err);
}

/* ---- Brackets ---- */

static enum leads lead(enum leads before, struct dbk_cypher_token token)
{
    static const char *const words[] = {"EXISTS", "COUNT", "COLLECT", NULL};
    if (is_word(token, "CALL"))
        return CALL;
    if (before == CALL && is_sign(token, '('))
        return VARIABLES;
    if (before == VARIABLES)
        return is_sign(token, ')') ? VARIABLES_END : VARIABLES;
    if (is_one_of(token, words))
        return WORD;
    bool brace = is_sign(token, '{') && before != NOTHING;
    return brace ? before : NOTHING;
}

static int open_bracket(struct walk *walk, struct dbk_error *err)
{
    char sign = walk->token.text.data[0];
    if (walk->depth == DBK_CYPHER_DEPTH_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "more than %d brackets stand in one another",
                             DBK_CYPHER_DEPTH_MAX);
    walk->brackets[walk->depth++] = sign == '('              ? ROUND
                                    : sign == '['            ? SQUARE
                                    : walk->leads != NOTHING ? SUBQUERY
                                                             : MAP;
    walk->keys[walk->depth - 1] = walk->brackets[walk->depth - 1] == MAP;
    return DBK_OK;
}

static int close_bracket(struct walk *walk, struct dbk_error *err)
{
    char sign = walk->token.text.data[0];
    walk->leads = walk->leads == VARIABLES_END ? VARIABLES_END : NOTHING;
    enum bracket open = walk->depth == 0 ? MAP : walk->brackets[walk->depth - 1];
    bool fits = walk->depth > 0 && (sign == ')'   ? open == ROUND
                                    : sign == ']' ? open == SQUARE
                                                  : open == MAP || open == SUBQUERY);
    if (!fits)
        return dbk_error_set(err, DBK_EINVAL, "%c closes nothing that is open", sign);
    walk->depth--;
    return DBK_OK;
}

static int take_sign(struct walk *walk, struct dbk_error *err)
{
    if (is_label_colon(walk) || goes_on(walk)) {
        walk->labels = true;
        return DBK_OK;
    }
    take_key(walk);
    if (strchr("([{", walk->token.text.data[0]) != NULL)
        return open_bracket(walk, err);
    if (strchr(")]}", walk->token.text.data[0]) != NULL)
        return close_bracket(walk, err);
    return DBK_OK;
}

/* ---- A statement ---- */

/* MATCH (n) alone is every node there is, also of other models and generations. */
static int check_lonely(struct walk *walk, struct dbk_error *err)
{
    static const char *const words[] = {"MATCH", "MERGE", "CREATE", NULL};
    size_t at = walk->next_at;
    if (!is_one_of(walk->token, words) || !is_sign(walk->next, '('))
        return DBK_OK;
    struct dbk_cypher_token inside = skip_space(walk->text, &at);
    if (inside.kind == DBK_CYPHER_NAME)
        inside = skip_space(walk->text, &at);
    if (!is_sign(inside, ')'))
        return DBK_OK;
    struct dbk_cypher_token behind = skip_space(walk->text, &at);
    if (is_sign(behind, '-') || is_sign(behind, '<'))
        return DBK_OK;
    return denied(err, walk, "a node without a label is every node: write (n:{gen}Name)");
}

static int check_token(struct walk *walk, struct dbk_error *err)
{
    if (walk->token.kind == DBK_CYPHER_BROKEN)
        return dbk_error_set(err, DBK_EINVAL,
                             "a string, comment or quoted name does not end here, or there is a "
                             "\\u escape: write the character itself");
    if (walk->labels)
        return take_label(walk, err);
    walk->leads = lead(walk->leads, walk->token);
    if (walk->token.kind == DBK_CYPHER_GENERATION) {
        walk->names++;
        bool named = walk->index_name;
        walk->index_name = false;
        return named || is_word(walk->previous, "IS")
                   ? DBK_OK
                   : denied(err, walk, "a label or relationship type stands behind a colon");
    }
    if (walk->token.kind == DBK_CYPHER_OTHER)
        return take_sign(walk, err);
    if (walk->token.kind != DBK_CYPHER_NAME)
        return DBK_OK;
    int rc = walk->guard == DBK_GUARD_SCHEMA ? DBK_OK : check_lonely(walk, err);
    return rc < 0 ? rc : check_word(walk, err);
}

static int check_whole(const struct walk *walk, struct dbk_error *err)
{
    if (walk->depth > 0 || walk->labels)
        return dbk_error_set(err, DBK_EINVAL, "the statement ends in the midst of it");
    if (walk->count == 0)
        return dbk_error_set(err, DBK_EINVAL, "there is no statement");
    if (walk->guard == DBK_GUARD_SCHEMA && !walk->if_not_exist)
        return dbk_error_set(err, DBK_EDENIED,
                             "a constraint or index is made IF NOT EXISTS: what was cut short is "
                             "done again");
    if (walk->guard == DBK_GUARD_HANDLER && walk->names == 0)
        return dbk_error_set(err, DBK_EDENIED,
                             "the statement names no label of the model ({gen}Name)");
    return DBK_OK;
}

int dbk_cypher_check(struct dbk_slice text, enum dbk_guard guard, int *offset_out,
                     struct dbk_error *err)
{
    struct walk walk = {.text = text, .guard = guard};
    size_t at = 0;
    *offset_out = -1;
    if (text.size > DBK_CYPHER_SIZE_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "a statement is longer than %zu KiB",
                             DBK_CYPHER_SIZE_MAX >> 10);
    walk.token = skip_space(text, &at);
    while (walk.token.kind != DBK_CYPHER_END) {
        walk.next_at = at;
        walk.next = skip_space(text, &walk.next_at);
        size_t behind = walk.next_at;
        *offset_out = (int)(walk.token.text.data - text.data);
        bool label = walk.labels && walk.token.kind == DBK_CYPHER_GENERATION;
        int rc = check_token(&walk, err);
        if (rc < 0)
            return rc;
        walk.names += label;
        walk.count++;
        walk.previous = walk.token;
        walk.token = walk.next;
        at = behind;
    }
    return check_whole(&walk, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poll -- labels of Neo4j asked for changed nodes, by a key that is theirs alone.
 *
 *     WHOLE   no cursor: all nodes, by their key
 *     STAMP   a property that grows: nodes from a bound on, by (cursor, key)
 *
 * Transactions stamp nodes before they commit, and commit in any order. What is stamped from now on
 * is not less than the greatest stamp that is committed now. So a round remembers the server's
 * time and the greatest stamp (a reading). Once every transaction that is open began later than
 * that, by the overlap, nothing can come before that stamp any more: it becomes the bound. The
 * round that finds so still reads from the one before, and with that all that came until then.
 *
 * Cypher compares values of one kind only, and to others it says nothing: so a label's keys must be
 * of one kind, and its cursors. Now and then all of its nodes are looked through for others.
 *
 * Threads: its source's.
 * Source:  Neo4j's Cypher manual 5, "SHOW TRANSACTIONS", "Equality and comparison", "valueType()".
 */
#ifndef DBK_CAPTURE_NEO4J_POLL_H
#define DBK_CAPTURE_NEO4J_POLL_H

#include "capture/neo4j/node.h"
#include "capture/poll.h"
#include "target/neo4j/session.h"

#define DBK_NEO4J_READINGS_MAX 64

/* What a cursor's values are; a key's are NUMBER or TEXT. */
enum dbk_neo4j_kind {
    DBK_NEO4J_NONE, /* there is no value */
    DBK_NEO4J_NUMBER,
    DBK_NEO4J_TEXT,
    DBK_NEO4J_TIME,
    DBK_NEO4J_LOCAL_TIME,
    DBK_NEO4J_OTHER, /* none that is taken */
};

/* A value as JSON; NULL: none. */
struct dbk_neo4j_value {
    enum dbk_neo4j_kind kind;
    char *json;
};
struct dbk_neo4j_reading {
    int64_t at_ms; /* the server's time */
    struct dbk_neo4j_value newest;
};

struct dbk_neo4j_poll {
    struct dbk_connection *connection;
    struct dbk_json *page; /* the rows of the page that is open */
    char *database;
    const struct dbk_json_node *next; /* the page's next row */
    uint32_t left;
    const struct dbk_json_node *row; /* at hand */
    size_t page_limit;               /* less than asked for, where an answer was too long */
    unsigned pages;                  /* in a row that were not, since it was changed */
};

struct dbk_neo4j_table {
    struct dbk_nodes nodes;
    bool stamped;
    int64_t look_us; /* when its nodes are looked through again */
    enum dbk_neo4j_kind key_kind;
    enum dbk_neo4j_kind stamp_kind;
    struct dbk_neo4j_value cursor; /* of the last node that was told, if it has one */
    struct dbk_neo4j_value key;
    struct dbk_neo4j_value from;  /* nodes from here on are read in this round */
    struct dbk_neo4j_value bound; /* and in the next */
    struct dbk_neo4j_reading readings[DBK_NEO4J_READINGS_MAX]; /* oldest first */
    size_t reading_count;
};

static inline struct dbk_neo4j_poll *dbk_neo4j_poll_of(const struct dbk_poll *poll)
{
    return poll->own;
}
static inline struct dbk_neo4j_table *dbk_neo4j_table_of(const struct dbk_poll_table *table)
{
    return table->own;
}

/* ---- value.c ---- */

/* What the server calls it: "ZONED DATETIME NOT NULL". */
enum dbk_neo4j_kind dbk_neo4j_kind_of(struct dbk_slice type);
void dbk_neo4j_value_release(struct dbk_neo4j_value *value);
/* DBK_ENOMEM; then it is none. */
int dbk_neo4j_value_set(struct dbk_neo4j_value *value, enum dbk_neo4j_kind kind,
                        struct dbk_slice json) DBK_MUST_CHECK;
int dbk_neo4j_value_copy(struct dbk_neo4j_value *value,
                         const struct dbk_neo4j_value *from) DBK_MUST_CHECK;
/* In Cypher, where the value is the parameter `$_[index]`: that, or `datetime($_[index])`. */
void dbk_neo4j_value_put(const struct dbk_neo4j_value *value, int index, struct dbk_buf *out);
/* In a state: {"kind":…,"value":…} or null. */
void dbk_neo4j_value_write(const struct dbk_neo4j_value *value, struct dbk_buf *out);
/* DBK_ECORRUPT: it is none that was written; DBK_ENOMEM */
int dbk_neo4j_value_read(struct dbk_neo4j_value *value,
                         const struct dbk_json_node *node) DBK_MUST_CHECK;
/* A name in backticks, whatever it holds. */
void dbk_neo4j_put_name(struct dbk_buf *out, const char *name);
/* `n.<name>` */
void dbk_neo4j_put_property(struct dbk_buf *out, const char *name);

/* ---- look.c ---- */

/*
 * Looks through a label's nodes where that is due.
 *
 * DBK_EINVAL  some would be missed; the message says which, and what to do
 */
int dbk_neo4j_look(struct dbk_poll *poll, struct dbk_poll_table *base,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* DBK_EINVAL: a node's cursor is missing, or of a kind that is none. */
int dbk_neo4j_refuse_cursor(const struct dbk_neo4j_table *table, const struct dbk_json_node *key,
                            enum dbk_neo4j_kind kind, struct dbk_error *err);
/* Takes a reading, and of those before it the bound. */
int dbk_neo4j_take_bound(struct dbk_poll *poll, struct dbk_neo4j_table *table,
                         struct dbk_error *err) DBK_MUST_CHECK;
/* Asks one statement, whose parameters are `$_`: a list's JSON. */
int dbk_neo4j_ask(struct dbk_poll *poll, const struct dbk_buf *text, struct dbk_slice parameters,
                  struct dbk_json *json, struct dbk_neo4j_reply *reply_out,
                  struct dbk_error *err) DBK_MUST_CHECK;

extern const struct dbk_poll_kind dbk_poll_kind;

#endif

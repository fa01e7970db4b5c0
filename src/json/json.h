/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json -- reading JSON (RFC 8259) whole and exactly, and writing it.
 *
 * A parsed text is a flat array of nodes in document order: a container's node is followed by its
 * children, and `next` jumps over a whole subtree. An object's members carry their key. Everything
 * is validated: UTF-8, numbers, escapes, nothing behind the value, no key twice in one object.
 *
 * Numbers are exact or refused: an integer that fits 64 bits signed is DBK_JSON_INTEGER; any other
 * number whose digits fit a struct dbk_decimal is DBK_JSON_DECIMAL; the rest ("1e999", 20 digits)
 * is a named error, because nobody could read it back as it was written.
 *
 * Threads: a parser belongs to one thread at a time.
 * Source:  RFC 8259; simdjson's on-demand documentation.
 */
#ifndef DBK_JSON_JSON_H
#define DBK_JSON_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/memory.h"
#include "json/decimal.h"

#define DBK_JSON_DEPTH_MAX 128

enum dbk_json_kind {
    DBK_JSON_NULL,
    DBK_JSON_FALSE,
    DBK_JSON_TRUE,
    DBK_JSON_INTEGER,
    DBK_JSON_DECIMAL,
    DBK_JSON_STRING,
    DBK_JSON_ARRAY,
    DBK_JSON_OBJECT,
};

struct dbk_json_node {
    enum dbk_json_kind kind;
    uint32_t count;       /* children of an array or object */
    uint32_t next;        /* nodes of this subtree: the sibling behind it is node + next */
    struct dbk_slice key; /* unescaped; of an object's member, else empty */
    struct dbk_slice raw; /* the value as it stands in the text (containers: brackets included) */
    union {
        int64_t integer;
        struct dbk_decimal decimal;
        struct dbk_slice text; /* unescaped */
    };
};

struct dbk_json; /* a parser and the memory of its last result */

/* NULL when out of memory. size_max: bytes of text it will take. */
struct dbk_json *dbk_json_create(size_t size_max) DBK_MUST_CHECK;
void dbk_json_free(struct dbk_json *json);

/*
 * Parses one value. The text is copied where it needs padding, so it is only borrowed for the
 * call; nodes and their slices are valid until the next parse or free. nodes_out[0] is the value.
 *
 * DBK_EINVAL  not JSON: the message names line, column and what was expected
 * DBK_ELIMIT  larger than size_max or deeper than DBK_JSON_DEPTH_MAX
 * DBK_ENOMEM
 */
int dbk_json_parse(struct dbk_json *json, struct dbk_slice text,
                   const struct dbk_json_node **nodes_out, struct dbk_error *err) DBK_MUST_CHECK;

/*
 * The same for a text that was accepted before: of an object only the members with these keys, all
 * else is left out and need not be well-formed. Of another value all of it.
 */
int dbk_json_parse_members(struct dbk_json *json, struct dbk_slice text,
                           const struct dbk_slice *keys, size_t key_count,
                           const struct dbk_json_node **nodes_out,
                           struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Where the last parse failed, as a byte offset into its text, and why; the reason is valid until
 * the next parse. Only after DBK_EINVAL.
 */
size_t dbk_json_fault(const struct dbk_json *json, const char **reason_out);

/*
 * A copy of a parsed value that stays valid with the arena and the text: raw slices, and keys and
 * texts without escapes, lie in the text, which is the one that was parsed. DBK_ENOMEM
 */
int dbk_json_keep(const struct dbk_json_node *root, struct dbk_slice text, struct dbk_arena *arena,
                  const struct dbk_json_node **root_out) DBK_MUST_CHECK;
/* Where a kept node, or its key, begins in its text, in bytes. */
size_t dbk_json_offset(const struct dbk_json_node *node, struct dbk_slice text);
size_t dbk_json_key_offset(const struct dbk_json_node *member, struct dbk_slice text);

/* The member of an object, NULL when it has none or is no object. Valid as long as the nodes. */
const struct dbk_json_node *dbk_json_member(const struct dbk_json_node *object, const char *key);
const struct dbk_json_node *dbk_json_member_slice(const struct dbk_json_node *object,
                                                  struct dbk_slice key);
/* The first child of a container, NULL when it has none; and the sibling behind one. */
const struct dbk_json_node *dbk_json_first(const struct dbk_json_node *container);
static inline const struct dbk_json_node *dbk_json_sibling(const struct dbk_json_node *node)
{
    return node + node->next;
}

/*
 * A member at an object's top level, found without a parser: for look-ups on paths that cannot have
 * one. False: there is none. Of what is no JSON object the answer may be any, within it.
 *
 * key      at most DBK_JSON_FIND_KEY_MAX bytes
 * raw_out  the value as it stands in the object
 */
#define DBK_JSON_FIND_KEY_MAX 256
bool dbk_json_find(struct dbk_slice object, struct dbk_slice key, struct dbk_slice *raw_out);
/*
 * The same for a text: false also when it is none, or has escapes and does not fit into the room.
 *
 * text_out  in the object, or in the room where it has escapes
 */
bool dbk_json_find_text(struct dbk_slice object, const char *key, char *room, size_t room_size,
                        struct dbk_slice *text_out);
/* Undoes the escapes of what stands between a string's quotes; false: it does not fit into the
   room, or is no JSON. What comes out is never longer. */
bool dbk_json_unescape(struct dbk_slice raw, char *room, size_t room_size,
                       struct dbk_slice *text_out);

/*
 * Writing: each appends to a buffer (see dbk_buf's sticky rc). Commas and colons are the caller's.
 */
void dbk_json_write_string(struct dbk_buf *out, struct dbk_slice text);
void dbk_json_write_integer(struct dbk_buf *out, int64_t value);
void dbk_json_write_u64(struct dbk_buf *out, uint64_t value);
void dbk_json_write_decimal(struct dbk_buf *out, struct dbk_decimal value);
/* Shortest text that reads back as the same double; null for infinities and NaN. */
void dbk_json_write_double(struct dbk_buf *out, double value);
/* "key": with the comma before it when `first` is false; sets it to false. */
void dbk_json_write_key(struct dbk_buf *out, bool *first, const char *key);
/* A whole value again, without white space; containers keep their order. */
void dbk_json_write_node(struct dbk_buf *out, const struct dbk_json_node *node);

#endif

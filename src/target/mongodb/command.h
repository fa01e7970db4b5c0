/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command -- what is known of MongoDB's commands, as files hold them, without a server.
 *
 * A file holds commands in MongoDB's extended JSON, one behind the other, and comment lines that
 * begin with two slashes between them:
 *
 *     // one more order
 *     {"update": "{gen}Customer", "updates": [
 *       {"q": {"_id": ":customer"}, "u": {"$inc": {"orders": 1}}, "upsert": true}]}
 *
 * A text that is ":name" is a parameter (":a.b" a nested one), one that is "{gen}Name" a
 * collection of the model's; a query names the model instead, "{shop}Name". A plain text that
 * begins with a colon and is none is written with two. For the driver a parameter is written as
 * {"$_": 0}, its number, and behind all of a command that changes something "$position", the
 * event's, which its documents' guard is made of.
 *
 * Threads: pure functions.
 * Source:  MongoDB's manual 7.0, "Database Commands"; the extended JSON specification, version 2.
 */
#ifndef DBK_TARGET_MONGODB_COMMAND_H
#define DBK_TARGET_MONGODB_COMMAND_H

#include <stdbool.h>

#include "base/memory.h"
#include "json/json.h"
#include "target/target.h"

#define DBK_MONGODB_SIZE_MAX ((size_t)256 << 10) /* of one command, bytes */
#define DBK_MONGODB_PARAMETERS_MAX 256           /* of one command */
/* Updates, inserts and deletes that an event's handler may make: their number, from 1, is the
   lower part of a document's guard. */
#define DBK_MONGODB_CHANGES_MAX 1023

enum dbk_mongodb_kind {
    DBK_MONGODB_END,
    DBK_MONGODB_SPACE, /* white space and comments */
    DBK_MONGODB_STRING,
    DBK_MONGODB_SIGN,   /* one of { } [ ] : , */
    DBK_MONGODB_WORD,   /* numbers, true, and what is no JSON */
    DBK_MONGODB_BROKEN, /* an unterminated string */
};
struct dbk_mongodb_token {
    enum dbk_mongodb_kind kind;
    struct dbk_slice text;
};
/* The token at an offset; the next one begins behind it. */
struct dbk_mongodb_token dbk_mongodb_next(struct dbk_slice text, size_t offset);

/* The next whole command from an offset; empty at the end. offset_out: behind it. What stands
   there instead of one is given, too, token by token, and is none to dbk_mongodb_check. */
struct dbk_slice dbk_mongodb_statement(struct dbk_slice text, size_t offset, size_t *offset_out);

/* Whether a token (a whole string, with its quotes) is a parameter; name_out: without the colon. */
bool dbk_mongodb_parameter(struct dbk_mongodb_token token, struct dbk_slice *name_out);
/* Whether a text is {gen}Name or {model}Name, and what its two parts are. */
bool dbk_mongodb_collection(struct dbk_slice text, struct dbk_slice *model_out,
                            struct dbk_slice *name_out);

/*
 * Whether one command is what the guard allows, as far as its text tells.
 *
 * handlers  insert, update and delete of {gen}Name; each names its document by its _id, so that
 *           what was done already can be told by the document's guard; no clock and no chance
 * schema    create and createIndexes of {gen}Name
 * purge     update and delete, of many, too, whose second run changes nothing more
 * queries   find and aggregate of {model}Name, which only read
 * command   one update of one document that its _id names, in a collection of the service's own
 *
 * offset_out  the byte where it is wrong
 *
 * DBK_EINVAL  no such command; DBK_EDENIED: the guard; DBK_ELIMIT: the bounds
 */
int dbk_mongodb_check(struct dbk_slice text, enum dbk_guard guard, int *offset_out,
                      struct dbk_error *err) DBK_MUST_CHECK;
/* The collections that a schema creates. */
int dbk_mongodb_objects(struct dbk_slice schema, dbk_object_fn each, void *context,
                        struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Appends a (checked) command for the server.
 *
 * prefix     of a generation's collections; empty: names stay as they are
 * names_out  in the arena: the parameters without the colon, in order of their numbers from 0;
 *            `_position` is one of a command that changes something
 */
struct dbk_mongodb_names {
    struct dbk_slice *items;
    size_t count;
};
int dbk_mongodb_write(struct dbk_slice text, struct dbk_slice prefix, struct dbk_buf *out,
                      struct dbk_arena *arena, struct dbk_mongodb_names *names_out,
                      struct dbk_error *err) DBK_MUST_CHECK;

#endif

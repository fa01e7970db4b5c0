/* SPDX-License-Identifier: Apache-2.0 */
/*
 * head -- what stands in comments of a command's file in a service's database: whose it is, its
 * parameters, and what is expected of the statement that follows.
 *
 *     -- service: posts                              // service: products
 *     -- parameters: author integer, body text       // parameters: sku text, count integer
 *     -- expect: 1 row, else no-such-user: …         // expect: 1 document, else sold-out: …
 *
 * Faults go to the list and leave DBK_OK; what fails is memory.
 *
 * Threads: one at a time.
 */
#ifndef DBK_COMMAND_HEAD_H
#define DBK_COMMAND_HEAD_H

#include "command/naming.h"

#define DBK_COMMAND_STATEMENTS_MAX 200
#define DBK_COMMAND_PARAMETERS_MAX 200

struct dbk_connection;

/* What stands before a statement and speaks of it. */
struct dbk_command_expectation {
    enum dbk_command_expect kind;
    uint64_t rows;
    const char *refusal;
    const char *text;
    size_t offset;
};

struct dbk_command_reading {
    const char *file;
    struct dbk_slice text;
    const char *mark; /* of a comment: "--" or two slashes */
    const char *unit; /* what is expected: "row" or "document" */
    struct dbk_arena *arena;
    struct dbk_diagnostics *faults;
    struct dbk_command_naming named;
    struct dbk_connection *memory; /* SQLite's, that knows no table */
    struct dbk_service_command *command;
    struct dbk_command_parameter *parameters;
    struct dbk_command_statement *statements;
    bool declared; /* there is a `-- parameters:` */
    struct dbk_command_expectation expected;
};

enum dbk_command_place { DBK_COMMAND_HEAD, DBK_COMMAND_BETWEEN, DBK_COMMAND_INSIDE };

/* fix: comments in it are written as SQL's, and shown as the file's */
int dbk_command_fault_at(struct dbk_command_reading *reading, size_t offset, const char *fix,
                         const char *what) DBK_MUST_CHECK;
/* Of a part of the file. */
size_t dbk_command_offset_of(const struct dbk_command_reading *reading, struct dbk_slice part);
/* A comment of a line, from its mark on; place: where it stands in the file. */
int dbk_command_take_comment(struct dbk_command_reading *reading, size_t offset,
                             struct dbk_slice token, enum dbk_command_place place) DBK_MUST_CHECK;
/* The parameter's index; parameter_count where there is none. */
size_t dbk_command_find_parameter(const struct dbk_command_reading *reading, struct dbk_slice name);
/* The parameter a name of a statement means, added where it is new. */
int dbk_command_use_parameter(struct dbk_command_reading *reading, struct dbk_slice name,
                              size_t offset, size_t *index_out) DBK_MUST_CHECK;
/* A statement of a part of the file, with what is expected of it. */
struct dbk_command_statement dbk_command_begin_statement(struct dbk_command_reading *reading,
                                                         struct dbk_slice part);
/* Once all is read: whether each expectation has a statement, and each parameter a use. */
int dbk_command_check_whole(struct dbk_command_reading *reading) DBK_MUST_CHECK;

/* commands/<Name>.json: one update of one document. */
int dbk_command_parse_documents(struct dbk_command_reading *reading,
                                struct dbk_error *err) DBK_MUST_CHECK;

#endif

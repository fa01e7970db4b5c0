/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pgoutput -- PostgreSQL's logical replication messages, decoded.
 *
 * A walsender sends copies of data: XLogData with one message of the output plugin each, and
 * keepalives. All integers are big-endian; texts end with NUL. What is decoded are slices of the
 * bytes that were given; tuples and lists are checked whole, and then walked item by item.
 *
 * Between Stream Start and Stream Stop (protocol version 2) row messages carry the transaction's
 * id behind their kind, which the caller must say.
 *
 * Threads: pure functions.
 * Source:  PostgreSQL's manual, "Logical Replication Message Formats" and "Streaming Replication
 *          Protocol".
 */
#ifndef DBK_CAPTURE_PGOUTPUT_H
#define DBK_CAPTURE_PGOUTPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

/* The message's first byte. */
enum dbk_pgoutput_kind {
    DBK_PGOUTPUT_BEGIN = 'B',
    DBK_PGOUTPUT_COMMIT = 'C',
    DBK_PGOUTPUT_ORIGIN = 'O',
    DBK_PGOUTPUT_TYPE = 'Y',
    DBK_PGOUTPUT_RELATION = 'R',
    DBK_PGOUTPUT_INSERT = 'I',
    DBK_PGOUTPUT_UPDATE = 'U',
    DBK_PGOUTPUT_DELETE = 'D',
    DBK_PGOUTPUT_TRUNCATE = 'T',
    DBK_PGOUTPUT_MESSAGE = 'M',
    DBK_PGOUTPUT_STREAM_START = 'S',
    DBK_PGOUTPUT_STREAM_STOP = 'E',
    DBK_PGOUTPUT_STREAM_COMMIT = 'c',
    DBK_PGOUTPUT_STREAM_ABORT = 'A',
};

/* A row's values, encoded. */
struct dbk_pgoutput_tuple {
    uint16_t count;
    struct dbk_slice bytes;
};

struct dbk_pgoutput_value {
    char kind; /* 'n': null; 'u': unchanged and not sent; 't': text; 'b': binary */
    struct dbk_slice text;
};

struct dbk_pgoutput_column {
    bool key; /* of the replica identity */
    struct dbk_slice name;
    uint32_t type;
    int32_t modifier;
};

struct dbk_pgoutput {
    enum dbk_pgoutput_kind kind;
    uint32_t transaction;    /* BEGIN, STREAM_…; of a streamed row message: the subtransaction */
    uint32_t subtransaction; /* STREAM_ABORT; the same as `transaction`: all of it */
    uint32_t relation;       /* RELATION, INSERT, UPDATE, DELETE; TYPE: its id */
    uint64_t lsn;            /* BEGIN, COMMIT, STREAM_COMMIT: the commit record's; ORIGIN */
    uint64_t end_lsn;        /* COMMIT, STREAM_COMMIT: behind it */
    int64_t time_us;         /* BEGIN, COMMIT, STREAM_COMMIT: since 1970 */
    struct dbk_slice space;  /* RELATION, TYPE: the schema; "" is pg_catalog */
    struct dbk_slice name;   /* RELATION, TYPE, ORIGIN; MESSAGE: its prefix */
    struct dbk_pgoutput_tuple columns; /* RELATION: see dbk_pgoutput_next_column */
    struct dbk_pgoutput_tuple old;     /* UPDATE, DELETE; see old_kind */
    struct dbk_pgoutput_tuple row;     /* INSERT, UPDATE */
    struct dbk_slice relations;        /* TRUNCATE: see dbk_pgoutput_next_relation */
    struct dbk_slice content;          /* MESSAGE */
    char identity;                     /* RELATION: 'd', 'n', 'f' or 'i' */
    char old_kind;                     /* UPDATE, DELETE: 'K', 'O'; 0: there is no old row */
    uint8_t options;                   /* TRUNCATE: 1 CASCADE, 2 RESTART IDENTITY */
    bool transactional;                /* MESSAGE */
    bool first;                        /* STREAM_START: the transaction's first block */
};

/*
 * Decodes a message, which must be all of the bytes.
 *
 * streamed  it stands between Stream Start and Stream Stop
 *
 * DBK_ECORRUPT  it is none, or its sizes do not fit; the message names its kind
 */
int dbk_pgoutput_decode(struct dbk_slice bytes, bool streamed, struct dbk_pgoutput *message_out,
                        struct dbk_error *err) DBK_MUST_CHECK;

/* Each takes the first item off; false: there is none left. Of what was decoded, none fails. */
bool dbk_pgoutput_next_value(struct dbk_pgoutput_tuple *tuple,
                             struct dbk_pgoutput_value *value_out);
bool dbk_pgoutput_next_column(struct dbk_pgoutput_tuple *columns,
                              struct dbk_pgoutput_column *column_out);
bool dbk_pgoutput_next_relation(struct dbk_slice *relations, uint32_t *relation_out);

/* What a walsender sends around them. */
struct dbk_walsender {
    char kind;          /* 'w': XLogData; 'k': keepalive */
    uint64_t start_lsn; /* 'w'; 0 for some messages */
    uint64_t end_lsn;   /* the server's position */
    int64_t time_us;
    bool reply;               /* 'k': it wants an answer */
    struct dbk_slice content; /* 'w': the message */
};
int dbk_walsender_decode(struct dbk_slice bytes, struct dbk_walsender *data_out,
                         struct dbk_error *err) DBK_MUST_CHECK;

/* The answer: everything up to an LSN is stored. */
#define DBK_WALSENDER_STATUS_SIZE 34
void dbk_walsender_status(uint64_t lsn, int64_t time_us, bool reply,
                          char bytes_out[DBK_WALSENDER_STATUS_SIZE]);

/* An LSN as PostgreSQL writes it: "16/B374D848". */
#define DBK_LSN_TEXT_SIZE 18
void dbk_lsn_format(uint64_t lsn, char text_out[DBK_LSN_TEXT_SIZE]);
/*
 * Where what was written before an insert position ends. At a page's end the position stands behind
 * the next page's header, where no record ends yet: the server itself is never known to be there
 * before somebody writes on. (Pages have 8 KiB, and a header of 24 bytes; segments 16 MiB, and one
 * of 40.)
 */
uint64_t dbk_lsn_written(uint64_t lsn);
/* False when it is none. */
bool dbk_lsn_parse(struct dbk_slice text, uint64_t *lsn_out);

#endif

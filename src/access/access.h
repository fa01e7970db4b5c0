/* SPDX-License-Identifier: Apache-2.0 */
/*
 * access -- who may ask the daemon for what: API keys and their scopes.
 *
 * A book that declares services, or ever got an API key, is asked with one:
 *
 *     dbk_<id>_<secret>        id 12 letters and digits, secret 43 characters of base64url: 32
 *                              random bytes
 *
 * A key is a service's or an operator's. A service's has the scopes that services/<name>.yaml gives
 * it, and those it was given itself. What is kept of a key is the BLAKE2b-256 of its secret, in the
 * hidden stream `$access-keys` (docs/format/access.md); its text is shown once. A key that was
 * rotated has two secrets until the old one is revoked or its time is over.
 *
 * The operator of this machine has a key that is made anew with each start and lies in the data
 * directory, readable for the owner alone; the CLI finds it there.
 *
 * Threads: dbk_access_open and _free from one; all else from any.
 * Source:  docs/access.md; RFC 6750 for how a key is shown.
 */
#ifndef DBK_ACCESS_ACCESS_H
#define DBK_ACCESS_ACCESS_H

#include "engine/engine.h"
#include "service/scope.h"

#define DBK_ACCESS_FILE "access.key"
#define DBK_ACCESS_KEYS_STREAM "$access-keys"
#define DBK_ACCESS_STREAM "$access" /* who was refused what */

#define DBK_KEY_ID_SIZE 12
#define DBK_KEY_SECRET_SIZE 43
#define DBK_KEY_TEXT_SIZE (4 + DBK_KEY_ID_SIZE + 1 + DBK_KEY_SECRET_SIZE + 1)
#define DBK_KEY_NAME_MAX 64
#define DBK_KEY_SCOPES_MAX 64
#define DBK_ACCESS_KEYS_MAX 10000

struct dbk_access;
struct dbk_access_key;

struct dbk_access_options {
    bool local; /* of a server: make this machine's operator's key, and its file, and write down who
                   was refused what */
};

/* engine is kept until free. DBK_ECORRUPT: `$access-keys` holds what none of us wrote. */
int dbk_access_open(struct dbk_engine *engine, const struct dbk_access_options *options,
                    struct dbk_access **access_out, struct dbk_error *err) DBK_MUST_CHECK;
/* Removes the operator's file. NULL is fine. */
void dbk_access_free(struct dbk_access *access);

/* True when requests need a key. */
bool dbk_access_asks(const struct dbk_access *access);

/* ---- Who asks ---- */

/* Takes a key apart: dbk_, id, _, secret. False when it is none. */
bool dbk_key_text_parse(struct dbk_slice text, struct dbk_slice *id_out,
                        struct dbk_slice *secret_out);

#define DBK_KEY_HASH_SIZE 32

struct dbk_caller {
    struct dbk_access *access;
    struct dbk_access_key *key;
    const void *scopes;              /* that the key had then */
    uint8_t hash[DBK_KEY_HASH_SIZE]; /* of the secret that it showed */
};

/*
 * Finds out who asks, from the header Authorization.
 *
 * DBK_EKEY   no key, or none that is good: the message does not say which part was wrong
 */
int dbk_access_identify(struct dbk_access *access, struct dbk_slice authorization,
                        struct dbk_caller *caller_out, struct dbk_error *err) DBK_MUST_CHECK;
/* False when the key, or the secret of it that was shown, was revoked or its time is over since, or
   it has got other scopes. */
bool dbk_caller_is_live(const struct dbk_caller *caller);
/* Takes a token of the key's bucket. 0: there was one; else how many microseconds until there is
   one. */
int64_t dbk_caller_take(const struct dbk_caller *caller);

enum dbk_refusal_reason {
    DBK_REFUSAL_UNAUTHORIZED,
    DBK_REFUSAL_DENIED,
    DBK_REFUSAL_THROTTLED,
    DBK_REFUSAL_REASON_COUNT,
};
/* "unauthorized", … */
const char *dbk_refusal_reason_name(enum dbk_refusal_reason reason);
/*
 * Notes that a caller was denied an operation (static texts, as "POST" and "/streams/{stream}") for
 * want of a scope. What identify and take refuse is noted by them.
 */
void dbk_caller_denied(const struct dbk_caller *caller, const char *method, const char *path,
                       enum dbk_scope_kind kind, struct dbk_slice name);
/* How often since it was opened. */
uint64_t dbk_access_refused(const struct dbk_access *access, enum dbk_refusal_reason reason);
/* The key's id; valid as long as the access. */
const char *dbk_caller_id(const struct dbk_caller *caller);

/* True when a key's scopes are enough for this with that; see service/scope.h. */
bool dbk_caller_may(const struct dbk_caller *caller, enum dbk_scope_kind kind,
                    struct dbk_slice name);
bool dbk_caller_covers_category(const struct dbk_caller *caller, enum dbk_scope_kind kind,
                                struct dbk_slice category);
bool dbk_caller_covers_prefix(const struct dbk_caller *caller, enum dbk_scope_kind kind,
                              struct dbk_slice prefix);
/* The same for some of them: false when none there could be is allowed. */
bool dbk_caller_meets_category(const struct dbk_caller *caller, enum dbk_scope_kind kind,
                               struct dbk_slice category);
bool dbk_caller_meets_prefix(const struct dbk_caller *caller, enum dbk_scope_kind kind,
                             struct dbk_slice prefix);
/* True when it may do a command about a stream, or with an event in it; empty: it is not known yet
   about which. */
bool dbk_caller_may_command(const struct dbk_caller *caller, struct dbk_slice name,
                            struct dbk_slice stream);
/* True when there are streams that it may read. */
bool dbk_caller_reads_some(const struct dbk_caller *caller);
#define DBK_CALLER_NAMES_MAX 64
/* True when what it may read are whole categories, and these are all; borrowed from the access. */
bool dbk_caller_read_categories(const struct dbk_caller *caller,
                                struct dbk_slice names[DBK_CALLER_NAMES_MAX], size_t *count_out);
/* True when it may read every stream but the book's own; those, too. */
bool dbk_caller_reads_all(const struct dbk_caller *caller);
bool dbk_caller_reads_own(const struct dbk_caller *caller);

/* ---- Keys ---- */

#define DBK_KEY_RATE_MAX 1000000

/* Of a key's requests; a tail is one. */
struct dbk_key_limit {
    uint32_t rate;  /* a second; 0: no limit */
    uint32_t burst; /* at once, after a pause */
};

struct dbk_key_request {
    struct dbk_slice name;    /* the operator's or program's; of a service it may be empty */
    struct dbk_slice service; /* empty: an operator's */
    const struct dbk_slice *scopes;
    size_t scope_count;
    int64_t expires_us; /* 0: never */
    struct dbk_key_limit limit;
};

/*
 * Makes a key. text_out: shown once, and not kept.
 *
 * DBK_EINVAL     a scope is none; an operator's key has no name or no scope; a limit is none
 * DBK_ENOTFOUND  no such service
 * DBK_ELIMIT     more than DBK_ACCESS_KEYS_MAX keys
 * and all that an append answers
 */
int dbk_access_add(struct dbk_access *access, const struct dbk_key_request *request,
                   char text_out[DBK_KEY_TEXT_SIZE], struct dbk_error *err) DBK_MUST_CHECK;
/* Gives a key a second secret. old_until_us: until when the first one is good; 0: until it is
   revoked. DBK_ECONFLICT: it has two already; DBK_ENOTFOUND. */
int dbk_access_rotate(struct dbk_access *access, struct dbk_slice id, int64_t old_until_us,
                      char text_out[DBK_KEY_TEXT_SIZE], struct dbk_error *err) DBK_MUST_CHECK;
/* What a key may from now on: these scopes, beside what a service's file gives. DBK_EINVAL: a scope
   is none, or an operator's key would have none; DBK_ELIMIT, DBK_ENOTFOUND. */
int dbk_access_scope(struct dbk_access *access, struct dbk_slice id, const struct dbk_slice *scopes,
                     size_t count, struct dbk_error *err) DBK_MUST_CHECK;
/* Limits a key's requests from now on. DBK_EINVAL, DBK_ENOTFOUND. */
int dbk_access_limit(struct dbk_access *access, struct dbk_slice id, struct dbk_key_limit limit,
                     struct dbk_error *err) DBK_MUST_CHECK;
/* Ends a key, or only its old secret, at once. DBK_ENOTFOUND: no such key, or nothing old. */
int dbk_access_revoke(struct dbk_access *access, struct dbk_slice id, bool old,
                      struct dbk_error *err) DBK_MUST_CHECK;

/* Appends a JSON object of a key, or of each of them with a comma between. Never a hash. */
int dbk_access_put(struct dbk_access *access, struct dbk_slice id, struct dbk_buf *out,
                   struct dbk_error *err) DBK_MUST_CHECK;
void dbk_access_list(struct dbk_access *access, struct dbk_buf *out);
/* Calls each for every key that was used since start, with how often it asked and how often it was
   over its limit. */
void dbk_access_each_used(struct dbk_access *access,
                          void (*each)(void *context, const char *id, uint64_t requests,
                                       uint64_t throttled),
                          void *context);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guard -- which scope each operation asks of an API key.
 *
 * One table has a rule for every operation of dbk_routes; one without a rule is refused.
 *
 * Threads: any.
 * Source:  docs/access.md.
 */
#ifndef DBK_SERVER_GUARD_H
#define DBK_SERVER_GUARD_H

#include "server/handlers.h"

/* True when an operation has a rule. */
bool dbk_guard_has_rule(const char *method, const char *path);

/* True when an operation is answered without a key, too: of a request; of a route. */
bool dbk_guard_is_open(struct dbk_slice method, struct dbk_slice path);
bool dbk_guard_is_nobodys(const char *method, const char *path);
/* True when requests need a key here. */
bool dbk_guard_asks(const struct dbk_api_call *call);
/* True when whoever asks has a scope without a name, as `metrics`. */
bool dbk_guard_has(const struct dbk_api_call *call, enum dbk_scope_kind kind);

/*
 * Judges a request before its handler runs; one that needs no key here always passes.
 *
 * DBK_EKEY     a key is needed, and none was shown
 * DBK_EDENIED  the key is not enough; the message names the scope that is missing
 */
int dbk_guard_judge(const struct dbk_route *route, struct dbk_api_call *call,
                    struct dbk_error *err) DBK_MUST_CHECK;

/* For lists: whether a model, a view … is shown. */
bool dbk_guard_sees(const struct dbk_api_call *call, enum dbk_scope_kind kind,
                    struct dbk_slice name);
/* True when a read of the book leaves out what dbk_guard_may_read does not allow. */
bool dbk_guard_filters(const struct dbk_api_call *call);
/* For dbk_command.allow; context: the call. DBK_EKEY, DBK_EDENIED, as above. */
int dbk_guard_command(void *context, struct dbk_slice stream, struct dbk_error *err);
/* For handlers: what the body names. DBK_EKEY: the book's first key was made meanwhile;
   DBK_EDENIED. */
int dbk_guard_append(const struct dbk_api_call *call, struct dbk_slice stream,
                     struct dbk_error *err) DBK_MUST_CHECK;
/* False: an event of this stream is not for whoever asks. */
bool dbk_guard_may_read(const struct dbk_api_call *call, struct dbk_slice stream);
/* For one event, of a stream that the message does not tell. DBK_EKEY, DBK_EDENIED. */
int dbk_guard_event(const struct dbk_api_call *call, struct dbk_slice stream,
                    struct dbk_error *err) DBK_MUST_CHECK;
int dbk_guard_read_all(const struct dbk_api_call *call, const char *what,
                       struct dbk_error *err) DBK_MUST_CHECK;
int dbk_guard_group(const struct dbk_api_call *call, const struct dbk_json_node *settings,
                    struct dbk_error *err) DBK_MUST_CHECK;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * event -- what a script sees of an event.
 *
 * A function gets the event's data as a value of its own, and `event` for the rest: stream, type,
 * version, position, time, occurred, id and meta, each made when it is asked for, because most
 * scripts ask for little. `event` is valid only while the function runs.
 *
 * Threads: as the script.
 */
#ifndef DBK_SCHEMA_EVENT_H
#define DBK_SCHEMA_EVENT_H

#include "log/record.h"
#include "script/script.h"

struct dbk_script_event {
    struct dbk_script *script;
    struct dbk_json *json;         /* reads data; the owner's */
    const struct dbk_event *event; /* what it shows now; NULL: nothing */
    int proxy;                     /* a registry reference */
};

/* Makes `event` for a script, which must be freed before *view ends; it may not move. DBK_ESCRIPT,
   DBK_ENOMEM */
int dbk_script_event_open(struct dbk_script_event *view, struct dbk_script *script,
                          struct dbk_json *json, struct dbk_error *err) DBK_MUST_CHECK;

/* Within a call (dbk_script_call): pushes the data, or `event`. They raise what goes wrong. */
void dbk_script_event_push_data(const struct dbk_script_event *view);
void dbk_script_event_push(const struct dbk_script_event *view);

#endif

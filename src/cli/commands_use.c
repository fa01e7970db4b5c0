/* SPDX-License-Identifier: Apache-2.0 */
/* What a book is for: making one, commands, queries, reading and writing events. */
#include "cli/family.h"

static const struct dbk_cli_command commands[] = {
    {.name = "new",
     .positional = "DIR",
     .summary = "make a small book that runs",
     .details = "Writes a book of accounts into a folder that is empty or not there yet: a fold,\n"
                "commands, a read model, a view and a query, each a file of a few lines.",
     .examples = EXAMPLES("daybook new ledger"),
     .positional_min = 1,
     .positional_max = 1,
     .run = dbk_run_new},
    {.name = "check",
     .positional = "",
     .summary = "read all files of a book and report every fault",
     .details =
         "Needs no data and no server. Each fault is one line:\n"
         "file:line:column: what, why it matters, what to do. --portable also tries models,\n"
         "queries and views in SQLite as PostgreSQL would take them, and the other way round.",
     .examples = EXAMPLES("daybook check", "daybook check --book examples/shop -o json",
                          "daybook check --portable"),
     .options = OPTIONS(FLAG("portable", "also what would not run unchanged on the other of "
                                         "SQLite and PostgreSQL")),
     .book = true,
     .run = dbk_run_check},
    {.name = "serve",
     .positional = "",
     .summary = "hold a book open and answer HTTP",
     .details =
         "Read models follow, views are refreshed by their schedules, and the other commands\n"
         "talk to it over the socket in the data directory. Ctrl-C or SIGTERM ends it. Other\n"
         "machines are listened to only with TLS and API keys; SIGHUP then reads the\n"
         "certificate again, and no connection ends.",
     .examples = EXAMPLES("daybook serve", "daybook serve --listen 127.0.0.1:8080",
                          "daybook serve --listen 0.0.0.0:4150 --tls-certificate server.pem "
                          "--tls-key server.key"),
     .options = OPTIONS(
         OPTION("listen", TEXT, "ADDRESS", "an address and port (127.0.0.1:4150; port 0: any)"),
         OPTION("tls-certificate", TEXT, "FILE", "speak TLS with this one, in PEM"),
         OPTION("tls-key", TEXT, "FILE", "the certificate's key, in PEM")),
     .book = true,
     .run = dbk_run_serve},
    {.name = "demo",
     .positional = "",
     .summary = "serve a shop in which orders keep coming in",
     .details =
         "Places and cancels orders through the book's commands PlaceOrder and CancelOrder,\n"
         "the same ones for the same seed. Without --book it looks for examples/shop.",
     .examples = EXAMPLES("daybook demo", "daybook demo --rate 50 --seed 7 --data /tmp/demo"),
     .options =
         OPTIONS(OPTION("listen", TEXT, "ADDRESS", "a loopback address and port (127.0.0.1:4150)"),
                 OPTION("seed", NUMBER, "N", "what the orders are made from (1)"),
                 OPTION("rate", NUMBER, "N", "orders a second (2)"),
                 OPTION("orders", NUMBER, "N", "end after so many orders (never)")),
     .book = true,
     .run = dbk_run_demo},
    {.name = "do",
     .positional = "COMMAND JSON | COMMAND NAME=VALUE…",
     .summary = "send a command: it is decided into events, or refused",
     .details =
         "Numbers, true, false and null are taken as such, all else as text; NAME='\"5\"' is\n"
         "the text 5. With --key a repeated command answers as the first time. A command\n"
         "commands/<Name>.sql is done in a service's own database, and answers with rows.",
     .examples = EXAMPLES("daybook do Deposit account=anna amount=50",
                          "daybook do CancelOrder '{\"order_id\":\"536365\"}' --key web-17",
                          "daybook do Withdraw account=anna amount=1000 --dry-run"),
     .options = OPTIONS(OPTION("key", TEXT, "KEY", "idempotency key"),
                        FLAG("dry-run", "decide and show the events, append nothing"),
                        OPTION("correlation", TEXT, "ID", "correlationid of the events' meta"),
                        OPTION("causation", TEXT, "ID", "causationid of the events' meta"),
                        OPTION("actor", TEXT, "ID", "actor of the events' meta: who it is for")),
     .positional_min = 1,
     .positional_max = DBK_ARGUMENTS_MAX,
     .book = true,
     .run = dbk_run_do},
    {.name = "get",
     .positional = "[QUERY [NAME=VALUE…]]",
     .summary = "ask a named query; without a name, list them",
     .details = "Values as for `do`.",
     .examples = EXAMPLES("daybook get GetMyOrders user_id=17850",
                          "daybook get GetMyOrders user_id=17850 --after 4711 -o json",
                          "daybook get GetMyOrders user_id=17850 --position -o json"),
     .options = OPTIONS(AFTER, POSITION),
     .positional_max = DBK_ARGUMENTS_MAX,
     .book = true,
     .run = dbk_run_get},
    {.name = "report",
     .positional = "QUERY [NAME=VALUE…]",
     .summary = "ask a named query on one cut of the book, and say which",
     .details = "All that it reads is as of one position, and the answer says of each source how "
                "far it is in\n"
                "there: behind the rows on standard error, with them in -o json.",
     .examples = EXAMPLES("daybook report SalesByCustomer", "daybook report SalesByCustomer -o csv",
                          "daybook report SalesByCustomer year=2011 --after users:0/16B3748 -o "
                          "json"),
     .options = OPTIONS(AFTER),
     .positional_min = 1,
     .positional_max = DBK_ARGUMENTS_MAX,
     .book = true,
     .run = dbk_run_report},
    {.name = "append",
     .positional = "STREAM TYPE JSON | --file FILE",
     .summary = "append an event, or a file of them as one batch",
     .details =
         "A file holds an event a line: {\"stream\":…,\"type\":…,\"data\":…}, with id, occurred, "
         "meta,\n"
         "tags and schema_version where wanted; `-` is standard input. All of its events are "
         "stored, or none.",
     .examples = EXAMPLES("daybook append account-123 Deposited '{\"amount\":50}'",
                          "daybook append account-123 Deposited '{\"amount\":50}' --expect 3",
                          ("daybook append seat-12A SeatTaken '{}' --tags seat:12A --fail-if "
                           "'[{\"tags\":[\"seat:12A\"]}]'"),
                          "daybook append --file events.jsonl"),
     .options =
         OPTIONS(OPTION("expect", TEXT, "N|none|exists|any", "the stream's version before (any)"),
                 OPTION("fail-if", TEXT, "JSON",
                        "a query by types and tags that must match nothing behind --after"),
                 OPTION("after", NUMBER, "POSITION", "with --fail-if: what you have seen (0)"),
                 OPTION("id", TEXT, "UUID", "the event's id; the same again is stored once"),
                 OPTION("occurred", TIME, "TIME", "when it happened"),
                 OPTION("meta", TEXT, "JSON", "its meta, an object"),
                 OPTION("tags", TEXT, "A,B", "its tags"),
                 OPTION("schema-version", NUMBER, "N", "which version of its type it is (newest)"),
                 OPTION("file", TEXT, "FILE", "events as JSON lines; - is standard input"),
                 FLAG("skip-known", "leave out events that are stored already"),
                 OPTION("durability", CHOICE, "synced|none",
                        "answer after the sync, or before it (synced)")),
     .positional_max = 3,
     .book = true,
     .run = dbk_run_append},
    {.name = "read",
     .positional = "[STREAM]",
     .summary = "read events of a stream, or of the book",
     .details = "All conditions given must hold.",
     .examples = EXAMPLES("daybook read account-123", "daybook read --category order --limit 20",
                          "daybook read --type OrderPlaced --from-time 2011-03-01 -o jsonl"),
     .options = OPTIONS(
         FILTERS, CORRELATION,
         OPTION("after", NUMBER, "POSITION", "only events behind this position"),
         OPTION("before", NUMBER, "POSITION", "only events before this position"),
         OPTION("from-version", NUMBER, "N", "with STREAM: from this version"),
         OPTION("to-version", NUMBER, "N", "with STREAM: up to this version"),
         OPTION("from-time", TIME, "TIME", "recorded then or later"),
         OPTION("to-time", TIME, "TIME", "recorded then or earlier"),
         OPTION("from-occurred", TIME, "TIME", "occurred then or later"),
         OPTION("to-occurred", TIME, "TIME", "occurred then or earlier"),
         OPTION("limit", NUMBER, "N", "at most so many"), FLAG("backwards", "newest first"),
         FLAG("hidden", "also the book's own, whose category begins with $"),
         FLAG("removed", "also what streams do not keep; what compaction removed has a leaf"),
         FLAG("raw", "as stored: in the schema version it was written in")),
     .positional_max = 1,
     .book = true,
     .run = dbk_run_read},
    {.name = "tail",
     .positional = "",
     .summary = "follow the book, or a view: what is stored, then what comes",
     .details =
         "Without --after and --from-time it begins with what comes next. With --view it begins "
         "with the\nview's rows (=), and goes on with the rows that come (+), go (-) and change "
         "(~); "
         "--after goes on\nbehind the `id` of a change, as -o json shows it. Ctrl-C ends it.",
     .examples = EXAMPLES("daybook tail", "daybook tail --category order --after 0 -o jsonl",
                          "daybook tail --from-time \"2011-03-01 08:26\"",
                          "daybook tail --view sales -o jsonl"),
     .options =
         OPTIONS(FILTERS, CORRELATION, OPTION("view", TEXT, "VIEW", "the changes of this view"),
                 OPTION("after", TEXT, "POSITION|now", "begin behind this position (now), or id"),
                 OPTION("from-time", TIME, "TIME", "begin with what was recorded then or later"),
                 OPTION("limit", NUMBER, "N", "end after so many events or changes"),
                 FLAG("no-follow", "end where the book ends"),
                 FLAG("raw", "as stored: in the schema version it was written in")),
     .book = true,
     .run = dbk_run_tail},
};

const struct dbk_cli_family dbk_cli_commands_use = DBK_CLI_FAMILY(commands);

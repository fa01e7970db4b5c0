/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"

#include <string.h>

#include "base/diagnostics.h"

#define EXAMPLES(...)                                                                              \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }
#define OPTIONS(...)                                                                               \
    (const struct dbk_option[])                                                                    \
    {                                                                                              \
        __VA_ARGS__,                                                                               \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

/* Options that several commands share. */
#define FLAG(name, help)                                                                           \
    {                                                                                              \
        name, 0, DBK_OPTION_FLAG, NULL, help                                                       \
    }
#define OPTION(name, kind, value, help)                                                            \
    {                                                                                              \
        name, 0, DBK_OPTION_##kind, value, help                                                    \
    }
#define AFTER                                                                                      \
    OPTION("after", TEXT, "POSITION",                                                              \
           "wait until it holds the events up to this position, or what a service's database had " \
           "committed: users:0/16B3748"),                                                          \
        OPTION("timeout", DURATION, "TIME", "how long --after may wait (10 s)")
#define FILTERS                                                                                    \
    OPTION("category", TEXT, "A,B", "only streams of these categories"),                           \
        OPTION("type", TEXT, "A,B", "only events of these types"),                                 \
        OPTION("tag", TEXT, "A,B", "only events with all of these tags"),                          \
        OPTION("query", TEXT, "JSON", "only events that match: [{\"types\":[…],\"tags\":[…]},…]"), \
        OPTION("prefix", TEXT, "TEXT", "only streams whose name begins so")
#define CORRELATION OPTION("correlation", TEXT, "ID", "only events of this correlationid")
#define BENCH                                                                                      \
    OPTION("dir", TEXT, "DIR", "the disk to measure: a folder on it (the current one)"),           \
        OPTION("size", NUMBER, "BYTES", "data of an event (200)"),                                 \
        OPTION("baseline", TEXT, "FILE",                                                           \
               "an earlier run's -o json: fails when this one is worse"),                          \
        OPTION("noise", NUMBER, "PERCENT", "by how much more than this (10)")
#define POSITION                                                                                   \
    FLAG("position", "also how far the rows are: on standard error, or around them in -o json")
#define BENCH_SERVER                                                                               \
    OPTION("postgres", TEXT, "WHERE",                                                              \
           "file:PATH or env:NAME with a connection string whose user may create databases and "   \
           "replicate")
#define MIGRATED                                                                                   \
    OPTION("to", TEXT, "DIR", "the new book: the folder of its definitions"),                      \
        OPTION("to-data", TEXT, "DIR", "its data directory (as its book.yaml says)")
#define BENCH_FILL                                                                                 \
    BENCH, OPTION("events", NUMBER, "N", "events in the store (500000)"),                          \
        OPTION("store", TEXT, "DIR", "keep the store in DIR; one that is there is used")

const struct dbk_cli_command dbk_cli_commands[] = {
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
     .summary = "follow the book: what is stored, then what comes",
     .details = "Without --after and --from-time it begins with what comes next. Ctrl-C ends it.",
     .examples = EXAMPLES("daybook tail", "daybook tail --category order --after 0 -o jsonl",
                          "daybook tail --from-time \"2011-03-01 08:26\""),
     .options =
         OPTIONS(FILTERS, CORRELATION,
                 OPTION("after", TEXT, "POSITION|now", "begin behind this position (now)"),
                 OPTION("from-time", TIME, "TIME", "begin with what was recorded then or later"),
                 OPTION("limit", NUMBER, "N", "end after so many events"),
                 FLAG("no-follow", "end where the book ends"),
                 FLAG("raw", "as stored: in the schema version it was written in")),
     .book = true,
     .run = dbk_run_tail},
    {.name = "access add",
     .positional = "[NAME]",
     .summary = "make an API key, and show it once",
     .details =
         "For a service, as its services/<name>.yaml says, or for an operator or a program. "
         "From\nthe first key on, or where the book declares services, the daemon answers nobody "
         "without one;\ncommands on this machine find theirs in the data directory.",
     .examples =
         EXAMPLES("daybook access add --service orders", "daybook access add anna --scope admin",
                  "daybook access add reports --scope read:order,view:daily --expires 90d"),
     .options = OPTIONS(OPTION("service", TEXT, "SERVICE", "it is this service's"),
                        OPTION("scope", TEXT, "A,B", "what it may (beside what its service may)"),
                        OPTION("expires", DURATION, "TIME", "it is good for so long (for ever)"),
                        OPTION("rate", NUMBER, "N", "requests a second (no limit)"),
                        OPTION("burst", NUMBER, "N", "and at once, after a pause (as --rate)")),
     .positional_max = 1,
     .book = true,
     .run = dbk_run_access_add},
    {.name = "access ls",
     .positional = "",
     .summary = "the API keys, whose they are and what they may",
     .details = "",
     .examples = EXAMPLES("daybook access ls", "daybook access ls -o json"),
     .book = true,
     .run = dbk_run_access_ls},
    {.name = "access rotate",
     .positional = "KEY",
     .summary = "give a key a new secret, beside the old one",
     .details = "Both are good until `access revoke KEY --old`, or for the time given.",
     .examples = EXAMPLES("daybook access rotate k3qv7mzx2abc",
                          "daybook access rotate k3qv7mzx2abc --keep 24h"),
     .options = OPTIONS(OPTION("keep", DURATION, "TIME", "how long the old one is good")),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_access_rotate},
    {.name = "access limit",
     .positional = "KEY",
     .summary = "limit how often a key may ask",
     .details = "From now on. A request over the limit is answered with 429 and when to come back.",
     .examples = EXAMPLES("daybook access limit k3qv7mzx2abc --rate 100 --burst 500",
                          "daybook access limit k3qv7mzx2abc --none"),
     .options = OPTIONS(OPTION("rate", NUMBER, "N", "requests a second"),
                        OPTION("burst", NUMBER, "N", "and at once, after a pause (as --rate)"),
                        FLAG("none", "without a limit")),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_access_limit},
    {.name = "access revoke",
     .positional = "KEY",
     .summary = "end a key at once",
     .details = "",
     .examples =
         EXAMPLES("daybook access revoke k3qv7mzx2abc", "daybook access revoke k3qv7mzx2abc --old"),
     .options = OPTIONS(FLAG("old", "only its secret from before the rotation")),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_access_revoke},
    {.name = "keys ls",
     .positional = "",
     .summary = "show the epoch of the subjects' keys, and how many there are",
     .details = "",
     .examples = EXAMPLES("daybook keys ls", "daybook keys ls -o json"),
     .book = true,
     .run = dbk_run_keys_ls},
    {.name = "keys rotate",
     .positional = "",
     .summary = "begin a new epoch of keys, if some were erased in this one",
     .details =
         "All keys are wrapped anew and the old epoch's key is destroyed: copies of the keys "
         "from\nbefore open nothing any more. `serve` does it by itself, an hour after the "
         "epoch began.",
     .examples = EXAMPLES("daybook keys rotate", "daybook keys rotate --now"),
     .options = OPTIONS(FLAG("now", "also when nothing was erased")),
     .book = true,
     .run = dbk_run_keys_rotate},
    {.name = "keys backup",
     .positional = "FILE",
     .summary = "copy the subjects' keys into one file, sealed",
     .details =
         "Beside a running server, too. The file is under the passphrase given, else under the "
         "one in\nbook.yaml; without either it is refused. Keep it elsewhere than backups of the "
         "log, and destroy\nit when somebody was forgotten: it still holds that key.",
     .examples = EXAMPLES("daybook keys backup /safe/shop.keys",
                          "daybook keys backup /safe/shop.keys --passphrase /secrets/keys-backup"),
     .options =
         OPTIONS(OPTION("passphrase", TEXT, "FILE", "a file with the passphrase (the book's root)"),
                 FLAG("plain", "under no passphrase: whoever has the file has the keys")),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_keys_backup},
    {.name = "keys restore",
     .positional = "FILE",
     .summary = "put a backup of the keys beside a log, without those erased since",
     .details =
         "Nobody may hold the book. Keys that the newest list of erased keys or the log names "
         "stay erased;\nthe others become a new epoch, under the book's root. The list is the "
         "newest of the data\ndirectory's, the backup's and the one given.",
     .examples = EXAMPLES("daybook keys restore /safe/shop.keys",
                          ("daybook keys restore /safe/shop.keys --data data-again --erased-list "
                           "/backups/shop/erased.list")),
     .options = OPTIONS(
         OPTION("passphrase", TEXT, "FILE", "a file with the backup's passphrase (the root)"),
         OPTION("erased-list", TEXT, "FILE", "a newer list of erased keys"),
         FLAG("replace", "also where there are keys already: they are destroyed")),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_keys_restore},
    {.name = "group set",
     .positional = "GROUP",
     .summary = "make a group of competing consumers, or change its settings",
     .details = "Each event that passes the filter goes to one consumer at a time, until one\n"
                "acknowledges it. Settings that are not given get their default.",
     .examples = EXAMPLES("daybook group set mailer --category order --type OrderPlaced",
                          ("daybook group set billing --category order --order stream "
                           "--timeout '10 s' --max-retries 3"),
                          "daybook group set mailer --category order --after now  # goes there"),
     .options =
         OPTIONS(FILTERS,
                 OPTION("after", TEXT, "POSITION|now",
                        "begin behind this position (0); of a group that is there: go there"),
                 OPTION("order", CHOICE, "none|stream",
                        "stream: an event waits for the earlier ones of its stream (none)"),
                 OPTION("timeout", TEXT, "TIME", "how long a consumer has for one (30 s)"),
                 OPTION("max-retries", NUMBER, "N", "tries after the first (10)"),
                 OPTION("retry-delay", TEXT, "TIME", "before each of them (1 s)"),
                 OPTION("window", NUMBER, "N", "events open at a time (1000)")),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_group_set},
    {.name = "group ls",
     .positional = "",
     .summary = "list the groups, and how far each is",
     .details = "",
     .examples = EXAMPLES("daybook group ls"),
     .book = true,
     .run = dbk_run_group_ls},
    {.name = "group show",
     .positional = "GROUP",
     .summary = "show a group's state and settings",
     .details = "",
     .examples = EXAMPLES("daybook group show mailer"),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_group_show},
    {.name = "group read",
     .positional = "GROUP",
     .summary = "lease the next events of a group",
     .details = "They are this consumer's until the group's timeout: answer with `group ack` or\n"
                "`group nack`. Leases live as long as the process that holds the book: `serve`.",
     .examples = EXAMPLES("daybook group read mailer --limit 10 --wait '30 s' -o jsonl"),
     .options =
         OPTIONS(OPTION("limit", NUMBER, "N", "at most so many (1)"),
                 OPTION("wait", DURATION, "TIME", "for the first, when there is none (0 s)")),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_group_read},
    {.name = "group ack",
     .positional = "GROUP POSITION…",
     .summary = "acknowledge events: they are done",
     .details = "",
     .examples = EXAMPLES("daybook group ack mailer 17 18"),
     .positional_min = 2,
     .positional_max = DBK_ARGUMENTS_MAX,
     .book = true,
     .run = dbk_run_group_ack},
    {.name = "group nack",
     .positional = "GROUP POSITION…",
     .summary = "give events back: to try again, to park, to skip",
     .details = "",
     .examples = EXAMPLES("daybook group nack mailer 17",
                          "daybook group nack mailer 17 --action park --reason 'no such address'"),
     .options = OPTIONS(OPTION("action", CHOICE, "retry|park|skip", "what to do with them (retry)"),
                        OPTION("reason", TEXT, "TEXT", "why; kept with what is parked"),
                        OPTION("delay", TEXT, "TIME", "before the next try (the group's)")),
     .positional_min = 2,
     .positional_max = DBK_ARGUMENTS_MAX,
     .book = true,
     .run = dbk_run_group_nack},
    {.name = "group run",
     .positional = "GROUP -- COMMAND…",
     .summary = "be a consumer: run a command for each event",
     .details =
         "The event is a JSON line on its standard input. Exit status 0 acknowledges it, 65\n"
         "parks it, any other gives it back to be tried again. Ctrl-C ends it.",
     .examples = EXAMPLES("daybook group run mailer -- ./send-mail",
                          "daybook group run mailer --until-empty -- jq -c .data"),
     .options = OPTIONS(OPTION("limit", NUMBER, "N", "end after so many events"),
                        FLAG("until-empty", "end when there is nothing to do")),
     .positional_min = 2,
     .positional_max = DBK_ARGUMENTS_MAX,
     .book = true,
     .run = dbk_run_group_run},
    {.name = "group parked",
     .positional = "GROUP",
     .summary = "list what a group has put aside",
     .details = "",
     .examples = EXAMPLES("daybook group parked mailer"),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_group_parked},
    {.name = "group replay",
     .positional = "GROUP POSITION… | GROUP --all",
     .summary = "deliver parked events again",
     .details = "With order by stream, a stream's oldest ones first.",
     .examples = EXAMPLES("daybook group replay mailer 17", "daybook group replay mailer --all"),
     .options = OPTIONS(FLAG("all", "all that are parked")),
     .positional_min = 1,
     .positional_max = DBK_ARGUMENTS_MAX,
     .book = true,
     .run = dbk_run_group_replay},
    {.name = "group drop",
     .positional = "GROUP POSITION… | GROUP --all",
     .summary = "drop parked events for good",
     .details = "Only the group forgets them; the book does not.",
     .examples = EXAMPLES("daybook group drop mailer 17"),
     .options = OPTIONS(FLAG("all", "all that are parked")),
     .positional_min = 1,
     .positional_max = DBK_ARGUMENTS_MAX,
     .book = true,
     .run = dbk_run_group_drop},
    {.name = "group rm",
     .positional = "GROUP",
     .summary = "forget a group, and what it has parked",
     .details = "",
     .examples = EXAMPLES("daybook group rm mailer"),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_group_rm},
    {.name = "stream show",
     .positional = "STREAM",
     .summary = "what a stream keeps, and from which version on",
     .details = "",
     .examples = EXAMPLES("daybook stream show sensor-7"),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_stream_show},
    {.name = "stream keep",
     .positional = "STREAM",
     .summary = "set what a stream keeps: by age, by count, from a version on",
     .details = "Events outside of it are left out of the stream at once; `daybook compact` gives "
                "back their\n"
                "space. What is left out stays so. Rules replace those before.",
     .examples = EXAMPLES("daybook stream keep sensor-7 --max-age '30 d'",
                          "daybook stream keep cart-12 --max-count 100",
                          "daybook stream keep account-1 --truncate-before 2000",
                          "daybook stream keep account-1 --all"),
     .options = OPTIONS(OPTION("max-age", DURATION, "TIME", "events recorded in the last so long"),
                        OPTION("max-count", NUMBER, "N", "the newest so many"),
                        OPTION("truncate-before", NUMBER, "VERSION", "from this version on"),
                        FLAG("all", "everything that is still there")),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_stream_keep},
    {.name = "stream delete",
     .positional = "STREAM",
     .summary = "leave out all events of a stream so far; appending opens it again",
     .details = "",
     .examples =
         EXAMPLES("daybook stream delete cart-12", "daybook stream delete cart-12 --expect 7"),
     .options = OPTIONS(OPTION("expect", NUMBER, "N", "only at this version")),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_stream_delete},
    {.name = "stream close",
     .positional = "STREAM",
     .summary = "delete a stream for good: nothing can be appended to it any more",
     .details = "",
     .examples = EXAMPLES("daybook stream close cart-12"),
     .options = OPTIONS(OPTION("expect", NUMBER, "N", "only at this version")),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_stream_close},
    {.name = "forget",
     .positional = "SUBJECT",
     .summary = "forget a person: what is personal in their events is not read any more",
     .details = "Returns when that is durable. Snapshots, read models, views and parked events are "
                "cleaned behind\n"
                "it, by the server or else by this command; what is left to do is gone on with.",
     .examples = EXAMPLES("daybook forget 17850", "daybook forget 17850 --now",
                          "daybook forget 17850 --tombstone --wait"),
     .options =
         OPTIONS(FLAG("tombstone", "leave out all of their events, and keep the key"),
                 FLAG("wait", "until read models and all else are clean"),
                 FLAG("now", "and begin a new epoch, compact, and make the certificate final")),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_forget},
    {.name = "forgotten ls",
     .positional = "",
     .summary = "list whom was forgotten, by key, and how far that is",
     .details = "",
     .examples = EXAMPLES("daybook forgotten ls", "daybook forgotten ls -o json"),
     .book = true,
     .run = dbk_run_forgotten_ls},
    {.name = "forgotten show",
     .positional = "KEY",
     .summary = "show what was purged of one, and what is left to do",
     .details = "",
     .examples = EXAMPLES("daybook forgotten show 0f1e2d3c4b5a69788796a5b4c3d2e1f0"),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_forgotten_show},
    {.name = "forgotten certificate",
     .positional = "KEY",
     .summary = "print the signed certificate, once it is final",
     .details = "",
     .examples =
         EXAMPLES("daybook forgotten certificate 0f1e2d3c4b5a69788796a5b4c3d2e1f0 > forgotten.txt"),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_forgotten_certificate},
    {.name = "forgotten run",
     .positional = "",
     .summary = "go on with what is left to do",
     .details = "A server does so by itself.",
     .examples = EXAMPLES("daybook forgotten run", "daybook forgotten run --now"),
     .options = OPTIONS(FLAG("now", "begin a new epoch, and compact, without waiting")),
     .book = true,
     .run = dbk_run_forgotten_run},
    {.name = "compact",
     .positional = "",
     .summary = "give back the space of events that no stream keeps any more",
     .details = "Goes on beside appends and reads. Interrupted, it goes on where it was; on a full "
                "disk it waits.",
     .examples = EXAMPLES("daybook compact", "daybook compact --percent 0 --rate 10000000"),
     .options =
         OPTIONS(OPTION("percent", NUMBER, "N", "leave segments of which less can be removed (10)"),
                 OPTION("rate", NUMBER, "BYTES", "read at most so many a second (64 MiB)")),
     .book = true,
     .run = dbk_run_compact},
    {.name = "backup",
     .positional = "FOLDER",
     .summary = "copy the book's log into a folder, as it is now; later only what is new",
     .details = "Goes on beside a server. Interrupted, it goes on where it was; on a full disk it "
                "waits. Until\nit is whole the backup before stands.",
     .examples = EXAMPLES("daybook backup /backups/shop", "daybook backup /backups/shop --verify",
                          "daybook backup /backups/shop --only-verify"),
     .options = OPTIONS(FLAG("verify", "read all of it again and compare checksums"),
                        FLAG("only-verify", "copy nothing, just that"),
                        FLAG("no-wait", "fail on a full disk")),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_backup},
    {.name = "restore",
     .positional = "FOLDER",
     .summary = "write a backup into an empty data directory, verified",
     .details =
         "Index, snapshots and read models are made again from the log. A book with subjects "
         "needs the\nnewest list of erased keys: the backup's, or one that is newer.",
     .examples = EXAMPLES("daybook restore /backups/shop --data data-again",
                          ("daybook restore /backups/old --data data-again --erased-list "
                           "/backups/shop/erased.list")),
     .options = OPTIONS(
         OPTION("erased-list", TEXT, "FILE", "the newest list of erased keys (the backup's)"),
         FLAG("no-wait", "fail on a full disk")),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_restore},
    {.name = "proof checkpoint",
     .positional = "",
     .summary = "sign what is stored, and print the checkpoint",
     .details = "A C2SP checkpoint: keep it elsewhere, and the book can be held against it later.",
     .examples = EXAMPLES("daybook proof checkpoint > today.checkpoint"),
     .book = true,
     .run = dbk_run_proof_checkpoint},
    {.name = "proof inclusion",
     .positional = "POSITION",
     .summary = "prove that an event is in the book",
     .details = "Prints a C2SP tlog-proof: what the event's leaf is made of, the path to the root, "
                "and the\nsigned checkpoint. `daybook-verify` checks it without the book.",
     .examples = EXAMPLES("daybook proof inclusion 17 > event-17.tlog-proof",
                          "daybook proof inclusion 17 -o json"),
     .options = OPTIONS(OPTION("size", NUMBER, "EVENTS",
                               "in the tree of so many events (the "
                               "newest checkpoint's)")),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_proof_inclusion},
    {.name = "proof consistency",
     .positional = "OLD [NEW]",
     .summary = "prove that the first OLD events are still the first of NEW",
     .details = "OLD and NEW are sizes, as checkpoints say; NEW is the newest checkpoint's.",
     .examples = EXAMPLES("daybook proof consistency 2350", "daybook proof consistency 100 2350"),
     .positional_min = 1,
     .positional_max = 2,
     .book = true,
     .run = dbk_run_proof_consistency},
    {.name = "proof key",
     .positional = "",
     .summary = "print the public key that checkpoints are signed with",
     .details = "Whoever is to check the book needs it, once, and not from the book.",
     .examples = EXAMPLES("daybook proof key > shop.vkey"),
     .book = true,
     .run = dbk_run_proof_key},
    {.name = "verify",
     .positional = "",
     .summary = "verify every record, tile and checkpoint of the book",
     .details = "Goes on beside a server. What is wrong is named by file, offset and position, and "
                "the status\nis 1. `daybook-verify` does the same without a line of the daemon's "
                "code.",
     .examples = EXAMPLES("daybook verify",
                          "daybook verify --checkpoint kept.checkpoint --key \"$(cat shop.vkey)\""),
     .options = OPTIONS(
         OPTION("checkpoint", TEXT, "FILE", "one that was kept: the book must go on from it"),
         OPTION("key", TEXT, "VKEY", "who signed it (the book's own key)")),
     .book = true,
     .run = dbk_run_verify},
    {.name = "upgrade",
     .positional = "",
     .summary = "write what an older Daybook wrote in the format of this one",
     .details = "A book of any older format can be read and written without. Interrupted, it goes "
                "on where\nit was.",
     .examples = EXAMPLES("daybook upgrade"),
     .options = OPTIONS(OPTION("rate", NUMBER, "BYTES", "read at most so many a second (64 MiB)")),
     .book = true,
     .run = dbk_run_upgrade},
    {.name = "migrate status",
     .positional = "--to DIR",
     .summary = "how far a migration into a new book has got",
     .details = "",
     .examples = EXAMPLES("daybook migrate status --to ../bank-2"),
     .options = OPTIONS(MIGRATED),
     .book = true,
     .run = dbk_run_migrate_status},
    {.name = "migrate report",
     .positional = "--to DIR",
     .summary = "what a migration has changed: by type and by category",
     .details = "Each row says what events of one name became, and where the first of them is.",
     .examples = EXAMPLES("daybook migrate report --to ../bank-2",
                          "daybook migrate report --to ../bank-2 -o json"),
     .options = OPTIONS(MIGRATED),
     .book = true,
     .run = dbk_run_migrate_report},
    {.name = "migrate verify",
     .positional = "--to DIR",
     .summary = "compare the new book with what the script makes of the old one",
     .details = "Event by event, and stream by stream the states that both books' folds give. Exit "
                "status 1\nwhen anything differs.",
     .examples = EXAMPLES("daybook migrate verify --to ../bank-2",
                          "daybook migrate verify --to ../bank-2 --sample 1000 -o json"),
     .options =
         OPTIONS(MIGRATED, OPTION("sample", NUMBER, "N", "fold about so many streams (all)")),
     .book = true,
     .run = dbk_run_migrate_verify},
    {.name = "migrate switch",
     .positional = "--to DIR",
     .summary = "end the old book, and let the new one take appends",
     .details =
         "Copies and compares while the old book goes on; then it takes no more, the rest is "
         "copied\nand compared, and groups and streams' rules are carried over. Interrupted, "
         "the same command\ngoes on. Nothing is switched when anything differs.",
     .examples = EXAMPLES("daybook migrate switch --to ../bank-2",
                          "daybook migrate switch --to ../bank-2 --sample 1000"),
     .options = OPTIONS(MIGRATED, OPTION("sample", NUMBER, "N", "fold about so many streams (all)"),
                        FLAG("no-verify", "compare nothing")),
     .book = true,
     .run = dbk_run_migrate_switch},
    {.name = "migrate undo",
     .positional = "--to DIR",
     .summary = "let the old book take appends again",
     .details = "As long as the new one has not taken over; --force also afterwards.",
     .examples = EXAMPLES("daybook migrate undo --to ../bank-2"),
     .options = OPTIONS(MIGRATED, FLAG("force", "also when the new book has taken over")),
     .book = true,
     .run = dbk_run_migrate_undo},
    {.name = "migrate position",
     .positional = "N --to DIR",
     .summary = "where a position of the old book is in the new one",
     .details = "A consumer that has done everything up to N goes on behind `up_to`.",
     .examples = EXAMPLES("daybook migrate position 4711 --to ../bank-2"),
     .options = OPTIONS(MIGRATED),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_migrate_position},
    {.name = "migrate",
     .positional = "--to DIR --with FILE",
     .summary = "copy the book into a new one, and change it on the way",
     .details =
         "Goes on beside whoever writes the old book, which stays as it is. What each event "
         "becomes is\nsaid by a script (docs/migration.md). Interrupted or killed it goes on "
         "where it was.",
     .examples = EXAMPLES("daybook migrate --to ../bank-2 --with migration.lua",
                          "daybook migrate --to ../bank-2 --follow  # until it is interrupted"),
     .options =
         OPTIONS(MIGRATED, OPTION("with", TEXT, "FILE", "the script (the one the new book keeps)"),
                 FLAG("follow", "go on with what is appended, until interrupted"),
                 FLAG("changed-script", "go on with another script than it began with")),
     .book = true,
     .run = dbk_run_migrate},
    {.name = "log",
     .positional = "STREAM",
     .summary = "a stream's events with the state after each: the bank statement",
     .details =
         "--diff shows in place of the state what each event changed in it: a line a field, with "
         "who it\nwas by the event's meta (actor, correlationid).",
     .examples = EXAMPLES("daybook log account-123", "daybook log account-123 --from-version 2000",
                          "daybook log account-123 --diff"),
     .options = OPTIONS(FLAG("diff", "what changed in the state, field by field"),
                        FLAG("raw", "events as stored: in the schema version they were written in"),
                        OPTION("from-version", NUMBER, "N", "from this version"),
                        OPTION("to-version", NUMBER, "N", "up to this version")),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_log},
    {.name = "trace",
     .positional = "CORRELATION|EVENT-ID|POSITION",
     .summary = "what caused what: a correlation's events as a tree across streams",
     .details = "Its events have the correlationid in their meta; causationid names the cause. An "
                "event's id\nor position stands for its correlation. -o dot is for Graphviz.\n"
                "--timeline is of one event, by position or id: when it was sent, saved in its\n"
                "service, taken from there, published, and in each read model received, applied\n"
                "and first seen. What is not known says why.",
     .examples = EXAMPLES("daybook trace order-process-17", "daybook trace 4711",
                          "daybook trace order-process-17 -o dot | dot -Tsvg -o trace.svg",
                          "daybook trace 4711 --timeline"),
     .options = OPTIONS(OPTION("limit", NUMBER, "N", "at most so many events (10000)"),
                        FLAG("hidden", "also the book's own, whose category begins with $"),
                        FLAG("timeline", "when one event was what"),
                        {"output", 'o', DBK_OPTION_CHOICE, "table|json|jsonl|csv|dot",
                         "how to print the answer (table)"}),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_trace},
    {.name = "state",
     .positional = "STREAM",
     .summary = "what a stream's events fold to, now or at any version or time",
     .details = "",
     .examples = EXAMPLES("daybook state account-123", "daybook state account-123 --version 2",
                          "daybook state order-536365 --occurred-at 2011-03-01",
                          "daybook state account-long --version 2347 --explain"),
     .options =
         OPTIONS(OPTION("version", NUMBER, "N", "as it was at this version"),
                 OPTION("at", TIME, "TIME", "as it was recorded at this time"),
                 OPTION("occurred-at", TIME, "TIME", "as it had occurred at this time"),
                 FLAG("explain", "say which snapshot was used and how many events were replayed")),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_state},
    {.name = "import",
     .positional = "FILE --as NAME",
     .summary = "bring a CSV or JSONL file in as events",
     .details =
         "FILE may be plain, gzip or zstd. imports/NAME.lua maps each row to events, whose ids\n"
         "derive from the import, the source's name, the row and the event's place in it: a\n"
         "second run adds nothing, and a run that was cut short is finished by the next.",
     .examples = EXAMPLES("daybook import online-retail.csv.zst --as online_retail",
                          "daybook import - --as orders --source orders-2011 < orders.csv"),
     .options =
         OPTIONS(OPTION("as", TEXT, "NAME", "the mapping: imports/NAME.lua"),
                 OPTION("source", TEXT, "NAME", "the source's name (FILE's, without .gz or .zst)"),
                 OPTION("format", CHOICE, "csv|jsonl",
                        "what FILE holds (jsonl for .jsonl, .ndjson; else csv)"),
                 OPTION("batch", NUMBER, "N", "events of a batch (5000)"),
                 FLAG("strict", "stop at the first row that is rejected"),
                 FLAG("no-wait", "do not wait for the read models")),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_import},
    {.name = "sql",
     .positional = "SELECT",
     .summary = "one SELECT over read models, views and the table events",
     .details =
         "Only reading is possible. `events` has position, stream, category, version, type,\n"
         "time, occurred, id, tags, data, meta and schema_version. With --at and --occurred-at "
         "all\n"
         "of it is as of then; models are built as of then first, and kept (see `model as-of`).",
     .examples = EXAMPLES("daybook sql \"select category, count(*) n from events group by 1\"",
                          "daybook sql \"select sum(total) from user_orders\" -o json",
                          "daybook sql \"select sum(total) from user_orders\" --at 2011-03-01",
                          "daybook sql \"select count(*) from users\" --database people"),
     .options =
         OPTIONS(OPTION("database", TEXT, "NAME",
                        "in this database alone; a server's can only be asked so"),
                 OPTION("at", TIME, "TIME", "as it was recorded at this time"),
                 OPTION("occurred-at", TIME, "TIME", "as it had occurred at this time"), POSITION),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_sql},
    {.name = "impact",
     .positional = "FILE.sql",
     .summary = "who uses what a migration changes, and what breaks",
     .details =
         "For each change: the services (by contract), captures, handlers, models, views, queries\n"
         "and commands that use it. `breaks`: it will; `unknown`: it may, and cannot be judged.\n"
         "Exits with 1 when there is any of both. A SQLite file that is there is asked what a "
         "text\n"
         "uses, and is not changed. --observed asks PostgreSQL's pg_stat_statements, too.",
     .examples = EXAMPLES("daybook impact migrations/0007.sql",
                          "daybook impact 0007.sql --database shop -o json",
                          "daybook impact 0007.sql --observed"),
     .options = OPTIONS(
         OPTION("database", TEXT, "NAME", "of book.yaml (the services' one, where it is one)"),
         FLAG("observed", "statements that PostgreSQL has seen, by role")),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_impact},
    {.name = "service ls",
     .positional = "",
     .summary = "services: their database, what they own in it, what they read and append",
     .details = "Reads services/*.yaml, and needs no data and no server.",
     .examples = EXAMPLES("daybook service ls", "daybook service ls -o json"),
     .book = true,
     .run = dbk_run_service_ls},
    {.name = "service show",
     .positional = "SERVICE",
     .summary = "what a service owns, what others read of it, and by which contracts it reads",
     .details = "",
     .examples = EXAMPLES("daybook service show users", "daybook service show users -o json"),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_service_show},
    {.name = "service apply",
     .positional = "[SERVICE …]",
     .summary = "make what services may in their databases, and nothing else",
     .details =
         "Shows the statements, and does them in one transaction: a role for each service that "
         "can\n"
         "only log in, its own schema, its tables as their owner, SELECT on the columns of its\n"
         "contracts, nothing for PUBLIC, the same for what is made later. Only what differs is\n"
         "changed. The database's user must be one who may.",
     .examples = EXAMPLES("daybook service apply  # asks", "daybook service apply --yes",
                          "daybook service apply orders -o json"),
     .options = OPTIONS(FLAG("yes", "do it without asking")),
     .positional_max = DBK_ARGUMENTS_MAX,
     .book = true,
     .run = dbk_run_service_apply},
    {.name = "service check",
     .positional = "[SERVICE …]",
     .summary = "where services' databases differ from the book, and what mends it",
     .details = "Grants, roles, memberships, owners, default privileges, settings and logins. "
                "Exits with 1\nwhere anything differs; changes nothing.",
     .examples = EXAMPLES("daybook service check", "daybook service check orders -o json"),
     .positional_max = DBK_ARGUMENTS_MAX,
     .book = true,
     .run = dbk_run_service_check},
    {.name = "service verify",
     .positional = "[SERVICE …]",
     .summary =
         "log in as each service and try what it should not be able to do, and what it should",
     .details = "Reads, changes, alters and drops what is others', also what is made for that "
                "first;\nnothing of it lasts. Exits with 1 when anything goes otherwise than "
                "expected.",
     .examples = EXAMPLES("daybook service verify", "daybook service verify orders -o json",
                          "daybook service verify --surprises"),
     .options = OPTIONS(FLAG("surprises", "only what goes otherwise than expected")),
     .positional_max = DBK_ARGUMENTS_MAX,
     .book = true,
     .run = dbk_run_service_verify},
    {.name = "capture ls",
     .positional = "",
     .summary = "services whose databases are captured: how far, and what hinders",
     .details = "`serve` captures them; position is the source's own.",
     .examples = EXAMPLES("daybook capture ls"),
     .book = true,
     .run = dbk_run_capture_ls},
    {.name = "capture resnapshot",
     .positional = "SERVICE",
     .summary = "read a service's tables again, and make good what was lost",
     .details = "Rows that are as the book has them make no event; rows that are gone are\n"
                "deleted. Begins at once where `serve` runs, else when it does.",
     .examples = EXAMPLES("daybook capture resnapshot users"),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_capture_resnapshot},
    {.name = "capture wait",
     .positional = "SERVICE POSITION",
     .summary = "wait until the book has what a service's database has at a position",
     .details = "POSITION is the database's own: of PostgreSQL what pg_current_wal_insert_lsn()\n"
                "says behind a commit. The answer's is the book's, for --after.",
     .examples = EXAMPLES("daybook capture wait users 0/1A2B3C8"),
     .options = OPTIONS(OPTION("timeout", DURATION, "TIME", "how long to wait (5 s)")),
     .positional_min = 2,
     .positional_max = 2,
     .book = true,
     .run = dbk_run_capture_wait},
    {.name = "model ls",
     .positional = "",
     .summary = "read models: how far each is, and whether it follows",
     .details = "",
     .examples = EXAMPLES("daybook model ls"),
     .book = true,
     .run = dbk_run_model_ls},
    {.name = "model show",
     .positional = "MODEL",
     .summary = "all there is to know about a read model",
     .details = "",
     .examples = EXAMPLES("daybook model show user_orders"),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_model_show},
    {.name = "model read",
     .positional = "MODEL [TABLE]",
     .summary = "rows of a read model's table",
     .details = "TABLE may be left out where the model has one.",
     .examples = EXAMPLES("daybook model read user_orders --limit 10"),
     .options = OPTIONS(AFTER, POSITION, OPTION("limit", NUMBER, "N", "at most so many rows")),
     .positional_min = 1,
     .positional_max = 2,
     .book = true,
     .run = dbk_run_model_read},
    {.name = "model rebuild",
     .positional = "MODEL",
     .summary = "build a read model anew from its files, beside the old, and swap",
     .details = "",
     .examples = EXAMPLES("daybook model rebuild user_orders"),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_model_rebuild},
    {.name = "model letters",
     .positional = "MODEL [POSITION]",
     .summary = "the events that a read model has set aside, and why",
     .details = "With a POSITION, one of them, and the event as it can be read now.",
     .examples = EXAMPLES("daybook model letters user_orders"),
     .positional_min = 1,
     .positional_max = 2,
     .book = true,
     .run = dbk_run_model_letters},
    {.name = "model retry",
     .positional = "MODEL POSITION… | MODEL --all",
     .summary = "post events again that a read model has set aside",
     .details = "Oldest first, each exactly once, on the tables as they are now. One that fails\n"
                "again stays set aside.",
     .examples =
         EXAMPLES("daybook model retry user_orders 17", "daybook model retry user_orders --all"),
     .options = OPTIONS(FLAG("all", "all that are set aside")),
     .positional_min = 1,
     .positional_max = DBK_ARGUMENTS_MAX,
     .book = true,
     .run = dbk_run_model_retry},
    {.name = "model drop",
     .positional = "MODEL POSITION… | MODEL --all",
     .summary = "drop events for good that a read model has set aside",
     .details = "The model stays without them, until it is rebuilt; the book keeps them.",
     .examples = EXAMPLES("daybook model drop user_orders 17"),
     .options = OPTIONS(FLAG("all", "all that are set aside")),
     .positional_min = 1,
     .positional_max = DBK_ARGUMENTS_MAX,
     .book = true,
     .run = dbk_run_model_drop},
    {.name = "model as-of",
     .positional = "[MODEL [TIME]] [-- SELECT]",
     .summary = "a read model as it was at a time, in a file of its own",
     .details =
         "Posts the events recorded up to TIME by the model's files as they are now into a\n"
         "SQLite file, which is kept and found again; the model itself is left alone. A build\n"
         "that was ended is gone on with. Without TIME it lists the files there are.",
     .examples = EXAMPLES("daybook model as-of user_orders 2011-03-01",
                          ("daybook model as-of user_orders --occurred-at 2011-03-01 -- "
                           "\"select count(*) from user_orders\""),
                          "daybook model as-of", "daybook model as-of user_orders --rm"),
     .options =
         OPTIONS(OPTION("at", TIME, "TIME", "the same as TIME"),
                 OPTION("occurred-at", TIME, "TIME", "only events that had occurred at this time"),
                 OPTION("query", TEXT, "SELECT", "ask it, and show the rows alone"),
                 OPTION("out", TEXT, "FILE", "build this file, which is not listed"),
                 FLAG("rm", "remove the file; without TIME the model's, without MODEL all")),
     .positional_max = 3,
     .book = true,
     .run = dbk_run_model_as_of},
    {.name = "schema ls",
     .positional = "",
     .summary = "declared types: versions, personal fields, events stored of each version",
     .details = "Events of version 0 were stored before their type was declared.",
     .examples = EXAMPLES("daybook schema ls", "daybook schema ls -o json"),
     .book = true,
     .run = dbk_run_schema_ls},
    {.name = "schema check",
     .positional = "[TYPE]",
     .summary = "compare versions: what breaks, and who in the book names the field",
     .details =
         "Backward: what fits the older version fits the newer; forward: the other way round. A\n"
         "yes is proven; a no names what was not proven. Exits with 1 when --require is not met.",
     .examples = EXAMPLES("daybook schema check", "daybook schema check Deposited --all",
                          "daybook schema check --require backward -o json"),
     .options =
         OPTIONS(FLAG("all", "every pair of versions, not only neighbours"),
                 OPTION("require", CHOICE, "backward|forward|full", "what neighbours must be")),
     .positional_max = 1,
     .book = true,
     .run = dbk_run_schema_check},
    {.name = "schema diff",
     .positional = "TYPE [FROM TO]",
     .summary = "what changed between two versions of a type's schema",
     .details = "Without FROM and TO: the last two.",
     .examples = EXAMPLES("daybook schema diff Deposited", "daybook schema diff Deposited 1 3"),
     .positional_min = 1,
     .positional_max = 3,
     .book = true,
     .run = dbk_run_schema_diff},
    {.name = "schema infer",
     .positional = "TYPE | --all",
     .summary = "propose a type's file from its stored events",
     .details =
         "What all of them have in common: types, fields that are always there, formats, and\n"
         "values where there are few. Ranges of numbers are not guessed. With --all an object\n"
         "of files by type.",
     .examples = EXAMPLES("daybook schema infer Deposited > events/Deposited.schema.json",
                          "daybook schema infer --all"),
     .options = OPTIONS(FLAG("all", "every type in the book")),
     .positional_max = 1,
     .book = true,
     .run = dbk_run_schema_infer},
    {.name = "saga ls",
     .positional = "[NAME]",
     .summary = "list the sagas, or a saga's instances",
     .details = "Without NAME: how many instances of each are open, parked, completed, undone.\n"
                "With it: its open instances; --ended: the newest that have ended.",
     .examples = EXAMPLES("daybook saga ls", "daybook saga ls checkout",
                          "daybook saga ls checkout --ended --limit 10"),
     .options = OPTIONS(FLAG("ended", "instances that have ended, newest first"),
                        OPTION("limit", NUMBER, "N", "at most so many (--ended: 100)")),
     .positional_max = 1,
     .book = true,
     .run = dbk_run_saga_ls},
    {.name = "saga show",
     .positional = "NAME INSTANCE",
     .summary = "draw an instance of a saga as a timeline",
     .details = "Each row is a moment: what came, what its steps became of it, and why it failed.",
     .examples = EXAMPLES("daybook saga show checkout o17",
                          "daybook saga show checkout o17 -o json  # with its state"),
     .positional_min = 2,
     .positional_max = 2,
     .book = true,
     .run = dbk_run_saga_show},
    {.name = "saga simulate",
     .positional = "NAME",
     .summary = "run a saga against a world that fails, and show every outcome",
     .details =
         "Each step in turn is refused, gets no answer, gets it twice, late, out of order, or\n"
         "after a crash; and so does its way back. Offline, with the file's `samples`.\n"
         "Exit 1 when a run is stuck, or ends half done.",
     .examples =
         EXAMPLES("daybook saga simulate checkout", "daybook saga simulate checkout -o jsonl"),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_saga_simulate},
    {.name = "saga retry",
     .positional = "NAME INSTANCE",
     .summary = "try a parked instance of a saga again",
     .details = "It goes on from what it was parked for; what came meanwhile follows in order.",
     .examples = EXAMPLES("daybook saga retry checkout o17"),
     .positional_min = 2,
     .positional_max = 2,
     .book = true,
     .run = dbk_run_saga_retry},
    {.name = "saga cancel",
     .positional = "NAME INSTANCE",
     .summary = "undo what an instance of a saga has done",
     .details =
         "Its steps are undone in reverse order. Of one that is parked because a step could\n"
         "not be undone, that step is given up, and those before it are undone.",
     .examples = EXAMPLES("daybook saga cancel checkout o17 --reason 'the customer called'"),
     .options = OPTIONS(OPTION("reason", TEXT, "TEXT", "why, for its timeline")),
     .positional_min = 2,
     .positional_max = 2,
     .book = true,
     .run = dbk_run_saga_cancel},
    {.name = "view ls",
     .positional = "",
     .summary = "views: as of when, and when they are refreshed next",
     .details = "",
     .examples = EXAMPLES("daybook view ls"),
     .book = true,
     .run = dbk_run_view_ls},
    {.name = "view show",
     .positional = "VIEW",
     .summary = "all there is to know about a view",
     .details = "",
     .examples = EXAMPLES("daybook view show daily_sales_summary"),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_view_show},
    {.name = "view explain",
     .positional = "VIEW",
     .summary = "how a view is brought up to date, by what statements, and what is in the way",
     .details =
         "Of a view that is refreshed fully: the first obstacle, with its place, and what to\n"
         "write instead. The statements are shown where this command may write.",
     .examples =
         EXAMPLES("daybook view explain daily_orders", "daybook view explain daily_orders -o json"),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_view_explain},
    {.name = "view verify",
     .positional = "VIEW",
     .summary = "compare a view's rows with its SELECT",
     .details =
         "Refreshes it where it is behind. Exits with 1 when they differ; the next refresh is\n"
         "then a full one.",
     .examples = EXAMPLES("daybook view verify daily_orders"),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_view_verify},
    {.name = "view read",
     .positional = "VIEW",
     .summary = "rows of a view's stored result",
     .details = "",
     .examples = EXAMPLES("daybook view read daily_sales_summary --limit 10"),
     .options = OPTIONS(AFTER, POSITION, OPTION("limit", NUMBER, "N", "at most so many rows")),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_view_read},
    {.name = "view refresh",
     .positional = "VIEW",
     .summary = "compute a view again and swap the result in",
     .details = "Readers see the old result until the new one is whole.",
     .examples = EXAMPLES("daybook view refresh daily_sales_summary"),
     .positional_min = 1,
     .positional_max = 1,
     .book = true,
     .run = dbk_run_view_refresh},
    {.name = "bench append",
     .positional = "",
     .summary = "measure durable appends against the disk's raw limit",
     .details =
         "Works in a temporary folder that it removes. Raw sync: the same bytes written into a\n"
         "zero-filled file, each time synced. Raw sequential: a growing file, synced at its end.\n"
         "Both are measured between five parts of the work; a part's clock stops when the index\n"
         "(and with --tree the tree) has caught up.",
     .examples = EXAMPLES("daybook bench append", "daybook bench append --writers 64",
                          "daybook bench append --batch 1000 --size 1024 -o json",
                          "daybook bench append --writers 64 --guarded 1000 --fill 1000000",
                          "daybook bench append --batch 1000 --size 1024 --tree",
                          "daybook bench append --baseline before.json --noise 15"),
     .options =
         OPTIONS(BENCH, OPTION("writers", NUMBER, "N", "threads that append (1)"),
                 OPTION("batch", NUMBER, "N", "events of an append (1)"),
                 OPTION("streams", NUMBER, "N", "streams they go to (1000)"),
                 OPTION("fill", NUMBER, "N", "events that are there before (0)"),
                 OPTION("guarded", NUMBER, "N",
                        "half of the parts guard each append by a tag, as of N events back"),
                 FLAG("tree", "half of the parts are followed by the Merkle tree; then proofs "
                              "are timed"),
                 OPTION("seconds", NUMBER, "N", "how long to append (5)"),
                 OPTION("events", NUMBER, "N", "how many to append instead")),
     .run = dbk_run_bench_append},
    {.name = "bench read",
     .positional = "",
     .summary = "measure a read of the whole book against plain reads of its files",
     .details = "Both are read twice, and the second time counts. Raw: the log's files read in\n"
                "order with plain reads.",
     .examples = EXAMPLES("daybook bench read", "daybook bench read --events 1000000"),
     .options = OPTIONS(BENCH_FILL, OPTION("streams", NUMBER, "N", "streams they lie in (50000)")),
     .run = dbk_run_bench_read},
    {.name = "bench stream",
     .positional = "",
     .summary = "measure reads of single streams, drawn at random",
     .details = "First the streams' versions are looked up, then all their events are read; warm.",
     .examples = EXAMPLES("daybook bench stream",
                          "daybook bench stream --events 10000000 --streams 1000000 --store kept"),
     .options = OPTIONS(BENCH_FILL, OPTION("streams", NUMBER, "N", "streams they lie in (50000)"),
                        OPTION("reads", NUMBER, "N", "streams to read (20000)")),
     .run = dbk_run_bench_stream},
    {.name = "bench state",
     .positional = "",
     .summary = "measure folds: the state of every stream, without snapshots",
     .details = "The fold counts events and adds up a number of theirs.",
     .examples = EXAMPLES("daybook bench state", "daybook bench state --fold c --streams 50000"),
     .options = OPTIONS(BENCH_FILL, OPTION("streams", NUMBER, "N", "streams they lie in (500)"),
                        OPTION("fold", CHOICE, "lua|c", "what it is written in (lua)")),
     .run = dbk_run_bench_state},
    {.name = "bench schema",
     .positional = "",
     .summary = "measure what old versions of events cost: upcasters, versioned folds, a migration",
     .details =
         "Events lie in turns in three versions. Each way is measured against the same events\n"
         "in the newest version (migrated), in turns, the best of seven, in time of the processor. "
         "step: events of\n"
         "version 1 as `read` writes them, by one step and by none. chain_ns: an event of\n"
         "version 1 of a type with so many versions, by a cursor alone.",
     .examples = EXAMPLES("daybook bench schema", "daybook bench schema --events 1000000 -o json"),
     .options = OPTIONS(BENCH, OPTION("events", NUMBER, "N", "events to read (300000)"),
                        OPTION("streams", NUMBER, "N", "streams they lie in (300)")),
     .run = dbk_run_bench_schema},
    {.name = "bench model",
     .positional = "",
     .summary = "measure a SQLite read model against the same statements by hand",
     .details =
         "By hand: one prepared statement, in transactions of as many events as the model posts.\n"
         "Both take turns, a tenth of the events each.",
     .examples = EXAMPLES("daybook bench model --events 200000"),
     .options = OPTIONS(BENCH, OPTION("events", NUMBER, "N", "events to post (200000)"),
                        OPTION("streams", NUMBER, "N", "rows they fall on (20000)")),
     .run = dbk_run_bench_model},
    {.name = "bench sync",
     .positional = "",
     .summary = "measure the four syncs on the same work, beside each other",
     .details =
         "Orders are written one a commit, and followed by a read model: staleness is from the\n"
         "commit until a reader of the model's database finds the row, at --rate. The cost to the\n"
         "writer is its commits/s and latency with the model and without. rows/s: orders in large\n"
         "commits, until the last is found. Sources are the book and a SQLite file, the target is\n"
         "SQLite; with --postgres also a server's databases, which are made and dropped.",
     .examples = EXAMPLES("daybook bench sync", "daybook bench sync --every 100ms",
                          "PG='host=/run/postgresql dbname=postgres' daybook bench sync "
                          "--postgres env:PG"),
     .options = OPTIONS(
         BENCH, OPTION("commits", NUMBER, "N", "as fast as one writer goes (4000)"),
         OPTION("rate", NUMBER, "N", "commits a second while staleness is measured (200)"),
         OPTION("seconds", NUMBER, "N", "for so long (10)"),
         OPTION("rows", NUMBER, "N", "orders in large commits (200000)"),
         OPTION("batch", NUMBER, "N", "of so many (1000)"),
         OPTION("every", DURATION, "TIME", "between rounds of polling (1 s)"), BENCH_SERVER),
     .run = dbk_run_bench_sync},
    {.name = "bench patterns",
     .positional = "",
     .summary = "measure one shop under each of the five patterns, and compare",
     .details =
         "Orders of three lines are written, a page with a user's last ten and a summary by day "
         "are\n"
         "read, and orders get a new field: what each pattern takes for that, in SQLite files and\n"
         "the book. late: from a write's return until a reader finds it. beside readers: one\n"
         "writer, as fast as it goes, while each of --readers reads --reads pages a second; the\n"
         "shared database has one model for both, CQRS two. A log of events alone has no summary.",
     .examples = EXAMPLES("daybook bench patterns",
                          "daybook bench patterns --orders 100000 --seconds 20 -o json"),
     .options = OPTIONS(
         BENCH, OPTION("orders", NUMBER, "N", "written as fast as one writer goes (20000)"),
         OPTION("paced", NUMBER, "N", "orders by which lateness is measured (500)"),
         OPTION("rate", NUMBER, "N", "of them a second (100)"),
         OPTION("pages", NUMBER, "N", "read while nobody writes (5000)"),
         OPTION("readers", NUMBER, "N", "beside a writer; 0: none (64)"),
         OPTION("reads", NUMBER, "N", "pages a second of each (100)"),
         OPTION("seconds", NUMBER, "N", "for so long (5)"),
         OPTION("baseline", TEXT, "FILE", "an earlier run's -o json: fails when this one is worse"),
         OPTION("noise", NUMBER, "PERCENT", "by how much more than this (10)")),
     .run = dbk_run_bench_patterns},
    {.name = "bench capture",
     .positional = "",
     .summary = "measure capture: commits in a service's database into the book, and on",
     .details =
         "late_us: from a commit of one row until it is found in the book, or in a read model, at\n"
         "--rate. rate: rows a second in large commits, until the last is found. Sources are a\n"
         "SQLite file and with --postgres a server's databases, which are made and dropped.",
     .examples = EXAMPLES("daybook bench capture",
                          "daybook bench capture --postgres file:secrets/server -o json"),
     .options = OPTIONS(
         BENCH, OPTION("rate", NUMBER, "N", "commits a second while lateness is measured (200)"),
         OPTION("seconds", NUMBER, "N", "for so long (10)"),
         OPTION("rows", NUMBER, "N", "rows in large commits (300000)"),
         OPTION("batch", NUMBER, "N", "of so many (1000)"), BENCH_SERVER),
     .run = dbk_run_bench_capture},
    {.name = "bench open",
     .positional = "",
     .summary = "measure the open after a kill, and the memory of a full read",
     .details =
         "A process appends and is killed after 50 to 450 ms; then the store is opened and\n"
         "appended to. Its files stay in memory. anonymous_bytes: memory of its own (RssAnon)\n"
         "after the last open and a read of every event.",
     .examples = EXAMPLES("daybook bench open", "daybook bench open --kills 20"),
     .options = OPTIONS(BENCH_FILL, OPTION("streams", NUMBER, "N", "streams they lie in (50000)"),
                        OPTION("kills", NUMBER, "N", "how often (5)")),
     .run = dbk_run_bench_open},
    {.name = "bench keys",
     .positional = "",
     .summary = "measure making, forgetting and rotating the subjects' keys",
     .details =
         "A hundred keys are forgotten one by one, and three epochs begun. rotation_budget: of\n"
         "2 s a million keys, how many times over the slowest rotation fits.",
     .examples = EXAMPLES("daybook bench keys", "daybook bench keys --subjects 100000"),
     .options = OPTIONS(
         OPTION("dir", TEXT, "DIR", "the disk to measure: a folder on it (the current one)"),
         OPTION("subjects", NUMBER, "N", "keys (1000000)"),
         OPTION("baseline", TEXT, "FILE", "an earlier run's -o json: fails when this one is worse"),
         OPTION("noise", NUMBER, "PERCENT", "by how much more than this (10)")),
     .run = dbk_run_bench_keys},
    {.name = "bench access",
     .positional = "",
     .summary = "measure what API keys cost a request, and a filtered read",
     .details =
         "Two books are served, one of them without keys, and asked in turns over one connection\n"
         "each. The rates are of those without: 1 is as fast.",
     .examples = EXAMPLES("daybook bench access", "daybook bench access --keys 10000 -o json"),
     .options = OPTIONS(
         OPTION("dir", TEXT, "DIR", "the disk to measure: a folder on it (the current one)"),
         OPTION("requests", NUMBER, "N", "of each kind (20000)"),
         OPTION("keys", NUMBER, "N", "that the book has (1000)"),
         OPTION("baseline", TEXT, "FILE", "an earlier run's -o json: fails when this one is worse"),
         OPTION("noise", NUMBER, "PERCENT", "by how much more than this (10)")),
     .run = dbk_run_bench_access},
    {.name = "advise",
     .positional = "",
     .summary = "which patterns fit: five questions, what follows from the answers, and its price",
     .details =
         "Of each service and query the server says what follows from what it has seen since it\n"
         "was started: reads to writes, what a query takes, how late a model is, and of captured\n"
         "tables which transactions cross owners. --ask goes by your answers: those that are not\n"
         "given as options are asked for. Also says what not to do.",
     .examples = EXAMPLES("daybook advise --book examples/shop", "daybook advise --ask",
                          ("daybook advise --ask --independent yes --acid no --audit yes --ratio 3 "
                           "--complex no --scale no --expensive yes --stale yes -o json")),
     .options =
         OPTIONS(FLAG("ask", "go by your answers"),
                 OPTION("independent", CHOICE, "yes|no", "services are to change independently"),
                 OPTION("acid", CHOICE, "yes|no", "one transaction holds over several services"),
                 OPTION("audit", CHOICE, "yes|no", "a full audit trail is needed"),
                 OPTION("ratio", NUMBER, "N", "reads to a write"),
                 OPTION("complex", CHOICE, "yes|no", "queries do not fit what is written"),
                 OPTION("scale", CHOICE, "yes|no", "reads have to grow apart from writes"),
                 OPTION("expensive", CHOICE, "yes|no", "queries are expensive"),
                 OPTION("stale", CHOICE, "yes|no", "their answers may be old")),
     .book = true,
     .run = dbk_run_advise},
    {.name = "help",
     .positional = "[COMMAND]",
     .summary = "how to use a command",
     .details = "",
     .examples = EXAMPLES("daybook help import"),
     .positional_max = 2,
     .run = dbk_run_help},
};

const size_t dbk_cli_commands_count = sizeof(dbk_cli_commands) / sizeof(dbk_cli_commands[0]);

/* Bytes of `word` when the command's name begins with it as a whole word, else 0. */
static size_t first_word(const char *name, const char *word)
{
    size_t size = strlen(word);
    if (strncmp(name, word, size) == 0 && (name[size] == ' ' || name[size] == '\0'))
        return size;
    return 0;
}

const struct dbk_cli_command *dbk_cli_find(int argc, const char *const *argv, int *words_out)
{
    for (size_t i = 0; argc > 0 && i < dbk_cli_commands_count; i++) {
        const struct dbk_cli_command *command = &dbk_cli_commands[i];
        size_t size = first_word(command->name, argv[0]);
        if (size == 0)
            continue;
        if (command->name[size] == '\0') {
            *words_out = 1;
            return command;
        }
        if (argc > 1 && strcmp(command->name + size + 1, argv[1]) == 0) {
            *words_out = 2;
            return command;
        }
    }
    return NULL;
}

bool dbk_cli_group(const char *word)
{
    for (size_t i = 0; i < dbk_cli_commands_count; i++) {
        size_t size = first_word(dbk_cli_commands[i].name, word);
        if (size > 0 && dbk_cli_commands[i].name[size] == ' ')
            return true;
    }
    return false;
}

const char *dbk_cli_closest(const char *group, const char *word)
{
    const char *names[sizeof(dbk_cli_commands) / sizeof(dbk_cli_commands[0])];
    static char first[sizeof(names) / sizeof(names[0])][16];
    size_t count = 0;
    for (size_t i = 0; i < dbk_cli_commands_count; i++) {
        const char *name = dbk_cli_commands[i].name;
        size_t size = strcspn(name, " ");
        if (group == NULL) {
            (void)snprintf(first[i], sizeof(first[i]), "%.*s", (int)size, name);
            names[count++] = first[i];
        } else if (first_word(name, group) > 0 && name[size] == ' ') {
            names[count++] = name + size + 1;
        }
    }
    return dbk_closest_name(word, names, count);
}

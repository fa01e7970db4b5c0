/* SPDX-License-Identifier: Apache-2.0 */
/* The measurements. */
#include "cli/family.h"

#define BENCH                                                                                      \
    OPTION("dir", TEXT, "DIR", "the disk to measure: a folder on it (the current one)"),           \
        OPTION("size", NUMBER, "BYTES", "data of an event (200)"),                                 \
        OPTION("baseline", TEXT, "FILE",                                                           \
               "an earlier run's -o json: fails when this one is worse"),                          \
        OPTION("noise", NUMBER, "PERCENT", "by how much more than this (10)")
#define BENCH_SERVER                                                                               \
    OPTION("postgres", TEXT, "WHERE",                                                              \
           "file:PATH or env:NAME with a connection string whose user may create databases and "   \
           "replicate")
#define BENCH_SERVERS                                                                              \
    BENCH_SERVER, OPTION("mongodb", TEXT, "WHERE", "likewise, of a user who may make databases"),  \
        OPTION("neo4j", TEXT, "WHERE", "likewise; what is made has a label of its own")
#define BENCH_FILL                                                                                 \
    BENCH, OPTION("events", NUMBER, "N", "events in the store (500000)"),                          \
        OPTION("store", TEXT, "DIR", "keep the store in DIR; one that is there is used")

static const struct dbk_cli_command commands[] = {
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
         "in the newest version (migrated), in turns, the best of seven, in time of the "
         "processor:\n"
         "by a cursor alone, as `read` writes them, and by folds, of which the one in C asks for\n"
         "two members. step: events of version 1 as `read` writes them, by one step and by none.\n"
         "chain_ns: the same of a type with so many versions.",
     .examples = EXAMPLES("daybook bench schema", "daybook bench schema --events 1000000 -o json"),
     .options = OPTIONS(BENCH, OPTION("events", NUMBER, "N", "events to read (300000)"),
                        OPTION("streams", NUMBER, "N", "streams they lie in (300)")),
     .run = dbk_run_bench_schema},
    {.name = "bench model",
     .positional = "",
     .summary = "measure read models against the same statements by hand",
     .details =
         "In SQLite: one prepared statement by hand, in transactions of as many events as the "
         "model\n"
         "posts. Both take turns, a tenth of the events each. With --postgres, --mongodb and "
         "--neo4j\n"
         "also models there, of which each event is a row, document or node (inserts), or is "
         "counted\n"
         "in one of a tenth as many (updates). By hand are prepared statements, commands of up to "
         "a\n"
         "thousand inserts, and requests with UNWIND, without guards and without a position. A "
         "fifth of\n"
         "the events comes before, uncounted.",
     .examples =
         EXAMPLES("daybook bench model --events 200000",
                  "daybook bench model --neo4j file:secrets/graph --server-events 50000",
                  "daybook bench model --mongodb file:secrets/ferretdb --hand-updates 50 -o json"),
     .options = OPTIONS(
         BENCH, OPTION("events", NUMBER, "N", "events to post into SQLite (200000)"),
         OPTION("streams", NUMBER, "N", "rows they fall on (20000)"),
         OPTION("server-events", NUMBER, "N", "events to post into a server, of each kind (20000)"),
         OPTION("hand-updates", NUMBER, "N",
                "updates of a command to MongoDB by hand (1000); of FerretDB 1, which takes no "
                "hundred, 50"),
         BENCH_SERVERS),
     .run = dbk_run_bench_model},
    {.name = "bench sync",
     .positional = "",
     .summary = "measure the four syncs on the same work, beside each other",
     .details =
         "Orders are written one a commit, and followed by a read model: staleness is from the\n"
         "commit until a reader of the model's database finds the row, at --rate. The cost to the\n"
         "writer is its commits/s and latency with the model and without. rows/s: orders in large\n"
         "commits, until the last is found. Sources are the book and a SQLite file, the target is\n"
         "SQLite; with --postgres, --mongodb and --neo4j also a server's databases, which are "
         "made\n"
         "and dropped.",
     .examples = EXAMPLES("daybook bench sync", "daybook bench sync --every 100ms",
                          "PG='host=/run/postgresql dbname=postgres' daybook bench sync "
                          "--postgres env:PG",
                          "daybook bench sync --mongodb file:secrets/documents "
                          "--neo4j file:secrets/graph --rows 50000 -o json"),
     .options = OPTIONS(
         BENCH, OPTION("commits", NUMBER, "N", "as fast as one writer goes (4000)"),
         OPTION("rate", NUMBER, "N", "commits a second while staleness is measured (200)"),
         OPTION("seconds", NUMBER, "N", "for so long (10)"),
         OPTION("rows", NUMBER, "N", "orders in large commits (200000)"),
         OPTION("batch", NUMBER, "N", "of so many (1000)"),
         OPTION("every", DURATION, "TIME", "between rounds of polling (1 s)"), BENCH_SERVERS),
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
};

const struct dbk_cli_family dbk_cli_commands_bench = DBK_CLI_FAMILY(commands);

/* SPDX-License-Identifier: Apache-2.0 */
/* service split: a service's tables leave the database that it shares. */
#include <stdio.h>
#include <unistd.h>

#include "base/time.h"
#include "cli/commands.h"
#include "cli/fail.h"
#include "cli/progress.h"
#include "cli/schema_rows.h"
#include "cli/service_grants.h"
#include "cli/service_move.h"
#include "split/split.h"

#define MEMORY_MAX ((size_t)64 << 20)
#define TEXT_SIZE_MAX ((size_t)1 << 20)

struct work {
    const struct dbk_arguments *arguments;
    struct dbk_place place;
    struct dbk_arena arena;
    struct dbk_book *book;
    const struct dbk_service_definition *service;
    struct dbk_split *split;
    struct dbk_progress progress;
    char what[64]; /* that is shown now */
};

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
}

/* ---- Opening ---- */

static int tell_progress(void *context, const char *what, uint64_t done, uint64_t total)
{
    struct work *work = context;
    if (strcmp(work->what, what) != 0) {
        dbk_progress_clear(&work->progress);
        (void)snprintf(work->what, sizeof(work->what), "%s", what);
        dbk_progress_begin(&work->progress, work->what, "rows");
        if (total == 0)
            (void)fprintf(stderr, "%s\n", what);
    }
    if (total > 0)
        dbk_progress_update(&work->progress, done, done, total);
    return DBK_OK;
}

static void warn(void *context, const char *text)
{
    struct work *work = context;
    dbk_progress_clear(&work->progress);
    (void)fprintf(stderr, "warning: %s\n", text);
}

static int find_service(struct work *work, const char *name, struct dbk_error *err)
{
    const struct dbk_book *book = work->book;
    for (size_t i = 0; i < book->service_count; i++) {
        if (strcmp(book->services[i].name, name) == 0)
            work->service = &book->service_definitions[i];
    }
    if (work->service == NULL)
        return dbk_error_set(err, DBK_ENOTFOUND,
                             "there is no service %s: `daybook service ls` lists them", name);
    if (work->service->own->database == NULL)
        return dbk_error_set(err, DBK_EINVAL, "the service %s has no database", name);
    return DBK_OK;
}

static int begin(struct work *work, const struct dbk_arguments *arguments, struct dbk_error *err)
{
    work->arguments = arguments;
    dbk_arena_init(&work->arena, MEMORY_MAX);
    int rc = dbk_place_find(arguments, &work->place, err);
    if (rc == DBK_OK)
        rc = dbk_place_load(&work->place, &work->book, err);
    if (rc == DBK_OK)
        rc = find_service(work, arguments->positional[0], err);
    if (rc < 0)
        return rc;
    char *folder = dbk_arena_format(&work->arena, "%s/splits", work->book->data);
    if (folder == NULL)
        return no_memory(err);
    rc = dbk_os_make_folder(dbk_os_real(), work->book->data, err);
    if (rc < 0)
        return rc;
    struct dbk_split_options options = {.os = dbk_os_real(),
                                        .folder = folder,
                                        .book = work->book->name,
                                        .service = work->service->own->name,
                                        .role = work->service->role,
                                        .progress = tell_progress,
                                        .warn = warn,
                                        .context = work};
    return dbk_split_open(&options, &work->split, err);
}

static void end(struct work *work)
{
    dbk_progress_clear(&work->progress);
    dbk_split_free(work->split);
    dbk_book_free(work->book);
    dbk_arena_release(&work->arena);
}

/* ---- Showing how it stands ---- */

static void put(struct dbk_buf *out, bool *first, const char *key, const char *text)
{
    dbk_json_write_key(out, first, key);
    if (text == NULL)
        dbk_buf_append_text(out, "null");
    else
        dbk_json_write_string(out, dbk_slice_of(text));
}

static void put_number(struct dbk_buf *out, bool *first, const char *key, int64_t number)
{
    dbk_json_write_key(out, first, key);
    dbk_json_write_integer(out, number);
}

static const char *next_of(const struct dbk_split_state *state)
{
    switch (state->step) {
    case DBK_SPLIT_NONE:
        return "--to DATABASE";
    case DBK_SPLIT_STARTING:
        return "go on with it, or --abort";
    case DBK_SPLIT_READY:
        return "--switch, or --abort";
    case DBK_SPLIT_SWITCHING:
    case DBK_SPLIT_TURNING:
        return state->target == DBK_SPLIT_NEW ? "--switch goes on with it"
                                              : "--back goes on with it";
    case DBK_SPLIT_MOVED:
        return "--confirm, or --back";
    case DBK_SPLIT_CONFIRMING:
        return "--confirm goes on with it";
    case DBK_SPLIT_ABORTING:
        return "--abort goes on with it";
    }
    return "";
}

static const char *writes_of(const struct dbk_split_state *state)
{
    if (state->step == DBK_SPLIT_SWITCHING)
        return "one side, or none until it goes on";
    return state->step == DBK_SPLIT_MOVED || state->step == DBK_SPLIT_CONFIRMING ||
                   (state->step == DBK_SPLIT_TURNING && state->target == DBK_SPLIT_NEW)
               ? "new"
               : "old";
}

static void put_place(struct dbk_buf *out, bool *first, const char *key,
                      const struct dbk_split_place *place)
{
    const char *name = place->address == NULL       ? NULL
                       : place->database[0] == '\0' ? place->address
                                                    : place->database;
    put(out, first, key, name);
}

static void put_slots(struct dbk_buf *out, bool *first, const struct dbk_split_slots *slots)
{
    dbk_json_write_key(out, first, "slots");
    dbk_buf_append_char(out, '[');
    for (size_t i = 0; i < slots->count; i++) {
        const struct dbk_split_slot *slot = &slots->items[i];
        bool none = true;
        dbk_buf_append_text(out, i > 0 ? ",{" : "{");
        put(out, &none, "slot", slot->name);
        put(out, &none, "of", slot->from == DBK_SPLIT_OLD ? "old" : "new");
        dbk_json_write_key(out, &none, "active");
        dbk_buf_append_text(out, slot->active ? "true" : "false");
        put(out, &none, "wal_status", slot->wal_status);
        put_number(out, &none, "behind_bytes", slot->behind_size);
        put_number(out, &none, "kept_bytes", slot->kept_size);
        dbk_buf_append_char(out, '}');
    }
    dbk_buf_append_char(out, ']');
}

static int show(struct work *work, const struct dbk_split_slots *slots, struct dbk_error *err)
{
    const struct dbk_split_state *state = dbk_split_state(work->split);
    struct dbk_buf text;
    char when[DBK_TIME_TEXT_SIZE];
    bool first = true;
    dbk_buf_init(&text, TEXT_SIZE_MAX);
    dbk_buf_append_char(&text, '{');
    put(&text, &first, "service", work->service->own->name);
    put(&text, &first, "step", dbk_split_step_text(state->step));
    put_place(&text, &first, "old", &state->places[DBK_SPLIT_OLD]);
    put_place(&text, &first, "new", &state->places[DBK_SPLIT_NEW]);
    if (state->step != DBK_SPLIT_NONE)
        put(&text, &first, "written", writes_of(state));
    dbk_json_write_key(&text, &first, "tables");
    dbk_buf_append_char(&text, '[');
    for (size_t i = 0; i < state->table_count; i++) {
        dbk_buf_append_text(&text, i > 0 ? "," : "");
        dbk_json_write_string(&text, dbk_slice_of(state->tables[i]));
    }
    dbk_buf_append_char(&text, ']');
    if (state->verified_us > 0) {
        (void)dbk_time_format(state->verified_us, when);
        put(&text, &first, "verified", when);
        put_number(&text, &first, "rows_equal", state->rows);
        put_number(&text, &first, "verify_pause_us", state->verify_pause_us);
    }
    if (state->pause_us > 0)
        put_number(&text, &first, "switch_pause_us", state->pause_us);
    if (slots != NULL)
        put_slots(&text, &first, slots);
    put(&text, &first, "next", next_of(state));
    dbk_buf_append_char(&text, '}');
    dbk_progress_clear(&work->progress);
    int rc = dbk_data_object(work->arguments, &text, err);
    dbk_buf_release(&text);
    return rc;
}

/* ---- Starting ---- */

/* An address as the state keeps it: found from any folder. */
static int absolute(struct work *work, const char *address, const char **address_out,
                    struct dbk_error *err)
{
    static const char file[] = "postgres:file:";
    char path[DBK_PLACE_SIZE_MAX];
    *address_out = address;
    if (strncmp(address, file, sizeof(file) - 1) != 0)
        return DBK_OK;
    int rc = dbk_place_absolute(address + sizeof(file) - 1, path, err);
    if (rc < 0)
        return rc;
    *address_out = dbk_arena_format(&work->arena, "%s%s", file, path);
    return *address_out == NULL ? no_memory(err) : DBK_OK;
}

/* A name of book.yaml, or an address of its own. */
static int find_place(struct work *work, const char *text, struct dbk_split_place *place_out,
                      struct dbk_error *err)
{
    const struct dbk_book_database *database = dbk_book_database(work->book, text);
    const char *address = database == NULL ? text : database->path;
    place_out->database = database == NULL ? "" : database->name;
    if (database == NULL && strncmp(text, "postgres:file:", 14) != 0 &&
        strncmp(text, "postgres:env:", 13) != 0)
        return dbk_error_set(err, DBK_EINVAL,
                             "--to %s: expected a name of book.yaml's databases, or "
                             "postgres:file:PATH or postgres:env:NAME with a connection string",
                             text);
    if (dbk_target_dialect(address) != DBK_DIALECT_POSTGRES)
        return dbk_error_set(err, DBK_EINVAL,
                             "--to %s: tables of a PostgreSQL database move to one", text);
    int rc = absolute(work, address, &place_out->address, err);
    place_out->reach = place_out->address;
    return rc;
}

static int take_reach(struct work *work, const char *option, struct dbk_split_place *place,
                      struct dbk_error *err)
{
    const char *text = dbk_arguments_text(work->arguments, option);
    struct dbk_split_place reached;
    if (text == NULL)
        return DBK_OK;
    int rc = find_place(work, text, &reached, err);
    if (rc == DBK_OK)
        place->reach = reached.address;
    return rc;
}

static int check_shared(const struct work *work, struct dbk_error *err)
{
    const struct dbk_capture_service *own = work->service->own;
    if (dbk_target_dialect(own->address) != DBK_DIALECT_POSTGRES)
        return dbk_error_set(err, DBK_EREFUSED,
                             "%s is no PostgreSQL database: tables are split out of PostgreSQL",
                             own->database);
    if (own->table_count == 0 && own->outbox.table == NULL)
        return dbk_error_set(err, DBK_EREFUSED,
                             "%s names no tables: which are to leave? `tables: {orders: }`",
                             own->file);
    return DBK_OK;
}

/* What the book says that the databases do not know. */
static int add_of_book(struct work *work, struct dbk_split_plan *plan, struct dbk_error *err)
{
    const struct dbk_capture_service *own = work->service->own;
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < own->table_count; i++) {
        if (own->tables[i].kind != DBK_CAPTURE_NONE)
            rc = dbk_split_finding_add(plan, "captured", own->tables[i].name,
                                       "its capture begins with a snapshot in the new database",
                                       err);
    }
    return rc;
}

static int show_plan(struct work *work, const struct dbk_split_plan *plan, struct dbk_error *err)
{
    static const char *const columns[] = {"what", "thing", "becomes", NULL};
    struct dbk_schema_rows rows;
    int rc = dbk_schema_rows_open(work->arguments, columns, &rows, err);
    for (size_t i = 0; rc == DBK_OK && i < plan->count; i++) {
        bool first = true;
        dbk_buf_append_char(&rows.row, '{');
        put(&rows.row, &first, "what", plan->items[i].kind);
        put(&rows.row, &first, "thing", plan->items[i].thing);
        put(&rows.row, &first, "becomes", plan->items[i].becomes);
        dbk_buf_append_char(&rows.row, '}');
        rc = dbk_schema_rows_put(&rows, err);
    }
    if (rc == DBK_OK)
        rc = dbk_schema_rows_end(&rows, err);
    dbk_schema_rows_close(&rows);
    return rc;
}

/* Yes as --yes, or as somebody says at a terminal. */
static int ask(const struct work *work, const char *what, struct dbk_error *err)
{
    char line[16] = "";
    if (dbk_arguments_has(work->arguments, "yes"))
        return DBK_OK;
    if (isatty(STDIN_FILENO) == 0)
        return dbk_error_set(err, DBK_EREFUSED, "nothing was changed: --yes does it");
    (void)fprintf(stderr, "%s (yes/no) ", what);
    if (fgets(line, sizeof(line), stdin) != NULL && strcmp(line, "yes\n") == 0)
        return DBK_OK;
    return dbk_error_set(err, DBK_EREFUSED, "nothing was changed");
}

static const char *const *tables_of(struct work *work, size_t *count_out)
{
    const struct dbk_capture_service *own = work->service->own;
    const char **names = dbk_arena_alloc_zero(&work->arena, own->table_count + 2, sizeof(*names));
    *count_out = 0;
    for (size_t i = 0; names != NULL && i < own->table_count; i++)
        names[(*count_out)++] = own->tables[i].name;
    if (names != NULL && own->outbox.table != NULL)
        names[(*count_out)++] = own->outbox.table;
    return names;
}

/* Plans, shows and asks. */
static int plan_it(struct work *work, const char *to, struct dbk_error *err)
{
    struct dbk_split_place places[2] = {{0}};
    struct dbk_split_plan plan = {.arena = &work->arena};
    size_t count = 0;
    int rc = check_shared(work, err);
    if (rc == DBK_OK)
        rc = find_place(work, work->service->own->database, &places[DBK_SPLIT_OLD], err);
    if (rc == DBK_OK)
        rc = find_place(work, to, &places[DBK_SPLIT_NEW], err);
    if (rc == DBK_OK)
        rc = take_reach(work, "reach-old", &places[DBK_SPLIT_OLD], err);
    if (rc == DBK_OK)
        rc = take_reach(work, "reach-new", &places[DBK_SPLIT_NEW], err);
    const char *const *tables = tables_of(work, &count);
    if (rc == DBK_OK && tables == NULL)
        rc = no_memory(err);
    if (rc == DBK_OK)
        rc = dbk_split_look(work->split, places, tables, count, &plan, err);
    if (rc == DBK_OK)
        rc = add_of_book(work, &plan, err);
    if (rc == DBK_OK)
        rc = show_plan(work, &plan, err);
    if (rc == DBK_OK && plan.refused > 0)
        return dbk_error_set(err, DBK_EREFUSED, "%zu things have to be mended first (`refused`)",
                             plan.refused);
    return rc < 0 ? rc : ask(work, "Copy these tables, and let the new database follow?", err);
}

static int start(struct work *work, struct dbk_error *err)
{
    const struct dbk_split_state *state = dbk_split_state(work->split);
    const char *to = dbk_arguments_text(work->arguments, "to");
    if (state->step == DBK_SPLIT_NONE && to == NULL)
        return dbk_error_set(err, DBK_EINVAL, "there is no split of %s: --to DATABASE begins one",
                             work->service->own->name);
    if (state->step != DBK_SPLIT_NONE && to != NULL && strcmp(to, state->places[1].database) != 0 &&
        strcmp(to, state->places[1].address) != 0)
        return dbk_error_set(err, DBK_EEXISTS,
                             "%s is being split to another database: --status, or --abort",
                             work->service->own->name);
    int rc = state->step == DBK_SPLIT_NONE ? plan_it(work, to, err) : DBK_OK;
    if (rc == DBK_OK)
        rc = dbk_split_start(work->split, err);
    /* The plan was the answer already; how it stands is said in words. */
    if (rc == DBK_OK && to == NULL)
        return show(work, NULL, err);
    if (rc == DBK_OK)
        (void)fprintf(stderr,
                      "%s: %lld rows are equal on both sides, and the new one follows: "
                      "`daybook service split %s --switch` lets it serve\n",
                      work->service->own->name, (long long)state->rows, work->service->own->name);
    return rc;
}

/* ---- Switching ---- */

/* Also what may be done there, before it is what is written. On the way back it hinders nothing. */
static int prepare(struct work *work, enum dbk_split_side target,
                   const struct dbk_service_move *move, struct dbk_error *err)
{
    const struct dbk_split_state *state = dbk_split_state(work->split);
    struct dbk_error failure = {0};
    struct dbk_book *book = NULL;
    int rc = dbk_service_move_try(move, &book, err);
    if (rc < 0)
        return rc;
    if (book == NULL) {
        (void)fprintf(stderr,
                      "%s is not changed here: `daybook service apply %s` grants what the service "
                      "may, once it says where it is\n",
                      move->file, move->service);
        return DBK_OK;
    }
    rc = dbk_service_grants_apply(book, move->service, state->places[!target].address, &failure);
    dbk_book_free(book);
    if (rc == DBK_OK)
        return rc;
    if (target == DBK_SPLIT_OLD) {
        warn(work, failure.message);
        return DBK_OK;
    }
    return dbk_error_set(err, rc,
                         "what the service may do in the new database: %s; the old side "
                         "serves on",
                         failure.message);
}

/* Whose the service's role is, where both databases are one server's: who serves'. */
static void settle(struct work *work)
{
    const struct dbk_split_state *state = dbk_split_state(work->split);
    struct dbk_error failure = {0};
    enum dbk_split_side side = state->step == DBK_SPLIT_MOVED ? DBK_SPLIT_NEW : DBK_SPLIT_OLD;
    if ((state->step == DBK_SPLIT_MOVED || state->step == DBK_SPLIT_READY) &&
        dbk_service_grants_mark(work->book->name, work->service, state->places[!side].address,
                                state->places[side].address, &failure) < 0)
        warn(work, failure.message);
}

static int turn(struct work *work, enum dbk_split_side target, struct dbk_error *err)
{
    const struct dbk_split_state *state = dbk_split_state(work->split);
    struct dbk_service_move move = {.place = &work->place,
                                    .file = work->service->own->file,
                                    .service = work->service->own->name,
                                    .database = NULL};
    if (state->step != DBK_SPLIT_NONE)
        move.database = state->places[target].database;
    int rc = DBK_OK;
    /* Before anybody is paused. */
    if (state->step == (target == DBK_SPLIT_NEW ? DBK_SPLIT_READY : DBK_SPLIT_MOVED))
        rc = prepare(work, target, &move, err);
    if (rc == DBK_OK)
        rc = dbk_split_turn(work->split, target, err);
    settle(work);
    /* A switch that was given up leaves the other side serving. */
    if (rc == DBK_OK && state->target == target) {
        rc = dbk_service_move_write(&move, state->places[target].address, err);
        if (rc == DBK_OK && move.database[0] != '\0')
            rc = dbk_service_grants_login(work->service, state->places[target].address, err);
    }
    return rc < 0 ? rc : show(work, NULL, err);
}

static int confirm(struct work *work, struct dbk_error *err)
{
    const struct dbk_split_state *state = dbk_split_state(work->split);
    int rc = DBK_OK;
    if (state->step == DBK_SPLIT_MOVED) {
        for (size_t i = 0; i < state->table_count; i++)
            (void)fprintf(stderr, "dropped from the old database: %s\n", state->tables[i]);
        rc = ask(work, "Drop these, and end the way back?", err);
    }
    if (rc == DBK_OK)
        rc = dbk_split_confirm(work->split, err);
    return rc < 0 ? rc : show(work, NULL, err);
}

/* What is lost there, or soon will be, is an error once all is shown. */
static int say_status(struct work *work, struct dbk_error *err)
{
    struct dbk_split_slots slots;
    struct dbk_error fault;
    int rc = dbk_split_look_at_slots(work->split, &slots, &fault, err);
    if (rc == DBK_OK)
        rc = show(work, &slots, err);
    return rc < 0 || fault.code == DBK_OK ? rc
                                          : dbk_error_set(err, fault.code, "%s", fault.message);
}

/* ---- The command ---- */

static const char *const ways[] = {"switch", "back", "confirm", "abort", "status", "to"};

static int run(struct work *work, struct dbk_error *err)
{
    const struct dbk_arguments *arguments = work->arguments;
    if (dbk_arguments_has(arguments, "status"))
        return say_status(work, err);
    if (dbk_arguments_has(arguments, "switch"))
        return turn(work, DBK_SPLIT_NEW, err);
    if (dbk_arguments_has(arguments, "back"))
        return turn(work, DBK_SPLIT_OLD, err);
    if (dbk_arguments_has(arguments, "confirm"))
        return confirm(work, err);
    if (!dbk_arguments_has(arguments, "abort"))
        return start(work, err);
    int rc = dbk_split_abort(work->split, err);
    return rc < 0 ? rc : show(work, NULL, err);
}

int dbk_run_service_split(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct work work = {0};
    size_t given = 0;
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
        given += dbk_arguments_has(arguments, ways[i]) ? 1 : 0;
    if (given > 1)
        return dbk_fail_usage(arguments, "one of --to, --switch, --back, --confirm, --abort and "
                                         "--status at a time");
    int rc = begin(&work, arguments, &err);
    if (rc == DBK_OK)
        rc = run(&work, &err);
    end(&work);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}

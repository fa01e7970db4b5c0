/* SPDX-License-Identifier: Apache-2.0 */
#include "model/aside.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"

void dbk_letters_init(struct dbk_letters *letters, struct dbk_store *store, const char *model)
{
    *letters = (struct dbk_letters){.store = store, .model = model};
    (void)pthread_mutex_init(&letters->lock, NULL);
}

void dbk_letters_release(struct dbk_letters *letters)
{
    if (letters->model == NULL)
        return;
    for (size_t i = 0; i < letters->count; i++)
        dbk_free(letters->places[i].reason);
    dbk_free(letters->places);
    (void)pthread_mutex_destroy(&letters->lock);
    *letters = (struct dbk_letters){0};
}

/* ---- Places ---- */

size_t dbk_letters_place(const struct dbk_letters *letters, uint64_t position)
{
    size_t low = 0;
    size_t high = letters->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (letters->places[middle].position < position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct dbk_letter_place *dbk_letters_find(const struct dbk_letters *letters, uint64_t position)
{
    size_t at = dbk_letters_place(letters, position);
    return at < letters->count && letters->places[at].position == position ? &letters->places[at]
                                                                           : NULL;
}

int dbk_letters_put(struct dbk_letters *letters, const struct dbk_letter_place *place,
                    struct dbk_error *err)
{
    if (letters->count == letters->capacity) {
        size_t capacity = letters->capacity == 0 ? 16 : letters->capacity * 2;
        struct dbk_letter_place *places =
            dbk_realloc(letters->places, capacity * sizeof(*letters->places));
        if (places == NULL)
            return dbk_error_set(err, DBK_ENOMEM, "out of memory setting events aside");
        letters->places = places;
        letters->capacity = capacity;
    }
    size_t at = dbk_letters_place(letters, place->position);
    dbk_assert(at == letters->count || letters->places[at].position != place->position);
    memmove(letters->places + at + 1, letters->places + at,
            (letters->count - at) * sizeof(*letters->places));
    letters->places[at] = *place;
    letters->count++;
    return DBK_OK;
}

void dbk_letters_take(struct dbk_letters *letters, uint64_t position)
{
    size_t at = dbk_letters_place(letters, position);
    if (at == letters->count || letters->places[at].position != position)
        return;
    dbk_free(letters->places[at].reason);
    letters->count--;
    memmove(letters->places + at, letters->places + at + 1,
            (letters->count - at) * sizeof(*letters->places));
}

bool dbk_letters_has(struct dbk_letters *letters, uint64_t position)
{
    (void)pthread_mutex_lock(&letters->lock);
    bool has = letters->count > 0 && dbk_letters_find(letters, position) != NULL;
    (void)pthread_mutex_unlock(&letters->lock);
    return has;
}

bool dbk_letters_any(struct dbk_letters *letters)
{
    (void)pthread_mutex_lock(&letters->lock);
    bool any = letters->count > 0;
    (void)pthread_mutex_unlock(&letters->lock);
    return any;
}

bool dbk_letters_owes(struct dbk_letters *letters)
{
    bool owes = false;
    (void)pthread_mutex_lock(&letters->lock);
    for (size_t i = 0; i < letters->count && !owes; i++)
        owes = letters->places[i].state == DBK_LETTER_OWED;
    (void)pthread_mutex_unlock(&letters->lock);
    return owes;
}

static uint64_t count_waiting(const struct dbk_letters *letters)
{
    uint64_t waiting = 0;
    for (size_t i = 0; i < letters->count; i++)
        waiting += letters->places[i].state != DBK_LETTER_DROPPED;
    return waiting;
}

uint64_t dbk_letters_waiting(struct dbk_letters *letters)
{
    (void)pthread_mutex_lock(&letters->lock);
    uint64_t waiting = count_waiting(letters);
    (void)pthread_mutex_unlock(&letters->lock);
    return waiting;
}

uint64_t dbk_letters_kept(struct dbk_letters *letters)
{
    (void)pthread_mutex_lock(&letters->lock);
    uint64_t kept = letters->kept;
    (void)pthread_mutex_unlock(&letters->lock);
    return kept;
}

/* ---- Setting aside ---- */

bool dbk_letters_is_own(int rc)
{
    return rc == DBK_EREFUSED || rc == DBK_ESCRIPT;
}

void dbk_letters_reason(const struct dbk_letters *letters, const struct dbk_event *event,
                        const char *where, const struct dbk_error *why,
                        char reason_out[DBK_LETTERS_REASON_SIZE])
{
    char prefix[128];
    const char *words = why->message;
    int size = snprintf(prefix, sizeof(prefix), "model %s: ", letters->model);
    if (size > 0 && strncmp(words, prefix, (size_t)size) == 0)
        words += size;
    if (!letters->quiet && event->sealed.size == 0)
        (void)snprintf(reason_out, DBK_LETTERS_REASON_SIZE, "%.*s", DBK_LETTERS_REASON_SIZE - 1,
                       words);
    else
        (void)snprintf(reason_out, DBK_LETTERS_REASON_SIZE,
                       "%.200s%s%s; the database's own words may tell what is personal, and are "
                       "not kept: a retry says them",
                       where, where[0] == 0 ? "" : ": ",
                       why->code == DBK_EREFUSED ? "a constraint refused it"
                                                 : "its handler failed");
}

static int check_room(struct dbk_letters *letters, const struct dbk_error *why,
                      struct dbk_error *err)
{
    if (dbk_letters_waiting(letters) < DBK_LETTERS_MAX)
        return DBK_OK;
    return dbk_error_set(err, DBK_ELIMIT,
                         "model %s has %d letters, and no more are kept: retry or drop some; the "
                         "next is %s",
                         letters->model, DBK_LETTERS_MAX, why->message);
}

/* With the target's next commit. */
static int keep_in_target(struct dbk_letters *letters, const struct dbk_letter_note *note,
                          struct dbk_error *err)
{
    struct dbk_letter_place place = {.position = note->position,
                                     .tries = note->tries,
                                     .state = DBK_LETTER_PENDING,
                                     .reason = dbk_copy_text(dbk_slice_of(note->reason))};
    if (place.reason == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory setting events aside");
    (void)pthread_mutex_lock(&letters->lock);
    int rc = dbk_letters_put(letters, &place, err);
    (void)pthread_mutex_unlock(&letters->lock);
    if (rc < 0)
        dbk_free(place.reason);
    return rc;
}

int dbk_letters_keep(struct dbk_letters *letters, const struct dbk_event *event, const char *where,
                     const struct dbk_error *why, struct dbk_error *err)
{
    struct dbk_letter_note note = {.position = event->position, .tries = 1};
    dbk_assert(!dbk_letters_has(letters, event->position));
    int rc = check_room(letters, why, err);
    if (rc < 0)
        return rc;
    dbk_letters_reason(letters, event, where, why, note.reason);
    rc = letters->in_target
             ? keep_in_target(letters, &note, err)
             : dbk_letters_store(letters, &note, 1, DBK_LETTER_WORD_RETRIED, NULL, 0, err);
    (void)pthread_mutex_lock(&letters->lock);
    letters->kept += rc == DBK_OK;
    (void)pthread_mutex_unlock(&letters->lock);
    return rc;
}

/* ---- What the target knows of letters ---- */

static struct dbk_value text_value(const char *text)
{
    return (struct dbk_value){.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(text)};
}

static struct dbk_value number_value(uint64_t number)
{
    return (struct dbk_value){.kind = DBK_VALUE_INTEGER, .integer = (int64_t)number};
}

static bool has_catalog(const struct dbk_connection *connection)
{
    return !dbk_dialect_is_sql(dbk_connection_dialect(connection));
}

/* Runs a statement of the catalog about one letter. */
static int run_catalog(struct dbk_letters *letters, struct dbk_connection *connection,
                       enum dbk_catalog which, uint64_t position, struct dbk_error *err)
{
    const struct dbk_value values[] = {text_value(letters->model),
                                       number_value(letters->generation), number_value(position)};
    struct dbk_statement *statement = NULL;
    int rc = dbk_catalog_open(connection, which, &statement, err);
    for (int i = 0; rc == DBK_OK && i < 3; i++)
        dbk_statement_bind(statement, i + 1, &values[i]);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    dbk_statement_free(statement);
    return rc < 0 ? rc : DBK_OK;
}

static int write_one(struct dbk_letters *letters, struct dbk_statement *statement,
                     const struct dbk_letter_place *place, struct dbk_error *err)
{
    const struct dbk_value values[] = {text_value(letters->model),
                                       number_value(letters->generation),
                                       number_value(place->position), text_value(place->reason)};
    for (int i = 0; i < 4; i++)
        dbk_statement_bind(statement, i + 1, &values[i]);
    int rc = dbk_statement_step(statement, err);
    dbk_statement_reset(statement);
    return rc < 0 ? rc : DBK_OK;
}

int dbk_letters_write(struct dbk_letters *letters, struct dbk_connection *connection,
                      struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int rc = DBK_OK;
    (void)pthread_mutex_lock(&letters->lock);
    for (size_t i = 0; rc == DBK_OK && i < letters->count; i++) {
        if (letters->places[i].state != DBK_LETTER_PENDING)
            continue;
        if (statement == NULL)
            rc = dbk_statement_open(
                connection,
                DBK_SLICE_LITERAL("INSERT INTO _daybook_letters VALUES (?1, ?2, ?3, 0, ?4)"),
                &statement, NULL, err);
        if (rc == DBK_OK)
            rc = write_one(letters, statement, &letters->places[i], err);
    }
    (void)pthread_mutex_unlock(&letters->lock);
    dbk_statement_free(statement);
    return rc;
}

static void tell_owed(struct dbk_letters *letters)
{
    if (letters->owed != NULL)
        atomic_fetch_add(letters->owed, 1);
}

void dbk_letters_committed(struct dbk_letters *letters)
{
    (void)pthread_mutex_lock(&letters->lock);
    for (size_t i = 0; i < letters->count; i++) {
        if (letters->places[i].state != DBK_LETTER_PENDING)
            continue;
        letters->places[i].state = DBK_LETTER_OWED;
        tell_owed(letters);
    }
    (void)pthread_mutex_unlock(&letters->lock);
}

void dbk_letters_undo(struct dbk_letters *letters, uint64_t position)
{
    (void)pthread_mutex_lock(&letters->lock);
    for (size_t i = letters->count; i-- > 0;) {
        if (letters->places[i].state != DBK_LETTER_PENDING ||
            letters->places[i].position < position)
            continue;
        letters->kept--;
        dbk_letters_take(letters, letters->places[i].position);
    }
    (void)pthread_mutex_unlock(&letters->lock);
}

int dbk_letters_mark(struct dbk_letters *letters, struct dbk_connection *connection,
                     uint64_t position, struct dbk_error *err)
{
    if (has_catalog(connection))
        return run_catalog(letters, connection, DBK_CATALOG_SET_RETRIED, position, err);
    return dbk_generation_run(connection, err,
                              "INSERT INTO _daybook_letters VALUES ('%s', %ju, %ju, 1, '') ON "
                              "CONFLICT (model, generation, position) DO UPDATE SET retried = 1",
                              letters->model, (uintmax_t)letters->generation, (uintmax_t)position);
}

int dbk_letters_clear(struct dbk_letters *letters, struct dbk_connection *connection,
                      const uint64_t *positions, size_t count, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < count; i++)
        rc = has_catalog(connection)
                 ? run_catalog(letters, connection, DBK_CATALOG_CLEAR_RETRIED, positions[i], err)
                 : dbk_generation_run(connection, err,
                                      "DELETE FROM _daybook_letters WHERE model = '%s' AND "
                                      "generation = %ju AND position = %ju",
                                      letters->model, (uintmax_t)letters->generation,
                                      (uintmax_t)positions[i]);
    return rc;
}

int dbk_letters_clear_owed(struct dbk_letters *letters, struct dbk_connection *connection,
                           const uint64_t *positions, size_t count, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < count; i++)
        rc = dbk_generation_run(connection, err,
                                "DELETE FROM _daybook_letters WHERE model = '%s' AND "
                                "generation = %ju AND position = %ju AND retried = 0",
                                letters->model, (uintmax_t)letters->generation,
                                (uintmax_t)positions[i]);
    return rc;
}

/* Rows of a generation: position, and (SQL) whether it is a mark, and a reason. */
static int open_rows(struct dbk_letters *letters, struct dbk_connection *connection,
                     struct dbk_statement **statement_out, struct dbk_error *err)
{
    const struct dbk_value values[] = {text_value(letters->model),
                                       number_value(letters->generation)};
    int rc = has_catalog(connection)
                 ? dbk_catalog_open(connection, DBK_CATALOG_RETRIED, statement_out, err)
                 : dbk_statement_open(
                       connection,
                       DBK_SLICE_LITERAL("SELECT position, retried, reason FROM _daybook_letters "
                                         "WHERE model = ?1 AND generation = ?2 ORDER BY position"),
                       statement_out, NULL, err);
    for (int i = 0; rc == DBK_OK && i < 2; i++)
        dbk_statement_bind(*statement_out, i + 1, &values[i]);
    return rc;
}

struct rows {
    uint64_t *retried;
    size_t retried_count;
    uint64_t *told; /* owed rows of letters that are in the book */
    size_t told_count;
    size_t capacity;
};

static int grow(struct rows *rows, struct dbk_error *err)
{
    size_t count = rows->retried_count > rows->told_count ? rows->retried_count : rows->told_count;
    if (count < rows->capacity)
        return DBK_OK;
    size_t capacity = rows->capacity == 0 ? 16 : rows->capacity * 2;
    uint64_t *retried = dbk_realloc(rows->retried, capacity * sizeof(*retried));
    if (retried != NULL)
        rows->retried = retried;
    uint64_t *told = dbk_realloc(rows->told, capacity * sizeof(*told));
    if (told != NULL)
        rows->told = told;
    if (retried == NULL || told == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reading letters");
    rows->capacity = capacity;
    return DBK_OK;
}

static int take_row(struct dbk_letters *letters, struct dbk_statement *statement, bool graph,
                    struct rows *rows, struct dbk_error *err)
{
    uint64_t position = (uint64_t)dbk_statement_column(statement, 0).integer;
    int rc = grow(rows, err);
    if (rc < 0)
        return rc;
    if (graph || dbk_statement_column(statement, 1).integer == 1) {
        rows->retried[rows->retried_count++] = position;
        return DBK_OK;
    }
    if (dbk_letters_find(letters, position) != NULL) {
        rows->told[rows->told_count++] = position;
        return DBK_OK;
    }
    struct dbk_letter_place place = {.position = position,
                                     .tries = 1,
                                     .state = DBK_LETTER_OWED,
                                     .reason =
                                         dbk_copy_text(dbk_statement_column(statement, 2).bytes)};
    rc = place.reason == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory reading letters")
                              : dbk_letters_put(letters, &place, err);
    if (rc < 0)
        dbk_free(place.reason);
    tell_owed(letters);
    return rc;
}

static int read_rows(struct dbk_letters *letters, struct dbk_connection *connection,
                     struct rows *rows, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int rc = open_rows(letters, connection, &statement, err);
    (void)pthread_mutex_lock(&letters->lock);
    while (rc == DBK_OK && (rc = dbk_statement_step(statement, err)) == 1)
        rc = take_row(letters, statement, has_catalog(connection), rows, err);
    (void)pthread_mutex_unlock(&letters->lock);
    dbk_statement_free(statement);
    return rc;
}

int dbk_letters_settle(struct dbk_letters *letters, struct dbk_connection *connection,
                       struct dbk_error *err)
{
    struct rows rows = {0};
    int rc = read_rows(letters, connection, &rows, err);
    if (rc == DBK_OK && letters->append != NULL && rows.retried_count > 0)
        rc = dbk_letters_store(letters, NULL, 0, DBK_LETTER_WORD_RETRIED, rows.retried,
                               rows.retried_count, err);
    if (rc == DBK_OK && letters->append != NULL)
        rc = dbk_letters_clear(letters, connection, rows.retried, rows.retried_count, err);
    if (rc == DBK_OK && letters->append != NULL)
        rc = dbk_letters_clear(letters, connection, rows.told, rows.told_count, err);
    dbk_free(rows.retried);
    dbk_free(rows.told);
    return rc;
}

/* Of a graph, whose catalog lists its marks. */
static int find_mark(struct dbk_letters *letters, struct dbk_connection *connection,
                     uint64_t position, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    bool marked = false;
    int rc = open_rows(letters, connection, &statement, err);
    while (rc == DBK_OK && (rc = dbk_statement_step(statement, err)) == 1) {
        marked = marked || (uint64_t)dbk_statement_column(statement, 0).integer == position;
        rc = DBK_OK;
    }
    dbk_statement_free(statement);
    return rc < 0 ? rc : marked;
}

int dbk_letters_marked(struct dbk_letters *letters, struct dbk_connection *connection,
                       uint64_t position, struct dbk_error *err)
{
    const struct dbk_value values[] = {text_value(letters->model),
                                       number_value(letters->generation), number_value(position)};
    struct dbk_statement *statement = NULL;
    if (has_catalog(connection))
        return find_mark(letters, connection, position, err);
    int rc = dbk_statement_open(connection,
                                DBK_SLICE_LITERAL("SELECT retried FROM _daybook_letters WHERE "
                                                  "model = ?1 AND generation = ?2 AND "
                                                  "position = ?3"),
                                &statement, NULL, err);
    for (int i = 0; rc == DBK_OK && i < 3; i++)
        dbk_statement_bind(statement, i + 1, &values[i]);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    if (rc == 1)
        rc = dbk_statement_column(statement, 0).integer == 1;
    dbk_statement_free(statement);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * advise: the five questions. Without --ask the server answers them from what it has seen.
 *
 * Each answer is an option, or is read from standard input. What comes of them is one row a
 * question: the pattern or that there should be none, because of what, its price, and what it would
 * be in the book.
 */
#include <stdlib.h>
#include <string.h>

#include "base/diagnostics.h"
#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"
#include "cli/schema_rows.h"

/* Fewer reads a write than this are no reason for a second model. */
#define RATIO_MIN 10
#define LINE_SIZE 256

enum answer { INDEPENDENT, ACID, AUDIT, RATIO, COMPLEX, SCALE, EXPENSIVE, STALE, ANSWERS };

static const struct {
    const char *option;
    const char *text;
    bool number;
} questions[ANSWERS] = {
    [INDEPENDENT] = {"independent", "Are the services to change and be released independently?",
                     false},
    [ACID] = {"acid", "Must one transaction hold over what belongs to several services?", false},
    [AUDIT] = {"audit", "Is a full audit trail needed, or the state as it was at any time?", false},
    [RATIO] = {"ratio", "How many reads are there to a write?", true},
    [COMPLEX] = {"complex", "Are there queries that what is written cannot answer well?", false},
    [SCALE] = {"scale", "Have reads to grow apart from writes, on machines of their own?", false},
    [EXPENSIVE] = {"expensive", "Are there queries too expensive to compute each time?", false},
    [STALE] = {"stale", "May their answers be as old as the last refresh?", false},
};

struct advice {
    const char *question;
    bool yes;
    const char *pattern;
    const char *because;
    const char *price;
    const char *book;
};

/* ---- Answers ---- */

static bool read_yes(const char *text, uint64_t *value_out)
{
    bool yes = strcmp(text, "yes") == 0 || strcmp(text, "y") == 0;
    *value_out = yes;
    return yes || strcmp(text, "no") == 0 || strcmp(text, "n") == 0;
}

static bool read_number(const char *text, uint64_t *value_out)
{
    char *end = NULL;
    size_t digits = strspn(text, "0123456789");
    *value_out = strtoull(text, &end, 10);
    return digits > 0 && digits <= 9 && *end == '\0';
}

/* Asks on standard error, and again until it is an answer; false: input has ended. */
static bool ask(size_t index, uint64_t *value_out)
{
    char line[LINE_SIZE];
    bool number = questions[index].number;
    for (;;) {
        (void)fprintf(stderr, "%s (%s) ", questions[index].text, number ? "a number" : "yes/no");
        if (fgets(line, sizeof(line), stdin) == NULL)
            return false;
        line[strcspn(line, "\r\n")] = '\0';
        if (number ? read_number(line, value_out) : read_yes(line, value_out))
            return true;
        (void)fprintf(stderr, "\"%s\" is no answer to that.\n", line);
    }
}

/* How old the answers of queries may be matters only where there are expensive ones. */
static bool is_asked(size_t index, const uint64_t values[ANSWERS])
{
    return index != STALE || values[EXPENSIVE] != 0;
}

static int take_answers(const struct dbk_arguments *arguments, uint64_t values[ANSWERS])
{
    for (size_t i = 0; i < ANSWERS; i++) {
        const char *option = questions[i].option;
        const char *text = dbk_arguments_text(arguments, option);
        if (questions[i].number && text != NULL)
            values[i] = dbk_arguments_number(arguments, option, 0);
        else if (text != NULL)
            (void)read_yes(text, &values[i]);
        else if (is_asked(i, values) && !ask(i, &values[i]))
            return dbk_fail_usage(arguments, "no answer to \"%s\": give it as --%s %s",
                                  questions[i].text, option, questions[i].number ? "N" : "yes|no");
    }
    return DBK_EXIT_OK;
}

/* ---- Advice ---- */

static struct advice on_services(bool independent, bool acid)
{
    struct advice advice = {.question = "independent services?", .yes = independent};
    if (!independent) {
        advice.pattern = "none";
        advice.because = "what is changed together need not be kept apart";
        advice.price = "a database per service would cost transactions and joins between them";
        advice.book = "one service, or none declared";
        return advice;
    }
    advice.pattern = "database per service";
    advice.because = acid ? "those that need no transaction with another can change alone"
                          : "each can change its tables and its kind of database alone";
    advice.price =
        "no transaction over services; what others see is late; reports are put together";
    advice.book = "services/<name>.yaml: a database of its own; others read by events: {read: […]}";
    return advice;
}

static struct advice on_acid(bool independent, bool acid)
{
    struct advice advice = {.question = "ACID across services?", .yes = acid};
    if (!acid) {
        advice.pattern = "none";
        advice.because = "no transaction has to hold over several";
        advice.price = "a shared database would couple them, and all would wait for its locks";
        advice.book = "nothing";
        return advice;
    }
    advice.pattern = "one program; else shared database";
    advice.because = independent ? "it contradicts their independence: what has one transaction is "
                                   "released together"
                                 : "what has one transaction is one thing, and one program is "
                                   "simpler than several over one database";
    advice.price = "coupling; one bottleneck; a change of the schema meets every reader";
    advice.book = "the same database in both services: tables with public, reads with a version";
    return advice;
}

static struct advice on_audit(bool audit)
{
    struct advice advice = {.question = "full audit trail?", .yes = audit};
    advice.pattern = audit ? "event sourcing" : "none";
    advice.because = audit ? "how the state came about is kept, and can be replayed and proved"
                           : "the current state is enough";
    advice.price = audit ? "a log that only grows; old events' schemas; forgetting by keys"
                         : "event sourcing would cost a growing log and versions of its events";
    advice.book = audit ? "events/, folds/ and commands/ of the category" : "nothing";
    return advice;
}

static struct advice on_reads(const uint64_t values[ANSWERS])
{
    bool ratio = values[RATIO] >= RATIO_MIN;
    struct advice advice = {.question = "different read and write patterns?"};
    advice.yes = ratio || values[COMPLEX] != 0 || values[SCALE] != 0;
    advice.because = ratio                  ? "ten and more reads are served by a write's work"
                     : values[COMPLEX] != 0 ? "queries do not fit what is written"
                     : values[SCALE] != 0   ? "reads have to grow apart from writes"
                                            : "fewer than 10 reads a write, no complex queries, no "
                                              "separate scaling";
    advice.pattern = advice.yes ? "CQRS" : "don't";
    advice.price = advice.yes ? "two models, their synchronisation, and reads that are late"
                              : "CQRS would cost two models, their synchronisation, and reads that "
                                "are late";
    advice.book = advice.yes ? "models/<name>/ with sync: events (or transaction, where reads must "
                               "not be late)"
                             : "nothing";
    return advice;
}

static struct advice on_queries(bool expensive, bool stale)
{
    struct advice advice = {.question = "expensive queries?", .yes = expensive};
    if (!expensive) {
        advice.pattern = "none";
        advice.because = "computing them each time is cheap, and always of now";
        advice.price = "a view would cost its space, and answers as old as its refresh";
        advice.book = "queries/<Name>.sql";
        return advice;
    }
    advice.pattern = "materialized view";
    advice.because = stale ? "they are computed once for many reads"
                           : "only one that is refreshed by each change is new enough";
    advice.price = stale ? "as old as its last refresh; its space; the refresh's work"
                         : "work with each change; what cannot be incremental is computed whole";
    advice.book = stale ? "views/<name>.sql with -- refresh: every day at 02:00"
                        : "views/<name>.sql with -- refresh: continuous and -- mode: incremental";
    return advice;
}

static void put_text(struct dbk_buf *row, bool *first, const char *key, const char *text)
{
    dbk_json_write_key(row, first, key);
    dbk_json_write_string(row, dbk_slice_of(text));
}

static int show(const struct dbk_arguments *arguments, const struct advice *advices, size_t count,
                struct dbk_error *err)
{
    struct dbk_schema_rows rows;
    int rc = dbk_schema_rows_open(arguments, NULL, &rows, err);
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        bool first = true;
        dbk_buf_append_char(&rows.row, '{');
        put_text(&rows.row, &first, "question", advices[i].question);
        dbk_json_write_key(&rows.row, &first, "yes");
        dbk_buf_append_text(&rows.row, advices[i].yes ? "true" : "false");
        put_text(&rows.row, &first, "pattern", advices[i].pattern);
        put_text(&rows.row, &first, "because", advices[i].because);
        put_text(&rows.row, &first, "price", advices[i].price);
        put_text(&rows.row, &first, "in_the_book", advices[i].book);
        dbk_buf_append_char(&rows.row, '}');
        rc = dbk_schema_rows_put(&rows, err);
    }
    if (rc == DBK_OK)
        rc = dbk_schema_rows_end(&rows, err);
    dbk_schema_rows_close(&rows);
    return rc;
}

/* By what the server of the book has seen. */
static int advise_by_data(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    for (size_t i = 0; i < ANSWERS; i++)
        if (dbk_arguments_has(arguments, questions[i].option))
            return dbk_fail_usage(arguments, "--%s is an answer: it goes with --ask",
                                  questions[i].option);
    dbk_call_init(&call, "GET", "/advice");
    return dbk_data_answer(arguments, &call,
                           &(struct dbk_data_show){.mode = DBK_ENGINE_READ, .rows = "advice"});
}

int dbk_run_advise(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    uint64_t values[ANSWERS] = {0};
    if (!dbk_arguments_has(arguments, "ask"))
        return advise_by_data(arguments);
    int status = take_answers(arguments, values);
    if (status != DBK_EXIT_OK)
        return status;
    const struct advice advices[] = {
        on_services(values[INDEPENDENT] != 0, values[ACID] != 0),
        on_acid(values[INDEPENDENT] != 0, values[ACID] != 0),
        on_audit(values[AUDIT] != 0),
        on_reads(values),
        on_queries(values[EXPENSIVE] != 0, values[STALE] != 0),
    };
    int rc = show(arguments, advices, sizeof(advices) / sizeof(advices[0]), &err);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}

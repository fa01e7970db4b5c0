/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

#include "access/access.h"
#include "cli/commands.h"
#include "cli/fail.h"
#include "cli/serving.h"
#include "cli/table.h"

static void print(const struct dbk_arguments *arguments, const struct dbk_serving *serving)
{
    const struct dbk_book *book = dbk_engine_book(serving->engine);
    struct dbk_store *store = dbk_engine_store(serving->engine);
    char options[DBK_SERVING_OPTIONS_SIZE];
    dbk_serving_options(arguments, NULL, options);
    if (dbk_output_of(arguments) != DBK_OUTPUT_TABLE) {
        (void)printf("{\"url\":\"%s\",\"position\":%ju}\n", serving->url,
                     (uintmax_t)dbk_store_last_position(store));
    } else {
        (void)printf("book     %s, %ju events in %s\n", book->name,
                     (uintmax_t)dbk_store_last_position(store), book->data);
        (void)printf("url      %s\n", serving->url);
        if (dbk_server_asks(serving->server))
            (void)printf("key      commands on this machine find theirs in %s/" DBK_ACCESS_FILE
                         "; `daybook access add%s` makes others\n",
                         book->data, options);
        (void)printf("try      daybook tail%s\n", options);
        (void)printf("         curl %s/healthz\n", serving->url);
        (void)printf("end      Ctrl-C\n");
    }
    (void)fflush(stdout);
}

/* Models whose files differ from what built their tables go on under their old definition. */
static void print_changed(const struct dbk_arguments *arguments, const struct dbk_serving *serving)
{
    struct dbk_models *models = dbk_engine_models(serving->engine);
    char options[DBK_SERVING_OPTIONS_SIZE];
    dbk_serving_options(arguments, NULL, options);
    for (size_t i = 0; i < dbk_models_count(models); i++) {
        struct dbk_model_status status;
        if (dbk_models_status(models, i, &status, NULL) == DBK_OK && status.changed)
            (void)fprintf(stderr,
                          "daybook: model %s has changed since its tables were built, and goes on "
                          "as it was until: daybook model rebuild %s%s\n",
                          status.name, status.name, options);
    }
}

/* Opened fields pass through memory, which is not to be written to a disk. */
static int forbid_cores(const struct dbk_serving *serving, struct dbk_error *err)
{
    if (dbk_engine_vault(serving->engine) == NULL ||
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}) == 0)
        return DBK_OK;
    return dbk_error_set_errno(err, errno, "forbid core dumps");
}

/* The certificate in use goes on where the new one is not good. */
static void reload(const struct dbk_serving *serving)
{
    struct dbk_error err = {0};
    int rc = dbk_server_reload(serving->server, &err);
    if (rc < 0)
        (void)fprintf(stderr, "daybook: the certificate stays as it was: %s\n", err.message);
    else
        (void)fprintf(stderr, "daybook: %s\n",
                      rc == 0 ? "the certificate's files are what they were"
                              : "connections are taken with the new certificate");
}

int dbk_run_serve(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_place place;
    struct dbk_serving serving = {0};
    int rc = dbk_place_find(arguments, &place, &err);
    if (rc == DBK_OK)
        rc = dbk_serving_open(&place, arguments, "daybook serve", &serving, &err);
    if (rc == DBK_OK)
        rc = forbid_cores(&serving, &err);
    if (rc < 0) {
        dbk_serving_release(&serving);
        return dbk_fail(arguments, &err);
    }
    print_changed(arguments, &serving);
    print(arguments, &serving);
    while (dbk_server_wait_for_signal() == SIGHUP && dbk_arguments_has(arguments, "tls-key"))
        reload(&serving);
    dbk_serving_release(&serving);
    return DBK_EXIT_OK;
}

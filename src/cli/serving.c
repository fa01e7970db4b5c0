/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/serving.h"

#include <stdio.h>
#include <string.h>

#include "cli/address.h"
#include "cli/fail.h"
#include "cli/progress.h"

static int open_engine(const struct dbk_place *place, const char *holder,
                       struct dbk_serving *serving, struct dbk_error *err)
{
    struct dbk_diagnostics faults;
    dbk_diagnostics_init(&faults);
    struct dbk_progress progress;
    dbk_progress_begin(&progress, "index", "events");
    int rc = dbk_engine_open(&(struct dbk_engine_options){.os = dbk_os_real(),
                                                          .folder = place->folder,
                                                          .data = place->data,
                                                          .environment = place->environment,
                                                          .holder = holder,
                                                          .mode = DBK_ENGINE_WRITE,
                                                          .schedule = true,
                                                          .step = dbk_progress_step,
                                                          .context = &progress},
                             &faults, &serving->engine, err);
    dbk_progress_clear(&progress);
    if (rc == DBK_EBOOK)
        rc = dbk_place_faults(place, faults.error_count, err);
    dbk_fail_diagnostics(stderr, &faults);
    dbk_diagnostics_release(&faults);
    return rc;
}

/* An option that not every command has that serves; NULL: it was not given. */
static const char *given_text(const struct dbk_arguments *arguments, const char *name)
{
    for (size_t i = arguments->given_count; i > 0; i--)
        if (strcmp(arguments->given[i - 1].option->name, name) == 0)
            return arguments->given[i - 1].value;
    return NULL;
}

int dbk_serving_open(const struct dbk_place *place, const struct dbk_arguments *arguments,
                     const char *holder, struct dbk_serving *serving_out, struct dbk_error *err)
{
    const char *listen = dbk_arguments_text(arguments, "listen");
    const char *certificate = given_text(arguments, "tls-certificate");
    const char *key = given_text(arguments, "tls-key");
    char host[64] = "127.0.0.1";
    uint16_t port = DBK_SERVER_PORT_DEFAULT;
    *serving_out = (struct dbk_serving){0};
    if ((certificate == NULL) != (key == NULL))
        return dbk_error_set(err, DBK_EINVAL,
                             "--tls-certificate and --tls-key are given together, each a file in "
                             "PEM");
    if (listen != NULL && !dbk_address_parse(listen, host, sizeof(host), &port))
        return dbk_error_set(err, DBK_EINVAL,
                             "--listen takes an address and a port, as 127.0.0.1:%d, not \"%s\"",
                             DBK_SERVER_PORT_DEFAULT, listen);
    dbk_server_block_signals();
    int rc = open_engine(place, holder, serving_out, err);
    if (rc == DBK_OK)
        rc = dbk_server_open(
            serving_out->engine,
            &(struct dbk_server_options){
                .host = host, .port = port, .tls_certificate = certificate, .tls_key = key},
            &serving_out->server, err);
    if (rc < 0) {
        dbk_serving_release(serving_out);
        return rc;
    }
    bool colons = strchr(host, ':') != NULL;
    (void)snprintf(serving_out->url, sizeof(serving_out->url), "http%s://%s%s%s:%u",
                   certificate == NULL ? "" : "s", colons ? "[" : "", host, colons ? "]" : "",
                   (unsigned)dbk_server_port(serving_out->server));
    return DBK_OK;
}

void dbk_serving_release(struct dbk_serving *serving)
{
    dbk_server_free(serving->server);
    dbk_engine_free(serving->engine);
    serving->server = NULL;
    serving->engine = NULL;
}

void dbk_serving_options(const struct dbk_arguments *arguments, const char *folder,
                         char text_out[DBK_SERVING_OPTIONS_SIZE])
{
    static const char *const names[] = {"book", "data", "env"};
    size_t used = 0;
    text_out[0] = '\0';
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *value = dbk_arguments_text(arguments, names[i]);
        if (value == NULL && i == 0)
            value = folder;
        if (value != NULL && used < DBK_SERVING_OPTIONS_SIZE)
            used += (size_t)snprintf(text_out + used, DBK_SERVING_OPTIONS_SIZE - used, " --%s %s",
                                     names[i], value);
    }
}

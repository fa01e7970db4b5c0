/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meter -- a fold in C: what a meter has counted, without a script.
 *
 *     cc meter.c $(pkg-config --cflags --libs daybook) -o meter
 *     ./meter BOOK DATA
 *
 * Appends a reading of each number from 1 to 25 where there is none yet, and prints the state at
 * some versions. Run again it begins with the snapshots that the first run kept.
 */
#include <daybook.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct meter {
    long readings;
    long total;
};

static void *create(void *context)
{
    (void)context;
    return calloc(1, sizeof(struct meter));
}

static void destroy(void *state, void *context)
{
    (void)context;
    free(state);
}

static int apply(void *state, const struct daybook_event *event, void *context)
{
    static const char type[] = "Counted";
    struct meter *meter = state;
    const char *text = NULL;
    size_t size = 0;
    char number[24];
    (void)context;
    if (event->type_size != strlen(type) || memcmp(event->type, type, strlen(type)) != 0)
        return 0;
    if (daybook_member(event, "n", &text, &size, NULL) != 1 || size >= sizeof(number))
        return 1;
    memcpy(number, text, size);
    number[size] = 0;
    meter->readings++;
    meter->total += strtol(number, NULL, 10);
    return 0;
}

static int write_state(const void *state, struct daybook_text *text, void *context)
{
    const struct meter *meter = state;
    char json[80];
    (void)context;
    int size = snprintf(json, sizeof(json), "{\"readings\":%ld,\"total\":%ld}", meter->readings,
                        meter->total);
    daybook_write(text, json, (size_t)size);
    return 0;
}

/* From what write_state wrote. */
static int read_state(void *state, const char *text, size_t size, void *context)
{
    struct meter *meter = state;
    char json[80];
    char *end = NULL;
    (void)context;
    (void)snprintf(json, sizeof(json), "%.*s", (int)size, text);
    meter->readings = strtol(json + strlen("{\"readings\":"), &end, 10);
    meter->total = strtol(end + strlen(",\"total\":"), NULL, 10);
    return 0;
}

static int add_fold(struct daybook *book, struct daybook_error *error)
{
    const struct daybook_fold fold = {.category = "meter",
                                      .version = "1",
                                      .snapshot_every = 10,
                                      .create = create,
                                      .destroy = destroy,
                                      .apply = apply,
                                      .write = write_state,
                                      .read = read_state};
    return daybook_fold_add(book, &fold, error);
}

static int append(struct daybook *book, struct daybook_error *error)
{
    int rc = DAYBOOK_OK;
    for (int n = 1; n <= 25 && rc == DAYBOOK_OK; n++) {
        char data[32];
        struct daybook_appended appended;
        const struct daybook_new_event event = {
            .stream = "meter-1",
            .type = "Counted",
            .data = data,
            .data_size = (size_t)snprintf(data, sizeof(data), "{\"n\":%d}", n)};
        const struct daybook_expectation none = {"meter-1", n - 1};
        const struct daybook_batch batch = {
            .events = &event, .count = 1, .expectations = &none, .expectation_count = 1};
        rc = daybook_append(book, &batch, &appended, error);
    }
    return rc == DAYBOOK_ECONFLICT ? DAYBOOK_OK : rc;
}

static int print_states(struct daybook *book, struct daybook_error *error)
{
    static const uint64_t versions[] = {1, 10, 17, 25};
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        const struct daybook_at at = {.version = versions[i]};
        char *state = NULL;
        int rc = daybook_state(book, "meter-1", &at, &state, NULL, error);
        if (rc < 0)
            return rc;
        (void)printf("%" PRIu64 ": %s\n", versions[i], state);
        daybook_free(state);
    }
    return DAYBOOK_OK;
}

int main(int argument_count, char **arguments)
{
    struct daybook_error error;
    struct daybook *book = NULL;
    if (argument_count != 3) {
        (void)fprintf(stderr, "usage: meter BOOK DATA\n");
        return 2;
    }
    const struct daybook_options options = {.folder = arguments[1], .data = arguments[2]};
    int rc = daybook_open(&options, &book, &error);
    if (rc == DAYBOOK_OK)
        rc = add_fold(book, &error);
    if (rc == DAYBOOK_OK && add_fold(book, &error) == DAYBOOK_EEXISTS)
        (void)printf("once is enough: %s\n", error.message);
    if (rc == DAYBOOK_OK)
        rc = append(book, &error);
    if (rc == DAYBOOK_OK)
        rc = print_states(book, &error);
    daybook_close(book);
    if (rc < 0)
        (void)fprintf(stderr, "meter: %s\n", error.message);
    return rc < 0;
}

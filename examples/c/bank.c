/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bank -- the sample bank from a C program: a book is opened, events are appended and read, a
 * command is sent, a state asked for.
 *
 *     cc bank.c $(pkg-config --cflags --libs daybook) -o bank
 *     ./bank ../bank /tmp/bank-data
 */
#include <daybook.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int fail(const char *what, const struct daybook_error *error)
{
    (void)fprintf(stderr, "%s: %s (%s)\n", what, error->message, daybook_code_text(error->code));
    return 1;
}

/* Two events of one account, all or nothing, and only when the account is not there yet. */
static int append(struct daybook *book, struct daybook_error *error)
{
    static const char opened[] = "{\"id\":\"c-1\"}";
    static const char deposited[] = "{\"amount\":100}";
    const struct daybook_new_event events[] = {
        {.stream = "account-c-1",
         .type = "AccountOpened",
         .data = opened,
         .data_size = sizeof(opened) - 1},
        {.stream = "account-c-1",
         .type = "Deposited",
         .data = deposited,
         .data_size = sizeof(deposited) - 1},
    };
    const struct daybook_expectation new_stream = {.stream = "account-c-1",
                                                   .version = DAYBOOK_NO_STREAM};
    const struct daybook_batch batch = {
        .events = events, .count = 2, .expectations = &new_stream, .expectation_count = 1};
    struct daybook_appended appended = {0};
    int rc = daybook_append(book, &batch, &appended, error);
    if (rc == DAYBOOK_OK)
        (void)printf("appended up to position %" PRIu64 "\n", appended.last_position);
    return rc;
}

static int print_events(struct daybook *book, struct daybook_error *error)
{
    const struct daybook_filter filter = {.stream = "account-c-1"};
    struct daybook_cursor *cursor = NULL;
    struct daybook_event event;
    int rc = daybook_read(book, &filter, &cursor, error);
    if (rc < 0)
        return rc;
    while ((rc = daybook_next(cursor, &event, error)) == 1) {
        size_t size = 0;
        const char *data = daybook_data(&event, &size, error);
        if (data == NULL) {
            rc = error->code;
            break;
        }
        (void)printf("%" PRIu64 " %.*s %.*s\n", event.version, (int)event.type_size, event.type,
                     (int)size, data);
    }
    daybook_cursor_close(cursor);
    return rc;
}

/* A command is decided by the book; this one the account can afford, the next it cannot. */
static int withdraw(struct daybook *book, const char *body, struct daybook_error *error)
{
    char *answer = NULL;
    int rc = daybook_do(book, "Withdraw", body, NULL, &answer, error);
    if (rc == DAYBOOK_EREFUSED) {
        (void)printf("refused: %s\n", error->message);
        return DAYBOOK_OK;
    }
    daybook_free(answer);
    return rc;
}

static int print_state(struct daybook *book, struct daybook_error *error)
{
    char *state = NULL;
    uint64_t version = 0;
    int rc = daybook_state(book, "account-c-1", NULL, &state, &version, error);
    if (rc < 0)
        return rc;
    (void)printf("version %" PRIu64 ": %s\n", version, state);
    daybook_free(state);
    return rc;
}

/* A consumer of a group: each event is its own until it says what became of it. */
static int consume(struct daybook *book, struct daybook_error *error)
{
    struct daybook_consumer *consumer = NULL;
    struct daybook_event event;
    int rc = daybook_group_set(book, "auditor", "{\"categories\":[\"account\"]}", error);
    if (rc == DAYBOOK_OK)
        rc = daybook_consumer_open(book, "auditor", 10, &consumer, error);
    if (rc < 0)
        return rc;
    while ((rc = daybook_consumer_next(consumer, 0, &event, NULL, error)) == 1) {
        (void)printf("audited %.*s\n", (int)event.type_size, event.type);
        rc = daybook_consumer_answer(consumer, DAYBOOK_ACK, &event.position, 1, NULL, error);
        if (rc < 0)
            break;
    }
    daybook_consumer_close(consumer);
    return rc;
}

int main(int argument_count, char **arguments)
{
    struct daybook_error error;
    struct daybook *book = NULL;
    if (argument_count != 3) {
        (void)fprintf(stderr, "usage: bank BOOK DATA\n");
        return 2;
    }
    const struct daybook_options options = {.folder = arguments[1], .data = arguments[2]};
    if (daybook_open(&options, &book, &error) < 0)
        return fail(arguments[1], &error);

    int rc = append(book, &error);
    if (rc == DAYBOOK_OK)
        rc = withdraw(book, "{\"account\":\"c-1\",\"amount\":30}", &error);
    if (rc == DAYBOOK_OK)
        rc = withdraw(book, "{\"account\":\"c-1\",\"amount\":500}", &error);
    if (rc == DAYBOOK_OK)
        rc = print_events(book, &error);
    if (rc == DAYBOOK_OK)
        rc = consume(book, &error);
    if (rc == DAYBOOK_OK)
        rc = print_state(book, &error);
    daybook_close(book);
    return rc == DAYBOOK_OK ? 0 : fail("bank", &error);
}

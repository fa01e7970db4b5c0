/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkout -- a saga in C: an order is confirmed once its goods are reserved, else it is rejected.
 *
 *     cc checkout.c $(pkg-config --cflags --libs daybook) -o checkout
 *     ./checkout BOOK DATA
 *
 * BOOK is examples/checkout, whose commands keep the stock. Run again it finds what it did.
 */
#include <daybook.h>
#include <stdio.h>
#include <string.h>
#include <threads.h>
#include <time.h>

static void write_text(struct daybook_text *text, const char *words)
{
    daybook_write(text, words, strlen(words));
}

/* The order's name stands in the event's data, and then in the state. Both are JSON texts: their
   quotes are left out. */
static int write_order(struct daybook_text *text, const char *json, size_t size)
{
    if (size < 2 || json[0] != '"')
        return 1;
    daybook_write(text, json + 1, size - 2);
    return 0;
}

static int of_event(const struct daybook_saga_now *now, struct daybook_text *text, void *context)
{
    const char *json = NULL;
    size_t size = 0;
    (void)context;
    return daybook_member(now->event, "order", &json, &size, NULL) == 1
               ? write_order(text, json, size)
               : 1;
}

static int of_state(const struct daybook_saga_now *now, struct daybook_text *text, void *context)
{
    const char *json = NULL;
    size_t size = 0;
    (void)context;
    return daybook_saga_member(now, "order", &json, &size) == 1 ? write_order(text, json, size) : 1;
}

/* The state is what was ordered. One whose sku is no text is a fault, and parks the order. */
static int placed(const struct daybook_saga_now *now, struct daybook_saga_answer *answer,
                  void *context)
{
    const char *json = NULL;
    size_t size = 0;
    (void)context;
    if (daybook_member(now->event, "sku", &json, &size, NULL) != 1 || json[0] != '"')
        return 1;
    json = daybook_data(now->event, &size, NULL);
    if (json == NULL)
        return 1;
    daybook_write(daybook_saga_state(answer), json, size);
    daybook_saga_begin(answer, "reject");
    daybook_saga_begin(answer, "reserve");
    return 0;
}

/* {"order":…,"sku":…} or with more of the state's members. */
static int write_members(const struct daybook_saga_now *now, struct daybook_text *text,
                         const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *json = NULL;
        size_t size = 0;
        if (daybook_saga_member(now, names[i], &json, &size) != 1)
            return 1;
        write_text(text, i == 0 ? "{\"" : ",\"");
        write_text(text, names[i]);
        write_text(text, "\":");
        daybook_write(text, json, size);
    }
    write_text(text, "}");
    return 0;
}

static int send_reserve(const struct daybook_saga_now *now, struct daybook_saga_message *message,
                        void *context)
{
    static const char *const names[] = {"order", "sku", "count"};
    (void)context;
    return write_members(now, daybook_saga_command(message, "ReserveStock"), names, 3);
}

static int undo_reserve(const struct daybook_saga_now *now, struct daybook_saga_message *message,
                        void *context)
{
    static const char *const names[] = {"order", "sku"};
    (void)context;
    return write_members(now, daybook_saga_command(message, "ReleaseStock"), names, 2);
}

static int send_event(const struct daybook_saga_now *now, struct daybook_saga_message *message,
                      const char *category, const char *type)
{
    static const char *const names[] = {"order"};
    const char *json = NULL;
    size_t size = 0;
    char stream[80];
    if (daybook_saga_member(now, "order", &json, &size) != 1 || size < 2)
        return 1;
    int length = snprintf(stream, sizeof(stream), "%s-%.*s", category, (int)size - 2, json + 1);
    if (length < 0 || (size_t)length >= sizeof(stream))
        return 1;
    return write_members(now, daybook_saga_event(message, stream, type, NULL, 0), names, 1);
}

/* The way back of the first step tells the order that it came to nothing. */
static int send_reject(const struct daybook_saga_now *now, struct daybook_saga_message *message,
                       void *context)
{
    (void)context;
    return send_event(now, message, "checkout", "CheckoutBegun");
}

static int undo_reject(const struct daybook_saga_now *now, struct daybook_saga_message *message,
                       void *context)
{
    (void)context;
    return send_event(now, message, "order", "OrderRejected");
}

static int send_confirm(const struct daybook_saga_now *now, struct daybook_saga_message *message,
                        void *context)
{
    (void)context;
    return send_event(now, message, "order", "OrderConfirmed");
}

static int reserved(const struct daybook_saga_now *now, struct daybook_saga_answer *answer,
                    void *context)
{
    (void)now;
    (void)context;
    daybook_saga_begin(answer, "confirm");
    return 0;
}

static int confirmed(const struct daybook_saga_now *now, struct daybook_saga_answer *answer,
                     void *context)
{
    (void)now;
    (void)context;
    daybook_saga_complete(answer);
    return 0;
}

#define SECOND INT64_C(1000000)

static const struct daybook_saga_on on[] = {
    {.type = "OrderPlaced", .starts = 1, .by = of_event, .run = placed}};
static const struct daybook_saga_step steps[] = {{.name = "reject",
                                                  .timeout_us = 10 * SECOND,
                                                  .send = send_reject,
                                                  .undo = undo_reject,
                                                  .key = of_state},
                                                 {.name = "reserve",
                                                  .timeout_us = 10 * SECOND,
                                                  .tries = 5,
                                                  .delay_us = SECOND / 10,
                                                  .send = send_reserve,
                                                  .undo = undo_reserve,
                                                  .key = of_state,
                                                  .after = reserved},
                                                 {.name = "confirm",
                                                  .timeout_us = 10 * SECOND,
                                                  .send = send_confirm,
                                                  .keeps = 1,
                                                  .key = of_state,
                                                  .after = confirmed}};
static const struct daybook_saga checkout = {.name = "fulfil",
                                             .unmatched = DAYBOOK_SAGA_IGNORE,
                                             .from_start = 1,
                                             .on = on,
                                             .on_count = 1,
                                             .steps = steps,
                                             .step_count = 3};

/* The value of a member of a record that is a text, up to its quote. */
static void print_member(const char *record, const char *member)
{
    const char *at = strstr(record, member);
    if (at != NULL) {
        at += strlen(member);
        (void)printf(" %.*s", (int)strcspn(at, "\""), at);
    }
}

/* Waits until it has ended, or is parked. */
static int print_order(struct daybook *book, const char *order, struct daybook_error *error)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    for (int tries = 0; tries < 3000; tries++) {
        char *record = NULL;
        int rc = daybook_saga_show(book, "fulfil", order, &record, error);
        if (rc < 0 && rc != DAYBOOK_ENOTFOUND)
            return rc;
        if (record != NULL && strstr(record, "\"status\":\"running\"") == NULL &&
            strstr(record, "\"status\":\"compensating\"") == NULL) {
            (void)printf("%s:", order);
            print_member(record, "\"status\":\"");
            print_member(record, "\"error\":\"");
            (void)printf("\n");
            daybook_free(record);
            return DAYBOOK_OK;
        }
        daybook_free(record);
        (void)thrd_sleep(&pause, NULL);
    }
    error->code = DAYBOOK_ETIMEOUT;
    (void)snprintf(error->message, sizeof(error->message), "%s does not end", order);
    return DAYBOOK_ETIMEOUT;
}

static int run(struct daybook *book, struct daybook_error *error)
{
    static const char *const bodies[][3] = {
        {"ReceiveStock", "tea", "{\"sku\":\"tea\",\"count\":3}"},
        {"PlaceOrder", "o1", "{\"order\":\"o1\",\"sku\":\"tea\",\"count\":2,\"amount\":950}"},
        {"PlaceOrder", "o2", "{\"order\":\"o2\",\"sku\":\"tea\",\"count\":2,\"amount\":950}"},
        {"PlaceOrder", "o3", "{\"order\":\"o3\",\"sku\":7,\"count\":1,\"amount\":950}"}};
    int rc = daybook_saga_add(book, &checkout, error);
    for (size_t i = 0; rc == DAYBOOK_OK && i < sizeof(bodies) / sizeof(bodies[0]); i++)
        rc = daybook_do(book, bodies[i][0], bodies[i][2], bodies[i][1], NULL, error);
    for (size_t i = 1; rc == DAYBOOK_OK && i < sizeof(bodies) / sizeof(bodies[0]); i++)
        rc = print_order(book, bodies[i][1], error);
    return rc;
}

int main(int count, char **words)
{
    struct daybook *book = NULL;
    struct daybook_error error;
    if (count != 3) {
        (void)fprintf(stderr, "usage: checkout BOOK DATA\n");
        return 2;
    }
    int rc = daybook_open(&(struct daybook_options){.folder = words[1], .data = words[2]}, &book,
                          &error);
    if (rc == DAYBOOK_OK)
        rc = run(book, &error);
    daybook_close(book);
    if (rc < 0) {
        (void)fprintf(stderr, "checkout: %s\n", error.message);
        return 1;
    }
    return 0;
}

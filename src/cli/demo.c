/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "cli/commands.h"
#include "cli/demo_orders.h"
#include "cli/fail.h"
#include "cli/serving.h"

#define RATE 2

struct demo {
    struct dbk_engine *engine;
    struct dbk_demo_orders orders;
    uint64_t rate;
    uint64_t order_max; /* 0: no end */
    atomic_bool stop;
    uint64_t placed;
    struct dbk_error error; /* why it stopped, if it had to */
};

/* ---- Making orders ---- */

/*
 * Does one command of the orders; a refusal is part of the game, as orders may be cancelled once.
 */
static int do_command(struct demo *demo, const struct dbk_demo_command *made, struct dbk_error *err)
{
    struct dbk_command_result result = {0};
    struct dbk_buf events;
    struct dbk_command command = {.name = dbk_slice_of(made->name),
                                  .body = dbk_buf_slice(&made->body)};
    dbk_buf_init(&events, 1 << 20);
    int rc = dbk_command_do(dbk_engine_commands(demo->engine), &command, &events, &result, err);
    dbk_buf_release(&events);
    if (rc != DBK_EREFUSED)
        return rc;
    *err = (struct dbk_error){0};
    return DBK_OK;
}

/* Orders of a demo before this one go on: how many there are is searched for in their streams. */
static int count_placed(struct demo *demo, struct dbk_error *err)
{
    struct dbk_store *store = dbk_engine_store(demo->engine);
    uint64_t low = 0; /* placed, or none */
    uint64_t high = 0;
    for (bool doubling = true; doubling || high - low > 1;) {
        uint64_t number = doubling ? low * 2 + 1 : low + (high - low) / 2;
        uint64_t version = 0;
        char stream[80];
        int size = snprintf(stream, sizeof(stream), "order-demo-%ju-%ju",
                            (uintmax_t)demo->orders.seed, (uintmax_t)number);
        int rc = dbk_store_stream_version(store, dbk_slice(stream, (size_t)size), &version, err);
        if (rc < 0)
            return rc;
        if (version > 0) {
            low = number;
        } else {
            high = number;
            doubling = false;
        }
    }
    demo->orders.placed = low;
    return DBK_OK;
}

/* Sleeps until it is the n-th command's time, counted from the start, so that the rate holds. */
static void wait_for_turn(const struct demo *demo, int64_t started_us, uint64_t n)
{
    struct dbk_os *os = dbk_os_real();
    int64_t due_us = started_us + (int64_t)(n * UINT64_C(1000000) / demo->rate);
    while (!atomic_load(&demo->stop)) {
        int64_t left_us = due_us - os->monotonic_us(os);
        if (left_us <= 0)
            return;
        int64_t nap_us = left_us < 100000 ? left_us : 100000;
        (void)nanosleep(&(struct timespec){.tv_nsec = (long)nap_us * 1000}, NULL);
    }
}

static void *run(void *context)
{
    struct demo *demo = context;
    struct dbk_os *os = dbk_os_real();
    struct dbk_demo_command command;
    int64_t started_us = os->monotonic_us(os);
    int rc = DBK_OK;
    dbk_demo_command_init(&command);
    for (uint64_t n = 0; rc == DBK_OK && (demo->order_max == 0 || n < demo->order_max); n++) {
        wait_for_turn(demo, started_us, n);
        if (atomic_load(&demo->stop))
            break;
        dbk_demo_orders_next(&demo->orders, &command);
        rc = command.body.rc < 0 ? dbk_error_set(&demo->error, command.body.rc, "an order: %s",
                                                 dbk_code_text(command.body.rc))
                                 : do_command(demo, &command, &demo->error);
        demo->placed += rc == DBK_OK;
    }
    dbk_demo_command_release(&command);
    return NULL;
}

/* ---- The command ---- */

/* Without --book: the book found from here, where it is a shop, else examples/shop below here. */
static int find_shop(const struct dbk_arguments *arguments, struct dbk_place *place,
                     struct dbk_error *err)
{
    static const char *const folders[] = {"examples/shop", "../examples/shop"};
    struct dbk_os *os = dbk_os_real();
    int rc = dbk_place_find(arguments, place, err);
    if (rc != DBK_ENOTFOUND)
        return rc;
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        struct dbk_file file = DBK_FILE_CLOSED;
        char path[DBK_PLACE_SIZE_MAX];
        (void)snprintf(path, sizeof(path), "%s/book.yaml", folders[i]);
        if (os->open(os, path, DBK_OS_READ, &file, NULL) < 0)
            continue;
        os->close(os, &file);
        (void)snprintf(place->folder, sizeof(place->folder), "%s", folders[i]);
        return DBK_OK;
    }
    return dbk_error_set(err, DBK_ENOTFOUND,
                         "no examples/shop below this folder: name one with --book DIR");
}

static void print(const struct demo *demo, const struct dbk_serving *serving, const char *options)
{
    (void)printf("book     %s, %ju %s a second, from the seed on\n",
                 dbk_engine_book(demo->engine)->name, (uintmax_t)demo->rate,
                 demo->rate == 1 ? "order" : "orders");
    (void)printf("url      %s\n", serving->url);
    (void)printf("watch    daybook tail%s\n", options);
    (void)printf("try      daybook get GetMyOrders user_id=demo-1%s\n", options);
    (void)printf("         daybook view refresh daily_orders%s\n", options);
    (void)printf("end      Ctrl-C\n");
    (void)fflush(stdout);
}

static int serve_orders(struct demo *demo, struct dbk_error *err)
{
    pthread_t thread;
    int failed = pthread_create(&thread, NULL, run, demo);
    if (failed != 0)
        return dbk_error_set_errno(err, failed, "the demo's thread");
    if (demo->order_max == 0)
        (void)dbk_server_wait_for_signal();
    else
        (void)pthread_join(thread, NULL);
    atomic_store(&demo->stop, true);
    if (demo->order_max == 0)
        (void)pthread_join(thread, NULL);
    if (demo->error.code == DBK_OK)
        return DBK_OK;
    *err = demo->error;
    return demo->error.code;
}

int dbk_run_demo(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_place place;
    struct dbk_serving serving = {0};
    char options[DBK_SERVING_OPTIONS_SIZE];
    struct demo demo = {.rate = dbk_arguments_number(arguments, "rate", RATE),
                        .order_max = dbk_arguments_number(arguments, "orders", 0)};
    if (demo.rate == 0 || demo.rate > 1000000)
        return dbk_fail_usage(arguments, "--rate is from 1 to 1000000 orders a second");
    int rc = find_shop(arguments, &place, &err);
    if (rc == DBK_OK)
        rc = dbk_serving_open(&place, arguments, "daybook demo", &serving, &err);
    if (rc < 0)
        return dbk_fail(arguments, &err);
    demo.engine = serving.engine;
    dbk_demo_orders_init(&demo.orders, dbk_arguments_number(arguments, "seed", 1));
    dbk_serving_options(arguments, place.folder, options);
    rc = count_placed(&demo, &err);
    if (rc == DBK_OK) {
        print(&demo, &serving, options);
        rc = serve_orders(&demo, &err);
    }
    dbk_serving_release(&serving);
    (void)printf("%ju orders were placed or cancelled\n", (uintmax_t)demo.placed);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}

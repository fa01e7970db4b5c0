/* SPDX-License-Identifier: Apache-2.0 */
/*
 * demo_orders -- a shop's orders made from a seed: the same commands for the same seed.
 *
 * Nine of ten commands are PlaceOrder, the tenth is CancelOrder of an order placed before. Order
 * ids carry the seed, `demo-<seed>-<n>`; a demo on data that has some of them sets `placed` to how
 * many, and goes on behind.
 *
 * Threads: pure functions of the struct.
 * Source:  the generator is SplitMix64 (Steele, Lea and Flood, 2014).
 */
#ifndef DBK_CLI_DEMO_ORDERS_H
#define DBK_CLI_DEMO_ORDERS_H

#include "base/memory.h"

struct dbk_demo_orders {
    uint64_t seed;
    uint64_t random;
    uint64_t placed; /* the last order's n */
};

struct dbk_demo_command {
    const char *name; /* "PlaceOrder" or "CancelOrder" */
    struct dbk_buf body;
};

void dbk_demo_command_init(struct dbk_demo_command *command);
void dbk_demo_command_release(struct dbk_demo_command *command);

void dbk_demo_orders_init(struct dbk_demo_orders *orders, uint64_t seed);
/* Makes the next command, in place of what the struct held. */
void dbk_demo_orders_next(struct dbk_demo_orders *orders, struct dbk_demo_command *command);

#endif

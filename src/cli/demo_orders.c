/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/demo_orders.h"

#include "json/json.h"

struct product {
    const char *stock_code;
    const char *description;
    const char *category;
    uint32_t cents;
};

static const struct product products[] = {
    {"85123A", "WHITE HANGING HEART T-LIGHT HOLDER", "lighting", 255},
    {"71053", "WHITE METAL LANTERN", "lighting", 339},
    {"22423", "REGENCY CAKESTAND 3 TIER", "kitchen", 1275},
    {"21212", "PACK OF 72 RETROSPOT CAKE CASES", "kitchen", 55},
    {"22720", "SET OF 3 CAKE TINS PANTRY DESIGN", "kitchen", 495},
    {"85099B", "JUMBO BAG RED RETROSPOT", "bags", 195},
    {"20725", "LUNCH BAG RED RETROSPOT", "bags", 165},
    {"22086", "PAPER CHAIN KIT 50'S CHRISTMAS", "stationery", 295},
    {"47566", "PARTY BUNTING", "home", 465},
    {"22139", "RETROSPOT TEA SET CERAMIC 11 PC", "kitchen", 425},
    {"84879", "ASSORTED COLOUR BIRD ORNAMENT", "home", 169},
    {"22197", "POPCORN HOLDER", "kitchen", 85},
};

static const char *const countries[] = {"United Kingdom", "United Kingdom", "United Kingdom",
                                        "Germany",        "France",         "EIRE",
                                        "Netherlands",    "Spain"};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define CUSTOMER_COUNT 50

void dbk_demo_command_init(struct dbk_demo_command *command)
{
    command->name = "";
    dbk_buf_init(&command->body, 1 << 20);
}

void dbk_demo_command_release(struct dbk_demo_command *command)
{
    dbk_buf_release(&command->body);
}

void dbk_demo_orders_init(struct dbk_demo_orders *orders, uint64_t seed)
{
    *orders = (struct dbk_demo_orders){.seed = seed, .random = seed};
}

static uint64_t random_below(struct dbk_demo_orders *orders, uint64_t limit)
{
    orders->random += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t value = orders->random;
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (value ^ (value >> 31)) % limit;
}

static void write_line(struct dbk_demo_orders *orders, struct dbk_buf *body)
{
    const struct product *product = &products[random_below(orders, COUNT_OF(products))];
    bool first = true;
    dbk_buf_append_char(body, '{');
    dbk_json_write_key(body, &first, "stock_code");
    dbk_json_write_string(body, dbk_slice_of(product->stock_code));
    dbk_json_write_key(body, &first, "description");
    dbk_json_write_string(body, dbk_slice_of(product->description));
    dbk_json_write_key(body, &first, "category");
    dbk_json_write_string(body, dbk_slice_of(product->category));
    dbk_buf_append_format(body, ",\"quantity\":%u,\"price\":%u.%02u}",
                          (unsigned)random_below(orders, 12) + 1, product->cents / 100,
                          product->cents % 100);
}

static void write_place(struct dbk_demo_orders *orders, struct dbk_demo_command *command)
{
    uint64_t customer = random_below(orders, CUSTOMER_COUNT);
    uint64_t line_count = random_below(orders, 5) + 1;
    orders->placed++;
    command->name = "PlaceOrder";
    dbk_buf_append_format(&command->body,
                          "{\"order_id\":\"demo-%ju-%ju\",\"customer_id\":\"demo-%ju\","
                          "\"country\":\"%s\",\"lines\":[",
                          (uintmax_t)orders->seed, (uintmax_t)orders->placed,
                          (uintmax_t)customer + 1, countries[customer % COUNT_OF(countries)]);
    for (uint64_t i = 0; i < line_count; i++) {
        if (i > 0)
            dbk_buf_append_char(&command->body, ',');
        write_line(orders, &command->body);
    }
    dbk_buf_append_text(&command->body, "]}");
}

void dbk_demo_orders_next(struct dbk_demo_orders *orders, struct dbk_demo_command *command)
{
    bool cancel = random_below(orders, 10) == 0 && orders->placed > 0;
    dbk_buf_reset(&command->body);
    if (!cancel) {
        write_place(orders, command);
        return;
    }
    command->name = "CancelOrder";
    dbk_buf_append_format(&command->body, "{\"order_id\":\"demo-%ju-%ju\"}",
                          (uintmax_t)orders->seed,
                          (uintmax_t)random_below(orders, orders->placed) + 1);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bucket_test -- a bucket lets through what a bucket of tokens counted one by one does.
 */
#include "test.h"

#include <pthread.h>

#include "access/bucket.h"

/* The tokens, in parts of which `rate` a nanosecond fall and 10^9 are one. */
struct model {
    uint64_t parts;
    int64_t seen_ns;
};

#define TOKEN UINT64_C(1000000000)

static bool model_take(struct model *model, uint32_t rate, uint32_t burst, int64_t now_ns)
{
    model->parts += (uint64_t)(now_ns - model->seen_ns) * rate;
    model->seen_ns = now_ns;
    if (model->parts > burst * TOKEN)
        model->parts = burst * TOKEN;
    if (model->parts < TOKEN)
        return false;
    model->parts -= TOKEN;
    return true;
}

static uint32_t random_state = 17;

static uint32_t random_below(uint32_t end)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % end;
}

/* Rates that divide a second, so that the model is exact. */
static void test_access_bucket__as_one_of_tokens(void **state)
{
    static const uint32_t rates[] = {1, 2, 5, 10, 100, 1000, 1000000};
    static const uint32_t bursts[] = {1, 2, 3, 50, 1000000};
    (void)state;
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        for (size_t j = 0; j < sizeof(bursts) / sizeof(bursts[0]); j++) {
            int64_t now_ns = INT64_C(5000000000);
            int64_t token_ns = INT64_C(1000000000) / rates[i];
            struct model model = {bursts[j] * TOKEN, now_ns};
            _Atomic int64_t full_ns = 0;
            for (int step = 0; step < 3000; step++) {
                int64_t wait_ns = dbk_bucket_take(&full_ns, rates[i], bursts[j], now_ns);
                assert_int_equal(wait_ns == 0, model_take(&model, rates[i], bursts[j], now_ns));
                /* What it says is exact: a nanosecond before there is none. */
                if (wait_ns > 0) {
                    _Atomic int64_t copy = full_ns;
                    assert_true(wait_ns <= token_ns);
                    assert_int_equal(
                        dbk_bucket_take(&copy, rates[i], bursts[j], now_ns + wait_ns - 1), 1);
                    assert_int_equal(dbk_bucket_take(&copy, rates[i], bursts[j], now_ns + wait_ns),
                                     0);
                }
                now_ns += random_below(4) == 0 ? (int64_t)random_below(3) * token_ns
                                               : random_below((uint32_t)token_ns);
            }
        }
    }
}

struct taker {
    _Atomic int64_t *full_ns;
    unsigned taken;
};

static void *take_many(void *context)
{
    struct taker *taker = context;
    for (int i = 0; i < 10000; i++)
        taker->taken += dbk_bucket_take(taker->full_ns, 1, 5000, INT64_C(1000000000)) == 0;
    return NULL;
}

static void test_access_bucket__threads_take_no_token_twice(void **state)
{
    pthread_t threads[4];
    struct taker takers[4] = {{0}};
    _Atomic int64_t full_ns = 0;
    unsigned sum = 0;
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        takers[i].full_ns = &full_ns;
        assert_int_equal(pthread_create(&threads[i], NULL, take_many, &takers[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        sum += takers[i].taken;
    }
    assert_int_equal(sum, 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_access_bucket__as_one_of_tokens),
        cmocka_unit_test(test_access_bucket__threads_take_no_token_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

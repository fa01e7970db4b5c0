/* SPDX-License-Identifier: Apache-2.0 */
#include "access/bucket.h"

int64_t dbk_bucket_take(_Atomic int64_t *full_ns, uint32_t rate, uint32_t burst, int64_t now_ns)
{
    int64_t token_ns = INT64_C(1000000000) / rate;
    int64_t before_ns = *full_ns;
    for (;;) {
        int64_t after_ns = (before_ns > now_ns ? before_ns : now_ns) + token_ns;
        int64_t late_ns = after_ns - now_ns - token_ns * burst;
        if (late_ns > 0)
            return late_ns;
        if (atomic_compare_exchange_weak(full_ns, &before_ns, after_ns))
            return 0;
    }
}

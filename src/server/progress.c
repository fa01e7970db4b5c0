/* SPDX-License-Identifier: Apache-2.0 */
/* Long work that says how far it is: a JSON line a while, the last of which is the answer. */
#include "server/handlers.h"

#define PROGRESS_US 200000

bool dbk_api_tell(void *context, uint64_t done, uint64_t total)
{
    struct dbk_api_progress *progress = context;
    struct dbk_os *os = dbk_engine_os(progress->call->engine);
    int64_t now_us = os->monotonic_us(os);
    if (progress->broken || now_us - progress->told_us < PROGRESS_US)
        return !progress->broken;
    progress->told_us = now_us;
    dbk_buf_append_format(&progress->call->scratch->out, "{\"done\":%ju,\"total\":%ju}\n",
                          (uintmax_t)done, (uintmax_t)total);
    progress->broken = dbk_call_flush(progress->call) < 0;
    return !progress->broken;
}

int dbk_api_finish(struct dbk_api_call *call, bool lines, int rc)
{
    if (rc < 0)
        return rc;
    if (!lines)
        return dbk_call_send_json(call, 200);
    dbk_buf_append_char(&call->scratch->out, '\n');
    rc = dbk_call_flush(call);
    return rc < 0 ? rc : 200;
}

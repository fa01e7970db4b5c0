/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of subjects: /keys and what is below. */
#include "server/handlers.h"

static int put_status(struct dbk_api_call *call)
{
    struct dbk_buf *out = &call->scratch->out;
    struct dbk_vault *vault = dbk_engine_vault(call->engine);
    struct dbk_vault_status status = {0};
    bool first = true;
    if (vault != NULL)
        dbk_vault_status(vault, &status);
    dbk_buf_append_char(out, '{');
    dbk_put_u64(out, &first, "epoch", status.epoch);
    if (status.has_keys)
        dbk_put_time(out, &first, "begun", status.epoch_begun_us);
    dbk_put_u64(out, &first, "subjects", status.subjects);
    dbk_put_u64(out, &first, "erased", status.erased);
    dbk_put_u64(out, &first, "erased_in_epoch", status.erased - status.erased_before);
    dbk_put_u64(out, &first, "tombstoned", status.tombstoned);
    dbk_buf_append_char(out, '}');
    return dbk_call_send_json(call, 200);
}

int dbk_api_keys(struct dbk_api_call *call, struct dbk_error *err)
{
    (void)err;
    return put_status(call);
}

int dbk_api_keys_rotate(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_vault *vault = dbk_engine_vault(call->engine);
    struct dbk_vault_status status = {0};
    uint64_t epoch = 0;
    bool now = false;
    int rc = dbk_engine_check_writer(call->engine, err);
    if (rc == DBK_OK)
        rc = dbk_call_flag(call, "now", &now, err);
    if (rc == DBK_OK && vault == NULL)
        rc = dbk_error_set(err, DBK_ENOTFOUND,
                           "no type of this book has a subject, so there are "
                           "no keys");
    if (rc < 0)
        return rc;
    dbk_vault_status(vault, &status);
    if (now || status.erased > status.erased_before)
        rc = dbk_vault_rotate(vault, &epoch, err);
    return rc < 0 ? rc : put_status(call);
}

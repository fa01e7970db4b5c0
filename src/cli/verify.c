/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"
#include "cli/progress.h"
#include "json/json.h"

#define TEXT_SIZE_MAX ((size_t)1 << 20)

struct verifying {
    struct dbk_progress progress;
    bool people; /* findings are told as they come */
    struct dbk_buf findings;
};

static int step(void *context, uint64_t done, uint64_t total)
{
    struct verifying *verifying = context;
    dbk_progress_update(&verifying->progress, done, done, total);
    return dbk_link_stopped() ? DBK_ESTOPPED : DBK_OK;
}

static void found(void *context, const struct dbk_proof_finding *finding)
{
    struct verifying *verifying = context;
    struct dbk_buf *out = &verifying->findings;
    bool first = true;
    dbk_buf_append_text(out, out->size == 0 ? "{" : ",{");
    dbk_json_write_key(out, &first, "kind");
    dbk_json_write_string(out, dbk_slice_of(finding->kind));
    dbk_json_write_key(out, &first, "file");
    dbk_json_write_string(out, dbk_slice_of(finding->file));
    dbk_json_write_key(out, &first, "offset");
    dbk_json_write_u64(out, finding->offset);
    dbk_json_write_key(out, &first, "position");
    dbk_json_write_u64(out, finding->position);
    dbk_json_write_key(out, &first, "what");
    dbk_json_write_string(out, dbk_slice_of(finding->what));
    dbk_buf_append_char(out, '}');
    if (!verifying->people)
        return;
    dbk_progress_clear(&verifying->progress);
    (void)fprintf(stderr, "%s", finding->kind);
    if (finding->file[0] != '\0')
        (void)fprintf(stderr, ", %s byte %" PRIu64, finding->file, finding->offset);
    if (finding->position > 0)
        (void)fprintf(stderr, ", position %" PRIu64, finding->position);
    (void)fprintf(stderr, ": %s\n", finding->what);
}

static int show(const struct dbk_arguments *arguments, const struct dbk_proof_verified *verified,
                const struct verifying *verifying, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_table_options options = dbk_data_options(arguments, &(struct dbk_data_show){0});
    struct dbk_buf text;
    struct dbk_json *json = dbk_json_create(TEXT_SIZE_MAX * 2);
    dbk_buf_init(&text, TEXT_SIZE_MAX * 2);
    dbk_buf_append_format(
        &text,
        "{\"events\":%" PRIu64 ",\"removed\":%" PRIu64 ",\"tiles\":%" PRIu64
        ",\"checkpoints\":%" PRIu64 ",\"checkpoint\":%" PRIu64 ",\"unsigned\":%" PRIu64
        ",\"wrong\":%" PRIu64,
        verified->events, verified->removed, verified->tiles, verified->checkpoints,
        verified->checkpoint,
        verified->events > verified->checkpoint ? verified->events - verified->checkpoint : 0,
        verified->findings);
    if (!verifying->people)
        dbk_buf_append_format(&text, ",\"findings\":[%.*s]",
                              DBK_SLICE_ARGS(dbk_buf_slice(&verifying->findings)));
    dbk_buf_append_char(&text, '}');
    int rc = json == NULL || text.rc < 0 || verifying->findings.rc < 0
                 ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                 : dbk_json_parse(json, dbk_buf_slice(&text), &root, err);
    if (rc == DBK_OK)
        rc = dbk_table_object(&options, root, NULL, err);
    dbk_json_free(json);
    dbk_buf_release(&text);
    return rc;
}

int dbk_run_verify(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_link *link = NULL;
    struct dbk_buf kept;
    struct dbk_proof_verified verified = {0};
    const char *file = dbk_arguments_text(arguments, "checkpoint");
    struct verifying verifying = {.people = dbk_output_of(arguments) == DBK_OUTPUT_TABLE};
    dbk_buf_init(&kept, TEXT_SIZE_MAX);
    dbk_buf_init(&verifying.findings, TEXT_SIZE_MAX);
    dbk_link_stop_on_signals();
    int rc = file == NULL ? DBK_OK
                          : dbk_os_read_file(dbk_os_real(), file, TEXT_SIZE_MAX - 1, &kept, &err);
    dbk_buf_append_char(&kept, '\0');
    if (rc == DBK_OK)
        rc = dbk_link_open_beside(arguments, DBK_ENGINE_READ, &link, &err);
    dbk_progress_begin(&verifying.progress, "verify", "events");
    if (rc == DBK_OK)
        rc = dbk_proof_verify(
            dbk_engine_proof(dbk_link_engine(link)),
            &(struct dbk_proof_verification){.kept = file == NULL ? NULL : kept.data,
                                             .key = dbk_arguments_text(arguments, "key"),
                                             .step = step,
                                             .found = found,
                                             .context = &verifying},
            &verified, &err);
    dbk_progress_clear(&verifying.progress);
    if (rc == DBK_ESTOPPED)
        rc = dbk_error_set(&err, rc, "interrupted after %" PRIu64 " events", verified.events);
    if (rc == DBK_OK)
        rc = show(arguments, &verified, &verifying, &err);
    dbk_link_free(link);
    dbk_buf_release(&kept);
    dbk_buf_release(&verifying.findings);
    if (rc < 0)
        return dbk_fail(arguments, &err);
    return verified.findings > 0 ? DBK_EXIT_FAILED : DBK_EXIT_OK;
}

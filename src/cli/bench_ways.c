/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bench_ways.h"

/* ---- The type ---- */

#define V1 "{\"version\": 1, \"schema\": {\"type\": \"object\"}}"
#define V2(upcast) ", {\"version\": 2, \"schema\": {\"title\": \"two\"}" upcast "}"
#define V3(upcast) ", {\"version\": 3, \"schema\": {\"title\": \"three\"}" upcast "}"
#define TYPE(two, three) "{\"versions\": [" V1 V2(two) V3(three) "]}"

const char dbk_bench_by_steps[] =
    TYPE(", \"upcast\": [{\"add\": \"currency\", \"value\": \"USD\"}]",
         ", \"upcast\": [{\"rename\": \"amount\", \"to\": \"total\"}]");
const char dbk_bench_by_script[] = TYPE("", "");
const char dbk_bench_by_program[] = TYPE(", \"upcast\": \"program\"", ", \"upcast\": \"program\"");

#define CASE(step) "{\"versions\": [" V1 V2(", \"upcast\": [" step "]") "]}"

const struct dbk_bench_case dbk_bench_cases[DBK_BENCH_CASES] = {
    {"none", "{\"versions\": [" V1 "]}"},
    {"add", CASE("{\"add\": \"currency\", \"value\": \"USD\"}")},
    {"rename", CASE("{\"rename\": \"amount\", \"to\": \"total\"}")},
    {"remove", CASE("{\"remove\": \"amount\"}")},
    {"convert", CASE("{\"convert\": \"amount\", \"to\": \"string\"}")},
};

static const char to_2[] = "return function(data)\n"
                           "    data.currency = data.currency or \"USD\"\n"
                           "    return data\n"
                           "end\n";
static const char to_3[] = "return function(data)\n"
                           "    data.total = data.amount\n"
                           "    data.amount = nil\n"
                           "    return data\n"
                           "end\n";

static int program_to_2(void *context, const struct dbk_event *event, struct dbk_buf *out,
                        struct dbk_error *err)
{
    (void)context;
    (void)err;
    dbk_buf_append(out, dbk_slice(event->data.data, event->data.size - 1));
    dbk_buf_append_text(out, ",\"currency\":\"USD\"}");
    return DBK_OK;
}

static int program_to_3(void *context, const struct dbk_event *event, struct dbk_buf *out,
                        struct dbk_error *err)
{
    static const char old[] = "\"amount\":";
    const char *at = memmem(event->data.data, event->data.size, old, sizeof(old) - 1);
    (void)context;
    if (at == NULL)
        return dbk_error_set(err, DBK_ESCRIPT, "there is no amount");
    size_t before = (size_t)(at - event->data.data);
    dbk_buf_append(out, dbk_slice(event->data.data, before));
    dbk_buf_append_text(out, "\"total\":");
    before += sizeof(old) - 1;
    dbk_buf_append(out, dbk_slice(event->data.data + before, event->data.size - before));
    return DBK_OK;
}

void dbk_bench_put_data(struct dbk_buf *out, uint64_t number, uint16_t version, size_t size)
{
    size_t start = out->size;
    dbk_buf_append_format(out, "{\"id\":\"%ju\",\"%s\":%ju,\"text\":\"", (uintmax_t)number,
                          version < 3 ? "amount" : "total", (uintmax_t)(number % 100));
    while (out->rc == DBK_OK && out->size - start + 2 < size)
        dbk_buf_append_char(out, (char)('a' + (out->size - start) % 26));
    dbk_buf_append_text(out, version < 2 ? "\"}" : "\",\"currency\":\"EUR\"}");
}

void dbk_bench_put_chain(struct dbk_buf *out, unsigned versions)
{
    dbk_buf_append_text(out, "{\"versions\": [" V1);
    for (unsigned version = 2; version <= versions; version++)
        dbk_buf_append_format(out,
                              ", {\"version\": %u, \"schema\": {\"title\": \"%u\"}, \"upcast\": "
                              "[{\"add\": \"added_%u\", \"value\": %u}]}",
                              version, version, version, version);
    dbk_buf_append_text(out, "]}");
    dbk_buf_append_char(out, 0);
}

/* ---- Folds ---- */

#define FOLD(functions)                                                                            \
    "return {\n"                                                                                   \
    "    initial = { count = 0, EUR = 0, USD = 0 },\n"                                             \
    "    on = {\n" functions "    },\n"                                                            \
    "}\n"
#define ADD(name, currency, total)                                                                 \
    "        [\"" name "\"] = function(state, data)\n"                                             \
    "            state.count = state.count + 1\n"                                                  \
    "            state[" currency "] = state[" currency "] + data." total "\n"                     \
    "        end,\n"

const char dbk_bench_fold[] = FOLD(ADD("Measured", "data.currency", "total"));
const char dbk_bench_versioned_fold[] = FOLD(ADD("Measured.v1", "\"USD\"", "amount") ADD(
    "Measured.v2", "data.currency", "amount") ADD("Measured", "data.currency", "total"));

/* The same in C, of the newest version. */
struct sums {
    uint64_t count;
    uint64_t euro;
    uint64_t dollar;
};

static int create(void *context, void **state_out, struct dbk_error *err)
{
    (void)context;
    *state_out = dbk_alloc_zero(1, sizeof(struct sums));
    return *state_out != NULL ? DBK_OK
                              : dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
}

static void destroy(void *context, void *state)
{
    (void)context;
    dbk_free(state);
}

static int reset(void *context, void *state, struct dbk_error *err)
{
    (void)context;
    (void)err;
    *(struct sums *)state = (struct sums){0};
    return DBK_OK;
}

/* As a program's fold asks for what it needs. */
static int apply(void *context, void *state, struct dbk_lazy *event, struct dbk_error *err)
{
    struct sums *sums = state;
    struct dbk_slice total;
    struct dbk_slice currency;
    uint64_t number = 0;
    (void)context;
    if (dbk_lazy_member(event, DBK_SLICE_LITERAL("total"), &total) != 1)
        return dbk_error_set(err, DBK_ESCRIPT, "there is no total");
    for (size_t i = 0; i < total.size; i++)
        number = number * 10 + (uint64_t)(total.data[i] - '0');
    if (dbk_lazy_member(event, DBK_SLICE_LITERAL("currency"), &currency) != 1)
        return dbk_error_set(err, DBK_ESCRIPT, "there is no currency");
    sums->count++;
    *(dbk_slice_equal_text(currency, "\"EUR\"") ? &sums->euro : &sums->dollar) += number;
    return DBK_OK;
}

static int write_sums(void *context, void *state, struct dbk_buf *out, struct dbk_error *err)
{
    const struct sums *sums = state;
    (void)context;
    (void)err;
    dbk_buf_append_format(out, "{\"EUR\":%ju,\"USD\":%ju,\"count\":%ju}", (uintmax_t)sums->euro,
                          (uintmax_t)sums->dollar, (uintmax_t)sums->count);
    return out->rc;
}

static int read_sums(void *context, void *state, struct dbk_slice text, struct dbk_error *err)
{
    (void)text;
    return reset(context, state, err); /* there are no snapshots */
}

const struct dbk_fold_functions dbk_bench_fold_in_c = {.create = create,
                                                       .destroy = destroy,
                                                       .reset = reset,
                                                       .apply_lazy = apply,
                                                       .write = write_sums,
                                                       .read = read_sums};

/* ---- A way of reading ---- */

static int look_open(void *context, void **state, struct dbk_event *event, struct dbk_error *err)
{
    (void)context;
    (void)state;
    (void)event;
    (void)err;
    return 1;
}

/* A reader's state is its upcaster. */
static int look_upcast(void *context, void **state, struct dbk_event *event, struct dbk_error *err)
{
    struct dbk_bench_way *way = context;
    struct dbk_upcaster *upcaster = *state;
    int rc = dbk_upcast_event(way->upcasts, &upcaster, event, err);
    *state = upcaster;
    return rc;
}

static int look_member(void *context, void **state, struct dbk_event *event, struct dbk_slice name,
                       struct dbk_slice *value_out, struct dbk_error *err)
{
    struct dbk_bench_way *way = context;
    struct dbk_upcaster *upcaster = *state;
    int rc = dbk_upcast_member(way->upcasts, &upcaster, event, name, value_out, err);
    *state = upcaster;
    return rc;
}

static void look_end(void *context, void *state)
{
    struct dbk_bench_way *way = context;
    dbk_upcaster_give(way->upcasts, state);
}

int dbk_bench_open_way(struct dbk_bench_way *way, const char *schema, bool scripts, bool program,
                       struct dbk_error *err)
{
    dbk_diagnostics_init(&way->faults);
    const struct dbk_upcast_function functions[] = {
        {DBK_SLICE_LITERAL("Measured"), 2, DBK_SLICE_LITERAL("1"), NULL, program_to_2},
        {DBK_SLICE_LITERAL("Measured"), 3, DBK_SLICE_LITERAL("1"), NULL, program_to_3},
    };
    way->lens = (struct dbk_lens){.context = way,
                                  .open = look_open,
                                  .upcast = look_upcast,
                                  .end = look_end,
                                  .member = look_member};
    way->schemas = dbk_schemas_create();
    int rc = way->schemas == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                 : dbk_schemas_add(way->schemas, "Measured", "Measured.schema.json",
                                   dbk_slice_of(schema), &way->faults, err);
    if (rc == DBK_OK && scripts)
        rc = dbk_schemas_add_script(way->schemas, "Measured", 2, "Measured.1-2.lua",
                                    DBK_SLICE_LITERAL(to_2));
    if (rc == DBK_OK && scripts)
        rc = dbk_schemas_add_script(way->schemas, "Measured", 3, "Measured.2-3.lua",
                                    DBK_SLICE_LITERAL(to_3));
    if (rc == DBK_OK)
        rc = dbk_schemas_finish(way->schemas, &way->faults, err);
    if (rc == DBK_OK && way->faults.error_count > 0)
        rc = dbk_error_set(err, DBK_EBOOK, "%s", way->faults.items[0].what);
    return rc < 0 ? rc
                  : dbk_upcasts_open(way->schemas, functions, program ? 2 : 0, &way->upcasts, err);
}

void dbk_bench_close_way(struct dbk_bench_way *way)
{
    dbk_upcasts_free(way->upcasts);
    dbk_schemas_free(way->schemas);
    dbk_diagnostics_release(&way->faults);
}

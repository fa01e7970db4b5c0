/* SPDX-License-Identifier: Apache-2.0 */
#include "saga/simulate.h"

#include <stdio.h>
#include <string.h>

#include "saga/machine.h"

#define INPUTS_MAX 10000
#define ANSWERS_MAX 1000
#define TEXT_SIZE_MAX ((size_t)1 << 20)
#define ANSWER_US 1000
#define LATE_US (INT64_C(400) * 24 * 3600 * 1000000)

enum fault {
    FAULT_NONE,
    FAULT_REFUSED,
    FAULT_NO_ANSWER, /* to all tries, and it was done */
    FAULT_LOST,      /* all tries, before they got there */
    FAULT_TWICE,
    FAULT_LATE,
    FAULT_REORDERED,
    FAULT_CRASHED,
    FAULT_UNDO_ONCE, /* of the way back: no answer once; what follows makes it go back */
    FAULT_UNDO_TWICE,
    FAULT_UNDO_CRASHED,
    FAULT_COUNT
};
static const char *const faults[FAULT_COUNT] = {"",
                                                "refused",
                                                "no answer",
                                                "lost",
                                                "answered twice",
                                                "answered late",
                                                "out of order",
                                                "crashed",
                                                "undo: no answer once",
                                                "undo: answered twice",
                                                "undo: crashed"};

/* What the world has done for a step of the instance. */
struct effect {
    bool done;
    bool undone;
    uint64_t asked; /* how often, by sendings seen */
    uint64_t undo_asked;
};

struct answer {
    int64_t due_us;
    uint64_t order;
    size_t step;
    uint64_t attempt;
    bool undo;
    bool crash; /* the first taking of it is lost */
    enum dbk_saga_outcome outcome;
    const struct dbk_saga_route *route; /* of an event; NULL: a call's outcome */
};

struct simulation {
    const char *name;
    const char *file;
    struct dbk_slice source;
    struct dbk_saga_script *script;
    struct dbk_json *json;
    struct dbk_arena arena;
    struct dbk_buf record; /* JSON */
    struct dbk_slice id;
    int64_t now_us;
    uint64_t position;
    enum fault fault;
    size_t target;   /* the step of the fault, in the order they began */
    size_t break_at; /* this one is refused, so that all goes back; SIZE_MAX: none */
    struct effect effects[DBK_SAGA_STEPS_MAX];
    struct answer answers[ANSWERS_MAX];
    size_t answer_count;
    uint64_t order;
    size_t told;         /* samples of other events that were delivered */
    const char *failure; /* why it cannot get on */
    struct dbk_event event;
};

const char *dbk_saga_end_name(enum dbk_saga_end end)
{
    static const char *const names[] = {"complete", "compensated", "stuck", "half-done"};
    return names[end];
}

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory simulating a saga");
}

static bool take_lock(void *context, struct dbk_slice lock)
{
    (void)context;
    (void)lock;
    return true;
}

static int load(void *context, uint64_t position, const struct dbk_event **event_out,
                struct dbk_error *err)
{
    (void)context;
    (void)position;
    (void)event_out;
    (void)err;
    return 0; /* nothing is put aside but what parks it, and then it ends */
}

static int read_record(struct simulation *simulation, struct dbk_saga_record *record,
                       struct dbk_error *err)
{
    *record = (struct dbk_saga_record){0};
    return simulation->record.size == 0
               ? DBK_OK
               : dbk_saga_record_read(simulation->json, dbk_buf_slice(&simulation->record),
                                      &simulation->arena, record, err);
}

/* ---- The world ---- */

static const struct dbk_saga_route *route_of(const struct simulation *simulation, size_t definition,
                                             enum dbk_saga_role role)
{
    const struct dbk_saga_definition *declared = dbk_saga_script_definition(simulation->script);
    for (size_t i = 0; i < declared->route_count; i++) {
        if (declared->routes[i].role == role && declared->routes[i].step == definition)
            return &declared->routes[i];
    }
    return NULL;
}

static void push(struct simulation *simulation, const struct answer *answer)
{
    if (simulation->answer_count == ANSWERS_MAX)
        return;
    simulation->answers[simulation->answer_count] = *answer;
    simulation->answers[simulation->answer_count++].order = ++simulation->order;
}

/* A request reaches the world, or does not; its answer comes, or does not. */
static void ask(struct simulation *simulation, const struct dbk_saga_record *record, size_t index,
                size_t definition)
{
    const struct dbk_saga_step *step = &record->steps[index];
    struct effect *effect = &simulation->effects[index];
    bool call = step->call.size > 0;
    bool undo = step->phase >= DBK_SAGA_UNDOING;
    bool hit = index == simulation->target;
    enum fault fault = hit ? simulation->fault : FAULT_NONE;
    struct answer answer = {.due_us = simulation->now_us + ANSWER_US,
                            .step = index,
                            .attempt = step->attempt,
                            .undo = undo,
                            .outcome = DBK_SAGA_SUCCEEDED};
    if (!call)
        answer.route = route_of(simulation, definition, undo ? DBK_SAGA_UNDONE : DBK_SAGA_DONE);
    bool waits = call || answer.route != NULL;
    if (undo) {
        bool first = effect->undo_asked++ == 0;
        effect->undone = true;
        if (fault == FAULT_UNDO_ONCE && first && waits) {
            answer.outcome = DBK_SAGA_AGAIN;
            if (!call)
                return;
        }
        answer.crash = fault == FAULT_UNDO_CRASHED && first;
        if (waits)
            push(simulation, &answer);
        if (waits && fault == FAULT_UNDO_TWICE)
            push(simulation, &answer);
        return;
    }
    bool refused = index == simulation->break_at || fault == FAULT_REFUSED;
    effect->asked++;
    if (refused && waits) {
        answer.outcome = DBK_SAGA_REFUSED;
        if (!call)
            answer.route = route_of(simulation, definition, DBK_SAGA_FAILED);
        if (call || answer.route != NULL)
            push(simulation, &answer);
        return;
    }
    if (fault != FAULT_LOST || !waits)
        effect->done = !effect->undone;
    if (!waits)
        return;
    if (fault == FAULT_LATE) /* behind all tries */
        push(simulation, &(struct answer){.due_us = simulation->now_us + LATE_US,
                                          .step = index,
                                          .attempt = step->attempt,
                                          .outcome = DBK_SAGA_SUCCEEDED,
                                          .route = answer.route});
    if (fault == FAULT_LATE || fault == FAULT_LOST || fault == FAULT_NO_ANSWER) {
        answer.outcome = DBK_SAGA_AGAIN;
        if (call)
            push(simulation, &answer);
        return;
    }
    answer.crash = fault == FAULT_CRASHED && effect->asked == 1;
    if (fault == FAULT_REORDERED)
        answer.due_us += 50 * ANSWER_US; /* others overtake it */
    push(simulation, &answer);
    if (fault == FAULT_TWICE)
        push(simulation, &answer);
}

/* Steps that were sent, or undone, since the record before. */
static int look(struct simulation *simulation, const struct dbk_saga_record *before,
                const struct dbk_saga_record *record, struct dbk_error *err)
{
    for (size_t i = 0; i < record->step_count; i++) {
        uint64_t sent = i < before->step_count ? before->steps[i].sends : 0;
        size_t definition = 0;
        if (record->steps[i].sends == sent)
            continue;
        if (!dbk_saga_script_step(simulation->script, record->steps[i].name, &definition))
            return dbk_error_set(err, DBK_EINVAL, "%s declares no step %.*s", simulation->file,
                                 DBK_SLICE_ARGS(record->steps[i].name));
        ask(simulation, record, i, definition);
    }
    return DBK_OK;
}

/* ---- Inputs ---- */

/* crash: what comes of it is lost, and it is taken again. */
static int apply(struct simulation *simulation, const struct dbk_saga_input *input, bool crash,
                 struct dbk_error *err)
{
    struct dbk_saga_record before;
    struct dbk_saga_record record;
    struct dbk_error why = {0};
    struct dbk_saga_machine machine = {.script = simulation->script,
                                       .json = simulation->json,
                                       .arena = &simulation->arena,
                                       .now_us = simulation->now_us,
                                       .position = simulation->position,
                                       .name = dbk_slice_of(simulation->name),
                                       .take_lock = take_lock,
                                       .load = load};
    int rc = read_record(simulation, &before, err);
    if (rc == DBK_OK)
        rc = read_record(simulation, &record, err);
    if (rc < 0)
        return rc;
    rc = dbk_saga_apply(&machine, &record, input, &why);
    if (rc < 0) {
        char *text = dbk_arena_format(&simulation->arena, "%s", why.message);
        simulation->failure = text == NULL ? "out of memory" : text;
        return DBK_OK;
    }
    if (rc == 0)
        return DBK_OK;
    if (crash)
        return apply(simulation, input, false, err);
    dbk_buf_reset(&simulation->record);
    dbk_saga_record_write(&record, machine.on, &simulation->record);
    if (simulation->record.rc < 0)
        return no_memory(err);
    return look(simulation, &before, &record, err);
}

static int give_event(struct simulation *simulation, const struct dbk_saga_route *route, bool crash,
                      struct dbk_error *err)
{
    struct dbk_saga_record record;
    struct dbk_slice data = {0};
    struct dbk_slice id = {0};
    int rc = read_record(simulation, &record, err);
    if (rc == DBK_OK)
        rc = dbk_saga_script_sample(simulation->script, route->type, record.state,
                                    &simulation->arena, &data, err);
    if (rc == DBK_OK && data.data == NULL)
        rc = dbk_error_set(err, DBK_EINVAL,
                           "%s: `samples` has no %.*s: write data of such an event, or a function "
                           "of (state) that returns it",
                           simulation->file, DBK_SLICE_ARGS(route->type));
    if (rc < 0)
        return rc;
    simulation->event = (struct dbk_event){.position = ++simulation->position,
                                           .version = 1,
                                           .time_us = simulation->now_us,
                                           .occurred_us = DBK_TIME_NONE,
                                           .stream = DBK_SLICE_LITERAL("simulated-1"),
                                           .type = route->type,
                                           .data = data,
                                           .flags = DBK_RECORD_JSON};
    rc = dbk_saga_script_by(simulation->script, route, &simulation->event, &simulation->arena, &id,
                            err);
    if (rc == DBK_OK && simulation->id.data == NULL)
        simulation->id = id;
    if (rc == DBK_OK && (id.data == NULL || !dbk_slice_equal(id, simulation->id)))
        rc = dbk_error_set(err, DBK_EINVAL,
                           "%s: the sample of %.*s is of another instance than the event that "
                           "begins it",
                           simulation->file, DBK_SLICE_ARGS(route->type));
    return rc < 0 ? rc
                  : apply(simulation,
                          &(struct dbk_saga_input){
                              .kind = DBK_SAGA_EVENT, .event = &simulation->event, .route = route},
                          crash, err);
}

static int give_answer(struct simulation *simulation, const struct answer *answer,
                       struct dbk_error *err)
{
    struct dbk_saga_record record;
    struct dbk_slice reply = {0};
    if (answer->route != NULL)
        return give_event(simulation, answer->route, answer->crash, err);
    int rc = read_record(simulation, &record, err);
    if (rc == DBK_OK && answer->outcome == DBK_SAGA_SUCCEEDED && !answer->undo)
        rc = dbk_saga_script_sample(simulation->script, record.steps[answer->step].name,
                                    record.state, &simulation->arena, &reply, err);
    if (rc < 0)
        return rc;
    static const char *const whys[] = {"", "it was refused", "no answer came", ""};
    return apply(simulation,
                 &(struct dbk_saga_input){.kind = DBK_SAGA_OUTCOME,
                                          .step = answer->step,
                                          .attempt = answer->attempt,
                                          .undo = answer->undo,
                                          .outcome = answer->outcome,
                                          .reply = reply,
                                          .why = dbk_slice_of(whys[answer->outcome])},
                 answer->crash, err);
}

/* The answer that comes first, when it comes before a moment. */
static bool pop(struct simulation *simulation, int64_t before_us, struct answer *answer_out)
{
    size_t first = simulation->answer_count;
    for (size_t i = 0; i < simulation->answer_count; i++) {
        const struct answer *at = &simulation->answers[i];
        if (first == simulation->answer_count || at->due_us < simulation->answers[first].due_us ||
            (at->due_us == simulation->answers[first].due_us &&
             at->order < simulation->answers[first].order))
            first = i;
    }
    if (first == simulation->answer_count || simulation->answers[first].due_us > before_us)
        return false;
    *answer_out = simulation->answers[first];
    simulation->answers[first] = simulation->answers[--simulation->answer_count];
    return true;
}

/* The next sample of an event that neither begins it nor answers a step. NULL: there is none. */
static const struct dbk_saga_route *next_told(struct simulation *simulation)
{
    const struct dbk_saga_definition *definition = dbk_saga_script_definition(simulation->script);
    while (simulation->told < definition->route_count) {
        const struct dbk_saga_route *route = &definition->routes[simulation->told++];
        struct dbk_slice sample = {0};
        if (route->role == DBK_SAGA_ON &&
            dbk_saga_script_sample(simulation->script, route->type, (struct dbk_slice){0},
                                   &simulation->arena, &sample, NULL) == DBK_OK &&
            sample.data != NULL)
            return route;
    }
    return NULL;
}

/* 1: it went on; 0: nothing comes any more. */
static int go_on(struct simulation *simulation, const struct dbk_saga_record *record,
                 struct dbk_error *err)
{
    struct answer answer;
    int64_t due_us = dbk_saga_due_us(record);
    if (pop(simulation, due_us, &answer)) {
        if (answer.due_us > simulation->now_us)
            simulation->now_us = answer.due_us;
        int rc = give_answer(simulation, &answer, err);
        return rc < 0 ? rc : 1;
    }
    const struct dbk_saga_route *told = dbk_saga_is_open(record) ? next_told(simulation) : NULL;
    if (told != NULL) {
        int rc = give_event(simulation, told, false, err);
        return rc < 0 ? rc : 1;
    }
    if (due_us == INT64_MAX)
        return 0;
    if (due_us > simulation->now_us)
        simulation->now_us = due_us;
    int rc = apply(simulation, &(struct dbk_saga_input){.kind = DBK_SAGA_TIME}, false, err);
    return rc < 0 ? rc : 1;
}

/* ---- Runs ---- */

static const struct dbk_saga_route *start_of(struct simulation *simulation, struct dbk_error *err)
{
    const struct dbk_saga_definition *definition = dbk_saga_script_definition(simulation->script);
    const struct dbk_saga_route *first = NULL;
    for (size_t i = 0; i < definition->route_count; i++) {
        struct dbk_slice sample = {0};
        if (definition->routes[i].role != DBK_SAGA_START)
            continue;
        first = first == NULL ? &definition->routes[i] : first;
        if (dbk_saga_script_sample(simulation->script, definition->routes[i].type,
                                   (struct dbk_slice){0}, &simulation->arena, &sample, err) < 0)
            return NULL;
        if (sample.data != NULL)
            return &definition->routes[i];
    }
    if (first != NULL) /* the file has one, or it would not have opened */
        (void)dbk_error_set(err, DBK_EINVAL,
                            "%s: `samples` has no %.*s: write data of an event that begins it",
                            simulation->file, DBK_SLICE_ARGS(first->type));
    return NULL;
}

static int run(struct simulation *simulation, struct dbk_error *err)
{
    struct dbk_saga_record record;
    memset(simulation->effects, 0, sizeof(simulation->effects));
    dbk_buf_reset(&simulation->record);
    simulation->id = (struct dbk_slice){0};
    simulation->now_us = 1000000;
    simulation->position = simulation->answer_count = simulation->told = 0;
    simulation->failure = NULL;
    const struct dbk_saga_route *start = start_of(simulation, err);
    int rc = start == NULL ? DBK_EINVAL : give_event(simulation, start, false, err);
    for (size_t i = 0; rc >= 0 && i < INPUTS_MAX && simulation->failure == NULL; i++) {
        rc = read_record(simulation, &record, err);
        if (rc == DBK_OK)
            rc = go_on(simulation, &record, err);
        if (rc == 0)
            return DBK_OK;
    }
    if (rc >= 0 && simulation->failure == NULL)
        simulation->failure = "it does not end";
    return rc < 0 ? rc : DBK_OK;
}

/* What the world has done is what the record says. */
static const char *compare(const struct simulation *simulation,
                           const struct dbk_saga_record *record)
{
    for (size_t i = 0; i < record->step_count; i++) {
        const struct effect *effect = &simulation->effects[i];
        bool stands = effect->done && !effect->undone;
        switch (record->steps[i].phase) {
        case DBK_SAGA_STEP_DONE:
            if (!stands)
                return "a step that it says is done is not";
            break;
        case DBK_SAGA_STEP_FAILED:
        case DBK_SAGA_SKIPPED:
        case DBK_SAGA_STEP_UNDONE:
            if (stands)
                return "a step stands that it says does not";
            break;
        case DBK_SAGA_STEP_UNKNOWN:
            if (stands)
                return "a step was done that it knows nothing of, and it is not undone";
            break;
        case DBK_SAGA_KEPT: /* as `none` says */
            break;
        case DBK_SAGA_WAITS:
        case DBK_SAGA_SENT:
        case DBK_SAGA_PAUSED:
        case DBK_SAGA_UNDOING:
        case DBK_SAGA_UNDO_PAUSED:
            return "it has ended, and a step is under way";
        }
    }
    return NULL;
}

static int report(struct simulation *simulation, const char *step, dbk_saga_simulated_fn each,
                  void *context, struct dbk_error *err)
{
    struct dbk_saga_record record;
    struct dbk_buf steps;
    int rc = read_record(simulation, &record, err);
    if (rc < 0)
        return rc;
    struct dbk_saga_simulated result = {
        .step = step, .fault = faults[simulation->fault], .why = record.reason.data};
    result.why = result.why == NULL ? "" : result.why;
    dbk_buf_init(&steps, TEXT_SIZE_MAX);
    for (size_t i = 0; i < record.step_count; i++)
        dbk_buf_append_format(&steps, "%s%.*s %s", i == 0 ? "" : ", ",
                              DBK_SLICE_ARGS(record.steps[i].name),
                              dbk_saga_phase_name(record.steps[i].phase));
    dbk_buf_append_char(&steps, '\0');
    result.steps = steps.rc < 0 ? "" : steps.data;
    result.end =
        record.status == DBK_SAGA_COMPLETED ? DBK_SAGA_END_COMPLETE : DBK_SAGA_END_COMPENSATED;
    const char *differs = compare(simulation, &record);
    if (simulation->failure != NULL || dbk_saga_is_open(&record)) {
        result.end = DBK_SAGA_END_STUCK;
        result.why = simulation->failure != NULL   ? simulation->failure
                     : dbk_saga_is_parked(&record) ? record.fault.data
                                                   : "it waits for what does not come";
    } else if (differs != NULL) {
        result.end = DBK_SAGA_END_HALF_DONE;
        result.why = differs;
    }
    rc = steps.rc < 0 ? no_memory(err) : each(&result, context);
    dbk_buf_release(&steps);
    return rc;
}

/* Whether a fault can be had by a step: its way back needs a later one that is refused. */
static bool applies(struct simulation *simulation, const struct dbk_saga_record *plain,
                    enum fault fault, size_t index, bool call)
{
    size_t definition = 0;
    if (!dbk_saga_script_step(simulation->script, plain->steps[index].name, &definition))
        return false;
    const struct dbk_saga_step_definition *step =
        &dbk_saga_script_definition(simulation->script)->steps[definition];
    bool event = route_of(simulation, definition, DBK_SAGA_DONE) != NULL;
    if (fault >= FAULT_UNDO_ONCE)
        return (call || step->undone) && simulation->break_at != SIZE_MAX &&
               simulation->break_at > index;
    if (fault == FAULT_REFUSED && event)
        return route_of(simulation, definition, DBK_SAGA_FAILED) != NULL;
    return call || event;
}

/* The last step whose refusal can be had: what was done before it goes back then. */
static size_t last_refusable(struct simulation *simulation, const struct dbk_saga_record *plain,
                             const bool *calls)
{
    for (size_t i = plain->step_count; i > 0; i--) {
        size_t definition = 0;
        if (dbk_saga_script_step(simulation->script, plain->steps[i - 1].name, &definition) &&
            (calls[i - 1] || route_of(simulation, definition, DBK_SAGA_FAILED) != NULL))
            return i - 1;
    }
    return SIZE_MAX;
}

/* Which steps, or their ways back, make calls: found by what they send. */
static int find_calls(struct simulation *simulation, const struct dbk_saga_record *plain, bool undo,
                      bool *calls, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < plain->step_count; i++) {
        struct dbk_saga_message message;
        size_t definition = 0;
        const struct dbk_saga_definition *declared = dbk_saga_script_definition(simulation->script);
        if (!dbk_saga_script_step(simulation->script, plain->steps[i].name, &definition) ||
            (undo && !declared->steps[definition].undo))
            continue;
        rc = dbk_saga_script_send(simulation->script,
                                  &(struct dbk_saga_sending){.step = definition,
                                                             .undo = undo,
                                                             .state = plain->state,
                                                             .key = plain->steps[i].key},
                                  &simulation->arena, &message, err);
        calls[i] = rc == DBK_OK && message.call.size > 0;
    }
    return rc;
}

static int run_all(struct simulation *simulation, dbk_saga_simulated_fn each, void *context,
                   struct dbk_error *err)
{
    struct dbk_saga_record plain;
    static const size_t steps_max = 100;
    bool calls[DBK_SAGA_STEPS_MAX] = {false};
    bool undo_calls[DBK_SAGA_STEPS_MAX] = {false};
    simulation->break_at = SIZE_MAX;
    simulation->target = SIZE_MAX;
    int rc = run(simulation, err);
    if (rc == DBK_OK)
        rc = report(simulation, "", each, context, err);
    if (rc == DBK_OK)
        rc = read_record(simulation, &plain, err);
    if (rc == DBK_OK && simulation->failure == NULL)
        rc = find_calls(simulation, &plain, false, calls, err);
    if (rc == DBK_OK && simulation->failure == NULL)
        rc = find_calls(simulation, &plain, true, undo_calls, err);
    if (rc < 0 || simulation->failure != NULL)
        return rc;
    size_t last = last_refusable(simulation, &plain, calls);
    for (size_t i = 0; rc == DBK_OK && i < plain.step_count && i < steps_max; i++) {
        for (int fault = FAULT_REFUSED; rc == DBK_OK && fault < FAULT_COUNT; fault++) {
            simulation->fault = (enum fault)fault;
            simulation->target = i;
            simulation->break_at = fault >= FAULT_UNDO_ONCE ? last : SIZE_MAX;
            if (!applies(simulation, &plain, (enum fault)fault, i,
                         fault >= FAULT_UNDO_ONCE ? undo_calls[i] : calls[i]))
                continue;
            const char *step = plain.steps[i].name.data;
            rc = run(simulation, err);
            if (rc == DBK_OK)
                rc = report(simulation, step, each, context, err);
        }
    }
    return rc;
}

int dbk_saga_simulate(const char *name, const char *file, struct dbk_slice source,
                      dbk_saga_simulated_fn each, void *context, struct dbk_error *err)
{
    struct simulation *simulation = dbk_alloc_zero(1, sizeof(*simulation));
    if (simulation == NULL)
        return no_memory(err);
    simulation->name = name;
    simulation->file = file;
    simulation->source = source;
    simulation->json = dbk_json_create(TEXT_SIZE_MAX);
    dbk_arena_init(&simulation->arena, (size_t)1 << 30);
    dbk_buf_init(&simulation->record, TEXT_SIZE_MAX);
    int rc = simulation->json == NULL
                 ? no_memory(err)
                 : dbk_saga_script_open(file, source, &simulation->script, err);
    if (rc == DBK_OK)
        rc = run_all(simulation, each, context, err);
    dbk_saga_script_free(simulation->script);
    dbk_json_free(simulation->json);
    dbk_arena_release(&simulation->arena);
    dbk_buf_release(&simulation->record);
    dbk_free(simulation);
    return rc;
}

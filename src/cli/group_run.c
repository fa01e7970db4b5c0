/* SPDX-License-Identifier: Apache-2.0 */
/* daybook group run: a consumer that is a command, run once an event. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"
#include "cli/group.h"
#include "json/json.h"

#define ANSWER_SIZE_MAX ((size_t)1 << 30)
/* How long a request waits for an event; a signal is heeded in between. */
#define WAIT_MS "1000"

extern char **environ;

struct runner {
    const struct dbk_arguments *arguments;
    struct dbk_link *link;
    struct dbk_json *json;
    uint64_t acked;
    uint64_t nacked;
};

/* An event as it came. */
struct delivery {
    uint64_t position;
    struct dbk_slice text;
};

static int write_all(int fd, struct dbk_slice bytes)
{
    while (bytes.size > 0) {
        ssize_t written = write(fd, bytes.data, bytes.size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return errno;
        bytes = dbk_slice(bytes.data + written, bytes.size - (size_t)written);
    }
    return 0;
}

static int spawn(const struct runner *runner, int input, pid_t *child_out)
{
    const struct dbk_arguments *arguments = runner->arguments;
    char *words[DBK_ARGUMENTS_MAX];
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t defaults;
    for (size_t i = 1; i < arguments->positional_count; i++)
        words[i - 1] = (char *)(uintptr_t)arguments->positional[i];
    words[arguments->positional_count - 1] = NULL;
    (void)sigemptyset(&defaults);
    (void)sigaddset(&defaults, SIGPIPE);
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    (void)posix_spawnattr_init(&attributes);
    (void)posix_spawnattr_setsigdefault(&attributes, &defaults);
    (void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    int failure = posix_spawnp(child_out, words[0], &actions, &attributes, words, environ);
    (void)posix_spawnattr_destroy(&attributes);
    (void)posix_spawn_file_actions_destroy(&actions);
    return failure;
}

/* Runs the command with the event on its standard input; its wait status. */
static int run_command(const struct runner *runner, const struct delivery *delivery,
                       int *status_out, struct dbk_error *err)
{
    int ends[2];
    pid_t child = 0;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return dbk_error_set_errno(err, errno, "pipe");
    int failure = spawn(runner, ends[0], &child);
    (void)close(ends[0]);
    if (failure != 0) {
        (void)close(ends[1]);
        return dbk_error_set_errno(err, failure, "%s", runner->arguments->positional[1]);
    }
    /* A command that does not read its input may close it: its exit status says how it went. */
    if (write_all(ends[1], delivery->text) == 0)
        (void)write_all(ends[1], DBK_SLICE_LITERAL("\n"));
    (void)close(ends[1]);
    while (waitpid(child, status_out, 0) < 0) {
        if (errno != EINTR)
            return dbk_error_set_errno(err, errno, "waiting for %s",
                                       runner->arguments->positional[1]);
    }
    return DBK_OK;
}

static int send(struct runner *runner, struct dbk_call *call, struct dbk_answer *answer,
                struct dbk_error *err)
{
    int rc = dbk_link_send(runner->link, call, NULL, NULL, answer, err);
    dbk_call_release(call);
    return rc;
}

/* Tells the group what became of an event. */
static int tell(struct runner *runner, const struct delivery *delivery, int status,
                struct dbk_error *err)
{
    struct dbk_call call;
    struct dbk_answer answer;
    bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    bool park = WIFEXITED(status) && WEXITSTATUS(status) == EX_DATAERR;
    dbk_answer_init(&answer);
    dbk_group_call(&call, runner->arguments, "POST", good ? "/ack" : "/nack");
    dbk_buf_append_format(&call.body, "{\"positions\":[%ju]", (uintmax_t)delivery->position);
    if (!good)
        dbk_buf_append_format(&call.body, ",\"action\":\"%s\",\"reason\":\"%s %d\"",
                              park ? "park" : "retry",
                              WIFEXITED(status) ? "exit status" : "ended by signal",
                              WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    dbk_buf_append_char(&call.body, '}');
    int rc = send(runner, &call, &answer, err);
    dbk_answer_release(&answer);
    if (rc == DBK_OK)
        *(good ? &runner->acked : &runner->nacked) += 1;
    return rc;
}

/* 1: an event; 0: there was none. The delivery lies in the answer. */
static int take(struct runner *runner, struct dbk_answer *answer, const char *wait_ms,
                struct delivery *delivery, struct dbk_error *err)
{
    struct dbk_call call;
    const struct dbk_json_node *root = NULL;
    dbk_group_call(&call, runner->arguments, "POST", "/read");
    dbk_call_query(&call, "limit", DBK_SLICE_LITERAL("1"));
    dbk_call_query(&call, "wait_ms", dbk_slice_of(wait_ms));
    int rc = send(runner, &call, answer, err);
    if (rc == DBK_OK)
        rc = dbk_json_parse(runner->json, dbk_buf_slice(&answer->body), &root, err);
    if (rc < 0)
        return rc;
    const struct dbk_json_node *events = dbk_json_member(root, "events");
    if (events == NULL || events->kind != DBK_JSON_ARRAY || events->count == 0)
        return 0;
    const struct dbk_json_node *event = dbk_json_first(events);
    const struct dbk_json_node *position = dbk_json_member(event, "position");
    if (position == NULL || position->kind != DBK_JSON_INTEGER)
        return dbk_error_set(err, DBK_EIO, "the answer has an event without a position");
    *delivery = (struct delivery){(uint64_t)position->integer, event->raw};
    return 1;
}

static int run_one(struct runner *runner, const char *wait_ms, struct dbk_error *err)
{
    struct delivery delivery = {0};
    struct dbk_answer answer;
    int status = 0;
    dbk_answer_init(&answer);
    int rc = take(runner, &answer, wait_ms, &delivery, err);
    if (rc == 1) {
        rc = run_command(runner, &delivery, &status, err);
        if (rc == DBK_OK)
            rc = tell(runner, &delivery, status, err);
        rc = rc < 0 ? rc : 1;
    }
    dbk_answer_release(&answer);
    return rc;
}

static int run_all(struct runner *runner, struct dbk_error *err)
{
    uint64_t limit = dbk_arguments_number(runner->arguments, "limit", UINT64_MAX);
    bool ends = dbk_arguments_has(runner->arguments, "until-empty");
    while (runner->acked + runner->nacked < limit && !dbk_link_stopped()) {
        int rc = run_one(runner, ends ? "0" : WAIT_MS, err);
        if (rc < 0 && dbk_link_stopped())
            break;
        if (rc < 0)
            return rc;
        if (rc == 0 && ends)
            break;
    }
    return DBK_OK;
}

static int show(const struct runner *runner, struct dbk_error *err)
{
    char text[128];
    const struct dbk_json_node *root = NULL;
    struct dbk_table_options options =
        dbk_data_options(runner->arguments, &(struct dbk_data_show){0});
    options.out = stderr; /* standard output is the command's */
    int size = snprintf(text, sizeof(text), "{\"acked\":%ju,\"nacked\":%ju}",
                        (uintmax_t)runner->acked, (uintmax_t)runner->nacked);
    int rc = dbk_json_parse(runner->json, dbk_slice(text, (size_t)size), &root, err);
    return rc < 0 ? rc : dbk_table_object(&options, root, NULL, err);
}

int dbk_run_group_run(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct runner runner = {.arguments = arguments, .json = dbk_json_create(ANSWER_SIZE_MAX)};
    (void)signal(SIGPIPE, SIG_IGN);
    dbk_link_stop_on_signals();
    int rc = runner.json == NULL ? dbk_error_set(&err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                                 : dbk_link_open(arguments, DBK_ENGINE_WRITE, &runner.link, &err);
    if (rc == DBK_OK)
        rc = run_all(&runner, &err);
    if (rc == DBK_OK)
        rc = show(&runner, &err);
    dbk_link_free(runner.link);
    dbk_json_free(runner.json);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}

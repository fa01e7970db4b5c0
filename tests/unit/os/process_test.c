/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process_test -- a program gets its words and its input as they are, and does not outlive its
 * time, its group included.
 */
#include "test.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "os/process.h"

#define SECOND_US INT64_C(1000000)

static int run(const char *const *words, struct dbk_slice input, struct dbk_process_end *end,
               struct dbk_error *err)
{
    const struct dbk_process process = {
        .words = words, .folder = "/tmp", .input = input, .timeout_us = 20 * SECOND_US};
    return dbk_process_run(&process, end, err);
}

/* What a shell would take apart. */
static void test_os_process__words_and_input_are_given_as_they_are(void **state)
{
    static const char word[] = "a b; $(exit 9) `exit 9` \"' > /tmp/daybook-process-made";
    static const char script[] =
        "import os, sys; "
        "sys.exit(0 if sys.argv[1] == sys.stdin.read() and os.getcwd() == '/tmp' and "
        "sorted(os.listdir('/proc/self/fd'))[:3] == ['0', '1', '2'] and "
        "len(os.listdir('/proc/self/fd')) <= 4 else 3)";
    static const char *const words[] = {"python3", "-c", script, word, NULL};
    struct dbk_process_end end;
    struct dbk_error err = {0};
    (void)state;
    assert_ok(run(words, DBK_SLICE_LITERAL(word), &end, &err), &err);
    assert_true(end.exited);
    assert_int_equal(end.status, 0);
    assert_int_not_equal(access("/tmp/daybook-process-made", F_OK), 0);
}

static void test_os_process__an_input_past_a_pipe_is_given_whole(void **state)
{
    static const char *const counting[] = {
        "python3", "-c", "import sys; sys.exit(len(sys.stdin.read()) != 3000000)", NULL};
    static const char *const careless[] = {"true", NULL};
    const struct dbk_slice input = {.data = malloc(3000000), .size = 3000000};
    struct dbk_process_end end;
    struct dbk_error err = {0};
    (void)state;
    assert_non_null(input.data);
    memset((char *)(uintptr_t)input.data, 'x', input.size);
    assert_ok(run(counting, input, &end, &err), &err);
    assert_int_equal(end.status, 0);
    assert_ok(run(careless, input, &end, &err), &err); /* leaves it unread */
    assert_true(end.exited);
    assert_int_equal(end.status, 0);
    free((char *)(uintptr_t)input.data);
}

static void test_os_process__how_it_ended_is_told(void **state)
{
    static const char *const failing[] = {"sh", "-c", "echo one >&2; echo two >&2; exit 7", NULL};
    static const char *const killed[] = {"sh", "-c", "kill -9 $$", NULL};
    static const char *const missing[] = {"daybook-no-such-program", NULL};
    struct dbk_process_end end;
    struct dbk_error err = {0};
    (void)state;
    assert_ok(run(failing, dbk_slice(NULL, 0), &end, &err), &err);
    assert_true(end.exited);
    assert_int_equal(end.status, 7);
    assert_string_equal(end.said, "one two");
    assert_ok(run(killed, dbk_slice(NULL, 0), &end, &err), &err);
    assert_false(end.exited);
    assert_int_equal(end.status, 9);
    assert_int_equal(run(missing, dbk_slice(NULL, 0), &end, &err), DBK_ENOTFOUND);
    assert_non_null(strstr(err.message, "daybook-no-such-program"));
}

/* Past its time, and when it is to end, with what it began. */
static void test_os_process__its_group_ends_with_it(void **state)
{
    static const char *const words[] = {"sh", "-c", "(exec sleep 98765) & exec sleep 98765", NULL};
    _Atomic bool ends = true;
    struct dbk_process_end end;
    struct dbk_error err = {0};
    struct dbk_process process = {.words = words, .timeout_us = SECOND_US / 2};
    (void)state;
    assert_int_equal(dbk_process_run(&process, &end, &err), DBK_ETIMEOUT);
    process.timeout_us = 60 * SECOND_US;
    process.ends = &ends;
    assert_int_equal(dbk_process_run(&process, &end, &err), DBK_ESTOPPED);
    static const char *const left[] = {
        "python3", "-c",
        "import glob, sys, time\n"
        "def there():\n"
        "    for name in glob.glob('/proc/[0-9]*/cmdline'):\n"
        "        try:\n"
        "            if open(name, 'rb').read() == b'sleep\\0' + b'98765\\0': return True\n"
        "        except OSError: pass\n"
        "for _ in range(50):\n"
        "    if not there(): sys.exit(0)\n"
        "    time.sleep(0.1)\n"
        "sys.exit(1)",
        NULL};
    assert_ok(run(left, dbk_slice(NULL, 0), &end, &err), &err);
    assert_int_equal(end.status, 0);
}

/* The program of a process that is killed ends, too. */
static void test_os_process__it_does_not_outlive_who_runs_it(void **state)
{
    static const char script[] = "echo $$ >&3; exec sleep 98766";
    int ends[2];
    char text[32] = "";
    (void)state;
    assert_int_equal(pipe(ends), 0);
    pid_t runner = fork();
    assert_true(runner >= 0);
    if (runner == 0) {
        char path[64];
        char line[128];
        (void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getppid(), ends[1]);
        (void)snprintf(line, sizeof(line), "exec 3>%s; %s", path, script);
        const char *const words[] = {"sh", "-c", line, NULL};
        const struct dbk_process process = {.words = words, .timeout_us = 60 * SECOND_US};
        struct dbk_process_end end;
        _exit(dbk_process_run(&process, &end, NULL) == DBK_OK ? 0 : 1);
    }
    assert_true(read(ends[0], text, sizeof(text) - 1) > 0);
    pid_t child = (pid_t)strtol(text, NULL, 10);
    assert_true(child > 0);
    assert_int_equal(kill(runner, SIGKILL), 0);
    assert_int_equal(waitpid(runner, NULL, 0), runner);
    int rc = 0;
    for (int i = 0; i < 500 && (rc = kill(child, 0)) == 0; i++) {
        char stat[64];
        char state_of = 'R';
        (void)snprintf(stat, sizeof(stat), "/proc/%d/stat", (int)child);
        FILE *file = fopen(stat, "r");
        if (file == NULL || fscanf(file, "%*d %*s %c", &state_of) != 1 || state_of == 'Z')
            rc = -1; /* nobody has waited for it yet */
        if (file != NULL)
            (void)fclose(file);
        if (rc != 0)
            break;
        const struct timespec moment = {.tv_nsec = 10000000};
        (void)nanosleep(&moment, NULL);
    }
    assert_int_not_equal(rc, 0);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_os_process__words_and_input_are_given_as_they_are),
        cmocka_unit_test(test_os_process__an_input_past_a_pipe_is_given_whole),
        cmocka_unit_test(test_os_process__how_it_ended_is_told),
        cmocka_unit_test(test_os_process__its_group_ends_with_it),
        cmocka_unit_test(test_os_process__it_does_not_outlive_who_runs_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

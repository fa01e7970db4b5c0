/* SPDX-License-Identifier: Apache-2.0 */
#include "os/process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* How often it is looked whether it has ended, or is to. */
#define LOOK_MS 20

/* The ends of pipes: [0] is read. */
struct pipes {
    int input[2];
    int said[2];
    int failure[2]; /* errno, where the program could not be begun */
};

struct running {
    const struct dbk_process *process;
    struct dbk_process_end *end;
    pid_t child;
    int input;    /* -1: closed */
    int said;     /* likewise */
    size_t given; /* bytes of the input */
    size_t heard;
};

static void close_one(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

static void close_pipes(struct pipes *pipes)
{
    for (int i = 0; i < 2; i++) {
        close_one(&pipes->input[i]);
        close_one(&pipes->said[i]);
        close_one(&pipes->failure[i]);
    }
}

static int64_t monotonic_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* In the child, where only what is safe in a signal handler is called. */
static void begin(const struct dbk_process *process, const struct pipes *pipes, pid_t parent)
{
    sigset_t none;
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    (void)sigemptyset(&none);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)setpgid(0, 0);
    /* Whoever ran it may have ended before it asked to be told. */
    bool good = prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent && nowhere >= 0 &&
                dup2(pipes->input[0], STDIN_FILENO) >= 0 && dup2(nowhere, STDOUT_FILENO) >= 0 &&
                dup2(pipes->said[1], STDERR_FILENO) >= 0 &&
                (process->folder == NULL || chdir(process->folder) == 0) &&
                close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) == 0;
    if (good)
        (void)execvp(process->words[0], (char *const *)(uintptr_t)process->words);
    int failure = errno;
    (void)!write(pipes->failure[1], &failure, sizeof(failure));
    _exit(127);
}

static int spawn(struct running *running, struct pipes *pipes, struct dbk_error *err)
{
    const struct dbk_process *process = running->process;
    const char *name = process->words[0];
    pid_t parent = getpid();
    if (pipe2(pipes->input, O_CLOEXEC) < 0 || pipe2(pipes->said, O_CLOEXEC) < 0 ||
        pipe2(pipes->failure, O_CLOEXEC) < 0)
        return dbk_error_set_errno(err, errno, "%s: a pipe for it", name);
    running->child = fork();
    if (running->child < 0)
        return dbk_error_set_errno(err, errno, "%s cannot be run", name);
    if (running->child == 0)
        begin(process, pipes, parent);
    close_one(&pipes->failure[1]);
    int failure = 0;
    ssize_t size = 0;
    do {
        size = read(pipes->failure[0], &failure, sizeof(failure));
    } while (size < 0 && errno == EINTR);
    if (size != (ssize_t)sizeof(failure))
        return DBK_OK;
    (void)waitpid(running->child, NULL, 0);
    return dbk_error_set_errno(err, failure == 0 ? EIO : failure, "%s cannot be run", name);
}

/* Some of its input, as much as it takes now. */
static void give(struct running *running)
{
    const struct dbk_slice input = running->process->input;
    ssize_t size = write(running->input, input.data + running->given, input.size - running->given);
    if (size > 0)
        running->given += (size_t)size;
    bool goes_on = size > 0 || (size < 0 && (errno == EINTR || errno == EAGAIN));
    if (!goes_on || running->given == input.size)
        close_one(&running->input);
}

static void hear(struct running *running)
{
    char bytes[256];
    char *said = running->end->said;
    ssize_t size = read(running->said, bytes, sizeof(bytes));
    if (size == 0 || (size < 0 && errno != EINTR && errno != EAGAIN))
        close_one(&running->said);
    for (ssize_t i = 0; i < size && running->heard + 1 < sizeof(running->end->said); i++)
        said[running->heard++] = (unsigned char)bytes[i] < ' ' ? ' ' : bytes[i];
    said[running->heard] = '\0';
}

static void move(struct running *running)
{
    struct pollfd fds[] = {{.fd = running->input, .events = POLLOUT},
                           {.fd = running->said, .events = POLLIN}};
    if (poll(fds, 2, LOOK_MS) <= 0)
        return;
    if (fds[0].revents != 0)
        give(running);
    if (fds[1].revents != 0)
        hear(running);
}

static void kill_all(const struct running *running)
{
    (void)kill(-running->child, SIGKILL);
    (void)kill(running->child, SIGKILL); /* it may not have its group yet */
    while (waitpid(running->child, NULL, 0) < 0 && errno == EINTR)
        continue;
}

static int wait_end(struct running *running, struct dbk_error *err)
{
    const struct dbk_process *process = running->process;
    int64_t until_us = monotonic_us() + process->timeout_us;
    int status = 0;
    for (;;) {
        siginfo_t info = {.si_pid = 0};
        int rc = waitid(P_PID, (id_t)running->child, &info, WEXITED | WNOHANG | WNOWAIT);
        if (rc == 0 && info.si_pid == running->child)
            break;
        bool stopped = process->ends != NULL && *process->ends;
        if (stopped || monotonic_us() >= until_us || (rc < 0 && errno != EINTR)) {
            kill_all(running);
            return stopped ? dbk_error_set(err, DBK_ESTOPPED, "%s was ended", process->words[0])
                           : dbk_error_set(err, DBK_ETIMEOUT, "%s took more than %lld s",
                                           process->words[0],
                                           (long long)(process->timeout_us / 1000000));
        }
        move(running);
    }
    if (running->said >= 0)
        hear(running);
    /* What it began is not left behind; until it is waited for its group's number is no other's. */
    (void)kill(-running->child, SIGKILL);
    while (waitpid(running->child, &status, 0) < 0 && errno == EINTR)
        continue;
    running->end->exited = WIFEXITED(status);
    running->end->status = WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status);
    while (running->heard > 0 && running->end->said[running->heard - 1] == ' ')
        running->end->said[--running->heard] = '\0';
    return DBK_OK;
}

int dbk_process_run(const struct dbk_process *process, struct dbk_process_end *end_out,
                    struct dbk_error *err)
{
    struct pipes pipes = {{-1, -1}, {-1, -1}, {-1, -1}};
    struct running running = {.process = process, .end = end_out, .input = -1, .said = -1};
    sigset_t pipe_signal;
    sigset_t before;
    *end_out = (struct dbk_process_end){.exited = false};
    (void)sigemptyset(&pipe_signal);
    (void)sigaddset(&pipe_signal, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
    int rc = spawn(&running, &pipes, err);
    if (rc == DBK_OK) {
        running.input = pipes.input[1];
        running.said = pipes.said[0];
        pipes.input[1] = -1;
        pipes.said[0] = -1;
        close_pipes(&pipes);
        (void)fcntl(running.input, F_SETFL, O_NONBLOCK);
        (void)fcntl(running.said, F_SETFL, O_NONBLOCK);
        if (process->input.size == 0)
            close_one(&running.input);
        rc = wait_end(&running, err);
    }
    close_pipes(&pipes);
    close_one(&running.input);
    close_one(&running.said);
    /* The signal of a pipe that was closed is this thread's: it is taken before it can end us. */
    const struct timespec now = {0};
    while (sigtimedwait(&pipe_signal, NULL, &now) > 0)
        continue;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

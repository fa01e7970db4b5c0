/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nats_append -- durable publishes to NATS JetStream, as `daybook bench append` appends.
 *
 *     nats_append PORT CLIENTS SECONDS SIZE
 *
 * Makes a stream on files, then each client publishes on a connection of its own and waits for the
 * server's acknowledgement before the next. Prints what was acknowledged, and how long it took, as
 * a JSON line. Compiled by `bench/peers/run`; not a part of Daybook.
 *
 * Source: the NATS client protocol, and JetStream's API over it.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 1024
#define SIZE_MAX_BYTES 65536

struct client {
    pthread_t thread;
    int number;
    long acked;
};

static int port;
static size_t payload_size;
static double end_at;
static _Atomic int failed;

static double now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int give_up(const char *what)
{
    (void)fprintf(stderr, "nats_append: %s\n", what);
    failed = 1;
    return -1;
}

static int send_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent <= 0)
            return give_up("the server closed the connection");
        bytes += sent;
        size -= (size_t)sent;
    }
    return 0;
}

/* Reads until the bytes hold a text; they are kept as a text of their own. */
static int wait_for(int fd, const char *text, char *bytes, size_t size)
{
    size_t used = 0;
    for (;;) {
        ssize_t got = recv(fd, bytes + used, size - used - 1, 0);
        if (got <= 0)
            return give_up("the server closed the connection");
        used += (size_t)got;
        bytes[used] = '\0';
        if (strstr(bytes, "-ERR") != NULL || strstr(bytes, "\"error\"") != NULL)
            return give_up(bytes);
        if (strstr(bytes, text) != NULL)
            return 0;
        if (used + 1 == size)
            return give_up("an answer is too long");
    }
}

static int open_connection(int inbox)
{
    char bytes[8192];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return give_up("no connection");
    int size = snprintf(bytes, sizeof(bytes),
                        "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n"
                        "SUB inbox.%d 1\r\nPING\r\n",
                        inbox);
    if (send_all(fd, bytes, (size_t)size) < 0 || wait_for(fd, "PONG", bytes, sizeof(bytes)) < 0)
        return -1;
    return fd;
}

static int make_stream(void)
{
    static const char config[] = "{\"name\":\"bench\",\"subjects\":[\"bench.>\"],"
                                 "\"storage\":\"file\",\"num_replicas\":1}";
    char bytes[8192];
    int fd = open_connection(CLIENTS_MAX);
    if (fd < 0)
        return -1;
    int size =
        snprintf(bytes, sizeof(bytes), "PUB $JS.API.STREAM.CREATE.bench inbox.%d %zu\r\n%s\r\n",
                 CLIENTS_MAX, strlen(config), config);
    int rc = send_all(fd, bytes, (size_t)size);
    if (rc == 0)
        rc = wait_for(fd, "stream_create_response", bytes, sizeof(bytes));
    (void)close(fd);
    return rc;
}

static void *run(void *context)
{
    struct client *client = context;
    char answer[8192];
    char *message = malloc(payload_size + 256);
    int fd = message == NULL ? -1 : open_connection(client->number);
    if (fd < 0) {
        failed = 1;
        free(message);
        return NULL;
    }
    int head = snprintf(message, 256, "PUB bench.%d inbox.%d %zu\r\n", client->number,
                        client->number, payload_size);
    memset(message + head, 'x', payload_size);
    memcpy(message + head + payload_size, "\r\n", 2);
    while (now() < end_at && !failed) {
        if (send_all(fd, message, (size_t)head + payload_size + 2) < 0 ||
            wait_for(fd, "\"seq\"", answer, sizeof(answer)) < 0)
            break;
        client->acked++;
    }
    (void)close(fd);
    free(message);
    return NULL;
}

int main(int argument_count, char **arguments)
{
    static struct client clients[CLIENTS_MAX];
    if (argument_count != 5)
        return 2;
    port = atoi(arguments[1]);
    int count = atoi(arguments[2]);
    double seconds = atof(arguments[3]);
    payload_size = (size_t)atol(arguments[4]);
    if (count < 1 || count > CLIENTS_MAX || payload_size > SIZE_MAX_BYTES || make_stream() < 0)
        return 1;
    double began = now();
    long acked = 0;
    end_at = began + seconds;
    for (int i = 0; i < count; i++) {
        clients[i].number = i;
        if (pthread_create(&clients[i].thread, NULL, run, &clients[i]) != 0)
            return 1;
    }
    for (int i = 0; i < count; i++) {
        (void)pthread_join(clients[i].thread, NULL);
        acked += clients[i].acked;
    }
    (void)printf("{\"appends\":%ld,\"seconds\":%.3f}\n", acked, now() - began);
    return failed;
}

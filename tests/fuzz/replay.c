/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay -- runs a fuzz target over its corpus, as a test: each file whole, each beginning of it,
 * and each with one byte turned over.
 *
 *     replay-<name> FOLDER
 *
 * Every input lies in a heap block of exactly its size, so that ASan sees a read past its end.
 */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Files up to this size are also run cut at every byte and with every byte turned over. */
#define SIZE_EXHAUSTED 4096
#define SIZE_MAX_READ ((size_t)1 << 20)

static unsigned long run_count;

static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size == 0 ? 1 : size);
    if (copy == NULL)
        abort();
    memcpy(copy, data, size);
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    run_count++;
}

static void exhaust(uint8_t *data, size_t size)
{
    run(data, size);
    if (size > SIZE_EXHAUSTED)
        return;
    for (size_t cut = 0; cut < size; cut++)
        run(data, cut);
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)~data[i];
        run(data, size);
        data[i] = (uint8_t)~data[i];
    }
}

static int run_file(const char *folder, const char *name)
{
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(SIZE_MAX_READ);
    if (file == NULL || data == NULL) {
        perror(path);
        free(data);
        return 1;
    }
    size_t size = fread(data, 1, SIZE_MAX_READ, file);
    (void)fclose(file);
    exhaust(data, size);
    free(data);
    return 0;
}

int main(int argument_count, char **arguments)
{
    unsigned file_count = 0;
    int failed = 0;
    DIR *folder = argument_count == 2 ? opendir(arguments[1]) : NULL;
    if (folder == NULL) {
        (void)fprintf(stderr, "usage: replay FOLDER\n");
        return 2;
    }
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (entry->d_name[0] == '.')
            continue;
        failed |= run_file(arguments[1], entry->d_name);
        file_count++;
    }
    (void)closedir(folder);
    (void)printf("%u files, %lu inputs\n", file_count, run_count);
    return failed != 0 || file_count == 0;
}

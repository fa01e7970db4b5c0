/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "verify/verify.h"

#define NAME_DIGITS 20

bool dbk_file_map(const char *path, struct dbk_bytes *bytes_out)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    *bytes_out = (struct dbk_bytes){0};
    if (fd < 0)
        return false;
    bool done = fstat(fd, &status) == 0;
    if (done && !S_ISREG(status.st_mode)) {
        errno = EISDIR;
        done = false;
    }
    if (done && status.st_size > 0) {
        void *data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        done = data != MAP_FAILED;
        if (done)
            *bytes_out = (struct dbk_bytes){data, (size_t)status.st_size};
    }
    int kept = errno;
    (void)close(fd);
    errno = kept;
    return done;
}

void dbk_file_unmap(struct dbk_bytes bytes)
{
    if (bytes.data != NULL)
        (void)munmap((void *)(uintptr_t)bytes.data, bytes.size);
}

bool dbk_file_is_folder(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

long dbk_file_segments(const char *folder, uint64_t **positions_out)
{
    DIR *list = opendir(folder);
    uint64_t *positions = NULL;
    size_t count = 0;
    if (list == NULL)
        return -1;
    for (const struct dirent *entry; (entry = readdir(list)) != NULL;) {
        struct dbk_bytes name = {(const uint8_t *)entry->d_name, NAME_DIGITS};
        uint64_t position = 0;
        /* Its digits, which may begin with zeros, and ".seg". */
        if (strlen(entry->d_name) != NAME_DIGITS + 4 ||
            strcmp(entry->d_name + NAME_DIGITS, ".seg") != 0)
            continue;
        while (name.size > 1 && name.data[0] == '0')
            name = dbk_part(name, 1, name.size - 1);
        if (!dbk_decimal(name, &position))
            continue;
        if ((count & (count - 1)) == 0)
            positions = dbk_room(positions, count == 0 ? 1 : count * 2, sizeof(*positions));
        positions[count++] = position;
    }
    (void)closedir(list);
    if (count > 0)
        qsort(positions, count, sizeof(*positions), compare);
    *positions_out = positions;
    return (long)count;
}

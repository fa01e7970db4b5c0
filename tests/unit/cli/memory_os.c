/* SPDX-License-Identifier: Apache-2.0 */
#include "memory_os.h"

static int memory_open(struct dbk_os *os, const char *path, unsigned flags,
                       struct dbk_file *file_out, struct dbk_error *err)
{
    (void)os;
    (void)path;
    (void)flags;
    (void)err;
    *file_out = (struct dbk_file){.fd = 0};
    return DBK_OK;
}

static void memory_close(struct dbk_os *os, struct dbk_file *file)
{
    (void)os;
    *file = DBK_FILE_CLOSED;
}

static int memory_size(struct dbk_os *os, const struct dbk_file *file, uint64_t *size_out,
                       struct dbk_error *err)
{
    (void)file;
    (void)err;
    *size_out = ((const struct memory_os *)(const void *)os)->bytes.size;
    return DBK_OK;
}

static int memory_pread(struct dbk_os *os, const struct dbk_file *file, void *buffer, size_t size,
                        uint64_t offset, size_t *size_out, struct dbk_error *err)
{
    const struct memory_os *memory = (const struct memory_os *)(const void *)os;
    (void)file;
    (void)err;
    size_t left = offset < memory->bytes.size ? memory->bytes.size - (size_t)offset : 0;
    size_t count = left < size ? left : size;
    if (memory->piece > 0 && count > memory->piece)
        count = memory->piece;
    if (count > 0)
        memcpy(buffer, memory->bytes.data + offset, count);
    *size_out = count;
    return DBK_OK;
}

void memory_os_init(struct memory_os *memory, struct dbk_slice bytes, size_t piece)
{
    *memory = (struct memory_os){.os = {.open = memory_open,
                                        .close = memory_close,
                                        .size = memory_size,
                                        .pread = memory_pread},
                                 .bytes = bytes,
                                 .piece = piece};
}

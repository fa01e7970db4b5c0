/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/service_move.h"

#include <stdio.h>

#include "cli/fail.h"

#define FILE_SIZE_MAX ((size_t)1 << 20)
#define KEY "database:"

/* ---- The file's text ---- */

/* Where the value of the line `database: …` is; empty: there is no such line. */
static struct dbk_slice find_value(struct dbk_slice text)
{
    size_t at = 0;
    while (at < text.size) {
        const char *line = text.data + at;
        const char *end = memchr(line, '\n', text.size - at);
        size_t size = end == NULL ? text.size - at : (size_t)(end - line);
        if (size > sizeof(KEY) && memcmp(line, KEY " ", sizeof(KEY)) == 0) {
            size_t from = sizeof(KEY);
            while (from < size && line[from] == ' ')
                from++;
            size_t to = from;
            while (to < size && line[to] != ' ' && line[to] != '#' && line[to] != '\r')
                to++;
            return dbk_slice(line + from, to - from);
        }
        at += size + 1;
    }
    return (struct dbk_slice){0};
}

/* Reads the file into `text`, and the file as it is to be into `changed`, which is empty where its
   line is not found. */
static int change(const struct dbk_service_move *move, char path_out[DBK_PLACE_SIZE_MAX],
                  struct dbk_buf *text, struct dbk_buf *changed, struct dbk_error *err)
{
    int size = snprintf(path_out, DBK_PLACE_SIZE_MAX, "%s/%s", move->place->folder, move->file);
    if (size < 0 || size >= DBK_PLACE_SIZE_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "the path of %s is too long", move->file);
    int rc = dbk_os_read_file(dbk_os_real(), path_out, FILE_SIZE_MAX, text, err);
    if (rc < 0)
        return rc;
    struct dbk_slice value = find_value(dbk_buf_slice(text));
    if (value.size == 0)
        return DBK_OK;
    size_t before = (size_t)(value.data - text->data);
    dbk_buf_append(changed, dbk_slice(text->data, before));
    dbk_buf_append_text(changed, move->database);
    dbk_buf_append(changed, dbk_slice(value.data + value.size, text->size - before - value.size));
    return changed->rc < 0
               ? dbk_error_set(err, changed->rc, "%s: %s", move->file, dbk_code_text(changed->rc))
               : DBK_OK;
}

/* ---- The book as it would be ---- */

/* The system, where one file has another text. */
struct overlay {
    struct dbk_os os; /* first: a table is cast to it */
    const char *path;
    struct dbk_slice text;
    int fd; /* of the file, while it is open; -1: it is not */
};

static int open_over(struct dbk_os *os, const char *path, unsigned flags, struct dbk_file *file_out,
                     struct dbk_error *err)
{
    struct overlay *overlay = (struct overlay *)os;
    struct dbk_os *real = dbk_os_real();
    int rc = real->open(real, path, flags, file_out, err);
    if (rc == DBK_OK && strcmp(path, overlay->path) == 0)
        overlay->fd = file_out->fd;
    return rc;
}

static void close_over(struct dbk_os *os, struct dbk_file *file)
{
    struct overlay *overlay = (struct overlay *)os;
    struct dbk_os *real = dbk_os_real();
    if (file->fd == overlay->fd)
        overlay->fd = -1;
    real->close(real, file);
}

static int size_over(struct dbk_os *os, const struct dbk_file *file, uint64_t *size_out,
                     struct dbk_error *err)
{
    const struct overlay *overlay = (const struct overlay *)os;
    struct dbk_os *real = dbk_os_real();
    if (file->fd < 0 || file->fd != overlay->fd)
        return real->size(real, file, size_out, err);
    *size_out = overlay->text.size;
    return DBK_OK;
}

static int pread_over(struct dbk_os *os, const struct dbk_file *file, void *buffer, size_t size,
                      uint64_t offset, size_t *size_out, struct dbk_error *err)
{
    const struct overlay *overlay = (const struct overlay *)os;
    struct dbk_os *real = dbk_os_real();
    if (file->fd < 0 || file->fd != overlay->fd)
        return real->pread(real, file, buffer, size, offset, size_out, err);
    size_t from = offset < overlay->text.size ? (size_t)offset : overlay->text.size;
    size_t left = overlay->text.size - from;
    *size_out = size < left ? size : left;
    memcpy(buffer, overlay->text.data + from, *size_out);
    return DBK_OK;
}

static int load_over(const struct dbk_service_move *move, const char *path, struct dbk_slice text,
                     struct dbk_book **book_out, struct dbk_error *err)
{
    struct overlay overlay = {.os = *dbk_os_real(), .path = path, .text = text, .fd = -1};
    struct dbk_diagnostics faults;
    overlay.os.open = open_over;
    overlay.os.close = close_over;
    overlay.os.size = size_over;
    overlay.os.pread = pread_over;
    dbk_diagnostics_init(&faults);
    int rc = dbk_book_load(&(struct dbk_book_options){.os = &overlay.os,
                                                      .folder = move->place->folder,
                                                      .data = move->place->data,
                                                      .environment = move->place->environment},
                           &faults, book_out, err);
    if (rc == DBK_EBOOK) {
        dbk_fail_diagnostics(stderr, &faults);
        rc = dbk_error_set(err, DBK_EBOOK,
                           "with `database: %s` in %s the book has %zu faults: mend them first; "
                           "nothing was changed",
                           move->database, move->file, faults.error_count);
    }
    dbk_diagnostics_release(&faults);
    return rc;
}

int dbk_service_move_try(const struct dbk_service_move *move, struct dbk_book **book_out,
                         struct dbk_error *err)
{
    char path[DBK_PLACE_SIZE_MAX];
    struct dbk_buf text;
    struct dbk_buf changed;
    *book_out = NULL;
    if (move->database == NULL || move->database[0] == '\0')
        return DBK_OK;
    dbk_buf_init(&text, FILE_SIZE_MAX);
    dbk_buf_init(&changed, FILE_SIZE_MAX);
    int rc = change(move, path, &text, &changed, err);
    if (rc == DBK_OK && changed.size > 0)
        rc = load_over(move, path, dbk_buf_slice(&changed), book_out, err);
    dbk_buf_release(&changed);
    dbk_buf_release(&text);
    return rc;
}

/* ---- Writing ---- */

int dbk_service_move_write(const struct dbk_service_move *move, const char *address,
                           struct dbk_error *err)
{
    char path[DBK_PLACE_SIZE_MAX];
    struct dbk_buf text;
    struct dbk_buf changed;
    if (move->database[0] == '\0') {
        (void)fprintf(stderr,
                      "write into book.yaml, under `databases:`,  %s: %s\nand into %s  database: "
                      "%s\n",
                      move->service, address, move->file, move->service);
        return DBK_OK;
    }
    dbk_buf_init(&text, FILE_SIZE_MAX);
    dbk_buf_init(&changed, FILE_SIZE_MAX);
    int rc = change(move, path, &text, &changed, err);
    if (rc == DBK_OK && changed.size == 0)
        (void)fprintf(stderr, "write into %s  database: %s\n", move->file, move->database);
    else if (rc == DBK_OK)
        rc = dbk_os_replace_file(dbk_os_real(), path, dbk_buf_slice(&changed), err);
    if (rc == DBK_OK && changed.size > 0)
        (void)fprintf(stderr, "%s says  database: %s\n", move->file, move->database);
    dbk_buf_release(&changed);
    dbk_buf_release(&text);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/place.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/fail.h"

static bool has_book(const char *folder)
{
    struct dbk_os *os = dbk_os_real();
    struct dbk_file file = DBK_FILE_CLOSED;
    char path[DBK_PLACE_SIZE_MAX + 16];
    (void)snprintf(path, sizeof(path), "%s/book.yaml", folder);
    if (os->open(os, path, DBK_OS_READ, &file, NULL) < 0)
        return false;
    os->close(os, &file);
    return true;
}

/* Looks in `.`, `..`, `../..`, …, once for each part of the current folder's name. */
static int find_upwards(char folder_out[DBK_PLACE_SIZE_MAX], struct dbk_error *err)
{
    char current[DBK_PLACE_SIZE_MAX];
    size_t size = 1;
    if (getcwd(current, sizeof(current)) == NULL)
        (void)snprintf(current, sizeof(current), "/");
    (void)snprintf(folder_out, DBK_PLACE_SIZE_MAX, ".");
    for (const char *at = current; *at != '\0'; at++) {
        if (*at != '/')
            continue;
        if (has_book(folder_out))
            return DBK_OK;
        if (size + 4 > DBK_PLACE_SIZE_MAX)
            break;
        size = (size_t)snprintf(folder_out, DBK_PLACE_SIZE_MAX, at == current ? ".." : "%.*s/..",
                                (int)size, folder_out);
    }
    return dbk_error_set(err, DBK_ENOTFOUND,
                         "no book.yaml here or above: make a book with `daybook new DIR`, or name "
                         "one with --book DIR");
}

static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

int dbk_place_find(const struct dbk_arguments *arguments, struct dbk_place *place_out,
                   struct dbk_error *err)
{
    const char *folder = dbk_arguments_text(arguments, "book");
    if (dbk_arguments_has(arguments, "url"))
        return dbk_error_set(err, DBK_EINVAL,
                             "`daybook %s` works on a book's files and asks no server: name the "
                             "book with --book instead of --url",
                             arguments->command->name);
    place_out->data = dbk_arguments_text(arguments, "data");
    place_out->environment = dbk_arguments_text(arguments, "env");
    if (place_out->data == NULL)
        place_out->data = environment("DAYBOOK_DATA");
    if (folder == NULL)
        folder = environment("DAYBOOK_BOOK");
    if (folder == NULL)
        return find_upwards(place_out->folder, err);
    if (strlen(folder) >= DBK_PLACE_SIZE_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "the book's folder has a name past %d bytes",
                             DBK_PLACE_SIZE_MAX - 1);
    (void)snprintf(place_out->folder, sizeof(place_out->folder), "%s", folder);
    return DBK_OK;
}

int dbk_place_faults(const struct dbk_place *place, size_t error_count, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_EBOOK, "the book in %s has %zu %s", place->folder, error_count,
                         error_count == 1 ? "error" : "errors");
}

int dbk_place_load(const struct dbk_place *place, struct dbk_book **book_out, struct dbk_error *err)
{
    struct dbk_diagnostics faults;
    dbk_diagnostics_init(&faults);
    int rc = dbk_book_load(&(struct dbk_book_options){.os = dbk_os_real(),
                                                      .folder = place->folder,
                                                      .data = place->data,
                                                      .environment = place->environment},
                           &faults, book_out, err);
    if (rc == DBK_EBOOK) {
        dbk_fail_diagnostics(stderr, &faults);
        rc = dbk_place_faults(place, faults.error_count, err);
    }
    dbk_diagnostics_release(&faults);
    return rc;
}

int dbk_place_data(const struct dbk_place *place, char data_out[DBK_PLACE_SIZE_MAX],
                   struct dbk_error *err)
{
    struct dbk_book *book = NULL;
    const char *data = place->data;
    if (data == NULL) {
        int rc = dbk_place_load(place, &book, err);
        if (rc < 0)
            return rc;
        data = book->data;
    }
    int rc = DBK_OK;
    if (strlen(data) >= DBK_PLACE_SIZE_MAX)
        rc = dbk_error_set(err, DBK_ELIMIT, "the data directory has a name past %d bytes",
                           DBK_PLACE_SIZE_MAX - 1);
    else
        (void)snprintf(data_out, DBK_PLACE_SIZE_MAX, "%s", data);
    dbk_book_free(book);
    return rc;
}

int dbk_place_absolute(const char *path, char absolute_out[DBK_PLACE_SIZE_MAX],
                       struct dbk_error *err)
{
    char current[DBK_PLACE_SIZE_MAX] = "";
    if (path[0] != '/' && getcwd(current, sizeof(current)) == NULL)
        return dbk_error_set_errno(err, errno, "look for the current folder");
    int size = snprintf(absolute_out, DBK_PLACE_SIZE_MAX, "%s%s%s", current,
                        path[0] == '/' ? "" : "/", path);
    return size < 0 || size >= DBK_PLACE_SIZE_MAX
               ? dbk_error_set(err, DBK_ELIMIT, "the path %s is too long", path)
               : DBK_OK;
}

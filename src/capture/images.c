/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash table of chains, and two lists: what is settled, the longest unused at its end, and what
 * is fresh.
 */
#include "capture/images.h"

#include "base/assert.h"

#define SLOTS_MIN ((size_t)1 << 10)
#define EVENT_SIZE_MAX ((size_t)33 << 20)

struct image {
    struct image *chain;
    struct image *before; /* in its list: towards the newest */
    struct image *behind;
    uint64_t hash;
    bool fresh;
    uint32_t stream_size;
    uint32_t size;
    uint32_t room; /* bytes behind the stream */
    char bytes[];  /* the stream, the image */
};

struct list {
    struct image *newest;
    struct image *oldest;
};

struct dbk_images {
    struct dbk_store *store;
    struct dbk_json *json;
    struct image **slots;
    size_t slot_count; /* a power of two */
    size_t count;
    size_t size; /* of the settled */
    size_t size_max;
    struct list settled;
    struct list fresh;
    uint8_t key[16];
};

static size_t size_of(const struct image *image)
{
    return sizeof(*image) + image->stream_size + image->room;
}

static struct list *list_of(struct dbk_images *images, const struct image *image)
{
    return image->fresh ? &images->fresh : &images->settled;
}

static void unlink_image(struct dbk_images *images, struct image *image)
{
    struct list *list = list_of(images, image);
    *(image->before == NULL ? &list->newest : &image->before->behind) = image->behind;
    *(image->behind == NULL ? &list->oldest : &image->behind->before) = image->before;
    if (!image->fresh)
        images->size -= size_of(image);
}

static void link_image(struct dbk_images *images, struct image *image)
{
    struct list *list = list_of(images, image);
    image->before = NULL;
    image->behind = list->newest;
    *(list->newest == NULL ? &list->oldest : &list->newest->before) = image;
    list->newest = image;
    if (!image->fresh)
        images->size += size_of(image);
}

static struct image **slot_of(const struct dbk_images *images, uint64_t hash)
{
    return &images->slots[hash & (images->slot_count - 1)];
}

static void drop(struct dbk_images *images, struct image *image)
{
    struct image **at = slot_of(images, image->hash);
    while (*at != image)
        at = &(*at)->chain;
    *at = image->chain;
    unlink_image(images, image);
    images->count--;
    dbk_free(image);
}

static uint64_t hash_of(const struct dbk_images *images, struct dbk_slice stream)
{
    return dbk_siphash128(images->key, stream).low;
}

static struct image *look_up(const struct dbk_images *images, struct dbk_slice stream,
                             uint64_t hash)
{
    for (struct image *image = *slot_of(images, hash); image != NULL; image = image->chain) {
        if (image->hash == hash &&
            dbk_slice_equal(dbk_slice(image->bytes, image->stream_size), stream))
            return image;
    }
    return NULL;
}

struct dbk_images *dbk_images_create(struct dbk_store *store, size_t size_max)
{
    struct dbk_images *images = dbk_alloc_zero(1, sizeof(*images));
    if (images == NULL)
        return NULL;
    images->store = store;
    images->size_max = size_max;
    images->slot_count = SLOTS_MIN;
    images->slots = dbk_alloc_zero(SLOTS_MIN, sizeof(struct image *));
    images->json = dbk_json_create(EVENT_SIZE_MAX);
    memcpy(images->key, dbk_store_book_id(store)->bytes, sizeof(images->key));
    if (images->slots == NULL || images->json == NULL) {
        dbk_images_free(images);
        return NULL;
    }
    return images;
}

static void free_list(struct list *list)
{
    for (struct image *image = list->newest, *next; image != NULL; image = next) {
        next = image->behind;
        dbk_free(image);
    }
}

void dbk_images_free(struct dbk_images *images)
{
    if (images == NULL)
        return;
    free_list(&images->settled);
    free_list(&images->fresh);
    dbk_free((void *)images->slots);
    dbk_json_free(images->json);
    dbk_free(images);
}

static int grow(struct dbk_images *images)
{
    size_t slot_count = images->slot_count * 2;
    struct image **slots = dbk_alloc_zero(slot_count, sizeof(struct image *));
    if (slots == NULL)
        return DBK_ENOMEM;
    struct image **old = images->slots;
    size_t old_count = images->slot_count;
    images->slots = slots;
    images->slot_count = slot_count;
    for (size_t i = 0; i < old_count; i++) {
        for (struct image *image = old[i], *next; image != NULL; image = next) {
            next = image->chain;
            struct image **slot = slot_of(images, image->hash);
            image->chain = *slot;
            *slot = image;
        }
    }
    dbk_free((void *)old);
    return DBK_OK;
}

/* Puts an image, in place of one that has the room for it or anew. */
static int set(struct dbk_images *images, struct dbk_slice stream, uint64_t hash,
               struct dbk_slice bytes, bool fresh)
{
    struct image *image = look_up(images, stream, hash);
    if (image != NULL && image->room < bytes.size) {
        drop(images, image);
        image = NULL;
    }
    if (image == NULL) {
        size_t room = (bytes.size + 31) / 32 * 32;
        image = dbk_alloc(sizeof(*image) + stream.size + room);
        if (image == NULL || (images->count >= images->slot_count && grow(images) < 0)) {
            dbk_free(image);
            return DBK_ENOMEM;
        }
        *image = (struct image){
            .hash = hash, .stream_size = (uint32_t)stream.size, .room = (uint32_t)room};
        memcpy(image->bytes, stream.data, stream.size);
        struct image **slot = slot_of(images, hash);
        image->chain = *slot;
        *slot = image;
        images->count++;
    } else {
        unlink_image(images, image);
    }
    if (bytes.size > 0)
        memcpy(image->bytes + stream.size, bytes.data, bytes.size);
    image->size = (uint32_t)bytes.size;
    image->fresh = fresh;
    link_image(images, image);
    return DBK_OK;
}

static struct dbk_slice bytes_of(const struct image *image)
{
    return image->size == 0 ? (struct dbk_slice){0}
                            : dbk_slice(image->bytes + image->stream_size, image->size);
}

int dbk_images_put(struct dbk_images *images, struct dbk_slice stream, struct dbk_slice image)
{
    return set(images, stream, hash_of(images, stream), image, true);
}

static void trim(struct dbk_images *images)
{
    /* The newest may be in use. */
    while (images->size > images->size_max && images->settled.oldest != images->settled.newest)
        drop(images, images->settled.oldest);
}

void dbk_images_settle(struct dbk_images *images)
{
    while (images->fresh.oldest != NULL) {
        struct image *image = images->fresh.oldest;
        unlink_image(images, image);
        image->fresh = false;
        link_image(images, image);
    }
    trim(images);
}

/* ---- The book ---- */

static bool ends_with(struct dbk_slice text, const char *ending)
{
    size_t size = strlen(ending);
    return text.size >= size && memcmp(text.data + text.size - size, ending, size) == 0;
}

/* The image that an event leaves behind. */
static int image_of(struct dbk_images *images, const struct dbk_event *event,
                    struct dbk_slice *image_out, struct dbk_error *err)
{
    const struct dbk_slice keys[] = {DBK_SLICE_LITERAL("new")};
    const struct dbk_json_node *root = NULL;
    *image_out = (struct dbk_slice){0};
    if (ends_with(event->type, ".delete"))
        return DBK_OK;
    const struct dbk_json_node *row = NULL;
    if (dbk_json_parse_members(images->json, event->data, keys, 1, &root, NULL) == DBK_OK)
        row = dbk_json_member(root, "new");
    if (row == NULL || row->kind != DBK_JSON_OBJECT)
        return dbk_error_set(err, DBK_ECORRUPT,
                             "the last event of stream %.*s (%.*s) holds no row: somebody else has "
                             "appended it",
                             DBK_SLICE_ARGS(event->stream), DBK_SLICE_ARGS(event->type));
    *image_out = row->raw;
    return DBK_OK;
}

static int fetch(struct dbk_images *images, struct dbk_slice stream, uint64_t hash,
                 uint64_t version, struct dbk_error *err)
{
    const struct dbk_filter filter = {
        .stream = stream, .version_min = version, .as_written = true, .held = true};
    struct dbk_cursor *cursor = NULL;
    struct dbk_slice image = {0};
    struct dbk_event event;
    int rc = dbk_cursor_open(images->store, &filter, &cursor, err);
    if (rc < 0)
        return rc;
    rc = dbk_cursor_next(cursor, &event, err);
    if (rc == 1)
        rc = image_of(images, &event, &image, err);
    if (rc >= 0)
        rc = set(images, stream, hash, image, false) < 0
                 ? dbk_error_set(err, DBK_ENOMEM, "out of memory for a row's last image")
                 : DBK_OK;
    dbk_cursor_free(cursor);
    return rc;
}

int dbk_images_find(struct dbk_images *images, struct dbk_slice stream, struct dbk_slice *image_out,
                    struct dbk_error *err)
{
    uint64_t hash = hash_of(images, stream);
    struct image *image = look_up(images, stream, hash);
    uint64_t version = 0;
    if (image == NULL) {
        int rc = dbk_store_stream_version(images->store, stream, &version, err);
        if (rc == DBK_OK && version > 0)
            rc = fetch(images, stream, hash, version, err);
        if (rc < 0)
            return rc;
        *image_out = (struct dbk_slice){0};
        image = version > 0 ? look_up(images, stream, hash) : NULL;
        if (image == NULL)
            return DBK_OK;
    }
    if (!image->fresh) {
        unlink_image(images, image);
        link_image(images, image);
    }
    *image_out = bytes_of(image);
    trim(images);
    return DBK_OK;
}

bool dbk_images_next(struct dbk_images *images, const void **at, struct dbk_slice *stream_out,
                     struct dbk_slice *image_out)
{
    const struct image *image =
        *at == NULL ? images->fresh.newest : ((const struct image *)*at)->behind;
    if (image == NULL)
        return false;
    *at = image;
    *stream_out = dbk_slice(image->bytes, image->stream_size);
    *image_out = bytes_of(image);
    return true;
}

bool dbk_images_is_fresh(const struct dbk_images *images, struct dbk_slice stream)
{
    const struct image *image = look_up(images, stream, hash_of(images, stream));
    return image != NULL && image->fresh;
}

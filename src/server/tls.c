/* SPDX-License-Identifier: Apache-2.0 */
#include "server/tls.h"

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "base/time.h"

static int read_file(struct dbk_os *os, const char *path, struct dbk_buf *out,
                     struct dbk_error *err)
{
    dbk_buf_init(out, DBK_TLS_FILE_SIZE_MAX + 1);
    int rc = dbk_os_read_file(os, path, DBK_TLS_FILE_SIZE_MAX, out, err);
    if (rc == DBK_OK) {
        dbk_buf_append_char(out, '\0');
        rc = out->rc < 0 ? dbk_error_set(err, out->rc, "out of memory reading %s", path) : DBK_OK;
    }
    return rc;
}

static gnutls_datum_t datum_of(const struct dbk_buf *text)
{
    return (gnutls_datum_t){.data = (unsigned char *)text->data,
                            .size = (unsigned)(text->size - 1)};
}

/* The first of the file. */
static int parse_certificate(const char *path, const struct dbk_buf *text,
                             gnutls_x509_crt_t *first_out, struct dbk_error *err)
{
    gnutls_datum_t data = datum_of(text);
    gnutls_x509_crt_t *list = NULL;
    unsigned count = 0;
    int rc = gnutls_x509_crt_list_import2(&list, &count, &data, GNUTLS_X509_FMT_PEM, 0);
    if (rc < 0 || count == 0)
        return dbk_error_set(err, DBK_EINVAL,
                             "%s is no certificate in PEM, which begins with "
                             "-----BEGIN CERTIFICATE-----: %s",
                             path, gnutls_strerror(rc));
    bool few = count <= DBK_TLS_CERTIFICATES_MAX;
    for (unsigned i = few ? 1 : 0; i < count; i++)
        gnutls_x509_crt_deinit(list[i]);
    if (few)
        *first_out = list[0];
    gnutls_free(list);
    return few ? DBK_OK
               : dbk_error_set(err, DBK_ELIMIT, "%s has %u certificates, at most %d", path, count,
                               DBK_TLS_CERTIFICATES_MAX);
}

static int parse_key(const char *path, const struct dbk_buf *text, gnutls_privkey_t *key_out,
                     struct dbk_error *err)
{
    gnutls_datum_t data = datum_of(text);
    gnutls_privkey_t key = NULL;
    int rc = gnutls_privkey_init(&key);
    if (rc < 0)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reading %s", path);
    rc = gnutls_privkey_import_x509_raw(key, &data, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (rc == 0) {
        *key_out = key;
        return DBK_OK;
    }
    gnutls_privkey_deinit(key);
    if (rc == GNUTLS_E_DECRYPTION_FAILED || rc == GNUTLS_E_PKCS11_PIN_ERROR)
        return dbk_error_set(err, DBK_EINVAL,
                             "the key in %s is under a password: write it without one, with "
                             "`openssl pkey`, into a file that only the daemon's user may read",
                             path);
    return dbk_error_set(err, DBK_EINVAL,
                         "%s is no private key in PEM, which begins with "
                         "-----BEGIN PRIVATE KEY-----: %s",
                         path, gnutls_strerror(rc));
}

static bool are_of_each_other(gnutls_x509_crt_t certificate, gnutls_privkey_t key)
{
    unsigned char ids[2][64];
    size_t sizes[2] = {sizeof(ids[0]), sizeof(ids[1])};
    gnutls_pubkey_t public = NULL;
    bool same = gnutls_pubkey_init(&public) == 0 &&
                gnutls_pubkey_import_privkey(public, key, 0, 0) == 0 &&
                gnutls_pubkey_get_key_id(public, 0, ids[0], &sizes[0]) == 0 &&
                gnutls_x509_crt_get_key_id(certificate, 0, ids[1], &sizes[1]) == 0 &&
                sizes[0] == sizes[1] && memcmp(ids[0], ids[1], sizes[0]) == 0;
    if (public != NULL)
        gnutls_pubkey_deinit(public);
    return same;
}

static int check_time(const char *path, gnutls_x509_crt_t certificate, int64_t now_us,
                      struct dbk_error *err)
{
    int64_t begin_us = (int64_t)gnutls_x509_crt_get_activation_time(certificate) * 1000000;
    int64_t end_us = (int64_t)gnutls_x509_crt_get_expiration_time(certificate) * 1000000;
    char text[DBK_TIME_TEXT_SIZE];
    if (now_us >= begin_us && now_us < end_us)
        return DBK_OK;
    (void)dbk_time_format(now_us < begin_us ? begin_us : end_us, text);
    return dbk_error_set(err, DBK_EINVAL, "the certificate in %s %s %s", path,
                         now_us < begin_us ? "is not good before" : "was good until", text);
}

int dbk_tls_pair_read(struct dbk_os *os, const char *certificate_path, const char *key_path,
                      int64_t now_us, struct dbk_tls_pair *pair_out, struct dbk_error *err)
{
    struct dbk_tls_pair pair = {0};
    gnutls_x509_crt_t certificate = NULL;
    gnutls_privkey_t key = NULL;
    int rc = read_file(os, certificate_path, &pair.certificate, err);
    if (rc == DBK_OK)
        rc = read_file(os, key_path, &pair.key, err);
    if (rc == DBK_OK)
        rc = parse_certificate(certificate_path, &pair.certificate, &certificate, err);
    if (rc == DBK_OK)
        rc = parse_key(key_path, &pair.key, &key, err);
    if (rc == DBK_OK && !are_of_each_other(certificate, key))
        rc = dbk_error_set(err, DBK_EINVAL, "the key in %s is not that of the certificate in %s",
                           key_path, certificate_path);
    if (rc == DBK_OK)
        rc = check_time(certificate_path, certificate, now_us, err);
    if (certificate != NULL)
        gnutls_x509_crt_deinit(certificate);
    if (key != NULL)
        gnutls_privkey_deinit(key);
    if (rc == DBK_OK)
        *pair_out = pair;
    else
        dbk_tls_pair_release(&pair);
    return rc;
}

bool dbk_tls_pair_equal(const struct dbk_tls_pair *one, const struct dbk_tls_pair *other)
{
    return dbk_slice_equal(dbk_buf_slice(&one->certificate), dbk_buf_slice(&other->certificate)) &&
           dbk_slice_equal(dbk_buf_slice(&one->key), dbk_buf_slice(&other->key));
}

void dbk_tls_pair_release(struct dbk_tls_pair *pair)
{
    if (pair->key.data != NULL)
        gnutls_memset(pair->key.data, 0, pair->key.size);
    dbk_buf_release(&pair->certificate);
    dbk_buf_release(&pair->key);
}

#include "rest_private.h"

#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"

enum { REASON_SIZE = 160 };

/* What tells that a file is another one. A certificate that is renewed in place changes one of
 * these. */
struct stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
};

enum { FILE_CERT, FILE_KEY, FILE_CA, FILE_COUNT };

struct rest_tls {
    SSL_CTX *ctx;
    char *files[FILE_COUNT]; /* NULL where not configured */
    struct stamp stamps[FILE_COUNT];
    char *password;
    char *ciphers;
    enum rest_verify verify;
    int64_t ends_wall_ms;
};

static const char *const file_keys[FILE_COUNT] = {"restapi.certfile", "restapi.keyfile",
                                                  "restapi.cafile"};

static void read_stamps(const struct rest_tls *tls, struct stamp stamps[FILE_COUNT])
{
    for (int i = 0; i < FILE_COUNT; i++) {
        struct stat info;

        memset(&stamps[i], 0, sizeof(stamps[i]));
        if (tls->files[i] == NULL || stat(tls->files[i], &info) != 0)
            continue;
        stamps[i].device = info.st_dev;
        stamps[i].inode = info.st_ino;
        stamps[i].size = info.st_size;
        stamps[i].changed = info.st_mtim;
    }
}

static bool is_same_stamps(const struct stamp a[FILE_COUNT], const struct stamp b[FILE_COUNT])
{
    for (int i = 0; i < FILE_COUNT; i++) {
        if (a[i].device != b[i].device || a[i].inode != b[i].inode || a[i].size != b[i].size ||
            a[i].changed.tv_sec != b[i].changed.tv_sec ||
            a[i].changed.tv_nsec != b[i].changed.tv_nsec)
            return false;
    }
    return true;
}

/* OpenSSL would otherwise ask on the terminal. */
static int on_password(char *out, int size, int is_writing, void *arg)
{
    const struct rest_tls *tls = arg;
    size_t length;

    (void)is_writing;
    if (tls->password == NULL)
        return -1;
    length = strlen(tls->password);
    if (length > (size_t)size)
        return -1;
    memcpy(out, tls->password, length);
    return (int)length;
}

static enum rc fail_file(const struct rest_tls *tls, int file, const char *what, struct err *err)
{
    char reason[REASON_SIZE];
    unsigned long code = ERR_peek_last_error();

    ERR_error_string_n(code, reason, sizeof(reason));
    ERR_clear_error();
    return err_set(err, RC_INVALID, "%s: %s %s: %s", file_keys[file], what, tls->files[file],
                   reason);
}

/* The key stands in the certificate's file where no file of its own is named. */
static int key_file(const struct rest_tls *tls)
{
    return tls->files[FILE_KEY] != NULL ? FILE_KEY : FILE_CERT;
}

static const char *key_problem(const struct rest_tls *tls)
{
    if (ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH)
        return "the private key does not belong to the certificate:";
    if (tls->password == NULL)
        return "cannot use the private key (encrypted, and no restapi.keyfile_password?) in";
    return "cannot use the private key (wrong restapi.keyfile_password?) in";
}

static enum rc load_files(struct rest_tls *tls, SSL_CTX *ctx, struct err *err)
{
    int key = key_file(tls);

    ERR_clear_error();
    SSL_CTX_set_default_passwd_cb(ctx, on_password);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, tls);
    if (SSL_CTX_use_certificate_chain_file(ctx, tls->files[FILE_CERT]) != 1)
        return fail_file(tls, FILE_CERT, "cannot use the certificate in", err);
    if (SSL_CTX_use_PrivateKey_file(ctx, tls->files[key], SSL_FILETYPE_PEM) != 1)
        return fail_file(tls, key, key_problem(tls), err);
    if (SSL_CTX_check_private_key(ctx) != 1)
        return fail_file(tls, key, "the private key does not belong to the certificate:", err);
    if (tls->files[FILE_CA] == NULL)
        return RC_OK;
    if (SSL_CTX_load_verify_locations(ctx, tls->files[FILE_CA], NULL) != 1)
        return fail_file(tls, FILE_CA, "cannot use the authority in", err);
    SSL_CTX_set_client_CA_list(ctx, SSL_load_client_CA_file(tls->files[FILE_CA]));
    return RC_OK;
}

static void set_verify(const struct rest_tls *tls, SSL_CTX *ctx)
{
    switch (tls->verify) {
    case REST_VERIFY_NONE:
        SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
        return;
    case REST_VERIFY_OPTIONAL:
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
        return;
    case REST_VERIFY_REQUIRED:
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
        return;
    }
    pgh_unreachable();
}

static int64_t read_end_wall_ms(SSL_CTX *ctx)
{
    const X509 *cert = SSL_CTX_get0_certificate(ctx);
    struct tm when;

    if (cert == NULL || ASN1_TIME_to_tm(X509_get0_notAfter(cert), &when) != 1)
        return 0;
    return (int64_t)timegm(&when) * 1000;
}

static enum rc build(struct rest_tls *tls, SSL_CTX **ret, struct err *err)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    enum rc rc;

    if (ctx == NULL)
        return err_set(err, RC_SYSTEM, "cannot set up TLS for restapi");
    (void)SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    /* Short connections of few clients: no cache and no tickets to keep, and idle connections give
     * their buffers back. */
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET |
                                       SSL_OP_NO_COMPRESSION |
                                       SSL_OP_CIPHER_SERVER_PREFERENCE);
    (void)SSL_CTX_set_num_tickets(ctx, 0);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    if (tls->ciphers != NULL && SSL_CTX_set_cipher_list(ctx, tls->ciphers) != 1)
        rc = err_set(err, RC_INVALID, "restapi.ciphers: OpenSSL knows no cipher in \"%s\"",
                     tls->ciphers);
    else
        rc = load_files(tls, ctx, err);
    if (rc != RC_OK) {
        ERR_clear_error();
        SSL_CTX_free(ctx);
        return rc;
    }
    set_verify(tls, ctx);
    *ret = ctx;
    return RC_OK;
}

static char *copy_or_null(const char *text)
{
    return str_is_empty(text) ? NULL : mem_strdup(text);
}

enum rc rest_tls_new(const struct rest_options *options, struct rest_tls **ret, struct err *err)
{
    struct rest_tls *tls;
    enum rc rc;

    pgh_assert(!str_is_empty(options->certfile));
    if (options->verify_client != REST_VERIFY_NONE && str_is_empty(options->cafile))
        return err_set(err, RC_INVALID,
                       "restapi.cafile is missing: restapi.verify_client needs the authority "
                       "that signed the clients' certificates");
    tls = mem_new(1, sizeof(*tls));
    tls->files[FILE_CERT] = mem_strdup(options->certfile);
    tls->files[FILE_KEY] = copy_or_null(options->keyfile);
    tls->files[FILE_CA] = copy_or_null(options->cafile);
    tls->password = copy_or_null(options->keyfile_password);
    tls->ciphers = copy_or_null(options->ciphers);
    tls->verify = options->verify_client;
    read_stamps(tls, tls->stamps);
    rc = build(tls, &tls->ctx, err);
    if (rc != RC_OK) {
        rest_tls_free(tls);
        return rc;
    }
    tls->ends_wall_ms = read_end_wall_ms(tls->ctx);
    *ret = tls;
    return RC_OK;
}

void rest_tls_free(struct rest_tls *tls)
{
    if (tls == NULL)
        return;
    for (int i = 0; i < FILE_COUNT; i++)
        mem_free(tls->files[i]);
    if (tls->password != NULL)
        explicit_bzero(tls->password, strlen(tls->password));
    mem_free(tls->password);
    mem_free(tls->ciphers);
    SSL_CTX_free(tls->ctx);
    mem_free(tls);
}

enum rc rest_tls_refresh(struct rest_tls *tls, struct err *err)
{
    struct stamp stamps[FILE_COUNT];
    SSL_CTX *ctx;
    enum rc rc;

    read_stamps(tls, stamps);
    if (is_same_stamps(stamps, tls->stamps))
        return RC_EXISTS;
    /* Certificate and key are two files: between the two writes they do not fit, and the next look
     * finds both. */
    rc = build(tls, &ctx, err);
    if (rc != RC_OK)
        return rc;
    SSL_CTX_free(tls->ctx);
    tls->ctx = ctx;
    memcpy(tls->stamps, stamps, sizeof(stamps));
    tls->ends_wall_ms = read_end_wall_ms(ctx);
    return RC_OK;
}

int64_t rest_tls_ends_wall_ms(const struct rest_tls *tls)
{
    return tls->ends_wall_ms;
}

struct bufferevent *rest_tls_accept(struct rest_tls *tls, struct event_base *base)
{
    SSL *ssl = SSL_new(tls->ctx);
    struct bufferevent *bev;

    /* evhttp would serve a plain connection in place of a missing one. */
    pgh_assert(ssl != NULL);
    bev = bufferevent_openssl_socket_new(base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING,
                                         BEV_OPT_CLOSE_ON_FREE);
    pgh_assert(bev != NULL);
    bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
    return bev;
}

bool rest_tls_has_certificate(struct bufferevent *bev)
{
    SSL *ssl = bufferevent_openssl_get_ssl(bev);
    X509 *cert;

    if (ssl == NULL)
        return false;
    cert = SSL_get_peer_certificate(ssl);
    if (cert == NULL)
        return false;
    X509_free(cert);
    return SSL_get_verify_result(ssl) == X509_V_OK;
}

bool rest_tls_is_tls(struct bufferevent *bev)
{
    return bufferevent_openssl_get_ssl(bev) != NULL;
}

/* Bytes from etcd, or from whoever answers in its place: the first byte of the input says what
 * they are taken for. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "pgheir/base/base64.h"
#include "pgheir/base/mem.h"
#include "pgheir/codec/etcd_json.h"

enum {
    CASE_ERROR = ETCD_ANSWER_MEMBERS + 1,
    CASE_VERSION,
    CASE_LINES,
    CASE_BASE64,
    CASE_COUNT
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_kvs(const struct etcd_kv *kvs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        pgh_assert(kvs[i].key_length > 0);
        pgh_assert(kvs[i].key[kvs[i].key_length] == '\0');
        pgh_assert(kvs[i].value[kvs[i].value_length] == '\0');
    }
}

static void feed_answer(enum etcd_answer_kind kind, const char *text, size_t length)
{
    struct etcd_answer answer = {0};
    struct err err = {0};
    enum rc rc = etcd_answer_parse(kind, text, length, &answer, &err);

    pgh_assert(rc == RC_OK || rc == RC_PROTOCOL || rc == RC_REFUSED);
    pgh_assert(rc == RC_OK || err.text[0] != '\0');
    check_kvs(answer.kvs, answer.kv_count);
    for (size_t i = 0; i < answer.op_count; i++)
        check_kvs(answer.ops[i].kvs, answer.ops[i].kv_count);
    for (size_t i = 0; i < answer.event_count; i++)
        check_kvs(&answer.events[i].kv, 1);
    for (size_t i = 0; i < answer.client_url_count; i++)
        pgh_assert(strlen(answer.client_urls[i]) < length);
    pgh_assert(answer.lease_ttl_ms >= 0);
    etcd_answer_done(&answer);
}

static bool on_line(const char *line, size_t length, void *arg)
{
    size_t *total = arg;

    pgh_assert(memchr(line, '\n', length) == NULL);
    *total += length;
    feed_answer(ETCD_ANSWER_WATCH, line, length);
    return true;
}

static void feed_lines(const char *text, size_t length)
{
    struct etcd_lines lines;
    size_t total = 0;
    size_t half = length / 2;

    etcd_lines_init(&lines, 1000);
    if (etcd_lines_feed(&lines, text, half, on_line, &total) == RC_OK)
        (void)etcd_lines_feed(&lines, text + half, length - half, on_line, &total);
    pgh_assert(total <= length);
    etcd_lines_done(&lines);
}

/* What decodes must encode to the very same text: one text for each byte string. */
static void feed_base64(const char *text, size_t length)
{
    unsigned char *bytes = mem_new(base64_decoded_max(length) + 1, 1);
    size_t bytes_length = 0;
    struct buf out;

    buf_init(&out, length);
    if (base64_decode(text, length, bytes, &bytes_length)) {
        pgh_assert(base64_encode(&out, bytes, bytes_length) == RC_OK);
        pgh_assert(out.length == length);
        pgh_assert(length == 0 || memcmp(out.bytes, text, length) == 0);
    }
    buf_done(&out);
    mem_free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data + 1;
    struct etcd_error error;
    const char *prefix = NULL;
    unsigned which;

    if (size == 0)
        return 0;
    /* Letters, so that the corpus stays readable: 'A' is the first kind of answer. */
    which = (unsigned)(data[0] - 'A') % CASE_COUNT;
    size--;
    if (which <= ETCD_ANSWER_MEMBERS) {
        feed_answer((enum etcd_answer_kind)which, text, size);
    } else if (which == CASE_ERROR) {
        etcd_error_parse(500, text, size, &error);
        pgh_assert(error.text[0] != '\0' || size > 0);
    } else if (which == CASE_VERSION) {
        pgh_assert(etcd_version_parse(text, size, &prefix, NULL) != RC_OK || prefix != NULL);
    } else if (which == CASE_LINES) {
        feed_lines(text, size);
    } else {
        feed_base64(text, size);
    }
    return 0;
}

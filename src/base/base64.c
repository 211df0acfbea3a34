#include "pgheir/base/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

enum rc base64_encode(struct buf *out, const void *bytes, size_t length)
{
    const unsigned char *in = bytes;
    size_t before = out->length;
    char group[4];

    pgh_assert(bytes != NULL || length == 0);
    for (size_t at = 0; at < length; at += 3) {
        size_t left = length - at;
        uint32_t word = (uint32_t)in[at] << 16;

        if (left > 1)
            word |= (uint32_t)in[at + 1] << 8;
        if (left > 2)
            word |= in[at + 2];
        group[0] = alphabet[word >> 18];
        group[1] = alphabet[(word >> 12) & 63];
        group[2] = left > 1 ? alphabet[(word >> 6) & 63] : '=';
        group[3] = left > 2 ? alphabet[word & 63] : '=';
        if (buf_append(out, group, sizeof(group)) != RC_OK) {
            /* All or nothing, as buf_append() itself promises. */
            out->length = before;
            if (out->bytes != NULL)
                out->bytes[before] = '\0';
            return RC_LIMIT;
        }
    }
    return RC_OK;
}

size_t base64_decoded_max(size_t text_length)
{
    return text_length / 4 * 3;
}

/* The value of one character, or -1. */
static int digit_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+')
        return 62;
    return c == '/' ? 63 : -1;
}

bool base64_decode(const char *text, size_t length, unsigned char *ret, size_t *ret_length)
{
    size_t written = 0;

    if (length % 4 != 0)
        return false;
    for (size_t at = 0; at < length; at += 4) {
        bool is_last = at + 4 == length;
        int padding = 0;
        uint32_t word = 0;

        if (is_last && text[at + 3] == '=')
            padding = text[at + 2] == '=' ? 2 : 1;
        for (size_t i = 0; i < 4; i++) {
            int value = i < (size_t)(4 - padding) ? digit_value(text[at + i]) : 0;

            if (value < 0)
                return false;
            word = word << 6 | (uint32_t)value;
        }
        /* Bits that no byte takes must be zero, or two texts would mean the same bytes. */
        if ((padding == 1 && (word & 0xff) != 0) || (padding == 2 && (word & 0xffff) != 0))
            return false;
        ret[written++] = (unsigned char)(word >> 16);
        if (padding < 2)
            ret[written++] = (unsigned char)(word >> 8);
        if (padding < 1)
            ret[written++] = (unsigned char)word;
    }
    *ret_length = written;
    return true;
}

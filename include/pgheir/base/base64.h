/* Strict base64 (RFC 4648, standard alphabet, padding required, no white space, unused bits zero),
 * so that each byte string has exactly one text. */
#ifndef PGHEIR_BASE_BASE64_H
#define PGHEIR_BASE_BASE64_H

#include "pgheir/base/base.h"
#include "pgheir/base/buf.h"

/* Appends the text. RC_LIMIT if out's ceiling would be passed (then nothing is appended). */
enum rc base64_encode(struct buf *out, const void *bytes, size_t length);

/* How many bytes a text of this length can hold at most. */
size_t base64_decoded_max(size_t text_length);

/* Writes at most base64_decoded_max(length) bytes; false (outputs undefined) if the text is not
 * strict. */
bool base64_decode(const char *text, size_t length, unsigned char *ret, size_t *ret_length);

#endif

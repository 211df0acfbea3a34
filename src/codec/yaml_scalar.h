/* How YAML 1.1, as PyYAML's safe loader reads it, types a scalar; and how a text must be written so
 * that it stays a text. */
#ifndef PGHEIR_SRC_CODEC_YAML_SCALAR_H
#define PGHEIR_SRC_CODEC_YAML_SCALAR_H

#include <jansson.h>

#include "pgheir/base/base.h"

/* tag NULL: none given. is_plain: not quoted and without a tag. NULL if the text does not fit its
 * tag or the tag is none that we know. Dates, infinities and numbers beyond 64 bits stay texts:
 * JSON cannot hold them. New reference. */
json_t *yaml_scalar_read(const char *text, const char *tag, bool is_plain);

/* Whether an unquoted text would be read as something other than this text. */
bool yaml_scalar_is_ambiguous(const char *text);

#endif

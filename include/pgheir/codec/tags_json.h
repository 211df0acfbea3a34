/* Tags of a member: behaviour.md section 12. Pure. */
#ifndef PGHEIR_CODEC_TAGS_JSON_H
#define PGHEIR_CODEC_TAGS_JSON_H

#include <jansson.h>

#include "pgheir/model/view.h"

/* Effective tags of a configured or published object (NULL or not an object: defaults).
 * nofailover wins over failover_priority, nosync over sync_priority. */
void tags_json_parse(const json_t *tags, struct tags *ret);

/* What is published: switches that are false are left out, but nofailover and nosync stay if their
 * priority is given. New reference, always an object. */
json_t *tags_json_publish(const json_t *configured);

#endif

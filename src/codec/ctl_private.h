/* What the files of the console codec share. */
#ifndef PGHEIR_SRC_CODEC_CTL_PRIVATE_H
#define PGHEIR_SRC_CODEC_CTL_PRIVATE_H

#include "pgheir/codec/ctl_text.h"

enum { CTL_COLUMNS_MAX = 24 };

/* A table whose titles may differ from the keys of its rows. A missing or null cell is empty. */
struct ctl_grid {
    const char *header; /* in the top border, or NULL */
    int count;
    const char *keys[CTL_COLUMNS_MAX];
    const char *titles[CTL_COLUMNS_MAX];
    bool right[CTL_COLUMNS_MAX];
    const json_t *rows;
    bool omit_empty; /* json, yaml */
};
enum rc ctl_put_grid(struct buf *out, const struct ctl_grid *grid, enum ctl_format format);

#endif

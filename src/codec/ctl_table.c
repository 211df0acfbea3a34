/* Rows as a table with borders, as tab separated values, as JSON, as YAML. */
#include <string.h>

#include "ctl_private.h"
#include "json_value.h"

#include "pgheir/base/str.h"
#include "pgheir/codec/policy_json.h"
#include "pgheir/codec/view_json.h"

enum { CELL_MAX = 65536 };

bool ctl_format_parse(const char *text, enum ctl_format *ret)
{
    static const struct {
        const char *text;
        enum ctl_format format;
    } known[] = {{"pretty", CTL_PRETTY}, {"topology", CTL_TOPOLOGY}, {"tsv", CTL_TSV},
                 {"json", CTL_JSON},     {"yaml", CTL_YAML},         {"yml", CTL_YAML}};

    for (size_t i = 0; i < PGH_COUNT(known); i++)
        if (str_equal(text, known[i].text)) {
            *ret = known[i].format;
            return true;
        }
    return false;
}

/* ---- Cells ---- */

/* What stands in a cell: texts and numbers as they are, objects as YAML. */
static void cell_text(const json_t *value, bool is_block, struct buf *out)
{
    buf_clear(out);
    if (value == NULL || json_is_null(value))
        return;
    if (json_is_boolean(value)) {
        (void)buf_puts(out, json_is_true(value) ? "True" : "False");
    } else if (json_is_object(value) || json_is_array(value)) {
        if (json_object_size(value) + json_array_size(value) == 0)
            return;
        if (is_block)
            (void)ctl_put_yaml(out, value);
        else
            (void)ctl_put_yaml_flow(out, value);
        while (out->length > 0 && out->bytes[out->length - 1] == '\n')
            out->bytes[--out->length] = '\0';
    } else {
        (void)policy_json_text(value, out);
    }
}

/* Columns on a terminal: code points, for want of a table of their widths. */
static size_t text_width(const char *text, size_t length)
{
    size_t width = 0;

    for (size_t i = 0; i < length; i++)
        width += ((unsigned char)text[i] & 0xC0) == 0x80 ? 0 : 1;
    return width;
}

/* Line of a cell, 0 for the first; false if it has fewer. */
static bool cell_line(const char *text, size_t line, const char **ret, size_t *ret_length)
{
    while (line > 0) {
        text = strchr(text, '\n');
        if (text == NULL)
            return false;
        text++;
        line--;
    }
    *ret = text;
    *ret_length = strcspn(text, "\n");
    return true;
}

/* Control characters could move the cursor: they become question marks. */
static void put_printable(struct buf *out, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        char c = (unsigned char)text[i] < ' ' || text[i] == 0x7f ? '?' : text[i];

        (void)buf_append(out, &c, 1);
    }
}

/* ---- pretty ---- */

struct widths {
    size_t of[CTL_COLUMNS_MAX];
    bool is_multi_line;
};

static void widths_read(const struct ctl_grid *grid, enum ctl_format format, struct widths *ret)
{
    struct buf cell;
    json_t *row;
    size_t idx;

    *ret = (struct widths){0};
    buf_init(&cell, CELL_MAX);
    for (int i = 0; i < grid->count; i++) {
        ret->of[i] = text_width(grid->titles[i], strlen(grid->titles[i]));
        json_array_foreach(grid->rows, idx, row) {
            const char *line;
            size_t length;

            cell_text(json_object_get(row, grid->keys[i]), format == CTL_PRETTY, &cell);
            for (size_t n = 0; cell_line(buf_text(&cell), n, &line, &length); n++) {
                size_t width = text_width(line, length);

                ret->of[i] = width > ret->of[i] ? width : ret->of[i];
                ret->is_multi_line = ret->is_multi_line || n > 0;
            }
        }
    }
    buf_done(&cell);
}

static void put_rule(struct buf *out, const struct ctl_grid *grid, const struct widths *widths,
                     const char *header)
{
    struct buf line;
    size_t cut = header == NULL ? 0 : strlen(header);

    buf_init(&line, CELL_MAX);
    (void)buf_puts(&line, "+");
    for (int i = 0; i < grid->count; i++) {
        for (size_t n = 0; n < widths->of[i] + 2; n++)
            (void)buf_puts(&line, "-");
        (void)buf_puts(&line, "+");
    }
    if (line.length < 2) {
        buf_done(&line);
        return;
    }
    /* The header replaces as much of the border as it is long, without the corners. */
    if (cut > line.length - 2)
        cut = line.length - 2;
    (void)buf_puts(out, "+");
    put_printable(out, header == NULL ? "" : header, cut);
    (void)buf_printf(out, "%s\n", buf_text(&line) + 1 + cut);
    buf_done(&line);
}

static void put_blanks(struct buf *out, size_t count)
{
    while (count-- > 0)
        (void)buf_puts(out, " ");
}

static void put_cell_line(struct buf *out, const char *line, size_t length, size_t width,
                          bool is_right)
{
    size_t used = text_width(line, length);
    size_t blanks = width > used ? width - used : 0;

    (void)buf_puts(out, " ");
    if (is_right)
        put_blanks(out, blanks);
    put_printable(out, line, length);
    if (!is_right)
        put_blanks(out, blanks);
    (void)buf_puts(out, " |");
}

/* row NULL: the titles. */
static void put_pretty_row(struct buf *out, const struct ctl_grid *grid,
                           const struct widths *widths, const json_t *row, enum ctl_format format)
{
    struct buf cell;
    bool has_more = true;

    buf_init(&cell, CELL_MAX);
    for (size_t n = 0; has_more; n++) {
        has_more = false;
        (void)buf_puts(out, "|");
        for (int i = 0; i < grid->count; i++) {
            const char *line = "";
            size_t length = 0;

            if (row == NULL) {
                buf_clear(&cell);
                (void)buf_puts(&cell, grid->titles[i]);
            } else {
                cell_text(json_object_get(row, grid->keys[i]), format == CTL_PRETTY, &cell);
            }
            if (!cell_line(buf_text(&cell), n, &line, &length))
                length = 0;
            else if (line[length] == '\n')
                has_more = true;
            put_cell_line(out, line, length, widths->of[i], grid->right[i]);
        }
        (void)buf_puts(out, "\n");
    }
    buf_done(&cell);
}

static void put_pretty(struct buf *out, const struct ctl_grid *grid, enum ctl_format format)
{
    struct widths widths;
    json_t *row;
    size_t idx;

    widths_read(grid, format, &widths);
    put_rule(out, grid, &widths, grid->header);
    put_pretty_row(out, grid, &widths, NULL, format);
    put_rule(out, grid, &widths, NULL);
    json_array_foreach(grid->rows, idx, row) {
        if (idx > 0 && widths.is_multi_line)
            put_rule(out, grid, &widths, NULL);
        put_pretty_row(out, grid, &widths, row, format);
    }
    put_rule(out, grid, &widths, NULL);
}

/* ---- tsv, json, yaml ---- */

static void put_tsv(struct buf *out, const struct ctl_grid *grid)
{
    struct buf cell;
    json_t *row;
    size_t idx;

    buf_init(&cell, CELL_MAX);
    for (int i = 0; i < grid->count; i++)
        (void)buf_printf(out, "%s%s", i == 0 ? "" : "\t", grid->keys[i]);
    (void)buf_puts(out, "\n");
    json_array_foreach(grid->rows, idx, row) {
        for (int i = 0; i < grid->count; i++) {
            cell_text(json_object_get(row, grid->keys[i]), false, &cell);
            (void)buf_printf(out, "%s%s", i == 0 ? "" : "\t", buf_text(&cell));
        }
        (void)buf_puts(out, "\n");
    }
    buf_done(&cell);
}

static bool is_empty(const json_t *value)
{
    return value == NULL || json_is_null(value) ||
           (json_is_string(value) && json_string_length(value) == 0);
}

/* Rows with the grid's columns only, in their order. */
static json_t *new_elements(const struct ctl_grid *grid)
{
    json_t *elements = json_array();
    json_t *row;
    size_t idx;

    pgh_assert(elements != NULL);
    json_array_foreach(grid->rows, idx, row) {
        json_t *element = json_object();

        pgh_assert(element != NULL);
        for (int i = 0; i < grid->count; i++) {
            json_t *value = json_object_get(row, grid->keys[i]);

            if (!is_empty(value))
                (void)json_object_set(element, grid->keys[i], value);
            else if (!grid->omit_empty)
                (void)json_object_set_new(element, grid->keys[i], json_string(""));
        }
        (void)json_array_append_new(elements, element);
    }
    return elements;
}

static void put_elements(struct buf *out, const struct ctl_grid *grid, enum ctl_format format)
{
    json_t *elements = new_elements(grid);

    if (format == CTL_JSON)
        (void)view_json_put_spaced(out, elements);
    else
        (void)ctl_put_yaml(out, elements);
    (void)buf_puts(out, "\n");
    json_decref(elements);
}

enum rc ctl_put_grid(struct buf *out, const struct ctl_grid *grid, enum ctl_format format)
{
    pgh_assert(grid->count <= CTL_COLUMNS_MAX);
    switch (format) {
    case CTL_PRETTY:
    case CTL_TOPOLOGY:
        put_pretty(out, grid, format);
        break;
    case CTL_TSV:
        put_tsv(out, grid);
        break;
    case CTL_JSON:
    case CTL_YAML:
        put_elements(out, grid, format);
        break;
    }
    return buf_is_overflown(out) ? RC_LIMIT : RC_OK;
}

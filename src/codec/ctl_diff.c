/* A unified diff of two texts, by the longest common subsequence of their lines. */
#include <string.h>

#include "ctl_private.h"

#include "pgheir/base/mem.h"

enum {
    LINES_MAX = 20000,
    CELLS_MAX = 16 * 1024 * 1024, /* of one comparison; beyond, the middle is replaced */
    CONTEXT = 3
};

struct lines {
    const char **text;
    size_t *length;
    size_t count;
};

/* One step of the script that makes new out of old. */
enum edit { EDIT_KEEP, EDIT_DROP, EDIT_ADD };

struct script {
    enum edit *edits;
    size_t count;
};

static bool lines_split(const char *text, struct lines *ret)
{
    size_t count = 0;

    for (const char *at = text; *at != '\0'; at++)
        count += *at == '\n' || at[1] == '\0' ? 1 : 0;
    *ret = (struct lines){0};
    if (count > LINES_MAX)
        return false;
    ret->text = mem_new(count + 1, sizeof(*ret->text));
    ret->length = mem_new(count + 1, sizeof(*ret->length));
    while (*text != '\0') {
        ret->text[ret->count] = text;
        ret->length[ret->count] = strcspn(text, "\n");
        text += ret->length[ret->count];
        text += *text == '\n' ? 1 : 0;
        ret->count++;
    }
    return true;
}

static void lines_done(struct lines *lines)
{
    mem_free(lines->text);
    mem_free(lines->length);
}

static bool is_same_line(const struct lines *a, size_t i, const struct lines *b, size_t j)
{
    return a->length[i] == b->length[j] && memcmp(a->text[i], b->text[j], a->length[i]) == 0;
}

static void script_add(struct script *script, enum edit edit, size_t times)
{
    for (size_t i = 0; i < times; i++)
        script->edits[script->count++] = edit;
}

/* The middle, after equal beginnings and ends have been taken off: a[i0..i1), b[j0..j1). */
static void script_add_middle(struct script *script, const struct lines *a, size_t i0, size_t i1,
                              const struct lines *b, size_t j0, size_t j1)
{
    size_t rows = i1 - i0;
    size_t columns = j1 - j0;
    size_t i = 0;
    size_t j = 0;
    uint16_t *best;

    if (rows == 0 || columns == 0 || rows >= CELLS_MAX / (columns + 1)) {
        script_add(script, EDIT_DROP, rows);
        script_add(script, EDIT_ADD, columns);
        return;
    }
    /* best[i][j]: lines that a from i and b from j have in common; at most 20000 fit 16 bits. */
    best = mem_new((rows + 1) * (columns + 1), sizeof(*best));
    for (size_t r = rows; r-- > 0;)
        for (size_t c = columns; c-- > 0;) {
            uint16_t down = best[(r + 1) * (columns + 1) + c];
            uint16_t right = best[r * (columns + 1) + c + 1];

            if (is_same_line(a, i0 + r, b, j0 + c))
                best[r * (columns + 1) + c] =
                    (uint16_t)(best[(r + 1) * (columns + 1) + c + 1] + 1);
            else
                best[r * (columns + 1) + c] = down > right ? down : right;
        }
    while (i < rows && j < columns) {
        if (is_same_line(a, i0 + i, b, j0 + j)) {
            script_add(script, EDIT_KEEP, 1);
            i++;
            j++;
        } else if (best[(i + 1) * (columns + 1) + j] >= best[i * (columns + 1) + j + 1]) {
            script_add(script, EDIT_DROP, 1);
            i++;
        } else {
            script_add(script, EDIT_ADD, 1);
            j++;
        }
    }
    script_add(script, EDIT_DROP, rows - i);
    script_add(script, EDIT_ADD, columns - j);
    mem_free(best);
}

static void script_build(struct script *script, const struct lines *a, const struct lines *b)
{
    size_t head = 0;
    size_t tail = 0;

    script->edits = mem_new(a->count + b->count + 1, sizeof(*script->edits));
    script->count = 0;
    while (head < a->count && head < b->count && is_same_line(a, head, b, head))
        head++;
    while (tail < a->count - head && tail < b->count - head &&
           is_same_line(a, a->count - 1 - tail, b, b->count - 1 - tail))
        tail++;
    script_add(script, EDIT_KEEP, head);
    script_add_middle(script, a, head, a->count - tail, b, head, b->count - tail);
    script_add(script, EDIT_KEEP, tail);
}

/* ---- Hunks ---- */

static size_t next_change(const struct script *script, size_t from)
{
    while (from < script->count && script->edits[from] == EDIT_KEEP)
        from++;
    return from;
}

/* End of the hunk that begins with the change at from: changes closer than two contexts belong
 * together. */
static size_t hunk_end(const struct script *script, size_t from)
{
    size_t end = from;

    for (;;) {
        size_t next;

        while (end < script->count && script->edits[end] != EDIT_KEEP)
            end++;
        next = next_change(script, end);
        if (next == script->count || next - end > 2 * CONTEXT)
            break;
        end = next;
    }
    return end + CONTEXT < script->count ? end + CONTEXT : script->count;
}

static void put_range(struct buf *out, char sign, size_t first, size_t count)
{
    if (count == 1)
        (void)buf_printf(out, "%c%zu", sign, first + 1);
    else
        (void)buf_printf(out, "%c%zu,%zu", sign, count == 0 ? first : first + 1, count);
}

static void put_line(struct buf *out, char sign, const struct lines *lines, size_t idx)
{
    (void)buf_append(out, &sign, 1);
    (void)buf_append(out, lines->text[idx], lines->length[idx]);
    (void)buf_puts(out, "\n");
}

/* Edits [begin, end) with a's line i and b's line j first. */
static void put_hunk(struct buf *out, const struct script *script, size_t begin, size_t end,
                     const struct lines *a, size_t i, const struct lines *b, size_t j)
{
    size_t old_count = 0;
    size_t new_count = 0;

    for (size_t n = begin; n < end; n++) {
        old_count += script->edits[n] != EDIT_ADD ? 1 : 0;
        new_count += script->edits[n] != EDIT_DROP ? 1 : 0;
    }
    (void)buf_puts(out, "@@ ");
    put_range(out, '-', i, old_count);
    (void)buf_puts(out, " ");
    put_range(out, '+', j, new_count);
    (void)buf_puts(out, " @@\n");
    for (size_t n = begin; n < end; n++) {
        if (script->edits[n] == EDIT_ADD)
            put_line(out, '+', b, j++);
        else if (script->edits[n] == EDIT_DROP)
            put_line(out, '-', a, i++);
        else {
            put_line(out, ' ', a, i++);
            j++;
        }
    }
}

static void put_script(struct buf *out, const struct script *script, const struct lines *a,
                       const struct lines *b)
{
    size_t done = 0;
    size_t i = 0;
    size_t j = 0;

    for (size_t change = next_change(script, 0); change < script->count;
         change = next_change(script, done)) {
        size_t begin = change > done + CONTEXT ? change - CONTEXT : done;
        size_t end = hunk_end(script, change);

        if (done == 0)
            (void)buf_puts(out, "--- \n+++ \n");
        i += begin - done; /* what lies between two hunks is kept */
        j += begin - done;
        put_hunk(out, script, begin, end, a, i, b, j);
        for (size_t n = begin; n < end; n++) {
            i += script->edits[n] != EDIT_ADD ? 1 : 0;
            j += script->edits[n] != EDIT_DROP ? 1 : 0;
        }
        done = end;
    }
}

enum rc ctl_put_diff(struct buf *out, const char *old_text, const char *new_text)
{
    struct lines a = {0};
    struct lines b = {0};
    struct script script;
    enum rc rc = RC_LIMIT;

    if (lines_split(old_text, &a) && lines_split(new_text, &b)) {
        script_build(&script, &a, &b);
        put_script(out, &script, &a, &b);
        mem_free(script.edits);
        rc = buf_is_overflown(out) ? RC_LIMIT : RC_OK;
    }
    lines_done(&a);
    lines_done(&b);
    return rc;
}

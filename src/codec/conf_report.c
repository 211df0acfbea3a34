#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "conf_private.h"

#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"

enum { MESSAGE_TEXT_MAX = 1024 };

void conf_report_init(struct conf_report *report)
{
    *report = (struct conf_report){0};
}

void conf_report_done(struct conf_report *report)
{
    for (int i = 0; i < report->count; i++) {
        mem_free(report->messages[i].file);
        mem_free(report->messages[i].key);
        mem_free(report->messages[i].text);
    }
    mem_free(report->messages);
    *report = (struct conf_report){0};
}

static void report_push(struct conf_report *report, enum conf_severity severity, const char *file,
                        int line, const char *key, const char *text)
{
    struct conf_message *message;

    if (report->messages == NULL)
        report->messages = mem_new(CONF_MESSAGES_MAX + 1, sizeof(*report->messages));
    message = &report->messages[report->count++];
    message->severity = severity;
    message->file = mem_strdup(str_is_empty(file) ? "configuration" : file);
    message->line = line;
    message->key = mem_strdup(key == NULL ? "" : key);
    message->text = mem_strdup(text);
}

static void report_add_args(struct conf_report *report, enum conf_severity severity,
                            const char *file, int line, const char *key, const char *fmt,
                            va_list args) __attribute__((format(printf, 6, 0)));

static void report_add_args(struct conf_report *report, enum conf_severity severity,
                            const char *file, int line, const char *key, const char *fmt,
                            va_list args)
{
    char text[MESSAGE_TEXT_MAX];

    if (report == NULL)
        return;
    if (severity == CONF_ERROR)
        report->error_count++;
    if (report->count > CONF_MESSAGES_MAX)
        return;
    if (report->count == CONF_MESSAGES_MAX) {
        report_push(report, severity, file, 0, "", "more messages are left out");
        return;
    }
    (void)vsnprintf(text, sizeof(text), fmt, args); /* a message may be cut */
    report_push(report, severity, file, line, key, text);
}

void conf_report_add(struct conf_report *report, enum conf_severity severity, const char *file,
                     int line, const char *key, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    report_add_args(report, severity, file, line, key, fmt, args);
    va_end(args);
}

void conf_report_at(struct conf_report *report, const struct conf_places *places,
                    enum conf_severity severity, const char *key, const char *fmt, ...)
{
    int line = 0;
    const char *file = conf_places_find(places, key, &line);
    va_list args;

    va_start(args, fmt);
    report_add_args(report, severity, file, line, key, fmt, args);
    va_end(args);
}

enum rc conf_message_format(const struct conf_message *message, struct buf *out)
{
    enum rc rc = buf_puts(out, message->file);

    if (rc == RC_OK && message->line > 0)
        rc = buf_printf(out, ":%d", message->line);
    if (rc == RC_OK)
        rc = buf_puts(out, message->severity == CONF_ERROR ? ": error: " : ": warning: ");
    if (rc == RC_OK && message->key[0] != '\0')
        rc = buf_printf(out, "%s: ", message->key);
    return rc == RC_OK ? buf_puts(out, message->text) : rc;
}

/* ---- Places ---- */

void conf_places_init(struct conf_places *places)
{
    places->by_path = json_object();
    pgh_assert(places->by_path != NULL);
}

void conf_places_done(struct conf_places *places)
{
    json_decref(places->by_path);
    places->by_path = NULL;
}

void conf_places_set(struct conf_places *places, const char *path, const char *file, int line)
{
    json_t *place = json_pack("[s, i]", file, line);

    /* A path that is not UTF-8 cannot come out of the YAML reader, but a place is never worth an
     * error of its own. */
    if (place != NULL)
        (void)json_object_set_new(places->by_path, path, place);
}

void conf_places_drop(struct conf_places *places, const char *path)
{
    size_t length = strlen(path);
    const char *key;
    json_t *place;
    void *next;

    json_object_foreach_safe(places->by_path, next, key, place) {
        if (strncmp(key, path, length) == 0 &&
            (key[length] == '\0' || key[length] == '.' || key[length] == '['))
            (void)json_object_del(places->by_path, key);
    }
}

const char *conf_places_find(const struct conf_places *places, const char *path, int *ret_line)
{
    char parent[CONF_PATH_SIZE];

    *ret_line = 0;
    if (places == NULL)
        return "dynamic configuration";
    if (!str_copy(parent, sizeof(parent), path))
        return "configuration";
    for (;;) {
        const json_t *place = json_object_get(places->by_path, parent);
        size_t at = strlen(parent);

        if (place != NULL) {
            *ret_line = (int)json_integer_value(json_array_get(place, 1));
            return json_string_value(json_array_get(place, 0));
        }
        if (at == 0)
            return "configuration";
        while (at > 0 && parent[at] != '.' && parent[at] != '[')
            at--;
        parent[at] = '\0';
    }
}

void conf_places_merge(struct conf_places *places, const struct conf_places *from)
{
    (void)json_object_update(places->by_path, from->by_path);
}

/* ---- Storage ---- */

struct conf_storage *conf_storage_new(void)
{
    struct conf_storage *storage = mem_new(1, sizeof(*storage));

    storage->kept = json_array();
    pgh_assert(storage->kept != NULL);
    conf_places_init(&storage->places);
    return storage;
}

void conf_storage_free(struct conf_storage *storage)
{
    if (storage == NULL)
        return;
    for (size_t i = 0; i < storage->block_count; i++)
        mem_free(storage->blocks[i]);
    mem_free(storage->blocks);
    json_decref(storage->kept);
    conf_places_done(&storage->places);
    mem_free(storage);
}

void *conf_storage_alloc(struct conf_storage *storage, size_t count, size_t size)
{
    void *block = mem_new(count == 0 ? 1 : count, size);

    storage->blocks =
        mem_resize(storage->blocks, (storage->block_count + 1) * sizeof(*storage->blocks));
    storage->blocks[storage->block_count++] = block;
    return block;
}

const char *conf_storage_text(struct conf_storage *storage, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = conf_storage_alloc(storage, size, 1);

    memcpy(copy, text, size);
    return copy;
}

json_t *conf_storage_keep(struct conf_storage *storage, json_t *value)
{
    pgh_assert(value != NULL);
    (void)json_array_append_new(storage->kept, value);
    return value;
}

/* ---- Trees ---- */

const json_t *conf_tree_get(const json_t *tree, const char *path)
{
    char part[CONF_PATH_SIZE];
    const json_t *at = tree;

    while (*path != '\0') {
        size_t length = strcspn(path, ".");

        if (length >= sizeof(part))
            return NULL;
        memcpy(part, path, length);
        part[length] = '\0';
        at = json_object_get(at, part);
        if (at == NULL)
            return NULL;
        path += length;
        if (*path == '.')
            path++;
    }
    return json_is_null(at) ? NULL : at;
}

void conf_tree_set(json_t *tree, const char *path, json_t *value)
{
    char part[CONF_PATH_SIZE];

    for (;;) {
        size_t length = strcspn(path, ".");
        json_t *child;

        pgh_assert(length < sizeof(part));
        memcpy(part, path, length);
        part[length] = '\0';
        if (path[length] == '\0')
            break;
        child = json_object_get(tree, part);
        if (!json_is_object(child)) {
            child = json_object();
            (void)json_object_set_new(tree, part, child);
        }
        tree = child;
        path += length + 1;
    }
    (void)json_object_set_new(tree, part, value);
}

void conf_tree_delete(json_t *tree, const char *path)
{
    char parent[CONF_PATH_SIZE];
    const char *dot = strrchr(path, '.');
    const json_t *at = tree;

    if (dot == NULL) {
        (void)json_object_del(tree, path);
        return;
    }
    pgh_assert((size_t)(dot - path) < sizeof(parent));
    memcpy(parent, path, (size_t)(dot - path));
    parent[dot - path] = '\0';
    at = conf_tree_get(tree, parent);
    /* The tree is the caller's to change; only the look-up is const. */
    if (json_is_object(at))
        (void)json_object_del((json_t *)(uintptr_t)at, dot + 1);
}

void conf_tree_merge(json_t *tree, const json_t *patch)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)patch, key, value) {
        json_t *old = json_object_get(tree, key);

        if (json_is_null(value))
            (void)json_object_del(tree, key);
        else if (json_is_object(value) && json_is_object(old))
            conf_tree_merge(old, value);
        else
            (void)json_object_set_new(tree, key, json_deep_copy(value));
    }
}

const char *conf_type_word(const json_t *value)
{
    if (value == NULL)
        return "nothing";
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a text";
    case JSON_INTEGER:
        return "a whole number";
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a switch (true or false)";
    case JSON_NULL:
        return "nothing";
    }
    return "something else";
}

#include <stdio.h>
#include <string.h>

#include <yaml.h>

#include "conf_private.h"
#include "yaml_scalar.h"

#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"

enum {
    NODES_MAX = 200000, /* aliases counted as what they stand for: a bomb ends here */
    ANCHORS_MAX = 256,
    ANCHOR_SIZE = 64
};

struct anchor {
    char name[ANCHOR_SIZE];
    json_t *value; /* NULL while its node is being read */
    int nodes;
};

struct reader {
    yaml_parser_t parser;
    const char *file;
    struct conf_places *places;
    struct conf_report *report;
    struct err *err;
    int nodes;
    int anchor_count;
    struct anchor anchors[ANCHORS_MAX];
    char path[CONF_PATH_SIZE];
};

static enum rc reader_fail(struct reader *reader, const yaml_mark_t *mark, const char *text)
{
    if (reader->report != NULL)
        conf_report_add(reader->report, CONF_ERROR, reader->file, (int)mark->line + 1,
                        reader->path, "%s", text);
    return err_set(reader->err, RC_INVALID, "%s:%zu: %s", reader->file, mark->line + 1, text);
}

static enum rc reader_next(struct reader *reader, yaml_event_t *event)
{
    const yaml_parser_t *parser = &reader->parser;
    char problem[256];

    if (yaml_parser_parse(&reader->parser, event))
        return RC_OK;
    (void)snprintf(problem, sizeof(problem), "not YAML: %s%s%s",
                   parser->problem == NULL ? "cannot be read" : parser->problem,
                   parser->context == NULL ? "" : ", ",
                   parser->context == NULL ? "" : parser->context);
    return reader_fail(reader,
                       parser->error == YAML_READER_ERROR ? &parser->mark : &parser->problem_mark,
                       problem);
}

/* ---- Anchors ---- */

static enum rc anchor_begin(struct reader *reader, const yaml_char_t *name, const yaml_mark_t *mark,
                            int *ret_idx)
{
    struct anchor *anchor;

    *ret_idx = -1;
    if (name == NULL)
        return RC_OK;
    if (reader->anchor_count == ANCHORS_MAX)
        return reader_fail(reader, mark, "more than 256 anchors");
    anchor = &reader->anchors[reader->anchor_count];
    if (!str_copy(anchor->name, sizeof(anchor->name), (const char *)name))
        return reader_fail(reader, mark, "name of an anchor is longer than 63 bytes");
    anchor->value = NULL;
    *ret_idx = reader->anchor_count++;
    return RC_OK;
}

static void anchor_end(struct reader *reader, int idx, json_t *value, int nodes)
{
    if (idx < 0)
        return;
    reader->anchors[idx].value = json_incref(value);
    reader->anchors[idx].nodes = nodes;
}

static enum rc read_alias(struct reader *reader, const yaml_event_t *event, json_t **ret)
{
    const char *name = (const char *)event->data.alias.anchor;

    for (int i = reader->anchor_count - 1; i >= 0; i--) {
        const struct anchor *anchor = &reader->anchors[i];

        if (strcmp(anchor->name, name) != 0)
            continue;
        if (anchor->value == NULL)
            return reader_fail(reader, &event->start_mark, "an alias inside of its own anchor");
        if (anchor->nodes > NODES_MAX - reader->nodes)
            return reader_fail(reader, &event->start_mark, "aliases unfold into too many values");
        reader->nodes += anchor->nodes;
        *ret = json_deep_copy(anchor->value);
        pgh_assert(*ret != NULL);
        return RC_OK;
    }
    return reader_fail(reader, &event->start_mark, "an alias without its anchor");
}

/* ---- Nodes ---- */

static enum rc read_node(struct reader *reader, const yaml_event_t *event, int depth, json_t **ret);

static enum rc read_scalar(struct reader *reader, const yaml_event_t *event, json_t **ret)
{
    const char *text = (const char *)event->data.scalar.value;
    const char *tag = (const char *)event->data.scalar.tag;
    bool is_plain = event->data.scalar.plain_implicit != 0;
    char problem[128];

    if (memchr(text, '\0', event->data.scalar.length) != NULL)
        return reader_fail(reader, &event->start_mark, "a text with a NUL character");
    *ret = yaml_scalar_read(text, is_plain ? NULL : tag, is_plain);
    if (*ret != NULL)
        return RC_OK;
    (void)snprintf(problem, sizeof(problem), "value does not fit its tag %.40s, or tag is unknown",
                   tag == NULL ? "" : tag);
    return reader_fail(reader, &event->start_mark, problem);
}

static bool tag_is(const yaml_char_t *tag, const char *name)
{
    return tag == NULL || strcmp((const char *)tag, "!") == 0 ||
           strcmp((const char *)tag, name) == 0;
}

static enum rc read_sequence(struct reader *reader, const yaml_event_t *start, int depth,
                             json_t **ret)
{
    json_t *list = json_array();
    size_t path_length = strlen(reader->path);
    enum rc rc = RC_OK;

    pgh_assert(list != NULL);
    if (!tag_is(start->data.sequence_start.tag, YAML_SEQ_TAG))
        rc = reader_fail(reader, &start->start_mark, "this tag is not supported for a list");
    while (rc == RC_OK) {
        yaml_event_t event;
        json_t *item = NULL;
        bool is_end;

        rc = reader_next(reader, &event);
        if (rc != RC_OK)
            break;
        is_end = event.type == YAML_SEQUENCE_END_EVENT;
        if (!is_end) {
            (void)snprintf(reader->path + path_length, sizeof(reader->path) - path_length, "[%zu]",
                           json_array_size(list));
            rc = read_node(reader, &event, depth + 1, &item);
            reader->path[path_length] = '\0';
        }
        yaml_event_delete(&event);
        if (is_end)
            break;
        if (rc == RC_OK)
            (void)json_array_append_new(list, item);
    }
    if (rc != RC_OK)
        json_decref(list);
    else
        *ret = list;
    return rc;
}

/* The merge key <<: what the mapping itself says wins, then the first of a list. */
static enum rc merge_into(struct reader *reader, json_t *merged, json_t *value,
                          const yaml_mark_t *mark)
{
    size_t count = json_is_array(value) ? json_array_size(value) : 1;

    for (size_t i = 0; i < count; i++) {
        json_t *from = json_is_array(value) ? json_array_get(value, i) : value;

        if (!json_is_object(from))
            return reader_fail(reader, mark, "the merge key << wants a mapping or a list of them");
        (void)json_object_update_missing(merged, from);
    }
    return RC_OK;
}

/* Key of a mapping as text. A plain << is the merge key and gives NULL. */
static enum rc read_key(struct reader *reader, const yaml_event_t *event, const char **ret)
{
    const char *text;

    if (event->type != YAML_SCALAR_EVENT)
        return reader_fail(reader, &event->start_mark, "a key must be a text");
    text = (const char *)event->data.scalar.value;
    if (memchr(text, '\0', event->data.scalar.length) != NULL)
        return reader_fail(reader, &event->start_mark, "a key with a NUL character");
    *ret = event->data.scalar.plain_implicit != 0 && strcmp(text, "<<") == 0 ? NULL : text;
    return RC_OK;
}

/* One key and its value. */
static enum rc read_pair(struct reader *reader, const yaml_event_t *key_event, int depth,
                         json_t *object, json_t *merged)
{
    size_t path_length = strlen(reader->path);
    yaml_event_t event;
    const char *key = NULL;
    json_t *value = NULL;
    enum rc rc = read_key(reader, key_event, &key);

    if (rc == RC_OK && key != NULL)
        /* A path beyond the size is cut: it serves messages only. */
        (void)snprintf(reader->path + path_length, sizeof(reader->path) - path_length, "%s%s",
                       path_length == 0 ? "" : ".", key);
    if (rc == RC_OK)
        rc = reader_next(reader, &event);
    if (rc != RC_OK)
        goto out;
    if (key != NULL && reader->report != NULL && json_object_get(object, key) != NULL)
        conf_report_add(reader->report, CONF_WARNING, reader->file,
                        (int)key_event->start_mark.line + 1, reader->path,
                        "this key stands here twice; the last one counts");
    if (key != NULL && reader->places != NULL)
        conf_places_set(reader->places, reader->path, reader->file,
                        (int)key_event->start_mark.line + 1);
    rc = read_node(reader, &event, depth + 1, &value);
    yaml_event_delete(&event);
    if (rc == RC_OK && key == NULL)
        rc = merge_into(reader, merged, value, &key_event->start_mark);
    else if (rc == RC_OK && json_object_set(object, key, value) != 0)
        rc = reader_fail(reader, &key_event->start_mark, "a key that is not UTF-8");
    json_decref(value);
out:
    reader->path[path_length] = '\0';
    return rc;
}

static enum rc read_mapping(struct reader *reader, const yaml_event_t *start, int depth,
                            json_t **ret)
{
    json_t *object = json_object();
    json_t *merged = json_object();
    enum rc rc = RC_OK;

    pgh_assert(object != NULL);
    pgh_assert(merged != NULL);
    if (!tag_is(start->data.mapping_start.tag, YAML_MAP_TAG))
        rc = reader_fail(reader, &start->start_mark, "this tag is not supported for a mapping");
    while (rc == RC_OK) {
        yaml_event_t event;
        bool is_end;

        rc = reader_next(reader, &event);
        if (rc != RC_OK)
            break;
        is_end = event.type == YAML_MAPPING_END_EVENT;
        if (!is_end)
            rc = read_pair(reader, &event, depth, object, merged);
        yaml_event_delete(&event);
        if (is_end)
            break;
    }
    if (rc == RC_OK) {
        (void)json_object_update_missing(object, merged);
        *ret = json_incref(object);
    }
    json_decref(object);
    json_decref(merged);
    return rc;
}

static enum rc read_node(struct reader *reader, const yaml_event_t *event, int depth, json_t **ret)
{
    int nodes_before = reader->nodes;
    int idx = -1;
    const yaml_char_t *anchor = NULL;
    enum rc rc;

    if (depth > CONF_DEPTH_MAX)
        return reader_fail(reader, &event->start_mark, "nested deeper than 64 levels");
    if (++reader->nodes > NODES_MAX)
        return reader_fail(reader, &event->start_mark, "more than 200000 values");
    if (event->type == YAML_ALIAS_EVENT)
        return read_alias(reader, event, ret);
    if (event->type == YAML_SCALAR_EVENT)
        anchor = event->data.scalar.anchor;
    else if (event->type == YAML_SEQUENCE_START_EVENT)
        anchor = event->data.sequence_start.anchor;
    else if (event->type == YAML_MAPPING_START_EVENT)
        anchor = event->data.mapping_start.anchor;
    else
        return reader_fail(reader, &event->start_mark, "a value is missing here");
    rc = anchor_begin(reader, anchor, &event->start_mark, &idx);
    if (rc != RC_OK)
        return rc;
    if (event->type == YAML_SCALAR_EVENT)
        rc = read_scalar(reader, event, ret);
    else if (event->type == YAML_SEQUENCE_START_EVENT)
        rc = read_sequence(reader, event, depth, ret);
    else
        rc = read_mapping(reader, event, depth, ret);
    if (rc == RC_OK)
        anchor_end(reader, idx, *ret, reader->nodes - nodes_before);
    return rc;
}

/* ---- The document ---- */

static enum rc read_document(struct reader *reader, json_t **ret)
{
    yaml_event_t event;
    enum rc rc;
    json_t *value = NULL;
    bool is_done = false;

    while (!is_done) {
        rc = reader_next(reader, &event);
        if (rc != RC_OK)
            break;
        if (event.type == YAML_STREAM_END_EVENT)
            is_done = true;
        else if (event.type == YAML_DOCUMENT_START_EVENT && value != NULL)
            rc = reader_fail(reader, &event.start_mark, "a second document: one is expected");
        else if (event.type != YAML_STREAM_START_EVENT &&
                 event.type != YAML_DOCUMENT_START_EVENT && event.type != YAML_DOCUMENT_END_EVENT)
            rc = read_node(reader, &event, 0, &value);
        yaml_event_delete(&event);
        if (rc != RC_OK)
            break;
    }
    if (rc != RC_OK)
        json_decref(value);
    else
        *ret = value == NULL ? json_null() : value;
    return rc;
}

enum rc conf_yaml_read(const char *file, const char *text, size_t length, json_t **ret,
                       struct conf_places *places, struct conf_report *report, struct err *err)
{
    struct reader *reader = mem_new(1, sizeof(*reader));
    enum rc rc;

    reader->file = file;
    reader->places = places;
    reader->report = report;
    reader->err = err;
    if (!yaml_parser_initialize(&reader->parser)) {
        mem_free(reader);
        return err_set(err, RC_SYSTEM, "%s: no memory for the YAML parser", file);
    }
    yaml_parser_set_input_string(&reader->parser, (const unsigned char *)text, length);
    rc = read_document(reader, ret);
    for (int i = 0; i < reader->anchor_count; i++)
        json_decref(reader->anchors[i].value);
    yaml_parser_delete(&reader->parser);
    mem_free(reader);
    return rc;
}

enum rc conf_yaml_parse(const char *file, const char *text, size_t length, json_t **ret,
                        struct err *err)
{
    return conf_yaml_read(file, text, length, ret, NULL, NULL, err);
}

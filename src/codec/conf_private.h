/* What the files of the configuration codec share. */
#ifndef PGHEIR_SRC_CODEC_CONF_PRIVATE_H
#define PGHEIR_SRC_CODEC_CONF_PRIVATE_H

#include "pgheir/codec/conf.h"

/* Where each key of a tree was written: dotted path -> [file, line]. */
struct conf_places {
    json_t *by_path;
};

void conf_places_init(struct conf_places *places);
void conf_places_done(struct conf_places *places);
void conf_places_set(struct conf_places *places, const char *path, const char *file, int line);
/* Forgets path and everything below it. */
void conf_places_drop(struct conf_places *places, const char *path);
/* The place of path or of its nearest parent, at last of "", the whole; *ret_line 0 and
 * "configuration" if there is none.
 * Without places it is about "dynamic configuration". */
const char *conf_places_find(const struct conf_places *places, const char *path, int *ret_line);
/* Takes over every place of from. */
void conf_places_merge(struct conf_places *places, const struct conf_places *from);

/* conf_report_add() with the place of key. */
void conf_report_at(struct conf_report *report, const struct conf_places *places,
                    enum conf_severity severity, const char *key, const char *fmt, ...)
    PGH_PRINTF(5, 6);

/* As conf_yaml_parse(); places and report may be NULL (duplicate keys are warned of). */
enum rc conf_yaml_read(const char *file, const char *text, size_t length, json_t **ret,
                       struct conf_places *places, struct conf_report *report, struct err *err);

/* Deepest nesting of a file that we read: a real one has five levels. */
enum { CONF_DEPTH_MAX = 64, CONF_PATH_SIZE = 512 };

/* Memory and references that live as long as one result. */
struct conf_storage {
    void **blocks;
    size_t block_count;
    json_t *kept; /* array */
    struct conf_places places;
};

struct conf_storage *conf_storage_new(void);
void conf_storage_free(struct conf_storage *storage);
void *conf_storage_alloc(struct conf_storage *storage, size_t count, size_t size);
const char *conf_storage_text(struct conf_storage *storage, const char *text);
/* Steals the reference; returns value. */
json_t *conf_storage_keep(struct conf_storage *storage, json_t *value);

/* Which struct an option's offset counts in. */
enum conf_part { CONF_PART_NONE, CONF_PART_CONF, CONF_PART_POSTGRESQL, CONF_PART_POLICY };

/* NULL if the path is not there (or null). */
const json_t *conf_tree_get(const json_t *tree, const char *path);
/* Makes the objects on the way. Steals value. */
void conf_tree_set(json_t *tree, const char *path, json_t *value);
void conf_tree_delete(json_t *tree, const char *path);
/* Merge patch as Patroni merges files: null deletes. Deep copies. */
void conf_tree_merge(json_t *tree, const json_t *patch);

/* Reads one value as the option wants it and stores it at base + offset. false: report has an
 * error (severity as given) and nothing was stored. base NULL: check only. */
bool conf_option_take(const struct conf_option *option, const json_t *value, void *base,
                      struct conf_storage *storage, const struct conf_places *places,
                      enum conf_severity severity, struct conf_report *report);
/* Stores the default, if there is one that is not a description. */
void conf_option_take_default(const struct conf_option *option, void *base,
                              struct conf_storage *storage);
/* What the option expects, for messages: "a number of seconds from 1 to 60". */
void conf_option_expects(const struct conf_option *option, struct buf *out);

struct conf_source_file {
    char *name;
    char *text;
    size_t length;
};

struct conf_source {
    enum conf_use use;
    struct conf_source_file *files;
    size_t file_count;
    json_t *env;        /* name -> text */
    json_t *env_places; /* name -> where it came from, for messages */
    char *cwd;          /* relative paths begin here; NULL: they are refused */
};

/* Variables to a tree: config.md section 7. PATRONI_CONFIGURATION is not looked at. */
void conf_env_tree(const struct conf_source *source, json_t *tree, struct conf_places *places,
                   struct conf_report *report);
/* The option that a variable without its prefix sets; NULL: unknown. Knows the old names. */
const struct conf_option *conf_env_option(const char *name);
/* After PATRONI_ or PGHEIR_; NULL if it has neither. */
const char *conf_env_stem(const char *variable);

/* Long options: a list of "name", {"name": value}, or an object. Entries go into storage. */
bool conf_pairs_read(const json_t *value, struct conf_storage *storage,
                     const struct pg_text_pair **ret, size_t *ret_count);

/* Warns of keys that nobody knows, refuses other stores and Citus. */
void conf_check_unknown(const json_t *tree, const struct conf_places *places,
                        struct conf_report *report);

/* conf->etcd3 from the tree. */
void conf_etcd3_fill(struct conf *conf, struct conf_report *report);

/* conf_postgresql_merge() with a choice: severity is that of what the local file says wrong. */
void conf_postgresql_fill(const struct conf *conf, const json_t *dynamic, const char *role,
                          struct conf_postgresql *ret, enum conf_severity severity,
                          struct conf_report *report);

/* Settings in force, name (lower case) -> text, and those of recovery. Every argument but the first
 * may be NULL. New references. */
struct conf_settings {
    json_t *settings;
    json_t *recovery;
};
void conf_settings_build(const struct conf *conf, const json_t *dynamic_parameters,
                         const json_t *local_parameters, const json_t *role_parameters,
                         const json_t *recovery_conf, struct conf_settings *ret,
                         struct conf_report *report);

/* Word for a JSON type in messages: "a list". */
const char *conf_type_word(const json_t *value);

#endif

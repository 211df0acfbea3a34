/* Texts that a configuration is built from. The only file of this room that reads files. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf_private.h"

#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"

enum { SOURCE_PATH_SIZE = 4096 };

struct conf_source *conf_source_new(enum conf_use use)
{
    struct conf_source *source = mem_new(1, sizeof(*source));

    source->use = use;
    source->env = json_object();
    source->env_places = json_object();
    pgh_assert(source->env != NULL);
    pgh_assert(source->env_places != NULL);
    return source;
}

void conf_source_free(struct conf_source *source)
{
    if (source == NULL)
        return;
    for (size_t i = 0; i < source->file_count; i++) {
        mem_free(source->files[i].name);
        mem_free(source->files[i].text);
    }
    mem_free(source->files);
    mem_free(source->cwd);
    json_decref(source->env);
    json_decref(source->env_places);
    mem_free(source);
}

void conf_source_add_file(struct conf_source *source, const char *name, const char *text,
                          size_t length)
{
    struct conf_source_file *file;

    source->files =
        mem_resize(source->files, (source->file_count + 1) * sizeof(*source->files));
    file = &source->files[source->file_count++];
    file->name = mem_strdup(name);
    file->text = mem_new(length + 1, 1);
    if (length > 0)
        memcpy(file->text, text, length);
    file->length = length;
}

static void source_add_env(struct conf_source *source, const char *name, const char *value,
                           const char *place)
{
    json_t *text;

    if (conf_env_stem(name) == NULL)
        return;
    text = json_string(value);
    /* What is not UTF-8 becomes null, and is reported when it is looked at. */
    if (text == NULL)
        text = json_null();
    if (json_object_set_new(source->env, name, text) == 0)
        (void)json_object_set_new(source->env_places, name, json_string(place));
}

void conf_source_add_env(struct conf_source *source, const char *name, const char *value)
{
    source_add_env(source, name, value, "environment");
}

/* ---- Files ---- */

static enum rc read_all(int fd, struct buf *out, const char *path, struct conf_report *report)
{
    char bytes[8192];

    for (;;) {
        ssize_t length = read(fd, bytes, sizeof(bytes));

        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0) {
            conf_report_add(report, CONF_ERROR, path, 0, "", "cannot be read: %s",
                            strerror(errno));
            return RC_SYSTEM;
        }
        if (length == 0)
            return RC_OK;
        if (buf_append(out, bytes, (size_t)length) != RC_OK) {
            conf_report_add(report, CONF_ERROR, path, 0, "", "larger than 1 MiB: not read");
            return RC_LIMIT;
        }
    }
}

static enum rc read_file(const char *path, struct buf *out, struct conf_report *report)
{
    struct stat facts;
    enum rc rc;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0) {
        int error = errno;

        if (error == EACCES)
            conf_report_add(report, CONF_ERROR, path, 0, "",
                            "cannot be opened: %s: user %u must be allowed to read it",
                            strerror(error), (unsigned)geteuid());
        else
            conf_report_add(report, CONF_ERROR, path, 0, "", "cannot be opened: %s",
                            strerror(error));
        return error == ENOENT ? RC_NOT_FOUND : error == EACCES ? RC_DENIED : RC_SYSTEM;
    }
    /* A pipe is fine (bash's <(...)), a directory or a device is a mistake. */
    if (fstat(fd, &facts) != 0 || (!S_ISREG(facts.st_mode) && !S_ISFIFO(facts.st_mode))) {
        conf_report_add(report, CONF_ERROR, path, 0, "", "not a file");
        (void)close(fd);
        return RC_INVALID;
    }
    if (S_ISFIFO(facts.st_mode))
        (void)fcntl(fd, F_SETFL, 0);
    rc = read_all(fd, out, path, report);
    (void)close(fd);
    return rc;
}

static enum rc source_read_file(struct conf_source *source, const char *path,
                                struct conf_report *report)
{
    struct buf text;
    enum rc rc;

    buf_init(&text, CONF_FILE_BYTES_MAX);
    rc = read_file(path, &text, report);
    if (rc == RC_OK)
        conf_source_add_file(source, path, buf_text(&text), text.length);
    buf_done(&text);
    return rc;
}

static int select_yaml(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);

    return (length > 4 && strcmp(entry->d_name + length - 4, ".yml") == 0) ||
           (length > 5 && strcmp(entry->d_name + length - 5, ".yaml") == 0);
}

/* By bytes, as Python sorts, whatever the locale. */
static int compare_entries(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static enum rc source_read_dir(struct conf_source *source, const char *path,
                               struct conf_report *report)
{
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, select_yaml, compare_entries);
    enum rc rc = RC_OK;

    if (count < 0) {
        conf_report_add(report, CONF_ERROR, path, 0, "", "cannot be listed: %s", strerror(errno));
        return RC_SYSTEM;
    }
    if (count == 0 || count > CONF_FILES_MAX) {
        conf_report_add(report, CONF_ERROR, path, 0, "",
                        "%d files *.yml or *.yaml in this directory: expected 1 to %d", count,
                        CONF_FILES_MAX);
        rc = RC_INVALID;
    }
    for (int i = 0; i < count; i++) {
        char file[SOURCE_PATH_SIZE];
        struct stat facts;

        if (rc == RC_OK && !str_format(file, sizeof(file), "%s/%s", path, entries[i]->d_name))
            rc = RC_LIMIT;
        if (rc == RC_OK && (stat(file, &facts) != 0 || S_ISREG(facts.st_mode)))
            rc = source_read_file(source, file, report);
        free(entries[i]); /* scandir() allocated it */
    }
    free(entries);
    return rc;
}

/* A path that is not there is no error for the agent, as with Patroni, if there is an environment:
 * it may say everything. */
static enum rc source_read_path(struct conf_source *source, const char *path,
                                struct conf_report *report)
{
    struct stat facts;

    if (stat(path, &facts) != 0) {
        if (source->use == CONF_FOR_AGENT && errno == ENOENT &&
            json_object_size(source->env) > 0) {
            conf_report_add(report, CONF_WARNING, path, 0, "",
                            "no such file or directory: only the environment counts");
            return RC_OK;
        }
        conf_report_add(report, CONF_ERROR, path, 0, "", "cannot be opened: %s", strerror(errno));
        return errno == ENOENT ? RC_NOT_FOUND : RC_SYSTEM;
    }
    return S_ISDIR(facts.st_mode) ? source_read_dir(source, path, report)
                                  : source_read_file(source, path, report);
}

/* ---- Environment ---- */

/* PATRONI_X_FILE where PATRONI_X is a variable: *ret_stem_length is the length of PATRONI_X. */
static bool is_file_variable(const char *name, size_t length, size_t *ret_stem_length)
{
    char variable[CONF_PATH_SIZE];

    if (length <= strlen("_FILE") || length >= sizeof(variable))
        return false;
    memcpy(variable, name, length);
    variable[length] = '\0';
    if (conf_env_stem(variable) == NULL || conf_env_option(conf_env_stem(variable)) != NULL)
        return false;
    length -= strlen("_FILE");
    if (strcmp(variable + length, "_FILE") != 0)
        return false;
    variable[length] = '\0';
    *ret_stem_length = length;
    return conf_env_option(conf_env_stem(variable)) != NULL;
}

/* The file's text without the line break at its end becomes the variable. */
static enum rc source_read_secret(struct conf_source *source, const char *name, size_t stem_length,
                                  const char *path, struct conf_report *report)
{
    char variable[CONF_PATH_SIZE];
    struct buf text;
    enum rc rc;

    memcpy(variable, name, stem_length);
    variable[stem_length] = '\0';
    if (json_object_get(source->env, variable) != NULL) {
        conf_report_add(report, CONF_ERROR, "environment", 0, variable,
                        "given twice, by %s and by %s_FILE: unset one", variable, variable);
        return RC_INVALID;
    }
    buf_init(&text, CONF_FILE_BYTES_MAX);
    rc = read_file(path, &text, report);
    while (rc == RC_OK && text.length > 0 &&
           (text.bytes[text.length - 1] == '\n' || text.bytes[text.length - 1] == '\r'))
        text.bytes[--text.length] = '\0';
    if (rc == RC_OK && text.length != strlen(buf_text(&text))) {
        conf_report_add(report, CONF_ERROR, path, 0, variable, "a NUL byte in it: not a secret");
        rc = RC_INVALID;
    }
    if (rc == RC_OK)
        source_add_env(source, variable, buf_text(&text), path);
    buf_done(&text);
    return rc;
}

static enum rc source_read_env(struct conf_source *source, const char *const *env,
                               struct conf_report *report)
{
    enum rc rc = RC_OK;
    size_t stem_length = 0;

    for (size_t i = 0; env[i] != NULL; i++) {
        size_t length = strcspn(env[i], "=");
        char name[CONF_PATH_SIZE];

        if (env[i][length] != '=' || length >= sizeof(name) || env[i][length + 1] == '\0' ||
            is_file_variable(env[i], length, &stem_length))
            continue;
        memcpy(name, env[i], length);
        name[length] = '\0';
        conf_source_add_env(source, name, env[i] + length + 1);
    }
    /* A second time, so that a variable given twice is seen whatever the order. */
    for (size_t i = 0; env[i] != NULL; i++) {
        size_t length = strcspn(env[i], "=");

        if (env[i][length] == '=' && env[i][length + 1] != '\0' &&
            is_file_variable(env[i], length, &stem_length)) {
            enum rc one =
                source_read_secret(source, env[i], stem_length, env[i] + length + 1, report);

            rc = rc == RC_OK ? one : rc;
        }
    }
    return rc;
}

enum rc conf_source_read(const char *path, const char *const *env, enum conf_use use,
                         struct conf_source **ret, struct conf_report *report)
{
    struct conf_source *source = conf_source_new(use);
    char cwd[SOURCE_PATH_SIZE];
    enum rc rc = RC_OK;

    if (getcwd(cwd, sizeof(cwd)) != NULL)
        source->cwd = mem_strdup(cwd);
    if (env != NULL)
        rc = source_read_env(source, env, report);
    if (path != NULL) {
        enum rc of_path = source_read_path(source, path, report);

        rc = rc == RC_OK ? of_path : rc;
    }
    *ret = source;
    return rc;
}

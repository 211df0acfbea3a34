/* edit-config: ctl.md 4.3. */
#include "ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pgheir/base/str.h"
#include "pgheir/codec/policy_json.h"
#include "pgheir/codec/view_json.h"

enum { TEXT_MAX = 4 * 1024 * 1024, PATH_SIZE = 4096, EXIT_NOT_RUN = 127 };

/* ---- text from outside ---- */

static int read_all(int fd, const char *name, struct buf *out)
{
    char piece[8192];
    ssize_t count;

    while ((count = read(fd, piece, sizeof(piece))) > 0) {
        if (buf_append(out, piece, (size_t)count) != RC_OK)
            return ctl_fail("%s is larger than 4 MiB", name);
    }
    return count == 0 ? CTL_DONE : ctl_fail("cannot read %s: %s", name, strerror(errno));
}

/* "-" is standard input. *ret is a new reference: any YAML value. */
static int read_yaml(const char *name, json_t **ret)
{
    bool is_stdin = str_equal(name, "-");
    int fd = is_stdin ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
    struct buf text;
    struct err err;
    int code;

    if (fd < 0)
        return ctl_fail("cannot read %s: %s", name, strerror(errno));
    buf_init(&text, TEXT_MAX);
    code = read_all(fd, is_stdin ? "standard input" : name, &text);
    if (!is_stdin)
        (void)close(fd);
    if (code == CTL_DONE &&
        conf_yaml_parse(is_stdin ? "standard input" : name, buf_text(&text), text.length, ret,
                        &err) != RC_OK)
        code = ctl_fail("%s", err.text);
    buf_done(&text);
    return code;
}

static int read_object(const char *name, json_t **ret)
{
    json_t *value = NULL;
    int code = read_yaml(name, &value);

    if (code != CTL_DONE)
        return code;
    if (!json_is_object(value)) {
        json_decref(value);
        return ctl_fail("%s: expected a mapping of keys to values", name);
    }
    *ret = value;
    return CTL_DONE;
}

/* ---- programs ---- */

/* Runs argv[0] of the PATH and waits for it. input: becomes its standard input; -1: ours. Returns
 * its exit code, EXIT_NOT_RUN if it could not be run, 128 + signal. */
static int run_program(const char *const *argv, int input)
{
    int status = 0;
    pid_t pid;

    (void)fflush(stdout);
    pid = fork();
    if (pid < 0)
        return EXIT_NOT_RUN;
    if (pid == 0) {
        if (input >= 0 && dup2(input, STDIN_FILENO) < 0)
            _exit(EXIT_NOT_RUN);
        /* exec takes pointers to what it never changes. */
        (void)execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(EXIT_NOT_RUN);
    }
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return EXIT_NOT_RUN;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int edit_file(const char *path)
{
    const char *const names[] = {getenv("EDITOR"), "editor", "vi"};

    for (size_t i = 0; i < PGH_COUNT(names); i++) {
        const char *const argv[] = {names[i], path, NULL};
        int code;

        if (str_is_empty(names[i]))
            continue;
        code = run_program(argv, -1);
        if (code == 0)
            return CTL_DONE;
        if (code != EXIT_NOT_RUN || i == 0)
            return ctl_fail("Editor %s exited with return code %d", names[i], code);
    }
    return ctl_fail("EDITOR environment variable is not set. editor or vi are not available");
}

static bool write_all(int fd, const struct buf *text)
{
    size_t done = 0;

    while (done < text->length) {
        ssize_t count = write(fd, buf_text(text) + done, text->length - done);

        if (count <= 0)
            return false;
        done += (size_t)count;
    }
    return true;
}

/* A file of its own that only we can read: the configuration may hold secrets. */
static int make_file(const char *cluster, const struct buf *text, char path[static PATH_SIZE])
{
    const char *folder = getenv("TMPDIR");
    bool is_written;
    int fd;

    if (!str_format(path, PATH_SIZE, "%s/%s-config-XXXXXX.yaml",
                    str_is_empty(folder) ? "/tmp" : folder, cluster))
        return ctl_fail("TMPDIR: too long");
    fd = mkostemps(path, (int)strlen(".yaml"), O_CLOEXEC);
    if (fd < 0)
        return ctl_fail("cannot make the file %s: %s", path, strerror(errno));
    is_written = write_all(fd, text);
    if (close(fd) != 0 || !is_written) {
        (void)unlink(path);
        return ctl_fail("cannot write %s: %s", path, strerror(errno));
    }
    return CTL_DONE;
}

static int edit_by_hand(const char *cluster, const struct buf *before, json_t **config)
{
    char path[PATH_SIZE];
    json_t *after = NULL;
    int code = make_file(cluster, before, path);

    if (code != CTL_DONE)
        return code;
    code = edit_file(path);
    if (code == CTL_DONE)
        code = read_object(path, &after);
    (void)unlink(path);
    if (code != CTL_DONE)
        return code;
    json_decref(*config);
    *config = after;
    return CTL_DONE;
}

/* ---- changes ---- */

/* In the order of the contract: replace, apply, then the pairs. *config is replaced by what comes
 * out. */
static int apply_files(const struct opt_values *values, json_t **config)
{
    static const char *const names[] = {"--replace", "--apply"};
    int code = CTL_DONE;

    for (size_t i = 0; code == CTL_DONE && i < PGH_COUNT(names); i++) {
        const char *file = opt_text(values, names[i]);
        json_t *patch = NULL;
        json_t *merged;
        bool is_changed;

        if (file == NULL)
            continue;
        code = read_object(file, &patch);
        if (code != CTL_DONE)
            return code;
        if (i == 0) {
            json_decref(*config);
            *config = json_object();
        }
        merged = policy_json_merge(*config, patch, &is_changed);
        json_decref(patch);
        json_decref(*config);
        *config = merged;
    }
    return code;
}

static int apply_pairs(const struct opt_values *values, json_t *config)
{
    struct err err;

    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < values->count; i++) {
            const char *pair = values->given[i].value;
            bool is_guc = str_equal(values->given[i].spec->names, "-p, --pg");
            enum rc rc = RC_OK;

            if (values->given[i].spec->kind != OPT_MANY || is_guc != (pass == 1))
                continue;
            if (strchr(pair, '=') == NULL)
                return ctl_fail("Invalid parameter setting %s", pair);
            rc = is_guc ? ctl_config_set_guc(config, pair, &err)
                        : ctl_config_set(config, pair, &err);
            if (rc != RC_OK)
                return ctl_fail("%s", err.text);
        }
    }
    return CTL_DONE;
}

static bool is_changed_by_options(const struct opt_values *values)
{
    return opt_is_given(values, "--replace") || opt_is_given(values, "--apply") ||
           opt_is_given(values, "--set") || opt_is_given(values, "--pg");
}

/* Through a pager where a person sits in front of it. */
static void show_diff(struct buf *diff)
{
    const char *const pagers[] = {getenv("PAGER"), "less", "more"};
    char path[] = "/tmp/pgheirctl-diff-XXXXXX";
    int code = EXIT_NOT_RUN;
    int fd = -1;

    if (isatty(STDOUT_FILENO) == 1)
        fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0) {
        (void)unlink(path);
        for (size_t i = 0; write_all(fd, diff) && code == EXIT_NOT_RUN && i < 3; i++) {
            const char *const argv[] = {pagers[i], NULL};

            if (lseek(fd, 0, SEEK_SET) == 0 && !str_is_empty(pagers[i]))
                code = run_program(argv, fd);
        }
        (void)close(fd);
    }
    if (code == EXIT_NOT_RUN)
        ctl_print(diff);
    else
        buf_done(diff);
}

static int write_config(struct ctl *ctl, const struct ctl_cluster *cluster, const json_t *config)
{
    const struct view_entry *entry = view_map_find(cluster->map, "config");
    struct buf value;
    struct err err;
    enum etcd_outcome outcome;

    buf_init(&value, POLICY_JSON_BYTES_MAX);
    if (view_json_put(&value, config) != RC_OK) {
        buf_done(&value);
        return ctl_fail("the configuration would be larger than 1 MiB");
    }
    outcome = ctl_put(ctl, cluster, "config", &value, entry->mod_revision, &err);
    buf_done(&value);
    if (outcome == ETCD_OK) {
        (void)printf("Configuration changed\n");
        return CTL_DONE;
    }
    if (outcome == ETCD_REFUSED)
        return ctl_fail("Config modification aborted due to concurrent changes");
    if (outcome == ETCD_UNKNOWN) {
        ctl_note(ctl, CTL_UNKNOWN);
        (void)ctl_fail("the write was sent and not confirmed: look at show-config (%s)",
                       err.text);
        return ctl->is_patronictl ? CTL_FAILED : CTL_UNKNOWN;
    }
    return ctl_fail("%s", err.text);
}

/* Only what was changed is judged: what stands in etcd already is no reason to refuse the cure of
 * something else. */
static int check_changes(const json_t *old, const json_t *new)
{
    json_t *changed = json_object();
    const char *key;
    json_t *value;
    struct err err;
    int code = CTL_DONE;

    /* The macro takes no const, and changes nothing. */
    json_object_foreach((json_t *)(uintptr_t)new, key, value) {
        if (!json_equal(json_object_get(old, key), value))
            (void)json_object_set(changed, key, value);
    }
    if (policy_json_check(changed, &err) != RC_OK)
        code = ctl_fail("%s", err.text);
    json_decref(changed);
    return code;
}

static int confirm_and_write(struct ctl *ctl, const struct opt_values *values,
                             const struct ctl_cluster *cluster, const json_t *config)
{
    bool force = opt_is_given(values, "--force");
    bool from_stdin = str_equal(opt_text(values, "--apply"), "-") ||
                      str_equal(opt_text(values, "--replace"), "-");
    bool is_yes = force;
    int code = check_changes(view_map_config(cluster->map), config);

    if (code != CTL_DONE)
        return code;
    if (from_stdin && !force) {
        (void)printf("Use --force option to apply changes\n");
        return CTL_DONE;
    }
    if (!force && !ctl_confirm("Apply these changes?", &is_yes))
        return ctl_aborted();
    return is_yes ? write_config(ctl, cluster, config) : CTL_DONE;
}

static int edit(struct ctl *ctl, const struct opt_values *values,
                const struct ctl_cluster *cluster, json_t **config)
{
    const json_t *old = view_map_config(cluster->map);
    struct buf before;
    struct buf after;
    struct buf diff;
    int code;

    buf_init(&before, TEXT_MAX);
    buf_init(&after, TEXT_MAX);
    buf_init(&diff, TEXT_MAX);
    (void)ctl_put_yaml(&before, old); /* a config has at most 1 MiB */
    if (is_changed_by_options(values)) {
        code = apply_files(values, config);
        if (code == CTL_DONE)
            code = apply_pairs(values, *config);
    } else {
        code = edit_by_hand(cluster->name, &before, config);
    }
    if (code == CTL_DONE && json_equal(old, *config)) {
        if (!opt_is_given(values, "--quiet"))
            (void)printf("Not changed\n");
    } else if (code == CTL_DONE) {
        (void)ctl_put_yaml(&after, *config); /* as above */
        if (!opt_is_given(values, "--quiet") &&
            ctl_put_diff(&diff, buf_text(&before), buf_text(&after)) == RC_OK)
            show_diff(&diff);
        code = confirm_and_write(ctl, values, cluster, *config);
    }
    buf_done(&before);
    buf_done(&after);
    buf_done(&diff);
    return code;
}

int cmd_edit_config(struct ctl *ctl, const struct opt_values *values)
{
    struct ctl_cluster cluster;
    json_t *config = NULL;
    int code = ctl_cluster_read(ctl, values->argument_count > 0 ? values->arguments[0] : NULL,
                                &cluster);

    if (code == CTL_DONE && ctl_cluster_is_unknown(&cluster) && !ctl->is_patronictl) {
        code = ctl_cluster_fail_unknown(ctl, &cluster);
    } else if (code == CTL_DONE && view_map_config(cluster.map) == NULL) {
        code = ctl_fail("The config key does not exist in the cluster %s", cluster.name);
    } else if (code == CTL_DONE) {
        config = json_deep_copy(view_map_config(cluster.map));
        code = edit(ctl, values, &cluster, &config);
        json_decref(config);
    }
    ctl_cluster_done(&cluster);
    return code;
}

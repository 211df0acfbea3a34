#include "ctl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pgheir/base/str.h"

enum { NAME_TEXT_SIZE = 32 };

/* Walks the names of one option: "-f, --format". */
static bool has_name(const struct opt_spec *spec, const char *name, size_t length)
{
    const char *at = spec->names;

    while (*at != '\0') {
        size_t span = strcspn(at, ", ");

        if (span == length && strncmp(at, name, length) == 0)
            return true;
        at += span;
        at += strspn(at, ", ");
    }
    return false;
}

static const struct opt_spec *find_spec(const struct opt_spec *specs, const char *name,
                                        size_t length)
{
    for (; specs->names != NULL; specs++) {
        if (has_name(specs, name, length))
            return specs;
    }
    return NULL;
}

/* As the original says it: usage, where help is, what is wrong. */
static int fail_usage(const char *usage, const char *fmt, ...) PGH_PRINTF(2, 3);

static int fail_usage(const char *usage, const char *fmt, ...)
{
    size_t program = strcspn(usage, "[");
    va_list args;

    while (program > 0 && usage[program - 1] == ' ')
        program--;
    (void)fflush(stdout);
    (void)fprintf(stderr, "Usage: %s\nTry '%.*s --help' for help.\n\nError: ", usage,
                  (int)program, usage);
    va_start(args, fmt);
    (void)vfprintf(stderr, fmt, args);
    va_end(args);
    (void)fputc('\n', stderr);
    return CTL_USAGE;
}

/* 'a', 'b', 'c' */
static void quote_list(const char *list, struct buf *out)
{
    while (*list != '\0') {
        size_t span = strcspn(list, ",");

        (void)buf_printf(out, "%s'%.*s'", out->length == 0 ? "" : ", ", (int)span, list);
        list += span;
        list += *list == ',' ? 1 : 0;
    }
}

/* '--format' / '-f', the long name first, as in the original's messages. */
static void quote_names(const struct opt_spec *spec, struct buf *out)
{
    const char *end = spec->names + strlen(spec->names);

    while (end > spec->names) {
        const char *begin = end;

        while (begin > spec->names && begin[-1] != ' ' && begin[-1] != ',')
            begin--;
        (void)buf_printf(out, "%s'%.*s'", out->length == 0 ? "" : " / ", (int)(end - begin),
                         begin);
        end = begin;
        while (end > spec->names && (end[-1] == ' ' || end[-1] == ','))
            end--;
    }
}

static bool is_choice(const char *list, const char *value)
{
    size_t length = strlen(value);

    while (*list != '\0') {
        size_t span = strcspn(list, ",");

        if (span == length && strncmp(list, value, length) == 0)
            return true;
        list += span;
        list += *list == ',' ? 1 : 0;
    }
    return false;
}

static bool is_number(const char *text)
{
    char *end = NULL;
    double value = strtod(text, &end);

    return *text != '\0' && *end == '\0' && value >= 0 && value < 1e6;
}

static int check_value(const char *usage, const struct opt_spec *spec, const char *value)
{
    struct buf names;
    struct buf choices;
    int code = CTL_DONE;

    buf_init(&names, 1024);
    buf_init(&choices, 1024);
    quote_names(spec, &names);
    if (spec->kind == OPT_CHOICE && !is_choice(spec->choices, value)) {
        quote_list(spec->choices, &choices);
        code = fail_usage(usage, "Invalid value for %s: '%s' is not one of %s.", buf_text(&names),
                          value, buf_text(&choices));
    } else if (spec->kind == OPT_NUMBER && !is_number(value)) {
        code = fail_usage(usage, "Invalid value for %s: '%s' is not a valid float.",
                          buf_text(&names), value);
    }
    buf_done(&names);
    buf_done(&choices);
    return code;
}

static int add_value(const char *usage, struct opt_values *values, const struct opt_spec *spec,
                     const char *value)
{
    int code = check_value(usage, spec, value);

    if (code != CTL_DONE)
        return code;
    if (values->count == OPT_VALUES_MAX)
        return fail_usage(usage, "too many options");
    values->given[values->count].spec = spec;
    values->given[values->count].value = value;
    values->count++;
    return CTL_DONE;
}

/* --name, --name=value, --name value. */
static int parse_long(const char *usage, struct opt_values *values, char **argv, int argc,
                      int *idx)
{
    const char *word = argv[*idx];
    size_t length = strcspn(word, "=");
    const struct opt_spec *spec = find_spec(values->specs, word, length);
    char name[NAME_TEXT_SIZE];

    if (!str_format(name, sizeof(name), "%.*s", (int)length, word) || spec == NULL)
        return fail_usage(usage, "No such option: %s", name[0] == '\0' ? word : name);
    if (spec->kind == OPT_FLAG) {
        if (word[length] == '=')
            return fail_usage(usage, "Option '%s' does not take a value.", name);
        return add_value(usage, values, spec, "");
    }
    if (word[length] == '=')
        return add_value(usage, values, spec, word + length + 1);
    if (*idx + 1 >= argc)
        return fail_usage(usage, "Option '%s' requires an argument.", name);
    (*idx)++;
    return add_value(usage, values, spec, argv[*idx]);
}

/* -e, -et, -fjson, -f json. */
static int parse_short(const char *usage, struct opt_values *values, char **argv, int argc,
                       int *idx)
{
    const char *letters = argv[*idx] + 1;

    for (; *letters != '\0'; letters++) {
        const char name[] = {'-', *letters, '\0'};
        const struct opt_spec *spec = find_spec(values->specs, name, 2);
        int code;

        if (spec == NULL)
            return fail_usage(usage, "No such option: %s", name);
        if (spec->kind == OPT_FLAG) {
            code = add_value(usage, values, spec, "");
            if (code != CTL_DONE)
                return code;
            continue;
        }
        if (letters[1] != '\0')
            return add_value(usage, values, spec, letters + 1);
        if (*idx + 1 >= argc)
            return fail_usage(usage, "Option '%s' requires an argument.", name);
        (*idx)++;
        return add_value(usage, values, spec, argv[*idx]);
    }
    return CTL_DONE;
}

int opt_parse(const char *usage, const struct opt_spec *specs, int argc, char **argv,
              bool stop_at_argument, struct opt_values *ret, int *ret_next)
{
    bool is_open = true; /* until -- */
    int idx = 0;

    *ret = (struct opt_values){.specs = specs};
    for (; idx < argc; idx++) {
        const char *word = argv[idx];
        int code = CTL_DONE;

        if (is_open && str_equal(word, "--")) {
            is_open = false;
        } else if (is_open && str_equal(word, "--help")) {
            return -1;
        } else if (is_open && str_starts_with(word, "--")) {
            code = parse_long(usage, ret, argv, argc, &idx);
        } else if (is_open && word[0] == '-' && word[1] != '\0') {
            code = parse_short(usage, ret, argv, argc, &idx);
        } else if (stop_at_argument) {
            break;
        } else if (ret->argument_count == OPT_VALUES_MAX) {
            code = fail_usage(usage, "too many arguments");
        } else {
            ret->arguments[ret->argument_count++] = word;
        }
        if (code != CTL_DONE)
            return code;
    }
    *ret_next = idx;
    return CTL_DONE;
}

int opt_check_arguments(const char *usage, const struct ctl_command *command,
                        const struct opt_values *values)
{
    if (values->argument_count < command->argument_min)
        return fail_usage(usage, "Missing argument 'CLUSTER_NAME'.");
    if (values->argument_count > command->argument_max)
        return fail_usage(usage, "Got unexpected extra argument (%s)",
                          values->arguments[command->argument_max]);
    return CTL_DONE;
}

int opt_fail_command(const char *usage, const char *name)
{
    return fail_usage(usage, "No such command '%s'.", name);
}

void opt_print_specs(const struct opt_spec *specs)
{
    static const char *const values[] = {"", " TEXT", " FLOAT", "", " TEXT"};
    char left[128];

    for (; specs->names != NULL; specs++) {
        if (!str_format(left, sizeof(left), "%s%s%s%s%s", specs->names, values[specs->kind],
                        specs->choices != NULL ? " [" : "",
                        specs->choices != NULL ? specs->choices : "",
                        specs->choices != NULL ? "]" : ""))
            continue;
        (void)printf(strlen(left) > 28 ? "  %s\n%32s%s\n" : "  %-28s%.0s  %s\n", left, "",
                     specs->help);
    }
    (void)printf("  %-28s  %s\n", "--help", "Show this message and exit.");
}

static const struct opt_spec *named(const struct opt_values *values, const char *name)
{
    const struct opt_spec *spec = find_spec(values->specs, name, strlen(name));

    pgh_assert(spec != NULL);
    return spec;
}

const char *opt_text(const struct opt_values *values, const char *name)
{
    const struct opt_spec *spec = named(values, name);
    const char *value = NULL;

    for (int i = 0; i < values->count; i++) {
        if (values->given[i].spec == spec)
            value = values->given[i].value;
    }
    return value;
}

bool opt_is_given(const struct opt_values *values, const char *name)
{
    return opt_text(values, name) != NULL;
}

/* SPDX-License-Identifier: BSD-2-Clause
 * options.c: the command line by a table, in the forms gflags takes, so that commands written
 * for Caffe's tool carry over: --name=value, --name value, -name value, --flag, --noflag. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

int cli_fail(const char *format, ...)
{
    char line[CLI_LINE];
    va_list list;
    cli_bar_clear();
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    fprintf(stderr, "deepnet: %s\n", cli_tame(line, false));
    return CLI_FAILED;
}

int cli_fail_last(void)
{
    const char *line = dn_last_error();
    return cli_fail("%s", line ? line : "failed without a reason");
}

int cli_usage(const cli_command *command, const char *format, ...)
{
    va_list list;
    fprintf(stderr, "deepnet %s: ", command->name);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fprintf(stderr, "\nusage: deepnet %s %s\n(`deepnet %s --help` lists the options)\n",
            command->name, command->usage, command->name);
    return CLI_USAGE;
}

static int help(const cli_command *command, const cli_option *options, size_t count)
{
    char left[64];
    printf("deepnet %s: %s.\n\nusage: deepnet %s %s\n\n", command->name, command->summary,
           command->name, command->usage);
    for (size_t i = 0; i < count; i++) {
        snprintf(left, sizeof left, "--%s%s%s", options[i].name, options[i].value ? "=" : "",
                 options[i].value ? options[i].value : "");
        printf("  %-20s %s\n", left, options[i].help);
    }
    return CLI_OK;
}

static const cli_option *find(const cli_option *options, size_t count, const char *name,
                              size_t length)
{
    for (size_t i = 0; i < count; i++)
        if (strncmp(options[i].name, name, length) == 0 && options[i].name[length] == 0)
            return &options[i];
    return NULL;
}

/* --noquiet turns a flag off. */
static const cli_option *find_negated(const cli_option *options, size_t count, const char *name,
                                      size_t length)
{
    const cli_option *found = NULL;
    if (length > 2 && strncmp(name, "no", 2) == 0)
        found = find(options, count, name + 2, length - 2);
    return found && found->kind == CLI_FLAG ? found : NULL;
}

static int set_flag(const cli_command *command, const cli_option *option, const char *value)
{
    static const char *const yes[] = {"true", "1", "yes"}, *const no[] = {"false", "0", "no"};
    for (size_t i = 0; value && i < COUNT_OF(yes); i++) {
        if (strcmp(value, yes[i]) == 0)
            value = NULL;
        else if (strcmp(value, no[i]) == 0) {
            *(bool *)option->out = false;
            return CLI_GO;
        }
    }
    if (value)
        return cli_usage(command, "--%s is on or off; '%s' is neither", option->name, value);
    *(bool *)option->out = true;
    return CLI_GO;
}

static int set(const cli_command *command, const cli_option *option, const char *value)
{
    char *end;
    long long number;
    if (option->kind == CLI_TEXT) {
        *(const char **)option->out = value;
        return CLI_GO;
    }
    errno = 0;
    number = strtoll(value, &end, 10);
    if (errno || end == value || *end || number < 0)
        return cli_usage(command, "--%s takes a number, not '%s'", option->name, value);
    *(int64_t *)option->out = number;
    return CLI_GO;
}

/* One option at argv[*at], and its value, which may be the next word. */
static int take(const cli_command *command, const cli_option *options, size_t count, int argc,
                char **argv, int *at)
{
    const char *name = argv[*at] + 1 + (argv[*at][1] == '-');
    const char *value = strchr(name, '=');
    size_t length = value ? (size_t)(value++ - name) : strlen(name);
    const cli_option *option = find(options, count, name, length);

    if (!value && (strcmp(name, "help") == 0 || strcmp(name, "h") == 0))
        return help(command, options, count);
    if (!option && !value && (option = find_negated(options, count, name, length))) {
        *(bool *)option->out = false;
        return CLI_GO;
    }
    if (!option)
        return cli_usage(command, "there is no option '%s'", argv[*at]);
    if (option->kind == CLI_FLAG)
        return set_flag(command, option, value);
    if (!value && *at + 1 >= argc)
        return cli_usage(command, "--%s needs a value", option->name);
    return set(command, option, value ? value : argv[++*at]);
}

int cli_parse(const cli_command *command, const cli_option *options, size_t count, int argc,
              char **argv, cli_words *words)
{
    int code, kept = 0;
    bool only_words = false;
    for (int i = 1; i < argc; i++) {
        if (!only_words && strcmp(argv[i], "--") == 0) {
            only_words = true;
        } else if (!only_words && argv[i][0] == '-' && argv[i][1]) {
            if ((code = take(command, options, count, argc, argv, &i)) != CLI_GO)
                return code;
        } else if (words) {
            argv[kept++] = argv[i]; /* kept < i: only words already read are overwritten */
        } else {
            return cli_usage(command, "'%s' is not an option", argv[i]);
        }
    }
    if (words) {
        words->word = argv;
        words->count = kept;
    }
    return CLI_GO;
}

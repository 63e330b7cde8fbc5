/* SPDX-License-Identifier: BSD-2-Clause
 * main.c: the `deepnet` command: a table of subcommands, one file each. */
#include <fcntl.h>
#include <string.h>

#include "cli.h"

static const cli_command commands[] = {
    {"train", "--solver=FILE [--weights=LIST | --snapshot=FILE] [options]",
     "train a net by its solver prototxt", cli_train},
    {"test", "--model=FILE --weights=LIST [options]",
     "run a net over its test data and average its outputs", cli_test},
    {"time", "--model=FILE [options]", "time a net, forward and backward, layer by layer",
     cli_time},
    {"info", "MODEL | --solver=FILE [options]",
     "say what a net is: layers, shapes, parameters, flops, memory, implementations", cli_info},
    {"check", "FILE... [options]", "parse and wire nets and solvers without opening data",
     cli_check},
    {"upgrade", "OLD NEW [options]",
     "write a net, weights or a solver of any generation as today's", cli_upgrade},
    {"draw", "NET [OUT.dot | OUT.svg]", "draw a net as a graph", cli_draw},
    {"convert", "mnist IMAGES LABELS OUT | images ROOT LIST OUT | mean DATABASE OUT [options]",
     "make an LMDB of MNIST's files or of a list of images; the mean of one", cli_convert},
    {"devices", "[options]", "list the backends and devices that are there", cli_devices},
};

/* What people type who know Caffe's tools. */
static const struct {
    const char *theirs, *here;
} tools[] = {
    {"device_query", "devices"},
    {"convert_imageset", "convert images"},
    {"convert_mnist_data", "convert mnist"},
    {"compute_image_mean", "convert mean"},
    {"upgrade_net_proto_text", "upgrade"},
    {"upgrade_net_proto_binary", "upgrade"},
    {"upgrade_solver_proto_text", "upgrade"},
    {"draw_net", "draw"},
};

static void print_help(FILE *out)
{
    fputs("deepnet: trains and runs neural networks written in Caffe's prototxt.\n\n"
          "usage: deepnet COMMAND [options]\n\n",
          out);
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].summary);
    fputs(
        "\nOptions are --name=value, --name value or -name value.\n"
        "`deepnet COMMAND --help` says what a command takes; `deepnet --version` the release.\n"
        "\nExit codes: 0 done; 1 the job failed, or `check` found something; 2 the command "
        "line\n"
        "is wrong; 130 interrupted (train has taken a snapshot). Relative paths in a prototxt\n"
        "mean the working directory; where nothing is there, the prototxt's own folder.\n",
        out);
}

static const cli_command *find(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int refuse(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(tools); i++)
        if (strcmp(tools[i].theirs, name) == 0) {
            fprintf(stderr, "deepnet: there is no command '%s'; Caffe's is `deepnet %s` here\n",
                    name, tools[i].here);
            return CLI_USAGE;
        }
    if (*name)
        fprintf(stderr, "deepnet: there is no command '%s'\n\n", name);
    print_help(stderr);
    return CLI_USAGE;
}

static bool is_any(const char *word, const char *a, const char *b)
{
    return strcmp(word, a) == 0 || strcmp(word, b) == 0;
}

/* A file opened while stdout is closed would get its number, and the lines meant for stdout. */
static void hold_standard_files(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", O_RDWR) != fd)
            return;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    const cli_command *command;

    hold_standard_files();
    setvbuf(stdout, NULL, _IOLBF, 0); /* a line is out when its event has happened */
    if (is_any(name, "--version", "-version") || strcmp(name, "version") == 0) {
        printf("deepnet %s\n", dn_version());
        return CLI_OK;
    }
    if (is_any(name, "--help", "-h") || is_any(name, "help", "-help")) {
        if (argc > 2 && (command = find(argv[2]))) {
            char *help[] = {argv[2], (char[]){"--help"}};
            return command->run(command, 2, help);
        }
        print_help(stdout);
        return CLI_OK;
    }
    command = find(name);
    if (!command)
        return refuse(name);
    int code = command->run(command, argc - 1, argv + 1);
    /* A full disk behind stdout is a failure; ferror: lines were flushed as they came. */
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == CLI_OK)
        return cli_fail("the output could not be written");
    return code;
}

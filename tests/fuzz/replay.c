/* SPDX-License-Identifier: BSD-2-Clause
 * replay.c: a fuzz target over the files of some folders, once each, without a fuzzer: as they
 * are, and after a byte that lets all memory succeed, which an upgrade's input begins with. */
#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>

#include "fuzz.h"

enum { LARGEST = 1 << 16, PATH_SIZE = 4096 };

static int replay_file(const char *path)
{
    static uint8_t bytes[1 + LARGEST];
    FILE *file = fopen(path, "rb");
    if (!file)
        return 0;
    size_t size = fread(bytes + 1, 1, LARGEST, file);
    fclose(file);
    bytes[0] = 255;
    LLVMFuzzerTestOneInput(bytes + 1, size);
    LLVMFuzzerTestOneInput(bytes, size + 1);
    return 1;
}

static int replay(const char *path)
{
    struct stat about;
    if (stat(path, &about))
        return 0;
    if (!S_ISDIR(about.st_mode))
        return replay_file(path);
    DIR *folder = opendir(path);
    if (!folder)
        return 0;
    int n = 0;
    char inner[PATH_SIZE];
    for (struct dirent *entry; (entry = readdir(folder));)
        if (entry->d_name[0] != '.' &&
            snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name) < PATH_SIZE)
            n += replay(inner);
    closedir(folder);
    return n;
}

int main(int argc, char **argv)
{
    int n = 0;
    for (int i = 1; i < argc; i++)
        n += replay(argv[i]);
    printf("%d files, each twice\n", n);
    return n == 0;
}

/* SPDX-License-Identifier: BSD-2-Clause
 * signals.h: how many threads of this process a signal may be delivered to. */
#ifndef SIGNALS_H
#define SIGNALS_H

#include <signal.h>

#include "check.h"

/* 1, the caller's own, where the system does not say. */
CHECK_UNUSED int threads_that_take(int signal)
{
    DIR *tasks = opendir("/proc/self/task");
    int count = tasks == NULL;
    for (struct dirent *task; tasks && (task = readdir(tasks));) {
        char path[300], line[256];
        unsigned long long blocked = 0;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", task->d_name);
        FILE *status = *task->d_name == '.' ? NULL : fopen(path, "r");
        while (status && fgets(line, sizeof line, status))
            if (sscanf(line, "SigBlk: %llx", &blocked) == 1)
                count += !(blocked >> (signal - 1) & 1);
        if (status)
            fclose(status);
    }
    if (tasks)
        closedir(tasks);
    return count;
}

#endif

/* SPDX-License-Identifier: BSD-2-Clause
 * comma.h: numbers with a decimal comma: in a locale of this machine, or in one made for the
 * test. */
#ifndef DN_TEST_COMMA_H
#define DN_TEST_COMMA_H

#include <locale.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"

/* Sets it; false, with a line that says so, where none is to be had. Back: setlocale "C". */
static inline bool comma_set(void)
{
    static const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "nl_NL.UTF-8"};
    char command[512];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (setlocale(LC_ALL, names[i]))
            return true;
    snprintf(command, sizeof command, "localedef -i de_DE -f UTF-8 '%s/de_DE.UTF-8' 2>&1",
             check_folder());
    FILE *made = popen(command, "r");
    while (made && fgetc(made) != EOF) {
    }
    bool set = made && pclose(made) != -1 && setenv("LOCPATH", check_folder(), 1) == 0 &&
               setlocale(LC_ALL, names[0]);
    check_remove(check_path(names[0]));
    if (!set)
        printf("no locale with a decimal comma here: skipped\n");
    return set;
}

#endif

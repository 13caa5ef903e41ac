/* ctl.h - the commands that ask a running peer over its admin endpoint, and print what it says for
 * people. What there is to ask stands in http/admin.h. */
#ifndef NODE_CTL_H
#define NODE_CTL_H

#include <stdbool.h>

struct config;

bool ctl_is_command(const char *name); /* members, sessions, why, health */
/* Exit code: 0; 1: nobody answers, or the answer is no; 2: wrong arguments. */
int ctl_main(const char *name, const struct config *config);

#endif

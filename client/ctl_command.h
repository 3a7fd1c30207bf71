/* ctl_command.h -- what pinroutectl can be told: one table for parser, help and tests. */
#ifndef PINROUTECTL_COMMAND_H
#define PINROUTECTL_COMMAND_H

#include "client/ctl.h"

/* words[0] is the command; n counts it too. */
enum ctl_exit ctl_command_run(const struct ctl *ctl, const char *const words[], unsigned n);

/* The list of commands, for --help; with a name, that one's usage.  False: there is none of this name. */
bool ctl_command_help(const char *name);

#endif

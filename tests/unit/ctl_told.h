/* ctl_told.h -- what the tool says of a failure, kept instead of printed: for tests without its main(). */
#ifndef CTL_TOLD_H
#define CTL_TOLD_H

#include <stdarg.h>
#include <stdio.h>

#include "client/ctl.h"

static char told[1024];

enum ctl_exit ctl_fail(enum ctl_exit status, const char *code, const char *format, ...)
{
        (void)code;
        va_list args;
        va_start(args, format);
        vsnprintf(told, sizeof told, format, args);
        va_end(args);
        return status;
}

void ctl_tell(const char *format, ...)
{
        va_list args;
        va_start(args, format);
        vsnprintf(told, sizeof told, format, args);
        va_end(args);
}

#endif

/* huge.c - see huge.h. */
#include "sim/huge.h"

#include <stdlib.h>
#include <unistd.h>

#define TUNABLES "GLIBC_TUNABLES"

void huge_pages(char **argv)
{
    if (getenv(TUNABLES) != NULL || setenv(TUNABLES, "glibc.malloc.hugetlb=1", 0) != 0)
        return;
    (void)execv("/proc/self/exe", argv);
}

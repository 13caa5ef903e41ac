/* record.c - records as bytes. */
#include "mesh/session/record.h"

#include "mesh/session/core.h"

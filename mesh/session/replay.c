/* replay.c - the handshake again. */
#include "mesh/session/replay.h"

#include "mesh/session/core.h"

/* json.h - finding values in JSON text that mesh/base/rpc.h has already found to be sound, for the
 * few arguments that the tools of the tests care for. No tree is built, nothing is copied. */
#ifndef TOOLS_JSON_H
#define TOOLS_JSON_H

#include "mesh/base/bytes.h"

/* The raw value of `key` (written without escapes) in an object; empty if there is none. */
struct slice json_field(struct slice object, const char *key);
/* The first element of an array; empty if there is none. */
struct slice json_first(struct slice array);
/* The inside of a string's quotes, escapes and all; empty for anything else. */
struct slice json_inside(struct slice string);
/* A whole number of at least 0, or `otherwise`. */
uint64_t json_number(struct slice value, uint64_t otherwise);

#endif

/* admin_json.h - between admin.c and admin_json.c. */
#ifndef HTTP_ADMIN_JSON_H
#define HTTP_ADMIN_JSON_H

#include <jansson.h>

#include "http/admin.h"

/* New references; NULL: no such function in the source, or no memory. */
json_t *admin_members_json(const struct admin_source *source);
json_t *admin_sessions_json(const struct admin_source *source, uint32_t from, uint32_t limit);
json_t *admin_keys_json(const struct admin_source *source);
json_t *admin_why_json(const struct admin_source *source, const char *id);
/* Takes `json` (NULL gives NULL); to be freed. */
char *admin_json_text(json_t *json);

#endif

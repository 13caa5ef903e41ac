/* status.h - what this peer can say about itself: the admin endpoint on the loop, its answers, the
 * reasons of /readyz, and the same JSON for the built-in server's resources. The routes stand in
 * http/admin.c, the metrics in node/metrics.c. */
#ifndef NODE_STATUS_H
#define NODE_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct host;
struct status;

/* Binds the admin endpoint, if one is configured. 0 or negative errno. */
int status_new(struct status **statusp, struct host *host);
/* Reads the token file again; the tokens in use stay if it is no good. */
void status_reload(struct status *status);
void status_close(struct status *status);
void status_free(struct status *status);           /* after the loop ran out; NULL is fine */
uint16_t status_port(const struct status *status); /* of the admin endpoint; 0: none */

/* Why this peer is not ready: static texts; 0: it is. At most `reasons_max` are given. */
size_t status_unready(struct host *host, const char **reasons, size_t reasons_max);

/* JSON from malloc(), or NULL. `context` is the host. */
char *status_members_text(void *context);
char *status_member_text(void *context, const char *name, size_t length);
char *status_sessions_text(void *context);

#endif

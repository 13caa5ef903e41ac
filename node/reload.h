/* reload.h - key and token file, read again while the process runs: on SIGHUP, and when a file
 * changed (a Secret volume swaps it). Nothing else is. A file that is no good changes nothing and
 * is said in the log once. What new keys do is the core's (mesh/mesh_keys.c). */
#ifndef NODE_RELOAD_H
#define NODE_RELOAD_H

struct host;
struct reload;

/* After mesh and status. 0 or negative errno. */
int reload_new(struct reload **reloadp, struct host *host);
void reload_now(struct reload *reload);  /* SIGHUP */
void reload_look(struct reload *reload); /* we stood still: what changed meanwhile? */
/* The mesh uses other keys: what was made of them here is made anew. */
void reload_keys_changed(struct host *host);
void reload_free(struct reload *reload); /* NULL is fine */

#endif

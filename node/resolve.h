/* resolve.h - the seeds of --join: names are resolved again and again, every address is offered to
 * the core. An answer of the DNS makes nobody a member: the core asks the address. */
#ifndef NODE_RESOLVE_H
#define NODE_RESOLVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct host;
struct resolver;

/* Whether HOST[:PORT] can be a seed: an address, or a name of at most 253 characters with labels
 * of 1 .. 63 of [A-Za-z0-9_-] (RFC 1035 §2.3.4), and a port of 1 .. 65535 if any. */
bool resolve_is_seed(const char *text);

/* 0, -EINVAL (a seed that resolve_is_seed() refuses) or -ENOMEM. `seeds` are borrowed. */
int resolver_new(struct resolver **resolverp, struct host *host, const char *const *seeds,
                 size_t count, uint16_t port_default);
void resolver_start(struct resolver *resolver);
void resolver_close(struct resolver *resolver);
/* A lookup still runs in its thread and cannot be stopped. */
bool resolver_is_busy(const struct resolver *resolver);
void resolver_free(struct resolver *resolver); /* after the loop ran out; NULL is fine */

#endif

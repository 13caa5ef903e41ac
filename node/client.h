/* client.h - the public endpoint: connections of clients, one request at a time on each, answers
 * as the core brings them. HTTP is read by http/h1, judged by http/gate, worded by http/mcp. */
#ifndef NODE_CLIENT_H
#define NODE_CLIENT_H

#include "http/gate.h"
#include "mesh/mesh.h"

struct host;
struct clients;

/* Listens on `listen` (port 0: any) and writes the port into it. 0 or negative errno; whatever
 * *clientsp is then, clients_close() and clients_free() are due. */
int clients_new(struct clients **clientsp, struct host *host, struct mesh_addr *listen);
void clients_do(struct clients *clients, const struct mesh_effect *effect); /* REPLY_ */
/* After the last effect of a round: heads that waited for a whole body go without its length. */
void clients_settle(struct clients *clients);
/* Nobody is accepted any more; connections without a request are closed, others after it. */
void clients_finish(struct clients *clients);
bool clients_are_done(const struct clients *clients); /* nothing is left to write */
void clients_close(struct clients *clients);          /* closes every handle; NULL is fine */
void clients_free(struct clients *clients);           /* after the loop ran out; NULL is fine */

struct clients_stats {
    uint64_t accepted, refused_total, refused_address; /* refused: the caps */
    uint64_t requests, refused[GATE_VERDICTS], bad_framing, timeouts, lost, slow, displaced;
    uint64_t outcomes[MESH_REASON_LAST + 1]; /* exchanges by how they ended */
    uint32_t connections, connections_max, exchanges;
};
const struct clients_stats *clients_stats(const struct clients *clients);

#endif

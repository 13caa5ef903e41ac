/* peer.h - the sockets between peers: one UDP socket, one TCP listener on the same address, and
 * the links. Bytes are sealed; what they say is the core's business. */
#ifndef NODE_PEER_H
#define NODE_PEER_H

#include "mesh/mesh.h"

struct host;
struct peers;

/* Binds UDP and TCP to `listen` (port 0: any, the same for both) and writes the port into it.
 * 0 or negative errno; whatever *peersp is then, peers_close() and peers_free() are due. */
int peers_new(struct peers **peersp, struct host *host, struct mesh_addr *listen);
void peers_do(struct peers *peers, const struct mesh_effect *effect); /* DATAGRAM, LINK_ */
void peers_close(struct peers *peers); /* closes all handles; they end with the loop */
void peers_free(struct peers *peers);  /* after the loop ran out; NULL is fine */

struct peers_stats {
    uint64_t datagrams_dropped; /* the socket had no room */
    uint64_t datagrams_partial; /* longer than any of ours */
    uint32_t sockets;
};
void peers_stats(const struct peers *peers, struct peers_stats *stats);

#endif

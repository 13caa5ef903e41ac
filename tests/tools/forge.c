/* forge.c - a farewell that nobody said: who has the cluster's key asks two peers who they are, as
 * a joiner does, and tells the one, in the other's name, that it leaves. */
#include <arpa/inet.h>
#include <getopt.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "mesh/member/swim.h"
#include "mesh/wire/seal.h"
#include "tests/tools/io.h"

#define WAIT_MS 2000
#define FORGED_AHEAD                                                                               \
    300 /* beyond what that one has used; what it says later is heard all the same */

struct met {
    struct sockaddr_storage at;
    struct peer_id id;
    uint64_t nonce, seq;
};

static struct wire_datagram said; /* large */
static struct rng rng;

static int fail(const char *what)
{
    fprintf(stderr, "forge: %s\n", what);
    return 1;
}

static bool read_key(const char *path, uint8_t key[32])
{
    char line[80] = "";
    size_t length = 0;
    FILE *file = fopen(path, "re");
    bool is_good = file != NULL && fgets(line, sizeof line, file) != NULL &&
                   sodium_hex2bin(key, 32, line, 64, NULL, &length, NULL) == 0 && length == 32;
    if (file != NULL)
        fclose(file);
    return is_good;
}

static bool send_sealed(int fd, struct seal *seal, const struct wire_writer *w,
                        const struct sockaddr_storage *to)
{
    uint8_t sealed[SEAL_DATAGRAM_MAX];
    size_t length = seal_datagram(seal, NULL, w->at, w->length, sealed);
    return sendto(fd, sealed, length, 0, (const struct sockaddr *)to, sizeof(struct sockaddr_in)) ==
           (ssize_t)length;
}

/* HELLO, and WELCOME back. */
static bool meet(int fd, struct seal *seal, struct met *peer)
{
    static uint8_t plain[WIRE_PLAIN_MAX], sealed[SEAL_DATAGRAM_MAX];
    struct pollfd waits = {.fd = fd, .events = POLLIN};
    struct seal_sender from;
    struct wire_writer w;
    size_t length;
    memset(&said, 0, sizeof said);
    said.kind = DATAGRAM_HELLO;
    said.number = 1;
    said.sender.name = seal->name;
    strcpy(said.name, "forger");
    if (wire_datagram_begin(&w, &said, plain, sizeof plain) < 0)
        return false;
    wire_datagram_pad(&w, SWIM_HELLO_BYTES);
    if (!send_sealed(fd, seal, &w, &peer->at) || poll(&waits, 1, WAIT_MS) != 1)
        return false;
    ssize_t got = recv(fd, sealed, sizeof sealed, 0);
    if (got <= 0 || seal_open(seal, (struct slice){.at = sealed, .length = (size_t)got}, plain,
                              &length, &from) != SEAL_OPENED)
        return false;
    if (wire_datagram_read(&said, plain, length) < 0 || said.kind != DATAGRAM_WELCOME)
        return false;
    peer->id = said.sender;
    peer->nonce = from.nonce;
    peer->seq = from.seq;
    return true;
}

static bool tell_farewell(int fd, const struct seal_ring *ring, const struct met *of,
                          const struct met *to)
{
    static uint8_t plain[WIRE_PLAIN_MAX];
    struct wire_update u = {.kind = UPDATE_LEFT};
    struct wire_writer w;
    struct seal seal;
    seal_init(&seal, ring, of->id.name, of->nonce, 0, &rng);
    seal.next_seq = of->seq + FORGED_AHEAD;
    memset(&said, 0, sizeof said);
    said.kind = DATAGRAM_GOSSIP;
    said.sender = of->id;
    said.target_name_only.name = to->id.name;
    said.target_nonce = to->nonce;
    u.record.id = of->id;
    bool is_sent = wire_datagram_begin(&w, &said, plain, sizeof plain) == 0 &&
                   wire_datagram_add(&w, &u) == 0 && send_sealed(fd, &seal, &w, &to->at);
    seal_deinit(&seal);
    return is_sent;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"key-file", required_argument, NULL, 'k'},
                                            {"cluster", required_argument, NULL, 'c'},
                                            {"of", required_argument, NULL, 'o'},
                                            {"to", required_argument, NULL, 't'},
                                            {NULL, 0, NULL, 0}};
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct met of = {.nonce = 0}, to = {.nonce = 0};
    struct seal_ring ring;
    struct seal seal;
    uint8_t keys[1][SEAL_KEY_BYTES], entropy[32];
    const char *cluster = "default";
    bool is_good = sodium_init() >= 0, has_key = false;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'k')
            has_key = read_key(optarg, keys[0]);
        else if (option == 'c')
            cluster = optarg;
        else
            is_good = is_good && (option == 'o' || option == 't') &&
                      io_read_address(optarg, option == 'o' ? &of.at : &to.at) >= 0;
    }
    if (!is_good || !has_key || of.at.ss_family != AF_INET || to.at.ss_family != AF_INET) {
        fputs(
            "usage: forge --key-file FILE [--cluster LABEL] --of ADDRESS:PORT --to ADDRESS:PORT\n",
            stderr);
        return 2;
    }
    randombytes_buf(entropy, sizeof entropy);
    rng_init(&rng, entropy);
    if (seal_ring_init(&ring, (const uint8_t(*)[SEAL_KEY_BYTES])keys, 1, 0, cluster) < 0)
        return fail("no such key");
    seal_init(&seal, &ring, view_name_hash("forger"), rng_u64(&rng), 0, &rng);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof any) < 0)
        return fail("no socket");
    if (!meet(fd, &seal, &of) || !meet(fd, &seal, &to))
        return fail("a peer does not answer");
    return tell_farewell(fd, &ring, &of, &to) ? 0 : fail("cannot send");
}

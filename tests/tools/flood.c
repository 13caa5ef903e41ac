/* flood.c - datagrams for peers that did not ask for them, as many a second as wanted: noise of all
 * sizes, heads that look right before bytes that do not, real datagrams changed in one bit, real
 * ones once more, from this or that address. Real ones are read from the loopback device meanwhile
 * (needs CAP_NET_RAW; without it there are none, which the report says). Says how many datagrams
 * came back. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "mesh/wire/seal.h"
#include "tests/tools/io.h"

#define BATCH 50
#define REAL_MAX 20000u /* kept of those that were read; the oldest go */
#define BYTES_MAX (SEAL_DATAGRAM_MAX + 8)
#define TARGETS_MAX 8
#define TICK_NS 2000000u

struct real {
    uint16_t port, length; /* whom it was for */
    uint8_t bytes[BYTES_MAX];
};

static struct {
    struct sockaddr_in to[TARGETS_MAX];
    unsigned targets;
    uint64_t rate, seconds;
    bool has_noise, has_changed, has_again;
    int out, in; /* in: -1: nothing may be read */
    struct real *real;
    uint32_t real_count, real_next;
    uint64_t chance, sent, refused, noise, heads, changed, again, replies, reply_longest,
        real_longest;
} flood = {.rate = 100000, .seconds = 5, .in = -1, .chance = UINT64_C(0x9e3779b97f4a7c15)};

static uint64_t draw(void) /* xorshift: noise, not secrets */
{
    flood.chance ^= flood.chance << 13;
    flood.chance ^= flood.chance >> 7;
    flood.chance ^= flood.chance << 17;
    return flood.chance;
}

static void fill(uint8_t *bytes, size_t length)
{
    for (size_t n = 0; n < length; n++)
        bytes[n] = (uint8_t)draw();
}

/* ---- what is read --------------------------------------------------------------------------- */

/* Not what is sent here: it would leave no room for anything else. */
static int leave_out_own(int fd)
{
    struct sockaddr_in own;
    socklen_t size = sizeof own;
    if (getsockname(flood.out, (struct sockaddr *)&own, &size) < 0)
        return -1;
    struct sock_filter source[] = {
        BPF_STMT(BPF_LDX + BPF_B + BPF_MSH, 0), /* bytes of the IP head */
        BPF_STMT(BPF_LD + BPF_H + BPF_IND, 0),  /* the source's port behind it */
        BPF_JUMP(BPF_JMP + BPF_JEQ + BPF_K, ntohs(own.sin_port), 0, 1),
        BPF_STMT(BPF_RET + BPF_K, 0),
        BPF_STMT(BPF_RET + BPF_K, 65535),
    };
    struct sock_fprog program = {sizeof source / sizeof *source, source};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

static void listen_to_loopback(void)
{
    struct sockaddr_ll all = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP)};
    int bytes = 8 << 20;
    all.sll_ifindex = (int)if_nametoindex("lo");
    flood.in = socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK, htons(ETH_P_IP));
    flood.real = calloc(REAL_MAX, sizeof *flood.real);
    if (flood.in < 0 || flood.real == NULL)
        return;
    (void)setsockopt(flood.in, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    if (leave_out_own(flood.in) < 0 || bind(flood.in, (struct sockaddr *)&all, sizeof all) < 0) {
        close(flood.in);
        flood.in = -1;
    }
}

/* A datagram between two of the targets: the source tells it from what is sent here. */
static void keep_real(const uint8_t *packet, size_t length)
{
    size_t head = length > 0 ? (packet[0] & 15u) * 4u : 0;
    bool is_from = false, is_to = false;
    if (length < head + 8 || head < 20 || packet[9] != IPPROTO_UDP)
        return;
    uint16_t from, to;
    memcpy(&from, packet + head, 2);
    memcpy(&to, packet + head + 2, 2);
    for (unsigned n = 0; n < flood.targets; n++) {
        is_from = is_from || flood.to[n].sin_port == from;
        is_to = is_to || flood.to[n].sin_port == to;
    }
    size_t bytes = length - head - 8;
    if (!is_from || !is_to || bytes == 0 || bytes > SEAL_DATAGRAM_MAX)
        return;
    struct real *real = &flood.real[flood.real_next++ % REAL_MAX];
    if (bytes > flood.real_longest)
        flood.real_longest = bytes;
    real->port = to;
    real->length = (uint16_t)bytes;
    memcpy(real->bytes, packet + head + 8, bytes);
    if (flood.real_count < REAL_MAX)
        flood.real_count++;
}

static void read_loopback(void)
{
    static uint8_t packet[2048];
    struct sockaddr_ll from;
    socklen_t size = sizeof from;
    ssize_t got;
    /* each packet is seen on its way out and in */
    for (int n = 0; flood.in >= 0 && n < 2000; n++, size = sizeof from) {
        got = recvfrom(flood.in, packet, sizeof packet, 0, (struct sockaddr *)&from, &size);
        if (got <= 0)
            return;
        if (from.sll_pkttype != PACKET_OUTGOING)
            keep_real(packet, (size_t)got);
    }
}

static void read_replies(void)
{
    static uint8_t bytes[65536];
    ssize_t got;
    while ((got = recv(flood.out, bytes, sizeof bytes, MSG_DONTWAIT)) >= 0) {
        flood.replies++;
        if ((uint64_t)got > flood.reply_longest)
            flood.reply_longest = (uint64_t)got;
    }
}

/* ---- what is sent --------------------------------------------------------------------------- */

static size_t make_noise(uint8_t *bytes)
{
    static const size_t sizes[] = {0, 1, 45, 46, 47, 64, 300, 1200, 1201};
    size_t length = sizes[draw() % (sizeof sizes / sizeof *sizes)];
    fill(bytes, length);
    flood.noise++;
    return length;
}

/* Version and, of a real one, key id and sender are right. */
static size_t make_head(uint8_t *bytes)
{
    size_t length = 46 + draw() % 400;
    fill(bytes, length);
    bytes[0] = SEAL_VERSION;
    bytes[1] = 0;
    if (flood.real_count > 0)
        memcpy(bytes + 2, flood.real[draw() % flood.real_count].bytes + 2, 20);
    flood.heads++;
    return length;
}

static size_t make_datagram(uint8_t *bytes, struct sockaddr_in *to)
{
    const struct real *real = flood.real_count > 0 ? &flood.real[draw() % flood.real_count] : NULL;
    unsigned kind = (unsigned)(draw() % 4);
    *to = flood.to[draw() % flood.targets];
    if (real != NULL && flood.has_again && (kind == 0 || !flood.has_noise)) {
        memcpy(bytes, real->bytes, real->length);
        if (draw() % 2 == 0)
            to->sin_port = real->port; /* else: for another one */
        flood.again++;
        return real->length;
    }
    if (real != NULL && flood.has_changed && (kind <= 1 || !flood.has_noise)) {
        memcpy(bytes, real->bytes, real->length);
        to->sin_port = real->port;
        bytes[draw() % real->length] ^= (uint8_t)(1u << draw() % 8);
        flood.changed++;
        return real->length;
    }
    return kind == 2 ? make_noise(bytes) : make_head(bytes);
}

static void send_batch(unsigned count)
{
    static uint8_t bytes[BATCH][BYTES_MAX];
    static struct sockaddr_in to[BATCH];
    static struct iovec parts[BATCH];
    static struct mmsghdr messages[BATCH];
    for (unsigned n = 0; n < count; n++) {
        parts[n] = (struct iovec){bytes[n], make_datagram(bytes[n], &to[n])};
        messages[n].msg_hdr = (struct msghdr){
            .msg_name = &to[n], .msg_namelen = sizeof to[n], .msg_iov = &parts[n], .msg_iovlen = 1};
    }
    int sent = sendmmsg(flood.out, messages, count, 0);
    flood.sent += sent > 0 ? (uint64_t)sent : 0;
    flood.refused += sent < (int)count;
}

static void run(void)
{
    uint64_t begun_ns = io_now_ns(), end_ns = begun_ns + flood.seconds * 1000000000u;
    uint64_t now_ns = begun_ns, tried = 0;
    while (now_ns < end_ns) {
        uint64_t due = (now_ns - begun_ns) * flood.rate / 1000000000u;
        for (; tried < due; tried += BATCH)
            send_batch(BATCH);
        read_loopback();
        read_replies();
        struct timespec tick = {.tv_nsec = TICK_NS};
        nanosleep(&tick, NULL);
        now_ns = io_now_ns();
    }
    printf("{\"sent\":%" PRIu64 ",\"rate\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"noise\":%" PRIu64
           ",\"heads\":%" PRIu64 ",\"changed\":%" PRIu64 ",\"again\":%" PRIu64
           ",\"reads_loopback\":%s,\"real\":%" PRIu32 ",\"real_longest\":%" PRIu64
           ",\"replies\":%" PRIu64 ",\"reply_longest\":%" PRIu64 "}\n",
           flood.sent, flood.sent / flood.seconds, flood.refused, flood.noise, flood.heads,
           flood.changed, flood.again, flood.in >= 0 ? "true" : "false", flood.real_next,
           flood.real_longest, flood.replies, flood.reply_longest);
}

/* ---- words ---------------------------------------------------------------------------------- */

static const char usage[] =
    "usage: flood --to ADDRESS:PORT[,...] [--rate N] [--seconds N] [--kinds KIND[,...]]\n"
    "Sends datagrams that nobody asked for to peers on loopback, and counts what comes back.\n"
    "  --rate N     a second (100000)\n"
    "  --seconds N  (5)\n"
    "  --kinds      noise (and made-up heads), changed (real ones, a bit each), again (real "
    "ones);\n"
    "               all\n";

static bool read_targets(char *text)
{
    struct sockaddr_storage addr;
    for (char *one = strtok(text, ","); one != NULL; one = strtok(NULL, ",")) {
        if (flood.targets == TARGETS_MAX || io_read_address(one, &addr) < 0 ||
            addr.ss_family != AF_INET)
            return false;
        memcpy(&flood.to[flood.targets++], &addr, sizeof *flood.to);
    }
    return flood.targets > 0;
}

static bool read_kinds(char *text)
{
    for (char *one = strtok(text, ","); one != NULL; one = strtok(NULL, ",")) {
        if (strcmp(one, "noise") == 0)
            flood.has_noise = true;
        else if (strcmp(one, "changed") == 0)
            flood.has_changed = true;
        else if (strcmp(one, "again") == 0)
            flood.has_again = true;
        else
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"to", required_argument, NULL, 't'},
                                            {"rate", required_argument, NULL, 'r'},
                                            {"seconds", required_argument, NULL, 's'},
                                            {"kinds", required_argument, NULL, 'k'},
                                            {NULL, 0, NULL, 0}};
    int option;
    bool is_good = true;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        is_good = is_good && (option == 't'   ? read_targets(optarg)
                              : option == 'r' ? io_read_number(optarg, 10000000, &flood.rate) == 0
                              : option == 's' ? io_read_number(optarg, 86400, &flood.seconds) == 0
                              : option == 'k' ? read_kinds(optarg)
                                              : false);
    if (!is_good || flood.targets == 0 || flood.seconds == 0 || optind != argc) {
        fputs(usage, stderr);
        return 2;
    }
    if (!flood.has_noise && !flood.has_changed && !flood.has_again)
        flood.has_noise = flood.has_changed = flood.has_again = true;
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    flood.out = socket(AF_INET, SOCK_DGRAM, 0);
    if (flood.out < 0 || bind(flood.out, (struct sockaddr *)&any, sizeof any) < 0) {
        fprintf(stderr, "flood: socket: %s\n", strerror(errno));
        return 1;
    }
    listen_to_loopback();
    run();
    return 0;
}

/* gate.h - the one gate before every route: Host, Origin, target, method, single headers, body.
 * It knows the paths of the endpoint but nothing of sessions or MCP; framing was h1's. The host
 * never decides trust: it only keeps browsers of other sites out (DNS rebinding). */
#ifndef HTTP_GATE_H
#define HTTP_GATE_H

#include "http/h1.h"

enum gate_route {
    GATE_MCP,      /* Streamable HTTP */
    GATE_SSE,      /* HTTP+SSE of 2024-11-05: the stream */
    GATE_MESSAGES, /* and its messages */
    GATE_OTHER     /* passes to an HTTP upstream untouched */
};

enum gate_verdict {
    GATE_PASS,
    GATE_BAD_HOST,       /* 400 row H23 */
    GATE_FOREIGN_HOST,   /* 403 row H24 */
    GATE_FOREIGN_ORIGIN, /* 403 row A13 */
    GATE_DOUBLE_HEADER,  /* 400 row H45 */
    GATE_BAD_TARGET,     /* 400 rows H20, H25 */
    GATE_NO_SUCH_PATH,   /* 404 row H26: not forwarded either */
    GATE_TOKEN_IN_QUERY, /* 400 row A20 */
    GATE_WRONG_METHOD,   /* 405, see gate_allow(); pass->route is filled */
    GATE_UNWANTED_BODY,  /* 400 row H32 */
    GATE_CODED_BODY,     /* 415 row H44 */
    GATE_EXPECTATION,    /* 417 row H31 */
    GATE_BODY_TOO_LARGE  /* 413 rows H6, H30 */
};
#define GATE_VERDICTS (GATE_BODY_TOO_LARGE + 1)

/* Texts are borrowed and must outlive the gate. */
struct gate_config {
    const char *mcp_path, *sse_path, *messages_path; /* NULL: no such route */
    /* Paths of the upstream itself that must not be reached around the mesh: 404. */
    const char *const *closed_paths;
    size_t closed_paths_count;
    /* --allow-host: "name" passes with any port, "name:port" with this one, "*" is any. */
    const char *const *hosts;
    size_t hosts_count;
    /* --allow-origin: "https://name[:port]" or "null", compared whole; "*" is any. */
    const char *const *origins;
    size_t origins_count;
    const char *listen_host; /* as it stands in a Host: "127.0.0.1", "[::1]"; NULL: unknown */
    bool is_loopback;        /* bound to loopback only: just loopback names, and `hosts` */
    uint64_t body_max;       /* bytes; 0: h1's cap is the only one */
};

struct gate_pass {
    enum gate_route route;
    struct slice path, query; /* parts of the target; query without its '?', may be empty */
};

/* Bound to anything but loopback and without `hosts` every well-formed Host passes: the names of
 * a pod are unknown. An Origin must be listed, or be the very authority of a Host that passed by
 * name (not by "any"). *pass is filled for GATE_PASS, which is noted in the head. */
enum gate_verdict gate_check(const struct gate_config *config, struct h1_head *head,
                             struct gate_pass *pass);
int gate_status(enum gate_verdict verdict);
const char *gate_reason(enum gate_verdict verdict); /* constant text for a body or a log */
const char *gate_name(enum gate_verdict verdict);   /* the counter's label */
/* Must the connection be closed after this refusal? */
bool gate_closes(enum gate_verdict verdict, const struct h1_head *head);
const char *gate_allow(enum gate_route route); /* the Allow header of a 405 */
/* Is this text a well-formed Host: name, IPv4 or [IPv6], maybe with a port? */
bool gate_is_authority(struct slice text);

#endif

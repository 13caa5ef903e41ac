/* mcp_inside.h - what mcp.c, mcp_modern.c, mcp_principal.c and mcp_answer.c share: an answer of the
 * mesh's own, and how header values are cut. */
#ifndef HTTP_MCP_INSIDE_H
#define HTTP_MCP_INSIDE_H

#include "http/mcp.h"

#define MCP_BAD_REQUEST (-32000)       /* as the SDKs use it */
#define MCP_SESSION_NOT_FOUND (-32001) /* as well */
#define MCP_HEADER_MISMATCH (-32020)   /* MCP 2026-07-28 */
#define MCP_NAME_MAX 6144 /* bytes of a name that came in base64: a header line of 8 KiB */

struct mcp_own {
    int status; /* 0: none, the request goes on */
    int code;   /* JSON-RPC; its body has the exchange's id */
    const char *message;
    const char *reason; /* of the core: data.reason; or NULL */
    const char *allow;  /* or NULL */
    bool retry_after, is_preflight;
    bool is_unknown_session; /* the one body of every 404 for a session (row A2) */
    bool is_empty;           /* no body */
    struct slice asked_headers;
};

/* A whole answer, head and body. 0, -ENOMEM or -EINVAL. */
int mcp_write_own(const struct mcp_exchange *exchange, const struct mcp_own *own,
                  struct bytes **answerp);

/* What a modern request is routed by besides its body. */
struct mcp_own mcp_take_modern(const struct mcp_config *config, const struct mcp_input *input,
                               struct mesh_request *request);

/* Without the blanks around it. */
struct slice mcp_trim(struct slice s);
/* Cuts the part before `mark` off *rest and trims it. False: nothing is left (rest->at NULL). */
bool mcp_next_part(struct slice *rest, char mark, struct slice *part);

/* The caller made the room. */
static inline void mcp_append(struct bytes *into, struct slice what)
{
    if (what.length > 0)
        memcpy(into->data + into->length, what.at, what.length);
    into->length += what.length;
}

void mcp_append_line(struct bytes *into, struct slice name, struct slice value);
/* Those that were noted, if they were made alike: a new reference. Else NULL. */
static inline struct bytes *mcp_noted_lines(const struct h1_notes *notes, uint32_t without,
                                            struct slice client)
{
    struct bytes *lines = notes->lines;

    if (lines == NULL || notes->lines_without != without ||
        !slice_equal(slice_part(slice_of(lines, 0, lines->length), notes->lines_client), client))
        return NULL;
    return bytes_ref(lines);
}

static inline void mcp_note_lines(struct h1_notes *notes, uint32_t without, struct span client,
                                  struct bytes *lines)
{
    bytes_unref(notes->lines);
    notes->lines = bytes_ref(lines);
    notes->lines_without = without;
    notes->lines_client = client;
}

/* The lines of a head that travel, but for the fields of the set `without`, in a new buffer with
 * room for `more` bytes. NULL: no memory. */
struct bytes *mcp_copy_lines(const struct h1_head *head, uint32_t without, size_t more);

#endif

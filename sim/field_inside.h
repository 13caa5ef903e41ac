/* field_inside.h - what field_net.c and field_link.c share. Nobody else includes it. */
#ifndef SIM_FIELD_INSIDE_H
#define SIM_FIELD_INSIDE_H

#include "sim/field.h"

struct packet;  /* a datagram */
struct message; /* of a link */

struct field_held {
    struct field_held *next;
    bool is_out, is_message;
    void *what;
};

struct field_pools {
    struct packet *packets[2]; /* free: large, small */
    struct wire_datagram datagram;
    struct wire_update records[WIRE_RECORDS_MAX];
    struct wire_message message;
    uint8_t text[WIRE_VIEW_MAX];
};

/* ---- field_net.c ---------------------------------------------------------------------------- */

uint64_t path_base_delay(const struct field *field, uint32_t from, uint32_t to);
uint64_t path_delay(struct field *field, uint32_t from, uint32_t to); /* its own, and some more */
bool path_reaches(const struct field *field, uint32_t from, uint32_t to);
bool path_both_reach(const struct field *field, uint32_t a, uint32_t b);
bool path_is_lost(struct field *field, uint32_t from, uint32_t to); /* drawn */
/* When the last byte is on the wire. */
uint64_t path_leaves_at(struct field *field, struct seat *seat, uint64_t from_us, size_t bytes);
/* For the end of a stall. */
void field_hold(struct seat *seat, void *what, bool is_out, bool is_message);

/* ---- field_link.c --------------------------------------------------------------------------- */

void field_links_new(struct field *field);
void field_links_free(struct field *field);
void field_message_leaves(struct field *field, struct message *message);
void field_message_arrives(struct field *field, uint32_t seat, struct message *message);
void field_link_event(struct field *field, const struct field_event *event);

#endif

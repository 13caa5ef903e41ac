/* upcall.h - calls to the upstream, between serve.c (which admits requests) and the facts of
 * mesh.h about upstreams. */
#ifndef MESH_UPCALL_H
#define MESH_UPCALL_H

#include "mesh/session/serve.h"

/* Binds a new call to its session's upstream; makes both for a request that mints, and an
 * upstream for this call alone where there is no session. -ENOBUFS: a cap. */
int upcall_prepare(struct core *core, struct call *call, struct session *session, bool mints,
                   const struct principal *who, uint64_t now_ms);
/* Gives it to the upstream, or lets it wait for a child that is not up yet. */
void upcall_start(struct core *core, struct call *call, uint64_t now_ms);
/* HTTP: opens the upstream's GET stream for this held server stream. */
void upcall_listen(struct core *core, struct call *call);
/* Nobody waits for what this call still brings. */
void upcall_cancel(struct core *core, struct call *call);
void upcall_room(struct core *core, struct call *call, size_t bytes);
/* Ends an upstream; its last word is awaited. A closed or unknown handle is fine. */
void upcall_close(struct core *core, struct handle up);
/* A session whose initialize failed, or that its upstream keeps none of, is no session. */
void upcall_unbind(struct core *core, struct call *call);

/* serve.c: adds to a call's answer, and ends it. */
void call_add(struct core *core, struct call *call, struct wire_message *m);
void call_add_head(struct core *core, struct call *call, int status, enum mesh_form form,
                   struct slice lines);
/* WIRE_EVENT or WIRE_DATA. */
void call_add_text(struct core *core, struct call *call, enum wire_kind kind, struct slice text,
                   bool answers);
void call_set_timer(struct core *core, struct call *call, uint64_t at_ms);
void call_end(struct core *core, struct call *call, enum mesh_end end, enum mesh_reason why,
              uint64_t now_ms);

#endif

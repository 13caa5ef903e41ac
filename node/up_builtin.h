/* up_builtin.h - what the built-in server needs to hear beyond the interface of upstream.h. */
#ifndef NODE_UP_BUILTIN_H
#define NODE_UP_BUILTIN_H

void up_builtin_members_changed(void *kind);

#endif

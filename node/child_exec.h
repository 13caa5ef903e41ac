/* child_exec.h - `meshd child -- command args...`: what a stdio server's process does between its
 * birth and exec; `meshd child-watch`: what kills the groups of such processes after a meshd that
 * was killed. */
#ifndef NODE_CHILD_EXEC_H
#define NODE_CHILD_EXEC_H

/* In the child's environment: pid of the meshd that started it. */
#define CHILD_PARENT_VARIABLE "MESH_CHILD_PARENT"

/* argv[0] is "child", then "--", then the command. Returns only on failure: 126 (cannot be run),
 * 127 (not found), 2 (wrong arguments). */
int child_main(int argc, char **argv);

/* An array of int32_t, shared with the meshd that started it: the ids of the groups, 0: none. */
#define CHILD_WATCH_FD 3
/* Returns once standard input has ended. */
int child_watch_main(void);

#endif

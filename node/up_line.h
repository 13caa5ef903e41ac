/* up_line.h - a child's output as lines. A line that lies whole in what was read is handed out
 * where it lies; a longer one is gathered; one beyond the cap is not kept, but answered for: of a
 * response too large to pass on, the id is found and an error made in its place. */
#ifndef NODE_UP_LINE_H
#define NODE_UP_LINE_H

#include "mesh/base/rpc.h"

#define LINE_TAIL 512 /* of a line too long: so much of its end is looked at for its id */

struct line_reader {
    size_t max;
    /* `text`: without its line end (LF or CR LF), never empty; borrowed or of a buffer. */
    void (*on_line)(struct line_reader *reader, struct slice text);
    bool cuts;               /* set after init: of a line too long the first `max` bytes are given,
                                and nothing is answered for */
    struct bytes *line;      /* what came of an unfinished line */
    struct rpc_scan *scan;   /* of a line too long */
    uint64_t length;         /* of a line too long, so far */
    uint8_t tail[LINE_TAIL]; /* its last bytes, by offset modulo */
};

void line_reader_init(struct line_reader *reader, size_t max,
                      void (*on_line)(struct line_reader *reader, struct slice text));
void line_reader_free(struct line_reader *reader);
/* 0, -ENOMEM, or -EMSGSIZE: a line of over 1 GiB; nothing more can be read. */
int line_reader_feed(struct line_reader *reader, const char *data, size_t length);
/* Nothing more will come: what was begun and kept counts as a line. */
void line_reader_end(struct line_reader *reader);

#endif

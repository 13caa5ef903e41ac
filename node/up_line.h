/* up_line.h - a child's output as lines. A line that lies whole in what was read is handed out
 * where it lies; a longer one is gathered; one beyond the cap is read on without being kept: of it
 * come out its kind and its id, wherever that stands, so that it can be answered for. */
#ifndef NODE_UP_LINE_H
#define NODE_UP_LINE_H

#include "node/up_large.h"

struct line_reader {
    size_t max;
    struct bytes_budget *budget; /* of what is gathered; NULL: counted nowhere. Without room there a
                                    line is read on as one beyond the cap */
    /* `text`: without its line end (LF or CR LF), never empty; borrowed or of a buffer. */
    void (*on_line)(struct line_reader *reader, struct slice text);
    /* A line of `length` bytes that was not kept is over. `id`: raw, borrowed; empty: it has none,
     * or too long a one. NULL: nobody wants to know. */
    void (*on_large)(struct line_reader *reader, enum rpc_kind kind, struct slice id,
                     size_t length);
    bool cuts;                /* instead, the first `max` bytes of a line too long are a line */
    struct bytes *line;       /* what came of an unfinished line */
    struct large_text *large; /* one that is not kept */
};

/* `cuts`, `budget` and `on_large` are the caller's to set after it. */
void line_reader_init(struct line_reader *reader, size_t max,
                      void (*on_line)(struct line_reader *reader, struct slice text));
void line_reader_free(struct line_reader *reader);
/* 0, -ENOMEM, or -EMSGSIZE: a line of over 1 GiB; nothing more can be read. */
int line_reader_feed(struct line_reader *reader, const char *data, size_t length);
/* Nothing more will come: what was begun and kept counts as a line. */
void line_reader_end(struct line_reader *reader);

#endif

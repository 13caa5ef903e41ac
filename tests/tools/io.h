/* io.h - what the tools of the tests share beneath HTTP: addresses, a TCP stream over libuv whose
 * writes are tried at once, a log of lines that a kill does not lose, times and latencies. It
 * knows nothing of HTTP or MCP. A tool may call back; the product's own rules do not bind here. */
#ifndef TOOLS_IO_H
#define TOOLS_IO_H

#include <stdio.h>
#include <sys/socket.h>
#include <uv.h>

#include "mesh/base/bytes.h"

/* Numeric "127.0.0.1:80", "[::1]:80", or "localhost:80". 0 or -EINVAL. */
int io_read_address(const char *text, struct sockaddr_storage *addr);
/* A whole decimal number of at most `max`; -EINVAL for anything else. */
int io_read_number(const char *text, uint64_t max, uint64_t *number);
/* The monotonic clock. */
uint64_t io_now_ns(void);
/* As many open files as the machine allows this process. */
void io_raise_limits(void);
/* FNV-1a: names a session in a log without showing its id. Not for tables. */
uint32_t io_hash(struct slice text);

/* A connection. Zero it, set the callbacks, then io_accept() or io_connect(). The memory is the
 * caller's until on_closed, which comes once, some time after io_close(). */
struct io_stream {
    uv_tcp_t tcp;
    uv_connect_t connecting;
    uv_shutdown_t shutting;
    void *owner;
    bool closing, is_shut, has_ended; /* ended: nothing more comes from the other side */
    int receive_bytes;                /* of the kernel's buffer; 0: as it likes */
    /* Bytes hold for the call only. */
    void (*on_bytes)(struct io_stream *stream, const uint8_t *bytes, size_t length);
    /* The other side will send no more: UV_EOF, or the error that broke the connection. */
    void (*on_end)(struct io_stream *stream, int why);
    void (*on_connected)(struct io_stream *stream, int rc);
    void (*on_drained)(struct io_stream *stream); /* NULL: not wanted; nothing waits any more */
    void (*on_closed)(struct io_stream *stream);
};

/* Listens; on_connection is libuv's. Port 0: the kernel chooses. 0 or a negative error. */
int io_listen(uv_loop_t *loop, uv_tcp_t *server, const struct sockaddr_storage *addr,
              uv_connection_cb on_connection);
uint16_t io_listening_port(uv_tcp_t *server);
/* Both: 0, or a negative error after which the stream is closing and on_closed will come. */
int io_accept(uv_tcp_t *server, struct io_stream *stream); /* and starts to read */
int io_connect(uv_loop_t *loop, struct io_stream *stream, const struct sockaddr_storage *addr);
/* Reading starts by itself once connected; these two are for back-pressure. */
void io_pause(struct io_stream *stream);
void io_resume(struct io_stream *stream);
/* Writes what the kernel takes at once, keeps a copy of the rest. 0 or a negative error, after
 * which the caller closes. */
int io_write(struct io_stream *stream, const void *bytes, size_t length);
int io_write_parts(struct io_stream *stream, const uv_buf_t *parts, unsigned count);
size_t io_waiting(const struct io_stream *stream); /* bytes kept */
void io_shut(struct io_stream *stream);            /* our side's end, after what is kept */
void io_close(struct io_stream *stream);           /* again is fine */

/* Latencies in µs: 0.8 % exact, up to an hour. */
#define IO_HISTOGRAM_CELLS 4096
struct io_histogram {
    uint64_t count, max_us;
    uint32_t cells[IO_HISTOGRAM_CELLS];
};
void io_histogram_add(struct io_histogram *h, uint64_t us);
/* The value that `share` of 10,000 values do not exceed. */
uint64_t io_histogram_at(const struct io_histogram *h, uint32_t share);

#endif

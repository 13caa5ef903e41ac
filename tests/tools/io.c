/* io.c - addresses, streams, latencies. See io.h. */
#include "tests/tools/io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define READ_BYTES (64 * 1024)

int io_read_number(const char *text, uint64_t max, uint64_t *number)
{
    if (text == NULL || *text < '0' || *text > '9')
        return -EINVAL;
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || value > max)
        return -EINVAL;
    *number = value;
    return 0;
}

int io_read_address(const char *text, struct sockaddr_storage *addr)
{
    const char *colon = strrchr(text, ':');
    uint64_t port;
    if (colon == NULL || io_read_number(colon + 1, UINT16_MAX, &port) < 0)
        return -EINVAL;
    char host[64];
    size_t length = (size_t)(colon - text);
    bool is_bracketed = length >= 2 && text[0] == '[' && text[length - 1] == ']';
    if (is_bracketed) {
        text++;
        length -= 2;
    }
    if (length >= sizeof host)
        return -EINVAL;
    memcpy(host, text, length);
    host[length] = '\0';
    memset(addr, 0, sizeof *addr);
    if (is_bracketed)
        return uv_ip6_addr(host, (int)port, (struct sockaddr_in6 *)addr) == 0 ? 0 : -EINVAL;
    const char *name = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    return uv_ip4_addr(name, (int)port, (struct sockaddr_in *)addr) == 0 ? 0 : -EINVAL;
}

uint64_t io_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void io_raise_limits(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

uint32_t io_hash(struct slice text)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < text.length; i++)
        hash = (hash ^ text.at[i]) * 1099511628211u;
    return (uint32_t)(hash ^ hash >> 32);
}

/* One buffer for all reads: whoever needs bytes later copies them. */
static void on_alloc(uv_handle_t *handle, size_t wanted, uv_buf_t *buf)
{
    static char bytes[READ_BYTES];
    (void)handle;
    (void)wanted;
    *buf = uv_buf_init(bytes, sizeof bytes);
}

static void on_read(uv_stream_t *tcp, ssize_t got, const uv_buf_t *buf)
{
    struct io_stream *stream = tcp->data;
    if (got > 0) {
        stream->on_bytes(stream, (const uint8_t *)buf->base, (size_t)got);
    } else if (got < 0) {
        uv_read_stop(tcp);
        stream->has_ended = true;
        stream->on_end(stream, (int)got);
    }
}

static void on_tcp_closed(uv_handle_t *tcp)
{
    struct io_stream *stream = tcp->data;
    stream->on_closed(stream);
}

int io_listen(uv_loop_t *loop, uv_tcp_t *server, const struct sockaddr_storage *addr,
              uv_connection_cb on_connection)
{
    int rc = uv_tcp_init(loop, server);
    if (rc == 0)
        rc = uv_tcp_bind(server, (const struct sockaddr *)addr, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)server, 4096, on_connection);
    return rc;
}

uint16_t io_listening_port(uv_tcp_t *server)
{
    struct sockaddr_storage addr;
    int length = sizeof addr;
    if (uv_tcp_getsockname(server, (struct sockaddr *)&addr, &length) < 0)
        return 0;
    return addr.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&addr)->sin6_port)
                                      : ntohs(((struct sockaddr_in *)&addr)->sin_port);
}

int io_accept(uv_tcp_t *server, struct io_stream *stream)
{
    int rc = uv_tcp_init(server->loop, &stream->tcp);
    if (rc < 0)
        return rc;
    stream->tcp.data = stream;
    rc = uv_accept((uv_stream_t *)server, (uv_stream_t *)&stream->tcp);
    if (rc == 0) {
        uv_tcp_nodelay(&stream->tcp, 1);
        rc = uv_read_start((uv_stream_t *)&stream->tcp, on_alloc, on_read);
    }
    if (rc < 0)
        io_close(stream);
    return rc;
}

static void on_tcp_connected(uv_connect_t *connecting, int rc)
{
    struct io_stream *stream = connecting->data;
    if (stream->closing)
        return;
    if (rc == 0) {
        uv_tcp_nodelay(&stream->tcp, 1);
        rc = uv_read_start((uv_stream_t *)&stream->tcp, on_alloc, on_read);
    }
    stream->on_connected(stream, rc);
}

int io_connect(uv_loop_t *loop, struct io_stream *stream, const struct sockaddr_storage *addr)
{
    int rc = uv_tcp_init_ex(loop, &stream->tcp, addr->ss_family);
    if (rc < 0)
        return rc;
    stream->tcp.data = stream;
    stream->connecting.data = stream;
    if (stream->receive_bytes > 0) /* before the other side is told of it */
        (void)uv_recv_buffer_size((uv_handle_t *)&stream->tcp, &stream->receive_bytes);
    rc = uv_tcp_connect(&stream->connecting, &stream->tcp, (const struct sockaddr *)addr,
                        on_tcp_connected);
    if (rc < 0)
        io_close(stream);
    return rc;
}

void io_pause(struct io_stream *stream)
{
    if (!stream->closing)
        uv_read_stop((uv_stream_t *)&stream->tcp);
}

void io_resume(struct io_stream *stream)
{
    if (!stream->closing && !stream->has_ended)
        uv_read_start((uv_stream_t *)&stream->tcp, on_alloc, on_read);
}

struct kept {
    uv_write_t write;
    char bytes[];
};

static void on_written(uv_write_t *write, int rc)
{
    struct io_stream *stream = write->data;
    free(write);
    if (stream->closing)
        return;
    if (rc < 0)
        stream->on_end(stream, rc);
    else if (stream->on_drained != NULL && io_waiting(stream) == 0)
        stream->on_drained(stream);
}

int io_write_parts(struct io_stream *stream, const uv_buf_t *parts, unsigned count)
{
    if (stream->closing || stream->is_shut)
        return UV_EPIPE;
    size_t length = 0, sent = 0, at = 0;
    for (unsigned i = 0; i < count; i++)
        length += parts[i].len;
    int rc = uv_try_write((uv_stream_t *)&stream->tcp, parts, count);
    if (rc < 0 && rc != UV_EAGAIN)
        return rc;
    sent = rc < 0 ? 0 : (size_t)rc;
    if (sent == length)
        return 0;
    struct kept *kept = malloc(sizeof *kept + length - sent);
    if (kept == NULL)
        return UV_ENOMEM;
    for (unsigned i = 0; i < count; i++) {
        size_t skip = sent < parts[i].len ? sent : parts[i].len;
        memcpy(kept->bytes + at, parts[i].base + skip, parts[i].len - skip);
        at += parts[i].len - skip;
        sent -= skip;
    }
    kept->write.data = stream;
    uv_buf_t rest = uv_buf_init(kept->bytes, (unsigned)at);
    rc = uv_write(&kept->write, (uv_stream_t *)&stream->tcp, &rest, 1, on_written);
    if (rc < 0)
        free(kept);
    return rc;
}

int io_write(struct io_stream *stream, const void *bytes, size_t length)
{
    uv_buf_t part = {.base = (char *)(uintptr_t)bytes, .len = length};
    return io_write_parts(stream, &part, 1);
}

size_t io_waiting(const struct io_stream *stream)
{
    return uv_stream_get_write_queue_size((const uv_stream_t *)&stream->tcp);
}

void io_shut(struct io_stream *stream)
{
    if (stream->closing || stream->is_shut)
        return;
    stream->is_shut = true;
    uv_shutdown(&stream->shutting, (uv_stream_t *)&stream->tcp, NULL);
}

void io_close(struct io_stream *stream)
{
    if (stream->closing)
        return;
    stream->closing = true;
    uv_close((uv_handle_t *)&stream->tcp, on_tcp_closed);
}

/* Cells: 128 to each power of two, so that a value is known to 1/128. */
static size_t cell_of(uint64_t us)
{
    if (us < 256)
        return (size_t)us;
    unsigned shift = 63u - (unsigned)__builtin_clzll(us) - 7u;
    size_t cell = 128u * (size_t)shift + (size_t)(us >> shift);
    return cell < IO_HISTOGRAM_CELLS ? cell : IO_HISTOGRAM_CELLS - 1;
}

void io_histogram_add(struct io_histogram *h, uint64_t us)
{
    h->count++;
    h->cells[cell_of(us)]++;
    if (us > h->max_us)
        h->max_us = us;
}

uint64_t io_histogram_at(const struct io_histogram *h, uint32_t share)
{
    uint64_t wanted = (h->count * share + 9999) / 10000, seen = 0;
    for (size_t i = 0; i < IO_HISTOGRAM_CELLS && wanted > 0; i++) {
        seen += h->cells[i];
        if (seen < wanted)
            continue;
        if (i < 256)
            return i;
        unsigned shift = (unsigned)(i / 128) - 1;
        uint64_t top = (((uint64_t)i - 128u * shift + 1) << shift) - 1;
        return top < h->max_us ? top : h->max_us;
    }
    return h->max_us;
}

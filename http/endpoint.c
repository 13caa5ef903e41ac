/* endpoint.c - see endpoint.h. */
#include "http/endpoint.h"

#include <errno.h>

#include "http/gate.h"

static const struct slice nothing = {NULL, NULL, 0};

/* Cuts the part before the first byte of `marks` off *rest; the mark stays in *rest. */
static struct slice cut_before(struct slice *rest, const char *marks)
{
    struct slice part = *rest;
    size_t length = 0;

    while (length < rest->length && strchr(marks, rest->at[length]) == NULL)
        length++;
    part.length = length;
    rest->at += length;
    rest->length -= length;
    return part;
}

static void skip(struct slice *s, size_t length)
{
    s->at += length;
    s->length -= length;
}

/* Visible ASCII, and nothing that some reader takes for a slash. */
static bool is_clean(struct slice uri)
{
    for (size_t i = 0; i < uri.length; i++)
        if (uri.at[i] <= ' ' || uri.at[i] >= 0x7f || uri.at[i] == '\\')
            return false;
    return true;
}

/* "http:" is cut off; any other scheme is refused. A colon later than the first slash is none. */
static bool take_scheme(struct slice *uri, bool *has_scheme)
{
    struct slice rest = *uri, scheme = cut_before(&rest, ":/?#");

    *has_scheme = rest.length > 0 && rest.at[0] == ':';
    if (!*has_scheme)
        return true;
    *uri = rest;
    skip(uri, 1);
    return h1_is_name(scheme, "http");
}

/* Host and port of a well-formed authority; the port without leading zeros. */
static void split(struct slice authority, struct slice *host, struct slice *port)
{
    size_t colon = authority.length;

    *host = authority;
    *port = slice_text("80");
    while (colon > 0 && authority.at[colon - 1] != ':' && authority.at[colon - 1] != ']')
        colon--;
    if (colon == 0 || authority.at[colon - 1] == ']')
        return;
    host->length = colon - 1;
    *port = slice_borrow(authority.at + colon, authority.length - colon);
    while (port->length > 1 && port->at[0] == '0')
        skip(port, 1);
    if (port->length == 0)
        *port = slice_text("80");
}

static bool is_own(struct slice authority, const char *own)
{
    struct slice host, port, own_host, own_port;

    if (!gate_is_authority(authority))
        return false;
    split(authority, &host, &port);
    split(slice_text(own), &own_host, &own_port);
    return h1_is_same_name(host, own_host) && slice_equal(port, own_port);
}

static void append(struct bytes *into, struct slice what)
{
    if (what.length > 0)
        memcpy(into->data + into->length, what.at, what.length);
    into->length += what.length;
}

/* Back to behind the last slash but one. */
static void drop_segment(struct bytes *target)
{
    if (target->length > 1)
        target->length--;
    while (target->data[target->length - 1] != '/')
        target->length--;
}

/* Segments behind a slash that is there already (RFC 3986 section 5.2.4). */
static void append_segments(struct bytes *target, struct slice path)
{
    bool more = true;

    while (more) {
        struct slice segment = cut_before(&path, "/");

        more = path.length > 0;
        if (more)
            skip(&path, 1);
        if (slice_is(segment, ".."))
            drop_segment(target);
        else if (!slice_is(segment, ".")) {
            append(target, segment);
            if (more)
                append(target, slice_borrow("/", 1));
        }
    }
}

/* `path` (of the URI, maybe empty) and its query, against the base. */
static struct bytes *resolve(struct slice path, struct slice query, const char *base)
{
    struct slice rest = slice_text(base), base_path = cut_before(&rest, "?");
    struct bytes *target = bytes_new(NULL, 1 + base_path.length + path.length + query.length);

    if (target == NULL)
        return NULL;
    append(target, slice_borrow("/", 1));
    if (path.length > 0 && path.at[0] == '/')
        skip(&path, 1);
    else {
        struct slice folder = base_path;
        while (path.length > 0 && folder.at[folder.length - 1] != '/')
            folder.length--;
        skip(&folder, 1);
        append_segments(target, folder);
    }
    append_segments(target, path);
    append(target, query);
    return target;
}

int endpoint_read(struct slice uri, const char *authority, const char *base, struct bytes **targetp)
{
    struct slice rest = uri, path, query = nothing;
    bool has_scheme;

    if (uri.length == 0 || uri.length > ENDPOINT_MAX || !is_clean(uri) ||
        !take_scheme(&rest, &has_scheme))
        return -EINVAL;
    bool has_authority = rest.length >= 2 && memcmp(rest.at, "//", 2) == 0;
    if (has_authority) {
        skip(&rest, 2);
        if (!is_own(cut_before(&rest, "/?#"), authority))
            return -EINVAL;
    } else if (has_scheme)
        return -EINVAL;
    path = cut_before(&rest, "?#");
    if (rest.length > 0 && rest.at[0] == '?')
        query = cut_before(&rest, "#");
    if (has_authority && path.length == 0)
        path = slice_text("/");
    if (path.length == 0 && query.length == 0)
        return -EINVAL; /* the stream itself */
    *targetp = resolve(path, query, base);
    return *targetp == NULL ? -ENOMEM : 0;
}

/* addr.c - addresses as the core keeps them, as sockets want them, and as text. Declared in
 * host.h. */
#include <stdlib.h>
#include <string.h>

#include "node/host.h"

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool addr_is_v4(const struct mesh_addr *addr)
{
    return memcmp(addr->ip, mapped, sizeof mapped) == 0;
}

bool addr_is_any(const struct mesh_addr *addr)
{
    static const uint8_t zero[16];
    size_t from = addr_is_v4(addr) ? sizeof mapped : 0;
    return memcmp(addr->ip + from, zero, sizeof zero - from) == 0;
}

bool addr_is_loopback(const struct mesh_addr *addr)
{
    static const uint8_t one[16] = {[15] = 1};
    return addr_is_v4(addr) ? addr->ip[12] == 127 : memcmp(addr->ip, one, sizeof one) == 0;
}

bool addr_of_socket(struct mesh_addr *addr, const struct sockaddr *from)
{
    if (from->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)from;
        memcpy(addr->ip, mapped, sizeof mapped);
        memcpy(addr->ip + sizeof mapped, &in->sin_addr, 4);
        addr->port = ntohs(in->sin_port);
        return true;
    }
    if (from->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)from;
        memcpy(addr->ip, &in6->sin6_addr, sizeof addr->ip);
        addr->port = ntohs(in6->sin6_port);
        return true;
    }
    return false;
}

void addr_to_socket(struct sockaddr_storage *to, const struct mesh_addr *addr)
{
    memset(to, 0, sizeof *to);
    if (addr_is_v4(addr)) {
        struct sockaddr_in *in = (struct sockaddr_in *)to;
        in->sin_family = AF_INET;
        memcpy(&in->sin_addr, addr->ip + sizeof mapped, 4);
        in->sin_port = htons(addr->port);
    } else {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)to;
        in6->sin6_family = AF_INET6;
        memcpy(&in6->sin6_addr, addr->ip, sizeof addr->ip);
        in6->sin6_port = htons(addr->port);
    }
}

const char *addr_host_text(const struct mesh_addr *addr, char text[ADDR_TEXT_MAX])
{
    struct sockaddr_storage at;
    char ip[ADDR_TEXT_MAX - 8] = "";
    addr_to_socket(&at, addr);
    (void)uv_ip_name((struct sockaddr *)&at, ip, sizeof ip);
    snprintf(text, ADDR_TEXT_MAX, addr_is_v4(addr) ? "%s" : "[%s]", ip);
    return text;
}

const char *addr_text(const struct mesh_addr *addr, char text[ADDR_TEXT_MAX])
{
    addr_host_text(addr, text);
    size_t length = strlen(text);
    snprintf(text + length, ADDR_TEXT_MAX - length, ":%u", addr->port);
    return text;
}

/* Decimal digits only: 0 .. 65535. */
static bool read_port(uint16_t *port, const char *text)
{
    uint32_t value = 0;
    size_t length = strlen(text);
    if (length == 0 || length > 5 || strspn(text, "0123456789") != length)
        return false;
    for (size_t i = 0; i < length; i++)
        value = value * 10 + (uint32_t)(text[i] - '0');
    *port = (uint16_t)value;
    return value <= UINT16_MAX;
}

bool addr_read(struct mesh_addr *addr, const char *text, uint16_t port_default)
{
    char ip[64];
    size_t skip = text[0] == '[';
    const char *end = skip > 0 ? strchr(text, ']') : strrchr(text, ':');
    const char *port = end;
    if (skip > 0) {
        if (end == NULL || (end[1] != '\0' && end[1] != ':'))
            return false;
        port = end[1] == ':' ? end + 1 : NULL;
    } else if (end != NULL && strchr(text, ':') != end) {
        port = NULL; /* more than one colon: a bare IPv6 address */
        end = NULL;
    }
    size_t length = (end != NULL ? (size_t)(end - text) : strlen(text)) - skip;
    if (length == 0 || length >= sizeof ip)
        return false;
    memcpy(ip, text + skip, length);
    ip[length] = '\0';
    struct sockaddr_storage at;
    bool good = (skip == 0 && uv_ip4_addr(ip, 0, (struct sockaddr_in *)&at) == 0) ||
                ((skip > 0 || port == NULL) && uv_ip6_addr(ip, 0, (struct sockaddr_in6 *)&at) == 0);
    good = good && addr_of_socket(addr, (struct sockaddr *)&at);
    addr->port = port_default;
    return good && (port == NULL || read_port(&addr->port, port + 1));
}

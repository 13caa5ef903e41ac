/* admin_json.c - what the host's source says, as JSON: members, sessions, why. For the admin
 * endpoint, and as texts for the built-in server's resources. */
#include "http/admin_json.h"

#include <arpa/inet.h>
#include <stdlib.h>

static const char *state_name(enum member_state state)
{
    switch (state) {
    case MEMBER_UNKNOWN:
        break;
    case MEMBER_ALIVE:
        return "alive";
    case MEMBER_SUSPECT:
        return "suspect";
    case MEMBER_DEAD:
        return "dead";
    case MEMBER_LEFT:
        return "left";
    }
    return "unknown";
}

/* Zones come from other peers: what is no UTF-8 must not spoil the whole answer. */
static json_t *json_outside(const char *text)
{
    json_t *json = json_string(text);

    return json != NULL ? json : json_string("?");
}

static json_t *addr_json(const struct mesh_addr *addr)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    char text[INET6_ADDRSTRLEN] = "";

    if (memcmp(addr->ip, mapped, sizeof mapped) == 0) {
        inet_ntop(AF_INET, addr->ip + sizeof mapped, text, sizeof text);
        return json_sprintf("%s:%u", text, (unsigned)addr->port);
    }
    inet_ntop(AF_INET6, addr->ip, text, sizeof text);
    return json_sprintf("[%s]:%u", text, (unsigned)addr->port);
}

static json_t *member_json(const struct mesh_member *m)
{
    const struct mesh_record *r = m->record;
    return json_pack("{s:o,s:s,s:o,s:I,s:I,s:b,s:b,s:b,s:o,s:i,s:I}", "name", json_outside(r->name),
                     "state", state_name(m->state), "addr", addr_json(&r->addr), "generation",
                     (json_int_t)r->id.generation, "incarnation", (json_int_t)m->incarnation,
                     "serving", (int)r->serving, "draining", (int)r->draining, "hold", (int)r->hold,
                     "zone", json_outside(r->zone), "weight", (int)r->weight, "load",
                     (json_int_t)m->load);
}

/* A copy of the member table, to be freed in the same call (the records are the mesh's); NULL: no
 * memory. */
static struct mesh_member *members_copy(const struct admin_source *source, size_t *count)
{
    size_t max = source->members(source->context, NULL, 0);
    struct mesh_member *members = calloc(max == 0 ? 1 : max, sizeof *members);

    if (members == NULL)
        return NULL;
    *count = source->members(source->context, members, max);
    if (*count > max)
        *count = max;
    return members;
}

json_t *admin_members_json(const struct admin_source *source)
{
    size_t count = 0;
    struct mesh_member *members;
    json_t *list;

    if (source->members == NULL)
        return NULL;
    members = members_copy(source, &count);
    if (members == NULL)
        return NULL;
    list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, member_json(&members[i]));
    free(members);
    return json_pack("{s:s,s:o}", "self", source->self == NULL ? "" : source->self(source->context),
                     "members", list);
}

json_t *admin_sessions_json(const struct admin_source *source, uint32_t from, uint32_t limit)
{
    struct admin_session *sessions;
    json_t *list, *next;
    size_t count;

    if (source->sessions == NULL)
        return NULL;
    sessions = calloc(limit, sizeof *sessions);
    if (sessions == NULL)
        return NULL;
    count = source->sessions(source->context, from, sessions, limit);
    list = json_array();
    for (size_t i = 0; i < count && i < limit; i++) {
        const struct admin_session *s = &sessions[i];

        json_array_append_new(
            list, json_pack("{s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:b}", "session", s->id_hash, "epoch",
                            (json_int_t)s->epoch, "age_ms", (json_int_t)s->age_ms, "idle_ms",
                            (json_int_t)s->idle_ms, "calls", (json_int_t)s->calls, "exchanges_open",
                            (json_int_t)s->exchanges_open, "streams_open",
                            (json_int_t)s->streams_open, "handed_over", (int)s->was_handed));
    }
    free(sessions);
    next = count < limit ? json_null() : json_integer((json_int_t)from + (json_int_t)count);
    return json_pack("{s:I,s:o,s:o}", "from", (json_int_t)from, "next", next, "sessions", list);
}

static json_t *peer_json(const struct admin_peer *peer)
{
    if (peer->name[0] == '\0' && peer->generation == 0)
        return json_null();
    return json_pack("{s:o,s:I}", "name", json_outside(peer->name), "generation",
                     (json_int_t)peer->generation);
}

json_t *admin_why_json(const struct admin_source *source, const char *id)
{
    struct admin_why why = {.verdict = "foreign"};
    json_t *candidates = json_array();

    if (source->why == NULL) {
        json_decref(candidates);
        return NULL;
    }
    source->why(source->context, id, strlen(id), &why);
    for (size_t i = 0; i < why.candidates_count && i < ADMIN_CANDIDATES_MAX; i++)
        json_array_append_new(candidates, peer_json(&why.candidates[i]));
    return json_pack("{s:s,s:s,s:b,s:b,s:o,s:s,s:{s:I,s:o,s:b},s:o,s:o,s:o,s:o}", "session",
                     why.id_hash, "verdict", why.verdict, "well_formed", (int)why.well_formed,
                     "genuine", (int)why.genuine, "home", peer_json(&why.home), "home_state",
                     state_name(why.home_state), "record", "epoch", (json_int_t)why.epoch, "owner",
                     peer_json(&why.record_owner), "handed_over", (int)why.was_handed, "owner",
                     peer_json(&why.owner), "hint", peer_json(&why.hint), "claim",
                     peer_json(&why.claim), "candidates", candidates);
}

static json_t *key_json(const struct admin_key *key)
{
    json_t *refusing = json_array();

    for (uint32_t i = 0; i < key->refusing_count && i < ADMIN_REFUSING_MAX; i++)
        json_array_append_new(refusing, json_outside(key->refusing[i]));
    return json_pack("{s:o,s:s,s:b,s:b,s:i,s:i,s:o}", "key", json_sprintf("%08x", key->id), "use",
                     key->use, "seals", (int)key->seals, "wanted", (int)key->is_wanted, "sealing",
                     (int)key->sealing, "refusing_count", (int)key->refusing_count, "refusing",
                     refusing);
}

json_t *admin_keys_json(const struct admin_source *source)
{
    struct admin_key keys[ADMIN_KEYS_MAX];
    size_t count;
    json_t *list;

    if (source->keys == NULL)
        return NULL;
    count = source->keys(source->context, keys);
    list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, key_json(&keys[i]));
    return json_pack("{s:o}", "keys", list);
}

char *admin_json_text(json_t *json)
{
    char *text = json == NULL ? NULL : json_dumps(json, JSON_COMPACT);

    json_decref(json);
    return text;
}

char *admin_members_text(const struct admin_source *source)
{
    return admin_json_text(admin_members_json(source));
}

char *admin_member_text(const struct admin_source *source, const char *name, size_t length)
{
    size_t count = 0;
    struct mesh_member *members;
    json_t *found = NULL;

    if (source->members == NULL)
        return NULL;
    members = members_copy(source, &count);
    for (size_t i = 0; members != NULL && i < count && found == NULL; i++)
        if (strlen(members[i].record->name) == length &&
            memcmp(members[i].record->name, name, length) == 0)
            found = member_json(&members[i]);
    free(members);
    return admin_json_text(found);
}

char *admin_sessions_text(const struct admin_source *source, uint32_t from, uint32_t limit)
{
    if (limit == 0 || limit > ADMIN_PAGE_MAX)
        limit = ADMIN_PAGE_MAX;
    return admin_json_text(admin_sessions_json(source, from, limit));
}

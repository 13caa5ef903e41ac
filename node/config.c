/* config.c - see config.h: the table, how flags and environment are matched with it, and what must
 * hold between settings. How a value is read stands in config_value.c. */
#include "node/config.h"

#include <ctype.h>
#include <stdlib.h>
#include <unistd.h>

#include "mesh/wire/identity.h"
#include "node/config_value.h"

#define ENVIRONMENT_NAME_MAX 48
#define ECHO_MAX 60 /* bytes of a wrong value that a message repeats */
#define FIELD(member) offsetof(struct config, member), sizeof(((struct config *)0)->member)
#define DAY_MS 86400000u
#define HOUR_MS 3600000u

enum section { SECTION_PEER, SECTION_CLIENTS, SECTION_UPSTREAM, SECTION_LIMITS, SECTION_PROCESS };
static const char *const section_names[] = {"This peer and the mesh", "Clients and sessions",
                                            "The MCP server behind it", "Limits",
                                            "The process and its admin endpoint"};

/* Defaults stand here and nowhere else: a row's default is read as a given value would be. NULL:
 * the help says what holds without it. */
static const struct setting settings[] = {
    /* clang-format off */
    {"name", "NAME", NULL, SECTION_PEER, CONFIG_RUN, read_name, FIELD(name), 0, 0, NULL,
     "name of this peer, unique in the mesh (default: the first label of the host name)"},
    {"cluster", "LABEL", "default", SECTION_PEER, CONFIG_RUN, read_word,
     FIELD(host.mesh.cluster), 1, MESH_LABEL_MAX, NULL,
     "label of the mesh: peers with another one are not heard"},
    {"peer-listen", "ADDR:PORT", "127.0.0.1:7946", SECTION_PEER, CONFIG_RUN, read_addr,
     FIELD(host.peer_listen), 7946, 0, NULL,
     "where peers reach this one, UDP and TCP; anything but loopback needs --key-file"},
    {"advertise", "ADDR[:PORT]", NULL, SECTION_PEER, CONFIG_RUN, read_addr,
     FIELD(host.mesh.addr), 0, 0, NULL,
     "address that other peers dial (default: that of --peer-listen, or this machine's own)"},
    {"join", "HOST[:PORT]", NULL, SECTION_PEER, CONFIG_RUN, read_join, FIELD(joins), 0, 0, NULL,
     "a peer to ask for the mesh; of a name all addresses are asked; repeatable"},
    {"expect", "N", "0", SECTION_PEER, CONFIG_RUN, read_number, FIELD(host.expect), 0, 1024, NULL,
     "not ready until N peers are seen or 30 s are over"},
    {"key-file", "FILE", NULL, SECTION_PEER, CONFIG_RUN, read_path, FIELD(host.key_path), 0, 0, NULL,
     "keys of the mesh, up to 4, one a line as `meshd keygen` prints it; the first seals as soon as all "
     "peers accept it; after `verify ` one only verifies old session ids; read again when it "
     "changes, and on SIGHUP"},
    {"identity-file", "FILE", NULL, SECTION_PEER, CONFIG_RUN, read_path, FIELD(host.identity_path), 0, 0, NULL,
     "a key of this peer's own, as `meshd identity` prints it: what it says of itself is signed, and of others only "
     "what they signed is believed; peers without one are refused (default: none, as on every other peer)"},
    {"peer-ca", "FILE", NULL, SECTION_PEER, CONFIG_RUN, read_path, FIELD(host.ca_path), 0, 0, NULL,
     "with --identity-file: the public key that the certificates of all peers are signed with, as `meshd ca-public` "
     "prints it"},
    {"zone", "ZONE", NULL, SECTION_PEER, CONFIG_RUN, read_word, FIELD(host.mesh.zone), 0,
     MESH_ZONE_MAX, NULL, "where this peer runs: the first two candidates of a session are from different zones"},
    {"weight", "N", "1", SECTION_PEER, CONFIG_RUN, read_number, FIELD(host.mesh.weight), 1, 16,
     NULL, "share of the sessions that the ring gives to this peer"},
    {"placement", NULL, "local", SECTION_PEER, CONFIG_RUN, read_choice,
     FIELD(host.mesh.placement), 0, 0, "local|ring|least",
     "who gets a new session: the peer that received it, the ring's choice, the less loaded of two"},
    {"rebalance", NULL, "off", SECTION_PEER, CONFIG_RUN, read_choice,
     FIELD(host.mesh.rebalance), 0, 0, "off|idle",
     "whether sessions move to a peer that is new; idle: its share of those that are older than it, if "
     "nothing was asked in them for 5 s, at most 20 a second from each peer; what their MCP server kept in "
     "its memory is lost"},
    {"copies", "N", "2", SECTION_PEER, CONFIG_RUN, read_number, FIELD(host.mesh.copies), 0, 3,
     NULL, "peers that have a copy of a session, beside its own: it survives the loss of so many"},
    {"name-wait", "TIME", "60s", SECTION_PEER, CONFIG_RUN, read_time,
     FIELD(host.mesh.name_wait_ms), 1000, HOUR_MS, NULL,
     "how long to wait, unannounced, for a living peer of the same name to go"},
    {"silent-window", "TIME", "60s", SECTION_PEER, CONFIG_RUN, read_time,
     FIELD(host.mesh.silent_window_ms), 1000, HOUR_MS, NULL,
     "for so long after a peer fell silent, a session of which nobody has a record is not answered "
     "404"},

    {"listen", "ADDR:PORT", "127.0.0.1:8080", SECTION_CLIENTS, CONFIG_RUN, read_addr,
     FIELD(host.listen), 8080, 0, NULL, "where MCP clients or their balancer connect"},
    {"mcp-path", "PATH", "/mcp", SECTION_CLIENTS, CONFIG_RUN, read_mcp_path,
     FIELD(host.gate.mcp_path), 0, 0, NULL, "path of the Streamable HTTP endpoint"},
    {"sse-path", "PATH", "/sse", SECTION_CLIENTS, CONFIG_RUN, read_mcp_path,
     FIELD(host.gate.sse_path), 0, 0, NULL, "path of the stream for clients of HTTP+SSE (2024-11-05)"},
    {"messages-path", "PATH", "/messages", SECTION_CLIENTS, CONFIG_RUN, read_mcp_path,
     FIELD(host.gate.messages_path), 0, 0, NULL, "path of their messages"},
    {"public-prefix", "PATH", NULL, SECTION_CLIENTS, CONFIG_RUN, read_mcp_path,
     FIELD(host.mcp.public_prefix), 0, 0, NULL,
     "prefix that an ingress cuts off, for the address that clients of HTTP+SSE are told (default: "
     "a relative one)"},
    {"allow-host", "HOST[:PORT]", NULL, SECTION_CLIENTS, CONFIG_RUN, read_host, FIELD(hosts), 0, 0,
     NULL, "a Host that clients may name, `*`: any; repeatable (default: loopback names where "
     "--listen is loopback, else any)"},
    {"allow-origin", "ORIGIN", NULL, SECTION_CLIENTS, CONFIG_RUN, read_origin, FIELD(origins), 0,
     0, NULL, "an Origin that browsers may come from, `*`: any; repeatable (default: the "
     "endpoint's own)"},
    {"bind-session", "auto|token|header:NAME|none", "auto", SECTION_CLIENTS, CONFIG_RUN, read_bind,
     FIELD(host.mcp.bind), 0, 0, NULL,
     "what a session belongs to: issuer and subject of a JWT, the whole Authorization header, "
     "another header, nobody"},
    {"affinity-header", "NAME", NULL, SECTION_CLIENTS, CONFIG_RUN, read_header,
     FIELD(host.mcp.affinity_header), 0, 0, NULL,
     "2026-07-28: requests with an equal value of this header (`Mcp-Param-NAME`) are served by one "
     "peer; compared as sent, and what a peer keeps for a value is lost to it when peers come or go "
     "(default: none)"},
    {"session-idle", "TIME", "30m", SECTION_CLIENTS, CONFIG_RUN, read_time,
     FIELD(host.mesh.session_idle_ms), 1000, 30 * (uint64_t)DAY_MS, NULL,
     "an unused session ends after"},
    {"session-max", "TIME", "24h", SECTION_CLIENTS, CONFIG_RUN, read_time,
     FIELD(host.mesh.session_max_ms), 1000, 365 * (uint64_t)DAY_MS, NULL,
     "every session ends after"},
    {"park-timeout", "TIME", "10s", SECTION_CLIENTS, CONFIG_RUN, read_time,
     FIELD(host.mesh.park_ms), 100, 10 * 60000, NULL,
     "how long a request waits while it is not known who owns its session"},
    {"retry-hints", NULL, "on", SECTION_CLIENTS, CONFIG_RUN, read_choice,
     FIELD(host.mesh.retry_hints), 0, 0, "off|on",
     "whether a tool marked read-only or idempotent may run again after a loss"},
    {"on-owner-loss", NULL, "resume", SECTION_CLIENTS, CONFIG_RUN, read_choice,
     FIELD(host.mesh.on_owner_loss), 0, 0, "resume|end",
     "what becomes of a session whose peer, or MCP server, is lost: it goes on with another one, "
     "which is told the handshake, log level and subscriptions again; or it ends, for servers whose "
     "memory must not begin anew unnoticed (then no copies are kept either)"},

    {"upstream", "URL", NULL, SECTION_UPSTREAM, CONFIG_RUN, read_upstream,
     FIELD(host.upstream_url), 0, 0, NULL,
     "MCP server to serve, http://HOST[:PORT]/PATH (default: the command after `--`, one process a "
     "session; with neither the built-in server)"},
    {"upstream-transport", NULL, "auto", SECTION_UPSTREAM, CONFIG_RUN, read_choice,
     FIELD(host.upstream_transport), 0, 0, "auto|http|sse",
     "what it speaks: Streamable HTTP, or HTTP+SSE of 2024-11-05; auto: the latter if its path "
     "ends in `/sse`"},
    {"max-children", "N", "256", SECTION_UPSTREAM, CONFIG_RUN, read_number,
     FIELD(host.children_max), 1, 10000, NULL, "processes of a stdio server at once"},
    {"spare", "N", "0", SECTION_UPSTREAM, CONFIG_RUN, read_number, FIELD(host.spares), 0, 256,
     NULL, "processes of a stdio server that are started before a session needs them; they count "
     "against --max-children"},

    {"rate", "N", "0", SECTION_LIMITS, CONFIG_RUN, read_number, FIELD(host.mesh.rate), 0, 1000000,
     NULL, "requests a second that this peer takes of one principal (--bind-session; else of the same "
     "credentials, else of a session), the others get 429; 0: any number"},
    {"rate-burst", "N", "0", SECTION_LIMITS, CONFIG_RUN, read_number, FIELD(host.mesh.rate_burst), 0,
     1000000, NULL, "of which so many may come at once; 0: twice --rate"},
    {"unknown-rate", "N", "1000", SECTION_LIMITS, CONFIG_RUN, read_number,
     FIELD(host.mesh.unknown_rate), 0, 1000000, NULL,
     "session ids a second, and ten times as many at once, that are answered 404: unknown, ended or "
     "another's; whoever guesses more gets 429; 0: any number"},
    {"max-sessions", "N", "100000", SECTION_LIMITS, CONFIG_RUN, read_number,
     FIELD(host.mesh.sessions_max), 1, 1000000, NULL, "sessions owned by this peer"},
    {"max-connections", "N", "10000", SECTION_LIMITS, CONFIG_RUN, read_number,
     FIELD(host.connections_max), 1, 100000, NULL,
     "connections of clients; fewer if the process may not open so many files; one more takes the "
     "place of whoever waits longest without a whole request"},
    {"max-connections-per-address", "N", "0", SECTION_LIMITS, CONFIG_RUN, read_number,
     FIELD(host.connections_per_address_max), 0, 100000, NULL,
     "of them from one address, 0: any number; behind a balancer all clients share its address"},
    {"memory", "SIZE", "256MiB", SECTION_LIMITS, CONFIG_RUN, read_size,
     FIELD(host.mesh.memory_max), 16u << 20, (uint64_t)64 << 30, NULL,
     "bytes of requests and answers held at once, all together"},

    {"admin", "ADDR:PORT", "127.0.0.1:9090", SECTION_PROCESS, CONFIG_RUN | CONFIG_ASK, read_admin,
     FIELD(admin), 9090, 0, NULL, "the admin endpoint; `none`: there is none"},
    {"admin-token-file", "FILE", NULL, SECTION_PROCESS, CONFIG_RUN | CONFIG_ASK, read_path,
     FIELD(host.admin_token_path), 0, 0, NULL,
     "tokens for /v1 of the admin endpoint, one a line (default: it answers on loopback only)"},
    {"drain-timeout", "TIME", "25s", SECTION_PROCESS, CONFIG_RUN, read_time,
     FIELD(host.drain_timeout_ms), 0, HOUR_MS, NULL, "after SIGTERM, the process ends at the latest"},
    {"drain-grace", "TIME", "5s", SECTION_PROCESS, CONFIG_RUN, read_time,
     FIELD(host.drain_grace_ms), 0, 10 * 60000, NULL,
     "after SIGTERM, clients are still accepted for so long, for the balancer's sake"},
    {"log-level", NULL, "info", SECTION_PROCESS, CONFIG_RUN, read_choice, FIELD(log_level), 0, 0,
     "debug|info|warn|error", "the least that is logged"},
    {"log-format", NULL, "text", SECTION_PROCESS, CONFIG_RUN, read_choice, FIELD(log_json), 0, 0,
     "text|json", "of the lines on standard error"},
    /* clang-format on */
};
#define SETTINGS_COUNT (sizeof settings / sizeof settings[0])

/* ---- messages: one line each ----------------------------------------------------------------- */

struct reader {
    struct config *config;
    enum config_use use;
    char *error;
    bool is_wrong;
    bool was_given[SETTINGS_COUNT];      /* as a flag */
    bool is_environment[SETTINGS_COUNT]; /* its value came from there */
};

static void environment_name(const struct setting *setting, char name[ENVIRONMENT_NAME_MAX])
{
    size_t at = (size_t)snprintf(name, ENVIRONMENT_NAME_MAX, "MESH_%s", setting->name);
    for (size_t i = 0; i < at; i++)
        name[i] = name[i] == '-' ? '_' : (char)toupper((unsigned char)name[i]);
}

void config_error(char error[CONFIG_ERROR_MAX], const char *what, size_t what_length,
                  const char *value, const char *why)
{
    int cut = what_length > ECHO_MAX ? ECHO_MAX : (int)what_length;
    if (value == NULL)
        snprintf(error, CONFIG_ERROR_MAX, "meshd: %.*s: %s", cut, what, why);
    else
        snprintf(error, CONFIG_ERROR_MAX, "meshd: %.*s: '%.*s'%s %s", cut, what, ECHO_MAX, value,
                 strlen(value) > ECHO_MAX ? "..." : "", why);
    for (char *at = error; *at != '\0'; at++) {
        if (*at < ' ' || *at > '~')
            *at = '?';
    }
}

/* The first complaint stays. */
static void complain(struct reader *reader, const char *what, size_t what_length, const char *value,
                     const char *why)
{
    if (!reader->is_wrong)
        config_error(reader->error, what, what_length, value, why);
    reader->is_wrong = true;
}

static void complain_of(struct reader *reader, const struct setting *setting, const char *value,
                        const char *why)
{
    char name[ENVIRONMENT_NAME_MAX];
    if (reader->is_environment[setting - settings])
        environment_name(setting, name);
    else
        snprintf(name, sizeof name, "--%s", setting->name);
    /* What stands where a file or a URL should may well be a secret. */
    bool is_shown = setting->read != read_path && setting->read != read_upstream;
    complain(reader, name, strlen(name), is_shown ? value : NULL, why);
}

/* ---- flags and environment ------------------------------------------------------------------- */

static bool is_list(const struct setting *setting)
{
    return setting->size == sizeof(struct config_list);
}

static void give(struct reader *reader, const struct setting *setting, const char *value)
{
    char buffer[VALUE_WHY_MAX];
    const char *why = setting->read(reader->config, setting, value, buffer);
    if (why != NULL)
        complain_of(reader, setting, value, why);
}

static void give_list(struct reader *reader, const struct setting *setting, const char *values)
{
    struct config_list *list = value_field(reader->config, setting);
    list->split = strdup(values);
    if (list->split == NULL) {
        complain_of(reader, setting, NULL, "no memory");
        return;
    }
    char *at = list->split;
    while (at != NULL && values[0] != '\0') {
        char *value = strsep(&at, ",");
        give(reader, setting, value);
    }
}

static const struct setting *setting_named(const struct reader *reader, const char *name,
                                           size_t length)
{
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        if ((settings[i].uses & reader->use) != 0 && strlen(settings[i].name) == length &&
            memcmp(settings[i].name, name, length) == 0)
            return &settings[i];
    }
    return NULL;
}

/* What somebody may have meant who wants to give a secret (row C3). */
static bool is_secret(const char *name, size_t length)
{
    static const char *const names[] = {"key", "keys", "token", "admin-token", "secret"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strlen(names[i]) == length && memcmp(names[i], name, length) == 0)
            return true;
    }
    return false;
}

/* `--name value` or `--name=value`; returns how many words were used. */
static int read_flag(struct reader *reader, char **argv)
{
    const char *name = argv[0] + 2;
    size_t length = strcspn(name, "=");
    const struct setting *setting = setting_named(reader, name, length);
    if (argv[0][1] != '-' || setting == NULL) {
        complain(reader, argv[0], strcspn(argv[0], "="), NULL,
                 is_secret(name, length)
                     ? "secrets are not taken from the command line, only from files"
                     : "no such flag; meshd help lists them all");
        return 1;
    }
    bool *was_given = &reader->was_given[setting - settings];
    const char *value = name[length] == '=' ? name + length + 1 : argv[1];
    if (*was_given && !is_list(setting))
        complain_of(reader, setting, NULL, "given twice");
    else if (value == NULL || (value == argv[1] && strncmp(value, "--", 2) == 0))
        complain_of(reader, setting, NULL, "needs a value");
    else
        give(reader, setting, value);
    *was_given = true;
    return value == argv[1] ? 2 : 1;
}

static void read_argument(struct reader *reader, const char *word)
{
    if (reader->use == CONFIG_RUN)
        complain(reader, word, strlen(word), NULL,
                 "not expected; the command of a stdio server stands behind --");
    else if (reader->config->argument == NULL)
        reader->config->argument = word;
    else if (reader->config->argument2 == NULL)
        reader->config->argument2 = word;
    else
        complain(reader, word, strlen(word), NULL, "one argument too many");
}

/* Behind `--`: the command of a stdio server; arguments that begin with a dash. */
static void read_rest(struct reader *reader, char **argv)
{
    if (reader->use == CONFIG_RUN) {
        reader->config->host.command = argv;
        if (argv[0] == NULL)
            complain(reader, "--", 2, NULL, "needs a command after it");
        return;
    }
    for (; *argv != NULL; argv++)
        read_argument(reader, *argv);
}

static enum config_result read_words(struct reader *reader, int argc, char **argv)
{
    for (int i = 0; i < argc && !reader->is_wrong;) {
        char *word = argv[i];
        if (strcmp(word, "--") == 0) {
            read_rest(reader, argv + i + 1);
            break;
        }
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
            return CONFIG_HELP;
        if (strcmp(word, "--version") == 0)
            return CONFIG_VERSION;
        if (word[0] == '-' && !(reader->use == CONFIG_ASK && strcmp(word, "--json") == 0)) {
            i += read_flag(reader, argv + i);
            continue;
        }
        if (word[0] == '-')
            reader->config->json = true;
        else
            read_argument(reader, word);
        i++;
    }
    return CONFIG_GOOD;
}

static const char *environment_value(char *const *environment, const char *name)
{
    size_t length = strlen(name);
    for (; *environment != NULL; environment++) {
        if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=')
            return *environment + length + 1;
    }
    return NULL;
}

static void read_environment(struct reader *reader, char *const *environment)
{
    for (size_t i = 0; i < SETTINGS_COUNT && !reader->is_wrong; i++) {
        const struct setting *setting = &settings[i];
        char name[ENVIRONMENT_NAME_MAX];
        environment_name(setting, name);
        const char *value = environment_value(environment, name);
        if (value == NULL || reader->was_given[i] || (setting->uses & reader->use) == 0)
            continue;
        reader->is_environment[i] = true;
        if (is_list(setting))
            give_list(reader, setting, value);
        else
            give(reader, setting, value);
    }
}

/* ---- what holds between settings ------------------------------------------------------------- */

static const struct setting *setting_of(const struct reader *reader, const char *name)
{
    return setting_named(reader, name, strlen(name));
}

static bool is_set(const struct reader *reader, const struct setting *setting)
{
    return reader->was_given[setting - settings] || reader->is_environment[setting - settings];
}

static void find_name(struct reader *reader)
{
    struct config *config = reader->config;
    char host[256] = "";
    if (config->name[0] != '\0')
        return;
    if (gethostname(host, sizeof host - 1) != 0)
        host[0] = '\0';
    host[strcspn(host, ".")] = '\0';
    for (char *at = host; *at != '\0'; at++)
        *at = (char)tolower((unsigned char)*at);
    char buffer[VALUE_WHY_MAX];
    const struct setting *setting = setting_of(reader, "name");
    if (read_name(config, setting, host, buffer) != NULL)
        complain_of(reader, setting, NULL, "the host name cannot be one: give a name");
}

static void read_keys(struct reader *reader)
{
    struct config *config = reader->config;
    struct mesh_config *mesh = &config->host.mesh;
    struct secret_keys keys = {.count = 0};
    char why[SECRETS_WHY_MAX];
    if (config->host.key_path != NULL && secrets_read_keys(&keys, config->host.key_path, why) < 0) {
        complain_of(reader, setting_of(reader, "key-file"), NULL, why);
        return;
    }
    memcpy(mesh->keys, keys.keys, sizeof mesh->keys);
    mesh->keys_count = keys.count;
    mesh->verify_only = keys.verify_only;
    secrets_wipe_keys(&keys);
}

static void read_identity(struct reader *reader)
{
    struct config *config = reader->config;
    struct mesh_config *mesh = &config->host.mesh;
    const char *path = config->host.identity_path, *ca_path = config->host.ca_path;
    struct secret_identity identity = {.name = ""};
    struct identity made = {.ca = {0}};
    char why[SECRETS_WHY_MAX];
    if (path == NULL && ca_path == NULL)
        return;
    if (path == NULL || ca_path == NULL) {
        complain_of(reader, setting_of(reader, path == NULL ? "peer-ca" : "identity-file"), NULL,
                    path == NULL ? "needs --identity-file" : "needs --peer-ca");
    } else if (secrets_read_identity(&identity, path, why) < 0) {
        complain_of(reader, setting_of(reader, "identity-file"), NULL, why);
    } else if (secrets_read_ca(&identity, ca_path, why) < 0) {
        complain_of(reader, setting_of(reader, "peer-ca"), NULL, why);
    } else if (strcmp(identity.name, config->name) != 0) {
        complain_of(reader, setting_of(reader, "identity-file"), identity.name,
                    "is not the name of this peer");
    } else if (identity_init(&made, identity.secret, identity.certificate, identity.ca,
                             identity.name, mesh->cluster) < 0) {
        complain_of(reader, setting_of(reader, "identity-file"), NULL,
                    "has a certificate that is not of --peer-ca for this name and key");
    } else {
        mesh->has_identity = true;
        memcpy(mesh->identity_secret, identity.secret, sizeof mesh->identity_secret);
        memcpy(mesh->identity_certificate, identity.certificate, sizeof mesh->identity_certificate);
        memcpy(mesh->peer_ca, identity.ca, sizeof mesh->peer_ca);
    }
    identity_deinit(&made);
    explicit_bzero(&identity, sizeof identity);
}

static void check_tokens(struct reader *reader)
{
    char token[SECRETS_TOKEN_MAX + 1], why[SECRETS_WHY_MAX];
    const char *path = reader->config->host.admin_token_path;
    if (path != NULL && secrets_read_token(token, path, why) < 0)
        complain_of(reader, setting_of(reader, "admin-token-file"), NULL, why);
    explicit_bzero(token, sizeof token);
}

/* Without a key whoever reaches the address is a peer (row C4). */
static void check_reach(struct reader *reader)
{
    static const char needs_key[] = "is not loopback: that needs a key file (--key-file)";
    struct config *config = reader->config;
    const struct mesh_addr *advertised = &config->host.mesh.addr;
    const struct setting *advertise = setting_of(reader, "advertise");
    bool is_advertised = is_set(reader, advertise);
    char text[ADDR_TEXT_MAX];
    if (is_advertised && addr_is_any(advertised))
        complain_of(reader, advertise, addr_text(advertised, text),
                    "is no address that others can dial");
    if (config->host.mesh.keys_count > 0)
        return;
    if (!addr_is_loopback(&config->host.peer_listen))
        complain_of(reader, setting_of(reader, "peer-listen"),
                    addr_text(&config->host.peer_listen, text), needs_key);
    if (is_advertised && !addr_is_loopback(advertised))
        complain_of(reader, advertise, addr_text(advertised, text), needs_key);
}

/* Three routes, three paths. */
static void check_paths(struct reader *reader)
{
    const struct gate_config *gate = &reader->config->host.gate;
    if (reader->is_wrong)
        return;
    if (strcmp(gate->sse_path, gate->mcp_path) == 0)
        complain_of(reader, setting_of(reader, "sse-path"), gate->sse_path, "is --mcp-path, too");
    else if (strcmp(gate->messages_path, gate->mcp_path) == 0 ||
             strcmp(gate->messages_path, gate->sse_path) == 0)
        complain_of(reader, setting_of(reader, "messages-path"), gate->messages_path,
                    "is another path, too");
}

static void check_run(struct reader *reader)
{
    struct config *config = reader->config;
    struct host_config *host = &config->host;
    if (host->upstream_url != NULL && host->command != NULL)
        complain_of(reader, setting_of(reader, "upstream"), NULL,
                    "not together with a command after --");
    find_name(reader);
    if (!reader->is_wrong)
        read_keys(reader);
    read_identity(reader);
    if (!reader->is_wrong)
        check_tokens(reader);
    if (!reader->is_wrong)
        check_reach(reader);
    host->mesh.name = config->name;
    host->mcp.mcp_path = host->gate.mcp_path;
    host->mcp.sse_path = host->gate.sse_path;
    host->mcp.messages_path = host->gate.messages_path;
    check_paths(reader);
    host->joins = config->joins.items;
    host->joins_count = config->joins.count;
    host->gate.hosts = config->hosts.items;
    host->gate.hosts_count = config->hosts.count;
    host->gate.origins = config->origins.items;
    host->gate.origins_count = config->origins.count;
    if (config->has_admin)
        host->admin_listen = addr_text(&config->admin, config->admin_text);
}

enum config_result config_read(struct config *config, enum config_use use, int argc, char **argv,
                               char *const *environment, char error[CONFIG_ERROR_MAX])
{
    struct reader reader = {.config = config, .use = use, .error = error};
    memset(config, 0, sizeof *config);
    host_config_defaults(&config->host);
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        if (settings[i].fallback != NULL)
            give(&reader, &settings[i], settings[i].fallback);
    }
    enum config_result result = read_words(&reader, argc, argv);
    if (result != CONFIG_GOOD)
        return result;
    if (!reader.is_wrong)
        read_environment(&reader, environment);
    if (!reader.is_wrong && use == CONFIG_RUN)
        check_run(&reader);
    return reader.is_wrong ? CONFIG_WRONG : CONFIG_GOOD;
}

void config_deinit(struct config *config)
{
    free(config->joins.split);
    free(config->origins.split);
    free(config->hosts.split);
    explicit_bzero(config, sizeof *config);
}

/* ---- for readers ----------------------------------------------------------------------------- */

static const char *value_text(const struct setting *setting)
{
    return setting->choices != NULL ? setting->choices : setting->value;
}

/* Words of `text`, in lines of at most `width` columns that begin after `indent` blanks. */
static void print_wrapped(FILE *to, const char *text, int indent, int width)
{
    int column = width;
    for (text += strspn(text, " "); *text != '\0'; text += strspn(text, " ")) {
        int length = (int)strcspn(text, " ");
        if (column + 1 + length > width) {
            fprintf(to, "\n%*s", indent, "");
            column = indent;
        } else {
            fputc(' ', to);
            column++;
        }
        fprintf(to, "%.*s", length, text);
        column += length;
        text += length;
    }
    fputc('\n', to);
}

void config_print_help(FILE *to)
{
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        const struct setting *setting = &settings[i];
        char text[512];
        if (i == 0 || setting[-1].section != setting->section)
            fprintf(to, "\n%s:\n", section_names[setting->section]);
        fprintf(to, "  --%s %s", setting->name, value_text(setting));
        snprintf(text, sizeof text, setting->fallback != NULL ? "%s (default: %s)" : "%s",
                 setting->help, setting->fallback);
        print_wrapped(to, text, 6, 96);
    }
    fprintf(to,
            "\nEach is also a variable: --peer-listen is MESH_PEER_LISTEN, a repeatable one takes "
            "its values\nseparated by commas. A flag counts before a variable. TIME: 250ms, 10s, "
            "30m, 24h, 2d.\nSIZE: bytes, or with KiB, MiB, GiB. ADDR: 127.0.0.1 or [::1].\n");
}

/* A bar would end the cell. */
static void print_cell(FILE *to, const char *text)
{
    for (; *text != '\0'; text++)
        fprintf(to, *text == '|' ? "\\%c" : "%c", *text);
}

void config_print_markdown(FILE *to)
{
    fprintf(to, "| Flag | Variable | Default | Meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        const struct setting *setting = &settings[i];
        char name[ENVIRONMENT_NAME_MAX];
        environment_name(setting, name);
        fprintf(to, "| `--%s ", setting->name);
        print_cell(to, value_text(setting));
        fprintf(to, "` | `%s` | ", name);
        if (setting->fallback != NULL)
            fprintf(to, "`%s`", setting->fallback);
        fprintf(to, " | ");
        print_cell(to, setting->help);
        fprintf(to, " |\n");
    }
}

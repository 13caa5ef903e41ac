/* test_config.c - settings: flags, environment, precedence, what is refused and in which words, and
 * the files that hold secrets. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/config.h"
#include "node/upstream.h"

#define WORDS_MAX 160
#define KEY_A "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define LONG_32 "0123456789abcdef0123456789abcdef"

static struct config config;
static char error[CONFIG_ERROR_MAX];
static char *words[WORDS_MAX + 1];
static char words_text[8192];

/* Words separated by blanks; `~` stands for a blank inside one, `^` for nothing at all. */
static int split(const char *text)
{
    int count = 0;
    assert_true(strlen(text) < sizeof words_text);
    memcpy(words_text, text, strlen(text) + 1);
    for (char *at = words_text, *word; (word = strsep(&at, " ")) != NULL;) {
        assert_true(count < WORDS_MAX);
        for (char *c = word; *c != '\0'; c++)
            *c = *c == '~' ? ' ' : *c == '^' ? '\0' : *c;
        if (at != NULL || word[0] != '\0' || count > 0)
            words[count++] = word;
    }
    words[count] = NULL;
    return count;
}

static enum config_result read_use(enum config_use use, const char *text, char *const *environment)
{
    char *const none[] = {NULL};
    config_deinit(&config);
    memset(error, 0, sizeof error);
    return config_read(&config, use, split(text), words, environment != NULL ? environment : none,
                       error);
}

static enum config_result read_flags(const char *text)
{
    return read_use(CONFIG_RUN, text, NULL);
}

static void assert_one_line(const char *text, const char *of)
{
    size_t length = strlen(error);
    if (strncmp(error, "meshd: ", 7) != 0 || strstr(error, of) == NULL)
        fail_msg("%s: '%s' does not name %s", text, error, of);
    assert_true(length > 7 && length < CONFIG_ERROR_MAX - 1);
    for (size_t i = 0; i < length; i++)
        assert_true(error[i] >= ' ' && error[i] <= '~');
}

static void refuse(const char *text, const char *of)
{
    if (read_flags(text) != CONFIG_WRONG)
        fail_msg("%s: not refused", text);
    assert_one_line(text, of);
}

static void take_with(const char *text, char *const *environment)
{
    if (read_use(CONFIG_RUN, text, environment) != CONFIG_GOOD)
        fail_msg("%s: %s", text, error);
}

static void take(const char *text)
{
    take_with(text, NULL);
}

static void assert_addr(const struct mesh_addr *addr, const char *text)
{
    char got[ADDR_TEXT_MAX];
    assert_string_equal(addr_text(addr, got), text);
}

/* ---- what settings do ----------------------------------------------------------------------- */

static void test_the_path_of_an_upstream_tells_its_transport_unless_it_is_said(void **state)
{
    (void)state;
    static const struct {
        const char *flags;
        bool is_sse;
    } rows[] = {
        {"--upstream http://a/mcp", false},
        {"--upstream http://a/sse", true},
        {"--upstream http://a:80/x/sse?key=/mcp", true},
        {"--upstream http://a/sse/", true},
        {"--upstream http://a/mcp?x=/sse", false},
        {"--upstream http://a/asse", false},
        {"--upstream http://a/sse/mcp", false},
        {"--upstream http://sse", false},
        {"--upstream http://sse/", false},
        {"--upstream http://a/sse --upstream-transport auto", true},
        {"--upstream http://a/sse --upstream-transport http", false},
        {"--upstream http://a/mcp --upstream-transport sse", true},
        {"--upstream-transport sse", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[160];
        snprintf(text, sizeof text, "--name a %s", rows[i].flags);
        take(text);
        if (upstream_speaks_sse(&config.host) != rows[i].is_sse)
            fail_msg("%s: the other transport", rows[i].flags);
    }
}

static void test_without_settings_a_peer_listens_on_loopback_only(void **state)
{
    (void)state;
    take("--name a");
    assert_addr(&config.host.listen, "127.0.0.1:8080");
    assert_addr(&config.host.peer_listen, "127.0.0.1:7946");
    assert_string_equal(config.host.admin_listen, "127.0.0.1:9090");
    assert_string_equal(config.host.mesh.name, "a");
    assert_string_equal(config.host.mesh.cluster, "default");
    assert_string_equal(config.host.gate.mcp_path, "/mcp");
    assert_string_equal(config.host.mcp.mcp_path, "/mcp");
    assert_int_equal(config.host.mesh.session_idle_ms, 30 * 60 * 1000);
    assert_int_equal(config.host.mesh.session_max_ms, 24 * 3600 * 1000);
    assert_int_equal(config.host.mesh.park_ms, 10000);
    assert_int_equal(config.host.mesh.memory_max, 256u << 20);
    assert_int_equal(config.host.drain_timeout_ms, 25000);
    assert_int_equal(config.host.drain_grace_ms, 5000);
    assert_int_equal(config.host.mesh.weight, 1);
    assert_int_equal(config.host.mesh.placement, MESH_PLACE_LOCAL);
    assert_int_equal(config.host.mcp.bind, MCP_BIND_AUTO);
    assert_true(config.host.mesh.retry_hints);
    assert_int_equal(config.host.mesh.on_owner_loss, MESH_LOSS_RESUME);
    assert_int_equal(config.log_level, LOG_INFO);
    assert_false(config.log_json);
    assert_null(config.host.upstream_url);
    assert_null(config.host.command);
    assert_int_equal(config.host.mesh.addr.port, 0);
}

static void test_each_setting_reaches_its_place(void **state)
{
    (void)state;
    take("--name=peer-1 --cluster blue --listen 0.0.0.0:1 --peer-listen [::1]:65535 "
         "--advertise 127.0.0.2:7 --admin [::1]:0 --join a.example:1 --join 10.0.0.1 --expect 3 "
         "--placement least --session-idle 90s --session-max 2d --bind-session header:X-User "
         "--affinity-header Mcp-Param-Doc "
         "--allow-origin https://a.example --allow-origin null --allow-host a.example:80 "
         "--park-timeout 250ms --drain-timeout 0 --drain-grace 0s --retry-hints off "
         "--on-owner-loss end "
         "--name-wait 1s --silent-window 2m --zone z1 --weight 16 --max-sessions 7 "
         "--copies 3 --max-children 8 --spare 3 --max-connections 9 --max-connections-per-address "
         "5 --memory "
         "1GiB "
         "--mcp-path /a/b --log-level error "
         "--log-format json --upstream http://127.0.0.1:3000/mcp");
    const struct host_config *host = &config.host;
    assert_string_equal(host->mesh.name, "peer-1");
    assert_string_equal(host->mesh.cluster, "blue");
    assert_addr(&host->listen, "0.0.0.0:1");
    assert_addr(&host->peer_listen, "[::1]:65535");
    assert_addr(&host->mesh.addr, "127.0.0.2:7");
    assert_string_equal(host->admin_listen, "[::1]:0");
    assert_int_equal(host->joins_count, 2);
    assert_string_equal(host->joins[1], "10.0.0.1");
    assert_int_equal(host->expect, 3);
    assert_int_equal(host->mesh.placement, MESH_PLACE_LEAST);
    assert_int_equal(host->mesh.copies, 3);
    assert_int_equal(host->mesh.session_idle_ms, 90000);
    assert_int_equal(host->mesh.session_max_ms, 2 * 86400000);
    assert_int_equal(host->mcp.bind, MCP_BIND_HEADER);
    assert_string_equal(host->mcp.bind_header, "X-User");
    assert_string_equal(host->mcp.affinity_header, "Mcp-Param-Doc");
    assert_int_equal(host->gate.origins_count, 2);
    assert_string_equal(host->gate.origins[0], "https://a.example");
    assert_int_equal(host->gate.hosts_count, 1);
    assert_string_equal(host->gate.hosts[0], "a.example:80");
    assert_int_equal(host->mesh.park_ms, 250);
    assert_int_equal(host->drain_timeout_ms, 0);
    assert_int_equal(host->drain_grace_ms, 0);
    assert_false(host->mesh.retry_hints);
    assert_int_equal(host->mesh.on_owner_loss, MESH_LOSS_END);
    assert_int_equal(host->mesh.name_wait_ms, 1000);
    assert_int_equal(host->mesh.silent_window_ms, 120000);
    assert_string_equal(host->mesh.zone, "z1");
    assert_int_equal(host->mesh.weight, 16);
    assert_int_equal(host->mesh.sessions_max, 7);
    assert_int_equal(host->children_max, 8);
    assert_int_equal(host->spares, 3);
    assert_int_equal(host->connections_max, 9);
    assert_int_equal(host->connections_per_address_max, 5);
    assert_int_equal(host->mesh.memory_max, 1u << 30);
    assert_string_equal(host->mcp.mcp_path, "/a/b");
    assert_int_equal(config.log_level, LOG_ERROR);
    assert_true(config.log_json);
    assert_string_equal(host->upstream_url, "http://127.0.0.1:3000/mcp");
}

static void test_a_command_stands_behind_two_dashes_and_is_not_looked_into(void **state)
{
    (void)state;
    take("--name a -- server --listen 0x50 --help");
    assert_string_equal(config.host.command[0], "server");
    assert_string_equal(config.host.command[3], "--help");
    assert_null(config.host.command[4]);
}

static void test_admin_can_be_off(void **state)
{
    (void)state;
    take("--name a --admin none");
    assert_null(config.host.admin_listen);
    take("--name a --admin=");
    assert_null(config.host.admin_listen);
}

static void test_without_a_name_that_of_the_host_is_taken(void **state)
{
    (void)state;
    char host[256] = "";
    size_t length;
    assert_int_equal(gethostname(host, sizeof host - 1), 0);
    length = strcspn(host, ".");
    if (read_flags("--admin none") == CONFIG_WRONG) {
        assert_one_line(host, "--name");
        return;
    }
    assert_int_equal(strlen(config.host.mesh.name), length);
    assert_int_equal(strncasecmp(config.host.mesh.name, host, length), 0);
}

static void test_a_flag_counts_before_a_variable_and_that_before_the_default(void **state)
{
    (void)state;
    char *environment[] = {"MESH_NAME=from-env", "MESH_SESSION_IDLE=5m", "MESH_PARK_TIMEOUT=1s",
                           "MESH_JOIN=a:1,b:2",  "MESH_WEIGHT=not",      "HOME=/",
                           "MESH_WEIGHTY=9",     "MESH_ALLOW_HOST=",     NULL};
    take_with("--park-timeout 2s --weight 3", environment);
    assert_string_equal(config.host.mesh.name, "from-env");
    assert_int_equal(config.host.mesh.session_idle_ms, 300000);
    assert_int_equal(config.host.mesh.park_ms, 2000);
    assert_int_equal(config.host.mesh.session_max_ms, 24 * 3600 * 1000);
    assert_int_equal(config.host.mesh.weight, 3);
    assert_int_equal(config.host.joins_count, 2);
    assert_string_equal(config.host.joins[0], "a:1");
    assert_string_equal(config.host.joins[1], "b:2");
    assert_int_equal(config.host.gate.hosts_count, 0);
    take_with("--join c:3 --weight 1", environment);
    assert_int_equal(config.host.joins_count, 1);
    assert_string_equal(config.host.joins[0], "c:3");
}

/* ---- what is refused: row C1 ---------------------------------------------------------------- */

static void test_a_bad_value_is_one_line_that_names_its_flag(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"--listen", "0x50"},
        {"--listen", "127.0.0.1:0x50"},
        {"--listen", "127.0.0.1:70000"},
        {"--listen", "127.0.0.1:-1"},
        {"--listen", "127.0.0.1:~80"},
        {"--listen", "127.0.0.1:80~"},
        {"--listen", "127.0.0.1:"},
        {"--listen", ":8080"},
        {"--listen", "127.0.0.1:080800"},
        {"--listen", "127.1:80"},
        {"--listen", "1.2.3.256:80"},
        {"--listen", "::1:80"},
        {"--listen", "[::1"},
        {"--listen", "[::1]80"},
        {"--listen", "[127.0.0.1]:80"},
        {"--listen", "[fe80::1%eth0]:80"},
        {"--listen", "localhost:80"},
        {"--listen", "^"},
        {"--peer-listen", "70000"},
        {"--advertise", "0.0.0.0"},
        {"--advertise", "[::]:7946"},
        {"--admin", "9090"},
        {"--admin", "None"},
        {"--name", "^"},
        {"--name", "Upper"},
        {"--name", "a.b"},
        {"--name", LONG_32 LONG_32},
        {"--cluster", "^"},
        {"--cluster", "a~b"},
        {"--cluster", LONG_32 LONG_32},
        {"--zone", LONG_32},
        {"--join", "a:b"},
        {"--join", "a:0"},
        {"--join", "a:70000"},
        {"--join", "http://a"},
        {"--join", "a..b"},
        {"--join", "^"},
        {"--expect", "-1"},
        {"--expect", "+1"},
        {"--expect", "1025"},
        {"--expect", "99999999999999999999"},
        {"--weight", "0"},
        {"--weight", "17"},
        {"--weight", "0x1"},
        {"--weight", "1.5"},
        {"--weight", "01"},
        {"--placement", "Local"},
        {"--placement", "local|ring"},
        {"--placement", "^"},
        {"--copies", "-1"},
        {"--copies", "4"},
        {"--session-idle", "30"},
        {"--session-idle", "30~m"},
        {"--session-idle", "30M"},
        {"--session-idle", "m"},
        {"--session-idle", "1.5h"},
        {"--session-idle", "-5s"},
        {"--session-idle", "0s"},
        {"--session-idle", "31d"},
        {"--session-idle", "999999999999999d"},
        {"--park-timeout", "99ms"},
        {"--memory", "1MiB"},
        {"--memory", "256MB"},
        {"--memory", "999999999999999GiB"},
        {"--bind-session", "header:"},
        {"--bind-session", "header:a~b"},
        {"--bind-session", "header:a:b"},
        {"--bind-session", "cookie"},
        {"--affinity-header", ""},
        {"--affinity-header", "Mcp-Param-a:b"},
        {"--allow-origin", "https://a/"},
        {"--allow-origin", "a.example"},
        {"--allow-host", "https://a"},
        {"--allow-host", "a/b"},
        {"--retry-hints", "yes"},
        {"--on-owner-loss", "restart"},
        {"--mcp-path", "mcp"},
        {"--mcp-path", "/a?b"},
        {"--mcp-path", "/a/../b"},
        {"--mcp-path", "//a"},
        {"--max-sessions", "0"},
        {"--upstream", "https://a/mcp"},
        {"--upstream", "127.0.0.1:80"},
        {"--upstream", "http:///mcp"},
        {"--upstream", "http://user:pass@a/mcp"},
        {"--upstream-transport", "stdio"},
        {"--log-level", "trace"},
        {"--log-format", "xml"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[256];
        /* Others in front: the one to blame must be found, not the first or last. */
        snprintf(text, sizeof text, "--drain-grace 1s %s %s --max-children 3", bad[i][0],
                 bad[i][1]);
        refuse(text, bad[i][0]);
        snprintf(text, sizeof text, "%s=%s", bad[i][0], bad[i][1]);
        refuse(text, bad[i][0]);
    }
}

static void test_a_bad_variable_is_named_as_one(void **state)
{
    (void)state;
    static const struct {
        char *variable;
        const char *name;
    } bad[] = {
        {"MESH_LISTEN=0x50", "MESH_LISTEN:"},
        {"MESH_LISTEN=", "MESH_LISTEN:"},
        {"MESH_PEER_LISTEN=0.0.0.0:7946", "MESH_PEER_LISTEN:"},
        {"MESH_SESSION_IDLE= 30m", "MESH_SESSION_IDLE:"},
        {"MESH_JOIN=a:1,,b:2", "MESH_JOIN:"},
        {"MESH_JOIN=a:1,b:x", "MESH_JOIN:"},
        {"MESH_KEY_FILE=/nowhere/at/all", "MESH_KEY_FILE:"},
        {"MESH_ADMIN_TOKEN_FILE=/nowhere/at/all", "MESH_ADMIN_TOKEN_FILE:"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char *environment[] = {bad[i].variable, NULL};
        if (read_use(CONFIG_RUN, "--name a", environment) != CONFIG_WRONG)
            fail_msg("%s: not refused", bad[i].variable);
        assert_one_line(bad[i].variable, bad[i].name);
    }
}

static void test_unknown_and_repeated_flags_are_refused(void **state)
{
    (void)state;
    refuse("--nope", "--nope:");
    refuse("--nam a", "--nam:");
    refuse("--name a --name a", "--name:");
    refuse("--name=a --name=b", "--name:");
    refuse("--name", "--name:");
    refuse("--name --cluster x", "--name:");
    refuse("-n a", "-n:");
    refuse("-", "-:");
    refuse("a", "a:");
    refuse("--name a --", "--:");
    refuse("--copis 2", "--copis:");
    refuse("--json", "--json:");
    refuse("--upstream http://a/mcp -- cat", "--upstream:");
}

static void test_a_message_is_one_line_whatever_it_repeats(void **state)
{
    (void)state;
    char hostile[600];
    refuse("--listen a\nmeshd:~b\x1b[31m\xff", "--listen:");
    refuse("--no\nsuch", "--no?such:");
    snprintf(hostile, sizeof hostile, "--listen %0500d", 1);
    refuse(hostile, "--listen:");
    snprintf(hostile, sizeof hostile, "--%0500d", 1);
    refuse(hostile, "--000");
}

static void test_too_many_of_a_repeatable_one_are_refused(void **state)
{
    (void)state;
    char text[2048] = "--name a";
    for (int i = 0; i < CONFIG_LIST_MAX; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), " --join h%d", i);
    take(text);
    assert_int_equal(config.host.joins_count, CONFIG_LIST_MAX);
    snprintf(text + strlen(text), sizeof text - strlen(text), " --join h64");
    refuse(text, "--join:");
}

/* Rows C3, C4. */
static void test_no_secret_is_taken_or_repeated_from_the_command_line(void **state)
{
    (void)state;
    refuse("--key " KEY_A, "--key:");
    assert_null(strstr(error, "0123"));
    refuse("--token=" KEY_A, "--token:");
    assert_null(strstr(error, "0123"));
    refuse("--name a --key-file " KEY_A, "--key-file:");
    assert_null(strstr(error, "0123"));
    refuse("--name a --admin-token-file " KEY_A, "--admin-token-file:");
    assert_null(strstr(error, "0123"));
    refuse("--upstream http://me:hunter2@a/", "--upstream:");
    assert_null(strstr(error, "hunter2"));
}

static void test_without_a_key_no_peer_address_but_loopback(void **state)
{
    (void)state;
    refuse("--name a --peer-listen 0.0.0.0:7946", "--peer-listen:");
    refuse("--name a --peer-listen [::]:7946", "--peer-listen:");
    refuse("--name a --peer-listen 10.0.0.1", "--peer-listen:");
    refuse("--name a --advertise 10.0.0.1", "--advertise:");
    take("--name a --peer-listen 127.0.0.2:1 --advertise [::1]:2");
    take("--name a --listen 0.0.0.0:80 --admin 0.0.0.0:90");
}

/* ---- key and token files: row C2 ------------------------------------------------------------ */

static char path[64];

static void write_file(const char *text, mode_t mode)
{
    snprintf(path, sizeof path, "/tmp/test_config.XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

/* Four keys whose ids differ in the low bits, and one whose id collides with the first. */
static void make_keys(char lines[5][65])
{
    struct secret_keys keys;
    char why[SECRETS_WHY_MAX], text[600];
    int count = 1;
    bool collided = false;
    snprintf(lines[0], 65, "%064x", 1u);
    for (unsigned i = 2; count < 4 || !collided; i++) {
        char line[65];
        text[0] = '\0';
        snprintf(line, sizeof line, "%064x", i);
        for (int k = 0; k < count; k++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s\n", lines[k]);
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s\n", line);
        if (count == 4)
            snprintf(text, sizeof text, "%s\n%s\n", lines[0], line);
        write_file(text, 0600);
        int rc = secrets_read_keys(&keys, path, why);
        unlink(path);
        if (rc == 0 && count < 4)
            memcpy(lines[count++], line, sizeof line);
        else if (rc < 0 && count == 4) {
            memcpy(lines[4], line, sizeof line);
            collided = true;
        }
    }
}

static void refuse_key_file(const char *text, mode_t mode)
{
    char flags[128];
    write_file(text, mode);
    snprintf(flags, sizeof flags, "--name a --key-file %s", path);
    refuse(flags, "--key-file:");
    unlink(path);
}

static void test_keys_are_read_in_order_with_those_that_only_verify(void **state)
{
    (void)state;
    char lines[5][65], text[600], flags[192], why[SECRETS_WHY_MAX];
    struct secret_keys keys;
    make_keys(lines);
    snprintf(text, sizeof text, "# ours\n\n%s\r\nverify %s\n%s\n%s", lines[0], lines[1], lines[2],
             lines[3]);
    write_file(text, 0640);
    assert_int_equal(secrets_read_keys(&keys, path, why), 0);
    assert_int_equal(keys.count, 4);
    assert_int_equal(keys.verify_only, 2);
    assert_int_equal(keys.keys[0][31], 1);
    snprintf(flags, sizeof flags,
             "--name a --key-file %s --peer-listen 0.0.0.0:1 --advertise 10.0.0.1", path);
    take(flags);
    assert_int_equal(config.host.mesh.keys_count, 4);
    assert_int_equal(config.host.mesh.verify_only, 2);
    assert_memory_equal(config.host.mesh.keys, keys.keys, sizeof keys.keys);
    unlink(path);
    snprintf(text, sizeof text, "%s\n%s\n", lines[0], lines[4]);
    refuse_key_file(text, 0600); /* equal low bits */
    snprintf(text, sizeof text, "%s\n%s\n%s\n%s\n%s\n", lines[0], lines[1], lines[2], lines[3],
             KEY_A);
    refuse_key_file(text, 0600); /* five */
}

static void test_a_bad_key_file_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "\n\n",
        "# nothing\n",
        "verify " KEY_A "\n",
        KEY_A "00\n",
        "0123\n",
        KEY_A " " KEY_A "\n",
        KEY_A "\n" KEY_A "\n",
        " " KEY_A "\n",
        KEY_A " \n",
        "verify  " KEY_A "\n",
        "Verify " KEY_A "\n",
        "ASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4mrze8BI0VniavN7wEjRWeJq83v\n",
        "g123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refuse_key_file(bad[i], 0600);
    refuse_key_file(KEY_A "\n", 0604);
    refuse_key_file(KEY_A "\n", 0602);
    refuse("--name a --key-file /tmp", "--key-file:");
    refuse("--name a --key-file /nowhere/at/all", "--key-file:");
    refuse("--name a --key-file=", "--key-file:");
}

static void test_a_fifo_or_a_huge_file_holds_nothing_up(void **state)
{
    (void)state;
    char flags[128];
    write_file("", 0600);
    snprintf(flags, sizeof flags, "--name a --key-file %s", path);
    assert_int_equal(truncate(path, (off_t)1 << 30), 0);
    refuse(flags, "--key-file:");
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    refuse(flags, "--key-file:");
    unlink(path);
}

static void test_a_token_file_gives_its_first_token(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "# none\n", "a b\n", "\x80\n",
                                      "a\nb\nc\nd\ne\nf\ng\nh\ni\n"};
    char token[SECRETS_TOKEN_MAX + 1], why[SECRETS_WHY_MAX], flags[128];
    write_file("# of operators\n\nfirst-token\nsecond\n", 0600);
    assert_int_equal(secrets_read_token(token, path, why), 0);
    assert_string_equal(token, "first-token");
    snprintf(flags, sizeof flags, "--name a --admin-token-file %s", path);
    take(flags);
    assert_string_equal(config.host.admin_token_path, path);
    unlink(path);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_file(bad[i], 0600);
        snprintf(flags, sizeof flags, "--name a --admin-token-file %s", path);
        refuse(flags, "--admin-token-file:");
        unlink(path);
    }
}

static void test_a_made_key_is_a_line_of_a_key_file(void **state)
{
    (void)state;
    char line[65], other[65], why[SECRETS_WHY_MAX];
    struct secret_keys keys;
    assert_int_equal(secrets_make_key(line), 0);
    assert_int_equal(secrets_make_key(other), 0);
    assert_string_not_equal(line, other);
    write_file(line, 0600);
    assert_int_equal(secrets_read_keys(&keys, path, why), 0);
    assert_int_equal(keys.count, 1);
    unlink(path);
}

/* ---- commands that ask, and lists for readers ----------------------------------------------- */

static void test_a_command_that_asks_knows_only_what_it_needs(void **state)
{
    (void)state;
    char *environment[] = {"MESH_ADMIN=127.0.0.1:1", "MESH_LISTEN=nonsense", NULL};
    assert_int_equal(read_use(CONFIG_ASK, "abc --json", environment), CONFIG_GOOD);
    assert_addr(&config.admin, "127.0.0.1:1");
    assert_true(config.json && config.has_admin);
    assert_string_equal(config.argument, "abc");
    assert_int_equal(read_use(CONFIG_ASK, "--admin [::1]:2 -- -abc", environment), CONFIG_GOOD);
    assert_addr(&config.admin, "[::1]:2");
    assert_string_equal(config.argument, "-abc");
    assert_int_equal(read_use(CONFIG_ASK, "--listen 127.0.0.1:80", NULL), CONFIG_WRONG);
    assert_one_line("ask", "--listen:");
    assert_int_equal(read_use(CONFIG_ASK, "a b", NULL), CONFIG_GOOD);
    assert_string_equal(config.argument2, "b");
    assert_int_equal(read_use(CONFIG_ASK, "a b c", NULL), CONFIG_WRONG);
    assert_one_line("ask", "c:");
}

static void test_help_and_version_are_asked_for_anywhere(void **state)
{
    (void)state;
    assert_int_equal(read_flags("--help"), CONFIG_HELP);
    assert_int_equal(read_flags("--name a -h"), CONFIG_HELP);
    assert_int_equal(read_flags("--version"), CONFIG_VERSION);
    assert_int_equal(read_use(CONFIG_ASK, "x --help", NULL), CONFIG_HELP);
}

static void test_help_and_list_name_every_setting_once(void **state)
{
    (void)state;
    char *help = NULL, *list = NULL;
    size_t help_length, list_length;
    FILE *to = open_memstream(&help, &help_length);
    config_print_help(to);
    fclose(to);
    to = open_memstream(&list, &list_length);
    config_print_markdown(to);
    fclose(to);
    unsigned rows = 0;
    for (char *at = list; (at = strstr(at, "\n| `--")) != NULL; at++) {
        char flag[160];
        snprintf(flag, sizeof flag, "\n  %.*s ", (int)strcspn(at + 4, " "), at + 4);
        const char *in_help = strstr(help, flag);
        assert_non_null(in_help);
        assert_null(strstr(in_help + 1, flag));
        rows++;
    }
    assert_true(rows >= 30);
    assert_null(strstr(help, " \n"));
    for (char *line = help; *line != '\0'; line += strcspn(line, "\n") + 1)
        assert_true(strcspn(line, "\n") <= 100);
    free(help);
    free(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_settings_a_peer_listens_on_loopback_only),
        cmocka_unit_test(test_the_path_of_an_upstream_tells_its_transport_unless_it_is_said),
        cmocka_unit_test(test_each_setting_reaches_its_place),
        cmocka_unit_test(test_a_command_stands_behind_two_dashes_and_is_not_looked_into),
        cmocka_unit_test(test_admin_can_be_off),
        cmocka_unit_test(test_without_a_name_that_of_the_host_is_taken),
        cmocka_unit_test(test_a_flag_counts_before_a_variable_and_that_before_the_default),
        cmocka_unit_test(test_a_bad_value_is_one_line_that_names_its_flag),
        cmocka_unit_test(test_a_bad_variable_is_named_as_one),
        cmocka_unit_test(test_unknown_and_repeated_flags_are_refused),
        cmocka_unit_test(test_a_message_is_one_line_whatever_it_repeats),
        cmocka_unit_test(test_too_many_of_a_repeatable_one_are_refused),
        cmocka_unit_test(test_no_secret_is_taken_or_repeated_from_the_command_line),
        cmocka_unit_test(test_without_a_key_no_peer_address_but_loopback),
        cmocka_unit_test(test_keys_are_read_in_order_with_those_that_only_verify),
        cmocka_unit_test(test_a_bad_key_file_is_refused),
        cmocka_unit_test(test_a_fifo_or_a_huge_file_holds_nothing_up),
        cmocka_unit_test(test_a_token_file_gives_its_first_token),
        cmocka_unit_test(test_a_made_key_is_a_line_of_a_key_file),
        cmocka_unit_test(test_a_command_that_asks_knows_only_what_it_needs),
        cmocka_unit_test(test_help_and_version_are_asked_for_anywhere),
        cmocka_unit_test(test_help_and_list_name_every_setting_once),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    config_deinit(&config);
    return failed;
}

/* main.c - the commands of meshd. What a peer is made of stands in host.h, its settings in
 * config.c; the commands that ask a running peer are in ctl.c. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mesh/wire/identity.h"
#include "node/child_exec.h"
#include "node/config.h"
#include "node/ctl.h"

/* From here on memory is a mapping of its own: it grows without a copy beside it, and is given back
 * when it is freed. Left to itself malloc raises this to the largest block that was ever freed, and
 * keeps twice as much. */
#define LARGE_BYTES (1024 * 1024)

static const char usage_text[] =
    "meshd " MESH_VERSION " - any peer of the mesh serves any MCP session\n"
    "\n"
    "  meshd [run] [settings] [-- command args...]   one peer; the command is a stdio server\n"
    "  meshd members | sessions | why ID | health    ask a running peer (admin endpoint)\n"
    "  meshd keys | keys use KEY                     of the cluster: which are used; use that one\n"
    "        [--admin ADDR:PORT] [--admin-token-file FILE] [--json]\n"
    "  meshd keygen                                  a new key, as a line of a key file\n"
    "  meshd ca-public <CA-KEY                       its public key; CA-KEY: as keygen prints one\n"
    "  meshd identity NAME <CA-KEY                   a key for that peer, with a certificate\n"
    "  meshd settings [--markdown]                   all settings\n"
    "  meshd help | version\n"
    "\n"
    "Exit codes: 0 done, 1 the peer asked says no, 2 wrong arguments, 3 cannot start or an error "
    "inside,\n"
    "4 another living peer has this name, 5 a newer process has taken this one's place.\n";

static int print_help(void)
{
    fputs(usage_text, stdout);
    config_print_help(stdout);
    return HOST_EXIT_OK;
}

static int print_version(void)
{
    puts("meshd " MESH_VERSION);
    return HOST_EXIT_OK;
}

static int fail(int code, const char *line)
{
    fprintf(stderr, "%s\n", line);
    return code;
}

/* What was written to standard output got there, or the exit code says so. */
static int finish(int code)
{
    if (fflush(stdout) == 0)
        return code;
    return fail(HOST_EXIT_INTERNAL, "meshd: cannot write");
}

/* ---- one peer -------------------------------------------------------------------------------- */

/* A socket must never get the number of a standard stream: a log line would go into it. Nothing is
 * read from a terminal. */
static int open_standard_streams(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (null >= 0 && null <= STDERR_FILENO)
        null = open("/dev/null", O_RDWR);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0)
        return -errno;
    close(null);
    return 0;
}

/* Keys are in memory: no core file, no other process of this user may look into it. Limits and
 * masks are inherited by a stdio server, so it gets only those that do it no harm. */
static void protect_secrets(const struct config *config)
{
    struct rlimit core;
    if (getrlimit(RLIMIT_CORE, &core) == 0) {
        core.rlim_cur = 0;
        (void)setrlimit(RLIMIT_CORE, &core);
    }
    if (config->host.mesh.keys_count > 0 || config->host.mesh.has_identity ||
        config->host.admin_token_path != NULL)
        (void)prctl(PR_SET_DUMPABLE, 0);
    if (config->host.command == NULL)
        (void)umask(077);
}

static int run_peer(struct config *config)
{
    struct host *host = NULL;
    log_open(config->log_level, config->log_json);
    protect_secrets(config);
    (void)signal(SIGPIPE, SIG_IGN);
    int rc = open_standard_streams();
    if (rc == 0)
        rc = host_new(&host, &config->host);
    if (rc < 0)
        return HOST_EXIT_INTERNAL;
    if (config->has_admin && !addr_is_loopback(&config->admin) &&
        config->host.admin_token_path == NULL)
        log_warn("admin_without_tokens", "address=%s v1=%s", config->admin_text, "refused");
    int code = (int)host_run(host);
    if (!host_free(host))
        _exit(code); /* a lookup that hangs in its thread would hold exit() up */
    return code;
}

static int run(int argc, char **argv)
{
    char error[CONFIG_ERROR_MAX];
    struct config *config = calloc(1, sizeof *config);
    int code = HOST_EXIT_INTERNAL;
    if (config == NULL)
        return fail(code, "meshd: no memory");
    switch (config_read(config, CONFIG_RUN, argc, argv, environ, error)) {
    case CONFIG_GOOD:
        code = run_peer(config);
        break;
    case CONFIG_HELP:
        code = print_help();
        break;
    case CONFIG_VERSION:
        code = print_version();
        break;
    case CONFIG_WRONG:
        code = fail(HOST_EXIT_USAGE, error);
        break;
    }
    config_deinit(config);
    free(config);
    return code;
}

/* ---- the other commands ---------------------------------------------------------------------- */

static int print_key(int argc, char **argv)
{
    char line[65];
    (void)argv;
    if (argc > 0)
        return fail(HOST_EXIT_USAGE, "meshd: keygen takes no arguments");
    if (secrets_make_key(line) < 0)
        return fail(HOST_EXIT_INTERNAL, "meshd: the system gives no random bytes");
    puts(line);
    explicit_bzero(line, sizeof line);
    return HOST_EXIT_OK;
}

/* The CA's own key, from standard input: secrets are no arguments. */
static bool read_ca_key(uint8_t key[32])
{
    char line[80] = "";
    bool is_good = fgets(line, sizeof line, stdin) != NULL;
    line[strcspn(line, "\r\n")] = '\0';
    is_good = is_good && secrets_read_hex(line, key, 32);
    explicit_bzero(line, sizeof line);
    return is_good;
}

static const char bad_ca_key[] = "meshd: standard input is no key as `meshd keygen` prints it";

static int print_ca_public(int argc)
{
    uint8_t ca[32], key[32];
    char hex[65];
    if (argc > 0)
        return fail(HOST_EXIT_USAGE, "meshd: ca-public takes no arguments");
    if (!read_ca_key(ca))
        return fail(HOST_EXIT_USAGE, bad_ca_key);
    identity_public(ca, key);
    explicit_bzero(ca, sizeof ca);
    puts(sodium_bin2hex(hex, sizeof hex, key, sizeof key));
    return HOST_EXIT_OK;
}

static int print_identity(int argc, char **argv)
{
    uint8_t ca[32], secret[32], key[32], certificate[64];
    char line[65], hex[129];
    if (argc != 1 || !mesh_name_is_legal(argv[0]))
        return fail(HOST_EXIT_USAGE, "meshd: identity takes the name of a peer");
    if (!read_ca_key(ca))
        return fail(HOST_EXIT_USAGE, bad_ca_key);
    if (secrets_make_key(line) < 0)
        return fail(HOST_EXIT_INTERNAL, "meshd: the system gives no random bytes");
    (void)secrets_read_hex(line, secret, sizeof secret);
    identity_public(secret, key);
    identity_certify(ca, argv[0], key, certificate);
    printf("name %s\nsecret %s\ncertificate %s\n", argv[0], line,
           sodium_bin2hex(hex, sizeof hex, certificate, sizeof certificate));
    explicit_bzero(ca, sizeof ca);
    explicit_bzero(secret, sizeof secret);
    explicit_bzero(line, sizeof line);
    return HOST_EXIT_OK;
}

static int print_settings(int argc, char **argv)
{
    if (argc == 0)
        config_print_help(stdout);
    else if (argc == 1 && strcmp(argv[0], "--markdown") == 0)
        config_print_markdown(stdout);
    else
        return fail(HOST_EXIT_USAGE, "meshd: settings takes --markdown or nothing");
    return HOST_EXIT_OK;
}

static int ask(const char *what, int argc, char **argv)
{
    char error[CONFIG_ERROR_MAX];
    struct config config;
    int code = HOST_EXIT_USAGE;
    switch (config_read(&config, CONFIG_ASK, argc, argv, environ, error)) {
    case CONFIG_GOOD:
        code = ctl_main(what, &config);
        break;
    case CONFIG_HELP:
        code = print_help();
        break;
    case CONFIG_VERSION:
        code = print_version();
        break;
    case CONFIG_WRONG:
        code = fail(HOST_EXIT_USAGE, error);
        break;
    }
    config_deinit(&config);
    return code;
}

static int run_command(const char *command, int argc, char **argv)
{
    char error[CONFIG_ERROR_MAX];
    if (strcmp(command, "run") == 0)
        return run(argc, argv);
    if (strcmp(command, "keygen") == 0)
        return print_key(argc, argv);
    if (strcmp(command, "ca-public") == 0)
        return print_ca_public(argc);
    if (strcmp(command, "identity") == 0)
        return print_identity(argc, argv);
    if (strcmp(command, "settings") == 0)
        return print_settings(argc, argv);
    if (strcmp(command, "help") == 0)
        return print_help();
    if (strcmp(command, "version") == 0)
        return print_version();
    if (ctl_is_command(command))
        return ask(command, argc, argv);
    config_error(error, command, strlen(command), NULL, "no such command; meshd help lists them");
    return fail(HOST_EXIT_USAGE, error);
}

int main(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "child") == 0) /* on its way to exec: nothing before it */
        return child_main(argc - 1, argv + 1);
    if (argc == 2 && strcmp(argv[1], "child-watch") == 0)
        return child_watch_main();
    (void)mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, 2 * LARGE_BYTES);
    if (sodium_init() < 0)
        return fail(HOST_EXIT_INTERNAL, "meshd: libsodium cannot be used");
    if (argc < 2)
        return finish(run(0, argv + argc));
    if (argv[1][0] == '-')
        return finish(run(argc - 1, argv + 1));
    return finish(run_command(argv[1], argc - 2, argv + 2));
}

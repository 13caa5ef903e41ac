/* secrets.c - see secrets.h. */
#include "node/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mesh/wire/seal.h"

#define TOKEN_FILE_MAX 16384u /* as the admin endpoint has it */
#define TOKENS_MAX 8u

static void say(char why[SECRETS_WHY_MAX], const char *text)
{
    snprintf(why, SECRETS_WHY_MAX, "%s", text);
}

/* ---- files ---------------------------------------------------------------------------------- */

static const char *judge_file(int fd, size_t length_max, bool is_secret, char why[SECRETS_WHY_MAX])
{
    struct stat stat;
    if (fstat(fd, &stat) < 0)
        return strerror(errno);
    if (!S_ISREG(stat.st_mode))
        return "is not a regular file";
    if (stat.st_size > (off_t)length_max) {
        snprintf(why, SECRETS_WHY_MAX, "is longer than %zu bytes", length_max);
        return why;
    }
    /* A group may read: that is how a container's user gets at a mounted secret. */
    if (is_secret && (stat.st_mode & S_IRWXO) != 0) {
        snprintf(why, SECRETS_WHY_MAX, "is open to everybody (mode %03o): chmod o= helps",
                 (unsigned)stat.st_mode & 0777u);
        return why;
    }
    return NULL;
}

/* The whole file, as text in memory of its own (wipe_text() frees it); NULL: `why` says. */
static char *read_text(const char *path, size_t length_max, bool is_secret,
                       char why[SECRETS_WHY_MAX])
{
    /* Not blocking: a FIFO must not hold the process up; it is refused right after. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        snprintf(why, SECRETS_WHY_MAX, "cannot be opened: %s", strerror(errno));
        return NULL;
    }
    size_t length = 0;
    ssize_t got = 1;
    char *text = NULL;
    const char *wrong = judge_file(fd, length_max, is_secret, why);
    if (wrong == NULL) {
        text = calloc(1, length_max + 2); /* it may grow while it is read */
        wrong = text == NULL ? strerror(ENOMEM) : NULL;
    }
    while (wrong == NULL && got > 0 && length <= length_max) {
        got = read(fd, text + length, length_max + 1 - length);
        length += got > 0 ? (size_t)got : 0;
    }
    if (wrong == NULL && got < 0)
        wrong = strerror(errno);
    else if (wrong == NULL && (length > length_max || strlen(text) != length))
        wrong = "is not a text file of that kind";
    close(fd);
    if (wrong == NULL)
        return text;
    if (text != NULL)
        sodium_memzero(text, length_max + 2);
    free(text);
    if (wrong != why)
        say(why, wrong);
    return NULL;
}

static void wipe_text(char *text, size_t length_max)
{
    sodium_memzero(text, length_max + 2);
    free(text);
}

/* The next line that is not empty and no comment; NULL: no more. */
static char *next_line(char **at, unsigned *number)
{
    while (**at != '\0') {
        char *line = *at;
        size_t length = strcspn(line, "\n");
        *at = line + length + (line[length] == '\n');
        line[length] = '\0';
        if (length > 0 && line[length - 1] == '\r')
            line[--length] = '\0';
        ++*number;
        if (length > 0 && line[0] != '#')
            return line;
    }
    return NULL;
}

/* Takes a line that says something. NULL, or what is wrong with it. */
typedef const char *take_line(void *into, const char *line);

/* Every such line of a file with secrets. 0, or -EINVAL, and `why` says. */
static int read_lines(const char *path, size_t length_max, take_line *take, void *into,
                      char why[SECRETS_WHY_MAX])
{
    unsigned number = 0;
    const char *wrong = NULL;
    char *text = read_text(path, length_max, true, why);
    if (text == NULL)
        return -EINVAL;
    char *at = text, *line;
    while (wrong == NULL && (line = next_line(&at, &number)) != NULL)
        wrong = take(into, line);
    if (wrong != NULL)
        snprintf(why, SECRETS_WHY_MAX, "line %u %s", number, wrong);
    wipe_text(text, length_max);
    return wrong == NULL ? 0 : -EINVAL;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool secrets_read_hex(const char *line, uint8_t *into, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        int high = hex_digit(line[2 * i]), low = high < 0 ? -1 : hex_digit(line[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        into[i] = (uint8_t)(high << 4 | low);
    }
    return line[2 * length] == '\0';
}

/* ---- keys ----------------------------------------------------------------------------------- */

static const char *take_key(void *into, const char *line)
{
    struct secret_keys *keys = into;
    static const char verify[] = "verify ";
    bool is_verify = strncmp(line, verify, strlen(verify)) == 0;
    if (is_verify)
        line += strlen(verify);
    if (keys->count == MESH_KEYS_MAX)
        return "is one key too many: at most 4";
    if (!secrets_read_hex(line, keys->keys[keys->count], sizeof keys->keys[0]))
        return "is not 64 hex digits";
    uint32_t id = seal_key_id(keys->keys[keys->count]);
    for (uint8_t i = 0; i < keys->count; i++) {
        if (((seal_key_id(keys->keys[i]) ^ id) & 15) == 0)
            return "has a key whose id ends in the same 4 bits as an earlier one: make another";
    }
    if (is_verify)
        keys->verify_only = (uint8_t)(keys->verify_only | 1u << keys->count);
    keys->count++;
    return NULL;
}

int secrets_read_keys(struct secret_keys *keys, const char *path, char why[SECRETS_WHY_MAX])
{
    const char *wrong = NULL;
    *keys = (struct secret_keys){.count = 0};
    int rc = read_lines(path, SECRETS_FILE_MAX, take_key, keys, why);
    if (rc == 0 && keys->count == 0)
        wrong = "holds no key";
    else if (rc == 0 && keys->verify_only == (1u << keys->count) - 1)
        wrong = "holds no key that seals, only those that verify";
    if (rc == 0 && wrong == NULL)
        return 0;
    if (wrong != NULL)
        say(why, wrong);
    secrets_wipe_keys(keys);
    return -EINVAL;
}

void secrets_wipe_keys(struct secret_keys *keys)
{
    sodium_memzero(keys, sizeof *keys);
}

bool secrets_keys_equal(const struct secret_keys *a, const struct secret_keys *b)
{
    return a->count == b->count && a->verify_only == b->verify_only &&
           sodium_memcmp(a->keys, b->keys, sizeof a->keys) == 0;
}

/* ---- identities ----------------------------------------------------------------------------- */

struct identity_lines {
    struct secret_identity *identity;
    unsigned seen; /* bits of the words below */
};

/* One of three lines, each once. */
static const char *take_identity(void *into, const char *line)
{
    struct identity_lines *lines = into;
    struct secret_identity *identity = lines->identity;
    static const struct {
        const char *word;
        unsigned bit;
    } words[] = {{"name ", 1}, {"secret ", 2}, {"certificate ", 4}};
    for (size_t n = 0; n < sizeof words / sizeof words[0]; n++) {
        size_t length = strlen(words[n].word);
        if (strncmp(line, words[n].word, length) != 0)
            continue;
        const char *value = line + length;
        if ((lines->seen & words[n].bit) != 0)
            return "says again what an earlier one said";
        lines->seen |= words[n].bit;
        if (words[n].bit == 2)
            return secrets_read_hex(value, identity->secret, sizeof identity->secret)
                       ? NULL
                       : "is not a secret of 64 hex digits";
        if (words[n].bit == 4)
            return secrets_read_hex(value, identity->certificate, sizeof identity->certificate)
                       ? NULL
                       : "is not a certificate of 128 hex digits";
        if (strlen(value) > MESH_NAME_MAX)
            return "has no name of a peer";
        memcpy(identity->name, value, strlen(value) + 1);
        return NULL;
    }
    return "is none of name, secret, certificate";
}

int secrets_read_identity(struct secret_identity *identity, const char *path,
                          char why[SECRETS_WHY_MAX])
{
    struct identity_lines lines = {.identity = identity};
    if (read_lines(path, SECRETS_FILE_MAX, take_identity, &lines, why) < 0)
        return -EINVAL;
    if (lines.seen == 7)
        return 0;
    say(why, "has not all of name, secret and certificate");
    return -EINVAL;
}

int secrets_read_ca(struct secret_identity *identity, const char *path, char why[SECRETS_WHY_MAX])
{
    unsigned number = 0;
    char *text = read_text(path, SECRETS_FILE_MAX, false, why);
    if (text == NULL)
        return -EINVAL;
    char *at = text, *line = next_line(&at, &number);
    bool is_good = line != NULL && secrets_read_hex(line, identity->ca, sizeof identity->ca) &&
                   next_line(&at, &number) == NULL;
    if (!is_good)
        say(why, "is not one public key of 64 hex digits");
    wipe_text(text, SECRETS_FILE_MAX);
    return is_good ? 0 : -EINVAL;
}

int secrets_make_key(char line[65])
{
    uint8_t key[32];
    ssize_t got = getrandom(key, sizeof key, 0);
    if (got != (ssize_t)sizeof key)
        return got < 0 ? -errno : -EIO;
    sodium_bin2hex(line, 65, key, sizeof key);
    sodium_memzero(key, sizeof key);
    return 0;
}

/* ---- tokens --------------------------------------------------------------------------------- */

struct token_lines {
    char *token; /* the first */
    unsigned count;
};

static const char *take_token(void *into, const char *line)
{
    struct token_lines *lines = into;
    size_t length = strlen(line);
    if (length > SECRETS_TOKEN_MAX)
        return "is longer than 256 bytes";
    if (lines->count == TOKENS_MAX)
        return "is one token too many: at most 8";
    for (size_t i = 0; i < length; i++) {
        if (line[i] <= ' ' || line[i] > '~')
            return "holds more than visible ASCII";
    }
    if (lines->count++ == 0)
        memcpy(lines->token, line, length + 1);
    return NULL;
}

int secrets_read_token(char token[SECRETS_TOKEN_MAX + 1], const char *path,
                       char why[SECRETS_WHY_MAX])
{
    struct token_lines lines = {.token = token};
    if (read_lines(path, TOKEN_FILE_MAX, take_token, &lines, why) < 0)
        return -EINVAL;
    if (lines.count > 0)
        return 0;
    say(why, "holds no token");
    return -EINVAL;
}

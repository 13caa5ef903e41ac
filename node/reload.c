/* reload.c - see reload.h. Files are looked at once a second: by inode, size and times, through
 * links, so it makes no difference how one is replaced. */
#include "node/reload.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "node/host.h"
#include "node/log.h"
#include "node/secrets.h"
#include "node/status.h"

#define LOOK_MS 1000u

/* What shows that a file is another one, or was written; all zero: it is not there. */
struct stamp {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec modified, changed;
};

struct reload {
    struct host *host;
    struct wheel_item look;
    struct stamp keys_seen, tokens_seen;
    struct secret_keys keys; /* of the file, as the mesh took them last */
    bool keys_wait;          /* it cannot take what is there yet */
};

static struct stamp stamp_of(const char *path)
{
    struct stat at;
    if (stat(path, &at) < 0)
        return (struct stamp){.size = 0};
    return (struct stamp){at.st_dev, at.st_ino, at.st_size, at.st_mtim, at.st_ctim};
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool same_stamp(const struct stamp *a, const struct stamp *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
           same_time(a->modified, b->modified) && same_time(a->changed, b->changed);
}

/* ---- keys ------------------------------------------------------------------------------------ */

void reload_keys_changed(struct host *host)
{
    struct mesh_key_info infos[MESH_KEYS_ALL];
    size_t count = mesh_keys(host->mesh, infos), made = 0;
    /* the key that seals comes first: who has no session yet is hashed by it */
    for (int first = 1; first >= 0; first--) {
        for (size_t n = 0; n < count; n++) {
            if (infos[n].seals != first)
                continue;
            struct mcp_who_key *key = &host->mcp.who_keys[made++];
            key->id = infos[n].id;
            memcpy(key->hash_keys, infos[n].principal, sizeof key->hash_keys);
        }
    }
    host->mcp.who_keys_count = (uint32_t)made;
    explicit_bzero(infos, sizeof infos);
}

static void say_what_is_wanted(struct host *host)
{
    struct mesh_key_info infos[MESH_KEYS_ALL];
    size_t count = mesh_keys(host->mesh, infos);
    for (size_t n = 0; n < count; n++) {
        if (infos[n].is_wanted && !infos[n].seals)
            log_info("key_waits", "key=%08" PRIx32 " refusing=%zu", infos[n].id, infos[n].refusing);
        if (infos[n].use == MESH_KEY_LEAVING)
            log_info("key_kept", "key=%08" PRIx32 " sealing=%zu", infos[n].id,
                     infos[n].sealing_others + infos[n].seals);
    }
    explicit_bzero(infos, sizeof infos);
}

static void take_keys(struct reload *reload, const struct secret_keys *keys)
{
    struct host *host = reload->host;
    bool waited = reload->keys_wait;
    int rc = mesh_set_keys(host->mesh, (const uint8_t(*)[32])keys->keys, keys->count,
                           keys->verify_only, host_now_ms(host));
    reload->keys_wait = rc == -EBUSY;
    if (rc == -EBUSY && !waited)
        log_warn("key_file_waits", "why=%s", "a key of it is like one that others still seal with");
    else if (rc < 0 && rc != -EBUSY)
        log_error("key_file_bad", "kept=1 why=%s", strerror(-rc));
    if (rc < 0)
        return;
    reload->keys = *keys;
    log_info("key_file_read", "changed=1 keys=%u", keys->count);
    reload_keys_changed(host);
    say_what_is_wanted(host);
}

static void read_keys(struct reload *reload, bool is_asked)
{
    const char *path = reload->host->config->key_path;
    struct secret_keys keys;
    char why[SECRETS_WHY_MAX];
    if (path == NULL)
        return;
    reload->keys_seen = stamp_of(path); /* before it is read: what comes after is seen again */
    if (secrets_read_keys(&keys, path, why) < 0) {
        reload->keys_wait = false;
        log_error("key_file_bad", "kept=1 why=%s", why);
        return;
    }
    if (!secrets_keys_equal(&keys, &reload->keys))
        take_keys(reload, &keys);
    else if (is_asked)
        log_info("key_file_read", "changed=0");
    secrets_wipe_keys(&keys);
}

/* ---- when ------------------------------------------------------------------------------------ */

static void read_tokens(struct reload *reload)
{
    const char *path = reload->host->config->admin_token_path;
    if (path == NULL)
        return;
    reload->tokens_seen = stamp_of(path);
    status_reload(reload->host->status);
}

void reload_look(struct reload *reload)
{
    const struct host_config *config = reload->host->config;
    if (config->key_path != NULL) {
        struct stamp keys = stamp_of(config->key_path);
        if (reload->keys_wait || !same_stamp(&keys, &reload->keys_seen))
            read_keys(reload, false);
    }
    if (config->admin_token_path != NULL) {
        struct stamp tokens = stamp_of(config->admin_token_path);
        if (!same_stamp(&tokens, &reload->tokens_seen))
            read_tokens(reload);
    }
}

static void on_look(struct wheel_item *item, uint64_t now_ms)
{
    struct reload *reload = container_of(item, struct reload, look);
    reload_look(reload);
    wheel_set(&reload->host->wheel, item, now_ms + LOOK_MS);
}

void reload_now(struct reload *reload)
{
    read_keys(reload, true);
    read_tokens(reload);
}

int reload_new(struct reload **reloadp, struct host *host)
{
    const struct host_config *config = host->config;
    struct reload *reload = calloc(1, sizeof *reload);
    if (reload == NULL)
        return UV_ENOMEM;
    reload->host = host;
    reload->keys.count = config->mesh.keys_count;
    reload->keys.verify_only = config->mesh.verify_only;
    memcpy(reload->keys.keys, config->mesh.keys, sizeof reload->keys.keys);
    reload->look.on_due = on_look;
    reload_keys_changed(host);
    /* Keys have no stamp yet: written since they were read for the start, they are read once more.
     */
    if (config->admin_token_path != NULL)
        reload->tokens_seen = stamp_of(config->admin_token_path);
    if (config->key_path != NULL || config->admin_token_path != NULL)
        wheel_set(&host->wheel, &reload->look, host_now_ms(host));
    *reloadp = reload;
    return 0;
}

void reload_free(struct reload *reload)
{
    if (reload == NULL)
        return;
    wheel_stop(&reload->look);
    secrets_wipe_keys(&reload->keys);
    free(reload);
}

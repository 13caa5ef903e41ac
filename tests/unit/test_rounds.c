/* Tests of rounds.h: every order in which words can arrive between an owner that wakes and those
 * who take it for dead is tried on the product's own functions (invariant O1; DESIGN §16). And the
 * search itself is tried: without the vetoes it has to find an owner that serves beside its
 * successor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mesh/session/rounds.h"

#define PEERS_MAX 4 /* 0: the owner that wakes; 1, 2: takers; 3: a holder */
#define MAIL_MAX 40
#define STATES_MAX 1000000u
#define CELLS (1u << 21)

enum word { TAKE, GRANT, VETO, YIELD, CHECK, CHECKED, OWNED };

/* A message under way, in 32 bits. Epochs are bytes: counter * 4 + owner; 0: none. */
struct mail {
    uint8_t word, from_to, epoch, other; /* from_to: from * 4 + to; 128 more: it gives */
};

struct asked {
    uint8_t flags, told;
};

struct peer {
    uint8_t known, promised, taking, tried, is_owner, has_run;
    uint8_t life;   /* of the sleeper, as it believes */
    uint8_t waits;  /* of its round: a bit for each whose answer is awaited */
    uint8_t rounds; /* that it may still begin */
};

struct state {
    struct peer peers[PEERS_MAX];
    struct asked asked[PEERS_MAX];
    uint8_t is_awake, serves, is_checking, given, lost, epoch, asked_count, mail_count;
    struct mail mail[MAIL_MAX]; /* sorted */
};

struct search {
    uint8_t peers, takers, rounds; /* rounds: that each taker may begin */
    bool owner_is_highest;         /* of the ids */
    bool can_lose;                 /* any word but those of a check */
    bool can_lose_news;            /* what nobody waits for */
    /* Rules that are broken, to see that the search finds it: */
    bool follows_highest; /* nobody objects to a higher epoch than it knows */
    bool no_check;        /* who wakes goes on as if it had not slept */
    struct state *states;
    uint32_t *cells, *from;
    uint32_t count, done;
    uint32_t both; /* the first state in which two answer; 0: none */
    uint32_t ends; /* states in which nothing can happen any more, */
    uint32_t ends_owned;
    bool is_full;
};

/* ---- bytes and values ------------------------------------------------------------------------ */

static struct peer_id id_of(const struct search *s, unsigned peer)
{
    return (struct peer_id){peer == 0 ? (s->owner_is_highest ? 9 : 1) : 2 + peer, 1};
}

static unsigned peer_of(const struct search *s, struct peer_id id)
{
    unsigned peer = 0;
    while (!peer_id_equal(id_of(s, peer), id))
        peer++;
    return peer;
}

static struct mesh_epoch wide(const struct search *s, uint8_t epoch)
{
    if (epoch == 0)
        return (struct mesh_epoch){0, {0, 0}};
    return (struct mesh_epoch){epoch / 4, id_of(s, epoch % 4)};
}

static uint8_t narrow(const struct search *s, struct mesh_epoch epoch)
{
    assert_true(epoch.counter < 60);
    return epoch.counter == 0 ? 0 : (uint8_t)(epoch.counter * 4 + peer_of(s, epoch.owner));
}

static struct rounds rounds_of(const struct search *s, const struct peer *p)
{
    return (struct rounds){.known = wide(s, p->known),
                           .promised = wide(s, p->promised),
                           .taking = wide(s, p->taking),
                           .tried = p->tried,
                           .is_owner = p->is_owner,
                           .has_run = p->has_run};
}

static void rounds_put(const struct search *s, struct peer *p, const struct rounds *r)
{
    p->known = narrow(s, r->known);
    p->promised = narrow(s, r->promised);
    p->taking = narrow(s, r->taking);
    p->tried = (uint8_t)r->tried;
    p->is_owner = r->is_owner;
    p->has_run = r->has_run;
}

static struct rounds_check check_of(const struct search *s, const struct state *t)
{
    struct rounds_check c = {.epoch = wide(s, t->epoch),
                             .given = wide(s, t->given),
                             .lost = wide(s, t->lost),
                             .count = t->asked_count};
    for (uint32_t n = 0; n < t->asked_count; n++)
        c.asked[n] = (struct rounds_asked){.peer = id_of(s, t->asked[n].flags >> 4),
                                           .is_asked = t->asked[n].flags & 1,
                                           .is_clear = t->asked[n].flags & 2,
                                           .told = wide(s, t->asked[n].told)};
    return c;
}

static void check_put(const struct search *s, struct state *t, const struct rounds_check *c)
{
    t->given = narrow(s, c->given);
    t->lost = narrow(s, c->lost);
    t->asked_count = (uint8_t)c->count;
    memset(t->asked, 0, sizeof t->asked);
    assert_true(c->count <= PEERS_MAX);
    for (uint32_t n = 0; n < c->count; n++) {
        const struct rounds_asked *a = &c->asked[n];
        t->asked[n].flags = (uint8_t)(peer_of(s, a->peer) << 4 | a->is_clear * 2u | a->is_asked);
        t->asked[n].told = narrow(s, a->told);
    }
}

/* ---- mail: a set, in any order --------------------------------------------------------------- */

static void post(struct state *t, enum word word, unsigned from, unsigned to, uint8_t epoch,
                 uint8_t other, bool gives)
{
    struct mail m = {(uint8_t)word, (uint8_t)(from * 4 + to + (gives ? 128 : 0)), epoch, other};
    uint32_t at = 0;
    while (at < t->mail_count && memcmp(&t->mail[at], &m, sizeof m) < 0)
        at++;
    if (at < t->mail_count && memcmp(&t->mail[at], &m, sizeof m) == 0)
        return;
    assert_true(t->mail_count < MAIL_MAX);
    memmove(&t->mail[at + 1], &t->mail[at], (t->mail_count - at) * sizeof m);
    t->mail[at] = m;
    t->mail_count++;
}

static void take_out(struct state *t, uint32_t at)
{
    t->mail_count--;
    memmove(&t->mail[at], &t->mail[at + 1], (t->mail_count - at) * sizeof t->mail[0]);
    memset(&t->mail[t->mail_count], 0, sizeof t->mail[0]);
}

static bool is_under_way(const struct state *t, enum word word, unsigned from, unsigned to,
                         uint8_t epoch)
{
    for (uint32_t n = 0; n < t->mail_count; n++)
        if (t->mail[n].word == word && (t->mail[n].from_to & 15) == from * 4 + to &&
            t->mail[n].epoch == epoch)
            return true;
    return false;
}

static void post_all(const struct search *s, struct state *t, enum word word, unsigned from,
                     uint8_t epoch)
{
    for (unsigned to = 0; to < s->peers; to++)
        if (to != from)
            post(t, word, from, to, epoch, 0, false);
}

/* ---- the states seen ------------------------------------------------------------------------- */

static uint64_t hash(const struct state *t)
{
    uint64_t h = 1469598103934665603u;
    const uint8_t *bytes = (const uint8_t *)t;
    for (size_t n = 0; n < sizeof *t; n++)
        h = (h ^ bytes[n]) * 1099511628211u;
    return h ^ h >> 29;
}

static void add(struct search *s, const struct state *t)
{
    uint32_t at = (uint32_t)(hash(t) % CELLS);
    unsigned answering = 0;
    for (; s->cells[at] != 0; at = (at + 1) % CELLS)
        if (memcmp(&s->states[s->cells[at]], t, sizeof *t) == 0)
            return;
    if (s->count == STATES_MAX) {
        s->is_full = true;
        return;
    }
    s->cells[at] = s->count;
    s->from[s->count] = s->done;
    s->states[s->count] = *t;
    for (unsigned n = 0; n < s->peers; n++)
        answering += t->peers[n].is_owner && (n != 0 || t->serves);
    if (answering > 1 && s->both == 0)
        s->both = s->count;
    s->count++;
}

/* ---- what the three parts do, as takeover.c does --------------------------------------------- */

/* What `peer` believes of who owns `epoch`. The sleeper is pinged; the others never sleep. */
static enum rounds_life life_of(const struct search *s, struct state *t, unsigned peer,
                                uint8_t epoch)
{
    if (s->follows_highest)
        return ROUNDS_GONE;
    if (epoch == 0 || epoch % 4 != 0)
        return ROUNDS_LIVES;
    if (t->peers[peer].life == ROUNDS_UNSURE)
        t->peers[peer].life = t->is_awake ? ROUNDS_LIVES : ROUNDS_GONE;
    return (enum rounds_life)t->peers[peer].life;
}

static void own(const struct search *s, struct state *t, unsigned peer)
{
    struct rounds r = rounds_of(s, &t->peers[peer]);
    rounds_own(&r);
    rounds_put(s, &t->peers[peer], &r);
    post_all(s, t, OWNED, peer, t->peers[peer].known);
}

static void give_up(const struct search *s, struct state *t, unsigned peer, uint8_t taking)
{
    t->peers[peer].waits = 0;
    post_all(s, t, YIELD, peer, taking);
}

static bool begin(const struct search *s, struct state *t, unsigned peer, bool asks_sleeper)
{
    struct peer *p = &t->peers[peer];
    struct rounds r = rounds_of(s, p);
    struct mesh_epoch other;
    if (p->rounds == 0 || p->is_owner || p->taking != 0)
        return false;
    enum rounds_life owner = life_of(s, t, peer, p->known);
    enum rounds_life taker = life_of(s, t, peer, p->promised);
    if (rounds_begin(&r, id_of(s, peer), owner, taker, &other) != ROUNDS_GRANT)
        return false;
    rounds_put(s, p, &r);
    p->rounds--;
    for (unsigned to = 0; to < s->peers; to++) {
        if (to == peer || (to == 0 && !asks_sleeper))
            continue;
        p->waits |= (uint8_t)(1u << to);
        post(t, TAKE, peer, to, p->taking, p->known, false);
    }
    return true;
}

static void stop_waiting(const struct search *s, struct state *t, unsigned peer, unsigned for_whom)
{
    struct peer *p = &t->peers[peer];
    struct rounds r = rounds_of(s, p);
    uint8_t taking = p->taking;
    p->waits &= (uint8_t) ~(1u << for_whom);
    if (p->waits != 0)
        return;
    if (rounds_may_own(&r)) {
        own(s, t, peer);
        return;
    }
    rounds_give_up(&r);
    rounds_put(s, p, &r);
    give_up(s, t, peer, taking);
}

/* The sleeper, in doubt: goes on as far as it can. */
static void look(const struct search *s, struct state *t)
{
    struct rounds_check c = check_of(s, t);
    struct rounds r = rounds_of(s, &t->peers[0]);
    struct mesh_epoch higher;
    struct peer_id whom;
    for (;;) {
        enum rounds_verdict verdict = rounds_check_next(&c, false, &whom, &higher);
        check_put(s, t, &c);
        if (verdict == ROUNDS_WAIT)
            return;
        if (verdict == ROUNDS_ASK) {
            post(t, CHECK, 0, peer_of(s, whom), t->epoch, 0, false);
            continue;
        }
        if (verdict == ROUNDS_YIELD) {
            r.is_owner = false;
            r.known = higher;
        } else if (c.given.counter != 0) {
            if (c.given.counter > r.tried)
                r.tried = c.given.counter;
            rounds_adopt(&r, (struct mesh_epoch){r.tried + 1, id_of(s, 0)});
        }
        rounds_put(s, &t->peers[0], &r);
        t->serves = r.is_owner;
        if (verdict == ROUNDS_CLEAR && c.given.counter != 0)
            post_all(s, t, OWNED, 0, t->peers[0].known);
        t->is_checking = t->given = t->lost = t->asked_count = 0;
        memset(t->asked, 0, sizeof t->asked);
        return;
    }
}

static void wake(const struct search *s, struct state *t)
{
    struct rounds_check c = {.epoch = wide(s, t->peers[0].known)};
    t->is_awake = t->is_checking = 1;
    t->epoch = t->peers[0].known;
    for (unsigned n = 1; n < s->peers; n++)
        rounds_check_add(&c, id_of(s, n));
    if (s->no_check)
        c.count = 0;
    check_put(s, t, &c);
    look(s, t);
}

/* ---- words that arrive ----------------------------------------------------------------------- */

static void on_take(const struct search *s, struct state *t, unsigned to, unsigned from,
                    uint8_t epoch, uint8_t known)
{
    struct peer *p = &t->peers[to];
    struct rounds r = rounds_of(s, p);
    rounds_hear_of(&r, wide(s, known), false);
    enum rounds_life owner = life_of(s, t, to, narrow(s, r.known));
    enum rounds_life taker = life_of(s, t, to, p->promised);
    struct mesh_epoch other;
    enum rounds_word word = rounds_on_take(&r, id_of(s, to), wide(s, epoch), owner, taker, &other);
    rounds_put(s, p, &r);
    assert_int_not_equal(word, ROUNDS_LATER);
    if (word == ROUNDS_GRANT) /* what it has newer goes with it */
        other = wide(s, p->known);
    post(t, word == ROUNDS_GRANT ? GRANT : VETO, to, from, epoch, narrow(s, other), false);
}

static void on_grant(const struct search *s, struct state *t, unsigned to, unsigned from,
                     uint8_t epoch, uint8_t newer)
{
    struct rounds r = rounds_of(s, &t->peers[to]);
    rounds_hear_of(&r, wide(s, newer), false);
    if (t->peers[to].taking == epoch)
        rounds_put(s, &t->peers[to], &r);
    if (t->peers[to].taking == epoch)
        stop_waiting(s, t, to, from);
    else if (t->peers[to].known != epoch)
        post(t, YIELD, to, from, epoch, 0, false);
}

static void on_veto(const struct search *s, struct state *t, unsigned to, uint8_t epoch,
                    uint8_t other)
{
    struct peer *p = &t->peers[to];
    struct rounds r = rounds_of(s, p);
    if (p->taking != epoch)
        return;
    rounds_give_up(&r);
    if (r.tried < other / 4u)
        r.tried = other / 4u;
    rounds_put(s, p, &r);
    give_up(s, t, to, epoch);
}

static void on_check(const struct search *s, struct state *t, unsigned to, uint8_t epoch)
{
    struct peer *p = &t->peers[to];
    uint8_t taking = p->taking;
    enum rounds_life taker = life_of(s, t, to, p->promised);
    struct rounds r = rounds_of(s, p);
    struct rounds_told told = rounds_on_check(&r, id_of(s, to), wide(s, epoch), taker);
    rounds_put(s, p, &r);
    p->life = ROUNDS_LIVES;
    if (told.yields)
        give_up(s, t, to, taking);
    post(t, CHECKED, to, 0, epoch, narrow(s, told.other), told.gives);
}

/* Its copy comes in that epoch. */
static void on_owned(const struct search *s, struct state *t, unsigned to, uint8_t epoch)
{
    struct peer *p = &t->peers[to];
    if (mesh_epoch_compare(wide(s, epoch), wide(s, p->known)) <= 0)
        return;
    p->known = epoch;
    p->is_owner = 0;
    if (p->taking != 0 && mesh_epoch_compare(wide(s, epoch), wide(s, p->taking)) > 0) {
        uint8_t taking = p->taking;
        struct rounds r = rounds_of(s, p);
        rounds_give_up(&r);
        rounds_put(s, p, &r);
        give_up(s, t, to, taking);
    }
    if (to == 0)
        t->serves = t->is_checking = t->given = t->lost = t->asked_count = 0;
    if (to == 0)
        memset(t->asked, 0, sizeof t->asked);
}

static void deliver(const struct search *s, struct state *t, uint32_t at)
{
    struct mail m = t->mail[at];
    unsigned from = m.from_to >> 2 & 3, to = m.from_to & 3;
    struct rounds r;
    take_out(t, at);
    switch ((enum word)m.word) {
    case TAKE:
        on_take(s, t, to, from, m.epoch, m.other);
        break;
    case GRANT:
        on_grant(s, t, to, from, m.epoch, m.other);
        break;
    case VETO:
        on_veto(s, t, to, m.epoch, m.other);
        break;
    case YIELD:
        r = rounds_of(s, &t->peers[to]);
        rounds_on_yield(&r, wide(s, m.epoch));
        rounds_put(s, &t->peers[to], &r);
        break;
    case CHECK:
        on_check(s, t, to, m.epoch);
        break;
    case CHECKED:
        if (t->is_checking) {
            struct rounds_check c = check_of(s, t);
            rounds_on_checked(&c, id_of(s, from), wide(s, m.other), m.from_to & 128);
            check_put(s, t, &c);
            look(s, t);
        }
        break;
    case OWNED:
        on_owned(s, t, to, m.epoch);
        break;
    }
}

/* ---- what can happen next -------------------------------------------------------------------- */

/* Who can talk answers in time; it is silent who sleeps, or whose word was lost. */
static bool may_be_silent(const struct search *s, const struct state *t, unsigned peer,
                          unsigned whom)
{
    uint8_t taking = t->peers[peer].taking;
    if (is_under_way(t, GRANT, whom, peer, taking) || is_under_way(t, VETO, whom, peer, taking))
        return false;
    if (whom == 0 && !t->is_awake)
        return true;
    return s->can_lose && !is_under_way(t, TAKE, peer, whom, taking);
}

static bool may_be_lost(const struct search *s, enum word word)
{
    if (word == CHECK || word == CHECKED)
        return false;
    return s->can_lose || (s->can_lose_news && (word == YIELD || word == OWNED));
}

static bool steps_of(struct search *s, const struct state *t, unsigned peer)
{
    struct state next = *t;
    bool any = false;
    for (int asks = 0; asks < 2 && peer >= 1 && peer <= s->takers; asks++) {
        next = *t;
        /* whether the one that sleeps counts as a member is another matter */
        if ((asks == 0 && t->is_awake && !s->follows_highest) || !begin(s, &next, peer, asks))
            continue;
        add(s, &next);
        any = true;
    }
    for (unsigned whom = 0; whom < s->peers; whom++) {
        next = *t;
        if (!(t->peers[peer].waits & 1u << whom) || !may_be_silent(s, t, peer, whom))
            continue;
        stop_waiting(s, &next, peer, whom);
        add(s, &next);
        any = true;
    }
    next = *t;
    if (peer != 0 && t->peers[peer].is_owner && !t->peers[peer].has_run) {
        next.peers[peer].has_run = 1;
        add(s, &next); /* a request comes: not something that has to happen */
    }
    next = *t;
    if (peer != 0 && !t->is_awake && t->peers[peer].life == ROUNDS_UNSURE) {
        next.peers[peer].life = ROUNDS_GONE; /* asked for whatever reason */
        add(s, &next);
    }
    return any;
}

static void step(struct search *s)
{
    struct state now = s->states[s->done], next;
    bool any = false, is_owned = false;
    if (!now.is_awake) {
        next = now;
        wake(s, &next);
        add(s, &next);
        any = true;
    }
    for (uint32_t n = 0; n < now.mail_count; n++) {
        if ((now.mail[n].from_to & 3) == 0 && !now.is_awake)
            continue;
        next = now;
        deliver(s, &next, n);
        add(s, &next);
        any = true;
        if (!may_be_lost(s, (enum word)now.mail[n].word))
            continue;
        next = now;
        take_out(&next, n);
        add(s, &next);
    }
    for (unsigned peer = 0; peer < s->peers; peer++) {
        any = steps_of(s, &now, peer) || any;
        is_owned = is_owned || (now.peers[peer].is_owner && (peer != 0 || now.serves));
    }
    s->ends += !any;
    s->ends_owned += !any && is_owned;
}

/* Searches until two answer, or nothing new is found. */
static void run(struct search *s)
{
    struct state first;
    memset(&first, 0, sizeof first);
    s->states = malloc(STATES_MAX * sizeof *s->states);
    s->from = calloc(STATES_MAX, sizeof *s->from);
    s->cells = calloc(CELLS, sizeof *s->cells);
    assert_true(s->states != NULL && s->from != NULL && s->cells != NULL);
    for (unsigned n = 0; n < s->peers; n++) {
        first.peers[n].known = 1 * 4 + 0;
        first.peers[n].tried = 1;
        first.peers[n].life = ROUNDS_UNSURE;
        first.peers[n].rounds = n >= 1 && n <= s->takers ? s->rounds : 0;
    }
    first.peers[0].is_owner = first.peers[0].has_run = 1;
    s->count = 1; /* cells say 0 for none */
    s->done = 1;
    add(s, &first);
    for (; s->done < s->count && s->both == 0 && !s->is_full; s->done++)
        step(s);
}

static void tell(const struct search *s, uint32_t at)
{
    static const char *const words[] = {"TAKE",  "GRANT",   "VETO", "YIELD",
                                        "CHECK", "CHECKED", "OWNED"};
    if (s->from[at] != at && s->from[at] != 0 && at != 1)
        tell(s, s->from[at]);
    const struct state *t = &s->states[at];
    print_message("# state %u: awake %u serves %u checking %u\n", at, t->is_awake, t->serves,
                  t->is_checking);
    for (unsigned n = 0; n < s->peers; n++) {
        const struct peer *p = &t->peers[n];
        print_message("#   %u: known %u.%u promised %u.%u taking %u.%u owner %u waits %x life %u\n",
                      n, p->known / 4, p->known % 4, p->promised / 4, p->promised % 4,
                      p->taking / 4, p->taking % 4, p->is_owner, p->waits, p->life);
    }
    for (uint32_t n = 0; n < t->mail_count; n++)
        print_message("#   %s %u>%u %u.%u other %u.%u%s\n", words[t->mail[n].word],
                      t->mail[n].from_to >> 2 & 3, t->mail[n].from_to & 3, t->mail[n].epoch / 4,
                      t->mail[n].epoch % 4, t->mail[n].other / 4, t->mail[n].other % 4,
                      t->mail[n].from_to & 128 ? " gives" : "");
}

static void run_clean(struct search *s, const char *what)
{
    run(s);
    print_message("# %s: %u states, %u ends\n", what, s->count - 1, s->ends);
    if (s->both != 0)
        tell(s, s->both);
    assert_int_equal(s->both, 0);
    assert_false(s->is_full);
    assert_true(s->count > 1000); /* it did search */
}

static void done(struct search *s)
{
    free(s->states);
    free(s->from);
    free(s->cells);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_an_owner_that_wakes_never_answers_beside_its_successor(void **state)
{
    (void)state;
    for (int highest = 0; highest < 2; highest++) {
        struct search s = {.peers = 3, .takers = 2, .rounds = 1, .owner_is_highest = highest == 1};
        run_clean(&s, highest ? "two takers, the owner's id the highest" : "two takers");
        assert_true(s.ends_owned > 0);
        done(&s);
    }
}

static void test_nor_where_news_that_nobody_waits_for_is_lost(void **state)
{
    (void)state;
    struct search s = {.peers = 3, .takers = 2, .rounds = 1, .can_lose_news = true};
    run_clean(&s, "two takers, YIELD and copies are lost");
    done(&s);
}

/* Two takers that can not talk may both take it: that is a split. One alone never does. */
static void test_nor_where_any_word_but_its_question_is_lost(void **state)
{
    (void)state;
    struct search s = {.peers = 3, .takers = 1, .rounds = 1, .can_lose = true};
    run_clean(&s, "one taker, words are lost");
    done(&s);
}

static void test_nor_where_a_taker_asks_again(void **state)
{
    (void)state;
    struct search s = {.peers = 3, .takers = 1, .rounds = 2};
    run_clean(&s, "one taker that asks twice");
    done(&s);
}

static uint32_t found_after(struct search s)
{
    run(&s);
    assert_int_not_equal(s.both, 0);
    const struct state *t = &s.states[s.both];
    assert_true(t->is_awake && t->serves && t->peers[0].is_owner);
    uint32_t after = s.both;
    done(&s);
    return after;
}

static void test_the_search_finds_what_the_vetoes_are_for(void **state)
{
    (void)state;
    uint32_t after =
        found_after((struct search){.peers = 3, .takers = 2, .rounds = 1, .follows_highest = true});
    print_message("# where holders follow the highest epoch: after %u states\n", after);
}

static void test_the_search_finds_what_the_question_is_for(void **state)
{
    (void)state;
    uint32_t after =
        found_after((struct search){.peers = 3, .takers = 2, .rounds = 1, .no_check = true});
    print_message("# where who wakes asks nobody: after %u states\n", after);
}

/* ---- single rules ---------------------------------------------------------------------------- */

static const struct peer_id some[] = {{1, 1}, {2, 1}, {3, 1}, {4, 1}};

static struct mesh_epoch epoch_of(uint64_t counter, unsigned owner)
{
    return (struct mesh_epoch){counter, some[owner]};
}

/* Whose record is of a later epoch proves that the owner that we know of is none any more: that it
 * lives stands against nothing. */
static void test_who_has_a_later_record_is_not_refused_for_an_earlier_owner(void **state)
{
    (void)state;
    struct mesh_epoch other;
    struct rounds r = {.known = epoch_of(6, 0), .tried = 6};
    assert_int_equal(rounds_on_take(&r, some[3], epoch_of(8, 2), ROUNDS_LIVES, ROUNDS_GONE, &other),
                     ROUNDS_VETO);
    rounds_hear_of(&r, epoch_of(7, 1), false);
    assert_int_equal(rounds_on_take(&r, some[3], epoch_of(8, 2), ROUNDS_GONE, ROUNDS_GONE, &other),
                     ROUNDS_GRANT);
    struct rounds owner = {.known = epoch_of(6, 0), .is_owner = true};
    rounds_hear_of(&owner, epoch_of(7, 1), false);
    assert_int_equal(owner.known.counter, 6); /* what it owns it asks about, and yields then */
}

/* Two owners of one counter would give two events the same id. */
static void test_no_counter_is_owned_twice_in_a_row(void **state)
{
    (void)state;
    struct mesh_epoch other;
    struct rounds r = {.known = epoch_of(1, 0), .tried = 1};
    assert_int_equal(rounds_begin(&r, some[3], ROUNDS_GONE, ROUNDS_GONE, &other), ROUNDS_GRANT);
    assert_int_equal(r.taking.counter, 2);
    assert_true(rounds_may_own(&r));
    rounds_hear_of(&r, epoch_of(2, 1), false); /* a record comes with a grant */
    assert_false(rounds_may_own(&r));
    rounds_give_up(&r);
    assert_int_equal(rounds_begin(&r, some[3], ROUNDS_GONE, ROUNDS_GONE, &other), ROUNDS_GRANT);
    assert_int_equal(r.taking.counter, 3);
    assert_true(rounds_may_own(&r));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_owner_that_wakes_never_answers_beside_its_successor),
        cmocka_unit_test(test_nor_where_news_that_nobody_waits_for_is_lost),
        cmocka_unit_test(test_nor_where_any_word_but_its_question_is_lost),
        cmocka_unit_test(test_nor_where_a_taker_asks_again),
        cmocka_unit_test(test_the_search_finds_what_the_vetoes_are_for),
        cmocka_unit_test(test_the_search_finds_what_the_question_is_for),
        cmocka_unit_test(test_who_has_a_later_record_is_not_refused_for_an_earlier_owner),
        cmocka_unit_test(test_no_counter_is_owned_twice_in_a_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

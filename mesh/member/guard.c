/* guard.c - see guard.h. */
#include "mesh/member/guard.h"

/* ---- isolation ------------------------------------------------------------------------------ */

static struct guard_contact *find_contact(struct guard *guard, struct handle who)
{
    for (uint32_t n = 0; n < guard->contacts_count; n++)
        if (handle_equal(guard->contacts[n].who, who))
            return &guard->contacts[n];
    return NULL;
}

void guard_on_contacted(struct guard *guard, struct handle who, uint64_t now_ms)
{
    struct guard_contact *contact = find_contact(guard, who);
    if (contact != NULL) {
        /* who left a question unanswered is not excused by the next one */
        if (contact->heard_ms >= contact->contacted_ms)
            contact->asked_ms = now_ms;
        contact->contacted_ms = now_ms;
        return;
    }
    guard->contacts[guard->contacts_next] = (struct guard_contact){who, now_ms, now_ms, 0};
    guard->contacts_next = (guard->contacts_next + 1) % GUARD_CONTACTS_MAX;
    if (guard->contacts_count < GUARD_CONTACTS_MAX)
        guard->contacts_count++;
}

void guard_on_heard(struct guard *guard, struct handle who, uint64_t now_ms)
{
    struct guard_contact *contact = find_contact(guard, who);
    if (contact != NULL)
        contact->heard_ms = now_ms;
}

void guard_forget_contacts(struct guard *guard)
{
    guard->contacts_count = 0;
    guard->contacts_next = 0;
}

void guard_on_lag(struct guard *guard, uint64_t lag_ms)
{
    for (uint32_t n = 0; n < guard->contacts_count; n++) {
        guard->contacts[n].contacted_ms += lag_ms;
        guard->contacts[n].asked_ms += lag_ms;
        if (guard->contacts[n].heard_ms != 0)
            guard->contacts[n].heard_ms += lag_ms;
    }
}

bool guard_is_isolated(const struct guard *guard, uint64_t since_ms, uint64_t now_ms)
{
    uint32_t contacted = 0, heard = 0;
    for (uint32_t n = 0; n < guard->contacts_count; n++) {
        const struct guard_contact *contact = &guard->contacts[n];
        if (contact->contacted_ms < since_ms)
            continue;
        if (contact->heard_ms != 0 && contact->heard_ms >= since_ms) {
            contacted++;
            heard++;
        } else if (now_ms >= contact->asked_ms + GUARD_PATIENCE_MS) {
            contacted++;
        }
    }
    return contacted >= GUARD_CONTACTS_LEAST && 2 * heard < contacted;
}

/* ---- the brake ------------------------------------------------------------------------------ */

static void turn_page(struct guard *guard, uint64_t now_ms)
{
    uint64_t since_ms = now_ms - guard->deaths_since_ms;
    if (since_ms < BRAKE_RECENT_MS)
        return;
    guard->deaths_before = since_ms < 2 * BRAKE_RECENT_MS ? guard->deaths : 0;
    guard->deaths = 0;
    guard->deaths_since_ms = now_ms;
}

void guard_on_death(struct guard *guard, uint64_t now_ms)
{
    turn_page(guard, now_ms);
    guard->deaths++;
}

bool guard_brakes(const struct guard *guard, size_t suspects, size_t living, uint64_t now_ms)
{
    struct guard turned = *guard;
    turn_page(&turned, now_ms);
    uint64_t died = (uint64_t)turned.deaths + turned.deaths_before;
    uint64_t dead = died + suspects, all = died + living;
    return dead >= BRAKE_LEAST && dead * BRAKE_SHARE > all;
}

/* ---- stretching ----------------------------------------------------------------------------- */

uint32_t guard_stretch(uint32_t lost_ms, uint64_t span_ms, bool is_slow)
{
    if (!is_slow || lost_ms >= GUARD_STRETCH_MAX)
        return lost_ms;
    uint64_t more_ms = span_ms - span_ms / GUARD_SLOWDOWN, left_ms = GUARD_STRETCH_MAX - lost_ms;
    return lost_ms + (uint32_t)(more_ms < left_ms ? more_ms : left_ms);
}

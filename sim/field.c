/* field.c - the field's clock and heap, its seats, and the turns of their peers. What travels is
 * field_net.c's. */
#include "sim/field.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define START_MS 5000u         /* the peers' clock at the field's beginning */
#define WALL_MS 1760000000000u /* what wall clocks showed then */
#define FIELD_CHANCE 7         /* purposes, see chance_init() */
#define PORT 7946

static void *zero(size_t count, size_t size)
{
    void *made = calloc(count, size);
    if (made == NULL)
        abort();
    return made;
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static void seeded(struct shuffle *chance, uint64_t seed, uint64_t purpose)
{
    for (unsigned n = 0; n < 4; n++) /* splitmix64, as the authors of xoshiro advise */
        chance->s[n] = mix(seed * UINT64_C(0x9e3779b97f4a7c15) + purpose * 4 + n + 1);
    chance->s[3] |= 1;
}

/* ---- heap ----------------------------------------------------------------------------------- */

static bool is_before(const struct field_event *a, const struct field_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void push(struct field *field, const struct field_event *event)
{
    if (field->heap_count == field->heap_capacity) {
        field->heap_capacity = field->heap_capacity == 0 ? 4096 : 2 * field->heap_capacity;
        field->heap = realloc(field->heap, field->heap_capacity * sizeof *field->heap);
        if (field->heap == NULL)
            abort();
    }
    size_t at = field->heap_count++;
    while (at > 0 && is_before(event, &field->heap[(at - 1) / 4])) {
        field->heap[at] = field->heap[(at - 1) / 4];
        at = (at - 1) / 4;
    }
    field->heap[at] = *event;
}

static struct field_event pop(struct field *field)
{
    struct field_event top = field->heap[0];
    const struct field_event *moved = &field->heap[--field->heap_count];
    size_t at = 0, first;
    while ((first = at * 4 + 1) < field->heap_count) {
        size_t least = first, end = first + 4;
        if (end > field->heap_count)
            end = field->heap_count;
        for (size_t child = first + 1; child < end; child++)
            if (is_before(&field->heap[child], &field->heap[least]))
                least = child;
        if (!is_before(&field->heap[least], moved))
            break;
        field->heap[at] = field->heap[least];
        at = least;
    }
    field->heap[at] = *moved;
    return top;
}

void field_at(struct field *field, uint64_t at_us, enum field_event_kind kind, uint32_t seat,
              void *what)
{
    bool is_anybodys = kind == FIELD_DATAGRAM; /* whoever lives there then */
    struct field_event event = {
        .at_us = at_us,
        .order = field->order++ << 4 | kind,
        .seat = seat,
        .life = is_anybodys ? 0 : field->seats[seat].life,
        .what = what,
    };
    push(field, &event);
}

/* ---- names and addresses -------------------------------------------------------------------- */

void field_addr(struct mesh_addr *addr, uint32_t address)
{
    memset(addr, 0, sizeof *addr);
    addr->ip[10] = addr->ip[11] = 0xff;
    addr->ip[12] = 10;
    addr->ip[13] = (uint8_t)(address >> 16);
    addr->ip[14] = (uint8_t)(address >> 8);
    addr->ip[15] = (uint8_t)address;
    addr->port = PORT;
}

uint32_t field_seat_at(const struct field *field, const struct mesh_addr *addr)
{
    uint32_t address =
        (uint32_t)addr->ip[13] << 16 | (uint32_t)addr->ip[14] << 8 | (uint32_t)addr->ip[15];
    return address < field->addresses_count ? field->seat_at[address] : FIELD_NOBODY;
}

static void name_of(char name[MESH_NAME_MAX + 1], uint32_t seat)
{
    snprintf(name, MESH_NAME_MAX + 1, "mesh-%u", seat);
}

uint32_t field_seat_of(const struct field *field, uint64_t name)
{
    size_t low = 0, high = field->config.seats;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (field->names[middle] < name)
            low = middle + 1;
        else
            high = middle;
    }
    bool is_found = low < field->config.seats && field->names[low] == name;
    return is_found ? field->named[low] : FIELD_NOBODY;
}

struct naming {
    uint64_t hash;
    uint32_t seat;
};

static int naming_compare(const void *a, const void *b)
{
    uint64_t left = ((const struct naming *)a)->hash, right = ((const struct naming *)b)->hash;
    return left < right ? -1 : left > right;
}

static void name_all(struct field *field)
{
    uint32_t seats = field->config.seats;
    struct naming *namings = zero(seats, sizeof *namings);
    char name[MESH_NAME_MAX + 1];
    field->names = zero(seats, sizeof *field->names);
    field->named = zero(seats, sizeof *field->named);
    for (uint32_t n = 0; n < seats; n++) {
        name_of(name, n);
        namings[n] = (struct naming){view_name_hash(name), n};
    }
    qsort(namings, seats, sizeof *namings, naming_compare);
    for (uint32_t n = 0; n < seats; n++) {
        field->names[n] = namings[n].hash;
        field->named[n] = namings[n].seat;
    }
    free(namings);
}

void field_move(struct field *field, uint32_t seat)
{
    assert(field->addresses_count < field->config.seats + field->config.spare);
    field->seat_at[field->seats[seat].address] = FIELD_NOBODY;
    field->seats[seat].address = field->addresses_count;
    field->seat_at[field->addresses_count++] = seat;
}

/* ---- making and freeing --------------------------------------------------------------------- */

struct field *field_new(const struct field_config *config)
{
    struct field *field = zero(1, sizeof *field);
    uint32_t seats = config->seats;
    field->config = *config;
    if (config->delay_max_us == 0) {
        field->config.delay_min_us = 100;
        field->config.delay_max_us = 1000;
    }
    if (config->preset == NULL)
        field->config.preset = &swim_preset_product;
    seeded(&field->chance, config->seed, FIELD_CHANCE);
    field->seats = zero(seats, sizeof *field->seats);
    field->seat_at = zero(seats + config->spare, sizeof *field->seat_at);
    for (uint32_t n = 0; n < seats; n++) {
        field->seats[n].address = n;
        field->seats[n].wake_us = MESH_NEVER;
        field->seats[n].held_end = &field->seats[n].held;
        field->seat_at[n] = n;
    }
    field->addresses_count = seats;
    if (records_new(&field->records) < 0)
        abort();
    name_all(field);
    field_net_new(field);
    return field;
}

void field_free(struct field *field)
{
    if (field == NULL)
        return;
    for (uint32_t n = 0; n < field->config.seats; n++) {
        field_net_drop(field, n);
        swim_free(field->seats[n].swim);
    }
    for (size_t n = 0; n < field->heap_count; n++)
        field_event_free(field, &field->heap[n]);
    field_net_free(field);
    records_free(field->records);
    free(field->heap);
    free(field->seats);
    free(field->seat_at);
    free(field->names);
    free(field->named);
    free(field);
}

uint64_t field_clock_ms(const struct field *field)
{
    return START_MS + field->now_us / FIELD_MS;
}

/* ---- turns ---------------------------------------------------------------------------------- */

static void plan_wake(struct field *field, uint32_t number)
{
    struct seat *seat = &field->seats[number];
    uint64_t deadline_ms = swim_deadline_ms(seat->swim);
    if (deadline_ms == MESH_NEVER)
        return;
    uint64_t at_us = deadline_ms <= START_MS ? 0 : (deadline_ms - START_MS) * FIELD_MS;
    if (at_us < field->now_us)
        at_us = field->now_us;
    if (at_us >= seat->wake_us)
        return; /* woken before: then we see */
    seat->wake_us = at_us;
    field_at(field, at_us, FIELD_WAKE, number, NULL);
}

static void on_event(struct field *field, struct seat *seat, const struct swim_event *event)
{
    switch (event->kind) {
    case SWIM_JOINED:
        seat->is_joined = true;
        seat->joined_us = field->now_us;
        break;
    case SWIM_NAME_WAITING:
        break;
    case SWIM_NAME_TAKEN:
    case SWIM_SUPERSEDED:
    case SWIM_LEFT:
        seat->has_left = true;
        break;
    }
}

static void tell_change(struct field *field, uint32_t observer, const struct view_change *change)
{
    uint32_t subject = field_seat_of(field, change->id.name);
    if (subject != FIELD_NOBODY && !peer_id_equal(field->seats[subject].id, change->id))
        subject = FIELD_NOBODY;
    field->config.watch(field->config.context, field, observer, subject, change);
}

static void end_life(struct field *field, uint32_t number)
{
    struct seat *seat = &field->seats[number];
    field_net_drop(field, number);
    swim_free(seat->swim);
    seat->swim = NULL;
    seat->wake_us = MESH_NEVER;
    seat->is_stalled = seat->is_joined = false;
    seat->paused_until_us = seat->cpu_free_us = seat->wire_free_us = seat->inbox_bytes = 0;
}

void field_turn(struct field *field, uint32_t number)
{
    static struct wire_update records[WIRE_RECORDS_MAX];
    struct seat *seat = &field->seats[number];
    struct swim *swim = seat->swim;
    struct view_change change;
    struct swim_event event;
    struct wire_message message;
    struct swim_wish wish;
    struct swim_check check;
    struct swim_send send;
    struct peer_id to;
    field->turns++;
    if (peer_id_is_nobody(seat->id) && swim_is_announced(swim))
        seat->id = view_self(swim_view(swim))->record->id;
    while (view_next_change(swim_view(swim), &change))
        if (field->config.watch != NULL)
            tell_change(field, number, &change);
    while (swim_next_event(swim, &event))
        on_event(field, seat, &event);
    while (swim_next_link_message(swim, &to, &message, records))
        field_tell(field, number, to, &message);
    while (swim_next_wish(swim, &wish))
        field_wish(field, number, &wish);
    while (swim_next_check(swim, &check))
        field_check(field, number, &check);
    while (swim_next_send(swim, &send))
        field_send(field, number, &send);
    if (seat->has_left)
        end_life(field, number);
    else
        plan_wake(field, number);
}

uint64_t field_work(struct field *field, struct seat *seat, uint64_t work_us)
{
    if (seat->cpu_free_us < field->now_us)
        seat->cpu_free_us = field->now_us;
    seat->cpu_free_us += work_us;
    return seat->cpu_free_us;
}

static void wake(struct field *field, uint32_t number, uint64_t at_us)
{
    struct seat *seat = &field->seats[number];
    if (seat->wake_us != at_us)
        return; /* it was woken sooner, since */
    seat->wake_us = MESH_NEVER;
    if (swim_deadline_ms(seat->swim) > field_clock_ms(field)) {
        plan_wake(field, number);
        return;
    }
    swim_now(seat->swim, field_clock_ms(field));
    field_turn(field, number);
}

void field_run(struct field *field, uint64_t until_us)
{
    while (field->heap_count > 0 && field->heap[0].at_us <= until_us) {
        struct field_event event = pop(field);
        struct seat *seat = &field->seats[event.seat];
        field->now_us = event.at_us;
        field->events++;
        if (seat->swim == NULL || (event.life != 0 && event.life != seat->life)) {
            field_event_free(field, &event);
        } else if (seat->paused_until_us > field->now_us) {
            if (field_event_kind(&event) == FIELD_WAKE && seat->wake_us == event.at_us)
                seat->wake_us = seat->paused_until_us;
            event.at_us = seat->paused_until_us;
            push(field, &event);
        } else if (field_event_kind(&event) == FIELD_WAKE) {
            wake(field, event.seat, event.at_us);
        } else {
            field_net_event(field, &event);
        }
    }
    if (field->now_us < until_us)
        field->now_us = until_us;
}

/* ---- lives ---------------------------------------------------------------------------------- */

static void begin_life(struct field *field, uint32_t number, bool has_contacts)
{
    struct seat *seat = &field->seats[number];
    struct swim_config config = {
        .boot_ms = WALL_MS + field_clock_ms(field),
        .has_contacts = has_contacts,
        .members_max = field->config.seats + field->config.spare,
        .contacts_max = field->config.seats + field->config.spare,
        .name_wait_ms = 60000,
        .preset = field->config.preset,
        .records = field->records,
    };
    assert(seat->swim == NULL);
    seat->life++;
    seat->nonce = mix(field->config.seed ^ mix((uint64_t)number << 32 | seat->life)) | 1;
    seat->id = (struct peer_id){0, 0};
    seat->has_left = seat->is_off = false;
    seat->started_us = field->now_us;
    seat->strangers_since_ms = 0;
    name_of(config.self.name, number);
    field_addr(&config.self.addr, seat->address);
    config.self.nonce = seat->nonce;
    config.self.weight = 1;
    config.self.serving = true;
    seeded(&config.chance, field->config.seed, (uint64_t)number << 32 | (seat->life << 4));
    if (swim_new(&seat->swim, &config, field_clock_ms(field)) < 0)
        abort();
}

void field_start(struct field *field, uint32_t number, uint32_t contact)
{
    struct mesh_addr addr;
    begin_life(field, number, contact != FIELD_NOBODY);
    if (contact != FIELD_NOBODY) {
        field_addr(&addr, field->seats[contact].address);
        swim_join(field->seats[number].swim, &addr, field_clock_ms(field));
    }
    field_turn(field, number);
}

void field_contact(struct field *field, uint32_t number, uint32_t contact)
{
    struct mesh_addr addr;
    field_addr(&addr, field->seats[contact].address);
    swim_join(field->seats[number].swim, &addr, field_clock_ms(field));
    field_turn(field, number);
}

/* What a joiner says and wishes here is not for the wires. */
static void forget_turn(struct seat *seat)
{
    struct view_change change;
    struct swim_event event;
    struct swim_wish wish;
    struct swim_check check;
    struct swim_send send;
    while (view_next_change(swim_view(seat->swim), &change))
        continue;
    while (swim_next_event(seat->swim, &event))
        continue;
    while (swim_next_wish(seat->swim, &wish))
        continue;
    while (swim_next_check(seat->swim, &check))
        continue;
    while (swim_next_send(seat->swim, &send))
        continue;
}

static void start_welcomed(struct field *field, uint32_t number, uint32_t by)
{
    static struct wire_datagram welcome;
    struct seat *seat = &field->seats[number];
    uint64_t now_ms = field_clock_ms(field);
    struct mesh_addr from;
    char name[MESH_NAME_MAX + 1];
    begin_life(field, number, true);
    field_addr(&from, field->seats[by].address);
    swim_join(seat->swim, &from, now_ms);
    memset(&welcome, 0, sizeof welcome);
    welcome.target_name_only = view_self(swim_view(seat->swim))->record->id;
    welcome.target_nonce = seat->nonce;
    welcome.kind = DATAGRAM_WELCOME;
    name_of(name, by);
    welcome.sender = (struct peer_id){view_name_hash(name), WALL_MS + now_ms};
    swim_on_datagram(seat->swim, &from, &welcome, 1, now_ms);
    seat->id = view_self(swim_view(seat->swim))->record->id;
    assert(swim_is_announced(seat->swim) && seat->id.generation == WALL_MS + now_ms);
}

void field_start_met(struct field *field, uint32_t count)
{
    struct wire_update *records = zero(count, sizeof *records);
    struct wire_message all = {.kind = WIRE_VIEW};
    assert(count >= 2 && count <= UINT16_MAX);
    for (uint32_t n = 0; n < count; n++)
        start_welcomed(field, n, (n + 1) % count);
    uint16_t filled = 0;
    for (uint32_t n = 0; n < field->config.seats; n++) /* by id: each is added at the end */
        if (field->named[n] < count)
            view_tell(view_self(swim_view(field->seats[field->named[n]].swim)), &records[filled++]);
    all.view.mask = UINT64_MAX;
    all.view.count = filled;
    all.view.records = records;
    for (uint32_t n = 0; n < count; n++) {
        struct seat *seat = &field->seats[n];
        swim_on_link_message(seat->swim, field->seats[(n + 1) % count].id, &all,
                             field_clock_ms(field));
        forget_turn(seat);
        seat->is_joined = swim_is_joined(seat->swim);
        seat->joined_us = field->now_us;
        plan_wake(field, n);
    }
    free(records);
}

void field_crash(struct field *field, uint32_t number, bool power)
{
    field->seats[number].is_off = power;
    if (field->seats[number].swim != NULL)
        end_life(field, number);
}

void field_leave(struct field *field, uint32_t number)
{
    swim_leave(field->seats[number].swim, field_clock_ms(field));
    field_turn(field, number);
}

void field_pause(struct field *field, uint32_t number, uint64_t until_us)
{
    field->seats[number].paused_until_us = until_us;
}

void field_stall(struct field *field, uint32_t number, bool is_stalled)
{
    struct seat *seat = &field->seats[number];
    if (seat->swim == NULL || seat->is_stalled == is_stalled)
        return;
    seat->is_stalled = is_stalled;
    swim_stall(seat->swim, is_stalled);
    if (is_stalled)
        return;
    /* What blocked in a send goes on, and looks at its clock, before what came is read. */
    field_net_release(field, number);
}

/* ---- questions ------------------------------------------------------------------------------ */

bool field_runs(const struct field *field, uint32_t seat)
{
    return field->seats[seat].swim != NULL;
}

enum member_state field_state(struct field *field, uint32_t observer, uint32_t subject)
{
    const struct seat *by = &field->seats[observer];
    if (by->swim == NULL)
        return MEMBER_UNKNOWN;
    const struct mesh_member *member = view_find(swim_view(by->swim), field->seats[subject].id);
    return member == NULL ? MEMBER_UNKNOWN : member->state;
}

bool field_agrees(const struct field *field, uint32_t group, uint32_t living)
{
    bool has_hash = false;
    uint64_t hash = 0;
    for (uint32_t n = 0; n < field->config.seats; n++) {
        const struct seat *seat = &field->seats[n];
        if (seat->swim == NULL || (group != FIELD_NOBODY && seat->group != group))
            continue;
        const struct view *view = swim_view(seat->swim);
        if (!seat->is_joined || view_living(view) != living ||
            (has_hash && view_hash(view) != hash))
            return false;
        hash = view_hash(view);
        has_hash = true;
    }
    return has_hash;
}

uint64_t field_run_until_agreed(struct field *field, uint32_t group, uint32_t living,
                                uint64_t step_us, uint64_t until_us)
{
    while (!field_agrees(field, group, living)) {
        if (field->now_us >= until_us)
            return MESH_NEVER;
        field_run(field, field->now_us + step_us);
    }
    return field->now_us;
}

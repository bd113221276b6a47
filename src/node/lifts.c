#include "lifts.h"

#include "fail2ban.h"
#include "pace.h"

#include <stdlib.h>

#define SIZE_MIN  64
#define STALE_MAX 4096 /* entries that were dropped, and are in a queue still */
#define AGAIN_S   2
#define RETRY_MS  5000
#define UNREAD_S  (FAIL2BAN_BEHIND_MS / MS_PER_S)

/* First in, first out. */
typedef struct {
    uint32_t *slots;
    size_t first;
    size_t count;
    size_t size;
} queue_t;

struct lifts {
    lifts_parts_t parts;
    int64_t bantime_s;
    pace_t pace;
    queue_t lifted;
    queue_t ended;
    size_t waiting; /* slots with INDEX_LET_GO */
    uint32_t asked[JAILER_LIFT_MAX];
    size_t asked_count;
    mono_t not_before; /* after a failure */
    uint64_t done;
};

lifts_t *lifts_new(const lifts_parts_t *parts, const settings_t *settings)
{
    lifts_t *self = xcalloc(1, sizeof *self);
    self->parts = *parts;
    self->bantime_s = settings->shared.bantime_s;
    self->pace = pace_of(settings->shared.pace, mono_now());
    return self;
}

void lifts_destroy(lifts_t **self_p)
{
    lifts_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    free(self->lifted.slots);
    free(self->ended.slots);
    free(self);
}

void lifts_set(lifts_t *self, const settings_t *settings)
{
    self->bantime_s = settings->shared.bantime_s;
    pace_set(&self->pace, settings->shared.pace, mono_now());
}

/* ---- queues ---- */

static void enqueue(queue_t *self, uint32_t slot)
{
    if (self->count == self->size) {
        size_t size = self->size * 2 + SIZE_MIN;
        uint32_t *slots = xmalloc(size * sizeof *slots);
        for (size_t i = 0; i < self->count; i++)
            slots[i] = self->slots[(self->first + i) % self->size];
        free(self->slots);
        *self = (queue_t){slots, 0, self->count, size};
    }
    self->slots[(self->first + self->count++) % self->size] = slot;
}

static bool dequeue(queue_t *self, uint32_t *slot)
{
    if (self->count == 0)
        return false;
    *slot = self->slots[self->first];
    self->first = (self->first + 1) % self->size;
    self->count--;
    return true;
}

/* Keep what is still to be let go of, once each. */
static void purge(lifts_t *self, queue_t *queue)
{
    size_t count = queue->count;
    uint32_t number;
    for (size_t i = 0; i < count && dequeue(queue, &number); i++) {
        index_slot_t *slot = index_slot(self->parts.index, number);
        if ((slot->flags & (INDEX_FREE | INDEX_LET_GO)) != INDEX_LET_GO)
            continue;
        slot->flags = (uint16_t)(slot->flags & ~INDEX_LET_GO);
        enqueue(queue, number);
    }
}

static void flag_again(lifts_t *self, const queue_t *queue)
{
    for (size_t i = 0; i < queue->count; i++) {
        uint32_t number = queue->slots[(queue->first + i) % queue->size];
        index_slot(self->parts.index, number)->flags |= INDEX_LET_GO;
    }
}

/* Without a helper nothing is ever taken out, and what has been dropped adds up. */
static void purge_if_stale(lifts_t *self)
{
    if (self->lifted.count + self->ended.count < 2 * self->waiting + STALE_MAX)
        return;
    purge(self, &self->lifted);
    purge(self, &self->ended);
    flag_again(self, &self->lifted);
    flag_again(self, &self->ended);
}

void lifts_push(lifts_t *self, uint32_t number, bool lifted)
{
    index_slot_t *slot = index_slot(self->parts.index, number);
    if ((slot->flags & (INDEX_LET_GO | INDEX_ASKED)) != 0)
        return;
    purge_if_stale(self);
    slot->flags |= INDEX_LET_GO;
    self->waiting++;
    enqueue(lifted ? &self->lifted : &self->ended, number);
}

/* What stays in its queue is passed over. */
void lifts_drop(lifts_t *self, uint32_t number)
{
    index_slot_t *slot = index_slot(self->parts.index, number);
    self->waiting -= (slot->flags & INDEX_LET_GO) != 0;
    slot->flags = (uint16_t)(slot->flags & ~(INDEX_LET_GO | INDEX_RECHECK));
}

/* The next slot that is to be let go of. */
static bool next_slot(lifts_t *self, uint32_t *number)
{
    while (dequeue(&self->lifted, number) || dequeue(&self->ended, number)) {
        index_slot_t *slot = index_slot(self->parts.index, *number);
        if ((slot->flags & INDEX_FREE) == 0 && (slot->flags & INDEX_LET_GO) != 0)
            return true;
    }
    return false;
}

/* ---- asking ---- */

static uint32_t now_s(void)
{
    return (uint32_t)(wall_now().ms / MS_PER_S);
}

/* Until when a line of the slot may be unread; 0: there is none that may. */
static uint32_t unread_until_s(const lifts_t *self, const index_slot_t *slot)
{
    int64_t until_s = (int64_t)slot->held_until_s - self->bantime_s + UNREAD_S;
    return slot->held_until_s != 0 && until_s > (int64_t)now_s() ? (uint32_t)until_s : 0;
}

static void note_answer(lifts_t *self, uint32_t number, bool held)
{
    index_slot_t *slot = index_slot(self->parts.index, number);
    uint32_t unread_s = unread_until_s(self, slot);
    uint32_t again_s = 0;
    slot->flags = (uint16_t)(slot->flags & ~(INDEX_ASKED | INDEX_RECHECK));
    self->done += held;
    if (held)
        chronicle_note(self->parts.chronicle,
                       &(chronicle_entry_t){.event = CHRONICLE_LET_GO,
                                            .address = slot->address,
                                            .origin = CHRONICLE_NO_ORIGIN},
                       NULL);
    if (!held && unread_s != 0)
        again_s = now_s() + AGAIN_S;
    else {
        again_s = unread_s;
        slot->flags |= unread_s != 0 ? INDEX_RECHECK : 0;
        sink_note_free(self->parts.sink, number);
    }
    self->parts.answered(self->parts.arg, number, again_s);
}

/* It is asked for again when jailer is free. */
static void note_failure(lifts_t *self, uint32_t number)
{
    index_slot_t *slot = index_slot(self->parts.index, number);
    slot->flags = (uint16_t)(slot->flags & ~INDEX_ASKED);
    lifts_push(self, number, true);
}

static void answered(void *arg, jailer_status_t status, const bool *held, size_t count)
{
    lifts_t *self = arg;
    size_t asked_count = self->asked_count;
    self->asked_count = 0;
    if (status != JAILER_OK)
        self->not_before.ms = mono_now().ms + RETRY_MS;
    for (size_t i = 0; i < asked_count; i++)
        if (status == JAILER_OK && i < count)
            note_answer(self, self->asked[i], held[i]);
        else
            note_failure(self, self->asked[i]);
    self->parts.done(self->parts.arg);
}

void lifts_step(lifts_t *self)
{
    addr_t addresses[JAILER_LIFT_MAX];
    size_t count = 0;
    if (self->waiting == 0 || self->asked_count > 0 || mono_now().ms < self->not_before.ms ||
        !jailer_is_free(self->parts.jailer))
        return;
    pace_refill(&self->pace, mono_now());
    int64_t room = pace_live(&self->pace);
    while (count < JAILER_LIFT_MAX && (int64_t)count < room &&
           next_slot(self, &self->asked[count])) {
        index_slot_t *slot = index_slot(self->parts.index, self->asked[count]);
        slot->flags = (uint16_t)((slot->flags & ~INDEX_LET_GO) | INDEX_ASKED);
        self->waiting--;
        addresses[count++] = slot->address;
    }
    self->asked_count = count;
    pace_spend(&self->pace, (int64_t)count);
    if (count > 0 && !jailer_lift(self->parts.jailer, addresses, count, answered, self))
        answered(self, JAILER_FAILED, NULL, 0);
}

size_t lifts_waiting(const lifts_t *self)
{
    return self->waiting + self->asked_count;
}

uint64_t lifts_done(const lifts_t *self)
{
    return self->done;
}

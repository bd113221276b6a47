#include "reader.h"

#include "bytes.h"
#include "nid.h"
#include "special.h"
#include "stored.h"

/* Of one feed at a time, so that a busy one does not hold up the others. */
#define FEED_BATCHES 64
/* A trusted node gone bad could raise its floors all the time, to fill our log. */
#define GAPS_TOLD_MAX 1000

struct reader {
    service_t *service;
    enrich_t *enrich;
    cursors_t *cursors;
    block_t *block;          /* being filled */
    size_t turn;             /* the feed that is first in the next block */
    const feed_ref_t *stuck; /* has a batch that cannot be read; said so */
    unsigned told;           /* gaps in the log */
};

/* The name of a feed's origin. One that is no longer trusted was so when its bans came in: they
 * stay part of the history, under its key. */
static void name_origin(const trusted_t *node, const feed_ref_t *feed,
                        char out[static EVENT_NAME_MAX + 1])
{
    if (node != NULL)
        memcpy(out, node->name, EVENT_NAME_MAX + 1);
    else
        snprintf(out, EVENT_NAME_MAX + 1, "key-%016llx",
                 (unsigned long long)get_u64(feed->id.origin.bytes));
}

static void take_event(reader_t *self, attempt_record_t *record, const feed_ref_t *feed,
                       size_t index)
{
    event_t event;
    event_error_t malformed = wire_event(service_wire(self->service), index, &event);
    bool allow_special = service_settings(self->service)->guard.allow_special != 0;
    if (malformed != EVENT_OK)
        block_refuse(self->block, BLOCK_MALFORMED);
    else if (event.kind != EVENT_BAN)
        block_refuse(self->block, BLOCK_OTHER_KIND);
    else if (!allow_special && special_name(&event.ban.address) != NULL)
        block_refuse(self->block, BLOCK_SPECIAL);
    else {
        record->nid = nid_of(&feed->id.origin, &event.original);
        record->ban = event.ban;
        history_day(event.ban.time_ms, record->day);
        enrich_look_up(self->enrich, &event.ban.address, &record->facts);
        block_add(self->block, record, event.has_original);
    }
}

static void take_events(reader_t *self, attempt_record_t *record, const feed_ref_t *feed,
                        const wire_batch_t *batch)
{
    for (size_t i = 0; i < batch->event_count; i++)
        take_event(self, record, feed, i);
}

/* Returns false if the batch cannot be read now: nothing of it was taken. */
static bool take_batch(reader_t *self, attempt_record_t *record, const feed_ref_t *feed,
                       uint64_t seq)
{
    wire_batch_t batch;
    feed_t *feeds = service_feed(self->service);
    stored_t stored = stored_batch(feeds, service_wire(self->service), feed, seq, &batch);
    if (stored == STORED_UNREADABLE)
        block_refuse(self->block, BLOCK_UNREADABLE_BATCH);
    if (stored == STORED_BATCH)
        take_events(self, record, feed, &batch);
    return stored != STORED_NOTHING;
}

/* What is there and cannot be read is the disk's fault, and waits. */
static void note_stuck(reader_t *self, const attempt_record_t *record, const feed_ref_t *feed,
                       uint64_t seq)
{
    if (self->stuck != feed)
        log_warnx("state directory: batch %llu of %s cannot be read; its later ones wait",
                  (unsigned long long)seq, record->node);
    self->stuck = feed;
}

/* Once for each gap, although a lost connection brings us here again. */
static void tell_gap(reader_t *self, cursor_t *cursor, const char *node, uint64_t from,
                     uint64_t through)
{
    uint64_t count = through - from + 1;
    if (cursor->told_from <= from && through <= cursor->told_through)
        return;
    cursor->told_from = from;
    cursor->told_through = through;
    self->told++;
    if (self->told > GAPS_TOLD_MAX)
        return;
    log_warnx("%llu batches of %s (epoch %llu, seq %llu-%llu) are gone: older than retention",
              (unsigned long long)count, node, (unsigned long long)cursor->feed->id.epoch,
              (unsigned long long)from, (unsigned long long)through);
    if (self->told == GAPS_TOLD_MAX)
        log_warnx("no more of this is said: missed_batches in the status go on counting");
}

/* The next batch cannot be read. Pass over it, and all that are gone with it, if that is because
 * its origin raised the floor before it came to us. False: it waits. */
static bool pass_over(reader_t *self, cursor_t *cursor, const attempt_record_t *record,
                      cursor_reach_t *at)
{
    const feed_ref_t *feed = cursor->feed;
    uint64_t from = at->seq + 1;
    int64_t next = feed_next(service_feed(self->service), feed, at->seq);
    uint64_t end = next > 0 && (uint64_t)next < feed->floor ? (uint64_t)next : feed->floor;
    if (next != -1 && end > from) {
        if (at->seq != cursor->taken.seq || !cursors_confirm(cursor))
            return false; /* first what was before it */
        tell_gap(self, cursor, record->node, from, end - 1);
        *at = (cursor_reach_t){end - 1, at->missed + (end - from)};
        return true;
    }
    note_stuck(self, record, feed, from);
    return false;
}

/* Take some of what a feed has; what lies below its floor, too, as long as we hold it: it is
 * history. Returns false if there was nothing, or nothing to be had. */
static bool take_feed(reader_t *self, size_t index)
{
    cursor_t *cursor = cursors_at(self->cursors, index);
    if (cursor == NULL || !cursor->known || cursor->taken.seq >= cursor->feed->have)
        return false;
    const feed_ref_t *feed = cursor->feed;
    attempt_record_t record;
    cursor_reach_t at = cursor->taken;
    name_origin(trust_by_sign(mesh_trust(service_mesh(self->service)), &feed->id.origin), feed,
                record.node);
    for (int i = 0; i < FEED_BATCHES && at.seq < feed->have && !block_is_full(self->block); i++) {
        if (take_batch(self, &record, feed, at.seq + 1))
            at.seq++;
        else if (!pass_over(self, cursor, &record, &at))
            break;
    }
    if (at.seq == cursor->taken.seq)
        return false;
    block_move(self->block, cursor, at);
    return true;
}

void reader_take(reader_t *self, block_t *block, const trusted_t *node, const feed_ref_t *feed,
                 const wire_batch_t *batch)
{
    attempt_record_t record;
    cursor_t *cursor = cursors_of(self->cursors, feed);
    if (cursor == NULL || !cursor->known || cursor->taken.seq != batch->seq - 1 ||
        block_is_full(block))
        return;
    name_origin(node, feed, record.node);
    self->block = block;
    take_events(self, &record, feed, batch);
    self->block = NULL;
    block_move(block, cursor, (cursor_reach_t){batch->seq, cursor->taken.missed});
}

void reader_fill(reader_t *self, block_t *block)
{
    size_t count = cursors_count(self->cursors);
    bool more = true;
    self->block = block;
    while (more && !block_is_full(block)) {
        more = false;
        for (size_t i = 0; i < count && !block_is_full(block); i++)
            more = take_feed(self, (self->turn + i) % count) || more;
    }
    self->block = NULL;
    if (count > 0)
        self->turn = (self->turn + 1) % count;
}

reader_t *reader_new(service_t *service, enrich_t *enrich, cursors_t *cursors)
{
    reader_t *self = xcalloc(1, sizeof *self);
    self->service = service;
    self->enrich = enrich;
    self->cursors = cursors;
    return self;
}

void reader_destroy(reader_t **self_p)
{
    if (*self_p == NULL)
        return;
    free(*self_p);
    *self_p = NULL;
}

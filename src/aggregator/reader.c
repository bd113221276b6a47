#include "reader.h"

#include "bytes.h"
#include "nid.h"
#include "special.h"

/* Of one feed at a time, so that a busy one does not hold up the others. */
#define FEED_BATCHES 64

struct reader {
    service_t *service;
    enrich_t *enrich;
    cursors_t *cursors;
    block_t *block;          /* being filled */
    size_t turn;             /* the feed that is first in the next block */
    const feed_ref_t *stuck; /* has a batch that cannot be read; said so */
};

/* The name of a feed's origin. One that is no longer trusted was so when its bans came in: they
 * stay part of the history, under its key. */
static void name_origin(const reader_t *self, const feed_ref_t *feed,
                        char out[static EVENT_NAME_MAX + 1])
{
    const trusted_t *node = trust_by_sign(mesh_trust(service_mesh(self->service)), feed->id.origin);
    if (node != NULL)
        memcpy(out, node->name, EVENT_NAME_MAX + 1);
    else
        snprintf(out, EVENT_NAME_MAX + 1, "key-%016llx",
                 (unsigned long long)get_u64(feed->id.origin));
}

static void take_event(reader_t *self, attempt_record_t *record, const feed_ref_t *feed,
                       uint64_t seq, size_t index)
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
        event_position_t position = {feed->id.epoch, seq, feed->id.channel, (uint32_t)index};
        if (event.has_original)
            position = event.original;
        record->nid = nid_of(feed->id.origin, &position);
        record->ban = event.ban;
        enrich_country(self->enrich, &event.ban.address, record->country);
        block_add(self->block, record, event.has_original);
    }
}

/* Returns false if the batch cannot be read now: nothing of it was taken. */
static bool take_batch(reader_t *self, attempt_record_t *record, const feed_ref_t *feed,
                       uint64_t seq)
{
    const uint8_t *bytes;
    wire_batch_t batch;
    wire_t *wire = service_wire(self->service);
    size_t size = feed_read(service_feed(self->service), feed, seq, &bytes);
    if (size == 0)
        return false;
    if (wire_check(bytes, size) != WIRE_OK ||
        wire_read_batch(wire, bytes, size, &batch) != WIRE_OK) {
        block_refuse(self->block, BLOCK_UNREADABLE_BATCH);
        return true;
    }
    for (size_t i = 0; i < batch.event_count; i++)
        take_event(self, record, feed, seq, i);
    return true;
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

/* Take some of what a feed has. Returns false if there was nothing, or nothing to be had. */
static bool take_feed(reader_t *self, size_t index)
{
    cursor_t *cursor = cursors_at(self->cursors, index);
    const feed_ref_t *feed = cursor->feed;
    attempt_record_t record;
    uint64_t seq = cursor->taken;
    if (!cursor->known || seq >= feed->have)
        return false;
    if (seq + 1 < feed->oldest)
        seq = feed->oldest - 1; /* nobody has what is older any more */
    name_origin(self, feed, record.node);
    uint64_t end = seq + FEED_BATCHES;
    while (seq < feed->have && seq < end && !block_is_full(self->block)) {
        /* Under the floor there may be gaps, of what nobody had any more. */
        if (seq + 1 < feed->floor) {
            uint64_t next = feed_next(service_feed(self->service), feed, seq);
            if (next == 0)
                next = feed->floor;
            if (next > seq + 1) {
                seq = next - 1;
                continue;
            }
        }
        if (!take_batch(self, &record, feed, seq + 1)) {
            note_stuck(self, &record, feed, seq + 1);
            break;
        }
        seq++;
    }
    if (seq == cursor->taken)
        return false;
    cursor->taken = seq;
    block_move(self->block, index, seq);
    return true;
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
    free(*self_p);
    *self_p = NULL;
}

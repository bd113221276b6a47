#include "recall.h"

#include "attempts.h"
#include "nid.h"
#include "stored.h"
#include "ticker.h"

#include <inttypes.h>

#define TICK_MS      1000
#define TICK_BATCHES 256

/* What is kept of each feed; only ours are looked at. */
typedef struct {
    uint64_t done; /* newest seq that was taken in here */
    bool said;     /* that peers hold more */
} epoch_t;

struct recall {
    service_t *service;
    applier_t *applier;
    attempts_t *attempts;
    ticker_t *ticker;
    size_t note; /* epoch_t */
};

static void say_begin(epoch_t *epoch, const feed_ref_t *feed)
{
    if (!epoch->said && epoch->done < feed->head_seq)
        log_warnx("epoch %" PRIu64 " of ours: peers hold %" PRIu64
                  " batches more than this host: its state directory was lost or restored from a "
                  "backup; fetching them",
                  feed->id.epoch, feed->head_seq - epoch->done);
    epoch->said = epoch->said || epoch->done < feed->head_seq;
}

static void say_end(epoch_t *epoch, const feed_ref_t *feed)
{
    if (epoch->said && epoch->done == feed->head_seq) {
        log_info("epoch %" PRIu64 " of ours: complete again", feed->id.epoch);
        epoch->said = false;
    }
}

static int learn(recall_t *self, const wire_batch_t *batch)
{
    wall_t now = wall_now();
    for (size_t i = 0; i < batch->event_count; i++) {
        event_t event;
        if (wire_event(service_wire(self->service), i, &event) != EVENT_OK ||
            event.kind == EVENT_UNKNOWN)
            continue;
        if (event.kind != EVENT_ALLOW && attempts_learn(self->attempts, &event, now) == -1)
            return -1;
        if (event.kind == EVENT_BAN)
            applier_note_own(self->applier, &event.ban,
                             nid_of(&batch->feed.origin, &event.original));
        else
            applier_note_own_grace(self->applier, &event);
    }
    return 0;
}

static int take_batch(recall_t *self, const feed_ref_t *feed, uint64_t seq)
{
    wire_batch_t batch;
    feed_t *feeds = service_feed(self->service);
    if (stored_batch(feeds, service_wire(self->service), feed, seq, &batch) != STORED_BATCH)
        return 0;
    return learn(self, &batch);
}

/* Take in what came back, some of it in one commit. Returns 0, or -1: not now, try again. */
static int catch_up(recall_t *self, epoch_t *epoch, const feed_ref_t *feed)
{
    db_t *db = feed_own_db(service_feed(self->service));
    uint64_t seq = epoch->done + 1 < feed->floor ? feed->floor - 1 : epoch->done;
    uint64_t end = feed->have < seq + TICK_BATCHES ? feed->have : seq + TICK_BATCHES;
    if (epoch->done >= feed->have)
        return 0;
    if (db_begin(db) == -1)
        return -1;
    while (seq < end && take_batch(self, feed, seq + 1) == 0)
        seq++;
    if (seq == end && db_commit(db) == 0) {
        epoch->done = end;
        return 0;
    }
    db_rollback(db);
    return -1;
}

/* What this run began has nothing that the intake did not give it. */
static void tick(void *arg)
{
    recall_t *self = arg;
    feed_t *feeds = service_feed(self->service);
    const feed_ref_t *feed;
    for (size_t i = 0; (feed = feed_own_at(feeds, i)) != NULL; i++) {
        epoch_t *epoch = feed_note(feed, self->note);
        if (feed->of_this_run) {
            epoch->done = feed->have;
            continue;
        }
        say_begin(epoch, feed);
        if (catch_up(self, epoch, feed) == -1)
            return;
        say_end(epoch, feed);
    }
}

recall_t *recall_new(service_t *service, applier_t *applier)
{
    recall_t *self = xcalloc(1, sizeof *self);
    feed_t *feeds = service_feed(service);
    const feed_ref_t *feed;
    self->service = service;
    self->applier = applier;
    self->attempts = attempts_new(feed_own_db(feeds));
    self->note = feed_reserve(feeds, sizeof(epoch_t), NULL, NULL);
    for (size_t i = 0; (feed = feed_own_at(feeds, i)) != NULL; i++)
        ((epoch_t *)feed_note(feed, self->note))->done = feed->have;
    self->ticker = ticker_new(service_loop(service), TICK_MS, tick, self);
    return self;
}

void recall_destroy(recall_t **self_p)
{
    recall_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    ticker_destroy(&self->ticker);
    attempts_destroy(&self->attempts);
    feed_release(service_feed(self->service), self->note);
    free(self);
}

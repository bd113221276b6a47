#include "recall.h"

#include "attempts.h"
#include "stored.h"
#include "ticker.h"

#define TICK_MS      1000
#define TICK_BATCHES 256

/* One epoch of ours. */
typedef struct {
    const feed_ref_t *feed;
    uint64_t done; /* newest seq that was taken in here */
    bool said;     /* that peers hold more */
} epoch_t;

struct recall {
    service_t *service;
    applier_t *applier;
    attempts_t *attempts;
    ticker_t *ticker;
    epoch_t *epochs;
    size_t count;
    size_t seen; /* feeds that were looked at */
};

static void add_epochs(recall_t *self, bool is_start)
{
    feed_t *feeds = service_feed(self->service);
    for (; self->seen < feed_count(feeds); self->seen++) {
        const feed_ref_t *feed = feed_at(feeds, self->seen);
        if (!feed_is_ours(feeds, &feed->id.origin))
            continue;
        self->epochs = xrealloc(self->epochs, (self->count + 1) * sizeof *self->epochs);
        self->epochs[self->count++] = (epoch_t){feed, is_start ? feed->have : 0, false};
    }
}

static void say_begin(epoch_t *epoch)
{
    const feed_ref_t *feed = epoch->feed;
    if (!epoch->said && epoch->done < feed->head_seq)
        log_warnx("epoch %" PRIu64 " of ours: peers hold %" PRIu64
                  " batches more than this host: its state directory was lost or restored from a "
                  "backup; fetching them",
                  feed->id.epoch, feed->head_seq - epoch->done);
    epoch->said = epoch->said || epoch->done < feed->head_seq;
}

static void say_end(epoch_t *epoch)
{
    if (epoch->said && epoch->done == epoch->feed->head_seq) {
        log_info("epoch %" PRIu64 " of ours: complete again", epoch->feed->id.epoch);
        epoch->said = false;
    }
}

static int learn(recall_t *self, const wire_batch_t *batch)
{
    wall_t now = wall_now();
    for (size_t i = 0; i < batch->event_count; i++) {
        event_t event;
        if (wire_event(service_wire(self->service), i, &event) != EVENT_OK ||
            event.kind != EVENT_BAN)
            continue;
        if (attempts_learn(self->attempts, &event.ban, &event.original, now) == -1)
            return -1;
        applier_note_local(self->applier, &event.ban);
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
static int catch_up(recall_t *self, epoch_t *epoch)
{
    db_t *db = feed_own_db(service_feed(self->service));
    uint64_t seq = epoch->done + 1 < epoch->feed->floor ? epoch->feed->floor - 1 : epoch->done;
    uint64_t end = epoch->feed->have < seq + TICK_BATCHES ? epoch->feed->have : seq + TICK_BATCHES;
    if (epoch->done >= epoch->feed->have)
        return 0;
    if (db_begin(db) == -1)
        return -1;
    while (seq < end && take_batch(self, epoch->feed, seq + 1) == 0)
        seq++;
    if (seq == end && db_commit(db) == 0) {
        epoch->done = end;
        return 0;
    }
    db_rollback(db);
    return -1;
}

/* The running epoch has nothing that the intake did not give it. */
static void tick(void *arg)
{
    recall_t *self = arg;
    add_epochs(self, false);
    for (size_t i = 0; i < self->count; i++) {
        epoch_t *epoch = &self->epochs[i];
        if (epoch->feed == feed_own_current(service_feed(self->service))) {
            epoch->done = epoch->feed->have;
            continue;
        }
        say_begin(epoch);
        if (catch_up(self, epoch) == -1)
            return;
        say_end(epoch);
    }
}

recall_t *recall_new(service_t *service, applier_t *applier)
{
    recall_t *self = xcalloc(1, sizeof *self);
    self->service = service;
    self->applier = applier;
    self->attempts = attempts_new(feed_own_db(service_feed(service)));
    add_epochs(self, true);
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
    free(self->epochs);
    free(self);
}

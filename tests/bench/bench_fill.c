/* bench_fill - a node's own.db with COUNT bans of the feeder in it, PER_BATCH to a batch, as its
 * daemon would have made it in months: signed by its key, on all cores, numbered from 1 in one
 * epoch. STATE must exist, and no daemon may run on it. Prints how many batches, their bytes, and
 * how long it took, in ns. */
#include "cert.h"
#include "feed.h"
#include "feeder.h"
#include "measure.h"
#include "tables.h"
#include "wire.h"

#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAKERS_MAX 16
#define ROUND      512 /* batches that one maker signs before they are stored */

typedef struct {
    uint8_t *bytes;
    size_t size;
} sealed_t;

/* One thread's part of a round: `count` batches from number `first`. */
typedef struct {
    pthread_t thread;
    wire_t *wire;
    feed_id_t feed;
    size_t bans;
    size_t per_batch;
    int64_t now_ms;
    uint64_t first;
    size_t count;
    uint8_t out[WIRE_ENVELOPE_MAX];
    event_t events[WIRE_EVENTS_MAX];
    sealed_t sealed[ROUND];
} maker_t;

static void make_batch(maker_t *self, size_t index)
{
    wire_batch_t batch = {.feed = self->feed, .seq = self->first + index, .time_ms = wall_now().ms};
    size_t from = (batch.seq - 1) * self->per_batch;
    size_t left = self->bans - from;
    batch.event_count = left < self->per_batch ? left : self->per_batch;
    for (size_t i = 0; i < batch.event_count; i++) {
        self->events[i] = (event_t){.kind = EVENT_BAN};
        feeder_ban(from + i, self->bans, self->now_ms, &self->events[i].ban);
    }
    size_t size = wire_write_batch(self->wire, &batch, self->events, self->out);
    if (size == 0)
        fatalx("%zu bans do not fit a batch", batch.event_count);
    self->sealed[index] = (sealed_t){memcpy(xmalloc(size), self->out, size), size};
}

static void *make_part(void *arg)
{
    maker_t *self = arg;
    for (size_t i = 0; i < self->count; i++)
        make_batch(self, i);
    return NULL;
}

/* Store what one maker signed, in order. Returns the bytes. */
static size_t store_part(feed_t *feed, const feed_ref_t *ref, maker_t *maker)
{
    size_t bytes = 0;
    for (size_t i = 0; i < maker->count; i++) {
        const sealed_t *sealed = &maker->sealed[i];
        if (feed_store(feed, ref, maker->first + i, sealed->bytes, sealed->size) == -1)
            fatal("own.db");
        bytes += sealed->size;
        free(sealed->bytes);
    }
    return bytes;
}

/* Sign one round on all cores, then store it. Returns the bytes. */
static size_t run_round(feed_t *feed, const feed_ref_t *ref, maker_t *makers, size_t maker_count,
                        uint64_t batches)
{
    uint64_t next = ref->have + 1;
    size_t bytes = 0;
    for (size_t i = 0; i < maker_count; i++) {
        uint64_t left = batches - (next - 1);
        makers[i].first = next;
        makers[i].count = left < ROUND ? (size_t)left : ROUND;
        next += makers[i].count;
        if (pthread_create(&makers[i].thread, NULL, make_part, &makers[i]) != 0)
            fatalx("cannot start a thread");
    }
    if (db_begin(feed_own_db(feed)) == -1)
        fatal("own.db");
    for (size_t i = 0; i < maker_count; i++) {
        pthread_join(makers[i].thread, NULL);
        bytes += store_part(feed, ref, &makers[i]);
    }
    if (db_commit(feed_own_db(feed)) == -1)
        fatal("own.db");
    return bytes;
}

static maker_t *start_makers(size_t count, const cert_t *cert, const feed_ref_t *ref, size_t bans,
                             size_t per_batch)
{
    maker_t *makers = xcalloc(count, sizeof *makers);
    for (size_t i = 0; i < count; i++) {
        makers[i].wire = wire_new(cert->sign_seed);
        makers[i].feed = ref->id;
        makers[i].bans = bans;
        makers[i].per_batch = per_batch;
        makers[i].now_ms = wall_now().ms;
    }
    return makers;
}

int main(int argc, char **argv)
{
    fault_t fault;
    log_open("bench_fill");
    if (argc != 5 || sodium_init() == -1) {
        fputs("usage: bench_fill SECRET STATE COUNT PER_BATCH\n", stderr);
        return 2;
    }
    size_t bans = number_of(argv[3]);
    size_t per_batch = number_of(argv[4]);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t maker_count = cores < MAKERS_MAX ? (size_t)cores : MAKERS_MAX;
    cert_t *cert = cert_load_secret(argv[1], &fault);
    feed_t *feed =
        cert != NULL ? feed_open(argv[2], &cert->sign_public, &tables_of_node, &fault) : NULL;
    if (feed == NULL || per_batch > WIRE_EVENTS_MAX)
        fatalx("%s", feed == NULL ? fault.text : "PER_BATCH: more than a batch holds");
    const feed_ref_t *ref = feed_own(feed, wall_now());
    if (ref == NULL)
        fatal("%s", argv[2]);
    int64_t start = now_ns();
    uint64_t batches = (bans + per_batch - 1) / per_batch;
    size_t bytes = 0;
    maker_t *makers = start_makers(maker_count, cert, ref, bans, per_batch);
    while (ref->have < batches)
        bytes += run_round(feed, ref, makers, maker_count, batches);
    value_print("batches", (double)batches);
    value_print("bytes", (double)bytes);
    value_print("ns", (double)(now_ns() - start));
    for (size_t i = 0; i < maker_count; i++)
        wire_destroy(&makers[i].wire);
    free(makers);
    feed_close(&feed);
    cert_destroy(&cert);
    return 0;
}

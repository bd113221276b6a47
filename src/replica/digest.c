#include "digest.h"

#include "bytes.h"
#include "position.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define ENTRY_BYTES (FEED_ID_BYTES + 8 + 8)

static_assert(WIRE_DIGESTS == FEED_BUCKETS, "a digest a bucket");

/* What was computed, and at which change. */
typedef struct {
    uint64_t changes[FEED_BUCKETS];
    wire_survey_t survey;
} known_t;

struct digest {
    feed_t *feed;
    known_t known[2]; /* without and with epochs that have ended */
    const feed_ref_t **some;
    size_t some_size;
};

digest_t *digest_new(feed_t *feed)
{
    digest_t *self = xcalloc(1, sizeof *self);
    self->feed = feed;
    self->known[true].survey.history = true;
    for (size_t i = 0; i < FEED_BUCKETS; i++)
        self->known[false].changes[i] = self->known[true].changes[i] = UINT64_MAX;
    return self;
}

void digest_destroy(digest_t **self_p)
{
    if (*self_p == NULL)
        return;
    free((*self_p)->some);
    free(*self_p);
    *self_p = NULL;
}

/* By bucket first, since that is the origin's first byte. */
static int compare(const void *one_p, const void *other_p)
{
    const feed_ref_t *one = *(const feed_ref_t *const *)one_p;
    const feed_ref_t *other = *(const feed_ref_t *const *)other_p;
    return feed_id_compare(&one->id, &other->id);
}

static bool has_part(const feed_ref_t *feed, bool history)
{
    return position_shown(feed) > 0 && (history || !feed->ended);
}

static bool is_stale(const digest_t *self, const known_t *known, size_t bucket)
{
    return known->changes[bucket] != feed_changes(self->feed, bucket);
}

static bool is_any_stale(const digest_t *self, const known_t *known)
{
    for (size_t i = 0; i < FEED_BUCKETS; i++)
        if (is_stale(self, known, i))
            return true;
    return false;
}

/* The feeds of all buckets that changed, in order; returns how many. */
static size_t gather(digest_t *self, const known_t *known)
{
    size_t count = 0;
    const feed_ref_t *feed;
    if (self->some_size < feed_count(self->feed)) {
        self->some_size = feed_count(self->feed);
        self->some = xrealloc(self->some, self->some_size * sizeof(const feed_ref_t *));
    }
    for (size_t i = 0; (feed = feed_at(self->feed, i)) != NULL; i++)
        if (is_stale(self, known, feed_bucket(feed)) && has_part(feed, known->survey.history))
            self->some[count++] = feed;
    if (count > 0)
        qsort(self->some, count, sizeof(const feed_ref_t *), compare);
    return count;
}

static void add_entry(crypto_generichash_state *hash, const feed_ref_t *feed)
{
    uint8_t entry[ENTRY_BYTES];
    feed_id_put(entry, &feed->id);
    put_u64(entry + FEED_ID_BYTES, position_shown(feed));
    put_u64(entry + FEED_ID_BYTES + 8, feed->floor);
    crypto_generichash_update(hash, entry, sizeof entry);
}

/* Returns behind its last feed. */
static const feed_ref_t **compute(size_t bucket, const feed_ref_t **from, const feed_ref_t **end,
                                  uint8_t out[static WIRE_DIGEST_BYTES])
{
    crypto_generichash_state hash;
    uint8_t whole[crypto_generichash_BYTES];
    crypto_generichash_init(&hash, NULL, 0, sizeof whole);
    while (from < end && feed_bucket(*from) == bucket)
        add_entry(&hash, *from++);
    crypto_generichash_final(&hash, whole, sizeof whole);
    memcpy(out, whole, WIRE_DIGEST_BYTES);
    return from;
}

static void refresh(digest_t *self, known_t *known)
{
    size_t count = gather(self, known);
    const feed_ref_t **next = self->some;
    const feed_ref_t **end = next + count;
    for (size_t i = 0; i < FEED_BUCKETS; i++) {
        if (!is_stale(self, known, i))
            continue;
        next = compute(i, next, end, known->survey.digests[i]);
        known->changes[i] = feed_changes(self->feed, i);
    }
}

void digest_fill(digest_t *self, bool history, wire_survey_t *out)
{
    known_t *known = &self->known[history];
    if (is_any_stale(self, known))
        refresh(self, known);
    *out = known->survey;
}

bool digest_wants(const wire_survey_t *asked, const wire_survey_t *ours, const feed_ref_t *feed)
{
    size_t bucket = feed_bucket(feed);
    return has_part(feed, asked->history) &&
           (asked->all ||
            memcmp(asked->digests[bucket], ours->digests[bucket], WIRE_DIGEST_BYTES) != 0);
}

/* progress - how far catch-up is, origin by origin, in words for the operator when it takes a
 * while: "catching up with mx1: 412,000 of 1,000,000 batches". Reads the feeds; asks nobody. */
#ifndef BANMESH_MESH_PROGRESS_H
#define BANMESH_MESH_PROGRESS_H

#include "feed.h"

#define PROGRESS_SAY_MS    5000 /* between two words of one origin, and before the first */
#define PROGRESS_COUNT_MAX 32   /* bytes of a number as text, with its NUL */

typedef struct {
    pubkey_t origin;
    uint64_t have; /* batches of its feeds that count, and are here; with the history, all */
    uint64_t all;
    mono_t since; /* when it was first seen to be behind */
} progress_of_t;

typedef struct progress progress_t;

typedef struct {
    /* Our name for an origin; NULL: nothing of it is wanted. */
    const char *(*name)(void *arg, const pubkey_t *origin);
    /* One line for the log. */
    void (*say)(void *arg, const char *text);
    void *arg;
} progress_calls_t;

/* feed is borrowed for as long as the progress lives. */
progress_t *progress_new(feed_t *feed, const progress_calls_t *calls);
void progress_destroy(progress_t **self_p);

/* Look, now and then. An origin that goes on for longer than PROGRESS_SAY_MS is told of, at most
 * that often, only if something came, and at the end. Costs a look at each feed. */
void progress_look(progress_t *self, mono_t now);

/* Origins that were behind at the last look; NULL behind the last. */
const progress_of_t *progress_at(const progress_t *self, size_t index);

/* 1234567 as "1,234,567". */
const char *progress_count(uint64_t number, char out[static PROGRESS_COUNT_MAX]);

#endif

/* feeds - a replica on disk in the working directory, for the tests of feed. */
#ifndef BANMESH_TESTS_FEEDS_H
#define BANMESH_TESTS_FEEDS_H

#include "feed.h"
#include "support.h"

#define FEEDS_T0 1795288000000

/* What is kept beside the feeds; a test of node sets another. */
extern const state_tables_t *feeds_tables;

/* Open "state", which must exist, for the node feeds_self; it is made by feeds_open_new. */
extern const pubkey_t feeds_self;
feed_t *feeds_open(void);
feed_t *feeds_open_new(void);
void feeds_reopen(feed_t **feed);

/* Why "state" cannot be opened, or "no fault". */
const char *feeds_open_fault(void);

/* The id of a peer whose key is that byte over and over. */
feed_id_t feeds_peer_id(uint8_t origin, uint64_t epoch);
const feed_ref_t *feeds_add(feed_t *feed, uint8_t origin, uint64_t epoch);
const feed_ref_t *feeds_find(feed_t *feed, uint8_t origin, uint64_t epoch);

/* Store "batch SEQ"; check that it is there, or that nothing is. */
int feeds_store(feed_t *feed, const feed_ref_t *ref, uint64_t seq);
void feeds_assert_holds(feed_t *feed, const feed_ref_t *ref, uint64_t seq);
void feeds_assert_lacks(feed_t *feed, const feed_ref_t *ref, uint64_t seq);

wall_t feeds_at(int64_t ms);

#endif

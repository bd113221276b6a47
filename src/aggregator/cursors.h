/* cursors - how far each feed of the replica is in the store.
 *
 *   banmesh:cursor:<origin, 64 hex digits>:<epoch>:<channel>   STRING   "<seq> <dataset>"
 *
 * A cursor says that everything up to seq is in the dataset that it names. Read back at each
 * connect, so a store that went back in time (an old snapshot, a replica that lagged) rewinds us by
 * itself; a cursor of another dataset than the store's own (somebody flushed it while we wrote)
 * counts for nothing. Knows no sockets. */
#ifndef BANMESH_AGGREGATOR_CURSORS_H
#define BANMESH_AGGREGATOR_CURSORS_H

#include "commands.h"
#include "feed.h"

#include <hiredis/hiredis.h>

#define CURSORS_KEY_BYTES 128

typedef struct {
    const feed_ref_t *feed;
    bool asked;      /* what the store has was asked for */
    bool known;      /* and answered */
    uint64_t taken;  /* newest seq that went into a block, or further back */
    uint64_t stored; /* newest seq whose events are all in the store */
    uint64_t noted;  /* the store's own cursor says so, or was told to */
} cursor_t;

typedef struct cursors cursors_t;

/* Of all feeds but those of one origin, our own. Borrowed for as long as the cursors live. */
cursors_t *cursors_new(feed_t *feeds, const uint8_t own[static FEED_ORIGIN_BYTES]);
void cursors_destroy(cursors_t **self_p);

/* All of them, those of new feeds included; index from 0. */
size_t cursors_count(cursors_t *self);
cursor_t *cursors_at(cursors_t *self, size_t index);

/* The connection is gone, and with it all that was on its way. */
void cursors_forget(cursors_t *self);

/* Add the command that reads the cursors not asked for yet, at most some hundreds at once. False if
 * there are none, or if such a command is on its way. */
bool cursors_ask(cursors_t *self, commands_t *out);

/* Its answer. */
void cursors_learn(cursors_t *self, const redisReply *reply, const char *dataset);

/* Some are further than the store's own cursors say. */
bool cursors_have_moved(const cursors_t *self);

/* Add the command that writes the cursors that have moved, as above. False: none has. */
bool cursors_note(cursors_t *self, commands_t *out, const char *dataset);

/* Batches of the replica that are not in the store. */
uint64_t cursors_behind(cursors_t *self);

/* The name of a feed's cursor. */
void cursors_key(const feed_id_t *id, char key[static CURSORS_KEY_BYTES]);

/* What a cursor's text means in a dataset: its seq; 0 if it is not of it, or not a cursor. */
uint64_t cursors_parse(const char *text, const char *dataset);

#endif

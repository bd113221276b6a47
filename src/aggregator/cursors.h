/* cursors - how far each feed of the replica is in the store.
 *
 *   banmesh:cursor:<origin, 64 hex digits>:<epoch>:<channel>   STRING   "<seq> <dataset>"
 *                                                            or "<seq> <dataset> <missed>"
 *
 * A cursor says that everything up to seq is in the dataset that it names, but for `missed` batches
 * that nobody holds any more. Read back at each connect, so a store that went back in time (an old
 * snapshot, a replica that lagged) rewinds us by itself; a cursor of another dataset than the
 * store's own (somebody flushed it while we wrote) counts for nothing. Knows no sockets. */
#ifndef BANMESH_AGGREGATOR_CURSORS_H
#define BANMESH_AGGREGATOR_CURSORS_H

#include "commands.h"
#include "feed.h"

#include <hiredis/hiredis.h>

#define CURSORS_KEY_BYTES 160 /* and of a cursor's text */

/* How far a feed is, and how many of the batches up to there were not to be had. */
typedef struct {
    uint64_t seq;
    uint64_t missed;
} cursor_reach_t;

typedef struct {
    const feed_ref_t *feed; /* NULL: not looked at yet */
    size_t blocks;          /* that will move it, and are not in the store */
    bool leaving;           /* its epoch has ended, and nothing of it is left here */
    bool gone;              /* the store's own cursor is deleted, for that */
    bool asked;             /* what the store has was asked for */
    bool known;             /* and answered */
    bool doubted;           /* it was asked for again, on the same connection */
    bool confirmed;         /* and that was answered */
    bool noting;            /* `note` is on its way to the store */
    cursor_reach_t taken;   /* newest seq that went into a block, or further back */
    cursor_reach_t stored;  /* newest seq whose events are all in the store */
    cursor_reach_t noted;   /* the store's own cursor says so */
    cursor_reach_t note;    /* what it was told to say */
    uint64_t told_from;     /* batches that are gone, of which the log was told last */
    uint64_t told_through;  /* 0: none yet */
} cursor_t;

typedef struct cursors cursors_t;

/* Of all feeds but our own. Borrowed for as long as the cursors live. A feed that goes waits for
 * its cursor to go from the store first. */
cursors_t *cursors_new(feed_t *feeds);
void cursors_destroy(cursors_t **self_p);

/* That of a feed; NULL if it is ours. */
cursor_t *cursors_of(const cursors_t *self, const feed_ref_t *feed);

/* That of the feed at an index, from 0; NULL if there is none: behind the last, or ours. */
cursor_t *cursors_at(const cursors_t *self, size_t index);
size_t cursors_count(const cursors_t *self);

/* The connection is gone, and with it all that was on its way. */
void cursors_forget(cursors_t *self);

/* Some were not asked for yet, and no command that asks is on its way. */
bool cursors_may_ask(const cursors_t *self);

/* Add that command: reads at most some hundreds at once. */
void cursors_ask(cursors_t *self, commands_t *out);

/* Its answer. */
void cursors_learn(cursors_t *self, const redisReply *reply, const char *dataset);

/* Before a cursor passes over batches that we do not have: another aggregator may have stored them,
 * so have the store asked once more. False: not answered yet; take nothing of this feed. */
bool cursors_confirm(cursor_t *cursor);

/* Some are further than the store's own cursors say, or are to be deleted there. */
bool cursors_have_moved(const cursors_t *self);

/* Add the commands that do it, of at most some hundreds at once. */
void cursors_note(cursors_t *self, commands_t *out, const char *dataset);

/* Whether that was done. */
void cursors_noted(cursors_t *self, bool done);

/* Batches of the replica that are not in the store. */
uint64_t cursors_behind(const cursors_t *self);

/* Batches that no peer held any more when we came to them, of all feeds. */
uint64_t cursors_missed(const cursors_t *self);

/* The name of a feed's cursor. */
void cursors_key(const feed_id_t *id, char key[static CURSORS_KEY_BYTES]);

/* What a cursor's text means in a dataset; nothing at all if it is not of it, or not a cursor. */
cursor_reach_t cursors_parse(const char *text, const char *dataset);

#endif

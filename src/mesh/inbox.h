/* inbox - what comes in from peers, taken apart: who may say what by which way, whose signature is
 * checked where, and what follows from it. Knows neither sockets nor whom to connect to. */
#ifndef BANMESH_MESH_INBOX_H
#define BANMESH_MESH_INBOX_H

#include "catchup.h"
#include "replay.h"
#include "verifier.h"

typedef struct inbox inbox_t;

typedef struct {
    zloop_t *loop;
    feed_t *feed;
    wire_t *wire;
    replica_t *replica;
    catchup_t *catchup;
    /* A heartbeat of a peer that was not connected. */
    void (*connected)(void *arg, peer_t *peer);
    /* An announcement began a feed: its origin was started anew, perhaps too quickly for us to
     * notice, and the end of the one before is not announced any more. */
    void (*feed_began)(void *arg, peer_t *peer);
    /* The peer asks us. */
    void (*asked)(void *arg, peer_t *peer, const envelope_t *envelope);
    /* The peer says what it knows of us. May be NULL. */
    void (*heard)(void *arg, peer_t *peer, const wire_heard_t *heard);
    /* The disk said no; errno of db_step. */
    void (*failed)(void *arg);
    /* A burst is over: commit, act. */
    void (*idle)(void *arg);
    void *arg;
} inbox_config_t;

/* Everything in config is borrowed for as long as the inbox lives. */
inbox_t *inbox_new(const inbox_config_t *config);
void inbox_destroy(inbox_t **self_p);

/* One message, as it came. */
void inbox_receive(inbox_t *self, peer_t *peer, const peer_message_t *message);

/* One that is opened. Announcements are taken in at once; answers in bulk go through the verifier,
 * and come out in order. */
void inbox_take(inbox_t *self, peer_t *peer, const envelope_t *envelope, peer_way_t way);

/* A peer goes away. */
void inbox_forget(inbox_t *self, const peer_t *peer);

#endif

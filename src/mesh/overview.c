#include "overview.h"

#include <sodium.h>

static json_t *peer_status(const overview_t *self, const peer_t *peer)
{
    const trusted_t *node = peer_node(peer);
    int64_t heard_by;
    json_t *json =
        json_pack("{s:s, s:s, s:b, s:b, s:I, s:I, s:I}", "name", node->name, "endpoint",
                  peer_endpoint(peer), "connected", peer_connected(peer), "offers",
                  peer_offers(peer), "heard_ms_ago", (json_int_t)peer_heard_ms(peer),
                  "missing_batches", (json_int_t)catchup_lag(self->catchup, &node->sign_public),
                  "reconnects", (json_int_t)peer_reconnects(peer));
    if (peer_hears(peer, &heard_by))
        json_object_set_new(json, "heard_by_ms_ago", json_integer(heard_by));
    json_object_set_new(json, "unheard_ms", json_integer(peer_unheard_ms(peer)));
    return json;
}

static json_t *twins_status(const overview_t *self)
{
    json_t *list = json_array();
    char text[TWINS_TEXT_MAX];
    mono_t now = mono_now();
    for (size_t i = 0; self->twins != NULL && twins_text(self->twins, i, now, text); i++)
        json_array_append_new(list, json_string(text));
    return list;
}

static const char *origin_name(const overview_t *self, const pubkey_t *origin)
{
    if (feed_is_ours(self->feed, origin))
        return self->own_name;
    const trusted_t *node = trust_by_sign(self->trust, origin);
    return node != NULL ? node->name : "(untrusted)";
}

static json_t *feed_status(const overview_t *self, const feed_ref_t *ref)
{
    char key[CERT_Z85_BYTES];
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "origin",
                     origin_name(self, &ref->id.origin), "key", cert_z85(&ref->id.origin, key),
                     "epoch", (json_int_t)ref->id.epoch, "channel", (json_int_t)ref->id.channel,
                     "have", (json_int_t)ref->have, "head", (json_int_t)ref->head_seq, "floor",
                     (json_int_t)ref->floor, "applied", (json_int_t)ref->cursor, "ended",
                     ref->ended);
}

static json_t *fork_status(const overview_t *self, const fork_t *fork)
{
    char here[2 * WIRE_HASH_BYTES + 1];
    char there[2 * WIRE_HASH_BYTES + 1];
    sodium_bin2hex(here, sizeof here, fork->hash_here, WIRE_HASH_BYTES);
    sodium_bin2hex(there, sizeof there, fork->hash_there, WIRE_HASH_BYTES);
    return json_pack("{s:s, s:I, s:I, s:I, s:s, s:s, s:I, s:b}", "origin",
                     origin_name(self, &fork->feed.origin), "epoch", (json_int_t)fork->feed.epoch,
                     "channel", (json_int_t)fork->feed.channel, "seq", (json_int_t)fork->seq,
                     "hash_here", here, "hash_there", there, "found_s",
                     (json_int_t)(fork->found_ms / MS_PER_S), "quarantined", !fork->reset);
}

static json_t *forks_status(const overview_t *self)
{
    json_t *forks = json_array();
    const fork_t *fork;
    for (size_t i = 0; (fork = replica_fork(self->replica, i)) != NULL; i++)
        json_array_append_new(forks, fork_status(self, fork));
    return forks;
}

static json_t *progress_status(const overview_t *self)
{
    json_t *list = json_array();
    const progress_of_t *one;
    for (size_t i = 0; (one = progress_at(self->progress, i)) != NULL; i++)
        json_array_append_new(list,
                              json_pack("{s:s, s:I, s:I, s:I}", "origin",
                                        origin_name(self, &one->origin), "have",
                                        (json_int_t)one->have, "all", (json_int_t)one->all, "for_s",
                                        (json_int_t)(mono_since_ms(one->since) / MS_PER_S)));
    return list;
}

static json_t *refused_status(const overview_t *self)
{
    const replica_counters_t *counters = replica_counters(self->replica);
    json_t *refused = json_object();
    for (int i = WIRE_OK + 1; i < WIRE_ERROR_COUNT; i++)
        if (counters->refused_wire[i] > 0)
            json_object_set_new(refused, wire_error_name((wire_error_t)i),
                                json_integer((json_int_t)counters->refused_wire[i]));
    for (int i = 0; i < REPLICA_REASON_COUNT; i++)
        if (counters->refused[i] > 0)
            json_object_set_new(refused, replica_reason_name((replica_reason_t)i),
                                json_integer((json_int_t)counters->refused[i]));
    return refused;
}

static json_t *counter_status(const overview_t *self)
{
    const replica_counters_t *in = replica_counters(self->replica);
    const replay_counters_t *out = replay_counters(self->replay);
    const link_counters_t *made = &self->connections;
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}",
        "announced", (json_int_t)self->announced, "relayed", (json_int_t)self->relayed, "stored",
        (json_int_t)in->stored, "known", (json_int_t)in->known, "early", (json_int_t)in->early,
        "heads", (json_int_t)in->heads, "fetches_answered", (json_int_t)out->fetches,
        "surveys_answered", (json_int_t)out->surveys, "heads_replayed", (json_int_t)out->heads_sent,
        "batches_replayed", (json_int_t)out->batches_sent, "answers_cut", (json_int_t)out->dropped,
        "answers_put_off", (json_int_t)out->put_off, "requests_not_answered",
        (json_int_t)out->too_many, "connections_admitted", (json_int_t)made->admitted,
        "connections_refused", (json_int_t)made->refused, "connections_kept_out",
        (json_int_t)made->kept_out, "refused", refused_status(self));
}

json_t *overview_json(const overview_t *self)
{
    json_t *peers = json_array();
    json_t *feeds = json_array();
    for (size_t i = 0; i < self->peer_count; i++)
        json_array_append_new(peers, peer_status(self, self->peers[i]));
    for (size_t i = 0; i < feed_count(self->feed); i++)
        json_array_append_new(feeds, feed_status(self, feed_at(self->feed, i)));
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:I, s:o}", "twins", twins_status(self), "peers",
                     peers, "feeds", feeds, "catching_up", progress_status(self), "forks",
                     forks_status(self), "missing_batches",
                     (json_int_t)catchup_missing(self->catchup), "messages", counter_status(self));
}

#include "replay.h"

#include "chance.h"
#include "heads.h"
#include "quota.h"

#include <errno.h>
#include <stdlib.h>

#define BUNDLED_BYTES 8192 /* larger batches travel alone */

struct replay {
    replay_config_t config;
    quotas_t *quotas;
    replay_counters_t counters;
    wire_bundle_t bundle;
    uint8_t out[WIRE_ENVELOPE_MAX];
};

/* ---- back over a connection that was made to us ---- */

typedef struct {
    link_t *link;
    const peer_route_t *route;
} back_t;

static bool send_back(void *to, const uint8_t *bytes, size_t size)
{
    const back_t *back = to;
    return link_answer(back->link, back->route, bytes, size) == 0;
}

/* An answer to nothing, which a peer passes over: it fails if the connection is gone. */
static bool is_alive(void *arg, const peer_route_t *route)
{
    replay_t *self = arg;
    const wire_done_t nothing = {0};
    size_t size = wire_write_done(self->config.wire, &nothing, self->out);
    return link_answer(self->config.link, route, self->out, size) == 0 || errno == EAGAIN;
}

/* ---- answers ---- */

/* One answer on its way. */
typedef struct {
    replay_t *replay;
    const replay_way_t *way;
    size_t messages;
    size_t bytes;
    bool cut;
} answer_t;

static answer_t start_answer(replay_t *self, const replay_way_t *way)
{
    self->bundle.count = self->bundle.used = 0;
    return (answer_t){.replay = self, .way = way};
}

/* One message to one peer. False if its queue is full or it is gone: it will ask again. */
static bool send_one(answer_t *answer, const uint8_t *bytes, size_t size)
{
    if (answer->way->send(answer->way->to, bytes, size)) {
        answer->messages++;
        answer->bytes += size;
        return true;
    }
    answer->cut = true;
    answer->replay->counters.dropped++;
    return false;
}

/* Send what was gathered; a single envelope as it is. If that fails it stays gathered. */
static bool send_bundle(answer_t *answer)
{
    replay_t *self = answer->replay;
    wire_bundle_t *bundle = &self->bundle;
    bool sent = true;
    if (bundle->count == 1)
        sent = send_one(answer, bundle->bytes, bundle->used);
    else if (bundle->count > 1)
        sent = send_one(answer, self->out, wire_write_bundle(self->config.wire, bundle, self->out));
    if (sent)
        bundle->count = bundle->used = 0;
    return sent;
}

/* Add an envelope to what is gathered, or send it alone if it is large. False: the way is shut. */
static bool add_envelope(answer_t *answer, const uint8_t *envelope, size_t size)
{
    if (size > BUNDLED_BYTES)
        return send_bundle(answer) && send_one(answer, envelope, size);
    if (wire_bundle_add(&answer->replay->bundle, envelope, size))
        return true;
    return send_bundle(answer) && wire_bundle_add(&answer->replay->bundle, envelope, size);
}

static bool has_room(const answer_t *answer)
{
    return answer->messages < REPLAY_MESSAGES_MAX &&
           answer->bytes + answer->replay->bundle.used < REPLAY_BYTES_MAX;
}

/* Batches behind `after`, as far as they are there and the answer has room. Returns how far it
 * went: the last ones gathered do not count if they could not be sent. */
static uint64_t send_batches(answer_t *answer, const feed_ref_t *ref, uint64_t after,
                             uint32_t credit)
{
    replay_t *self = answer->replay;
    uint64_t through = after;
    for (; through < ref->have && credit > 0 && has_room(answer); credit--, through++) {
        const uint8_t *batch;
        size_t size = feed_read(self->config.feed, ref, through + 1, &batch);
        if (size == 0 || !add_envelope(answer, batch, size))
            break;
    }
    if (!answer->cut)
        send_bundle(answer);
    through -= self->bundle.count;
    self->counters.batches_sent += through - after;
    return through;
}

static void answer_fetch(replay_t *self, const replay_way_t *way, quota_t *quota,
                         const wire_fetch_t *fetch)
{
    answer_t answer = start_answer(self, way);
    const feed_ref_t *ref = feed_find(self->config.feed, &fetch->feed);
    wire_done_t done = {.feed = fetch->feed, .through = fetch->after};
    self->counters.fetches++;
    if (ref != NULL) {
        done.have = ref->have;
        int64_t oldest = feed_next(self->config.feed, ref, fetch->after);
        done.oldest = oldest > 0 ? (uint64_t)oldest : 0;
        /* If what comes next is gone, the asker decides how to go on. */
        if (done.oldest == fetch->after + 1 && quota_may_ask(quota))
            done.through = send_batches(&answer, ref, fetch->after, fetch->credit);
        else if (done.oldest == fetch->after + 1)
            self->counters.put_off++;
        quota_pay(quota, answer.bytes);
    }
    send_one(&answer, self->out, wire_write_done(self->config.wire, &done, self->out));
}

/* The head of a feed; and where its origin died before it signed for the newest batch, that one: it
 * proves by itself that it is there. */
static void add_head(answer_t *answer, const feed_ref_t *ref, wall_t now)
{
    const replay_config_t *config = &answer->replay->config;
    uint8_t head[HEADS_ENVELOPE_MAX];
    const uint8_t *batch;
    size_t size = heads_read(config->feed, config->wire, ref, now, head);
    if (size > 0 && !add_envelope(answer, head, size))
        return;
    answer->replay->counters.heads_sent += size > 0;
    bool ours = feed_is_ours(config->feed, &ref->id.origin);
    size = !ours && ref->have > ref->kept_seq ? feed_read(config->feed, ref, ref->have, &batch) : 0;
    if (size > 0)
        add_envelope(answer, batch, size);
}

static void tell(answer_t *answer, const trusted_t *asker, const wire_survey_t *asked)
{
    replay_t *self = answer->replay;
    wire_heard_t heard = {.ms_ago = -1};
    if (self->config.tell == NULL || answer->cut)
        return;
    self->config.tell(self->config.arg, asker, asked, answer->way->address, &heard);
    send_one(answer, self->out, wire_write_heard(self->config.wire, &heard, self->out));
}

/* The heads of all buckets that differ, from another one on each time: of very many, the last ones
 * do not fit the queue. */
static void answer_survey(replay_t *self, const replay_way_t *way, const trusted_t *sender,
                          const wire_survey_t *asked)
{
    quota_t *quota = quotas_of(self->quotas, sender);
    wire_survey_t ours;
    answer_t answer = start_answer(self, way);
    wall_t now = wall_now();
    size_t count = feed_count(self->config.feed);
    size_t start = chance_below((uint32_t)count);
    self->counters.surveys++;
    if (!quota_may_ask(quota)) {
        self->counters.put_off++;
        return;
    }
    digest_fill(self->config.digest, asked->history, &ours);
    for (size_t i = 0; i < count && !answer.cut; i++) {
        const feed_ref_t *ref = feed_at(self->config.feed, (start + i) % count);
        if (digest_wants(asked, &ours, ref))
            add_head(&answer, ref, now);
    }
    send_bundle(&answer);
    tell(&answer, sender, asked);
    quota_pay(quota, answer.bytes);
}

void replay_answer(replay_t *self, const replay_way_t *way, const trusted_t *sender,
                   const envelope_t *envelope)
{
    wire_fetch_t fetch = {0};
    wire_survey_t survey = {0};
    if (!pubkey_equal(&sender->sign_public, envelope->origin)) {
        replica_refuse(self->config.replica, REPLICA_WRONG_PEER);
        return;
    }
    wire_error_t error = wire_verify(self->config.wire, envelope);
    if (error == WIRE_OK)
        error = envelope->kind == WIRE_FETCH
                    ? wire_read_fetch(self->config.wire, envelope, &fetch)
                    : wire_read_survey(self->config.wire, envelope, &survey);
    if (error != WIRE_OK)
        replica_refuse_wire(self->config.replica, error);
    else if (envelope->kind == WIRE_FETCH)
        answer_fetch(self, way, quotas_of(self->quotas, sender), &fetch);
    else
        answer_survey(self, way, sender, &survey);
}

/* ---- what comes in ---- */

static bool is_answered(replay_t *self, quota_t *quota, const trusted_t *sender,
                        const peer_route_t *route)
{
    if (quota_has_route(quota, route, is_alive, self))
        return true;
    self->counters.too_many++;
    if (!quota->told)
        log_warnx("peer %s: asks over more than %d connections; further ones get no answer",
                  sender->name, QUOTA_ROUTES_MAX);
    quota->told = true;
    return false;
}

bool replay_receive(replay_t *self, const link_visit_t *visit)
{
    envelope_t envelope;
    const trusted_t *sender = visit->sender;
    if (visit->more_frames) {
        replica_refuse(self->config.replica, REPLICA_MORE_FRAMES);
        return false;
    }
    wire_error_t error = wire_open(visit->bytes, visit->size, &envelope);
    if (error != WIRE_OK) {
        replica_refuse_wire(self->config.replica, error);
        return false;
    }
    if (sender == NULL) {
        replica_refuse(self->config.replica, REPLICA_WRONG_PEER);
        return false;
    }
    if (envelope.kind != WIRE_FETCH && envelope.kind != WIRE_SURVEY) {
        self->config.offered(self->config.arg, visit, &envelope);
        return false;
    }
    back_t back = {self->config.link, &visit->route};
    replay_way_t way = {send_back, &back, visit->address};
    if (is_answered(self, quotas_of(self->quotas, sender), sender, &visit->route))
        replay_answer(self, &way, sender, &envelope);
    return true;
}

replay_t *replay_new(const replay_config_t *config)
{
    replay_t *self = xcalloc(1, sizeof *self);
    self->config = *config;
    self->quotas = quotas_new();
    return self;
}

void replay_destroy(replay_t **self_p)
{
    if (*self_p == NULL)
        return;
    quotas_destroy(&(*self_p)->quotas);
    free(*self_p);
    *self_p = NULL;
}

void replay_set_trust(replay_t *self, const trust_t *trust)
{
    quotas_keep(self->quotas, trust);
}

const replay_counters_t *replay_counters(const replay_t *self)
{
    return &self->counters;
}

#include "judge.h"

#include "ahead.h"
#include "attention.h"
#include "nid.h"
#include "protect.h"

struct judge {
    service_t *service;
    const settings_t *settings; /* as of the last refresh: each reload is one */
    feed_t *feed;
    wire_t *wire;
    mesh_t *mesh;
    sink_t *sink;
    protect_t *protect;
    ahead_t *ahead;
};

judge_t *judge_new(service_t *service, sink_t *sink)
{
    judge_t *self = xcalloc(1, sizeof *self);
    self->service = service;
    self->feed = service_feed(service);
    self->wire = service_wire(service);
    self->mesh = service_mesh(service);
    self->sink = sink;
    self->protect = protect_new(service_loop(service));
    self->ahead = ahead_new();
    judge_refresh(self);
    return self;
}

void judge_destroy(judge_t **self_p)
{
    judge_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    protect_destroy(&self->protect);
    ahead_destroy(&self->ahead);
    free(self);
}

void judge_refresh(judge_t *self)
{
    self->settings = service_settings(self->service);
    protect_refresh(self->protect, service_cert(self->service), mesh_trust(self->mesh),
                    self->settings);
}

const trusted_t *judge_node(const judge_t *self, const pubkey_t *origin)
{
    return trust_by_sign(mesh_trust(self->mesh), origin);
}

static const char *protected_by(const judge_t *self, const addr_t *address)
{
    if (mesh_is_peer_address(self->mesh, address))
        return "peer";
    return protect_reason(self->protect, address);
}

static void act(judge_t *self, const guard_case_t *in, const guard_verdict_t *verdict,
                const trusted_t *node, int64_t nid)
{
    bool is_accepted = verdict->outcome == GUARD_APPLY || verdict->outcome == GUARD_LATER ||
                       verdict->outcome == GUARD_PACED;
    if (!is_accepted || node == NULL) /* nobody's, and yet accepted: the guard forbids that */
        return;
    /* When it began stays as it was clamped: a ban from the future does not begin anew each time
     * that it is looked at. */
    pending_row_t row = {.nid = nid, .ban = in->event->ban};
    row.ban.time_ms = verdict->start_ms;
    row.due_ms = verdict->outcome == GUARD_LATER ? verdict->due_ms : PENDING_PACE;
    row.origin = node->sign_public;
    if (verdict->outcome == GUARD_APPLY)
        sink_write(self->sink, &row, node->name, verdict->until_ms, in->now);
    else
        sink_wait(self->sink, &row);
}

/* What is the same for all events of an origin. */
static guard_case_t case_of(const judge_t *self, const pubkey_t *origin, const trusted_t *node)
{
    const settings_t *settings = self->settings;
    return (guard_case_t){
        .origin_trusted = node != NULL,
        .from_ourselves = feed_is_ours(self->feed, origin),
        .now = wall_now(),
        .shared_jail = settings->shared.jail,
        .allow_special = settings->guard.allow_special != 0,
        .max_ban_s = settings->guard.max_ban_s,
    };
}

/* Complete the case of an event, whose event, malformed and pace are set, and decide it. */
static void decide(judge_t *self, guard_case_t *in, const trusted_t *node, int64_t nid)
{
    const ban_t *ban = &in->event->ban;
    bool is_ban = in->malformed == EVENT_OK && in->event->kind == EVENT_BAN;
    in->protected_by = is_ban ? protected_by(self, &ban->address) : NULL;
    in->held_until_ms = is_ban ? sink_held_until(self->sink, &ban->address) : 0;
    if (is_ban && node != NULL)
        ahead_note(self->ahead, &node->sign_public, ban->time_ms, in->now);
    guard_verdict_t verdict = guard_decide(in);
    sink_count(self->sink, &verdict);
    act(self, in, &verdict, node, nid);
}

void judge_batch(judge_t *self, const trusted_t *node, const wire_batch_t *batch)
{
    const pubkey_t *origin = &batch->feed.origin;
    guard_case_t in = case_of(self, origin, node);
    event_t event;
    in.event = &event;
    for (size_t i = 0; i < batch->event_count; i++) {
        in.malformed = wire_event(self->wire, i, &event);
        in.pace = sink_pace(self->sink);
        decide(self, &in, node, nid_of(origin, &event.original));
    }
}

void judge_row(judge_t *self, const pending_row_t *row, guard_pace_t pace)
{
    const trusted_t *node = judge_node(self, &row->origin);
    const event_t event = {.kind = EVENT_BAN, .ban = row->ban};
    guard_case_t in = case_of(self, &row->origin, node);
    in.event = &event;
    in.malformed = event_check(&event);
    in.pace = pace;
    decide(self, &in, node, row->nid);
}

static void add_attention(void *arg, const fault_t *fault)
{
    attention_add(arg, "%s: a ban of that could not be kept away from here", fault->text);
}

void judge_attention(const judge_t *self, json_t *status)
{
    protect_complain(self->protect, add_attention, status);
}

json_t *judge_clocks(const judge_t *self)
{
    json_t *all = json_object();
    const pubkey_t *origin;
    int64_t ahead_ms;
    for (size_t i = 0; ahead_at(self->ahead, i, &origin, &ahead_ms); i++) {
        const trusted_t *node = judge_node(self, origin);
        if (node != NULL)
            json_object_set_new(all, node->name, json_integer(ahead_ms / MS_PER_S));
    }
    return all;
}

#include "judge.h"

#include "ahead.h"
#include "attention.h"
#include "protect.h"

#define KEY_NAME_BYTES 4 /* shown of the key of a node without a name */

struct judge {
    service_t *service;
    const settings_t *settings; /* as of the last refresh: each reload is one */
    const index_t *index;
    const graces_t *graces;
    mesh_t *mesh;
    protect_t *protect;
    ahead_t *ahead;
    wall_t now;
    wall_t steady;
    char key_name[sizeof "key-" + 2 * KEY_NAME_BYTES];
};

judge_t *judge_new(service_t *service, const index_t *index, const graces_t *graces)
{
    judge_t *self = xcalloc(1, sizeof *self);
    self->service = service;
    self->index = index;
    self->graces = graces;
    self->mesh = service_mesh(service);
    self->protect = protect_new(service_loop(service));
    self->ahead = ahead_new();
    judge_set_time(self, wall_now(), wall_now());
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

void judge_set_time(judge_t *self, wall_t now, wall_t steady)
{
    self->now = now;
    self->steady = steady;
}

const char *judge_protected_by(const judge_t *self, const addr_t *address)
{
    if (mesh_is_peer_address(self->mesh, address))
        return "peer";
    return protect_reason(self->protect, address);
}

bool judge_is_operator(const judge_t *self, const pubkey_t *origin)
{
    if (feed_is_ours(service_feed(self->service), origin))
        return true;
    const trusted_t *node = trust_by_sign(mesh_trust(self->mesh), origin);
    return node != NULL && text_list_has(&self->settings->roles.operators, node->name);
}

static bool holds_for_all(void *arg, uint16_t origin)
{
    const judge_t *self = arg;
    return judge_is_operator(self, &index_origin_at(self->index, origin)->key);
}

const grace_entry_t *judge_grace(const judge_t *self, const index_slot_t *slot,
                                 const index_ban_t *ban)
{
    const graces_ban_t asked = {
        .address = &slot->address,
        .nid = ban->nid,
        .time_ms = ban->time_ms,
        .origin = ban->origin,
        .now = self->steady,
    };
    return graces_find(self->graces, &asked, holds_for_all, (void *)self);
}

const grace_entry_t *judge_allowance(const judge_t *self, const addr_t *address)
{
    return graces_allowance(self->graces, address, self->steady, holds_for_all, (void *)self);
}

guard_verdict_t judge_ban(const judge_t *self, const index_slot_t *slot, const index_ban_t *ban)
{
    const settings_t *settings = self->settings;
    const pubkey_t *origin = &index_origin_at(self->index, ban->origin)->key;
    const grace_entry_t *grace = judge_grace(self, slot, ban);
    const guard_case_t in = {
        .from_ourselves = feed_is_ours(service_feed(self->service), origin),
        .address = &slot->address,
        .jail = index_jail(self->index, ban),
        .time_ms = ban->time_ms,
        .duration_s = index_duration_s(ban),
        .protected_by = judge_protected_by(self, &slot->address),
        .void_by = grace != NULL ? grace->kind : EVENT_UNKNOWN,
        .now = self->now,
        .steady = self->steady,
        .shared_jail = settings->shared.jail,
        .allow_special = settings->guard.allow_special != 0,
        .max_ban_s = settings->guard.max_ban_s,
    };
    return guard_decide(&in);
}

const char *judge_name(judge_t *self, const pubkey_t *origin)
{
    const trusted_t *node = trust_by_sign(mesh_trust(self->mesh), origin);
    if (node != NULL)
        return node->name;
    char *out = stpcpy(self->key_name, "key-");
    for (size_t i = 0; i < KEY_NAME_BYTES; i++, out += 2)
        snprintf(out, 3, "%02x", origin->bytes[i]);
    return self->key_name;
}

void judge_note_clock(judge_t *self, const pubkey_t *origin, int64_t time_ms)
{
    if (trust_by_sign(mesh_trust(self->mesh), origin) != NULL)
        ahead_note(self->ahead, origin, time_ms, self->now);
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
        const trusted_t *node = trust_by_sign(mesh_trust(self->mesh), origin);
        if (node != NULL)
            json_object_set_new(all, node->name, json_integer(ahead_ms / MS_PER_S));
    }
    return all;
}

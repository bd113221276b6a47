#include "judge.h"

#include "ahead.h"
#include "attention.h"
#include "protect.h"

#include <inttypes.h>
#include <string.h>

#define KEY_NAME_BYTES 4 /* shown of the key of a node without a name */

struct judge {
    service_t *service;
    const settings_t *settings; /* as of the last refresh: each reload is one */
    index_t *index;
    const graces_t *graces;
    memo_t *memo;
    quorum_t quorum;  /* of the slot that is open */
    bool asks_quorum; /* of any jail */
    uint8_t *roles;   /* of each origin, as far as asked: role_t */
    size_t role_count;
    mesh_t *mesh;
    protect_t *protect;
    ahead_t *ahead;
    wall_t now;
    wall_t steady;
    char key_name[sizeof "key-" + 2 * KEY_NAME_BYTES];
};

judge_t *judge_new(service_t *service, index_t *index, const graces_t *graces, memo_t *memo)
{
    judge_t *self = xcalloc(1, sizeof *self);
    self->service = service;
    self->index = index;
    self->graces = graces;
    self->memo = memo;
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
    free(self->roles);
    free(self);
}

/* What stands of a node that is gone is still called by its name. */
void judge_note_name(judge_t *self, uint16_t number)
{
    const pubkey_t *key = &index_origin_at(self->index, number)->key;
    const trusted_t *node = trust_by_sign(mesh_trust(self->mesh), key);
    const memo_origin_t *known = memo_origin(self->memo, number);
    if (node != NULL && (known->removed_ms != 0 || strcmp(known->name, node->name) != 0)) {
        memo_origin_t *origin = memo_change_origin(self->memo, number);
        snprintf(origin->name, sizeof origin->name, "%s", node->name);
        origin->removed_ms = 0;
    } else if (node == NULL && *known->name != '\0' && known->removed_ms == 0) {
        memo_change_origin(self->memo, number)->removed_ms = self->now.ms;
        log_warnx("%s is not trusted any more: its bans that run here stand, %" PRIu32
                  " of them; banmesh trust remove %s --undo-bans makes them void",
                  known->name, index_origin_at(self->index, number)->bans, known->name);
    }
}

static bool asks_quorum(const settings_t *settings)
{
    const jail_quorum_list_t *list = &settings->guard.jail_quorum;
    bool asks = settings->guard.quorum > 1;
    for (size_t i = 0; i < list->size; i++)
        asks = asks || list->items[i].origins > 1;
    return asks;
}

void judge_refresh(judge_t *self)
{
    self->settings = service_settings(self->service);
    self->role_count = 0;
    self->asks_quorum = asks_quorum(self->settings);
    index_know_nets(self->index, self->asks_quorum);
    for (size_t i = 0; i < index_origin_count(self->index); i++)
        if (!feed_is_ours(service_feed(self->service),
                          &index_origin_at(self->index, (uint16_t)i)->key))
            judge_note_name(self, (uint16_t)i);
    protect_refresh(self->protect, service_cert(self->service), mesh_trust(self->mesh),
                    self->settings);
}

bool judge_take_news(judge_t *self)
{
    return protect_take_news(self->protect);
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

typedef enum { ROLE_UNKNOWN, ROLE_OPERATOR, ROLE_OTHER } role_t;

/* Asked for each ban. */
static bool is_operator(judge_t *self, uint16_t origin)
{
    if (origin >= self->role_count) {
        size_t count = index_origin_count(self->index);
        self->roles = xrealloc(self->roles, count);
        memset(self->roles + self->role_count, ROLE_UNKNOWN, count - self->role_count);
        self->role_count = count;
    }
    uint8_t *role = &self->roles[origin];
    if (*role == ROLE_UNKNOWN)
        *role = judge_is_operator(self, &index_origin_at(self->index, origin)->key) ? ROLE_OPERATOR
                                                                                    : ROLE_OTHER;
    return *role == ROLE_OPERATOR;
}

static bool holds_for_all(void *arg, uint16_t origin)
{
    return is_operator(arg, origin);
}

const grace_entry_t *judge_grace(judge_t *self, const index_slot_t *slot, const index_ban_t *ban)
{
    const graces_ban_t asked = {
        .address = &slot->address,
        .nid = ban->nid,
        .time_ms = ban->time_ms,
        .origin = ban->origin,
        .now = self->steady,
    };
    return graces_find(self->graces, &asked, holds_for_all, self);
}

bool judge_believes(judge_t *self, uint16_t origin)
{
    return is_operator(self, origin);
}

const grace_entry_t *judge_allowance(judge_t *self, const addr_t *address)
{
    return graces_allowance(self->graces, address, self->steady, holds_for_all, self);
}

static bool is_wanted(const settings_t *settings, const char *jail)
{
    return text_list_matches(&settings->guard.jails, jail) &&
           !text_list_matches(&settings->guard.not_jails, jail);
}

/* origins, quorum: of the address */
static guard_verdict_t decide(judge_t *self, const index_slot_t *slot, const index_ban_t *ban,
                              int64_t origins, int64_t quorum)
{
    const settings_t *settings = self->settings;
    const pubkey_t *origin = &index_origin_at(self->index, ban->origin)->key;
    const grace_entry_t *grace = judge_grace(self, slot, ban);
    bool by_operator = is_operator(self, ban->origin);
    const char *jail = index_jail(self->index, ban);
    const guard_case_t in = {
        .from_ourselves = feed_is_ours(service_feed(self->service), origin),
        .by_hand = event_is_by_hand(jail),
        .address = &slot->address,
        .jail = jail,
        .time_ms = ban->time_ms,
        .duration_s = index_duration_s(ban),
        .protected_by = judge_protected_by(self, &slot->address),
        .void_by = grace != NULL ? grace->kind : EVENT_UNKNOWN,
        .undone = memo_origin(self->memo, ban->origin)->undone_ms >= ban->time_ms,
        .lifted_by_hand = ban->lifted,
        .waits = ban->waits,
        .by_operator = by_operator,
        .origins = origins,
        .now = self->now,
        .steady = self->steady,
        .shared_jail = settings->shared.jail,
        .allow_special = settings->guard.allow_special != 0,
        .jail_wanted = is_wanted(settings, jail) || (by_operator && event_is_by_hand(jail)),
        .widest_v4 = by_operator ? settings->guard.operator_widest_v4 : settings->guard.widest_v4,
        .widest_v6 = by_operator ? settings->guard.operator_widest_v6 : settings->guard.widest_v6,
        .max_ban_s = settings->guard.max_ban_s,
        .quorum = quorum,
    };
    return guard_decide(&in);
}

/* Those of which only a quorum may be missing have a vote, and this host's own. */
static void add_votes(judge_t *self, uint32_t number)
{
    const index_slot_t *slot = index_slot(self->index, number);
    for (const index_ban_t *ban = index_first(self->index, number); ban != NULL;
         ban = index_next(self->index, ban)) {
        guard_verdict_t verdict = decide(self, slot, ban, 1, 1);
        if (verdict.until_ms > self->steady.ms &&
            (verdict.outcome == GUARD_STANDS || verdict.outcome == GUARD_OURSELVES))
            quorum_add(&self->quorum, ban->origin, verdict.begin_ms);
    }
}

void judge_open(judge_t *self, uint32_t number)
{
    if (!self->asks_quorum)
        return;
    quorum_clear(&self->quorum);
    add_votes(self, number);
    uint32_t near = index_near(self->index, number, INDEX_NONE);
    for (int i = 0; near != INDEX_NONE && i < JUDGE_NEAR_MAX; i++) {
        add_votes(self, near);
        near = index_near(self->index, number, near);
    }
    quorum_close(&self->quorum);
}

int64_t judge_origins(judge_t *self, const index_ban_t *ban)
{
    int64_t begin_ms = ban->time_ms < self->now.ms ? ban->time_ms : self->now.ms;
    return quorum_origins(&self->quorum, begin_ms,
                          self->settings->guard.quorum_window_s * MS_PER_S);
}

guard_verdict_t judge_ban(judge_t *self, uint32_t number, const index_ban_t *ban)
{
    int64_t quorum =
        self->asks_quorum ? settings_quorum(self->settings, index_jail(self->index, ban)) : 1;
    int64_t origins = quorum > 1 ? judge_origins(self, ban) : 1;
    return decide(self, index_slot(self->index, number), ban, origins, quorum);
}

const char *judge_name(judge_t *self, const pubkey_t *origin)
{
    const trusted_t *node = trust_by_sign(mesh_trust(self->mesh), origin);
    if (node != NULL)
        return node->name;
    if (feed_is_ours(service_feed(self->service), origin))
        return self->settings->node.name; /* its own certificate need not be there */
    for (size_t i = 0; i < index_origin_count(self->index); i++) {
        const memo_origin_t *known = memo_origin(self->memo, (uint16_t)i);
        if (*known->name != '\0' &&
            pubkey_equal(&index_origin_at(self->index, (uint16_t)i)->key, origin))
            return known->name;
    }
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

/* Those that may publish, this host among them. */
static int64_t count_origins(const judge_t *self)
{
    const trust_t *trust = mesh_trust(self->mesh);
    int64_t count = 1;
    for (size_t i = 0; i < trust_size(trust); i++) {
        const trusted_t *node = trust_at(trust, i);
        count += !feed_is_ours(service_feed(self->service), &node->sign_public) &&
                 !text_list_has(&self->settings->roles.aggregators, node->name);
    }
    return count;
}

static void add_quorum_attention(const judge_t *self, json_t *status)
{
    int64_t origins = count_origins(self);
    const jail_quorum_list_t *list = &self->settings->guard.jail_quorum;
    if (self->settings->guard.quorum > origins)
        attention_add(status,
                      "guard / quorum = %" PRId64 ", but the mesh has %" PRId64
                      " nodes: no ban of a peer counts, besides those of operators",
                      self->settings->guard.quorum, origins);
    for (size_t i = 0; i < list->size; i++)
        if (list->items[i].origins > origins)
            attention_add(status,
                          "guard / jail-quorum: %s=%" PRId64 ", but the mesh has %" PRId64 " nodes",
                          list->items[i].jail, list->items[i].origins, origins);
}

void judge_attention(const judge_t *self, json_t *status)
{
    protect_complain(self->protect, add_attention, status);
    add_quorum_attention(self, status);
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

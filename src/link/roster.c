#include "roster.h"

#include <stdlib.h>
#include <string.h>

bool roster_is_self(const roster_t *self, const trusted_t *node)
{
    return pubkey_equal(&node->sign_public, &self->own->sign_public);
}

static const peer_setting_t *find_setting(const settings_t *settings, const char *name)
{
    for (size_t i = 0; i < settings->mesh.peer_count; i++)
        if (streq(settings->mesh.peers[i].name, name))
            return &settings->mesh.peers[i];
    return NULL;
}

/* Where to connect to a node; "": nowhere. */
static void addresses_of(const settings_t *settings, const trusted_t *node, const char **endpoint,
                         const char **replay)
{
    const peer_setting_t *setting = find_setting(settings, node->name);
    *endpoint = setting != NULL ? setting->endpoint : node->endpoint;
    *replay = setting != NULL ? setting->replay : node->replay;
}

static peer_t *take_old_peer(peer_t **old, size_t old_count, const trusted_t *node,
                             const char *endpoint, const char *replay)
{
    for (size_t i = 0; i < old_count; i++) {
        if (old[i] == NULL || !streq(peer_node(old[i])->name, node->name))
            continue;
        const trusted_t *was = peer_node(old[i]);
        if (!pubkey_equal(&was->curve_public, &node->curve_public) ||
            !pubkey_equal(&was->sign_public, &node->sign_public) ||
            !streq(peer_endpoint(old[i]), endpoint) || !streq(peer_replay(old[i]), replay))
            return NULL;
        peer_t *peer = old[i];
        old[i] = NULL;
        return peer;
    }
    return NULL;
}

void roster_set(roster_t *self, const trust_t *trust, const settings_t *settings,
                void (*drop)(void *arg, const peer_t *peer), void *arg)
{
    peer_t **old = self->peers;
    size_t old_count = self->count;
    self->peers = xcalloc(trust_size(trust), sizeof(peer_t *)); /* room for those that offer */
    self->count = 0;
    for (size_t i = 0; i < trust_size(trust); i++) {
        const trusted_t *node = trust_at(trust, i);
        const char *endpoint;
        const char *replay;
        if (roster_is_self(self, node))
            continue;
        addresses_of(settings, node, &endpoint, &replay);
        peer_t *peer = take_old_peer(old, old_count, node, endpoint, replay);
        if (peer == NULL && *endpoint == '\0')
            continue; /* until it offers something */
        if (peer == NULL)
            peer = peer_new(self->readers, self->own, node, endpoint, replay, self->calls);
        self->peers[self->count++] = peer;
    }
    for (size_t i = 0; i < old_count; i++)
        if (old[i] != NULL) {
            drop(arg, old[i]);
            peer_destroy(&old[i]);
        }
    free(old);
}

void roster_clear(roster_t *self)
{
    for (size_t i = 0; i < self->count; i++)
        peer_destroy(&self->peers[i]);
    free(self->peers);
    self->peers = NULL;
    self->count = 0;
}

peer_t *roster_offers(roster_t *self, const trusted_t *node)
{
    for (size_t i = 0; i < self->count; i++)
        if (streq(peer_node(self->peers[i])->name, node->name))
            return self->peers[i];
    peer_t *peer = peer_new(self->readers, self->own, node, "", "", self->calls);
    self->peers[self->count++] = peer;
    return peer;
}

bool roster_is_at(const roster_t *self, const addr_t *address)
{
    for (size_t i = 0; i < self->count; i++)
        if (peer_is_at(self->peers[i], address))
            return true;
    return false;
}

size_t roster_unseen(const roster_t *self, const trust_t *trust)
{
    size_t seen = self->count;
    if (trust_by_sign(trust, &self->own->sign_public) != NULL)
        seen++;
    return trust_size(trust) - seen;
}

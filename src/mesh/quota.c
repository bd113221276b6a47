#include "quota.h"

#include "log.h"

#include <stdlib.h>
#include <string.h>

#define TRY_AGAIN_MS 1000

struct quotas {
    quota_t **items;
    size_t count;
};

quotas_t *quotas_new(void)
{
    return xcalloc(1, sizeof(quotas_t));
}

void quotas_destroy(quotas_t **self_p)
{
    quotas_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    for (size_t i = 0; i < self->count; i++)
        free(self->items[i]);
    free(self->items);
    free(self);
}

quota_t *quotas_of(quotas_t *self, const trusted_t *node)
{
    for (size_t i = 0; i < self->count; i++)
        if (pubkey_equal(&self->items[i]->key, &node->sign_public))
            return self->items[i];
    quota_t *quota = xcalloc(1, sizeof *quota);
    quota->key = node->sign_public;
    quota->bytes = bucket_full(QUOTA_BYTES_PER_S, QUOTA_BYTES_BURST, mono_now());
    quota->requests = bucket_full(QUOTA_REQUESTS_PER_S, QUOTA_REQUESTS_BURST, mono_now());
    self->items = xrealloc(self->items, (self->count + 1) * sizeof(quota_t *));
    self->items[self->count++] = quota;
    return quota;
}

void quotas_keep(quotas_t *self, const trust_t *trust)
{
    for (size_t i = 0; i < self->count;)
        if (trust_by_sign(trust, &self->items[i]->key) == NULL) {
            free(self->items[i]);
            self->items[i] = self->items[--self->count];
        } else
            i++;
}

bool quota_may_ask(quota_t *self)
{
    mono_t now = mono_now();
    bool has_bytes = bucket_has(&self->bytes, now);
    bool has_requests = bucket_has(&self->requests, now);
    if (has_bytes && has_requests)
        bucket_spend(&self->requests, 1);
    return has_bytes && has_requests;
}

void quota_pay(quota_t *self, size_t bytes)
{
    bucket_spend(&self->bytes, (int64_t)bytes);
}

static void drop_gone_routes(quota_t *self, bool (*is_alive)(void *arg, const peer_route_t *route),
                             void *arg)
{
    if (mono_since_ms(self->tried_at) < TRY_AGAIN_MS)
        return;
    self->tried_at = mono_now();
    for (size_t i = 0; i < self->route_count;)
        if (!is_alive(arg, &self->routes[i]))
            self->routes[i] = self->routes[--self->route_count];
        else
            i++;
}

bool quota_has_route(quota_t *self, const peer_route_t *route,
                     bool (*is_alive)(void *arg, const peer_route_t *route), void *arg)
{
    for (size_t i = 0; i < self->route_count; i++)
        if (self->routes[i].size == route->size &&
            memcmp(self->routes[i].bytes, route->bytes, route->size) == 0)
            return true;
    if (self->route_count == QUOTA_ROUTES_MAX)
        drop_gone_routes(self, is_alive, arg);
    if (self->route_count == QUOTA_ROUTES_MAX)
        return false;
    self->routes[self->route_count++] = *route;
    return true;
}

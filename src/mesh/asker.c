#include "asker.h"

#include "log.h"

#include <stdlib.h>
#include <string.h>

#define TRY_AGAIN_MS 1000

struct askers {
    asker_t **items;
    size_t count;
};

askers_t *askers_new(void)
{
    return xcalloc(1, sizeof(askers_t));
}

void askers_destroy(askers_t **self_p)
{
    askers_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    for (size_t i = 0; i < self->count; i++)
        free(self->items[i]);
    free(self->items);
    free(self);
}

asker_t *askers_of(askers_t *self, const trusted_t *node)
{
    for (size_t i = 0; i < self->count; i++)
        if (memcmp(self->items[i]->key, node->sign_public, CERT_KEY_BYTES) == 0)
            return self->items[i];
    asker_t *asker = xcalloc(1, sizeof *asker);
    memcpy(asker->key, node->sign_public, CERT_KEY_BYTES);
    asker->bytes = bucket_full(ASKER_BYTES_PER_S, ASKER_BYTES_BURST, mono_now());
    asker->requests = bucket_full(ASKER_REQUESTS_PER_S, ASKER_REQUESTS_BURST, mono_now());
    self->items = xrealloc(self->items, (self->count + 1) * sizeof(asker_t *));
    self->items[self->count++] = asker;
    return asker;
}

void askers_keep(askers_t *self, const trust_t *trust)
{
    for (size_t i = 0; i < self->count;)
        if (trust_by_sign(trust, self->items[i]->key) == NULL) {
            free(self->items[i]);
            self->items[i] = self->items[--self->count];
        } else
            i++;
}

bool asker_may_ask(asker_t *self)
{
    mono_t now = mono_now();
    bool has_bytes = bucket_has(&self->bytes, now);
    bool has_requests = bucket_has(&self->requests, now);
    if (has_bytes && has_requests)
        bucket_spend(&self->requests, 1);
    return has_bytes && has_requests;
}

void asker_pay(asker_t *self, size_t bytes)
{
    bucket_spend(&self->bytes, (int64_t)bytes);
}

static void drop_gone_routes(asker_t *self,
                             bool (*is_alive)(void *arg, const uint8_t *route, size_t size),
                             void *arg)
{
    if (mono_since_ms(self->tried_at) < TRY_AGAIN_MS)
        return;
    self->tried_at = mono_now();
    for (size_t i = 0; i < self->route_count;)
        if (!is_alive(arg, self->routes[i].bytes, self->routes[i].size))
            self->routes[i] = self->routes[--self->route_count];
        else
            i++;
}

bool asker_has_route(asker_t *self, const uint8_t *route, size_t size,
                     bool (*is_alive)(void *arg, const uint8_t *route, size_t size), void *arg)
{
    for (size_t i = 0; i < self->route_count; i++)
        if (self->routes[i].size == size && memcmp(self->routes[i].bytes, route, size) == 0)
            return true;
    if (size > SOCKET_ROUTE_MAX)
        return false;
    if (self->route_count == ASKER_ROUTES_MAX)
        drop_gone_routes(self, is_alive, arg);
    if (self->route_count == ASKER_ROUTES_MAX)
        return false;
    memcpy(self->routes[self->route_count].bytes, route, size);
    self->routes[self->route_count++].size = size;
    return true;
}

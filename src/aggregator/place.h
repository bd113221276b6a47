/* place - where the operator says that the store is, and as whom to log in there: endpoints in
 * order, user and password. Also remembers what was said of each endpoint, so that a failure is
 * logged when it changes, not at each try. */
#ifndef BANMESH_AGGREGATOR_PLACE_H
#define BANMESH_AGGREGATOR_PLACE_H

#include "endpoint.h"
#include "settings.h"

typedef struct place place_t;

/* Read the settings and the password file, which nobody else may be able to read. NULL with the
 * fault. */
place_t *place_new(const settings_t *settings, fault_t *fault);

/* Zeroes the password and frees. */
void place_destroy(place_t **self_p);

/* The same endpoints, user and password. */
bool place_equal(const place_t *one, const place_t *other);

/* At least one. */
size_t place_count(const place_t *self);
endpoint_t *place_endpoint(const place_t *self, size_t index);

/* "" if there is none; live as long as the place. */
const char *place_user(const place_t *self);
const char *place_password(const place_t *self);

/* An endpoint failed. True if that is news: not the failure that it had before. */
bool place_failed(place_t *self, size_t index, const char *why);

/* It works. True if that is news. */
bool place_worked(place_t *self, size_t index);

#endif

/* store_access - where the operator says that the store is, and as whom to log in there: endpoints
 * in order, user and password. Also remembers what was said of each endpoint, so that a failure is
 * logged when it changes, not at each try. */
#ifndef BANMESH_AGGREGATOR_STORE_ACCESS_H
#define BANMESH_AGGREGATOR_STORE_ACCESS_H

#include "settings.h"
#include "store_endpoint.h"

typedef struct store_access store_access_t;

/* Read the settings and the password file, which nobody else may be able to read. NULL with the
 * fault. */
store_access_t *store_access_new(const settings_t *settings, fault_t *fault);

/* Zeroes the password and frees. */
void store_access_destroy(store_access_t **self_p);

/* The same endpoints, user and password. */
bool store_access_equal(const store_access_t *one, const store_access_t *other);

/* At least one. */
size_t store_access_count(const store_access_t *self);
store_endpoint_t *store_access_endpoint(const store_access_t *self, size_t index);

/* "" if there is none; live as long as the access. */
const char *store_access_user(const store_access_t *self);
const char *store_access_password(const store_access_t *self);

/* An endpoint failed. True if that is news: not the failure that it had before. */
bool store_access_failed(store_access_t *self, size_t index, const char *why);

/* It works. True if that is news. */
bool store_access_worked(store_access_t *self, size_t index);

#endif

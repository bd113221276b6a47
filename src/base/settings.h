/* settings - what the operator wrote, checked against one schema for all programs.
 * Constant after loading; a reload builds a second one. Every key has a default but node/name,
 * node/secret and node/trust. conf/node.conf and conf/aggregator.conf show those with an effect. */
#ifndef BANMESH_BASE_SETTINGS_H
#define BANMESH_BASE_SETTINGS_H

#include "cert.h"

typedef struct {
    char **items;
    size_t size;
} text_list_t;

typedef struct {
    addr_t *items;
    size_t size;
} addr_list_t;

typedef struct {
    char *name;
    char *endpoint;
    char *replay;
} peer_setting_t;

typedef struct {
    struct {
        char *name;
        char *state;  /* directory of the replica */
        char *secret; /* own certificate */
        char *trust;  /* directory */
    } node;
    struct {
        char *listen; /* PUB; "" listens nowhere */
        char *replay; /* ROUTER */
        int64_t heartbeat_ms;
        int64_t relay;
        int64_t offer;
        peer_setting_t *peers;
        size_t peer_count;
    } mesh;
    struct {
        text_list_t operators;
        text_list_t aggregators;
    } roles;
    struct {
        char *socket;
        char *spool; /* directory */
        text_list_t users;
    } publish;
    struct {
        char *socket;
    } admin;
    struct {
        char *socket; /* of banmesh-helper */
    } helper;
    struct {
        char *jail;
        char *log;
        int64_t bantime_s;
        int64_t pace;   /* lines a second; 0: no limit */
        char *fail2ban; /* its socket, to see when it starts; "": never look */
    } shared;
    struct {
        addr_list_t protect;
        int64_t quorum;
        int64_t renew_below_percent;
        int64_t max_ban_s;
        int64_t rate;
        int64_t max_active;
        int64_t allow_special;
    } guard;
    struct {
        text_list_t endpoints; /* "unix:PATH" or "HOST:PORT" */
        char *user;
        char *password_file;
    } store;
    struct {
        char *country; /* MMDB file, "" for none */
        char *asn;
    } geoip;
    struct {
        char *timezone; /* "UTC" or a name of the zone database */
        int64_t retention_days;
    } history;
} settings_t;

/* Read a file. An unknown name, a wrong type, a duplicate or a value out of range is an error that
 * names file and line. NULL with the fault. The caller owns the result. */
settings_t *settings_load(const char *path, fault_t *fault);

void settings_destroy(settings_t **self_p);

/* Call back for each setting that this version reads but does not act on yet and that the operator
 * changed from its default: a wish that has no effect must not look granted. */
void settings_idle(const settings_t *self, void (*tell)(const char *name, void *arg), void *arg);

bool text_list_has(const text_list_t *list, const char *text);

#endif

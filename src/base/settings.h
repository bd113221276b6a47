/* settings - what the operator wrote, checked against one schema for all programs.
 * Constant after loading; a reload builds a second one. Every key has a default but node/name,
 * node/secret and node/trust. conf/node.conf and conf/aggregator.conf show those with an effect. */
#ifndef BANMESH_BASE_SETTINGS_H
#define BANMESH_BASE_SETTINGS_H

#include "cert.h"
#include "hostname.h"

typedef struct {
    char **items;
    size_t size;
} text_list_t;

typedef struct {
    addr_t *items;
    size_t size;
    text_list_t names; /* host names that stood among them, folded */
    int line;          /* of the file; 0: it stands nowhere */
} addr_list_t;

typedef struct {
    char *jail;
    int64_t origins;
} jail_quorum_t;

typedef struct {
    jail_quorum_t *items;
    size_t size;
} jail_quorum_list_t;

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
        text_list_t jails; /* patterns, text_list_matches */
        text_list_t not_jails;
        int64_t quorum; /* origins */
        jail_quorum_list_t jail_quorum;
        int64_t quorum_window_s;
        int64_t widest_v4; /* the shortest prefix that is taken */
        int64_t widest_v6;
        int64_t operator_widest_v4;
        int64_t operator_widest_v6;
        int64_t max_ban_s;
        int64_t rate;       /* bans a second of one origin; 0: no limit */
        int64_t max_active; /* bans of one origin */
        int64_t max_bans;   /* in all */
        int64_t dry_run;
        int64_t allow_special;
        char *allowed_file; /* "": none */
        int64_t local_allow;
        int64_t renew_below; /* gone; read, so that older settings still load */
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

/* Whether one of the patterns of a list matches: names in which '*' stands for any characters. */
bool text_list_matches(const text_list_t *list, const char *text);

/* How many origins must have banned an address in this jail. */
int64_t settings_quorum(const settings_t *self, const char *jail);

#endif

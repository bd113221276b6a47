#include "store_login.h"

#include <sodium.h>
#include <string.h>

#define ID_BYTES 16

/* In order; AUTH only if there is a password. */
typedef enum { AUTH, HELLO, SELECT, INFO, CLAIM, DATASET } step_t;

static bool has_password(const store_access_t *access)
{
    return *store_access_password(access) != '\0';
}

static void log_in(const store_access_t *access, commands_t *out)
{
    const char *user = store_access_user(access);
    commands_begin(out, "AUTH", *user != '\0' ? 3 : 2);
    if (*user != '\0')
        commands_text(out, user);
    commands_text(out, store_access_password(access));
}

void store_login_ask(const store_access_t *access, commands_t *out)
{
    uint8_t id[ID_BYTES];
    char text[STORE_DATASET_BYTES];
    if (has_password(access))
        log_in(access, out);
    commands_begin(out, "HELLO", 2); /* says whether it is a master */
    commands_text(out, "2");
    commands_begin(out, "SELECT", 2);
    commands_text(out, "0");
    commands_begin(out, "INFO", 2);
    commands_text(out, "persistence");
    /* A write, so that a store that takes none is found out here: READONLY, LOADING, MISCONF. */
    randombytes_buf(id, sizeof id);
    sodium_bin2hex(text, sizeof text, id, sizeof id);
    commands_begin(out, "SET", 4);
    commands_text(out, STORE_DATASET_KEY);
    commands_text(out, text);
    commands_text(out, "NX");
    commands_begin(out, "GET", 2);
    commands_text(out, STORE_DATASET_KEY);
}

/* hiredis gives HELLO's map as a flat array of names and values. */
static const char *value_of(const redisReply *hello, const char *name)
{
    for (size_t i = 0; i + 1 < hello->elements; i += 2)
        if (hello->element[i]->str != NULL && strcmp(hello->element[i]->str, name) == 0 &&
            hello->element[i + 1]->str != NULL)
            return hello->element[i + 1]->str;
    return "";
}

static int take_hello(const redisReply *reply, store_login_t *login, fault_t *fault)
{
    const char *role = value_of(reply, "role");
    login->is_active_replica = strcmp(role, "active-replica") == 0;
    login->warning.text[0] = '\0';
    if (strcmp(value_of(reply, "mode"), "cluster") == 0)
        return fault_set(fault, "is a cluster, which cannot be used: a transaction has keys of "
                                "several slots; a single server is needed, or a master with "
                                "replicas");
    if (strcmp(role, "replica") == 0 || strcmp(role, "slave") == 0)
        return fault_set(fault, "is a replica, a writable master is needed");
    return 0;
}

/* KeyDB 6.3.4 loads keys that were written in a transaction as if they were newer than those that
 * came from the other replica meanwhile. */
static void take_info(const redisReply *reply, store_login_t *login)
{
    if (!login->is_active_replica || login->warning.text[0] != '\0')
        return;
    if (reply->type == REDIS_REPLY_ERROR || reply->str == NULL)
        fault_set(&login->warning, "an active replica, and whether it has appendonly cannot be "
                                   "seen (allow the user +info): with it, a restart brings back "
                                   "what is old");
    else if (strstr(reply->str, "aof_enabled:1") != NULL)
        fault_set(&login->warning, "an active replica with appendonly: a restart brings back what "
                                   "is old; set appendonly no, snapshots may stay");
}

static void take_select(const redisReply *reply, store_login_t *login)
{
    login->may_select = reply->type != REDIS_REPLY_ERROR;
    if (!login->may_select)
        fault_set(&login->warning, "the user may not SELECT (allow it +select): with KeyDB, "
                                   "SWAPDB would go unnoticed");
}

static step_t step_of(const store_access_t *access, size_t index)
{
    return (step_t)(index + (has_password(access) ? AUTH : HELLO));
}

bool store_login_may_fail(const store_access_t *access, size_t index)
{
    step_t step = step_of(access, index);
    return step == SELECT || step == INFO;
}

static int take_dataset(const redisReply *reply, store_login_t *login, fault_t *fault)
{
    if (reply->type != REDIS_REPLY_STRING || reply->len != STORE_DATASET_BYTES - 1 ||
        strspn(reply->str, "0123456789abcdef") != reply->len)
        return fault_set(fault, STORE_DATASET_KEY " is not what an aggregator wrote");
    memcpy(login->dataset, reply->str, STORE_DATASET_BYTES);
    return 0;
}

int store_login_take(const store_access_t *access, size_t index, const redisReply *reply,
                     store_login_t *login, fault_t *fault)
{
    switch (step_of(access, index)) {
    case HELLO:
        return take_hello(reply, login, fault);
    case SELECT:
        take_select(reply, login);
        return 0;
    case INFO:
        take_info(reply, login);
        return 0;
    case DATASET:
        return take_dataset(reply, login, fault);
    case AUTH:
    case CLAIM:
        break;
    }
    return 0;
}

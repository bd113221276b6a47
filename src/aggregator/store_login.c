#include "store_login.h"

#include <sodium.h>
#include <string.h>

#define ID_BYTES 16

/* In order; AUTH only if there is a password. */
typedef enum { AUTH, HELLO, CLAIM, DATASET } step_t;

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
static const char *role_of(const redisReply *hello)
{
    for (size_t i = 0; i + 1 < hello->elements; i += 2)
        if (hello->element[i]->str != NULL && strcmp(hello->element[i]->str, "role") == 0 &&
            hello->element[i + 1]->str != NULL)
            return hello->element[i + 1]->str;
    return "";
}

static bool is_replica(const char *role)
{
    return strcmp(role, "replica") == 0 || strcmp(role, "slave") == 0;
}

int store_login_take(const store_access_t *access, size_t index, const redisReply *reply,
                     char dataset[static STORE_DATASET_BYTES], fault_t *fault)
{
    step_t step = (step_t)(index + (has_password(access) ? AUTH : HELLO));
    if (step == HELLO && is_replica(role_of(reply)))
        return fault_set(fault, "is a replica, a writable master is needed");
    if (step != DATASET)
        return 0;
    if (reply->type != REDIS_REPLY_STRING || reply->len != STORE_DATASET_BYTES - 1)
        return fault_set(fault, STORE_DATASET_KEY " is not what an aggregator wrote");
    memcpy(dataset, reply->str, STORE_DATASET_BYTES);
    return 0;
}

#include "lifting.h"

#include "log.h"

#include <stdlib.h>
#include <string.h>

/* Which of the addresses asked for are held. */
typedef struct {
    const helper_request_t *request;
    bool held[HELPER_LIFT_MAX];
} held_t;

static void set_held(held_t *self, const addr_t *address, bool value)
{
    for (size_t i = 0; i < self->request->count; i++)
        if (addr_equal(&self->request->addresses[i], address))
            self->held[i] = value;
}

/* ---- networks ---- */

/* An item is a text, or an object made of one. fail2ban may spell an address in another way. */
static bool see_ticket(void *arg, const pickle_t *pickle, const pickle_node_t *item)
{
    char text[ADDR_TEXT_MAX];
    addr_t address;
    const pickle_node_t *only = pickle_first(pickle, item);
    if (pickle_text(only != NULL ? only : item, text, sizeof text) &&
        addr_parse(text, &address) == ADDR_OK && !addr_is_host(&address))
        set_held(arg, &address, true);
    return true;
}

/* Hosts go to fail2ban in any case, and networks if it has them. */
static helper_status_t sort_out(const reply_t *reply, held_t *held, f2b_answer_t *answer)
{
    const char *const words[] = {"get", reply->jail, "banip"};
    bool hosts_only = true;
    for (size_t i = 0; i < reply->request.count; i++) {
        held->held[i] = addr_is_host(&reply->request.addresses[i]);
        hosts_only = hosts_only && held->held[i];
    }
    return hosts_only ? HELPER_OK : f2b_ask(&reply->f2b, words, 3, see_ticket, held, answer);
}

/* ---- the shared jail ---- */

/* Sets *held to whether it was. Asked for several at once, fail2ban would have to be asked to
 * report those that are absent, and logs an ERROR with each such report. */
static helper_status_t lift_one(const reply_t *reply, const addr_t *address, bool *held,
                                f2b_answer_t *answer)
{
    char text[ADDR_TEXT_MAX];
    const char *const words[] = {"set", reply->jail, "unbanip", addr_print(address, text)};
    helper_status_t status = f2b_ask(&reply->f2b, words, 4, NULL, NULL, answer);
    *held =
        status == HELPER_OK && answer->value->kind == PICKLE_NUMBER && answer->value->number > 0;
    return status;
}

/* Those of which held is true. */
static helper_status_t lift_some(const reply_t *reply, held_t *held, f2b_answer_t *answer)
{
    const helper_request_t *request = &reply->request;
    helper_status_t status = HELPER_OK;
    for (size_t i = 0; i < request->count && status == HELPER_OK; i++)
        if (held->held[i]) {
            f2b_answer_free(answer);
            status = lift_one(reply, &request->addresses[i], &held->held[i], answer);
        }
    return status;
}

void lifting_shared(reply_t *reply)
{
    held_t held = {.request = &reply->request};
    f2b_answer_t answer = {0};
    helper_status_t status = sort_out(reply, &held, &answer);
    if (status == HELPER_OK)
        status = lift_some(reply, &held, &answer);
    if (status != HELPER_OK)
        reply_failure(reply, status, answer.text);
    f2b_answer_free(&answer);
    if (status != HELPER_OK)
        return;
    for (size_t i = 0; i < reply->request.count; i++)
        reply_items(reply)[i] = held.held[i];
    reply->answer.count = reply->request.count;
    reply_send(reply, true);
}

/* ---- all jails ---- */

/* How many jails had it, at most 255; or why that is not known. */
static helper_status_t lift_everywhere(const reply_t *reply, const addr_t *address, uint8_t *jails,
                                       f2b_answer_t *answer)
{
    char text[ADDR_TEXT_MAX];
    const char *const words[] = {"unban", addr_print(address, text)};
    helper_status_t status = f2b_ask(&reply->f2b, words, 2, NULL, NULL, answer);
    if (status != HELPER_OK)
        return status;
    int64_t number = answer->value->kind == PICKLE_NUMBER ? answer->value->number : 0;
    *jails = (uint8_t)(number < 0 ? 0 : number > UINT8_MAX ? UINT8_MAX : number);
    return HELPER_OK;
}

static bool has_network(const helper_request_t *request)
{
    for (size_t i = 0; i < request->count; i++)
        if (!addr_is_host(&request->addresses[i]))
            return true;
    return false;
}

/* One at a time: fail2ban says only how many tickets there were in all. */
void lifting_all(reply_t *reply)
{
    uint8_t jails[HELPER_LIFT_MAX];
    const helper_request_t *request = &reply->request;
    if (has_network(request)) {
        reply_failure(reply, HELPER_MALFORMED, "a network is lifted in the shared jail only");
        return;
    }
    for (size_t i = 0; i < request->count; i++) {
        f2b_answer_t answer;
        helper_status_t status = lift_everywhere(reply, &request->addresses[i], &jails[i], &answer);
        if (status != HELPER_OK)
            reply_failure(reply, status, answer.text);
        f2b_answer_free(&answer);
        if (status != HELPER_OK)
            return;
    }
    memcpy(reply_items(reply), jails, request->count);
    reply->answer.count = request->count;
    reply_send(reply, true);
}

#include "lifting.h"

#include "log.h"

#include <stdlib.h>
#include <string.h>

#define WORDS_MAX (HELPER_LIFT_MAX + 4)
#define ABSENT    "not banned: " /* how fail2ban's refusal begins, if that is all that is wrong */

/* Words for a command, which live as long as the texts. */
typedef struct {
    const char *words[WORDS_MAX];
    char texts[HELPER_LIFT_MAX][ADDR_TEXT_MAX];
    size_t count;
} command_t;

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

/* Of fail2ban's words, whatever is an address. */
static void mark_absent(held_t *held, char *text)
{
    char *rest = text;
    for (char *word = strsep(&rest, " ,'[]\""); word != NULL; word = strsep(&rest, " ,'[]\"")) {
        addr_t address;
        if (addr_parse(word, &address) == ADDR_OK)
            set_held(held, &address, false);
    }
}

/* An answer that some were not banned is no refusal. */
static helper_status_t understand_refusal(const f2b_answer_t *answer, held_t *held)
{
    size_t size = answer->value->size + 1; /* the text of an answer is cut off */
    char *text = xmalloc(size);
    bool is_about_absent =
        pickle_text(answer->value, text, size) && strncmp(text, ABSENT, strlen(ABSENT)) == 0;
    if (is_about_absent)
        mark_absent(held, text);
    free(text);
    return is_about_absent ? HELPER_OK : HELPER_REFUSED;
}

/* Those of which held is true. */
static helper_status_t lift_some(const reply_t *reply, held_t *held, f2b_answer_t *answer)
{
    command_t command = {.words = {"set", reply->jail, "unbanip", "--report-absent"}, .count = 4};
    const helper_request_t *request = &reply->request;
    for (size_t i = 0; i < request->count; i++)
        if (held->held[i])
            command.words[command.count++] = addr_print(&request->addresses[i], command.texts[i]);
    if (command.count == 4)
        return HELPER_OK;
    helper_status_t status = f2b_ask(&reply->f2b, command.words, command.count, NULL, NULL, answer);
    return status == HELPER_REFUSED ? understand_refusal(answer, held) : status;
}

void lifting_shared(reply_t *reply)
{
    held_t held = {.request = &reply->request};
    f2b_answer_t answer = {0};
    helper_status_t status = sort_out(reply, &held, &answer);
    if (status == HELPER_OK) {
        f2b_answer_free(&answer);
        status = lift_some(reply, &held, &answer);
    }
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

#include "listing.h"

#include "log.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- what a jail holds ---- */

/* "192.0.2.7 \t2026-11-21 12:00:00 + 600 = 2026-11-21 12:10:00": local time, -1 for ever. */
static bool read_ticket(const pickle_node_t *node, helper_ticket_t *ticket)
{
    char text[ADDR_TEXT_MAX + 64];
    char address[ADDR_TEXT_MAX];
    long long bantime_s;
    struct tm tm = {.tm_isdst = -1};
    if (!pickle_text(node, text, sizeof text))
        return false;
    int fields = sscanf(text, "%47s %4d-%2d-%2d %2d:%2d:%2d + %18lld", address, &tm.tm_year,
                        &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &bantime_s);
    if (fields != 8 || addr_parse(address, &ticket->address) != ADDR_OK)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon--;
    ticket->start_s = mktime(&tm);
    ticket->bantime_s = bantime_s;
    return true;
}

static bool send_ticket(void *arg, const pickle_t *pickle, const pickle_node_t *item)
{
    reply_t *reply = arg;
    helper_ticket_t ticket;
    (void)pickle;
    if (!read_ticket(item, &ticket))
        return true;
    helper_ticket_put(reply_items(reply) + reply->answer.count * HELPER_TICKET_BYTES, &ticket);
    if (++reply->answer.count == HELPER_TICKETS_MAX)
        reply_send(reply, false);
    return !reply->gone;
}

void listing_tickets(reply_t *reply)
{
    const char *const words[] = {"get", reply->request.jail, "banip", "--with-time"};
    f2b_answer_t answer;
    helper_status_t status = f2b_ask(&reply->f2b, words, 4, send_ticket, reply, &answer);
    if (status == HELPER_OK)
        reply_send(reply, true);
    else
        reply_failure(reply, status, answer.text);
    f2b_answer_free(&answer);
}

/* ---- which jails there are ---- */

static void send_source(reply_t *reply, const char *jail, helper_source_t kind, const char *text)
{
    uint8_t *at = reply_items(reply);
    memset(at, 0, HELPER_SOURCE_BYTES);
    memcpy(at, jail, strnlen(jail, HELPER_JAIL_BYTES));
    at[HELPER_JAIL_BYTES] = (uint8_t)kind;
    memcpy(at + HELPER_JAIL_BYTES + 1, text, strnlen(text, HELPER_SOURCE_MAX));
    reply->answer.count = 1;
    reply_send(reply, false);
}

/* A journal match is a list of its terms. */
static void join_texts(const pickle_t *pickle, const pickle_node_t *node, char *out, size_t size)
{
    size_t used = 0;
    const pickle_node_t *item = pickle_first(pickle, node);
    if (item == NULL)
        pickle_text(node, out, size);
    for (; item != NULL && used + 1 < size; item = pickle_next(pickle, item)) {
        if (used > 0)
            out[used++] = ' ';
        pickle_text(item, out + used, size - used);
        used += strlen(out + used);
    }
}

/* A log has many names; one that cannot be looked at stays as it is. */
static void follow_links(char path[static PATH_MAX])
{
    char found[PATH_MAX];
    if (*path == '/' && realpath(path, found) != NULL)
        memcpy(path, found, strlen(found) + 1);
}

/* A jail that went meanwhile, or has no such thing, has none of it. */
static helper_status_t send_sources(reply_t *reply, const char *jail, helper_source_t kind,
                                    const char *what, f2b_answer_t *answer)
{
    const char *const words[] = {"get", jail, what};
    helper_status_t status = f2b_ask(&reply->f2b, words, 3, NULL, NULL, answer);
    if (status != HELPER_OK)
        return status == HELPER_REFUSED ? HELPER_OK : status;
    const pickle_node_t *item = pickle_first(answer->pickle, answer->value);
    for (; item != NULL && !reply->gone; item = pickle_next(answer->pickle, item)) {
        char text[PATH_MAX] = "";
        join_texts(answer->pickle, item, text, sizeof text);
        if (kind == HELPER_LOG)
            follow_links(text);
        send_source(reply, jail, kind, text);
    }
    return HELPER_OK;
}

/* Returns false if it failed, and that is said. */
static bool send_jail(reply_t *reply, const char *jail)
{
    static const char *const what[] =
        {[HELPER_LOG] = "logpath", [HELPER_JOURNAL] = "journalmatch", [HELPER_ACTION] = "actions"};
    helper_status_t status = HELPER_OK;
    send_source(reply, jail, HELPER_NOTHING, "");
    for (int kind = HELPER_LOG; kind <= HELPER_ACTION && status == HELPER_OK; kind++) {
        f2b_answer_t answer;
        status = send_sources(reply, jail, (helper_source_t)kind, what[kind], &answer);
        if (status != HELPER_OK)
            reply_failure(reply, status, answer.text);
        f2b_answer_free(&answer);
    }
    return status == HELPER_OK && !reply->gone;
}

/* "sshd, shared" */
static void send_jails(reply_t *reply, const pickle_node_t *all)
{
    char *names = xmalloc(all->size + 1);
    char *rest = names;
    bool good = pickle_text(all, names, all->size + 1);
    if (!good)
        reply_failure(reply, HELPER_NONSENSE, "fail2ban gives no list of jails");
    for (char *name = strsep(&rest, ","); good && name != NULL; name = strsep(&rest, ",")) {
        name += strspn(name, " \t");
        good = !helper_jail_valid(name) || send_jail(reply, name);
    }
    free(names);
    if (good)
        reply_send(reply, true);
}

/* The value behind a name in a list of pairs; NULL if there is none. */
static const pickle_node_t *find_pair(const f2b_answer_t *answer, const char *name)
{
    const pickle_node_t *pair = pickle_first(answer->pickle, answer->value);
    for (; pair != NULL; pair = pickle_next(answer->pickle, pair)) {
        const pickle_node_t *key = pickle_first(answer->pickle, pair);
        if (key != NULL && key->kind == PICKLE_TEXT && key->size == strlen(name) &&
            memcmp(key->text, name, key->size) == 0)
            return pickle_next(answer->pickle, key);
    }
    return NULL;
}

/* A path, or "SYSLOG", "SYSTEMD-JOURNAL"... Returns false if it failed, and that is said. */
static bool send_target(reply_t *reply)
{
    const char *const words[] = {"get", "logtarget"};
    char target[PATH_MAX];
    f2b_answer_t answer;
    helper_status_t status = f2b_ask(&reply->f2b, words, 2, NULL, NULL, &answer);
    bool good = status == HELPER_OK || status == HELPER_REFUSED;
    if (!good)
        reply_failure(reply, status, answer.text);
    if (status == HELPER_OK && pickle_text(answer.value, target, sizeof target)) {
        follow_links(target);
        send_source(reply, "", HELPER_TARGET, target);
    }
    f2b_answer_free(&answer);
    return good && !reply->gone;
}

void listing_jails(reply_t *reply)
{
    if (!send_target(reply))
        return;
    static const pickle_node_t nothing = {.kind = PICKLE_NOTHING};
    const char *const words[] = {"status"};
    f2b_answer_t answer;
    helper_status_t status = f2b_ask(&reply->f2b, words, 1, NULL, NULL, &answer);
    const pickle_node_t *all = status == HELPER_OK ? find_pair(&answer, "Jail list") : NULL;
    if (status == HELPER_OK)
        send_jails(reply, all != NULL ? all : &nothing);
    else
        reply_failure(reply, status, answer.text);
    f2b_answer_free(&answer);
}

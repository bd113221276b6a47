#include "twins.h"

#include "log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUNS_MAX  4
#define TURNS_MIN 3 /* one may be a late message of a run that has ended */
#define RECENT_MS (10 * 60 * MS_PER_S)
#define NOW_MS    (2 * 60 * MS_PER_S) /* what is at another place still asks there twice a minute */

typedef struct {
    uint64_t number;
    mono_t at;
    char address[ADDR_TEXT_MAX];
} run_t;

typedef struct {
    pubkey_t key;
    char name[EVENT_NAME_MAX + 1];
    run_t runs[RUNS_MAX]; /* the one that asked last first */
    size_t run_count;
    int turns; /* how often an earlier one came again */
    mono_t turned_at;
    bool twice;
} node_t;

struct twins {
    node_t **nodes;
    size_t count;
    bool own_twice;
    mono_t own_at;
    char own_peer[EVENT_NAME_MAX + 1];
    char own_other[ADDR_TEXT_MAX];
};

twins_t *twins_new(void)
{
    return xcalloc(1, sizeof(twins_t));
}

void twins_destroy(twins_t **self_p)
{
    twins_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    for (size_t i = 0; i < self->count; i++)
        free(self->nodes[i]);
    free(self->nodes);
    free(self);
}

static node_t *node_of(twins_t *self, const trusted_t *node)
{
    for (size_t i = 0; i < self->count; i++)
        if (pubkey_equal(&self->nodes[i]->key, &node->sign_public))
            return self->nodes[i];
    node_t *made = xcalloc(1, sizeof *made);
    made->key = node->sign_public;
    snprintf(made->name, sizeof made->name, "%s", node->name);
    self->nodes = xrealloc(self->nodes, (self->count + 1) * sizeof(node_t *));
    self->nodes[self->count++] = made;
    return made;
}

void twins_keep(twins_t *self, const trust_t *trust)
{
    size_t kept = 0;
    for (size_t i = 0; i < self->count; i++)
        if (trust_by_sign(trust, &self->nodes[i]->key) != NULL)
            self->nodes[kept++] = self->nodes[i];
        else
            free(self->nodes[i]);
    self->count = kept;
}

static bool is_recent(mono_t at, mono_t now)
{
    return now.ms - at.ms < RECENT_MS;
}

/* Put a run first. Returns true if it had been there before, behind another one. */
static bool put_first(node_t *node, uint64_t number, const char *address, mono_t now)
{
    addr_t parsed;
    size_t i = 0;
    while (i < node->run_count && node->runs[i].number != number)
        i++;
    bool again = i > 0 && i < node->run_count && is_recent(node->runs[i].at, now);
    if (i == node->run_count)
        node->run_count += node->run_count < RUNS_MAX;
    if (i == RUNS_MAX)
        i--;
    memmove(&node->runs[1], &node->runs[0], i * sizeof node->runs[0]);
    node->runs[0] = (run_t){.number = number, .at = now};
    if (address != NULL && addr_parse(address, &parsed) == ADDR_OK) /* ::ffff:192.0.2.1 is IPv4 */
        addr_print(&parsed, node->runs[0].address);
    return again;
}

/* The run that asked last from another address, or else the one before. */
static const run_t *other_run(const node_t *node)
{
    for (size_t i = 1; i < node->run_count; i++)
        if (strcmp(node->runs[i].address, node->runs[0].address) != 0)
            return &node->runs[i];
    return &node->runs[1];
}

static const char *words(const char *address)
{
    return *address != '\0' ? address : "an unknown address";
}

static void print_node(const node_t *node, char text[static TWINS_TEXT_MAX])
{
    snprintf(
        text, TWINS_TEXT_MAX,
        "%s: its key is in use at two places at once (%s and %s): a copied server, or a stolen "
        "key",
        node->name, words(node->runs[0].address), words(other_run(node)->address));
}

static void print_own(const twins_t *self, char text[static TWINS_TEXT_MAX])
{
    snprintf(text, TWINS_TEXT_MAX,
             "this host's key is in use at another place, too (%s, says %s): a copied server that "
             "needs keys of its own, or a stolen key",
             words(self->own_other), self->own_peer);
}

bool twins_note(twins_t *self, const trusted_t *node, uint64_t run, const char *address, mono_t now,
                char other[static ADDR_TEXT_MAX])
{
    char text[TWINS_TEXT_MAX];
    node_t *known = node_of(self, node);
    bool was = known->twice;
    if (!is_recent(known->turned_at, now))
        known->turns = 0;
    if (put_first(known, run, address, now)) {
        known->turns++;
        known->turned_at = now;
    }
    known->twice = known->turns >= TURNS_MIN && now.ms - known->turned_at.ms < NOW_MS;
    *other = '\0';
    if (!known->twice)
        return false;
    memcpy(other, other_run(known)->address, ADDR_TEXT_MAX);
    print_node(known, text);
    if (!was)
        log_errorx("%s", text);
    return true;
}

void twins_note_own(twins_t *self, const char *peer, const char *other, mono_t now)
{
    char text[TWINS_TEXT_MAX];
    bool was = self->own_twice && now.ms - self->own_at.ms < NOW_MS;
    self->own_twice = true;
    self->own_at = now;
    snprintf(self->own_peer, sizeof self->own_peer, "%s", peer);
    snprintf(self->own_other, sizeof self->own_other, "%s", other);
    print_own(self, text);
    if (!was)
        log_errorx("%s", text);
}

bool twins_text(const twins_t *self, size_t index, mono_t now, char text[static TWINS_TEXT_MAX])
{
    size_t seen = 0;
    if (self->own_twice && now.ms - self->own_at.ms < NOW_MS && seen++ == index) {
        print_own(self, text);
        return true;
    }
    for (size_t i = 0; i < self->count; i++) {
        const node_t *node = self->nodes[i];
        if (node->twice && now.ms - node->turned_at.ms < NOW_MS && seen++ == index) {
            print_node(node, text);
            return true;
        }
    }
    return false;
}

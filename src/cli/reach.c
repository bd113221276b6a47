#include "reach.h"

#include "ask.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define WAIT_MS 2000
#define LOOK_MS 10

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

reach_t reach_begin(const command_options_t *options)
{
    return (reach_t){options, now_ms()};
}

static bool is_held(const reach_t *self, const char *address)
{
    char question[256];
    snprintf(question, sizeof question, "why %.200s", address);
    json_t *answer = ask_node(self->options, question);
    bool held = json_is_true(json_object_get(json_object_get(answer, "hold"), "held"));
    json_decref(answer);
    return held;
}

bool reach_waits(const reach_t *self)
{
    if (now_ms() - self->begun_ms >= WAIT_MS)
        return false;
    poll(NULL, 0, LOOK_MS);
    return true;
}

void reach_hold(const reach_t *self, const char *address, bool wanted)
{
    bool held = is_held(self, address);
    while (held != wanted && reach_waits(self))
        held = is_held(self, address);
    if (held != wanted)
        printf("here: the shared jail %s; banmesh status says why\n",
               wanted ? "was not told to hold it yet" : "still holds it");
    else
        printf("here: the shared jail %s (after %lld ms)\n",
               wanted ? "was told to hold it" : "does not hold it",
               (long long)(now_ms() - self->begun_ms));
}

/* A jail without its fail2ban holds nothing. */
static void print_fail2ban(const json_t *status)
{
    const char *state = ask_text(json_object_get(status, "shared_log"), "fail2ban");
    if (strcmp(state, "runs") != 0)
        printf("fail2ban does not run here: it comes to know of it once it does\n");
}

void reach_peers(const reach_t *self)
{
    json_t *status = ask_node(self->options, "status");
    size_t index;
    json_t *peer;
    size_t connected = 0;
    const json_t *peers = json_object_get(json_object_get(status, "mesh"), "peers");
    json_array_foreach(peers, index, peer)
    {
        connected += json_is_true(json_object_get(peer, "connected"));
    }
    print_fail2ban(status);
    printf("announced to %zu of %zu peers as %s\n", connected, json_array_size(peers),
           ask_text(status, "node"));
    json_decref(status);
}

#include "attention.h"

#include "clock.h"
#include "log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define UNHEARD_MS 10000 /* connections in both directions take a moment */

void attention_add(json_t *status, const char *format, ...)
{
    fault_t line;
    va_list args;
    va_start(args, format);
    vsnprintf(line.text, sizeof line.text, format, args);
    va_end(args);
    log_make_printable(line.text);
    json_array_append_new(json_object_get(status, "attention"), json_string(line.text));
}

void attention_first(json_t *status, const char *format, ...)
{
    fault_t line;
    va_list args;
    va_start(args, format);
    vsnprintf(line.text, sizeof line.text, format, args);
    va_end(args);
    log_make_printable(line.text);
    json_array_insert_new(json_object_get(status, "attention"), 0, json_string(line.text));
}

static void look_at_peers(json_t *status, const json_t *peers, bool publishes)
{
    for (size_t i = 0; i < json_array_size(peers); i++) {
        const json_t *peer = json_array_get(peers, i);
        json_int_t heard = json_integer_value(json_object_get(peer, "heard_ms_ago"));
        const char *name = json_string_value(json_object_get(peer, "name"));
        json_int_t unheard = json_integer_value(json_object_get(peer, "unheard_ms"));
        bool is_connected = json_is_true(json_object_get(peer, "connected"));
        if (is_connected && unheard >= UNHEARD_MS && publishes)
            attention_add(status,
                          "peer %s: says it has not heard this node for %" PRId64
                          " s; can it connect to this node's mesh / listen?",
                          name, (int64_t)unheard / MS_PER_S);
        if (is_connected)
            continue;
        if (heard < 0)
            attention_add(status, "peer %s: not connected, never heard", name);
        else
            attention_add(status, "peer %s: not connected, heard %" PRId64 " s ago", name,
                          (int64_t)heard / MS_PER_S);
    }
}

static void look_at_forks(json_t *status, const json_t *forks)
{
    for (size_t i = 0; i < json_array_size(forks); i++) {
        const json_t *fork = json_array_get(forks, i);
        if (json_is_true(json_object_get(fork, "quarantined")))
            attention_add(status, "%s is in quarantine: its key is in use twice, or stolen",
                          json_string_value(json_object_get(fork, "origin")));
    }
}

void attention_to_mesh(json_t *status, bool publishes)
{
    const json_t *mesh = json_object_get(status, "mesh");
    const json_t *twins = json_object_get(mesh, "twins");
    look_at_peers(status, json_object_get(mesh, "peers"), publishes);
    for (size_t i = 0; i < json_array_size(twins); i++)
        attention_add(status, "%s", json_string_value(json_array_get(twins, i)));
    look_at_forks(status, json_object_get(mesh, "forks"));
}

/* codec - between protobuf's structs and ours, one event at a time. Part of wire; nobody else needs
 * it. Pure. */
#ifndef BANMESH_WIRE_CODEC_H
#define BANMESH_WIRE_CODEC_H

#include "banmesh.pb-c.h"
#include "event.h"

/* The protobuf structs that one event needs, so that filling allocates nothing. The event must
 * outlive it: text and addresses are borrowed. */
typedef struct {
    Banmesh__Event event;
    Banmesh__Ban ban;
    Banmesh__Pardon pardon;
    Banmesh__Allow allow;
    Banmesh__Address address;
    Banmesh__Position original;
    Banmesh__Position bans[EVENT_PARDON_BANS_MAX];
    Banmesh__Position *ban_list[EVENT_PARDON_BANS_MAX];
} codec_event_t;

/* Fill from an event that event_check accepts. */
void codec_fill(codec_event_t *out, const event_t *event);

/* Check and copy. What is unknown comes out as EVENT_UNKNOWN. */
event_error_t codec_read(const Banmesh__Event *in, event_t *out);

#endif

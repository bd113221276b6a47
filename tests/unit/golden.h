/* golden - the messages of tests/cases/wire, made from fixed values: what make_golden wrote once,
 * and what today's encoder must still make. */
#ifndef BANMESH_TESTS_GOLDEN_H
#define BANMESH_TESTS_GOLDEN_H

#include "forge.h"

#define GOLDEN_EVENTS  7
#define GOLDEN_PARDONS 3
#define GOLDEN_KINDS   9

/* The node that signed all of them. */
forge_node_t golden_node(void);

/* The events of batch.bin: every kind and every field. */
void golden_events(event_t events[static GOLDEN_EVENTS]);

/* Those of pardons.bin: bans by name, and what is withdrawn. */
void golden_pardons(event_t events[static GOLDEN_PARDONS]);

wire_batch_t golden_batch(void);
wire_head_t golden_head(void);
wire_fetch_t golden_fetch(void);
wire_done_t golden_done(void);
wire_survey_t golden_survey(void);

/* Name and bytes of each file; index 0..GOLDEN_KINDS - 1. */
const char *golden_file(size_t index);
void golden_make(size_t index, forged_t *out);

#endif

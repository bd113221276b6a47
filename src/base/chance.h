/* chance - random numbers for replica, link and mesh: whoever links another chance.c decides what
 * they are, and a run can be repeated. Keys are not made with it. */
#ifndef BANMESH_BASE_CHANCE_H
#define BANMESH_BASE_CHANCE_H

#include <stddef.h>
#include <stdint.h>

/* One of 0 .. below - 1, each as likely; 0 if below is 0. */
uint32_t chance_below(uint32_t below);

void chance_fill(void *out, size_t size);

#endif

/* shared_carry - the lines between two offsets of a shared log, to be written a second time: each
 * ban's line once, however often it stands there, in order. Or each rotation and each restart of
 * fail2ban would double what the one before had left. */
#ifndef BANMESH_SHARED_SHARED_CARRY_H
#define BANMESH_SHARED_SHARED_CARRY_H

#include "shared_line.h"

#include <sys/types.h>

/* Whole lines, to be written with one call. */
typedef struct {
    const char *text;
    size_t size;
    size_t lines;
    wall_t stamp; /* of the last one */
} shared_piece_t;

/* Call back with piece after piece. Returns 0; -1 and errno of pread, or of the first call that
 * returned -1. Takes 16 bytes a line while it runs. */
typedef int(shared_carry_fn)(void *arg, const shared_piece_t *piece);
int shared_carry(int fd, off_t from, off_t until, shared_carry_fn *give, void *arg);

#endif

/* shared_tail - the end of a shared log, read back from an open file. Whole lines only: what a
 * crash cut short is passed over, and so is what is not of ours. */
#ifndef BANMESH_SHARED_SHARED_TAIL_H
#define BANMESH_SHARED_SHARED_TAIL_H

#include "shared_line.h"

#include <sys/types.h>

/* Call back for each of our lines from an offset on, in order. 0, or -1 and errno of pread. */
typedef void(shared_tail_fn)(void *arg, wall_t stamp, int64_t nid);
int shared_tail_each(int fd, off_t from, shared_tail_fn *tell, void *arg);

/* Where the lines begin that were stamped after a time: behind the last one that was not; the size
 * of the file if none was. Read from the end. -1 and errno. */
off_t shared_tail_since(int fd, wall_t since);

#endif

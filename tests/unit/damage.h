/* damage - what may become of a file on a disk. */
#ifndef BANMESH_TESTS_DAMAGE_H
#define BANMESH_TESTS_DAMAGE_H

#include "support.h"

#define DAMAGE_PAGE_BYTES 4096

size_t damage_size(const char *path); /* 0 if it is missing */

/* Flip the bits of a mask in the byte at an offset; fill a range with nonsense; cut off the end. */
void damage_flip(const char *path, size_t at, uint8_t mask);
void damage_fill(const char *path, size_t at, size_t size);
void damage_cut(const char *path, size_t size);

/* Flip a bit in every copy of a text; fails if there is none. Pages that were given up hold old
 * copies. */
void damage_text(const char *path, const char *text);

/* Any of these, anywhere. */
void damage_somehow(const char *path, uint64_t *random);

/* Copy a file, or remove the copy if there is none; and a directory's files. */
void damage_copy(const char *from, const char *to);
void damage_copy_all(const char *from, const char *to);

/* How many names in a directory begin so. */
size_t damage_count(const char *directory, const char *prefix);

#endif

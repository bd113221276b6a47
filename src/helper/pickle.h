/* pickle - reads an answer of fail2ban: a Python pickle of the protocols 2 to 5. Takes only the
 * opcodes that its answers have, and makes nothing of them but numbers, texts and lists: what would
 * build an object in Python becomes the list of its arguments. Bounded in nodes and depth; texts
 * stay in the bytes that were read. Pure; libc only.
 *
 * After the opcodes' descriptions in CPython's Lib/pickletools.py. */
#ifndef BANMESH_HELPER_PICKLE_H
#define BANMESH_HELPER_PICKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    PICKLE_NOTHING, /* None */
    PICKLE_NUMBER,  /* an integer, True, False */
    PICKLE_TEXT,    /* UTF-8, not checked */
    PICKLE_LIST,    /* a list, a tuple, the arguments of an object */
} pickle_kind_t;

typedef struct {
    pickle_kind_t kind;
    int64_t number;   /* of a list: how many items */
    const char *text; /* not ended by NUL */
    size_t size;
    uint32_t first; /* of a list: its items; PICKLE_END if there are none */
    uint32_t last;
    uint32_t next; /* of an item */
} pickle_node_t;

#define PICKLE_END UINT32_MAX

typedef struct pickle pickle_t;

/* Read one. bytes is borrowed for as long as the pickle lives. NULL: it is not one of fail2ban's,
 * or larger than 8 million nodes. */
pickle_t *pickle_read(const uint8_t *bytes, size_t size);
void pickle_destroy(pickle_t **self_p);

const pickle_node_t *pickle_root(const pickle_t *self);

/* The first item of a list, and the next one; NULL if there is none, or it is no list. */
const pickle_node_t *pickle_first(const pickle_t *self, const pickle_node_t *list);
const pickle_node_t *pickle_next(const pickle_t *self, const pickle_node_t *item);

#endif

/* pickle - reads an answer of fail2ban while it comes: a Python pickle of the protocols 2 to 5.
 * Takes only the opcodes that its answers have, and makes nothing of them but numbers, texts and
 * lists: what would build an object in Python becomes the list of its arguments. Takes a few MiB at
 * most: a long list is given away item by item and not kept. Pure; libc only.
 *
 * After the opcodes' descriptions in CPython's Lib/pickletools.py. */
#ifndef BANMESH_HELPER_PICKLE_H
#define BANMESH_HELPER_PICKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PICKLE_TEXT_MAX  (4U << 20)  /* bytes: of one text, and of all that are kept */
#define PICKLE_NODES_MAX (64U << 10) /* kept at a time; Python appends 1,000 items at once */

typedef enum {
    PICKLE_NOTHING, /* None, a class */
    PICKLE_NUMBER,  /* an integer, True, False */
    PICKLE_TEXT,    /* UTF-8, not checked */
    PICKLE_LIST,    /* a list, a tuple, the arguments of an object; of a dictionary nothing */
} pickle_kind_t;

typedef struct {
    pickle_kind_t kind;
    int64_t number;
    const char *text; /* not ended by NUL */
    size_t size;
    uint32_t first; /* of a list: its items; PICKLE_END if there are none */
    uint32_t last;
    uint32_t next; /* of an item */
} pickle_node_t;

#define PICKLE_END UINT32_MAX

typedef struct pickle pickle_t;

/* Called with each item of the list L of an answer (0, L); the item is forgotten then. False: no
 * more of them. */
typedef bool(pickle_item_fn)(void *arg, const pickle_t *pickle, const pickle_node_t *item);

/* each: NULL keeps the list. */
pickle_t *pickle_new(pickle_item_fn *each, void *arg);
void pickle_destroy(pickle_t **self_p);

typedef enum {
    PICKLE_MORE,  /* so far so good; what is not used is the beginning of something */
    PICKLE_WHOLE, /* used up to its end */
    PICKLE_WRONG, /* not one of fail2ban's, too large, or each has had enough */
} pickle_state_t;

/* Read on. What was not used comes again, with more behind it. */
pickle_state_t pickle_feed(pickle_t *self, const uint8_t *bytes, size_t size, size_t *used);

/* The answer, once it is whole. */
const pickle_node_t *pickle_root(const pickle_t *self);

/* The first item of a list, and the next one; NULL if there is none, or it is no list. */
const pickle_node_t *pickle_first(const pickle_t *self, const pickle_node_t *list);
const pickle_node_t *pickle_next(const pickle_t *self, const pickle_node_t *item);

/* A text as a string; cut off at size - 1. False: it is no text, or has a NUL. */
bool pickle_text(const pickle_node_t *node, char *out, size_t size);

#endif

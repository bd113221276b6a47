/* chronicle - the last things that became of bans here, for `banmesh watch`: each with a number,
 * from 1 on. The oldest give way; nobody ever waits for who watches. In memory only, about 1 MB
 * once it is full. Decides nothing. */
#ifndef BANMESH_NODE_CHRONICLE_H
#define BANMESH_NODE_CHRONICLE_H

#include "clock.h"
#include "event.h"

#define CHRONICLE_SIZE      4096
#define CHRONICLE_NO_ORIGIN UINT16_MAX

typedef enum {
    CHRONICLE_OWN,       /* a ban of this host, announced */
    CHRONICLE_ARRIVED,   /* a ban of a peer, of which no line was written now */
    CHRONICLE_APPLIED,   /* a line was written into the shared log */
    CHRONICLE_UNWRITTEN, /* that failed: the line was not written, and is soon */
    CHRONICLE_LET_GO,    /* the jail let go of an address, or its time is over */
    CHRONICLE_BY_HAND,   /* somebody lifted it in the shared jail */
    CHRONICLE_PARDON,
    CHRONICLE_ALLOWANCE,
} chronicle_event_t;

typedef struct {
    chronicle_event_t event;
    addr_t address; /* or network */
    uint16_t origin;
    const char *outcome;           /* a word that lives for ever; NULL: none */
    char text[EVENT_TEXT_MAX + 1]; /* the jail of a ban, the words of a pardon or an allowance */
    int64_t nid;                   /* of a ban; 0: of none */
    int64_t until_ms;              /* 0: not known, or not said */
    wall_t at;                     /* set by chronicle_note */
} chronicle_entry_t;

typedef struct chronicle chronicle_t;

chronicle_t *chronicle_new(void);
void chronicle_destroy(chronicle_t **self_p);

/* The entry is copied; text may be NULL. Nothing happens if there is no chronicle. */
void chronicle_note(chronicle_t *self, const chronicle_entry_t *entry, const char *text);

/* The numbers that are there: oldest to newest, newest 0 if there are none. */
uint64_t chronicle_oldest(const chronicle_t *self);
uint64_t chronicle_newest(const chronicle_t *self);

/* One of these, borrowed until the next note. */
const chronicle_entry_t *chronicle_at(const chronicle_t *self, uint64_t number);

/* "own", "arrived"... */
const char *chronicle_event_name(chronicle_event_t event);

#endif

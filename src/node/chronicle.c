#include "chronicle.h"

#include "log.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const event_names[] = {
    [CHRONICLE_OWN] = "own",         [CHRONICLE_ARRIVED] = "arrived",
    [CHRONICLE_APPLIED] = "applied", [CHRONICLE_UNWRITTEN] = "unwritten",
    [CHRONICLE_LET_GO] = "let-go",   [CHRONICLE_BY_HAND] = "lifted-by-hand",
    [CHRONICLE_PARDON] = "pardon",   [CHRONICLE_ALLOWANCE] = "allowance",
};

struct chronicle {
    uint64_t newest;
    chronicle_entry_t entries[CHRONICLE_SIZE]; /* number n at n % CHRONICLE_SIZE */
};

chronicle_t *chronicle_new(void)
{
    return xcalloc(1, sizeof(chronicle_t));
}

void chronicle_destroy(chronicle_t **self_p)
{
    free(*self_p);
    *self_p = NULL;
}

void chronicle_note(chronicle_t *self, const chronicle_entry_t *entry, const char *text)
{
    if (self == NULL)
        return;
    chronicle_entry_t *place = &self->entries[++self->newest % CHRONICLE_SIZE];
    *place = *entry;
    place->at = wall_now();
    snprintf(place->text, sizeof place->text, "%s", text != NULL ? text : "");
}

uint64_t chronicle_oldest(const chronicle_t *self)
{
    return self->newest > CHRONICLE_SIZE ? self->newest - CHRONICLE_SIZE + 1 : 1;
}

uint64_t chronicle_newest(const chronicle_t *self)
{
    return self->newest;
}

const chronicle_entry_t *chronicle_at(const chronicle_t *self, uint64_t number)
{
    return &self->entries[number % CHRONICLE_SIZE];
}

const char *chronicle_event_name(chronicle_event_t event)
{
    return event_names[event];
}

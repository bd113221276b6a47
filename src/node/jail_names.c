#include "jail_names.h"

#include "log.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_MAX UINT16_MAX
#define SIZE_MIN  64

struct jail_names {
    uint8_t key[crypto_shorthash_KEYBYTES]; /* peers choose names, not their places here */
    char **names;                           /* by number */
    size_t count;
    uint16_t *table; /* open addressing, at most half full; JAIL_NAMES_MANY: free */
    size_t size;
};

jail_names_t *jail_names_new(void)
{
    jail_names_t *self = xcalloc(1, sizeof *self);
    randombytes_buf(self->key, sizeof self->key);
    self->size = SIZE_MIN;
    self->table = xcalloc(self->size, sizeof *self->table);
    self->names = xmalloc(sizeof *self->names);
    self->names[self->count++] = xstrdup("many-jails");
    return self;
}

void jail_names_destroy(jail_names_t **self_p)
{
    jail_names_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    for (size_t i = 0; i < self->count; i++)
        free(self->names[i]);
    free(self->names);
    free(self->table);
    free(self);
}

static size_t find_place(const jail_names_t *self, const char *name)
{
    uint8_t hash[crypto_shorthash_BYTES];
    uint64_t number;
    crypto_shorthash(hash, (const uint8_t *)name, strlen(name), self->key);
    memcpy(&number, hash, sizeof number);
    size_t at = number % self->size;
    while (self->table[at] != JAIL_NAMES_MANY && strcmp(self->names[self->table[at]], name) != 0)
        at = (at + 1) % self->size;
    return at;
}

bool jail_names_find(const jail_names_t *self, const char *name, uint16_t *number)
{
    *number = self->table[find_place(self, name)];
    return *number != JAIL_NAMES_MANY;
}

static void grow(jail_names_t *self)
{
    self->size *= 2;
    free(self->table);
    self->table = xcalloc(self->size, sizeof *self->table);
    for (size_t i = 1; i < self->count; i++)
        self->table[find_place(self, self->names[i])] = (uint16_t)i;
}

uint16_t jail_names_add(jail_names_t *self, const char *name)
{
    if (self->count == NAMES_MAX)
        return JAIL_NAMES_MANY;
    if ((self->count + 1) * 2 > self->size)
        grow(self);
    self->table[find_place(self, name)] = (uint16_t)self->count;
    self->names = xrealloc(self->names, (self->count + 1) * sizeof *self->names);
    self->names[self->count] = xstrdup(name);
    return (uint16_t)self->count++;
}

const char *jail_names_text(const jail_names_t *self, uint16_t number)
{
    return self->names[number];
}

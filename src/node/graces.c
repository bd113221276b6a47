#include "graces.h"

#include "log.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_MIN 64
#define FREE     UINT32_MAX
#define V4_BITS  32
#define V6_BITS  128

typedef struct {
    grace_entry_t entry;
    uint32_t next; /* about the same network */
} item_t;

/* A ban that its origin has pardoned by name. */
typedef struct {
    int64_t nid; /* 0: free; no event has that one but by a chance of 1 in 2^63 */
    uint32_t item;
} named_t;

struct graces {
    uint8_t key[crypto_shorthash_KEYBYTES]; /* peers choose networks, not their places here */
    item_t *items;
    size_t count;
    size_t size;
    uint32_t *table; /* by network: the first item; open addressing, at most half full */
    size_t table_size;
    size_t networks;
    named_t *named; /* by nid: the same */
    size_t named_size;
    size_t named_count;
    uint32_t in_use4[V4_BITS + 1]; /* how many networks have this prefix */
    uint32_t in_use6[V6_BITS + 1];
    uint32_t *of_origin; /* how many each has */
    size_t origins;
    uint64_t allow_changes;
};

static void make_tables(graces_t *self)
{
    self->table_size = self->named_size = SIZE_MIN;
    self->table = xmalloc(SIZE_MIN * sizeof *self->table);
    memset(self->table, 0xff, SIZE_MIN * sizeof *self->table);
    self->named = xcalloc(SIZE_MIN, sizeof *self->named);
}

graces_t *graces_new(void)
{
    graces_t *self = xcalloc(1, sizeof *self);
    randombytes_buf(self->key, sizeof self->key);
    make_tables(self);
    return self;
}

static void free_all(graces_t *self)
{
    for (size_t i = 0; i < self->count; i++)
        free(self->items[i].entry.text);
    free(self->items);
    free(self->table);
    free(self->named);
    free(self->of_origin);
}

void graces_destroy(graces_t **self_p)
{
    if (*self_p == NULL)
        return;
    free_all(*self_p);
    free(*self_p);
    *self_p = NULL;
}

void graces_clear(graces_t *self)
{
    free_all(self);
    *self = (graces_t){0};
    randombytes_buf(self->key, sizeof self->key);
    make_tables(self);
}

/* ---- tables ---- */

static uint64_t hash_of(const graces_t *self, const void *bytes, size_t size)
{
    uint8_t hash[crypto_shorthash_BYTES];
    uint64_t number;
    crypto_shorthash(hash, bytes, size, self->key);
    memcpy(&number, hash, sizeof number);
    return number;
}

static size_t find_network(const graces_t *self, const addr_t *network)
{
    size_t at = hash_of(self, network, sizeof *network) % self->table_size;
    while (self->table[at] != FREE &&
           !addr_equal(&self->items[self->table[at]].entry.network, network))
        at = (at + 1) % self->table_size;
    return at;
}

static size_t find_named(const graces_t *self, int64_t nid)
{
    size_t at = hash_of(self, &nid, sizeof nid) % self->named_size;
    while (self->named[at].nid != 0 && self->named[at].nid != nid)
        at = (at + 1) % self->named_size;
    return at;
}

static void grow_table(graces_t *self)
{
    uint32_t *old = self->table;
    size_t old_size = self->table_size;
    self->table_size *= 2;
    self->table = xmalloc(self->table_size * sizeof *self->table);
    memset(self->table, 0xff, self->table_size * sizeof *self->table);
    for (size_t i = 0; i < old_size; i++)
        if (old[i] != FREE)
            self->table[find_network(self, &self->items[old[i]].entry.network)] = old[i];
    free(old);
}

static void grow_named(graces_t *self)
{
    named_t *old = self->named;
    size_t old_size = self->named_size;
    self->named_size *= 2;
    self->named = xcalloc(self->named_size, sizeof *self->named);
    for (size_t i = 0; i < old_size; i++)
        if (old[i].nid != 0)
            self->named[find_named(self, old[i].nid)] = old[i];
    free(old);
}

static uint32_t add_item(graces_t *self, const grace_entry_t *entry)
{
    if (self->count == self->size) {
        self->size += self->size / 2 + SIZE_MIN;
        self->items = xrealloc(self->items, self->size * sizeof *self->items);
    }
    item_t *item = &self->items[self->count];
    *item = (item_t){.entry = *entry, .next = FREE};
    item->entry.text = xstrdup(entry->text != NULL ? entry->text : "");
    return (uint32_t)self->count++;
}

/* ---- putting in ---- */

/* True if an origin may have one more. */
static bool take_share(graces_t *self, uint16_t origin)
{
    if (origin >= self->origins) {
        size_t origins = (size_t)origin + 1;
        self->of_origin = xrealloc(self->of_origin, origins * sizeof *self->of_origin);
        memset(self->of_origin + self->origins, 0,
               (origins - self->origins) * sizeof *self->of_origin);
        self->origins = origins;
    }
    if (self->of_origin[origin] >= GRACES_PER_ORIGIN_MAX)
        return false;
    self->of_origin[origin]++;
    return true;
}

static graces_result_t put_named(graces_t *self, const grace_entry_t *entry, const int64_t *nids,
                                 size_t count)
{
    graces_result_t result = GRACES_KNOWN;
    uint32_t item = FREE;
    for (size_t i = 0; i < count; i++) {
        if (self->named[find_named(self, nids[i])].nid != 0)
            continue;
        if (item == FREE && !take_share(self, entry->origin))
            return GRACES_TOO_MANY;
        if (item == FREE)
            item = add_item(self, entry);
        if ((self->named_count + 1) * 2 > self->named_size)
            grow_named(self);
        self->named[find_named(self, nids[i])] = (named_t){nids[i], item};
        self->named_count++;
        result = GRACES_ADDED;
    }
    return result;
}

/* Of two of one origin, network and kind: the later one; of one time, the one that ends later. */
static bool is_stronger(const grace_entry_t *one, const grace_entry_t *other)
{
    if (one->time_ms != other->time_ms)
        return one->time_ms > other->time_ms;
    return one->until_ms > other->until_ms;
}

static item_t *find_said(const graces_t *self, uint16_t origin, event_kind_t kind,
                         const addr_t *network)
{
    for (uint32_t i = self->table[find_network(self, network)]; i != FREE; i = self->items[i].next)
        if (self->items[i].entry.origin == origin && self->items[i].entry.kind == kind)
            return &self->items[i];
    return NULL;
}

const grace_entry_t *graces_said(const graces_t *self, uint16_t origin, event_kind_t kind,
                                 const addr_t *network)
{
    const item_t *item = find_said(self, origin, kind, network);
    return item != NULL ? &item->entry : NULL;
}

static graces_result_t replace(item_t *known, const grace_entry_t *entry)
{
    if (!is_stronger(entry, &known->entry))
        return GRACES_KNOWN;
    free(known->entry.text);
    known->entry = *entry;
    known->entry.text = xstrdup(entry->text != NULL ? entry->text : "");
    return GRACES_ADDED;
}

static void link_item(graces_t *self, uint32_t item)
{
    const addr_t *network = &self->items[item].entry.network;
    size_t at = find_network(self, network);
    self->items[item].next = self->table[at];
    if (self->table[at] == FREE) {
        self->networks++;
        ++(network->family == 4 ? self->in_use4 : self->in_use6)[network->prefix];
    }
    self->table[at] = item;
    if (self->networks * 2 > self->table_size)
        grow_table(self);
}

static graces_result_t put_general(graces_t *self, const grace_entry_t *entry)
{
    item_t *known = find_said(self, entry->origin, entry->kind, &entry->network);
    if (known != NULL)
        return replace(known, entry);
    if (!take_share(self, entry->origin))
        return GRACES_TOO_MANY;
    link_item(self, add_item(self, entry));
    return GRACES_ADDED;
}

graces_result_t graces_put(graces_t *self, const grace_entry_t *entry, const int64_t *nids,
                           size_t count)
{
    if (count > 0)
        return put_named(self, entry, nids, count);
    graces_result_t result = put_general(self, entry);
    self->allow_changes += result == GRACES_ADDED && entry->kind == EVENT_ALLOW;
    return result;
}

/* ---- looking ---- */

static bool is_withdrawn(const grace_entry_t *entry)
{
    return entry->until_ms == entry->time_ms;
}

bool grace_entry_allows(const grace_entry_t *entry, wall_t now)
{
    return entry->kind == EVENT_ALLOW && !is_withdrawn(entry) && now.ms < entry->until_ms;
}

uint64_t graces_allow_changes(const graces_t *self)
{
    return self->allow_changes;
}

/* About all bans of its network: whether it makes this one void, if its origin's word holds. */
static bool covers(const grace_entry_t *entry, const graces_ban_t *ban)
{
    if (is_withdrawn(entry))
        return false;
    if (entry->kind == EVENT_ALLOW)
        return ban->now.ms < entry->until_ms;
    return ban->time_ms <= entry->time_ms || ban->time_ms < entry->until_ms;
}

typedef struct {
    const graces_t *graces;
    const graces_ban_t *ban;
    bool any_origin; /* asked for an address, not for a ban */
    graces_authority_fn *holds_for_all;
    void *arg;
} question_t;

static bool holds(const question_t *question, const grace_entry_t *entry)
{
    /* An origin takes back what it said itself; to allow an address is to speak for others. */
    bool is_own = !question->any_origin && entry->kind == EVENT_PARDON &&
                  entry->origin == question->ban->origin;
    return is_own || question->holds_for_all(question->arg, entry->origin);
}

static const grace_entry_t *find_in(const question_t *question, uint32_t first)
{
    const graces_t *self = question->graces;
    for (uint32_t i = first; i != FREE; i = self->items[i].next) {
        const grace_entry_t *entry = &self->items[i].entry;
        if (question->any_origin && entry->kind != EVENT_ALLOW)
            continue;
        if (covers(entry, question->ban) && holds(question, entry))
            return entry;
    }
    return NULL;
}

/* The network of that prefix around an address. */
static addr_t around(const addr_t *address, uint8_t prefix)
{
    addr_t network;
    addr_from_bytes(address->bytes, addr_size(address), prefix, &network);
    return network;
}

/* In all networks around the address, the widest first: of each prefix in use, one look. */
static const grace_entry_t *find_around(const question_t *question)
{
    const graces_t *self = question->graces;
    const addr_t *address = question->ban->address;
    const uint32_t *in_use = address->family == 4 ? self->in_use4 : self->in_use6;
    for (uint8_t prefix = 0; prefix <= address->prefix; prefix++) {
        if (in_use[prefix] == 0)
            continue;
        addr_t network = around(address, prefix);
        const grace_entry_t *entry = find_in(question, self->table[find_network(self, &network)]);
        if (entry != NULL)
            return entry;
    }
    return NULL;
}

const grace_entry_t *graces_find(const graces_t *self, const graces_ban_t *ban,
                                 graces_authority_fn *holds_for_all, void *arg)
{
    const question_t question = {self, ban, false, holds_for_all, arg};
    if (self->named_count > 0) {
        const named_t *named = &self->named[find_named(self, ban->nid)];
        if (named->nid != 0 && self->items[named->item].entry.origin == ban->origin)
            return &self->items[named->item].entry;
    }
    return self->networks > 0 ? find_around(&question) : NULL;
}

const grace_entry_t *graces_allowance(const graces_t *self, const addr_t *network, wall_t now,
                                      graces_authority_fn *holds_for_all, void *arg)
{
    const graces_ban_t ban = {.address = network, .now = now};
    const question_t question = {self, &ban, true, holds_for_all, arg};
    return self->networks > 0 ? find_around(&question) : NULL;
}

const grace_entry_t *graces_at(const graces_t *self, size_t index)
{
    return index < self->count ? &self->items[index].entry : NULL;
}

int64_t graces_next_end_ms(const graces_t *self, wall_t now)
{
    int64_t next_ms = EVENT_FOREVER;
    for (size_t i = 0; i < self->count; i++) {
        const grace_entry_t *entry = &self->items[i].entry;
        if (entry->kind == EVENT_ALLOW && entry->until_ms > now.ms && entry->until_ms < next_ms)
            next_ms = entry->until_ms;
    }
    return next_ms;
}

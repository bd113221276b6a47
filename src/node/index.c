#include "index.h"

#include "jail_names.h"
#include "log.h"
#include "nets.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK       4096 /* items: so that growing moves nothing and wastes little */
#define TABLE_MIN   64
#define TAG_FREE    0
#define ORIGINS_MAX UINT16_MAX
#define NAMES_MAX   1000 /* of jails that one origin brings in; more have one name */

/* Items of one size in chunks, numbered; free ones are linked. */
typedef struct {
    char **chunks;
    size_t item_bytes;
    size_t link_at; /* where a free one has the number of the next */
    uint32_t reach; /* numbers given so far */
    uint32_t free;  /* the first free one */
    uint32_t used;
} store_t;

struct index {
    uint8_t key[crypto_shorthash_KEYBYTES]; /* attackers choose addresses, not their places here */
    store_t slots;
    store_t bans;
    /* Open addressing, at most 3/4 full: a byte of each hash, and the slot. */
    uint8_t *tags;
    uint32_t *table;
    size_t table_size;
    index_origin_t *origins;
    size_t origin_count;
    jail_names_t *jails;
    index_limits_t limits;
    nets_t *nets;   /* NULL: nobody asks */
    store_t due;    /* of each slot, by its number: when it is to be looked at, s; 0: never */
    uint32_t now_s; /* of the pass that goes on */
    uint32_t next;  /* slot that it comes to */
};

/* ---- items ---- */

static void *item(const store_t *self, uint32_t number)
{
    return self->chunks[number / CHUNK] + (size_t)(number % CHUNK) * self->item_bytes;
}

static uint32_t *link_of(const store_t *self, uint32_t number)
{
    return (uint32_t *)((char *)item(self, number) + self->link_at);
}

static uint32_t take_item(store_t *self)
{
    uint32_t number = self->free;
    self->used++;
    if (number != INDEX_NONE) {
        self->free = *link_of(self, number);
        return number;
    }
    number = self->reach++;
    if (number % CHUNK == 0) {
        size_t chunks = number / CHUNK + 1;
        self->chunks = xrealloc(self->chunks, chunks * sizeof *self->chunks);
        self->chunks[chunks - 1] = xcalloc(CHUNK, self->item_bytes);
    }
    return number;
}

static void give_item(store_t *self, uint32_t number)
{
    *link_of(self, number) = self->free;
    self->free = number;
    self->used--;
}

static void free_items(store_t *self)
{
    for (size_t i = 0; i * CHUNK < self->reach; i++)
        free(self->chunks[i]);
    free(self->chunks);
}

/* ---- start and end ---- */

static void make_table(index_t *self, size_t size)
{
    self->table_size = size;
    self->tags = xcalloc(size, 1);
    self->table = xmalloc(size * sizeof *self->table);
}

index_t *index_new(void)
{
    index_t *self = xcalloc(1, sizeof *self);
    randombytes_buf(self->key, sizeof self->key);
    self->slots = (store_t){.item_bytes = sizeof(index_slot_t),
                            .link_at = offsetof(index_slot_t, first),
                            .free = INDEX_NONE};
    self->bans = (store_t){.item_bytes = sizeof(index_ban_t),
                           .link_at = offsetof(index_ban_t, next),
                           .free = INDEX_NONE};
    self->due = (store_t){.item_bytes = sizeof(uint32_t), .free = INDEX_NONE};
    self->limits = (index_limits_t){SIZE_MAX, SIZE_MAX};
    self->jails = jail_names_new();
    make_table(self, TABLE_MIN);
    return self;
}

void index_destroy(index_t **self_p)
{
    index_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    free_items(&self->slots);
    free_items(&self->bans);
    free_items(&self->due);
    jail_names_destroy(&self->jails);
    nets_destroy(&self->nets);
    free(self->tags);
    free(self->table);
    free(self->origins);
    free(self);
}

void index_set_limits(index_t *self, const index_limits_t *limits)
{
    self->limits = *limits;
}

/* ---- origins and jails ---- */

uint16_t index_origin(index_t *self, const pubkey_t *key)
{
    for (size_t i = self->origin_count; i > 0; i--)
        if (pubkey_equal(&self->origins[i - 1].key, key))
            return (uint16_t)(i - 1);
    if (self->origin_count == ORIGINS_MAX)
        fatalx("more than %d origins", ORIGINS_MAX);
    self->origins = xrealloc(self->origins, (self->origin_count + 1) * sizeof *self->origins);
    self->origins[self->origin_count] = (index_origin_t){.key = *key};
    return (uint16_t)self->origin_count++;
}

const index_origin_t *index_origin_at(const index_t *self, uint16_t origin)
{
    return &self->origins[origin];
}

size_t index_origin_count(const index_t *self)
{
    return self->origin_count;
}

/* An origin that makes up jails fills its own share of the names, not that of others. */
static uint16_t jail_number(index_t *self, index_origin_t *origin, const char *name)
{
    uint16_t number;
    if (jail_names_find(self->jails, name, &number))
        return number;
    if (origin->jail_names >= NAMES_MAX)
        return JAIL_NAMES_MANY;
    origin->jail_names++;
    return jail_names_add(self->jails, name);
}

const char *index_jail(const index_t *self, const index_ban_t *ban)
{
    return jail_names_text(self->jails, ban->jail);
}

/* ---- the table of addresses ---- */

index_slot_t *index_slot(const index_t *self, uint32_t slot)
{
    return item(&self->slots, slot);
}

static index_ban_t *ban_at(const index_t *self, uint32_t number)
{
    return number == INDEX_NONE ? NULL : item(&self->bans, number);
}

/* Where an address stands in the table, or the free place where it would, and its tag. */
static size_t find_place(const index_t *self, const addr_t *address, uint8_t *tag)
{
    uint8_t hash[crypto_shorthash_BYTES];
    uint64_t number;
    crypto_shorthash(hash, (const uint8_t *)address, sizeof *address, self->key);
    memcpy(&number, hash, sizeof number);
    *tag = (uint8_t)(number >> 56 | 1);
    size_t at = number % self->table_size;
    while (self->tags[at] != TAG_FREE &&
           (self->tags[at] != *tag ||
            !addr_equal(&index_slot(self, self->table[at])->address, address)))
        at = at + 1 == self->table_size ? 0 : at + 1;
    return at;
}

static void put_place(index_t *self, uint32_t slot)
{
    uint8_t tag;
    size_t at = find_place(self, &index_slot(self, slot)->address, &tag);
    self->tags[at] = tag;
    self->table[at] = slot;
}

static void grow_table(index_t *self)
{
    uint8_t *tags = self->tags;
    uint32_t *table = self->table;
    size_t size = self->table_size;
    make_table(self, size + size / 2);
    for (size_t i = 0; i < size; i++)
        if (tags[i] != TAG_FREE)
            put_place(self, table[i]);
    free(tags);
    free(table);
}

uint32_t index_find(const index_t *self, const addr_t *address)
{
    uint8_t tag;
    size_t at = find_place(self, address, &tag);
    return self->tags[at] != TAG_FREE ? self->table[at] : INDEX_NONE;
}

uint32_t index_make(index_t *self, const addr_t *address)
{
    uint32_t slot = index_find(self, address);
    if (slot != INDEX_NONE)
        return slot;
    if (((size_t)self->slots.used + 1) * 4 > self->table_size * 3)
        grow_table(self);
    slot = take_item(&self->slots);
    if (slot == self->due.reach)
        take_item(&self->due);
    *index_slot(self, slot) = (index_slot_t){.address = *address, .first = INDEX_NONE};
    put_place(self, slot);
    if (self->nets != NULL && nets_takes(address))
        nets_add(self->nets, slot, address);
    return slot;
}

/* Take a place out of the table and close the chain behind it. */
static void cut_place(index_t *self, size_t at)
{
    self->tags[at] = TAG_FREE;
    for (size_t i = at + 1 == self->table_size ? 0 : at + 1; self->tags[i] != TAG_FREE;
         i = i + 1 == self->table_size ? 0 : i + 1) {
        uint32_t moved = self->table[i];
        self->tags[i] = TAG_FREE;
        put_place(self, moved);
    }
}

void index_tidy(index_t *self, uint32_t number)
{
    uint8_t tag;
    index_slot_t *slot = index_slot(self, number);
    if (slot->first != INDEX_NONE || slot->held_until_s != 0 || (slot->flags & ~INDEX_SEEN) != 0)
        return;
    index_set_due(self, number, 0);
    cut_place(self, find_place(self, &slot->address, &tag));
    if (self->nets != NULL && nets_takes(&slot->address))
        nets_remove(self->nets, number, &slot->address);
    slot->flags = INDEX_FREE;
    give_item(&self->slots, number);
}

void index_know_nets(index_t *self, bool wanted)
{
    if (wanted == (self->nets != NULL))
        return;
    nets_destroy(&self->nets);
    if (!wanted)
        return;
    self->nets = nets_new();
    for (uint32_t i = 0; i < self->slots.reach; i++) {
        const index_slot_t *slot = index_slot(self, i);
        if ((slot->flags & INDEX_FREE) == 0 && nets_takes(&slot->address))
            nets_add(self->nets, i, &slot->address);
    }
}

uint32_t index_near(const index_t *self, uint32_t slot, uint32_t from)
{
    const addr_t *address = &index_slot(self, slot)->address;
    if (self->nets == NULL || !nets_takes(address))
        return INDEX_NONE;
    uint32_t at =
        from == INDEX_NONE ? nets_first(self->nets, address) : nets_next(self->nets, from);
    while (at != NETS_NONE &&
           (at == slot || !nets_are_near(address, &index_slot(self, at)->address)))
        at = nets_next(self->nets, at);
    return at;
}

uint32_t index_reach(const index_t *self)
{
    return self->slots.reach;
}

size_t index_bans(const index_t *self)
{
    return self->bans.used;
}

size_t index_addresses(const index_t *self)
{
    return self->slots.used;
}

/* ---- bans ---- */

index_ban_t *index_first(const index_t *self, uint32_t slot)
{
    return ban_at(self, index_slot(self, slot)->first);
}

index_ban_t *index_next(const index_t *self, const index_ban_t *ban)
{
    return ban_at(self, ban->next);
}

static uint32_t clip_duration(int64_t duration_s)
{
    return duration_s < 0 || duration_s >= INDEX_FOREVER ? INDEX_FOREVER : (uint32_t)duration_s;
}

/* The ban of an entry, if it is there; *others: how many its origin has on this address. */
static index_ban_t *find_ban(const index_t *self, uint32_t slot, const index_entry_t *entry,
                             size_t *others)
{
    *others = 0;
    if (slot == INDEX_NONE)
        return NULL;
    for (index_ban_t *ban = index_first(self, slot); ban != NULL; ban = index_next(self, ban)) {
        if (ban->origin != entry->origin)
            continue;
        if (ban->nid == entry->nid)
            return ban;
        ++*others;
    }
    return NULL;
}

static index_result_t renew(index_ban_t *ban, const index_entry_t *entry)
{
    uint32_t duration_s = clip_duration(entry->duration_s);
    if (entry->place != 0) {
        ban->feed = entry->feed;
        ban->place = entry->place & INDEX_PLACE_MAX;
    }
    if (!entry->is_clamped)
        ban->time_ms = entry->time_ms;
    if (duration_s <= ban->duration_s)
        return INDEX_KNOWN;
    ban->duration_s = duration_s;
    return INDEX_LONGER;
}

index_result_t index_put(index_t *self, const index_entry_t *entry, uint32_t *slot)
{
    size_t others;
    index_origin_t *origin = &self->origins[entry->origin];
    *slot = index_find(self, entry->address);
    index_ban_t *known = find_ban(self, *slot, entry, &others);
    if (known != NULL)
        return renew(known, entry);
    if (self->bans.used >= self->limits.all || origin->bans >= self->limits.of_origin ||
        others >= INDEX_PER_ADDRESS) {
        origin->left_out++;
        return INDEX_LEFT_OUT;
    }
    *slot = index_make(self, entry->address);
    uint32_t number = take_item(&self->bans);
    index_slot_t *of = index_slot(self, *slot);
    *ban_at(self, number) = (index_ban_t){
        .nid = entry->nid,
        .time_ms = entry->time_ms,
        .place = entry->place & INDEX_PLACE_MAX,
        .feed = entry->feed,
        .duration_s = clip_duration(entry->duration_s),
        .next = of->first,
        .origin = entry->origin,
        .jail = jail_number(self, origin, entry->jail),
    };
    of->first = number;
    origin->bans++;
    return INDEX_ADDED;
}

void index_remove(index_t *self, uint32_t slot, const index_ban_t *ban)
{
    uint32_t *link = &index_slot(self, slot)->first;
    while (*link != INDEX_NONE && ban_at(self, *link) != ban)
        link = &ban_at(self, *link)->next;
    if (*link == INDEX_NONE)
        return;
    uint32_t number = *link;
    *link = ban->next;
    self->origins[ban->origin].bans--;
    self->origins[ban->origin].waiting -= ban->waits;
    give_item(&self->bans, number);
}

index_ban_t *index_find_ban(const index_t *self, uint32_t slot, int64_t nid)
{
    index_ban_t *ban = index_first(self, slot);
    while (ban != NULL && ban->nid != nid)
        ban = index_next(self, ban);
    return ban;
}

void index_set_waits(index_t *self, index_ban_t *ban, bool waits)
{
    index_origin_t *origin = &self->origins[ban->origin];
    origin->waiting -= ban->waits;
    origin->waiting += waits;
    ban->waits = waits;
}

void index_forget_left_out(index_t *self)
{
    for (size_t i = 0; i < self->origin_count; i++)
        self->origins[i].left_out = 0;
}

/* ---- when ---- */

void index_set_due(index_t *self, uint32_t slot, uint32_t due_s)
{
    *(uint32_t *)item(&self->due, slot) = due_s;
}

uint32_t index_due_s(const index_t *self, uint32_t slot)
{
    return *(uint32_t *)item(&self->due, slot);
}

uint32_t index_due(index_t *self, wall_t now)
{
    uint32_t now_s = (uint32_t)(now.ms / MS_PER_S);
    if (now_s != self->now_s) {
        self->now_s = now_s;
        self->next = 0;
    }
    while (self->next < self->due.reach) {
        uint32_t slot = self->next++;
        uint32_t due_s = index_due_s(self, slot);
        if (due_s == 0 || due_s > now_s)
            continue;
        index_set_due(self, slot, 0);
        return slot;
    }
    return INDEX_NONE;
}

#include "block.h"

#include <stdlib.h>
#include <string.h>

#define NONE UINT16_MAX

/* Of an HMGET. */
enum { JAIL, IP, TIMESTAMP, COUNTRY, BANTIME, NETWORK, ASN, FIELD_COUNT };

static const char *const field_names[FIELD_COUNT] = {"jail",    "ip",      "timestamp", "country",
                                                     "bantime", "network", "asn"};

typedef struct {
    attempt_record_t record;
    bool prolongs;
    bool asked;   /* an HMGET is on its way */
    bool counted; /* it is in all sets and rankings */
    uint32_t tops[TOPS_KIND_COUNT];
    block_outcome_t outcome;
} entry_t;

typedef struct {
    cursor_t *cursor;
    cursor_reach_t from;
    cursor_reach_t to;
} move_t;

/* Attempts that belong into one set. */
typedef struct {
    char key[HISTORY_KEY_BYTES];
    size_t count;
    uint16_t first;
    uint16_t last;
} group_t;

struct block {
    entry_t *entries;
    size_t count;
    size_t size;
    size_t events; /* refused ones, too */
    size_t prolonging;
    size_t answered; /* entries whose HMGET was answered or that have none */
    move_t moves[BLOCK_MOVES];
    size_t move_count;
    uint64_t outcomes[BLOCK_OUTCOME_COUNT]; /* of events that are no entry */
    group_t *groups;
    uint16_t *following; /* the next entry of the same group */
};

static const char *const outcome_names[BLOCK_OUTCOME_COUNT] = {
    [BLOCK_STORED] = "stored",         [BLOCK_PROLONGED] = "prolonged",
    [BLOCK_REPEATED] = "repeated",     [BLOCK_CONTRADICTING] = "contradicting",
    [BLOCK_SPECIAL] = "special",       [BLOCK_MALFORMED] = "malformed",
    [BLOCK_OTHER_KIND] = "other-kind", [BLOCK_UNREADABLE_BATCH] = "unreadable-batch",
};

const char *block_outcome_name(block_outcome_t outcome)
{
    return outcome_names[outcome];
}

block_t *block_new(void)
{
    return xcalloc(1, sizeof(block_t));
}

void block_destroy(block_t **self_p)
{
    block_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    free(self->entries);
    free(self->groups);
    free(self->following);
    free(self);
}

void block_clear(block_t *self)
{
    for (size_t i = 0; i < self->move_count; i++)
        self->moves[i].cursor->blocks--;
    self->count = 0;
    self->events = 0;
    self->prolonging = 0;
    self->move_count = 0;
    memset(self->outcomes, 0, sizeof self->outcomes);
}

bool block_is_full(const block_t *self)
{
    return self->events >= BLOCK_EVENTS || self->move_count >= BLOCK_MOVES;
}

/* ---- filling ---- */

void block_refuse(block_t *self, block_outcome_t outcome)
{
    self->outcomes[outcome]++;
    self->events++;
}

static void grow(block_t *self)
{
    self->size = self->size * 2 + 64;
    self->entries = xrealloc(self->entries, self->size * sizeof *self->entries);
    self->groups = xrealloc(self->groups, self->size * sizeof *self->groups);
    self->following = xrealloc(self->following, self->size * sizeof *self->following);
}

/* An attempt's identity besides its nid. An origin that gives one nid to two attempts, in good
 * faith or not, must not get it into two sets of a family. */
static bool is_same_attempt(const ban_t *one, const ban_t *other)
{
    return one->time_ms / 1000 == other->time_ms / 1000 && strcmp(one->jail, other->jail) == 0 &&
           addr_equal(&one->address, &other->address);
}

/* Only an event that names an original can have the nid of another, so for all others there is
 * nothing to search, as long as no such event is in the block. */
static entry_t *find(block_t *self, int64_t nid, bool prolongs)
{
    if (!prolongs && self->prolonging == 0)
        return NULL;
    for (size_t i = 0; i < self->count; i++)
        if (self->entries[i].record.nid == nid)
            return &self->entries[i];
    return NULL;
}

void block_add(block_t *self, const attempt_record_t *record, bool prolongs)
{
    entry_t *known = find(self, record->nid, prolongs);
    if (known == NULL) {
        if (self->count == self->size)
            grow(self);
        self->entries[self->count++] = (entry_t){.record = *record, .prolongs = prolongs};
        self->prolonging += prolongs;
        self->events++;
    } else if (!is_same_attempt(&known->record.ban, &record->ban)) {
        block_refuse(self, BLOCK_CONTRADICTING);
    } else if (ban_is_longer(record->ban.duration_s, known->record.ban.duration_s)) {
        known->record.ban.duration_s = record->ban.duration_s;
        block_refuse(self, BLOCK_PROLONGED);
    } else {
        block_refuse(self, BLOCK_REPEATED);
    }
}

void block_move(block_t *self, cursor_t *cursor, cursor_reach_t to)
{
    move_t *last = self->move_count > 0 ? &self->moves[self->move_count - 1] : NULL;
    if (last != NULL && last->cursor == cursor)
        last->to = to;
    else {
        cursor->blocks++;
        self->moves[self->move_count++] = (move_t){cursor, cursor->taken, to};
    }
    cursor->taken = to;
}

void block_take_back(block_t *self)
{
    for (size_t i = self->move_count; i > 0; i--)
        self->moves[i - 1].cursor->taken = self->moves[i - 1].from;
    block_clear(self);
}

/* ---- what the store knows ---- */

size_t block_attempts(const block_t *self)
{
    return self->count;
}

bool block_prolongs(const block_t *self)
{
    return self->prolonging > 0;
}

bool block_moves(const block_t *self)
{
    return self->move_count > 0;
}

static void ask_one(entry_t *entry, commands_t *out)
{
    commands_begin(out, "HMGET", 2 + FIELD_COUNT);
    commands_key(out, HISTORY_PREFIX, entry->record.nid);
    for (int i = 0; i < FIELD_COUNT; i++)
        commands_text(out, field_names[i]);
    commands_begin(out, "ZSCORE", 3);
    commands_text(out, HISTORY_BANS_KEY);
    commands_number(out, entry->record.nid);
    entry->asked = true;
}

static void name_tops(entry_t *entry, tops_t *tops)
{
    char text[ADDR_TEXT_MAX];
    const attempt_record_t *record = &entry->record;
    const addr_t *network = &record->facts.network;
    entry->tops[TOPS_IP] =
        tops_number(tops, TOPS_IP, record->day, addr_print(&record->ban.address, text));
    entry->tops[TOPS_NET] =
        network->family == 0 ? TOPS_NONE
                             : tops_number(tops, TOPS_NET, record->day, addr_print(network, text));
}

bool block_ask(block_t *self, tops_t *tops, commands_t *out)
{
    size_t fresh = self->count - self->prolonging;
    if (fresh > 0)
        commands_begin(out, "EXISTS", 1 + fresh);
    for (size_t i = 0; i < self->count; i++) {
        self->entries[i].asked = false;
        self->entries[i].outcome = BLOCK_STORED;
        self->entries[i].counted = false;
        name_tops(&self->entries[i], tops);
        if (!self->entries[i].prolongs)
            commands_key(out, HISTORY_PREFIX, self->entries[i].record.nid);
    }
    for (size_t i = 0; self->prolonging > 0 && i < self->count; i++)
        if (self->entries[i].prolongs)
            ask_one(&self->entries[i], out);
    self->answered = 0;
    return fresh > 0;
}

void block_ask_again(block_t *self, commands_t *out)
{
    for (size_t i = 0; i < self->count; i++)
        if (!self->entries[i].prolongs)
            ask_one(&self->entries[i], out);
    self->answered = 0;
}

static const char *field(const redisReply *reply, size_t index)
{
    if (reply->type != REDIS_REPLY_ARRAY || index >= reply->elements ||
        reply->element[index]->type != REDIS_REPLY_STRING)
        return NULL;
    return reply->element[index]->str;
}

static bool agrees(const redisReply *reply, const ban_t *ban)
{
    char ip[ADDR_TEXT_MAX];
    const char *jail = field(reply, JAIL);
    const char *stored_ip = field(reply, IP);
    const char *timestamp = field(reply, TIMESTAMP);
    return jail != NULL && stored_ip != NULL && timestamp != NULL && strcmp(jail, ban->jail) == 0 &&
           strcmp(stored_ip, addr_print(&ban->address, ip)) == 0 &&
           strtoll(timestamp, NULL, 10) == ban->time_ms / 1000;
}

/* What was said of it when it came stays, or it would be in two sets. */
static void keep_facts(enrich_facts_t *facts, const redisReply *reply)
{
    const char *country = field(reply, COUNTRY);
    const char *network = field(reply, NETWORK);
    const char *asn = field(reply, ASN);
    if (country != NULL && strlen(country) == strlen(ENRICH_UNKNOWN))
        memcpy(facts->country, country, sizeof facts->country);
    if (network == NULL || addr_parse(network, &facts->network) != ADDR_OK)
        facts->network = (addr_t){0};
    facts->asn = asn != NULL ? (uint32_t)strtoul(asn, NULL, 10) : 0;
}

static void compare(entry_t *entry, const redisReply *reply)
{
    attempt_record_t *record = &entry->record;
    const char *bantime = field(reply, BANTIME);
    if (field(reply, JAIL) == NULL)
        return; /* not in the store */
    if (!agrees(reply, &record->ban)) {
        entry->outcome = BLOCK_CONTRADICTING;
        return;
    }
    entry->outcome = BLOCK_REPEATED;
    keep_facts(&record->facts, reply);
    if (bantime == NULL)
        return;
    int64_t stored_s = strtoll(bantime, NULL, 10);
    if (ban_is_longer(stored_s, record->ban.duration_s))
        record->ban.duration_s = stored_s;
    else if (stored_s != record->ban.duration_s)
        entry->outcome = BLOCK_PROLONGED;
}

void block_learn(block_t *self, const redisReply *reply)
{
    while (self->answered < self->count && !self->entries[self->answered].asked)
        self->answered++;
    if (self->answered == self->count)
        return;
    entry_t *entry = &self->entries[self->answered];
    if (reply->type == REDIS_REPLY_ARRAY) {
        compare(entry, reply);
        return;
    }
    entry->counted = reply->type == REDIS_REPLY_STRING;
    entry->asked = false;
    self->answered++;
}

/* ---- writing ---- */

/* The group of a key, made if needed. Few: a block holds some countries, jails and days. The newest
 * first, as neighbours are often alike. */
static group_t *group_of(block_t *self, size_t *group_count, const char *key)
{
    for (size_t i = *group_count; i > 0; i--)
        if (strcmp(self->groups[i - 1].key, key) == 0)
            return &self->groups[i - 1];
    group_t *group = &self->groups[(*group_count)++];
    memcpy(group->key, key, strlen(key) + 1);
    group->count = 0;
    group->first = NONE;
    return group;
}

/* One command a set, not one an attempt: it halves what the store has to do. */
static void write_family(block_t *self, commands_t *out, history_family_t family)
{
    size_t group_count = 0;
    char key[HISTORY_KEY_BYTES];
    for (size_t i = 0; i < self->count; i++) {
        if (self->entries[i].outcome == BLOCK_CONTRADICTING ||
            !history_key(&self->entries[i].record, family, key))
            continue;
        group_t *group = group_of(self, &group_count, key);
        self->following[i] = NONE;
        if (group->first == NONE)
            group->first = (uint16_t)i;
        else
            self->following[group->last] = (uint16_t)i;
        group->last = (uint16_t)i;
        group->count++;
    }
    for (size_t i = 0; i < group_count; i++) {
        const group_t *group = &self->groups[i];
        commands_begin(out, "SADD", 2 + group->count);
        commands_text(out, group->key);
        for (uint16_t at = group->first; at != NONE; at = self->following[at])
            commands_number(out, self->entries[at].record.nid);
    }
}

/* Addresses are mostly different ones, and searching for a group would take longer. */
static void write_addresses(const block_t *self, commands_t *out)
{
    char key[HISTORY_KEY_BYTES];
    for (size_t i = 0; i < self->count; i++) {
        if (self->entries[i].outcome == BLOCK_CONTRADICTING)
            continue;
        history_ip_key(&self->entries[i].record, key);
        commands_begin(out, "SADD", 3);
        commands_text(out, key);
        commands_number(out, self->entries[i].record.nid);
    }
}

static bool is_written(const entry_t *entry)
{
    return entry->outcome != BLOCK_CONTRADICTING;
}

static int64_t begins_s(const ban_t *ban)
{
    return ban->time_ms / 1000;
}

/* Those of a time above another one, by it. */
static void write_times(const block_t *self, const char *key, int64_t (*time_of)(const ban_t *),
                        int64_t above_s, commands_t *out)
{
    size_t count = 0;
    for (size_t i = 0; i < self->count; i++)
        count += is_written(&self->entries[i]) && time_of(&self->entries[i].record.ban) > above_s;
    if (count == 0)
        return;
    commands_begin(out, "ZADD", 2 + 2 * count);
    commands_text(out, key);
    for (size_t i = 0; i < self->count; i++) {
        const attempt_record_t *record = &self->entries[i].record;
        if (is_written(&self->entries[i]) && time_of(&record->ban) > above_s) {
            commands_number(out, time_of(&record->ban));
            commands_number(out, record->nid);
        }
    }
}

static void write_entry(entry_t *entry, tops_t *tops, commands_t *out)
{
    if (!is_written(entry))
        return;
    history_write_hash(out, &entry->record);
    if (entry->counted)
        return;
    if (entry->tops[TOPS_NET] != TOPS_NONE && tops_is_first(tops, entry->tops[TOPS_NET]))
        history_write_network(out, &entry->record);
    for (int kind = 0; kind < TOPS_KIND_COUNT; kind++)
        if (entry->tops[kind] != TOPS_NONE)
            tops_add(tops, entry->tops[kind]);
}

void block_write(block_t *self, tops_t *tops, int64_t now_s, commands_t *out)
{
    for (size_t i = 0; i < self->count; i++)
        write_entry(&self->entries[i], tops, out);
    for (int family = 0; family < HISTORY_FAMILY_COUNT; family++)
        write_family(self, out, (history_family_t)family);
    write_addresses(self, out);
    write_times(self, HISTORY_BANS_KEY, begins_s, INT64_MIN, out);
    write_times(self, HISTORY_ACTIVE_KEY, history_expires_s, now_s, out);
    tops_write(tops, out);
}

void block_tell(const block_t *self, int64_t now_s, commands_t *out)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->entries[i].outcome == BLOCK_STORED &&
            begins_s(&self->entries[i].record.ban) > now_s - HISTORY_LIVE_S)
            history_tell(out, &self->entries[i].record);
}

void block_finish(block_t *self, uint64_t counters[static BLOCK_OUTCOME_COUNT])
{
    for (size_t i = 0; i < self->move_count; i++)
        self->moves[i].cursor->stored = self->moves[i].to;
    for (int i = 0; i < BLOCK_OUTCOME_COUNT; i++)
        counters[i] += self->outcomes[i];
    for (size_t i = 0; i < self->count; i++)
        counters[self->entries[i].outcome]++;
    block_clear(self);
}

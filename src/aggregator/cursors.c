#include "cursors.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ASK_MAX 512 /* cursors in one command */

struct cursors {
    feed_t *feeds;
    uint8_t own[FEED_ORIGIN_BYTES];
    cursor_t *items;
    size_t count;
    size_t size;
    size_t seen;           /* feeds that were looked at */
    size_t asked[ASK_MAX]; /* those on their way */
    size_t asked_count;
};

cursors_t *cursors_new(feed_t *feeds, const uint8_t own[static FEED_ORIGIN_BYTES])
{
    cursors_t *self = xcalloc(1, sizeof *self);
    self->feeds = feeds;
    memcpy(self->own, own, sizeof self->own);
    return self;
}

void cursors_destroy(cursors_t **self_p)
{
    cursors_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    free(self->items);
    free(self);
}

size_t cursors_count(cursors_t *self)
{
    while (self->seen < feed_count(self->feeds)) {
        const feed_ref_t *feed = feed_at(self->feeds, self->seen++);
        if (memcmp(feed->id.origin, self->own, sizeof self->own) == 0)
            continue;
        if (self->count == self->size) {
            self->size = self->size * 2 + 16;
            self->items = xrealloc(self->items, self->size * sizeof *self->items);
        }
        self->items[self->count++] = (cursor_t){.feed = feed};
    }
    return self->count;
}

cursor_t *cursors_at(cursors_t *self, size_t index)
{
    return &self->items[index];
}

void cursors_forget(cursors_t *self)
{
    for (size_t i = 0; i < self->count; i++) {
        self->items[i].asked = false;
        self->items[i].known = false;
    }
    self->asked_count = 0;
}

/* ---- names ---- */

void cursors_key(const feed_id_t *id, char key[static CURSORS_KEY_BYTES])
{
    char origin[2 * FEED_ORIGIN_BYTES + 1];
    for (size_t i = 0; i < FEED_ORIGIN_BYTES; i++)
        snprintf(origin + 2 * i, 3, "%02x", id->origin[i]);
    snprintf(key, CURSORS_KEY_BYTES, "banmesh:cursor:%s:%" PRIu64 ":%" PRIu32, origin, id->epoch,
             id->channel);
}

uint64_t cursors_parse(const char *text, const char *dataset)
{
    char *end;
    errno = 0;
    unsigned long long seq = strtoull(text, &end, 10);
    if (errno != 0 || *text < '0' || *text > '9' || *end != ' ' || strcmp(end + 1, dataset) != 0 ||
        seq > FEED_SEQ_MAX)
        return 0;
    return seq;
}

/* ---- reading them ---- */

bool cursors_ask(cursors_t *self, commands_t *out)
{
    char key[CURSORS_KEY_BYTES];
    size_t count = cursors_count(self);
    if (self->asked_count > 0)
        return false;
    for (size_t i = 0; i < count && self->asked_count < ASK_MAX; i++)
        if (!self->items[i].asked)
            self->asked[self->asked_count++] = i;
    if (self->asked_count == 0)
        return false;
    commands_begin(out, "MGET", 1 + self->asked_count);
    for (size_t i = 0; i < self->asked_count; i++) {
        cursors_key(&self->items[self->asked[i]].feed->id, key);
        commands_text(out, key);
        self->items[self->asked[i]].asked = true;
    }
    return true;
}

void cursors_learn(cursors_t *self, const redisReply *reply, const char *dataset)
{
    for (size_t i = 0; i < self->asked_count; i++) {
        cursor_t *cursor = &self->items[self->asked[i]];
        const redisReply *one = i < reply->elements ? reply->element[i] : NULL;
        bool is_text = one != NULL && one->type == REDIS_REPLY_STRING;
        uint64_t seq = is_text ? cursors_parse(one->str, dataset) : 0;
        *cursor = (cursor_t){cursor->feed, true, true, seq, seq, seq};
    }
    self->asked_count = 0;
}

/* ---- writing them ---- */

static bool has_moved(const cursor_t *cursor)
{
    return cursor->known && cursor->stored != cursor->noted;
}

bool cursors_have_moved(const cursors_t *self)
{
    for (size_t i = 0; i < self->count; i++)
        if (has_moved(&self->items[i]))
            return true;
    return false;
}

bool cursors_note(cursors_t *self, commands_t *out, const char *dataset)
{
    char text[CURSORS_KEY_BYTES];
    size_t moved = 0;
    for (size_t i = 0; i < self->count && moved < ASK_MAX; i++)
        moved += has_moved(&self->items[i]);
    if (moved == 0)
        return false;
    commands_begin(out, "MSET", 1 + 2 * moved);
    for (size_t i = 0; moved > 0; i++) {
        cursor_t *cursor = &self->items[i];
        if (!has_moved(cursor))
            continue;
        moved--;
        cursor->noted = cursor->stored;
        cursors_key(&cursor->feed->id, text);
        commands_text(out, text);
        snprintf(text, sizeof text, "%" PRIu64 " %s", cursor->noted, dataset);
        commands_text(out, text);
    }
    return true;
}

uint64_t cursors_behind(cursors_t *self)
{
    uint64_t behind = 0;
    size_t count = cursors_count(self);
    for (size_t i = 0; i < count; i++) {
        const cursor_t *cursor = &self->items[i];
        uint64_t done = cursor->stored;
        if (done + 1 < cursor->feed->oldest)
            done = cursor->feed->oldest - 1;
        if (cursor->feed->have > done)
            behind += cursor->feed->have - done;
    }
    return behind;
}

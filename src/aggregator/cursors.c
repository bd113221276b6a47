#include "cursors.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ASK_MAX 512 /* cursors in one command */

struct cursors {
    feed_t *feeds;
    size_t note;              /* cursor_t */
    cursor_t *asked[ASK_MAX]; /* those on their way */
    size_t asked_count;
};

/* Only when the store has forgotten it, and nothing here means it any more. */
static bool leave(void *arg, const feed_ref_t *feed, void *note)
{
    const cursors_t *self = arg;
    cursor_t *cursor = note;
    if (feed_is_ours(self->feeds, &feed->id.origin))
        return true;
    cursor->leaving = true;
    return cursor->gone && cursor->blocks == 0 && cursor->known == cursor->asked;
}

cursors_t *cursors_new(feed_t *feeds)
{
    cursors_t *self = xcalloc(1, sizeof *self);
    self->feeds = feeds;
    self->note = feed_reserve(feeds, sizeof(cursor_t), leave, self);
    return self;
}

void cursors_destroy(cursors_t **self_p)
{
    cursors_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    feed_release(self->feeds, self->note);
    free(self);
}

size_t cursors_count(const cursors_t *self)
{
    return feed_count(self->feeds);
}

cursor_t *cursors_of(const cursors_t *self, const feed_ref_t *feed)
{
    if (feed_is_ours(self->feeds, &feed->id.origin))
        return NULL;
    cursor_t *cursor = feed_note(feed, self->note);
    cursor->feed = feed;
    return cursor;
}

cursor_t *cursors_at(const cursors_t *self, size_t index)
{
    const feed_ref_t *feed = feed_at(self->feeds, index);
    return feed != NULL ? cursors_of(self, feed) : NULL;
}

void cursors_forget(cursors_t *self)
{
    for (size_t i = 0; i < cursors_count(self); i++) {
        cursor_t *cursor = cursors_at(self, i);
        if (cursor == NULL)
            continue;
        cursor->asked = cursor->known = false;
        cursor->doubted = cursor->confirmed = cursor->noting = false;
    }
    self->asked_count = 0;
}

/* ---- names ---- */

void cursors_key(const feed_id_t *id, char key[static CURSORS_KEY_BYTES])
{
    char origin[2 * PUBKEY_BYTES + 1];
    for (size_t i = 0; i < PUBKEY_BYTES; i++)
        snprintf(origin + 2 * i, 3, "%02x", id->origin.bytes[i]);
    snprintf(key, CURSORS_KEY_BYTES, "banmesh:cursor:%s:%" PRIu64 ":%" PRIu32, origin, id->epoch,
             id->channel);
}

/* A number without a sign, and what ends it. False: there is none. */
static bool parse_number(const char **text, char end, uint64_t *out)
{
    char *rest;
    errno = 0;
    unsigned long long number = strtoull(*text, &rest, 10);
    if (errno != 0 || **text < '0' || **text > '9' || *rest != end || number > FEED_SEQ_MAX)
        return false;
    *out = number;
    *text = rest + (end != '\0');
    return true;
}

cursor_reach_t cursors_parse(const char *text, const char *dataset)
{
    cursor_reach_t found = {0};
    size_t length = strlen(dataset);
    if (!parse_number(&text, ' ', &found.seq) || strncmp(text, dataset, length) != 0)
        return (cursor_reach_t){0};
    text += length;
    bool good = *text == '\0';
    if (*text++ == ' ')
        good = parse_number(&text, '\0', &found.missed) && found.missed <= found.seq;
    return good ? found : (cursor_reach_t){0};
}

static void print(const cursor_reach_t *progress, const char *dataset,
                  char text[static CURSORS_KEY_BYTES])
{
    if (progress->missed == 0)
        snprintf(text, CURSORS_KEY_BYTES, "%" PRIu64 " %s", progress->seq, dataset);
    else
        snprintf(text, CURSORS_KEY_BYTES, "%" PRIu64 " %s %" PRIu64, progress->seq, dataset,
                 progress->missed);
}

/* ---- reading them ---- */

static bool is_unasked(const cursor_t *cursor)
{
    return cursor != NULL && !cursor->asked;
}

bool cursors_may_ask(const cursors_t *self)
{
    for (size_t i = 0; self->asked_count == 0 && i < cursors_count(self); i++)
        if (is_unasked(cursors_at(self, i)))
            return true;
    return false;
}

void cursors_ask(cursors_t *self, commands_t *out)
{
    char key[CURSORS_KEY_BYTES];
    for (size_t i = 0; i < cursors_count(self) && self->asked_count < ASK_MAX; i++)
        if (is_unasked(cursors_at(self, i)))
            self->asked[self->asked_count++] = cursors_at(self, i);
    commands_begin(out, "MGET", 1 + self->asked_count);
    for (size_t i = 0; i < self->asked_count; i++) {
        cursors_key(&self->asked[i]->feed->id, key);
        commands_text(out, key);
        self->asked[i]->asked = true;
    }
}

/* One that was asked for again goes no further back: what we stored on this connection is there. */
static void learn(cursor_t *cursor, cursor_reach_t found)
{
    cursor->known = true;
    cursor->noted = found;
    cursor->confirmed = cursor->doubted;
    if (cursor->doubted && found.seq < cursor->stored.seq)
        found = cursor->stored;
    cursor->taken = cursor->stored = found;
    cursor->doubted = false;
}

void cursors_learn(cursors_t *self, const redisReply *reply, const char *dataset)
{
    for (size_t i = 0; i < self->asked_count; i++) {
        const redisReply *one = i < reply->elements ? reply->element[i] : NULL;
        bool is_text = one != NULL && one->type == REDIS_REPLY_STRING;
        learn(self->asked[i], is_text ? cursors_parse(one->str, dataset) : (cursor_reach_t){0});
    }
    self->asked_count = 0;
}

bool cursors_confirm(cursor_t *cursor)
{
    bool confirmed = cursor->confirmed;
    cursor->confirmed = false;
    /* What is on its way to the store would come back as progress. */
    if (!confirmed && !cursor->noting && cursor->taken.seq == cursor->stored.seq) {
        cursor->doubted = true;
        cursor->asked = cursor->known = false;
    }
    return confirmed;
}

/* ---- writing them ---- */

static bool is_to_be_written(const cursor_t *cursor)
{
    return cursor != NULL && cursor->known && !cursor->leaving &&
           cursor->stored.seq != cursor->noted.seq;
}

static bool is_to_be_deleted(const cursor_t *cursor)
{
    return cursor != NULL && cursor->known && cursor->leaving && !cursor->gone &&
           cursor->blocks == 0;
}

bool cursors_have_moved(const cursors_t *self)
{
    for (size_t i = 0; i < cursors_count(self); i++)
        if (is_to_be_written(cursors_at(self, i)) || is_to_be_deleted(cursors_at(self, i)))
            return true;
    return false;
}

/* Mark up to ASK_MAX of one kind. Returns how many. */
static size_t mark(const cursors_t *self, bool (*is_wanted)(const cursor_t *cursor),
                   cursor_t *marked[static ASK_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < cursors_count(self) && count < ASK_MAX; i++)
        if (is_wanted(cursors_at(self, i))) {
            marked[count] = cursors_at(self, i);
            marked[count++]->noting = true;
        }
    return count;
}

void cursors_note(cursors_t *self, commands_t *out, const char *dataset)
{
    cursor_t *marked[ASK_MAX];
    char text[CURSORS_KEY_BYTES];
    size_t count = mark(self, is_to_be_written, marked);
    if (count > 0)
        commands_begin(out, "MSET", 1 + 2 * count);
    for (size_t i = 0; i < count; i++) {
        marked[i]->note = marked[i]->stored;
        cursors_key(&marked[i]->feed->id, text);
        commands_text(out, text);
        print(&marked[i]->note, dataset, text);
        commands_text(out, text);
    }
    count = mark(self, is_to_be_deleted, marked);
    if (count > 0)
        commands_begin(out, "DEL", 1 + count);
    for (size_t i = 0; i < count; i++) {
        cursors_key(&marked[i]->feed->id, text);
        commands_text(out, text);
    }
}

void cursors_noted(cursors_t *self, bool done)
{
    for (size_t i = 0; i < cursors_count(self); i++) {
        cursor_t *cursor = cursors_at(self, i);
        if (cursor == NULL || !cursor->noting)
            continue;
        cursor->noting = false;
        if (done && cursor->leaving)
            cursor->gone = true;
        else if (done)
            cursor->noted = cursor->note;
    }
}

uint64_t cursors_behind(const cursors_t *self)
{
    uint64_t behind = 0;
    for (size_t i = 0; i < cursors_count(self); i++) {
        const cursor_t *cursor = cursors_at(self, i);
        if (cursor != NULL && cursor->feed->have > cursor->stored.seq)
            behind += cursor->feed->have - cursor->stored.seq;
    }
    return behind;
}

uint64_t cursors_missed(const cursors_t *self)
{
    uint64_t missed = 0;
    for (size_t i = 0; i < cursors_count(self); i++) {
        const cursor_t *cursor = cursors_at(self, i);
        missed += cursor != NULL ? cursor->stored.missed : 0;
    }
    return missed;
}

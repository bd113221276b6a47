#include "feeds.h"
#include "replica.h"

#include <stdio.h>
#include <string.h>

const state_tables_t *feeds_tables = &replica_tables;
const pubkey_t feeds_self = {{1}};

feed_t *feeds_open(void)
{
    fault_t fault;
    feed_t *feed = feed_open("state", &feeds_self, feeds_tables, &fault);
    if (feed == NULL)
        fail_msg("%s", fault.text);
    return feed;
}

feed_t *feeds_open_new(void)
{
    support_make_directory("state");
    return feeds_open();
}

const char *feeds_open_fault(void)
{
    static fault_t fault;
    feed_t *feed = feed_open("state", &feeds_self, feeds_tables, &fault);
    if (feed == NULL)
        return fault.text;
    feed_close(&feed);
    return "no fault";
}

void feeds_reopen(feed_t **feed)
{
    feed_close(feed);
    assert_null(*feed);
    *feed = feeds_open();
}

wall_t feeds_at(int64_t ms)
{
    return (wall_t){ms};
}

feed_id_t feeds_peer_id(uint8_t origin, uint64_t epoch)
{
    feed_id_t id = {.epoch = epoch};
    memset(id.origin.bytes, origin, PUBKEY_BYTES);
    return id;
}

const feed_ref_t *feeds_add(feed_t *feed, uint8_t origin, uint64_t epoch)
{
    feed_id_t id = feeds_peer_id(origin, epoch);
    const feed_ref_t *ref = feed_add(feed, &id);
    assert_non_null(ref);
    return ref;
}

const feed_ref_t *feeds_find(feed_t *feed, uint8_t origin, uint64_t epoch)
{
    feed_id_t id = feeds_peer_id(origin, epoch);
    return feed_find(feed, &id);
}

int feeds_store(feed_t *feed, const feed_ref_t *ref, uint64_t seq)
{
    char text[32];
    int length = snprintf(text, sizeof text, "batch %llu", (unsigned long long)seq);
    return feed_store(feed, ref, seq, (const uint8_t *)text, (size_t)length);
}

void feeds_assert_holds(feed_t *feed, const feed_ref_t *ref, uint64_t seq)
{
    char text[32];
    const uint8_t *bytes;
    int length = snprintf(text, sizeof text, "batch %llu", (unsigned long long)seq);
    assert_int_equal(feed_read(feed, ref, seq, &bytes), length);
    assert_memory_equal(bytes, text, (size_t)length);
}

void feeds_assert_lacks(feed_t *feed, const feed_ref_t *ref, uint64_t seq)
{
    const uint8_t *bytes;
    assert_int_equal(feed_read(feed, ref, seq, &bytes), 0);
}

#include "golden.h"

#include <stdio.h>
#include <string.h>

#define EPOCH 1795288000000

forge_node_t golden_node(void)
{
    return forge_node(42);
}

static feed_id_t feed(void)
{
    feed_id_t feed = {.epoch = EPOCH, .channel = 3};
    forge_node_t node = golden_node();
    feed.origin = node.public_key;
    forge_end(&node);
    return feed;
}

void golden_events(event_t events[static GOLDEN_EVENTS])
{
    events[0] = support_ban_event("45.154.244.193");
    events[1] = support_ban_event("2a00:1450:4001::200e");
    events[1].ban.duration_s = -1;
    events[2] = support_ban_event("2a00:1450:4001::/64");
    events[2].ban.failures = UINT32_MAX;
    events[2].ban.bancount = UINT32_MAX;
    events[2].ban.time_ms = EVENT_TIME_MAX_MS;
    events[2].ban.duration_s = EVENT_TIME_MAX_MS / 1000;
    snprintf(events[2].ban.port, sizeof events[2].ban.port, "80,443,8000:8999");
    /* All that may be empty or zero is. */
    events[3] = (event_t){.kind = EVENT_BAN, .ban = {.address = support_addr("0.0.0.0/0")}};
    snprintf(events[3].ban.jail, sizeof events[3].ban.jail, "j");
    events[4] = support_grace_event(EVENT_PARDON, "45.154.244.0/24", "our own monitoring");
    events[5] = support_grace_event(EVENT_ALLOW, "2a00:1450::/32", "partner (caf\xc3\xa9)");
    /* A prolongation: its true identity is another event's place. */
    events[6] = support_ban_event("45.154.244.193");
    events[6].has_original = true;
    events[6].original =
        (event_position_t){.epoch = EPOCH - 1, .channel = 2, .seq = 1099511627775, .index = 511};
}

void golden_pardons(event_t events[static GOLDEN_PARDONS])
{
    /* All that may be zero is. */
    events[0] = support_grace_event(EVENT_PARDON, "45.154.244.193", "unban");
    events[0].grace.until_ms = 0;
    events[0].grace.bans[0] = (event_position_t){.epoch = 1, .seq = 1};
    events[0].grace.ban_count = 1;
    events[1] = support_grace_event(EVENT_PARDON, "2a00:1450:4001::/64", "");
    events[1].grace.ban_count = EVENT_PARDON_BANS_MAX;
    for (uint32_t i = 0; i < EVENT_PARDON_BANS_MAX; i++)
        events[1].grace.bans[i] = (event_position_t){.epoch = EVENT_TIME_MAX_MS,
                                                     .channel = UINT32_MAX - i,
                                                     .seq = EVENT_SEQ_MAX - i,
                                                     .index = EVENT_INDEX_MAX - i};
    events[2] = support_grace_event(EVENT_ALLOW, "45.154.0.0/16", "withdrawn");
    events[2].grace.until_ms = events[2].grace.time_ms;
}

wire_batch_t golden_batch(void)
{
    return (wire_batch_t){.feed = feed(),
                          .seq = 1099511627775,
                          .time_ms = 1795288025123,
                          .event_count = GOLDEN_EVENTS};
}

wire_head_t golden_head(void)
{
    wire_head_t head = {.feed = feed(),
                        .seq = 1234567,
                        .floor = 1000000,
                        .epoch_floor = EPOCH - 1000,
                        .time_ms = 1795288025123};
    for (size_t i = 0; i < sizeof head.hash; i++)
        head.hash[i] = (uint8_t)i;
    return head;
}

wire_fetch_t golden_fetch(void)
{
    return (wire_fetch_t){.feed = feed(), .after = 1000000, .credit = 100};
}

wire_done_t golden_done(void)
{
    return (wire_done_t){.feed = feed(), .through = 1000100, .have = 1234567};
}

static size_t make_batch(const forge_node_t *node, uint8_t *out)
{
    event_t events[GOLDEN_EVENTS];
    wire_batch_t batch = golden_batch();
    golden_events(events);
    return wire_write_batch(node->wire, &batch, events, out);
}

static size_t make_pardons(const forge_node_t *node, uint8_t *out)
{
    event_t events[GOLDEN_PARDONS];
    wire_batch_t batch = golden_batch();
    golden_pardons(events);
    batch.event_count = GOLDEN_PARDONS;
    return wire_write_batch(node->wire, &batch, events, out);
}

static size_t make_head(const forge_node_t *node, uint8_t *out)
{
    wire_head_t head = golden_head();
    return wire_write_head(node->wire, &head, out);
}

/* The heartbeat of a node that never published. */
static size_t make_heartbeat(const forge_node_t *node, uint8_t *out)
{
    wire_head_t head = {.floor = 1, .time_ms = 1795288025123};
    return wire_write_head(node->wire, &head, out);
}

static size_t make_fetch(const forge_node_t *node, uint8_t *out)
{
    wire_fetch_t fetch = golden_fetch();
    return wire_write_fetch(node->wire, &fetch, out);
}

static size_t make_done(const forge_node_t *node, uint8_t *out)
{
    wire_done_t done = golden_done();
    return wire_write_done(node->wire, &done, out);
}

wire_survey_t golden_survey(void)
{
    wire_survey_t survey = {.history = true};
    for (size_t i = 0; i < WIRE_DIGESTS; i++)
        memset(survey.digests[i], (int)(WIRE_DIGESTS - 1 - i), WIRE_DIGEST_BYTES);
    return survey;
}

static size_t make_survey(const forge_node_t *node, uint8_t *out)
{
    wire_survey_t survey = golden_survey();
    return wire_write_survey(node->wire, &survey, out);
}

static size_t make_survey_of_all(const forge_node_t *node, uint8_t *out)
{
    const wire_survey_t all = {.all = true};
    return wire_write_survey(node->wire, &all, out);
}

static size_t make_bundle(const forge_node_t *node, uint8_t *out)
{
    static wire_bundle_t bundle;
    uint8_t head[WIRE_ENVELOPE_MAX];
    bundle.count = bundle.used = 0;
    wire_bundle_add(&bundle, head, make_head(node, head));
    wire_bundle_add(&bundle, head, make_heartbeat(node, head));
    return wire_write_bundle(node->wire, &bundle, out);
}

static const struct {
    const char *file;
    size_t (*make)(const forge_node_t *node, uint8_t *out);
} kinds[GOLDEN_KINDS] = {
    {"batch.bin", make_batch},         {"head.bin", make_head},
    {"heartbeat.bin", make_heartbeat}, {"fetch.bin", make_fetch},
    {"done.bin", make_done},           {"survey.bin", make_survey},
    {"bundle.bin", make_bundle},       {"survey_all.bin", make_survey_of_all},
    {"pardons.bin", make_pardons},
};

const char *golden_file(size_t index)
{
    return kinds[index].file;
}

void golden_make(size_t index, forged_t *out)
{
    forge_node_t node = golden_node();
    out->size = kinds[index].make(&node, out->bytes);
    forge_end(&node);
}

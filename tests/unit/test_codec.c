/* codec: what is wrong with one event is said of that event; the rest of its batch counts. */
#include "forge.h"

#include <sodium.h>
#include <string.h>

static forge_node_t node;
static forged_t envelope;

/* An event as protobuf, with its parts, for spoiling. */
typedef struct {
    Banmesh__Event event;
    Banmesh__Ban ban;
    Banmesh__Pardon pardon;
    Banmesh__Address address;
    uint8_t ip[17];
    Banmesh__Position place; /* that a pardon names, as often as it likes */
    Banmesh__Position *places[EVENT_PARDON_BANS_MAX + 1];
} raw_t;

#define TEXT(literal) ((ProtobufCBinaryData){sizeof(literal) - 1, (uint8_t *)(uintptr_t)(literal)})

static void make_address(raw_t *raw)
{
    static const uint8_t ip[4] = {45, 154, 244, 193};
    banmesh__event__init(&raw->event);
    banmesh__address__init(&raw->address);
    memset(raw->ip, 0, sizeof raw->ip);
    memcpy(raw->ip, ip, sizeof ip);
    raw->address.ip = (ProtobufCBinaryData){4, raw->ip};
    raw->address.prefix = 32;
}

static void make_ban(raw_t *raw)
{
    make_address(raw);
    banmesh__ban__init(&raw->ban);
    raw->ban.address = &raw->address;
    raw->ban.jail = TEXT("sshd");
    raw->ban.time_ms = 1795288025123;
    raw->ban.duration_s = 600;
    raw->event.kind_case = BANMESH__EVENT__KIND_BAN;
    raw->event.ban = &raw->ban;
}

static void make_pardon(raw_t *raw)
{
    make_address(raw);
    banmesh__pardon__init(&raw->pardon);
    raw->pardon.network = &raw->address;
    raw->pardon.time_ms = 1795288025123;
    raw->event.kind_case = BANMESH__EVENT__KIND_PARDON;
    raw->event.pardon = &raw->pardon;
}

static void name_bans(raw_t *raw, size_t count)
{
    banmesh__position__init(&raw->place);
    raw->place.epoch = FORGE_EPOCH;
    raw->place.seq = 1;
    for (size_t i = 0; i < count; i++)
        raw->places[i] = &raw->place;
    raw->pardon.n_bans = count;
    raw->pardon.bans = raw->places;
}

/* Send the event as the middle one of three; the others must come through. */
static event_error_t send_event(Banmesh__Event *middle, event_t *out)
{
    raw_t good;
    make_ban(&good);
    Banmesh__Event *events[] = {&good.event, middle, &good.event};
    Banmesh__Batch body = BANMESH__BATCH__INIT;
    wire_batch_t batch;
    event_t beside;
    body.epoch = FORGE_EPOCH;
    body.seq = 1;
    body.events = events;
    body.n_events = 3;
    forge_message(&node, WIRE_BATCH, &body.base, &envelope);
    assert_int_equal(wire_read_batch(node.wire, forge_open(&envelope), &batch), WIRE_OK);
    assert_int_equal(batch.event_count, 3);
    assert_int_equal(wire_event(node.wire, 0, &beside), EVENT_OK);
    assert_int_equal(wire_event(node.wire, 2, &beside), EVENT_OK);
    memset(out, 0xa5, sizeof *out);
    return wire_event(node.wire, 1, out);
}

static void assert_raw(raw_t *raw, event_error_t expected)
{
    event_t event;
    event_error_t error = send_event(&raw->event, &event);
    if (error != expected)
        fail_msg("expected %s, but it is %s", event_error_name(expected), event_error_name(error));
    if (error == EVENT_OK)
        assert_int_equal(event_check(&event), EVENT_OK);
}

TEST(good_events_are_read)
{
    raw_t raw;
    make_ban(&raw);
    assert_raw(&raw, EVENT_OK);
    make_pardon(&raw);
    assert_raw(&raw, EVENT_OK);
}

TEST(an_address_has_4_or_16_bytes)
{
    for (size_t size = 0; size <= 17; size++) {
        raw_t raw;
        make_ban(&raw);
        raw.address.ip.len = size;
        raw.address.prefix = 32;
        assert_raw(&raw, size == 4 || size == 16 ? EVENT_OK : EVENT_BAD_ADDRESS);
    }
}

TEST(an_event_without_its_address_is_bad)
{
    raw_t raw;
    make_ban(&raw);
    raw.ban.address = NULL;
    assert_raw(&raw, EVENT_BAD_ADDRESS);
    make_pardon(&raw);
    raw.pardon.network = NULL;
    assert_raw(&raw, EVENT_BAD_ADDRESS);
}

TEST(a_prefix_fits_its_address)
{
    raw_t raw;
    make_ban(&raw);
    raw.address.prefix = 33;
    assert_raw(&raw, EVENT_BAD_ADDRESS);
    raw.address.prefix = UINT32_MAX;
    assert_raw(&raw, EVENT_BAD_ADDRESS);
    raw.address.prefix = 256 + 32;
    assert_raw(&raw, EVENT_BAD_ADDRESS);
    raw.address.ip.len = 16;
    raw.address.prefix = 129;
    assert_raw(&raw, EVENT_BAD_ADDRESS);
}

TEST(a_mapped_address_is_bad_on_the_wire)
{
    static const uint8_t mapped[16] = {[10] = 0xff, [11] = 0xff, [12] = 45, [13] = 154};
    raw_t raw;
    make_ban(&raw);
    memcpy(raw.ip, mapped, sizeof mapped);
    raw.address.ip.len = 16;
    raw.address.prefix = 128;
    assert_raw(&raw, EVENT_BAD_ADDRESS);
}

TEST(bits_behind_the_prefix_do_not_reach_us)
{
    raw_t raw;
    event_t event;
    addr_t expected = support_addr("45.154.244.0/24");
    make_ban(&raw);
    raw.address.prefix = 24;
    event_error_t error = send_event(&raw.event, &event);
    assert_true(error == EVENT_BAD_ADDRESS || addr_equal(&event.ban.address, &expected));
}

TEST(a_reason_is_words_without_control_characters)
{
    static uint8_t words[EVENT_TEXT_MAX + 1];
    raw_t raw;
    event_t event;
    memset(words, 'w', sizeof words);
    make_ban(&raw);
    raw.ban.reason = (ProtobufCBinaryData){EVENT_TEXT_MAX, words};
    assert_int_equal(send_event(&raw.event, &event), EVENT_OK);
    assert_int_equal(strlen(event.ban.reason), EVENT_TEXT_MAX);
    raw.ban.reason.len = EVENT_TEXT_MAX + 1;
    assert_raw(&raw, EVENT_BAD_TEXT);
    raw.ban.reason = TEXT("two\nlines");
    assert_raw(&raw, EVENT_BAD_TEXT);
    raw.ban.reason = TEXT("a\0b");
    assert_raw(&raw, EVENT_BAD_TEXT);
    raw.ban.reason = TEXT("\x1b[31m");
    assert_raw(&raw, EVENT_BAD_TEXT);
    raw.ban.reason = TEXT("d\xc3\xa9j\xc3\xa0 vu");
    assert_raw(&raw, EVENT_OK);
}

TEST(a_jail_is_checked_byte_by_byte)
{
    static const ProtobufCBinaryData bad[] = {
        {0, NULL},
        {5, (uint8_t *)(uintptr_t) "ss\0hd"},
        {5, (uint8_t *)(uintptr_t) "sshd\0"},
        {1, (uint8_t *)(uintptr_t) ""},
        {4, (uint8_t *)(uintptr_t) "ss d"},
        {5, (uint8_t *)(uintptr_t) "sshd\n"},
        {4, (uint8_t *)(uintptr_t) "\xc3\xa4\xc3\xb6"},
        {4, (uint8_t *)(uintptr_t) "\xff\xfe\xfd\xfc"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        raw_t raw;
        make_ban(&raw);
        raw.ban.jail = bad[i];
        assert_raw(&raw, EVENT_BAD_JAIL);
    }
}

TEST(text_beyond_its_limit_is_bad)
{
    static uint8_t text[EVENT_TEXT_MAX + 1];
    memset(text, 'x', sizeof text);
    raw_t raw;
    make_ban(&raw);
    raw.ban.jail = (ProtobufCBinaryData){EVENT_NAME_MAX, text};
    raw.ban.port = (ProtobufCBinaryData){EVENT_PORT_MAX, text};
    raw.ban.protocol = (ProtobufCBinaryData){EVENT_PROTOCOL_MAX, text};
    assert_raw(&raw, EVENT_OK);
    raw.ban.protocol.len++;
    assert_raw(&raw, EVENT_BAD_PROTOCOL);
    raw.ban.port.len++;
    assert_raw(&raw, EVENT_BAD_PORT);
    raw.ban.jail.len++;
    assert_raw(&raw, EVENT_BAD_JAIL);
    make_pardon(&raw);
    raw.pardon.reason = (ProtobufCBinaryData){EVENT_TEXT_MAX, text};
    assert_raw(&raw, EVENT_OK);
    raw.pardon.reason.len++;
    assert_raw(&raw, EVENT_BAD_TEXT);
}

TEST(a_nul_or_escape_in_a_text_is_bad)
{
    raw_t raw;
    make_pardon(&raw);
    raw.pardon.reason = TEXT("fine\0hidden");
    assert_raw(&raw, EVENT_BAD_TEXT);
    raw.pardon.reason = TEXT("\x1b[31mred");
    assert_raw(&raw, EVENT_BAD_TEXT);
    make_ban(&raw);
    raw.ban.port = TEXT("80\0");
    assert_raw(&raw, EVENT_BAD_PORT);
    raw.ban.port = TEXT("80 443");
    assert_raw(&raw, EVENT_BAD_PORT);
    make_ban(&raw);
    raw.ban.protocol = TEXT("tcp;");
    assert_raw(&raw, EVENT_BAD_PROTOCOL);
}

TEST(times_and_durations_out_of_range_are_bad)
{
    raw_t raw;
    make_ban(&raw);
    raw.ban.time_ms = EVENT_TIME_MAX_MS + 1;
    assert_raw(&raw, EVENT_BAD_TIME);
    raw.ban.time_ms = UINT64_MAX;
    assert_raw(&raw, EVENT_BAD_TIME);
    make_ban(&raw);
    raw.ban.duration_s = -2;
    assert_raw(&raw, EVENT_BAD_DURATION);
    raw.ban.duration_s = INT64_MIN;
    assert_raw(&raw, EVENT_BAD_DURATION);
    raw.ban.duration_s = INT64_MAX;
    assert_raw(&raw, EVENT_BAD_DURATION);
    make_pardon(&raw);
    raw.pardon.until_ms = UINT64_MAX;
    assert_raw(&raw, EVENT_BAD_TIME);
}

TEST(the_bans_of_a_pardon_are_counted_and_checked)
{
    raw_t raw;
    make_pardon(&raw);
    name_bans(&raw, EVENT_PARDON_BANS_MAX);
    assert_raw(&raw, EVENT_OK);
    raw.place.index = EVENT_INDEX_MAX + 1;
    assert_raw(&raw, EVENT_BAD_POSITION);
    name_bans(&raw, 1);
    raw.place.seq = UINT64_MAX;
    assert_raw(&raw, EVENT_BAD_POSITION);
    name_bans(&raw, EVENT_PARDON_BANS_MAX + 1);
    assert_raw(&raw, EVENT_TOO_MANY_BANS);
}

TEST(a_pardon_of_half_the_internet_is_malformed)
{
    raw_t raw;
    make_pardon(&raw);
    memset(raw.ip, 0, sizeof raw.ip);
    raw.address.prefix = 0;
    assert_raw(&raw, EVENT_TOO_WIDE);
}

/* The smallest that such bodies get: the most memory for a byte of them. */
TEST(a_full_batch_of_pardons_is_within_what_decoding_may_take)
{
    static event_t events[WIRE_EVENTS_MAX];
    size_t count = 0;
    wire_batch_t batch = {.feed = forge_feed(&node), .seq = 1};
    for (size_t i = 0; i < WIRE_EVENTS_MAX; i++) {
        events[i] = support_grace_event(EVENT_PARDON, "45.154.244.193", "");
        events[i].grace.until_ms = 0;
        events[i].grace.ban_count = EVENT_PARDON_BANS_MAX;
        for (size_t j = 0; j < EVENT_PARDON_BANS_MAX; j++)
            events[i].grace.bans[j] = (event_position_t){.epoch = FORGE_EPOCH, .seq = 1};
    }
    for (size_t step = WIRE_EVENTS_MAX; step > 0; step /= 2) {
        batch.event_count = count + step;
        if (batch.event_count <= WIRE_EVENTS_MAX &&
            wire_write_batch(node.wire, &batch, events, envelope.bytes) > 0)
            count += step;
    }
    batch.event_count = count;
    envelope.size = wire_write_batch(node.wire, &batch, events, envelope.bytes);
    assert_true(count > 100);
    assert_int_equal(wire_read_batch(node.wire, forge_open(&envelope), &batch), WIRE_OK);
}

TEST(an_event_of_an_unknown_kind_is_kept_as_such)
{
    /* Field 9, length-delimited: a kind of a later version. */
    static uint8_t later[] = {'n', 'e', 'w'};
    ProtobufCMessageUnknownField field = {9, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, 4, NULL};
    uint8_t data[] = {sizeof later, later[0], later[1], later[2]};
    Banmesh__Event event = BANMESH__EVENT__INIT;
    Banmesh__Position original = BANMESH__POSITION__INIT;
    event_t read;
    field.data = data;
    event.base.n_unknown_fields = 1;
    event.base.unknown_fields = &field;
    assert_int_equal(send_event(&event, &read), EVENT_OK);
    assert_int_equal(read.kind, EVENT_UNKNOWN);
    assert_false(read.has_original);
    assert_int_equal(read.original.epoch, FORGE_EPOCH);
    assert_int_equal(read.original.seq, 1);
    assert_int_equal(read.original.index, 1);
    original.epoch = 7;
    original.seq = 8;
    event.original = &original;
    assert_int_equal(send_event(&event, &read), EVENT_OK);
    assert_int_equal(read.kind, EVENT_UNKNOWN);
    assert_true(read.has_original);
    assert_int_equal(read.original.epoch, 7);
    assert_int_equal(read.original.seq, 8);
}

TEST(fields_of_a_later_version_are_passed_over)
{
    uint8_t number[] = {5};
    ProtobufCMessageUnknownField field = {99, PROTOBUF_C_WIRE_TYPE_VARINT, 1, number};
    raw_t raw;
    make_ban(&raw);
    raw.ban.base.n_unknown_fields = 1;
    raw.ban.base.unknown_fields = &field;
    assert_raw(&raw, EVENT_OK);
}

TEST(random_valid_events_come_through_unchanged)
{
    static event_t events[WIRE_EVENTS_MAX];
    uint64_t random = support_seed();
    for (size_t i = 0; i < WIRE_EVENTS_MAX; i++) {
        uint8_t bytes[16];
        size_t size = support_random(&random) % 2 == 0 ? 4 : 16;
        for (size_t j = 0; j < size; j++)
            bytes[j] = (uint8_t)support_random(&random);
        events[i] = support_ban_event("1.2.3.4");
        ban_t *ban = &events[i].ban;
        addr_from_bytes(bytes, size, (uint32_t)(support_random(&random) % (size * 8 + 1)),
                        &ban->address);
        ban->time_ms = (int64_t)(support_random(&random) % EVENT_TIME_MAX_MS);
        ban->duration_s = (int64_t)(support_random(&random) % 1000000) - 1;
        ban->failures = (uint32_t)support_random(&random);
        events[i].has_original = support_random(&random) % 4 == 0;
        events[i].original = (event_position_t){support_random(&random), support_random(&random),
                                                (uint32_t)support_random(&random),
                                                (uint32_t)support_random(&random)};
    }
    wire_batch_t batch = {.feed = forge_feed(&node), .seq = 1, .event_count = WIRE_EVENTS_MAX};
    envelope.size = wire_write_batch(node.wire, &batch, events, envelope.bytes);
    assert_int_equal(wire_read_batch(node.wire, forge_open(&envelope), &batch), WIRE_OK);
    for (size_t i = 0; i < WIRE_EVENTS_MAX; i++) {
        event_t event;
        assert_int_equal(wire_event(node.wire, i, &event), EVENT_OK);
        support_assert_same_event(&event, &events[i]);
    }
}

static int start(void **state)
{
    (void)state;
    if (sodium_init() == -1)
        return -1;
    node = forge_node(1);
    return 0;
}

static int end(void **state)
{
    (void)state;
    forge_end(&node);
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(good_events_are_read),
        plain(an_address_has_4_or_16_bytes),
        plain(an_event_without_its_address_is_bad),
        plain(a_prefix_fits_its_address),
        plain(a_mapped_address_is_bad_on_the_wire),
        plain(bits_behind_the_prefix_do_not_reach_us),
        plain(a_reason_is_words_without_control_characters),
        plain(a_jail_is_checked_byte_by_byte),
        plain(text_beyond_its_limit_is_bad),
        plain(a_nul_or_escape_in_a_text_is_bad),
        plain(times_and_durations_out_of_range_are_bad),
        plain(the_bans_of_a_pardon_are_counted_and_checked),
        plain(a_pardon_of_half_the_internet_is_malformed),
        plain(a_full_batch_of_pardons_is_within_what_decoding_may_take),
        plain(an_event_of_an_unknown_kind_is_kept_as_such),
        plain(fields_of_a_later_version_are_passed_over),
        plain(random_valid_events_come_through_unchanged),
    };
    return cmocka_run_group_tests_name("codec", tests, start, end);
}

/* request: the line between hook and node, and the record of the spool. */
#include "request.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void parse_one(char *input, char *out, size_t size)
{
    ban_t ban;
    fault_t fault;
    char line[REQUEST_LINE_MAX];
    if (request_parse(input, strlen(input), &ban, &fault) == -1) {
        snprintf(out, size, "error: %s", fault.text);
        return;
    }
    request_format(&ban, line);
    snprintf(out, size, "%s", line);
}

TEST(requests_parse_as_the_table_says)
{
    support_table("requests.txt", parse_one);
}

/* Whatever parses is a valid event, and its line parses to the same. */
static void check_one(char *input, char *out, size_t size)
{
    ban_t ban;
    char again[REQUEST_LINE_MAX];
    parse_one(input, out, size);
    if (request_parse(input, strlen(input), &ban, NULL) == -1)
        return;
    if (event_check_ban(&ban) != EVENT_OK)
        snprintf(out, size, "%s", event_error_name(event_check_ban(&ban)));
    snprintf(again, sizeof again, "%s", out);
    parse_one(again, out, size);
}

TEST(what_parses_is_a_valid_ban_and_formats_to_itself)
{
    support_table("requests.txt", check_one);
}

TEST(the_longest_ban_fits_a_line_and_a_record)
{
    ban_t ban = support_ban("ffff:ffff:ffff:ffff:ffff:ffff:ffff:0/112");
    ban_t again;
    char line[REQUEST_LINE_MAX];
    char record[REQUEST_RECORD_MAX];
    memset(ban.jail, 'j', EVENT_NAME_MAX);
    memset(ban.port, '1', EVENT_PORT_MAX);
    memset(ban.protocol, 'p', EVENT_PROTOCOL_MAX);
    ban.time_ms = EVENT_TIME_MAX_MS;
    ban.duration_s = EVENT_TIME_MAX_MS / 1000;
    ban.failures = ban.bancount = UINT32_MAX;
    size_t length = request_format(&ban, line);
    assert_int_equal(length, strlen(line));
    assert_int_equal(request_parse(line, length, &again, NULL), 0);
    support_assert_same_ban(&ban, &again);
    length = request_record_format(&ban, record);
    assert_int_equal(record[length - 1], '\n');
    assert_int_equal(request_record_parse(record, length - 1, &again, NULL), 0);
    support_assert_same_ban(&ban, &again);
}

TEST(a_line_of_512_bytes_is_too_long)
{
    ban_t ban;
    fault_t fault;
    char line[REQUEST_LINE_MAX + 1];
    memset(line, 'x', sizeof line);
    int used = snprintf(line, sizeof line, "ban jail=j ip=1.2.3.4 time=1 future=");
    line[used] = 'x';
    assert_int_equal(request_parse(line, REQUEST_LINE_MAX - 1, &ban, &fault), 0);
    assert_int_equal(request_parse(line, REQUEST_LINE_MAX, &ban, &fault), -1);
    assert_non_null(strstr(fault.text, "512 bytes"));
}

TEST(a_nul_byte_does_not_hide_the_rest)
{
    static const char line[] = "ban jail=j ip=1.2.3.4 time=1\0 ip=10.0.0.1";
    ban_t ban;
    fault_t fault;
    assert_int_equal(request_parse(line, sizeof line - 1, &ban, &fault), -1);
    assert_string_equal(fault.text, "request has a NUL byte");
}

TEST(a_line_needs_no_nul_behind_it)
{
    static const char text[] = "ban jail=j ip=1.2.3.4 time=1";
    size_t length = sizeof text - 1;
    char *line = malloc(length);
    ban_t ban;
    assert_non_null(line);
    memcpy(line, text, length);
    assert_int_equal(request_parse(line, length, &ban, NULL), 0);
    free(line);
}

TEST(one_option_at_a_time_means_the_same)
{
    ban_t ban;
    request_init(&ban);
    assert_int_equal(request_set(&ban, "jail", "sshd", NULL), 0);
    assert_int_equal(request_set(&ban, "ip", "45.154.244.193", NULL), 0);
    assert_int_equal(request_set(&ban, "time", "1795288025.123", NULL), 0);
    assert_int_equal(request_set(&ban, "failures", "5", NULL), 0);
    assert_int_equal(request_set(&ban, "bancount", "1", NULL), 0);
    assert_int_equal(request_set(&ban, "port", "ssh", NULL), 0);
    assert_int_equal(request_set(&ban, "protocol", "tcp", NULL), 0);
    ban_t expected = support_ban("45.154.244.193");
    support_assert_same_ban(&ban, &expected);
    assert_int_equal(request_set(&ban, "colour", "red", NULL), 1);
    assert_int_equal(request_set(&ban, "jail", "a b", NULL), -1);
}

TEST(a_record_cut_anywhere_fails)
{
    ban_t ban = support_ban("45.154.244.193");
    char record[REQUEST_RECORD_MAX];
    size_t length = request_record_format(&ban, record) - 1;
    assert_int_equal(request_record_parse(record, length, &ban, NULL), 0);
    for (size_t size = 0; size < length; size++)
        assert_int_equal(request_record_parse(record, size, &ban, NULL), -1);
}

TEST(a_record_with_any_bit_altered_fails)
{
    ban_t ban = support_ban("45.154.244.193");
    char record[REQUEST_RECORD_MAX];
    size_t length = request_record_format(&ban, record) - 1;
    for (size_t i = 0; i < length; i++)
        for (int bit = 0; bit < 8; bit++) {
            record[i] = (char)(record[i] ^ (1 << bit));
            assert_int_equal(request_record_parse(record, length, &ban, NULL), -1);
            record[i] = (char)(record[i] ^ (1 << bit));
        }
    assert_int_equal(request_record_parse(record, length, &ban, NULL), 0);
}

TEST(two_records_run_together_fail)
{
    ban_t ban = support_ban("45.154.244.193");
    char records[2 * REQUEST_RECORD_MAX];
    size_t length = request_record_format(&ban, records) - 1;
    length += request_record_format(&ban, records + length) - 1;
    assert_int_equal(request_record_parse(records, length, &ban, NULL), -1);
}

/* The checksum is CRC-32 as everybody computes it, so other programs can write records. */
TEST(the_checksum_is_the_usual_crc32)
{
    static const char record[] = "ban jail=sshd ip=45.154.244.193 time=1795288025.123 bantime=600 "
                                 "failures=5 bancount=1 port=ssh protocol=tcp crc=5b3808c2";
    ban_t ban;
    assert_int_equal(request_record_parse(record, sizeof record - 1, &ban, NULL), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(requests_parse_as_the_table_says),
        plain(what_parses_is_a_valid_ban_and_formats_to_itself),
        plain(the_longest_ban_fits_a_line_and_a_record),
        plain(a_line_of_512_bytes_is_too_long),
        plain(a_nul_byte_does_not_hide_the_rest),
        plain(a_line_needs_no_nul_behind_it),
        plain(one_option_at_a_time_means_the_same),
        plain(a_record_cut_anywhere_fails),
        plain(a_record_with_any_bit_altered_fails),
        plain(two_records_run_together_fail),
        plain(the_checksum_is_the_usual_crc32),
    };
    return cmocka_run_group_tests_name("request", tests, NULL, NULL);
}

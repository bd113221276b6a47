/* request: the line between hook and node, and the record of the spool. */
#include "request.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The ban as a line, under the name that fail2ban gave its jail; an unban with less behind it. */
static void format(const request_t *request, char *out, size_t size)
{
    char line[REQUEST_LINE_MAX];
    char jail[REQUEST_LINE_MAX];
    bool is_unban = request->verb == REQUEST_UNBAN;
    request_format(&request->ban, line);
    request_quote(request->jail, jail, sizeof jail);
    if (is_unban)
        *strstr(line, " failures=") = '\0';
    int used = snprintf(out, size, "%s jail=%s%s", is_unban ? "unban" : "ban", jail,
                        line + strlen("ban jail="));
    if (request->at_ms >= 0)
        snprintf(out + used, size - (size_t)used, " at=%lld.%03d",
                 (long long)(request->at_ms / 1000), (int)(request->at_ms % 1000));
    if (request->is_import)
        strncat(out, " import=1", size - strlen(out) - 1);
}

static void parse_one(char *input, char *out, size_t size)
{
    request_t request;
    fault_t fault;
    if (request_parse(input, strlen(input), &request, &fault) == -1)
        snprintf(out, size, "error: %s", fault.text);
    else
        format(&request, out, size);
}

TEST(requests_parse_as_the_table_says)
{
    support_table("requests.txt", parse_one);
}

/* Whatever parses is a valid event, and its line parses to the same. */
static void check_one(char *input, char *out, size_t size)
{
    request_t request;
    char again[REQUEST_LINE_MAX];
    parse_one(input, out, size);
    if (request_parse(input, strlen(input), &request, NULL) == -1)
        return;
    snprintf(request.ban.jail, sizeof request.ban.jail, "sshd");
    if (event_check_ban(&request.ban) != EVENT_OK)
        snprintf(out, size, "%s", event_error_name(event_check_ban(&request.ban)));
    snprintf(again, sizeof again, "%s", out);
    parse_one(again, out, size);
}

TEST(what_parses_is_a_valid_ban_and_formats_to_itself)
{
    support_table("requests.txt", check_one);
}

static void assert_same(const request_t *request, const ban_t *ban)
{
    request_t named = *request;
    assert_string_equal(request->jail, ban->jail);
    memcpy(named.ban.jail, ban->jail, sizeof named.ban.jail);
    support_assert_same_ban(&named.ban, ban);
}

TEST(the_longest_ban_fits_a_line_and_a_record)
{
    ban_t ban = support_ban("ffff:ffff:ffff:ffff:ffff:ffff:ffff:0/112");
    request_t again;
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
    assert_same(&again, &ban);
    length = request_record_format(line, record);
    assert_int_equal(record[length - 1], '\n');
    assert_int_equal(request_record_parse(record, length - 1, &again, NULL), 0);
    assert_same(&again, &ban);
}

/* Each field once, each as long as it gets, each byte quoted: nothing is lost but what is cut. */
TEST(the_longest_values_fit_a_line)
{
    static const char *const names[] = {"jail",     "bantime", "failures", "bancount",
                                        "protocol", "port",    "stray"};
    char value[400];
    char line[REQUEST_LINE_MAX];
    request_t request;
    fault_t fault;
    memset(value, '\x01', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    request_begin(line, REQUEST_BAN);
    request_add(line, "ip", "1.2.3.4");
    request_add(line, "time", "1");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        request_add(line, names[i], value);
    assert_int_equal(strlen(strstr(line, "stray=")), strlen("stray=") + 3 * REQUEST_VALUE_MAX);
    assert_int_equal(request_parse(line, strlen(line), &request, &fault), -1);
    assert_string_equal(request.bad, "bantime");
}

TEST(a_jail_has_any_name_on_its_way)
{
    static const char *const names[] = {"my jail",     "sshd:aggressive", "apache/auth",
                                        "b\xc3\xbcro", "jail%x",          "j=k",
                                        "a\nb",        "\xff\x80"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char line[REQUEST_LINE_MAX];
        request_t request;
        request_begin(line, REQUEST_BAN);
        request_add(line, "jail", names[i]);
        request_add(line, "ip", "1.2.3.4");
        request_add(line, "time", "1");
        assert_null(strchr(line, '\n'));
        assert_int_equal(request_parse(line, strlen(line), &request, NULL), 0);
        assert_string_equal(request.jail, names[i]);
        assert_string_equal(request.ban.jail, "");
    }
}

/* "https,http": the value may have been cut behind the second "http". */
TEST(the_last_port_of_a_list_that_was_cut_is_left_out)
{
    char value[300] = "";
    char line[REQUEST_LINE_MAX];
    request_t request;
    while (strlen(value) < REQUEST_VALUE_MAX - 5)
        strcat(value, "     ");
    strcat(value, "ssh,https");
    request_begin(line, REQUEST_BAN);
    request_add(line, "jail", "j");
    request_add(line, "ip", "1.2.3.4");
    request_add(line, "time", "1");
    request_add(line, "port", value);
    assert_int_equal(request_parse(line, strlen(line), &request, NULL), 0);
    assert_string_equal(request.ban.port, "ssh");
}

TEST(a_line_that_is_too_long_is_refused)
{
    static char line[REQUEST_LINE_MAX + 1];
    request_t request;
    fault_t fault;
    memset(line, 'x', sizeof line);
    int used = snprintf(line, sizeof line, "ban jail=j ip=1.2.3.4 time=1 future=");
    line[used] = 'x';
    assert_int_equal(request_parse(line, REQUEST_LINE_MAX - 1, &request, &fault), 0);
    assert_int_equal(request_parse(line, REQUEST_LINE_MAX, &request, &fault), -1);
    assert_non_null(strstr(fault.text, "8192 bytes"));
}

TEST(a_nul_byte_does_not_hide_the_rest)
{
    static const char line[] = "ban jail=j ip=1.2.3.4 time=1\0 ip=10.0.0.1";
    request_t request;
    fault_t fault;
    assert_int_equal(request_parse(line, sizeof line - 1, &request, &fault), -1);
    assert_string_equal(fault.text, "request has a NUL byte");
    assert_string_equal(request.bad, "request");
}

TEST(a_line_needs_no_nul_behind_it)
{
    static const char text[] = "ban jail=j ip=1.2.3.4 time=1";
    size_t length = sizeof text - 1;
    char *line = malloc(length);
    request_t request;
    assert_non_null(line);
    memcpy(line, text, length);
    assert_int_equal(request_parse(line, length, &request, NULL), 0);
    free(line);
}

/* The record of a ban. Returns its length without the newline. */
static size_t make_record(char record[static REQUEST_RECORD_MAX])
{
    ban_t ban = support_ban("45.154.244.193");
    char line[REQUEST_LINE_MAX];
    request_format(&ban, line);
    return request_record_format(line, record) - 1;
}

TEST(a_record_cut_anywhere_fails)
{
    char record[REQUEST_RECORD_MAX];
    request_t request;
    size_t length = make_record(record);
    assert_int_equal(request_record_parse(record, length, &request, NULL), 0);
    for (size_t size = 0; size < length; size++)
        assert_int_equal(request_record_parse(record, size, &request, NULL), -1);
}

TEST(a_record_with_any_bit_altered_fails)
{
    char record[REQUEST_RECORD_MAX];
    request_t request;
    size_t length = make_record(record);
    for (size_t i = 0; i < length; i++)
        for (int bit = 0; bit < 8; bit++) {
            record[i] = (char)(record[i] ^ (1 << bit));
            assert_int_equal(request_record_parse(record, length, &request, NULL), -1);
            record[i] = (char)(record[i] ^ (1 << bit));
        }
    assert_int_equal(request_record_parse(record, length, &request, NULL), 0);
}

TEST(two_records_run_together_fail)
{
    char records[2 * REQUEST_RECORD_MAX];
    request_t request;
    size_t length = make_record(records);
    length += make_record(records + length);
    assert_int_equal(request_record_parse(records, length, &request, NULL), -1);
}

/* The checksum is CRC-32 as everybody computes it, so other programs can write records. */
TEST(the_checksum_is_the_usual_crc32)
{
    static const char record[] = "ban jail=sshd ip=45.154.244.193 time=1795288025.123 bantime=600 "
                                 "failures=5 bancount=1 port=ssh protocol=tcp crc=5b3808c2";
    request_t request;
    assert_int_equal(request_record_parse(record, sizeof record - 1, &request, NULL), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(requests_parse_as_the_table_says),
        plain(what_parses_is_a_valid_ban_and_formats_to_itself),
        plain(the_longest_ban_fits_a_line_and_a_record),
        plain(the_longest_values_fit_a_line),
        plain(a_jail_has_any_name_on_its_way),
        plain(the_last_port_of_a_list_that_was_cut_is_left_out),
        plain(a_line_that_is_too_long_is_refused),
        plain(a_nul_byte_does_not_hide_the_rest),
        plain(a_line_needs_no_nul_behind_it),
        plain(a_record_cut_anywhere_fails),
        plain(a_record_with_any_bit_altered_fails),
        plain(two_records_run_together_fail),
        plain(the_checksum_is_the_usual_crc32),
    };
    return cmocka_run_group_tests_name("request", tests, NULL, NULL);
}

/* The line from the hook and the record of the spool. What parses is a valid event, and its line
 * parses to the same ban. */
#include "request.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds)
{
    if (!holds)
        abort();
}

static void check_line(const char *text, size_t size)
{
    ban_t ban;
    ban_t again;
    fault_t fault;
    char line[REQUEST_LINE_MAX];
    char repeated[REQUEST_LINE_MAX];
    if (request_parse(text, size, &ban, &fault) == -1) {
        expect(fault.text[0] != '\0');
        return;
    }
    expect(event_check_ban(&ban) == EVENT_OK);
    size_t length = request_format(&ban, line);
    expect(length == strlen(line) && length < sizeof line);
    expect(request_parse(line, length, &again, &fault) == 0);
    expect(request_format(&again, repeated) == length && memcmp(line, repeated, length) == 0);
}

static void check_record(const char *text, size_t size)
{
    ban_t ban;
    ban_t again;
    fault_t fault;
    char record[REQUEST_RECORD_MAX];
    if (request_record_parse(text, size, &ban, &fault) == -1)
        return;
    expect(event_check_ban(&ban) == EVENT_OK);
    size_t length = request_record_format(&ban, record);
    expect(record[length - 1] == '\n');
    expect(request_record_parse(record, length - 1, &again, &fault) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_line((const char *)data, size);
    check_record((const char *)data, size);
    return 0;
}

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

/* The ban with a name that the mesh could give its jail; no line says more about it. */
static void name_jail(request_t *request)
{
    expect(request->jail[0] != '\0' && request->ban.jail[0] == '\0');
    memcpy(request->ban.jail, "jail", sizeof "jail");
    expect(event_check_ban(&request->ban) == EVENT_OK);
}

static void check_jail(const request_t *request)
{
    char line[REQUEST_LINE_MAX];
    request_t again;
    fault_t fault;
    request_begin(line, request->verb);
    request_add(line, "jail", request->jail);
    request_add(line, "ip", "1.2.3.4");
    request_add(line, "time", "1");
    expect(request_parse(line, strlen(line), &again, &fault) == 0);
    expect(again.verb == request->verb && strcmp(again.jail, request->jail) == 0);
}

static void check_line(const char *text, size_t size)
{
    request_t request;
    request_t again;
    fault_t fault;
    char line[REQUEST_LINE_MAX];
    char repeated[REQUEST_LINE_MAX];
    if (request_parse(text, size, &request, &fault) == -1) {
        expect(fault.text[0] != '\0' && request.bad != NULL);
        for (const char *p = fault.text; *p != '\0'; p++)
            expect(*p >= ' ' && *p <= '~');
        return;
    }
    expect(request.at_ms >= -1 && request.at_ms <= EVENT_TIME_MAX_MS);
    check_jail(&request);
    name_jail(&request);
    size_t length = request_format(&request.ban, line);
    expect(length == strlen(line) && length < sizeof line);
    expect(request_parse(line, length, &again, &fault) == 0);
    name_jail(&again);
    expect(request_format(&again.ban, repeated) == length && memcmp(line, repeated, length) == 0);
}

static void check_record(const char *text, size_t size)
{
    request_t request;
    request_t again;
    fault_t fault;
    char line[REQUEST_LINE_MAX];
    char record[REQUEST_RECORD_MAX];
    if (request_record_parse(text, size, &request, &fault) == -1)
        return;
    name_jail(&request);
    request_format(&request.ban, line);
    size_t length = request_record_format(line, record);
    expect(record[length - 1] == '\n');
    expect(request_record_parse(record, length - 1, &again, &fault) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_line((const char *)data, size);
    check_record((const char *)data, size);
    return 0;
}

/* Requests and answers of banmesh-helper: what is read is what is written again. */
#include "helper_record.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds)
{
    if (!holds)
        abort();
}

static void check_request(const uint8_t *data, size_t size)
{
    helper_request_t request;
    uint8_t record[HELPER_RECORD_MAX];
    if (helper_request_read(data, size, &request) == -1)
        return;
    expect(helper_request_write(&request, record) == size && memcmp(record, data, size) == 0);
}

static void check_answer(const uint8_t *data, size_t size)
{
    helper_answer_t answer;
    helper_ticket_t ticket;
    if (helper_answer_read(data, size, &answer) == -1)
        return;
    for (const char *p = answer.text; *p != '\0'; p++)
        expect(*p >= ' ' && *p <= '~');
    for (size_t i = 0; answer.what == HELPER_LIST && i < answer.count; i++)
        if (helper_ticket_get(answer.items + i * HELPER_TICKET_BYTES, &ticket))
            expect(ticket.address.family == 4 || ticket.address.family == 6);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_request(data, size);
    check_answer(data, size);
    return 0;
}

/* The file of allowances: whatever is in it, no reader goes beyond it; and what stands in it as it
 * is written is found. */
#include "allowed.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    addr_t address;
    char line[ALLOWED_LINE_MAX];
    char *text = malloc(size + sizeof line);
    if (text == NULL || addr_parse("45.154.1.1", &address) != ADDR_OK)
        abort();
    memcpy(text, data, size);
    allowed_has(text, size, &address, 1795288025);
    if (size > 0 && text[size - 1] != '\n')
        text[size - 1] = '\n';
    size_t length = allowed_write_line(line, &address, 1795288026);
    memcpy(text + size, line, length);
    if (!allowed_has(text, size + length, &address, 1795288025))
        abort();
    free(text);
    return 0;
}

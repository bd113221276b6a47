/* The pickles of fail2ban's socket: whatever comes, the lists that are read have an end. */
#include "pickle.h"

#include <stdlib.h>

#define DEEP 8 /* as far as anybody looks, and some */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t walk(const pickle_t *pickle, const pickle_node_t *list, int depth)
{
    size_t count = 0;
    const pickle_node_t *item = pickle_first(pickle, list);
    for (; item != NULL && count < 100000; item = pickle_next(pickle, item)) {
        count++;
        if (item->kind == PICKLE_TEXT && item->size > 0 && item->text[item->size - 1] == '\xff')
            count++; /* each byte may be read */
        if (depth < DEEP && count < 100)
            count += walk(pickle, item, depth + 1);
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pickle_t *pickle = pickle_read(data, size);
    if (pickle == NULL)
        return 0;
    if (pickle_root(pickle)->kind > PICKLE_LIST)
        abort();
    walk(pickle, pickle_root(pickle), 0);
    pickle_destroy(&pickle);
    return 0;
}

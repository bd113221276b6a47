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

static bool count_item(void *arg, const pickle_t *pickle, const pickle_node_t *item)
{
    size_t *count = arg;
    *count += walk(pickle, item, 0) + 1;
    return *count < 100000;
}

/* As it comes from a socket: a few bytes, then what was not used and a few more. */
static pickle_state_t feed_slowly(pickle_t *pickle, const uint8_t *data, size_t size, size_t step)
{
    pickle_state_t state = PICKLE_MORE;
    size_t begin = 0;
    for (size_t end = 0; end < size && state == PICKLE_MORE;) {
        size_t used = 0;
        end = size - end > step ? end + step : size;
        state = pickle_feed(pickle, data + begin, end - begin, &used);
        if (used > end - begin)
            abort();
        begin += used;
    }
    return state;
}

static pickle_state_t read_kept(const uint8_t *data, size_t size, size_t step)
{
    pickle_t *pickle = pickle_new(NULL, NULL);
    pickle_state_t state = feed_slowly(pickle, data, size, step);
    if (state == PICKLE_WHOLE)
        walk(pickle, pickle_root(pickle), 0);
    pickle_destroy(&pickle);
    return state;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t items = 0;
    if (read_kept(data, size, size) != read_kept(data, size, 3))
        abort();
    pickle_t *pickle = pickle_new(count_item, &items);
    if (feed_slowly(pickle, data, size, 7) == PICKLE_WHOLE)
        walk(pickle, pickle_root(pickle), 0);
    pickle_destroy(&pickle);
    return 0;
}

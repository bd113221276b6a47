#include "chance.h"

#include <sodium.h>

uint32_t chance_below(uint32_t below)
{
    return randombytes_uniform(below);
}

void chance_fill(void *out, size_t size)
{
    randombytes_buf(out, size);
}

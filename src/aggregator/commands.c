#include "commands.h"

#include "log.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_MAX  24 /* characters of an int64_t or a length, and more */
#define HEADER_SIZE 32 /* "*n\r\n" or "$n\r\n" and a line's end */

static char *reserve(commands_t *self, size_t more)
{
    if (self->used + more > self->size) {
        self->size = (self->used + more) * 2;
        self->bytes = xrealloc(self->bytes, self->size);
    }
    return self->bytes + self->used;
}

void commands_clear(commands_t *self)
{
    self->used = 0;
    self->count = 0;
}

void commands_free(commands_t *self)
{
    if (self->bytes != NULL)
        sodium_memzero(self->bytes, self->size);
    free(self->bytes);
    *self = (commands_t){0};
}

/* Not snprintf: numbers are most of what is written here. Returns the length. */
static size_t print_number(char out[static NUMBER_MAX], uint64_t number)
{
    char reversed[NUMBER_MAX];
    size_t length = 0;
    do {
        reversed[length++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    for (size_t i = 0; i < length; i++)
        out[i] = reversed[length - 1 - i];
    return length;
}

static char *put_header(char *out, char mark, size_t number)
{
    *out++ = mark;
    out += print_number(out, number);
    *out++ = '\r';
    *out++ = '\n';
    return out;
}

static void put(commands_t *self, const char *head, size_t head_size, const char *tail,
                size_t tail_size)
{
    char *start = reserve(self, head_size + tail_size + HEADER_SIZE);
    char *out = put_header(start, '$', head_size + tail_size);
    memcpy(out, head, head_size);
    memcpy(out + head_size, tail, tail_size);
    out += head_size + tail_size;
    *out++ = '\r';
    *out++ = '\n';
    self->used += (size_t)(out - start);
}

void commands_begin(commands_t *self, const char *name, size_t arguments)
{
    char *start = reserve(self, HEADER_SIZE);
    self->used += (size_t)(put_header(start, '*', arguments) - start);
    self->count++;
    commands_text(self, name);
}

void commands_bytes(commands_t *self, const char *bytes, size_t size)
{
    put(self, bytes, size, "", 0);
}

void commands_text(commands_t *self, const char *text)
{
    put(self, text, strlen(text), "", 0);
}

void commands_number(commands_t *self, int64_t number)
{
    char digits[NUMBER_MAX];
    uint64_t magnitude = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    size_t length = print_number(digits, magnitude);
    put(self, "-", number < 0 ? 1 : 0, digits, length);
}

void commands_key(commands_t *self, const char *prefix, int64_t number)
{
    char digits[NUMBER_MAX];
    size_t length = print_number(digits, (uint64_t)number);
    put(self, prefix, strlen(prefix), digits, length);
}

void commands_append(commands_t *self, const commands_t *other)
{
    if (other->count == 0)
        return;
    memcpy(reserve(self, other->used), other->bytes, other->used);
    self->used += other->used;
    self->count += other->count;
}

/* ---- reading back, after an error ---- */

/* The number behind a '*' or '$'; *at moves behind its line. */
static size_t read_header(const char **at)
{
    char *end;
    size_t number = strtoul(*at + 1, &end, 10);
    *at = end + 2;
    return number;
}

static const char *read_argument(const char **at, size_t *size)
{
    *size = read_header(at);
    const char *argument = *at;
    *at += *size + 2;
    return argument;
}

const char *commands_name(const commands_t *self, size_t index, char out[static COMMANDS_NAME_MAX])
{
    const char *at = self->bytes;
    const char *name = "";
    const char *first = "";
    size_t name_size = 0;
    size_t first_size = 0;
    for (size_t i = 0; i <= index && i < self->count; i++) {
        size_t arguments = read_header(&at);
        name = read_argument(&at, &name_size);
        first_size = 0;
        for (size_t j = 1; j < arguments; j++) {
            size_t size;
            const char *argument = read_argument(&at, &size);
            if (j == 1) {
                first = argument;
                first_size = size;
            }
        }
    }
    if (name_size == strlen("AUTH") && memcmp(name, "AUTH", name_size) == 0)
        first_size = 0; /* may be the password */
    snprintf(out, COMMANDS_NAME_MAX, "%.*s%s%.*s", (int)name_size, name, first_size > 0 ? " " : "",
             (int)first_size, first);
    return out;
}

/* commands - requests to the store as bytes (RESP), one behind the other in one buffer that keeps
 * its memory. Every argument carries its length, so no content can become a command. Pure. */
#ifndef BANMESH_AGGREGATOR_COMMANDS_H
#define BANMESH_AGGREGATOR_COMMANDS_H

#include <stddef.h>
#include <stdint.h>

#define COMMANDS_NAME_MAX 96

/* Zero is an empty one. */
typedef struct {
    char *bytes;
    size_t used;
    size_t size;
    size_t count; /* of commands */
} commands_t;

/* Empty it; the memory stays. */
void commands_clear(commands_t *self);

/* Give the memory back. What was in it is overwritten: it may have been a password. */
void commands_free(commands_t *self);

/* Begin a command of so many arguments, its name included; the others must follow. */
void commands_begin(commands_t *self, const char *name, size_t arguments);

void commands_bytes(commands_t *self, const char *bytes, size_t size);
void commands_text(commands_t *self, const char *text);
void commands_number(commands_t *self, int64_t number);

/* An argument of a prefix and a number: "f2b:" and a nid. */
void commands_key(commands_t *self, const char *prefix, int64_t number);

/* Add all commands of another. */
void commands_append(commands_t *self, const commands_t *other);

/* What an operator should read of command `index`, from 0: its name and its first argument, "SADD
 * f2b:sshd"; of AUTH the name alone. Returns out. */
const char *commands_name(const commands_t *self, size_t index, char out[static COMMANDS_NAME_MAX]);

#endif

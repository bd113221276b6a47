/* ask - one question to the running node, over the admin socket that the settings name; and how
 * times and counts are printed for people. */
#ifndef BANMESH_CLI_ASK_H
#define BANMESH_CLI_ASK_H

#include "command.h"

#include <jansson.h>

/* Returns the answer, owned by the caller; NULL: the node is down, or says what is wrong, and it
 * was said. */
json_t *ask_node(const command_options_t *options, const char *question);

/* The same, a word with a JSON object behind it, which is taken over. */
json_t *ask_with(const command_options_t *options, const char *word, json_t *object);

/* The same at a socket, without a word: NULL with the fault. */
json_t *ask_socket(const char *path, const char *question, fault_t *fault);

/* Print an answer as JSON. */
void ask_dump(const json_t *answer);

/* A value of an object; "?" and 0 if there is none. */
const char *ask_text(const json_t *object, const char *name);
json_int_t ask_number(const json_t *object, const char *name);

#define ASK_TIME_MAX 48

#define ASK_COUNT_MAX 64

/* "1 ban", "12,345 bans". Returns out. */
const char *ask_count(json_int_t count, const char *one, const char *many,
                      char out[static ASK_COUNT_MAX]);

/* "3 h 12 min": at most two units; "ever" for -1. Returns out. */
const char *ask_span(int64_t seconds, char out[static ASK_TIME_MAX]);

/* "3 min ago", "just now" below two seconds, "never" below 0. Returns out. */
const char *ask_ago(int64_t seconds, char out[static ASK_TIME_MAX]);

/* "14:03:59", local time; of another day with its date. Returns out. */
const char *ask_clock(int64_t seconds, char out[static ASK_TIME_MAX]);

/* "2026-12-01 05:12:00", local time. Returns out. */
const char *ask_time(int64_t seconds, char out[static ASK_TIME_MAX]);

/* Read "90s", "15min", "1h", "30d", "2w", "1y" or a plain number of seconds. False: none of these.
 */
bool ask_parse_span(const char *text, int64_t *seconds);

#endif

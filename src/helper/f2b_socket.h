/* f2b_socket - one command to fail2ban over its own socket, and its answer. The command is a list
 * of words; the answer is what pickle.h reads of it. Waits, but not longer than it is told. */
#ifndef BANMESH_HELPER_F2B_SOCKET_H
#define BANMESH_HELPER_F2B_SOCKET_H

#include "helper_record.h"
#include "pickle.h"

#define F2B_ANSWER_MAX (256U << 20) /* bytes: two million addresses with their times */

/* An answer in full. Owned by the caller. */
typedef struct {
    uint8_t *bytes;
    pickle_t *pickle;
    const pickle_node_t *value;     /* what it says; in the pickle */
    char text[HELPER_TEXT_MAX + 1]; /* if it is not HELPER_OK: why */
} f2b_answer_t;

/* Send a command and read its answer. Words have no newline and no backslash. HELPER_REFUSED: value
 * is what fail2ban's exception says. f2b_answer_free afterwards, whatever it returns. */
helper_status_t f2b_ask(const char *path, const char *const *words, size_t count, int limit_ms,
                        f2b_answer_t *answer);

void f2b_answer_free(f2b_answer_t *answer);

/* A text of an answer as a string; cut off at size - 1. False: it is no text, or has a NUL. */
bool f2b_text(const pickle_node_t *node, char *out, size_t size);

#endif

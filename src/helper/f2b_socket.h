/* f2b_socket - one command to fail2ban over its own socket, and its answer. The command is a list
 * of words; the answer is what pickle.h reads of it. Waits, but not longer than it is told. */
#ifndef BANMESH_HELPER_F2B_SOCKET_H
#define BANMESH_HELPER_F2B_SOCKET_H

#include "clock.h"
#include "helper_record.h"
#include "pickle.h"

/* Where fail2ban listens, and until when its answers count. */
typedef struct {
    const char *path;
    mono_t until;
} f2b_t;

typedef struct {
    pickle_t *pickle;
    const pickle_node_t *value;     /* what it says; in the pickle */
    char text[HELPER_TEXT_MAX + 1]; /* if it is not HELPER_OK: why, printable */
} f2b_answer_t;

/* Send a command and read its answer. Words have no newline and no backslash.
 *   each  NULL, or who takes the items of an answer that is a list while it comes. If it returns
 *         false, the rest is not read, and the status means nothing. It may have been called though
 *         the status is not HELPER_OK then.
 * HELPER_REFUSED: value is what fail2ban's exception says. f2b_answer_free afterwards, whatever it
 * returns. */
helper_status_t f2b_ask(const f2b_t *f2b, const char *const *words, size_t count,
                        pickle_item_fn *each, void *arg, f2b_answer_t *answer);

void f2b_answer_free(f2b_answer_t *answer);

#endif

/* chronicle_answer - what `banmesh watch` is told when it asks what has happened since. */
#ifndef BANMESH_NODE_CHRONICLE_ANSWER_H
#define BANMESH_NODE_CHRONICLE_ANSWER_H

#include "chronicle.h"
#include "judge.h"

#include <jansson.h>

/* All borrowed for the call. */
typedef struct {
    const chronicle_t *chronicle;
    const index_t *index;
    judge_t *judge;
    int64_t run; /* another number after each start */
} chronicle_parts_t;

/* Answer "events QUESTION" (JSON: run and after, as the answer before had them in `run` and `next`;
 * or last, how many of those that were before). The caller owns it. NULL: not that question.
 * docs/commands.md has the answer. */
json_t *chronicle_answer(const chronicle_parts_t *parts, const char *line);

#endif

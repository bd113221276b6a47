/* questions - what an operator asks a node: why an address is banned here or not, what runs, what
 * is allowed. Changes nothing. */
#ifndef BANMESH_NODE_QUESTIONS_H
#define BANMESH_NODE_QUESTIONS_H

#include "judge.h"

#include <jansson.h>

/* What the answers are made of; all borrowed. */
typedef struct {
    service_t *service;
    index_t *index;
    graces_t *graces;
    judge_t *judge;
} questions_parts_t;

/* Answer "why ADDRESS", "bans FILTERS" (JSON: origin, jail, network; from, as the
 * answer before had it in `next`), "allowances". The
 * caller owns it. NULL: none of these. docs/commands.md has the answers. */
json_t *questions_answer(const questions_parts_t *parts, const char *line);

/* The bans that a network covers, each as a report, at most so many; *count: how many there are. */
json_t *questions_covered(const questions_parts_t *parts, const addr_t *network, size_t max,
                          size_t *count);

#endif

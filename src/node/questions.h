/* questions - what an operator asks a node: why an address is banned here or not, what runs, what
 * is allowed. Changes nothing. */
#ifndef BANMESH_NODE_QUESTIONS_H
#define BANMESH_NODE_QUESTIONS_H

#include "judge.h"
#include "watchers.h"

#include <jansson.h>

/* What the answers are made of; all borrowed. */
typedef struct {
    service_t *service;
    index_t *index;
    graces_t *graces;
    judge_t *judge;
    memo_t *memo;
    watchers_t *watchers;
} questions_parts_t;

/* Answer "why ADDRESS", "bans FILTERS" (JSON: origin, jail, network; from, as the
 * answer before had it in `next`), "allowances". The
 * caller owns it. NULL: none of these. docs/commands.md has the answers. */
json_t *questions_answer(const questions_parts_t *parts, const char *line);

/* The bans that a network covers: so many, and when the one that began last began. */
typedef struct {
    size_t count;
    int64_t latest_ms; /* 0: there are none */
} questions_covered_t;

/* Returns the report of each, at most so many. Looks at all addresses. */
json_t *questions_covered(const questions_parts_t *parts, const addr_t *network, size_t max,
                          questions_covered_t *covered);

#endif

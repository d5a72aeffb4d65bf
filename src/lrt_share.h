/* Private to the core: who of several lanes does what. Pure functions of numbers, and of a prepared session.
 *
 * However work is shared, each output is computed by one lane with the same operations, so results do not
 * depend on it. */
#ifndef LRT_SHARE_H
#define LRT_SHARE_H

#include "lrt_session.h"

/* A lane's share [*from, *to) of n things. */
static inline void lrt_share(uint32_t n, uint32_t lane, uint32_t lanes, uint32_t *from, uint32_t *to)
{
    *from = lanes > 1 ? (uint32_t)((uint64_t)n * lane / lanes) : 0; /* divisions take longer than some steps */
    *to = lanes > 1 ? (uint32_t)((uint64_t)n * (lane + 1) / lanes) : n;
}

/* n things in parts of at most `most`, such that the last is not much smaller than the others: the size of one. */
static inline uint32_t lrt_even_parts(uint32_t n, uint32_t most)
{
    uint32_t parts = n / most + (n % most != 0);
    return parts ? n / parts + (n % parts != 0) : most;
}

/* How lanes share a node with steps: one does it all; each has some batch rows; one direction; or some panels
 * of units, and then they meet at every step. */
enum lrt_mode { LRT_ALONE, LRT_BY_ROWS, LRT_BY_DIRECTIONS, LRT_BY_PANELS };
enum lrt_mode lrt_choose_mode(uint32_t lanes, uint32_t batch, uint32_t n_dir, uint64_t step_work, uint32_t panels);

/* The work of a call of the session's shape. */
void lrt_set_work(lrt_session *s);

/* A stage's nodes [*from, *to) where each of `stages` lanes runs a part of the nodes; returns their work, and
 * all nodes' in *total. */
uint64_t lrt_stage_nodes(const lrt_session *s, uint32_t stage, uint32_t stages, uint32_t *from, uint32_t *to,
                         uint64_t *total);

/* Steps of a pass if several lanes run parts of the nodes side by side, each a pass behind the one before; 0 if not. */
uint32_t lrt_pipe_pass(const lrt_session *s, uint32_t lanes);

#endif

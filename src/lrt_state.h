/* State belongs to nodes: each registers its arrays of rows with the session when memory is planned, and
 * what callers do with state (reset, swap, get, set) walks that list. */
#ifndef LRT_STATE_H
#define LRT_STATE_H

#include "lstm_rt.h"

/* State in two halves. A step reads the rows of one half whole and writes those of the other, so lanes that
 * share its units need not wait for each other within the step, and nothing is copied.
 *
 * THE INVARIANT: all rows are in the same half, half[turn & 1]. So a row that takes a step has its state
 * in the next half, and a row that does not take it must have it there already. It has, as long as both of
 * its halves hold the same: it is settled. Within a call, a row that a step leaves out (masked, or beyond its
 * length) is copied over by that step. Between calls, rows beyond the batch are settled once, by the first
 * call that leaves them out (lrt_state_hold), and stay so until a call steps them. */
typedef struct {
    float *half[2];
    uint32_t turn;
    uint32_t stride; /* floats from row to row */
} lrt_halves;

static inline float *lrt_now(const lrt_halves *h, uint32_t row)
{
    return h->half[h->turn & 1u] + (size_t)row * h->stride;
}
static inline float *lrt_next(const lrt_halves *h, uint32_t row)
{
    return h->half[~h->turn & 1u] + (size_t)row * h->stride;
}

/* One array of rows that belongs to a node. */
typedef struct lrt_state {
    struct lrt_state *following;
    lrt_halves *halves;  /* the rows, in halves, or NULL and */
    unsigned char *rows; /* in one place */
    size_t stride;       /* bytes from row to row */
    size_t slides_at;    /* of rows whose state slides: bytes to a uint32_t that says how far it has; 0: it does not */
    size_t slide;        /* bytes that it slides at a time */
    uint32_t number;     /* of the slot in which callers see it, with one array for each direction; LRT_NONE: none */
    lrt_slot slot;
} lrt_state;

/* Before a call of `batch` rows that keeps state: settles the rows that the last call stepped and this one does not. */
void lrt_state_hold(lrt_session *s, uint32_t batch);

#endif

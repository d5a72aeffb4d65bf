/* Convolutions of windows of three by three places, four of them at a time in 16 products where 36 would be plain
 * (Lavin and Gray 2015, F(2 x 2, 3 x 3)). Sums are others than those of the plain convolution, so it is the model alone
 * that says which of the two a node is. */
#ifndef LRT_WINOGRAD_H
#define LRT_WINOGRAD_H

#include "ops/lrt_window.h"

typedef struct {
    unsigned a, b;       /* the dimensions in which windows are three places long */
    uint32_t k, units;   /* channels of the input and of the output */
    const float *weight; /* some units at a time, 16 matrices of panels */
    const float *nothing; /* zeros, for channels of what is not inside and as the bias where there is none */
    uint32_t tiles;      /* of two by two windows, that are multiplied together at most */
} lrt_winograd;

/* Is a convolution with all channels of x and so many units one of these? */
int lrt_winograd_fits(const lrt_model *m, const lrt_window *w, uint32_t units);

/* `weight`: the node's, in panels. Takes memory for what becomes of it. */
void lrt_plan_winograd(lrt_planner *p, lrt_winograd *g, const lrt_window *w, uint32_t units, const float *weight);

/* The lane's share of the output. */
void lrt_run_winograd(lrt_pass *pass, const lrt_node *n, const lrt_winograd *g, const lrt_window *w,
                      const lrt_past *past);

#endif

/* What the checks of ops are made of. Each returns LRT_OK or the code of the rule that is broken.
 *
 * Values are numbered in the order in which they come to be: the inputs first, then the outputs
 * of the nodes. So «is this value there yet» is one comparison. */
#ifndef LRT_CHECK_H
#define LRT_CHECK_H

#include "lrt_blob.h"

#define LRT_KIND(k) (1u << (k))
#define LRT_FEATURES (LRT_KIND(LRT_SEQ) | LRT_KIND(LRT_VEC))

typedef struct {
    const lrt_model *m;
    lrt_node n;
    uint32_t next; /* the next value to come to be */
} lrt_checker;

/* Runs checks in turn, stopping at the first error. */
#define LRT_TRY(check)      \
    do {                    \
        int e_ = (check);   \
        if (e_ != LRT_OK)   \
            return e_;      \
    } while (0)

/* Record and data of tensor i; data of tensors begin at `data` or later. */
int lrt_check_tensor(const lrt_model *m, uint32_t i, uint64_t data);

/* The node has just so many inputs, outputs and tensors. */
int lrt_want_counts(const lrt_checker *c, uint32_t n_in, uint32_t n_out, uint32_t n_tensors);

/* Input i is present and of one of `kinds`; fills v. The same, with a given size and time axis. */
int lrt_want_input(const lrt_checker *c, uint32_t i, unsigned kinds, lrt_value *v);
int lrt_want_input_like(const lrt_checker *c, uint32_t i, unsigned kinds, uint32_t size, uint32_t axis);
int lrt_is_absent(const lrt_checker *c, uint32_t i);

/* Output i is the next value and has this kind, size and axis. */
int lrt_want_output(lrt_checker *c, uint32_t i, lrt_kind kind, uint32_t size, uint32_t axis);

/* The time axis on which the next output is to be, which its op derives from another. Or one of just this rule, with as
 * many steps as that gives. */
int lrt_output_axis(const lrt_checker *c, uint32_t *axis);
int lrt_want_derived(const lrt_checker *c, uint32_t parent, uint32_t mul, int32_t add, uint32_t div, uint32_t *axis);

/* Tensor i has this layout and shape; or may be absent; or must be. A vector of so many features. */
int lrt_want_weight(const lrt_checker *c, uint32_t i, uint32_t layout, uint32_t gates, uint32_t units, uint32_t k);
int lrt_want_optional_weight(const lrt_checker *c, uint32_t i, uint32_t layout, uint32_t gates, uint32_t units,
                             uint32_t k);
/* The same of a matrix that rows are multiplied with, of float32 or of integers: panels; panels or blocks. */
int lrt_want_panels(const lrt_checker *c, uint32_t i, uint32_t gates, uint32_t units, uint32_t k);
int lrt_want_matrix(const lrt_checker *c, uint32_t i, uint32_t gates, uint32_t units, uint32_t k);
int lrt_want_no_weight(const lrt_checker *c, uint32_t i);
int lrt_want_tensor(const lrt_checker *c, uint32_t i, lrt_tensor *t); /* present; fills t */

/* A vector of so many integers, at least one, each less than `limit`; sets how many. */
int lrt_want_index(const lrt_checker *c, uint32_t i, uint32_t limit, uint32_t *count);

/* Attribute i is a finite float; or one that is not negative; or i to i + 2 are an activation of the file's version. */
int lrt_want_finite(const lrt_checker *c, uint32_t i);
int lrt_want_not_negative(const lrt_checker *c, uint32_t i);
int lrt_want_act(const lrt_checker *c, uint32_t i);

/* Of a node with input i at every step: a vector that nodes compute is whole only at the end, so LRT_FLAG_*. */
uint32_t lrt_hinders_spread(const lrt_checker *c, uint32_t i);

/* LRT_FLAG_* that are taken from the model by initial states, inputs 1 and 2 of a cell: they restart it with each call,
 * and a pass over the first steps can only use those that are there before it. */
uint32_t lrt_initial_states_hinder(const lrt_checker *c);

#endif

/* A kernel table of one instruction set: included after its lrt_vec_<isa>.h. The steps of cells of one product may be
 * others, by LRT_STEP(cell). */
#ifndef LRT_TEMPLATE_H
#define LRT_TEMPLATE_H

#include "kernels/lrt_steps_impl.h"
#include "integers/lrt_product_int_blocks_impl.h"
#include "kernels/lrt_rows_impl.h"
#include "kernels/lrt_along_impl.h"

#ifndef LRT_STEP
#define LRT_STEP(cell) cell##_step
#endif

#define LRT_KERNEL_TABLE(symbol, isa_name, is_fused, usable_fn)                                                       \
    static const lrt_integers symbol##_integers = {int_pack, int_any_product};                                       \
    const lrt_kernels symbol = LRT_KERNELS(isa_name, is_fused, usable_fn, &symbol##_integers)

/* The table with the products of integers of another. */
#define LRT_KERNELS(isa_name, is_fused, usable_fn, integers)                                                          \
    {isa_name, VL, is_fused, usable_fn, integers, linear, blocks, LRT_STEP(lstm), LRT_STEP(gru), gru_reset_step,        \
     gru_candidate_step, LRT_STEP(rnn), activate, binary, prelu, l2norm, reduce, layernorm, batchnorm, join,               \
     softmax_steps, fits, weigh, by_channel, fold, divide, winograd_in, winograd_out}

#endif

/* Products with integer weights for AArch64 with dot products of bytes. */
#include "kernels/lrt_isa.h"

#ifdef LRT_DOTPROD_TABLES
LRT_WIDE
LRT_ISA_DOTPROD

#define LRT_DOTPROD
#include "kernels/lrt_vec_neon.h"

#include "integers/lrt_product_int_blocks_impl.h"

extern const lrt_integers lrt_integers_neondot;
const lrt_integers lrt_integers_neondot = {int_pack, int_any_product};

LRT_ISA_DOTPROD_END
#endif

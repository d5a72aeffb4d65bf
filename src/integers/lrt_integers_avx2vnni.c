/* Products with integer weights for x86-64 with AVX2 and dot products (AVX-VNNI). */
#include "kernels/lrt_isa.h"

#ifdef LRT_AVXVNNI_TABLES
LRT_WIDE
LRT_ISA("avx2,fma,avxvnni")

#define LRT_VNNI
#include "kernels/lrt_vec_avx2.h"

#include "integers/lrt_product_int_blocks_impl.h"

extern const lrt_integers lrt_integers_avx2vnni;
const lrt_integers lrt_integers_avx2vnni = {int_pack, int_any_product};

LRT_ISA_END
#endif

/* Products with integer weights for x86-64 with AVX-512 and its dot products (VNNI). */
#include "kernels/lrt_isa.h"

#ifdef LRT_X86_TABLES
LRT_WIDE
#ifdef __clang__
LRT_ISA("avx512f,avx512bw,avx512vnni,fma")
#else
LRT_ISA("avx512f,avx512bw,avx512vnni,fma,prefer-vector-width=512")
#endif

#define LRT_VNNI
#include "kernels/lrt_vec_avx512.h"

#include "integers/lrt_product_int_blocks_impl.h"

extern const lrt_integers lrt_integers_avx512vnni;
const lrt_integers lrt_integers_avx512vnni = {int_pack, int_any_product};

LRT_ISA_END
#endif

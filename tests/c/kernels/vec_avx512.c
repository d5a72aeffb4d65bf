#include "kernels/lrt_isa.h"

#ifdef LRT_X86_TABLES
LRT_ISA("avx512f,avx512bw,fma")
#include "kernels/lrt_vec_avx512.h"

#define VEC_SUITE vec_avx512
#include "kernels/vec_suite.h"

LRT_ISA_END
#endif

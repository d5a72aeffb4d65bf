#include "kernels/lrt_isa.h"

#ifdef LRT_X86_TABLES
LRT_ISA("avx2,fma")
#include "kernels/lrt_vec_avx2.h"

#define VEC_SUITE vec_avx2
#include "kernels/vec_suite.h"

LRT_ISA_END
#endif

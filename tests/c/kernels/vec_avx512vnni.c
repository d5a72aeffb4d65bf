#include "kernels/lrt_isa.h"

#ifdef LRT_X86_TABLES
LRT_ISA("avx512f,avx512bw,avx512vnni,fma")
#define LRT_VNNI
#include "kernels/lrt_vec_avx512.h"

#define VEC_SUITE vec_avx512vnni
#include "kernels/vec_suite.h"

LRT_ISA_END
#endif

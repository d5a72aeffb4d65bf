#include "kernels/lrt_isa.h"

#ifdef LRT_AVXVNNI_TABLES
LRT_ISA("avx2,fma,avxvnni")
#define LRT_VNNI
#include "kernels/lrt_vec_avx2.h"

#define VEC_SUITE vec_avx2vnni
#include "kernels/vec_suite.h"

LRT_ISA_END
#endif

#include "kernels/lrt_isa.h"

#ifdef LRT_DOTPROD_TABLES
LRT_ISA_DOTPROD
#define LRT_DOTPROD
#include "kernels/lrt_vec_neon.h"

#define VEC_SUITE vec_neondot
#include "kernels/vec_suite.h"

LRT_ISA_DOTPROD_END
#endif

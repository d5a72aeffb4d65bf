#include "kernels/lrt_isa.h"

#ifdef LRT_X86_TABLES
#include "kernels/lrt_vec_sse.h"

#define VEC_SUITE vec_sse
#define VEC_TWICE 1
#include "kernels/vec_suite.h"
#endif

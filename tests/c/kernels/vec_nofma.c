/* The portable vocabulary for CPUs without fused multiply-add. */
#define LRT_NO_FMA 1
#include "kernels/lrt_vec_portable.h"

#define VEC_SUITE vec_nofma
#define VEC_TWICE 1
#include "kernels/vec_suite.h"

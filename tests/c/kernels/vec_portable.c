#include "kernels/lrt_vec_portable.h"

#define VEC_SUITE vec_portable
#include "kernels/vec_suite.h"

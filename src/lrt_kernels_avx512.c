/* The kernels for x86-64 with AVX-512F. Compile with -mavx512f -mfma. */
#include "lrt_cpu.h"
#include "lrt_vec_avx512.h"

#include "lrt_kernels_impl.h"

extern const lrt_kernels lrt_kernels_avx512;
LRT_KERNEL_TABLE(lrt_kernels_avx512, "avx512", 1, lrt_cpu_has_avx512);

/* The kernels for x86-64 with AVX-512F and BW, and those that multiply integers by VNNI, or by tiles. */
#include "kernels/lrt_isa.h"

#ifdef LRT_X86_TABLES
LRT_WIDE
#ifdef __clang__
LRT_ISA("avx512f,avx512bw,fma")
#else
LRT_ISA("avx512f,avx512bw,fma,prefer-vector-width=512")
#endif

#include "kernels/lrt_cpu.h"
#include "kernels/lrt_vec_avx512.h"

#define LRT_STEP(cell) cell##_step_of_size
#include "kernels/lrt_template.h"

/* Half a vector suffices for small layers, and its divisions take half the time. The bits are the same. */
extern const lrt_kernels lrt_kernels_avx2;
#define STEP_OF_SIZE(cell)                                     \
    static void cell##_step_of_size(const lrt_step_args *a)    \
    {                                                          \
        if (a->m.units <= 8 && lrt_is_plain(&a->m))            \
            lrt_kernels_avx2.cell##_step(a);                   \
        else                                                   \
            cell##_step(a);                                    \
    }
STEP_OF_SIZE(lstm)
STEP_OF_SIZE(gru)
STEP_OF_SIZE(rnn)

extern const lrt_kernels lrt_kernels_avx512;
LRT_KERNEL_TABLE(lrt_kernels_avx512, "avx512", 1, lrt_cpu_has_avx512);

extern const lrt_kernels lrt_kernels_avx512vnni;
extern const lrt_integers lrt_integers_avx512vnni;
const lrt_kernels lrt_kernels_avx512vnni = LRT_KERNELS("avx512vnni", 1, lrt_cpu_has_avx512vnni, &lrt_integers_avx512vnni);

#ifdef LRT_AMX_TABLES
extern const lrt_kernels lrt_kernels_avx512amx;
extern const lrt_integers lrt_integers_amx;
const lrt_kernels lrt_kernels_avx512amx = LRT_KERNELS("avx512amx", 1, lrt_cpu_has_amx, &lrt_integers_amx);
#endif

LRT_ISA_END
#endif

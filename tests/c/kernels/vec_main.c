/* Every vector operation of every vocabulary that this machine can run. */
#include "helpers/check.h"
#include "kernels/lrt_cpu.h"
#include "kernels/lrt_isa.h"
#include "kernels/vec_test.h"

typedef struct {
    const char *name;
    int (*usable)(void);
    vec_suite *suite;
} vocabulary;

static const vocabulary VOCABULARIES[] = {
    {"portable", lrt_cpu_any, vec_portable},
    {"portable without fma", lrt_cpu_any, vec_nofma},
#ifdef LRT_X86_TABLES
    {"avx2", lrt_cpu_has_avx2, vec_avx2},
#ifdef LRT_AVXVNNI_TABLES
    {"avx2 with vnni", lrt_cpu_has_avxvnni, vec_avx2vnni},
#endif
    {"avx512", lrt_cpu_has_avx512, vec_avx512},
    {"avx512 with vnni", lrt_cpu_has_avx512vnni, vec_avx512vnni},
#endif
#ifdef LRT_NEON_TABLES
    {"neon", lrt_cpu_any, vec_neon},
#endif
#ifdef LRT_DOTPROD_TABLES
    {"neon with dot products", lrt_cpu_has_dotprod, vec_neondot},
#endif
};

int main(void)
{
    for (size_t i = 0; i < sizeof VOCABULARIES / sizeof *VOCABULARIES; i++) {
        const vocabulary *v = &VOCABULARIES[i];
        if (v->usable())
            v->suite(v->name);
        printf("vec_test: %s %s\n", v->name, v->usable() ? "tested" : "skipped: this CPU cannot run it");
    }
    printf("vec_test: %lu checks, %lu failed\n", check_count, check_failures);
    return check_failures > 0;
}

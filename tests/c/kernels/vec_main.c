/* Every vector operation of every vocabulary that this machine can run, with denormals and in the mode of a run, in which
 * they are flushed. Where vectors know no other mode, only in that.
 *
 *   vec_test [name]     the vocabulary of this name is run, whether the machine says that it can or not */
#include "helpers/check.h"
#include "kernels/lrt_cpu.h"
#include "kernels/lrt_isa.h"
#include "kernels/vec_test.h"
#include "lrt_mode.h"

typedef struct {
    const char *name;
    int (*usable)(void);
    vec_suite *suite;
} vocabulary;

static const vocabulary VOCABULARIES[] = {
    {"portable", lrt_cpu_any, vec_portable},
    {"portable without fma", lrt_cpu_any, vec_nofma},
#ifdef LRT_X86_TABLES
    {"sse", lrt_cpu_any, vec_sse},
    {"avx2", lrt_cpu_has_avx2, vec_avx2},
#ifdef LRT_AVXVNNI_TABLES
    {"avx2 with vnni", lrt_cpu_has_avxvnni, vec_avx2vnni},
#endif
    {"avx512", lrt_cpu_has_avx512, vec_avx512},
    {"avx512 with vnni", lrt_cpu_has_avx512vnni, vec_avx512vnni},
#endif
#ifdef LRT_NEON_TABLES
    {"neon", lrt_cpu_has_neon, vec_neon},
#endif
#ifdef LRT_NEON_NOFMA_TABLE
    {"neon without fma", lrt_cpu_has_neon_nofma, vec_neonnofma},
#endif
#ifdef LRT_DOTPROD_TABLES
    {"neon with dot products", lrt_cpu_has_dotprod, vec_neondot},
#endif
};

static int always_flushes(const vocabulary *v)
{
#ifdef __arm__
    return strncmp(v->name, "neon", 4) == 0;
#else
    (void)v;
    return 0;
#endif
}

static void test(const vocabulary *v)
{
    const lrt_mode before = lrt_get_mode();
    if (!always_flushes(v))
        v->suite(v->name);
    if (LRT_FLUSHES) {
        lrt_flush_denormals(before);
        v->suite(v->name);
        lrt_restore_mode(before);
    }
}

int main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof VOCABULARIES / sizeof *VOCABULARIES; i++) {
        const vocabulary *v = &VOCABULARIES[i];
        const int runs = v->usable() || (argc > 1 && strcmp(argv[1], v->name) == 0);
        if (runs)
            test(v);
        printf("vec_test: %s %s\n", v->name, runs ? "tested" : "skipped: this CPU cannot run it");
    }
    printf("vec_test: %lu checks, %lu failed\n", check_count, check_failures);
    return check_failures > 0;
}

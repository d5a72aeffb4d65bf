/* The kernel tables of this build, best first. */
#include <string.h>

#include "kernels/lrt_isa.h"
#include "kernels/lrt_kernels.h"

extern const lrt_kernels lrt_kernels_avx512amx, lrt_kernels_avx512vnni, lrt_kernels_avx512, lrt_kernels_avx2vnni,
    lrt_kernels_avx2, lrt_kernels_neondot, lrt_kernels_neon, lrt_kernels_neonnofma,
    lrt_kernels_nofma, lrt_kernels_portable;

static const lrt_kernels *const TABLES[] = {
#ifdef LRT_AMX_TABLES
    &lrt_kernels_avx512amx,
#endif
#ifdef LRT_X86_TABLES
    &lrt_kernels_avx512vnni, &lrt_kernels_avx512,
#endif
#ifdef LRT_AVXVNNI_TABLES
    &lrt_kernels_avx2vnni,
#endif
#ifdef LRT_X86_TABLES
    &lrt_kernels_avx2,
#endif
#ifdef LRT_DOTPROD_TABLES
    &lrt_kernels_neondot,
#endif
#ifdef LRT_NEON_TABLES
    &lrt_kernels_neon,
#endif
#ifdef LRT_NEON_NOFMA_TABLE
    &lrt_kernels_neonnofma,
#endif
#ifdef LRT_NOFMA_TABLE
    &lrt_kernels_nofma,
#endif
    &lrt_kernels_portable};

#define N_TABLES (sizeof TABLES / sizeof *TABLES)

const lrt_kernels *lrt_kernels_at(unsigned i) { return i < N_TABLES ? TABLES[i] : NULL; }

const lrt_kernels *lrt_kernels_best(void)
{
    unsigned i = 0;
    while (!TABLES[i]->usable()) /* the last is usable everywhere */
        i++;
    return TABLES[i];
}

const lrt_kernels *lrt_kernels_by_name(const char *name)
{
    for (unsigned i = 0; name && i < N_TABLES; i++)
        if (strcmp(TABLES[i]->name, name) == 0)
            return TABLES[i]->usable() ? TABLES[i] : NULL;
    return NULL;
}

const char *lrt_kernels_name(const lrt_kernels *k) { return k->name; }
int lrt_kernels_usable(const lrt_kernels *k) { return k->usable(); }
int lrt_kernels_fused(const lrt_kernels *k) { return k->fused; }

int lrt_activate(const lrt_kernels *k, uint32_t act, float alpha, float beta, const float *x, float *y, size_t n)
{
    lrt_act a;
    if (!k || !x || !y || act >= LRT_ACT_COUNT || n == 0)
        return LRT_E_ARGUMENT;
    a.kind = act;
    a.alpha = alpha;
    a.beta = beta;
    k->activate(&a, x, y, n);
    return LRT_OK;
}

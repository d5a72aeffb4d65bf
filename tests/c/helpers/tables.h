/* What tests of the kernels share: tables, and weights in panels, packed as docs/format.md says. */
#ifndef TABLES_H
#define TABLES_H

#include "helpers/check.h"
#include "kernels/lrt_kernels.h"
#include "lstm_rt.h"

/* Tables that this CPU runs; of some without those in plain C where others do the same: fmaf() may be a slow routine. */
static inline int is_tested(const lrt_kernels *k)
{
    const int plain = k == lrt_kernels_by_name("portable") || (k == lrt_kernels_by_name("nofma") && lrt_kernels_by_name("neonnofma"));
    return lrt_kernels_usable(k) && !(only_some && plain && k != lrt_kernels_best());
}

/* The next table that is tested, from *i on, or NULL. */
static inline const lrt_kernels *next_table(unsigned *i)
{
    const lrt_kernels *k = lrt_kernels_at((*i)++);
    while (k && !is_tested(k))
        k = lrt_kernels_at((*i)++);
    if (k)
        check_context = lrt_kernels_name(k);
    return k;
}

static inline uint32_t width_at(uint32_t units, uint32_t start)
{
    const uint32_t fours = (units - start % units + 3) / 4; /* of what is left */
    return fours >= 4 ? 16 : fours == 1 ? 4 : 8;
}

/* w[gate][unit][input] in panels; padding is what no result may depend on. */
static inline void pack(const float *w, uint32_t gates, uint32_t units, uint32_t k, float *to)
{
    for (uint32_t start = 0, width; start < units; start += width) {
        width = width_at(units, start);
        for (uint32_t i = 0; i < k; i++)
            for (uint32_t g = 0; g < gates; g++)
                for (uint32_t u = start; u < start + width; u++)
                    *to++ = u < units ? w[((size_t)g * units + u) * k + i] : 1e30f;
    }
}

/* Where unit u of a gate stands in a row in panel order. */
static inline size_t panel_place(uint32_t gates, uint32_t units, uint32_t g, uint32_t u)
{
    uint32_t start = 0;
    while (start + width_at(units, start) <= u)
        start += width_at(units, start);
    return (size_t)start * gates + (size_t)g * width_at(units, start) + (u - start);
}

/* Where the weight of unit u for input i stands, of one gate. */
static inline size_t weight_place(uint32_t units, uint32_t inputs, uint32_t u, uint32_t i)
{
    uint32_t start = 0;
    while (start + width_at(units, start) <= u)
        start += width_at(units, start);
    return (size_t)start * inputs + (size_t)i * width_at(units, start) + (u - start);
}

static inline void random_floats(float *x, size_t n, float scale, uint32_t *seed)
{
    for (size_t i = 0; i < n; i++)
        x[i] = next_float(seed) * scale;
}

#endif

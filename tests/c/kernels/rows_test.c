/* Rows of features: two of them, and normalisations. */
#include <math.h>

#include "helpers/tables.h"
#include "suites.h"

#define MOST 37

static void two(const lrt_kernels *k, size_t n, uint32_t *seed)
{
    float a[MOST], b[MOST];
    walled y = walled_new(n * sizeof(float));
    float *out = (float *)(void *)y.data;
    random_floats(a, n, 9, seed);
    random_floats(b, n, 9, seed);
    for (int op = LRT_ADD; op <= LRT_AVERAGE; op++) {
        k->binary((enum lrt_binary)op, a, b, out, n);
        for (size_t i = 0; i < n; i++)
            CHECK(out[i] == (op == LRT_ADD ? a[i] + b[i] : op == LRT_MUL ? a[i] * b[i] : (a[i] + b[i]) * 0.5f));
    }
    walled_free(&y);
}

static void normalised(const lrt_kernels *k, size_t n, uint32_t *seed)
{
    float x[MOST], gamma[MOST], beta[MOST], mean[MOST];
    walled y = walled_new(n * sizeof(float));
    float *out = (float *)(void *)y.data;
    double middle = 0, variance = 0;
    random_floats(x, n, 4, seed);
    random_floats(gamma, n, 2, seed);
    random_floats(beta, n, 2, seed);
    random_floats(mean, n, 2, seed);
    for (size_t i = 0; i < n; i++)
        middle += (double)x[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        variance += ((double)x[i] - middle) * ((double)x[i] - middle) / (double)n;
    for (int with = 0; with < 4; with++) {
        const double least = 0.01;
        k->layernorm(x, with & 1 ? gamma : NULL, with & 2 ? beta : NULL, 0.01f, out, n);
        for (size_t i = 0; i < n; i++) {
            const double plain = ((double)x[i] - middle) / sqrt(variance + least);
            const double want = plain * (with & 1 ? (double)gamma[i] : 1) + (with & 2 ? (double)beta[i] : 0);
            CHECK(fabs((double)out[i] - want) < 1e-5);
        }
    }
    k->batchnorm(x, mean, gamma, beta, out, n);
    for (size_t i = 0; i < n; i++)
        CHECK(fabs((double)out[i] - (((double)x[i] - (double)mean[i]) * (double)gamma[i] + (double)beta[i])) < 1e-5);
    walled_free(&y);
}

void test_rows(void)
{
    const lrt_kernels *k;
    for (unsigned table = 0; (k = next_table(&table)) != NULL;) {
        uint32_t seed = 3;
        for (size_t n = 1; n <= MOST; n++) {
            two(k, n, &seed);
            normalised(k, n, &seed);
        }
    }
}

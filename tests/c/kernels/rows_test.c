/* Rows of features: two of them, one to a number, and normalisations. */
#include <math.h>

#include "helpers/tables.h"
#include "suites.h"

#define MOST 37

static float of_two(enum lrt_binary op, float a, float b)
{
    switch (op) {
    case LRT_SUB: return a - b;
    case LRT_MUL: return a * b;
    case LRT_DIV: return a / b;
    case LRT_MAXIMUM: return a > b ? a : b;
    case LRT_MINIMUM: return a < b ? a : b;
    case LRT_POW: return (float)pow((double)a, (double)b);
    case LRT_AVERAGE: return (a + b) * 0.5f;
    default: return a + b;
    }
}

/* Two rows, or one number of one of them for all of the other's. */
static void two(const lrt_kernels *k, size_t n, uint32_t *seed)
{
    float a[MOST], b[MOST];
    walled y = walled_new(n * sizeof(float));
    float *out = (float *)(void *)y.data;
    random_floats(a, n, 9, seed);
    random_floats(b, n, 9, seed);
    for (int op = LRT_ADD; op <= LRT_AVERAGE; op++)
        for (int one = 0; one < 4; one++) {
            lrt_two of = {(enum lrt_binary)op, a, b, one & 1, one >> 1};
            for (size_t i = 0; op == LRT_POW && i < n; i++)
                a[i] = fabsf(a[i]);
            k->binary(&of, out, n);
            for (size_t i = 0; i < n; i++) {
                const float want = of_two(of.op, a[one & 1 ? 0 : i], b[one >> 1 ? 0 : i]);
                CHECK(out[i] == want || (op == LRT_POW && fabsf(out[i] - want) <= want * 0x1p-23f));
            }
        }
    walled_free(&y);
}

static void maxima(const lrt_kernels *k)
{
    const float a[4] = {NAN, 1, NAN, INFINITY}, b[4] = {1, NAN, NAN, NAN};
    float y[4];
    lrt_two of = {LRT_MAXIMUM, a, b, 0, 0};
    for (int op = LRT_MAXIMUM; op <= LRT_MINIMUM; op++) {
        of.op = (enum lrt_binary)op;
        k->binary(&of, y, 4);
        CHECK(isnan(y[0]) && isnan(y[1]) && isnan(y[2]) && isnan(y[3]));
    }
}

static void reduced(const lrt_kernels *k, size_t n, uint32_t *seed)
{
    float x[MOST];
    double sum = 0, squares = 0, product = 1, top = -INFINITY, bottom = INFINITY;
    random_floats(x, n, 1, seed);
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i];
        squares += (double)x[i] * (double)x[i];
        product *= (double)x[i];
        top = fmax(top, (double)x[i]);
        bottom = fmin(bottom, (double)x[i]);
    }
    CHECK(fabs((double)k->reduce(LRT_REDUCE_SUM, x, n) - sum) < 1e-5);
    CHECK(fabs((double)k->reduce(LRT_REDUCE_MEAN, x, n) - sum / (double)n) < 1e-6);
    CHECK((double)k->reduce(LRT_REDUCE_MAX, x, n) == top && (double)k->reduce(LRT_REDUCE_MIN, x, n) == bottom);
    CHECK(fabs((double)k->reduce(LRT_REDUCE_PROD, x, n) - product) <= fabs(product) * 1e-5);
    CHECK(fabs((double)k->reduce(LRT_REDUCE_L2, x, n) - sqrt(squares)) < 1e-5);
}

static void scaled(const lrt_kernels *k, size_t n, uint32_t *seed)
{
    float x[MOST], alpha[MOST];
    walled y = walled_new(n * sizeof(float));
    float *out = (float *)(void *)y.data;
    double squares = 0;
    random_floats(x, n, 3, seed);
    random_floats(alpha, n, 3, seed);
    k->prelu(x, alpha, out, n);
    for (size_t i = 0; i < n; i++) {
        CHECK(out[i] == (x[i] < 0 ? alpha[i] * x[i] : x[i]));
        squares += (double)x[i] * (double)x[i];
    }
    for (int large = 0; large < 2; large++) {
        const float eps = large ? 100.0f : 1e-6f;
        k->l2norm(x, eps, out, n);
        for (size_t i = 0; i < n; i++)
            CHECK(fabs((double)out[i] - (double)x[i] / fmax(sqrt(squares), (double)eps)) < 1e-6);
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
        maxima(k);
        for (size_t n = 1; n <= MOST; n++) {
            two(k, n, &seed);
            reduced(k, n, &seed);
            scaled(k, n, &seed);
            normalised(k, n, &seed);
        }
    }
}

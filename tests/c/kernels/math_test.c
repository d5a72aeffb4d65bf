/* Activations, against mathematics in double precision. The bounds on single numbers are held in Python, which tests
 * every 257th float; here is what a C build can see: every table, every length of a row, and the special cases. */
#include <math.h>

#include "helpers/tables.h"
#include "suites.h"

#define MOST 37

static double sigmoid(double x) { return 1.0 / (1.0 + exp(-x)); }

static double exact(uint32_t act, double alpha, double beta, double x)
{
    const double a = 1.6732632423543772, s = 1.0507009873554805;
    switch (act) {
    case LRT_ACT_LINEAR: return x;
    case LRT_ACT_SIGMOID: return sigmoid(x);
    case LRT_ACT_TANH: return tanh(x);
    case LRT_ACT_RELU: return x > 0 ? x : 0;
    case LRT_ACT_HARD_SIGMOID: return fmin(fmax(alpha * x + beta, 0), 1);
    case LRT_ACT_LEAKY_RELU: return x >= 0 ? x : alpha * x;
    case LRT_ACT_ELU: return x >= 0 ? x : alpha * expm1(x);
    case LRT_ACT_SELU: return x >= 0 ? s * x : s * a * expm1(x);
    case LRT_ACT_SOFTPLUS: return log1p(exp(x));
    case LRT_ACT_SOFTSIGN: return x / (1 + fabs(x));
    case LRT_ACT_SWISH: return x * sigmoid(x);
    case LRT_ACT_GELU: return x * (1 + erf(x / sqrt(2.0))) / 2;
    case LRT_ACT_GELU_TANH: return x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))) / 2;
    case LRT_ACT_EXP: return exp(x);
    case LRT_ACT_LOG: return log(x);
    case LRT_ACT_SQRT: return sqrt(x);
    case LRT_ACT_ABS: return fabs(x);
    case LRT_ACT_SQUARE: return x * x;
    case LRT_ACT_RECIPROCAL: return 1 / x;
    case LRT_ACT_CLIP: return fmin(fmax(x, alpha), beta);
    case LRT_ACT_HARD_SWISH: return x * fmin(fmax(x + 3, 0), 6) / 6;
    case LRT_ACT_MISH: return x * tanh(log1p(exp(x)));
    case LRT_ACT_ERF: return erf(x);
    case LRT_ACT_SIN: return sin(x);
    case LRT_ACT_COS: return cos(x);
    case LRT_ACT_SIGN: return x > 0 ? 1 : x < 0 ? -1 : 0;
    case LRT_ACT_FLOOR: return floor(x);
    case LRT_ACT_AFFINE: return alpha * x + beta;
    case LRT_ACT_SCALED_TANH: return alpha * tanh(beta * x);
    case LRT_ACT_THRESHOLDED_RELU: return x > alpha ? x : 0;
    case LRT_ACT_CELU: return x >= 0 ? x : alpha * expm1(x / alpha);
    case LRT_ACT_POWER: return pow(x, alpha);
    default: return NAN; /* and so fails */
    }
}

static void elementwise(const lrt_kernels *k, uint32_t act, size_t n, uint32_t *seed)
{
    walled x = walled_new(n * sizeof(float)), y = walled_new(n * sizeof(float));
    float *in = (float *)(void *)x.data, *out = (float *)(void *)y.data;
    random_floats(in, n, 6, seed);
    in[0] = n % 2 ? 0.0f : -20.0f;
    CHECK(lrt_activate(k, act, 0.25f, 0.5f, in, out, n) == LRT_OK);
    for (size_t i = 0; i < n; i++) {
        const double want = exact(act, 0.25, 0.5, (double)in[i]);
        CHECK(isnan(want) ? act >= LRT_ACT_EXP && isnan(out[i]) && in[i] < 0
                          : fabs((double)out[i] - want) < 1e-6 * fmax(1, act < LRT_ACT_EXP ? 1 : fabs(want)) ||
                                (isinf(want) && (double)out[i] == want));
    }
    CHECK(lrt_activate(k, act, 0.25f, 0.5f, in, in, n) == LRT_OK && memcmp(in, out, n * sizeof(float)) == 0);
    CHECK(walls_stand(&x) && walls_stand(&y));
    walled_free(&x);
    walled_free(&y);
}

static void over_features(const lrt_kernels *k, size_t n, uint32_t *seed)
{
    float x[MOST], y[MOST], z[MOST];
    double sum = 0;
    random_floats(x, n, 30, seed);
    for (size_t i = 0; i < n; i++)
        sum += exp((double)x[i]);
    CHECK(lrt_activate(k, LRT_ACT_SOFTMAX, 0, 0, x, y, n) == LRT_OK);
    CHECK(lrt_activate(k, LRT_ACT_LOG_SOFTMAX, 0, 0, x, z, n) == LRT_OK);
    for (size_t i = 0; i < n; i++) {
        CHECK(fabs((double)y[i] - exp((double)x[i]) / sum) < 1e-6);
        CHECK(fabs((double)z[i] - ((double)x[i] - log(sum))) < 1e-5);
    }
}

/* Infinities and what is not a number go through, or saturate. */
static void specials(const lrt_kernels *k)
{
    const float x[3] = {INFINITY, -INFINITY, NAN};
    float y[3];
    CHECK(lrt_activate(k, LRT_ACT_TANH, 0, 0, x, y, 3) == LRT_OK);
    CHECK(y[0] == 1.0f && y[1] == -1.0f && isnan(y[2]));
    CHECK(lrt_activate(k, LRT_ACT_SIGMOID, 0, 0, x, y, 3) == LRT_OK);
    CHECK(y[0] == 1.0f && y[1] >= 0.0f && y[1] < 1e-37f && isnan(y[2]));
    CHECK(lrt_activate(k, LRT_ACT_RELU, 0, 0, x, y, 3) == LRT_OK);
    CHECK(isinf(y[0]) && y[1] == 0.0f && isnan(y[2]));
    CHECK(lrt_activate(k, LRT_ACT_EXP, 0, 0, x, y, 3) == LRT_OK);
    CHECK(isinf(y[0]) && y[1] == 0.0f && isnan(y[2]));
    CHECK(lrt_activate(k, LRT_ACT_SIN, 0, 0, x, y, 3) == LRT_OK);
    CHECK(isnan(y[0]) && isnan(y[1]) && isnan(y[2]));
}

/* Arguments of any size have their sine. */
static void large_angles(const lrt_kernels *k)
{
    const float x[6] = {1e5f, -3.2e9f, 0x1p100f, -0x1.fffffep127f, 11.0f, 0x1.921fb4p-1f};
    float y[6], z[6];
    CHECK(lrt_activate(k, LRT_ACT_SIN, 0, 0, x, y, 6) == LRT_OK);
    CHECK(lrt_activate(k, LRT_ACT_COS, 0, 0, x, z, 6) == LRT_OK);
    for (int i = 0; i < 6; i++)
        CHECK(fabs((double)y[i] - sin((double)x[i])) < 6e-8 && fabs((double)z[i] - cos((double)x[i])) < 6e-8);
}

void test_math(void)
{
    const lrt_kernels *k;
    for (unsigned table = 0; (k = next_table(&table)) != NULL;) {
        uint32_t seed = 11;
        for (uint32_t act = 0; act < LRT_ACT_COUNT; act++)
            for (size_t n = 1; n <= MOST && lrt_is_elementwise(act); n++)
                elementwise(k, act, n, &seed);
        for (size_t n = 1; n <= MOST; n++)
            over_features(k, n, &seed);
        specials(k);
        large_angles(k);
    }
}

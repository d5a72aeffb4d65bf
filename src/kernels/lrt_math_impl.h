/* THE activations, written once over the vector vocabulary: a kernel file includes one lrt_vec_<isa>.h, then this
 * and the other parts of the template (lrt_template.h). */
#ifndef LRT_MATH_IMPL_H
#define LRT_MATH_IMPL_H

#include "kernels/lrt_acts.h"
#include "kernels/lrt_double_impl.h"
#include "kernels/lrt_unroll.h"

/* ---- activations --------------------------------------------------------------------------- */

#define EXP_LIMIT 87.0f     /* |y| up to here keeps 2^n normal */
#define SIGMOID_LIMIT 40.0f /* from here on sigmoid is 1 */
#define GATE_LIMIT 60.0f    /* gates take numbers below -this as -this: products of two denominators have normal reciprocals */
#define TANH_LIMIT 10.0f    /* from here on tanh is 1 */
#define POW2_OF_0 (0x1.8p23f + 127.0f) /* added to a float, it rounds that to an integer n in the low bits, of which v_pow2 makes 2^n */
#define LARGEST 0x1.fffffep127f

static LRT_INLINE vf clamp(vf a, float lo, float hi) { return v_min(v_set1(hi), v_max(v_set1(lo), a)); }

/* a itself; but 0 for a denormal where these are flushed. A maximum may leave one or make it 0, as the instruction that a
 * compiler has chosen does, so what comes of one and is stored goes through this. The factor is 1: were that known to the
 * compiler, it would drop the product. */
#ifndef ONE_UNKNOWN
static const volatile float one_unknown = 1.0f;
#define ONE_UNKNOWN one_unknown
#endif
static LRT_INLINE vf settled(vf a) { return v_mul(a, v_set1(ONE_UNKNOWN)); }

/* Chains of dependent operations overlap only as far as the CPU looks ahead, so vectors go through
 * them side by side: n of them, n and everything about them but the numbers being constants. */
#define EACH(j, n) LRT_UNROLL for (unsigned j = 0; j < n; j++)
#define MAX_SIDE 12

/* c + a b, or c - a b. */
static LRT_INLINE vf with_sign(const int negative, vf a, vf b, vf c) { return negative ? v_fnma(a, b, c) : v_fma(a, b, c); }

/* y = b - a x of the first `negative` of n vectors, b + f a x of the others: one of three such sums. A vocabulary may have a
 * way of its own. */
#ifndef v_affine
#define v_affine(which, n, negative, f, a, x, b, y) \
    EACH(j, n) (y)[j] = with_sign(j < (negative), (x)[j], v_set1(j < (negative) ? (a) : (f) * (a)), v_set1(b))
#endif

/* Operations with a number that all elements share, for vocabularies that have such instructions. */
#ifndef v_add_1
#define v_add_1(a, b) v_add(a, v_set1(b))
#define v_sub_1(a, b) v_sub(a, v_set1(b))
#define v_fma_1(a, b, c) v_fma(v_set1(a), b, c)
#define v_fma_1_signed(negative, a, b, c) with_sign(negative, a, v_set1(b), c)
#endif

/* expm1(r) of n vectors, of the first `negative` of them -expm1(-r): a minimax fit on [-0.347, 0.347] (relative error 1.4e-8),
 * evaluated in Estrin's order for its short chain. */
static LRT_INLINE void expm1_parts(const unsigned n, const unsigned negative, const vf *r, vf *p)
{
    vf r2[MAX_SIDE], lo[MAX_SIDE], hi[MAX_SIDE];
    EACH(j, n) r2[j] = v_mul(r[j], r[j]);
    v_affine(1, n, negative, 1.0f, 0.008366596f, r, 0.0416672f, hi);
    v_affine(2, n, negative, 1.0f, 0.16666543f, r, 0.49999997f, lo);
    EACH(j, n) hi[j] = v_fma_1(0.0013882507f, r2[j], hi[j]);
    EACH(j, n) hi[j] = v_fma(hi[j], r2[j], lo[j]);
    EACH(j, n) p[j] = with_sign(j < negative, hi[j], r2[j], r[j]);
}

/* exp(f x) = s (1 + p) with s = 2^m and p = expm1(f x - m ln 2), for |f x| <= EXP_LIMIT and a constant f that is 1 or 2; of
 * the first `negative` of n vectors exp(-x) = s (1 - p). One float for ln 2 is enough: it is 1.9e-9 off, so the result is at
 * most m * 1.9e-9 off. */
static LRT_INLINE void exp_parts(const unsigned n, const unsigned negative, const float f, const vf *x, vf *s, vf *p)
{
    vf r[MAX_SIDE];
    v_affine(0, n, negative, f, 0x1.715476p0f, x, POW2_OF_0, s);
    EACH(j, n) r[j] = v_sub_1(s[j], POW2_OF_0);
    EACH(j, n) r[j] = v_fma_1_signed(j >= negative, r[j], 0x1.62e43p-1f, j >= negative && f > 1.0f ? v_add(x[j], x[j]) : x[j]);
    EACH(j, n) s[j] = v_pow2(s[j]);
    expm1_parts(n, negative, r, p);
}

static LRT_INLINE vf exp_between(vf y, float lo, float hi)
{
    vf s, p;
    y = clamp(y, lo, hi);
    exp_parts(1, 0, 1.0f, &y, &s, &p);
    return v_fma(s, p, s);
}

/* exp(y) for y <= 0, exactly 0 below -EXP_LIMIT. */
static LRT_INLINE vf exp_nonpositive(vf y)
{
    return v_select(v_lt(y, v_set1(-EXP_LIMIT)), v_set1(0.0f), exp_between(y, -EXP_LIMIT, 0.0f));
}

static LRT_INLINE vf expm1_nonpositive(vf y)
{
    vf s, p;
    y = clamp(y, -EXP_LIMIT, 0.0f);
    exp_parts(1, 0, 1.0f, &y, &s, &p);
    return v_fma(s, p, v_sub(s, v_set1(1.0f)));
}

/* sigmoid(x) = 1 / (1 + e) with e = exp(-x), of the first `sigmoids` of n vectors, x being at least -GATE_LIMIT; of the others
 * tanh(x) = e / (e + 2) with e = expm1(2x), which does not cancel near 0. Denominators, and of tanh numerators, apart, so
 * that a product needs one division. Tanh's one is made from the other: their errors cancel. */
static LRT_INLINE void squash_parts(const unsigned n, const unsigned sigmoids, const vf *x, vf *num, vf *den)
{
    vf y[MAX_SIDE], s[MAX_SIDE], p[MAX_SIDE];
#ifdef v_all_within /* a vocabulary that asks first */
    EACH(j, n) y[j] = x[j];
    if (!v_all_within(n, x, TANH_LIMIT))
        v_clamp_all(n, sigmoids, y, -GATE_LIMIT, SIGMOID_LIMIT, TANH_LIMIT);
#else
    EACH(j, n) y[j] = v_max(v_set1(j < sigmoids ? -GATE_LIMIT : -TANH_LIMIT), x[j]);
    EACH(j, n) y[j] = v_min(v_set1(j < sigmoids ? SIGMOID_LIMIT : TANH_LIMIT), y[j]);
#endif
#ifdef LRT_FEW_VECTORS /* one after the other, as there are registers for no more */
    EACH(j, n) exp_parts(1, j < sigmoids, 2.0f, y + j, s + j, p + j);
#else
    exp_parts(n, sigmoids, 2.0f, y, s, p);
#endif
    EACH(j, sigmoids) den[j] = v_fnma(s[j], p[j], v_add_1(s[j], 1.0f));
    LRT_UNROLL for (unsigned j = sigmoids; j < n; j++) {
        num[j] = v_fma(s[j], p[j], v_sub_1(s[j], 1.0f));
        den[j] = v_add_1(num[j], 2.0f);
    }
}

/* e / (e + 1): nearer than 1 / (1 + e) in the last bit, and below -GATE_LIMIT as right as above. */
static LRT_INLINE vf act_sigmoid(vf x)
{
    vf s, p, e;
    x = clamp(x, -EXP_LIMIT, SIGMOID_LIMIT);
    exp_parts(1, 0, 1.0f, &x, &s, &p);
    e = v_fma(s, p, s);
    return v_div(e, v_add(e, v_set1(1.0f)));
}

static LRT_INLINE vf act_tanh(vf x)
{
    vf num, den;
    squash_parts(1, 0, &x, &num, &den);
    return v_div(num, den);
}

#define LN2_HIGH 0x1.62e4p-1f /* times an integer below 2^8 it is exact */
#define LN2_LOW 0x1.7f7d1cp-20f

/* log(2^e m) for m in [1, 2), by m in [sqrt(1/2), sqrt(2)): minimax fit in m - 1. */
static LRT_INLINE vf log_of_parts(vf e, vf m)
{
    vm high = v_lt(v_set1(0x1.6a09e6p0f), m);
    e = v_select(high, v_add(e, v_set1(1.0f)), e);
    m = v_select(high, v_mul(m, v_set1(0.5f)), m);
    vf t = v_sub(m, v_set1(1.0f)), t2 = v_mul(t, t);
    vf q = v_fma(v_set1(0.0674459f), t, v_set1(-0.1167482f));
    q = v_fma(q, t, v_set1(0.11888588f));
    q = v_fma(q, t, v_set1(-0.12405753f));
    q = v_fma(q, t, v_set1(0.14219521f));
    q = v_fma(q, t, v_set1(-0.16667986f));
    q = v_fma(q, t, v_set1(0.20002119f));
    q = v_fma(q, t, v_set1(-0.2500001f));
    q = v_fma(q, t, v_set1(0.33333313f));
    vf tail = v_fma(v_mul(t2, t), q, v_mul(e, v_set1(LN2_LOW)));
    tail = v_fma(v_set1(-0.5f), t2, tail);
    return v_fma(e, v_set1(LN2_HIGH), v_add(t, tail));
}

/* log(a) for normal a > 0; NaN for what is not finite. */
static LRT_INLINE vf log_positive(vf a)
{
    return v_add(log_of_parts(v_exponent(a), v_mantissa(a)), v_sub(a, a));
}

/* log(x) of any x: -infinity at 0, NaN below. */
static LRT_INLINE vf act_log(vf x)
{
    vm small = v_lt(x, v_set1(0x1p-126f)); /* no denormal constants: where they are flushed, they are 0 */
    vf a = v_select(small, v_mul(x, v_set1(0x1p24f)), x);
    vf e = v_add(v_exponent(a), v_select(small, v_set1(-24.0f), v_set1(0.0f)));
    vf y = v_add(log_of_parts(e, v_mantissa(a)), v_sub(x, x));
    vf otherwise = v_select(v_lt(x, v_set1(0.0f)), v_set1(NAN), v_add(v_set1(-INFINITY), x));
    return v_select(v_lt(v_set1(LARGEST), x), x, v_select(v_lt(v_set1(0.0f), x), y, otherwise));
}

/* exp(x) of any x: ln 2 in two parts, and 2^m in two factors, as 2^m may be denormal or 2^128. */
static LRT_INLINE vf act_exp(vf x)
{
    const vf magic = v_set1(POW2_OF_0);
    vf y = clamp(x, -104.0f, 89.0f), p;
    vf m = v_sub(v_fma(y, v_set1(0x1.715476p0f), magic), magic);
    vf half = v_fma(m, v_set1(0.5f), magic), s = v_pow2(half);
    vf r = v_fnma(m, v_set1(LN2_LOW), v_fnma(m, v_set1(LN2_HIGH), y));
    expm1_parts(1, 0, &r, &p);
    return v_mul(v_fma(s, p, s), v_pow2(v_add(v_sub(m, v_sub(half, magic)), magic)));
}

/* log(1 + exp(x)) = max(x, 0) + log1p(u) with u = exp(-|x|); the quotient restores what 1 + u lost. */
static LRT_INLINE vf act_softplus(vf x)
{
    vf one = v_set1(1.0f);
    vf u = exp_nonpositive(v_sub(v_set1(0.0f), v_abs(x)));
    vf w = v_add(one, u);
    vf lost = v_div(v_sub(u, v_sub(w, one)), w);
    return v_add(v_max(v_set1(0.0f), x), v_add(log_positive(w), lost));
}

/* erf: odd minimax polynomial on [0, 1]; above, 1 - exp(P(|x|)) with P fitted to log(erfc). */
static LRT_INLINE vf erf_vec(vf x)
{
    vf a = v_min(v_set1(4.0f), v_abs(x));
    vf z = v_mul(x, x);
    vf lo = v_fma(v_set1(7.8538615e-05f), z, v_set1(-0.00080101937f));
    lo = v_fma(lo, z, v_set1(0.0051883277f));
    lo = v_fma(lo, z, v_set1(-0.026853813f));
    lo = v_fma(lo, z, v_set1(0.112835854f));
    lo = v_fma(lo, z, v_set1(-0.37612626f));
    lo = v_fma(lo, z, v_set1(1.1283791f));
    lo = v_mul(lo, x);
    vf hi = v_fma(v_set1(0.00018557401f), a, v_set1(-0.0029396072f));
    hi = v_fma(hi, a, v_set1(0.021805318f));
    hi = v_fma(hi, a, v_set1(-0.10303737f));
    hi = v_fma(hi, a, v_set1(-0.6382257f));
    hi = v_fma(hi, a, v_set1(-1.12704f));
    hi = v_fma(hi, a, v_set1(-0.00035371952f));
    hi = v_sub(v_set1(0.0f), expm1_nonpositive(hi));
    hi = v_select(v_lt(x, v_set1(0.0f)), v_sub(v_set1(0.0f), hi), hi);
    return v_select(v_lt(v_set1(1.0f), a), hi, lo);
}

static LRT_INLINE vf act_gelu(vf x)
{
    vf half = v_mul(v_set1(0.5f), x);
    return v_fma(half, erf_vec(v_mul(x, v_set1(0x1.6a09e6p-1f))), half);
}

static LRT_INLINE vf act_gelu_tanh(vf x)
{
    vf half = v_mul(v_set1(0.5f), x);
    vf inner = v_mul(v_set1(0.7978845608f), v_fma(v_mul(v_mul(x, x), x), v_set1(0.044715f), x));
    return v_fma(half, act_tanh(inner), half);
}

#define SELU_ALPHA 1.6732632423543772f
#define SELU_SCALE 1.0507009873554805f

static LRT_INLINE vf where_negative(vf x, vf negative, vf positive)
{
    return v_select(v_lt(x, v_set1(0.0f)), negative, positive);
}

/* r, but x where that is NaN. */
static LRT_INLINE vf unless_nan(vf x, vf r)
{
    vm finite = v_lt(v_abs(x), v_set1(INFINITY)), infinite = v_lt(v_set1(LARGEST), v_abs(x));
    return v_select(finite, r, v_select(infinite, r, x));
}

/* x tanh(softplus(x)): tanh(ln(1 + e)) = n / (n + 2) with n = e^2 + 2e. */
static LRT_INLINE vf act_mish(vf x)
{
    vf e = act_exp(v_min(v_set1(SIGMOID_LIMIT), x)), two = v_set1(2.0f);
    vf n = v_mul(e, v_add(e, two));
    return v_mul(x, v_div(n, v_add(n, two)));
}

/* Adding 2^23 rounds to an integer; what is one already comes back as it is, -0 and NaN too. */
static LRT_INLINE vf act_floor(vf x)
{
    const vf whole = v_set1(0x1p23f);
    vf a = v_sub(v_add(v_abs(x), whole), whole);
    vf y = where_negative(x, v_mul(a, v_set1(-1.0f)), a);
    y = v_select(v_lt(y, x), y, v_select(v_lt(x, y), v_sub(y, v_set1(1.0f)), x));
    return v_select(v_lt(v_abs(x), whole), y, x);
}

static LRT_INLINE vf act_sign(vf x)
{
    return where_negative(x, v_set1(-1.0f), v_select(v_lt(v_set1(0.0f), x), v_set1(1.0f), x));
}

/* sin(x + quarters * pi / 2), and x^y. */
static LRT_INLINE vf act_sine(vf x, uint32_t quarters)
{
    LRT_ALIGNED float t[VL];
    v_store(t, x);
    for (unsigned e = 0; e < VL; e++)
        t[e] = sine(t[e], quarters);
    return v_load(t);
}
static LRT_INLINE vf v_power(vf x, vf y)
{
    LRT_ALIGNED float t[VL];
    LRT_ALIGNED float u[VL];
    v_store(t, x);
    v_store(u, y);
    for (unsigned e = 0; e < VL; e++)
        t[e] = power(t[e], u[e]);
    return v_load(t);
}

/* Any elementwise activation. */
#ifndef LRT_ACTIVATION
#define LRT_ACTIVATION static
#endif
LRT_ACTIVATION vf activation(const lrt_act *act, vf x)
{
    switch (act->kind) {
    case LRT_ACT_SIGMOID: return act_sigmoid(x);
    case LRT_ACT_TANH: return act_tanh(x);
    case LRT_ACT_RELU: return v_max(v_set1(0.0f), x);
    case LRT_ACT_HARD_SIGMOID: return clamp(v_fma(x, v_set1(act->alpha), v_set1(act->beta)), 0.0f, 1.0f);
    case LRT_ACT_LEAKY_RELU: return where_negative(x, v_mul(x, v_set1(act->alpha)), x);
    case LRT_ACT_ELU: return where_negative(x, v_mul(v_set1(act->alpha), expm1_nonpositive(x)), x);
    case LRT_ACT_SELU:
        return v_mul(v_set1(SELU_SCALE), where_negative(x, v_mul(v_set1(SELU_ALPHA), expm1_nonpositive(x)), x));
    case LRT_ACT_SOFTPLUS: return act_softplus(x);
    case LRT_ACT_SOFTSIGN: return v_div(x, v_add(v_set1(1.0f), v_abs(x)));
    case LRT_ACT_SWISH: /* sigmoid never reaches 0, which large negative x would show */
        return v_select(v_lt(x, v_set1(-EXP_LIMIT)), v_set1(0.0f), v_mul(x, act_sigmoid(x)));
    case LRT_ACT_GELU: return act_gelu(x);
    case LRT_ACT_GELU_TANH: return act_gelu_tanh(x);
    case LRT_ACT_EXP: return act_exp(x);
    case LRT_ACT_LOG: return act_log(x);
    case LRT_ACT_SQRT: return v_sqrt(x);
    case LRT_ACT_ABS: return v_abs(x);
    case LRT_ACT_SQUARE: return v_mul(x, x);
    case LRT_ACT_RECIPROCAL: return v_div(v_set1(1.0f), x);
    case LRT_ACT_CLIP: return clamp(x, act->alpha, act->beta);
    case LRT_ACT_HARD_SWISH:
        return v_mul(x, v_div(clamp(v_add(x, v_set1(3.0f)), 0.0f, 6.0f), v_set1(6.0f)));
    case LRT_ACT_MISH: return act_mish(x);
    case LRT_ACT_ERF: return erf_vec(x);
    case LRT_ACT_SIN: return act_sine(x, 0);
    case LRT_ACT_COS: return act_sine(x, 1);
    case LRT_ACT_SIGN: return act_sign(x);
    case LRT_ACT_FLOOR: return act_floor(x);
    case LRT_ACT_AFFINE: return v_fma(x, v_set1(act->alpha), v_set1(act->beta));
    case LRT_ACT_SCALED_TANH: return v_mul(v_set1(act->alpha), act_tanh(v_mul(v_set1(act->beta), x)));
    case LRT_ACT_THRESHOLDED_RELU:
        return unless_nan(x, v_select(v_lt(v_set1(act->alpha), x), x, v_set1(0.0f)));
    case LRT_ACT_CELU:
        return where_negative(x, v_mul(v_set1(act->alpha), expm1_nonpositive(v_div(x, v_set1(act->alpha)))), x);
    case LRT_ACT_POWER: return v_power(x, v_set1(act->alpha));
    default: return x;
    }
}

#endif

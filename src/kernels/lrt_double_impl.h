/* Functions that are computed element by element, in double precision: rare ones, whose arguments have to be looked at
 * closely. Only operations that IEEE-754 defines, in one order, so the bits are the same everywhere; and correct in
 * float but for the rounding of what is nearly half-way between two numbers. */
#ifndef LRT_DOUBLE_IMPL_H
#define LRT_DOUBLE_IMPL_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define PI_2 0x1.921fb54442d18p0 /* pi / 2 */
#define LN_2 0x1.62e42fefa39efp-1

static double double_of_bits(uint64_t bits)
{
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

/* x / (pi / 2) is q and a rest of at most 1/2 in size; returns the rest times pi / 2 and sets q modulo 4, of any
 * finite x (Payne & Hanek 1983). Of 2 / pi only those bits count that give neither multiples of 4 nor too little:
 * 96 of them, from where the exponent says. What is left of the product are 2 bits of q and 62 of the rest. */
static double quarter_turns(float x, uint32_t *q)
{
    /* The bits of 2 / pi after 64 zeros. */
    static const uint32_t two_over_pi[8] = {0, 0, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u,
                                            0x3c439041u};
    uint32_t bits, skip, at, shift, w[3], m;
    uint64_t p;
    int64_t rest;
    double r;
    memcpy(&bits, &x, sizeof bits);
    *q = 0;
    if (fabsf(x) < 0x1.921fb4p-1f)
        return (double)x;
    m = (bits << 8) | 0x80000000u; /* |x| = m 2^(exponent - 158), and so much further the window begins */
    skip = (bits >> 23 & 0xffu) - 96u;
    at = skip >> 5;
    shift = skip & 31u;
    for (uint32_t i = 0; i < 3; i++)
        w[i] = shift ? two_over_pi[at + i] << shift | two_over_pi[at + i + 1] >> (32u - shift) : two_over_pi[at + i];
    p = (uint64_t)m * w[2];
    p = (uint64_t)m * w[1] + (p >> 32);
    p += (uint64_t)(m * w[0]) << 32; /* modulo 4 */
    *q = (uint32_t)(p >> 62);
    p &= 0x3fffffffffffffffu;
    rest = (int64_t)p;
    if (p >> 61) {
        rest -= (int64_t)1 << 62;
        *q += 1;
    }
    r = (double)rest * (PI_2 * 0x1p-62);
    if (x < 0.0f)
        *q = 0u - *q;
    return x < 0.0f ? -r : r;
}

/* sin(x + quarters * pi / 2). */
static float sine(float x, uint32_t quarters)
{
    uint32_t q;
    double r, z, y;
    if (!(fabsf(x) <= 0x1.fffffep127f))
        return x - x;
    r = quarter_turns(x, &q);
    q += quarters;
    z = r * r;
    if (q & 1u) {
        y = 1.0 / 479001600.0;
        y = y * z - 1.0 / 3628800.0;
        y = y * z + 1.0 / 40320.0;
        y = y * z - 1.0 / 720.0;
        y = y * z + 1.0 / 24.0;
        y = y * z - 0.5;
        y = y * z + 1.0;
    } else {
        y = -1.0 / 39916800.0;
        y = y * z + 1.0 / 362880.0;
        y = y * z - 1.0 / 5040.0;
        y = y * z + 1.0 / 120.0;
        y = y * z - 1.0 / 6.0;
        y = r * (1.0 + y * z);
    }
    return (float)(q & 2u ? -y : y);
}

/* log2(x) of a finite x > 0: of 2^e m with m from sqrt(1/2) to sqrt(2) it is e and atanh((m - 1) / (m + 1)), as a sum. */
static double log2_double(double x)
{
    uint64_t bits;
    double e, m, s, z, y;
    memcpy(&bits, &x, sizeof bits);
    e = (double)(int)(bits >> 52) - 1023.0;
    m = double_of_bits((bits & 0x000fffffffffffffu) | 0x3ff0000000000000u);
    if (m > 0x1.6a09e667f3bcdp0) {
        m *= 0.5;
        e += 1.0;
    }
    s = (m - 1.0) / (m + 1.0);
    z = s * s;
    y = 1.0 / 15.0;
    y = y * z + 1.0 / 13.0;
    y = y * z + 1.0 / 11.0;
    y = y * z + 1.0 / 9.0;
    y = y * z + 1.0 / 7.0;
    y = y * z + 1.0 / 5.0;
    y = y * z + 1.0 / 3.0;
    y = y * z + 1.0;
    return e + s * y * (2.0 / LN_2);
}

/* 2^t, infinite or 0 where float has no such number. */
static float exp2_float(double t)
{
    double r, y;
    int n;
    t = t < -200.0 ? -200.0 : t > 200.0 ? 200.0 : t;
    n = (int)(t + 1024.5) - 1024; /* the nearest */
    r = (t - (double)n) * LN_2;
    y = 1.0 / 362880.0;
    y = y * r + 1.0 / 40320.0;
    y = y * r + 1.0 / 5040.0;
    y = y * r + 1.0 / 720.0;
    y = y * r + 1.0 / 120.0;
    y = y * r + 1.0 / 24.0;
    y = y * r + 1.0 / 6.0;
    y = y * r + 0.5;
    y = y * r + 1.0;
    y = y * r + 1.0;
    return (float)(y * double_of_bits((uint64_t)(1023 + n) << 52));
}

/* Is y an integer, and an odd one? */
static int is_integer(float y) { return fabsf(y) >= 0x1p24f || (float)(int)y == y; }
static int is_odd(float y) { return fabsf(y) < 0x1p24f && is_integer(y) && ((int)y & 1); }

/* x^y, with the special arguments of IEEE-754. */
static float power(float x, float y)
{
    const float size = fabsf(x);
    float r;
    if (y == 0.0f || x == 1.0f)
        return 1.0f;
    if (isnan(x) || isnan(y))
        return x + y;
    if (x < 0.0f && !isinf(x) && !is_integer(y))
        return NAN;
    if (isinf(y))
        r = size == 1.0f ? 1.0f : (size > 1.0f) == (y > 0.0f) ? INFINITY : 0.0f;
    else if (size == 0.0f || isinf(size))
        r = (size == 0.0f) == (y > 0.0f) ? 0.0f : INFINITY;
    else
        r = exp2_float((double)y * log2_double((double)size));
    return is_odd(y) ? copysignf(r, x) : r;
}

#endif

/* Every operation of one vocabulary against scalar C, bit for bit. Include one lrt_vec_<isa>.h, define
 * VEC_SUITE and, where multiply-adds round twice, VEC_TWICE; then include this. */
#include <string.h>

#include "helpers/check.h"
#include "kernels/vec_test.h"

static float lane(vf a, unsigned l)
{
    float t[VL];
    v_store(t, a);
    return t[l];
}

/* NaNs too must be the very same bits: where the contract only moves numbers about. */
static int exact(float got, float want) { return vec_bits(got) == vec_bits(want); }

static void check_lane(unsigned l, const float *pa, const float *pb, const float *pc, const vf *r)
{
    vec_expected e = vec_reference(pa[l], pb[l], pc[l]);
    CHECK(vec_same(lane(r[0], l), e.add));
    CHECK(vec_same(lane(r[1], l), e.sub));
    CHECK(vec_same(lane(r[2], l), e.mul));
    CHECK(vec_same(lane(r[3], l), e.div));
    CHECK(vec_equal(lane(r[4], l), e.max));
    CHECK(vec_equal(lane(r[5], l), e.min));
#ifdef VEC_TWICE
    CHECK(vec_same(lane(r[6], l), e.fma_twice));
    CHECK(vec_same(lane(r[7], l), e.fnma_twice));
#else
    CHECK(vec_same(lane(r[6], l), e.fma));
    CHECK(vec_same(lane(r[7], l), e.fnma));
#endif
    CHECK(vec_same(lane(r[8], l), e.sqrt));
    CHECK(exact(lane(r[9], l), e.abs));
    CHECK(exact(lane(r[10], l), e.select));
    CHECK(exact(lane(r[11], l), pa[0]));
}

static void arithmetic(const float *pa, const float *pb, const float *pc)
{
    vf a = v_load(pa), b = v_load(pb), c = v_load(pc);
    const vf r[12] = {v_add(a, b),     v_sub(a, b),     v_mul(a, b), v_div(a, b), v_max(a, b), v_min(a, b),
                      v_fma(a, b, c),  v_fnma(a, b, c), v_sqrt(a),   v_abs(a),    v_select(v_lt(a, b), c, a),
                      v_set1(pa[0])};
    for (unsigned l = 0; l < VL; l++)
        check_lane(l, pa, pb, pc, r);
}

static void powers_of_two(void)
{
    for (int n = -126; n <= 127; n++) {
        vf m = v_set1(0x1.8p23f + 127.0f + (float)n);
        for (unsigned l = 0; l < VL; l++)
            CHECK(exact(lane(v_pow2(m), l), vec_pow2(n)));
    }
}

/* Defined for normal numbers above 0. */
static void exponents(const float *p)
{
    for (unsigned i = 0; i + VL <= VEC_NUMBERS; i += VL) {
        vf a = v_load(p + i), e = v_exponent(a), m = v_mantissa(a);
        for (unsigned l = 0; l < VL; l++) {
            float x = p[i + l];
            if (!(x >= 0x1p-126f && x <= 0x1.fffffep127f))
                continue;
            CHECK(exact(lane(e, l), (float)vec_floor_log2(x)));
            CHECK(lane(m, l) >= 1.0f && lane(m, l) < 2.0f);
            CHECK(exact(lane(m, l) * vec_pow2(vec_floor_log2(x)), x));
        }
    }
}

/* Loads and stores of the first n floats, next to memory that cannot be touched on either side. */
static void check_part(const float *p, vf loaded, const float *stored, unsigned n)
{
    for (unsigned l = 0; l < VL; l++)
        CHECK(exact(lane(loaded, l), l < n ? p[l] : 0.0f));
    for (unsigned l = 0; l < n; l++)
        CHECK(exact(stored[l], p[l]));
}

static void parts_at(const float *p, float *at, unsigned n, int after)
{
    vf loaded;
    memcpy(at, p, n * sizeof(float));
    loaded = v_load_n(at, n);
    memset(at, 0xee, (after ? VL + 1 : n) * sizeof(float));
    v_store_n(at, v_load(p), n);
    check_part(p, loaded, at, n);
    for (unsigned l = n; after && l < VL + 1; l++)
        CHECK(vec_bits(at[l]) == 0xeeeeeeeeu);
}

/* With n known at compile time, some vocabularies take another way. */
#define PART_OF_KNOWN_SIZE(n)                          \
    do {                                               \
        float *at = vec_before_wall(n);                \
        vf loaded;                                     \
        memcpy(at, p, (n) * sizeof(float));            \
        loaded = v_load_n(at, n);                      \
        memset(at, 0xee, (n) * sizeof(float));         \
        v_store_n(at, v_load(p), n);                   \
        check_part(p, loaded, at, n);                  \
    } while (0)

static void parts(const float *p)
{
    for (unsigned n = 0; n <= VL; n++) {
        volatile unsigned hidden = n; /* not a constant */
        parts_at(p, vec_before_wall(n), hidden, 0);
        parts_at(p, vec_after_wall(), hidden, 1);
    }
    PART_OF_KNOWN_SIZE(4);
#if VL >= 8
    PART_OF_KNOWN_SIZE(8);
#endif
}

static void unaligned(const float *p)
{
    float t[VL + 1];
    for (unsigned shift = 0; shift < 4; shift++) {
        unsigned char raw[sizeof t + 4];
        memcpy(raw + 4, p, VL * sizeof(float));
        v_store((float *)(void *)t + shift % 2, v_load((const float *)(const void *)(raw + 4)));
        CHECK(memcmp(t + shift % 2, p, VL * sizeof(float)) == 0);
    }
}

/* Floats by their upper halves, of any kind, and at the end of what may be read. */
static void upper_halves(void)
{
    for (uint32_t at = 0; at < 65536; at += VL) {
        uint16_t *p = (uint16_t *)(void *)vec_before_wall(VL / 2);
        float t[VL];
        for (unsigned l = 0; l < VL; l++)
            p[l] = (uint16_t)(at + l);
        v_store(t, v_load_high(p));
        for (unsigned l = 0; l < VL; l++)
            CHECK(vec_bits(t[l]) == (at + l) << 16);
    }
}

/* ---- integers: their vectors are seen through sums of one element */

static int32_t half(uint32_t a, unsigned high) { return (int32_t)((a >> 16 * high & 0xffffu) ^ 0x8000u) - 0x8000; }

static void integer_arithmetic(const uint32_t *a, const uint32_t *b)
{
    const vi x = v_iload(a), y = v_iload(b);
    uint32_t add = 0, sub = 0, max = 0, most = a[0], dot = 0;
    for (unsigned l = 0; l < VL; l++) {
        add += a[l] + b[l];
        sub += a[l] - b[l];
        max += (int32_t)a[l] > (int32_t)b[l] ? a[l] : b[l];
        most = (int32_t)a[l] > (int32_t)most ? a[l] : most;
        dot += (uint32_t)(half(a[l], 0) * half(b[l], 0)) + (uint32_t)half(a[l], 1) * (uint32_t)half(b[l], 1);
        CHECK(exact(lane(v_ifloat(x), l), (float)(int32_t)a[l]));
        CHECK(exact(lane(v_ifloat(v_iadd(x, y)), l), (float)(int32_t)(a[l] + b[l])));
        CHECK(exact(lane(v_ifloat(v_isub(x, y)), l), (float)(int32_t)(a[l] - b[l])));
        CHECK(exact(lane(v_ifloat(v_imax(x, y)), l), (float)((int32_t)a[l] > (int32_t)b[l] ? (int32_t)a[l] : (int32_t)b[l])));
        CHECK(exact(lane(v_ifloat(v_iset1(a[0])), l), (float)(int32_t)a[0]));
    }
    CHECK(v_isum(v_iadd(x, y)) == add);
    CHECK(v_isum(v_isub(x, y)) == sub);
    CHECK(v_isum(v_imax(x, y)) == max);
    CHECK(v_imost(x) == most);
    CHECK(v_isum(v_total(v_dot16(v_dot16(v_azero(), x, y), x, y))) == 2 * dot);
}

static void bytes(const uint32_t *a, const uint32_t *b)
{
    const vi x = v_iload(a);
#if LRT_DOT8
    uint32_t dot = 0, shifted = 0;
    for (unsigned l = 0; l < VL; l++) {
        for (unsigned i = 0; i < 32; i += 8)
            dot += ((a[l] >> i & 255u) - (128u - LRT_BYTE_EXTRA)) * (uint32_t)(((b[l] >> i & 255u) ^ 128u) - 128u);
        shifted += a[l] << 8;
    }
    CHECK(v_isum(v_total8(v_dot8(v_azero(), v_bytes(x), v_iload(b)))) == dot);
    CHECK(v_isum(v_ishl8(x)) == shifted);
#ifdef LRT_DOT8_WORDS
    for (unsigned word = 0; word < LRT_DOT8_WORDS; word++) {
        const va one = v_dot8(v_azero(), v_bytes(x), v_iset1(b[word]));
        CHECK(v_isum(v_total8(v_dot8_word(one, v_bytes(x), v_iload(b), word))) == 2 * v_isum(v_total8(one)));
    }
#endif
#else
    for (unsigned l = 0; l < VL; l++) {
        CHECK(exact(lane(v_ifloat(v_even8(x)), l), (float)(a[l] & 0xff00ffu)));
        CHECK(exact(lane(v_ifloat(v_odd8(x)), l), (float)(a[l] >> 8 & 0xff00ffu)));
    }
    (void)b;
#endif
}

/* Rounding, and the ways into memory, which end where they say. */
static void stores(const uint32_t *bits)
{
    float f[VL];
    int32_t n[VL];
    vi q;
    for (unsigned l = 0; l < VL; l++) {
        n[l] = (int32_t)(bits[l] % 65279u) - 32639;
        f[l] = (float)n[l] + (l % 4 == 0 ? 0.5f : l % 4 == 1 ? -0.5f : l % 4 == 2 ? 0.25f : 0.0f);
        n[l] = (int32_t)(l % 4 == 0 ? n[l] + (n[l] & 1) : l % 4 == 1 ? n[l] - (n[l] & 1) : n[l]); /* to even */
    }
    q = v_round(v_load(f));
    for (unsigned l = 0; l < VL; l++) {
        CHECK(exact(lane(v_ifloat(q), l), (float)n[l]));
        CHECK(exact(lane(v_ifloat(v_magnitude(v_load(f))), l), (float)(vec_bits(f[l]) & 0x7fffffffu)));
    }
    {
        uint32_t *at = (uint32_t *)(void *)vec_before_wall(VL / 2);
        v_store_pairs(at, q);
        for (unsigned l = 0; l < VL; l++)
            CHECK(half(at[l / 2], l % 2) == n[l]);
    }
#if LRT_DOT8
    {
        uint32_t *low = (uint32_t *)(void *)vec_before_wall(VL / 2), *high = low + VL / 4;
        v_store_bytes(low, high, q);
        for (unsigned l = 0; l < VL; l++) {
            const int32_t lo = (int32_t)((low[l / 4] >> 8 * (l % 4) & 255u) ^ 128u) - 128;
            const int32_t hi = (int32_t)((high[l / 4] >> 8 * (l % 4) & 255u) ^ 128u) - 128;
            CHECK(n[l] > 32639 || 256 * hi + lo == n[l]);
        }
    }
#else
    {
        uint32_t *at = (uint32_t *)(void *)vec_before_wall(VL / 2);
        v_store_quads(at, q);
        for (unsigned l = 0; l < VL; l++)
            CHECK(half(at[l / 4 * 2 + l % 2], l % 4 / 2) == n[l]);
    }
#endif
}

static void integers(void)
{
    uint32_t seed = 99, a[VL], b[VL];
    for (unsigned round = 0; round < 2000; round++) {
        for (unsigned l = 0; l < VL; l++) {
            a[l] = round < 4 ? 0x80008000u : next_random(&seed);
            b[l] = round < 2 ? 0x7f7f7f7fu : next_random(&seed);
        }
        integer_arithmetic(a, b);
        bytes(a, b);
        stores(b);
    }
}

void VEC_SUITE(const char *name)
{
    const float *p = vec_numbers();
    check_context = name;
    for (unsigned i = 0; i + VL <= VEC_NUMBERS; i++) {
        unsigned j = i * 7 % (VEC_NUMBERS - VL), k = i * 13 % (VEC_NUMBERS - VL);
        arithmetic(p + i, p + j, p + k);
        arithmetic(p + i % 24, p + i / 24 % 24, p + k); /* pairs of specials */
        parts(p + i);
    }
    powers_of_two();
    exponents(p);
    unaligned(p);
    upper_halves();
    integers();
}

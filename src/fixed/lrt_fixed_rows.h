/* Products: rows of integers with a vector of int16. Four rows at a time, a quad:
 *
 *   start      4 words; int8: what the words' sums start at, then the sums of their lower bytes, of each pair
 *   weights    for every 8 inputs int16: of each row 8; int8: of each pair of rows 8, the second row's in the upper bytes
 *              (upper * 256 + lower)
 *   mult       4 words
 *
 * Sums go around in 32 bits; that the whole ones fit is what the exporter has checked. Of int8, two sums share a word's,
 * 256 upper + lower, from which the lower one is taken. Both are multiplied as 256 times what they are. */
#ifndef LRT_FIXED_ROWS_H
#define LRT_FIXED_ROWS_H

#define FIXED_CHUNKS(k) (((k) + 7u) / 8u)

#if LRT_FIXED_BITS == 8
#define FIXED_FINISH(z, a, b, c, d, w)                                                                                 \
    (z)[0] = fixed_high((int32_t)((uint32_t)(b) << 8), (w)[0]);                                                        \
    (z)[1] = fixed_high((int32_t)((uint32_t)(a) - (uint32_t)(b)), (w)[1]);                                             \
    (z)[2] = fixed_high((int32_t)((uint32_t)(d) << 8), (w)[2]);                                                        \
    (z)[3] = fixed_high((int32_t)((uint32_t)(c) - (uint32_t)(d)), (w)[3]);
#else
#define FIXED_FINISH(z, a, b, c, d, w)                                                                                 \
    (z)[0] = fixed_high((int32_t)(a), (w)[0]);                                                                         \
    (z)[1] = fixed_high((int32_t)(b), (w)[1]);                                                                         \
    (z)[2] = fixed_high((int32_t)(c), (w)[2]);                                                                         \
    (z)[3] = fixed_high((int32_t)(d), (w)[3]);
#endif

#if defined(LRT_FIXED_MVE)

/* gcc spends 12 instructions on what 10 do. */
#if LRT_FIXED_BITS == 8
#define FIXED_CHUNK                                                                                                    \
    "vldrh.u16 q1, [%[w]], #16\n\t"                                                                                    \
    "vldrh.u16 q2, [%[w]], #16\n\t"                                                                                    \
    "vmladava.s16 %[a], q1, q0\n\t"                                                                                    \
    "vmovlb.s8 q1, q1\n\t"                                                                                             \
    "vmladava.s16 %[c], q2, q0\n\t"                                                                                    \
    "vmovlb.s8 q2, q2\n\t"                                                                                             \
    "vmladava.s16 %[b], q1, q0\n\t"                                                                                    \
    "vmladava.s16 %[d], q2, q0\n\t"
#else
#define FIXED_ROW(sum, q)                                                                                              \
    "vldrh.u16 " q ", [%[w]], #16\n\t"                                                                                 \
    "vmladava.s16 %[" sum "], " q ", q0\n\t"
#define FIXED_CHUNK FIXED_ROW("a", "q1") FIXED_ROW("b", "q2") FIXED_ROW("c", "q3") FIXED_ROW("d", "q1")
#endif

#define FIXED_EIGHT "vldrh.u16 q0, [%[x]], #16\n\t" FIXED_CHUNK
#define FIXED_KEEP                                                                                                     \
    "vldrw.u32 q0, [%[w]], #16\n\t"                                                                                    \
    "vstrw.32 q0, [%[s], #48]\n\t"
#define FIXED_QUADS(products, multipliers)                                                                                          \
    __asm__ volatile("2:\n\t"                                                                                          \
                     "ldrd %[a], %[b], [%[w]], #8\n\t"                                                                 \
                     "ldrd %[c], %[d], [%[w]], #8\n\t"                                                                 \
                     "mov %[x], %[v]\n\t" products "strd %[a], %[b], [%[s]], #8\n\t"                                   \
                     "strd %[c], %[d], [%[s]], #8\n\t"                                                                 \
                     multipliers "subs %[u], %[u], #1\n\t"                                                                         \
                     "bne 2b\n\t"                                                                                      \
                     : [a] "=&Te"(a), [b] "=&Te"(b), [c] "=&Te"(c), [d] "=&Te"(d), [x] "=&r"(x), [w] "+r"(w),          \
                       [u] "+r"(quads), [s] "+r"(sums)                                                                 \
                     : [n] "r"(loops), [v] "r"(v)                                                                     \
                     : "lr", "q0", "q1", "q2", "q3", "cc", "memory")

/* The sums of some quads as they are, four words each; returns what is behind the quads. often: multipliers are put 64 bytes
 * behind the sums, and k is a constant of the model, for which one of the ways remains. */
static LRT_FIXED_INLINE const int32_t *fixed_raw(const int32_t *w, const int16_t *v, uint32_t k, uint32_t quads, int32_t *sums,
                                                 int often)
{
    int32_t a, b, c, d;
    const int16_t *x;
    const uint32_t chunks = FIXED_CHUNKS(k), loops = often ? chunks / 2 : chunks;
    if (!often)
        FIXED_QUADS("dls lr, %[n]\n\t1:\n\t" FIXED_EIGHT "le lr, 1b\n\t", "add %[w], %[w], #16\n\t");
    else if (chunks == 1)
        FIXED_QUADS(FIXED_EIGHT, FIXED_KEEP);
    else if (chunks == 2)
        FIXED_QUADS(FIXED_EIGHT FIXED_EIGHT, FIXED_KEEP);
    else if (chunks == 3)
        FIXED_QUADS(FIXED_EIGHT FIXED_EIGHT FIXED_EIGHT, FIXED_KEEP);
    else if (chunks % 2)
        FIXED_QUADS(FIXED_EIGHT "dls lr, %[n]\n\t1:\n\t" FIXED_EIGHT FIXED_EIGHT "le lr, 1b\n\t", FIXED_KEEP);
    else
        FIXED_QUADS("dls lr, %[n]\n\t1:\n\t" FIXED_EIGHT FIXED_EIGHT "le lr, 1b\n\t", FIXED_KEEP);
    return w;
}

static LRT_FIXED_INLINE const int32_t *fixed_quad(const int32_t *w, const int16_t *v, uint32_t k, int32_t *z)
{
    int32_t s[4];
    w = fixed_raw(w, v, k, 1, s, 0);
    FIXED_FINISH(z, s[0], s[1], s[2], s[3], w - 4)
    return w;
}

#elif defined(LRT_FIXED_DSP)

/* gcc makes a load for each word of C; 29 instructions are for 32 products here, and 25 where weights are int16. FIXED_ONE
 * takes a word of weights, FIXED_TWO two. */
#if LRT_FIXED_BITS == 8
#define FIXED_ONE(sum, low, word, x)                                                                                   \
    "smlad %[" sum "], %[" word "], " x ", %[" sum "]\n\t"                                                             \
    "sxtb16 %[" word "], %[" word "]\n\t"                                                                              \
    "smlad %[" low "], %[" word "], " x ", %[" low "]\n\t"
#define FIXED_ROWS(what) what("a", "b", 0) what("c", "d", 16)
#define FIXED_AT(sum, low, at, first, x, y)                                                                            \
    "ldrd %[s], %[t], [%[w], #" #at "+" #first "]\n\t" FIXED_ONE(sum, low, "s", x) FIXED_ONE(sum, low, "t", y)
#define FIXED_LAST(sum, low, at, first, x)                                                                             \
    "ldr %[s], [%[w], #" #at "+" #first "]\n\t" FIXED_ONE(sum, low, "s", x)
#define FIXED_ON(sum, low, x, y)                                                                                       \
    "ldrd %[s], %[t], [%[w]], #8\n\t" FIXED_ONE(sum, low, "s", x) FIXED_ONE(sum, low, "t", y)
#define FIXED_8(sum, low, at) FIXED_ON(sum, low, "r8", "r9") FIXED_ON(sum, low, "r10", "r11")
#define FIXED_6(sum, low, at) FIXED_AT(sum, low, at, 0, "r8", "r9") FIXED_LAST(sum, low, at, 8, "r10")
#define FIXED_4(sum, low, at) FIXED_AT(sum, low, at, 0, "r8", "r9")
#define FIXED_2(sum, low, at) FIXED_LAST(sum, low, at, 0, "r8")
#define FIXED_NEXT "add %[w], %[w], #32\n\t"
#define FIXED_ASM_FINISH                                                                                               \
    "sub %[a], %[a], %[b]\n\t"                                                                                         \
    "sub %[c], %[c], %[d]\n\t"                                                                                         \
    "lsl %[b], %[b], #8\n\t"                                                                                           \
    "lsl %[d], %[d], #8\n\t"                                                                                           \
    "smmul %[b], %[b], r8\n\t"                                                                                         \
    "smmul %[a], %[a], r9\n\t"                                                                                         \
    "smmul %[d], %[d], r10\n\t"                                                                                        \
    "smmul %[c], %[c], r11\n\t"
#else
#define FIXED_ONE(sum, word, x) "smlad %[" sum "], %[" word "], " x ", %[" sum "]\n\t"
#define FIXED_ROWS(what) what("a", 0) what("b", 16) what("c", 32) what("d", 48)
#define FIXED_AT(sum, at, first, x, y)                                                                                 \
    "ldrd %[s], %[t], [%[w], #" #at "+" #first "]\n\t" FIXED_ONE(sum, "s", x) FIXED_ONE(sum, "t", y)
#define FIXED_LAST(sum, at, first, x) "ldr %[s], [%[w], #" #at "+" #first "]\n\t" FIXED_ONE(sum, "s", x)
#define FIXED_ON(sum, x, y) "ldrd %[s], %[t], [%[w]], #8\n\t" FIXED_ONE(sum, "s", x) FIXED_ONE(sum, "t", y)
#define FIXED_8(sum, at) FIXED_ON(sum, "r8", "r9") FIXED_ON(sum, "r10", "r11")
#define FIXED_6(sum, at) FIXED_AT(sum, at, 0, "r8", "r9") FIXED_LAST(sum, at, 8, "r10")
#define FIXED_4(sum, at) FIXED_AT(sum, at, 0, "r8", "r9")
#define FIXED_2(sum, at) FIXED_LAST(sum, at, 0, "r8")
#define FIXED_NEXT "add %[w], %[w], #64\n\t"
#define FIXED_ASM_FINISH                                                                                               \
    "smmul %[a], %[a], r8\n\t"                                                                                         \
    "smmul %[b], %[b], r9\n\t"                                                                                         \
    "smmul %[c], %[c], r10\n\t"                                                                                        \
    "smmul %[d], %[d], r11\n\t"
#endif
#define FIXED_CHUNK "ldmia %[v]!, {r8-r11}\n\t" FIXED_ROWS(FIXED_8)
#define FIXED_ASM(text)                                                                                                \
    __asm__ volatile(text                                                                                              \
                     : [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d), [s] "=&r"(s), [t] "=&r"(t), [w] "+r"(w),    \
                       [v] "+r"(v)                                                                                     \
                     :                                                                                                 \
                     : "r8", "r9", "r10", "r11", "cc", "memory")

/* k is a constant of the model: one way through remains. Of the last chunk only the words that count are taken. often:
 * worth some more code. */
static LRT_FIXED_INLINE const int32_t *fixed_quad_of(const int32_t *w, const int16_t *v, uint32_t k, int32_t *z, int often)
{
    int32_t a = w[0], b = w[1], c = w[2], d = w[3], s, t;
    const uint32_t words = (k + 1) / 2, last = words % 4;
    uint32_t whole = words / 4;
    w += 4;
    if (often && whole < 4) {
        if (whole & 1)
            FIXED_ASM(FIXED_CHUNK);
        if (whole & 2)
            FIXED_ASM(FIXED_CHUNK FIXED_CHUNK);
    } else if (whole)
        __asm__ volatile("1:\n\t" FIXED_CHUNK "subs %[n], %[n], #1\n\t"
                         "bne 1b\n\t"
                         : [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d), [s] "=&r"(s), [t] "=&r"(t), [w] "+r"(w),
                           [v] "+r"(v), [n] "+r"(whole)
                         :
                         : "r8", "r9", "r10", "r11", "cc", "memory");
    if (last == 3)
        FIXED_ASM("ldmia %[v], {r8-r10}\n\t" FIXED_ROWS(FIXED_6) FIXED_NEXT);
    else if (last == 2)
        FIXED_ASM("ldrd r8, r9, [%[v]]\n\t" FIXED_ROWS(FIXED_4) FIXED_NEXT);
    else if (last == 1)
        FIXED_ASM("ldr r8, [%[v]]\n\t" FIXED_ROWS(FIXED_2) FIXED_NEXT);
    FIXED_ASM("ldmia %[w]!, {r8-r11}\n\t" FIXED_ASM_FINISH);
    z[0] = LRT_FIXED_BITS == 8 ? b : a;
    z[1] = LRT_FIXED_BITS == 8 ? a : b;
    z[2] = LRT_FIXED_BITS == 8 ? d : c;
    z[3] = LRT_FIXED_BITS == 8 ? c : d;
    return w;
}

static LRT_FIXED_INLINE const int32_t *fixed_quad(const int32_t *w, const int16_t *v, uint32_t k, int32_t *z)
{
    return fixed_quad_of(w, v, k, z, 0);
}

#else

/* Sums stay in their registers: left alone, gcc first adds up the products, for which it has none. */
#if defined(__GNUC__)
#define FIXED_ADD(sum, product)                                                                                        \
    sum += (uint32_t)(product);                                                                                        \
    __asm__("" : "+r"(sum));
#else
#define FIXED_ADD(sum, product) sum += (uint32_t)(product);
#endif

#if LRT_FIXED_BITS == 8
#define FIXED_PAIR(both, low, at)                                                                                      \
    y = w[at];                                                                                                         \
    FIXED_ADD(both, y *x)                                                                                              \
    FIXED_ADD(low, (int8_t)y * x)
#define FIXED_INPUT(i)                                                                                                 \
    x = v[i];                                                                                                          \
    FIXED_PAIR(a, b, i)                                                                                                \
    FIXED_PAIR(c, d, i + 8)
#else
#define FIXED_INPUT(i)                                                                                                 \
    x = v[i];                                                                                                          \
    y = w[i];                                                                                                          \
    FIXED_ADD(a, y *x)                                                                                                 \
    y = w[i + 8];                                                                                                      \
    FIXED_ADD(b, y *x)                                                                                                 \
    y = w[i + 16];                                                                                                     \
    FIXED_ADD(c, y *x)                                                                                                 \
    y = w[i + 24];                                                                                                     \
    FIXED_ADD(d, y *x)
#endif

static LRT_FIXED_INLINE const int32_t *fixed_quad(const int32_t *start, const int16_t *v, uint32_t k, int32_t *z)
{
    uint32_t a = (uint32_t)start[0], b = (uint32_t)start[1], c = (uint32_t)start[2], d = (uint32_t)start[3];
    const fixed_int16_of *w = (const fixed_int16_of *)(const void *)(start + 4);
    uint32_t chunks = FIXED_CHUNKS(k);
    do {
        int32_t x, y;
        FIXED_INPUT(0)
        FIXED_INPUT(1)
        FIXED_INPUT(2)
        FIXED_INPUT(3)
        FIXED_INPUT(4)
        FIXED_INPUT(5)
        FIXED_INPUT(6)
        FIXED_INPUT(7)
        v += 8;
        w += LRT_FIXED_BITS == 8 ? 16 : 32;
    } while (--chunks);
    const int32_t *mult = (const int32_t *)(const void *)w;
    FIXED_FINISH(z, a, b, c, d, mult)
    return mult + 4;
}

#endif

/* z of some quads; returns what is behind them. */
static const int32_t *fixed_rows(const int32_t *w, const int16_t *v, uint32_t k, uint32_t quads, int32_t *z)
{
    const int32_t *const end = z + 4 * quads;
    do {
        w = fixed_quad(w, v, k, z);
        z += 4;
    } while (z != end);
    return w;
}

#endif

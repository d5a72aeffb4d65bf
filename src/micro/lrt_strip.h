/* Products of strips: z = init + x W for `width` outputs and k inputs. */
#ifndef LRT_STRIP_H
#define LRT_STRIP_H

/* In C: the sums of `strips` of them, one after the other in memory, stay in registers where there are enough. */
static LRT_INLINE void strips_in_c(const unsigned strips, const unsigned width, float *z, const float *init, const float *w,
                                   const float *x, uint32_t k)
{
    vf sum[2 * 4 * LRT_LANES < 16 ? 16 : 2 * 4 * LRT_LANES / VL];
    const unsigned each = width / VL;
    LRT_UNROLL for (unsigned v = 0; v < strips * each; v++)
        sum[v] = v_load(init + v * VL);
    LRT_UNROLL_K for (uint32_t i = 0; i < k; i++) {
        const vf xv = v_set1(x[i]);
        LRT_UNROLL for (unsigned s = 0; s < strips; s++)
            LRT_UNROLL for (unsigned v = 0; v < each; v++)
                sum[s * each + v] = v_fma(xv, v_load(w + s * width * k + v * VL), sum[s * each + v]);
        w += width;
    }
    LRT_UNROLL for (unsigned v = 0; v < strips * each; v++)
        v_store(z + v * VL, sum[v]);
}

/* Of one that may be narrower than a vector. */
static LRT_INLINE void strip_in_c(const unsigned width, float *z, const float *init, const float *w, const float *x, uint32_t k)
{
    if (width % VL == 0) {
        strips_in_c(1, width, z, init, w, x, k);
        return;
    }
    for (unsigned j = 0; j < width; j++) {
        float sum = init[j];
        for (uint32_t i = 0; i < k; i++)
            sum = s_fma(x[i], w[i * width + j], sum);
        z[j] = sum;
    }
}

#ifdef LRT_MICRO_VFP
#define VFMA(sum, w, x) "vfma.f32 s" #sum ", s" #w ", s" #x "\n\t"
#define VFMA4(s0, s1, s2, s3, w0, w1, w2, w3, x) VFMA(s0, w0, x) VFMA(s1, w1, x) VFMA(s2, w2, x) VFMA(s3, w3, x)
#define VFMA_0_3(w0, w1, w2, w3, x) VFMA4(0, 1, 2, 3, w0, w1, w2, w3, x)
#define VFMA_4_7(w0, w1, w2, w3, x) VFMA4(4, 5, 6, 7, w0, w1, w2, w3, x)
#define VFMA_8_11(w0, w1, w2, w3, x) VFMA4(8, 9, 10, 11, w0, w1, w2, w3, x)
#define VFMA_12_15(w0, w1, w2, w3, x) VFMA4(12, 13, 14, 15, w0, w1, w2, w3, x)
#define LOAD_12 "vldmia %[w]!, {s16-s27}\n\t"
#define CLOBBERED                                                                                                      \
    "cc", "memory", "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14",    \
        "s15", "s16", "s17", "s18", "s19", "s20", "s21", "s22", "s23", "s24", "s25", "s26", "s27", "s28", "s29", "s30"

#ifdef LRT_STRIP_REST
#define STRIP_REST(one)                                                                   \
    "cmp %[rest], #0\n\t"                                                                 \
    "beq 4f\n"                                                                            \
    "3:\n\t"                                                                             \
    "vldmia %[x]!, {s28}\n\t" LOAD_12                                                    \
    VFMA_0_3(16, 17, 18, 19, 28) VFMA_4_7(20, 21, 22, 23, 28) VFMA_8_11(24, 25, 26, 27, 28) one \
    "subs %[rest], #1\n\t"                                                               \
    "bne 3b\n"                                                                            \
    "4:\n\t"
#else
#define STRIP_REST(one)
#endif
/* No compiler loads several registers by one instruction here: up to 16 sums, 12 weights and 3 inputs at a time. three: what
 * follows the first 12 products of three inputs; one: those of one. */
#define STRIP(sums, three, one)                                                           \
    uint32_t threes = k / 3, rest = k - 3 * threes;                                       \
    __asm__ volatile("vldmia %[init], {" sums "}\n\t"                                     \
                     "cmp %[threes], #0\n\t"                                              \
                     "beq 2f\n"                                                           \
                     "1:\n\t"                                                            \
                     "vldmia %[x]!, {s28-s30}\n\t" LOAD_12                               \
                     VFMA_0_3(16, 17, 18, 19, 28) VFMA_4_7(20, 21, 22, 23, 28) VFMA_8_11(24, 25, 26, 27, 28) three \
                     "subs %[threes], #1\n\t"                                             \
                     "bne 1b\n"                                                           \
                     "2:\n\t" STRIP_REST(one)                                            \
                     "vstmia %[z], {" sums "}"                                             \
                     : [threes] "+l"(threes), [rest] "+l"(rest), [w] "+r"(w), [x] "+r"(x)  \
                     : [z] "r"(z), [init] "r"(init)                                        \
                     : CLOBBERED)

static LRT_NEVER_INLINE void strip_16(float *z, const float *init, const float *w, const float *x, uint32_t k)
{
    STRIP("s0-s15",
          LOAD_12 VFMA_12_15(16, 17, 18, 19, 28) VFMA_0_3(20, 21, 22, 23, 29) VFMA_4_7(24, 25, 26, 27, 29)
          LOAD_12 VFMA_8_11(16, 17, 18, 19, 29) VFMA_12_15(20, 21, 22, 23, 29) VFMA_0_3(24, 25, 26, 27, 30)
          LOAD_12 VFMA_4_7(16, 17, 18, 19, 30) VFMA_8_11(20, 21, 22, 23, 30) VFMA_12_15(24, 25, 26, 27, 30),
          "vldmia %[w]!, {s16-s19}\n\t" VFMA_12_15(16, 17, 18, 19, 28));
}

static LRT_NEVER_INLINE void strip_12(float *z, const float *init, const float *w, const float *x, uint32_t k)
{
    STRIP("s0-s11",
          LOAD_12 VFMA_0_3(16, 17, 18, 19, 29) VFMA_4_7(20, 21, 22, 23, 29) VFMA_8_11(24, 25, 26, 27, 29)
          LOAD_12 VFMA_0_3(16, 17, 18, 19, 30) VFMA_4_7(20, 21, 22, 23, 30) VFMA_8_11(24, 25, 26, 27, 30), );
}
#elif defined(LRT_MICRO_HELIUM)
/* Four times four outputs for one input, whose weights begin so many bytes after w. */
#define LOAD_Q(q, at) "vldrw.u32 q" #q ", [%[w], #" #at "]\n\t"
#define VFMA_Q(sum, w, x) "vfma.f32 q" #sum ", q" #w ", %[" #x "]\n\t"
#define CLOBBERED "cc", "memory", "lr", "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7"

static LRT_NEVER_INLINE void strip_16(float *z, const float *init, const float *w, const float *x, uint32_t k)
{
    const uint32_t pairs = k / 2, rest = k % 2;
    float *x0, *x1; /* the bits of inputs: registers of the core */
    __asm__ volatile(
        "vldrw.u32 q0, [%[init]]\n\t"
        "vldrw.u32 q1, [%[init], #16]\n\t"
        "vldrw.u32 q2, [%[init], #32]\n\t"
        "vldrw.u32 q3, [%[init], #48]\n\t"
        "wls lr, %[pairs], 2f\n"
        "1:\n\t"
        "ldrd %[x0], %[x1], [%[x]], #8\n\t"
        LOAD_Q(4, 0) VFMA_Q(0, 4, x0) LOAD_Q(5, 16) VFMA_Q(1, 5, x0) LOAD_Q(6, 32) VFMA_Q(2, 6, x0) LOAD_Q(7, 48) VFMA_Q(3, 7, x0)
        LOAD_Q(4, 64) VFMA_Q(0, 4, x1) LOAD_Q(5, 80) VFMA_Q(1, 5, x1) LOAD_Q(6, 96) VFMA_Q(2, 6, x1) LOAD_Q(7, 112) VFMA_Q(3, 7, x1)
        "adds %[w], #128\n\t"
        "le lr, 1b\n"
        "2:\n\t"
#ifdef LRT_STRIP_ODD
        "cmp %[rest], #0\n\t"
        "beq 3f\n\t"
        "ldr %[x0], [%[x]]\n\t"
        LOAD_Q(4, 0) LOAD_Q(5, 16) LOAD_Q(6, 32) LOAD_Q(7, 48)
        VFMA_Q(0, 4, x0) VFMA_Q(1, 5, x0) VFMA_Q(2, 6, x0) VFMA_Q(3, 7, x0)
        "3:\n\t"
#endif
        "vstrw.32 q0, [%[z]]\n\t"
        "vstrw.32 q1, [%[z], #16]\n\t"
        "vstrw.32 q2, [%[z], #32]\n\t"
        "vstrw.32 q3, [%[z], #48]"
        : [x0] "=&r"(x0), [x1] "=&r"(x1), [w] "+l"(w), [x] "+l"(x)
        : [z] "l"(z), [init] "l"(init), [pairs] "r"(pairs), [rest] "r"(rest)
        : CLOBBERED);
}

static LRT_NEVER_INLINE void strip_12(float *z, const float *init, const float *w, const float *x, uint32_t k)
{
    const uint32_t pairs = k / 2, rest = k % 2;
    float *x0, *x1;
    __asm__ volatile(
        "vldrw.u32 q0, [%[init]]\n\t"
        "vldrw.u32 q1, [%[init], #16]\n\t"
        "vldrw.u32 q2, [%[init], #32]\n\t"
        "wls lr, %[pairs], 2f\n"
        "1:\n\t"
        "ldrd %[x0], %[x1], [%[x]], #8\n\t"
        LOAD_Q(4, 0) VFMA_Q(0, 4, x0) LOAD_Q(5, 16) VFMA_Q(1, 5, x0) LOAD_Q(6, 32) VFMA_Q(2, 6, x0)
        LOAD_Q(4, 48) VFMA_Q(0, 4, x1) LOAD_Q(5, 64) VFMA_Q(1, 5, x1) LOAD_Q(6, 80) VFMA_Q(2, 6, x1)
        "adds %[w], #96\n\t"
        "le lr, 1b\n"
        "2:\n\t"
#ifdef LRT_STRIP_ODD
        "cmp %[rest], #0\n\t"
        "beq 3f\n\t"
        "ldr %[x0], [%[x]]\n\t"
        LOAD_Q(4, 0) LOAD_Q(5, 16) LOAD_Q(6, 32)
        VFMA_Q(0, 4, x0) VFMA_Q(1, 5, x0) VFMA_Q(2, 6, x0)
        "3:\n\t"
#endif
        "vstrw.32 q0, [%[z]]\n\t"
        "vstrw.32 q1, [%[z], #16]\n\t"
        "vstrw.32 q2, [%[z], #32]"
        : [x0] "=&r"(x0), [x1] "=&r"(x1), [w] "+l"(w), [x] "+l"(x)
        : [z] "l"(z), [init] "l"(init), [pairs] "r"(pairs), [rest] "r"(rest)
        : CLOBBERED);
}
#else
static LRT_NEVER_INLINE void strip_16(float *z, const float *init, const float *w, const float *x, uint32_t k)
{
    strip_in_c(16, z, init, w, x, k);
}
static LRT_NEVER_INLINE void strip_12(float *z, const float *init, const float *w, const float *x, uint32_t k)
{
    strip_in_c(12, z, init, w, x, k);
}
#endif

/* One panel of a cell with so many gates. */
static LRT_INLINE void strip_of(const unsigned gates, float *z, const float *init, const float *w, const float *x, uint32_t k)
{
    if (VL <= 4 && gates * LRT_LANES == 16)
        strip_16(z, init, w, x, k);
    else if (VL <= 4 && gates * LRT_LANES == 12)
        strip_12(z, init, w, x, k);
    else
        strip_in_c(gates * LRT_LANES, z, init, w, x, k);
}
#endif

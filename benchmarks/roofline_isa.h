/* The two loops of roofline.c for one instruction set. Included once for each, with
 *
 *   ISA           its name, part of the functions' names
 *   VECTOR        bytes of a vector
 *   SUMS          sums in flight: at least latency times FMAs per cycle, and they must fit the registers
 *   TARGET        attribute for the compiler, or nothing
 *
 * Vectors are the compiler's own (GCC and Clang), so that one text serves all.
 */

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAME(what) JOIN(what, ISA)

typedef float NAME(floats) __attribute__((vector_size(VECTOR)));

/* `times` x SUMS multiply-adds of whole vectors; the compiler makes them fused where the target can. */
TARGET static double NAME(multiply_add)(size_t times)
{
    NAME(floats) sum[SUMS], factor = {0}, term = {0}, total = {0};
    factor += factor_and_term[0];
    term += factor_and_term[1];
    UNROLL for (int i = 0; i < SUMS; i++)
        sum[i] = term * (float)i;
    for (size_t t = 0; t < times; t++)
        UNROLL for (int i = 0; i < SUMS; i++)
            sum[i] = sum[i] * factor + term;
    UNROLL for (int i = 0; i < SUMS; i++)
        total += sum[i];
    return (double)total[0];
}

/* Reads `bytes`, a multiple of 8 vectors, `times` over: loads and nothing else. Adding up what they bring, or
 * XOR, would take the units of arithmetic as much time as the loads from the first cache take. */
TARGET static void NAME(read_all)(const void *memory, size_t bytes, size_t times)
{
    const NAME(floats) *v = memory;
    const size_t count = bytes / VECTOR;
    for (size_t t = 0; t < times; t++)
        for (size_t at = 0; at < count; at += 8)
            UNROLL for (size_t i = 0; i < 8; i++)
                __asm__ volatile("" : : VECTOR_REGISTER(v[at + i]) : "memory");
}

static const struct isa NAME(isa) = {
    NAME_TEXT(ISA), 2.0 * SUMS * VECTOR / 4, NAME(multiply_add), NAME(read_all),
};

#undef JOIN_
#undef JOIN
#undef NAME
#undef ISA
#undef VECTOR
#undef SUMS
#undef TARGET

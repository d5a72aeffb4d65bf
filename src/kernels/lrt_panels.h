/* Where the weights of a layer stand.
 *
 * Layout of a weight matrix ("panels"): the units of a layer are cut into panels of 16, and the
 * remainder into at most one panel of 8 and one of 4 (a remainder of 13 to 15 into one of 16).
 * A panel of W units holds, for each input k in turn, W weights of the first gate, W of the
 * second, ...: [panel][k][gate][unit]. One such stretch of gates * W floats is a line of the
 * panel. Biases and pre-activations use the same order with a single k.
 *
 * Of a matrix with many zeros only blocks are there: a *strip* is one gate of a panel, number panel * gates + gate, and a
 * block of it is what its units have for one input (or one word of inputs, lrt_integers.h): LRT_PANEL numbers, of which a
 * narrower panel uses the first. */
#ifndef LRT_PANELS_H
#define LRT_PANELS_H

#include <stdint.h>

#define LRT_PANEL 16        /* units of a full panel */
#define LRT_OVERREAD 16     /* floats that a kernel may read past the end of a panel's line */
#define LRT_MAX_GATES 4

/* Width of panel p of `units` units, and where it starts. */
static inline uint32_t lrt_tail_units(uint32_t units)
{
    uint32_t rest = units % LRT_PANEL;
    return rest > 12 ? 0 : rest; /* 13 to 15 fill a whole panel */
}
static inline uint32_t lrt_full_panels(uint32_t units)
{
    return (units - lrt_tail_units(units) + LRT_PANEL - 1) / LRT_PANEL;
}
static inline uint32_t lrt_panel_count(uint32_t units)
{
    uint32_t tail = lrt_tail_units(units);
    return lrt_full_panels(units) + (tail > 4) + (tail > 8 || (tail > 0 && tail <= 4));
}
static inline uint32_t lrt_padded_units(uint32_t units)
{
    uint32_t tail = lrt_tail_units(units);
    return lrt_full_panels(units) * LRT_PANEL + (tail + 3) / 4 * 4;
}
static inline uint32_t lrt_panel_start(uint32_t units, uint32_t p)
{
    uint32_t full = lrt_full_panels(units);
    if (p <= full)
        return p * LRT_PANEL;
    return p == full + 1 && lrt_tail_units(units) > 4 ? full * LRT_PANEL + 8 : lrt_padded_units(units);
}
static inline uint32_t lrt_panel_width(uint32_t units, uint32_t p)
{
    return lrt_panel_start(units, p + 1) - lrt_panel_start(units, p);
}

#endif

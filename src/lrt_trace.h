/* Private to the core: pieces of what nodes compute, for a caller who traces a call (lstm_rt.h). */
#ifndef LRT_TRACE_H
#define LRT_TRACE_H

#include "kernels/lrt_kernels.h"
#include "lrt_pass.h"

static inline int lrt_is_traced(const lrt_session *s) { return LRT_WITH_TRACE && s->trace != NULL; }

/* Of the node, direction, row and step of the piece. */
static inline void lrt_tell(const lrt_pass *pass, lrt_traced *piece, lrt_traced_kind what, uint32_t from, uint32_t count,
                            const float *values)
{
    piece->what = what;
    piece->from = from;
    piece->count = count;
    piece->values = values;
    if (count)
        pass->s->trace(pass->s->trace_context, piece);
}

/* Gates in panel order, of panels p0 <= p < p1 of `units` units that come after `before` others; `first` is the first of
 * as many kinds as there are gates. */
static inline void lrt_tell_gates(const lrt_pass *pass, lrt_traced *piece, lrt_traced_kind first, uint32_t gates,
                                  const float *pre, uint32_t before, uint32_t units, uint32_t p0, uint32_t p1)
{
    for (uint32_t p = p0; p < p1; p++) {
        const uint32_t unit = lrt_panel_start(units, p), width = lrt_panel_width(units, p);
        for (uint32_t g = 0; g < gates; g++)
            lrt_tell(pass, piece, (lrt_traced_kind)(first + g), before + unit, lrt_smaller(width, units - unit),
                     pre + (size_t)unit * gates + (size_t)g * width);
    }
}

#endif

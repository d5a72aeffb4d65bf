/* Windows over time, height and width: their geometry, where their places are, and the steps that are kept from one
 * pass or call to the next.
 *
 * Features of a step, or of a vector, are an image (height, width, channels), row by row. Time is the first of three
 * dimensions, height and width are the others. */
#ifndef LRT_WINDOW_H
#define LRT_WINDOW_H

#include "lrt_pass.h"
#include "ops/lrt_check.h"

#define LRT_WINDOW_TIME (1u << 28) /* most of strides and padding over time */
#define LRT_PLACES 64u             /* places of a window that are looked up at a time */

typedef struct {
    uint32_t size[3], channels; /* of the image; size[0], its steps, plays no part */
    uint32_t kernel[3], stride[3], dilation[3], before[3], after[3];
    uint32_t out[3]; /* windows over height and width */
    int whole;       /* steps beyond a row's length are inside */
} lrt_window;

/* ---- checks ------------------------------------------------------------------------------------------------ */

/* Attributes 0 to 11 and 13, as of conv and pool; over images of so many features. Or those of two u16. */
int lrt_read_window(const lrt_checker *c, uint32_t features, lrt_window *w);
static inline void lrt_read_pair(uint32_t attr, uint32_t *first, uint32_t *second)
{
    *first = attr & 0xffffu;
    *second = attr >> 16;
}

/* The image is one of so many features, and there is a window; fills in channels and out. */
int lrt_fit_window(lrt_window *w, uint32_t features);

/* Steps between the first that a window reads and the last. */
static inline uint32_t lrt_window_span(const lrt_window *w) { return w->dilation[0] * (w->kernel[0] - 1); }

/* Is there a window for each step, with none later than its step? Then streams keep the steps before. */
int lrt_window_streams(const lrt_window *w);

/* The next output is one of so many channels for each window over x, on the axis that follows. */
int lrt_want_windows(lrt_checker *c, const lrt_value *x, const lrt_window *w, uint32_t channels);

/* Windows that look at later steps need them. */
uint32_t lrt_window_hinders(const lrt_checker *c);

/* ---- steps that are kept ------------------------------------------------------------------------------------ */

/* The last steps of each row before those of the pass. A row has room for twice as many: they slide towards its end,
 * and are moved to its beginning only when they have come there. */
typedef struct {
    uint32_t depth; /* how many; 0: none */
    uint32_t features;
    int is_state;   /* they are the caller's, and come from the call before */
    int counted;    /* and behind them stands how many there have been: others are not inside */
    float *rows;
    size_t stride;  /* floats from row to row; in the last one stands, as a uint32_t, by how many steps they have slid */
} lrt_past;

void lrt_plan_past(lrt_planner *p, lrt_past *past, const lrt_value *x, const lrt_window *w, int counted);

/* What a row's windows see in this pass. Steps are counted from the first one of the call. */
typedef struct {
    const float *x; /* steps [from, to) */
    ptrdiff_t step;
    int64_t from, to;
    const float *kept; /* steps [first, end), those that are inside; `first` at kept */
    int64_t first, end;
    size_t features;
} lrt_look;

void lrt_look_at(const lrt_pass *pass, uint32_t value, const lrt_window *w, const lrt_past *past, uint32_t row,
                 lrt_look *look);

/* Features of a step, or NULL where it is not inside. */
static inline const float *lrt_look_step(const lrt_look *look, int64_t t)
{
    if (t >= look->from)
        return t < look->to ? look->x + (ptrdiff_t)(t - look->from) * look->step : NULL;
    return t >= look->first && t < look->end ? look->kept + (size_t)(t - look->first) * look->features : NULL;
}

/* After all lanes have looked: keeps the last steps for the next pass or call. A lane has its share of the rows. */
void lrt_keep_steps(lrt_pass *pass, uint32_t value, const lrt_window *w, const lrt_past *past);

/* ---- places ------------------------------------------------------------------------------------------------- */

/* Where a window begins: it may lie outside. */
typedef struct {
    int64_t t, y, x;
} lrt_corner;

static inline lrt_corner lrt_corner_of(const lrt_window *w, uint64_t t, uint32_t y, uint32_t x)
{
    lrt_corner at;
    at.t = (int64_t)(t * w->stride[0]) - w->before[0];
    at.y = (int64_t)((uint64_t)y * w->stride[1]) - w->before[1];
    at.x = (int64_t)((uint64_t)x * w->stride[2]) - w->before[2];
    return at;
}

/* Places `first` to first + count of a window, in order: their channels, or NULL where they are not inside. */
void lrt_window_places(const lrt_window *w, const lrt_look *look, lrt_corner at, uint32_t first, uint32_t count,
                       const float **places);

/* Channels `from` to from + count of all places, in order, into `to`; 0 where they are not inside. */
void lrt_copy_window(const lrt_window *w, const lrt_look *look, lrt_corner at, uint32_t from, uint32_t count, float *to);

/* ---- rows, steps and lines of windows --------------------------------------------------------------------------- */

/* A line: the windows of one row of the batch, step of the pass and row of the image. Lanes share the lines. */
typedef struct {
    uint32_t row, step, y;
} lrt_line;

static inline uint64_t lrt_lines(const lrt_pass *pass, uint32_t output, const lrt_window *w)
{
    return (uint64_t)pass->s->batch * lrt_value_steps(pass, output) * w->out[1];
}
static inline lrt_line lrt_line_at(const lrt_pass *pass, uint32_t output, const lrt_window *w, uint64_t number)
{
    const uint64_t per_row = (uint64_t)lrt_value_steps(pass, output) * w->out[1];
    lrt_line line = {0, 0, 0};
    if (number == 0) /* divisions take longer than some steps */
        return line;
    line.row = (uint32_t)(number / per_row);
    line.step = (uint32_t)(number % per_row / w->out[1]);
    line.y = (uint32_t)(number % w->out[1]);
    return line;
}
static inline void lrt_next_line(const lrt_pass *pass, uint32_t output, const lrt_window *w, lrt_line *line)
{
    if (++line->y < w->out[1])
        return;
    line->y = 0;
    if (++line->step < lrt_value_steps(pass, output))
        return;
    line->step = 0;
    line->row++;
}

/* A lane's share of n things, however many. */
static inline void lrt_share_many(uint64_t n, uint32_t lane, uint32_t lanes, uint64_t *from, uint64_t *to)
{
    const uint64_t each = lanes > 1 ? n / lanes : n, more = lanes > 1 ? n % lanes : 0;
    *from = each * lane + (lane < more ? lane : more);
    *to = *from + each + (lane < more ? 1 : 0);
}

/* The step of the call that a step of the pass is. */
static inline uint64_t lrt_step_of_call(const lrt_pass *pass, uint32_t value, uint32_t step)
{
    const lrt_value *v = &pass->s->values[value];
    return v->kind == LRT_VEC ? 0 : (uint64_t)pass->t0[v->axis] + step;
}

/* ---- scratch -------------------------------------------------------------------------------------------------- */

#define LRT_GATHER_ROWS 120u         /* rows of a product that are gathered at a time, at most */
#define LRT_GATHER_FLOATS (1u << 16) /* what a lane gathers, of rows that are not very long: it stays in a cache */

/* Makes room for as many rows of so many floats as are gathered at a time; returns how many. */
static inline uint32_t lrt_need_gather(lrt_planner *p, uint64_t floats)
{
    const uint64_t fit = LRT_GATHER_FLOATS / (floats ? floats : 1);
    const uint32_t rows = fit > LRT_GATHER_ROWS ? LRT_GATHER_ROWS : fit < 12 ? 12 : (uint32_t)fit;
    p->gather = rows * floats > p->gather ? rows * floats : p->gather;
    return rows;
}

/* The lane's. */
static inline float *lrt_gather(const lrt_pass *pass)
{
    return pass->s->gather + (size_t)pass->own_lane * pass->s->gather_part;
}

#endif

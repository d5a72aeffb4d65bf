/* State of a session: to zero, from row to row, out and in. */
#include "lrt_state.h"

#include <string.h>

#include "lrt_session.h"

static unsigned char *state_row(const lrt_state *a, uint32_t row)
{
    return a->halves ? (unsigned char *)lrt_now(a->halves, row) : a->rows + (size_t)row * a->stride;
}

/* Where in its row the state begins. */
static unsigned char *state_start(const lrt_state *a, uint32_t row)
{
    unsigned char *start = state_row(a, row);
    uint32_t slid = 0;
    if (a->slides_at)
        memcpy(&slid, start + a->slides_at, sizeof slid);
    return start + slid * a->slide;
}

static void clear_rows(const lrt_state *a, uint32_t row, uint32_t rows)
{
    for (unsigned i = 0; a->halves && i < 2; i++)
        memset(a->halves->half[i] + (size_t)row * a->halves->stride, 0, rows * a->stride);
    if (!a->halves)
        memset(state_row(a, row), 0, rows * a->stride);
}

static void settle_rows(const lrt_state *a, uint32_t row, uint32_t rows)
{
    if (a->halves)
        memcpy(lrt_next(a->halves, row), lrt_now(a->halves, row), rows * a->stride);
}

void lrt_session_reset(lrt_session *s)
{
    for (const lrt_state *a = s->states; a; a = a->following)
        clear_rows(a, 0, s->limits.batch);
    s->stepped = 0;
}

int lrt_row_reset(lrt_session *s, uint32_t row)
{
    if (!s || row >= s->limits.batch)
        return LRT_E_ARGUMENT;
    for (const lrt_state *a = s->states; a; a = a->following)
        clear_rows(a, row, 1);
    return LRT_OK;
}

static void swap_bytes(unsigned char *a, unsigned char *b, size_t n)
{
    unsigned char t[LRT_ALIGN];
    for (size_t i = 0; i < n; i += sizeof t) {
        const size_t size = n - i < sizeof t ? n - i : sizeof t;
        memcpy(t, a + i, size);
        memcpy(a + i, b + i, size);
        memcpy(b + i, t, size);
    }
}

int lrt_row_swap(lrt_session *s, uint32_t row, uint32_t other)
{
    if (!s || row >= s->limits.batch || other >= s->limits.batch)
        return LRT_E_ARGUMENT;
    for (const lrt_state *a = s->states; a && row != other; a = a->following) {
        swap_bytes(state_row(a, row), state_row(a, other), a->stride);
        settle_rows(a, row, 1);
        settle_rows(a, other, 1);
    }
    return LRT_OK;
}

void lrt_state_hold(lrt_session *s, uint32_t batch)
{
    for (const lrt_state *a = s->states; a && batch < s->stepped; a = a->following)
        settle_rows(a, batch, s->stepped - batch);
}

uint32_t lrt_slot_count(const lrt_session *s) { return s->n_slots; }

/* The first array of slot i, at or after `from`. */
static const lrt_state *find_slot(const lrt_state *from, uint32_t i)
{
    while (from && from->number != i)
        from = from->following;
    return from;
}

int lrt_slot_info(const lrt_session *s, uint32_t i, lrt_slot *slot)
{
    const lrt_state *a = s && slot && i < s->n_slots ? find_slot(s->states, i) : NULL;
    if (!a)
        return LRT_E_ARGUMENT;
    *slot = a->slot;
    return LRT_OK;
}

/* The first array of slot i, if rows `row` to row + rows are there. */
static const lrt_state *find_rows(const lrt_session *s, uint32_t i, uint32_t row, uint32_t rows)
{
    const int there = i < s->n_slots && rows <= s->limits.batch && row <= s->limits.batch - rows;
    return there ? find_slot(s->states, i) : NULL;
}

int lrt_slot_get(const lrt_session *s, uint32_t i, uint32_t row, uint32_t rows, float *to)
{
    const lrt_state *a = s && to ? find_rows(s, i, row, rows) : NULL;
    if (!a)
        return LRT_E_ARGUMENT;
    for (; a; a = find_slot(a->following, i))
        for (uint32_t n = 0; n < rows; n++, to += a->slot.size)
            memcpy(to, state_start(a, row + n), a->slot.size * sizeof(float));
    return LRT_OK;
}

int lrt_slot_set(lrt_session *s, uint32_t i, uint32_t row, uint32_t rows, const float *from)
{
    const lrt_state *a = s && from ? find_rows(s, i, row, rows) : NULL;
    if (!a)
        return LRT_E_ARGUMENT;
    for (; a; a = find_slot(a->following, i)) {
        for (uint32_t n = 0; n < rows; n++, from += a->slot.size)
            memcpy(state_start(a, row + n), from, a->slot.size * sizeof(float));
        settle_rows(a, row, rows);
    }
    return LRT_OK;
}

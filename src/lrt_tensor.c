/* What a tensor's record and its data have to be. */
#include "integers/lrt_integers.h"
#include "ops/lrt_check.h"

/* ---- integers: can no sum of products with activations up to the limit overflow? Of each row, padding too ---- */

static int panel_sums_fit(const lrt_matrix *w)
{
    const uint32_t words = lrt_words(w->dtype, w->k), panels = lrt_panel_count(w->units);
    const uint64_t most = 0x7fffffffu / w->limit;
    for (uint32_t p = 0; p < panels; p++) {
        uint64_t sums[LRT_MAX_GATES * LRT_PANEL] = {0};
        const uint32_t rows = w->gates * lrt_panel_width(w->units, p);
        const uint32_t *line = (const uint32_t *)w->w + (size_t)lrt_panel_start(w->units, p) * w->gates * words;
        for (uint32_t j = 0; j < words; j++, line += rows)
            for (uint32_t row = 0; row < rows; row++)
                sums[row] += lrt_word_size(w->dtype, line[row]);
        for (uint32_t row = 0; row < rows; row++)
            if (sums[row] > most)
                return 0;
    }
    return 1;
}

static int strip_sums_fit(const lrt_matrix *w, uint32_t strips)
{
    const uint64_t most = 0x7fffffffu / w->limit;
    for (uint32_t s = 0; s < strips; s++) {
        uint64_t sums[LRT_PANEL] = {0};
        for (uint32_t j = w->starts[s]; j < w->starts[s + 1]; j++)
            for (uint32_t u = 0; u < LRT_PANEL; u++)
                sums[u] += lrt_word_size(w->dtype, ((const uint32_t *)w->w)[(size_t)j * LRT_PANEL + u]);
        for (uint32_t u = 0; u < LRT_PANEL; u++)
            if (sums[u] > most)
                return 0;
    }
    return 1;
}

/* ---- blocks: nothing that a kernel finds through them lies elsewhere ------------------------------------------ */

static int check_blocks(const lrt_model *m, uint32_t i, const lrt_tensor *t)
{
    const uint32_t strips = lrt_strips(t), words = lrt_words(t->dtype, t->k);
    const uint32_t *starts = (const uint32_t *)(const void *)lrt_tensor_data(m, i);
    lrt_matrix w;
    if (t->size < (strips + 1u) * sizeof *starts || starts[0] != 0)
        return LRT_E_TENSOR;
    if (t->size != lrt_blocks_begin(t, starts[strips]) + (uint64_t)starts[strips] * LRT_PANEL * sizeof(float))
        return LRT_E_TENSOR;
    for (uint32_t s = 0; s < strips; s++)
        if (starts[s] > starts[s + 1])
            return LRT_E_TENSOR;
    w = lrt_tensor_matrix(m, i);
    for (uint32_t s = 0; s < strips; s++)
        for (uint32_t j = starts[s]; j < starts[s + 1]; j++)
            if (w.index[j] >= words || (j > starts[s] && w.index[j] <= w.index[j - 1]))
                return LRT_E_TENSOR;
    return !lrt_is_integer(&w) || strip_sums_fit(&w, strips) ? LRT_OK : LRT_E_TENSOR;
}

/* ---- the record ------------------------------------------------------------------------------------------------ */

static int check_shape(const lrt_tensor *t)
{
    if (t->layout == LRT_PLAIN)
        return t->gates == 1 && t->units <= LRT_MAX_ROWS ? LRT_OK : LRT_E_TENSOR;
    if (t->units < 1 || t->units > LRT_MAX_SIZE || t->k < 1 || (t->layout == LRT_PADDED && t->k != 1))
        return LRT_E_TENSOR;
    return t->layout != LRT_BLOCKS || t->k <= LRT_MAX_BLOCK_INPUTS ? LRT_OK : LRT_E_TENSOR;
}

int lrt_check_tensor(const lrt_model *m, uint32_t i, uint64_t data)
{
    const lrt_tensor t = lrt_read_tensor(m, i);
    const int integer = t.dtype == LRT_I8 || t.dtype == LRT_I16, panels = t.layout == LRT_PANELS || t.layout == LRT_BLOCKS;
    const uint32_t last_dtype = lrt_version(m) < LRT_VERSION_INTEGERS ? LRT_I32 : LRT_I16;
    const uint32_t last_layout = lrt_version(m) < LRT_VERSION_BLOCKS ? LRT_PADDED : LRT_BLOCKS;
    uint64_t units, size;
    if (t.dtype < LRT_F32 || t.dtype > last_dtype || t.layout > last_layout || t.gates < 1 || t.gates > LRT_MAX_GATES ||
        t.k > LRT_MAX_SIZE || (t.layout == LRT_BLOCKS && t.dtype == LRT_I32))
        return LRT_E_TENSOR;
    if (integer ? !panels || t.limit < 1 || t.limit > LRT_MAX_ACTIVATION : t.limit != 0)
        return LRT_E_TENSOR;
    LRT_TRY(check_shape(&t));
    units = t.layout == LRT_PLAIN ? t.units : lrt_padded_units(t.units);
    size = units * t.gates * t.k * 4u; /* < 2^31 * 2^20 * 4 or 2^21 * 4 * 2^20 * 4: no overflow */
    if (integer)
        size = units * t.gates * (lrt_words(t.dtype, t.k) * 4u + 2u); /* words, and a scale of each row */
    if ((t.layout != LRT_BLOCKS && t.size != size) || t.offset % 64 || t.offset < data)
        return LRT_E_TENSOR;
    /* Kernels read whole vectors: LRT_OVERREAD floats beyond the end must be there. */
    if (t.offset > m->size || t.size > m->size - t.offset || m->size - t.offset - t.size < LRT_OVERREAD * 4u)
        return LRT_E_TENSOR;
    if (t.layout == LRT_BLOCKS)
        return check_blocks(m, i, &t);
    if (integer) {
        const lrt_matrix w = lrt_tensor_matrix(m, i);
        return panel_sums_fit(&w) ? LRT_OK : LRT_E_TENSOR;
    }
    return LRT_OK;
}

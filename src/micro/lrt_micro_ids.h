/* Ids, and rows of tables by these. */
#ifndef LRT_MICRO_IDS_H
#define LRT_MICRO_IDS_H

/* Is one of `count` ids from `start` on, of each step, not a row? */
static LRT_INLINE int micro_ids_wrong(const int32_t *ids, uint32_t steps, uint32_t each, uint32_t start, uint32_t count,
                                      uint32_t rows)
{
    for (uint32_t t = 0; t < steps; t++)
        for (uint32_t i = start; i < start + count; i++)
            if ((uint32_t)ids[t * each + i] >= rows)
                return 1;
    return 0;
}

static LRT_INLINE void micro_embed(const int32_t *ids, uint32_t count, const float *table, float *y, uint32_t n)
{
    for (uint32_t i = 0; i < count; i++)
        micro_copy(y + i * n, table + (uint32_t)ids[i] * n, n);
}

#endif

/* Which operations on rows of features there are, beside activations. */
#ifndef LRT_ROW_OPS_H
#define LRT_ROW_OPS_H

enum lrt_binary { LRT_ADD, LRT_SUB, LRT_MUL, LRT_DIV, LRT_MAXIMUM, LRT_MINIMUM, LRT_POW, LRT_AVERAGE };

/* Numbers are part of the file format. */
enum lrt_reduction {
    LRT_REDUCE_SUM = 0,
    LRT_REDUCE_MEAN = 1,
    LRT_REDUCE_MAX = 2,
    LRT_REDUCE_MIN = 3,
    LRT_REDUCE_PROD = 4,
    LRT_REDUCE_L2 = 5,
    LRT_REDUCE_COUNT = 6
};

/* Two rows for an op: n features each, or one that stands for all. */
typedef struct {
    enum lrt_binary op;
    const float *a, *b;
    int one_a, one_b;
} lrt_two;

#endif

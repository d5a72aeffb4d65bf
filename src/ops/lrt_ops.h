/* An op is one row of a table: what a file must say of it, the memory it takes, and how it runs. Each
 * family of ops has a file of its own, with its rows at the end; a build leaves families out by defining
 * LRT_WITH_<FAMILY> as 0, and then refuses models that need one of their ops. */
#ifndef LRT_OPS_H
#define LRT_OPS_H

#include "lrt_pass.h"
#include "ops/lrt_check.h"

/* Code, name, value. The codes are part of the file format. */
#define LRT_OP_LIST(X)                \
    X(EMBEDDING, "embedding", 1)      \
    X(MASK_IDS, "mask_ids", 2)        \
    X(MASK_VALUES, "mask_values", 3)  \
    X(APPLY_MASK, "apply_mask", 4)    \
    X(LSTM, "lstm", 5)                \
    X(GRU, "gru", 6)                  \
    X(RNN, "rnn", 7)                  \
    X(DENSE, "dense", 8)              \
    X(ACTIVATION, "activation", 9)    \
    X(LAYERNORM, "layernorm", 10)     \
    X(BATCHNORM, "batchnorm", 11)     \
    X(ADD, "add", 12)                 \
    X(MUL, "mul", 13)                 \
    X(AVERAGE, "average", 14)         \
    X(CONCAT, "concat", 15)           \
    X(SLICE, "slice", 16)             \
    X(SELECT, "select", 17)           \
    X(REVERSE, "reverse", 18)         \
    X(TAKE, "take", 19)               \
    X(REPEAT, "repeat", 20)           \
    X(SUB, "sub", 21)                 \
    X(DIV, "div", 22)                 \
    X(MAXIMUM, "maximum", 23)         \
    X(MINIMUM, "minimum", 24)         \
    X(POW, "pow", 25)                 \
    X(GATHER, "gather", 26)           \
    X(PRELU, "prelu", 27)             \
    X(L2NORM, "l2norm", 28)           \
    X(GROUPNORM, "groupnorm", 29)     \
    X(REDUCE, "reduce", 30)           \
    X(SOFTMAX_STEPS, "softmax_steps", 31) \
    X(CUMSUM, "cumsum", 32)           \
    X(CONV, "conv", 33)               \
    X(POOL, "pool", 34)               \
    X(PAD, "pad", 35)                 \
    X(FLATTEN, "flatten", 36)         \
    X(UNFLATTEN, "unflatten", 37)     \
    X(ATTENTION, "attention", 38)     \
    X(CONVLSTM, "convlstm", 39)       \
    X(REDUCE_FEATURES, "reduce_features", 40) \
    X(CONSTANT, "constant", 41)       \
    X(ALIGN, "align", 42)             \
    X(CUT, "cut", 43)

#define LRT_OP_CODE(code, name, value) LRT_OP_##code = value,
enum lrt_op_code { LRT_OP_LIST(LRT_OP_CODE) LRT_OP_NONE = 0 };

/* In which passes over time a node runs. */
enum lrt_when {
    LRT_WHEN_READ,  /* sequences in every pass, vectors in the last, when they are whole; if anybody reads them */
    LRT_EVERY_PASS, /* if anybody reads its output */
    LRT_ALWAYS      /* every pass, read or not: it has state, or several outputs */
};

/* Multiply-adds for one step of one row: all, and those that must wait for the step before. */
typedef struct {
    uint64_t all, recurrent;
} lrt_work;

/* A share of a node over rows of features: `count` steps of one row, from `step` on. */
typedef void lrt_each_fn(const lrt_pass *pass, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count);

struct lrt_op {
    uint32_t code;
    uint32_t since; /* the first format version that has it; 0: all have */
    /* Does the node in the checker obey docs/format.md? Takes its outputs off the list of values to come. */
    int (*check)(lrt_checker *c);
    /* LRT_FLAG_* that such a node takes from the model; NULL: none. */
    uint32_t (*hinders)(const lrt_checker *c);
    /* Takes memory for the node: state and what it needs beside; NULL: none. */
    void (*plan)(lrt_planner *p, lrt_plan_node *at);
    /* LRT_OK if the node takes what a call gives; NULL: whatever it is. */
    int (*accepts)(const lrt_session *s, const lrt_plan_node *at, const lrt_call_args *call);
    /* NULL: one for each feature of its output. */
    void (*work)(const lrt_session *s, const lrt_plan_node *at, lrt_work *work);
    /* Would so many lanes share the node's steps? NULL: it has no steps that wait for each other. */
    int (*is_shared)(const lrt_session *s, const lrt_plan_node *at, uint32_t lanes);
    /* How many pieces of a call lanes share, of a node whose work alone may be worth several; NULL: it is not. */
    uint64_t (*pieces)(const lrt_session *s, const lrt_plan_node *at);
    enum lrt_when when;
    /* The node's share of this lane in this pass: either as a whole, or row by row. */
    void (*run)(lrt_pass *pass, const lrt_plan_node *at);
    lrt_each_fn *each;
};

/* A node's work, as its row says. */
lrt_work lrt_work_of(const lrt_session *s, const lrt_plan_node *at);

/* The row of an op, or NULL if this build has none; the op's name, or NULL if no version of the format has it. */
const lrt_op *lrt_find_op(uint32_t code);
const char *lrt_op_name(uint32_t code);

/* The lane's share of a node over rows of features, which each step computes for itself. */
void lrt_for_steps(lrt_pass *pass, const lrt_plan_node *at, lrt_each_fn *each);

/* The families: rows that end with code 0. */
extern const lrt_op lrt_ops_features[], lrt_ops_masks[], lrt_ops_dense[], lrt_ops_time[], lrt_ops_recurrent[],
    lrt_ops_reduce[], lrt_ops_attention[], lrt_ops_windows[], lrt_ops_convlstm[];

#endif

/* The table of ops: the families that this build has. */
#include "ops/lrt_ops.h"

/* What a build leaves out, it defines as 0: the ops of a family, and so the code of them. */
#ifndef LRT_WITH_FEATURES
#define LRT_WITH_FEATURES 1
#endif
#ifndef LRT_WITH_MASKS
#define LRT_WITH_MASKS 1
#endif
#ifndef LRT_WITH_DENSE
#define LRT_WITH_DENSE 1
#endif
#ifndef LRT_WITH_TIME
#define LRT_WITH_TIME 1
#endif
#ifndef LRT_WITH_REDUCE
#define LRT_WITH_REDUCE 1
#endif
#ifndef LRT_WITH_ATTENTION
#define LRT_WITH_ATTENTION 1
#endif
#ifndef LRT_WITH_RECURRENT
#define LRT_WITH_RECURRENT 1
#endif
#ifndef LRT_WITH_WINDOWS
#define LRT_WITH_WINDOWS 1
#endif
#ifndef LRT_WITH_CONVLSTM
#define LRT_WITH_CONVLSTM 1
#endif

static const lrt_op *const FAMILIES[] = {
#if LRT_WITH_RECURRENT
    lrt_ops_recurrent,
#endif
#if LRT_WITH_DENSE
    lrt_ops_dense,
#endif
#if LRT_WITH_FEATURES
    lrt_ops_features,
#endif
#if LRT_WITH_MASKS
    lrt_ops_masks,
#endif
#if LRT_WITH_TIME
    lrt_ops_time,
#endif
#if LRT_WITH_REDUCE
    lrt_ops_reduce,
#endif
#if LRT_WITH_ATTENTION
    lrt_ops_attention,
#endif
#if LRT_WITH_WINDOWS
    lrt_ops_windows,
#endif
#if LRT_WITH_CONVLSTM
    lrt_ops_convlstm,
#endif
    NULL};

const lrt_op *lrt_find_op(uint32_t code)
{
    for (unsigned f = 0; FAMILIES[f]; f++)
        for (const lrt_op *op = FAMILIES[f]; op->code != LRT_OP_NONE; op++)
            if (op->code == code)
                return op;
    return NULL;
}

const char *lrt_op_name(uint32_t code)
{
    switch (code) {
#define LRT_OP_NAME(op, name, value) \
    case value: return name;
        LRT_OP_LIST(LRT_OP_NAME)
    default: return NULL;
    }
}

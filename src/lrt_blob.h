/* A blob's records, read byte by byte: the only place that knows where in a file a thing stands.
 * docs/format.md is the text that this follows. */
#ifndef LRT_BLOB_H
#define LRT_BLOB_H

#include "kernels/lrt_kernels.h"
#include "lstm_rt.h"

#define LRT_HEADER_SIZE 128u
#define LRT_VALUE_SIZE 32u
#define LRT_NODE_SIZE 160u
#define LRT_TENSOR_SIZE 32u
#define LRT_VERSION_TIED 2u   /* the first in which an embedding may look up rows of panels */
#define LRT_AXIS_SIZE 20u
#define LRT_VERSION_AXES 3u   /* the first with rules of time axes, */
#define LRT_VERSION_ORDERS 3u /* and in which ports say the order of their axes */
#define LRT_VERSION_ROWS 4u   /* the first with activations from LRT_ACT_EXP on, with broadcasts, */
#define LRT_VERSION_SHAPED 4u /* with shaped ports, */
#define LRT_VERSION_IDS 4u    /* and with several ids at a step, or ids without steps */
#define LRT_VERSION_MANY_AXES 4u /* the first with more than */
#define LRT_FEW_AXES 8u          /* time axes */
#define LRT_VERSION_INTEGERS 5u  /* the first with integer weights, */
#define LRT_VERSION_BLOCKS 5u    /* and with matrices of blocks */
#define LRT_NONE 0xffffffffu
#define LRT_NODE_ATTRS 17u

#define LRT_MAX_BLOCK_INPUTS 0x10000u /* of a matrix of blocks: their index is of 16 bits */

enum lrt_layout { LRT_PLAIN = 0, LRT_PANELS = 1, LRT_PADDED = 2, LRT_BLOCKS = 3 };

static inline uint32_t lrt_u16(const unsigned char *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8; }
static inline uint32_t lrt_u32(const unsigned char *p) { return lrt_u16(p) | lrt_u16(p + 2) << 16; }
static inline uint64_t lrt_u64(const unsigned char *p) { return lrt_u32(p) | (uint64_t)lrt_u32(p + 4) << 32; }

typedef struct {
    lrt_kind kind;
    uint32_t size, axis, name, name_size;
    lrt_order order; /* of a port; internal values are batch first */
    uint32_t groups; /* 0: none; of a shaped port the tensor of its dims */
} lrt_value;
/* Has it steps? Lengths belong to a time axis, too, but have none. */
static inline int lrt_is_timed(const lrt_value *v) { return v->axis < LRT_MAX_AXES && v->kind != LRT_LENGTHS; }
/* Are its rows cut into groups that lie apart? */
static inline int lrt_is_grouped(const lrt_value *v) { return v->order == LRT_GROUPS_FIRST && v->groups > 1; }
/* Elements of one step of one row. */
static inline uint32_t lrt_per_step(const lrt_value *v) { return v->size ? v->size : 1; }
lrt_value lrt_read_value(const lrt_model *m, uint32_t i);
uint32_t lrt_output_value(const lrt_model *m, uint32_t i); /* the value that is output i of the model */

typedef struct {
    uint32_t op;
    uint32_t n_in, n_out, n_tensors;
    uint32_t in[LRT_NODE_INPUTS], out[LRT_NODE_OUTPUTS], tensor[LRT_NODE_TENSORS];
    uint32_t attr[LRT_NODE_ATTRS];
} lrt_node;
void lrt_read_node(const lrt_model *m, uint32_t i, lrt_node *node);
float lrt_attr_float(const lrt_node *node, uint32_t i);
lrt_act lrt_attr_act(const lrt_node *node, uint32_t i); /* three attributes: kind, alpha, beta */

typedef struct {
    uint64_t offset, size;
    uint32_t dtype, layout, gates, units, k;
    uint32_t limit; /* of integer weights: the largest activation */
} lrt_tensor;
lrt_tensor lrt_read_tensor(const lrt_model *m, uint32_t i);
const float *lrt_tensor_data(const lrt_model *m, uint32_t i); /* NULL for LRT_NONE */
lrt_matrix lrt_tensor_matrix(const lrt_model *m, uint32_t i); /* panels or blocks; w is NULL for LRT_NONE */
/* Of a matrix of blocks: its strips, and the bytes before its first block, if it has so many blocks. */
static inline uint32_t lrt_strips(const lrt_tensor *t) { return t->gates * lrt_panel_count(t->units); }
uint64_t lrt_blocks_begin(const lrt_tensor *t, uint32_t n_blocks);
const int32_t *lrt_tensor_integers(const lrt_model *m, uint32_t i); /* of one that has such */
static inline uint32_t lrt_version(const lrt_model *m) { return lrt_u32(m->blob + 8); }

/* A time axis that inputs bring, or one that is derived from an earlier axis (parent): of n steps there it has
 * (n * mul + add) / div, rounded down, at least 0 and at most cap. Without a parent, but with mul 0, it has as
 * many as add says. */
typedef struct {
    uint32_t parent;
    uint32_t mul, div, cap;
    int32_t add;
} lrt_axis;
lrt_axis lrt_read_axis(const lrt_model *m, uint32_t i);
static inline int lrt_is_root(const lrt_axis *a) { return a->parent == LRT_NONE && a->mul != 0; }
static inline uint32_t lrt_derived_steps(const lrt_axis *a, uint32_t n)
{
    const int64_t steps = (int64_t)n * a->mul + a->add; /* < 2^31 * 2^31 */
    const int64_t whole = steps < 0 ? 0 : steps / a->div;
    return whole > a->cap ? a->cap : (uint32_t)whole;
}

/* How many steps an axis has for each of those that inputs bring: always the same number, or 0. */
uint32_t lrt_steps_each(const lrt_model *m, uint32_t axis);

#define LRT_FLAG_CAUSAL 1u  /* no node looks at later steps, one time axis of inputs: runs in chunks */
#define LRT_FLAG_STREAMS 2u /* ... and nothing asks for the first step either */

#endif

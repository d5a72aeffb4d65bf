/* Writes the blobs of models that the files of the corpus do not have: graphs put together node by node, and one
 * recurrent layer of any size. Written from docs/format.md: the core's readers play no part. */
#ifndef BLOBS_H
#define BLOBS_H

#include "helpers/check.h"
#include "lrt_blob.h"

#define GRAPH_MOST 48u /* values, nodes, tensors */

/* What a blob says. Fields may be changed before the bytes are made of it. */
typedef struct {
    uint32_t version, n_axes, n_values, n_nodes, n_tensors, n_inputs, n_outputs;
    lrt_axis axes[LRT_MAX_AXES];
    lrt_value values[GRAPH_MOST];
    lrt_node nodes[GRAPH_MOST];
    lrt_tensor tensors[GRAPH_MOST]; /* offset and size are found when they are written */
    float *data[GRAPH_MOST];        /* of the tensors */
    uint32_t outputs[LRT_MAX_IO];
    uint32_t seed;
} graph;

void graph_begin(graph *g, uint32_t version);
void graph_free(graph *g);

/* All return the number of what is new. A time axis of inputs; one that is derived (cap: LRT_NO_CAP). */
#define LRT_NO_CAP 0x7fffffffu
uint32_t graph_axis(graph *g);
uint32_t graph_derived(graph *g, uint32_t parent, uint32_t mul, int32_t add, uint32_t div, uint32_t cap);
uint32_t graph_input(graph *g, lrt_kind kind, uint32_t size, uint32_t axis);
/* The next node with its inputs; the caller fills in tensors and attributes. Outputs come to it by graph_result. */
lrt_node *graph_node(graph *g, uint32_t op, uint32_t n_in, const uint32_t *in);
uint32_t graph_result(graph *g, lrt_kind kind, uint32_t size, uint32_t axis);
/* The same for a node with one input and one output. */
uint32_t graph_op(graph *g, uint32_t op, uint32_t x, lrt_kind kind, uint32_t size, uint32_t axis);
/* Weights in (-1/8, 1/8), for the last node; absent where gates is 0. */
uint32_t graph_tensor(graph *g, uint32_t layout, uint32_t gates, uint32_t units, uint32_t k);
/* Integers, of no node yet. */
uint32_t graph_integers(graph *g, uint32_t count, const int32_t *numbers);
void graph_attr(graph *g, uint32_t i, uint32_t value);
void graph_attr_float(graph *g, uint32_t i, float value);
void graph_output(graph *g, uint32_t value);

/* malloc'd bytes. */
unsigned char *graph_bytes(graph *g, size_t *size);

typedef struct {
    const char *what;
    uint32_t op, inputs, hidden, proj, flags; /* as in ops/lrt_recurrent.h */
    int masked;                               /* steps that are all zero are skipped */
} layer_spec;

/* A layer over value x: y, h and, for an lstm, c come one after the other; returns y. h0, c0 and the mask are values or
 * LRT_NONE. */
uint32_t graph_layer(graph *g, const layer_spec *spec, uint32_t x, uint32_t h0, uint32_t c0, uint32_t mask);

/* The bytes of a model with one layer: x -> (mask) -> layer -> y, h and, for an lstm, c. */
unsigned char *layer_blob(const layer_spec *spec, size_t *size);

#endif

/* One model, many ways to run it. */
#ifndef MANY_WAYS_H
#define MANY_WAYS_H

#include "helpers/blobs.h"
#include "helpers/cases.h"

extern const uint32_t SOME_STEPS[LRT_MAX_AXES];

/* Is one of the inputs lengths? */
int takes_lengths(const lrt_model *m);

/* With every table, all that is independent of the way to run. Fused tables are held against the portable one, a table
 * that rounds twice against itself. */
void check_tables(const lrt_model *m, uint32_t batch, const uint32_t *steps, int with_lengths);
/* The same with several batches, steps and lengths. */
void check_model(const lrt_model *m);

/* The model of a graph with inputs for a call, and the call, which fills the outputs. */
typedef struct {
    lrt_model m;
    walled blob;
    test_case c;
} graph_case;
void graph_case_init(graph_case *of, graph *g, uint32_t batch, uint32_t steps, int with_lengths);
void graph_case_run(graph_case *of, const lrt_kernels *k);
void graph_case_free(graph_case *of);

/* check_model for a graph, as it is and with its ports in other orders: time first, unbatched, in groups. Frees it. */
void check_graph(graph *g, const char *what);

/* The portable tables are slow with sanitizers: there, wide layers and graphs only take their results. */
extern int skip_portable;
/* FNV-1a over the bits of all results, all NaNs alike, of the first table of its kind: what is the same on every machine.
 * Apart, what inputs give that fade out: only machines that can flush denormals have the same. */
enum { FUSED = 0, UNFUSED = 1, FADES = 2, N_RESULTS = 4 };
extern uint64_t results[N_RESULTS];

#endif

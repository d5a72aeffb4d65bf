"""The C API of the core (src/lstm_rt.h), and of what the runtime has in C (_runtime/)."""

from libc.stdint cimport int32_t, uint32_t, uint64_t


cdef extern from "lstm_rt.h" nogil:
    enum:
        LRT_OK
        LRT_E_VERSION
        LRT_E_SIZE
        LRT_E_LENGTH
        LRT_E_TOKEN
        LRT_E_TOO_LARGE
        LRT_E_STOPPED
        LRT_E_STEP_COUNT
        LRT_MAX_AXES
        LRT_MAX_COUNT
        LRT_MAX_IO
        LRT_MAX_SIZE
        LRT_MAX_ROWS
        LRT_MAX_ACTIVATION
        LRT_MAX_DIMS
        LRT_NODE_INPUTS
        LRT_SEQ
        LRT_VEC
        LRT_IDS
        LRT_MASK
        LRT_LENGTHS
        LRT_FIRST_VERSION
        LRT_FORMAT_VERSION
        LRT_BATCH_FIRST
        LRT_TIME_FIRST
        LRT_UNBATCHED
        LRT_GROUPS_FIRST
        LRT_SHAPED
        LRT_DIM_BATCH
        LRT_DIM_STEPS
        LRT_DIM_JOINED
        LRT_TRACED_COUNT

    const float LRT_MAX_RTOL

    ctypedef struct lrt_kernels:
        pass
    ctypedef struct lrt_session:
        pass
    ctypedef struct lrt_model:
        uint32_t n_axes, n_values, n_nodes, n_tensors, n_inputs, n_outputs
    ctypedef struct lrt_io:
        const char *name
        size_t name_size
        int kind
        uint32_t size
        uint32_t axis
        int order
        uint32_t groups
        uint32_t n_dims
        const int32_t *dims
    ctypedef struct lrt_limits:
        uint32_t batch
        uint32_t lanes
        uint32_t steps[LRT_MAX_AXES]
    ctypedef int lrt_stop(void *context, uint32_t lane)
    ctypedef struct lrt_traced:
        int what
        uint32_t node
        uint32_t direction
        uint32_t row
        uint32_t step
        int held
        uint32_t from_ "from"
        uint32_t count
        const float *values
    ctypedef void lrt_trace(void *context, const lrt_traced *piece) noexcept
    ctypedef struct lrt_call_args:
        uint32_t batch
        uint32_t steps[LRT_MAX_AXES]
        const void **inputs
        float **outputs
        const int32_t **lengths
        int keep_state
        lrt_stop *stop
        void *stop_context
        lrt_trace *trace
        void *trace_context
    ctypedef struct lrt_slot:
        uint32_t layer
        int is_cell
        uint32_t directions
        uint32_t size

    const char *lrt_error_text(int error)
    const lrt_kernels *lrt_kernels_best()
    const lrt_kernels *lrt_kernels_by_name(const char *name)
    const lrt_kernels *lrt_kernels_at(unsigned i)
    const char *lrt_kernels_name(const lrt_kernels *k)
    int lrt_kernels_usable(const lrt_kernels *k)
    int lrt_kernels_fused(const lrt_kernels *k)
    int lrt_activate(const lrt_kernels *k, uint32_t act, float alpha, float beta, const float *x, float *y, size_t n)
    int lrt_model_open(lrt_model *model, const void *blob, size_t size)
    lrt_io lrt_model_input(const lrt_model *model, uint32_t i)
    lrt_io lrt_model_output(const lrt_model *model, uint32_t i)
    int lrt_model_steps(const lrt_model *model, uint32_t *steps)
    int lrt_model_is_causal(const lrt_model *model)
    int lrt_model_streams(const lrt_model *model)
    const char *lrt_stream_obstacle(const lrt_model *model, uint32_t *node)
    size_t lrt_session_size(const lrt_model *model, const lrt_limits *limits)
    int lrt_session_init(lrt_session **session, const lrt_model *model, const lrt_kernels *kernels,
                         const lrt_limits *limits, void *memory, size_t size)
    int lrt_prepare(lrt_session *session, const lrt_call_args *call)
    uint64_t lrt_prepared_work(const lrt_session *session)
    int lrt_run(lrt_session *session, uint32_t lane, uint32_t lanes, void *barrier, void *context)
    uint32_t lrt_slot_count(const lrt_session *session)
    int lrt_slot_info(const lrt_session *session, uint32_t i, lrt_slot *slot)
    int lrt_slot_get(const lrt_session *session, uint32_t i, uint32_t row, uint32_t rows, float *to)
    int lrt_slot_set(lrt_session *session, uint32_t i, uint32_t row, uint32_t rows, const float *from_)
    void lrt_session_reset(lrt_session *session)
    int lrt_row_reset(lrt_session *session, uint32_t row)
    int lrt_row_swap(lrt_session *session, uint32_t a, uint32_t b)


cdef extern from "_runtime/team.h" nogil:
    int LRT_OPENMP
    int LRT_MOST_LANES
    int lrt_forced_lanes
    int lrt_quota_due
    ctypedef struct lrt_caller:
        int lanes
    lrt_caller lrt_me
    ctypedef struct lrt_team:
        int result
    ctypedef struct lrt_watch:
        int (*signalled)() noexcept
    int lrt_watch_signals(void *context, uint32_t lane)
    void lrt_set_quota(int cpus)
    void *lrt_aligned_alloc(size_t size)
    void lrt_aligned_free(void *p)
    int lrt_team_lanes(const lrt_session *session, uint32_t most)
    void lrt_team_done(int lanes)
    void lrt_team_init(lrt_team *team)
    void lrt_team_run(lrt_session *session, lrt_team *team)


cdef extern from "_runtime/map.h":
    void *lrt_map(int fd, size_t size)
    void lrt_unmap(void *p, size_t size)

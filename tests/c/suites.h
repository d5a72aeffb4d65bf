/* What core_test is made of: a file of tests for each file of the core. Most take a model and are run on every one
 * of the corpus and on layers of many sizes. */
#ifndef SUITES_H
#define SUITES_H

#include "helpers/cases.h"
#include "helpers/many_ways.h"

/* Of one model. `want` holds the outputs of a call, which must be the same bits in other ways. */
void limits_do_not_matter(const test_case *want, const lrt_kernels *k);                    /* session_test.c */
void session_errors(const lrt_model *m);
void rows_are_alone(const test_case *want, const lrt_kernels *k);                          /* run_test.c */
void chunks_join(const test_case *want, const lrt_kernels *k, uint32_t size);
void no_steps_no_rows(const lrt_model *m);
void traces_tell_all(const test_case *want, const lrt_kernels *k);                         /* trace_test.c */
void slots_carry_state(const test_case *c, const lrt_kernels *k);                          /* state_test.c */
void rows_are_streams(const test_case *want, const lrt_kernels *k);
void rows_wait(const test_case *want, const lrt_kernels *k, int by_slots);
void slot_errors(const test_session *t, const test_case *c);
void row_errors(const test_session *t, const test_case *c);
void call_errors(const lrt_model *m);                                                      /* call_test.c */
void blob_errors(const walled *blob);                                                      /* blob_test.c */
void checksum_errors(const lrt_model *m, const walled *blob);

/* Of models of their own. */
void test_blobs(void);
void test_models(void);
void test_sessions(const char *folder);
void test_calls(void);
void test_errors(void);
void test_shares(void);
void test_stops(void);
void test_dispatch(void);
void test_panels(void);
void test_products(void);
void test_integers(void);
void test_blocks(void);
void test_cells(void);
void test_rows(void);
void test_math(void);
void test_op_table(void);
void test_op_checks(void);
void test_dense(void);
void test_features(void);
void test_masks(void);
void test_recurrent(void);
void test_time(void);
void test_reduce(void);
void test_attention(void);
void test_windows(void);

#endif

/* Which tables there are, and lrt_activate. */
#include "suites.h"

static void check_activate(void)
{
    const lrt_kernels *k = lrt_kernels_best();
    float x = 1, y;
    CHECK(lrt_activate(k, LRT_ACT_COUNT, 0, 0, &x, &y, 1) == LRT_E_ARGUMENT);
    CHECK(lrt_activate(k, LRT_ACT_RELU, 0, 0, &x, &y, 0) == LRT_E_ARGUMENT);
    CHECK(lrt_activate(NULL, LRT_ACT_RELU, 0, 0, &x, &y, 1) == LRT_E_ARGUMENT);
    CHECK(lrt_activate(k, LRT_ACT_RELU, 0, 0, NULL, &y, 1) == LRT_E_ARGUMENT);
    CHECK(lrt_activate(k, LRT_ACT_RELU, 0, 0, &x, NULL, 1) == LRT_E_ARGUMENT);
    CHECK(lrt_activate(k, LRT_ACT_RELU, 0, 0, &x, &y, 1) == LRT_OK && y == 1);
}

void test_dispatch(void)
{
    int usable = 0;
    check_context = "tables";
    printf("core_test: tables");
    for (unsigned i = 0; lrt_kernels_at(i); i++) {
        const lrt_kernels *k = lrt_kernels_at(i);
        usable += lrt_kernels_usable(k);
        if (lrt_kernels_usable(k))
            printf(" %s", lrt_kernels_name(k));
        CHECK(lrt_kernels_by_name(lrt_kernels_name(k)) == (lrt_kernels_usable(k) ? k : NULL));
        CHECK(usable != 1 || !lrt_kernels_usable(k) || lrt_kernels_best() == k); /* the first that runs */
    }
    printf("\n");
    CHECK(usable >= 1 && lrt_kernels_usable(lrt_kernels_best()));
    CHECK(!lrt_kernels_by_name("no such table") && !lrt_kernels_by_name(NULL));
    check_activate();
}

/* Texts of errors. */
#include "suites.h"

void test_errors(void)
{
    check_context = "texts";
    for (int e = LRT_OK; e <= LRT_E_TRACE + 1; e++) {
        int known = e <= LRT_E_AXIS || (e >= LRT_E_ARGUMENT && e <= LRT_E_TRACE);
        CHECK(known == (strcmp(lrt_error_text(e), lrt_error_text(-1)) != 0));
    }
}

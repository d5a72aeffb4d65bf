/* LRT_E_ENDIAN on a machine that is not big-endian: lrt_model.c is compiled here with a memcpy that
 * shows the first byte of a number as a big-endian machine would. That byte is all the core asks
 * about, so this tests the code's way out, not a big-endian machine. */
#include <string.h>

static void *big_endian_memcpy(void *to, const void *from, size_t n)
{
    /* The only copy of one byte in lrt_model.c is the question for the byte order. */
    const unsigned char *p = (const unsigned char *)from + (n == 1 ? 3 : 0);
    return memmove(to, p, n);
}

#undef memcpy
#define memcpy big_endian_memcpy
#include "../../src/lrt_model.c"
#undef memcpy

#include "helpers/check.h"

unsigned long check_count, check_failures;
const char *check_context = "lrt_model_open";

int main(void)
{
    walled blob = walled_new(128);
    lrt_model m;
    CHECK(lrt_model_open(&m, blob.data, blob.size) == LRT_E_ENDIAN);
    CHECK(strstr(lrt_error_text(LRT_E_ENDIAN), "big-endian") != NULL);
    walled_free(&blob);
    printf("endian_test: %lu checks, %lu failed\n", check_count, check_failures);
    return check_failures > 0;
}

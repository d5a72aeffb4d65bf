/* The whole C API, on every model of the corpus and on layers of many sizes.
 *
 *   core_test folder-with-lrt-files [some]     some: fewer models, in fewer ways
 *   core_test tables                           only which tables this CPU runs
 *
 * What must be the same bits: every fused kernel table, every cut of the sequence into chunks,
 * every batch, every number of lanes, every session large enough. All memory that the core may
 * write has walls around it that must stand. */
#include <dirent.h>

#include "suites.h"

static void check_file(const char *folder, const char *name)
{
    char path[512];
    lrt_model m;
    walled blob;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    check_context = name;
    if (!model_from_file(&m, &blob, path))
        return;
    blob_errors(&blob);
    checksum_errors(&m, &blob);
    session_errors(&m);
    call_errors(&m);
    check_model(&m);
    walled_free(&blob);
}

static int is_model(const struct dirent *d)
{
    size_t n = strlen(d->d_name);
    return n > 4 && strcmp(d->d_name + n - 4, ".lrt") == 0;
}

static void check_folder(const char *folder)
{
    struct dirent **names = NULL;
    int n = scandir(folder, &names, is_model, alphasort);
    check_context = folder;
    CHECK(n > 20);
    for (int i = 0; i < n; i++) {
        if (i % (only_some ? 3 : 1) == 0)
            check_file(folder, names[i]->d_name);
        free(names[i]);
    }
    free(names);
}

static void print_results(void)
{
    static const char *const names[N_RESULTS] = {"fused", "not fused", "fused, fading", "not fused, fading"};
    for (int i = 0; i < N_RESULTS; i++)
        printf("core_test: results %s %016llx\n", names[i], (unsigned long long)results[i]);
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3 || (argc == 3 && strcmp(argv[2], "some") != 0 && strcmp(argv[2], "models") != 0)) {
        fprintf(stderr, "usage: core_test folder-with-lrt-files [some | models], or: core_test tables\n");
        return 2;
    }
    if (strcmp(argv[1], "tables") == 0) {
        test_dispatch();
        return check_failures > 0;
    }
    only_some = argc == 3;
    if (only_some && strcmp(argv[2], "models") == 0) { /* for emulators that take minutes for what follows */
        test_dispatch();
        test_cells();
        check_folder(argv[1]);
        print_results();
        printf("core_test: %lu checks, %lu failed\n", check_count, check_failures);
        return check_failures > 0;
    }
    test_errors();
    test_blobs();
    test_models();
    test_calls();
    test_shares();
    test_dispatch();
    test_panels();
    test_products();
    test_integers();
    test_blocks();
    test_math();
    test_rows();
    test_cells();
    check_folder(argv[1]);
    test_sessions(argv[1]);
    test_recurrent();
    test_stops();
    test_op_table();
    test_op_checks();
    test_dense();
    test_features();
    test_masks();
    test_time();
    test_reduce();
    test_attention();
    test_windows();
    print_results();
    printf("core_test: %lu checks, %lu failed\n", check_count, check_failures);
    return check_failures > 0;
}

/* A plugin of QEMU: how often each instruction was executed. `run.py --count` makes numbers by function of it.
 *
 *   -plugin count.so,to=FILE,first=ADDRESS,bytes=N[,start=ADDRESS,stop=ADDRESS]
 *
 * Writes lines "address count" (hexadecimal, decimal) for what was executed from `first` on in N bytes: in the whole
 * run, or between the instructions at `start` and at `stop`. The prototypes are those of version 1 of the interface. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*f)(plugin_id id, struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *i, int add_u64, void *to, uint64_t n);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *i, void (*f)(unsigned cpu, void *p), int flags, void *p);
void qemu_plugin_register_atexit_cb(plugin_id id, void (*f)(plugin_id id, void *p), void *p);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *i);
extern __attribute__((visibility("default"))) int qemu_plugin_version;
__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const void *info, int n, char **arguments);

int qemu_plugin_version = 1;
static char to[4096];
static uint64_t first, bytes, start, stop, *counts;
static int stopped;

static void write_counts(plugin_id id, void *p)
{
    FILE *f = stopped ? NULL : fopen(to, "w");
    uint64_t i;

    (void)id, (void)p;
    for (i = 0; f && i < bytes / 2; i++)
        if (counts[i])
            fprintf(f, "%" PRIx64 " %" PRIu64 "\n", first + 2 * i, counts[i]);
    if (f)
        fclose(f);
}

static void on_start(unsigned cpu, void *p)
{
    (void)cpu, (void)p;
    memset(counts, 0, bytes / 2 * sizeof *counts);
    stopped = 0;
}

static void on_stop(unsigned cpu, void *p)
{
    (void)cpu;
    write_counts(0, p);
    stopped = 1;
}

static void on_block(plugin_id id, struct qemu_plugin_tb *tb)
{
    size_t i, n = qemu_plugin_tb_n_insns(tb);

    (void)id;
    for (i = 0; i < n; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        const uint64_t address = qemu_plugin_insn_vaddr(insn);
        if (start && address == start)
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_start, 0, NULL);
        if (stop && address == stop)
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_stop, 0, NULL);
        if (address - first < bytes)
            qemu_plugin_register_vcpu_insn_exec_inline(insn, 0, &counts[(address - first) / 2], 1);
    }
}

int qemu_plugin_install(plugin_id id, const void *info, int n, char **arguments)
{
    int i;

    (void)info;
    for (i = 0; i < n; i++) {
        sscanf(arguments[i], "to=%4095[^\n]", to);
        sscanf(arguments[i], "first=%" SCNi64, (int64_t *)&first);
        sscanf(arguments[i], "bytes=%" SCNi64, (int64_t *)&bytes);
        sscanf(arguments[i], "start=%" SCNi64, (int64_t *)&start);
        sscanf(arguments[i], "stop=%" SCNi64, (int64_t *)&stop);
    }
    counts = calloc(bytes / 2 + 1, sizeof *counts);
    if (!counts || !*to)
        return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_block);
    qemu_plugin_register_atexit_cb(id, write_counts, NULL);
    return 0;
}

/* Start-up code of RISC-V, machine mode. */
#include "semihost.h"

extern char rig_flash[], rig_flash_size[];
__attribute__((noreturn, naked, section(".text.rig_start"))) void rig_start(void);

/* The registers of the machine's mode are an extension that all devices have and no library is named after. */
#define CSR(instructions) ".option push\n .option arch, +zicsr\n " instructions "\n .option pop"

__attribute__((naked, aligned(64))) uintptr_t semihost(uintptr_t operation, const void *block)
{
    (void)operation, (void)block; /* a0, a1; the three instructions must be in one page, uncompressed */
    __asm__ volatile(".option push\n .option norvc\n"
                     " slli zero, zero, 0x1f\n ebreak\n srai zero, zero, 7\n ret\n"
                     ".option pop");
}

static __attribute__((noreturn, used)) void handle(void)
{
    static const char *const names[] = {"instruction misaligned", "instruction access", "illegal instruction", "breakpoint",
                                        "load misaligned", "load access", "store misaligned", "store access"};
    uintptr_t cause, where;

    __asm__ volatile(CSR("csrr %0, mcause\n csrr %1, mepc") : "=r"(cause), "=r"(where));
    rig_fault(cause < sizeof names / sizeof *names ? names[cause] : "a trap", where);
}

/* The stack may be what has failed: from its top again. */
static __attribute__((naked, aligned(64))) void trap(void)
{
    __asm__ volatile("la sp, rig_stack_top\n j handle");
}

/* The flash is made memory that cannot be written (R, X, a power of two, locked); the stack lies above it. */
static __attribute__((noreturn, used)) void start(void)
{
#ifdef __riscv_flen
    __asm__ volatile(CSR("csrs mstatus, %0") ::"r"(1u << 13)); /* the FPU on */
    __asm__ volatile(CSR("csrw fcsr, zero"));
#endif
    __asm__ volatile(CSR("csrw mtvec, %0") ::"r"((uintptr_t)trap));
    __asm__ volatile(CSR("csrw pmpaddr0, %0") ::"r"(((uintptr_t)rig_flash + (uintptr_t)rig_flash_size / 2 - 1) >> 2));
    __asm__ volatile(CSR("csrw pmpcfg0, %0") ::"r"(0x9du));
    rig_main();
}

void rig_start(void)
{
    __asm__ volatile(".option push\n .option norelax\n la gp, __global_pointer$\n .option pop\n"
                     " la sp, rig_stack_top\n la tp, rig_tls\n j start");
}

/* Output, exit and what a C library asks for, by semihosting; memory as start-up code finds it. */
#include "semihost.h"

#include <string.h>

enum { SYS_OPEN = 0x01, SYS_WRITE = 0x05, SYS_EXIT_EXTENDED = 0x20 };
enum { MODE_W = 4, MODE_A = 8 }; /* of the console ":tt": stdout, stderr */
enum { APPLICATION_EXIT = 0x20026 };
enum { FAULT = 125 };

#define PAINT 0xa5a5a5a5u

extern uint32_t rig_stack_limit[], rig_stack_top[], rig_data[], rig_data_end[], rig_data_source[], rig_bss[], rig_bss_end[];
typedef void initialiser(void);
extern initialiser *__preinit_array_start[], *__preinit_array_end[], *__init_array_start[], *__init_array_end[];
int main(void);
void exit(int code);
void rig_put(int channel, const char *text, size_t n);

static uintptr_t console(uintptr_t mode)
{
    static uintptr_t handles[2];
    uintptr_t *handle = &handles[mode == MODE_A];
    uintptr_t block[3];

    if (*handle == 0) {
        block[0] = (uintptr_t) ":tt";
        block[1] = mode;
        block[2] = 3;
        *handle = semihost(SYS_OPEN, block) + 1;
    }
    return *handle - 1;
}

void rig_put(int channel, const char *text, size_t n)
{
    uintptr_t block[3];

    block[0] = console(channel == 2 ? MODE_A : MODE_W);
    block[1] = (uintptr_t)text;
    block[2] = n;
    semihost(SYS_WRITE, block);
}

void semihost_say(const char *text)
{
    rig_put(2, text, strlen(text));
}

void semihost_number(uintptr_t n)
{
    char text[2 * sizeof n + 3];
    char *p = text + sizeof text - 1;

    *p = 0;
    do {
        *--p = "0123456789abcdef"[n % 16];
        n /= 16;
    } while (n);
    *--p = 'x';
    *--p = '0';
    semihost_say(p);
}

void semihost_exit(int code)
{
    uintptr_t block[2];

    block[0] = APPLICATION_EXIT;
    block[1] = (uintptr_t)code;
    semihost(SYS_EXIT_EXTENDED, block);
    for (;;)
        ;
}

void rig_fault(const char *what, uintptr_t where)
{
    semihost_say("rig: fault: ");
    semihost_say(what);
    semihost_say(" at ");
    semihost_number(where);
    semihost_say("\n");
    semihost_exit(FAULT);
}

void rig_main(void)
{
    uint32_t *p;
    const uint32_t *from = rig_data_source;
    initialiser **i;

    for (p = rig_data; p < rig_data_end; p++)
        *p = *from++;
    for (p = rig_bss; p < rig_bss_end; p++)
        *p = 0;
    for (p = rig_stack_limit; p < (uint32_t *)__builtin_frame_address(0) - 64; p++)
        *(volatile uint32_t *)p = PAINT;
    for (i = __preinit_array_start; i < __preinit_array_end; i++)
        (*i)();
    for (i = __init_array_start; i < __init_array_end; i++)
        (*i)();
    exit(main());
}

/* What is left of the paint says how deep the stack was. */
static void say_stack(void)
{
    const uint32_t *p = rig_stack_limit;

    while (p < rig_stack_top && *p == PAINT)
        p++;
    semihost_say("rig: stack ");
    semihost_number((uintptr_t)rig_stack_top - (uintptr_t)p);
    semihost_say(p == rig_stack_limit ? ", all of it\n" : "\n");
}

#if defined __riscv
#include <stdio.h>

static int put_char(char c, FILE *file)
{
    (void)file;
    rig_put(1, &c, 1);
    return (unsigned char)c;
}
static int put_error(char c, FILE *file)
{
    (void)file;
    rig_put(2, &c, 1);
    return (unsigned char)c;
}
static FILE out = FDEV_SETUP_STREAM(put_char, NULL, NULL, _FDEV_SETUP_WRITE);
static FILE error = FDEV_SETUP_STREAM(put_error, NULL, NULL, _FDEV_SETUP_WRITE);
FILE *const stdout = &out;
FILE *const stderr = &error;
FILE *const stdin = NULL;

int kill(int process, int signal);
int getpid(void);
int kill(int process, int signal)
{
    (void)process, (void)signal;
    return -1;
}
int getpid(void)
{
    return 1;
}
#else
#include <errno.h>
#include <sys/stat.h>

extern char rig_heap[], rig_heap_end[];
int _write(int file, const char *text, int n);
int _read(int file, char *text, int n);
int _close(int file);
int _fstat(int file, struct stat *to);
int _isatty(int file);
int _lseek(int file, int offset, int from);
int _kill(int process, int signal);
int _getpid(void);
void *_sbrk(ptrdiff_t more);
void _init(void);
void _fini(void);

int _write(int file, const char *text, int n)
{
    rig_put(file, text, (size_t)n);
    return n;
}
int _read(int file, char *text, int n)
{
    (void)file, (void)text, (void)n;
    return 0;
}
int _close(int file)
{
    (void)file;
    return -1;
}
int _fstat(int file, struct stat *to)
{
    (void)file;
    to->st_mode = S_IFCHR;
    return 0;
}
int _isatty(int file)
{
    (void)file;
    return 1;
}
int _lseek(int file, int offset, int from)
{
    (void)file, (void)offset, (void)from;
    return 0;
}
int _kill(int process, int signal)
{
    (void)process, (void)signal;
    return -1;
}
int _getpid(void)
{
    return 1;
}
void *_sbrk(ptrdiff_t more)
{
    static char *at = rig_heap;
    char *was = at;

    if (more > rig_heap_end - at) {
        errno = ENOMEM;
        return (void *)-1;
    }
    at += more;
    return was;
}
void _init(void)
{
}
void _fini(void)
{
}
#endif

__attribute__((noreturn)) void _exit(int code)
{
    say_stack();
    semihost_exit(code);
}

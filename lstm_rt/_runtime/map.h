/* A file's bytes in memory, read-only and shared with other processes. No descriptor is kept: Python's
 * mmap keeps one for as long as it lives. */
#ifndef LRT_MAP_H
#define LRT_MAP_H

#include <errno.h>
#include <stddef.h>

#if defined(_WIN32)
#include <io.h>
#include <windows.h>

static void *lrt_map(int fd, size_t size)
{
    HANDLE mapping = CreateFileMappingW((HANDLE)_get_osfhandle(fd), NULL, PAGE_READONLY, 0, 0, NULL);
    void *p = mapping ? MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, size) : NULL;
    if (mapping)
        CloseHandle(mapping); /* the view keeps what it needs */
    if (!p)
        errno = EACCES;
    return p;
}

static void lrt_unmap(void *p, size_t size)
{
    (void)size;
    UnmapViewOfFile(p);
}
#else
#include <sys/mman.h>

/* NULL, and errno says why. */
static void *lrt_map(int fd, size_t size)
{
    void *p = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void lrt_unmap(void *p, size_t size) { munmap(p, size); }
#endif

#endif

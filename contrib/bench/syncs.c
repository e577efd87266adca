/* Counts the calls of a program and its children that make data durable, by LD_PRELOAD:
 *
 *     cc -shared -fPIC -O2 -o syncs.so syncs.c -ldl
 *     SYNCS_FILE=count LD_PRELOAD=./syncs.so PROGRAM
 *
 * SYNCS_FILE holds one 64-bit number in the machine's order, shared by all processes; it is made where it is not there.
 * sync_file_range is not counted: alone it makes nothing durable. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static _Atomic unsigned long long *count;

__attribute__((constructor)) static void start(void)
{
    const char *name = getenv("SYNCS_FILE");
    int file = name ? open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0666) : -1;
    if (file < 0)
        return;
    if (ftruncate(file, sizeof *count) == 0) {
        void *at = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (at != MAP_FAILED)
            count = at;
    }
    close(file);
}

#define COUNTED(name)                                                   \
    int name(int file)                                                  \
    {                                                                   \
        static int (*real)(int);                                        \
        if (!real)                                                      \
            real = (int (*)(int))dlsym(RTLD_NEXT, #name);               \
        if (count)                                                      \
            atomic_fetch_add_explicit(count, 1, memory_order_relaxed);  \
        return real(file);                                              \
    }

COUNTED(fsync)
COUNTED(fdatasync)

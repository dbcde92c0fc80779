/* Preloaded into a server: calls on files of one directory fail while a file is there, as on a broken disk.
 *
 * FAULT_DIRECTORY: below it; FAULT_SWITCH: the file; FAULT_ERRNO; FAULT_CALLS: some of "rwo" (read and splice,
 * write and truncate, open and link); FAULT_EVERY: one call in so many. With FAULT_MICROSECONDS they take so long
 * instead, as on a slow disk.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fails(int fd, char call)
{
    static __thread unsigned count;
    const char *directory = getenv("FAULT_DIRECTORY"), *name = getenv("FAULT_SWITCH");
    char link[64], target[4096];
    if (!directory || !name || !strchr(getenv("FAULT_CALLS"), call))
        return 0;
    if (syscall(SYS_faccessat, AT_FDCWD, name, F_OK) != 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, target, sizeof target - 1);
    if (length < 0)
        return 0;
    target[length] = 0;
    if (strncmp(target, directory, strlen(directory)) != 0)
        return 0;
    if (++count % atoi(getenv("FAULT_EVERY")) != 0)
        return 0;
    if (getenv("FAULT_MICROSECONDS")) {
        usleep(atoi(getenv("FAULT_MICROSECONDS")));
        return 0;
    }
    errno = atoi(getenv("FAULT_ERRNO"));
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t pread64(int fd, void *data, size_t length, off64_t offset)
{
    return fails(fd, 'r') ? -1 : REAL(pread64)(fd, data, length, offset);
}

ssize_t splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t length, unsigned flags)
{
    return fails(in, 'r') ? -1 : REAL(splice)(in, in_at, out, out_at, length, flags);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset)
{
    return fails(fd, 'w') ? -1 : REAL(pwrite64)(fd, data, length, offset);
}

int ftruncate64(int fd, off64_t length)
{
    return fails(fd, 'w') ? -1 : REAL(ftruncate64)(fd, length);
}

int openat64(int directory, const char *name, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    int mode = flags & O_CREAT ? va_arg(more, int) : 0;
    va_end(more);
    return fails(directory, 'o') ? -1 : REAL(openat64)(directory, name, flags, mode);
}

int linkat(int from, const char *old, int to, const char *new, int flags)
{
    return fails(to, 'o') ? -1 : REAL(linkat)(from, old, to, new, flags);
}

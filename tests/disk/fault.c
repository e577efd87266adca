/* Preloaded into the relay: calls on files below FAULT_ROOT fail or wait as the file FAULT_CONTROL says at that moment.
 * "write ERRNO", "sync ERRNO", "open ERRNO" (opens for writing), "slow MILLISECONDS" (every sync); anything else: nothing. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define REAL(type, name, ...) \
  static type (*real)(__VA_ARGS__); \
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, name)

static char ours[65536];

/* The number behind `what` if the control file says that, else 0. */
static int told(const char *what) {
  const char *control = getenv("FAULT_CONTROL");
  char text[64] = "", word[32] = "";
  int number = 0, e = errno;
  int fd = control ? (int)syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC) : -1;
  if (fd >= 0) {
    if (syscall(SYS_read, fd, text, sizeof text - 1) < 0) text[0] = 0;
    syscall(SYS_close, fd);
  }
  errno = e;
  return sscanf(text, "%31s %d", word, &number) == 2 && !strcmp(word, what) ? number : 0;
}
static int known(int fd) { return fd >= 0 && fd < (int)sizeof ours && ours[fd]; }

static int opened(int (*real)(const char *, int, ...), const char *path, int flags, int mode) {
  const char *root = getenv("FAULT_ROOT");
  int here = root && !strncmp(path, root, strlen(root)), error;
  if (here && (flags & (O_WRONLY | O_RDWR)) && (error = told("open"))) { errno = error; return -1; }
  int fd = real(path, flags, mode);
  if (fd >= 0 && fd < (int)sizeof ours) ours[fd] = (char)here;
  return fd;
}
#define MODE(flags) \
  int mode = 0; \
  if ((flags) & (O_CREAT | __O_TMPFILE)) { va_list list; va_start(list, flags); mode = va_arg(list, int); va_end(list); }
int open(const char *path, int flags, ...) { MODE(flags) REAL(int, "open", const char *, int, ...); return opened(real, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) REAL(int, "open64", const char *, int, ...); return opened(real, path, flags, mode); }
int close(int fd) {
  REAL(int, "close", int);
  if (fd >= 0 && fd < (int)sizeof ours) ours[fd] = 0;
  return real(fd);
}
ssize_t pwrite64(int fd, const void *octets, size_t n, off64_t at) {
  REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
  int error = known(fd) ? told("write") : 0;
  if (error) { errno = error; return -1; }
  return real(fd, octets, n, at);
}
ssize_t pwrite(int fd, const void *octets, size_t n, off_t at) { return pwrite64(fd, octets, n, at); }

static int synced(int fd) {
  int error = known(fd) ? told("sync") : 0, wait = known(fd) ? told("slow") : 0;
  if (wait) { struct timespec t = {wait / 1000, wait % 1000 * 1000000L}; nanosleep(&t, 0); }
  errno = error;
  return error ? -1 : 0;
}
int fsync(int fd) { REAL(int, "fsync", int); return synced(fd) ? -1 : real(fd); }
int fdatasync(int fd) { REAL(int, "fdatasync", int); return synced(fd) ? -1 : real(fd); }

/* Preloaded into a program, records what it does to the files below POWER_ROOT, in order, in the file POWER_LOG: opens,
 * writes with their octets, truncations, renames, removals, new directories, and the beginning and the end of every sync.
 * What the program writes to standard output is recorded too: its marks. contrib/power/record.rs reads the record.
 *
 * A change and its record happen under one lock, so that the order of the record is the order of the changes, and so
 * that a kill (below) never falls between the two. A sync does not hold the lock: others write meanwhile, and only what
 * was recorded before its beginning may count as synced.
 *
 * POWER_KILL_AT=N: SIGKILL after N records. POWER_KILL_AT_MARK=N: the same after N marks.
 * POWER_NO_FILTER=1: the process is refused its seccomp filter, as in a container that forbids it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS 65536
#define REAL(type, name, ...) \
  static type (*real)(__VA_ARGS__); \
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, name)

struct head {
  uint8_t kind, pad[3];
  uint32_t pid, first, second; /* octets that follow: of the first and of the second part */
  uint64_t file, a, b;
} __attribute__((packed));

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int record = -1;
static char root[4096];
static size_t root_length;
static uint64_t serial, records, marks, kill_at, kill_at_mark;
static uint64_t known[FDS]; /* what an open file descriptor was recorded as; 0: not one of ours */

static uint64_t number(const char *name) {
  const char *text = getenv(name);
  return text ? strtoull(text, 0, 10) : 0;
}

__attribute__((constructor)) static void start(void) {
  const char *r = getenv("POWER_ROOT"), *log = getenv("POWER_LOG");
  if (!r || !log || strlen(r) >= sizeof root) return;
  strcpy(root, r);
  root_length = strlen(root);
  kill_at = number("POWER_KILL_AT");
  kill_at_mark = number("POWER_KILL_AT_MARK");
  REAL(int, "open64", const char *, int, ...);
  record = real(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (record < 0) { perror("POWER_LOG"); _exit(99); }
}

/* The lock is held. */
static void note(char kind, uint64_t file, uint64_t a, uint64_t b, const void *d1, size_t n1, const void *d2, size_t n2) {
  struct head head = {kind, {0}, (uint32_t)getpid(), (uint32_t)n1, (uint32_t)n2, file, a, b};
  struct iovec parts[3] = {{&head, sizeof head}, {(void *)d1, n1}, {(void *)d2, n2}};
  REAL(ssize_t, "writev", int, const struct iovec *, int);
  if (real(record, parts, 3) != (ssize_t)(sizeof head + n1 + n2)) { static const char w[] = "the record cannot be written\n";
    REAL(ssize_t, "write", int, const void *, size_t); real(2, w, sizeof w - 1); _exit(99); }
  records++;
  if (kind == 'M') marks++;
  if ((kill_at && records >= kill_at) || (kill_at_mark && marks >= kill_at_mark)) kill(getpid(), SIGKILL);
}

static int ours(const char *path) {
  return record >= 0 && path && !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

static uint64_t file_of(int fd) { return record >= 0 && fd >= 0 && fd < FDS ? known[fd] : 0; }

/* A call that changes files in a way that the record does not know: the replay ends with its name. */
static void unknown(const char *name) {
  pthread_mutex_lock(&lock);
  note('X', 0, 0, 0, name, strlen(name), 0, 0);
  pthread_mutex_unlock(&lock);
}

static int opened(int (*real)(const char *, int, ...), const char *path, int flags, int mode) {
  if (!ours(path)) {
    int fd = real(path, flags, mode);
    if (fd >= 0 && fd < FDS) known[fd] = 0;
    return fd;
  }
  pthread_mutex_lock(&lock);
  int fd = real(path, flags, mode), e = errno;
  if (fd >= FDS) _exit(98);
  if (fd >= 0) {
    known[fd] = ++serial;
    note('O', serial, (uint64_t)flags, 0, path, strlen(path), 0, 0);
  }
  pthread_mutex_unlock(&lock);
  errno = e;
  return fd;
}
#define MODE(flags) \
  int mode = 0; \
  if ((flags) & (O_CREAT | __O_TMPFILE)) { va_list list; va_start(list, flags); mode = va_arg(list, int); va_end(list); }
int open(const char *path, int flags, ...) { MODE(flags) REAL(int, "open", const char *, int, ...); return opened(real, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) REAL(int, "open64", const char *, int, ...); return opened(real, path, flags, mode); }

int close(int fd) {
  REAL(int, "close", int);
  if (fd >= 0 && fd < FDS) known[fd] = 0;
  return real(fd);
}

static int duplicated(int from, int to) {
  if (to >= 0 && to < FDS) known[to] = file_of(from);
  return to;
}
int fcntl(int fd, int command, ...) {
  va_list list; va_start(list, command); void *argument = va_arg(list, void *); va_end(list);
  REAL(int, "fcntl", int, int, ...);
  int r = real(fd, command, argument);
  return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? duplicated(fd, r) : r;
}
int fcntl64(int fd, int command, ...) {
  va_list list; va_start(list, command); void *argument = va_arg(list, void *); va_end(list);
  REAL(int, "fcntl64", int, int, ...);
  int r = real(fd, command, argument);
  return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? duplicated(fd, r) : r;
}
int dup(int fd) { REAL(int, "dup", int); return duplicated(fd, real(fd)); }

ssize_t pwrite64(int fd, const void *octets, size_t n, off64_t at) {
  REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
  uint64_t file = file_of(fd);
  if (!file) return real(fd, octets, n, at);
  pthread_mutex_lock(&lock);
  ssize_t r = real(fd, octets, n, at);
  int e = errno;
  if (r > 0) note('W', file, (uint64_t)at, 0, octets, (size_t)r, 0, 0);
  pthread_mutex_unlock(&lock);
  errno = e;
  return r;
}
ssize_t pwrite(int fd, const void *octets, size_t n, off_t at) { return pwrite64(fd, octets, n, at); }
ssize_t write(int fd, const void *octets, size_t n) {
  REAL(ssize_t, "write", int, const void *, size_t);
  uint64_t file = file_of(fd);
  if (record < 0 || (!file && fd != 1)) return real(fd, octets, n);
  pthread_mutex_lock(&lock);
  if (!file) note('M', 0, 0, 0, octets, n, 0, 0);
  ssize_t r = real(fd, octets, n);
  int e = errno;
  if (file && r > 0) note('W', file, (uint64_t)lseek64(fd, 0, SEEK_CUR) - (uint64_t)r, 0, octets, (size_t)r, 0, 0);
  pthread_mutex_unlock(&lock);
  errno = e;
  return r;
}
int ftruncate64(int fd, off64_t length) {
  REAL(int, "ftruncate64", int, off64_t);
  uint64_t file = file_of(fd);
  if (!file) return real(fd, length);
  pthread_mutex_lock(&lock);
  int r = real(fd, length), e = errno;
  if (!r) note('T', file, (uint64_t)length, 0, 0, 0, 0, 0);
  pthread_mutex_unlock(&lock);
  errno = e;
  return r;
}
int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

static uint64_t sync_begins(uint64_t file) {
  static uint64_t syncs;
  pthread_mutex_lock(&lock);
  uint64_t id = ++syncs;
  note('S', file, id, 0, 0, 0, 0, 0);
  pthread_mutex_unlock(&lock);
  return id;
}
static int sync_ends(uint64_t file, uint64_t id, int r) {
  int e = errno;
  pthread_mutex_lock(&lock);
  note(r ? 'f' : 's', file, id, 0, 0, 0, 0, 0);
  pthread_mutex_unlock(&lock);
  errno = e;
  return r;
}
int fsync(int fd) {
  REAL(int, "fsync", int);
  uint64_t file = file_of(fd);
  if (!file) return real(fd);
  uint64_t id = sync_begins(file);
  return sync_ends(file, id, real(fd));
}
int fdatasync(int fd) {
  REAL(int, "fdatasync", int);
  uint64_t file = file_of(fd);
  if (!file) return real(fd);
  uint64_t id = sync_begins(file);
  return sync_ends(file, id, real(fd));
}
/* Recorded with its answer, and taken for nothing: it flushes no device and commits no size. */
int sync_file_range(int fd, off64_t from, off64_t n, unsigned flags) {
  REAL(int, "sync_file_range", int, off64_t, off64_t, unsigned);
  uint64_t file = file_of(fd);
  int r = real(fd, from, n, flags), e = errno;
  if (file) {
    pthread_mutex_lock(&lock);
    note('r', file, r ? (uint64_t)e : 0, 0, 0, 0, 0, 0);
    pthread_mutex_unlock(&lock);
  }
  errno = e;
  return r;
}

int rename(const char *from, const char *to) {
  REAL(int, "rename", const char *, const char *);
  if (!ours(from)) return real(from, to);
  pthread_mutex_lock(&lock);
  int r = real(from, to), e = errno;
  if (!r) note('N', 0, 0, 0, from, strlen(from), to, strlen(to));
  pthread_mutex_unlock(&lock);
  errno = e;
  return r;
}
static int removed(const char *path, int r) {
  int e = errno;
  if (!r) note('U', 0, 0, 0, path, strlen(path), 0, 0);
  pthread_mutex_unlock(&lock);
  errno = e;
  return r;
}
int unlink(const char *path) {
  REAL(int, "unlink", const char *);
  if (!ours(path)) return real(path);
  pthread_mutex_lock(&lock);
  return removed(path, real(path));
}
int rmdir(const char *path) {
  REAL(int, "rmdir", const char *);
  if (!ours(path)) return real(path);
  pthread_mutex_lock(&lock);
  return removed(path, real(path));
}
int unlinkat(int directory, const char *name, int flags) {
  REAL(int, "unlinkat", int, const char *, int);
  char link[64], path[8192];
  if (name[0] == '/' || directory == AT_FDCWD) {
    snprintf(path, sizeof path, "%s", name);
  } else {
    snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
    ssize_t n = readlink(link, path, 4095);
    if (n < 0) n = 0;
    snprintf(path + n, sizeof path - (size_t)n, "/%s", name);
  }
  if (!ours(path)) return real(directory, name, flags);
  pthread_mutex_lock(&lock);
  return removed(path, real(directory, name, flags));
}
int mkdir(const char *path, mode_t mode) {
  REAL(int, "mkdir", const char *, mode_t);
  if (!ours(path)) return real(path, mode);
  pthread_mutex_lock(&lock);
  int r = real(path, mode), e = errno;
  if (!r) note('D', 0, 0, 0, path, strlen(path), 0, 0);
  pthread_mutex_unlock(&lock);
  errno = e;
  return r;
}

/* Nobody here uses these on files of ours; whoever begins to is found out. */
ssize_t writev(int fd, const struct iovec *parts, int n) {
  REAL(ssize_t, "writev", int, const struct iovec *, int);
  if (file_of(fd)) unknown("writev");
  return real(fd, parts, n);
}
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t n, unsigned flags) {
  REAL(ssize_t, "copy_file_range", int, off64_t *, int, off64_t *, size_t, unsigned);
  if (file_of(out)) unknown("copy_file_range");
  return real(in, from, out, to, n, flags);
}
ssize_t sendfile64(int out, int in, off64_t *from, size_t n) {
  REAL(ssize_t, "sendfile64", int, int, off64_t *, size_t);
  if (file_of(out)) unknown("sendfile");
  return real(out, in, from, n);
}
int linkat(int a, const char *from, int b, const char *to, int flags) {
  REAL(int, "linkat", int, const char *, int, const char *, int);
  if (ours(to)) unknown("linkat");
  return real(a, from, b, to, flags);
}
int fallocate64(int fd, int mode, off64_t at, off64_t n) {
  REAL(int, "fallocate64", int, int, off64_t, off64_t);
  if (file_of(fd)) unknown("fallocate");
  return real(fd, mode, at, n);
}

int prctl(int option, ...) {
  unsigned long v[4];
  va_list list; va_start(list, option);
  for (int i = 0; i < 4; i++) v[i] = va_arg(list, unsigned long);
  va_end(list);
  if (option == PR_SET_NO_NEW_PRIVS && getenv("POWER_NO_FILTER")) { errno = EPERM; return -1; }
  REAL(int, "prctl", int, ...);
  return real(option, v[0], v[1], v[2], v[3]);
}

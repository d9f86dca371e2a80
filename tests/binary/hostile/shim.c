/*
 * Loaded before the C library (LD_PRELOAD) by tests of the real binary: makes the N-th call on a file below a directory fail, and
 * puts the clock wrong. Calls are counted over all threads, which strace does not do.
 *
 *   SHIM_UNDER   the directory; calls on other files pass
 *   SHIM_CALLS   which calls count, separated by commas; without it all that write, name, remove or make durable
 *   SHIM_AT      the number of the call that fails, from 1; 0 only counts
 *   SHIM_ERRNO   what it fails with
 *   SHIM_MODE    once; or stays: all later ones that need room fail too; or short: as stays, and half of that write is done before
 *   SHIM_COUNT   a file for what was counted, a line for each call, and "failed N"
 *   SHIM_HOLD    a path: the second look at it, once it is made, announces itself with the file SHIM_READY and waits for SHIM_GO
 *   SHIM_CLOCK   seconds the clock is ahead when the process begins
 *   SHIM_STEP    seconds it goes back each time somebody looks
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { WRITE, PWRITE, FDATASYNC, FSYNC, FTRUNCATE, FALLOCATE, OPEN, MKDIR, RENAME, LINK, UNLINK, CALLS };
static const char *const NAMES[CALLS] = {"write", "pwrite", "fdatasync", "fsync", "ftruncate", "fallocate",
                                         "open",  "mkdir",  "rename",    "link",  "unlink"};
/* What a full disk refuses: it lets files be synced and removed, and those that are there be opened. */
static const char NEEDS_ROOM[CALLS] = {1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0};

static atomic_long seen, failed, counts[CALLS], looks, looks_held;
static char counted[CALLS];
static const char *under;
static size_t under_length;
static long at, with, ahead, step;
static int stays, is_short;

static long number(const char *name) {
    const char *text = getenv(name);
    return text ? strtol(text, NULL, 10) : 0;
}

__attribute__((constructor)) static void begin(void) {
    under = getenv("SHIM_UNDER");
    under_length = under ? strlen(under) : 0;
    at = number("SHIM_AT");
    with = number("SHIM_ERRNO");
    ahead = number("SHIM_CLOCK");
    step = number("SHIM_STEP");
    const char *mode = getenv("SHIM_MODE"), *calls = getenv("SHIM_CALLS");
    is_short = mode && !strcmp(mode, "short");
    stays = is_short || (mode && !strcmp(mode, "stays"));
    for (int call = 0; call < CALLS; call++) {
        const char *found = calls ? strstr(calls, NAMES[call]) : NULL;
        int whole = found && (found == calls || found[-1] == ',') && strchr(",", found[strlen(NAMES[call])]) != NULL;
        counted[call] = !calls || whole;
    }
}

__attribute__((destructor)) static void end(void) {
    const char *path = getenv("SHIM_COUNT");
    if (!path) return;
    FILE *file = fopen(path, "w");
    if (!file) return;
    for (int call = 0; call < CALLS; call++) fprintf(file, "%s %ld\n", NAMES[call], atomic_load(&counts[call]));
    fprintf(file, "failed %ld\n", atomic_load(&failed));
    fclose(file);
}

static int is_under(const char *path) {
    return under && path && !strncmp(path, under, under_length);
}

static int is_under_fd(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_under(path);
}

/* Counts a call; 1 if it is to fail, 2 if it is to do half of it first. */
static int fails(int call, int is_ours) {
    if (!is_ours || !counted[call]) return 0;
    atomic_fetch_add(&counts[call], 1);
    long number = atomic_fetch_add(&seen, 1) + 1;
    int later = stays && at > 0 && number > at && NEEDS_ROOM[call];
    if (!later && number != at) return 0;
    atomic_fetch_add(&failed, 1);
    errno = (int)with;
    return number == at && is_short && (call == WRITE || call == PWRITE) ? 2 : 1;
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t length) {
    REAL(ssize_t, write, int, const void *, size_t);
    int how = fails(WRITE, is_under_fd(fd));
    if (how == 2 && length > 1) return real(fd, data, length / 2);
    return how ? -1 : real(fd, data, length);
}

#define PWRITES(name, offset_type) \
    ssize_t name(int fd, const void *data, size_t length, offset_type offset) { \
        REAL(ssize_t, name, int, const void *, size_t, offset_type); \
        int how = fails(PWRITE, is_under_fd(fd)); \
        if (how == 2 && length > 1) return real(fd, data, length / 2, offset); \
        return how ? -1 : real(fd, data, length, offset); \
    }
PWRITES(pwrite, off_t)
PWRITES(pwrite64, off64_t)

#define ON_FD(name, call) \
    int name(int fd) { \
        REAL(int, name, int); \
        return fails(call, is_under_fd(fd)) ? -1 : real(fd); \
    }
ON_FD(fdatasync, FDATASYNC)
ON_FD(fsync, FSYNC)

#define TRUNCATES(name, offset_type) \
    int name(int fd, offset_type length) { \
        REAL(int, name, int, offset_type); \
        return fails(FTRUNCATE, is_under_fd(fd)) ? -1 : real(fd, length); \
    }
TRUNCATES(ftruncate, off_t)
TRUNCATES(ftruncate64, off64_t)

#define ALLOCATES(name, offset_type) \
    int name(int fd, int mode, offset_type offset, offset_type length) { \
        REAL(int, name, int, int, offset_type, offset_type); \
        return fails(FALLOCATE, is_under_fd(fd)) ? -1 : real(fd, mode, offset, length); \
    }
ALLOCATES(fallocate, off_t)
ALLOCATES(fallocate64, off64_t)

#define OPENS(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, name, const char *, int, ...); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        return fails(OPEN, is_under(path)) ? -1 : real(path, flags, mode); \
    }
OPENS(open)
OPENS(open64)

int mkdir(const char *path, mode_t mode) {
    REAL(int, mkdir, const char *, mode_t);
    return fails(MKDIR, is_under(path)) ? -1 : real(path, mode);
}

int rename(const char *from, const char *to) {
    REAL(int, rename, const char *, const char *);
    return fails(RENAME, is_under(to)) ? -1 : real(from, to);
}

int link(const char *from, const char *to) {
    REAL(int, link, const char *, const char *);
    return fails(LINK, is_under(to)) ? -1 : real(from, to);
}

int linkat(int from_at, const char *from, int to_at, const char *to, int flags) {
    REAL(int, linkat, int, const char *, int, const char *, int);
    return fails(LINK, is_under(to)) ? -1 : real(from_at, from, to_at, to, flags);
}

int unlink(const char *path) {
    REAL(int, unlink, const char *);
    return fails(UNLINK, is_under(path)) ? -1 : real(path);
}

int statx(int at_fd, const char *path, int flags, unsigned mask, struct statx *found) {
    REAL(int, statx, int, const char *, int, unsigned, struct statx *);
    int result = real(at_fd, path, flags, mask, found), was = errno;
    const char *held = getenv("SHIM_HOLD"), *ready = getenv("SHIM_READY"), *go = getenv("SHIM_GO");
    if (held && ready && go && !strcmp(path, held) && atomic_fetch_add(&looks_held, 1) == 1) {
        FILE *file = fopen(ready, "w");
        if (file) fclose(file);
        while (access(go, F_OK)) usleep(1000);
    }
    errno = was;
    return result;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    REAL(int, clock_gettime, clockid_t, struct timespec *);
    int result = real(clock, time);
    if (!result && clock == CLOCK_REALTIME && (ahead || step)) {
        long offset = ahead - step * atomic_fetch_add(&looks, 1);
        /* Not before the kernel's own zero, which it could not be set to. */
        time->tv_sec = time->tv_sec + offset > 0 ? time->tv_sec + offset : 0;
    }
    return result;
}

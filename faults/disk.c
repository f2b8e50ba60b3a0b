/* What a program does to one folder, seen and spoilt from below: preloaded, it stands between the program (Python,
   HDF5, the Rust of safetensors alike) and the C library.

   Every call that changes the folder is counted: making or emptying a file, write, truncate, fsync, rename, unlink,
   mkdir, rmdir. From then on, by the mode that faults_arm was given:
     KILL_BEFORE, KILL_WITHIN   SIGKILL at call number `at`, before it or in its middle (half of a write is done)
     FULL                       the disk is full at call number `at` (half of a write is done) and stays full
     RECORD                     every call is written to a file descriptor, with its bytes, for faults/disk.py
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OFF, KILL_BEFORE, KILL_WITHIN, FULL, RECORD };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[4096];
static size_t root_length;
static int mode = OFF, record = -1;
static long count, at;

#define REAL(name) ({ static __typeof__(&name) f; if (!f) f = dlsym(RTLD_NEXT, #name); f; })

void faults_arm(const char *folder, int how, long number, int descriptor) {
    snprintf(root, sizeof root, "%s/", folder);
    root_length = strlen(root);
    count = 0; at = number; record = descriptor; mode = how;
}

long faults_count(void) { return count; }

static int inside(const char *path) { return mode != OFF && !strncmp(path, root, root_length); }

static void put(const void *data, size_t length) {
    for (const char *p = data; length;) {
        long n = syscall(SYS_write, record, p, length);
        if (n <= 0) _exit(99);
        p += n; length -= n;
    }
}

/* kind; inode; offset or size; path; other path or bytes */
static void note(char kind, uint64_t inode, uint64_t offset, const char *path, const void *data, uint32_t length) {
    if (mode != RECORD) return;
    uint32_t path_length = path ? strlen(path) : 0;
    put(&kind, 1); put(&inode, 8); put(&offset, 8); put(&path_length, 4); put(&length, 4);
    put(path, path_length); put(data, length);
}

void faults_mark(const char *text) {
    pthread_mutex_lock(&lock);
    note('M', 0, 0, text, "", 0);
    pthread_mutex_unlock(&lock);
}

static void killed(void) { syscall(SYS_kill, getpid(), SIGKILL); for (;;) pause(); }

/* One more call: 0 go on, 1 do half and then come back to `half`, -1 refuse with ENOSPC. With the lock held. */
static int turn(void) {
    long number = count++;
    if (mode == KILL_BEFORE && number == at) killed();
    if (mode == KILL_WITHIN && number == at) return 1;
    if (mode == FULL && number == at) return 1;
    if (mode == FULL && number > at) { errno = ENOSPC; return -1; }
    return 0;
}

/* After half a call: never comes back when it is to be killed. */
static int half(void) {
    if (mode == KILL_WITHIN) killed();
    errno = ENOSPC;
    return -1;
}

static int place(int descriptor, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    long n = readlink(link, path, 4095);
    if (n < 0) return 0;
    path[n] = 0;
    return inside(path);
}

static int absolute(int folder, const char *given, char *path) {
    char start[4096];
    if (mode == OFF || !given) return 0;
    if (given[0] == '/') { snprintf(path, 4096, "%s", given); return inside(path); }
    if (folder == AT_FDCWD) { if (!getcwd(start, sizeof start)) return 0; }
    else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        long n = readlink(link, start, sizeof start - 1);
        if (n < 0) return 0;
        start[n] = 0;
    }
    int n = snprintf(path, 4096, "%s/%s", start, given);
    return n < 4096 && inside(path);
}

static uint64_t inode_of(int descriptor) {
    struct stat status;
    return fstat(descriptor, &status) ? 0 : status.st_ino;
}

static int opened(int folder, const char *given, int flags, int bits) {
    char path[4096];
    struct stat status;
    if (!(flags & (O_CREAT | O_TRUNC)) || !absolute(folder, given, path) || (flags & O_TMPFILE) == O_TMPFILE)
        return REAL(openat)(folder, given, flags, bits);
    pthread_mutex_lock(&lock);
    int there = !lstat(path, &status), changes = !there || ((flags & O_TRUNC) && status.st_size), result;
    if (!changes) result = REAL(openat)(folder, given, flags, bits);
    else {
        int answer = turn();
        if (answer < 0) result = -1;
        else if (answer > 0 && mode == FULL) result = half();
        else {
            result = REAL(openat)(folder, given, flags, bits);
            if (answer > 0) half();
            if (result >= 0) note(there ? 'T' : 'C', inode_of(result), 0, path, "", 0);
        }
    }
    pthread_mutex_unlock(&lock);
    return result;
}

#define BITS(flags) int bits = 0; if ((flags) & (O_CREAT | O_TMPFILE)) { va_list a; va_start(a, flags); bits = va_arg(a, int); va_end(a); }
int open(const char *p, int flags, ...) { BITS(flags) return opened(AT_FDCWD, p, flags, bits); }
int open64(const char *p, int flags, ...) { BITS(flags) return opened(AT_FDCWD, p, flags | O_LARGEFILE, bits); }
int openat(int d, const char *p, int flags, ...) {
    BITS(flags)
    if (mode == OFF) return syscall(SYS_openat, d, p, flags, bits);
    return opened(d, p, flags, bits);
}
int openat64(int d, const char *p, int flags, ...) { BITS(flags) return opened(d, p, flags | O_LARGEFILE, bits); }
int creat(const char *p, mode_t bits) { return opened(AT_FDCWD, p, O_CREAT | O_WRONLY | O_TRUNC, bits); }
int creat64(const char *p, mode_t bits) { return creat(p, bits); }

/* offset -1: at the file's own place */
static ssize_t written(int descriptor, const void *data, size_t length, off_t offset) {
    char path[4096];
    ssize_t result;
#define DO(n) (offset < 0 ? syscall(SYS_write, descriptor, data, n) : syscall(SYS_pwrite64, descriptor, data, n, offset))
    if (mode == OFF || descriptor == record || !place(descriptor, path)) return DO(length);
    pthread_mutex_lock(&lock);
    int answer = turn();
    if (answer < 0) result = -1;
    else if (answer > 0) {
        result = length > 1 ? DO(length / 2) : 0;
        if (mode == KILL_WITHIN || result <= 0) result = half();
    } else {
        struct stat status;
        int flags = fcntl(descriptor, F_GETFL);
        off_t begin = offset;
        if (offset < 0) begin = (flags & O_APPEND) && !fstat(descriptor, &status) ? status.st_size : lseek(descriptor, 0, SEEK_CUR);
        result = DO(length);
        if (result > 0) note('W', inode_of(descriptor), begin, path, data, result);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

ssize_t write(int d, const void *data, size_t n) { return written(d, data, n, -1); }
ssize_t pwrite(int d, const void *data, size_t n, off_t o) { return written(d, data, n, o); }
ssize_t pwrite64(int d, const void *data, size_t n, off64_t o) { return written(d, data, n, o); }

static ssize_t gathered(int d, const struct iovec *parts, int number, off_t offset) {
    ssize_t total = 0;
    for (int i = 0; i < number; i++) {
        if (!parts[i].iov_len) continue;
        ssize_t n = written(d, parts[i].iov_base, parts[i].iov_len, offset < 0 ? -1 : offset + total);
        if (n < 0) return total ? total : -1;
        total += n;
        if ((size_t)n < parts[i].iov_len) break;
    }
    return total;
}
ssize_t writev(int d, const struct iovec *p, int n) {
    char path[4096];
    if (mode == OFF || !place(d, path)) return syscall(SYS_writev, d, p, n);
    return gathered(d, p, n, -1);
}
ssize_t pwritev(int d, const struct iovec *p, int n, off_t o) { return gathered(d, p, n, o); }
ssize_t pwritev64(int d, const struct iovec *p, int n, off64_t o) { return gathered(d, p, n, o); }

/* Refused inside, so that their callers fall back to plain writes, which are counted. */
ssize_t sendfile(int out, int in, off_t *offset, size_t n) {
    char path[4096];
    if (mode != OFF && place(out, path)) { errno = EINVAL; return -1; }
    return syscall(SYS_sendfile, out, in, offset, n);
}
ssize_t sendfile64(int out, int in, off64_t *offset, size_t n) { return sendfile(out, in, offset, n); }
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t n, unsigned flags) {
    char path[4096];
    if (mode != OFF && place(out, path)) { errno = EXDEV; return -1; }
    return syscall(SYS_copy_file_range, in, from, out, to, n, flags);
}

/* A call that is done whole or not: `call` gives 0 for success. */
#define WHOLE(call, kind, inode, offset, path, data, length) \
    pthread_mutex_lock(&lock); \
    int result, answer = turn(); \
    uint64_t own = (inode); \
    if (answer < 0 || (answer > 0 && mode == FULL)) { errno = ENOSPC; result = -1; } \
    else { result = (call); if (answer > 0) half(); if (!result) note(kind, own, offset, path, data, length); } \
    pthread_mutex_unlock(&lock); \
    return result;

static int truncated(int d, off_t size) {
    char path[4096];
    if (mode == OFF || !place(d, path)) return syscall(SYS_ftruncate, d, size);
    WHOLE(syscall(SYS_ftruncate, d, size), 'T', inode_of(d), size, path, "", 0)
}
int ftruncate(int d, off_t size) { return truncated(d, size); }
int ftruncate64(int d, off64_t size) { return truncated(d, size); }

static int synced(int d, long how) {
    char path[4096];
    if (mode == OFF || !place(d, path)) {
        /* the folder itself, whose path has no slash behind it */
        size_t n = mode == OFF ? 0 : strlen(path);
        if (!n || n + 1 != root_length || strncmp(path, root, n)) return syscall(how, d);
    }
    WHOLE(mode == RECORD ? 0 : (int)syscall(how, d), 'F', inode_of(d), 0, path, "", 0)
}
int fsync(int d) { return synced(d, SYS_fsync); }
int fdatasync(int d) { return synced(d, SYS_fdatasync); }

static int renamed(int from, const char *old, int to, const char *new) {
    char path[4096], other[4096];
    if (!absolute(from, old, path) | !absolute(to, new, other)) return syscall(SYS_renameat, from, old, to, new);
    WHOLE(syscall(SYS_renameat, from, old, to, new), 'R', 0, 0, path, other, strlen(other))
}
int rename(const char *old, const char *new) { return renamed(AT_FDCWD, old, AT_FDCWD, new); }
int renameat(int from, const char *old, int to, const char *new) { return renamed(from, old, to, new); }

/* Deleting needs no space: never refused, so that what a program tidies up is gone. */
static int removed(int d, const char *given, int flags) {
    char path[4096];
    if (!absolute(d, given, path)) return syscall(SYS_unlinkat, d, given, flags);
    pthread_mutex_lock(&lock);
    int answer = mode == FULL ? 0 : turn();
    int result = syscall(SYS_unlinkat, d, given, flags);
    if (answer > 0) half();
    if (!result) note(flags & AT_REMOVEDIR ? 'X' : 'U', 0, 0, path, "", 0);
    pthread_mutex_unlock(&lock);
    return result;
}
int unlink(const char *p) { return removed(AT_FDCWD, p, 0); }
int unlinkat(int d, const char *p, int flags) { return removed(d, p, flags); }
int rmdir(const char *p) { return removed(AT_FDCWD, p, AT_REMOVEDIR); }
int remove(const char *p) { struct stat s; return removed(AT_FDCWD, p, !lstat(p, &s) && S_ISDIR(s.st_mode) ? AT_REMOVEDIR : 0); }

static int made(int d, const char *given, mode_t bits) {
    char path[4096];
    struct stat status;
    if (!absolute(d, given, path) || !lstat(path, &status)) return syscall(SYS_mkdirat, d, given, bits);
    WHOLE(syscall(SYS_mkdirat, d, given, bits), 'D', 0, 0, path, "", 0)
}
int mkdir(const char *p, mode_t bits) { return made(AT_FDCWD, p, bits); }
int mkdirat(int d, const char *p, mode_t bits) { return made(d, p, bits); }

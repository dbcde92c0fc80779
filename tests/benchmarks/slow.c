/* A directory as a slow server: every request takes a while, and the kernel keeps pages as an NFS client does.
 *
 *     slow DIRECTORY MICROSECONDS[/BYTES_PER_SECOND] MOUNTPOINT [FUSE's options]
 *
 * In C, and in one thread that takes in requests and begins with each when its time has come: however many are
 * under way, they take no longer, and of the CPUs, which it shares with what is measured, it takes little.
 * tests/passthrough is its elder brother for tests: that one has faults, groups and bandwidth, and answers some
 * 3,000 requests a second. The files /.requests, /.reads and /.bytes hold how many requests there were, how many
 * of them reads, and of how many bytes; asking for them counts as none.
 *
 * With a bandwidth, which all share, answers go out one after the other; and the kernel keeps no pages, as of data
 * that are larger than memory: each read is a request.
 */
#define FUSE_USE_VERSION 35
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <fuse_lowlevel.h>
#include <limits.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define COUNTER_BYTES 20

#define MOST_BYTES (2 << 20) /* more than the kernel asks for at once */
#define MOST_WAITING 4096    /* more than the kernel has under way */

/* Nanoseconds before a request's time that it is awake: a virtual machine wakes up late. Where many are under
 * way the next is due soon anyway, and those who are answered need the CPU. */
#define AWAKE_FOR_ONE 150000L
#define AWAKE_FOR_MANY 20000L

static const char *root;
static unsigned long requests, reads, bytes;
static double bandwidth; /* bytes a nanosecond; 0: as much as there is */

static const struct counter {
    const char *path;
    unsigned long *value;
} counters[] = {{"/.requests", &requests}, {"/.reads", &reads}, {"/.bytes", &bytes}};
#define COUNTERS (sizeof counters / sizeof *counters)

/* Which counter a path is of; COUNTERS for none. */
static unsigned long counter_of(const char *path)
{
    unsigned long at = 0;
    while (at < COUNTERS && strcmp(path, counters[at].path))
        at++;
    return at;
}

static void below(char *full, const char *path)
{
    snprintf(full, PATH_MAX, "%s%s", root, path);
}

static int slow_getattr(const char *path, struct stat *status, struct fuse_file_info *info)
{
    char full[PATH_MAX];
    (void)info;
    if (counter_of(path) < COUNTERS) {
        memset(status, 0, sizeof *status);
        status->st_mode = S_IFREG | 0444;
        status->st_nlink = 1;
        status->st_size = COUNTER_BYTES;
        return 0;
    }
    requests++;
    below(full, path);
    return lstat(full, status) ? -errno : 0;
}

static int slow_readlink(const char *path, char *target, size_t size)
{
    char full[PATH_MAX];
    requests++;
    below(full, path);
    ssize_t length = readlink(full, target, size - 1);
    if (length < 0)
        return -errno;
    target[length] = 0;
    return 0;
}

static int slow_readdir(const char *path, void *list, fuse_fill_dir_t add, off_t offset,
                        struct fuse_file_info *info, enum fuse_readdir_flags flags)
{
    char full[PATH_MAX];
    (void)offset, (void)info, (void)flags;
    requests++;
    below(full, path);
    DIR *directory = opendir(full);
    if (!directory)
        return -errno;
    for (struct dirent *entry; (entry = readdir(directory));) {
        struct stat status = {.st_ino = entry->d_ino, .st_mode = DTTOIF(entry->d_type)};
        add(list, entry->d_name, &status, 0, 0);
    }
    closedir(directory);
    return 0;
}

static int slow_open(const char *path, struct fuse_file_info *info)
{
    char full[PATH_MAX];
    if (counter_of(path) < COUNTERS) {
        info->direct_io = 1; /* never out of date */
        info->fh = ~counter_of(path);
        return 0;
    }
    info->keep_cache = !bandwidth;
    info->direct_io = !!bandwidth;
    requests++;
    below(full, path);
    int file = open(full, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return -errno;
    info->fh = file;
    return 0;
}

static ssize_t slow_read(char *data, size_t size, off_t offset, uint64_t file)
{
    if (~file < COUNTERS) {
        char text[COUNTER_BYTES + 1];
        snprintf(text, sizeof text, "%*lu\n", COUNTER_BYTES - 1, *counters[~file].value);
        if (offset >= COUNTER_BYTES)
            return 0;
        size = size < COUNTER_BYTES - (size_t)offset ? size : COUNTER_BYTES - (size_t)offset;
        memcpy(data, text + offset, size);
        return size;
    }
    requests++;
    reads++;
    ssize_t length = pread(file, data, size, offset);
    bytes += length > 0 ? length : 0;
    return length < 0 ? -errno : length;
}

static int slow_release(const char *path, struct fuse_file_info *info)
{
    (void)path;
    if (~info->fh >= COUNTERS)
        close(info->fh);
    return 0;
}

static void *slow_init(struct fuse_conn_info *connection, struct fuse_config *config)
{
    connection->max_background = 512;
    connection->congestion_threshold = 512;
    config->entry_timeout = config->attr_timeout = 3.0; /* as an NFS client keeps them */
    config->use_ino = 1;
    return NULL;
}

static const struct fuse_operations operations = {
    .init = slow_init,
    .getattr = slow_getattr,
    .readlink = slow_readlink,
    .readdir = slow_readdir,
    .open = slow_open,
    .release = slow_release,
};

/* --- requests that wait for their time: none is answered before one that came earlier -------------- */

static struct waiting {
    long due;
    uint64_t unique;             /* of a read */
    struct fuse_read_in read;
    struct fuse_buf other;       /* what is not a read, as it came */
} queue[MOST_WAITING];
static unsigned long first, behind;
static long last_due;

static long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000L + time.tv_nsec;
}

/* Nearly all requests are reads, and a server that is busy with them answers late: they take the short way. */
static void answer_read(int device, const struct waiting *one)
{
    static struct {
        char padding[4096 - sizeof(struct fuse_out_header)]; /* the data begins a page */
        struct fuse_out_header head;
        char data[MOST_BYTES];
    } reply __attribute__((aligned(4096)));
    ssize_t length = slow_read(reply.data, one->read.size, one->read.offset, one->read.fh);
    reply.head = (struct fuse_out_header){
        .len = sizeof reply.head + (length > 0 ? length : 0),
        .error = length < 0 ? length : 0,
        .unique = one->unique,
    };
    while (write(device, &reply.head, reply.head.len) < 0 && errno == EINTR)
        ;
}

static int take_in(int device, long latency)
{
    static union {
        struct fuse_in_header head;
        char bytes[MOST_BYTES];
    } request;
    ssize_t length = 0;
    while (behind - first < MOST_WAITING && (length = read(device, &request, sizeof request)) > 0) {
        struct waiting *one = &queue[behind++ % MOST_WAITING];
        one->due = now() + latency;
        if (one->due < last_due)
            one->due = last_due;
        if (request.head.opcode == FUSE_READ) {
            one->unique = request.head.unique;
            one->read = *(struct fuse_read_in *)(&request.head + 1);
            if (bandwidth && ~one->read.fh >= COUNTERS)
                one->due += one->read.size / bandwidth;
        } else {
            one->unique = 0;
            one->other = (struct fuse_buf){.size = length, .mem = memcpy(malloc(length), &request, length)};
        }
        last_due = one->due;
    }
    return length > 0 || errno == EAGAIN || errno == EINTR || errno == ENOENT;
}

static void answer_one_if_due(struct fuse_session *session, int device)
{
    if (first == behind || queue[first % MOST_WAITING].due > now())
        return;
    struct waiting *one = &queue[first++ % MOST_WAITING];
    if (one->unique) {
        answer_read(device, one);
    } else {
        fuse_session_process_buf(session, &one->other);
        free(one->other.mem);
    }
}

static void wait_for_something(int session)
{
    struct pollfd device = {.fd = session, .events = POLLIN};
    long awake = behind - first == 1 ? AWAKE_FOR_ONE : AWAKE_FOR_MANY;
    long wait = first < behind ? queue[first % MOST_WAITING].due - now() - awake : 1000000000L;
    struct timespec most = {wait / 1000000000L, wait % 1000000000L};
    if (wait > 0)
        ppoll(&device, 1, &most, NULL);
}

static void serve(struct fuse_session *session, long latency)
{
    int device = fuse_session_fd(session);
    fcntl(device, F_SETFL, fcntl(device, F_GETFL) | O_NONBLOCK);
    prctl(PR_SET_TIMERSLACK, 1);
    /* One answer at a time: a request's time begins when it is taken in. */
    while (!fuse_session_exited(session) && take_in(device, latency)) {
        answer_one_if_due(session, device);
        wait_for_something(device);
    }
}

int main(int count, char **words)
{
    if (count < 4) {
        fprintf(stderr, "usage: slow DIRECTORY MICROSECONDS[/BYTES_PER_SECOND] MOUNTPOINT [OPTIONS]\n");
        return 2;
    }
    root = realpath(words[1], NULL);
    char *rest;
    long latency = 1000 * strtol(words[2], &rest, 10);
    bandwidth = *rest == '/' ? atof(rest + 1) / 1e9 : 0;
    const char *mountpoint = words[3];
    words[3] = words[0];
    struct fuse_args args = FUSE_ARGS_INIT(count - 3, words + 3);
    struct fuse *fuse = root ? fuse_new(&args, &operations, sizeof operations, NULL) : NULL;
    if (!fuse || fuse_mount(fuse, mountpoint))
        return 1;
    fuse_set_signal_handlers(fuse_get_session(fuse));
    serve(fuse_get_session(fuse), latency);
    fuse_unmount(fuse);
    return 0;
}

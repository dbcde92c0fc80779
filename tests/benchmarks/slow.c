/* A directory as a slow server: every request takes a while, and the kernel keeps pages as an NFS client does.
 *
 *     slow DIRECTORY MICROSECONDS MOUNTPOINT [FUSE's options]
 *
 * In C and with a thread a request, so that many requests under way at once are answered as a file
 * server answers them, and this program is not what is measured. tests/passthrough is its elder
 * brother for tests: that one has faults, groups and bandwidth, and answers some 3,000 requests a
 * second. The file /.requests holds how many requests there were; asking for it counts as none.
 */
#define FUSE_USE_VERSION 35
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define COUNTER "/.requests"
#define COUNTER_BYTES 20

static const char *root;
static struct timespec latency;
static atomic_ulong requests;

static void take_time(void)
{
    struct timespec left = latency;
    atomic_fetch_add(&requests, 1);
    while (nanosleep(&left, &left) && errno == EINTR)
        ;
}

static void below(char *full, const char *path)
{
    snprintf(full, PATH_MAX, "%s%s", root, path);
}

static int slow_getattr(const char *path, struct stat *status, struct fuse_file_info *info)
{
    char full[PATH_MAX];
    (void)info;
    if (!strcmp(path, COUNTER)) {
        memset(status, 0, sizeof *status);
        status->st_mode = S_IFREG | 0444;
        status->st_nlink = 1;
        status->st_size = COUNTER_BYTES;
        return 0;
    }
    take_time();
    below(full, path);
    return lstat(full, status) ? -errno : 0;
}

static int slow_readlink(const char *path, char *target, size_t size)
{
    char full[PATH_MAX];
    take_time();
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
    take_time();
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
    if (!strcmp(path, COUNTER)) {
        info->direct_io = 1; /* never out of date */
        info->fh = (uint64_t)-1;
        return 0;
    }
    info->keep_cache = 1;
    take_time();
    below(full, path);
    int file = open(full, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return -errno;
    info->fh = file;
    return 0;
}

static int slow_read(const char *path, char *data, size_t size, off_t offset,
                     struct fuse_file_info *info)
{
    (void)path;
    if (info->fh == (uint64_t)-1) {
        char text[COUNTER_BYTES + 1];
        snprintf(text, sizeof text, "%*lu\n", COUNTER_BYTES - 1, atomic_load(&requests));
        if (offset >= COUNTER_BYTES)
            return 0;
        size = size < COUNTER_BYTES - (size_t)offset ? size : COUNTER_BYTES - (size_t)offset;
        memcpy(data, text + offset, size);
        return size;
    }
    take_time();
    ssize_t length = pread(info->fh, data, size, offset);
    return length < 0 ? -errno : length;
}

static int slow_release(const char *path, struct fuse_file_info *info)
{
    (void)path;
    if (info->fh != (uint64_t)-1)
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
    .read = slow_read,
    .release = slow_release,
};

int main(int count, char **words)
{
    if (count < 4) {
        fprintf(stderr, "usage: slow DIRECTORY MICROSECONDS MOUNTPOINT [OPTIONS]\n");
        return 2;
    }
    root = realpath(words[1], NULL);
    long wait = atol(words[2]);
    latency = (struct timespec){wait / 1000000, wait % 1000000 * 1000};
    words[2] = words[0];
    return root ? fuse_main(count - 2, words + 2, &operations, NULL) : 1;
}

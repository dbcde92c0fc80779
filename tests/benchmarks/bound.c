/* The least that a FUSE server can do: what no server, in whatever language, can be faster than.
 *
 *     bound LIST TAR MOUNTPOINT WORKERS
 *
 * LIST has a line for each image, those of a class together: CLASS/NAME, a tab, offset in TAR, a tab,
 * size. It is mounted by root, in the foreground, until somebody unmounts it. Nothing is checked,
 * counted or looked up; the kernel keeps all that it is told. A worker is a process with a clone of the
 * session; an image costs it four system calls: the request, the reply's header into a pipe, the image's
 * pages behind it, and all of it to the kernel. What an image costs beyond that is the kernel's and the
 * reader's own time.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define LONG_SECONDS 86400
#define PIPE_BYTES (512 * 1024)
#define REQUEST_BYTES (64 * 1024)
#define LISTING_BYTES (1 << 20)
#define READ_AHEAD_KB "256" /* as imagenetfs has it */

/* The root is node 1, then come the classes, then the images. */
struct node {
    const char *name;
    uint64_t offset, size;      /* of an image in the tar */
    uint64_t first, behind;     /* the nodes within a directory */
};

static struct node *nodes;
static uint64_t count, classes;
static int tar, session, channel[2];

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

/* --- the list ---------------------------------------------------------------------------------- */

static char *whole(const char *path)
{
    struct stat status;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &status))
        fail(path);
    char *text = malloc(status.st_size + 1);
    if (!text || read(file, text, status.st_size) != status.st_size)
        fail(path);
    text[status.st_size] = 0;
    close(file);
    return text;
}

static void take_list(const char *path)
{
    char *text = whole(path), *last = "";
    for (char *at = text; (at = strchr(at, '\n')); at++)
        count++;
    /* More than enough: no class is without an image. */
    struct node *directories = calloc(count + 2, sizeof *nodes);
    nodes = calloc(2 * count + 2, sizeof *nodes);
    struct node *images = calloc(count + 1, sizeof *nodes), *image = images;
    if (!directories || !nodes || !images)
        fail("calloc");
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), image++) {
        char *slash = strchr(line, '/'), *tab = strchr(line, '\t'), *end;
        if (!slash || !tab) {
            fprintf(stderr, "%s: what is '%s'?\n", path, line);
            exit(1);
        }
        *slash = *tab = 0;
        if (strcmp(last, line))
            directories[classes++] = (struct node){.name = last = line, .first = image - images};
        directories[classes - 1].behind = image - images + 1;
        image->name = slash + 1;
        image->offset = strtoull(tab + 1, &end, 10);
        image->size = strtoull(end, NULL, 10);
    }
    nodes[FUSE_ROOT_ID] = (struct node){.first = 2, .behind = 2 + classes};
    for (uint64_t at = 0; at < classes; at++) {
        directories[at].first += 2 + classes;
        directories[at].behind += 2 + classes;
        nodes[2 + at] = directories[at];
    }
    memcpy(nodes + 2 + classes, images, count * sizeof *nodes);
    count += 2 + classes;
}

/* --- answers ----------------------------------------------------------------------------------- */

static void reply(uint64_t unique, int error, const void *answer, size_t length)
{
    struct fuse_out_header head = {sizeof head + length, -error, unique};
    struct iovec parts[] = {{&head, sizeof head}, {(void *)answer, length}};
    if (writev(session, parts, 2) < 0 && errno != ENOENT && errno != ENODEV)
        fail("reply");
}

static struct fuse_attr attributes(uint64_t number)
{
    const struct node *node = &nodes[number];
    struct fuse_attr found = {.ino = number, .nlink = 1, .blksize = 4096, .size = node->size};
    found.mode = node->behind ? S_IFDIR | 0555 : S_IFREG | 0444;
    found.blocks = (node->size + 511) / 512;
    return found;
}

static struct fuse_entry_out entry(uint64_t number)
{
    return (struct fuse_entry_out){.nodeid = number,
                                   .entry_valid = LONG_SECONDS,
                                   .attr_valid = LONG_SECONDS,
                                   .attr = attributes(number)};
}

static void answer_lookup(uint64_t unique, uint64_t parent, const char *name)
{
    for (uint64_t at = nodes[parent].first; at < nodes[parent].behind; at++)
        if (!strcmp(nodes[at].name, name)) {
            struct fuse_entry_out found = entry(at);
            reply(unique, 0, &found, sizeof found);
            return;
        }
    reply(unique, ENOENT, NULL, 0);
}

static void answer_listing(uint64_t unique, uint64_t number, const struct fuse_read_in *asked)
{
    static char answer[LISTING_BYTES];
    size_t used = 0, room = asked->size < sizeof answer ? asked->size : sizeof answer;
    uint64_t first = nodes[number].first, behind = nodes[number].behind;
    for (uint64_t at = first + asked->offset; at < behind; at++) {
        size_t length = strlen(nodes[at].name);
        size_t bytes = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET_DIRENTPLUS + length);
        if (used + bytes > room)
            break;
        struct fuse_direntplus *put = (struct fuse_direntplus *)(answer + used);
        memset(put, 0, bytes);
        put->entry_out = entry(at);
        put->dirent = (struct fuse_dirent){.ino = at, .off = at - first + 1, .namelen = length};
        put->dirent.type = put->entry_out.attr.mode >> 12;
        memcpy(put->dirent.name, nodes[at].name, length);
        used += bytes;
    }
    reply(unique, 0, answer, used);
}

static void answer_read(uint64_t unique, uint64_t number, const struct fuse_read_in *asked)
{
    const struct node *node = &nodes[number];
    uint64_t left = asked->offset < node->size ? node->size - asked->offset : 0;
    size_t length = asked->size < left ? asked->size : left;
    struct fuse_out_header head = {sizeof head + length, 0, unique};
    off_t at = node->offset + asked->offset;
    if (write(channel[1], &head, sizeof head) != sizeof head)
        fail("pipe");
    for (size_t done = 0; done < length;) {
        ssize_t more = splice(tar, &at, channel[1], NULL, length - done, 0);
        if (more <= 0)
            fail("splice from the tar");
        done += more;
    }
    if (splice(channel[0], NULL, session, NULL, head.len, 0) < 0)
        fail("splice to the kernel"); /* the pipe is of no use any more */
}

static void answer_init(const char *request)
{
    const struct fuse_in_header *head = (const void *)request;
    const struct fuse_init_in *asked = (const void *)(head + 1);
    struct fuse_init_out answer = {.major = FUSE_KERNEL_VERSION,
                                   .minor = 31,
                                   .max_readahead = asked->max_readahead,
                                   .max_background = 256,
                                   .congestion_threshold = 256,
                                   .max_write = 4096,
                                   .time_gran = 1,
                                   .max_pages = 256};
    answer.flags = asked->flags & (FUSE_ASYNC_READ | FUSE_DO_READDIRPLUS | FUSE_PARALLEL_DIROPS |
                                   FUSE_MAX_PAGES);
    reply(head->unique, 0, &answer, sizeof answer);
}

static void answer(const char *request)
{
    const struct fuse_in_header *head = (const void *)request;
    const void *asked = head + 1;
    struct fuse_attr_out found = {.attr_valid = LONG_SECONDS};
    switch (head->opcode) {
    case FUSE_READ:
        return answer_read(head->unique, head->nodeid, asked);
    case FUSE_READDIRPLUS:
        return answer_listing(head->unique, head->nodeid, asked);
    case FUSE_LOOKUP:
        return answer_lookup(head->unique, head->nodeid, asked);
    case FUSE_GETATTR:
        found.attr = attributes(head->nodeid);
        return reply(head->unique, 0, &found, sizeof found);
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
        return;
    case FUSE_INIT:
        return answer_init(request);
    default: /* OPEN and OPENDIR among them: the kernel asks for them no more */
        return reply(head->unique, ENOSYS, NULL, 0);
    }
}

/* --- workers ----------------------------------------------------------------------------------- */

static char request[REQUEST_BYTES] __attribute__((aligned(8)));

static void work(void)
{
    int clone = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    uint32_t original = session;
    if (clone < 0 || ioctl(clone, FUSE_DEV_IOC_CLONE, &original))
        fail("a clone of the session");
    session = clone;
    if (pipe2(channel, O_CLOEXEC) || fcntl(channel[1], F_SETPIPE_SZ, PIPE_BYTES) < PIPE_BYTES)
        fail("a pipe");
    for (;;) {
        if (read(session, request, sizeof request) > 0)
            answer(request);
        else if (errno == ENODEV)
            exit(0);
        else if (errno != ENOENT && errno != EINTR && errno != EAGAIN)
            fail("a request");
    }
}

/* As root may: an image in one request. The workers answer stat. */
static void raise_read_ahead(const char *mountpoint)
{
    struct stat status;
    char path[64];
    if (stat(mountpoint, &status))
        fail(mountpoint);
    snprintf(path, sizeof path, "/sys/class/bdi/%u:%u/read_ahead_kb", major(status.st_dev),
             minor(status.st_dev));
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0 || write(file, READ_AHEAD_KB, strlen(READ_AHEAD_KB)) < 0)
        fail(path);
    close(file);
}

int main(int words, char **word)
{
    if (words != 5) {
        fprintf(stderr, "usage: bound LIST TAR MOUNTPOINT WORKERS\n");
        return 2;
    }
    take_list(word[1]);
    tar = open(word[2], O_RDONLY | O_CLOEXEC);
    if (tar < 0)
        fail(word[2]);
    posix_fadvise(tar, 0, 0, POSIX_FADV_RANDOM);
    session = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    char options[128];
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=%u,group_id=%u", session,
             getuid(), getgid());
    if (session < 0 || mount("bound", word[3], "fuse.bound", MS_RDONLY | MS_NOSUID | MS_NODEV, options))
        fail("mount");
    if (read(session, request, sizeof request) < 0)
        fail("the first request");
    answer(request);
    for (int started = atoi(word[4]); started; started--) {
        pid_t pid = fork();
        if (pid < 0)
            fail("fork");
        if (!pid)
            work();
    }
    raise_read_ahead(word[3]);
    close(session);
    while (wait(NULL) > 0)
        ;
    return 0;
}

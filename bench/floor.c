/* The floor: the files, folders and hard links of a layer written with nothing read, inflated, hashed or checked.
 * usage: floor LIST DIR      LIST is a corpus's floor.txt: kind, size, path and target of a link, with tabs between.
 * No program that unpacks the layer can be faster than this; all that is left out is what there is to win. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char piece[1 << 16]; /* larger ones are slower where a host takes free memory back, see docs/performance.md */

static void fail(const char *path) {
    fprintf(stderr, "floor: %s: %s\n", path, strerror(errno));
    exit(1);
}

static void write_file(const char *path, long size) {
    const struct timespec times[2] = {{1600000000, 123456700}, {1600000000, 123456700}};
    int file = open(path, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (file < 0) fail(path);
    while (size > 0) {
        ssize_t count = write(file, piece, size < (long)sizeof piece ? (size_t)size : sizeof piece);
        if (count < 0) fail(path);
        size -= count;
    }
    if (futimens(file, times) || close(file)) fail(path);
}

int main(int count, char **arguments) {
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    FILE *list = count == 3 ? fopen(arguments[1], "r") : NULL;
    if (!list || chdir(arguments[2])) fail(count == 3 ? arguments[1] : "usage: floor LIST DIR");
    memset(piece, 0x5a, sizeof piece);
    while ((length = getline(&line, &room, list)) > 0) {
        line[length - 1] = 0;
        char *kind = strtok(line, "\t"), *size = strtok(NULL, "\t"), *path = strtok(NULL, "\t"), *target = strtok(NULL, "\t");
        if (!path) fail("a line of the list");
        if (*kind == 'f')
            write_file(path, atol(size));
        else if (*kind == 'd' ? mkdir(path, 0755) && errno != EEXIST : link(target, path))
            fail(path);
    }
    return 0;
}

/* Files under WEB_ROOT. Small ones are kept in memory, looked at again when a second has passed. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "server.h"

enum { SMALL = 65536, KEPT = 64, KEPT_BYTES = 1 << 20, PATH = 1024, FRESH = 1000 /* ms */ };

struct tag {
    char etag[40];
    char modified[32]; /* empty where the file has no modification time, as in an image */
};

/* A small file in memory. `response` is a whole reply with status 200, shared by all that ask for it. */
struct kept {
    char *path;
    char *data;
    size_t size;
    int64_t checked; /* web_now() when it was last compared with the file */
    struct stat stat;
    struct tag tag;
    const char *type;
    struct MHD_Response *response;
};

static int root = -1;
static struct kept kept[KEPT];
static size_t kept_bytes, next_victim;
static uint64_t start_nonce;

static const struct {
    const char *extension, *type;
} types[] = {
    {"html", "text/html; charset=utf-8"}, {"htm", "text/html; charset=utf-8"}, {"css", "text/css; charset=utf-8"},
    {"js", "text/javascript; charset=utf-8"}, {"mjs", "text/javascript; charset=utf-8"},
    {"json", "application/json"}, {"map", "application/json"}, {"webmanifest", "application/manifest+json"},
    {"txt", "text/plain; charset=utf-8"}, {"md", "text/markdown; charset=utf-8"}, {"csv", "text/csv; charset=utf-8"},
    {"xml", "application/xml"}, {"svg", "image/svg+xml"}, {"png", "image/png"}, {"jpg", "image/jpeg"},
    {"jpeg", "image/jpeg"}, {"gif", "image/gif"}, {"webp", "image/webp"}, {"avif", "image/avif"},
    {"ico", "image/x-icon"}, {"woff", "font/woff"}, {"woff2", "font/woff2"}, {"ttf", "font/ttf"},
    {"wasm", "application/wasm"}, {"pdf", "application/pdf"}, {"zip", "application/zip"}, {"gz", "application/gzip"},
    {"mp3", "audio/mpeg"}, {"mp4", "video/mp4"}, {"webm", "video/webm"},
};

static const char *type_of(const char *path) {
    const char *dot = strrchr(path, '.');
    if (dot != NULL && strchr(dot, '/') == NULL)
        for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
            if (strcmp(dot + 1, types[i].extension) == 0)
                return types[i].type;
    return "application/octet-stream";
}

static int init(char *why, size_t size) {
    const char *path = web_text_setting("WEB_ROOT", "/srv/www");
    root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0 && errno != ENOENT) {
        snprintf(why, size, "the folder '%s' of the setting 'WEB_ROOT' cannot be opened: %s.", path, strerror(errno));
        return -1;
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    start_nonce = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    return 0;
}

/* Turns the request's path into one relative to the root: decoded, no segment empty, hidden, "." or "..", none with a
 * slash, backslash or NUL inside. A trailing slash asks for index.html. Length, or -1: no file can have this name. */
static ssize_t relative_path(const char *path, char *out, size_t size) {
    size_t used = 0;
    if (*path++ != '/')
        return -1;
    for (;;) {
        size_t length = strcspn(path, "/");
        if (length == 0) {
            if (path[0] != '\0' || size - used < sizeof "index.html")
                return -1;
            memcpy(out + used, "index.html", sizeof "index.html");
            return (ssize_t)(used + sizeof "index.html" - 1);
        }
        if (length >= size - used - 1)
            return -1;
        ssize_t n = text_percent_decode(path, length, out + used);
        if (n <= 0 || out[used] == '.' || strlen(out + used) != (size_t)n || strpbrk(out + used, "/\\") != NULL)
            return -1;
        used += (size_t)n;
        path += length;
        if (*path == '\0')
            return (ssize_t)used;
        out[used++] = '/';
        path++;
    }
}

/* Opens segment by segment and follows no symbolic link, so that nothing outside the root can be reached whatever
 * stands inside it. */
static int open_inside(const char *path) {
    int folder = root;
    char segment[256];
    for (;;) {
        size_t length = strcspn(path, "/");
        if (length >= sizeof segment) {
            if (folder != root)
                close(folder);
            errno = ENOENT;
            return -1;
        }
        memcpy(segment, path, length);
        segment[length] = '\0';
        bool last = path[length] == '\0';
        /* O_NONBLOCK: opening a FIFO must not wait for a writer. */
        int fd = openat(folder, segment, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | (last ? 0 : O_DIRECTORY));
        int saved = errno;
        if (folder != root)
            close(folder);
        errno = saved;
        if (fd < 0 || last)
            return fd;
        folder = fd;
        path += length + 1;
    }
}

static void fill_modified(const struct stat *st, struct tag *tag) {
    struct tm tm;
    tag->modified[0] = '\0';
    if (st->st_mtime > 0 && gmtime_r(&st->st_mtime, &tm) != NULL)
        strftime(tag->modified, sizeof tag->modified, "%a, %d %b %Y %H:%M:%S GMT", &tm);
}

/* FNV-1a, 64 bits: names content, protects nothing. */
static uint64_t hash(const char *data, size_t size) {
    uint64_t value = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++)
        value = (value ^ (unsigned char)data[i]) * 0x100000001b3u;
    return value;
}

/* A large file is named by what it is, not by its content; files of an image all have the modification time 0, so the
 * server's start stands in for it. */
static void tag_large(const struct stat *st, struct tag *tag) {
    fill_modified(st, tag);
    uint64_t moment = st->st_mtime > 0 ? (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec
                                       : start_nonce;
    snprintf(tag->etag, sizeof tag->etag, "\"%" PRIx64 "-%" PRIx64 "\"", moment, (uint64_t)st->st_size);
}

static void add_tag_headers(struct MHD_Response *response, const struct tag *tag) {
    MHD_add_response_header(response, "ETag", tag->etag);
    if (tag->modified[0] != '\0')
        MHD_add_response_header(response, "Last-Modified", tag->modified);
    MHD_add_response_header(response, "Cache-Control", "no-cache");
}

static void add_file_headers(struct MHD_Response *response, const char *type, const struct tag *tag) {
    MHD_add_response_header(response, "Content-Type", type);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (strncmp(type, "text/html", 9) == 0 || strcmp(type, "image/svg+xml") == 0) {
        MHD_add_response_header(response, "Content-Security-Policy",
                                "default-src 'self'; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; "
                                "base-uri 'none'");
        MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    }
    MHD_add_response_header(response, "Accept-Ranges", "bytes");
    add_tag_headers(response, tag);
}

/* Whether If-None-Match or If-Modified-Since say that the client has this already (RFC 9110, section 13.1). */
static bool client_has(const struct web_request *request, const struct tag *tag) {
    const char *match = web_header(request, "If-None-Match");
    if (match != NULL)
        return strcmp(match, "*") == 0 || strstr(match, tag->etag) != NULL;
    const char *since = web_header(request, "If-Modified-Since");
    return since != NULL && tag->modified[0] != '\0' && strcmp(since, tag->modified) == 0;
}

struct range {
    uint64_t first, length;
};

/* The one range asked for (RFC 9110, section 14.1.2): 1, 0: none that is understood, so the whole and
 * `range` is as it was; -1: cannot be met. */
static int find_range(const struct web_request *request, uint64_t size, const struct tag *tag, struct range *range) {
    const char *text = web_header(request, "Range");
    if (text == NULL || strncmp(text, "bytes=", 6) != 0 || strchr(text, ',') != NULL)
        return 0;
    const char *condition = web_header(request, "If-Range");
    if (condition != NULL && strcmp(condition, tag->etag) != 0 &&
        (tag->modified[0] == '\0' || strcmp(condition, tag->modified) != 0))
        return 0;
    text += 6;
    const char *dash = strchr(text, '-');
    size_t digits = strspn(text, "0123456789");
    if (dash == NULL || text + digits != dash || dash[1 + strspn(dash + 1, "0123456789")] != '\0' || digits > 18 ||
        strlen(dash + 1) > 18)
        return 0;
    bool has_last = dash[1] != '\0';
    if (digits == 0 && !has_last)
        return 0;
    uint64_t last = has_last ? strtoull(dash + 1, NULL, 10) : size - 1;
    if (digits == 0) { /* the last N bytes */
        if (last == 0 || size == 0)
            return -1;
        range->length = last < size ? last : size;
        range->first = size - range->length;
        return 1;
    }
    uint64_t first = strtoull(text, NULL, 10);
    if (has_last && last < first)
        return 0;
    if (first >= size)
        return -1;
    *range = (struct range){first, (last < size ? last + 1 : size) - first};
    return 1;
}

static void unsatisfiable(struct web_request *request, uint64_t size) {
    char text[64];
    snprintf(text, sizeof text, "bytes */%" PRIu64, size);
    web_add_header(request, "Content-Range", text);
    web_error(request, 416, "range", "The range lies outside of the file, which has %" PRIu64 " bytes.", size);
}

static void drop(struct kept *entry) {
    if (entry->path == NULL)
        return;
    kept_bytes -= entry->size;
    MHD_destroy_response(entry->response); /* replies under way hold their own reference */
    free(entry->path);
    *entry = (struct kept){0};
}

static void release_all(void) {
    for (size_t i = 0; i < KEPT; i++)
        drop(&kept[i]);
    if (root >= 0)
        close(root);
    root = -1;
}

static struct kept *find_kept(const char *path) {
    for (size_t i = 0; i < KEPT; i++)
        if (kept[i].path != NULL && strcmp(kept[i].path, path) == 0)
            return &kept[i];
    return NULL;
}

static bool same_file(const struct stat *a, const struct stat *b) {
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Reads a small file and keeps it. NULL: no memory, or the file changed while it was read. */
static struct kept *keep(const char *path, int fd, const struct stat *st) {
    size_t size = (size_t)st->st_size;
    while (kept_bytes + size > KEPT_BYTES || kept[next_victim].path != NULL) {
        drop(&kept[next_victim]);
        if (kept_bytes + size <= KEPT_BYTES)
            break;
        next_victim = (next_victim + 1) % KEPT;
    }
    struct kept *entry = &kept[next_victim];
    char *data = malloc(size != 0 ? size : 1), *name = strdup(path);
    size_t got = 0;
    while (data != NULL && got < size) {
        ssize_t n = read(fd, data + got, size - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    struct MHD_Response *response =
        data != NULL && name != NULL && got == size
            ? MHD_create_response_from_buffer(size, data, MHD_RESPMEM_MUST_FREE)
            : NULL;
    if (response == NULL) {
        free(data);
        free(name);
        return NULL;
    }
    *entry = (struct kept){.path = name, .data = data, .size = size, .checked = web_now(), .stat = *st,
                           .type = type_of(path), .response = response};
    fill_modified(st, &entry->tag);
    snprintf(entry->tag.etag, sizeof entry->tag.etag, "\"%016" PRIx64 "\"", hash(data, size));
    add_file_headers(response, entry->type, &entry->tag);
    kept_bytes += size;
    next_victim = (next_victim + 1) % KEPT;
    return entry;
}

static void reply_kept(struct web_request *request, struct kept *entry) {
    struct range range;
    int found = find_range(request, entry->size, &entry->tag, &range);
    if (client_has(request, &entry->tag)) {
        struct MHD_Response *response = MHD_create_response_from_buffer(0, "", MHD_RESPMEM_PERSISTENT);
        if (response != NULL)
            add_tag_headers(response, &entry->tag);
        request_queue(request, 304, response);
    } else if (found < 0) {
        unsatisfiable(request, entry->size);
    } else if (found > 0) {
        struct MHD_Response *response = MHD_create_response_from_buffer((size_t)range.length, entry->data + range.first,
                                                                        MHD_RESPMEM_MUST_COPY);
        char text[80];
        snprintf(text, sizeof text, "bytes %" PRIu64 "-%" PRIu64 "/%zu", range.first, range.first + range.length - 1,
                 entry->size);
        if (response != NULL)
            add_file_headers(response, entry->type, &entry->tag);
        web_add_header(request, "Content-Range", text);
        request_queue(request, 206, response);
    } else {
        request_queue_shared(request, 200, entry->response);
    }
}

static void reply_large(struct web_request *request, const char *path, int fd, const struct stat *st) {
    struct tag tag;
    struct range range = {0, (uint64_t)st->st_size};
    tag_large(st, &tag);
    int found = find_range(request, range.length, &tag, &range);
    if (client_has(request, &tag)) {
        close(fd);
        struct MHD_Response *response = MHD_create_response_from_buffer(0, "", MHD_RESPMEM_PERSISTENT);
        if (response != NULL)
            add_tag_headers(response, &tag);
        request_queue(request, 304, response);
        return;
    }
    if (found < 0) {
        close(fd);
        unsatisfiable(request, (uint64_t)st->st_size);
        return;
    }
    struct MHD_Response *response = MHD_create_response_from_fd_at_offset64(range.length, fd, range.first);
    if (response == NULL) {
        close(fd);
    } else {
        add_file_headers(response, type_of(path), &tag);
        if (found > 0) {
            char text[80];
            snprintf(text, sizeof text, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, range.first,
                     range.first + range.length - 1, (uint64_t)st->st_size);
            web_add_header(request, "Content-Range", text);
        }
    }
    request_queue(request, found > 0 ? 206 : 200, response);
}

static void not_found(struct web_request *request) { web_error(request, 404, "not_found", "There is no such page."); }

/* The path and the query as they were sent, with a slash between. */
static void redirect_to_slash(struct web_request *request) {
    const char *path = web_path(request);
    char *query = request_query(request);
    size_t size = query != NULL ? strlen(path) + strlen(query) + 2 : 0;
    char *location = query != NULL ? malloc(size) : NULL;
    if (location != NULL) {
        snprintf(location, size, "%s/%s", path, query);
        web_add_header(request, "Location", location);
        web_error(request, 301, "moved", "The page is at this path with a slash at its end.");
    } else {
        web_error(request, 503, "overloaded", "There is no memory for the answer.");
    }
    free(location);
    free(query);
}

static void handle(struct web_request *request) {
    char path[PATH];
    if (root < 0 || relative_path(web_path(request), path, sizeof path) < 0) {
        not_found(request);
        return;
    }
    struct kept *entry = find_kept(path);
    if (entry != NULL && web_now() - entry->checked < FRESH) {
        reply_kept(request, entry);
        return;
    }
    int fd = open_inside(path);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        int error = errno;
        if (fd >= 0)
            close(fd);
        if (entry != NULL)
            drop(entry);
        if (error == EMFILE || error == ENFILE || error == ENOMEM)
            web_error(request, 503, "overloaded", "The server has too many files open now.");
        else
            not_found(request);
        return;
    }
    if (S_ISDIR(st.st_mode)) {
        close(fd);
        redirect_to_slash(request);
    } else if (!S_ISREG(st.st_mode)) {
        close(fd);
        not_found(request);
    } else if (st.st_size > SMALL) {
        reply_large(request, path, fd, &st); /* owns fd */
    } else {
        if (entry != NULL && same_file(&entry->stat, &st)) {
            entry->checked = web_now();
        } else {
            if (entry != NULL)
                drop(entry);
            entry = keep(path, fd, &st);
        }
        close(fd);
        if (entry == NULL)
            web_error(request, 503, "overloaded", "The file could not be read now.");
        else
            reply_kept(request, entry);
    }
}

const struct web_handler files_handler = {
    .name = "files", .prefix = "/", .methods = WEB_GET, .errors = WEB_ERRORS_TEXT,
    .init = init, .handle = handle, .shutdown = release_all,
};

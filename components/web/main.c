/* The web server program: settings, the listening socket, one loop, the end. See web/handler.h. */
#define _GNU_SOURCE 1 /* ppoll */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server.h"

enum { TICK = 1000 /* ms between two sweeps */, POOL = 16384 /* bytes of memory for each connection's buffers */ };

static volatile sig_atomic_t stop_asked;

static void ask_to_stop(int number) {
    (void)number;
    stop_asked = 1;
}

/* The signals that stop the server are taken only while it waits (waiting_mask): sendfile() that a signal interrupts
 * returns a short count although the socket takes more, and libmicrohttpd then waits for an event that never comes. */
static sigset_t waiting_mask;

static void set_signals(void) {
    struct sigaction action = {.sa_handler = ask_to_stop};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);

    sigset_t stopping;
    sigemptyset(&stopping);
    sigaddset(&stopping, SIGTERM);
    sigaddset(&stopping, SIGINT);
    sigprocmask(SIG_BLOCK, &stopping, &waiting_mask);
    sigdelset(&waiting_mask, SIGTERM);
    sigdelset(&waiting_mask, SIGINT);
}

/* One descriptor for each connection, and some for files. Where the limit cannot be raised there are fewer connections.
 * Returns how many there can be. */
static unsigned raise_descriptor_limit(unsigned connections) {
    struct rlimit limit;
    rlim_t wanted = (rlim_t)connections * 2 + 64;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return connections;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur >= connections + 64u)
        return connections;
    return limit.rlim_cur > 96 ? (unsigned)limit.rlim_cur - 64 : 32;
}

/* A bound socket for `address` (empty: every one; then IPv6 and IPv4 where the kernel has both). -1 with errno. */
static int open_socket(const char *address, uint16_t port) {
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    bool every = address[0] == '\0';
    bool is_v4 = !every && inet_pton(AF_INET, address, &v4.sin_addr) == 1;
    if (!every && !is_v4 && inet_pton(AF_INET6, address, &v6.sin6_addr) != 1) {
        errno = EINVAL;
        return -1;
    }
    int on = 1, off = 0;
    for (int family = is_v4 ? AF_INET : AF_INET6;; family = AF_INET) {
        int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd >= 0) {
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
            if (family == AF_INET6 && every)
                setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
            const struct sockaddr *name = family == AF_INET ? (void *)&v4 : (void *)&v6;
            if (bind(fd, name, family == AF_INET ? sizeof v4 : sizeof v6) == 0 && listen(fd, 1024) == 0)
                return fd;
            int error = errno;
            close(fd);
            errno = error;
            if (error != EADDRNOTAVAIL && error != EAFNOSUPPORT)
                return -1;
        }
        if (!every || family == AF_INET)
            return -1; /* without IPv6 in the kernel, IPv4 is tried */
    }
}

static unsigned port_of(int fd) {
    struct sockaddr_storage name;
    socklen_t length = sizeof name;
    if (getsockname(fd, (struct sockaddr *)&name, &length) != 0)
        return 0;
    return ntohs(name.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&name)->sin6_port
                                            : ((struct sockaddr_in *)&name)->sin_port);
}

/* Paths and arguments stay percent-encoded: handlers decode them strictly (web_segment, web_query). */
static size_t leave_encoded(void *context, struct MHD_Connection *connection, char *text) {
    (void)context;
    (void)connection;
    return strlen(text);
}

static struct MHD_Daemon *start(int fd, unsigned connections) {
    /* No thread, no eventfd: the loop below waits for the epoll descriptor and calls MHD_run. */
    return MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, request_access, NULL,                                //
                            MHD_OPTION_LISTEN_SOCKET, fd,                                                      //
                            MHD_OPTION_CONNECTION_LIMIT, connections,                                          //
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL,                                  //
                            MHD_OPTION_NOTIFY_CONNECTION, peer_notify, NULL,                                   //
                            MHD_OPTION_NOTIFY_COMPLETED, request_completed, NULL,                              //
                            MHD_OPTION_UNESCAPE_CALLBACK, leave_encoded, NULL,                                 //
                            MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,                                              //
                            MHD_OPTION_STRICT_FOR_CLIENT, 1,                                                   //
                            MHD_OPTION_END);
}

/* Does what is to be done now, or waits for it for at most `most` milliseconds. */
static void step(struct MHD_Daemon *daemon, int64_t most) {
    MHD_UNSIGNED_LONG_LONG own;
    if (MHD_get_timeout(daemon, &own) == MHD_YES && own < (uint64_t)most)
        most = (int64_t)own;
    struct pollfd events = {.fd = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd, .events = POLLIN};
    struct timespec wait = {.tv_sec = most / 1000, .tv_nsec = most % 1000 * 1000000};
    ppoll(&events, 1, &wait, &waiting_mask);
    MHD_run(daemon);
}

/* Serves until `end` (web_now(); 0: until a signal). When stopping, ends as soon as no request is under way. */
static void serve(struct MHD_Daemon *daemon, int64_t end) {
    int64_t next_sweep = web_now() + TICK;
    for (;;) {
        int64_t now = web_now();
        if (end == 0 && stop_asked)
            return;
        if (now >= next_sweep) {
            peer_sweep(now, now - next_sweep);
            next_sweep = now + TICK;
        }
        if (end != 0 && (peer_close_idle() == 0 || now >= end))
            return;
        int64_t wait = next_sweep - now;
        if (end != 0 && wait > 50)
            wait = 50;
        step(daemon, wait);
    }
}

int main(void) {
    set_signals();
    uint16_t port = (uint16_t)web_setting("PORT", 80, 0, 65535);
    const char *address = web_text_setting("LISTEN", "");
    unsigned connections = (unsigned)web_setting("CONNECTIONS", 1024, 1, 100000);
    int64_t stop_timeout = web_setting("STOP_TIMEOUT", 3, 0, 3600) * 1000;
    settings.body_limit = web_setting("BODY_LIMIT", 1 << 20, 0, 1 << 30);
    settings.body_memory = web_setting("BODY_MEMORY", 16 << 20, 0, INT64_C(1) << 34);
    settings.request_timeout = web_setting("REQUEST_TIMEOUT", 15, 1, 3600) * 1000;
    unsigned possible = raise_descriptor_limit(connections);
    if (possible < connections)
        web_log("only %u connections at once: the limit of open files is low.", connections = possible);

    char why[600];
    if (route_init(why, sizeof why) != 0) {
        web_log("%s", why);
        return 1;
    }
    int fd = open_socket(address, port);
    if (fd < 0) {
        web_log("cannot listen on port %u%s%s: %s.", port, address[0] ? " of address " : "", address, strerror(errno));
        route_shutdown();
        return 1;
    }
    struct MHD_Daemon *daemon = start(fd, connections);
    if (daemon == NULL) {
        web_log("the server could not start: %s.", strerror(errno));
        route_shutdown();
        return 1;
    }
    printf("web: listening on port %u\n", port_of(fd));
    fflush(stdout);

    serve(daemon, 0);
    MHD_quiesce_daemon(daemon);
    close(fd);
    serve(daemon, web_now() + stop_timeout);
    MHD_stop_daemon(daemon); /* ends what is still under way, and with it the streams of handlers */
    route_shutdown();
    return 0;
}

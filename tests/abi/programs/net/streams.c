#include "net.h"

static int listener(unsigned port, int backlog) {
    struct sockaddr_in a = in4(INADDR_LOOPBACK, port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (bind(fd, SA(a), sizeof a) != 0 || listen(fd, backlog) != 0)
        perror("listener");
    return fd;
}

static int connected(unsigned port) {
    struct sockaddr_in a = in4(INADDR_LOOPBACK, port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, SA(a), sizeof a) != 0)
        perror("connected");
    return fd;
}

static int signals;
static void count_signal(int number) {
    (void)number;
    signals++;
}

static void *late_writer(void *fd) {
    usleep(30000);
    write(*(int *)fd, "abc", 3);
    usleep(30000);
    write(*(int *)fd, "def", 3);
    return NULL;
}

static void *late_closer(void *fd) {
    usleep(30000);
    shutdown(*(int *)fd, SHUT_RDWR);
    return NULL;
}

static void making(void) {
    struct sockaddr_in a = in4(INADDR_LOOPBACK, 4000), other = in4(0x08080808, 4000);
    struct sockaddr_in6 a6 = in6(in6addr_loopback, 4000);
    char text[INET6_ADDRSTRLEN];
    socklen_t size;
    SECTION("making");
    R(socket(AF_INET, 77, 0));
    R(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
    R(socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP));
    R(socket(250, SOCK_STREAM, 0));
    R(socketpair(AF_INET, SOCK_STREAM, 0, (int[2]){0, 0}));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    R(fcntl(fd, F_GETFL) & O_NONBLOCK);
    R(fcntl(fd, F_GETFD));
    R(lseek(fd, 0, SEEK_SET));
    R(pread(fd, text, 1, 0));
    struct stat st;
    R(fstat(fd, &st));
    C(S_ISSOCK(st.st_mode));
    R(ftruncate(fd, 0));
    R(fsync(fd));
    R(bind(fd, SA(a), 8));
    R(bind(fd, SA(other), sizeof other));
    R(bind(fd, SA(a6), sizeof a6));
    R(bind(fd, BAD, sizeof a));
    R(bind(-1, SA(a), sizeof a));
    R(bind(1, SA(a), sizeof a));
    R(bind(fd, SA(a), sizeof a));
    R(bind(fd, SA(a), sizeof a));
    int second = socket(AF_INET, SOCK_STREAM, 0);
    R(bind(second, SA(a), sizeof a));
    R(set_int(second, SOL_SOCKET, SO_REUSEADDR, 1));
    R(bind(second, SA(a), sizeof a));
    R(set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1));
    R(listen(fd, 5));
    R(bind(second, SA(a), sizeof a));
    R(close(second));
    R(listen(fd, 5));
    R(accept(fd, NULL, NULL));
    R(accept4(fd, NULL, NULL, 12345));
    R(connect(fd, SA(a), sizeof a));
    R(read(fd, text, 1));
    R(write(fd, text, 1));
    memset(&other, 0, sizeof other);
    size = 4;
    R(getsockname(fd, SA(other), &size));
    R(size);
    size = sizeof other;
    R(getsockname(fd, SA(other), &size));
    R(ntohs(other.sin_port));
    R(getpeername(fd, SA(other), &size));
    R(getsockname(fd, BAD, &size));
    size = (socklen_t)-1;
    R(getsockname(fd, SA(other), &size));
    R(close(fd));
    fd = socket(AF_INET, SOCK_STREAM, 0);
    R(accept(fd, NULL, NULL));
    R(read(fd, text, 1));
    R(send(fd, text, 1, MSG_NOSIGNAL));
    R(seen(fd, 0));
    R(shutdown(fd, SHUT_RDWR));
    R(shutdown(fd, 9));
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    R(connect(fd, SA(a), 3));
    R(connect(fd, BAD, sizeof a));
    R(connect(fd, SA(a), sizeof a));
    R(listen(fd, 0));
    size = sizeof other;
    R(getsockname(fd, SA(other), &size));
    C(ntohs(other.sin_port) >= 32768);
    R(close(fd));
    R(listen(1, 1));
    R(getsockname(1, SA(other), &size));
    R(getsockopt(1, SOL_SOCKET, SO_TYPE, &(int){0}, &size));
}

static void bytes(void) {
    int listening = listener(4100, 8), client = connected(4100);
    struct sockaddr_in peer;
    socklen_t size = sizeof peer;
    char b[64] = "", c[64] = "";
    SECTION("bytes");
    int server = accept4(listening, SA(peer), &size, SOCK_CLOEXEC);
    set_int(client, IPPROTO_TCP, TCP_NODELAY, 1); /* when an acknowledgement comes is each system's own affair */
    R(size);
    C(peer.sin_family == AF_INET && ntohl(peer.sin_addr.s_addr) == INADDR_LOOPBACK);
    R(fcntl(server, F_GETFD));
    R(fcntl(server, F_GETFL) & O_NONBLOCK);
    struct sockaddr_in a = in4(INADDR_LOOPBACK, 4100);
    R(connect(client, SA(a), sizeof a));
    R(bind(client, SA(a), sizeof a));
    R(listen(client, 1));
    R(seen(client, POLLOUT));
    R(recv(server, b, 1, MSG_DONTWAIT));
    R(recv(server, b, 0, MSG_DONTWAIT));
    R(send(client, b, 0, 0));
    R(send(client, "hello", 5, 0));
    R(seen(server, POLLIN));
    R(recv(server, b, 3, MSG_PEEK));
    R(recv(server, b, 64, MSG_PEEK | MSG_TRUNC));
    int n = 0;
    R(ioctl(server, FIONREAD, &n));
    R(n);
    R(recv(server, BAD, 5, 0));
    R(read(server, b, 2));
    C(memcmp(b, "he", 2) == 0);
    struct iovec v[3] = {{b, 1}, {NULL, 0}, {c, 60}};
    struct msghdr m = {.msg_iov = v, .msg_iovlen = 3, .msg_name = &peer, .msg_namelen = sizeof peer};
    R(recvmsg(server, &m, 0));
    R(m.msg_namelen);
    R(m.msg_flags);
    C(b[0] == 'l' && memcmp(c, "lo", 2) == 0);
    v[0] = (struct iovec){"ab", 2};
    v[1] = (struct iovec){"cd", 2};
    m = (struct msghdr){.msg_iov = v, .msg_iovlen = 2};
    R(sendmsg(client, &m, 0));
    R(recv(server, b, 4, MSG_WAITALL));
    C(memcmp(b, "abcd", 4) == 0);
    m.msg_iovlen = 2000;
    R(sendmsg(client, &m, 0));
    struct mmsghdr many[2] = {{.msg_hdr = {.msg_iov = v, .msg_iovlen = 1}}, {.msg_hdr = {.msg_iov = v + 1, .msg_iovlen = 1}}};
    R(sendmmsg(client, many, 2, 0));
    R(many[0].msg_len);
    R(many[1].msg_len);
    R(recv(server, b, 4, MSG_WAITALL));
    R(send(client, BAD, 4, 0));
    R(recv(server, b, 1, MSG_DONTWAIT));
    R(sendto(client, "to", 2, 0, SA(a), sizeof a));
    R(recv(server, b, 2, MSG_WAITALL));
    R(send(client, "more", 4, MSG_MORE));
    R(send(client, "!", 1, 0));
    R(recv(server, b, 5, MSG_WAITALL));
    size = sizeof peer;
    R(recvfrom(server, b, 1, MSG_DONTWAIT, SA(peer), &size));
    pthread_t thread;
    pthread_create(&thread, NULL, late_writer, &client);
    R(recv(server, b, 6, MSG_WAITALL));
    pthread_join(thread, NULL);
    C(memcmp(b, "abcdef", 6) == 0);
    struct timeval time = {0, 20000};
    setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
    R(recv(server, b, 1, 0));
    send(client, "xy", 2, 0);
    R(recv(server, b, 5, MSG_WAITALL));
    time.tv_usec = 0;
    setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
    int copy = dup(server);
    R(close(server));
    R(send(client, "dup", 3, 0));
    R(recv(copy, b, 3, MSG_WAITALL));
    close(copy);
    close(client);
    close(listening);
}

static void ends(void) {
    int listening = listener(4200, 8), client = connected(4200), server = accept(listening, NULL, NULL);
    char b[16];
    SECTION("ends");
    R(shutdown(client, SHUT_WR));
    R(send(client, "x", 1, MSG_NOSIGNAL));
    R(seen(server, POLLRDHUP));
    R(recv(server, b, 1, 0));
    R(recv(server, b, 1, MSG_DONTWAIT));
    R(send(server, "late", 4, 0));
    R(recv(client, b, 4, MSG_WAITALL));
    R(shutdown(client, SHUT_WR));
    R(shutdown(server, SHUT_WR));
    R(seen(client, POLLHUP));
    R(recv(client, b, 1, 0));
    R(shutdown(client, SHUT_RD));
    close(client);
    close(server);

    client = connected(4200), server = accept(listening, NULL, NULL);
    R(shutdown(server, SHUT_RD));
    R(recv(server, b, 1, 0));
    R(send(server, "still", 5, 0));
    R(recv(client, b, 5, MSG_WAITALL));
    close(client);
    close(server);

    /* A close with unread bytes is a reset. */
    client = connected(4200), server = accept(listening, NULL, NULL);
    send(client, "unread", 6, 0);
    seen(server, POLLIN);
    close(server);
    R(seen(client, POLLERR));
    R(int_option(client, SOL_SOCKET, SO_ERROR));
    R(int_option(client, SOL_SOCKET, SO_ERROR));
    R(recv(client, b, 1, 0));
    R(send(client, "x", 1, MSG_NOSIGNAL));
    signal(SIGPIPE, count_signal);
    R(write(client, "x", 1));
    R(signals);
    R(send(client, "x", 1, 0));
    R(signals);
    R(send(client, "x", 1, MSG_NOSIGNAL));
    R(signals);
    signal(SIGPIPE, SIG_IGN);
    close(client);

    client = connected(4200), server = accept(listening, NULL, NULL);
    struct linger linger = {1, 0};
    setsockopt(server, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(server);
    R(seen(client, POLLHUP));
    R(recv(client, b, 1, 0));
    R(recv(client, b, 1, 0));
    struct sockaddr_in peer;
    socklen_t size = sizeof peer;
    R(getpeername(client, SA(peer), &size));
    close(client);

    client = connected(4200), server = accept(listening, NULL, NULL);
    pthread_t thread;
    pthread_create(&thread, NULL, late_closer, &client);
    R(recv(client, b, 1, 0));
    pthread_join(thread, NULL);
    close(client);
    close(server);
    pthread_create(&thread, NULL, late_closer, &listening);
    R(accept(listening, NULL, NULL));
    pthread_join(thread, NULL);
    close(listening);
}

static void without_waiting(void) {
    struct sockaddr_in a = in4(INADDR_LOOPBACK, 4300), nobody = in4(INADDR_LOOPBACK, 4999), none = {.sin_family = AF_UNSPEC};
    SECTION("without waiting");
    int client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    R(connect(client, SA(nobody), sizeof nobody));
    R(seen(client, POLLERR));
    R(int_option(client, SOL_SOCKET, SO_ERROR));
    R(int_option(client, SOL_SOCKET, SO_ERROR));
    int listening = listener(4300, 8);
    close(client);
    client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    R(connect(client, SA(a), sizeof a));
    R(seen(client, POLLOUT));
    R(connect(client, SA(a), sizeof a));
    R(connect(client, SA(a), sizeof a));
    R(seen(listening, POLLIN));
    fcntl(listening, F_SETFL, O_NONBLOCK);
    int server = accept(listening, NULL, NULL);
    R(fcntl(server, F_GETFL) & O_NONBLOCK);
    R(accept(listening, NULL, NULL));
    R(seen(listening, 0));
    R(connect(server, SA(none), sizeof none));
    close(client);
    close(server);
    close(listening);
}

static void readiness(void) {
    int listening = listener(4400, 8), client = connected(4400), server = accept(listening, NULL, NULL), ep = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 1}, got;
    char b[16];
    SECTION("epoll");
    R(epoll_ctl(ep, EPOLL_CTL_ADD, server, &event));
    R(epoll_ctl(ep, EPOLL_CTL_ADD, server, &event));
    R(epoll_wait(ep, &got, 1, 0));
    send(client, "ab", 2, 0);
    R(epoll_wait(ep, &got, 1, 1000));
    R(got.events);
    R(epoll_wait(ep, &got, 1, 0)); /* level: still there */
    recv(server, b, 1, 0);
    R(epoll_wait(ep, &got, 1, 0));
    recv(server, b, 1, 0);
    R(epoll_wait(ep, &got, 1, 0));
    event.events = EPOLLIN | EPOLLET;
    R(epoll_ctl(ep, EPOLL_CTL_MOD, server, &event));
    send(client, "cd", 2, 0);
    R(epoll_wait(ep, &got, 1, 1000));
    R(epoll_wait(ep, &got, 1, 50)); /* edge: told once */
    recv(server, b, 1, 0);
    R(epoll_wait(ep, &got, 1, 50));
    send(client, "e", 1, 0);
    R(epoll_wait(ep, &got, 1, 1000));
    recv(server, b, 16, 0);
    event.events = EPOLLIN | EPOLLONESHOT;
    R(epoll_ctl(ep, EPOLL_CTL_MOD, server, &event));
    send(client, "f", 1, 0);
    R(epoll_wait(ep, &got, 1, 1000));
    send(client, "g", 1, 0);
    R(epoll_wait(ep, &got, 1, 50));
    R(epoll_ctl(ep, EPOLL_CTL_MOD, server, &event));
    R(epoll_wait(ep, &got, 1, 1000));
    event.events = EPOLLOUT | EPOLLET;
    R(epoll_ctl(ep, EPOLL_CTL_MOD, server, &event));
    R(epoll_wait(ep, &got, 1, 1000));
    R(epoll_wait(ep, &got, 1, 50));
    event.events = EPOLLIN | EPOLLRDHUP;
    R(epoll_ctl(ep, EPOLL_CTL_MOD, server, &event));
    recv(server, b, 16, 0);
    close(client);
    R(epoll_wait(ep, &got, 1, 1000));
    R(got.events);
    event.events = EPOLLIN;
    R(epoll_ctl(ep, EPOLL_CTL_ADD, listening, &event));
    client = connected(4400);
    close(server);
    R(epoll_wait(ep, &got, 1, 1000));
    R(got.events);
    R(epoll_ctl(ep, EPOLL_CTL_DEL, listening, NULL));
    close(client);
    close(listening);
    close(ep);
}

static void files_into_sockets(void) {
    int listening = listener(4500, 8), client = connected(4500), server = accept(listening, NULL, NULL);
    int file = open("/tmp/sent", O_RDWR | O_CREAT, 0600);
    char b[3000], back[3000];
    off_t offset = 10;
    SECTION("sendfile");
    for (unsigned i = 0; i < sizeof b; i++)
        b[i] = (char)(i * 7);
    write(file, b, sizeof b);
    R(sendfile(client, file, &offset, 1000));
    R(offset);
    R(recv(server, back, 1000, MSG_WAITALL));
    C(memcmp(b + 10, back, 1000) == 0);
    R(lseek(file, 100, SEEK_SET));
    R(sendfile(client, file, NULL, 5000));
    R(lseek(file, 0, SEEK_CUR));
    R(recv(server, back, 2900, MSG_WAITALL));
    C(memcmp(b + 100, back, 2900) == 0);
    R(sendfile(client, file, NULL, 1));
    R(sendfile(client, server, NULL, 1));
    R(sendfile(client, -1, NULL, 1));
    offset = -1;
    R(sendfile(client, file, &offset, 1));
    R(shutdown(client, SHUT_WR));
    offset = 0;
    signal(SIGPIPE, SIG_IGN);
    R(sendfile(client, file, &offset, 10));
    close(file);
    close(client);
    close(server);
    close(listening);
}

static void both_families(void) {
    struct sockaddr_in6 any = in6(in6addr_any, 4600), peer;
    struct sockaddr_in a = in4(INADDR_LOOPBACK, 4600);
    struct in6_addr mapped = {.s6_addr = {[10] = 255, [11] = 255, [12] = 127, [15] = 1}};
    socklen_t size = sizeof peer;
    char text[INET6_ADDRSTRLEN] = "";
    SECTION("families");
    int listening = socket(AF_INET6, SOCK_STREAM, 0);
    R(bind(listening, SA(any), sizeof any));
    R(listen(listening, 4));
    int client = connected(4600), server = accept(listening, SA(peer), &size);
    R(size);
    printf("%s\n", inet_ntop(AF_INET6, &peer.sin6_addr, text, sizeof text));
    close(client);
    close(server);
    client = socket(AF_INET6, SOCK_STREAM, 0);
    any = in6(in6addr_loopback, 4600);
    R(connect(client, SA(any), sizeof any));
    server = accept(listening, SA(peer), &size);
    printf("%s\n", inet_ntop(AF_INET6, &peer.sin6_addr, text, sizeof text));
    R(send(client, "six", 3, 0));
    R(recv(server, text, 3, MSG_WAITALL));
    close(client);
    close(server);
    client = socket(AF_INET6, SOCK_STREAM, 0);
    any = in6(mapped, 4600);
    R(connect(client, SA(any), sizeof any));
    R(getsockname(client, SA(peer), &size));
    printf("%s\n", inet_ntop(AF_INET6, &peer.sin6_addr, text, sizeof text));
    close(client);
    close(listening);
    listening = socket(AF_INET6, SOCK_STREAM, 0);
    set_int(listening, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    set_int(listening, SOL_SOCKET, SO_REUSEADDR, 1);
    any = in6(in6addr_any, 4601);
    R(bind(listening, SA(any), sizeof any));
    R(listen(listening, 4));
    client = socket(AF_INET, SOCK_STREAM, 0);
    a.sin_port = htons(4601);
    R(connect(client, SA(a), sizeof a));
    close(client);
    client = socket(AF_INET6, SOCK_STREAM, 0);
    set_int(client, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    any = in6(mapped, 4601);
    R(connect(client, SA(any), sizeof any));
    R(connect(client, SA(a), sizeof a));
    close(client);
    close(listening);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    making();
    bytes();
    ends();
    without_waiting();
    readiness();
    files_into_sockets();
    both_families();
    return 0;
}

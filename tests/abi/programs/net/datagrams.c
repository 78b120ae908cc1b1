#include "net.h"

static int bound(unsigned port) {
    struct sockaddr_in a = in4(INADDR_LOOPBACK, port);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (port && bind(fd, SA(a), sizeof a) != 0)
        perror("bound");
    return fd;
}

static void *late_sender(void *fd) {
    struct sockaddr_in a = in4(INADDR_LOOPBACK, 5000);
    usleep(30000);
    sendto(*(int *)fd, "late", 4, 0, SA(a), sizeof a);
    return NULL;
}

int main(void) {
    struct sockaddr_in a = in4(INADDR_LOOPBACK, 5000), from = {0}, none = {.sin_family = AF_UNSPEC}, broadcast = in4(INADDR_BROADCAST, 5000);
    struct sockaddr_in6 a6;
    socklen_t size = sizeof from;
    static char large[70000];
    char b[64] = "";
    int one = bound(5000), two = bound(0), n = 0;

    SECTION("datagrams");
    R(int_option(one, SOL_SOCKET, SO_TYPE));
    R(seen(one, POLLOUT));
    R(send(two, "x", 1, 0));
    R(sendto(two, "x", 1, 0, SA(a), 4));
    R(sendto(two, "x", 1, 0, BAD, sizeof a));
    R(sendto(two, BAD, 1, 0, SA(a), sizeof a));
    R(sendto(two, large, 65508, 0, SA(a), sizeof a));
    a.sin_port = 0;
    R(sendto(two, "x", 1, 0, SA(a), sizeof a));
    a.sin_port = htons(5000);
    R(sendto(two, "x", 1, 0, SA(broadcast), sizeof broadcast));
    R(recv(one, b, 1, MSG_DONTWAIT));
    R(sendto(two, "hello", 5, 0, SA(a), sizeof a));
    R(sendto(two, "", 0, 0, SA(a), sizeof a));
    R(sendto(two, "third", 5, 0, SA(a), sizeof a));
    R(seen(one, POLLIN));
    R(ioctl(one, FIONREAD, &n));
    R(n);
    R(recv(one, b, 2, MSG_PEEK));
    R(recv(one, b, 2, MSG_PEEK | MSG_TRUNC));
    R(recvfrom(one, b, 2, 0, SA(from), &size));
    C(b[0] == 'h' && b[1] == 'e');
    R(size);
    C(ntohs(from.sin_port) >= 32768 && ntohl(from.sin_addr.s_addr) == INADDR_LOOPBACK);
    R(recv(one, b, 64, 0));
    struct iovec v[2] = {{b, 2}, {b + 2, 1}};
    struct msghdr m = {.msg_iov = v, .msg_iovlen = 2, .msg_name = &from, .msg_namelen = sizeof from};
    R(recvmsg(one, &m, 0));
    C(m.msg_flags == MSG_TRUNC);
    R(m.msg_namelen);
    R(recv(one, b, 64, MSG_DONTWAIT));

    SECTION("connected");
    R(getpeername(two, SA(from), &size));
    R(connect(two, SA(a), sizeof a));
    size = sizeof from;
    R(getpeername(two, SA(from), &size));
    R(ntohs(from.sin_port));
    R(send(two, "connected", 9, 0));
    R(recv(one, b, 64, 0));
    getsockname(two, SA(from), &size);
    int three = bound(0);
    R(sendto(three, "stranger", 8, 0, SA(from), sizeof from));
    R(sendto(one, "friend", 6, 0, SA(from), sizeof from));
    R(seen(two, POLLIN));
    R(recv(two, b, 64, 0));
    C(memcmp(b, "friend", 6) == 0);
    R(recv(two, b, 64, MSG_DONTWAIT));
    R(connect(two, SA(none), sizeof none));
    R(send(two, "x", 1, 0));
    R(getpeername(two, SA(from), &size));
    R(listen(two, 1));
    R(accept(two, NULL, NULL));
    R(shutdown(two, SHUT_WR));
    R(connect(two, SA(a), sizeof a));
    R(shutdown(two, SHUT_WR));
    R(send(two, "x", 1, MSG_NOSIGNAL));
    close(three);

    SECTION("waiting");
    pthread_t thread;
    three = bound(0);
    pthread_create(&thread, NULL, late_sender, &three);
    R(recv(one, b, 64, 0));
    pthread_join(thread, NULL);
    struct timeval time = {0, 20000};
    setsockopt(one, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
    R(recv(one, b, 64, 0));
    struct mmsghdr many[3] = {0};
    for (unsigned i = 0; i < 3; i++)
        many[i].msg_hdr = (struct msghdr){.msg_iov = v, .msg_iovlen = 2, .msg_name = &a, .msg_namelen = sizeof a};
    R(sendmmsg(three, many, 3, 0));
    for (unsigned i = 0; i < 3; i++)
        many[i].msg_hdr = (struct msghdr){.msg_iov = v, .msg_iovlen = 2};
    R(recvmmsg(one, many, 3, 0, NULL));
    R(many[2].msg_len);
    R(recvmmsg(one, many, 3, MSG_DONTWAIT, NULL));

    SECTION("large");
    memset(large, 'z', sizeof large);
    R(sendto(three, large, 20000, 0, SA(a), sizeof a));
    memset(large, 0, sizeof large);
    R(recv(one, large, sizeof large, 0));
    C(large[0] == 'z' && large[19999] == 'z' && large[20000] == 0);

    SECTION("families");
    int six = socket(AF_INET6, SOCK_DGRAM, 0);
    a6 = in6(in6addr_loopback, 5001);
    R(bind(six, SA(a6), sizeof a6));
    R(sendto(three, "x", 1, 0, SA(a6), sizeof a6));
    int other = socket(AF_INET6, SOCK_DGRAM, 0);
    R(sendto(other, "six", 3, 0, SA(a6), sizeof a6));
    size = sizeof a6;
    R(recvfrom(six, b, 64, 0, SA(a6), &size));
    R(size);
    C(IN6_IS_ADDR_LOOPBACK(&a6.sin6_addr));
    R(sendto(other, "four", 4, 0, SA(a), sizeof a));
    close(six);
    close(other);
    close(one);
    close(two);
    close(three);
    return 0;
}

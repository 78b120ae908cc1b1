/*
 * What a machine's network may hang on: pipes to another machine, captures of it and captures played to it. Every machine is
 * a process of its own. The first argument is a folder to write to.
 */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host_net.h"
#include "peer.h"
#include "program.h"

#include "nano/errno.h"

#define SERVER_IP 0x0a000210u
#define CLIENT_IP 0x0a000211u
#define BYTES 200000u
#define ROOM (256 << 10) /* of a pipe, more than a window: nothing is lost, and nothing waits for real time to send it again */
#define LONGEST 60 /* seconds of a process; then it is ended by SIGALRM */

static const char server_settings[] = "schema=1\0program=/bin/x\0hostname=server\0net=static,10.0.2.16/24,,";
static const char client_settings[] = "schema=1\0program=/bin/x\0hostname=client\0net=static,10.0.2.17/24,,";
static const uint8_t server_mac[6] = {0x52, 0x54, 0, 0, 0, 16}, client_mac[6] = {0x52, 0x54, 0, 0, 0, 17};
static struct host_net device;
static char recorded[512], again[512], file_name[512];

static void machine(struct host_link *link, const uint8_t mac[6], const char *settings, size_t size, const char *capture) {
    alarm(LONGEST);
    host_start((size_t)64 << 20);
    host_seed(mac[5]);
    host_net_create(&device, link);
    memcpy(device.net.mac, mac, 6);
    CHECK(!capture || host_net_capture(&device, capture));
    start_machine(settings, size);
}

static int64_t receive_all(int fd, size_t limit) {
    size_t total = 0;
    int64_t got;
    while (total < limit && (got = CALL(SYS_recvfrom, (uint64_t)fd, memory + total, limit - total, 0)) > 0)
        total += (size_t)got;
    return (int64_t)total;
}

/* Until the peer has acknowledged everything. */
static void drain(int fd) {
    int left = -1;
    while (left != 0) {
        host_run_until(hal_clock_monotonic() + 10 * MS);
        EQUAL(CALL(SYS_ioctl, (uint64_t)fd, TIOCOUTQ, memory), 0);
        EQUAL(copy_from_user(&left, memory, sizeof left), 0);
    }
}

/* Takes a connection, reads all bytes, and sends them back with one changed. */
static void serve(void) {
    int listening = (int)CALL(SYS_socket, AF_INET, SOCK_STREAM, 0);
    EQUAL(CALL(SYS_bind, (uint64_t)listening, address4(INADDR_ANY, 80), 16), 0);
    EQUAL(CALL(SYS_listen, (uint64_t)listening, 8), 0);
    int fd = (int)CALL(SYS_accept4, (uint64_t)listening, 0, 0, 0);
    CHECK(fd >= 0);
    EQUAL(receive_all(fd, BYTES + 1), BYTES);
    EQUAL(copy_to_user(memory + 77, "!", 1), 0);
    EQUAL(CALL(SYS_sendto, (uint64_t)fd, memory, BYTES), BYTES);
    drain(fd);
    EQUAL(CALL(SYS_close, (uint64_t)fd), 0);
    host_run_until(hal_clock_monotonic() + 20 * MS);
}

static void server(int end, const char *capture) {
    static struct host_pipe pipe;
    host_pipe_create(&pipe, end, end);
    machine(&pipe.link, server_mac, server_settings, sizeof server_settings, capture);
    serve();
}

static void client(int end) {
    static struct host_pipe pipe;
    static uint8_t sent[BYTES], got[BYTES];
    host_pipe_create(&pipe, end, end);
    machine(&pipe.link, client_mac, client_settings, sizeof client_settings, NULL);
    for (unsigned i = 0; i < BYTES; i++)
        sent[i] = (uint8_t)(i * 7 + i / 253);
    EQUAL(copy_to_user(memory, sent, BYTES), 0);
    int fd = (int)CALL(SYS_socket, AF_INET, SOCK_STREAM, 0);
    int64_t status;
    /* The other machine may not listen yet. */
    while ((status = CALL(SYS_connect, (uint64_t)fd, address4(SERVER_IP, 80), 16)) == -ECONNREFUSED)
        host_run_until(hal_clock_monotonic() + 10 * MS);
    EQUAL(status, 0);
    EQUAL(copy_to_user(memory, sent, BYTES), 0); /* over the address */
    EQUAL(CALL(SYS_sendto, (uint64_t)fd, memory, BYTES), BYTES);
    EQUAL(CALL(SYS_shutdown, (uint64_t)fd, SHUT_WR), 0);
    EQUAL(clear_user(memory, BYTES), 0);
    EQUAL(receive_all(fd, BYTES + 1), BYTES);
    EQUAL(copy_from_user(got, memory, BYTES), 0);
    sent[77] = '!';
    CHECK(memcmp(got, sent, BYTES) == 0);
    EQUAL(CALL(SYS_close, (uint64_t)fd), 0);
    host_run_until(hal_clock_monotonic() + 20 * MS);
}

/* The same server, its peer now the capture. */
static void replayed_server(void) {
    static struct host_replay replay;
    EQUAL(host_replay_open(&replay, recorded, server_mac, HAL_FOREVER), 0);
    machine(&replay.link, server_mac, server_settings, sizeof server_settings, again);
    serve();
    host_replay_close(&replay);
}

static void expect_success(pid_t child) {
    int status;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void two_machines_talk_over_pipes(void) {
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    for (unsigned i = 0; i < 2; i++)
        CHECK(setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &(int){ROOM}, sizeof(int)) == 0);
    pid_t one = fork();
    if (one == 0) {
        close(ends[1]);
        server(ends[0], recorded);
        exit(0);
    }
    pid_t two = fork();
    if (two == 0) {
        close(ends[0]);
        client(ends[1]);
        exit(0);
    }
    close(ends[0]);
    close(ends[1]);
    expect_success(one);
    expect_success(two);
}

/* The next frame of a capture that the server sent; its size, 0 at the end. */
static size_t next_of_server(FILE *file, uint8_t *frame) {
    uint32_t header[4];
    while (fread(header, sizeof header, 1, file) == 1) {
        CHECK(header[2] <= HOST_NET_FRAME && header[2] == header[3]);
        CHECK(fread(frame, header[2], 1, file) == 1);
        if (memcmp(frame + 6, server_mac, 6) == 0)
            return header[2];
    }
    return 0;
}

static void a_capture_played_again_gives_the_same_frames(void) {
    static uint8_t first[HOST_NET_FRAME], second[HOST_NET_FRAME];
    pid_t child = fork();
    if (child == 0) {
        replayed_server();
        exit(0);
    }
    expect_success(child);
    FILE *one = fopen(recorded, "rb"), *two = fopen(again, "rb");
    CHECK(one && two && fseek(one, 24, SEEK_SET) == 0 && fseek(two, 24, SEEK_SET) == 0);
    size_t size, frames = 0;
    while ((size = next_of_server(one, first)) > 0) {
        EQUAL(next_of_server(two, second), size);
        if (memcmp(first, second, size) != 0) {
            fprintf(stderr, "frame %zu differs\n", frames);
            exit(1);
        }
        frames++;
    }
    EQUAL(next_of_server(two, second), 0);
    CHECK(frames > BYTES / 1460);
    fclose(one);
    fclose(two);
}

/* A capture file: a header of these six words, then `size` more bytes. */
static int open_capture(struct host_replay *replay, const uint32_t header[6], const void *more, size_t size) {
    FILE *file = fopen(file_name, "wb");
    CHECK(file && fwrite(header, 24, 1, file) == 1 && fwrite(more, 1, size, file) == size && fclose(file) == 0);
    return host_replay_open(replay, file_name, server_mac, 5000);
}

static void captures_of_every_kind_are_read_and_broken_ones_end(void) {
    static struct host_replay replay;
    static uint8_t frame[HOST_NET_FRAME];
    const uint32_t native[6] = {0xa1b2c3d4, 0, 0, 0, 65535, 1};
    uint32_t swapped[6], records[2][5] = {{7, 100, 4, 4, 0x61626364}, {8, 99, 4, 4, 0x65666768}}, backwards[2][5];
    for (unsigned i = 0; i < 6; i++)
        swapped[i] = __builtin_bswap32(native[i]);
    for (unsigned i = 0; i < 10; i++)
        (&backwards[0][0])[i] = i % 5 == 4 ? (&records[0][0])[i] : __builtin_bswap32((&records[0][0])[i]);
    for (unsigned i = 0; i < 2; i++) {
        EQUAL(open_capture(&replay, i ? swapped : native, i ? backwards : records, sizeof records), 0);
        EQUAL(replay.link.due(&replay.link), 5000);
        EQUAL(replay.link.receive(&replay.link, frame, 4999), 0);
        EQUAL(replay.link.receive(&replay.link, frame, 5000), 4);
        CHECK(memcmp(frame, &records[0][4], 4) == 0);
        EQUAL(replay.link.due(&replay.link), 5000 + 999999000ull);
        EQUAL(replay.link.receive(&replay.link, frame, HAL_FOREVER - 1), 4);
        EQUAL(replay.link.due(&replay.link), HAL_FOREVER);
        host_replay_close(&replay);
    }
    const uint32_t no_magic[6] = {1, 0, 0, 0, 65535, 1}, no_ethernet[6] = {0xa1b2c3d4, 0, 0, 0, 65535, 101};
    EQUAL(open_capture(&replay, no_magic, "", 0), -HAL_EINVAL);
    EQUAL(open_capture(&replay, no_ethernet, "", 0), -HAL_EINVAL);
    EQUAL(host_replay_open(&replay, "/nonexistent", server_mac, 0), -HAL_EIO);
    const uint32_t too_long[5] = {0, 0, 65536, 65536, 0}, cut[5] = {0, 0, 5, 5, 0};
    EQUAL(open_capture(&replay, native, too_long, sizeof too_long), 0);
    EQUAL(replay.link.due(&replay.link), HAL_FOREVER);
    host_replay_close(&replay);
    EQUAL(open_capture(&replay, native, cut, sizeof cut), 0);
    EQUAL(replay.link.due(&replay.link), HAL_FOREVER);
    host_replay_close(&replay);
}

static void a_pipe_gives_whole_frames_and_ends_at_a_wrong_length(void) {
    static struct host_pipe link;
    static uint8_t frame[HOST_NET_FRAME];
    int in[2], out[2];
    CHECK(pipe(in) == 0 && pipe(out) == 0);
    host_pipe_create(&link, in[0], out[1]);
    for (unsigned i = 0; i < 6; i++) {
        CHECK(write(in[1], &"\0\0\0\x02hi"[i], 1) == 1);
        EQUAL(link.link.receive(&link.link, frame, 0), i == 5 ? 2 : 0);
    }
    CHECK(memcmp(frame, "hi", 2) == 0);
    CHECK(write(in[1], "\0\x01\0\0", 4) == 4); /* 65,536 */
    EQUAL(link.link.receive(&link.link, frame, 0), 0);
    CHECK(link.over);
    /* A reader that does not read loses frames, never pieces of them. */
    host_pipe_create(&link, in[0], out[1]);
    uint8_t sent[1000];
    for (unsigned i = 0; i < 200; i++) {
        memset(sent, (int)i, sizeof sent);
        link.link.send(&link.link, sent, sizeof sent);
    }
    uint8_t all[1004];
    unsigned frames = 0;
    ssize_t got;
    close(in[1]);
    for (size_t at = 0; (got = read(out[0], all + at, sizeof all - at)) > 0;) {
        at += (size_t)got;
        if (at < sizeof all)
            continue;
        CHECK(memcmp(all, "\0\0\x03\xe8", 4) == 0);
        for (unsigned i = 5; i < sizeof all; i++)
            EQUAL(all[i], all[4]);
        at = 0;
        frames++;
        if (frames == 10)
            link.link.send(&link.link, sent, sizeof sent);
        if (frames == 60)
            close(out[1]);
    }
    CHECK(frames >= 60);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    signal(SIGPIPE, SIG_IGN);
    snprintf(recorded, sizeof recorded, "%s/recorded.pcap", arguments[1]);
    snprintf(again, sizeof again, "%s/again.pcap", arguments[1]);
    snprintf(file_name, sizeof file_name, "%s/small.pcap", arguments[1]);
    captures_of_every_kind_are_read_and_broken_ones_end();
    a_pipe_gives_whole_frames_and_ends_at_a_wrong_length();
    two_machines_talk_over_pipes();
    a_capture_played_again_gives_the_same_frames();
    return 0;
}

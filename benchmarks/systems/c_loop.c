/* The limit that everything else is compared with: a server that does nothing but send.
 *
 *     c_loop <port> <redis port> <channel>
 *
 * It answers WebSocket handshakes, subscribes to a Redis channel, builds one frame for each message,
 * and calls send() once for each frame and socket: no queue, no parsing of what clients say. What a
 * socket does not take at once is sent before anything else, so every client gets every byte.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST_CLIENTS 65536
#define REQUEST_BYTES 4096
#define REDIS_BYTES (1 << 22)

static int clients[MOST_CLIENTS], count;      /* those that have shaken hands */
static int place_of[MOST_CLIENTS];            /* fd -> index in clients, or -1 */
static char *requests[MOST_CLIENTS];          /* fd -> the request so far, or NULL */
static size_t request_length[MOST_CLIENTS];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* SHA-1 (RFC 3174) of a text shorter than 119 bytes: at most two blocks. */
static uint32_t rotate(uint32_t value, int bits)
{
    return value << bits | value >> (32 - bits);
}

static void sha1_block(uint32_t state[5], const uint8_t *block)
{
    uint32_t w[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | block[4 * i + 1] << 16 | block[4 * i + 2] << 8 |
               block[4 * i + 3];
    for (int i = 16; i < 80; i++)
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t f, k;
        if (i < 20)
            f = (b & c) | (~b & d), k = 0x5A827999;
        else if (i < 40)
            f = b ^ c ^ d, k = 0x6ED9EBA1;
        else if (i < 60)
            f = (b & c) | (b & d) | (c & d), k = 0x8F1BBCDC;
        else
            f = b ^ c ^ d, k = 0xCA62C1D6;
        uint32_t next = rotate(a, 5) + f + e + k + w[i];
        e = d, d = c, c = rotate(b, 30), b = a, a = next;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e;
}

static void sha1(const char *text, size_t length, uint8_t digest[20])
{
    uint32_t state[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    uint8_t blocks[128] = {0};
    size_t size = length + 9 <= 64 ? 64 : 128;
    memcpy(blocks, text, length);
    blocks[length] = 0x80;
    blocks[size - 2] = (uint8_t)(length * 8 >> 8);
    blocks[size - 1] = (uint8_t)(length * 8);
    for (size_t at = 0; at < size; at += 64)
        sha1_block(state, blocks + at);
    for (int i = 0; i < 20; i++)
        digest[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}

/* Base64 of the 20 bytes of a digest: 28 characters. */
static void base64_digest(const uint8_t digest[20], char text[29])
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t padded[21] = {0};
    memcpy(padded, digest, 20);
    for (int i = 0; i < 7; i++) {
        uint32_t three = padded[3 * i] << 16 | padded[3 * i + 1] << 8 | padded[3 * i + 2];
        for (int j = 0; j < 4; j++)
            text[4 * i + j] = letters[three >> (18 - 6 * j) & 63];
    }
    text[27] = '=';
    text[28] = 0;
}

/* Everything, also to a socket whose buffer is full: wait for it, like a blocking send. */
static void send_all(int fd, const char *bytes, size_t length)
{
    while (length) {
        ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
        if (sent > 0) {
            bytes += sent;
            length -= (size_t)sent;
        } else if (errno == EAGAIN) {
            struct pollfd socket = {.fd = fd, .events = POLLOUT};
            poll(&socket, 1, 1000);
        } else {
            return; /* gone; the event loop will notice */
        }
    }
}

static void forget(int fd)
{
    if (place_of[fd] >= 0) {
        int last = clients[--count];
        clients[place_of[fd]] = last;
        place_of[last] = place_of[fd];
        place_of[fd] = -1;
    }
    free(requests[fd]);
    requests[fd] = NULL;
    close(fd);
}

static void shake_hands(int fd)
{
    static const char magic[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char *header = strcasestr(requests[fd], "\r\nSec-WebSocket-Key:");
    char key[64], accept_text[29], answer[256];
    uint8_t digest[20];
    if (!header || sscanf(header + 20, " %24s", key) != 1) {
        forget(fd);
        return;
    }
    strcat(key, magic);
    sha1(key, strlen(key), digest);
    base64_digest(digest, accept_text);
    int length = snprintf(answer, sizeof answer,
                          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                          "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                          accept_text);
    send_all(fd, answer, (size_t)length);
    free(requests[fd]);
    requests[fd] = NULL;
    place_of[fd] = count;
    clients[count++] = fd;
}

/* What a client says: its request, then nothing that matters. */
static void read_client(int fd)
{
    char ignored[4096];
    if (!requests[fd]) {
        if (recv(fd, ignored, sizeof ignored, 0) <= 0)
            forget(fd);
        return;
    }
    size_t room = REQUEST_BYTES - 1 - request_length[fd];
    ssize_t received = recv(fd, requests[fd] + request_length[fd], room, 0);
    if (received <= 0) {
        forget(fd);
        return;
    }
    request_length[fd] += (size_t)received;
    requests[fd][request_length[fd]] = 0;
    if (strstr(requests[fd], "\r\n\r\n"))
        shake_hands(fd);
}

static void accept_clients(int listener, int epoll)
{
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (fd >= MOST_CLIENTS) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        place_of[fd] = -1;
        requests[fd] = calloc(1, REQUEST_BYTES);
        request_length[fd] = 0;
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

/* One frame, made once, and one send() for each client. */
static void fan_out(const char *payload, size_t length)
{
    static char frame[REDIS_BYTES + 10];
    size_t start = 2;
    frame[0] = (char)0x81;
    if (length < 126) {
        frame[1] = (char)length;
    } else if (length < 65536) {
        frame[1] = 126, frame[2] = (char)(length >> 8), frame[3] = (char)length, start = 4;
    } else {
        frame[1] = 127;
        for (int i = 0; i < 8; i++)
            frame[2 + i] = (char)((uint64_t)length >> (56 - 8 * i));
        start = 10;
    }
    memcpy(frame + start, payload, length);
    for (int i = 0; i < count; i++)
        send_all(clients[i], frame, start + length);
}

/* RESP: a bulk string "$<length>\r\n<bytes>\r\n" or a number ":<n>\r\n"; NULL when it is not all there. */
static const char *element(const char *at, const char *end, const char **bytes, size_t *length)
{
    const char *line_end = memchr(at, '\n', (size_t)(end - at));
    if (!line_end)
        return NULL;
    *bytes = line_end + 1;
    *length = 0;
    if (*at != '$')
        return line_end + 1;
    *length = strtoul(at + 1, NULL, 10);
    return (size_t)(end - *bytes) < *length + 2 ? NULL : *bytes + *length + 2;
}

/* "*3", then what it is, the channel, and the payload of a message (or a number of subscriptions). */
static const char *next_message(const char *at, const char *end)
{
    const char *kind, *bytes, *line_end = memchr(at, '\n', (size_t)(end - at));
    size_t kind_length, length;
    if (!line_end || !(at = element(line_end + 1, end, &kind, &kind_length)) ||
        !(at = element(at, end, &bytes, &length)) || !(at = element(at, end, &bytes, &length)))
        return NULL;
    if (kind_length == 7 && !memcmp(kind, "message", 7))
        fan_out(bytes, length);
    return at;
}

static void read_redis(int fd)
{
    static char buffer[REDIS_BYTES];
    static size_t filled;
    ssize_t received = recv(fd, buffer + filled, sizeof buffer - filled, 0);
    if (received <= 0)
        die("Redis is away");
    filled += (size_t)received;
    const char *at = buffer, *end = buffer + filled, *next;
    while (at < end && (next = next_message(at, end)))
        at = next;
    filled = (size_t)(end - at);
    memmove(buffer, at, filled);
}

static int subscribe(int port, const char *channel)
{
    char command[256];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&address, sizeof address))
        die("connect to Redis");
    int length = snprintf(command, sizeof command, "*2\r\n$9\r\nSUBSCRIBE\r\n$%zu\r\n%s\r\n",
                          strlen(channel), channel);
    send_all(fd, command, (size_t)length);
    return fd;
}

static int listen_on(int port)
{
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096))
        die("listen");
    return fd;
}

int main(int argument_count, char **arguments)
{
    if (argument_count != 4) {
        fprintf(stderr, "usage: c_loop <port> <redis port> <channel>\n");
        return 2;
    }
    int epoll = epoll_create1(0), redis = subscribe(atoi(arguments[2]), arguments[3]);
    int listener = listen_on(atoi(arguments[1])), ours[] = {listener, redis};
    for (int i = 0; i < 2; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = ours[i]};
        epoll_ctl(epoll, EPOLL_CTL_ADD, ours[i], &event);
    }
    for (;;) {
        struct epoll_event events[256];
        int ready = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                accept_clients(listener, epoll);
            else if (fd == redis)
                read_redis(redis);
            else
                read_client(fd);
        }
    }
}

/* http.h -- as much HTTP/1.1 as the example server needs: one request per connection, bounded in size and
 * time. Knows nothing of PostgreSQL or pinroute. */
#ifndef EXAMPLE_HTTP_H
#define EXAMPLE_HTTP_H

#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>

#define HTTP_REQUEST_MAX 16384 /* bytes of a request, head and body */
#define HTTP_CLIENT_MS   5000  /* a client sends its request, or takes its answer, within this */

struct http_request {
        int client;
        char method[8], path[64], query[64];
        char *body; /* within buf, ends with a NUL */
        char buf[HTTP_REQUEST_MAX + 1];
};

static int64_t now_ms(void)
{
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* Waits until `fd` is ready or the deadline has passed. */
static bool wait_fd(int fd, short events, int64_t deadline)
{
        for (;;) {
                struct pollfd p = {.fd = fd, .events = events};
                int64_t left = deadline - now_ms();
                int n = left > 0 ? poll(&p, 1, (int)left) : 0;
                if (n >= 0 || errno != EINTR)
                        return n > 0;
        }
}

/* Binds ADDRESS:PORT; port 0 takes a free one.  Says on stdout where it listens. */
static int http_listen(const char *where)
{
        const char *colon = strrchr(where, ':');
        struct addrinfo *at = NULL,
                        hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICHOST};
        struct sockaddr_storage name;
        socklen_t len = sizeof name;
        char host[64], port[8];
        if (!colon || colon == where || (size_t)(colon - where) >= sizeof host)
                return -1;
        snprintf(host, sizeof host, "%.*s", (int)(colon - where), where);
        if (getaddrinfo(host, colon + 1, &hints, &at) != 0)
                return -1;
        int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) != 0 ||
            bind(fd, at->ai_addr, at->ai_addrlen) != 0 || listen(fd, 128) != 0 ||
            getsockname(fd, (struct sockaddr *)&name, &len) != 0 ||
            getnameinfo((struct sockaddr *)&name, len, host, sizeof host, port, sizeof port,
                        NI_NUMERICHOST | NI_NUMERICSERV) != 0)
                return -1;
        freeaddrinfo(at);
        printf("listening on http://%s:%s/\n", host, port);
        fflush(stdout);
        return fd;
}

static void http_send(int client, const char *data, size_t len)
{
        int64_t deadline = now_ms() + HTTP_CLIENT_MS;
        while (len > 0 && wait_fd(client, POLLOUT, deadline)) {
                ssize_t n = send(client, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
                if (n < 0 && errno != EAGAIN && errno != EINTR)
                        return;
                data += n > 0 ? n : 0;
                len -= n > 0 ? (size_t)n : 0;
        }
}

/* `headers`: further ones, each with its CRLF. */
static void http_answer(const struct http_request *q, const char *status, const char *type,
                        const char *headers, const char *body)
{
        char *text = NULL;
        size_t len = 0;
        FILE *f = open_memstream(&text, &len);
        if (!f)
                return;
        fprintf(f, "HTTP/1.1 %s\r\nContent-Type: %s; charset=utf-8\r\nContent-Length: %zu\r\n", status, type,
                strlen(body));
        fputs("Connection: close\r\nCache-Control: no-store\r\nContent-Security-Policy: default-src 'none'; "
              "style-src 'unsafe-inline'; form-action 'self'\r\n",
              f);
        fprintf(f, "%s\r\n%s", headers, strcmp(q->method, "HEAD") == 0 ? "" : body);
        if (fclose(f) == 0)
                http_send(q->client, text, len);
        free(text);
}

/* Where the value of a header begins; it ends with the line.  NULL: absent. */
static const char *http_header(const struct http_request *q, const char *name)
{
        size_t len = strlen(name);
        for (const char *at = strstr(q->buf, "\r\n"); at && at[2] != '\r'; at = strstr(at + 2, "\r\n")) {
                const char *line = at + 2;
                if (strncasecmp(line, name, len) == 0 && line[len] == ':')
                        return line + len + 1 + strspn(line + len + 1, " \t");
        }
        return NULL;
}

/* Where the value of a cookie begins; it ends with `;` or the line.  NULL: absent. */
static const char *http_cookie(const struct http_request *q, const char *name)
{
        size_t len = strlen(name);
        const char *at = http_header(q, "Cookie");
        while (at && (strncmp(at, name, len) != 0 || at[len] != '=')) {
                at += strcspn(at, ";\r");
                at = *at == ';' ? at + 1 + strspn(at + 1, " ") : NULL;
        }
        return at ? at + len + 1 : NULL;
}

/* The head is there and ends at `end`: how long is the whole request?  NULL, or the status to refuse it with.
 */
static const char *http_length(struct http_request *q, char *end, size_t *ret)
{
        const char *length = http_header(q, "Content-Length");
        unsigned long body = 0;
        if (http_header(q, "Transfer-Encoding"))
                return "501 Not Implemented";
        if (length && !isdigit((unsigned char)*length))
                return "400 Bad Request";
        if (length)
                body = strtoul(length, NULL, 10);
        q->body = end + 4;
        *ret = (size_t)(q->body - q->buf);
        if (body > HTTP_REQUEST_MAX - *ret)
                return "413 Content Too Large";
        *ret += body;
        return NULL;
}

/* Splits the request line. */
static bool http_parse(struct http_request *q)
{
        char target[128], version;
        if (sscanf(q->buf, "%7[A-Z] %127[!-~] HTTP/1.%c", q->method, target, &version) != 3)
                return false;
        size_t path = strcspn(target, "?");
        const char *query = target[path] ? target + path + 1 : "";
        if (path >= sizeof q->path || strlen(query) >= sizeof q->query)
                return false;
        memcpy(q->path, target, path);
        q->path[path] = '\0';
        memcpy(q->query, query, strlen(query) + 1);
        return true;
}

/* Receives until the whole request is there.  NULL: it is; else the status to refuse it with, "" if nobody
 * waits. */
static const char *http_receive(struct http_request *q)
{
        int64_t deadline = now_ms() + HTTP_CLIENT_MS;
        size_t len = 0, whole = 0; /* whole: not known yet */
        while (whole == 0 || len < whole) {
                char *end;
                const char *refused;
                if (len == HTTP_REQUEST_MAX)
                        return "431 Request Header Fields Too Large";
                if (!wait_fd(q->client, POLLIN, deadline))
                        return "408 Request Timeout";
                ssize_t n = recv(q->client, q->buf + len, HTTP_REQUEST_MAX - len, MSG_DONTWAIT);
                if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
                        return "";
                len += n > 0 ? (size_t)n : 0;
                q->buf[len] = '\0';
                if (strlen(q->buf) != len)
                        return "400 Bad Request"; /* a NUL in it */
                if (whole == 0 && (end = strstr(q->buf, "\r\n\r\n")) &&
                    (refused = http_length(q, end, &whole)))
                        return refused;
        }
        q->buf[whole] = '\0';
        return http_parse(q) ? NULL : "400 Bad Request";
}

/* Decodes the value of a form whose first field is `name`, in place.  NULL: it is not, or holds a NUL. */
static char *http_form_field(char *form, const char *name)
{
        size_t len = strlen(name);
        if (strncmp(form, name, len) != 0 || form[len] != '=')
                return NULL;
        char *value = form + len + 1, *to = value;
        for (const char *from = value; *from && *from != '&'; from++) {
                char hex[3] = {0};
                if (*from == '%' && isxdigit((unsigned char)from[1]) && isxdigit((unsigned char)from[2])) {
                        memcpy(hex, from + 1, 2);
                        from += 2;
                }
                *to = *hex ? (char)strtoul(hex, NULL, 16) : *from == '+' ? ' ' : *from;
                if (*to++ == '\0')
                        return NULL;
        }
        *to = '\0';
        return value;
}

/* After a refusal: lets the client read the answer before its unread bytes reset the connection. */
static void http_drain(int client)
{
        char away[4096];
        int64_t deadline = now_ms() + 500;
        shutdown(client, SHUT_WR);
        while (wait_fd(client, POLLIN, deadline) && recv(client, away, sizeof away, MSG_DONTWAIT) > 0) {
        }
}

static void html_put(FILE *f, const char *text)
{
        for (; *text; text++) {
                switch (*text) {
                case '&': fputs("&amp;", f); break;
                case '<': fputs("&lt;", f); break;
                case '>': fputs("&gt;", f); break;
                case '"': fputs("&quot;", f); break;
                case '\'': fputs("&#39;", f); break;
                default: fputc(*text, f);
                }
        }
}

#endif

/* test_http.c -- who is answered over HTTP, with what, and for how long.  Client and server take turns in one thread. */
#include "tests/unit/core_play.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "daemon/http.h"

static struct event_base *base;
static struct conns conns;
static struct http http;
static struct sockaddr_storage at;
static socklen_t at_size;
static char said[1 << 20];

static void listen_on(const char *where)
{
        snprintf(core_conf.http_listen, sizeof core_conf.http_listen, "%s", where);
        http = (struct http){.core = &core, .conns = &conns, .base = base};
}

/* A port that nobody has. */
static const char *free_address(void)
{
        static char where[32];
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof a;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        cr_assert(!bind(fd, (struct sockaddr *)&a, sizeof a) &&
                  !getsockname(fd, (struct sockaddr *)&a, &size));
        close(fd);
        memcpy(&at, &a, sizeof a);
        at_size = sizeof a;
        snprintf(where, sizeof where, "127.0.0.1:%u", ntohs(a.sin_port));
        return where;
}

static const char *path_in_dir(void)
{
        struct sockaddr_un *u = (struct sockaddr_un *)&at;
        memset(&at, 0, sizeof at);
        u->sun_family = AF_UNIX;
        snprintf(u->sun_path, sizeof u->sun_path, "%s", in_core_dir("http.sock"));
        at_size = sizeof *u;
        return u->sun_path;
}

static void open_http(void)
{
        core_open();
        signal(SIGPIPE, SIG_IGN);
        base = event_base_new();
        listen_on(free_address());
        cr_assert(http_init(&http, &core_conf, (gid_t)-1));
}

static void close_http(void)
{
        http_fini(&http);
        event_base_free(base);
        unlink(in_core_dir("http.sock"));
        core_close();
}

TestSuite(http, .init = open_http, .fini = close_http, .timeout = 60);

/* ---- a client ---- */

static int call(void)
{
        int fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        cr_assert(!connect(fd, (struct sockaddr *)&at, at_size) || errno == EINPROGRESS);
        return fd;
}

static void serve(void) { event_base_loop(base, EVLOOP_NONBLOCK); }

/* The whole of what the server says, to the end. */
static const char *hear(int fd)
{
        size_t n = 0;
        for (ssize_t got = -1; got;) {
                serve();
                got = recv(fd, said + n, sizeof said - 1 - n, MSG_DONTWAIT);
                cr_assert(got >= 0 || errno == EAGAIN || errno == ECONNRESET, "%s", strerror(errno));
                if (got < 0 && errno == ECONNRESET)
                        break;
                n += got > 0 ? (size_t)got : 0;
        }
        said[n] = '\0';
        close(fd);
        return said;
}

static void tell(int fd, const char *text)
{
        cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static const char *ask(const char *text)
{
        int fd = call();
        serve();
        tell(fd, text);
        return hear(fd);
}

static int status_of(const char *text)
{
        int status = 0;
        sscanf(ask(text), "HTTP/1.%*d %d", &status);
        return status;
}

static const char *body(void)
{
        const char *end = strstr(said, "\r\n\r\n");
        return end ? end + 4 : "";
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\n\r\n"

/* ---- pages ---- */

Test(http, metrics_are_plain_text_that_nobody_keeps_or_runs)
{
        ask(GET("/metrics"));
        cr_expect(!strncmp(said, "HTTP/1.1 200 OK\r\n", 17), "%.300s", said);
        const char *headers[] = {"Content-Type: text/plain; version=0.0.4", "Cache-Control: no-store",
                                 "Connection: close", "X-Content-Type-Options: nosniff",
                                 "Content-Security-Policy: default-src 'none'"};
        for (unsigned i = 0; i < sizeof headers / sizeof *headers; i++)
                cr_expect(strstr(said, headers[i]), "%s in %.300s", headers[i], said);
        cr_expect(strstr(body(), "\npinrouted_pins 0\n"));
}

Test(http, head_is_answered_as_get_is_without_the_body)
{
        ask(GET("/healthz"));
        size_t n = strlen(body());
        char length[64];
        snprintf(length, sizeof length, "Content-Length: %zu\r\n", n);
        cr_expect(strstr(said, length), "%s", said);
        ask("HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        cr_expect(strstr(said, length), "%s", said);
        cr_expect_str_eq(body(), "");
}

static void all_up(void)
{
        for (unsigned i = 0; i < core.n_clusters; i++)
                for (unsigned k = 0; k < PNR_NODES_MAX; k++)
                        core.cluster[i]->node[k].state = NODE_UP;
}

Test(http, health_is_ok_or_degraded_with_why_and_bad_only_for_who_asks_strictly)
{
        all_up();
        cr_expect_eq(status_of(GET("/healthz?strict")), 200);
        cr_expect_str_eq(body(), "ok\n");
        core.cluster[0]->node[1].state = NODE_DOWN;
        strcpy(core.cluster[0]->node[1].why, "no answer");
        cr_expect_eq(status_of(GET("/healthz")), 200);
        cr_expect_str_eq(body(), "degraded\nmain/shadow-1 is DOWN: no answer\n");
        cr_expect_eq(status_of(GET("/healthz?strict")), 503);
        cr_expect_str_eq(body(), "degraded\nmain/shadow-1 is DOWN: no answer\n");
}

Test(http, health_is_bad_while_no_write_is_acknowledged)
{
        all_up();
        core.silent_until = mono_plus(clock_mono(), 60000);
        cr_expect_eq(status_of(GET("/healthz")), 503);
        cr_expect_str_eq(body(), "not serving\nwrites are not being acknowledged: see the log\n");
}

Test(http, another_path_is_not_found_and_learns_which_there_are)
{
        cr_expect_eq(status_of(GET("/metrics/")), 404);
        cr_expect(strstr(body(), "/metrics ") && strstr(body(), "/healthz "), "%s", body());
        cr_expect_eq(status_of(GET("/metric")), 404);
        cr_expect_eq(status_of(GET("/healthz%00")), 404);
        cr_expect_eq(status_of(GET("//localhost/metrics")), 404);
}

Test(http, a_page_that_takes_long_to_make_is_the_same_for_all_for_a_while)
{
        ask(GET("/metrics"));
        cr_expect(strstr(body(), "\npinrouted_clients 0\n"));
        http.made[0].good_until_us = INT64_MAX;
        conns.n = 7;
        ask(GET("/metrics?again"));
        cr_expect(strstr(body(), "\npinrouted_clients 0\n"));
        cr_expect_str_eq(body() + strlen(body()) - 1, "\n", "and whole");
        ask("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        cr_expect_str_eq(body(), "");
        http.made[0].good_until_us = 0;
        ask(GET("/metrics"));
        cr_expect(strstr(body(), "\npinrouted_clients 7\n"));
        int64_t left_us = http.made[0].good_until_us - clock_us(CLOCK_MONOTONIC);
        cr_expect_lt(left_us, 1000000);
        conns.n = 0;
}

/* ---- who is answered ---- */

Test(http, a_name_that_is_none_of_ours_is_refused)
{
        cr_expect_eq(status_of("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n"), 421);
        cr_expect(strstr(body(), "http_host = NAME"), "%s", body());
        cr_expect_eq(status_of("GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"),
                     400);
        cr_expect_eq(status_of("GET http://evil.example/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"), 400);
        snprintf(core_conf.http_host, sizeof core_conf.http_host, "evil.example");
        cr_expect_eq(status_of("GET /healthz HTTP/1.1\r\nhost: evil.example:1\r\n\r\n"), 200);
        core_conf.http_host[0] = '\0';
}

Test(http, who_says_no_name_was_not_led_here_by_one)
{
        cr_expect_eq(status_of("GET /healthz HTTP/1.0\r\n\r\n"), 200);
        cr_expect_eq(status_of("GET /healthz HTTP/1.1\r\nHost:\r\nHost: evil.example\r\n\r\n"), 421);
}

Test(http, what_is_not_get_or_head_is_not_allowed)
{
        const char *methods[] = {"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"};
        for (unsigned i = 0; i < sizeof methods / sizeof *methods; i++) {
                char text[200];
                snprintf(text, sizeof text,
                         "%s /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc",
                         methods[i]);
                cr_expect_eq(status_of(text), 405, "%s: %s", methods[i], said);
                cr_expect(strstr(said, "\r\nAllow: GET, HEAD\r\n"), "%s", said);
        }
        cr_expect_eq(status_of("FETCH /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"), 501);
}

Test(http, what_is_no_request_gets_no_page)
{
        const char *bad[] = {"garbage\r\n\r\n", "GET\r\n\r\n", "GET /metrics HTTP/9.9\r\n\r\n",
                             "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
                             "\x16\x03\x01\x02\x01\x01\r\n\r\n"};
        for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
                cr_expect_eq(status_of(bad[i]), 400, "%s", said);
        static char large[20000];
        memset(large, 'a', sizeof large - 1);
        memcpy(large, "GET /metrics HTTP/1.1\r\nX: ", 26);
        int fd = call();
        serve();
        send(fd, large, sizeof large - 1, MSG_NOSIGNAL);
        cr_expect_null(strstr(hear(fd), " 200 "));
}

Test(http, only_the_first_of_many_requests_is_answered)
{
        ask(GET("/healthz") GET("/healthz") GET("/healthz"));
        cr_expect(strstr(said, "HTTP/1.1 200 OK"));
        cr_expect_null(strstr(said + 1, "HTTP/1.1"));
}

/* ---- for how long ---- */

static void pass_time(int64_t ms)
{
        for (unsigned i = 0; i < http.n; i++)
                http.client[i].since.ms -= ms;
}

static bool is_over(int fd)
{
        char byte;
        for (unsigned i = 0; i < 3;
             i++) { /* it is cut off at a look, and evhttp sees that, and then it goes */
                usleep(60000);
                serve();
        }
        return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

Test(http, who_takes_too_long_is_cut_off_however_busy_he_seems)
{
        int fd = call();
        serve();
        for (unsigned i = 0; i < 3; i++) {
                tell(fd, "G");
                serve();
        }
        cr_assert_eq(http.n, 1);
        cr_expect_not(is_over(fd));
        pass_time(HTTP_PATIENCE_MS);
        cr_expect(is_over(fd));
        cr_expect_eq(http.n, 0);
        close(fd);
}

Test(http, a_crowd_of_silent_clients_gives_way_sooner)
{
        int crowd[HTTP_CLIENTS_MAX + 5];
        for (unsigned i = 0; i < HTTP_CLIENTS_MAX + 5; i++)
                crowd[i] = call();
        serve();
        serve();
        cr_assert_eq(http.n, HTTP_CLIENTS_MAX, "%u", http.n);
        cr_expect(http.rests);
        cr_expect_not(is_over(crowd[0]));
        pass_time(HTTP_CROWDED_MS);
        cr_expect(is_over(crowd[0]));
        cr_expect_eq(status_of(GET("/healthz")), 200);
        for (unsigned i = 0; i < HTTP_CLIENTS_MAX + 5; i++)
                close(crowd[i]);
        while (http.n)
                serve();
        cr_expect_not(http.rests);
}

/* ---- where ---- */

Test(http, without_a_descriptor_nobody_is_taken_in_until_there_is_one)
{
        struct rlimit was, none;
        int fd = call();
        getrlimit(RLIMIT_NOFILE, &was);
        none = was;
        none.rlim_cur = (rlim_t)fd + 1;
        setrlimit(RLIMIT_NOFILE, &none);
        serve();
        setrlimit(RLIMIT_NOFILE, &was);
        cr_expect(http.rests);
        cr_expect_eq(http.n, 0);
        tell(fd, GET("/healthz"));
        cr_expect(strstr(hear(fd), "HTTP/1.1 200 OK"));
        cr_expect_not(http.rests);
}

Test(http, nothing_listens_where_nothing_is_configured)
{
        http_fini(&http);
        listen_on("");
        cr_expect(http_init(&http, &core_conf, (gid_t)-1));
        cr_expect_null(http.server);
}

Test(http, an_address_in_use_or_of_no_use_is_said)
{
        struct http first = http;
        const char *bad[] = {first.where, "203.0.113.77:9899", "/dev/null", "/nowhere/at/all"};
        for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
                listen_on(bad[i]);
                cr_expect_not(http_init(&http, &core_conf, (gid_t)-1), "%s", bad[i]);
        }
        http_fini(&http);
        http = first;
}

Test(http, a_socket_at_a_path_serves_whoever_can_open_it_by_any_name)
{
        struct stat st;
        http_fini(&http);
        listen_on(path_in_dir());
        cr_assert(http_init(&http, &core_conf, (gid_t)-1));
        cr_assert_eq(stat(core_conf.http_listen, &st), 0);
        cr_expect_eq(st.st_mode & 0777, 0660);
        cr_expect_eq(status_of("GET /healthz HTTP/1.1\r\nHost: whatever.example\r\n\r\n"), 200);
        http_mind(&http);
        cr_assert_eq(unlink(core_conf.http_listen), 0);
        http_mind(&http);
        cr_expect_eq(status_of(GET("/healthz")), 200, "a socket whose file was removed is made anew");
        cr_assert_eq(unlink(core_conf.http_listen), 0);
        strcpy(http.where, "/nowhere/at/all"); /* as if its directory were gone */
        http_mind(&http);
        cr_expect_not(mono_reached(clock_mono(), http.mind_due), "one complaint, not one a second");
        strcpy(http.where, core_conf.http_listen);
        http.mind_due = (struct mono){0};
        http_mind(&http);
        cr_expect_eq(status_of(GET("/healthz")), 200);
        http_fini(&http);
        cr_expect_neq(stat(core_conf.http_listen, &st), 0, "it takes its socket away");
        listen_on(path_in_dir());
        cr_assert(http_init(&http, &core_conf, (gid_t)-1));
}

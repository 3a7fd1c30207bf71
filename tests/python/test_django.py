#!/usr/bin/env python3
"""test_django.py -- pinroute.django with a real daemon and replicas that lag: who wrote reads what they wrote.
ctest: parallel"""
import asyncio
import collections
import contextlib
import contextvars
import itertools
import os
import pickle
import sys
import threading
import timeit
import types
import unittest
import warnings
from unittest import mock

sys.path.append(os.path.dirname(os.path.abspath(__file__)))
import small_site  # noqa: E402

REPLICAS = ["shadow-1", "shadow-2"]
POSTGRES = {"ENGINE": "django.db.backends.postgresql", "HOST": "127.0.0.1", "NAME": "app", "USER": "postgres"}
NODES = {"default": 0, "shadow-1": 1, "shadow-2": 2, "reports": 0, "reports-1": 1}
DATABASES = {alias: {**POSTGRES} for alias in NODES}
small_site.configure(DATABASES, REPLICA_DATABASES=REPLICAS, PINROUTE_DIR="/nowhere/yet")

from asgiref.sync import sync_to_async  # noqa: E402
from django.conf import settings  # noqa: E402
from django.contrib.auth import get_user_model, login  # noqa: E402
from django.core.exceptions import ImproperlyConfigured  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import OperationalError, connection, connections, router as routing, transaction  # noqa: E402
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse  # noqa: E402
from django.test import AsyncClient, Client, SimpleTestCase, override_settings  # noqa: E402
from django.test.utils import setup_test_environment  # noqa: E402
from django.utils.functional import SimpleLazyObject  # noqa: E402

import harness  # noqa: E402
import pinroute  # noqa: E402
from harness import eventually  # noqa: E402
from pinroute.django import (  # noqa: E402
    NoReplica, PinningReplicaRouter, PinningRouterMiddleware, ReplicaRouter, db_write, default_key, get_replica, mark_written,
    pin_this_thread, request_scope, this_thread_is_pinned, token, unpin_this_thread, use_primary_db,
)
from pinroute.django import conf, site, state, stream  # noqa: E402
from small_site.models import Figure, Note  # noqa: E402

READ_FROM = {"main": REPLICAS, "reports": ["reports-1"], "odd": ["stranger"]}
COOKIE = "multidb_pin_writes"
TWO_CLUSTERS = {"main": {"primary": "default", "replicas": REPLICAS},
                "reports": {"primary": "reports", "replicas": ["reports-1"], "apps": ["reports", "stats.Model"]}}


def setUpModule():
    """A primary, two replicas that lack whatever a test writes, and a daemon that thinks well of them."""
    global pg, daemon, watcher
    setup_test_environment()
    pg = harness.Cluster(replicas=2)
    unittest.addModuleCleanup(pg.close)
    for alias, node in NODES.items():
        settings.DATABASES[alias]["PORT"] = pg.ports[node]
    unittest.addModuleCleanup(connections.close_all)
    call_command("migrate", run_syncdb=True, verbosity=0)
    with connection.schema_editor() as editor:
        editor.create_model(Figure)
    daemon = harness.Daemon({
        "main": pg.nodes(),
        "reports": [f"reports = {pg.conninfo(0)} role=primary", f"reports-1 = {pg.conninfo(1)}"],
        "odd": [f"default = {pg.conninfo(0)} role=primary", f"stranger = {pg.conninfo(1)}"],
        "bare": [f"default = {pg.conninfo(0)} role=primary"],
    }, None, {"no_replica": "error", "max_lag": "60min", "check_interval": "100ms", "check_timeout": "100ms", "rise": 1, "pin_seconds": 60})
    unittest.addModuleCleanup(daemon.close)
    settings.PINROUTE_DIR = daemon.dir
    conf.forget()
    watcher = pinroute.Router(daemon.dir)
    connections.close_all()
    for cluster, replicas in READ_FROM.items():
        eventually(lambda: {nodes_for(b"any", cluster) for _ in range(4)} == set(replicas), 10, f"{replicas} are read")
    eventually(lambda: pg.caught_up(1) and pg.caught_up(2), 10)
    hold_replicas_back()


def hold_replicas_back():
    """From here on each replica waits at a commit, and lacks all that comes after."""
    for n in (1, 2):
        pg.lag(n, "10min")
        eventually(lambda: Note.objects.using("default").create(text="the last") and not pg.caught_up(n), 10)


def nodes_for(key, cluster="main"):
    return watcher.node_for_read(watcher.cluster(cluster), key)


def pin_left_ms(key):
    return watcher.route_read(watcher.cluster("main"), key).pin_left_ms


def type_of_sessions():
    from django.contrib.sessions.models import Session
    return Session


def read(model=Note):
    """Where this context reads from."""
    return routing.db_for_read(model)


def is_pinned(key, cluster="main"):
    """Does another handle on the store, as another process has it, see the key's pin?"""
    return watcher.route_read(watcher.cluster(cluster), key).reason == pinroute.PINNED


class Case(SimpleTestCase):
    """Each test begins outside of any request, unpinned, with keys of its own."""

    databases = "__all__"
    numbers = itertools.count()

    def setUp(self):
        state.enter(None)
        unpin_this_thread()
        self.addCleanup(small_site.views.clear)
        self.key = f"u:{self.id()}.{next(self.numbers)}"

    def view(self, function, name="view"):
        small_site.views[name] = function

    def override(self, **given):
        overridden = override_settings(**given)
        overridden.enable()
        self.addCleanup(overridden.disable)

    def user(self):
        return get_user_model().objects.db_manager("default").create_user(f"user{next(self.numbers)}")

    def client_of_session(self):
        """A client with a session that nobody has logged in to, and its key."""
        client = Client()
        client.cookies[settings.SESSION_COOKIE_NAME] = session = f"session{next(self.numbers)}"
        return client, f"s:{session}"

    def assert_read_from_replicas(self):
        self.assertEqual({read() for _ in range(4)}, set(REPLICAS))


def where(request):
    return HttpResponse(read())


def wrote(request):
    return HttpResponse(Note.objects.create(text=request.path).pk)


def sees(request):
    return HttpResponse(Note.objects.filter(pk=request.GET["pk"]).exists())


class Reads(Case):
    """Where reads go while nobody has written."""

    def test_reads_of_nobody_take_turns_over_the_replicas(self):
        for ask in (read, get_replica, lambda: ReplicaRouter().db_for_read(Note)):
            seen = collections.Counter(ask() for _ in range(100))
            self.assertEqual(set(seen), set(REPLICAS))
            self.assertLessEqual(abs(seen["shadow-1"] - 50), 2)
        self.assertEqual(routing.db_for_write(Note), "default")

    def test_a_replica_may_be_asked_for_that_is_at_most_so_far_behind(self):
        eventually(lambda: get_replica(within_ms=20000) in REPLICAS, 10)
        self.assertEqual(get_replica(within_ms=0), "default")

    def test_one_request_sees_one_database_and_the_next_another(self):
        self.view(lambda request: HttpResponse(" ".join({read() for _ in range(5)})))
        seen = [Client().get("/view").content.decode() for _ in range(10)]
        self.assertEqual(set(seen), set(REPLICAS))

    def test_t1_scopes_three_deep_with_exceptions_restore_exactly(self):
        with request_scope():
            for pinned in (False, True):
                if pinned:
                    pin_this_thread()
                with use_primary_db, contextlib.suppress(KeyError), use_primary_db:
                    with contextlib.suppress(ValueError), use_primary_db:
                        self.assertEqual(read(), "default")
                        raise ValueError
                    self.assertEqual(read(), "default")
                    raise KeyError
                self.assertEqual((this_thread_is_pinned(), read() == "default"), (pinned, pinned))
            unpin_this_thread()
            self.assertIn(read(), REPLICAS)
        self.assert_read_from_replicas()

    def test_t2_t3_threads_and_tasks_never_see_each_others_scope(self):
        seen = collections.defaultdict(set)

        def play(name, turn):
            with request_scope(key=f"{self.key} {name}"):
                if name == "writer":
                    routing.db_for_write(Note)
                with use_primary_db if name == "forced" else contextlib.nullcontext():
                    for _ in range(4):
                        seen[name].add(read())
                        yield turn

        def thread(name):
            for turn in play(name, barrier):
                turn.wait(10)

        async def task(name):
            for _ in play(name, None):
                await asyncio.sleep(0)

        async def tasks():
            await asyncio.gather(*map(task, names))

        names = ("writer", "reader", "forced")
        barrier = threading.Barrier(len(names))
        threads = [threading.Thread(target=thread, args=(name,)) for name in names]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        in_threads = dict(seen)
        seen.clear()
        asyncio.run(tasks())
        for each in (in_threads, seen):
            self.assertEqual((each["writer"], each["forced"]), ({"default"}, {"default"}))
            self.assertLessEqual(each["reader"], set(REPLICAS))
        self.assert_read_from_replicas()

    def test_t4_scopes_and_requests_nest(self):
        with request_scope(), use_primary_db:
            with request_scope():
                self.assertEqual(db_write(read)(), "default")
            self.assertEqual(read(), "default")
        with request_scope(key=self.key):
            with request_scope():
                mark_written()
                self.assertEqual(read(), "default")
            self.assertIn(read(), REPLICAS)

    def test_t5_a_writing_view_may_return_none(self):
        with request_scope(key=self.key):
            self.assertIsNone(db_write(lambda: None)())
        self.assertTrue(is_pinned(self.key))

    def test_t6_a_write_outside_of_requests_pins_its_context_for_a_while(self):
        clock = types.SimpleNamespace(now=1000.0, monotonic=lambda: clock.now)
        with mock.patch.object(state, "time", clock):
            for begin in (lambda: routing.db_for_write(Note), mark_written, pin_this_thread):
                begin()
                clock.now += 14
                self.assertEqual(read(), "default")
                self.assertIn(ReplicaRouter().db_for_read(Note), REPLICAS)
                clock.now += 2
                self.assert_read_from_replicas()

    def test_t30_workers_that_were_forked_after_a_preload_share_reads_evenly(self):
        self.assertIn(read(), REPLICAS)
        total = collections.Counter()
        for _ in range(8):
            mine, theirs = os.pipe()
            child = os.fork()
            if child == 0:
                with contextlib.suppress(BaseException):
                    os.write(theirs, " ".join(get_replica()
                                              for _ in range(101)).encode())
                os._exit(0)
            os.close(theirs)
            with open(mine, encoding="ascii") as said:
                total.update(said.read().split())
            os.waitpid(child, 0)
        self.assertEqual(set(total), set(REPLICAS))
        self.assertLessEqual(abs(total["shadow-1"] / 404 - 1), 0.02, total)

    def test_reads_in_a_transaction_go_to_the_primary_and_then_back(self):
        for scope in (contextlib.nullcontext, request_scope):
            for router in (PinningReplicaRouter(), ReplicaRouter()):
                with scope():
                    self.assertIn(router.db_for_read(Note), REPLICAS)
                    with transaction.atomic():
                        self.assertEqual(router.db_for_read(Note), "default")
                    self.assertIn(router.db_for_read(Note), REPLICAS)
                    transaction.set_autocommit(False)
                    try:
                        self.assertEqual(router.db_for_read(Note), "default")
                    finally:
                        transaction.rollback()
                        transaction.set_autocommit(True)
                    with transaction.atomic(using="shadow-1"):
                        self.assertIn(router.db_for_read(Note), REPLICAS)

    def test_in_a_later_thread_with_the_same_number_a_transaction_is_its_own(self):
        def look(in_transaction):
            with transaction.atomic() if in_transaction else contextlib.nullcontext():
                seen[in_transaction].add(read())
            connections.close_all()

        seen = collections.defaultdict(set)
        with request_scope():
            for n in range(20):
                thread = threading.Thread(target=contextvars.copy_context().run, args=(look, n % 2 == 1))
                thread.start()
                thread.join()
        self.assertEqual(seen[True], {"default"})
        self.assertLessEqual(seen[False], set(REPLICAS))

    def test_what_outlives_its_request_reads_what_that_wrote(self):
        with request_scope() as request:
            pass
        state.enter(request)
        self.assertIn(read(), REPLICAS)
        with transaction.atomic():
            self.assertEqual(read(), "default")
        mark_written()
        self.assertEqual(read(), "default")
        unpin_this_thread()
        for begin in (request_scope(), request_scope(key=self.key)):
            with begin as request:
                self.assertIn(read(), REPLICAS)
                mark_written()
            state.enter(request)
            self.assertEqual(read(), "default")

    def test_a_threads_transaction_is_its_own_also_within_one_request(self):
        seen = []
        with request_scope(), transaction.atomic():
            self.assertEqual(read(), "default")
            thread = threading.Thread(target=contextvars.copy_context().run, args=(lambda: seen.append(read()),))
            thread.start()
            thread.join()
            self.assertEqual(read(), "default")
        self.assertIn(seen[0], REPLICAS)

    def test_a_node_that_is_no_alias_is_the_primary_with_one_warning(self):
        self.override(PINROUTE_CLUSTER="odd")
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            self.assertEqual([read(), get_replica(), read()], ["default"] * 3)
        self.assertEqual(["'stranger'" in str(w.message) for w in heard], [True])

    def test_a_wrong_directory_or_cluster_is_the_primary_and_says_so(self):
        for given, named in (({"PINROUTE_CLUSTER": "mian"}, "no cluster 'mian'"),
                             ({"PINROUTE_DIR": "/nowhere"}, "no store .* in /nowhere")):
            with self.subTest(**given), override_settings(**given), self.assertWarnsRegex(UserWarning, named):
                self.assertEqual(read(), "default")

    def test_a_cluster_that_refuses_is_a_database_that_is_away_but_for_reads_that_belong_on_the_primary(self):
        self.override(PINROUTE_CLUSTER="bare")
        self.view(where)
        with request_scope() as ended:
            pass
        for ask in (read, get_replica, lambda: ReplicaRouter().db_for_read(Note), request_scope()(read),
                    lambda: Note.objects.first()):
            for before in (None, ended):
                state.enter(before)
                with self.assertRaisesRegex(OperationalError, "^NO_REPLICA: no replica") as caught:
                    ask()
                self.assertIs(type(pickle.loads(pickle.dumps(caught.exception))), NoReplica)
        state.enter(None)
        with self.assertLogs("django.request", "ERROR"):
            self.assertEqual(Client(raise_request_exception=False).get("/view").status_code, 500)
        self.assertEqual((use_primary_db(read)(), Client().post("/view").content), ("default", b"default"))
        with transaction.atomic():
            self.assertEqual((read(), ReplicaRouter().db_for_read(Note)), ("default", "default"))
        with request_scope():
            self.assertFalse(this_thread_is_pinned())
            Note.objects.create(text="a")
            self.assertEqual((read(), this_thread_is_pinned()), ("default", True))
        with request_scope(key=self.key):  # what may have been promised before the daemon's start
            self.assertEqual(read(), "default")

    def test_a_scope_costs_a_read_no_more_than_twice_the_seeds_shape(self):
        turns, local = itertools.cycle(REPLICAS), threading.local()
        local.pinned = False

        def is_pinned_there():
            return getattr(local, "pinned", False)

        def next_replica():
            return next(turns)

        class Shape:
            def db_for_read(self, model, **hints):
                return "default" if is_pinned_there() else next_replica()

        ours, theirs = PinningReplicaRouter(), Shape()
        with request_scope(key=self.key):
            best = [min(column) for column in zip(*((timeit.timeit(lambda: r.db_for_read(Note), number=2000)
                                                     for r in (theirs, ours)) for _ in range(100)))]
        self.assertLess(best[1] / best[0], 2 if harness.FULL else 3)


class Writers(Case):
    """Who wrote, and how they are known."""

    def assert_reads_own_write(self, client, method="post", path="/wrote", **headers):
        """A write of the client is seen by its next request, though no replica has it."""
        said = getattr(client, method)(path, **headers)
        seen = client.get("/sees", {"pk": int(said.content)}, **headers)
        self.assertEqual(seen.content, b"True")
        self.assertEqual(Client().get("/sees", {"pk": int(said.content)}).content, b"False")
        return said

    def setUp(self):
        super().setUp()
        self.view(wrote, "wrote")
        self.view(sees, "sees")
        self.view(where, "where")

    def test_an_anonymous_writer_is_known_by_a_token_whatever_the_method(self):
        for method in ("post", "put", "delete", "get"):  # in a GET: the ORM was asked to write
            said = self.assert_reads_own_write(Client(), method)
            self.assertNotIn(said.cookies[COOKIE].value, ("", "y"))

    def test_a_session_is_known_without_the_token(self):
        client, key = self.client_of_session()
        client.post("/where")
        del client.cookies[COOKIE]
        self.assertEqual(client.get("/where").content, b"default")
        self.assertTrue(is_pinned(key))

    def test_a_user_is_known_in_another_session_once_somebody_has_looked(self):
        user, (one, two) = self.user(), (Client(), Client())
        for client in (one, two):
            client.force_login(user)
            for cookie in list(client.cookies):
                if cookie != settings.SESSION_COOKIE_NAME:
                    del client.cookies[cookie]

        def view(request):
            before = read()
            return HttpResponse(f"{before in REPLICAS} {request.user.pk} {read()}")

        # the session and the user are on the primary only: whoever asks for them has to go there
        with mock.patch("django.contrib.sessions.backends.db.SessionStore.load", lambda s: sessions[s.session_key]), \
                mock.patch("django.contrib.auth.backends.ModelBackend.get_user", lambda s, pk: user):
            sessions = {}
            for client in (one, two):
                stored = type_of_sessions().objects.using("default").get(pk=client.cookies["sessionid"].value)
                sessions[stored.pk] = stored.get_decoded()
            self.view(view)
            self.assertEqual(two.get("/view").content.split()[0], b"True")
            self.view(lambda request: HttpResponse(request.user.pk), "looks")
            one.post("/looks")
            self.assertTrue(is_pinned(f"u:{user.pk}"))
            self.assertEqual(two.get("/view").content.decode(), f"True {user.pk} default")

    def test_a_user_is_noticed_however_they_become_known(self):
        user = types.SimpleNamespace(pk=self.key, is_authenticated=True)
        site.site().router.record_write(0, f"u:{self.key}")
        ways = {
            "there is one": lambda request: setattr(request, "_acached_user", user),
            "another one": lambda request: setattr(request, "user", user),
            "somebody has looked": lambda request: str(request.user),
        }
        for way, become_known in ways.items():
            request = HttpRequest()
            request.method = "GET"
            request.user = SimpleLazyObject(lambda: user)
            PinningRouterMiddleware().process_request(request)
            self.assertTrue({read(), read()} <= set(REPLICAS))
            become_known(request)
            self.assertEqual(read(), "default", way)

    def test_a_log_in_is_recorded_for_the_old_session_the_new_one_and_the_user(self):
        user = self.user()
        client, old = self.client_of_session()

        def log_in(request):
            login(request, user, "django.contrib.auth.backends.ModelBackend")
            return HttpResponse()

        self.view(log_in)
        said = client.post("/view")
        new = "s:" + said.cookies[settings.SESSION_COOKIE_NAME].value
        self.assertNotEqual(old, new)
        self.assertEqual([is_pinned(key) for key in (old, new, f"u:{user.pk}")], [True] * 3)

    def test_the_middleware_does_not_touch_the_session(self):
        client, _ = self.client_of_session()
        said = client.post("/where")
        self.assertFalse(said.has_header("Vary"))
        self.assertFalse(said.wsgi_request.session.accessed)

    def test_a_view_that_raises_after_committing_is_pinned_all_the_same(self):
        def fails(request):
            made.append(Note.objects.create(text="before it failed").pk)
            raise RuntimeError("after the commit")

        async def fails_later(request):
            await sync_to_async(fails)(request)

        made = []
        for view, path in ((fails, "/view"), (fails_later, "/async/view")):
            self.view(view)
            client, key = self.client_of_session()
            client.raise_request_exception = False
            with self.assertLogs("django.request", "ERROR"):
                self.assertEqual(client.get(path).status_code, 500)
            self.assertEqual(client.get("/sees", {"pk": made.pop()}).content, b"True")
            self.assertTrue(is_pinned(key))

    def test_an_exception_that_passes_the_middleware_is_recorded_and_goes_on(self):
        def passes(request):
            routing.db_for_write(Note)
            raise KeyboardInterrupt

        async def passes_later(request):
            routing.db_for_write(Note)
            raise asyncio.CancelledError

        for n, view in enumerate((passes, passes_later)):
            request = HttpRequest()
            request.method = "GET"
            request.COOKIES["sessionid"] = f"{self.key} {n}"
            with self.assertRaises((KeyboardInterrupt, asyncio.CancelledError)):
                said = PinningRouterMiddleware(view)(request)
                asyncio.run(said)
            self.assertTrue(is_pinned(f"s:{self.key} {n}"))
            self.assert_read_from_replicas()

    def test_the_mark_on_a_response_and_the_decorator_count_as_writes(self):
        def marked(request):
            said = HttpResponse()
            said._db_write = True
            return said

        for view in (marked, db_write(lambda request: HttpResponse())):
            self.view(view)
            client, key = self.client_of_session()
            client.get("/view")
            self.assertTrue(is_pinned(key))

    def test_a_pin_ends_when_the_replicas_have_the_write(self):
        client = Client()
        said = self.assert_reads_own_write(client)
        self.addCleanup(hold_replicas_back)
        for n in (1, 2):
            pg.lag(n, 0)
        eventually(lambda: {client.get("/where").content.decode() for _ in range(4)} == set(REPLICAS), 10)
        self.assertEqual(client.get("/sees", {"pk": int(said.content)}).content, b"True")

    def test_the_cookie_lives_as_long_as_the_clusters_pin_or_as_the_site_says(self):
        made = Client().post("/where").cookies[COOKIE]
        self.assertTrue(55 <= made["max-age"] <= 61, made)
        with override_settings(MULTIDB_PINNING_SECONDS=3, MULTIDB_PINNING_COOKIE_HTTPONLY=True,
                               MULTIDB_PINNING_COOKIE_SECURE=True, MULTIDB_PINNING_COOKIE_SAMESITE="Strict"):
            client, key = self.client_of_session()
            made = client.post("/where").cookies[COOKIE]
            attributes = [made[name] for name in ("max-age", "httponly", "secure", "samesite")]
            self.assertEqual(attributes, [3, True, True, "Strict"])
            self.assertLessEqual(pin_left_ms(key), 3100)

    def test_a_client_without_cookies_may_carry_the_token_in_a_header(self):
        self.override(PINROUTE_TOKEN_HEADER="X-Pinroute-Token")
        said = Client().post("/wrote")
        brought = {"HTTP_X_PINROUTE_TOKEN": said["X-Pinroute-Token"]}
        self.assertEqual(Client().get("/sees", {"pk": int(said.content)}, **brought).content, b"True")

    def test_t15_what_a_client_made_up_counts_for_nothing(self):
        good = Client().post("/wrote").cookies[COOKIE].value
        swapped = good[:20] + ("A" if good[20] != "A" else "B") + good[21:]
        site.site()._began -= 20
        for text in ("y", "2036-01-01", "", ".", "é" * 50, "x" * 100000, "." * 5000, good[:-1], swapped, good + "A"):
            client = Client()
            client.cookies[COOKIE] = text
            said = client.get("/where")
            self.assertIn(said.content.decode(), REPLICAS, text)
            self.assertNotIn(COOKIE, said.cookies)
        client.cookies[COOKIE] = f"garbage.{good}"
        self.assertEqual(client.get("/where").content, b"default")

    def test_what_no_token_looks_like_is_not_sent_back(self):
        self.override(PINROUTE_DIR="/nowhere", PINROUTE_TOKEN_HEADER="X-Pinroute-Token")
        for text in (r'"a\012b"', '"a b"', r'"a\073b"', "<b>"):  # newer Pythons' clients refuse to say the first
            said = Client(HTTP_COOKIE=f"{COOKIE}={text}").post("/where")
            self.assertEqual((said.status_code, said.cookies.get(COOKIE)), (200, None))

    def test_a_user_of_any_kind_breaks_nothing(self):
        class Odd:
            @property
            def is_authenticated(self):
                raise RuntimeError

        def view(request):
            request.user = user
            return HttpResponse(read())

        self.view(view)
        unseen = SimpleLazyObject(lambda: SimpleLazyObject(self.fail))
        unseen._setup()
        for user in (types.SimpleNamespace(is_authenticated=True), unseen, None,
                     types.SimpleNamespace(is_authenticated=True, pk=None)):
            client, key = self.client_of_session()
            self.assertIn(client.get("/view").content.decode(), REPLICAS)
            client.post("/view")
            self.assertTrue(is_pinned(key))
        user = Odd()
        with self.assertLogs("pinroute.django", "ERROR"):
            self.assertEqual(Client().get("/view").content, b"default")

    def test_attributes_of_the_request_may_come_and_go(self):
        request = HttpRequest()
        request.user, request.method = None, "GET"
        PinningRouterMiddleware().process_request(request)
        self.assertIn(read(), REPLICAS)
        request.other = request.__dict__.pop("user")
        self.assertIn(read(), REPLICAS)
        request.__dict__.clear()
        self.assertIn(read(), REPLICAS)

    def test_the_seeds_cookie_counts_just_after_the_switch(self):
        conf.forget()
        client = Client()
        client.cookies[COOKIE] = "y"
        self.assertEqual(client.get("/where").content, b"default")
        self.assertIn(Client().get("/where").content.decode(), REPLICAS)

    def test_a_stream_is_recorded_before_its_first_byte_and_runs_in_its_request(self):
        client, key = self.client_of_session()

        def steps():
            yield f"{read()} {is_pinned(key)} "
            yield read()

        self.view(lambda request: StreamingHttpResponse(steps()))
        said = client.post("/view")
        self.assertTrue(is_pinned(key))
        with mock.patch.object(site.site(), "router") as router:
            self.assertEqual(b"".join(said.streaming_content), b"default True default")
        router.record_write.assert_not_called()  # once is enough
        seen = [Client().get("/view").getvalue().split() for _ in range(4)]
        self.assertTrue(all(first == last != b"default" for first, _, last in seen), seen)

    def test_a_write_in_a_stream_is_recorded_before_anything_can_tell_of_it(self):
        def steps(early):
            if early:
                Note.objects.create(text="streamed")
            yield "a piece"
            if not early:
                Note.objects.create(text="after all that was streamed")

        for early in (True, False):
            client, key = self.client_of_session()
            self.view(lambda request: StreamingHttpResponse(steps(early)))
            pieces = client.get("/view").streaming_content
            self.assertFalse(is_pinned(key))
            next(pieces)
            self.assertEqual(is_pinned(key), early)
            self.assertEqual(list(pieces), [])
            self.assertTrue(is_pinned(key))
            self.assert_read_from_replicas()

    def test_an_async_stream_runs_in_its_request_and_a_file_is_left_alone(self):
        async def steps():
            yield read()
            routing.db_for_write(Note)
            yield read()

        async def consume():
            with request_scope(key=self.key) as request:
                pass
            request.over = False
            said = types.SimpleNamespace(streaming=True, is_async=True, streaming_content=steps())
            self.assertTrue(stream.keep_in_request(said, request))
            return [(alias, read(), is_pinned(self.key)) async for alias in said.streaming_content]

        (first, around, _), (second, around_too, recorded) = asyncio.run(consume())
        self.assertEqual((second, recorded), ("default", True))
        self.assertTrue({first, around, around_too} <= set(REPLICAS))
        self.assertTrue(is_pinned(self.key))
        with open(__file__, "rb") as f:
            self.assertFalse(stream.keep_in_request(FileResponse(f), None))

    def test_async_views_read_their_own_writes(self):
        async def writes(request):
            made = await sync_to_async(wrote)(request)
            return HttpResponse(made.content)

        async def looks(request):
            return await sync_to_async(sees)(request)

        async def visit():
            client = AsyncClient()
            said = await client.post("/async/writes")
            return [(await c.get(f"/async/looks?pk={int(said.content)}")).content for c in (client, AsyncClient())]

        self.view(writes, "writes")
        self.view(looks, "looks")
        self.assertEqual(asyncio.run(visit()), [b"True", b"False"])


class Commits(Case):
    """When a write is recorded."""

    def test_a_write_in_a_transaction_is_recorded_at_its_commit(self):
        with request_scope(key=self.key):
            with transaction.atomic():
                with transaction.atomic():
                    Note.objects.create(text="a")
                Note.objects.create(text="b")
                self.assertEqual(len(connection.run_on_commit), 1)
                self.assertFalse(is_pinned(self.key))
            self.assertTrue(is_pinned(self.key))

    def test_a_commit_is_recorded_before_others_hear_of_it(self):
        heard = []
        with request_scope(key=self.key), transaction.atomic():
            transaction.on_commit(lambda: heard.append(is_pinned(self.key)))
            Note.objects.create(text="a")
        self.assertEqual(heard, [True])

    def test_a_commit_that_outlives_the_request_is_recorded(self):
        with request_scope(key=self.key) as request:
            pass
        state.enter(request)
        with transaction.atomic():
            Note.objects.create(text="its client has hung up")
            self.assertFalse(is_pinned(self.key))
        self.assertTrue(is_pinned(self.key))

    def test_what_is_recorded_counts_for_a_request_that_has_read_before(self):
        def in_a_job():
            with request_scope(key=self.key):
                Note.objects.create(text="a")

        def in_a_transaction():
            with transaction.atomic():
                Note.objects.create(text="a")
            unpin_this_thread()

        for write in (in_a_job, in_a_transaction):
            self.key += "."
            with request_scope(key=self.key):
                self.assertIn(read(), REPLICAS)
                write()
                self.assertEqual(read(), "default")

    def test_each_transaction_is_recorded(self):
        recorded = []
        with request_scope(key=self.key):
            record = site.site().router.record_write
            with mock.patch.object(site.site(), "router", mock.Mock(wraps=site.site().router)) as seen:
                seen.record_write.side_effect = lambda *call: recorded.append(call) or record(*call)
                for _ in range(3):
                    with transaction.atomic():
                        Note.objects.create(text="a")
                self.assertEqual(len(recorded), 3)

    def test_a_write_after_a_savepoint_that_was_rolled_back_is_recorded_at_the_commit(self):
        with request_scope(key=self.key):
            with transaction.atomic():
                with contextlib.suppress(ValueError), transaction.atomic():
                    Note.objects.create(text="a")
                    raise ValueError
                self.assertEqual(connection.run_on_commit, [])
                Note.objects.create(text="b")
            self.assertTrue(is_pinned(self.key))

    def test_a_write_without_a_transaction_is_recorded_at_the_end(self):
        with self.assertRaises(ValueError), request_scope(key=self.key):
            Note.objects.create(text="a")
            self.assertEqual(read(), "default")
            self.assertFalse(is_pinned(self.key))
            raise ValueError
        self.assertTrue(is_pinned(self.key))

    def test_manual_transactions_are_recorded_at_the_end(self):
        transaction.set_autocommit(False)
        try:
            with request_scope(key=self.key):
                Note.objects.create(text="a")
                transaction.commit()
        finally:
            transaction.rollback()
            transaction.set_autocommit(True)
        self.assertTrue(is_pinned(self.key))

    def test_raw_sql_is_a_write_when_somebody_says_so(self):
        with request_scope(key=self.key):
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("insert into small_site_note (text) values ('raw')")
                self.assertFalse(is_pinned(self.key))
                mark_written()
            self.assertTrue(is_pinned(self.key))

    def test_t32_between_the_commit_and_its_record_there_is_a_gap_that_a_hold_closes(self):
        def view(request):
            Note.objects.create(text="committed")
            return HttpResponse(is_pinned(key))  # as another request of this client would find it now

        self.view(view)
        for method in ("get", "post"):
            for seconds, held in ((0, b"False"), (5, b"True")):
                client, key = self.client_of_session()
                with override_settings(PINROUTE_HOLD_SECONDS=seconds):
                    self.assertEqual(getattr(client, method)("/view").content, held, (method, seconds))

    def test_a_hold_begins_before_the_write_for_each_name_of_the_client(self):
        self.override(PINROUTE_HOLD_SECONDS=5)
        user, seen = self.user(), []

        def before(run, sql, *arguments):
            if sql.startswith("INSERT"):
                seen.append([is_pinned(key), is_pinned(f"u:{user.pk}")])
            return run(sql, *arguments)

        def view(request):
            Note.objects.create(text="a")
            request.user = user  # an API's authentication has found out
            Note.objects.create(text="b")
            return HttpResponse()

        self.view(view)
        client, key = self.client_of_session()
        with connection.execute_wrapper(before):
            client.get("/view")
        self.assertEqual(seen, [[True, False], [True, True]])

        self.view(db_write(lambda request: HttpResponse(is_pinned(key))))
        client, key = self.client_of_session()
        self.assertEqual(client.get("/view").content, b"True")


class Keys(Case):
    """PINROUTE_KEY."""

    def setUp(self):
        super().setUp()
        self.view(where)

    def test_a_function_of_the_site_names_the_key(self):
        for value, key in ((self.key, self.key), (self.key.encode(), self.key), (40000 + next(self.numbers), None)):
            with override_settings(PINROUTE_KEY=lambda request: value):
                Client().post("/view")
                self.assertTrue(is_pinned(key or str(value)))
                client = Client()
                self.assertEqual(client.get("/view").content, b"default")

    def test_it_replaces_user_and_session_and_may_fall_back_to_them(self):
        client, key = self.client_of_session()
        with override_settings(PINROUTE_KEY=lambda request: None):
            client.post("/view")
            self.assertFalse(is_pinned(key))
        with override_settings(PINROUTE_KEY=lambda request: request.headers.get("X-Key") or default_key(request)):
            client.post("/view", HTTP_X_KEY=self.key)
            self.assertEqual((is_pinned(self.key), is_pinned(key)), (True, False))
            client.post("/view")
            self.assertTrue(is_pinned(key))

    def test_it_is_asked_when_needed_and_again_until_it_knows(self):
        asked = []

        def key(request):
            asked.append(read())
            return self.key if len(asked) > 2 else None

        site.site().router.record_write(0, self.key)
        self.view(lambda request: HttpResponse(" ".join(read() for _ in range(5))))
        self.view(lambda request: HttpResponse(), "idle")
        with override_settings(PINROUTE_KEY=key):
            Client().get("/idle")
            self.assertEqual(asked, [])
            said = Client().get("/view").content.decode().split()
        self.assertEqual(len(asked), 3)
        self.assertTrue(set(asked + said[:2]) <= set(REPLICAS))
        self.assertEqual(said[2:], ["default"] * 3)

    def test_a_function_that_fell_back_to_the_session_is_asked_again_for_the_user(self):
        def view(request):
            before, request.user = read(), user
            return HttpResponse(f"{before in REPLICAS} {read()}")

        user = types.SimpleNamespace(is_authenticated=True, pk=self.id())
        site.site().router.record_write(0, f"u:{user.pk}")
        self.view(view)
        with override_settings(PINROUTE_KEY="pinroute.django.default_key"):
            self.assertEqual(self.client_of_session()[0].get("/view").content, b"True default")

    def test_while_it_is_asked_other_threads_of_the_request_read_from_the_primary(self):
        def key(request):
            asked.set()
            self.assertTrue(answer.wait(10))
            return self.key

        def view(request):
            other = threading.Thread(target=contextvars.copy_context().run, args=(read,))
            other.start()
            self.assertTrue(asked.wait(10))
            mine = read()
            answer.set()
            other.join()
            return HttpResponse(f"{mine} {read() in REPLICAS}")

        asked, answer = threading.Event(), threading.Event()
        self.view(view)
        with override_settings(PINROUTE_KEY=key):
            self.assertEqual(Client().get("/view").content, b"default True")

    def test_a_function_that_fails_costs_the_request_the_replicas_and_is_logged_once(self):
        async def later(request):
            return "k"

        for key in (lambda request: 1 // 0, later):
            self.view(lambda request: HttpResponse(" ".join(read() for _ in range(3))))
            with override_settings(PINROUTE_KEY=key), self.assertLogs("pinroute.django", "ERROR") as logged:
                self.assertEqual(Client().get("/view").content, b"default default default")
            self.assertEqual(len(logged.records), 1)

    def test_a_function_whose_own_read_is_refused_does_not_open_the_primary_to_the_rest(self):
        self.override(PINROUTE_CLUSTER="bare", PINROUTE_KEY=lambda request: Note.objects.first())
        self.view(where)
        with self.assertNoLogs("pinroute.django"), self.assertLogs("django.request"), self.assertRaises(NoReplica):
            Client().get("/view")
        self.assertEqual(Client().post("/view").content, b"default")

    def test_a_long_key_is_a_key(self):
        with override_settings(PINROUTE_KEY=lambda request: self.key * 1000):
            Client().post("/view")
            self.assertEqual(Client().get("/view").content, b"default")
        with override_settings(PINROUTE_KEY=lambda request: self.key * 1001):
            self.assertIn(Client().get("/view").content.decode(), REPLICAS)


class Jobs(Case):
    """request_scope() and token()."""

    def test_a_job_sees_what_its_user_wrote_by_key_or_by_token(self):
        payload = {}
        with request_scope(key=self.key):
            with transaction.atomic():
                note = Note.objects.create(text="queued")
                transaction.on_commit(lambda: payload.update(token=token()))
        for brought in ({"key": self.key}, payload, {"key": "u:other", **payload}):
            with request_scope(**brought):
                self.assertTrue(Note.objects.filter(pk=note.pk).exists(), brought)
        for brought in ({}, {"key": "u:other"}, {"token": "garbage"}, {"token": b"bytes"},
                        {"token": payload["token"][:-2]}):
            with request_scope(**brought):
                self.assertFalse(Note.objects.filter(pk=note.pk).exists(), brought)

    def test_a_token_tells_of_what_was_written_before_it_was_made(self):
        with request_scope() as request:
            self.assertIsNone(token())
            Note.objects.create(text="a")
            made = token()
            self.assertTrue(request.is_pinned())
        with request_scope(token=made):
            self.assertEqual(read(), "default")
            self.assertEqual(token(), made)  # and is handed on
        self.assertIsNone(token())

    def test_a_token_may_be_made_before_the_commit_and_brought_as_bytes(self):
        with request_scope(), transaction.atomic():
            note = Note.objects.create(text="by nobody we know")
            made = token()
        for brought in (made, made.encode()):
            with request_scope(token=brought):
                self.assertTrue(Note.objects.filter(pk=note.pk).exists())

    def test_what_a_job_writes_is_recorded_under_its_key(self):
        with request_scope(key=self.key):
            mark_written()
        self.assertTrue(is_pinned(self.key))


class Clusters(Case):
    """Several clusters, several alias groups."""

    def setUp(self):
        super().setUp()
        self.override(PINROUTE_CLUSTERS=TWO_CLUSTERS)

    def test_each_model_is_read_and_written_where_it_lives(self):
        for scope in (contextlib.nullcontext, request_scope):
            with scope():
                self.assertIn(read(Note), REPLICAS)
                self.assertEqual(read(Figure), "reports-1")
                written = [ReplicaRouter().db_for_write(model) for model in (Note, Figure, None)]
                self.assertEqual(written, ["default", "reports", "default"])

    def test_a_write_to_one_is_no_write_to_the_other(self):
        with request_scope(key=self.key):
            Figure.objects.create(value=1)
            self.assertEqual(read(Figure), "reports")
            self.assertIn(read(Note), REPLICAS)
            with transaction.atomic(using="reports"):
                self.assertIn(read(Note), REPLICAS)
        self.assertEqual((is_pinned(self.key), is_pinned(self.key, "reports")), (False, True))

    def test_the_cookie_carries_a_token_for_each_and_loses_none(self):
        self.view(lambda request: HttpResponse(Figure.objects.create(value=1).pk), "figure")
        self.view(lambda request: HttpResponse(Note.objects.create(text="a").pk), "note")
        self.view(lambda request: HttpResponse(f"{read(Note)} {read(Figure)}"))
        client = Client()
        client.get("/figure")
        self.assertEqual(client.cookies[COOKIE].value.count("."), 0)
        client.get("/note")
        self.assertEqual(client.cookies[COOKIE].value.count("."), 1)
        self.assertEqual(client.get("/view").content, b"default reports")
        other = Client()
        other.post("/view")
        self.assertEqual(other.get("/view").content, b"default reports")

    def test_a_cluster_that_is_not_there_takes_no_token_from_another(self):
        self.override(PINROUTE_CLUSTERS={"absent": TWO_CLUSTERS["main"], "reports": TWO_CLUSTERS["reports"]})
        with self.assertWarnsRegex(UserWarning, "no cluster 'absent'"), request_scope():
            Figure.objects.create(value=1)
            made = token()
        with request_scope(token=made):
            self.assertEqual((read(Note), read(Figure)), ("default", "reports"))
            self.assertEqual(token().split("."), [made, made])  # it may be either's

    def test_an_alias_of_another_group_is_no_node(self):
        clusters = {"reports": {"primary": "default"}, "main": {"primary": "reports", "replicas": ["reports-1"]}}
        with override_settings(PINROUTE_CLUSTERS=clusters), self.assertWarnsRegex(UserWarning, "'reports-1'"):
            self.assertEqual(read(Note), "default")

    def test_a_job_may_be_about_one_cluster(self):
        with request_scope(key=self.key, cluster="reports"):
            mark_written()
            self.assertIsNotNone(token())
        self.assertEqual((is_pinned(self.key), is_pinned(self.key, "reports")), (False, True))
        with request_scope(key=self.key + "2"):
            mark_written("main")
        self.assertEqual((is_pinned(self.key + "2"), is_pinned(self.key + "2", "reports")), (True, False))
        with self.assertRaisesMessage(ValueError, "there are main, reports"), request_scope(cluster="nope"):
            pass

    def test_migrations_go_to_the_primary_of_the_models_group(self):
        allow = PinningReplicaRouter().allow_migrate
        for alias, app, model, said in (
                ("default", "small_site", "note", True), ("reports", "small_site", "note", False),
                ("reports", "reports", "figure", True), ("default", "reports", "figure", False),
                ("reports", "stats", "model", True), ("default", "stats", "model", False),
                ("default", "stats", "more", True), ("reports", "stats", None, True), ("reports", "other", None, False),
                ("shadow-1", "small_site", "note", False), ("reports-1", "reports", "figure", False)):
            self.assertIs(allow(alias, app, model), said, (alias, app, model))
        with override_settings(PINROUTE_CLUSTERS={"main": TWO_CLUSTERS["main"]}):
            self.assertIsNone(allow("reports", "small_site", "note"))


class Settings(Case):
    """What is wrong is said by name; what is missing is the primary."""

    def test_with_a_directory_and_no_store_everything_is_the_primary_and_nothing_fails(self):
        self.override(PINROUTE_DIR="/nowhere", PINROUTE_HOLD_SECONDS=1)
        self.view(where)
        for client in (Client(), self.client_of_session()[0]):
            said = client.post("/view")
            self.assertEqual((said.content, COOKIE in said.cookies), (b"default", False))
            self.assertEqual(client.get("/view").content, b"default")
        self.assertEqual((get_replica(), read(), ReplicaRouter().db_for_read(Note)), ("default",) * 3)
        with request_scope(key=self.key, token="brought"):
            Note.objects.create(text="a")
            self.assertIsNotNone(read())
            token()

    def test_the_environment_may_say_the_directory(self):
        with override_settings(), mock.patch.dict(os.environ, PINROUTE_DIR=daemon.dir):
            del settings.PINROUTE_DIR
            conf.forget()
            with request_scope(key=self.key):
                mark_written()
        self.assertTrue(is_pinned(self.key))

    def test_what_is_wrong_is_said_with_its_setting_and_the_mend(self):
        for given, said in (
                ({"PINROUTE_CLUTSER": "x"}, "did you mean PINROUTE_CLUSTER?"),
                ({"PINROUTE_XYZZY": 1}, "PINROUTE_XYZZY is no setting"),
                ({"PINROUTE_DIR": 7}, "PINROUTE_DIR is 7"),
                ({"PINROUTE_CLUSTER": "a b"}, "PINROUTE_CLUSTER: 'a b'"),
                ({"PINROUTE_CLUSTERS": ["main"]}, "give a dict"),
                ({"PINROUTE_CLUSTERS": {"main": {"primry": "default"}}}, "PINROUTE_CLUSTERS['main']"),
                ({"PINROUTE_CLUSTERS": {"main": {"replicas": ["shadow-9"]}}}, "'shadow-9', which is not in DATABASES"),
                ({"PINROUTE_CLUSTERS": {"a": {}, "b": {"replicas": ["shadow-1"]}}}, "'default' is in 'a' and in 'b'"),
                ({"PINROUTE_CLUSTERS": {"main": {"apps": "reports"}}}, "['apps']: give a list"),
                ({"PINROUTE_KEY": "no.such.function"}, "PINROUTE_KEY"),
                ({"PINROUTE_KEY": 7}, "PINROUTE_KEY is 7"),
                ({"PINROUTE_HOLD_SECONDS": -1}, "PINROUTE_HOLD_SECONDS is -1"),
                ({"PINROUTE_HOLD_SECONDS": "5"}, "PINROUTE_HOLD_SECONDS is '5'"),
                ({"PINROUTE_TIMEOUT_MS": 0}, "PINROUTE_TIMEOUT_MS is 0"),
                ({"PINROUTE_TOKEN_HEADER": "X Token"}, "PINROUTE_TOKEN_HEADER is 'X Token'"),
                ({"MULTIDB_PINNING_SECONDS": "soon"}, "MULTIDB_PINNING_SECONDS is 'soon'"),
                ({"MULTIDB_PINNING_SECONDS": float("inf")}, "MULTIDB_PINNING_SECONDS is inf"),
                ({"MULTIDB_PINNING_SECONDS": 1e12}, "MULTIDB_PINNING_SECONDS is 1000000000000"),
                ({"MULTIDB_PINNING_SECONDS": -1}, "MULTIDB_PINNING_SECONDS is -1"),
                ({"MULTIDB_PINNING_COOKIE": "a b"}, "MULTIDB_PINNING_COOKIE is 'a b'"),
                ({"MULTIDB_PINNING_COOKIE_SAMESITE": "Some"}, "MULTIDB_PINNING_COOKIE_SAMESITE is 'Some'")):
            for start in (PinningReplicaRouter, PinningRouterMiddleware):
                with override_settings(**given), self.assertRaisesMessage(ImproperlyConfigured, said):
                    conf.forget()
                    start()
        conf.forget()

    def test_threads_that_are_first_together_share_one_handle(self):
        class Slow(site.ServedSite):
            def __init__(self, settings):
                super().__init__(settings)
                both.wait(10)

        def first():
            made.append(site.site())

        made, both = [], threading.Barrier(2)
        conf.forget()
        conf.conf()
        with mock.patch.object(site, "ServedSite", Slow):
            threads = [threading.Thread(target=first) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertIs(*made)

    def test_the_directory_may_not_be_too_long_for_a_socket(self):
        with override_settings(PINROUTE_DIR="/" + "x" * 200):
            self.assertRaisesMessage(ImproperlyConfigured, "PINROUTE_DIR", get_replica)


if __name__ == "__main__":
    unittest.main()

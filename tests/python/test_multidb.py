#!/usr/bin/env python3
"""test_multidb.py -- a site that knows django-multidb-router alone: same names, same behaviour, none of its faults.
ctest: parallel"""
import asyncio
import collections
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import types
import unittest
import warnings
from unittest import mock

sys.path.append(os.path.dirname(os.path.abspath(__file__)))
import small_site  # noqa: E402

REPLICAS = ["shadow-1", "shadow-2", "shadow-3"]
small_site.configure(small_site.in_memory("default", *REPLICAS, "elsewhere"), "multidb", REPLICA_DATABASES=REPLICAS)

from django.conf import settings  # noqa: E402
from django.core.exceptions import ImproperlyConfigured  # noqa: E402
from django.db import router as routing, transaction  # noqa: E402
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse  # noqa: E402
from django.test import AsyncClient, Client, RequestFactory, SimpleTestCase, TestCase, override_settings  # noqa: E402

import multidb  # noqa: E402
import multidb.middleware  # noqa: E402
import multidb.pinning  # noqa: E402
import pinroute.django  # noqa: E402
from multidb.middleware import PinningRouterMiddleware, pinning_cookie, pinning_seconds  # noqa: E402
from multidb.pinning import (  # noqa: E402
    db_write, mark_as_write, pin_this_thread, this_thread_is_pinned, unpin_this_thread, use_master, use_primary_db,
)
from pinroute.django import conf, seed, site, state  # noqa: E402
from small_site.models import Note  # noqa: E402

COOKIE = "multidb_pin_writes"


def read():
    """Where this context reads from."""
    return routing.db_for_read(Note)


def ran_alone(script, **env):
    """What a fresh interpreter prints that runs the script."""
    done = subprocess.run(["/usr/bin/python3", "-B", "-W", "always", "-c", script], text=True, capture_output=True,
                          timeout=30, env={"PATH": "/usr/bin:/bin",
                                           "PYTHONPATH": os.path.join(small_site.BUILD, "python"), **env})
    assert done.returncode == 0, done.stderr
    return done


class Clock:
    """Stands in for the module time where pins are kept."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


class Case(SimpleTestCase):
    """Each test begins outside of any request, unpinned, and with no store in the default place."""

    def setUp(self):
        for name, value in (("DEFAULT_STORE", "/nowhere/data.mdb"), ("_conf", None)):
            patch = mock.patch.object(conf, name, value)
            patch.start()
            self.addCleanup(patch.stop)
        unpin_this_thread()
        state.enter(None)
        warnings.simplefilter("ignore", UserWarning)
        self.addCleanup(small_site.views.clear)

    def warnings_of(self, call):
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            call()
        return [w.category for w in heard]

    def assert_read_from_replicas(self):
        self.assertEqual({read() for _ in REPLICAS}, set(REPLICAS))

    def view(self, function, name="view"):
        small_site.views[name] = function


def answer(*_):
    return HttpResponse(read())


class Names(Case):
    """What a site may import."""

    def test_all_names_of_all_releases_are_there(self):
        wanted = {
            multidb: "DEFAULT_DB_ALIAS ReplicaRouter PinningReplicaRouter MasterSlaveRouter PinningMasterSlaveRouter "
                     "get_replica get_slave db_write this_thread_is_pinned VERSION __version__",
            multidb.middleware: "PINNING_COOKIE PINNING_SECONDS PINNING_COOKIE_HTTPONLY PINNING_COOKIE_SAMESITE "
                                "PINNING_COOKIE_SECURE pinning_cookie pinning_seconds pinning_cookie_httponly "
                                "pinning_cookie_samesite pinning_cookie_secure READ_ONLY_METHODS "
                                "PinningRouterMiddleware",
            multidb.pinning: "this_thread_is_pinned pin_this_thread unpin_this_thread use_primary_db use_master "
                             "mark_as_write db_write",
        }
        for module, names in wanted.items():
            for name in names.split():
                self.assertTrue(hasattr(module, name), f"{module.__name__}.{name}")
        with self.assertRaises(AttributeError):
            multidb.middleware.PINNING_NONSENSE

    def test_the_old_routers_are_the_new_ones_and_warn_once(self):
        for old, new in ((multidb.MasterSlaveRouter, multidb.ReplicaRouter),
                         (multidb.PinningMasterSlaveRouter, multidb.PinningReplicaRouter)):
            made = []
            self.assertEqual(self.warnings_of(lambda: made.append(old())), [DeprecationWarning])
            self.assertIsInstance(made[0], new)

    def test_get_slave_warns_once_and_asks_get_replica(self):
        for module in (multidb, pinroute.django):
            with mock.patch.object(module, "get_replica", return_value="there"):
                said = []
                self.assertEqual(self.warnings_of(lambda: said.append(module.get_slave())), [DeprecationWarning])
                self.assertEqual(said, ["there"])

    def test_use_master_warns_once_for_each_use_and_does_what_the_new_name_does(self):
        self.assertIsInstance(use_master, type(use_primary_db))

        def block():
            with use_master:
                self.assertEqual(read(), "default")

        decorated = use_master(lambda: self.assertEqual(read(), "default"))
        coroutine = use_master(self.pinned_soon)
        for use in (block, decorated, lambda: asyncio.run(coroutine()), lambda: list(use_master(steps)())):
            self.assertEqual(self.warnings_of(use), [DeprecationWarning])
        self.assert_read_from_replicas()

    async def pinned_soon(self):
        await asyncio.sleep(0)
        self.assertTrue(this_thread_is_pinned())


def steps():
    """A generator that tells where it reads from."""
    yield read()
    yield read()


class Scopes(Case):
    """use_primary_db and db_write restore what was there, whoever is inside of whom."""

    def test_t1_scopes_three_deep_with_exceptions_restore_exactly(self):
        for pinned in (False, True):
            if pinned:
                pin_this_thread()
            with use_primary_db:
                with contextlib.suppress(KeyError):
                    with use_primary_db:
                        with contextlib.suppress(ValueError):
                            with use_primary_db:
                                self.assertEqual(read(), "default")
                                raise ValueError
                        self.assertEqual(read(), "default")
                        raise KeyError
                self.assertEqual(read(), "default")
            self.assertEqual(this_thread_is_pinned(), pinned)
            self.assertEqual(read() == "default", pinned)

    def test_t1_a_writing_view_that_calls_a_use_master_helper_does_not_leak_the_pin(self):
        warnings.simplefilter("ignore", DeprecationWarning)
        helper = use_master(read)
        view = db_write(lambda request: HttpResponse(helper() + " " + read()))
        self.assertEqual(view(HttpRequest()).content, b"default default")
        self.assertFalse(this_thread_is_pinned())
        self.assert_read_from_replicas()

    def test_t1_a_pin_that_is_made_inside_of_a_scope_outlives_it(self):
        with use_primary_db:
            pin_this_thread()
        self.assertEqual(read(), "default")

    def test_t2_a_thread_inside_of_another_ones_scope_changes_nothing_for_it(self):
        entered, may_leave, seen = threading.Event(), threading.Event(), {}

        def pinned_thread():
            pin_this_thread()
            with use_primary_db:
                entered.set()
                may_leave.wait(10)
            seen["pinned"] = read()

        thread = threading.Thread(target=pinned_thread)
        with use_primary_db:
            thread.start()
            entered.wait(10)
        seen["other"] = read()
        may_leave.set()
        thread.join()
        self.assertEqual(seen["pinned"], "default")
        self.assertIn(seen["other"], REPLICAS)

    def test_t3_a_task_never_sees_another_tasks_scope(self):
        seen = collections.defaultdict(set)

        async def pinned(turn):
            with use_primary_db:
                for _ in range(5):
                    seen["pinned"].add(read())
                    await turn.wait()
            pin_this_thread()
            await turn.wait()
            seen["pinned"].add(read())

        async def other(turn):
            for _ in range(7):
                seen["other"].add(read())
                await turn.wait()

        async def both():
            turn = types.SimpleNamespace(wait=lambda: asyncio.sleep(0))
            await asyncio.gather(pinned(turn), other(turn), pinned(turn))

        asyncio.run(both())
        self.assertEqual(seen["pinned"], {"default"})
        self.assertLessEqual(seen["other"], set(REPLICAS))

    def test_t3_a_thread_that_served_a_request_is_not_pinned_by_it(self):
        self.view(answer)
        self.assertEqual(Client().post("/view").content, b"default")
        self.assert_read_from_replicas()

    def test_t4_every_scope_nests_in_every_other(self):
        inner = db_write(read)
        outer = db_write(use_primary_db(lambda: [inner(), read(), use_primary_db(db_write(read))(), read()]))
        with use_primary_db:
            self.assertEqual([*outer(), read()], ["default"] * 5)
        self.assert_read_from_replicas()

    def test_t5_a_writing_view_may_return_none_or_what_takes_no_mark(self):
        for said in (None, "text", ["list"]):
            self.assertEqual(db_write(lambda: said)(), said)
            self.assertEqual(mark_as_write(said), said)

    def test_t5_imports_need_no_settings(self):
        ran_alone("import multidb, multidb.middleware, multidb.pinning, pinroute.django")
        said = ran_alone("""
import multidb
from django.conf import settings
settings.configure()
from multidb.middleware import PINNING_SECONDS
print(multidb.ReplicaRouter().db_for_read(None), PINNING_SECONDS)""")
        self.assertEqual(said.stdout, "default 15\n")

    def test_t5_an_empty_list_is_the_primary_with_a_warning(self):
        for name in ("REPLICA_DATABASES", "SLAVE_DATABASES"):
            with override_settings(REPLICA_DATABASES=[]):
                if name == "SLAVE_DATABASES":
                    del settings.REPLICA_DATABASES
                    settings.SLAVE_DATABASES = ()
                    conf.forget()
                heard = self.warnings_of(lambda: self.assertEqual([read(), multidb.get_replica()], ["default"] * 2))
                self.assertEqual(heard.count(UserWarning), 1, heard)

    def test_without_a_daemon_nobody_knows_how_far_behind_a_replica_is(self):
        self.assertIn(multidb.get_replica(), REPLICAS)
        self.assertEqual(multidb.get_replica(within_ms=60000), "default")

    def test_t6_a_pin_outside_of_requests_ends_by_itself(self):
        clock = Clock()
        with mock.patch.object(state, "time", clock):
            pin_this_thread()
            clock.now += 14
            self.assertEqual(read(), "default")
            routing.db_for_write(Note)
            clock.now += 14
            self.assertEqual(read(), "default")
            clock.now += 2
            self.assertFalse(this_thread_is_pinned())
            self.assert_read_from_replicas()

    def test_generators_are_forced_while_they_run_only(self):
        @use_primary_db
        async def coroutine():
            await asyncio.sleep(0)
            return read()

        @use_primary_db
        async def async_steps():
            for _ in range(2):
                yield read()

        async def consume():
            return [(alias, read()) async for alias in async_steps()]

        self.assertEqual(asyncio.run(coroutine()), "default")
        for mine, consumers in [*((alias, read()) for alias in use_primary_db(steps)()), *asyncio.run(consume())]:
            self.assertEqual(mine, "default")
            self.assertIn(consumers, REPLICAS)
        self.assertEqual(list(use_primary_db()(steps)()), ["default"] * 2)


class Requests(Case):
    """The middleware and its cookie."""

    def begin(self, method="GET", cookie=None):
        request = RequestFactory().generic(method, "/")
        if cookie is not None:
            request.COOKIES[COOKIE] = cookie
        self.assertIsNone(PinningRouterMiddleware().process_request(request))
        return request

    def test_unsafe_methods_and_the_cookie_pin_their_request_and_nothing_after_it(self):
        for method, cookie, pinned in (("GET", None, False), ("HEAD", None, False), ("OPTIONS", None, False),
                                       ("TRACE", None, False), ("GET", "y", True), ("POST", None, True),
                                       ("PUT", None, True), ("DELETE", None, True), ("get", None, True),
                                       (None, None, True)):
            with self.subTest(method=method, cookie=cookie):
                request = HttpRequest()
                request.method = method
                if cookie:
                    request.COOKIES[COOKIE] = cookie
                middleware = PinningRouterMiddleware()
                middleware.process_request(request)
                self.assertEqual((this_thread_is_pinned(), read() == "default"), (pinned, pinned))
                middleware.process_response(request, HttpResponse())
                self.assert_read_from_replicas()

    def test_a_get_without_the_cookie_unpins(self):
        pin_this_thread()
        request = self.begin()
        self.assertFalse(this_thread_is_pinned())
        PinningRouterMiddleware().process_response(request, HttpResponse())
        self.assertFalse(this_thread_is_pinned())

    def test_a_pin_made_in_a_request_ends_with_it(self):
        def view(request):
            before = read()
            pin_this_thread()
            return HttpResponse(f"{before in REPLICAS} {read()}")
        self.view(view)
        self.assertEqual(Client().get("/view").content, b"True default")
        self.assert_read_from_replicas()

    def test_the_cookie_has_the_attributes_that_the_settings_say(self):
        for given, wanted in (({}, ("y", 15, "Lax", "", "")),
                              ({"MULTIDB_PINNING_SECONDS": "7", "MULTIDB_PINNING_COOKIE_SAMESITE": "Strict",
                                "MULTIDB_PINNING_COOKIE_HTTPONLY": True, "MULTIDB_PINNING_COOKIE_SECURE": True},
                               ("y", 7, "Strict", True, True))):
            with override_settings(**given):
                request = self.begin("POST")
                made = PinningRouterMiddleware().process_response(request, HttpResponse()).cookies[COOKIE]
                attributes = [made[name] for name in ("max-age", "samesite", "httponly", "secure")]
                self.assertEqual((made.value, *attributes), wanted)

    def test_settings_take_effect_at_once(self):
        with override_settings(MULTIDB_PINNING_COOKIE="pinned", MULTIDB_PINNING_SECONDS=60):
            self.assertEqual((multidb.middleware.PINNING_COOKIE, multidb.middleware.PINNING_SECONDS), ("pinned", 60))
            self.assertEqual((pinning_cookie(), pinning_seconds()), ("pinned", 60))
            self.view(answer)
            client = Client()
            self.assertEqual(client.post("/view").cookies["pinned"]["max-age"], 60)
            self.assertEqual(client.get("/view").content, b"default")
        self.assertEqual((multidb.middleware.PINNING_COOKIE, multidb.middleware.PINNING_SECONDS), (COOKIE, 15))
        with override_settings(REPLICA_DATABASES=["shadow-3"]):
            self.assertEqual({read() for _ in range(4)}, {"shadow-3"})
        with override_settings(MULTIDB_PINNING_SECONDS="soon"):
            self.assertRaisesMessage(ImproperlyConfigured, "'soon'", pinning_seconds)

    def test_who_has_written_is_known_by_the_cookie(self):
        self.view(answer)
        self.view(db_write(answer), "written")
        self.view(lambda request: mark_as_write(HttpResponse(read())), "marked")
        for method, path, primary in (("post", "/view", True), ("get", "/written", True), ("get", "/marked", False)):
            client = Client()
            self.assertNotEqual(client.get("/view").content, b"default")
            said = getattr(client, method)(path)
            self.assertEqual(said.content == b"default", primary)
            self.assertEqual(client.get("/view").content, b"default")
            self.assertNotIn(COOKIE, client.get("/view").cookies)

    def test_a_writing_view_that_raises_is_pinned_all_the_same(self):
        def fails(request):
            raise RuntimeError("after the commit")

        async def fails_later(request):
            await asyncio.sleep(0)
            raise RuntimeError("after the commit")

        for view, method, path in ((db_write(fails), "get", "/view"), (fails, "post", "/view"),
                                   (db_write(fails_later), "get", "/async/view")):
            self.view(view)
            with self.assertLogs("django.request", "ERROR"):
                said = getattr(Client(raise_request_exception=False), method)(path)
            self.assertEqual(said.status_code, 500)
            self.assertEqual(said.cookies[COOKIE].value, "y")

    def test_t15_what_a_client_made_up_counts_for_its_own_request_only(self):
        self.view(answer)
        client = Client()
        client.cookies[COOKIE] = "2036-01-01T00:00:00Z"
        said = client.get("/view")
        self.assertEqual((said.content, dict(said.cookies)), (b"default", {}))
        self.assertNotEqual(Client().get("/view").content, b"default")

    def test_an_async_view_is_routed_as_its_request_and_two_do_not_mix(self):
        async def view(request):
            said = []
            for _ in range(3):
                said.append(read())
                await asyncio.sleep(0)
            return HttpResponse(" ".join(said))

        async def visit():
            return await asyncio.gather(AsyncClient().get("/async/view"), AsyncClient().post("/async/view"),
                                        AsyncClient().get("/async/view"), AsyncClient().post("/async/view"))

        self.view(view)
        looks = [said.content.decode().split() for said in asyncio.run(visit())]
        for pinned, seen in zip((False, True, False, True), looks):
            self.assertEqual("default" in seen, pinned, looks)
            self.assertEqual(set(seen) == {"default"}, pinned, looks)

    def test_a_stream_is_read_as_its_request(self):
        self.view(lambda request: StreamingHttpResponse(steps()))
        client = Client()
        said = client.post("/view")
        self.assertEqual(said.cookies[COOKIE].value, "y")
        self.assertEqual(list(said.streaming_content), [b"default"] * 2)
        self.assertNotIn(b"default", list(Client().get("/view").streaming_content))
        self.assert_read_from_replicas()

    def test_a_task_that_outlives_its_request_is_outside_of_it(self):
        request = self.begin()
        self.assertIn(read(), REPLICAS)
        kept = state.current()
        PinningRouterMiddleware().process_response(request, HttpResponse())
        state.enter(kept)
        self.assert_read_from_replicas()
        for pin in (pin_this_thread, pinroute.django.mark_written):
            pin()
            self.assertEqual(read(), "default")
            unpin_this_thread()
            self.assert_read_from_replicas()

    def test_a_stream_does_not_pin_whoever_consumes_it(self):
        request = self.begin("POST")
        said = PinningRouterMiddleware().process_response(request, StreamingHttpResponse(steps()))
        self.assertIn(read(), REPLICAS)
        for piece in said.streaming_content:
            self.assertEqual(piece, b"default")
            self.assertIn(read(), REPLICAS)

    def test_the_middleware_is_async_where_what_it_wraps_is(self):
        async def later(request):
            return HttpResponse()

        self.assertTrue(asyncio.iscoroutinefunction(PinningRouterMiddleware(later)))
        self.assertFalse(asyncio.iscoroutinefunction(PinningRouterMiddleware(answer)))

    def test_a_request_inside_of_a_request_ends_before_it(self):
        self.view(answer, "inner")
        self.view(lambda request: HttpResponse(Client().get("/inner").content + b" " + read().encode()))
        inner, outer = Client().post("/view").content.split()
        self.assertIn(inner.decode(), REPLICAS)
        self.assertEqual(outer, b"default")


class Routers(Case):
    """Aliases, migrations, turns."""

    def test_reads_take_turns_and_writes_go_to_the_primary(self):
        for made in (multidb.ReplicaRouter(), multidb.PinningReplicaRouter()):
            turns = [made.db_for_read(Note) for _ in range(6)]
            self.assertEqual(sorted(turns[:3]), REPLICAS)
            self.assertEqual(turns[:3], turns[3:])
            self.assertEqual(made.db_for_write(Note), multidb.DEFAULT_DB_ALIAS)
        pin_this_thread()
        self.assertIn(multidb.ReplicaRouter().db_for_read(Note), REPLICAS)
        self.assertIn(multidb.get_replica(), REPLICAS)

    def test_only_the_primary_is_migrated_and_all_relations_are_allowed(self):
        made = multidb.ReplicaRouter()
        self.assertTrue(made.allow_relation(Note(), Note()))
        for alias in settings.DATABASES:
            for said in (made.allow_migrate(alias, "app"), made.allow_migrate(alias, "app", "note", hint=1),
                         made.allow_syncdb(alias, Note), made.allow_syncdb(alias, None)):
                self.assertIs(said, alias == "default", alias)

    def test_tests_mirror_the_replicas_also_without_a_key_test(self):
        databases = small_site.in_memory("default", "shadow-1", "shadow-2")
        databases["shadow-2"]["TEST"] = {"NAME": "other"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with override_settings(DATABASES=databases, REPLICA_DATABASES=["shadow-1", "shadow-2"]):
                multidb.PinningReplicaRouter()
        mirrors = [database.get("TEST", {}).get("MIRROR") for database in databases.values()]
        self.assertEqual(mirrors, [None, "default", "default"])

    def test_a_name_that_is_not_in_databases_is_said_with_the_setting(self):
        with override_settings(REPLICA_DATABASES=["shadow-9"]):
            with self.assertRaisesMessage(ImproperlyConfigured, "REPLICA_DATABASES names 'shadow-9'"):
                multidb.PinningReplicaRouter()
        with override_settings(REPLICA_DATABASES="shadow-1"), self.assertRaisesMessage(ImproperlyConfigured, "a list"):
            multidb.get_replica()

    def test_the_old_setting_serves_and_warns(self):
        with override_settings():
            del settings.REPLICA_DATABASES
            settings.SLAVE_DATABASES = ["shadow-2"]
            conf.forget()
            said = []
            self.assertIn(DeprecationWarning, self.warnings_of(lambda: said.append(multidb.get_replica())))
            self.assertEqual(said, ["shadow-2"])

    def test_without_settings_and_store_there_is_one_warning_and_never_an_exception(self):
        script = """
import os, warnings
from django.conf import settings
settings.configure(REPLICA_DATABASES=["shadow-1"], DATABASES={a: {"ENGINE": "django.db.backends.sqlite3"}
                                                              for a in ("default", "shadow-1")})
import django, multidb, multidb.middleware
from pinroute.django import conf
conf.DEFAULT_STORE = "/nowhere/data.mdb"
django.setup()
from django.http import HttpRequest, HttpResponse
warnings.simplefilter("always")
for _ in range(5):
    request, middleware = HttpRequest(), multidb.middleware.PinningRouterMiddleware()
    middleware.process_request(request)
    print(multidb.PinningReplicaRouter().db_for_read(None), multidb.ReplicaRouter().db_for_read(None))
    middleware.process_response(request, HttpResponse())
    conf.forget()
"""
        done = ran_alone(script)
        self.assertEqual(done.stdout.splitlines(), ["default shadow-1"] * 5)
        self.assertEqual(done.stderr.count("UserWarning"), 1, done.stderr)
        self.assertIn("PINROUTE_DIR", done.stderr)

    def test_once_there_is_a_store_it_is_used_and_for_good(self):
        self.assertIn(read(), REPLICAS)
        self.assertIsInstance(site.site(), seed.SeedSite)
        with tempfile.NamedTemporaryFile() as store, mock.patch.object(conf, "DEFAULT_STORE", store.name):
            site._look_at = 1e-9  # a second has passed
            self.assertEqual(read(), "default")  # that is no store yet, so the primary
            served = site.site()
        self.assertNotIsInstance(served, seed.SeedSite)
        self.assertIs(site.site(), served)
        self.assertEqual(read(), "default")

    def test_t30_workers_that_were_forked_after_a_preload_share_reads_evenly_and_start_apart(self):
        self.assertIn(read(), REPLICAS)  # the application was used before the fork
        reads, workers = 100, 24
        starts, total = [], collections.Counter()
        for _ in range(workers):
            mine, theirs = os.pipe()
            child = os.fork()
            if child == 0:
                with contextlib.suppress(BaseException):
                    os.write(theirs, " ".join(read() for _ in range(reads)).encode())
                os._exit(0)
            os.close(theirs)
            with open(mine, encoding="ascii") as said:
                turns = said.read().split()
            os.waitpid(child, 0)
            starts.append(tuple(turns[:3]))
            total.update(turns)
        self.assertGreater(len(set(starts)), 1)
        for alias in REPLICAS:
            self.assertLessEqual(abs(total[alias] * len(REPLICAS) / (reads * workers) - 1), 0.02, total)

    def test_the_jobs_calls_do_no_harm_without_pinroute(self):
        with pinroute.django.request_scope(key="u:1"):
            self.assertIn(read(), REPLICAS)
            self.assertIsNone(pinroute.django.token())
            pinroute.django.mark_written()
            carried = pinroute.django.token()
        with pinroute.django.request_scope(token=carried):
            self.assertEqual(read(), "default")
        with pinroute.django.request_scope(token=None):
            self.assertIn(read(), REPLICAS)
        self.assertIsNone(pinroute.django.token())


class InTestCase(TestCase):
    """Inside of django.test.TestCase, where a transaction is always open."""

    databases = "__all__"

    def test_an_open_transaction_changes_nothing_here(self):
        unpin_this_thread()
        with transaction.atomic(), mock.patch.object(conf, "DEFAULT_STORE", "/nowhere/data.mdb"):
            self.assertIn(read(), REPLICAS)


if __name__ == "__main__":
    from django.test.utils import setup_test_environment

    setup_test_environment()
    unittest.main()

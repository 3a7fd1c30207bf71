/* test_endpoint.c -- connection strings over a real store. */
#include <criterion/criterion.h>

#include "client/handle.h"
#include "tests/unit/stub_play.h"

TestSuite(endpoint, .init = stub_open, .fini = stub_close);

Test(endpoint, endpoints_are_copied_out)
{
        char buf[512];
        struct pnr_endpoint e = {"host=10.0.0.1 dbname=app"};
        LIVE_MUST(store_begin(live.store) == STORE_OK);
        LIVE_MUST(store_put_endpoint(live.store, 0, 1, &e) == STORE_OK);
        LIVE_MUST(store_commit(live.store) == STORE_OK);
        cr_expect_eq(pinroute_endpoint(pr, cluster, "shadow-1", buf, sizeof buf), PINROUTE_OK);
        cr_expect_str_eq(buf, e.conninfo);
        cr_expect_eq(pinroute_endpoint(pr, cluster, "shadow-1", buf, strlen(e.conninfo) + 1), PINROUTE_OK);
        cr_expect_eq(pinroute_endpoint(pr, cluster, "shadow-1", buf, strlen(e.conninfo)), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_endpoint(pr, cluster, "shadow-9", buf, sizeof buf), PINROUTE_E_NODE);
        cr_expect_eq(pinroute_endpoint(pr, cluster, NULL, buf, sizeof buf), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_endpoint(pr, 9, "shadow-1", buf, sizeof buf), PINROUTE_E_INVALID);
        live.cluster[0].flags = PNR_CLUSTER_REMOVED;
        live_beat(&live, 0);
        cr_expect_eq(pinroute_endpoint(pr, cluster, "shadow-1", buf, sizeof buf), PINROUTE_E_CLUSTER);
}

/* outside.c -- a program of somebody else's: `outside CLUSTER KEY` records a write of that key and says where its
 * reads go now.  Knows what is installed, and nothing else. */
#include <pinroute.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
        struct pinroute *pr;
        struct pinroute_decision d;
        unsigned cluster;

        if (argc != 3 || strcmp(pinroute_version(), PINROUTE_VERSION) != 0 ||
            pinroute_open(&pr, NULL) != PINROUTE_OK)
                return 2;
        int status = pinroute_cluster(pr, argv[1], &cluster);
        if (status == PINROUTE_OK)
                status = pinroute_record_write(pr, cluster, argv[2], strlen(argv[2]), 0);
        pinroute_route_read(pr, cluster, argv[2], strlen(argv[2]), &d);
        pinroute_close(&pr);
        printf("%s %s %s\n", pinroute_strerror(status), d.node, pinroute_reason_name(d.reason));
        return status == PINROUTE_OK ? 0 : 1;
}

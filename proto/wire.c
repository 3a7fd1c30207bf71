/* wire.c -- which frames are well-formed.  Pure. */
#include "proto/wire.h"

#include <string.h>

bool pnr_name_valid(const char name[PNR_NAME_SIZE])
{
        size_t n = strnlen(name, PNR_NAME_SIZE);
        if (n == 0 || n == PNR_NAME_SIZE)
                return false;
        for (size_t i = 0; i < n; i++) {
                char c = name[i];
                bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
                if (!word && c != '_' && c != '.' && c != '-')
                        return false;
        }
        for (; n < PNR_NAME_SIZE; n++)
                if (name[n])
                        return false;
        return true;
}

static bool all_zero(const void *bytes, size_t n)
{
        const unsigned char *b = bytes;
        for (size_t i = 0; i < n; i++)
                if (b[i])
                        return false;
        return true;
}

static bool is_ours(const struct pnr_request *q)
{
        return q->magic == PNR_WIRE_MAGIC && q->version == PNR_WIRE_VERSION &&
               all_zero(q->reserved, sizeof q->reserved);
}

bool pnr_request_valid(const struct pnr_request *q, size_t size)
{
        if (size != sizeof *q || !is_ours(q) || q->n)
                return false;
        switch (q->op) {
        case PNR_OP_HELLO:
        case PNR_OP_COUNTS:
                return all_zero(q->cluster, sizeof q->cluster) && !q->key[0] && !q->key[1] && !q->ms &&
                       !q->stamp;
        case PNR_OP_RECORD:
        case PNR_OP_HOLD: return pnr_name_valid(q->cluster) && !q->stamp;
        case PNR_OP_TOKEN: return pnr_name_valid(q->cluster);
        }
        return false;
}

bool pnr_frame_valid(const struct pnr_records *f, size_t size)
{
        const struct pnr_request *q = &f->head;
        if (size != sizeof *f)
                return pnr_request_valid(q, size);
        return is_ours(q) && q->op == PNR_OP_RECORDS && pnr_name_valid(q->cluster) && !q->key[0] &&
               !q->key[1] && !q->stamp && q->n >= 1 && q->n <= PNR_RECORDS_MAX &&
               all_zero(f->key + q->n, (PNR_RECORDS_MAX - q->n) * sizeof *f->key);
}

bool pnr_reply_valid(const struct pnr_reply *r, size_t size, const struct pnr_request *asked)
{
        return size == sizeof *r && r->magic == PNR_WIRE_MAGIC && r->version == PNR_WIRE_VERSION &&
               r->op == asked->op && r->number == asked->number;
}

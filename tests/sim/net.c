/* Who reaches whom. Faults overlap, so every cut is a count. */
#include "sim.h"

bool net_is_open(const struct world *w, int from, int to)
{
    return from == to || w->net.cut[from][to] == 0;
}

int64_t net_delay_us(struct world *w, int from, int to)
{
    return w->setup.rtt_us / 2 + draw_skewed(w, 0, w->setup.rtt_us) + w->net.delay_us[from][to];
}

int64_t net_etcd_delay_us(struct world *w, int node)
{
    return w->setup.rtt_us / 2 + draw_skewed(w, 0, w->setup.rtt_us) + w->net.etcd_delay_us[node];
}

void net_changed(struct world *w)
{
    for (int32_t i = 0; i < w->node_count; i++) {
        struct node *n = &w->nodes[i];

        if (n->pg.link != LINK_NONE)
            pg_links_check(w, n);
        if (n->watch_missed && w->net.etcd_cut_in[i] == 0 && w->net.etcd_cut_out[i] == 0 &&
            w->net.etcd_reject[i] == 0 && w->net.watch_deaf[i] == 0)
            watch_catch_up(w, n);
    }
}

#include "position.h"

void position_load(feed_ref_t *feed, const feed_mark_t *mark, uint64_t newest, uint64_t oldest)
{
    feed->kept_seq = mark->seq;
    feed->floor = mark->floor;
    feed->epoch_floor = mark->epoch_floor;
    feed->have = newest;
    feed->oldest = oldest > 0 ? oldest : newest + 1;
}

void position_settle(feed_ref_t *feed, bool keeps_history)
{
    if (!keeps_history)
        position_give_up(feed, feed->floor - 1);
    feed->head_seq = feed->quarantined ? feed->have : position_shown(feed);
}

void position_end(feed_ref_t *feed, bool is_ours, bool keeps_history)
{
    feed->ended = true;
    if (is_ours) {
        feed->head_seq = feed->kept_seq = feed->have;
        return;
    }
    feed->floor = position_shown(feed) + 1;
    position_settle(feed, keeps_history);
}

void position_advance(feed_ref_t *feed, uint64_t seq)
{
    feed->have = seq;
    if (feed->head_seq < seq)
        feed->head_seq = seq;
    if (feed->ended && feed->floor <= seq)
        feed->floor = seq + 1;
}

void position_give_up(feed_ref_t *feed, uint64_t seq)
{
    if (seq > feed->floor - 1)
        seq = feed->floor - 1;
    if (feed->have >= seq)
        return;
    if (feed->oldest > feed->have)
        feed->oldest = seq + 1;
    feed->have = seq;
}

bool position_is_newer(const feed_ref_t *feed, const feed_mark_t *mark)
{
    if (mark->seq < feed->kept_seq || mark->floor < feed->floor ||
        mark->epoch_floor < feed->epoch_floor)
        return false;
    return mark->seq > feed->kept_seq || mark->floor > feed->floor ||
           mark->epoch_floor > feed->epoch_floor;
}

uint64_t position_shown(const feed_ref_t *feed)
{
    return feed->kept_seq > feed->have ? feed->kept_seq : feed->have;
}

bool position_is_promise(const feed_ref_t *feed)
{
    return feed->have == 0 || (feed->oldest > feed->have && feed->have < feed->head_seq);
}

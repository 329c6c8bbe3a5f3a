package consume

import (
	"context"
	"log/slog"
	"math"
	"time"

	"github.com/topicbus/pubsub"
)

// lossLog logs holes that there is no OnLoss for: the first one, and then once a
// second what came since.
type lossLog struct {
	to     *slog.Logger
	last   time.Time // when it logged
	holes  int       // not logged yet
	lost   uint64
	exact  bool
	newest *pubsub.Discontinuity
}

const lossInterval = time.Second

func (l *lossLog) add(d *pubsub.Discontinuity) {
	if l.holes == 0 {
		l.exact = true
	}
	l.holes++
	fits := min(d.Lost, math.MaxUint64-l.lost)
	l.lost += fits
	l.exact = l.exact && d.Exact && fits == d.Lost
	l.newest = d
	if now := time.Now(); l.last.IsZero() || now.Sub(l.last) >= lossInterval {
		l.last = now
		l.flush()
	}
}

// flush logs what was not logged.
func (l *lossLog) flush() {
	if l.holes == 0 {
		return
	}
	d := l.newest
	l.to.LogAttrs(context.Background(), slog.LevelWarn, "consume: messages lost, and no OnLoss to tell",
		slog.String("topic", d.Topic), slog.Int("holes", l.holes), slog.Uint64("lost", l.lost), slog.Bool("exact", l.exact),
		slog.String("cause", d.Cause.String()), slog.String("after", d.After.String()), slog.String("resume", d.Resume.String()),
		slog.Any("err", d.Err))
	l.holes, l.lost = 0, 0
}

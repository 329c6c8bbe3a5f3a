package momento

import (
	"log/slog"
	"sync"
	"time"

	"github.com/topicbus/pubsub/internal/clean"
)

const (
	// outagePause is the least time between the lines that say that streams
	// broke.
	outagePause = 10 * time.Second
	// outageTotals is how often a line says that streams are still down.
	outageTotals = time.Minute
)

// outages logs that streams broke and that they are back: once for all that are
// down at the same time.
type outages struct {
	log *slog.Logger

	mu       sync.Mutex
	down     int       // streams now
	since    time.Time // when the first of them broke
	streams  int       // that broke since then
	attempts int       // that failed since then
	told     bool      // that they are down
	line     time.Time // when the last such line was logged
	unsaid   int       // streams that broke, without a line about them
}

// broke tells that a stream is down. over must follow.
func (o *outages) broke(topic string, err error) {
	o.mu.Lock()
	now := time.Now()
	if o.down == 0 {
		o.since, o.streams, o.attempts, o.told = now, 0, 0, false
	}
	o.down++
	o.streams++
	o.unsaid++
	say := !o.told && (o.line.IsZero() || now.Sub(o.line) >= outagePause)
	streams := o.unsaid
	if say {
		o.told, o.line, o.unsaid = true, now, 0
	}
	o.mu.Unlock()
	if say {
		o.log.Info("momento: a stream broke, reconnecting", "topic", clean.Cut(topic, 128), "err", err, "broken_since_last_line", streams)
	}
}

// failed tells that an attempt of a stream that is down failed.
func (o *outages) failed(err error) {
	o.mu.Lock()
	now := time.Now()
	o.attempts++
	say := now.Sub(o.line) >= outageTotals
	down, attempts, since := o.down, o.attempts, o.since
	if say {
		o.told, o.line, o.unsaid = true, now, 0
	}
	o.mu.Unlock()
	if say {
		o.log.Info("momento: streams are down", "streams", down, "attempts", attempts, "for", now.Sub(since), "err", err)
	}
}

// over tells that a stream is down no more: it is back, or it ended.
func (o *outages) over(back bool) {
	o.mu.Lock()
	o.down--
	say := o.down == 0 && o.told && back
	streams, attempts, since := o.streams, o.attempts, o.since
	o.mu.Unlock()
	if say {
		o.log.Info("momento: streams are back", "streams", streams, "failed_attempts", attempts, "after", time.Since(since))
	}
}

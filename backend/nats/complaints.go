package nats

import (
	"log/slog"
	"sync"
	"time"

	"github.com/topicbus/pubsub/internal/foreign"
)

// complaintPause is the least time between two lines about what connections
// report. A server can send thousands of errors in a second.
const complaintPause = 10 * time.Second

// complaints logs what a connection reports and no call can return.
type complaints struct {
	log     *slog.Logger
	foreign *foreign.Filter

	mu      sync.Mutex
	line    time.Time // when the last one was logged
	omitted int       // not logged since then
}

func (c *complaints) say(err error) {
	c.mu.Lock()
	now := time.Now()
	if !c.line.IsZero() && now.Sub(c.line) < complaintPause {
		c.omitted++
		c.mu.Unlock()
		return
	}
	omitted := c.omitted
	c.line, c.omitted = now, 0
	c.mu.Unlock()
	c.log.Warn("nats: the connection reports an error", "error", shown(c.foreign, err), "lines_omitted", omitted)
}

package momentotest

import (
	"fmt"
	"strings"
	"time"
)

// Option configures a [Server].
type Option func(*settings)

const (
	defaultRetention = 4096
	defaultHeartbeat = time.Second
	defaultToken     = "momentotest"
)

type settings struct {
	addr             string
	caches           []string
	retention        int
	heartbeat        time.Duration
	apiKey           string
	requireKey       bool
	maxPayload       int
	maxSubscriptions int
	publishRate      int
	inclusive        bool
	page             uint64
	fixedPage        bool // page is set
}

func (c settings) validate() error {
	switch {
	case c.retention < 1:
		return fmt.Errorf("momentotest: retention of %d messages, want at least 1", c.retention)
	case c.heartbeat < 0:
		return fmt.Errorf("momentotest: heartbeat interval %v is negative", c.heartbeat)
	case c.requireKey && c.apiKey == "":
		return fmt.Errorf("momentotest: WithAPIKey was given an empty key")
	case c.fixedPage && c.page == 0:
		return fmt.Errorf("momentotest: WithPage was given 0, which is no page")
	}
	for _, name := range c.caches {
		if strings.TrimSpace(name) == "" {
			return fmt.Errorf("momentotest: WithCaches was given the name %q: a cache needs a name that is not blank", name)
		}
	}
	return nil
}

// WithAddr sets the TCP address to listen on, such as "127.0.0.1:8080". The
// default is a free port of the loopback interface.
func WithAddr(addr string) Option { return func(c *settings) { c.addr = addr } }

// WithCaches makes caches exist from the start. A name must not be blank.
func WithCaches(names ...string) Option {
	return func(c *settings) { c.caches = append(c.caches, names...) }
}

// WithRetention sets how many messages (and injected frames) each topic
// keeps, for subscribers that resume or read slowly. The default is 4096.
func WithRetention(n int) Option { return func(c *settings) { c.retention = n } }

// WithHeartbeatInterval sets how often each stream gets a heartbeat. The
// default is 1 s; with 0 the first heartbeat of a stream is its only one.
func WithHeartbeatInterval(d time.Duration) Option { return func(c *settings) { c.heartbeat = d } }

// WithAPIKey makes the server refuse calls with any other token than key, or
// those of [Server.AddToken], as Unauthenticated.
func WithAPIKey(key string) Option {
	return func(c *settings) { c.apiKey, c.requireKey = key, true }
}

// WithMaxPayload makes the server refuse messages of more than n bytes as
// ResourceExhausted. The service's own limit is 4096 unless it was raised;
// the default here is none, as is an n of 0 or less.
func WithMaxPayload(n int) Option { return func(c *settings) { c.maxPayload = max(n, 0) } }

// WithMaxSubscriptions makes the server refuse a Subscribe as
// ResourceExhausted while n streams are open. The service's own limit is 100
// unless it was raised; the default here is none, as is an n of 0 or less.
func WithMaxSubscriptions(n int) Option {
	return func(c *settings) { c.maxSubscriptions = max(n, 0) }
}

// WithPublishRate makes the server refuse as ResourceExhausted what is
// published faster than n messages per second, with bursts of n. The default
// is no limit, as is an n of 0 or less.
func WithPublishRate(n int) Option { return func(c *settings) { c.publishRate = max(n, 0) } }

// WithPage sets the page of the first topic; each later page is greater by ten.
// By default pages come from the clock (microseconds since 1970), so that they
// are greater than those of any earlier server: a position that was kept from
// another server's life is of another page, and a subscriber that names it is
// told so. n must not be 0.
func WithPage(n uint64) Option {
	return func(c *settings) { c.page, c.fixedPage = n, true }
}

// WithInclusiveAnnouncements makes discontinuities announce the number of the
// next message itself, and not the one before it. Momento's sources disagree
// about which of the two the service does, so clients have to cope with both.
func WithInclusiveAnnouncements() Option { return func(c *settings) { c.inclusive = true } }

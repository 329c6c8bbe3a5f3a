package momento

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/topicbus/pubsub/internal/foreign"
)

// sdkLinesPerSecond is how many lines of one SDK client are logged in a second.
// The SDK logs a line for each frame that it does not know, and a peer can send
// a hundred thousand of these in a second.
const sdkLinesPerSecond = 20

// sdkLogger takes the SDK's printf-style messages. They are logged at Debug:
// what the SDK calls an error or a warning is a broken stream, which the
// Backend mends, reports to its subscriptions and logs itself.
//
// The SDK's own default logger must never run: it calls log.SetFlags for the
// whole process.
type sdkLogger struct {
	l       *slog.Logger
	foreign *foreign.Filter
	lines   *lineLimit
}

func newSDKLogger(l *slog.Logger, f *foreign.Filter) sdkLogger {
	return sdkLogger{l.With("component", "momento-sdk"), f, &lineLimit{}}
}

func (s sdkLogger) Trace(m string, args ...any) { s.log(slog.LevelDebug-4, m, args) }
func (s sdkLogger) Debug(m string, args ...any) { s.log(slog.LevelDebug, m, args) }
func (s sdkLogger) Info(m string, args ...any)  { s.log(slog.LevelDebug, m, args) }
func (s sdkLogger) Warn(m string, args ...any)  { s.log(slog.LevelDebug, m, args) }
func (s sdkLogger) Error(m string, args ...any) { s.log(slog.LevelDebug, m, args) }

// log formats only what is enabled: the SDK logs every item it receives.
func (s sdkLogger) log(level slog.Level, message string, args []any) {
	ctx := context.Background()
	if !s.l.Enabled(ctx, level) {
		return
	}
	ok, omitted := s.lines.take()
	if !ok {
		return
	}
	text := s.foreign.Text(strings.TrimSpace(fmt.Sprintf(message, args...)))
	if omitted > 0 {
		s.l.Log(ctx, level, text, "lines_omitted", omitted)
		return
	}
	s.l.Log(ctx, level, text)
}

// lineLimit says which lines are logged. The zero value is ready.
type lineLimit struct {
	mu      sync.Mutex
	since   time.Time // when the present second began
	lines   int       // logged in it
	omitted int       // not logged since the last line
}

// take reports whether a line is to be logged, and how many were not since the
// one before.
func (l *lineLimit) take() (ok bool, omitted int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Sub(l.since) >= time.Second {
		l.since, l.lines = now, 0
	}
	if l.lines == sdkLinesPerSecond {
		l.omitted++
		return false, 0
	}
	l.lines++
	omitted, l.omitted = l.omitted, 0
	return true, omitted
}

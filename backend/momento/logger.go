package momento

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// sdkLogger takes the SDK's printf-style messages. What the SDK calls an error
// or a warning is a broken stream, which the Backend mends and reports to its
// subscriptions, so they are logged no higher than Info.
//
// The SDK's own default logger must never run: it calls log.SetFlags for the
// whole process.
type sdkLogger struct{ l *slog.Logger }

func (s sdkLogger) Trace(m string, args ...any) { s.log(slog.LevelDebug-4, m, args) }
func (s sdkLogger) Debug(m string, args ...any) { s.log(slog.LevelDebug, m, args) }
func (s sdkLogger) Info(m string, args ...any)  { s.log(slog.LevelDebug, m, args) }
func (s sdkLogger) Warn(m string, args ...any)  { s.log(slog.LevelInfo, m, args) }
func (s sdkLogger) Error(m string, args ...any) { s.log(slog.LevelInfo, m, args) }

// log formats only what is enabled: the SDK logs every item it receives.
func (s sdkLogger) log(level slog.Level, message string, args []any) {
	if ctx := context.Background(); s.l.Enabled(ctx, level) {
		s.l.Log(ctx, level, strings.TrimSpace(fmt.Sprintf(message, args...)))
	}
}

package nats

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/topicbus/pubsub/internal/foreign"
)

// TestComplaints: a line in ten seconds, which says how many there were between.
func TestComplaints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		c := complaints{log: slog.New(slog.NewTextHandler(&out, nil)), foreign: &foreign.Filter{}}
		line := func(want string) {
			t.Helper()
			for range 1000 {
				c.say(errors.New("a complaint"))
			}
			assert.Equal(t, 1, strings.Count(out.String(), "\n"))
			assert.Contains(t, out.String(), want)
			out.Reset()
		}
		line("lines_omitted=0")
		time.Sleep(complaintPause - time.Nanosecond)
		c.say(errors.New("a complaint"))
		assert.Empty(t, out.String())
		time.Sleep(time.Nanosecond)
		line("lines_omitted=1000")
		time.Sleep(time.Hour)
		line("lines_omitted=999")
	})
}

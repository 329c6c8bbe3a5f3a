package nats

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
)

// Who waits for the turn gets it when it is given back.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHold(0, 0)
		h.take()
		taken := make(chan struct{})
		go func() {
			h.take()
			close(taken)
		}()
		synctest.Wait()
		h.give(1)
		<-taken
	})
}

// A change of state does not take the stream back to an earlier number.
func TestStateKeepsThePlace(t *testing.T) {
	s := &stream{hold: newHold(0, 7), deliver: func(context.Context, pubsub.Frame) error { return nil }}
	s.emit(pubsub.Frame{Kind: pubsub.KindMessage}, 7)
	s.state(pubsub.StateChange{State: pubsub.Reconnecting})
	assert.Zero(t, s.hold.held())
}

// What happens to a connection that was replaced is of no matter.
func TestHandlersOfAnEarlierConnection(t *testing.T) {
	var earlier, now natsgo.Conn
	l := newLink(context.Background(), &options{})
	l.down(&earlier, errors.New("gone"), true) // there is none yet
	l.up(&earlier)
	l.conn = &conn{nc: &now}
	l.down(&earlier, errors.New("gone"), true)
	l.up(&earlier)
	assert.False(t, l.conn.dead)
	assert.NoError(t, l.lost)
	assert.Nil(t, l.line)
}

// The stall timeout is between two things that the server sends.
func TestStallTimeoutBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &session{ctx: t.Context(), in: make(chan *natsgo.Msg), stall: 3 * time.Second, timer: time.NewTimer(3 * time.Second)}
		go func() {
			for range 4 {
				time.Sleep(2 * time.Second)
				s.in <- new(natsgo.Msg)
			}
		}()
		for range 4 {
			_, err := s.next(nil)
			require.NoError(t, err)
		}
		began := time.Now()
		_, err := s.next(nil)
		require.Equal(t, errStalled, err)
		require.Equal(t, 3*time.Second, time.Since(began))
	})
}

func TestStandingOf(t *testing.T) {
	created := time.Unix(0, 42)
	for _, c := range []struct {
		name  string
		begin uint64
		state jetstream.StreamState
		want  standing
	}{
		{"new", 0, jetstream.StreamState{}, standing{42, 1, 1, 0}},
		{"new, begins later", 100, jetstream.StreamState{}, standing{42, 100, 100, 99}},
		{"some", 0, jetstream.StreamState{Msgs: 3, FirstSeq: 5, LastSeq: 9}, standing{42, 1, 5, 9}},
		{"all are gone", 100, jetstream.StreamState{FirstSeq: 110, LastSeq: 109}, standing{42, 100, 110, 109}},
	} {
		info := &jetstream.StreamInfo{Created: created, State: c.state, Config: jetstream.StreamConfig{FirstSeq: c.begin}}
		assert.Equal(t, c.want, standingOf(info), c.name)
	}
}

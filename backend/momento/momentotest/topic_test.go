package momentotest

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/topicbus/pubsub"
)

func TestPublishAndSubscribe(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t)
	c := newRawClient(t, srv)
	one, two := c.subscribe(ctx, 0, 0), c.subscribe(ctx, 0, 0)
	one.want("heartbeat")
	two.want("heartbeat")

	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	require.NoError(t, c.publish(ctx, text("a")))
	require.NoError(t, c.publish(ctx, pubsub.Payload{Data: every}))
	require.NoError(t, c.publish(ctx, text("")))
	require.NoError(t, c.publish(ctx, pubsub.Payload{}))
	for _, s := range []*rawStream{one, two} {
		s.want("item 10/1 text a", fmt.Sprintf("item 10/2 binary %x", every), "item 10/3 text ", "item 10/4 binary ")
	}
	require.Equal(t, pubsub.Position{Page: 10, Sequence: 4}, srv.Topic(cache, topic).Position())

	// Topics do not share numbers or pages.
	other := c.subscribeTo(ctx, "other", 0, 0)
	other.want("heartbeat")
	fill(t, srv.Topic(cache, "other"), "b")
	other.want("item 20/1 text b")
}

func TestLargePayloads(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t)
	c := newRawClient(t, srv)
	s := c.subscribe(ctx, 0, 0)
	s.want("heartbeat")
	for i, size := range []int{4 << 10, 1 << 20, 5 << 20} {
		body := strings.Repeat("x", size)
		require.NoError(t, c.publish(ctx, text(body)))
		s.want(fmt.Sprintf("item 10/%d text %s", i+1, body))
	}
}

func TestResume(t *testing.T) {
	t.Parallel()
	const page = 10
	tests := []struct {
		name           string
		resumeAt, page uint64
		want           []string // after the heartbeat, before what is published next
	}{
		{"the present, page not known: it is named", 0, 0, []string{"discontinuity 0->5 page 10"}},
		{"the present, page known", 0, page, nil},
		{"the last message again", 5, page, []string{"item 10/5 text e"}},
		{"the message to come", 6, page, nil},
		{"all that is retained", 3, page, []string{"item 10/3 text c", "item 10/4 text d", "item 10/5 text e"}},
		{"part is gone", 2, page, []string{"discontinuity 1->2 page 10", "item 10/3 text c", "item 10/4 text d", "item 10/5 text e"}},
		{"whatever there is", 1, page, []string{"discontinuity 0->2 page 10", "item 10/3 text c", "item 10/4 text d", "item 10/5 text e"}},
		{"page not known: it is named", 5, 0, []string{"discontinuity 4->4 page 10", "item 10/5 text e"}},
		{"another page: from the present", 4, 7, []string{"discontinuity 0->5 page 10"}},
		{"another page and no number", 0, 7, []string{"discontinuity 0->5 page 10"}},
		{"a number of the future", 50, page, []string{"discontinuity 49->5 page 10"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, srv := testContext(t), newServer(t, WithRetention(3))
			fill(t, srv.Topic(cache, topic), "a", "b", "c", "d", "e")
			s := newRawClient(t, srv).subscribe(ctx, tt.resumeAt, tt.page)
			s.want("heartbeat")
			s.want(tt.want...)
			fill(t, srv.Topic(cache, topic), "next")
			s.want("item 10/6 text next")
			require.Equal(t, []Request{{cache, topic, tt.resumeAt, tt.page}}, srv.Topic(cache, topic).Requests())
		})
	}
}

func TestInclusiveAnnouncements(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t, WithRetention(2), WithInclusiveAnnouncements())
	to := srv.Topic(cache, topic)
	fill(t, to, "a", "b", "c", "d")
	s := newRawClient(t, srv).subscribe(ctx, 2, 10)
	s.want("heartbeat", "discontinuity 1->3 page 10", "item 10/3 text c", "item 10/4 text d")
	to.Lose(2, Announced)
	fill(t, to, "g")
	s.want("discontinuity 4->7 page 10", "item 10/7 text g")
	to.Reset(Announced)
	fill(t, to, "h")
	s.want("discontinuity 7->1 page 20", "item 20/1 text h")
}

func TestResumeAfterALossAtTheEnd(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t)
	to := srv.Topic(cache, topic)
	fill(t, to, "a", "b")
	to.Lose(2, Unannounced)
	s := newRawClient(t, srv).subscribe(ctx, 3, 10)
	s.want("heartbeat", "discontinuity 2->4 page 10")
	fill(t, to, "e")
	s.want("item 10/5 text e")
}

func TestHeartbeats(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t, WithHeartbeatInterval(time.Millisecond))
	newRawClient(t, srv).subscribe(ctx, 0, 0).want("heartbeat", "heartbeat", "heartbeat", "heartbeat")
}

// A stream that is kept busy gets its heartbeats too.
func TestHeartbeatsOfABusyStream(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t, WithHeartbeatInterval(time.Millisecond))
	to := srv.Topic(cache, topic)
	s := newRawClient(t, srv).subscribe(ctx, 0, 0)
	s.want("heartbeat")
	to.Mute(true)
	fill(t, to, "first")
	to.Pause(20 * time.Millisecond) // heartbeats become due
	const n = 4 * batchSize
	for range n {
		fill(t, to, "x")
	}
	to.Mute(false)
	for got := ""; got != "item 10/1 text first"; {
		var err error
		got, err = s.recv()
		require.NoError(t, err)
	}
	heartbeats := 0
	for got := ""; got != fmt.Sprintf("item 10/%d text x", n+1); {
		var err error
		got, err = s.recv()
		require.NoError(t, err)
		if got == "heartbeat" {
			heartbeats++
		}
	}
	require.Positive(t, heartbeats)
}

// A subscriber that does not read holds up neither publishers nor its
// neighbours. It is told what it missed.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t, WithRetention(100))
	to := srv.Topic(cache, topic)
	slow, quick := newRawClient(t, srv).subscribe(ctx, 0, 0), newRawClient(t, srv).subscribe(ctx, 0, 0)
	slow.want("heartbeat")
	quick.want("heartbeat")
	body := strings.Repeat("x", 1000)
	const n = 600
	for i := range n {
		fill(t, to, body)
		quick.want(fmt.Sprintf("item 10/%d text %s", i+1, body))
	}
	received, lost := 0, 0
	for received+lost < n {
		got, err := slow.recv()
		require.NoError(t, err)
		var last, next int
		if _, err := fmt.Sscanf(got, "discontinuity %d->%d page 10", &last, &next); err == nil {
			require.Equal(t, received+lost, last)
			lost += next - last
			continue
		}
		received++
		require.Equal(t, fmt.Sprintf("item 10/%d text %s", received+lost, body), got)
	}
	require.Positive(t, lost)
	require.GreaterOrEqual(t, received, 100)
}

// A reader that was too slow for frames that carry no message missed none.
func TestSlowReaderOfInjectedFrames(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t, WithRetention(3))
	to := srv.Topic(cache, topic)
	s := newRawClient(t, srv).subscribe(ctx, 0, 0)
	s.want("heartbeat")
	to.Mute(true)
	for range 10 {
		require.NoError(t, to.Send(UnknownKind()))
	}
	fill(t, to, "a")
	to.Mute(false)
	s.want("unknown frame", "unknown frame", "item 10/1 text a")
}

func TestSlowReaderAcrossAReset(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t, WithRetention(3))
	to := srv.Topic(cache, topic)
	s := newRawClient(t, srv).subscribe(ctx, 0, 0)
	s.want("heartbeat")
	fill(t, to, "a")
	s.want("item 10/1 text a")
	to.Mute(true) // keeps the stream where it is
	to.Reset(Announced)
	fill(t, to, "b", "c", "d", "e")
	to.Mute(false)
	s.want("discontinuity 0->1 page 20", "item 20/2 text c", "item 20/3 text d", "item 20/4 text e")
}

func TestEndStreams(t *testing.T) {
	t.Parallel()
	for code := codes.OK; code <= codes.Unauthenticated; code++ {
		t.Run(code.String(), func(t *testing.T) {
			t.Parallel()
			ctx, srv := testContext(t), newServer(t)
			to := srv.Topic(cache, topic)
			c := newRawClient(t, srv)
			s := c.subscribe(ctx, 0, 0)
			s.want("heartbeat")
			other := c.subscribeTo(ctx, "other", 0, 0)
			other.want("heartbeat")
			fill(t, to, "before")
			require.Equal(t, 1, to.EndStreams(Failure{Code: code, Message: "why", Reason: "reason"}))
			fill(t, to, "after")
			s.want("item 10/1 text before")
			if code == codes.OK {
				_, err := s.recv()
				require.ErrorIs(t, err, io.EOF)
			} else {
				require.ErrorContains(t, s.wantEnd(code), "why")
			}
			require.Equal(t, []string{"reason"}, s.Trailer().Get("err"))

			// Only that topic's streams, and only those of that time.
			fill(t, srv.Topic(cache, "other"), "b")
			other.want("item 20/1 text b")
			require.NoError(t, srv.WaitStreams(ctx, 1))
			s = c.subscribe(ctx, 2, 10)
			s.want("heartbeat", "item 10/2 text after")
			require.Equal(t, 2, srv.EndStreams(Fail(codes.Aborted, "all")))
			s.wantEnd(codes.Aborted)
			other.wantEnd(codes.Aborted)
		})
	}
}

// The end of a stream is not lost with the messages that a slow reader loses.
func TestEndStreamsOfASlowReader(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t, WithRetention(1))
	to := srv.Topic(cache, topic)
	s := newRawClient(t, srv).subscribe(ctx, 0, 0)
	s.want("heartbeat")
	require.NoError(t, to.Send(Heartbeat()))
	s.want("heartbeat")
	to.Pause(50 * time.Millisecond)
	fill(t, to, "a")
	to.EndStreams(Fail(codes.Unavailable, "end"))
	fill(t, to, "b", "c", "d", "e")
	for {
		if got, err := s.recv(); err != nil {
			require.ErrorContains(t, err, "end")
			return
		} else {
			require.Equal(t, "item 10/1 text a", got)
		}
	}
}

func TestSend(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t)
	to := srv.Topic(cache, topic)
	c := newRawClient(t, srv)
	s := c.subscribe(ctx, 0, 0)
	s.want("heartbeat")
	at := pubsub.Position{Page: 3, Sequence: 77}
	fill(t, to, "a")
	require.NoError(t, to.Send(
		Heartbeat(), Discontinuity(1, 2, 3), Item(at, text("x")), Item(at, pubsub.Payload{Data: []byte{0xff}}),
		ItemWithoutValue(at), ItemOfUnknownKind(at), UnknownKind(), Raw(nil)))
	fill(t, to, "b")
	s.want("item 10/1 text a", "heartbeat", "discontinuity 1->2 page 3", "item 3/77 text x", "item 3/77 binary ff",
		"item 3/77 without value", "item 3/77 of unknown kind", "unknown frame", "unknown frame", "item 10/2 text b")

	// Injected frames are for those who were there, and move no numbers.
	c.subscribe(ctx, 1, 10).want("heartbeat", "item 10/1 text a", "item 10/2 text b")

	require.Error(t, to.Send(Item(at, text("\xff"))))
	require.NoError(t, to.Send(Raw([]byte{0xff})))
	_, err := s.recv()
	require.ErrorContains(t, err, "unmarshal")
}

func TestLoseAndReset(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t)
	to := srv.Topic(cache, topic)
	c := newRawClient(t, srv)
	s := c.subscribe(ctx, 0, 0)
	s.want("heartbeat")
	fill(t, to, "a")
	to.Lose(3, Unannounced)
	fill(t, to, "b")
	to.Lose(3, Announced)
	fill(t, to, "c")
	to.Reset(Unannounced)
	fill(t, to, "d")
	to.Reset(Announced)
	fill(t, to, "e")
	s.want("item 10/1 text a", "item 10/5 text b", "discontinuity 5->8 page 10", "item 10/9 text c",
		"item 20/1 text d", "discontinuity 1->0 page 30", "item 30/1 text e")
	// The old pages cannot be resumed.
	c.subscribe(ctx, 5, 10).want("heartbeat", "discontinuity 0->1 page 30")
	c.subscribe(ctx, 1, 30).want("heartbeat", "item 30/1 text e")
	retained, err := to.Retained()
	require.NoError(t, err)
	require.Equal(t, []pubsub.Message[pubsub.Payload]{{
		Value: text("e"), Topic: topic, Position: pubsub.Position{Page: 30, Sequence: 1},
	}}, retained)
}

func TestPause(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t)
	to := srv.Topic(cache, topic)
	s := newRawClient(t, srv).subscribe(ctx, 0, 0)
	s.want("heartbeat")
	fill(t, to, "a")
	start := time.Now()
	to.Pause(50 * time.Millisecond)
	fill(t, to, "b")
	s.want("item 10/1 text a", "item 10/2 text b")
	require.GreaterOrEqual(t, time.Since(start), 50*time.Millisecond)
}

func TestMute(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t, WithHeartbeatInterval(5*time.Millisecond))
	to := srv.Topic(cache, topic)
	c := newRawClient(t, srv)
	to.Mute(true)
	late := c.subscribe(ctx, 0, 0)
	_, err := late.Header() // accepted
	require.NoError(t, err)
	require.NoError(t, c.publish(ctx, text("a")))

	// Several heartbeats are due in this time, and none is sent.
	silence, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	err = srv.Wait(silence, func() bool { return to.Streams()[0].Sent > 0 })
	require.ErrorIs(t, err, context.DeadlineExceeded)

	to.Mute(false)
	late.want("heartbeat", "item 10/1 text a")
	to.Mute(true)
	to.EndStreams(Fail(codes.Unavailable, "mute or not"))
	for err = nil; err == nil; _, err = late.recv() { // heartbeats that were sent before
	}
	require.ErrorContains(t, err, "mute or not")
}

func TestScriptOpening(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t)
	to := srv.Topic(cache, topic)
	fill(t, to, "a", "b")
	require.NoError(t, to.ScriptOpening())
	require.NoError(t, to.ScriptOpening(Heartbeat(), Item(pubsub.Position{Page: 10, Sequence: 1}, text("again"))))
	c := newRawClient(t, srv)
	c.subscribe(ctx, 2, 10).want("item 10/2 text b")
	c.subscribe(ctx, 2, 10).want("heartbeat", "item 10/1 text again", "item 10/2 text b")
	c.subscribe(ctx, 2, 10).want("heartbeat", "item 10/2 text b")
}

// A position of an earlier server is of a page that no later server has.
func TestPagesComeFromTheClock(t *testing.T) {
	begun := uint64(time.Now().UnixMicro())
	first, err := NewServer(WithCaches(cache))
	require.NoError(t, err)
	at, err := first.Topic(cache, topic).Publish(text("a"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, at.Page, begun)
	next, err := first.Topic(cache, "another").Publish(text("a"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, next.Page, at.Page+10)
	require.NoError(t, first.Restart())
	require.Equal(t, at, first.Topic(cache, topic).Position(), "a restart is no new life")
	require.NoError(t, first.Close())

	later, err := NewServer(WithCaches(cache))
	require.NoError(t, err)
	defer later.Close()
	begins, err := later.Topic(cache, topic).Publish(text("a"))
	require.NoError(t, err)
	require.Greater(t, begins.Page, next.Page)
	s := newRawClient(t, later).subscribe(testContext(t), at.Sequence+1, at.Page)
	s.want("heartbeat", fmt.Sprintf("discontinuity 0->1 page %d", begins.Page))
}

func TestWithPage(t *testing.T) {
	srv := newServer(t, WithPage(1<<63))
	for i, name := range []string{topic, "another"} {
		at, err := srv.Topic(cache, name).Publish(text("a"))
		require.NoError(t, err)
		require.Equal(t, pubsub.Position{Page: 1<<63 + 10*uint64(i), Sequence: 1}, at)
	}
	_, err := NewServer(WithPage(0))
	require.ErrorContains(t, err, "WithPage")
}

// What is published as a frame is numbered, retained and sent again.
func TestPublishFrame(t *testing.T) {
	srv := newServer(t)
	to := srv.Topic(cache, topic)
	fill(t, to, "a")
	for n, frame := range []func(pubsub.Position) Frame{ItemWithoutValue, ItemOfUnknownKind} {
		at, err := to.PublishFrame(frame)
		require.NoError(t, err)
		require.Equal(t, pubsub.Position{Page: 10, Sequence: uint64(n) + 2}, at)
	}
	for range 2 {
		s := newRawClient(t, srv).subscribe(testContext(t), 2, 10)
		s.want("heartbeat", "item 10/2 without value", "item 10/3 of unknown kind")
	}
	_, err := to.PublishFrame(ItemOfInvalidText)
	require.NoError(t, err)
	s := newRawClient(t, srv).subscribe(testContext(t), 4, 10)
	s.want("heartbeat")
	_, err = s.recv()
	require.Equal(t, codes.Internal, status.Code(err), "%v", err)
	require.ErrorContains(t, err, "UTF-8")
	_, err = srv.Topic("elsewhere", topic).PublishFrame(ItemWithoutValue)
	require.Equal(t, codes.NotFound, status.Code(err))
}

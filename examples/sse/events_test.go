package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/examples/internal/pipes"
)

func TestViewerSeesMessagesGapsAndStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		v := s.watch(t, "")
		require.Equal(t, "text/event-stream", v.header.Get("Content-Type"))
		require.Equal(t, "no-store, no-transform", v.header.Get("Cache-Control"), "proxies that compress would hold events back")

		s.publish(t, 2)
		require.Equal(t, quote(1, 0), v.next(t))
		require.Equal(t, quote(2, 1), v.next(t))

		s.Lose(3)
		require.Equal(t, event{kind: "gap", data: `{"lost":3,"exact":true,"cause":"backend","after":"1/2"}`}, v.next(t))

		require.NoError(t, s.Backend.Publish(t.Context(), "quotes", pubsub.Payload{Data: []byte("<script>")}))
		require.Equal(t, event{kind: "gap", data: `{"lost":1,"exact":true,"cause":"decode","after":"1/5"}`}, v.next(t))

		s.Disconnect(fmt.Errorf("node 7 is down: %w", pubsub.ErrUnavailable))
		require.Equal(t, event{kind: "state", data: `{"state":"reconnecting","attempt":1}`}, v.next(t))
		require.Equal(t, event{comment: true}, v.next(t), "the connection is kept alive meanwhile")
	})
}

func TestViewersShareOneStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		viewers := []*reader{s.watch(t, ""), s.watch(t, "")}
		s.publish(t, 10)
		for _, v := range viewers {
			for i := range 10 {
				require.Equal(t, quote(i+1, i), v.next(t))
			}
		}
		// Some come back from a moment ago, some from another time, and some
		// with nonsense.
		viewers = append(viewers, s.watch(t, "1/5"), s.watch(t, "1/10"), s.watch(t, "1/99999"), s.watch(t, "7/1"), s.watch(t, "nonsense"))
		synctest.Wait()
		require.Equal(t, 1, s.Streams(), "%d viewers share what the server receives", len(viewers))

		s.publish(t, 2*buffer)
		viewers = append(viewers, s.watch(t, "1/5"))
		synctest.Wait()
		require.Equal(t, 1, s.Streams(), "a viewer who was away for too long does too")

		for _, v := range viewers {
			v.close()
		}
		time.Sleep(2 * heartbeat)
		require.Equal(t, 1, s.Streams(), "the stream stays for those to come")
		require.NoError(t, s.stop())
		require.Zero(t, s.Streams())
	})
}

func TestViewerResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		s.publish(t, 10)
		synctest.Wait()
		v := s.watch(t, "1/7")
		for i := 7; i < 10; i++ {
			require.Equal(t, quote(i+1, i), v.next(t), "after a break")
		}
		v = s.get(t, "/events/quotes?after=1%2F8", "")
		require.Equal(t, "state", v.next(t).kind)
		require.Equal(t, quote(9, 8), v.next(t), "after a reload")

		v = s.get(t, "/events/quotes?after=1%2F2", "1/9")
		require.Equal(t, "state", v.next(t).kind)
		require.Equal(t, quote(10, 9), v.next(t), "after a break that followed a reload")
	})
}

// A connection that breaks before its first message costs nothing.
func TestNewViewerIsToldItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		for i := range 3 { // at first the topic is empty
			v := s.watch(t, "")
			require.Equal(t, fmt.Sprintf("1/%d", 5*i), v.start)
			v.close()
			quiet := s.watch(t, v.start)
			require.Equal(t, event{comment: true}, quiet.next(t), "nothing happened, so nothing is told")
			quiet.close()
			s.publish(t, 5)
			back := s.watch(t, v.start)
			for j := range 5 {
				require.Equal(t, quote(5*i+j+1, j), back.next(t))
			}
			back.close()
		}
	})
}

// A position of an earlier process is one of another life of the topic, however
// far this one has come: the viewer is told, and sees all that is new.
func TestProcessIsRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := openOver(t, memory.New())
		v := before.watch(t, "")
		fresh := v.start
		before.publish(t, 300)
		var last string
		for range 300 {
			last = v.next(t).id
		}
		require.NoError(t, before.stop())
		require.NoError(t, before.Close())

		time.Sleep(time.Second) // which no restart is quicker than
		after := openOver(t, memory.New())
		total := 0
		for _, more := range []int{0, 10, 400} {
			after.publish(t, more)
			total += more
			synctest.Wait()
			for _, id := range []string{last, fresh} {
				v := after.watch(t, id)
				e := v.next(t)
				require.Equal(t, "gap", e.kind, "after %d messages", total)
				require.Contains(t, e.data, `"lost":0,"exact":false,"cause":"reset","after":"`+id)
				after.publish(t, 1)
				total++
				for i := range total { // the buffer still has all of this process
					e := v.next(t)
					require.True(t, strings.HasSuffix(e.id, fmt.Sprintf("/%d", i+1)), "%v, not the message %d", e, i+1)
				}
				v.close()
			}
		}
	})
}

// Two instances show the same topics, and a load balancer sends viewers to either.
func TestTwoInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := open(t)
		two := openOver(t, one.Backend)
		v := one.watch(t, "")
		one.publish(t, 5)
		require.Equal(t, quote(1, 0), v.next(t))
		require.Equal(t, quote(2, 1), v.next(t))
		v.close()
		v = two.watch(t, "1/2") // the numbers are the backend's, so they are the same there
		for i := 2; i < 5; i++ {
			require.Equal(t, quote(i+1, i), v.next(t))
		}

		// An instance that started later has not what was before. It says so.
		three := openOver(t, one.Backend)
		v = three.watch(t, "1/2")
		gap := v.next(t)
		require.Equal(t, event{kind: "gap", data: `{"lost":0,"exact":false,"cause":"reconnect","after":"1/2"}`}, gap)
		one.publish(t, 1)
		require.Equal(t, quote(6, 0), v.next(t))
	})
}

func TestViewerWhoWasAwayTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		s.publish(t, 100+buffer)
		synctest.Wait()
		v := s.watch(t, "1/1")
		require.Equal(t, event{kind: "gap", data: `{"lost":99,"exact":true,"cause":"reconnect","after":"1/1"}`}, v.next(t))
		for i := 100; i < 100+buffer; i++ {
			require.Equal(t, quote(i+1, i), v.next(t))
		}
	})
}

func TestViewerFromAnotherLifeOfTheTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		for _, published := range []int{0, 5} {
			s.publish(t, published)
			synctest.Wait()
			for _, id := range []string{"1/1000", "3/1", "nonsense", "1/x", "/", fmt.Sprintf("1/%d0", uint64(math.MaxUint64))} {
				v := s.watch(t, id)
				e := v.next(t)
				require.Equal(t, "gap", e.kind)
				require.Contains(t, e.data, `"lost":0,"exact":false`, id)
				v.close()
			}
		}
		v := s.watch(t, "9/9")
		v.next(t)
		s.ResetPage()
		s.publish(t, 1)
		require.Contains(t, v.next(t).data, `"cause":"reset"`)
		require.Equal(t, "2/1", v.next(t).id)

		// From the page before, seen by this process, nothing is missed.
		v = s.watch(t, "1/4")
		require.Equal(t, quote(5, 4), v.next(t))
		require.Contains(t, v.next(t).data, `"cause":"reset"`)
		require.Equal(t, "2/1", v.next(t).id)
	})
}

// A viewer who does not read misses messages itself and hears how many. Those
// who read miss nothing, and publishers do not wait.
func TestSlowViewerHarmsOnlyItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		slow, quick := s.watch(t, ""), s.watch(t, "")
		const n = 3 * buffer
		for i := range n {
			s.publish(t, 1)
			require.Equal(t, fmt.Sprintf("1/%d", i+1), quick.next(t).id)
		}
		received, lost, last := 0, 0, "-"
		for received+lost < n {
			e := slow.next(t)
			if e.kind == "gap" {
				var gap struct {
					Lost  int
					Exact bool
					Cause string
					After string
				}
				require.NoError(t, json.Unmarshal([]byte(e.data), &gap))
				require.True(t, gap.Exact)
				require.Equal(t, "overflow", gap.Cause)
				require.Equal(t, last, gap.After, "the gap stands where the messages are missing")
				lost += gap.Lost
				continue
			}
			received++
			last = e.id
			require.Equal(t, fmt.Sprintf("1/%d", received+lost), e.id)
		}
		require.Equal(t, n, received+lost)
		require.Positive(t, lost)
	})
}

func TestStuckViewerIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		stuck, quick := s.watch(t, ""), s.watch(t, "")
		s.publish(t, 2)
		require.Equal(t, quote(1, 0), quick.next(t))
		require.Equal(t, quote(2, 1), quick.next(t))
		require.Equal(t, event{comment: true}, quick.next(t), "it stays, longer than the writeTimeout")
		_, ok := stuck.read()
		require.False(t, ok, "its connection is closed")

		back := s.watch(t, "1/1")
		require.Equal(t, quote(2, 1), back.next(t), "and it misses nothing when it returns")
	})
}

func TestHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		v := s.watch(t, "")
		start := time.Now()
		require.Equal(t, event{comment: true}, v.next(t))
		require.Equal(t, heartbeat, time.Since(start))

		s.publish(t, 1)
		require.Equal(t, quote(1, 0), v.next(t))
		start = time.Now()
		require.Equal(t, event{comment: true}, v.next(t))
		require.Equal(t, heartbeat, time.Since(start), "it comes after silence only")

		s.Heartbeat()
		require.Equal(t, event{comment: true}, v.next(t), "those of the backend are passed on")
		require.Equal(t, heartbeat, time.Since(start))
	})
}

func TestOutageIsBridged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		v := s.watch(t, "")
		s.publish(t, 1)
		require.Equal(t, quote(1, 0), v.next(t))
		s.Disconnect(nil)
		require.Equal(t, "state", v.next(t).kind)
		s.publish(t, 2) // others still reach the service

		late := s.get(t, "/events/quotes", "")
		require.Equal(t, event{id: "1/1", kind: "state", data: `{"state":"reconnecting","attempt":1}`}, late.next(t),
			"who comes during an outage is told of it")

		s.Reconnect()
		require.Contains(t, v.next(t).data, `"resumed"`)
		require.Equal(t, quote(2, 0), v.next(t))
		require.Equal(t, quote(3, 1), v.next(t))
	})
}

func TestShutdownDoesNotWaitForViewers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		v := s.watch(t, "")
		ended := make(chan bool, 1)
		go func() {
			_, ok := v.read()
			ended <- !ok
		}()
		time.Sleep(heartbeat - time.Second) // longer than the last write had time
		start := time.Now()
		require.NoError(t, s.stop())
		require.Less(t, time.Since(start), 2*time.Second)
		require.True(t, <-ended)
		require.NoError(t, v.Err(), "the answer has its end")

		s = open(t)
		s.watch(t, "") // does not read any more
		start = time.Now()
		require.NoError(t, s.stop())
		require.Less(t, time.Since(start), 2*writeTimeout)
	})
}

func TestLostTopicEndsTheProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		s.watch(t, "")
		s.EndStreams(pubsub.ErrPermissionDenied)
		synctest.Wait()
		require.ErrorIs(t, s.stop(), pubsub.ErrPermissionDenied)
	})
}

// Whatever a client does, it does not keep a connection for long, unless it is a
// viewer.
func TestNoConnectionIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		pipes.Hold(t, s.conns, 400, "/", "/app.js", "/nowhere", "/events/secrets")
	})
}

// A request for events that has a body is no viewer's.
func TestBodiesAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		for _, body := range []string{"Content-Length: 5\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"} {
			conn := s.conns.Dial()
			defer conn.Close()
			go func() { _, _ = io.WriteString(conn, "GET /events/quotes HTTP/1.1\r\nHost: localhost\r\n"+body) }()
			start := time.Now()
			answer, err := io.ReadAll(conn)
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(string(answer), "HTTP/1.1 413 "), "%s", answer)
			require.Less(t, time.Since(start), 15*time.Second)
		}
	})
}

func TestHeadIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		get := s.get(t, "/events/quotes", "")
		conn := s.conns.Dial()
		go func() { _, _ = io.WriteString(conn, "HEAD /events/quotes HTTP/1.1\r\nHost: localhost\r\n\r\n") }()
		start := time.Now()
		res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodHead})
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, res.StatusCode)
		for _, name := range []string{"Content-Type", "Cache-Control", "X-Accel-Buffering"} {
			require.Equal(t, get.header.Get(name), res.Header.Get(name), name)
		}
		require.Zero(t, time.Since(start))
		// The connection goes on, so the answer had an end.
		go func() {
			_, _ = io.WriteString(conn, "GET /app.js HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		}()
		rest, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(rest), "HTTP/1.1 200 "), "%.80s", rest)
	})
}

// A page of somebody else whose name resolves to this machine is the same site
// to a browser: it must not get the topics.
func TestHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		for host, status := range map[string]int{
			"evil.example:8080": 403, "localhost.evil.example": 403,
			"localhost:8080": 200, "127.0.0.1:8080": 200, "[::1]:8080": 200, "quotes.example": 200,
		} {
			for _, path := range []string{"/", "/events/quotes"} {
				r := s.request(t, "GET "+path+" HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
				require.Equal(t, status, r.status, host)
				if status != http.StatusOK {
					require.True(t, r.Scan())
					require.Contains(t, r.Text(), "-hosts")
					require.NotContains(t, r.Text(), "evil", "what the client sent is not repeated")
				}
				r.close()
			}
		}
	})
}

// What went wrong is told in plain text: a browser that shows it runs nothing.
func TestErrorsArePlain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		for path, status := range map[string]int{
			"/events/<script>": 404, "/<script>alert(1)</script>": 404, "/events/": 404, "/page": 404,
		} {
			r := s.get(t, path, "")
			require.Equal(t, status, r.status, path)
			require.Equal(t, "text/plain; charset=utf-8", r.header.Get("Content-Type"), path)
			require.Equal(t, "nosniff", r.header.Get("X-Content-Type-Options"), path)
			require.True(t, r.Scan())
			require.NotContains(t, r.Text(), "script", "what the client sent is not repeated")
			r.close()
		}
		r := s.request(t, "POST /events/quotes HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
		require.Equal(t, http.StatusMethodNotAllowed, r.status)
		require.Equal(t, "GET, HEAD", r.header.Get("Allow"))
	})
}

func TestOtherRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		require.Equal(t, http.StatusNotFound, s.get(t, "/events/secrets", "").status)
		require.Equal(t, http.StatusNotFound, s.get(t, "/nowhere", "").status)
		require.Equal(t, 1, s.Streams())

		for path, kind := range map[string]string{"/": "text/html", "/app.js": "text/javascript", "/style.css": "text/css"} {
			r := s.get(t, path, "")
			require.Equal(t, http.StatusOK, r.status)
			require.True(t, strings.HasPrefix(r.header.Get("Content-Type"), kind), r.header)
			require.Contains(t, r.header.Get("Content-Security-Policy"), "default-src 'none'")
			r.close()
		}

		s.FailSubscribes(1, pubsub.ErrUnavailable)
		require.Equal(t, http.StatusOK, s.get(t, "/events/quotes", "").status, "the stream is open already")
	})
}

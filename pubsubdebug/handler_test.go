package pubsubdebug_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
	"github.com/topicbus/pubsub/pubsubdebug"
)

// Quote is a value that shows in the name of its bus.
type Quote struct{ Price int }

// world is two buses to which something has happened: streams that are up,
// down and back, a subscription that lags and one that has lost messages.
type world struct {
	backend *memory.Backend
	orders  pubsub.Bus[string]
	quotes  pubsub.Bus[Quote]
}

func newWorld(t *testing.T) *world {
	w := &world{backend: memory.New()}
	w.orders = pubsub.New(w.backend, codec.String(), pubsub.WithBuffer(8))
	w.quotes = pubsub.New(w.backend, codec.JSON[Quote](), pubsub.WithBuffer(32))
	t.Cleanup(func() {
		w.orders.Close()
		w.quotes.Close()
		w.backend.Close()
	})
	fast := subscribe(t, w.orders, "orders.new")
	subscribe(t, w.orders, "orders.new", pubsub.Named("billing")) // never read
	subscribe(t, w.orders, "orders.new", pubsub.Private())
	w.publish(t, w.orders, "orders.new", 2)
	for range 2 {
		_, err := fast.Next(t.Context())
		require.NoError(t, err)
	}
	subscribe(t, w.quotes, "quotes.TSLA", pubsub.Overflow(pubsub.Block))
	goog := subscribe(t, w.quotes, "quotes.GOOG")
	w.backend.Disconnect(errors.New("connection reset by peer"), "quotes.GOOG", "quotes.TSLA")
	w.backend.Lose(7, "quotes.GOOG")
	w.backend.Reconnect("quotes.GOOG")
	for range 3 {
		_, err := goog.Next(t.Context())
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { // Disconnect does not wait for the stream to hear of it
		return len(w.quotes.Stats().Incidents) == 4 // a hole, and three states: each is in Topics before
	}, 10*time.Second, time.Millisecond)
	return w
}

func (w *world) publish(t *testing.T, bus pubsub.Bus[string], topic string, n int) {
	t.Helper()
	for i := range n {
		require.NoError(t, bus.Publish(t.Context(), topic, fmt.Sprint(i)))
	}
}

func (w *world) subscribe(t *testing.T, bus pubsub.Bus[Quote], topic string, n int) {
	t.Helper()
	subscribe(t, bus, topic)
	for i := range n {
		require.NoError(t, bus.Publish(t.Context(), topic, Quote{i}))
	}
}

func subscribe[T any](t *testing.T, bus pubsub.Bus[T], topic string, opts ...pubsub.SubscribeOption) *pubsub.Subscription[T] {
	t.Helper()
	s, err := bus.Subscribe(context.Background(), topic, opts...)
	require.NoError(t, err)
	return s
}

// hostile are topic names that some page would not survive.
var hostile = []string{
	`<script>document.title='owned'</script>`,
	`"><img src=x onerror="document.title='owned'">`,
	`{{.CSS}}</style><iframe>`,
	"javascript:alert(1)",
	"مرحبا بالعالم",
	"invoice\u202egpj.exe\u202c \u2066isolate",
	"line\nbreak\ttab\x00nul\x1b[31mred\u0085\u2028",
	strings.Repeat("long", 500),
	strings.Repeat("W̷", 40),
	"' onmouseover='document.title=1",
}

type source pubsub.Stats

func (s source) Stats() pubsub.Stats { return pubsub.Stats(s) }

func TestOrderAndDowntime(t *testing.T) {
	down := pubsub.StateChange{State: pubsub.Reconnecting, Attempt: 3, Downtime: time.Second}
	h := pubsubdebug.Handler(source{
		Topics: []pubsub.TopicStats{
			{Topic: "a", Private: true, Received: 1}, {Topic: "a", Private: true, Received: 2}, {Topic: "a", Block: true}, {Topic: "a"},
			{Topic: "b", State: down},
		},
		Incidents: []pubsub.Incident{{Topic: "b", State: &down, First: time.Now().Add(-90 * time.Second), Last: time.Now()}},
	})
	var doc document
	require.NoError(t, json.Unmarshal(get(t, h, "/?format=json", "").Body.Bytes(), &doc))
	require.Equal(t, "pubsubdebug_test.source", doc.Buses[0].Name)
	var order []string
	for _, topic := range doc.Buses[0].Topics {
		order = append(order, fmt.Sprintf("%v private %v block %v %v", topic["topic"], topic["private"], topic["block"], topic["received"]))
	}
	require.Equal(t, []string{
		"a private false block false 0", "a private false block true 0", "a private true block false 2", "a private true block false 1",
		"b private false block false 0",
	}, order)
	require.Contains(t, get(t, h, "/", "").Body.String(), "attempt 3, down 1m30s")
}

func get(t *testing.T, h http.Handler, target, accept string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Host = "localhost:6060"
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// document is what a tool would read.
type document struct {
	Time  time.Time
	Buses []struct {
		Name                 string
		Published, Delivered uint64
		Streams, StreamsDown int
		Subscriptions        int
		Lost                 map[string]uint64
		Topics               []map[string]any
		Incidents            []map[string]any
		Reconnects           uint64
		PublishErrors        uint64
		Downtime             float64
	}
}

func TestJSON(t *testing.T) {
	w := newWorld(t)
	h := pubsubdebug.Handler(w.quotes, pubsubdebug.Named("orders", w.orders), w.orders, w.orders)
	for _, c := range []struct{ target, accept string }{{"/", "application/json"}, {"/?format=json", "text/html"}, {"/?format=json&refresh=0", ""}} {
		r := get(t, h, c.target, c.accept)
		require.Equal(t, http.StatusOK, r.Code)
		require.Equal(t, "application/json", r.Header().Get("Content-Type"))
		require.Equal(t, "no-store", r.Header().Get("Cache-Control"))
		require.Equal(t, "Accept", r.Header().Get("Vary"))
		var doc document
		require.NoError(t, json.Unmarshal(r.Body.Bytes(), &doc))
		require.WithinDuration(t, time.Now(), doc.Time, time.Minute)
		require.Len(t, doc.Buses, 4)

		quotes := doc.Buses[0]
		require.Equal(t, "Bus[pubsubdebug_test.Quote]", quotes.Name)
		require.Equal(t, []int{2, 1, 2}, []int{quotes.Streams, quotes.StreamsDown, quotes.Subscriptions})
		require.EqualValues(t, 1, quotes.Reconnects)
		require.EqualValues(t, map[string]uint64{"total": 7, "overflow": 0, "backend": 0, "reset": 0, "reconnect": 7, "decode": 0}, quotes.Lost)
		require.Equal(t, "quotes.GOOG", quotes.Topics[0]["topic"])
		require.Equal(t, "resumed", quotes.Topics[0]["state"])
		require.Equal(t, "reconnecting", quotes.Topics[1]["state"])
		require.Equal(t, "connection reset by peer", quotes.Topics[1]["error"])
		require.Greater(t, quotes.Topics[1]["down"], 0.0, "as of now, not as of the last attempt")
		require.Equal(t, true, quotes.Topics[1]["block"])
		kinds := map[any]int{}
		for _, n := range quotes.Incidents {
			kinds[n["kind"]]++
		}
		require.Equal(t, map[any]int{"discontinuity": 1, "state": 3}, kinds)

		orders := doc.Buses[1]
		require.Equal(t, []string{"orders", "Bus[string]", "Bus[string] (2)"}, []string{orders.Name, doc.Buses[2].Name, doc.Buses[3].Name})
		require.EqualValues(t, 2, orders.Published)
		require.Len(t, orders.Topics, 2)
		shared := orders.Topics[0]
		require.Equal(t, []any{false, true}, []any{shared["private"], orders.Topics[1]["private"]})
		require.EqualValues(t, 8, shared["buffer"])
		subs := shared["subscriptions"].([]any)
		require.Equal(t, map[string]any{"name": "billing", "policy": "drop-oldest", "delivered": 0.0, "lag": 2.0, "maxLag": 2.0,
			"lost": map[string]any{"total": 0.0, "overflow": 0.0, "backend": 0.0, "reset": 0.0, "reconnect": 0.0, "decode": 0.0}}, subs[0],
			"the one that lags most comes first")
		require.EqualValues(t, 2, subs[1].(map[string]any)["delivered"])
		require.Regexp(t, `^handler_test.go:\d+$`, subs[1].(map[string]any)["name"], "where it subscribed")
	}

	r := get(t, h, "/?format=json&topic=TSLA", "")
	var doc document
	require.NoError(t, json.Unmarshal(r.Body.Bytes(), &doc))
	require.Len(t, doc.Buses[0].Topics, 1)
	require.Len(t, doc.Buses[0].Incidents, 1)
	require.Equal(t, 2, doc.Buses[0].Streams, "the sums are those of the bus")
	require.Empty(t, doc.Buses[1].Topics)
}

func TestPage(t *testing.T) {
	w := newWorld(t)
	h := pubsubdebug.Handler(w.quotes, w.orders)
	for _, accept := range []string{"", "*/*", "text/html,application/xhtml+xml", "application/json, text/html"} {
		r := get(t, h, "/", accept)
		require.Equal(t, http.StatusOK, r.Code)
		require.Equal(t, "text/html; charset=utf-8", r.Header().Get("Content-Type"))
		require.Contains(t, r.Header().Get("Content-Security-Policy"), "default-src 'none'")
		require.NotContains(t, r.Header().Get("Content-Security-Policy"), "unsafe")
		require.Equal(t, "nosniff", r.Header().Get("X-Content-Type-Options"))
		require.Equal(t, "no-store", r.Header().Get("Cache-Control"))
	}
	body := get(t, h, "/", "").Body.String()
	for _, want := range []string{"quotes.TSLA", "connection reset by peer", "1 of 2 streams down", "all streams up", "lost 7",
		"keep it off the open internet", `<meta http-equiv="refresh" content="2">`} {
		require.Contains(t, body, want)
	}
	require.NotContains(t, body, "http://")
	require.NotContains(t, body, "https://")

	paused := get(t, h, "/?refresh=0&topic=TSLA", "").Body.String()
	require.NotContains(t, paused, "http-equiv")
	require.Contains(t, paused, `href="?refresh=2&amp;topic=TSLA"`)
	require.NotContains(t, paused, "quotes.GOOG")

	for i := range 210 {
		w.subscribe(t, w.quotes, fmt.Sprintf("many.%03d", i), 0)
	}
	for range 12 {
		w.subscribe(t, w.quotes, "many.000", 0)
	}
	body = get(t, h, "/", "").Body.String()
	require.Contains(t, body, "and 12 more topics")
	require.Contains(t, body, "and 3 more subscriptions")
}

func TestBadRequests(t *testing.T) {
	h := pubsubdebug.Handler()
	require.Contains(t, get(t, h, "/", "").Body.String(), "No bus was given")
	require.JSONEq(t, "[]", string(mustField(t, get(t, h, "/?format=json", "").Body.Bytes(), "buses")))
	for _, target := range []string{"/?refresh=-1", "/?refresh=x", "/?refresh=3601", "/?format=xml"} {
		require.Equal(t, http.StatusBadRequest, get(t, h, target, "").Code, target)
	}
	r := httptest.NewRecorder()
	h.ServeHTTP(r, httptest.NewRequest(http.MethodPost, "http://127.0.0.1/", nil))
	require.Equal(t, http.StatusMethodNotAllowed, r.Code)
	require.Equal(t, "GET, HEAD", r.Header().Get("Allow"))
	require.PanicsWithValue(t, "pubsubdebug: bus 2 given to Handler is nil", func() {
		pubsubdebug.Handler(pubsub.New(memory.New(), codec.String()), nil)
	})
	require.Panics(t, func() { pubsubdebug.Handler(pubsubdebug.Named("x", nil)) })
}

// A page of somebody else whose name resolves to this machine is the same site
// to a browser, which would let it read everything.
func TestHosts(t *testing.T) {
	h := pubsubdebug.Handler(source{Topics: []pubsub.TopicStats{{Topic: "secret"}}})
	ask := func(h http.Handler, host, target string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, target, nil)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	named := h.AllowHosts("debug.example.com").AllowHosts("Debug.Internal")
	for _, c := range []struct {
		host        string
		plain, asks bool
	}{
		{"localhost:6060", true, true},
		{"127.0.0.1:6060", true, true},
		{"[::1]:6060", true, true},
		{"10.0.0.7", true, true},
		{"debug.example.com:6060", false, true},
		{"debug.internal", false, true},
		{"evil.example:6060", false, false},
		{"localhost.evil.example", false, false},
		{"debug.example.com.evil.example", false, false},
	} {
		for _, target := range []string{"/", "/?format=json", "/?format=xml"} {
			for h, ok := range map[http.Handler]bool{h: c.plain, named: c.asks} {
				w := ask(h, c.host, target)
				require.Equal(t, !ok, w.Code == http.StatusForbidden, c.host)
				if !ok {
					require.NotContains(t, w.Body.String(), "secret")
					require.NotContains(t, w.Body.String(), "evil")
					require.Contains(t, w.Body.String(), "AllowHosts")
				}
			}
		}
	}
	for _, wrong := range []string{"", "*", "https://debug.example.com", "a.example,b.example"} {
		require.Panics(t, func() { h.AllowHosts(wrong) }, wrong)
	}
}

func mustField(t *testing.T, raw []byte, name string) json.RawMessage {
	var m map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(raw, &m))
	return m[name]
}

func TestClosedBus(t *testing.T) {
	w := newWorld(t)
	h := pubsubdebug.Handler(w.quotes)
	w.quotes.Close()
	body := get(t, h, "/", "").Body.String()
	require.Contains(t, body, "nobody subscribes")
	require.Contains(t, body, "lost 7", "what happened outlives the streams")
}

// What an end threw away is shown: by whom, and how much.
func TestDropped(t *testing.T) {
	backend := memory.New()
	t.Cleanup(func() { backend.Close() })
	bus := pubsub.New(backend, codec.String())
	t.Cleanup(func() { bus.Close() })
	hasty := subscribe(t, bus, "t", pubsub.Named("<b>hasty</b>"))
	subscribe(t, bus, "t", pubsub.Named("slow"))
	for range 1234 / 2 {
		require.NoError(t, bus.Publish(t.Context(), "t", "m"))
	}
	require.NoError(t, hasty.Close())
	h := pubsubdebug.Handler(bus)
	var doc struct {
		Buses []struct {
			Dropped   uint64
			Topics    []struct{ Dropped uint64 }
			Incidents []map[string]any
		}
	}
	require.NoError(t, json.Unmarshal(get(t, h, "/?format=json", "").Body.Bytes(), &doc))
	b := doc.Buses[0]
	require.EqualValues(t, 617, b.Dropped)
	require.EqualValues(t, 617, b.Topics[0].Dropped)
	require.Len(t, b.Incidents, 1)
	require.Equal(t, []any{"dropped", "<b>hasty</b>", 617.0, "t"}, []any{b.Incidents[0]["kind"], b.Incidents[0]["name"], b.Incidents[0]["dropped"], b.Incidents[0]["topic"]})
	body := get(t, h, "/", "").Body.String()
	require.Contains(t, body, "dropped 617</span> unread by the end of <bdi>&lt;b&gt;hasty&lt;/b&gt;</bdi>")
	require.Contains(t, body, `<bdi class="name">slow</bdi>`)

	bus.Close()
	require.Contains(t, get(t, h, "/", "").Body.String(), "unread by the end of the bus")
}

func TestEndedStream(t *testing.T) {
	w := newWorld(t)
	s := subscribe(t, w.orders, "ending")
	w.backend.EndStreams(fmt.Errorf("<b>%w</b>", pubsub.ErrPermissionDenied), "ending")
	h := pubsubdebug.Handler(w.orders)
	require.Eventually(t, func() bool { // its subscription has not read the end yet
		return strings.Contains(get(t, h, "/?topic=ending", "").Body.String(), `<span class="chip warn">ended</span>`)
	}, 10*time.Second, time.Millisecond)
	_, err := s.Next(t.Context())
	require.ErrorIs(t, err, pubsub.ErrPermissionDenied)
	body := get(t, h, "/", "").Body.String()
	require.Contains(t, body, "&lt;b&gt;permission denied&lt;/b&gt;")
}

package pubsubtest

import (
	"io"
	"slices"
	"testing"
	"time"

	"github.com/topicbus/pubsub"
)

// Harness tells [Run] how to make the backend that is to be tested. Its zero
// value but for New is ready for use.
type Harness struct {
	_ struct{} // fields will be added: use their names

	// New returns a fresh backend for one case; no other case uses it. What it
	// cannot do it reports by t.Fatal. Where the Backend has a Close method,
	// Run calls it when the case ends; what else is to be torn down New
	// registers with t.Cleanup. That is called after Close.
	New func(t testing.TB) Target

	// Without names the fields of Target that New leaves zero, and so what Run
	// does not check. Run fails if it is not accurate. "Close" stands for the
	// Backend's own Close method.
	//
	// What package pubsub says that a backend may do besides need not be named
	// here, nor does FailAccepted. Run finds out by itself, and its output names
	// what it found missing: TopicBackend, BatchPublisher, ValueCarrier, Flusher,
	// Holder, RunStream, "Start" (a Stream.Start that tells where a stream
	// begins) and "Start of an empty topic". If one is named here, Run fails where
	// the Backend has it.
	Without []string

	// Timeout is how long an event may take to come. The suite never waits
	// longer than needed, so it can be generous. The default is 10 s.
	Timeout time.Duration

	// Topic makes the name of a topic from one that is unique to the run. Set
	// it if topics need a prefix. The default is the name itself.
	Topic func(name string) string

	// Seed determines the random schedules of the Law cases. Where they fail
	// they print it. The default, 0, takes a new one for each run.
	Seed uint64

	// Rounds is the number of random schedules. The default is 3.
	Rounds int
}

// Target is one backend under test, and what can be done to it and behind its
// back. A zero field is a capability that it lacks. The functions may return
// before they have had their effect on the streams, but two of them, or one
// and a publish, take effect in the order of the calls.
type Target struct {
	_ struct{} // fields will be added: use their names

	// Backend is what is tested.
	Backend pubsub.Backend

	// Numbered tells that the backend gives messages positions.
	Numbered bool

	// History is how many messages of a topic the backend can replay to a
	// stream that resumes, also one that opens it anew after a position.
	History int

	// MaxPayload is the size of the largest payload that the backend accepts.
	MaxPayload int

	// Disconnect breaks the connection behind all streams and keeps it from
	// coming back; Subscribe fails meanwhile. Reconnect ends that.
	Disconnect, Reconnect func()

	// Publish publishes past the backend, as another process would, and also
	// while it is disconnected. It returns when the message is accepted.
	Publish func(topic string, p pubsub.Payload) error

	// Lose makes n messages of the topic vanish after they were accepted and
	// before any stream has got them.
	Lose func(topic string, n int)

	// Reset has the topic's numbers begin again, on a new page.
	Reset func(topic string)

	// Heartbeat has the topic's streams show that they are alive.
	Heartbeat func(topic string)

	// EndStreams ends all streams for good, for a reason that the backend is
	// to report by the given error, a sentinel of package pubsub.
	EndStreams func(sentinel error)

	// FailPublish and FailSubscribe make the next Publish or Subscribe fail
	// for a reason that is reported likewise.
	FailPublish, FailSubscribe func(sentinel error)

	// FailAccepted makes the next Publish fail likewise, after its message was
	// accepted: the service's answer is lost, say.
	FailAccepted func(sentinel error)

	// Streams counts the streams that are open at the service.
	Streams func() int
}

// capability is something that a Target may lack. It bears the field's name.
type capability string

const (
	numbered      capability = "Numbered"
	history       capability = "History"
	maxPayload    capability = "MaxPayload"
	disconnect    capability = "Disconnect"
	reconnect     capability = "Reconnect"
	publish       capability = "Publish"
	lose          capability = "Lose"
	reset         capability = "Reset"
	heartbeat     capability = "Heartbeat"
	endStreams    capability = "EndStreams"
	failPublish   capability = "FailPublish"
	failSubscribe capability = "FailSubscribe"
	streams       capability = "Streams"
	closing       capability = "Close"
)

// These a Target may lack without a word in Harness.Without.
const (
	failAccepted capability = "FailAccepted"
	starts       capability = "Start"
	emptyStarts  capability = "Start of an empty topic"
	topicBackend capability = "TopicBackend"
	batches      capability = "BatchPublisher"
	values       capability = "ValueCarrier"
	flusher      capability = "Flusher"
	holder       capability = "Holder"
	runStream    capability = "RunStream"
)

// capabilities tells which capabilities there are and which the target has.
func (tg *Target) capabilities() map[capability]bool {
	_, closes := tg.Backend.(io.Closer)
	return map[capability]bool{
		numbered:      tg.Numbered,
		history:       tg.History > 0,
		maxPayload:    tg.MaxPayload > 0,
		disconnect:    tg.Disconnect != nil,
		reconnect:     tg.Reconnect != nil,
		publish:       tg.Publish != nil,
		lose:          tg.Lose != nil,
		reset:         tg.Reset != nil,
		heartbeat:     tg.Heartbeat != nil,
		endStreams:    tg.EndStreams != nil,
		failPublish:   tg.FailPublish != nil,
		failSubscribe: tg.FailSubscribe != nil,
		streams:       tg.Streams != nil,
		closing:       closes,
	}
}

// optional tells whether c is a capability that Harness.Without need not name,
// and whether the target has it. To find out, it may open a stream.
func (e *env) optional(c capability) (has, known bool) {
	switch c {
	case failAccepted:
		has = e.FailAccepted != nil
	case starts:
		topic := e.topic("probe")
		e.publish(topic, id{1, 1}.payload())
		has = !e.sample(topic).Start().IsZero()
	case emptyStarts:
		has = !e.sample(e.topic("probe")).Start().IsZero()
	case topicBackend:
		has = e.handle("probe") != nil
	case batches:
		_, has = e.handle("probe").(pubsub.BatchPublisher)
	case values:
		v, ok := e.Backend.(pubsub.ValueCarrier)
		has = ok && v.CarriesValues()
	case flusher:
		_, has = e.sample(e.topic("probe")).(pubsub.Flusher)
	case holder:
		_, has = e.sample(e.topic("probe")).(pubsub.Holder)
	case runStream:
		_, has = e.sample(e.topic("probe")).(pubsub.RunStream)
	default:
		return false, false
	}
	return has, true
}

// sample is a stream of the topic, which is ending.
func (e *env) sample(topic string) pubsub.Stream {
	e.Helper()
	s := e.subscribe(topic, pubsub.Position{})
	s.cancel()
	return s.receive().opened
}

// lacking returns which of the needs the target has not.
func (e *env) lacking(needs []capability) []capability {
	have := e.capabilities()
	return slices.DeleteFunc(slices.Clone(needs), func(c capability) bool {
		if has, known := e.optional(c); known {
			return has
		}
		return have[c]
	})
}

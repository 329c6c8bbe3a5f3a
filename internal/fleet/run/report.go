package run

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"
)

// durations are those of several processes.
type durations []time.Duration

func (d *durations) add(one time.Duration) { *d = append(*d, one) }

func (d durations) String() string {
	slices.Sort(d)
	return fmt.Sprintf("median %v, longest %v", round(d[len(d)/2]), round(d[len(d)-1]))
}

func round(d time.Duration) time.Duration {
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}

// weights are how much memory several processes have.
type weights []memory

func (w *weights) add(one memory) { *w = append(*w, one) }

// median of each figure, in bytes.
func (w weights) median() memory {
	middle := func(of func(memory) uint64) uint64 {
		var list []uint64
		for _, m := range w {
			list = append(list, of(m))
		}
		slices.Sort(list)
		return list[len(list)/2]
	}
	return memory{middle(func(m memory) uint64 { return m.Resident }), middle(func(m memory) uint64 { return m.InUse })}
}

// phase is a stretch of the run.
type phase struct {
	took    time.Duration
	spent   spent
	streams streams // at its end
}

type report struct {
	config
	engine               string
	idle, steady, deploy phase
	after                streams
	starts               durations // until the viewers of a process had subscribed, at first
	stops, restarts      durations // the two parts of a restart
	back                 durations // until all viewers knew all that was accepted when they had subscribed
	backCPU              durations // what the new process had used by then
	allBack              time.Duration
	empty, full          weights // before viewers subscribed, and at the end of the steady phase
	latency              []*histogram
	accepted             []uint64 // by topic
	total                viewer   // of all viewers
	unlike               int      // viewers that broke the law
	refused              int64    // attempts to subscribe that were made again
}

func newReport(engine string, c config) *report {
	return &report{config: c, engine: engine, latency: newLatency()}
}

// viewer takes what a viewer had in the end. The law is checked for each.
func (r *report) viewer(v viewer) {
	r.total.Delivered += v.Delivered
	r.total.Lost += v.Lost
	r.total.Vague += v.Vague
	accepted, told := r.accepted[v.Topic], v.Delivered+v.Lost
	if v.Wrong > 0 || v.Knows != accepted || told > accepted || told < accepted && v.Vague == 0 {
		r.unlike++
	}
}

// check returns what is wrong.
func (r *report) check() error {
	if r.unlike > 0 {
		return fmt.Errorf("%d viewers were not delivered or reported lost what was accepted, once and in order", r.unlike)
	}
	if r.latency[steadyPhase].count() == 0 {
		return errors.New("nothing was delivered")
	}
	return nil
}

func (r *report) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer w.Flush()
	line := func(name, format string, args ...any) { fmt.Fprintf(w, name+"\t"+format+"\n", args...) }

	viewers := r.processes * r.viewers
	line("fleet", "%s, %d processes of %d viewers, %d topics, %v messages a second to each, %d bytes, seed %d, shared %v, abrupt %v",
		r.engine, r.processes, r.viewers, r.topics, r.rate, r.size, r.seed, r.shared, r.abrupt)
	line("machine", "%s/%s, GOMAXPROCS %d, %s", runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), runtime.Version())
	line("streams open", "idle %d, steady %d, most in the deploy %d, after it %d", r.idle.streams.Open, r.steady.streams.Open, r.deploy.streams.Most, r.after.Open)
	line("streams opened", "before %d, in the deploy %d; %d times a viewer had to subscribe again", r.steady.streams.Opened, r.deploy.streams.Opened-r.steady.streams.Opened, r.refused)

	deliveries := float64(r.latency[steadyPhase].count())
	upstream := deliveries * float64(r.steady.streams.Open) / float64(viewers)
	per := func(what time.Duration, each float64) time.Duration { return time.Duration(float64(what) / each) }
	// What heartbeats and the like take, the messages do not.
	share := 0.0
	if r.config.idle > 0 {
		secs := r.idle.took.Seconds()
		share = r.steady.took.Seconds() / secs
		line("idle", "%v", round(r.idle.took))
		s, all, open := r.idle.spent, secs*float64(r.processes), secs*float64(r.idle.streams.Open)
		line("  CPU a second, for each process", "viewers' processes %v, service %v", per(s.viewers, all), per(s.service, all))
		line("  bytes a second and stream", "%.0f to viewers' processes, %.0f from them", float64(s.down)/open, float64(s.up)/open)
	}
	s := r.steady.spent
	line("steady", "%v, %.0f deliveries, %.0f a second", round(r.steady.took), deliveries, deliveries/r.steady.took.Seconds())
	line("  CPU per delivery to a viewer", "viewers' processes %v, %v of it as when idle; service %v; publishers and relay %v",
		per(s.viewers, deliveries), time.Duration(share*float64(per(r.idle.spent.viewers, deliveries))), per(s.service, deliveries), per(s.driver, deliveries))
	line("  CPU per delivery of the service", "service %v, %v of it as when idle", per(s.service, upstream), time.Duration(share*float64(per(r.idle.spent.service, upstream))))
	line("  bytes per delivery of the service", "%.0f to viewers' processes, %.0f of them as when idle; %.0f from them",
		float64(s.down)/upstream, share*float64(r.idle.spent.down)/upstream, float64(s.up)/upstream)
	line("  bytes per delivery to a viewer", "%.2f upstream", float64(s.down)/deliveries)
	line("  latency", "%s", r.latency[steadyPhase])
	empty, full := r.empty.median(), r.full.median()
	line("memory of a process", "resident %.1f MB, %.1f MB without viewers; in use %.1f MB, %.1f MB without; %.1f KB in use per viewer",
		mb(full.Resident), mb(empty.Resident), mb(full.InUse), mb(empty.InUse), (float64(full.InUse)-float64(empty.InUse))/1000/float64(r.viewers))

	line("deploy", "all %d viewers back after %v", viewers, round(r.allBack))
	line("  CPU", "viewers' processes %v, service %v", round(r.deploy.spent.viewers), round(r.deploy.spent.service))
	line("  latency", "%s", r.latency[deployPhase])
	line("  replayed to those who came back", "%s", r.latency[replayed])
	line("  first start, until all had subscribed", "%v", r.starts)
	line("  stop", "%v", r.stops)
	line("  start again, until all had subscribed", "%v", r.restarts)
	line("  restart, until all knew all", "%v", r.back)
	line("  CPU of a new process until then", "%v", r.backCPU)

	var accepted uint64
	for topic, n := range r.accepted {
		// Viewer i of each process watches topic i modulo their number.
		accepted += n * uint64(r.processes) * uint64((r.viewers-topic+r.topics-1)/r.topics)
	}
	line("the law", "accepted %d = delivered %d + reported lost %d; %d reports without an exact count; %d viewers were told wrong",
		accepted, r.total.Delivered, r.total.Lost, r.total.Vague, r.unlike)
}

func mb(bytes uint64) float64 { return float64(bytes) / 1e6 }

// String tells the quantiles.
func (h *histogram) String() string {
	if h.count() == 0 {
		return "none"
	}
	return fmt.Sprintf("p50 %v, p99 %v, longest %v of %d", round(h.quantile(0.5)), round(h.quantile(0.99)), round(h.quantile(1)), h.count())
}

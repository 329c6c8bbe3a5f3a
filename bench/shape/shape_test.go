package shape

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/codec"
)

func run(c Contender[[]byte], f Fleet, messages int, drive func(*Run[[]byte]) (Result, error)) (Result, error) {
	r, err := Start(c, Bytes(f.Publishers, 16), f, messages, nil)
	if err != nil {
		return Result{}, err
	}
	res, err := drive(r)
	return res, errors.Join(err, r.Close())
}

func bus(policy pubsub.OverflowPolicy, form Form[[]byte]) Contender[[]byte] {
	return Bus[[]byte]{Name: "bus", Codec: codec.Bytes(), Read: form, Policy: policy}.Contender()
}

// direct hands messages to the sinks, and may do something to them on the way.
type direct struct {
	sinks  []*Sink[[]byte]
	meddle func(s *Sink[[]byte], v []byte)
}

func (d *direct) Subscribe(_ int, s *Sink[[]byte]) error {
	d.sinks = append(d.sinks, s)
	return nil
}

func (d *direct) Publish(_ int, v []byte) error {
	for _, s := range d.sinks {
		d.meddle(s, v)
	}
	return nil
}

func (d *direct) Close() error { return nil }

func TestHonestContendersPass(t *testing.T) {
	const messages = 3000
	for name, c := range map[string]Contender[[]byte]{
		"channels": Channels[[]byte]("chan", 4),
		"bare":     BareChannels[[]byte]("bare", 4),
		"All":      bus(pubsub.Block, All[[]byte]),
		"Next":     bus(pubsub.Block, Next[[]byte]),
		"Messages": bus(pubsub.Block, Messages[[]byte]),
		"C":        bus(pubsub.Block, C[[]byte]),
		"Events":   bus(pubsub.Block, Events[[]byte]),
		"by name":  Bus[[]byte]{Codec: codec.Bytes(), Read: All[[]byte], Policy: pubsub.Block, ByName: true}.Contender(),
		"batches":  Bus[[]byte]{Codec: codec.Bytes(), Read: All[[]byte], Policy: pubsub.Block, Batch: 60}.Contender(),
	} {
		t.Run(name, func(t *testing.T) {
			res, err := run(c, Fleet{Publishers: 3, Topics: 2, Subscribers: 5}, messages, (*Run[[]byte]).Flood)
			require.NoError(t, err)
			require.EqualValues(t, messages, res.Published)
			require.EqualValues(t, messages*5, res.Deliveries)

			res, err = run(c, Fleet{Subscribers: 3}, 100, (*Run[[]byte]).OneByOne)
			require.NoError(t, err)
			require.EqualValues(t, 100, res.Latency.count)

			res, err = run(c, Fleet{Subscribers: 3}, 100, func(r *Run[[]byte]) (Result, error) { return r.Paced(20_000) })
			require.NoError(t, err)
			require.EqualValues(t, 300, res.Latency.count)
			require.Greater(t, res.Elapsed, 4*time.Millisecond)
		})
	}
}

func TestJamFindsHowMuchIsTaken(t *testing.T) {
	jam := func(c Contender[[]byte]) uint64 {
		r, err := Start(c, Bytes(1, 16), Fleet{Subscribers: 2}, 5000, nil)
		require.NoError(t, err)
		taken, err := r.Jam(10 * time.Millisecond)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		return taken
	}
	require.EqualValues(t, 1+100, jam(Channels[[]byte]("chan", 100))) // the first is taken out
	require.EqualValues(t, 5000, jam(bus(pubsub.DropOldest, All[[]byte])))
}

func TestOverrunCountsReportedLosses(t *testing.T) {
	for name, form := range map[string]Form[[]byte]{"All": All[[]byte], "Next": Next[[]byte]} {
		t.Run(name, func(t *testing.T) {
			res, err := run(bus(pubsub.DropOldest, form), Fleet{Subscribers: 3}, 5000, (*Run[[]byte]).Overrun)
			require.NoError(t, err)
			require.Greater(t, res.Lost, uint64(3*4000))
		})
	}
}

func TestDishonestContendersFail(t *testing.T) {
	var held []byte
	onlyOrder := map[string]bool{"swaps": true, "reports a loss in the wrong place": true}
	for name, meddle := range map[string]func(*Sink[[]byte], []byte, uint64){
		"drops and repeats": func(s *Sink[[]byte], v []byte, i uint64) {
			if i == 1500 {
				v = held
			}
			s.Take(v)
			held = v
		},
		"swaps": func(s *Sink[[]byte], v []byte, i uint64) {
			switch i {
			case 1500:
				held = v
			case 1501:
				s.Take(v)
				s.Take(held)
			default:
				s.Take(v)
			}
		},
		"reports a loss in the wrong place": func(s *Sink[[]byte], v []byte, i uint64) {
			switch i {
			case 1500:
			case 1501:
				s.Take(v)
				s.Lost(1)
			default:
				s.Take(v)
			}
		},
		"sends one too many": func(s *Sink[[]byte], v []byte, i uint64) {
			s.Take(v)
			if i == 1999 {
				s.Take(v)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			i := uint64(0)
			c := Contender[[]byte]{Name: name, Open: func(Fleet) (System[[]byte], error) {
				return &direct{meddle: func(s *Sink[[]byte], v []byte) { meddle(s, v, i); i++ }}, nil
			}}
			_, err := run(c, Fleet{Subscribers: 1}, 2000, (*Run[[]byte]).Flood)
			require.Error(t, err)
			i, c.Unordered = 0, true
			_, err = run(c, Fleet{Subscribers: 1}, 2000, (*Run[[]byte]).Flood)
			require.Equal(t, onlyOrder[name], err == nil, "without order: %v", err)
		})
	}
}

func TestQuantiles(t *testing.T) {
	var h, other Histogram
	require.Zero(t, h.Quantile(0.5))
	for i := range 500 {
		h.Record(time.Duration(2*i+1) * time.Microsecond)
		other.Record(time.Duration(2*i+2) * time.Microsecond)
	}
	h.Add(&other)
	for q, want := range map[float64]time.Duration{
		0: time.Microsecond, 0.5: 501 * time.Microsecond, 0.99: 991 * time.Microsecond, 1: time.Millisecond,
	} {
		require.InEpsilon(t, want, h.Quantile(q), 1.0/64, "%v", q)
		require.GreaterOrEqual(t, h.Quantile(q), want)
	}
	h.Record(-time.Second)
	require.Zero(t, h.Quantile(0))
	h.Record(1<<63 - 1)
	require.EqualValues(t, uint64(1<<63-1), h.Quantile(1))
}

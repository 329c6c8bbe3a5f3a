package ring

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The model of a log is everything that was ever written, in a slice. A reader
// of the model walks along it and checks what a cursor hands out: the next
// message, or a hole that says how many messages and losses it passes over.

type item struct {
	note  bool
	kind  Kind
	lost  uint64 // of a gap
	vague bool
	n     int // of a message
}

type model struct {
	mu    sync.Mutex
	items []item
	sent  int
}

func (m *model) add(it item) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.items = append(m.items, it)
	if !it.note {
		m.sent++
	}
}

func (m *model) at(i int) (item, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i >= len(m.items) {
		return item{}, false
	}
	return m.items[i], true
}

// walker is a reader of the model.
type walker struct {
	m     *model
	pos   int    // of the next item
	told  uint64 // lost, by holes since the last message
	vague bool   // one of those was not exact, or their sum does not fit
	down  bool   // the last state it was told of
	got   uint64
}

// message checks a message that was handed out.
func (w *walker) message(n int) error {
	missed, vague, fits := uint64(0), false, true
	for {
		it, ok := w.m.at(w.pos)
		w.pos++
		switch {
		case !ok:
			return fmt.Errorf("message %d was never written, or comes again", n)
		case it.note && it.kind == Gap:
			missed, fits = plus(missed, it.lost)
			vague = vague || it.vague || !fits
		case it.note:
		case it.n == n:
			w.got++
			if missed != w.told || vague != w.vague {
				return fmt.Errorf("before message %d %d are missing (vague %v), told were %d (%v)", n, missed, vague, w.told, w.vague)
			}
			w.told, w.vague = 0, false
			return nil
		default:
			missed, fits = plus(missed, 1)
			vague = vague || !fits
		}
	}
}

func (w *walker) note(n *Note) error {
	switch n.Kind {
	case Gap:
		told, fits := plus(w.told, n.Hole.Lost)
		w.told, w.vague = told, w.vague || !n.Hole.Exact || !fits
		if n.Hole.Lost == 0 && n.Hole.Exact {
			return fmt.Errorf("a hole of nothing")
		}
	case Down:
		w.down = true
	case Up:
		if !w.down {
			return fmt.Errorf("up, and never down")
		}
		w.down = false
	}
	return nil
}

// end checks that nothing is left untold, given how many the cursor left behind.
func (w *walker) end(dropped uint64, limit int) error {
	missed := uint64(0)
	for i := w.pos; i < limit; i++ {
		it, _ := w.m.at(i)
		if it.note {
			missed, _ = plus(missed, it.lost)
		} else {
			missed, _ = plus(missed, 1)
		}
	}
	if left, _ := plus(dropped, w.told); missed != left {
		return fmt.Errorf("%d are missing at the end, %d were told and %d dropped", missed, w.told, dropped)
	}
	return nil
}

type (
	testLog    = Log[int, string]
	testCursor = Cursor[int, string]
	testView   = View[int, string]
)

// rig is a log and its model.
type rig struct {
	log   testLog
	model model
	down  bool
	page  uint64
	seq   uint64
}

// maxSeq is how far a hole may move the numbers; behind a larger one they begin
// anew.
const maxSeq = 1 << 40

func newRig(capacity int) *rig {
	r := &rig{page: 1}
	r.log.Init(capacity, false)
	return r
}

func (r *rig) write(more bool) {
	seg, slot := r.log.Next()
	r.seq++
	seg.Entries[slot] = Entry[int]{Value: r.model.sent, At: Place{r.page, r.seq}}
	if r.seq%7 == 0 {
		seg.SetSide(slot, fmt.Sprint(r.model.sent))
	}
	r.model.add(item{n: r.model.sent})
	r.log.Append(more)
}

func (r *rig) note(kind Kind, lost uint64, vague bool) {
	if kind == Up && !r.down {
		return // no stream comes back that was not away
	}
	r.model.add(item{note: true, kind: kind, lost: lost, vague: vague})
	if kind == Gap {
		if r.seq += lost; lost > maxSeq {
			r.page, r.seq = r.page+1, 0
		}
	}
	r.down = kind == Down || r.down && kind != Up
	r.log.Note(Note{Kind: kind, Hole: Hole{Lost: lost, Exact: !vague, Resume: Place{r.page, r.seq + 1}}})
}

// reader is a cursor and what the model says of it.
type reader struct {
	c *testCursor
	w walker
	v testView
}

func (r *rig) join() *reader {
	rd := &reader{c: NewCursor[int, string](false), w: walker{m: &r.model, pos: len(r.model.items)}}
	r.log.Join(rd.c)
	return rd
}

// read hands out up to n events. It returns how reading ended.
func (rd *reader) read(n int, v *testView) (End, error) {
	for n > 0 {
		if i, ok := rd.c.At(v); ok {
			seg, slot := v.Segment(), Slot(i)
			value, side := seg.Entries[slot].Value, ""
			if sides := seg.Sides(); sides != nil {
				side = sides[slot]
			}
			if !rd.c.Take(i) {
				continue
			}
			if side != "" && side != fmt.Sprint(value) {
				return NotEnded, fmt.Errorf("message %d has the side of %s", value, side)
			}
			if err := rd.w.message(value); err != nil {
				return NotEnded, err
			}
			n--
			continue
		}
		note, end := rd.c.Look(v)
		switch {
		case end != NotEnded:
			return end, nil
		case note != nil:
			if err := rd.w.note(note); err != nil {
				return NotEnded, err
			}
			n--
		case v.Empty():
			return NotEnded, nil
		}
	}
	return NotEnded, nil
}

// play runs a script of operations against log and model.
func play(script []byte) error {
	if len(script) == 0 {
		return nil
	}
	r := newRig(1 + int(script[0])%100)
	var readers []*reader
	for _, op := range script[1:] {
		arg := int(op >> 4)
		switch op & 15 {
		case 0, 1, 2, 3:
			for range 1 + arg*arg {
				r.write(false)
			}
		case 4: // a batch
			for k := range 1 + 4*arg {
				r.write(k < 4*arg || arg%4 == 3) // or it is a note that shows them
			}
			if arg%4 == 3 {
				r.note(Gap, 1, false)
			}
		case 5:
			lost := uint64(arg + 1)
			switch arg {
			case 14:
				lost = 1 << 62
			case 15:
				lost = 1<<64 - 1
			}
			r.note(Gap, lost, false)
		case 6:
			r.note(Gap, uint64(arg), true)
		case 7:
			r.note(Down, 0, false)
		case 8:
			r.note(Up, 0, false)
		case 9:
			for range 1 + arg*20 {
				r.note(Beat, 0, false)
			}
		case 10:
			if len(readers) < 8 {
				readers = append(readers, r.join())
			}
		case 11, 12:
			if len(readers) > 0 {
				rd := readers[arg%len(readers)]
				if _, err := rd.read(1+arg*8, &rd.v); err != nil {
					return err
				}
			}
		case 13: // single messages, with the kept view
			if len(readers) > 0 {
				rd := readers[arg%len(readers)]
				for range arg {
					v := rd.c.Borrow()
					_, err := rd.read(1, v)
					rd.c.Return(v)
					if err != nil {
						return err
					}
				}
			}
		case 14:
			r.log.Compact()
		case 15:
			if len(readers) > 0 {
				k := arg % len(readers)
				if err := leave(r, readers[k], arg%2 == 0); err != nil {
					return err
				}
				readers = append(readers[:k], readers[k+1:]...)
			}
		}
	}
	for k, rd := range readers {
		if err := leave(r, rd, k%2 == 0); err != nil {
			return err
		}
	}
	if n := r.log.Size(); n != 0 {
		return fmt.Errorf("%d readers are left", n)
	}
	return nil
}

// leave ends a reader: at once, or drained of what there is.
func leave(r *rig, rd *reader, drain bool) error {
	limit := len(r.model.items)
	if drain {
		rd.c.Limit()
		r.write(false) // too late
		r.note(Gap, 3, false)
		for {
			end, err := rd.read(1000, &rd.v)
			if err != nil {
				return err
			}
			if end == Drained {
				break
			}
			if end != NotEnded || rd.v.Empty() && rd.c.Exhausted() == NotEnded {
				return fmt.Errorf("a drain ends with %v", end)
			}
		}
	}
	rd.c.Stop()
	rd.c.Release(&rd.v)
	taken, dropped := rd.c.Leave()
	if taken != rd.w.got {
		return fmt.Errorf("%d were taken, %d counted", rd.w.got, taken)
	}
	if drain && dropped != 0 {
		return fmt.Errorf("a drain dropped %d", dropped)
	}
	return rd.w.end(dropped, limit)
}

func TestLogAgainstModel(t *testing.T) {
	n := 3000
	if testing.Short() {
		n = 300
	}
	for range n {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 1))
		script := make([]byte, rng.IntN(300))
		for i := range script {
			script[i] = byte(rng.Uint32())
		}
		if err := play(script); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func FuzzLogAgainstModel(f *testing.F) {
	f.Add([]byte{3, 10, 0x30, 5, 0x30, 0xfb, 0x0f})
	f.Add([]byte{64, 10, 0xf4, 10, 7, 8, 0xf9, 14, 0xfd, 0x1f, 0x0f})
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 2000 {
			return
		}
		if err := play(script); err != nil {
			t.Fatal(err)
		}
	})
}

// One writer and many readers at once: the law holds for each.
func TestLawWithReadersAtWork(t *testing.T) {
	for _, capacity := range []int{1, 7, 64, 1000} {
		r := newRig(capacity)
		var stop atomic.Bool
		var writing, reading sync.WaitGroup
		errs := make(chan error, 100)
		for range 6 {
			rd := r.join()
			reading.Go(func() {
				for {
					end, err := rd.read(1<<30, &rd.v) // all there is
					if err != nil {
						errs <- fmt.Errorf("capacity %d: %w", capacity, err)
					}
					if err != nil || end != NotEnded {
						break
					}
					rd.c.Sleep(&rd.v, nil)
				}
				rd.c.Stop()
				rd.c.Release(&rd.v)
				if taken, dropped := rd.c.Leave(); dropped != 0 || taken != rd.w.got {
					errs <- fmt.Errorf("capacity %d: taken %d of %d, dropped %d", capacity, rd.w.got, taken, dropped)
				}
				if len(errs) == 0 {
					if err := rd.w.end(0, len(r.model.items)); err != nil {
						errs <- err
					}
				}
			})
		}
		writing.Go(func() {
			for !stop.Load() {
				switch k := rand.IntN(40); {
				case k == 0:
					r.note(Gap, 2, false)
				case k == 1:
					r.note(Down, 0, false)
				case k == 2:
					r.note(Up, 0, false)
				case k == 3:
					n := rand.IntN(70)
					for i := range n {
						r.write(i < n-1)
					}
				default:
					r.write(false)
				}
			}
			r.log.End(nil)
		})
		time.Sleep(100 * time.Millisecond) // of work; nothing depends on how much
		stop.Store(true)
		writing.Wait()
		reading.Wait()
		close(errs)
		for err := range errs {
			require.NoError(t, err)
		}
	}
}

package compress

import (
	"sync"
	"time"
)

// pool keeps encoders or decoders for reuse.
//
// Each of them has a channel of its own, and a channel that was made in a
// testing/synctest bubble must not be used outside of it: the runtime ends the
// process. So nothing that was made in a bubble is kept. What was made outside
// may be used in any bubble.
type pool[T any] struct{ items sync.Pool }

func (p *pool[T]) get() (T, bool) {
	v, ok := p.items.Get().(T)
	return v, ok
}

// put keeps v, unless it may have been made in a bubble. Nobody takes v from
// one bubble to another, so that is the case where the caller is in one.
func (p *pool[T]) put(v T) {
	if !inBubble() {
		p.items.Put(v)
	}
}

// inBubble reports whether the caller is in a synctest bubble. There, a time
// has no monotonic clock reading, and Round(0), which removes that reading,
// changes nothing. Outside, every time has one. This takes about 50 ns.
func inBubble() bool {
	now := time.Now()
	return now == now.Round(0)
}

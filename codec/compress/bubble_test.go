package compress_test

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/codec"
	"github.com/topicbus/pubsub/codec/compress"
)

// A codec may be made and used in bubbles and outside, in any order. What
// belongs to a bubble and is used elsewhere would end the process.
func TestBubbles(t *testing.T) {
	inside := func(f func(*testing.T)) func(*testing.T) {
		return func(t *testing.T) { synctest.Test(t, f) }
	}
	outside := func(f func(*testing.T)) func(*testing.T) {
		return func(t *testing.T) { f(t) }
	}
	type place = func(func(*testing.T)) func(*testing.T)
	for name, places := range map[string][]place{
		"made inside, used outside":          {inside, outside, outside},
		"made outside, used inside":          {outside, inside, outside, inside},
		"made inside, used in another":       {inside, inside, inside, outside, inside},
		"made and used outside, then inside": {outside, outside, inside, outside},
	} {
		t.Run(name, func(t *testing.T) {
			var c pubsub.Codec[string]
			var kept []pubsub.Payload
			for i, in := range places {
				in(func(t *testing.T) {
					if i == 0 {
						c = compress.Zstd(codec.String())
					}
					for n := range 20 { // a pool may forget, so more than one
						p, err := c.Encode(message(i, n))
						require.NoError(t, err)
						require.Equal(t, pubsub.Binary, p.Format)
						kept = append(kept, p)
					}
					for n, p := range kept {
						v, err := c.Decode(p)
						require.NoError(t, err)
						require.Equal(t, message(n/20, n%20), v)
					}
				})(t)
			}
		})
	}
}

// Calls that overlap, with one codec for the bubble and for what is outside.
func TestConcurrentUseInABubble(t *testing.T) {
	c := compress.Zstd(codec.String())
	use := func(t *testing.T) {
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for i := range 20 {
					p, err := c.Encode(message(g, i))
					if err != nil {
						t.Error(err)
						return
					}
					if v, err := c.Decode(p); err != nil || v != message(g, i) {
						t.Errorf("message %d of goroutine %d: %q, %v", i, g, v, err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	use(t)
	synctest.Test(t, use)
	use(t)
}

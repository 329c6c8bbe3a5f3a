package run

import (
	"encoding/json"
	"math/bits"
	"sync/atomic"
	"time"
)

// histogram counts durations. Each power of two has 16 buckets, so what it tells
// is right within 6 percent.
type histogram [64 * 16]atomic.Uint64

func bucketOf(d time.Duration) int {
	n := uint64(max(d, 0))
	if n < 16 {
		return int(n)
	}
	shift := bits.Len64(n) - 5 // leaves five bits, of which the first is set
	return shift*16 + int(n>>shift)
}

// upTo is the longest duration of a bucket.
func upTo(bucket int) time.Duration {
	if bucket < 16 {
		return time.Duration(bucket)
	}
	shift := bucket/16 - 1
	return time.Duration((uint64(bucket%16)+17)<<shift - 1)
}

func (h *histogram) add(d time.Duration) { h[bucketOf(d)].Add(1) }

func (h *histogram) merge(other *histogram) {
	for i := range h {
		h[i].Add(other[i].Load())
	}
}

func (h *histogram) count() (n uint64) {
	for i := range h {
		n += h[i].Load()
	}
	return n
}

// quantile returns what the share q of the durations does not exceed.
func (h *histogram) quantile(q float64) time.Duration {
	n := h.count()
	rest := min(uint64(q*float64(n)), max(n, 1)-1)
	for i := range h {
		if n := h[i].Load(); n > rest {
			return upTo(i)
		} else {
			rest -= n
		}
	}
	return 0
}

// MarshalJSON writes the buckets that have something.
func (h *histogram) MarshalJSON() ([]byte, error) {
	counts := make(map[int]uint64)
	for i := range h {
		if n := h[i].Load(); n > 0 {
			counts[i] = n
		}
	}
	return json.Marshal(counts)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (h *histogram) UnmarshalJSON(b []byte) error {
	var counts map[int]uint64
	if err := json.Unmarshal(b, &counts); err != nil {
		return err
	}
	for i, n := range counts {
		h[i].Store(n)
	}
	return nil
}

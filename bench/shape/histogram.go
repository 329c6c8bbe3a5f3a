package shape

import (
	"math/bits"
	"time"
)

// Histogram counts durations in buckets that are at most 1/64 wide of what
// they hold. The zero value is empty.
type Histogram struct {
	buckets [64 * 59]uint64
	count   uint64
	max     time.Duration
}

// Record counts d; a negative d counts as 0.
func (h *Histogram) Record(d time.Duration) {
	d = max(d, 0)
	h.buckets[bucket(uint64(d))]++
	h.count++
	h.max = max(h.max, d)
}

// Add counts what o has counted.
func (h *Histogram) Add(o *Histogram) {
	for i, n := range o.buckets {
		h.buckets[i] += n
	}
	h.count += o.count
	h.max = max(h.max, o.max)
}

// Quantile returns a duration that a share q of what was counted does not
// exceed, or 0 if nothing was. It is too great by 1/64 at most.
func (h *Histogram) Quantile(q float64) time.Duration {
	rest := int64(q * float64(h.count))
	for i, n := range h.buckets {
		if rest -= int64(n); rest < 0 {
			return min(time.Duration(bound(i)), h.max)
		}
	}
	return h.max
}

// bucket is the bucket of v: the seven most significant bits and how many
// follow them.
func bucket(v uint64) int {
	shift := max(bits.Len64(v)-7, 0)
	return shift*64 + int(v>>shift)
}

// bound is the greatest value in bucket i.
func bound(i int) uint64 {
	if i < 128 {
		return uint64(i)
	}
	shift := i/64 - 1
	return (uint64(i-shift*64)+1)<<shift - 1
}

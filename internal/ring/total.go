package ring

import (
	"math"
	"math/bits"
)

// total is a sum of losses. It has 128 bits, so that it does not wrap around
// however absurd a hole is: differences of totals stay right.
type total struct{ high, low uint64 }

func (t total) plus(n uint64) total {
	low, carry := bits.Add64(t.low, n, 0)
	return total{t.high + carry, low}
}

func (t total) less(u total) bool {
	return t.high < u.high || t.high == u.high && t.low < u.low
}

// since is what came to t behind an earlier total. It is not exact if it does
// not fit.
func (t total) since(earlier total) (n uint64, exact bool) {
	low, borrow := bits.Sub64(t.low, earlier.low, 0)
	if t.high-borrow != earlier.high {
		return math.MaxUint64, false
	}
	return low, true
}

// plus is a sum that does not wrap around. It is not exact if it does not fit.
func plus(a, b uint64) (sum uint64, exact bool) {
	sum, carry := bits.Add64(a, b, 0)
	if carry > 0 {
		return math.MaxUint64, false
	}
	return sum, true
}

package shape

import "encoding/binary"

// window is how many different messages a publisher has. They are made in
// advance and used in rotation, so that making them is not measured. It is
// far more than any bounded contender has in flight, so within it a message
// is recognised beyond doubt.
const window = 1024

// Load is the messages of a run. A message carries a number that tells which
// it is; see [NewLoad].
type Load[T any] struct {
	messages [][]T // by publisher
	number   func(T) uint64
}

// NewLoad makes the messages of so many publishers. number must return what
// make was given.
func NewLoad[T any](publishers int, make func(number uint64) T, number func(T) uint64) *Load[T] {
	l := &Load[T]{number: number}
	for p := range max(publishers, 1) {
		var ms []T
		for i := range uint64(window) {
			ms = append(ms, make(uint64(p)<<32|i))
		}
		l.messages = append(l.messages, ms)
	}
	return l
}

// Bytes is a load of byte slices of that size, at least 8.
func Bytes(publishers, size int) *Load[[]byte] {
	return NewLoad(publishers, func(n uint64) []byte {
		return binary.LittleEndian.AppendUint64(make([]byte, 0, size), n)[:size]
	}, binary.LittleEndian.Uint64)
}

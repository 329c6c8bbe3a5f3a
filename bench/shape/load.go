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
	taker    func(*books) func(T)
}

// NewLoad makes the messages of so many publishers. number must return what
// make was given.
func NewLoad[T any](publishers int, make func(number uint64) T, number func(T) uint64) *Load[T] {
	l := &Load[T]{taker: func(b *books) func(T) {
		return func(v T) { b.record(number(v)) }
	}}
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
	l := NewLoad(publishers, func(n uint64) []byte {
		return binary.LittleEndian.AppendUint64(make([]byte, 0, size), n)[:size]
	}, binary.LittleEndian.Uint64)
	l.taker = func(b *books) func([]byte) { // without a call to number
		return func(v []byte) { b.record(binary.LittleEndian.Uint64(v)) }
	}
	return l
}

// sink returns a sink that is to take so many messages.
func (l *Load[T]) sink(messages uint64, finished func()) *Sink[T] {
	s := &Sink[T]{books: newBooks(messages, finished)}
	s.Take = l.taker(&s.books)
	return s
}

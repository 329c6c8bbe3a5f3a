package shape

// Sink takes what one subscriber receives, and keeps the books. It must not
// be called concurrently.
type Sink[T any] struct {
	// Take takes a message. A function and not a method, so that what it does
	// is compiled for T: it is in the time of every delivery.
	Take  func(v T)
	books books
}

// Lost takes the report that n messages are missing at this place. It fits
// fleets of one publisher.
func (s *Sink[T]) Lost(n uint64) { s.books.lose(n) }

// Fail takes an error that must not happen.
func (s *Sink[T]) Fail(err error) { s.books.fail(err) }

package run

import (
	"encoding/binary"
	"time"
)

// What a message is counted under, and when it was published.
const (
	steadyPhase = iota
	weighPhase  // between the two, when processes collect their garbage
	deployPhase
	phases

	// replayed is for those that were published before the viewer was back.
	replayed  = phases
	latencies = phases + 1
)

// header is what a message begins with; the rest fills it up.
type header struct {
	at     time.Time
	number uint64 // the first of a topic is 1
	phase  byte
}

const headerSize = 8 + 8 + 1

func (h header) put(b []byte) {
	binary.BigEndian.PutUint64(b, uint64(h.at.UnixNano()))
	binary.BigEndian.PutUint64(b[8:], h.number)
	b[16] = h.phase
}

func parse(b []byte) (h header, ok bool) {
	if len(b) < headerSize || b[16] >= phases {
		return h, false
	}
	return header{time.Unix(0, int64(binary.BigEndian.Uint64(b))), binary.BigEndian.Uint64(b[8:]), b[16]}, true
}
